//! The last-value cache of a shard: a replica of the market, built from the same stamped events as the market's home
//! has applied. PURE. Home: one shard. Invariant: after a batch, each instrument stands where the home stood when it
//! sealed the batch.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::model::book::LevelUpdate;
use crate::model::ids::{InstrumentId, Seq};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::link::LinkStatus;
use crate::model::market::{InstrumentState, MarketState, Trade};

use crate::model::hasher::FixedHasher;

#[derive(Debug, Default)]
pub struct Cache {
    instruments: Vec<InstrumentState>,
    /// The newest of each name.
    by_name: HashMap<Symbol, InstrumentId, BuildHasherDefault<FixedHasher>>,
    /// The one of the same name before.
    earlier: HashMap<InstrumentId, InstrumentId, BuildHasherDefault<FixedHasher>>,
    /// In which instruments are quoted, or which are quoted.
    currencies: HashSet<Symbol, BuildHasherDefault<FixedHasher>>,
    /// How often an instrument was found to be traded no more.
    delistings: u32,
    links: Arc<[LinkStatus]>,
}

impl Cache {
    #[must_use]
    pub fn find(&self, name: &Symbol) -> Option<InstrumentId> {
        self.by_name.get(name).copied()
    }

    /// Whether any instrument has it as its base or quote currency.
    #[must_use]
    pub fn has_currency(&self, currency: &Symbol) -> bool {
        self.currencies.contains(currency)
    }

    #[must_use]
    pub fn state(&self, instrument: InstrumentId) -> &InstrumentState {
        &self.instruments[instrument.index()]
    }

    /// Every instrument, in the order of listing.
    pub fn instruments(&self) -> impl ExactSizeIterator<Item = (InstrumentId, &InstrumentState)> {
        self.instruments.iter().enumerate().map(|(at, state)| (id(at), state))
    }

    /// The next instrument; a name that is listed again means the newer one from then on.
    pub fn list(&mut self, definition: &Arc<Instrument>) -> InstrumentId {
        let instrument = id(self.instruments.len());
        if let Some(earlier) = self.by_name.insert(definition.name, instrument) {
            self.earlier.insert(instrument, earlier);
        }
        self.currencies.extend([definition.base_currency, definition.quote_currency]);
        self.instruments.push(InstrumentState::new(Arc::clone(definition)));
        instrument
    }

    /// How links to venues were when that was last told.
    #[must_use]
    pub fn links(&self) -> &[LinkStatus] {
        &self.links
    }

    pub fn set_links(&mut self, links: &Arc<[LinkStatus]>) {
        self.links = Arc::clone(links);
    }

    pub fn apply_levels(
        &mut self,
        instrument: InstrumentId,
        updates: &[LevelUpdate],
        change_id: Seq,
        timestamp_ns: u64,
    ) {
        let state = &mut self.instruments[instrument.index()];
        assert_eq!(change_id, state.change_id.next(), "a replica misses no change");
        for update in updates {
            state.apply_level(*update);
        }
        state.change_id = change_id;
        state.timestamp_ns = timestamp_ns;
    }

    pub fn record_trade(&mut self, instrument: InstrumentId, trade: Trade) {
        self.instruments[instrument.index()].record_trade(trade);
    }

    /// What a name means to who subscribes: an instrument that is traded no more is none.
    #[must_use]
    pub fn find_listed(&self, name: &Symbol) -> Option<InstrumentId> {
        self.find(name).filter(|id| self.is_listed(*id))
    }

    #[must_use]
    pub fn is_listed(&self, instrument: InstrumentId) -> bool {
        self.instruments[instrument.index()].state != MarketState::Delisted
    }

    /// Another number whenever an instrument more is traded no more.
    #[must_use]
    pub fn delistings(&self) -> u32 {
        self.delistings
    }

    /// The instrument of the same name that was listed before this one.
    #[must_use]
    pub fn earlier(&self, instrument: InstrumentId) -> Option<InstrumentId> {
        self.earlier.get(&instrument).copied()
    }

    pub fn set_state(&mut self, instrument: InstrumentId, to: MarketState, timestamp_ns: u64) {
        let state = &mut self.instruments[instrument.index()];
        self.delistings = self.delistings.wrapping_add(u32::from(to == MarketState::Delisted));
        state.state = to;
        state.timestamp_ns = state.timestamp_ns.max(timestamp_ns);
    }

    /// The whole state of an instrument after a gap; returns its id if it is new here.
    pub fn replace(&mut self, instrument: InstrumentId, state: &InstrumentState) -> Option<InstrumentId> {
        if let Some(place) = self.instruments.get_mut(instrument.index()) {
            place.clone_from(state);
            self.delistings = self.delistings.wrapping_add(u32::from(state.state == MarketState::Delisted));
            return None;
        }
        let listed = self.list(&state.definition);
        assert_eq!(listed, instrument, "instruments are told in the order of listing");
        self.instruments[listed.index()].clone_from(state);
        self.delistings = self.delistings.wrapping_add(u32::from(state.state == MarketState::Delisted));
        Some(listed)
    }
}

fn id(at: usize) -> InstrumentId {
    InstrumentId(u32::try_from(at).expect("invariant: the venue lists at most INSTRUMENTS_MAX"))
}
