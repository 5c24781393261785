//! The `[orders]` table: what an account may do, and what is checked before a venue sees an order. Home: the main thread.

use serde::{Deserialize, Serialize};

use crate::desk::DeskConfig;
use crate::model::decimal::{Amount, UNIT};

/// Limits of each account. Amounts and money in whole units.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Orders that are open or under way.
    pub open_max: u32,
    /// Closed orders that are remembered, and with them their labels.
    pub remembered_max: u32,
    /// What may be spent at once.
    pub credits_max: u32,
    /// What comes back; 0 sets no limit.
    pub credits_per_s: u32,
    pub place_credits: u32,
    pub cancel_credits: u32,
    pub query_credits: u32,
    /// Of one order.
    pub amount_max: u64,
    /// Of one order: price × amount; 0 sets no limit.
    pub notional_max: u64,
    /// What open orders and position could come to in one instrument.
    pub position_max: u64,
    /// Distance from the last price, in 1/10,000; 0 sets no limit.
    pub price_band_bp: u32,
    /// How long the same order without a label is a duplicate; 0 for never.
    pub duplicate_window_ms: u32,
    /// Whether connections begin so.
    pub cancel_on_disconnect: bool,
    /// What an account has at first, in each currency.
    pub opening_balance: u64,
}

/// The most that amounts and money can be set to: what `Amount` counts.
pub(super) const WHOLE_UNITS_MAX: u64 = i64::MAX.unsigned_abs() / UNIT.unsigned_abs();
/// All of the price.
pub(super) const PRICE_BAND_BP_MAX: u64 = 10_000;

pub(super) fn amount(whole: u64) -> Amount {
    Amount(i64::try_from(whole).map_or(i64::MAX, |whole| whole.saturating_mul(UNIT)))
}

pub(super) fn money(whole: u64) -> i128 {
    i128::from(whole) * i128::from(UNIT)
}

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            open_max: 1_000,
            remembered_max: 1_000,
            credits_max: 1_000,
            credits_per_s: 1_000,
            place_credits: 1,
            cancel_credits: 1,
            query_credits: 1,
            amount_max: 1_000_000,
            notional_max: 0,
            position_max: 1_000_000_000,
            price_band_bp: 1_000,
            duplicate_window_ms: 0,
            cancel_on_disconnect: false,
            opening_balance: 1_000_000,
        }
    }
}

impl Orders {
    /// What the desk is told. Values are within their ranges (`check.rs`).
    #[must_use]
    pub fn desk(&self) -> DeskConfig {
        DeskConfig {
            open_orders_per_account_max: self.open_max,
            closed_orders_per_account_max: self.remembered_max,
            credits_max: self.credits_max,
            credits_per_s: self.credits_per_s,
            place_credits: self.place_credits,
            cancel_credits: self.cancel_credits,
            query_credits: self.query_credits,
            order_amount_max: amount(self.amount_max),
            order_notional_max: money(self.notional_max),
            position_max: amount(self.position_max),
            price_band_bp: self.price_band_bp,
            duplicate_window_ms: self.duplicate_window_ms,
            cancel_on_disconnect: self.cancel_on_disconnect,
            opening_balance: money(self.opening_balance),
            ..DeskConfig::default()
        }
    }
}
