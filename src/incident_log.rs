//! Log lines for what clients did wrong: enough to see who and what, bounded so that no client can fill a disk.
//!
//! Home: one shard. Invariant: of each kind of incident at most one line an interval is written; those in between are
//! counted and told with the next.

use std::net::SocketAddr;

use crate::hub::Incident;
use crate::model::ids::ConnId;

/// At most one line of a kind in this time.
const INTERVAL_NS: u64 = 1_000_000_000;

/// What has been said of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    /// When the next line may be written.
    due_ns: u64,
    withheld: u64,
}

/// The log of one shard's incidents.
#[derive(Debug)]
pub struct IncidentLog {
    said: [Said; Incident::COUNT],
}

impl Default for IncidentLog {
    fn default() -> IncidentLog {
        IncidentLog { said: [Said::default(); Incident::COUNT] }
    }
}

impl IncidentLog {
    /// Writes a line, or counts it for the next one.
    pub fn tell(&mut self, conn: ConnId, peer: Option<SocketAddr>, incident: Incident, now_ns: u64) {
        if let Some(withheld) = self.admit(incident, now_ns) {
            log::warn!("{}", line(conn, peer, incident, withheld));
        }
    }

    /// How many were withheld since the last line, if a line is due.
    fn admit(&mut self, incident: Incident, now_ns: u64) -> Option<u64> {
        let said = &mut self.said[incident.index()];
        if now_ns < said.due_ns {
            said.withheld += 1;
            return None;
        }
        said.due_ns = now_ns + INTERVAL_NS;
        Some(std::mem::take(&mut said.withheld))
    }
}

/// Who, what, what it was told, and how often it happened unsaid.
fn line(conn: ConnId, peer: Option<SocketAddr>, incident: Incident, withheld: u64) -> String {
    let ConnId { slot, generation } = conn;
    let mut line = format!("client {slot}.{generation}");
    if let Some(peer) = peer {
        line.push_str(&format!(" at {peer}"));
    }
    line.push_str(&format!(": {}", incident.label()));
    if let Some(code) = incident.code() {
        line.push_str(&format!(", told {code}"));
    }
    if withheld > 0 {
        line.push_str(&format!("; {withheld} more like it before"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Closing;

    #[test]
    fn a_line_says_who_what_and_how_often() {
        let conn = ConnId { slot: 3, generation: 9 };
        let peer = "192.0.2.1:5000".parse().ok();
        let idle = Incident::Closed(Closing::Idle);
        assert_eq!(line(conn, peer, idle, 0), "client 3.9 at 192.0.2.1:5000: idle_timeout, told 1000");
        assert_eq!(line(conn, None, Incident::Vanished, 7), "client 3.9: vanished; 7 more like it before");
    }

    #[test]
    fn one_line_of_a_kind_each_interval_and_the_rest_counted() {
        let (idle, rate) = (Incident::Closed(Closing::Idle), Incident::Closed(Closing::MessageRate));
        let mut log = IncidentLog::default();
        assert_eq!(log.admit(idle, 5), Some(0));
        assert_eq!(log.admit(idle, 6), None);
        assert_eq!(log.admit(idle, 7), None);
        assert_eq!(log.admit(rate, 7), Some(0));
        assert_eq!(log.admit(idle, 5 + INTERVAL_NS), Some(2));
        assert_eq!(log.admit(idle, 6 + INTERVAL_NS), None);
    }
}
