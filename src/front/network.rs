//! A network of addresses, as `10.0.0.0/8`. PURE. Invariant: no bit behind its prefix is set.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// Bits that they have in common: up to 32 of IPv4, up to 128 of IPv6.
    prefix_bits: u8,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl Network {
    /// Whether it has this address. One of IPv6 that stands for an IPv4 address (`::ffff:a.b.c.d`) is that.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v4(self.prefix_bits) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v6(self.prefix_bits) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it has every address of its family.
    #[must_use]
    pub const fn is_everybody(&self) -> bool {
        self.prefix_bits == 0
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// An address with the length of its prefix, or an address alone, which is a network of one.
    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        // As addresses are when they are compared.
        if first.to_canonical() != first {
            return Err(NotANetwork);
        }
        let bits_max = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        if prefix_bits > bits_max {
            return Err(NotANetwork);
        }
        let beginning = match first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() & mask_v4(prefix_bits))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() & mask_v6(prefix_bits))),
        };
        if beginning == first { Ok(Network { first, prefix_bits }) } else { Err(NotANetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

const fn mask_v4(prefix_bits: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix_bits as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask_v6(prefix_bits: u8) -> u128 {
    match u128::MAX.checked_shl(128 - prefix_bits as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(network: &str, within: &[&str], outside: &[&str]) {
        let parsed: Network = network.parse().unwrap();
        for address in within {
            assert!(parsed.contains(address.parse().unwrap()), "{address} is of {network}");
        }
        for address in outside {
            assert!(!parsed.contains(address.parse().unwrap()), "{address} is not of {network}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"],
            &["11.0.0.0", "9.255.255.255", "::a00:1"],
        );
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("192.0.2.6/31", &["192.0.2.7"], &["192.0.2.8"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]);
        check("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::", "10.0.0.1"]);
        check("::1", &["::1"], &["::2", "127.0.0.1"]);
        check("::/0", &["::", "ffff::1"], &["10.0.0.1"]);
    }

    #[test]
    fn what_is_no_network_is_not_taken_for_one() {
        let odd = [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/ 8",
            "10.0.0.0/256",
            "10.0.0.0/8/8",
            "::/129",
            "gw.example.com",
            "10.0.0/8",
            "10.0.0.1/8",
            "2001:db8::1/64",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/-1",
        ];
        for text in odd {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_network_has_an_address_if_so_many_bits_are_the_same(
            first: u32, other: u32, prefix_bits in 0_u8..=32,
        ) {
            let begin = first & mask_v4(prefix_bits);
            let network: Network = format!("{}/{prefix_bits}", Ipv4Addr::from_bits(begin)).parse().unwrap();
            let same = (0..prefix_bits).all(|bit| (begin ^ other) >> (31 - bit) & 1 == 0);
            prop_assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(other))), same);
            prop_assert!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(first))));
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }
    }
}
