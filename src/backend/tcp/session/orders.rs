//! The orders that a venue link knows to be not over, and what the venue says of them. PURE.
//!
//! Of each order it is counted what was asked and not answered: on this connection (`asked`), and on those before
//! (`doubts`). A venue answers in order, so the first answers are those to what is in doubt.

use std::collections::{BTreeMap, VecDeque};

use super::super::message::{Command, Filled, OrderStatus, Report, StatusState};
use super::super::wire::Cut;
use super::{LinkEvent, LinkFill, NS_PER_MS, Session};
use crate::limits;
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::market::{Direction, FeedInstrument};
use crate::model::order::{
    CancelReason, Liquidity, OrderId, OrderRefusal, VenueReport, is_countable, notional,
};
use crate::model::time::Now;

/// What is known of one order.
#[derive(Clone, Copy, Debug)]
struct Known {
    instrument: FeedInstrument,
    direction: Direction,
    price: Option<Price>,
    /// What is filled included.
    total: i64,
    filled: i64,
    notional: i128,
    is_accepted: bool,
    /// Whether we asked for its end.
    is_cancel_asked: bool,
    asked: u32,
    doubts: u32,
    /// Whether its state is asked for.
    is_questioned: bool,
}

impl Known {
    const fn is_unsettled(&self) -> bool {
        self.doubts > 0 || self.is_questioned
    }

    fn answered(&mut self) {
        if self.doubts > 0 {
            self.doubts -= 1;
        } else {
            self.asked = self.asked.saturating_sub(1);
        }
    }

    fn fill(&mut self, price: Price, amount: i64) {
        self.filled = self.filled.saturating_add(amount);
        self.notional += notional(price, Amount(amount));
    }

    /// What it is in all by the venue's word; of one that was cancelled the venue does not say.
    fn told_total(&self, status: &OrderStatus) -> i64 {
        match status.state {
            StatusState::Open => status.filled.0 + status.amount.0,
            StatusState::Filled => status.filled.0,
            StatusState::Cancelled => self.total.max(status.filled.0),
            StatusState::Pending | StatusState::Rejected | StatusState::Unknown => self.total,
        }
    }

