//! What this host has, for a configuration to be judged by. Home: the main thread.

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Host;
use crate::rt;

/// What cannot be read is not known.
pub(super) fn here() -> Host {
    let (machine, container) = (read("/proc/meminfo"), read("/sys/fs/cgroup/memory.max"));
    Host {
        cores: rt::cpus().into_iter().map(|cpu| cpu.0).collect(),
        memory_bytes: memory_bytes(&machine, &container),
        descriptors_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard),
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The less of what the machine has (`meminfo` of proc(5)) and of what the container may take (`memory.max` of cgroup 2).
fn memory_bytes(machine: &str, container: &str) -> Option<u64> {
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let limit = container.trim().parse::<u64>().ok();
    kib.map(|kib| kib * 1024).into_iter().chain(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_less_of_what_there_is_and_what_is_allowed() {
        let machine = "MemFree: 1 kB\nMemTotal:       2000 kB\n";
        assert_eq!(memory_bytes(machine, "max\n"), Some(2_048_000));
        assert_eq!(memory_bytes(machine, "1000\n"), Some(1_000));
        assert_eq!(memory_bytes("", "1000\n"), Some(1_000));
        assert_eq!(memory_bytes("", ""), None);
    }
}
