//! The messages of the venue link, in both directions and whatever their form on the wire. PURE.
//! `docs/venue-link.md` describes them one by one.
//!
//! Levels of a book are not in the message but in the buffer that goes with it, so that a book allocates nothing.

use crate::model::book::Level;
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::{Direction, LevelRange, MarketState};
use crate::model::order::{
    AccountId, CancelReason, Label, Liquidity, OrderId, OrderRefusal, OrderType, PostOnly, TimeInForce,
};

/// The version of the protocol that is spoken here. Each earlier one is understood too.
pub const VERSION: u16 = 2;
/// The first version that has fences. A venue of an earlier one is told none.
const VERSION_OF_FENCES: u16 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The venue's first.
    Hello(Hello),
    /// The gateway's answer.
    Welcome(Welcome),
    /// The gateway's other answer; it hangs up.
    Reject {
        reason: Box<str>,
    },
    /// Whoever says it hangs up.
    Bye {
        reason: Box<str>,
        /// The newest fence that the venue knows, where it refuses an older one; else 0.
        fence: u64,
    },
    /// `next` is the number that is expected next: all before it is here.
    Heartbeat {
        next: u64,
    },
    /// Of the venue; orders of these are taken from here on.
    Instruments(Vec<Instrument>),
    Tick(Tick),
    Trade(Print),
    Book(BookUpdate),
    State {
        instrument: Symbol,
        state: MarketState,
        time_ms: u64,
    },
    /// Numbered, from the gateway.
    Command {
        seq: u64,
        command: Command,
    },
    /// Numbered, from the venue.
    Report {
        seq: u64,
        report: Report,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version: u16,
    /// Its name in the gateway's configuration.
    pub venue: Box<str>,
    pub key: Box<str>,
    /// Chosen by the venue when it starts, and kept as long as it remembers what was said.
    pub session: Box<str>,
    /// The gateway's session of the last welcome, empty before the first.
    pub peer: Box<str>,
    /// The number of the gateway's command that it expects next in that session.
    pub next: u64,
    pub heartbeat_ms: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub version: u16,
    /// This run of the gateway: another one has forgotten its orders.
    pub gateway: Box<str>,
    /// To be said as `peer` in the next hello.
    pub session: Box<str>,
    /// The number of the venue's report that it expects next.
    pub next: u64,
    /// Whether the numbers of the last connection go on. Else they begin at 1, and what was not acknowledged is forgotten.
    pub resumed: bool,
    pub heartbeat_ms: u32,
    /// Of the taking of the market by which the gateway owns it: each later owner of a cluster has a greater one. 0 without a cluster.
    pub fence: u64,
}

/// The best bid and offer of a venue that tells no depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub instrument: Symbol,
    pub bid: Option<Level>,
    pub ask: Option<Level>,
    pub time_ms: u64,
}

/// A trade that none of the gateway's orders was in, or that is told besides their fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    pub instrument: Symbol,
    pub price: Price,
    pub amount: Amount,
    /// The side that took.
    pub side: Direction,
    pub time_ms: u64,
}

/// New amounts of levels; bids before asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookUpdate {
    pub instrument: Symbol,
    /// Whether these levels are the whole book.
    pub is_snapshot: bool,
    pub levels: LevelRange,
    pub time_ms: u64,
}

/// What the gateway asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    New(NewCommand),
    /// `total` is its new amount, what is filled included; the price stays where it is `None`.
    Amend {
        order: OrderId,
        price: Option<Price>,
        total: Amount,
        post_only: PostOnly,
    },
    Cancel {
        order: OrderId,
    },
    /// What has become of it?
    Status {
        order: OrderId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCommand {
    pub order: OrderId,
    /// Whose it is, for the prevention of self-matches; means nothing beyond a run of the gateway.
    pub account: AccountId,
    pub instrument: Symbol,
    pub side: Direction,
    pub order_type: OrderType,
    /// `None` of a market order.
    pub price: Option<Price>,
    pub amount: Amount,
    pub time_in_force: TimeInForce,
    pub post_only: PostOnly,
    pub reduce_only: bool,
    pub label: Option<Label>,
    /// Not to be executed at this time or later.
    pub valid_until_ms: Option<u64>,
}

/// What the venue says of an order. Each command but `Status` has one answer, in the order of an order's commands:
/// accepted or rejected; amended or its refusal; cancelled or its refusal. Fills come after `Accepted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// `price` is what it rests at, where it was moved.
    Accepted {
        order: OrderId,
        venue_order: Option<Label>,
        price: Option<Price>,
    },
    Rejected {
        order: OrderId,
        reason: OrderRefusal,
    },
    Filled(Filled),
    /// It is so much in all from now on, what is filled included, at this price.
    Amended {
        order: OrderId,
        price: Price,
        total: Amount,
    },
    AmendRejected {
        order: OrderId,
        reason: OrderRefusal,
    },
    Cancelled {
        order: OrderId,
        reason: CancelReason,
    },
    CancelRejected {
        order: OrderId,
        reason: OrderRefusal,
    },
    /// The answer to `Command::Status`.
    OrderStatus(OrderStatus),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    pub order: OrderId,
    pub price: Price,
    pub amount: Amount,
    pub liquidity: Liquidity,
    /// Whether the gateway is to publish it as a trade of the market; not where the venue tells it by another message.
    pub print: bool,
    /// The venue's own name for it.
    pub trade: Option<Label>,
    pub time_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderStatus {
    pub order: OrderId,
    pub state: StatusState,
    pub filled: Amount,
    /// The mean price of what is filled; there if anything is.
    pub average: Option<Price>,
    /// At which the rest is open.
    pub price: Option<Price>,
    /// What is open.
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusState {
    /// The venue has it, and will say what becomes of it.
    Pending,
    Open,
    Filled,
    Cancelled,
    Rejected,
    /// The venue never had it, or has forgotten it, and will never execute it.
    Unknown,
}

impl Command {
    #[must_use]
    pub const fn order(&self) -> OrderId {
        match self {
            Command::New(new) => new.order,
            Command::Amend { order, .. } | Command::Cancel { order } | Command::Status { order } => *order,
        }
    }
}

impl Report {
    #[must_use]
    pub const fn order(&self) -> OrderId {
        match self {
            Report::Filled(filled) => filled.order,
            Report::OrderStatus(status) => status.order,
            Report::Accepted { order, .. }
            | Report::Rejected { order, .. }
            | Report::Amended { order, .. }
            | Report::AmendRejected { order, .. }
            | Report::Cancelled { order, .. }
            | Report::CancelRejected { order, .. } => *order,
        }
    }
}

/// Whether a version is understood here.
#[must_use]
pub const fn is_spoken(version: u16) -> bool {
    1 <= version && version <= VERSION
}

impl Hello {
    /// Whether the venue can be told a fence.
    #[must_use]
    pub const fn takes_fences(&self) -> bool {
        self.version >= VERSION_OF_FENCES
    }
}
