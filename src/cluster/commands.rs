//! What shards of a node that follows ask of the owner's desk, office and home of clients' topics, or say of clients; and what these say back. PURE.
//!
//! A *command* goes to the owner within a request, *words* come back within the node's stream. Which shard of the node is meant stands above the slot of
//! each connection and ticket that crosses, so that the owner, to which a whole node is one home, needs no table of them.
//!
//! Invariants: bytes that are none are faults, found before any of them is done; an account is known by its node's number once it was named, and no
//! account is one of those that stand for operators or backends.

use std::borrow::Cow;

use crate::hub::batch::PublishRefusal;
use crate::limits;
use crate::model::channel::TopicName;
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, HomeId, HomeSet, Position, Ticket, TopicId};
use crate::model::message::{
    MessageAnswer, MessageOutput, MessageRefusal, MessageRequest, Name, PROCESSOR_SLOTS_FROM, is_processor,
};
use crate::model::order::{AccountId, Departure, OrderRefusal, OrderRequest};

use super::coding::{Coded, coded_enum, coded_struct};
use super::wire::{Put, Reader, WireFault};

const SLOTS: u32 = 1 << limits::CLUSTER_SLOT_BITS;
/// Those from here on stand for backends that process messages.
const FOLDED_PROCESSORS_FROM: u32 = SLOTS - 1 - (u32::MAX - PROCESSOR_SLOTS_FROM);

/// A slot of a shard as it crosses.
pub(super) fn fold(shard: HomeId, slot: u32) -> u32 {
    let slot = if slot >= PROCESSOR_SLOTS_FROM {
        slot - PROCESSOR_SLOTS_FROM + FOLDED_PROCESSORS_FROM
    } else {
        slot
    };
    assert!(slot < SLOTS, "invariant: CLUSTER_SLOT_BITS are enough for all slots of a shard");
    u32::from(shard.0) << limits::CLUSTER_SLOT_BITS | slot
}

/// Which shard has it, and as which slot.
pub(super) fn unfold(folded: u32) -> (HomeId, u32) {
    let shard = u8::try_from(folded >> limits::CLUSTER_SLOT_BITS);
    let shard = HomeId(shard.expect("invariant: six bits are left of 32"));
    let slot = folded % SLOTS;
    if slot >= FOLDED_PROCESSORS_FROM {
        (shard, slot - FOLDED_PROCESSORS_FROM + PROCESSOR_SLOTS_FROM)
    } else {
        (shard, slot)
    }
}

pub(super) fn fold_ticket(shard: HomeId, ticket: Ticket) -> Ticket {
    Ticket { slot: fold(shard, ticket.slot), ..ticket }
}

pub(super) fn unfold_ticket(ticket: Ticket) -> (HomeId, Ticket) {
    let (shard, slot) = unfold(ticket.slot);
    (shard, Ticket { slot, ..ticket })
}

pub(super) fn fold_conn(shard: HomeId, conn: ConnId) -> ConnId {
    ConnId { slot: fold(shard, conn.slot), ..conn }
}

pub(super) fn unfold_conn(conn: ConnId) -> (HomeId, ConnId) {
    let (shard, slot) = unfold(conn.slot);
    (shard, ConnId { slot, ..conn })
}

/// One thing that a node asks for or says; tickets and connections are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// What the node means by a number: before its first use.
    Account {
        account: AccountId,
        name: Name,
    },
    Ask(ForwardedAsk),
    MessageAsk(ForwardedMessageAsk, &'a [u8]),
    Departed {
        conn: ConnId,
        how: Departure,
    },
    MessagesWritten {
        conn: ConnId,
        count: u32,
    },
    Publish {
        ticket: Ticket,
        name: TopicName,
        topic: Option<ForwardedTopic>,
        data: &'a [u8],
    },
}

/// [`crate::model::order::Ask`] of a node's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForwardedAsk {
    pub(super) ticket: Ticket,
    pub(super) account: AccountId,
    pub(super) conn: ConnId,
    pub(super) is_connection: bool,
    pub(super) encoding: Encoding,
    pub(super) request: OrderRequest,
}

/// [`crate::model::message::MessageAsk`] of a node's client or backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForwardedMessageAsk {
    pub(super) ticket: Ticket,
    pub(super) by: By,
    pub(super) conn: ConnId,
    pub(super) is_connection: bool,
    pub(super) request: MessageRequest,
}

