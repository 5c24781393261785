//! `/mcp`: connections whose messages are answered on the control thread, which speaks the Model Context Protocol; the hub relays
//! texts both ways. PURE. Home: one shard.
//!
//! Invariants: control hears of each such connection once that it is open, then its texts in their order, then once that it is closed.
//! So many texts of one are on their way at a time, counted as memory of the shard until control has dealt with them; what its peer
//! has sent beyond is kept, and no more of it is read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::{Level, Reach};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::time::Now;
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

use super::Hub;
use super::effect::Effect;

/// Where it is served.
pub(super) const PATH: &str = "/mcp";
/// A client of MCP asks for it; a plain one that only lists and calls tools need not.
pub(super) const SUBPROTOCOL: &str = "mcp";

/// What control is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipeWord {
    /// `rights` is what of the scope `backend` its client has, `authorization` its upgrade's.
    Opened {
        conn: ConnId,
        reach: Reach,
        rights: Level,
        authorization: Option<Arc<str>>,
    },
    Text {
        conn: ConnId,
        text: Box<[u8]>,
    },
    Closed {
        conn: ConnId,
    },
}

/// What of such a connection is on its way.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes of each text that control has not dealt with, in their order.
    under_way: VecDeque<usize>,
    /// Bytes that came while no more was to be read.
    unread: Vec<u8>,
}

/// Words of all of them that the shard has not taken.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    words: VecDeque<PipeWord>,
}

impl Pipe {
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= limits::PIPE_TEXTS_MAX
            || self.under_way.iter().sum::<usize>() >= limits::PIPE_TEXTS_BYTES_MAX
    }

    /// Bytes of memory that it takes here, and on their way.
    pub(super) fn held_bytes(&self) -> usize {
        self.unread.capacity() + self.under_way.iter().sum::<usize>()
    }

    pub(super) fn drop_unread(&mut self) {
        *self = Pipe::default();
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }
}

impl Hub {
    /// What control is to be told next.
    pub fn poll_pipe(&mut self) -> Option<PipeWord> {
        self.pipes.words.pop_front()
    }

    /// Whether control is to be told something.
    #[must_use]
    pub fn has_pipe_words(&self) -> bool {
        !self.pipes.words.is_empty()
    }

    /// A connection was opened for it; `authorization` is its upgrade's.
    pub(super) fn open_pipe(&mut self, conn: ConnId, authorization: Option<Arc<str>>) {
        let reach = self.policy(conn).reach;
        let Some(session) = self.session(conn) else { return };
        session.pipe = Some(Box::default());
        let rights = session.login().map_or(Level::None, |login| login.scopes.backend);
        self.pipes.words.push_back(PipeWord::Opened { conn, reach, rights, authorization });
    }

    /// A text of such a connection.
    pub(super) fn pipe_text(&mut self, conn: ConnId, text: &[u8]) {
        self.counters.messages_received_total += 1;
        let Some(pipe) = self.session(conn).and_then(|session| session.pipe.as_deref_mut()) else { return };
        pipe.under_way.push_back(text.len());
        let is_full = pipe.is_full();
        self.pipes.words.push_back(PipeWord::Text { conn, text: text.into() });
        if is_full
            && let Some(session) = self.session(conn)
            && !std::mem::replace(&mut session.reading_paused, true)
        {
            self.counters.reads_paused_total += 1;
            self.effects.push_back(Effect::PauseReading { conn });
        }
    }

    /// The connection is gone.
    pub(super) fn close_pipe(&mut self, conn: ConnId) {
        if self.session(conn).is_some_and(|session| session.pipe.is_some()) {
            self.pipes.words.push_back(PipeWord::Closed { conn });
        }
    }

    /// Control sends a text.
    pub fn handle_pipe_text(&mut self, conn: ConnId, text: &[u8], now: Now) {
        self.now = now;
        if !self.is_pipe(conn) {
            return;
        }
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_len = encode_header(Opcode::Text, text.len(), &mut header);
        self.queue_reply_parts(conn, &header[..header_len], text, limits::PIPE_UNREAD_BYTES_MAX);
        self.settle_overflows();
    }

    /// Control has dealt with so many texts.
    pub fn handle_pipe_taken(&mut self, conn: ConnId, texts: usize, now: Now) {
        self.now = now;
        let Some(pipe) = self.session(conn).and_then(|session| session.pipe.as_deref_mut()) else { return };
        pipe.under_way.drain(..texts.min(pipe.under_way.len()));
        if pipe.is_full() {
            return self.note_unfinished(conn);
        }
        let mut unread = std::mem::take(&mut pipe.unread);
        if !unread.is_empty() {
            self.work.begin_read(conn, now);
            self.handle_frames(conn, &mut unread);
        }
        self.note_unfinished(conn);
        self.settle_overflows();
        self.resume_reading(conn);
    }

    /// Control ends it.
    pub fn handle_pipe_close(&mut self, conn: ConnId, code: u16, reason: &'static str, now: Now) {
        self.now = now;
        if self.is_pipe(conn) {
            self.begin_close_with(conn, CloseCode::received(code), reason);
        }
    }

    fn is_pipe(&mut self, conn: ConnId) -> bool {
        self.session(conn).is_some_and(|session| session.pipe.is_some() && session.is_open())
    }
}
