//! Clients that keep no rule: greetings, bytes, frames and requests of chance's making, beside the others. PURE.
//!
//! What one may be told follows from what its hub has received: exactly one reply to each request with an id, no channel that
//! it has not asked for, no event twice or out of order. It is read here as the hub reads it, by the receiver and the decoder,
//! whose own properties the fuzz targets `websocket` and `json_rpc` hold.

use std::collections::BTreeMap;

use crate::dialect::json_rpc::{self, Incoming, Method, Parsed};
use crate::dialect::negotiation::negotiate;
use crate::dialect::sbe::decode_order_message;
use crate::http;
use crate::model::encoding::Encoding;
use crate::ws::handshake;
use crate::ws::receiver::{Event, Receiver};

use super::client::{UPGRADE, UPGRADE_TO_SBE, push_frame, push_message};
use super::json::{Json, Value};
use super::oracle::{Oracle, parse_told, pattern_of};
use super::random::Random;
use super::reference::Reference;
use super::sbe::{self, Reader};
use super::sbe_trader::{REJECT, Shape, Terms, amend_order, cancel_order, new_order};
use super::world::{RECEIVE_LIMITS, World};

/// What its hub makes of the bytes.
#[derive(Debug)]
enum Stage {
    /// So much of the request has been received.
    Upgrading(Vec<u8>),
    Open(Receiver, Encoding),
    /// Nothing more is read of it.
    Over,
}

/// A reply that is due, by the ids as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owed {
    One(String),
    /// Of a batch, sorted.
    Many(Vec<String>),
    /// A reject of a binary message: nobody of these has logged in. Its correlation, as bytes, and its template.
    Reject(u64, u16),
}

#[derive(Debug)]
pub(super) struct Hostile {
    stage: Stage,
    owed: Vec<Owed>,
    /// How often a channel, or a `*` channel, was asked for.
    asked: BTreeMap<String, u32>,
    /// The newest position of a channel.
    told: BTreeMap<String, (u64, u64)>,
}

impl Hostile {
    #[must_use]
    pub(super) fn new() -> Hostile {
        let (asked, told) = (BTreeMap::new(), BTreeMap::new());
        Hostile { stage: Stage::Upgrading(Vec::new()), owed: Vec::new(), asked, told }
    }

    /// Its hub has received bytes.
    pub(super) fn received(&mut self, bytes: &[u8], reference: &mut Reference) {
        let mut bytes = bytes.to_vec();
        if let Stage::Upgrading(head) = &mut self.stage {
            head.extend_from_slice(&bytes);
            self.stage = match http::parse(head) {
                Ok(None) => return,
                Ok(Some(request)) => match encoding_of(&request) {
                    Some(encoding) => {
                        bytes = head[request.head_bytes..].to_vec();
                        Stage::Open(Receiver::new(RECEIVE_LIMITS), encoding)
                    }
                    None => Stage::Over,
                },
                Err(_) => Stage::Over,
            };
        }
        let mut at = 0;
        while at < bytes.len() {
            let Stage::Open(receiver, encoding) = &mut self.stage else { return };
            let (text, taken) = match receiver.step(&mut bytes[at..]) {
                Ok((taken, Some(Event::Text(text)))) => (Some(text.into_owned()), taken),
                Ok((taken, None | Some(Event::Ping(_) | Event::Pong(_)))) => (None, taken),
                Ok((taken, Some(Event::Binary(message))))
                    if *encoding == Encoding::Sbe && decode_order_message(&message).is_some() =>
                {
                    self.owed.extend(reject_of(&message));
                    (None, taken)
                }
                Ok((_, Some(Event::Binary(_) | Event::Close(_)))) | Err(_) => {
                    self.stage = Stage::Over;
                    return;
                }
            };
            at += taken;
            if let Some(text) = text {
                self.asks(&text, reference);
            }
        }
    }

    /// It has asked for an upgrade, or for what is none.
    pub(super) fn has_asked(&self) -> bool {
        !matches!(self.stage, Stage::Upgrading(_))
    }

