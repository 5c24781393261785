//! How backends of calls are, those that the control thread carries and those that shards have links to, for operators. PURE.

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
    /// Arrays of calls that were sent.
    pub batches_total: u64,
    /// Processes that were started, or connections that were begun.
    pub starts_total: u64,
    /// Processes that ended without being told to.
    pub ends_total: u64,
    /// Lines of processes that are no messages.
    pub garbage_total: u64,
    /// Answers that nobody waited for any more.
    pub late_total: u64,
    /// Times when it said that results of its methods hold no more; what came too fast was put together and is one.
    pub invalidations_total: u64,
}

/// What the control thread tells of its own, and each shard of those that it has links to: a backend of several shards once, with what they
/// have counted together. It is up, and an address of it, where that is so on each of them.
#[must_use]
pub fn merged_backends<'a>(
    of_control: &[BackendStatus],
    of_shards: impl Iterator<Item = &'a [BackendStatus]>,
) -> Vec<BackendStatus> {
    let mut all = of_control.to_vec();
    for told in of_shards.flatten() {
        match all.iter_mut().find(|known| known.name == told.name && known.kind == told.kind) {
            Some(known) => known.add(told),
            None => all.push(told.clone()),
        }
    }
    all
}

impl BackendStatus {
    fn add(&mut self, told: &BackendStatus) {
        self.is_up &= told.is_up;
        self.counters.add(&told.counters);
        for member in &told.members {
            let Some(known) = self.members.iter_mut().find(|known| known.name == member.name) else {
                self.members.push(member.clone());
                continue;
            };
            known.under_way += member.under_way;
            if known.state == "up" {
                known.state = member.state;
            }
        }
    }

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

impl BackendCounters {
    fn add(&mut self, told: &BackendCounters) {
        let BackendCounters {
            calls_total,
            answered_total,
            failed_total,
            retries_total,
            batches_total,
            starts_total,
            ends_total,
            garbage_total,
            late_total,
            invalidations_total,
        } = told;
        self.calls_total += calls_total;
        self.answered_total += answered_total;
        self.failed_total += failed_total;
        self.retries_total += retries_total;
        self.batches_total += batches_total;
        self.starts_total += starts_total;
        self.ends_total += ends_total;
        self.garbage_total += garbage_total;
        self.late_total += late_total;
        self.invalidations_total += invalidations_total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, is_up: bool, states: [&'static str; 2], calls_total: u64) -> BackendStatus {
        let member = |(nth, state)| BackendMember {
            name: format!("{nth}").into(),
            state,
            under_way: 2,
            ..BackendMember::default()
        };
        BackendStatus {
            name: name.into(),
            kind: "tcp",
            is_up,
            members: (0..).zip(states).map(member).collect(),
            counters: BackendCounters { calls_total, starts_total: 1, ..BackendCounters::default() },
        }
    }

    #[test]
    fn a_backend_of_several_shards_is_one_that_is_up_where_each_has_it() {
        let shards = [
            vec![status("risk", true, ["up", "up"], 100)],
            vec![status("risk", false, ["down", "up"], 50), status("other", true, ["up", "up"], 1)],
        ];
        let all = merged_backends(&[status("own", true, ["up", "up"], 7)], shards.iter().map(Vec::as_slice));
        let told: Vec<_> = all.iter().map(|one| (&*one.name, one.is_up, one.counters.calls_total)).collect();
        assert_eq!(told, [("own", true, 7), ("risk", false, 150), ("other", true, 1)]);
        let members: Vec<_> = all[1].members.iter().map(|member| (member.state, member.under_way)).collect();
        assert_eq!((members, all[1].under_way()), (vec![("down", 4), ("up", 4)], 8));
        assert!(all[1].reuse_percent().is_some_and(|percent| (98.0..99.0).contains(&percent)));
    }
}
