//! What all SBE messages are made of: header, block, groups, texts. PURE. Allocates: never, but for what the `Vec` written to grows by.
//!
//! Invariants: nothing that is read can panic or lie outside of the frame; a block or an entry that is longer than known is what a later
//! version has added, and is passed over; what is written is read back the same.

use std::fmt;
use std::marker::PhantomData;

/// Bytes of the header before each message.
pub const HEADER_BYTES: usize = 8;
/// Bytes before the entries of a group: the length of one in 16 bits, their number in 32.
const GROUP_HEADER_BYTES: usize = 6;
/// Bytes before a text.
const TEXT_LENGTH_BYTES: usize = 2;

/// What stands before each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the fields that follow, without groups and texts.
    pub block_length: u16,
    pub template_id: u16,
    pub schema_id: u16,
    pub version: u16,
}

impl Header {
    /// # Errors
    /// Fewer bytes than a header has.
    pub fn decode(frame: &[u8]) -> Result<Header, DecodeError> {
        let bytes: &[u8; HEADER_BYTES] = frame.first_chunk().ok_or(DecodeError::Truncated)?;
        Ok(Header {
            block_length: u16::from_le_bytes(at::<0, _, _>(bytes)),
            template_id: u16::from_le_bytes(at::<2, _, _>(bytes)),
            schema_id: u16::from_le_bytes(at::<4, _, _>(bytes)),
            version: u16::from_le_bytes(at::<6, _, _>(bytes)),
        })
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put::<0, _, _>(&mut bytes, self.block_length.to_le_bytes());
        put::<2, _, _>(&mut bytes, self.template_id.to_le_bytes());
        put::<4, _, _>(&mut bytes, self.schema_id.to_le_bytes());
        put::<6, _, _>(&mut bytes, self.version.to_le_bytes());
        bytes
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end before the message does.
    Truncated,
    /// They go on behind it, and are of no later version.
    Trailing,
    /// Of another schema.
    Schema { schema_id: u16 },
    /// A message that is not known, or another one than is meant.
    Template { template_id: u16 },
    /// A block, or an entry of a group, is shorter than that of the first version.
    BlockTooShort { block_length: u16 },
    /// A value of an enumeration that is not known.
    UnknownValue { field: &'static str, value: u8 },
    /// A text is not UTF-8.
    NotUtf8 { field: &'static str },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the message is cut off"),
            DecodeError::Trailing => f.write_str("bytes follow the message"),
            DecodeError::Schema { schema_id } => write!(f, "unknown schema {schema_id}"),
            DecodeError::Template { template_id } => {
                write!(f, "unknown or unexpected template {template_id}")
            }
            DecodeError::BlockTooShort { block_length } => {
                write!(f, "block of {block_length} bytes is too short")
            }
            DecodeError::UnknownValue { field, value } => write!(f, "unknown value {value} of {field}"),
            DecodeError::NotUtf8 { field } => write!(f, "{field} is not UTF-8"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A number that may be too large for units of 1e-9: mantissa × 10^exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    pub mantissa: i64,
    pub exponent: i8,
}

impl Decimal {
    /// Its bytes on the wire.
    pub const BYTES: usize = 9;
    /// None, where there may be none.
    const NULL: Decimal = Decimal { mantissa: i64::MIN, exponent: 0 };

    /// A number in units of 1e-9, exactly where that fits 64 bits; else with as many of its digits as fit.
    #[must_use]
    pub fn from_units(units: i128) -> Decimal {
        let (mut mantissa, mut exponent) = (units, -9);
        // An `i128` has 39 digits, an `i64` 18 at least: this ends after 21 rounds at most, and nearly always before the first.
        loop {
            match i64::try_from(mantissa) {
                Ok(mantissa) if mantissa != i64::MIN => return Decimal { mantissa, exponent },
                Ok(_) | Err(_) => (mantissa, exponent) = (mantissa / 10, exponent + 1),
            }
        }
    }

    #[inline]
    #[must_use]
    pub fn from_bytes(bytes: [u8; Decimal::BYTES]) -> Decimal {
        let [exponent] = at::<8, _, _>(&bytes);
        Decimal { mantissa: i64::from_le_bytes(at::<0, _, _>(&bytes)), exponent: exponent.cast_signed() }
    }

    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; Decimal::BYTES] {
        let mut bytes = [0; Decimal::BYTES];
        put::<0, _, _>(&mut bytes, self.mantissa.to_le_bytes());
        put::<8, _, _>(&mut bytes, self.exponent.to_le_bytes());
        bytes
    }

    /// `None` where the mantissa is null's.
    #[inline]
    #[must_use]
    pub fn from_nullable_bytes(bytes: [u8; Decimal::BYTES]) -> Option<Decimal> {
        Some(Decimal::from_bytes(bytes)).filter(|decimal| decimal.mantissa != Decimal::NULL.mantissa)
    }

    #[inline]
    #[must_use]
    pub fn to_nullable_bytes(decimal: Option<Decimal>) -> [u8; Decimal::BYTES] {
        decimal.unwrap_or(Decimal::NULL).to_bytes()
    }
}

/// `None` for the value that stands for none.
#[inline]
pub fn unless<T: PartialEq>(value: T, null: T) -> Option<T> {
    if value == null { None } else { Some(value) }
}

/// The bytes of a field; that they lie within the block is known when this is compiled.
#[inline]
pub fn at<const AT: usize, const N: usize, const L: usize>(block: &[u8; L]) -> [u8; N] {
    const { assert!(AT + N <= L, "a field lies within its block") };
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[AT..AT + N]);
    bytes
}

/// Writes the bytes of a field; that they lie within the block is known when this is compiled.
#[inline]
pub fn put<const AT: usize, const N: usize, const L: usize>(block: &mut [u8; L], bytes: [u8; N]) {
    const { assert!(AT + N <= L, "a field lies within its block") };
    block[AT..AT + N].copy_from_slice(&bytes);
}

/// The bytes of a field that a later version has added; `None` where the message is of an earlier one.
#[inline]
#[must_use]
pub fn added<const N: usize>(added: &[u8], at: usize) -> Option<[u8; N]> {
    added.get(at..)?.first_chunk().copied()
}

/// An entry of a group.
pub trait Entry: Sized {
    /// Bytes of an entry of the schema's first version.
    const BYTES_MIN: usize;
    /// Bytes of an entry as it is written.
    const BLOCK_LENGTH: u16;

    fn write(&self, out: &mut Vec<u8>);

    /// Reads an entry of at least `BYTES_MIN` bytes.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    fn read(block: &[u8]) -> Result<Self, DecodeError>;
}

/// The entries of a group where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a, E> {
    bytes: &'a [u8],
    /// Positive.
    entry_bytes: usize,
    entry: PhantomData<E>,
}

impl<'a, E: Entry> Entries<'a, E> {
    const NONE: Entries<'a, E> = Entries { bytes: &[], entry_bytes: 1, entry: PhantomData };

    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.entry_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The entries in their order; one with a value that is not known is an error, and the next is told all the same.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<E, DecodeError>> + use<'a, E> {
        self.bytes.chunks_exact(self.entry_bytes).map(E::read)
    }
}

