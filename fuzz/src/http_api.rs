//! Calls of methods over HTTP on the client port: a hub with an instrument, one connection, and an authority that says at once
//! who somebody is, or that nobody is anybody.
//!
//! Property: whatever the bytes, nothing panics; the answers, byte for byte, and whether the connection is ended do not hang on how
//! the bytes were cut (but for `100 Continue`, which is for those who wait); they are whole, in the order of the requests, one for
//! each that is there to its last byte by another reading of the framing, up to the one that ends the connection or leaves HTTP;
//! what is said to be JSON is read by serde_json.
//!
//! Input: a byte for the authority, lengths of reads (`pieces`), then what the client sends.

use std::sync::Arc;

use serde::de::IgnoredAny;
use tickring::auth::{Credential, Key, Login, Patterns, Reach, Refusal, Scopes, Secret, Verdict};
use tickring::http::{self, Persistence};
use tickring::hub::history::HistoryLimits;
use tickring::hub::market::MarketHome;
use tickring::hub::{Arrival, Effect, Hub, HubConfig, LoginQuestion};
use tickring::model::ids::{ConnId, HomeId, SourceId};
use tickring::model::market::{FeedBuffer, FeedEvent};
use tickring::model::order::AccountId;

use crate::linked_world::{NOW, definition};
use crate::pieces::{cut, take_lengths};

const CONN: ConnId = ConnId { slot: 0, generation: 1 };
const BODY_BYTES_MAX: u32 = 2_000;
/// Each byte alone is a look at an unfinished head.
const SINGLE_BYTES_MAX: usize = 1_500;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((authority, rest)) = input.split_first() else { return };
    let is_trusting = authority & 1 == 1;
    let (lengths, bytes) = take_lengths(rest);
    let whole = Side::talk(is_trusting, std::iter::once(bytes));
    let (answers, continued) = read_answers(bytes, &whole.said);
    judge(bytes, &answers, &whole);
    let asks = bytes.windows(12).any(|text| text.eq_ignore_ascii_case(b"100-continue"));
    assert!(continued <= usize::from(asks), "told to go on without waiting for it");
    let mut others = vec![Side::talk(is_trusting, cut(lengths, bytes))];
    if bytes.len() <= SINGLE_BYTES_MAX {
        others.push(Side::talk(is_trusting, bytes.chunks(1)));
    }
    for other in others {
        assert_eq!(read_answers(bytes, &other.said).0, answers, "in reads of {lengths:?}");
        if answers.last().is_none_or(|answer| answer.status != ELSEWHERE) {
            assert_eq!((other.is_ended, other.waits), (whole.is_ended, whole.waits));
        }
    }
}

/// The gateway, as far as this connection sees it.
struct Side {
    hub: Hub,
    market: MarketHome,
    is_trusting: bool,
    said: Vec<u8>,
    is_ended: bool,
    /// It reads no more for now.
    waits: bool,
    /// Another protocol is spoken from here on.
    is_switched: bool,
}

