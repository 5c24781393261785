//! Who begins and ceases to listen at a home. A resume is answered at the end of its turn, or of a later one where that
//! has replayed enough. PURE. Home: that of the topics.
//!
//! Invariants: what waits is done in the order in which it came, and nothing of the same topic overtakes it, so that the
//! last of a shard's joins and leaves is what holds, and a topic's own question after a gap is answered before those of
//! its subscriptions; a join that waited is answered as of its answer, not as of its coming, so it is as atomic as any; a
//! turn replays no more than `HistoryLimits::replayed_bytes_per_turn` and one topic's history; a topic that something waits
//! for is not forgotten, and its history may grow to twice its bounds meanwhile, so that a wait does not put a place out of
//! reach. How much waits is bounded by the shards: each question of theirs waits at most twice, the second time since a gap.

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

/// A shard's, about one topic.
#[derive(Debug)]
struct Question {
    from: HomeId,
    slot: HomeTopicSlot,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Join(Joining),
    Leave { now: Now },
}

/// A shard begins to listen, or goes on from a place.
#[derive(Clone, Copy, Debug)]
pub struct Joining {
    pub ticket: Ticket,
    pub resume: Option<Position>,
}

impl Waiting {
    pub(super) fn memory_bytes(&self) -> usize {
        self.questions.capacity() * size_of::<Question>()
    }
}

