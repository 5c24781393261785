//! Backends that come, go and change while clients are there. PURE. Home: the control thread.
//!
//! Invariants: what becomes of one backend does not touch another; a link that leaves gets no new request, answers those that it has
//! within its backend's timeout, and is closed then; a subscription is at one link of its session, or nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::super::catalog::{List, Listed};
use super::super::message;
use super::links::LISTS_TOLD;
use super::{
    Asked, Backend, BackendKey, BackendSettings, Counters, Departure, Effect, Instances, LinkId, News,
    Output, Phase, Relay, SessionId, SessionKind, Timer,
};

/// Who is to be told of what, each once.
type Told = BTreeSet<(SessionId, &'static str)>;

impl Relay {
    /// Goes by these backends from now on, in the order of the configuration. One whose key is known is what it was, and only who
    /// may see it and its bounds may differ. One that is not among them any more goes, and what its clients had of it is had of the
    /// one that has its name now, if there is one.
    pub fn set_backends(&mut self, wanted: Vec<(BackendKey, BackendSettings)>, now_ns: u64) {
        let order: Vec<BackendKey> = wanted.iter().map(|(key, _)| *key).collect();
        let before = std::mem::replace(&mut self.order, order);
        let (staying, gone): (Vec<BackendKey>, Vec<BackendKey>) =
            before.iter().partition(|key| self.order.contains(key));
        let mut told = Told::new();
        for key in &gone {
            self.note_changes(*key, &mut told);
        }
        if !self.order.iter().filter(|key| staying.contains(key)).eq(&staying) {
            // Another may have a name now, and the lists are in another order.
            staying.iter().for_each(|key| self.note_changes(*key, &mut told));
        }
        for (key, settings) in wanted {
            if self.backends.contains_key(&key) {
                self.amend(key, settings, &mut told, now_ns);
            } else {
                self.add_backend(key, settings, &mut told, now_ns);
            }
        }
        for key in gone {
            self.dismiss(key, now_ns);
        }
        if before != self.order {
            self.judge_conflicts();
        }
        for (session, changed) in told {
            self.tell(session, None, message::notification(changed, None));
        }
        self.unpark(now_ns);
    }

    fn add_backend(&mut self, key: BackendKey, settings: BackendSettings, told: &mut Told, now_ns: u64) {
        let instances = settings.instances;
        let backend =
            Backend { settings, shared: None, links: 0, counters: Counters::default(), leaves: None };
        self.backends.insert(key, backend);
        match instances {
            // Clients are told when it is up.
            Instances::Shared => {
                let link = self.add_link(key, None, now_ns);
                if let Some(backend) = self.backends.get_mut(&key) {
                    backend.shared = Some(link);
                }
            }
            // It is started by the next request of each, and what it has is not known before.
            Instances::PerSession => {
                for session in self.listeners(key, None) {
                    told.extend(LISTS_TOLD.map(|kind| (session, kind.changed())));
                }
            }
        }
    }

    /// One that stays what it is.
    fn amend(&mut self, key: BackendKey, settings: BackendSettings, told: &mut Told, now_ns: u64) {
        let Some(backend) = self.backends.get_mut(&key) else { return };
        debug_assert!(backend.leaves.is_none(), "a key that was given again");
        debug_assert_eq!(
            (&backend.settings.prefix, backend.settings.instances),
            (&settings.prefix, settings.instances)
        );
        let (was, is) = (backend.settings.needs, settings.needs);
        backend.settings = settings;
        let shared = backend.shared;
        let concerned = self.sessions.iter().filter(|(_, one)| (one.rights >= was) != (one.rights >= is));
        let concerned: Vec<(SessionId, bool)> = concerned.map(|(id, one)| (*id, one.rights >= is)).collect();
        for (session, sees) in concerned {
            let own = self.sessions[&session].links.get(&key).copied();
            let changes = match shared.or(own) {
                Some(link) => self.changes_of(link),
                None => LISTS_TOLD.map(Listed::changed).to_vec(),
            };
            if self.sessions[&session].is_ready {
                told.extend(changes.into_iter().map(|changed| (session, changed)));
            }
            if !sees {
                self.hide(key, session, now_ns);
            }
        }
    }

    /// A session may see a backend no more. What it has asked is answered.
    fn hide(&mut self, key: BackendKey, session: SessionId, now_ns: u64) {
        let own = self.sessions.get_mut(&session).and_then(|one| one.links.remove(&key));
        let Some(link) = own.or(self.backends[&key].shared) else { return };
        let of_session = self.links[&link].subscribers.iter().filter(|(_, all)| all.contains(&session));
        let uris: Vec<Box<str>> = of_session.map(|(uri, _)| uri.clone()).collect();
        for uri in uris {
            self.unsubscribe(link, session, &uri, now_ns);
        }
        if own.is_some() {
            self.leave(link, now_ns);
        }
    }

    /// One that is not to be there any more, as it is.
    fn dismiss(&mut self, key: BackendKey, now_ns: u64) {
        let links = self.links_of(key);
        let Some(backend) = self.backends.get(&key) else { return };
        let namesake = |other: &&BackendKey| self.backends[*other].settings.name == backend.settings.name;
        let heir = self.order.iter().find(namesake).copied();
        for (other, backend) in &mut self.backends {
            // Also of what is leaving since an earlier change.
            if *other == key || backend.leaves.is_some_and(|departure| departure.heir == Some(key)) {
                backend.leaves = Some(Departure { heir });
            }
        }
        for link in links {
            let Some(known) = self.links.get_mut(&link) else { continue };
            let (owner, subscribers) = (known.owner, std::mem::take(&mut known.subscribers));
            if let Some(owner) = owner {
                if let Some(session) = self.sessions.get_mut(&owner) {
                    session.links.remove(&key);
                }
                // Who had it has the new one.
                heir.and_then(|heir| self.link_for(heir, owner, now_ns));
            }
            for (uri, sessions) in subscribers {
                for session in sessions {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        session.subscriptions -= 1;
                    }
                    if let Some(link) = heir.and_then(|heir| self.link_for(heir, session, now_ns)) {
                        self.subscribe(link, session, &uri, now_ns);
                    }
                }
            }
            if let Some(heir) = heir {
                self.hand_names_on(link, heir);
            }
            self.leave(link, now_ns);
        }
        self.forget_if_gone(key);
    }

    /// What a link that goes has listed is that of the one in its place until that tells what it has, as where one was started
    /// again: no other is asked under these names meanwhile.
    fn hand_names_on(&mut self, link: LinkId, heir: BackendKey) {
        let (Some(known), Some(backend)) = (self.links.get(&link), self.backends.get(&heir)) else { return };
        let place = match known.owner {
            Some(owner) => self.sessions.get(&owner).and_then(|one| one.links.get(&heir).copied()),
            None => backend.shared,
        };
        let Some(place) = place.filter(|_| self.settings_of(link).prefix == backend.settings.prefix) else {
            return;
        };
        let Some(known) = self.links.get_mut(&link) else { return };
        let (mut lists, capabilities) = (std::mem::take(&mut known.lists), known.capabilities.clone());
        for list in &mut lists {
            list.give_up();
            list.invalidate();
        }
        if let Some(known) = self.links.get_mut(&place) {
            (known.lists, known.capabilities) = (lists, capabilities);
        }
    }

    /// Gets no new request. Who waits for an answer of it does so for the backend's timeout at most.
    fn leave(&mut self, link: LinkId, now_ns: u64) {
        let by_ns = now_ns.saturating_add(self.settings_of(link).request_timeout_ns);
        let Some(known) = self.links.get_mut(&link) else { return };
        known.is_leaving = true;
        known.untold.clear();
        known.lists = std::array::from_fn(|_| List::default());
        if let Phase::Down { until_ns } = known.phase {
            self.timers.remove(&(until_ns, Timer::Reopen(link)));
        }
        for id in known.requests.clone() {
            let Some(request) = self.requests.get_mut(&id) else { continue };
            match request.asked {
                // What waits for it is sent then.
                Asked::Introduction => {}
                Asked::List(_) | Asked::Own => {
                    self.take_request(id);
                }
                Asked::ForClient { .. } => {
                    request.limit_ns = request.limit_ns.min(by_ns);
                    // It may be from before the timeout was made shorter.
                    if request.due_ns > by_ns {
                        self.timers.remove(&(request.due_ns, Timer::Request(id)));
                        request.due_ns = by_ns;
                        self.timers.insert((by_ns, Timer::Request(id)));
                    }
                }
            }
        }
        self.released.push(link);
    }

    /// Closes those that are leaving and owe no answer.
    pub(super) fn close_released(&mut self) {
        while let Some(link) = self.released.pop() {
            // One may have been released more than once, also before something else was asked of it.
            let Some(known) = self.links.get(&link).filter(|known| !known.owes()) else { continue };
            for id in known.questions.clone() {
                self.withdraw_question(id);
            }
            self.remove_link(link);
        }
    }

    /// A link of a backend is no more.
    pub(super) fn link_is_gone(&mut self, backend: BackendKey) {
        if let Some(known) = self.backends.get_mut(&backend) {
            known.links -= 1;
        }
        self.forget_if_gone(backend);
    }

    fn forget_if_gone(&mut self, backend: BackendKey) {
        if self.backends.get(&backend).is_some_and(|known| known.leaves.is_some() && known.links == 0) {
            self.backends.remove(&backend);
            self.outputs.push_back(Output::News { backend, news: News::Left });
        }
    }

    /// By which a session has a backend, if it may see it; its own is started where it is not.
    pub(super) fn link_for(&mut self, key: BackendKey, session: SessionId, now_ns: u64) -> Option<LinkId> {
        let (backend, known) = (self.backends.get(&key)?, self.sessions.get(&session)?);
        if backend.leaves.is_some() || backend.settings.needs > known.rights {
            return None;
        }
        match (backend.settings.instances, known.kind) {
            (Instances::Shared, SessionKind::Lasting | SessionKind::Passing) => backend.shared,
            (Instances::PerSession, SessionKind::Lasting) => Some(self.own_link(session, key, now_ns)),
            (Instances::PerSession, SessionKind::Passing) => None,
        }
    }

    /// What a good answer of a backend changes here.
    pub(super) fn take_effect(&mut self, link: LinkId, session: SessionId, effect: Effect, now_ns: u64) {
        if effect == Effect::None {
            return;
        }
        // One that leaves has no subscriptions, its heir has them.
        let (key, is_leaving) = match self.links.get(&link) {
            Some(known) => (known.backend, known.is_leaving),
            None => return,
        };
        let heir = self.backends[&key].leaves.and_then(|departure| departure.heir);
        let place = if is_leaving { heir } else { Some(key) };
        let Some(place) = place.and_then(|place| self.link_for(place, session, now_ns)) else { return };
        match effect {
            Effect::None => {}
            Effect::Subscribed(uri) if is_leaving => self.subscribe(place, session, &uri, now_ns),
            Effect::Subscribed(uri) => self.subscribed(place, session, uri),
            Effect::Unsubscribed(uri) if is_leaving => self.unsubscribe(place, session, &uri, now_ns),
            Effect::Unsubscribed(uri) => self.unsubscribed(place, session, &uri),
        }
    }

    /// Has a backend tell a session of a resource, which the client has not asked of this one itself.
    fn subscribe(&mut self, link: LinkId, session: SessionId, uri: &str, now_ns: u64) {
        let is_first = !self.links[&link].subscribers.contains_key(uri);
        self.subscribed(link, session, uri.into());
        if is_first {
            // Where it is not up, that follows once it is.
            self.tell_interest(link, uri, now_ns);
        }
    }

    fn unsubscribe(&mut self, link: LinkId, session: SessionId, uri: &str, now_ns: u64) {
        self.unsubscribed(link, session, uri);
        if !self.links[&link].subscribers.contains_key(uri) {
            self.tell_interest(link, uri, now_ns);
        }
    }

    /// Links of a backend that get requests.
    fn links_of(&self, key: BackendKey) -> Vec<LinkId> {
        let shared = self.backends.get(&key).and_then(|backend| backend.shared);
        let own = self.sessions.values().filter_map(|session| session.links.get(&key).copied());
        shared.into_iter().chain(own).collect()
    }

    /// Who sees a backend is to be told that its lists are others.
    fn note_changes(&self, key: BackendKey, told: &mut Told) {
        for link in self.links_of(key) {
            let changes = self.changes_of(link);
            for session in self.listeners(key, self.links[&link].owner) {
                told.extend(changes.iter().map(|changed| (session, *changed)));
            }
        }
    }

    /// Says of each backend that all clients share the first name that is another's by now.
    fn judge_conflicts(&mut self) {
        let mut found = Vec::new();
        for kind in Listed::ALL {
            let own = self.own_of(kind).into_iter().flat_map(List::entries);
            let mut keepers: BTreeMap<&str, Option<BackendKey>> =
                own.map(|entry| (&*entry.key, None)).collect();
            for key in &self.order {
                let Some(link) = self.backends[key].shared else { continue };
                let mut first = None;
                for entry in self.links[&link].lists[kind as usize].entries() {
                    let keeper = *keepers.entry(&entry.key).or_insert(Some(*key));
                    if keeper != Some(*key) && first.is_none() {
                        first = Some(News::Conflict { list: kind.member(), name: entry.key.clone(), keeper });
                    }
                }
                found.extend(first.map(|news| Output::News { backend: *key, news }));
            }
        }
        self.outputs.extend(found);
    }
}
