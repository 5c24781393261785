//! What clients ask: each request to its answer, or to the step that will bring it. PURE.

use crate::dialect::json_rpc;
use crate::limits;
use crate::model::decimal::Amount;
use crate::model::encoding::Encoding;
use crate::model::market::InstrumentState;
use crate::model::order::{
    Ask, CancelReason, EditOrder, Filter, Label, NewOrder, Order, OrderId, OrderRef, OrderRefusal,
    OrderRequest, OrderState,
};
use crate::model::time::Now;

use super::orders::{Held, Step};
use super::output::ByteRange;
use super::waiting::{Edit, Wait};
use super::{Desk, is_over};

/// The answer, or `None` where it comes later.
type Reply = Result<Option<ByteRange>, OrderRefusal>;

impl Desk {
    /// Takes a client's request. Its answer comes now, or in a settlement after the venue's word.
    pub fn handle_ask(&mut self, ask: &Ask, market: &[InstrumentState], now: Now) {
        self.begin();
        self.counters.asks_total += 1;
        let reply = if self.accounts.ensure(ask.account, &self.config, now) {
            self.reply(ask, market, now)
        } else {
            Err(OrderRefusal::Full)
        };
        if let Some(outcome) = reply.transpose() {
            if let Ok(told) = outcome {
                let credits = told.len / limits::ANSWER_BYTES_PER_CREDIT;
                self.accounts[ask.account].credits.owe(credits, &self.config);
            }
            self.answer(ask.client.home, ask.ticket, outcome);
        }
    }

    fn reply(&mut self, ask: &Ask, market: &[InstrumentState], now: Now) -> Reply {
        let account = ask.account;
        match &ask.request {
            OrderRequest::Place(spec) => self.place(ask, spec, market, now),
            OrderRequest::Edit(edit) => self.edit(ask, edit, market, now),
            OrderRequest::Cancel { order, valid_until_ms } => self.cancel(ask, *order, *valid_until_ms, now),
            OrderRequest::CancelByLabel { label, currency } => {
                self.charge(ask, self.config.cancel_credits, now)?;
                let filter = Filter { currency: *currency, ..Filter::default() };
                self.cancel_by_label(ask, *label, &filter, market)
            }
            OrderRequest::CancelAll { filter } => {
                let count = self.sweep(ask, None, |held| is_of(&held.order, filter, market))?;
                if count.is_some() {
                    // There was nothing to cancel: it was a question.
                    self.charge(ask, self.config.cancel_credits, now)?;
                }
                Ok(count.map(|count| self.write(|out| json_rpc::write_count(out, u64::from(count)))))
            }
            OrderRequest::CancelAllAfter { timeout_ms } => {
                self.set_deadline(account, *timeout_ms, now);
                self.ok()
            }
            OrderRequest::EnableCancelOnDisconnect { scope } => {
                self.guard(ask, *scope, true)?;
                self.ok()
            }
            OrderRequest::DisableCancelOnDisconnect { scope } => {
                self.guard(ask, *scope, false)?;
                self.ok()
            }
            OrderRequest::GetCancelOnDisconnect { scope } => {
                let is_on = self.is_guarded(ask, *scope)?;
                Ok(Some(self.write(|out| json_rpc::write_cancel_on_disconnect(out, *scope, is_on))))
            }
            OrderRequest::Halt { is_on, everybody } => {
                self.halt(account, *is_on, *everybody);
                self.ok()
            }
            OrderRequest::OpenOrders { .. }
            | OrderRequest::OrderState { .. }
            | OrderRequest::OrderStateByLabel { .. }
            | OrderRequest::OrderHistory { .. }
            | OrderRequest::UserTrades(_)
            | OrderRequest::Position { .. }
            | OrderRequest::Positions { .. }
            | OrderRequest::AccountSummary { .. }
            | OrderRequest::AccountSummaries => {
                self.charge(ask, self.config.query_credits, now)?;
                self.query(ask, market).map(Some)
            }
        }
    }

    fn place(&mut self, ask: &Ask, spec: &NewOrder, market: &[InstrumentState], now: Now) -> Reply {
        self.charge(ask, self.config.place_credits, now)?;
        if let Some(label) = spec.label
            && let Some(slot) = self.orders.find_label(ask.account, label)
        {
            self.counters.repeats_total += 1;
            let held = &self.orders[slot];
            if held.is_being_placed() {
                self.check_waiting(ask.account, Some(slot))?;
                self.wait(ask, slot, Wait::Repeat);
                return Ok(None);
            }
            if held.doubt == Some(Step::New) {
                return Err(OrderRefusal::OutcomeUnknown { order: held.order.id });
            }
            return Ok(Some(match ask.encoding {
                Encoding::Json => self.write_repeat(slot, market),
                Encoding::Sbe => self.write_repeat_ack(slot),
            }));
        }
        let checked = self.check_new(ask.account, spec, market, now)?;
        self.check_waiting(ask.account, None)?;
        let connection = self.connection(ask)?;
        self.accounts[ask.account].note_recent(spec, now);
        let order = self.record(ask, &checked, now);
        let slot = self.orders.insert(Held::new(order, connection), &mut self.accounts[ask.account].open);
        self.open_count += 1;
        self.counters.orders_total += 1;
        self.wait(ask, slot, Wait::Place);
        self.start(slot, Step::New, spec.valid_until_ms);
        Ok(None)
    }

