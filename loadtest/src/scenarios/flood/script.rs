//! What a hostile connection does, as data: acts one after another, and how it reads meanwhile. PURE.

use crate::swarm::Receiving;

/// One thing done; the next begins when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Sends all of it, however long the peer takes to take it.
    Send(Vec<u8>),
    /// Sends one byte each interval.
    Drip {
        bytes: Vec<u8>,
        interval_ns: u64,
    },
    /// Sends all of it again each interval, for ever; what the peer does not take in time is not sent twice.
    Pour {
        bytes: Vec<u8>,
        messages: u64,
        interval_ns: u64,
    },
    /// Waits for the upgrade to be granted.
    AwaitUpgrade,
    /// Goes on only where the compression of messages was granted; else leaves.
    AwaitDeflate,
    /// Waits until something has arrived, which stays unread.
    AwaitBytes,
    EndSending,
    Reset,
    /// Does nothing more.
    Stay,
}

/// How it reads once the upgrade is granted. The answer to the upgrade is always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    All,
    Nothing,
    /// One byte each interval.
    ByteEach {
        interval_ns: u64,
    },
}

/// A way to misbehave on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) acts: Vec<Act>,
    pub(crate) reading: Reading,
    pub(crate) receiving: Receiving,
}

impl Script {
    /// Reads all it is told.
    pub(crate) fn new(acts: Vec<Act>) -> Script {
        Script { acts, reading: Reading::All, receiving: Receiving::Usual }
    }

    /// Reads like this instead.
    pub(crate) fn reading(self, reading: Reading) -> Script {
        Script { reading, ..self }
    }

    /// Its kernel holds only this much for it.
    pub(crate) fn receiving_little(self, bytes: usize) -> Script {
        Script { receiving: Receiving::Little(bytes), ..self }
    }
}
