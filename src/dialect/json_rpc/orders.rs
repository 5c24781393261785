//! Orders, user trades, positions and accounts as results and as the data of private notifications, in Deribit's
//! documented fields. PURE.
//!
//! Home: the desk writes each value once, and whoever is told of it gets the same bytes. Numbers are exact decimals: an
//! average is a quotient, rounded half away from zero at the ninth decimal. What Deribit has and is not here gets the
//! value of a venue without it: no fees, margins, liquidations, funding or market maker protection.

use super::market::write_trade_id;
use super::text::{push, push_list, push_string, push_unsigned};
use crate::model::decimal::{Amount, UNIT, quotient, write_units};
use crate::model::instrument::{Instrument, InstrumentKind};
use crate::model::market::InstrumentState;
use crate::model::order::{
    AccountSummary, CancelReason, DisconnectScope, Fill, Liquidity, Order, OrderState, OrderType, Position,
    PostOnly, TimeInForce,
};

const NS_PER_MS: u64 = 1_000_000;

/// An order: the result of `private/cancel` and `private/get_order_state`, the data of `user.orders.…` and a part of
/// [`write_placed`].
pub fn write_order(out: &mut Vec<u8>, order: &Order, instrument: &Instrument) {
    push(out, "{\"order_id\":\"");
    push_unsigned(out, order.id.0);
    push(out, "\",\"order_state\":");
    push_string(out, state_word(order.state));
    push(out, ",\"order_type\":");
    push_string(out, type_word(order.order_type));
    push(out, ",\"time_in_force\":");
    push_string(out, time_in_force_word(order.time_in_force));
    write_name(out, instrument);
    push(out, ",\"creation_timestamp\":");
    push_unsigned(out, order.created_ns / NS_PER_MS);
    push(out, ",\"last_update_timestamp\":");
    push_unsigned(out, order.updated_ns / NS_PER_MS);
    push(out, ",\"direction\":");
    push_string(out, order.direction.as_str());
    push(out, ",\"price\":");
    match order.price {
        Some(price) => price.write(out, instrument.price_decimals),
        None => push(out, "\"market_price\""),
    }
    push(out, ",\"label\":");
    push_string(out, order.label.as_ref().map_or("", |label| label.as_str()));
    write_order_flags(out, order, instrument.kind);
    for name in [",\"amount\":", ",\"max_show\":"] {
        push(out, name);
        order.amount.write(out, instrument.amount_decimals);
    }
    write_contracts(out, order.amount, instrument);
    push(out, ",\"filled_amount\":");
    order.filled.write(out, instrument.amount_decimals);
    push(out, ",\"average_price\":");
    write_average(out, order.filled_notional, order.filled.0, instrument);
    if let Some(reason) = order.cancel_reason {
        push(out, ",\"cancel_reason\":");
        push_string(out, reason_word(reason));
    }
    out.push(b'}');
}

/// The result of `private/get_open_orders` and its like, of `private/get_order_history_by_instrument` and of
/// `private/get_order_state_by_label`.
pub fn write_orders<'o>(out: &mut Vec<u8>, orders: impl IntoIterator<Item = (&'o Order, &'o Instrument)>) {
    out.push(b'[');
    push_list(out, orders, |out, (order, instrument)| write_order(out, order, instrument));
    out.push(b']');
}

/// A user trade: one fill of one order, an element of the data of `user.trades.…`.
pub fn write_fill(out: &mut Vec<u8>, fill: &Fill, instrument: &Instrument) {
    push(out, "{\"trade_seq\":");
    push_unsigned(out, fill.trade_seq.0);
    push(out, ",\"trade_id\":");
    write_trade_id(out, instrument, fill.trade_seq);
    push(out, ",\"order_id\":\"");
    push_unsigned(out, fill.order.0);
    push(out, "\",\"matching_id\":null");
    write_name(out, instrument);
    push(out, ",\"timestamp\":");
    push_unsigned(out, fill.timestamp_ns / NS_PER_MS);
    push(out, ",\"order_type\":");
    push_string(out, type_word(fill.order_type));
    push(out, ",\"state\":");
    push_string(out, state_word(fill.state));
    push(out, ",\"direction\":");
    push_string(out, fill.direction.as_str());
    push(out, ",\"liquidity\":");
    push_string(
        out,
        match fill.liquidity {
            Liquidity::Maker => "M",
            Liquidity::Taker => "T",
        },
    );
    push(out, ",\"price\":");
    fill.price.write(out, instrument.price_decimals);
    push(out, ",\"amount\":");
    fill.amount.write(out, instrument.amount_decimals);
    write_contracts(out, fill.amount, instrument);
    push(out, ",\"tick_direction\":");
    push_unsigned(out, u64::from(fill.tick_direction));
    for name in [",\"mark_price\":", ",\"index_price\":"] {
        push(out, name);
        fill.mark_price.write(out, instrument.price_decimals);
    }
    push(out, ",\"profit_loss\":");
    write_units(out, fill.profit, 0);
    push(out, ",\"fee\":0,\"fee_currency\":");
    push_string(out, instrument.quote_currency.as_str());
    if let Some(label) = fill.label {
        push(out, ",\"label\":");
        push_string(out, label.as_str());
    }
    write_flag(out, ",\"post_only\":", fill.post_only != PostOnly::No);
    write_flag(out, ",\"reduce_only\":", fill.reduce_only);
    write_flag(out, ",\"self_trade\":", fill.is_self_trade);
    push(out, ",\"mmp\":false,\"risk_reducing\":false,\"api\":true}");
}

