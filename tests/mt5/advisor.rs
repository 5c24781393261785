//! The advisor of src/backend/mt5 as a process, in a simulated terminal that is told what to do by lines.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::DEADLINE;

/// The folder with `advisor` and `selftest`, built once; `None` where there is no C++ compiler.
pub(crate) fn built() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if Command::new("g++").arg("--version").stdout(Stdio::null()).status().is_err() {
                assert!(
                    std::env::var_os("TICKRING_REQUIRE").is_none(),
                    "no g++, and TICKRING_REQUIRE is set"
                );
                println!("no g++ on this host: nothing is shown");
                return None;
            }
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mt5");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/mt5/standin/build");
            assert!(Command::new(script).arg(&folder).status().unwrap().success());
            Some(folder)
        })
        .as_deref()
}

pub(crate) struct Advisor {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// What it has printed.
    log: Vec<String>,
}

impl Advisor {
    /// Starts it; it connects to `port`.
    pub(crate) fn start(folder: &Path, port: u16, flags: &[&str]) -> Advisor {
        let mut child = Command::new(folder.join("advisor"))
            .args(["--port", &port.to_string(), "--key", "s3cret", "--symbols", "EURUSD, GBPUSD.m,Si-9.27"])
            .args(["--heartbeat-ms", "200", "--timer-ms", "2", "--retry-ms", "20", "--settle-ms", "300"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Advisor { child, stdin, lines, log: Vec::new() }
    }

    /// Tells the terminal something, and waits until it is so.
    pub(crate) fn control(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
        self.wait_line(&format!("terminal: {line}"));
    }

    /// Waits for a line with this in it.
    pub(crate) fn wait_line(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
                panic!("no {part:?} in {:#?}", self.log)
            };
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Whether a line with this in it has come by now.
    pub(crate) fn has_line(&mut self, part: &str) -> bool {
        self.log.extend(self.lines.try_iter());
        self.log.iter().any(|line| line.contains(part))
    }

    /// Kills the advisor, not its terminal; another one begins.
    pub(crate) fn kill_advisor(&mut self) {
        self.signal(Signal::SIGUSR1);
        self.wait_line("terminal: the advisor is killed");
    }

    /// Removes it from its chart.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

/// Does not outlive a test that fails.
impl Drop for Advisor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
