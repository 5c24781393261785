//! Serving: from a checked configuration to running shards, until told to stop.
//! Home: the main thread. Order: probe the host, bind, make the mesh, start the venue and the shards, say what is
//! served, wait for a signal, stop.

mod announcing;
mod backends;
mod cluster;
mod hubs;
mod links;
mod listeners;
mod lookups;
mod mcp;
mod measuring;
pub mod opening;
mod operators;
mod reload;
mod service;
mod services;
mod sources;
mod storing;
mod threads;
mod verifying;

use std::fmt::{Debug, Display};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use arc_swap::ArcSwap;

use crate::admission::Admission;
use crate::auth::{Accounts, Keyring};
use crate::backend::Feed;
use crate::calls;
use crate::clock;
use crate::config::{BusyPoll, Config, Limits, Sources};
use crate::control::{Bounds, Control, Lifecycle};
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::histograms::Histograms;
use crate::hub::history::HistoryLimits;
use crate::hub::overload::{Mark, OverloadMarks};
use crate::hub::{ChannelKind, ChannelKinds, Deflation};
use crate::inspect::{self, Inspector};
use crate::inward::{self, Inward};
use crate::keys;
use crate::limits;
use crate::log_file::LogFile;
use crate::mesh::{self, Capacity};
use crate::nats::NatsSetup;
use crate::pressure::PressureBoard;
use crate::probe;
use crate::pulse::Pulse;
use crate::ring::RingConfig;
use crate::rt::{self, Cpu, PinnedThread};
use crate::shard::{self, BackendBoard, Farewell, ShardError, Spin};
use crate::stop::Stop;
use crate::store::Store;
use crate::switch::HaltSwitch;
use crate::systemd::{self, Inherited};
use crate::telemetry::Board;
use crate::telemetry::latency::Recorder;
use crate::tls::Tls;
use crate::venue::{LinksSetup, VenueError};
use crate::verify::Verifier;

use self::backends::{Backends, Callees};
use self::cluster::Joined;
use self::links::VenueLinks;
use self::mcp::McpLine;
use self::measuring::Measuring;
use self::operators::{Doors, SocketFile};
use self::reload::Slots;
use self::service::{Asked, Service, Watched};
use self::storing::Claimed;
use self::threads::{
    ShardEnd, ShardParts, VenueThread, check_shards, doorbells, place_venue, start_shard, venue_beside,
    venue_core, venue_setup,
};
use self::verifying::{start_verifier, warn_of_the_demo_key};

const MESH_CAPACITY: Capacity =
    Capacity { data: limits::MESH_DATA_BATCHES_MAX, commands: limits::MESH_COMMAND_BATCHES_MAX };

/// Serves by `config`, which was read from `sources`, until the process is told to stop.
///
/// # Errors
/// What keeps it from serving, with the exit code.
pub fn run(config: Config, sources: Sources) -> Result<(), Failure> {
    // Before anything is opened that could have their numbers.
    let sockets = systemd::inherited()?;
    let lifecycle = Arc::new(Lifecycle::begin());
    // Before signals are blocked: a file that can't be read yet must not keep the process from being told to end.
    let feed = sources::open_feed(&config)?;
    let tls = listeners_tls(&config)?;
    let keyring = Arc::new(keyring(&config)?);
    // Before any thread starts, so that all of them inherit it.
    let has_files = config.auth.has_file() || tls.iter().flatten().any(Tls::has_files);
    let has_files = has_files || config.log.file_path().is_some();
    let service = Service::start(sources.file.is_some() || has_files)?;
    let mut log_file = LogFile::default();
    log_file.open(config.log.file_path(), rt::give_way)?;
    if let Err(error) = rt::register_membarrier() {
        log::debug!("membarrier: {error}");
    }
    let available: Vec<usize> = rt::cpus().into_iter().map(|cpu| cpu.0).collect();
    let cores = config.shards.cores_of(&available)?;
    check_shards(&cores)?;
    let ring = ring_config(&config);
    check_host(&ring)?;
    let links = VenueLinks::new().plan(&config.venue)?;
    let backends = Backends::default().plan(&config)?.with_shares()?;
    let (mcp, for_mcp) = mcp::setup(&config, &backends.settings)?;
    let doors = Doors::bind(&config, for_mcp)?;
    let store = storing::claim(&config)?;
    let nats = cluster::setup(&config, cores.len())?;
    let opened = Opened {
        sockets,
        feed,
        links,
        backends,
        mcp,
        tls,
        keyring,
        lifecycle,
        sources,
        log_file,
        store,
        nats,
    };
    let mut server = Server::start(config, &cores, &available, ring, opened)?.open(doors)?;
    warn_of_the_demo_key(&server.config);
    service.tell_ready(&server.status());
    announcing::announce(&cores, &server);
    match server.wait(&service) {
        Ended::Told => server.drain(&service).map_or(Ok(()), Err),
        Ended::Broken => Err(server.stop_broken()),
    }
}

