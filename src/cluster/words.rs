//! What the market's thread and the thread that speaks to NATS say to each other. PURE: values; the queues are `nats`'s.
//!
//! Invariant: nothing here is believed: bytes are decoded, and fences compared, where they are used.

use super::lease::{LeaseAnswer, LeaseEntry, LeaseRequest};
use super::names::{Fence, Place};
use super::parts::Part;
use crate::model::presence::{KeptPresence, KeptWord};

/// What the market's thread wants of NATS.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Of the lease's bucket, one at a time; each is answered by [`Word::LeaseAnswered`].
    Lease(LeaseRequest),
    /// Of an owner: for those of its audience. Dropped while NATS is away: its numbers tell those who miss it.
    Tell(Part),
    /// Of a node that follows: a request, for whoever owns. It may be lost, and is wished for again then.
    Ask(Vec<u8>),
    /// Of an owner: to who has asked.
    Answer { to: Asker, bytes: Vec<u8> },
    /// Whether this node hears requests, as an owner does.
    Listen(bool),
    /// Of a node that follows: to hear what is published for this place, and for no other; answered by [`Word::Hearing`].
    Hear(Option<Place>),
}

/// What the market's thread wants of the bucket in which an owner keeps who is present; beside [`Wish`], by a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceWish {
    /// The node owns by this: what the owner before has left is to be read.
    Begin(Fence),
    /// One change, behind those before. What is not surely written is told by [`KeptWord::Unwritten`].
    Write(KeptPresence),
    /// The node owns no more.
    End,
}

/// What is heard of that bucket, for the owner by this fence.
#[derive(Debug, PartialEq, Eq)]
pub struct PresenceWord {
    pub fence: Fence,
    pub word: KeptWord,
}

/// Where an answer goes: a subject of NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker(pub String);

/// What is heard of NATS.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// It is there, or is not any more.
    IsUp(bool),
    LeaseAnswered(LeaseAnswer),
    /// A watch of the key tells.
    LeaseSeen(LeaseEntry),
    /// What is published for this place from here on is heard.
    Hearing(Place),
    Part(Vec<u8>),
    /// A node that follows asks.
    Asked {
        from: Asker,
        bytes: Vec<u8>,
    },
    /// What the owner says to [`Wish::Ask`].
    Answered(Vec<u8>),
}
