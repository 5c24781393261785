//! The simulated traders of one instrument: makers that hold a ladder around a fair value, takers that cross the
//! spread, arbitrageurs that lift what the fair value has left behind. They trade with clients as with each other.
//! PURE. Home: the venue thread.
//! Invariants: after each step the traders have orders at `LEVELS_MIN..=LEVELS_MAX` levels of each side, unless clients'
//! orders of the other side leave no prices for them, and the book is not crossed. They cancel their own orders only.

use super::book::{OrderBook, Outcome, Resting, RestingId, other};
use super::catalogue::Listing;
use super::rng::SplitMix64;
use crate::limits;
use crate::model::book::Side;
use crate::model::decimal::{Amount, Price};

/// Levels of a side where the traders have orders, at least: an exchange's shallow depth channel of 20 is always full.
pub const LEVELS_MIN: usize = 20;
/// The same at most: bounds the cost of a step and, with what clients may add, of a snapshot.
pub const LEVELS_MAX: usize = 50;
const _: () = assert!(2 * LEVELS_MAX < limits::PAPER_LEVELS_PER_SIDE_MAX);
/// Orders that the makers of a side work at the same time.
const LADDER_ORDERS: u32 = 96;
/// The farthest from the fair value that a maker quotes, in ticks.
const LADDER_TICKS: u32 = 44;
/// The makers' ladders of both sides, and one order for each level that they do not hold, with room to spare.
const ORDERS_MAX: u32 = 4 * LADDER_ORDERS;
const _: () = assert!(2 * (LADDER_ORDERS as usize + LEVELS_MAX + 1) < ORDERS_MAX as usize);
/// The highest price of an order, in ticks: twice what a fair value can become.
pub const TICKS_MAX: i64 = 1 << 31;
/// Fair values are counted in 2^-20 ticks.
const SUBTICKS_LOG2: u32 = 20;
/// Deviations from the starting price are counted in 2^-30 of it.
const DEVIATION_LOG2: u32 = 30;
/// The farthest that a price wanders: half of where it started.
const DEVIATION_MAX: i64 = 1 << (DEVIATION_LOG2 - 1);
/// The volatility of a calm market, and of the wildest, in 1/256.
const VOLATILITY_CALM: i64 = 256;
const VOLATILITY_MAX: i64 = 1_280;

/// What moves the instruments that share it: a random walk with calm and wild stretches, drawn back to its start.
#[derive(Clone, Debug)]
pub struct Underlying {
    deviation: i64,
    volatility: i64,
}

impl Underlying {
    #[must_use]
    pub const fn new() -> Underlying {
        Underlying { deviation: 0, volatility: VOLATILITY_CALM }
    }

    /// One step of the walk. A shock now and then raises the volatility, which then decays: moves cluster.
    fn walk(&mut self, rng: &mut SplitMix64) {
        if rng.below(256) == 0 {
            self.volatility = (self.volatility + 512).min(VOLATILITY_MAX);
        }
        self.volatility -= (self.volatility - VOLATILITY_CALM) >> 7;
        // Calm: a standard deviation of about 1 in a million of the price.
        let step = rng.bell() * self.volatility;
        self.deviation += step - (self.deviation >> 20);
        self.deviation = self.deviation.clamp(-DEVIATION_MAX, DEVIATION_MAX);
    }

    /// The fair value of an instrument that started at so many ticks, in 2^-20 ticks. Ticks are below 2^30.
    const fn fair(&self, start_ticks: i64) -> i64 {
        (start_ticks << SUBTICKS_LOG2) + ((start_ticks * self.deviation) >> (DEVIATION_LOG2 - SUBTICKS_LOG2))
    }
}

impl Default for Underlying {
    fn default() -> Underlying {
        Underlying::new()
    }
}

/// The book of one instrument and those who trade on it.
#[derive(Debug)]
pub struct Pit {
    pub book: OrderBook,
    pub(super) tick: i64,
    pub(super) lot: i64,
    start_ticks: i64,
    pub underlying: usize,
    /// The makers' orders; some are filled by now.
    bids: Vec<Option<RestingId>>,
    asks: Vec<Option<RestingId>>,
}

impl Pit {
    #[must_use]
    pub fn new(listing: &Listing) -> Pit {
        let empty = || (0..LADDER_ORDERS).map(|_| None).collect();
        Pit {
            book: OrderBook::new(ORDERS_MAX + limits::PAPER_CLIENT_ORDERS_PER_BOOK_MAX),
            tick: listing.definition.tick_size.0,
            lot: listing.definition.min_trade_amount.0,
            start_ticks: listing.start_ticks,
            underlying: listing.underlying,
            bids: empty(),
            asks: empty(),
        }
    }

