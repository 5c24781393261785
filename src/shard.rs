//! One shard, top to bottom: a pinned executor's pump that turns one net ring and one hub.
//!
//! A turn: submit and reap → hub → mesh → flush. Everything that is ready is taken, then all of it is answered, so that
//! one submission carries what a turn has to say to all sockets. Idle, the pump spins for a while, where that pays, and then parks
//! in the ring, where a completion, a deadline or the doorbell of a peer wakes it.
//!
//! Home: one thread per shard. Invariant: this file, what it has in `shard/`, and `venue.rs` alone drive a pure half by
//! the runtime.

use std::fmt;
use std::sync::Arc;

use nix::errno::Errno;
use rustls::ServerConfig;

use crate::admission::Admission;
use crate::calls::CallPort;
use crate::carry::{Carry, MeshEndpoint, Parcel, Stamps};
use crate::clock;
use crate::guests::Guests;
use crate::hub::home::HomeCounters;
use crate::hub::overload::Pressure;
use crate::hub::{Effect, Ending, Hub, HubCounters, IncidentCounts, Urgency};
use crate::incident_log::IncidentLog;
use crate::inspect::InspectPort;
use crate::inward::InwardPort;
use crate::limits;
use crate::model::ids::HomeId;
use crate::model::invalidation::Gathered;
use crate::model::time::Now;
use crate::pace::{Pace, Totals};
use crate::pressure::{Holding, PressureBoard};
use crate::pulse::Pulse;
use crate::ring::{Event, How, Listener, Ring, RingConfig, RingCounters, RingError, Transmit, Wait};
use crate::slot::Slot;
use crate::spin::SpinAccount;
use crate::stop::{Serving, Stop};
use crate::telemetry::Board;
use crate::telemetry::latency::{Recorder, Stage};
use crate::turn_load::TurnLoad;
use crate::venue::{Resident, VenueError, VenueReport, VenueSetup};
use crate::verify::{Answer, LoginPort};

use self::backends::Backends;
pub use self::backends::{BackendBoard, Services};
use self::inspecting::Inspecting;
use self::introducing::Introducing;
use self::inward::InwardCalls;
use self::secure::{Secure, Sent};
pub use self::settings::ShardSettings;
use self::stopping::Leaving;
use self::timing::Timing;

mod backends;
mod calls;
mod inspecting;
mod introducing;
mod inward;
mod resident;
mod secure;
mod settings;
mod stopping;
mod telling;
mod timing;

/// A turn's share of received bytes and of the work that they make, weighed in such bytes.
const RECEIVED_BYTES_PER_TURN: u64 = limits::RECEIVED_BYTES_PER_TURN as u64;

/// How long an idle shard spins before it parks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spin {
    /// At most, and where it pays: [`SpinAccount`].
    ForNs(u32),
    Always,
}

/// What a shard is made from.
#[derive(Debug)]
pub struct ShardSetup {
    pub home: HomeId,
    pub shards: u8,
    pub settings: ShardSettings,
    /// Others, when they are read again.
    pub newer_settings: Arc<Slot<ShardSettings>>,
    pub ring: RingConfig,
    /// One for each of the hub's policies, in their order.
    pub listeners: Vec<Listener>,
    /// For each of them, in their order, what its TLS is made from; none where it is plain.
    pub tls: Vec<Option<Arc<ServerConfig>>>,
    /// Of the process; shared by all shards.
    pub admission: Arc<Admission>,
    /// Of this shard; the ring has room for `limits::REFUSALS_PER_SHARD_MAX` more.
    pub connections_max: u32,
    pub mesh: MeshEndpoint,
    pub logins: LoginPort,
    /// To the control thread, and from it.
    pub calls: CallPort,
    /// What operators ask comes by it.
    pub inspect: InspectPort,
    /// Connections from within the process come by it, to one shard.
    pub inward: Option<InwardPort>,
    /// With a place for each home.
    pub pressure: Arc<PressureBoard>,
    /// This shard's own.
    pub board: Arc<Board>,
    /// The same: how the backends are that it has links to.
    pub linked: BackendBoard,
    pub recorder: Recorder,
    /// Of this thread.
    pub pulse: Arc<Pulse>,
    /// Set once, then the doorbell is rung.
    pub stop: Arc<Stop>,
}

