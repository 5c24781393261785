//! What commands do with a store, with a server and without.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::exit::Exit;

use super::*;

fn quiet(_: u64, _: u64) {}

fn all_of(path: &Path) -> Loaded {
    let mut all = Vec::new();
    each_entry(path, &mut quiet, &mut |table, key, value| {
        all.push((table, key, value.to_vec()));
        Ok(())
    })
    .unwrap();
    all
}

/// Entries of two tables, several pieces of them.
fn filled(path: &Path) -> (Running, Loaded) {
    let (mut running, _) = Running::ready(path);
    let mut expected = Vec::new();
    for table in [Table::Messages, Table::Done] {
        let ops = (0..500).map(|key| (key, vec![key as u8; 1000]));
        let ops: Vec<StoreOp> = ops
            .inspect(|(key, value)| expected.push((table, *key, value.clone())))
            .map(|(key, value)| StoreOp::Put { table, key, value: value.into() })
            .collect();
        running.store(ops);
    }
    (running, expected)
}

#[test]
fn a_running_server_gives_a_backup_of_one_moment_that_can_be_checked_exported_and_restored() {
    let scratch = Scratch::new("online");
    let (path, backup, second) =
        (scratch.path().join("s"), scratch.path().join("b"), scratch.path().join("r"));
    let (mut running, expected) = filled(&path);
    let mut noted = Vec::new();
    let (entries, bytes) = backup_of(&path, &backup, &mut |done, of| noted.push((done, of))).unwrap();
    assert_eq!((entries, noted.last()), (1000, Some(&(1000, 1000))));
    assert_eq!(fs::metadata(&backup).map(|file| (file.len(), file.mode() & 0o777)).unwrap(), (bytes, 0o600));
    assert_eq!(running.store.progress().reading(0).backups_total, 1);
    assert_eq!(all_of(&path), expected, "an export of a running server is the same way");
    // It commits on.
    running.store(vec![put(9999, b"later")]);
    running.stop();
    let found = check(&backup, &mut quiet).unwrap();
    let counts = [(Table::Messages, 500), (Table::DeadLetters, 0), (Table::Groups, 0), (Table::Done, 500)];
    assert_eq!((found.entries, found.file_bytes), (counts.to_vec(), bytes));
    assert_eq!(all_of(&backup), expected);
    assert_eq!(restore(&backup, &second, &mut quiet).unwrap(), 1000);
    assert_eq!(all_of(&second), expected);
    let (running, loaded) = Running::ready(&second);
    assert_eq!(loaded, expected);
    running.stop();
}

#[test]
fn without_a_server_backup_check_export_and_compact_read_the_directory() {
    let scratch = Scratch::new("offline");
    let (path, backup) = (scratch.path().join("s"), scratch.path().join("b"));
    let (mut running, expected) = filled(&path);
    running.store((1000..20_000).map(|key| put(key, &[1; 300])).collect());
    running.store((1000..20_000).map(remove).collect());
    running.stop();
    assert_eq!(backup_of(&path, &backup, &mut quiet).unwrap().0, 1000);
    assert_eq!(all_of(&path), expected);
    let (before, after) = compact(&path).unwrap();
    assert!(after < before / 4, "{before} bytes, then {after}");
    let found = check(&path, &mut quiet).unwrap();
    assert_eq!((found.schema, found.file_bytes), (SCHEMA_VERSION, after));
    assert_eq!(all_of(&path), expected);
}

#[test]
fn what_a_server_has_is_refused_to_check_compact_and_restore() {
    let scratch = Scratch::new("held");
    let (path, backup) = (scratch.path().join("s"), scratch.path().join("b"));
    let (running, _) = filled(&path);
    backup_of(&path, &backup, &mut quiet).unwrap();
    let failures = [
        check(&path, &mut quiet).unwrap_err(),
        compact(&path).unwrap_err(),
        restore(&backup, &path, &mut quiet).unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.exit, Exit::Unavailable, "{failure}");
        assert!(failure.to_string().contains("is in use by process"), "{failure}");
    }
    running.stop();
    let failure = restore(&backup, &path, &mut quiet).unwrap_err();
    assert!(failure.to_string().contains("is not empty"), "{failure}");
}

#[test]
fn a_backup_that_is_not_whole_is_not_restored_and_leaves_nothing_behind() {
    let scratch = Scratch::new("cut");
    let (path, backup, second) =
        (scratch.path().join("s"), scratch.path().join("b"), scratch.path().join("r"));
    let (running, _) = filled(&path);
    running.stop();
    backup_of(&path, &backup, &mut quiet).unwrap();
    let whole = fs::read(&backup).unwrap();
    let cut = scratch.path().join("cut");
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    for failure in [restore(&cut, &second, &mut quiet).unwrap_err(), check(&cut, &mut quiet).unwrap_err()] {
        assert_eq!(failure.exit, Exit::Data);
        assert!(failure.to_string().ends_with("it was cut: take another backup"), "{failure}");
    }
    assert_eq!(restore(&backup, &second, &mut quiet).unwrap(), 1000, "it is empty as before");
}

#[test]
fn a_server_does_not_start_on_what_a_restore_has_left_unfinished() {
    let scratch = Scratch::new("part");
    fs::write(scratch.path().join("store.redb.part"), "half").unwrap();
    let mut running = Running::start(scratch.path());
    running.await_word(&StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    let trouble = running.store.await_opened().unwrap_err();
    assert_eq!(trouble.what, "a restore was begun here and not finished");
    running.stop();
}

#[test]
fn commands_name_what_is_not_there_or_in_the_way() {
    let scratch = Scratch::new("none");
    let (path, to) = (scratch.path().join("s"), scratch.path().join("b"));
    let failure = check(&path, &mut quiet).unwrap_err();
    assert_eq!((failure.exit, path.exists()), (Exit::NoInput, false), "{failure}");
    assert_eq!(backup_of(&path, &to, &mut quiet).unwrap_err().exit, Exit::NoInput);
    let (running, _) = filled(&path);
    running.stop();
    fs::write(&to, "mine").unwrap();
    let failure = backup_of(&path, &to, &mut quiet).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage, "{failure}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
    let nowhere = scratch.path().join("none/b");
    let failure = backup_of(&path, &nowhere, &mut quiet).unwrap_err();
    assert!(failure.to_string().starts_with(&nowhere.display().to_string()), "{failure}");
    let failure = restore(&to, &scratch.path().join("r"), &mut quiet).unwrap_err();
    assert!(failure.to_string().contains("it is no backup of a store"), "{failure}");
}
