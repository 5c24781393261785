//! The newest events of one topic as frames, bounded in number and bytes, for clients that come back. PURE.
//! Home: the topic's. Invariants: sequences rise, with holes where they are shared with other topics; `bytes` holds exactly
//! the frames of `kept`, which are all of the events after `since`; `newest` is `since` and the steps of all that is kept.

use std::collections::VecDeque;

use crate::model::ids::Seq;

use super::batch::{Batch, ByteRange, byte_range};

/// Bounds of one topic's history, and of what a home replays of all of them.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    pub frames_max: usize,
    pub bytes_max: usize,
    /// Resumes that come once a turn has told so much to joins wait for the next.
    pub replayed_bytes_per_turn: usize,
}

impl HistoryLimits {
    /// The bounds of a history that is waited for.
    #[must_use]
    pub const fn stretched(self) -> HistoryLimits {
        HistoryLimits {
            frames_max: self.frames_max.saturating_mul(2),
            bytes_max: self.bytes_max.saturating_mul(2),
            ..self
        }
    }
}

/// An event of which the frame is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// How far its sequence is beyond that of the event before it.
    step: u32,
    frame_bytes: u32,
}

#[derive(Debug, Default)]
pub struct History {
    kept: VecDeque<Kept>,
    bytes: VecDeque<u8>,
    /// From here on no event is missing.
    since: Seq,
    /// The newest event's, or where the sequence stood before the first.
    newest: Seq,
}

impl History {
    /// One whose first event comes after `seq`.
    #[must_use]
    pub fn starting_at(seq: Seq) -> History {
        History { since: seq, newest: seq, ..History::default() }
    }

    /// Appends the next event, forgetting the oldest where a bound asks for it.
    pub fn push(&mut self, seq: Seq, frame: &[u8], limits: HistoryLimits) {
        assert!(seq > self.newest, "a topic's events rise in sequence");
        while !self.kept.is_empty()
            && (self.kept.len() >= limits.frames_max || self.bytes.len() + frame.len() > limits.bytes_max)
        {
            self.forget_oldest();
        }
        let step = seq.0 - std::mem::replace(&mut self.newest, seq).0;
        if frame.len() > limits.bytes_max || limits.frames_max == 0 {
            self.since = seq;
            return;
        }
        let step = u32::try_from(step).unwrap_or_else(|_| {
            // So much later it is the first that is known of.
            self.kept.clear();
            self.bytes.clear();
            self.since = Seq(seq.0 - 1);
            1
        });
        let frame_bytes = u32::try_from(frame.len())
            .expect("invariant: a frame lies in a turn's batch, whose ranges have 32 bits");
        self.kept.push_back(Kept { step, frame_bytes });
        self.bytes.extend(frame);
    }

