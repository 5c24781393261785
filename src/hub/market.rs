//! The market's home: what feeds say becomes the market's state, and every topic that some shard listens to is
//! encoded once; and the way to the desk and back. PURE. Home: the venue's thread.
//!
//! Invariants: state records precede the frames that they cause, in the same batch, so a shard's replica stands where
//! the frame says; a book frame's changes lead exactly from the book at `prev_change_id` to the book at `change_id`.

mod links;
mod messages;
mod orders;
mod sources;
mod status;
mod succession;
mod topics;

use std::sync::Arc;

use crate::desk::{Desk, DeskConfig, InstrumentLimits};
use crate::limits;
use crate::mail::{Office, OfficeConfig};
use crate::model::book::{Level, LevelAction, LevelUpdate, Side};
use crate::model::channel::{Interval, TopicKey};
use crate::model::decimal::Amount;
use crate::model::ids::{Epoch, HomeId, HomeSet, InstrumentId, SourceId};
use crate::model::instrument::Symbol;
use crate::model::link::LinkStatus;
use crate::model::market::{
    FeedBuffer, FeedEvent, FeedInstrument, InstrumentState, LevelRange, MarketState, Trade,
};
use crate::model::message::{MessageAnswer, MessageRefusal};
use crate::model::order::{Parties, is_countable};
use crate::model::time::Now;

use super::batch::{Batch, Outgoing, Record};
use super::deflation::Deflation;
use super::derived::{Derived, Touch};
use super::history::HistoryLimits;
use super::home::{Home, HomeCounters, HomeTopicSlot, Joining};
use super::outbox::Outbox;
use super::overload::{Pressure, Stance};
use super::private::Private;
use super::resetting::Resetting;
pub use orders::Trading;
use sources::Sources;
pub use sources::{ListingRefusal, News, Routed};
pub use status::LinkNote;
use status::Statuses;
pub use succession::Succession;

/// What the market's home did, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarketCounters {
    pub feed_events_total: u64,
    pub book_changes_total: u64,
    pub trades_total: u64,
    /// Trades of more than can be counted: the feed is wrong, and they are dropped.
    pub trades_refused_total: u64,
    /// Instruments beyond `limits::INSTRUMENTS_MAX`, of another source or reserved for one: all that was said of them was
    /// dropped.
    pub instruments_refused_total: u64,
    /// Reports on orders that were never given to who reports.
    pub reports_refused_total: u64,
    /// How often a client that had asked the desk for something was gone.
    pub departures_total: u64,
    /// Links that ended since their venue knows a later owner of the market.
    pub links_outdated_total: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct MarketHome {
    home: Home,
    shards: HomeSet,
    outbox: Outbox,
    instruments: Vec<InstrumentState>,
    /// What is told of each of them.
    derived: Vec<Vec<Derived>>,
    private: Private,
    desk: Desk,
    office: Office,
    /// What who operates the gateway has asked of it last.
    operator_answer: Option<Result<MessageAnswer, MessageRefusal>>,
    trading: Trading,
    work: orders::Work,
    resetting: Resetting,
    /// Nothing new is kept: memory is short.
    is_shedding: bool,
    sources: Sources,
    statuses: Statuses,
    /// When each interval ends next, by [`Interval::ALL`]'s order without `raw`.
    ends: [IntervalEnd; 2],
    changes: Vec<(LevelAction, LevelUpdate)>,
    updates: Vec<LevelUpdate>,
    pub counters: MarketCounters,
}

#[derive(Clone, Copy, Debug)]
struct IntervalEnd {
    interval: Interval,
    mono_ns: u64,
    /// Whether a topic of this interval has something to tell then.
    pending: bool,
    /// The instrument to go on with, where the end before is still being told.
    telling: Option<usize>,
}

/// Why a turn's levels are counted in 32 bits.
const LEVELS_FIT: &str = "invariant: a turn's levels lie in memory, where 2^32 of them would be 100 GB";
const _: () = assert!(size_of::<LevelUpdate>() >= 24, "as LEVELS_FIT reckons");

