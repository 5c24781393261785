//! What a client that trades in SBE says and is told, written from docs/sbe-messages.md: it shares no code with the codecs. PURE.
//!
//! Such a client is told of its account in both encodings. Invariant, and the verdict: at each place of the account's sequence
//! that it is told of, its reports in SBE have the orders and the fills that the event in JSON has, each once.

use std::collections::BTreeMap;

use super::json::Json;
use super::ledger::{Ledger, label_number};
use super::reference::units;
use super::sbe::Reader;
use super::trader::{Asked, CHANNEL, Trader, id_of};

/// The channels that are told in SBE; what a client trades by is told in JSON.
pub(super) const REPORTED: [&str; 2] = ["user.orders.any.any.raw", "user.trades.any.any.raw"];

const NEW_ORDER: u16 = 20;
const AMEND_ORDER: u16 = 21;
const CANCEL_ORDER: u16 = 22;
const ORDER_ACK: u16 = 30;
pub(super) const REJECT: u16 = 31;
const EXECUTION_REPORT: u16 = 32;
/// No price or amount; no time, number of an order, correlation; no instrument; no word.
const NO_UNITS: i64 = i64::MIN;
const NO_NUMBER: u64 = u64::MAX;
const NO_INSTRUMENT: u32 = u32::MAX;
const NO_WORD: u8 = u8::MAX;
/// Where a message has its correlation, which is written when it is sent.
const CORRELATION_AT: usize = 8;
/// The outcome of a request is not known.
const OUTCOME_UNKNOWN: u32 = 20_001;
const REDUCE_ONLY: u8 = 1;
const REPEATED: u8 = 4;

/// A new order, as either encoding can say it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) instrument: u32,
    pub(super) is_buy: bool,
    /// `None` of a market order.
    pub(super) price: Option<i64>,
    pub(super) amount: i64,
    pub(super) shape: Shape,
}

/// What else is to be said of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    ImmediateOrCancel,
    FillOrKill,
    PostOnly,
    RejectPostOnly,
    ReduceOnly,
}

/// A `NewOrder` without its correlation.
pub(super) fn new_order(terms: Terms, label: &str) -> Vec<u8> {
    let Terms { instrument, is_buy, price, amount, shape } = terms;
    let time_in_force = match shape {
        Shape::ImmediateOrCancel => b'3',
        Shape::FillOrKill => b'4',
        Shape::Plain | Shape::PostOnly | Shape::RejectPostOnly | Shape::ReduceOnly => b'1',
    };
    let post_only = match shape {
        Shape::PostOnly => 1,
        Shape::RejectPostOnly => 2,
        Shape::Plain | Shape::ImmediateOrCancel | Shape::FillOrKill | Shape::ReduceOnly => 0,
    };
    let flags = if shape == Shape::ReduceOnly { REDUCE_ONLY } else { 0 };
    let (side, order_type) = (if is_buy { b'1' } else { b'2' }, if price.is_some() { b'2' } else { b'1' });
    let mut message = header(41, NEW_ORDER);
    message.extend(price.unwrap_or(NO_UNITS).to_le_bytes());
    message.extend(amount.to_le_bytes());
    message.extend(NO_NUMBER.to_le_bytes());
    message.extend(instrument.to_le_bytes());
    message.extend([side, order_type, time_in_force, post_only, flags]);
    message.extend(u16::try_from(label.len()).expect("a short label").to_le_bytes());
    message.extend(label.as_bytes());
    message
}

/// An `AmendOrder` of the order of this number.
pub(super) fn amend_order(id: u64, price: Option<i64>, amount: Option<i64>) -> Vec<u8> {
    let mut message = header(46, AMEND_ORDER);
    message.extend(id.to_le_bytes());
    message.extend(price.unwrap_or(NO_UNITS).to_le_bytes());
    message.extend(amount.unwrap_or(NO_UNITS).to_le_bytes());
    message.extend(NO_NUMBER.to_le_bytes());
    message.extend(NO_INSTRUMENT.to_le_bytes());
    message.extend([NO_WORD, NO_WORD, 0, 0]);
    message
}

/// A `CancelOrder`.
pub(super) fn cancel_order(id: u64) -> Vec<u8> {
    let mut message = header(24, CANCEL_ORDER);
    message.extend(id.to_le_bytes());
    message.extend(NO_NUMBER.to_le_bytes());
    message
}

/// The header, and room for the correlation.
fn header(block: u16, template: u16) -> Vec<u8> {
    let mut message: Vec<u8> = [block, template, 1, 0].map(u16::to_le_bytes).concat();
    message.extend([0; 8]);
    message
}

