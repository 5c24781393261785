//! The `[[listen]]` tables: one listener each. Home: the main thread.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::front::{Network, Speech};
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
    /// Networks of proxies that are believed whom a connection is from.
    pub proxies: Vec<String>,
    /// How these say so.
    pub proxy_header: ProxyHeader,
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

/// How proxies say whom a connection is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// The PROXY protocol, version 1 or 2, before anything else.
    #[default]
    ProxyProtocol,
    /// In each HTTP request.
    XForwardedFor,
}

impl From<ProxyHeader> for Speech {
    fn from(header: ProxyHeader) -> Speech {
        match header {
            ProxyHeader::ProxyProtocol => Speech::ProxyProtocol,
            ProxyHeader::XForwardedFor => Speech::ForwardedFor,
        }
    }
}

impl Listen {
    /// Whether others than programs of this host may come by it: by the network, or through a proxy, wherever that listens.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.address.ip().is_loopback() || !self.proxies.is_empty()
    }

    /// Networks of its proxies; those that are none, which a check has found, are left out.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        self.proxies.iter().filter_map(|text| text.parse().ok())
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
            proxies: Vec::new(),
            proxy_header: ProxyHeader::ProxyProtocol,
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
