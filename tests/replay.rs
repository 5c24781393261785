//! Real recordings, played and compared with a rebuild that shares no code with the player. The recordings are not part
//! of the repository: they are looked for in `$TICKRING_DATA`, else in `../shared/data` beside the package; a test that
//! does not find its file says so and passes.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "tests say what they skipped")]

use std::path::PathBuf;

use dbn::decode::{DecodeRecord, dbn::Decoder};
use dbn::{Action, MboMsg, Mbp1Msg};
use tickring::backend::replay::{AtEnd, Replay, ReplayProgress, Speed, link};
use tickring::model::book::Book;
use tickring::model::decimal::{Amount, Price, UNIT};
use tickring::model::instrument::Instrument;
use tickring::model::market::{FeedBuffer, FeedEvent};
use tickring::model::time::Now;

#[path = "replay/naive.rs"]
mod naive;

use naive::{Naive, Sums};

const CHRISTMAS: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";

fn recording(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKRING_DATA").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// What a consumer of the feed has.
#[derive(Default)]
struct Consumer {
    definitions: Vec<Instrument>,
    books: Vec<Book>,
    trades: Vec<(u64, i64, i64)>,
    quotes: u64,
    /// Moments in which a book changed.
    changes: u64,
    crossed: u64,
}

impl Consumer {
    fn take(&mut self, out: &FeedBuffer, mut after_change: impl FnMut(u64, &Book)) {
        for event in &out.events {
            match event {
                FeedEvent::Listed { definition } => {
                    self.definitions.push((**definition).clone());
                    self.books.push(Book::default());
                }
                FeedEvent::Levels { instrument, levels, .. } => {
                    let book = &mut self.books[instrument.0 as usize];
                    levels.of(&out.levels).iter().for_each(|update| {
                        book.apply(*update);
                    });
                    self.changes += 1;
                    after_change(self.changes, book);
                }
                FeedEvent::Cleared { instrument, levels, .. } => {
                    let book = &mut self.books[instrument.0 as usize];
                    book.clear();
                    levels.of(&out.levels).iter().for_each(|update| {
                        book.apply(*update);
                    });
                    self.changes += 1;
                    after_change(self.changes, book);
                }
                FeedEvent::Quote { bid, ask, .. } => {
                    self.quotes += 1;
                    let crossed = bid.zip(*ask).is_some_and(|(bid, ask)| bid.price > ask.price);
                    self.crossed += u64::from(crossed);
                }
                FeedEvent::Trade { price, amount, timestamp_ns, .. } => {
                    self.trades.push((*timestamp_ns, price.0, amount.0));
                }
                FeedEvent::State { .. } | FeedEvent::Report(_) => {}
            }
        }
    }
}

/// Plays to the end as fast as it goes.
fn play(mut replay: Replay, mut after_change: impl FnMut(u64, &Book)) -> (Consumer, ReplayProgress) {
    let (mut consumer, mut out) = (Consumer::default(), FeedBuffer::default());
    while !replay.is_finished() {
        out.clear();
        replay.poll(Now::default(), &mut out, 256).unwrap();
        assert!(out.events.len() <= 256);
        consumer.take(&out, &mut after_change);
    }
    (consumer, replay.progress())
}

fn open(path: &std::path::Path) -> Replay {
    link::open(path, Speed::Max, AtEnd::Finish).unwrap()
}

fn sums_of(book: &Book) -> Sums {
    let unit = u64::try_from(UNIT).unwrap();
    let row = |level: tickring::model::book::Level| {
        let amount = u64::try_from(level.amount.0).unwrap();
        assert_eq!(amount % unit, 0);
        (level.price.0, amount / unit)
    };
    (book.bids().map(row).collect(), book.asks().map(row).collect())
}

/// Plays a recording of one instrument beside the naive rebuild and compares whole books at every 1,000th end of an
/// event that changed the book, and at the end.
fn compare_with_naive(name: &str) -> Option<(Consumer, ReplayProgress)> {
    let path = recording(name)?;
    let mut decoder = Decoder::from_zstd_file(&path).unwrap();
    let mut naive = Naive::default();
    let mut compared = 0;
    // The naive side runs up to the same end of an event: the one where as many events as here have changed the book.
    // A snapshot is told before the first record that is not part of it.
    let (mut changes, mut touched, mut snapshot, mut held) = (0, false, false, None::<MboMsg>);
    let (consumer, progress) = play(open(&path), |number, book| {
        while changes < number {
            let next = held.take().or_else(|| decoder.decode_record::<MboMsg>().unwrap().cloned());
            let Some(message) = next else { break };
            if std::mem::replace(&mut snapshot, message.flags.is_snapshot()) && !snapshot && touched {
                (touched, held) = (false, Some(message));
                changes += 1;
                continue;
            }
            naive.apply(&message);
            let action = message.action().unwrap();
            touched |= !matches!(action, Action::Trade | Action::Fill | Action::None);
            if message.flags.is_last() && std::mem::take(&mut touched) {
                changes += 1;
            }
        }
        if number % 1_000 == 0 {
            compared += 1;
            assert_eq!(sums_of(book), naive.sums(), "after change {number}");
        }
    });
    held.iter().for_each(|message| naive.apply(message));
    while let Some(message) = decoder.decode_record::<MboMsg>().unwrap() {
        naive.apply(message);
    }
    assert_eq!(sums_of(&consumer.books[0]), naive.sums(), "at the end");
    assert_eq!(compared, consumer.changes / 1_000);
    Some((consumer, progress))
}

#[test]
fn christmas_order_by_order_ends_as_the_naive_rebuild_has_it() {
    let Some((consumer, progress)) = compare_with_naive(CHRISTMAS) else { return };
    println!("{progress:?}, {} changes, {} trades", consumer.changes, consumer.trades.len());
    assert_eq!(progress.records_read, 68_792);
    assert!(consumer.changes > 10_000);
    let book = &consumer.books[0];
    let best = (book.best_bid().unwrap(), book.best_ask().unwrap());
    let price = |text: &str| Price::parse(text.as_bytes()).unwrap();
    assert_eq!((best.0.price, best.0.amount), (price("4810.00"), Amount(22 * UNIT)));
    assert_eq!((best.1.price, best.1.amount), (price("4810.25"), Amount(28 * UNIT)));
    let definition = &consumer.definitions[0];
    assert_eq!((definition.name.as_str(), definition.price_decimals), ("ESH4", 2));
    assert_eq!(definition.tick_size, price("0.25"));
}

#[test]
fn a_recording_that_is_one_snapshot_ends_as_the_naive_rebuild_has_it() {
    let Some((consumer, progress)) = compare_with_naive("esh4-glbx-mdp3-20231224.mbo.dbn.zst") else {
        return;
    };
    println!("{progress:?}, {} changes, {} trades", consumer.changes, consumer.trades.len());
}

#[test]
fn trades_are_those_of_the_recording() {
    let Some(path) = recording(CHRISTMAS) else { return };
    let mut decoder = Decoder::from_zstd_file(&path).unwrap();
    let mut expected = Vec::new();
    while let Some(message) = decoder.decode_record::<MboMsg>().unwrap() {
        if message.action().unwrap() == Action::Trade && message.size > 0 {
            expected.push((message.hd.ts_event, message.price, i64::from(message.size) * UNIT));
        }
    }
    assert_eq!(play(open(&path), |_, _| ()).0.trades, expected);
}

#[test]
fn best_bids_and_offers_of_futures_are_those_of_the_recording() {
    let Some(path) = recording("glbx-mdp3-futures-20240701.mbp-1.dbn.zst") else { return };
    let (consumer, progress) = play(open(&path), |_, _| ());
    let names: Vec<_> =
        consumer.definitions.iter().map(|definition| (definition.name, definition.tick_size)).collect();
    println!("{progress:?}, {} crossed, {names:?}", consumer.crossed);
    let mut decoder = Decoder::from_zstd_file(&path).unwrap();
    let (mut records, mut ids) = (0, Vec::new());
    while let Some(message) = decoder.decode_record::<Mbp1Msg>().unwrap() {
        records += 1;
        ids.push(message.hd.instrument_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((progress.records_read, consumer.quotes), (records, records));
    assert_eq!(consumer.definitions.len(), ids.len());
}

#[test]
fn ticks_of_currencies_are_played_line_by_line() {
    for (name, instrument, lines, tick, first) in [
        ("eurusd-20200101.histdata.csv", "EUR_USD", 9_500, "0.00001", 1_577_916_000_065_000_000),
        ("usdjpy-20130101.truefx.csv", "USD_JPY", 1_000, "0.001", 1_357_077_600_295_000_000_u64),
    ] {
        let Some(path) = recording(name) else { continue };
        let mut replay = open(&path);
        let mut out = FeedBuffer::default();
        replay.poll(Now::default(), &mut out, 2).unwrap();
        let FeedEvent::Quote { timestamp_ns, .. } = out.events[1] else { panic!("{:?}", out.events) };
        assert_eq!(timestamp_ns, first);
        let (consumer, progress) = play(open(&path), |_, _| ());
        assert_eq!((progress.records_read, consumer.quotes), (lines, lines));
        let definition = &consumer.definitions[0];
        assert_eq!(definition.name.as_str(), instrument);
        assert_eq!(definition.tick_size, Price::parse(tick.as_bytes()).unwrap());
    }
}

#[test]
fn at_its_own_speed_nothing_comes_before_its_time() {
    let Some(path) = recording("eurusd-20200101.histdata.csv") else { return };
    let mut replay = link::open(&path, Speed::Thousandths(3_600_000), AtEnd::Finish).unwrap();
    let (mut out, mut now) = (FeedBuffer::default(), Now { mono_ns: 1_000, unix_ns: 5 });
    replay.poll(now, &mut out, usize::MAX).unwrap();
    assert!(out.events.len() < 10, "{}", out.events.len());
    // An hour of the recording in a second.
    now = now.plus_ns(1_000_000_000);
    while replay.poll_timeout().is_some_and(|due| due <= now.mono_ns) {
        replay.poll(now, &mut out, usize::MAX).unwrap();
    }
    let times: Vec<u64> = out
        .events
        .iter()
        .filter_map(|event| match event {
            FeedEvent::Quote { timestamp_ns, .. } => Some(*timestamp_ns),
            FeedEvent::Listed { .. }
            | FeedEvent::Levels { .. }
            | FeedEvent::Cleared { .. }
            | FeedEvent::Trade { .. }
            | FeedEvent::Report(_)
            | FeedEvent::State { .. } => None,
        })
        .collect();
    let (first, last) = (times[0], *times.last().unwrap());
    assert!((3_500_000_000_000..=3_600_000_000_000).contains(&(last - first)), "{} ns", last - first);
    assert!(times.len() > 100, "{}", times.len());
}

/// The book stands at midnight and the market opens a day later: nobody wants to wait for that.
#[test]
fn after_a_snapshot_the_first_event_is_due_at_once() {
    let Some(path) = recording(CHRISTMAS) else { return };
    let mut replay = link::open(&path, Speed::ORIGINAL, AtEnd::Finish).unwrap();
    let (mut out, now) = (FeedBuffer::default(), Now { mono_ns: 1_000, unix_ns: 5 });
    for _ in 0..20 {
        replay.poll(now, &mut out, usize::MAX).unwrap();
    }
    let mut consumer = Consumer::default();
    consumer.take(&out, |_, _| ());
    assert!(consumer.changes >= 2, "the snapshot and the first event");
    assert!(replay.poll_timeout().is_some_and(|due| due > now.mono_ns), "the next waits for its time");
}

#[test]
fn a_recording_that_repeats_begins_with_empty_books_and_ends_the_same() {
    let Some(path) = recording(CHRISTMAS) else { return };
    let (once, progress) = play(open(&path), |_, _| ());
    let mut replay = link::open(&path, Speed::Max, AtEnd::Repeat).unwrap();
    let (mut consumer, mut out) = (Consumer::default(), FeedBuffer::default());
    while replay.progress().events < 2 * progress.events {
        out.clear();
        replay.poll(Now::default(), &mut out, 1).unwrap();
        consumer.take(&out, |_, _| ());
    }
    assert_eq!(replay.progress().repetitions, 1);
    assert_eq!(consumer.definitions.len(), 1, "an instrument keeps its number");
    assert_eq!(consumer.books, once.books);
    assert!(!replay.is_finished());
}

/// Faults that only a file can have: the rest is tested without one, beside the code.
#[test]
fn a_file_that_is_cut_off_or_no_file_at_all_is_named_with_the_reason() {
    let missing = link::open(std::path::Path::new("/nowhere/x.dbn"), Speed::Max, AtEnd::Finish).unwrap_err();
    assert!(missing.to_string().starts_with("x.dbn: cannot be opened: "), "{missing}");
    let folder = link::open(std::path::Path::new("/"), Speed::Max, AtEnd::Finish).unwrap_err();
    assert!(folder.to_string().contains("is a folder"), "{folder}");
    let Some(path) = recording(CHRISTMAS) else { return };
    let whole = std::fs::read(path).unwrap();
    let cut = std::env::temp_dir().join(format!("tickring-cut-{}.dbn.zst", std::process::id()));
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let mut replay = open(&cut);
    let mut out = FeedBuffer::default();
    let error = loop {
        out.clear();
        match replay.poll(Now::default(), &mut out, 1_024) {
            Ok(()) => assert!(!replay.is_finished(), "the cut went unnoticed"),
            Err(error) => break error,
        }
    };
    std::fs::remove_file(&cut).unwrap();
    assert!(error.to_string().contains(": record "), "{error}");
    assert!(error.to_string().contains("the file is truncated"), "{error}");
    assert!(replay.is_finished());
}
