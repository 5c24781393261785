//! A process under test: start, address, CPU, memory, descriptors, stop. Home: the load thread.
//! Invariants: the process runs on the server's cores only; it is stopped by its own pid on every way out, and by the kernel
//! where this program is ended by a signal.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::secure::{Security, Target};

/// The longest wait for a server's address line.
const START_DEADLINE_NS: u64 = 10 * SECOND_NS;
/// The longest wait for a server to end after SIGTERM; then it is killed.
const STOP_DEADLINE_NS: u64 = 8 * SECOND_NS;
/// Looks at a ring, a millisecond apart, before it counts as one that is not shown.
const RING_LOOKS_MAX: usize = 1_000;
/// What a shard's last line in the log holds.
const REPORT: &str = "ShardReport {";
/// Lines of a log that are kept beside the reports.
const LAST_LINES: usize = 4;
/// Bytes of a log that are read: a server that writes more than this has no bound on what it logs.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// What it has in its environment beside what we have.
    pub(crate) environment: Vec<(String, String)>,
    /// The cores that the whole process may use.
    pub(crate) cpus: Vec<usize>,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    security: Security,
    /// Where it answers operators, if it says so in the same line.
    control: Option<SocketAddr>,
    /// From spawn to the line with the address.
    pub(crate) started_in_ns: u64,
    log: Option<JoinHandle<Log>>,
}

/// What becomes of a server's log, its stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logging {
    /// It goes where ours goes.
    Through,
    /// It is read to its end, at the level at which a server tells what it did.
    Kept,
}

/// A server's log in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) lines: u64,
    /// What each shard did, told at its end.
    pub(crate) reports: Vec<String>,
    /// The last lines that are no report: where a server says why it ended.
    last: Vec<String>,
}

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) resident_bytes: u64,
    pub(crate) resident_peak_bytes: u64,
    /// Open files of the process.
    pub(crate) descriptors: u64,
    /// Sockets that its rings hold beside these (direct descriptors).
    pub(crate) ring_sockets: u64,
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

/// What a program says of itself when it is run with `arguments`; `None` where it says nothing.
pub(crate) fn version(program: &str, arguments: &[String]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|said| !said.is_empty())
}

/// What tickring says of itself.
pub(crate) fn own_version(program: &str) -> Option<String> {
    let said = version(program, &["--version".to_owned()])?;
    Some(said.trim_start_matches("tickring").trim().to_owned())
}

/// This program, which becomes the server once it has seen to it that the server ends with us ([`attend`]).
fn attended(launch: &Launch) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().doing("find this program")?);
    command.arg("attend").arg(std::process::id().to_string()).arg("--");
    command.arg(&launch.program).args(&launch.arguments);
    Ok(command)
}

