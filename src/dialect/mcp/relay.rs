//! Between clients and backends: sessions, links, and what is under way. PURE. Home: the control thread.
//!
//! Its driver's contract: it tells what came (`handle_*`) and takes all that is to be done (`poll_output`) after each; it calls
//! `handle_timeout` when `poll_timeout` says so. Ids, also those of sessions and links, are never used twice, so what comes late
//! for one that is over is recognised, dropped and counted.
//!
//! Invariants: each request of a client has one answer, or was cancelled by it; what a backend says goes to the client that it
//! concerns and to no other; every table has a bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::auth::Level;
use crate::dialect::tools::Tool;
use crate::limits;

use super::catalog::List;
use super::errors::Failure;
use super::events::StreamId;
use super::message;
use super::version::Revision;

mod backends;
mod clients;
mod links;
mod lists;
mod own;
mod questions;
mod routing;
mod servers;

/// A client's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A backend as it is configured: what it is changed to is another one. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendKey(pub u64);

/// A backend as one or all clients have it; the same after it was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// A call of one of the gateway's own tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnCallId(pub u64);

#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's own tools, which everybody sees: before those of all backends.
    pub own: &'static [Tool],
    pub gateway_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    pub name: Box<str>,
    /// What stands before its names, its two underscores included; empty for nothing.
    pub prefix: Box<str>,
    pub instances: Instances,
    /// The level of the scope `backend` that a client needs to see it; none for everybody.
    pub needs: Level,
    pub request_timeout_ns: u64,
    /// Requests under way at a time, for each link.
    pub requests_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// One for all clients.
    Shared,
    /// One for each.
    PerSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    Lasting,
    /// For one request that came without a session: it has what is shared.
    Passing,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A message to a client; `stream` is the one of the request that it belongs to, if any.
    ToClient {
        session: SessionId,
        stream: Option<StreamId>,
        text: String,
        is_answer: bool,
    },
    /// A request of this stream has no answer: the client has cancelled it.
    Cancelled {
        session: SessionId,
        stream: Option<StreamId>,
    },
    /// Start it, or connect to it. What is sent to it meanwhile waits at the driver.
    Open {
        link: LinkId,
        backend: BackendKey,
    },
    ToServer {
        link: LinkId,
        text: String,
    },
    /// End it; nothing of it is wanted any more.
    Close {
        link: LinkId,
    },
    /// Make this request of the client API in the name of the session's client, and tell what came of it by [`Relay::handle_called`].
    Call {
        call: OwnCallId,
        session: SessionId,
        request: String,
    },
    /// For the log.
    News {
        backend: BackendKey,
        news: News,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Up,
    Down {
        pause_ns: u64,
    },
    /// It can't be spoken to: why.
    Refused(&'static str),
    /// Entries of a list that are no such entries, or past the bounds.
    LeftOut {
        list: &'static str,
        entries: usize,
    },
    /// A name that another backend has as well, or the gateway itself, where there is no keeper; that one is before it and keeps it.
    Conflict {
        list: &'static str,
        name: Box<str>,
        keeper: Option<BackendKey>,
    },
    /// It was taken away or changed, and nothing of it is under way any more: the last that is said of it.
    Left,
}

/// What was counted of one backend, since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of clients that were for it.
    pub requests_total: u64,
    /// Of them, those that it answered, by a result or an error.
    pub answered_total: u64,
    /// And those that were answered by an error of the gateway's own.
    pub failed_total: u64,
    /// Answers for requests that were over.
    pub late_total: u64,
    /// What it said while it could not be known to whom.
    pub unaddressed_total: u64,
    /// What it said that is no message.
    pub noise_total: u64,
    pub starts_total: u64,
    /// Ends of one that was up.
    pub ends_total: u64,
}

/// How one backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendState {
    /// For shared ones whether it is up; for others whether none of its clients is without its own.
    pub is_up: bool,
    pub links: usize,
    /// Requests under way.
    pub requests: usize,
    pub counters: Counters,
}