impl MarketHome {
    /// The home `id` of a market with `shards` shards, all of which keep a replica.
    #[must_use]
    pub fn new(id: HomeId, shards: u8, history: HistoryLimits, now: Now) -> MarketHome {
        let mut set = HomeSet::EMPTY;
        (0..shards).for_each(|shard| set.insert(HomeId(shard)));
        let end = |interval: Interval| IntervalEnd {
            interval,
            mono_ns: next_end(interval, now),
            pending: false,
            telling: None,
        };
        MarketHome {
            home: Home::new(id, history),
            shards: set,
            outbox: Outbox::new(),
            instruments: Vec::new(),
            derived: Vec::new(),
            private: Private::new(Epoch(now.unix_ns / 1_000_000)),
            desk: Desk::new(DeskConfig::default(), orders::first_order(now)),
            office: Office::new(OfficeConfig::default(), now),
            operator_answer: None,
            trading: Trading::Closed,
            work: orders::Work::default(),
            resetting: Resetting::default(),
            is_shedding: false,
            sources: Sources::default(),
            statuses: Statuses::default(),
            ends: [end(Interval::Ms100), end(Interval::Agg2)],
            changes: Vec::new(),
            updates: Vec::new(),
            counters: MarketCounters::default(),
        }
    }

    /// Another home than a shard keeps a replica from here on: it lags until [`MarketHome::handle_room`] gives it the whole state.
    pub fn add_replica(&mut self, home: HomeId) {
        self.shards.insert(home);
        self.handle_lag(home);
    }

    /// Another desk and office than these have served the shards until now: each is told so, and what it asks for or says before it knows is dropped. It
    /// answers by itself what those before have not.
    /// `before` is what those gave at their end.
    /// Called before there are other replicas than the shards'.
    pub fn reset_shards(&mut self, before: Resetting) {
        self.resetting = before;
        self.resetting.begin(self.shards, &mut self.outbox);
    }

    /// It is another node's market from here on: what whoever stands in this one's place has to know.
    pub fn end(&mut self) -> Resetting {
        std::mem::take(&mut self.resetting)
    }

    /// Compresses so from now on.
    pub fn set_deflation(&mut self, deflation: Deflation) {
        self.home.set_deflation(deflation);
    }

    /// Keeps so much of each topic from its next event on.
    pub fn set_history(&mut self, history: HistoryLimits) {
        self.home.set_limits(history);
    }

    /// Judges by this from the next request on.
    pub fn set_desk_config(&mut self, config: DeskConfig) {
        self.desk.set_config(config);
    }

    /// Judges orders in these instruments by limits of their own from the next request on.
    pub fn set_instrument_limits(&mut self, limits: Vec<(Symbol, InstrumentLimits)>) {
        self.desk.set_instrument_limits(limits);
    }

    /// Takes the memory that busy turns need now rather than then.
    pub fn make_ready(&mut self) {
        self.outbox.make_ready();
    }

    /// Applies what a source said.
    pub fn handle_feed(&mut self, source: SourceId, feed: &FeedBuffer, now: Now) {
        let mut concerns_desk = false;
        for event in &feed.events {
            concerns_desk |= self.apply(source, event, &feed.levels, now);
        }
        if concerns_desk {
            self.settle_desk(now);
        }
    }

    /// Applies what a shard asks for: joins, leaves, orders, who is gone. Nothing is executed here: a driver with a venue that
    /// answers at once uses [`MarketHome::handle_record`].
    ///
    /// # Panics
    /// On a record that no shard sends to the market's home: our own bug.
    pub fn handle_batch(&mut self, from: HomeId, batch: &Batch, now: Now) {
        for record in &batch.records {
            self.handle_record(from, batch, record, now);
        }
    }

