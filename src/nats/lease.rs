//! The lease's bucket: a key-value bucket of JetStream, by compare-and-set of a key's revision.
//!
//! Home: two tasks of the thread that speaks to NATS, with a connection of their own. Invariants: what the key holds is asked of the stream's leader, for a copy may be behind; what is not surely
//! done, or surely refused, is `Unknown`; each request is answered within a quarter of the term; nothing that is read is believed. NATS's client keeps something of each request that nobody
//! answers: it is replaced when that have been `UNANSWERED_MAX`.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamError, GetStreamErrorKind, KeyValueError};
use async_nats::jetstream::kv::{Config, Entry, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, StorageType};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::cluster::lease::{LeaseAnswer, LeaseEntry, LeaseRequest, LeaseValue};
use crate::cluster::words::Word;

use super::NatsSetup;
use super::board::{NatsBoard, add};
use super::lanes::Outlet;
use super::lease_value;
use super::link::{Line, LinkState};
use super::reports::clean;

const KEY: &str = "market";
/// Some 300 bytes each.
const UNANSWERED_MAX: u32 = 64;
/// Requests one after another that fail while NATS is there, before the log says so: a term.
const FAILURES_TOLD: u32 = 4;
/// Of the operations of a key, which NATS tells in a header.
const OPERATION_HEADER: &str = "KV-Operation";

/// See the file's head.
pub(super) struct Bucket {
    context: Context,
    state: watch::Receiver<LinkState>,
    name: String,
    replicas: usize,
    /// A quarter of the term.
    patience: Duration,
    /// Known to be there when it was asked for.
    store: RefCell<Option<Store>>,
    board: Arc<NatsBoard>,
    /// Requests by this client that failed: of some of them nobody has said anything.
    unanswered: Cell<u32>,
    /// One after another.
    failures: Cell<u32>,
    has_told_strange: Cell<bool>,
}

/// Why there are no more requests carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There are none any more.
    NoRequests,
    /// This client has been left without an answer too often.
    Worn,
}

/// What the key stands at.
enum Stand {
    Absent,
    /// Somebody deleted it, by this revision.
    Deleted(u64),
    Holds(LeaseEntry),
    /// It holds what is no value.
    Strange,
}

/// Why a request has no answer: a text for the log.
type Unanswered = io::Error;

impl Bucket {
    pub(super) fn new(setup: &NatsSetup, line: &Line) -> Bucket {
        let patience = Duration::from_millis(setup.term_ms) / 4;
        let mut context = async_nats::jetstream::new(line.client.clone());
        context.set_timeout(patience);
        Bucket {
            context,
            state: line.state.clone(),
            name: format!("tickring_{}", setup.cluster),
            replicas: setup.replicas.into(),
            patience,
            store: RefCell::default(),
            board: Arc::clone(&line.board),
            unanswered: Cell::new(0),
            failures: Cell::new(0),
            has_told_strange: Cell::new(false),
        }
    }

    /// Carries out one request after another.
    pub(super) async fn serve(&self, requests: &mut mpsc::Receiver<LeaseRequest>, outlet: &Outlet) -> Ended {
        while let Some(request) = requests.recv().await {
            let answer = self.answer(request).await;
            outlet.answer(Word::LeaseAnswered(answer)).await;
            if self.unanswered.get() >= UNANSWERED_MAX {
                return Ended::Worn;
            }
        }
        Ended::NoRequests
    }

    /// Tells of every value of the key, and of the one that it holds at each connection; until the thread ends.
    pub(super) async fn watch(&self, outlet: &Outlet) {
        let mut state = self.state.clone();
        loop {
            if state.wait_for(|state| state.is_up).await.is_err() {
                return;
            }
            let connects = state.borrow_and_update().connects;
            let is_other = |state: &LinkState| !state.is_up || state.connects != connects;
            tokio::select! {
                _ = state.wait_for(is_other) => {}
                () = self.tell_values(outlet) => tokio::time::sleep(self.patience).await,
            }
        }
    }

    /// Until the watch breaks.
    async fn tell_values(&self, outlet: &Outlet) {
        let begin = async {
            let store = self.open().await?;
            store.watch_with_history(KEY).await.map_err(io::Error::other)
        };
        let Ok(mut entries) = self.patiently(begin).await else { return };
        while let Some(Ok(Entry { value, revision, operation, .. })) = entries.next().await {
            match operation {
                Operation::Put => {
                    if let Some(value) = self.value(&value) {
                        outlet.answer(Word::LeaseSeen(LeaseEntry { revision, value })).await;
                    }
                }
                // Who asks next finds that it is so.
                Operation::Delete | Operation::Purge => {}
            }
        }
    }