#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    sessions: BTreeMap<SessionId, Session>,
    links: BTreeMap<LinkId, Link>,
    /// Those that are leaving, too.
    backends: BTreeMap<BackendKey, Backend>,
    /// Those that clients see, in the order of the configuration, which decides conflicts.
    order: Vec<BackendKey>,
    /// Links that are leaving and may owe nothing any more.
    released: Vec<LinkId>,
    /// The gateway's own tools, as they are listed.
    own: List,
    own_calls: BTreeMap<OwnCallId, OwnCall>,
    requests: BTreeMap<u64, Request>,
    questions: BTreeMap<u64, Question>,
    /// Requests that wait until it is known who offers what.
    parked: BTreeMap<u64, Parked>,
    timers: BTreeSet<(u64, Timer)>,
    outputs: VecDeque<Output>,
    last_id: u64,
}

#[derive(Debug)]
struct Backend {
    settings: BackendSettings,
    /// None where each client has its own.
    shared: Option<LinkId>,
    /// How many there are, those that are leaving included.
    links: usize,
    counters: Counters,
    /// It gets no requests any more, and is forgotten with its last link.
    leaves: Option<Departure>,
}

#[derive(Clone, Copy, Debug)]
struct Departure {
    /// The one that has its name now.
    heir: Option<BackendKey>,
}

#[derive(Debug)]
struct Session {
    kind: SessionKind,
    rights: Level,
    /// None before `initialize`.
    revision: Option<Revision>,
    /// It has said that it is initialized, and hears of what changes.
    is_ready: bool,
    /// As it told them: JSON.
    capabilities: Box<str>,
    /// Index of the least level that it wants of messages for its log.
    level: Option<usize>,
    /// Its requests under way, by their ids as it wrote them.
    requests: BTreeMap<Box<str>, UnderWay>,
    /// Its own backends.
    links: BTreeMap<BackendKey, LinkId>,
    subscriptions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderWay {
    Parked(u64),
    Sent(u64),
    Own(OwnCallId),
}

/// Whom an answer goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asker {
    session: SessionId,
    stream: Option<StreamId>,
    /// As the client wrote it.
    id: Box<str>,
}

#[derive(Debug)]
struct Link {
    backend: BackendKey,
    /// Whose it is; none where it is shared.
    owner: Option<SessionId>,
    phase: Phase,
    /// What it says that it has: `tools`, `logging`, …
    capabilities: BTreeSet<Box<str>>,
    lists: [List; 4],
    requests: BTreeSet<u64>,
    questions: BTreeSet<u64>,
    /// Requests that are to be sent once it is up.
    held: BTreeMap<u64, String>,
    /// The least level that it was told.
    level: Option<usize>,
    subscribers: BTreeMap<Box<str>, BTreeSet<SessionId>>,
    /// Resources of which it is to be told whether anybody wants to hear, once it has answered what it was told before.
    untold: BTreeSet<Box<str>>,
    /// Of the requests, the gateway's own whose answers do not matter.
    own_requests: usize,
    pause_ns: u64,
    /// It gets no requests any more, answers those that it has, and is closed.
    is_leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not to be started before this.
    Down {
        until_ns: u64,
    },
    Starting,
    Up {
        since_ns: u64,
    },
}

/// Under way to a backend.
#[derive(Debug)]
struct Request {
    link: LinkId,
    /// Under which its timer is.
    due_ns: u64,
    /// Nothing prolongs it past this.
    limit_ns: u64,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Introduction,
    List(super::catalog::Listed),
    /// For the gateway itself; the answer does not matter.
    Own,
    ForClient {
        asker: Asker,
        /// The client's progress token, as it wrote it.
        token: Option<Box<str>>,
        effect: Effect,
    },
}

#[derive(Debug)]
struct OwnCall {
    session: SessionId,
    /// None where nobody waits for it any more.
    asker: Option<Asker>,
}

/// What a good answer changes here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Subscribed(Box<str>),
    Unsubscribed(Box<str>),
}

/// What a backend asks of a client.
#[derive(Debug)]
struct Question {
    link: LinkId,
    session: SessionId,
    /// The backend's, as it wrote them.
    id: Box<str>,
    token: Option<Box<str>>,
    due_ns: u64,
}

