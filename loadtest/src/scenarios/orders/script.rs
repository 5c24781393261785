//! What the traders of the orders load ask for and what they must be told: texts, prices, the checks of replies. PURE.
//! Invariants: every request beside a limit has the same length, so that the limit can count bytes; its id tells what it asks for and is
//! used once; a reply is good only if it is the result of that request, in the state that the request must end in.

use memchr::memmem;

use crate::failure::{Failure, Result};
use crate::wire;

/// The instrument that is traded: its tick divides 1 and its smallest amount is [`AMOUNT`], as on Deribit.
pub(crate) const INSTRUMENT: &str = "BTC-PERPETUAL";
/// The amount of each order, the smallest: what rests at the best price always fills it in one trade.
pub(crate) const AMOUNT: u64 = 10;
/// Bytes of a request's text beside a limit; spaces fill it up.
pub(crate) const REQUEST_BYTES: usize = 208;
/// What precedes the id in requests and replies.
pub(crate) const ID_PREFIX: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
/// Digits of an id.
pub(crate) const ID_DIGITS: usize = 10;
const ID_BASE: u64 = 1_000_000_000;
/// Prices at which orders rest, one apart: far from the market, and a book that has levels.
const RESTING_PRICES: u64 = 64;

pub(crate) const TRADE_SEQ_KEY: &str = r#""trade_seq":"#;
const STATE_KEY: &[u8] = br#""order_state":""#;
const ORDER_KEY: &[u8] = br#""order_id":""#;
const RESULT_KEY: &[u8] = br#","result":"#;

/// What a request asks for; its id ends in this digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A limit order a tenth away from the market: it rests.
    Rest = 0,
    /// The same, immediate or cancel: it finds nothing and is cancelled.
    Miss = 1,
    /// A limit order through the market, immediate or cancel: it is filled at once.
    Take = 2,
    /// The end of an order that rests.
    Cancel = 3,
}

impl Deed {
    pub(crate) const ALL: [Deed; 4] = [Deed::Rest, Deed::Miss, Deed::Take, Deed::Cancel];

    /// As the limit's arguments are called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Deed::Rest => "rest",
            Deed::Miss => "miss",
            Deed::Take => "take",
            Deed::Cancel => "cancel",
        }
    }

    /// The state that its order must be told in.
    const fn state(self) -> &'static [u8] {
        match self {
            Deed::Rest => b"open\"",
            Deed::Miss | Deed::Cancel => b"cancelled\"",
            Deed::Take => b"filled\"",
        }
    }
}

/// The best prices when the run began, in whole units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) bid: u64,
    pub(crate) ask: u64,
}

impl Market {
    /// From a ticker, or from the limit's stand-in for one.
    pub(crate) fn parse(ticker: &[u8]) -> Option<Market> {
        let whole = |key: &str| wire::digits_after(ticker, key)?.parse().ok().filter(|price| *price > 0);
        Some(Market { bid: whole(r#""best_bid_price":"#)?, ask: whole(r#""best_ask_price":"#)? })
    }

    /// Buys pay so much and sells take so much, far from the market; `number` chooses one of the prices.
    fn far(self, number: u64, is_buy: bool) -> u64 {
        let step = number % RESTING_PRICES;
        if is_buy { self.bid * 9 / 10 - step } else { self.ask * 11 / 10 + step }
    }

    /// As far through the market as the usual price band allows, and half of it.
    fn through(self, is_buy: bool) -> u64 {
        if is_buy { self.ask * 105 / 100 } else { self.bid * 95 / 100 }
    }
}

/// A request before it is text, or a message of SBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// From 0, each once.
    pub(crate) number: u64,
    pub(crate) deed: Deed,
    pub(crate) is_buy: bool,
    /// Which to cancel; else 0.
    pub(crate) order: u64,
}

impl Request {
    pub(crate) const fn id(self) -> u64 {
        ID_BASE + self.number * 10 + self.deed as u64
    }

    /// Number and deed of the request with this id.
    pub(crate) fn of_id(id: u64) -> Option<(u64, Deed)> {
        let id = id.checked_sub(ID_BASE)?;
        let deed = Deed::ALL.into_iter().find(|deed| *deed as u64 == id % 10)?;
        Some((id / 10, deed))
    }

    /// What a buy or a sell asks for, in whole units.
    pub(crate) fn price(self, market: Market) -> u64 {
        match self.deed {
            Deed::Take => market.through(self.is_buy),
            Deed::Rest | Deed::Miss | Deed::Cancel => market.far(self.number, self.is_buy),
        }
    }
}

/// Writes a request of [`REQUEST_BYTES`].
pub(crate) fn write_request(request: Request, market: Market, text: &mut Vec<u8>) {
    write_as_it_is(request, market, text);
    assert!(text.len() <= REQUEST_BYTES, "ids and prices have the digits that REQUEST_BYTES allows for");
    text.resize(REQUEST_BYTES, b' ');
}

/// Writes a request and nothing behind it.
pub(crate) fn write_as_it_is(request: Request, market: Market, text: &mut Vec<u8>) {
    use std::io::Write;
    let Request { deed, is_buy, order, .. } = request;
    text.clear();
    text.extend_from_slice(ID_PREFIX);
    let method = if is_buy { "buy" } else { "sell" };
    let (id, price) = (request.id(), request.price(market));
    let written = match deed {
        Deed::Rest => write!(
            text,
            r#"{id},"method":"private/{method}","params":{{"instrument_name":"{INSTRUMENT}","amount":{AMOUNT},"price":{price}}}}}"#
        ),
        Deed::Miss | Deed::Take => write!(
            text,
            r#"{id},"method":"private/{method}","params":{{"instrument_name":"{INSTRUMENT}","amount":{AMOUNT},"price":{price},"time_in_force":"immediate_or_cancel"}}}}"#
        ),
        Deed::Cancel => {
            write!(text, r#"{id},"method":"private/cancel","params":{{"order_id":"{order}"}}}}"#)
        }
    };
    written.expect("invariant: writing to a Vec cannot fail");
}

/// What a good reply tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) number: u64,
    pub(crate) deed: Deed,
    pub(crate) order: u64,
    /// Of the trade that filled it, where it was filled.
    pub(crate) trade_seq: Option<u64>,
}

/// Reads replies.
pub(crate) struct Reader {
    state: memmem::Finder<'static>,
    order: memmem::Finder<'static>,
    trade_seq: memmem::Finder<'static>,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        Reader {
            state: memmem::Finder::new(STATE_KEY),
            order: memmem::Finder::new(ORDER_KEY),
            trade_seq: memmem::Finder::new(TRADE_SEQ_KEY),
        }
    }

