//! Orders in SBE: what clients ask for, and what they are told of it. PURE. What they mean is JSON-RPC's, errors included.
//!
//! The desk writes each answer and each report once, before it is known which request the one answers and at which place of whose
//! stream the other stands; who passes it on fills that in. Invariant: that lies at the begin of a block, and is of fixed length.

use super::generated::{
    AmendOrder, AmendOrderView, CancelOrder, CancelOrderView, ExecutionReport, NewOrder, NewOrderView,
    OrderAck, OrderFill, OrderFlags, Reject, SCHEMA_ID, SCHEMA_VERSION,
};
use super::wire::{Decimal, DecodeError, HEADER_BYTES, Header};
use super::{generated, words};
use crate::dialect::json_rpc::{Detail, Failure};
use crate::dialect::order_terms::{BAD_LABEL, check_terms, label_of};
use crate::model::decimal::{Amount, Price, quotient};
use crate::model::ids::{Epoch, InstrumentId, Seq};
use crate::model::order::{self, EditOrder, ExecType, Fill, Label, Order, OrderId, OrderRef, OrderRequest};

const NS_PER_MS: u64 = 1_000_000;
/// A request's correlation and the times of its answer.
const ANSWERING_BYTES: usize = 24;
/// Epoch, place, the place before and the time.
const PLACE_BYTES: usize = 32;
/// The `uint64` that SBE keeps for none: a reject tells it so.
const NO_CORRELATION: u64 = u64::MAX;

/// A message of a client that is about orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderMessage {
    pub template_id: u16,
    /// `None` where it can not be read, or says none: then `request` is an error.
    pub correlation_id: Option<u64>,
    /// What it asks the desk for, or why it asks for nothing. Whether there is such an instrument is not known here.
    pub request: Result<OrderRequest, Failure>,
}

/// Which request is answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answering {
    pub correlation_id: Option<u64>,
    pub template_id: u16,
    /// Nanoseconds since 1970.
    pub received_unix_ns: u64,
    pub sent_unix_ns: u64,
}

/// Where a report stands in an account's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportPlace {
    pub epoch: Epoch,
    pub seq: Seq,
    /// Of the event before it that the channel told.
    pub prev_seq: Seq,
    /// Nanoseconds since 1970.
    pub unix_ns: u64,
}

/// Reads a message that a client has sent; `None` where not even its header is there.
#[must_use]
pub fn decode_order_message(message: &[u8]) -> Option<OrderMessage> {
    let header = Header::decode(message).ok()?;
    let known_block = match header.template_id {
        NewOrder::TEMPLATE_ID => Some(NewOrder::BLOCK_LENGTH),
        AmendOrder::TEMPLATE_ID => Some(AmendOrder::BLOCK_LENGTH),
        CancelOrder::TEMPLATE_ID => Some(CancelOrder::BLOCK_LENGTH),
        _ => None,
    };
    let request = check_header(header, known_block).and_then(|()| decode_request(header, message));
    let is_known = header.schema_id == SCHEMA_ID && known_block.is_some();
    let first = message[HEADER_BYTES..].first_chunk().filter(|_| is_known && header.block_length >= 8);
    let correlation_id = first.map(|bytes| u64::from_le_bytes(*bytes)).filter(|id| *id != NO_CORRELATION);
    let request = match correlation_id {
        Some(_) => request,
        // What was read whole has one, unless it is none.
        None => request.and(Err(Failure::INVALID_PARAMS.because("value required").at("correlation_id"))),
    };
    Some(OrderMessage { template_id: header.template_id, correlation_id, request })
}

/// Fields that are not known here may mean what an order must not go without: they are not passed over.
fn check_header(header: Header, known_block: Option<u16>) -> Result<(), Failure> {
    let invalid = Failure::INVALID_REQUEST;
    if header.schema_id != SCHEMA_ID {
        return Err(invalid.because("another schema").at("schema_id"));
    }
    if header.version > SCHEMA_VERSION {
        return Err(invalid.because("a later version of the schema").at("version"));
    }
    let known_block = known_block.ok_or(Failure::METHOD_NOT_FOUND)?;
    if header.block_length > known_block {
        return Err(invalid.because("a block that is longer than the schema has it").at("block_length"));
    }
    Ok(())
}

fn decode_request(header: Header, message: &[u8]) -> Result<OrderRequest, Failure> {
    match header.template_id {
        NewOrder::TEMPLATE_ID => {
            let view = NewOrderView::decode(message).map_err(failure_of)?;
            place(view.fields().map_err(failure_of)?, view.label())
        }
        AmendOrder::TEMPLATE_ID => {
            let view = AmendOrderView::decode(message).map_err(failure_of)?;
            amend(view.fields().map_err(failure_of)?, view.label())
        }
        CancelOrder::TEMPLATE_ID => {
            let view = CancelOrderView::decode(message).map_err(failure_of)?;
            let CancelOrder { order_id, valid_until, .. } = view.fields().map_err(failure_of)?;
            let order = OrderId(order_id);
            Ok(OrderRequest::Cancel { order, valid_until_ms: whole_ms(valid_until) })
        }
        _ => Err(Failure::METHOD_NOT_FOUND),
    }
}

