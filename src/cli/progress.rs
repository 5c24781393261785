//! How far a command is: a bar that is drawn over on a terminal, plain lines elsewhere. On stderr, so that what is printed stays clean.
//! Home: the command's thread.

use std::io::{self, IsTerminal, Write};

use crate::clock;

/// How often the bar is drawn anew.
const DRAW_NS: u64 = 100_000_000;
/// How often a line is written where there is no terminal.
const LINE_NS: u64 = 5_000_000_000;
const BAR_COLUMNS: usize = 30;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    is_terminal: bool,
    due_ns: u64,
    has_drawn: bool,
}

impl Progress {
    /// Of a command that does this: `reading`.
    pub(super) fn new(what: &'static str) -> Progress {
        let is_terminal = io::stderr().is_terminal();
        let distance_ns = if is_terminal { 0 } else { LINE_NS };
        Progress { what, is_terminal, due_ns: clock::now().mono_ns + distance_ns, has_drawn: false }
    }

    /// So many are done, of so many; 0 where that is not known.
    pub(super) fn note(&mut self, done: u64, total: u64) {
        let now_ns = clock::now().mono_ns;
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = now_ns + if self.is_terminal { DRAW_NS } else { LINE_NS };
        self.has_drawn = true;
        let text = shown(self.what, done, total, self.is_terminal);
        // Nobody reads it: that is no fault of what is done.
        let _ = if self.is_terminal {
            write!(io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if self.is_terminal && self.has_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn shown(what: &str, done: u64, total: u64, is_terminal: bool) -> String {
    if total == 0 {
        return format!("{what}: {done}");
    }
    let done = done.min(total);
    let percent = done * 100 / total;
    if !is_terminal {
        return format!("{what}: {done} of {total} entries, {percent} %");
    }
    let full =
        usize::try_from(u128::from(done) * BAR_COLUMNS as u128 / u128::from(total)).unwrap_or(BAR_COLUMNS);
    format!(
        "{what} [{}{}] {percent:3} % of {total} entries",
        "#".repeat(full),
        "-".repeat(BAR_COLUMNS - full)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_bar_and_a_pipe_a_line() {
        let bar = format!("reading [{}{}]  50 % of 200 entries", "#".repeat(15), "-".repeat(15));
        assert_eq!(shown("reading", 100, 200, true), bar);
        assert_eq!(shown("reading", 100, 200, false), "reading: 100 of 200 entries, 50 %");
        assert_eq!(shown("reading", 7, 0, false), "reading: 7");
        assert!(shown("reading", 9, 3, true).contains("100 % of 3"));
    }
}
