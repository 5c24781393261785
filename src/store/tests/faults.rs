//! A disk that is full, read-only, broken or damaged, and well again.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

use super::super::file::Trouble as Injected;
use super::*;

fn injected(path: &Path) -> Arc<Injected> {
    Injected::of(&store_of(path))
}

fn set(which: &AtomicI32, errno: Option<Errno>) {
    which.store(errno.map_or(0, |errno| errno as i32), Ordering::Relaxed);
}

/// How a batch ended.
#[derive(Debug, PartialEq)]
enum End {
    Stored,
    Refused(StoreFault),
}

impl Running {
    fn end_of(&mut self, number: u64) -> End {
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
}

/// Writes fail by `errno` from here on: what is sent is refused for `fault`, until they do not.
fn check_writes_fail(errno: Errno, fault: StoreFault) {
    let scratch = Scratch::new("writes");
    let trouble = injected(scratch.path());
    let (mut running, _) = Running::ready(scratch.path());
    running.store(vec![put(1, b"kept")]);
    set(&trouble.of_writes, Some(errno));
    let number = running.send(vec![put(2, b"refused")]);
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(fault)));
    // Where nothing can be written, the file is not opened again either, and who sent it waits: it was not told anything untrue.
    let later = running.send(vec![put(3, b"refused")]);
    assert_eq!(running.end_of(later), End::Refused(fault));
    set(&trouble.of_writes, None);
    assert_eq!(running.end_of(number), End::Refused(fault));
    running.await_word(&StoreWord::State(StoreState::Ready));
    running.store(vec![put(4, b"kept")]);
    let told = running.store.progress().reading(0);
    assert_eq!(told.refused_total.iter().sum::<u64>(), 2, "{told:?}");
    assert_eq!(told.queued_batches, 0);
    running.stop();
    let (running, loaded) = Running::ready(scratch.path());
    assert_eq!(loaded, [message(1, b"kept"), message(4, b"kept")]);
    running.stop();
}

#[test]
fn while_writes_fail_batches_are_refused_by_name_and_nothing_of_them_is_kept() {
    check_writes_fail(Errno::ENOSPC, StoreFault::DiskFull);
    check_writes_fail(Errno::EROFS, StoreFault::ReadOnly);
    check_writes_fail(Errno::EIO, StoreFault::Io);
}

#[test]
fn after_an_fsync_that_failed_the_answer_is_what_the_disk_says() {
    for round in 0..10 {
        let scratch = Scratch::new("syncs");
        let trouble = injected(scratch.path());
        let (mut running, _) = Running::ready(scratch.path());
        running.store(vec![put(1, b"kept")]);
        set(&trouble.of_syncs, Some(Errno::EIO));
        let numbers: Vec<u64> =
            (10..10 + round).map(|key| running.send(vec![put(key, b"in doubt")])).collect();
        let last = running.send(vec![put(100, b"in doubt")]);
        running.await_word(&StoreWord::State(StoreState::Faulty(StoreFault::Io)));
        set(&trouble.of_syncs, None);
        let is_stored = running.end_of(last) == End::Stored;
        running.await_word(&StoreWord::State(StoreState::Ready));
        let told = running.store.progress().reading(0);
        let refused = told.refused_total.iter().sum::<u64>();
        assert_eq!(told.batches_total + refused, 2 + numbers.len() as u64, "each is answered once");
        running.stop();
        let (running, loaded) = Running::ready(scratch.path());
        assert_eq!(loaded.iter().any(|entry| entry.1 == 100), is_stored);
        assert_eq!(
            loaded.len() as u64,
            told.batches_total,
            "what was said to be stored is there, and nothing else"
        );
        running.stop();
    }
}

