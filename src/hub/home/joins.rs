//! Who begins and ceases to listen at a home. A resume is answered at the end of its turn, or of a later one where that
//! has replayed enough. PURE. Home: that of the topics.
//!
//! Invariants: what waits is done in the order in which it came, and nothing of the same topic overtakes it, so that the
//! last of a shard's joins and leaves is what holds, and a topic's own question after a gap is answered before those of
//! its subscriptions; a join that waited is answered as of
//! its answer, not as of its coming, so it is as atomic as any; a turn replays no more than
//! `HistoryLimits::replayed_bytes_per_turn` and one topic's history; a topic that something waits for is not forgotten,
//! and its history may grow to twice its bounds meanwhile, so that a wait does not put a place out of reach. How much
//! waits is bounded by the shards: each question of theirs waits at most twice, the second time since a gap.

use std::collections::VecDeque;

use crate::model::ids::{Epoch, HomeId, Position, Seq, TopicId};
use crate::model::time::Now;

use super::super::batch::{Batch, JoinOutcome, Record, Ticket};
use super::super::deflation::Windows;
use super::{Home, HomeTopicSlot};

/// What waits for the end of the turn, or for a later turn.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    questions: VecDeque<Question>,
    /// Those at the front of `questions` that came in earlier turns.
    delayed: usize,
    /// What this turn has told joins so far.
    answered_bytes: usize,
}

/// A join or a leave.
#[derive(Debug)]
struct Question {
    from: HomeId,
    slot: HomeTopicSlot,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Join { ticket: Ticket, resume: Option<Position> },
    Leave { now: Now },
}

impl Waiting {
    pub(super) fn memory_bytes(&self) -> usize {
        self.questions.capacity() * size_of::<Question>()
    }
}

impl Home {
    /// Answers a join in the stream of events: at once where it only begins to listen, by
    /// [`Home::answer_waiting`] where it resumes or comes behind one that waits.
    pub fn join(
        &mut self,
        from: HomeId,
        slot: HomeTopicSlot,
        ticket: Ticket,
        resume: Option<Position>,
        out: &mut Batch,
    ) {
        // Who only begins to listen costs little, and is not to wait for those who resume elsewhere.
        if resume.is_none() && self.topic(slot).waiting == 0 {
            self.answer(from, slot, ticket, resume, out);
        } else {
            self.wait(Question { from, slot, asks: Asks::Join { ticket, resume } });
        }
    }

    /// Answers a join that found no room.
    pub fn refuse(&self, from: HomeId, ticket: Ticket, out: &mut Batch) {
        out.records.push(Record::Joined {
            to: from,
            ticket,
            topic: TopicId { home: self.id, slot: u32::MAX, generation: 0 },
            epoch: Epoch(0),
            seq: Seq(0),
            change_id: Seq(0),
            outcome: JoinOutcome::Refused,
        });
        out.audience.insert(from);
    }

    /// A shard no longer listens. An id of an earlier generation is from before the topic was forgotten.
    pub fn leave(&mut self, from: HomeId, id: TopicId, now: Now) {
        let Some(slot) = self.resolve(id) else { return };
        if self.topic(slot).waiting == 0 {
            self.stop_listening(from, slot, now);
        } else {
            self.wait(Question { from, slot, asks: Asks::Leave { now } });
        }
    }

    /// Answers what waits, as far as the turn goes.
    pub fn answer_waiting(&mut self, out: &mut Batch) {
        while self.waiting.answered_bytes < self.limits.replayed_bytes_per_turn
            && let Some(question) = self.waiting.questions.pop_front()
        {
            let Question { from, slot, asks } = question;
            let was_delayed = self.waiting.delayed > 0;
            self.waiting.delayed -= usize::from(was_delayed);
            self.topic_mut(slot).waiting -= 1;
            match asks {
                Asks::Join { ticket, resume } => {
                    self.counters.joins_delayed_total += u64::from(was_delayed);
                    self.answer(from, slot, ticket, resume, out);
                }
                Asks::Leave { now } => self.stop_listening(from, slot, now),
            }
            self.end_stretch(slot);
        }
    }

