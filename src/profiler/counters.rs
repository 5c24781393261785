//! The kernel's samplers, one for each thread, each with a ring. Home: the profile's thread.
//!
//! Invariant: what is sampled is processor time, so that a thread that sleeps costs nothing.

use std::io;

use nix::errno::Errno;
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use crate::api::profiles::Refusal;
use crate::limits;
use crate::telemetry::profile::Thread;
use crate::telemetry::profile::record;

/// A ring has room for one sample at least.
const RING_BYTES_MIN: usize = 64 << 10;

pub(super) struct Counters {
    /// With which of the threads each samples.
    samplers: Vec<(usize, Sampler)>,
    has_kernel: bool,
}

impl Counters {
    /// Samplers that do not count yet.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub(super) fn open(threads: &[Thread], hz: u32) -> Result<Counters, Refusal> {
        let share = limits::PROFILE_RINGS_BYTES_MAX / threads.len().max(1);
        // Rings are powers of two.
        let mut ring_bytes = limits::PROFILE_RING_BYTES_MAX;
        while ring_bytes > share && ring_bytes > RING_BYTES_MIN {
            ring_bytes /= 2;
        }
        let mut has_kernel = true;
        loop {
            match Counters::open_all(threads, hz, ring_bytes, has_kernel) {
                Ok(samplers) => return Ok(Counters { samplers, has_kernel }),
                Err(Fault::Sampler(error)) if has_kernel && is_refusal(&error) => has_kernel = false,
                // Rings are locked memory, of which there may be little.
                Err(Fault::Ring(_)) if ring_bytes > RING_BYTES_MIN => ring_bytes /= 2,
                Err(Fault::Sampler(error) | Fault::Ring(error)) if is_lasting(&error) => {
                    return Err(Refusal::Kernel(error.to_string()));
                }
                Err(Fault::Sampler(error) | Fault::Ring(error)) => {
                    return Err(Refusal::Failed(format!("no sampler for each thread: {error}")));
                }
            }
        }
    }

    fn open_all(
        threads: &[Thread],
        hz: u32,
        ring_bytes: usize,
        has_kernel: bool,
    ) -> Result<Vec<(usize, Sampler)>, Fault> {
        let mut samplers = Vec::with_capacity(threads.len());
        for (number, thread) in threads.iter().enumerate() {
            let counter = Builder::new(Software::TASK_CLOCK)
                .observe_pid(thread.tid.cast_signed())
                .any_cpu()
                .exclude_kernel(!has_kernel)
                .exclude_callchain_kernel(!has_kernel)
                .exclude_callchain_user(true)
                .sample(SampleFlag::CALLCHAIN | SampleFlag::REGS_USER | SampleFlag::STACK_USER)
                .sample_regs_user(record::REGISTERS_MASK)
                .sample_stack_user(limits::PROFILE_STACK_BYTES_MAX)
                .sample_period(1_000_000_000 / u64::from(hz))
                .build();
            match counter {
                Ok(counter) => samplers.push((number, counter.sampled(ring_bytes).map_err(Fault::Ring)?)),
                // The thread has ended meanwhile.
                Err(error) if errno(&error) == Some(Errno::ESRCH) => {}
                Err(error) => return Err(Fault::Sampler(error)),
            }
        }
        Ok(samplers)
    }

    /// Whether time in the kernel is sampled.
    pub(super) fn has_kernel(&self) -> bool {
        self.has_kernel
    }

    /// Begins.
    ///
    /// # Errors
    /// As the kernel says.
    pub(super) fn enable(&mut self) -> io::Result<()> {
        self.samplers.iter_mut().try_for_each(|(_, sampler)| sampler.enable())
    }

    /// Ends; what is in the rings stays.
    pub(super) fn disable(&mut self) {
        for (_, sampler) in &mut self.samplers {
            // Its ring is closed soon, and it with it.
            let _ = sampler.disable();
        }
    }

    /// Hands over what is in the rings: which thread, the record's kind, and its bytes behind the header. A ring that fills as
    /// fast as it is read is left at its size.
    pub(super) fn drain(&mut self, mut take: impl FnMut(usize, u32, &[u8])) {
        for (thread, sampler) in &mut self.samplers {
            let mut left = limits::PROFILE_RING_BYTES_MAX;
            while let Some(record) = sampler.next_record() {
                take(*thread, record.ty(), &record.to_contiguous());
                left = left.saturating_sub(record.len());
                if left == 0 {
                    break;
                }
            }
        }
    }
}

enum Fault {
    Sampler(io::Error),
    Ring(io::Error),
}

/// For want of a right.
fn is_refusal(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::EACCES | Errno::EPERM))
}

/// Settings decide it, or the kernel was built without samplers.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        errno(error),
        Some(Errno::EACCES | Errno::EPERM | Errno::ENOSYS | Errno::ENOENT | Errno::EOPNOTSUPP)
    )
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}
