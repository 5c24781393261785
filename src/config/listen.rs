//! The `[[listen]]` tables: one listener each. Home: the main thread.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use crate::tls;

/// Where clients come in, and by which rules.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub address: SocketAddr,
    /// Connections that the kernel holds for us, per shard. Capped by `net.core.somaxconn`.
    pub backlog: u32,
    /// Pages that may connect besides those of the same host; `*` is any.
    pub origins: Vec<String>,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// 0 sends no pings.
    pub ping_interval_ms: u32,
    pub ping_timeout_ms: u32,
    /// `TCP_USER_TIMEOUT`; 0 is the kernel's default.
    pub unacknowledged_ms_max: u32,
    /// None speaks plain HTTP.
    pub tls: Option<tls::Settings>,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9001)),
            backlog: 4096,
            origins: Vec::new(),
            echo: false,
            ping_interval_ms: 20_000,
            ping_timeout_ms: 10_000,
            unacknowledged_ms_max: 20_000,
            tls: None,
        }
    }
}
