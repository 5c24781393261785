//! The bucket of a cluster's named sessions: a key-value bucket of JetStream whose values end by themselves, by compare-and-set of a key's revision.
//!
//! Home: tasks of the thread that speaks to NATS, with a connection of their own, so that the lease is not behind log-ins, and log-ins are not behind the market.
//! Invariants: what a key holds is asked of the stream's leader; what is not surely done, or surely refused, is `Unknown`; each request is answered within
//! `limits::SESSION_ANSWER_NS_MAX`, and as long again where it waits for NATS to come back; what changes is told in its order, and after each connection all that there is; nothing that is read is believed. NATS's client
//! keeps something of each request that nobody answers: it is replaced when that have been `UNANSWERED_MAX`.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MARKER_REASON, NATS_MESSAGE_TTL};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::{Context, PublishError, PublishErrorKind};
use async_nats::jetstream::kv::{Config, Store};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, StorageType};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::auth::{BucketAnswer, BucketRequest, BucketWord, SessionKey, SessionValue, Wanted};
use crate::limits;

use super::NatsSetup;
use super::board::{NatsBoard, add};
use super::lease::{Ended, OPERATION_HEADER, is_absence};
use super::link::{self, Line, LinkState};
use super::reports::{Connection, Reports, clean};
use super::session_lanes::{SessionInlet, SessionOutlet, SessionRequest, SessionWord};

const PATIENCE: Duration = Duration::from_nanos(limits::SESSION_ANSWER_NS_MAX);
/// How long a deletion stays, and what says that a value has ended: for who is being told what there is.
const MARKER_S: u64 = 3_600;
/// Some 300 bytes each.
const UNANSWERED_MAX: u32 = 64;
/// Requests of one kind, one after another, that fail while NATS is there, before the log says so.
const FAILURES_TOLD: u32 = 4;

/// What may fail while the others go well: with the account's disk full, say, all is read and nothing is written.
#[derive(Clone, Copy)]
enum Kind {
    Watch,
    Read,
    Write,
}

/// See the file's head.
struct Bucket {
    context: Context,
    state: watch::Receiver<LinkState>,
    name: String,
    replicas: usize,
    /// Known to be there when it was asked for.
    store: RefCell<Option<Store>>,
    board: Arc<NatsBoard>,
    unanswered: Cell<u32>,
    /// Of each kind, one after another.
    failures: [Cell<u32>; 3],
    has_told_strange: Cell<bool>,
}

/// Why a request has no answer: a text for the log.
type Unanswered = io::Error;

/// By one client after another, until there are no more requests.
pub(super) async fn carry(
    setup: NatsSetup,
    mut requests: SessionInlet,
    outlet: SessionOutlet,
    reports: Rc<RefCell<Reports>>,
    board: Arc<NatsBoard>,
) -> io::Result<()> {
    loop {
        let (line, watcher) = link::connect(&setup, Connection::Sessions, &reports, &board).await?;
        let bucket = Bucket::new(&setup, &line);
        let ended = tokio::select! {
            ended = bucket.serve(&mut requests, &outlet) => ended,
            () = watcher.watch() => Ended::Worn,
            () = bucket.watch(&outlet) => Ended::Worn,
        };
        match ended {
            Ended::NoRequests => return Ok(()),
            Ended::Worn => {
                // Its watch has ended with it.
                outlet.say(SessionWord::Told(BucketWord::Lost)).await;
                add(&board.reconnects, 1);
            }
        }
    }
}

impl Bucket {
    fn new(setup: &NatsSetup, line: &Line) -> Bucket {
        let mut context = async_nats::jetstream::new(line.client.clone());
        context.set_timeout(PATIENCE);
        Bucket {
            context,
            state: line.state.clone(),
            name: format!("tickring_{}_sessions", setup.cluster),
            replicas: setup.replicas.into(),
            store: RefCell::default(),
            board: Arc::clone(&line.board),
            unanswered: Cell::new(0),
            failures: <[Cell<u32>; 3]>::default(),
            has_told_strange: Cell::new(false),
        }
    }