    /// Bytes of the frames that are kept.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.kept.capacity() * size_of::<Kept>()
    }

    /// Forgets the older half and gives its memory back.
    pub fn halve(&mut self) {
        for _ in 0..self.kept.len().div_ceil(2) {
            self.forget_oldest();
        }
        self.bytes.shrink_to_fit();
        self.kept.shrink_to_fit();
    }

    /// Forgets what is beyond narrower bounds than before, and gives back the memory that only wider ones took.
    pub fn keep_within(&mut self, limits: HistoryLimits) {
        if self.kept.len() <= limits.frames_max && self.bytes.len() <= limits.bytes_max {
            return;
        }
        while self.kept.len() > limits.frames_max || self.bytes.len() > limits.bytes_max {
            self.forget_oldest();
        }
        // Buffers grow by doubling within the bounds too.
        self.bytes.shrink_to(limits.bytes_max.saturating_mul(2));
        self.kept.shrink_to(limits.frames_max.saturating_mul(2));
    }

    /// Whether all events after `seq` are here, of a sequence that has come to `stands`: the newest event's place, or one
    /// beyond it where other topics share the sequence.
    #[must_use]
    pub fn reaches(&self, seq: Seq, stands: Seq) -> bool {
        self.since <= seq && seq <= stands
    }

    /// Copies each event after `seq` into `out`, oldest first. The caller has checked [`History::reaches`].
    pub fn replay(&self, seq: Seq, out: &mut Batch, mut each: impl FnMut(&mut Batch, Seq, ByteRange)) {
        // Counted from the newest: who missed little costs little.
        let (mut missed, mut missed_bytes, mut before) = (0, 0, self.newest);
        for event in self.kept.iter().rev() {
            if before <= seq {
                break;
            }
            before.0 -= u64::from(event.step);
            missed_bytes += event.frame_bytes as usize;
            missed += 1;
        }
        let mut at = self.bytes.len() - missed_bytes;
        let mut number = before.0;
        for event in self.kept.range(self.kept.len() - missed..) {
            number += u64::from(event.step);
            let end = at + event.frame_bytes as usize;
            let start = out.bytes.len();
            let (front, back) = self.bytes.as_slices();
            let cut = |from: usize, to: usize| (from.min(front.len()), to.min(front.len()));
            let (from, to) = cut(at, end);
            out.bytes.extend_from_slice(&front[from..to]);
            out.bytes
                .extend_from_slice(&back[at.saturating_sub(front.len())..end.saturating_sub(front.len())]);
            let range = byte_range(start, end - at);
            each(out, Seq(number), range);
            at = end;
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(event) = self.kept.pop_front() {
            self.since.0 += u64::from(event.step);
            self.bytes.drain(..event.frame_bytes as usize);
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replayed(history: &History, seq: Seq) -> Vec<(u64, Vec<u8>)> {
        let mut out = Batch::default();
        let mut seen = Vec::new();
        history.replay(seq, &mut out, |batch, seq, range| seen.push((seq.0, batch.slice(range).to_vec())));
        seen
    }

    proptest! {
        #[test]
        fn keeps_the_newest_within_both_bounds_and_replays_what_is_after_any_place_in_order(
            events in prop::collection::vec((prop_oneof![4 => Just(1u64), 2 => 2u64..5], 0usize..40), 0..100),
            start in 0u64..5, beyond in 0u64..3, frames_max in 0usize..20, bytes_max in 0usize..200, halved: bool,
        ) {
            let limits = HistoryLimits { frames_max, bytes_max, replayed_bytes_per_turn: 0 };
            let mut history = History::starting_at(Seq(start));
            let (mut all, mut newest) = (Vec::new(), start);
            for (step, len) in events {
                newest += step;
                let frame: Vec<u8> = (0..len).map(|at| (newest as usize + at) as u8).collect();
                history.push(Seq(newest), &frame, limits);
                all.push((newest, frame));
                prop_assert!(history.bytes.len() <= bytes_max && history.kept.len() <= frames_max);
            }
            if halved {
                let before = history.kept.len();
                history.halve();
                prop_assert_eq!(history.kept.len(), before / 2);
            }
            let stands = Seq(newest + beyond);
            let forgotten = all.len() - history.kept.len();
            let reachable_from = if forgotten == 0 { start } else { all[forgotten - 1].0 };
            for from in 0..=stands.0 + 1 {
                let reaches = history.reaches(Seq(from), stands);
                prop_assert_eq!(reaches, (reachable_from..=stands.0).contains(&from), "{}", from);
                if reaches {
                    let after: Vec<_> = all.iter().filter(|(seq, _)| *seq > from).cloned().collect();
                    prop_assert_eq!(replayed(&history, Seq(from)), after);
                }
            }
        }
    }

    #[test]
    fn a_sequence_that_jumps_beyond_all_counting_starts_over_and_loses_nothing_silently() {
        let limits = HistoryLimits { frames_max: 9, bytes_max: 99, replayed_bytes_per_turn: 0 };
        let mut history = History::starting_at(Seq(7));
        history.push(Seq(8), b"a", limits);
        let far = Seq(9 + (1 << 40));
        history.push(far, b"b", limits);
        assert!(!history.reaches(Seq(7), far) && history.reaches(Seq(far.0 - 1), far));
        assert_eq!(replayed(&history, Seq(far.0 - 1)), [(far.0, b"b".to_vec())]);
        assert_eq!(history.held_bytes(), 1);
    }
}
