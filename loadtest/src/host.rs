//! Facts of the machine and of this program, for the report. Home: the main thread, once.
//! Invariant: what /proc does not tell is `unknown` or 0; a report is never lost for the want of a fact.

use crate::outcome::{Host, Tool};

/// The machine, as /proc tells it.
pub(crate) fn host() -> Host {
    // An empty text gives no fact; see the invariant.
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    host_of(&read("/proc/sys/kernel/osrelease"), &read("/proc/cpuinfo"), &read("/proc/meminfo"))
}

/// This program, its commit as `build.rs` found it, and the arguments that it was given.
pub(crate) fn tool() -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("LOADTEST_COMMIT").map(str::to_owned),
        arguments: std::env::args_os()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
    }
}

fn host_of(osrelease: &str, cpuinfo: &str, meminfo: &str) -> Host {
    let known = |text: &str| {
        let text = text.trim();
        if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
    };
    let values = |name: &'static str| {
        cpuinfo.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then_some(value)
        })
    };
    // Arm's kernels print no model name; the part number is what there is.
    let cpu = values("model name").next().or_else(|| values("CPU part").next());
    let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = memory.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Host {
        kernel: known(osrelease),
        cpu: known(cpu.unwrap_or_default()),
        cores: u32::try_from(values("processor").count()).unwrap_or(u32::MAX),
        memory_bytes: kib.unwrap_or(0).saturating_mul(1_024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_taken_from_the_lines_that_hold_them() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Example CPU @ 2.00GHz\nflags\t: a b\n\n\
                       processor\t: 1\nmodel name\t: Example CPU @ 2.00GHz\n";
        let host = host_of("6.1.0-test\n", cpuinfo, "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
        assert_eq!(
            host,
            Host {
                kernel: "6.1.0-test".to_owned(),
                cpu: "Example CPU @ 2.00GHz".to_owned(),
                cores: 2,
                memory_bytes: 8_589_934_592,
            }
        );
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let host = host_of("", "processor : 0\nCPU part : 0xd0c\n", "MemTotal: many");
        assert_eq!((host.kernel.as_str(), host.cpu.as_str(), host.memory_bytes), ("unknown", "0xd0c", 0));
    }

    #[test]
    fn this_machine_has_a_kernel_cores_and_memory() {
        let host = host();
        assert!(host.kernel != "unknown" && 0 < host.cores && 0 < host.memory_bytes, "{host:?}");
    }

    #[test]
    fn this_program_names_its_version_and_a_commit_where_there_is_one() {
        let tool = tool();
        assert_eq!(tool.version, "0.1.0");
        let is_commit = |commit: &str| 12 <= commit.len() && commit.chars().all(|c| c.is_ascii_hexdigit());
        assert!(tool.commit.as_deref().is_none_or(is_commit), "{tool:?}");
        assert_eq!(tool.commit.is_some(), std::path::Path::new("../.git").exists());
    }
}
