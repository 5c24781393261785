//! Clients over Streamable HTTP: their sessions, answers that are waited for, readers of events. Home: the control thread.
//!
//! Invariants: a stream of a session has one reader at most; a message is on one stream; what is kept of all sessions' events is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::auth::{Credential, Keyring, Level};
use crate::dialect::mcp::{EventLog, Posted, Relay, Revision, SessionId, SessionKind, StreamId};
use crate::limits;
use crate::model::time::Now;

use super::super::tools;

/// What a request of HTTP is to the task.
#[derive(Debug)]
pub(super) enum Asked {
    Post { caller: Caller, text: String, posted: Posted, reads_events: bool, reply: oneshot::Sender<Reply> },
    Listen { caller: Caller, last_event_id: Option<String>, reply: oneshot::Sender<Reply> },
    End { caller: Caller, reply: oneshot::Sender<Reply> },
}

/// Who asks, in which session.
#[derive(Debug)]
pub(super) struct Caller {
    /// The key that was shown, if any.
    pub(super) key: Option<Arc<Credential>>,
    pub(super) session: Option<Box<str>>,
    /// In whose name the gateway's own tools are called.
    pub(super) shown: tools::Caller,
}

/// How a request of HTTP is answered.
#[derive(Debug)]
pub(super) enum Reply {
    Accepted,
    Json {
        session: Option<Box<str>>,
        text: String,
    },
    Events {
        session: Option<Box<str>>,
        events: mpsc::Receiver<Bytes>,
    },
    Ended,
    /// 404: begin again with `initialize`.
    UnknownSession,
    /// 400.
    Wrong(&'static str),
    /// 503.
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: BTreeMap<SessionId, Session>,
    by_name: BTreeMap<Box<str>, SessionId>,
    /// Bytes of events that are kept of all of them.
    kept_bytes: usize,
    last_stream: u64,
}

#[derive(Debug)]
struct Session {
    /// What the client knows it by; none where it is for one request.
    name: Option<Box<str>>,
    /// By which it was made: no other may speak in it.
    key: Option<Arc<Credential>>,
    /// Of its newest request.
    shown: tools::Caller,
    log: EventLog,
    waiting: BTreeMap<StreamId, Waiting>,
    readers: BTreeMap<StreamId, mpsc::Sender<Bytes>>,
    /// The newest event that belongs to no request and was handed to a reader.
    standalone_told: u64,
    standalone_newest: u64,
    used_ns: u64,
}

/// A POST that is not answered.
#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Reply>,
    answers: usize,
    reads_events: bool,
    /// Its client knows what an event without data is for.
    may_be_cut: bool,
}

impl Clients {
    pub(super) fn take(&mut self, relay: &mut Relay, asked: Asked, now_ns: u64) {
        match asked {
            Asked::Post { caller, text, posted, reads_events, reply } => {
                let session = match self.session_for(relay, &caller, posted, now_ns) {
                    Ok(session) => session,
                    Err(refusal) => return answer(reply, refusal),
                };
                if posted.answers == 0 {
                    relay.handle_client(session, None, &text, now_ns);
                    return answer(reply, Reply::Accepted);
                }
                let may_be_cut = relay.revision(session) >= Some(Revision::V2025_11_25);
                let waiting = Waiting { reply, answers: posted.answers, reads_events, may_be_cut };
                let stream = self.expect(session, posted, waiting);
                relay.handle_client(session, Some(stream), &text, now_ns);
            }
            Asked::Listen { caller, last_event_id, reply } => {
                let told = match self.find(&caller, now_ns) {
                    Some(session) => self.listen(relay, session, last_event_id.as_deref()),
                    None => Reply::UnknownSession,
                };
                answer(reply, told);
            }
            Asked::End { caller, reply } => {
                let Some(session) = self.find(&caller, now_ns) else {
                    return answer(reply, Reply::UnknownSession);
                };
                self.remove(session);
                relay.close_session(session, now_ns);
                answer(reply, Reply::Ended);
            }
        }
    }