/// In whose name the office is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Account(AccountId),
    /// A backend that processes messages.
    Processor(Name),
}

/// A topic of the market's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForwardedTopic {
    slot: u32,
    generation: u32,
}

impl ForwardedTopic {
    pub(super) fn of(id: TopicId) -> ForwardedTopic {
        ForwardedTopic { slot: id.slot, generation: id.generation }
    }

    pub(super) fn at(self, home: HomeId) -> TopicId {
        TopicId { home, slot: self.slot, generation: self.generation }
    }
}

coded_struct!(ForwardedAsk { ticket, account, conn, is_connection, encoding, request });
coded_struct!(ForwardedMessageAsk { ticket, by, conn, is_connection, request });
coded_enum!(By { 0 => Account(account), 1 => Processor(name) });
coded_struct!(ForwardedTopic { slot, generation });
coded_enum!(PublishRefusal { 0 => TooManyTopics, 1 => Overloaded, 2 => OwnerAway, 3 => OwnerLost });

pub(super) fn write_command(out: &mut Vec<u8>, command: &Command<'_>) {
    match command {
        Command::Account { account, name } => {
            out.put_u8(0);
            account.write(out);
            name.write(out);
        }
        Command::Ask(ask) => {
            out.put_u8(1);
            ask.write(out);
        }
        Command::MessageAsk(ask, content) => {
            out.put_u8(2);
            ask.write(out);
            out.put_run(content);
        }
        Command::Departed { conn, how } => {
            out.put_u8(3);
            conn.write(out);
            how.write(out);
        }
        Command::MessagesWritten { conn, count } => {
            out.put_u8(4);
            conn.write(out);
            count.write(out);
        }
        Command::Publish { ticket, name, topic, data } => {
            out.put_u8(5);
            ticket.write(out);
            name.write(out);
            topic.write(out);
            out.put_run(data);
        }
    }
}

/// All commands of a request.
///
/// # Errors
/// One of them is none; nothing is to be done.
pub(super) fn read_commands(bytes: &[u8]) -> Result<Vec<Command<'_>>, WireFault> {
    let (mut reader, mut commands) = (Reader::new(bytes), Vec::new());
    while !reader.is_empty() {
        commands.push(command(&mut reader)?);
    }
    Ok(commands)
}

fn command<'a>(reader: &mut Reader<'a>) -> Result<Command<'a>, WireFault> {
    Ok(match reader.u8()? {
        0 => {
            let (account, name) = (Coded::read(reader)?, Coded::read(reader)?);
            if is_processor(&name) {
                return Err(WireFault::Value);
            }
            Command::Account { account, name }
        }
        1 => Command::Ask(Coded::read(reader)?),
        2 => {
            let ask: ForwardedMessageAsk = Coded::read(reader)?;
            if !ask.is_by_who_may() {
                return Err(WireFault::Value);
            }
            Command::MessageAsk(ask, reader.text()?.as_bytes())
        }
        3 => Command::Departed { conn: Coded::read(reader)?, how: Coded::read(reader)? },
        4 => Command::MessagesWritten { conn: Coded::read(reader)?, count: Coded::read(reader)? },
        5 => Command::Publish {
            ticket: Coded::read(reader)?,
            name: Coded::read(reader)?,
            topic: Coded::read(reader)?,
            data: reader.text()?.as_bytes(),
        },
        _ => return Err(WireFault::Value),
    })
}

impl ForwardedMessageAsk {
    /// A backend asks for nothing but what its messages need, and nobody else for that.
    fn is_by_who_may(&self) -> bool {
        let of_backends =
            matches!(self.request, MessageRequest::Process { .. } | MessageRequest::HandBack { .. });
        let of_both = matches!(
            self.request,
            MessageRequest::Acknowledge { .. } | MessageRequest::Reject { .. } | MessageRequest::Unsubscribe
        );
        let is_processors = unfold_conn(self.conn).1.slot >= PROCESSOR_SLOTS_FROM;
        match self.by {
            By::Account(_) => !is_processors && !of_backends,
            By::Processor(name) => is_processors && is_processor(&name) && (of_backends || of_both),
        }
    }
}