fn place(told: NewOrder, label: &str) -> Result<OrderRequest, Failure> {
    let order = order::NewOrder {
        instrument: InstrumentId(told.instrument_id),
        direction: words::direction(told.side),
        order_type: words::order_type(told.ord_type),
        price: told.price,
        amount: quantity(told.amount)?,
        time_in_force: words::time_in_force(told.time_in_force),
        post_only: words::post_only(told.post_only),
        reduce_only: told.flags.reduce_only,
        label: label_of(label)?,
        valid_until_ms: whole_ms(told.valid_until),
    };
    check_terms(order.order_type, order.price, order.time_in_force, order.post_only)?;
    Ok(OrderRequest::Place(order))
}

fn amend(told: AmendOrder, label: &str) -> Result<OrderRequest, Failure> {
    let invalid = Failure::INVALID_PARAMS;
    let instrument = told.instrument_id.map(InstrumentId);
    let order = match (told.order_id, label) {
        (Some(id), "") => OrderRef::Id(OrderId(id)),
        (Some(_), _) => return Err(invalid.because("not beside an order's number").at("label")),
        (None, "") => return Err(invalid.because("value required").at("order_id")),
        (None, label) => OrderRef::Label(Label::parse(label).ok_or(BAD_LABEL)?),
    };
    if matches!(order, OrderRef::Label(_)) && instrument.is_none() {
        return Err(invalid.because("value required").at("instrument_id"));
    }
    Ok(OrderRequest::Edit(EditOrder {
        order,
        instrument,
        amount: told.amount.map(quantity).transpose()?,
        price: told.price,
        post_only: told.post_only.map(words::post_only),
        reduce_only: told.reduce_only.map(|flag| flag == generated::Flag::Yes),
        valid_until_ms: whole_ms(told.valid_until),
    }))
}

fn quantity(amount: Amount) -> Result<Amount, Failure> {
    if amount > Amount::ZERO {
        Ok(amount)
    } else {
        Err(Failure::INVALID_AMOUNT.because("must be more than 0"))
    }
}

/// The millisecond that a time lies in: nothing is sent later than told, and up to a millisecond of it is given away.
fn whole_ms(time_ns: Option<u64>) -> Option<u64> {
    time_ns.map(|time_ns| time_ns / NS_PER_MS)
}

const fn failure_of(error: DecodeError) -> Failure {
    match error {
        DecodeError::Truncated => Failure::PARSE_ERROR.because("the message is cut off"),
        DecodeError::Trailing => Failure::PARSE_ERROR.because("bytes follow the message"),
        DecodeError::Schema { .. } => Failure::INVALID_REQUEST.because("another schema").at("schema_id"),
        DecodeError::Template { .. } => Failure::METHOD_NOT_FOUND,
        DecodeError::BlockTooShort { .. } => Failure::INVALID_REQUEST
            .because("a block that is shorter than the schema has it")
            .at("block_length"),
        DecodeError::UnknownValue { field, .. } => Failure::INVALID_PARAMS.because("unknown value").at(field),
        DecodeError::NotUtf8 { field } => Failure::INVALID_PARAMS.because("not UTF-8").at(field),
    }
}

/// Appends the answer to what placed, amended or cancelled an order, with these fills of it; it does not say yet what it answers. A
/// repeat is an order that was placed before under the same label.
pub fn write_order_ack<'f>(
    out: &mut Vec<u8>,
    order: &Order,
    is_repeat: bool,
    fills: impl IntoIterator<Item = &'f Fill>,
) {
    let ack = OrderAck {
        correlation_id: 0,
        received_time: 0,
        sending_time: 0,
        order_id: order.id.0,
        price: order.price,
        amount: order.amount,
        filled_amount: order.filled,
        average_price: average_price(order),
        created_time: order.created_ns,
        updated_time: order.updated_ns,
        instrument_id: order.instrument.0,
        ord_status: words::ord_status(order.state, order.filled),
        side: words::side(order.direction),
        ord_type: words::ord_type(order.order_type),
        time_in_force: words::time_in_force_word(order.time_in_force),
        post_only: words::post_only_word(order.post_only),
        cancel_reason: order.cancel_reason.map(words::cancel_reason),
        flags: OrderFlags { repeated: is_repeat, ..flags_of(order) },
    };
    ack.encode(out, fills.into_iter().map(order_fill), label_text(order.label.as_ref()));
}

/// Appends an answer of [`write_order_ack`] to this request.
///
/// # Panics
/// By bytes that are no such answer.
pub fn write_ack_for(out: &mut Vec<u8>, ack: &[u8], answering: Answering) {
    let Answering { correlation_id, received_unix_ns, sent_unix_ns, .. } = answering;
    let correlation_id = correlation_id.expect("invariant: what reached the desk was correlated");
    out.extend_from_slice(&ack[..HEADER_BYTES]);
    for number in [correlation_id, received_unix_ns, sent_unix_ns] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&ack[HEADER_BYTES + ANSWERING_BYTES..]);
}

