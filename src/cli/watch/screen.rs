//! Where updates are printed: lines in a pipe; on a terminal lines above one that tells the rate.
//! Home: the main thread.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use super::format::{self, Colour, Layout};
use super::session::{Totals, Update};
use crate::clock;

/// How long a line may wait for company before it is written to a pipe.
const FLUSH_NS: u64 = 10_000_000;
/// How often the rate line changes: slow enough to be read.
const RATE_NS: u64 = 500_000_000;
/// Levels or trades that a terminal's line spells out. A pipe gets all.
const TERMINAL_ITEMS_MAX: usize = 5;
/// However long the names, the rest of a line should stay in sight.
const CHANNEL_COLUMNS_MAX: usize = 40;

/// What stdout is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Terminal,
}

/// What is printed of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Line,
    /// The message as received: JSON, or what is binary in hexadecimal.
    Raw,
}

pub(super) struct Screen {
    out: BufWriter<Stdout>,
    kind: Kind,
    form: Form,
    layout: Layout,
    place: String,
    unflushed_since_ns: Option<u64>,
    rated_at_ns: u64,
    rated_updates: u64,
    rate_shown: bool,
}

impl Screen {
    /// `place` is what the rate line says it is connected to.
    pub(super) fn new(form: Form, place: &str) -> Screen {
        let kind = if io::stdout().is_terminal() { Kind::Terminal } else { Kind::Pipe };
        // https://no-color.org: present and not empty.
        let bare = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (colour, items_max) = match kind {
            Kind::Pipe => (Colour::Never, usize::MAX),
            Kind::Terminal if bare => (Colour::Never, TERMINAL_ITEMS_MAX),
            Kind::Terminal => (Colour::Ansi, TERMINAL_ITEMS_MAX),
        };
        Screen {
            out: BufWriter::with_capacity(64 * 1024, io::stdout()),
            kind,
            form,
            layout: Layout { colour, items_max, channel_columns: 0 },
            place: place.to_owned(),
            unflushed_since_ns: None,
            rated_at_ns: clock::now().mono_ns,
            rated_updates: 0,
            rate_shown: false,
        }
    }

    /// Prints an update; `received` shows the message as it came.
    pub(super) fn print(&mut self, update: &Update<'_>, received: impl FnOnce() -> String) -> io::Result<()> {
        self.hide_rate()?;
        match self.form {
            Form::Raw => writeln!(self.out, "{}", received())?,
            Form::Line => {
                let columns = update.channel.chars().count().min(CHANNEL_COLUMNS_MAX);
                self.layout.channel_columns = self.layout.channel_columns.max(columns);
                let line = format::line(&update.channel, update.seq, &update.data, self.layout);
                writeln!(self.out, "{line}")?;
            }
        }
        self.unflushed_since_ns.get_or_insert(clock::now().mono_ns);
        Ok(())
    }

    /// Something about the connection, for people: on stderr, so that a pipe carries updates only.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.hide_rate()?;
        self.flush()?;
        writeln!(io::stderr(), "tickring: {text}")
    }

    /// Writes out what has waited long enough, and renews the rate line.
    pub(super) fn refresh(&mut self, totals: Totals) -> io::Result<()> {
        let now_ns = clock::now().mono_ns;
        let elapsed_ns = now_ns - self.rated_at_ns;
        if self.kind == Kind::Terminal && elapsed_ns >= RATE_NS {
            let updates = totals.updates - self.rated_updates;
            let per_s = u128::from(updates) * 1_000_000_000 / u128::from(elapsed_ns);
            let per_s = u64::try_from(per_s).unwrap_or(u64::MAX);
            self.hide_rate()?;
            let line = format::rate_line(per_s, totals.updates, totals.skipped, &self.place, self.layout);
            write!(self.out, "{line}")?;
            self.rate_shown = true;
            (self.rated_at_ns, self.rated_updates) = (now_ns, totals.updates);
            return self.flush();
        }
        match self.unflushed_since_ns {
            Some(since_ns) if now_ns - since_ns >= FLUSH_NS => self.flush(),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether lines wait to be written; the caller must then come back to `refresh` soon.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed_since_ns.is_some()
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.hide_rate()?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unflushed_since_ns = None;
        self.out.flush()
    }

    fn hide_rate(&mut self) -> io::Result<()> {
        if self.rate_shown {
            self.rate_shown = false;
            // Back to the first column, erase to the end of the line (ECMA-48 EL).
            self.out.write_all(b"\r\x1b[K")?;
        }
        Ok(())
    }
}
