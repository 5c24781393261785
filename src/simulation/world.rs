//! The simulated world: hubs, the market's home, the mesh, connections and clients under one virtual clock, and the
//! driver that keeps the hub's contract. PURE. Invariant: all that happens follows from the seed.

use std::sync::Arc;

use crate::hub::batch::Batch;
use crate::hub::history::HistoryLimits;
use crate::hub::market::MarketHome;
use crate::hub::overload::{Mark, Overload, OverloadMarks, Pressure};
use crate::hub::{Deflation, Hub, HubConfig, ListenerPolicy, Publishing, Routes};
use crate::limits;
use crate::model::ids::HomeId;
use crate::model::time::Now;
use crate::ws::receiver::ReceiveLimits;

use super::backends::Backends;
use super::client::Client;
use super::hostile::Hostile;
use super::mesh::{Mesh, Pushed};
use super::network::Link;
use super::oracle::Oracle;
use super::random::Random;
use super::trading::Venue;

const SECOND_NS: u64 = 1_000_000_000;
pub(super) const HANDSHAKE_TIMEOUT_NS: u64 = 10 * SECOND_NS;
pub(super) const CLOSE_TIMEOUT_NS: u64 = 2 * SECOND_NS;
/// What each connection may send.
pub(super) const RECEIVE_LIMITS: ReceiveLimits =
    ReceiveLimits { frame_bytes_max: 65_536, message_bytes_max: 65_536, fragments_max: 64 };
/// The most that one send takes.
pub(super) const SEND_BYTES_MAX: usize = 65_536;
/// Of a world that is drawn by chance.
const CLIENTS_MAX: usize = 9;
/// Rounds of carrying in which the world must come to rest.
const ROUNDS_TO_REST_MAX: usize = 5_000;
/// What bounds a script that says little with many steps.
pub(super) const SCRIPT_STEPS_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) hub: Hub,
    /// The link at each slot.
    pub(super) slots: Vec<Option<usize>>,
    pub(super) generation: u32,
    /// Something was handled since the turn's end.
    pub(super) turn_open: bool,
}

/// What chance has chosen for a run.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) shards: u8,
    pub(super) clients: usize,
    /// So many of them keep no rule.
    pub(super) hostile: usize,
    pub(super) steps: usize,
    pub(super) send_bytes_max: usize,
    pub(super) room_bytes: usize,
    pub(super) data_batches_max: usize,
    /// Jumps of the clock beyond a topic's linger.
    pub(super) forgets: bool,
    pub(super) queued_bytes_max: u32,
    pub(super) history: HistoryLimits,
    /// Memory and turns that chance makes up weigh on the shards.
    pub(super) overloads: bool,
    /// Methods of backends.
    pub(super) routes: Arc<Routes>,
}

/// In thousandths of a budget.
const OVERLOAD: OverloadMarks = OverloadMarks {
    guard_bytes: Mark { enter: 800, leave: 700 },
    shed_bytes: Mark { enter: 900, leave: 800 },
    guard_turn_ns: Mark { enter: 50_000_000, leave: 25_000_000 },
    dwell_ns: 20_000_000,
};

impl Options {
    pub(super) fn new(random: &mut Random) -> Options {
        Options {
            shards: u8::try_from(random.between(1, 4)).expect("at most 4"),
            clients: random.between(2, CLIENTS_MAX),
            hostile: random.below(3),
            steps: random.between(1500, 5000),
            send_bytes_max: *random.pick(&[128, 300, 2048, SEND_BYTES_MAX]),
            room_bytes: *random.pick(&[200, 4096, 65_536]),
            data_batches_max: *random.pick(&[2, 3, 6, 1000]),
            forgets: random.chance(20),
            queued_bytes_max: *random.pick(&[8 * 1024, 100 * 1024]),
            history: HistoryLimits {
                frames_max: *random.pick(&[4, 40, 1000]),
                bytes_max: 8 * 1024 * 1024,
                replayed_bytes_per_turn: *random.pick(&[1, 1000, 20_000, limits::REPLAYED_BYTES_PER_TURN]),
            },
            overloads: random.chance(30),
            routes: Arc::default(),
        }
    }

