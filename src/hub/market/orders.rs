//! The desk at the market's home: what clients ask of it, what the venue tells it, and what it says to both. PURE.
//! Home: the venue's thread.
//!
//! Invariants: the desk hears of reports and trades in the order in which the venue told them, and of a trade with the stamp
//! that the market gave it; an order is executed before the next one is looked at, so that its answer tells what came of it at
//! once; what the desk says is passed on before anything else is handled.

use crate::desk::{Desk, DeskConfig, DeskCounters, Output};
use crate::limits;
use crate::model::ids::InstrumentId;
use crate::model::market::Trade;
use crate::model::order::{Ask, Client, Departure, OrderId, Parties, VenueReport};
use crate::model::time::Now;

use super::super::batch::Record;
use super::super::private::{PrivateEvent, Reports};
use super::{MarketHome, Routed};

/// Whether an instrument's orders are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trading {
    /// Who asks is told that there is no venue.
    Closed,
    Open,
}

/// What a turn did for clients so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Requests, of clients and of the desk.
    pub(super) requests: u64,
    /// Of what desk and office said.
    pub(super) bytes: u64,
    /// Orders that the desk had looked at when the turn began.
    looked_at_before: u64,
}

/// The first order's number: above all those of an earlier start, and exact as a JSON number for some 200 years.
pub(super) fn first_order(now: Now) -> OrderId {
    OrderId((now.unix_ns / 1_000).max(1))
}

impl MarketHome {
    /// Has a desk of this kind, of which nobody has asked anything yet; instruments that the feed lists from now on are open
    /// for trading, or not. Those of a link trade while it is up.
    pub fn set_desk(&mut self, config: DeskConfig, trading: Trading, now: Now) {
        self.desk = Desk::new(config, first_order(now));
        self.trading = trading;
    }

    /// The next request for a venue and where it goes. What comes of it there at once is to be handled before the next one
    /// is polled.
    pub fn poll_request(&mut self, now: Now) -> Option<Routed> {
        loop {
            if let Some(request) = self.desk.poll_request(now) {
                self.work.requests += 1;
                return Some(self.sources.route(request));
            }
            // Those whose time was over are answered, and what waited behind them may follow.
            if !self.settle_desk(now) {
                return None;
            }
        }
    }

