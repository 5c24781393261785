//! How a thread's histograms change hands: who asks gives an empty box, the thread gives the full one for it at its next turn.
//! PURE. Home: one end with the thread that records, the other with who asks.
//!
//! Invariants: there are two boxes, and the queue of full ones has room for both, so nothing is ever refused, waited for, copied or
//! dropped by the thread that records.

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Histograms, Stage};

/// The end of the thread that records.
#[derive(Debug)]
pub struct Recorder {
    interval: Box<Histograms>,
    empty: Consumer<Box<Histograms>>,
    full: Producer<Box<Histograms>>,
}

/// The end of who asks.
#[derive(Debug)]
pub struct Taker {
    /// With the thread while it is asked.
    spare: Option<Box<Histograms>>,
    empty: Producer<Box<Histograms>>,
    full: Consumer<Box<Histograms>>,
}

/// Both ends, for a thread that measures these stages.
#[must_use]
pub fn exchange(stages: &'static [Stage]) -> (Recorder, Taker) {
    let (give, empty) = RingBuffer::new(1);
    let (full, take) = RingBuffer::new(2);
    let histograms = || Box::new(Histograms::of(stages));
    let recorder = Recorder { interval: histograms(), empty, full };
    (recorder, Taker { spare: Some(histograms()), empty: give, full: take })
}

impl Recorder {
    /// Something took so long.
    pub fn record(&mut self, stage: Stage, ns: u64) {
        self.interval.record(stage, ns, 1);
    }

    /// So many things took so long.
    pub fn record_all(&mut self, stage: Stage, ns: u64, count: u64) {
        self.interval.record(stage, ns, count);
    }

    /// Hands over what was recorded, if it is asked for: once a turn, a look at a line that nobody else writes until then.
    pub fn hand_over(&mut self) {
        if let Ok(empty) = self.empty.pop() {
            let full = std::mem::replace(&mut self.interval, empty);
            let pushed = self.full.push(full);
            assert!(pushed.is_ok(), "there are no more boxes than the queue has room for");
        }
    }

    /// Hands over what is left, asked or not: the thread ends.
    pub fn finish(mut self) {
        let pushed = self.full.push(self.interval);
        assert!(pushed.is_ok(), "there are no more boxes than the queue has room for");
    }
}

impl Taker {
    /// Asks the thread, unless it has not answered what it was asked before.
    pub fn ask(&mut self) {
        if let Some(spare) = self.spare.take() {
            let pushed = self.empty.push(spare);
            assert!(pushed.is_ok(), "the thread has taken the empty box for the full one");
        }
    }

    /// What the thread has handed over since it was asked is added to `sums`; whether it has nothing to answer any more.
    pub fn take(&mut self, mut sums: impl FnMut(&Histograms)) -> bool {
        while let Ok(mut full) = self.full.pop() {
            sums(&full);
            full.clear();
            self.spare = Some(full);
        }
        !self.is_awaited()
    }

    /// Whether the thread has an answer to give.
    pub(super) fn is_awaited(&self) -> bool {
        self.spare.is_none()
    }
}