/// An order or a fill at a place of an account's sequence, as both encodings tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Order { seq: u64, order: u64, amount: i64, filled: i64, status: u8 },
    Fill { seq: u64, order: u64, trade_seq: u64, price: i64, amount: i64, is_maker: bool },
}

impl Line {
    const fn seq(&self) -> u64 {
        match self {
            Line::Order { seq, .. } | Line::Fill { seq, .. } => *seq,
        }
    }

    /// Which of [`REPORTED`] tells it.
    const fn view(&self) -> usize {
        match self {
            Line::Order { .. } => 0,
            Line::Fill { .. } => 1,
        }
    }
}

/// Where a channel stands.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    /// It tells what comes after.
    from: u64,
    /// Of its newest event.
    newest: Option<u64>,
}

/// What is told of an account in SBE, beside the same in JSON.
#[derive(Debug, Default)]
pub(super) struct Reports {
    views: [View; 2],
    /// Where the events in JSON begin.
    from: u64,
    epoch: u64,
    /// How often each line was told in JSON, less how often in SBE; of those told equally often nothing.
    owed: BTreeMap<Line, i32>,
}

impl Reports {
    /// The connection is gone, and what was not told on it.
    pub(super) fn lose(&mut self) {
        *self = Reports::default();
    }

    /// Its channels are followed: from a place that it had, or from where each stands.
    pub(super) fn begin(&mut self, reply: &Json<'_>, resumed_from: Option<(u64, u64)>) {
        let place = |channel: &str| {
            let resumed = reply.member("resumed").and_then(|resumed| resumed.member(channel));
            let is_recovered = resumed.is_some_and(|resumed| resumed.at("recovered").raw == "true");
            match resumed_from {
                Some(place) if is_recovered => place,
                Some(_) | None => {
                    let place = reply.at("places").at(channel);
                    (place.at("epoch").whole(), place.at("seq").whole())
                }
            }
        };
        (self.epoch, self.from) = place(CHANNEL);
        for (view, channel) in self.views.iter_mut().zip(REPORTED) {
            *view = View { from: place(channel).1, newest: None };
        }
    }

    /// It was told an event in JSON.
    pub(super) fn take_event(&mut self, seq: u64, data: &Json<'_>) {
        for order in data.at("orders").items() {
            let (amount, filled) = (units(order.at("amount").raw), units(order.at("filled_amount").raw));
            let status = match order.at("order_state").text() {
                Some("open") if filled == 0 => b'0',
                Some("open") => b'1',
                Some("filled") => b'2',
                Some("cancelled") => b'4',
                Some("rejected") => b'8',
                Some("unknown") => b'U',
                other => panic!("no state of an order: {other:?}"),
            };
            self.count(Line::Order { seq, order: id_of(order), amount, filled, status }, 1);
        }
        for fill in data.at("trades").items() {
            let line = Line::Fill {
                seq,
                order: id_of(fill),
                trade_seq: fill.at("trade_seq").whole(),
                price: units(fill.at("price").raw),
                amount: units(fill.at("amount").raw),
                is_maker: fill.at("liquidity").text() == Some("M"),
            };
            self.count(line, 1);
        }
    }

    /// It was told an execution report.
    fn take_report(&mut self, reader: &mut Reader<'_>) {
        let (epoch, seq, prev_seq) = (reader.u64(), reader.u64(), reader.u64());
        assert_eq!(epoch, self.epoch, "a report is of the account's epoch");
        let line = read_report(seq, reader);
        let view = &mut self.views[line.view()];
        match view.newest {
            // Fills of one event are a message each.
            Some(newest) if newest == seq => assert_eq!(line.view(), 1, "an event is told twice: {line:?}"),
            Some(newest) => assert_eq!(prev_seq, newest, "the event before {line:?}"),
            None => assert!(prev_seq <= view.from && view.from < seq, "{line:?} is first, behind {view:?}"),
        }
        view.newest = Some(seq);
        self.count(line, -1);
    }

    fn count(&mut self, line: Line, by: i32) {
        // What one of the two joined too late to be told.
        if line.seq() <= self.from.max(self.views[line.view()].from) {
            return;
        }
        let count = self.owed.entry(line).or_default();
        *count += by;
        if *count == 0 {
            self.owed.remove(&line);
        }
    }

    /// All was told in both.
    pub(super) fn judge_rest(&self) {
        assert!(self.owed.is_empty(), "told in one encoding alone: {:?}", self.owed);
    }
}

