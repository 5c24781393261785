//! What a configuration names, opened without serving: for `tickring check`. Home: the main thread of that command.
//!
//! Invariant: nothing is made, written or locked.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::{Config, FeedKind};
use crate::exit::Failure;
use crate::keys;
use crate::log_file;
use crate::tls::Tls;

use super::backends::Backends;
use super::sources;

/// Something that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub key: &'static str,
    /// Of the listener, for keys of listeners.
    pub nth: usize,
    pub found: Found,
}

/// What became of it; what is well is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Fault(Failure),
    /// Not for the eyes of who asks, or not there before the service starts.
    Unseen(String),
}

/// Opens keys, certificates, recording and the log's file, and tells what is wrong with them.
#[must_use]
pub fn open_all(config: &Config) -> Vec<Opened> {
    let mut all = Vec::new();
    let mut say = |key, nth, found: Option<Found>| all.extend(found.map(|found| Opened { key, nth, found }));
    if config.auth.has_file() {
        let path = &config.auth.keys;
        say("auth.keys", 0, looked_at(&[path], || keys::load(path).map(drop)));
    }
    for (nth, listen) in config.listen.iter().enumerate() {
        if let Some(tls) = listen.tls.as_ref().filter(|tls| !tls.development) {
            let open = || Tls::new(tls).map(drop);
            say("listen.tls.certificate", nth, looked_at(&[&tls.certificate, &tls.key], open));
        }
    }
    let backends = Backends::default().plan(config).err();
    say("backend.methods", 0, backends.map(Found::Fault));
    if config.feed.kind == FeedKind::Replay {
        let path = &config.feed.replay.file;
        say("feed.replay.file", 0, looked_at(&[path], || sources::open_feed(config).map(drop)));
    }
    if let Some(path) = config.log.file_path() {
        let fault = match can_append(path) {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(unseen(path)),
            Err(error) => Some(Found::Fault(log_file::refused(path, &error))),
        };
        say("log.file", 0, fault);
    }
    all
}

/// Opens something, unless who asks may not see its files.
fn looked_at(paths: &[&PathBuf], open: impl FnOnce() -> Result<(), Failure>) -> Option<Found> {
    for path in paths {
        match File::open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Some(unseen(path)),
            Err(error) if error.kind() == ErrorKind::NotFound && path.starts_with("/run/credentials") => {
                let what = format!("{}: systemd puts it there when the service starts", path.display());
                return Some(Found::Unseen(what));
            }
            Ok(_) | Err(_) => {}
        }
    }
    open().err().map(Found::Fault)
}

fn unseen(path: &Path) -> Found {
    Found::Unseen(format!("{}: was not looked at: you may not, the server's user has to", path.display()))
}

/// Whether a file could be appended to, or made.
fn can_append(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).custom_flags(nix::libc::O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(()),
        Ok(_) => Err(io::Error::other("is no regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let may = access(folder.unwrap_or(Path::new(".")), AccessFlags::W_OK | AccessFlags::X_OK);
            may.map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}
