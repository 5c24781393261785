//! The control thread: operators' HTTP, by axum on a tokio runtime of one thread (decision 0013).
//!
//! Home: one thread, batch work to the scheduler. Invariants: it never makes a shard wait: it reads boards that their threads fill,
//! and what it asks for is a flag, a signal or a doorbell; what is asked of it is bounded, in length as in time. What an answer
//! says is decided in `api`, which is PURE; this file carries.

mod answers;
pub mod backends;
mod door;
mod inspecting;
mod lifecycle;
mod logs;
mod mcp;
mod office;
mod process;
mod profiling;
mod streams;
mod tools;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::admission::Admission;
use crate::api::access::{self, Way};
use crate::api::dead_letters::Deed;
use crate::api::{self, Answer, ClusterView, Lines, Method, Question, ROUTES, Route, View};
use crate::auth::Keyring;
use crate::clock;
use crate::cluster::names::ClusterName;
use crate::cluster::node::Standing;
use crate::doorbell::Doorbell;
use crate::histograms::Histograms;
use crate::hub::{self, RateLimits};
use crate::inspect::Inspector;
use crate::inward::Inward;
use crate::log_file;
use crate::log_tail;
use crate::nats::{self, NatsBoard};
use crate::pressure::PressureBoard;
use crate::profiler::Profiler;
use crate::shard::BackendBoard;
use crate::store::{self, jetstream::JetStore};
use crate::switch::HaltSwitch;
use crate::telemetry::alerts::{self, Alerts};
use crate::telemetry::latency::Recent;
use crate::telemetry::{
    BackendStatus, Board, Looks, NatsReading, ProcessReading, Rates, Snapshot, StoreReading, Totals,
    merged_backends,
};

use answers::Answers;
use backends::{Backends, BackendsSetup, ForNodes, NoticesBoard};
pub use lifecycle::Lifecycle;
use logs::Logs;
pub use mcp::{McpAccess, McpBackend, McpSetup, McpWanted, McpWay};
use streams::{Readers, Streams};
use tools::OwnTools;

/// How often totals are looked at, for rates and alerts, and readers of events told.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a request's body, but for what is to be published.
const BODY_BYTES_MAX: usize = 4096;
/// How long a request may take to come in whole, behind its head.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the answer to the kill switch waits for the desk, which looks once a turn.
const HALT_PATIENCE: Duration = Duration::from_secs(1);
/// What operators have forgotten on other nodes, which waits to be told them: who asks for more waits.
const FOR_NODES_MAX: usize = 16;
const HALT_LOOK: Duration = Duration::from_millis(1);

/// What the control thread is made from.
#[derive(Debug)]
pub struct ControlSetup {
    /// Bound already.
    pub tcp: Option<TcpListener>,
    pub unix: Option<UnixListener>,
    pub source: Source,
    /// Carries the calls of backends that are processes or asked over HTTP.
    pub backends: BackendsSetup,
    /// Also where it is not served, as no backend speaks it and own tools are not offered: one may come.
    pub mcp: McpSetup,
    /// To a shard, in a client's name.
    pub inward: Inward,
    /// Puts the thread behind those that carry messages.
    pub give_way: fn() -> io::Result<()>,
    /// Starts the same stop as a signal.
    pub drain: fn(),
}

/// Where everything that is told comes from.
#[derive(Debug)]
pub struct Source {
    pub boards: Vec<Arc<Board>>,
    pub histograms: Arc<Histograms>,
    pub lifecycle: Arc<Lifecycle>,
    pub admission: Arc<Admission>,
    /// The newest.
    pub bounds: Arc<ArcSwap<Bounds>>,
    pub pressure: Arc<PressureBoard>,
    pub history_bytes_max: u64,
    pub switch: Arc<HaltSwitch>,
    /// The venue's.
    pub doorbell: Doorbell,
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// The shards'.
    pub inspector: Inspector,
    pub log_file: Arc<log_file::Progress>,
    /// None where there is no store.
    pub store: Option<Arc<store::Progress>>,
    /// In its place in a cluster.
    pub stream: Option<Arc<JetStore>>,
    /// None of a node by itself.
    pub nats: Option<Arc<NatsBoard>>,
    /// The same of what nodes tell each other of kept results.
    pub notices: Option<Arc<NoticesBoard>>,
    /// The cluster's name and the node's.
    pub cluster: Option<(ClusterName, ClusterName)>,
    /// How backends of calls are, once a second: those that are carried here, and those that each shard has links to.
    pub callees: BackendBoard,
    pub linked: Vec<BackendBoard>,
}

