//! The Model Context Protocol on the control thread: one task drives the relay (`dialect/mcp`), which is PURE, beside the clients'
//! HTTP and the backends' processes and connections.
//!
//! Home: the control thread. Invariants: every queue between the task and what it drives is bounded; a backend that is not read is
//! cut, a reader of events that does not read is detached and may come back by the last event that it has.

mod clients;
mod http;
mod pipes;
mod process;
mod reader;
mod remote;
mod wanted;

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::auth::Keyring;
use crate::backend::settings::{HttpSettings, ProcessSettings};
use crate::clock;
use crate::dialect::mcp::{
    BackendKey, BackendSettings, BackendState, LinkId, News, Output, OwnCallId, Relay, SessionId, Settings,
};
use crate::dialect::tools::{Tool, ToolResult};
use crate::limits;
use crate::telemetry::{BackendCounters, BackendMember, BackendStatus};

use clients::{Asked, Clients};
use pipes::Pipes;
pub(super) use pipes::{PipeLine, PipeSaid};

use super::tools::OwnTools;

/// Words of clients and backends that wait for the task: each of them waits in turn, so this is no bound of theirs.
const WORDS_MAX: usize = 32;
/// How often operators are told how backends are.
const LOOK: Duration = Duration::from_secs(1);
/// Texts that wait for a backend. One that takes none is cut.
const LINK_TEXTS_MAX: usize = 1024;

/// What it is made from.
#[derive(Debug)]
pub struct McpSetup {
    /// Bound already; none where clients come over WebSocket alone.
    pub listener: Option<TcpListener>,
    pub access: McpAccess,
    /// Those of the gateway's own tools that are offered.
    pub own: &'static [Tool],
    /// In the order of the configuration.
    pub backends: Vec<McpBackend>,
    /// Others, from the main thread.
    pub newer: mpsc::UnboundedReceiver<McpWanted>,
}

/// What there is to be from now on.
#[derive(Debug)]
pub struct McpWanted {
    /// In the order of the configuration.
    pub backends: Vec<McpBackend>,
    /// Bound already, where clients are to come over HTTP who could not before.
    pub listener: Option<TcpListener>,
}

/// Who may come over HTTP.
#[derive(Clone, Debug, Default)]
pub struct McpAccess {
    /// Origins of web pages, beside those of this machine: `https://host[:port]`.
    pub origins: Vec<Box<str>>,
    /// Names in `Host` by which it is reached, where it listens on loopback; beside addresses and `localhost`.
    pub hosts: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct McpBackend {
    pub settings: BackendSettings,
    pub way: McpWay,
}

/// How a backend is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum McpWay {
    Process(ProcessSettings),
    Remote(HttpSettings),
}

/// What is said to the task.
#[derive(Debug)]
enum Word {
    Asked(Asked),
    /// A backend said this.
    Said {
        link: LinkId,
        run: u64,
        text: String,
    },
    /// A backend said more at a time than may be.
    Overlong {
        link: LinkId,
        run: u64,
    },
    Ended {
        link: LinkId,
        run: u64,
    },
}

/// A backend that runs.
#[derive(Debug)]
struct Running {
    /// Which of the link's it is: what an earlier one still says is dropped.
    run: u64,
    texts: mpsc::Sender<String>,
    unread_bytes: Arc<AtomicUsize>,
}

/// What a backend is to be told.
#[derive(Debug)]
struct Texts {
    texts: mpsc::Receiver<String>,
    unread_bytes: Arc<AtomicUsize>,
}

impl Texts {
    /// None where it is not wanted any more.
    async fn next(&mut self) -> Option<String> {
        let text = self.texts.recv().await?;
        self.unread_bytes.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }

    /// So many bytes were taken, but wait on.
    fn hold(&self, bytes: usize) -> Held {
        self.unread_bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { unread_bytes: Arc::clone(&self.unread_bytes), bytes }
    }
}

