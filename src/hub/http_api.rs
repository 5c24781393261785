//! Calls of methods over HTTP: the same requests as over a WebSocket, one at a time on a connection. PURE. Home: one shard.
//!
//! The next request is looked at once the one before is answered, which may take another thread: so answers come in order, and
//! what waits is bounded by one request's. What has come meanwhile is kept, and no more is read. Invariants: a request has one
//! answer; what one shows in `Authorization` counts for that one only, judged again when it is not what the last one showed; a
//! connection that calls has no subscription and no heartbeat, and is told nothing that it has not asked for. Clients with a pool
//! of connections ask for a WebSocket on one that has called: it is then as if it had just come.

use crate::auth::{Refusal, Secret};
use crate::dialect::json_rpc::{self, Detail, Failure};
use crate::http::inbox::Framing;
use crate::http::{self, Answer, Body, Inbox, Limits, Next, Persistence, Probe, Rejection, Status, Verdict};
use crate::limits;
use crate::model::call::TraceParent;
use crate::model::ids::ConnId;

use super::Hub;
use super::effect::Effect;
use super::login::is_signature;
use super::session::{Phase, Session};
use super::settling::End;

/// Below this path are the methods, as on Deribit; at it are whole requests.
const PATH: &str = "/api/v2";

/// What is known of a connection that calls methods.
#[derive(Debug, Default)]
pub(super) struct Caller {
    inbox: Inbox,
    /// Of the request that is being answered.
    exchange: Option<Exchange>,
    /// When the request at hand began, or the last one was answered.
    pub(super) since_ns: u64,
    /// The `Authorization` by which it is logged in.
    shown: Option<Secret>,
    /// What came of that of the request at hand.
    judged: Option<Result<(), Refusal>>,
    /// What ends it, once the request at hand is answered.
    refusal: Option<Rejection>,
    /// Whether its peer has ended its side.
    has_ended: bool,
    /// Its requests are being looked at: who answers need not see to the next.
    is_served: bool,
}

/// How a request is to be answered.
#[derive(Debug)]
struct Exchange {
    persistence: Persistence,
    body: Body,
    origin: Option<Box<[u8]>>,
    /// The `traceparent` that came with it.
    trace_parent: Option<Box<str>>,
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    IsTaken,
    /// Its client is being named, or its `Authorization` judged.
    Waits,
    /// It is no call: the connection's calls are over.
    IsOther,
}

enum Shown {
    IsTaken,
    Waits,
    IsRefused(Failure),
}

impl Caller {
    pub(super) fn held_bytes(&self) -> usize {
        self.inbox.held_bytes()
    }

    /// Nothing more of it is read.
    pub(super) fn drop_unread(&mut self) {
        self.inbox = Inbox::default();
    }
}

impl Session {
    /// Whether it calls methods over HTTP.
    pub(super) fn is_caller(&self) -> bool {
        self.caller.is_some()
    }

    /// Whether the answer to its request is still to come.
    pub(super) fn awaits_answer(&self) -> bool {
        self.caller.as_deref().is_some_and(|caller| caller.exchange.is_some())
    }
}

