//! A store that runs, its sender, and what the sender knows of what is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tickring::cluster::names::{ClusterName, Fence};
use tickring::doorbell::Doorbell;
use tickring::limits;
use tickring::model::storage::{Key, StoreBatch, StoreFault, StoreOp, StoreState, StoreWord, Table};
use tickring::store::StoreHandle;
use tickring::store::jetstream::{JetSettings, JetSetup, JetStore};

/// What a store tells when it loads.
pub(crate) type Loaded = Vec<(Table, Key, Vec<u8>)>;

/// See the file's head.
pub(crate) struct Running {
    pub(crate) store: JetStore,
    pub(crate) handle: StoreHandle,
    bell: Doorbell,
    pub(crate) number: u64,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Stored,
    Refused(StoreFault),
}

pub(crate) fn settings(url: &str) -> JetSettings {
    JetSettings {
        servers: vec![url.parse().unwrap()],
        options: async_nats::ConnectOptions::new(),
        cluster: ClusterName::parse(b"tests").unwrap(),
        replicas: 1,
        bytes_max: limits::JETSTREAM_BYTES_MIN,
    }
}

pub(crate) const STREAM: &str = "tickring-tests-messages";
pub(crate) const SUBJECT: &str = "tickring.tests.messages";

impl Running {
    /// Opened for the owner of that fence.
    pub(crate) fn open(url: &str, fence: u64) -> Running {
        Running::open_with(settings(url), fence, 64, 1 << 20)
    }

    pub(crate) fn open_with(
        settings: JetSettings,
        fence: u64,
        queue_batches_max: usize,
        queue_bytes_max: usize,
    ) -> Running {
        // Shown where a test fails.
        let _ =
            env_logger::builder().is_test(true).filter_module("tickring", log::LevelFilter::Info).try_init();
        let bell = Doorbell::new().unwrap();
        let doorbell = bell.clone();
        let setup = JetSetup { settings, doorbell, queue_batches_max, queue_bytes_max, give_way: || Ok(()) };
        let store = JetStore::new(setup);
        let handle = store.open(Fence(fence)).unwrap();
        Running { store, handle, bell, number: 0 }
    }

    /// Opened, loaded and ready, with what it had.
    pub(crate) fn ready(url: &str, fence: u64) -> (Running, Loaded) {
        let mut running = Running::open(url, fence);
        let loaded = running.load();
        (running, loaded)
    }

    /// The next word, as soon as there is one.
    pub(crate) fn word(&mut self) -> StoreWord {
        loop {
            if let Some(word) = self.handle.receive() {
                return word;
            }
            let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::NONE).unwrap() > 0 {
                let _ = nix::unistd::read(self.bell.as_fd(), &mut [0; 8]);
            }
        }
    }

    pub(crate) fn load(&mut self) -> Loaded {
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

    /// As [`Running::load`], where the server may be away for a while.
    pub(crate) fn load_in_the_end(&mut self) -> Loaded {
        let mut loaded = Vec::new();
        loop {
            match self.word() {
                StoreWord::Entries { table, entries } => {
                    loaded.extend(entries.into_iter().map(|(key, value)| (table, key, value.into_vec())));
                }
                StoreWord::State(StoreState::Ready) => return loaded,
                StoreWord::State(_) | StoreWord::Loaded => {}
                other => panic!("{other:?} while it loads"),
            }
        }
    }

    /// Sends a batch, which has room.
    pub(crate) fn send(&mut self, ops: Vec<StoreOp>) -> u64 {
        self.number += 1;
        self.handle.send(StoreBatch { number: self.number, ops }).unwrap();
        self.number
    }

    /// Sends a batch and waits until it is stored, with nothing said in between.
    pub(crate) fn store(&mut self, ops: Vec<StoreOp>) {
        let through = self.send(ops);
        assert_eq!(self.word(), StoreWord::Stored { through });
    }

    /// Words up to and with this one.
    pub(crate) fn await_word(&mut self, awaited: &StoreWord) {
        while self.word() != *awaited {}
    }

    pub(crate) fn await_state(&mut self, state: StoreState) {
        self.await_word(&StoreWord::State(state));
    }

    /// Of the newest batch that was sent.
    pub(crate) fn end_of(&mut self, number: u64) -> End {
        loop {
            match self.word() {
                StoreWord::Stored { through } if through == number => return End::Stored,
                StoreWord::Refused { number: refused, fault } if refused == number => {
                    return End::Refused(fault);
                }
                StoreWord::State(_) | StoreWord::Stored { .. } | StoreWord::Refused { .. } => {}
                StoreWord::Entries { .. } | StoreWord::Loaded => panic!("it is loaded"),
            }
        }
    }

    pub(crate) fn stop(self) {
        assert!(self.store.stop());
    }
}

pub(crate) fn put(key: Key, value: &[u8]) -> StoreOp {
    StoreOp::Put { table: Table::Messages, key, value: value.into() }
}

pub(crate) fn remove(key: Key) -> StoreOp {
    StoreOp::Remove { table: Table::Messages, key }
}

