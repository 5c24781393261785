//! The newest events of one topic as frames, bounded in number and bytes, for clients that come back. PURE.
//! Home: the topic's. Invariant: the sequences are consecutive, and `bytes` holds exactly the frames of `lengths`.

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

#[derive(Debug, Default)]
pub struct History {
    lengths: VecDeque<u32>,
    bytes: VecDeque<u8>,
    /// The newest event's; 0 before the first.
    newest: Seq,
}

impl History {
    /// Appends the next event, forgetting the oldest where a bound asks for it.
    pub fn push(&mut self, seq: Seq, frame: &[u8], limits: HistoryLimits) {
        assert_eq!(seq, self.newest.next(), "a topic's events are consecutive");
        self.newest = seq;
        while !self.lengths.is_empty()
            && (self.lengths.len() >= limits.frames_max || self.bytes.len() + frame.len() > limits.bytes_max)
        {
            self.forget_oldest();
        }
        if frame.len() > limits.bytes_max || limits.frames_max == 0 {
            return;
        }
        self.lengths.push_back(
            u32::try_from(frame.len())
                .expect("invariant: a frame lies in a turn's batch, whose ranges have 32 bits"),
        );
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
        self.bytes.capacity() + self.lengths.capacity() * size_of::<u32>()
    }

    /// Forgets the older half and gives its memory back.
    pub fn halve(&mut self) {
        for _ in 0..self.lengths.len().div_ceil(2) {
            self.forget_oldest();
        }
        self.bytes.shrink_to_fit();
        self.lengths.shrink_to_fit();
    }

    /// Forgets what is beyond narrower bounds than before, and gives back the memory that only wider ones took.
    pub fn keep_within(&mut self, limits: HistoryLimits) {
        if self.lengths.len() <= limits.frames_max && self.bytes.len() <= limits.bytes_max {
            return;
        }
        while self.lengths.len() > limits.frames_max || self.bytes.len() > limits.bytes_max {
            self.forget_oldest();
        }
        // Buffers grow by doubling within the bounds too.
        self.bytes.shrink_to(limits.bytes_max.saturating_mul(2));
        self.lengths.shrink_to(limits.frames_max.saturating_mul(2));
    }

    /// Whether all events after `seq` are here.
    #[must_use]
    pub fn reaches(&self, seq: Seq) -> bool {
        seq <= self.newest && self.newest.0 - seq.0 <= self.lengths.len() as u64
    }

    /// Copies each event after `seq` into `out`, oldest first. The caller has checked [`History::reaches`].
    pub fn replay(&self, seq: Seq, out: &mut Batch, mut each: impl FnMut(&mut Batch, Seq, ByteRange)) {
        let missed = usize::try_from(self.newest.0 - seq.0)
            .expect("invariant: `reaches` holds, so no more is missed than is kept");
        let lengths = || self.lengths.range(self.lengths.len() - missed..).map(|len| *len as usize);
        // Counted from the newest: who missed little costs little.
        let mut at = self.bytes.len() - lengths().sum::<usize>();
        for (number, len) in (seq.0 + 1..).zip(lengths()) {
            let end = at + len;
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
        if let Some(len) = self.lengths.pop_front() {
            self.bytes.drain(..len as usize);
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
        fn keeps_the_newest_within_both_bounds_and_replays_them_in_order(
            lengths in prop::collection::vec(0usize..40, 0..100), frames_max in 0usize..20, bytes_max in 0usize..200,
            halved: bool,
        ) {
            let limits = HistoryLimits { frames_max, bytes_max, replayed_bytes_per_turn: 0 };
            let mut history = History::default();
            let mut all = Vec::new();
            for (number, len) in (1u64..).zip(lengths) {
                let frame: Vec<u8> = (0..len).map(|at| (number as usize + at) as u8).collect();
                history.push(Seq(number), &frame, limits);
                all.push((number, frame));
                prop_assert!(history.bytes.len() <= bytes_max && history.lengths.len() <= frames_max);
            }
            if halved {
                let before = history.lengths.len();
                history.halve();
                prop_assert_eq!(history.lengths.len(), before / 2);
            }
            for from in 0..=all.len() as u64 {
                if history.reaches(Seq(from)) {
                    prop_assert_eq!(replayed(&history, Seq(from)), all[from as usize..].to_vec());
                }
            }
            prop_assert!(history.reaches(Seq(all.len() as u64)), "the newest place is always within reach");
            prop_assert!(!history.reaches(Seq(all.len() as u64 + 1)), "the future is not");
        }
    }
}
