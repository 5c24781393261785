//! What a hub asks of its shard. PURE.

use std::net::IpAddr;

use crate::model::ids::ConnId;

use super::incident::Incident;

/// How a connection is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was handed out is written; tell the peer that no more comes and wait for it to end.
    Graceful,
    /// At once.
    Abort,
}

/// One thing to do; drained to the end after each `handle_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Disconnect {
        conn: ConnId,
        ending: Ending,
    },
    /// Read no more until [`Effect::ResumeReading`]: its replies are not taken.
    PauseReading {
        conn: ConnId,
    },
    ResumeReading {
        conn: ConnId,
    },
    /// A trusted proxy says whom a request is from: [`Hub::handle_named`](super::Hub::handle_named) is to say whether that client may
    /// have the connection, before anything else is given to the hub.
    Name {
        conn: ConnId,
        client: IpAddr,
    },
    /// A connection is being refused or closed: for the log, which bounds how much of it is written.
    Report {
        conn: ConnId,
        incident: Incident,
    },
}