/// How clients are sent away at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// They are closed over this time, so that they do not all come to the next server at once.
    pub spread_ns: u64,
    /// By then those that are left are cut off.
    pub within_ns: u64,
}

/// What a shard did, told at its end.
#[derive(Clone, Debug)]
pub struct ShardReport {
    pub home: HomeId,
    pub hub: HubCounters,
    /// Why connections were refused or closed from here.
    pub incidents: IncidentCounts,
    pub topics: HomeCounters,
    pub ring: RingCounters,
    pub turns_total: u64,
    pub parks_total: u64,
    pub turn_ns_max: u64,
}

/// Why a shard ended.
#[derive(Debug)]
pub enum ShardError {
    Ring(RingError),
    Turn(std::io::Error),
    /// The venue that lived in its thread ended.
    Venue(VenueError),
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardError::Ring(error) => write!(f, "no net ring: {error}"),
            ShardError::Turn(error) => write!(f, "the net ring failed: {error}"),
            ShardError::Venue(error) => write!(f, "the venue ended: {error}"),
        }
    }
}

impl std::error::Error for ShardError {}

/// Runs a shard until it is told to stop, and in its thread the venue, where it shares the shard's core; `ready` is called once it
/// accepts.
///
/// # Errors
/// The ring could not be made, or cannot go on, or the venue can't: then the shard's clients have been sent away first.
pub async fn run(
    setup: ShardSetup,
    venue: Option<VenueSetup>,
    ready: impl FnOnce(),
) -> Result<(ShardReport, Option<VenueReport>), ShardError> {
    let resident = venue.map(Resident::new).transpose().map_err(ShardError::Venue)?;
    let mut shard = Shard::new(setup, resident).map_err(ShardError::Ring)?;
    ready();
    // What it took to get ready is no turn.
    shard.now = clock::now();
    let mut wait = Wait::Poll;
    loop {
        shard.ring.turn(wait, shard.now.mono_ns).map_err(ShardError::Turn)?;
        if wait != Wait::Poll {
            shard.wake();
        }
        shard.turn(wait);
        shard.timing.recorder.hand_over();
        shard.beat();
        if shard.has_stopped() {
            return shard.end();
        }
        wait = shard.next_wait();
    }
}

struct Shard {
    home: HomeId,
    hub: Hub,
    ring: Ring,
    introducing: Introducing,
    secure: Secure,
    mesh: MeshEndpoint,
    logins: LoginPort,
    backends: Backends,
    calls: CallPort,
    /// What backends have said holds no more, which control has had no room for.
    untold: Gathered,
    inspecting: Inspecting,
    inward: Option<InwardCalls>,
    carry: Carry,
    pressure: Arc<PressureBoard>,
    board: Arc<Board>,
    timing: Timing,
    turn_load: TurnLoad,
    pace: Pace,
    spin: Spin,
    spin_account: SpinAccount,
    newer_settings: Arc<Slot<ShardSettings>>,
    resident: Option<Resident>,
    stop: Arc<Stop>,
    /// Until its last client has gone at a stop.
    serving: Option<Serving>,
    guests: Guests,
    incidents: IncidentLog,
    now: Now,
    /// When timers are looked at next while the shard is busy.
    timers_due_ns: u64,
    /// When it is said what this shard holds next.
    pressure_due_ns: u64,
    /// When the board is told next; before the shard sleeps it is told in any case.
    board_due_ns: u64,
    /// When the shard last did something.
    worked_ns: u64,
    /// What the turns before have taken beyond their share, in received bytes.
    owed_bytes: u64,
    /// Connections that the flush of data under way has yet to come to.
    round: usize,
    /// A send had no buffer: flushing goes on when one is free.
    unbuffered: bool,
    stop_by_ns: Option<u64>,
    farewell: Farewell,
    /// Clients that are told to go, at a stop.
    leaving: Leaving,
    pulse: Arc<Pulse>,
    turns_total: u64,
    parks_total: u64,
    turn_ns_max: u64,
    /// Turns that did something, and how long they took in all.
    busy_turns_total: u64,
    busy_ns_total: u64,
}

