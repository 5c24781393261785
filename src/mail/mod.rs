//! The office of messages: the one writer of mailboxes, schedules, dead letters, groups and of who is present. PURE. Home: the
//! venue's thread, for all shards.
//!
//! What goes in: `handle_ask`, `handle_written`, `handle_departure`, `handle_store`, `handle_timeout`. What comes out: `poll_output` for
//! clients, `poll_batch` for the store, `poll_timeout`. Of a cluster's owner presence is kept outside, too: `keep_presence`, `handle_kept`, `poll_kept`. A driver gives in what there is, then takes all outputs, then, where the store
//! has room, one batch a turn. Where there is a store, its first word is given in before the first request.
//!
//! Invariants: each ask has exactly one answer, and it comes before what it leads to. A message is in one structure at a time
//! (`entries::State`), and ends once. Nothing that is to be delivered at least once is handed out, or said to be accepted, before the
//! store has it; its removal follows its end. Everything is bounded, by the configuration and by `limits.rs`.

mod accepting;
mod asks;
mod config;
mod confirming;
mod counters;
mod dead;
mod delivering;
mod ending;
mod entries;
mod grouping;
mod groups;
mod journal;
mod keeping;
mod letters;
mod loading;
mod mailboxes;
mod presence;
mod processing;
mod queries;
pub mod record;
mod sendings;
mod sessions;
mod storing;
#[cfg(test)]
mod tests;
mod timers;
mod topics;
mod users;

use std::collections::{BTreeMap, VecDeque};

pub use self::config::OfficeConfig;
pub use self::counters::{OfficeCounters, OfficeGauges};

use self::dead::DeadLetters;
use self::entries::{Entries, NEVER, Slot};
use self::groups::Groups;
use self::journal::{Item, Journal, Promise};
use self::keeping::Keeping;
use self::letters::Sweep;
use self::mailboxes::Mailboxes;
use self::sendings::Sendings;
use self::sessions::Sessions;
use self::timers::Timers;
use self::topics::Topics;
use self::users::Users;
use crate::limits;
use crate::model::ids::{HomeId, Ticket};
use crate::model::message::{
    MessageAnswer, MessageAsk, MessageOutput, MessageRefusal, Name, Presence, SessionId,
};
use crate::model::order::{Client, Label};
use crate::model::storage::{StoreBatch, StoreState, StoreWord};
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// See the file's head.
#[derive(Debug)]
pub struct Office {
    config: OfficeConfig,
    now: Now,
    entries: Entries,
    sendings: Sendings,
    users: Users,
    sessions: Sessions,
    topics: Topics,
    groups: Groups,
    mailboxes: Mailboxes,
    dead: DeadLetters,
    /// Why a message was rejected last, by its number.
    reasons: BTreeMap<u64, Label>,
    /// When messages are due, over or too old, in milliseconds since 1970; when they are tried again, on the monotonic clock.
    wall: Timers,
    mono: Timers,
    journal: Journal,
    keeping: Keeping,
    store: StoreState,
    is_loaded: bool,
    /// The newest time that the store knows of.
    stored_ms: u64,
    last_id: u64,
    last_place: u64,
    scheduled: u32,
    unconfirmed: u64,
    sweeps: VecDeque<Sweep>,
    /// Users of whom something may be delivered, each once.
    stirred: VecDeque<Slot>,
    /// Room to reckon in: whom a send is for, and to which connections a message goes.
    receivers: Vec<(Slot, SessionId)>,
    chosen: Vec<Slot>,
    outputs: VecDeque<MessageOutput>,
    counters: OfficeCounters,
}

/// How a request is answered.
#[derive(Debug)]
enum Reply {
    Now(MessageAnswer),
    /// Once all that it changed is on the disk.
    Stored(Promise),
    /// It is answered already, or will be.
    Told,
}

impl Office {
    /// An office without a store until it is told of one: `StoreState::Absent`.
    #[must_use]
    pub fn new(config: OfficeConfig, now: Now) -> Office {
        Office {
            config: config.capped(),
            now,
            entries: Entries::default(),
            sendings: Sendings::default(),
            users: Users::default(),
            sessions: Sessions::default(),
            topics: Topics::default(),
            groups: Groups::above(now.unix_ns / 1_000),
            mailboxes: Mailboxes::default(),
            dead: DeadLetters::default(),
            reasons: BTreeMap::new(),
            wall: Timers::default(),
            mono: Timers::default(),
            journal: Journal::default(),
            keeping: Keeping::default(),
            store: StoreState::Absent,
            is_loaded: false,
            stored_ms: 0,
            last_id: now.unix_ns / 1_000,
            last_place: 0,
            scheduled: 0,
            unconfirmed: 0,
            sweeps: VecDeque::new(),
            stirred: VecDeque::new(),
            receivers: Vec::new(),
            chosen: Vec::new(),
            outputs: VecDeque::new(),
            counters: OfficeCounters::default(),
        }
    }

