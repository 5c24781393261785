//! What becomes of a delivered message: confirmed, rejected, not confirmed in time; and messages that are cancelled before they are
//! due, come due, or are over. PURE.

use super::entries::{NEVER, Slot, State};
use super::journal::Promise;
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{DeathCause, MessageAnswer, MessageAsk, MessageId, MessageRefusal, MessageState};
use crate::model::order::Label;

impl Office {
    /// By any of the receiver's connections, or by a request of its over HTTP; also when it is late, and the message waits again.
    pub(super) fn acknowledge(
        &mut self,
        ask: &MessageAsk,
        message: MessageId,
    ) -> Result<Reply, MessageRefusal> {
        let slot = self.received(ask, message)?;
        let entry = &self.entries[slot];
        let is_late = matches!(entry.state, State::Queued | State::Returned | State::Resting);
        let is_durable = entry.is_durable();
        // Of those that are not to be confirmed, only what a backend has is delivered and not over.
        if entry.state != State::Delivered && !(is_late && entry.was_handed && is_durable) {
            return Err(MessageRefusal::NotDelivered);
        }
        let state = if is_durable { MessageState::Confirmed } else { MessageState::Delivered };
        self.end(slot, state, None);
        Ok(Reply::Stored(Promise::Done))
    }

    pub(super) fn reject(
        &mut self,
        ask: &MessageAsk,
        message: MessageId,
        reason: Option<Label>,
        delay_ms: Option<u64>,
    ) -> Result<Reply, MessageRefusal> {
        let slot = self.received(ask, message)?;
        if self.entries[slot].state != State::Delivered {
            return Err(MessageRefusal::NotDelivered);
        }
        if delay_ms.is_some_and(|delay_ms| delay_ms > limits::MESSAGE_AHEAD_MS_MAX) {
            return Err(MessageRefusal::InvalidTime);
        }
        if let Some(reason) = reason {
            self.reasons.insert(message.0, reason);
        }
        self.counters.rejected_total += 1;
        self.take_out(slot);
        self.try_again(slot, delay_ms);
        Ok(Reply::Now(MessageAnswer::Done))
    }

    pub(super) fn cancel(&mut self, ask: &MessageAsk, message: MessageId) -> Result<Reply, MessageRefusal> {
        let from = self.users.find(&ask.user);
        let slot = self
            .entries
            .find(message)
            .filter(|slot| Some(self.entries[*slot].from) == from && self.is_accepted(*slot))
            .ok_or_else(|| self.not_found(message))?;
        if self.entries[slot].state != State::Scheduled {
            return Err(MessageRefusal::TooLate);
        }
        let is_durable = self.entries[slot].is_durable();
        self.end(slot, MessageState::Cancelled, None);
        Ok(if is_durable { Reply::Stored(Promise::Done) } else { Reply::Now(MessageAnswer::Done) })
    }

    /// All that held it lost it: it is queued again at once, unless it was only for them or has been tried often enough.
    pub(super) fn return_at_once(&mut self, slot: Slot) {
        self.counters.returned_total += 1;
        self.disarm(slot);
        self.users[self.entries[slot].to].unconfirmed -= 1;
        self.unconfirmed -= 1;
        if !self.entries[slot].is_durable() {
            // A backend may have had it, and is asked once.
            return self.end_in_place(slot, MessageState::Delivered, None);
        }
        if self.entries[slot].session.0 != 0 {
            return self.end_in_place(slot, MessageState::Dead, Some(DeathCause::SessionGone));
        }
        self.try_again(slot, Some(0));
    }

    /// Messages that were not confirmed in time, and those whose wait for the next attempt is over: how many.
    pub(super) fn run_mono(&mut self, steps: u32) -> u32 {
        let mut done = 0;
        while done < steps
            && let Some(slot) = self.mono.pop(self.now.mono_ns)
        {
            done += 1;
            self.journal.begin();
            self.entries[slot].mono_ns = NEVER;
            let is_resting = self.entries[slot].state == State::Resting;
            self.take_out(slot);
            if is_resting {
                self.come_back(slot);
            } else {
                self.counters.ack_timeouts_total += 1;
                self.try_again(slot, None);
            }
        }
        done
    }

    /// Messages that are due, and those whose time is over: how many.
    pub(super) fn run_wall(&mut self, steps: u32) -> u32 {
        let mut done = 0;
        while done < steps
            && let Some(slot) = self.wall.pop(self.now_ms())
        {
            done += 1;
            self.journal.begin();
            self.entries[slot].wall_ms = NEVER;
            let is_scheduled = self.entries[slot].state == State::Scheduled;
            self.take_out(slot);
            if is_scheduled {
                self.counters.due_total += 1;
                self.enqueue(slot);
            } else if self.entries[slot].expires_ms <= self.now_ms() {
                self.end_in_place(slot, MessageState::Expired, Some(DeathCause::Expired));
            } else {
                self.end_in_place(slot, MessageState::Dead, Some(DeathCause::TooOld));
            }
        }
        done
    }

    /// Names whose window is over: how many.
    pub(super) fn forget_names(&mut self, steps: u32) -> u32 {
        let mut done = 0;
        while done < steps
            && let Some(name) = self.sendings.due(self.now_ms())
        {
            done += 1;
            self.journal.begin();
            self.forget_name(name);
        }
        done
    }

    /// Whether its sender knows of it.
    pub(super) fn is_accepted(&self, slot: Slot) -> bool {
        self.entries[slot].state != State::Storing
    }

    /// Its next attempt after this delay, else the usual one; it is in no structure.
    fn try_again(&mut self, slot: Slot, delay_ms: Option<u64>) {
        let entry = &self.entries[slot];
        if u32::from(entry.attempts) >= self.config.attempts_max {
            return self.end_in_place(slot, MessageState::Dead, Some(DeathCause::Attempts));
        }
        let delay_ms = delay_ms.unwrap_or_else(|| self.back_off_ms(slot));
        self.rest(slot, delay_ms);
    }

    /// A message that the user is to get.
    pub(super) fn received(&self, ask: &MessageAsk, message: MessageId) -> Result<Slot, MessageRefusal> {
        let to = self.users.find(&ask.user);
        self.entries
            .find(message)
            .filter(|slot| Some(self.entries[*slot].to) == to && self.is_accepted(*slot))
            .ok_or_else(|| self.not_found(message))
    }
}