    /// The session that a caller names, if it is its own.
    fn find(&mut self, caller: &Caller, now_ns: u64) -> Option<SessionId> {
        let session = *self.by_name.get(caller.session.as_ref()?)?;
        let known = self.sessions.get_mut(&session)?;
        // Who shows a key that has changed begins anew.
        if known.key != caller.key {
            return None;
        }
        known.used_ns = now_ns;
        known.shown = caller.shown.clone();
        Some(session)
    }

    fn session_for(
        &mut self,
        relay: &mut Relay,
        caller: &Caller,
        posted: Posted,
        now_ns: u64,
    ) -> Result<SessionId, Reply> {
        if caller.session.is_some() {
            return self.find(caller, now_ns).ok_or(Reply::UnknownSession);
        }
        let kind = match posted {
            Posted { has_initialize: true, answers: 1, .. } => SessionKind::Lasting,
            Posted { needs_no_session: true, answers: 1, .. } => SessionKind::Passing,
            Posted { .. } => return Err(Reply::Wrong("Mcp-Session-Id is missing: initialize comes first")),
        };
        let rights = caller.key.as_ref().map_or(Level::None, |key| key.scopes.backend);
        let session = match relay.open_session(kind, rights) {
            Some(session) => session,
            None => {
                self.evict(relay, now_ns);
                relay.open_session(kind, rights).ok_or(Reply::Full)?
            }
        };
        let name = (kind == SessionKind::Lasting).then(session_name);
        if let Some(name) = &name {
            self.by_name.insert(name.clone(), session);
        }
        self.sessions.insert(
            session,
            Session {
                name,
                key: caller.key.clone(),
                shown: caller.shown.clone(),
                log: EventLog::default(),
                waiting: BTreeMap::new(),
                readers: BTreeMap::new(),
                standalone_told: 0,
                standalone_newest: 0,
                used_ns: now_ns,
            },
        );
        Ok(session)
    }

    /// Makes a place by ending the session that has been of no use for the longest time, if it is long enough.
    fn evict(&mut self, relay: &mut Relay, now_ns: u64) {
        let idle = self.idle_for(relay, limits::MCP_SESSION_IDLE_NS, now_ns);
        if let Some(session) = idle.into_iter().min_by_key(|session| self.sessions[session].used_ns) {
            self.remove(session);
            relay.close_session(session, now_ns);
        }
    }

    /// Ends the sessions whose clients have gone without a word: what is their own must not run for ever.
    pub(super) fn expire(&mut self, relay: &mut Relay, now_ns: u64) {
        for session in self.idle_for(relay, limits::MCP_SESSION_LIFE_NS, now_ns) {
            self.remove(session);
            relay.close_session(session, now_ns);
        }
    }

