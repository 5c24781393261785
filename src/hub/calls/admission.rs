//! A request for a backend's method: who may, from what is kept, beside others who ask for the same, or as a call of its own. PURE.
//! Home: one shard.
//!
//! Invariants: rights are looked at before anything that is kept; who joins a call shares its deadline and its outcome.

use std::sync::Arc;

use crate::dialect::json_rpc::{Access, Failure, ForeignCall};
use crate::limits;
use crate::model::call::BackendId;
use crate::model::ids::{ConnId, Ticket};
use crate::model::order::AccountId;

use super::super::Hub;
use super::super::incident::{Declined, Incident};
use super::super::requests::ReplyTo;
use super::cache::{Found, Key};
use super::outgoing::{Body, Head};
use super::routes::{BackendTerms, Caching, Route, Sharing};
use super::table::Parcel;

/// What a backend is called by with a message. No client's call can have this name.
pub(in crate::hub) const PROCESS_METHOD: &str = "message/process";

impl Hub {
    /// A method that a backend may have.
    pub(in crate::hub) fn call_backend(&mut self, reply_to: ReplyTo<'_>, call: &ForeignCall<'_>) {
        let routes = Arc::clone(&self.config.routes);
        let Some(route) = routes.find(&call.method) else {
            return self.reply_error(&reply_to, Failure::METHOD_NOT_FOUND);
        };
        if let Err(failure) = self.check_foreign(reply_to.conn, route.access, &call.method) {
            return self.reply_error(&reply_to, failure);
        }
        let terms = routes.backend(route.backend).expect("invariant: a route's backend is there");
        let account = self.account_of(reply_to.conn);
        match route.caching.filter(|_| reply_to.id.is_some()) {
            Some(caching) => self.ask_cache(reply_to, call, (route, terms), (caching, account)),
            None => {
                self.begin_call(reply_to, call, (route, terms), account);
            }
        }
    }

    /// Whether a method may be asked for by `GET`, which anybody's page can have a browser send.
    pub(in crate::hub) fn may_get(&self, method: &str) -> bool {
        self.config.routes.find(method).is_none_or(|route| route.is_idempotent)
    }

    /// A request whose result may be kept, or is asked for already.
    fn ask_cache(
        &mut self,
        reply_to: ReplyTo<'_>,
        call: &ForeignCall<'_>,
        (route, terms): (&Route, &BackendTerms),
        (caching, account): (Caching, Option<AccountId>),
    ) {
        let Caching { ttl_ns, sharing } = caching;
        let told = match sharing {
            Sharing::Account => account,
            Sharing::Everybody => None,
        };
        let key =
            Key { method: call.method.as_bytes(), params: call.params.unwrap_or_default(), account: told };
        match self.calls.cache.look(&key, self.now.mono_ns) {
            Found::Kept(at) => {
                self.counters.call_cache_hits_total += 1;
                let (bytes, result_at) = self.calls.cache.lend(at);
                self.reply_with(&reply_to, |out| out.extend_from_slice(&bytes[result_at..]));
                self.calls.cache.give_back(at, bytes);
            }
            Found::UnderWay(ticket) => {
                if let Err(failure) = self.admit_waiting(&reply_to, route.backend, terms, Some(ticket)) {
                    return self.reply_error(&reply_to, failure);
                }
                self.counters.call_cache_joined_total += 1;
                self.calls.table.join(ticket, reply_to.keep_for_backend());
            }
            Found::Nothing => {
                self.counters.call_cache_misses_total += 1;
                if let Some(ticket) = self.begin_call(reply_to, call, (route, terms), account)
                    && let Some(at) = self.calls.cache.begin(&key, route.backend, ticket)
                {
                    self.calls.table.keep_at(ticket, at, ttl_ns);
                }
            }
        }
    }