    /// Judges by this from the next call on.
    pub fn set_config(&mut self, config: OfficeConfig) {
        self.config = config.capped();
    }

    /// One request; `content` is that of a send, as the dialect has validated it, and empty otherwise.
    pub fn handle_ask(&mut self, ask: &MessageAsk, content: &[u8], now: Now) {
        self.begin(now);
        self.counters.asks_total += 1;
        if !self.defer(ask) {
            self.serve(ask, content);
        }
        self.settle();
    }

    /// The shard has written so many of what the connection was sent and does not confirm: deliveries with `confirm` false, receipts and
    /// presence, each one.
    pub fn handle_written(&mut self, client: Client, count: u32, now: Now) {
        self.begin(now);
        let Some(session) = self.sessions.of_client(client) else { return };
        self.sessions[session].count_written(count);
        self.tell_owed(session);
        self.stir(self.sessions[session].user);
        self.settle();
    }

    /// The connection is gone, or another account's or nobody's now.
    pub fn handle_departure(&mut self, client: Client, now: Now) {
        self.begin(now);
        self.answer_deferred_of(client);
        if let Some(session) = self.sessions.of_client(client) {
            self.close_session(session);
        }
        self.settle();
    }

    /// What the store says.
    pub fn handle_store(&mut self, word: StoreWord, now: Now) {
        self.begin(now);
        match word {
            StoreWord::Entries { table, entries } => self.load(table, &entries),
            StoreWord::Loaded => self.end_loading(),
            StoreWord::Stored { through } => self.handle_stored(through),
            StoreWord::Refused { number, fault } => self.handle_refused(number, fault),
            StoreWord::State(state) => self.set_store(state),
        }
        self.settle();
    }

