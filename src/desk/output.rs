//! What the desk says: answers, and events of accounts, with the bytes that they refer to. PURE.

use crate::model::encoding::Encoding;
use crate::model::ids::{HomeId, InstrumentId, Seq, Ticket};
use crate::model::order::{AccountId, OrderRefusal};

/// Bytes of the desk's buffer, by [`super::Desk::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u32,
    pub len: u32,
}

/// The encodings in which somebody is told of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub json: bool,
    pub sbe: bool,
}

impl Wanted {
    /// These and one more.
    #[must_use]
    pub const fn and(self, encoding: Encoding) -> Wanted {
        match encoding {
            Encoding::Json => Wanted { json: true, ..self },
            Encoding::Sbe => Wanted { sbe: true, ..self },
        }
    }
}

/// What the desk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the one who asked, once, in what was asked for: the bytes are the result's value in JSON, or a whole message in SBE.
    Answer { to: HomeId, ticket: Ticket, outcome: Result<ByteRange, OrderRefusal> },
    /// What happened to one order of the account, for its private channels.
    Event {
        account: AccountId,
        instrument: InstrumentId,
        /// Of the account, from 1, without a gap.
        seq: Seq,
        /// For those who are told in JSON, if anybody is.
        json: Option<JsonEvent>,
        /// For those who are told in SBE, if anybody is.
        sbe: Option<SbeEvent>,
    },
}

/// An event in SBE: execution reports that do not say yet at which place they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SbeEvent {
    /// The order as it is now.
    pub order: ByteRange,
    /// One of each new fill, equally long.
    pub fills: ByteRange,
    pub fills_count: u32,
}

/// An event in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonEvent {
    /// The order as it is now.
    pub order: ByteRange,
    /// Its new fills, with commas between them; `None` where there are none, like `position`.
    pub trades: Option<ByteRange>,
    /// The account's position in the instrument after them.
    pub position: Option<ByteRange>,
}
