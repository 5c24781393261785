//! Power that fails: of what was written since the last fsync any part may be on the disk, torn anywhere.

use std::io;
use std::sync::Mutex;

use redb::StorageBackend;

use super::super::disk::Disk;
use super::*;

/// What a disk does not tear.
const SECTOR: usize = 512;

/// A disk with a cache that loses what was not synced.
#[derive(Clone, Debug, Default)]
#[expect(clippy::disallowed_types, reason = "the database and the test have it")]
struct Volatile(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// As it is on the disk.
    synced: Vec<u8>,
    /// As it is read.
    seen: Vec<u8>,
    /// Since the last sync: where, and what; or a new length.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write(at, bytes) => {
                // A write may come through without the length that was set before it.
                to.resize(to.len().max(at + bytes.len()), 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Length(length) => to.resize(*length, 0),
        }
    }
}

impl Volatile {
    fn change(&self, change: Change) {
        let mut content = self.0.lock().unwrap();
        change.apply(&mut content.seen);
        content.pending.push(change);
    }

    /// The disk after power has failed, by chance.
    fn after_power_loss(&self, chance: &mut Chance) -> Volatile {
        let content = self.0.lock().unwrap();
        let mut left = content.synced.clone();
        for change in &content.pending {
            match change {
                Change::Length(_) => change.apply(&mut left),
                Change::Write(at, bytes) => {
                    for (nth, sector) in bytes.chunks(SECTOR).enumerate() {
                        if chance.of(2) == 0 {
                            Change::Write(at + nth * SECTOR, sector.to_vec()).apply(&mut left);
                        }
                    }
                }
            }
        }
        let content = Content { synced: left.clone(), seen: left, pending: Vec::new() };
        Volatile(Arc::new(Mutex::new(content)))
    }
}

impl StorageBackend for Volatile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        let found = content.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        content.synced = content.seen.clone();
        content.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}

/// The same numbers in every run.
struct Chance(u64);

impl Chance {
    fn of(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn keys(disk: &Disk) -> Vec<Key> {
    let mut keys = Vec::new();
    let snapshot = disk.snapshot().unwrap();
    snapshot
        .each_piece(|_, entries| {
            for (key, value) in entries {
                assert_eq!(value[..], vec![key as u8; 200][..], "key {key}");
                keys.push(key);
            }
            Ok::<(), Trouble>(())
        })
        .unwrap();
    keys
}

/// What there is after so many commits: each puts ten and removes those of the fifth before it.
fn expected(commits: u64) -> Vec<Key> {
    (commits.saturating_sub(5) * 10..commits * 10).collect()
}

fn ops_of(commit: u64) -> Vec<StoreOp> {
    let puts = (commit * 10..commit * 10 + 10).map(|key| put(key, &[key as u8; 200]));
    let removes = (commit * 10..commit * 10 + 10).filter_map(|key| key.checked_sub(50)).map(remove);
    puts.chain(removes).collect()
}

#[test]
fn when_power_fails_in_a_commit_all_of_it_is_there_or_nothing_and_all_before_it_is() {
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let (mut disk, mut came_through) = (Volatile::default(), 0);
    let mut commits = 0;
    for round in 0..300 {
        let mut store = Disk::open_file(disk.clone(), |_| {}).unwrap();
        assert_eq!(store.stamp().commits, commits, "round {round}");
        for _ in 0..chance.of(4) {
            store.commit(&ops_of(commits)).unwrap();
            commits += 1;
        }
        // The next one is cut off before its fsync: the disk is looked at while it has all that was written and synced nothing of it.
        let cut = Cut { disk: disk.clone(), armed: Arc::default() };
        drop(store);
        let mut store = Disk::open_file(cut.clone(), |_| {}).unwrap();
        cut.armed.store(true, Ordering::Relaxed);
        let failed = store.commit(&ops_of(commits));
        assert!(failed.is_err(), "the power has failed");
        drop(store);
        let after = disk.after_power_loss(&mut chance);
        let store = Disk::open_file(after.clone(), |_| {}).unwrap();
        let found = store.stamp().commits;
        assert!(found == commits || found == commits + 1, "round {round}: {found} after {commits}");
        assert_eq!(keys(&store), expected(found), "round {round}");
        drop(store);
        came_through += found - commits;
        (commits, disk) = (found, after);
    }
    println!("{came_through} of 300 commits came through without their fsync");
}

/// A disk whose power fails at the next sync.
#[derive(Clone, Debug)]
struct Cut {
    disk: Volatile,
    armed: Arc<AtomicBool>,
}

impl StorageBackend for Cut {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.armed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the power has failed"));
        }
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}
