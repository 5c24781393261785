//! The paper market: a seeded, reproducible market with order books, makers and takers, so that a newcomer sees life
//! without a file. PURE. Home: the venue thread.
//! Invariants: what happens depends on the seed and on scheduled times alone, never on how often it is polled; every
//! book is uncrossed at every moment; a moment's levels are told once, after its trades.

pub mod book;
pub mod catalogue;
pub mod rng;
pub mod traders;

use self::book::{Fill, Outcome};
use self::catalogue::{Listing, listings};
use self::rng::SplitMix64;
use self::traders::{Pit, Underlying};
use crate::model::book::Side;
use crate::model::instrument::Instrument;
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument};
use crate::model::time::Now;

/// Events per second at most: what one core can be asked for.
pub const EVENTS_PER_S_MAX: u32 = 500_000;
/// Instruments at most: a load test's, far more than a newcomer's dozen.
pub const INSTRUMENTS_MAX: u32 = 256;
/// How far the market may fall behind, because the machine slept or cannot keep up, before it lets the missed time go.
pub const LATE_NS_MAX: u64 = 1_000_000_000;
/// Places in the table by which instruments are chosen.
const PICKS: usize = 4_096;

/// What market to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperConfig {
    pub seed: u64,
    /// `1..=INSTRUMENTS_MAX`; what is outside is brought inside.
    pub instruments: u32,
    /// Events (levels of a moment, or a trade) per second over all instruments, `1..=EVENTS_PER_S_MAX`; what is
    /// outside is brought inside.
    pub events_per_s: u32,
}

impl Default for PaperConfig {
    /// A dozen instruments at 200 events a second.
    fn default() -> PaperConfig {
        PaperConfig { seed: 1, instruments: 12, events_per_s: 200 }
    }
}

/// What is told of a moment so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// This instrument is to be listed next.
    Listing(usize),
    /// This instrument's opening book comes next.
    Opening(usize),
    /// All of the last moment is told.
    Idle,
    /// The fill with this number comes next, after the last one the levels.
    Telling(usize),
}

/// A market whose time began at its first poll.
#[derive(Debug)]
pub struct Paper {
    rng: SplitMix64,
    definitions: Vec<Instrument>,
    underlyings: Vec<Underlying>,
    pits: Vec<Pit>,
    /// The market's instruments, each as often as it is active.
    picks: Vec<u16>,
    /// The mean distance of two events.
    gap_ns: u64,
    /// The clocks when the market's time was zero, moved on by what was let go.
    start: Option<Now>,
    /// When the next moment is due, in the market's time.
    due_ns: u64,
    /// The time of the moment that is being told.
    told_ns: u64,
    told: FeedInstrument,
    stage: Stage,
    outcome: Outcome,
    let_go_ns: u64,
}

impl Paper {
    #[must_use]
    pub fn new(config: PaperConfig) -> Paper {
        let count = config.instruments.clamp(1, INSTRUMENTS_MAX);
        let listings = listings(count as usize);
        let underlyings = listings.iter().map(|listing| listing.underlying).max().map_or(0, |last| last + 1);
        let rate = config.events_per_s.clamp(1, EVENTS_PER_S_MAX);
        Paper {
            rng: SplitMix64::new(config.seed),
            underlyings: vec![Underlying::new(); underlyings],
            pits: listings.iter().map(Pit::new).collect(),
            picks: picks(&listings),
            definitions: listings.into_iter().map(|listing| listing.definition).collect(),
            gap_ns: 1_000_000_000 / u64::from(rate),
            start: None,
            due_ns: 0,
            told_ns: 0,
            told: FeedInstrument(0),
            stage: Stage::Listing(0),
            outcome: Outcome::default(),
            let_go_ns: 0,
        }
    }

    /// Appends what is due, at most `events_max` events; what did not fit comes with the next poll.
    pub fn poll(&mut self, now: Now, out: &mut FeedBuffer, events_max: usize) {
        let start = *self.start.get_or_insert(now);
        let late_ns = now.mono_ns.saturating_sub(start.mono_ns + self.due_ns);
        if late_ns > LATE_NS_MAX && self.stage == Stage::Idle {
            self.start = Some(start.plus_ns(late_ns));
            self.let_go_ns += late_ns;
        }
        let end = out.events.len().saturating_add(events_max);
        while out.events.len() < end {
            match self.stage {
                Stage::Listing(at) => self.list(at, out),
                Stage::Opening(at) => self.open(at, out),
                Stage::Telling(fill) => self.tell(fill, out),
                Stage::Idle if self.is_due(now) => self.step(),
                Stage::Idle => break,
            }
        }
    }

