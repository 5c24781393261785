//! Calls of clients to backends: to the shard's own links, or to control, which carries the others, and what comes of them. Home: the shard.
//!
//! Invariants: what the hub says is handed on in the turn in which it says it, or answered as not sent; what control has said
//! is taken up to a bound, and the rest by the next turns.

use std::sync::Arc;

use crate::calls::{FromControl, Full, OwnedCall, Peer, ToControl};
use crate::hub::PipeWord;
use crate::limits;
use crate::model::call::{CallFailure, CallKey, CallOutcome};
use crate::model::invalidation::Invalidation;

use super::{RECEIVED_BYTES_PER_TURN, Shard};

impl Shard {
    /// What control has said, up to a bound on words and on the work that they make, which the next turns owe; whether there was
    /// anything.
    pub(super) fn take_words(&mut self) -> bool {
        let mut any = false;
        let work_before_bytes = self.hub.work_bytes_total();
        for _ in 0..limits::CALL_WORDS_PER_TURN_MAX {
            if self.hub.work_bytes_total() - work_before_bytes > RECEIVED_BYTES_PER_TURN {
                break;
            }
            let Some(word) = self.calls.receive() else { break };
            any = true;
            match word {
                FromControl::Answered { key, outcome } => {
                    self.hub.handle_outcome(key, outcome.get(), self.now);
                }
                FromControl::Progressed { key, value } => self.hub.handle_progress(key, &value, self.now),
                FromControl::Text { conn, text } => self.hub.handle_pipe_text(conn, &text, self.now),
                FromControl::Taken { conn, messages } => {
                    self.hub.handle_pipe_taken(conn, messages, self.now);
                }
                FromControl::Invalidated(invalidation) => {
                    self.hub.handle_invalidation(&invalidation, self.now);
                }
                FromControl::Close { conn, code, reason } => {
                    self.hub.handle_pipe_close(conn, code, reason, self.now);
                }
            }
            self.act();
        }
        self.owed_bytes += self.hub.work_bytes_total() - work_before_bytes;
        any
    }

    /// Hands on what the hub says to backends: before each call what nobody waits for any more, since the call may have the place of
    /// one that was cancelled in this turn.
    pub(super) fn hand_on_calls(&mut self) {
        loop {
            self.hand_on_cancelled();
            let Some(call) = self.hub.poll_call() else { break };
            let key = call.key;
            let handed_on = if self.backends.has_backend(call.backend) {
                self.backends.handle_call(&call, self.now)
            } else {
                let word = ToControl::Call(OwnedCall::from(call));
                self.calls.send(word).map_err(|Full(_)| CallFailure::Busy)
            };
            if let Err(failure) = handed_on {
                self.refuse_call(key, failure);
            }
        }
        self.hand_on_texts();
        self.calls.announce();
    }

    /// Hands on which calls nobody waits for any more.
    fn hand_on_cancelled(&mut self) {
        while let Some(cancelled) = self.hub.poll_cancelled() {
            if !self.backends.handle_cancelled(cancelled, &mut self.hub, self.now) {
                // Where there is no room the backend works for nothing: what it says is dropped.
                let _ = self.calls.send(ToControl::Cancel(cancelled.key));
            }
            self.act();
        }
    }

    /// Hands on what connections have to say whose messages control answers. What there is no room for waits with the hub, which bounds
    /// it for each connection; while any waits, the shard does not park.
    fn hand_on_texts(&mut self) {
        while self.calls.room() > 0 {
            let Some(word) = self.hub.poll_pipe() else { return };
            let word = match word {
                PipeWord::Opened { conn, reach, rights, authorization } => {
                    let address = self.guests.peer(conn);
                    ToControl::Opened { conn, peer: Peer { reach, address, backend: rights, authorization } }
                }
                PipeWord::Text { conn, text } => ToControl::Text { conn, text },
                PipeWord::Closed { conn } => ToControl::Closed { conn },
            };
            self.calls.send(word).expect("invariant: there is room");
        }
    }

    /// Backends at the other end of links say that results hold no more: this shard forgets them before it hears more of those links, whatever
    /// control does, which tells the others. Where that is behind, what waits is put together until it has room.
    pub(super) fn hand_on_invalidated(&mut self) {
        while let Some((backend, methods)) = self.backends.poll_invalidated(self.now) {
            let Some(invalidation) = self.hub.invalidation_of(backend, methods) else { continue };
            self.hub.handle_invalidation(&invalidation, self.now);
            self.untold.add(Invalidation::clone(&invalidation));
        }
        while self.calls.room() > 0
            && let Some(invalidation) = self.untold.pop()
        {
            let word = ToControl::Invalidated(Arc::new(invalidation));
            self.calls.send(word).expect("invariant: there is room");
        }
        self.calls.announce();
    }

    /// A call could not be handed on.
    fn refuse_call(&mut self, key: Option<CallKey>, failure: CallFailure) {
        if let Some(key) = key {
            self.hub.handle_outcome(key, CallOutcome::Failed(failure), self.now);
            self.act();
        }
    }
}
