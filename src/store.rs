//! The store for durable messages: one thread that commits what the venue's thread sends to tables on a disk (decision 0020), or, behind the same handle,
//! appends it to a stream of JetStream (`jetstream`).
//!
//! Home: the venue's thread has the [`StoreHandle`], the main thread the [`Store`], the `store` thread the rest (`worker.rs`).
//! Invariants:
//! - Nobody waits for the disk but the `store` thread: a queue that is full hands the batch back, and the sender says so.
//! - Everything that waits goes into one commit with one fsync, up to `STORE_COMMIT_BYTES_MAX`. A batch is answered once: *stored*
//!   when it is on the disk, *refused* when it is known not to be. After a failed commit neither is known: the file is opened anew,
//!   and what it says is the answer.
//! - A batch that was pushed is seen: pushing is followed by an unpark, whose token a park that comes later takes, or by the like for a task.
//! - The thread is not among those that the watchdog counts: a disk that stalls is no reason to end the process, and a process that
//!   turns says nothing about the disk. How long a commit has been under way is a metric.

mod backup;
mod directory;
mod disk;
mod door;
mod file;
pub mod jetstream;
mod offline;
mod progress;
mod schema;
#[cfg(test)]
mod scratch;
mod trouble;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use tokio::sync::Notify;

use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::storage::{StoreBatch, StoreOp, StoreWord};

pub use backup::{Entries, Head, Reader};
pub use directory::{ClaimError, Directory, socket_of, store_of};
pub use disk::Stamp;
pub use offline::{Found, backup_of, check, compact, each_entry, restore};
pub use progress::Progress;
pub use schema::VERSION as SCHEMA_VERSION;
pub use trouble::{Trouble, hint};

use door::Door;
use worker::{Worker, makes_room};

/// What a store is started with.
#[derive(Debug)]
pub struct StoreSetup {
    /// Taken already; or, where its disk did not let it be taken, what it said: it is tried again.
    pub directory: Result<Directory, Refused>,
    /// The sender's.
    pub doorbell: Doorbell,
    /// Batches and bytes that may wait.
    pub queue_batches_max: usize,
    pub queue_bytes_max: usize,
    /// Puts the thread behind those that carry messages.
    pub give_way: fn() -> std::io::Result<()>,
}

/// A directory that could not be taken yet.
#[derive(Debug)]
pub struct Refused {
    pub path: std::path::PathBuf,
    pub trouble: Trouble,
}

/// The main thread's end.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    finished: Receiver<()>,
    /// How the first attempt to open it ended.
    opened: Receiver<Result<(), Trouble>>,
}

/// The sender's end.
#[derive(Debug)]
pub struct StoreHandle {
    batches: Producer<StoreBatch>,
    words: Consumer<StoreWord>,
    shared: Arc<Shared>,
    bytes_max: usize,
    /// Dropped behind `batches`: who is woken by that finds the queue abandoned.
    wake: Wake,
}

/// How the store's thread waits for what is sent.
#[derive(Debug)]
enum Wake {
    /// It is parked.
    Thread(Thread),
    /// In a runtime of its own.
    Task(Arc<Notify>),
}

