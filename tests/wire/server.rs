//! The binary under test: started with a configuration of its own, stopped by its own process id, its log read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::DEADLINE;

/// A running server.
pub(crate) struct Server {
    child: Killed,
    /// Of the first listener.
    pub(crate) address: SocketAddr,
    /// Of each listener, in the order of the configuration.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where venues are waited for.
    pub(crate) venue_addresses: Vec<SocketAddr>,
    /// Where operators are answered, if on TCP.
    pub(crate) control: Option<SocketAddr>,
    /// Where clients of MCP are answered over HTTP.
    pub(crate) mcp: Option<SocketAddr>,
    lines: Receiver<String>,
    log: Vec<String>,
    config: Option<Removed>,
}

/// A file that is gone with its server.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: Vec<String>,
}

impl Server {
    /// Serves by a configuration, given as TOML, on these cores.
    pub(crate) fn start(toml: &str, cores: &str) -> Server {
        Server::start_with(toml, cores, &[])
    }

    pub(crate) fn start_with(toml: &str, cores: &str, flags: &[&str]) -> Server {
        let config = temporary_file("toml", toml.as_bytes());
        let mut command = tickring();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--cores", cores, "--config"])
            .arg(&config)
            .args(flags);
        // Servers of other tests have the usual port, or another program has.
        if !flags.contains(&"--control") && !toml.contains("[control]") {
            command.args(["--control", "off"]);
        }
        let mut server = Server::launch(command);
        // It may be read again.
        server.config = Some(Removed(config));
        server
    }

    /// Writes its configuration anew, for SIGHUP.
    pub(crate) fn write_config(&self, toml: &str) {
        let Removed(path) = self.config.as_ref().expect("it was started with a file");
        fs::write(path, toml).unwrap();
    }

    /// Serves by a configuration that says itself what is logged.
    pub(crate) fn start_quiet(toml: &str, cores: &str) -> Server {
        let config = temporary_file("toml", toml.as_bytes());
        let mut command = tickring();
        command.args(["serve", "--listen", "127.0.0.1:0", "--control", "off", "--cores", cores, "--config"]);
        command.arg(&config);
        let mut server = Server::await_address(command);
        server.config = Some(Removed(config));
        server
    }

    /// Runs a command that serves, until it says where. At its end its threads tell in full what they did.
    pub(crate) fn launch(mut command: Command) -> Server {
        command.env("RUST_LOG", "info,tickring::report=debug");
        Server::await_address(command)
    }

    #[expect(clippy::disallowed_methods, reason = "how long the start takes is printed, not judged")]
    fn await_address(mut command: Command) -> Server {
        raise_descriptor_limit();
        // Servers of other tests would have the usual port; a flag says otherwise.
        command.env("TICKRING_MCP_ADDRESS", "");
        let began = Instant::now();
        let mut child = Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let lines = lines_of(child.0.stderr.take().unwrap());
        let announced = lines_of(child.0.stdout.take().unwrap()).recv_timeout(DEADLINE);
        let Ok(announced) = announced else {
            drop(child);
            panic!("announced nothing, logged {:?}", lines.iter().collect::<Vec<_>>())
        };
        let (addresses, venue_addresses) = (addresses_in(&announced), venue_addresses_in(&announced));
        let (control, mcp) = (control_address_in(&announced), mcp_address_in(&announced));
        println!("ready after {} ms", began.elapsed().as_millis());
        let log = Vec::new();
        Server {
            child,
            address: addresses[0],
            addresses,
            venue_addresses,
            control,
            mcp,
            lines,
            log,
            config: None,
        }
    }

    /// Waits for a line of the log that contains `part`.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        crate::until(part, || {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
                panic!("{part:?} is not in the log: {:#?}", self.log)
            };
            self.log.push(line);
            self.last_line().contains(part)
        });
        self.last_line()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Whether a line with `part` has come by now; lines up to it are then behind us.
    pub(crate) fn has_just_logged(&mut self, part: &str) -> bool {
        while let Ok(line) = self.lines.try_recv() {
            self.log.push(line);
            if self.last_line().contains(part) {
                return true;
            }
        }
        false
    }

    /// What of the log was read by now.
    pub(crate) fn log(&self) -> String {
        self.log.join("\n")
    }

    /// The line of the log that was read last.
    pub(crate) fn last_line(&self) -> String {
        self.log.last().cloned().unwrap_or_default()
    }

    /// Resident memory in KiB, now and at its highest.
    pub(crate) fn resident_kib(&self) -> (u64, u64) {
        (self.status_kib("VmRSS:"), self.status_kib("VmHWM:"))
    }

    /// Kibibytes that are resident and its own: without the code, of which the kernel maps more or less as it has it in its cache.
    pub(crate) fn own_kib(&self) -> u64 {
        self.status_kib("RssAnon:") + self.status_kib("RssShmem:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What the kernel says of its threads of this name (`stat` of proc(5)); there is at least one.
    pub(crate) fn threads(&self, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.0.id())).unwrap();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let of_name: Vec<String> = stats.filter(|stat| stat.contains(&format!("({name})"))).collect();
        assert!(!of_name.is_empty(), "no thread is called {name}");
        of_name
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.0.id()).unwrap()), signal).unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> Ended {
        let mut log = std::mem::take(&mut self.log);
        log.extend(drain(&self.lines));
        let code = self.child.0.wait().unwrap().code();
        assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
        Ended { code, log }
    }
}