/// What of the configuration is told beside what it bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub connections_max: u32,
    pub memory_bytes_max: u64,
    pub turn_ns_max: u64,
    /// Whether `/debug` is answered.
    pub may_debug: bool,
    /// Whether anybody may publish, and how long a message.
    pub may_publish: bool,
    pub message_bytes_max: usize,
    /// How fast all operators together: as one client.
    pub publish_rates: RateLimits,
}

/// The main thread's end.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    /// Where it is listened on, if on TCP.
    address: Option<SocketAddr>,
    mcp_address: Option<SocketAddr>,
}

/// What the handlers share.
struct Shared {
    source: Source,
    looked: ArcSwap<Looked>,
    streams: Streams,
    profiler: Profiler,
    logs: Logs,
    answers: Answers,
    tools: Arc<OwnTools>,
    drain: fn(),
    for_nodes: mpsc::Sender<ForNodes>,
    /// Of this thread alone, so that nobody waits for it.
    rates_of_publishing: Mutex<(RateLimits, Option<Box<hub::Rates>>)>,
    requests_total: AtomicU64,
    failures_total: AtomicU64,
}

/// What of the past is known.
#[derive(Clone, Debug, Default)]
struct Looked {
    rates: Rates,
    looks: Looks,
    alerts: Alerts,
    latency: Vec<Recent>,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// The process is out of threads or descriptors.
    pub fn start(setup: ControlSetup) -> io::Result<Control> {
        let address = setup.tcp.as_ref().map(TcpListener::local_addr).transpose()?;
        let mcp_address = setup.mcp.listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stop, stopped) = oneshot::channel();
        // Here, so that what fails is heard of.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For the log's file (`logs.rs`), and to look up names of services.
            .thread_name("control-wait")
            .max_blocking_threads(4)
            .build()?;
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            if let Err(error) = (setup.give_way)() {
                log::debug!("the control thread keeps its priority: {error}");
            }
            if let Err(error) = runtime.block_on(serve(setup, stopped)) {
                log::error!("neither operators nor calls of backends are served: {error}");
            }
            // Who waits for a disk that does not answer is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Control { stop, thread, address, mcp_address })
    }

    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where clients of MCP are answered over HTTP.
    #[must_use]
    pub fn mcp_address(&self) -> Option<SocketAddr> {
        self.mcp_address
    }

    /// Ends the thread; requests under way are cut.
    pub fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        // A panic has aborted the process already.
        let _ = self.thread.join();
    }
}

async fn serve(setup: ControlSetup, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let ControlSetup { tcp, unix, source, backends, mcp, inward, drain, .. } = setup;
    let tools = Arc::new(OwnTools::new(inward));
    let (stop_backends, backends_stopped) = oneshot::channel();
    let (line, mcp) = mcp::start(mcp, Arc::clone(&source.keyring), Arc::clone(&tools))?;
    // On this thread, which is that of its children's end (decision 0025).
    let (for_nodes, of_operators) = mpsc::channel(FOR_NODES_MAX);
    let backends = tokio::spawn(Backends::new(backends, line, of_operators).run(backends_stopped));
    let (streams, readers) = streams::streams();
    let shared = Arc::new(Shared {
        logs: Logs::new(Arc::clone(&source.log_file)),
        source,
        rates_of_publishing: Mutex::default(),
        looked: ArcSwap::from_pointee(Looked::default()),
        streams,
        profiler: Profiler::default(),
        answers: Answers::default(),
        tools,
        drain,
        for_nodes,
        requests_total: AtomicU64::new(0),
        failures_total: AtomicU64::new(0),
    });
    tokio::spawn(look(Arc::clone(&shared), readers));
    if let Some(listener) = tcp {
        listener.set_nonblocking(true)?;
        let is_local = listener.local_addr()?.ip().is_loopback();
        let door = if is_local { Door::Loopback } else { Door::Network };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(door::serve(listener, router(&shared, door), door::OPERATORS));
    }
    if let Some(listener) = unix {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(door::serve(listener, router(&shared, Door::File), door::OPERATORS));
    }
    // Whoever drops the other end wants the thread to end too.
    let _ = stopped.await;
    let _ = stop_backends.send(());
    mcp.stop().await;
    // A panic has aborted the process already.
    backends.await.unwrap_or(Ok(()))
}

