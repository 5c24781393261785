//! Backends of calls that the control thread carries: child processes and services over HTTP.
//!
//! Home: a task of the control thread. Invariants: nothing here waits for a backend or a shard; a call that was taken has one outcome,
//! unless it was cancelled; what a shard's queue has no room for is kept and sent later, in order; a backend that is taken away or
//! changed answers what it was asked before it ends.

mod invalidating;
mod nodes;
mod processes;
mod services;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::backend::settings::{BackendSettings, WaySettings};
use crate::backend::stdio;
use crate::calls::{FromControl, Full, OwnedCall, OwnedOutcome, Switchboard, ToControl};
use crate::clock;
use crate::limits;
use crate::model::call::{BackendId, CallFailure, CallKey};
use crate::model::ids::HomeId;
use crate::model::invalidation::{Invalidation, Methods};
use crate::model::time::Now;
use crate::telemetry::BackendStatus;

use super::mcp::{PipeLine, PipeSaid};
use invalidating::Invalidating;
use nodes::Nodes;
pub use nodes::{NodesSetup, NoticesBoard};
use processes::Processes;
use services::Services;

/// How often operators are told how backends are.
const LOOK: Duration = Duration::from_secs(1);

/// What the task is made from.
#[derive(Debug)]
pub struct BackendsSetup {
    pub switchboard: Switchboard,
    pub settings: Wanted,
    /// Newer ones, from the main thread.
    pub newer: mpsc::UnboundedReceiver<Wanted>,
    /// Where operators find how they are.
    pub status: Arc<ArcSwap<Vec<BackendStatus>>>,
    /// Of its cluster; none of a node by itself.
    pub nodes: Option<NodesSetup>,
}

/// What operators have forgotten, which this node's shards were asked to do, for the other nodes.
#[derive(Debug)]
pub(super) struct ForNodes {
    pub(super) invalidation: Invalidation,
    /// A shard has not said that it has done it: it may not have been asked, behind a question that waits for somebody else.
    pub(super) is_owed: bool,
    /// Whether NATS was there; `None` of a node by itself.
    pub(super) told: oneshot::Sender<Option<bool>>,
}

/// What there is to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub backends: Vec<BackendSettings>,
    /// Bytes of an answer.
    pub answer_bytes_max: usize,
}

/// See the file's head.
pub(super) struct Backends {
    board: Switchboard,
    /// What shards have had no room for, by their numbers.
    kept: BTreeMap<HomeId, VecDeque<FromControl>>,
    newer: mpsc::UnboundedReceiver<Wanted>,
    status: Arc<ArcSwap<Vec<BackendStatus>>>,
    /// By a number that is not given twice: of two that have a name, one is leaving.
    backends: BTreeMap<u64, Backend>,
    /// Those that get calls.
    by_id: BTreeMap<BackendId, u64>,
    next_serial: u64,
    /// Who carries a call.
    carriers: BTreeMap<CallKey, u64>,
    /// To those who speak MCP.
    mcp: PipeLine,
    happened: mpsc::UnboundedReceiver<Happened>,
    here: mpsc::UnboundedSender<Happened>,
    /// Results that hold no more, and who else is told of it.
    invalidating: Invalidating,
    nodes: Nodes,
    /// What operators have said.
    of_operators: mpsc::Receiver<ForNodes>,
    /// Those whose calls wait for others.
    gathering: BTreeSet<u64>,
    /// When the earliest of them has something to do.
    due_ns: Option<u64>,
}

/// One backend, while it is there.
struct Backend {
    settings: BackendSettings,
    answer_bytes_max: usize,
    carrier: Carrier,
    is_leaving: bool,
}

enum Carrier {
    Processes(Box<Processes>),
    Services(Box<Services>),
}

/// What tasks tell of backends, by their serial numbers.
enum Happened {
    Process { serial: u64, child: processes::ChildId, event: stdio::link::Event },
    Service { serial: u64, event: services::Event },
}

