//! What venues say: reports and fills. PURE.
//!
//! A report that fits nothing (an order that nobody knows, an answer to no question) is counted and dropped: it may be
//! late, or repeated after a link was cut. A fill is never dropped while its order is known: the venue has traded.

use crate::model::decimal::{Amount, Price};
use crate::model::ids::InstrumentId;
use crate::model::market::{InstrumentState, Trade};
use crate::model::order::{
    CancelReason, ExecType, Fill, Liquidity, Order, OrderId, OrderRefusal, OrderState, Parties, VenueReport,
    is_countable, notional,
};
use crate::model::time::Now;

use super::Desk;
use super::accounts::KeptFill;
use super::holdings::{side, sign};
use super::orders::{NOWHERE, Pending, Slot, Step};
use super::queries::definition;
use super::settle::Fresh;
use super::sweeps::Swept;
use super::waiting::Wait;

/// How a venue's word fits what the desk knows.
enum Fit {
    Fits,
    Strange,
}

impl Desk {
    /// Takes a venue's word on an order.
    pub fn handle_report(&mut self, report: &VenueReport, now: Now) {
        self.begin();
        let fit = match *report {
            VenueReport::Accepted { order, price } => self.with(order, |desk, slot| desk.accept(slot, price)),
            VenueReport::Rejected { order, why } => {
                self.with(order, |desk, slot| desk.reject(slot, why, now))
            }
            VenueReport::Amended { order, price, total } => {
                self.with(order, |desk, slot| desk.amend(slot, price, total, now))
            }
            VenueReport::AmendRejected { order, why } => {
                self.with(order, |desk, slot| desk.refuse_amend(slot, why))
            }
            VenueReport::Cancelled { order, why } => self.with(order, |desk, slot| {
                desk.end_cancelled(slot, why, now);
                Fit::Fits
            }),
            VenueReport::CancelRejected { order, why } => {
                self.with(order, |desk, slot| desk.refuse_cancel(slot, why, now))
            }
        };
        match fit {
            Fit::Fits => {}
            Fit::Strange => self.counters.strange_reports_total += 1,
        }
    }

    /// Takes a trade of this instrument that orders of the desk's were sides of, stamped by the market's home.
    pub fn handle_trade(
        &mut self,
        parties: Parties,
        instrument: InstrumentId,
        trade: &Trade,
        market: &[InstrumentState],
        now: Now,
    ) {
        self.begin();
        let both = parties.maker.zip(parties.taker);
        let is_self_trade = both.is_some_and(|(maker, taker)| self.are_of_one_account(maker, taker));
        for (order, liquidity) in [(parties.taker, Liquidity::Taker), (parties.maker, Liquidity::Maker)] {
            let Some(order) = order else { continue };
            // A venue that names an order of another instrument, or a number beyond all bounds, has not filled that order.
            let slot = self.orders.find(order).filter(|slot| {
                self.orders[*slot].order.instrument == instrument
                    && trade.amount > Amount::ZERO
                    && is_countable(trade.price, trade.amount)
            });
            let is_taken =
                slot.is_some_and(|slot| self.fill(slot, liquidity, is_self_trade, trade, market, now));
            self.counters.strange_fills_total += u64::from(!is_taken);
        }
    }

    /// Applies one side of a trade; whether it can be counted.
    fn fill(
        &mut self,
        slot: Slot,
        liquidity: Liquidity,
        is_self_trade: bool,
        trade: &Trade,
        market: &[InstrumentState],
        now: Now,
    ) -> bool {
        let Order { id: order, account, instrument, direction, filled, .. } = self.orders[slot].order;
        let holding = self.accounts[account].holdings.of_mut(instrument);
        let value = notional(trade.price, trade.amount);
        let countable = filled.0.checked_add(trade.amount.0);
        let profit = countable.and_then(|_| holding.trade(direction, trade.amount, value));
        let (Some(filled), Some(profit)) = (countable, profit) else { return false };
        let currency = definition(market, instrument).quote_currency;
        self.accounts[account].holdings.add_cash(currency, -value * i128::from(sign(direction)));
        self.counters.fills_total += 1;
        // A fill says that the order exists, should the venue not have said so: what waited for that may follow.
        self.accept(slot, None);
        self.stirred.push(slot);
        self.note_filled(slot, Amount(filled), value, now);
        let Order { order_type, state, post_only, reduce_only, label, .. } = self.orders[slot].order;
        self.keep_fill(
            slot,
            Fill {
                order,
                instrument,
                trade_seq: trade.trade_seq,
                direction,
                liquidity,
                order_type,
                state,
                post_only,
                reduce_only,
                label,
                price: trade.price,
                amount: trade.amount,
                profit,
                tick_direction: trade.tick_direction,
                mark_price: trade.mark_price,
                timestamp_ns: trade.timestamp_ns,
                is_self_trade,
            },
        );
        self.note_reducing(account, instrument);
        true
    }

