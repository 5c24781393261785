//! Questions on messages: how one stands, what waits. PURE.

use super::entries::{NEVER, NONE, Slot, State};
use super::sendings::{Done, Named, Sending};
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{
    MessageAnswer, MessageAsk, MessageId, MessageKey, MessageRefusal, MessageState, MessageStatus,
};

impl Office {
    pub(super) fn status(&self, ask: &MessageAsk, key: MessageKey) -> Result<Reply, MessageRefusal> {
        let status = match key {
            MessageKey::Id(message) => {
                self.status_by_id(ask, message).ok_or_else(|| self.not_found(message))?
            }
            MessageKey::ClientId(client_id) => {
                let from = self.users.find(&ask.user).ok_or(MessageRefusal::MessageNotFound)?;
                match self.sendings.named(from, client_id).ok_or(MessageRefusal::MessageNotFound)? {
                    Named::Done(done) => self.done_status(self.sendings.done(done)),
                    Named::Live(sending) => {
                        let Sending { first, count, .. } = self.sendings[sending];
                        let part = self.first_part(first, count).filter(|part| self.is_accepted(*part));
                        self.status_of(part.ok_or(MessageRefusal::MessageNotFound)?)
                    }
                }
            }
        };
        Ok(Reply::Now(MessageAnswer::Status(status)))
    }

    pub(super) fn pending(
        &self,
        ask: &MessageAsk,
        count: u32,
        after: Option<MessageId>,
    ) -> Result<Reply, MessageRefusal> {
        let Some(user) = self.users.find(&ask.user) else {
            return Ok(Reply::Now(MessageAnswer::Pending { total: 0, bytes: 0, messages: Box::default() }));
        };
        let mailbox = self.users[user].mailbox;
        let waits = |slot: &Slot| {
            let entry = &self.entries[*slot];
            let is_there = match entry.state {
                State::Queued | State::Returned | State::Resting => true,
                State::Storing | State::Scheduled | State::Delivered => false,
            };
            is_there && entry.mailbox == mailbox
        };
        let after = match after {
            Some(message) => {
                Some(self.entries.find(message).filter(waits).ok_or_else(|| self.not_found(message))?)
            }
            None => None,
        };
        let mut messages = Vec::new();
        let count = count.min(limits::MESSAGES_PER_ANSWER_MAX) as usize;
        self.mailboxes.list(&self.entries, mailbox, after, count, |slot| messages.push(self.status_of(slot)));
        let mailbox = &self.mailboxes[mailbox];
        Ok(Reply::Now(MessageAnswer::Pending {
            total: u64::from(mailbox.waiting),
            bytes: mailbox.bytes,
            messages: messages.into(),
        }))
    }

    pub(super) fn status_of(&self, slot: Slot) -> MessageStatus {
        let entry = &self.entries[slot];
        let next_ms = match entry.state {
            State::Scheduled => Some(entry.due_ms),
            State::Resting | State::Delivered if entry.mono_ns != NEVER => Some(self.unix_ms(entry.mono_ns)),
            State::Resting | State::Delivered | State::Storing | State::Queued | State::Returned => None,
        };
        MessageStatus {
            message: entry.id,
            to: self.users[entry.to].name,
            priority: entry.priority,
            guarantee: entry.guarantee,
            state: self.state_of(slot),
            attempts: u32::from(entry.attempts),
            sent_ms: entry.sent_ms,
            next_ms,
            expires_ms: (entry.expires_ms != NEVER).then_some(entry.expires_ms),
            client_id: (entry.sending != NONE).then(|| self.sendings[entry.sending].client_id).flatten(),
        }
    }

    pub(super) fn state_of(&self, slot: Slot) -> MessageState {
        match self.entries[slot].state {
            State::Scheduled => MessageState::Scheduled,
            State::Storing | State::Queued | State::Returned | State::Resting => MessageState::Queued,
            State::Delivered => MessageState::Delivered,
        }
    }

    /// The first part of a send that is not over.
    pub(super) fn first_part(&self, first: MessageId, count: u32) -> Option<Slot> {
        let ids = (first.0..).step_by(2).take(count as usize);
        ids.into_iter().find_map(|id| self.entries.find(MessageId(id)))
    }

    /// Of a message that is to be known to who asks.
    fn status_by_id(&self, ask: &MessageAsk, message: MessageId) -> Option<MessageStatus> {
        let user = self.users.find(&ask.user)?;
        if let Some(slot) = self.entries.find(message) {
            let entry = &self.entries[slot];
            let is_own = entry.from == user || entry.to == user;
            return (is_own && self.is_accepted(slot)).then(|| self.status_of(slot));
        }
        if let Some(letter) = self.dead.find(message) {
            return (letter.from == user || letter.to == user).then(|| self.letter_status(letter));
        }
        let done = self.sendings.done(self.sendings.done_by_first(message)?);
        (done.from == user || done.to == user).then(|| self.done_status(done))
    }

    fn done_status(&self, done: &Done) -> MessageStatus {
        MessageStatus {
            message: done.first,
            to: self.users[done.to].name,
            priority: done.priority,
            guarantee: done.guarantee,
            state: done.state,
            attempts: u32::from(done.attempts),
            sent_ms: done.sent_ms,
            next_ms: None,
            expires_ms: (done.expires_ms != NEVER).then_some(done.expires_ms),
            client_id: Some(done.client_id),
        }
    }
}
