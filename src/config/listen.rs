//! The `[[listen]]` tables: one listener each. Home: the main thread.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::hub::Framing;
use crate::tls;

/// Where clients come in, and by which rules.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// Connections that the kernel holds for us, per shard. Capped by `net.core.somaxconn`.
    pub backlog: u32,
    /// Pages that may connect besides those of the same host; `*` is any.
    pub origins: Vec<String>,
    /// Names under which pages of the same host may reach it, besides IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// 0 sends no pings, and no heartbeats of binary TCP.
    pub ping_interval_ms: u32,
    pub ping_timeout_ms: u32,
    /// `TCP_USER_TIMEOUT`; 0 is the kernel's default.
    pub unacknowledged_ms_max: u32,
    /// None speaks in plain text.
    pub tls: Option<tls::Settings>,
    pub deflate: ListenDeflate,
}

/// What is spoken on a listener, over TLS where it has that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// WebSocket and HTTP.
    #[default]
    Websocket,
    /// Binary TCP: JSON-RPC in frames with their length before them.
    Tcp,
}

impl From<Protocol> for Framing {
    fn from(protocol: Protocol) -> Framing {
        match protocol {
            Protocol::Websocket => Framing::WebSocket,
            Protocol::Tcp => Framing::LengthPrefixed,
        }
    }
}

/// permessage-deflate on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenDeflate {
    pub enabled: bool,
    /// 8 to 15.
    pub client_window_bits_max: u8,
    /// Whether clients' messages may refer to earlier ones.
    pub client_context_takeover: bool,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9001)),
            protocol: Protocol::Websocket,
            backlog: 4096,
            origins: Vec::new(),
            hosts: Vec::new(),
            echo: false,
            ping_interval_ms: 20_000,
            ping_timeout_ms: 10_000,
            unacknowledged_ms_max: 20_000,
            tls: None,
            deflate: ListenDeflate::default(),
        }
    }
}

impl Default for ListenDeflate {
    fn default() -> ListenDeflate {
        ListenDeflate { enabled: false, client_window_bits_max: 15, client_context_takeover: false }
    }
}
