//! What waits for the store: which items have changed, who is to be answered once that is on the disk, and which batches are with the
//! store. PURE.
//!
//! Invariants: what an item is on the disk is written from what it is when its batch is made, so that a change is never older than what
//! it follows; what belongs together is in one batch; each who waits is answered once. Of a refused batch the changes of what was there
//! before are kept until a later one takes them.

use std::collections::{BTreeSet, VecDeque};

use crate::model::ids::{HomeId, Ticket};
use crate::model::message::{MessageAnswer, MessageId, MessageState};

/// What has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// The name of the send whose first part this is.
    Done(u64),
    Group(u64),
    /// A message, if it is one that is not over.
    Message(u64),
    /// A message that is or was a dead letter: the record of either is written or removed.
    Letter(u64),
}

/// An answer that waits until something is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) to: HomeId,
    pub(super) ticket: Ticket,
    pub(super) answer: Promise,
}

/// Such an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    Done,
    Accepted { first: MessageId, count: u32, state: MessageState },
    Count(u64),
}

impl Promise {
    pub(super) fn answer(self) -> MessageAnswer {
        match self {
            Promise::Done => MessageAnswer::Done,
            Promise::Accepted { first, count, state } => {
                MessageAnswer::Accepted { first, count, state, is_repeated: false }
            }
            Promise::Count(count) => MessageAnswer::Count(count),
        }
    }
}

/// In the order in which things happened; what has the same unit is not split.
#[derive(Debug)]
enum Step {
    Change { unit: u64, item: Item },
    Answer { unit: u64, waiter: Waiter },
}

impl Step {
    fn unit(&self) -> u64 {
        match self {
            Step::Change { unit, .. } | Step::Answer { unit, .. } => *unit,
        }
    }
}

/// What is in one batch, or was to be.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) number: u64,
    pub(super) items: Vec<Item>,
    pub(super) waiters: Vec<Waiter>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Journal {
    open: VecDeque<Step>,
    /// Of refused batches and of the time of a fault, each item once.
    kept: BTreeSet<Item>,
    is_faulty: bool,
    units: u64,
    batches: u64,
    under_way: VecDeque<Written>,
    /// Messages whose senders are not answered yet, and the bytes of their records.
    pub(super) storing: u32,
    pub(super) storing_bytes: usize,
}

impl Journal {
    /// What follows belongs together, up to the next call.
    pub(super) fn begin(&mut self) {
        self.units += 1;
    }

    pub(super) fn change(&mut self, item: Item) {
        if self.is_faulty {
            self.kept.insert(item);
        } else {
            self.open.push_back(Step::Change { unit: self.units, item });
        }
    }

    /// Whoever it is waits for the changes since [`Journal::begin`].
    pub(super) fn wait(&mut self, waiter: Waiter) {
        self.open.push_back(Step::Answer { unit: self.units, waiter });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.kept.is_empty()
    }

    /// Takes for the next batch what was kept, then what came, by `weigh`, which writes an item and says whether the batch may have
    /// more; a unit is taken as a whole.
    pub(super) fn take(&mut self, mut weigh: impl FnMut(Item) -> bool) -> u64 {
        self.batches += 1;
        let mut written = Written { number: self.batches, ..Written::default() };
        let mut has_room = true;
        while has_room && let Some(item) = self.kept.pop_first() {
            has_room = weigh(item);
            written.items.push(item);
        }
        let mut unit = 0;
        while let Some(step) = self.open.pop_front_if(|step| has_room || step.unit() == unit) {
            unit = step.unit();
            match step {
                Step::Change { item, .. } => {
                    has_room &= weigh(item);
                    written.items.push(item);
                }
                Step::Answer { waiter, .. } => written.waiters.push(waiter),
            }
        }
        self.under_way.push_back(written);
        self.batches
    }

    /// The oldest batch with the store, if its number is at most that.
    pub(super) fn stored(&mut self, through: u64) -> Option<Written> {
        self.under_way.pop_front_if(|batch| batch.number <= through)
    }

    pub(super) fn refused(&mut self, number: u64) -> Option<Written> {
        let at = self.under_way.iter().position(|batch| batch.number == number)?;
        self.under_way.remove(at)
    }

    /// It is written by a later batch.
    pub(super) fn keep(&mut self, item: Item) {
        self.kept.insert(item);
    }

    /// From now on changes are kept, each once; what waited is handed out as if it had been refused.
    pub(super) fn set_faulty(&mut self) -> Written {
        self.is_faulty = true;
        let mut written = Written::default();
        for step in self.open.drain(..) {
            match step {
                Step::Change { item, .. } => written.items.push(item),
                Step::Answer { waiter, .. } => written.waiters.push(waiter),
            }
        }
        written
    }

    pub(super) fn set_ready(&mut self) {
        self.is_faulty = false;
    }

    pub(super) fn batches_under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn changes_waiting(&self) -> usize {
        self.open.len() + self.kept.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let under_way: usize = self
            .under_way
            .iter()
            .map(|batch| {
                batch.items.capacity() * size_of::<Item>() + batch.waiters.capacity() * size_of::<Waiter>()
            })
            .sum();
        self.open.capacity() * size_of::<Step>() + self.kept.len() * 2 * size_of::<Item>() + under_way
    }
}
