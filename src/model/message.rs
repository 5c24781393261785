//! Messages between users: what clients ask for, what the office of messages answers, and what is delivered. PURE.
//!
//! Home: clients' requests are made on a shard; everything else lives where the office is, on the venue's thread, whose one
//! writer it is. Content is JSON text that the dialect has validated, carried byte for byte. Times are milliseconds since 1970.

use std::sync::Arc;

use crate::limits;

use super::ids::{HomeId, Ticket};
use super::order::{AccountId, Client, Label};

/// What users, groups and topics are called: 1 to 64 bytes of UTF-8 without control characters. A user's is its account's.
pub type Name = Label;

/// Whom messages of the types that a backend processes are for: `backend:NAME`, which no account's name can be.
const PROCESSOR_PREFIX: &str = "backend:";

/// The user who stands for a backend as a processor of messages; `None` where the name is too long or has control characters.
#[must_use]
pub fn processor_of(backend: &str) -> Option<Name> {
    Name::parse(&format!("{PROCESSOR_PREFIX}{backend}"))
}

/// Processors are known to the office as connections with slots from here on, which no connection has.
pub const PROCESSOR_SLOTS_FROM: u32 = u32::MAX - 1024;
const _: () = assert!(PROCESSOR_SLOTS_FROM as usize + limits::BACKENDS_MAX <= u32::MAX as usize);

/// Whether a user stands for a backend.
#[must_use]
pub fn is_processor(user: &Name) -> bool {
    user.as_str().starts_with(PROCESSOR_PREFIX)
}

/// A message's number: unique, rising, never 0, below 2^53; not used again after a restart. Those of messages at least once are odd,
/// the others even, and the parts of a message to many have every second number: `first`, `first + 2`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// In the order in which they overtake one another, the least urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    /// Leaves at once, whatever waits.
    Critical,
}

/// What the gateway owes for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// Kept in memory until it is handed to a connection; a restart forgets it.
    #[default]
    FireAndForget,
    /// On the disk before the sender is told that it is accepted, delivered again until it is confirmed.
    AtLeastOnce,
}

/// Which member of a group a message is for. Where it is one, members who are present go before those who are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// Each of them, the sender too if it is one.
    All,
    /// One, in turns.
    RoundRobin,
    /// One, that which has the fewest messages waiting and unconfirmed.
    LeastLoaded,
    /// One, in proportion to the weights with which they joined.
    Weighted,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All sessions of a user; it waits while there is none.
    User(Name),
    /// One connection, by the number that its subscribe was answered with; it does not wait for another one.
    Session(SessionId),
    Group {
        group: Name,
        to: Selection,
    },
    /// All connections that subscribe to the topic's messages now.
    Topic(Name),
    /// The backend that processes messages of this type.
    Type(Name),
}

/// A connection that subscribes to messages, as clients are told it: unique in a process, never 0, below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub target: Target,
    pub priority: Priority,
    pub guarantee: Guarantee,
    /// The sender's own name for it: a second one of the same sender and name within the window is the first.
    pub client_id: Option<Label>,
    /// From when it is accepted, or due, if it is scheduled.
    pub ttl_ms: Option<u64>,
    pub deliver_at_ms: Option<u64>,
    /// Whether the sender is told what becomes of it, by [`Receipt`]s.
    pub receipts: bool,
    /// The message that this one answers, as its receiver is told it.
    pub reply_to: Option<MessageId>,
}

/// How a connection wants its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// Messages that may be under way to it, unconfirmed or unwritten, besides critical ones: 1 to
    /// `limits::MESSAGES_UNDER_WAY_MAX`.
    pub under_way_max: u32,
}

/// Which messages something is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    One(MessageId),
    All,
}