    fn with(&mut self, order: OrderId, apply: impl FnOnce(&mut Desk, Slot) -> Fit) -> Fit {
        match self.orders.find(order) {
            Some(slot) if !self.orders[slot].is_closed() => {
                let fit = apply(self, slot);
                self.stirred.push(slot);
                fit
            }
            Some(_) | None => Fit::Strange,
        }
    }

    fn accept(&mut self, slot: Slot, price: Option<Price>) -> Fit {
        let held = &mut self.orders[slot];
        // Of an older order it says nothing of what is in doubt: whether it was amended or cancelled.
        if !held.is_being_placed() && held.doubt != Some(Step::New) {
            return Fit::Strange;
        }
        held.order.state = OrderState::Open;
        held.doubt = None;
        if let (Some(_), Some(price)) = (held.order.price, price) {
            held.order.price = Some(price);
        }
        if held.is_being_placed() {
            held.pending = None;
            self.release(slot, |wait| matches!(wait, Wait::Place | Wait::Repeat), Ok(()));
        }
        self.count_working(slot);
        self.touch(slot, ExecType::New);
        Fit::Fits
    }

    /// Of a new order: it never was. Of another: the venue knows it no more.
    fn reject(&mut self, slot: Slot, why: OrderRefusal, now: Now) -> Fit {
        let held = &self.orders[slot];
        let was_placed = !held.is_being_placed() && held.doubt != Some(Step::New);
        if was_placed || held.order.filled > Amount::ZERO {
            self.end_cancelled(slot, CancelReason::Venue, now);
        } else {
            self.end_unplaced(slot, why, now);
        }
        Fit::Fits
    }

    /// One of which no less was filled meanwhile is over, at what is filled.
    fn amend(&mut self, slot: Slot, price: Price, total: Amount, now: Now) -> Fit {
        if total <= Amount::ZERO {
            return Fit::Strange;
        }
        let held = &mut self.orders[slot];
        let is_over = total <= held.order.filled;
        let asked = match (held.pending, held.doubt) {
            (Some(Pending { step: Step::Amend(amendment), .. }), _) => {
                held.pending = None;
                Some(amendment)
            }
            (_, Some(Step::Amend(amendment))) => {
                held.doubt = None;
                held.order.state = OrderState::Open;
                Some(amendment)
            }
            // The venue did it by itself.
            _ => None,
        };
        let was_reducing = held.order.reduce_only;
        if let Some(amendment) = asked {
            held.order.post_only = amendment.post_only;
            held.order.reduce_only = amendment.reduce_only;
        }
        held.order.amount = total.max(held.order.filled);
        held.order.price = held.order.price.map(|_| price);
        held.order.is_replaced = true;
        held.order.updated_ns = now.unix_ns;
        if was_reducing != held.order.reduce_only {
            self.move_reducing(slot);
        }
        self.count_working(slot);
        self.touch(slot, ExecType::Replaced);
        self.release(slot, |wait| matches!(wait, Wait::Edit { is_asked: true, .. }), Ok(()));
        if is_over {
            self.end(slot, OrderState::Filled);
            self.end_sweep(slot, Swept::NotCancelled);
        }
        // What it was to reduce may have gone while it became reduce-only.
        let Order { account, instrument, .. } = self.orders[slot].order;
        self.note_reducing(account, instrument);
        Fit::Fits
    }

    fn refuse_amend(&mut self, slot: Slot, why: OrderRefusal) -> Fit {
        let held = &mut self.orders[slot];
        if matches!(held.pending, Some(Pending { step: Step::Amend(_), .. })) {
            held.pending = None;
            self.release(slot, |wait| matches!(wait, Wait::Edit { is_asked: true, .. }), Err(why));
        } else if matches!(held.doubt, Some(Step::Amend(_))) {
            self.end_doubt(slot);
        } else {
            return Fit::Strange;
        }
        self.count_working(slot);
        Fit::Fits
    }

    fn refuse_cancel(&mut self, slot: Slot, why: OrderRefusal, now: Now) -> Fit {
        let held = &mut self.orders[slot];
        if matches!(held.pending, Some(Pending { step: Step::Cancel, .. })) {
            held.pending = None;
            let own = held.cancel_wanted.filter(|reason| *reason != CancelReason::UserRequest);
            self.end_cancel(slot, why, Swept::NotCancelled);
            if let Some(reason) = own {
                self.cancel_later(slot, reason, now);
            }
        } else if held.doubt == Some(Step::Cancel) {
            self.end_doubt(slot);
        } else {
            return Fit::Strange;
        }
        Fit::Fits
    }

    /// What was in doubt did not happen: the order is open as it was.
    pub(super) fn end_doubt(&mut self, slot: Slot) {
        let held = &mut self.orders[slot];
        held.doubt = None;
        held.order.state = OrderState::Open;
        self.count_working(slot);
        self.touch(slot, ExecType::Status);
    }

