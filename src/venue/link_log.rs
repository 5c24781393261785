//! Lines about venue links that a peer can cause: so many at a time, the rest counted. Home: the venue's thread.

use log::Level;

use crate::model::time::Now;

const INTERVAL_NS: u64 = 10_000_000_000;

/// See the file's head.
#[derive(Debug)]
pub(super) struct LinkLog {
    /// Lines of one interval.
    lines_max: u32,
    until_ns: u64,
    said: u32,
    withheld: u64,
}

impl LinkLog {
    pub(super) const fn new(lines_max: u32) -> LinkLog {
        LinkLog { lines_max, until_ns: 0, said: 0, withheld: 0 }
    }

    /// Writes a line, or counts it.
    pub(super) fn say(&mut self, level: Level, now: Now, line: impl FnOnce() -> String) {
        if let Some(withheld) = self.admit(now.mono_ns) {
            if withheld > 0 {
                log::warn!("venue links: {withheld} lines were withheld");
            }
            log::log!(level, "{}", line());
        }
    }

    /// How many were withheld in the interval before, if a line may be written.
    fn admit(&mut self, now_ns: u64) -> Option<u64> {
        if self.until_ns <= now_ns {
            (self.until_ns, self.said) = (now_ns + INTERVAL_NS, 0);
        }
        if self.said == self.lines_max {
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
        let mut log = LinkLog::new(20);
        let said: Vec<Option<u64>> = (0..22).map(|_| log.admit(5)).collect();
        assert_eq!(said.iter().filter(|line| line.is_some()).count(), 20);
        assert_eq!(said.last(), Some(&None));
        assert_eq!(log.admit(5 + INTERVAL_NS), Some(2));
        assert_eq!(log.admit(5 + INTERVAL_NS), Some(0));
    }
}