/// Bytes that count as waiting as long as this is there.
#[derive(Debug)]
struct Held {
    unread_bytes: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What there is for clients, as those who let them in have to know.
#[derive(Debug)]
struct Offer {
    own: &'static [Tool],
    /// There is anything at all.
    is_any: AtomicBool,
    /// Somebody without a key has something to see: the gateway's own tools, or a backend whose `access` is `public`.
    is_public: AtomicBool,
}

struct Carrier {
    relay: Relay,
    /// Those that are leaving, too.
    backends: BTreeMap<BackendKey, McpBackend>,
    /// Those that clients see, in the order of the configuration.
    order: Vec<BackendKey>,
    last_key: u64,
    offer: Arc<Offer>,
    access: McpAccess,
    clients: Clients,
    pipes: Pipes,
    running: BTreeMap<LinkId, Running>,
    /// Those of backends, also of such that are ending.
    tasks: JoinSet<()>,
    runs: u64,
    own: Arc<OwnTools>,
    /// Those of own tools that are under way.
    calls: JoinSet<(OwnCallId, ToolResult)>,
    keyring: Arc<ArcSwap<Keyring>>,
    words: mpsc::Sender<Word>,
    status: Arc<ArcSwap<Vec<BackendStatus>>>,
}

/// Starts the task, and listens where clients are to come; those over WebSocket come by the line.
///
/// # Errors
/// The socket can't be used.
pub(super) fn start(
    setup: McpSetup,
    keyring: Arc<ArcSwap<Keyring>>,
    tools: Arc<OwnTools>,
) -> io::Result<(PipeLine, Mcp)> {
    let McpSetup { listener, access, own, backends, newer } = setup;
    let (words, hearing) = mpsc::channel(WORDS_MAX);
    let (pipes, said, line) = Pipes::new();
    let mut carrier = Carrier {
        relay: Relay::new(Settings { own, gateway_version: env!("CARGO_PKG_VERSION") }),
        backends: BTreeMap::new(),
        order: Vec::new(),
        last_key: 0,
        offer: Arc::new(Offer { own, is_any: AtomicBool::new(false), is_public: AtomicBool::new(false) }),
        access,
        clients: Clients::default(),
        pipes,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        runs: 0,
        own: tools,
        calls: JoinSet::new(),
        keyring,
        words,
        status: Arc::clone(&line.status),
    };
    carrier.want_backends(backends);
    if let Some(listener) = listener {
        carrier.listen(listener)?;
    }
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(carrier.run(hearing, said, newer, stopped));
    Ok((line, Mcp { stop, task }))
}

/// The task, as long as it runs.
#[derive(Debug)]
pub(super) struct Mcp {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Mcp {
    /// Ends all backends, each as it likes to be ended, in bounded time.
    pub(super) async fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        // A panic has aborted the process already.
        let _ = self.task.await;
    }
}

impl Carrier {
    async fn run(
        mut self,
        mut words: mpsc::Receiver<Word>,
        mut said: mpsc::UnboundedReceiver<PipeSaid>,
        mut newer: mpsc::UnboundedReceiver<McpWanted>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.settle();
            let pause_ns =
                self.relay.poll_timeout().map(|due_ns| due_ns.saturating_sub(clock::now().mono_ns));
            let pause = Duration::from_nanos(pause_ns.unwrap_or(u64::MAX / 4));
            tokio::select! {
                _ = &mut stopped => break,
                // Those that have ended are forgotten.
                Some(_) = self.tasks.join_next() => {}
                Some(called) = self.calls.join_next() => {
                    // A panic has aborted the process already, and nobody cancels them.
                    if let Ok((call, result)) = called {
                        self.relay.handle_called(call, &result);
                    }
                }
                word = words.recv() => {
                    // The task holds an end of it itself.
                    let Some(word) = word else { return };
                    self.catch_up(&mut newer);
                    self.take(word);
                }
                Some(wanted) = newer.recv() => self.want(wanted),
                Some(said) = said.recv() => {
                    self.catch_up(&mut newer);
                    self.pipes.take(&mut self.relay, said, clock::now().mono_ns);
                }
                _ = looks.tick() => {
                    let now = clock::now();
                    self.clients.expire(&mut self.relay, now.mono_ns);
                    self.clients.end_revoked(&mut self.relay, &self.keyring.load(), now);
                    self.tell_status();
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.relay.handle_timeout(clock::now().mono_ns);
        }
        // A backend ends when nobody can send to it any more, and says so to the end.
        self.running.clear();
        drop(self.words);
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => if ended.is_none() { return },
                word = words.recv() => if word.is_none() { return },
            }
        }
    }

    /// How backends are, for operators. One that leaves may have the name of another.
    fn tell_status(&self) {
        let told = self.order.iter().filter_map(|key| {
            let backend = &self.backends[key];
            let BackendState { is_up, links, requests, counters } = self.relay.state(*key)?;
            let (kind, noun) = match &backend.way {
                McpWay::Process(_) => ("mcp-stdio", "processes"),
                McpWay::Remote(_) => ("mcp-http", "sessions"),
            };
            let member = BackendMember {
                name: format!("{links} {noun}").into(),
                state: if is_up { "up" } else { "down" },
                under_way: u32::try_from(requests).unwrap_or(u32::MAX),
                ..BackendMember::default()
            };
            Some(BackendStatus {
                name: backend.settings.name.clone(),
                kind,
                is_up,
                members: vec![member],
                counters: BackendCounters {
                    calls_total: counters.requests_total,
                    answered_total: counters.answered_total,
                    failed_total: counters.failed_total,
                    starts_total: counters.starts_total,
                    ends_total: counters.ends_total,
                    garbage_total: counters.noise_total + counters.unaddressed_total,
                    late_total: counters.late_total,
                    ..BackendCounters::default()
                },
            })
        });
        self.status.store(Arc::new(told.collect()));
    }

    fn take(&mut self, word: Word) {
        let now_ns = clock::now().mono_ns;
        match word {
            Word::Asked(asked) => self.clients.take(&mut self.relay, asked, now_ns),
            Word::Said { link, run, text } => {
                if self.is_current(link, run) {
                    self.relay.handle_server(link, &text, now_ns);
                }
            }
            Word::Overlong { link, run } => {
                if self.is_current(link, run) {
                    self.relay.handle_overlong(link, now_ns);
                }
            }
            Word::Ended { link, run } => {
                if self.is_current(link, run) {
                    self.running.remove(&link);
                    self.relay.handle_link_down(link, now_ns);
                }
            }
        }
    }

