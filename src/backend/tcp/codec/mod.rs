//! Messages of the venue link as bytes, in two forms that say the same. PURE. Home: the venue's thread.
//!
//! Invariants: whatever comes, a message, a wish for more bytes or a [`Fault`] comes out, never a panic; no more than
//! `limits::LINK_MESSAGE_BYTES_MAX` are ever wished for; what one side encodes the other decodes to the same.

mod binary;
mod json;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use super::message::Message;
use crate::backend::paper::catalogue::decimals;
use crate::limits;
use crate::model::book::LevelUpdate;
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::order::OrderId;

/// How messages are written; the venue's first byte decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object a line.
    Json,
    /// Length, type, fields.
    Binary,
}

impl Form {
    /// What the venue says before its first message.
    #[must_use]
    pub const fn preamble(self) -> &'static [u8] {
        match self {
            Form::Json => &[],
            Form::Binary => &[BINARY],
        }
    }

    /// The form that a first byte announces, and how many bytes of it are no message.
    ///
    /// # Errors
    /// It announces neither.
    pub const fn of(first: u8) -> Result<(Form, usize), Fault> {
        match first {
            b'{' => Ok((Form::Json, 0)),
            BINARY => Ok((Form::Binary, 1)),
            other => Err(Fault::NeitherForm(other)),
        }
    }
}

/// The first byte of a venue that speaks the binary form.
const BINARY: u8 = 1;
/// Identifiers and numbers fit a JSON number exactly.
const WHOLE_MAX: u64 = 1 << 53;
/// The last millisecond whose nanoseconds fit 64 bits.
const TIME_MS_MAX: u64 = u64::MAX / 1_000_000;
/// Bytes of a text such as a key or a reason: its length is a byte in the binary form.
pub const TEXT_BYTES_MAX: usize = 255;

/// What is wrong with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message without an end within the bound.
    TooLong,
    /// A first byte that is neither `{` nor 1.
    NeitherForm(u8),
    NotUtf8,
    NotJson,
    /// JSON, but no object.
    NotObject,
    TooManyFields,
    /// A field that is there twice.
    Repeated,
    UnknownType,
    Missing(&'static str),
    /// A field that is not what it should be.
    Invalid(&'static str),
    /// The fields go on beyond the message's length.
    Truncated,
    /// The message's length goes on beyond the fields.
    Surplus,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooLong => write!(f, "a message of more than {} bytes", limits::LINK_MESSAGE_BYTES_MAX),
            Fault::NeitherForm(byte) => write!(f, "a first byte of {byte:#04x}, neither {{ nor 0x01"),
            Fault::NotUtf8 => f.write_str("not UTF-8"),
            Fault::NotJson => f.write_str("not JSON"),
            Fault::NotObject => f.write_str("not an object"),
            Fault::TooManyFields => f.write_str("too many fields"),
            Fault::Repeated => f.write_str("a field twice"),
            Fault::UnknownType => f.write_str("an unknown type"),
            Fault::Missing(field) => write!(f, "{field} is missing"),
            Fault::Invalid(field) => write!(f, "{field} is not valid"),
            Fault::Truncated => f.write_str("fields beyond the message's end"),
            Fault::Surplus => f.write_str("bytes beyond the last field"),
        }
    }
}

impl std::error::Error for Fault {}

/// The first message of `bytes` and how many they are of it, levels of a book at the end of `levels`; `None` where its end
/// is still to come.
///
/// # Errors
/// What is wrong with it. Nothing that follows can be read then.
pub fn decode(
    form: Form,
    bytes: &[u8],
    levels: &mut Vec<LevelUpdate>,
) -> Result<Option<(Message, usize)>, Fault> {
    match form {
        Form::Json => json::decode(bytes, levels),
        Form::Binary => binary::decode(bytes, levels),
    }
}

/// Appends a message. `levels` is the buffer that a book's range is in.
pub fn encode(form: Form, message: &Message, levels: &[LevelUpdate], out: &mut Vec<u8>) {
    match form {
        Form::Json => json::encode(message, levels, out),
        Form::Binary => binary::encode(message, levels, out),
    }
}

fn order_id(number: u64) -> Result<OrderId, Fault> {
    if number == 0 || number >= WHOLE_MAX { Err(Fault::Invalid("order")) } else { Ok(OrderId(number)) }
}

/// A sequence number.
fn counted(number: u64, field: &'static str) -> Result<u64, Fault> {
    if number == 0 || number >= WHOLE_MAX { Err(Fault::Invalid(field)) } else { Ok(number) }
}

/// The number of a taking of a market; 0 where there is none.
fn fence(number: u64) -> Result<u64, Fault> {
    if number >= WHOLE_MAX { Err(Fault::Invalid("fence")) } else { Ok(number) }
}

fn time(ms: u64, field: &'static str) -> Result<u64, Fault> {
    if ms > TIME_MS_MAX { Err(Fault::Invalid(field)) } else { Ok(ms) }
}

fn positive(units: i64, field: &'static str) -> Result<Amount, Fault> {
    if units <= 0 { Err(Fault::Invalid(field)) } else { Ok(Amount(units)) }
}

fn not_negative(units: i64, field: &'static str) -> Result<Amount, Fault> {
    if units < 0 { Err(Fault::Invalid(field)) } else { Ok(Amount(units)) }
}

fn text(text: &str, field: &'static str) -> Result<Box<str>, Fault> {
    if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Fault::Invalid(field));
    }
    Ok(text.into())
}

/// What a venue tells of an instrument; how many decimals are shown follows from it.
struct Told {
    name: Symbol,
    kind: InstrumentKind,
    base: Symbol,
    quote: Symbol,
    tick_size: i64,
    min_amount: i64,
    contract_size: i64,
    expires_ms: Option<u64>,
}

impl Told {
    fn instrument(self) -> Result<Instrument, Fault> {
        let tick_size = Price(positive(self.tick_size, "tick_size")?.0);
        let min_trade_amount = positive(self.min_amount, "min_amount")?;
        Ok(Instrument {
            name: self.name,
            kind: self.kind,
            base_currency: self.base,
            quote_currency: self.quote,
            tick_size,
            price_decimals: decimals(tick_size.0),
            min_trade_amount,
            amount_decimals: decimals(min_trade_amount.0),
            contract_size: positive(self.contract_size, "contract_size")?,
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: self.expires_ms.map(|ms| time(ms, "expires_ms")).transpose()?,
        })
    }
}