/// What a backend is handed with whatever it is told.
struct Scene {
    now: Now,
    serial: u64,
    here: mpsc::UnboundedSender<Happened>,
    /// How far calls have come, to be sent, before outcomes.
    progress: Vec<(CallKey, Box<[u8]>)>,
    /// Outcomes of calls, to be sent.
    outcomes: Vec<(CallKey, OwnedOutcome)>,
    /// Methods whose kept results hold no more.
    invalidated: Vec<Methods>,
}

impl Scene {
    /// Any number, each time another.
    fn chance(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }

    fn now_ns(&self) -> u64 {
        self.now.mono_ns
    }
}

impl Backends {
    pub(super) fn new(
        setup: BackendsSetup,
        mcp: PipeLine,
        of_operators: mpsc::Receiver<ForNodes>,
    ) -> Backends {
        let BackendsSetup { switchboard, settings, newer, status, nodes } = setup;
        let (here, happened) = mpsc::unbounded_channel();
        let mut backends = Backends {
            board: switchboard,
            kept: BTreeMap::new(),
            newer,
            status,
            backends: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_serial: 0,
            carriers: BTreeMap::new(),
            mcp,
            happened,
            here,
            invalidating: Invalidating::default(),
            nodes: Nodes::new(nodes),
            of_operators,
            gathering: BTreeSet::new(),
            due_ns: None,
        };
        backends.want(settings);
        backends
    }

