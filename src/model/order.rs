//! Orders, in the words of FIX 5.0 and in Deribit's shapes: what clients ask for, what a venue is asked for and reports,
//! and what is known of an order, a fill and a position. PURE.
//!
//! Home: clients' requests are made on a shard; everything else lives on the venue's thread, where the desk is the one
//! writer. Amounts and prices are integers (`decimal.rs`); cash is in units of 1e-9 of the quote currency.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::decimal::{Amount, Price};
use super::encoding::Encoding;
use super::ids::{ConnId, HomeId, InstrumentId, Seq, Ticket};
use super::instrument::{InstrumentKind, Symbol};
use super::market::Direction;

/// Bytes of a label at most, as on Deribit.
pub const LABEL_BYTES_MAX: usize = 64;

/// An account, numbered by the authority in the order in which accounts first log in; never reused in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

impl AccountId {
    /// As an index into a table of accounts.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number that the desk gives an order (FIX `OrderID`): unique, rising, never 0, below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// A client's own name for an order (FIX `ClOrdID`, Deribit's `label`): 1 to 64 bytes of UTF-8 without control
/// characters. The private fields make every `Label` a legal one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    bytes: [u8; LABEL_BYTES_MAX],
    len: u8,
}

impl Label {
    /// `None` for a text that is empty, too long or has a control character.
    #[must_use]
    pub fn parse(text: &str) -> Option<Label> {
        if text.is_empty() || text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
            return None;
        }
        let mut bytes = [0; LABEL_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Label { bytes, len: u8::try_from(text.len()).ok()? })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)])
            .expect("invariant: `parse`, the only way to make one, takes a `str`")
    }
}

/// What is not used is zero, so that equal labels have equal used bytes.
impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.bytes[..usize::from(self.len)]);
        state.write_u8(self.len);
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// FIX `OrdType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderType {
    Limit,
    Market,
}

/// FIX `TimeInForce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeInForce {
    GoodTilCancelled,
    ImmediateOrCancel,
    FillOrKill,
}

/// What becomes of an order that must not take liquidity and would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostOnly {
    /// It may take.
    No,
    /// Its price is moved to one tick before the other side's best.
    Slide,
    /// It is rejected.
    Reject,
}

/// FIX `OrdStatus`, as Deribit's `order_state` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderState {
    /// Rests, whether or not some of it is filled.
    Open,
    Filled,
    Cancelled,
    Rejected,
    /// It was sent and the link to the venue died before the venue answered; reconciliation will tell.
    Unknown,
}

impl OrderState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            OrderState::Filled | OrderState::Cancelled | OrderState::Rejected => true,
            OrderState::Open | OrderState::Unknown => false,
        }
    }
}

/// Why an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its client asked for it.
    UserRequest,
    /// Its connection is gone.
    Disconnect,
    /// The account's dead-man timer ran out.
    Timeout,
    /// Immediate or cancel, or a market order that found no more.
    Immediate,
    /// It would have met an order of the same account.
    SelfMatch,
    /// By the kill switch.
    Killed,
    /// The venue did it by itself.
    Venue,
    /// Its instrument is traded no more.
    Delisted,
}

/// Why an order is told of (FIX `ExecType`): the newest thing that happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecType {
    /// The venue has accepted it.
    New,
    /// It was amended.
    Replaced,
    Cancelled,
    /// It was in doubt, and never came to be.
    Rejected,
    /// Some of it was filled.
    Trade,
    /// What became of it is not known, or is known now.
    Status,
}

/// Who gave liquidity in a fill and who took it (FIX `LastLiquidityInd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liquidity {
    Maker,
    Taker,
}

/// A new order as a client asks for it (FIX `NewOrderSingle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    pub instrument: InstrumentId,
    pub direction: Direction,
    pub order_type: OrderType,
    /// `None` of a market order.
    pub price: Option<Price>,
    pub amount: Amount,
    pub time_in_force: TimeInForce,
    pub post_only: PostOnly,
    /// Only as far as it makes the position smaller.
    pub reduce_only: bool,
    pub label: Option<Label>,
    /// Not to be sent to the venue at this time or later, in milliseconds since 1970; the earlier of Deribit's
    /// `valid_until` and `deadline`.
    pub valid_until_ms: Option<u64>,
}

/// Which order a client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRef {
    Id(OrderId),
    /// The account's order of this label, unless it is forgotten.
    Label(Label),
}

