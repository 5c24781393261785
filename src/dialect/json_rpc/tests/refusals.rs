//! Refused orders as errors: Deribit's codes where it has them.

use serde_json::{Value, json};

use super::written;
use crate::dialect::json_rpc::*;
use crate::model::order::{OrderId, OrderRefusal};

fn error_of(refusal: OrderRefusal) -> Value {
    let text = written(|out| write_error(out, Id::NULL, order_failure(refusal), Stamps::default()));
    let reply: Value = serde_json::from_str(&text).unwrap();
    reply["error"].clone()
}

#[test]
fn each_refused_order_has_a_code_of_deribit_or_one_that_is_nobody_s() {
    for (refusal, code, message, param) in [
        (OrderRefusal::OrderNotFound, 10004, "order_not_found", None),
        (OrderRefusal::AlreadyClosed, 10010, "already_closed", None),
        (OrderRefusal::BookClosed, 10012, "book_closed", None),
        (OrderRefusal::VenueUnavailable, 13028, "temporarily_unavailable", None),
        (OrderRefusal::PriceTick, 10043, "price_wrong_tick", Some("price")),
        (OrderRefusal::PriceTooHigh, 10007, "price_too_high", Some("price")),
        (OrderRefusal::PriceTooLow, 10005, "price_too_low", Some("price")),
        (OrderRefusal::NoReferencePrice, 11030, "other_reject", None),
        (OrderRefusal::InvalidAmount, 10021, "invalid_amount", Some("amount")),
        (OrderRefusal::AmountTooLarge, 10021, "invalid_amount", Some("amount")),
        (OrderRefusal::NotionalTooLarge, 10021, "invalid_amount", Some("amount")),
        (OrderRefusal::AmountBelowFilled, 11008, "already_filled", Some("amount")),
        (OrderRefusal::PostOnly, 11054, "post_only_reject", None),
        (OrderRefusal::ReduceOnly, 11030, "other_reject", Some("reduce_only")),
        (OrderRefusal::FillOrKill, 11030, "other_reject", Some("time_in_force")),
        (OrderRefusal::TooManyOpenOrders, 10013, "pme_max_total_open_orders", None),
        (OrderRefusal::Duplicate, 11030, "other_reject", None),
        (OrderRefusal::TooManyCancels, 10028, "too_many_requests", None),
        (OrderRefusal::Halted, 10019, "locked_by_admin", None),
        (OrderRefusal::TimedOut, 13888, "timed_out", None),
        (OrderRefusal::Full, 10040, "retry", None),
        (OrderRefusal::VenueRefused, 11030, "other_reject", None),
        (OrderRefusal::NotSent, 20_002, "not_sent", None),
        (OrderRefusal::NeedsConnection, 10030, "must_be_websocket_request", Some("scope")),
    ] {
        let error = error_of(refusal);
        assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(message)), "{refusal:?}");
        assert_eq!(error["data"]["param"].as_str(), param, "{refusal:?}");
    }
}

#[test]
fn what_shares_a_code_differs_in_its_reason() {
    for same in [
        vec![OrderRefusal::InvalidAmount, OrderRefusal::AmountTooLarge, OrderRefusal::NotionalTooLarge],
        vec![
            OrderRefusal::ReduceOnly,
            OrderRefusal::FillOrKill,
            OrderRefusal::NoReferencePrice,
            OrderRefusal::Duplicate,
            OrderRefusal::VenueRefused,
        ],
    ] {
        let mut reasons: Vec<_> =
            same.iter().map(|refusal| order_failure(*refusal).reason.unwrap()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), same.len(), "{reasons:?}");
    }
}

#[test]
fn data_tells_credits_and_the_order_to_ask_for() {
    let credits = error_of(OrderRefusal::TooManyRequests { credits_left: 3, retry_after_ms: 250 });
    let expected = json!({"code": 10028, "message": "too_many_requests",
        "data": {"credits_left": 3, "retry_after_ms": 250}});
    assert_eq!(credits, expected);
    let unknown = error_of(OrderRefusal::OutcomeUnknown { order: OrderId(17) });
    let expected = json!({"code": 20_001, "message": "outcome_unknown",
        "data": {"reason": "sent, but not answered", "order_id": "17"}});
    assert_eq!(unknown, expected);
    assert_eq!(error_of(OrderRefusal::BookClosed).get("data"), None);
}
