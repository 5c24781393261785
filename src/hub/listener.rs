//! What a listener asks of the clients that come to it. PURE. Home: one shard; the same on all of them.
//! Invariant: that a page's host is the one the request names says nothing while the page's owner decides what address
//! that name has; a name counts only where it can't be another's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::Reach;
use crate::front::Proxies;
use crate::http::Rejection;
use crate::ws::deflate::DeflateSettings;

/// The rules of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPolicy {
    pub framing: Framing,
    /// Without a byte received before a ping, or a heartbeat of binary TCP, is sent, in nanoseconds; 0 for none.
    pub ping_interval_ns: u64,
    /// Between that and any byte received, in nanoseconds.
    pub ping_timeout_ns: u64,
    pub origins: Origins,
    /// Names under which pages of the same host may reach it, besides IP addresses and `localhost`.
    pub hosts: Vec<String>,
    pub echo: Echo,
    /// From where clients come by it.
    pub reach: Reach,
    /// What is made of offers of permessage-deflate; without it they are declined.
    pub deflate: Option<DeflateSettings>,
    /// Who may say whom a connection is from.
    pub proxies: Proxies,
}

/// How messages stand in the bytes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// HTTP first; then, if it asks for that, RFC 6455.
    #[default]
    WebSocket,
    /// Binary TCP, from the first byte on: see `binary_tcp`.
    LengthPrefixed,
}

/// Whether `/echo` is served: every message comes back as it is. For conformance suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    Off,
    On,
}

/// Which pages may connect, by the `Origin` that browsers send (RFC 6455 §10.2). Clients that send none may always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host that the request itself names, if that is an address or a name of the listener.
    SameHost,
    /// Those listed, each as browsers write it: `https://desk.example.com`; besides those of the same host.
    Listed(Vec<String>),
    Any,
}

/// A connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its listener's index in [`HubConfig::listeners`](super::HubConfig::listeners).
    pub listener: u8,
    pub way: Way,
    /// There is no room for it, as it is told in answer to its request.
    pub refused: Option<Rejection>,
    /// The address of the trusted proxy that has made it, if that names the client in each request.
    pub proxy: Option<IpAddr>,
}

impl Arrival {
    /// One that may come in by the first listener.
    pub const FIRST: Arrival = Arrival { listener: 0, way: Way::Open, refused: None, proxy: None };
}

/// Whether what the hub says gets through to a connection that was just accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Not before the TLS handshake below is done, as [`Hub::handle_secured`](super::Hub::handle_secured) tells.
    Securing,
    /// Not before the header of the PROXY protocol has come, as
    /// [`Hub::handle_introduced`](super::Hub::handle_introduced) tells.
    Introducing,
}

impl Default for ListenerPolicy {
    fn default() -> ListenerPolicy {
        ListenerPolicy {
            framing: Framing::WebSocket,
            ping_interval_ns: 20_000_000_000,
            ping_timeout_ns: 10_000_000_000,
            origins: Origins::SameHost,
            hosts: Vec::new(),
            echo: Echo::Off,
            reach: Reach::Loopback,
            deflate: None,
            proxies: Proxies::default(),
        }
    }
}

impl ListenerPolicy {
    /// Whether a page with this `Origin` may connect to `host`, the request's own `Host`.
    #[must_use]
    pub fn admits(&self, origin: &[u8], host: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::SameHost => self.is_same_host(origin, host),
            Origins::Listed(listed) => {
                listed.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin))
                    || self.is_same_host(origin, host)
            }
        }
    }

    /// Whoever owns a name can give it our address once the page is loaded (DNS rebinding): the page is then of the very
    /// host that it connects to. An address is no name, and `localhost` nobody's.
    fn is_same_host(&self, origin: &[u8], host: &[u8]) -> bool {
        let is_ours = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"localhost")
                || is_address(name)
                || self.hosts.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(name))
        };
        origin_authority(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
            && is_ours(without_port(host))
    }
}

/// A `Host` without its port (RFC 3986 §3.2.2). An IPv6 address stands in brackets, which hold its colons.
fn without_port(host: &[u8]) -> &[u8] {
    let bracketed = memchr::memchr(b']', host).map_or(0, |end| end + 1);
    let port = memchr::memchr(b':', &host[bracketed..]).map_or(host.len(), |colon| bracketed + colon);
    &host[..port]
}

fn is_address(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(within) => within.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Host and port of an origin, without its scheme. `null`, an opaque origin, has none.
fn origin_authority(origin: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (head, authority) = origin.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(authority)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, hosts: &[&str], (origin, host): (&str, &str), expected: bool) {
        let hosts = hosts.iter().map(|name| (*name).to_owned()).collect();
        let policy = ListenerPolicy { origins: origins.clone(), hosts, ..ListenerPolicy::default() };
        let admitted = policy.admits(origin.as_bytes(), host.as_bytes());
        assert_eq!(admitted, expected, "{policy:?} {origin} {host}");
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_and_another_only_if_listed() {
        let listed = Origins::Listed(vec!["https://desk.example.com".to_owned()]);
        for (origin, same_host, in_list) in [
            ("http://gw.example.com:9001", true, true),
            ("HTTPS://GW.example.com:9001", true, true),
            ("http://gw.example.com", false, false),
            ("https://desk.example.com", false, true),
            ("https://desk.example.com.evil.org", false, false),
            ("http://evil.org", false, false),
            ("null", false, false),
            ("", false, false),
        ] {
            let asked = (origin, "gw.example.com:9001");
            check(&Origins::SameHost, &["GW.example.com"], asked, same_host);
            check(&listed, &["GW.example.com"], asked, in_list);
            check(&Origins::Any, &[], asked, true);
        }
    }

    #[test]
    fn a_page_whose_name_was_given_our_address_is_of_no_host_of_ours() {
        let listed = Origins::Listed(vec!["https://desk.example.com".to_owned()]);
        for (host, admitted) in [
            ("evil.example:9001", false),
            ("gw.example.com:9001", true),
            ("gw.example.com", true),
            ("gw.example.com.evil.example", false),
            ("evil.example.gw.example.com", false),
            ("localhost:9001", true),
            ("LOCALHOST", true),
            ("localhost.evil.example:9001", false),
            ("127.0.0.1:9001", true),
            ("192.0.2.7", true),
            ("127.0.0.1.evil.example:9001", false),
            ("0x7f.1:9001", false),
            ("[::1]:9001", true),
            ("[::1]", true),
            ("::1", false),
            ("[evil.example]:9001", false),
            ("[::1]evil.example:9001", false),
            ("", false),
        ] {
            let origin = format!("http://{host}");
            for origins in [&Origins::SameHost, &listed] {
                check(origins, &["gw.example.com"], (&origin, host), admitted);
            }
        }
    }
}
