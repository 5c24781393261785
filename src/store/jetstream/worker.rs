//! The thread of one opening: takes the stream, tells what it has, appends what comes, and gets over NATS being away.
//!
//! Home: a `store` thread. Invariants: what the sender is told of a batch is known; one message is under way at most, since the server's check is of a number alone,
//! and a second one behind a first that was refused might find its number taken by a later owner; while a fault lasts, batches are
//! refused between attempts to get over it, of which there is one each `STORE_RETRY_NS_MAX` at least, and one as soon as NATS is there again.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use rtrb::{Consumer, Producer, PushError};
use tokio::sync::Notify;

use crate::clock;
use crate::cluster::names::Fence;
use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::storage::{Key, StoreBatch, StoreFault, StoreOp, StoreState, StoreWord, Table};
use crate::store::trouble::{Trouble, hint};
use crate::store::{Shared, makes_room};

use super::JetSettings;
use super::records::{HEAD_BYTES, Head, Kind, Writer, encode_op, encoded_bytes, message_bytes};
use super::spans::Spans;
use super::stream::{AppendError, Connections, Stream, outcome};

/// How often a word that finds no room is tried again.
const SAY_RETRY: Duration = Duration::from_millis(1);

/// What a table has under a key.
pub(super) type Entries = BTreeMap<(Table, Key), Box<[u8]>>;

/// The message's sequence, and its bytes.
type Sent = Pin<Box<dyn Future<Output = Result<(u64, u64), AppendError>> + Send>>;
type Purging = Pin<Box<dyn Future<Output = (u64, Result<(), Trouble>)> + Send>>;

/// See the file's head.
pub(super) struct Worker {
    pub(super) settings: JetSettings,
    pub(super) fence: Fence,
    pub(super) writer: Writer,
    queue: Consumer<StoreBatch>,
    words: Producer<StoreWord>,
    /// The sender's.
    doorbell: Doorbell,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    connections: Arc<Connections>,
    /// Of those: how many were lost when the stream was taken, and were made when that was last tried.
    losses_seen: u64,
    connects_seen: u64,
    pub(super) client: Option<Client>,
    /// None where it has to be taken, anew after a fault.
    pub(super) stream: Option<Stream>,
    /// It was there once: none is made in its place.
    pub(super) was_there: bool,
    state: StoreState,
    pub(super) spans: Spans,
    /// The newest message that is known to be in the stream, and is told of in `spans`; none before the stream was first taken.
    pub(super) confirmed: Option<u64>,
    /// Messages that were made, for their heads.
    pub(super) made: u64,
    /// What is under way, and the answer to the one message of it that is.
    flight: Option<Group>,
    sent: Option<Sent>,
    /// What the stream had when it was first taken, as far as the sender was not told it; none once it was told all.
    pub(super) telling: Option<Entries>,
    /// Whether this came through is not known.
    doubt: Option<Group>,
    purging: Option<Purging>,
    /// Bytes that were appended since entries were last moved.
    pub(super) unmoved_bytes: u64,
    retry: Retry,
}

/// Batches, or entries that are moved, that go into one message, or into several that belong together.
pub(super) struct Group {
    pub(super) batches: Vec<StoreBatch>,
    pub(super) moved: Vec<StoreOp>,
    /// Numbers of its messages among those that were made.
    pub(super) first_made: u64,
    pub(super) messages: u64,
    /// Those that are not sent yet.
    unsent: VecDeque<Bytes>,
    /// Of those that are known to be in the stream, and of them all: bytes as `spans` counts them.
    answered: u64,
    answered_bytes: u64,
    bytes: u64,
    began_ns: u64,
}

impl Group {
    fn ops(&self) -> impl Iterator<Item = &StoreOp> {
        self.batches.iter().flat_map(|batch| &batch.ops).chain(&self.moved)
    }
}

/// When the stream is tried again.
struct Retry {
    due_ns: u64,
    distance_ns: u64,
}

/// What a thread that rests hears of.
enum Heard {
    Woken,
    Answered(Result<(u64, u64), AppendError>),
    Purged(u64, Result<(), Trouble>),
}

