//! What backends ask of clients: sampling, elicitation, roots. PURE. Home: the control thread.

use crate::dialect::json_rpc::scan::Value;
use crate::limits;

use super::super::errors::Failure;
use super::super::message::{self, Outcome, member};
use super::{LinkId, Question, Relay, SessionId, Timer};

/// The capability of a client that a question needs; none for what no client is asked.
fn capability(method: &str) -> Option<&'static str> {
    match method {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

impl Relay {
    pub(super) fn asked_by_server(
        &mut self,
        link: LinkId,
        id: &str,
        method: &str,
        params: Option<Value<'_>>,
        now_ns: u64,
    ) {
        if method == "ping" {
            return self.send(link, message::result(id, "{}"));
        }
        let failure = match capability(method) {
            None => Failure::UnknownMethod,
            Some(capability) => match self.only_client(link) {
                None => Failure::NoOneClient,
                Some(client) if !self.client_can(client, capability) => Failure::ClientCannot,
                Some(_) if self.links[&link].questions.len() >= limits::MCP_QUESTIONS_PER_LINK_MAX => {
                    Failure::Busy
                }
                Some(client) => return self.ask(link, client, id, method, params, now_ns),
            },
        };
        self.send(link, failure.answer(id));
    }

    fn client_can(&self, client: SessionId, capability: &str) -> bool {
        let told = self.sessions.get(&client).map(|session| &*session.capabilities);
        told.and_then(message::whole).and_then(|told| member(told, capability)).is_some()
    }

    fn ask(
        &mut self,
        link: LinkId,
        client: SessionId,
        id: &str,
        method: &str,
        params: Option<Value<'_>>,
        now_ns: u64,
    ) {
        let ours = self.next_id();
        let token = params
            .and_then(|params| member(params, "_meta"))
            .and_then(|meta| member(meta, "progressToken"))
            .and_then(message::of_id);
        let text = params.map(|params| match token {
            Some(_) => message::replaced_within(params, "_meta", "progressToken", &ours.to_string()),
            None => params.text().to_owned(),
        });
        let due_ns = now_ns + limits::MCP_QUESTION_NS;
        let question =
            Question { link, session: client, id: id.into(), token: token.map(Into::into), due_ns };
        self.questions.insert(ours, question);
        self.timers.insert((due_ns, Timer::Question(ours)));
        if let Some(known) = self.links.get_mut(&link) {
            known.questions.insert(ours);
        }
        self.tell_in_course(link, client, message::request(ours, method, text.as_deref()));
    }

    /// A client has answered.
    pub(super) fn question_answered(&mut self, session: SessionId, id: &str, outcome: Outcome<'_>) {
        let ours: Option<u64> = id.parse().ok();
        let known = ours.filter(|id| self.questions.get(id).is_some_and(|one| one.session == session));
        let Some(question) = known.and_then(|id| self.take_question(id)) else { return };
        self.send(question.link, message::response(&question.id, outcome));
    }

    /// A client tells how far it is with what a backend asked.
    pub(super) fn progress_of_client(&mut self, session: SessionId, params: Option<Value<'_>>, now_ns: u64) {
        let Some(params) = params else { return };
        let Some(id) = member(params, "progressToken").and_then(Value::unsigned) else { return };
        let Some(question) = self.questions.get_mut(&id).filter(|one| one.session == session) else { return };
        self.timers.remove(&(question.due_ns, Timer::Question(id)));
        question.due_ns = now_ns + limits::MCP_QUESTION_NS;
        self.timers.insert((question.due_ns, Timer::Question(id)));
        let (link, Some(token)) = (question.link, &question.token) else { return };
        let text = message::replaced(params, "progressToken", token);
        self.send(link, message::notification("notifications/progress", Some(&text)));
    }

    /// The backend does not want to know any more.
    pub(super) fn cancelled_by_server(&mut self, link: LinkId, params: Option<Value<'_>>) {
        let id = params.and_then(|params| member(params, "requestId")).and_then(message::of_id);
        let Some(id) = id else { return };
        let asked = self.links.get(&link).map(|known| known.questions.clone()).unwrap_or_default();
        for ours in asked {
            if self.questions.get(&ours).is_some_and(|question| *question.id == *id) {
                return self.withdraw_question(ours);
            }
        }
    }

    /// Tells the client that nobody waits for its answer any more.
    pub(super) fn withdraw_question(&mut self, id: u64) {
        let Some(Question { link, session, .. }) = self.take_question(id) else { return };
        let params = format!(r#"{{"requestId":{id},"reason":"the backend does not wait for it any more"}}"#);
        self.tell_in_course(link, session, message::notification("notifications/cancelled", Some(&params)));
    }

    /// The client will not answer: the backend is told so, and the client too if it is there.
    pub(super) fn give_up_question(&mut self, id: u64, client_is_there: bool) {
        let Some(question) = self.questions.get(&id) else { return };
        let (link, answer) = (question.link, Failure::ClientCannot.answer(&question.id));
        if client_is_there {
            self.withdraw_question(id);
        } else {
            self.take_question(id);
        }
        self.send(link, answer);
    }

    /// Takes a question out of the tables.
    pub(super) fn take_question(&mut self, id: u64) -> Option<Question> {
        let question = self.questions.remove(&id)?;
        self.timers.remove(&(question.due_ns, Timer::Question(id)));
        if let Some(link) = self.links.get_mut(&question.link) {
            link.questions.remove(&id);
        }
        Some(question)
    }
}
