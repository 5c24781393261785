//! The ways in which strangers hurt a gateway, each as scripts. PURE.
//! Invariant: `ALL` names every abuse once; each has at least one script, and takes them in turn.

use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::frame;
use crate::scenarios::flood::bomb;
use crate::scenarios::flood::script::{Act, Reading, Script};
use crate::wire;

/// See the module's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Abuse {
    SlowHead,
    HeaderFlood,
    GarbageGreeting,
    Http10,
    TlsHello,
    OversizedFrame,
    OversizedMessage,
    UnmaskedFrame,
    ReservedBits,
    BadUtf8,
    PingFlood,
    MessageFlood,
    SubscribeFlood,
    UnreadReplies,
    NeverReads,
    ByteASecond,
    HalfClose,
    ResetInEachState,
    Vanishes,
    ForbiddenOrigin,
    UnknownSubprotocol,
    Pipelines,
    DeflateBomb,
}

/// Between the bursts of a flood.
const BURST_NS: u64 = 10 * MILLISECOND_NS;
/// Between the bytes of a slow head: at this pace it would take half a minute.
const DRIP_NS: u64 = 200 * MILLISECOND_NS;
/// What the kernel holds for one who does not read, in bytes: little, so that the server's queue fills soon.
const UNREAD_BYTES: usize = 4096;
/// One piece of an endless message, in bytes: below any limit on a frame.
const FRAGMENT_BYTES: usize = 16 * 1024;
/// RFC 6455 §5.2.
const FIN: u8 = 0x80;
/// RFC 6455 §5.2; RSV1 says that a message is compressed, RFC 7692 §6.
const RSV1: u8 = 0x40;
const CONTINUATION: u8 = 0x0;
/// RFC 8446 §5.1 and §4.1.2: a handshake record that begins a ClientHello.
const TLS_HELLO: [u8; 11] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
/// Matches of the bomb: 58 KB that become 9.3 MB.
const BOMB_MATCHES: usize = 36_000;

/// What the scripts are made for.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    pub(crate) host: String,
    /// Messages a second that each flooding connection tries to send.
    pub(crate) messages_per_s: u64,
}

