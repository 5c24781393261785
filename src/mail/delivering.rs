//! From a mailbox to connections: who joins a mailbox, what is delivered next and to whom, when it is tried again. PURE. Invariant:
//! what can be delivered is, before a call returns; what is delivered is in the mailbox no more, and has a deadline if it is to be
//! confirmed, unless a shard has it for a backend: that answers for each, in the time that the backend has.

use std::hash::Hasher;
use std::sync::Arc;

use super::entries::{NEVER, NONE, Slot, State};
use super::mailboxes::{Head, Room};
use super::{NS_PER_MS, Office};
use crate::model::hasher::FixedHasher;
use crate::model::message::{DeathCause, Delivery, MessageOutput, MessageState, Priority, SessionId};

impl Office {
    /// A message comes into the mailbox that it is for, behind all others of its priority.
    pub(super) fn enqueue(&mut self, slot: Slot) {
        let entry = &self.entries[slot];
        if entry.expires_ms <= self.now_ms() {
            return self.end_in_place(slot, MessageState::Expired, Some(DeathCause::Expired));
        }
        let mailbox = if entry.session == SessionId(0) {
            self.users[entry.to].mailbox
        } else {
            let Some(session) = self.sessions.find(entry.session) else {
                return self.end_in_place(slot, MessageState::Dead, Some(DeathCause::SessionGone));
            };
            if self.sessions[session].mailbox == NONE {
                self.sessions[session].mailbox = self.mailboxes.open();
            }
            self.sessions[session].mailbox
        };
        self.last_place = (self.last_place + 1).max(self.now.mono_ns);
        let entry = &mut self.entries[slot];
        entry.place = self.last_place;
        entry.mailbox = mailbox;
        self.mailboxes.push(&mut self.entries, slot);
        self.arm_waiting(slot);
        self.stir(self.entries[slot].to);
    }

    /// It comes back to the place that it had, if there is time left. It is in no structure.
    pub(super) fn come_back(&mut self, slot: Slot) {
        if self.entries[slot].expires_ms <= self.now_ms() {
            return self.end_in_place(slot, MessageState::Expired, Some(DeathCause::Expired));
        }
        self.mailboxes.put_back(&mut self.entries, slot);
        self.arm_waiting(slot);
        self.stir(self.entries[slot].to);
    }

    /// It waits for its next attempt. It is in no structure.
    pub(super) fn rest(&mut self, slot: Slot, delay_ms: u64) {
        if delay_ms == 0 {
            return self.come_back(slot);
        }
        self.mailboxes.rest(&mut self.entries, slot);
        self.arm_waiting(slot);
        self.arm_mono(slot, self.now.mono_ns + delay_ms * NS_PER_MS);
        self.stir(self.entries[slot].to);
    }

    /// The wait before the next attempt: it doubles, up to the longest, and is up to a fifth shorter or longer, by a hash of seed, number
    /// and attempt.
    pub(super) fn back_off_ms(&self, slot: Slot) -> u64 {
        let entry = &self.entries[slot];
        let doublings = u32::from(entry.attempts.saturating_sub(1)).min(63);
        let base =
            self.config.retry_first_ms.saturating_mul(1 << doublings).min(self.config.retry_longest_ms);
        let mut hasher = FixedHasher::default();
        hasher.write_u64(self.config.seed);
        hasher.write_u64(entry.id.0);
        hasher.write_u64(u64::from(entry.attempts));
        base * (800 + hasher.finish() % 401) / 1_000
    }

    /// Hands out what can be of what is for the user, the first first.
    pub(super) fn dispatch(&mut self, user: Slot) {
        while let Some((head, only)) = self.first_for(user) {
            self.deliver(head.slot, only);
        }
    }

