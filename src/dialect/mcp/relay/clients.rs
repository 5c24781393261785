//! What clients say. PURE. Home: the control thread.

use crate::dialect::json_rpc::scan::Value;
use crate::limits;

use super::super::catalog::Listed;
use super::super::errors::Failure;
use super::super::events::StreamId;
use super::super::message::{self, Fault, Message, Outcome, member, string};
use super::super::posted;
use super::super::version::{Revision, greeting};
use super::lists::Patience;
use super::routing::{Forward, Routed};
use super::{Asked, Asker, Effect, Output, Phase, Relay, Request, SessionId, Timer, UnderWay};

/// RFC 5424's, from the least.
pub(super) const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Relay {
    /// A text of a client; what it asks is answered on `stream`, where that matters.
    pub fn handle_client(&mut self, session: SessionId, stream: Option<StreamId>, text: &str, now_ns: u64) {
        if !self.sessions.contains_key(&session) {
            return;
        }
        let failure = |fault| match fault {
            Fault::Malformed => Failure::Malformed,
            Fault::Invalid => Failure::Invalid("not a JSON-RPC 2.0 message"),
        };
        let nobody = Asker { session, stream, id: "null".into() };
        let list = match message::messages(text) {
            Ok(list) => list,
            Err(fault) => return self.refuse(&nobody, &failure(fault)),
        };
        for one in list {
            match one {
                Ok(Message::Request { id, method, params }) => {
                    let asker = Asker { session, stream, id: id.into() };
                    self.admit(&asker, &method, params, now_ns);
                }
                Ok(Message::Notification { method, params }) => self.noted(session, &method, params, now_ns),
                Ok(Message::Response { id, outcome }) => self.question_answered(session, id, outcome),
                Err(fault) => self.refuse(&nobody, &failure(fault)),
            }
        }
    }

    /// The client is gone, or has ended its session: so has all that it asked, and what was its own.
    pub fn close_session(&mut self, session: SessionId, now_ns: u64) {
        let Some(closed) = self.sessions.remove(&session) else { return };
        for under_way in closed.requests.into_values() {
            self.abandon(under_way);
        }
        let asked: Vec<u64> =
            self.questions.iter().filter(|(_, one)| one.session == session).map(|(id, _)| *id).collect();
        for id in asked {
            self.give_up_question(id, false);
        }
        for link in closed.links.into_values() {
            self.remove_link(link);
        }
        for link in self.shared_links() {
            self.unsubscribe_all(link, session, now_ns);
            self.level_link(link, now_ns);
        }
    }

    fn admit(&mut self, asker: &Asker, method: &str, params: Option<Value<'_>>, now_ns: u64) {
        let session = &self.sessions[&asker.session];
        if session.requests.contains_key(&asker.id) {
            // Not by `refuse`: the one with this id goes on.
            let failure = Failure::Invalid("a request with this id is under way");
            let (session, stream) = (asker.session, asker.stream);
            let text = failure.answer(&asker.id);
            self.outputs.push_back(Output::ToClient { session, stream, text, is_answer: true });
            return;
        }
        if session.requests.len() >= limits::MCP_REQUESTS_PER_SESSION_MAX {
            return self.refuse(asker, &Failure::Busy);
        }
        if session.revision.is_none() && method != "initialize" && !posted::needs_no_session(method) {
            return self.refuse(asker, &Failure::Invalid("initialize comes first"));
        }
        self.request(asker, method, params, Patience::Until(now_ns + limits::MCP_LISTS_WAIT_NS), now_ns);
    }

    /// A request that was admitted, also once more after it was parked.
    pub(super) fn request(
        &mut self,
        asker: &Asker,
        method: &str,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) {
        if let Some(kind) = Listed::ALL.into_iter().find(|kind| kind.method() == method) {
            return self.list(asker, kind, params, patience, now_ns);
        }
        match method {
            "initialize" => self.initialize(asker, params, now_ns),
            "ping" => self.answer(asker, message::result(&asker.id, "{}")),
            "logging/setLevel" => self.set_level(asker, params, now_ns),
            _ => match self.route(asker.session, method, params, patience, now_ns) {
                Routed::To(forward) => self.forward(asker, method, params, forward, now_ns),
                Routed::Own(tool) => self.call_own(asker, tool, params),
                Routed::Here => self.answer(asker, message::result(&asker.id, "{}")),
                Routed::Wait => self.park(asker, method, params, patience),
                Routed::Nowhere(failure) => self.refuse(asker, &failure),
            },
        }
    }

    fn initialize(&mut self, asker: &Asker, params: Option<Value<'_>>, now_ns: u64) {
        let version = self.settings.gateway_version;
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        if session.revision.is_some() {
            return self.refuse(asker, &Failure::Invalid("this session is initialized already"));
        }
        let Some(asked) = string(params, "protocolVersion") else {
            return self.refuse(asker, &Failure::Params("protocolVersion is missing"));
        };
        let revision = Revision::negotiated(&asked);
        session.revision = Some(revision);
        if let Some(capabilities) = params.and_then(|params| member(params, "capabilities")) {
            session.capabilities = capabilities.text().into();
        }
        self.answer(asker, message::result(&asker.id, &greeting(revision, version)));
        // So that they are there when it asks for the first time.
        self.visible(asker.session, now_ns);
    }

    fn set_level(&mut self, asker: &Asker, params: Option<Value<'_>>, now_ns: u64) {
        let level = string(params, "level").and_then(|name| LEVELS.iter().position(|level| *level == name));
        let Some(level) = level else {
            return self.refuse(asker, &Failure::Params("level is none of RFC 5424's"));
        };
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        session.level = Some(level);
        let own: Vec<_> = session.links.values().copied().collect();
        self.answer(asker, message::result(&asker.id, "{}"));
        for link in self.shared_links().into_iter().chain(own) {
            self.level_link(link, now_ns);
        }
    }

    fn noted(&mut self, session: SessionId, method: &str, params: Option<Value<'_>>, now_ns: u64) {
        match method {
            "notifications/initialized" => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.is_ready = session.revision.is_some();
                }
            }
            "notifications/cancelled" => {
                let id = params.and_then(|params| member(params, "requestId")).and_then(message::of_id);
                if let Some(id) = id {
                    self.cancel(session, id);
                }
            }
            "notifications/progress" => self.progress_of_client(session, params, now_ns),
            "notifications/roots/list_changed" => {
                // A shared backend would not know whose.
                let own: Vec<_> = self
                    .sessions
                    .get(&session)
                    .map(|one| one.links.values().copied().collect())
                    .unwrap_or_default();
                for link in own {
                    self.send(link, message::notification(method, params.map(Value::text)));
                }
            }
            // Nothing here is concerned, and nobody waits for an answer.
            _ => {}
        }
    }

    fn cancel(&mut self, session: SessionId, id: &str) {
        let Some(under_way) = self.sessions.get_mut(&session).and_then(|one| one.requests.remove(id)) else {
            return;
        };
        let stream = self.abandon(under_way);
        self.outputs.push_back(Output::Cancelled { session, stream });
    }

    /// Nobody waits for it any more; gives its stream.
    fn abandon(&mut self, under_way: UnderWay) -> Option<StreamId> {
        match under_way {
            UnderWay::Parked(id) => {
                let parked = self.parked.remove(&id)?;
                self.timers.remove(&(parked.due_ns, Timer::Parked(id)));
                parked.asker.stream
            }
            UnderWay::Own(call) => self.own_calls.get_mut(&call)?.asker.take()?.stream,
            UnderWay::Sent(id) => {
                let request = self.take_request(id)?;
                self.send_cancelled(request.link, id);
                match request.asked {
                    Asked::ForClient { asker, .. } => asker.stream,
                    Asked::Introduction | Asked::List(_) | Asked::Own => None,
                }
            }
        }
    }

    /// To the backend that it belongs to.
    fn forward(
        &mut self,
        asker: &Asker,
        method: &str,
        params: Option<Value<'_>>,
        forward: Forward,
        now_ns: u64,
    ) {
        let Forward { link, params: rewritten, effect } = forward;
        self.count(link, |counters| counters.requests_total += 1);
        let known = &self.links[&link];
        let backend = self.settings_of(link);
        if matches!(known.phase, Phase::Down { .. }) {
            self.count(link, |counters| counters.failed_total += 1);
            return self.refuse(asker, &Failure::Unavailable);
        }
        if known.requests.len() - known.own_requests >= backend.requests_max
            || known.held.len() >= limits::MCP_HELD_PER_LINK_MAX
        {
            self.count(link, |counters| counters.failed_total += 1);
            return self.refuse(asker, &Failure::Busy);
        }
        let timeout_ns = backend.request_timeout_ns;
        if let (Effect::Subscribed(uri), Some(known)) = (&effect, self.links.get_mut(&link)) {
            // The client itself tells it.
            known.untold.remove(uri);
        }
        let id = self.next_id();
        let token = params
            .and_then(|params| member(params, "_meta"))
            .and_then(|meta| member(meta, "progressToken"))
            .and_then(message::of_id)
            .map(Into::into);
        let mut text = rewritten.or_else(|| params.map(|params| params.text().to_owned()));
        if token.is_some()
            && let Some(rewritten) = &text
            && let Some(value) = message::whole(rewritten)
        {
            text = Some(message::replaced_within(value, "_meta", "progressToken", &id.to_string()));
        }
        let (due_ns, limit_ns) = (now_ns + timeout_ns, now_ns + timeout_ns * limits::MCP_PROLONGED_MAX);
        let asked = Asked::ForClient { asker: asker.clone(), token, effect };
        self.enter(id, Request { link, due_ns, limit_ns, asked });
        if let Some(session) = self.sessions.get_mut(&asker.session) {
            session.requests.insert(asker.id.clone(), UnderWay::Sent(id));
        }
        self.send_request(link, id, message::request(id, method, text.as_deref()));
    }

    /// Puts a request to a backend into the tables.
    pub(super) fn enter(&mut self, id: u64, request: Request) {
        self.timers.insert((request.due_ns, Timer::Request(id)));
        if let Some(link) = self.links.get_mut(&request.link) {
            link.requests.insert(id);
            link.own_requests += usize::from(matches!(request.asked, Asked::Own));
        }
        self.requests.insert(id, request);
    }

    /// The answer of a backend to what a client asked.
    pub(super) fn client_answered(
        &mut self,
        link: super::LinkId,
        asker: &Asker,
        effect: Effect,
        outcome: Outcome<'_>,
        now_ns: u64,
    ) {
        if matches!(outcome, Outcome::Result(_)) {
            self.take_effect(link, asker.session, effect, now_ns);
        }
        self.count(link, |counters| counters.answered_total += 1);
        self.answer(asker, message::response(&asker.id, outcome));
    }
}