impl Side {
    fn talk<'b>(is_trusting: bool, pieces: impl Iterator<Item = &'b [u8]>) -> Side {
        let history = HistoryLimits { frames_max: 4, bytes_max: 4096, replayed_bytes_per_turn: 1000 };
        let mut config = HubConfig { history, logins_per_minute_max: 0, ..HubConfig::default() };
        config.receive.message_bytes_max = BODY_BYTES_MAX;
        let hub = Hub::new(HomeId(0), 1, config, NOW);
        let market = MarketHome::new(HomeId(1), 1, history, NOW);
        let mut side = Side {
            hub,
            market,
            is_trusting,
            said: Vec::new(),
            is_ended: false,
            waits: false,
            is_switched: false,
        };
        let mut feed = FeedBuffer::default();
        feed.events.push(FeedEvent::Listed { definition: Box::new(definition()) });
        side.market.handle_feed(SourceId::FEED, &feed, NOW);
        side.hub.handle_open(CONN, Arrival::FIRST, NOW);
        side.carry();
        for piece in pieces {
            if side.is_ended || side.waits || side.is_switched {
                break;
            }
            side.hub.handle_bytes(CONN, &mut piece.to_vec(), NOW);
            side.carry();
        }
        side
    }

    /// Turns until nothing moves.
    fn carry(&mut self) {
        while self.turn() {}
    }

    fn turn(&mut self) -> bool {
        let mut moved = false;
        while let Some(effect) = self.hub.poll_effect() {
            moved = true;
            match effect {
                Effect::Disconnect { .. } => self.is_ended = true,
                Effect::PauseReading { .. } => self.waits = true,
                Effect::ResumeReading { .. } => self.waits = false,
                Effect::Report { .. } => {}
                Effect::Name { conn, .. } => self.hub.handle_named(conn, None, NOW),
            }
        }
        while let Some(question) = self.hub.poll_question() {
            moved = true;
            if let LoginQuestion::Judge { ticket, .. } = question {
                let verdict = if self.is_trusting {
                    Verdict::Granted { login: login(), tokens: None }
                } else {
                    Verdict::Refused(Refusal::Credentials)
                };
                self.hub.handle_verdict(ticket, verdict, NOW);
            }
        }
        self.hub.seal(NOW);
        while let Some(outgoing) = self.hub.poll_mesh() {
            moved = true;
            for to in outgoing.to.iter() {
                if to == HomeId(0) {
                    self.hub.handle_batch(HomeId(0), &outgoing.batch, NOW);
                } else {
                    self.market.handle_batch(HomeId(0), &outgoing.batch, NOW);
                }
            }
        }
        self.market.seal();
        while let Some(outgoing) = self.market.poll_mesh() {
            moved = true;
            self.hub.handle_batch(HomeId(1), &outgoing.batch, NOW);
        }
        let mut out = [0; 4096];
        loop {
            let written = self.hub.poll_transmit(CONN, &mut out);
            if written == 0 {
                return moved;
            }
            moved = true;
            let before = self.said.len().saturating_sub(SWITCH.len());
            self.said.extend_from_slice(&out[..written]);
            self.is_switched |= self.said[before..].windows(SWITCH.len()).any(|text| text == SWITCH);
            self.hub.handle_sent(CONN, NOW);
        }
    }
}

fn login() -> Box<Login> {
    let scopes = Scopes::parse(["trade:read_write", "account:read_write"]).expect("known");
    let credential = Credential {
        client_id: "a".into(),
        account: "account".into(),
        name: "".into(),
        key: Key::Secret(Secret::new(b"secret")),
        scopes,
        subscribe: Patterns::ANY,
        publish: Patterns::ANY,
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    };
    Box::new(Login {
        credential: Arc::new(credential),
        account: AccountId(1),
        scopes,
        session: None,
        grant: None,
        expires_unix_ms: u64::MAX,
    })
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n";
/// Stands for the answer to what is no call behind calls: it hangs on whether the client had taken the answers to these.
const ELSEWHERE: u16 = 0;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: u16,
    head: String,
    body: String,
    closes: bool,
}

