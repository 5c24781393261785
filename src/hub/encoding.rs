//! What differs by the encoding of a connection beside its notifications: what is agreed on at its upgrade, its heartbeats, and
//! what is said of events that are left out. PURE. Home: one shard.

use crate::dialect::json_rpc;
use crate::dialect::negotiation::{self, Refusal, negotiate};
use crate::dialect::sbe::market as sbe;
use crate::http::Rejection;
use crate::model::channel::TopicKey;
use crate::model::encoding::Encoding;
use crate::model::ids::{Position, Seq};
use crate::ws::frame::Opcode;

use super::pipes;
use super::session::Service;
use super::text_frame::{append_frame, append_text_frame, replace_with_frame};
use super::topics::Topic;

/// What a client of a service is spoken to in, by the query and the subprotocols that it offers: the encoding of its market data, and
/// the subprotocol that is chosen.
pub(super) fn agree_on_dialect<'o>(
    service: Service,
    query: Option<&str>,
    mut offered: impl Iterator<Item = &'o str>,
) -> Result<(Encoding, Option<&'static str>), Rejection> {
    let only = match service {
        Service::Mcp => pipes::SUBPROTOCOL,
        Service::Echo => negotiation::JSON_RPC,
        Service::JsonRpc => {
            return match negotiate(query, offered) {
                Ok(agreed) => Ok((agreed.encoding, agreed.subprotocol)),
                Err(Refusal::Encoding) => Err(Rejection::EncodingUnknown),
                Err(Refusal::Subprotocol) => Err(Rejection::SubprotocolUnknown),
            };
        }
    };
    match offered.next() {
        None => Ok((Encoding::Json, None)),
        Some(name) if name == only || offered.any(|name| name == only) => Ok((Encoding::Json, Some(only))),
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
