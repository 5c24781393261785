//! What a feed costs, measured by hand, since timings in tests are forbidden:
//! `cargo test --release --no-default-features --test feed_cost -- --ignored --nocapture`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and prints"
)]

use tickring::backend::paper::{EVENTS_PER_S_MAX, Paper, PaperConfig};
use tickring::model::market::FeedBuffer;
use tickring::model::time::Now;

#[test]
#[ignore = "measures, and prints what it measured"]
fn paper_at_full_rate() {
    let config = PaperConfig { events_per_s: EVENTS_PER_S_MAX, ..PaperConfig::default() };
    let (mut paper, mut out) = (Paper::new(config), FeedBuffer::default());
    let (mut events, mut now) = (0_u32, Now::default());
    let begun = std::time::Instant::now();
    while events < 3_000_000 {
        out.clear();
        paper.poll(now, &mut out, 1_024);
        events = events.saturating_add(u32::try_from(out.events.len()).unwrap_or(u32::MAX));
        now = now.plus_ns(100_000);
    }
    println!("paper: {:.3} us per event", begun.elapsed().as_secs_f64() * 1e6 / f64::from(events));
}
