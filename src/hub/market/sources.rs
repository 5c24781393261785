//! Who brings which instruments. PURE. Home: the venue's thread.
//!
//! Invariants: a name belongs to the source that listed it first, until that instrument is delisted; one that an owner before has listed, to the first that
//! lists it here; a name that is reserved, to
//! one of those that it is reserved for. A number is one instrument's, for ever. What another source says of it is dropped, though its number counts there. An instrument of a link trades
//! while its link is up and its venue has not said that it is closed.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::backend::tcp::wire::Cut;
use crate::limits;
use crate::model::hasher::FixedHasher;
use crate::model::ids::{InstrumentId, SourceId};
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::{FeedInstrument, InstrumentState, MarketState};
use crate::model::order::VenueRequest;
use crate::model::time::Now;

use super::super::batch::Record;
use super::MarketHome;
use super::status::Change;

/// A request of the desk, and whom it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    pub source: SourceId,
    /// The source's number of the instrument; the request has the market's.
    pub instrument: FeedInstrument,
    pub request: VenueRequest,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The source's instrument is not taken.
    Refused { source: SourceId, name: Symbol, why: ListingRefusal },
    /// Orders of so many instruments more are taken.
    Up { source: SourceId, instruments: usize },
    /// A connection is over; orders of so many instruments are not taken any more.
    Down { source: SourceId, instruments: usize, why: Cut },
    /// Nothing is in doubt any more at this source.
    Reconciled { source: SourceId },
}

/// Why an instrument is not taken from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingRefusal {
    /// It is another's, or was listed before.
    Taken { by: SourceId },
    /// For links of which this is none.
    Reserved,
    /// There are `limits::INSTRUMENTS_MAX`.
    Full,
}

/// Whose instruments are that an owner before has listed, and no source here yet.
const NOBODY: SourceId = SourceId(u8::MAX);
const _: () = assert!(limits::SOURCES_MAX <= u8::MAX as usize);

/// What is known of a listed instrument beside its state.
#[derive(Clone, Copy, Debug)]
struct Listed {
    /// Or [`NOBODY`].
    source: SourceId,
    instrument: FeedInstrument,
    is_up: bool,
    /// What its venue said last; holds across connections. That it is delisted holds for ever.
    word: MarketState,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// By source and by its own number; `None` for those that are not taken.
    by_feed: Vec<Vec<Option<InstrumentId>>>,
    /// By `InstrumentId`.
    listed: Vec<Listed>,
    names: HashMap<Symbol, InstrumentId, BuildHasherDefault<FixedHasher>>,
    /// The sources, a bit each, that may list the name.
    reserved: HashMap<Symbol, u64, BuildHasherDefault<FixedHasher>>,
    news: VecDeque<News>,
}

impl Sources {
    /// Takes a listing, or says why not.
    fn list(&mut self, source: SourceId, name: Symbol) -> Result<InstrumentId, ListingRefusal> {
        if self.by_feed.len() <= source.index() {
            assert!(source.index() < limits::SOURCES_MAX, "invariant: sources are bounded: {source:?}");
            self.by_feed.resize_with(source.index() + 1, Vec::new);
        }
        let taken = self.take(source, name);
        let own = &mut self.by_feed[source.index()];
        let instrument = FeedInstrument(bounded(own.len()));
        own.push(taken.ok());
        if let Ok(id) = taken {
            self.names.insert(name, id);
            let is_up = source == SourceId::FEED;
            let listed = Listed { source, instrument, is_up, word: MarketState::Open };
            match self.listed.get_mut(id.index()) {
                Some(unclaimed) => *unclaimed = listed,
                None => self.listed.push(listed),
            }
        }
        taken
    }

    /// The next instrument is one of an owner before.
    pub(super) fn restore(&mut self, name: Symbol, word: MarketState) {
        if word != MarketState::Delisted {
            self.names.insert(name, InstrumentId(bounded(self.listed.len())));
        }
        self.listed.push(Listed { source: NOBODY, instrument: FeedInstrument(0), is_up: false, word });
    }

