//! Sends: whom a message is for, whether it is accepted, and where it goes then. PURE. Invariant: a send that is refused leaves
//! nothing behind but, perhaps, an idle user.

use std::sync::Arc;

use super::entries::{Entry, NEVER, NONE, Slot, State};
use super::journal::{Item, Promise};
use super::record::MessageRecord;
use super::sendings::{Named, Sending};
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{
    Guarantee, MessageAnswer, MessageAsk, MessageId, MessageRefusal, MessageState, Name, NewMessage,
    SessionId, Target, Via,
};
use crate::model::order::Label;
use crate::model::storage::StoreState;

impl Office {
    pub(super) fn send(
        &mut self,
        ask: &MessageAsk,
        new: &NewMessage,
        processor: Option<&Name>,
        content: &[u8],
    ) -> Result<Reply, MessageRefusal> {
        if let Some(reply) = self.repeated(ask, new.client_id)? {
            return Ok(reply);
        }
        let is_durable = new.guarantee == Guarantee::AtLeastOnce;
        if is_durable {
            if self.store == StoreState::Absent {
                return Err(MessageRefusal::StoreAbsent);
            }
            self.may_change()?;
        }
        let from = self.user(&ask.user)?;
        // Making room for a receiver is not to forget the sender.
        self.users.tie(from);
        let outcome = self.accept(ask, from, (new, processor), content);
        self.users.untie(from);
        outcome
    }

    /// A send that the sender's name shows to have come before.
    fn repeated(
        &mut self,
        ask: &MessageAsk,
        client_id: Option<Label>,
    ) -> Result<Option<Reply>, MessageRefusal> {
        let Some(from) = self.users.find(&ask.user) else { return Ok(None) };
        let Some(named) = client_id.and_then(|client_id| self.sendings.named(from, client_id)) else {
            return Ok(None);
        };
        let (first, count, state) = match named {
            Named::Live(sending) => {
                let Sending { first, count, .. } = self.sendings[sending];
                let part = self.first_part(first, count).expect("invariant: a sending has a part");
                if self.entries[part].state == State::Storing {
                    return Err(MessageRefusal::StoreBusy);
                }
                (first, count, self.state_of(part))
            }
            Named::Done(done) => {
                let done = self.sendings.done(done);
                (done.first, done.count, done.state)
            }
        };
        self.counters.repeats_total += 1;
        Ok(Some(Reply::Now(MessageAnswer::Accepted { first, count, state, is_repeated: true })))
    }

    fn accept(
        &mut self,
        ask: &MessageAsk,
        from: Slot,
        (new, processor): (&NewMessage, Option<&Name>),
        content: &[u8],
    ) -> Result<Reply, MessageRefusal> {
        let (via, group_ttl_ms) = self.address(&new.target, processor)?;
        let due_ms = self.due(new.deliver_at_ms)?;
        let expires_ms = self.expiry(new.ttl_ms.or(group_ttl_ms), due_ms)?;
        let count = u32::try_from(self.receivers.len()).map_err(|_| MessageRefusal::TooMany)?;
        let is_durable = new.guarantee == Guarantee::AtLeastOnce;
        self.check_room(from, new, due_ms, count, content.len())?;
        let first = self.take_ids(is_durable, count);
        let state = if due_ms == 0 { MessageState::Queued } else { MessageState::Scheduled };
        let is_shared = new.client_id.is_some() || new.reply_to.is_some() || via.is_some();
        let sending = if is_shared && count > 0 {
            let (client_id, reply_to) = (new.client_id, new.reply_to);
            self.sendings.add(Sending { from, first, count, live: count, client_id, reply_to, via })
        } else {
            NONE
        };
        if !is_durable {
            let answer = MessageAnswer::Accepted { first, count, state, is_repeated: false };
            self.answer(ask.client.home, ask.ticket, Ok(answer));
        }
        self.counters.accepted_total[new.priority as usize] += u64::from(count);
        let content: Arc<[u8]> = Arc::from(content);
        let receivers = std::mem::take(&mut self.receivers);
        for (id, (to, session)) in (first.0..).step_by(2).zip(receivers.iter().copied()) {
            let slot = self.entries.insert(Entry {
                session,
                sent_ms: self.now_ms(),
                due_ms,
                expires_ms,
                sending,
                priority: new.priority,
                guarantee: new.guarantee,
                receipts: new.receipts,
                ..Entry::new(MessageId(id), Arc::clone(&content), from, to)
            });
            self.users.tie(from);
            self.users.tie(to);
            self.users[from].sent += 1;
            if is_durable {
                self.store_new(slot);
            } else {
                self.begin_life(slot);
            }
        }
        self.receivers = receivers;
        Ok(if is_durable { Reply::Stored(Promise::Accepted { first, count, state }) } else { Reply::Told })
    }

