//! What goes wrong in a request, in JSON-RPC 2.0's codes (§5.1) and Deribit's documented ones. PURE. What neither has a
//! code for gets one from 20001 on, which is nobody's.

use crate::model::call::CallFailure;
use crate::model::message::MessageRefusal;
use crate::model::order::{OrderId, OrderRefusal};

/// An error object: `{"code":…,"message":…,"data":{"reason":…,"param":…}}`. Code and message come together from the
/// constants; `reason`, `param` and `detail` tell more where there is more to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: i32,
    pub message: &'static str,
    pub reason: Option<&'static str>,
    pub param: Option<&'static str>,
    pub detail: Detail,
}

/// What else `data` tells, in members of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    None,
    /// `credits_left`, and `retry_after_ms`: when an order is affordable again.
    Credits {
        credits_left: u32,
        retry_after_ms: u32,
    },
    /// `order_id`: by which to ask what became of it.
    Order(OrderId),
}

impl Failure {
    /// The text is not JSON, or nests deeper than the bound.
    pub const PARSE_ERROR: Failure = Failure::new(-32700, "Parse error");
    /// JSON, but no request object.
    pub const INVALID_REQUEST: Failure = Failure::new(-32600, "Invalid Request");
    /// Over HTTP, a method that is about the connection.
    pub const NEEDS_WEBSOCKET: Failure = Failure::INVALID_REQUEST.because("this method needs a WebSocket");
    pub const METHOD_NOT_FOUND: Failure = Failure::new(-32601, "Method not found");
    pub const INVALID_PARAMS: Failure = Failure::new(-32602, "Invalid params");
    pub const INTERNAL_ERROR: Failure = Failure::new(-32603, "Internal error");
    /// The client's allowed rate is exceeded.
    pub const TOO_MANY_REQUESTS: Failure = Failure::new(10028, "too_many_requests");
    /// The request can't be served right now and should be sent again: a bounded queue is full.
    pub const RETRY: Failure = Failure::new(10040, "retry");
    /// A subscription could not be made or ended.
    pub const UNSUBSCRIBED: Failure = Failure::new(11052, "subscribe_error_unsubscribed");
    /// What `public/test` answers to `"expected_result":"exception"`.
    pub const EXCEPTION: Failure = Failure::new(11094, "internal_server_error");
    /// No such key, or not its secret.
    pub const INVALID_CREDENTIALS: Failure = Failure::new(13004, "invalid_credentials");
    pub const UNAUTHORIZED: Failure = Failure::new(13009, "unauthorized");
    /// A method of those who have logged in.
    pub const NOT_LOGGED_IN: Failure = Failure::UNAUTHORIZED.because("log in first: public/auth");
    /// What is named does not exist.
    pub const NOT_FOUND: Failure = Failure::new(13020, "not_found");
    /// No instrument has this name.
    pub const UNKNOWN_INSTRUMENT: Failure =
        Failure::NOT_FOUND.because("unknown instrument").at("instrument_name");
    pub const FORBIDDEN: Failure = Failure::new(13021, "forbidden");

    /// No such order of this account.
    pub const ORDER_NOT_FOUND: Failure = Failure::new(10004, "order_not_found");
    pub const PRICE_TOO_LOW: Failure = Failure::new(10005, "price_too_low").at("price");
    pub const PRICE_TOO_HIGH: Failure = Failure::new(10007, "price_too_high").at("price");
    /// Something is asked of an order that is filled or cancelled.
    pub const ALREADY_CLOSED: Failure = Failure::new(10010, "already_closed");
    pub const BOOK_CLOSED: Failure = Failure::new(10012, "book_closed");
    /// Deribit's word for too many open orders in all.
    pub const MAX_OPEN_ORDERS: Failure = Failure::new(10013, "pme_max_total_open_orders");
    /// Trading is stopped.
    pub const LOCKED: Failure = Failure::new(10019, "locked_by_admin");
    pub const INVALID_AMOUNT: Failure = Failure::new(10021, "invalid_amount").at("amount");
    pub const INVALID_PRICE: Failure = Failure::new(10023, "invalid_price").at("price");
    pub const INVALID_MAX_SHOW: Failure = Failure::new(10036, "invalid_max_show_amount");
    /// Not a number as orders here have.
    pub const INVALID_ORDER_ID: Failure = Failure::new(10025, "invalid_order_id").at("order_id");
    /// More decimals than a price can have.
    pub const PRICE_PRECISION: Failure = Failure::new(10026, "price_precision_exceeded").at("price");
    pub const MUST_BE_WEBSOCKET: Failure = Failure::new(10030, "must_be_websocket_request");
    pub const PRICE_WRONG_TICK: Failure = Failure::new(10043, "price_wrong_tick").at("price");
    /// An edit to no more than what is filled.
    pub const ALREADY_FILLED: Failure = Failure::new(11008, "already_filled").at("amount");
    /// What Deribit has no code of its own for; the reason tells.
    pub const OTHER_REJECT: Failure = Failure::new(11030, "other_reject");
    pub const POST_ONLY_REJECT: Failure = Failure::new(11054, "post_only_reject");
    /// Of a type or time in force that never rests.
    pub const POST_ONLY_NOT_ALLOWED: Failure = Failure::new(11055, "post_only_not_allowed").at("post_only");
    /// Nothing was sent.
    pub const UNAVAILABLE: Failure = Failure::new(13028, "temporarily_unavailable");
    /// `valid_until` was over before anything was sent.
    pub const TIMED_OUT: Failure = Failure::new(13888, "timed_out");
    /// Sent, and nobody knows yet what became of it.
    pub const OUTCOME_UNKNOWN: Failure = Failure::new(20_001, "outcome_unknown");
    /// Accepted, and then never sent.
    pub const NOT_SENT: Failure = Failure::new(20_002, "not_sent");

