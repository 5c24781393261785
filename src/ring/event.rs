//! What a ring tells its thread, and what the thread may ask of it.
//!
//! Home: one shard. Values only.

use std::net::SocketAddr;

use nix::errno::Errno;

use crate::model::ids::ConnId;

/// Which listener of the ring, in the order they were given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// What happened on the ring.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'ring> {
    /// A connection is open and its bytes are being received. `peer` is its other end's address; `None` if the kernel tells
    /// one that is not IP, which only a listener made elsewhere can bring about.
    Accepted { conn: ConnId, listener: ListenerId, peer: Option<SocketAddr> },
    /// An accept failed; accepting goes on by itself, after a wait if a resource is lacking.
    AcceptFailed { listener: ListenerId, errno: Errno },
    /// A connection asked for with `Ring::connect` is made, and from now on is as if it had been accepted.
    Connected { conn: ConnId, tag: u32 },
    /// A socket that was handed to `Ring::adopt` is a connection from now on, as if it had been accepted.
    Adopted { conn: ConnId, tag: u32 },
    /// It could not be made one, and is closed.
    AdoptFailed { tag: u32, errno: Errno },
    /// There is no connection: nothing is left of it here. `ETIMEDOUT` also when the time given for it was over.
    ConnectFailed { tag: u32, errno: Errno },
    /// Bytes came, to be used (in place, if it suits) before the next call on the ring. At least one.
    Received { conn: ConnId, bytes: &'ring mut [u8] },
    /// The peer sends no more; it may still read. The connection stays open until it is closed from here.
    Eof(ConnId),
    /// Receiving failed and has ended. Close the connection.
    ReceiveFailed { conn: ConnId, errno: Errno },
    /// Every byte of the last transmit is in the kernel's hands: the next transmit may start.
    Sent(ConnId),
    /// Sending failed; how much of it went out is unknown. Close the connection.
    SendFailed { conn: ConnId, errno: Errno },
    /// The connection is gone and its id is void. The only event of a connection after `close`.
    Closed(ConnId),
    /// Somebody rang the doorbell, once or more.
    Doorbell,
}

/// How long a turn may wait for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: only what is ready.
    Poll,
    /// Until an event, or until the caller's clock shows this (nanoseconds, on the clock of `now_ns`).
    Until(u64),
    /// Until an event.
    Forever,
}

/// What became of a transmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// So many bytes are on their way; `Sent` or `SendFailed` follows.
    Started(usize),
    /// There was nothing to send.
    Nothing,
    /// The last transmit of this connection is not complete yet.
    Busy,
    /// Every send buffer is in use; one is free again after some connection's `Sent`.
    Unbuffered,
    /// The connection is closing or gone.
    Gone,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// What was transmitted goes out, then our end is shut, then the peer's end is awaited; what it still sends is
    /// discarded. A peer may never do its part: abort after a deadline of the caller's.
    Graceful,
    /// At once: operations in flight are cancelled. The peer sees a reset if bytes of it were not read.
    Abort,
}
