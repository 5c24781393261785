//! What this host lacks, said in one line for each fault before anything starts.
//!
//! Home: the main thread, once, before the shards. Looks at io_uring (is it there, is it allowed, is it new enough), at
//! the operations used, and at the two resource limits that matter; raises the soft limit on descriptors to the hard one.
//! glommio finds some of the same faults, but panics or exits with a joke.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::doorbell::Doorbell;
use crate::ring::{self, Ring, RingConfig, RingError};

/// glommio refuses to start below this, whatever the process may lock (`sys/uring.rs` of glommio 0.9).
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// Descriptors a process needs besides its connections, which are direct descriptors: listeners, eventfds, rings, files,
/// pipes; and the table of each ring must fit the limit, too.
const DESCRIPTORS_BESIDES: u64 = 64;

/// The oldest kernel with everything the net ring needs.
pub const KERNEL_MIN: &str = "6.1";

/// Something this host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `io_uring_setup` is no system call of this kernel, or is filtered as if it were none.
    Absent { kernel: String },
    /// The administrator switched io_uring off: the value of `kernel.io_uring_disabled` is 1 or 2.
    Disabled { value: u8 },
    /// io_uring is on, but this process may not use it.
    Forbidden,
    /// The kernel does not know the ring's setup flags.
    TooOld { kernel: String },
    /// The kernel lacks an operation.
    Operation { name: &'static str, since: &'static str, kernel: String },
    /// The rest: the ring could not be made for a reason of its own.
    Ring(RingError),
    /// The soft limit on locked memory is below what glommio insists on.
    LockedMemory { soft_bytes: u64 },
    /// The hard limit on descriptors is below what the connections need. Not fatal: a ring then holds fewer.
    Descriptors { hard: u64, wanted: u64 },
}

impl Fault {
    /// Whether nothing can be served with it.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            Fault::Descriptors { .. } => false,
            Fault::Absent { .. }
            | Fault::Disabled { .. }
            | Fault::Forbidden
            | Fault::TooOld { .. }
            | Fault::Operation { .. }
            | Fault::Ring(_)
            | Fault::LockedMemory { .. } => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent { kernel } => write!(
                f,
                "io_uring is missing from kernel {kernel}: run Linux {KERNEL_MIN} or later with CONFIG_IO_URING, and let \
                 the container's seccomp profile pass io_uring_setup, io_uring_enter and io_uring_register"
            ),
            Fault::Disabled { value: 1 } => write!(
                f,
                "io_uring is reserved for a group: kernel.io_uring_disabled = 1; set it to 0, or put this user into the \
                 group of kernel.io_uring_group"
            ),
            Fault::Disabled { value } => {
                write!(f, "io_uring is switched off: kernel.io_uring_disabled = {value}; set it to 0")
            }
            Fault::Forbidden => write!(
                f,
                "io_uring is forbidden to this process, though kernel.io_uring_disabled is 0: let the seccomp profile or \
                 security module pass io_uring_setup"
            ),
            Fault::TooOld { kernel } => write!(
                f,
                "kernel {kernel} is too old: IORING_SETUP_DEFER_TASKRUN needs Linux {KERNEL_MIN} or later"
            ),
            Fault::Operation { name, since, kernel } => {
                write!(
                    f,
                    "kernel {kernel} lacks {name}, which Linux {since} has: run Linux {KERNEL_MIN} or later"
                )
            }
            Fault::Ring(error) => write!(f, "the net ring cannot be made: {error}"),
            Fault::LockedMemory { soft_bytes } => write!(
                f,
                "the limit on locked memory is {} KiB, at least {} are needed: LimitMEMLOCK= in the unit, or ulimit -l",
                soft_bytes / 1024,
                LOCKED_BYTES_MIN / 1024
            ),
            Fault::Descriptors { hard, wanted } => write!(
                f,
                "the limit on descriptors is {hard}, {wanted} are wanted, so fewer connections fit: LimitNOFILE= in the \
                 unit, or ulimit -Hn"
            ),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// In the order they were looked for; the first fatal one is the one to mend first.
    pub faults: Vec<Fault>,
    /// As in `/proc/sys/kernel/osrelease`; empty where that is not readable.
    pub kernel: String,
    /// The soft limit on descriptors, before and after it was raised to the hard one.
    pub descriptors_before: u64,
    pub descriptors: u64,
}

