//! What differs by the encoding of a connection beside its notifications: what is agreed on at its upgrade or in its hello, its
//! heartbeats, and what is said of events that are left out. PURE. Home: one shard.
//!
//! Invariant: who asks for what is not to be had is given nothing in its place.

use crate::dialect::json_rpc::{self, Failure, HelloParams};
use crate::dialect::negotiation::{self, Agreement, Refusal, negotiate};
use crate::dialect::sbe::generated::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::market as sbe;
use crate::http::Rejection;
use crate::model::channel::TopicKey;
use crate::model::encoding::{Encoding, Form};
use crate::model::ids::{ConnId, Position, Seq};
use crate::ws::frame::Opcode;

use super::Hub;
use super::incident::Closing;
use super::pipes;
use super::requests::ReplyTo;
use super::session::{Service, Session};
use super::text_frame::{append_frame, append_text_frame, replace_with_frame};
use super::topics::Topic;

/// What a hello may ask for.
const SUPPORTED: &str = "supported: json, or sbe with schema 1 and version 0, with or without batch";
const _: () = assert!(SCHEMA_ID == 1 && SCHEMA_VERSION == 0, "what is supported is said");

/// What a message has come to, as far as what the connection is spoken to in is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Greeting {
    Ok,
    /// It asked for an encoding that it does not get: the connection ends with the message, before anything is told in another one.
    Refused,
}

impl Hub {
    /// Answers a hello, which on binary TCP may ask for an encoding.
    pub(super) fn greet(&mut self, reply_to: &ReplyTo<'_>, hello: &HelloParams<'_>) -> Greeting {
        let Some(session) = self.session(reply_to.conn) else { return Greeting::Ok };
        session.precision = hello.precision;
        let agreed = session.agree_on(hello.form);
        match agreed {
            Ok(None) => self.reply_with(reply_to, json_rpc::write_version),
            Ok(Some(form)) => {
                self.egress.send_batched(reply_to.conn.slot, form.is_batched());
                self.reply_with(reply_to, |out| json_rpc::write_agreement(out, form));
            }
            Err(failure) => {
                self.reply_error(reply_to, failure);
                return Greeting::Refused;
            }
        }
        Greeting::Ok
    }

    /// Ends a connection whose message is done with, if that asked for an encoding that it does not get.
    pub(super) fn end_if_refused(&mut self, conn: ConnId, greeting: Greeting) {
        let is_refused = greeting == Greeting::Refused;
        if is_refused && self.session(conn).is_some_and(|session| session.is_open()) {
            self.begin_close(conn, Closing::Encoding);
        }
    }
}

impl Session {
    /// What a hello asks for: what is there already, or on binary TCP something else, once, and while it follows nothing. What waits
    /// of what it followed before is told in JSON.
    fn agree_on(&mut self, asked: Result<Option<Form>, Refusal>) -> Result<Option<Form>, Failure> {
        let refused = |reason| Err(Failure::INVALID_PARAMS.because(reason).at("encoding"));
        let follows_nothing =
            self.subscriptions.is_empty() && self.patterns.is_empty() && self.joins_pending == 0;
        match asked {
            Ok(None) => Ok(None),
            Ok(Some(form)) if form == self.form => Ok(Some(form)),
            Ok(Some(_)) if !self.receiver.is_length_prefixed() => {
                refused("a WebSocket's is agreed on in its upgrade")
            }
            Ok(Some(_)) if !follows_nothing => refused("to be agreed on before subscriptions"),
            // What waits to be sent is of the form that it was agreed on in.
            Ok(Some(_)) if self.form != Form::Json => refused("another one was agreed on"),
            Ok(Some(form)) => {
                self.form = form;
                Ok(Some(form))
            }
            Err(_) => refused(SUPPORTED),
        }
    }
}

/// What a client of a service is spoken to in, by the query and the subprotocols that it offers.
pub(super) fn agree_on_dialect<'o>(
    service: Service,
    query: Option<&str>,
    mut offered: impl Iterator<Item = &'o str>,
) -> Result<Agreement, Rejection> {
    let in_json = |subprotocol| Ok(Agreement { form: Form::Json, subprotocol });
    let only = match service {
        Service::Mcp => pipes::SUBPROTOCOL,
        Service::Echo => negotiation::JSON_RPC,
        Service::JsonRpc => {
            return match negotiate(query, offered) {
                Ok(agreed) => Ok(agreed),
                Err(Refusal::Encoding) => Err(Rejection::EncodingUnknown),
                Err(Refusal::Subprotocol) => Err(Rejection::SubprotocolUnknown),
            };
        }
    };
    match offered.next() {
        None => in_json(None),
        Some(name) if name == only || offered.any(|name| name == only) => in_json(Some(only)),
        Some(_) => Err(Rejection::SubprotocolUnknown),
    }
}

/// Makes `frame` a heartbeat.
pub(super) fn replace_with_heartbeat(
    frame: &mut Vec<u8>,
    encoding: Encoding,
    kind: json_rpc::Heartbeat,
    unix_ns: u64,
) {
    replace_with_frame(frame, |bytes| match encoding {
        Encoding::Json => append_text_frame(bytes, |out| json_rpc::write_heartbeat(out, kind)),
        Encoding::Sbe => append_frame(bytes, Opcode::Binary, |out| sbe::write_heartbeat(out, kind, unix_ns)),
    });
}

/// Makes `frame` the word that a topic's events between `told` and its value are left out, if there are any and its encoding has a word
/// for it: in JSON the hole in `seq` says it.
pub(super) fn replace_with_gap_notice(
    frame: &mut Vec<u8>,
    topic: &Topic,
    told: Option<Position>,
    unix_ns: u64,
) -> bool {
    let TopicKey::Market { instrument, channel, encoding: Encoding::Sbe } = topic.key else { return false };
    let (Some(told), Some(value_seq)) = (told, topic.value_seq) else { return false };
    let first = Position { epoch: told.epoch, seq: told.seq.next() };
    if topic.epoch != told.epoch || first.seq >= value_seq {
        return false;
    }
    let last = Seq(value_seq.0 - 1);
    replace_with_frame(frame, |bytes| {
        append_frame(bytes, Opcode::Binary, |out| {
            sbe::write_gap_notice(out, instrument, channel, (first, last), unix_ns);
        })
    });
    true
}
