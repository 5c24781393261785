//! What feeds say and what the market is: feed events, and the state of one instrument that they build. PURE.
//! Home: the market's home applies each event once and stamps it; every shard applies the same stamped events to a
//! replica, so all of them agree at the same point of the stream.

use std::collections::VecDeque;
use std::sync::Arc;

use super::book::{Book, Level, LevelAction, LevelUpdate, Side};
use super::decimal::{Amount, Price, UNIT};
use super::ids::Seq;
use super::instrument::Instrument;
use super::order::{Parties, VenueReport};

/// Trades that are kept per instrument for `get_last_trades_by_instrument`.
pub const TRADES_KEPT_MAX: usize = 256;
/// Buckets of the rolling day.
pub const STATS_HOURS: usize = 24;
const HOUR_NS: u64 = 3_600_000_000_000;

/// A feed's own number of an instrument, in the order in which it lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedInstrument(pub u32);

/// The side that took liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Buy,
    Sell,
}

impl Direction {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Buy => "buy",
            Direction::Sell => "sell",
        }
    }
}

/// Whether an instrument trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarketState {
    Open,
    Closed,
    /// It trades no more, ever: another of its name would be another instrument.
    Delisted,
}

impl MarketState {
    /// As clients are told: of a book there are but these two.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MarketState::Open => "open",
            MarketState::Closed | MarketState::Delisted => "closed",
        }
    }
}

/// A run of level updates in the buffer that carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelRange {
    pub start: u32,
    pub count: u32,
}

impl LevelRange {
    /// The updates of this range in the buffer that carries it.
    #[must_use]
    pub fn of(self, levels: &[LevelUpdate]) -> &[LevelUpdate] {
        &levels[self.start as usize..][..self.count as usize]
    }
}

/// What a feed says. Times are the feed's own, in nanoseconds since 1970.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// A new instrument; the first is 0, the next 1 and so on.
    Listed {
        definition: Box<Instrument>,
    },
    /// Levels of a book got new amounts, all at one moment.
    Levels {
        instrument: FeedInstrument,
        levels: LevelRange,
        timestamp_ns: u64,
    },
    /// The book is empty from here on, then has these levels.
    Cleared {
        instrument: FeedInstrument,
        levels: LevelRange,
        timestamp_ns: u64,
    },
    /// The best bid and offer of a feed that tells no depth; `None` where a side is empty.
    Quote {
        instrument: FeedInstrument,
        bid: Option<Level>,
        ask: Option<Level>,
        timestamp_ns: u64,
    },
    Trade {
        instrument: FeedInstrument,
        price: Price,
        amount: Amount,
        direction: Direction,
        /// Whose orders met, where they are our clients'.
        parties: Parties,
        timestamp_ns: u64,
    },
    /// What became of a client's order; never from a recording.
    Report(VenueReport),
    State {
        instrument: FeedInstrument,
        state: MarketState,
        timestamp_ns: u64,
    },
}

/// Events of a feed and the levels that they refer to; reused, so that a turn allocates nothing.
#[derive(Debug, Default)]
pub struct FeedBuffer {
    pub events: Vec<FeedEvent>,
    pub levels: Vec<LevelUpdate>,
}

impl FeedBuffer {
    pub fn clear(&mut self) {
        self.events.clear();
        self.levels.clear();
    }

    /// Appends updates and says where they are.
    ///
    /// # Panics
    /// Past 2^32 levels, which a turn's bound on events excludes.
    pub fn push_levels(&mut self, updates: impl IntoIterator<Item = LevelUpdate>) -> LevelRange {
        let start = self.levels.len();
        self.levels.extend(updates);
        let bounded = |count: usize| {
            u32::try_from(count).expect("invariant: a turn's levels are far below 2^32, by its events")
        };
        LevelRange { start: bounded(start), count: bounded(self.levels.len() - start) }
    }
}

