//! The seam to the executor: the only file that names glommio.
//!
//! Home: `spawn_pinned` anywhere, the future it makes on the new thread. Replacing glommio by a maintained fork is a line
//! in `Cargo.toml` (`glommio = { package = "…" }`); replacing it altogether is this file.
//!
//! Invariant: the future runs from its start to its end in one piece. A pump waits in its own net ring, not in the executor
//! (see `docs/decisions/0002-park-in-our-own-ring.md`), so it never yields, and must be its executor's only task.

use std::fmt;
use std::future::Future;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use core_affinity::CoreId;
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use nix::libc;

/// When glommio would ask a task to yield: never. Its executor can sleep on a task that is ready to run: if the timer
/// fires after it was set and before the task's queue is looked at (the thread was descheduled between), the queue is not
/// run, the timer wakes nobody, and the executor parks for good (`run_task_queues` and `run` in `executor/mod.rs` of
/// glommio 0.9). With 500 us on a busy host, 6 of 20 processes that yielded for 2.5 s hung so. A pump never yields: a pass
/// of the executor took 13 us and there is no other task to let run.
const PREEMPT_TIMER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Of a thread that gives way: a tenth of the weight of one at 0.
const BATCH_NICENESS: libc::c_int = 10;

/// Entries of each of glommio's three rings. Sockets live in the net ring, so these carry a handful of timers.
const RING_DEPTH: usize = 16;

/// A processor this process may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cpu(pub usize);

/// The processors this process may run on, in ascending order: what its cpuset and affinity leave of the machine. Empty
/// if the kernel does not say.
#[must_use]
pub fn cpus() -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| Cpu(core.id)).collect();
    cpus.sort_unstable();
    cpus
}

/// To be called in `main` before any thread starts. glommio issues a `membarrier` when an executor parks and registers
/// for it at the first one, which takes the kernel tens of milliseconds once threads run and nothing before.
///
/// # Errors
/// The kernel's reason; the process works without.
pub fn register_membarrier() -> io::Result<()> {
    // SAFETY: this command takes no pointer and changes nothing but a flag of the process.
    let result =
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts the calling thread behind those that carry messages, where they share a processor: it is batch work to the
/// scheduler, wakes without taking a running thread's place, and gets a tenth of what they get.
///
/// # Errors
/// The kernel's reason; the thread goes on as it was.
pub fn give_way() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the parameters, which live until it returns; 0 is the calling thread. Not the library's function,
    // which one C library does not have.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const parameters) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call takes no pointer; 0 is the calling thread, since on Linux each has a priority of its own.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BATCH_NICENESS) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Starts a thread on one processor, and on it an executor that runs the future `start` makes there.
///
/// The thread pins itself before it makes the executor, so that its memory is local; glommio's own placement would do the
/// same, but reads the machine's topology from `/sys` first, and panics where that is absent or odd.
///
/// # Errors
/// No thread could be started. What goes wrong on the thread comes from [`PinnedThread::join`].
pub fn spawn_pinned<T, F, S>(name: &str, cpu: Cpu, start: S) -> io::Result<PinnedThread<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    S: FnOnce() -> F + Send + 'static,
{
    let executor_name = name.to_owned();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        if !core_affinity::set_for_current(CoreId { id: cpu.0 }) {
            return Err(RuntimeError::Pin { cpu, reason: io::Error::last_os_error().to_string() });
        }
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name(&executor_name)
            .io_memory(0)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
            .make()
            .map_err(|error| RuntimeError::Executor(error.to_string()))?;
        Ok(executor.run(async move { start().await }))
    })?;
    Ok(PinnedThread(thread))
}

/// A thread made by [`spawn_pinned`].
#[derive(Debug)]
pub struct PinnedThread<T>(JoinHandle<Result<T, RuntimeError>>);

impl<T> PinnedThread<T> {
    /// Waits for the thread's future to end.
    ///
    /// # Errors
    /// The future never ran: the thread could not be pinned, or there was no executor.
    pub fn join(self) -> Result<T, RuntimeError> {
        match self.0.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Why a thread ran nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeError {
    /// The processor is not there, or not for this process.
    Pin { cpu: Cpu, reason: String },
    /// glommio made no executor.
    Executor(String),
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::Pin { cpu, reason } => write!(f, "cannot run on processor {}: {reason}", cpu.0),
            RuntimeError::Executor(reason) => write!(f, "no executor: {reason}"),
        }
    }
}

impl std::error::Error for RuntimeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_runs_on_its_processor_and_returns_a_value() {
        register_membarrier().unwrap();
        for cpu in cpus() {
            let thread =
                spawn_pinned(
                    "pinned",
                    cpu,
                    move || async move { (nix::sched::sched_getcpu().unwrap(), cpus()) },
                );
            assert_eq!(thread.unwrap().join(), Ok((cpu.0, vec![cpu])));
        }
    }

    #[test]
    fn the_processors_are_those_this_process_may_use() {
        let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let cpus = cpus();
        assert!(!cpus.is_empty());
        assert!(cpus.iter().all(|cpu| allowed.is_set(cpu.0).unwrap()));
    }

    #[test]
    fn a_processor_that_is_not_there_is_an_error() {
        let thread = spawn_pinned("nowhere", Cpu(1000), || async {}).unwrap();
        let error = thread.join().unwrap_err();
        assert!(error.to_string().starts_with("cannot run on processor 1000: "), "{error}");
    }
}