    /// A backend was asked, and has not answered in time.
    pub const CALL_TIMED_OUT: Failure = Failure::new(20_003, "backend_timed_out");
    /// A backend was asked, and its link or process ended before an answer.
    pub const CALL_LOST: Failure = Failure::new(20_004, "backend_lost");
    /// A backend's answer is none.
    pub const CALL_GARBLED: Failure = Failure::new(20_005, "backend_garbled");
    /// A backend's answer is longer than may be.
    pub const ANSWER_TOO_LONG: Failure = Failure::new(20_006, "answer_too_long");
    /// The client has cancelled the request, or is not who sent it any more; the Language Server Protocol's code.
    pub const CALL_CANCELLED: Failure = Failure::new(-32_800, "Request cancelled");

    const fn new(code: i32, message: &'static str) -> Failure {
        Failure { code, message, reason: None, param: None, detail: Detail::None }
    }

    /// The same failure with a reason.
    #[must_use]
    pub const fn because(self, reason: &'static str) -> Failure {
        Failure { reason: Some(reason), ..self }
    }

    /// The same failure with the member that is at fault.
    #[must_use]
    pub const fn at(self, param: &'static str) -> Failure {
        Failure { param: Some(param), ..self }
    }

    /// The same failure with more to tell.
    #[must_use]
    pub const fn with(self, detail: Detail) -> Failure {
        Failure { detail, ..self }
    }

    pub(super) const fn invalid_param(param: &'static str, reason: &'static str) -> Failure {
        Failure::INVALID_PARAMS.because(reason).at(param)
    }

    /// A parameter that must be there is not.
    pub(super) const fn value_required(param: &'static str) -> Failure {
        Failure::invalid_param(param, "value required")
    }

    /// A parameter of another type or outside its range.
    pub(super) const fn wrong_format(param: &'static str) -> Failure {
        Failure::invalid_param(param, "wrong format")
    }
}

/// Another node does it, which is not known or not reached.
pub const OWNER_AWAY: Failure =
    Failure::UNAVAILABLE.because("not sent: the node that owns the market is not reached");
/// Another node was to do it, and whether it did is not known.
pub const OWNER_LOST: Failure =
    Failure::OUTCOME_UNKNOWN.because("sent, but the node that owned the market was lost before it answered");

/// The error of an order, or of a request about orders, that is refused.
#[must_use]
pub const fn order_failure(refusal: OrderRefusal) -> Failure {
    let (amount, other) = (Failure::INVALID_AMOUNT, Failure::OTHER_REJECT);
    match refusal {
        OrderRefusal::OrderNotFound => Failure::ORDER_NOT_FOUND,
        OrderRefusal::AlreadyClosed => Failure::ALREADY_CLOSED,
        OrderRefusal::BookClosed => Failure::BOOK_CLOSED,
        OrderRefusal::Delisted => {
            Failure::BOOK_CLOSED.because("the instrument is delisted").at("instrument_name")
        }
        OrderRefusal::VenueUnavailable => {
            Failure::UNAVAILABLE.because("not sent: the venue is not connected, or takes no orders")
        }
        OrderRefusal::PriceTick => Failure::PRICE_WRONG_TICK,
        OrderRefusal::PriceTooHigh => Failure::PRICE_TOO_HIGH,
        OrderRefusal::PriceTooLow => Failure::PRICE_TOO_LOW,
        OrderRefusal::NoReferencePrice => other.because("no price is known to hold a market order to"),
        OrderRefusal::InvalidAmount => amount.because("must be a multiple of the smallest order amount"),
        OrderRefusal::AmountTooLarge => amount.because("above the largest order amount"),
        OrderRefusal::NotionalTooLarge => amount.because("above the largest order value"),
        OrderRefusal::AmountBelowFilled => Failure::ALREADY_FILLED.because("no more than what is filled"),
        OrderRefusal::PostOnly => Failure::POST_ONLY_REJECT,
        OrderRefusal::ReduceOnly => other.because("it would not make the position smaller").at("reduce_only"),
        OrderRefusal::FillOrKill => other.because("it can not be filled at once").at("time_in_force"),
        OrderRefusal::TooManyOpenOrders => {
            Failure::MAX_OPEN_ORDERS.because("the account has as many open orders as it may")
        }
        OrderRefusal::Duplicate => {
            other.because("the same order a moment ago: a label of its own tells it from that one")
        }
        OrderRefusal::TooManyRequests { credits_left, retry_after_ms } => {
            Failure::TOO_MANY_REQUESTS.with(Detail::Credits { credits_left, retry_after_ms })
        }
        OrderRefusal::TooManyCancels => {
            Failure::TOO_MANY_REQUESTS.because("as many requests to cancel many are under way as may be")
        }
        OrderRefusal::Halted => Failure::LOCKED.because("the kill switch is on"),
        OrderRefusal::TimedOut => Failure::TIMED_OUT.because("not sent: it was valid until before now"),
        OrderRefusal::Full => Failure::RETRY.because("not sent: no room for another order"),
        OrderRefusal::VenueRefused => other.because("the venue refused it"),
        OrderRefusal::OutcomeUnknown { order } => {
            Failure::OUTCOME_UNKNOWN.because("sent, but not answered").with(Detail::Order(order))
        }
        OrderRefusal::NotSent => Failure::NOT_SENT.because("the link to the venue ended first"),
        OrderRefusal::NeedsConnection => Failure::MUST_BE_WEBSOCKET.at("scope"),
        OrderRefusal::OwnerAway => OWNER_AWAY,
        OrderRefusal::OwnerLost => OWNER_LOST,
    }
}

