//! How a child process is started and ended, and what becomes of its standard error. Home: the control thread (decision 0025).
//!
//! Invariants: a child has what its settings say, and of the gateway a few variables; what it writes to the log is bounded.

use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use super::codec::Line;
use crate::backend::settings::ProcessSettings;
use crate::clock;
use crate::limits;

/// What of the gateway's environment a child has too.
const PASSED_ON: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// What starts a child by these settings, in a process group of its own, with pipes for all three streams. To be spawned on the control
/// thread: the kernel ends the child with the thread that started it.
#[must_use]
pub fn command(settings: &ProcessSettings) -> Command {
    let limits = settings.limits;
    // The same program, also where its file was replaced since the start.
    let mut command = Command::new("/proc/self/exe");
    command.arg("child").arg(format!("--parent={}", std::process::id()));
    let flags = [
        ("--memory-bytes", limits.memory_bytes),
        ("--descriptors", limits.descriptors.into()),
        ("--cpu-s", limits.cpu_s.into()),
        ("--file-bytes", limits.file_bytes),
    ];
    command.args(flags.map(|(flag, value)| format!("{flag}={value}")));
    if let Some(group) = &settings.control_group {
        command.arg("--control-group").arg(group);
        command.arg(format!("--cpu-percent={}", settings.cpu_percent_max));
    }
    if let Some(directory) = &settings.directory {
        command.arg("--directory").arg(directory);
    }
    command.arg("--").args(&settings.command);
    command.env_clear();
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    // A group of its own, so that what it starts ends with it.
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A child's process group.
#[derive(Clone, Copy, Debug)]
pub struct Group(Pid);

impl Group {
    /// That of a child that `command` has started.
    ///
    /// # Panics
    /// The number is none of a process: our own bug.
    #[must_use]
    pub fn of(pid: u32) -> Group {
        Group(Pid::from_raw(i32::try_from(pid).expect("invariant: the kernel's numbers are i32")))
    }

    /// Sends it to all that are left in it.
    pub fn signal(self, signal: Signal) {
        // Nobody is left in it where that fails.
        let _ = killpg(self.0, signal);
    }
}

/// What a child writes to standard error, so many lines a second.
#[derive(Debug)]
pub struct LogLines {
    line: Line,
    /// The second that is counted, and the lines in it.
    second: u64,
    lines: u32,
    dropped: u64,
}

impl Default for LogLines {
    fn default() -> LogLines {
        LogLines { line: Line::new(limits::CHILD_LOG_LINE_BYTES_MAX), second: 0, lines: 0, dropped: 0 }
    }
}

impl LogLines {
    /// Takes what was read of the child that the log calls `name`.
    pub fn receive(&mut self, name: &str, bytes: &[u8]) {
        let second = clock::now().mono_ns / 1_000_000_000;
        if second != self.second {
            self.tell_dropped(name);
            (self.second, self.lines) = (second, 0);
        }
        let LogLines { line, lines, dropped, .. } = self;
        line.receive(bytes, |text, cut| {
            *lines += 1;
            if *lines > limits::CHILD_LOG_LINES_PER_S_MAX {
                *dropped += 1;
            } else {
                log_line(name, text, cut);
            }
        });
    }

    /// The stream has ended.
    pub fn end(&mut self, name: &str) {
        self.line.end(|text, cut| log_line(name, text, cut));
        self.tell_dropped(name);
    }

    fn tell_dropped(&mut self, name: &str) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            dropped => log::warn!("{name}: {dropped} more lines of standard error are not shown"),
        }
    }
}

/// Without what would be more than text to a terminal.
fn log_line(name: &str, text: &[u8], cut: usize) {
    let text = String::from_utf8_lossy(text.trim_ascii_end()).replace(char::is_control, " ");
    match cut {
        0 => log::info!("{name}: {text}"),
        cut => log::info!("{name}: {text} … ({cut} more bytes)"),
    }
}
