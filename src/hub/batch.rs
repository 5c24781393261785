//! What travels between the homes: one batch per sender and turn, shared by all its receivers, never changed after it
//! is sealed. PURE. Invariant: ranges of a record lie within the batch that carries the record.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits;
use crate::model::book::{LevelUpdate, Side};
use crate::model::channel::{TopicKey, TopicName};
use crate::model::decimal::{Amount, Price};
use crate::model::encoding::Encoding;
pub use crate::model::ids::Ticket;
use crate::model::ids::{ConnId, Epoch, HomeId, HomeSet, InstrumentId, Position, Seq, TopicId};
use crate::model::instrument::Instrument;
use crate::model::link::LinkStatus;
use crate::model::market::{InstrumentState, LevelRange, MarketState, Trade};
use crate::model::message::{MessageAsk, MessageOutput};
use crate::model::order::{AccountId, Ask, Client, Departure, OrderRefusal, OrderRequest};

use super::deflation::Windows;

/// Bytes of the batch that carries the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u32,
    pub len: u32,
}

/// What a join found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// No place to resume from was asked for.
    Fresh,
    /// All that was missed precedes this record as [`Record::Replayed`].
    Recovered,
    /// It is not all there any more; nothing was replayed.
    NotRecovered,
    /// The home has no room for another topic.
    Refused,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// The home has no room for another topic.
    TooManyTopics,
    /// The home makes no new topic while it is short of memory.
    Overloaded,
    /// The topics are sequenced by another node, which is not known or not reached, or to which it is too long to be sent: not sent.
    OwnerAway,
    /// Sent to the node that sequenced them, which was lost before it answered.
    OwnerLost,
}

/// One thing that a home tells. The first group flows from the market's home to every shard, the second from a topic's
/// home to the shards that listen, the third between two homes, as commands.
#[derive(Clone, Debug)]
pub enum Record {
    /// The next instrument; ids count up from 0.
    Listed {
        definition: Arc<Instrument>,
    },
    /// Levels of a book changed; `change_id` is the book's after it.
    Levels {
        instrument: InstrumentId,
        levels: LevelRange,
        change_id: Seq,
        timestamp_ns: u64,
    },
    Traded {
        instrument: InstrumentId,
        trade: Trade,
    },
    StateChanged {
        instrument: InstrumentId,
        state: MarketState,
        timestamp_ns: u64,
    },
    /// How all links to venues are.
    Links {
        links: Arc<[LinkStatus]>,
    },
    /// The whole state, after a gap.
    Image {
        instrument: InstrumentId,
        state: Arc<InstrumentState>,
    },

    /// The next event of a topic, as the frame that its subscribers get; `prev_seq` is that of the one before, and
    /// `change_id` the book's at a book frame, else 0.
    Frame {
        topic: TopicId,
        seq: Seq,
        prev_seq: Seq,
        change_id: Seq,
        frame: ByteRange,
    },
    /// The event of the frame before it, compressed for those with one of these windows.
    Deflated {
        windows: Windows,
        frame: ByteRange,
    },
    /// An earlier event, for one join only.
    Replayed {
        to: HomeId,
        ticket: Ticket,
        seq: Seq,
        frame: ByteRange,
    },
    /// The join holds from here: `seq` is the newest event, all later ones follow in this stream.
    Joined {
        to: HomeId,
        ticket: Ticket,
        topic: TopicId,
        epoch: Epoch,
        seq: Seq,
        change_id: Seq,
        outcome: JoinOutcome,
    },
    /// Batches before this one were lost on their way to `to`; every topic of this home is to be joined again.
    Gap {
        to: HomeId,
    },

