//! The header of the PROXY protocol that a trusted proxy sends before anything else, versions 1 and 2 (HAProxy,
//! `doc/proxy-protocol.txt`), read from any split.
//!
//! PURE. Allocates: never. Invariants: what it answers depends on the bytes only, not on how they were cut; no byte behind the header
//! is taken; what follows the addresses (TLVs) is passed over without being kept, however long it is; bytes that can't be a
//! header any more are told so at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Fault;

/// What version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";
/// The longest header of version 1, its line's end included.
const LINE_BYTES_MAX: usize = 107;
/// Version 2 before the addresses.
const FIXED_BYTES: usize = 16;
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;

const _: () = assert!(FIXED_BYTES + INET6_BYTES <= LINE_BYTES_MAX);

/// Whom a connection is from, by its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Client(SocketAddr),
    /// The proxy itself (a health check, `LOCAL`), or somebody without an address that we know (`UNSPEC`, a Unix socket,
    /// `UNKNOWN`): it counts as the proxy's.
    Proxy,
}

/// Reads one header.
#[derive(Debug)]
pub struct Receiver {
    head: [u8; LINE_BYTES_MAX],
    head_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The header's own bytes come.
    Heading,
    /// All that is of interest has come; so many bytes of the header have not.
    PassingOver { left: usize, source: Source },
}

/// What a header shows so far.
enum Seen {
    /// So many bytes of it are needed before more can be said.
    Unfinished { needed: usize },
    /// It is as long as this, and tells this.
    Told { header_bytes: usize, source: Source },
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver::new()
    }
}

impl Receiver {
    /// Nothing has come.
    #[must_use]
    pub const fn new() -> Receiver {
        Receiver { head: [0; LINE_BYTES_MAX], head_bytes: 0, state: State::Heading }
    }

    /// Takes what has come: how many bytes of it are the header's, and whom it is from, once it is whole. Not to be called again
    /// after that.
    ///
    /// # Errors
    /// It is no header.
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, Option<Source>), Fault> {
        let mut taken = 0;
        loop {
            if let State::PassingOver { left, source } = self.state {
                let passed = left.min(input.len() - taken);
                taken += passed;
                self.state = State::PassingOver { left: left - passed, source };
                return Ok((taken, (left == passed).then_some(source)));
            }
            match look(&self.head[..self.head_bytes])? {
                Seen::Told { header_bytes, source } => {
                    self.state = State::PassingOver { left: header_bytes - self.head_bytes, source };
                }
                Seen::Unfinished { needed } => {
                    let missing = needed - self.head_bytes;
                    let got = missing.min(input.len() - taken);
                    self.head[self.head_bytes..][..got].copy_from_slice(&input[taken..][..got]);
                    (self.head_bytes, taken) = (self.head_bytes + got, taken + got);
                    if got < missing {
                        // What has come may be wrong already.
                        look(&self.head[..self.head_bytes])?;
                        return Ok((taken, None));
                    }
                }
            }
        }
    }
}

/// What a header's beginning shows. It asks for no byte that may be behind the header.
fn look(head: &[u8]) -> Result<Seen, Fault> {
    if head.is_empty() {
        return Ok(Seen::Unfinished { needed: 1 });
    }
    if begins_alike(head, &SIGNATURE) {
        if head.len() < FIXED_BYTES {
            return Ok(Seen::Unfinished { needed: FIXED_BYTES });
        }
        return look_at_binary(head);
    }
    if begins_alike(head, WORD) {
        return look_at_line(head);
    }
    Err(Fault::HeaderMissing)
}

fn begins_alike(head: &[u8], expected: &[u8]) -> bool {
    head.iter().zip(expected).all(|(one, other)| one == other)
}

