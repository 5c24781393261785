//! What goes wrong with the store's disk, sorted into the few faults that others are told. Home: the store's thread and commands.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use nix::errno::Errno;

use crate::exit::{Exit, Failure};
use crate::model::storage::StoreFault;

/// A fault, with what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub fault: StoreFault,
    pub what: String,
    /// Where there is more to do than the fault says.
    pub hint: Option<String>,
}

impl Trouble {
    pub(super) fn new(fault: StoreFault, what: impl Into<String>) -> Trouble {
        Trouble { fault, what: what.into(), hint: None }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Trouble {
        Trouble { hint: Some(hint.into()), ..self }
    }

    /// For who can do nothing without this store, in `directory`.
    #[must_use]
    pub fn failure(&self, directory: &Path) -> Failure {
        let exit = match self.fault {
            StoreFault::Corrupt => Exit::Data,
            StoreFault::DiskFull
            | StoreFault::ReadOnly
            | StoreFault::Io
            | StoreFault::Away
            | StoreFault::Taken => Exit::OsError,
        };
        let hint = self.hint.clone().unwrap_or_else(|| hint(self.fault).to_owned());
        Failure::new(exit, format!("{}: {}", directory.display(), self.what), hint)
    }
}

/// What an operator can do about a fault.
#[must_use]
pub const fn hint(fault: StoreFault) -> &'static str {
    match fault {
        StoreFault::DiskFull => {
            "make room on its file system, or raise the quota (LimitFSIZE= of a service counts too)"
        }
        StoreFault::ReadOnly => {
            "give the directory to the server's user, or mount its file system for writing (ReadWritePaths= of a service)"
        }
        StoreFault::Corrupt => "move the directory away and restore a backup: tickring store restore",
        StoreFault::Io => "look at the kernel's log (dmesg): the disk may be failing",
        StoreFault::Away => "look whether NATS and its JetStream are up, and the log of its servers",
        StoreFault::Taken => {
            "the owner of the market has changed; where no node owns it, its bucket was made anew: see docs/scaling/durable.md"
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.what)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::new(fault_of(&error), error.to_string())
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Trouble {
        let what = error.to_string();
        if let redb::Error::Io(error) = &error {
            return Trouble::new(fault_of(error), what);
        }
        // All else is what cannot be with a file as it was written: the database has no other writer, and we know our tables.
        let is_of_before = matches!(error, redb::Error::PreviousIo);
        Trouble::new(if is_of_before { StoreFault::Io } else { StoreFault::Corrupt }, what)
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Trouble {
                Trouble::from(redb::Error::from(error))
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::CompactionError
);

fn fault_of(error: &io::Error) -> StoreFault {
    if let Some(errno) = error.raw_os_error() {
        let errno = Errno::from_raw(errno);
        return if [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG].contains(&errno) {
            StoreFault::DiskFull
        } else if [Errno::EROFS, Errno::EACCES, Errno::EPERM].contains(&errno) {
            StoreFault::ReadOnly
        } else {
            StoreFault::Io
        };
    }
    // Said by the database and by `read_exact_at`, not by the kernel: what the file says of itself is not so.
    let is_strange = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
    if is_strange { StoreFault::Corrupt } else { StoreFault::Io }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_and_the_database_say_is_one_of_four_faults() {
        let of_errno = |errno: Errno| Trouble::from(io::Error::from_raw_os_error(errno as i32)).fault;
        assert_eq!(of_errno(Errno::ENOSPC), StoreFault::DiskFull);
        assert_eq!(of_errno(Errno::EDQUOT), StoreFault::DiskFull);
        assert_eq!(of_errno(Errno::EFBIG), StoreFault::DiskFull);
        assert_eq!(of_errno(Errno::EROFS), StoreFault::ReadOnly);
        assert_eq!(of_errno(Errno::EACCES), StoreFault::ReadOnly);
        assert_eq!(of_errno(Errno::EIO), StoreFault::Io);
        let of = |error: redb::Error| Trouble::from(error).fault;
        assert_eq!(of(redb::Error::Io(ErrorKind::InvalidData.into())), StoreFault::Corrupt);
        assert_eq!(of(redb::Error::Io(ErrorKind::UnexpectedEof.into())), StoreFault::Corrupt);
        assert_eq!(of(redb::Error::Corrupted("x".to_owned())), StoreFault::Corrupt);
        assert_eq!(of(redb::Error::UpgradeRequired(2)), StoreFault::Corrupt);
        assert_eq!(of(redb::Error::PreviousIo), StoreFault::Io);
    }

    #[test]
    fn a_failure_names_the_directory_and_says_what_to_do() {
        let failure = Trouble::new(StoreFault::Corrupt, "bad page").failure(Path::new("/s"));
        assert_eq!(failure.exit, Exit::Data);
        let line = "/s: bad page: move the directory away and restore a backup: tickring store restore";
        assert_eq!(failure.to_string(), line);
        let failure = Trouble::new(StoreFault::DiskFull, "x").with_hint("y").failure(Path::new("/s"));
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::OsError, "/s: x: y"));
    }
}
