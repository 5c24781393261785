//! The venue link's JSON as it is written. PURE; allocates only to grow the buffer.

use super::super::super::message::{
    BookUpdate, Command, Filled, Hello, Message, NewCommand, OrderStatus, Print, Report, Tick, Welcome,
};
use super::super::words;
use crate::dialect::json_rpc::text::{push, push_list, push_string, push_unsigned};
use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::order::{Label, OrderId};

pub(in super::super) fn encode(message: &Message, levels: &[LevelUpdate], out: &mut Vec<u8>) {
    match message {
        Message::Hello(hello) => write_hello(hello, out),
        Message::Welcome(welcome) => write_welcome(welcome, out),
        Message::Reject { reason } => Writer::open("reject", out).text("reason", reason),
        Message::Bye { reason, fence } => Writer::open("bye", out).text("reason", reason).fence(*fence),
        Message::Heartbeat { next } => Writer::open("heartbeat", out).unsigned("next", *next),
        Message::Instruments(instruments) => write_instruments(instruments, out),
        Message::Tick(Tick { instrument, bid, ask, time_ms }) => Writer::open("tick", out)
            .symbol("instrument", instrument)
            .level("bid", "bid_amount", *bid)
            .level("ask", "ask_amount", *ask)
            .unsigned("time_ms", *time_ms),
        Message::Trade(Print { instrument, price, amount, side, time_ms }) => Writer::open("trade", out)
            .symbol("instrument", instrument)
            .price("price", Some(*price))
            .amount("amount", *amount)
            .word("side", words::say(words::SIDES, *side).0)
            .unsigned("time_ms", *time_ms),
        Message::Book(book) => write_book(book, levels, out),
        Message::State { instrument, state, time_ms } => Writer::open("state", out)
            .symbol("instrument", instrument)
            .word("state", words::say(words::STATES, *state).0)
            .unsigned("time_ms", *time_ms),
        Message::Command { seq, command } => write_command(*seq, command, out),
        Message::Report { seq, report } => write_report(*seq, report, out),
    }
    .close();
}

fn write_hello<'a>(hello: &Hello, out: &'a mut Vec<u8>) -> Writer<'a> {
    Writer::open("hello", out)
        .unsigned("version", u64::from(hello.version))
        .text("venue", &hello.venue)
        .text("key", &hello.key)
        .text("session", &hello.session)
        .text("peer", &hello.peer)
        .unsigned("next", hello.next)
        .unsigned("heartbeat_ms", u64::from(hello.heartbeat_ms))
}

fn write_welcome<'a>(welcome: &Welcome, out: &'a mut Vec<u8>) -> Writer<'a> {
    Writer::open("welcome", out)
        .unsigned("version", u64::from(welcome.version))
        .text("gateway", &welcome.gateway)
        .text("session", &welcome.session)
        .unsigned("next", welcome.next)
        .boolean("resumed", welcome.resumed)
        .unsigned("heartbeat_ms", u64::from(welcome.heartbeat_ms))
        .fence(welcome.fence)
}

fn write_instruments<'a>(instruments: &[Instrument], out: &'a mut Vec<u8>) -> Writer<'a> {
    let writer = Writer::open("instruments", out);
    push(writer.out, ",\"instruments\":[");
    push_list(writer.out, instruments, |out, instrument| {
        push(out, "{\"name\":");
        push_string(out, instrument.name.as_str());
        let entry = Writer { out }
            .word("kind", words::say(words::KINDS, instrument.kind).0)
            .symbol("base", &instrument.base_currency)
            .symbol("quote", &instrument.quote_currency)
            .price("tick_size", Some(instrument.tick_size))
            .amount("min_amount", instrument.min_trade_amount)
            .amount("contract_size", instrument.contract_size);
        let entry = match instrument.expiration_timestamp_ms {
            Some(ms) => entry.unsigned("expires_ms", ms),
            None => entry,
        };
        entry.out.push(b'}');
    });
    writer.out.push(b']');
    writer
}

fn write_book<'a>(book: &BookUpdate, levels: &[LevelUpdate], out: &'a mut Vec<u8>) -> Writer<'a> {
    let writer = Writer::open("book", out)
        .symbol("instrument", &book.instrument)
        .boolean("snapshot", book.is_snapshot);
    for (side, field) in [(Side::Bid, ",\"bids\":["), (Side::Ask, ",\"asks\":[")] {
        push(writer.out, field);
        let of_side = book.levels.of(levels).iter().filter(|level| level.side == side);
        push_list(writer.out, of_side, |out, level| {
            out.push(b'[');
            level.price.write(out, 0);
            out.push(b',');
            level.amount.write(out, 0);
            out.push(b']');
        });
        writer.out.push(b']');
    }
    writer.unsigned("time_ms", book.time_ms)
}

fn write_command<'a>(seq: u64, command: &Command, out: &'a mut Vec<u8>) -> Writer<'a> {
    match command {
        Command::New(new) => write_new(seq, new, out),
        Command::Amend { order, price, total, post_only } => Writer::numbered("amend", seq, *order, out)
            .price("price", *price)
            .amount("total", *total)
            .word("post_only", words::say(words::POST_ONLY, *post_only).0),
        Command::Cancel { order } => Writer::numbered("cancel", seq, *order, out),
        Command::Status { order } => Writer::numbered("status", seq, *order, out),
    }
}