impl Shard {
    fn new(setup: ShardSetup, resident: Option<Resident>) -> Result<Shard, RingError> {
        let now = clock::now();
        let mut ring = Ring::new(&setup.ring, setup.mesh.doorbell().clone())?;
        let listeners = setup.listeners.len();
        for listener in setup.listeners {
            ring.listen(listener)?;
        }
        let ShardSettings { hub, spin, pace_ns_max, farewell, services } = setup.settings;
        let mut hub = Hub::new(setup.home, setup.shards, hub, now);
        hub.make_ready();
        let mut backends = Backends::new(now.unix_ns ^ u64::from(setup.home.0) << 56, setup.linked);
        backends.set(services, now);
        Ok(Shard {
            home: setup.home,
            hub,
            ring,
            introducing: Introducing::default(),
            secure: Secure::new(
                setup.tls,
                setup.ring.send_large_bytes.max(setup.ring.send_small_bytes) as usize,
            ),
            mesh: setup.mesh,
            logins: setup.logins,
            backends,
            calls: setup.calls,
            untold: Gathered::default(),
            inspecting: Inspecting::new(setup.inspect),
            inward: setup.inward.map(|port| InwardCalls::new(port, listeners)),
            carry: Carry::default(),
            pressure: setup.pressure,
            board: setup.board,
            timing: Timing::new(setup.recorder),
            turn_load: TurnLoad::default(),
            pace: Pace::new(pace_ns_max),
            spin,
            spin_account: spin.account(),
            newer_settings: setup.newer_settings,
            resident,
            serving: Some(setup.stop.enter()),
            stop: setup.stop,
            guests: Guests::new(setup.admission, setup.connections_max),
            incidents: IncidentLog::default(),
            now,
            timers_due_ns: now.mono_ns,
            pressure_due_ns: now.mono_ns,
            board_due_ns: now.mono_ns,
            worked_ns: now.mono_ns,
            owed_bytes: 0,
            round: 0,
            unbuffered: false,
            stop_by_ns: None,
            farewell,
            leaving: Leaving::default(),
            pulse: setup.pulse,
            turns_total: 0,
            parks_total: 0,
            turn_ns_max: 0,
            busy_turns_total: 0,
            busy_ns_total: 0,
        })
    }

    /// One turn after such a wait.
    fn turn(&mut self, waited: Wait) {
        let ended_ns = self.now.mono_ns;
        self.now = clock::now();
        let reaped_ns = self.now.mono_ns;
        // What a submission makes the kernel do at once is this shard's work; waiting is not.
        let begun_ns = if waited == Wait::Poll { ended_ns } else { reaped_ns };
        self.turns_total += 1;
        self.take_settings();
        self.take_pressure();
        let messages_before = self.hub.messages_total();
        let mut busy = self.take_events();
        self.note_decoded(reaped_ns, messages_before);
        busy |= self.take_batches();
        busy |= self.take_answers();
        busy |= self.take_words();
        busy |= self.take_question();
        busy |= self.take_inward();
        self.take_timers();
        self.take_stop();
        busy |= self.hub.joins_wait() && !self.hub.peers_are_behind();
        self.say();
        busy |= self.turn_resident();
        busy |= self.turn_backends();
        busy |= self.flush(reaped_ns);
        if busy {
            self.now = clock::now();
            let work_ns = self.now.mono_ns.saturating_sub(begun_ns);
            self.pace.worked(work_ns);
            self.turn_load.worked(work_ns);
            self.turn_ns_max = self.turn_ns_max.max(work_ns);
            self.busy_turns_total += 1;
            self.busy_ns_total += work_ns;
            self.spin_account.worked(reaped_ns.saturating_sub(self.worked_ns));
            self.worked_ns = self.now.mono_ns;
            self.note_turn(work_ns);
        }
        let totals =
            Totals { deliveries: self.hub.deliveries_total(), sends: self.ring.counters().sends_total };
        self.pace.observe(self.now.mono_ns, totals);
    }

