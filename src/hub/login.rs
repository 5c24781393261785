//! Logging in and out: a question to the authority, which answers off this shard, and what its verdict changes. PURE.
//! Home: one shard.
//!
//! While a connection waits for its verdict it is not read on, so that each request is judged by what its client is by
//! then; what had arrived is kept and read afterwards. Invariants: a connection has one question under way; each question
//! gets one verdict, unless its connection is gone before it is put; a grant that a connection holds is given back once when
//! another takes its place or it is closed; who is in a named session is known by its grant.

mod shown;

use std::sync::Arc;

use crate::auth::{
    Bucket, GrantId, Keyring, Login, Origin, Proof, Refusal, Request, ScopeRequest, Secret, Signed, Tokens,
    Verdict,
};
use crate::dialect::json_rpc::{self, AuthParams, Failure, GrantType, SessionTokens};
use crate::http::{self, Rejection};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::order::{AccountId, Departure};
use crate::model::time::Now;
use crate::ws::close::CloseCode;

use super::Hub;
use super::batch::Ticket;
use super::effect::Effect;
use super::incident::{Closing, Declined, Incident};
use super::messages::Hearing;
use super::requests::{KeptReplyTo, ReplyTo};
use super::session::{Phase, Session};
use super::settling::End;
use super::text_frame::replace_with_text_frame;
pub(super) use shown::is_signature;
use shown::{bearer_token, proof_shown};

/// What the hub asks of the authority.
#[derive(Debug)]
pub enum LoginQuestion {
    /// To be answered by [`Hub::handle_verdict`]. Whoever passes it on puts in the hash of the peer's address.
    Judge { ticket: Ticket, request: Box<Request> },
    /// A grant is over; no answer.
    Forget(GrantId),
}

impl LoginQuestion {
    /// The connection that asks.
    #[must_use]
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            LoginQuestion::Judge { request, .. } => Some(request.origin.conn),
            LoginQuestion::Forget(_) => None,
        }
    }
}

/// What the hub knows of a client that has logged in, or has tried to.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) login: Option<Box<Login>>,
    /// When the log-in is over.
    pub(super) expires_ns: Option<u64>,
    /// The grant that this connection holds, to be given back.
    grant: Option<GrantId>,
    attempts: Bucket,
    /// Of the question under way.
    waits: Option<Ticket>,
    /// What came since, as it came.
    unread: Vec<u8>,
    /// Whether its peer has ended its side since.
    has_ended: bool,
    /// The account that the connection has asked the desk for, and has not departed from.
    pub(super) asked: Option<AccountId>,
    pub(super) hearing: Hearing,
    /// What came of the bearer token in the upgrade request.
    bearer: Option<Result<(), Refusal>>,
}

/// Who waits for a verdict.
#[derive(Debug)]
pub(super) struct PendingLogin {
    conn: ConnId,
    waiting: Waiting,
    /// What is held for it until its verdict.
    held_bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    Request {
        reply_to: KeptReplyTo,
        state: Option<Box<str>>,
    },
    Upgrade,
    /// A request over HTTP.
    Call,
}

/// Why a question was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unasked {
    TooFast,
    TooMany,
}

impl Identity {
    pub(super) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    pub(super) fn unread_bytes(&self) -> usize {
        self.unread.capacity()
    }
}

impl Session {
    /// What it may do by its log-in.
    pub(super) fn login(&self) -> Option<&Login> {
        self.identity.as_deref()?.login.as_deref()
    }

    /// Whether its log-in is being judged, so that nothing more of it is read.
    pub(super) fn awaits_verdict(&self) -> bool {
        self.identity.as_deref().is_some_and(Identity::is_waiting)
    }

    /// Keeps bytes that came while a verdict is awaited.
    pub(super) fn keep_unread(&mut self, bytes: &[u8]) {
        match (&mut self.phase, &mut self.identity) {
            (Phase::Upgrading { head }, _) => head.extend_from_slice(bytes),
            (Phase::Open, Some(identity)) => identity.unread.extend_from_slice(bytes),
            (Phase::Open, None) => {}
            (Phase::Introducing | Phase::Securing | Phase::Settling { .. } | Phase::Closing { .. }, _) => {}
        }
    }

