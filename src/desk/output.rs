//! What the desk says: answers, and events of accounts, with the bytes that they refer to. PURE.

use crate::model::ids::{HomeId, InstrumentId, Seq, Ticket};
use crate::model::order::{AccountId, OrderRefusal};

/// Bytes of the desk's buffer, by [`super::Desk::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonRange {
    pub start: u32,
    pub len: u32,
}

/// What the desk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the one who asked, once. The bytes are the result's value.
    Answer { to: HomeId, ticket: Ticket, outcome: Result<JsonRange, OrderRefusal> },
    /// What happened to one order of the account, for its private channels.
    Event {
        account: AccountId,
        instrument: InstrumentId,
        /// Of the account, from 1, without a gap.
        seq: Seq,
        /// The order as it is now.
        order: JsonRange,
        /// Its new fills, with commas between them; `None` where there are none, like `position`.
        trades: Option<JsonRange>,
        /// The account's position in the instrument after them.
        position: Option<JsonRange>,
    },
}
