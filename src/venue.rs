//! The venue's thread: feeds and links to venues → the market's home → every shard.
//!
//! A turn: take what links have received, and what the feed has due → take what shards ask for, orders above all, and have the
//! venues execute it → apply and encode → carry the batch, and send over links. Idle, it parks in its ring until a link, the feed,
//! an interval or a shard has something.
//!
//! Home: a thread of its own (`run`), or that of the shard whose core it shares (`resident.rs`). Invariant: a turn's batch is
//! bounded in events, and the feed is asked for no more while a shard's queue is half full, so a recording played at full speed
//! is as fast as the shards are.

mod asking;
mod cluster;
mod link_log;
mod links;
mod presence;
mod resident;
mod settings;
mod storing;
mod telling;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::backend::Feed;
use crate::backend::replay::FeedError;
use crate::carry::{Carry, MeshEndpoint, Parcel, Stamps};
use crate::clock;
use crate::cluster::node::Standing;
use crate::desk::DeskCounters;
use crate::hub::batch::Batch;
use crate::hub::home::HomeCounters;
use crate::hub::market::{MarketCounters, MarketHome, Routed};
use crate::hub::overload::{Overload, Pressure, Stance};
use crate::inspect::InspectPort;
use crate::limits;
use crate::model::ids::{HomeId, SourceId};
use crate::model::market::FeedBuffer;
use crate::model::time::Now;
use crate::pressure::{Holding, PressureBoard};
use crate::pulse::Pulse;
use crate::ring::{Ring, RingConfig, RingError, Wait};
use crate::shard::{Spin, home};
use crate::slot::Slot;
use crate::stop::Stop;
use crate::store::StoreHandle;
use crate::switch::HaltSwitch;
use crate::telemetry::Board;
use crate::telemetry::latency::{Recorder, Stage};

use self::asking::Asking;
pub use self::cluster::{ClusterSetup, OpenFeed};
use self::cluster::{Clustered, furnish};
use self::links::Links;
pub use self::links::{LinkSetup, LinksSetup, Way};
pub(crate) use self::resident::Resident;
pub use self::settings::VenueSettings;
use self::storing::Storing;

/// What the venue is made from.
#[derive(Debug)]
pub struct VenueSetup {
    pub home: HomeId,
    pub shards: u8,
    pub settings: VenueSettings,
    /// Others, when they are read again.
    pub newer_settings: Arc<Slot<VenueSettings>>,
    /// Other links, before the settings that they come with.
    pub newer_links: Receiver<LinksSetup>,
    pub mesh: MeshEndpoint,
    /// With a place for each home.
    pub pressure: Arc<PressureBoard>,
    /// The venue's own.
    pub board: Arc<Board>,
    pub recorder: Recorder,
    /// The operator's kill switch.
    pub switch: Arc<HaltSwitch>,
    /// What operators ask of messages.
    pub inspect: InspectPort,
    pub feed: Feed,
    pub links: LinksSetup,
    /// For what is to be durable; none where nothing is.
    pub store: Option<StoreHandle>,
    /// None of a node by itself.
    pub cluster: Option<ClusterSetup>,
    /// Of this thread.
    pub pulse: Arc<Pulse>,
    /// Set once, then the doorbell is rung.
    pub stop: Arc<Stop>,
}

impl VenueSetup {
    fn ring_config() -> RingConfig {
        links::ring_config()
    }
}

/// What the venue did, told at its end.
#[derive(Clone, Debug)]
pub struct VenueReport {
    pub market: MarketCounters,
    pub topics: HomeCounters,
    pub desk: DeskCounters,
}

impl fmt::Display for VenueReport {
    /// For people; its `Debug` has every counter.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VenueReport { market, topics, desk } = self;
        write!(
            out,
            "the venue has ended: {} events of feed and links, {} told; {} requests to the desk, {} refused, {} orders, {} fills",
            market.feed_events_total,
            topics.events_stamped_total,
            desk.asks_total,
            desk.refusals_total,
            desk.orders_total,
            desk.fills_total,
        )
    }
}

/// Why the venue ended.
#[derive(Debug)]
pub enum VenueError {
    Ring(RingError),
    Turn(std::io::Error),
    Feed(FeedError),
}

