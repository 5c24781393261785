//! Log lines for what clients did wrong: enough to see who and what, bounded so that no client can fill a disk.
//!
//! Home: one shard. Invariant: of each kind of incident at most one line an interval is written; those in between are
//! counted and told with the next.

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
    pub fn tell(&mut self, conn: ConnId, incident: Incident, now_ns: u64) {
        if let Some(withheld) = self.admit(incident, now_ns) {
            let (label, code) = (incident.label(), incident.code());
            let ConnId { slot, generation } = conn;
            match withheld {
                0 => log::warn!("client {slot}.{generation}: {label}, told {code}"),
                _ => log::warn!(
                    "client {slot}.{generation}: {label}, told {code}; {withheld} more like it before"
                ),
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Closing;

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