impl Probed {
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.faults.iter().any(Fault::is_fatal)
    }
}

/// Looks at the host for rings of this configuration, and raises the soft limit on descriptors.
#[must_use]
pub fn probe(config: &RingConfig) -> Probed {
    let kernel = read_word("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut faults = Vec::new();
    let (descriptors_before, descriptors) = raise_descriptors();
    let wanted = u64::from(config.connections_max).max(DESCRIPTORS_BESIDES);
    if descriptors < wanted {
        faults.push(Fault::Descriptors { hard: descriptors, wanted });
    }
    faults.extend(probe_locked_memory());
    match probe_ring(config, &kernel) {
        Ok(missing) => faults.extend(missing),
        Err(fault) => faults.push(fault),
    }
    Probed { faults, kernel, descriptors_before, descriptors }
}

/// The operations the net ring submits, and the kernel each came with. Their multishot forms have no opcode of their
/// own; the setup flags, which are younger, vouch for them.
const OPERATIONS: [(u8, &str, &str); 9] = [
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD", "5.1"),
    (opcode::Accept::CODE, "IORING_OP_ACCEPT", "5.5"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT", "5.5"),
    (opcode::FilesUpdate::CODE, "IORING_OP_FILES_UPDATE", "5.6"),
    (opcode::Recv::CODE, "IORING_OP_RECV", "5.6"),
    (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
    (opcode::Close::CODE, "IORING_OP_CLOSE", "5.6"),
    (opcode::Shutdown::CODE, "IORING_OP_SHUTDOWN", "5.11"),
];

fn probe_ring(config: &RingConfig, kernel: &str) -> Result<Vec<Fault>, Fault> {
    let uring = ring::setup(config).map_err(|error| setup_fault(error, disabled(), kernel))?;
    let setup = |error: io::Error| {
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        Fault::Ring(RingError::Setup(errno))
    };
    let missing = missing_operations(&uring, kernel).map_err(setup)?;
    drop(uring);
    if missing.is_empty() {
        // The table of direct descriptors and the provided buffers: only trying tells.
        let small = RingConfig { connections_max: 1, receive_buffers: 1, ..*config };
        let doorbell = Doorbell::new().map_err(setup)?;
        Ring::new(&small, doorbell).map_err(Fault::Ring)?;
    }
    Ok(missing)
}

fn missing_operations(uring: &IoUring, kernel: &str) -> io::Result<Vec<Fault>> {
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    let missing = OPERATIONS.iter().filter(|(code, _, _)| !probe.is_supported(*code));
    Ok(missing.map(|(_, name, since)| Fault::Operation { name, since, kernel: kernel.to_owned() }).collect())
}

/// What a refused setup means; `disabled` is the value of `kernel.io_uring_disabled`, if this kernel has it (6.6).
fn setup_fault(error: RingError, disabled: Option<u8>, kernel: &str) -> Fault {
    let kernel = kernel.to_owned();
    match (error, disabled) {
        (RingError::Setup(Errno::ENOSYS), _) => Fault::Absent { kernel },
        (RingError::Setup(Errno::EPERM | Errno::EACCES), Some(value @ 1..)) => Fault::Disabled { value },
        (RingError::Setup(Errno::EPERM | Errno::EACCES), _) => Fault::Forbidden,
        (RingError::Setup(Errno::EINVAL), _) => Fault::TooOld { kernel },
        (error, _) => Fault::Ring(error),
    }
}

fn disabled() -> Option<u8> {
    read_word("/proc/sys/kernel/io_uring_disabled")?.parse().ok()
}

fn probe_locked_memory() -> Option<Fault> {
    // A limit that cannot be read is no reason not to try.
    let (soft_bytes, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft_bytes < LOCKED_BYTES_MIN).then_some(Fault::LockedMemory { soft_bytes })
}

/// The soft limit on descriptors before and after.
fn raise_descriptors() -> (u64, u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return (u64::MAX, u64::MAX) };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => (soft, hard),
        Err(_) => (soft, soft),
    }
}

fn read_word(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(fault: &Fault, parts: &[&str]) {
        let text = fault.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
    }

    #[test]
    fn each_fault_says_what_is_missing_and_what_to_do() {
        let kernel = || "5.4.0".to_owned();
        check_text(
            &Fault::Absent { kernel: kernel() },
            &["missing from kernel 5.4.0", "Linux 6.1", "seccomp"],
        );
        check_text(
            &Fault::Disabled { value: 1 },
            &["io_uring_disabled = 1", "set it to 0", "io_uring_group"],
        );
        check_text(&Fault::Disabled { value: 2 }, &["switched off", "io_uring_disabled = 2", "set it to 0"]);
        check_text(&Fault::Forbidden, &["forbidden", "seccomp"]);
        check_text(&Fault::TooOld { kernel: kernel() }, &["kernel 5.4.0", "DEFER_TASKRUN", "6.1"]);
        let operation = Fault::Operation { name: "IORING_OP_SHUTDOWN", since: "5.11", kernel: kernel() };
        check_text(&operation, &["5.4.0 lacks IORING_OP_SHUTDOWN", "Linux 5.11", "6.1"]);
        check_text(&Fault::Ring(RingError::ReceiveBuffers(Errno::ENOMEM)), &["provided buffers", "memory"]);
        check_text(
            &Fault::LockedMemory { soft_bytes: 65_536 },
            &["64 KiB", "512", "LimitMEMLOCK=", "ulimit -l"],
        );
        let descriptors = Fault::Descriptors { hard: 1024, wanted: 20_000 };
        check_text(&descriptors, &["1024", "20000", "LimitNOFILE=", "ulimit -Hn"]);
    }

    #[test]
    fn only_few_descriptors_can_be_lived_with() {
        assert!(!Fault::Descriptors { hard: 1024, wanted: 20_000 }.is_fatal());
        assert!(Fault::Forbidden.is_fatal());
        assert!(Fault::LockedMemory { soft_bytes: 0 }.is_fatal());
    }

    #[test]
    fn a_refused_setup_is_told_apart_by_errno_and_sysctl() {
        let fault = |errno, disabled| setup_fault(RingError::Setup(errno), disabled, "6.0.1");
        let kernel = "6.0.1".to_owned();
        assert_eq!(fault(Errno::ENOSYS, None), Fault::Absent { kernel: kernel.clone() });
        assert_eq!(fault(Errno::EPERM, Some(2)), Fault::Disabled { value: 2 });
        assert_eq!(fault(Errno::EPERM, Some(1)), Fault::Disabled { value: 1 });
        assert_eq!(fault(Errno::EPERM, Some(0)), Fault::Forbidden);
        assert_eq!(fault(Errno::EPERM, None), Fault::Forbidden);
        assert_eq!(fault(Errno::EINVAL, Some(0)), Fault::TooOld { kernel });
        assert_eq!(fault(Errno::ENOMEM, Some(0)), Fault::Ring(RingError::Setup(Errno::ENOMEM)));
    }

    #[test]
    fn this_host_is_fit_and_its_descriptors_are_raised() {
        let probed = probe(&RingConfig { connections_max: 16, ..RingConfig::default() });
        assert!(!probed.is_fatal(), "{:?}", probed.faults);
        assert!(probed.descriptors >= probed.descriptors_before);
        assert!(!probed.kernel.is_empty());
    }
}
