//! The log: to stderr as ever, and its last lines in memory, for operators to read.
//!
//! Home: any thread writes, the control thread reads, and so does the one that writes the log's file (`log_file.rs`). Invariants:
//! nobody waits for anybody: a line takes the place of the oldest by an exchange of a pointer, an older one never that of a newer;
//! lines and their lengths are bounded.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

use arc_swap::ArcSwapOption;
use log::{Log, Metadata, Record};

use crate::api::{LINES_MAX, Line};
use crate::clock;

/// Bytes of a message that are kept.
const MESSAGE_BYTES_MAX: usize = 1000;

/// The last lines of the process.
static TAIL: OnceLock<LogTail> = OnceLock::new();

/// See the file's head.
#[derive(Debug)]
pub struct LogTail {
    lines: Box<[ArcSwapOption<Line>]>,
    total: AtomicU64,
    /// Who is woken by each line, if anybody wants to be.
    follower: OnceLock<Thread>,
}

/// What there is of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Line(Arc<Line>),
    /// A newer one has its place.
    Gone,
    /// It is being written, or there is none yet.
    Coming,
}

/// Writes where the other one does, and into the tail.
#[derive(Debug)]
struct Tee;

/// The logger that says what is logged, and writes it.
static LOGGER: ArcSwapOption<env_logger::Logger> = ArcSwapOption::const_empty();

/// Logs by `RUST_LOG` from now on, and keeps the last lines.
pub fn init() {
    let filter = std::env::var(env_logger::DEFAULT_FILTER_ENV).unwrap_or_default();
    set_filter(if filter.is_empty() { "info" } else { &filter });
    // Who has set another one before keeps it.
    let _ = log::set_boxed_logger(Box::new(Tee));
}

/// Logs from now on what a filter says that is written as `RUST_LOG` is.
pub fn set_filter(filter: &str) {
    let logger = env_logger::Builder::new().parse_filters(filter).parse_write_style(&style()).build();
    log::set_max_level(logger.filter());
    LOGGER.store(Some(Arc::new(logger)));
}

fn style() -> String {
    std::env::var(env_logger::DEFAULT_WRITE_STYLE_ENV).unwrap_or_default()
}

/// The lines of this process.
pub fn tail() -> &'static LogTail {
    TAIL.get_or_init(LogTail::default)
}

impl Default for LogTail {
    fn default() -> LogTail {
        LogTail {
            lines: (0..LINES_MAX).map(|_| ArcSwapOption::empty()).collect(),
            total: AtomicU64::new(0),
            follower: OnceLock::new(),
        }
    }
}

impl LogTail {
    /// Lines since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The last lines, as many as that, newest last. A line that is being written may be missing.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Line> {
        let total = self.total();
        let oldest = total.saturating_sub(count.min(LINES_MAX) as u64);
        let line = |number: u64| match self.line(number) {
            Kept::Line(line) => Some((*line).clone()),
            Kept::Gone | Kept::Coming => None,
        };
        (oldest..total).filter_map(line).collect()
    }

    /// The line with so many before it.
    #[must_use]
    pub fn line(&self, number: u64) -> Kept {
        match self.place(number).load_full() {
            Some(line) if line.number == number + 1 => Kept::Line(line),
            Some(line) if line.number > number + 1 => Kept::Gone,
            Some(_) | None => Kept::Coming,
        }
    }

    /// Has this thread unparked after each line from now on. There is one such thread.
    pub fn wake_at_lines(&self, thread: Thread) {
        let is_first = self.follower.set(thread).is_ok();
        assert!(
            is_first,
            "invariant: one thread writes the log's file, from when there is one to the process's end"
        );
    }

    pub(crate) fn push(&self, record: &Record<'_>) {
        let number = self.total.fetch_add(1, Ordering::Relaxed);
        let mut message = record.args().to_string();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        let line = Arc::new(Line {
            number: number + 1,
            unix_ms: clock::now().unix_ns / 1_000_000,
            level: record.level().as_str(),
            target: record.target().into(),
            message: message.into(),
        });
        self.place(number).rcu(|there| match there {
            // Whoever waits for a line would wait for ever for one that an older has replaced.
            Some(newer) if newer.number > line.number => Some(Arc::clone(newer)),
            Some(_) | None => Some(Arc::clone(&line)),
        });
        if let Some(follower) = self.follower.get() {
            follower.unpark();
        }
    }

    fn place(&self, number: u64) -> &ArcSwapOption<Line> {
        let place =
            usize::try_from(number % LINES_MAX as u64).expect("invariant: a remainder of LINES_MAX fits");
        &self.lines[place]
    }
}

impl Log for Tee {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LOGGER.load().as_ref().is_some_and(|logger| logger.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(logger) = LOGGER.load().as_ref()
            && logger.matches(record)
        {
            tail().push(record);
            logger.log(record);
        }
    }

    fn flush(&self) {
        if let Some(logger) = LOGGER.load().as_ref() {
            logger.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(tail: &LogTail, text: &str) {
        tail.push(&Record::builder().args(format_args!("{text}")).target("t").build());
    }

    #[test]
    fn keeps_the_last_lines_in_their_order() {
        let tail = LogTail::default();
        assert!(tail.last(10).is_empty());
        (1..=LINES_MAX + 5).for_each(|line| push(&tail, &line.to_string()));
        assert_eq!(tail.total(), LINES_MAX as u64 + 5);
        let numbers = |count| tail.last(count).iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(numbers(2), [1004, 1005]);
        assert_eq!(numbers(usize::MAX).len(), LINES_MAX);
        assert_eq!(&*tail.last(1)[0].message, "1005");
    }

    #[test]
    fn a_line_is_kept_until_a_newer_one_has_its_place() {
        let tail = LogTail::default();
        assert_eq!(tail.line(0), Kept::Coming);
        push(&tail, "first");
        assert!(matches!(tail.line(0), Kept::Line(line) if &*line.message == "first"));
        assert_eq!(tail.line(1), Kept::Coming);
        (0..LINES_MAX).for_each(|_| push(&tail, "later"));
        assert_eq!(tail.line(0), Kept::Gone);
        // One that was long in coming does not take the place of who came after it.
        tail.total.store(0, Ordering::Relaxed);
        push(&tail, "late");
        assert_eq!(tail.line(0), Kept::Gone);
        assert!(matches!(tail.line(LINES_MAX as u64), Kept::Line(line) if &*line.message == "later"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let tail = LogTail::default();
        push(&tail, &format!("{}ééé", "x".repeat(MESSAGE_BYTES_MAX - 1)));
        assert_eq!(tail.last(1)[0].message.len(), MESSAGE_BYTES_MAX - 1);
    }
}
