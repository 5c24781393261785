//! Who of a bridge's listeners listens to which topic of the market, and who waits for the answer to a join. PURE. Home: an owner's bridge, whose
//! listeners are nodes, and a follower's, whose listeners are shards.
//!
//! Invariants: a topic is left above when its last listener has left and nobody waits to join it, and not before; a question that was put before a gap is
//! not answered after it, since it is put again.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use slab::Slab;

use crate::model::channel::TopicKey;
use crate::model::hasher::FixedHasher;
use crate::model::ids::{HomeId, Seq, Ticket, TopicId};

/// A join that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Below 64.
    pub(super) listener: u8,
    /// By what it recognises the answer.
    pub(super) home: HomeId,
    pub(super) ticket: Ticket,
    pub(super) key: TopicKey,
}

#[derive(Debug)]
struct Topic {
    key: TopicKey,
    /// A bit each.
    listeners: u64,
    /// The newest event that listeners were told.
    stands: Seq,
}

impl Topic {
    fn is_wanted(&self, waiting: &Slab<(u32, Asked)>) -> bool {
        self.listeners != 0 || waiting.iter().any(|(_, (_, asked))| asked.key == self.key)
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Interest {
    topics: HashMap<TopicId, Topic, BuildHasherDefault<FixedHasher>>,
    waiting: Slab<(u32, Asked)>,
    generation: u32,
}

impl Interest {
    /// A listener joins; by what the answer is recognised here.
    pub(super) fn join(&mut self, asked: Asked) -> Ticket {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.waiting.insert((self.generation, asked));
        let slot = u32::try_from(slot).expect("invariant: shards bound what waits far below 2^32");
        Ticket { slot, generation: self.generation }
    }

    /// Who waits for an answer; `None` where nobody does any more.
    pub(super) fn waits(&self, ticket: Ticket) -> Option<Asked> {
        let (generation, asked) = self.waiting.get(ticket.slot as usize)?;
        (*generation == ticket.generation).then_some(*asked)
    }

    /// The answer to a join: the listener listens from here on, to the events after `stands`; `topic` is `None` where it was refused.
    pub(super) fn joined(&mut self, ticket: Ticket, topic: Option<TopicId>, stands: Seq) -> Option<Asked> {
        let asked = self.waits(ticket)?;
        self.waiting.remove(ticket.slot as usize);
        if let Some(topic) = topic {
            let new = Topic { key: asked.key, listeners: 0, stands };
            let entry = self.topics.entry(topic).or_insert(new);
            entry.listeners |= 1 << asked.listener;
            entry.stands = stands;
        }
        Some(asked)
    }

    /// A listener leaves; whether the topic is to be left above.
    pub(super) fn leave(&mut self, listener: u8, id: TopicId) -> bool {
        let Some(topic) = self.topics.get_mut(&id) else { return false };
        topic.listeners &= !(1 << listener);
        self.is_left(id)
    }

    /// Who listens, a bit each.
    pub(super) fn listeners(&self, id: TopicId) -> u64 {
        self.topics.get(&id).map_or(0, |topic| topic.listeners)
    }

    /// Whether it is one account's alone.
    pub(super) fn is_private(&self, id: TopicId) -> bool {
        let key = self.topics.get(&id).map(|topic| topic.key);
        matches!(key, Some(TopicKey::Private { .. }))
    }

    /// An event goes to the listeners; whether it is the next one of the topic for them. One that nobody listens to is.
    pub(super) fn advance(&mut self, id: TopicId, prev_seq: Seq, seq: Seq) -> bool {
        let Some(topic) = self.topics.get_mut(&id) else { return true };
        let is_next = topic.stands == prev_seq;
        topic.stands = seq;
        is_next
    }

    /// A listener is gone, or begins anew; the topics that are to be left above.
    pub(super) fn forget(&mut self, listener: u8) -> Vec<TopicId> {
        self.waiting.retain(|_, (_, asked)| asked.listener != listener);
        let (waiting, mut left) = (&self.waiting, Vec::new());
        self.topics.retain(|id, topic| {
            topic.listeners &= !(1 << listener);
            let is_wanted = topic.is_wanted(waiting);
            if !is_wanted {
                left.push(*id);
            }
            is_wanted
        });
        left.sort_unstable();
        left
    }

    /// All begin anew; the topics that are to be left above.
    pub(super) fn clear(&mut self) -> Vec<TopicId> {
        self.waiting.clear();
        let mut left: Vec<TopicId> = self.topics.drain().map(|(id, _)| id).collect();
        left.sort_unstable();
        left
    }

    /// Forgets a topic that nobody listens to or waits for.
    fn is_left(&mut self, id: TopicId) -> bool {
        let Some(topic) = self.topics.get(&id) else { return false };
        let is_wanted = topic.is_wanted(&self.waiting);
        if !is_wanted {
            self.topics.remove(&id);
        }
        !is_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::MarketChannel;
    use crate::model::encoding::Encoding;
    use crate::model::ids::InstrumentId;

    const ID: TopicId = TopicId { home: HomeId(1), slot: 3, generation: 0 };

    fn asked(listener: u8) -> Asked {
        let key = TopicKey::Market {
            instrument: InstrumentId(0),
            channel: MarketChannel::Quote,
            encoding: Encoding::Json,
        };
        Asked { listener, home: HomeId(0), ticket: Ticket { slot: 9, generation: 9 }, key }
    }

    fn join(interest: &mut Interest, listener: u8) {
        let ticket = interest.join(asked(listener));
        assert_eq!(interest.joined(ticket, Some(ID), Seq(4)), Some(asked(listener)));
    }

    #[test]
    fn a_topic_is_left_when_the_last_listener_has_left() {
        let mut interest = Interest::default();
        join(&mut interest, 1);
        join(&mut interest, 63);
        assert_eq!(interest.listeners(ID), 1 << 63 | 2);
        assert!(!interest.leave(1, ID));
        assert!(interest.leave(63, ID));
        assert!(!interest.leave(63, ID), "it is left already");
    }

    #[test]
    fn a_topic_that_somebody_waits_to_join_is_not_left() {
        let mut interest = Interest::default();
        join(&mut interest, 1);
        let ticket = interest.join(asked(2));
        assert!(!interest.leave(1, ID));
        assert_eq!(interest.forget(2), [ID], "but when who waits is gone");
        assert_eq!(interest.joined(ticket, Some(ID), Seq(0)), None);
    }

    #[test]
    fn an_answer_is_for_who_asked_and_only_once() {
        let mut interest = Interest::default();
        let ticket = interest.join(asked(1));
        assert_eq!(interest.joined(ticket, None, Seq(0)), Some(asked(1)));
        assert_eq!((interest.listeners(ID), interest.waits(ticket)), (0, None));
        let later = interest.join(asked(2));
        assert_eq!((later.slot, interest.waits(ticket)), (ticket.slot, None), "a place that is used again");
    }

    #[test]
    fn events_are_counted_from_the_join_on() {
        let mut interest = Interest::default();
        assert!(interest.advance(ID, Seq(1), Seq(2)), "nobody listens");
        join(&mut interest, 1);
        assert!(interest.advance(ID, Seq(4), Seq(5)) && !interest.advance(ID, Seq(4), Seq(5)));
    }

    #[test]
    fn after_a_gap_nobody_listens_or_waits() {
        let mut interest = Interest::default();
        join(&mut interest, 1);
        let ticket = interest.join(asked(2));
        assert_eq!(interest.clear(), [ID]);
        assert_eq!((interest.listeners(ID), interest.waits(ticket)), (0, None));
    }
}