/// Looks once a second, and tells those who read events.
async fn look(shared: Arc<Shared>, mut readers: Readers) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.source.histograms.gather_for_operators().await;
        let process = shared.process();
        let snapshot = Snapshot::take(&shared.source.boards, &process);
        let now = clock::now();
        let mut looked = Looked::clone(&shared.looked.load());
        looked.latency = shared.source.histograms.collection().take_recent();
        if let Some(window) = looked.looks.window(&snapshot, now.mono_ns, alerts::WINDOW_S) {
            looked.alerts.note(&snapshot, window, &looked.latency, now);
        }
        looked.rates.note(Totals::of(&snapshot, now.mono_ns));
        readers.tell(|| api::event(&shared.view(&snapshot, &looked)));
        // Behind what is told, which is about what was added since.
        looked.looks.note(&snapshot, now.mono_ns);
        shared.looked.store(Arc::new(looked));
    }
}

/// Which of the listeners a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Loopback,
    Network,
    /// A Unix socket.
    File,
}

fn router(shared: &Arc<Shared>, door: Door) -> Router {
    let mut router = Router::new();
    for (path, method, route) in ROUTES {
        let shared = Arc::clone(shared);
        let handler = move |request: Request| {
            let shared = Arc::clone(&shared);
            async move { shared.handle(route, door, request).await }
        };
        let filter = match method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        router = router.route(path, MethodRouter::new().on(filter, handler));
    }
    let (unknown, other) = (Arc::clone(shared), Arc::clone(shared));
    router
        .fallback(move |request: Request| async move {
            unknown.finish(
                request.headers(),
                Answer::error(404, "no such path: GET /api/openapi.json lists all"),
            )
        })
        .method_not_allowed_fallback(move |request: Request| async move {
            other.finish(request.headers(), Answer::error(405, "this path has another method"))
        })
}

impl Shared {
    async fn handle(&self, route: Route, door: Door, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let field = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let is_misled =
            door == Door::Loopback && !access::is_local_host(field(header::HOST).unwrap_or_default());
        let answer = if is_misled {
            Answer::error(403, "on loopback, name the gateway by its address or as localhost")
        } else {
            let authorization = field(header::AUTHORIZATION);
            match route {
                Route::Events => match self.events() {
                    Some(response) => return response,
                    None => Answer::busy("every place for a stream of events is taken"),
                },
                Route::Profile => {
                    return self.profile(&parts.headers, parts.uri.query().unwrap_or_default()).await;
                }
                Route::Tools => return self.list_tools(&parts.headers),
                Route::CallTool => self.call_tool(door, door::peer(&parts), authorization, body).await,
                Route::Drain => self.drain(door, authorization),
                Route::KillSwitch => self.switch(door, authorization, body).await,
                Route::InvalidateCache => self.invalidate_cache(door, authorization, body).await,
                Route::Publish => self.publish(door, authorization, body).await,
                Route::Trace => self.trace(door, authorization, body).await,
                Route::DeadLetters => {
                    let query = parts.uri.query().unwrap_or_default();
                    self.dead_letters(door, authorization, query).await
                }
                Route::RequeueDeadLetters => {
                    self.do_to_dead_letters(Deed::Requeue, door, authorization, body).await
                }
                Route::PurgeDeadLetters => {
                    self.do_to_dead_letters(Deed::Purge, door, authorization, body).await
                }
                Route::Connections => self.connections(parts.uri.query().unwrap_or_default()).await,
                Route::Shards => self.shards().await,
                Route::Topics => self.topics(parts.uri.query().unwrap_or_default()).await,
                Route::Healthz
                | Route::OpenApi
                | Route::Health
                | Route::Ready
                | Route::Status
                | Route::Logs
                | Route::Metrics
                | Route::Export
                | Route::Histograms
                | Route::Performance
                | Route::Cache
                | Route::Heap
                | Route::WebSocket
                | Route::Alerts
                | Route::Console(_) => {
                    let accept = field(header::ACCEPT).unwrap_or_default();
                    if matches!(route, Route::Histograms | Route::Metrics) {
                        self.source.histograms.gather_for_operators().await;
                    }
                    let query = parts.uri.query().unwrap_or_default();
                    let lines =
                        if route == Route::Logs { api::log_limit(query).unwrap_or_default() } else { 0 };
                    let lines = self.logs.last(lines).await;
                    self.tell(route, Question { query, accept }, lines)
                }
            }
        };
        self.finish(&parts.headers, answer)
    }

    /// An endpoint that changes nothing.
    fn tell(&self, route: Route, question: Question<'_>, lines: Lines) -> Answer {
        let (phase, now) = (self.source.lifecycle.phase(), clock::now());
        self.answers.of(route, phase, now.mono_ns, || self.make(route, question, lines))
    }