    /// Fills `receivers`; by way of what they are reached, and how long messages to them live unless it is said.
    fn address(
        &mut self,
        target: &Target,
        processor: Option<&Name>,
    ) -> Result<(Option<Via>, Option<u64>), MessageRefusal> {
        self.receivers.clear();
        match target {
            Target::User(name) => {
                let to = match self.users.find(name) {
                    Some(known) => known,
                    None if self.config.is_open_to_unknown => self.user(name)?,
                    None => return Err(MessageRefusal::UnknownUser),
                };
                self.receivers.push((to, SessionId(0)));
                Ok((None, None))
            }
            Target::Session(id) => {
                let session = self.sessions.find(*id).ok_or(MessageRefusal::UnknownSession)?;
                self.receivers.push((self.sessions[session].user, *id));
                Ok((None, None))
            }
            Target::Group { group, to } => {
                let slot = self.groups.find(group).ok_or(MessageRefusal::UnknownGroup)?;
                let receivers = &mut self.receivers;
                self.groups[slot].select(*to, &self.users, &self.mailboxes, |member| {
                    receivers.push((member, SessionId(0)));
                });
                if self.receivers.is_empty() {
                    return Err(MessageRefusal::EmptyGroup);
                }
                Ok((Some(Via::Group(*group)), self.groups[slot].message_ttl_ms))
            }
            Target::Type(kind) => {
                let to = self.user(processor.ok_or(MessageRefusal::NoProcessor)?)?;
                self.receivers.push((to, SessionId(0)));
                Ok((Some(Via::Type(*kind)), None))
            }
            Target::Topic(name) => {
                let sessions = self.topics.subscribers(name).iter();
                self.receivers.extend(sessions.map(|session| {
                    let session = &self.sessions[*session];
                    (session.user, session.id)
                }));
                Ok((Some(Via::Topic(*name)), None))
            }
        }
    }

    /// When it is due; 0 for at once, as is what lies in the past.
    fn due(&self, deliver_at_ms: Option<u64>) -> Result<u64, MessageRefusal> {
        match deliver_at_ms {
            Some(due_ms) if due_ms > self.now_ms().saturating_add(self.config.ahead_ms_max) => {
                Err(MessageRefusal::InvalidTime)
            }
            Some(due_ms) if due_ms > self.now_ms() => Ok(due_ms),
            Some(_) | None => Ok(0),
        }
    }

    fn expiry(&self, ttl_ms: Option<u64>, due_ms: u64) -> Result<u64, MessageRefusal> {
        match ttl_ms.or(self.config.ttl_ms) {
            Some(ttl_ms) if ttl_ms == 0 || ttl_ms > limits::MESSAGE_AHEAD_MS_MAX => {
                Err(MessageRefusal::InvalidTime)
            }
            Some(ttl_ms) => Ok(due_ms.max(self.now_ms()).saturating_add(ttl_ms)),
            None => Ok(NEVER),
        }
    }

    fn check_room(
        &self,
        from: Slot,
        new: &NewMessage,
        due_ms: u64,
        count: u32,
        content_bytes: usize,
    ) -> Result<(), MessageRefusal> {
        let all = u64::from(count);
        let bytes = all * content_bytes as u64;
        if self.entries.len() as u64 + all > u64::from(self.config.messages_max)
            || self.entries.bytes() + bytes > self.config.message_bytes_max
        {
            return Err(MessageRefusal::Full);
        }
        if u64::from(self.users[from].sent) + all > u64::from(self.config.messages_per_sender_max) {
            return Err(MessageRefusal::SenderFull);
        }
        if due_ms != 0 && u64::from(self.scheduled) + all > u64::from(self.config.scheduled_max) {
            return Err(MessageRefusal::TooMany);
        }
        if new.guarantee == Guarantee::FireAndForget {
            return Ok(());
        }
        let record_bytes = count as usize * MessageRecord::bytes_max(content_bytes);
        if record_bytes > limits::STORE_BATCH_BYTES_MAX {
            return Err(MessageRefusal::Full);
        }
        if self.journal.storing + count > limits::MESSAGES_STORING_MAX
            || self.journal.storing_bytes + record_bytes > limits::MESSAGE_BYTES_STORING_MAX
        {
            return Err(MessageRefusal::StoreBusy);
        }
        Ok(())
    }

    /// Numbers for so many messages: odd for those that are stored, even for others, so that what is numbered before the store has
    /// told what it has cannot be a stored one's.
    fn take_ids(&mut self, is_durable: bool, count: u32) -> MessageId {
        let mut first = self.last_id + 1;
        if (first % 2 == 1) != is_durable {
            first += 1;
        }
        self.last_id = first + 2 * u64::from(count.saturating_sub(1));
        MessageId(first)
    }

    fn store_new(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot];
        entry.state = State::Storing;
        self.journal.storing += 1;
        self.journal.storing_bytes += MessageRecord::bytes_max(entry.content.len());
        self.counters.durable_total += 1;
        self.changed(Item::Message(self.entries[slot].id.0));
    }

    /// It is accepted, and on the disk if it is to be: it waits to be due, or for its receiver.
    pub(super) fn begin_life(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot];
        if entry.due_ms > self.now.unix_ns / super::NS_PER_MS {
            entry.state = State::Scheduled;
            let due_ms = entry.due_ms;
            self.scheduled += 1;
            self.arm_wall(slot, due_ms);
        } else {
            self.enqueue(slot);
        }
    }
}
