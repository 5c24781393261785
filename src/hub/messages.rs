//! What clients ask the office of messages for, and what it says to them: to the venue's home, answered there, and back. PURE.
//! Home: one shard.
//!
//! Invariants: an ask has one answer; what waits is bounded before it is sent, so that a refusal here means that nothing was sent;
//! a message reaches a connection only while that is of the account that subscribed; the office hears of each message that needs
//! no confirmation once it is written, and before it hears that its connection is gone.

mod processing;
mod sending;

use std::sync::Arc;

use crate::auth::{Scope, Scopes};
use crate::dialect::json_rpc::{self, Failure, MessageCall, Presentation};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::message::{
    MessageAnswer, MessageAsk, MessageOutput, MessageRefusal, MessageRequest, Name, NewMessage, Target,
};
use crate::model::order::{AccountId, Client};

use super::Hub;
use super::batch::{Record, Ticket};
use super::calls::PROCESS_METHOD;
use super::egress::{NoRoom, Waiting};
use super::incident::{Closing, Declined, Incident};
use super::requests::{KeptReplyTo, ReplyTo};
use super::session::Session;

pub(super) use processing::Processors;

/// A request that the office has not answered.
#[derive(Debug)]
pub(super) struct PendingMessageAsk {
    /// `None` where no client waits for it.
    reply_to: Option<KeptReplyTo>,
    account: AccountId,
    then: Then,
}

/// What an answer means to the connection besides its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    /// One dead letter is shown, of a list of one.
    ShowLetter,
    Deliver(Presentation),
    /// It is no client's: a processor may have messages now, or may not.
    Process(ConnId),
}

/// What a connection is told of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hearing {
    /// Of a connection that subscribes.
    presentation: Option<Presentation>,
    /// What needs no confirmation in the send that is under way: messages, receipts, presence.
    handed: u32,
}

impl Hub {
    /// A method of messages.
    pub(super) fn call_office(&mut self, reply_to: ReplyTo<'_>, call: MessageCall<'_>) {
        if let Err(failure) = self.check_call(reply_to.conn, &call) {
            return self.reply_error(&reply_to, failure);
        }
        match call {
            MessageCall::Subscribe { reception, topics, presentation } => {
                let request = MessageRequest::Subscribe { reception, topics };
                self.ask_office(reply_to, request, &[], Then::Deliver(presentation));
            }
            MessageCall::Send { message, delay_ms, content } => {
                let now_ms = self.now.unix_ns / 1_000_000;
                let deliver_at_ms = delay_ms.map(|delay_ms| now_ms + delay_ms).or(message.deliver_at_ms);
                let message = NewMessage { deliver_at_ms, ..message };
                let request = match self.processor_of(&message.target) {
                    Some(processor) => MessageRequest::SendToProcessor { message, processor },
                    None => MessageRequest::Send(message),
                };
                self.ask_office(reply_to, request, content, Then::Nothing);
            }
            MessageCall::Ask(request) => {
                let shows = matches!(request, MessageRequest::DeadLetter { .. });
                let then = if shows { Then::ShowLetter } else { Then::Nothing };
                let ends = request == MessageRequest::Unsubscribe;
                if self.ask_office(reply_to, request, &[], then) && ends {
                    // From here on nothing more gets through: what is under way is delivered elsewhere or later.
                    self.stop_hearing(reply_to.conn);
                }
            }
        }
    }

    /// Whether a client may ask for this.
    fn check_call(&mut self, conn: ConnId, call: &MessageCall<'_>) -> Result<(), Failure> {
        match call {
            MessageCall::Subscribe { topics, presentation, .. } => {
                for topic in topics {
                    self.check_subscribe(conn, &format!("topic.{}", topic.as_str()))
                        .map_err(|failure| failure.at("topics"))?;
                }
                let window = self.session(conn).and_then(|session| session.compression.window());
                if presentation.compress_from_bytes.is_some() && window.is_none() {
                    let why = "the connection has not agreed on permessage-deflate";
                    return Err(Failure::INVALID_PARAMS.because(why).at("compress_from_bytes"));
                }
                Ok(())
            }
            MessageCall::Send { message, .. } => {
                if let Target::Topic(topic) = &message.target {
                    self.check_publish(conn, topic.as_str())?;
                }
                if let Target::Type(kind) = &message.target
                    && let Some(terms) = Arc::clone(&self.config.routes).processor_of(kind.as_str())
                {
                    self.check_foreign(conn, terms.access, PROCESS_METHOD)?;
                }
                if let Some(failure) = self.overload_failure() {
                    self.report(conn, Incident::Declined(Declined::Overload));
                    return Err(failure);
                }
                Ok(())
            }
            MessageCall::Ask(_) => Ok(()),
        }
    }

    /// Sends a request of a client that has logged in to the office; whether it is on its way, or refused.
    fn ask_office(
        &mut self,
        reply_to: ReplyTo<'_>,
        request: MessageRequest,
        content: &[u8],
        then: Then,
    ) -> bool {
        let full = self.message_asks.entries.len() >= limits::REQUESTS_PENDING_MAX;
        let Some(account) = self.admit_ask(&reply_to, full) else { return false };
        let pending = PendingMessageAsk { reply_to: Some(reply_to.keep()), account, then };
        self.push_office(reply_to.conn, pending, request, content);
        true
    }