/// Appends a refusal.
pub fn write_reject(out: &mut Vec<u8>, failure: Failure, answering: Answering) {
    let (order, credits) = match failure.detail {
        Detail::None => (None, None),
        Detail::Order(order) => (Some(order), None),
        Detail::Credits { credits_left, retry_after_ms } => (None, Some((credits_left, retry_after_ms))),
    };
    let reject = Reject {
        correlation_id: answering.correlation_id,
        received_time: answering.received_unix_ns,
        sending_time: answering.sent_unix_ns,
        order_id: order.map(|order| order.0),
        code: failure.code,
        credits_left: credits.map(|(left, _)| left),
        retry_after_ms: credits.map(|(_, after_ms)| after_ms),
        ref_template_id: Some(answering.template_id),
    };
    let (reason, param) = (failure.reason.unwrap_or_default(), failure.param.unwrap_or_default());
    reject.encode(out, failure.message, reason, param);
}

/// Appends the report of what became of an order; it does not say yet at which place.
pub fn write_order_report(out: &mut Vec<u8>, order: &Order, exec_type: ExecType) {
    let report = ExecutionReport {
        epoch: 0,
        seq: 0,
        prev_seq: 0,
        sending_time: 0,
        order_id: order.id.0,
        price: order.price,
        amount: Some(order.amount),
        filled_amount: Some(order.filled),
        average_price: Some(average_price(order)),
        created_time: Some(order.created_ns),
        updated_time: order.updated_ns,
        trade_seq: None,
        last_price: None,
        last_amount: None,
        mark_price: None,
        profit: None,
        instrument_id: order.instrument.0,
        exec_type: words::exec_type(exec_type),
        ord_status: words::ord_status(order.state, order.filled),
        side: words::side(order.direction),
        ord_type: words::ord_type(order.order_type),
        time_in_force: Some(words::time_in_force_word(order.time_in_force)),
        post_only: words::post_only_word(order.post_only),
        cancel_reason: order.cancel_reason.map(words::cancel_reason),
        flags: flags_of(order),
        liquidity: None,
        tick_direction: None,
    };
    report.encode(out, label_text(order.label.as_ref()));
}

/// Appends the report of one fill; it does not say yet at which place. Those of one order are equally long.
pub fn write_fill_report(out: &mut Vec<u8>, fill: &Fill) {
    let report = ExecutionReport {
        epoch: 0,
        seq: 0,
        prev_seq: 0,
        sending_time: 0,
        order_id: fill.order.0,
        price: None,
        amount: None,
        filled_amount: None,
        average_price: None,
        created_time: None,
        updated_time: fill.timestamp_ns,
        trade_seq: Some(fill.trade_seq.0),
        last_price: Some(fill.price),
        last_amount: Some(fill.amount),
        mark_price: Some(fill.mark_price),
        profit: Some(Decimal::from_units(fill.profit)),
        instrument_id: fill.instrument.0,
        exec_type: words::exec_type(ExecType::Trade),
        ord_status: words::ord_status(fill.state, fill.amount),
        side: words::side(fill.direction),
        ord_type: words::ord_type(fill.order_type),
        time_in_force: None,
        post_only: words::post_only_word(fill.post_only),
        cancel_reason: None,
        flags: OrderFlags {
            reduce_only: fill.reduce_only,
            self_trade: fill.is_self_trade,
            ..OrderFlags::default()
        },
        liquidity: Some(words::liquidity(fill.liquidity)),
        tick_direction: Some(words::tick_direction(fill.tick_direction)),
    };
    report.encode(out, label_text(fill.label.as_ref()));
}

/// Appends a report at its place.
///
/// # Panics
/// By bytes that are no report.
pub fn write_report_at(out: &mut Vec<u8>, report: &[u8], place: ReportPlace) {
    out.extend_from_slice(&report[..HEADER_BYTES]);
    for number in [place.epoch.0, place.seq.0, place.prev_seq.0, place.unix_ns] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&report[HEADER_BYTES + PLACE_BYTES..]);
}

fn order_fill(fill: &Fill) -> OrderFill {
    OrderFill {
        trade_seq: fill.trade_seq.0,
        event_time: fill.timestamp_ns,
        price: fill.price,
        amount: fill.amount,
        mark_price: fill.mark_price,
        profit: Decimal::from_units(fill.profit),
        liquidity: words::liquidity(fill.liquidity),
        tick_direction: words::tick_direction(fill.tick_direction),
    }
}

/// What its fills cost on average; 0 without any.
fn average_price(order: &Order) -> Price {
    let units = quotient(order.filled_notional, order.filled.0);
    Price(i64::try_from(units).unwrap_or(if units < 0 { i64::MIN + 1 } else { i64::MAX }))
}

fn flags_of(order: &Order) -> OrderFlags {
    OrderFlags { reduce_only: order.reduce_only, replaced: order.is_replaced, ..OrderFlags::default() }
}

fn label_text(label: Option<&Label>) -> &str {
    label.map_or("", Label::as_str)
}

#[cfg(test)]
mod tests;