    /// A call of its own, unless it is refused or a notification: then it has no ticket.
    fn begin_call(
        &mut self,
        reply_to: ReplyTo<'_>,
        call: &ForeignCall<'_>,
        (route, terms): (&Route, &BackendTerms),
        account: Option<AccountId>,
    ) -> Option<Ticket> {
        let conn = reply_to.conn;
        let shown = self.shown_trace_parent(conn);
        let trace_parent = call.trace_parent.map(|own| own.as_str()).or(shown.as_deref());
        let body = Body { method: &call.method, params: call.params, trace_parent };
        let admitted = self.admit_waiting(&reply_to, route.backend, terms, None);
        if let Err(failure) = admitted.and_then(|()| self.admit_sending(conn, body)) {
            self.reply_error(&reply_to, failure);
            return None;
        }
        let due_ns = self.now.mono_ns.saturating_add(terms.timeout_ns);
        let ticket = reply_to.id.map(|_| self.calls.table.begin(route.backend, due_ns));
        match ticket {
            Some(ticket) => self.calls.table.join(ticket, reply_to.keep_for_backend()),
            // It ends its share of a batch.
            None => self.reply_with(&reply_to, |_| {}),
        }
        let Route { backend, is_idempotent, .. } = *route;
        let head = Head { ticket, backend, conn, account, is_idempotent, due_ns };
        self.calls.outgoing.push(head, body);
        ticket
    }

    /// A call that hands a message to its backend, by its parameters, which are one JSON object; whether it is under way: where it is
    /// not, nothing was sent.
    pub(in crate::hub) fn begin_process(
        &mut self,
        backend: BackendId,
        parcel: Parcel,
        params: &[u8],
    ) -> bool {
        let routes = Arc::clone(&self.config.routes);
        let Some(terms) = routes.backend(backend) else { return false };
        let body = Body { method: PROCESS_METHOD, params: Some(params), trace_parent: None };
        let table = &self.calls.table;
        if table.of_backend(backend) >= terms.under_way_max
            || table.under_way_count() >= limits::CALLS_WAITING_MAX
            || !self.calls.outgoing.has_room(body)
        {
            return false;
        }
        let due_ns = self.now.mono_ns.saturating_add(terms.timeout_ns);
        let ticket = Some(self.calls.table.begin_parcel(backend, due_ns, parcel));
        let conn = parcel.processor;
        let head = Head { ticket, backend, conn, account: None, is_idempotent: false, due_ns };
        self.calls.outgoing.push(head, body);
        true
    }

    /// Whether a client may call a method.
    pub(in crate::hub) fn check_foreign(
        &mut self,
        conn: ConnId,
        access: Access,
        method: &str,
    ) -> Result<(), Failure> {
        let login = self.session(conn).and_then(|session| session.login());
        if let Some(failure) = access.refused_to(login.map(|login| login.scopes)) {
            return Err(failure);
        }
        match (access, login) {
            (Access::LoggedIn | Access::Scoped(_), Some(login)) if !login.credential.call.allow(method) => {
                Err(Failure::FORBIDDEN.because("not for this key").at("method"))
            }
            (Access::Everybody | Access::LoggedIn | Access::Scoped(_), _) => Ok(()),
        }
    }

    /// Whether one more request may wait, for a call that is under way or for one more of its backend's.
    fn admit_waiting(
        &mut self,
        reply_to: &ReplyTo<'_>,
        backend: BackendId,
        terms: &BackendTerms,
        joined: Option<Ticket>,
    ) -> Result<(), Failure> {
        let conn = reply_to.conn;
        if !self.session(conn).is_some_and(|session| session.is_open()) {
            return Err(Failure::RETRY.because("not sent: the connection ends"));
        }
        let table = &self.calls.table;
        let is_backend_full = match joined {
            None => table.of_backend(backend) >= terms.under_way_max,
            Some(ticket) => table.of_flight(ticket) >= limits::CALL_JOINED_MAX,
        };
        let why = if table.of_conn(conn) >= self.config.calls.per_connection_max {
            "not sent: as many calls of this connection are under way as may be"
        } else if table.has_of_backend(conn, backend, terms.per_connection_max) {
            "not sent: as many calls of this connection to the backend are under way as may be"
        } else if is_backend_full {
            "not sent: as many calls to the backend are under way as may be"
        } else if table.waiting_count() >= limits::CALLS_WAITING_MAX {
            "not sent: too many calls are under way"
        } else {
            return Ok(());
        };
        self.decline_call(conn, why)
    }

    /// Whether one more call may be sent in this turn.
    fn admit_sending(&mut self, conn: ConnId, body: Body<'_>) -> Result<(), Failure> {
        if self.calls.outgoing.has_room(body) {
            return Ok(());
        }
        self.decline_call(conn, "not sent: too many calls at once")
    }

    fn decline_call(&mut self, conn: ConnId, why: &'static str) -> Result<(), Failure> {
        self.report(conn, Incident::Declined(Declined::CallsUnderWay));
        Err(Failure::RETRY.because(why))
    }
}
