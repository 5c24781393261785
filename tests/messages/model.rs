//! A naive office: every message in one list, every question a scan of it, nothing remembered that could be looked up. What it says is
//! what the office has to say, word for word and in the same order. It stores everything at once, and has no bound on users.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;

use tickring::mail::OfficeConfig;
use tickring::model::hasher::FixedHasher;
use tickring::model::message::{
    DeathCause, Delivery, Guarantee, MessageId, MessageOutput, MessageState, MessageStatus, Name, Priority,
    Receipt, SessionId, Via,
};
use tickring::model::order::{Client, Label};
use tickring::model::time::Now;

/// Where a message is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum At {
    Scheduled,
    Waiting,
    Resting { until_ns: u64 },
    Delivered { until_ns: u64, holders: Vec<Client> },
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) content: Arc<[u8]>,
    pub(crate) from: Name,
    pub(crate) to: Name,
    pub(crate) only: Option<SessionId>,
    pub(crate) priority: Priority,
    pub(crate) guarantee: Guarantee,
    pub(crate) receipts: bool,
    pub(crate) sent_ms: u64,
    pub(crate) due_ms: Option<u64>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) place: u64,
    pub(crate) attempts: u32,
    pub(crate) was_handed: bool,
    pub(crate) at: At,
    pub(crate) send: usize,
    pub(crate) reason: Option<Label>,
}

/// What was asked for at once.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) from: Name,
    pub(crate) first: MessageId,
    pub(crate) count: u32,
    pub(crate) client_id: Option<Label>,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) via: Option<Via>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    pub(crate) cause: DeathCause,
    pub(crate) died_ms: u64,
}

/// The name of a send, while it lives or is remembered.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) from: Name,
    pub(crate) client_id: Label,
    pub(crate) first: MessageId,
    pub(crate) count: u32,
    /// How it ended, and until when that is remembered.
    pub(crate) ended: Option<(MessageStatus, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) id: SessionId,
    pub(crate) user: Name,
    pub(crate) under_way_max: u32,
    pub(crate) unwritten: u32,
    pub(crate) unwritten_critical: u32,
    /// In the order in which they were delivered.
    pub(crate) held: Vec<MessageId>,
}

pub(crate) struct Group {
    pub(crate) name: Name,
    pub(crate) owner: Name,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) message_ttl_ms: Option<u64>,
    pub(crate) members: Vec<(Name, u32, i64)>,
    pub(crate) turn: usize,
}

pub(crate) struct Model {
    pub(crate) config: OfficeConfig,
    pub(crate) now: Now,
    pub(crate) last_id: u64,
    pub(crate) last_place: u64,
    pub(crate) session_ids: u64,
    pub(crate) messages: Vec<Message>,
    pub(crate) sends: Vec<Send>,
    pub(crate) names: Vec<Named>,
    pub(crate) dead: Vec<Dead>,
    /// In the order in which they subscribed.
    pub(crate) sessions: Vec<Session>,
    pub(crate) topics: Vec<(Name, Vec<Client>)>,
    pub(crate) groups: Vec<Group>,
    pub(crate) stirred: VecDeque<Name>,
    pub(crate) outputs: Vec<MessageOutput>,
}

