//! The machine, as /proc tells it, and this program. Home: the load thread.

use std::fs;
use std::process::{Command, Stdio};

use crate::outcome::{Host, Tool};

/// The machine.
pub(crate) fn host() -> Host {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    Host {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: field(&cpus, "model name").unwrap_or("unknown").to_owned(),
        cores: u32::try_from(cpus.lines().filter(|line| line.starts_with("processor")).count()).unwrap_or(0),
        memory_bytes: field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|kib| kib.strip_suffix(" kB")?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024),
    }
}

/// This program, and the commit of the repository that it was started in.
pub(crate) fn tool() -> Tool {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]);
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: told(git),
        arguments: std::env::args().collect(),
    }
}

fn told(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|said| !said.is_empty())
}

/// The text behind `key` and its colon, at the begin of a line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_formats_of_proc() {
        assert_eq!(
            field("processor\t: 0\nmodel name\t: Some CPU @ 2.0\n", "model name"),
            Some("Some CPU @ 2.0")
        );
        assert_eq!(field("MemTotal:  12 kB\n", "MemTotal"), Some("12 kB"));
        assert_eq!(field("", "MemTotal"), None);
    }
}
