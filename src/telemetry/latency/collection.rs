//! The histograms of all threads, added up: since the start, and of the interval under way. PURE. Home: shared by who asks for
//! them, the main and the control thread, under a lock that no thread with clients ever takes.
//!
//! Invariants: what a thread has recorded is counted once, whenever it comes in: a thread that was late counts in the interval
//! in which it answers. Who asks, and then is told that all have answered, has what was recorded before he asked.

use crate::model::time::Now;

use super::{Histograms, Recent, Stage, Taker};

/// One thread's part.
#[derive(Debug)]
struct Thread {
    name: String,
    taker: Taker,
    interval: Histograms,
    /// When it was asked what it has not answered yet, or answered last.
    asked_ns: u64,
    is_missing: bool,
}

/// See the file's head.
#[derive(Debug)]
pub struct Collection {
    threads: Vec<Thread>,
    /// Of all threads since the start.
    total: Histograms,
    /// Of all threads since that was last asked for.
    recent: Histograms,
    interval_begun: Now,
    gathered_ns: Option<u64>,
}

/// Whether all threads have handed over what they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    All,
    /// Some have yet to turn.
    Awaited,
}

impl Collection {
    /// Of threads by their names.
    #[must_use]
    pub fn new(takers: impl IntoIterator<Item = (String, &'static [Stage], Taker)>, now: Now) -> Collection {
        let thread = |(name, stages, taker)| Thread {
            name,
            taker,
            interval: Histograms::of(stages),
            asked_ns: 0,
            is_missing: false,
        };
        Collection {
            threads: takers.into_iter().map(thread).collect(),
            total: Histograms::of(&Stage::ALL),
            recent: Histograms::of(&Stage::ALL),
            interval_begun: now,
            gathered_ns: None,
        }
    }

    /// Asks every thread; those that sleep are then to be woken.
    pub fn ask(&mut self, now: Now) {
        // What they have answered by now they were asked by another, and recorded more since: it is no answer to this question.
        self.receive();
        for Thread { taker, asked_ns, .. } in &mut self.threads {
            if !taker.is_awaited() {
                *asked_ns = now.mono_ns;
            }
            taker.ask();
        }
    }

    /// Takes what threads have handed over.
    pub fn take(&mut self, now: Now) -> Gathered {
        let gathered = self.receive();
        if gathered == Gathered::All {
            self.gathered_ns = Some(now.mono_ns);
        }
        gathered
    }

    /// Adds what has come in.
    fn receive(&mut self) -> Gathered {
        let mut all = Gathered::All;
        for Thread { taker, interval, is_missing, .. } in &mut self.threads {
            let (total, recent) = (&mut self.total, &mut self.recent);
            let has_answered = taker.take(|full| {
                interval.add(full);
                total.add(full);
                recent.add(full);
            });
            if has_answered {
                *is_missing = false;
            } else {
                all = Gathered::Awaited;
            }
        }
        all
    }

    /// Waits no longer: who was asked at least so long ago and has not answered is missing until he does. What is known is as new as
    /// it gets. Two may ask: who has answered the one and was just asked by the other is not missing.
    pub fn give_up(&mut self, patience_ns: u64, now: Now) {
        self.gathered_ns = Some(now.mono_ns);
        for Thread { taker, asked_ns, is_missing, .. } in &mut self.threads {
            let is_late = now.mono_ns.saturating_sub(*asked_ns) >= patience_ns;
            *is_missing = taker.is_awaited() && (is_late || *is_missing);
        }
    }

    /// Whether all had answered within this time.
    #[must_use]
    pub fn is_newer_than(&self, age_ns: u64, now: Now) -> bool {
        self.gathered_ns.is_some_and(|gathered_ns| now.mono_ns.saturating_sub(gathered_ns) < age_ns)
    }

    /// Ends the interval: what comes in from now on is of the next.
    pub fn begin_interval(&mut self, now: Now) {
        self.threads.iter_mut().for_each(|thread| thread.interval.clear());
        self.interval_begun = now;
    }

    #[must_use]
    pub fn interval_begun(&self) -> Now {
        self.interval_begun
    }

    /// Of the interval, by thread.
    pub fn interval(&self) -> impl Iterator<Item = (&str, &Histograms)> {
        self.threads.iter().map(|thread| (thread.name.as_str(), &thread.interval))
    }

    /// Of the interval, all threads together.
    #[must_use]
    pub fn interval_of_all(&self) -> Histograms {
        let mut all = Histograms::of(&Stage::ALL);
        self.threads.iter().for_each(|thread| all.add(&thread.interval));
        all
    }

    /// Since the start, all threads together.
    #[must_use]
    pub fn total(&self) -> &Histograms {
        &self.total
    }

    /// What came in since this was last asked, all threads together.
    pub fn take_recent(&mut self) -> Vec<Recent> {
        let recent = self.recent.each().map(|(stage, of)| Recent::of(stage, of)).collect();
        self.recent.clear();
        recent
    }

    /// Threads that did not answer in time when they were asked: what they recorded is told once they turn again.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.threads.iter().filter(|thread| thread.is_missing).map(|thread| thread.name.as_str())
    }
}
