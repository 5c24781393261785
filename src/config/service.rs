//! The `[service]` table: how the process lives and ends. Home: the main thread.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::Range;
use crate::limits;

/// Ten days.
const INTERVAL_S_MAX: u64 = 864_000;

/// What happens at a stop, and what is told meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// From the signal to the process's end, at most.
    pub drain_timeout_s: u32,
    /// Clients are closed over this time.
    pub drain_spread_ms: u32,
    /// Where files of histograms are written; empty for the usual folder.
    pub state_dir: PathBuf,
    /// Between two files of histograms; 0 for none but those that are asked for.
    pub histogram_interval_s: u32,
    /// Between two lines of the log that sum up; 0 for none.
    pub summary_interval_s: u32,
}

impl Default for Service {
    fn default() -> Service {
        Service {
            drain_timeout_s: 10,
            drain_spread_ms: 1_000,
            state_dir: PathBuf::new(),
            histogram_interval_s: 0,
            summary_interval_s: 60,
        }
    }
}

impl Service {
    pub(super) fn ranges(&self) -> [Range; 4] {
        [
            Range {
                key: "service.drain_timeout_s",
                value: self.drain_timeout_s.into(),
                min: 1,
                max: 3600,
                unit: "s",
                hint: "by default 10; keep TimeoutStopSec= of the unit above it",
            },
            Range {
                key: "service.drain_spread_ms",
                value: self.drain_spread_ms.into(),
                min: 0,
                max: u64::from(self.drain_timeout_s) * 1000,
                unit: "ms",
                hint: "0 closes all at once; no more than service.drain_timeout_s",
            },
            Range {
                key: "service.histogram_interval_s",
                value: self.histogram_interval_s.into(),
                min: 0,
                max: INTERVAL_S_MAX,
                unit: "s",
                hint: "0, the default, writes them at SIGUSR1 and at the stop only",
            },
            Range {
                key: "service.summary_interval_s",
                value: self.summary_interval_s.into(),
                min: 0,
                max: INTERVAL_S_MAX,
                unit: "s",
                hint: "by default 60; 0 for no such line",
            },
        ]
    }

    /// The folder for files of histograms, if the configuration or systemd (`STATE_DIRECTORY`) names one.
    #[must_use]
    pub fn named_state_dir(&self, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        if !self.state_dir.as_os_str().is_empty() {
            return Some(self.state_dir.clone());
        }
        // systemd puts colons between several.
        let of_systemd = variable("STATE_DIRECTORY")?;
        of_systemd.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
    }

    /// Where they go that are asked for where none is named: the user's folder of states, as XDG has it.
    #[must_use]
    pub fn usual_state_dir(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        states.as_deref().unwrap_or(Path::new("/var/lib")).join("tickring")
    }

    /// How long a shard's clients may take to go. What is left of the timeout is the venue's, for its links, and the threads'.
    #[must_use]
    pub fn clients_gone_within_ns(&self, close_timeout_ns: u64) -> u64 {
        let usual_ns =
            u64::from(self.drain_spread_ms) * 1_000_000 + close_timeout_ns + limits::STOP_MARGIN_NS;
        let all_ns = u64::from(self.drain_timeout_s) * 1_000_000_000;
        usual_ns.min(all_ns.saturating_sub(limits::LINK_CLOSING_NS).max(all_ns / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_as_long_as_they_need_and_the_timeout_leaves() {
        let within = |drain_timeout_s, drain_spread_ms| {
            Service { drain_timeout_s, drain_spread_ms, ..Service::default() }
                .clients_gone_within_ns(2_000_000_000)
                / 1_000_000
        };
        assert_eq!(within(10, 1_000), 4_000);
        assert_eq!(within(10, 10_000), 9_000);
        assert_eq!(within(1, 0), 500);
    }

    #[test]
    fn files_of_histograms_go_where_the_configuration_systemd_or_the_user_s_home_says() {
        let variables = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let named = |state_dir: &str, set| {
            Service { state_dir: state_dir.into(), ..Service::default() }.named_state_dir(variables(set))
        };
        assert_eq!(named("/a", &[("STATE_DIRECTORY", "/b")]), Some("/a".into()));
        assert_eq!(named("", &[("STATE_DIRECTORY", "/b:/c")]), Some("/b".into()));
        assert_eq!(named("", &[("STATE_DIRECTORY", "")]), None);
        let usual = |set| Service::usual_state_dir(variables(set));
        assert_eq!(usual(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), PathBuf::from("/s/tickring"));
        assert_eq!(
            usual(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]),
            PathBuf::from("/h/.local/state/tickring")
        );
        assert_eq!(usual(&[]), PathBuf::from("/var/lib/tickring"));
    }
}
