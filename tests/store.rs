//! A store whose process is killed at any moment: what was said to be stored is there, and every batch as a whole or not at all.
#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; the child's ledger is its stdout"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tickring::doorbell::Doorbell;
use tickring::model::storage::{Key, StoreBatch, StoreOp, StoreWord, Table};
use tickring::store::{self, Store, StoreHandle, StoreSetup};

/// How often the process is killed.
const KILLS: u32 = 50;
/// A batch puts so many, and removes those of the batch so far before it.
const PUTS: u64 = 4;
const BEHIND: u64 = 100;
/// Batches that are sent ahead of what is known to be stored.
const AHEAD: u64 = 64;
/// Set for the process that is killed: where its store is, and its first batch.
const CHILD: &str = "STORE_TEST_CHILD";

fn value(key: Key) -> Box<[u8]> {
    (0..300).map(|place| (key.wrapping_mul(31).wrapping_add(place) % 251) as u8).collect()
}

fn batch(number: u64) -> StoreBatch {
    let keys = |number: u64| number * PUTS..(number + 1) * PUTS;
    let puts = keys(number).map(|key| StoreOp::Put { table: Table::Messages, key, value: value(key) });
    let removed = number.checked_sub(BEHIND).map(keys).into_iter().flatten();
    let removes = removed.map(|key| StoreOp::Remove { table: Table::Messages, key });
    StoreBatch { number, ops: puts.chain(removes).collect() }
}

/// What there is behind so many batches.
fn expected(batches: u64) -> Vec<Key> {
    (batches.saturating_sub(BEHIND) * PUTS..batches * PUTS).collect()
}

/// Not a test by itself: the process that is killed. It writes the number of what is stored to its stdout, line by line.
#[test]
fn child() {
    let Some(asked) = std::env::var_os(CHILD) else { return };
    let asked = asked.into_string().unwrap();
    let (first, directory) = asked.split_once(' ').unwrap();
    let (_store, handle, bell) = open(Path::new(directory));
    write_for_ever(handle, &bell, first.parse().unwrap());
}

fn open(directory: &Path) -> (Store, StoreHandle, Doorbell) {
    let bell = Doorbell::new().unwrap();
    let setup = StoreSetup {
        directory: store::claim(directory).unwrap(),
        doorbell: bell.clone(),
        queue_batches_max: 2 * AHEAD as usize,
        queue_bytes_max: 64 << 20,
        give_way: || Ok(()),
    };
    let (store, handle) = Store::start(setup).unwrap();
    (store, handle, bell)
}

fn write_for_ever(mut handle: StoreHandle, bell: &Doorbell, first: u64) {
    let mut out = std::io::stdout();
    let mut say = |line: &str| {
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    say("\nbegun\n");
    let (mut next, mut stored) = (first, first);
    loop {
        while next < stored + AHEAD {
            handle.send(batch(next)).unwrap();
            next += 1;
        }
        match handle.receive() {
            Some(StoreWord::Stored { through }) => {
                stored = through + 1;
                say(&format!("{through}\n"));
            }
            Some(StoreWord::Refused { number, fault }) => panic!("{number} is refused: {fault}"),
            Some(StoreWord::Entries { .. } | StoreWord::Loaded | StoreWord::State(_)) => {}
            // Rung or not, it looks again: the count of rings is never read.
            None => drop(poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)),
        }
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the child from a batch on, kills it so long after it has begun, and gives the last batch that it was told to be stored.
fn run_and_kill(directory: &Path, first: u64, after: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--nocapture"]).env(CHILD, format!("{first} {}", directory.display()));
    let mut child = Killed(child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "begun"), "the child begins");
    std::thread::park_timeout(after);
    drop(child);
    lines.filter_map(|line| line.parse().ok()).last()
}

#[test]
fn after_each_of_many_kills_what_was_acknowledged_is_there_and_nothing_half() {
    let scratch = Scratch(std::env::temp_dir().join(format!("tickring-kills-{}", std::process::id())));
    let directory = scratch.0.join("s");
    let (mut next, mut random, mut acknowledged) = (0, 88_172_645_463_325_252_u64, 0);
    for round in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let last = run_and_kill(&directory, next, Duration::from_micros(random % 120_000));
        let at_least = last.map_or(next, |last| last + 1);
        acknowledged += at_least - next;
        let mut keys = Vec::new();
        store::each_entry(&directory, &mut |_, _| {}, &mut |table, key, bytes| {
            assert_eq!((table, bytes), (Table::Messages, &value(key)[..]), "round {round}, key {key}");
            keys.push(key);
            Ok(())
        })
        .unwrap();
        let found = keys.last().map_or(0, |key| key / PUTS + 1);
        assert!(
            at_least <= found && found <= at_least + AHEAD,
            "round {round}: {found} found, {at_least} told"
        );
        assert_eq!(keys, expected(found), "round {round}");
        next = found;
    }
    println!("{KILLS} kills, {acknowledged} batches acknowledged, {next} found");
    assert!(acknowledged > u64::from(KILLS), "it was killed while it wrote");
}