/// A print that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Counts an instrument's trades within an epoch, from 1.
    pub trade_seq: Seq,
    pub price: Price,
    pub amount: Amount,
    pub direction: Direction,
    /// Nanoseconds since 1970, the feed's.
    pub timestamp_ns: u64,
    /// Deribit's `tick_direction`: 0 plus, 1 zero-plus, 2 minus, 3 zero-minus.
    pub tick_direction: u8,
    /// The mark price at the trade.
    pub mark_price: Price,
}

/// What traded in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourStats {
    /// Hours since 1970, by the feed's time.
    pub hour: u64,
    /// In units of 1e-9.
    pub volume: i128,
    /// Σ price × amount, in units of 1e-9 of the quote currency.
    pub turnover: i128,
    /// The first trade's price; `None` where there was none.
    pub first: Option<Price>,
    pub high: Price,
    pub low: Price,
}

/// The rolling day in 24 buckets of an hour, by the feed's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayStats {
    /// That of an hour stands at the hour modulo [`STATS_HOURS`].
    pub hours: [HourStats; STATS_HOURS],
    /// The newest.
    pub last_hour: u64,
}

/// Volume, extremes and change over the rolling day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// In units of 1e-9.
    pub volume: i128,
    /// Σ price × amount, in units of 1e-9 of the quote currency.
    pub turnover: i128,
    /// `None` where the day saw no trade.
    pub extremes: Option<Extremes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremes {
    pub high: Price,
    pub low: Price,
    /// The first trade's price.
    pub first: Price,
}

/// All that is known of one instrument.
#[derive(Clone, Debug)]
pub struct InstrumentState {
    pub definition: Arc<Instrument>,
    pub state: MarketState,
    pub book: Book,
    /// Counts the changes of the book from 1; Deribit's `change_id`.
    pub change_id: Seq,
    /// The newest event's time, in nanoseconds since 1970.
    pub timestamp_ns: u64,
    trades: VecDeque<Trade>,
    day: DayStats,
    stats: Stats,
}

impl InstrumentState {
    /// About what one takes of memory, with a book of some 250 levels.
    pub const MEMORY_BYTES: usize =
        size_of::<InstrumentState>() + TRADES_KEPT_MAX * size_of::<Trade>() + 256 * size_of::<Level>();

    #[must_use]
    pub fn new(definition: Arc<Instrument>) -> InstrumentState {
        let day = DayStats { hours: [HourStats::default(); STATS_HOURS], last_hour: 0 };
        InstrumentState {
            definition,
            state: MarketState::Open,
            book: Book::default(),
            change_id: Seq(0),
            timestamp_ns: 0,
            trades: VecDeque::with_capacity(TRADES_KEPT_MAX),
            day,
            stats: Stats::default(),
        }
    }

    /// One whose trades and day are given: of another process. Of the trades, oldest first, the newest [`TRADES_KEPT_MAX`] are kept.
    #[must_use]
    pub fn restored(definition: Arc<Instrument>, trades: &[Trade], day: DayStats) -> InstrumentState {
        let mut state = InstrumentState::new(definition);
        state.trades.extend(&trades[trades.len().saturating_sub(TRADES_KEPT_MAX)..]);
        state.stats = day.sum();
        state.day = day;
        state
    }

    /// The buckets of the rolling day.
    #[must_use]
    pub fn day(&self) -> &DayStats {
        &self.day
    }

    #[must_use]
    pub fn last_trade(&self) -> Option<&Trade> {
        self.trades.back()
    }

