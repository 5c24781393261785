//! The two crowds of the orders load: traders, whose requests are answered each once, and an audience, to whom each
//! trade is told once and in order. PURE but for what it is handed to send.
//! Invariants: a reply belongs to exactly one request of its own connection that waits; an order that rests is cancelled
//! by the next request of its connection; a trade that an audience member is told follows the one before.

use std::collections::VecDeque;

use memchr::memmem;

use crate::encoding::Encoding;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::ring::Slot;
use crate::scenarios::orders::sbe;
use crate::scenarios::orders::script::{self, Deed, Market, Reader, Request, TRADE_SEQ_KEY};
use crate::wire;

/// Requests that may wait at a time: some seconds' worth.
const WAITING_MAX: usize = 1 << 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    number: u64,
    slot: Slot,
    intended_ns: u64,
}

/// In which the traders ask and are answered, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tongue {
    Json {
        /// A limit is beside it, which counts bytes.
        is_padded: bool,
    },
    Sbe {
        /// The instrument's number.
        instrument: u32,
    },
}

/// How many of each kind were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) rests: u64,
    pub(crate) misses: u64,
    pub(crate) takes: u64,
    pub(crate) cancels: u64,
    pub(crate) reply_bytes: u64,
}

impl Answered {
    /// Buys and sells.
    pub(crate) const fn orders(&self) -> u64 {
        self.rests + self.misses + self.takes
    }

    pub(crate) const fn requests(&self) -> u64 {
        self.orders() + self.cancels
    }

    pub(crate) const fn since(&self, before: &Answered) -> Answered {
        Answered {
            rests: self.rests - before.rests,
            misses: self.misses - before.misses,
            takes: self.takes - before.takes,
            cancels: self.cancels - before.cancels,
            reply_bytes: self.reply_bytes - before.reply_bytes,
        }
    }
}

/// See the file's head. Slots 0.. are the traders'.
pub(crate) struct Traders {
    tongue: Tongue,
    market: Market,
    /// Of 100 orders that do not trade, those that rest.
    resting_percent: u64,
    /// Whose sum past 100 makes the next one rest.
    resting_due: u64,
    reader: Reader,
    next: u64,
    /// Of each kind, how many were asked for: buys and sells alternate.
    asked: [u64; 4],
    waiting: Vec<Option<Waiting>>,
    waiting_count: u64,
    /// By slot, the orders that rest, oldest first.
    resting: Vec<VecDeque<u64>>,
    message: Vec<u8>,
    frame: Vec<u8>,
    pub(crate) answered: Answered,
    /// The newest trade that a reply has told of.
    pub(crate) trade_seq: u64,
}

impl Traders {
    pub(crate) fn new(connections: usize, tongue: Tongue, market: Market, resting_percent: u64) -> Traders {
        Traders {
            tongue,
            market,
            resting_percent,
            resting_due: 0,
            reader: Reader::new(),
            next: 0,
            asked: [0; 4],
            waiting: vec![None; WAITING_MAX],
            waiting_count: 0,
            resting: vec![VecDeque::new(); connections],
            message: Vec::new(),
            frame: Vec::new(),
            answered: Answered::default(),
            trade_seq: 0,
        }
    }

    /// The frame of the next request of a connection; `is_take` asks for an order that trades.
    pub(crate) fn next_frame(&mut self, slot: Slot, is_take: bool, intended_ns: u64) -> Result<&[u8]> {
        let (deed, order) = if is_take {
            (Deed::Take, 0)
        } else if let Some(order) = self.resting[slot].pop_front() {
            (Deed::Cancel, order)
        } else {
            self.resting_due += self.resting_percent;
            let rests = self.resting_due >= 100;
            self.resting_due %= 100;
            (if rests { Deed::Rest } else { Deed::Miss }, 0)
        };
        let number = self.next;
        let place = place(number);
        if self.waiting[place].is_some() {
            return Err(Failure::Unmet(format!("more than {WAITING_MAX} requests wait for their replies")));
        }
        self.next += 1;
        self.waiting[place] = Some(Waiting { number, slot, intended_ns });
        self.waiting_count += 1;
        let is_buy = self.asked[deed as usize].is_multiple_of(2);
        self.asked[deed as usize] += 1;
        let request = Request { number, deed, is_buy, order };
        let opcode = match self.tongue {
            Tongue::Json { is_padded } => {
                let write = if is_padded { script::write_request } else { script::write_as_it_is };
                write(request, self.market, &mut self.message);
                frame::TEXT
            }
            Tongue::Sbe { instrument } => {
                sbe::write_request(request, self.market, instrument, &mut self.message);
                frame::BINARY
            }
        };
        self.frame.clear();
        frame::encode_client(opcode, &self.message, &mut self.frame);
        Ok(&self.frame)
    }

