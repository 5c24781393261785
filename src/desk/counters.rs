//! What a desk counts. PURE.

/// What the desk did, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskCounters {
    pub asks_total: u64,
    pub answers_total: u64,
    /// Answers that were refusals.
    pub refusals_total: u64,
    /// Refusals because a bound of memory was reached: accounts, orders, waiting requests, connections.
    pub full_total: u64,
    /// Refusals for want of credits.
    pub throttled_total: u64,
    pub orders_total: u64,
    /// Orders that were asked for again by their label.
    pub repeats_total: u64,
    pub events_total: u64,
    /// Orders, fills and instruments that were looked at in order to cancel or to tell of many.
    pub looked_at_total: u64,
    pub fills_total: u64,
    /// Fills of orders that were closed before.
    pub late_fills_total: u64,
    /// Fills beyond an order's amount: the venue is wrong, and what it did counts.
    pub overfills_total: u64,
    /// Fills of no known order, or of no amount, or beyond what can be counted: dropped.
    pub strange_fills_total: u64,
    /// Reports of no known order, or that ask for nothing: dropped.
    pub strange_reports_total: u64,
    /// Orders whose outcome was unknown when a link died.
    pub doubts_total: u64,
    /// Closed orders that were forgotten to remember newer ones.
    pub forgotten_orders_total: u64,
    /// Fills that were forgotten to keep newer ones.
    pub forgotten_fills_total: u64,
    /// Orders cancelled because a connection went, a timer ran out, the kill switch was thrown, their instrument is traded no more.
    pub cancels_on_disconnect_total: u64,
    pub cancels_on_timeout_total: u64,
    pub cancels_on_halt_total: u64,
    pub cancels_on_delisting_total: u64,
    /// Orders that were to be cancelled for one of these reasons, which their venue refused so often that no more is tried:
    /// they are open.
    pub cancels_given_up_total: u64,
}