    async fn answer(&self, request: LeaseRequest) -> LeaseAnswer {
        let is_up = self.state.borrow().is_up;
        let answered = match request {
            _ if !is_up => None,
            LeaseRequest::Read => Some(self.patiently(self.read()).await),
            LeaseRequest::Create { value } => Some(self.patiently(self.create(&value)).await),
            LeaseRequest::Update { value, revision } => {
                Some(self.patiently(self.update(&value, revision)).await)
            }
        };
        match answered {
            Some(Ok(answer)) => {
                self.failures.set(0);
                return answer;
            }
            Some(Err(error)) => self.note_failure(&error),
            None => {}
        }
        add(&self.board.lease_unknown, 1);
        LeaseAnswer::Unknown
    }

    /// What comes of it within a quarter of the term.
    async fn patiently<T>(
        &self,
        request: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, Unanswered> {
        let answered = timeout(self.patience, request).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if answered.is_err() {
            self.unanswered.set(self.unanswered.get() + 1);
        }
        answered
    }

    fn note_failure(&self, error: &Unanswered) {
        // The bucket may be gone: whoever asks next looks, and makes it.
        self.store.take();
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if failures == FAILURES_TOLD {
            log::warn!(
                "NATS's bucket {} does not answer: {}; look whether JetStream is on, at `cluster.replicas` and at permissions (docs/scaling/nats.conf). It is asked again until it does",
                self.name,
                clean(&error.to_string())
            );
        }
    }

    async fn read(&self) -> Result<LeaseAnswer, Unanswered> {
        Ok(match self.stand().await? {
            Stand::Absent | Stand::Deleted(_) => LeaseAnswer::Holds(None),
            Stand::Holds(entry) => LeaseAnswer::Holds(Some(entry)),
            Stand::Strange => LeaseAnswer::Unknown,
        })
    }

    async fn create(&self, value: &LeaseValue) -> Result<LeaseAnswer, Unanswered> {
        match self.stand().await? {
            Stand::Absent => self.update(value, 0).await,
            Stand::Deleted(revision) => self.update(value, revision).await,
            Stand::Holds(_) | Stand::Strange => Ok(LeaseAnswer::Refused),
        }
    }

    async fn update(&self, value: &LeaseValue, revision: u64) -> Result<LeaseAnswer, Unanswered> {
        let store = self.open().await?;
        match store.update(KEY, Bytes::from(lease_value::write(value)), revision).await {
            Ok(revision) => Ok(LeaseAnswer::Written { revision }),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(LeaseAnswer::Refused),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// By the stream's leader.
    async fn stand(&self) -> Result<Stand, Unanswered> {
        let store = self.open().await?;
        let subject = format!("{}{KEY}", store.prefix);
        match store.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message)
                if message.headers.get(OPERATION_HEADER).is_some_and(|kind| kind.as_str() != "PUT") =>
            {
                Ok(Stand::Deleted(message.sequence))
            }
            Ok(message) => Ok(self.value(&message.payload).map_or(Stand::Strange, |value| {
                Stand::Holds(LeaseEntry { revision: message.sequence, value })
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Stand::Absent),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// The bucket, which is made if it is not there.
    async fn open(&self) -> Result<Store, Unanswered> {
        if let Some(store) = &*self.store.borrow() {
            return Ok(store.clone());
        }
        let store = match self.context.get_key_value(&self.name).await {
            Ok(store) => store,
            Err(error) if is_absence(&error) => self.make().await?,
            Err(error) => return Err(io::Error::other(error)),
        };
        *self.store.borrow_mut() = Some(store.clone());
        Ok(store)
    }

    async fn make(&self) -> Result<Store, Unanswered> {
        let config = Config {
            bucket: self.name.clone(),
            description: "who owns the market of a tickring cluster".to_owned(),
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..Config::default()
        };
        self.context.create_key_value(config).await.map_err(io::Error::other)
    }

    fn value(&self, bytes: &[u8]) -> Option<LeaseValue> {
        let value = lease_value::read(bytes);
        if value.is_none() {
            add(&self.board.lease_strange, 1);
            if !self.has_told_strange.replace(true) {
                log::error!(
                    "the key {KEY} of NATS's bucket {} holds what is no lease: something else than a tickring of this version writes it",
                    self.name
                );
            }
        }
        value
    }
}

/// Whether JetStream said that there is no such bucket.
pub(super) fn is_absence(error: &KeyValueError) -> bool {
    let answer = std::error::Error::source(error).and_then(|source| source.downcast_ref::<GetStreamError>());
    answer.is_some_and(|answer| match answer.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        GetStreamErrorKind::EmptyName
        | GetStreamErrorKind::Request
        | GetStreamErrorKind::InvalidStreamName => false,
    })
}