/// The result of `private/get_user_trades_by_instrument` and its like. `has_more` tells whether more of the range is kept.
pub fn write_user_trades<'f>(
    out: &mut Vec<u8>,
    fills: impl IntoIterator<Item = (&'f Fill, &'f Instrument)>,
    has_more: bool,
) {
    push(out, "{\"trades\":[");
    push_list(out, fills, |out, (fill, instrument)| write_fill(out, fill, instrument));
    out.push(b']');
    write_flag(out, ",\"has_more\":", has_more);
    out.push(b'}');
}

/// The result of `private/buy`, `sell`, `edit` and `edit_by_label`: the order and its fills so far, which are elements
/// of [`write_fill`] with commas between them. A repeat is an order that was placed before under the same label.
pub fn write_placed(out: &mut Vec<u8>, order_json: &[u8], trades_json: &[u8], is_repeat: bool) {
    push(out, "{\"order\":");
    out.extend_from_slice(order_json);
    push(out, ",\"trades\":[");
    out.extend_from_slice(trades_json);
    push(out, if is_repeat { "],\"repeated\":true}" } else { "]}" });
}

/// The data of `user.changes.…`: what one thing that happened changed of one instrument. Each list comes without its
/// brackets.
pub fn write_changes(
    out: &mut Vec<u8>,
    instrument_name: &str,
    orders_json: &[u8],
    trades_json: &[u8],
    positions_json: &[u8],
) {
    push(out, "{\"instrument_name\":");
    push_string(out, instrument_name);
    for (name, elements) in [
        (",\"orders\":[", orders_json),
        ("],\"trades\":[", trades_json),
        ("],\"positions\":[", positions_json),
    ] {
        push(out, name);
        out.extend_from_slice(elements);
    }
    push(out, "]}");
}

/// The result of `private/get_position`, and an element of that of `private/get_positions`. A short position has a
/// negative size.
pub fn write_open_position(out: &mut Vec<u8>, position: &Position, state: &InstrumentState) {
    let instrument = &*state.definition;
    let mark_price = state.mark_price();
    let value = i128::from(position.size) * i128::from(mark_price.0) / i128::from(UNIT);
    let floating = value - position.cost;
    push(out, "{\"instrument_name\":");
    push_string(out, instrument.name.as_str());
    push(out, ",\"kind\":");
    push_string(out, instrument.kind.as_str());
    push(out, ",\"direction\":");
    push_string(
        out,
        match position.size {
            1.. => "buy",
            0 => "zero",
            ..0 => "sell",
        },
    );
    for name in [",\"size\":", ",\"size_currency\":", ",\"delta\":"] {
        push(out, name);
        write_units(out, i128::from(position.size), instrument.amount_decimals);
    }
    push(out, ",\"average_price\":");
    write_average(out, position.cost, position.size, instrument);
    for name in [",\"mark_price\":", ",\"index_price\":"] {
        push(out, name);
        mark_price.write(out, instrument.price_decimals);
    }
    for (name, money) in [
        (",\"floating_profit_loss\":", floating),
        (",\"realized_profit_loss\":", position.realized),
        (",\"total_profit_loss\":", floating + position.realized),
    ] {
        push(out, name);
        write_units(out, money, 0);
    }
    push(out, ",\"initial_margin\":0,\"maintenance_margin\":0,\"open_orders_margin\":0");
    match instrument.kind {
        InstrumentKind::Spot => {}
        InstrumentKind::Future | InstrumentKind::FutureCombo => {
            push(out, ",\"settlement_price\":0,\"estimated_liquidation_price\":0,\"leverage\":1");
            push(out, ",\"realized_funding\":0,\"interest_value\":0");
        }
        InstrumentKind::Option | InstrumentKind::OptionCombo => {
            push(out, ",\"settlement_price\":0,\"gamma\":0,\"vega\":0,\"theta\":0");
        }
    }
    out.push(b'}');
}

/// The result of `private/get_positions`.
pub fn write_open_positions<'p>(
    out: &mut Vec<u8>,
    positions: impl IntoIterator<Item = (&'p Position, &'p InstrumentState)>,
) {
    out.push(b'[');
    push_list(out, positions, |out, (position, state)| write_open_position(out, position, state));
    out.push(b']');
}

