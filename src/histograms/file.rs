//! Files of histograms: each written whole, the newest few kept. Home: the main thread.
//!
//! Invariants: under its name a file is whole or not there; only files that are named as ours are ever removed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::limits;

/// Names sort by time: `histograms-`, the milliseconds since 1970, the ending.
const BEGIN: &str = "histograms-";
const END: &str = ".hlog";
/// For the owner, and for a group that he lets into the folder.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Writes a log of this moment into a folder, which is made if need be, and removes the oldest beyond those that are kept;
/// returns the file's name.
///
/// # Errors
/// Those of the file system; no file of that moment is there then.
pub fn write(folder: &Path, unix_ns: u64, log: &str) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let path = free_name(folder, unix_ns / 1_000_000);
    let beside = path.with_extension("new");
    let written = write_whole(&beside, log).and_then(|()| fs::rename(&beside, &path));
    if let Err(error) = written {
        // Half of it is of no use to anybody.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    remove_oldest(folder)?;
    Ok(path)
}

/// Two of one millisecond, or of two servers, do not replace each other.
fn free_name(folder: &Path, unix_ms: u64) -> PathBuf {
    let name = |unix_ms| folder.join(format!("{BEGIN}{unix_ms:013}{END}"));
    (unix_ms..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(unix_ms))
}

fn write_whole(path: &Path, log: &str) -> io::Result<()> {
    // One that a crash left behind has its own mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(log.as_bytes())?;
    file.sync_all()
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ours: Vec<String> = names.filter(|name| is_ours(name)).collect();
    ours.sort_unstable();
    let beyond = ours.len().saturating_sub(limits::HISTOGRAM_FILES_MAX);
    for name in &ours[..beyond] {
        match fs::remove_file(folder.join(name)) {
            // Another server of the same folder was faster.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let digits = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    digits.is_some_and(|digits| digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_whole_bounded_in_number_and_foreign_ones_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("tickring-histograms-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let inner = folder.join("state");
        let first = write(&inner, 1_700_000_000_123_456_789, "first").unwrap();
        assert_eq!(first, inner.join("histograms-1700000000123.hlog"));
        assert_eq!(fs::read_to_string(&first).unwrap(), "first");
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o137, 0);
        // What a crash has left is no obstacle.
        fs::write(inner.join("histograms-1700000000124.new"), "half").unwrap();
        let second = write(&inner, 1_700_000_000_123_999_999, "second").unwrap();
        assert_eq!(second, inner.join("histograms-1700000000124.hlog"));
        fs::write(inner.join("sessions"), "foreign").unwrap();
        fs::write(inner.join("histograms-of-mine.hlog"), "foreign").unwrap();
        for second in 1..=limits::HISTOGRAM_FILES_MAX as u64 {
            write(&inner, (1_700_000_000 + second) * 1_000_000_000, "later").unwrap();
        }
        assert!(!first.exists() && !second.exists());
        assert_eq!(fs::read_dir(&inner).unwrap().count(), limits::HISTOGRAM_FILES_MAX + 2);
        fs::remove_dir_all(&folder).unwrap();
        assert!(write(Path::new("/proc/nowhere"), 0, "").is_err());
    }
}
