//! The store for durable messages on this machine's disk: `cargo bench --bench store [-- DIRECTORY]`. The disk's own fsync is measured
//! beside, before and after, in the same directory and at the same pace: each turn an append of what a batch has, to a file whose blocks are
//! written already, and its fdatasync. Back to back as well, which is quicker: nothing sleeps between. Some half a minute. A number that is
//! not reached is printed as FAILS, and the exit code is 1.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark prints what a clock says"
)]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tickring::clock;
use tickring::doorbell::Doorbell;
use tickring::model::storage::{Key, StoreBatch, StoreOp, StoreState, StoreWord, Table};
use tickring::store::{self, Store, StoreHandle, StoreSetup};

/// What is asked of it: puts a second of 300 bytes, and as many removes, for so long.
const PUTS_PER_S: u64 = 20_000;
const SECONDS: u64 = 8;
const VALUE_BYTES: usize = 300;
/// How often the sender has a turn, and so a batch.
const TURNS_PER_S: u64 = 1_000;
const TURN_NS: u64 = 1_000_000_000 / TURNS_PER_S;
/// A message is removed so many puts after its own.
const BEHIND: u64 = PUTS_PER_S;
/// Times the disk's own p99 that the way from send to durable may take.
const FSYNCS_MAX: f64 = 4.0;
const ENTRIES: u64 = 1_000_000;
const LOAD_S_MAX: f64 = 2.0;
/// Of each of the four measurements of the disk by itself.
const RAW_SYNCS: u64 = 2_000;
/// What the puts and removes of a turn take, in whole pages.
const RAW_BYTES: usize = 8192;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this with `--test`: these are measurements, not checks.
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let place = arguments.iter().find(|argument| !argument.starts_with("--"));
    let place = place.map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = Scratch(place.join(format!("tickring-bench-store-{}", std::process::id())));
    fs::create_dir_all(&scratch.0).expect("the directory can be made");
    let is_met = [steady(&scratch.0), as_fast_as_it_goes(&scratch.0), load(&scratch.0)];
    if is_met.into_iter().all(|is_met| is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now_ns() -> u64 {
    clock::now().mono_ns
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "ok" } else { "FAILS" }
}

/// A sender: the store's handle and its doorbell.
struct Sender {
    store: Store,
    handle: StoreHandle,
    bell: Doorbell,
    number: u64,
}

impl Sender {
    fn open(directory: &Path) -> Sender {
        let bell = Doorbell::new().expect("a descriptor");
        let setup = StoreSetup {
            directory: store::claim(directory).expect("the directory is ours"),
            doorbell: bell.clone(),
            queue_batches_max: 4096,
            queue_bytes_max: 64 << 20,
            give_way: || Ok(()),
        };
        let (store, handle) = Store::start(setup).expect("a thread");
        Sender { store, handle, bell, number: 0 }
    }

    /// Waits until it is ready; how many entries it told of.
    fn load(&mut self) -> u64 {
        let mut count = 0;
        loop {
            match self.handle.receive() {
                Some(StoreWord::Entries { entries, .. }) => count += entries.len() as u64,
                Some(StoreWord::State(StoreState::Ready)) => return count,
                Some(StoreWord::State(StoreState::Faulty(fault))) => panic!("{fault}"),
                Some(_) => {}
                None => self.wait(None),
            }
        }
    }

    /// Until the store says something, or that time has come.
    fn wait(&self, until_ns: Option<u64>) {
        let timeout = until_ns
            .map(|until_ns| TimeSpec::from_duration(Duration::from_nanos(until_ns.saturating_sub(now_ns()))));
        let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if ppoll(&mut fds, timeout, None).is_ok_and(|ready| ready > 0) {
            // Emptied, so that the next wait is one.
            let _ = nix::unistd::read(self.bell.as_fd(), &mut [0; 8]);
        }
    }