    /// Checks a reply and returns when its request ought to have left.
    pub(crate) fn take_reply(&mut self, slot: Slot, message: &[u8]) -> Result<u64> {
        let reply = match self.tongue {
            Tongue::Json { .. } => self.reader.read(message)?,
            Tongue::Sbe { .. } => sbe::read(message)?,
        };
        let waiting = self.waiting[place(reply.number)].take();
        let waiting = waiting.filter(|waiting| waiting.number == reply.number && waiting.slot == slot);
        let Some(waiting) = waiting else {
            return Err(Failure::Protocol(format!(
                "a reply to what was not asked, or was answered before: {}",
                String::from_utf8_lossy(message)
            )));
        };
        self.waiting_count -= 1;
        self.answered.reply_bytes += message.len() as u64;
        match reply.deed {
            Deed::Rest => {
                self.answered.rests += 1;
                self.resting[slot].push_back(reply.order);
            }
            Deed::Miss => self.answered.misses += 1,
            Deed::Take => self.answered.takes += 1,
            Deed::Cancel => self.answered.cancels += 1,
        }
        self.trade_seq = self.trade_seq.max(reply.trade_seq.unwrap_or(0));
        Ok(waiting.intended_ns)
    }

    /// Requests that are not answered.
    pub(crate) fn waiting_count(&self) -> u64 {
        self.waiting_count
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % WAITING_MAX as u64).expect("invariant: below WAITING_MAX")
}

/// Those who are told of all trades.
pub(crate) struct Audience {
    /// Of the first of them.
    first_slot: Slot,
    encoding: Encoding,
    /// Of each the newest trade it was told of; 0 before the first.
    newest: Vec<u64>,
    finder: memmem::Finder<'static>,
    pub(crate) notifications: u64,
    pub(crate) notification_bytes: u64,
    pub(crate) trades: u64,
}

impl Audience {
    pub(crate) fn new(first_slot: Slot, count: usize, encoding: Encoding) -> Audience {
        Audience {
            first_slot,
            encoding,
            newest: vec![0; count],
            finder: memmem::Finder::new(TRADE_SEQ_KEY),
            notifications: 0,
            notification_bytes: 0,
            trades: 0,
        }
    }

