//! The store as a stream of JetStream, on this machine: `NATS_SERVER=… cargo bench --bench jetstream`. One nats-server as it comes, one that has each message
//! on the disk before it confirms it, and three of which a majority has it. All share the machine with the sender. Some half a minute. A rate that is
//! not reached is printed as FAILS, and the exit code is 1.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark prints what a clock says, and fails by panicking"
)]

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tickring::clock;
use tickring::cluster::names::{ClusterName, Fence};
use tickring::doorbell::Doorbell;
use tickring::model::storage::{Key, StoreBatch, StoreOp, StoreState, StoreWord, Table};
use tickring::store::StoreHandle;
use tickring::store::jetstream::{JetSettings, JetSetup, JetStore};

#[path = "../tests/cluster/nats_server.rs"]
mod nats_server;

use nats_server::NatsServer;

/// As `benches/store.rs` asks of a disk of this machine.
const PUTS_PER_S: u64 = 20_000;
const SECONDS: u64 = 5;
const VALUE_BYTES: usize = 300;
const TURNS_PER_S: u64 = 1_000;
const TURN_NS: u64 = 1_000_000_000 / TURNS_PER_S;
const BEHIND: u64 = PUTS_PER_S;
const ENTRIES: u64 = 1_000_000;

fn main() -> ExitCode {
    // `cargo test --benches` runs this with `--test`: these are measurements, not checks.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let mut is_met = true;
    let server = NatsServer::start("");
    is_met &= measure("one server, as it comes", &[server.url()], 1);
    load(&server.url());
    drop(server);
    let server = NatsServer::start_that_syncs_always("");
    is_met &= measure("one server, sync_interval: always", &[server.url()], 1);
    drop(server);
    let servers = NatsServer::start_three();
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    is_met &= measure("three servers, as they come", &urls, 3);
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn now_ns() -> u64 {
    clock::now().mono_ns
}

struct Sender {
    store: JetStore,
    handle: StoreHandle,
    bell: Doorbell,
    number: u64,
}

impl Sender {
    fn open(urls: &[String], replicas: usize, fence: u64) -> Sender {
        let bell = Doorbell::new().unwrap();
        let settings = JetSettings {
            servers: urls.iter().map(|url| url.parse().unwrap()).collect(),
            options: async_nats::ConnectOptions::new(),
            cluster: ClusterName::parse(b"bench").unwrap(),
            replicas,
            bytes_max: 4 << 30,
        };
        let store = JetStore::new(JetSetup {
            settings,
            doorbell: bell.clone(),
            queue_batches_max: 4096,
            queue_bytes_max: 64 << 20,
            give_way: || Ok(()),
        });
        let handle = store.open(Fence(fence)).unwrap();
        Sender { store, handle, bell, number: 0 }
    }

    /// Waits until it is ready; how many entries it told of.
    fn load(&mut self) -> u64 {
        let mut count = 0;
        loop {
            match self.handle.receive() {
                Some(StoreWord::Entries { entries, .. }) => count += entries.len() as u64,
                Some(StoreWord::State(StoreState::Ready)) => return count,
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

    fn send(&mut self, keys: std::ops::Range<Key>) {
        self.number += 1;
        let removes: Vec<StoreOp> =
            keys.clone().filter_map(|key| key.checked_sub(BEHIND)).map(remove).collect();
        let ops = keys.map(put).chain(removes).collect();
        self.handle.send(StoreBatch { number: self.number, ops }).unwrap();
    }

    fn stored(&mut self) -> Option<u64> {
        match self.handle.receive()? {
            StoreWord::Stored { through } => Some(through),
            other => panic!("{other:?}"),
        }
    }
}

fn put(key: Key) -> StoreOp {
    let value = (0..VALUE_BYTES as u64)
        .map(|place| (key.wrapping_mul(0x9E37_79B9).wrapping_add(place * 7) >> 3) as u8);
    StoreOp::Put { table: Table::Messages, key, value: value.collect() }
}

fn remove(key: Key) -> StoreOp {
    StoreOp::Remove { table: Table::Messages, key }
}

fn measure(what: &str, urls: &[String], replicas: usize) -> bool {
    println!("{what}");
    let mut sender = Sender::open(urls, replicas, 1);
    sender.load();
    let is_met = steady(&mut sender);
    let is_fast = as_fast_as_it_goes(&mut sender);
    assert!(sender.store.stop(), "it ends");
    is_met && is_fast
}

/// At a steady rate, each put counted from when it was to be sent.
fn steady(sender: &mut Sender) -> bool {
    let per_turn = PUTS_PER_S / TURNS_PER_S;
    let turns = TURNS_PER_S * SECONDS;
    let began_ns = now_ns();
    let due_ns = |turn: u64| began_ns + turn * TURN_NS;
    let (mut turn, mut stored, mut taken) = (0, 0_u64, Vec::new());
    while stored < turns {
        while turn < turns && due_ns(turn) <= now_ns() {
            sender.send(turn * per_turn..(turn + 1) * per_turn);
            turn += 1;
        }
        while let Some(through) = sender.stored() {
            let now_ns = now_ns();
            taken.extend((stored..through).map(|turn| now_ns - due_ns(turn)));
            stored = through;
        }
        if stored < turns {
            sender.wait((turn < turns).then(|| due_ns(turn)));
        }
    }
    let took_s = (now_ns() - began_ns) as f64 / 1e9;
    let reading = sender.store.reading(now_ns());
    taken.sort_unstable();
    let of = |percent: usize| taken[(taken.len() - 1) * percent / 100] as f64 / 1e6;
    let rate = (turns * per_turn) as f64 / took_s;
    let is_met = rate >= 0.99 * PUTS_PER_S as f64;
    println!(
        "  steady              {rate:.0} puts/s and as many removes, {} messages: p50 {:.3} ms   p90 {:.3} ms   p99 {:.3} ms   max {:.3} ms: {}",
        reading.commits_total,
        of(50),
        of(90),
        of(99),
        of(100),
        verdict(is_met)
    );
    is_met
}

/// With the queue always as full as it may be.
fn as_fast_as_it_goes(sender: &mut Sender) -> bool {
    let began_ns = now_ns();
    let first: Key = 1 << 40;
    let mut key = first;
    let mut stored = sender.number;
    let over_ns = began_ns + 3_000_000_000;
    while now_ns() < over_ns || stored < sender.number {
        while now_ns() < over_ns && sender.number < stored + 500 {
            sender.send(key..key + 20);
            key += 20;
        }
        match sender.stored() {
            Some(through) => stored = through,
            None if stored < sender.number => sender.wait(None),
            None => {}
        }
    }
    let rate = (key - first) as f64 / ((now_ns() - began_ns) as f64 / 1e9);
    let is_met = rate >= PUTS_PER_S as f64;
    println!(
        "  as fast as it goes  {rate:.0} puts/s and as many removes, at least {PUTS_PER_S}: {}",
        verdict(is_met)
    );
    is_met
}

/// An opening with many entries.
fn load(url: &str) {
    let urls = [url.to_owned()];
    let mut sender = Sender::open(&urls, 1, 2);
    let before = sender.load();
    let (mut key, mut stored) = (1 << 50, 0);
    let end = key + ENTRIES;
    while stored < ENTRIES / 1000 {
        while key < end && sender.number < stored + 50 {
            let ops = (key..key + 1000).map(put).collect();
            sender.number += 1;
            sender.handle.send(StoreBatch { number: sender.number, ops }).unwrap();
            key += 1000;
        }
        match sender.stored() {
            Some(through) => stored = through,
            None => sender.wait(None),
        }
    }
    assert!(sender.store.stop(), "it ends");
    let began_ns = now_ns();
    let mut sender = Sender::open(&urls, 1, 3);
    let count = sender.load();
    let took = Duration::from_nanos(now_ns() - began_ns).as_secs_f64();
    assert_eq!(count, ENTRIES + before, "all are loaded");
    println!("  load                {count} entries taken over and told in {took:.3} s");
    assert!(sender.store.stop(), "it ends");
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "ok" } else { "FAILS" }
}
