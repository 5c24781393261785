//! The venue link in JSON: one object a line. PURE.
//!
//! Fields that are not known are passed over, so that a venue may say more than is asked; a null counts as absent. Read by
//! the strict scanner of the clients' dialect, exact in its decimals.

mod writing;

pub(super) use self::writing::encode;

use super::super::message::{
    BookUpdate, Command, Filled, Hello, Message, NewCommand, OrderStatus, Print, Report, Tick, Welcome,
};
use super::words::{self, Words, by_word};
use super::{Fault, Told, counted, fence, not_negative, order_id, positive, text, time};
use crate::dialect::json_rpc::number::read_units;
use crate::dialect::json_rpc::scan::{Kind, SCAN_DEPTH_MAX, Scanner, Value};
use crate::limits;
use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::LevelRange;
use crate::model::order::{AccountId, Label};

/// Fields of one object; a new order has fourteen.
const FIELDS_MAX: usize = 32;

pub(super) fn decode(bytes: &[u8], levels: &mut Vec<LevelUpdate>) -> Result<Option<(Message, usize)>, Fault> {
    let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let within = &bytes[..bytes.len().min(limits::LINK_MESSAGE_BYTES_MAX)];
    let Some(length) = memchr::memchr(b'\n', within.get(blank..).unwrap_or_default()) else {
        let is_over = bytes.len() >= limits::LINK_MESSAGE_BYTES_MAX;
        return if is_over { Err(Fault::TooLong) } else { Ok(None) };
    };
    let line = &bytes[blank..blank + length];
    let line = simdutf8::basic::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
    let mut scanner = Scanner::new(line);
    let value = scanner.value(SCAN_DEPTH_MAX).map_err(|_| Fault::NotJson)?;
    if !scanner.is_at_end() {
        return Err(Fault::NotJson);
    }
    let message = read_message(&Fields::of(value)?, levels)?;
    Ok(Some((message, blank + length + 1)))
}

fn read_message(fields: &Fields<'_>, levels: &mut Vec<LevelUpdate>) -> Result<Message, Fault> {
    let kind = fields.required("type")?.string().ok_or(Fault::Invalid("type"))?;
    Ok(match kind.as_ref() {
        "hello" => Message::Hello(Hello {
            version: fields.version()?,
            venue: fields.text("venue")?,
            key: fields.text("key")?,
            session: fields.text("session")?,
            peer: if fields.get("peer").is_some() { fields.text("peer")? } else { "".into() },
            next: counted(fields.unsigned("next")?, "next")?,
            heartbeat_ms: fields.small("heartbeat_ms")?,
        }),
        "welcome" => Message::Welcome(Welcome {
            version: fields.version()?,
            gateway: fields.text("gateway")?,
            session: fields.text("session")?,
            next: counted(fields.unsigned("next")?, "next")?,
            resumed: fields.boolean("resumed")?.ok_or(Fault::Missing("resumed"))?,
            heartbeat_ms: fields.small("heartbeat_ms")?,
            fence: fields.fence()?,
        }),
        "reject" => Message::Reject { reason: fields.text("reason")? },
        "bye" => Message::Bye { reason: fields.text("reason")?, fence: fields.fence()? },
        "heartbeat" => Message::Heartbeat { next: counted(fields.unsigned("next")?, "next")? },
        "instruments" => Message::Instruments(read_instruments(fields.required("instruments")?)?),
        "tick" => Message::Tick(Tick {
            instrument: fields.symbol("instrument")?,
            bid: fields.level("bid", "bid_amount")?,
            ask: fields.level("ask", "ask_amount")?,
            time_ms: fields.time("time_ms")?,
        }),
        "trade" => Message::Trade(Print {
            instrument: fields.symbol("instrument")?,
            price: fields.price("price")?,
            amount: fields.positive("amount")?,
            side: fields.word("side", words::SIDES)?,
            time_ms: fields.time("time_ms")?,
        }),
        "book" => Message::Book(read_book(fields, levels)?),
        "state" => Message::State {
            instrument: fields.symbol("instrument")?,
            state: fields.word("state", words::STATES)?,
            time_ms: fields.time("time_ms")?,
        },
        kind => return read_numbered(kind, fields),
    })
}

fn read_numbered(kind: &str, fields: &Fields<'_>) -> Result<Message, Fault> {
    if let Some(command) = read_command(kind, fields)? {
        return Ok(Message::Command { seq: counted(fields.unsigned("seq")?, "seq")?, command });
    }
    let report = read_report(kind, fields)?.ok_or(Fault::UnknownType)?;
    Ok(Message::Report { seq: counted(fields.unsigned("seq")?, "seq")?, report })
}

