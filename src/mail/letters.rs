//! Requests on dead letters, those for all in steps that a turn bears. PURE. Invariants: a letter is requeued or purged once, and a
//! request for all ends with what was there when it came. What was requeued begins anew: attempts, and the time that it is kept.

use std::sync::Arc;

use super::dead::{Letter, Order};
use super::entries::{Entry, NEVER, NONE, Slot};
use super::journal::{Item, Promise};
use super::sendings::Sending;
use super::{Office, Reply};
use crate::limits;
use crate::model::ids::{HomeId, Ticket};
use crate::model::message::{
    DeadLetter, DeathCause, MessageAnswer, MessageAsk, MessageId, MessageRefusal, MessageState,
    MessageStatus, Name, Which,
};

/// What is done to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Requeue,
    Purge,
}

/// A request for all dead letters.
#[derive(Debug)]
pub(super) struct Sweep {
    to: HomeId,
    ticket: Ticket,
    deed: Deed,
    /// The last that was there, and the last that was looked at.
    until: Order,
    after: Option<Order>,
    count: u64,
}

impl Office {
    pub(super) fn dead_letters(
        &self,
        count: u32,
        after: Option<MessageId>,
        user: Option<&Name>,
    ) -> Result<Reply, MessageRefusal> {
        let after = match after {
            Some(message) => Some(order(self.dead.find(message).ok_or_else(|| self.not_found(message))?)),
            None => None,
        };
        let count = count.min(limits::MESSAGES_PER_ANSWER_MAX) as usize;
        let letters = match user {
            Some(name) => match self.users.find(name) {
                Some(user) => {
                    self.dead.of(user, after).take(count).map(|at| self.letter(at, false)).collect()
                }
                None => Box::default(),
            },
            None => self.dead.behind(after).take(count).map(|at| self.letter(at, false)).collect(),
        };
        Ok(Reply::Now(MessageAnswer::DeadLetters { total: self.dead.len() as u64, letters }))
    }

    pub(super) fn dead_letter(&self, message: MessageId) -> Result<Reply, MessageRefusal> {
        let letter = self.dead.find(message).ok_or_else(|| self.not_found(message))?;
        let letters = Box::new([self.letter(letter, true)]);
        Ok(Reply::Now(MessageAnswer::DeadLetters { total: self.dead.len() as u64, letters }))
    }

    pub(super) fn requeue(&mut self, ask: &MessageAsk, which: Which) -> Result<Reply, MessageRefusal> {
        self.do_to_letters(ask, which, Deed::Requeue)
    }

    pub(super) fn purge(&mut self, ask: &MessageAsk, which: Which) -> Result<Reply, MessageRefusal> {
        self.do_to_letters(ask, which, Deed::Purge)
    }

    /// Goes on with requests for all, as far as these steps go.
    pub(super) fn sweep(&mut self, steps: u32) {
        let mut left = steps;
        while left > 0
            && let Some(mut sweep) = self.sweeps.pop_front()
        {
            self.journal.begin();
            while left > 0
                && let Some(letter) = self.dead.next(sweep.after)
                && order(letter) <= sweep.until
            {
                left -= 1;
                sweep.after = Some(order(letter));
                let message = letter.id;
                if self.do_to(message, sweep.deed).is_ok() {
                    sweep.count += 1;
                }
                self.journal.begin();
            }
            let is_over = self.dead.next(sweep.after).is_none_or(|letter| order(letter) > sweep.until);
            if is_over {
                self.promise(sweep.to, sweep.ticket, Promise::Count(sweep.count));
            } else {
                self.sweeps.push_front(sweep);
            }
        }
    }

    pub(super) fn letter_status(&self, letter: &Letter) -> MessageStatus {
        let state =
            if letter.cause == DeathCause::Expired { MessageState::Expired } else { MessageState::Dead };
        MessageStatus {
            message: letter.id,
            to: self.users[letter.to].name,
            priority: letter.priority,
            guarantee: letter.guarantee,
            state,
            attempts: u32::from(letter.attempts),
            sent_ms: letter.sent_ms,
            next_ms: None,
            expires_ms: (letter.expires_ms != NEVER).then_some(letter.expires_ms),
            client_id: letter.client_id,
        }
    }

    fn letter(&self, letter: &Letter, is_whole: bool) -> DeadLetter {
        DeadLetter {
            status: self.letter_status(letter),
            from: self.users[letter.from].name,
            cause: letter.cause,
            died_ms: letter.died_ms,
            reason: letter.reason,
            content_bytes: u32::try_from(letter.content.len()).unwrap_or(u32::MAX),
            content: is_whole.then(|| Arc::clone(&letter.content)),
        }
    }

    fn do_to_letters(&mut self, ask: &MessageAsk, which: Which, deed: Deed) -> Result<Reply, MessageRefusal> {
        self.may_change()?;
        match which {
            Which::One(message) => {
                self.do_to(message, deed)?;
                Ok(Reply::Stored(Promise::Count(1)))
            }
            Which::All if self.sweeps.len() >= limits::DEAD_LETTER_SWEEPS_MAX as usize => {
                Err(MessageRefusal::TooMany)
            }
            Which::All => {
                let Some(until) = self.dead.newest() else {
                    return Ok(Reply::Now(MessageAnswer::Count(0)));
                };
                let (to, ticket) = (ask.client.home, ask.ticket);
                self.sweeps.push_back(Sweep { to, ticket, deed, until, after: None, count: 0 });
                Ok(Reply::Told)
            }
        }
    }

    fn do_to(&mut self, message: MessageId, deed: Deed) -> Result<(), MessageRefusal> {
        if self.dead.find(message).is_none() {
            return Err(self.not_found(message));
        }
        match deed {
            Deed::Purge => {
                self.drop_letter(message);
                self.counters.dead_purged_total += 1;
            }
            Deed::Requeue => {
                if self.entries.len() >= self.config.messages_max as usize {
                    return Err(MessageRefusal::Full);
                }
                self.revive(message);
                self.counters.dead_requeued_total += 1;
            }
        }
        Ok(())
    }

    /// The letter is a message again.
    fn revive(&mut self, message: MessageId) {
        let letter = self.dead.remove(message).expect("invariant: it was looked for");
        let is_shared = letter.client_id.is_some() || letter.reply_to.is_some() || letter.via.is_some();
        let sending = if is_shared {
            let Letter { from, client_id, reply_to, via, .. } = letter;
            self.sendings.add_nameless(Sending {
                from,
                first: message,
                count: 1,
                live: 1,
                client_id,
                reply_to,
                via,
            })
        } else {
            NONE
        };
        let is_over = letter.expires_ms <= self.now_ms();
        if letter.is_durable() {
            self.changed(Item::Letter(message.0));
        }
        if let Some(reason) = letter.reason {
            self.reasons.insert(message.0, reason);
        }
        self.users[letter.from].sent += 1;
        let slot: Slot = self.entries.insert(Entry {
            sent_ms: letter.sent_ms,
            due_ms: self.now_ms(),
            expires_ms: if is_over { NEVER } else { letter.expires_ms },
            sending,
            priority: letter.priority,
            guarantee: letter.guarantee,
            receipts: letter.receipts,
            was_handed: letter.was_handed,
            was_letter: true,
            ..Entry::new(message, letter.content, letter.from, letter.to)
        });
        self.enqueue(slot);
    }
}

fn order(letter: &Letter) -> Order {
    (letter.died_ms, letter.id.0)
}
