//! The file of named sessions: read at the start, replaced as a whole when they have changed. Home: the thread of `verify.rs`.
//!
//! Invariants: it is for its owner's eyes alone; a crash leaves the old one or the new one, never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// See the file's head.
#[derive(Debug)]
pub struct SessionsFile {
    path: PathBuf,
    /// As it was at the start.
    text: String,
}

impl SessionsFile {
    /// Reads the file; one that is not there yet is as good as an empty one, as long as it can be made.
    ///
    /// # Errors
    /// It is there and can't be read, or is not there and can't be made.
    pub fn open(path: &Path) -> Result<SessionsFile, Failure> {
        let shown = path.display();
        let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.mode());
        if mode & 0o077 != 0 {
            let what = format!("auth.sessions: {shown} is not its owner's alone (mode {:o})", mode & 0o777);
            return Err(Failure::new(Exit::Config, what, format!("chmod 600 {shown}, or remove it")));
        }
        match fs::read_to_string(path) {
            Ok(text) => Ok(SessionsFile { path: path.to_owned(), text }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = SessionsFile { path: path.to_owned(), text: "tickring sessions 1\n".to_owned() };
                file.write(&file.text).map_err(|error| {
                    let what = format!("auth.sessions: {shown} can not be written: {error}");
                    Failure::new(Exit::Config, what, "name a file in a folder of the server's user")
                })?;
                Ok(file)
            }
            Err(error) => {
                let what = format!("auth.sessions: {shown} can not be read: {error}");
                Err(Failure::new(Exit::Config, what, "give it to the server's user, or remove it"))
            }
        }
    }

    /// What it held at the start.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it as a whole.
    ///
    /// # Errors
    /// Those of the file system; the old one stands then.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // One that a crash left behind has its own mode.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    }
}
