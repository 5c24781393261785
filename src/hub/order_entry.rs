//! Order entry in SBE: a binary message to an ask of the desk, and the desk's word back. PURE. Home: one shard.
//!
//! Invariants: a message is answered once, by an acknowledgement or a reject, whatever happens meanwhile; who may ask, and how much,
//! is judged as in JSON-RPC, by the same functions; what is refused here was not sent.

use crate::auth::Scope;
use crate::dialect::json_rpc::{Access, Failure};
use crate::dialect::sbe::{self, Answering, OrderMessage};
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, InstrumentId};
use crate::model::order::{AccountId, OrderRequest};
use crate::model::time::Now;
use crate::ws::frame::Opcode;

use super::Hub;
use super::incident::{Closing, Declined, Incident};
use super::orders::PendingAsk;
use super::text_frame::{append_frame, replace_with_frame};

/// Which message is answered, to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub(super) conn: ConnId,
    pub(super) received: Now,
    /// As the client chose it, where that can be read.
    id: Option<u64>,
    template_id: u16,
}

impl Hub {
    /// The messages of one binary frame, each behind its length. Those before one that is none are served.
    pub(super) fn handle_order_batch(&mut self, conn: ConnId, frame: &[u8]) {
        let now_ns = self.now.mono_ns;
        let mut rest = Some(frame);
        while let Some(frame) = rest.take() {
            let Some(session) = self.session(conn).filter(|session| session.is_open()) else { return };
            let Some((message, after)) = sbe::split_batch(frame) else {
                return self.begin_close(conn, Closing::BatchCut);
            };
            if !after.is_empty() {
                // The frame itself has been counted as one.
                if let Some(rates) = &mut session.rates
                    && let Err(closing) = rates.count(1, 0, now_ns)
                {
                    return self.begin_close(conn, closing);
                }
                rest = Some(after);
            }
            self.handle_order_message(conn, message);
        }
    }

    /// One binary message of a client that speaks SBE.
    pub(super) fn handle_order_message(&mut self, conn: ConnId, message: &[u8]) {
        self.counters.messages_received_total += 1;
        let Some(OrderMessage { template_id, correlation_id, request }) = sbe::decode_order_message(message)
        else {
            return self.begin_close(conn, Closing::Headless);
        };
        self.counters.requests_total += 1;
        let correlation = Correlation { conn, received: self.now, id: correlation_id, template_id };
        match self.admit_order(conn, request) {
            Ok((account, request)) => {
                self.put_ask(conn, account, Encoding::Sbe, PendingAsk::Sbe(correlation), request);
            }
            Err(failure) => self.reject(&correlation, failure),
        }
    }

    /// What a client may ask the desk for, and as which account.
    fn admit_order(
        &mut self,
        conn: ConnId,
        request: Result<OrderRequest, Failure>,
    ) -> Result<(AccountId, OrderRequest), Failure> {
        if self.work.has_answered_enough() {
            self.report(conn, Incident::Declined(Declined::RequestBurst));
            return Err(Failure::RETRY.because("too much asked for at once"));
        }
        if request == Err(Failure::METHOD_NOT_FOUND) {
            return Err(Failure::METHOD_NOT_FOUND);
        }
        let scopes = self.session(conn).and_then(|session| session.login()).map(|login| login.scopes);
        if let Some(refused) = Access::Scoped(Scope::TradeReadWrite).refused_to(scopes) {
            return Err(refused);
        }
        let request = request?;
        // The desk looks instruments up by their number: one that nobody has is not to reach it.
        if named(&request).is_some_and(|id| id.index() >= self.cache.instruments().len()) {
            return Err(Failure::UNKNOWN_INSTRUMENT.at("instrument_id"));
        }
        Ok((self.admit_to_desk(conn)?, request))
    }

    /// Sends the desk's acknowledgement.
    pub(super) fn acknowledge(&mut self, correlation: &Correlation, ack: &[u8]) {
        let answering = self.answering(correlation);
        self.answer_order(correlation, |out| sbe::write_ack_for(out, ack, answering));
    }

    /// Sends a reject.
    pub(super) fn reject(&mut self, correlation: &Correlation, failure: Failure) {
        self.counters.requests_failed_total += 1;
        let answering = self.answering(correlation);
        self.answer_order(correlation, |out| sbe::write_reject(out, failure, answering));
    }

    fn answering(&self, correlation: &Correlation) -> Answering {
        Answering {
            correlation_id: correlation.id,
            template_id: correlation.template_id,
            received_unix_ns: correlation.received.unix_ns,
            sent_unix_ns: self.now.unix_ns,
        }
    }

    fn answer_order(&mut self, correlation: &Correlation, write: impl FnOnce(&mut Vec<u8>)) {
        self.marks.replies.add(correlation.received.mono_ns, 1);
        let mut frame = std::mem::take(&mut self.scratch);
        replace_with_frame(&mut frame, |bytes| append_frame(bytes, Opcode::Binary, write));
        self.work.written(frame.len());
        self.queue_reply(correlation.conn, &frame);
        self.scratch = frame;
    }
}

/// The instrument that a request names.
fn named(request: &OrderRequest) -> Option<InstrumentId> {
    match request {
        OrderRequest::Place(order) => Some(order.instrument),
        OrderRequest::Edit(edit) => edit.instrument,
        // No message of SBE but a cancel's becomes one of these, and that names an order.
        OrderRequest::Cancel { .. }
        | OrderRequest::CancelByLabel { .. }
        | OrderRequest::CancelAll { .. }
        | OrderRequest::CancelAllAfter { .. }
        | OrderRequest::OpenOrders { .. }
        | OrderRequest::OrderState { .. }
        | OrderRequest::OrderStateByLabel { .. }
        | OrderRequest::OrderHistory { .. }
        | OrderRequest::UserTrades(_)
        | OrderRequest::Position { .. }
        | OrderRequest::Positions { .. }
        | OrderRequest::AccountSummary { .. }
        | OrderRequest::AccountSummaries
        | OrderRequest::EnableCancelOnDisconnect { .. }
        | OrderRequest::DisableCancelOnDisconnect { .. }
        | OrderRequest::GetCancelOnDisconnect { .. }
        | OrderRequest::Halt { .. } => None,
    }
}