    pub(super) fn end_cancelled(&mut self, slot: Slot, why: CancelReason, now: Now) {
        let held = &mut self.orders[slot];
        // A venue knows that it was asked, the desk why it asked.
        let reason = match why {
            CancelReason::UserRequest => held.cancel_wanted.unwrap_or(why),
            CancelReason::Disconnect
            | CancelReason::Timeout
            | CancelReason::Immediate
            | CancelReason::SelfMatch
            | CancelReason::Killed
            | CancelReason::Venue
            | CancelReason::Delisted => why,
        };
        held.order.cancel_reason = Some(reason);
        held.order.updated_ns = now.unix_ns;
        self.end(slot, OrderState::Cancelled);
        self.touch(slot, ExecType::Cancelled);
        self.release(slot, |wait| matches!(wait, Wait::Place | Wait::Repeat | Wait::Cancel), Ok(()));
        self.end_sweep(slot, Swept::Cancelled);
    }

    /// The order never came to be: it is refused, and its label is free.
    pub(super) fn end_unplaced(&mut self, slot: Slot, why: OrderRefusal, now: Now) {
        let held = &mut self.orders[slot];
        let was_told_of = held.doubt.is_some();
        held.order.updated_ns = now.unix_ns;
        self.end(slot, OrderState::Rejected);
        self.orders.release_label(slot);
        if was_told_of {
            self.touch(slot, ExecType::Rejected);
        }
        self.release(slot, |wait| matches!(wait, Wait::Place | Wait::Repeat), Err(why));
        self.end_sweep(slot, Swept::NotCancelled);
    }

    /// Nothing more happens to the order, unless a fill comes late.
    fn end(&mut self, slot: Slot, state: OrderState) {
        let Order { account, instrument, .. } = self.orders[slot].order;
        if !self.unlinked.is_empty() {
            self.unlinked.remove(&(instrument, slot));
        }
        let known = &mut self.accounts[account];
        self.orders.close(slot, state, &mut known.open, &mut known.closed);
        self.open_count -= 1;
        self.closed_count += 1;
        let held = &mut self.orders[slot];
        held.pending = None;
        held.doubt = None;
        held.cancel_wanted = None;
        self.count_working(slot);
        self.crowded.push(account);
        self.stirred.push(slot);
    }

    fn note_filled(&mut self, slot: Slot, filled: Amount, value: i128, now: Now) {
        let held = &mut self.orders[slot];
        held.order.filled = filled;
        held.order.filled_notional += value;
        held.order.updated_ns = now.unix_ns;
        if filled > held.order.amount {
            self.counters.overfills_total += 1;
            held.order.amount = filled;
        }
        let is_whole = filled == held.order.amount;
        if !held.is_closed() {
            if is_whole {
                self.end(slot, OrderState::Filled);
                self.end_sweep(slot, Swept::NotCancelled);
            }
        } else {
            self.counters.late_fills_total += 1;
            if is_whole {
                held.order.state = OrderState::Filled;
                held.order.cancel_reason = None;
            }
        }
        self.count_working(slot);
        self.touch(slot, ExecType::Trade);
    }

    /// Keeps the fill for questions, and for the events of the next settlement.
    fn keep_fill(&mut self, slot: Slot, fill: Fill) {
        let config = &self.config;
        let held = &mut self.orders[slot];
        let fills = &mut self.accounts[held.order.account].fills;
        let fair_share = config.fair_share(config.fills_max).max(1) as usize;
        let is_full = fills.len() >= config.fills_per_account_max as usize
            || (self.fills_count >= config.fills_max && fills.len() >= fair_share);
        if is_full {
            fills.forget_oldest();
            self.counters.forgotten_fills_total += 1;
        } else {
            self.fills_count += 1;
        }
        held.last_fill = fills.push(KeptFill { fill, before: held.last_fill });
        let key = u32::try_from(self.fresh.len()).expect("invariant: a settlement has few fills");
        self.fresh.push(Fresh { fill, next: NOWHERE });
        let tail = std::mem::replace(&mut held.fresh.tail, key);
        if tail == NOWHERE {
            held.fresh.head = key;
        } else {
            self.fresh[tail as usize].next = key;
        }
        held.fresh.len += 1;
    }

    /// Tells of the order in the next settlement, for the newest reason.
    pub(super) fn touch(&mut self, slot: Slot, why: ExecType) {
        if self.orders[slot].touched.replace(why).is_none() {
            self.touched.push(slot);
        }
    }

    /// Brings what counts as working of the order to what may still be filled of it.
    pub(super) fn count_working(&mut self, slot: Slot) {
        let held = &mut self.orders[slot];
        let change = held.fillable() - held.working;
        held.working += change;
        if change != 0 {
            let Order { account, instrument, direction, reduce_only, .. } = held.order;
            let holding = self.accounts[account].holdings.of_mut(instrument);
            holding.working[side(direction)] += i128::from(change);
            if reduce_only {
                holding.reducing[side(direction)] += i128::from(change);
            }
        }
    }
}