    /// Carries calls until `stopped`, then ends all backends.
    ///
    /// # Errors
    /// The runtime can't watch the shards' doorbell.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let bell = self.board.bell()?;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut may_change = true;
        loop {
            let left_ns = self.due_ns.map(|due_ns| due_ns.saturating_sub(clock::now().mono_ns));
            tokio::select! {
                _ = &mut stopped => break,
                happened = self.happened.recv() => {
                    let happened = happened.expect("invariant: this has a sender of its own");
                    self.take(happened);
                }
                heard = self.board.wait(&bell) => {
                    heard?;
                    self.hear();
                    // Others of the thread have their turn.
                    tokio::task::yield_now().await;
                }
                invalidation = self.nodes.next() => self.invalidating.tell(invalidation, &mut self.board),
                Some(asked) = self.of_operators.recv() => self.take_asked(asked),
                Some((home, word)) = self.mcp.words.recv() => self.send(home, word),
                wanted = self.newer.recv(), if may_change => match wanted {
                    Some(wanted) => self.want(wanted),
                    None => may_change = false,
                },
                () = sleep(Duration::from_nanos(left_ns.unwrap_or_default())), if left_ns.is_some() => {
                    self.handle_timeout();
                }
                _ = looks.tick() => self.tell_status(),
            }
            self.end_round();
            self.tell_invalidated();
            self.send_kept();
            self.board.announce();
        }
        self.end_all().await;
        Ok(())
    }

    /// What shards have said, so much of it at a time.
    fn hear(&mut self) {
        for _ in 0..limits::CALL_WORDS_PER_ROUND {
            let Some((home, word)) = self.board.receive() else { break };
            match word {
                ToControl::Call(call) => self.call(home, call),
                ToControl::Cancel(key) => self.cancel(key),
                ToControl::Opened { conn, peer } => self.relay(PipeSaid::Opened { home, conn, peer }),
                ToControl::Text { conn, text } => self.relay(PipeSaid::Text { home, conn, text }),
                ToControl::Closed { conn } => self.relay(PipeSaid::Closed { home, conn }),
                ToControl::Invalidated(invalidation) => match &invalidation.backend {
                    Some(backend) => self.invalidating.add(backend, invalidation.methods.clone()),
                    // More backends said so than a shard remembers while this task is behind.
                    None => {
                        self.nodes.tell(Invalidation::clone(&invalidation));
                        self.invalidating.tell(Invalidation::clone(&invalidation), &mut self.board);
                    }
                },
            }
        }
    }

    /// What a connection of another protocol has to say.
    fn relay(&self, said: PipeSaid) {
        // Its task ends with the thread.
        let _ = self.mcp.said.send(said);
    }

    fn call(&mut self, home: HomeId, call: OwnedCall) {
        let (key, id) = (call.key, call.backend);
        if !self.by_id.contains_key(&id) {
            // Shards hear of a backend behind this task, which may not have looked yet.
            while let Ok(wanted) = self.newer.try_recv() {
                self.want(wanted);
            }
        }
        let refused = match self.by_id.get(&id).copied() {
            None => Err(CallFailure::Unavailable),
            Some(serial) => {
                if let Some(key) = key {
                    self.carriers.insert(key, serial);
                }
                self.with(serial, |backend, scene| backend.carrier.call(call, scene)).unwrap_or(Ok(()))
            }
        };
        if let (Err(failure), Some(key)) = (refused, key) {
            self.carriers.remove(&key);
            self.send(home, FromControl::Answered { key, outcome: OwnedOutcome::Failed(failure) });
        }
    }

    fn cancel(&mut self, key: CallKey) {
        if let Some(serial) = self.carriers.remove(&key) {
            self.with(serial, |backend, scene| backend.carrier.cancel(key, scene));
        }
    }

    fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Process { serial, child, event } => {
                self.with(serial, |backend, scene| match &mut backend.carrier {
                    Carrier::Processes(processes) => processes.handle_event(child, event, scene),
                    Carrier::Services(_) => {}
                });
            }
            Happened::Service { serial, event } => {
                self.with(serial, |backend, scene| match &mut backend.carrier {
                    Carrier::Services(services) => services.handle_event(event, scene),
                    Carrier::Processes(_) => {}
                });
            }
        }
    }

    fn handle_timeout(&mut self) {
        self.due_ns = None;
        let serials: Vec<u64> = self.backends.keys().copied().collect();
        for serial in serials {
            self.with(serial, |backend, scene| backend.carrier.handle_timeout(scene));
        }
    }

    /// All that was there at once has been taken: what waits for others no longer is sent.
    fn end_round(&mut self) {
        for serial in std::mem::take(&mut self.gathering) {
            self.with(serial, |backend, scene| backend.carrier.end_round(scene));
        }
    }

    /// Has a backend do something, and sends what comes of it. One that has left and is done is forgotten.
    fn with<T>(&mut self, serial: u64, what: impl FnOnce(&mut Backend, &mut Scene) -> T) -> Option<T> {
        let backend = self.backends.get_mut(&serial)?;
        let mut scene = Scene {
            now: clock::now(),
            serial,
            here: self.here.clone(),
            progress: Vec::new(),
            outcomes: Vec::new(),
            invalidated: Vec::new(),
        };
        let done = what(backend, &mut scene);
        let due_ns = backend.carrier.poll_timeout();
        for methods in scene.invalidated {
            self.invalidating.add(&backend.settings.name, methods);
        }
        if backend.carrier.is_gathering() {
            self.gathering.insert(serial);
        }
        if backend.is_leaving && backend.carrier.is_gone() {
            log::info!("backend {} has ended", backend.settings.name);
            self.backends.remove(&serial);
        }
        self.due_ns = self.due_ns.into_iter().chain(due_ns).min();
        for (key, value) in scene.progress {
            // Who is behind is spared it.
            if self.kept.get(&key.home).is_none_or(VecDeque::is_empty) {
                self.send(key.home, FromControl::Progressed { key, value });
            }
        }
        for (key, outcome) in scene.outcomes {
            if self.carriers.remove(&key).is_some() {
                self.send(key.home, FromControl::Answered { key, outcome });
            }
        }
        Some(done)
    }

    /// Has these from now on. One that is as it was stays; one that is gone or differs answers what it was asked, and ends.
    fn want(&mut self, wanted: Wanted) {
        let Wanted { backends, answer_bytes_max } = wanted;
        let mut by_id = BTreeMap::new();
        // Those that speak MCP are `mcp.rs`'s.
        for settings in backends.into_iter().filter(|settings| !settings.way.speaks_mcp()) {
            let id = settings.id;
            let is_same = |backend: &Backend| {
                backend.settings.way == settings.way
                    && backend.settings.name == settings.name
                    && backend.answer_bytes_max == answer_bytes_max
            };
            let serial = match self.by_id.remove(&id) {
                Some(serial) if self.backends.get(&serial).is_some_and(is_same) => serial,
                before => {
                    before.into_iter().for_each(|serial| self.dismiss(serial));
                    self.begin(settings, answer_bytes_max)
                }
            };
            by_id.insert(id, serial);
        }
        let gone = std::mem::replace(&mut self.by_id, by_id);
        gone.into_values().for_each(|serial| self.dismiss(serial));
        self.tell_status();
    }

    fn begin(&mut self, settings: BackendSettings, answer_bytes_max: usize) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let now = clock::now();
        let carrier = match &settings.way {
            WaySettings::Stdio(process) => Carrier::Processes(Box::new(Processes::new(
                &settings.name,
                process.clone(),
                answer_bytes_max,
                now,
            ))),
            WaySettings::Http(http) => Carrier::Services(Box::new(Services::new(
                &settings.name,
                http.clone(),
                answer_bytes_max,
                now,
            ))),
            WaySettings::Tcp(_) => unreachable!("invariant: shards carry these, control is not told of them"),
            WaySettings::McpStdio(..) | WaySettings::McpHttp(..) => {
                unreachable!("invariant: these are not wanted here")
            }
        };
        self.backends.insert(serial, Backend { settings, answer_bytes_max, carrier, is_leaving: false });
        self.with(serial, |backend, scene| backend.carrier.begin(scene));
        serial
    }

    fn dismiss(&mut self, serial: u64) {
        self.with(serial, |backend, _| {
            backend.is_leaving = true;
            backend.carrier.drain();
        });
    }

    /// A word for a shard; kept where it has no room, or others wait.
    fn send(&mut self, home: HomeId, word: FromControl) {
        let kept = self.kept.entry(home).or_default();
        if kept.is_empty() {
            match self.board.send(home, word) {
                Ok(()) => {}
                Err(Full(word)) => kept.push_back(word),
            }
        } else {
            kept.push_back(word);
        }
    }

    fn take_asked(&mut self, asked: ForNodes) {
        let ForNodes { invalidation, is_owed, told } = asked;
        // Who asked may have gone.
        let _ = told.send(self.nodes.tell(invalidation.clone()));
        if is_owed {
            self.invalidating.tell(invalidation, &mut self.board);
        }
    }

    /// What backends have said holds no more, to all shards and nodes.
    fn tell_invalidated(&mut self) {
        let now_ns = clock::now().mono_ns;
        while let Some(invalidation) = self.invalidating.poll(now_ns) {
            self.nodes.tell(invalidation.clone());
            self.invalidating.tell(invalidation, &mut self.board);
        }
        self.nodes.handle_timeout(now_ns);
        let mut due_ns = self.invalidating.poll_timeout().into_iter().chain(self.nodes.poll_timeout()).min();
        if !self.invalidating.tell_owed(&mut self.board) {
            due_ns = due_ns.into_iter().chain([now_ns + limits::CALL_ROOM_LOOK_NS]).min();
        }
        self.due_ns = self.due_ns.into_iter().chain(due_ns).min();
    }

    fn send_kept(&mut self) {
        let Backends { kept, board, due_ns, .. } = self;
        for (home, words) in kept {
            while let Some(word) = words.pop_front() {
                if let Err(Full(word)) = board.send(*home, word) {
                    words.push_front(word);
                    // Nobody says when there is room again: it is looked for.
                    let look_ns = clock::now().mono_ns + limits::CALL_ROOM_LOOK_NS;
                    *due_ns = Some(due_ns.map_or(look_ns, |due_ns| due_ns.min(look_ns)));
                    break;
                }
            }
        }
    }

    fn tell_status(&self) {
        let now_ns = clock::now().mono_ns;
        // One that leaves may have the name of another.
        let staying = self.backends.values().filter(|backend| !backend.is_leaving);
        let told = staying.map(|backend| BackendStatus {
            name: backend.settings.name.clone(),
            kind: backend.carrier.kind(),
            is_up: backend.carrier.is_up(now_ns),
            members: backend.carrier.members(now_ns),
            counters: backend.carrier.counters(),
        });
        let of_mcp = self.mcp.status.load_full();
        self.status.store(Arc::new(told.chain(of_mcp.iter().cloned()).collect()));
    }

    /// Nobody waits any more: all are told to end, and waited for.
    async fn end_all(&mut self) {
        let serials: Vec<u64> = self.backends.keys().copied().collect();
        for serial in serials {
            self.with(serial, |backend, _| backend.carrier.forget_calls());
            self.dismiss(serial);
            self.with(serial, |backend, _| backend.carrier.abandon());
        }
        while !self.backends.is_empty() {
            let happened = self.happened.recv().await.expect("invariant: this has a sender of its own");
            self.take(happened);
            self.send_kept();
            self.board.announce();
        }
    }
}

