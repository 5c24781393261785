//! The life of a connection: upgrade, frames, deadlines, close. PURE. Home: one shard.
//! Invariant: once a close frame or a refusal is queued, nothing of the peer is read and nothing else is queued; every
//! connection that was opened is ended by an effect or by the peer.

use std::sync::Arc;

use crate::dialect::json_rpc;
use crate::front;
use crate::http::{self, Body, Probe, Rejection};
use crate::model::encoding::{Encoding, Form};
use crate::model::ids::ConnId;
use crate::model::order::Departure;
use crate::model::time::Now;
use crate::tls;
use crate::ws::Fault;
use crate::ws::close::{self, CloseCode};
use crate::ws::deflate::Agreement;
use crate::ws::frame::Opcode;
use crate::ws::handshake;
use crate::ws::receiver::Event;

use super::Hub;
use super::control_frame::ControlFrame;
use super::deflation::Compression;
use super::echo;
use super::effect::{Effect, Ending};
use super::egress::ControlLane;
use super::encoding::{agree_on_dialect, replace_with_heartbeat};
use super::http_api::is_call;
use super::incident::{Closing, Incident, Waiting};
use super::intake::Intake;
use super::listener::{Arrival, Echo, Framing, ListenerPolicy, Way};
use super::pipes;
use super::rates::Rates;
use super::session::{Phase, Ping, Progress, Service, Session};
use super::settling::{End, settling_ns};

/// Paths on which the JSON-RPC dialect is spoken; the second is Deribit's.
const PATHS: [&str; 2] = ["/ws", "/ws/api/v2"];

/// An upgrade that is granted.
struct Opening {
    /// The answer.
    head: Vec<u8>,
    service: Service,
    form: Form,
    deflate: Option<Agreement>,
    /// Of one whose messages control answers.
    authorization: Option<Arc<str>>,
    /// Bytes of the request; what follows are frames.
    request_bytes: usize,
}

/// What a whole request comes to.
enum Answer {
    Opened(Opening),
    /// A probe's answer, after which the connection ends.
    Probed(Vec<u8>),
    /// A method is called: see `http_api.rs`.
    Called,
}

/// What has come of a request for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    IsUnfinished,
    IsAnswered,
}

impl Hub {
    /// A connection was accepted.
    pub fn handle_open(&mut self, conn: ConnId, arrival: Arrival, now: Now) {
        self.now = now;
        let slot = conn.slot as usize;
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        assert!(self.sessions[slot].is_none(), "a slot is closed before it is opened again");
        assert!(usize::from(arrival.listener) < self.config.listeners.len(), "each listener has its policy");
        let framing = self.config.listeners[usize::from(arrival.listener)].framing;
        let receiver = Intake::new(framing, self.config.receive);
        let rates = Rates::of(self.config.rates, now.mono_ns);
        self.sessions[slot] = Some(Box::new(Session::new(conn, arrival, receiver, rates, now)));
        self.forwardings.open(conn, arrival.proxy);
        self.egress.open(conn);
        self.counters.connections_opened_total += 1;
        self.arm_deadline(conn);
        if self.stopping {
            self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
            self.mark_closing(conn, true);
        } else if framing == Framing::LengthPrefixed && arrival.way == Way::Open {
            self.open_length_prefixed(conn);
        }
    }