    /// One fill that stands for all that the venue knows of and we do not: its price is their mean.
    fn missed(&self, status: &OrderStatus) -> Option<(Price, Amount)> {
        let amount = status.filled.0.checked_sub(self.filled).filter(|amount| *amount > 0)?;
        let average = status.average.or(status.price).or(self.price)?;
        let missing = notional(average, status.filled) - self.notional;
        let price = missing.saturating_mul(i128::from(UNIT)) / i128::from(amount);
        Some((i64::try_from(price).map_or(average, Price), Amount(amount)))
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Held {
    known: BTreeMap<OrderId, Known>,
    /// How many have doubts, or are asked for.
    unsettled: usize,
    /// Of those that were over last, what a fill that comes late has to know, and in which order they were.
    over: BTreeMap<OrderId, (FeedInstrument, Direction)>,
    over_since: VecDeque<OrderId>,
}

impl Held {
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    /// A command is on its way.
    pub(super) fn note(&mut self, command: &Command, instrument: FeedInstrument) {
        if let Command::New(new) = command {
            let known = Known {
                instrument,
                direction: new.side,
                price: new.price,
                total: new.amount.0,
                filled: 0,
                notional: 0,
                is_accepted: false,
                is_cancel_asked: false,
                asked: 1,
                doubts: 0,
                is_questioned: false,
            };
            let before = self.known.insert(new.order, known);
            assert!(before.is_none(), "invariant: the desk gives a number once: {:?}", new.order);
            return;
        }
        self.with(command.order(), |known| {
            known.asked += 1;
            known.is_cancel_asked |= matches!(command, Command::Cancel { .. });
        });
    }

    /// A command of a dead connection never arrived.
    pub(super) fn take_back(&mut self, command: &Command) {
        if let Command::New(new) = command {
            self.remove(new.order);
        } else {
            self.with(command.order(), |known| {
                known.answered();
                known.is_cancel_asked &= !matches!(command, Command::Cancel { .. });
            });
        }
    }

    /// The connection is dead: what was not answered is in doubt.
    pub(super) fn doubt_all(&mut self) {
        for known in self.known.values_mut() {
            self.unsettled += usize::from(!known.is_unsettled() && known.asked > 0);
            known.doubts += std::mem::take(&mut known.asked);
        }
    }

    /// The venue, or we, have forgotten what was said: each order is to be asked for, in this order.
    pub(super) fn question_all(&mut self) -> VecDeque<OrderId> {
        for known in self.known.values_mut() {
            (known.asked, known.doubts) = (0, 0);
            known.is_questioned = true;
        }
        self.unsettled = self.known.len();
        self.known.keys().copied().collect()
    }

    fn get(&self, order: OrderId) -> Option<Known> {
        self.known.get(&order).copied()
    }

    fn with(&mut self, order: OrderId, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.get_mut(&order) {
            let was_unsettled = known.is_unsettled();
            change(known);
            self.unsettled += usize::from(known.is_unsettled());
            self.unsettled -= usize::from(was_unsettled);
        }
    }

    fn remove(&mut self, order: OrderId) {
        let Some(known) = self.known.remove(&order) else { return };
        self.unsettled -= usize::from(known.is_unsettled());
        if self.over_since.len() == limits::LINK_ORDERS_OVER_MAX
            && let Some(oldest) = self.over_since.pop_front()
        {
            self.over.remove(&oldest);
        }
        self.over_since.push_back(order);
        self.over.insert(order, (known.instrument, known.direction));
    }

    /// Of an order that is not over, or has not been for long.
    fn terms(&self, order: OrderId) -> Option<(FeedInstrument, Direction)> {
        let known = self.known.get(&order).map(|known| (known.instrument, known.direction));
        known.or_else(|| self.over.get(&order).copied())
    }
}

impl Session {
    /// Takes the venue's word, which is new.
    ///
    /// # Errors
    /// [`Cut::Uncountable`], [`Cut::Incomplete`]: what it says is nonsense, and is not told.
    pub(super) fn hear(&mut self, report: &Report, now: Now) -> Result<(), Cut> {
        let order = report.order();
        self.check_countable(report)?;
        if self.is_foretold(report) {
            if !matches!(report, Report::Filled(_)) {
                self.orders.with(order, Known::answered);
            }
            return Ok(());
        }
        match *report {
            Report::Accepted { order, venue_order: _, price } => {
                self.orders.with(order, |known| {
                    known.answered();
                    known.is_accepted = true;
                    known.price = price.filter(|_| known.price.is_some()).or(known.price);
                });
                self.report(VenueReport::Accepted { order, price });
            }
            Report::Rejected { order, reason } => {
                self.orders.remove(order);
                self.report(VenueReport::Rejected { order, why: reason });
            }
            Report::Filled(filled) => self.hear_fill(&filled),
            Report::Amended { order, price, total } => {
                let mut is_over = false;
                self.orders.with(order, |known| {
                    known.answered();
                    known.price = known.price.map(|_| price);
                    known.total = total.0;
                    is_over = known.filled >= known.total;
                });
                if is_over {
                    self.orders.remove(order);
                }
                self.report(VenueReport::Amended { order, price, total });
            }
            Report::AmendRejected { order, reason } => {
                self.orders.with(order, Known::answered);
                self.report(VenueReport::AmendRejected { order, why: reason });
            }
            Report::Cancelled { order, reason } => {
                self.orders.remove(order);
                self.report(VenueReport::Cancelled { order, why: reason });
            }
            Report::CancelRejected { order, reason } => {
                self.orders.with(order, |known| {
                    known.answered();
                    known.is_cancel_asked = false;
                });
                self.report(VenueReport::CancelRejected { order, why: reason });
            }
            Report::OrderStatus(status) => {
                if let Some(known) = self.orders.get(order) {
                    self.resolve(&known, &status, now);
                }
            }
        }
        self.reconcile();
        Ok(())
    }

    /// Whether the answer to the question about its order will say it, which is still to come. What led to it may have been
    /// forgotten with earlier numbers: told at once, a fill could be beyond what the order is known to be, or of one that is not
    /// known to be accepted, and an end could come before the fills.
    fn is_foretold(&self, report: &Report) -> bool {
        let known = self.orders.get(report.order()).filter(|known| known.is_questioned);
        known.is_some_and(|known| match report {
            Report::Filled(_) | Report::Cancelled { .. } => true,
            Report::Amended { .. } => !known.is_accepted,
            Report::Accepted { .. }
            | Report::Rejected { .. }
            | Report::AmendRejected { .. }
            | Report::CancelRejected { .. }
            | Report::OrderStatus(_) => false,
        })
    }

    /// Whether it says what was filled and for how much, and all that it makes of an order can be added up, here and at the desk.
    fn check_countable(&self, report: &Report) -> Result<(), Cut> {
        let known = self.orders.get(report.order());
        let (kind, total, price) = match *report {
            Report::Filled(Filled { price, amount, .. }) => {
                ("filled", amount.0.checked_add(known.map_or(0, |known| known.filled)), Some(price))
            }
            Report::Amended { price, total, .. } => ("amended", Some(total.0), Some(price)),
            Report::OrderStatus(status) => {
                let total = status.filled.0.checked_add(status.amount.0);
                let price = status.average.or(status.price).or(known.and_then(|known| known.price));
                let is_more = known.is_some_and(|known| status.filled.0 > known.filled);
                let is_nothing = status.state == StatusState::Filled && status.filled == Amount::ZERO;
                if is_nothing || is_more && price.is_none() {
                    return Err(Cut::Incomplete("order_status"));
                }
                ("order_status", total, price)
            }
            Report::Accepted { .. }
            | Report::Rejected { .. }
            | Report::AmendRejected { .. }
            | Report::Cancelled { .. }
            | Report::CancelRejected { .. } => return Ok(()),
        };
        let is_fine = total.is_some_and(|total| price.is_none_or(|price| is_countable(price, Amount(total))));
        if is_fine { Ok(()) } else { Err(Cut::Uncountable(kind)) }
    }

    /// The venue has traded, whether or not it had said before that the order is over.
    fn hear_fill(&mut self, filled: &Filled) {
        let Some((instrument, direction)) = self.orders.terms(filled.order) else {
            self.counters.strange_total += 1;
            return;
        };
        let fill = LinkFill {
            order: filled.order,
            instrument,
            direction,
            liquidity: filled.liquidity,
            price: filled.price,
            amount: filled.amount,
            print: filled.print,
            timestamp_ns: filled.time_ms * NS_PER_MS,
        };
        self.count_fill(fill);
    }

    /// Tells a fill; an order that has nothing left is over.
    fn count_fill(&mut self, fill: LinkFill) {
        let mut is_over = false;
        self.orders.with(fill.order, |known| {
            known.fill(fill.price, fill.amount.0);
            is_over = known.filled >= known.total;
        });
        if is_over {
            self.orders.remove(fill.order);
        }
        self.events.push_back(LinkEvent::Fill(fill));
    }

    /// Makes of an order's state the reports that were missed.
    fn resolve(&mut self, known: &Known, status: &OrderStatus, now: Now) {
        let order = status.order;
        match status.state {
            // Its answer will come.
            StatusState::Pending => {
                self.orders.with(order, |known| {
                    known.is_questioned = false;
                    known.doubts = known.doubts.max(1);
                });
                return;
            }
            StatusState::Unknown | StatusState::Rejected => {
                let is_refused = status.state == StatusState::Rejected;
                let why = if is_refused { OrderRefusal::VenueRefused } else { OrderRefusal::NotSent };
                self.orders.remove(order);
                self.report(if known.is_accepted {
                    VenueReport::Cancelled { order, why: CancelReason::Venue }
                } else {
                    VenueReport::Rejected { order, why }
                });
                return;
            }
            StatusState::Open | StatusState::Filled | StatusState::Cancelled => {}
        }
        if !known.is_accepted {
            self.report(VenueReport::Accepted {
                order,
                price: status.price.filter(|_| known.price.is_some()),
            });
        }
        let is_open = status.state == StatusState::Open;
        let total = known.told_total(status);
        let is_moved = is_open
            && known.is_accepted
            && known.price.is_some_and(|price| status.price.is_some_and(|told| told != price));
        self.orders.with(order, |known| {
            known.is_questioned = false;
            known.is_accepted = true;
            known.is_cancel_asked &= !is_open;
            known.price = known.price.and(status.price.or(known.price));
            known.total = total;
        });
        // Before the fills, of which it may allow more.
        if total != known.total || is_moved {
            let price = status.price.or(known.price).unwrap_or_default();
            self.report(VenueReport::Amended { order, price, total: Amount(total) });
        }
        if let Some((price, amount)) = known.missed(status) {
            self.count_fill(LinkFill {
                order,
                instrument: known.instrument,
                direction: known.direction,
                liquidity: if known.is_accepted { Liquidity::Maker } else { Liquidity::Taker },
                price,
                amount,
                print: true,
                timestamp_ns: now.unix_ns,
            });
        }
        let Some(left) = self.orders.get(order) else { return };
        if left.filled >= left.total {
            self.orders.remove(order);
        } else if !is_open {
            let is_asked = known.is_cancel_asked && status.state == StatusState::Cancelled;
            let why = if is_asked { CancelReason::UserRequest } else { CancelReason::Venue };
            self.orders.remove(order);
            self.report(VenueReport::Cancelled { order, why });
        }
    }
}