/// Version 2 (§2.2), of which its fixed part is there.
fn look_at_binary(head: &[u8]) -> Result<Seen, Fault> {
    let (version_and_command, family_and_transport) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let header_bytes = FIXED_BYTES + length;
    match version_and_command {
        // The proxy itself, whatever family it writes (§2.2).
        0x20 => return Ok(Seen::Told { header_bytes, source: Source::Proxy }),
        0x21 => {}
        _ => return Err(Fault::HeaderMalformed),
    }
    // Family: unspecified, IPv4, IPv6, Unix; transport: unspecified, stream, datagram.
    let (family, transport) = (family_and_transport >> 4, family_and_transport & 0xf);
    if family > 3 || transport > 2 {
        return Err(Fault::HeaderMalformed);
    }
    let is_of_streams = transport == 1;
    let address_bytes = match family {
        1 if is_of_streams => INET_BYTES,
        2 if is_of_streams => INET6_BYTES,
        _ => return Ok(Seen::Told { header_bytes, source: Source::Proxy }),
    };
    if length < address_bytes {
        return Err(Fault::HeaderMalformed);
    }
    let Some(addresses) = head.get(FIXED_BYTES..FIXED_BYTES + address_bytes) else {
        return Ok(Seen::Unfinished { needed: FIXED_BYTES + address_bytes });
    };
    let client = if family == 1 { source_v4(addresses) } else { source_v6(addresses) };
    let client = client.ok_or(Fault::HeaderMalformed)?;
    Ok(Seen::Told { header_bytes, source: Source::Client(client) })
}

/// Source and destination address, source and destination port.
fn source_v4(addresses: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = addresses.split_first_chunk::<4>()?;
    let port = rest.get(4..)?.first_chunk::<2>()?;
    Some((Ipv4Addr::from(*address), u16::from_be_bytes(*port)).into())
}

fn source_v6(addresses: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = addresses.split_first_chunk::<16>()?;
    let port = rest.get(16..)?.first_chunk::<2>()?;
    let address = IpAddr::V6(Ipv6Addr::from(*address)).to_canonical();
    Some((address, u16::from_be_bytes(*port)).into())
}

/// Version 1 (§2.1): a line of text.
fn look_at_line(head: &[u8]) -> Result<Seen, Fault> {
    let Some(end) = memchr::memchr(b'\n', head) else {
        if head.len() >= LINE_BYTES_MAX {
            return Err(Fault::HeaderMalformed);
        }
        // Behind the line may be the client's bytes: one at a time.
        return Ok(Seen::Unfinished { needed: (head.len() + 1).max(WORD.len()) });
    };
    let line = head[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let source = line.and_then(source_of_line).ok_or(Fault::HeaderMalformed)?;
    Ok(Seen::Told { header_bytes: end + 1, source })
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and anything.
fn source_of_line(line: &str) -> Option<Source> {
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Source::Proxy);
    }
    let mut words = rest.split(' ');
    let family = words.next()?;
    let addresses: [IpAddr; 2] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let ports = [port(words.next()?)?, port(words.next()?)?];
    let is_of_family = |address: &IpAddr| match family {
        "TCP4" => address.is_ipv4(),
        "TCP6" => address.is_ipv6(),
        _ => false,
    };
    if words.next().is_some() || !addresses.iter().all(is_of_family) {
        return None;
    }
    Some(Source::Client((addresses[0].to_canonical(), ports[0]).into()))
}