#[derive(Debug)]
struct Parked {
    asker: Asker,
    method: Box<str>,
    params: Option<Box<str>>,
    due_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Request(u64),
    Parked(u64),
    Question(u64),
    Reopen(LinkId),
}

impl Relay {
    /// One without backends: [`Relay::set_backends`].
    #[must_use]
    pub fn new(settings: Settings) -> Relay {
        Relay {
            backends: BTreeMap::new(),
            order: Vec::new(),
            released: Vec::new(),
            own: own::listed(settings.own),
            own_calls: BTreeMap::new(),
            settings,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            requests: BTreeMap::new(),
            questions: BTreeMap::new(),
            parked: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            last_id: 0,
        }
    }

    /// A client's session, which sees what its rights let it see; none where there are as many as may be.
    pub fn open_session(&mut self, kind: SessionKind, rights: Level) -> Option<SessionId> {
        if self.sessions.len() >= limits::MCP_SESSIONS_MAX {
            return None;
        }
        let session = SessionId(self.next_id());
        self.sessions.insert(
            session,
            Session {
                kind,
                rights,
                revision: None,
                is_ready: false,
                capabilities: "{}".into(),
                level: None,
                requests: BTreeMap::new(),
                links: BTreeMap::new(),
                subscriptions: 0,
            },
        );
        Some(session)
    }

    #[must_use]
    pub fn revision(&self, session: SessionId) -> Option<Revision> {
        self.sessions.get(&session)?.revision
    }