    /// Applies one record of a shard's batch.
    ///
    /// # Panics
    /// As [`MarketHome::handle_batch`].
    pub fn handle_record(&mut self, from: HomeId, batch: &Batch, record: &Record, now: Now) {
        if !self.resetting.admits(from, record) {
            return;
        }
        match record {
            // It asks again after its gap, before which it would hear no answer.
            Record::Join { .. } if self.outbox.lagging().contains(from) => {}
            Record::Join {
                key: key @ TopicKey::Market { instrument, channel, encoding },
                ticket,
                resume,
            } => {
                let known = self.home.find(key).is_some();
                let slot = self.home.intern(*key, now);
                if let Some(slot) = slot.filter(|_| !known) {
                    let state = &self.instruments[instrument.index()];
                    self.home.start_at_change(slot, state.change_id);
                    let name = &state.definition.name;
                    let derived = Derived::new(slot, *instrument, *channel, *encoding, name);
                    self.derived[instrument.index()].push(derived);
                }
                self.join(from, slot, Joining { ticket: *ticket, resume: *resume });
            }
            Record::Join { key: TopicKey::Private { account, view }, ticket, resume } => {
                let (home, instruments) = (&mut self.home, &self.instruments);
                let slot = self.private.intern(home, *account, *view, instruments, now);
                self.join(from, slot, Joining { ticket: *ticket, resume: *resume });
            }
            Record::Ask { at } => self.handle_ask(batch.ask(*at), now),
            Record::Departed { client, how } => {
                self.handle_departed(*client, *how, now);
                self.handle_listener_gone(*client, now);
            }
            Record::MessageAsk { at, content } => {
                self.handle_message_ask(batch.message_ask(*at), batch.slice(*content), now);
            }
            Record::MessagesWritten { client, count } => self.handle_written(*client, *count, now),
            Record::Windows { topic, windows } => self.home.set_windows(from, *topic, *windows),
            Record::Leave { topic } => self.home.leave(from, *topic, now),
            Record::Join { key: key @ TopicKey::Client(_), ticket, resume } => {
                let slot = self.home.intern(*key, now);
                self.join(from, slot, Joining { ticket: *ticket, resume: *resume });
            }
            Record::Publish { ticket, name, topic, data } => {
                self.handle_publish(from, *ticket, (*name, *topic), batch.slice(*data), now);
            }
            Record::Reset => {
                if !self.resetting.is_echo(from) {
                    self.outbox.command(from).records.push(Record::Reset);
                }
            }
            Record::Listed { .. }
            | Record::Levels { .. }
            | Record::Traded { .. }
            | Record::StateChanged { .. }
            | Record::Links { .. }
            | Record::Image { .. }
            | Record::Frame { .. }
            | Record::Deflated { .. }
            | Record::Replayed { .. }
            | Record::Joined { .. }
            | Record::Gap { .. }
            | Record::Published { .. }
            | Record::Answered { .. }
            | Record::Message { .. } => {
                panic!("invariant: shards send the venue no such record: {record:?}")
            }
        }
    }

    /// All instruments, by their ids.
    #[must_use]
    pub fn instruments(&self) -> &[InstrumentState] {
        &self.instruments
    }

    /// Answers a join; `slot` is `None` where there was no room.
    fn join(&mut self, from: HomeId, slot: Option<HomeTopicSlot>, joining: Joining) {
        match slot {
            Some(slot) => self.home.join(from, slot, joining, self.outbox.data()),
            None => self.home.refuse(from, joining.ticket, self.outbox.data()),
        }
    }

    /// Tells what the intervals that have ended gathered, as far as a turn should go, and forgets topics that nobody listens
    /// to. An interval that ends before the one before is told ends when that is.
    pub fn handle_timeout(&mut self, now: Now) {
        self.handle_desk_timeout(now);
        self.handle_office_timeout(now);
        self.tell_statuses(now);
        let full_at = self.outbox.data().bytes.len() + limits::INTERVAL_BYTES_PER_TURN;
        for at in 0..self.ends.len() {
            let end = self.ends[at];
            if end.telling.is_some() {
                self.ends[at].telling = self.end_interval(&end, full_at, now);
                continue;
            }
            if now.mono_ns < end.mono_ns {
                continue;
            }
            let begun = IntervalEnd { telling: end.pending.then_some(0), ..end };
            let telling = self.end_interval(&begun, full_at, now);
            self.ends[at] =
                IntervalEnd { mono_ns: next_end(end.interval, now), pending: false, telling, ..end };
            let (derived, private) = (&mut self.derived, &mut self.private);
            self.home.sweep(now, |key| match key {
                TopicKey::Market { instrument, channel, encoding } => {
                    derived[instrument.index()].retain(|derived| !derived.tells(channel, encoding));
                }
                TopicKey::Private { account, view } => private.forget(account, &view),
                TopicKey::Client(_) => {}
            });
        }
    }