    /// What goes next to one of the user's connections, and to which, if it is for one alone.
    fn first_for(&self, user: Slot) -> Option<(Head, Slot)> {
        let ageing_ns = self.config.ageing_ms * NS_PER_MS;
        let best = |mailbox: Slot, room: Room| {
            self.mailboxes.best(&self.entries, mailbox, room, self.now.mono_ns, ageing_ns)
        };
        let mut anywhere = Room::default();
        let mut first: Option<(Head, Slot)> = None;
        for slot in &self.users[user].sessions {
            let session = &self.sessions[*slot];
            let room = session.room(self.config.critical_under_way_max);
            anywhere.critical |= room.critical;
            anywhere.other |= room.other;
            if session.mailbox != NONE
                && let Some(head) = best(session.mailbox, room)
                && first.is_none_or(|(first, _)| head.is_before(&first))
            {
                first = Some((head, *slot));
            }
        }
        if let Some(head) = best(self.users[user].mailbox, anywhere)
            && first.is_none_or(|(first, _)| head.is_before(&first))
        {
            first = Some((head, NONE));
        }
        first
    }

    /// Hands a message that waits to the connection that it is for alone, or to all of its receiver's that have room.
    fn deliver(&mut self, slot: Slot, only: Slot) {
        self.take_out(slot);
        if self.entries[slot].expires_ms <= self.now_ms() {
            return self.end_in_place(slot, MessageState::Expired, Some(DeathCause::Expired));
        }
        let entry = &mut self.entries[slot];
        entry.attempts = entry.attempts.saturating_add(1);
        let was_handed = std::mem::replace(&mut entry.was_handed, true);
        let (user, priority, is_durable) = (entry.to, entry.priority, entry.is_durable());
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.clear();
        if only == NONE {
            let critical_max = self.config.critical_under_way_max;
            let has_room = |session: &Slot| {
                let room = self.sessions[*session].room(critical_max);
                if priority == Priority::Critical { room.critical } else { room.other }
            };
            chosen.extend(self.users[user].sessions.iter().copied().filter(has_room));
        } else {
            chosen.push(only);
        }
        assert!(!chosen.is_empty(), "invariant: what is dispatched has a connection with room");
        let is_processed = chosen.iter().any(|session| self.sessions[*session].is_processor);
        for session in chosen.iter().copied() {
            if is_durable || is_processed {
                self.sessions.hold(&mut self.entries, slot, session);
            } else {
                self.sessions[session].count_unwritten(priority);
            }
            let delivery = self.delivery(slot, session, was_handed);
            self.outputs.push_back(MessageOutput::Deliver(delivery));
            self.counters.deliveries_total += 1;
            self.counters.redeliveries_total += u64::from(was_handed);
        }
        self.chosen = chosen;
        if !is_durable && !is_processed {
            return self.end_in_place(slot, MessageState::Delivered, None);
        }
        let entry = &mut self.entries[slot];
        entry.state = State::Delivered;
        let (item, attempts) = (entry.item(), entry.attempts);
        self.users[user].unconfirmed += 1;
        self.unconfirmed += 1;
        if attempts > 1 && is_durable {
            self.journal.begin();
            self.changed(item);
        }
        if !is_processed {
            self.arm_mono(slot, self.now.mono_ns + self.config.ack_timeout_ms * NS_PER_MS);
            self.tell_receipt(slot, MessageState::Delivered, None);
        }
    }

    fn delivery(&self, slot: Slot, session: Slot, is_redelivered: bool) -> Delivery {
        let entry = &self.entries[slot];
        let sending = (entry.sending != NONE).then(|| &self.sendings[entry.sending]);
        Delivery {
            client: self.sessions[session].client,
            message: entry.id,
            from: self.users[entry.from].name,
            by: sending.and_then(|sending| sending.via),
            priority: entry.priority,
            confirm: entry.is_durable(),
            attempt: u32::from(entry.attempts),
            is_redelivered,
            sent_ms: entry.sent_ms,
            deliver_at_ms: (entry.due_ms != 0).then_some(entry.due_ms),
            expires_ms: (entry.expires_ms != NEVER).then_some(entry.expires_ms),
            client_id: sending.and_then(|sending| sending.client_id),
            reply_to: sending.and_then(|sending| sending.reply_to),
            content: Arc::clone(&entry.content),
        }
    }

    /// What waits in a mailbox is over at the end of its life, and no later than it is kept.
    fn arm_waiting(&mut self, slot: Slot) {
        let entry = &self.entries[slot];
        let kept_until_ms = entry.begins_ms().saturating_add(self.config.kept_ms);
        let until_ms = entry.expires_ms.min(kept_until_ms);
        self.arm_wall(slot, until_ms);
    }
}