    fn is_current(&self, link: LinkId, run: u64) -> bool {
        self.running.get(&link).is_some_and(|running| running.run == run)
    }

    /// Does all that the relay wants done.
    fn settle(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::ToClient { session, text, .. } if self.pipes.tell(session, &text) => {}
                Output::ToClient { session, stream, text, is_answer } => {
                    self.clients.tell(session, stream, &text, is_answer);
                    self.end_if_passing(session, is_answer);
                }
                Output::Cancelled { session, stream } => self.clients.cancelled(session, stream),
                Output::Open { link, backend } => self.open(link, backend),
                Output::ToServer { link, text } => self.send(link, text),
                Output::Close { link } => {
                    // It ends when nobody can send to it any more.
                    self.running.remove(&link);
                }
                Output::Call { call, session, request } => self.call(call, session, request),
                Output::News { backend, news } => {
                    self.log(backend, &news);
                    if news == News::Left {
                        self.backends.remove(&backend);
                    }
                }
            }
        }
    }

    /// Has a tool of the gateway's own called in the name of a session's client.
    fn call(&mut self, call: OwnCallId, session: SessionId, request: String) {
        let caller = self.pipes.caller(session).or_else(|| self.clients.caller(session)).cloned();
        let own = Arc::clone(&self.own);
        self.calls.spawn(async move {
            let result = match caller {
                Some(caller) => own.call(&request, &caller).await,
                None => ToolResult::fault("not called: its client is gone"),
            };
            (call, result)
        });
    }

    /// A session for one request ends with its answer.
    fn end_if_passing(&mut self, session: SessionId, is_answer: bool) {
        if is_answer && self.clients.end_passing(session) {
            self.relay.close_session(session, clock::now().mono_ns);
        }
    }

    fn open(&mut self, link: LinkId, backend: BackendKey) {
        self.runs += 1;
        let run = self.runs;
        let (texts, queue) = mpsc::channel(LINK_TEXTS_MAX);
        let unread_bytes = Arc::<AtomicUsize>::default();
        let queue = Texts { texts: queue, unread_bytes: Arc::clone(&unread_bytes) };
        self.running.insert(link, Running { run, texts, unread_bytes });
        let McpBackend { settings, way } = &self.backends[&backend];
        let name = settings.name.clone();
        let mouth = Mouth { link, run, words: self.words.clone() };
        match way {
            McpWay::Process(settings) => {
                self.tasks.spawn(process::run(settings.clone(), name, queue, mouth));
            }
            McpWay::Remote(settings) => {
                self.tasks.spawn(remote::run(settings.clone(), name, queue, mouth));
            }
        }
    }

    fn send(&mut self, link: LinkId, text: String) {
        let Some(running) = self.running.get(&link) else { return };
        let unread_bytes = running.unread_bytes.fetch_add(text.len(), Ordering::Relaxed) + text.len();
        let is_stuck = unread_bytes > limits::MCP_LINK_UNREAD_BYTES_MAX;
        if is_stuck || running.texts.try_send(text).is_err() {
            // It ended, or reads nothing.
            self.running.remove(&link);
            self.relay.handle_link_down(link, clock::now().mono_ns);
        }
    }

    fn log(&self, backend: BackendKey, news: &News) {
        let name = |backend: BackendKey| &*self.backends[&backend].settings.name;
        let own = name(backend);
        match news {
            News::Up => log::info!("backend {own}: up"),
            News::Left => {
                log::info!("backend {own}, as it was before: nothing is under way there any more, it ends");
            }
            News::Down { pause_ns } => {
                log::warn!("backend {own}: down, started again in {} ms", pause_ns / 1_000_000);
            }
            News::Refused(why) => log::warn!("backend {own}: {why}"),
            News::LeftOut { list, entries } => {
                log::warn!(
                    "backend {own}: {entries} of its {list} are left out: no such entries, or past the bounds"
                );
            }
            News::Conflict { list, name: what, keeper: Some(keeper) } => log::warn!(
                "backend {own}: of its {list}, {} is that of backend {}: give one of them another prefix",
                what.escape_debug(),
                name(*keeper)
            ),
            News::Conflict { list, name: what, keeper: None } => log::warn!(
                "backend {own}: of its {list}, {} is one of the gateway's own: give it another prefix",
                what.escape_debug()
            ),
        }
    }
}

/// By which a backend's task says what comes.
#[derive(Clone, Debug)]
struct Mouth {
    link: LinkId,
    run: u64,
    words: mpsc::Sender<Word>,
}

impl Mouth {
    /// False where nobody listens any more.
    async fn say(&self, text: String) -> bool {
        self.words.send(Word::Said { link: self.link, run: self.run, text }).await.is_ok()
    }

    async fn overlong(&self) {
        let _ = self.words.send(Word::Overlong { link: self.link, run: self.run }).await;
    }

    async fn ended(&self) {
        let _ = self.words.send(Word::Ended { link: self.link, run: self.run }).await;
    }
}
