//! Where a running server gives backups of its store: a Unix socket in the store's directory, which its owner alone can reach.
//!
//! Home: the `store-door` thread, one backup at a time; others wait in the socket's backlog. A backup is read from a snapshot while
//! the store commits on. Invariants: whoever does not read is cut off after `STORE_BACKUP_STALL_NS`, since a snapshot keeps what is
//! removed meanwhile in the file; what is sent is a whole backup or lacks its end. A refusal is one line that begins with [`REFUSED`].

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, Thread};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::storage::Table;

use super::backup::{self, Head};
use super::directory::socket_of;
use super::disk::Snapshot;
use super::progress::Progress;
use super::schema;
use super::trouble::Trouble;

/// What a refusal begins with; a backup begins with other letters.
pub(super) const REFUSED: &str = "refused: ";
/// Who wants a backup.
const SOCKET_MODE: u32 = 0o600;
const STALL: Duration = Duration::from_nanos(limits::STORE_BACKUP_STALL_NS);
/// How long after an accept that failed the next one is tried.
const RETRY: Duration = Duration::from_millis(100);

/// The store's thread is asked for a snapshot by this, and woken.
pub(super) type Ask = SyncSender<Result<Snapshot, Trouble>>;

/// Of the store's thread: opened once there is something to give.
pub(super) struct Door {
    path: PathBuf,
    asking: Sender<Ask>,
    give_way: fn() -> io::Result<()>,
    progress: Arc<Progress>,
    /// Rung at the end.
    opened: Option<Doorbell>,
}

impl Door {
    /// Of the store in this directory; and where it is asked for snapshots.
    pub(super) fn new(
        directory: PathBuf,
        give_way: fn() -> io::Result<()>,
        progress: Arc<Progress>,
    ) -> (Door, Receiver<Ask>) {
        let (asking, asked) = mpsc::channel();
        (Door { path: socket_of(&directory), asking, give_way, progress, opened: None }, asked)
    }

    /// Answers from now on; anew where it did already, since the directory may be another one. A door that can't be opened costs a line
    /// in the log.
    pub(super) fn open(&mut self) {
        if let Some(ending) = self.opened.take() {
            ending.ring();
        }
        if let Err(error) = self.try_open() {
            log::warn!("{}: no backups while the server runs: {error}", self.path.display());
        }
    }

    fn try_open(&mut self) -> io::Result<()> {
        // One of a process that was killed: the directory is ours.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&self.path)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(SOCKET_MODE))?;
        listener.set_nonblocking(true)?;
        let ending = Doorbell::new()?;
        let (of_thread, give_way) = (ending.clone(), self.give_way);
        let porter = Porter {
            asking: self.asking.clone(),
            store: thread::current(),
            progress: Arc::clone(&self.progress),
        };
        thread::Builder::new().name("store-door".to_owned()).spawn(move || {
            if let Err(error) = give_way() {
                log::debug!("backups are given at the priority of shards: {error}");
            }
            porter.run(&listener, &of_thread);
        })?;
        self.opened = Some(ending);
        Ok(())
    }

    /// Answers no more; a backup under way lacks its end.
    pub(super) fn close(self) {
        if let Some(ending) = self.opened {
            ending.ring();
            // Who comes now finds nobody there; gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct Porter {
    asking: Sender<Ask>,
    store: Thread,
    progress: Arc<Progress>,
}

impl Porter {
    fn run(&self, listener: &UnixListener, ending: &Doorbell) {
        loop {
            let ending = ending.as_fd();
            let mut fds =
                [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(ending, PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            if fds[1].any() == Some(true) {
                return;
            }
            match listener.accept() {
                Ok((stream, _)) => self.serve(&stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    log::warn!("backups: {error}");
                    thread::park_timeout(RETRY);
                }
            }
        }
    }

    fn serve(&self, stream: &UnixStream) {
        let began_ns = clock::now().mono_ns;
        match self.give(stream) {
            Ok(entries) => {
                self.progress.backups.add(1);
                let took_ms = (clock::now().mono_ns - began_ns) / 1_000_000;
                log::info!("a backup of {entries} entries was given in {took_ms} ms");
            }
            Err(trouble) => {
                self.progress.backups_failed.add(1);
                log::warn!("a backup was not given: {trouble}");
            }
        }
    }

    fn give(&self, mut stream: &UnixStream) -> Result<u64, Trouble> {
        // An accepted socket inherits nothing of the listener's on Linux; said all the same.
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STALL))?;
        let snapshot = match self.snapshot() {
            Ok(snapshot) => snapshot,
            Err(trouble) => {
                // Whoever asked may have gone.
                let _ = writeln!(stream, "{REFUSED}{trouble}");
                return Err(trouble);
            }
        };
        write_backup(&snapshot, clock::now().unix_ns / 1_000_000, |bytes| Ok(stream.write_all(bytes)?))
    }

    fn snapshot(&self) -> Result<Snapshot, Trouble> {
        let busy =
            || Trouble::from(io::Error::other("the store does not answer: its disk stalls, or it ends"));
        let (answer, answered) = mpsc::sync_channel(1);
        self.asking.send(answer).map_err(|_| busy())?;
        self.store.unpark();
        answered.recv_timeout(STALL).map_err(|_| busy())?
    }
}

/// All of a snapshot, in the form of a backup; how many entries it has.
pub(super) fn write_backup(
    snapshot: &Snapshot,
    made_unix_ms: u64,
    mut write: impl FnMut(&[u8]) -> Result<(), Trouble>,
) -> Result<u64, Trouble> {
    let tables = &Table::ALL[1..];
    let counts: Result<Vec<u64>, Trouble> = tables.iter().map(|table| snapshot.count(*table)).collect();
    let entries: u64 = counts?.iter().sum();
    let head = Head { schema: schema::VERSION, stamp: snapshot.stamp(), entries, made_unix_ms };
    write(&backup::head(&head))?;
    snapshot.each_piece(|table, piece| write(&backup::entries(table, &piece)))?;
    write(&backup::end(entries))?;
    Ok(entries)
}

/// Asks the server that has a directory for a backup.
///
/// # Errors
/// Nobody listens there, or not for us.
pub(super) fn knock(directory: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket_of(directory))?;
    stream.set_read_timeout(Some(2 * STALL))?;
    Ok(stream)
}