fn read_command(kind: &str, fields: &Fields<'_>) -> Result<Option<Command>, Fault> {
    Ok(Some(match kind {
        "new" => Command::New(NewCommand {
            order: fields.order()?,
            account: AccountId(fields.small("account")?),
            instrument: fields.symbol("instrument")?,
            side: fields.word("side", words::SIDES)?,
            order_type: fields.word("order_type", words::ORDER_TYPES)?,
            price: fields.units("price")?.map(Price),
            amount: fields.positive("amount")?,
            time_in_force: fields.word("time_in_force", words::TIMES_IN_FORCE)?,
            post_only: fields.word("post_only", words::POST_ONLY)?,
            reduce_only: fields.boolean("reduce_only")?.unwrap_or(false),
            label: fields.label("label")?,
            valid_until_ms: match fields.get("valid_until_ms") {
                Some(_) => Some(counted(fields.time("valid_until_ms")?, "valid_until_ms")?),
                None => None,
            },
        }),
        "amend" => Command::Amend {
            order: fields.order()?,
            price: fields.units("price")?.map(Price),
            total: fields.positive("total")?,
            post_only: fields.word("post_only", words::POST_ONLY)?,
        },
        "cancel" => Command::Cancel { order: fields.order()? },
        "status" => Command::Status { order: fields.order()? },
        _ => return Ok(None),
    }))
}

fn read_report(kind: &str, fields: &Fields<'_>) -> Result<Option<Report>, Fault> {
    Ok(Some(match kind {
        "accepted" => Report::Accepted {
            order: fields.order()?,
            venue_order: fields.label("venue_order")?,
            price: fields.units("price")?.map(Price),
        },
        "rejected" => Report::Rejected { order: fields.order()?, reason: fields.reason(words::REFUSALS)? },
        "filled" => Report::Filled(Filled {
            order: fields.order()?,
            price: fields.price("price")?,
            amount: fields.positive("amount")?,
            liquidity: fields.word("liquidity", words::LIQUIDITY)?,
            print: fields.boolean("print")?.unwrap_or(true),
            trade: fields.label("trade")?,
            time_ms: fields.time("time_ms")?,
        }),
        "amended" => Report::Amended {
            order: fields.order()?,
            price: fields.price("price")?,
            total: fields.positive("total")?,
        },
        "amend_rejected" => {
            Report::AmendRejected { order: fields.order()?, reason: fields.reason(words::REFUSALS)? }
        }
        "cancelled" => {
            Report::Cancelled { order: fields.order()?, reason: fields.reason(words::CANCEL_REASONS)? }
        }
        "cancel_rejected" => {
            Report::CancelRejected { order: fields.order()?, reason: fields.reason(words::REFUSALS)? }
        }
        "order_status" => {
            let amount_of = |field| match fields.units(field)? {
                Some(units) => not_negative(units, field),
                None => Ok(Amount::ZERO),
            };
            Report::OrderStatus(OrderStatus {
                order: fields.order()?,
                state: fields.word("state", words::STATUSES)?,
                filled: amount_of("filled")?,
                average: fields.units("average")?.map(Price),
                price: fields.units("price")?.map(Price),
                amount: amount_of("amount")?,
            })
        }
        _ => return Ok(None),
    }))
}

fn read_instruments(list: Value<'_>) -> Result<Vec<Instrument>, Fault> {
    const FIELD: &str = "instruments";
    if list.kind() != Kind::Array {
        return Err(Fault::Invalid(FIELD));
    }
    let mut instruments = Vec::new();
    for value in list.elements() {
        if instruments.len() == limits::LINK_INSTRUMENTS_PER_MESSAGE_MAX {
            return Err(Fault::Invalid(FIELD));
        }
        let fields = Fields::of(value)?;
        let min_amount = fields.positive("min_amount")?.0;
        let told = Told {
            name: fields.symbol("name")?,
            kind: fields.word("kind", words::KINDS)?,
            base: fields.symbol("base")?,
            quote: fields.symbol("quote")?,
            tick_size: fields.price("tick_size")?.0,
            min_amount,
            contract_size: fields.units("contract_size")?.unwrap_or(min_amount),
            expires_ms: match fields.get("expires_ms") {
                Some(_) => Some(counted(fields.time("expires_ms")?, "expires_ms")?),
                None => None,
            },
        };
        instruments.push(told.instrument()?);
    }
    Ok(instruments)
}

fn read_book(fields: &Fields<'_>, levels: &mut Vec<LevelUpdate>) -> Result<BookUpdate, Fault> {
    let instrument = fields.symbol("instrument")?;
    let is_snapshot = fields.boolean("snapshot")?.ok_or(Fault::Missing("snapshot"))?;
    let time_ms = fields.time("time_ms")?;
    let start = levels.len();
    for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
        let Some(list) = fields.get(field) else { continue };
        if list.kind() != Kind::Array {
            return Err(Fault::Invalid(field));
        }
        for pair in list.elements() {
            let mut units = pair.elements().map(read_units);
            let (Some(Ok(price)), Some(Ok(amount)), None) = (units.next(), units.next(), units.next()) else {
                return Err(Fault::Invalid(field));
            };
            if levels.len() - start == limits::LINK_LEVELS_PER_MESSAGE_MAX {
                return Err(Fault::Invalid(field));
            }
            let amount = not_negative(amount, field)?;
            levels.push(LevelUpdate { side, price: Price(price), amount });
        }
    }
    let range = |count: usize| u32::try_from(count).map_err(|_| Fault::TooLong);
    let levels = LevelRange { start: range(start)?, count: range(levels.len() - start)? };
    Ok(BookUpdate { instrument, is_snapshot, levels, time_ms })
}