    /// It has ended the connection, or given its hub a reason to.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    fn asks(&mut self, text: &str, reference: &mut Reference) {
        match json_rpc::decode(text.as_bytes()) {
            Incoming::Single(parsed) => {
                let id = self.note(&parsed, reference);
                self.owed.extend(id.map(Owed::One));
            }
            Incoming::Batch(batch) => {
                let mut ids: Vec<String> =
                    batch.iter().filter_map(|parsed| self.note(parsed, reference)).collect();
                ids.sort_unstable();
                if !ids.is_empty() {
                    self.owed.push(Owed::Many(ids));
                }
            }
            Incoming::Invalid(_) => self.owed.push(Owed::One("null".to_string())),
        }
    }

    /// Notes what one request asks for; its id, if it has one.
    fn note(&mut self, parsed: &Parsed<'_>, reference: &mut Reference) -> Option<String> {
        match &parsed.call {
            Ok(Method::Subscribe(subscribe)) => {
                for channel in &subscribe.channels {
                    *self.asked.entry(channel.to_string()).or_default() += 1;
                }
            }
            Ok(Method::Publish { topic, data }) => {
                let data = std::str::from_utf8(data).expect("a part of a text");
                reference.publish_unchecked(&format!("topic.{topic}"), data);
            }
            Ok(_) | Err(_) => {}
        }
        parsed.id.map(|id| id.as_str().to_string())
    }

    /// It was sent a text.
    ///
    /// # Panics
    /// Where that is nothing that it may be told.
    pub(super) fn judge(&mut self, text: &str, oracle: &mut Oracle) {
        let json = parse_told(text);
        let answered = if let Value::Array(replies) = &json.value {
            let mut ids: Vec<String> = replies.iter().map(|reply| reply.at("id").raw.to_string()).collect();
            ids.sort_unstable();
            Owed::Many(ids)
        } else if json.member("method").is_none() {
            Owed::One(json.at("id").raw.to_string())
        } else if json.at("method").text() == Some("heartbeat") {
            return;
        } else {
            return self.judge_notification(json.at("params"), oracle);
        };
        let place = self.owed.iter().position(|owed| *owed == answered);
        let place = place.unwrap_or_else(|| panic!("a reply that is not owed: {text}, but {:?}", self.owed));
        self.owed.swap_remove(place);
        oracle.count("hostile reply");
    }

    /// It was sent a binary message.
    ///
    /// # Panics
    /// Where that is nothing that it may be told.
    pub(super) fn judge_binary(&mut self, message: &[u8], oracle: &mut Oracle) {
        assert!(
            matches!(self.stage, Stage::Upgrading(_) | Stage::Over | Stage::Open(_, Encoding::Sbe)),
            "a binary message to who has asked for JSON"
        );
        if message[2..4] == REJECT.to_le_bytes() {
            let answered = read_reject(message);
            let place = self.owed.iter().position(|owed| *owed == answered);
            let place = place
                .unwrap_or_else(|| panic!("a reject that is not owed: {answered:?}, but {:?}", self.owed));
            self.owed.swap_remove(place);
            return oracle.count("hostile reject");
        }
        match sbe::read(message) {
            sbe::Told::Notification(params) => {
                oracle.count("hostile notification in SBE");
                self.judge_place(&parse_told(&params));
            }
            sbe::Told::Gap { channel, .. } => _ = self.times_asked(&channel),
            sbe::Told::Heartbeat { .. } => {}
        }
    }

    fn judge_notification(&mut self, params: &Json<'_>, oracle: &mut Oracle) {
        oracle.count("hostile notification");
        let (channel, position) = self.judge_place(params);
        let reads_sbe = matches!(self.stage, Stage::Open(_, Encoding::Sbe));
        assert!(channel.starts_with("topic.") || !reads_sbe, "{channel} in JSON to who has asked for SBE");
        if is_event(channel) {
            oracle.reference.tell(channel, position, params.at("data").raw);
        }
    }

    /// Channel and place of a notification that it may be told; places are of the connection's encoding.
    fn judge_place<'t>(&mut self, params: &'t Json<'t>) -> (&'t str, (u64, u64)) {
        let channel = params.at("channel").text().expect("a channel is a text");
        let position = (params.at("epoch").whole(), params.at("seq").whole());
        let times = self.times_asked(channel);
        // Asked for again, a channel may start over.
        if let (Some(last), 1) = (self.told.insert(channel.to_string(), position), times) {
            let in_order = if is_event(channel) { position > last } else { position >= last };
            assert!(in_order, "{channel} goes from {last:?} to {position:?}");
        }
        (channel, position)
    }

    /// How often a channel was asked for, itself or by a pattern.
    fn times_asked(&self, channel: &str) -> u32 {
        let times = [channel, pattern_of(channel).as_str()].map(|asked| self.asked.get(asked).copied());
        let times: u32 = times.into_iter().flatten().sum();
        assert!(times > 0, "told of {channel} unasked");
        times
    }

    /// All that was sent has been received and answered.
    ///
    /// # Panics
    /// Where a reply is still owed.
    pub(super) fn judge_rest(&self) {
        if let Stage::Open(..) = self.stage {
            assert!(self.owed.is_empty(), "a hostile client waits for {:?}", self.owed);
        }
    }
}

