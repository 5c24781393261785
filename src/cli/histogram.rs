//! `tickring histogram`: what a file of histograms says, as a table and drawn. Home: the main thread.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use hdrhistogram::Histogram;

use crate::exit::{Exit, Failure};
use crate::telemetry::latency::{Entry, in_unit, percentile, read_interval_log};

use super::ignore_closed;

const LEARN: &str = "\
A running server writes such a file when it is sent SIGUSR1 (the log says where), and when it
stops; GET /api/histograms?format=hlog answers the same. A tag is a stage and a thread, `all` is all
threads together:
  decode             received → decoded and looked at
  request            received → reply handed to the kernel
  order              an order received → the venue → its reply
  publish_lossless   event stamped → with every subscriber's socket
  publish_latest     the same, for those who take newer values for older ones
  turn               the work of a turn that did something
  mesh               a batch sealed by one thread → taken by another
  upgrade            accepted → upgraded
In a terminal each line is drawn from its smallest value to its largest, on one logarithmic scale:
  █ up to p50   ▓ up to p90   ▒ up to p99   ░ up to the largest

Examples:
  tickring histogram /var/lib/tickring/histograms-1700000000000.hlog
  tickring histogram --tag publish FILE      only tags that contain `publish`
  tickring histogram FILE | sort -k2n        in a pipe: a plain table, a line a tag
  curl -s 'localhost:9002/api/histograms?format=hlog' | tickring histogram -";

/// Above it a file is none of ours, and is not read.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Room for a drawing below which there is none.
const DRAWN_COLUMNS_MIN: usize = 16;
const DRAWN_COLUMNS_MAX: usize = 60;

/// Flags of the command.
#[derive(Args, Debug)]
#[command(after_help = LEARN)]
pub(super) struct Flags {
    /// File in HdrHistogram's interval log format; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only tags that contain this text
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// Of the whole line; 0 where nothing is drawn.
    columns: usize,
    is_coloured: bool,
}

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let shown = flags.file.display();
    let text = read_file(&flags.file).map_err(|error| {
        Failure::new(Exit::NoInput, format!("{shown}: {error}"), "name a file that SIGUSR1 has made, or -")
    })?;
    let entries = read_interval_log(&text).map_err(|fault| {
        let hint = "expected a log of HdrHistogram, as SIGUSR1 and /api/histograms?format=hlog make it";
        Failure::new(Exit::Data, format!("{shown}: {fault}"), hint)
    })?;
    let tags = by_tag(&entries, flags.tag.as_deref().unwrap_or_default());
    if tags.is_empty() {
        let known = by_tag(&entries, "").into_keys().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Exit::Usage, format!("{shown}: no such tag"), format!("it has {known}")));
    }
    let stdout = io::stdout();
    let columns = terminal_size::terminal_size_of(&stdout).map_or(0, |(width, _)| usize::from(width.0));
    let is_terminal = stdout.is_terminal();
    let bare = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // A terminal that does not say how wide it is has the usual width.
    let columns = if columns == 0 { 80 } else { columns };
    let look = Look { columns: if is_terminal { columns } else { 0 }, is_coloured: is_terminal && !bare };
    stdout.lock().write_all(table(&tags, look).as_bytes()).or_else(ignore_closed)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut text = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is longer than 256 MiB"));
    }
    Ok(text)
}

/// Histograms of one tag are added up, whatever their intervals.
fn by_tag(entries: &[Entry], part: &str) -> BTreeMap<String, Histogram<u64>> {
    let mut tags: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for Entry { tag, histogram, .. } in entries.iter().filter(|entry| entry.tag.contains(part)) {
        let name = if tag.is_empty() { "-".to_owned() } else { tag.clone() };
        if let Some(sum) = tags.get_mut(&name) {
            // It grows if it has to; more than memory holds is no histogram.
            sum.auto(true);
            let _ = sum.add(histogram);
        } else {
            tags.insert(name, histogram.clone());
        }
    }
    tags
}

fn table(tags: &BTreeMap<String, Histogram<u64>>, look: Look) -> String {
    let width = tags.keys().map(|tag| tag.chars().count()).max().unwrap_or(0).max("tag".len());
    let head = format!(
        "{:width$} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "tag", "count", "min", "p50", "p90", "p99", "p99.9", "max"
    );
    let beside = look.columns.saturating_sub(head.chars().count() + 2).min(DRAWN_COLUMNS_MAX);
    let below = look.columns.saturating_sub(2).min(DRAWN_COLUMNS_MAX);
    // Where a line is too short for both, each is drawn below its numbers.
    let (room, before) = if beside >= DRAWN_COLUMNS_MIN { (beside, "  ") } else { (below, "\n  ") };
    let scale = (room >= DRAWN_COLUMNS_MIN).then(|| Scale::of(tags.values(), room)).flatten();
    let mut out = match &scale {
        Some(scale) => format!("{head}{before}{}\n", scale.title()),
        None => format!("{head}\n"),
    };
    for (tag, histogram) in tags {
        let of = |percent| in_unit(percentile(histogram, percent));
        out.push_str(&format!(
            "{tag:width$} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            histogram.len(),
            in_unit(histogram.min()),
            of(50.0),
            of(90.0),
            of(99.0),
            of(99.9),
            of(100.0),
        ));
        if let Some(scale) = &scale {
            out.push_str(before);
            out.push_str(&scale.draw(histogram, look.is_coloured));
        }
        out.push('\n');
    }
    out
}

