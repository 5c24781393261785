//! `X-Forwarded-For`: a list to which each proxy adds, on the right, who it was connected to by. PURE. Allocates: never.
//!
//! Invariant: what is believed of it was written by a trusted proxy: the walk begins on the right, where the nearest proxy
//! wrote, and ends with the first address that is no proxy's. What is left of that anybody may have made up.

use std::net::{IpAddr, SocketAddr};

use super::Proxies;
use crate::limits::FORWARDED_HOPS_MAX;

/// Whom a request is from that `proxy` has sent, by its list as sent, from left to right. What is no address ends the walk, and
/// so do more proxies than may be: then it is from the farthest that is known.
pub fn client<'v>(
    proxies: &Proxies,
    proxy: IpAddr,
    list: impl DoubleEndedIterator<Item = &'v [u8]>,
) -> IpAddr {
    let mut farthest = proxy.to_canonical();
    for hop in list.rev().take(FORWARDED_HOPS_MAX) {
        let Some(address) = address_of(hop) else { break };
        farthest = address;
        if !proxies.trusts(address) {
            break;
        }
    }
    farthest
}

/// The address of a hop. Some proxies write its port behind it, and brackets around one of IPv6.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_ascii();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::Speech;

    fn check(list: &str, expected: &str) {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let proxies = Proxies { networks, speech: Speech::ForwardedFor };
        let found =
            client(&proxies, "::ffff:10.0.0.1".parse().unwrap(), list.as_bytes().split(|byte| *byte == b','));
        assert_eq!(found.to_string(), expected, "{list:?}");
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
        check("192.0.2.1", "192.0.2.1");
        check("203.0.113.9, 192.0.2.1", "192.0.2.1");
        check("203.0.113.9, 192.0.2.1, 10.0.0.7, 2001:db8::5", "192.0.2.1");
        check("203.0.113.9,10.0.0.7", "203.0.113.9");
        check("::ffff:192.0.2.1", "192.0.2.1");
        check("2001:db9::7", "2001:db9::7");
    }

    #[test]
    fn a_port_behind_it_is_left_out() {
        check("192.0.2.1:50123", "192.0.2.1");
        check("[2001:db9::7]:443", "2001:db9::7");
        check("[2001:db9::7]", "2001:db9::7");
    }

    #[test]
    fn what_no_proxy_of_ours_wrote_is_not_believed() {
        check("10.0.0.9, 192.0.2.1", "192.0.2.1");
        check("not an address, 192.0.2.1", "192.0.2.1");
        check("127.0.0.1, 198.51.100.4 , 192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn what_is_no_address_ends_the_walk_at_the_farthest_proxy_that_is_known() {
        check("", "10.0.0.1");
        check("unknown", "10.0.0.1");
        check("192.0.2.1, unknown, 10.0.0.7", "10.0.0.7");
        check("192.0.2.1, \u{fffd}, 10.0.0.7", "10.0.0.7");
        check("192.0.2.1 192.0.2.2", "10.0.0.1");
        check("192.0.2.1:99999", "10.0.0.1");
        check("10.0.0.8, 10.0.0.7", "10.0.0.8");
    }

    #[test]
    fn so_many_hops_are_looked_at_and_no_more() {
        let hops = |count: usize| format!("192.0.2.1{}", ",10.0.0.7".repeat(count));
        check(&hops(FORWARDED_HOPS_MAX - 1), "192.0.2.1");
        check(&hops(FORWARDED_HOPS_MAX), "10.0.0.7");
        check(&hops(100_000), "10.0.0.7");
    }
}