impl Worker {
    pub(super) fn new(
        settings: JetSettings,
        fence: Fence,
        queue: Consumer<StoreBatch>,
        words: Producer<StoreWord>,
        doorbell: Doorbell,
        shared: Arc<Shared>,
        wake: Arc<Notify>,
    ) -> Worker {
        let mut writer = [0; 8];
        aws_lc_rs::rand::fill(&mut writer)
            .expect("invariant: aws-lc gives random bytes or ends the process by itself");
        Worker {
            settings,
            fence,
            writer: Writer(u64::from_be_bytes(writer)),
            queue,
            words,
            doorbell,
            shared,
            wake,
            connections: Arc::default(),
            losses_seen: 0,
            connects_seen: 0,
            client: None,
            stream: None,
            was_there: false,
            state: StoreState::Absent,
            spans: Spans::default(),
            confirmed: None,
            made: 0,
            flight: None,
            sent: None,
            telling: Some(Entries::new()),
            doubt: None,
            purging: None,
            unmoved_bytes: 0,
            retry: Retry { due_ns: 0, distance_ns: limits::STORE_RETRY_NS_MIN },
        }
    }

    /// Until the sender is gone, or it is told to stop, and all is done that was sent before.
    pub(super) async fn run(mut self) {
        self.change(StoreState::Loading).await;
        self.attempt().await;
        loop {
            // Before the queue is looked at, so that all that was sent before it is seen.
            let is_ending = self.is_ending();
            self.notice_loss().await;
            if matches!(self.state, StoreState::Faulty(_)) {
                if is_ending {
                    break;
                }
                if self.is_retry_due() {
                    self.attempt().await;
                }
            }
            let has_done = self.take_some().await;
            if has_done {
                continue;
            }
            if is_ending && self.flight.is_none() {
                break;
            }
            let heard = self.rest().await;
            self.handle(heard).await;
        }
        self.end();
    }