    /// Whether anything of it is under way.
    #[must_use]
    pub fn is_busy(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| !session.requests.is_empty())
    }

    /// How a backend is; none where it is not known, or no more.
    #[must_use]
    pub fn state(&self, backend: BackendKey) -> Option<BackendState> {
        let Backend { settings, counters, .. } = self.backends.get(&backend)?;
        let links = || self.links.values().filter(move |link| link.backend == backend);
        let is_down = |link: &Link| matches!(link.phase, Phase::Down { .. });
        let is_up = |link: &Link| matches!(link.phase, Phase::Up { .. });
        Some(BackendState {
            is_up: match settings.instances {
                Instances::Shared => links().any(is_up),
                Instances::PerSession => !links().any(is_down),
            },
            links: links().count(),
            requests: links().map(|link| link.requests.len()).sum(),
            counters: *counters,
        })
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.close_released();
        }
        self.outputs.pop_front()
    }

    /// When [`Relay::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(due_ns, _)| *due_ns)
    }

    pub fn handle_timeout(&mut self, now_ns: u64) {
        while let Some(&(due_ns, timer)) = self.timers.first()
            && due_ns <= now_ns
        {
            self.timers.pop_first();
            match timer {
                Timer::Request(id) => self.request_is_due(id, now_ns),
                Timer::Parked(id) => {
                    if let Some(parked) = self.parked.remove(&id) {
                        self.resume(parked, lists::Patience::Over, now_ns);
                    }
                }
                Timer::Question(id) => self.give_up_question(id, true),
                Timer::Reopen(link) => self.reopen(link, now_ns),
            }
        }
    }

    /// Whether there is no session, and nothing is under way or remembered for one.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let waits_for_client = |request: &Request| matches!(request.asked, Asked::ForClient { .. });
        self.sessions.is_empty()
            && self.parked.is_empty()
            && self.questions.is_empty()
            && self.own_calls.values().all(|call| call.asker.is_none())
            && !self.requests.values().any(waits_for_client)
            && self.links.values().all(|link| link.subscribers.is_empty() && link.owner.is_none())
            && self.backends.len() == self.order.len()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes a request to a backend out of the tables.
    fn take_request(&mut self, id: u64) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.timers.remove(&(request.due_ns, Timer::Request(id)));
        if let Some(link) = self.links.get_mut(&request.link) {
            link.requests.remove(&id);
            link.own_requests -= usize::from(matches!(request.asked, Asked::Own));
            if link.is_leaving && !link.owes() {
                self.released.push(request.link);
            }
        }
        Some(request)
    }

    fn request_is_due(&mut self, id: u64, now_ns: u64) {
        let Some(request) = self.requests.get(&id) else { return };
        if let Asked::ForClient { asker, .. } = &request.asked {
            let (link, session, limit_ns) = (request.link, asker.session, request.limit_ns);
            // Somebody reads and decides.
            let is_asked = self.links[&link].questions.iter().any(|id| self.questions[id].session == session);
            if is_asked && now_ns < limit_ns {
                self.prolong(id, now_ns);
                return;
            }
        }
        let Some(request) = self.take_request(id) else { return };
        match request.asked {
            Asked::Introduction => {
                self.break_link(request.link, "it did not answer initialize in time", now_ns)
            }
            Asked::List(kind) => {
                self.list_failed(request.link, kind, now_ns);
                self.send_cancelled(request.link, id);
            }
            Asked::Own => self.tell_interests(request.link, now_ns),
            Asked::ForClient { asker, .. } => {
                self.send_cancelled(request.link, id);
                self.count(request.link, |counters| counters.failed_total += 1);
                self.refuse(&asker, &Failure::TimedOut);
            }
        }
    }

    /// From now on it has its whole time again, up to its limit.
    fn prolong(&mut self, id: u64, now_ns: u64) {
        let Some(link) = self.requests.get(&id).map(|request| request.link) else { return };
        let timeout_ns = self.settings_of(link).request_timeout_ns;
        let Some(request) = self.requests.get_mut(&id) else { return };
        self.timers.remove(&(request.due_ns, Timer::Request(id)));
        request.due_ns = now_ns.saturating_add(timeout_ns).min(request.limit_ns).max(request.due_ns);
        self.timers.insert((request.due_ns, Timer::Request(id)));
    }

    /// Tells a backend that nobody waits for this any more.
    fn send_cancelled(&mut self, link: LinkId, id: u64) {
        if self.links.get_mut(&link).is_some_and(|known| known.held.remove(&id).is_some()) {
            return;
        }
        let params = format!(r#"{{"requestId":{id},"reason":"nobody waits for it any more"}}"#);
        self.send(link, message::notification("notifications/cancelled", Some(&params)));
    }

    /// A request to a backend, once it is up.
    fn send_request(&mut self, link: LinkId, id: u64, text: String) {
        match self.links.get_mut(&link) {
            Some(known) if known.phase == Phase::Starting => {
                known.held.insert(id, text);
            }
            Some(_) | None => self.send(link, text),
        }
    }

    /// To a backend that is up; what is no request needs to reach no other.
    fn send(&mut self, link: LinkId, text: String) {
        if self.links.get(&link).is_some_and(|known| matches!(known.phase, Phase::Up { .. })) {
            self.outputs.push_back(Output::ToServer { link, text });
        }
    }

    /// The one answer to a client's request.
    fn answer(&mut self, asker: &Asker, text: String) {
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        session.requests.remove(&asker.id);
        self.outputs.push_back(Output::ToClient {
            session: asker.session,
            stream: asker.stream,
            text,
            is_answer: true,
        });
    }

    fn refuse(&mut self, asker: &Asker, failure: &Failure) {
        self.answer(asker, failure.answer(&asker.id));
    }

    fn count(&mut self, link: LinkId, what: impl FnOnce(&mut Counters)) {
        if let Some(backend) = self.links.get(&link).and_then(|link| self.backends.get_mut(&link.backend)) {
            what(&mut backend.counters);
        }
    }

    /// Of the backend that a link leads to.
    fn settings_of(&self, link: LinkId) -> &BackendSettings {
        &self.backends[&self.links[&link].backend].settings
    }

    /// Links to the backends that clients share.
    fn shared_links(&self) -> Vec<LinkId> {
        self.order.iter().filter_map(|key| self.backends[key].shared).collect()
    }

    /// What is no answer.
    fn tell(&mut self, session: SessionId, stream: Option<StreamId>, text: String) {
        self.outputs.push_back(Output::ToClient { session, stream, text, is_answer: false });
    }
}

impl Link {
    /// Whether a client waits for an answer of it.
    fn owes(&self) -> bool {
        self.requests.len() > usize::from(self.phase == Phase::Starting)
    }
}