    /// The newest trades, oldest first; at most [`TRADES_KEPT_MAX`].
    pub fn trades(&self) -> impl DoubleEndedIterator<Item = &Trade> + ExactSizeIterator {
        self.trades.iter()
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The change of the rolling day in percent, cut to four decimals, in units of 1e-9; none where nothing traded, and none from a
    /// first price of zero.
    #[must_use]
    pub fn change_percent(&self) -> Option<i128> {
        let extremes = self.stats.extremes?;
        change_percent(extremes.first, self.last_trade()?.price)
    }

    /// The middle of the best bid and offer, else the last trade's price, else the only side's price, else zero.
    #[must_use]
    pub fn mark_price(&self) -> Price {
        match (self.book.best_bid(), self.book.best_ask()) {
            (Some(bid), Some(ask)) => Price(bid.price.0.midpoint(ask.price.0)),
            (bid, ask) => {
                let one_sided = bid.or(ask).map(|level| level.price);
                self.last_trade().map(|trade| trade.price).or(one_sided).unwrap_or_default()
            }
        }
    }

    /// Applies one level; see [`Book::apply`]. The caller moves `change_id` once for all levels of a moment.
    pub fn apply_level(&mut self, update: LevelUpdate) -> LevelAction {
        self.book.apply(update)
    }

    /// The trade as the market's home stamps it, not yet recorded.
    #[must_use]
    pub fn stamp_trade(
        &self,
        price: Price,
        amount: Amount,
        direction: Direction,
        timestamp_ns: u64,
    ) -> Trade {
        let (trade_seq, tick_direction) = match self.last_trade() {
            None => (Seq(1), 0),
            Some(last) => {
                let tick_direction = match price.cmp(&last.price) {
                    std::cmp::Ordering::Greater => 0,
                    std::cmp::Ordering::Less => 2,
                    std::cmp::Ordering::Equal if last.tick_direction < 2 => 1,
                    std::cmp::Ordering::Equal => 3,
                };
                (last.trade_seq.next(), tick_direction)
            }
        };
        Trade {
            trade_seq,
            price,
            amount,
            direction,
            timestamp_ns,
            tick_direction,
            mark_price: self.mark_price(),
        }
    }

    /// Records a stamped trade.
    pub fn record_trade(&mut self, trade: Trade) {
        if self.trades.len() == TRADES_KEPT_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        self.timestamp_ns = self.timestamp_ns.max(trade.timestamp_ns);
        self.day.record(&trade);
        self.stats = self.day.sum();
    }

    /// The level updates that bring the book to this best bid and offer and nothing else, in `out`.
    pub fn quote_updates(&self, bid: Option<Level>, ask: Option<Level>, out: &mut Vec<LevelUpdate>) {
        for (side, best, is_bid) in [(Side::Bid, bid, true), (Side::Ask, ask, false)] {
            let mut stale = |level: Level| {
                if best.is_none_or(|best| best.price != level.price) {
                    out.push(LevelUpdate { side, price: level.price, amount: Amount::ZERO });
                }
            };
            if is_bid {
                self.book.bids().for_each(&mut stale);
            } else {
                self.book.asks().for_each(&mut stale);
            }
            if let Some(best) = best {
                out.push(LevelUpdate { side, price: best.price, amount: best.amount });
            }
        }
    }
}

impl DayStats {
    fn record(&mut self, trade: &Trade) {
        let hour = trade.timestamp_ns / HOUR_NS;
        self.last_hour = self.last_hour.max(hour);
        let place = usize::try_from(hour % STATS_HOURS as u64)
            .expect("invariant: a remainder of STATS_HOURS is less");
        let bucket = &mut self.hours[place];
        if bucket.hour != hour {
            *bucket = HourStats { hour, ..HourStats::default() };
        }
        let (price, amount) = (i128::from(trade.price.0), i128::from(trade.amount.0));
        if bucket.first.is_none() {
            bucket.first = Some(trade.price);
            bucket.high = trade.price;
            bucket.low = trade.price;
        }
        bucket.high = bucket.high.max(trade.price);
        bucket.low = bucket.low.min(trade.price);
        bucket.volume += amount;
        bucket.turnover += price * amount / i128::from(UNIT);
    }

