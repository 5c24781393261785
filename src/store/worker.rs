//! The store's thread: opens the store, tells what it has, commits what comes, and gets over faults of the disk.
//!
//! Home: the `store` thread. Invariants: what the sender is told of a batch is known; while a fault lasts, batches are refused at once,
//! and the disk is tried again at most every `STORE_RETRY_NS_MAX`; a store that is not the one that was loaded is not written to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rtrb::{Consumer, Producer, PushError};

use crate::clock;
use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::storage::{StoreBatch, StoreFault, StoreOp, StoreState, StoreWord};

use super::Shared;
use super::directory::{ClaimError, Directory, store_of};
use super::disk::{Disk, Stamp, Walk, file_bytes};
use super::door::{Ask, Door};
use super::file::forget_cache;
use super::trouble::{Trouble, hint};

/// How often a word that finds no room is tried again.
const SAY_RETRY: Duration = Duration::from_millis(1);

/// See the file's head.
pub(super) struct Worker {
    path: PathBuf,
    directory: Result<Directory, Trouble>,
    queue: Consumer<StoreBatch>,
    words: Producer<StoreWord>,
    /// The sender's.
    doorbell: Doorbell,
    shared: Arc<Shared>,
    disk: Option<Disk>,
    /// There was a store, good or not: none is made in its place.
    was_there: bool,
    state: StoreState,
    /// Of the store that was loaded, or is being, as far as it is known to be on the disk; none before.
    known: Option<Stamp>,
    /// How far the sender was told what the store has; none once it was told all.
    telling: Option<Walk>,
    loaded_entries: u64,
    /// What was loaded is yet to be said in the log.
    is_unannounced: bool,
    /// A commit failed, and whether these batches came through is not known; there are none where it was a probe.
    doubt: Option<Vec<StoreBatch>>,
    retry: Retry,
}

/// When the disk is tried again.
struct Retry {
    due_ns: u64,
    distance_ns: u64,
}

impl Worker {
    pub(super) fn new(
        path: PathBuf,
        directory: Result<Directory, Trouble>,
        queue: Consumer<StoreBatch>,
        words: Producer<StoreWord>,
        doorbell: Doorbell,
        shared: Arc<Shared>,
    ) -> Worker {
        Worker {
            path,
            directory,
            queue,
            words,
            doorbell,
            shared,
            disk: None,
            was_there: false,
            state: StoreState::Absent,
            known: None,
            telling: Some(Walk::default()),
            loaded_entries: 0,
            is_unannounced: true,
            doubt: None,
            retry: Retry { due_ns: 0, distance_ns: limits::STORE_RETRY_NS_MIN },
        }
    }

    /// Until it is told to stop and all is done that was sent before.
    pub(super) fn run(mut self, mut door: Door, asked: &Receiver<Ask>, opened: &Sender<Result<(), Trouble>>) {
        // A file that may not get longer is a fault like another, and no end of the process.
        let mut file_size = SigSet::empty();
        file_size.add(Signal::SIGXFSZ);
        if let Err(error) = file_size.thread_block() {
            log::debug!("SIGXFSZ is not blocked: {error}");
        }
        self.change(StoreState::Loading);
        let first = self.open().inspect_err(|trouble| self.fail(trouble));
        let is_open = first.is_ok();
        // Before it is loaded, which waits for who listens. Who started the thread may not ask.
        let _ = opened.send(first);
        if is_open {
            let _ = self.attempt();
        }
        let mut was_ready = false;
        loop {
            // Before the queue is looked at, so that all that was sent before it is seen.
            let is_stopping = self.is_stopping();
            self.answer(asked);
            let has_tried = self.try_again();
            if self.is_ready() && !was_ready {
                door.open();
                self.announce();
            }
            was_ready = self.is_ready();
            if self.take_some() || has_tried {
                continue;
            }
            if is_stopping {
                break;
            }
            self.rest();
        }
        door.close();
        self.end();
    }

    fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Acquire)
    }

    fn is_ready(&self) -> bool {
        self.state == StoreState::Ready
    }

    /// Tries the disk again where that is due, also while batches come all the time; whether it was.
    fn try_again(&mut self) -> bool {
        let is_due = matches!(self.state, StoreState::Faulty(_)) && clock::now().mono_ns >= self.retry.due_ns;
        // What came of it is told by the state. At the stop nothing is waited for.
        is_due && !self.is_stopping() && self.attempt().is_ok()
    }

    /// Parks until there is something to do.
    fn rest(&self) {
        if matches!(self.state, StoreState::Faulty(_)) {
            let wait_ns = self.retry.due_ns.saturating_sub(clock::now().mono_ns);
            thread::park_timeout(Duration::from_nanos(wait_ns));
        } else {
            thread::park();
        }
    }

    /// Tries to be ready: takes the directory, opens the store, settles what is in doubt, loads, and sees whether there is room, as far as
    /// each is still to be done.
    fn attempt(&mut self) -> Result<(), Trouble> {
        let done = self.try_attempt();
        match &done {
            Ok(()) => {
                self.retry.distance_ns = limits::STORE_RETRY_NS_MIN;
                self.change(StoreState::Ready);
            }
            Err(trouble) => self.fail(trouble),
        }
        done
    }

    fn try_attempt(&mut self) -> Result<(), Trouble> {
        self.open()?;
        if self.telling.is_some() { self.load() } else { self.probe() }
    }

    /// Has the store open, and says of what is in doubt what the disk says.
    fn open(&mut self) -> Result<(), Trouble> {
        if self.disk.is_some() {
            return Ok(());
        }
        if self.directory.is_err() {
            let claimed =
                if self.was_there { Directory::lock(&self.path) } else { Directory::claim(&self.path) };
            self.directory = claimed.map_err(|error| match error {
                ClaimError::Disk(error) => error.into(),
                ClaimError::Taken(_) => Trouble::new(StoreFault::Io, "another process has the directory"),
            });
        }
        let directory = self.directory.as_ref().map_err(Clone::clone)?;
        let is_there = directory.store().try_exists()?;
        if self.was_there && !is_there {
            let what = "the store's file is gone";
            return Err(Trouble::new(StoreFault::Corrupt, what));
        }
        self.was_there |= is_there;
        let disk = Disk::open(directory, |_| {})?;
        self.was_there = true;
        if let Some(known) = self.known {
            let stamp = disk.stamp();
            let is_further = stamp.commits == known.commits + 1;
            let is_ours = stamp.identity == known.identity
                && (stamp.commits == known.commits || is_further && self.doubt.is_some());
            if !is_ours {
                let what = "another store, or an older one, is where ours was: what is in memory does not belong to it";
                return Err(Trouble::new(StoreFault::Corrupt, what).with_hint("start the server again"));
            }
            self.settle(is_further);
            self.known = Some(stamp);
        }
        self.shared.progress.file_bytes.set(file_bytes(&store_of(&self.path)));
        self.disk = Some(disk);
        Ok(())
    }

    /// Answers those whose commit has failed: it is known now whether it came through.
    fn settle(&mut self, came_through: bool) {
        let Some(batches) = self.doubt.take() else { return };
        if came_through {
            self.stored(&batches);
        } else {
            let fault = if let StoreState::Faulty(fault) = self.state { fault } else { StoreFault::Io };
            batches.into_iter().for_each(|batch| self.refuse(batch, fault));
        }
    }

    /// Tells all that the store has; where it could not be read to its end before, what was not told yet. Nothing is committed meanwhile,
    /// so that it is the same store as long as its stamp is.
    fn load(&mut self) -> Result<(), Trouble> {
        let (Some(disk), Some(mut walk)) = (&self.disk, self.telling) else { return Ok(()) };
        let began_ns = clock::now().mono_ns;
        let (snapshot, stamp) = (disk.snapshot()?, disk.stamp());
        self.known = Some(stamp);
        // It was something else where it was not readable at first.
        self.change(StoreState::Loading);
        while let Some((table, entries)) = snapshot.next_piece(&mut walk)? {
            self.loaded_entries += entries.len() as u64;
            // Nobody listens any more: what is to be committed waits.
            if !self.is_stopping() {
                self.say(StoreWord::Entries { table, entries });
            }
            self.telling = Some(walk);
        }
        drop(snapshot);
        self.say(StoreWord::Loaded);
        self.telling = None;
        let took_ns = clock::now().mono_ns - began_ns;
        self.shared.progress.loaded_entries.set(self.loaded_entries);
        self.shared.progress.load_ns.set(took_ns);
        Ok(())
    }

    /// Says once that it is loaded; to whoever reads that, its state says the same, and backups are given.
    fn announce(&mut self) {
        if std::mem::take(&mut self.is_unannounced) {
            let took_ms = self.shared.progress.load_ns.read() / 1_000_000;
            log::info!("the store is loaded: {} entries in {took_ms} ms", self.loaded_entries);
        }
    }

    fn probe(&mut self) -> Result<(), Trouble> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let done = disk.probe();
        if done.is_ok() {
            self.known = Some(disk.stamp());
        } else {
            self.doubt = Some(Vec::new());
            // The first of its two commits may have come through.
            self.known = Some(disk.stamp());
        }
        done
    }

    /// Takes what waits, in one commit; whether there was something.
    fn take_some(&mut self) -> bool {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < limits::STORE_COMMIT_BYTES_MAX
            && let Ok(batch) = self.queue.pop()
        {
            bytes += batch.weight_bytes();
            batches.push(batch);
        }
        if batches.is_empty() {
            return false;
        }
        match self.state {
            StoreState::Ready => self.commit(batches),
            StoreState::Faulty(StoreFault::DiskFull) => self.commit_what_makes_room(batches),
            StoreState::Faulty(fault) => batches.into_iter().for_each(|batch| self.refuse(batch, fault)),
            StoreState::Absent | StoreState::Loading => {
                unreachable!("invariant: an attempt ends ready or faulty")
            }
        }
        true
    }

    /// On a full disk what removes more than it puts is let through, or nothing would ever make room.
    fn commit_what_makes_room(&mut self, batches: Vec<StoreBatch>) {
        let (removing, putting): (Vec<_>, Vec<_>) = batches.into_iter().partition(makes_room);
        putting.into_iter().for_each(|batch| self.refuse(batch, StoreFault::DiskFull));
        if removing.is_empty() {
            return;
        }
        if self.disk.is_some() {
            self.commit(removing);
        } else {
            removing.into_iter().for_each(|batch| self.refuse(batch, StoreFault::DiskFull));
        }
    }

    fn commit(&mut self, batches: Vec<StoreBatch>) {
        let Some(disk) = &mut self.disk else { return };
        let progress = &self.shared.progress;
        let began_ns = clock::now().mono_ns;
        progress.commit_since_ns.set(began_ns.max(1));
        let done = disk.commit(batches.iter().flat_map(|batch| &batch.ops));
        progress.commit_since_ns.set(0);
        match done {
            Ok(()) => {
                let took_ns = clock::now().mono_ns - began_ns;
                progress.commits.add(1);
                progress.commit_ns.add(took_ns);
                progress.commit_ns_max.set(progress.commit_ns_max.read().max(took_ns));
                progress.file_bytes.set(file_bytes(&store_of(&self.path)));
                self.known = Some(disk.stamp());
                self.stored(&batches);
            }
            Err(trouble) => {
                self.doubt = Some(batches);
                self.fail(&trouble);
                // The disk may answer well enough to say what became of them; if not, they wait.
                if let Err(trouble) = self.open() {
                    self.fail(&trouble);
                }
            }
        }
    }

    fn stored(&mut self, batches: &[StoreBatch]) {
        batches.iter().for_each(|batch| self.shared.progress.store(batch));
        if let Some(last) = batches.last() {
            self.say(StoreWord::Stored { through: last.number });
        }
    }

    fn refuse(&mut self, batch: StoreBatch, fault: StoreFault) {
        self.shared.progress.refuse(&batch, fault);
        self.say(StoreWord::Refused { number: batch.number, fault });
    }

    /// The disk has refused: from now on so is what is sent, until it is good again.
    fn fail(&mut self, trouble: &Trouble) {
        let fault = trouble.fault;
        let is_news = self.state != StoreState::Faulty(fault);
        // What it has open is good for nothing any more, and what the kernel has of the file may never come to the disk.
        if let Some(disk) = self.disk.take() {
            drop(disk);
            forget_cache(&store_of(&self.path));
        }
        if fault == StoreFault::Corrupt {
            // So that a backup can be restored there.
            self.directory = Err(trouble.clone());
        }
        self.retry.due_ns = clock::now().mono_ns + self.retry.distance_ns;
        self.retry.distance_ns = (2 * self.retry.distance_ns).min(limits::STORE_RETRY_NS_MAX);
        self.change(StoreState::Faulty(fault));
        if is_news {
            let hint = trouble.hint.as_deref().unwrap_or(hint(fault));
            log::error!("the store refuses what is sent: {}: {trouble}: {hint}", self.path.display());
        }
    }

    /// Before the log says so: who reads it there is told the same by the metric.
    fn change(&mut self, state: StoreState) {
        if state == self.state {
            return;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.shared.progress.set_state(state);
        if state == StoreState::Ready && matches!(before, StoreState::Faulty(_)) {
            log::warn!("{}: the store takes what is sent again", self.path.display());
        }
        self.say(StoreWord::State(state));
    }

    /// Says it to the sender, as soon as there is room; to nobody, where the sender has gone.
    fn say(&mut self, word: StoreWord) {
        let mut word = word;
        while let Err(PushError::Full(unsaid)) = self.words.push(word) {
            // At the stop the sender listens no more.
            if self.words.is_abandoned() || self.is_stopping() {
                return;
            }
            word = unsaid;
            self.doorbell.ring();
            thread::park_timeout(SAY_RETRY);
        }
        self.doorbell.ring();
    }

    /// Gives snapshots to those who make backups.
    fn answer(&mut self, asked: &Receiver<Ask>) {
        while let Ok(ask) = asked.try_recv() {
            let snapshot = match &self.disk {
                Some(disk) if self.telling.is_none() => disk.snapshot(),
                Some(_) | None => Err(Trouble::new(StoreFault::Io, "the store is not ready")),
            };
            // Who asked may have given up.
            let _ = ask.send(snapshot);
        }
    }

    /// What is in doubt stays so: who sent it was not told that it was stored.
    fn end(self) {
        if let Some(batches) = self.doubt.filter(|batches| !batches.is_empty()) {
            log::error!(
                "{}: whether the last {} batches are stored is not known: the disk failed while they were written",
                self.path.display(),
                batches.len()
            );
        }
        if let Some(disk) = self.disk
            && let Err(trouble) = disk.close()
        {
            log::warn!("{}: the store was not closed in order: {trouble}", self.path.display());
        }
    }
}

/// Whether a batch leaves less in the store than there was, as far as it can be told without a look.
pub(super) fn makes_room(batch: &StoreBatch) -> bool {
    let (mut removes, mut bytes) = (0, 0);
    for op in &batch.ops {
        match op {
            StoreOp::Remove { .. } => removes += 1,
            StoreOp::Put { value, .. } => bytes += value.len(),
        }
    }
    removes > 0 && bytes <= removes * limits::STORE_PUT_BYTES_PER_REMOVE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::storage::Table;

    #[test]
    fn what_removes_an_entry_and_notes_little_of_it_makes_room() {
        let remove = StoreOp::Remove { table: Table::Messages, key: 1 };
        let put = |bytes| StoreOp::Put { table: Table::Done, key: 1, value: vec![0; bytes].into() };
        let makes_room = |ops: &[&StoreOp]| {
            makes_room(&StoreBatch { number: 1, ops: ops.iter().copied().cloned().collect() })
        };
        assert!(makes_room(&[&remove]) && makes_room(&[&remove, &put(128)]));
        assert!(makes_room(&[&put(200), &remove, &remove]));
        assert!(!makes_room(&[]) && !makes_room(&[&put(0)]) && !makes_room(&[&remove, &put(129)]));
    }
}