/// Becomes `command`, which gets SIGTERM when the thread that started this process ends, however it ends: the kernel keeps that
/// over `execve`. `parent` is the process of that thread.
pub(crate) fn attend(parent: u32, command: &[String]) -> Result<Infallible> {
    set_pdeathsig(Signal::SIGTERM).doing("PR_SET_PDEATHSIG")?;
    if u32::try_from(getppid().as_raw()) != Ok(parent) {
        return Err(Failure::Unmet("who asked for a server has ended".to_owned()));
    }
    let [program, arguments @ ..] = command else {
        return Err(Failure::Unmet("no server to become".to_owned()));
    };
    Err(Failure::Unreachable(format!("{program}: {}", Command::new(program).args(arguments).exec())))
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
        Server::start_with(launch, cpu_client, Logging::Through)
    }

    /// Starts it so that [`Server::stop`] can tell what it did.
    pub(crate) fn start_kept(launch: &Launch, cpu_client: usize) -> Result<Server> {
        Server::start_with(launch, cpu_client, Logging::Kept)
    }

    fn start_with(launch: &Launch, cpu_client: usize, logging: Logging) -> Result<Server> {
        let spawned_ns = clock::mono_ns();
        let mut command = attended(launch)?;
        command.envs(launch.environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped());
        if logging == Logging::Kept {
            command.env("RUST_LOG", "info,tickring::report=debug").stderr(Stdio::piped());
        }
        pin(&launch.cpus)?;
        let spawned = command.spawn().doing("start the server");
        pin(&[cpu_client])?;
        let mut child = spawned?;
        let log = child.stderr.take().map(|stderr| std::thread::spawn(move || Log::read(stderr)));
        let stdout = child.stdout.take().expect("invariant: stdout is piped");
        let (lines, heard) = mpsc::channel();
        // Reads to the end, so that a talkative server never blocks on a full pipe; ends with the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if let Some(target) = target_of(&line) {
                    // Nobody listens for a second address; the first one is all that counts.
                    let _ = lines.send((target, control_of(&line)));
                }
            }
        });
        let nowhere = ([0, 0, 0, 0], 0).into();
        let mut server = Server {
            child,
            address: nowhere,
            security: Security::Plain,
            control: None,
            started_in_ns: 0,
            log,
        };
        match heard.recv_timeout(Duration::from_nanos(START_DEADLINE_NS)) {
            Ok((target, control)) => {
                Target { address: server.address, security: server.security } = target;
                server.control = control;
            }
            Err(_) => {
                return Err(Failure::Deadline(format!("an address line (ws://…) from {}", launch.program)));
            }
        }
        server.started_in_ns = clock::mono_ns() - spawned_ns;
        Ok(server)
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, security: self.security }
    }

    /// Where it answers operators.
    pub(crate) fn control(&self) -> Result<SocketAddr> {
        self.control.ok_or_else(|| Failure::Protocol("no address of the operators' port".to_owned()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads, from /proc/PID/task/TID/schedstat.
    pub(crate) fn cpu_clock(&self) -> Result<CpuClock> {
        CpuClock::of(self.pid())
    }

    /// Resident memory, from VmRSS of /proc/PID/status.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).doing("read the server's status")?;
        parse_kib(&status, "VmRSS:")
            .ok_or_else(|| Failure::Protocol("no VmRSS in /proc/PID/status".to_owned()))
    }

    /// What it holds: /proc/PID/status, /proc/PID/fd and, for its rings' own tables, /proc/PID/fdinfo.
    pub(crate) fn footprint(&self) -> Result<Footprint> {
        let process = format!("/proc/{}", self.pid());
        let status = fs::read_to_string(format!("{process}/status")).doing("read the server's status")?;
        let memory = parse_kib(&status, "VmRSS:").zip(parse_kib(&status, "VmHWM:"));
        let (resident_bytes, resident_peak_bytes) =
            memory.ok_or_else(|| Failure::Protocol("no VmRSS and VmHWM in /proc/PID/status".to_owned()))?;
        let (mut descriptors, mut ring_sockets) = (0, 0);
        for file in fs::read_dir(format!("{process}/fdinfo")).doing("read the server's descriptors")? {
            let file = file.doing("read the server's descriptors")?;
            descriptors += 1;
            let name = file.file_name();
            // It may be closed between the listing and the look.
            let target =
                fs::read_link(format!("{process}/fd/{}", name.to_string_lossy())).unwrap_or_default();
            if target.as_os_str() == "anon_inode:[io_uring]" {
                ring_sockets += ring_sockets_of(&file.path())?;
            }
        }
        Ok(Footprint { resident_bytes, resident_peak_bytes, descriptors, ring_sockets })
    }

    /// Ends it (SIGTERM) and returns its log; one that was started by [`Server::start`] kept none.
    pub(crate) fn stop(mut self) -> Result<Log> {
        self.terminate()?;
        let deadline_ns = clock::mono_ns() + STOP_DEADLINE_NS;
        let ended = loop {
            if let Some(status) = self.child.try_wait().doing("wait for the server")? {
                break status;
            }
            if deadline_ns < clock::mono_ns() {
                return Err(Failure::Deadline("the server's end after SIGTERM".to_owned()));
            }
            sleep_ns(5 * MILLISECOND_NS);
        };
        let log = self.take_log();
        if !ended.success() {
            return Err(Failure::Protocol(format!(
                "the server ended with {ended}: {}",
                log.last.join(" | ")
            )));
        }
        Ok(log)
    }

    /// Why it is gone, where it is: a run that fails is told the server's own last words.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        if !self.has_ended() {
            return None;
        }
        Some(self.take_log().last.join(" | "))
    }

    fn take_log(&mut self) -> Log {
        let reader = self.log.take();
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    }

    /// Ends it without a word to it (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().doing("SIGKILL")?;
        self.child.wait().doing("wait for the server").map(drop)
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
    /// Of a process, from /proc/PID/task/TID/schedstat.
    pub(crate) fn of(pid: u32) -> Result<CpuClock> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).doing("read the server's threads")?;
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

/// Sockets in a ring's own table, as its fdinfo lists them: `0: socket:[123]`.
fn ring_sockets_of(fdinfo: &Path) -> Result<u64> {
    for _ in 0..RING_LOOKS_MAX {
        let shown = fs::read_to_string(fdinfo).doing("read a ring's fdinfo")?;
        // The kernel shows nothing of a ring that is just being entered.
        if shown.contains("UserFiles:") {
            return Ok(shown.lines().filter(|line| line.contains(": socket:[")).count() as u64);
        }
        sleep_ns(MILLISECOND_NS);
    }
    Err(Failure::Unmet("the kernel does not show what the server's rings hold".to_owned()))
}