    fn sum(&self) -> Stats {
        let mut stats = Stats::default();
        let oldest = self.last_hour.saturating_sub(STATS_HOURS as u64 - 1);
        for hour in oldest..=self.last_hour {
            let place = usize::try_from(hour % STATS_HOURS as u64)
                .expect("invariant: a remainder of STATS_HOURS is less");
            let bucket = &self.hours[place];
            let (true, Some(first)) = (bucket.hour == hour, bucket.first) else { continue };
            stats.volume += bucket.volume;
            stats.turnover += bucket.turnover;
            stats.extremes = Some(match stats.extremes {
                None => Extremes { high: bucket.high, low: bucket.low, first },
                Some(so_far) => Extremes {
                    high: so_far.high.max(bucket.high),
                    low: so_far.low.min(bucket.low),
                    first: so_far.first,
                },
            });
        }
        stats
    }
}

/// The change in percent, cut to four decimals, in units of 1e-9; none from a first price of zero.
fn change_percent(first: Price, last: Price) -> Option<i128> {
    const HUNDRED_PERCENT: i128 = 100 * UNIT as i128;
    const FOURTH_DECIMAL: i128 = UNIT as i128 / 10_000;
    let change = i128::from(last.0) - i128::from(first.0);
    let percent = (change * HUNDRED_PERCENT).checked_div(i128::from(first.0).abs())?;
    Some(percent / FOURTH_DECIMAL * FOURTH_DECIMAL)
}

#[cfg(test)]
mod tests {
    use super::super::instrument::{InstrumentKind, Symbol};
    use super::*;

    fn state() -> InstrumentState {
        let symbol = |text: &str| Symbol::parse(text.as_bytes()).unwrap();
        InstrumentState::new(Arc::new(Instrument {
            name: symbol("ESH4"),
            kind: InstrumentKind::Future,
            base_currency: symbol("ES"),
            quote_currency: symbol("USD"),
            tick_size: Price(250_000_000),
            price_decimals: 2,
            min_trade_amount: Amount(1_000_000_000),
            amount_decimals: 0,
            contract_size: Amount(1_000_000_000),
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: None,
        }))
    }

    fn trade(state: &mut InstrumentState, price: i64, amount: i64, timestamp_ns: u64) -> Trade {
        let trade = state.stamp_trade(Price(price), Amount(amount), Direction::Buy, timestamp_ns);
        state.record_trade(trade);
        trade
    }

    #[test]
    fn a_trade_s_tick_direction_follows_deribit() {
        let mut state = state();
        let directions: Vec<u8> = [10, 10, 11, 11, 9, 9, 10]
            .into_iter()
            .map(|price| trade(&mut state, price, 1, 1).tick_direction)
            .collect();
        assert_eq!(directions, [0, 1, 0, 1, 2, 3, 0]);
    }

    #[test]
    fn the_day_forgets_what_is_a_day_old() {
        let mut state = state();
        trade(&mut state, 100, 5, 0);
        trade(&mut state, 90, 7, HOUR_NS * 20);
        assert_eq!(state.stats().volume, 12);
        trade(&mut state, 95, 1, HOUR_NS * 24);
        assert_eq!(state.stats().volume, 8);
        let extremes = state.stats().extremes.unwrap();
        assert_eq!((extremes.high, extremes.low, extremes.first), (Price(95), Price(90), Price(90)));
    }

    #[test]
    fn a_quote_replaces_all_that_stood_before() {
        let mut state = state();
        let mut updates = Vec::new();
        let level = |price, amount| Some(Level { price: Price(price), amount: Amount(amount) });
        for (bid, ask) in [(level(10, 1), level(12, 1)), (level(11, 2), level(12, 3)), (level(9, 1), None)] {
            updates.clear();
            state.quote_updates(bid, ask, &mut updates);
            for update in &updates {
                state.apply_level(*update);
            }
            assert_eq!((state.book.best_bid(), state.book.best_ask()), (bid, ask));
            assert!(state.book.level_count() <= 2);
        }
    }
}
