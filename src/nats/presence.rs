//! The bucket in which the owner of the market keeps who is present, for the owner after it (`mail/keeping.rs`).
//!
//! Home: a task of the thread that speaks to NATS; a connection of its own while this node owns, so that neither the lease nor market data wait for it. Invariants:
//! - One writer: each message is to be the next one behind the newest that this owner knows of, one is under way at a time, and an owner begins by a mark with its fence. An older one finds
//!   that another message is the newest, then the mark, and writes no more.
//! - Nothing waits here for NATS to come back: what is not surely written is told, and the office knows what to write then.
//! - Nothing that is read is believed: values are bounded and parsed; what is none is counted.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, PublishError, PublishErrorKind};
use async_nats::jetstream::kv::{Config, Entry, Operation, Store};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::cluster::names::Fence;
use crate::cluster::words::{PresenceWish, PresenceWord};
use crate::limits;
use crate::model::presence::{KeptPresence, KeptWord};

use super::NatsSetup;
use super::board::{NatsBoard, add};
use super::lanes::{Inlet, Outlet};
use super::lease::is_absence;
use super::link;
use super::presence_value::{OWNER_KEY, key, read, read_owner, write, write_owner};
use super::reports::clean;

/// For one answer of JetStream, and for the next entry while all are read.
const PATIENCE: Duration = Duration::from_secs(2);
/// After something that failed, the next try; to begin, doubled so often, for what is read later than the grace is of no use. How many in a row the log is told of.
const RETRY_NS: u64 = 250_000_000;
const DOUBLINGS_MAX: u32 = 5;
/// How often it is looked whether the connection is there, before the first try.
const CONNECTED_LOOK: Duration = Duration::from_millis(10);
const FAILURES_TOLD: u32 = 4;
/// To learn again what the newest message is, where others write too.
const TRIES: u32 = 4;
/// Of the operations of a key, which NATS tells in a header, and what removes it.
const OPERATION_HEADER: &str = "KV-Operation";
const REMOVAL: &str = "DEL";

/// Why something was not done: a text for the log.
type Failure = io::Error;

/// Keeps presence whenever this node owns; until there is a stop.
pub(super) async fn keep(
    setup: NatsSetup,
    mut wishes: Inlet<PresenceWish>,
    outlet: Rc<Outlet>,
    board: Arc<NatsBoard>,
) {
    let mut next = wishes.next().await;
    while let Some(wish) = next {
        next = match wish {
            PresenceWish::Begin(fence) => match Keeper::connect(&setup, fence, &outlet, &board).await {
                Ok(keeper) => keeper.serve(&mut wishes).await,
                Err(error) => {
                    log::error!("who is present is not kept for the next owner: {error}");
                    wishes.next().await
                }
            },
            // Of an owner that was.
            PresenceWish::Write(_) | PresenceWish::End => wishes.next().await,
        };
    }
}

/// The bucket of one owner.
struct Keeper {
    context: Context,
    bucket: String,
    replicas: usize,
    fence: Fence,
    outlet: Rc<Outlet>,
    board: Arc<NatsBoard>,
    /// Of the newest message that there is, as far as is known.
    last: u64,
    /// How long the bucket keeps what is not written again, and when the mark was written.
    renew_ns: u64,
    marked_ns: u64,
    /// After a failure: what waits is not tried one after the other, each for as long; and what is there is to be looked at anew, the bucket too.
    rests_until_ns: u64,
    is_in_doubt: bool,
}

/// Why a message was not appended.
enum Unwritten {
    /// Another one is the newest.
    Moved,
    Failed(Failure),
}

