//! What clients ask to know: answered at once from what the desk knows. PURE.

use crate::dialect::json_rpc;
use crate::model::decimal::{Amount, UNIT};
use crate::model::ids::InstrumentId;
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::InstrumentState;
use crate::model::order::{
    AccountId, AccountSummary, Ask, Fill, Filter, OrderRefusal, OrderRequest, UserTradesQuery,
};

use super::asks::{is_instrument_of, is_of};
use super::orders::{NO_FILL, Slot};
use super::output::ByteRange;
use super::{Desk, NS_PER_MS};

impl Desk {
    pub(super) fn query(&mut self, ask: &Ask, market: &[InstrumentState]) -> Result<ByteRange, OrderRefusal> {
        let account = ask.account;
        let start = self.bytes.len();
        match &ask.request {
            OrderRequest::OpenOrders { filter } => self.write_open_orders(account, filter, market),
            OrderRequest::OrderState { order } => {
                let slot = self.orders.find_own(*order, account).ok_or(OrderRefusal::OrderNotFound)?;
                let order = &self.orders[slot].order;
                json_rpc::write_order(&mut self.bytes, order, definition(market, order.instrument));
            }
            OrderRequest::OrderStateByLabel { label, currency } => {
                let filter = Filter { currency: *currency, ..Filter::default() };
                let found = self.orders.find_label(account, *label).map(|slot| &self.orders[slot].order);
                let order = found.filter(|order| is_of(order, &filter, market));
                let told = order.map(|order| (order, definition(market, order.instrument)));
                json_rpc::write_orders(&mut self.bytes, told);
            }
            OrderRequest::OrderHistory { filter, count, offset, include_unfilled } => {
                self.counters.looked_at_total += u64::from(self.accounts[account].closed.len);
                let closed = self.orders.newest_first(self.accounts[account].closed);
                let told = closed
                    .filter(|held| is_of(&held.order, filter, market))
                    .filter(|held| *include_unfilled || held.order.filled != Amount::ZERO)
                    .skip(*offset as usize)
                    .take(usize::from(*count))
                    .map(|held| (&held.order, definition(market, held.order.instrument)));
                json_rpc::write_orders(&mut self.bytes, told);
            }
            OrderRequest::UserTrades(query) => self.write_trades(account, query, market),
            OrderRequest::Position { instrument } => {
                let state = market.get(instrument.index()).ok_or(OrderRefusal::VenueUnavailable)?;
                let position = self.accounts[account].holdings.of(*instrument).position;
                json_rpc::write_open_position(&mut self.bytes, &position, state);
            }
            OrderRequest::Positions { filter } => {
                let positions = self.accounts[account].holdings.iter().map(|holding| &holding.position);
                let told = positions
                    .filter(|position| {
                        position.size != 0 && is_instrument_of(position.instrument.index(), filter, market)
                    })
                    .map(|position| (position, &market[position.instrument.index()]));
                json_rpc::write_open_positions(&mut self.bytes, told);
            }
            OrderRequest::AccountSummary { currency } => {
                let summary = self.summary(account, *currency, market);
                json_rpc::write_account_summary(&mut self.bytes, &summary);
            }
            OrderRequest::AccountSummaries => {
                self.counters.looked_at_total += market.len() as u64;
                let quoted = market.iter().map(|state| state.definition.quote_currency);
                let mut currencies: Vec<Symbol> = quoted.collect();
                currencies.sort_unstable();
                currencies.dedup();
                let summaries: Vec<AccountSummary> =
                    currencies.into_iter().map(|currency| self.summary(account, currency, market)).collect();
                json_rpc::write_account_summaries(&mut self.bytes, &summaries);
            }
            OrderRequest::Place(_)
            | OrderRequest::Edit(_)
            | OrderRequest::Cancel { .. }
            | OrderRequest::CancelByLabel { .. }
            | OrderRequest::CancelAll { .. }
            | OrderRequest::CancelAllAfter { .. }
            | OrderRequest::EnableCancelOnDisconnect { .. }
            | OrderRequest::DisableCancelOnDisconnect { .. }
            | OrderRequest::GetCancelOnDisconnect { .. }
            | OrderRequest::Halt { .. } => panic!("invariant: only questions come here: {:?}", ask.request),
        }
        Ok(self.range_from(start))
    }