    /// The reply that `message` is, or why it is not a good one.
    pub(crate) fn read(&self, message: &[u8]) -> Result<Reply> {
        self.parse(message).ok_or_else(|| {
            let text = String::from_utf8_lossy(message);
            Failure::Protocol(format!("not what an order of this load is to be answered: {text}"))
        })
    }

    fn parse(&self, message: &[u8]) -> Option<Reply> {
        let (id, rest) = message.strip_prefix(ID_PREFIX)?.split_at_checked(ID_DIGITS)?;
        let result = rest.strip_prefix(RESULT_KEY)?;
        let (number, deed) = Request::of_id(wire::number(id)?)?;
        let after = |finder: &memmem::Finder<'_>, key: &[u8]| result.get(finder.find(result)? + key.len()..);
        if !after(&self.state, STATE_KEY)?.starts_with(deed.state()) {
            return None;
        }
        let trade_seq = match deed {
            Deed::Take => Some(wire::number(after(&self.trade_seq, TRADE_SEQ_KEY.as_bytes())?)?),
            Deed::Rest | Deed::Miss | Deed::Cancel => None,
        };
        let order = wire::number(after(&self.order, ORDER_KEY)?)?;
        Some(Reply { number, deed, order, trade_seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKET: Market = Market { bid: 64_999, ask: 65_000 };

    fn request(number: u64, deed: Deed) -> String {
        let mut text = Vec::new();
        let is_buy = number.is_multiple_of(2);
        write_request(Request { number, deed, is_buy, order: 1_763_702_315_123_456 }, MARKET, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn requests_are_of_one_length_and_told_apart_by_their_ids() {
        for deed in Deed::ALL {
            for number in [0, 1, 89_999_999] {
                assert_eq!(request(number, deed).len(), REQUEST_BYTES, "{deed:?}");
            }
        }
        assert_eq!(
            request(7, Deed::Take).trim_end(),
            r#"{"jsonrpc":"2.0","id":1000000072,"method":"private/sell","params":{"instrument_name":"BTC-PERPETUAL","amount":10,"price":61749,"time_in_force":"immediate_or_cancel"}}"#
        );
        assert!(request(8, Deed::Rest).contains(
            r#"private/buy","params":{"instrument_name":"BTC-PERPETUAL","amount":10,"price":58491}"#
        ));
    }

    #[test]
    fn a_reply_is_good_in_the_state_that_its_request_must_end_in() {
        let told = |deed: Deed, state: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"order":{{"order_id":"17","order_state":"{state}"}},"trades":[{{"trade_seq":9}}]}}}}"#,
                Request { number: 5, deed, is_buy: true, order: 0 }.id()
            );
            Reader::new().read(text.as_bytes()).ok()
        };
        let good = |deed, trade_seq| Some(Reply { number: 5, deed, order: 17, trade_seq });
        assert_eq!(told(Deed::Rest, "open"), good(Deed::Rest, None));
        assert_eq!(told(Deed::Miss, "cancelled"), good(Deed::Miss, None));
        assert_eq!(told(Deed::Take, "filled"), good(Deed::Take, Some(9)));
        assert_eq!(told(Deed::Cancel, "cancelled"), good(Deed::Cancel, None));
        for (deed, state) in
            [(Deed::Rest, "filled"), (Deed::Miss, "open"), (Deed::Take, "cancelled"), (Deed::Cancel, "open")]
        {
            assert_eq!(told(deed, state), None, "{deed:?}");
        }
    }

    #[test]
    fn an_error_is_never_a_good_reply() {
        let error = br#"{"jsonrpc":"2.0","id":1000000050,"error":{"code":10028,"data":{"result":{"order_id":"17","order_state":"open"}}}}"#;
        assert!(Reader::new().read(error).is_err());
        assert!(Reader::new().read(br#"{"jsonrpc":"2.0","method":"subscription"}"#).is_err());
    }

    #[test]
    fn a_market_is_read_from_a_ticker_in_whole_units() {
        let ticker = br#"{"result":{"best_ask_price":65000.5,"best_bid_price":64999.5}}"#;
        assert_eq!(Market::parse(ticker), Some(Market { bid: 64_999, ask: 65_000 }));
        assert_eq!(Market::parse(br#"{"result":{"best_ask_price":0,"best_bid_price":1}}"#), None);
    }
}
