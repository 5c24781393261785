//! Connections that come through a trusted proxy: whom they are from is known before anything of theirs is answered. PURE. Home: one
//! shard.
//!
//! Invariants: of a connection with a header of the PROXY protocol before it nothing is looked at until the shard has read that;
//! a request whose proxy names its client is answered once the shard has said whether that client may have one connection
//! more. The shard says so while it drains [`Hub::poll_effect`], so that nothing comes between.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::front::{Fault, Speech, forwarded_for};
use crate::http::{self, Rejection};
use crate::model::ids::ConnId;
use crate::model::time::Now;

use super::Hub;
use super::effect::{Effect, Ending};
use super::incident::Incident;
use super::listener::Way;
use super::rates::Rates;
use super::session::Phase;

/// Whom the requests of connections are from whose proxies say so in each, by slot. Others, which are nearly all, have no part in it.
#[derive(Debug, Default)]
pub(super) struct Forwardings(BTreeMap<u32, Forwarding>);

#[derive(Debug)]
struct Forwarding {
    proxy: IpAddr,
    /// Whom the last request was from.
    named: Option<IpAddr>,
    /// The shard has not said whether it may be.
    is_asked: bool,
    /// Whether its peer has ended its side since.
    has_ended: bool,
}

impl Forwardings {
    /// A connection was made, by such a proxy if one is told.
    pub(super) fn open(&mut self, conn: ConnId, proxy: Option<IpAddr>) {
        if let Some(proxy) = proxy {
            self.0.insert(conn.slot, Forwarding { proxy, named: None, is_asked: false, has_ended: false });
        }
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.0.remove(&conn.slot);
    }

    /// Whether the shard is asked if the client that its proxy has named may have the connection.
    pub(super) fn is_asked(&self, conn: ConnId) -> bool {
        self.0.get(&conn.slot).is_some_and(|forwarding| forwarding.is_asked)
    }

    /// Whether its peer's end has to wait until the client is named, since what came before it does.
    pub(super) fn put_off_end(&mut self, conn: ConnId) -> bool {
        let asked = self.0.get_mut(&conn.slot).filter(|forwarding| forwarding.is_asked);
        asked.map(|forwarding| forwarding.has_ended = true).is_some()
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.len() * 2 * size_of::<(u32, Forwarding)>()
    }
}

impl Hub {
    /// What is to be expected of who comes to a listener from this address; none of who is no trusted proxy.
    #[must_use]
    pub fn speech_of(&self, listener: u8, peer: Option<IpAddr>) -> Option<Speech> {
        self.config.listeners[usize::from(listener)].proxies.speech_of(peer)
    }

    /// Whether the header of the PROXY protocol has not come that a connection is to begin with.
    #[must_use]
    pub fn awaits_introduction(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(conn.slot as usize).and_then(Option::as_deref);
        session.is_some_and(|session| session.conn == conn && matches!(session.phase, Phase::Introducing))
    }

    /// The header has come. From now on the connection is as one that has just been accepted.
    pub fn handle_introduced(&mut self, conn: ConnId, way: Way, refused: Option<Rejection>, now: Now) {
        self.now = now;
        assert!(self.awaits_introduction(conn), "a connection is introduced once");
        let Some(session) = self.session(conn) else { return };
        session.refused = session.refused.or(refused);
        session.phase = match way {
            Way::Open => Phase::UPGRADING,
            Way::Securing => Phase::Securing,
            Way::Introducing => unreachable!("invariant: a connection is introduced once"),
        };
        if session.receiver.is_length_prefixed() && way == Way::Open {
            self.open_length_prefixed(conn);
        }
    }

    /// What came is no header: the connection ends without a word, since there is none that a proxy would understand.
    pub fn handle_unintroduced(&mut self, conn: ConnId, fault: Fault, now: Now) {
        self.now = now;
        self.end_unintroduced(conn, fault);
    }

    pub(super) fn end_unintroduced(&mut self, conn: ConnId, fault: Fault) {
        assert!(self.awaits_introduction(conn), "a connection is introduced once");
        self.report(conn, Incident::Front(fault));
        self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Abort });
        self.mark_closing(conn, true);
    }

    /// Whether the client that [`Effect::Name`] has told may have the connection.
    pub fn handle_named(&mut self, conn: ConnId, refused: Option<Rejection>, now: Now) {
        self.now = now;
        if self.session(conn).is_none() || !self.forwardings.is_asked(conn) {
            return;
        }
        let mut has_ended = false;
        if let Some(forwarding) = self.forwardings.0.get_mut(&conn.slot) {
            forwarding.is_asked = false;
            has_ended = std::mem::take(&mut forwarding.has_ended);
        }
        let Some(session) = self.session(conn) else { return };
        session.refused = session.refused.or(refused);
        if session.is_caller() {
            self.go_on_calling(conn, refused);
        } else if let Phase::Upgrading { head } = &mut session.phase {
            let head = std::mem::take(head);
            self.work.handled(head.len() as u64);
            self.upgrade_or_keep(conn, head);
        }
        self.note_unfinished(conn);
        if has_ended {
            self.handle_eof(conn, now);
        }
        self.settle_overflows();
    }

    /// Whether it is known whom a request is from; else the shard is asked, and the request is to wait.
    pub(super) fn is_named(&mut self, conn: ConnId, request: &http::Request<'_>) -> bool {
        let listener = self.session(conn).map_or(0, |session| session.listener);
        let Some(forwarding) = self.forwardings.0.get_mut(&conn.slot) else { return true };
        if forwarding.is_asked {
            // More has come before the shard could answer, as with several records of TLS in one read.
            return false;
        }
        let proxies = &self.config.listeners[usize::from(listener)].proxies;
        let hops = request.list("X-Forwarded-For");
        let client = forwarded_for::client(proxies, forwarding.proxy, hops);
        if forwarding.named == Some(client) {
            return true;
        }
        let had_another = forwarding.named.replace(client).is_some();
        forwarding.is_asked = true;
        self.effects.push_back(Effect::Name { conn, client });
        if had_another {
            self.begin_anew(conn);
        }
        false
    }

    /// Another client has the connection than before: what that one did of late is not counted against this one.
    fn begin_anew(&mut self, conn: ConnId) {
        let (rates, now_ns) = (self.config.rates, self.now.mono_ns);
        let Some(session) = self.session(conn) else { return };
        session.rates = Rates::of(rates, now_ns);
        session.forget_attempts();
    }
}
