//! All that the proof rests on, as it is written as JSON: each part with the time and the commit of its own measurement. PURE.
//! Invariants: a part that is measured again takes the place of its last measurement, whole; figures of different measurements
//! are in one record, never in one comparison.

use serde::{Deserialize, Serialize};

use crate::outcome::{Host, Tool};
use crate::peers::record::{OURS, Record};
use crate::proof::part::Part;
use crate::report::Comparison;

/// The version of the JSON form; a reader refuses another.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) format: u32,
    /// In the order of [`Part::ALL`].
    pub(crate) parts: Vec<Measured>,
    /// Cases beside peers, those of one measurement together; no case in two.
    pub(crate) peers: Vec<Record>,
}

/// One part's measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) part: Part,
    pub(crate) host: Host,
    pub(crate) tool: Tool,
    /// What the server says of itself.
    pub(crate) server: Option<String>,
    pub(crate) began_unix_s: u64,
    pub(crate) took_s: u64,
    pub(crate) pairs: usize,
    pub(crate) warmup_ms: u64,
    pub(crate) measured_ms: u64,
    pub(crate) comparisons: Vec<Comparison>,
    /// Why there are none.
    pub(crate) not_run: Option<String>,
}

impl Default for Proof {
    fn default() -> Proof {
        Proof { format: FORMAT, parts: Vec::new(), peers: Vec::new() }
    }
}

impl Proof {
    pub(crate) fn take(&mut self, measured: Measured) {
        self.parts.retain(|other| other.part != measured.part);
        self.parts.push(measured);
        self.parts.sort_by_key(|measured| measured.part);
    }

    /// Its cases take the place of what older measurements have of them.
    pub(crate) fn take_peers(&mut self, record: Record) {
        let is_new = |name: &str| record.cases.iter().any(|case| case.name == name);
        for older in &mut self.peers {
            older.cases.retain(|case| !is_new(&case.name));
            older.turns.retain(|turn| !is_new(&turn.case));
        }
        self.peers.push(record);
        self.peers.retain(|record| !record.cases.is_empty());
    }

    pub(crate) fn part(&self, part: Part) -> Option<&Measured> {
        self.parts.iter().find(|measured| measured.part == part)
    }

    /// The measurement that has a case.
    pub(crate) fn case(&self, name: &str) -> Option<&Record> {
        self.peers.iter().find(|record| record.cases.iter().any(|case| case.name == name))
    }
}

impl Measured {
    /// The commit that the server was built from, as it says itself, or that of this program.
    pub(crate) fn commit(&self) -> &str {
        commit_of(self.server.as_deref(), &self.tool)
    }
}

/// As [`Measured::commit`], for cases beside peers.
pub(crate) fn commit_beside_peers(record: &Record) -> &str {
    let ours = record.contenders.iter().find(|told| told.name == OURS);
    commit_of(ours.and_then(|told| told.version.as_deref()), &record.tool)
}

fn commit_of<'a>(server: Option<&'a str>, tool: &'a Tool) -> &'a str {
    let said = server.and_then(|said| said.split_once("(commit ")?.1.split([',', ')']).next());
    said.or(tool.commit.as_deref()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Tool {
        Tool { version: String::new(), commit: Some("abc".to_owned()), arguments: Vec::new() }
    }

    #[test]
    fn the_commit_is_the_server_s_own_where_it_says_one() {
        let said = Some("0.1.0 (commit d7615a19d837, features: runtime)");
        assert_eq!(commit_of(said, &tool()), "d7615a19d837");
        assert_eq!(commit_of(Some("0.1.0"), &tool()), "abc");
        assert_eq!(commit_of(None, &Tool { commit: None, ..tool() }), "unknown");
    }
}