    /// Ends the sessions whose keys are gone or not what they were, and with them the streams that they still read.
    pub(super) fn end_revoked(&mut self, relay: &mut Relay, keyring: &Keyring, now: Now) {
        let unix_ms = now.unix_ns / 1_000_000;
        let is_good = |key: &Credential| keyring.holds(key) && !key.has_expired(unix_ms);
        let revoked: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, known)| known.key.as_deref().is_some_and(|key| !is_good(key)))
            .map(|(session, _)| *session)
            .collect();
        for session in revoked {
            self.remove(session);
            relay.close_session(session, now.mono_ns);
        }
    }

    /// Those that have said nothing for so long, read nothing and wait for nothing.
    fn idle_for(&self, relay: &Relay, ns: u64, now_ns: u64) -> Vec<SessionId> {
        let is_idle = |session: SessionId, known: &Session| {
            now_ns.saturating_sub(known.used_ns) >= ns
                && known.readers.values().all(mpsc::Sender::is_closed)
                && !relay.is_busy(session)
        };
        let idle = self.sessions.iter().filter(|(session, known)| is_idle(**session, known));
        idle.map(|(session, _)| *session).collect()
    }

    fn remove(&mut self, session: SessionId) {
        if let Some(Session { name: Some(name), log, .. }) = self.sessions.remove(&session) {
            self.by_name.remove(&name);
            self.kept_bytes -= log.kept_bytes();
        }
    }

    /// A POST waits for its answers; a call has its events from the start, so that what was cut can be read on.
    fn expect(&mut self, session: SessionId, posted: Posted, waiting: Waiting) -> StreamId {
        self.last_stream += 1;
        let stream = StreamId(self.last_stream);
        let Some(known) = self.sessions.get_mut(&session) else { return stream };
        known.log.open(stream, waiting.answers);
        let is_lasting = known.name.is_some();
        if waiting.reads_events && is_lasting && (posted.has_call || waiting.answers > 1) {
            known.begin_events(stream, waiting);
        } else {
            known.waiting.insert(stream, waiting);
        }
        stream
    }

    fn listen(&mut self, relay: &Relay, session: SessionId, last_event_id: Option<&str>) -> Reply {
        let may_be_cut = relay.revision(session) >= Some(Revision::V2025_11_25);
        let Some(known) = self.sessions.get_mut(&session) else { return Reply::UnknownSession };
        let asked = match last_event_id {
            Some(id) => id.to_owned(),
            None => format!("{}-{}", StreamId::STANDALONE.0, known.standalone_told),
        };
        let (stream, missed) = match known.log.resume(&asked) {
            Some((stream, missed)) => (stream, missed.concat()),
            // What no request waits for goes on, though some of it is lost.
            None if asked.starts_with("0-") => (StreamId::STANDALONE, String::new()),
            None => return Reply::Wrong("Last-Event-ID: what came behind it is kept no more"),
        };
        let opening = if may_be_cut { known.log.opening(stream) } else { String::new() };
        let (reader, events) = mpsc::channel(limits::MCP_EVENTS_UNREAD_MAX);
        for text in [missed, opening] {
            if !text.is_empty() {
                let _ = reader.try_send(text.into());
            }
        }
        if stream == StreamId::STANDALONE {
            known.standalone_told = known.standalone_newest;
        }
        if !known.log.is_over(stream) {
            // One that reads it still is detached: it is the same client, whose connection was cut.
            known.readers.insert(stream, reader);
        }
        Reply::Events { session: None, events }
    }

    /// A message of the relay to a client.
    pub(super) fn tell(&mut self, session: SessionId, stream: Option<StreamId>, text: &str, is_answer: bool) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let mut stream = stream.unwrap_or(StreamId::STANDALONE);
        if let Some(waiting) = known.waiting.remove(&stream) {
            if is_answer && waiting.answers == 1 {
                known.log.forget(stream);
                let session = known.name.clone();
                return answer(waiting.reply, Reply::Json { session, text: text.to_owned() });
            }
            if waiting.reads_events && known.name.is_some() {
                known.begin_events(stream, waiting);
            } else {
                known.waiting.insert(stream, waiting);
                stream = StreamId::STANDALONE;
            }
        }
        let before_bytes = known.log.kept_bytes();
        known.push(stream, text, is_answer);
        self.kept_bytes = self.kept_bytes - before_bytes + known.log.kept_bytes();
        self.bound_kept();
    }

    /// Where sessions together have too much kept, the one that has the most loses it.
    fn bound_kept(&mut self) {
        while self.kept_bytes > limits::MCP_EVENTS_KEPT_BYTES_ALL_MAX {
            let costliest = self.sessions.values_mut().max_by_key(|known| known.log.kept_bytes());
            let Some(Session { log, .. }) = costliest else { return };
            self.kept_bytes -= log.kept_bytes();
            log.drop_kept();
        }
    }

    /// A request of a stream has no answer.
    pub(super) fn cancelled(&mut self, session: SessionId, stream: Option<StreamId>) {
        let (Some(known), Some(stream)) = (self.sessions.get_mut(&session), stream) else { return };
        known.log.cancelled(stream);
        if known.log.is_over(stream) {
            known.readers.remove(&stream);
            if let Some(waiting) = known.waiting.remove(&stream) {
                answer(waiting.reply, Reply::Accepted);
            }
        }
    }

    /// In whose name a session speaks, if it is one of these.
    pub(super) fn caller(&self, session: SessionId) -> Option<&tools::Caller> {
        self.sessions.get(&session).map(|known| &known.shown)
    }

    /// Whether this session was for the request that has its answer now; then it is over.
    pub(super) fn end_passing(&mut self, session: SessionId) -> bool {
        let is_passing = self.sessions.get(&session).is_some_and(|known| known.name.is_none());
        if is_passing {
            self.sessions.remove(&session);
        }
        is_passing
    }
}

