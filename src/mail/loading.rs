//! What the store tells at the start becomes messages, dead letters, groups and names again. PURE.
//!
//! Invariants: whatever was stored is taken, however the bounds are set now. What cannot be read stays in the store as it is, is
//! counted, and its number is not given again. What is loaded may have been handed out before, and says so when it is delivered; only
//! what is not due yet cannot have been, unless the clock has gone back, which the newest time in the store shows.

use std::sync::Arc;

use super::dead::Letter;
use super::entries::{Entry, NEVER, NONE, State};
use super::groups::Group;
use super::journal::Item;
use super::record::{DoneRecord, GroupRecord, LetterRecord, MessageRecord};
use super::sendings::{Done, Named, Sending};
use super::{NS_PER_MS, Office};
use crate::limits;
use crate::model::message::{Guarantee, MessageId, Name, SessionId};
use crate::model::storage::{Key, StoreFault, Table};

/// Numbers of messages are below it, so that JSON has them exactly.
const ID_END: u64 = 1 << 53;

impl Office {
    pub(super) fn load(&mut self, table: Table, entries: &[(Key, Box<[u8]>)]) {
        for (key, value) in entries {
            self.journal.begin();
            let outcome = match table {
                Table::Meta => continue,
                Table::Messages => self.load_message(*key, value),
                Table::DeadLetters => self.load_letter(*key, value),
                Table::Groups => self.load_group(*key, value),
                Table::Done => self.load_done(*key, value),
            };
            match outcome {
                Ok(()) => self.counters.loaded_total += 1,
                Err(_) => self.counters.unreadable_total += 1,
            }
            if *key < ID_END {
                match table {
                    Table::Groups => self.groups.numbers = self.groups.numbers.max(*key),
                    Table::Meta | Table::Messages | Table::DeadLetters | Table::Done => {
                        self.last_id = self.last_id.max(*key);
                    }
                }
            }
        }
    }

    pub(super) fn end_loading(&mut self) {
        self.is_loaded = true;
        if self.stored_ms > self.now.unix_ns / NS_PER_MS {
            for entry in self.entries.all_mut().filter(|entry| entry.state == State::Scheduled) {
                entry.was_handed |= entry.is_durable();
            }
        }
        self.hold_letters();
    }

    fn load_message(&mut self, key: Key, value: &[u8]) -> Result<(), StoreFault> {
        let record = MessageRecord::decode(value)?;
        let id = self.id(key)?;
        let MessageRecord { first, count, .. } = record;
        let is_part =
            id.0.checked_sub(first.0).is_some_and(|ahead| ahead % 2 == 0 && ahead / 2 < u64::from(count));
        if !is_part || count > limits::MESSAGE_TOPIC_SUBSCRIBERS_MAX {
            return Err(StoreFault::Corrupt);
        }
        if record.sent_ms.max(record.due_ms.unwrap_or(0)) >= TIME_END_MS {
            return Err(StoreFault::Corrupt);
        }
        self.stored_ms = self.stored_ms.max(record.sent_ms);
        let (from, to) = (self.loaded_user(&record.from), self.loaded_user(&record.to));
        self.users.tie(from);
        self.users.tie(to);
        self.users[from].sent += 1;
        let (sending, content) = self.loaded_sending(id, from, &record);
        let due_ms = record.due_ms.unwrap_or(0);
        let slot = self.entries.insert(Entry {
            session: if record.is_for_session { GONE } else { SessionId(0) },
            sent_ms: record.sent_ms,
            due_ms,
            expires_ms: record.expires_ms.unwrap_or(NEVER),
            sending,
            priority: record.priority,
            guarantee: Guarantee::AtLeastOnce,
            receipts: record.receipts,
            attempts: record.attempts,
            was_handed: record.attempts > 0 || due_ms <= self.now_ms(),
            ..Entry::new(id, content, from, to)
        });
        if due_ms == 0 {
            self.enqueue(slot);
        } else {
            // What came due meanwhile is taken in the order of that, by the timers.
            self.entries[slot].state = State::Scheduled;
            self.scheduled += 1;
            self.arm_wall(slot, due_ms);
        }
        Ok(())
    }