    /// Whether its peer's end has to wait for the verdict, since what came before it does.
    pub(super) fn put_off_end(&mut self) -> bool {
        let is_read = matches!(self.phase, Phase::Open | Phase::Upgrading { .. });
        match self.identity.as_deref_mut().filter(|identity| is_read && identity.is_waiting()) {
            Some(identity) => {
                identity.has_ended = true;
                true
            }
            None => false,
        }
    }

    /// It is another client's from now on, who has tried none.
    pub(super) fn forget_attempts(&mut self) {
        if let Some(identity) = &mut self.identity {
            identity.attempts = Bucket::default();
        }
    }

    /// Nothing more of it is read.
    pub(super) fn drop_unread(&mut self) {
        if let Some(identity) = &mut self.identity {
            identity.unread = Vec::new();
        }
        if let Some(caller) = &mut self.caller {
            caller.drop_unread();
        }
        if let Some(pipe) = &mut self.pipe {
            pipe.drop_unread();
        }
    }
}

impl Hub {
    /// The next thing to ask the authority; of those that go unasked for now it keeps no more than connections can cause.
    /// For who is gone by now nothing is judged: whose failure it is could not be said.
    pub fn poll_question(&mut self) -> Option<LoginQuestion> {
        loop {
            let question = self.questions.pop_front()?;
            match &question {
                LoginQuestion::Judge { ticket, request } if self.session(request.origin.conn).is_none() => {
                    self.redeem(*ticket);
                }
                LoginQuestion::Judge { .. } | LoginQuestion::Forget(_) => return Some(question),
            }
        }
    }

    /// Whether [`Hub::poll_question`] has something.
    #[must_use]
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// The authority has judged.
    pub fn handle_verdict(&mut self, ticket: Ticket, verdict: Verdict, now: Now) {
        self.now = now;
        let Some(PendingLogin { conn, waiting, .. }) = self.redeem(ticket) else { return };
        self.work.begin_read(conn, now);
        if let Some(identity) = self.session(conn).and_then(|session| session.identity.as_deref_mut()) {
            identity.waits = None;
        }
        match waiting {
            Waiting::Upgrade => self.settle_upgrade(conn, verdict),
            Waiting::Call => {
                let outcome = self.take_verdict(conn, verdict);
                self.settle_call(conn, outcome);
            }
            Waiting::Request { reply_to, state } => {
                self.settle_request_by(conn, &reply_to.get(), state.as_deref(), verdict);
                if self.session(conn).is_some_and(|session| session.is_caller()) {
                    // Who logs in by one request is not logged in by the next.
                    self.forget_shown(conn);
                } else {
                    self.read_on(conn);
                }
            }
        }
        self.serve_answered();
        self.note_unfinished(conn);
        self.go_on(conn);
        self.settle_overflows();
    }

    /// Other keys hold from now on. Who logged in by one that is gone, or changed, is closed.
    pub fn handle_keyring(&mut self, keyring: Arc<Keyring>, now: Now) {
        self.now = now;
        self.keyring = keyring;
        let has_lost = |session: &Session| {
            session.is_open() && session.login().is_some_and(|login| !self.keyring.holds(&login.credential))
        };
        let sessions = self.sessions.iter().flatten();
        let lost: Vec<ConnId> =
            sessions.filter(|session| has_lost(session)).map(|session| session.conn).collect();
        for conn in lost {
            self.begin_close(conn, Closing::KeyRevoked);
        }
    }

    /// A named session is over: another log-in has its name, or somebody has logged out of it. Who was in it is what it was
    /// before.
    pub fn handle_session_ended(&mut self, grant: GrantId, now: Now) {
        self.now = now;
        let first = ConnId { slot: 0, generation: 0 };
        let last = ConnId { slot: u32::MAX, generation: u32::MAX };
        let members = self.session_members.range((grant, first)..=(grant, last));
        let members: Vec<ConnId> = members.map(|(_, conn)| *conn).collect();
        for conn in members {
            let Some(session) = self.session(conn).filter(|session| session.is_open()) else { continue };
            if session.is_caller() {
                self.forget_shown(conn);
            } else {
                self.expire_login(conn);
            }
            self.arm_deadline(conn);
        }
        self.settle_overflows();
    }

