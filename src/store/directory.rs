//! The store's directory: who has it, and what is in it. Home: the main thread and commands take it, the store's thread keeps it.
//!
//! Invariants: whoever holds a [`Directory`] is the only one of this machine, by a lock that ends with its process; a file that was
//! not made whole never has the store's name.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

use super::trouble::Trouble;

/// For the owner alone: what clients say to each other is in there.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOCK: &str = "lock";
const STORE: &str = "store.redb";
/// A store that is being restored.
const PART: &str = "store.redb.part";
const SOCKET: &str = "backup.sock";

/// A directory that nobody else has.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

/// Why there is no [`Directory`].
#[derive(Debug)]
pub enum ClaimError {
    /// Another process has it; its number, if it says so.
    Taken(Option<u32>),
    Disk(io::Error),
}

impl Directory {
    /// Takes the directory, which is made if it is not there.
    ///
    /// # Errors
    /// Somebody has it, or it can't be made or written.
    pub fn claim(path: &Path) -> Result<Directory, ClaimError> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(ClaimError::Disk)?;
        Directory::lock(path)
    }

    /// Takes a directory that is there.
    ///
    /// # Errors
    /// Those of [`Directory::claim`].
    pub fn lock(path: &Path) -> Result<Directory, ClaimError> {
        let lock = path.join(LOCK);
        let open = || {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&lock)
        };
        let mut file = open().map_err(ClaimError::Disk)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                return Err(ClaimError::Taken(read.ok().and_then(|_| text.trim().parse().ok())));
            }
            Err(TryLockError::Error(error)) => return Err(ClaimError::Disk(error)),
        }
        // For people; a disk that is full leaves it empty, and the lock holds.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Directory { path: path.to_owned(), _lock: file })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> PathBuf {
        store_of(&self.path)
    }

    pub(super) fn part(&self) -> PathBuf {
        self.path.join(PART)
    }

    /// Whether a restore was begun here and not finished.
    #[must_use]
    pub fn has_part(&self) -> bool {
        self.part().exists()
    }

    /// Something that is in it besides the lock.
    ///
    /// # Errors
    /// It can't be read.
    pub fn first_file(&self) -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != LOCK {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    /// The database's file, made if it is not there; what is made survives a crash.
    pub(super) fn open_store(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(FILE_MODE);
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = options.create_new(true).open(path)?;
                self.sync()?;
                Ok(file)
            }
            opened => opened,
        }
    }

    /// Gives a restored store its name.
    pub(super) fn finish_part(&self) -> io::Result<()> {
        fs::rename(self.part(), self.store())?;
        self.sync()
    }

    /// Has the names of what is in it on the disk, and its own.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        match self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Where the database of a directory is.
#[must_use]
pub fn store_of(path: &Path) -> PathBuf {
    path.join(STORE)
}

/// Where a running server gives backups.
#[must_use]
pub fn socket_of(path: &Path) -> PathBuf {
    path.join(SOCKET)
}

impl ClaimError {
    /// In one line.
    #[must_use]
    pub fn failure(self, path: &Path) -> Failure {
        let shown = path.display();
        match self {
            ClaimError::Taken(process) => {
                let process = process.map_or_else(String::new, |process| format!(" by process {process}"));
                let hint = "stop the server that has it, or name another directory (store.directory)";
                Failure::new(Exit::Unavailable, format!("{shown} is in use{process}"), hint)
            }
            ClaimError::Disk(error) if error.kind() == ErrorKind::NotFound => Failure::new(
                Exit::NoInput,
                format!("{shown}: {error}"),
                "name the directory of store.directory",
            ),
            ClaimError::Disk(error) => Trouble::from(error).failure(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_directory_is_one_holders_and_free_again_when_it_lets_go() {
        let scratch = Scratch::new("lock");
        let path = scratch.path().join("a/b");
        let held = Directory::claim(&path).unwrap();
        let Err(ClaimError::Taken(process)) = Directory::claim(&path) else { panic!("it is held") };
        assert_eq!(process, Some(std::process::id()));
        let failure = ClaimError::Taken(Some(7)).failure(Path::new("/s"));
        let line = "/s is in use by process 7: stop the server that has it, or name another directory (store.directory)";
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::Unavailable, line));
        assert_eq!(held.first_file().unwrap(), None);
        drop(held);
        assert!(Directory::lock(&path).is_ok());
        assert!(matches!(Directory::lock(&scratch.path().join("none")), Err(ClaimError::Disk(_))));
    }

    #[test]
    fn its_files_are_its_owners_alone() {
        use std::os::unix::fs::MetadataExt;
        let scratch = Scratch::new("mode");
        let path = scratch.path().join("s");
        let held = Directory::claim(&path).unwrap();
        held.open_store(&held.store()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&held.store()), mode(&path.join(LOCK))), (0o700, 0o600, 0o600));
        assert_eq!(held.first_file().unwrap(), Some(held.store()));
    }
}
