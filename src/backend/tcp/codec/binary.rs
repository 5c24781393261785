//! The venue link in bytes: `u32` length of what follows, `u8` type, fields; everything little-endian. PURE.
//! `docs/venue-link.md` has the layout as a table.

use super::super::message::{
    BookUpdate, Command, Filled, Hello, Message, NewCommand, OrderStatus, Print, Report, Tick, Welcome,
};
use super::words::{self, Words, by_byte};
use super::{Fault, Told, counted, not_negative, order_id, positive, text, time};
use crate::limits;
use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::LevelRange;
use crate::model::order::{AccountId, Label, OrderId};

/// Of the length that begins a message.
const HEAD_BYTES: usize = 4;

pub(super) fn decode(bytes: &[u8], levels: &mut Vec<LevelUpdate>) -> Result<Option<(Message, usize)>, Fault> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*head)).map_err(|_| Fault::TooLong)?;
    if length > limits::LINK_MESSAGE_BYTES_MAX - HEAD_BYTES {
        return Err(Fault::TooLong);
    }
    let Some(body) = bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
    let mut reader = Reader { left: body };
    let message = read_message(&mut reader, levels)?;
    if !reader.left.is_empty() {
        return Err(Fault::Surplus);
    }
    Ok(Some((message, HEAD_BYTES + length)))
}

