//! Profiles of our own threads, by the kernel's sampler (decision 0017).
//!
//! Home: a thread of its own for each profile, at the priority of the control thread, which starts it. Invariants: nothing runs
//! within the threads that are sampled, no signal and no code of ours: the kernel copies registers and a part of the stack to
//! a ring, and who called whom is found out here; one profile at a time; all that is kept of it is bounded; it ends early when
//! nobody waits for it any more.

mod code;
mod counters;
mod naming;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::api::profiles::{self, Asked, Refusal, Written};
use crate::clock;
use crate::limits;
use crate::telemetry::profile::Thread;
use crate::telemetry::profile::record::{self, Sample};

use code::Code;
use counters::Counters;

/// How often rings are emptied: at the highest rate, ten samples of a thread wait.
const LOOK: Duration = Duration::from_millis(10);

/// Takes profiles, one at a time.
#[derive(Debug, Default)]
pub struct Profiler {
    /// When the one that is being taken ends, on the monotonic clock; 0 without one.
    busy_until_ns: Arc<AtomicU64>,
}

/// A profile that is being taken; who drops it ends it.
#[derive(Debug)]
pub struct Running {
    written: oneshot::Receiver<Result<Written, Refusal>>,
    /// Nothing is said by it but that it is gone.
    _wanted: Sender<()>,
}

/// What was sampled, by addresses.
#[derive(Debug, Default)]
struct Gathered {
    threads: Vec<Thread>,
    /// By thread and its frames, the innermost first.
    stacks: BTreeMap<(usize, Box<[u64]>), u64>,
    begun_unix_ns: u64,
    duration_ns: u64,
    has_kernel: bool,
}

/// One profile is being taken while this lives.
struct Turn(Arc<AtomicU64>);

impl Profiler {
    /// Begins a profile.
    ///
    /// # Errors
    /// One is being taken, or there is no thread for it.
    pub fn start(&self, asked: Asked) -> Result<Running, Refusal> {
        let now_ns = clock::now().mono_ns;
        let end_ns = (now_ns + u64::from(asked.seconds) * 1_000_000_000).max(1);
        if let Err(until_ns) =
            self.busy_until_ns.compare_exchange(0, end_ns, Ordering::AcqRel, Ordering::Acquire)
        {
            let seconds = until_ns.saturating_sub(now_ns).div_ceil(1_000_000_000).max(1);
            return Err(Refusal::Busy(u32::try_from(seconds).unwrap_or(u32::MAX)));
        }
        let turn = Turn(Arc::clone(&self.busy_until_ns));
        let (tell, written) = oneshot::channel();
        let (wanted, is_wanted) = channel();
        let work = move || {
            let taken = take(asked, end_ns, &is_wanted);
            // First, so that who has the answer may ask for the next.
            drop(turn);
            // Nobody may wait any more.
            let _ = tell.send(taken);
        };
        match thread::Builder::new().name("profile".to_owned()).spawn(work) {
            Ok(_) => Ok(Running { written, _wanted: wanted }),
            Err(error) => Err(Refusal::Failed(format!("no thread for the profile: {error}"))),
        }
    }
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// There is none.
    pub async fn written(mut self) -> Result<Written, Refusal> {
        match (&mut self.written).await {
            Ok(written) => written,
            Err(_) => Err(Refusal::Failed("the profile's thread has gone".to_owned())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

fn take(asked: Asked, end_ns: u64, is_wanted: &Receiver<()>) -> Result<Written, Refusal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Refusal::Failed(format!("{what}: {error}"));
    let mut code = Code::of_this_process().map_err(|error| failed("what is mapped is not known", &error))?;
    let threads = threads().map_err(|error| failed("threads are not known", &error))?;
    let mut counters = Counters::open(&threads, asked.hz)?;
    let mut gathered = Gathered {
        threads,
        begun_unix_ns: clock::now().unix_ns,
        has_kernel: counters.has_kernel(),
        ..Gathered::default()
    };
    let begun_ns = clock::now().mono_ns;
    counters.enable().map_err(|error| failed("samplers do not start", &error))?;
    while clock::now().mono_ns < end_ns {
        if is_wanted.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
            return Err(Refusal::Failed("nobody waits for the profile".to_owned()));
        }
        gathered.drain(&mut counters, &mut code);
    }
    gathered.duration_ns = clock::now().mono_ns - begun_ns;
    counters.disable();
    gathered.drain(&mut counters, &mut code);
    drop(counters);
    let profile = naming::named(gathered, &code, asked.hz);
    Ok(profiles::written(asked.format, &profile))
}

/// Our threads, of which more than may be sampled are left out.
fn threads() -> std::io::Result<Vec<Thread>> {
    let entries = fs::read_dir("/proc/self/task")?;
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut tids: Vec<u32> = tids.collect();
    tids.sort_unstable();
    tids.truncate(limits::PROFILED_THREADS_MAX);
    let named = tids.into_iter().map(|tid| {
        // One that has ended is not sampled either.
        let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
        Thread { name: name.trim_end().to_owned(), tid, ..Thread::default() }
    });
    Ok(named.collect())
}

impl Gathered {
    /// Takes what the rings hold.
    fn drain(&mut self, counters: &mut Counters, code: &mut Code) {
        counters.drain(|thread, kind, bytes| match kind {
            record::SAMPLE => {
                if let Some(sample) = Sample::read(bytes) {
                    self.note(thread, &sample, code);
                }
            }
            record::LOST => self.threads[thread].lost += record::lost(bytes).unwrap_or_default(),
            _ => {}
        });
    }

    fn note(&mut self, thread: usize, sample: &Sample<'_>, code: &mut Code) {
        let mut frames = Vec::with_capacity(limits::PROFILE_FRAMES_MAX);
        // A return address is behind its call, which may be its function's end; the first is no return address.
        let calls =
            sample.kernel().enumerate().map(|(at, address)| address.saturating_sub(u64::from(at > 0)));
        frames.extend(calls.take(limits::PROFILE_FRAMES_MAX));
        let is_whole =
            sample.registers.is_some_and(|registers| code.unwind(registers, sample.stack, &mut frames));
        let is_full = self.stacks.len() >= limits::PROFILE_STACKS_MAX;
        let told = &mut self.threads[thread];
        let key = (thread, frames.into_boxed_slice());
        match self.stacks.get_mut(&key) {
            Some(count) => *count += 1,
            None if is_full => {
                told.lost += 1;
                return;
            }
            None => drop(self.stacks.insert(key, 1)),
        }
        told.samples += 1;
        told.cut += u64::from(!is_whole);
    }
}
