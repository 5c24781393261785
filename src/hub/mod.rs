//! One shard's brain: connections, subscriptions, fan-out, requests. PURE: no socket, clock, thread or randomness.
//!
//! The driver's contract. `handle_*` takes input, `poll_*` gives output. After each `handle_*` the driver drains
//! [`Hub::poll_effect`], and answers an [`Effect::Name`] by [`Hub::handle_named`] while it does; what [`Hub::poll_question`] gives is answered by [`Hub::handle_verdict`], what [`Hub::poll_call`] gives by
//! [`Hub::handle_outcome`], until [`Hub::poll_cancelled`] says that nobody waits for it, which is drained before each
//! [`Hub::poll_call`]: a call may have the place of one that was cancelled. Once a turn, after its
//! last `handle_*`, it calls [`Hub::seal`] and drains [`Hub::poll_mesh`]; only then do messages of this turn reach
//! subscribers, those on this shard included. Then it flushes: for each connection of [`Hub::poll_ready`], the bytes of
//! [`Hub::poll_transmit`], and [`Hub::handle_sent`] once they are written. `now` never goes back. While
//! [`Hub::joins_wait`] there are turns whether or not there is input: the next at once, or, while
//! [`Hub::peers_are_behind`], soon.
//!
//! Reading order: `batch` (what travels), `home` and `market` (who sequences), `topics` and `egress` (who listens and
//! what waits), then the files that put them together: `connection`, `introduction`, `lower_layers`, `requests`, `http_api`, `login`, `subscribe`,
//! `unsubscribe`, `publish`, `orders`, `order_entry`, `messages`, `calls`, `fanout`, `transmit`.

pub mod batch;
mod batch_reply;
mod cache;
pub mod calls;
mod connection;
mod control_frame;
pub mod counters;
pub mod deflation;
mod derived;
mod echo;
pub mod effect;
mod egress;
mod encoding;
mod fanout;
mod farewell;
mod frame_queue;
pub mod history;
pub mod home;
mod http_api;
pub mod incident;
mod inflating;
pub mod inspect;
mod intake;
mod introduction;
mod length_prefixed;
pub mod listener;
mod log;
mod login;
mod lower_layers;
pub mod market;
pub mod marks;
mod memory;
mod messages;
mod notification;
mod order_entry;
mod orders;
pub(crate) mod outbox;
pub mod overload;
mod permissions;
mod pipes;
pub mod private;
mod publish;
mod rates;
mod reading;
mod reconfigure;
mod requests;
pub mod resetting;
mod session;
mod settling;
mod shed;
mod subscribe;
#[cfg(test)]
mod tests;
mod text_frame;
mod timers;
mod topics;
mod transmit;
mod unsubscribe;
mod work;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::auth::{GrantId, Keyring, Patterns};
use crate::http::HeadLimits;
use crate::limits;
use crate::model::ids::{ConnId, HomeId, Position};
use crate::model::time::Now;
use crate::ws::deflate::Inflaters;
use crate::ws::receiver::ReceiveLimits;

pub use cache::Cache;
pub use calls::CallLimits;
pub use calls::routes::{BackendTerms, Caching, ProcessorTerms, Route, Routes, RoutesFault, Sharing};
pub use counters::HubCounters;
pub use deflation::{ChannelKind, ChannelKinds, Deflation};
pub use effect::{Effect, Ending};
pub use egress::{Urgency, WaitingBytes};
pub use incident::{Closing, Declined, Incident, IncidentCounts};
pub use listener::{Arrival, Echo, Framing, ListenerPolicy, Origins, Way};
pub use login::LoginQuestion;
pub use pipes::PipeWord;
pub use rates::{RateLimits, Rates};

use batch::{Batch, Outgoing, PublishRefusal};
use batch_reply::PendingBatch;
use calls::Calls;
use egress::Egress;
use history::HistoryLimits;
use home::{Home, HomeCounters};
use inflating::Inflating;
use inspect::Traced;
use introduction::Forwardings;
use login::PendingLogin;
use marks::{Marks, Told};
use messages::{PendingMessageAsk, Processors};
use orders::PendingAsk;
use outbox::Outbox;
use overload::{Overload, OverloadMarks};
use pipes::Pipes;
use publish::PendingPublish;
use session::Session;
use subscribe::{Join, PendingSubscribe};
use timers::Wheel;
use topics::Topics;
use work::Work;

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    Anyone,
    /// Who has logged in by a key that may.
    ByKey,
    Nobody,
}

