//! The control thread: operators' HTTP, by axum on a tokio runtime of one thread (decision 0013).
//!
//! Home: one thread, batch work to the scheduler. Invariants: it never makes a shard wait: it reads boards that their threads fill,
//! and what it asks for is a flag, a signal or a doorbell; what is asked of it is bounded, in length as in time. What an answer
//! says is decided in `api`, which is PURE; this file carries.

mod door;
mod lifecycle;
mod process;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::api::access::{self, Way};
use crate::api::{self, Answer, Method, Question, ROUTES, Route, View};
use crate::auth::Keyring;
use crate::clock;
use crate::doorbell::Doorbell;
use crate::log_tail;
use crate::pressure::PressureBoard;
use crate::switch::HaltSwitch;
use crate::telemetry::{Board, ProcessReading, Rates, Snapshot, Totals};

pub use lifecycle::Lifecycle;

/// How often totals are looked at, for rates.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 4096;
/// How long a request may take to come in whole, behind its head.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the answer to the kill switch waits for the desk, which looks once a turn.
const HALT_PATIENCE: Duration = Duration::from_secs(1);
const HALT_LOOK: Duration = Duration::from_millis(1);

/// What the control thread is made from.
#[derive(Debug)]
pub struct ControlSetup {
    /// Bound already.
    pub tcp: Option<TcpListener>,
    pub unix: Option<UnixListener>,
    pub source: Source,
    /// Puts the thread behind those that carry messages.
    pub give_way: fn() -> io::Result<()>,
    /// Starts the same stop as a signal.
    pub drain: fn(),
}

/// Where everything that is told comes from.
#[derive(Debug)]
pub struct Source {
    pub boards: Vec<Arc<Board>>,
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
}

/// What of the configuration is told beside what it bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub connections_max: u32,
    pub memory_bytes_max: u64,
    pub turn_ns_max: u64,
}

/// The main thread's end.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    /// Where it is listened on, if on TCP.
    address: Option<SocketAddr>,
}

/// What the handlers share.
struct Shared {
    source: Source,
    rates: ArcSwap<Rates>,
    drain: fn(),
    requests_total: AtomicU64,
    failures_total: AtomicU64,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// The process is out of threads or descriptors.
    pub fn start(setup: ControlSetup) -> io::Result<Control> {
        let address = setup.tcp.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stop, stopped) = oneshot::channel();
        // Here, so that what fails is heard of.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            if let Err(error) = (setup.give_way)() {
                log::debug!("the control thread keeps its priority: {error}");
            }
            if let Err(error) = runtime.block_on(serve(setup, stopped)) {
                log::error!("operators' HTTP is not served: {error}");
            }
        })?;
        Ok(Control { stop, thread, address })
    }

    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
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
    let ControlSetup { tcp, unix, source, drain, .. } = setup;
    let shared = Arc::new(Shared {
        source,
        rates: ArcSwap::from_pointee(Rates::default()),
        drain,
        requests_total: AtomicU64::new(0),
        failures_total: AtomicU64::new(0),
    });
    tokio::spawn(look(Arc::clone(&shared)));
    if let Some(listener) = tcp {
        listener.set_nonblocking(true)?;
        let is_local = listener.local_addr()?.ip().is_loopback();
        let door = if is_local { Door::Loopback } else { Door::Network };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(door::serve(listener, router(&shared, door)));
    }
    if let Some(listener) = unix {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(door::serve(listener, router(&shared, Door::File)));
    }
    // Whoever drops the other end wants the thread to end too.
    let _ = stopped.await;
    Ok(())
}

/// Notes the totals once a second.
async fn look(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let process = shared.process();
        let snapshot = Snapshot::take(&shared.source.boards, &process);
        let mut rates = Rates::clone(&shared.rates.load());
        rates.note(Totals::of(&snapshot, clock::now().mono_ns));
        shared.rates.store(Arc::new(rates));
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
                Route::Drain => self.drain(door, authorization),
                Route::KillSwitch => self.switch(door, authorization, body).await,
                Route::Healthz
                | Route::OpenApi
                | Route::Health
                | Route::Ready
                | Route::Status
                | Route::Logs
                | Route::Metrics
                | Route::Export
                | Route::Performance
                | Route::Cache
                | Route::WebSocket => {
                    let accept = field(header::ACCEPT).unwrap_or_default();
                    self.tell(route, Question { query: parts.uri.query().unwrap_or_default(), accept })
                }
            }
        };
        self.finish(&parts.headers, answer)
    }

    /// An endpoint that changes nothing.
    fn tell(&self, route: Route, question: Question<'_>) -> Answer {
        let now = clock::now();
        let source = &self.source;
        // Who only asks whether the process lives costs no more than that.
        let is_probe = route == Route::Healthz;
        let process = if is_probe { ProcessReading::default() } else { self.process() };
        let boards = if is_probe { &[] } else { source.boards.as_slice() };
        let lines = if route == Route::Logs { api::log_limit(question.query).unwrap_or_default() } else { 0 };
        let view = View {
            snapshot: &Snapshot::take(boards, &process),
            rates: &self.rates.load(),
            links: &source.switch.links(),
            phase: source.lifecycle.phase(),
            now,
            uptime_ns: source.lifecycle.uptime_ns(now.mono_ns),
            turn_ns_max: source.bounds.load().turn_ns_max,
            history_bytes_max: source.history_bytes_max,
            lines: log_tail::tail().last(lines),
        };
        api::answer(route, question, &view)
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
        let read = tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
        let asked = match read {
            Ok(Ok(bytes)) => api::kill_switch_asked(&bytes),
            Ok(Err(_)) => Err(Answer::error(413, "the body is too long, or was cut")),
            Err(_) => Err(Answer::error(408, "the body did not come in time")),
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
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
        api::kill_switch_answered(asked, is_done)
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
        self.requests_total.fetch_add(1, Ordering::Relaxed);
        self.failures_total.fetch_add(u64::from(answer.status >= 400), Ordering::Relaxed);
        let encodings =
            asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let packed = if api::accepts_gzip(encodings) { api::gzip(&answer.body.text) } else { None };
        let is_packed = packed.is_some();
        let body = packed.map_or_else(|| Body::from(answer.body.text.into_owned()), Body::from);
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.body.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if answer.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = answer.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// What is known of the whole process by now.
    fn process(&self) -> ProcessReading {
        let now_ns = clock::now().mono_ns;
        let source = &self.source;
        let usage = process::usage();
        let bounds = source.bounds.load();
        ProcessReading {
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
            control_requests_total: self.requests_total.load(Ordering::Relaxed),
            control_failures_total: self.failures_total.load(Ordering::Relaxed),
        }
    }
}
