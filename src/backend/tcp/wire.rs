//! One connection of a venue link, as both sides have it: bytes to messages and back, heartbeats, silence. PURE.
//!
//! Invariants: what waits to be sent is bounded, and so is what was received of an unfinished message.

use std::fmt;

use super::codec::{self, Fault, Form};
use super::message::Message;
use crate::limits;
use crate::model::book::LevelUpdate;
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// Why a connection of a venue link is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The transport is closed.
    Closed,
    /// What came is no message.
    Fault(Fault),
    /// A message that does not belong there: its type.
    Unexpected(&'static str),
    /// A number is missing before this one.
    Gap { expected: u64, seq: u64 },
    /// An acknowledgement of what was never said.
    Acknowledged { next: u64 },
    /// The peer's version of the protocol.
    Version(u16),
    /// Not the venue that is expected here, or not its key.
    Credentials,
    /// Another run of the venue has the link, and is heard.
    Held,
    /// The gateway's fence, and the later one that the venue knows: another node owns the market by now.
    Outdated { fence: u64, newest: u64 },
    /// A heartbeat's period that is out of its range.
    Heartbeat(u32),
    /// An instrument that was not listed on this connection.
    Instrument,
    /// More instruments than there may be.
    Instruments,
    /// A book of more levels than there may be.
    Overgrown,
    /// A number of this message that nobody has: it could not be added up.
    Uncountable(&'static str),
    /// This message does not say what was filled, or at what price.
    Incomplete(&'static str),
    /// Nothing was heard for too long.
    Silent,
    /// The peer does not read, or does not acknowledge.
    Behind,
    /// The peer ends it, and why.
    Ended(Box<str>),
    /// We end it.
    Stopped,
}

impl Cut {
    /// Whether the peer said something that nothing can follow: with the same numbers it would come again, or never be known.
    pub(super) const fn is_unusable(&self) -> bool {
        match self {
            Cut::Fault(_)
            | Cut::Gap { .. }
            | Cut::Acknowledged { .. }
            | Cut::Uncountable(_)
            | Cut::Incomplete(_) => true,
            Cut::Closed
            | Cut::Unexpected(_)
            | Cut::Version(_)
            | Cut::Credentials
            | Cut::Held
            | Cut::Outdated { .. }
            | Cut::Heartbeat(_)
            | Cut::Instrument
            | Cut::Instruments
            | Cut::Overgrown
            | Cut::Silent
            | Cut::Behind
            | Cut::Ended(_)
            | Cut::Stopped => false,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Closed => f.write_str("the connection was closed"),
            Cut::Fault(fault) => write!(f, "{fault}"),
            Cut::Unexpected(kind) => write!(f, "{kind} is not expected here"),
            Cut::Gap { expected, seq } => write!(f, "seq {seq} where {expected} is expected"),
            Cut::Acknowledged { next } => write!(f, "next {next} was never said"),
            Cut::Version(version) => write!(f, "version {version} is not spoken here"),
            Cut::Credentials => f.write_str("unknown venue or key"),
            Cut::Held => f.write_str("another process has this link"),
            Cut::Outdated { fence, newest } => write!(f, "fence {fence} is older than {newest}"),
            Cut::Heartbeat(ms) => write!(f, "heartbeat_ms of {ms} is out of range"),
            Cut::Instrument => f.write_str("an instrument that was not listed"),
            Cut::Instruments => f.write_str("too many instruments"),
            Cut::Overgrown => {
                write!(f, "a book of more than {} levels", limits::LINK_BOOK_LEVELS_MAX)
            }
            Cut::Uncountable(kind) => write!(f, "{kind} of more than can be counted"),
            Cut::Incomplete(kind) => write!(f, "{kind} without what was filled, or its price"),
            Cut::Silent => f.write_str("silent for too long"),
            Cut::Behind => f.write_str("too far behind"),
            Cut::Ended(reason) => write!(f, "ended by the peer: {reason}"),
            Cut::Stopped => f.write_str("stopped"),
        }
    }
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Wire {
    form: Option<Form>,
    inbox: Vec<u8>,
    /// How much of `inbox` is done with.
    read: usize,
    unsent: Vec<u8>,
    /// How much of `unsent` is sent.
    sent: usize,
    heard_ns: u64,
    silence_ns: u64,
    beat_every_ns: u64,
    beat_ns: u64,
}

impl Wire {
    pub(super) const fn new() -> Wire {
        Wire {
            form: None,
            inbox: Vec::new(),
            read: 0,
            unsent: Vec::new(),
            sent: 0,
            heard_ns: 0,
            silence_ns: 0,
            beat_every_ns: 0,
            beat_ns: 0,
        }
    }

    /// A connection stands. Without a form, the peer's first byte decides.
    pub(super) fn open(&mut self, form: Option<Form>, heartbeat_ms: u32, now: Now) {
        self.form = form;
        self.inbox.clear();
        self.unsent.clear();
        (self.read, self.sent) = (0, 0);
        self.unsent.extend_from_slice(form.map_or(&[][..], Form::preamble));
        self.heard_ns = now.mono_ns;
        self.silence_ns = limits::LINK_GREETING_NS;
        self.beat_every_ns = u64::from(heartbeat_ms) * NS_PER_MS;
        self.beat_ns = u64::MAX;
    }

    /// Greetings are done: the peer promises to be heard this often.
    pub(super) fn begin(&mut self, peer_heartbeat_ms: u32, now: Now) {
        self.silence_ns = u64::from(peer_heartbeat_ms) * NS_PER_MS * 5 / 2;
        self.beat_ns = now.mono_ns + self.beat_every_ns;
    }

    /// What has come; [`Wire::message`] tells what it is.
    pub(super) fn take(&mut self, bytes: &[u8], now: Now) {
        self.heard_ns = now.mono_ns;
        self.inbox.drain(..self.read);
        self.read = 0;
        self.inbox.extend_from_slice(bytes);
    }

    /// The next message that is whole; a book's levels go to the end of `levels`.
    pub(super) fn message(&mut self, levels: &mut Vec<LevelUpdate>) -> Result<Option<Message>, Cut> {
        let Some(first) = self.inbox.get(self.read) else { return Ok(None) };
        let form = match self.form {
            Some(form) => form,
            None => {
                let (form, preamble) = Form::of(*first).map_err(Cut::Fault)?;
                self.read += preamble;
                *self.form.insert(form)
            }
        };
        let decoded = codec::decode(form, &self.inbox[self.read..], levels).map_err(Cut::Fault)?;
        Ok(decoded.map(|(message, used)| {
            self.read += used;
            message
        }))
    }

    /// Queues a message.
    pub(super) fn say(&mut self, message: &Message, levels: &[LevelUpdate]) -> Result<(), Cut> {
        if self.unsent.len() - self.sent > limits::LINK_UNSENT_BYTES_MAX {
            return Err(Cut::Behind);
        }
        codec::encode(self.form.unwrap_or(Form::Json), message, levels, &mut self.unsent);
        Ok(())
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.unsent[self.sent..]
    }

    pub(super) fn handle_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        assert!(self.sent <= self.unsent.len(), "invariant: no more is sent than was there");
        if self.sent == self.unsent.len() {
            self.unsent.clear();
            self.sent = 0;
        } else if self.sent >= limits::LINK_MESSAGE_BYTES_MAX && self.sent * 2 >= self.unsent.len() {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(super) fn is_silent(&self, now: Now) -> bool {
        now.mono_ns.saturating_sub(self.heard_ns) >= self.silence_ns
    }

    /// Whether a heartbeat is due; then the next one is as much later.
    pub(super) fn beat(&mut self, now: Now) -> bool {
        let is_due = self.beat_ns <= now.mono_ns;
        if is_due {
            self.beat_ns = now.mono_ns + self.beat_every_ns;
        }
        is_due
    }

    /// When something is due next.
    pub(super) fn timeout(&self) -> u64 {
        self.beat_ns.min(self.heard_ns.saturating_add(self.silence_ns))
    }
}

/// Whether a heartbeat may have this period.
pub(super) fn check_heartbeat(ms: u32) -> Result<u32, Cut> {
    if (limits::LINK_HEARTBEAT_MS_MIN..=limits::LINK_HEARTBEAT_MS_MAX).contains(&ms) {
        Ok(ms)
    } else {
        Err(Cut::Heartbeat(ms))
    }
}

/// A message's type, for who did not expect it.
pub(super) const fn kind(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Welcome(_) => "welcome",
        Message::Reject { .. } => "reject",
        Message::Bye { .. } => "bye",
        Message::Heartbeat { .. } => "heartbeat",
        Message::Instruments(_) => "instruments",
        Message::Tick(_) => "tick",
        Message::Trade(_) => "trade",
        Message::Book(_) => "book",
        Message::State { .. } => "state",
        Message::Command { .. } => "a command",
        Message::Report { .. } => "a report",
    }
}
