//! What a link to a venue tells, as it comes to the market and to the desk. PURE. Home: the venue's thread.
//!
//! Invariants: all is applied in the order in which it was told; what was told before a link went down, came up or had told all
//! is settled with the desk before that is. Of an instrument whose link is down the market is closed and the desk takes no orders.

use crate::backend::tcp::session::{LinkEvent, LinkFill, Session};
use crate::backend::tcp::wire::Cut;
use crate::limits;
use crate::model::ids::{InstrumentId, SourceId};
use crate::model::market::{FeedEvent, FeedInstrument};
use crate::model::time::Now;

use super::status::Change;
use super::{MarketHome, News};

impl MarketHome {
    /// Takes all that a link has to tell. To be called after whatever was done to the session, and before the next request is
    /// polled, so that the desk never gives a request to a link that it does not know to be down. A source has one session.
    pub fn handle_link(&mut self, source: SourceId, session: &mut Session, now: Now) {
        let mut is_unsettled = false;
        while let Some(event) = session.poll_event() {
            match event {
                LinkEvent::Feed(event) => {
                    is_unsettled |= self.apply(source, &event, session.levels(), now);
                    if self.is_overgrown(source, &event) {
                        session.handle_overgrown();
                    }
                }
                LinkEvent::Fill(fill) => is_unsettled |= self.take_fill(source, &fill, now),
                LinkEvent::Up { instruments } => {
                    self.settle_what_was_told(&mut is_unsettled, now);
                    let own = self.turn_link(source, &instruments, true, now);
                    self.handle_link_up(&own, now);
                    self.statuses.change(source, Change::Up, now);
                    self.sources.tell(News::Up { source, instruments: own.len() });
                }
                LinkEvent::Down { instruments, why } => {
                    self.settle_what_was_told(&mut is_unsettled, now);
                    let own = self.turn_link(source, &instruments, false, now);
                    self.handle_link_down(&own, now);
                    self.counters.links_outdated_total += u64::from(matches!(why, Cut::Outdated { .. }));
                    self.statuses.change(source, Change::Down(why.to_string().into()), now);
                    self.sources.tell(News::Down { source, instruments: own.len(), why });
                }
                LinkEvent::Reconciled => {
                    self.settle_what_was_told(&mut is_unsettled, now);
                    self.handle_reconciled(&self.sources.own(source), now);
                    self.statuses.change(source, Change::Reconciled, now);
                    self.sources.tell(News::Reconciled { source });
                }
            }
        }
        self.settle_what_was_told(&mut is_unsettled, now);
    }

    /// Whether the venue has told of more levels than a book may have: it forgets to say which are gone.
    fn is_overgrown(&self, source: SourceId, event: &FeedEvent) -> bool {
        match event {
            FeedEvent::Levels { instrument, .. } | FeedEvent::Cleared { instrument, .. } => {
                let id = self.sources.resolve(source, *instrument);
                id.is_some_and(|id| {
                    self.instruments[id.index()].book.level_count() > limits::LINK_BOOK_LEVELS_MAX
                })
            }
            FeedEvent::Listed { .. }
            | FeedEvent::Quote { .. }
            | FeedEvent::Trade { .. }
            | FeedEvent::Report(_)
            | FeedEvent::State { .. } => false,
        }
    }

    fn settle_what_was_told(&mut self, is_unsettled: &mut bool, now: Now) {
        if std::mem::take(is_unsettled) {
            self.settle_desk(now);
        }
    }

    /// Takes what an order was filled; whether the desk is to settle for it.
    fn take_fill(&mut self, source: SourceId, fill: &LinkFill, now: Now) -> bool {
        if fill.print {
            return self.apply(source, &fill.trade(), &[], now);
        }
        let Some(id) = self.sources.resolve(source, fill.instrument) else { return false };
        // The trade itself is still to come, and gets this very stamp.
        let (direction, parties) = fill.sides();
        let state = &self.instruments[id.index()];
        let trade = state.stamp_trade(fill.price, fill.amount, direction, fill.timestamp_ns);
        self.handle_fill(parties, id, &trade, now);
        true
    }

    /// The source's link takes orders of these, or no more; those that are the source's own. The state's time stays the venue's,
    /// whose clock may be another.
    fn turn_link(
        &mut self,
        source: SourceId,
        instruments: &[FeedInstrument],
        is_up: bool,
        now: Now,
    ) -> Vec<InstrumentId> {
        let sources = &self.sources;
        let own: Vec<InstrumentId> =
            instruments.iter().filter_map(|instrument| sources.resolve(source, *instrument)).collect();
        for id in &own {
            let state = self.sources.connect(*id, is_up);
            self.apply_state(*id, state, 0, now);
        }
        own
    }
}
