//! Lists of all backends as one, and requests that wait for them. PURE. Home: the control thread.

use std::collections::BTreeSet;

use crate::dialect::json_rpc::scan::Value;
use crate::limits;

use super::super::catalog::{Knowledge, List, Listed, Next};
use super::super::errors::Failure;
use super::super::message::{self, Outcome, member, string};
use super::{
    Asked, Asker, BackendKey, LinkId, News, Output, Parked, Phase, Relay, Request, Session, SessionId, Timer,
    UnderWay,
};

/// Whether a request may wait for what is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Until(u64),
    /// It is answered by what is known.
    Over,
}

impl Relay {
    /// The links that a session sees, in the order of the configuration; its own are started where they are not.
    pub(super) fn visible(&mut self, session: SessionId, now_ns: u64) -> Vec<LinkId> {
        let mut visible = Vec::with_capacity(self.order.len());
        for place in 0..self.order.len() {
            visible.extend(self.link_for(self.order[place], session, now_ns));
        }
        visible
    }

    /// Whether it is known what these have of a kind; what is not is asked for.
    pub(super) fn settle(&mut self, links: &[LinkId], kind: Listed, now_ns: u64) -> bool {
        let mut is_settled = true;
        for link in links {
            let known = &self.links[link];
            match known.phase {
                Phase::Down { .. } => {}
                Phase::Starting => is_settled = false,
                Phase::Up { .. } if !known.capabilities.contains(kind.capability()) => {}
                Phase::Up { .. } => match known.lists[kind as usize].knowledge() {
                    Knowledge::Known => {}
                    Knowledge::Asked => is_settled = false,
                    Knowledge::Stale => {
                        is_settled = false;
                        self.ask_list(*link, kind, None, now_ns);
                    }
                },
            }
        }
        is_settled
    }

