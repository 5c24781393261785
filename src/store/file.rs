//! The file below the database: plain reads and writes, and what a test has go wrong with them. Home: the store's thread.
//!
//! Invariants: who may open it is decided by the directory's lock (`directory.rs`), so there are no locks here; after a failed write
//! nothing of the file is believed that the kernel only remembers ([`forget_cache`]).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use redb::StorageBackend;

/// See the file's head.
#[derive(Debug)]
pub(super) struct StoreFile {
    file: File,
    #[cfg(test)]
    trouble: Arc<Trouble>,
}

/// What goes wrong from now on: an errno, or 0.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) of_writes: AtomicI32,
    pub(super) of_syncs: AtomicI32,
    pub(super) of_reads: AtomicI32,
    pub(super) syncs_total: AtomicU64,
}

impl StoreFile {
    /// `_path` is where it is: tests have their way with files of theirs.
    pub(super) fn new(file: File, _path: &Path) -> StoreFile {
        StoreFile {
            file,
            #[cfg(test)]
            trouble: Trouble::of(_path),
        }
    }
}

#[cfg(test)]
impl Trouble {
    /// What goes wrong with the file at this path, however often it is opened.
    #[expect(clippy::disallowed_types, reason = "tests of several threads share it")]
    pub(super) fn of(path: &Path) -> Arc<Trouble> {
        use std::collections::BTreeMap;
        use std::sync::Mutex;
        static ALL: Mutex<BTreeMap<std::path::PathBuf, Arc<Trouble>>> = Mutex::new(BTreeMap::new());
        Arc::clone(ALL.lock().unwrap().entry(path.to_owned()).or_default())
    }
}

impl StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        fail(&self.trouble.of_reads)?;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        fail(&self.trouble.of_writes)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        {
            self.trouble.syncs_total.fetch_add(1, Ordering::Relaxed);
            fail(&self.trouble.of_syncs)?;
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        fail(&self.trouble.of_writes)?;
        self.file.write_all_at(data, offset)
    }
}

#[cfg(test)]
fn fail(errno: &AtomicI32) -> io::Result<()> {
    match errno.load(Ordering::Relaxed) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Has the kernel forget what it keeps of a file: after a failed fsync that may be what never came to the disk, and is told as if it
/// were there.
pub(super) fn forget_cache(path: &Path) {
    let forgotten = File::open(path).and_then(|file| {
        // What can still be written is; the rest is forgotten.
        let _ = file.sync_data();
        Ok(posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    });
    if let Err(error) = forgotten {
        log::debug!("{}: the kernel keeps its cache: {error}", path.display());
    }
}