    /// Listen to a topic, from a place on where one is given.
    Join {
        key: TopicKey,
        ticket: Ticket,
        resume: Option<Position>,
    },
    /// The windows that this shard's followers of a topic have: its events are to be compressed for those too.
    Windows {
        topic: TopicId,
        windows: Windows,
    },
    /// No longer listen.
    Leave {
        topic: TopicId,
    },
    /// Publish a client's message: JSON text, already validated.
    ///
    /// `topic` is what the name meant when it was last published to.
    Publish {
        ticket: Ticket,
        name: TopicName,
        topic: Option<TopicId>,
        data: ByteRange,
    },
    /// What became of a [`Record::Publish`].
    Published {
        ticket: Ticket,
        outcome: Result<(TopicId, Position), PublishRefusal>,
    },
    /// A client asks the desk for something: the batch's ask of this number.
    Ask {
        at: u32,
    },
    /// What came of a [`Record::Ask`]: the result as JSON or as an SBE message, as was asked for, or nothing was done.
    Answered {
        ticket: Ticket,
        outcome: Result<ByteRange, OrderRefusal>,
    },
    /// A connection that has asked is gone, or no longer of the account that it asked for.
    Departed {
        client: Client,
        how: Departure,
    },
    /// A client asks the office of messages for something: the batch's ask of this number, and what it sends.
    MessageAsk {
        at: u32,
        content: ByteRange,
    },
    /// So many messages that need no confirmation have been written to a client.
    MessagesWritten {
        client: Client,
        count: u32,
    },
    /// What the office says to a shard: the batch's word of this number.
    Message {
        at: u32,
    },
    /// To a shard: desk, office and the home of clients' topics are others from here on. It says the same back, behind all that was for those before. To
    /// the market's home from where clients of another node ask: say it back, behind all that is said to that one.
    Reset,
}

/// Records and what they refer to.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    pub bytes: Vec<u8>,
    pub levels: Vec<LevelUpdate>,
    pub asks: Vec<Ask>,
    pub message_asks: Vec<MessageAsk>,
    pub messages: Vec<MessageOutput>,
    /// Of the contents that those refer to.
    content_bytes: usize,
    /// The homes that this batch concerns.
    pub audience: HomeSet,
}

impl Batch {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    #[must_use]
    pub fn slice(&self, range: ByteRange) -> &[u8] {
        &self.bytes[range.start as usize..][..range.len as usize]
    }

    /// Appends bytes and says where they are.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> ByteRange {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        byte_range(start, bytes.len())
    }

    /// Appends updates and says where they are.
    pub fn push_levels(&mut self, updates: &[LevelUpdate]) -> LevelRange {
        let start = self.levels.len();
        self.levels.extend_from_slice(updates);
        LevelRange { start: narrow(start), count: narrow(updates.len()) }
    }

    /// Appends what a client asks the desk for.
    pub fn push_ask(&mut self, ask: Ask) {
        let at = narrow(self.asks.len());
        self.asks.push(ask);
        self.records.push(Record::Ask { at });
    }

    /// What [`Record::Ask`] means.
    #[must_use]
    pub fn ask(&self, at: u32) -> &Ask {
        &self.asks[at as usize]
    }

    /// Appends what a client asks the office of messages for, with what it sends.
    pub fn push_message_ask(&mut self, ask: MessageAsk, content: &[u8]) {
        let content = self.push_bytes(content);
        let at = narrow(self.message_asks.len());
        self.message_asks.push(ask);
        self.records.push(Record::MessageAsk { at, content });
    }

    /// Appends what the office says.
    pub fn push_message(&mut self, message: MessageOutput) {
        self.content_bytes += content_bytes(&message);
        let at = narrow(self.messages.len());
        self.messages.push(message);
        self.records.push(Record::Message { at });
    }

    /// What [`Record::MessageAsk`] means.
    #[must_use]
    pub fn message_ask(&self, at: u32) -> &MessageAsk {
        &self.message_asks[at as usize]
    }

    /// What [`Record::Message`] means.
    #[must_use]
    pub fn message(&self, at: u32) -> &MessageOutput {
        &self.messages[at as usize]
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.records.capacity() * size_of::<Record>()
            + self.levels.capacity() * size_of::<LevelUpdate>()
            + self.asks.capacity() * size_of::<Ask>()
            + self.message_asks.capacity() * size_of::<MessageAsk>()
            + self.messages.capacity() * size_of::<MessageOutput>()
            + self.content_bytes
    }

    /// Whether its buffers are too long to be kept.
    fn is_long(&self) -> bool {
        self.bytes.capacity() > limits::BATCH_KEPT_BYTES_MAX
            || self.records.capacity() * size_of::<Record>() > limits::BATCH_KEPT_BYTES_MAX
            // What is said is held as long as the batch is.
            || self.messages.capacity() * size_of::<MessageOutput>() + self.content_bytes
                > limits::BATCH_KEPT_BYTES_MAX
    }

    /// An empty batch of the size that a busy turn takes. It is written to once, so that its pages are there.
    fn ready() -> Batch {
        let mut batch = Batch::default();
        batch.bytes.resize(limits::BATCH_READY_BYTES, b' ');
        batch.records.resize(limits::BATCH_READY_RECORDS, Record::Gap { to: HomeId(0) });
        let update = LevelUpdate { side: Side::Bid, price: Price(0), amount: Amount(0) };
        batch.levels.resize(limits::BATCH_READY_LEVELS, update);
        let request = OrderRequest::CancelAllAfter { timeout_ms: None };
        let nobody = Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 0 } };
        let ticket = Ticket { slot: 0, generation: 0 };
        let (account, is_connection, encoding) = (AccountId(0), false, Encoding::Json);
        let ask = Ask { ticket, account, client: nobody, is_connection, encoding, request };
        batch.asks.resize(limits::BATCH_READY_ASKS, ask);
        batch.clear();
        batch
    }

    /// Empties the batch for reuse.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.levels.clear();
        self.asks.clear();
        self.message_asks.clear();
        self.messages.clear();
        self.content_bytes = 0;
        self.audience = HomeSet::EMPTY;
        if self.bytes.capacity() > limits::BATCH_KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.records.shrink_to(limits::BATCH_KEPT_BYTES_MAX / size_of::<Record>());
        self.levels.shrink_to(limits::BATCH_KEPT_BYTES_MAX / size_of::<LevelUpdate>());
        self.asks.shrink_to(limits::BATCH_KEPT_BYTES_MAX / size_of::<Ask>());
        self.message_asks.shrink_to(limits::BATCH_KEPT_BYTES_MAX / size_of::<MessageAsk>());
        self.messages.shrink_to(limits::BATCH_KEPT_BYTES_MAX / size_of::<MessageOutput>());
    }
}

