//! What is looked at before an order or an edit goes to a venue. PURE. Nothing is changed here.

use crate::model::decimal::{Amount, Price};
use crate::model::ids::InstrumentId;
use crate::model::market::{Direction, InstrumentState, MarketState};
use crate::model::order::{AccountId, NewOrder, Order, OrderRefusal, OrderType, is_countable, notional};
use crate::model::time::Now;

use super::holdings::{Holding, side};
use super::orders::{Amendment, Slot};
use super::waiting::Edit;
use super::{Desk, is_over};

impl Desk {
    /// The order as it goes to the venue: a reduce-only one is cut to what there is to reduce.
    pub(super) fn check_new(
        &self,
        account: AccountId,
        spec: &NewOrder,
        market: &[InstrumentState],
        now: Now,
    ) -> Result<NewOrder, OrderRefusal> {
        let state = self.check_open(account, spec.instrument, spec.valid_until_ms, market, now)?;
        check_amount(spec.amount, state)?;
        if (spec.order_type == OrderType::Limit) != spec.price.is_some() {
            return Err(OrderRefusal::PriceTick);
        }
        self.check_price(spec.price, spec.direction, state)?;
        let holding = self.accounts[account].holdings.of(spec.instrument);
        let mut amount = spec.amount;
        if spec.reduce_only {
            amount = reducing(amount, spec.direction, &holding, 0, state)?;
        }
        self.check_size(amount, spec.price, spec.direction, &holding, 0, state)?;
        if self.open_count >= self.config.open_orders_max {
            return Err(OrderRefusal::Full);
        }
        if self.accounts[account].open.len >= self.config.open_orders_per_account_max {
            return Err(OrderRefusal::TooManyOpenOrders);
        }
        if self.accounts[account].is_duplicate(spec, self.config.duplicate_window_ms, now) {
            return Err(OrderRefusal::Duplicate);
        }
        Ok(NewOrder { amount, ..*spec })
    }

    /// The edit in full.
    pub(super) fn check_edit(
        &self,
        slot: Slot,
        edit: &Edit,
        market: &[InstrumentState],
        now: Now,
    ) -> Result<Amendment, OrderRefusal> {
        let held = &self.orders[slot];
        let Order { account, instrument, direction, filled, .. } = held.order;
        let state = self.check_open(account, instrument, edit.valid_until_ms, market, now)?;
        let amount = edit.amount.unwrap_or(held.order.amount);
        let price = edit.price.or(held.order.price);
        let reduce_only = edit.reduce_only.unwrap_or(held.order.reduce_only);
        check_amount(amount, state)?;
        if edit.price.is_some() && held.order.order_type == OrderType::Market {
            return Err(OrderRefusal::PriceTick);
        }
        self.check_price(price, direction, state)?;
        if amount <= filled {
            return Err(OrderRefusal::AmountBelowFilled);
        }
        let holding = self.accounts[account].holdings.of(instrument);
        let mut open = Amount(amount.0 - filled.0);
        if reduce_only {
            let own = if held.order.reduce_only { held.working } else { 0 };
            open = reducing(open, direction, &holding, own, state)?;
        }
        self.check_size(open, price, direction, &holding, held.working, state)?;
        let post_only = edit.post_only.unwrap_or(held.order.post_only);
        let total = Amount(filled.0 + open.0);
        Ok(Amendment { price, total, post_only, reduce_only })
    }