/// A port in digits, without a sign or zeros before it.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2.
    fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
    }

    fn inet(source: [u8; 4], port: u16) -> Vec<u8> {
        [&source[..], &[10, 0, 0, 1], &port.to_be_bytes(), &443_u16.to_be_bytes()].concat()
    }

    fn inet6(source: &str, port: u16) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &port.to_be_bytes(), &443_u16.to_be_bytes()].concat()
    }

    /// What comes out, and how many bytes were the header's, when it is given in pieces of such lengths.
    fn read(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> Result<Option<(Source, usize)>, Fault> {
        let (mut receiver, mut at) = (Receiver::new(), 0);
        for piece in pieces {
            let end = bytes.len().min(at + piece);
            let (taken, source) = receiver.step(&bytes[at..end])?;
            at += taken;
            if let Some(source) = source {
                return Ok(Some((source, at)));
            }
            assert_eq!(at, end, "what has come is taken while the header is not whole");
            if at == bytes.len() {
                return Ok(None);
            }
        }
        unreachable!("pieces are without end")
    }

    fn check(header: &[u8], expected: Source) {
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\0", b"PROXY "] {
            let bytes = [header, behind].concat();
            let told = Ok(Some((expected, header.len())));
            assert_eq!(
                read(&bytes, std::iter::repeat(usize::MAX / 2)),
                told,
                "{:?}",
                header.escape_ascii().to_string()
            );
            for piece in 1..=header.len().min(200) {
                assert_eq!(read(&bytes, std::iter::repeat(piece)), told, "in pieces of {piece}");
            }
        }
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut], std::iter::repeat(usize::MAX / 2)), Ok(None), "cut at {cut}");
        }
    }

    fn check_fault(bytes: &[u8], expected: Fault) {
        for piece in [1, 2, 7, 1000] {
            let told = read(bytes, std::iter::repeat(piece));
            assert_eq!(told, Err(expected), "{:?} by {piece}", bytes.escape_ascii().to_string());
        }
    }

    fn client(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    #[test]
    fn a_binary_header_tells_the_client_wherever_it_is_cut() {
        check(&binary(0x21, 0x11, &inet([192, 0, 2, 7], 50_123)), client("192.0.2.7:50123"));
        check(&binary(0x21, 0x21, &inet6("2001:db8::7", 1)), client("[2001:db8::7]:1"));
        check(&binary(0x21, 0x21, &inet6("::ffff:192.0.2.7", 65_535)), client("192.0.2.7:65535"));
    }

    #[test]
    fn what_follows_the_addresses_is_passed_over_whatever_it_is() {
        let tlvs: [&[u8]; 4] = [&[0x03, 0, 4, 1, 2, 3, 4], &[0xff; 5], &[0x04, 0xff, 0xff], &[7; 500]];
        for tlv in tlvs {
            let rest = [&inet([192, 0, 2, 7], 9)[..], tlv].concat();
            check(&binary(0x21, 0x11, &rest), client("192.0.2.7:9"));
        }
        let longest = [&inet([192, 0, 2, 7], 9)[..], &vec![0; usize::from(u16::MAX) - INET_BYTES]].concat();
        let header = binary(0x21, 0x11, &longest);
        let told = Ok(Some((client("192.0.2.7:9"), header.len())));
        assert_eq!(read(&[&header[..], b"x"].concat(), std::iter::repeat(1000)), told);
    }

    #[test]
    fn who_has_no_address_and_the_proxy_itself_are_the_proxys() {
        check(&binary(0x20, 0x00, &[]), Source::Proxy);
        check(&binary(0x20, 0x11, &inet([192, 0, 2, 7], 9)), Source::Proxy);
        check(&binary(0x20, 0x11, &[1, 2, 3]), Source::Proxy);
        check(&binary(0x20, 0xff, &[1, 2, 3]), Source::Proxy);
        check(&binary(0x21, 0x00, &[9; 20]), Source::Proxy);
        check(&binary(0x21, 0x31, &[9; 216]), Source::Proxy);
        check(&binary(0x21, 0x12, &inet([192, 0, 2, 7], 9)), Source::Proxy);
        check(b"PROXY UNKNOWN\r\n", Source::Proxy);
        check(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", Source::Proxy);
    }

    #[test]
    fn a_line_tells_the_client_wherever_it_is_cut() {
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 50123 443\r\n", client("192.0.2.7:50123"));
        check(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255:65535"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 0 443\r\n", client("[2001:db8::7]:0"));
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check(
            format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n").as_bytes(),
            client(&format!("[{longest}]:65535")),
        );
        let unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
        assert_eq!(unknown.len(), LINE_BYTES_MAX);
        check(unknown.as_bytes(), Source::Proxy);
    }

    #[test]
    fn what_does_not_begin_as_a_header_is_told_at_its_first_byte_that_shows_it() {
        for bytes in [
            &b"GET /ws HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"\0\0\0\x30",
            b"PROXX",
            b"proxy TCP4",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\r\nG",
        ] {
            check_fault(bytes, Fault::HeaderMissing);
        }
        let mut receiver = Receiver::new();
        assert_eq!(receiver.step(b"P"), Ok((1, None)));
        assert_eq!(receiver.step(b"O"), Err(Fault::HeaderMissing));
    }

    #[test]
    fn a_header_that_breaks_the_rules_is_malformed() {
        let good = inet([192, 0, 2, 7], 9);
        for (command, family) in
            [(0x11, 0x11), (0x31, 0x11), (0x22, 0x11), (0x2f, 0x11), (0x01, 0x11), (0x21, 0x41), (0x21, 0x13)]
        {
            check_fault(&binary(command, family, &good), Fault::HeaderMalformed);
        }
        check_fault(&binary(0x21, 0x11, &good[..INET_BYTES - 1]), Fault::HeaderMalformed);
        check_fault(&binary(0x21, 0x21, &inet6("::1", 9)[..INET6_BYTES - 1]), Fault::HeaderMalformed);
        check_fault(&binary(0x21, 0x11, &[]), Fault::HeaderMalformed);
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 50123\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 50123 443 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 50123 443\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 50123 443\r\n",
            "PROXY TCP4 ::1 ::1 50123 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 50123 443\r\n",
            "PROXY TCP4 192.0.2.7 ::1 50123 443\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 50123 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +5 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 05 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1  443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 50123 443\r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            check_fault(line.as_bytes(), Fault::HeaderMalformed);
        }
        check_fault(b"PROXY TCP4 \xff\xfe 10.0.0.1 50123 443\r\n", Fault::HeaderMalformed);
        check_fault(
            format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15)).as_bytes(),
            Fault::HeaderMalformed,
        );
        check_fault(format!("PROXY {}", "x".repeat(1000)).as_bytes(), Fault::HeaderMalformed);
    }

    /// Bytes that are much like headers.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let family = prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), Just(0), any::<u8>()];
        let command = prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()];
        let of_two = (command, family, any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(command, family, length, rest)| {
                let length = if length % 3 == 0 { length } else { length % 64 };
                [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), &rest].concat()
            },
        );
        let of_one = "PROXY (TCP4|TCP6|UNKNOWN|TCP) [0-9.:a-f]{0,15} [0-9.:a-f]{0,15} [0-9]{0,6} [0-9]{0,6}\r?\n.{0,20}";
        prop_oneof![of_two, of_one.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..64)]
    }

    proptest! {
        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            bytes in nearly(),
            pieces in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let whole = read(&bytes, std::iter::repeat(usize::MAX / 2));
            let cut = read(&bytes, pieces.into_iter().cycle());
            prop_assert_eq!(whole, cut);
        }

        #[test]
        fn any_client_is_told_as_its_proxy_wrote_it(address: u32, port: u16, tlvs in prop::collection::vec(any::<u8>(), 0..64)) {
            let address = Ipv4Addr::from_bits(address);
            let rest = [&inet(address.octets(), port)[..], &tlvs].concat();
            let told = Source::Client((address, port).into());
            let header = binary(0x21, 0x11, &rest);
            prop_assert_eq!(read(&header, std::iter::repeat(5)), Ok(Some((told, header.len()))));
            let line = format!("PROXY TCP4 {address} 10.0.0.1 {port} 443\r\n");
            prop_assert_eq!(read(line.as_bytes(), std::iter::repeat(5)), Ok(Some((told, line.len()))));
        }
    }
}