/// What comes behind a report's place.
fn read_report(seq: u64, reader: &mut Reader<'_>) -> Line {
    let (_sent, order) = (reader.u64(), reader.u64());
    let (_price, amount, filled, _average) = (reader.i64(), reader.i64(), reader.i64(), reader.i64());
    let (_created, _updated) = (reader.u64(), reader.u64());
    let (trade_seq, last_price, last_amount) = (reader.u64(), reader.i64(), reader.i64());
    // Mark price, profit, instrument.
    reader.take::<21>();
    let (exec_type, status) = (reader.u8(), reader.u8());
    // Side, type, time in force, post-only, reason, flags.
    reader.take::<6>();
    let (liquidity, _tick_direction) = (reader.u8(), reader.u8());
    reader.text();
    if amount != NO_UNITS {
        assert_eq!((trade_seq, last_amount), (NO_NUMBER, NO_UNITS), "an order is no fill");
        return Line::Order { seq, order, amount, filled, status };
    }
    assert_eq!(exec_type, b'F', "a fill is a trade");
    let is_maker = match liquidity {
        1 => true,
        2 => false,
        other => panic!("no liquidity is {other}"),
    };
    Line::Fill { seq, order, trade_seq, price: last_price, amount: last_amount, is_maker }
}

impl Trader {
    /// A request in SBE.
    pub(super) fn call_in_sbe(&mut self, asked: Asked, mut message: Vec<u8>) -> Vec<u8> {
        let id = self.ask(asked);
        message[CORRELATION_AT..CORRELATION_AT + 8].copy_from_slice(&id.to_le_bytes());
        message
    }

    /// It was told a binary message.
    pub(super) fn hear_in_sbe(&mut self, message: &[u8], ledger: &Ledger) {
        let mut reader = Reader { rest: message };
        let (block, template, schema, version) = (reader.u16(), reader.u16(), reader.u16(), reader.u16());
        assert_eq!((schema, version), (1, 0), "schema and version");
        match (template, block) {
            (ORDER_ACK, 91) => self.take_ack(&mut reader, ledger),
            (REJECT, 46) => self.take_reject(&mut reader),
            (EXECUTION_REPORT, 143) => {
                self.count.reports += 1;
                self.reports.as_mut().expect("it trades in SBE").take_report(&mut reader);
            }
            other => panic!("account {}: told of template and block {other:?}", self.account),
        }
        assert!(reader.rest.is_empty(), "bytes behind a message of template {template}");
    }

    fn answered(&mut self, id: u64) -> Asked {
        self.count.replies += 1;
        self.asked.remove(&id).unwrap_or_else(|| panic!("no request is open for correlation {id}"))
    }

    fn take_ack(&mut self, reader: &mut Reader<'_>, ledger: &Ledger) {
        let (correlation, received, sent) = (reader.u64(), reader.u64(), reader.u64());
        assert!(received <= sent, "answered before it was asked");
        let (order, _price, amount, filled) = (reader.u64(), reader.i64(), reader.i64(), reader.i64());
        // Average price, both times, instrument; status, side, type, time in force, post-only, reason.
        reader.take::<34>();
        let flags = reader.u8();
        let told = reader.fills();
        let label = reader.text();
        assert!(filled <= amount && told <= filled, "order {order} is filled beyond its amount");
        self.count.acks += 1;
        let asked = self.answered(correlation);
        if let Asked::Place { label: asked } = asked {
            assert_eq!(label_number(&label), asked, "the label that was asked for");
            self.take_labelled(asked, order, flags & REPEATED != 0, ledger);
        } else if let Asked::Order { id } = asked {
            assert_eq!(order, id, "an answer is of the order that was asked for");
        } else {
            panic!("{asked:?} is never asked in SBE");
        }
    }

    fn take_reject(&mut self, reader: &mut Reader<'_>) {
        let (correlation, received, sent) = (reader.u64(), reader.u64(), reader.u64());
        assert!(received <= sent, "answered before it was asked");
        let (_order, code, _credits, _retry) = (reader.u64(), reader.u32(), reader.u32(), reader.u32());
        let template = reader.u16();
        let (message, reason, param) = (reader.text(), reader.text(), reader.text());
        let asked = self.answered(correlation);
        let is_of_its_own = match template {
            NEW_ORDER => matches!(asked, Asked::Place { .. }),
            AMEND_ORDER | CANCEL_ORDER => matches!(asked, Asked::Order { .. }),
            _ => false,
        };
        assert!(is_of_its_own, "{asked:?} is refused as template {template}: {message}, {reason}, {param}");
        self.count.rejects += 1;
        self.take_refusal(&asked, code == OUTCOME_UNKNOWN, &message);
    }
}