    /// Tells what an interval gathered until the batch has so many bytes; with which instrument to go on.
    fn end_interval(&mut self, end: &IntervalEnd, full_at: usize, now: Now) -> Option<usize> {
        let mut next = end.telling?;
        while next < self.instruments.len() {
            if self.outbox.data().bytes.len() >= full_at {
                return Some(next);
            }
            for derived in &mut self.derived[next] {
                if derived.interval() == end.interval {
                    derived.end_interval(&mut self.home, &self.instruments[next], self.outbox.data(), now);
                }
            }
            next += 1;
        }
        None
    }

    /// When [`MarketHome::handle_timeout`] has something to do next, on the monotonic clock; 0 for at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.ends.iter().any(|end| end.telling.is_some()) {
            return Some(0);
        }
        let ends = self.ends.iter().filter(|end| end.pending).map(|end| end.mono_ns);
        ends.chain(self.desk.poll_timeout())
            .chain(self.office.poll_timeout())
            .chain(self.statuses.poll_timeout())
            .min()
    }

    /// Ends the turn: what was said in it becomes batches for [`MarketHome::poll_mesh`].
    pub fn seal(&mut self) {
        self.outbox.settle_long();
        if !self.outbox.peers_are_behind() {
            self.home.answer_waiting(self.outbox.data());
        }
        self.outbox.seal_data();
        self.outbox.seal_commands();
        self.home.end_turn();
        self.end_work();
    }

    /// Whether joins wait for a later turn: the next, which is then to begin at once, or, while
    /// [`MarketHome::peers_are_behind`], one soon.
    #[must_use]
    pub fn joins_wait(&self) -> bool {
        self.home.waiting_count() > 0
    }

    /// Whether no join that resumes is answered until shards have taken what was sent to them.
    #[must_use]
    pub fn peers_are_behind(&self) -> bool {
        self.outbox.peers_are_behind()
    }

    /// The next batch to carry to the shards.
    pub fn poll_mesh(&mut self) -> Option<Outgoing> {
        self.outbox.poll()
    }

    /// The data queue to a shard was full.
    pub fn handle_lag(&mut self, shard: HomeId) {
        self.outbox.lag(shard);
        self.home.handle_lag(shard);
    }

    /// Bytes of memory that the market's home holds: instruments, topics, histories, batches under way.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let derived = self.home.topic_count() * size_of::<Derived>();
        self.instruments.len() * InstrumentState::MEMORY_BYTES
            + derived
            + self.home.memory_bytes()
            + self.private.memory_bytes()
            + self.sources.memory_bytes()
            + self.outbox.memory_bytes()
            + self.desk.memory_bytes()
            + self.office.memory_bytes()
    }

    /// What overload asks of this home; called at each tick while the stance is raised, and when it is no more.
    pub fn handle_stance(&mut self, stance: Stance, pressure: Pressure) {
        self.is_shedding = stance == Stance::Shedding;
        if stance != Stance::Normal {
            self.outbox.trim();
        }
        self.home.handle_stance(stance, pressure);
    }

    #[must_use]
    pub fn lagging(&self) -> HomeSet {
        self.outbox.lagging()
    }

    /// The data queue to a lagging shard has room again: it is told of the gap and given the whole state.
    pub fn handle_room(&mut self, shard: HomeId) {
        // What was said in this turn is part of the image already, so it is not for a shard that lags until here.
        self.outbox.seal_data();
        let (instruments, told) = (&self.instruments, self.statuses.told());
        self.outbox.recover(shard, |batch| {
            batch.records.extend(told.map(|links| Record::Links { links: Arc::clone(links) }));
            for (number, state) in (0..).zip(instruments) {
                let state = Arc::new(state.clone());
                batch.records.push(Record::Image { instrument: InstrumentId(number), state });
            }
        });
    }

    #[must_use]
    pub fn home_counters(&self) -> HomeCounters {
        self.home.counters
    }

    /// Bytes of all topics' histories.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.home.history_bytes()
    }

    /// How links are, as shards were last told.
    #[must_use]
    pub fn link_statuses(&self) -> Option<&Arc<[LinkStatus]>> {
        self.statuses.told()
    }

    /// Topics that are sequenced here now.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.home.topic_count()
    }

    /// An instrument's state.
    #[must_use]
    pub fn state(&self, instrument: InstrumentId) -> Option<&InstrumentState> {
        self.instruments.get(instrument.index())
    }

    /// Applies one event; whether the desk is to settle for it. What concerns an instrument that is not its source's is dropped.
    fn apply(&mut self, source: SourceId, event: &FeedEvent, levels: &[LevelUpdate], now: Now) -> bool {
        self.counters.feed_events_total += 1;
        let resolve = |instrument: &FeedInstrument| self.sources.resolve(source, *instrument);
        let told = |instrument: &FeedInstrument| self.sources.resolve_told(source, *instrument);
        match event {
            FeedEvent::Listed { definition } => self.list(source, definition, now),
            FeedEvent::Levels { instrument, levels: range, timestamp_ns } => {
                if let Some(id) = told(instrument) {
                    self.apply_updates(id, range.of(levels), *timestamp_ns, now);
                }
            }
            FeedEvent::Cleared { instrument, levels: range, timestamp_ns } => {
                if let Some(id) = told(instrument) {
                    self.replace_book(id, range.of(levels), *timestamp_ns, now);
                }
            }
            FeedEvent::Quote { instrument, bid, ask, timestamp_ns } => {
                if let Some(id) = told(instrument) {
                    self.apply_quote(id, *bid, *ask, *timestamp_ns, now);
                }
            }
            FeedEvent::Trade { instrument, price, amount, direction, parties, timestamp_ns } => {
                // What clients' orders were filled counts to the last; what others trade is told of no more.
                let is_others = *parties == Parties::default();
                let id = if is_others { told(instrument) } else { resolve(instrument) };
                let Some(id) = id else { return false };
                if !is_countable(*price, *amount) {
                    self.counters.trades_refused_total += 1;
                    return false;
                }
                let state = &self.instruments[id.index()];
                let trade = state.stamp_trade(*price, *amount, *direction, *timestamp_ns);
                self.apply_trade(id, trade, now);
                if !is_others {
                    self.handle_fill(*parties, id, &trade, now);
                    return true;
                }
            }
            // Clients' orders are no part of the market's state: what they do to it comes as trades and levels.
            FeedEvent::Report(report) => {
                let instrument = self.desk().instrument_of(report.order());
                if instrument.is_some_and(|id| self.sources.source_of(id) != source) {
                    self.counters.reports_refused_total += 1;
                    return false;
                }
                self.handle_report(report, now);
                return true;
            }
            FeedEvent::State { instrument, state, timestamp_ns } => {
                if let Some(id) = resolve(instrument) {
                    self.hear_state(id, *state, *timestamp_ns, now);
                }
            }
        }
        false
    }

    fn apply_quote(
        &mut self,
        id: InstrumentId,
        bid: Option<Level>,
        ask: Option<Level>,
        timestamp_ns: u64,
        now: Now,
    ) {
        let mut updates = std::mem::take(&mut self.updates);
        updates.clear();
        self.instruments[id.index()].quote_updates(bid, ask, &mut updates);
        self.apply_updates(id, &updates, timestamp_ns, now);
        self.updates = updates;
    }

    /// The book becomes exactly `levels`: what is not among them is deleted.
    fn replace_book(&mut self, id: InstrumentId, levels: &[LevelUpdate], timestamp_ns: u64, now: Now) {
        let mut updates = std::mem::take(&mut self.updates);
        updates.clear();
        let book = &self.instruments[id.index()].book;
        let gone = |side, level: Level| LevelUpdate { side, price: level.price, amount: Amount::ZERO };
        updates.extend(book.bids().map(|level| gone(Side::Bid, level)));
        updates.extend(book.asks().map(|level| gone(Side::Ask, level)));
        updates
            .retain(|gone| !levels.iter().any(|level| level.side == gone.side && level.price == gone.price));
        updates.extend_from_slice(levels);
        self.apply_updates(id, &updates, timestamp_ns, now);
        self.updates = updates;
    }

    fn apply_updates(&mut self, id: InstrumentId, updates: &[LevelUpdate], timestamp_ns: u64, now: Now) {
        let (state, derived) = (&mut self.instruments[id.index()], &mut self.derived[id.index()]);
        let best_before = (state.book.best_bid(), state.book.best_ask());
        let intervals_listen = derived.iter().any(Derived::gathers_levels);
        self.changes.clear();
        for update in updates {
            if intervals_listen {
                let before = state.book.amount_at(update.side, update.price);
                let touch = Touch { side: update.side, price: update.price, before };
                derived.iter_mut().for_each(|derived| derived.touch(touch));
            }
            match state.apply_level(*update) {
                LevelAction::Unchanged => {}
                action @ (LevelAction::New | LevelAction::Change | LevelAction::Delete) => {
                    self.changes.push((action, *update));
                }
            }
        }
        state.timestamp_ns = state.timestamp_ns.max(timestamp_ns);
        if self.changes.is_empty() {
            return;
        }
        self.counters.book_changes_total += 1;
        state.change_id = state.change_id.next();
        let change_id = state.change_id;
        let out = self.outbox.data();
        let start = out.levels.len();
        out.levels.extend(self.changes.iter().map(|(_, update)| *update));
        let levels = LevelRange {
            start: u32::try_from(start).expect(LEVELS_FIT),
            count: u32::try_from(self.changes.len()).expect(LEVELS_FIT),
        };
        out.records.push(Record::Levels {
            instrument: id,
            levels,
            change_id,
            timestamp_ns: state.timestamp_ns,
        });
        out.audience = self.shards;
        let best_changed = best_before != (state.book.best_bid(), state.book.best_ask());
        for derived in derived {
            derived.on_book(&mut self.home, state, &self.changes, best_changed, out, now);
            mark_pending(&mut self.ends, derived);
        }
    }

    fn apply_trade(&mut self, id: InstrumentId, trade: Trade, now: Now) {
        self.counters.trades_total += 1;
        self.tell(Record::Traded { instrument: id, trade });
        let (state, derived) = (&mut self.instruments[id.index()], &mut self.derived[id.index()]);
        state.record_trade(trade);
        for derived in derived {
            derived.on_trade(&mut self.home, state, trade, self.outbox.data(), now);
            mark_pending(&mut self.ends, derived);
        }
    }

    fn apply_state(&mut self, id: InstrumentId, to: MarketState, timestamp_ns: u64, now: Now) {
        if self.instruments[id.index()].state == to {
            return;
        }
        self.tell(Record::StateChanged { instrument: id, state: to, timestamp_ns });
        let (state, derived) = (&mut self.instruments[id.index()], &mut self.derived[id.index()]);
        state.state = to;
        state.timestamp_ns = state.timestamp_ns.max(timestamp_ns);
        for derived in derived {
            derived.on_state(&mut self.home, state, self.outbox.data(), now);
            mark_pending(&mut self.ends, derived);
        }
    }

    fn tell(&mut self, record: Record) {
        let shards = self.shards;
        let out = self.outbox.data();
        out.records.push(record);
        out.audience = shards;
    }
}

fn mark_pending(ends: &mut [IntervalEnd; 2], derived: &Derived) {
    if derived.is_pending() {
        for end in ends {
            end.pending |= end.interval == derived.interval();
        }
    }
}

/// The next whole multiple of the interval on the wall clock, told on the monotonic one.
fn next_end(interval: Interval, now: Now) -> u64 {
    let period_ns = interval.period_ns();
    now.mono_ns + period_ns - now.unix_ns % period_ns
}