impl Model {
    pub(crate) fn new(config: OfficeConfig, now: Now) -> Model {
        Model {
            config,
            now,
            last_id: now.unix_ns / 1_000,
            last_place: 0,
            session_ids: 0,
            messages: Vec::new(),
            sends: Vec::new(),
            names: Vec::new(),
            dead: Vec::new(),
            sessions: Vec::new(),
            topics: Vec::new(),
            groups: Vec::new(),
            stirred: VecDeque::new(),
            outputs: Vec::new(),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now.unix_ns / 1_000_000
    }

    pub(crate) fn index(&self, id: MessageId) -> usize {
        self.messages.iter().position(|message| message.id == id).expect("it is there")
    }

    pub(crate) fn session(&self, client: Client) -> Option<usize> {
        self.sessions.iter().position(|session| session.client == client)
    }

    pub(crate) fn of_user(&self, user: Name) -> Vec<usize> {
        (0..self.sessions.len()).filter(|at| self.sessions[*at].user == user).collect()
    }

    pub(crate) fn is_present(&self, user: Name) -> bool {
        !self.of_user(user).is_empty()
    }

    pub(crate) fn stir(&mut self, user: Name) {
        if !self.stirred.contains(&user) {
            self.stirred.push_back(user);
        }
    }

    /// Delivers what can be, and gives up what is too much, user by user.
    pub(crate) fn settle(&mut self) {
        while let Some(user) = self.stirred.pop_front() {
            while let Some((id, clients)) = self.next_for(user) {
                self.deliver(id, &clients);
            }
            self.hold_bounds(user);
        }
    }

    pub(crate) fn has_room(&self, session: usize, priority: Priority) -> bool {
        let session = &self.sessions[session];
        let is_critical = |id: &&MessageId| {
            self.messages.iter().any(|message| message.id == **id && message.priority == Priority::Critical)
        };
        let critical = session.held.iter().filter(is_critical).count() as u32;
        if priority == Priority::Critical {
            critical + session.unwritten_critical < self.config.critical_under_way_max
        } else {
            session.held.len() as u32 - critical + session.unwritten < session.under_way_max
        }
    }

    /// What goes next to the user, and to which of its connections.
    fn next_for(&self, user: Name) -> Option<(MessageId, Vec<Client>)> {
        let clients = |message: &Message| -> Vec<Client> {
            let sessions = self.of_user(user).into_iter();
            sessions
                .filter(|at| message.only.is_none_or(|only| self.sessions[*at].id == only))
                .filter(|at| self.has_room(*at, message.priority))
                .map(|at| self.sessions[at].client)
                .collect()
        };
        let counts_as = |message: &Message| {
            if message.priority == Priority::Critical {
                return 3;
            }
            let waited_ns = self.now.mono_ns.saturating_sub(message.place);
            let periods = waited_ns / (self.config.ageing_ms * 1_000_000);
            (message.priority as u64 + periods).min(2)
        };
        let waiting = self.messages.iter().filter(|message| message.to == user && message.at == At::Waiting);
        waiting
            .filter(|message| !clients(message).is_empty())
            .min_by_key(|message| (std::cmp::Reverse(counts_as(message)), message.place))
            .map(|message| (message.id, clients(message)))
    }

    fn deliver(&mut self, id: MessageId, clients: &[Client]) {
        let at = self.index(id);
        if self.is_over(at) {
            return self.end(id, MessageState::Expired, Some(DeathCause::Expired));
        }
        self.messages[at].attempts += 1;
        let is_redelivered = std::mem::replace(&mut self.messages[at].was_handed, true);
        let message = self.messages[at].clone();
        let send = self.sends[message.send].clone();
        for client in clients {
            let session = self.session(*client).expect("it has room");
            if message.guarantee == Guarantee::AtLeastOnce {
                self.sessions[session].held.push(id);
            } else if message.priority == Priority::Critical {
                self.sessions[session].unwritten_critical += 1;
            } else {
                self.sessions[session].unwritten += 1;
            }
            self.outputs.push(MessageOutput::Deliver(Delivery {
                client: *client,
                message: id,
                from: message.from,
                by: send.via,
                priority: message.priority,
                confirm: message.guarantee == Guarantee::AtLeastOnce,
                attempt: message.attempts,
                is_redelivered,
                sent_ms: message.sent_ms,
                deliver_at_ms: message.due_ms,
                expires_ms: message.expires_ms,
                client_id: send.client_id,
                reply_to: send.reply_to,
                content: Arc::clone(&message.content),
            }));
        }
        if message.guarantee == Guarantee::FireAndForget {
            return self.end(id, MessageState::Delivered, None);
        }
        let until_ns = self.now.mono_ns + self.config.ack_timeout_ms * 1_000_000;
        self.messages[at].at = At::Delivered { until_ns, holders: clients.to_vec() };
        self.receipt(id, MessageState::Delivered, None);
    }

    fn hold_bounds(&mut self, user: Name) {
        self.hold_bound(user, None);
        for at in self.of_user(user) {
            self.hold_bound(user, Some(self.sessions[at].id));
        }
    }

    fn hold_bound(&mut self, user: Name, only: Option<SessionId>) {
        loop {
            let waiting = self.waiting(user, only);
            let bytes: usize = waiting.iter().map(|message| message.content.len()).sum();
            if waiting.len() <= self.config.mailbox_messages_max as usize
                && bytes as u64 <= self.config.mailbox_bytes_max
            {
                return;
            }
            let victim = waiting.iter().min_by_key(|message| (message.priority, message.place)).unwrap().id;
            self.end(victim, MessageState::Dead, Some(DeathCause::Overflow));
        }
    }

    /// What waits in one mailbox, for room or for its next attempt.
    pub(crate) fn waiting(&self, user: Name, only: Option<SessionId>) -> Vec<Message> {
        let waits = |message: &&Message| {
            message.to == user
                && message.only == only
                && matches!(message.at, At::Waiting | At::Resting { .. })
        };
        self.messages.iter().filter(waits).cloned().collect()
    }

    pub(crate) fn is_over(&self, at: usize) -> bool {
        self.messages[at].expires_ms.is_some_and(|expires_ms| expires_ms <= self.now_ms())
    }

    /// It is accepted.
    pub(crate) fn begin_life(&mut self, id: MessageId) {
        let at = self.index(id);
        if self.messages[at].due_ms.is_none_or(|due_ms| due_ms <= self.now_ms()) {
            self.enqueue(id);
        }
    }

    pub(crate) fn enqueue(&mut self, id: MessageId) {
        let at = self.index(id);
        if self.is_over(at) {
            return self.end(id, MessageState::Expired, Some(DeathCause::Expired));
        }
        let is_there = |only: SessionId| self.sessions.iter().any(|session| session.id == only);
        if self.messages[at].only.is_some_and(|only| !is_there(only)) {
            return self.end(id, MessageState::Dead, Some(DeathCause::SessionGone));
        }
        self.last_place = (self.last_place + 1).max(self.now.mono_ns);
        self.messages[at].place = self.last_place;
        self.messages[at].at = At::Waiting;
        self.stir(self.messages[at].to);
    }

    /// It is tried again after the delay, else after the usual one.
    pub(crate) fn try_again(&mut self, id: MessageId, delay_ms: Option<u64>) {
        let at = self.index(id);
        if self.messages[at].attempts >= self.config.attempts_max {
            return self.end(id, MessageState::Dead, Some(DeathCause::Attempts));
        }
        let delay_ms = delay_ms.unwrap_or_else(|| self.back_off_ms(at));
        if delay_ms == 0 {
            return self.come_back(id);
        }
        self.messages[at].at = At::Resting { until_ns: self.now.mono_ns + delay_ms * 1_000_000 };
        self.stir(self.messages[at].to);
    }

    pub(crate) fn come_back(&mut self, id: MessageId) {
        let at = self.index(id);
        if self.is_over(at) {
            return self.end(id, MessageState::Expired, Some(DeathCause::Expired));
        }
        self.messages[at].at = At::Waiting;
        self.stir(self.messages[at].to);
    }

    fn back_off_ms(&self, at: usize) -> u64 {
        let message = &self.messages[at];
        let doubled = self.config.retry_first_ms * 2_u64.pow(message.attempts - 1);
        let mut hasher = FixedHasher::default();
        hasher.write_u64(self.config.seed);
        hasher.write_u64(message.id.0);
        hasher.write_u64(u64::from(message.attempts));
        doubled.min(self.config.retry_longest_ms) * (800 + hasher.finish() % 401) / 1_000
    }

    /// Takes it from whoever holds it.
    pub(crate) fn release(&mut self, id: MessageId) {
        let at = self.index(id);
        if let At::Delivered { .. } = self.messages[at].at {
            for session in &mut self.sessions {
                session.held.retain(|held| *held != id);
            }
            self.stir(self.messages[at].to);
        }
    }

    pub(crate) fn end(&mut self, id: MessageId, state: MessageState, cause: Option<DeathCause>) {
        self.receipt(id, state, cause);
        let at = self.index(id);
        let message = self.messages.remove(at);
        let is_letter = state == MessageState::Dead
            || (state == MessageState::Expired && message.guarantee == Guarantee::AtLeastOnce);
        if let Some(cause) = cause.filter(|_| is_letter) {
            self.dead.push(Dead { message: message.clone(), cause, died_ms: self.now_ms() });
            self.dead.sort_by_key(|dead| (dead.died_ms, dead.message.id));
            while self.dead.len() > self.config.dead_letters_max as usize {
                self.dead.remove(0);
            }
        }
        if !self.messages.iter().any(|other| other.send == message.send) {
            self.remember(&message, state);
        }
    }

    /// The last part of a send is over: its name is remembered, unless it means another one.
    fn remember(&mut self, last: &Message, state: MessageState) {
        let send = self.sends[last.send].clone();
        let Some(client_id) = send.client_id else { return };
        let is_name = |named: &Named| named.from == send.from && named.client_id == client_id;
        if self.names.iter().any(|named| is_name(named) && named.first != send.first) {
            return;
        }
        self.names.retain(|named| !is_name(named));
        let status = MessageStatus {
            message: send.first,
            state,
            next_ms: None,
            ..self.status_of(last, Some(client_id))
        };
        let until_ms = self.now_ms() + self.config.dedup_window_ms;
        let Send { from, first, count, .. } = send;
        self.names.push(Named { from, client_id, first, count, ended: Some((status, until_ms)) });
        let ended = |named: &Named| named.ended.as_ref().map(|(_, until_ms)| (*until_ms, named.first));
        while self.names.iter().filter(|named| named.ended.is_some()).count()
            > self.config.sends_remembered_max as usize
        {
            let oldest = self.names.iter().filter_map(ended).min();
            self.names.retain(|named| ended(named) != oldest);
        }
    }

    pub(crate) fn receipt(&mut self, id: MessageId, state: MessageState, cause: Option<DeathCause>) {
        let message = self.messages[self.index(id)].clone();
        if !message.receipts {
            return;
        }
        let status = MessageStatus { state, next_ms: None, ..self.status_of(&message, None) };
        let status = MessageStatus { client_id: self.sends[message.send].client_id, ..status };
        for at in self.of_user(message.from) {
            if self.has_room(at, Priority::Normal) {
                self.sessions[at].unwritten += 1;
                let receipt = Receipt { status, cause, at_ms: self.now_ms() };
                self.outputs.push(MessageOutput::Receipt { client: self.sessions[at].client, receipt });
            }
        }
    }

    pub(crate) fn status_of(&self, message: &Message, client_id: Option<Label>) -> MessageStatus {
        let unix_ms =
            |mono_ns: u64| (self.now.unix_ns + mono_ns.saturating_sub(self.now.mono_ns)) / 1_000_000;
        let (state, next_ms) = match &message.at {
            At::Scheduled => (MessageState::Scheduled, message.due_ms),
            At::Waiting => (MessageState::Queued, None),
            At::Resting { until_ns } => (MessageState::Queued, Some(unix_ms(*until_ns))),
            At::Delivered { until_ns, .. } => (MessageState::Delivered, Some(unix_ms(*until_ns))),
        };
        MessageStatus {
            message: message.id,
            to: message.to,
            priority: message.priority,
            guarantee: message.guarantee,
            state,
            attempts: message.attempts,
            sent_ms: message.sent_ms,
            next_ms,
            expires_ms: message.expires_ms,
            client_id,
        }
    }

    /// What is due by now: attempts and confirmations first, then times of the wall clock, each in the order of times, then numbers.
    pub(crate) fn timeout(&mut self) {
        let mono = |message: &Message| match message.at {
            At::Resting { until_ns } | At::Delivered { until_ns, .. } => Some(until_ns),
            At::Scheduled | At::Waiting => None,
        };
        for id in self.due(mono, self.now.mono_ns) {
            let at = self.index(id);
            if matches!(self.messages[at].at, At::Resting { .. }) {
                self.come_back(id);
            } else {
                self.release(id);
                self.try_again(id, None);
            }
        }
        let kept_ms = self.config.kept_ms;
        let wall = |message: &Message| match message.at {
            At::Scheduled => message.due_ms,
            At::Waiting | At::Resting { .. } => {
                let kept_until_ms = message.sent_ms.max(message.due_ms.unwrap_or(0)) + kept_ms;
                Some(message.expires_ms.unwrap_or(u64::MAX).min(kept_until_ms))
            }
            At::Delivered { .. } => None,
        };
        for id in self.due(wall, self.now_ms()) {
            let at = self.index(id);
            if self.messages[at].at == At::Scheduled {
                self.enqueue(id);
            } else if self.is_over(at) {
                self.end(id, MessageState::Expired, Some(DeathCause::Expired));
            } else {
                self.end(id, MessageState::Dead, Some(DeathCause::TooOld));
            }
        }
        let now_ms = self.now_ms();
        self.names.retain(|named| named.ended.as_ref().is_none_or(|(_, until_ms)| *until_ms > now_ms));
        self.groups.retain(|group| group.expires_ms.is_none_or(|expires_ms| expires_ms > now_ms));
        self.settle();
    }

    fn due(&self, deadline: impl Fn(&Message) -> Option<u64>, until: u64) -> Vec<MessageId> {
        let mut due: Vec<(u64, MessageId)> = self
            .messages
            .iter()
            .filter_map(|message| Some((deadline(message)?, message.id)))
            .filter(|(at, _)| *at <= until)
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }
}
