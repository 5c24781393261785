//! Links to backends: started, introduced, cut and started again. PURE. Home: the control thread.

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::json_rpc::scan::Value;
use crate::limits;

use super::super::catalog::{List, Listed};
use super::super::errors::Failure;
use super::super::message::{self, Outcome, member, quoted, string};
use super::super::version::{Revision, SHARED_CAPABILITIES, introduction};
use super::clients::LEVELS;
use super::{
    Asked, BackendKey, Instances, Link, LinkId, News, Output, Phase, Relay, Request, SessionId, Timer,
};

/// Kinds of lists whose changes clients are told; templates are told with resources.
pub(super) const LISTS_TOLD: [Listed; 3] = [Listed::Tools, Listed::Prompts, Listed::Resources];

impl Relay {
    /// A link that is being started.
    pub(super) fn add_link(&mut self, backend: BackendKey, owner: Option<SessionId>, now_ns: u64) -> LinkId {
        let link = LinkId(self.next_id());
        if let Some(backend) = self.backends.get_mut(&backend) {
            debug_assert_eq!(owner.is_none(), backend.settings.instances == Instances::Shared);
            backend.links += 1;
        }
        self.links.insert(
            link,
            Link {
                backend,
                owner,
                phase: Phase::Down { until_ns: now_ns },
                capabilities: BTreeSet::new(),
                lists: std::array::from_fn(|_| List::default()),
                requests: BTreeSet::new(),
                questions: BTreeSet::new(),
                held: BTreeMap::new(),
                level: None,
                subscribers: BTreeMap::new(),
                untold: BTreeSet::new(),
                own_requests: 0,
                pause_ns: 0,
                is_leaving: false,
            },
        );
        self.open(link, now_ns);
        link
    }

    /// A session's own, started if it may be.
    pub(super) fn own_link(&mut self, session: SessionId, backend: BackendKey, now_ns: u64) -> LinkId {
        let known = self.sessions.get(&session).and_then(|session| session.links.get(&backend)).copied();
        let Some(link) = known else {
            let link = self.add_link(backend, Some(session), now_ns);
            if let Some(session) = self.sessions.get_mut(&session) {
                session.links.insert(backend, link);
            }
            return link;
        };
        if let Phase::Down { until_ns } = self.links[&link].phase
            && until_ns <= now_ns
        {
            self.open(link, now_ns);
        }
        link
    }

    fn open(&mut self, link: LinkId, now_ns: u64) {
        let Some(known) = self.links.get_mut(&link) else { return };
        known.phase = Phase::Starting;
        let backend = known.backend;
        let capabilities = match known.owner.and_then(|owner| self.sessions.get(&owner)) {
            Some(owner) => owner.capabilities.clone(),
            None => SHARED_CAPABILITIES.into(),
        };
        self.count(link, |counters| counters.starts_total += 1);
        let params = introduction(&capabilities, self.settings.gateway_version);
        let id = self.next_id();
        let due_ns = now_ns + limits::MCP_INITIALIZE_NS;
        self.enter(id, Request { link, due_ns, limit_ns: due_ns, asked: Asked::Introduction });
        self.outputs.push_back(Output::Open { link, backend });
        // Ahead of what is held until it is answered.
        let text = message::request(id, "initialize", Some(&params));
        self.outputs.push_back(Output::ToServer { link, text });
    }

    /// It has answered its `initialize`.
    pub(super) fn introduced(&mut self, link: LinkId, outcome: Outcome<'_>, now_ns: u64) {
        let result = match outcome {
            Outcome::Result(result) => result,
            Outcome::Error(_) => return self.break_link(link, "it refuses initialize", now_ns),
        };
        let speaks = string(Some(result), "protocolVersion").and_then(|version| Revision::parse(&version));
        if speaks.is_none() {
            return self.break_link(link, "it speaks no revision of MCP that is known here", now_ns);
        }
        let Some(known) = self.links.get_mut(&link) else { return };
        known.phase = Phase::Up { since_ns: now_ns };
        known.capabilities = Relay::capabilities(result).collect();
        known.level = None;
        for kind in Listed::ALL {
            // What was known is from before it ended, and it may not have such a list any more.
            let list = &mut known.lists[kind as usize];
            if known.capabilities.contains(kind.capability()) {
                list.invalidate();
            } else {
                *list = List::default();
            }
        }
        let (backend, held) = (known.backend, std::mem::take(&mut known.held));
        let subscribed: Vec<Box<str>> = known.subscribers.keys().cloned().collect();
        let is_leaving = known.is_leaving;
        self.send(link, message::notification("notifications/initialized", None));
        if !is_leaving {
            self.level_link(link, now_ns);
        }
        for uri in subscribed {
            self.tell_interest(link, &uri, now_ns);
        }
        for text in held.into_values() {
            self.outputs.push_back(Output::ToServer { link, text });
        }
        if is_leaving {
            // Nobody is told of what it has.
            return;
        }
        self.outputs.push_back(Output::News { backend, news: News::Up });
        // Those that were told of all others' entries before it was up.
        for changed in self.changes_of(link) {
            self.tell_all(link, &message::notification(changed, None));
        }
        self.unpark(now_ns);
    }

