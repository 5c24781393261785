//! What clients ask the desk for: to the venue's home, answered there, and back. PURE. Home: one shard.
//!
//! Invariants: an ask has one answer, in the order in which the desk gives them; what waits is bounded before it is sent, so
//! that a refusal here means that nothing was sent; the desk is told once that a connection which has asked is gone, by
//! whatever way, and after all that it has asked.

use crate::dialect::json_rpc::{self, Failure, HALT_EVERYBODY_TOPIC, OrderCall};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::instrument::Symbol;
use crate::model::order::{AccountId, Ask, Client, Departure, OrderRefusal, OrderRequest};

use super::Hub;
use super::batch::{Record, Ticket};
use super::incident::{Declined, Incident};
use super::requests::{KeptReplyTo, ReplyTo};
use super::session::Session;

/// A client's request that the desk has not answered.
#[derive(Debug)]
pub(super) struct PendingAsk {
    reply_to: KeptReplyTo,
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
        let conn = reply_to.conn;
        let full = self.asks.entries.len() >= limits::REQUESTS_PENDING_MAX;
        let Some(account) = self.admit_ask(&reply_to, full) else { return };
        let is_connection = self.session(conn).is_some_and(|session| !session.is_caller());
        let (client, venue) = (self.client(conn), self.venue());
        let ticket = self.asks.issue(PendingAsk { reply_to: reply_to.keep() });
        self.outbox.command(venue).push_ask(Ask { ticket, account, client, is_connection, request });
    }

    /// Whether a client may ask the venue's home for something, as which account; if not, it is told why.
    pub(super) fn admit_ask(&mut self, reply_to: &ReplyTo<'_>, full: bool) -> Option<AccountId> {
        let conn = reply_to.conn;
        let pending_max = self.config.requests_pending_max;
        // One that goes has departed, as far as the desk is told.
        let Some(session) = self.session(conn).filter(|session| session.is_open()) else {
            self.reply_error(reply_to, Failure::RETRY.because("not sent: the connection ends"));
            return None;
        };
        let Some(account) = session.login().map(|login| login.account) else {
            self.reply_error(reply_to, Failure::NOT_LOGGED_IN);
            return None;
        };
        if full || session.requests_pending >= pending_max {
            self.report(conn, Incident::Declined(Declined::RequestsPending));
            let failure = Failure::RETRY.because("not sent: too many requests in flight");
            self.reply_error(reply_to, failure);
            return None;
        }
        session.requests_pending += 1;
        if !session.is_caller() {
            session.note_asked(account);
        }
        Some(account)
    }

    /// The desk has answered.
    pub(super) fn on_answered(&mut self, ticket: Ticket, outcome: Result<&[u8], OrderRefusal>) {
        let Some(PendingAsk { reply_to }) = self.asks.redeem(ticket) else { return };
        let reply_to = reply_to.get();
        self.marks.orders.add(reply_to.received_ns(), 1);
        if let Some(session) = self.session(reply_to.conn) {
            session.requests_pending -= 1;
        }
        match outcome {
            Ok(result) => self.reply_with(&reply_to, |out| out.extend_from_slice(result)),
            Err(refusal) => self.reply_error(&reply_to, json_rpc::order_failure(refusal)),
        }
        self.settle(reply_to.conn);
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
    fn take_asked(&mut self) -> Option<AccountId> {
        self.identity.as_deref_mut()?.asked.take()
    }
}
