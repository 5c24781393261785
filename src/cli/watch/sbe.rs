//! One message of SBE → the update that says the same in JSON, which is what is printed. PURE.
//!
//! Instruments have numbers there; their names are asked for once, and again when one is listed that nobody has named yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use super::session::Update;
use crate::dialect::sbe::generated::{self as sbe, Message};
use crate::dialect::sbe::wire::DecodeError;
use crate::model::decimal::{Amount, Price};

const NS_PER_MS: u64 = 1_000_000;

/// What asks a server for SBE by the one schema that is known here.
pub(super) fn query() -> String {
    format!("encoding=sbe&schema={}&version={}", sbe::SCHEMA_ID, sbe::SCHEMA_VERSION)
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An update of a channel in this epoch.
    Update { epoch: u64, update: Update<'static> },
    /// Of an instrument that has no name here.
    Unnamed,
    /// The server asks whether somebody is there.
    TestRequest,
    /// Nothing to print.
    Nothing,
}

/// Names by numbers.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, String>);

#[derive(Deserialize)]
struct Named {
    instrument_id: u32,
    instrument_name: String,
}

impl Names {
    /// Takes the result of `public/get_instruments`; what is none names nothing.
    pub(super) fn learn(&mut self, instruments: &str) {
        let named: Vec<Named> = sonic_rs::from_str(instruments).unwrap_or_default();
        self.0.extend(named.into_iter().map(|named| (named.instrument_id, named.instrument_name)));
    }

    /// Reads a binary frame.
    ///
    /// # Errors
    /// It is no message of the schema.
    pub(super) fn read(&self, frame: &[u8]) -> Result<Read, DecodeError> {
        let (epoch, seq, instrument, written) = match Message::decode(frame)? {
            Message::Ticker(told) => {
                (told.epoch(), told.seq(), told.instrument_id(), ticker(&told.fields()?))
            }
            Message::Quote(told) => (told.epoch(), told.seq(), told.instrument_id(), quote(&told.fields()?)),
            Message::Trade(told) => (told.epoch(), told.seq(), told.instrument_id(), trades(&told)?),
            Message::BookSnapshot(told) => (told.epoch(), told.seq(), told.instrument_id(), snapshot(&told)?),
            Message::BookDelta(told) => (told.epoch(), told.seq(), told.instrument_id(), delta(&told)?),
            Message::Heartbeat(told) => {
                return Ok(match told.kind()? {
                    sbe::HeartbeatKind::TestRequest => Read::TestRequest,
                    sbe::HeartbeatKind::Beat => Read::Nothing,
                });
            }
            // The hole in `seq` is counted.
            Message::GapNotice(_)
            | Message::NewOrder(_)
            | Message::AmendOrder(_)
            | Message::CancelOrder(_)
            | Message::OrderAck(_)
            | Message::Reject(_)
            | Message::ExecutionReport(_) => return Ok(Read::Nothing),
        };
        let Some(name) = self.0.get(&instrument) else { return Ok(Read::Unnamed) };
        let Written { kind, rest, data } = written;
        let channel = Cow::Owned(format!("{kind}.{name}{rest}"));
        Ok(Read::Update { epoch, update: Update { channel, seq: Some(seq), data: Cow::Owned(data) } })
    }
}

/// A channel around its instrument's name, and the data as JSON.
struct Written {
    kind: &'static str,
    rest: String,
    data: String,
}

fn best(bid: (Option<Price>, Amount), ask: (Option<Price>, Amount)) -> String {
    format!(
        "\"best_bid_price\":{},\"best_bid_amount\":{},\"best_ask_price\":{},\"best_ask_amount\":{}",
        price_or_null(bid.0),
        amount(bid.1),
        price_or_null(ask.0),
        amount(ask.1)
    )
}

fn ticker(told: &sbe::Ticker) -> Written {
    let data = format!(
        "{{\"timestamp\":{},{},\"last_price\":{},\"mark_price\":{}}}",
        told.event_time / NS_PER_MS,
        best((told.bid_price, told.bid_amount), (told.ask_price, told.ask_amount)),
        price_or_null(told.last_price),
        price(told.mark_price)
    );
    Written { kind: "ticker", rest: interval(told.interval), data }
}

fn quote(told: &sbe::Quote) -> Written {
    let data = format!(
        "{{\"timestamp\":{},{}}}",
        told.event_time / NS_PER_MS,
        best((told.bid_price, told.bid_amount), (told.ask_price, told.ask_amount))
    );
    Written { kind: "quote", rest: String::new(), data }
}

fn trades(told: &sbe::TradeView<'_>) -> Result<Written, DecodeError> {
    let data = list(told.trades().iter(), |trade: sbe::TradeEntry| {
        let direction = match trade.side {
            sbe::Side::Buy => "buy",
            sbe::Side::Sell => "sell",
        };
        format!(
            "{{\"trade_seq\":{},\"timestamp\":{},\"price\":{},\"amount\":{},\"direction\":\"{direction}\"}}",
            trade.trade_seq,
            trade.event_time / NS_PER_MS,
            price(trade.price),
            amount(trade.amount)
        )
    })?;
    Ok(Written { kind: "trades", rest: interval(told.interval()?), data })
}

fn snapshot(told: &sbe::BookSnapshotView<'_>) -> Result<Written, DecodeError> {
    let grouped = told.group_ticks().zip(told.depth());
    let level = |level: sbe::BookLevel| match grouped {
        None => format!("[\"new\",{},{}]", price(level.price), amount(level.amount)),
        Some(_) => format!("[{},{}]", price(level.price), amount(level.amount)),
    };
    let (bids, asks) = (list(told.bids().iter(), level)?, list(told.asks().iter(), level)?);
    let (kind, rest) = match grouped {
        None => ("\"type\":\"snapshot\",", interval(told.interval()?)),
        Some((0, depth)) => ("", format!(".none.{depth}{}", interval(told.interval()?))),
        Some((ticks, depth)) => ("", format!(".{ticks}.{depth}{}", interval(told.interval()?))),
    };
    let (at, id) = (told.event_time() / NS_PER_MS, told.change_id());
    let data = format!("{{{kind}\"timestamp\":{at},\"change_id\":{id},\"bids\":{bids},\"asks\":{asks}}}");
    Ok(Written { kind: "book", rest, data })
}

fn delta(told: &sbe::BookDeltaView<'_>) -> Result<Written, DecodeError> {
    let change = |change: sbe::BookChange| {
        let action = match change.action {
            sbe::LevelAction::New => "new",
            sbe::LevelAction::Change => "change",
            sbe::LevelAction::Delete => "delete",
        };
        format!("[\"{action}\",{},{}]", price(change.price), amount(change.amount))
    };
    let (bids, asks) = (list(told.bids().iter(), change)?, list(told.asks().iter(), change)?);
    let (at, id, previous) = (told.event_time() / NS_PER_MS, told.change_id(), told.prev_change_id());
    let data = format!(
        "{{\"type\":\"change\",\"timestamp\":{at},\"change_id\":{id},\"prev_change_id\":{previous},\
         \"bids\":{bids},\"asks\":{asks}}}"
    );
    Ok(Written { kind: "book", rest: interval(told.interval()?), data })
}

/// The last part of a channel, with the dot before it.
fn interval(interval: sbe::Interval) -> String {
    let word = match interval {
        sbe::Interval::Raw => "raw",
        sbe::Interval::Ms100 => "100ms",
        sbe::Interval::Agg2 => "agg2",
    };
    format!(".{word}")
}

fn list<E>(
    entries: impl Iterator<Item = Result<E, DecodeError>>,
    write: impl Fn(E) -> String,
) -> Result<String, DecodeError> {
    let mut list = String::from("[");
    for entry in entries {
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&write(entry?));
    }
    list.push(']');
    Ok(list)
}

