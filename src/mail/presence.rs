//! Connections that come and go, and who is told so. PURE. Invariant: a user is present while a connection of its subscribes to
//! messages, or is held (`keeping.rs`). Who has no room for the news is told how it is once there is room: only what changes and changes back is left out.

use super::entries::{NONE, Slot};
use super::sessions::Watch;
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{
    DeathCause, MessageAnswer, MessageAsk, MessageOutput, MessageRefusal, MessageState, Name, Priority,
    Reception,
};

impl Office {
    pub(super) fn subscribe(
        &mut self,
        ask: &MessageAsk,
        reception: Reception,
        topics: &[Name],
    ) -> Result<Reply, MessageRefusal> {
        if !ask.is_connection {
            return Err(MessageRefusal::NeedsConnection);
        }
        self.part_with_former_user(ask);
        let known = self.sessions.of_client(ask.client);
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        topics.dedup();
        self.check_topics(known, &topics)?;
        let under_way_max = reception.under_way_max.clamp(1, limits::MESSAGES_UNDER_WAY_MAX);
        let session = match known {
            Some(session) => {
                self.sessions[session].under_way_max = under_way_max;
                session
            }
            None => self.open_session(ask, under_way_max)?,
        };
        let left = std::mem::take(&mut self.sessions[session].topics);
        left.into_iter().for_each(|topic| self.topics.leave(topic, session));
        self.sessions[session].topics = topics.iter().map(|topic| self.topics.join(topic, session)).collect();
        let user = self.sessions[session].user;
        self.stir(user);
        Ok(Reply::Now(MessageAnswer::Subscribed {
            session: self.sessions[session].id,
            waiting: u64::from(self.mailboxes[self.users[user].mailbox].waiting),
        }))
    }

    pub(super) fn unsubscribe(&mut self, ask: &MessageAsk) -> Result<Reply, MessageRefusal> {
        let session = self.session_of(ask)?;
        self.close_session(session);
        Ok(Reply::Now(MessageAnswer::Done))
    }

    /// What the connection had is given back, and what was for it alone is a dead letter.
    pub(super) fn close_session(&mut self, session: Slot) {
        let topics = std::mem::take(&mut self.sessions[session].topics);
        topics.into_iter().for_each(|topic| self.topics.leave(topic, session));
        self.watch(session, &[]);
        let user = self.sessions[session].user;
        self.users[user].sessions.retain(|other| *other != session);
        while let Some((entry, is_held)) = self.sessions.take_back(&mut self.entries, session) {
            if !is_held {
                self.journal.begin();
                self.return_at_once(entry);
            }
        }
        let mailbox = self.sessions[session].mailbox;
        if mailbox != NONE {
            while let Some(entry) = self.mailboxes.victim(&self.entries, mailbox) {
                self.journal.begin();
                self.end(entry, MessageState::Dead, Some(DeathCause::SessionGone));
            }
            self.mailboxes.close(mailbox);
        }
        self.sessions.remove(session);
        if !self.users[user].is_present() {
            self.users.present -= 1;
            self.tell_presence(user);
        }
        self.stir(user);
        self.users.untie(user);
    }

    pub(super) fn presence(&self, users: &[Name]) -> Result<Reply, MessageRefusal> {
        if users.len() > limits::PRESENCE_WATCHED_MAX as usize {
            return Err(MessageRefusal::TooMany);
        }
        Ok(Reply::Now(MessageAnswer::Presence(users.iter().map(|user| self.presence_of(user)).collect())))
    }

    pub(super) fn presence_of_group(&self, group: &Name) -> Result<Reply, MessageRefusal> {
        let group = self.groups.find(group).ok_or(MessageRefusal::UnknownGroup)?;
        let members = self.groups[group].members.iter();
        let presence = members.map(|member| self.presence_of(&self.users[member.user].name)).collect();
        Ok(Reply::Now(MessageAnswer::Presence(presence)))
    }

    pub(super) fn subscribe_presence(
        &mut self,
        ask: &MessageAsk,
        users: &[Name],
    ) -> Result<Reply, MessageRefusal> {
        let session = self.session_of(ask)?;
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        if users.len() > limits::PRESENCE_WATCHED_MAX as usize {
            return Err(MessageRefusal::TooMany);
        }
        let is_crowded = |user: Slot| {
            let watchers = &self.users[user].watchers;
            watchers.len() >= limits::PRESENCE_WATCHERS_MAX as usize && !watchers.contains(&session)
        };
        if users.iter().filter_map(|name| self.users.find(name)).any(is_crowded) {
            return Err(MessageRefusal::TooMany);
        }
        self.watch(session, &users);
        if self.sessions[session].watching.len() < users.len() {
            self.watch(session, &[]);
            return Err(MessageRefusal::TooMany);
        }
        Ok(Reply::Now(MessageAnswer::Presence(users.iter().map(|user| self.presence_of(user)).collect())))
    }