    /// The instrument of this name that no source here has listed yet, and this one may.
    pub(super) fn unclaimed(&self, source: SourceId, name: &Symbol) -> Option<InstrumentId> {
        let id = *self.names.get(name)?;
        (self.listed[id.index()].source == NOBODY && self.is_admitted(source, name)).then_some(id)
    }

    fn is_admitted(&self, source: SourceId, name: &Symbol) -> bool {
        self.reserved.get(name).is_none_or(|sources| sources >> source.0 & 1 == 1)
    }

    fn take(&self, source: SourceId, name: Symbol) -> Result<InstrumentId, ListingRefusal> {
        let known = self.names.get(&name).copied();
        if let Some(by) = known.map(|id| self.listed[id.index()].source).filter(|by| *by != NOBODY) {
            return Err(ListingRefusal::Taken { by });
        }
        if !self.is_admitted(source, &name) {
            return Err(ListingRefusal::Reserved);
        }
        if let Some(unclaimed) = known {
            return Ok(unclaimed);
        }
        if self.listed.len() == limits::INSTRUMENTS_MAX {
            return Err(ListingRefusal::Full);
        }
        Ok(InstrumentId(bounded(self.listed.len())))
    }

    /// The instrument that the source means by its number, if it is its own.
    pub(super) fn resolve(&self, source: SourceId, instrument: FeedInstrument) -> Option<InstrumentId> {
        self.by_feed[source.index()][instrument.0 as usize]
    }

    /// Whose the instrument is.
    pub(super) fn source_of(&self, id: InstrumentId) -> SourceId {
        self.listed[id.index()].source
    }

    /// All of the source, in the order of their ids.
    pub(super) fn own(&self, source: SourceId) -> Vec<InstrumentId> {
        self.by_feed.get(source.index()).into_iter().flatten().copied().flatten().collect()
    }

    /// The instrument that the source means by its number, if it is its own and its market is still told.
    pub(super) fn resolve_told(&self, source: SourceId, instrument: FeedInstrument) -> Option<InstrumentId> {
        self.resolve(source, instrument).filter(|id| self.listed[id.index()].word != MarketState::Delisted)
    }

    /// The name is anybody's from now on, and the instrument nobody's any more.
    fn delist(&mut self, id: InstrumentId, name: &Symbol) {
        self.listed[id.index()].word = MarketState::Delisted;
        self.names.remove(name);
    }

    /// How many of the source are served now.
    pub(super) fn count_served(&self, source: SourceId) -> u32 {
        bounded(self.listed.iter().filter(|listed| listed.is_served_by(source)).count())
    }

    pub(super) fn route(&self, request: VenueRequest) -> Routed {
        let Listed { source, instrument, .. } = self.listed[request.instrument().index()];
        Routed { source, instrument, request }
    }

    /// The link of the instrument is up, or down; its state from here on.
    pub(super) fn connect(&mut self, id: InstrumentId, is_up: bool) -> MarketState {
        self.listed[id.index()].is_up = is_up;
        self.listed[id.index()].state()
    }

    /// What the venue said; the instrument's state from here on.
    fn hear(&mut self, id: InstrumentId, word: MarketState) -> MarketState {
        let listed = &mut self.listed[id.index()];
        if listed.word != MarketState::Delisted {
            listed.word = word;
        }
        listed.state()
    }

    pub(super) fn tell(&mut self, news: News) {
        if self.news.len() < limits::MARKET_NEWS_MAX {
            self.news.push_back(news);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let numbers: usize = self.by_feed.iter().map(Vec::capacity).sum();
        numbers * size_of::<Option<InstrumentId>>()
            + self.listed.capacity() * size_of::<Listed>()
            + (self.names.capacity() + self.reserved.capacity()) * (size_of::<(Symbol, u64)>() + 1)
    }
}

impl Listed {
    fn is_served_by(&self, source: SourceId) -> bool {
        self.source == source && self.is_up && self.word != MarketState::Delisted
    }

