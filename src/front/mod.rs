//! Proxies in front of a listener: which are trusted, and what they say of whom a connection or a request is from.
//!
//! PURE: bytes and addresses in, addresses out. Home: whoever owns the connection. Invariants: nobody but a trusted proxy is believed
//! in what it says of another's address; an address that is found is in the form of its own family, never an IPv4 address in
//! IPv6's clothes.
//!
//! Implemented: the PROXY protocol, versions 1 and 2 (HAProxy, `doc/proxy-protocol.txt`), and `X-Forwarded-For`. Absent on
//! purpose: `Forwarded` (RFC 7239), which none of the proxies that we test with writes; what TLVs of version 2 say.

pub mod fault;
pub mod forwarded_for;
pub mod network;
pub mod proxy_protocol;

use std::net::IpAddr;

pub use fault::Fault;
pub use network::Network;

/// How proxies say whom a connection is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speech {
    /// A header of the PROXY protocol is before everything else, TLS too.
    #[default]
    ProxyProtocol,
    /// `X-Forwarded-For` is in each request.
    ForwardedFor,
}

/// The proxies of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Where they connect from; none: there are none.
    pub networks: Vec<Network>,
    pub speech: Speech,
}

impl Proxies {
    /// What is to be expected of who connects from this address.
    #[must_use]
    pub fn speech_of(&self, peer: Option<IpAddr>) -> Option<Speech> {
        if self.networks.is_empty() {
            return None;
        }
        peer.filter(|peer| self.trusts(*peer)).map(|_| self.speech)
    }

    /// Whether a proxy has this address.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_is_expected_of_trusted_addresses_alone() {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let proxies = Proxies { networks, speech: Speech::ForwardedFor };
        let speech_of = |text: &str| proxies.speech_of(Some(text.parse().unwrap()));
        assert_eq!(speech_of("10.1.2.3"), Some(Speech::ForwardedFor));
        assert_eq!(speech_of("::ffff:10.1.2.3"), Some(Speech::ForwardedFor));
        assert_eq!(speech_of("2001:db8::1"), Some(Speech::ForwardedFor));
        assert_eq!(speech_of("192.0.2.1"), None);
        assert_eq!(proxies.speech_of(None), None);
        assert_eq!(Proxies::default().speech_of("10.1.2.3".parse().ok()), None);
    }
}
