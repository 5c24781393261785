//! The `[control]` table: where operators are answered. Home: the main thread.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Where operators' HTTP is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// None where there is none.
    #[serde(deserialize_with = "address", serialize_with = "text")]
    pub address: Option<SocketAddr>,
    /// A Unix socket; empty where there is none.
    pub socket: PathBuf,
    /// Whether `/debug` is answered.
    pub debug: bool,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9002))),
            socket: PathBuf::new(),
            debug: false,
        }
    }
}

impl Control {
    /// The Unix socket, if there is to be one.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        (!self.socket.as_os_str().is_empty()).then_some(self.socket.as_path())
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let expected = &"an address with its port, or \"\" for none";
    text.parse().map(Some).map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), expected))
}

#[expect(clippy::ref_option, reason = "serde passes it so")]
pub(super) fn text<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(""),
    }
}
