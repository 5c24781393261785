//! A client: speaks WebSocket and JSON-RPC over its link, remembers what it asked and where its channels stand. PURE.
//! What it is told is judged by `oracle`.

use std::collections::BTreeMap;

use super::caller::Caller;
use super::hostile::Hostile;
use super::random::Random;
use super::reference::NaiveBook;
use super::trader::Trader;

/// What a channel is, from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ticker,
    Quote,
    Book,
    GroupedBook,
    Trades,
    Topic,
}

impl Kind {
    /// # Panics
    /// On a text that the workload never asks for.
    #[must_use]
    pub(super) fn of(channel: &str) -> Kind {
        let parts: Vec<&str> = channel.split('.').collect();
        match (parts[0], parts.len()) {
            ("ticker", _) => Kind::Ticker,
            ("quote", _) => Kind::Quote,
            ("trades", _) => Kind::Trades,
            ("topic", _) => Kind::Topic,
            ("book", 3) => Kind::Book,
            ("book", 5) => Kind::GroupedBook,
            other => panic!("no kind of channel: {other:?}"),
        }
    }

    /// Whether each notification says all there is to say.
    #[must_use]
    pub(super) fn is_value(self) -> bool {
        match self {
            Kind::Ticker | Kind::Quote | Kind::GroupedBook => true,
            Kind::Book | Kind::Trades | Kind::Topic => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Lossless,
    Latest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No reply yet: nothing may be told.
    Requested,
    Active,
    /// Unsubscribed; what was queued before may still come.
    Draining,
}

/// One channel of one client.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) kind: Kind,
    pub(super) class: Class,
    pub(super) checksum: bool,
    pub(super) standing: Standing,
    /// When its reply came.
    pub(super) joined_step: u64,
    /// Trades of its instrument when its reply came.
    pub(super) joined_trades: usize,
    /// First and last position that was told since it was joined or resumed.
    pub(super) first: Option<(u64, u64)>,
    pub(super) last: Option<(u64, u64)>,
    /// Continues from `last` without a hole.
    pub(super) resumed: bool,
    pub(super) book: Option<NaiveBook>,
    pub(super) change_id: u64,
    pub(super) first_trade: Option<u64>,
    pub(super) last_trade: Option<u64>,
    /// The data of the newest notification.
    pub(super) value: String,
    /// Where it has been told that events are left out: the place that is told next.
    pub(super) skips_to: Option<(u64, u64)>,
}

impl Subscription {
    #[must_use]
    pub(super) fn new(channel: &str, class: Option<Class>, checksum: bool) -> Subscription {
        let kind = Kind::of(channel);
        let class = match kind {
            Kind::Trades => Class::Lossless,
            Kind::Topic => class.unwrap_or(Class::Lossless),
            Kind::Ticker | Kind::Quote | Kind::Book | Kind::GroupedBook => class.unwrap_or(Class::Latest),
        };
        Subscription {
            kind,
            class,
            checksum,
            standing: Standing::Requested,
            joined_step: 0,
            joined_trades: 0,
            first: None,
            last: None,
            resumed: false,
            book: None,
            change_id: 0,
            first_trade: None,
            last_trade: None,
            value: String::new(),
            skips_to: None,
        }
    }
}

/// A `*` channel.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) class: Option<Class>,
    pub(super) standing: Standing,
}

/// What a request asked for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Subscribe { channels: Vec<String>, resume: Vec<String> },
    Unsubscribe,
    UnsubscribeAll,
    Publish { serial: usize },
    Test,
    Fault { code: i64 },
    Heartbeat,
    OrderBook { instrument: String, depth: usize },
}

/// A frame as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// By an HTTP status, instead of an upgrade.
    Refused(u16),
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) number: usize,
    /// Of its connection, while it has one.
    pub(super) link: Option<usize>,
    /// Upgraded.
    pub(super) open: bool,
    /// It has sent a close frame or got one, or it has sent what ends in one: nothing is owed to it.
    pub(super) closing: bool,
    /// It has been told a close: the last that it may be told.
    pub(super) told_close: bool,
    /// It was refused, with so many bytes after the head.
    refusal_bytes: Option<usize>,
    /// It answers no ping.
    pub(super) deaf: bool,
    incoming: Vec<u8>,
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) next_id: u64,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    pub(super) patterns: BTreeMap<String, Pattern>,
    /// It keeps no rule, and is judged as such.
    pub(super) hostile: Option<Box<Hostile>>,
    /// It has asked for SBE. Its market data are in it, and nothing of them may be in JSON.
    pub(super) reads_sbe: bool,
    /// It trades, and is judged by the ledger.
    pub(super) trader: Option<Box<Trader>>,
    /// It calls backends, and is judged by what it asked.
    pub(super) caller: Option<Box<Caller>>,
    /// Where its channels stood when its connection was lost.
    pub(super) remembered: BTreeMap<String, Subscription>,
}