impl fmt::Display for VenueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VenueError::Ring(error) => write!(f, "no net ring: {error}"),
            VenueError::Turn(error) => write!(f, "the net ring failed: {error}"),
            VenueError::Feed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for VenueError {}

/// Runs the venue until it is told to stop; `ready` is called once the first instruments are on their way.
///
/// # Errors
/// The ring cannot go on, or the feed has something that it should not have.
pub async fn run(setup: VenueSetup, ready: impl FnOnce()) -> Result<VenueReport, VenueError> {
    let pulse = Arc::clone(&setup.pulse);
    let ring =
        Ring::new(&VenueSetup::ring_config(), setup.mesh.doorbell().clone()).map_err(VenueError::Ring)?;
    let mut venue = Venue::new(setup, ring).map_err(VenueError::Ring)?;
    let mut ready = Some(ready);
    let mut wait = Wait::Poll;
    loop {
        venue.ring.turn(wait, venue.now.mono_ns).map_err(VenueError::Turn)?;
        if wait != Wait::Poll {
            venue.mesh.wake();
        }
        venue.turn()?;
        venue.note_turn();
        pulse.beat();
        if let Some(ready) = ready.take() {
            ready();
        }
        if venue.stop.is_told() && venue.stop.is_deserted() && venue.may_leave() {
            venue.take_last_batches();
            venue.send_last_batches();
            venue.take_leave()?;
            let report = venue.report();
            venue.recorder.finish();
            return Ok(report);
        }
        wait = venue.next_wait();
    }
}

struct Venue {
    /// An empty one while the node follows another.
    market: MarketHome,
    cluster: Option<Clustered>,
    settings: VenueSettings,
    shards: u8,
    feed: Feed,
    links: Links,
    store: Option<Storing>,
    buffer: FeedBuffer,
    ring: Ring,
    mesh: MeshEndpoint,
    carry: Carry,
    pressure: Arc<PressureBoard>,
    board: Arc<Board>,
    recorder: Recorder,
    /// The turn under way has done something.
    is_busy: bool,
    board_due_ns: u64,
    switch: Arc<HaltSwitch>,
    asking: Asking,
    overload: Overload,
    pressure_due_ns: u64,
    spin: Spin,
    newer_settings: Arc<Slot<VenueSettings>>,
    newer_links: Receiver<LinksSetup>,
    stop: Arc<Stop>,
    now: Now,
    /// A shard's batch of which a turn did so many records and no more.
    begun: Option<(HomeId, Arc<Batch>, usize)>,
    finished_told: bool,
    /// Links have received more than a turn takes.
    is_owing: bool,
    /// Of the orders that nobody could cancel, how many the log tells of.
    given_up_told: u64,
    turns_total: u64,
    parks_total: u64,
}

impl Venue {
    fn new(setup: VenueSetup, mut ring: Ring) -> Result<Venue, RingError> {
        let now = clock::now();
        let settings = setup.settings;
        let mut market = MarketHome::new(setup.home, setup.shards, settings.history, now);
        let cluster = setup.cluster.map(Clustered::new);
        // In a cluster there is none before this node has the market.
        let feed = if cluster.is_some() { Feed::None } else { setup.feed };
        furnish(&mut market, &settings, &feed, now);
        let mut links = Links::new(setup.links, &mut ring, &mut market, now)?;
        if cluster.is_some() {
            setup.switch.show_standing(Standing::Alone);
            links.rest(&mut market, now);
        }
        let store = setup.store.map(|handle| Storing::new(handle, &mut market, now));
        Ok(Venue {
            market,
            cluster,
            shards: setup.shards,
            feed,
            links,
            store,
            buffer: FeedBuffer::default(),
            ring,
            mesh: setup.mesh,
            carry: Carry::default(),
            pressure: setup.pressure,
            board: setup.board,
            recorder: setup.recorder,
            is_busy: false,
            board_due_ns: now.mono_ns,
            switch: setup.switch,
            asking: Asking::new(setup.inspect),
            overload: Overload::new(settings.overload),
            pressure_due_ns: now.mono_ns,
            spin: settings.spin,
            settings,
            newer_settings: setup.newer_settings,
            newer_links: setup.newer_links,
            stop: setup.stop,
            now,
            begun: None,
            finished_told: false,
            is_owing: false,
            given_up_told: 0,
            turns_total: 0,
            parks_total: 0,
        })
    }

