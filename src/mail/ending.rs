//! How messages end: they leave whatever structure they are in, their sender is told, what is to be remembered is. PURE. Invariant: an
//! end is the one place where a message, its part of a sending and what ties it to its users go.

use std::sync::Arc;

use super::Office;
use super::dead::Letter;
use super::entries::{Entry, NEVER, NONE, Slot, State};
use super::journal::Item;
use super::record::MessageRecord;
use super::sendings::{Done, Sending};
use crate::limits;
use crate::model::message::{
    DeathCause, Guarantee, MessageId, MessageOutput, MessageState, MessageStatus, Priority, Receipt,
};

impl Office {
    /// It ends from wherever it is.
    pub(super) fn end(&mut self, slot: Slot, state: MessageState, cause: Option<DeathCause>) {
        self.take_out(slot);
        self.end_in_place(slot, state, cause);
    }

    /// It ends, and is in no structure.
    pub(super) fn end_in_place(&mut self, slot: Slot, state: MessageState, cause: Option<DeathCause>) {
        self.count_end(slot, state, cause);
        self.tell_receipt(slot, state, cause);
        let is_letter = match state {
            MessageState::Dead => true,
            MessageState::Expired => self.entries[slot].is_durable(),
            MessageState::Scheduled
            | MessageState::Queued
            | MessageState::Delivered
            | MessageState::Confirmed
            | MessageState::Cancelled => false,
        };
        if let (true, Some(cause)) = (is_letter, cause) {
            self.keep_letter(slot, cause);
        } else if self.entries[slot].is_durable() {
            self.changed(self.entries[slot].item());
        }
        let entry = self.remove(slot);
        if let Some(sending) = self.end_part(&entry) {
            self.remember(&entry, &sending, state);
        }
        self.users.untie(entry.from);
        self.users.untie(entry.to);
    }

    /// A message that no store has taken is forgotten, as if it had not been sent.
    pub(super) fn unsend(&mut self, slot: Slot) {
        self.take_out(slot);
        let entry = self.remove(slot);
        self.end_part(&entry);
        self.users.untie(entry.from);
        self.users.untie(entry.to);
        self.counters.store_lost_total += 1;
    }

    /// It is in no structure and has no deadline any more.
    pub(super) fn take_out(&mut self, slot: Slot) {
        self.disarm(slot);
        let entry = &self.entries[slot];
        match entry.state {
            State::Queued | State::Returned | State::Resting => self.mailboxes.take(&mut self.entries, slot),
            State::Delivered => {
                let user = entry.to;
                self.sessions.release(&mut self.entries, slot);
                self.users[user].unconfirmed -= 1;
                self.unconfirmed -= 1;
                self.stir(user);
            }
            State::Scheduled => self.scheduled -= 1,
            State::Storing => {
                self.journal.storing -= 1;
                self.journal.storing_bytes -= MessageRecord::bytes_max(entry.content.len());
            }
        }
    }

    /// Tells the sender's connections that have room what became of it, if it asked for that.
    pub(super) fn tell_receipt(&mut self, slot: Slot, state: MessageState, cause: Option<DeathCause>) {
        if !self.entries[slot].receipts {
            return;
        }
        let status = MessageStatus { state, next_ms: None, ..self.status_of(slot) };
        self.tell_sender(self.entries[slot].from, Receipt { status, cause, at_ms: self.now_ms() });
    }

    pub(super) fn tell_sender(&mut self, from: Slot, receipt: Receipt) {
        for at in 0..self.users[from].sessions.len() {
            let session = self.users[from].sessions[at];
            if self.has_room(session) {
                let client = self.sessions[session].client;
                self.sessions[session].count_unwritten(Priority::Normal);
                self.outputs.push_back(MessageOutput::Receipt { client, receipt });
                self.counters.receipts_total += 1;
            } else {
                self.counters.receipts_dropped_total += 1;
            }
        }
    }

    /// Whether the connection may be sent what is not critical.
    pub(super) fn has_room(&self, session: Slot) -> bool {
        self.sessions[session].room(self.config.critical_under_way_max).other
    }

    /// What waits for the user beyond what may: the oldest of the lowest priority is given up.
    pub(super) fn hold_bounds(&mut self, user: Slot) {
        let (count, bytes) = (self.config.mailbox_messages_max, self.config.mailbox_bytes_max);
        self.hold_bound(self.users[user].mailbox, count, bytes);
        for at in 0..self.users[user].sessions.len() {
            let mailbox = self.sessions[self.users[user].sessions[at]].mailbox;
            if mailbox != NONE {
                self.hold_bound(mailbox, count.min(limits::SESSION_WAITING_MAX), bytes);
            }
        }
    }

    fn hold_bound(&mut self, mailbox: Slot, count: u32, bytes: u64) {
        while self.mailboxes[mailbox].waiting > count || self.mailboxes[mailbox].bytes > bytes {
            let Some(victim) = self.mailboxes.victim(&self.entries, mailbox) else { return };
            self.journal.begin();
            self.end(victim, MessageState::Dead, Some(DeathCause::Overflow));
        }
    }

