//! Presence beyond one office: what is kept of it outside, for the office of the next owner of a cluster's market, and what is held of
//! what the one before has left. PURE.
//!
//! A user of whom something was left is *held*: it is told as present, though no connection of it is known, until one is or the grace is
//! over. Without [`Office::keep_presence`] nothing of this happens.
//!
//! Invariants: who is held has no connection. Nothing is to be written before all that was left is read. Each user waits once to be
//! written, and then as it is at that moment; who waits or is kept is not forgotten. Users who are away wait in a bounded number, beyond which what is
//! kept of them is left to be forgotten by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Office;
use super::entries::Slot;
use crate::limits;
use crate::model::message::{MessageAsk, MessageRequest};
use crate::model::order::Client;
use crate::model::presence::{KeptPresence, KeptWord};
use crate::model::time::Now;

/// What is kept of one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// `None`: something may be, and nobody knows what, or it is to be written again.
    since_ms: Option<u64>,
    renew_at_ns: u64,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// All that was left is read: what changes is to be written.
    is_read: bool,
    /// Until when requests that ask who is present wait for that.
    answer_at_ns: Option<u64>,
    asks: VecDeque<MessageAsk>,
    held: BTreeSet<Slot>,
    held_until_ns: u64,
    /// Users of whom something else is to be kept than is, each once.
    changed: BTreeMap<u64, Slot>,
    /// How often one was added to them.
    changes: u64,
    /// When what is kept is to be written again, and of whom.
    renewals: BTreeSet<(u64, Slot)>,
    renew_ns: u64,
    next_write_ns: u64,
}

impl Keeping {
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.asks.iter().map(|ask| size_of::<MessageAsk>() + named_bytes(&ask.request)).sum::<usize>()
            + self.held.len() * 2 * size_of::<Slot>()
            + (self.changed.len() + self.renewals.len()) * 2 * size_of::<(u64, Slot)>()
    }

    /// When there is something to do next, on the monotonic clock, in nanoseconds.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        // Once it is read who was there, what is left of them is answered at once.
        let answer = (!self.asks.is_empty()).then(|| self.answer_at_ns.unwrap_or(0));
        let held = (!self.held.is_empty()).then_some(self.held_until_ns);
        let write = (!self.changed.is_empty()).then_some(self.next_write_ns);
        let renewal = self.renewals.first().map(|(at_ns, _)| *at_ns);
        [answer, held, write, renewal].into_iter().flatten().min()
    }
}

impl Office {
    /// Presence is kept outside from here on: the driver reads what was left there, and gives it in by [`Office::handle_kept`]. Called before the first request.
    pub fn keep_presence(&mut self, now: Now) {
        self.keeping.answer_at_ns = Some(now.mono_ns + limits::PRESENCE_READ_NS);
        self.keeping.held_until_ns = now.mono_ns + limits::PRESENCE_GRACE_NS;
    }

    /// What is told of what is kept.
    pub fn handle_kept(&mut self, word: &KeptWord, now: Now) {
        self.begin(now);
        match word {
            KeptWord::Reading { renew_ns } => self.keeping.renew_ns = *renew_ns,
            KeptWord::Entries(entries) => entries.iter().for_each(|entry| self.take_kept(entry)),
            KeptWord::Read => self.end_reading(),
            KeptWord::Unwritten(entry) => self.handle_unwritten(entry),
        }
        self.settle();
    }