    /// `public/auth`.
    pub(super) fn log_in(&mut self, reply_to: ReplyTo<'_>, params: AuthParams<'_>) {
        if reply_to.is_in_batch() {
            // Its other requests would be judged before the verdict.
            let failure = Failure::INVALID_REQUEST.because("public/auth is not taken in a batch");
            return self.reply_error(&reply_to, failure);
        }
        let state = params.state.map(|state| Box::from(&*state));
        let waiting = Waiting::Request { reply_to: reply_to.keep(), state };
        let conn = reply_to.conn;
        if let Err(unasked) = self.put_question(conn, proof_of(params.grant), params.scope, waiting) {
            let failure = self.decline(conn, unasked);
            self.reply_error(&reply_to, failure);
        }
    }

    /// Puts the question of an `Authorization` in a request over HTTP.
    ///
    /// # Errors
    /// What the request is told: it shows nothing that can be judged, or is not judged for now.
    pub(super) fn ask_shown(
        &mut self,
        conn: ConnId,
        value: &[u8],
        request: &http::Request<'_>,
        body: &[u8],
    ) -> Result<(), Failure> {
        let why = "Authorization is not Bearer, Basic or deri-hmac-sha256 as documented";
        let proof = proof_shown(value, request, body).ok_or(Failure::INVALID_CREDENTIALS.because(why));
        let proof = proof.inspect_err(|_| self.report(conn, Incident::Declined(Declined::Login)))?;
        let asked = self.put_question(conn, proof, ScopeRequest::default(), Waiting::Call);
        asked.map_err(|unasked| self.decline(conn, unasked))
    }

    /// A request's own signature did not hold: those that hold are not counted as log-ins, since each request has one.
    pub(super) fn count_attempt(&mut self, conn: ConnId) {
        if let Some(identity) = self.session(conn).and_then(|session| session.identity.as_deref_mut()) {
            identity.attempts.fill();
        }
    }

    /// Counts a question that was not put; what is told of it.
    fn decline(&mut self, conn: ConnId, unasked: Unasked) -> Failure {
        let (declined, failure) = match unasked {
            Unasked::TooFast => {
                let why = "too many log-ins on this connection";
                (Declined::LoginRate, Failure::TOO_MANY_REQUESTS.because(why))
            }
            Unasked::TooMany => {
                (Declined::LoginsWaiting, Failure::RETRY.because("too many log-ins at a time"))
            }
        };
        self.report(conn, Incident::Declined(declined));
        failure
    }

    /// `private/logout`: the reply, then the end, as graceful as the client's own.
    pub(super) fn log_out(&mut self, reply_to: &ReplyTo<'_>, tokens: SessionTokens) {
        if reply_to.is_in_batch() {
            let failure = Failure::INVALID_REQUEST.because("private/logout is not taken in a batch");
            return self.reply_error(reply_to, failure);
        }
        let conn = reply_to.conn;
        self.depart(conn, Departure::LoggedOut);
        self.cancel_calls(conn, Some(Failure::CALL_CANCELLED.because("its log-in is over")));
        self.reply_with(reply_to, json_rpc::write_ok);
        let named = self.session(conn).and_then(|session| session.login()).and_then(|login| login.grant);
        if let (Some(grant), SessionTokens::Invalidated) = (named, tokens) {
            self.questions.push_back(LoginQuestion::Forget(grant));
        }
        if self.session(conn).is_some_and(|session| session.is_open()) {
            self.begin_close_with(conn, Some(CloseCode::NORMAL), "logged out");
        }
    }

    /// `private/list_api_keys`.
    pub(super) fn reply_keys(&mut self, reply_to: &ReplyTo<'_>) {
        let login = self.session(reply_to.conn).and_then(|session| session.login());
        let Some(account) = login.map(|login| login.credential.account.clone()) else {
            return self.reply_error(reply_to, Failure::NOT_LOGGED_IN);
        };
        let (keyring, unix_ms) = (Arc::clone(&self.keyring), self.now.unix_ns / 1_000_000);
        self.work.looked_at(keyring.credentials().len());
        let own = keyring.credentials().filter(|key| key.account == account).map(|key| &**key);
        self.reply_with(reply_to, |out| json_rpc::write_keys(out, own, unix_ms));
    }