    /// What the message shares with others, and its content: parts of one send stand side by side in the store.
    fn loaded_sending(&mut self, id: MessageId, from: u32, record: &MessageRecord<'_>) -> (u32, Arc<[u8]>) {
        let before = id.0.checked_sub(2).and_then(|before| self.entries.find(MessageId(before)));
        if let Some(before) = before.filter(|_| record.first != id) {
            let entry = &self.entries[before];
            let is_part = |of: &Sending| (of.first, of.count) == (record.first, record.count);
            if entry.sending != NONE
                && is_part(&self.sendings[entry.sending])
                && *entry.content == *record.content
            {
                let (sending, content) = (entry.sending, Arc::clone(&entry.content));
                self.sendings[sending].live += 1;
                return (sending, content);
            }
        }
        let content = Arc::from(record.content);
        let MessageRecord { first, count, client_id, reply_to, via, .. } = *record;
        if client_id.is_none() && reply_to.is_none() && via.is_none() {
            return (NONE, content);
        }
        if let Some(client_id) = client_id
            && let Some(Named::Live(sending)) = self.sendings.named(from, client_id)
            && (self.sendings[sending].first, self.sendings[sending].count) == (first, count)
        {
            self.sendings[sending].live += 1;
            return (sending, content);
        }
        (self.sendings.add(Sending { from, first, count, live: 1, client_id, reply_to, via }), content)
    }

    fn load_letter(&mut self, key: Key, value: &[u8]) -> Result<(), StoreFault> {
        let LetterRecord { cause, died_ms, message } = LetterRecord::decode(value)?;
        let id = self.id(key)?;
        self.stored_ms = self.stored_ms.max(died_ms);
        let letter = Letter {
            id,
            from: self.loaded_user(&message.from),
            to: self.loaded_user(&message.to),
            priority: message.priority,
            guarantee: Guarantee::AtLeastOnce,
            attempts: message.attempts,
            receipts: message.receipts,
            was_handed: true,
            sent_ms: message.sent_ms,
            due_ms: message.due_ms.unwrap_or(0),
            expires_ms: message.expires_ms.unwrap_or(NEVER),
            died_ms,
            cause,
            client_id: message.client_id,
            reply_to: message.reply_to,
            via: message.via,
            reason: message.reason,
            content: Arc::from(message.content),
        };
        self.add_letter(letter);
        Ok(())
    }

    fn load_group(&mut self, key: Key, value: &[u8]) -> Result<(), StoreFault> {
        let record = GroupRecord::decode(value)?;
        if key == 0 || key >= ID_END || self.groups.find(&record.name).is_some() {
            return Err(StoreFault::Corrupt);
        }
        let expires_ms = record.expires_ms.unwrap_or(NEVER);
        let mut group = Group::new(key, record.name, record.owner, expires_ms, record.message_ttl_ms);
        for (name, weight) in &record.members {
            let user = self.loaded_user(name);
            if group.join(user, (*weight).clamp(1, limits::GROUP_WEIGHT_MAX)) {
                self.users.tie(user);
            }
        }
        self.groups.add(group);
        Ok(())
    }

    fn load_done(&mut self, key: Key, value: &[u8]) -> Result<(), StoreFault> {
        let record = DoneRecord::decode(value)?;
        let (from, to) = (self.loaded_user(&record.from), self.loaded_user(&record.to));
        let is_kept = self.tie_name(Done {
            from,
            to,
            client_id: record.client_id,
            first: self.any_id(key)?,
            count: record.count,
            state: record.state,
            priority: record.priority,
            guarantee: record.guarantee,
            attempts: record.attempts,
            sent_ms: record.sent_ms,
            expires_ms: record.expires_ms.unwrap_or(NEVER),
            until_ms: record.until_ms,
        });
        if !is_kept {
            self.changed(Item::Done(key));
        }
        Ok(())
    }

    /// A number of a message that is stored, and is none's yet.
    fn id(&self, key: Key) -> Result<MessageId, StoreFault> {
        let id = self.any_id(key)?;
        if self.entries.find(id).is_some() || self.dead.find(id).is_some() {
            return Err(StoreFault::Corrupt);
        }
        Ok(id)
    }

    fn any_id(&self, key: Key) -> Result<MessageId, StoreFault> {
        if key % 2 == 1 && key < ID_END { Ok(MessageId(key)) } else { Err(StoreFault::Corrupt) }
    }

    /// Whoever is named in the store is known, however many there may be.
    fn loaded_user(&mut self, name: &Name) -> u32 {
        let user = self.users.ensure(name, u32::MAX, &mut self.mailboxes);
        user.expect("invariant: there are fewer users than a slot has numbers")
    }
}

/// Times in records are below it: those of some hundred thousand years.
const TIME_END_MS: u64 = 1 << 53;

/// A connection of a process before this one: there is none of that number.
const GONE: SessionId = SessionId(u64::MAX);