impl Home {
    /// Answers a join in the stream of events: at once where it only begins to listen, by
    /// [`Home::answer_waiting`] where it resumes or comes behind one that waits.
    pub fn join(&mut self, from: HomeId, slot: HomeTopicSlot, joining: Joining, out: &mut Batch) {
        // Who only begins to listen costs little, and is not to wait for those who resume elsewhere.
        if joining.resume.is_none() && self.topic(slot).waiting == 0 {
            self.answer(from, slot, joining, out);
        } else {
            self.wait(Question { from, slot, asks: Asks::Join(joining) });
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
                Asks::Join(joining) => {
                    self.counters.joins_delayed_total += u64::from(was_delayed);
                    self.answer(from, slot, joining, out);
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

    fn answer(&mut self, from: HomeId, slot: HomeTopicSlot, joining: Joining, out: &mut Batch) {
        let Joining { ticket, resume } = joining;
        let before = (out.bytes.len(), out.records.len());
        let id = self.id(slot);
        let topic = self.topic_mut(slot);
        topic.listeners.insert(from);
        let outcome = match resume {
            None => JoinOutcome::Fresh,
            Some(place) if place.epoch == topic.epoch && topic.history.reaches(place.seq, topic.stands) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::history::HistoryLimits;
    use crate::limits;
    use crate::model::channel::{TopicKey, TopicName};

    const NOW: Now = Now { mono_ns: 0, unix_ns: 0 };
    const FRAME_BYTES: usize = 100;
    const REPLAYED: usize = FRAME_BYTES + size_of::<Record>();
    const A: HomeId = HomeId(1);
    const B: HomeId = HomeId(2);

    /// A home whose turns replay until they have told so much, with one topic of so many events.
    fn home(replayed_bytes_per_turn: usize, events: u64) -> (Home, HomeTopicSlot) {
        let limits = HistoryLimits { frames_max: 10, bytes_max: 10_000, replayed_bytes_per_turn };
        let mut home = Home::new(HomeId(0), limits);
        let name = TopicName::parse(b"t").unwrap();
        let slot = home.intern(TopicKey::Client(name), NOW).unwrap();
        publish(&mut home, slot, events);
        (home, slot)
    }

    /// Who is told of the events that are published now.
    fn publish(home: &mut Home, slot: HomeTopicSlot, events: u64) -> Vec<HomeId> {
        let mut out = Batch::default();
        for _ in 0..events {
            let frame = out.push_bytes(&[7; FRAME_BYTES]);
            home.publish(slot, Seq(0), frame, &mut out, NOW);
        }
        out.audience.iter().collect()
    }

    fn resume(home: &mut Home, from: HomeId, slot: HomeTopicSlot, number: u32, seq: u64) {
        let epoch = home.next_position(slot).epoch;
        let mut out = Batch::default();
        let ticket = Ticket { slot: number, generation: 0 };
        let resume = Some(Position { epoch, seq: Seq(seq) });
        home.join(from, slot, Joining { ticket, resume }, &mut out);
        assert!(out.is_empty(), "it is answered when the turn ends");
    }

    /// What a turn tells: of each join its number, its outcome and the events before it.
    fn turn(home: &mut Home) -> (Vec<(u32, JoinOutcome, Vec<u64>)>, usize) {
        let mut out = Batch::default();
        home.answer_waiting(&mut out);
        home.end_turn();
        let (mut told, mut seqs) = (Vec::new(), Vec::new());
        for record in &out.records {
            if let Record::Replayed { seq, .. } = record {
                seqs.push(seq.0);
            } else if let Record::Joined { ticket, outcome, .. } = record {
                told.push((ticket.slot, *outcome, std::mem::take(&mut seqs)));
            } else {
                panic!("{record:?}");
            }
        }
        (told, out.bytes.len() + out.records.len() * size_of::<Record>())
    }

    #[test]
    fn a_turn_replays_its_share_and_what_comes_after_it_waits_in_order() {
        let share = 12 * REPLAYED;
        let (mut home, slot) = home(share, 10);
        for number in 0..20 {
            resume(&mut home, if number % 2 == 0 { A } else { B }, slot, number, u64::from(number % 5));
        }
        let (mut answered, mut turns) = (0, 0);
        while home.waiting_count() > 0 {
            let (told, bytes) = turn(&mut home);
            assert!(bytes <= share + 10 * REPLAYED + size_of::<Record>(), "{bytes} bytes in a turn");
            assert!(!told.is_empty());
            for (number, outcome, seqs) in told {
                assert_eq!((number, outcome), (answered, JoinOutcome::Recovered));
                assert_eq!(seqs, (u64::from(number % 5) + 1..=10).collect::<Vec<_>>());
                answered += 1;
            }
            turns += 1;
        }
        // Two of some eight events exceed the share.
        assert_eq!((answered, turns), (20, 10));
        assert_eq!(home.counters.joins_delayed_total, 18);
        assert_eq!(home.counters.joins_recovered_total, 20);
    }

    #[test]
    fn a_leave_follows_the_join_that_waits_and_a_join_that_leave() {
        let (mut home, slot) = home(1, 10);
        let id = home.id(slot);
        resume(&mut home, A, slot, 0, 0);
        resume(&mut home, B, slot, 1, 0);
        assert_eq!(turn(&mut home).0.len(), 1);
        home.leave(B, id, NOW);
        assert_eq!(publish(&mut home, slot, 1), [A], "the join still waits");
        assert_eq!(turn(&mut home).0.len(), 1);
        assert_eq!(publish(&mut home, slot, 1), [A, B], "the leave still waits");
        turn(&mut home);
        assert_eq!(publish(&mut home, slot, 1), [A]);

        resume(&mut home, A, slot, 2, 5);
        resume(&mut home, B, slot, 3, 5);
        home.leave(B, id, NOW);
        let mut out = Batch::default();
        home.join(B, slot, Joining { ticket: Ticket { slot: 4, generation: 0 }, resume: None }, &mut out);
        assert!(out.is_empty(), "it may not be undone by the leave before it");
        let mut told = Vec::new();
        while home.waiting_count() > 0 {
            told.extend(turn(&mut home).0.into_iter().map(|(number, outcome, _)| (number, outcome)));
        }
        assert_eq!(told, [(2, JoinOutcome::Recovered), (3, JoinOutcome::Recovered), (4, JoinOutcome::Fresh)]);
        assert_eq!(publish(&mut home, slot, 1), [A, B]);
    }

    #[test]
    fn what_is_published_meanwhile_does_not_put_a_place_that_is_waited_for_out_of_reach() {
        let (mut home, slot) = home(1, 10);
        resume(&mut home, A, slot, 0, 0);
        resume(&mut home, B, slot, 1, 0);
        turn(&mut home);
        publish(&mut home, slot, 10);
        let (told, _) = turn(&mut home);
        assert_eq!(told, [(1, JoinOutcome::Recovered, (1..=20).collect())]);
        let exact = |home: &Home| {
            let history = &home.topic(slot).history;
            assert_eq!(home.history_memory_bytes, history.memory_bytes());
            (home.history_bytes, history.held_bytes())
        };
        assert_eq!(exact(&home), (10 * FRAME_BYTES, 10 * FRAME_BYTES), "its bounds hold again");
        resume(&mut home, A, slot, 2, 9);
        resume(&mut home, B, slot, 3, 10);
        let told: Vec<_> =
            [turn(&mut home), turn(&mut home)].into_iter().flat_map(|(told, _)| told).collect();
        assert_eq!(told[0], (2, JoinOutcome::NotRecovered, vec![]));
        assert_eq!(told[1], (3, JoinOutcome::Recovered, (11..=20).collect()));
    }

    #[test]
    fn joins_of_a_shard_that_lags_are_dropped_and_its_leaves_are_not() {
        let (mut home, slot) = home(1, 10);
        let id = home.id(slot);
        for (number, from) in [(0, B), (1, A), (2, B), (3, A)] {
            resume(&mut home, from, slot, number, 0);
        }
        turn(&mut home);
        home.leave(B, id, NOW);
        home.handle_lag(B);
        assert_eq!(home.waiting_count(), 3);
        let mut told = Vec::new();
        while home.waiting_count() > 0 {
            told.extend(turn(&mut home).0.into_iter().map(|(number, ..)| number));
        }
        assert_eq!(told, [1, 3]);
        assert_eq!(home.counters.joins_delayed_total, 2);
        assert_eq!(publish(&mut home, slot, 1), [A]);
    }

    #[test]
    fn a_topic_that_is_waited_for_is_not_forgotten() {
        let (mut home, slot) = home(1, 10);
        let id = home.id(slot);
        resume(&mut home, A, slot, 0, 0);
        turn(&mut home);
        resume(&mut home, A, slot, 1, 0);
        resume(&mut home, B, slot, 2, 0);
        home.leave(A, id, NOW);
        turn(&mut home);
        home.stop_listening(A, slot, NOW);
        let later = NOW.plus_ns(limits::TOPIC_LINGER_NS);
        home.sweep(later, |_| panic!("somebody waits for it"));
        while home.waiting_count() > 0 {
            turn(&mut home);
        }
        home.leave(B, id, later);
        home.sweep(later.plus_ns(limits::TOPIC_LINGER_NS), |_| {});
        assert_eq!((home.topic_count(), home.waiting_count()), (0, 0));
    }
}