    /// What the ring has, up to a bound on received bytes and the work they make; whether there was anything. Work beyond
    /// the bound is owed by the next turns, which hear of what is complete but take no bytes until it is made good.
    fn take_events(&mut self) -> bool {
        let now = self.now;
        let mut any = false;
        let mut taken_bytes = self.owed_bytes;
        loop {
            let event = if taken_bytes < RECEIVED_BYTES_PER_TURN {
                self.ring.next_event()
            } else {
                self.ring.next_completion()
            };
            let Some(event) = event else { break };
            any = true;
            if let Event::Sent(_) | Event::Closed(_) = event {
                self.unbuffered = false;
            }
            let work_before_bytes = self.hub.work_bytes_total();
            let event = match self.backends.take(event, &mut self.hub, now) {
                Err(event) => event,
                Ok(bytes) => {
                    taken_bytes += bytes + self.hub.work_bytes_total() - work_before_bytes;
                    self.act();
                    continue;
                }
            };
            match event {
                Event::Accepted { conn, listener, peer } => {
                    self.welcome(conn, listener, peer);
                }
                Event::Received { conn, bytes } => {
                    taken_bytes += bytes.len() as u64;
                    let doors = (&mut self.secure, &mut self.guests, &mut self.hub);
                    let Some(bytes) = self.introducing.receive(conn, bytes, doors, now) else {
                        self.act();
                        continue;
                    };
                    if self.secure.has(conn) {
                        taken_bytes += self.secure.receive(conn, bytes, &mut self.hub, now) as u64;
                    } else {
                        self.hub.handle_bytes(conn, bytes, now);
                    }
                    taken_bytes += self.hub.work_bytes_total() - work_before_bytes;
                }
                Event::Eof(conn) if self.secure.has(conn) => self.secure.eof(conn, &mut self.hub, now),
                Event::Eof(conn) => self.hub.handle_eof(conn, now),
                Event::Sent(conn) => {
                    if self.secure.sent(conn, &mut self.hub) == Sent::Hubs {
                        self.hub.handle_sent(conn, now);
                    }
                }
                Event::ReceiveFailed { conn, errno } | Event::SendFailed { conn, errno } => {
                    if is_gone(errno) {
                        self.hub.handle_vanished(conn, now);
                    }
                    self.ring.close(conn, How::Abort);
                }
                Event::Closed(conn) => {
                    self.forget(conn);
                }
                Event::AcceptFailed { errno, .. } => log::debug!("accept failed: {}", errno.desc()),
                Event::Doorbell => self.rouse_resident(),
                Event::Adopted { conn, tag } => self.open_inward(conn, tag),
                Event::AdoptFailed { tag, errno } => self.adoption_failed(tag, errno),
                Event::Connected { .. } | Event::ConnectFailed { .. } => {
                    unreachable!("invariant: links have all outgoing connections")
                }
            }
            self.act();
        }
        self.owed_bytes = taken_bytes.saturating_sub(RECEIVED_BYTES_PER_TURN);
        any
    }

