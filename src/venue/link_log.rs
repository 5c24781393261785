//! Lines about venue links that a peer can cause: so many at a time, the rest counted. Home: the venue's thread.

use crate::model::time::Now;

/// Lines of one interval.
const LINES_MAX: u32 = 20;
const INTERVAL_NS: u64 = 10_000_000_000;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct LinkLog {
    until_ns: u64,
    said: u32,
    withheld: u64,
}

impl LinkLog {
    /// Writes a line, or counts it.
    pub(super) fn warn(&mut self, now: Now, line: impl FnOnce() -> String) {
        if let Some(withheld) = self.admit(now.mono_ns) {
            if withheld > 0 {
                log::warn!("venue links: {withheld} lines were withheld");
            }
            log::warn!("{}", line());
        }
    }

    /// How many were withheld in the interval before, if a line may be written.
    fn admit(&mut self, now_ns: u64) -> Option<u64> {
        if self.until_ns <= now_ns {
            (self.until_ns, self.said) = (now_ns + INTERVAL_NS, 0);
        }
        if self.said == LINES_MAX {
            self.withheld += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_so_many_lines_in_an_interval_and_counts_the_rest() {
        let mut log = LinkLog::default();
        let said: Vec<Option<u64>> = (0..LINES_MAX + 2).map(|_| log.admit(5)).collect();
        assert_eq!(said.iter().filter(|line| line.is_some()).count(), LINES_MAX as usize);
        assert_eq!(said.last(), Some(&None));
        assert_eq!(log.admit(5 + INTERVAL_NS), Some(2));
        assert_eq!(log.admit(5 + INTERVAL_NS), Some(0));
    }
}
