//! What operators read in the log of NATS: when it comes and goes, why it cannot be reached, what it refuses.
//!
//! Home: the thread that speaks to NATS. Invariants: no line for each try: one when all connections are there, one when one of them is not any more, one for each kind of
//! failure until they are there again, and a refusal once a minute at most; texts of NATS are escaped and cut.

use log::Level;

/// A complaint of a connection that goes on, from one to the next at least.
const COMPLAINTS_APART_NS: u64 = 60_000_000_000;
/// Of a text of NATS.
const CHARS_MAX: usize = 200;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Market,
    Lease,
    Sessions,
}

/// One for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    level: Level,
    text: String,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Reports {
    are_up: [bool; 3],
    is_told_up: bool,
    /// Since they were there: that NATS refuses the node, and that it cannot be reached.
    has_told_refusal: bool,
    has_told_failure: bool,
    next_complaint_ns: u64,
}

impl Connection {
    fn index(self) -> usize {
        match self {
            Connection::Market => 0,
            Connection::Lease => 1,
            Connection::Sessions => 2,
        }
    }
}

impl Line {
    fn new(level: Level, text: String) -> Option<Line> {
        Some(Line { level, text })
    }

    pub(super) fn write(&self) {
        log::log!(self.level, "{}", self.text);
    }
}

impl Reports {
    /// Whether all connections are there.
    pub(super) fn are_up(&self) -> bool {
        self.are_up == [true; 3]
    }

    /// A connection is there, or is not any more.
    pub(super) fn connection(&mut self, which: Connection, is_up: bool, server: &str) -> Option<Line> {
        self.are_up[which.index()] = is_up;
        if self.are_up() == self.is_told_up {
            return None;
        }
        self.is_told_up = self.are_up();
        if !self.is_told_up {
            return Line::new(
                Level::Warn,
                "NATS is away: it is tried again until it is back; until then this node tells others nothing, and hears nothing of them"
                    .to_owned(),
            );
        }
        (self.has_told_refusal, self.has_told_failure) = (false, false);
        Line::new(Level::Info, format!("NATS is there: {}", clean(server)))
    }

    /// A try to connect has failed.
    pub(super) fn failed(&mut self, error: &str) -> Option<Line> {
        let lower = error.to_ascii_lowercase();
        let is_refusal =
            ["authorization", "authentication", "signing"].iter().any(|word| lower.contains(word));
        let has_told = if is_refusal { &mut self.has_told_refusal } else { &mut self.has_told_failure };
        if std::mem::replace(has_told, true) {
            return None;
        }
        let error = clean(error);
        let hint = if is_refusal {
            "look at `cluster.credentials` and at the users of nats-server"
        } else {
            "look whether nats-server runs, and at `cluster.servers` and TLS on both sides"
        };
        Line::new(
            Level::Warn,
            format!("NATS does not take this node: {error}; {hint}. It is tried again until it does"),
        )
    }

    /// NATS complains of what it was asked.
    pub(super) fn complained(&mut self, text: &str, now_ns: u64) -> Option<Line> {
        if now_ns < self.next_complaint_ns {
            return None;
        }
        self.next_complaint_ns = now_ns + COMPLAINTS_APART_NS;
        let text = clean(text);
        Line::new(
            Level::Warn,
            format!("NATS complains: {text}; what a node must be permitted stands in docs/scaling/nats.conf"),
        )
    }
}

/// As a log can show it.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_when_all_are_there_and_when_one_is_not_any_more() {
        let mut reports = Reports::default();
        assert_eq!(reports.connection(Connection::Lease, true, "n"), None);
        assert_eq!(reports.connection(Connection::Sessions, true, "n"), None);
        let there = reports.connection(Connection::Market, true, "n").unwrap();
        assert_eq!((there.level, there.text.as_str()), (Level::Info, "NATS is there: n"));
        assert!(reports.connection(Connection::Lease, false, "").unwrap().text.contains("away"));
        assert_eq!(reports.connection(Connection::Market, false, ""), None);
        assert_eq!(reports.connection(Connection::Market, true, "n"), None);
        assert!(reports.connection(Connection::Lease, true, "n").is_some());
    }

    #[test]
    fn each_kind_of_failure_once_until_it_is_there_again() {
        let mut reports = Reports::default();
        assert!(reports.failed("IO error: Connection refused").unwrap().text.contains("cluster.servers"));
        assert_eq!(reports.failed("DNS error"), None);
        let refused = reports.failed("authorization violation").unwrap();
        assert!(refused.text.contains("cluster.credentials"), "{refused:?}");
        assert_eq!(reports.failed("IO error: User Authentication Expired"), None);
        reports.connection(Connection::Market, true, "");
        reports.connection(Connection::Lease, true, "");
        reports.connection(Connection::Sessions, true, "");
        assert!(reports.failed("timed out").is_some());
    }

    #[test]
    fn complaints_are_told_once_a_minute_and_cannot_forge_a_line() {
        let mut reports = Reports::default();
        let told = reports.complained("Permissions Violation\n2026 [INFO] all is well", 5).unwrap();
        assert!(told.text.contains("\\n2026") && !told.text.contains('\n'), "{told:?}");
        assert_eq!(reports.complained("x", COMPLAINTS_APART_NS), None);
        assert!(reports.complained(&"x".repeat(10_000), 5 + COMPLAINTS_APART_NS).unwrap().text.len() < 400);
    }
}
