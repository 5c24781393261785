//! Between the gateway and a child: the gateway's own program, which takes upon itself what a child is to have, and becomes the child.
//! Home: a process of its own, of one thread (decision 0025).
//!
//! Invariants: it ends with the thread that started it; it is replaced or ends, and starts nobody; a child has three descriptors.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

use super::control_group::Share;
use crate::backend::settings::ProcessLimits;
use crate::exit::{Exit, Failure};

/// How soon the kernel ends it when memory runs out.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// What it is told on its command line.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The process that started it.
    pub parent: i32,
    pub limits: ProcessLimits,
    /// Of the processors; `None`: as much as there is.
    pub share: Option<Share>,
    /// Where it goes first.
    pub directory: Option<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Becomes the child.
///
/// # Errors
/// What keeps it from that. It never returns otherwise.
pub fn become_child(launch: &Launch) -> Result<std::convert::Infallible, Failure> {
    let Launch { parent, limits, share, directory, command } = launch;
    let failure = |what: String| Failure::new(Exit::Unavailable, what, "see the [[backend]] of that name");
    // The kernel sends it when the thread ends that made this process; what happened before is seen by the parent's number.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| failure(format!("PR_SET_PDEATHSIG: {error}")))?;
    if getppid().as_raw() != *parent {
        return Err(failure("the gateway that started this has ended".to_owned()));
    }
    let wanted = [
        (Resource::RLIMIT_AS, limits.memory_bytes),
        (Resource::RLIMIT_NOFILE, limits.descriptors.into()),
        (Resource::RLIMIT_CPU, limits.cpu_s.into()),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
    ];
    for (resource, wanted) in wanted.into_iter().filter(|(_, wanted)| *wanted > 0) {
        let set = getrlimit(resource).and_then(|(_, hard)| {
            let limit = wanted.min(hard);
            setrlimit(resource, limit, limit)
        });
        set.map_err(|error| failure(format!("{resource:?} of {wanted}: {error}")))?;
    }
    if let Some(share) = share {
        share.enter().map_err(failure)?;
    }
    // Its memory may hold what is nobody's business.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failure(format!("RLIMIT_CORE: {error}")))?;
    // A service may be spared when memory runs out; what it starts is not.
    if std::fs::read_to_string(OOM_SCORE).is_ok_and(|score| score.starts_with('-'))
        && let Err(error) = std::fs::write(OOM_SCORE, "0")
    {
        log::warn!("it is spared when memory runs out, as the gateway is: {OOM_SCORE}: {error}");
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(failure("there is no program to start".to_owned()));
    };
    close_others().map_err(|error| failure(format!("/proc/self/fd: {error}")))?;
    let mut child = Command::new(program);
    child.args(arguments);
    if let Some(directory) = directory {
        std::env::set_current_dir(directory)
            .map_err(|error| failure(format!("{}: {error}", directory.display())))?;
    }
    // The gateway's threads block what its main thread waits for.
    SigSet::empty().thread_set_mask().map_err(|error| failure(format!("signals: {error}")))?;
    // SIGPIPE is not ignored behind it.
    let error = child.exec();
    Err(failure(format!("{}: {error}", program.display())))
}

/// Closes all but the three streams: what the gateway was started with is not for a child, and may be a socket.
fn close_others() -> io::Result<()> {
    // Each entry holds the listing open: it is closed before the loop.
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The listing's own is closed already; nothing else of this process is needed any more.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}