/// An amendment (FIX `OrderCancelReplaceRequest`); what is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditOrder {
    pub order: OrderRef,
    /// Of which the order has to be, where it is told: what amounts and prices are meant for.
    pub instrument: Option<InstrumentId>,
    /// The new amount in all, what is filled included.
    pub amount: Option<Amount>,
    pub price: Option<Price>,
    pub post_only: Option<PostOnly>,
    pub reduce_only: Option<bool>,
    /// As in [`NewOrder::valid_until_ms`].
    pub valid_until_ms: Option<u64>,
}

/// Orders or positions of some instruments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter {
    pub instrument: Option<InstrumentId>,
    pub kind: Option<InstrumentKind>,
    /// Base or quote currency.
    pub currency: Option<Symbol>,
}

/// How far cancel-on-disconnect is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectScope {
    /// The connection that asks.
    Connection,
    /// What later connections of the account begin with.
    Account,
}

/// Which of a client's fills are asked for; see `get_user_trades_by_instrument`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserTradesQuery {
    pub filter: Filter,
    pub start_seq: Option<u64>,
    pub end_seq: Option<u64>,
    /// Milliseconds since 1970.
    pub start_timestamp_ms: Option<u64>,
    pub end_timestamp_ms: Option<u64>,
    /// 1 to 1,000.
    pub count: u16,
    /// Whether the oldest of the range comes first, and is taken first.
    pub is_ascending: bool,
}

/// What a client asks the desk for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRequest {
    Place(NewOrder),
    Edit(EditOrder),
    Cancel {
        order: OrderId,
        valid_until_ms: Option<u64>,
    },
    /// The open order of this label, if there is one; answered with how many were cancelled.
    CancelByLabel {
        label: Label,
        currency: Option<Symbol>,
    },
    CancelAll {
        filter: Filter,
    },
    /// The dead-man timer: all orders are cancelled unless this is asked for again within the time; `None` turns it off.
    CancelAllAfter {
        timeout_ms: Option<u32>,
    },
    OpenOrders {
        filter: Filter,
    },
    OrderState {
        order: OrderId,
    },
    OrderStateByLabel {
        label: Label,
        currency: Option<Symbol>,
    },
    /// Closed orders, the newest first.
    OrderHistory {
        filter: Filter,
        /// 1 to 1,000.
        count: u16,
        /// How many of them are passed over.
        offset: u32,
        /// Those too of which nothing was filled.
        include_unfilled: bool,
    },
    UserTrades(UserTradesQuery),
    Position {
        instrument: InstrumentId,
    },
    Positions {
        filter: Filter,
    },
    AccountSummary {
        currency: Symbol,
    },
    /// Of each currency that something is quoted in.
    AccountSummaries,
    EnableCancelOnDisconnect {
        scope: DisconnectScope,
    },
    DisableCancelOnDisconnect {
        scope: DisconnectScope,
    },
    GetCancelOnDisconnect {
        scope: DisconnectScope,
    },
    /// The kill switch: cancels all and refuses new orders until it is lifted; of the account that asks, or of all.
    Halt {
        is_on: bool,
        everybody: bool,
    },
}

/// A connection, in the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    pub home: HomeId,
    pub conn: ConnId,
}

/// A request on its way from a shard to the desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// By which the shard recognises the answer; there is exactly one.
    pub ticket: Ticket,
    pub account: AccountId,
    /// Where it came from.
    pub client: Client,
    /// Whether `client` outlives the request: a WebSocket does, a call over HTTP does not.
    pub is_connection: bool,
    /// What its answer is to be in; other than JSON only of what places, edits or cancels one order.
    pub encoding: Encoding,
    pub request: OrderRequest,
}

/// How a client's connection ended, for cancel-on-disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// `private/logout`: nothing is cancelled.
    LoggedOut,
    /// It was closed, by whomever and for whatever reason.
    Disconnected,
}