    fn send(&mut self, ops: Vec<StoreOp>) {
        self.number += 1;
        self.handle.send(StoreBatch { number: self.number, ops }).expect("there is room");
    }

    /// Batches up to this one are known to be stored.
    fn stored(&mut self) -> Option<u64> {
        match self.handle.receive()? {
            StoreWord::Stored { through } => Some(through),
            other => panic!("{other:?}"),
        }
    }
}

fn put(key: Key) -> StoreOp {
    // Not all the same, as messages are not.
    let value = (0..VALUE_BYTES as u64)
        .map(|place| (key.wrapping_mul(0x9E37_79B9).wrapping_add(place * 7) >> 3) as u8);
    StoreOp::Put { table: Table::Messages, key, value: value.collect() }
}

fn remove(key: Key) -> StoreOp {
    StoreOp::Remove { table: Table::Messages, key }
}

/// What the disk takes by itself for an append that is durable.
#[derive(Default)]
struct Raw {
    paced: Vec<u64>,
    back_to_back: Vec<u64>,
}

impl Raw {
    fn measure(&mut self, directory: &Path) {
        let path = directory.join("raw");
        let file = File::create(&path).expect("a file");
        let write = |nth: u64, byte| {
            file.write_all_at(&[byte; RAW_BYTES], nth * RAW_BYTES as u64).expect("a disk");
        };
        // Written, not only allocated: else each append changes what the file system knows of the file.
        (0..RAW_SYNCS).for_each(|nth| write(nth, 0));
        file.sync_all().expect("a disk");
        let append = |nth: u64| {
            let began_ns = now_ns();
            write(nth, 0x5A);
            file.sync_data().expect("a disk");
            now_ns() - began_ns
        };
        self.back_to_back.extend((0..RAW_SYNCS).map(append));
        let began_ns = now_ns();
        self.paced.extend((0..RAW_SYNCS).map(|nth| {
            sleep_until(began_ns + nth * TURN_NS);
            append(nth)
        }));
        fs::remove_file(&path).expect("our file");
    }
}

fn sleep_until(at_ns: u64) {
    if let Some(left_ns) = at_ns.checked_sub(now_ns()) {
        std::thread::sleep(Duration::from_nanos(left_ns));
    }
}

fn percentile(sorted: &[u64], percent: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * percent / 100.0) as usize] as f64 / 1e6
}

fn told(what: &str, mut taken_ns: Vec<u64>) -> f64 {
    taken_ns.sort_unstable();
    let of = |percent| percentile(&taken_ns, percent);
    println!(
        "{what:24} p50 {:7.3} ms   p90 {:7.3} ms   p99 {:7.3} ms   p99.9 {:7.3} ms   max {:7.3} ms   of {}",
        of(50.0),
        of(90.0),
        of(99.0),
        of(99.9),
        of(100.0),
        taken_ns.len()
    );
    of(99.0)
}