impl Abuse {
    /// Every one, in the order of declaration.
    pub(crate) const ALL: [Abuse; 23] = [
        Abuse::SlowHead,
        Abuse::HeaderFlood,
        Abuse::GarbageGreeting,
        Abuse::Http10,
        Abuse::TlsHello,
        Abuse::OversizedFrame,
        Abuse::OversizedMessage,
        Abuse::UnmaskedFrame,
        Abuse::ReservedBits,
        Abuse::BadUtf8,
        Abuse::PingFlood,
        Abuse::MessageFlood,
        Abuse::SubscribeFlood,
        Abuse::UnreadReplies,
        Abuse::NeverReads,
        Abuse::ByteASecond,
        Abuse::HalfClose,
        Abuse::ResetInEachState,
        Abuse::Vanishes,
        Abuse::ForbiddenOrigin,
        Abuse::UnknownSubprotocol,
        Abuse::Pipelines,
        Abuse::DeflateBomb,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Abuse::SlowHead => "slow head",
            Abuse::HeaderFlood => "header flood",
            Abuse::GarbageGreeting => "garbage greeting",
            Abuse::Http10 => "HTTP/1.0",
            Abuse::TlsHello => "TLS on the plain port",
            Abuse::OversizedFrame => "oversized frame",
            Abuse::OversizedMessage => "endless fragments",
            Abuse::UnmaskedFrame => "unmasked frame",
            Abuse::ReservedBits => "reserved bits",
            Abuse::BadUtf8 => "bad UTF-8",
            Abuse::PingFlood => "ping flood",
            Abuse::MessageFlood => "message flood",
            Abuse::SubscribeFlood => "subscribe flood",
            Abuse::UnreadReplies => "unread replies",
            Abuse::NeverReads => "never reads",
            Abuse::ByteASecond => "one byte a second",
            Abuse::HalfClose => "half-close",
            Abuse::ResetInEachState => "reset in each state",
            Abuse::Vanishes => "vanishes",
            Abuse::ForbiddenOrigin => "forbidden origin",
            Abuse::UnknownSubprotocol => "unknown subprotocol",
            Abuse::Pipelines => "pipelined bytes",
            Abuse::DeflateBomb => "deflate bomb",
        }
    }

    /// Its scripts, which its connections take in turn.
    pub(crate) fn scripts(self, aim: &Aim) -> Vec<Script> {
        let request = wire::TEST_REQUEST.as_bytes();
        let script = match self {
            Abuse::SlowHead => {
                let drip = Act::Drip { bytes: head(aim, ""), interval_ns: DRIP_NS };
                Script::new(vec![drip, Act::Stay])
            }
            Abuse::HeaderFlood => {
                let fields = (0..2_000).map(|number| format!("X-{number:08}: {number:016}\r\n"));
                greeted(head(aim, &fields.collect::<String>()))
            }
            Abuse::GarbageGreeting => greeted((0..512_u32).map(pattern).chain(*b"\r\n\r\n").collect()),
            Abuse::Http10 => {
                greeted(format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", wire::PATH, aim.host).into_bytes())
            }
            Abuse::TlsHello => greeted(TLS_HELLO.into_iter().chain((0..506_u32).map(pattern)).collect()),
            Abuse::OversizedFrame => said(aim, oversized_frame()),
            Abuse::OversizedMessage => {
                let first = Act::Send(masked(frame::TEXT, &[b'x'; FRAGMENT_BYTES]));
                let bytes = masked(CONTINUATION, &[b'x'; FRAGMENT_BYTES]);
                opened(aim, vec![first, Act::Pour { bytes, messages: 1, interval_ns: BURST_NS }])
            }
            Abuse::UnmaskedFrame => {
                let mut frame = Vec::new();
                frame::encode_server(frame::TEXT, request, &mut frame);
                said(aim, frame)
            }
            Abuse::ReservedBits => said(aim, masked(FIN | 0x30 | frame::TEXT, request)),
            Abuse::BadUtf8 => said(aim, masked(FIN | frame::TEXT, b"\"\xff\xfe\"")),
            Abuse::PingFlood => flood(aim, |_| masked(FIN | frame::PING, b"are you there?")),
            Abuse::MessageFlood => flood(aim, |_| text(wire::TEST_REQUEST)),
            Abuse::SubscribeFlood => {
                let subscribe = wire::subscribe_request(&["ticker.*.raw".to_owned()], "");
                let messages = [text(&subscribe), text(wire::UNSUBSCRIBE_ALL_REQUEST)];
                flood(aim, |number| messages[number % 2].clone())
            }
            Abuse::UnreadReplies => unread(flood(aim, |_| text(wire::INSTRUMENTS_REQUEST))),
            Abuse::NeverReads => unread(opened(aim, vec![subscribe(), Act::Stay])),
            Abuse::ByteASecond => unread(opened(aim, vec![subscribe(), Act::Stay]))
                .reading(Reading::ByteEach { interval_ns: SECOND_NS }),
            Abuse::HalfClose => opened(aim, vec![subscribe(), Act::EndSending, Act::Stay]),
            Abuse::ResetInEachState => return resets(aim),
            Abuse::Vanishes => return vanishings(aim),
            Abuse::ForbiddenOrigin => greeted(head(aim, "Origin: https://hostile.example\r\n")),
            Abuse::UnknownSubprotocol => greeted(head(aim, "Sec-WebSocket-Protocol: nobody.speaks.this\r\n")),
            Abuse::Pipelines => {
                let mut bytes = head(aim, "");
                (0..8).for_each(|_| bytes.extend(text(wire::TEST_REQUEST)));
                bytes.extend(masked(FIN | frame::CLOSE, &1000_u16.to_be_bytes()));
                greeted(bytes)
            }
            Abuse::DeflateBomb => {
                let head = head(aim, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
                let bomb = masked(FIN | RSV1 | frame::TEXT, &bomb::zeros(BOMB_MATCHES));
                let first = [Act::Send(head), Act::AwaitUpgrade, Act::AwaitDeflate];
                Script::new(first.into_iter().chain([Act::Send(bomb), Act::Stay]).collect())
            }
        };
        vec![script]
    }
}

/// Claims a terabyte.
fn oversized_frame() -> Vec<u8> {
    let mut frame = vec![FIN | frame::TEXT, 0x80 | 127];
    frame.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    frame.extend_from_slice(&frame::MASK);
    frame.resize(frame.len() + 1024, b'x');
    frame
}

/// More of what is allowed than anybody needs: the messages, by their number, at the asked rate.
fn flood(aim: &Aim, message: impl Fn(usize) -> Vec<u8>) -> Script {
    // An even number, so that each subscribe has its end.
    let messages = (aim.messages_per_s * BURST_NS / SECOND_NS).max(1).next_multiple_of(2);
    let interval_ns = SECOND_NS * messages / aim.messages_per_s.max(1);
    let count = usize::try_from(messages).expect("invariant: usize has 64 bits here");
    let bytes = (0..count).flat_map(message).collect();
    opened(aim, vec![Act::Pour { bytes, messages, interval_ns }])
}

/// Subscribes to what the good ones hear, and to more that is lossless.
fn subscribe() -> Act {
    let channels = [wire::LOAD_CHANNEL.to_owned(), "book.*.raw".to_owned(), "trades.*.raw".to_owned()];
    Act::Send(text(&wire::subscribe_request(&channels, r#","class":"lossless""#)))
}

/// It takes nothing, and little waits in its kernel.
fn unread(script: Script) -> Script {
    script.reading(Reading::Nothing).receiving_little(UNREAD_BYTES)
}

/// A reset in each state of a connection.
fn resets(aim: &Aim) -> Vec<Script> {
    let mut scripts = interrupted(aim, Act::Reset);
    let unread = vec![Act::Send(text(wire::TEST_REQUEST)), Act::AwaitBytes, Act::Reset];
    scripts.push(opened(aim, unread).reading(Reading::Nothing));
    scripts
}

/// Just stops, in each state: nothing is sent, read or answered from then on.
fn vanishings(aim: &Aim) -> Vec<Script> {
    interrupted(aim, Act::Stay).into_iter().map(|script| script.reading(Reading::Nothing)).collect()
}

/// Connected; half a head; upgraded; half a frame; then `last`.
fn interrupted(aim: &Aim, last: Act) -> Vec<Script> {
    let head = head(aim, "");
    let frame = text(wire::TEST_REQUEST);
    vec![
        Script::new(vec![last.clone()]),
        Script::new(vec![Act::Send(head[..head.len() / 2].to_vec()), last.clone()]),
        opened(aim, vec![last.clone()]),
        opened(aim, vec![Act::Send(frame[..frame.len() / 2].to_vec()), last]),
    ]
}

/// Upgrades, then does `acts`.
fn opened(aim: &Aim, acts: Vec<Act>) -> Script {
    let first = [Act::Send(head(aim, "")), Act::AwaitUpgrade];
    Script::new(first.into_iter().chain(acts).collect())
}

/// Upgrades, then says this.
fn said(aim: &Aim, bytes: Vec<u8>) -> Script {
    opened(aim, vec![Act::Send(bytes), Act::Stay])
}

/// Says this at once.
fn greeted(bytes: Vec<u8>) -> Script {
    Script::new(vec![Act::Send(bytes), Act::Stay])
}

fn head(aim: &Aim, fields: &str) -> Vec<u8> {
    wire::upgrade_request(&aim.host, fields).into_bytes()
}

fn text(text: &str) -> Vec<u8> {
    masked(FIN | frame::TEXT, text.as_bytes())
}

/// A client's frame whose first byte is as given, right or wrong.
fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::encode_client(frame::TEXT, payload, &mut frame);
    frame[0] = first_byte;
    frame
}

/// Bytes that are no text and no line.
fn pattern(index: u32) -> u8 {
    u8::try_from(index.wrapping_mul(97) % 128).expect("invariant: below 128") | 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim() -> Aim {
        Aim { host: "127.0.0.1:9001".to_owned(), messages_per_s: 1_000 }
    }

    #[test]
    fn every_abuse_has_its_own_name_and_a_script() {
        let mut names: Vec<&str> = Abuse::ALL.iter().map(|abuse| abuse.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Abuse::ALL.len());
        for abuse in Abuse::ALL {
            let scripts = abuse.scripts(&aim());
            assert!(!scripts.is_empty() && scripts.iter().all(|script| !script.acts.is_empty()), "{abuse:?}");
        }
    }

    #[test]
    fn a_script_ends_with_an_act_that_has_no_next() {
        for abuse in Abuse::ALL {
            for script in abuse.scripts(&aim()) {
                let last = script.acts.last().unwrap();
                assert!(matches!(last, Act::Stay | Act::Reset | Act::Pour { .. }), "{abuse:?} {last:?}");
            }
        }
    }

    #[test]
    fn a_flood_pours_at_the_asked_rate() {
        for messages_per_s in [1, 50, 150, 1_000, 20_000] {
            let aim = Aim { messages_per_s, ..aim() };
            let script = Abuse::MessageFlood.scripts(&aim).remove(0);
            let Some(Act::Pour { messages, interval_ns, .. }) = script.acts.last() else {
                panic!("no flood")
            };
            let poured_per_s = messages * SECOND_NS / interval_ns;
            assert!(poured_per_s.abs_diff(messages_per_s) * 10 <= messages_per_s, "{poured_per_s}");
        }
    }

    #[test]
    fn resets_happen_in_five_states() {
        let scripts = Abuse::ResetInEachState.scripts(&aim());
        assert_eq!(scripts.len(), 5);
        assert!(scripts.iter().all(|script| script.acts.last() == Some(&Act::Reset)));
    }

    #[test]
    fn garbage_has_no_line_and_is_no_tls() {
        let Act::Send(bytes) = &Abuse::GarbageGreeting.scripts(&aim())[0].acts[0] else { panic!("not sent") };
        assert!(!bytes[..512].contains(&b'\n') && bytes.iter().filter(|byte| **byte < 0x80).count() == 4);
    }

    #[test]
    fn the_bomb_fits_a_frame_of_64_kib() {
        let script = Abuse::DeflateBomb.scripts(&aim()).remove(0);
        let Act::Send(frame) = &script.acts[3] else { panic!("not sent") };
        assert!(frame.len() < 64 * 1024 && 64 * 1024 < 258 * BOMB_MATCHES);
    }
}
