//! How backends of calls are that the control thread carries, for operators. PURE.

/// One backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendStatus {
    pub name: Box<str>,
    /// As the configuration has it.
    pub kind: &'static str,
    /// Whether a call would be carried now.
    pub is_up: bool,
    /// Processes or addresses.
    pub members: Vec<BackendMember>,
    pub counters: BackendCounters,
}

/// One process or one address of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendMember {
    /// An address, or a process's place, from 1.
    pub name: Box<str>,
    pub state: &'static str,
    pub under_way: u32,
    /// Of a process that runs.
    pub pid: Option<u32>,
    /// Why the last one ended.
    pub last_reason: Option<Box<str>>,
}

/// What one backend has counted since the gateway started, or since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCounters {
    pub calls_total: u64,
    /// With a result or an error of its own.
    pub answered_total: u64,
    pub failed_total: u64,
    /// Attempts after the first one of a call.
    pub retries_total: u64,
    /// Processes that were started, or connections that were begun.
    pub starts_total: u64,
    /// Processes that ended without being told to.
    pub ends_total: u64,
    /// Lines of processes that are no messages.
    pub garbage_total: u64,
    /// Answers that nobody waited for any more.
    pub late_total: u64,
}

impl BackendStatus {
    /// Calls under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.members.iter().map(|member| u64::from(member.under_way)).sum()
    }

    /// Percent of calls that needed no new process or connection; `None` before the first.
    #[must_use]
    pub fn reuse_percent(&self) -> Option<f64> {
        let BackendCounters { calls_total, starts_total, .. } = self.counters;
        (calls_total > 0).then(|| 100.0 * (1.0 - starts_total as f64 / calls_total as f64).max(0.0))
    }
}