    /// Carries out requests, side by side, until there are none any more or this client is worn; those that were taken are answered.
    async fn serve(&self, requests: &mut SessionInlet, outlet: &SessionOutlet) -> Ended {
        let mut under_way = FuturesUnordered::new();
        let ended = loop {
            if self.unanswered.get() >= UNANSWERED_MAX {
                break Ended::Worn;
            }
            tokio::select! {
                request = requests.next() => match request {
                    Some(SessionRequest { number, request }) => {
                        under_way.push(async move { (number, self.answer(request).await) });
                    }
                    None => break Ended::NoRequests,
                },
                Some((number, answer)) = under_way.next() => {
                    outlet.say(SessionWord::Answered { number, answer }).await;
                }
            }
        };
        while let Some((number, answer)) = under_way.next().await {
            outlet.say(SessionWord::Answered { number, answer }).await;
        }
        ended
    }

    /// Tells what there is at each connection, and what changes; until the thread ends.
    async fn watch(&self, outlet: &SessionOutlet) {
        let mut state = self.state.clone();
        loop {
            if state.wait_for(|state| state.is_up).await.is_err() {
                return;
            }
            let connects = state.borrow_and_update().connects;
            let is_other = |state: &LinkState| !state.is_up || state.connects != connects;
            let is_broken = tokio::select! {
                _ = state.wait_for(is_other) => false,
                () = self.tell_all(outlet) => true,
            };
            outlet.say(SessionWord::Told(BucketWord::Lost)).await;
            if is_broken {
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }

    /// Until the watch breaks.
    async fn tell_all(&self, outlet: &SessionOutlet) {
        let begin = async {
            let store = self.open().await?;
            let consumer = store.stream.create_consumer(OrderedConfig {
                deliver_subject: self.context.client().new_inbox(),
                description: Some("named sessions".to_owned()),
                filter_subject: format!("{}>", store.prefix),
                replay_policy: ReplayPolicy::Instant,
                deliver_policy: DeliverPolicy::LastPerSubject,
                ..OrderedConfig::default()
            });
            let consumer = consumer.await.map_err(io::Error::other)?;
            let pending = consumer.cached_info().num_pending;
            Ok((consumer.messages().await.map_err(io::Error::other)?, pending, store.prefix.clone()))
        };
        let (mut messages, mut pending, prefix) = match self.patiently(begin).await {
            Ok(begun) => begun,
            Err(error) => return self.note_failure(Kind::Watch, &error),
        };
        self.failures_of(Kind::Watch).set(0);
        let say = |word| outlet.say(SessionWord::Told(word));
        say(BucketWord::Began).await;
        if pending == 0 {
            say(BucketWord::Complete).await;
        }
        loop {
            let next = if pending == 0 {
                messages.next().await
            } else {
                // One that has ended since it was counted never comes: all is told anew.
                let Ok(next) = timeout(PATIENCE, messages.next()).await else { return };
                next
            };
            let Some(Ok(message)) = next else { return };
            let Ok(info) = message.info() else { return };
            let (revision, left) = (info.stream_sequence, info.pending);
            let key = message.subject.strip_prefix(&*prefix).and_then(SessionKey::parse);
            match key {
                Some(key) => {
                    let value = self.value(key, &message.payload, message.headers.as_ref());
                    say(BucketWord::Seen { key, revision, value }).await;
                }
                None => self.note_strange(),
            }
            if pending > 0 {
                pending = left;
                if pending == 0 {
                    say(BucketWord::Complete).await;
                }
            }
        }
    }

    async fn answer(&self, BucketRequest { key, wanted }: BucketRequest) -> BucketAnswer {
        if let Wanted::Read { waits: true } = wanted {
            let mut state = self.state.clone();
            let _ = timeout(PATIENCE, state.wait_for(|state| state.is_up)).await;
        }
        add(&self.board.session_requests, 1);
        let kind = if matches!(wanted, Wanted::Read { .. }) { Kind::Read } else { Kind::Write };
        let is_up = self.state.borrow().is_up;
        if is_up {
            match self.patiently(self.carry_out(key, wanted)).await {
                Ok(answer) => {
                    if answer != BucketAnswer::Refused {
                        self.failures_of(kind).set(0);
                    }
                    return answer;
                }
                Err(error) => self.note_failure(kind, &error),
            }
        }
        add(&self.board.session_unknown, 1);
        BucketAnswer::Unknown
    }

    async fn carry_out(&self, key: SessionKey, wanted: Wanted) -> Result<BucketAnswer, Unanswered> {
        let store = self.open().await?;
        let subject = format!("{}{key}", store.prefix);
        match wanted {
            Wanted::Read { .. } => self.read(&store, key, &subject).await,
            Wanted::Write { text, revision, lasts_s } => {
                let headers = headers(revision, lasts_s);
                self.publish(subject, headers, Bytes::from(text)).await
            }
            Wanted::Delete { revision } => {
                let mut headers = headers(revision, MARKER_S);
                headers.insert(OPERATION_HEADER, "DEL");
                self.publish(subject, headers, Bytes::new()).await
            }
        }
    }

    async fn read(&self, store: &Store, key: SessionKey, subject: &str) -> Result<BucketAnswer, Unanswered> {
        match store.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let value = self.value(key, &message.payload, Some(&message.headers));
                Ok(BucketAnswer::Holds { revision: message.sequence, value })
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Ok(BucketAnswer::Holds { revision: 0, value: None })
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<BucketAnswer, Unanswered> {
        let sent = self.context.publish_with_headers(subject, headers, payload).await;
        match sent.map_err(io::Error::other)?.await {
            Ok(ack) => Ok(BucketAnswer::Written { revision: ack.sequence }),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(BucketAnswer::Refused),
            Err(error) => match jetstream_error(&error) {
                Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) => Ok(BucketAnswer::Refused),
                // It was heard, and surely is not done.
                Some(_) => {
                    self.note_failure(Kind::Write, &io::Error::other(error));
                    Ok(BucketAnswer::Refused)
                }
                None => Err(io::Error::other(error)),
            },
        }
    }

    /// What comes of it in time.
    async fn patiently<T>(
        &self,
        request: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, Unanswered> {
        let answered = timeout(PATIENCE, request).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if answered.is_err() {
            self.unanswered.set(self.unanswered.get() + 1);
        }
        answered
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
        if !store.stream.cached_info().config.allow_message_ttl {
            return Err(io::Error::other(
                "its values do not end by themselves: it was made without --marker-ttl",
            ));
        }
        *self.store.borrow_mut() = Some(store.clone());
        Ok(store)
    }

    async fn make(&self) -> Result<Store, Unanswered> {
        let config = Config {
            bucket: self.name.clone(),
            description: "named sessions of a tickring cluster".to_owned(),
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            limit_markers: Some(Duration::from_secs(MARKER_S)),
            ..Config::default()
        };
        self.context.create_key_value(config).await.map_err(io::Error::other)
    }

    /// What a message of the bucket says of its key: a session, or that there is none.
    fn value(
        &self,
        key: SessionKey,
        payload: &[u8],
        headers: Option<&HeaderMap>,
    ) -> Option<Box<SessionValue>> {
        let is_end = headers.is_some_and(|headers| {
            let operation = headers.get(OPERATION_HEADER).is_some_and(|kind| kind.as_str() != "PUT");
            operation || headers.get(NATS_MARKER_REASON).is_some()
        });
        if is_end {
            return None;
        }
        let value = SessionValue::parse(key, payload);
        if value.is_none() {
            self.note_strange();
        }
        value.map(Box::new)
    }

    fn note_strange(&self) {
        add(&self.board.session_strange, 1);
        if !self.has_told_strange.replace(true) {
            log::error!(
                "NATS's bucket {} holds what is no session: something else than a tickring of this version writes there",
                self.name
            );
        }
    }

    fn failures_of(&self, kind: Kind) -> &Cell<u32> {
        &self.failures[kind as usize]
    }

    fn note_failure(&self, kind: Kind, error: &Unanswered) {
        // The bucket may be gone: whoever asks next looks, and makes it.
        self.store.take();
        let failures = self.failures_of(kind).get().saturating_add(1);
        self.failures_of(kind).set(failures);
        if failures == FAILURES_TOLD {
            log::warn!(
                "NATS's bucket {} does not answer: {}; look whether JetStream is on, at `cluster.replicas` and at permissions (docs/scaling/nats.conf). Until it does named sessions are refused",
                self.name,
                clean(&error.to_string())
            );
        }
    }
}

/// What JetStream has answered to a message, if it has.
fn jetstream_error(error: &PublishError) -> Option<ErrorCode> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<async_nats::jetstream::Error>().map(async_nats::jetstream::Error::error_code)
}

fn headers(revision: u64, lasts_s: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    headers.insert(NATS_MESSAGE_TTL, HeaderValue::from(lasts_s));
    headers
}
