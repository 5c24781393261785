//! What somebody who watches sees of a run: on a terminal one block that is drawn over again, in a pipe a line every few seconds.
//! Home: the main thread. Invariant: written to stderr, a few times a second at most; what cannot be written stops nothing.

use std::io::{IsTerminal, Write};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::engine::sum::Sum;
use crate::histogram::{Latencies, Summary};
use crate::outcome::Kind;
use crate::scenario::Scenario;

/// Between two drawings.
const DRAW_NS: u64 = 250 * MILLISECOND_NS;
/// The least between two lines in a pipe, of which there is one a second; and that where a run is long.
const LINE_NS: u64 = SECOND_NS / 2;
const LONG_LINE_NS: u64 = 10 * SECOND_NS;
const LONG_NS: u64 = 120 * SECOND_NS;
const BAR_CELLS: usize = 30;
const KINDS: [(Kind, &str); 3] =
    [(Kind::Request, "requests"), (Kind::Delivery, "deliveries"), (Kind::Order, "orders")];

/// See the file's head.
pub(crate) struct Live {
    is_terminal: bool,
    has_color: bool,
    is_verbose: bool,
    drawn_ns: u64,
    drawn_lines: usize,
    title: String,
    clients: u64,
    /// Seconds that a line has told of.
    told: usize,
}

impl Live {
    /// `NO_COLOR` is respected (no-color.org), and a terminal that cannot draw is a pipe.
    pub(crate) fn new(is_verbose: bool) -> Live {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_terminal = std::io::stderr().is_terminal() && !is_dumb;
        Live {
            is_terminal,
            has_color: is_terminal && !is_set("NO_COLOR"),
            is_verbose,
            drawn_ns: 0,
            drawn_lines: 0,
            title: String::new(),
            clients: 0,
            told: 0,
        }
    }

    pub(crate) fn begin(&mut self, scenario: &Scenario, url: &str) {
        self.title = scenario.name.clone();
        self.clients = u64::from(scenario.clients().0);
        self.told = 0;
        self.drawn_ns = 0;
        if self.is_verbose || !self.is_terminal {
            self.line(&format!("{}: {} ({url})", scenario.name, scenario.about));
        }
    }

    /// What only those want to know who ask for it.
    pub(crate) fn detail(&mut self, line: &str) {
        if self.is_verbose {
            self.line(&format!("  {line}"));
        }
    }

    pub(crate) fn opening(&mut self, open: u64) {
        let (title, clients) = (self.title.clone(), self.clients);
        self.draw(|live| {
            vec![format!(
                "{} {}  {} of {} connections",
                live.bold(&title),
                bar(open, clients),
                whole(open),
                whole(clients)
            )]
        });
    }

    pub(crate) fn measuring(&mut self, now_ns: u64, begin_ns: u64, end_ns: u64, sum: &Sum) {
        if self.is_terminal {
            let title = self.title.clone();
            self.draw(|live| live.block(&title, [now_ns, begin_ns, end_ns], sum));
            return;
        }
        let Some((number, second)) = sum.newest_second() else { return };
        let is_last = end_ns <= now_ns;
        let every_ns = if LONG_NS < end_ns - begin_ns { LONG_LINE_NS } else { LINE_NS };
        let is_due = self.drawn_ns + every_ns <= now_ns || is_last;
        if number <= self.told || !is_due {
            return;
        }
        self.told = number;
        self.drawn_ns = now_ns;
        let latency = |ns: Option<u64>| ns.map_or("-".to_owned(), time);
        self.line(&format!(
            "{}: {number} s, {} connections, {} sent/s, {} received/s, {} errors, p50 {}, p99 {}, max {}",
            self.title,
            whole(second.connections),
            whole(second.sent),
            whole(second.received),
            whole(sum.errors()),
            latency(second.p50_ns),
            latency(second.p99_ns),
            latency(second.max_ns),
        ));
    }