    /// Does what is due: as far as a turn should go.
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin(now);
        let steps = limits::OFFICE_STEPS_PER_TIMEOUT;
        // Half of a turn's steps for each clock, so that neither waits for all of the other.
        let mut left = steps - self.run_mono(steps / 2);
        left -= self.run_wall(left);
        left -= self.run_mono(left);
        left -= self.forget_names(left);
        left -= self.end_groups(left);
        left -= self.run_keeping(left);
        self.sweep(left);
        self.settle();
    }

    /// When [`Office::handle_timeout`] has something to do next, on the monotonic clock, in nanoseconds; 0 for at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if !self.sweeps.is_empty() {
            return Some(0);
        }
        let wall = [self.wall.first(), self.sendings.oldest(), self.groups.expiries.first()];
        let wall_ns = wall.into_iter().flatten().min().map(|at_ms| {
            let ahead_ns = at_ms.saturating_mul(NS_PER_MS).saturating_sub(self.now.unix_ns);
            self.now.mono_ns + ahead_ns.min(limits::WALL_CLOCK_LOOK_NS)
        });
        [wall_ns, self.mono.first(), self.keeping.poll_timeout()].into_iter().flatten().min()
    }

    /// What is to be told next.
    pub fn poll_output(&mut self) -> Option<MessageOutput> {
        self.outputs.pop_front()
    }

    /// What is to be stored next, if the store takes batches and there is something; it is then under way until the store answers it.
    pub fn poll_batch(&mut self) -> Option<StoreBatch> {
        self.next_batch()
    }

    #[must_use]
    pub fn counters(&self) -> OfficeCounters {
        self.counters
    }

    #[must_use]
    pub fn gauges(&self) -> OfficeGauges {
        OfficeGauges {
            messages: self.entries.len() as u64,
            message_bytes: self.entries.bytes(),
            queued: self.mailboxes.queued(),
            resting: self.mailboxes.resting() as u64,
            unconfirmed: self.unconfirmed,
            scheduled: u64::from(self.scheduled),
            storing: u64::from(self.journal.storing),
            dead_letters: self.dead.len() as u64,
            dead_letter_bytes: self.dead.bytes(),
            users: self.users.len() as u64,
            users_present: u64::from(self.users.present),
            users_held: self.keeping.held() as u64,
            sessions: self.sessions.len() as u64,
            groups: self.groups.len() as u64,
            topics: self.topics.len() as u64,
            names: self.sendings.done_len() as u64,
            batches_under_way: self.journal.batches_under_way() as u64,
            changes_waiting: self.journal.changes_waiting() as u64,
            store: self.store,
        }
    }

    /// Bytes of memory that the office holds, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
            + self.sendings.memory_bytes()
            + self.users.memory_bytes()
            + self.sessions.memory_bytes()
            + self.topics.memory_bytes()
            + self.groups.memory_bytes()
            + self.mailboxes.memory_bytes()
            + self.dead.memory_bytes()
            + self.wall.memory_bytes()
            + self.mono.memory_bytes()
            + self.journal.memory_bytes()
            + self.keeping.memory_bytes()
            + self.reasons.len() * 2 * size_of::<(u64, Label)>()
            + self.outputs.capacity() * size_of::<MessageOutput>()
    }

    fn begin(&mut self, now: Now) {
        self.now = now;
        self.journal.begin();
    }

    fn serve(&mut self, ask: &MessageAsk, content: &[u8]) {
        match self.ask(ask, content) {
            Ok(Reply::Now(answer)) => self.answer(ask.client.home, ask.ticket, Ok(answer)),
            Ok(Reply::Stored(promise)) => self.promise(ask.client.home, ask.ticket, promise),
            Ok(Reply::Told) => {}
            Err(refusal) => self.answer(ask.client.home, ask.ticket, Err(refusal)),
        }
    }

    /// Delivers what can be, then sees to the bounds of mailboxes.
    fn settle(&mut self) {
        while let Some(user) = self.stirred.pop_front() {
            self.users[user].is_stirred = false;
            self.dispatch(user);
            self.hold_bounds(user);
        }
    }

    /// Something may be delivered to the user.
    fn stir(&mut self, user: Slot) {
        if !std::mem::replace(&mut self.users[user].is_stirred, true) {
            self.stirred.push_back(user);
        }
    }

    fn answer(&mut self, to: HomeId, ticket: Ticket, outcome: Result<MessageAnswer, MessageRefusal>) {
        self.counters.answers_total += 1;
        if let Err(refusal) = outcome {
            self.counters.refusals_total += 1;
            match refusal {
                MessageRefusal::TooMany | MessageRefusal::SenderFull | MessageRefusal::Full => {
                    self.counters.full_total += 1;
                }
                MessageRefusal::StoreAbsent
                | MessageRefusal::StoreLoading
                | MessageRefusal::StoreDiskFull
                | MessageRefusal::StoreFaulty
                | MessageRefusal::StoreAway
                | MessageRefusal::StoreTaken
                | MessageRefusal::StoreBusy => self.counters.store_refusals_total += 1,
                MessageRefusal::MessageNotFound
                | MessageRefusal::UnknownUser
                | MessageRefusal::UnknownSession
                | MessageRefusal::UnknownGroup
                | MessageRefusal::GroupExists
                | MessageRefusal::EmptyGroup
                | MessageRefusal::NotAMember
                | MessageRefusal::TooLate
                | MessageRefusal::InvalidTime
                | MessageRefusal::NotDelivered
                | MessageRefusal::NeedsConnection
                | MessageRefusal::NotSubscribed
                | MessageRefusal::NoProcessor
                | MessageRefusal::OwnerAway
                | MessageRefusal::OwnerLost => {}
            }
        }
        self.outputs.push_back(MessageOutput::Answer { to, ticket, outcome });
    }

    fn now_ms(&self) -> u64 {
        self.now.unix_ns / NS_PER_MS
    }

    /// A time of the monotonic clock as clients are told it.
    fn unix_ms(&self, mono_ns: u64) -> u64 {
        (self.now.unix_ns + mono_ns.saturating_sub(self.now.mono_ns)) / NS_PER_MS
    }

    /// Something of which there is a record is other than before.
    fn changed(&mut self, item: Item) {
        if self.store != StoreState::Absent {
            self.journal.change(item);
        }
    }

    /// # Errors
    /// [`MessageRefusal::TooMany`]
    fn user(&mut self, name: &Name) -> Result<Slot, MessageRefusal> {
        self.users.ensure(name, self.config.users_max, &mut self.mailboxes).ok_or(MessageRefusal::TooMany)
    }

    fn presence_of(&self, name: &Name) -> Presence {
        let user = self.users.find(name).map(|slot| &self.users[slot]);
        Presence {
            user: *name,
            is_present: user.is_some_and(|user| user.is_told_present()),
            since_ms: user.and_then(|user| user.since_ms),
            sessions: user.map_or(0, |user| u32::try_from(user.sessions.len()).unwrap_or(u32::MAX)),
        }
    }

    fn arm_wall(&mut self, slot: Slot, at_ms: u64) {
        if at_ms != NEVER {
            self.entries[slot].wall_ms = at_ms;
            self.wall.set(at_ms, self.entries[slot].id.0, slot);
        }
    }

    fn arm_mono(&mut self, slot: Slot, at_ns: u64) {
        self.entries[slot].mono_ns = at_ns;
        self.mono.set(at_ns, self.entries[slot].id.0, slot);
    }

    fn disarm(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot];
        let (wall_ms, mono_ns) =
            (std::mem::replace(&mut entry.wall_ms, NEVER), std::mem::replace(&mut entry.mono_ns, NEVER));
        if wall_ms != NEVER {
            self.wall.clear(wall_ms, entry.id.0, slot);
        }
        if mono_ns != NEVER {
            self.mono.clear(mono_ns, entry.id.0, slot);
        }
    }
}