    /// Whether the account may trade the instrument at all, now.
    fn check_open<'m>(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        valid_until_ms: Option<u64>,
        market: &'m [InstrumentState],
        now: Now,
    ) -> Result<&'m InstrumentState, OrderRefusal> {
        if is_over(valid_until_ms, now) {
            return Err(OrderRefusal::TimedOut);
        }
        if self.is_halted || self.accounts[account].is_halted {
            return Err(OrderRefusal::Halted);
        }
        let state = market.get(instrument.index()).ok_or(OrderRefusal::VenueUnavailable)?;
        match state.state {
            MarketState::Delisted => Err(OrderRefusal::Delisted),
            MarketState::Open | MarketState::Closed if !self.is_linked(instrument) => {
                Err(OrderRefusal::VenueUnavailable)
            }
            MarketState::Open => Ok(state),
            MarketState::Closed => Err(OrderRefusal::BookClosed),
        }
    }

    /// Tick and band. The band holds what would cost: buying above it, selling below it. An order at any price is held to it by
    /// the best price that it would meet; where limits are set and no price is known, it is refused.
    fn check_price(
        &self,
        price: Option<Price>,
        direction: Direction,
        state: &InstrumentState,
    ) -> Result<(), OrderRefusal> {
        let tick = state.definition.tick_size.0.max(1);
        if price.is_some_and(|price| price.0 <= 0 || price.0 % tick != 0) {
            return Err(OrderRefusal::PriceTick);
        }
        let limits = self.limits_of(state);
        let band_bp = i128::from(limits.price_band_bp);
        let Some(price) = price.or_else(|| expected_price(direction, state)) else {
            let is_limited = band_bp > 0 || limits.order_notional_max > 0;
            return if is_limited { Err(OrderRefusal::NoReferencePrice) } else { Ok(()) };
        };
        let reference = reference_price(state).map_or(0, |reference| i128::from(reference.0));
        if band_bp == 0 || reference <= 0 {
            return Ok(());
        }
        let scaled = i128::from(price.0) * 10_000;
        match direction {
            Direction::Buy if scaled > reference * (10_000 + band_bp) => Err(OrderRefusal::PriceTooHigh),
            Direction::Sell if scaled < reference * (10_000 - band_bp) => Err(OrderRefusal::PriceTooLow),
            Direction::Buy | Direction::Sell => Ok(()),
        }
    }

    fn limits_of(&self, state: &InstrumentState) -> OrderLimits {
        let own = if self.own_limits.is_empty() { None } else { self.own_limits.get(&state.definition.name) };
        let (own, all) = (own.copied().unwrap_or_default(), &self.config);
        OrderLimits {
            order_amount_max: own.order_amount_max.unwrap_or(all.order_amount_max),
            order_notional_max: own.order_notional_max.unwrap_or(all.order_notional_max),
            position_max: own.position_max.unwrap_or(all.position_max),
            price_band_bp: own.price_band_bp.unwrap_or(all.price_band_bp),
        }
    }

    /// The largest order, by amount and by value, and the largest position that open orders could make; `own` is what
    /// counts of the order already.
    fn check_size(
        &self,
        open: Amount,
        price: Option<Price>,
        direction: Direction,
        holding: &Holding,
        own: i64,
        state: &InstrumentState,
    ) -> Result<(), OrderRefusal> {
        let limits = self.limits_of(state);
        if open > limits.order_amount_max {
            return Err(OrderRefusal::AmountTooLarge);
        }
        // Where nothing sets a limit, nothing may be known of a price.
        let price = price.or_else(|| expected_price(direction, state)).unwrap_or_default();
        let value = notional(price, open).abs();
        if limits.order_notional_max > 0 && value > limits.order_notional_max || !is_countable(price, open) {
            return Err(OrderRefusal::NotionalTooLarge);
        }
        let added = i128::from(open.0) - i128::from(own);
        // What works on one side is counted in 64 bits, whatever it would close.
        let is_counted = holding.working[side(direction)] + added <= i128::from(i64::MAX);
        if holding.exposure(direction) + added > i128::from(limits.position_max.0) || !is_counted {
            return Err(OrderRefusal::AmountTooLarge);
        }
        Ok(())
    }
}

/// What holds for orders in one instrument.
struct OrderLimits {
    order_amount_max: Amount,
    order_notional_max: i128,
    position_max: Amount,
    price_band_bp: u32,
}

/// The last price, else what the book says, where anything is known.
fn reference_price(state: &InstrumentState) -> Option<Price> {
    let last = state.last_trade().map(|trade| trade.price);
    last.or_else(|| (state.book.level_count() > 0).then(|| state.mark_price()))
}

/// At which an order without a price would meet the other side; where there is none, the last price.
fn expected_price(direction: Direction, state: &InstrumentState) -> Option<Price> {
    let met = match direction {
        Direction::Buy => state.book.best_ask(),
        Direction::Sell => state.book.best_bid(),
    };
    met.map(|level| level.price).or_else(|| reference_price(state))
}

fn check_amount(amount: Amount, state: &InstrumentState) -> Result<(), OrderRefusal> {
    let step = state.definition.min_trade_amount.0.max(1);
    if amount.0 <= 0 || amount.0 % step != 0 { Err(OrderRefusal::InvalidAmount) } else { Ok(()) }
}

/// What a reduce-only order may be of `amount`, beside the account's others; `own` is what counts of it already.
fn reducing(
    amount: Amount,
    direction: Direction,
    holding: &Holding,
    own: i64,
    state: &InstrumentState,
) -> Result<Amount, OrderRefusal> {
    let taken = holding.reducing[side(direction)] - i128::from(own);
    let free = i64::try_from(i128::from(holding.closable(direction)) - taken).unwrap_or(0);
    let step = state.definition.min_trade_amount.0.max(1);
    let free = free - free % step;
    if free <= 0 { Err(OrderRefusal::ReduceOnly) } else { Ok(Amount(amount.0.min(free))) }
}
