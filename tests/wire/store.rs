//! The store of a real server: loaded beside its start, backed up while it runs, one server's, and told of where it is no good.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tickring::doorbell::Doorbell;
use tickring::model::storage::{StoreBatch, StoreOp, Table};
use tickring::store::{self, Store, StoreSetup};

use crate::control::metric;
use crate::server::{Ended, Server, run, temporary_file, tickring};

/// More than a store tells before somebody listens.
const ENTRIES: u64 = 6_000;

/// A folder of a test's own, removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let file = temporary_file("store", b"");
        fs::remove_file(&file).unwrap();
        Folder(file)
    }

    /// With a store that has entries.
    fn filled() -> Folder {
        let folder = Folder::new();
        let setup = StoreSetup {
            directory: store::claim(&folder.store()).unwrap(),
            doorbell: Doorbell::new().unwrap(),
            queue_batches_max: 1,
            queue_bytes_max: 1,
            give_way: || Ok(()),
        };
        let (store, mut handle) = Store::start(setup).unwrap();
        let put =
            |key| StoreOp::Put { table: Table::Messages, key, value: key.to_be_bytes().repeat(250).into() };
        handle.send(StoreBatch { number: 1, ops: (0..ENTRIES).map(put).collect() }).unwrap();
        assert!(store.stop(), "it is stored");
        folder
    }

    fn store(&self) -> PathBuf {
        self.0.join("s")
    }

    fn toml(&self, more: &str) -> String {
        format!("[control]\naddress = \"127.0.0.1:0\"\n[store]\ndirectory = {:?}\n{more}", self.store())
    }

    fn damage(&self) {
        let file = fs::OpenOptions::new().write(true).open(store::store_of(&self.store())).unwrap();
        for page in 2..200 {
            file.write_all_at(&[0xA5; 64], page * 4096).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a command prints.
fn printed(command: &str, place: &Path, more: &[&str]) -> String {
    let mut store = tickring();
    store.args(["store", command, "--directory"]).arg(place).args(more);
    let done = store.output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn serve(toml: &str) -> Command {
    let config = temporary_file("toml", toml.as_bytes());
    let mut command = tickring();
    command.args(["serve", "--listen", "127.0.0.1:0", "--cores", "0", "--config"]).arg(config);
    command
}

#[test]
fn a_server_loads_its_store_gives_backups_of_it_and_has_it_alone() {
    let folder = Folder::filled();
    let mut server = Server::start_with(&folder.toml(""), "0", &[]);
    server.wait_for_log(&format!("the store is loaded: {ENTRIES} entries"));
    assert_eq!(metric(&server, "tickring_store_state"), 2.0);
    assert_eq!(metric(&server, "tickring_store_loaded_entries"), ENTRIES as f64);

    let backup = folder.0.join("b");
    let said = printed("backup", &folder.store(), &["--to", backup.to_str().unwrap()]);
    assert!(said.starts_with(&format!("{}: {ENTRIES} entries, ", backup.display())), "{said}");
    server.wait_for_log(&format!("a backup of {ENTRIES} entries was given"));
    let lines = printed("export", &folder.store(), &["--table", "messages"]);
    assert_eq!(lines.lines().count() as u64, ENTRIES);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["table"], &first["key"]), (&"messages".into(), &0.into()));

    let Ended { code, log } = run(&mut serve(&folder.toml("")));
    let expected = format!(
        "{} is in use by process {}: stop the server that has it",
        folder.store().display(),
        server.id()
    );
    assert_eq!(code, Some(69), "{log:?}");
    assert!(log.last().unwrap().contains(&expected), "{log:?}");
    let mut check = tickring();
    check.args(["store", "check", "--directory"]).arg(folder.store());
    assert_eq!(run(&mut check).code, Some(69));
    server.stop().assert_clean();

    let said = printed("check", &folder.store(), &[]);
    assert!(said.contains(&format!("messages     {ENTRIES} entries")), "{said}");
    let restored = folder.0.join("r");
    printed("restore", &restored, &["--from", backup.to_str().unwrap()]);
    assert_eq!(printed("export", &restored, &[]), lines);
    printed("compact", &restored, &[]);
}

#[test]
fn a_server_that_was_killed_has_its_store_again_at_the_next_start() {
    let folder = Folder::filled();
    let mut server = Server::start_with(&folder.toml(""), "0", &[]);
    server.wait_for_log(&format!("the store is loaded: {ENTRIES} entries"));
    server.signal(Signal::SIGKILL);
    assert_eq!(server.wait().code, None);
    let mut server = Server::start_with(&folder.toml("required = true\n"), "0", &[]);
    server.wait_for_log(&format!("the store is loaded: {ENTRIES} entries"));
    server.stop().assert_clean();
}

#[test]
fn without_a_good_store_a_server_serves_and_says_so_or_ends_if_it_is_required() {
    let folder = Folder::filled();
    folder.damage();
    let mut server = Server::start_with(&folder.toml(""), "0", &[]);
    let line = server.wait_for_log("the store refuses what is sent");
    assert!(line.contains("move the directory away and restore a backup"), "{line}");
    assert_eq!(metric(&server, "tickring_store_state"), 3.0);
    server.stop().assert_clean();
    let Ended { code, log } = run(&mut serve(&folder.toml("required = true\n")));
    assert_eq!(code, Some(65), "{log:?}");
    assert!(log.last().unwrap().contains("move the directory away and restore a backup"), "{log:?}");
}
