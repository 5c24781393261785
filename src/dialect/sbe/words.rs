//! The words of orders: the model's and the schema's. PURE.

use super::generated::{
    CancelReason, ExecType, Liquidity, OrdStatus, OrdType, PostOnly, Side, TickDirection, TimeInForce,
};
use crate::model::decimal::Amount;
use crate::model::market::Direction;
use crate::model::order;

pub(super) const fn direction(side: Side) -> Direction {
    match side {
        Side::Buy => Direction::Buy,
        Side::Sell => Direction::Sell,
    }
}

pub(super) const fn side(direction: Direction) -> Side {
    match direction {
        Direction::Buy => Side::Buy,
        Direction::Sell => Side::Sell,
    }
}

pub(super) const fn order_type(told: OrdType) -> order::OrderType {
    match told {
        OrdType::Market => order::OrderType::Market,
        OrdType::Limit => order::OrderType::Limit,
    }
}

pub(super) const fn ord_type(order_type: order::OrderType) -> OrdType {
    match order_type {
        order::OrderType::Market => OrdType::Market,
        order::OrderType::Limit => OrdType::Limit,
    }
}

pub(super) const fn time_in_force(told: TimeInForce) -> order::TimeInForce {
    match told {
        TimeInForce::GoodTilCancelled => order::TimeInForce::GoodTilCancelled,
        TimeInForce::ImmediateOrCancel => order::TimeInForce::ImmediateOrCancel,
        TimeInForce::FillOrKill => order::TimeInForce::FillOrKill,
    }
}

pub(super) const fn time_in_force_word(time_in_force: order::TimeInForce) -> TimeInForce {
    match time_in_force {
        order::TimeInForce::GoodTilCancelled => TimeInForce::GoodTilCancelled,
        order::TimeInForce::ImmediateOrCancel => TimeInForce::ImmediateOrCancel,
        order::TimeInForce::FillOrKill => TimeInForce::FillOrKill,
    }
}

pub(super) const fn post_only(told: PostOnly) -> order::PostOnly {
    match told {
        PostOnly::No => order::PostOnly::No,
        PostOnly::Slide => order::PostOnly::Slide,
        PostOnly::Reject => order::PostOnly::Reject,
    }
}

pub(super) const fn post_only_word(post_only: order::PostOnly) -> PostOnly {
    match post_only {
        order::PostOnly::No => PostOnly::No,
        order::PostOnly::Slide => PostOnly::Slide,
        order::PostOnly::Reject => PostOnly::Reject,
    }
}

/// Of an order of which so much is filled.
pub(super) fn ord_status(state: order::OrderState, filled: Amount) -> OrdStatus {
    match state {
        order::OrderState::Open if filled == Amount::ZERO => OrdStatus::Open,
        order::OrderState::Open => OrdStatus::PartiallyFilled,
        order::OrderState::Filled => OrdStatus::Filled,
        order::OrderState::Cancelled => OrdStatus::Cancelled,
        order::OrderState::Rejected => OrdStatus::Rejected,
        order::OrderState::Unknown => OrdStatus::Unknown,
    }
}

pub(super) const fn exec_type(why: order::ExecType) -> ExecType {
    match why {
        order::ExecType::New => ExecType::New,
        order::ExecType::Replaced => ExecType::Replaced,
        order::ExecType::Cancelled => ExecType::Cancelled,
        order::ExecType::Rejected => ExecType::Rejected,
        order::ExecType::Trade => ExecType::Trade,
        order::ExecType::Status => ExecType::OrderStatus,
    }
}

pub(super) const fn cancel_reason(reason: order::CancelReason) -> CancelReason {
    match reason {
        order::CancelReason::UserRequest => CancelReason::UserRequest,
        order::CancelReason::Disconnect => CancelReason::Disconnect,
        order::CancelReason::Timeout => CancelReason::Timeout,
        order::CancelReason::Immediate => CancelReason::Immediate,
        order::CancelReason::SelfMatch => CancelReason::SelfMatch,
        order::CancelReason::Killed => CancelReason::Halted,
        order::CancelReason::Venue => CancelReason::Venue,
        order::CancelReason::Delisted => CancelReason::Delisted,
    }
}

pub(super) const fn liquidity(liquidity: order::Liquidity) -> Liquidity {
    match liquidity {
        order::Liquidity::Maker => Liquidity::Maker,
        order::Liquidity::Taker => Liquidity::Taker,
    }
}

/// Of a trade's `tick_direction`, 0 to 3.
pub(super) const fn tick_direction(direction: u8) -> TickDirection {
    match direction {
        0 => TickDirection::Plus,
        1 => TickDirection::ZeroPlus,
        2 => TickDirection::Minus,
        _ => TickDirection::ZeroMinus,
    }
}