/// What the configuration sets of a hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Of an upgrade request.
    pub head: HeadLimits,
    pub receive: ReceiveLimits,
    pub rates: RateLimits,
    /// Bytes of unsent frames on one connection; beyond this a lossless subscriber is closed.
    pub queued_bytes_max: u32,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Requests of one connection that wait for another home.
    pub requests_pending_max: u16,
    /// Between the connection and the end of its upgrade request, in nanoseconds.
    pub handshake_timeout_ns: u64,
    /// Between the first byte of a message and its last, in nanoseconds; 0 for no limit.
    pub message_timeout_ns: u64,
    /// Without a byte received, in nanoseconds; 0 for no limit.
    pub idle_timeout_ns: u64,
    /// For the peer to take a close frame, and for one send to be taken at all, in nanoseconds.
    pub close_timeout_ns: u64,
    pub write_timeout_ns: u64,
    pub history: HistoryLimits,
    /// When the gateway takes on less.
    pub overload: OverloadMarks,
    pub publishing: Publishing,
    /// Channels that everybody may subscribe to, logged in or not.
    pub public_subscribe: Patterns,
    /// Log-ins that one connection may try; 0 sets no limit.
    pub logins_per_minute_max: u32,
    /// The keys at the start.
    pub keyring: Arc<Keyring>,
    /// Segments of the frame log that are made at the start.
    pub log_segments_ready: usize,
    pub deflation: Deflation,
    /// Whose methods backends have.
    pub routes: Arc<Routes>,
    pub calls: CallLimits,
    /// Whether `/mcp` is served: control answers what comes there.
    pub serves_mcp: bool,
    /// Whether the market's home sequences what clients publish, as where it is one for several nodes; else each topic has its shard.
    pub topics_at_market: bool,
    /// One for each listener of the ring, in its order; behind them those for connections from within the process.
    pub listeners: Vec<ListenerPolicy>,
}

/// As an empty configuration file has it.
impl Default for HubConfig {
    fn default() -> HubConfig {
        HubConfig {
            head: HeadLimits::default(),
            receive: ReceiveLimits {
                frame_bytes_max: 64 * 1024,
                message_bytes_max: 64 * 1024,
                fragments_max: 1024,
            },
            rates: RateLimits::default(),
            queued_bytes_max: 1024 * 1024,
            subscriptions_max: 1024,
            requests_pending_max: 256,
            handshake_timeout_ns: 5_000_000_000,
            message_timeout_ns: 30_000_000_000,
            idle_timeout_ns: 120_000_000_000,
            close_timeout_ns: 2_000_000_000,
            write_timeout_ns: 30_000_000_000,
            history: HistoryLimits {
                frames_max: 4096,
                bytes_max: 1024 * 1024,
                replayed_bytes_per_turn: limits::REPLAYED_BYTES_PER_TURN,
            },
            overload: OverloadMarks::default(),
            publishing: Publishing::Anyone,
            public_subscribe: Patterns::ANY,
            logins_per_minute_max: 20,
            keyring: Arc::default(),
            log_segments_ready: 0,
            deflation: Deflation::default(),
            routes: Arc::default(),
            calls: CallLimits::default(),
            serves_mcp: false,
            topics_at_market: false,
            listeners: vec![ListenerPolicy::default()],
        }
    }
}

/// What a hub holds at one moment; all of it is 0 when nobody is connected and every topic has been forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Occupancy {
    pub sessions: usize,
    pub pattern_sessions: usize,
    pub topics: usize,
    pub subscriptions: usize,
    pub joins: usize,
    pub subscribes: usize,
    pub publishes: usize,
    pub asks: usize,
    /// Requests that wait for a backend's answer, and calls that are under way for them.
    pub calls_waiting: usize,
    pub calls: usize,
    pub batches: usize,
    pub batched_bytes: usize,
    /// Log-ins that wait for their verdict.
    pub logins: usize,
    pub login_bytes: usize,
    pub session_members: usize,
    pub queued_frame_chunks: usize,
    pub logged_frames_referenced: usize,
    pub held_reply_bytes: usize,
    pub held_message_bytes: usize,
    pub unfinished_bytes: usize,
    pub value_bytes: usize,
    pub home_topics: usize,
    /// Joins and leaves that wait at the shard's own home.
    pub home_waiting: usize,
    /// Inflaters that incomplete messages have.
    pub inflaters: usize,
}