/// One word of desk, office or the home of topics to a node; tickets and connections are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "they live for as long as it takes to write or to pass them on"
)]
pub(super) enum Said<'a> {
    Answered { ticket: Ticket, outcome: Result<&'a [u8], OrderRefusal> },
    Message(Cow<'a, MessageOutput>),
    Published { ticket: Ticket, outcome: Result<(ForwardedTopic, Position), PublishRefusal> },
}

pub(super) fn write_said(out: &mut Vec<u8>, said: &Said<'_>) {
    match said {
        Said::Answered { ticket, outcome: Ok(result) } => {
            out.put_u8(0);
            ticket.write(out);
            out.put_run(result);
        }
        Said::Answered { ticket, outcome: Err(refusal) } => {
            out.put_u8(1);
            ticket.write(out);
            refusal.write(out);
        }
        Said::Message(output) => write_output(out, output),
        Said::Published { ticket, outcome: Ok((topic, place)) } => {
            out.put_u8(6);
            ticket.write(out);
            topic.write(out);
            place.write(out);
        }
        Said::Published { ticket, outcome: Err(refusal) } => {
            out.put_u8(7);
            ticket.write(out);
            refusal.write(out);
        }
    }
}

fn write_output(out: &mut Vec<u8>, output: &MessageOutput) {
    match output {
        MessageOutput::Answer { ticket, outcome, to: _ } => {
            out.put_u8(2);
            ticket.write(out);
            outcome.write(out);
        }
        MessageOutput::Deliver(delivery) => {
            out.put_u8(3);
            delivery.write(out);
        }
        MessageOutput::Receipt { client, receipt } => {
            out.put_u8(4);
            client.write(out);
            receipt.write(out);
        }
        MessageOutput::Presence { client, presence } => {
            out.put_u8(5);
            client.write(out);
            presence.write(out);
        }
    }
}

/// All words of one telling, each for the shard that it is for, with tickets and connections as that one knows them.
///
/// # Errors
/// One of them is none, or for a shard that is not among `shards`; none is to be passed on.
pub(super) fn read_said(bytes: &[u8], shards: HomeSet) -> Result<Vec<(HomeId, Said<'_>)>, WireFault> {
    let (mut reader, mut all) = (Reader::new(bytes), Vec::new());
    while !reader.is_empty() {
        let (shard, said) = said(&mut reader)?;
        if !shards.contains(shard) {
            return Err(WireFault::Value);
        }
        all.push((shard, said));
    }
    Ok(all)
}

fn said<'a>(reader: &mut Reader<'a>) -> Result<(HomeId, Said<'a>), WireFault> {
    let ticket = |reader: &mut Reader<'a>| Ticket::read(reader).map(unfold_ticket);
    let kind = reader.u8()?;
    Ok(match kind {
        0 => {
            let (shard, ticket) = ticket(reader)?;
            (shard, Said::Answered { ticket, outcome: Ok(reader.run()?) })
        }
        1 => {
            let (shard, ticket) = ticket(reader)?;
            (shard, Said::Answered { ticket, outcome: Err(Coded::read(reader)?) })
        }
        2 => {
            let (to, ticket) = ticket(reader)?;
            let outcome: Result<MessageAnswer, MessageRefusal> = Coded::read(reader)?;
            (to, Said::Message(Cow::Owned(MessageOutput::Answer { to, ticket, outcome })))
        }
        3..=5 => {
            let mut output = match kind {
                3 => MessageOutput::Deliver(Coded::read(reader)?),
                4 => MessageOutput::Receipt { client: Coded::read(reader)?, receipt: Coded::read(reader)? },
                _ => MessageOutput::Presence { client: Coded::read(reader)?, presence: Coded::read(reader)? },
            };
            let client = match &mut output {
                MessageOutput::Deliver(delivery) => &mut delivery.client,
                MessageOutput::Receipt { client, .. } | MessageOutput::Presence { client, .. } => client,
                MessageOutput::Answer { .. } => panic!("invariant: an answer is read above"),
            };
            (client.home, client.conn) = unfold_conn(client.conn);
            (client.home, Said::Message(Cow::Owned(output)))
        }
        6 => {
            let (shard, ticket) = ticket(reader)?;
            (shard, Said::Published { ticket, outcome: Ok((Coded::read(reader)?, Coded::read(reader)?)) })
        }
        7 => {
            let (shard, ticket) = ticket(reader)?;
            (shard, Said::Published { ticket, outcome: Err(Coded::read(reader)?) })
        }
        _ => return Err(WireFault::Value),
    })
}

#[cfg(test)]
mod tests;
