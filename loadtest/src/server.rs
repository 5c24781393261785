//! A process under test: start, address, CPU, memory, stop. Home: the load thread.
//! Invariants: the process runs on the server's cores only; it is stopped by its own pid on every way out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};

/// The longest wait for a server's address line.
const START_DEADLINE_NS: u64 = 10 * SECOND_NS;
/// The longest wait for a server to end after SIGTERM; then it is killed.
const STOP_DEADLINE_NS: u64 = 8 * SECOND_NS;

/// How to start a server: program and arguments.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// The cores that the whole process may use.
    pub(crate) cpus: Vec<usize>,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From spawn to the line with the address.
    pub(crate) started_in_ns: u64,
}

/// CPU time of a process so far, in nanoseconds, by thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuClock(BTreeMap<u32, ThreadClock>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ThreadClock {
    running_ns: u64,
    waiting_ns: u64,
}

/// What a process used between two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuUse {
    /// On a core, all threads together.
    pub(crate) running_ns: u64,
    /// The busiest thread: on a core or ready and waiting for one.
    pub(crate) busiest_ns: u64,
}

/// Pins this thread (and what it starts from now on) to `cpus`.
pub(crate) fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).doing("a CPU number")?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).doing("sched_setaffinity")
}

impl Server {
    /// Starts it on its cores and waits for its address line; this thread goes back to `cpu_client`.
    pub(crate) fn start(launch: &Launch, cpu_client: usize) -> Result<Server> {
        let spawned_ns = clock::mono_ns();
        pin(&launch.cpus)?;
        let spawned = Command::new(&launch.program)
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start the server");
        pin(&[cpu_client])?;
        let mut child = spawned?;
        let stdout = child.stdout.take().expect("invariant: stdout is piped");
        let (lines, addresses) = mpsc::channel();
        // Reads to the end, so that a talkative server never blocks on a full pipe; ends with the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if let Some(address) = address_of(&line) {
                    // Nobody listens for a second address; the first one is all that counts.
                    let _ = lines.send(address);
                }
            }
        });
        let mut server = Server { child, address: ([0, 0, 0, 0], 0).into(), started_in_ns: 0 };
        match addresses.recv_timeout(Duration::from_nanos(START_DEADLINE_NS)) {
            Ok(address) => server.address = address,
            Err(_) => {
                return Err(Failure::Deadline(format!("an address line (ws://…) from {}", launch.program)));
            }
        }
        server.started_in_ns = clock::mono_ns() - spawned_ns;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads, from /proc/PID/task/TID/schedstat.
    pub(crate) fn cpu_clock(&self) -> Result<CpuClock> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).doing("read the server's threads")?;
        let mut clock = CpuClock::default();
        for task in tasks.map_while(std::io::Result::ok) {
            let Some(tid) = task.file_name().to_str().and_then(|tid| tid.parse().ok()) else { continue };
            // A thread may end between the listing and the reading; its time is then lost to both clocks.
            if let Some(thread) =
                fs::read_to_string(task.path().join("schedstat")).ok().and_then(|stat| parse_schedstat(&stat))
            {
                clock.0.insert(tid, thread);
            }
        }
        Ok(clock)
    }

    /// Resident memory, from VmRSS of /proc/PID/status.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).doing("read the server's status")?;
        parse_vm_rss(&status).ok_or_else(|| Failure::Protocol("no VmRSS in /proc/PID/status".to_owned()))
    }

    /// Asks it to end (SIGTERM), without waiting.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.pid()).expect("invariant: Linux pids fit in 31 bits");
        kill(Pid::from_raw(pid), Signal::SIGTERM).doing("SIGTERM")
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // It may end by itself between the two calls; both then fail harmlessly, and `wait` reaps it.
        let _ = self.terminate();
        let deadline_ns = clock::mono_ns() + STOP_DEADLINE_NS;
        while !self.has_ended() && clock::mono_ns() < deadline_ns {
            sleep_ns(5 * MILLISECOND_NS);
        }
        if !self.has_ended() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Sleeps outside a measurement.
#[expect(
    clippy::disallowed_methods,
    reason = "the load generator is no shard: between measurements it may sleep"
)]
pub(crate) fn sleep_ns(sleep_ns: u64) {
    std::thread::sleep(Duration::from_nanos(sleep_ns));
}

impl CpuClock {
    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &CpuClock) -> CpuUse {
        let mut used = CpuUse { running_ns: 0, busiest_ns: 0 };
        for (tid, thread) in &self.0 {
            let before = earlier.0.get(tid).copied().unwrap_or_default();
            let running_ns = thread.running_ns.saturating_sub(before.running_ns);
            let waiting_ns = thread.waiting_ns.saturating_sub(before.waiting_ns);
            used.running_ns += running_ns;
            used.busiest_ns = used.busiest_ns.max(running_ns + waiting_ns);
        }
        used
    }
}

/// The address in a line that holds `ws://IP:PORT…`.
fn address_of(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("ws://")?;
    rest.split(|byte: char| byte == '/' || byte.is_whitespace()).next()?.parse().ok()
}

fn parse_schedstat(stat: &str) -> Option<ThreadClock> {
    let mut fields = stat.split_whitespace().map_while(|field| field.parse().ok());
    Some(ThreadClock { running_ns: fields.next()?, waiting_ns: fields.next()? })
}

fn parse_vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_wherever_the_line_has_it() {
        let address = Some("127.0.0.1:40001".parse().unwrap());
        assert_eq!(address_of("ws://127.0.0.1:40001/ws"), address);
        assert_eq!(address_of("serving paper on ws://127.0.0.1:40001/ws (2 shards)"), address);
        assert_eq!(address_of("listening on 127.0.0.1:40001"), None);
    }

    #[test]
    fn cpu_use_sums_the_threads_and_names_the_busiest() {
        let thread = |running_ns, waiting_ns| ThreadClock { running_ns, waiting_ns };
        let before = CpuClock([(1, thread(10, 0)), (2, thread(0, 5))].into());
        let after = CpuClock([(1, thread(30, 0)), (2, thread(5, 45)), (3, thread(1, 0))].into());
        assert_eq!(after.since(&before), CpuUse { running_ns: 26, busiest_ns: 45 });
    }

    #[test]
    fn reads_the_formats_of_proc() {
        assert_eq!(
            parse_schedstat("76564 46669 2\n"),
            Some(ThreadClock { running_ns: 76_564, waiting_ns: 46_669 })
        );
        assert_eq!(parse_vm_rss("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(parse_vm_rss("Name:\tx\n"), None);
    }
}