struct Server {
    /// By which it serves now.
    config: Config,
    /// Where that is from, to be read again.
    sources: Sources,
    /// In the order of the configuration.
    addresses: Vec<SocketAddr>,
    links: VenueLinks,
    /// For others.
    newer_links: mpsc::Sender<LinksSetup>,
    tls: Vec<Option<Tls>>,
    shared: Shared,
    /// The shards', then the venue's.
    doorbells: Vec<Doorbell>,
    watched: Watched,
    shards: Vec<PinnedThread<ShardEnd>>,
    venue: VenueThread,
    verifier: Verifier,
    /// None where nothing is durable.
    store: Option<Store>,
    /// None of a node by itself.
    joined: Option<Joined>,
    /// Until the control thread has them.
    inspector: Inspector,
    /// Backends of calls.
    callees: Callees,
    /// Until the control thread has it.
    inward: Option<Inward>,
    /// For newer settings.
    slots: Slots,
    /// None before it is started.
    control: Option<Control>,
    /// Taken away with the server.
    socket_file: Option<SocketFile>,
    log_file: LogFile,
}

/// What threads share.
struct Shared {
    lifecycle: Arc<Lifecycle>,
    stop: Arc<Stop>,
    pressure: Arc<PressureBoard>,
    admission: Arc<Admission>,
    /// The shards', then the venue's.
    boards: Vec<Arc<Board>>,
    /// In the same order.
    pulses: Vec<Arc<Pulse>>,
    histograms: Arc<Histograms>,
    measuring: Measuring,
    switch: Arc<HaltSwitch>,
    /// The newest, for the control thread.
    keyring: Arc<ArcSwap<Keyring>>,
    bounds: Arc<ArcSwap<Bounds>>,
    /// How the backends are that shards have links to, as each of them tells.
    linked: Vec<BackendBoard>,
}

/// What was read before the first thread starts.
struct Opened {
    /// What systemd has handed in.
    sockets: Vec<Inherited>,
    feed: Feed,
    links: (VenueLinks, LinksSetup),
    backends: Backends,
    mcp: McpLine,
    tls: Vec<Option<Tls>>,
    keyring: Arc<Keyring>,
    lifecycle: Arc<Lifecycle>,
    sources: Sources,
    log_file: LogFile,
    store: Claimed,
    nats: Option<NatsSetup>,
}

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Told,
    /// A thread has ended by itself.
    Broken,
}