    /// Dead letters beyond what may be kept: the oldest are dropped.
    pub(super) fn hold_letters(&mut self) {
        while self.dead.len() > self.config.dead_letters_max as usize
            || self.dead.bytes() > self.config.dead_letter_bytes_max
        {
            let Some(oldest) = self.dead.next(None).map(|letter| letter.id) else { return };
            self.drop_letter(oldest);
            self.counters.dead_dropped_total += 1;
        }
    }

    /// The dead letter, if there is one, is no more.
    pub(super) fn drop_letter(&mut self, id: MessageId) -> Option<Letter> {
        let letter = self.dead.remove(id)?;
        if letter.is_durable() {
            self.changed(Item::Letter(id.0));
        }
        self.users.untie(letter.from);
        self.users.untie(letter.to);
        Some(letter)
    }

    pub(super) fn add_letter(&mut self, letter: Letter) {
        self.users.tie(letter.from);
        self.users.tie(letter.to);
        self.dead.add(letter);
    }

    fn keep_letter(&mut self, slot: Slot, cause: DeathCause) {
        let entry = &self.entries[slot];
        let sending = (entry.sending != NONE).then(|| &self.sendings[entry.sending]);
        let letter = Letter {
            id: entry.id,
            from: entry.from,
            to: entry.to,
            priority: entry.priority,
            guarantee: entry.guarantee,
            attempts: entry.attempts,
            receipts: entry.receipts,
            was_handed: entry.was_handed,
            sent_ms: entry.sent_ms,
            due_ms: entry.due_ms,
            expires_ms: entry.expires_ms,
            died_ms: self.now_ms(),
            cause,
            client_id: sending.and_then(|sending| sending.client_id),
            reply_to: sending.and_then(|sending| sending.reply_to),
            via: sending.and_then(|sending| sending.via),
            reason: self.reasons.get(&entry.id.0).copied(),
            content: Arc::clone(&entry.content),
        };
        if letter.is_durable() {
            self.changed(Item::Letter(letter.id.0));
        }
        self.counters.dead_total[cause as usize] += 1;
        self.add_letter(letter);
        self.hold_letters();
    }

    fn remove(&mut self, slot: Slot) -> Entry {
        let entry = self.entries.remove(slot);
        self.reasons.remove(&entry.id.0);
        self.users[entry.from].sent -= 1;
        entry
    }

    /// The sending, if this was its last part.
    fn end_part(&mut self, entry: &Entry) -> Option<Sending> {
        if entry.sending == NONE {
            return None;
        }
        self.sendings[entry.sending].live -= 1;
        (self.sendings[entry.sending].live == 0).then(|| self.sendings.remove(entry.sending))
    }

    /// What became of a send that has a name, for as long as a repeated one is to be recognised.
    fn remember(&mut self, entry: &Entry, sending: &Sending, state: MessageState) {
        let Some(client_id) = sending.client_id else { return };
        if self.config.dedup_window_ms == 0 || self.config.sends_remembered_max == 0 {
            return;
        }
        let is_kept = self.tie_name(Done {
            from: entry.from,
            to: entry.to,
            client_id,
            first: sending.first,
            count: sending.count,
            state,
            priority: entry.priority,
            guarantee: entry.guarantee,
            attempts: entry.attempts,
            sent_ms: entry.sent_ms,
            expires_ms: entry.expires_ms,
            until_ms: self.now_ms().saturating_add(self.config.dedup_window_ms),
        });
        if is_kept && entry.is_durable() {
            self.changed(Item::Done(sending.first.0));
        }
        while self.sendings.done_len() > self.config.sends_remembered_max as usize {
            let Some(oldest) = self.sendings.due(NEVER) else { return };
            self.forget_name(oldest);
            self.counters.names_forgotten_total += 1;
        }
    }

    /// Keeps the name of a send that is over, unless it means another one: whether it is kept.
    pub(super) fn tie_name(&mut self, done: Done) -> bool {
        if !self.sendings.may_remember(&done) {
            return false;
        }
        self.users.tie(done.from);
        self.users.tie(done.to);
        if let Some(before) = self.sendings.remember(done) {
            self.users.untie(before.from);
            self.users.untie(before.to);
        }
        true
    }

    pub(super) fn forget_name(&mut self, name: Slot) {
        let done = self.sendings.forget(name);
        if done.guarantee == Guarantee::AtLeastOnce {
            self.changed(Item::Done(done.first.0));
        }
        self.users.untie(done.from);
        self.users.untie(done.to);
    }

    fn count_end(&mut self, slot: Slot, state: MessageState, cause: Option<DeathCause>) {
        let counters = &mut self.counters;
        match state {
            MessageState::Confirmed => counters.confirmed_total += 1,
            MessageState::Cancelled => counters.cancelled_total += 1,
            MessageState::Expired => counters.expired_total += 1,
            MessageState::Dead | MessageState::Delivered => {}
            MessageState::Scheduled | MessageState::Queued => {
                panic!("invariant: {state:?} is no end, of {:?} by {cause:?}", self.entries[slot].id)
            }
        }
    }
}