impl Ended {
    /// A counter of the stop reports, all shards together.
    pub(crate) fn of_shards(&self, counter: &str) -> u64 {
        self.each_shard(counter).iter().sum()
    }

    /// How often the shards refused or closed a connection for this reason.
    pub(crate) fn incidents(&self, label: &str) -> u64 {
        let name = format!("\"{label}\": ");
        let reports = self.log.iter().filter(|line| line.contains("ShardReport"));
        reports.filter(|report| report.contains(&name)).map(|report| number_after(report, &name)).sum()
    }

    /// Asserts that as many incidents of each label were counted as there are of it among these.
    pub(crate) fn assert_incidents<'a>(&self, labels: impl IntoIterator<Item = &'a str>) {
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        labels.into_iter().for_each(|label| *expected.entry(label).or_default() += 1);
        for (label, count) in expected {
            assert_eq!(self.incidents(label), count, "{label}");
        }
    }

    /// Asserts that no shard refused or closed anybody for a reason of its own.
    pub(crate) fn assert_no_incident(&self) {
        let reports: Vec<&String> = self.log.iter().filter(|line| line.contains("ShardReport")).collect();
        assert!(!reports.is_empty(), "no shard has reported: {:#?}", self.log);
        reports.iter().for_each(|report| assert!(report.contains(" incidents: {}"), "{report}"));
    }

    /// Lines of the log that tell of this incident.
    pub(crate) fn lines_about(&self, label: &str) -> Vec<&str> {
        let part = format!(": {label}");
        let lines = self.log.iter().filter(|line| line.contains("client ") && line.contains(&part));
        lines.map(String::as_str).collect()
    }

    pub(crate) fn each_shard(&self, counter: &str) -> Vec<u64> {
        let name = format!(" {counter}: ");
        let reports = self.log.iter().filter(|line| line.contains("ShardReport"));
        let counts: Vec<u64> = reports.map(|report| number_after(report, &name)).collect();
        assert!(!counts.is_empty(), "no shard has reported: {:#?}", self.log);
        counts
    }

    /// Asserts an orderly end in which nothing was left over.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.code, Some(0), "{:#?}", self.log);
        let (opened, closed) =
            (self.each_shard("connections_opened_total"), self.each_shard("connections_closed_total"));
        assert_eq!(opened, closed, "connections opened and closed");
        assert_eq!(self.each_shard("accepted_total"), self.each_shard("closed_total"), "sockets");
    }
}

/// Some tests hold more connections than the usual limit of a shell, at both ends.
fn raise_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    });
}

/// A command that is expected to end by itself.
pub(crate) fn run(command: &mut Command) -> Ended {
    let mut child = Killed(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let log = drain(&lines_of(child.0.stderr.take().unwrap()));
    let code = child.0.wait().unwrap().code();
    Ended { code, log }
}

/// Does not outlive a test that fails.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn tickring() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickring"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A file in the build's folder for temporary files.
pub(crate) fn temporary_file(ending: &str, content: &[u8]) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("wire-{}-{number}.{ending}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The number that follows a text's first occurrence.
pub(crate) fn number_after(text: &str, before: &str) -> u64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {text}"));
    let end = rest.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().unwrap()
}

/// Where a server serves, as its first line says: `… serves wss://127.0.0.1:1/ws and ws://127.0.0.1:2/ws on cores …`.
fn addresses_in(announced: &str) -> Vec<SocketAddr> {
    let (urls, _) = announced.split_once(" on cores ").unwrap_or_else(|| panic!("{announced}"));
    let hosts = urls.split("://").skip(1).map(|rest| rest.split(['/', ' ']).next().unwrap());
    hosts.map(|host| host.parse().unwrap()).collect()
}

/// Where operators are answered, as its first line says: `…; control on http://127.0.0.1:1`.
fn control_address_in(announced: &str) -> Option<SocketAddr> {
    let (_, rest) = announced.trim_end().split_once("; control on http://")?;
    Some(rest.split(';').next().unwrap().parse().unwrap())
}

/// Where clients of MCP are answered, as its first line ends: `…; MCP on http://127.0.0.1:1/mcp`.
fn mcp_address_in(announced: &str) -> Option<SocketAddr> {
    let (_, rest) = announced.trim_end().split_once("; MCP on http://")?;
    Some(rest.strip_suffix("/mcp").unwrap().parse().unwrap())
}

/// Where it waits for venues, as its first line says: `… waited for on 127.0.0.1:1 and 127.0.0.1:2; control on …`.
fn venue_addresses_in(announced: &str) -> Vec<SocketAddr> {
    let addresses = announced.split_once("waited for on ").map_or("", |(_, addresses)| addresses.trim());
    let addresses = addresses.split_once("; ").map_or(addresses, |(addresses, _)| addresses);
    addresses.split(" and ").filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// Lines as they come, read by a thread so that the writer is never blocked.
pub(crate) fn lines_of(source: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// All lines up to the end.
fn drain(lines: &Receiver<String>) -> Vec<String> {
    let mut log = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => log.push(line),
            Err(RecvTimeoutError::Disconnected) => return log,
            Err(RecvTimeoutError::Timeout) => panic!("does not end: {log:#?}"),
        }
    }
}