    /// Whether the bearer token of an upgrade request, if there is one, was taken; false while that is not known.
    pub(super) fn admit_bearer(
        &mut self,
        conn: ConnId,
        request: &http::Request<'_>,
    ) -> Result<bool, Rejection> {
        let Some(token) = bearer_token(request)? else { return Ok(true) };
        let judged = self.session(conn).and_then(|session| session.identity.as_deref()?.bearer);
        match judged {
            Some(Ok(())) => Ok(true),
            Some(Err(refusal)) => Err(rejection_of(refusal)),
            None => {
                let proof = Proof::Bearer { token: Secret::new(token) };
                match self.put_question(conn, proof, ScopeRequest::default(), Waiting::Upgrade) {
                    Ok(()) => Ok(false),
                    Err(Unasked::TooFast) => Err(Rejection::BearerRate),
                    Err(Unasked::TooMany) => Err(Rejection::BearersWaiting),
                }
            }
        }
    }

    /// A client's log-in has come to its end: it is what it was before.
    pub(super) fn expire_login(&mut self, conn: ConnId) {
        self.depart(conn, Departure::Disconnected);
        self.cancel_calls(conn, Some(Failure::CALL_CANCELLED.because("its log-in is over")));
        self.leave_named_session(conn);
        if self.session(conn).is_some_and(|session| session.pipe.is_some()) {
            // What it may see was decided when it was opened.
            return self.begin_close_with(conn, Some(CloseCode::POLICY_VIOLATION), "its log-in is over");
        }
        if let Some(identity) = self.session(conn).and_then(|session| session.identity.as_deref_mut()) {
            (identity.login, identity.expires_ns) = (None, None);
        }
        self.end_forbidden(conn);
        let mut frame = std::mem::take(&mut self.scratch);
        replace_with_text_frame(&mut frame, json_rpc::write_login_expired);
        self.queue_reply(conn, &frame);
        self.scratch = frame;
    }

    /// A connection is gone, and with it what it held.
    pub(super) fn give_back_grant(&mut self, conn: ConnId) {
        self.leave_named_session(conn);
        let identity = self.session(conn).and_then(|session| session.identity.as_deref_mut());
        if let Some(grant) = identity.and_then(|identity| identity.grant.take()) {
            self.questions.push_back(LoginQuestion::Forget(grant));
        }
    }

    /// Puts a question, and has the connection wait for its answer.
    fn put_question(
        &mut self,
        conn: ConnId,
        proof: Proof,
        scope: ScopeRequest,
        waiting: Waiting,
    ) -> Result<(), Unasked> {
        let (per_minute_max, now_ns) = (self.config.logins_per_minute_max, self.now.mono_ns);
        let is_full = self.logins.entries.len() >= limits::LOGINS_PENDING_MAX;
        let origin = Origin { shard: self.me.0, conn, reach: self.policy(conn).reach, address: 0 };
        let Some(session) = self.session(conn) else { return Err(Unasked::TooMany) };
        let identity = session.identity.get_or_insert_default();
        assert!(identity.waits.is_none(), "a connection that waits for a verdict is not read");
        if identity.attempts.is_full(per_minute_max, now_ns) {
            return Err(Unasked::TooFast);
        }
        if is_full {
            return Err(Unasked::TooMany);
        }
        if !matches!(proof, Proof::SignedCall(_)) {
            identity.attempts.fill();
        }
        let request = Box::new(Request { proof, scope, origin });
        let held_bytes = held_bytes(&request, &waiting);
        self.login_bytes += held_bytes;
        let ticket = self.logins.issue(PendingLogin { conn, waiting, held_bytes });
        self.questions.push_back(LoginQuestion::Judge { ticket, request });
        let Some(session) = self.session(conn) else { return Ok(()) };
        session.identity.get_or_insert_default().waits = Some(ticket);
        if !std::mem::replace(&mut session.reading_paused, true) {
            self.effects.push_back(Effect::PauseReading { conn });
        }
        Ok(())
    }

