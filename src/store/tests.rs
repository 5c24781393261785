//! A store with its thread, on a real disk; what goes wrong with that disk; backups of a store that runs.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, says what it could not check, has small numbers and no shard to stall"
)]

mod commands;
mod faults;
mod torn;

use nix::poll::PollTimeout;

use super::scratch::Scratch;
use super::*;
use crate::model::storage::{Key, StoreFault, StoreState, Table};

/// A store that runs, and its sender.
struct Running {
    store: Store,
    handle: StoreHandle,
    bell: Doorbell,
    number: u64,
}

/// What a store tells when it loads.
type Loaded = Vec<(Table, Key, Vec<u8>)>;

impl Running {
    fn start(path: &Path) -> Running {
        Running::start_with(path, 64, 1 << 20)
    }

    fn start_with(path: &Path, queue_batches_max: usize, queue_bytes_max: usize) -> Running {
        let bell = Doorbell::new().unwrap();
        let directory = claim(path).unwrap();
        let doorbell = bell.clone();
        let setup =
            StoreSetup { directory, doorbell, queue_batches_max, queue_bytes_max, give_way: || Ok(()) };
        let (store, handle) = Store::start(setup).unwrap();
        Running { store, handle, bell, number: 0 }
    }

    /// Started, loaded and ready, with what it had.
    fn ready(path: &Path) -> (Running, Loaded) {
        let mut running = Running::start(path);
        let loaded = running.load();
        (running, loaded)
    }

    fn word(&mut self) -> StoreWord {
        loop {
            if let Some(word) = self.handle.receive() {
                return word;
            }
            self.bell.rings(PollTimeout::NONE);
        }
    }

    fn load(&mut self) -> Loaded {
        assert_eq!(self.word(), StoreWord::State(StoreState::Loading));
        let mut loaded = Vec::new();
        loop {
            match self.word() {
                StoreWord::Entries { table, entries } => {
                    loaded.extend(entries.into_iter().map(|(key, value)| (table, key, value.into_vec())));
                }
                StoreWord::Loaded => break,
                other => panic!("{other:?} while it loads"),
            }
        }
        assert_eq!(self.word(), StoreWord::State(StoreState::Ready));
        loaded
    }

    /// Sends a batch, which has room.
    fn send(&mut self, ops: Vec<StoreOp>) -> u64 {
        self.number += 1;
        self.handle.send(StoreBatch { number: self.number, ops }).unwrap();
        self.number
    }

    /// Sends a batch and waits until it is on the disk.
    fn store(&mut self, ops: Vec<StoreOp>) {
        let through = self.send(ops);
        assert_eq!(self.word(), StoreWord::Stored { through });
    }

    /// Words up to and with this one.
    fn await_word(&mut self, awaited: &StoreWord) {
        while self.word() != *awaited {}
    }

    fn stop(self) {
        assert!(self.store.stop());
    }
}

fn put(key: Key, value: &[u8]) -> StoreOp {
    StoreOp::Put { table: Table::Messages, key, value: value.into() }
}

fn remove(key: Key) -> StoreOp {
    StoreOp::Remove { table: Table::Messages, key }
}

fn message(key: Key, value: &[u8]) -> (Table, Key, Vec<u8>) {
    (Table::Messages, key, value.to_vec())
}

#[test]
fn what_was_stored_is_loaded_at_the_next_start_table_for_table_in_the_order_of_keys() {
    let scratch = Scratch::new("load");
    let (mut running, loaded) = Running::ready(scratch.path());
    assert_eq!(loaded, []);
    let group = StoreOp::Put { table: Table::Groups, key: 3, value: b"g"[..].into() };
    running.store(vec![group, put(256, b"later"), put(1, b"first"), put(2, b"gone")]);
    // The last of several on one key holds.
    running.store(vec![remove(2), put(7, b"old"), put(7, b"new"), put(8, b"x"), remove(8), remove(99)]);
    running.stop();
    let (running, loaded) = Running::ready(scratch.path());
    let of_groups = (Table::Groups, 3, b"g".to_vec());
    assert_eq!(loaded, [message(1, b"first"), message(7, b"new"), message(256, b"later"), of_groups]);
    running.stop();
}

