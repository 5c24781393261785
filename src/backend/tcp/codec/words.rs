//! The words of the venue link for closed lists of values. A value's place in its list is its byte in the binary form, so
//! lists only grow at their end. PURE.

use super::super::message::StatusState;
use super::Fault;
use crate::model::instrument::InstrumentKind;
use crate::model::market::{Direction, MarketState};
use crate::model::order::{CancelReason, Liquidity, OrderRefusal, OrderType, PostOnly, TimeInForce};

pub(super) type Words<T> = [(&'static str, T)];

pub(super) const SIDES: &Words<Direction> = &[("buy", Direction::Buy), ("sell", Direction::Sell)];
pub(super) const STATES: &Words<MarketState> =
    &[("open", MarketState::Open), ("closed", MarketState::Closed)];
pub(super) const ORDER_TYPES: &Words<OrderType> =
    &[("limit", OrderType::Limit), ("market", OrderType::Market)];
pub(super) const TIMES_IN_FORCE: &Words<TimeInForce> = &[
    ("gtc", TimeInForce::GoodTilCancelled),
    ("ioc", TimeInForce::ImmediateOrCancel),
    ("fok", TimeInForce::FillOrKill),
];
pub(super) const POST_ONLY: &Words<PostOnly> =
    &[("no", PostOnly::No), ("slide", PostOnly::Slide), ("reject", PostOnly::Reject)];
pub(super) const LIQUIDITY: &Words<Liquidity> = &[("maker", Liquidity::Maker), ("taker", Liquidity::Taker)];
pub(super) const KINDS: &Words<InstrumentKind> = &[
    ("future", InstrumentKind::Future),
    ("option", InstrumentKind::Option),
    ("spot", InstrumentKind::Spot),
    ("future_combo", InstrumentKind::FutureCombo),
    ("option_combo", InstrumentKind::OptionCombo),
];
pub(super) const STATUSES: &Words<StatusState> = &[
    ("pending", StatusState::Pending),
    ("open", StatusState::Open),
    ("filled", StatusState::Filled),
    ("cancelled", StatusState::Cancelled),
    ("rejected", StatusState::Rejected),
    ("unknown", StatusState::Unknown),
];
/// The first stands for all that is not here.
pub(super) const REFUSALS: &Words<OrderRefusal> = &[
    ("refused", OrderRefusal::VenueRefused),
    ("order_not_found", OrderRefusal::OrderNotFound),
    ("already_closed", OrderRefusal::AlreadyClosed),
    ("book_closed", OrderRefusal::BookClosed),
    ("unavailable", OrderRefusal::VenueUnavailable),
    ("price_tick", OrderRefusal::PriceTick),
    ("price_too_high", OrderRefusal::PriceTooHigh),
    ("price_too_low", OrderRefusal::PriceTooLow),
    ("invalid_amount", OrderRefusal::InvalidAmount),
    ("amount_too_large", OrderRefusal::AmountTooLarge),
    ("notional_too_large", OrderRefusal::NotionalTooLarge),
    ("amount_below_filled", OrderRefusal::AmountBelowFilled),
    ("post_only", OrderRefusal::PostOnly),
    ("reduce_only", OrderRefusal::ReduceOnly),
    ("fill_or_kill", OrderRefusal::FillOrKill),
    ("too_many_open_orders", OrderRefusal::TooManyOpenOrders),
    ("timed_out", OrderRefusal::TimedOut),
    ("full", OrderRefusal::Full),
];
/// The first stands for all that is not here.
pub(super) const CANCEL_REASONS: &Words<CancelReason> = &[
    ("venue", CancelReason::Venue),
    ("asked", CancelReason::UserRequest),
    ("immediate", CancelReason::Immediate),
    ("self_match", CancelReason::SelfMatch),
];

/// The word and the byte of a value; the first of the list for a value that is not in it.
pub(super) fn say<T: Copy + PartialEq>(words: &Words<T>, value: T) -> (&'static str, u8) {
    let at = words.iter().position(|(_, listed)| *listed == value).unwrap_or(0);
    (words[at].0, u8::try_from(at).expect("invariant: lists are short"))
}

pub(super) fn by_word<T: Copy>(words: &Words<T>, word: &str) -> Option<T> {
    words.iter().find(|(listed, _)| *listed == word).map(|(_, value)| *value)
}

pub(super) fn by_byte<T: Copy>(words: &Words<T>, byte: u8, field: &'static str) -> Result<T, Fault> {
    words.get(usize::from(byte)).map(|(_, value)| *value).ok_or(Fault::Invalid(field))
}