    fn ask_list(&mut self, link: LinkId, kind: Listed, cursor: Option<&str>, now_ns: u64) {
        let Some(known) = self.links.get_mut(&link) else { return };
        if cursor.is_none() {
            known.lists[kind as usize].ask();
        }
        let timeout_ns = self.settings_of(link).request_timeout_ns;
        let id = self.next_id();
        let due_ns = now_ns + timeout_ns;
        self.enter(id, Request { link, due_ns, limit_ns: due_ns, asked: Asked::List(kind) });
        let params = cursor.map(|cursor| format!(r#"{{"cursor":{cursor}}}"#));
        self.send(link, message::request(id, kind.method(), params.as_deref()));
    }

    /// A page came.
    pub(super) fn listed(&mut self, link: LinkId, kind: Listed, outcome: Outcome<'_>, now_ns: u64) {
        let Outcome::Result(result) = outcome else { return self.list_failed(link, kind, now_ns) };
        let Some(known) = self.links.get_mut(&link) else { return };
        let backend = known.backend;
        let prefix = &self.backends[&backend].settings.prefix;
        match known.lists[kind as usize].page(kind, prefix, result) {
            Next::Page(cursor) => self.ask_list(link, kind, Some(&cursor), now_ns),
            Next::Again => self.ask_list(link, kind, None, now_ns),
            Next::Done { left_out } => {
                if left_out > 0 {
                    let news = News::LeftOut { list: kind.member(), entries: left_out };
                    self.outputs.push_back(Output::News { backend, news });
                }
                self.report_conflict(link, kind);
                self.unpark(now_ns);
            }
        }
    }

    /// It has none, or does not tell.
    pub(super) fn list_failed(&mut self, link: LinkId, kind: Listed, now_ns: u64) {
        if let Some(known) = self.links.get_mut(&link) {
            known.lists[kind as usize].refuse();
        }
        self.unpark(now_ns);
    }

    /// The first name that the gateway itself or an earlier backend keeps, or that keeps one from a later, among those that all
    /// clients share.
    fn report_conflict(&mut self, link: LinkId, kind: Listed) {
        let Some(known) = self.links.get(&link) else { return };
        let own = &known.lists[kind as usize];
        let gateways =
            self.own_of(kind).and_then(|list| list.entries().iter().find(|one| own.contains(&one.key)));
        if let Some(entry) = gateways {
            let news = News::Conflict { list: kind.member(), name: entry.key.clone(), keeper: None };
            self.outputs.push_back(Output::News { backend: known.backend, news });
            return;
        }
        let (links, mut is_behind) = (self.shared_links(), false);
        for other in &links {
            if *other == link {
                is_behind = true;
                continue;
            }
            let other = &self.links[other];
            let list = &other.lists[kind as usize];
            if let Some(entry) = list.entries().iter().find(|entry| own.contains(&entry.key)) {
                let (keeper, backend) =
                    if is_behind { (known.backend, other.backend) } else { (other.backend, known.backend) };
                let news =
                    News::Conflict { list: kind.member(), name: entry.key.clone(), keeper: Some(keeper) };
                self.outputs.push_back(Output::News { backend, news });
                return;
            }
        }
    }

    /// A client's request for a list.
    pub(super) fn list(
        &mut self,
        asker: &Asker,
        kind: Listed,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) {
        let cursor = string(params, "cursor");
        let skipped: Result<usize, _> = cursor.as_deref().unwrap_or("0").parse();
        let Ok(skipped) = skipped else {
            return self.refuse(asker, &Failure::Params("cursor is none of ours"));
        };
        let visible = self.visible(asker.session, now_ns);
        if !self.settle(&visible, kind, now_ns) && patience != Patience::Over {
            return self.park(asker, kind.method(), params, patience);
        }
        let text = self.page(&visible, kind, skipped);
        self.answer(asker, message::result(&asker.id, &text));
    }

    /// A page of all their lists, behind so many entries.
    fn page(&self, links: &[LinkId], kind: Listed, skipped: usize) -> String {
        let mut text = format!(r#"{{"{}":["#, kind.member());
        let lists = links.iter().map(|link| &self.links[link].lists[kind as usize]);
        let entries = self.own_of(kind).into_iter().chain(lists).flat_map(List::entries);
        let (mut seen, mut told) = (BTreeSet::new(), 0);
        let mut next = None;
        for entry in entries {
            // The first of a name has it.
            if !seen.insert(&*entry.key) || seen.len() <= skipped {
                continue;
            }
            if told == limits::MCP_PAGE_ENTRIES_MAX || (told > 0 && text.len() > limits::MCP_PAGE_BYTES_MAX) {
                next = Some(seen.len() - 1);
                break;
            }
            if told > 0 {
                text.push(',');
            }
            text.push_str(&entry.text);
            told += 1;
        }
        text.push(']');
        if let Some(next) = next {
            text.push_str(&format!(r#","nextCursor":"{next}""#));
        }
        text.push('}');
        text
    }

    /// A request that waits until more is known.
    pub(super) fn park(
        &mut self,
        asker: &Asker,
        method: &str,
        params: Option<Value<'_>>,
        patience: Patience,
    ) {
        let Patience::Until(due_ns) = patience else {
            unreachable!("invariant: what is out of patience is answered");
        };
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        self.last_id += 1;
        let id = self.last_id;
        session.requests.insert(asker.id.clone(), UnderWay::Parked(id));
        let params = params.map(|params| params.text().into());
        self.parked.insert(id, Parked { asker: asker.clone(), method: method.into(), params, due_ns });
        self.timers.insert((due_ns, Timer::Parked(id)));
    }

    /// More is known: each that waits is looked at again.
    pub(super) fn unpark(&mut self, now_ns: u64) {
        for (id, parked) in std::mem::take(&mut self.parked) {
            self.timers.remove(&(parked.due_ns, Timer::Parked(id)));
            let patience = Patience::Until(parked.due_ns);
            self.resume(parked, patience, now_ns);
        }
    }

    pub(super) fn resume(&mut self, parked: Parked, patience: Patience, now_ns: u64) {
        let Parked { asker, method, params, .. } = parked;
        if let Some(session) = self.sessions.get_mut(&asker.session) {
            session.requests.remove(&asker.id);
        }
        let params = params.as_deref().and_then(message::whole);
        self.request(&asker, &method, params, patience, now_ns);
    }

    /// A backend says that a list has changed.
    pub(super) fn list_changed(&mut self, link: LinkId, method: &str) {
        let Some(known) = self.links.get_mut(&link) else { return };
        let mut was_known = false;
        for kind in Listed::ALL.into_iter().filter(|kind| kind.changed() == method) {
            was_known |= known.lists[kind as usize].invalidate();
        }
        // Who has not asked since has been told already.
        if was_known {
            self.tell_all(link, &message::notification(method, None));
        }
    }

    /// To each session that sees a link and listens.
    pub(super) fn tell_all(&mut self, link: LinkId, text: &str) {
        let Some(known) = self.links.get(&link) else { return };
        for session in self.listeners(known.backend, known.owner) {
            self.tell(session, None, text.to_owned());
        }
    }

    /// Sessions that see a backend, or the one that has this link to it, and hear of changes.
    pub(super) fn listeners(&self, backend: BackendKey, owner: Option<SessionId>) -> Vec<SessionId> {
        let needs = self.backends[&backend].settings.needs;
        let hears = |session: &Session| session.is_ready && session.rights >= needs;
        match owner {
            Some(owner) => {
                self.sessions.get(&owner).filter(|one| hears(one)).map(|_| owner).into_iter().collect()
            }
            None => self.sessions.iter().filter(|(_, one)| hears(one)).map(|(id, _)| *id).collect(),
        }
    }

    /// The names of capabilities that a backend's `initialize` tells.
    pub(super) fn capabilities(result: Value<'_>) -> impl Iterator<Item = Box<str>> {
        const CAPABILITIES_MAX: usize = 64;
        let told = member(result, "capabilities");
        told.into_iter()
            .flat_map(Value::members)
            .filter_map(|(name, _)| name.string().map(|name| name.as_ref().into()))
            .take(CAPABILITIES_MAX)
    }
}