impl Server {
    fn start(
        config: Config,
        cores: &[usize],
        available: &[usize],
        ring: RingConfig,
        opened: Opened,
    ) -> Result<Server, Failure> {
        let Opened {
            sockets,
            feed,
            links,
            backends,
            mcp,
            tls,
            keyring,
            lifecycle,
            sources,
            log_file,
            store,
            nats,
        } = opened;
        let ((links, plan), (newer_links, newer)) = (links, mpsc::channel());
        let beside = venue_beside(cores, available);
        let doorbells = doorbells(cores.len(), beside).map_err(os)?;
        let (shared, recorders) = Shared::new(&config, &doorbells, &keyring, lifecycle);
        let endpoints = mesh::between(doorbells.clone(), MESH_CAPACITY);
        let mut ends: Vec<_> = endpoints.into_iter().zip(recorders).collect();
        let venue_end = ends.pop().expect("invariant: one more than there are shards");
        // A shard spins for both.
        let slots = Slots::new(cores.len(), beside.is_none());
        let (listeners, addresses) = listeners::listen(&config, cores.len(), sockets)?;
        let accounts = Accounts::new(limits::ACCOUNTS_MAX as usize);
        let (nats, to_sessions) = cluster::session_lanes(nats)?;
        let (of_shards, of_venue) = (&doorbells[..cores.len()], &doorbells[cores.len()]);
        let (verifier, logins) = start_verifier(&config, &keyring, of_shards, accounts.clone(), to_sessions)?;
        let (store, handle) = storing::start(&config, store, of_venue)?;
        let (joined, of_cluster) =
            cluster::start(&config, nats, of_venue, verifier.thread(), shard::home(cores.len()), accounts)?;
        let (inspector, mut inspects) = inspect::ports(doorbells.iter().cloned());
        let (switchboard, ports) = calls::lines(doorbells[..cores.len()].iter().cloned()).map_err(os)?;
        let (inward, mut inward_port) = inward::ends(doorbells[0].clone());
        let venue_end = (venue_end, inspects.pop(), handle, of_cluster);
        let mut venue = Some(venue_setup(&config, &shared, &slots, venue_end, (feed, plan, newer))?);
        let (mut threads, (ready, is_ready)) = (Vec::new(), mpsc::channel());
        let ends = ends.into_iter().zip(listeners).zip(logins).zip(inspects).zip(ports).enumerate();
        for (number, ((((ends, listeners), logins), inspect), calls)) in ends {
            let settings = reload::shard_settings(&config, &keyring, &backends);
            // To the first shard.
            let inward = inward_port.take();
            let parts = ShardParts { number, settings, listeners, ends, logins, calls, inspect, inward };
            let setup = parts.setup(&config, &shared, &slots, ring, &tls);
            let venue = if beside == Some(number) { venue.take() } else { None };
            threads.push(start_shard(number, setup, venue, Cpu(cores[number]), ready.clone()).map_err(os)?);
        }
        let venue = place_venue(venue, beside, Cpu(venue_core(cores, available)), ready)?;
        Server {
            config,
            sources,
            addresses,
            links,
            newer_links,
            tls,
            watched: Watched::new(shared.pulses.clone(), doorbells.clone()),
            shared,
            doorbells,
            shards: threads,
            venue,
            verifier,
            store,
            joined,
            inspector,
            callees: Callees::new(backends, mcp, switchboard),
            inward: Some(inward),
            slots,
            control: None,
            socket_file: None,
            log_file,
        }
        .await_ready(&is_ready)
    }

    /// Waits until every shard and the venue turn.
    fn await_ready(self, is_ready: &mpsc::Receiver<()>) -> Result<Server, Failure> {
        for _ in 0..self.shards.len() + usize::from(matches!(self.venue, VenueThread::Own(_))) {
            // A thread that failed has dropped its sender; the last to do so ends the wait.
            if is_ready.recv().is_err() || self.is_broken() {
                return Err(self.stop_broken());
            }
        }
        Ok(self)
    }

    fn is_broken(&self) -> bool {
        (0..=self.shards.len()).any(|place| self.has_ended(place))
    }

    /// Waits until it is told to stop, or a thread ends by itself.
    fn wait(&mut self, service: &Service) -> Ended {
        loop {
            let asked = service.next_signal(service::LOOK_MS);
            if self.is_broken() {
                return Ended::Broken;
            }
            // A venue in a shard's thread has failed: clients are being sent away, and what failed is told at the end.
            if self.shared.stop.is_told() {
                return Ended::Told;
            }
            self.watched.look(service, |_| false);
            self.shared.measuring.look();
            self.look_names_up();
            match asked {
                Some(Asked::Reload) => {
                    service.tell_reloading();
                    self.reload();
                    service.tell_ready(&self.status());
                }
                Some(Asked::Histograms) => self.shared.measuring.write(),
                Some(Asked::NewInterval) => self.shared.measuring.begin_interval(),
                Some(Asked::Stop(signal)) => {
                    log::info!("stopping on {signal}");
                    return Ended::Told;
                }
                Some(Asked::Drain) => {
                    log::info!("stopping as POST /api/drain asked");
                    return Ended::Told;
                }
                None => {}
            }
        }
    }

    /// In one line, for the service's manager.
    fn status(&self) -> String {
        format!("serving {} by {} shards", self.urls().join(" and "), self.shards.len())
    }

    /// Stops since a thread has ended by itself; why it did.
    fn stop_broken(self) -> Failure {
        self.tell_to_stop();
        self.join().unwrap_or_else(|| software("a thread ended without a reason".to_owned()))
    }

    /// Has clients sent away, and waits for the threads to end; a second signal ends the process at once.
    fn drain(mut self, service: &Service) -> Option<Failure> {
        service.tell_stopping(self.shared.admission.connections());
        self.tell_to_stop();
        let by_ns = clock::now().mono_ns + u64::from(self.config.service.drain_timeout_s) * 1_000_000_000;
        while !self.are_finished() && clock::now().mono_ns < by_ns {
            let ended: Vec<bool> = (0..=self.shards.len()).map(|place| self.has_ended(place)).collect();
            self.watched.look(service, |place| ended[place]);
            match service.next_signal(service::LOOK_AT_STOP_MS) {
                Some(Asked::Stop(signal)) => {
                    log::warn!("a second signal, {signal}: ending at once");
                    service::end_by(signal);
                }
                // They are written once the threads have ended.
                Some(Asked::Reload | Asked::Histograms | Asked::NewInterval | Asked::Drain) | None => {}
            }
        }
        if !self.are_finished() {
            let what = "clients or links were not gone by service.drain_timeout_s".to_owned();
            return Some(Failure::new(
                Exit::Software,
                what,
                "a thread does not turn: this is a bug in tickring",
            ));
        }
        self.join()
    }