/// Appends a group.
///
/// # Panics
/// Past 2^32 entries: no memory holds so many.
pub fn write_group<E: Entry>(out: &mut Vec<u8>, entries: impl IntoIterator<Item = E>) {
    let head = out.len();
    out.extend_from_slice(&E::BLOCK_LENGTH.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut count: u32 = 0;
    for entry in entries {
        entry.write(out);
        count = count.checked_add(1).expect("invariant: 2^32 entries fit no memory");
    }
    out[head + 2..head + GROUP_HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Appends a text.
///
/// # Panics
/// Beyond 65,535 bytes: labels are bounded by their type, all other texts are ours.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("invariant: no text here is longer than 65,535 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A received message, read from its begin to its end: the block, then each group and each text.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    rest: &'a [u8],
    header: Header,
    /// The newest version that is known.
    known_version: u16,
}

impl<'a> Body<'a> {
    /// Takes the header, which has to be of this message.
    ///
    /// # Errors
    /// Another schema or message, or fewer bytes than a header has.
    #[inline]
    pub fn open(frame: &'a [u8], expected: Header) -> Result<Body<'a>, DecodeError> {
        let header = Header::decode(frame)?;
        if header.schema_id != expected.schema_id {
            return Err(DecodeError::Schema { schema_id: header.schema_id });
        }
        if header.template_id != expected.template_id {
            return Err(DecodeError::Template { template_id: header.template_id });
        }
        Ok(Body { rest: &frame[HEADER_BYTES..], header, known_version: expected.version })
    }

    /// The fields: those of the first version, and what later ones have added.
    ///
    /// # Errors
    /// A block that is cut off, or shorter than that of the first version.
    #[inline]
    pub fn block<const N: usize>(&mut self) -> Result<(&'a [u8; N], &'a [u8]), DecodeError> {
        let block_length = self.header.block_length;
        let block = self.take(usize::from(block_length))?;
        block.split_first_chunk().ok_or(DecodeError::BlockTooShort { block_length })
    }

    /// A group, which is there from this version on.
    ///
    /// # Errors
    /// Entries that are cut off, or shorter than those of the first version.
    pub fn group<E: Entry>(&mut self, since_version: u16) -> Result<Entries<'a, E>, DecodeError> {
        if self.header.version < since_version {
            return Ok(Entries::NONE);
        }
        let head: &[u8; GROUP_HEADER_BYTES] = self.rest.first_chunk().ok_or(DecodeError::Truncated)?;
        let block_length = u16::from_le_bytes(at::<0, _, _>(head));
        let count = u32::from_le_bytes(at::<2, _, _>(head));
        self.take(GROUP_HEADER_BYTES)?;
        if count == 0 {
            return Ok(Entries::NONE);
        }
        let entry_bytes = usize::from(block_length);
        if entry_bytes < E::BYTES_MIN.max(1) {
            return Err(DecodeError::BlockTooShort { block_length });
        }
        let bytes = usize::try_from(u64::from(count) * u64::from(block_length));
        let bytes = self.take(bytes.map_err(|_| DecodeError::Truncated)?)?;
        Ok(Entries { bytes, entry_bytes, entry: PhantomData })
    }

    /// A text, which is there from this version on; empty before.
    ///
    /// # Errors
    /// A text that is cut off, or is not UTF-8.
    pub fn text(&mut self, field: &'static str, since_version: u16) -> Result<&'a str, DecodeError> {
        if self.header.version < since_version {
            return Ok("");
        }
        let length: [u8; TEXT_LENGTH_BYTES] = *self.rest.first_chunk().ok_or(DecodeError::Truncated)?;
        self.take(TEXT_LENGTH_BYTES)?;
        let text = self.take(usize::from(u16::from_le_bytes(length)))?;
        std::str::from_utf8(text).map_err(|_| DecodeError::NotUtf8 { field })
    }

    /// Nothing more may follow, but for what a later version has added.
    ///
    /// # Errors
    /// Bytes behind the message.
    #[inline]
    pub fn close(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() || self.header.version > self.known_version {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