fn write_new<'a>(seq: u64, new: &NewCommand, out: &'a mut Vec<u8>) -> Writer<'a> {
    let writer = Writer::numbered("new", seq, new.order, out)
        .unsigned("account", u64::from(new.account.0))
        .symbol("instrument", &new.instrument)
        .word("side", words::say(words::SIDES, new.side).0)
        .word("order_type", words::say(words::ORDER_TYPES, new.order_type).0)
        .price("price", new.price)
        .amount("amount", new.amount)
        .word("time_in_force", words::say(words::TIMES_IN_FORCE, new.time_in_force).0)
        .word("post_only", words::say(words::POST_ONLY, new.post_only).0)
        .boolean("reduce_only", new.reduce_only)
        .label("label", new.label);
    match new.valid_until_ms {
        Some(ms) => writer.unsigned("valid_until_ms", ms),
        None => writer,
    }
}

fn write_report<'a>(seq: u64, report: &Report, out: &'a mut Vec<u8>) -> Writer<'a> {
    match report {
        Report::Accepted { order, venue_order, price } => Writer::numbered("accepted", seq, *order, out)
            .label("venue_order", *venue_order)
            .price("price", *price),
        Report::Rejected { order, reason } => Writer::numbered("rejected", seq, *order, out)
            .word("reason", words::say(words::REFUSALS, *reason).0),
        Report::Filled(filled) => write_filled(seq, filled, out),
        Report::Amended { order, price, total } => {
            Writer::numbered("amended", seq, *order, out).price("price", Some(*price)).amount("total", *total)
        }
        Report::AmendRejected { order, reason } => Writer::numbered("amend_rejected", seq, *order, out)
            .word("reason", words::say(words::REFUSALS, *reason).0),
        Report::Cancelled { order, reason } => Writer::numbered("cancelled", seq, *order, out)
            .word("reason", words::say(words::CANCEL_REASONS, *reason).0),
        Report::CancelRejected { order, reason } => Writer::numbered("cancel_rejected", seq, *order, out)
            .word("reason", words::say(words::REFUSALS, *reason).0),
        Report::OrderStatus(OrderStatus { order, state, filled, average, price, amount }) => {
            Writer::numbered("order_status", seq, *order, out)
                .word("state", words::say(words::STATUSES, *state).0)
                .amount("filled", *filled)
                .price("average", *average)
                .price("price", *price)
                .amount("amount", *amount)
        }
    }
}

fn write_filled<'a>(seq: u64, filled: &Filled, out: &'a mut Vec<u8>) -> Writer<'a> {
    Writer::numbered("filled", seq, filled.order, out)
        .price("price", Some(filled.price))
        .amount("amount", filled.amount)
        .word("liquidity", words::say(words::LIQUIDITY, filled.liquidity).0)
        .boolean("print", filled.print)
        .label("trade", filled.trade)
        .unsigned("time_ms", filled.time_ms)
}

/// An object that is being written, its first member done.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn open(kind: &str, out: &'a mut Vec<u8>) -> Writer<'a> {
        push(out, "{\"type\":\"");
        push(out, kind);
        out.push(b'"');
        Writer { out }
    }

    fn numbered(kind: &str, seq: u64, order: OrderId, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer::open(kind, out).unsigned("seq", seq).unsigned("order", order.0)
    }

    fn close(self) {
        push(self.out, "}\n");
    }

    fn name(self, field: &str) -> Writer<'a> {
        push(self.out, ",\"");
        push(self.out, field);
        push(self.out, "\":");
        self
    }

    fn text(self, field: &str, text: &str) -> Writer<'a> {
        let writer = self.name(field);
        push_string(writer.out, text);
        writer
    }

    /// A word of ours needs no escape.
    fn word(self, field: &str, word: &str) -> Writer<'a> {
        let writer = self.name(field);
        writer.out.push(b'"');
        push(writer.out, word);
        writer.out.push(b'"');
        writer
    }

    fn symbol(self, field: &str, symbol: &Symbol) -> Writer<'a> {
        self.word(field, symbol.as_str())
    }

    fn label(self, field: &str, label: Option<Label>) -> Writer<'a> {
        match label {
            Some(label) => self.text(field, label.as_str()),
            None => self,
        }
    }

    fn unsigned(self, field: &str, number: u64) -> Writer<'a> {
        let writer = self.name(field);
        push_unsigned(writer.out, number);
        writer
    }

    /// Not there where there is none.
    fn fence(self, fence: u64) -> Writer<'a> {
        if fence == 0 { self } else { self.unsigned("fence", fence) }
    }

    fn boolean(self, field: &str, is_so: bool) -> Writer<'a> {
        let writer = self.name(field);
        push(writer.out, if is_so { "true" } else { "false" });
        writer
    }

    fn price(self, field: &str, price: Option<Price>) -> Writer<'a> {
        let Some(price) = price else { return self };
        let writer = self.name(field);
        price.write(writer.out, 0);
        writer
    }

    fn amount(self, field: &str, amount: Amount) -> Writer<'a> {
        let writer = self.name(field);
        amount.write(writer.out, 0);
        writer
    }

    fn level(self, price: &str, amount: &str, level: Option<Level>) -> Writer<'a> {
        match level {
            Some(level) => self.price(price, Some(level.price)).amount(amount, level.amount),
            None => self,
        }
    }
}
