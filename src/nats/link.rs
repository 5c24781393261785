//! One connection to NATS: how it is made, whether it is there, and what is published by it.
//!
//! Home: the thread that speaks to NATS. Invariants: it is tried again for ever, and only with the servers that are named; whether it is there is read of the client itself, for it may lose
//! what it tells of that; nothing is published while it is away, nor is anything waited for then.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::client::traits::Publisher;
use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use async_nats::{AuthError, Client, ConnectOptions, Event, ServerAddr, ServerError};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::limits;

use super::NatsSetup;
use super::board::{NatsBoard, add};
use super::credentials;
use super::reports::{Connection, Reports, clean};
use super::subjects;

/// How often the client is looked at beside when it tells of something.
const LOOK: Duration = Duration::from_secs(1);
/// A server that says nothing for three of these is left.
const PING: Duration = Duration::from_secs(1);
/// To connect to one server, with TLS and log-in.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// From one try to the next: doubled from the second on.
const RETRY_MS_MAX: u64 = 1_000;
const RETRY_MS: u64 = 10;
/// What the client tells and nobody has looked at yet; what is more is told again or not at all.
const EVENTS_MAX: usize = 64;

/// Whether the connection is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) is_up: bool,
    /// How often it was made.
    pub(super) connects: u64,
}

/// By which something is published.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) state: watch::Receiver<LinkState>,
    pub(super) board: Arc<NatsBoard>,
}

/// Sees to a connection.
pub(super) struct Watcher {
    which: Connection,
    client: Client,
    events: mpsc::Receiver<Told>,
    state: watch::Sender<LinkState>,
    reports: Rc<RefCell<Reports>>,
    board: Arc<NatsBoard>,
}

/// What the client tells.
#[derive(Debug)]
enum Told {
    Change,
    Failure(String),
    Complaint(String),
}

/// Begins to connect. Within the runtime.
///
/// # Errors
/// An address is none.
pub(super) async fn connect(
    setup: &NatsSetup,
    which: Connection,
    reports: &Rc<RefCell<Reports>>,
    board: &Arc<NatsBoard>,
) -> io::Result<(Line, Watcher)> {
    let (telling, events) = mpsc::channel(EVENTS_MAX);
    let (of_failures, of_events, of_board) = (telling.clone(), telling, Arc::clone(board));
    let options = options(setup, which)
        .event_callback(move |event| {
            if let Some(told) = note(event, &of_board) {
                let _ = of_events.try_send(told);
            }
            std::future::ready(())
        })
        // Asked before each try: only so is it told why the last one has failed.
        .reconnect_to_server_callback(move |servers, _| {
            for error in servers.into_iter().filter_map(|server| server.last_error) {
                let _ = of_failures.try_send(Told::Failure(error));
            }
            std::future::ready(None)
        });
    let servers: io::Result<Vec<ServerAddr>> = setup.servers.iter().map(|server| server.parse()).collect();
    let client = options.connect(servers?).await.map_err(io::Error::other)?;
    let (state, told) = watch::channel(LinkState::default());
    let watcher = Watcher {
        which,
        client: client.clone(),
        events,
        state,
        reports: Rc::clone(reports),
        board: Arc::clone(board),
    };
    Ok((Line { client, state: told, board: Arc::clone(board) }, watcher))
}

fn options(setup: &NatsSetup, which: Connection) -> ConnectOptions {
    let role = match which {
        Connection::Market => "",
        Connection::Lease => " lease",
        Connection::Sessions => " sessions",
    };
    admitted(setup, role)
        .client_capacity(limits::NATS_CLIENT_MESSAGES_MAX)
        .subscription_capacity(limits::NATS_SUBSCRIPTION_MESSAGES_MAX)
}

