//! Reference values: currencies, instruments and the platform's status, in Deribit's documented fields. PURE.
//!
//! What Deribit has and no feed here tells gets the value of a venue without it: no commissions, no withdrawal fees,
//! no block trades. Every contract is linear: it is priced and settled in its quote currency.

use super::text::{push, push_list, push_string, push_unsigned};
use crate::model::decimal::{Price, write_units};
use crate::model::ids::InstrumentId;
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::link::LinkStatus;
use crate::model::market::MarketState;

/// Deribit's `expiration_timestamp` of what does not expire: the year 3000, in milliseconds.
const NEVER_MS: u64 = 32_503_708_800_000;

/// The result of `public/status`: nothing is locked.
pub fn write_status(out: &mut Vec<u8>) {
    push(out, "{\"locked\":\"false\",\"locked_indices\":[]}");
}

/// The result of `public/get_currencies`.
pub fn write_currencies<'c>(out: &mut Vec<u8>, currencies: impl IntoIterator<Item = &'c Symbol>) {
    out.push(b'[');
    push_list(out, currencies, |out, currency| {
        for name in ["{\"currency\":", ",\"currency_long\":", ",\"coin_type\":", ",\"network_currency\":"] {
            push(out, name);
            push_string(out, currency.as_str());
        }
        push(
            out,
            ",\"decimals\":9,\"fee_precision\":9,\"min_confirmations\":0,\"min_withdrawal_fee\":0,\
             \"withdrawal_fee\":0,\"withdrawal_priorities\":[],\"network_fee\":0,\"in_cross_collateral_pool\":false}",
        );
    });
    out.push(b']');
}

/// The result of `public/get_venues`, which Deribit has not.
pub fn write_venues(out: &mut Vec<u8>, links: &[LinkStatus]) {
    out.push(b'[');
    push_list(out, links, |out, link| {
        push(out, "{\"venue\":");
        push_string(out, &link.identity.venue);
        push(out, ",\"link\":");
        push_string(out, &link.identity.link);
        push(out, ",\"kind\":");
        push_string(out, link.identity.kind.as_str());
        push(out, ",\"state\":");
        push_string(out, link.state.as_str());
        push(out, ",\"since_timestamp\":");
        push_unsigned(out, link.since_ms);
        push(out, ",\"instruments\":");
        push_unsigned(out, u64::from(link.instruments));
        if let Some(reason) = &link.last_reason {
            push(out, ",\"last_reason\":");
            push_string(out, reason);
        }
        out.push(b'}');
    });
    out.push(b']');
}

/// The result of `public/get_instruments`.
pub fn write_instruments<'i>(
    out: &mut Vec<u8>,
    instruments: impl IntoIterator<Item = (InstrumentId, &'i Instrument, MarketState)>,
) {
    out.push(b'[');
    push_list(out, instruments, |out, (id, instrument, state)| write_instrument(out, id, instrument, state));
    out.push(b']');
}

/// The result of `public/get_instrument`, and an entry of that of `public/get_instruments`.
pub fn write_instrument(out: &mut Vec<u8>, id: InstrumentId, instrument: &Instrument, state: MarketState) {
    push(out, "{\"instrument_name\":");
    push_string(out, instrument.name.as_str());
    push(out, ",\"instrument_id\":");
    push_unsigned(out, u64::from(id.0));
    push(out, ",\"kind\":");
    push_string(out, instrument.kind.as_str());
    push(out, ",\"instrument_type\":\"linear\",\"is_active\":");
    push(
        out,
        match state {
            MarketState::Open => "true",
            MarketState::Closed | MarketState::Delisted => "false",
        },
    );
    push(out, ",\"base_currency\":");
    push_string(out, instrument.base_currency.as_str());
    for name in [",\"quote_currency\":", ",\"counter_currency\":"] {
        push(out, name);
        push_string(out, instrument.quote_currency.as_str());
    }
    write_price_index(out, instrument);
    for name in [",\"tick_size\":", ",\"block_trade_tick_size\":"] {
        push(out, name);
        instrument.tick_size.write(out, 0);
    }
    push(out, ",\"tick_size_steps\":[]");
    for name in [",\"min_trade_amount\":", ",\"block_trade_min_trade_amount\":"] {
        push(out, name);
        instrument.min_trade_amount.write(out, 0);
    }
    push(out, ",\"contract_size\":");
    instrument.contract_size.write(out, 0);
    push(out, ",\"maker_commission\":0,\"taker_commission\":0,\"block_trade_commission\":0,\"rfq\":false");
    push(out, ",\"creation_timestamp\":");
    push_unsigned(out, instrument.creation_timestamp_ms);
    push(out, ",\"expiration_timestamp\":");
    push_unsigned(out, instrument.expiration_timestamp_ms.unwrap_or(NEVER_MS));
    write_kind_extras(out, instrument);
    out.push(b'}');
}

/// What only some kinds have.
fn write_kind_extras(out: &mut Vec<u8>, instrument: &Instrument) {
    match instrument.kind {
        InstrumentKind::Spot => return,
        InstrumentKind::Future => {
            let future = ",\"future_type\":\"linear\",\"max_leverage\":1,\"max_liquidation_commission\":0";
            push(out, future);
        }
        InstrumentKind::Option => {
            if let Some((strike, option_type)) = option_terms(instrument) {
                push(out, ",\"option_type\":");
                push_string(out, option_type);
                push(out, ",\"strike\":");
                write_units(out, i128::from(strike.0), 0);
            }
        }
        InstrumentKind::FutureCombo | InstrumentKind::OptionCombo => {}
    }
    push(out, ",\"settlement_currency\":");
    push_string(out, instrument.quote_currency.as_str());
    push(out, ",\"settlement_period\":");
    push_string(out, if instrument.expiration_timestamp_ms.is_some() { "month" } else { "perpetual" });
}

/// `btc_usd` for BTC in USD.
fn write_price_index(out: &mut Vec<u8>, instrument: &Instrument) {
    push(out, ",\"price_index\":\"");
    out.extend(instrument.base_currency.as_bytes().iter().map(u8::to_ascii_lowercase));
    out.push(b'_');
    out.extend(instrument.quote_currency.as_bytes().iter().map(u8::to_ascii_lowercase));
    out.push(b'"');
}

/// Strike and type out of a name as Deribit writes them: `BTC-27DEC26-100000-C`, with `d` for a decimal point.
fn option_terms(instrument: &Instrument) -> Option<(Price, &'static str)> {
    let mut parts = instrument.name.as_str().rsplit('-');
    let option_type = match parts.next()? {
        "C" => "call",
        "P" => "put",
        _ => return None,
    };
    let strike = parts.next()?.replace('d', ".");
    Some((Price::parse(strike.as_bytes()).ok()?, option_type))
}