    fn redeem(&mut self, ticket: Ticket) -> Option<PendingLogin> {
        let pending = self.logins.redeem(ticket)?;
        self.login_bytes -= pending.held_bytes;
        Some(pending)
    }

    pub(super) fn leave_named_session(&mut self, conn: ConnId) {
        let named = self.session(conn).and_then(|session| session.login()).and_then(Login::named_grant);
        if let Some(grant) = named {
            self.session_members.remove(&(grant, conn));
        }
    }

    fn settle_upgrade(&mut self, conn: ConnId, verdict: Verdict) {
        let outcome = self.take_verdict(conn, verdict);
        let Some(session) = self.session(conn) else { return };
        session.identity.get_or_insert_default().bearer = Some(outcome);
        self.answer_kept_head(conn);
    }

    fn take_verdict(&mut self, conn: ConnId, verdict: Verdict) -> Result<(), Refusal> {
        match verdict {
            Verdict::Granted { login, .. } => {
                self.take_login(conn, login);
                Ok(())
            }
            Verdict::Refused(refusal) => Err(refusal),
        }
    }

    fn settle_request_by(
        &mut self,
        conn: ConnId,
        reply_to: &ReplyTo<'_>,
        state: Option<&str>,
        verdict: Verdict,
    ) {
        match verdict {
            Verdict::Granted { login, tokens } => {
                let told = tokens.map(|tokens| (login.clone(), tokens));
                let is_told = self.session(conn).is_some_and(|session| session.is_answered());
                if told.is_some() && !is_told {
                    // It was cut off meanwhile, and nobody has the tokens.
                    self.questions.extend(login.named_grant().map(LoginQuestion::Forget));
                }
                self.take_login(conn, login);
                if let Some((login, tokens)) = told {
                    let tokens: &Tokens = &tokens;
                    self.reply_with(reply_to, |out| json_rpc::write_granted(out, &login, tokens, state));
                }
            }
            Verdict::Refused(refusal) => {
                self.report_refusal(conn, refusal);
                self.reply_error(reply_to, json_rpc::refusal(refusal));
            }
        }
    }

    /// Counts a log-in that was refused.
    pub(super) fn report_refusal(&mut self, conn: ConnId, refusal: Refusal) {
        if let Some(declined) = declined_by(refusal) {
            self.report(conn, Incident::Declined(declined));
        }
    }

    /// The client is who it says from now on, and no longer who it was.
    fn take_login(&mut self, conn: ConnId, login: Box<Login>) {
        let held = login.grant.filter(|_| login.session.is_none());
        let left_ns = login.expires_unix_ms.saturating_mul(1_000_000).saturating_sub(self.now.unix_ns);
        let expires_ns = self.now.mono_ns.saturating_add(left_ns);
        let is_taken = |session: &mut Session| matches!(session.phase, Phase::Open | Phase::Upgrading { .. });
        if !self.session(conn).is_some_and(is_taken) {
            // It went while it waited.
            self.questions.extend(held.map(LoginQuestion::Forget));
            return;
        }
        let asked = self.session(conn).and_then(|session| session.identity.as_deref()?.asked);
        if asked.is_some_and(|asked| asked != login.account) {
            // Who it was is not there any more.
            self.depart(conn, Departure::Disconnected);
        }
        let account = self.session(conn).and_then(|session| session.login()).map(|before| before.account);
        if account.is_some_and(|before| before != login.account) {
            self.cancel_calls(
                conn,
                Some(Failure::CALL_CANCELLED.because("the connection is another account's")),
            );
        }
        self.leave_named_session(conn);
        self.session_members.extend(login.named_grant().map(|grant| (grant, conn)));
        let Some(session) = self.session(conn) else { return };
        let identity = session.identity.get_or_insert_default();
        let client_id = login.credential.client_id.clone();
        let before = identity.login.replace(login).map(|before| before.credential.client_id.clone());
        identity.expires_ns = Some(expires_ns);
        let given_back = std::mem::replace(&mut identity.grant, held).filter(|old| Some(*old) != held);
        self.questions.extend(given_back.map(LoginQuestion::Forget));
        if let Some(before) = before {
            self.end_forbidden(conn);
            self.end_forbidden_messages(conn, before == client_id);
        }
        self.arm_deadline(conn);
    }

