//! The store of a cluster: a stream of JetStream, into which the node that owns the market appends its batches and which the next owner reads (decision 0038).
//!
//! Home: the venue's thread has the [`StoreHandle`], a `store` thread for each opening the rest. Reading order: `records` (what a message is), `spans` (what
//! is where), `stream` (the server), `holding` (taking the stream, and finding out), `worker` (the thread), `moving` (making room).
//! Invariants:
//! - Each message is appended behind the one that its writer knows as the newest, by the server's own check, and tells the writer's fence; only when it is answered the
//!   next one goes. Who takes the stream reads the newest message's fence first, and appends a mark in the same way: so fences only grow along the stream, and
//!   behind a mark nothing of an older owner can come, whatever of it is still under way.
//! - A batch is in the stream as a whole or not at all: in one message, or in several of which nothing counts without the last.
//! - What becomes of an append that is not answered is found out: behind a further mark it is either there, or never will be.
//! - What is purged holds nothing that was not written again behind it, and that was confirmed; who reads and finds that something went meanwhile begins anew.

#![expect(
    clippy::disallowed_types,
    reason = "locked for a moment where the market is taken, by who measures, and at the stop"
)]

mod holding;
mod moving;
mod records;
mod spans;
mod stream;
mod worker;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use rtrb::RingBuffer;
use tokio::sync::Notify;

use crate::cluster::names::{ClusterName, Fence};
use crate::doorbell::Doorbell;
use crate::limits;
use crate::telemetry::StoreReading;

use super::{Shared, StoreHandle, Wake};
use worker::Worker;

/// Where the stream is, and how much it may keep.
#[derive(Clone)]
pub struct JetSettings {
    pub servers: Vec<ServerAddr>,
    /// With credentials and certificates. How it reconnects and waits is set here.
    pub options: ConnectOptions,
    pub cluster: ClusterName,
    /// One where there are not three servers at least.
    pub replicas: usize,
    /// At least `JETSTREAM_BYTES_MIN`. A third of it is for what is alive: dead messages stay until they are worth a purge.
    pub bytes_max: u64,
}

impl JetSettings {
    /// The stream's name.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("tickring-{}-messages", self.cluster)
    }

    /// What is published into it.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("tickring.{}.messages", self.cluster)
    }

    /// What entries may take before only what makes room is taken.
    fn live_bytes_max(&self) -> u64 {
        self.bytes_max / 3
    }

    /// What all messages may take before only what makes room is taken: the rest is for that, and for what is moved.
    fn filled_bytes_max(&self) -> u64 {
        self.bytes_max / 4 * 3
    }
}

/// What a store is opened with.
pub struct JetSetup {
    pub settings: JetSettings,
    /// The sender's.
    pub doorbell: Doorbell,
    /// Batches and bytes that may wait.
    pub queue_batches_max: usize,
    pub queue_bytes_max: usize,
    /// Puts the thread behind those that carry messages.
    pub give_way: fn() -> std::io::Result<()>,
}

/// The store of a node, opened whenever the node has come to own the market.
pub struct JetStore {
    setup: JetSetup,
    newest: Mutex<Option<Opened>>,
}

/// The last opening.
struct Opened {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    finished: Receiver<()>,
}

impl std::fmt::Debug for JetStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStore").field("stream", &self.setup.settings.stream()).finish_non_exhaustive()
    }
}

impl JetStore {
    #[must_use]
    pub fn new(setup: JetSetup) -> JetStore {
        assert!(
            setup.settings.bytes_max >= limits::JETSTREAM_BYTES_MIN,
            "it is checked with the configuration"
        );
        JetStore { setup, newest: Mutex::new(None) }
    }

    /// Starts a thread that takes the stream for the owner of that fence, tells what it has, and then takes batches, until the handle is dropped. Nothing is waited
    /// for: a server that is away is [`StoreState::Faulty`](crate::model::storage::StoreState), and tried again.
    ///
    /// # Errors
    /// The thread, or its runtime, can't be made.
    pub fn open(&self, fence: Fence) -> std::io::Result<StoreHandle> {
        let JetSetup { settings, doorbell, queue_batches_max, queue_bytes_max, give_way } = &self.setup;
        let (batches, queue) = RingBuffer::new(*queue_batches_max);
        let (saying, words) = RingBuffer::new(limits::STORE_WORDS_MAX);
        let (shared, wake) = (Arc::new(Shared::default()), Arc::new(Notify::new()));
        let (finish, finished) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (give_way, bytes_max) = (*give_way, *queue_bytes_max);
        let worker = Worker::new(
            settings.clone(),
            fence,
            queue,
            saying,
            doorbell.clone(),
            Arc::clone(&shared),
            Arc::clone(&wake),
        );
        thread::Builder::new().name("store".to_owned()).spawn(move || {
            if let Err(error) = give_way() {
                log::debug!("the store's thread keeps its priority: {error}");
            }
            runtime.block_on(worker.run());
            // Nobody waits, but at the stop.
            let _ = finish.send(());
        })?;
        let opened = Opened { shared: Arc::clone(&shared), wake: Arc::clone(&wake), finished };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        Ok(StoreHandle { batches, words, shared, bytes_max, wake: Wake::Task(wake) })
    }

    /// How the last opening is; its counts begin with it. Nothing where there was none, or its thread and its sender have ended.
    #[must_use]
    pub fn reading(&self, now_ns: u64) -> StoreReading {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let open = newest.as_ref().filter(|opened| Arc::strong_count(&opened.shared) > 1);
        open.map(|opened| opened.shared.progress.reading(now_ns)).unwrap_or_default()
    }

    /// Has what was sent appended, and ends the thread; whether that was in time.
    pub fn stop(&self) -> bool {
        let opened = self.newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opened) = opened else { return true };
        opened.shared.is_stopping.store(true, Ordering::Release);
        opened.wake.notify_one();
        opened.finished.recv_timeout(Duration::from_nanos(limits::STORE_STOP_NS)).is_ok()
    }
}
