//! The lease's bucket: a key-value bucket of JetStream, by compare-and-set of a key's revision.
//!
//! Home: two tasks of the thread that speaks to NATS, with a connection of their own. Invariants: what the key holds is asked of the stream's leader, for a copy may be behind; what is not surely
//! done, or surely refused, is `Unknown`; each request is answered within a quarter of the term; nothing that is read is believed.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{Context, KeyValueErrorKind};
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
    /// What was told of once.
    told: RefCell<Told>,
}

#[derive(Default)]
struct Told {
    no_bucket: bool,
    strange: bool,
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
            told: RefCell::default(),
        }
    }

    /// Carries out one request after another, until there are no more.
    pub(super) async fn serve(
        self: Rc<Bucket>,
        mut requests: mpsc::Receiver<LeaseRequest>,
        outlet: Rc<Outlet>,
    ) {
        while let Some(request) = requests.recv().await {
            let answer = self.answer(request).await;
            outlet.answer(Word::LeaseAnswered(answer)).await;
        }
    }

    /// Tells of every value of the key, and of the one that it holds at each connection; until the thread ends.
    pub(super) async fn watch(self: Rc<Bucket>, outlet: Rc<Outlet>) {
        let mut state = self.state.clone();
        loop {
            if state.wait_for(|state| state.is_up).await.is_err() {
                return;
            }
            let connects = state.borrow_and_update().connects;
            let is_other = |state: &LinkState| !state.is_up || state.connects != connects;
            tokio::select! {
                _ = state.wait_for(is_other) => {}
                () = self.tell_values(&outlet) => tokio::time::sleep(self.patience).await,
            }
        }
    }

    /// Until the watch breaks.
    async fn tell_values(&self, outlet: &Outlet) {
        let Ok(Ok(store)) = timeout(self.patience, self.open()).await else { return };
        let Ok(Ok(mut entries)) = timeout(self.patience, store.watch_with_history(KEY)).await else { return };
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
        let asked = match request {
            _ if !is_up => None,
            LeaseRequest::Read => timeout(self.patience, self.read()).await.ok(),
            LeaseRequest::Create { value } => timeout(self.patience, self.create(&value)).await.ok(),
            LeaseRequest::Update { value, revision } => {
                timeout(self.patience, self.update(&value, revision)).await.ok()
            }
        };
        let answer = asked.and_then(|answered| {
            answered
                .inspect_err(|error| {
                    log::debug!("the lease's bucket has not answered: {error}");
                    // It may be gone: whoever asks next looks, and makes it.
                    self.store.take();
                })
                .ok()
        });
        answer.unwrap_or_else(|| {
            add(&self.board.lease_unknown, 1);
            LeaseAnswer::Unknown
        })
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
            Err(error) if error.kind() == KeyValueErrorKind::GetBucket => self.make().await?,
            Err(error) => return Err(io::Error::other(error)),
        };
        *self.store.borrow_mut() = Some(store.clone());
        self.told.borrow_mut().no_bucket = false;
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
        self.context.create_key_value(config).await.map_err(|error| {
            if !std::mem::replace(&mut self.told.borrow_mut().no_bucket, true) {
                let error = clean(&error.to_string());
                log::warn!(
                    "NATS has no bucket {}, and this node cannot make it: {error}; look whether JetStream is on, and at `cluster.replicas` and permissions",
                    self.name
                );
            }
            io::Error::other(error)
        })
    }

    fn value(&self, bytes: &[u8]) -> Option<LeaseValue> {
        let value = lease_value::read(bytes);
        if value.is_none() {
            add(&self.board.lease_strange, 1);
            if !std::mem::replace(&mut self.told.borrow_mut().strange, true) {
                log::error!(
                    "the key `{KEY}` of NATS's bucket {} holds what is no lease: something else than a tickring of this version writes it",
                    self.name
                );
            }
        }
        value
    }
}
