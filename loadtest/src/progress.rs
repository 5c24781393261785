//! One line on a terminal that says how far a long run is, written over again; nothing at all in a pipe.
//! Home: the load thread. Invariant: written to stderr and at most a few times a second, so that it costs no measurement.

use std::io::{IsTerminal, Write};

use crate::clock::{self, MILLISECOND_NS};

const INTERVAL_NS: u64 = 250 * MILLISECOND_NS;

pub(crate) struct Progress {
    is_shown: bool,
    next_ns: u64,
    columns: usize,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { is_shown: std::io::stderr().is_terminal(), next_ns: 0, columns: 0 }
    }

    /// Shows what `line` says, if somebody looks and the last line is old enough.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        if !self.is_shown {
            return;
        }
        let now_ns = clock::mono_ns();
        if self.next_ns <= now_ns {
            self.next_ns = now_ns + INTERVAL_NS;
            self.write(&line());
        }
    }

    fn write(&mut self, line: &str) {
        let width = self.columns;
        self.columns = line.chars().count();
        let mut stderr = std::io::stderr();
        // Progress that can't be shown is no reason to stop.
        let _ = write!(stderr, "\r{line:<width$}").and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if 0 < self.columns {
            self.write("");
            let _ = write!(std::io::stderr(), "\r");
        }
    }
}
