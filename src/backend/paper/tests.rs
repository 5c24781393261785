//! The paper market as its subscribers see it.

use std::fmt::Write as _;

use super::traders::{LEVELS_MAX, LEVELS_MIN};
use super::*;
use crate::model::book::Book;

const START: Now = Now { mono_ns: 5_000_000_000, unix_ns: 1_700_000_000_000_000_000 };

fn config(seed: u64, events_per_s: u32) -> PaperConfig {
    PaperConfig { seed, instruments: 12, events_per_s }
}

/// All that is told in the first `duration_ns`, polled every `turn_ns`, as text.
fn story(config: PaperConfig, turn_ns: u64, duration_ns: u64, events_max: usize) -> String {
    let mut paper = Paper::new(config);
    let (mut text, mut out) = (String::new(), FeedBuffer::default());
    let mut at = 0;
    while at <= duration_ns {
        let now = START.plus_ns(at);
        loop {
            out.clear();
            paper.poll(now, &mut out, events_max);
            assert!(out.events.len() <= events_max);
            if out.events.is_empty() {
                break;
            }
            for event in &out.events {
                match event {
                    FeedEvent::Levels { instrument, levels, timestamp_ns } => {
                        writeln!(text, "{instrument:?} {timestamp_ns} {:?}", levels.of(&out.levels)).unwrap();
                    }
                    FeedEvent::Listed { .. }
                    | FeedEvent::Cleared { .. }
                    | FeedEvent::Quote { .. }
                    | FeedEvent::Trade { .. }
                    | FeedEvent::Report(_)
                    | FeedEvent::State { .. } => writeln!(text, "{event:?}").unwrap(),
                }
            }
        }
        at += turn_ns;
    }
    text
}

#[test]
fn the_same_seed_tells_the_same_however_often_it_is_polled() {
    // The levels of the opening are told by range, which differs by buffer; one event a buffer makes them equal.
    let reference = story(config(7, 5_000), 1_000_000, 400_000_000, 1);
    assert!(reference.lines().count() > 1_500);
    assert_eq!(story(config(7, 5_000), 100_000_000, 400_000_000, 1), reference);
    assert_eq!(story(config(7, 5_000), 7_777, 400_000_000, 1), reference);
    assert_ne!(story(config(8, 5_000), 1_000_000, 400_000_000, 1), reference);
}

/// Polls for so many turns of a millisecond and checks every event against replicas of the books.
fn run(config: PaperConfig, turns: u64) -> (Vec<Book>, u64, u64) {
    let mut paper = Paper::new(config);
    let mut out = FeedBuffer::default();
    let mut books: Vec<Book> = Vec::new();
    let (mut trades, mut changes, mut time_ns) = (0, 0, 0);
    for turn in 0..turns {
        out.clear();
        paper.poll(START.plus_ns(turn * 1_000_000), &mut out, usize::MAX);
        for event in &out.events {
            match event {
                FeedEvent::Listed { .. } => books.push(Book::default()),
                FeedEvent::Cleared { instrument, levels, timestamp_ns }
                | FeedEvent::Levels { instrument, levels, timestamp_ns } => {
                    changes += 1;
                    assert!(*timestamp_ns >= time_ns, "time ran backwards");
                    time_ns = *timestamp_ns;
                    let book = &mut books[instrument.0 as usize];
                    for update in levels.of(&out.levels) {
                        assert!(update.amount.0 >= 0);
                        book.apply(*update);
                    }
                    let (bid, ask) = (book.best_bid().unwrap(), book.best_ask().unwrap());
                    assert!(bid.price < ask.price, "crossed: {bid:?} {ask:?}");
                    let depths = [book.bids().len(), book.asks().len()];
                    assert!(
                        depths.iter().all(|depth| (LEVELS_MIN..=LEVELS_MAX).contains(depth)),
                        "{depths:?}"
                    );
                }
                FeedEvent::Trade { instrument, price, amount, direction, parties, timestamp_ns } => {
                    assert_eq!(*parties, Parties::default(), "no client trades here");
                    trades += 1;
                    assert!(*timestamp_ns >= time_ns, "time ran backwards");
                    // Told before the levels: what was traded still rests in the replica.
                    let side = match direction {
                        Direction::Buy => Side::Ask,
                        Direction::Sell => Side::Bid,
                    };
                    let book = &books[instrument.0 as usize];
                    assert!(book.amount_at(side, *price) >= *amount, "traded more than there was");
                }
                FeedEvent::Quote { .. } | FeedEvent::State { .. } | FeedEvent::Report(_) => {
                    panic!("a paper market says no such thing")
                }
            }
        }
    }
    for (pit, book) in paper.pits.iter().zip(&books) {
        pit.book.assert_invariants();
        assert!(pit.book.levels(Side::Bid).eq(book.bids()), "the replica differs");
        assert!(pit.book.levels(Side::Ask).eq(book.asks()), "the replica differs");
    }
    (books, changes, trades)
}

#[test]
fn a_replica_that_applies_all_events_has_the_market_s_books() {
    for seed in 1..6 {
        let (books, changes, trades) = run(config(seed, 20_000), 1_000);
        assert_eq!(books.len(), 12);
        assert!(trades > changes / 50, "a market where hardly anybody trades: {trades} of {changes}");
        assert!(changes > trades, "a market where hardly anybody quotes: {changes} beside {trades} trades");
    }
}

#[test]
fn keeps_the_rate_that_it_is_asked_for() {
    for rate in [200, 10_000, 500_000] {
        let turns = if rate > 100_000 { 200 } else { 5_000 };
        let (_, changes, trades) = run(config(3, rate), turns);
        let (told, asked) = (changes + trades, u64::from(rate) * turns / 1_000);
        assert!(told.abs_diff(asked) < asked / 20 + 50, "{told} of {asked}");
    }
}

#[test]
fn prices_move() {
    let (before, ..) = run(config(1, 200), 10);
    let (after, ..) = run(config(1, 200), 20_000);
    let moved =
        before.iter().zip(&after).filter(|(before, after)| before.best_bid() != after.best_bid()).count();
    assert!(moved >= 9, "{moved} of 12");
}

#[test]
fn time_that_was_slept_through_is_let_go() {
    let mut paper = Paper::new(config(1, 1_000));
    let mut out = FeedBuffer::default();
    paper.poll(START, &mut out, usize::MAX);
    out.clear();
    let hour_later = START.plus_ns(3_600_000_000_000);
    paper.poll(hour_later, &mut out, usize::MAX);
    assert!(out.events.len() < 10, "{}", out.events.len());
    assert!(paper.let_go_ns() > 3_599_000_000_000);
    assert!(paper.poll_timeout() > hour_later.mono_ns);
}

#[test]
fn a_bound_on_events_is_kept_and_nothing_is_lost_by_it() {
    assert_eq!(
        story(config(9, 50_000), 1_000_000, 20_000_000, 1).lines().count(),
        story(config(9, 50_000), 1_000_000, 20_000_000, 17).lines().count(),
    );
}

#[test]
fn a_configuration_out_of_range_is_brought_inside() {
    let mut paper = Paper::new(PaperConfig { seed: 0, instruments: 0, events_per_s: 0 });
    let mut out = FeedBuffer::default();
    paper.poll(START, &mut out, usize::MAX);
    assert_eq!(out.events.len(), 2);
    assert_eq!(paper.gap_ns, 1_000_000_000);
}

mod requests;
mod settings;