#[test]
fn a_damaged_store_is_told_so_and_nothing_is_loaded_until_a_backup_is_restored_in_its_place() {
    let scratch = Scratch::new("damaged");
    let (path, backup) = (scratch.path().join("s"), scratch.path().join("b"));
    let (mut running, _) = Running::ready(&path);
    let entries: Vec<StoreOp> = (0..2000).map(|key| put(key, &[3; 200])).collect();
    running.store(entries);
    backup_of(&path, &backup, &mut |_, _| {}).unwrap();
    running.stop();
    let file = fs::OpenOptions::new().write(true).open(store_of(&path)).unwrap();
    for place in 0..40 {
        file.write_all_at(&[0xA5; 64], 8192 + place * 4096).unwrap();
    }
    let mut running = Running::start(&path);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    assert_eq!(running.store.await_opened().unwrap_err().fault, StoreFault::Corrupt);
    let number = running.send(vec![put(1, b"x")]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::Corrupt));
    // The directory can be moved away, and nothing is made in its place.
    fs::rename(&path, scratch.path().join("damaged")).unwrap();
    restore(&backup, &path, &mut |_, _| {}).unwrap();
    running.await_word(&StoreWord::State(StoreState::Loading));
    let mut count = 0;
    loop {
        match running.word() {
            StoreWord::Entries { entries, .. } => count += entries.len(),
            StoreWord::Loaded => break,
            other => panic!("{other:?} while it loads"),
        }
    }
    assert_eq!(count, 2000);
    assert_eq!(running.word(), StoreWord::State(StoreState::Ready));
    running.store(vec![put(5000, b"y")]);
    let (entries, _) = backup_of(&path, &scratch.path().join("again"), &mut |_, _| {}).unwrap();
    assert_eq!(entries, 2001, "its door is in the directory that it has");
    running.stop();
}

/// More than the database keeps in memory, so that to tell all of it is to read the file.
fn filled_beyond_the_cache(path: &Path) -> u64 {
    let (mut running, _) = Running::ready(path);
    let entries = 3 * limits::STORE_CACHE_BYTES as u64 / 100_000;
    for key in 0..entries {
        running.store(vec![put(key, &vec![key as u8; 100_000])]);
    }
    running.stop();
    entries
}

/// Started, and read errors from the first entries on: what was told until the fault.
fn fails_while_it_loads(path: &Path) -> (Running, Vec<Key>) {
    let trouble = injected(path);
    let mut running = Running::start(path);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    let mut told = Vec::new();
    loop {
        match running.word() {
            StoreWord::Entries { entries, .. } => told.extend(entries.iter().map(|(key, _)| *key)),
            StoreWord::State(StoreState::Faulty(StoreFault::Io)) => return (running, told),
            other => panic!("{other:?} while it loads"),
        }
        set(&trouble.of_reads, Some(Errno::EIO));
    }
}

#[test]
fn a_load_that_fails_midway_goes_on_where_it_was_and_tells_each_entry_once() {
    let scratch = Scratch::new("midway");
    let count = filled_beyond_the_cache(scratch.path());
    let (mut running, mut told) = fails_while_it_loads(scratch.path());
    assert!(!told.is_empty() && (told.len() as u64) < count, "{} of {count}", told.len());
    let number = running.send(vec![put(count, b"refused")]);
    assert_eq!(running.word(), StoreWord::Refused { number, fault: StoreFault::Io });
    set(&injected(scratch.path()).of_reads, None);
    told.extend(running.load().iter().map(|entry| entry.1));
    assert_eq!(told, (0..count).collect::<Vec<_>>());
    assert_eq!(running.store.progress().reading(0).loaded_entries, count);
    running.store(vec![put(count, b"taken")]);
    running.stop();
}

#[test]
fn what_was_told_of_one_store_is_not_gone_on_with_by_another() {
    let scratch = Scratch::new("midway-other");
    let (path, other) = (scratch.path().join("s"), scratch.path().join("o"));
    let (running, _) = Running::ready(&other);
    running.stop();
    filled_beyond_the_cache(&path);
    let (mut running, _) = fails_while_it_loads(&path);
    fs::copy(store_of(&other), store_of(&path)).unwrap();
    set(&injected(&path).of_reads, None);
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    running.stop();
}