/// What a client asks of the office. Names of methods are those of `docs/protocol.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRequest {
    /// `message/subscribe`: from now on messages for this user, and of these topics, are delivered to this connection. A further one
    /// replaces its reception and its topics.
    Subscribe {
        reception: Reception,
        topics: Box<[Name]>,
    },
    /// `message/unsubscribe`: nothing more; what is unconfirmed is delivered elsewhere or later.
    Unsubscribe,
    /// A shard hands on messages for the backend that `user` stands for, from now on, so many at a time; 0: none for now, and what is
    /// under way stays so. Each is answered by [`MessageRequest::Acknowledge`], [`MessageRequest::Reject`] or
    /// [`MessageRequest::HandBack`], whatever the backend does.
    Process {
        under_way_max: u32,
    },
    /// It did not reach its backend: it goes back to its place, and the attempt does not count. `was_handed`: whether an earlier one
    /// may have reached it.
    HandBack {
        message: MessageId,
        was_handed: bool,
    },
    /// `message/send`, `group/send`; its content lies beside the request.
    Send(NewMessage),
    /// The same of a message that is for a type; `processor` stands for the backend that processes it.
    SendToProcessor {
        message: NewMessage,
        /// Apart, so that other requests are no longer for it.
        processor: Box<Name>,
    },
    Acknowledge {
        message: MessageId,
    },
    /// It is delivered again after the delay, or its usual back-off.
    Reject {
        message: MessageId,
        reason: Option<Label>,
        delay_ms: Option<u64>,
    },
    /// A scheduled one of this sender, before it is due.
    Cancel {
        message: MessageId,
    },
    /// Of a message that this user has sent, by number or by its own name for it, or is to get. By the name of one to many it is the
    /// first of those that are not over.
    Status {
        message: MessageKey,
    },
    /// What waits for this user, in lanes of priority from critical down, in each the oldest first; last what waits for its next attempt.
    Pending {
        count: u32,
        after: Option<MessageId>,
    },
    CreateGroup {
        group: Name,
        lifetime_ms: Option<u64>,
        message_ttl_ms: Option<u64>,
    },
    /// `weight` is from 1 to 1,000.
    JoinGroup {
        group: Name,
        weight: u32,
    },
    LeaveGroup {
        group: Name,
    },
    GroupMembers {
        group: Name,
    },
    DeleteGroup {
        group: Name,
    },
    /// Of these users.
    Presence {
        users: Box<[Name]>,
    },
    /// Of a group's members.
    PresenceOfGroup {
        group: Name,
    },
    /// From now on this connection, which subscribes to messages, is told whenever one of them comes or goes; an empty list ends it.
    SubscribePresence {
        users: Box<[Name]>,
    },
    /// The dead letters, from the oldest on, of all or of one receiver. What follows needs the right to them.
    DeadLetters {
        count: u32,
        after: Option<MessageId>,
        user: Option<Name>,
    },
    DeadLetter {
        message: MessageId,
    },
    /// They begin anew: attempts, and how long they are kept; one whose time was over has no end any more, and one for a session that is
    /// gone is its user's.
    Requeue {
        which: Which,
    },
    Purge {
        which: Which,
    },
}

/// By what a sender asks for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKey {
    Id(MessageId),
    ClientId(Label),
}

/// A request on its way from a shard to the office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageAsk {
    /// By which the shard recognises the answer; there is exactly one.
    pub ticket: Ticket,
    pub account: AccountId,
    /// The account's name.
    pub user: Name,
    pub client: Client,
    /// Whether `client` outlives the request: a WebSocket does, a call over HTTP does not. Only one that does subscribes.
    pub is_connection: bool,
    pub request: MessageRequest,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Is not due yet.
    Scheduled,
    /// Waits for a connection of its receiver with room.
    Queued,
    /// Handed to a connection, not confirmed.
    Delivered,
    Confirmed,
    /// Its time to live was over first.
    Expired,
    /// It is in the dead letters, or was purged from there.
    Dead,
    Cancelled,
}

/// Why a message is in the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathCause {
    /// Delivered as often as may be, and never confirmed.
    Attempts,
    Expired,
    /// Its receiver had as many messages or bytes waiting as may be; this was of the lowest priority, and the oldest of it.
    Overflow,
    /// Its receiver was absent for longer than messages are kept.
    TooOld,
    /// The connection that it was for is gone.
    SessionGone,
}

/// What has become of a message, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageStatus {
    pub message: MessageId,
    pub to: Name,
    pub priority: Priority,
    pub guarantee: Guarantee,
    pub state: MessageState,
    pub attempts: u32,
    pub sent_ms: u64,
    /// When it is due or tried again next, where that is known.
    pub next_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub client_id: Option<Label>,
}

/// A dead letter as it is listed; its content only where one is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub status: MessageStatus,
    pub from: Name,
    pub cause: DeathCause,
    pub died_ms: u64,
    /// The last reason that a receiver gave for rejecting it.
    pub reason: Option<Label>,
    pub content_bytes: u32,
    pub content: Option<Arc<[u8]>>,
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub user: Name,
    pub weight: u32,
    pub is_present: bool,
    /// Messages that wait for it or are unconfirmed.
    pub waiting: u32,
}