    /// Whether a connection is one of them.
    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.first_slot <= slot
    }

    /// Checks a notification: each of its trades is the next one.
    pub(crate) fn take(&mut self, slot: Slot, message: &[u8]) -> Result<()> {
        let before = self.trades;
        match self.encoding {
            Encoding::Json => {
                let finder = self.finder.clone();
                for at in finder.find_iter(message) {
                    let seq = wire::number(&message[at + TRADE_SEQ_KEY.len()..]);
                    self.take_trade(slot, seq)?;
                }
            }
            Encoding::Sbe => {
                for seq in sbe::trades(message) {
                    self.take_trade(slot, Some(seq))?;
                }
            }
        }
        if self.trades == before {
            let text = String::from_utf8_lossy(message);
            return Err(Failure::Protocol(format!("no trades in a subscriber's {text}")));
        }
        self.notifications += 1;
        self.notification_bytes += message.len() as u64;
        Ok(())
    }

    fn take_trade(&mut self, slot: Slot, seq: Option<u64>) -> Result<()> {
        let newest = &mut self.newest[slot - self.first_slot];
        let is_next = seq.is_some_and(|seq| *newest == 0 || seq == *newest + 1);
        let Some(seq) = seq.filter(|_| is_next) else {
            return Err(Failure::Protocol(format!("a subscriber was told of trade {seq:?} after {newest}")));
        };
        *newest = seq;
        self.trades += 1;
        Ok(())
    }

    /// Whether all were told of all trades up to this one.
    pub(crate) fn is_complete(&self, trade_seq: u64) -> bool {
        self.newest.iter().all(|newest| trade_seq <= *newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traders(resting_percent: u64) -> Traders {
        let tongue = Tongue::Json { is_padded: true };
        Traders::new(2, tongue, Market { bid: 64_999, ask: 65_000 }, resting_percent)
    }

    fn asked(traders: &mut Traders, slot: Slot, is_take: bool) -> String {
        let frame = traders.next_frame(slot, is_take, 7).unwrap().to_vec();
        let header = frame::decode(&frame).unwrap().unwrap();
        let mut text = frame[header.header_bytes..].to_vec();
        frame::apply_mask(&mut text, frame::MASK);
        String::from_utf8(text).unwrap()
    }

    fn reply(id: &str, state: &str) -> Vec<u8> {
        let order = format!(r#"{{"order_id":"17","order_state":"{state}"}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"order":{order},"trades":[{{"trade_seq":4}}]}}}}"#)
            .into_bytes()
    }

    #[test]
    fn what_rests_is_cancelled_by_the_next_request_of_its_connection() {
        let mut traders = traders(100);
        assert!(asked(&mut traders, 0, false).contains("1000000000"));
        assert_eq!(traders.take_reply(0, &reply("1000000000", "open")).unwrap(), 7);
        assert!(asked(&mut traders, 1, false).contains("private/sell"));
        assert!(asked(&mut traders, 0, false).contains(r#"private/cancel","params":{"order_id":"17"}"#));
        traders.take_reply(0, &reply("1000000023", "cancelled")).unwrap();
        assert_eq!((traders.answered.orders(), traders.answered.cancels, traders.waiting_count()), (1, 1, 1));
    }

    #[test]
    fn requests_beside_those_of_sbe_have_no_byte_that_a_client_would_not_send() {
        let tongue = Tongue::Json { is_padded: false };
        let mut traders = Traders::new(1, tongue, Market { bid: 64_999, ask: 65_000 }, 50);
        for is_take in [false, true, false] {
            assert!(asked(&mut traders, 0, is_take).ends_with("}}"));
        }
    }

    #[test]
    fn a_reply_that_comes_twice_or_elsewhere_fails_the_run() {
        let mut traders = traders(0);
        asked(&mut traders, 0, false);
        asked(&mut traders, 0, true);
        assert!(traders.take_reply(1, &reply("1000000001", "cancelled")).is_err());
        traders.take_reply(0, &reply("1000000012", "filled")).unwrap();
        assert_eq!(traders.trade_seq, 4);
        assert!(traders.take_reply(0, &reply("1000000012", "filled")).is_err());
        assert!(traders.take_reply(0, &reply("1000000051", "cancelled")).is_err());
    }

    #[test]
    fn the_share_that_rests_is_kept() {
        let mut traders = traders(30);
        let texts: Vec<String> = (0..10).map(|_| asked(&mut traders, 0, false)).collect();
        assert_eq!(texts.iter().filter(|text| text.contains("immediate")).count(), 7);
    }

    #[test]
    fn an_audience_that_misses_a_trade_or_hears_one_twice_fails_the_run() {
        let mut audience = Audience::new(5, 2, Encoding::Json);
        assert!(audience.has(5) && !audience.has(4));
        audience.take(5, br#"{"data":[{"trade_seq":8},{"trade_seq":9}]}"#).unwrap();
        audience.take(5, br#"{"data":[{"trade_seq":10}]}"#).unwrap();
        assert_eq!((audience.trades, audience.notifications), (3, 2));
        assert!(!audience.is_complete(10));
        audience.take(6, br#"{"data":[{"trade_seq":10}]}"#).unwrap();
        assert!(audience.is_complete(10) && !audience.is_complete(11));
        for seq in [10, 12] {
            assert!(audience.take(6, format!(r#"{{"trade_seq":{seq}}}"#).as_bytes()).is_err());
        }
        assert!(audience.take(6, b"{}").is_err());
    }
}