    fn turn(&mut self) -> Result<(), VenueError> {
        self.now = clock::now();
        self.turns_total += 1;
        self.take_settings();
        self.take_events();
        self.take_cluster();
        if self.follows() {
            self.turn_following();
            return Ok(());
        }
        self.take_store();
        self.take_switch();
        self.take_pressure();
        if self.now.mono_ns >= self.board_due_ns {
            self.tell_board();
        }
        // The feed first: what is executed then has a time that is not before the order's.
        self.take_feed()?;
        self.take_batches();
        self.market.handle_timeout(self.now);
        self.take_question();
        self.links.handle_timeout(&mut self.ring, &mut self.market, self.now);
        self.execute();
        self.links.flush(&mut self.ring, &mut self.market, self.now);
        self.send_store();
        self.say();
        self.send_wishes();
        self.links.tell_news(&mut self.market, self.now);
        Ok(())
    }

    /// What the ring has, up to a bound on received bytes; what is complete is always heard of.
    fn take_events(&mut self) {
        let mut taken_bytes = 0;
        loop {
            let event = if taken_bytes < limits::LINK_BYTES_PER_TURN {
                self.ring.next_event()
            } else {
                self.ring.next_completion()
            };
            let Some(event) = event else { break };
            self.is_busy = true;
            taken_bytes += self.links.handle_event(event, &mut self.market, self.now);
        }
        self.is_owing = taken_bytes >= limits::LINK_BYTES_PER_TURN;
    }

    /// What the operator has asked for since the last turn: before any order that is looked at in this one.
    fn take_switch(&mut self) {
        if let Some(is_on) = self.switch.take() {
            self.market.halt_everybody(is_on, self.now);
            self.switch.done();
        }
    }

    /// Says what this thread holds, and has the market's home keep less while the process is short of memory.
    fn take_pressure(&mut self) {
        if self.now.mono_ns < self.pressure_due_ns {
            return;
        }
        self.pressure_due_ns = self.now.mono_ns + limits::PRESSURE_TICK_NS;
        let of_cluster = self.cluster.as_ref().map_or(0, Clustered::memory_bytes);
        let memory_bytes = (self.market.memory_bytes() + of_cluster) as u64;
        self.pressure.tell(self.market_place(), Holding { memory_bytes, costliest_bytes: 0 });
        let Holding { memory_bytes, costliest_bytes } = self.pressure.total();
        let pressure = Pressure { memory_bytes, costliest_bytes, turn_ns: 0 };
        let before = self.overload.stance();
        let stance = self.overload.observe(pressure, self.now.mono_ns);
        if before != Stance::Normal || stance != Stance::Normal {
            self.market.handle_stance(stance, pressure);
        }
        self.tell_given_up();
    }

    /// Somebody has to look at orders that the desk was to cancel and could not; at most a line a tick.
    fn tell_given_up(&mut self) {
        let given_up = self.market.desk_counters().cancels_given_up_total;
        let more = given_up - std::mem::replace(&mut self.given_up_told, given_up);
        if more > 0 {
            log::warn!(
                "{more} orders that were to be cancelled are open: their venue refused {} times each",
                limits::CANCELS_REFUSED_MAX
            );
        }
    }

    /// Its place on the board comes after the shards'.
    fn market_place(&self) -> usize {
        usize::from(self.shards)
    }

    /// What shards ask for, up to a bound on batches and on what is done for clients; the rest waits for the next turn.
    fn take_batches(&mut self) {
        self.hear_rest();
        self.execute();
        let mut taken_ns = None;
        for _ in 0..limits::BATCHES_PER_TURN_MAX {
            if self.market.has_done_enough() {
                break;
            }
            let Some((from, batch, mut done)) = self.next_batch(&mut taken_ns) else { break };
            self.is_busy = true;
            while done < batch.records.len() && !self.market.has_done_enough() {
                self.market.handle_record(from, &batch, &batch.records[done], self.now);
                // Before the next one, so that what is asked is judged by what came of all that was asked before.
                self.execute();
                done += 1;
            }
            if done < batch.records.len() {
                self.begun = Some((from, batch, done));
            }
        }
    }