/// Bytes that a word of the office refers to.
fn content_bytes(message: &MessageOutput) -> usize {
    match message {
        MessageOutput::Deliver(delivery) => delivery.content.len(),
        MessageOutput::Answer { .. } | MessageOutput::Receipt { .. } | MessageOutput::Presence { .. } => 0,
    }
}

/// A range from a start and a length of a buffer.
///
/// # Panics
/// Past 4 GiB, which the bounds on a turn exclude.
#[must_use]
pub fn byte_range(start: usize, len: usize) -> ByteRange {
    ByteRange { start: narrow(start), len: narrow(len) }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count)
        .expect("invariant: a turn's batch stays below 4 GiB, by the bounds on what a turn takes")
}

/// Batches on their way and batches to be used again: a steady state allocates none.
#[derive(Debug, Default)]
pub struct BatchPool {
    /// Sealed ones, oldest first; a receiver that is done has dropped its reference.
    sealed: VecDeque<Arc<Batch>>,
    /// Of those.
    sealed_bytes: usize,
    /// Those whose buffers are too long to be kept, while a receiver has them.
    long: VecDeque<Arc<Batch>>,
    /// Of those.
    long_bytes: usize,
}

impl BatchPool {
    /// An empty batch; a new one only if the oldest that was sealed is still in use.
    pub fn take(&mut self) -> Arc<Batch> {
        if let Some(mut oldest) = self.sealed.pop_front() {
            let memory_bytes = oldest.memory_bytes();
            if let Some(batch) = Arc::get_mut(&mut oldest) {
                self.sealed_bytes -= memory_bytes;
                batch.clear();
                return oldest;
            }
            self.sealed.push_front(oldest);
        }
        Arc::new(Batch::default())
    }

    /// Makes batches for the turns to come.
    pub fn make_ready(&mut self) {
        (0..limits::BATCHES_READY).for_each(|_| self.sealed(Arc::new(Batch::ready())));
    }

    /// Bytes of memory that the remembered batches take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.sealed_bytes + self.long_bytes
    }

    /// Bytes of memory that long batches under way take, as of the last [`BatchPool::settle_long`].
    #[must_use]
    pub fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    /// Takes long batches back that their receivers have dropped.
    pub fn settle_long(&mut self) {
        for _ in 0..self.long.len() {
            let Some(mut batch) = self.long.pop_front() else { return };
            let memory_bytes = batch.memory_bytes();
            if let Some(unused) = Arc::get_mut(&mut batch) {
                unused.clear();
                self.long_bytes -= memory_bytes;
                self.keep(batch);
            } else {
                self.long.push_back(batch);
            }
        }
    }

    /// Gives back those that nobody uses any more, from the oldest on.
    pub fn trim(&mut self) {
        self.settle_long();
        while self.sealed.front().is_some_and(|oldest| Arc::strong_count(oldest) == 1) {
            self.sealed_bytes -= self.sealed.pop_front().map_or(0, |batch| batch.memory_bytes());
        }
    }

    /// Remembers a batch that was handed out, to take it back when its receivers have dropped it.
    pub fn sealed(&mut self, batch: Arc<Batch>) {
        if !batch.is_long() {
            self.keep(batch);
        } else if self.long.len() < limits::BATCHES_KEPT_MAX {
            self.long_bytes += batch.memory_bytes();
            self.long.push_back(batch);
        }
    }

    fn keep(&mut self, batch: Arc<Batch>) {
        if self.sealed.len() < limits::BATCHES_KEPT_MAX {
            self.sealed_bytes += batch.memory_bytes();
            self.sealed.push_back(batch);
        }
    }
}