    fn make(&self, route: Route, question: Question<'_>, lines: Lines) -> Answer {
        // Who only asks whether the process lives costs no more than that.
        let is_fixed = matches!(route, Route::Healthz | Route::Console(_));
        let process = if is_fixed { ProcessReading::default() } else { self.process() };
        let boards = if is_fixed { &[] } else { self.source.boards.as_slice() };
        let histograms =
            matches!(route, Route::Histograms | Route::Metrics).then(|| self.source.histograms.collection());
        let callees = self.callees();
        let snapshot = Snapshot::take(boards, &process).with_backends(&callees);
        let looked = self.looked.load();
        let view = View { histograms: histograms.as_deref(), lines, ..self.view(&snapshot, &looked) };
        api::answer(route, question, &view)
    }

    fn view<'a>(&self, snapshot: &'a Snapshot<'a>, looked: &'a Looked) -> View<'a> {
        let (now, source) = (clock::now(), &self.source);
        View {
            snapshot,
            histograms: None,
            rates: &looked.rates,
            looks: &looked.looks,
            alerts: &looked.alerts,
            latency: &looked.latency,
            links: source.switch.links(),
            callees: Arc::new(self.callees()),
            cluster: source.cluster.map(|(name, node)| ClusterView {
                name,
                node,
                standing: source.switch.standing(),
                server: source.nats.as_ref().and_then(|board| board.reading().server),
            }),
            phase: source.lifecycle.phase(),
            now,
            uptime_ns: source.lifecycle.uptime_ns(now.mono_ns),
            turn_ns_max: source.bounds.load().turn_ns_max,
            history_bytes_max: source.history_bytes_max,
            lines: Lines::Memory(Vec::new()),
        }
    }

    /// A stream of events, which begins with how things are now.
    fn events(&self) -> Option<Response> {
        let first = || {
            let process = self.process();
            let snapshot = Snapshot::take(&self.source.boards, &process);
            api::event(&self.view(&snapshot, &self.looked.load()))
        };
        let stream = self.streams.open(first)?;
        self.requests_total.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::new(stream));
        head(response.headers_mut(), "text/event-stream");
        Some(response)
    }

    fn drain(&self, door: Door, authorization: Option<&str>) -> Answer {
        match self.authorize(door, authorization) {
            Ok(client_id) => {
                log::info!("{client_id} begins the stop by POST /api/drain");
                (self.drain)();
                Answer::accepted()
            }
            Err(refusal) => refusal,
        }
    }

    async fn switch(&self, door: Door, authorization: Option<&str>, body: Body) -> Answer {
        let client_id = match self.authorize(door, authorization) {
            Ok(client_id) => client_id,
            Err(refusal) => return refusal,
        };
        let asked = Shared::body(body, BODY_BYTES_MAX).await.and_then(|bytes| api::kill_switch_asked(&bytes));
        let asked = match asked {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        if self.source.switch.standing() != Standing::Owner {
            return api::kill_switch_elsewhere();
        }
        let what = if asked.halted { "halts" } else { "resumes" };
        log::warn!("{client_id} {what} the trading of everybody by POST /api/kill-switch");
        let number = self.source.switch.ask(asked.halted);
        self.source.doorbell.ring();
        let done = async {
            while !self.source.switch.is_done(number) {
                tokio::time::sleep(HALT_LOOK).await;
            }
        };
        let is_done = tokio::time::timeout(HALT_PATIENCE, done).await.is_ok();
        if !is_done && self.source.switch.standing() != Standing::Owner {
            return api::kill_switch_elsewhere();
        }
        api::kill_switch_answered(asked, is_done)
    }

    /// A request's body, or the answer to one that does not come whole.
    async fn body(body: Body, bytes_max: usize) -> Result<Bytes, Answer> {
        match tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(body, bytes_max)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) => Err(Answer::error(413, "the body is too long, or was cut")),
            Err(_) => Err(Answer::error(408, "the body did not come in time")),
        }
    }

    fn authorize(&self, door: Door, authorization: Option<&str>) -> Result<Arc<str>, Answer> {
        let way = match door {
            Door::Loopback | Door::File => Way::Local,
            Door::Network => Way::Remote,
        };
        let unix_ms = clock::now().unix_ns / 1_000_000;
        let keyring = self.source.keyring.load();
        access::authorize(&keyring, authorization, way, unix_ms).map(|key| Arc::clone(&key.client_id))
    }

    /// Counts the answer and makes it HTTP.
    fn finish(&self, asked: &HeaderMap, answer: Answer) -> Response {
        let packed = if Shared::takes_gzip(asked) { api::gzip(&answer.body.text) } else { None };
        let is_packed = packed.is_some();
        let body = packed.map_or_else(|| Body::from(answer.body.text.into_owned()), Body::from);
        let mut response = self.respond(answer.status, answer.body.content_type, body, is_packed);
        let headers = response.headers_mut();
        if answer.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = answer.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn takes_gzip(asked: &HeaderMap) -> bool {
        let encodings = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        encodings.is_some_and(api::accepts_gzip)
    }

    /// Counts an answer and puts the head before it.
    fn respond(&self, status: u16, content_type: &'static str, body: Body, is_packed: bool) -> Response {
        self.requests_total.fetch_add(1, Ordering::Relaxed);
        self.failures_total.fetch_add(u64::from(status >= 400), Ordering::Relaxed);
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        head(headers, content_type);
        headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// How all backends of calls are.
    fn callees(&self) -> Vec<BackendStatus> {
        let Source { callees, linked, .. } = &self.source;
        let linked: Vec<_> = linked.iter().map(|board| board.load_full()).collect();
        merged_backends(&callees.load(), linked.iter().map(|told| told.as_slice()))
    }

    /// What is known of the whole process by now.
    fn process(&self) -> ProcessReading {
        let now_ns = clock::now().mono_ns;
        let source = &self.source;
        let usage = process::usage();
        let (bounds, callees) = (source.bounds.load(), self.callees());
        let (status_cache_hits_total, status_cache_misses_total) = self.answers.counts();
        ProcessReading {
            backends_count: callees.len() as u64,
            backends_down_count: callees.iter().filter(|callee| !callee.is_up).count() as u64,
            is_ready: source.lifecycle.phase() == api::Phase::Serving,
            start_unix_ns: source.lifecycle.begun_unix_ns(),
            startup_ns: source.lifecycle.startup_ns(),
            drain_ns: source.lifecycle.drain_ns(now_ns),
            connections: source.admission.connections().into(),
            connections_max: bounds.connections_max.into(),
            memory_held_bytes: source.pressure.total().memory_bytes,
            memory_budget_bytes: bounds.memory_bytes_max,
            cpu_ns: usage.cpu_ns,
            resident_bytes: usage.resident_bytes,
            virtual_bytes: usage.virtual_bytes,
            open_fds: usage.open_fds,
            max_fds: usage.max_fds,
            log_lines_total: log_tail::tail().total(),
            log_lines_dropped_total: self.logs.dropped(),
            control_requests_total: self.requests_total.load(Ordering::Relaxed),
            control_failures_total: self.failures_total.load(Ordering::Relaxed),
            status_cache_hits_total,
            status_cache_misses_total,
            store: match (&source.store, &source.stream) {
                (Some(store), _) => store.reading(now_ns),
                (None, Some(stream)) => stream.reading(now_ns),
                (None, None) => StoreReading::default(),
            },
            nats: source.nats.as_ref().map(|board| of_nats(&board.reading())).unwrap_or_default(),
            notices: source.notices.as_ref().map(|board| board.reading()).unwrap_or_default(),
        }
    }
}

fn of_nats(nats: &nats::NatsReading) -> NatsReading {
    NatsReading {
        is_up: nats.is_up,
        reconnects_total: nats.reconnects,
        failures_total: nats.failures,
        told_messages_total: nats.told_messages,
        told_bytes_total: nats.told_bytes,
        heard_messages_total: nats.heard_messages,
        heard_bytes_total: nats.heard_bytes,
        dropped_away_total: nats.dropped_away,
        dropped_refused_total: nats.dropped_refused,
        dropped_behind_total: nats.dropped_behind,
        dropped_slow_total: nats.dropped_slow,
        dropped_strange_total: nats.dropped_strange,
        lease_unknown_total: nats.lease_unknown,
        lease_strange_total: nats.lease_strange,
        session_requests_total: nats.session_requests,
        session_unknown_total: nats.session_unknown,
        session_strange_total: nats.session_strange,
        presence_written_total: nats.presence_written,
        presence_unwritten_total: nats.presence_unwritten,
        presence_strange_total: nats.presence_strange,
        round_trip_ns: nats.round_trip_ns,
    }
}

/// What every answer says of itself.
fn head(headers: &mut HeaderMap, content_type: &'static str) {
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, api::CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