    /// What is to be written next, if it is time for it. What is not written is to be told by [`KeptWord::Unwritten`].
    pub fn poll_kept(&mut self, now: Now) -> Option<KeptPresence> {
        for _ in 0..limits::OFFICE_STEPS_PER_TIMEOUT {
            let user = *self.keeping.changed.first_key_value()?.1;
            let of = &self.users[user];
            let since_ms = of.is_told_present().then_some(of.since_ms).flatten();
            let is_as_kept = match (of.kept, since_ms) {
                (None, None) => true,
                (Some(kept), Some(since_ms)) => kept.since_ms == Some(since_ms),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !is_as_kept && now.mono_ns < self.keeping.next_write_ns {
                return None;
            }
            self.take_from_changed(user);
            if is_as_kept {
                continue;
            }
            let from_ns = now.mono_ns.saturating_sub(limits::PRESENCE_WRITES_AT_ONCE * WRITE_GAP_NS);
            self.keeping.next_write_ns = self.keeping.next_write_ns.max(from_ns) + WRITE_GAP_NS;
            let renew_at_ns = now.mono_ns.saturating_add(self.keeping.renew_ns);
            self.set_kept(user, since_ms.map(|_| Kept { since_ms, renew_at_ns }));
            self.counters.presence_kept_total += 1;
            return Some(KeptPresence { user: self.users[user].name, since_ms });
        }
        None
    }

    /// Whether a request waits until it is known who was present.
    pub(super) fn defer(&mut self, ask: &MessageAsk) -> bool {
        let tells_presence = matches!(
            ask.request,
            MessageRequest::Presence { .. }
                | MessageRequest::PresenceOfGroup { .. }
                | MessageRequest::SubscribePresence { .. }
                | MessageRequest::GroupMembers { .. }
        );
        let waits = tells_presence
            && self.keeping.answer_at_ns.is_some()
            && self.keeping.asks.len() < limits::PRESENCE_ASKS_WAITING_MAX;
        if waits {
            self.keeping.asks.push_back(ask.clone());
        } else if ask.is_connection && (tells_presence || matches!(ask.request, MessageRequest::Unsubscribe))
        {
            // Where no more may wait, or none is to: the last that a connection asks is what holds.
            self.answer_deferred_of(ask.client);
        }
        waits
    }

    /// What a connection has asked is answered by what is known: it is about to be gone, or another account's, or asks for something else.
    pub(super) fn answer_deferred_of(&mut self, client: Client) {
        if !self.keeping.asks.iter().any(|ask| ask.client == client) {
            return;
        }
        let asks = std::mem::take(&mut self.keeping.asks);
        let (own, others) = asks.into_iter().partition::<VecDeque<_>, _>(|ask| ask.client == client);
        self.keeping.asks = others;
        own.iter().for_each(|ask| self.serve(ask, &[]));
    }

    /// A user has a connection again; whether it was held until now.
    pub(super) fn let_go(&mut self, user: Slot) -> bool {
        let was_held = std::mem::take(&mut self.users[user].is_held);
        if was_held {
            self.keeping.held.remove(&user);
            self.counters.presence_seen_again_total += 1;
        }
        was_held
    }

    /// A user came or went.
    pub(super) fn note_change(&mut self, user: Slot) {
        let of = &self.users[user];
        if !self.keeping.is_read || !KeptPresence::is_kept_of(&of.name) {
            return;
        }
        if !of.is_told_present() && self.keeping.changed.len() >= self.unwritten_max() {
            self.take_from_changed(user);
            self.set_kept(user, None);
            self.counters.presence_unwritten_total += 1;
        } else if of.changed.is_none() {
            self.keeping.changes += 1;
            self.users[user].changed = Some(self.keeping.changes);
            self.keeping.changed.insert(self.keeping.changes, user);
            self.users.tie(user);
        }
    }

    /// Does what is due, as far as so many steps: how many it took.
    pub(super) fn run_keeping(&mut self, steps: u32) -> u32 {
        let now_ns = self.now.mono_ns;
        let mut done = 0;
        if self.keeping.answer_at_ns.is_none_or(|at_ns| at_ns <= now_ns) {
            done += self.answer_deferred(steps);
        }
        while done < steps && now_ns >= self.keeping.held_until_ns {
            let Some(user) = self.keeping.held.pop_first() else { break };
            // Who watches is a step each.
            done += 1 + u32::try_from(self.users[user].watchers.len()).expect("invariant: bounded by limits");
            self.users[user].is_held = false;
            self.users.present -= 1;
            self.counters.presence_lapsed_total += 1;
            self.tell_presence(user);
        }
        while done < steps
            && let Some((at_ns, user)) = self.keeping.renewals.first().copied()
            && at_ns <= now_ns
        {
            done += 1;
            self.forget_what_is_kept(user);
        }
        done.min(steps)
    }

    fn take_kept(&mut self, entry: &KeptPresence) {
        let Some(since_ms) = entry.since_ms.filter(|_| KeptPresence::is_kept_of(&entry.user)) else { return };
        // Room stays for those who come.
        let users_max = self.config.users_max as usize;
        let has_room = self.users.len() < users_max - users_max / 4;
        if self.users.find(&entry.user).is_none() && !has_room {
            self.counters.presence_unheld_total += 1;
            return;
        }
        let Ok(user) = self.user(&entry.user) else { return };
        let now_ns = self.now.mono_ns;
        let renew_at_ns = now_ns.saturating_add(self.keeping.renew_ns);
        self.set_kept(user, Some(Kept { since_ms: Some(since_ms), renew_at_ns }));
        // The clock of who wrote it may be ahead: then it is written anew.
        let since_ms = since_ms.min(self.now_ms());
        let of = &mut self.users[user];
        if of.is_told_present() {
            of.since_ms = Some(since_ms);
        } else if of.since_ms.is_none() && now_ns < self.keeping.held_until_ns {
            (of.is_held, of.since_ms) = (true, Some(since_ms));
            self.keeping.held.insert(user);
            self.users.present += 1;
            self.counters.presence_held_total += 1;
            self.tell_watchers(user);
        }
        // Else it came and went since, or the news is too old: once all is read, that is written.
    }

    /// What is other than was left is to be written.
    fn end_reading(&mut self) {
        self.keeping.is_read = true;
        let all: Vec<Slot> = self.users.slots().collect();
        for user in all {
            let of = &self.users[user];
            let is_other = match of.kept {
                None => of.is_told_present(),
                Some(kept) => !of.is_told_present() || kept.since_ms != of.since_ms,
            };
            if is_other {
                self.note_change(user);
            }
        }
        self.answer_deferred(limits::OFFICE_STEPS_PER_TIMEOUT);
    }

    fn handle_unwritten(&mut self, entry: &KeptPresence) {
        self.keeping.next_write_ns = self.now.mono_ns + limits::PRESENCE_REWRITE_NS;
        if let Some(user) = self.users.find(&entry.user) {
            self.forget_what_is_kept(user);
        }
    }

    /// Nobody knows what is kept of the user, or it is too old: it is to be written again.
    fn forget_what_is_kept(&mut self, user: Slot) {
        self.set_kept(user, Some(Kept { since_ms: None, renew_at_ns: u64::MAX }));
        self.note_change(user);
    }

    /// Answers what waits, as far as so many steps: how many it took. Each user that is told of is one.
    fn answer_deferred(&mut self, steps: u32) -> u32 {
        self.keeping.answer_at_ns = None;
        let mut done = 0;
        while done < steps
            && let Some(ask) = self.keeping.asks.pop_front()
        {
            done += self.users_told_of(&ask.request).max(1);
            self.serve(&ask, &[]);
        }
        done
    }

    fn users_told_of(&self, request: &MessageRequest) -> u32 {
        let mut count = 0;
        if let MessageRequest::Presence { users } | MessageRequest::SubscribePresence { users } = request {
            count = users.len();
        }
        if let MessageRequest::PresenceOfGroup { group } | MessageRequest::GroupMembers { group } = request {
            count = self.groups.find(group).map_or(0, |group| self.groups[group].members.len());
        }
        u32::try_from(count).expect("invariant: bounded by limits")
    }

    fn take_from_changed(&mut self, user: Slot) {
        if let Some(change) = self.users[user].changed.take() {
            self.keeping.changed.remove(&change);
            self.users.untie(user);
        }
    }

    fn set_kept(&mut self, user: Slot, kept: Option<Kept>) {
        let before = std::mem::replace(&mut self.users[user].kept, kept);
        if let Some(before) = before {
            self.keeping.renewals.remove(&(before.renew_at_ns, user));
        }
        if let Some(kept) = kept.filter(|kept| kept.renew_at_ns != u64::MAX) {
            self.keeping.renewals.insert((kept.renew_at_ns, user));
        }
        match (before.is_some(), kept.is_some()) {
            (false, true) => self.users.tie(user),
            (true, false) => self.users.untie(user),
            (true, true) | (false, false) => {}
        }
    }

    fn unwritten_max(&self) -> usize {
        limits::PRESENCE_UNWRITTEN_MAX.min(self.config.users_max as usize / 4)
    }
}

const WRITE_GAP_NS: u64 = 1_000_000_000 / limits::PRESENCE_WRITES_PER_S;

/// What a request holds of names.
fn named_bytes(request: &MessageRequest) -> usize {
    if let MessageRequest::Presence { users } | MessageRequest::SubscribePresence { users } = request {
        return size_of_val::<[_]>(users);
    }
    0
}