/// What any connection of the node is let in by, and how a server that is gone is left for another; `role` says in NATS's lists of connections which it is.
pub(super) fn admitted(setup: &NatsSetup, role: &str) -> ConnectOptions {
    let NatsSetup { cluster, node, .. } = setup;
    let mut options = match setup.credentials.clone() {
        Some(path) => ConnectOptions::with_auth_callback(move |nonce| {
            let path = path.clone();
            let answer = tokio::task::spawn_blocking(move || {
                credentials::read(&path).and_then(|credentials| credentials::answer(credentials, &nonce))
            });
            async move { answer.await.map_err(AuthError::new)?.map_err(AuthError::new) }
        }),
        None => ConnectOptions::new(),
    };
    let is_tls = |server: &String| server.parse::<ServerAddr>().is_ok_and(|address| address.tls_required());
    if let Some(tls) = &setup.tls {
        if let Some(authority) = &tls.authority {
            options = options.add_root_certificates(authority.clone());
        }
        if let Some((certificate, key)) = &tls.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    options
        .name(format!("tickring {cluster}/{node}{role}"))
        .require_tls(setup.tls.is_some() || setup.servers.iter().any(is_tls))
        .custom_inbox_prefix(subjects::inboxes(cluster, node))
        .retry_on_initial_connect()
        .ignore_discovered_servers()
        .connection_timeout(CONNECT_TIME_MAX)
        .ping_interval(PING)
        .reconnect_delay_callback(retry_after)
}

/// Before the try of this number: the first follows at once.
fn retry_after(tries: usize) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(2)).unwrap_or(u32::MAX).min(16);
    if tries <= 1 { Duration::ZERO } else { Duration::from_millis((RETRY_MS << doublings).min(RETRY_MS_MAX)) }
}

fn note(event: Event, board: &NatsBoard) -> Option<Told> {
    match event {
        Event::SlowConsumer(_) => {
            add(&board.dropped_slow, 1);
            None
        }
        Event::ServerError(ServerError::Other(text)) => Some(Told::Complaint(text)),
        Event::ServerError(error @ (ServerError::AuthorizationViolation | ServerError::SlowConsumer(_))) => {
            Some(Told::Complaint(error.to_string()))
        }
        Event::ClientError(_) => {
            add(&board.failures, 1);
            Some(Told::Change)
        }
        Event::Connected | Event::Disconnected | Event::LameDuckMode | Event::Draining | Event::Closed => {
            Some(Told::Change)
        }
    }
}

impl Watcher {
    /// Until the thread ends.
    pub(super) async fn watch(mut self) {
        loop {
            let told = tokio::time::timeout(LOOK, self.events.recv()).await;
            self.look();
            let line = match told {
                Ok(Some(Told::Failure(error))) => self.reports.borrow_mut().failed(&error),
                Ok(Some(Told::Complaint(text))) => {
                    self.reports.borrow_mut().complained(&text, clock::now().mono_ns)
                }
                Ok(Some(Told::Change) | None) | Err(_) => None,
            };
            line.iter().for_each(super::reports::Line::write);
        }
    }

    fn look(&mut self) {
        let is_up = self.client.connection_state() == State::Connected;
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        let (now, before) = (LinkState { is_up, connects }, *self.state.borrow());
        if now == before {
            return;
        }
        add(&self.board.reconnects, connects.saturating_sub(before.connects.max(1)));
        let server = if is_up { self.server() } else { String::new() };
        let mut reports = self.reports.borrow_mut();
        let line = reports.connection(self.which, is_up, &server);
        line.iter().for_each(super::reports::Line::write);
        self.board.is_up.store(reports.are_up(), Ordering::Relaxed);
        if is_up && self.which == Connection::Market {
            self.board.server.store(Some(Arc::new(server)));
        }
        self.state.send_replace(now);
        let taken = self.client.server_info().max_payload;
        if is_up && self.which == Connection::Market && taken < limits::NATS_PAYLOAD_BYTES_MIN {
            log::error!(
                "NATS takes messages of {taken} bytes: long requests do not cross; raise its max_payload to {} at least",
                limits::NATS_PAYLOAD_BYTES_MIN
            );
        }
    }

    fn server(&self) -> String {
        let info = self.client.server_info();
        clean(&format!("{} at {}:{}, version {}", info.server_name, info.host, info.port, info.version))
    }
}

impl Line {
    /// Hands a message to NATS; whether it was there. Waits while it takes no more, and no longer than it is there.
    pub(super) async fn publish(&mut self, message: OutboundMessage) -> bool {
        let is_up = self.state.borrow().is_up;
        if !is_up {
            add(&self.board.dropped_away, 1);
            return false;
        }
        tokio::select! {
            biased;
            sent = Publisher::publish_message(&self.client, message) => match sent {
                Ok(()) => true,
                Err(_) => {
                    add(&self.board.dropped_refused, 1);
                    false
                }
            },
            _ = self.state.wait_for(|state| !state.is_up) => {
                add(&self.board.dropped_away, 1);
                false
            }
        }
    }
}
