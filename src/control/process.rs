//! What the kernel says of this process: processor time, memory, descriptors. Home: the control thread.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

/// What cannot be read is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub cpu_ns: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
}

/// Reads it now.
pub(super) fn usage() -> Usage {
    let (virtual_bytes, resident_bytes) = memory().unwrap_or_default();
    Usage {
        cpu_ns: cpu_ns().unwrap_or_default(),
        resident_bytes,
        virtual_bytes,
        open_fds: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        max_fds: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
    }
}

fn cpu_ns() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from((usage.user_time() + usage.system_time()).num_nanoseconds()).ok()
}

/// Virtual and resident bytes, from `statm` of proc(5), which counts pages.
fn memory() -> Option<(u64, u64)> {
    let page_bytes = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_whitespace().map(|word| word.parse::<u64>().ok());
    Some((pages.next()?? * page_bytes, pages.next()?? * page_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_running_process_has() {
        let usage = usage();
        assert!(usage.cpu_ns > 0 && usage.resident_bytes > 0 && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.open_fds >= 3 && usage.max_fds >= usage.open_fds, "{usage:?}");
    }
}