/// Whether each event of a channel is told once.
fn is_event(channel: &str) -> bool {
    channel.starts_with("topic.") || channel.starts_with("trades.")
}

/// What a request for an upgrade is granted, if it is.
fn encoding_of(request: &http::Request<'_>) -> Option<Encoding> {
    let upgrade = handshake::upgrade(request).ok()?;
    let form = negotiate(request.query, upgrade.subprotocols()).ok()?.form;
    assert!(!form.is_batched(), "a hostile client asks for no batches");
    Some(form.encoding())
}

/// What is owed to who sends a binary message that has a header.
fn reject_of(message: &[u8]) -> Option<Owed> {
    let decoded = decode_order_message(message)?;
    Some(Owed::Reject(decoded.correlation_id.unwrap_or(u64::MAX), decoded.template_id))
}

fn read_reject(message: &[u8]) -> Owed {
    let mut reader = Reader { rest: message };
    assert_eq!([reader.u16(), reader.u16(), reader.u16(), reader.u16()], [46, REJECT, 1, 0]);
    let correlation = reader.u64();
    // Both times, the order, code, credits and the time to wait.
    reader.take::<36>();
    let template = reader.u16();
    (0..3).for_each(|_| _ = reader.text());
    assert!(reader.rest.is_empty(), "bytes behind a reject");
    Owed::Reject(correlation, template)
}

/// What is sent first: a request for an upgrade, perhaps damaged or with more behind it.
pub(super) fn greeting(random: &mut Random, reads_sbe: bool) -> Vec<u8> {
    let mut greeting = if reads_sbe { UPGRADE_TO_SBE } else { UPGRADE }.to_vec();
    match random.below(10) {
        0 => {
            let at = random.below(greeting.len());
            greeting[at] = byte(random);
        }
        1 => greeting.truncate(random.below(greeting.len())),
        2 => {
            let at = random.below(greeting.len());
            greeting.splice(at..at, [byte(random)]);
        }
        3 => greeting = bytes(random, 12),
        4 => greeting.extend(bytes(random, 12)),
        5 => push_frame(&mut greeting, 0x81, b"{}", random),
        _ => {}
    }
    greeting
}

/// It does something.
pub(super) fn act(world: &mut World, link: usize) {
    let is_in_sbe = world.links[link].client.is_some_and(|client| world.clients[client].reads_sbe);
    let random = &mut world.random;
    let mut out = Vec::new();
    if is_in_sbe && random.chance(40) {
        let message = order_message(random);
        push_message(&mut out, 2, &message, random);
        if !world.links[link].client_ended {
            world.links[link].upward.extend(out);
        }
        return;
    }
    match random.below(16) {
        0 => out = bytes(random, 16),
        1 => {
            let (first, payload) = (byte(random), bytes(random, 40));
            push_frame(&mut out, first, &payload, random);
        }
        2 => {
            let payload = bytes(random, 40);
            push_frame(&mut out, 0x81, &payload, random);
        }
        3 => {
            let mut text = request(random, &world.oracle.reference).into_bytes();
            let at = random.below(text.len());
            text[at] = byte(random);
            push_frame(&mut out, 0x81, &text, random);
        }
        4 | 5 => {
            let texts: Vec<String> =
                (0..random.between(0, 5)).map(|_| request(random, &world.oracle.reference)).collect();
            push_frame(&mut out, 0x81, format!("[{}]", texts.join(",")).as_bytes(), random);
        }
        6 => {
            let text = request(random, &world.oracle.reference);
            for piece in text.as_bytes().chunks(random.between(1, 60)) {
                let first = if piece.as_ptr() == text.as_ptr() { 0x01 } else { 0x00 };
                push_frame(&mut out, first, piece, random);
            }
            push_frame(&mut out, 0x80, b"", random);
        }
        7 => world.links[link].stalled ^= true,
        8 => match random.below(6) {
            0 => world.links[link].cut = true,
            1 => world.links[link].client_ended = true,
            2 => push_frame(&mut out, 0x88, &bytes(random, 4), random),
            _ => push_frame(&mut out, 0x89, &bytes(random, 4), random),
        },
        _ => {
            let text = request(random, &world.oracle.reference);
            push_frame(&mut out, 0x81, text.as_bytes(), random);
        }
    }
    if !world.links[link].client_ended {
        world.links[link].upward.extend(out);
    }
}