    /// Tells every thread to stop.
    fn tell_to_stop(&self) {
        self.shared.lifecycle.drain();
        self.shared.stop.tell();
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    fn are_finished(&self) -> bool {
        (0..=self.shards.len()).all(|place| self.has_ended(place))
    }

    /// Whether the thread of this place has ended: the shards' places, then the venue's.
    fn has_ended(&self, place: usize) -> bool {
        match (self.shards.get(place), &self.venue) {
            (Some(shard), _) => shard.is_finished(),
            (None, VenueThread::Own(venue)) => venue.is_finished(),
            (None, VenueThread::Beside(shard)) => self.shards[*shard].is_finished(),
        }
    }

    /// Waits for every thread, and tells what they did; what failed first.
    fn join(self) -> Option<Failure> {
        let mut failure = None;
        for thread in self.shards {
            let failed = match thread.join() {
                Ok(Ok((report, venue))) => {
                    tell(&report);
                    venue.iter().for_each(tell);
                    continue;
                }
                Ok(Err(ShardError::Venue(error))) => venue_failure(&error),
                Ok(Err(error)) => software(format!("a shard ended: {error}")),
                Err(error) => software(format!("a shard ended: {error}")),
            };
            failure = failure.or(Some(failed));
        }
        if let VenueThread::Own(venue) = self.venue {
            match venue.join() {
                Ok(Ok(report)) => tell(&report),
                Ok(Err(error)) => failure = failure.or(Some(venue_failure(&error))),
                Err(error) => failure = failure.or(Some(software(format!("the venue ended: {error}")))),
            }
        }
        // It may have sessions to end in the cluster.
        self.verifier.stop();
        // It has the lease to give up, which the venue did last.
        if let Some(joined) = self.joined {
            joined.stop();
        }
        let unstored = storing::stop(self.store, &self.config);
        failure = failure.or(unstored);
        self.shared.measuring.write_last();
        // Last, so that it can be seen until the end how far the stop is.
        if let Some(control) = self.control {
            control.stop();
        }
        drop(self.socket_file);
        self.log_file.finish();
        failure
    }
}

/// What a thread did: in a line, and all of it for who looks closer (`RUST_LOG=info,tickring::report=debug`).
fn tell(report: &(impl Display + Debug)) {
    log::info!("{report}");
    log::debug!(target: "tickring::report", "{report:?}");
}

/// What the kernel has refused.
fn os(error: std::io::Error) -> Failure {
    Failure::new(Exit::OsError, format!("cannot start: {error}"), "see ulimit -a")
}

impl Shared {
    /// Of threads with these doorbells, the last of which is the venue; and what each of them records with.
    fn new(
        config: &Config,
        doorbells: &[Doorbell],
        keyring: &Arc<Keyring>,
        lifecycle: Arc<Lifecycle>,
    ) -> (Shared, Vec<Recorder>) {
        let shards = doorbells.len() - 1;
        let boards = (0..shards).map(Board::of_shard).chain([Board::of_venue()]).map(Arc::new);
        let boards: Vec<Arc<Board>> = boards.collect();
        let (recorders, histograms) = measuring::recorders(&boards, doorbells);
        let shared = Shared {
            lifecycle,
            stop: Arc::new(Stop::default()),
            pressure: Arc::new(PressureBoard::new(shards + 1)),
            admission: Arc::new(admission(&config.limits)),
            measuring: Measuring::new(&config.service, &histograms, &boards),
            boards,
            pulses: (0..=shards).map(|_| Arc::default()).collect(),
            histograms,
            bounds: Arc::new(ArcSwap::from_pointee(operators::bounds(config))),
            switch: Arc::new(HaltSwitch::default()),
            keyring: Arc::new(ArcSwap::new(Arc::clone(keyring))),
            linked: (0..shards).map(|_| Arc::default()).collect(),
        };
        (shared, recorders)
    }
}

fn venue_failure(error: &VenueError) -> Failure {
    match error {
        VenueError::Feed(error) => Failure::new(Exit::Data, error.to_string(), "check the recording"),
        VenueError::Ring(_) | VenueError::Turn(_) => software(format!("the venue ended: {error}")),
    }
}

fn software(what: String) -> Failure {
    Failure::new(Exit::Software, what, "this is a bug in tickring, or the host is broken")
}

/// TLS of each listener, in the order of the configuration.
fn listeners_tls(config: &Config) -> Result<Vec<Option<Tls>>, Failure> {
    let mut all = Vec::with_capacity(config.listen.len());
    for listen in &config.listen {
        let tls = listen.tls.as_ref().map(Tls::new).transpose()?;
        if let Some(tls) = &tls {
            let address = listen.address;
            log::info!("{address}: TLS by a certificate with the SHA-256 fingerprint {}", tls.fingerprint());
        }
        all.push(tls);
    }
    Ok(all)
}

/// Looks whether the kernel has all that is used, and says what is missing.
fn check_host(ring: &RingConfig) -> Result<(), Failure> {
    let probed = probe::probe(ring);
    let mut fatal = None;
    for fault in &probed.faults {
        if fault.is_fatal() && fatal.is_none() {
            fatal = Some(fault);
        } else {
            log::warn!("{fault}");
        }
    }
    match fatal {
        None => Ok(()),
        Some(fault) => Err(Failure::new(
            Exit::Unavailable,
            format!("this host cannot run it: {fault}"),
            "mend that and start again",
        )),
    }
}

fn ring_config(config: &Config) -> RingConfig {
    let usual = RingConfig::default();
    let connections_max = config.shards.ring_places();
    RingConfig {
        connections_max,
        // A peer that does not read keeps its send's buffer: with one for each connection, such peers can't take the
        // others' away. Memory is touched on first use, the buffer used last first.
        send_small_buffers: connections_max.max(usual.send_small_buffers),
        send_small_ready: limits::SEND_SMALL_READY,
        send_large_ready: limits::SEND_LARGE_READY,
        ..usual
    }
}

/// Chosen at random for each process.
fn seed() -> (u64, u64) {
    let random = || RandomState::new().build_hasher().finish();
    (random(), random())
}

fn spin(busy_poll: BusyPoll) -> Spin {
    match busy_poll {
        BusyPoll::Always => Spin::Always,
        BusyPoll::ForUs(us) => Spin::ForNs(us.saturating_mul(1000)),
    }
}

fn history(config: &Config) -> HistoryLimits {
    HistoryLimits {
        frames_max: config.topics.history_events_max,
        bytes_max: config.topics.history_bytes_max,
        replayed_bytes_per_turn: limits::REPLAYED_BYTES_PER_TURN,
    }
}

fn farewell(config: &Config) -> Farewell {
    let close_timeout_ns = u64::from(config.limits.close_timeout_ms) * 1_000_000;
    Farewell {
        spread_ns: u64::from(config.service.drain_spread_ms) * 1_000_000,
        within_ns: config.service.clients_gone_within_ns(close_timeout_ns),
    }
}

fn overload_marks(config: &Config) -> OverloadMarks {
    let marks = &config.overload;
    let bytes = |percent: u32| config.limits.memory_bytes_max / 100 * u64::from(percent);
    let ns = |ms: u32| u64::from(ms) * 1_000_000;
    let mark = |enter, leave| Mark { enter: bytes(enter), leave: bytes(leave) };
    OverloadMarks {
        guard_bytes: mark(marks.guard_percent, marks.guard_leave_percent),
        shed_bytes: mark(marks.shed_percent, marks.shed_leave_percent),
        guard_turn_ns: match marks.turn_ms_max {
            0 => Mark::NEVER,
            ms => Mark { enter: ns(ms), leave: ns(ms) / 2 },
        },
        dwell_ns: ns(marks.dwell_ms),
    }
}

/// The keys of the file, or those of a server without one.
fn keyring(config: &Config) -> Result<Keyring, Failure> {
    if config.auth.has_file() {
        keys::load(&config.auth.keys)
    } else {
        Ok(keys::without_file(config.auth.demo_key))
    }
}

fn admission(limits: &Limits) -> Admission {
    Admission::new(limits.connections_max, limits.connections_per_address_max, seed())
}

fn deflation(config: &Config) -> Deflation {
    let named = |kind: &ChannelKind| config.deflate.topics.iter().any(|name| name == kind.as_str());
    Deflation {
        level: config.deflate.level,
        message_bytes_min: config.deflate.message_bytes_min,
        kinds: ChannelKinds::of(ChannelKind::ALL.into_iter().filter(named)),
    }
}