    const fn state(&self) -> MarketState {
        match self.word {
            MarketState::Delisted => MarketState::Delisted,
            MarketState::Open | MarketState::Closed if !self.is_up => MarketState::Closed,
            word @ (MarketState::Open | MarketState::Closed) => word,
        }
    }
}

impl MarketHome {
    /// Of these names, and from now on of these alone, nobody lists one but the sources for which it was in such a call. What is
    /// listed already stays with who listed it.
    ///
    /// # Panics
    /// At `limits::SOURCES_MAX` sources: the configuration admits fewer.
    pub fn reserve(&mut self, names: &[Symbol], source: SourceId) {
        assert!(source.index() < limits::SOURCES_MAX, "invariant: sources are bounded: {source:?}");
        let reserved = &mut self.sources.reserved;
        reserved.retain(|_, sources| {
            *sources &= !(1 << source.0);
            *sources != 0
        });
        for name in names {
            *reserved.entry(*name).or_default() |= 1 << source.0;
        }
    }

    /// Whether what was refused the source under this number of its own would be taken now: others may have been delisted, or
    /// reserved, since.
    #[must_use]
    pub fn may_list_again(&self, source: SourceId, number: FeedInstrument, name: &Symbol) -> bool {
        self.sources.resolve(source, number).is_none() && self.sources.take(source, *name).is_ok()
    }

    /// What is to be said in the log; at most `limits::MARKET_NEWS_MAX` wait for it.
    pub fn poll_news(&mut self) -> Option<News> {
        self.sources.news.pop_front()
    }

    pub(super) fn list(&mut self, source: SourceId, definition: &Instrument, now: Now) {
        self.retire_other(source, definition, now);
        let id = match self.sources.list(source, definition.name) {
            Ok(id) => id,
            Err(why) => {
                self.counters.instruments_refused_total += 1;
                self.sources.tell(News::Refused { source, name: definition.name, why });
                return;
            }
        };
        if id.index() == self.instruments.len() {
            let definition = Arc::new(definition.clone());
            self.instruments.push(InstrumentState::new(Arc::clone(&definition)));
            self.derived.push(Vec::new());
            self.tell(Record::Listed { definition });
        }
        self.statuses.change(source, Change::Listed, now);
        if source == SourceId::FEED {
            self.apply_state(id, MarketState::Open, 0, now);
            self.open_trading(id, now);
        } else {
            self.apply_state(id, MarketState::Closed, 0, now);
        }
    }

    pub(super) fn hear_state(&mut self, id: InstrumentId, word: MarketState, timestamp_ns: u64, now: Now) {
        if word == MarketState::Delisted {
            return self.delist(id, timestamp_ns, now);
        }
        let state = self.sources.hear(id, word);
        self.apply_state(id, state, timestamp_ns, now);
    }

    /// The instrument is traded no more: its book empties, its market closes for good, and what is open of it is cancelled. What
    /// was told before is settled first.
    pub(super) fn delist(&mut self, id: InstrumentId, timestamp_ns: u64, now: Now) {
        if self.instruments[id.index()].state == MarketState::Delisted {
            return;
        }
        self.settle_desk(now);
        let name = self.instruments[id.index()].definition.name;
        self.sources.delist(id, &name);
        self.replace_book(id, &[], timestamp_ns, now);
        self.apply_state(id, MarketState::Delisted, timestamp_ns, now);
        self.statuses.change(self.sources.source_of(id), Change::Listed, now);
        // Its orders are gone through in this turn's `handle_timeout`.
        self.desk.handle_delisted(id);
    }
}

fn bounded(count: usize) -> u32 {
    u32::try_from(count).expect("invariant: a source has at most INSTRUMENTS_MAX")
}
