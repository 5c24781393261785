//! The paper market: a seeded, reproducible market with order books, makers and takers, so that a newcomer sees life
//! without a file, and a venue where clients' orders meet them in the same books. PURE. Home: the venue thread.
//!
//! Invariants: what happens depends on the seed, on scheduled times and on what clients ask for between which of the
//! market's moments, never on how often it is polled; every book is uncrossed at every moment; a moment's levels are
//! told once, after its trades, and before the next moment's anything. A request is a moment of its own.
//! Which instrument moves next, and how its fair value moves, is the same whatever clients do; how its traders respond
//! depends on what they find in the book, and so does the time at which the next one moves. Other settings hold from the next
//! moment on, an instrument at a time; an instrument that came after one that went has a number of its own.

pub mod book;
pub mod catalogue;
pub mod clients;
pub mod rng;
pub mod traders;

use self::book::{Fill, Met, Outcome, Resting};
use self::catalogue::{Listing, listings};
use self::rng::SplitMix64;
use self::traders::{Pit, Underlying};
use super::refusal;
use crate::model::book::Side;
use crate::model::ids::InstrumentId;
use crate::model::instrument::Instrument;
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument, MarketState};
use crate::model::order::{CancelReason, OrderId, OrderRefusal, Parties, VenueReport, VenueRequest};
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
    /// What was met with this number comes next, after the last one the levels.
    Telling(usize),
}

