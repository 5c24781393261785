//! What clients ask the desk for: to the venue's home, answered there, and back. PURE. Home: one shard.
//!
//! Invariants: an ask has one answer, in the order in which the desk gives them; what waits is bounded before it is sent, so
//! that a refusal here means that nothing was sent; the desk is told once that a connection which has asked is gone, by
//! whatever way, and after all that it has asked.

use crate::dialect::json_rpc::{self, Failure, HALT_EVERYBODY_TOPIC, OrderCall};
use crate::limits;
use crate::model::encoding::Encoding;
use crate::model::ids::ConnId;
use crate::model::instrument::Symbol;
use crate::model::order::{AccountId, Ask, Client, Departure, OrderRefusal, OrderRequest};

use super::Hub;
use super::batch::{Record, Ticket};
use super::incident::{Declined, Incident};
use super::order_entry::Correlation;
use super::requests::{KeptReplyTo, ReplyTo};
use super::session::Session;

/// A client's request that the desk has not answered.
#[derive(Debug)]
pub(super) enum PendingAsk {
    JsonRpc(KeptReplyTo),
    Sbe(Correlation),
}

impl Hub {
    /// A method of orders.
    pub(super) fn call_desk(&mut self, reply_to: ReplyTo<'_>, call: OrderCall<'_>) {
        let find = |name: &str| {
            let id = self.cache.find(&Symbol::parse(name.as_bytes()).ok()?)?;
            Some((id, self.cache.state(id).definition.contract_size))
        };
        match call.resolve(find) {
            Ok(OrderRequest::Halt { everybody: true, .. }) if !self.may_halt_everybody(reply_to.conn) => {
                self.reply_error(&reply_to, Failure::FORBIDDEN.because("not for this key").at("everybody"));
            }
            Ok(request) => self.ask(reply_to, request),
            Err(failure) => self.reply_error(&reply_to, failure),
        }
    }

    /// Whether a client's own key may stop the trading of all: a right of the key alone, whatever everybody may publish.
    fn may_halt_everybody(&mut self, conn: ConnId) -> bool {
        let login = self.session(conn).and_then(|session| session.login());
        login.is_some_and(|login| login.credential.publish.allow(HALT_EVERYBODY_TOPIC))
    }

    /// Sends a request of a client that has logged in to the desk.
    fn ask(&mut self, reply_to: ReplyTo<'_>, request: OrderRequest) {
        match self.admit_to_desk(reply_to.conn) {
            Ok(account) => {
                let pending = PendingAsk::JsonRpc(reply_to.keep());
                self.put_ask(reply_to.conn, account, Encoding::Json, pending, request);
            }
            Err(failure) => self.reply_error(&reply_to, failure),
        }
    }

    /// Whether a client may ask the desk for something, and as which account.
    ///
    /// # Errors
    /// What it is told.
    pub(super) fn admit_to_desk(&mut self, conn: ConnId) -> Result<AccountId, Failure> {
        let full = self.asks.entries.len() >= limits::REQUESTS_PENDING_MAX;
        self.admit(conn, full)
    }

    /// Puts what was admitted into the commands for the venue.
    pub(super) fn put_ask(
        &mut self,
        conn: ConnId,
        account: AccountId,
        encoding: Encoding,
        pending: PendingAsk,
        request: OrderRequest,
    ) {
        let is_connection = self.session(conn).is_some_and(|session| !session.is_caller());
        let (client, venue) = (self.client(conn), self.venue());
        let ticket = self.asks.issue(pending);
        self.outbox.command(venue).push_ask(Ask {
            ticket,
            account,
            client,
            is_connection,
            encoding,
            request,
        });
    }

    /// Whether a client may ask the venue's home for something, as which account; if not, it is told why.
    pub(super) fn admit_ask(&mut self, reply_to: &ReplyTo<'_>, full: bool) -> Option<AccountId> {
        match self.admit(reply_to.conn, full) {
            Ok(account) => Some(account),
            Err(failure) => {
                self.reply_error(reply_to, failure);
                None
            }
        }
    }

    fn admit(&mut self, conn: ConnId, full: bool) -> Result<AccountId, Failure> {
        let pending_max = self.config.requests_pending_max;
        // One that goes has departed, as far as the desk is told.
        let Some(session) = self.session(conn).filter(|session| session.is_open()) else {
            return Err(Failure::RETRY.because("not sent: the connection ends"));
        };
        let Some(account) = session.login().map(|login| login.account) else {
            return Err(Failure::NOT_LOGGED_IN);
        };
        if full || session.requests_pending >= pending_max {
            self.report(conn, Incident::Declined(Declined::RequestsPending));
            return Err(Failure::RETRY.because("not sent: too many requests in flight"));
        }
        session.requests_pending += 1;
        if !session.is_caller() {
            session.note_asked(account);
        }
        Ok(account)
    }

    /// The desk has answered.
    pub(super) fn on_answered(&mut self, ticket: Ticket, outcome: Result<&[u8], OrderRefusal>) {
        let Some(pending) = self.asks.redeem(ticket) else { return };
        let (conn, received_ns) = match &pending {
            PendingAsk::JsonRpc(reply_to) => (reply_to.conn, reply_to.get().received_ns()),
            PendingAsk::Sbe(correlation) => (correlation.conn, correlation.received.mono_ns),
        };
        self.marks.orders.add(received_ns, 1);
        if let Some(session) = self.session(conn) {
            session.requests_pending -= 1;
        }
        let outcome = outcome.map_err(json_rpc::order_failure);
        match (&pending, outcome) {
            (PendingAsk::JsonRpc(reply_to), Ok(result)) => {
                self.reply_with(&reply_to.get(), |out| out.extend_from_slice(result));
            }
            (PendingAsk::JsonRpc(reply_to), Err(failure)) => self.reply_error(&reply_to.get(), failure),
            (PendingAsk::Sbe(correlation), Ok(ack)) => self.acknowledge(correlation, ack),
            (PendingAsk::Sbe(correlation), Err(failure)) => self.reject(correlation, failure),
        }
        self.settle(conn);
    }

    /// Tells the venue's home, if a connection has asked it for something, that it is gone or no longer who it was.
    pub(super) fn depart(&mut self, conn: ConnId, how: Departure) {
        self.stop_hearing(conn);
        if self.session(conn).and_then(Session::take_asked).is_some() {
            let (client, venue) = (self.client(conn), self.venue());
            self.outbox.command(venue).records.push(Record::Departed { client, how });
        }
    }

    fn client(&self, conn: ConnId) -> Client {
        Client { home: self.me, conn }
    }
}

impl Session {
    /// The desk knows it as one of this account from now on.
    fn note_asked(&mut self, account: AccountId) {
        if let Some(identity) = &mut self.identity {
            identity.asked = Some(account);
        }
    }

    /// As which account the desk knows it; from now on as none.
    pub(super) fn take_asked(&mut self) -> Option<AccountId> {
        self.identity.as_deref_mut()?.asked.take()
    }
}
