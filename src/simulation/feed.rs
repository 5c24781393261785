//! A market's feed: instruments with depth or with quotes only, whose books, trades and states change by chance, told
//! to the market's home and to the reference alike. PURE.

use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::ids::SourceId;
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument, MarketState};
use crate::model::order::Parties;

use super::reference::{NaiveBook, NaiveInstrument, NaiveLevel, NaiveTrade};
use super::world::World;

const INSTRUMENTS_MAX: usize = 5;
/// The one that goes, once so many events were told of it: others are there to tell of.
const DELISTED: (usize, u64) = (1, 40);
const UNIT: i64 = 1_000_000_000;
const TICK: i64 = UNIT / 4;

/// The feed says something.
pub(super) fn speak(world: &mut World) {
    let mut feed = FeedBuffer::default();
    let events = match world.random.below(100) {
        0..80 => 1,
        80..97 => world.random.between(2, 6),
        _ => world.random.between(50, 200),
    };
    for _ in 0..events {
        push_event(world, &mut feed);
    }
    world.with_market(|market, now| market.handle_feed(SourceId::FEED, &feed, now));
}

/// Lists the next instrument, if there may be another.
pub(super) fn list(world: &mut World, feed: &mut FeedBuffer) {
    let number = world.oracle.reference.instruments.len();
    if number == INSTRUMENTS_MAX {
        return;
    }
    let (name, price_decimals, amount_decimals) = (format!("I{number}-X"), 2, number % 2);
    let symbol = |text: &str| Symbol::parse(text.as_bytes()).expect("a legal name");
    feed.events.push(FeedEvent::Listed {
        definition: Box::new(Instrument {
            name: symbol(&name),
            kind: InstrumentKind::Future,
            base_currency: symbol("ES"),
            quote_currency: symbol("USD"),
            tick_size: Price(TICK),
            price_decimals,
            min_trade_amount: Amount(UNIT / 10),
            amount_decimals: u8::try_from(amount_decimals).expect("0 or 1"),
            contract_size: Amount(UNIT),
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: None,
        }),
    });
    world.oracle.reference.instruments.push(NaiveInstrument {
        name,
        price_decimals: usize::from(price_decimals),
        amount_decimals,
        tick: TICK,
        books: vec![NaiveBook::default().into()],
        trades: Vec::new(),
        open: true,
        delisted: false,
        events: 0,
    });
}

fn push_event(world: &mut World, feed: &mut FeedBuffer) {
    let count = world.oracle.reference.instruments.len();
    if count == 0 || world.random.chance(1) {
        return list(world, feed);
    }
    let at = world.random.below(count);
    if world.oracle.reference.instruments[at].delisted {
        return;
    }
    world.oracle.reference.instruments[at].events += 1;
    let instrument = FeedInstrument(u32::try_from(at).expect("few instruments"));
    let timestamp_ns = world.now.unix_ns;
    // One instrument is fed by quotes.
    let quoted = at == 3;
    if (at, world.oracle.reference.instruments[at].events) == DELISTED {
        return delist(world, feed, at, instrument);
    }
    match world.random.below(100) {
        0..60 if quoted => push_quote(world, feed, at, instrument),
        0..60 => push_levels(world, feed, at, instrument),
        60..64 if !quoted => push_clear(world, feed, at, instrument),
        64..67 => {
            let open = world.random.chance(60);
            world.oracle.reference.instruments[at].open = open;
            let state = if open { MarketState::Open } else { MarketState::Closed };
            feed.events.push(FeedEvent::State { instrument, state, timestamp_ns });
        }
        _ => {
            let (price, amount) = level(world);
            let buy = world.random.chance(50);
            world.oracle.reference.instruments[at].trades.push(NaiveTrade { price, amount, buy });
            feed.events.push(FeedEvent::Trade {
                instrument,
                price: Price(price),
                amount: Amount(amount),
                direction: if buy { Direction::Buy } else { Direction::Sell },
                parties: Parties::default(),
                timestamp_ns,
            });
        }
    }
}

/// The instrument is traded no more.
fn delist(world: &mut World, feed: &mut FeedBuffer, at: usize, instrument: FeedInstrument) {
    replace(world, at, NaiveBook::default());
    let gone = &mut world.oracle.reference.instruments[at];
    (gone.open, gone.delisted) = (false, true);
    world.oracle.count("delisted");
    let timestamp_ns = world.now.unix_ns;
    feed.events.push(FeedEvent::State { instrument, state: MarketState::Delisted, timestamp_ns });
}

/// A price on either side of 100 and an amount that is not zero.
fn level(world: &mut World) -> NaiveLevel {
    let price = 100 * UNIT + TICK * i64::try_from(world.random.below(40)).expect("small");
    (price, UNIT / 10 * i64::try_from(world.random.between(1, 60)).expect("small"))
}

fn sided_level(world: &mut World, side: Side) -> NaiveLevel {
    let (price, amount) = level(world);
    match side {
        Side::Bid => (price - 10 * UNIT, amount),
        Side::Ask => (price, amount),
    }
}

fn update(side: Side, (price, amount): NaiveLevel) -> LevelUpdate {
    LevelUpdate { side, price: Price(price), amount: Amount(amount) }
}

fn push_levels(world: &mut World, feed: &mut FeedBuffer, at: usize, instrument: FeedInstrument) {
    let count = world.random.between(1, 4);
    let mut book = NaiveBook::clone(world.oracle.reference.instruments[at].book());
    let (mut updates, mut changed) = (Vec::new(), false);
    for _ in 0..count {
        let side = *world.random.pick(&[Side::Bid, Side::Ask]);
        let mut level = sided_level(world, side);
        if world.random.chance(35) {
            level.1 = 0;
        }
        changed |= book.set(side, level);
        updates.push(update(side, level));
    }
    if changed {
        world.oracle.reference.instruments[at].change_to(book);
    }
    let levels = feed.push_levels(updates);
    feed.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns: world.now.unix_ns });
}

/// The book is `book` from now on, which counts as a change only if it is another.
fn replace(world: &mut World, at: usize, book: NaiveBook) {
    let instrument = &mut world.oracle.reference.instruments[at];
    if **instrument.book() != book {
        instrument.change_to(book);
    }
}

fn push_clear(world: &mut World, feed: &mut FeedBuffer, at: usize, instrument: FeedInstrument) {
    let (mut book, mut updates) = (NaiveBook::default(), Vec::new());
    for _ in 0..world.random.below(6) {
        let side = *world.random.pick(&[Side::Bid, Side::Ask]);
        let level = sided_level(world, side);
        let fresh = match side {
            Side::Bid => !book.bids.contains_key(&level.0),
            Side::Ask => !book.asks.contains_key(&level.0),
        };
        if fresh {
            book.set(side, level);
            updates.push(update(side, level));
        }
    }
    replace(world, at, book);
    let levels = feed.push_levels(updates);
    feed.events.push(FeedEvent::Cleared { instrument, levels, timestamp_ns: world.now.unix_ns });
}

fn push_quote(world: &mut World, feed: &mut FeedBuffer, at: usize, instrument: FeedInstrument) {
    let mut book = NaiveBook::default();
    let mut side = |side: Side| {
        let level = sided_level(world, side);
        world.random.chance(85).then(|| {
            book.set(side, level);
            Level { price: Price(level.0), amount: Amount(level.1) }
        })
    };
    let (bid, ask) = (side(Side::Bid), side(Side::Ask));
    replace(world, at, book);
    feed.events.push(FeedEvent::Quote { instrument, bid, ask, timestamp_ns: world.now.unix_ns });
}