    /// The order as it is before the venue knows of it.
    fn record(&mut self, ask: &Ask, spec: &NewOrder, now: Now) -> Order {
        let id = self.next_order;
        self.next_order = OrderId(id.0 + 1);
        Order {
            id,
            account: ask.account,
            instrument: spec.instrument,
            direction: spec.direction,
            order_type: spec.order_type,
            time_in_force: spec.time_in_force,
            post_only: spec.post_only,
            reduce_only: spec.reduce_only,
            label: spec.label,
            state: OrderState::Unknown,
            price: spec.price,
            amount: spec.amount,
            filled: Amount::ZERO,
            filled_notional: 0,
            is_replaced: false,
            cancel_reason: None,
            created_ns: now.unix_ns,
            updated_ns: now.unix_ns,
        }
    }

    fn edit(&mut self, ask: &Ask, edit: &EditOrder, market: &[InstrumentState], now: Now) -> Reply {
        self.charge(ask, self.config.place_credits, now)?;
        let slot = match edit.order {
            OrderRef::Id(order) => self.orders.find_own(order, ask.account),
            OrderRef::Label(label) => self.orders.find_label(ask.account, label),
        }
        .filter(|slot| edit.instrument.is_none_or(|named| named == self.orders[*slot].order.instrument))
        .ok_or(OrderRefusal::OrderNotFound)?;
        let EditOrder { amount, price, post_only, reduce_only, valid_until_ms, .. } = *edit;
        let edit = Edit { amount, price, post_only, reduce_only, valid_until_ms };
        let held = &self.orders[slot];
        if held.is_closed() {
            return Err(OrderRefusal::AlreadyClosed);
        }
        if held.doubt.is_some() {
            return Err(OrderRefusal::OutcomeUnknown { order: held.order.id });
        }
        if held.pending.is_none() && held.cancel_wanted.is_none() {
            let amendment = self.check_edit(slot, &edit, market, now)?;
            self.check_waiting(ask.account, Some(slot))?;
            self.wait(ask, slot, Wait::Edit { edit, is_asked: true });
            self.start(slot, Step::Amend(amendment), valid_until_ms);
        } else if self.is_linked(held.order.instrument) {
            self.check_waiting(ask.account, Some(slot))?;
            self.wait(ask, slot, Wait::Edit { edit, is_asked: false });
        } else {
            // What it would wait behind waits for a link itself.
            return Err(OrderRefusal::VenueUnavailable);
        }
        Ok(None)
    }

    fn cancel(&mut self, ask: &Ask, order: OrderId, valid_until_ms: Option<u64>, now: Now) -> Reply {
        self.charge(ask, self.config.cancel_credits, now)?;
        let slot = self.orders.find_own(order, ask.account).ok_or(OrderRefusal::OrderNotFound)?;
        if self.orders[slot].is_closed() {
            return Err(OrderRefusal::AlreadyClosed);
        }
        if is_over(valid_until_ms, now) {
            return Err(OrderRefusal::TimedOut);
        }
        if !self.is_linked(self.orders[slot].order.instrument) {
            return Err(OrderRefusal::VenueUnavailable);
        }
        self.check_waiting(ask.account, Some(slot))?;
        self.wait(ask, slot, Wait::Cancel);
        self.want_cancel(slot, CancelReason::UserRequest, valid_until_ms);
        Ok(None)
    }

    /// A label names at most one order.
    fn cancel_by_label(
        &mut self,
        ask: &Ask,
        label: Label,
        filter: &Filter,
        market: &[InstrumentState],
    ) -> Reply {
        let open = self.orders.find_label(ask.account, label).filter(|slot| !self.orders[*slot].is_closed());
        let count = match open {
            Some(slot) => self.sweep(ask, Some(slot), |held| is_of(&held.order, filter, market))?,
            None => Some(0),
        };
        Ok(count.map(|count| self.write(|out| json_rpc::write_count(out, u64::from(count)))))
    }

    fn charge(&mut self, ask: &Ask, credits: u32, now: Now) -> Result<(), OrderRefusal> {
        self.accounts[ask.account].credits.take(credits, &self.config, now)
    }

    fn ok(&mut self) -> Reply {
        Ok(Some(self.write(json_rpc::write_ok)))
    }

    /// Appends a value to the buffer.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ByteRange {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.range_from(start)
    }

    pub(super) fn range_from(&self, start: usize) -> ByteRange {
        let bounded = |bytes: usize| {
            u32::try_from(bytes).expect("invariant: what is not polled is bounded far below 4 GiB")
        };
        ByteRange { start: bounded(start), len: bounded(self.bytes.len() - start) }
    }
}

/// Whether the filter lets the order through.
pub(super) fn is_of(order: &Order, filter: &Filter, market: &[InstrumentState]) -> bool {
    is_instrument_of(order.instrument.index(), filter, market)
}

/// Whether the filter lets orders of the instrument through.
pub(super) fn is_instrument_of(index: usize, filter: &Filter, market: &[InstrumentState]) -> bool {
    let definition = &market[index].definition;
    filter.instrument.is_none_or(|instrument| instrument.index() == index)
        && filter.kind.is_none_or(|kind| kind == definition.kind)
        && filter.currency.is_none_or(|currency| {
            currency == definition.base_currency || currency == definition.quote_currency
        })
}