impl Occupancy {
    /// The sum over all kinds.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.sessions
            + self.pattern_sessions
            + self.topics
            + self.subscriptions
            + self.joins
            + self.subscribes
            + self.publishes
            + self.asks
            + self.calls_waiting
            + self.calls
            + self.batches
            + self.batched_bytes
            + self.logins
            + self.login_bytes
            + self.session_members
            + self.queued_frame_chunks
            + self.logged_frames_referenced
            + self.held_reply_bytes
            + self.held_message_bytes
            + self.unfinished_bytes
            + self.value_bytes
            + self.home_topics
            + self.home_waiting
            + self.inflaters
    }
}

/// A slab whose keys carry a generation, for answers that come back later.
#[derive(Debug)]
struct Tickets<T> {
    entries: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Tickets<T> {
    fn default() -> Tickets<T> {
        Tickets { entries: Slab::new(), generation: 0 }
    }
}

impl<T> Tickets<T> {
    fn issue(&mut self, entry: T) -> batch::Ticket {
        self.generation = self.generation.wrapping_add(1);
        let slot = topics::narrow(self.entries.insert((self.generation, entry)));
        batch::Ticket { slot, generation: self.generation }
    }

    fn redeem(&mut self, ticket: batch::Ticket) -> Option<T> {
        let (generation, _) = self.entries.get(ticket.slot as usize)?;
        (*generation == ticket.generation).then(|| self.entries.remove(ticket.slot as usize).1)
    }

    fn peek_mut(&mut self, ticket: batch::Ticket) -> Option<&mut T> {
        let (generation, entry) = self.entries.get_mut(ticket.slot as usize)?;
        (*generation == ticket.generation).then_some(entry)
    }

    fn peek(&self, ticket: batch::Ticket) -> Option<&T> {
        let (generation, entry) = self.entries.get(ticket.slot as usize)?;
        (*generation == ticket.generation).then_some(entry)
    }
}

/// See the file's head.
#[derive(Debug)]
pub struct Hub {
    me: HomeId,
    shards: u8,
    config: HubConfig,
    sessions: Vec<Option<Box<Session>>>,
    forwardings: Forwardings,
    egress: Egress,
    topics: Topics,
    cache: Cache,
    /// Of the client topics that hash to this shard.
    home: Home,
    outbox: Outbox,
    wheel: Wheel,
    due: Vec<u32>,
    joins: Tickets<Join>,
    subscribes: Tickets<PendingSubscribe>,
    publishes: Tickets<PendingPublish>,
    /// What came of what an operator published, until it is taken.
    operator_published: Option<Result<Position, PublishRefusal>>,
    asks: Tickets<PendingAsk>,
    message_asks: Tickets<PendingMessageAsk>,
    processors: Processors,
    calls: Calls,
    pipes: Pipes,
    /// Of messages, in this turn.
    deflated_bytes: usize,
    batches: Tickets<PendingBatch>,
    /// Bytes that the replies of those have gathered.
    batched_bytes: usize,
    logins: Tickets<PendingLogin>,
    /// Bytes that those hold, here or at the authority.
    login_bytes: usize,
    /// Who is in which named session.
    session_members: BTreeSet<(GrantId, ConnId)>,
    /// For the authority; at most one a connection, and one for each that is gone and held a grant.
    questions: VecDeque<LoginQuestion>,
    /// The newest keys.
    keyring: Arc<Keyring>,
    /// Sessions with `*` subscriptions.
    pattern_sessions: BTreeSet<ConnId>,
    effects: VecDeque<Effect>,
    /// Connections to be closed as slow consumers once the fan-out at hand is through.
    overflowed: Vec<(ConnId, Closing)>,
    /// Connections whose request over HTTP was answered: their next may be looked at.
    answered: Vec<ConnId>,
    /// Book subscriptions that are to be told again by a snapshot.
    outrun: Vec<u32>,
    inflaters: Inflaters,
    inflating: Inflating,
    work: Work,
    /// A reply's payload while it is written, and its frame.
    scratch: Vec<u8>,
    /// [`Hub::handle_shutdown`] was called: who comes now is turned away.
    stopping: bool,
    /// Those that are then to be sent away.
    leaving: Vec<ConnId>,
    /// The slot from which on it is still to be said, to those who listen to it, that the server is about to go.
    untold: usize,
    /// When topics that nobody listens to are looked for next.
    sweep_due_ns: u64,
    overload: Overload,
    /// Connections whose sends are timed.
    traced: Vec<Traced>,
    /// What waits for the costliest slow consumer, as of the last look at a raised level.
    costliest_bytes: u64,
    /// When the shard is to say again what weighs on it.
    pressure_due_ns: u64,
    /// Of all sessions' unfinished requests and messages.
    unfinished_bytes: usize,
    now: Now,
    counters: HubCounters,
    incidents: IncidentCounts,
    marks: Marks,
}

impl Hub {
    /// The hub of shard `me` of `shards`; the market's home is the one after the last shard.
    #[must_use]
    pub fn new(me: HomeId, shards: u8, config: HubConfig, now: Now) -> Hub {
        let mut home = Home::new(me, config.history);
        home.set_deflation(config.deflation);
        let overload = Overload::new(config.overload);
        let egress = Egress::new(config.log_segments_ready);
        let keyring = Arc::clone(&config.keyring);
        let calls = Calls::new(config.calls, now.mono_ns);
        let mut hub = Hub {
            me,
            shards,
            config,
            sessions: Vec::new(),
            forwardings: Forwardings::default(),
            egress,
            topics: Topics::default(),
            cache: Cache::default(),
            home,
            outbox: Outbox::new(),
            wheel: Wheel::new(now.mono_ns),
            due: Vec::new(),
            joins: Tickets::default(),
            subscribes: Tickets::default(),
            publishes: Tickets::default(),
            operator_published: None,
            asks: Tickets::default(),
            message_asks: Tickets::default(),
            processors: Processors::default(),
            calls,
            pipes: Pipes::default(),
            deflated_bytes: 0,
            batches: Tickets::default(),
            logins: Tickets::default(),
            login_bytes: 0,
            session_members: BTreeSet::new(),
            questions: VecDeque::new(),
            keyring,
            batched_bytes: 0,
            pattern_sessions: BTreeSet::new(),
            effects: VecDeque::new(),
            overflowed: Vec::new(),
            answered: Vec::new(),
            outrun: Vec::new(),
            // One more than may stay: who takes it is no more than a step ahead of who makes room.
            inflaters: Inflaters::new(limits::INCOMPLETE_DEFLATED_MAX + 1),
            inflating: Inflating::default(),
            work: Work::default(),
            scratch: Vec::new(),
            stopping: false,
            leaving: Vec::new(),
            untold: 0,
            sweep_due_ns: now.mono_ns,
            overload,
            traced: Vec::new(),
            costliest_bytes: 0,
            pressure_due_ns: now.mono_ns,
            unfinished_bytes: 0,
            now,
            counters: HubCounters::default(),
            incidents: IncidentCounts::default(),
            marks: Marks::default(),
        };
        hub.plan_processors();
        hub
    }

