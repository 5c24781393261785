//! What backends say. PURE. Home: the control thread.

use crate::dialect::json_rpc::scan::Value;

use super::super::errors::Failure;
use super::super::message::{self, Fault, Message, Outcome, member, string};
use super::clients::LEVELS;
use super::{Asked, LinkId, Phase, Relay, Request, SessionId};

impl Relay {
    /// A text of a backend.
    pub fn handle_server(&mut self, link: LinkId, text: &str, now_ns: u64) {
        let Some(known) = self.links.get(&link) else { return };
        if matches!(known.phase, Phase::Down { .. }) {
            return;
        }
        let list = match message::messages(text) {
            Ok(list) => list,
            Err(fault) => return self.noise(link, text, fault, now_ns),
        };
        for one in list {
            match one {
                Ok(Message::Request { id, method, params }) => {
                    self.asked_by_server(link, id, &method, params, now_ns);
                }
                Ok(Message::Notification { method, params }) => {
                    self.noted_by_server(link, &method, params, now_ns);
                }
                Ok(Message::Response { id, outcome }) => self.answered_by_server(link, id, outcome, now_ns),
                Err(_) => self.bad_answer(link, text),
            }
        }
    }

    /// Many write to their standard output what belongs to another: that is passed over. What begins as a message and is none may
    /// have been an answer, and what follows can't be trusted.
    fn noise(&mut self, link: LinkId, text: &str, fault: Fault, now_ns: u64) {
        self.count(link, |counters| counters.noise_total += 1);
        if fault == Fault::Malformed && text.trim_start().starts_with(['{', '[']) {
            self.fail_all(link);
            self.break_link(link, "what it says is not JSON, or nested too deep", now_ns);
        }
    }

    fn fail_all(&mut self, link: LinkId) {
        let requests = self.links.get(&link).map(|link| link.requests.clone()).unwrap_or_default();
        for id in requests {
            self.fail(id);
        }
    }

    /// The driver says that a message was too long to be read, so that it is not known whose it was.
    pub fn handle_overlong(&mut self, link: LinkId, now_ns: u64) {
        self.count(link, |counters| counters.noise_total += 1);
        self.fail_all(link);
        self.break_link(link, "a message of it is longer than may be", now_ns);
    }

    /// JSON that is no message; an answer to one of ours ends that.
    fn bad_answer(&mut self, link: LinkId, text: &str) {
        self.count(link, |counters| counters.noise_total += 1);
        let id = message::whole(text).and_then(|value| member(value, "id")).and_then(Value::unsigned);
        if let Some(id) = id
            && self.requests.get(&id).is_some_and(|request| request.link == link)
        {
            self.fail(id);
        }
    }

    /// The client that waits for it is told that its answer was bad.
    fn fail(&mut self, id: u64) {
        let is_for_client =
            self.requests.get(&id).is_some_and(|request| matches!(request.asked, Asked::ForClient { .. }));
        if is_for_client
            && let Some(Request { link, asked: Asked::ForClient { asker, .. }, .. }) = self.take_request(id)
        {
            self.count(link, |counters| counters.failed_total += 1);
            self.refuse(&asker, &Failure::BadAnswer);
        }
    }

    fn answered_by_server(&mut self, link: LinkId, id: &str, outcome: Outcome<'_>, now_ns: u64) {
        let ours: Option<u64> = id.parse().ok();
        let known = ours.filter(|id| self.requests.get(id).is_some_and(|request| request.link == link));
        let Some(request) = known.and_then(|id| self.take_request(id)) else {
            self.count(link, |counters| counters.late_total += 1);
            return;
        };
        match request.asked {
            Asked::Introduction => self.introduced(link, outcome, now_ns),
            Asked::List(kind) => self.listed(link, kind, outcome, now_ns),
            Asked::Own => self.tell_interests(link, now_ns),
            Asked::ForClient { asker, effect, .. } => {
                self.client_answered(link, &asker, effect, outcome, now_ns);
            }
        }
    }

    fn noted_by_server(&mut self, link: LinkId, method: &str, params: Option<Value<'_>>, now_ns: u64) {
        match method {
            "notifications/progress" => self.progress_of_server(link, params, now_ns),
            "notifications/cancelled" => self.cancelled_by_server(link, params),
            "notifications/resources/updated" => self.resource_updated(link, params),
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => self.list_changed(link, method),
            "notifications/message" => {
                let level =
                    string(params, "level").and_then(|name| LEVELS.iter().position(|one| *one == name));
                let Some(client) = self.only_client(link) else {
                    return self.count(link, |counters| counters.unaddressed_total += 1);
                };
                let least = self.sessions.get(&client).and_then(|session| session.level);
                if least.is_none_or(|least| level.is_none_or(|level| level >= least)) {
                    self.tell_in_course(link, client, message::notification(method, params.map(Value::text)));
                }
            }
            // What later revisions add is passed on to whom it can only be for.
            _ => match self.only_client(link) {
                Some(client) => {
                    self.tell_in_course(link, client, message::notification(method, params.map(Value::text)));
                }
                None => self.count(link, |counters| counters.unaddressed_total += 1),
            },
        }
    }

    fn progress_of_server(&mut self, link: LinkId, params: Option<Value<'_>>, now_ns: u64) {
        let Some(params) = params else { return };
        let id = member(params, "progressToken").and_then(Value::unsigned);
        let Some(id) = id.filter(|id| self.requests.get(id).is_some_and(|request| request.link == link))
        else {
            self.count(link, |counters| counters.late_total += 1);
            return;
        };
        let Asked::ForClient { asker, token: Some(token), .. } = &self.requests[&id].asked else { return };
        let text = message::replaced(params, "progressToken", token);
        let (session, stream) = (asker.session, asker.stream);
        self.tell(session, stream, message::notification("notifications/progress", Some(&text)));
        self.prolong(id, now_ns);
    }

    /// Whom alone what a link says can concern.
    pub(super) fn only_client(&self, link: LinkId) -> Option<SessionId> {
        let known = self.links.get(&link)?;
        if known.owner.is_some() {
            return known.owner;
        }
        let mut clients = known.requests.iter().filter_map(|id| match &self.requests.get(id)?.asked {
            Asked::ForClient { asker, .. } => Some(asker.session),
            Asked::Introduction | Asked::List(_) | Asked::Own => None,
        });
        let first = clients.next()?;
        clients.all(|other| other == first).then_some(first)
    }

    /// To a client, with the newest of its requests under way there.
    pub(super) fn tell_in_course(&mut self, link: LinkId, client: SessionId, text: String) {
        let stream = self.links.get(&link).and_then(|known| {
            known.requests.iter().rev().find_map(|id| match &self.requests.get(id)?.asked {
                Asked::ForClient { asker, .. } if asker.session == client => Some(asker.stream),
                Asked::ForClient { .. } | Asked::Introduction | Asked::List(_) | Asked::Own => None,
            })
        });
        self.tell(client, stream.flatten(), text);
    }
}