    fn push_office(
        &mut self,
        conn: ConnId,
        pending: PendingMessageAsk,
        request: MessageRequest,
        content: &[u8],
    ) {
        let (client, venue) = (Client { home: self.me, conn }, self.venue());
        let Some(session) = self.session(conn) else { return };
        let is_connection = !session.is_caller();
        let Some(login) = session.login() else { return };
        let user = Name::parse(&login.credential.account)
            .expect("invariant: an account's name is one of 1 to 64 letters, digits, _ and -");
        let account = pending.account;
        let ticket = self.message_asks.issue(pending);
        let ask = MessageAsk { ticket, account, user, client, is_connection, request };
        self.outbox.command(venue).push_message_ask(ask, content);
    }

    /// The office says something to a client of this shard.
    pub(super) fn on_message(&mut self, output: &MessageOutput) {
        match output {
            MessageOutput::Answer { ticket, outcome, .. } => self.on_message_answered(*ticket, outcome),
            MessageOutput::Deliver(delivery) if processing::is_of_processor(delivery.client.conn) => {
                self.process_message(delivery);
            }
            MessageOutput::Deliver(delivery) => {
                self.queue_message(delivery.client.conn, Waiting::Message(delivery.clone()));
            }
            MessageOutput::Receipt { client, receipt } => {
                self.queue_message(client.conn, Waiting::Receipt(*receipt));
            }
            MessageOutput::Presence { client, presence } => {
                self.queue_message(client.conn, Waiting::Presence(*presence));
            }
        }
    }

    pub(super) fn on_message_answered(
        &mut self,
        ticket: Ticket,
        outcome: &Result<MessageAnswer, MessageRefusal>,
    ) {
        let Some(PendingMessageAsk { reply_to, account, then }) = self.message_asks.redeem(ticket) else {
            return;
        };
        if let (Then::Process(processor), Err(_)) = (then, outcome) {
            self.pause_processor(processor);
        }
        let Some(reply_to) = reply_to else { return };
        let reply_to = reply_to.get();
        if let Some(session) = self.session(reply_to.conn) {
            session.requests_pending -= 1;
            if outcome.is_ok() {
                session.hear(account, then);
            }
        }
        match outcome {
            Ok(MessageAnswer::DeadLetters { letters, .. }) if then == Then::ShowLetter => {
                match letters.first() {
                    Some(letter) => {
                        self.reply_with(&reply_to, |out| json_rpc::write_dead_letter(out, letter));
                    }
                    None => {
                        let failure = json_rpc::message_failure(MessageRefusal::MessageNotFound);
                        self.reply_error(&reply_to, failure);
                    }
                }
            }
            Ok(answer) => {
                self.reply_with(&reply_to, |out| json_rpc::write_message_answer(out, answer));
            }
            Err(refusal) => self.reply_error(&reply_to, json_rpc::message_failure(*refusal)),
        }
        self.settle(reply_to.conn);
    }

    fn queue_message(&mut self, conn: ConnId, waiting: Waiting) {
        if !self.hears_messages(conn) {
            // It has gone, or is somebody else, and the office hears so: others get it.
            self.counters.messages_too_late_total += 1;
            return;
        }
        match self.egress.push_message(conn.slot, waiting) {
            Ok(()) => self.counters.messages_delivered_total += 1,
            Err(NoRoom) => self.overflowed.push((conn, Closing::MessagesUnread)),
        }
    }

    fn hears_messages(&mut self, conn: ConnId) -> bool {
        let session = self.session(conn).filter(|session| session.is_open());
        let identity = session.and_then(|session| session.identity.as_deref());
        identity.is_some_and(|known| known.hearing.presentation.is_some())
    }

    /// A connection gets nothing more: it unsubscribes, is gone, or is somebody else from now on.
    pub(super) fn stop_hearing(&mut self, conn: ConnId) {
        if let Some(identity) = self.session(conn).and_then(|session| session.identity.as_deref_mut()) {
            identity.hearing = Hearing::default();
        }
        if self.egress.lanes_of(conn).is_some() {
            self.egress.discard_messages(conn.slot);
        }
    }

    /// A client has logged in again, to the same account: it goes on getting messages if that was by the same key and its scope
    /// still allows it.
    pub(super) fn end_forbidden_messages(&mut self, conn: ConnId, by_same_key: bool) {
        let hears = self.hears_messages(conn);
        let login = self.session(conn).and_then(|session| session.login());
        let ends = |scopes: Scopes| hears && !(by_same_key && scopes.allow(Scope::MessageRead));
        let Some(account) = login.filter(|login| ends(login.scopes)).map(|login| login.account) else {
            return;
        };
        self.stop_hearing(conn);
        let pending = PendingMessageAsk { reply_to: None, account, then: Then::Nothing };
        self.push_office(conn, pending, MessageRequest::Unsubscribe, &[]);
    }

    /// Messages that need no confirmation are written: the office may send more.
    pub(super) fn report_written(&mut self, conn: ConnId, count: u32) {
        let (client, venue) = (Client { home: self.me, conn }, self.venue());
        self.outbox.command(venue).records.push(Record::MessagesWritten { client, count });
    }
}

impl Session {
    /// What needs no confirmation in the send that has ended: it is told of once.
    pub(super) fn take_handed(&mut self) -> u32 {
        self.identity.as_deref_mut().map_or(0, |known| std::mem::take(&mut known.hearing.handed))
    }

    /// The office has answered what was asked for an account, which the connection may not be any more.
    fn hear(&mut self, account: AccountId, then: Then) {
        let Some(identity) = self.identity.as_deref_mut().filter(|known| known.asked == Some(account)) else {
            return;
        };
        match then {
            Then::Nothing | Then::ShowLetter | Then::Process(_) => {}
            Then::Deliver(presentation) => identity.hearing.presentation = Some(presentation),
        }
    }
}