/// Whether a user has a connection that subscribes to messages; of one that is held from a cluster's owner before, none is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    pub user: Name,
    pub is_present: bool,
    /// Since when, where it has come or gone since the start.
    pub since_ms: Option<u64>,
    pub sessions: u32,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAnswer {
    Done,
    Subscribed {
        session: SessionId,
        waiting: u64,
    },
    /// `count` messages, numbered from `first` on by twos; a topic may have nobody who subscribes, then it is 0. `is_repeated`: it was
    /// accepted before, under the same name.
    Accepted {
        first: MessageId,
        count: u32,
        state: MessageState,
        is_repeated: bool,
    },
    Status(MessageStatus),
    Pending {
        total: u64,
        bytes: u64,
        messages: Box<[MessageStatus]>,
    },
    Members {
        group: Name,
        expires_ms: Option<u64>,
        members: Box<[GroupMember]>,
    },
    Presence(Box<[Presence]>),
    DeadLetters {
        total: u64,
        letters: Box<[DeadLetter]>,
    },
    /// So many were requeued or purged.
    Count(u64),
}

/// Why nothing was done. A refused send was not sent. Where the store fails only after something else than a send was done
/// (`StoreDiskFull`, `StoreFaulty` to an acknowledgement, say), it holds while the process runs, and is stored once the disk takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageRefusal {
    /// No such message of this user, or it is forgotten.
    MessageNotFound,
    /// No user of this name has ever subscribed, joined or been configured, and unknown ones are not kept for.
    UnknownUser,
    /// The connection is gone, or never was.
    UnknownSession,
    UnknownGroup,
    GroupExists,
    /// The group has nobody in it.
    EmptyGroup,
    /// Neither a member of the group nor, where it is to be deleted, who made it.
    NotAMember,
    /// It is delivered or due already.
    TooLate,
    /// It lies too far ahead, or leaves no time to live.
    InvalidTime,
    /// Not unconfirmed at this connection or user.
    NotDelivered,
    /// There are as many users, groups, members, topics, sessions or schedules as may be.
    TooMany,
    /// The sender may not have so much under way.
    SenderFull,
    /// The office holds as much as it may.
    Full,
    /// Durable messages are asked for, and there is no store, it is not loaded yet, or its disk refuses.
    StoreAbsent,
    StoreLoading,
    StoreDiskFull,
    StoreFaulty,
    /// The servers that keep it are not reached, or another node has it by now.
    StoreAway,
    StoreTaken,
    /// More is on its way to the disk than may be: try again.
    StoreBusy,
    /// Over HTTP there is no connection to deliver to.
    NeedsConnection,
    /// This connection does not subscribe to messages.
    NotSubscribed,
    /// No backend processes messages of this type.
    NoProcessor,
    /// The node that has the office is another one, and is not known or not reached: not sent.
    OwnerAway,
    /// Sent to the node that had the office, which was lost before it answered: it may have been done.
    OwnerLost,
}

/// A message for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub client: Client,
    pub message: MessageId,
    pub from: Name,
    /// The group, the topic or the type that it was sent to, if it was.
    pub by: Option<Via>,
    pub priority: Priority,
    /// Whether it is to be confirmed.
    pub confirm: bool,
    /// From 1 on.
    pub attempt: u32,
    /// Whether its receiver may have got it before: in an earlier attempt, or before a restart.
    pub is_redelivered: bool,
    pub sent_ms: u64,
    pub deliver_at_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub client_id: Option<Label>,
    pub reply_to: Option<MessageId>,
    pub content: Arc<[u8]>,
}

/// By way of what a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Group(Name),
    Topic(Name),
    Type(Name),
}

/// What has become of a message, told to the sender's connections as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub status: MessageStatus,
    /// Of a dead one.
    pub cause: Option<DeathCause>,
    pub at_ms: u64,
}

/// What the office says, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageOutput {
    Answer { to: HomeId, ticket: Ticket, outcome: Result<MessageAnswer, MessageRefusal> },
    Deliver(Delivery),
    Receipt { client: Client, receipt: Receipt },
    Presence { client: Client, presence: Presence },
}