pub(super) fn encode(message: &Message, levels: &[LevelUpdate], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write_message(message, levels, out);
    let length = u32::try_from(out.len() - start - HEAD_BYTES).expect("invariant: messages are bounded");
    out[start..start + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn read_message(reader: &mut Reader<'_>, levels: &mut Vec<LevelUpdate>) -> Result<Message, Fault> {
    let kind = reader.u8()?;
    Ok(match kind {
        0x01 => Message::Hello(Hello {
            version: reader.u16()?,
            heartbeat_ms: reader.u32()?,
            next: counted(reader.u64()?, "next")?,
            venue: reader.text("venue")?,
            key: reader.text("key")?,
            session: reader.text("session")?,
            peer: reader.text("peer")?,
        }),
        0x02 => Message::Welcome(Welcome {
            version: reader.u16()?,
            heartbeat_ms: reader.u32()?,
            next: counted(reader.u64()?, "next")?,
            resumed: reader.boolean("resumed")?,
            gateway: reader.text("gateway")?,
            session: reader.text("session")?,
            fence: reader.last_fence()?,
        }),
        0x03 => Message::Reject { reason: reader.text("reason")? },
        0x04 => Message::Bye { reason: reader.text("reason")?, fence: reader.last_fence()? },
        0x05 => Message::Heartbeat { next: counted(reader.u64()?, "next")? },
        0x10 => Message::Instruments(read_instruments(reader)?),
        0x11 => Message::Tick(Tick {
            instrument: reader.symbol("instrument")?,
            bid: reader.level("bid")?,
            ask: reader.level("ask")?,
            time_ms: reader.time("time_ms")?,
        }),
        0x12 => Message::Trade(Print {
            instrument: reader.symbol("instrument")?,
            price: reader.price()?,
            amount: reader.positive("amount")?,
            side: reader.word("side", words::SIDES)?,
            time_ms: reader.time("time_ms")?,
        }),
        0x13 => Message::Book(read_book(reader, levels)?),
        0x14 => Message::State {
            instrument: reader.symbol("instrument")?,
            state: reader.word("state", words::STATES)?,
            time_ms: reader.time("time_ms")?,
        },
        0x20..=0x23 => {
            Message::Command { seq: counted(reader.u64()?, "seq")?, command: read_command(kind, reader)? }
        }
        0x30..=0x37 => {
            Message::Report { seq: counted(reader.u64()?, "seq")?, report: read_report(kind, reader)? }
        }
        _ => return Err(Fault::UnknownType),
    })
}

fn read_instruments(reader: &mut Reader<'_>) -> Result<Vec<Instrument>, Fault> {
    let count = usize::from(reader.u16()?);
    if count > limits::LINK_INSTRUMENTS_PER_MESSAGE_MAX {
        return Err(Fault::Invalid("instruments"));
    }
    let read = |_| {
        Told {
            name: reader.symbol("name")?,
            kind: reader.word("kind", words::KINDS)?,
            base: reader.symbol("base")?,
            quote: reader.symbol("quote")?,
            tick_size: reader.i64()?,
            min_amount: reader.i64()?,
            contract_size: reader.i64()?,
            expires_ms: Some(reader.time("expires_ms")?).filter(|ms| *ms > 0),
        }
        .instrument()
    };
    (0..count).map(read).collect()
}

fn read_book(reader: &mut Reader<'_>, levels: &mut Vec<LevelUpdate>) -> Result<BookUpdate, Fault> {
    let instrument = reader.symbol("instrument")?;
    let is_snapshot = reader.boolean("snapshot")?;
    let time_ms = reader.time("time_ms")?;
    let (bids, asks) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    if bids + asks > limits::LINK_LEVELS_PER_MESSAGE_MAX {
        return Err(Fault::Invalid("bids"));
    }
    let start = levels.len();
    for (side, count, field) in [(Side::Bid, bids, "bids"), (Side::Ask, asks, "asks")] {
        for _ in 0..count {
            let price = reader.price()?;
            levels.push(LevelUpdate { side, price, amount: not_negative(reader.i64()?, field)? });
        }
    }
    let range = |count: usize| u32::try_from(count).map_err(|_| Fault::TooLong);
    let levels = LevelRange { start: range(start)?, count: range(bids + asks)? };
    Ok(BookUpdate { instrument, is_snapshot, levels, time_ms })
}

fn read_command(kind: u8, reader: &mut Reader<'_>) -> Result<Command, Fault> {
    let order = reader.order()?;
    Ok(match kind {
        0x20 => Command::New(NewCommand {
            order,
            account: AccountId(reader.u32()?),
            instrument: reader.symbol("instrument")?,
            side: reader.word("side", words::SIDES)?,
            order_type: reader.word("order_type", words::ORDER_TYPES)?,
            time_in_force: reader.word("time_in_force", words::TIMES_IN_FORCE)?,
            post_only: reader.word("post_only", words::POST_ONLY)?,
            reduce_only: reader.boolean("reduce_only")?,
            price: reader.optional_price()?,
            amount: reader.positive("amount")?,
            label: reader.label("label")?,
            valid_until_ms: Some(reader.time("valid_until_ms")?).filter(|ms| *ms > 0),
        }),
        0x21 => Command::Amend {
            order,
            price: reader.optional_price()?,
            total: reader.positive("total")?,
            post_only: reader.word("post_only", words::POST_ONLY)?,
        },
        0x22 => Command::Cancel { order },
        _ => Command::Status { order },
    })
}

fn read_report(kind: u8, reader: &mut Reader<'_>) -> Result<Report, Fault> {
    let order = reader.order()?;
    Ok(match kind {
        0x30 => Report::Accepted {
            order,
            venue_order: reader.label("venue_order")?,
            price: reader.optional_price()?,
        },
        0x31 => Report::Rejected { order, reason: reader.word("reason", words::REFUSALS)? },
        0x32 => Report::Filled(Filled {
            order,
            price: reader.price()?,
            amount: reader.positive("amount")?,
            liquidity: reader.word("liquidity", words::LIQUIDITY)?,
            print: reader.boolean("print")?,
            trade: reader.label("trade")?,
            time_ms: reader.time("time_ms")?,
        }),
        0x33 => Report::Amended { order, price: reader.price()?, total: reader.positive("total")? },
        0x34 => Report::AmendRejected { order, reason: reader.word("reason", words::REFUSALS)? },
        0x35 => Report::Cancelled { order, reason: reader.word("reason", words::CANCEL_REASONS)? },
        0x36 => Report::CancelRejected { order, reason: reader.word("reason", words::REFUSALS)? },
        _ => Report::OrderStatus(OrderStatus {
            order,
            state: reader.word("state", words::STATUSES)?,
            filled: not_negative(reader.i64()?, "filled")?,
            average: reader.optional_price()?,
            price: reader.optional_price()?,
            amount: not_negative(reader.i64()?, "amount")?,
        }),
    })
}

fn write_message(message: &Message, levels: &[LevelUpdate], out: &mut Vec<u8>) {
    match message {
        Message::Hello(hello) => {
            Writer::open(0x01, out)
                .bytes(&hello.version.to_le_bytes())
                .bytes(&hello.heartbeat_ms.to_le_bytes())
                .u64(hello.next)
                .text(&hello.venue)
                .text(&hello.key)
                .text(&hello.session)
                .text(&hello.peer);
        }
        Message::Welcome(welcome) => {
            Writer::open(0x02, out)
                .bytes(&welcome.version.to_le_bytes())
                .bytes(&welcome.heartbeat_ms.to_le_bytes())
                .u64(welcome.next)
                .u8(u8::from(welcome.resumed))
                .text(&welcome.gateway)
                .text(&welcome.session)
                .last_fence(welcome.fence);
        }
        Message::Reject { reason } => {
            Writer::open(0x03, out).text(reason);
        }
        Message::Bye { reason, fence } => {
            Writer::open(0x04, out).text(reason).last_fence(*fence);
        }
        Message::Heartbeat { next } => {
            Writer::open(0x05, out).u64(*next);
        }
        Message::Instruments(instruments) => write_instruments(instruments, out),
        Message::Tick(Tick { instrument, bid, ask, time_ms }) => {
            Writer::open(0x11, out).symbol(instrument).level(*bid).level(*ask).u64(*time_ms);
        }
        Message::Trade(Print { instrument, price, amount, side, time_ms }) => {
            Writer::open(0x12, out)
                .symbol(instrument)
                .i64(price.0)
                .i64(amount.0)
                .u8(words::say(words::SIDES, *side).1)
                .u64(*time_ms);
        }
        Message::Book(book) => write_book(book, levels, out),
        Message::State { instrument, state, time_ms } => {
            Writer::open(0x14, out).symbol(instrument).u8(words::say(words::STATES, *state).1).u64(*time_ms);
        }
        Message::Command { seq, command } => write_command(*seq, command, out),
        Message::Report { seq, report } => write_report(*seq, report, out),
    }
}

fn write_instruments(instruments: &[Instrument], out: &mut Vec<u8>) {
    let count = u16::try_from(instruments.len()).expect("invariant: a message has few instruments");
    let mut writer = Writer::open(0x10, out).bytes(&count.to_le_bytes());
    for instrument in instruments {
        writer = writer
            .symbol(&instrument.name)
            .u8(words::say(words::KINDS, instrument.kind).1)
            .symbol(&instrument.base_currency)
            .symbol(&instrument.quote_currency)
            .i64(instrument.tick_size.0)
            .i64(instrument.min_trade_amount.0)
            .i64(instrument.contract_size.0)
            .u64(instrument.expiration_timestamp_ms.unwrap_or(0));
    }
}

fn write_book(book: &BookUpdate, levels: &[LevelUpdate], out: &mut Vec<u8>) {
    let levels = book.levels.of(levels);
    let of_side = |side| levels.iter().filter(move |level| level.side == side);
    let count = |side| {
        u16::try_from(of_side(side).count()).expect("invariant: a message has few levels").to_le_bytes()
    };
    let mut writer = Writer::open(0x13, out)
        .symbol(&book.instrument)
        .u8(u8::from(book.is_snapshot))
        .u64(book.time_ms)
        .bytes(&count(Side::Bid))
        .bytes(&count(Side::Ask));
    for level in of_side(Side::Bid).chain(of_side(Side::Ask)) {
        writer = writer.i64(level.price.0).i64(level.amount.0);
    }
}

fn write_command(seq: u64, command: &Command, out: &mut Vec<u8>) {
    match command {
        Command::New(new) => {
            Writer::numbered(0x20, seq, new.order, out)
                .bytes(&new.account.0.to_le_bytes())
                .symbol(&new.instrument)
                .u8(words::say(words::SIDES, new.side).1)
                .u8(words::say(words::ORDER_TYPES, new.order_type).1)
                .u8(words::say(words::TIMES_IN_FORCE, new.time_in_force).1)
                .u8(words::say(words::POST_ONLY, new.post_only).1)
                .u8(u8::from(new.reduce_only))
                .optional_price(new.price)
                .i64(new.amount.0)
                .label(new.label)
                .u64(new.valid_until_ms.unwrap_or(0));
        }
        Command::Amend { order, price, total, post_only } => {
            Writer::numbered(0x21, seq, *order, out).optional_price(*price).i64(total.0).u8(words::say(
                words::POST_ONLY,
                *post_only,
            )
            .1);
        }
        Command::Cancel { order } => {
            Writer::numbered(0x22, seq, *order, out);
        }
        Command::Status { order } => {
            Writer::numbered(0x23, seq, *order, out);
        }
    }
}

fn write_report(seq: u64, report: &Report, out: &mut Vec<u8>) {
    let refusal = |reason| words::say(words::REFUSALS, reason).1;
    match report {
        Report::Accepted { order, venue_order, price } => {
            Writer::numbered(0x30, seq, *order, out).label(*venue_order).optional_price(*price);
        }
        Report::Rejected { order, reason } => {
            Writer::numbered(0x31, seq, *order, out).u8(refusal(*reason));
        }
        Report::Filled(filled) => {
            Writer::numbered(0x32, seq, filled.order, out)
                .i64(filled.price.0)
                .i64(filled.amount.0)
                .u8(words::say(words::LIQUIDITY, filled.liquidity).1)
                .u8(u8::from(filled.print))
                .label(filled.trade)
                .u64(filled.time_ms);
        }
        Report::Amended { order, price, total } => {
            Writer::numbered(0x33, seq, *order, out).i64(price.0).i64(total.0);
        }
        Report::AmendRejected { order, reason } => {
            Writer::numbered(0x34, seq, *order, out).u8(refusal(*reason));
        }
        Report::Cancelled { order, reason } => {
            Writer::numbered(0x35, seq, *order, out).u8(words::say(words::CANCEL_REASONS, *reason).1);
        }
        Report::CancelRejected { order, reason } => {
            Writer::numbered(0x36, seq, *order, out).u8(refusal(*reason));
        }
        Report::OrderStatus(status) => {
            Writer::numbered(0x37, seq, status.order, out)
                .u8(words::say(words::STATUSES, status.state).1)
                .i64(status.filled.0)
                .optional_price(status.average)
                .optional_price(status.price)
                .i64(status.amount.0);
        }
    }
}

/// The fields of one message that are still to be read.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(Fault::Truncated)?;
        self.left = left;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Fault> {
        self.array().map(i64::from_le_bytes)
    }

    /// Behind all other fields, and not there where there is none.
    fn last_fence(&mut self) -> Result<u64, Fault> {
        if self.left.is_empty() { Ok(0) } else { counted(self.u64()?, "fence") }
    }

    fn boolean(&mut self, field: &'static str) -> Result<bool, Fault> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::Invalid(field)),
        }
    }

    fn str(&mut self, field: &'static str) -> Result<&'a str, Fault> {
        let length = usize::from(self.u8()?);
        simdutf8::basic::from_utf8(self.take(length)?).map_err(|_| Fault::Invalid(field))
    }

    fn text(&mut self, field: &'static str) -> Result<Box<str>, Fault> {
        text(self.str(field)?, field)
    }

    /// Empty where there is none.
    fn label(&mut self, field: &'static str) -> Result<Option<Label>, Fault> {
        match self.str(field)? {
            "" => Ok(None),
            text => Label::parse(text).map(Some).ok_or(Fault::Invalid(field)),
        }
    }

    fn symbol(&mut self, field: &'static str) -> Result<Symbol, Fault> {
        Symbol::parse(self.str(field)?.as_bytes()).map_err(|_| Fault::Invalid(field))
    }

    fn order(&mut self) -> Result<OrderId, Fault> {
        order_id(self.u64()?)
    }

    fn time(&mut self, field: &'static str) -> Result<u64, Fault> {
        time(self.u64()?, field)
    }

    /// Any that has a negative, as in JSON.
    fn price(&mut self) -> Result<Price, Fault> {
        match self.i64()? {
            i64::MIN => Err(Fault::Invalid("price")),
            units => Ok(Price(units)),
        }
    }

    fn optional_price(&mut self) -> Result<Option<Price>, Fault> {
        if self.boolean("price")? { self.price().map(Some) } else { Ok(None) }
    }

    fn positive(&mut self, field: &'static str) -> Result<Amount, Fault> {
        positive(self.i64()?, field)
    }

    fn level(&mut self, field: &'static str) -> Result<Option<Level>, Fault> {
        if !self.boolean(field)? {
            return Ok(None);
        }
        Ok(Some(Level { price: self.price()?, amount: self.positive(field)? }))
    }

    fn word<T: Copy>(&mut self, field: &'static str, words: &Words<T>) -> Result<T, Fault> {
        by_byte(words, self.u8()?, field)
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn open(kind: u8, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }.u8(kind)
    }

    fn numbered(kind: u8, seq: u64, order: OrderId, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer::open(kind, out).u64(seq).u64(order.0)
    }

    fn bytes(self, bytes: &[u8]) -> Writer<'a> {
        self.out.extend_from_slice(bytes);
        self
    }

    fn u8(self, byte: u8) -> Writer<'a> {
        self.bytes(&[byte])
    }

    fn u64(self, number: u64) -> Writer<'a> {
        self.bytes(&number.to_le_bytes())
    }

    fn i64(self, number: i64) -> Writer<'a> {
        self.bytes(&number.to_le_bytes())
    }

    fn last_fence(self, fence: u64) -> Writer<'a> {
        if fence == 0 { self } else { self.u64(fence) }
    }

    fn text(self, text: &str) -> Writer<'a> {
        let length = u8::try_from(text.len()).expect("invariant: texts have 255 bytes at most");
        self.u8(length).bytes(text.as_bytes())
    }

    fn symbol(self, symbol: &Symbol) -> Writer<'a> {
        self.text(symbol.as_str())
    }

    fn label(self, label: Option<Label>) -> Writer<'a> {
        match label {
            Some(label) => self.text(label.as_str()),
            None => self.u8(0),
        }
    }

    fn optional_price(self, price: Option<Price>) -> Writer<'a> {
        match price {
            Some(price) => self.u8(1).i64(price.0),
            None => self.u8(0),
        }
    }

    fn level(self, level: Option<Level>) -> Writer<'a> {
        match level {
            Some(level) => self.u8(1).i64(level.price.0).i64(level.amount.0),
            None => self.u8(0),
        }
    }
}
