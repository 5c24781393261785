//! What a desk allows. PURE. Bounds of memory default to those of `limits.rs`; a limit of 0 is off where it says so.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::limits;
use crate::model::decimal::{Amount, UNIT};
use crate::model::hasher::FixedHasher;
use crate::model::instrument::Symbol;

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// Accounts; requests of one beyond are refused as `Full`.
    pub accounts_max: u32,
    /// Orders open or under way, of all accounts; `Full` beyond.
    pub open_orders_max: u32,
    /// The same of one account; `TooManyOpenOrders` beyond.
    pub open_orders_per_account_max: u32,
    /// Closed orders that are remembered, and with them their labels, of all accounts and of one.
    pub closed_orders_max: u32,
    pub closed_orders_per_account_max: u32,
    /// Fills that are kept for `get_user_trades_by_instrument`, of all accounts and of one.
    pub fills_max: u32,
    pub fills_per_account_max: u32,
    /// Requests that wait for a venue, of all accounts and of one; `Full` beyond.
    pub waiting_max: u32,
    pub waiting_per_account_max: u32,
    /// Connections known for cancel-on-disconnect; `Full` beyond.
    pub connections_max: u32,
    /// Credits that an account has after a pause, and those that come back in a second; 0 a second sets no limit.
    pub credits_max: u32,
    pub credits_per_s: u32,
    /// What it costs to place or edit, to cancel one order or by label or what there is none of, and to ask. To cancel all that
    /// there are, to set timer, kill switch or cancel-on-disconnect costs nothing: they are for the moment in which all went wrong.
    pub place_credits: u32,
    pub cancel_credits: u32,
    pub query_credits: u32,
    /// The largest order.
    pub order_amount_max: Amount,
    /// The largest order's price × amount, in units of 1e-9 of the quote currency; 0 for no limit. A market order has the best
    /// price of the other side, else the last price.
    pub order_notional_max: i128,
    /// The largest position that an account's open orders could make, were they all filled on one side.
    pub position_max: Amount,
    /// How far beyond the last price (else the mark price) a limit order may pay or give, or a market order's first fill would, in
    /// 1/10,000; 0 for no limit.
    pub price_band_bp: u32,
    /// How long the same order without a label is refused as a duplicate, in milliseconds; 0 for never.
    /// It is looked for among the account's last 8 orders without a label.
    pub duplicate_window_ms: u32,
    /// Whether connections of an account that never said so begin with cancel-on-disconnect.
    pub cancel_on_disconnect: bool,
    /// What each account begins with in each currency, in units of 1e-9.
    pub opening_balance: i128,
}

/// What of it is other for orders in one instrument; `None` is as for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstrumentLimits {
    pub order_amount_max: Option<Amount>,
    pub order_notional_max: Option<i128>,
    pub position_max: Option<Amount>,
    pub price_band_bp: Option<u32>,
}

/// By the instrument's name.
pub(super) type LimitsByName = HashMap<Symbol, InstrumentLimits, BuildHasherDefault<FixedHasher>>;

impl DeskConfig {
    /// What of `all` an account may have while others use up the rest.
    pub(super) fn fair_share(&self, all: u32) -> u32 {
        all / self.accounts_max.max(1)
    }
}

impl Default for DeskConfig {
    fn default() -> DeskConfig {
        DeskConfig {
            accounts_max: limits::ACCOUNTS_MAX,
            open_orders_max: limits::OPEN_ORDERS_MAX,
            open_orders_per_account_max: 1_000,
            closed_orders_max: limits::CLOSED_ORDERS_MAX,
            closed_orders_per_account_max: 1_000,
            fills_max: limits::FILLS_MAX,
            fills_per_account_max: 1_000,
            waiting_max: limits::ORDERS_WAITING_MAX,
            waiting_per_account_max: 2_048,
            connections_max: limits::ORDERING_CONNECTIONS_MAX,
            credits_max: 1_000,
            credits_per_s: 1_000,
            place_credits: 1,
            cancel_credits: 1,
            query_credits: 1,
            order_amount_max: Amount(1_000_000 * UNIT),
            order_notional_max: 0,
            position_max: Amount(1_000_000_000 * UNIT),
            price_band_bp: 1_000,
            duplicate_window_ms: 0,
            cancel_on_disconnect: false,
            opening_balance: 0,
        }
    }
}
