//! Stands in for the dialect's words of orders until they are there. PURE.

use super::errors::Failure;
use crate::model::order::OrderRefusal;

/// What a client is told of a refusal.
#[must_use]
pub fn order_failure(refusal: OrderRefusal) -> Failure {
    match refusal {
        OrderRefusal::OrderNotFound => Failure::INVALID_PARAMS,
        _ => Failure::RETRY,
    }
}

/// The data of `user.changes`.
pub fn write_changes(
    out: &mut Vec<u8>,
    instrument_name: &str,
    orders_json: &[u8],
    trades_json: &[u8],
    positions_json: &[u8],
) {
    out.extend_from_slice(b"{\"instrument_name\":\"");
    out.extend_from_slice(instrument_name.as_bytes());
    for (name, json) in [
        ("\",\"trades\":[", trades_json),
        ("],\"positions\":[", positions_json),
        ("],\"orders\":[", orders_json),
    ] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(json);
    }
    out.extend_from_slice(b"]}");
}