#[test]
fn another_store_in_the_place_of_ours_is_not_written_to() {
    let scratch = Scratch::new("other");
    let (path, other) = (scratch.path().join("s"), scratch.path().join("o"));
    let (running, _) = Running::ready(&other);
    running.stop();
    let trouble = injected(&path);
    let (mut running, _) = Running::ready(&path);
    running.store(vec![put(1, b"ours")]);
    set(&trouble.of_writes, Some(Errno::EIO));
    running.send(vec![put(2, b"in doubt")]);
    running.await_word(&StoreWord::State(StoreState::Faulty(StoreFault::Io)));
    fs::copy(store_of(&other), store_of(&path)).unwrap();
    set(&trouble.of_writes, None);
    running.await_word(&StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    running.stop();
    let (running, loaded) = Running::ready(&path);
    assert_eq!(loaded, []);
    running.stop();
}

/// A small file system of the test's own; none, said aloud, where it can't be mounted.
struct Mounted(Scratch);

impl Mounted {
    fn new(name: &str, megabytes: u32) -> Option<Mounted> {
        let scratch = Scratch::new(name);
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(scratch.path()).output();
        match mount {
            Ok(done) if done.status.success() => Some(Mounted(scratch)),
            failed => {
                println!("NOT CHECKED: {name} needs a file system of its own, and mount(8) says {failed:?}");
                assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "it was to be checked");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        // It is busy until the thread behind the door of the store before has let go of its socket.
        for _ in 0..100 {
            let mut mount = Command::new("mount");
            if mount.args(["-o", &option]).arg(self.path()).output().unwrap().status.success() {
                return;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        panic!("{option} is refused");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_real_disk_that_fills_up_refuses_and_is_ready_again_once_there_is_room() {
    let Some(mounted) = Mounted::new("real-full", 24) else { return };
    let (path, ballast) = (mounted.path().join("s"), mounted.path().join("ballast"));
    fs::write(&ballast, vec![1; 12 << 20]).unwrap();
    let (mut running, _) = Running::ready(&path);
    let (mut kept, mut key) = (Vec::new(), 0);
    let fault = loop {
        key += 1;
        assert!(key < 1000, "it fills up");
        let number = running.send(vec![put(key, &vec![7; 100_000])]);
        match running.end_of(number) {
            End::Stored => kept.push(key),
            End::Refused(fault) => break fault,
        }
    };
    assert_eq!(fault, StoreFault::DiskFull);
    assert!(kept.len() > 20, "{kept:?}");
    running.stop();
    // To the last byte, and another start.
    let more = mounted.path().join("more");
    let mut filling = fs::File::create(&more).unwrap();
    while std::io::Write::write(&mut filling, &[1; 4096]).is_ok() {}
    let mut running = Running::start(&path);
    assert_eq!(
        running.load().iter().map(|entry| entry.1).collect::<Vec<_>>(),
        kept,
        "it loads on a full disk"
    );
    let number = running.send(vec![put(4000, &vec![7; 500_000])]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::DiskFull));
    fs::remove_file(&more).unwrap();
    fs::remove_file(&ballast).unwrap();
    running.await_word(&StoreWord::State(StoreState::Ready));
    running.store(vec![put(5000, b"after")]);
    kept.push(5000);
    running.stop();
    let (running, loaded) = Running::ready(&path);
    assert_eq!(loaded.iter().map(|entry| entry.1).collect::<Vec<_>>(), kept);
    running.stop();
}

#[test]
fn on_a_disk_that_the_store_itself_has_filled_removing_makes_room() {
    let Some(mounted) = Mounted::new("real-room", 16) else { return };
    let path = mounted.path().join("s");
    let (mut running, _) = Running::ready(&path);
    let mut kept = Vec::new();
    for key in 0..1000 {
        let number = running.send(vec![put(key, &vec![7; 20_000])]);
        if running.end_of(number) == End::Stored { kept.push(key) } else { break }
    }
    assert!(kept.len() > 100, "{kept:?}");
    // A consumer at work: removes are let through as soon as there is a page for them.
    let mut tries = 0;
    for key in kept {
        loop {
            let number = running.send(vec![remove(key)]);
            if running.end_of(number) == End::Stored {
                break;
            }
            tries += 1;
            assert!(tries < 200, "removing {key} is refused");
            // Until the disk is tried again nothing changes.
            running.bell.rings(PollTimeout::from(50_u16));
        }
    }
    running.await_word(&StoreWord::State(StoreState::Ready));
    running.store(vec![put(9999, b"new")]);
    running.stop();
    let (running, loaded) = Running::ready(&path);
    assert_eq!(loaded, [message(9999, b"new")]);
    running.stop();
}

#[test]
fn a_real_disk_that_becomes_read_only_refuses_and_is_ready_again_when_it_is_not() {
    let Some(mounted) = Mounted::new("real-ro", 24) else { return };
    let path = mounted.path().join("s");
    let (mut running, _) = Running::ready(&path);
    running.store(vec![put(1, b"kept")]);
    running.stop();
    mounted.remount("ro");
    let mut running = Running::start(&path);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::ReadOnly)));
    let number = running.send(vec![put(2, b"refused")]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::ReadOnly));
    mounted.remount("rw");
    let loaded = running.load();
    assert_eq!(loaded, [message(1, b"kept")]);
    running.store(vec![put(3, b"kept")]);
    running.stop();
}