    /// Tells the connection of the users that it could not be told of, as they are now, as far as there is room.
    pub(super) fn tell_owed(&mut self, session: Slot) {
        for at in 0..self.sessions[session].watching.len() {
            if self.sessions[session].owed == 0 || !self.has_room(session) {
                return;
            }
            let Watch { user, is_owed } = self.sessions[session].watching[at];
            if is_owed {
                let presence = self.presence_of(&self.users[user].name);
                let of = &mut self.sessions[session];
                of.watching[at].is_owed = false;
                of.owed -= 1;
                of.count_unwritten(Priority::Normal);
                let client = of.client;
                self.outputs.push_back(MessageOutput::Presence { client, presence });
                self.counters.presence_total += 1;
            }
        }
    }

    /// The connection that asks, if it subscribes to messages for this user.
    fn session_of(&mut self, ask: &MessageAsk) -> Result<Slot, MessageRefusal> {
        if !ask.is_connection {
            return Err(MessageRefusal::NeedsConnection);
        }
        self.part_with_former_user(ask);
        self.sessions.of_client(ask.client).ok_or(MessageRefusal::NotSubscribed)
    }

    /// A connection that is another account's now is another connection.
    fn part_with_former_user(&mut self, ask: &MessageAsk) {
        if let Some(session) = self.sessions.of_client(ask.client)
            && self.users[self.sessions[session].user].name != ask.user
        {
            self.close_session(session);
        }
    }

    fn check_topics(&self, known: Option<Slot>, topics: &[Name]) -> Result<(), MessageRefusal> {
        let is_crowded = |topic: &Name| {
            let subscribers = self.topics.subscribers(topic);
            let is_in = known.is_some_and(|session| subscribers.contains(&session));
            subscribers.len() >= limits::MESSAGE_TOPIC_SUBSCRIBERS_MAX as usize && !is_in
        };
        if topics.len() > limits::MESSAGE_TOPICS_PER_SESSION_MAX as usize || topics.iter().any(is_crowded) {
            return Err(MessageRefusal::TooMany);
        }
        Ok(())
    }

    fn open_session(&mut self, ask: &MessageAsk, under_way_max: u32) -> Result<Slot, MessageRefusal> {
        let user = self.user(&ask.user)?;
        if self.sessions.len() >= self.config.sessions_max as usize
            || self.users[user].sessions.len() >= self.config.sessions_per_user_max as usize
        {
            return Err(MessageRefusal::TooMany);
        }
        let session = self.sessions.add(ask.client, user, under_way_max);
        self.note_session(user, session);
        Ok(session)
    }

    /// The user has one more connection.
    pub(super) fn note_session(&mut self, user: Slot, session: Slot) {
        self.users.tie(user);
        self.users[user].sessions.push(session);
        if self.users[user].sessions.len() == 1 && !self.let_go(user) {
            self.users.present += 1;
            self.tell_presence(user);
        }
    }

    /// The connection is told of these users, and of no others; of fewer where there are too many users.
    fn watch(&mut self, session: Slot, users: &[Name]) {
        for Watch { user, .. } in std::mem::take(&mut self.sessions[session].watching) {
            self.users[user].watchers.retain(|other| *other != session);
            self.users.untie(user);
        }
        self.sessions[session].owed = 0;
        for name in users {
            let Ok(user) = self.user(name) else { return };
            self.users.tie(user);
            self.users[user].watchers.push(session);
            self.sessions[session].watching.push(Watch { user, is_owed: false });
        }
    }

    /// The user came or went.
    pub(super) fn tell_presence(&mut self, user: Slot) {
        self.users[user].since_ms = Some(self.now_ms());
        self.note_change(user);
        self.tell_watchers(user);
    }

    pub(super) fn tell_watchers(&mut self, user: Slot) {
        for at in 0..self.users[user].watchers.len() {
            let session = self.users[user].watchers[at];
            let of = &mut self.sessions[session];
            if let Some(watch) = of.watching.iter_mut().find(|watch| watch.user == user && !watch.is_owed) {
                watch.is_owed = true;
                of.owed += 1;
            }
            self.tell_owed(session);
        }
    }
}