impl Carrier {
    fn kind(&self) -> &'static str {
        match self {
            Carrier::Processes(_) => "stdio",
            Carrier::Services(_) => "http",
        }
    }

    /// Starts what is to be there before the first call.
    fn begin(&mut self, scene: &mut Scene) {
        match self {
            Carrier::Processes(processes) => processes.begin(scene),
            Carrier::Services(services) => services.handle_timeout(scene),
        }
    }

    fn call(&mut self, call: OwnedCall, scene: &mut Scene) -> Result<(), CallFailure> {
        match self {
            Carrier::Processes(processes) => processes.call(call, scene),
            Carrier::Services(services) => services.call(call, scene),
        }
    }

    fn cancel(&mut self, key: CallKey, scene: &mut Scene) {
        match self {
            Carrier::Processes(processes) => processes.cancel(key, scene),
            Carrier::Services(services) => services.cancel(key, scene),
        }
    }

    fn handle_timeout(&mut self, scene: &mut Scene) {
        match self {
            Carrier::Processes(processes) => processes.handle_timeout(scene),
            Carrier::Services(services) => services.handle_timeout(scene),
        }
    }

    /// Whether calls wait for others, to be sent as one.
    fn is_gathering(&self) -> bool {
        match self {
            // What a pipe takes at once is one write.
            Carrier::Processes(_) => false,
            Carrier::Services(services) => services.is_gathering(),
        }
    }

    /// Sends those that wait no longer.
    fn end_round(&mut self, scene: &Scene) {
        match self {
            Carrier::Processes(_) => {}
            Carrier::Services(services) => services.end_round(scene),
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        match self {
            Carrier::Processes(processes) => processes.poll_timeout(),
            Carrier::Services(services) => services.poll_timeout(),
        }
    }

    /// It gets no further calls, and ends when it has answered those that it has.
    fn drain(&mut self) {
        match self {
            Carrier::Processes(processes) => processes.drain(),
            Carrier::Services(services) => services.drain(),
        }
    }

    /// Nobody waits for the calls under way: processes do not finish them before they end.
    fn forget_calls(&mut self) {
        match self {
            Carrier::Processes(processes) => processes.forget_calls(),
            Carrier::Services(_) => {}
        }
    }

    /// Nobody waits for what is under way any more.
    fn abandon(&mut self) {
        match self {
            // They end within their own time, whatever they do.
            Carrier::Processes(_) => {}
            Carrier::Services(services) => services.abandon(),
        }
    }

    /// Whether nothing of it is left, once it drains.
    fn is_gone(&self) -> bool {
        match self {
            Carrier::Processes(processes) => processes.is_gone(),
            Carrier::Services(services) => services.is_gone(),
        }
    }

    fn is_up(&self, now_ns: u64) -> bool {
        match self {
            Carrier::Processes(processes) => processes.is_up(),
            Carrier::Services(services) => services.is_up(now_ns),
        }
    }

    fn members(&self, now_ns: u64) -> Vec<crate::telemetry::BackendMember> {
        match self {
            Carrier::Processes(processes) => processes.members(),
            Carrier::Services(services) => services.members(now_ns),
        }
    }

    fn counters(&self) -> crate::telemetry::BackendCounters {
        match self {
            Carrier::Processes(processes) => processes.counters(),
            Carrier::Services(services) => services.counters(),
        }
    }
}