/// The members of one object.
struct Fields<'a> {
    members: [Option<(&'a str, Value<'a>)>; FIELDS_MAX],
}

impl<'a> Fields<'a> {
    fn of(value: Value<'a>) -> Result<Fields<'a>, Fault> {
        if value.kind() != Kind::Object {
            return Err(Fault::NotObject);
        }
        let mut members = [None; FIELDS_MAX];
        for (at, (key, value)) in value.members().enumerate() {
            let name = key.text();
            let name = &name[1..name.len() - 1];
            if members.iter().take(at).flatten().any(|(known, _)| *known == name) {
                return Err(Fault::Repeated);
            }
            *members.get_mut(at).ok_or(Fault::TooManyFields)? = Some((name, value));
        }
        Ok(Fields { members })
    }

    fn get(&self, field: &str) -> Option<Value<'a>> {
        let mut members = self.members.iter().map_while(|member| *member);
        members
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
            .filter(|value| value.kind() != Kind::Null)
    }

    fn required(&self, field: &'static str) -> Result<Value<'a>, Fault> {
        self.get(field).ok_or(Fault::Missing(field))
    }

    fn unsigned(&self, field: &'static str) -> Result<u64, Fault> {
        self.required(field)?.unsigned().ok_or(Fault::Invalid(field))
    }

    fn small(&self, field: &'static str) -> Result<u32, Fault> {
        u32::try_from(self.unsigned(field)?).map_err(|_| Fault::Invalid(field))
    }

    fn version(&self) -> Result<u16, Fault> {
        u16::try_from(self.unsigned("version")?).map_err(|_| Fault::Invalid("version"))
    }

    fn fence(&self) -> Result<u64, Fault> {
        if self.get("fence").is_some() { fence(self.unsigned("fence")?) } else { Ok(0) }
    }

    fn order(&self) -> Result<crate::model::order::OrderId, Fault> {
        order_id(self.unsigned("order")?)
    }

    fn time(&self, field: &'static str) -> Result<u64, Fault> {
        time(self.unsigned(field)?, field)
    }

    fn boolean(&self, field: &'static str) -> Result<Option<bool>, Fault> {
        self.get(field).map(|value| value.boolean().ok_or(Fault::Invalid(field))).transpose()
    }

    fn text(&self, field: &'static str) -> Result<Box<str>, Fault> {
        text(&self.required(field)?.string().ok_or(Fault::Invalid(field))?, field)
    }

    fn label(&self, field: &'static str) -> Result<Option<Label>, Fault> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let text = value.string().ok_or(Fault::Invalid(field))?;
        Label::parse(&text).map(Some).ok_or(Fault::Invalid(field))
    }

    fn symbol(&self, field: &'static str) -> Result<Symbol, Fault> {
        let text = self.required(field)?.string().ok_or(Fault::Invalid(field))?;
        Symbol::parse(text.as_bytes()).map_err(|_| Fault::Invalid(field))
    }

    fn units(&self, field: &'static str) -> Result<Option<i64>, Fault> {
        self.get(field).map(read_units).transpose().map_err(|_| Fault::Invalid(field))
    }

    fn price(&self, field: &'static str) -> Result<Price, Fault> {
        self.units(field)?.map(Price).ok_or(Fault::Missing(field))
    }

    fn positive(&self, field: &'static str) -> Result<Amount, Fault> {
        positive(self.units(field)?.ok_or(Fault::Missing(field))?, field)
    }

    /// Both or neither are there.
    fn level(&self, price: &'static str, amount: &'static str) -> Result<Option<Level>, Fault> {
        match (self.units(price)?, self.units(amount)?) {
            (Some(units), Some(_)) => Ok(Some(Level { price: Price(units), amount: self.positive(amount)? })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Fault::Missing(amount)),
            (None, Some(_)) => Err(Fault::Missing(price)),
        }
    }

    fn word<T: Copy>(&self, field: &'static str, words: &Words<T>) -> Result<T, Fault> {
        let word = self.required(field)?.string().ok_or(Fault::Invalid(field))?;
        by_word(words, &word).ok_or(Fault::Invalid(field))
    }

    /// A venue may have more reasons than are known here: those count as the list's first.
    fn reason<T: Copy>(&self, words: &Words<T>) -> Result<T, Fault> {
        let word = self.required("reason")?.string().ok_or(Fault::Invalid("reason"))?;
        Ok(by_word(words, &word).unwrap_or(words[0].1))
    }
}