#[test]
fn what_waits_goes_into_few_commits_and_is_answered_in_order() {
    let scratch = Scratch::new("group");
    let (mut running, _) = Running::ready(scratch.path());
    const ROUNDS: u64 = 20;
    for _ in 0..ROUNDS {
        let mut last = 0;
        for key in 0..50 {
            last = running.send(vec![put(key, &[1; 300])]);
        }
        let mut answered = 0;
        while answered < last {
            let StoreWord::Stored { through } = running.word() else { panic!("nothing goes wrong") };
            assert!(through > answered);
            answered = through;
        }
    }
    let told = running.store.progress().reading(0);
    assert_eq!((told.batches_total, told.operations_total), (50 * ROUNDS, 50 * ROUNDS));
    assert_eq!(told.bytes_total, 300 * 50 * ROUNDS);
    // The first of a round may find the thread asleep; the others come while it writes.
    assert!(told.commits_total < 50 * ROUNDS / 2, "{} commits", told.commits_total);
    assert_eq!((told.queued_batches, told.queued_bytes, told.state), (0, 0, 2));
    running.stop();
}

#[test]
fn a_queue_that_is_full_hands_the_batch_back_and_takes_it_once_something_is_answered() {
    let scratch = Scratch::new("full");
    let (mut running, _) = Running::ready(scratch.path());
    // More than its words have room for, so that the next one waits for us with what it loads.
    for key in 0..80 {
        running.store(vec![put(key, &vec![7; limits::STORE_PIECE_BYTES])]);
    }
    running.stop();
    let batch = |number| StoreBatch { number, ops: vec![put(number, &[1; 1000])] };
    let weight = batch(1).weight_bytes();
    let mut running = Running::start_with(scratch.path(), 4, 3 * weight);
    for number in 1..=3 {
        running.handle.send(batch(number)).unwrap();
    }
    assert_eq!(running.handle.room(), Room { batches: 1, bytes: 0 });
    assert_eq!(running.handle.send(batch(4)), Err(batch(4)), "bytes");
    assert_eq!(running.load().len(), 80);
    running.await_word(&StoreWord::Stored { through: 3 });
    assert_eq!(running.handle.room(), Room { batches: 4, bytes: 3 * weight });
    // One that is too long by itself is taken alone.
    let long = StoreBatch { number: 4, ops: vec![put(4, &vec![1; 4 * weight])] };
    running.handle.send(long).unwrap();
    running.await_word(&StoreWord::Stored { through: 4 });
    running.stop();
    let mut running = Running::start_with(scratch.path(), 4, 100 * weight);
    for number in 1..=4 {
        running.handle.send(batch(number)).unwrap();
    }
    assert_eq!(running.handle.send(batch(5)), Err(batch(5)), "batches");
    running.load();
    running.await_word(&StoreWord::Stored { through: 4 });
    running.stop();
}

#[test]
fn what_was_sent_before_the_stop_is_stored_though_nobody_listens_any_more() {
    let scratch = Scratch::new("stop");
    let (mut running, _) = Running::ready(scratch.path());
    for key in 0..60 {
        running.send(vec![put(key, b"x")]);
    }
    drop(running.handle);
    assert!(running.store.stop());
    let (mut running, loaded) = Running::ready(scratch.path());
    assert_eq!(loaded.len(), 60);
    for key in 0..60 {
        running.send(vec![remove(key)]);
    }
    // Nor while it loads, or with a sender that stays.
    assert!(running.store.stop());
    drop(running.handle);
    let (running, loaded) = Running::ready(scratch.path());
    assert_eq!(loaded, []);
    running.stop();
}

#[test]
fn a_second_server_in_the_same_directory_is_refused_in_one_line() {
    let scratch = Scratch::new("second");
    let (running, _) = Running::ready(scratch.path());
    let failure = claim(scratch.path()).unwrap_err();
    let expected = format!("{} is in use by process {}: stop", scratch.path().display(), std::process::id());
    assert!(failure.to_string().starts_with(&expected), "{failure}");
    running.stop();
    assert!(claim(scratch.path()).unwrap().is_ok());
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let failure = claim(&file).unwrap_err();
    assert_eq!(failure.exit, crate::exit::Exit::Config, "{failure}");
}