pub(super) const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The same for market data in SBE.
pub(super) const UPGRADE_TO_SBE: &[u8] =
    b"GET /ws?encoding=sbe&schema=1&version=0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Client {
    #[must_use]
    pub(super) fn new(number: usize) -> Client {
        Client { number, ..Client::default() }
    }

    /// A new connection begins.
    pub(super) fn begin(&mut self, link: usize) {
        self.link = Some(link);
        self.open = false;
        self.closing = false;
        self.told_close = false;
        self.refusal_bytes = None;
        self.deaf = false;
        self.incoming.clear();
        if let Some(hostile) = &mut self.hostile {
            **hostile = Hostile::new();
        }
    }

    /// The connection is gone: what stood on it is remembered.
    pub(super) fn lose(&mut self) {
        self.link = None;
        self.open = false;
        if let Some(trader) = &mut self.trader {
            trader.lose();
        }
        if let Some(caller) = &mut self.caller {
            caller.lose();
        }
        self.requests.clear();
        self.patterns.clear();
        for (channel, subscription) in std::mem::take(&mut self.subscriptions) {
            match subscription.standing {
                Standing::Active if subscription.last.is_some() => {
                    self.remembered.insert(channel, subscription);
                }
                Standing::Active | Standing::Requested | Standing::Draining => {}
            }
        }
    }

    pub(super) fn id(&mut self, request: Request) -> u64 {
        self.next_id += 1;
        self.requests.insert(self.next_id, request);
        self.next_id
    }

    /// Takes bytes from the server; each whole frame in them is told.
    ///
    /// # Panics
    /// On bytes that no server may send.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.incoming.extend_from_slice(bytes);
        if self.is_refused() {
            return Vec::new();
        }
        if !self.open {
            let end = self.incoming.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { return Vec::new() };
            let head: Vec<u8> = self.incoming.drain(..end + 4).collect();
            if !head.starts_with(b"HTTP/1.1 101 ") {
                let (status, body_bytes) = read_refusal(&head);
                self.closing = true;
                self.refusal_bytes = Some(body_bytes);
                return vec![Told::Refused(status)];
            }
            self.open = true;
        }
        let mut told = Vec::new();
        while let Some((opcode, payload)) = take_frame(&mut self.incoming) {
            assert!(!self.told_close, "client {}: told more after the close", self.number);
            self.told_close = opcode == 8;
            let text =
                |payload: &[u8]| String::from_utf8(payload.to_vec()).expect("a server's text is UTF-8");
            told.push(match opcode {
                1 => Told::Text(text(&payload)),
                2 => Told::Binary(payload),
                8 if payload.is_empty() => Told::Close(None, String::new()),
                8 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    Told::Close(Some(code), text(&payload[2..]))
                }
                9 => Told::Ping(payload),
                10 => Told::Pong(payload),
                other => panic!("client {}: opcode {other}", self.number),
            });
        }
        told
    }

    #[must_use]
    pub(super) fn is_refused(&self) -> bool {
        self.refusal_bytes.is_some()
    }

    /// What it was sent has come to an end: of a frame, or of all of a refusal.
    #[must_use]
    pub(super) fn is_between_frames(&self) -> bool {
        self.incoming.len() == self.refusal_bytes.unwrap_or(0)
    }
}

/// The status of an answer that is no upgrade, and the length of its body.
fn read_refusal(head: &[u8]) -> (u16, usize) {
    let head = std::str::from_utf8(head).expect("a server's head is ASCII");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let (Some(status), Some(length)) = (status, length) else { panic!("no refusal: {head}") };
    (status, length)
}

/// The first whole frame of a server.
fn take_frame(incoming: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*incoming.first()?, *incoming.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "a server's frame is whole and without reserved bits");
    assert_eq!(second & 0x80, 0, "a server's frame is not masked");
    let (header, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*incoming.get(2)?, *incoming.get(3)?]))),
        127 => {
            let bytes: [u8; 8] = incoming.get(2..10)?.try_into().expect("eight bytes");
            (10, usize::try_from(u64::from_be_bytes(bytes)).expect("a frame fits into memory"))
        }
        len => (2, usize::from(len)),
    };
    if incoming.len() < header + len {
        return None;
    }
    let payload = incoming[header..header + len].to_vec();
    incoming.drain(..header + len);
    Some((first & 0x0f, payload))
}

/// A masked frame; `first` is its first byte.
pub(super) fn push_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], random: &mut Random) {
    out.push(first);
    match u16::try_from(payload.len()).expect("a client's frames are short") {
        0..=125 => out.push(0x80 | u8::try_from(payload.len()).expect("below 126")),
        len => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    let [one, two, three, four, ..] = random.bits().to_be_bytes();
    let mask = [one, two, three, four];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
}

/// A text message, sometimes in fragments with a ping between them.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str, random: &mut Random) {
    push_message(out, 1, text.as_bytes(), random);
}

/// The same of a message with this opcode.
pub(super) fn push_message(out: &mut Vec<u8>, opcode: u8, payload: &[u8], random: &mut Random) {
    if random.chance(85) {
        return push_frame(out, 0x80 | opcode, payload, random);
    }
    let cut = random.below(payload.len() + 1);
    push_frame(out, opcode, &payload[..cut], random);
    if random.chance(50) {
        push_frame(out, 0x89, b"between", random);
    }
    push_frame(out, 0x80, &payload[cut..], random);
}
