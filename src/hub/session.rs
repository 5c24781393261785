//! What a shard's hub knows of one client. PURE. Home: one shard.

use crate::dialect::json_rpc::Precision;
use crate::http::Rejection;
use crate::model::channel::{DeliveryClass, MarketChannel, TopicName};
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, TopicId};
use crate::model::time::Now;

use super::batch::Ticket;
use super::deflation::Compression;
use super::http_api::Caller;
use super::intake::Intake;
use super::listener::{Arrival, Way};
use super::login::Identity;
use super::pipes::Pipe;
use super::rates::Rates;
use super::settling::End;

#[derive(Debug)]
pub(super) enum Phase {
    /// Before the header of the PROXY protocol, which the shard reads, has said whom it is from.
    Introducing,
    /// Before the TLS handshake below is done: nothing that is said gets through.
    Securing,
    /// Before the upgrade: what has arrived of its request, if it came in parts.
    Upgrading {
        head: Vec<u8>,
    },
    Open,
    /// Nothing more is read; what was asked before still waits for other threads. See `settling.rs`.
    Settling {
        since_ns: u64,
        end: End,
    },
    /// A close frame or a refusal is on its way; nothing more is read.
    Closing {
        since_ns: u64,
        ending_asked: bool,
    },
}

impl Phase {
    /// Nothing of the request has arrived.
    pub(super) const UPGRADING: Phase = Phase::Upgrading { head: Vec::new() };
}

/// What a connection was opened for, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    JsonRpc,
    /// See `echo.rs`.
    Echo,
    /// See `pipes.rs`.
    Mcp,
}

/// A `*` subscription: applies to instruments that are listed later as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) channel: MarketChannel,
    pub(super) class: Option<DeliveryClass>,
}

/// Deribit's application heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) interval_ns: u64,
    pub(super) due_ns: u64,
    /// When a `test_request` was sent, if that was at the end of the last interval: what is received later answers it.
    pub(super) tested_ns: Option<u64>,
}

/// Whether a peer that fell silent has been asked if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ping {
    No,
    /// It waits for the send under way, or for a frame that has begun: how long that may take is the send's own deadline.
    Queued,
    /// It was written, and nothing came since.
    Sent {
        at_ns: u64,
    },
}

/// What the newest bytes have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A message has begun and is not whole.
    Begun,
    AsBefore,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: ConnId,
    /// Index of its listener's policy.
    pub(super) listener: u8,
    /// What its upgrade request will be answered, since there is no room for it.
    pub(super) refused: Option<Rejection>,
    pub(super) phase: Phase,
    pub(super) service: Service,
    pub(super) receiver: Intake,
    /// Of one whose messages control answers.
    pub(super) pipe: Option<Box<Pipe>>,
    /// Of one that calls methods over HTTP.
    pub(super) caller: Option<Box<Caller>>,
    /// None until it tries to log in.
    pub(super) identity: Option<Box<Identity>>,
    /// None where nothing is limited.
    pub(super) rates: Option<Box<Rates>>,
    /// When the first bytes came of a message, or of a control frame, that is not whole.
    pub(super) message_begun_ns: Option<u64>,
    /// Of the market data that it is sent.
    pub(super) encoding: Encoding,
    /// Of what it is sent; other than plain if permessage-deflate was agreed on.
    pub(super) compression: Compression,
    pub(super) precision: Precision,
    pub(super) subscriptions: Vec<u32>,
    pub(super) patterns: Vec<Pattern>,
    /// [`super::Cache::delistings`] when what it has of instruments that are traded no more was last ended.
    pub(super) delistings_seen: u32,
    /// The topic that this client last published to, so that the next message to it needs no look-up by name.
    pub(super) published_to: Option<Box<(TopicName, TopicId)>>,
    /// When the connection's entry in the timer wheel comes due; `None` while there is none.
    pub(super) armed_ns: Option<u64>,
    pub(super) opened_ns: u64,
    pub(super) received_ns: u64,
    pub(super) ping: Ping,
    pub(super) heartbeat: Option<Heartbeat>,
    /// When the send that is under way was handed out.
    pub(super) write_begun_ns: Option<u64>,
    pub(super) requests_pending: u16,
    /// Questions to homes that its subscribes wait for.
    pub(super) joins_pending: u32,
    pub(super) reading_paused: bool,
    /// Why it ends has been reported.
    pub(super) is_faulted: bool,
    /// How long its sends take is noted: see `inspect.rs`.
    pub(super) is_traced: bool,
    /// It is to be told when the server is about to go, and has not been.
    pub(super) hears_platform: bool,
    /// Batches that are not answered, and the bytes of their replies so far.
    pub(super) batches: Vec<Ticket>,
    pub(super) batched_bytes: usize,
    /// Of its unfinished request or message, as last counted among all.
    pub(super) noted_bytes: u32,
}

const _: () = assert!(size_of::<Session>() <= 344, "an idle connection's share of memory");

impl Session {
    pub(super) fn new(
        conn: ConnId,
        arrival: Arrival,
        receiver: Intake,
        rates: Option<Box<Rates>>,
        now: Now,
    ) -> Session {
        Session {
            conn,
            listener: arrival.listener,
            refused: arrival.refused,
            phase: match arrival.way {
                Way::Open => Phase::UPGRADING,
                Way::Securing => Phase::Securing,
                Way::Introducing => Phase::Introducing,
            },
            service: Service::JsonRpc,
            pipe: None,
            receiver,
            caller: None,
            identity: None,
            rates,
            message_begun_ns: None,
            encoding: Encoding::Json,
            compression: Compression::PLAIN,
            precision: Precision::Microseconds,
            subscriptions: Vec::new(),
            patterns: Vec::new(),
            delistings_seen: 0,
            published_to: None,
            armed_ns: None,
            opened_ns: now.mono_ns,
            received_ns: now.mono_ns,
            ping: Ping::No,
            heartbeat: None,
            write_begun_ns: None,
            requests_pending: 0,
            joins_pending: 0,
            reading_paused: false,
            is_faulted: false,
            is_traced: false,
            hears_platform: false,
            batches: Vec::new(),
            batched_bytes: 0,
            noted_bytes: 0,
        }
    }

    /// Takes note of whether a message is under way, since the receiver was given `now_ns`'s bytes.
    pub(super) fn note_progress(&mut self, now_ns: u64) -> Progress {
        let was_under_way = self.message_begun_ns.is_some();
        if !self.receiver.is_within_message() {
            self.message_begun_ns = None;
        } else if !was_under_way {
            self.message_begun_ns = Some(now_ns);
            return Progress::Begun;
        }
        Progress::AsBefore
    }

    /// Bytes of memory that an unfinished upgrade request or message takes.
    pub(super) fn unfinished_bytes(&self) -> usize {
        let head_bytes = match &self.phase {
            Phase::Upgrading { head } => head.capacity(),
            Phase::Introducing
            | Phase::Securing
            | Phase::Open
            | Phase::Settling { .. }
            | Phase::Closing { .. } => 0,
        };
        let unread_bytes = self.identity.as_deref().map_or(0, Identity::unread_bytes);
        let called_bytes = self.caller.as_deref().map_or(0, Caller::held_bytes);
        let piped_bytes = self.pipe.as_deref().map_or(0, Pipe::held_bytes);
        head_bytes + unread_bytes + called_bytes + piped_bytes + self.receiver.buffered_bytes()
    }

    /// Whether as many of its texts as may be are on their way to control.
    pub(super) fn awaits_control(&self) -> bool {
        self.pipe.as_deref().is_some_and(Pipe::is_full)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether what it has asked is answered still.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Settling { .. })
    }
}
