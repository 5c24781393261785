//! The limit of orders: a bare ring that answers each request frame with the canned reply of its kind, and on an order
//! that trades tells every subscriber. It looks at nothing but a request's id, and holds no book: what is beyond it in
//! a server's figures is the dialect, the desk, the venue and the way between the threads.
//! Home: one thread, pinned by whoever starts it. Invariant: one send a socket and turn, for all that it is told.

use std::net::TcpListener;

use clap::Args;
use memchr::memmem;

use crate::clock::SECOND_NS;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::limit::upgrade_answer;
use crate::ring::{Event, Outbox, Ring, Slot, Wait};
use crate::scenarios::orders::script::{self, Deed};
use crate::wire;

/// Where the id stands in a request's frame, masked.
const ID_AT: usize = HEADER_BYTES + script::ID_PREFIX.len();
/// A request's frame has two bytes of length.
const HEADER_BYTES: usize = 8;
const _: () = assert!(126 <= script::REQUEST_BYTES && script::REQUEST_BYTES <= 65_535);
const REQUEST_FRAME_BYTES: usize = HEADER_BYTES + script::REQUEST_BYTES;

/// What it says: a server's own texts, or these.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Texts {
    /// The reply to a log-in
    #[arg(long, default_value = r#"{"jsonrpc":"2.0","id":1000006,"result":{"token_type":"bearer"}}"#)]
    pub(crate) login: String,
    /// The reply to an order that rests
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000000000,"result":{"order":{"order_id":"17","order_state":"open"},"trades":[]}}"#
    )]
    pub(crate) rest: String,
    /// The reply to an order that finds nothing
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000000001,"result":{"order":{"order_id":"17","order_state":"cancelled"},"trades":[]}}"#
    )]
    pub(crate) miss: String,
    /// The reply to an order that trades
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000000002,"result":{"order":{"order_id":"17","order_state":"filled"},"trades":[{"trade_seq":1}]}}"#
    )]
    pub(crate) take: String,
    /// The reply to a cancel
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000000003,"result":{"order_id":"17","order_state":"cancelled"}}"#
    )]
    pub(crate) cancel: String,
    /// The reply to who asks for the market
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","id":1000007,"result":{"best_ask_price":65000,"best_bid_price":64999}}"#
    )]
    pub(crate) ticker: String,
    /// What subscribers are told of a trade
    #[arg(
        long,
        default_value = r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[{"trade_seq":1}]}}"#
    )]
    pub(crate) notification: String,
}

enum Peer {
    /// Before the upgrade: the request so far.
    Upgrading(Vec<u8>),
    /// After it: what has arrived of the current frame.
    Open(Vec<u8>),
}

/// A canned reply: before the id, after it.
struct Canned {
    frame: Vec<u8>,
    id_at: usize,
}

struct Exchange {
    texts: Texts,
    /// By the kind of request.
    replies: [Canned; 4],
    subscribers: Vec<Slot>,
    trade_seq: u64,
    frame: Vec<u8>,
}

/// Serves until its process is ended.
pub(crate) fn run(listener: TcpListener, texts: &Texts) -> Result<()> {
    let mut exchange = Exchange::new(texts.clone())?;
    let mut ring = Ring::new()?;
    ring.listen(listener);
    let mut peers: Vec<Peer> = Vec::new();
    loop {
        ring.turn(Wait::ParkNs(SECOND_NS), |outbox, event| match event {
            Event::Accepted(slot) => {
                assert_eq!(slot, peers.len(), "slots are numbered in order and never reused");
                peers.push(Peer::Upgrading(Vec::new()));
                Ok(())
            }
            Event::Received(slot, bytes) => match &mut peers[slot] {
                Peer::Upgrading(request) => {
                    request.extend_from_slice(bytes);
                    if let Some(answer) = upgrade_answer(request)? {
                        peers[slot] = Peer::Open(Vec::new());
                        outbox.send(slot, answer.as_bytes())?;
                    }
                    Ok(())
                }
                Peer::Open(arrived) => {
                    // Mostly whole requests: what is left over is the exception.
                    if arrived.is_empty() {
                        let taken = exchange.take(outbox, slot, bytes)?;
                        arrived.extend_from_slice(&bytes[taken..]);
                    } else {
                        arrived.extend_from_slice(bytes);
                        let taken = exchange.take(outbox, slot, arrived)?;
                        arrived.drain(..taken);
                    }
                    Ok(())
                }
            },
            Event::Connected(_) | Event::Closed(..) => Ok(()),
        })?;
    }
}

impl Exchange {
    fn new(texts: Texts) -> Result<Exchange> {
        let replies = [
            Canned::new(&texts.rest)?,
            Canned::new(&texts.miss)?,
            Canned::new(&texts.take)?,
            Canned::new(&texts.cancel)?,
        ];
        Ok(Exchange { texts, replies, subscribers: Vec::new(), trade_seq: 0, frame: Vec::new() })
    }

