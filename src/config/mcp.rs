//! The `[mcp]` table: where clients of the Model Context Protocol come over HTTP. Home: the main thread.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::check::RangeFault;
use super::control::{address, text};

/// What is offered to clients of MCP, and Streamable HTTP for them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// Whether the gateway's own tools are offered, beside those of backends.
    pub tools: bool,
    /// None where there is none.
    #[serde(deserialize_with = "address", serialize_with = "text")]
    pub address: Option<SocketAddr>,
    /// Of web pages that may use it, beside those of this machine where it listens on loopback.
    pub origins: Vec<String>,
    /// As `Host` may name it where it listens on loopback, beside addresses and localhost.
    pub hosts: Vec<String>,
}

impl Default for Mcp {
    fn default() -> Mcp {
        Mcp {
            tools: true,
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9005))),
            origins: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

impl Mcp {
    /// Whether origins and hosts are such.
    pub(super) fn check(&self) -> Result<(), RangeFault> {
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_origin = |text: &str| {
            text.split_once("://").is_some_and(|(scheme, host)| {
                matches!(scheme, "http" | "https") && is_name(host) && !host.contains('/')
            })
        };
        let fault = |key: &'static str, odd: &str, hint: &str| RangeFault {
            key: key.into(),
            nth: 0,
            what: format!("has \"{odd}\""),
            hint: hint.to_owned(),
        };
        if let Some(odd) = self.origins.iter().find(|text| !is_origin(text)) {
            return Err(fault("mcp.origins", odd, "expected https://host[:port], as browsers send it"));
        }
        if let Some(odd) = self.hosts.iter().find(|text| !is_name(text) || text.contains('/')) {
            return Err(fault("mcp.hosts", odd, "expected host[:port], as clients send it"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn origins_and_hosts_are_as_browsers_send_them() {
        let parse =
            |text: &str| Config::parse(text, "f.toml", &|_| None).map_err(|failure| failure.to_string());
        let good = "[mcp]\naddress = \"\"\norigins = [\"https://desk.example\"]\nhosts = [\"desk:9005\"]\n";
        assert_eq!(parse(good).unwrap().mcp.address, None);
        for (text, expected) in [
            (
                "[mcp]\norigins = [\"desk.example\"]\n",
                "f.toml:2: mcp.origins: has \"desk.example\": expected https://",
            ),
            ("[mcp]\norigins = [\"https://a/\"]\n", "f.toml:2: mcp.origins: has "),
            ("[mcp]\nhosts = [\"\"]\n", "f.toml:2: mcp.hosts: has \"\": expected host[:port]"),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.starts_with(expected), "{failure}\nis not\n{expected}");
        }
    }
}