    /// After a verdict: reads on, or ends what its peer, or we, have ended meanwhile.
    fn go_on(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn).filter(|session| !session.awaits_verdict()) else { return };
        // The end of one that settles follows the replies as it is.
        let is_settling = matches!(session.phase, Phase::Settling { .. });
        let identity = session.identity.as_deref_mut();
        if identity.is_some_and(|identity| std::mem::take(&mut identity.has_ended)) && !is_settling {
            return self.end_after_replies(conn, End::OfStream);
        }
        self.resume_reading(conn);
        self.settle(conn);
    }

    /// Reads what came while a verdict was awaited.
    fn read_on(&mut self, conn: ConnId) {
        let identity = self.session(conn).and_then(|session| session.identity.as_deref_mut());
        let mut unread = identity.map(|identity| std::mem::take(&mut identity.unread)).unwrap_or_default();
        self.work.handled(unread.len() as u64);
        self.handle_frames(conn, &mut unread);
    }
}

/// Bytes that a question and who waits for it take.
fn held_bytes(request: &Request, waiting: &Waiting) -> usize {
    let proof_bytes = match &request.proof {
        Proof::Secret { client_id, secret } => client_id.len() + secret.bytes().len(),
        Proof::Signature(signed) | Proof::SignedCall(signed) => {
            signed.client_id.len() + signed.nonce.len() + signed.data.len()
        }
        Proof::Refresh { token } | Proof::Bearer { token } => token.bytes().len(),
    };
    let state_bytes = match waiting {
        Waiting::Request { state, .. } => state.as_deref().map_or(0, str::len),
        Waiting::Upgrade | Waiting::Call => 0,
    };
    size_of::<PendingLogin>() + size_of::<Request>() + proof_bytes + state_bytes
}

fn proof_of(grant: GrantType<'_>) -> Proof {
    match grant {
        GrantType::ClientCredentials { client_id, client_secret } => {
            Proof::Secret { client_id: client_id.into(), secret: Secret::new(client_secret.as_bytes()) }
        }
        GrantType::ClientSignature { client_id, timestamp_ms, nonce, data, signature } => {
            Proof::Signature(Signed {
                client_id: client_id.into(),
                timestamp_ms,
                nonce: nonce.into(),
                data: data.into(),
                signature,
            })
        }
        GrantType::RefreshToken { refresh_token } => {
            Proof::Refresh { token: Secret::new(refresh_token.as_bytes()) }
        }
    }
}

/// What a refusal counts as; room that runs out is not the client's fault.
const fn declined_by(refusal: Refusal) -> Option<Declined> {
    match refusal {
        Refusal::Credentials
        | Refusal::CredentialExpired
        | Refusal::ElsewhereOnly
        | Refusal::Timestamp
        | Refusal::Replayed => Some(Declined::Login),
        Refusal::Token | Refusal::TokenExpired => Some(Declined::Token),
        Refusal::TooManyFailures | Refusal::TooManySignatures => Some(Declined::LoginRate),
        Refusal::Full => Some(Declined::LoginsWaiting),
        Refusal::TooManySessions | Refusal::SessionsAway | Refusal::SessionUnknown => None,
    }
}

const fn rejection_of(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::Credentials
        | Refusal::CredentialExpired
        | Refusal::ElsewhereOnly
        | Refusal::Timestamp
        | Refusal::Replayed
        | Refusal::Token
        | Refusal::TokenExpired
        | Refusal::TooManySessions => Rejection::BearerRefused,
        Refusal::TooManyFailures | Refusal::TooManySignatures => Rejection::BearerRate,
        Refusal::Full => Rejection::BearersWaiting,
        Refusal::SessionsAway | Refusal::SessionUnknown => Rejection::SessionsAway,
    }
}