/// The lane of the mesh that a batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshLane {
    /// May be lost when the receiver lags; then it is told of a gap.
    Data,
    /// Never lost.
    Commands,
}

/// A sealed batch to be carried.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub to: HomeSet,
    pub lane: MeshLane,
    pub batch: Arc<Batch>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_used_again_once_its_receivers_have_dropped_it() {
        let mut pool = BatchPool::default();
        let first = pool.take();
        let address = Arc::as_ptr(&first);
        let receiver = Arc::clone(&first);
        pool.sealed(first);
        assert_ne!(Arc::as_ptr(&pool.take()), address, "still in use");
        drop(receiver);
        assert_eq!(Arc::as_ptr(&pool.take()), address);
    }

    #[test]
    fn batches_that_were_made_ready_are_taken_first_and_have_room_for_a_busy_turn() {
        let mut pool = BatchPool::default();
        pool.make_ready();
        let ready_bytes = pool.memory_bytes();
        for _ in 0..limits::BATCHES_READY {
            let batch = pool.take();
            assert!(batch.is_empty() && batch.bytes.is_empty() && batch.levels.is_empty());
            assert!(batch.bytes.capacity() >= limits::BATCH_READY_BYTES);
            assert!(batch.records.capacity() >= limits::BATCH_READY_RECORDS);
            assert!(batch.levels.capacity() >= limits::BATCH_READY_LEVELS);
            assert!(batch.asks.is_empty() && batch.asks.capacity() >= limits::BATCH_READY_ASKS);
        }
        assert!(ready_bytes >= limits::BATCHES_READY * limits::BATCH_READY_BYTES);
        assert_eq!(pool.memory_bytes(), 0);
        assert_eq!(pool.take().memory_bytes(), 0, "all that were ready are in use");
    }

    #[test]
    fn what_batches_take_is_counted_and_given_back_once_nobody_uses_them() {
        let mut pool = BatchPool::default();
        let in_use = Arc::new(Batch { bytes: Vec::with_capacity(1000), ..Batch::default() });
        pool.sealed(Arc::new(Batch { bytes: Vec::with_capacity(500), ..Batch::default() }));
        pool.sealed(Arc::clone(&in_use));
        assert_eq!(pool.memory_bytes(), 1500);
        pool.trim();
        assert_eq!(pool.memory_bytes(), 1000);
        drop(in_use);
        pool.take();
        assert_eq!(pool.memory_bytes(), 0);
    }

    #[test]
    fn contents_of_messages_are_counted_and_not_held_once_their_receivers_are_done() {
        let mut pool = BatchPool::default();
        let content: Arc<[u8]> = vec![b'1'; limits::BATCH_KEPT_BYTES_MAX + 1].into();
        let mut batch = pool.take();
        let writing = Arc::get_mut(&mut batch).unwrap();
        writing.push_message(MessageOutput::Deliver(crate::model::message::Delivery {
            client: Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 0 } },
            message: crate::model::message::MessageId(1),
            from: crate::model::order::Label::parse("a").unwrap(),
            by: None,
            priority: crate::model::message::Priority::Low,
            confirm: false,
            attempt: 1,
            is_redelivered: false,
            sent_ms: 0,
            deliver_at_ms: None,
            expires_ms: None,
            client_id: None,
            reply_to: None,
            content: Arc::clone(&content),
        }));
        assert!(matches!(writing.records[..], [Record::Message { at: 0 }]));
        assert!(batch.memory_bytes() > content.len());
        let receiver = Arc::clone(&batch);
        pool.sealed(batch);
        pool.settle_long();
        assert_eq!((pool.long_bytes() > content.len(), Arc::strong_count(&content)), (true, 2));
        drop(receiver);
        pool.settle_long();
        assert_eq!((pool.long_bytes(), Arc::strong_count(&content)), (0, 1));
        assert!(pool.memory_bytes() < content.len());
    }
}
