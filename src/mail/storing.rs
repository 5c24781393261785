//! Between the office and the store: batches, and what the store says of them. PURE. Invariant: what the store has refused is as it was
//! before, if it was to be new, or is written again, if it was to change what was there.

use super::Office;
use super::asks::refusal;
use super::entries::{NEVER, NONE, Slot, State};
use super::journal::{Item, Written};
use super::record::{DoneRecord, LetterRecord, MessageRecord};
use crate::limits;
use crate::model::message::MessageId;
use crate::model::storage::{Key, StoreBatch, StoreFault, StoreOp, StoreState, Table};

impl Office {
    pub(super) fn next_batch(&mut self) -> Option<StoreBatch> {
        if self.store != StoreState::Ready || !self.is_loaded || self.journal.is_empty() {
            return None;
        }
        let mut journal = std::mem::take(&mut self.journal);
        let mut ops = Vec::new();
        let mut bytes = 0;
        let number = journal.take(|item| {
            let before = ops.len();
            self.write(item, &mut ops);
            bytes += ops[before..].iter().map(StoreOp::weight_bytes).sum::<usize>();
            ops.len() < limits::STORE_BATCH_OPS_MAX && bytes < limits::STORE_BATCH_BYTES_MAX
        });
        self.journal = journal;
        self.counters.batches_total += 1;
        self.counters.batch_ops_total += ops.len() as u64;
        Some(StoreBatch { number, ops })
    }

    pub(super) fn handle_stored(&mut self, through: u64) {
        let mut is_known = false;
        while let Some(batch) = self.journal.stored(through) {
            is_known = true;
            for waiter in batch.waiters {
                self.answer(waiter.to, waiter.ticket, Ok(waiter.answer.answer()));
            }
            for item in batch.items {
                if let Some(slot) = self.storing(item) {
                    self.take_out(slot);
                    self.begin_life(slot);
                }
            }
        }
        self.counters.strange_words_total += u64::from(!is_known);
    }

    pub(super) fn handle_refused(&mut self, number: u64, fault: StoreFault) {
        let Some(batch) = self.journal.refused(number) else {
            self.counters.strange_words_total += 1;
            return;
        };
        self.counters.batches_refused_total += 1;
        self.give_back(batch, fault);
    }

    pub(super) fn set_store(&mut self, state: StoreState) {
        self.store = state;
        match state {
            StoreState::Faulty(fault) => {
                let open = self.journal.set_faulty();
                self.give_back(open, fault);
            }
            StoreState::Ready | StoreState::Loading | StoreState::Absent => self.journal.set_ready(),
        }
    }

    /// What is not on the disk: new messages are forgotten, other changes kept, and who waits is told.
    fn give_back(&mut self, batch: Written, fault: StoreFault) {
        for item in batch.items {
            match self.storing(item) {
                Some(slot) => self.unsend(slot),
                None => self.journal.keep(item),
            }
        }
        for waiter in batch.waiters {
            self.answer(waiter.to, waiter.ticket, Err(refusal(fault)));
        }
    }

    /// The message that is new by this.
    fn storing(&self, item: Item) -> Option<Slot> {
        match item {
            Item::Message(id) => {
                let slot = self.entries.find(MessageId(id))?;
                (self.entries[slot].state == State::Storing).then_some(slot)
            }
            Item::Letter(_) | Item::Done(_) | Item::Group(_) => None,
        }
    }

    /// The item as it is now.
    fn write(&self, item: Item, ops: &mut Vec<StoreOp>) {
        match item {
            // Of an older change than that by which it became a letter, or was one: neither record may come or go without the other.
            Item::Message(id) if !self.is_letter(id) => {
                ops.push(op(Table::Messages, id, self.message_record(id)));
            }
            Item::Message(id) | Item::Letter(id) => {
                ops.push(op(Table::Messages, id, self.message_record(id)));
                ops.push(op(Table::DeadLetters, id, self.letter_record(id)));
            }
            Item::Done(first) => ops.push(op(Table::Done, first, self.done_record(first))),
            Item::Group(number) => ops.push(op(Table::Groups, number, self.group_record(number))),
        }
    }

    fn is_letter(&self, id: u64) -> bool {
        let entry = self.entries.find(MessageId(id)).map(|slot| &self.entries[slot]);
        entry.map_or_else(|| self.dead.find(MessageId(id)).is_some(), |entry| entry.was_letter)
    }

    fn message_record(&self, id: u64) -> Option<Box<[u8]>> {
        let entry = &self.entries[self.entries.find(MessageId(id))?];
        let sending = (entry.sending != NONE).then(|| &self.sendings[entry.sending]);
        let record = MessageRecord {
            first: sending.map_or(entry.id, |sending| sending.first),
            count: sending.map_or(1, |sending| sending.count),
            from: self.users[entry.from].name,
            to: self.users[entry.to].name,
            is_for_session: entry.session.0 != 0,
            priority: entry.priority,
            attempts: entry.attempts,
            receipts: entry.receipts,
            sent_ms: entry.sent_ms,
            due_ms: (entry.due_ms != 0).then_some(entry.due_ms),
            expires_ms: (entry.expires_ms != NEVER).then_some(entry.expires_ms),
            client_id: sending.and_then(|sending| sending.client_id),
            reply_to: sending.and_then(|sending| sending.reply_to),
            via: sending.and_then(|sending| sending.via),
            reason: self.reasons.get(&id).copied(),
            content: &entry.content,
        };
        Some(record.encode())
    }

    fn letter_record(&self, id: u64) -> Option<Box<[u8]>> {
        let letter = self.dead.find(MessageId(id)).filter(|letter| letter.is_durable())?;
        let message = MessageRecord {
            first: letter.id,
            count: 1,
            from: self.users[letter.from].name,
            to: self.users[letter.to].name,
            is_for_session: false,
            priority: letter.priority,
            attempts: letter.attempts,
            receipts: letter.receipts,
            sent_ms: letter.sent_ms,
            due_ms: (letter.due_ms != 0).then_some(letter.due_ms),
            expires_ms: (letter.expires_ms != NEVER).then_some(letter.expires_ms),
            client_id: letter.client_id,
            reply_to: letter.reply_to,
            via: letter.via,
            reason: letter.reason,
            content: &letter.content,
        };
        Some(LetterRecord { cause: letter.cause, died_ms: letter.died_ms, message }.encode())
    }

    fn done_record(&self, first: u64) -> Option<Box<[u8]>> {
        let done = self.sendings.done(self.sendings.done_by_first(MessageId(first))?);
        let record = DoneRecord {
            from: self.users[done.from].name,
            to: self.users[done.to].name,
            client_id: done.client_id,
            count: done.count,
            state: done.state,
            priority: done.priority,
            guarantee: done.guarantee,
            attempts: done.attempts,
            sent_ms: done.sent_ms,
            expires_ms: (done.expires_ms != NEVER).then_some(done.expires_ms),
            until_ms: done.until_ms,
        };
        Some(record.encode())
    }
}

fn op(table: Table, key: Key, value: Option<Box<[u8]>>) -> StoreOp {
    match value {
        Some(value) => StoreOp::Put { table, key, value },
        None => StoreOp::Remove { table, key },
    }
}
