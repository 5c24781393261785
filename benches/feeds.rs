//! What feeds cost: the paper market at its full rate, and a market's home that encodes for a listener.
//! `cargo bench --no-default-features --bench feeds`

use divan::Bencher;
use divan::counter::ItemsCount;
use tickring::backend::paper::{EVENTS_PER_S_MAX, Paper, PaperConfig};
use tickring::hub::history::HistoryLimits;
use tickring::hub::market::MarketHome;
use tickring::model::ids::{HomeId, SourceId};
use tickring::model::market::FeedBuffer;
use tickring::model::time::Now;

const EVENTS: usize = 256;
/// The market's time between two polls: long enough for `EVENTS` events at the full rate.
const STEP_NS: u64 = 1_000_000;

fn main() {
    divan::main();
}

fn paper() -> Paper {
    Paper::new(PaperConfig { events_per_s: EVENTS_PER_S_MAX, ..PaperConfig::default() })
}

#[divan::bench]
fn paper_events(bencher: Bencher<'_, '_>) {
    let (mut paper, mut out, mut now) = (paper(), FeedBuffer::default(), Now::default());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(move || {
        out.clear();
        while out.events.len() < EVENTS {
            now = now.plus_ns(STEP_NS);
            let missing = EVENTS - out.events.len();
            paper.poll(now, &mut out, missing);
        }
        out.events.len()
    });
}

#[divan::bench]
fn paper_events_through_the_market_s_home(bencher: Bencher<'_, '_>) {
    let history =
        HistoryLimits { frames_max: 1024, bytes_max: 1024 * 1024, replayed_bytes_per_turn: 4 * 1024 * 1024 };
    let (mut paper, mut out, mut now) = (paper(), FeedBuffer::default(), Now::default());
    let mut market = MarketHome::new(HomeId(1), 1, history, now);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(move || {
        out.clear();
        while out.events.len() < EVENTS {
            now = now.plus_ns(STEP_NS);
            let missing = EVENTS - out.events.len();
            paper.poll(now, &mut out, missing);
        }
        market.handle_feed(SourceId::FEED, &out, now);
        market.seal();
        while market.poll_mesh().is_some() {}
        market.counters.feed_events_total
    });
}
