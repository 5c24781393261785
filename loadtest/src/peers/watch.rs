//! The server's process and the host, looked at through /proc beside a run. Home: the load thread.

use std::fs;

use crate::clock;
use crate::failure::{Doing, Failure, Result};
use crate::outcome::{Second, ServerUse};
use crate::scenarios::ratio;
use crate::server::{CpuClock, Server};

/// What a process and its host have used so far.
pub(crate) struct Look {
    at_ns: u64,
    cpu: CpuClock,
    switches: Switches,
    /// Of all cores, in clock ticks: stolen and all there was.
    steal: Option<(u64, u64)>,
}

/// What was used between two looks.
pub(crate) struct Used {
    pub(crate) elapsed_ns: u64,
    pub(crate) server: ServerUse,
    pub(crate) steal_share: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

impl Look {
    pub(crate) fn at(server: &Server) -> Result<Look> {
        Ok(Look {
            cpu: server.cpu_clock()?,
            switches: switches_of(server.pid()),
            steal: fs::read_to_string("/proc/stat").ok().and_then(|stat| parse_steal(&stat)),
            at_ns: clock::mono_ns(),
        })
    }

    /// What was used since; `resident_before_bytes` is of a time before the first connection.
    pub(crate) fn until_now(&self, server: &Server, resident_before_bytes: u64) -> Result<Used> {
        let now = Look::at(server)?;
        let elapsed_ns = now.at_ns - self.at_ns;
        let cpu = now.cpu.since(&self.cpu);
        let steal = self.steal.zip(now.steal);
        Ok(Used {
            elapsed_ns,
            server: ServerUse {
                cpu_ns: cpu.running_ns,
                busiest_thread_share: ratio(cpu.busiest_ns, elapsed_ns.max(1)),
                resident_peak_bytes: resident_peak_bytes(server.pid())?,
                resident_before_bytes,
                voluntary_switches: now.switches.voluntary.saturating_sub(self.switches.voluntary),
                involuntary_switches: now.switches.involuntary.saturating_sub(self.switches.involuntary),
            },
            steal_share: steal.map(|(before, after)| {
                ratio(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1).max(1))
            }),
        })
    }
}

/// Takes note of each second of a run.
pub(crate) struct Seconds {
    began_ns: u64,
    next_ns: u64,
    cpu: CpuClock,
    before: (u64, u64),
    pub(crate) seconds: Vec<Second>,
}

impl Seconds {
    /// From now on; `sent` and `received` are what was counted before.
    pub(crate) fn begin(server: &Server, sent: u64, received: u64) -> Result<Seconds> {
        let began_ns = clock::mono_ns();
        Ok(Seconds {
            began_ns,
            next_ns: began_ns + clock::SECOND_NS,
            cpu: server.cpu_clock()?,
            before: (sent, received),
            seconds: Vec::new(),
        })
    }

    /// Closes the current second if it is over, or if the run is.
    pub(crate) fn look(
        &mut self,
        now_ns: u64,
        is_end: bool,
        server: &Server,
        count: (u64, u64, usize),
    ) -> Result<()> {
        let since_ns = self.next_ns - clock::SECOND_NS;
        if now_ns < self.next_ns && !(is_end && since_ns < now_ns) {
            return Ok(());
        }
        let (sent, received, connections) = count;
        let cpu = server.cpu_clock()?;
        self.seconds.push(Second {
            at_ms: (now_ns - self.began_ns) / clock::MILLISECOND_NS,
            connections: connections as u64,
            sent: sent - self.before.0,
            received: received - self.before.1,
            server_cpu_cores: Some(ratio(cpu.since(&self.cpu).running_ns, now_ns - since_ns)),
            server_resident_bytes: Some(server.resident_bytes()?),
            ..Second::default()
        });
        (self.cpu, self.before) = (cpu, (sent, received));
        self.next_ns = now_ns + clock::SECOND_NS;
        Ok(())
    }
}

/// The most that was ever resident, from VmHWM of /proc/PID/status.
fn resident_peak_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).doing("read the server's status")?;
    field(&status, "VmHWM:")
        .map(|kib| kib * 1024)
        .ok_or_else(|| Failure::Protocol("no VmHWM in /proc/PID/status".to_owned()))
}

/// Of all its threads that are there now.
fn switches_of(pid: u32) -> Switches {
    let mut switches = Switches::default();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return switches };
    for task in tasks.map_while(std::io::Result::ok) {
        // A thread may end between the listing and the reading.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        switches.voluntary += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
        switches.involuntary += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or_default();
    }
    switches
}

/// The number behind `key` at the begin of a line.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Stolen ticks and all ticks of the first line of /proc/stat.
fn parse_steal(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is counted in user already.
    Some((*fields.get(7)?, fields.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_formats_of_proc() {
        assert_eq!(parse_steal("cpu  10 0 5 80 1 0 2 2 7 0\ncpu0 1 2\n"), Some((2, 100)));
        assert_eq!(parse_steal("cpu  10 0 5\n"), None);
        let status = "VmHWM:\t  12 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), Some(3));
        assert_eq!(field(status, "VmHWM:"), Some(12));
        assert_eq!(field(status, "VmRSS:"), None);
    }
}