impl Session {
    /// Answers a POST by a stream of events.
    fn begin_events(&mut self, stream: StreamId, waiting: Waiting) {
        let Waiting { reply, may_be_cut, .. } = waiting;
        let (reader, events) = mpsc::channel(limits::MCP_EVENTS_UNREAD_MAX);
        if may_be_cut {
            let _ = reader.try_send(self.log.opening(stream).into());
        }
        self.readers.insert(stream, reader);
        answer(reply, Reply::Events { session: self.name.clone(), events });
    }

    fn push(&mut self, stream: StreamId, text: &str, is_answer: bool) {
        if self.name.is_none() {
            // Nobody can come for it.
            return;
        }
        let event = self.log.push(stream, text, is_answer);
        let is_standalone = stream == StreamId::STANDALONE;
        self.standalone_newest += u64::from(is_standalone);
        let is_told = self.readers.get(&stream).is_some_and(|reader| reader.try_send(event.into()).is_ok());
        if is_told && is_standalone {
            self.standalone_told = self.standalone_newest;
        }
        if !is_told || self.log.is_over(stream) {
            self.readers.remove(&stream);
        }
    }
}

/// Who has gone meanwhile is told nothing.
fn answer(reply: oneshot::Sender<Reply>, told: Reply) {
    let _ = reply.send(told);
}

/// What a client shows to speak in its session: nobody guesses it.
fn session_name() -> Box<str> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("invariant: the kernel has randomness by now");
    data_encoding::HEXLOWER.encode(&bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Reach;
    use crate::dialect::mcp::{Settings, posted};

    /// A session that has said hello.
    fn open(clients: &mut Clients, relay: &mut Relay) -> SessionId {
        let text =
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
        let shown = tools::Caller { authorization: None, reach: Reach::Loopback, peer: None };
        let caller = Caller { key: None, session: None, shown };
        let (reply, _) = oneshot::channel();
        let posted = posted(text).unwrap();
        clients.take(
            relay,
            Asked::Post { caller, text: text.to_owned(), posted, reads_events: false, reply },
            0,
        );
        *clients.by_name.values().max().unwrap()
    }

    #[test]
    fn what_is_kept_of_all_sessions_is_bounded_and_who_has_the_most_kept_loses_it() {
        let mut relay = Relay::new(Settings { own: &[], gateway_version: "1" });
        let mut clients = Clients::default();
        let modest = open(&mut clients, &mut relay);
        clients.tell(modest, None, "{}", false);
        let long = "x".repeat(limits::MCP_MESSAGE_BYTES_MAX);
        let count = limits::MCP_EVENTS_KEPT_BYTES_ALL_MAX / long.len() + 1;
        let greedy: Vec<SessionId> = (0..count).map(|_| open(&mut clients, &mut relay)).collect();
        for session in &greedy {
            clients.tell(*session, None, &long, false);
            let kept: usize = clients.sessions.values().map(|known| known.log.kept_bytes()).sum();
            assert_eq!(clients.kept_bytes, kept);
            assert!(kept <= limits::MCP_EVENTS_KEPT_BYTES_ALL_MAX);
        }
        let has_kept = |session: &SessionId| clients.sessions[session].log.resume("0-0").is_some();
        assert!(has_kept(&modest));
        assert_eq!(greedy.iter().filter(|session| has_kept(session)).count(), count - 2);
        for session in greedy {
            clients.remove(session);
        }
        assert_eq!(clients.kept_bytes, clients.sessions[&modest].log.kept_bytes());
    }
}