    /// The batch that a turn has begun, or the next that a shard has sent.
    fn next_batch(&mut self, taken_ns: &mut Option<u64>) -> Option<(HomeId, Arc<Batch>, usize)> {
        if let Some(begun) = self.begun.take() {
            return Some(begun);
        }
        let (from, _, Parcel { batch, stamps }) = self.mesh.receive()?;
        let taken_ns = *taken_ns.get_or_insert_with(|| clock::now().mono_ns);
        self.recorder.record(Stage::Mesh, taken_ns.saturating_sub(stamps.sealed_ns));
        Some((home(from), batch, 0))
    }

    /// How long the turn took, if it did something.
    fn note_turn(&mut self) {
        if std::mem::take(&mut self.is_busy) {
            self.recorder.record(Stage::Turn, clock::now().mono_ns - self.now.mono_ns);
        }
        self.recorder.hand_over();
    }

    /// What the feed has done already is known before anything is decided by it.
    fn hear_rest(&mut self) {
        self.buffer.clear();
        self.feed.tell_rest(&mut self.buffer);
        if !self.buffer.events.is_empty() {
            self.market.handle_feed(SourceId::FEED, &self.buffer, self.now);
        }
    }

    /// Has the venue do what the desk asks of it, as far as the turn goes.
    fn execute(&mut self) {
        while !self.market.has_done_enough()
            && let Some(routed) = self.market.poll_request(self.now)
        {
            self.carry_out(&routed);
        }
    }

    fn carry_out(&mut self, routed: &Routed) {
        if routed.source != SourceId::FEED {
            let owned = self.cluster.as_ref().map_or(0, Clustered::owned_fence);
            self.links.handle_request(routed, owned, &mut self.market, self.now);
            return;
        }
        self.buffer.clear();
        self.feed.handle_request(routed.instrument, &routed.request, self.now, &mut self.buffer);
        self.market.handle_feed(SourceId::FEED, &self.buffer, self.now);
    }

    /// What shards said before they left: whose connections are gone, and what is to be cancelled for that.
    fn take_last_batches(&mut self) {
        let mut begun = self.begun.take();
        while let Some((from, batch, done)) = begun
            .take()
            .or_else(|| self.mesh.receive().map(|(from, _, parcel)| (home(from), parcel.batch, 0)))
        {
            // Of a node that follows they are the owner's, which hears that this one is gone.
            let records = if self.follows() { &[] } else { &batch.records[done..] };
            for record in records {
                self.market.handle_record(from, &batch, record, self.now);
                self.execute_all();
            }
        }
        self.execute_all();
    }

    fn execute_all(&mut self) {
        while let Some(routed) = self.market.poll_request(self.now) {
            self.carry_out(&routed);
        }
    }

    /// Says farewell over links, behind all that was to be sent, and waits a moment for it to be gone.
    fn take_leave(&mut self) -> Result<(), VenueError> {
        self.links.stop(&mut self.market, self.now);
        let by_ns = self.now.mono_ns + limits::LINK_CLOSING_NS;
        while self.links.are_connected() && self.now.mono_ns < by_ns {
            self.links.flush(&mut self.ring, &mut self.market, self.now);
            let wait = Wait::Until(self.links.poll_timeout().unwrap_or(by_ns).min(by_ns));
            self.ring.turn(wait, self.now.mono_ns).map_err(VenueError::Turn)?;
            self.now = clock::now();
            self.take_events();
        }
        // What was closed last has its bytes with the kernel only once the ring has turned.
        self.ring.turn(Wait::Poll, self.now.mono_ns).map_err(VenueError::Turn)
    }

    /// What the feed has due, unless a shard is behind.
    fn take_feed(&mut self) -> Result<(), VenueError> {
        if self.shard_is_behind() {
            return Ok(());
        }
        self.buffer.clear();
        self.feed
            .poll(self.now, &mut self.buffer, limits::FEED_EVENTS_PER_TURN_MAX)
            .map_err(VenueError::Feed)?;
        self.is_busy |= !self.buffer.events.is_empty();
        self.market.handle_feed(SourceId::FEED, &self.buffer, self.now);
        if self.feed.is_finished() && !self.finished_told {
            self.finished_told = true;
            if let Some(progress) = self.feed.progress() {
                log::info!(
                    "the replay has ended: {} records read, {} events told",
                    progress.records_read,
                    progress.events
                );
            }
        }
        Ok(())
    }