pub(crate) fn message(key: Key, value: &[u8]) -> (Table, Key, Vec<u8>) {
    (Table::Messages, key, value.to_vec())
}

/// What is stored by all that was answered, and what may be.
#[derive(Default)]
pub(crate) struct Ledger {
    kept: BTreeMap<Key, Vec<u8>>,
    /// Batches that are not answered, in their order.
    open: BTreeMap<u64, Vec<StoreOp>>,
    pub(crate) stored: u64,
    pub(crate) refused: u64,
}

impl Ledger {
    pub(crate) fn sent(&mut self, number: u64, ops: &[StoreOp]) {
        self.open.insert(number, ops.to_vec());
    }

    /// Takes a word; a batch is answered once.
    pub(crate) fn hear(&mut self, word: &StoreWord) {
        match word {
            StoreWord::Stored { through } => {
                let later = self.open.split_off(&(through + 1));
                for ops in std::mem::replace(&mut self.open, later).into_values() {
                    self.stored += 1;
                    apply(&mut self.kept, &ops);
                }
            }
            StoreWord::Refused { number, .. } => {
                assert!(self.open.remove(number).is_some(), "{number} is answered twice");
                self.refused += 1;
            }
            StoreWord::State(_) => {}
            StoreWord::Entries { .. } | StoreWord::Loaded => panic!("it is loaded"),
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.open.len()
    }

    /// What there was before.
    pub(crate) fn start_with(&mut self, loaded: &Loaded) {
        self.kept = loaded.iter().map(|(_, key, value)| (*key, value.clone())).collect();
    }

    /// Keys that are stored, and that nothing under way removes or changes.
    pub(crate) fn settled_keys(&self) -> Vec<Key> {
        let touched: BTreeSet<Key> = self.open.values().flatten().map(key_of).collect();
        self.kept.keys().filter(|key| !touched.contains(key)).copied().collect()
    }

    /// Holds what was loaded against all that was answered; what was not came in as a whole, and in its order, or not: how many batches of it did.
    pub(crate) fn check(&self, loaded: &Loaded) -> usize {
        let loaded: BTreeMap<Key, Vec<u8>> =
            loaded.iter().map(|(_, key, value)| (*key, value.clone())).collect();
        let mut expected = self.kept.clone();
        let mut open = self.open.values();
        for came in 0..=self.open.len() {
            if loaded == expected {
                return came;
            }
            open.next().into_iter().for_each(|ops| apply(&mut expected, ops));
        }
        let missing: Vec<_> = self.kept.keys().filter(|key| !loaded.contains_key(key)).collect();
        let strange: Vec<_> = loaded.keys().filter(|key| !self.kept.contains_key(key)).collect();
        panic!("missing {missing:?}, strange {strange:?}, {} under way", self.open.len());
    }
}

fn key_of(op: &StoreOp) -> Key {
    let (StoreOp::Put { key, .. } | StoreOp::Remove { key, .. }) = op;
    *key
}

fn apply(kept: &mut BTreeMap<Key, Vec<u8>>, ops: &[StoreOp]) {
    for op in ops {
        match op {
            StoreOp::Put { key, value, .. } => drop(kept.insert(*key, value.to_vec())),
            StoreOp::Remove { key, .. } => drop(kept.remove(key)),
        }
    }
}

/// Numbers by chance, the same for the same seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A sender who puts and removes by chance, as fast as the store answers.
pub(crate) struct Sender {
    pub(crate) running: Running,
    pub(crate) ledger: Ledger,
    chance: Chance,
    next_key: Key,
}

impl Sender {
    pub(crate) fn new(running: Running, seed: u64, next_key: Key) -> Sender {
        Sender { running, ledger: Ledger::default(), chance: Chance::new(seed), next_key }
    }

    /// Sends some batches, of new entries and of removals.
    pub(crate) fn send_some(&mut self) {
        while self.ledger.under_way() < 32 {
            let count = 1 + self.chance.below(4);
            let keys = self.next_key..self.next_key + count;
            self.next_key += count;
            let mut ops: Vec<StoreOp> =
                keys.map(|key| put(key, &vec![key as u8; 1 + self.chance.below(3000) as usize])).collect();
            let settled = self.ledger.settled_keys();
            // Some twenty are alive.
            ops.extend(settled.iter().take(settled.len().saturating_sub(20)).map(|key| remove(*key)));
            let number = self.running.send(ops.clone());
            self.ledger.sent(number, &ops);
        }
    }

    pub(crate) fn hear(&mut self) -> StoreWord {
        let word = self.running.word();
        self.ledger.hear(&word);
        word
    }

    /// Sends until so many more batches are stored.
    pub(crate) fn store_some(&mut self, count: u64) {
        let until = self.ledger.stored + count;
        while self.ledger.stored < until {
            self.send_some();
            self.hear();
        }
    }

    /// Until all that was sent is answered.
    pub(crate) fn drain(&mut self) {
        while self.ledger.under_way() > 0 {
            self.hear();
        }
    }
}