fn price(price: Price) -> String {
    let mut out = Vec::new();
    price.write(&mut out, 0);
    String::from_utf8(out).expect("invariant: a number is ASCII")
}

fn amount(amount: Amount) -> String {
    price(Price(amount.0))
}

fn price_or_null(told: Option<Price>) -> String {
    told.map_or_else(|| "null".to_owned(), price)
}

/// The bytes of a message in hexadecimal digits: what there is to see of it as it was received.
pub(super) fn hexadecimal(message: &[u8]) -> String {
    message.iter().fold(String::with_capacity(2 * message.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: sbe::Quote = sbe::Quote {
        epoch: 17,
        seq: 3,
        sending_time: 0,
        event_time: 5_000_000,
        instrument_id: 4,
        bid_price: Some(Price(100_500_000_000)),
        bid_amount: Amount(2_000_000_000),
        ask_price: None,
        ask_amount: Amount::ZERO,
    };

    fn names() -> Names {
        let mut names = Names::default();
        names.learn(r#"[{"instrument_id":4,"instrument_name":"A","kind":"future"}]"#);
        names
    }

    fn check(write: impl FnOnce(&mut Vec<u8>), channel: &'static str, data: &'static str) {
        let mut frame = Vec::new();
        write(&mut frame);
        let update = Update { channel: channel.into(), seq: Some(3), data: data.into() };
        assert_eq!(names().read(&frame), Ok(Read::Update { epoch: 17, update }));
    }

    #[test]
    fn a_message_is_read_as_the_channel_and_the_data_that_json_would_have() {
        let data = r#"{"timestamp":5,"best_bid_price":100.5,"best_bid_amount":2,"best_ask_price":null,"best_ask_amount":0}"#;
        check(|out| QUOTE.encode(out), "quote.A", data);
        let head = sbe::BookSnapshot {
            epoch: 17,
            seq: 3,
            sending_time: 0,
            event_time: 5_000_000,
            change_id: 9,
            checksum: None,
            instrument_id: 4,
            group_ticks: Some(0),
            depth: Some(10),
            interval: sbe::Interval::Ms100,
        };
        let level = sbe::BookLevel { price: Price(1_000_000_000), amount: Amount(3_500_000_000) };
        check(
            |out| head.encode(out, [level], []),
            "book.A.none.10.100ms",
            r#"{"timestamp":5,"change_id":9,"bids":[[1,3.5]],"asks":[]}"#,
        );
        let whole = sbe::BookSnapshot { group_ticks: None, depth: None, ..head };
        check(
            |out| whole.encode(out, [], [level, level]),
            "book.A.100ms",
            r#"{"type":"snapshot","timestamp":5,"change_id":9,"bids":[],"asks":[["new",1,3.5],["new",1,3.5]]}"#,
        );
    }

    #[test]
    fn what_has_no_name_yet_or_is_no_message_is_told_apart() {
        let mut frame = Vec::new();
        QUOTE.encode(&mut frame);
        assert_eq!(Names::default().read(&frame), Ok(Read::Unnamed));
        assert_eq!(names().read(&frame[..20]), Err(DecodeError::Truncated));
        let mut heartbeat = Vec::new();
        sbe::Heartbeat { sending_time: 1, kind: sbe::HeartbeatKind::TestRequest }.encode(&mut heartbeat);
        assert_eq!(names().read(&heartbeat), Ok(Read::TestRequest));
    }
}