    /// Bytes have arrived; they are unmasked in place.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &mut [u8], now: Now) {
        self.now = now;
        self.counters.bytes_received_total += bytes.len() as u64;
        self.work.begin_read(conn, now);
        let Some(session) = self.session(conn) else { return };
        session.received_ns = now.mono_ns;
        session.ping = Ping::No;
        if session.is_caller() && session.is_open() {
            self.receive_calls(conn, bytes);
            self.note_unfinished(conn);
            return self.settle_overflows();
        }
        if session.awaits_verdict() {
            session.keep_unread(bytes);
            return self.note_unfinished(conn);
        }
        let is_length_prefixed = session.receiver.is_length_prefixed();
        match &mut session.phase {
            Phase::Introducing | Phase::Settling { .. } | Phase::Closing { .. } => {}
            Phase::Open => self.handle_frames(conn, bytes),
            // Bytes that get through may come before the word that the handshake is done.
            Phase::Securing if is_length_prefixed => {
                self.open_length_prefixed(conn);
                self.handle_frames(conn, bytes);
            }
            Phase::Securing => self.handle_head(conn, Vec::new(), bytes),
            Phase::Upgrading { head } => {
                let head = std::mem::take(head);
                self.handle_head(conn, head, bytes);
            }
        }
        self.note_unfinished(conn);
        self.settle_overflows();
    }

    /// The peer sends no more. It may still read: what answers it, a close frame too, goes first.
    pub fn handle_eof(&mut self, conn: ConnId, now: Now) {
        self.now = now;
        if self.session(conn).is_some() && self.forwardings.put_off_end(conn) {
            return;
        }
        if self.session(conn).is_some_and(|session| session.is_caller() && session.is_open()) {
            return self.end_calls(conn);
        }
        if self.session(conn).is_some_and(Session::put_off_end) {
            return;
        }
        match self.session(conn).map(|session| &session.phase) {
            // Its end follows the replies as it is.
            None | Some(Phase::Settling { .. }) => {}
            Some(
                Phase::Introducing
                | Phase::Securing
                | Phase::Upgrading { .. }
                | Phase::Open
                | Phase::Closing { .. },
            ) => {
                self.end_after_replies(conn, End::OfStream);
            }
        }
    }

    /// The connection is gone.
    pub fn handle_closed(&mut self, conn: ConnId, now: Now) {
        self.now = now;
        if let Some(opened_ns) = self.session(conn).map(|session| session.opened_ns) {
            self.counters.connections_closed_ns_total += now.mono_ns.saturating_sub(opened_ns);
            self.depart(conn, Departure::Disconnected);
            self.cancel_calls(conn, None);
            self.unsubscribe_all(conn);
            self.give_back_grant(conn);
            self.close_pipe(conn);
            self.forwardings.close(conn);
            self.egress.close(conn);
            self.wheel.disarm(conn.slot);
            self.forget_unfinished(conn);
            self.drop_batches(conn);
            self.trace(conn, false);
            self.sessions[conn.slot as usize] = None;
            self.counters.connections_closed_total += 1;
        }
    }

    /// Looks after what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now.mono_ns, &mut due);
        for slot in due.drain(..) {
            if let Some(session) = self.sessions[slot as usize].as_deref_mut() {
                session.armed_ns = None;
                let conn = session.conn;
                self.handle_deadline(conn);
            }
        }
        self.due = due;
        self.end_due_calls();
        self.resume_processors();
    }

    /// When [`Hub::handle_timeout`] is to be called next, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let deadlines = [
            self.wheel.next_deadline_ns(),
            self.calls.poll_timeout(),
            self.processors.poll_timeout(),
            self.pressure_due_ns(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Bytes of the request that a connection begins with, behind those that have come of it before.
    fn handle_head(&mut self, conn: ConnId, mut head: Vec<u8>, bytes: &mut [u8]) {
        if head.is_empty() {
            if self.handle_upgrade(conn, bytes) == Request::IsUnfinished {
                self.keep_head(conn, bytes.to_vec());
            }
        } else {
            // All of it is parsed again.
            self.work.written(head.len());
            head.extend_from_slice(bytes);
            self.upgrade_or_keep(conn, head);
        }
    }

    /// Answers the request that a connection begins with, or waits for more of it.
    pub(super) fn upgrade_or_keep(&mut self, conn: ConnId, mut head: Vec<u8>) {
        if self.handle_upgrade(conn, &mut head) == Request::IsUnfinished {
            self.keep_head(conn, head);
        }
    }

    fn keep_head(&mut self, conn: ConnId, head: Vec<u8>) {
        if let Some(session) = self.session(conn) {
            session.phase = Phase::Upgrading { head };
        }
    }

    fn handle_upgrade(&mut self, conn: ConnId, bytes: &mut [u8]) -> Request {
        match self.answer_upgrade(conn, bytes) {
            Ok(None) => return Request::IsUnfinished,
            Ok(Some(Answer::Probed(answer))) => {
                self.counters.probes_answered_total += 1;
                self.egress.push_head(conn.slot, answer);
                self.mark_closing(conn, false);
            }
            Ok(Some(Answer::Opened(opening))) => {
                let Opening { head, service, form, deflate, authorization, request_bytes } = opening;
                let opened_ns = self.session(conn).map(|session| session.opened_ns);
                opened_ns.into_iter().for_each(|opened_ns| self.marks.upgrades.add(opened_ns, 1));
                if let Some(session) = self.session(conn) {
                    session.phase = Phase::Open;
                    session.service = service;
                    session.form = form;
                    if service == Service::Echo {
                        session.receiver = Intake::new(Framing::WebSocket, echo::RECEIVE);
                    }
                    if let Some(agreement) = &deflate {
                        session.receiver.agree_on_deflate(agreement);
                        session.compression = Compression::deflated(agreement.server_window());
                    }
                }
                self.egress.push_head(conn.slot, head);
                self.egress.send_batched(conn.slot, form.is_batched());
                self.arm_deadline(conn);
                if service == Service::Mcp {
                    self.open_pipe(conn, authorization);
                }
                self.handle_frames(conn, &mut bytes[request_bytes..]);
            }
            Ok(Some(Answer::Called)) => self.begin_calls(conn, bytes),
            Err(rejection) => self.refuse_upgrade(conn, rejection, Body::asked_for_by(bytes)),
        }
        Request::IsAnswered
    }

    /// Answers the request whose bearer token has been judged.
    pub(super) fn answer_kept_head(&mut self, conn: ConnId) {
        let Some(Phase::Upgrading { head }) = self.session(conn).map(|session| &mut session.phase) else {
            return;
        };
        let mut head = std::mem::take(head);
        self.work.handled(head.len() as u64);
        if self.handle_upgrade(conn, &mut head) == Request::IsUnfinished {
            // Other proxies are trusted than when it was asked, by which it is another client's.
            assert!(self.forwardings.is_asked(conn), "a request whose token was judged is whole");
            self.keep_head(conn, head);
        }
    }

    /// What a request comes to; `None` while it is not whole, its client is being named or its bearer token judged.
    fn answer_upgrade(&mut self, conn: ConnId, bytes: &[u8]) -> Result<Option<Answer>, Rejection> {
        let Some(request) = http::parse_within(bytes, self.config.head)? else { return Ok(None) };
        if !self.is_named(conn, &request) {
            return Ok(None);
        }
        let refused = self.session(conn).and_then(|session| session.refused);
        let refused = refused.or(self.overload_rejection());
        if let Some(probe) = Probe::of(request.path) {
            Probe::check(&request)?;
            let verdict = self.probe_verdict(refused);
            let mut answer = Vec::new();
            probe.answer(&request, verdict, &mut answer);
            return Ok(Some(Answer::Probed(answer)));
        }
        if let Some(rejection) = refused {
            return Err(rejection);
        }
        if is_call(request.path) {
            return Ok(Some(Answer::Called));
        }
        let service = match request.path {
            path if PATHS.contains(&path) => Service::JsonRpc,
            echo::PATH if self.policy(conn).echo == Echo::On => Service::Echo,
            pipes::PATH if self.config.serves_mcp => Service::Mcp,
            _ => return Err(Rejection::NotFound),
        };
        let upgrade = handshake::upgrade(&request)?;
        let host = request.value("Host").unwrap_or_default();
        let policy = self.policy(conn);
        if upgrade.origin().is_some_and(|origin| !policy.admits(origin, host)) {
            return Err(Rejection::OriginForbidden);
        }
        let agreed = agree_on_dialect(service, request.query, upgrade.subprotocols())?;
        let deflate = upgrade.deflate(self.policy(conn).deflate.as_ref())?;
        if service != Service::Echo && !self.admit_bearer(conn, &request)? {
            return Ok(None);
        }
        let mut head = Vec::new();
        let (accept_key, subprotocol) = (&upgrade.accept_key, agreed.subprotocol);
        handshake::write_switching_protocols(&mut head, accept_key, subprotocol, deflate.as_ref());
        let authorization = request.single_value("Authorization").filter(|_| service == Service::Mcp);
        let authorization = authorization.and_then(|value| std::str::from_utf8(value).ok()).map(Into::into);
        let request_bytes = request.head_bytes;
        let form = agreed.form;
        let opening = Opening { head, service, form, deflate, authorization, request_bytes };
        Ok(Some(Answer::Opened(opening)))
    }

    /// The rules of the listener that a connection came to.
    pub(super) fn policy(&self, conn: ConnId) -> &ListenerPolicy {
        let listener = self.sessions[conn.slot as usize].as_ref().map_or(0, |session| session.listener);
        &self.config.listeners[usize::from(listener)]
    }

    fn refuse_upgrade(&mut self, conn: ConnId, rejection: Rejection, body: Body) {
        self.report(conn, Incident::Refused(rejection));
        let mut response = Vec::new();
        http::write_rejection(&mut response, rejection, body);
        self.egress.push_head(conn.slot, response);
        self.mark_closing(conn, false);
    }

    pub(super) fn handle_frames(&mut self, conn: ConnId, bytes: &mut [u8]) {
        let now_ns = self.now.mono_ns;
        let mut taken = 0;
        while taken < bytes.len() {
            let session = self.sessions.get_mut(conn.slot as usize).and_then(Option::as_deref_mut);
            let Some(session) = session.filter(|session| session.conn == conn && session.is_open()) else {
                return;
            };
            if self.work.has_inflated_enough() && session.service != Service::Echo {
                return self.begin_close(conn, Closing::InflatedBurst);
            }
            if session.awaits_verdict() {
                return session.keep_unread(&bytes[taken..]);
            }
            if session.awaits_control() {
                if let Some(pipe) = &mut session.pipe {
                    pipe.keep(&bytes[taken..]);
                }
                return;
            }
            let (service, form) = (session.service, session.form);
            let before = (self.inflaters.inflated_bytes_total(), self.inflaters.restarts_total());
            let lent_before = self.inflaters.lent();
            let step = session.receiver.step(&mut bytes[taken..], &mut self.inflaters);
            let inflated = self.inflaters.inflated_bytes_total() - before.0;
            self.counters.inflated_bytes_total += inflated;
            self.work.inflated(inflated, self.inflaters.restarts_total() - before.1);
            let (consumed, event) = match step {
                Ok(step) => step,
                Err(fault) => return self.close_broken(conn, fault),
            };
            taken += consumed;
            if let Some(rates) = &mut session.rates
                && let Err(closing) =
                    rates.count(u64::from(event.is_some()), inflated.max(consumed as u64), now_ns)
            {
                return self.begin_close(conn, closing);
            }
            if session.note_progress(now_ns) == Progress::Begun {
                self.arm_deadline(conn);
            }
            self.note_inflater(conn, lent_before);
            if let Some(event) = &event {
                // What came earlier of this message is work of now.
                let earlier = event.payload_bytes().saturating_sub(consumed) as u64;
                self.work.handled(earlier.saturating_sub(inflated));
            }
            match event {
                None | Some(Event::Pong(_)) => {}
                Some(Event::Text(text)) => match service {
                    Service::JsonRpc => self.handle_text(conn, text.as_bytes()),
                    Service::Echo => self.echo(conn, Opcode::Text, text.as_bytes()),
                    Service::Mcp => self.pipe_text(conn, text.as_bytes()),
                },
                Some(Event::Binary(bytes)) => match service {
                    Service::JsonRpc if form.is_batched() => self.handle_order_batch(conn, &bytes),
                    Service::JsonRpc if form.encoding() == Encoding::Sbe => {
                        self.handle_order_message(conn, &bytes);
                    }
                    Service::JsonRpc | Service::Mcp => return self.begin_close(conn, Closing::Binary),
                    Service::Echo => self.echo(conn, Opcode::Binary, &bytes),
                },
                Some(Event::Ping(payload)) => {
                    let frame = ControlFrame::of(Opcode::Pong, &payload);
                    self.egress.push_control(conn.slot, ControlLane::Pong, frame);
                }
                Some(Event::Close(peer)) => {
                    // RFC 6455 §5.5.1: the answer echoes the code.
                    return self.begin_close_with(conn, peer.code, "");
                }
            }
        }
    }

    /// Counts an incident and has it logged.
    pub(super) fn report(&mut self, conn: ConnId, incident: Incident) {
        let ends = match incident {
            Incident::Refused(_) | Incident::Broken(_) | Incident::Closed(_) => true,
            // The layer below may fail, or find its peer gone, while the end is under way.
            Incident::Declined(_) | Incident::Front(_) | Incident::Tls(_) | Incident::Vanished => false,
        };
        if ends && let Some(session) = self.session(conn) {
            assert!(!session.is_faulted, "a connection ends for one reason");
            session.is_faulted = true;
        }
        self.incidents.count(incident);
        self.effects.push_back(Effect::Report { conn, incident });
    }

    /// Closes a connection for a fault of its receiver's; requests that were read are answered.
    pub(super) fn close_broken(&mut self, conn: ConnId, fault: Fault) {
        self.report(conn, Incident::Broken(fault));
        self.begin_close_with(conn, Some(fault.close_code()), fault.reason());
    }

    /// Closes a connection for one of our own reasons; data that wait on it are dropped. Where it ends for another reason
    /// already, it ends for that one, now, and its replies are dropped too: it settles, or is being told why its call is
    /// refused and takes no replies.
    pub(super) fn begin_close(&mut self, conn: ConnId, closing: Closing) {
        let Some(session) = self.session(conn) else { return };
        assert!(
            session.is_answered(),
            "invariant: who is told nothing more has nothing more to be closed for"
        );
        if session.is_faulted {
            self.egress.discard_replies(conn.slot);
            return self.end_settling(conn);
        }
        self.report(conn, Incident::Closed(closing));
        let (code, reason) = (Some(closing.close_code()), closing.reason());
        match closing.replies() {
            Waiting::IsSent => self.begin_close_with(conn, code, reason),
            Waiting::IsDropped => {
                self.egress.discard_replies(conn.slot);
                self.close_now(conn, code, reason);
            }
        }
    }

    /// Has a close frame follow the replies: requests that were read are answered.
    pub(super) fn begin_close_with(&mut self, conn: ConnId, code: Option<CloseCode>, reason: &'static str) {
        self.end_after_replies(conn, End::CloseFrame { code, reason });
    }

    /// Queues a close frame behind the replies that are known.
    pub(super) fn close_now(&mut self, conn: ConnId, code: Option<CloseCode>, reason: &'static str) {
        if self.session(conn).is_some_and(|session| session.is_caller()) {
            // HTTP has no word for it: the end of the connection says it.
            return self.end(conn, End::OfStream);
        }
        self.tell_going(conn);
        self.unsubscribe_all(conn);
        if self.egress.is_length_prefixed(conn.slot) {
            return self.close_length_prefixed(conn, code, reason);
        }
        let mut payload = [0; close::PAYLOAD_BYTES_MAX];
        let len = code.map_or(0, |code| close::write_payload(&mut payload, code, reason));
        let frame = ControlFrame::of(Opcode::Close, &payload[..len]);
        self.egress.push_control(conn.slot, ControlLane::Close, frame);
        self.mark_closing(conn, false);
    }

    pub(super) fn mark_closing(&mut self, conn: ConnId, ending_asked: bool) {
        self.depart(conn, Departure::Disconnected);
        let now_ns = self.now.mono_ns;
        if let Some(session) = self.session(conn) {
            let since_ns = match session.phase {
                Phase::Settling { since_ns, .. } => since_ns,
                Phase::Introducing
                | Phase::Securing
                | Phase::Upgrading { .. }
                | Phase::Open
                | Phase::Closing { .. } => now_ns,
            };
            session.phase = Phase::Closing { since_ns, ending_asked };
            session.heartbeat = None;
        }
        self.forget_unfinished(conn);
        self.cancel_calls(conn, None);
        self.drop_batches(conn);
        self.arm_deadline(conn);
    }

    /// One deadline of a connection may have come.
    fn handle_deadline(&mut self, conn: ConnId) {
        let now_ns = self.now.mono_ns;
        let (close_timeout_ns, handshake_timeout_ns, write_timeout_ns) =
            (self.config.close_timeout_ns, self.config.handshake_timeout_ns, self.config.write_timeout_ns);
        let Some(session) = self.session(conn) else { return };
        if session.reading_paused {
            // It is not heard because it is not read.
            session.received_ns = now_ns;
            session.ping = Ping::No;
            session.message_begun_ns = session.message_begun_ns.map(|_| now_ns);
        }
        match &session.phase {
            Phase::Closing { since_ns, .. } if now_ns >= since_ns + close_timeout_ns => {
                self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Abort });
                return;
            }
            Phase::Introducing if now_ns >= session.opened_ns + handshake_timeout_ns => {
                return self.end_unintroduced(conn, front::Fault::HeaderTimeout);
            }
            Phase::Securing if now_ns >= session.opened_ns + handshake_timeout_ns => {
                self.report(conn, Incident::Tls(tls::Fault::HandshakeTimeout));
                self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Abort });
                return self.mark_closing(conn, true);
            }
            Phase::Settling { since_ns, .. } if now_ns >= since_ns + settling_ns(close_timeout_ns) => {
                return self.end_settling(conn);
            }
            Phase::Upgrading { head } if now_ns >= session.opened_ns + handshake_timeout_ns => {
                let body = Body::asked_for_by(head);
                return self.refuse_upgrade(conn, Rejection::HeadTimeout, body);
            }
            Phase::Open
                if session.write_begun_ns.is_some_and(|begun_ns| now_ns >= begun_ns + write_timeout_ns) =>
            {
                return self.begin_close(conn, Closing::WriteStalled);
            }
            Phase::Open if session.is_caller() => self.handle_call_deadline(conn),
            Phase::Open => self.handle_open_deadline(conn),
            Phase::Settling { .. }
            | Phase::Closing { .. }
            | Phase::Introducing
            | Phase::Securing
            | Phase::Upgrading { .. } => {}
        }
        self.arm_deadline(conn);
    }

    fn handle_open_deadline(&mut self, conn: ConnId) {
        let now_ns = self.now.mono_ns;
        let policy = self.policy(conn);
        let (interval_ns, timeout_ns) = (policy.ping_interval_ns, policy.ping_timeout_ns);
        let (idle_ns, message_ns) = (self.config.idle_timeout_ns, self.config.message_timeout_ns);
        let Some(session) = self.session(conn) else { return };
        let quiet_ns = now_ns.saturating_sub(session.received_ns);
        if session.identity.as_deref().and_then(|known| known.expires_ns).is_some_and(|at_ns| now_ns >= at_ns)
        {
            self.expire_login(conn);
        }
        let Some(session) = self.session(conn).filter(|session| session.is_open()) else { return };
        if idle_ns > 0 && quiet_ns >= idle_ns {
            return self.begin_close(conn, Closing::Idle);
        }
        if message_ns > 0 && session.message_begun_ns.is_some_and(|begun_ns| now_ns >= begun_ns + message_ns)
        {
            return self.begin_close(conn, Closing::MessageStalled);
        }
        match session.ping {
            Ping::Sent { at_ns } if now_ns >= at_ns + timeout_ns => {
                return self.begin_close(conn, Closing::PongMissing);
            }
            Ping::No if interval_ns > 0 && quiet_ns >= interval_ns => {
                session.ping = Ping::Queued;
                let frame = ControlFrame::of(Opcode::Ping, &[]);
                self.egress.push_control(conn.slot, ControlLane::Ping, frame);
            }
            Ping::No | Ping::Queued | Ping::Sent { .. } => {}
        }
        self.handle_heartbeat(conn);
    }

    /// Deribit's heartbeat: a `test_request` to a client that has said nothing for an interval, and the end of one
    /// that says nothing after it for another. Who answers at once has been silent for nearly an interval at its end, or for
    /// a little more where the deadline came late: the answer counts, not the silence.
    fn handle_heartbeat(&mut self, conn: ConnId) {
        let now_ns = self.now.mono_ns;
        let Some(session) = self.session(conn) else { return };
        let (received_ns, encoding) = (session.received_ns, session.form.encoding());
        let Some(heartbeat) = &mut session.heartbeat else { return };
        if now_ns < heartbeat.due_ns {
            return;
        }
        if heartbeat.tested_ns.is_some_and(|tested_ns| received_ns < tested_ns) {
            return self.begin_close(conn, Closing::HeartbeatLost);
        }
        let silent = now_ns.saturating_sub(received_ns) >= heartbeat.interval_ns;
        let kind = if silent { json_rpc::Heartbeat::TestRequest } else { json_rpc::Heartbeat::Beat };
        heartbeat.tested_ns = silent.then_some(now_ns);
        heartbeat.due_ns = now_ns + heartbeat.interval_ns;
        let mut frame = std::mem::take(&mut self.scratch);
        replace_with_heartbeat(&mut frame, encoding, kind, self.now.unix_ns);
        self.queue_reply(conn, &frame);
        self.scratch = frame;
    }

    /// Puts the connection into the wheel at its earliest deadline.
    pub(super) fn arm_deadline(&mut self, conn: ConnId) {
        let config = &self.config;
        let Some(session) = self.sessions.get_mut(conn.slot as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let policy = &config.listeners[usize::from(session.listener)];
        let quiet_from = session.received_ns;
        let after = |from_ns: u64, ns: u64| (ns > 0).then(|| from_ns + ns);
        let deadlines = match &session.phase {
            Phase::Settling { since_ns, .. } => {
                [Some(since_ns + settling_ns(config.close_timeout_ns)), None, None, None, None, None]
            }
            Phase::Closing { since_ns, .. } => {
                [Some(since_ns + config.close_timeout_ns), None, None, None, None, None]
            }
            Phase::Introducing | Phase::Securing | Phase::Upgrading { .. } => {
                [Some(session.opened_ns + config.handshake_timeout_ns), None, None, None, None, None]
            }
            Phase::Open if session.is_caller() => [
                session.caller.as_deref().map(|caller| caller.since_ns + config.handshake_timeout_ns),
                session.identity.as_deref().and_then(|identity| identity.expires_ns),
                Some(session.write_begun_ns.unwrap_or(self.now.mono_ns) + config.write_timeout_ns),
                None,
                None,
                None,
            ],
            Phase::Open => [
                after(quiet_from, config.idle_timeout_ns),
                match session.ping {
                    Ping::Sent { at_ns } => Some(at_ns + policy.ping_timeout_ns),
                    Ping::Queued => None,
                    Ping::No => after(quiet_from, policy.ping_interval_ns),
                },
                session.heartbeat.map(|heartbeat| heartbeat.due_ns),
                session.identity.as_deref().and_then(|identity| identity.expires_ns),
                session.message_begun_ns.and_then(|begun_ns| after(begun_ns, config.message_timeout_ns)),
                // A stalled send is looked for once per timeout, whether or not one is under way.
                Some(session.write_begun_ns.unwrap_or(self.now.mono_ns) + config.write_timeout_ns),
            ],
        };
        if let Some(deadline_ns) = deadlines.into_iter().flatten().min() {
            // An entry that comes due earlier puts the connection back by itself: a client that moves its deadlines
            // with every message must not move its entry as often.
            if session.armed_ns.is_some_and(|armed_ns| armed_ns <= deadline_ns) {
                return;
            }
            session.armed_ns = Some(deadline_ns);
            self.wheel.arm(conn.slot, deadline_ns);
        }
    }
}