    /// The turn is over: the next may replay as much again.
    pub fn end_turn(&mut self) {
        self.waiting.answered_bytes = 0;
        self.waiting.delayed = self.waiting.questions.len();
        if self.waiting.questions.is_empty() {
            // It may have been long.
            self.waiting.questions.shrink_to(64);
        }
    }

    /// Joins and leaves that wait for a turn.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.questions.len()
    }

    /// A shard gets nothing until it is told of a gap, after which it asks again: its joins need no answer. Its leaves are
    /// not repeated.
    pub fn handle_lag(&mut self, from: HomeId) {
        let mut questions = std::mem::take(&mut self.waiting.questions);
        let (mut at, mut delayed) = (0, 0);
        questions.retain(|Question { from: asker, slot, asks }| {
            let kept = *asker != from || matches!(asks, Asks::Leave { .. });
            delayed += usize::from(kept && at < self.waiting.delayed);
            at += 1;
            if !kept {
                self.topic_mut(*slot).waiting -= 1;
                self.end_stretch(*slot);
            }
            kept
        });
        self.waiting.questions = questions;
        self.waiting.delayed = delayed;
    }

    fn wait(&mut self, question: Question) {
        self.topic_mut(question.slot).waiting += 1;
        self.waiting.questions.push_back(question);
    }

    fn answer(
        &mut self,
        from: HomeId,
        slot: HomeTopicSlot,
        ticket: Ticket,
        resume: Option<Position>,
        out: &mut Batch,
    ) {
        let before = (out.bytes.len(), out.records.len());
        let id = self.id(slot);
        let topic = self.topic_mut(slot);
        topic.listeners.insert(from);
        let outcome = match resume {
            None => JoinOutcome::Fresh,
            Some(place) if place.epoch == topic.epoch && topic.history.reaches(place.seq) => {
                topic.history.replay(place.seq, out, |out, seq, frame| {
                    out.records.push(Record::Replayed { to: from, ticket, seq, frame });
                });
                JoinOutcome::Recovered
            }
            Some(_) => JoinOutcome::NotRecovered,
        };
        out.records.push(Record::Joined {
            to: from,
            ticket,
            topic: id,
            epoch: topic.epoch,
            seq: topic.seq,
            change_id: topic.change_id,
            outcome,
        });
        out.audience.insert(from);
        self.waiting.answered_bytes +=
            out.bytes.len() - before.0 + (out.records.len() - before.1) * size_of::<Record>();
        match outcome {
            JoinOutcome::Recovered => self.counters.joins_recovered_total += 1,
            JoinOutcome::NotRecovered => self.counters.joins_not_recovered_total += 1,
            JoinOutcome::Fresh | JoinOutcome::Refused => {}
        }
    }

    /// Nothing waits for the topic any more: its history is to keep within its bounds again.
    fn end_stretch(&mut self, slot: HomeTopicSlot) {
        let limits = self.limits;
        let topic = self.topic_mut(slot);
        if topic.waiting > 0 {
            return;
        }
        let before = (topic.history.held_bytes(), topic.history.memory_bytes());
        topic.history.keep_within(limits);
        let after = (topic.history.held_bytes(), topic.history.memory_bytes());
        self.history_bytes -= before.0 - after.0;
        self.history_memory_bytes -= before.1 - after.1;
    }

    fn stop_listening(&mut self, from: HomeId, slot: HomeTopicSlot, now: Now) {
        self.set_windows(from, self.id(slot), Windows::default());
        let topic = self.topic_mut(slot);
        topic.listeners.remove(from);
        if topic.listeners.is_empty() {
            topic.unheard_since_ns = now.mono_ns;
        }
    }
}