/// Whether methods are called by this path.
pub(super) fn is_call(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Hub {
    /// The first request of a connection is a call.
    pub(super) fn begin_calls(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(session) = self.session(conn) else { return };
        session.phase = Phase::Open;
        session.caller = Some(Box::default());
        self.egress.cut_anywhere(conn.slot);
        self.receive_calls(conn, bytes);
        self.arm_deadline(conn);
    }

    /// Bytes of an open connection that calls.
    pub(super) fn receive_calls(&mut self, conn: ConnId, bytes: &[u8]) {
        let now_ns = self.now.mono_ns;
        let Some(session) = self.session(conn) else { return };
        let rates = session.rates.as_mut().map_or(Ok(()), |rates| rates.count(0, bytes.len() as u64, now_ns));
        let Some(caller) = session.caller.as_deref_mut() else { return };
        if caller.inbox.is_empty() {
            caller.since_ns = now_ns;
        }
        caller.inbox.push(bytes);
        if rates.is_err() {
            caller.refusal = Some(Rejection::CallRate);
        }
        self.serve_calls(conn, bytes.len());
    }

    /// The peer sends no more; what it has asked is answered.
    pub(super) fn end_calls(&mut self, conn: ConnId) {
        if let Some(caller) = self.caller(conn) {
            caller.has_ended = true;
        }
        self.serve_calls(conn, 0);
    }

    /// Goes on with those whose requests another thread has answered.
    pub(super) fn serve_answered(&mut self) {
        while let Some(conn) = self.answered.pop() {
            self.serve_calls(conn, 0);
            self.note_unfinished(conn);
        }
    }

    /// The `Authorization` of the request at hand has been judged.
    pub(super) fn settle_call(&mut self, conn: ConnId, outcome: Result<(), Refusal>) {
        if let Some(caller) = self.caller(conn) {
            caller.judged = Some(outcome);
            self.answered.push(conn);
        }
    }

    /// The client of the request at hand has been named; the connection ends if it may not be.
    pub(super) fn go_on_calling(&mut self, conn: ConnId, refused: Option<Rejection>) {
        if let Some(caller) = self.caller(conn) {
            caller.refusal = caller.refusal.or(refused);
        }
        self.serve_calls(conn, 0);
    }

    /// Sends the answer to the request at hand.
    pub(super) fn answer_call(&mut self, conn: ConnId, failure: Option<Failure>, json: &[u8]) {
        let now_ns = self.now.mono_ns;
        let Some(caller) = self.caller(conn) else { return };
        caller.since_ns = now_ns;
        let (Some(exchange), is_served) = (caller.exchange.take(), caller.is_served) else { return };
        let status = match failure {
            Some(failure) => status_of(failure),
            None if json.is_empty() => Status::NoContent,
            None => Status::Ok,
        };
        let Exchange { persistence, body, origin, .. } = exchange;
        let mut head = Vec::new();
        let (origin, retry_after_s) = (origin.as_deref(), failure.and_then(retry_after_s));
        Answer { status, persistence, origin, body_bytes: json.len(), retry_after_s }.write(&mut head);
        let json = match body {
            Body::Sent => json,
            Body::Omitted => &[],
        };
        self.queue_reply_parts(conn, &head, json, limits::REPLY_BYTES_MAX);
        match persistence {
            Persistence::Close => self.end_after_replies(conn, End::OfStream),
            Persistence::KeepAlive if !is_served => self.answered.push(conn),
            Persistence::KeepAlive => {}
        }
    }

    /// The log-in of a connection is over, or was of a request that is answered; a grant of tokens stays with the connection.
    pub(super) fn forget_shown(&mut self, conn: ConnId) {
        self.leave_named_session(conn);
        let Some(session) = self.session(conn) else { return };
        if let Some(identity) = session.identity.as_deref_mut() {
            (identity.login, identity.expires_ns) = (None, None);
        }
        if let Some(caller) = session.caller.as_deref_mut() {
            caller.shown = None;
        }
    }

    /// One deadline of a connection that calls may have come.
    pub(super) fn handle_call_deadline(&mut self, conn: ConnId) {
        let (now_ns, timeout_ns) = (self.now.mono_ns, self.config.handshake_timeout_ns);
        let is_drained = self.egress.is_drained(conn.slot);
        let Some(session) = self.session(conn) else { return };
        let expires_ns = session.identity.as_deref().and_then(|identity| identity.expires_ns);
        let waits = session.awaits_answer() || session.awaits_verdict() || !is_drained;
        let Some(caller) = session.caller.as_deref_mut() else { return };
        if waits {
            // What it waits for, or has not taken yet, has deadlines of its own.
            caller.since_ns = now_ns;
        }
        let (is_over, is_idle) = (now_ns >= caller.since_ns + timeout_ns, caller.inbox.is_empty());
        let begun = Body::asked_for_by(caller.inbox.waiting());
        if expires_ns.is_some_and(|at_ns| now_ns >= at_ns) {
            self.forget_shown(conn);
        }
        match (is_over, is_idle) {
            (true, true) => self.end_after_replies(conn, End::OfStream),
            (true, false) => self.refuse_call(conn, Rejection::HeadTimeout, begun),
            (false, _) => {}
        }
    }

    /// Looks at the requests that have come, until one has to wait. So many of their bytes came just now.
    fn serve_calls(&mut self, conn: ConnId, new_bytes: usize) {
        let limits = Limits { head: self.config.head, body_bytes_max: self.message_bytes_max() };
        let Some(caller) = self.session(conn).and_then(|session| session.caller.as_deref_mut()) else {
            return;
        };
        if caller.is_served {
            return;
        }
        caller.is_served = true;
        let mut inbox = std::mem::take(&mut caller.inbox);
        let bytes = inbox.waiting().len();
        let mut other = None;
        while self.is_ready_for_call(conn, &inbox) {
            let served = match inbox.next(limits) {
                Ok(Next::Whole { request, framing, body }) => self.serve(conn, &request, framing, body),
                Ok(Next::Incomplete { reread_bytes }) => {
                    self.work.written(reread_bytes);
                    break;
                }
                Ok(Next::Begun(framing)) => {
                    if framing.expects_continue {
                        self.queue_reply(conn, b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    break;
                }
                Err(rejection) => {
                    self.refuse_call(conn, rejection, Body::asked_for_by(inbox.waiting()));
                    break;
                }
            };
            match served {
                Served::IsTaken => inbox.take(),
                Served::Waits => break,
                Served::IsOther => {
                    other = Some(inbox.waiting().to_vec());
                    inbox = Inbox::default();
                    break;
                }
            }
        }
        if inbox.waiting().len() < bytes {
            // What came earlier of these requests is work of now.
            self.work.handled(bytes.saturating_sub(new_bytes) as u64);
        }
        if let Some(head) = other {
            return self.end_calling(conn, head);
        }
        inbox.compact();
        let is_unnamed = self.forwardings.is_asked(conn);
        let Some(session) = self.session(conn) else { return };
        let waits = session.awaits_answer() || session.awaits_verdict() || is_unnamed;
        let is_open = session.is_open();
        let Some(caller) = session.caller.as_deref_mut() else { return };
        caller.is_served = false;
        let has_ended = caller.has_ended;
        if !is_open {
            return;
        }
        caller.inbox = inbox;
        if !waits && has_ended {
            self.end_after_replies(conn, End::OfStream);
        } else if !waits {
            self.resume_reading(conn);
        } else if !std::mem::replace(&mut session.reading_paused, true) {
            self.effects.push_back(Effect::PauseReading { conn });
        }
    }

    /// What is asked for is no call: the connection is as one that has just come, with this request.
    fn end_calling(&mut self, conn: ConnId, head: Vec<u8>) {
        self.forget_shown(conn);
        self.egress.cut_at_frames(conn.slot);
        let now_ns = self.now.mono_ns;
        let Some(session) = self.session(conn) else { return };
        session.caller = None;
        session.phase = Phase::UPGRADING;
        session.opened_ns = now_ns;
        self.upgrade_or_keep(conn, head);
    }

    /// Whether the next request may be looked at; a refusal that is due is told.
    fn is_ready_for_call(&mut self, conn: ConnId, inbox: &Inbox) -> bool {
        let Some(session) = self.session(conn).filter(|session| session.is_open()) else { return false };
        if session.awaits_answer() || session.awaits_verdict() {
            return false;
        }
        match session.caller.as_deref_mut().and_then(|caller| caller.refusal.take()) {
            None => true,
            Some(rejection) => {
                self.refuse_call(conn, rejection, Body::asked_for_by(inbox.waiting()));
                false
            }
        }
    }

    fn serve(&mut self, conn: ConnId, request: &http::Request<'_>, framing: Framing, body: &[u8]) -> Served {
        if !is_call(request.path) && Probe::of(request.path).is_none() && self.egress.is_told(conn.slot) {
            return Served::IsOther;
        }
        if !self.is_named(conn, request) {
            return Served::Waits;
        }
        let omitted = if request.method == "HEAD" { Body::Omitted } else { Body::Sent };
        let origin = match self.admit_call(conn, request) {
            Ok(origin) => origin,
            Err(rejection) => {
                self.refuse_call(conn, rejection, omitted);
                return Served::IsTaken;
            }
        };
        let persistence = framing.persistence;
        if let Some(probe) = Probe::of(request.path) {
            self.answer_probe(conn, probe, request);
            return Served::IsTaken;
        }
        if request.method == "OPTIONS" {
            let mut head = Vec::new();
            let status = Status::NoContent;
            Answer { status, persistence, origin, body_bytes: 0, retry_after_s: None }
                .write_preflight(&mut head);
            self.queue_reply(conn, &head);
            if persistence == Persistence::Close {
                self.end_after_replies(conn, End::OfStream);
            }
            return Served::IsTaken;
        }
        let shown = self.judge_shown(conn, request, body);
        if matches!(shown, Shown::Waits) {
            return Served::Waits;
        }
        let trace_parent = trace_parent(request).map(Box::from);
        let exchange = Exchange { persistence, body: omitted, origin: origin.map(Box::from), trace_parent };
        if let Some(caller) = self.caller(conn) {
            caller.exchange = Some(exchange);
        }
        match shown {
            Shown::IsRefused(failure) => self.refuse_text(conn, failure),
            Shown::IsTaken | Shown::Waits => self.call_by(conn, request, body),
        }
        Served::IsTaken
    }

    /// What a request is told by before what it calls is looked at; the page that it comes from.
    fn admit_call<'b>(
        &mut self,
        conn: ConnId,
        request: &http::Request<'b>,
    ) -> Result<Option<&'b [u8]>, Rejection> {
        let now_ns = self.now.mono_ns;
        if let Some(session) = self.session(conn)
            && session.caller.as_deref().is_some_and(|caller| caller.judged.is_none())
            && session.rates.as_mut().is_some_and(|rates| rates.count(1, 0, now_ns).is_err())
        {
            return Err(Rejection::CallRate);
        }
        if let Some(Err(rejection)) = Probe::of(request.path).map(|_| Probe::check(request)) {
            return Err(rejection);
        }
        let host = request.single_value("Host").filter(|host| !host.is_empty());
        let host = host.ok_or(Rejection::HostNotSingle)?;
        if Probe::of(request.path).is_some() {
            return Ok(None);
        }
        if !is_call(request.path) {
            return Err(Rejection::UpgradeTooLate);
        }
        let origin = request.single_value("Origin");
        let is_foreign = match origin {
            Some(origin) => !self.policy(conn).admits(origin, host),
            None => request.value("Origin").is_some() || is_had_by_another_site(request),
        };
        if is_foreign {
            return Err(Rejection::OriginForbidden);
        }
        match request.method {
            "GET" | "HEAD" | "POST" | "OPTIONS" => Ok(origin),
            _ => Err(Rejection::CallMethod),
        }
    }

    /// Whose the request is, by what it shows.
    fn judge_shown(&mut self, conn: ConnId, request: &http::Request<'_>, body: &[u8]) -> Shown {
        let Some(caller) = self.caller(conn) else { return Shown::IsTaken };
        let judged = caller.judged.take();
        if request.value("Authorization").is_none() {
            self.forget_shown(conn);
            return Shown::IsTaken;
        }
        let Some(value) = request.single_value("Authorization") else {
            self.forget_shown(conn);
            return Shown::IsRefused(Failure::INVALID_CREDENTIALS.because("more than one Authorization"));
        };
        let is_signature = is_signature(value);
        let shown = Secret::new(value);
        match judged {
            Some(Ok(())) => {
                if let Some(caller) = self.caller(conn) {
                    caller.shown = (!is_signature).then_some(shown);
                }
                Shown::IsTaken
            }
            Some(Err(refusal)) => {
                self.forget_shown(conn);
                if is_signature {
                    self.count_attempt(conn);
                }
                self.report_refusal(conn, refusal);
                Shown::IsRefused(json_rpc::refusal(refusal))
            }
            None => {
                let is_known = self.caller(conn).is_some_and(|caller| caller.shown.as_ref() == Some(&shown));
                if is_known && self.session(conn).is_some_and(|session| session.login().is_some()) {
                    return Shown::IsTaken;
                }
                self.forget_shown(conn);
                match self.ask_shown(conn, value, request, body) {
                    Ok(()) => Shown::Waits,
                    Err(failure) => Shown::IsRefused(failure),
                }
            }
        }
    }

    /// Hands a request to the dialect.
    fn call_by(&mut self, conn: ConnId, request: &http::Request<'_>, body: &[u8]) {
        let method = request.path.strip_prefix(PATH).unwrap_or_default();
        let is_post = request.method == "POST";
        match method.strip_prefix('/') {
            None if is_post => self.handle_text(conn, body),
            None => self.refuse_text(conn, Failure::INVALID_REQUEST.because("requests go here by POST")),
            Some(method) if is_post => match json_rpc::call_of_body(method, body) {
                Ok(call) => self.handle_text(conn, &call),
                Err(failure) => self.refuse_text(conn, failure),
            },
            // A page that may not read the answer can have a browser get anything, and no `Origin` goes with that.
            Some("topic/publish") => {
                self.refuse_text(conn, Failure::INVALID_REQUEST.because("topic/publish goes by POST"));
            }
            Some(method) if !self.may_get(method) => {
                self.refuse_text(conn, Failure::INVALID_REQUEST.because("this method goes by POST"));
            }
            Some(method) => match http::decode_query(request.query.unwrap_or_default()) {
                Ok(params) => self.handle_text(conn, &json_rpc::call_of_query(method, &params)),
                Err(http::query::NotDecodable) => {
                    self.refuse_text(conn, Failure::INVALID_PARAMS.because("the query is not decodable"));
                }
            },
        }
    }

    /// The `traceparent` of the request at hand, where it came over HTTP.
    pub(super) fn shown_trace_parent(&mut self, conn: ConnId) -> Option<Box<str>> {
        self.caller(conn)?.exchange.as_ref()?.trace_parent.clone()
    }

    /// Answers those who look after the gateway, and ends the connection as ever.
    fn answer_probe(&mut self, conn: ConnId, probe: Probe, request: &http::Request<'_>) {
        let verdict = self.probe_verdict(self.overload_rejection());
        let mut answer = Vec::new();
        probe.answer(request, verdict, &mut answer);
        self.counters.probes_answered_total += 1;
        self.queue_reply(conn, &answer);
        self.end_after_replies(conn, End::OfStream);
    }

    /// Whether newcomers are let in, or why they are refused.
    pub(super) fn probe_verdict(&self, refused: Option<Rejection>) -> Verdict {
        match refused {
            _ if self.stopping => Verdict::Stopping,
            None => Verdict::Good,
            Some(_) => Verdict::Overloaded,
        }
    }

    /// Refuses a request, behind the answers to those before it, and ends the connection.
    fn refuse_call(&mut self, conn: ConnId, rejection: Rejection, body: Body) {
        self.report(conn, super::Incident::Refused(rejection));
        let mut response = Vec::new();
        http::write_rejection(&mut response, rejection, body);
        self.queue_reply(conn, &response);
        self.end_after_replies(conn, End::OfStream);
    }

    /// Bytes of a body: as many as of a message.
    fn message_bytes_max(&self) -> usize {
        usize::try_from(self.config.receive.message_bytes_max)
            .expect("invariant: a usize has 32 bits at least")
    }

    fn caller(&mut self, conn: ConnId) -> Option<&mut Caller> {
        self.session(conn)?.caller.as_deref_mut()
    }
}

/// The `traceparent` of a request, if it has one that is one.
fn trace_parent<'r>(request: &'r http::Request<'_>) -> Option<&'r str> {
    let text = std::str::from_utf8(request.single_value("traceparent")?).ok()?;
    TraceParent::parse(text).map(TraceParent::as_str)
}

/// Whether a page of another site has a browser send what that keeps of its user: for a picture, say, without an `Origin`.
fn is_had_by_another_site(request: &http::Request<'_>) -> bool {
    let site = request.value("Sec-Fetch-Site");
    request.value("Authorization").is_some()
        && site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// When it is to be asked again, in whole seconds as `Retry-After` has them, where the error says.
fn retry_after_s(failure: Failure) -> Option<u32> {
    match failure.detail {
        Detail::Credits { retry_after_ms, .. } => Some(retry_after_ms.div_ceil(1_000)),
        Detail::None | Detail::Order(_) => None,
    }
}

/// The status that goes with an error.
fn status_of(failure: Failure) -> Status {
    const TOO_MANY: i32 = Failure::TOO_MANY_REQUESTS.code;
    const RETRY: i32 = Failure::RETRY.code;
    const UNAVAILABLE: i32 = Failure::UNAVAILABLE.code;
    const CREDENTIALS: i32 = Failure::INVALID_CREDENTIALS.code;
    const UNAUTHORIZED: i32 = Failure::UNAUTHORIZED.code;
    const FORBIDDEN: i32 = Failure::FORBIDDEN.code;
    match failure.code {
        TOO_MANY => Status::TooManyRequests,
        RETRY | UNAVAILABLE => Status::ServiceUnavailable,
        CREDENTIALS | UNAUTHORIZED => Status::Unauthorized,
        FORBIDDEN => Status::Forbidden,
        _ => Status::BadRequest,
    }
}