/// Why the desk, or the venue, does not do what was asked. Nothing has been done then, except where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderRefusal {
    /// No such order of this account, or it is forgotten.
    OrderNotFound,
    /// The order is filled or cancelled already.
    AlreadyClosed,
    /// The instrument does not trade.
    BookClosed,
    /// The instrument trades no more, ever.
    Delisted,
    /// No link of the instrument's venue is up, or the venue of a feed that takes no orders: not sent.
    VenueUnavailable,
    /// Not a multiple of the tick size, or not positive.
    PriceTick,
    /// Above the price band.
    PriceTooHigh,
    /// Below the price band.
    PriceTooLow,
    /// Not positive, not a multiple of the smallest order amount, or beyond what can be counted.
    InvalidAmount,
    /// A market order where a limit is set and nothing is known of a price.
    NoReferencePrice,
    /// Above the largest order amount or notional.
    AmountTooLarge,
    NotionalTooLarge,
    /// An edit that leaves no more than what is filled.
    AmountBelowFilled,
    /// It would take liquidity and was not to.
    PostOnly,
    /// It would not make the position smaller.
    ReduceOnly,
    /// Fill or kill: it would not have been filled at once.
    FillOrKill,
    /// The account has as many open orders as it may.
    TooManyOpenOrders,
    /// The same order from the same account a moment ago, without a label.
    Duplicate,
    /// The account's credits are used up; there are so many, and an order's are there after so long.
    TooManyRequests {
        credits_left: u32,
        retry_after_ms: u32,
    },
    /// As many requests to cancel many orders are under way as may be.
    TooManyCancels,
    /// The kill switch is on.
    Halted,
    /// `valid_until` was over before the order was sent: not sent.
    TimedOut,
    /// The desk holds as much as it may: not sent.
    Full,
    /// A market order without a price on the other side, or a book that is full.
    VenueRefused,
    /// Sent, and the link died before the venue said what became of it. Ask by the order's id.
    OutcomeUnknown {
        order: OrderId,
    },
    /// It was never sent, since the link died first.
    NotSent,
    /// Cancel-on-disconnect of a connection, asked for over HTTP.
    NeedsConnection,
    /// The node that owns the market is another one, and is not known or not reached: not sent.
    OwnerAway,
    /// Sent to the node that owned the market, which was lost before it answered.
    OwnerLost,
}

/// What the desk asks a venue for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueRequest {
    New {
        order: OrderId,
        account: AccountId,
        spec: NewOrder,
    },
    /// `total` is its new amount, what is filled included (FIX `OrderQty`): open is then what the venue has not filled of it,
    /// whatever the desk knew when it asked.
    Amend {
        order: OrderId,
        instrument: InstrumentId,
        price: Option<Price>,
        total: Amount,
        post_only: PostOnly,
    },
    Cancel {
        order: OrderId,
        instrument: InstrumentId,
    },
}

impl VenueRequest {
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        match self {
            VenueRequest::New { spec, .. } => spec.instrument,
            VenueRequest::Amend { instrument, .. } | VenueRequest::Cancel { instrument, .. } => *instrument,
        }
    }
}

/// What a venue says of an order (FIX `ExecutionReport`, `OrderCancelReject`); fills come with the market's trades.
///
/// The reports of one order come in this order: `Accepted` or `Rejected`; fills; then, if anything is left and does not
/// rest, `Cancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueReport {
    /// It rests, or is about to be filled; `price` is what it rests at, where it was moved.
    Accepted {
        order: OrderId,
        price: Option<Price>,
    },
    Rejected {
        order: OrderId,
        why: OrderRefusal,
    },
    /// It is so much in all from now on, what is filled included, at this price. One of which no less is filled is over.
    Amended {
        order: OrderId,
        price: Price,
        total: Amount,
    },
    AmendRejected {
        order: OrderId,
        why: OrderRefusal,
    },
    Cancelled {
        order: OrderId,
        why: CancelReason,
    },
    CancelRejected {
        order: OrderId,
        why: OrderRefusal,
    },
}

impl VenueReport {
    #[must_use]
    pub const fn order(&self) -> OrderId {
        match self {
            VenueReport::Accepted { order, .. }
            | VenueReport::Rejected { order, .. }
            | VenueReport::Amended { order, .. }
            | VenueReport::AmendRejected { order, .. }
            | VenueReport::Cancelled { order, .. }
            | VenueReport::CancelRejected { order, .. } => *order,
        }
    }
}

/// Which of our clients' orders met in a trade; a side that is none of ours is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    pub maker: Option<OrderId>,
    pub taker: Option<OrderId>,
}