    /// What says that the lists of a link have changed, of all kinds that it has.
    pub(super) fn changes_of(&self, link: LinkId) -> Vec<&'static str> {
        let capabilities = &self.links[&link].capabilities;
        let offered = LISTS_TOLD.into_iter().filter(|kind| capabilities.contains(kind.capability()));
        offered.map(Listed::changed).collect()
    }

    /// A backend is to know whether anybody wants to hear of a resource.
    pub(super) fn tell_interest(&mut self, link: LinkId, uri: &str, now_ns: u64) {
        let Some(known) = self.links.get_mut(&link) else { return };
        // One that is not up hears of all that is wanted once it is; what nobody wants any more may go untold.
        let has_room =
            known.untold.len() < limits::MCP_UNTOLD_PER_LINK_MAX || known.subscribers.contains_key(uri);
        if matches!(known.phase, Phase::Up { .. }) && has_room {
            known.untold.insert(uri.into());
            self.tell_interests(link, now_ns);
        }
    }

    /// So many at a time: a backend is cut that has too much waiting for it.
    pub(super) fn tell_interests(&mut self, link: LinkId, now_ns: u64) {
        while let Some(known) = self.links.get_mut(&link)
            && known.own_requests < limits::MCP_OWN_REQUESTS_PER_LINK_MAX
            && let Some(uri) = known.untold.pop_first()
        {
            let is_wanted = known.subscribers.contains_key(&uri);
            let method = if is_wanted { "resources/subscribe" } else { "resources/unsubscribe" };
            let params = format!(r#"{{"uri":{}}}"#, quoted(&uri));
            self.send_own(link, method, &params, now_ns);
        }
    }

    /// A request of the gateway's own, whose answer does not matter.
    fn send_own(&mut self, link: LinkId, method: &str, params: &str, now_ns: u64) {
        if !self.links.get(&link).is_some_and(|known| matches!(known.phase, Phase::Up { .. })) {
            return;
        }
        let id = self.next_id();
        let due_ns = now_ns + limits::MCP_INITIALIZE_NS;
        self.enter(id, Request { link, due_ns, limit_ns: due_ns, asked: Asked::Own });
        self.send(link, message::request(id, method, Some(params)));
    }

    /// The driver says that it ended, or could not be started.
    pub fn handle_link_down(&mut self, link: LinkId, now_ns: u64) {
        let Some(known) = self.links.get_mut(&link) else { return };
        let (was_up, up_ns) = match known.phase {
            Phase::Down { .. } => return,
            Phase::Starting => (false, 0),
            Phase::Up { since_ns } => (true, now_ns.saturating_sub(since_ns)),
        };
        let (least_ns, most_ns) = limits::MCP_REOPEN_NS;
        known.pause_ns = if up_ns >= limits::MCP_STEADY_NS {
            least_ns
        } else {
            (known.pause_ns * 2).clamp(least_ns, most_ns)
        };
        let (pause_ns, backend, owner) = (known.pause_ns, known.backend, known.owner);
        let until_ns = now_ns + pause_ns;
        known.phase = Phase::Down { until_ns };
        known.held.clear();
        known.untold.clear();
        known.lists.iter_mut().for_each(List::give_up);
        let (requests, questions) = (known.requests.clone(), known.questions.clone());
        if known.is_leaving {
            self.released.push(link);
        } else {
            self.outputs.push_back(Output::News { backend, news: News::Down { pause_ns } });
            if owner.is_none() {
                self.timers.insert((until_ns, Timer::Reopen(link)));
            }
        }
        self.count(link, |counters| counters.ends_total += u64::from(was_up));
        for id in questions {
            self.withdraw_question(id);
        }
        for id in requests {
            let request = self.take_request(id);
            if let Some(Request { asked: Asked::ForClient { asker, .. }, .. }) = request {
                self.count(link, |counters| counters.failed_total += 1);
                let failure = if was_up { Failure::Lost } else { Failure::Unavailable };
                self.refuse(&asker, &failure);
            }
        }
        self.unpark(now_ns);
    }

    /// It can't be spoken to: it is ended, and started again later.
    pub(super) fn break_link(&mut self, link: LinkId, why: &'static str, now_ns: u64) {
        let Some(known) = self.links.get(&link) else { return };
        let backend = known.backend;
        self.outputs.push_back(Output::News { backend, news: News::Refused(why) });
        self.outputs.push_back(Output::Close { link });
        self.handle_link_down(link, now_ns);
    }

    pub(super) fn reopen(&mut self, link: LinkId, now_ns: u64) {
        if self.links.get(&link).is_some_and(|link| matches!(link.phase, Phase::Down { .. })) {
            self.open(link, now_ns);
        }
    }

    /// Nobody wants anything of it any more.
    pub(super) fn remove_link(&mut self, link: LinkId) {
        let Some(known) = self.links.get(&link) else { return };
        let (requests, questions) = (known.requests.clone(), known.questions.clone());
        for id in questions {
            self.take_question(id);
        }
        for id in requests {
            self.take_request(id);
        }
        self.outputs.push_back(Output::Close { link });
        if let Some(Link { backend, .. }) = self.links.remove(&link) {
            self.link_is_gone(backend);
        }
    }

    /// Tells a backend the least level that anybody wants of its messages, where that has changed.
    pub(super) fn level_link(&mut self, link: LinkId, now_ns: u64) {
        let Some(known) = self.links.get(&link) else { return };
        if !matches!(known.phase, Phase::Up { .. }) || !known.capabilities.contains("logging") {
            return;
        }
        let wanted = match known.owner {
            Some(owner) => self.sessions.get(&owner).and_then(|session| session.level),
            None => self.sessions.values().filter_map(|session| session.level).min(),
        };
        let Some(wanted) = wanted.filter(|wanted| known.level != Some(*wanted)) else { return };
        if let Some(known) = self.links.get_mut(&link) {
            known.level = Some(wanted);
        }
        let params = format!(r#"{{"level":"{}"}}"#, LEVELS[wanted]);
        self.send_own(link, "logging/setLevel", &params, now_ns);
    }

    pub(super) fn subscribed(&mut self, link: LinkId, session: SessionId, uri: Box<str>) {
        let Some(known) = self.links.get_mut(&link) else { return };
        if known.subscribers.entry(uri).or_default().insert(session)
            && let Some(session) = self.sessions.get_mut(&session)
        {
            session.subscriptions += 1;
        }
    }

    pub(super) fn unsubscribed(&mut self, link: LinkId, session: SessionId, uri: &str) {
        let Some(known) = self.links.get_mut(&link) else { return };
        let Some(all) = known.subscribers.get_mut(uri) else { return };
        if all.remove(&session)
            && let Some(session) = self.sessions.get_mut(&session)
        {
            session.subscriptions -= 1;
        }
        if all.is_empty() {
            known.subscribers.remove(uri);
        }
    }

    /// A session is over: what it alone was told of is asked for no more.
    pub(super) fn unsubscribe_all(&mut self, link: LinkId, session: SessionId, now_ns: u64) {
        let Some(known) = self.links.get_mut(&link) else { return };
        let mut deserted = Vec::new();
        known.subscribers.retain(|uri, all| {
            let was_in = all.remove(&session);
            if was_in && all.is_empty() {
                deserted.push(uri.clone());
            }
            !all.is_empty()
        });
        for uri in deserted {
            self.tell_interest(link, &uri, now_ns);
        }
    }

    /// A resource has changed: to those who asked to be told, of it or of what it is part of.
    pub(super) fn resource_updated(&mut self, link: LinkId, params: Option<Value<'_>>) {
        let uri = params.and_then(|params| member(params, "uri")).and_then(Value::string);
        let (Some(uri), Some(known)) = (uri, self.links.get(&link)) else { return };
        let concerned: BTreeSet<SessionId> = known
            .subscribers
            .iter()
            .filter(|(asked, _)| uri.starts_with(&***asked))
            .flat_map(|(_, all)| all.iter().copied())
            .collect();
        let text = message::notification("notifications/resources/updated", params.map(Value::text));
        for session in concerned {
            self.tell(session, None, text.clone());
        }
    }
}