/// The answers, and how often somebody was told to go on.
fn read_answers(asked: &[u8], mut said: &[u8]) -> (Vec<Told>, usize) {
    let (mut answers, mut continued) = (Vec::new(), 0);
    let mut requests = Requests { left: asked };
    let mut is_head = requests.is_head();
    while !said.is_empty() {
        if let Some(rest) = said.strip_prefix(CONTINUE) {
            (said, continued) = (rest, continued + 1);
            continue;
        }
        let end = said.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer's head ends") + 4;
        let head = std::str::from_utf8(&said[..end]).expect("an answer's head is text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line[..3].parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let field = |name: &str| {
            let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        if status == 101 && answers.is_empty() {
            answers.push(Told { status, head: head.to_owned(), body: String::new(), closes: true });
            break;
        }
        let length: usize = field("Content-Length").map_or(0, |length| length.parse().expect("a length"));
        let length = if is_head { 0 } else { length };
        let body = std::str::from_utf8(&said[end..][..length]).expect("a body is text").to_owned();
        if !body.is_empty() && field("Content-Type") == Some("application/json") {
            _ = serde_json::from_str::<IgnoredAny>(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        }
        let closes = field("Connection").is_some_and(|list| list.split(", ").any(|word| word == "close"));
        if !answers.is_empty() && requests.is_other() {
            answers.push(Told { status: ELSEWHERE, head: String::new(), body: String::new(), closes: true });
            break;
        }
        answers.push(Told { status, head: head.to_owned(), body, closes });
        said = &said[end + length..];
        _ = requests.next();
        is_head = requests.is_head();
    }
    (answers, continued)
}

/// What is asked, by a reading of the framing that knows no more than RFC 9112 §6.
struct Requests<'b> {
    left: &'b [u8],
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Whole, and what it says of the connection.
    Whole(Persistence),
    /// Not whole; one that is no call may be answered by its head.
    Unfinished { is_call: bool },
    /// It has no end that could be known, or none within the limits.
    Malformed,
}

impl Requests<'_> {
    fn is_head(&self) -> bool {
        let line = self.left.iter().position(|byte| !b"\r\n".contains(byte)).map(|at| &self.left[at..]);
        line.is_some_and(|line| line.starts_with(b"HEAD "))
    }

    /// Whether the next one is neither a call nor a probe.
    fn is_other(&self) -> bool {
        let path = http::parse(self.left).ok().flatten().map(|request| request.path.to_owned());
        path.is_some_and(|path| !is_call(&path) && path != "/healthz" && path != "/ready")
    }

    fn next(&mut self) -> Asked {
        let request = match http::parse(self.left) {
            Ok(Some(request)) => request,
            Ok(None) => return Asked::Unfinished { is_call: true },
            Err(_) => return Asked::Malformed,
        };
        let is_call = is_call(request.path);
        let lengths: Vec<_> = request.values("Content-Length").collect();
        let length = match lengths[..] {
            [] if request.method == "POST" => None,
            [] => Some(0),
            [length] if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(length).ok().and_then(|length| length.parse::<usize>().ok())
            }
            _ => None,
        };
        let expectations: Vec<_> = request.values("Expect").collect();
        let expects_other = match expectations[..] {
            [] => false,
            [expected] => !expected.eq_ignore_ascii_case(b"100-continue"),
            _ => true,
        };
        let is_coded = request.value("Transfer-Encoding").is_some();
        let Some(length) =
            length.filter(|length| *length <= BODY_BYTES_MAX as usize && !expects_other && !is_coded)
        else {
            return Asked::Malformed;
        };
        let closes = request.list_contains("Connection", "close");
        let persistence = if closes { Persistence::Close } else { Persistence::KeepAlive };
        match self.left.get(request.head_bytes + length..) {
            Some(rest) => {
                self.left = rest;
                Asked::Whole(persistence)
            }
            None => Asked::Unfinished { is_call },
        }
    }
}

fn is_call(path: &str) -> bool {
    path == "/api/v2" || path.starts_with("/api/v2/")
}

/// Each request has its answer, and nothing else has one.
fn judge(bytes: &[u8], answers: &[Told], side: &Side) {
    let mut requests = Requests { left: bytes };
    let mut answers = answers.iter();
    loop {
        let asked = requests.next();
        let answer = answers.next();
        match (asked, answer) {
            (Asked::Whole(persistence), Some(answer)) => {
                assert!(answer.closes || persistence == Persistence::KeepAlive, "{answer:?}");
            }
            (Asked::Whole(_), None) => return assert!(side.waits, "a request without an answer"),
            (Asked::Malformed, answer) => {
                assert!(answer.is_some_and(|answer| answer.closes), "{answer:?}");
            }
            (Asked::Unfinished { is_call }, Some(answer)) => assert!(!is_call && answer.closes, "{answer:?}"),
            (Asked::Unfinished { .. }, None) => return assert!(!side.is_ended, "ended without a word"),
        }
        if answer.is_some_and(|answer| answer.closes) {
            break;
        }
    }
    assert_eq!(answers.next(), None, "an answer to nothing");
}