/// At a steady rate, each put counted from when it was to be sent. The sender sleeps until it has something to send or to hear, as a shard
/// does: spinning, it would take one of the cores that the store has.
fn steady(scratch: &Path) -> bool {
    let mut raw = Raw::default();
    raw.measure(scratch);
    let mut sender = Sender::open(&scratch.join("steady"));
    sender.load();
    let per_turn = PUTS_PER_S / TURNS_PER_S;
    let turns = TURNS_PER_S * SECONDS;
    let began_ns = now_ns();
    let due_ns = |turn: u64| began_ns + turn * TURN_NS;
    let (mut turn, mut stored) = (0, 0_u64);
    let (mut taken, mut late) = (Vec::new(), Vec::new());
    while stored < turns {
        while turn < turns && due_ns(turn) <= now_ns() {
            late.push(now_ns() - due_ns(turn));
            let keys = turn * per_turn..(turn + 1) * per_turn;
            let removes = keys.clone().filter_map(|key| key.checked_sub(BEHIND)).map(remove);
            sender.send(keys.map(put).chain(removes).collect());
            turn += 1;
        }
        while let Some(through) = sender.stored() {
            let now_ns = now_ns();
            // All of a batch are stored at once, and count each.
            let each = (stored..through)
                .flat_map(|turn| std::iter::repeat_n(now_ns - due_ns(turn), per_turn as usize));
            taken.extend(each);
            stored = through;
        }
        if stored < turns {
            sender.wait((turn < turns).then(|| due_ns(turn)));
        }
    }
    let took_s = (now_ns() - began_ns) as f64 / 1e9;
    let reading = sender.store.progress().reading(now_ns());
    assert!(sender.store.stop(), "it ends");
    raw.measure(scratch);
    told("disk, back to back", raw.back_to_back);
    let raw_p99 = told("disk, at the same pace", raw.paced);
    told("the sender's own lag", late);
    let p99 = told("send to durable", taken);
    let rate = (turns * per_turn) as f64 / took_s;
    let is_met = p99 <= FSYNCS_MAX * raw_p99 && rate >= 0.99 * PUTS_PER_S as f64;
    println!(
        "steady                   {rate:.0} puts/s and as many removes, {} commits of {:.1} batches: p99 is {:.2} times the disk's own, at most \
         {FSYNCS_MAX}: {}",
        reading.commits_total,
        reading.batches_total as f64 / reading.commits_total as f64,
        p99 / raw_p99,
        verdict(is_met)
    );
    is_met
}

/// With the queue always as full as it may be.
fn as_fast_as_it_goes(scratch: &Path) -> bool {
    let mut sender = Sender::open(&scratch.join("fast"));
    sender.load();
    let began_ns = now_ns();
    let mut key: Key = 0;
    let (mut sent, mut stored) = (0_u64, 0);
    let over_ns = began_ns + 5_000_000_000;
    while now_ns() < over_ns || stored < sent {
        while now_ns() < over_ns && sent < stored + 500 {
            let keys = key..key + 20;
            key += 20;
            let removes = keys.clone().filter_map(|key| key.checked_sub(BEHIND)).map(remove);
            sender.send(keys.map(put).chain(removes).collect());
            sent = sender.number;
        }
        match sender.stored() {
            Some(through) => stored = through,
            None if stored < sent => sender.wait(None),
            None => {}
        }
    }
    let rate = key as f64 / ((now_ns() - began_ns) as f64 / 1e9);
    let reading = sender.store.progress().reading(now_ns());
    assert!(sender.store.stop(), "it ends");
    let is_met = rate >= PUTS_PER_S as f64;
    println!(
        "as fast as it goes       {rate:.0} puts/s and as many removes, {} MiB of file, at least {PUTS_PER_S}: {}",
        reading.file_bytes >> 20,
        verdict(is_met)
    );
    is_met
}

/// The start with many entries, after an end in order.
fn load(scratch: &Path) -> bool {
    let directory = scratch.join("load");
    let mut sender = Sender::open(&directory);
    sender.load();
    let (mut key, mut stored) = (0, 0);
    while stored < ENTRIES / 1000 {
        while key < ENTRIES && sender.number < stored + 50 {
            sender.send((key..key + 1000).map(put).collect());
            key += 1000;
        }
        match sender.stored() {
            Some(through) => stored = through,
            None => sender.wait(None),
        }
    }
    assert!(sender.store.stop(), "it ends");
    let began_ns = now_ns();
    let mut sender = Sender::open(&directory);
    let count = sender.load();
    let took = Duration::from_nanos(now_ns() - began_ns).as_secs_f64();
    assert_eq!(count, ENTRIES, "all are loaded");
    assert!(sender.store.stop(), "it ends");
    let is_met = took <= LOAD_S_MAX;
    println!(
        "load                     {count} entries checked and told in {took:.3} s, at most {LOAD_S_MAX}: {}",
        verdict(is_met)
    );
    is_met
}