impl Keeper {
    async fn connect(
        setup: &NatsSetup,
        fence: Fence,
        outlet: &Rc<Outlet>,
        board: &Arc<NatsBoard>,
    ) -> Result<Keeper, Failure> {
        let servers: io::Result<Vec<async_nats::ServerAddr>> =
            setup.servers.iter().map(|server| server.parse()).collect();
        let options = link::admitted(setup, " presence").request_timeout(Some(PATIENCE));
        let client = async_nats::connect_with_options(servers?, options).await.map_err(io::Error::other)?;
        let context = jetstream::ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE);
        Ok(Keeper {
            context: context.build(client),
            bucket: format!("tickring_{}_presence", setup.cluster),
            replicas: setup.replicas.into(),
            fence,
            outlet: Rc::clone(outlet),
            board: Arc::clone(board),
            last: 0,
            renew_ns: limits::PRESENCE_AGE_NS / 3,
            marked_ns: 0,
            rests_until_ns: 0,
            is_in_doubt: false,
        })
    }

    /// Reads what the owner before has left, then writes what is wished; until there is a wish that is not this owner's to carry out, which is given.
    async fn serve(mut self, wishes: &mut Inlet<PresenceWish>) -> Option<PresenceWish> {
        tokio::select! {
            () = self.begin() => {}
            wish = next_but_writes(wishes) => return wish,
        }
        let mut is_mine = true;
        loop {
            match wishes.next().await {
                Some(PresenceWish::Write(kept)) if is_mine => is_mine = self.write_or_tell(kept).await,
                // A later owner writes: the market's thread is about to hear that there is one.
                Some(PresenceWish::Write(_)) => {}
                other => return other,
            }
        }
    }

    /// Until the bucket is this owner's to write, and read.
    async fn begin(&mut self) {
        let mut failures: u32 = 0;
        while let Err(error) = self.try_to_begin().await {
            failures = failures.saturating_add(1);
            if failures == FAILURES_TOLD {
                log::warn!(
                    "who is present is not kept for the next owner in NATS's bucket {}: {}; look at permissions (docs/scaling/nats.conf). It is tried again until it is",
                    self.bucket,
                    clean(&error.to_string())
                );
            }
            sleep(Duration::from_nanos(RETRY_NS << (failures - 1).min(DOUBLINGS_MAX))).await;
        }
    }

    async fn try_to_begin(&mut self) -> Result<(), Failure> {
        // It is being made, and questions of clients wait for what is read.
        let connected = async {
            while !self.is_connected() {
                sleep(CONNECTED_LOOK).await;
            }
        };
        timeout(PATIENCE, connected).await?;
        let store = self.open().await?;
        if !self.take(&store).await? {
            // The lease's bucket was made anew, or this node is about to hear that it owns no more.
            return Err(io::Error::other("a later owner has marked it"));
        }
        let age = store.stream.cached_info().config.max_age;
        let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        // One that forgets nothing is an operator's choice.
        self.renew_ns = if age_ns == 0 { u64::MAX } else { age_ns / 3 };
        self.tell(KeptWord::Reading { renew_ns: self.renew_ns }).await;
        self.read_all(&store).await?;
        self.tell(KeptWord::Read).await;
        Ok(())
    }

    /// Tells of every user of whom something is kept. There is the mark at least, so that the last one is known.
    async fn read_all(&self, store: &Store) -> Result<(), Failure> {
        let watch = timeout(PATIENCE, store.watch_with_history(">")).await?;
        let mut entries = watch.map_err(io::Error::other)?;
        let mut chunk = Vec::new();
        loop {
            let next = timeout(PATIENCE, entries.next()).await?;
            let next = next.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Entry { key, value, operation, delta, .. } = next.map_err(io::Error::other)?;
            match operation {
                Operation::Put if key == OWNER_KEY => {}
                Operation::Put => match read(&key, &value) {
                    Some(kept) => chunk.push(kept),
                    None => add(&self.board.presence_strange, 1),
                },
                Operation::Delete | Operation::Purge => {}
            }
            if chunk.len() >= limits::PRESENCE_ENTRIES_PER_WORD || (delta == 0 && !chunk.is_empty()) {
                self.tell(KeptWord::Entries(std::mem::take(&mut chunk))).await;
            }
            if delta == 0 {
                return Ok(());
            }
        }
    }

    /// Learns what the newest message is, and marks the bucket unless a later owner has: whether it is this one's.
    async fn take(&mut self, store: &Store) -> Result<bool, Failure> {
        for _ in 0..TRIES {
            // Before the mark: one that comes between the two is newer than the number that is expected.
            let info = store.stream.get_info().await.map_err(io::Error::other)?;
            self.last = info.state.last_sequence;
            let subject = format!("{}{OWNER_KEY}", store.prefix);
            let marked = match store.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => read_owner(&message.payload),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
                Err(error) => return Err(io::Error::other(error)),
            };
            if marked >= Some(self.fence) {
                return Ok(marked == Some(self.fence));
            }
            match self.mark().await {
                Ok(()) => return Ok(true),
                Err(Unwritten::Moved) => {}
                Err(Unwritten::Failed(failure)) => return Err(failure),
            }
        }
        Err(io::Error::other("something else writes it"))
    }

    async fn mark(&mut self) -> Result<(), Unwritten> {
        self.append(OWNER_KEY, Some(write_owner(self.fence))).await?;
        self.marked_ns = clock::now().mono_ns;
        Ok(())
    }

    /// Writes, or tells the office that it is not written; whether the bucket is this owner's still.
    async fn write_or_tell(&mut self, kept: KeptPresence) -> bool {
        match self.write(&kept).await {
            Ok(is_mine) => is_mine,
            Err(error) => {
                add(&self.board.presence_unwritten, 1);
                // What is asked for while it rests does not make it rest for longer.
                let now_ns = clock::now().mono_ns;
                if now_ns >= self.rests_until_ns {
                    self.rests_until_ns = now_ns + RETRY_NS;
                }
                self.is_in_doubt = true;
                log::debug!(
                    "presence of {} is not written: {}",
                    kept.user.as_str(),
                    clean(&error.to_string())
                );
                self.tell(KeptWord::Unwritten(kept)).await;
                true
            }
        }
    }

    async fn write(&mut self, kept: &KeptPresence) -> Result<bool, Failure> {
        let now_ns = clock::now().mono_ns;
        if !self.is_connected() || now_ns < self.rests_until_ns {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if now_ns.saturating_sub(self.marked_ns) > self.renew_ns {
            // It is forgotten in time, as all is. Where that fails, the message behind it tells.
            let _ = self.mark().await;
        }
        let key = key(&kept.user);
        for _ in 0..TRIES {
            if self.is_in_doubt {
                let store = self.open().await?;
                if !self.take(&store).await? {
                    return Ok(false);
                }
                self.is_in_doubt = false;
            }
            let value = kept.since_ms.map(|since_ms| write(&kept.user, since_ms));
            match self.append(&key, value).await {
                Ok(()) => {
                    add(&self.board.presence_written, 1);
                    return Ok(true);
                }
                Err(Unwritten::Moved) => self.is_in_doubt = true,
                // It may be there all the same.
                Err(Unwritten::Failed(failure)) => return Err(failure),
            }
        }
        Err(io::Error::other("something else writes the bucket"))
    }

    /// Appends a value to a key, or its removal, as the message behind the newest that is known.
    async fn append(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Unwritten> {
        let message = PublishMessage::build().expected_last_sequence(self.last);
        let message = match value {
            Some(value) => message.payload(Bytes::from(value)),
            None => message.header(OPERATION_HEADER, REMOVAL),
        };
        let subject = format!("$KV.{}.{key}", self.bucket);
        let failed = |error: PublishError| Unwritten::Failed(io::Error::other(error));
        let sent = self.context.send_publish(subject, message).await.map_err(failed)?;
        match sent.await {
            Ok(ack) => {
                self.last = ack.sequence;
                Ok(())
            }
            Err(error) if is_moved(&error) => Err(Unwritten::Moved),
            Err(error) => Err(failed(error)),
        }
    }

    /// The bucket, which is made if it is not there.
    async fn open(&self) -> Result<Store, Failure> {
        match self.context.get_key_value(&self.bucket).await {
            Ok(store) => Ok(store),
            Err(error) if is_absence(&error) => {
                let config = Config {
                    bucket: self.bucket.clone(),
                    description: "who is present in a tickring cluster".to_owned(),
                    max_value_size: i32::try_from(limits::PRESENCE_VALUE_BYTES_MAX).unwrap_or(i32::MAX),
                    history: 1,
                    max_age: Duration::from_nanos(limits::PRESENCE_AGE_NS),
                    storage: StorageType::File,
                    num_replicas: self.replicas,
                    ..Config::default()
                };
                self.context.create_key_value(config).await.map_err(io::Error::other)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    async fn tell(&self, word: KeptWord) {
        self.outlet.tell_presence(PresenceWord { fence: self.fence, word }).await;
    }
}

/// Whether another message is the newest, in whichever way the server says so.
fn is_moved(error: &PublishError) -> bool {
    let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    error.kind() == PublishErrorKind::WrongLastSequence
        || said.is_some_and(|said| said.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
}

/// The next wish that is no write; `None` after a stop.
async fn next_but_writes(wishes: &mut Inlet<PresenceWish>) -> Option<PresenceWish> {
    loop {
        match wishes.next().await {
            Some(PresenceWish::Write(_)) => {}
            other => return other,
        }
    }
}