    /// The order of a label that was used before, as it is now, with its fills that are kept.
    pub(super) fn write_repeat(&mut self, slot: Slot, market: &[InstrumentState]) -> ByteRange {
        let held = &self.orders[slot];
        let instrument = definition(market, held.order.instrument);
        let (mut order_json, mut trades_json) = (Vec::new(), Vec::new());
        json_rpc::write_order(&mut order_json, &held.order, instrument);
        for fill in self.kept_fills(slot) {
            if !trades_json.is_empty() {
                trades_json.push(b',');
            }
            json_rpc::write_fill(&mut trades_json, fill, instrument);
        }
        self.write(|out| json_rpc::write_placed(out, &order_json, &trades_json, true))
    }

    /// The order's fills that are kept, the oldest first.
    pub(super) fn kept_fills(&self, slot: Slot) -> impl Iterator<Item = &Fill> {
        let held = &self.orders[slot];
        let fills = &self.accounts[held.order.account].fills;
        let mut own: Vec<&Fill> = Vec::new();
        let mut count = held.last_fill;
        while count != NO_FILL
            && let Some(kept) = fills.get(count)
        {
            own.push(&kept.fill);
            count = kept.before;
        }
        own.into_iter().rev()
    }

    /// What the account is worth in one currency, at the mark prices.
    pub(super) fn summary(
        &self,
        account: AccountId,
        currency: Symbol,
        market: &[InstrumentState],
    ) -> AccountSummary {
        let holdings = &self.accounts[account].holdings;
        let (mut realized, mut cost, mut worth) = (0, 0, 0);
        for holding in holdings.iter() {
            let position = &holding.position;
            let state = &market[position.instrument.index()];
            if state.definition.quote_currency == currency {
                realized += position.realized;
                cost += position.cost;
                worth += i128::from(position.size) * i128::from(state.mark_price().0) / i128::from(UNIT);
            }
        }
        let opening = self.config.opening_balance;
        let equity = opening + holdings.cash(currency) + worth;
        AccountSummary {
            currency,
            balance: opening + realized,
            equity,
            available: equity,
            realized,
            unrealized: worth - cost,
        }
    }

    fn write_open_orders(&mut self, account: AccountId, filter: &Filter, market: &[InstrumentState]) {
        self.counters.looked_at_total += u64::from(self.accounts[account].open.len);
        let open = self.orders.iter(self.accounts[account].open);
        let told = open
            .filter(|(_, held)| held.is_open() && is_of(&held.order, filter, market))
            .map(|(_, held)| (&held.order, definition(market, held.order.instrument)));
        json_rpc::write_orders(&mut self.bytes, told);
    }

    fn write_trades(&mut self, account: AccountId, query: &UserTradesQuery, market: &[InstrumentState]) {
        self.counters.looked_at_total += self.accounts[account].fills.len() as u64;
        let is_meant = |fill: &&Fill| {
            let timestamp_ms = fill.timestamp_ns / NS_PER_MS;
            is_instrument_of(fill.instrument.index(), &query.filter, market)
                && query.start_seq.is_none_or(|start| start <= fill.trade_seq.0)
                && query.end_seq.is_none_or(|end| fill.trade_seq.0 <= end)
                && query.start_timestamp_ms.is_none_or(|start| start <= timestamp_ms)
                && query.end_timestamp_ms.is_none_or(|end| timestamp_ms <= end)
        };
        let fills = &self.accounts[account].fills;
        let count_max = usize::from(query.count);
        let has_more = fills.iter().filter(is_meant).nth(count_max).is_some();
        if query.is_ascending {
            let told = fills
                .iter()
                .filter(is_meant)
                .take(count_max)
                .map(|fill| (fill, definition(market, fill.instrument)));
            json_rpc::write_user_trades(&mut self.bytes, told, has_more);
        } else {
            let told = fills
                .iter()
                .rev()
                .filter(is_meant)
                .take(count_max)
                .map(|fill| (fill, definition(market, fill.instrument)));
            json_rpc::write_user_trades(&mut self.bytes, told, has_more);
        }
    }
}

pub(super) fn definition(market: &[InstrumentState], instrument: InstrumentId) -> &Instrument {
    &market[instrument.index()].definition
}