    /// Answers the whole frames of `bytes` and returns how many bytes they have.
    fn take(&mut self, outbox: &mut Outbox<'_>, slot: Slot, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let header = frame::decode(rest).map_err(|fault| Failure::Protocol(format!("{fault:?}")))?;
            let Some(header) = header.filter(|header| header.frame_bytes() <= rest.len()) else {
                return Ok(taken);
            };
            taken += header.frame_bytes();
            if header.frame_bytes() == REQUEST_FRAME_BYTES {
                self.answer(outbox, slot, &rest[ID_AT..ID_AT + script::ID_DIGITS])?;
            } else {
                let mut text = rest[header.header_bytes..header.frame_bytes()].to_vec();
                frame::apply_mask(&mut text, header.mask.unwrap_or_default());
                self.welcome(outbox, slot, &text)?;
            }
        }
    }

    /// Answers a request by its masked id.
    fn answer(&mut self, outbox: &mut Outbox<'_>, slot: Slot, masked: &[u8]) -> Result<()> {
        let mut id = [0; script::ID_DIGITS];
        id.copy_from_slice(masked);
        for (at, digit) in id.iter_mut().enumerate() {
            *digit ^= frame::MASK[(script::ID_PREFIX.len() + at) % 4];
        }
        let kind = usize::from(id[script::ID_DIGITS - 1].wrapping_sub(b'0'));
        let Some(canned) = self.replies.get_mut(kind) else {
            return Err(Failure::Protocol("a request of no known kind".to_owned()));
        };
        canned.frame[canned.id_at..canned.id_at + script::ID_DIGITS].copy_from_slice(&id);
        if kind != Deed::Take as usize {
            return outbox.send(slot, &canned.frame);
        }
        self.trade_seq += 1;
        self.frame.clear();
        let reply = numbered(&self.texts.take, self.trade_seq);
        let at = script::ID_PREFIX.len();
        let reply = format!("{}{}{}", &reply[..at], String::from_utf8_lossy(&id), &reply[at + id.len()..]);
        frame::encode_server(frame::TEXT, reply.as_bytes(), &mut self.frame);
        outbox.send(slot, &self.frame)?;
        self.frame.clear();
        let notification = numbered(&self.texts.notification, self.trade_seq);
        frame::encode_server(frame::TEXT, notification.as_bytes(), &mut self.frame);
        for subscriber in &self.subscribers {
            outbox.send(*subscriber, &self.frame)?;
        }
        Ok(())
    }

    /// Answers what comes before the load.
    fn welcome(&mut self, outbox: &mut Outbox<'_>, slot: Slot, text: &[u8]) -> Result<()> {
        let asks_for = |method: &str| memmem::find(text, method.as_bytes()).is_some();
        let reply = if asks_for("public/subscribe") {
            self.subscribers.push(slot);
            wire::SUBSCRIBE_REPLY
        } else if asks_for("public/auth") {
            &self.texts.login
        } else {
            &self.texts.ticker
        };
        self.frame.clear();
        frame::encode_server(frame::TEXT, reply.as_bytes(), &mut self.frame);
        outbox.send(slot, &self.frame)
    }
}

impl Canned {
    fn new(text: &str) -> Result<Canned> {
        let has_id = text.as_bytes().strip_prefix(script::ID_PREFIX).is_some_and(|rest| {
            rest.len() > script::ID_DIGITS && rest[..script::ID_DIGITS].iter().all(u8::is_ascii_digit)
        });
        if !has_id {
            return Err(Failure::Unmet(format!("a canned reply begins with an id of 10 digits: {text}")));
        }
        let mut canned = Vec::new();
        frame::encode_server(frame::TEXT, text.as_bytes(), &mut canned);
        let id_at = canned.len() - text.len() + script::ID_PREFIX.len();
        Ok(Canned { frame: canned, id_at })
    }
}

/// `text` with this number in the place of its trade's.
fn numbered(text: &str, trade_seq: u64) -> String {
    let Some(at) = text.find(script::TRADE_SEQ_KEY).map(|at| at + script::TRADE_SEQ_KEY.len()) else {
        return text.to_owned();
    };
    let end = text[at..].find(|digit: char| !digit.is_ascii_digit()).map_or(text.len(), |end| at + end);
    format!("{}{trade_seq}{}", &text[..at], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canned_text_takes_a_trade_s_number() {
        assert_eq!(numbered(r#"{"a":1,"trade_seq":9,"b":2}"#, 1_234), r#"{"a":1,"trade_seq":1234,"b":2}"#);
        assert_eq!(numbered("{}", 7), "{}");
    }

    #[test]
    fn a_canned_reply_knows_where_its_id_is() {
        let text = r#"{"jsonrpc":"2.0","id":1000000000,"result":1}"#;
        let canned = Canned::new(text).unwrap();
        assert_eq!(&canned.frame[canned.id_at..canned.id_at + 10], b"1000000000");
        assert!(Canned::new(r#"{"jsonrpc":"2.0","id":17,"result":1}"#).is_err());
    }
}