impl Wake {
    fn wake(&self) {
        match self {
            Wake::Thread(thread) => thread.unpark(),
            Wake::Task(task) => task.notify_one(),
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.wake();
    }
}

/// What a sender may send before something is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub batches: usize,
    /// By [`StoreBatch::weight_bytes`].
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Shared {
    progress: Arc<Progress>,
    is_stopping: AtomicBool,
}

impl Store {
    /// Starts the thread. It opens the store, tells what it has, and then takes batches.
    ///
    /// # Errors
    /// The thread can't be made.
    pub fn start(setup: StoreSetup) -> std::io::Result<(Store, StoreHandle)> {
        let StoreSetup { directory, doorbell, queue_batches_max, queue_bytes_max, give_way } = setup;
        let (batches, queue) = RingBuffer::new(queue_batches_max);
        let (saying, words) = RingBuffer::new(limits::STORE_WORDS_MAX);
        let shared = Arc::new(Shared::default());
        let (finish, finished) = mpsc::channel();
        let (tell_opened, opened) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            if let Err(error) = give_way() {
                log::debug!("the store's thread keeps its priority: {error}");
            }
            let (path, directory) = match directory {
                Ok(directory) => (directory.path().to_owned(), Ok(directory)),
                Err(Refused { path, trouble }) => (path, Err(trouble)),
            };
            let (door, asked) = Door::new(path.clone(), give_way, Arc::clone(&of_thread.progress));
            Worker::new(path, directory, queue, saying, doorbell, of_thread).run(door, &asked, &tell_opened);
            // The main thread may have gone.
            let _ = finish.send(());
        })?;
        let handle = StoreHandle {
            batches,
            words,
            shared: Arc::clone(&shared),
            bytes_max: queue_bytes_max,
            wake: Wake::Thread(thread.thread().clone()),
        };
        Ok((Store { shared, thread, finished, opened }, handle))
    }

    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.shared.progress
    }

    /// Waits until the store was opened, or could not be.
    ///
    /// # Errors
    /// Why it could not.
    pub fn await_opened(&self) -> Result<(), Trouble> {
        // A thread that has ended without a word has panicked, and the process with it.
        self.opened.recv().unwrap_or(Ok(()))
    }

    /// Has what was sent committed, and ends the thread; whether that was in time.
    pub fn stop(self) -> bool {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.finished.recv_timeout(Duration::from_nanos(limits::STORE_STOP_NS)).is_ok()
    }
}

impl StoreHandle {
    /// What may be sent now.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { batches: self.batches.slots(), bytes: self.bytes_max.saturating_sub(self.waiting_bytes()) }
    }

    /// Bytes of batches that were sent and are not answered.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        usize::try_from(self.shared.progress.waiting_bytes()).unwrap_or(usize::MAX)
    }

    /// Sends a batch. One that weighs more than may wait is taken while nothing else waits.
    ///
    /// # Errors
    /// There is no room: the batch.
    pub fn send(&mut self, batch: StoreBatch) -> Result<(), StoreBatch> {
        let is_too_long = |op: &StoreOp| matches!(op, StoreOp::Put { value, .. } if value.len() > limits::STORE_VALUE_BYTES_MAX);
        debug_assert!(!batch.ops.iter().any(is_too_long), "values are bounded by who makes them");
        let (weight, waiting) = (batch.weight_bytes(), self.waiting_bytes());
        if waiting > 0 && waiting + weight > self.bytes_max {
            return Err(batch);
        }
        if let Err(PushError::Full(batch)) = self.batches.push(batch) {
            return Err(batch);
        }
        self.shared.progress.sent_batches.add(1);
        self.shared.progress.sent_bytes.add(weight as u64);
        self.wake.wake();
        Ok(())
    }

    /// The next word.
    pub fn receive(&mut self) -> Option<StoreWord> {
        self.words.pop().ok()
    }
}

/// Takes the directory of a configuration, or says why the process can't begin with it.
///
/// # Errors
/// Somebody has it, or it is no directory of ours. What its disk says passes: that may change.
pub fn claim(path: &Path) -> Result<Result<Directory, Refused>, crate::exit::Failure> {
    use crate::exit::{Exit, Failure};
    use std::io::ErrorKind;
    match Directory::claim(path) {
        Ok(directory) => Ok(Ok(directory)),
        Err(taken @ ClaimError::Taken(_)) => Err(taken.failure(path)),
        Err(ClaimError::Disk(error))
            if matches!(
                error.kind(),
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::PermissionDenied
            ) =>
        {
            let what = format!("store.directory: {}: {error}", path.display());
            Err(Failure::new(Exit::Config, what, "name a directory that the server's user may write"))
        }
        Err(ClaimError::Disk(error)) => Ok(Err(Refused { path: path.to_owned(), trouble: error.into() })),
    }
}

#[cfg(test)]
mod tests;