/// The result of `private/get_account_summary`.
pub fn write_account_summary(out: &mut Vec<u8>, summary: &AccountSummary) {
    push(out, "{\"currency\":");
    push_string(out, summary.currency.as_str());
    let profit = summary.realized + summary.unrealized;
    for (name, money) in [
        (",\"balance\":", summary.balance),
        (",\"equity\":", summary.equity),
        (",\"margin_balance\":", summary.equity),
        (",\"available_funds\":", summary.available),
        (",\"available_withdrawal_funds\":", summary.available),
        (",\"session_rpl\":", summary.realized),
        (",\"session_upl\":", summary.unrealized),
        (",\"total_pl\":", profit),
        (",\"futures_session_rpl\":", summary.realized),
        (",\"futures_session_upl\":", summary.unrealized),
        (",\"futures_pl\":", profit),
    ] {
        push(out, name);
        write_units(out, money, 0);
    }
    push(
        out,
        ",\"initial_margin\":0,\"maintenance_margin\":0,\"projected_initial_margin\":0,\
         \"projected_maintenance_margin\":0,\"delta_total\":0,\"projected_delta_total\":0,\"options_session_rpl\":0,\
         \"options_session_upl\":0,\"options_pl\":0,\"options_value\":0,\"options_delta\":0,\"options_gamma\":0,\
         \"options_theta\":0,\"options_vega\":0,\"fee_balance\":0,\"spot_reserve\":0,\"additional_reserve\":0,\
         \"portfolio_margining_enabled\":false,\"cross_collateral_enabled\":false,\
         \"margin_model\":\"segregated_sm\",\"deposit_address\":\"\"}",
    );
}

/// The result of `private/get_account_summaries`.
pub fn write_account_summaries(out: &mut Vec<u8>, summaries: &[AccountSummary]) {
    push(out, "{\"summaries\":[");
    push_list(out, summaries, write_account_summary);
    push(out, "]}");
}

/// The result of `private/get_cancel_on_disconnect`.
pub fn write_cancel_on_disconnect(out: &mut Vec<u8>, scope: DisconnectScope, is_enabled: bool) {
    push(
        out,
        match scope {
            DisconnectScope::Connection => "{\"scope\":\"connection\"",
            DisconnectScope::Account => "{\"scope\":\"account\"",
        },
    );
    write_flag(out, ",\"enabled\":", is_enabled);
    out.push(b'}');
}

/// The result of `private/cancel_all` and its like: how many orders were cancelled.
pub fn write_count(out: &mut Vec<u8>, count: u64) {
    push_unsigned(out, count);
}

fn write_name(out: &mut Vec<u8>, instrument: &Instrument) {
    push(out, ",\"instrument_name\":");
    push_string(out, instrument.name.as_str());
}

fn write_flag(out: &mut Vec<u8>, name: &str, flag: bool) {
    push(out, name);
    push(out, if flag { "true" } else { "false" });
}

fn write_order_flags(out: &mut Vec<u8>, order: &Order, kind: InstrumentKind) {
    match order.post_only {
        PostOnly::No => push(out, ",\"post_only\":false"),
        PostOnly::Slide => push(out, ",\"post_only\":true,\"reject_post_only\":false"),
        PostOnly::Reject => push(out, ",\"post_only\":true,\"reject_post_only\":true"),
    }
    write_flag(out, ",\"reduce_only\":", order.reduce_only);
    write_flag(out, ",\"replaced\":", order.is_replaced);
    let not_of_spot = match kind {
        InstrumentKind::Spot => ",\"is_rebalance\":false",
        InstrumentKind::Future
        | InstrumentKind::Option
        | InstrumentKind::FutureCombo
        | InstrumentKind::OptionCombo => ",\"is_liquidation\":false",
    };
    push(out, not_of_spot);
    push(out, ",\"api\":true,\"web\":false,\"mobile\":false,\"mmp\":false,\"risk_reducing\":false");
}

fn write_contracts(out: &mut Vec<u8>, amount: Amount, instrument: &Instrument) {
    push(out, ",\"contracts\":");
    write_units(out, quotient(i128::from(amount.0), instrument.contract_size.0), 0);
}

/// Money per amount; 0 of no amount.
fn write_average(out: &mut Vec<u8>, money: i128, amount: i64, instrument: &Instrument) {
    write_units(out, quotient(money, amount), instrument.price_decimals);
}

const fn state_word(state: OrderState) -> &'static str {
    match state {
        OrderState::Open => "open",
        OrderState::Filled => "filled",
        OrderState::Cancelled => "cancelled",
        OrderState::Rejected => "rejected",
        OrderState::Unknown => "unknown",
    }
}

const fn type_word(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Limit => "limit",
        OrderType::Market => "market",
    }
}

const fn time_in_force_word(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::GoodTilCancelled => "good_til_cancelled",
        TimeInForce::ImmediateOrCancel => "immediate_or_cancel",
        TimeInForce::FillOrKill => "fill_or_kill",
    }
}

/// Deribit's words where it has one.
const fn reason_word(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::UserRequest => "user_request",
        CancelReason::Disconnect => "cancel_on_disconnect",
        CancelReason::Timeout => "cancel_all_after",
        CancelReason::Immediate => "immediate_or_cancel",
        CancelReason::SelfMatch => "self_match",
        CancelReason::Killed => "halted",
        CancelReason::Venue => "venue",
        CancelReason::Delisted => "delisted",
    }
}