/// All that is known of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub account: AccountId,
    pub instrument: InstrumentId,
    pub direction: Direction,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    pub post_only: PostOnly,
    pub reduce_only: bool,
    pub label: Option<Label>,
    pub state: OrderState,
    /// `None` of a market order.
    pub price: Option<Price>,
    pub amount: Amount,
    pub filled: Amount,
    /// Σ price × amount of its fills, in units of 1e-9 of the quote currency.
    pub filled_notional: i128,
    /// Whether it was amended.
    pub is_replaced: bool,
    pub cancel_reason: Option<CancelReason>,
    /// Nanoseconds since 1970.
    pub created_ns: u64,
    pub updated_ns: u64,
}

impl Order {
    /// What is not filled.
    #[must_use]
    pub const fn left(&self) -> Amount {
        Amount(self.amount.0 - self.filled.0)
    }
}

/// One fill of one order (Deribit's user trade).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub order: OrderId,
    pub instrument: InstrumentId,
    /// The market's trade that it is one side of.
    pub trade_seq: Seq,
    pub direction: Direction,
    pub liquidity: Liquidity,
    pub order_type: OrderType,
    /// The order's after this fill.
    pub state: OrderState,
    pub post_only: PostOnly,
    pub reduce_only: bool,
    pub label: Option<Label>,
    pub price: Price,
    pub amount: Amount,
    /// What it realised of the position's profit, in units of 1e-9 of the quote currency.
    pub profit: i128,
    /// Deribit's `tick_direction`, as in the market's trade.
    pub tick_direction: u8,
    pub mark_price: Price,
    /// Nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Whether both sides were of the same account.
    pub is_self_trade: bool,
}

/// What an account holds of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub instrument: InstrumentId,
    /// Negative where it is short; in the instrument's amount units of 1e-9.
    pub size: i64,
    /// What it cost: Σ price × amount of what is open, in units of 1e-9 of the quote currency; of the same sign as `size`.
    pub cost: i128,
    /// Profit of what was closed, in units of 1e-9 of the quote currency.
    pub realized: i128,
}

/// What an account is worth in one currency; all money in units of 1e-9 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    pub currency: Symbol,
    /// What it began with, and the profit of what was closed.
    pub balance: i128,
    /// The balance, and what its positions gained since they were opened.
    pub equity: i128,
    /// What may be spent.
    pub available: i128,
    pub realized: i128,
    pub unrealized: i128,
}

/// What a trade or an order may be worth, either way, in units of 1e-9 of the quote currency: some 2 × 10^16 of it, far beyond
/// any, and so little that no sum of fewer than 2^43 of them leaves 128 bits, nor a billion times one of them.
pub const NOTIONAL_MAX: i128 = 1 << 84;

/// Whether so much at this price is worth no more than [`NOTIONAL_MAX`].
#[must_use]
pub const fn is_countable(price: Price, amount: Amount) -> bool {
    notional(price, amount).unsigned_abs() <= NOTIONAL_MAX.unsigned_abs()
}

/// Price × amount in units of 1e-9 of the quote currency, rounded towards zero. Both sides of a trade have the same.
#[must_use]
pub const fn notional(price: Price, amount: Amount) -> i128 {
    price.0 as i128 * amount.0 as i128 / super::decimal::UNIT as i128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decimal::UNIT;

    #[test]
    fn a_label_is_any_short_text_without_control_characters() {
        for text in ["a", "Ordre n° 7 / été", "\"quoted\\", &"x".repeat(64)] {
            assert_eq!(Label::parse(text).map(|label| label.as_str().to_owned()).as_deref(), Some(text));
        }
        for text in ["", "a\nb", "\u{7f}", &"x".repeat(65), &"é".repeat(33)] {
            assert_eq!(Label::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_notional_is_price_times_amount_even_where_neither_product_nor_sum_fits_64_bits() {
        assert_eq!(notional(Price(65_000 * UNIT), Amount(10 * UNIT)), 650_000 * i128::from(UNIT));
        assert_eq!(
            notional(Price(i64::MAX), Amount(i64::MAX)),
            i128::from(i64::MAX).pow(2) / i128::from(UNIT)
        );
        assert!(
            !is_countable(Price(i64::MAX), Amount(i64::MAX))
                && !is_countable(Price(-i64::MAX), Amount(i64::MAX))
        );
        assert!(is_countable(Price(i64::MAX), Amount(UNIT)) && is_countable(Price(1), Amount(i64::MAX)));
        assert_eq!(notional(Price(1), Amount(UNIT - 1)), 0);
        assert_eq!(notional(Price(-3 * UNIT), Amount(UNIT / 2)), -3 * i128::from(UNIT) / 2);
    }
}
