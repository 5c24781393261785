//! Messages for backends: a shard hands on what is delivered to it, and answers for each. PURE. Home: the office.
//!
//! Invariants: a backend's messages are with one shard at a time, no more of them than it asked for, whatever their priority; what never
//! reached the backend is as it was before it was delivered.

use super::entries::State;
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{MessageAnswer, MessageAsk, MessageId, MessageRefusal};

impl Office {
    pub(super) fn process(&mut self, ask: &MessageAsk, under_way_max: u32) -> Result<Reply, MessageRefusal> {
        let session = match self.sessions.of_client(ask.client) {
            Some(known) => known,
            None => {
                let user = self.user(&ask.user)?;
                if self.users[user].is_present() {
                    // Another shard has it, which a reload is about to tell so.
                    return Err(MessageRefusal::TooMany);
                }
                let session = self.sessions.add_processor(ask.client, user);
                self.note_session(user, session);
                session
            }
        };
        self.sessions[session].under_way_max = under_way_max.min(limits::MESSAGES_UNDER_WAY_MAX);
        self.stir(self.sessions[session].user);
        Ok(Reply::Now(MessageAnswer::Done))
    }

    pub(super) fn hand_back(
        &mut self,
        ask: &MessageAsk,
        message: MessageId,
        was_handed: bool,
    ) -> Result<Reply, MessageRefusal> {
        let slot = self.received(ask, message)?;
        if self.entries[slot].state != State::Delivered || self.sessions.of_client(ask.client).is_none() {
            return Err(MessageRefusal::NotDelivered);
        }
        self.counters.handed_back_total += 1;
        self.take_out(slot);
        let entry = &mut self.entries[slot];
        let was_stored = entry.attempts > 1 && entry.is_durable();
        entry.attempts -= 1;
        entry.was_handed = was_handed;
        let item = entry.item();
        if was_stored {
            self.changed(item);
        }
        self.come_back(slot);
        Ok(Reply::Now(MessageAnswer::Done))
    }
}