    #[must_use]
    pub fn counters(&self) -> HubCounters {
        let ((entries, bytes), [evicted, expired, invalidated]) =
            (self.calls.cached(), self.calls.cache_losses());
        HubCounters {
            calls_under_way: self.calls.under_way_count() as u64,
            call_cache_entries: entries as u64,
            call_cache_bytes: bytes as u64,
            call_cache_evicted_total: evicted,
            call_cache_expired_total: expired,
            call_cache_invalidated_total: invalidated,
            ..self.counters
        }
    }

    /// Messages put into queues, one per subscriber.
    #[must_use]
    pub fn deliveries_total(&self) -> u64 {
        self.counters.deliveries_total
    }

    /// Messages of clients that were looked at.
    #[must_use]
    pub fn messages_total(&self) -> u64 {
        self.counters.messages_received_total
    }

    /// What has been finished, for whoever measures how long it took.
    pub fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }

    /// Events that went into queues since this was last asked.
    pub fn take_told(&mut self) -> Told {
        self.marks.take_told()
    }

    /// Whether frames of events wait in some queue; those of a send under way do not.
    #[must_use]
    pub fn has_frames_waiting(&self) -> bool {
        self.egress.log.reference_count() > 0
    }

    /// Why connections were refused or closed from here, and how often.
    #[must_use]
    pub fn incidents(&self) -> IncidentCounts {
        self.incidents
    }

    #[must_use]
    pub fn home_counters(&self) -> HomeCounters {
        self.home.counters
    }

