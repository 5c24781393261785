//! A settlement: what is too much to reduce, next steps, then answers, then events of all that was handled since the last one, then forgetting. PURE.
//!
//! An order is encoded once for each encoding, however many are told of it, in the same bytes; and its event in none that
//! nobody wants.

use crate::dialect::json_rpc;
use crate::model::encoding::Encoding;
use crate::model::ids::{HomeId, Ticket};
use crate::model::market::InstrumentState;
use crate::model::order::{AccountId, Fill, Order, OrderRefusal};
use crate::model::time::Now;

use super::Desk;
use super::orders::{Chain, Encoded, NOWHERE, Slot, Step};
use super::output::{ByteRange, JsonEvent, Output, Wanted};
use super::queries::definition;
use super::waiting::Wait;

/// An answer that is to be encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub slot: Slot,
    pub to: HomeId,
    pub ticket: Ticket,
    pub encoding: Encoding,
    pub wait: Wait,
}

/// A fill since the last settlement, and the next of the same order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub fill: Fill,
    pub next: Slot,
}

impl Desk {
    /// Makes answers and events of what was handled since the last settlement, each event in those encodings in which somebody
    /// is to be told of its account. Requests that waited may follow.
    pub fn settle(&mut self, market: &[InstrumentState], wanted: impl Fn(AccountId) -> Wanted, now: Now) {
        self.begin();
        self.settlement += 1;
        self.trim_reducing();
        for at in 0..self.stirred.len() {
            self.advance(self.stirred[at], market, now);
        }
        self.stirred.clear();
        for at in 0..self.due.len() {
            self.answer_due(self.due[at], market);
        }
        self.due.clear();
        for at in 0..self.touched.len() {
            self.tell(self.touched[at], market, &wanted);
        }
        self.touched.clear();
        self.fresh.clear();
        self.forget();
    }

    /// The order's next step, if one waits and nothing is pending.
    fn advance(&mut self, slot: Slot, market: &[InstrumentState], now: Now) {
        loop {
            let held = &self.orders[slot];
            if held.is_closed() {
                self.release(slot, |_| true, Err(OrderRefusal::AlreadyClosed));
                return;
            }
            if held.pending.is_some() {
                return;
            }
            if held.cancel_wanted.is_some() {
                if held.cancel_again_ns.is_none() {
                    self.cancel_if_wanted(slot);
                }
                return;
            }
            let Some((key, edit)) = self.next_edit(slot) else { return };
            let checked = self.check_edit(slot, &edit, market, now);
            self.waiters[key as usize].wait = Wait::Edit { edit, is_asked: true };
            match checked {
                Ok(amendment) => self.start(slot, Step::Amend(amendment), edit.valid_until_ms),
                Err(why) => {
                    self.release(slot, |wait| matches!(wait, Wait::Edit { is_asked: true, .. }), Err(why));
                }
            }
        }
    }

    fn answer_due(&mut self, due: Due, market: &[InstrumentState]) {
        let Due { slot, to, ticket, encoding, wait } = due;
        let range = match encoding {
            Encoding::Json => self.write_answer(slot, wait, market),
            Encoding::Sbe => self.write_ack(slot, wait),
        };
        self.answer(to, ticket, Ok(range));
    }

    fn write_answer(&mut self, slot: Slot, wait: Wait, market: &[InstrumentState]) -> ByteRange {
        let Encoded { order, trades } = self.encode(slot, market);
        match wait {
            Wait::Cancel => order,
            Wait::Place | Wait::Repeat | Wait::Edit { .. } => {
                let mut value = std::mem::take(&mut self.scratch);
                value.clear();
                let trades_json = self.bytes(trades.unwrap_or_default());
                let is_repeat = matches!(wait, Wait::Repeat);
                json_rpc::write_placed(&mut value, self.bytes(order), trades_json, is_repeat);
                let range = self.write(|out| out.extend_from_slice(&value));
                self.scratch = value;
                range
            }
        }
    }

    /// The event of one order.
    fn tell(&mut self, slot: Slot, market: &[InstrumentState], wanted: &impl Fn(AccountId) -> Wanted) {
        let Order { account, instrument, .. } = self.orders[slot].order;
        let wanted = wanted(account);
        let json = wanted.json.then(|| self.write_event(slot, market));
        let sbe = wanted.sbe.then(|| self.write_reports(slot));
        let held = &mut self.orders[slot];
        held.touched = None;
        held.fresh = Chain::default();
        let known = &mut self.accounts[account];
        known.seq = known.seq.next();
        let seq = known.seq;
        self.counters.events_total += 1;
        self.outputs.push_back(Output::Event { account, instrument, seq, json, sbe });
    }

    fn write_event(&mut self, slot: Slot, market: &[InstrumentState]) -> JsonEvent {
        let Encoded { order, trades } = self.encode(slot, market);
        let Order { account, instrument, .. } = self.orders[slot].order;
        let position = self.accounts[account].holdings.of(instrument).position;
        let state = &market[instrument.index()];
        let position = trades.map(|_| self.write(|out| json_rpc::write_open_position(out, &position, state)));
        JsonEvent { order, trades, position }
    }

    /// The bytes of the order and its fills since the last settlement, made once in this one.
    fn encode(&mut self, slot: Slot, market: &[InstrumentState]) -> Encoded {
        let held = &self.orders[slot];
        let (settlement, encoded) = held.encoded;
        if settlement == self.settlement {
            return encoded;
        }
        let instrument = definition(market, held.order.instrument);
        let (start, mut key) = (self.bytes.len(), held.fresh.head);
        json_rpc::write_order(&mut self.bytes, &held.order, instrument);
        let order = self.range_from(start);
        let start = self.bytes.len();
        while key != NOWHERE {
            let fresh = &self.fresh[key as usize];
            if self.bytes.len() > start {
                self.bytes.push(b',');
            }
            json_rpc::write_fill(&mut self.bytes, &fresh.fill, instrument);
            key = fresh.next;
        }
        let trades = (self.bytes.len() > start).then(|| self.range_from(start));
        let encoded = Encoded { order, trades };
        self.orders[slot].encoded = (self.settlement, encoded);
        encoded
    }

    /// Closed orders beyond what is remembered are forgotten, oldest first; an account below its fair share keeps its own.
    fn forget(&mut self) {
        let config = &self.config;
        let fair_share = config.fair_share(config.closed_orders_max).max(1);
        for id in self.crowded.drain(..) {
            let closed = &mut self.accounts[id].closed;
            while closed.len > config.closed_orders_per_account_max
                || (self.closed_count > config.closed_orders_max && closed.len > fair_share)
            {
                self.orders.forget_oldest(closed);
                self.closed_count -= 1;
                self.counters.forgotten_orders_total += 1;
            }
        }
    }
}