    /// Does what the hub asks for.
    fn act(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Disconnect { conn, ending } if self.secure.has(conn) => {
                    self.secure.disconnect(conn, ending, &mut self.ring);
                }
                Effect::Disconnect { conn, ending: Ending::Graceful } => self.ring.close(conn, How::Graceful),
                Effect::Disconnect { conn, ending: Ending::Abort } => self.ring.close(conn, How::Abort),
                Effect::PauseReading { conn } => self.ring.pause_receive(conn),
                Effect::ResumeReading { conn } => self.ring.resume_receive(conn),
                Effect::Name { conn, client } => self.name(conn, client),
                Effect::Report { conn, incident } => {
                    self.incidents.tell(conn, self.guests.peer(conn), incident, self.now.mono_ns)
                }
            }
        }
    }

    /// What other homes have said, up to a bound; whether there was anything.
    fn take_batches(&mut self) -> bool {
        let (mut taken_ns, mut taken_bytes) = (None, 0);
        for _ in 0..limits::BATCHES_PER_TURN_MAX {
            let Some((from, _, Parcel { batch, stamps })) = self.mesh.receive() else { break };
            let taken_ns = *taken_ns.get_or_insert_with(|| clock::now().mono_ns);
            self.timing.recorder.record(Stage::Mesh, taken_ns.saturating_sub(stamps.sealed_ns));
            self.hub.handle_batch(home(from), &batch, self.now);
            self.timing.told(stamps.stamped_ns, self.hub.take_told());
            taken_bytes += batch.bytes.len();
            if taken_bytes >= limits::BATCH_BYTES_PER_TURN {
                break;
            }
        }
        taken_ns.is_some()
    }

    /// What the authority has judged, up to a bound on verdicts and on the work of the requests that waited for them, which
    /// the next turns owe; whether there was anything.
    fn take_answers(&mut self) -> bool {
        let mut any = false;
        let work_before_bytes = self.hub.work_bytes_total();
        for _ in 0..limits::ANSWERS_PER_TURN_MAX {
            if self.hub.work_bytes_total() - work_before_bytes > RECEIVED_BYTES_PER_TURN {
                break;
            }
            let Some(answer) = self.logins.receive() else { break };
            any = true;
            match answer {
                Answer::Verdict { ticket, verdict } => self.hub.handle_verdict(ticket, verdict, self.now),
                Answer::Keyring(keyring) => self.hub.handle_keyring(keyring, self.now),
                Answer::SessionEnded(grant) => self.hub.handle_session_ended(grant, self.now),
            }
            self.act();
        }
        self.owed_bytes += self.hub.work_bytes_total() - work_before_bytes;
        any
    }

    /// Passes on what the hub asks the authority, as far as there is room.
    fn ask(&mut self) {
        while self.logins.has_room()
            && let Some(question) = self.hub.poll_question()
        {
            let conn = question.conn();
            let peer = conn.and_then(|conn| self.guests.peer(conn)).map(|peer| peer.ip());
            self.logins.ask(question, peer);
        }
        self.logins.announce();
    }

    /// Says what this shard holds, and hears what weighs on all: before anybody new is let in.
    fn take_pressure(&mut self) {
        if self.now.mono_ns < self.pressure_due_ns {
            return;
        }
        self.pressure_due_ns = self.now.mono_ns + limits::PRESSURE_TICK_NS;
        let Shard { hub, ring, secure, backends, introducing, .. } = self;
        let clients_bytes = hub.memory_bytes() + secure.memory_bytes() + introducing.memory_bytes();
        let memory_bytes = (clients_bytes + ring.memory_bytes() + backends.memory_bytes()) as u64;
        let costliest_bytes = hub.costliest_bytes();
        self.pressure.tell(self.home.index(), Holding { memory_bytes, costliest_bytes });
        let Holding { memory_bytes, costliest_bytes } = self.pressure.total();
        let turn_ns = self.turn_load.observe(self.now.mono_ns);
        if self.now.mono_ns >= self.board_due_ns {
            self.tell_board();
        }
        let hub = &mut self.hub;
        let before = hub.stance();
        hub.handle_pressure(Pressure { memory_bytes, costliest_bytes, turn_ns }, self.now);
        let stance = hub.stance();
        if stance != before {
            let (home, stance, turn_us) = (self.home.0, stance.label(), turn_ns / 1000);
            log::warn!(
                "overload: shard {home} is {stance} with {memory_bytes} bytes held by all and turns of {turn_us} us"
            );
        }
        self.act();
    }

    fn take_timers(&mut self) {
        if self.now.mono_ns >= self.timers_due_ns {
            let work_before_bytes = self.hub.work_bytes_total();
            self.hub.handle_timeout(self.now);
            self.owed_bytes += self.hub.work_bytes_total() - work_before_bytes;
            self.act();
            self.timers_due_ns = self.now.mono_ns + limits::WHEEL_SLOT_NS;
        }
    }

    /// Ends the hub's turn and carries what it has said to the others.
    fn say(&mut self) {
        self.hub.seal(self.now);
        self.timing.told(self.now.mono_ns, self.hub.take_told());
        self.act();
        for peer in self.hub.lagging().iter() {
            if self.mesh.data_free(peer.index()) > limits::MESH_DATA_BATCHES_MAX / 2 {
                self.hub.handle_room(peer);
            }
        }
        if self.carry.is_waiting() {
            self.carry.retry(&mut self.mesh);
        }
        let (stamped_ns, mut sealed_ns) = (self.now.mono_ns, None);
        while let Some(outgoing) = self.hub.poll_mesh() {
            let sealed_ns = *sealed_ns.get_or_insert_with(|| clock::now().mono_ns);
            self.carry.push(&mut self.mesh, &outgoing, Stamps { stamped_ns, sealed_ns });
            // Told before the next batch: that one must not get through behind one that did not.
            while let Some(peer) = self.carry.poll_lag() {
                self.hub.handle_lag(peer);
            }
        }
        self.mesh.ring_doorbells();
        self.ask();
        self.hand_on_calls();
    }

    /// Hands the connections' bytes to the ring: all replies, and data when the pace allows; whether there were any. A round of
    /// data goes on over as many turns as it takes, so that no reply waits for a thousand sends of it.
    fn flush(&mut self, now_ns: u64) -> bool {
        let mut any = self.flush_secure();
        let replies = self.transmit(Urgency::Reply, usize::MAX);
        any |= replies > 0;
        if self.round == 0 && self.pace.may_flush(now_ns) {
            self.round = self.hub.data_count();
            if self.round > 0 {
                self.timing.begin_round();
                self.pace.flushed(now_ns);
            }
        }
        let share = if replies > 0 { limits::DATA_SENDS_BESIDE_REPLIES } else { limits::DATA_SENDS_PER_TURN };
        let served = self.transmit(Urgency::Any, self.round.min(share));
        self.round = (self.round - served).min(self.hub.data_count());
        if self.round == 0 {
            self.timing.end_round();
        }
        any |= served > 0;
        // What ended in between.
        any | self.flush_secure()
    }

    /// Hands the ring what so many connections at most have to say; returns how many there were.
    fn transmit(&mut self, urgency: Urgency, count_max: usize) -> usize {
        let mut count = 0;
        while count < count_max && !self.unbuffered {
            let Some(conn) = self.hub.poll_ready(urgency) else { break };
            count += 1;
            let Shard { hub, ring, secure, .. } = self;
            let transmit = if secure.has(conn) {
                secure.transmit(conn, hub, ring, self.now)
            } else {
                ring.transmit(conn, hub.pending_bytes(conn), |out| hub.poll_transmit(conn, out))
            };
            match transmit {
                Transmit::Started(_) | Transmit::Nothing | Transmit::Gone => {}
                Transmit::Busy => {
                    panic!("invariant: a connection is ready only when its last send is complete")
                }
                Transmit::Unbuffered => {
                    self.hub.handle_unserved(conn);
                    self.unbuffered = true;
                }
            }
            self.act();
        }
        count
    }

    /// Hands the ring what TLS has to say by itself; whether there was any.
    fn flush_secure(&mut self) -> bool {
        if self.unbuffered {
            return false;
        }
        let flushed = self.secure.flush(&mut self.ring);
        self.unbuffered = flushed == Transmit::Unbuffered;
        matches!(flushed, Transmit::Started(_))
    }

    /// How long the next turn may wait for something to happen.
    fn next_wait(&mut self) -> Wait {
        let now_ns = self.now.mono_ns;
        let idle_ns = now_ns.saturating_sub(self.worked_ns);
        if (self.round > 0 && !self.unbuffered) || self.inspecting.is_under_way() || self.hub.has_untold() {
            return Wait::Poll;
        }
        // Where data waits for the pace it is known when there is something to do next: turns until then would only cost.
        let is_paced = self.hub.data_count() > 0 && !self.pace.may_flush(now_ns);
        // Who waits for the disk is answered the sooner, the sooner the store has the core.
        let gives_way = is_paced || self.resident.as_ref().is_some_and(Resident::waits_for_store);
        match self.spin {
            Spin::Always => return Wait::Poll,
            Spin::ForNs(_) if self.worked_ns == now_ns => return Wait::Poll,
            Spin::ForNs(_) if !gives_way && self.spin_account.poll(idle_ns) => return Wait::Poll,
            Spin::ForNs(_) if self.hub.joins_wait() && !self.hub.peers_are_behind() => return Wait::Poll,
            Spin::ForNs(_) => {}
        }
        self.mesh.prepare_sleep();
        if !self.mesh.may_sleep() {
            return Wait::Poll;
        }
        if self.calls.has_received() || self.hub.has_pipe_words() {
            self.mesh.wake();
            return Wait::Poll;
        }
        let Some(venue_ns) = self.prepare_resident() else {
            self.mesh.wake();
            return Wait::Poll;
        };
        self.parks_total += 1;
        self.spin_account.parked(idle_ns);
        self.tell_board();
        let behind = self.carry.is_waiting() || !self.hub.lagging().is_empty() || self.hub.joins_wait();
        let behind = behind || self.hub.has_questions() || !self.untold.is_empty();
        // Nobody rings when the last client of all goes.
        let retry = behind || self.serving.is_none() || self.leaving.told < self.leaving.clients;
        let deadlines = [
            self.hub.poll_timeout(),
            (self.hub.data_count() > 0).then(|| self.pace.due_ns()),
            retry.then_some(now_ns + limits::RETRY_NS),
            self.stop_by_ns,
            self.backends.poll_timeout(),
            venue_ns,
        ];
        (self.timers_due_ns, self.pressure_due_ns) = (now_ns, now_ns);
        match deadlines.into_iter().flatten().min() {
            Some(deadline_ns) => Wait::Until(deadline_ns.max(now_ns + 1)),
            None => Wait::Forever,
        }
    }

    fn report(&self) -> ShardReport {
        ShardReport {
            home: self.home,
            hub: self.hub.counters(),
            incidents: self.hub.incidents(),
            topics: self.hub.home_counters(),
            ring: *self.ring.counters(),
            turns_total: self.turns_total,
            parks_total: self.parks_total,
            turn_ns_max: self.turn_ns_max,
        }
    }
}

/// Whether the connection failed because the peer's network acknowledges nothing (`TCP_USER_TIMEOUT`), or says that the
/// peer is not there. Otherwise the peer has ended it.
const fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH)
}

/// A place in the mesh as a home; the mesh has at most `limits::HOMES_MAX` places.
pub(crate) fn home(place: usize) -> HomeId {
    HomeId(u8::try_from(place).expect("invariant: a mesh has at most HOMES_MAX places"))
}