    /// Topics that have their home here.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.home.topic_count()
    }

    /// Bytes of their histories.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.home.history_bytes()
    }

    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Connections that are open or closing.
    #[must_use]
    pub fn connection_count(&self) -> u64 {
        self.counters.connections_opened_total - self.counters.connections_closed_total
    }

    /// What is held at the moment.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            sessions: self.sessions.iter().flatten().count(),
            pattern_sessions: self.pattern_sessions.len(),
            topics: self.topics.topics.len(),
            subscriptions: self.topics.subscriptions.len(),
            joins: self.joins.entries.len(),
            subscribes: self.subscribes.entries.len(),
            publishes: self.publishes.entries.len(),
            asks: self.asks.entries.len() + self.message_asks.entries.len(),
            calls_waiting: self.calls.waiting_count(),
            calls: self.calls.under_way_count(),
            batches: self.batches.entries.len(),
            batched_bytes: self.batched_bytes,
            logins: self.logins.entries.len(),
            login_bytes: self.login_bytes,
            session_members: self.session_members.len(),
            queued_frame_chunks: self.egress.chunks_in_use(),
            logged_frames_referenced: self.egress.log.reference_count(),
            held_reply_bytes: self.egress.held_bytes_total(),
            held_message_bytes: self.egress.message_bytes_total(),
            unfinished_bytes: self.unfinished_bytes,
            value_bytes: self.topics.value_bytes(),
            home_topics: self.home.topic_count(),
            home_waiting: self.home.waiting_count(),
            inflaters: self.inflaters.lent(),
        }
    }

    /// Bytes that unread replies and begun frames of all connections hold.
    #[must_use]
    pub fn held_reply_bytes(&self) -> usize {
        self.egress.held_bytes_total()
    }

    /// Bytes of frames that wait in a connection's data queue.
    #[must_use]
    pub fn queued_bytes(&self, conn: ConnId) -> usize {
        self.egress.queued_bytes(conn)
    }

    /// Bytes that wait for a connection, by lane.
    #[must_use]
    pub fn waiting_bytes(&self, conn: ConnId) -> WaitingBytes {
        self.egress.waiting_bytes(conn)
    }

    /// Bytes that a connection may have queued beyond the configured bound, because it has resumed.
    #[must_use]
    pub fn resumed_bytes(&self, conn: ConnId) -> usize {
        self.egress.allowed_bytes(conn)
    }

    /// Work that the received bytes don't show, weighed in them: `limits::RECEIVED_BYTES_PER_TURN` is of both.
    #[must_use]
    pub fn work_bytes_total(&self) -> u64 {
        self.work.total_bytes()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Ends the turn: what was published in it goes out, to this shard's own subscribers first.
    pub fn seal(&mut self, now: Now) {
        self.now = now;
        self.outbox.settle_long();
        self.deflated_bytes = 0;
        loop {
            self.serve_answered();
            if let Some(commands) = self.outbox.take_commands(self.me) {
                self.apply_batch(self.me, &commands);
                self.outbox.recycle(commands);
                continue;
            }
            if !self.outbox.peers_are_behind() {
                self.home.answer_waiting(self.outbox.data());
            }
            let Some(data) = self.outbox.seal_data() else { break };
            if data.audience.contains(self.me) {
                self.apply_batch(self.me, &data);
            }
        }
        self.outbox.seal_commands();
        self.home.end_turn();
        self.settle_overflows();
        if now.mono_ns >= self.sweep_due_ns {
            // Here and not with the timers: a hub whose clients are quiet has few of those.
            self.sweep_due_ns = now.mono_ns + limits::WHEEL_SLOT_NS;
            self.home.sweep(now, |_| {});
        }
    }

    /// Whether joins at this home wait for a later turn.
    #[must_use]
    pub fn joins_wait(&self) -> bool {
        self.home.waiting_count() > 0
    }

    /// Whether no join that resumes is answered until other homes have taken what was sent to them.
    #[must_use]
    pub fn peers_are_behind(&self) -> bool {
        self.outbox.peers_are_behind()
    }

    /// The next batch to carry to other homes. Its `to` never holds this one.
    pub fn poll_mesh(&mut self) -> Option<Outgoing> {
        loop {
            let mut outgoing = self.outbox.poll()?;
            outgoing.to.remove(self.me);
            if !outgoing.to.is_empty() {
                return Some(outgoing);
            }
        }
    }

    /// Applies a batch of another home; those of one home come in the order in which it sealed them.
    pub fn handle_batch(&mut self, from: HomeId, batch: &Batch, now: Now) {
        self.now = now;
        self.apply_batch(from, batch);
        self.serve_answered();
        self.settle_overflows();
    }

    /// The data queue to a peer was full: what was for it is lost.
    pub fn handle_lag(&mut self, peer: HomeId) {
        self.outbox.lag(peer);
        self.home.handle_lag(peer);
    }

    /// The data queue to a lagging peer has room again.
    pub fn handle_room(&mut self, peer: HomeId) {
        self.outbox.recover(peer, |_| {});
    }

    /// Peers that get no data until [`Hub::handle_room`].
    #[must_use]
    pub fn lagging(&self) -> crate::model::ids::HomeSet {
        self.outbox.lagging()
    }

    fn venue(&self) -> HomeId {
        HomeId(self.shards)
    }

    fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(conn.slot as usize)?.as_deref_mut()?;
        (session.conn == conn).then_some(session)
    }
}