    fn block(&self, title: &str, [now_ns, begin_ns, end_ns]: [u64; 3], sum: &Sum) -> Vec<String> {
        let (done_ns, all_ns) = (now_ns.clamp(begin_ns, end_ns) - begin_ns, end_ns - begin_ns);
        let what = if now_ns < begin_ns {
            "warm-up".to_owned()
        } else if end_ns <= now_ns {
            "waiting for the last answers".to_owned()
        } else {
            format!("{} of {} s", done_ns / SECOND_NS, all_ns.div_ceil(SECOND_NS))
        };
        let mut lines = vec![format!(
            "{} {}  {what}, {} connections, {} errors",
            self.bold(title),
            bar(done_ns, all_ns),
            whole(sum.open()),
            self.alarming(sum.errors())
        )];
        if let Some((_, second)) = sum.newest_second() {
            let server = sum.newest_look().map_or(String::new(), |(cores, bytes)| {
                format!(", server {cores:.2} cores, {:.1} MiB", mebibytes(bytes))
            });
            lines.push(format!(
                "  {} sent/s, {} received/s{server}",
                whole(second.sent),
                whole(second.received)
            ));
        }
        for (kind, name) in KINDS {
            lines.extend(sum.latencies(kind).map(|latencies| percentiles(name, latencies)));
        }
        lines
    }

    /// Draws over what was drawn before, on a terminal, if that is old enough.
    fn draw(&mut self, lines: impl FnOnce(&Live) -> Vec<String>) {
        let now_ns = clock::mono_ns();
        if !self.is_terminal || now_ns < self.drawn_ns + DRAW_NS {
            return;
        }
        self.drawn_ns = now_ns;
        let lines = lines(self);
        let mut text = self.erasing();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn_lines = lines.len();
        self.write(&text);
    }

    /// Takes the block away: what follows is the report's.
    pub(crate) fn end(&mut self) {
        let text = self.erasing();
        self.drawn_lines = 0;
        self.write(&text);
    }

    /// One line that stays.
    pub(crate) fn line(&mut self, line: &str) {
        let text = format!("{}{line}\n", self.erasing());
        self.drawn_lines = 0;
        self.write(&text);
    }

    fn erasing(&self) -> String {
        if self.drawn_lines == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn_lines) }
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr();
        // Progress that can't be shown is no reason to stop.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    fn bold(&self, text: &str) -> String {
        if self.has_color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn alarming(&self, count: u64) -> String {
        let text = whole(count);
        if self.has_color && 0 < count { format!("\x1b[31m{text}\x1b[0m") } else { text }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

fn percentiles(name: &str, latencies: &Latencies) -> String {
    let Summary { p50_ns, p99_ns, p999_ns, max_ns, .. } = latencies.summary();
    format!(
        "  {name:<11} p50 {:>9}  p99 {:>9}  p99.9 {:>9}  max {:>9}",
        time(p50_ns),
        time(p99_ns),
        time(p999_ns),
        time(max_ns)
    )
}

fn bar(done: u64, all: u64) -> String {
    let cells = u64::try_from(BAR_CELLS).expect("invariant: a small constant");
    let filled = done.saturating_mul(cells).checked_div(all).unwrap_or(cells).min(cells);
    let filled = usize::try_from(filled).expect("invariant: at most the cells");
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_CELLS - filled))
}

/// A duration with the unit that it is read in.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{}.{} us", ns / 1_000, ns / 100 % 10),
        1_000_000..1_000_000_000 => format!("{}.{:02} ms", ns / 1_000_000, ns / 10_000 % 100),
        _ => format!("{}.{:02} s", ns / SECOND_NS, ns / 10_000_000 % 100),
    }
}

/// With commas between the thousands.
fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_they_are_read_in() {
        assert_eq!(
            [999, 1_000, 25_430, 1_000_000, 12_345_678, 61_239_000_000].map(time),
            ["999 ns", "1.0 us", "25.4 us", "1.00 ms", "12.34 ms", "61.23 s"]
        );
    }

    #[test]
    fn whole_numbers_have_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_bar_is_never_longer_than_itself() {
        for (done, all, filled) in [(0, 10, 0), (5, 10, 15), (10, 10, 30), (20, 10, 30), (0, 0, 30)] {
            let bar = bar(done, all);
            assert_eq!((bar.matches('#').count(), bar.len()), (filled, BAR_CELLS + 2));
        }
    }
}