/// The address in a line that holds `ws://IP:PORT…`, `wss://IP:PORT…` or `tcp://IP:PORT`.
fn target_of(line: &str) -> Option<Target> {
    let schemes = [("ws://", Security::Plain), ("wss://", Security::Tls), ("tcp://", Security::PlainTcp)];
    let (rest, security) =
        schemes.into_iter().find_map(|(scheme, security)| Some((line.split_once(scheme)?.1, security)))?;
    let address = rest.split(|byte: char| byte == '/' || byte.is_whitespace()).next()?.parse().ok()?;
    Some(Target { address, security })
}

/// The address behind `control on http://`.
fn control_of(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("control on http://")?;
    rest.split(|byte: char| matches!(byte, ',' | ';' | '/') || byte.is_whitespace()).next()?.parse().ok()
}

fn parse_schedstat(stat: &str) -> Option<ThreadClock> {
    let mut fields = stat.split_whitespace().map_while(|field| field.parse().ok());
    Some(ThreadClock { running_ns: fields.next()?, waiting_ns: fields.next()? })
}

impl Log {
    fn read(stderr: ChildStderr) -> Log {
        let mut log = Log::default();
        for line in BufReader::new(stderr.take(LOG_BYTES_MAX)).lines().map_while(std::io::Result::ok) {
            log.take(line);
        }
        log
    }

    fn take(&mut self, line: String) {
        self.lines += 1;
        if line.contains(REPORT) {
            self.reports.push(line);
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.remove(0);
        }
        self.last.push(line);
    }

    /// A number that each shard's report has, by its name there.
    pub(crate) fn reported(&self, name: &str) -> Result<Vec<u64>> {
        let number = |report: &String| number_named(report, name);
        let numbers: Vec<u64> = self.reports.iter().filter_map(number).collect();
        if numbers.is_empty() || numbers.len() < self.reports.len() {
            return Err(Failure::Unmet(format!("the server's report at its end does not say {name}")));
        }
        Ok(numbers)
    }
}

/// The number behind `name: ` in a report of the form `Report { name: 1, … }`.
fn number_named(report: &str, name: &str) -> Option<u64> {
    let fields = report.split(['{', ',', '}']);
    let mut values = fields.filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix(": "));
    values.next()?.parse().ok()
}

pub(crate) fn parse_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_wherever_the_line_has_it() {
        let plain = Target { address: "127.0.0.1:40001".parse().unwrap(), security: Security::Plain };
        assert_eq!(target_of("ws://127.0.0.1:40001/ws"), Some(plain));
        assert_eq!(target_of("serving paper on ws://127.0.0.1:40001/ws (2 shards)"), Some(plain));
        let secure = Target { security: Security::Tls, ..plain };
        let tcp = Target { security: Security::PlainTcp, ..plain };
        assert_eq!(target_of("serves tcp://127.0.0.1:40001 on"), Some(tcp));
        assert_eq!(target_of("serves wss://127.0.0.1:40001/ws on"), Some(secure));
        assert_eq!(target_of("listening on 127.0.0.1:40001"), None);
        let control = Some("127.0.0.1:40002".parse().unwrap());
        for line in [
            "; control on http://127.0.0.1:40002",
            "; control on http://127.0.0.1:40002; MCP on http://a/mcp",
        ] {
            assert_eq!(control_of(line), control, "{line}");
        }
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
        assert_eq!(parse_kib("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1_263_616));
        assert_eq!(parse_kib("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn a_report_s_numbers_are_found_by_their_whole_name() {
        let mut log = Log::default();
        log.take("[time INFO] stopping on signal 15".to_owned());
        log.take(
            "[time INFO] ShardReport { home: HomeId(0), hub: HubCounters { connections_closed_total: 7 }, \
             ring: RingCounters { closed_total: 9 }, turn_ns_max: 12 }"
                .to_owned(),
        );
        assert_eq!(log.reported("closed_total").unwrap(), [9]);
        assert_eq!(log.reported("connections_closed_total").unwrap(), [7]);
        assert_eq!(log.reported("turn_ns_max").unwrap(), [12]);
        assert!(log.reported("turns_total").is_err());
        assert_eq!((log.lines, log.reports.len(), log.last.len()), (2, 1, 1));
    }

    #[test]
    fn a_log_without_a_report_says_nothing_of_any_number() {
        assert!(Log::default().reported("turn_ns_max").is_err());
    }
}