    /// A small world: what a script of a few hundred bytes can fill.
    pub(super) fn small(random: &mut Random) -> Options {
        Options {
            shards: u8::try_from(random.between(1, 3)).expect("at most 3"),
            clients: random.between(1, 4),
            hostile: random.below(5),
            steps: SCRIPT_STEPS_MAX,
            send_bytes_max: *random.pick(&[300, SEND_BYTES_MAX]),
            room_bytes: *random.pick(&[200, 65_536]),
            // Not 1: what recovers from a gap would not get through itself.
            data_batches_max: *random.pick(&[2, 3, 1000]),
            forgets: random.chance(20),
            queued_bytes_max: *random.pick(&[1024, 8 * 1024, 100 * 1024]),
            // One resume of a few events fills a turn.
            history: HistoryLimits {
                frames_max: *random.pick(&[1, 4, 40]),
                bytes_max: 64 * 1024,
                replayed_bytes_per_turn: 1000,
            },
            overloads: random.chance(30),
            routes: Arc::default(),
        }
    }

    fn hub(&self) -> HubConfig {
        HubConfig {
            receive: RECEIVE_LIMITS,
            queued_bytes_max: self.queued_bytes_max,
            subscriptions_max: 1000,
            handshake_timeout_ns: HANDSHAKE_TIMEOUT_NS,
            idle_timeout_ns: if self.forgets { 45 * SECOND_NS } else { 0 },
            close_timeout_ns: CLOSE_TIMEOUT_NS,
            write_timeout_ns: 30 * SECOND_NS,
            history: self.history,
            overload: OVERLOAD,
            logins_per_minute_max: 0,
            publishing: Publishing::Anyone,
            deflation: Deflation::default(),
            routes: Arc::clone(&self.routes),
            listeners: vec![ListenerPolicy::default()],
            ..HubConfig::default()
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Now,
    pub(super) options: Options,
    pub(super) shards: Vec<Shard>,
    pub(super) market: MarketHome,
    market_turn_open: bool,
    market_overload: Overload,
    mesh: Mesh,
    pub(super) links: Vec<Link>,
    pub(super) clients: Vec<Client>,
    pub(super) oracle: Oracle,
    /// Of every send, for its time.
    pub(super) send_buffer: Vec<u8>,
    /// Where clients trade, in a world that has one.
    pub(super) venue: Option<Box<Venue>>,
    /// What clients call, in a world that has it.
    pub(super) backends: Option<Box<Backends>>,
    /// Everybody reads and writes as fast as can be.
    pub(super) resting: bool,
}

impl World {
    pub(super) fn new(random: Random, options: Options) -> World {
        let now = Now { mono_ns: 1_000, unix_ns: 1_700_000_000_000_000_000 };
        let shard = |number: u8| Shard {
            hub: Hub::new(HomeId(number), options.shards, options.hub(), now),
            slots: Vec::new(),
            generation: 0,
            turn_open: false,
        };
        let shards: Vec<Shard> = (0..options.shards).map(shard).collect();
        let mut clients: Vec<Client> = (0..options.clients).map(Client::new).collect();
        for client in clients.iter_mut().rev().take(options.hostile) {
            client.hostile = Some(Box::new(Hostile::new()));
        }
        let mut oracle = Oracle::new(options.history.frames_max as u64);
        oracle.forgets = options.forgets;
        oracle.shortens = options.overloads;
        World {
            mesh: Mesh::new(shards.len() + 1, options.data_batches_max),
            market: MarketHome::new(HomeId(options.shards), options.shards, options.history, now),
            market_turn_open: false,
            market_overload: Overload::new(OVERLOAD),
            random,
            now,
            shards,
            links: Vec::new(),
            clients,
            oracle,
            options,
            send_buffer: vec![0; SEND_BYTES_MAX],
            venue: None,
            backends: None,
            resting: false,
        }
    }

    /// Which clients ask for SBE, on all their connections: a place in a stream is one of its encoding.
    pub(super) fn draw_encodings(&mut self) {
        let drawn = self.random.below(1 << CLIENTS_MAX);
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.reads_sbe = drawn >> number & 1 == 1;
        }
    }

    /// Something happens.
    pub(super) fn step(&mut self) {
        self.oracle.step += 1;
        match self.random.below(100) {
            0..20 => super::workload::act(self),
            20..32 => super::feed::speak(self),
            32..55 => _ = self.carry_one(),
            55..85 => self.progress_link(),
            85..91 => self.pass_time(),
            91 => self.press(),
            _ => _ = self.tell_room(),
        }
        for home in 0..=self.shards.len() {
            if self.random.chance(50) {
                self.end_turn(home);
            }
        }
        self.forget_drained();
    }

    // The market and the mesh.

    pub(super) fn with_market(&mut self, act: impl FnOnce(&mut MarketHome, Now)) {
        act(&mut self.market, self.now);
        self.market_turn_open = true;
    }

    /// Something weighs on a shard or on the market's home, or no longer does.
    fn press(&mut self) {
        if !self.options.overloads {
            return;
        }
        let pressure = Pressure {
            memory_bytes: if self.random.chance(40) { 0 } else { self.random.between(600, 1000) as u64 },
            costliest_bytes: if self.random.chance(50) { 0 } else { self.random.below(40_000) as u64 },
            turn_ns: self.random.below(60_000_000) as u64,
        };
        let home = self.random.below(self.shards.len() + 1);
        self.weigh(home, pressure);
    }

    fn weigh(&mut self, home: usize, pressure: Pressure) {
        let now = self.now;
        if home < self.shards.len() {
            self.with_hub(home, |hub| hub.handle_pressure(pressure, now));
        } else {
            let stance = self.market_overload.observe(pressure, now.mono_ns);
            self.with_market(|market, _| market.handle_stance(stance, pressure));
        }
    }

    pub(super) fn carry_one(&mut self) -> bool {
        let Some((from, to, batch)) = self.mesh.pop(&mut self.random) else { return false };
        self.deliver(from, to, &batch);
        true
    }

    fn deliver(&mut self, from: HomeId, to: HomeId, batch: &Arc<Batch>) {
        let now = self.now;
        if to.index() == self.shards.len() {
            if let Some(venue) = &mut self.venue {
                venue.ledger.note_batch(batch);
            }
            self.with_market(|market, now| market.handle_batch(from, batch, now));
            self.serve_desk();
        } else {
            self.with_hub(to.index(), |hub| hub.handle_batch(from, batch, now));
        }
    }

    pub(super) fn tell_room(&mut self) -> bool {
        let Some((from, to)) = self.mesh.room() else { return false };
        self.oracle.count("gap");
        if from.index() == self.shards.len() {
            self.with_market(|market, _| market.handle_room(to));
        } else {
            self.with_hub(from.index(), |hub| hub.handle_room(to));
        }
        true
    }

    /// Ends the turn of a home: seals, carries to the mesh, and flushes a shard.
    pub(super) fn end_turn(&mut self, home: usize) {
        let now = self.now;
        let from = HomeId(u8::try_from(home).expect("few homes"));
        if home == self.shards.len() {
            if std::mem::take(&mut self.market_turn_open) || self.market.joins_wait() {
                self.market.seal();
            }
            while let Some(outgoing) = self.market.poll_mesh() {
                for to in outgoing.to.iter() {
                    if self.mesh.push(from, to, outgoing.lane, &outgoing.batch) == Pushed::Lost {
                        self.market.handle_lag(to);
                    }
                }
            }
            return;
        }
        if std::mem::take(&mut self.shards[home].turn_open) || self.shards[home].hub.joins_wait() {
            self.shards[home].hub.seal(now);
            self.take_effects(home);
        }
        while let Some(outgoing) = self.shards[home].hub.poll_mesh() {
            for to in outgoing.to.iter() {
                if self.mesh.push(from, to, outgoing.lane, &outgoing.batch) == Pushed::Lost {
                    self.shards[home].hub.handle_lag(to);
                }
            }
        }
        self.hand_on_calls(home);
        if self.random.chance(70) {
            let count = self.random.between(1, 8);
            self.flush(home, count);
        }
    }

    // Time.

    fn pass_time(&mut self) {
        let ns = match self.random.below(100) {
            0..54 => self.random.below(1_000_000),
            54..62 if self.options.forgets => 11_000_000_000,
            54..97 => self.random.below(60_000_000),
            97 => self.random.below(2_000_000_000),
            _ if self.options.forgets && self.random.chance(10) => 65_000_000_000,
            _ => 100_000_000,
        };
        self.advance(ns as u64);
    }

    pub(super) fn advance(&mut self, ns: u64) {
        self.now = self.now.plus_ns(ns);
        let now = self.now;
        for shard in 0..self.shards.len() {
            let due = self.shards[shard].hub.poll_timeout().is_some_and(|due_ns| due_ns <= now.mono_ns);
            if due || self.random.chance(5) {
                self.with_hub(shard, |hub| hub.handle_timeout(now));
            }
            self.advance_links(shard);
        }
        if self.market.poll_timeout().is_some_and(|due_ns| due_ns <= now.mono_ns) || self.random.chance(5) {
            self.with_market(MarketHome::handle_timeout);
        }
    }

    // Rest.

    /// Carries, writes and reads until nothing moves and all intervals have ended.
    pub(super) fn come_to_rest(&mut self) {
        self.begin_rest();
        for _ in 0..3 {
            for home in 0..=self.shards.len() {
                self.weigh(home, Pressure::default());
            }
            self.settle();
            self.advance(1_100_000_000);
        }
        self.settle();
        self.forget_drained();
        self.resting = false;
        for link in self.links.iter_mut().filter(|link| !link.vanished) {
            link.room = self.options.room_bytes;
        }
    }

    /// From now on everybody reads, and as much as there is.
    pub(super) fn begin_rest(&mut self) {
        self.resting = true;
        for link in self.links.iter_mut().filter(|link| !link.vanished) {
            link.stalled = false;
            link.room = usize::MAX / 2;
        }
    }

    /// Carries, writes and reads until nothing moves, in a world at rest.
    pub(super) fn settle(&mut self) {
        let mut rounds = 0;
        while self.carry_all() {
            rounds += 1;
            let seen = &self.oracle.coverage;
            assert!(rounds < ROUNDS_TO_REST_MAX, "the world does not come to rest: {seen:?}");
        }
    }

    fn carry_all(&mut self) -> bool {
        let mut moved = self.joins_wait();
        for home in 0..=self.shards.len() {
            self.end_turn(home);
        }
        while self.carry_one() {
            moved = true;
        }
        while self.tell_room() {
            moved = true;
        }
        moved |= self.joins_wait() | self.serve_traders() | self.serve_backends();
        for home in 0..=self.shards.len() {
            self.end_turn(home);
        }
        for shard in 0..self.shards.len() {
            moved |= self.flush(shard, 20);
        }
        for link in 0..self.links.len() {
            if self.is_live(link) {
                moved |= self.receive(link) | self.write(link) | self.read(link);
            }
        }
        moved
    }

    fn joins_wait(&self) -> bool {
        self.market.joins_wait() || self.shards.iter().any(|shard| shard.hub.joins_wait())
    }
}
