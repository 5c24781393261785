//! The thread that speaks to NATS for the market's thread: parts, requests, the lease and who is present in a cluster (decision 0037); and for the one that judges
//! log-ins: named sessions (0039).
//!
//! Home: one thread, a tokio runtime of its own; the market's thread has the [`NatsPort`], control the [`NoticePort`], the one that judges the [`SessionPort`], the main
//! thread [`Nats`]. It knows nothing of markets: it carries a `Wish` to NATS, and a `Word` back (`cluster/words.rs`). Invariants:
//! - The market's thread never waits for it, and it never waits for NATS: what cannot be told while NATS is away is dropped and counted, for the numbers in it tell
//!   those who miss it. Everything that waits is bounded in number and in bytes.
//! - The lease has a connection of its own, so that no market data is in its way, in either direction; so have sessions, so that they are in nobody's, and who is
//!   present, while the node owns.
//! - NATS may come after this process, and go at any time: it is tried again for ever, and subscriptions hold again.
//! - Nothing that NATS says is believed: lengths are bounded, and an answer goes only to where answers of this cluster go.

mod board;
mod credentials;
mod hearing;
mod lanes;
mod lease;
mod lease_value;
mod link;
mod notices;
mod presence;
mod presence_value;
mod reports;
mod security;
mod session_lanes;
mod sessions;
mod speaking;
mod subjects;
mod thread;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self as threads, JoinHandle, Thread};

use async_nats::{ConnectOptions, ServerAddr};

use crate::cluster::names::ClusterName;
use crate::doorbell::Doorbell;

pub use board::{NatsBoard, NatsReading};
pub use lanes::NatsPort;
pub use notices::{NoticePort, NoticeWord};
pub use session_lanes::{SessionEnds, SessionPort, SessionWord, session_lanes};

/// What the thread is made from.
#[derive(Clone, Debug)]
pub struct NatsSetup {
    pub cluster: ClusterName,
    pub node: ClusterName,
    /// Which process of that name: another number for each start.
    pub incarnation: u64,
    /// `nats://HOST:PORT`, `tls://HOST:PORT` or `HOST:PORT`, one at least; who the node is stands in `credentials`, not here.
    pub servers: Vec<String>,
    /// By what the node logs in; see [`NatsSetup::check`].
    pub credentials: Option<PathBuf>,
    /// None: as the servers' addresses say.
    pub tls: Option<NatsTls>,
    /// The lease's, in milliseconds: it bounds how long an answer of the bucket is waited for.
    pub term_ms: u64,
    /// On how many servers of NATS the lease's bucket is kept, 1 to 5, where this node makes it.
    pub replicas: u8,
    /// Puts the thread behind those that carry messages.
    pub give_way: fn() -> io::Result<()>,
}

/// TLS is required, by these files. They are read again at each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsTls {
    /// PEM: who may vouch for NATS. None: whom this machine trusts.
    pub authority: Option<PathBuf>,
    /// PEM, a certificate with those between it and its authority, and its private key: who this node is.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The main thread's end.
#[derive(Debug)]
pub struct Nats {
    board: Arc<NatsBoard>,
    stop: Arc<AtomicBool>,
    doorbells: [Doorbell; 4],
    /// Until control has it.
    notices: Option<NoticePort>,
    thread: JoinHandle<()>,
}

impl NatsSetup {
    /// Whether addresses, TLS and credentials are such that NATS can be asked at all: nothing is sent. The file of credentials is one of NATS (`.creds`, a JWT and a
    /// seed), or has one line: `USER:PASSWORD`, or the seed of an nkey (`SU…`). It is read again at each connection.
    ///
    /// # Errors
    /// What an operator has to change, with the file or address that it is about.
    pub fn check(&self) -> io::Result<()> {
        security::check_servers(&self.servers)?;
        if let Some(path) = &self.credentials {
            credentials::read(path)?;
        }
        self.tls.as_ref().map_or(Ok(()), security::check_files)
    }

    /// Where and by what the node's store connects, as its other connections do.
    ///
    /// # Errors
    /// An address is none.
    pub fn of_store(&self) -> io::Result<(Vec<ServerAddr>, ConnectOptions)> {
        let servers: io::Result<Vec<ServerAddr>> = self.servers.iter().map(|server| server.parse()).collect();
        Ok((servers?, link::admitted(self, " store")))
    }
}

/// Starts the thread, which rings `doorbell` when it has said something to the market's thread, and unparks the one that `sessions` names when it has to that.
///
/// # Errors
/// [`NatsSetup::check`] fails, or the process is out of threads or descriptors. That NATS is not there is none.
pub fn start(
    setup: NatsSetup,
    doorbell: Doorbell,
    (sessions, judging): (SessionEnds, Thread),
) -> io::Result<(Nats, NatsPort)> {
    setup.check()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (port, ends, [orders, messages, presence]) = lanes::lanes(doorbell, &stop)?;
    let doorbells = [orders, messages, presence, sessions.doorbell()];
    let sessions = sessions.part(judging, &stop);
    let board = Arc::new(NatsBoard::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let of_thread = Arc::clone(&board);
    let (notices, of_notices) = notices::ends();
    let thread = threads::Builder::new().name("nats".to_owned()).spawn(move || {
        if let Err(error) = (setup.give_way)() {
            log::warn!("NATS is spoken to at the priority of shards: {error}");
        }
        thread::run(runtime, setup, ends, of_notices, sessions, of_thread);
    })?;
    Ok((Nats { board, stop, doorbells, notices: Some(notices), thread }, port))
}

impl Nats {
    /// How it is, for operators; any thread may read it.
    #[must_use]
    pub fn board(&self) -> Arc<NatsBoard> {
        Arc::clone(&self.board)
    }

    /// Where control tells other nodes of kept results, and hears them; once.
    pub fn take_notices(&mut self) -> Option<NoticePort> {
        self.notices.take()
    }

    /// Ends the thread, within `limits::NATS_STOP_NS_MAX` and what a look-up of a name may take to be given up; behind all that the market's thread, which has ended by
    /// then, has sent and flushed, as far as NATS takes it in that time.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.doorbells.iter().for_each(Doorbell::ring);
        // A panic has aborted the process already.
        let _ = self.thread.join();
    }
}
