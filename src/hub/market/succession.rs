//! A market that goes on where another node's has ended. PURE. Home: the venue's thread, when its node becomes the owner.
//!
//! Invariants: what was told before keeps its number and its name on all replicas, so that a client's instruments are those of before; nothing
//! trades, and no book has a level, until a source of this node has listed it. Epochs and numbers are beyond those of the owner before.

use crate::model::book::Book;
use crate::model::ids::{Epoch, HomeId, InstrumentId, SourceId};
use crate::model::instrument::Instrument;
use crate::model::market::{InstrumentState, MarketState};
use crate::model::time::Now;

use super::super::history::HistoryLimits;
use super::MarketHome;

/// What an owner begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The first epoch that is its own to give.
    pub begin: Epoch,
    /// Another number for each owner: ids of topics that shards still have of another mean none of its own.
    pub life: u32,
}

impl Succession {
    /// The time by which what is numbered by time begins: by a clock that is behind, orders and messages too would be numbered as others were.
    #[must_use]
    pub fn begun(self, now: Now) -> Now {
        Now { unix_ns: now.unix_ns.max(self.begin.0 * 1_000_000), ..now }
    }
}

/// Bits of a generation that count the topics of one place of a home.
const GENERATION_BITS: u32 = 12;

impl MarketHome {
    /// The home `id` of a market with `shards` shards, which goes on after another's. `told` is what was told of its instruments, in the order of
    /// their numbers: a replica of it.
    #[must_use]
    pub fn succeeding<'a>(
        id: HomeId,
        shards: u8,
        history: HistoryLimits,
        succession: Succession,
        told: impl Iterator<Item = (InstrumentId, &'a InstrumentState)>,
        now: Now,
    ) -> MarketHome {
        let mut market = MarketHome::new(id, shards, history, succession.begun(now));
        market.home.succeed(succession.begin, succession.life << GENERATION_BITS);
        told.for_each(|(instrument, state)| market.restore(instrument, state));
        // Their replicas are another's: they are told all of it.
        let shards = market.shards;
        shards.iter().for_each(|shard| market.handle_lag(shard));
        market
    }

    /// The newest epoch that was given.
    #[must_use]
    pub fn newest_epoch(&self) -> Epoch {
        self.home.newest_epoch()
    }

    fn restore(&mut self, instrument: InstrumentId, told: &InstrumentState) {
        assert_eq!(
            instrument.index(),
            self.instruments.len(),
            "instruments are told in the order of their numbers"
        );
        let mut state = told.clone();
        state.book = Book::default();
        state.change_id = state.change_id.next();
        if state.state != MarketState::Delisted {
            state.state = MarketState::Closed;
        }
        self.sources.restore(state.definition.name, state.state);
        self.instruments.push(state);
        self.derived.push(Vec::new());
    }

    /// Takes what an owner before has listed under this name away, if that was another thing than a source of this node lists now.
    pub(super) fn retire_other(&mut self, source: SourceId, definition: &Instrument, now: Now) {
        let Some(id) = self.sources.unclaimed(source, &definition.name) else { return };
        let told = &*self.instruments[id.index()].definition;
        let created = told.creation_timestamp_ms;
        if *told != (Instrument { creation_timestamp_ms: created, ..definition.clone() }) {
            self.delist(id, 0, now);
        }
    }
}