    /// When something is due next, on the monotonic clock; zero before the first poll and while something waits.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        match (self.start, self.stage) {
            (Some(start), Stage::Idle) => start.mono_ns + self.due_ns,
            (None, _) | (Some(_), Stage::Listing(_) | Stage::Opening(_) | Stage::Telling(_)) => 0,
        }
    }

    /// Time that the market let go because it was too late for it, in nanoseconds.
    #[must_use]
    pub fn let_go_ns(&self) -> u64 {
        self.let_go_ns
    }

    fn is_due(&self, now: Now) -> bool {
        self.start.is_some_and(|start| start.mono_ns + self.due_ns <= now.mono_ns)
    }

    fn timestamp_ns(&self) -> u64 {
        self.start.map_or(0, |start| start.unix_ns + self.told_ns)
    }

    fn list(&mut self, at: usize, out: &mut FeedBuffer) {
        out.events.push(FeedEvent::Listed { definition: Box::new(self.definitions[at].clone()) });
        let next = at + 1;
        self.stage = if next < self.pits.len() { Stage::Listing(next) } else { Stage::Opening(0) };
    }

    fn open(&mut self, at: usize, out: &mut FeedBuffer) {
        let pit = &mut self.pits[at];
        pit.open(&self.underlyings[pit.underlying], &mut self.rng, &mut self.outcome);
        let levels = out.push_levels(self.outcome.touched.drain(..));
        let timestamp_ns = self.timestamp_ns();
        out.events.push(FeedEvent::Cleared { instrument: feed_instrument(at), levels, timestamp_ns });
        let next = at + 1;
        if next < self.pits.len() {
            self.stage = Stage::Opening(next);
        } else {
            self.stage = Stage::Idle;
            self.due_ns = self.gap_ns;
        }
    }

    /// Lets one thing happen and schedules the next: so many gaps later as this one tells events, give or take half.
    fn step(&mut self) {
        let picks = u32::try_from(self.picks.len())
            .expect("invariant: at most one share of PICKS each, and one more for each instrument");
        let at = usize::from(self.picks[self.rng.below(picks) as usize]);
        let pit = &mut self.pits[at];
        pit.step(&mut self.underlyings[pit.underlying], &mut self.rng, &mut self.outcome);
        self.told = feed_instrument(at);
        self.told_ns = self.due_ns;
        let events = self.outcome.fills.len() as u64 + u64::from(!self.outcome.touched.is_empty());
        let spread = u64::from(self.rng.below(1_025));
        self.due_ns += events.max(1) * (self.gap_ns * (512 + spread) / 1_024);
        self.stage = Stage::Telling(0);
    }

    fn tell(&mut self, fill: usize, out: &mut FeedBuffer) {
        let (instrument, timestamp_ns) = (self.told, self.timestamp_ns());
        if let Some(Fill { price, amount, .. }) = self.outcome.fills.get(fill).copied() {
            // The resting order was the other side's: what was touched first says which.
            let direction = match self.outcome.touched[0].side {
                Side::Bid => Direction::Sell,
                Side::Ask => Direction::Buy,
            };
            out.events.push(FeedEvent::Trade { instrument, price, amount, direction, timestamp_ns });
            self.stage = Stage::Telling(fill + 1);
            return;
        }
        if !self.outcome.touched.is_empty() {
            let levels = out.push_levels(self.outcome.touched.iter().copied());
            out.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns });
        }
        self.outcome.clear();
        self.stage = Stage::Idle;
    }
}

fn feed_instrument(at: usize) -> FeedInstrument {
    FeedInstrument(u32::try_from(at).expect("invariant: at most INSTRUMENTS_MAX"))
}

fn picks(listings: &[Listing]) -> Vec<u16> {
    let total: usize = listings.iter().map(|listing| usize::from(listing.activity)).sum();
    let mut picks = Vec::with_capacity(PICKS + listings.len());
    for (at, listing) in (0_u16..).zip(listings) {
        let share = (PICKS * usize::from(listing.activity) / total).max(1);
        picks.extend(std::iter::repeat_n(at, share));
    }
    picks
}

#[cfg(test)]
mod tests;