/// A logarithmic scale over so many columns.
#[derive(Debug)]
struct Scale {
    from_ns: u64,
    to_ns: u64,
    columns: usize,
}

impl Scale {
    /// From the smallest to the largest of all; none where nothing was recorded.
    fn of<'h>(all: impl Iterator<Item = &'h Histogram<u64>> + Clone, columns: usize) -> Option<Scale> {
        let recorded = all.filter(|histogram| !histogram.is_empty());
        let from_ns = recorded.clone().map(Histogram::min).min()?.max(1);
        let to_ns = recorded.map(Histogram::max).max()?.max(from_ns + 1);
        Some(Scale { from_ns, to_ns, columns })
    }

    /// The column of a value.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some columns")]
    fn column(&self, ns: u64) -> usize {
        let logarithm = |ns: u64| (ns as f64).ln();
        let from = logarithm(self.from_ns);
        let share = (logarithm(ns.max(self.from_ns)) - from) / (logarithm(self.to_ns) - from);
        ((share * self.columns as f64) as usize).min(self.columns - 1)
    }

    fn title(&self) -> String {
        let (from, to) = (in_unit(self.from_ns), in_unit(self.to_ns));
        let between = self.columns.saturating_sub(from.len() + to.len());
        format!("{from}{}{to}", " ".repeat(between))
    }

    /// A line from the smallest value to the largest.
    fn draw(&self, histogram: &Histogram<u64>, is_coloured: bool) -> String {
        if histogram.is_empty() {
            return String::new();
        }
        let mut at = self.column(histogram.min());
        let mut line = " ".repeat(at);
        for (percent, mark, colour) in [(50.0, '█', 32), (90.0, '▓', 36), (99.0, '▒', 33), (100.0, '░', 31)]
        {
            let end = self.column(percentile(histogram, percent)) + 1;
            let marks: String = std::iter::repeat_n(mark, end.saturating_sub(at)).collect();
            if is_coloured && !marks.is_empty() {
                line.push_str(&format!("\x1b[{colour}m{marks}\x1b[0m"));
            } else {
                line.push_str(&marks);
            }
            at = at.max(end);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> BTreeMap<String, Histogram<u64>> {
        let histogram = |values: &[u64]| {
            let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            histogram
        };
        let many: Vec<u64> = (0..1000).map(|nth| 1_000 + nth * 1_000).collect();
        [("request.all", histogram(&many)), ("turn.all", histogram(&[1_000_000_000]))]
            .map(|(tag, histogram)| (tag.to_owned(), histogram))
            .into()
    }

    #[test]
    fn a_pipe_gets_a_plain_table() {
        let expected = "\
tag              count      min      p50      p90      p99    p99.9      max
request.all       1000  1.00 us   500 us   900 us   990 us  1.00 ms  1.00 ms
turn.all             1   1.00 s   1.00 s   1.00 s   1.00 s   1.00 s   1.00 s
";
        assert_eq!(table(&tags(), Look { columns: 0, is_coloured: false }), expected);
    }

    #[test]
    fn a_terminal_gets_a_drawing_as_wide_as_it_is_and_colours_where_they_are_wanted() {
        let drawn = |columns, is_coloured| table(&tags(), Look { columns, is_coloured });
        let plain = drawn(100, false);
        let lines: Vec<&str> = plain.lines().collect();
        assert!(lines[0].ends_with("  1.00 us         1.00 s"), "{plain}");
        assert!(lines[1].ends_with("  ██████████▓░"), "{plain}");
        assert!(lines[2].ends_with("                       █"), "{plain}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{plain}");
        assert!(drawn(100, true).contains("\x1b[32m██████████\x1b[0m"));
        let narrow = drawn(60, false);
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(lines.len(), 6, "{narrow}");
        assert!(lines[1].starts_with("  1.00 us   ") && lines[3].starts_with("  ████"), "{narrow}");
        assert!(lines[3].chars().count() <= 60 && !lines[2].contains('█'), "{narrow}");
        assert!(!drawn(10, true).contains('█'), "there is no room");
    }

    #[test]
    fn intervals_of_one_tag_are_added_up() {
        let entry = |tag: &str, value| {
            let mut histogram = Histogram::new_with_bounds(1, 1_000, 3).unwrap();
            histogram.record(value).unwrap();
            Entry { tag: tag.to_owned(), begun_s: 0.0, length_s: 1.0, histogram }
        };
        let tags = by_tag(&[entry("a.x", 5), entry("b.x", 7), entry("a.x", 900), entry("", 1)], "");
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["-", "a.x", "b.x"]);
        assert_eq!((tags["a.x"].len(), tags["a.x"].max()), (2, 900));
        assert_eq!(by_tag(&[entry("a.x", 5), entry("b.x", 7)], "b").len(), 1);
    }
}