/// A message about an order, or nearly: a byte is another one, it is cut off, more follows, its header is of another message.
fn order_message(random: &mut Random) -> Vec<u8> {
    let shapes = [Shape::Plain, Shape::FillOrKill, Shape::RejectPostOnly];
    let mut message = match random.below(3) {
        0 => {
            let terms = Terms {
                instrument: 0,
                is_buy: true,
                price: Some(1),
                amount: 1,
                shape: *random.pick(&shapes),
            };
            let label: &str = ["", "x"][random.below(2)];
            new_order(terms, label)
        }
        1 => amend_order(1, None, Some(1)),
        _ => cancel_order(1),
    };
    // What correlates it.
    message[8] = byte(random);
    match random.below(8) {
        0 => {
            let at = random.below(message.len());
            message[at] = byte(random);
        }
        1 => message.truncate(random.below(message.len() + 1)),
        2 => message.extend(bytes(random, 12)),
        // Length of the block, template, schema or version.
        3 => {
            let at = 2 * random.below(4);
            message[at..at + 2].copy_from_slice(&[byte(random), *random.pick(&[0, 0, 1, 0xff])]);
        }
        4 => message = bytes(random, 40),
        5 => message[8..16].fill(0xff),
        _ => {}
    }
    message
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).expect("below 256")
}

/// Fewer than `count` bytes.
fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..random.below(count)).map(|_| byte(random)).collect()
}

const IDS: [&str; 8] = ["1", "2", "\"x\"", "null", "-0.5e1", "1e999", "{}", ""];

const CHANNELS: [&str; 16] = [
    "topic.a",
    "topic.b",
    "topic.h",
    "topic.",
    "book.I0-X.raw",
    "book.I1-X.100ms",
    "book.*.raw",
    "ticker.I0-X.raw",
    "ticker.*.agg2",
    "quote.I0-X",
    "quote.*",
    "trades.I0-X.raw",
    "trades.*.100ms",
    "book.I0-X.5.10.raw",
    "book.*.none.1.100ms",
    "ticker.NONE.raw",
];

const CALLS: [(&str, &str); 12] = [
    ("public/test", "{}"),
    ("public/hello", r#"{"client_name":"a","client_version":"b","nanoseconds":true}"#),
    ("public/get_instruments", r#"{"kind":"any"}"#),
    ("public/get_last_trades_by_instrument", r#"{"instrument_name":"I0-X","count":1000,"sorting":"asc"}"#),
    ("public/get_order_book", r#"{"instrument_name":"I1-X","depth":10000}"#),
    ("public/ticker", r#"{"instrument_name":"I0-X"}"#),
    ("public/unsubscribe_all", "[]"),
    ("public/set_heartbeat", r#"{"interval":10}"#),
    ("public/disable_heartbeat", "null"),
    ("public/get_currencies", "{}"),
    ("topic/publish", r#"{"topic":"h"}"#),
    ("public/nothing", "{}"),
];

/// A request's text.
fn request(random: &mut Random, reference: &Reference) -> String {
    let (method, params) = match random.below(8) {
        0 | 1 => {
            let topic = *random.pick(&["a", "b", "h", "h/1", ""]);
            let value =
                *random.pick(&["0", "{\"serial\":0}", "[[],{\"a\":1,\"a\":2}]", "\"\\ud83d\\ude00\""]);
            ("topic/publish", format!(r#"{{"topic":"{topic}","data":{value}}}"#))
        }
        2..5 => {
            let channels: Vec<&str> = (0..random.between(1, 3)).map(|_| *random.pick(&CHANNELS)).collect();
            let class = *random.pick(&["", r#","class":"lossless""#, r#","class":"latest","checksum":true"#]);
            let place = reference.newest(channels[0]).filter(|_| random.chance(50)).map_or_else(
                String::new,
                |(epoch, seq)| {
                    let seq = seq.saturating_sub(random.below(4) as u64);
                    format!(r#","resume":{{"{}":{{"epoch":{epoch},"seq":{seq}}}}}"#, channels[0])
                },
            );
            ("public/subscribe", format!(r#"{{"channels":["{}"]{class}{place}}}"#, channels.join("\",\"")))
        }
        5 => ("public/unsubscribe", format!(r#"{{"channels":["{}"]}}"#, random.pick(&CHANNELS))),
        _ => {
            let (method, params) = *random.pick(&CALLS);
            (method, params.to_string())
        }
    };
    match *random.pick(&IDS) {
        "" => format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#),
        id => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#),
    }
}