    /// The opening: every maker quotes.
    pub fn open(&mut self, underlying: &Underlying, rng: &mut SplitMix64, out: &mut Outcome) {
        let fair = underlying.fair(self.start_ticks);
        for side in [Side::Bid, Side::Ask] {
            for place in 0..LADDER_ORDERS {
                self.quote(side, place, place % LADDER_TICKS, fair, rng, out);
            }
        }
        self.keep_depth(rng, out);
        self.book.settle(out);
    }

    /// One thing that happens, with all its fills and touched levels in `out`.
    pub fn step(&mut self, underlying: &mut Underlying, rng: &mut SplitMix64, out: &mut Outcome) {
        underlying.walk(rng);
        let fair = underlying.fair(self.start_ticks);
        let side = if rng.next() >> 63 == 0 { Side::Bid } else { Side::Ask };
        if !self.arbitrage(fair, out) {
            match rng.below(16) {
                0 => self.take(side, rng, out),
                _ => {
                    let distance = rng.below(LADDER_TICKS).min(rng.below(LADDER_TICKS));
                    self.quote(side, rng.below(LADDER_ORDERS), distance, fair, rng, out);
                }
            }
        }
        self.keep_depth(rng, out);
        self.book.settle(out);
    }

    /// Lifts the best level where the fair value is past it.
    fn arbitrage(&mut self, fair: i64, out: &mut Outcome) -> bool {
        for maker_side in [Side::Bid, Side::Ask] {
            let Some(best) = self.book.best(maker_side) else { continue };
            let ticks = (best.price.0 / self.tick) << SUBTICKS_LOG2;
            let stale = match maker_side {
                Side::Bid => ticks > fair,
                Side::Ask => ticks < fair,
            };
            if stale {
                self.immediate(other(maker_side), best.amount, out);
                return true;
            }
        }
        false
    }

    /// A taker: mostly small, sometimes as large as to eat through the best level.
    fn take(&mut self, side: Side, rng: &mut SplitMix64, out: &mut Outcome) {
        let lots = match rng.below(16) {
            0 => 1 + i64::from(rng.below(200)),
            _ => 1 + i64::from(rng.below(20)),
        };
        self.immediate(side, Amount(lots * self.lot), out);
    }

    fn immediate(&mut self, side: Side, amount: Amount, out: &mut Outcome) {
        self.book
            .place_immediate(side, None, amount, None, out)
            .expect("invariant: lots are positive, and so is what rests at a level");
    }

    /// A maker replaces one of its orders, at so many ticks behind the fair value; it never takes.
    fn quote(
        &mut self,
        side: Side,
        place: u32,
        distance: u32,
        fair: i64,
        rng: &mut SplitMix64,
        out: &mut Outcome,
    ) {
        let ladder = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        if let Some(id) = ladder[place as usize].take() {
            self.book.cancel(id, out);
        }
        let distance = i64::from(distance) + 1;
        let fair_ticks = fair >> SUBTICKS_LOG2;
        let against = self.book.best(other(side)).map(|level| level.price.0 / self.tick);
        let ticks = match side {
            Side::Bid => (fair_ticks + 1 - distance).min(against.map_or(i64::MAX, |ask| ask - 1)),
            Side::Ask => (fair_ticks + distance).max(against.map_or(i64::MIN, |bid| bid + 1)),
        };
        let lots = 1 + i64::from(rng.below(10)) * i64::from(1 + rng.below(5));
        let id = self.rest(side, ticks, lots, out);
        let ladder = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        ladder[place as usize] = Some(id);
    }

    /// Fills up a thin side behind the traders' last level, and takes away what is too deep. Clients' orders count for
    /// nothing here: many far away are no depth, and none is ever taken away.
    fn keep_depth(&mut self, rng: &mut SplitMix64, out: &mut Outcome) {
        for side in [Side::Bid, Side::Ask] {
            while self.book.simulated_level_count(side) < LEVELS_MIN {
                let last = self.book.last_simulated(side).map(|(price, _)| price);
                let behind = last.or_else(|| self.book.best(other(side)).map(|level| level.price));
                let behind = behind.map_or(self.start_ticks, |price| price.0 / self.tick);
                let ticks = match side {
                    Side::Bid => behind - 1,
                    Side::Ask => behind + 1,
                };
                if !(1..=TICKS_MAX).contains(&ticks) {
                    break;
                }
                self.rest(side, ticks, 1 + i64::from(rng.below(30)), out);
            }
            while self.book.simulated_level_count(side) > LEVELS_MAX {
                let (_, id) = self.book.last_simulated(side).expect("invariant: this side has such levels");
                self.book.cancel(id, out);
            }
        }
    }

    fn rest(&mut self, side: Side, ticks: i64, lots: i64, out: &mut Outcome) -> RestingId {
        let (price, amount) = (Price(ticks * self.tick), Amount(lots * self.lot));
        self.book
            .place_limit(Resting { side, price, amount, filled: Amount::ZERO, owner: None }, out)
            .expect("invariant: the ladders and the fill-ups are fewer than ORDERS_MAX")
            .resting
            .expect("invariant: a maker's order is priced not to take")
    }
}