/// A market whose time began at its first poll.
#[derive(Debug)]
pub struct Paper {
    rng: SplitMix64,
    definitions: Vec<Instrument>,
    underlyings: Vec<Underlying>,
    pits: Vec<Pit>,
    /// Of each pit, ascending: instruments are numbered as they are listed.
    numbers: Vec<FeedInstrument>,
    /// Of the next instrument.
    next_number: u32,
    /// So many pits there are to be.
    wanted: usize,
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
        Paper {
            rng: SplitMix64::new(config.seed),
            underlyings: vec![Underlying::new(); underlyings],
            pits: listings.iter().map(Pit::new).collect(),
            numbers: (0..count).map(FeedInstrument).collect(),
            next_number: count,
            wanted: listings.len(),
            picks: picks(&listings),
            definitions: listings.into_iter().map(|listing| listing.definition).collect(),
            gap_ns: gap_ns(config.events_per_s),
            start: None,
            due_ns: 0,
            told_ns: 0,
            told: FeedInstrument(0),
            stage: Stage::Listing(0),
            outcome: Outcome::default(),
            let_go_ns: 0,
        }
    }

    /// Has so many instruments and events from the next moments on; the seed is of the start. The last instruments go first, and
    /// their clients' orders with them.
    pub fn set_config(&mut self, config: PaperConfig) {
        self.wanted = config.instruments.clamp(1, INSTRUMENTS_MAX) as usize;
        self.gap_ns = gap_ns(config.events_per_s);
    }

    /// Appends what is due, at most `events_max` events and those of one instrument that comes or goes; what did not fit comes with the next
    /// poll.
    pub fn poll(&mut self, now: Now, out: &mut FeedBuffer, events_max: usize) {
        self.let_go(now);
        let end = out.events.len().saturating_add(events_max);
        while out.events.len() < end {
            match self.stage {
                Stage::Listing(at) => self.list(at, out),
                Stage::Opening(at) => self.open(at, out),
                Stage::Telling(next) => self.tell(next, out),
                Stage::Idle if self.pits.len() < self.wanted => {
                    self.add(out);
                    break;
                }
                Stage::Idle if self.pits.len() > self.wanted => {
                    self.remove(out);
                    break;
                }
                Stage::Idle if self.is_due(now) => self.step(),
                Stage::Idle => break,
            }
        }
    }

    /// Does what a client asks for, at once, and appends its reports and trades as they happened and then the levels
    /// that it touched. What is left of a half told moment is appended before that, so there may be as many events as
    /// a moment and a request have. `instrument` is the number that it was listed under, that in the request is another's.
    pub fn handle_request(
        &mut self,
        instrument: FeedInstrument,
        request: &VenueRequest,
        now: Now,
        out: &mut FeedBuffer,
    ) {
        self.tell_rest(out);
        let Some(at) = self.place_of(instrument) else {
            let was_listed = instrument.0 < self.next_number;
            let why = if was_listed { OrderRefusal::Delisted } else { OrderRefusal::VenueUnavailable };
            out.events.push(FeedEvent::Report(refusal(request, why)));
            return;
        };
        if self.stage != Stage::Idle {
            out.events.push(FeedEvent::Report(refusal(request, OrderRefusal::BookClosed)));
            return;
        }
        let start = self.let_go(now);
        let timestamp_ns = start.unix_ns + self.present_ns(start, now);
        let executed = self.pits[at].execute(request, &mut self.outcome);
        out.events.push(FeedEvent::Report(executed.answer));
        for met in &self.outcome.met {
            out.events.push(event(*met, executed.taker, instrument, timestamp_ns));
        }
        out.events.extend(executed.end.map(FeedEvent::Report));
        self.tell_levels(instrument, timestamp_ns, out);
    }

    /// Appends what is left of a half told moment, so that who decides by what was told decides by the book as it is.
    pub fn tell_rest(&mut self, out: &mut FeedBuffer) {
        while let Stage::Telling(next) = self.stage {
            self.tell(next, out);
        }
    }

    /// When something is due next, on the monotonic clock; zero before the first poll and while something waits.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        match (self.start, self.stage) {
            (Some(_), Stage::Idle) if self.pits.len() != self.wanted => 0,
            (Some(start), Stage::Idle) => start.mono_ns + self.due_ns,
            (None, _) | (Some(_), Stage::Listing(_) | Stage::Opening(_) | Stage::Telling(_)) => 0,
        }
    }

    /// A client's order, if it rests.
    #[must_use]
    pub fn resting(&self, instrument: InstrumentId, order: OrderId) -> Option<Resting> {
        let book = &self.pits[self.place_of(FeedInstrument(instrument.0))?].book;
        book.order(book.find(order)?)
    }

    /// Resting orders of clients, in all books.
    #[must_use]
    pub fn client_order_count(&self) -> u32 {
        self.pits.iter().map(|pit| pit.book.client_order_count()).sum()
    }

    /// Time that the market let go because it was too late for it, in nanoseconds.
    #[must_use]
    pub fn let_go_ns(&self) -> u64 {
        self.let_go_ns
    }

    /// Begins the market's time at the first call, and moves its start on when the market is too late. Returns the start.
    fn let_go(&mut self, now: Now) -> Now {
        let start = *self.start.get_or_insert(now);
        let late_ns = now.mono_ns.saturating_sub(start.mono_ns + self.due_ns);
        if late_ns <= LATE_NS_MAX || self.stage != Stage::Idle {
            return start;
        }
        self.let_go_ns += late_ns;
        *self.start.insert(start.plus_ns(late_ns))
    }

    /// The market's time: after the last moment, and not after the next, which it has yet to tell.
    fn present_ns(&self, start: Now, now: Now) -> u64 {
        now.mono_ns.saturating_sub(start.mono_ns).clamp(self.told_ns, self.due_ns)
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
        out.events.push(FeedEvent::Cleared { instrument: self.numbers[at], levels, timestamp_ns });
        let next = at + 1;
        if next < self.pits.len() {
            self.stage = Stage::Opening(next);
        } else {
            self.stage = Stage::Idle;
            self.due_ns = self.gap_ns;
        }
    }

    /// Lists one instrument more, and opens it.
    fn add(&mut self, out: &mut FeedBuffer) {
        let at = self.pits.len();
        let listings = listings(at + 1);
        let listing = &listings[at];
        self.underlyings.resize_with(self.underlyings.len().max(listing.underlying + 1), Underlying::new);
        let mut pit = Pit::new(listing);
        pit.open(&self.underlyings[pit.underlying], &mut self.rng, &mut self.outcome);
        let instrument = FeedInstrument(self.next_number);
        self.next_number += 1;
        out.events.push(FeedEvent::Listed { definition: Box::new(listing.definition.clone()) });
        let levels = out.push_levels(self.outcome.touched.drain(..));
        self.outcome.clear();
        let timestamp_ns = self.timestamp_ns();
        out.events.push(FeedEvent::Cleared { instrument, levels, timestamp_ns });
        self.pits.push(pit);
        self.numbers.push(instrument);
        self.definitions.push(listing.definition.clone());
        self.picks = picks(&listings);
    }

    /// Takes the last instrument away, with the orders that rest in its book.
    fn remove(&mut self, out: &mut FeedBuffer) {
        const ONE: &str = "invariant: one instrument stays, by `wanted`";
        let (pit, instrument) = (self.pits.pop().expect(ONE), self.numbers.pop().expect(ONE));
        self.definitions.pop();
        for order in pit.book.client_orders() {
            let report = VenueReport::Cancelled { order, why: CancelReason::Delisted };
            out.events.push(FeedEvent::Report(report));
        }
        let timestamp_ns = self.timestamp_ns();
        out.events.push(FeedEvent::State { instrument, state: MarketState::Delisted, timestamp_ns });
        self.picks = picks(&listings(self.pits.len()));
    }

    /// Where the instrument of this number is, if it still is.
    fn place_of(&self, instrument: FeedInstrument) -> Option<usize> {
        self.numbers.binary_search(&instrument).ok()
    }

    /// Lets one thing happen and schedules the next: so many gaps later as this one tells events of the traders, give or
    /// take half.
    /// The traders draw from numbers of their own, so that the market's go on alike however many they need.
    fn step(&mut self) {
        let picks = u32::try_from(self.picks.len())
            .expect("invariant: at most one share of PICKS each, and one more for each instrument");
        let at = usize::from(self.picks[self.rng.below(picks) as usize]);
        let pit = &mut self.pits[at];
        let mut traders_rng = SplitMix64::new(self.rng.next());
        pit.step(&mut self.underlyings[pit.underlying], &mut traders_rng, &mut self.outcome);
        self.told = self.numbers[at];
        self.told_ns = self.due_ns;
        // Clients' orders that traders meet take no time: else whoever rests a thousand of them would stop every market.
        let own = self.outcome.met.iter().filter(|met| is_simulated(met)).count();
        let events = own as u64 + u64::from(!self.outcome.touched.is_empty());
        let spread = u64::from(self.rng.below(1_025));
        self.due_ns += events.max(1) * (self.gap_ns * (512 + spread) / 1_024);
        self.stage = Stage::Telling(0);
    }

    fn tell(&mut self, next: usize, out: &mut FeedBuffer) {
        let (instrument, timestamp_ns) = (self.told, self.timestamp_ns());
        if let Some(met) = self.outcome.met.get(next) {
            out.events.push(event(*met, None, instrument, timestamp_ns));
            self.stage = Stage::Telling(next + 1);
            return;
        }
        self.tell_levels(instrument, timestamp_ns, out);
        self.stage = Stage::Idle;
    }

    /// Ends a moment.
    fn tell_levels(&mut self, instrument: FeedInstrument, timestamp_ns: u64, out: &mut FeedBuffer) {
        if !self.outcome.touched.is_empty() {
            let levels = out.push_levels(self.outcome.touched.iter().copied());
            out.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns });
        }
        self.outcome.clear();
    }
}

/// What was met, as it is told; `taker` is the order that met it, where that is a client's.
fn event(met: Met, taker: Option<OrderId>, instrument: FeedInstrument, timestamp_ns: u64) -> FeedEvent {
    match met {
        Met::Filled(Fill { maker: _, maker_order, taker_side, price, amount, maker_left: _ }) => {
            let direction = match taker_side {
                Side::Bid => Direction::Buy,
                Side::Ask => Direction::Sell,
            };
            let parties = Parties { maker: maker_order, taker };
            FeedEvent::Trade { instrument, price, amount, direction, parties, timestamp_ns }
        }
        Met::SelfMatch(order) => {
            FeedEvent::Report(VenueReport::Cancelled { order, why: CancelReason::SelfMatch })
        }
    }
}

/// Whether traders met one of their own.
fn is_simulated(met: &Met) -> bool {
    match met {
        Met::Filled(fill) => fill.maker_order.is_none(),
        Met::SelfMatch(_) => false,
    }
}

/// The mean distance of two events.
fn gap_ns(events_per_s: u32) -> u64 {
    1_000_000_000 / u64::from(events_per_s.clamp(1, EVENTS_PER_S_MAX))
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