    /// Whether the desk has something for the venue.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.desk.has_requests()
    }

    /// Whether this turn has done for clients what a turn may: nothing more is to be taken or executed in it.
    #[must_use]
    pub fn has_done_enough(&self) -> bool {
        let Work { requests, bytes, looked_at_before } = self.work;
        let looked_at = self.desk.counters.looked_at_total - looked_at_before;
        requests + bytes / limits::DESK_BYTES_PER_STEP + looked_at / limits::DESK_ORDERS_PER_STEP
            >= limits::DESK_STEPS_PER_TURN
    }

    pub(super) fn end_work(&mut self) {
        self.work = Work { looked_at_before: self.desk.counters.looked_at_total, ..Work::default() };
    }

    /// What the desk did, since its start.
    #[must_use]
    pub fn desk_counters(&self) -> DeskCounters {
        self.desk.counters
    }

    /// The kill switch, as who operates the gateway throws it; returns once new orders are refused.
    pub fn halt_everybody(&mut self, is_on: bool, now: Now) {
        self.desk.halt_everybody(is_on);
        self.settle_desk(now);
    }

    /// What clients hold, for those who check it.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The link that took orders of these instruments is dead.
    pub fn handle_link_down(&mut self, instruments: &[InstrumentId], now: Now) {
        self.desk.handle_link_down(instruments, now);
        self.settle_desk(now);
    }

    /// A link takes orders of these instruments.
    pub fn handle_link_up(&mut self, instruments: &[InstrumentId], now: Now) {
        self.desk.handle_link_up(instruments, now);
        self.settle_desk(now);
    }

    /// The venue has told all that it knows of these instruments' orders.
    pub fn handle_reconciled(&mut self, instruments: &[InstrumentId], now: Now) {
        self.desk.handle_reconciled(instruments, now);
        self.settle_desk(now);
    }

    pub(super) fn open_trading(&mut self, instrument: InstrumentId, now: Now) {
        match self.trading {
            Trading::Open => self.desk.handle_link_up(&[instrument], now),
            Trading::Closed => {}
        }
    }

    pub(super) fn handle_ask(&mut self, ask: &Ask, now: Now) {
        self.work.requests += 1;
        self.desk.handle_ask(ask, &self.instruments, now);
        self.settle_desk(now);
    }

    pub(super) fn handle_departed(&mut self, client: Client, how: Departure, now: Now) {
        self.work.requests += 1;
        self.counters.departures_total += 1;
        self.desk.handle_departure(client, how, now);
        self.settle_desk(now);
    }

    pub(super) fn handle_report(&mut self, report: &VenueReport, now: Now) {
        self.desk.handle_report(report, now);
    }

    /// Tells the desk of a trade that orders of its clients were sides of.
    pub(super) fn handle_fill(&mut self, parties: Parties, id: InstrumentId, trade: &Trade, now: Now) {
        self.desk.handle_trade(parties, id, trade, &self.instruments, now);
    }

    /// Runs out what the desk's timers have come to.
    pub(super) fn handle_desk_timeout(&mut self, now: Now) {
        if self.desk.poll_timeout().is_some_and(|due_ns| due_ns <= now.mono_ns) {
            self.desk.handle_timeout(now);
            self.settle_desk(now);
        }
    }

    /// Passes on what the desk says of all that it has handled; whether it said anything.
    pub(super) fn settle_desk(&mut self, now: Now) -> bool {
        let private = &self.private;
        self.desk.settle(&self.instruments, |account| private.wanted(account), now);
        let mut any = false;
        while let Some(output) = self.desk.poll_output() {
            any = true;
            match output {
                Output::Answer { to, ticket, outcome } => {
                    let batch = self.outbox.command(to);
                    self.work.bytes += outcome.map_or(0, |result| u64::from(result.len));
                    let outcome = outcome.map(|result| batch.push_bytes(self.desk.bytes(result)));
                    batch.records.push(Record::Answered { ticket, outcome });
                }
                Output::Event { account, instrument, seq, json, sbe } => {
                    // Once by the desk, and once for each view of it.
                    let in_json = json.map(|told| [Some(told.order), told.trades, told.position]);
                    let in_sbe = sbe.map(|told| [Some(told.order), Some(told.fills), None]);
                    let told = in_json.into_iter().chain(in_sbe).flatten().flatten();
                    self.work.bytes += told.map(|range| u64::from(range.len)).sum::<u64>();
                    let before_bytes = self.outbox.data().bytes.len();
                    let desk = &self.desk;
                    let bytes = |range| desk.bytes(range);
                    let event = PrivateEvent {
                        account,
                        instrument,
                        seq,
                        order: json.map(|told| bytes(told.order)),
                        trades: json.and_then(|told| told.trades).map(bytes),
                        positions: json.and_then(|told| told.position).map(bytes),
                        reports: sbe.map(|told| Reports {
                            order: bytes(told.order),
                            fills: bytes(told.fills),
                            fills_count: told.fills_count as usize,
                        }),
                    };
                    let definition = &self.instruments[instrument.index()].definition;
                    self.private.tell(&event, definition, &mut self.home, self.outbox.data(), now);
                    self.work.bytes += (self.outbox.data().bytes.len() - before_bytes) as u64;
                }
            }
        }
        any
    }

    /// What the desk would say, by hand.
    #[cfg(test)]
    pub(in crate::hub) fn tell_private(&mut self, event: &PrivateEvent<'_>, now: Now) {
        let definition = &self.instruments[event.instrument.index()].definition;
        self.private.tell(event, definition, &mut self.home, self.outbox.data(), now);
    }

    /// What the desk would answer, by hand.
    #[cfg(test)]
    pub(in crate::hub) fn answer_ask(
        &mut self,
        shard: crate::model::ids::HomeId,
        ticket: crate::model::ids::Ticket,
        outcome: Result<&[u8], crate::model::order::OrderRefusal>,
    ) {
        let batch = self.outbox.command(shard);
        let outcome = outcome.map(|result| batch.push_bytes(result));
        batch.records.push(Record::Answered { ticket, outcome });
    }
}
