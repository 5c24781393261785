//! What has to hold of a new order's terms, whichever dialect tells them. PURE.

use super::json_rpc::Failure;
use crate::model::decimal::Price;
use crate::model::order::{Label, OrderType, PostOnly, TimeInForce};

pub(super) const BAD_LABEL: Failure =
    Failure::INVALID_PARAMS.because("must be 1 to 64 bytes without control characters").at("label");

/// Terms that fit each other.
///
/// # Errors
/// A post-only order that can not rest, a limit order without a price, a market order with one.
pub(super) fn check_terms(
    order_type: OrderType,
    price: Option<Price>,
    time_in_force: TimeInForce,
    post_only: PostOnly,
) -> Result<(), Failure> {
    let rests = order_type == OrderType::Limit && time_in_force == TimeInForce::GoodTilCancelled;
    if post_only != PostOnly::No && !rests {
        return Err(Failure::POST_ONLY_NOT_ALLOWED.because("only of a limit order that may rest"));
    }
    match (order_type, price) {
        (OrderType::Limit, None) => Err(Failure::INVALID_PARAMS.because("value required").at("price")),
        (OrderType::Market, Some(_)) => {
            Err(Failure::INVALID_PARAMS.because("a market order has none").at("price"))
        }
        (OrderType::Limit, Some(_)) | (OrderType::Market, None) => Ok(()),
    }
}

/// The label that a text is; an empty one is none, as on Deribit.
///
/// # Errors
/// A text that can be none.
pub(super) fn label_of(text: &str) -> Result<Option<Label>, Failure> {
    if text.is_empty() { Ok(None) } else { Label::parse(text).map(Some).ok_or(BAD_LABEL) }
}