    fn shard_is_behind(&self) -> bool {
        (0..self.shards)
            .any(|shard| self.mesh.data_free(usize::from(shard)) < limits::MESH_DATA_BATCHES_MAX / 2)
    }

    fn say(&mut self) {
        self.market.seal();
        for shard in self.market.lagging().iter() {
            if self.mesh.data_free(shard.index()) > limits::MESH_DATA_BATCHES_MAX / 2 {
                self.market.handle_room(shard);
            }
        }
        if self.carry.is_waiting() {
            self.carry.retry(&mut self.mesh);
        }
        self.tell_own();
    }

    /// Carries what the market has sealed.
    fn tell_own(&mut self) {
        let (stamped_ns, mut sealed_ns) = (self.now.mono_ns, None);
        while let Some(mut outgoing) = self.market.poll_mesh() {
            self.is_busy = true;
            self.take_bridged(&mut outgoing);
            let sealed_ns = *sealed_ns.get_or_insert_with(|| clock::now().mono_ns);
            self.carry.push(&mut self.mesh, &outgoing, Stamps { stamped_ns, sealed_ns });
            // Told before the next batch: that one must not get through behind one that did not.
            while let Some(shard) = self.carry.poll_lag() {
                self.market.handle_lag(shard);
            }
        }
        self.mesh.ring_doorbells();
    }

    fn report(&self) -> VenueReport {
        VenueReport {
            market: self.market.counters,
            topics: self.market.home_counters(),
            desk: self.market.desk_counters(),
        }
    }

    /// How long the next turn may wait for something to happen.
    fn next_wait(&mut self) -> Wait {
        let due = self.due();
        if due == Wait::Poll {
            return due;
        }
        self.mesh.prepare_sleep();
        if !self.mesh.may_sleep() {
            return Wait::Poll;
        }
        self.parks_total += 1;
        self.tell_board();
        due
    }

    /// When the next turn is due whether or not somebody says something.
    fn due(&self) -> Wait {
        let now_ns = self.now.mono_ns;
        let store_owes = self.store.as_ref().is_some_and(Storing::is_owing);
        if self.begun.is_some() || self.is_owing || store_owes || self.market.has_requests() {
            return Wait::Poll;
        }
        match self.spin {
            Spin::Always => return Wait::Poll,
            Spin::ForNs(_) if self.market.joins_wait() && !self.market.peers_are_behind() => {
                return Wait::Poll;
            }
            Spin::ForNs(_) => {}
        }
        let behind = self.shard_is_behind() || self.carry.is_waiting() || !self.market.lagging().is_empty();
        let feed = self.feed.poll_timeout().filter(|_| !behind);
        // Others may need the memory that histories hold, whether or not the feed has something.
        let look_ns = match self.overload.stance() {
            Stance::Normal => now_ns + limits::PRESSURE_LOOK_NS,
            Stance::Guarded | Stance::Shedding => self.pressure_due_ns,
        };
        let store_is_full = self.store.as_ref().is_some_and(Storing::waits);
        // Nobody rings when the last client of all goes.
        let retry = (behind || store_is_full || self.market.joins_wait() || self.stop.is_told())
            .then_some(now_ns + limits::RETRY_NS);
        let cluster = match self.cluster.as_ref().map(|cluster| cluster.poll_timeout(self.now)) {
            Some(None) => return Wait::Poll,
            Some(due) => due,
            None => None,
        };
        // That of a node that follows is never due: nobody is told of it.
        let market = if self.follows() { None } else { self.market.poll_timeout() };
        let deadlines = [cluster, feed, market, self.links.poll_timeout(), retry, Some(look_ns)];
        let deadline = deadlines.into_iter().flatten().min();
        match deadline {
            Some(deadline_ns) if deadline_ns <= now_ns => Wait::Poll,
            Some(deadline_ns) => Wait::Until(deadline_ns),
            None => Wait::Forever,
        }
    }
}
