//! What shards of a node that follows ask of the owner's desk, office and home of topics, on its way there. PURE. Home: the follower's end of the bridge.
//!
//! Invariants: commands leave in the order in which they came, each once; one that has not left when its owner is given up is told as not sent; an account
//! is named before its first use.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use crate::hub::batch::{PublishRefusal, Record};
use crate::hub::outbox::Outbox;
use crate::limits;
use crate::model::hasher::FixedHasher;
use crate::model::ids::{HomeId, Ticket};
use crate::model::message::{MessageOutput, MessageRefusal, Name};
use crate::model::order::{AccountId, OrderRefusal};

use super::commands::{Command, write_command};

/// Who waits for the answer to a command: a shard, by its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Desk(HomeId, Ticket),
    Office(HomeId, Ticket),
    Topics(HomeId, Ticket),
}

/// A command that has not left.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    bytes: usize,
    /// `None` where nobody waits for an answer.
    waits: Option<Waits>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    bytes: VecDeque<u8>,
    unsent: VecDeque<Unsent>,
    /// Accounts that this owner knows by their numbers.
    named: HashSet<AccountId, BuildHasherDefault<FixedHasher>>,
    scratch: Vec<u8>,
}

impl Forwarding {
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.unsent.capacity() * size_of::<Unsent>()
    }

    /// Names an account to the owner if it does not know it.
    pub(super) fn name(&mut self, account: AccountId, name_of: impl FnOnce(AccountId) -> Name) {
        if self.named.insert(account) {
            let name = name_of(account);
            self.push(None, &Command::Account { account, name });
        }
    }

    /// Puts a command behind the others; whether there is room. What nobody waits for always has it: it tells of what there is a bound on elsewhere.
    pub(super) fn push(&mut self, waits: Option<Waits>, command: &Command<'_>) -> bool {
        self.scratch.clear();
        write_command(&mut self.scratch, command);
        let bytes = self.scratch.len();
        let is_refused = bytes > limits::CLUSTER_REQUEST_BYTES_MAX
            || self.bytes.len() + bytes > limits::CLUSTER_UNSENT_BYTES_MAX;
        if waits.is_some() && is_refused {
            return false;
        }
        self.bytes.extend(&self.scratch);
        self.unsent.push_back(Unsent { bytes, waits });
        true
    }

    /// The commands of the next request: they are on their way from here on.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let (mut count, mut bytes) = (0, 0);
        while let Some(next) = self.unsent.get(count)
            && bytes + next.bytes <= limits::CLUSTER_REQUEST_BYTES_MAX
        {
            bytes += next.bytes;
            count += 1;
        }
        self.unsent.drain(..count);
        self.bytes.drain(..bytes).collect()
    }

    /// The owner is given up: what has not left is told as not sent, and the next one knows nothing; so many were.
    pub(super) fn give_up(&mut self, outbox: &mut Outbox) -> u64 {
        let waiting: Vec<Waits> = self.unsent.drain(..).filter_map(|unsent| unsent.waits).collect();
        for waits in &waiting {
            refuse(outbox, *waits);
        }
        *self = Forwarding::default();
        waiting.len() as u64
    }
}

/// Tells a shard that what it asked for was not sent.
pub(super) fn refuse(outbox: &mut Outbox, waits: Waits) {
    match waits {
        Waits::Desk(shard, ticket) => {
            let outcome = Err(OrderRefusal::OwnerAway);
            outbox.command(shard).records.push(Record::Answered { ticket, outcome });
        }
        Waits::Office(to, ticket) => {
            let outcome = Err(MessageRefusal::OwnerAway);
            outbox.command(to).push_message(MessageOutput::Answer { to, ticket, outcome });
        }
        Waits::Topics(shard, ticket) => {
            let outcome = Err(PublishRefusal::OwnerAway);
            outbox.command(shard).records.push(Record::Published { ticket, outcome });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::TopicName;

    fn publish(number: u32, data: &[u8]) -> (Option<Waits>, Command<'_>) {
        let ticket = Ticket { slot: number, generation: 0 };
        let name = TopicName::parse(b"a").unwrap();
        (Some(Waits::Topics(HomeId(1), ticket)), Command::Publish { ticket, name, topic: None, data })
    }

    fn refused(outbox: &mut Outbox) -> Vec<u32> {
        outbox.seal_commands();
        let batches = std::iter::from_fn(|| outbox.poll());
        let records = batches.flat_map(|outgoing| outgoing.batch.records.clone());
        records
            .map(|record| {
                let Record::Published { ticket, outcome: Err(PublishRefusal::OwnerAway) } = record else {
                    panic!("{record:?}")
                };
                ticket.slot
            })
            .collect()
    }

    #[test]
    fn what_has_left_is_not_told_as_not_sent_and_the_rest_is_once() {
        let (mut forwarding, mut outbox) = (Forwarding::default(), Outbox::new());
        let half = vec![b'1'; limits::CLUSTER_REQUEST_BYTES_MAX / 2];
        for number in 0..3 {
            let (waits, command) = publish(number, &half);
            assert!(forwarding.push(waits, &command));
        }
        let first = forwarding.take();
        assert!(first.len() > half.len() && first.len() < 2 * half.len(), "two do not fit a request");
        assert_eq!(forwarding.give_up(&mut outbox), 2);
        assert_eq!(refused(&mut outbox), [1, 2]);
        assert_eq!((forwarding.give_up(&mut outbox), forwarding.take().len()), (0, 0));
    }

    #[test]
    fn what_is_too_long_or_too_much_is_refused_and_what_nobody_waits_for_is_not() {
        let mut forwarding = Forwarding::default();
        let long = vec![b'1'; limits::CLUSTER_REQUEST_BYTES_MAX];
        let (waits, command) = publish(0, &long);
        assert!(!forwarding.push(waits, &command), "no request would take it");
        let most = vec![b'1'; limits::CLUSTER_REQUEST_BYTES_MAX - 100];
        let (waits, command) = publish(0, &most);
        let taken = (0..1000).take_while(|_| forwarding.push(waits, &command)).count();
        assert_eq!(taken, limits::CLUSTER_UNSENT_BYTES_MAX / limits::CLUSTER_REQUEST_BYTES_MAX);
        let written =
            Command::MessagesWritten { conn: crate::model::ids::ConnId { slot: 0, generation: 0 }, count: 1 };
        assert!((0..10_000).all(|_| forwarding.push(None, &written)));
    }

    #[test]
    fn an_account_is_named_once_to_each_owner() {
        let (mut forwarding, mut outbox) = (Forwarding::default(), Outbox::new());
        let name = |_| Name::parse("desk").unwrap();
        forwarding.name(AccountId(3), name);
        let told = forwarding.take();
        forwarding.name(AccountId(3), name);
        assert!(forwarding.is_empty());
        forwarding.give_up(&mut outbox);
        forwarding.name(AccountId(3), name);
        assert_eq!(forwarding.take(), told);
    }
}