/// The error of a call that has no answer of its backend.
#[must_use]
pub const fn call_failure(failure: CallFailure) -> Failure {
    match failure {
        CallFailure::Unavailable => Failure::UNAVAILABLE.because("not sent: the backend is not available"),
        CallFailure::Busy => {
            Failure::RETRY.because("not sent: as much is under way to the backend as may be")
        }
        CallFailure::TimedOut => {
            Failure::CALL_TIMED_OUT.because("sent, but not answered in time: what became of it is not known")
        }
        CallFailure::Lost => Failure::CALL_LOST
            .because("sent, but the backend ended before an answer: what became of it is not known"),
        CallFailure::Garbled => Failure::CALL_GARBLED.because("the backend's answer is no JSON-RPC answer"),
        CallFailure::TooLong => {
            Failure::ANSWER_TOO_LONG.because("the backend's answer is longer than may be")
        }
    }
}

/// The error of a request about messages that is refused.
#[must_use]
pub const fn message_failure(refusal: MessageRefusal) -> Failure {
    let (unknown, other) = (Failure::NOT_FOUND, Failure::OTHER_REJECT);
    match refusal {
        MessageRefusal::MessageNotFound => unknown.because("no such message, or it is forgotten").at("id"),
        MessageRefusal::UnknownUser => unknown.because("nobody of this name has been here").at("user"),
        MessageRefusal::UnknownSession => unknown.because("no such session, or it is gone").at("session"),
        MessageRefusal::UnknownGroup => unknown.because("no such group").at("group"),
        MessageRefusal::GroupExists => other.because("there is a group of this name").at("group"),
        MessageRefusal::EmptyGroup => other.because("not sent: the group has no members").at("group"),
        MessageRefusal::NotAMember => other.because("not a member of the group").at("group"),
        MessageRefusal::TooLate => Failure::ALREADY_CLOSED.because("it is due already").at("id"),
        MessageRefusal::InvalidTime => {
            Failure::INVALID_PARAMS.because("over before it is due, or too far ahead").at("deliver_at")
        }
        MessageRefusal::NotDelivered => other.because("it is not waiting to be confirmed here").at("id"),
        MessageRefusal::TooMany => Failure::RETRY.because("there are as many of them as may be"),
        MessageRefusal::SenderFull => {
            Failure::TOO_MANY_REQUESTS.because("not sent: as much of this sender is under way as may be")
        }
        MessageRefusal::Full => Failure::RETRY.because("not sent: no room for another message"),
        MessageRefusal::StoreAbsent => {
            Failure::UNAVAILABLE.because("not sent: this server keeps no messages on disk").at("confirm")
        }
        MessageRefusal::StoreLoading => Failure::UNAVAILABLE.because("not done: the store is being loaded"),
        MessageRefusal::StoreDiskFull => Failure::UNAVAILABLE.because("not done: the disk is full"),
        MessageRefusal::StoreFaulty => Failure::UNAVAILABLE.because("not done: the disk fails"),
        MessageRefusal::StoreAway => Failure::UNAVAILABLE.because("not done: the store is not reached"),
        MessageRefusal::StoreTaken => Failure::UNAVAILABLE.because("not done: another node has the store"),
        MessageRefusal::StoreBusy => Failure::RETRY.because("not done: the disk is behind"),
        MessageRefusal::NeedsConnection => Failure::MUST_BE_WEBSOCKET,
        MessageRefusal::NotSubscribed => {
            Failure::UNSUBSCRIBED.because("this connection does not subscribe to messages")
        }
        MessageRefusal::NoProcessor => unknown.because("no backend processes this type").at("type"),
        MessageRefusal::OwnerAway => OWNER_AWAY,
        MessageRefusal::OwnerLost => OWNER_LOST,
    }
}
