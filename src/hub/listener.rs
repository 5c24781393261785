//! What a listener asks of the clients that come to it. PURE. Home: one shard; the same on all of them.

use crate::auth::Reach;
use crate::http::Rejection;
use crate::ws::deflate::DeflateSettings;

/// The rules of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPolicy {
    /// Without a byte received before a ping is sent, in nanoseconds; 0 for no pings.
    pub ping_interval_ns: u64,
    /// Between a ping and any byte received, in nanoseconds.
    pub ping_timeout_ns: u64,
    pub origins: Origins,
    pub echo: Echo,
    /// From where clients come by it.
    pub reach: Reach,
    /// What is made of offers of permessage-deflate; without it they are declined.
    pub deflate: Option<DeflateSettings>,
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
    /// Pages of the host that the request itself names.
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
    /// There is no room for it, as it is told in answer to its request.
    pub refused: Option<Rejection>,
}

impl Arrival {
    /// One that may come in by the first listener.
    pub const FIRST: Arrival = Arrival { listener: 0, refused: None };
}

impl Default for ListenerPolicy {
    fn default() -> ListenerPolicy {
        ListenerPolicy {
            ping_interval_ns: 20_000_000_000,
            ping_timeout_ns: 10_000_000_000,
            origins: Origins::SameHost,
            echo: Echo::Off,
            reach: Reach::Loopback,
            deflate: None,
        }
    }
}

impl Origins {
    /// Whether a page with this `Origin` may connect to `host`, the request's own `Host`.
    #[must_use]
    pub fn admit(&self, origin: &[u8], host: &[u8]) -> bool {
        let is_same_host =
            origin_authority(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host));
        match self {
            Origins::Any => true,
            Origins::SameHost => is_same_host,
            Origins::Listed(listed) => {
                is_same_host || listed.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin))
            }
        }
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

    #[test]
    fn a_page_of_the_same_host_may_connect_and_another_only_if_listed() {
        let check = |origins: &Origins, origin: &str, expected: bool| {
            assert_eq!(
                origins.admit(origin.as_bytes(), b"gw.example.com:9001"),
                expected,
                "{origins:?} {origin}"
            );
        };
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
            check(&Origins::SameHost, origin, same_host);
            check(&listed, origin, in_list);
            check(&Origins::Any, origin, true);
        }
    }
}