    fn is_ending(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Acquire) || self.queue.is_abandoned()
    }

    /// What was sent over a connection that is lost is in doubt at once, not when its time is over.
    async fn notice_loss(&mut self) {
        if self.stream.is_some() && self.connections.lost() != self.losses_seen {
            self.doubt = self.doubt.take().or(self.flight.take());
            self.fail(&Trouble::new(StoreFault::Away, "the connection to NATS is lost")).await;
        }
    }

    fn is_retry_due(&self) -> bool {
        let is_back = || {
            self.state == StoreState::Faulty(StoreFault::Away)
                && self.connections.made() != self.connects_seen
        };
        clock::now().mono_ns >= self.retry.due_ns || is_back()
    }

    /// Why it refuses, where it does.
    pub(super) fn fault(&self) -> Option<StoreFault> {
        match self.state {
            StoreState::Faulty(fault) => Some(fault),
            StoreState::Absent | StoreState::Loading | StoreState::Ready => None,
        }
    }

    /// Tries to be ready: connects, takes the stream, finds out what is in doubt, tells what there is, as far as each is still to be done.
    async fn attempt(&mut self) {
        match self.try_attempt().await {
            Ok(()) => self.change(StoreState::Ready).await,
            Err(trouble) => self.fail(&trouble).await,
        }
    }

    async fn try_attempt(&mut self) -> Result<(), Trouble> {
        if self.client.is_none() {
            self.client = Some(Stream::connect(&self.settings, &self.wake, &self.connections).await?);
        }
        if self.stream.is_none() {
            self.losses_seen = self.connections.lost();
            self.await_connected().await;
            self.take_hold().await?;
            self.retry.distance_ns = limits::STORE_RETRY_NS_MIN;
            self.shared.progress.file_bytes.set(self.spans.bytes());
        }
        if self.telling.is_some() {
            self.change(StoreState::Loading).await;
            self.tell().await;
        }
        Ok(())
    }

    /// For a moment: a connection that was never there is no loss yet.
    async fn await_connected(&self) {
        let connected = async_nats::connection::State::Connected;
        let until_ns = clock::now().mono_ns + limits::STORE_RETRY_NS_MIN;
        while self.client.as_ref().is_some_and(|client| client.connection_state() != connected)
            && !self.is_ending()
        {
            let left_ns = until_ns.saturating_sub(clock::now().mono_ns);
            if left_ns == 0
                || tokio::time::timeout(Duration::from_nanos(left_ns), self.wake.notified()).await.is_err()
            {
                break;
            }
        }
    }

    /// Tells the sender all that the stream had.
    async fn tell(&mut self) {
        let began_ns = clock::now().mono_ns;
        let entries = self.telling.take().unwrap_or_default();
        let count = entries.len() as u64;
        let (mut piece, mut bytes) = (Vec::new(), 0);
        let mut entries = entries.into_iter().peekable();
        while let Some(((table, key), value)) = entries.next() {
            bytes += size_of::<(Key, Box<[u8]>)>() + value.len();
            piece.push((key, value));
            let is_last = entries.peek().is_none_or(|((next, _), _)| *next != table);
            if is_last || bytes >= limits::STORE_PIECE_BYTES {
                bytes = 0;
                // Nobody listens any more: what was sent waits.
                if self.is_ending() {
                    break;
                }
                self.say(StoreWord::Entries { table, entries: std::mem::take(&mut piece) }).await;
            }
        }
        self.say(StoreWord::Loaded).await;
        let progress = &self.shared.progress;
        progress.loaded_entries.set(count);
        progress.load_ns.set(progress.load_ns.read() + clock::now().mono_ns - began_ns);
        log::info!("the store is loaded: {count} entries of {} bytes of messages", self.spans.bytes());
    }

    pub(super) fn set_load_ns(&self, took_ns: u64) {
        self.shared.progress.load_ns.set(took_ns);
    }

    /// Takes what waits, if nothing is under way; whether there was something.
    async fn take_some(&mut self) -> bool {
        match self.state {
            StoreState::Ready => {
                // What is alive is known when nothing is under way.
                let is_free = self.flight.is_none();
                is_free && (self.is_move_due() && self.move_some().await || self.append_some().await)
            }
            StoreState::Faulty(fault) => self.refuse_some(fault).await,
            StoreState::Absent | StoreState::Loading => {
                unreachable!("invariant: an attempt ends ready or faulty")
            }
        }
    }

    async fn append_some(&mut self) -> bool {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut is_full = false;
        while bytes < limits::JETSTREAM_APPEND_BYTES
            && !is_full
            && let Ok(batch) = self.queue.pop()
        {
            is_full = !makes_room(&batch) && !self.has_room(bytes + batch.weight_bytes());
            if is_full {
                self.refuse(batch, StoreFault::DiskFull).await;
            } else {
                bytes += batch.weight_bytes();
                batches.push(batch);
            }
        }
        let has_some = !batches.is_empty();
        if has_some {
            self.append(batches, Vec::new()).await;
        }
        if is_full {
            self.be_full().await;
        }
        has_some || is_full
    }

    /// Whether so much may be added to what there is.
    fn has_room(&self, bytes: usize) -> bool {
        let added = bytes as u64;
        self.spans.live_bytes() + added <= self.settings.live_bytes_max()
            && self.spans.bytes() + added <= self.settings.filled_bytes_max()
    }

    /// What is under way is not concerned, nor is the stream.
    async fn be_full(&mut self) {
        let what = "messages take the third of the stream that is for those that are alive, or all of it three quarters";
        let hint = "raise what the stream may keep, or have what waits in it consumed";
        self.refuse_from_now_on(&Trouble::new(StoreFault::DiskFull, what).with_hint(hint)).await;
    }

    async fn refuse_some(&mut self, fault: StoreFault) -> bool {
        let (mut has_done, mut removing) = (false, Vec::new());
        while let Ok(batch) = self.queue.pop() {
            has_done = true;
            // Else nothing would ever make room.
            let may_go = fault == StoreFault::DiskFull && makes_room(&batch);
            if may_go && self.stream.is_some() && self.flight.is_none() {
                removing.push(batch);
            } else {
                self.refuse(batch, fault).await;
            }
        }
        if !removing.is_empty() {
            self.append(removing, Vec::new()).await;
        }
        has_done
    }

    /// Sends a group behind all that is there, message by message.
    pub(super) async fn append(&mut self, batches: Vec<StoreBatch>, moved: Vec<StoreOp>) {
        let Some(stream) = &self.stream else { unreachable!("invariant: who appends has the stream") };
        let mut group = Group {
            batches,
            moved,
            first_made: self.made,
            messages: 0,
            unsent: VecDeque::new(),
            answered: 0,
            answered_bytes: 0,
            bytes: 0,
            began_ns: clock::now().mono_ns,
        };
        let mut body = Vec::with_capacity(group.ops().map(encoded_bytes).sum());
        group.ops().for_each(|op| encode_op(op, &mut body));
        let piece_bytes = stream.payload_bytes_max().saturating_sub(HEAD_BYTES).max(1);
        let count = body.len().div_ceil(piece_bytes).max(1);
        for nth in 0..count {
            let kind = match (nth == 0, nth + 1 == count) {
                (true, true) => Kind::Whole,
                (true, false) => Kind::FirstPart,
                (false, false) => Kind::Part,
                (false, true) => Kind::LastPart,
            };
            let piece = &body[nth * piece_bytes..body.len().min((nth + 1) * piece_bytes)];
            let mut message = Vec::with_capacity(HEAD_BYTES + piece.len());
            Head { kind, fence: self.fence, writer: self.writer, nth: self.made }.encode(&mut message);
            message.extend_from_slice(piece);
            group.bytes += message_bytes(message.len());
            group.unsent.push_back(Bytes::from(message));
            self.made += 1;
            group.messages += 1;
        }
        self.unmoved_bytes += group.bytes;
        self.flight = Some(group);
        self.tell_since();
        self.send_next().await;
    }

    /// Sends the next message of what is under way.
    async fn send_next(&mut self) {
        let last = self.newest();
        if let (Some(stream), Some(group)) = (&self.stream, &mut self.flight)
            && let Some(message) = group.unsent.pop_front()
        {
            let bytes = message_bytes(message.len());
            let sent = stream.append(last, message).await;
            self.sent = Some(Box::pin(async move { Ok((outcome(sent?).await?, bytes)) }));
        }
    }

    /// The newest message that is known to be in the stream.
    fn newest(&self) -> u64 {
        self.confirmed.unwrap_or(0) + self.flight.as_ref().map_or(0, |group| group.answered)
    }

    /// For the metric of how long it is under way.
    fn tell_since(&self) {
        let since_ns = self.flight.as_ref().map_or(0, |group| group.began_ns.max(1));
        self.shared.progress.commit_since_ns.set(since_ns);
    }

    /// Waits until there is something to do.
    async fn rest(&mut self) -> Heard {
        let wait = match self.state {
            StoreState::Faulty(_) => Some(self.retry.due_ns.saturating_sub(clock::now().mono_ns)),
            StoreState::Absent | StoreState::Loading | StoreState::Ready => None,
        };
        let Worker { wake, sent, purging, .. } = self;
        tokio::select! {
            () = wake.notified() => Heard::Woken,
            answer = ended(sent) => Heard::Answered(answer),
            (below, done) = ended(purging) => Heard::Purged(below, done),
            () = tokio::time::sleep(Duration::from_nanos(wait.unwrap_or(0))), if wait.is_some() => Heard::Woken,
        }
    }

    async fn handle(&mut self, heard: Heard) {
        match heard {
            Heard::Woken => {}
            Heard::Answered(answer) => {
                self.sent = None;
                match answer {
                    Ok((sequence, bytes)) => self.answered(sequence, bytes).await,
                    Err(error) => self.not_appended(error).await,
                }
            }
            Heard::Purged(below, done) => {
                self.purging = None;
                match done {
                    Ok(()) => {
                        self.spans.purged(below);
                        self.shared.progress.file_bytes.set(self.spans.bytes());
                    }
                    // It is purged with what is dead by then.
                    Err(trouble) => log::debug!("nothing is purged: {trouble}"),
                }
            }
        }
    }

    /// The message under way is in the stream.
    async fn answered(&mut self, sequence: u64, bytes: u64) {
        let expected = self.newest() + 1;
        let Some(mut group) = self.flight.take() else { return };
        if sequence != expected {
            let what = format!("the stream numbers a message {sequence} that must be {expected}");
            self.doubt = Some(group);
            self.fail(&Trouble::new(StoreFault::Corrupt, what)).await;
            return;
        }
        group.answered += 1;
        group.answered_bytes += bytes;
        if group.unsent.is_empty() {
            self.complete(group).await;
        } else {
            self.flight = Some(group);
            self.send_next().await;
        }
    }

    async fn complete(&mut self, group: Group) {
        let first = self.confirmed.map_or(0, |confirmed| confirmed + 1);
        let last = first + group.messages - 1;
        self.confirmed = Some(last);
        self.spans.append(first, last, group.bytes, group.ops());
        let took_ns = clock::now().mono_ns - group.began_ns;
        let progress = &self.shared.progress;
        progress.commits.add(1);
        progress.commit_ns.add(took_ns);
        progress.commit_ns_max.set(progress.commit_ns_max.read().max(took_ns));
        progress.file_bytes.set(self.spans.bytes());
        self.tell_since();
        self.stored(&group.batches).await;
        self.purge_some();
    }

    /// The message under way is not in the stream, or perhaps.
    async fn not_appended(&mut self, error: AppendError) {
        let Some(group) = self.flight.take() else { return };
        match error {
            // Nothing of it counts, though some of its messages may be there.
            AppendError::Refused(trouble) => {
                if let Some(confirmed) = self.confirmed
                    && group.answered > 0
                {
                    self.confirmed = Some(confirmed + group.answered);
                    self.spans.append(confirmed + 1, confirmed + group.answered, group.answered_bytes, []);
                }
                self.tell_since();
                for batch in group.batches {
                    self.refuse(batch, trouble.fault).await;
                }
                self.refuse_from_now_on(&trouble).await;
            }
            AppendError::Unknown(trouble) => {
                self.doubt = Some(group);
                self.fail(&trouble).await;
            }
            // By a later owner, as the stream says.
            AppendError::Moved => {
                self.doubt = Some(group);
                self.let_go();
                self.attempt().await;
            }
        }
    }

    /// Has the server forget what is dead, one such request at a time.
    fn purge_some(&mut self) {
        if self.purging.is_none()
            && let (Some(stream), Some(below)) = (&self.stream, self.spans.purgeable())
        {
            let done = stream.purge(below);
            self.purging = Some(Box::pin(async move { (below, done.await) }));
        }
    }

    pub(super) async fn stored(&mut self, batches: &[StoreBatch]) {
        let progress = &self.shared.progress;
        batches.iter().for_each(|batch| progress.store(batch));
        if let Some(last) = batches.last() {
            self.retry.distance_ns = limits::STORE_RETRY_NS_MIN;
            self.say(StoreWord::Stored { through: last.number }).await;
        }
    }

    async fn refuse(&mut self, batch: StoreBatch, fault: StoreFault) {
        self.shared.progress.refuse(&batch, fault);
        self.say(StoreWord::Refused { number: batch.number, fault }).await;
    }

    /// Of what was in doubt: it is known now what is in the stream.
    pub(super) async fn settle(&mut self, fault: StoreFault, is_there: impl Fn(&Group) -> bool) {
        let Some(group) = self.doubt.take() else { return };
        if is_there(&group) {
            self.stored(&group.batches).await;
        } else {
            for batch in group.batches {
                self.refuse(batch, fault).await;
            }
        }
    }

    /// The stream has to be taken anew; what is under way by then is in doubt.
    pub(super) async fn fail(&mut self, trouble: &Trouble) {
        self.let_go();
        self.refuse_from_now_on(trouble).await;
    }

    fn let_go(&mut self) {
        debug_assert!(self.flight.is_none(), "it is in doubt, or answered");
        self.stream = None;
        self.purging = None;
        self.sent = None;
        self.tell_since();
    }

    async fn refuse_from_now_on(&mut self, trouble: &Trouble) {
        let fault = trouble.fault;
        let is_news = self.state != StoreState::Faulty(fault);
        self.connects_seen = self.connections.made();
        self.retry.due_ns = clock::now().mono_ns + self.retry.distance_ns;
        self.retry.distance_ns = (2 * self.retry.distance_ns).min(limits::STORE_RETRY_NS_MAX);
        self.change(StoreState::Faulty(fault)).await;
        if is_news {
            let hint = trouble.hint.as_deref().unwrap_or(hint(fault));
            log::error!(
                "the store refuses what is sent: stream {}: {trouble}: {hint}",
                self.settings.stream()
            );
        }
    }

    /// Before the log says so: who reads it there is told the same by the metric.
    pub(super) async fn change(&mut self, state: StoreState) {
        if state == self.state {
            return;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.shared.progress.set_state(state);
        if state == StoreState::Ready && matches!(before, StoreState::Faulty(_)) {
            log::warn!("stream {}: the store takes what is sent again", self.settings.stream());
        }
        self.say(StoreWord::State(state)).await;
    }

    /// Says it to the sender, as soon as there is room; to nobody, where the sender has gone.
    async fn say(&mut self, word: StoreWord) {
        let mut word = word;
        while let Err(PushError::Full(unsaid)) = self.words.push(word) {
            if self.is_ending() {
                return;
            }
            word = unsaid;
            self.doorbell.ring();
            tokio::time::sleep(SAY_RETRY).await;
        }
        self.doorbell.ring();
    }

    /// What is in doubt stays so: who sent it was not told that it was stored.
    fn end(self) {
        let batches = self.doubt.map_or(0, |group| group.batches.len());
        if batches > 0 {
            log::error!(
                "stream {}: whether {batches} batches are stored is not known: NATS went away while they were sent",
                self.settings.stream()
            );
        }
    }
}

/// What comes of it, where there is something under way; else it is waited for ever.
async fn ended<T>(under_way: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}
