//! The last lines of the log for who asks: of its file, of which only the end is read, else those that are kept in memory.
//!
//! Home: the control thread, but for the file, which a thread of its own looks at: a disk may not answer. Invariants: of a file so many
//! bytes are read at most; one that has not changed is not read again; one look at it at a time is under way, and nobody waits longer
//! for it than a bound.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::api::{FileEnd, Lines};
use crate::log_file::Progress;
use crate::log_tail;

/// The file is read in blocks of so many bytes, from its end.
const BLOCK_BYTES: u64 = 64 * 1024;
/// Bytes that are read for an answer: those of the most lines, at the usual length of the longest.
const BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Answers that are kept, each for another number of lines.
const KEPT_MAX: usize = 4;
/// How long an answer waits for the file, with those before it: a disk that works is a hundred times as fast.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Where lines come from.
#[derive(Debug)]
pub(super) struct Logs {
    progress: Arc<Progress>,
    file: Arc<LogEnd>,
    /// One look at the file at a time. Who looks holds it, also when nobody waits for him any more.
    looking: Arc<Semaphore>,
}

/// The end of the log's file.
#[derive(Debug, Default)]
struct LogEnd {
    kept: ArcSwap<Kept>,
}

/// Ends of the file as it was.
#[derive(Clone, Debug, Default)]
struct Kept {
    of: Option<Version>,
    ends: Vec<(usize, Arc<FileEnd>)>,
}

/// A file that has the same is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device_and_inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
}

impl Logs {
    pub(super) fn new(progress: Arc<Progress>) -> Logs {
        Logs { progress, file: Arc::default(), looking: Arc::new(Semaphore::new(1)) }
    }

    /// Lines that are missing in the file.
    pub(super) fn dropped(&self) -> u64 {
        self.progress.dropped()
    }

    /// So many lines, or as many as there are; those in memory where there is no file, or none that can be read in time.
    pub(super) async fn last(&self, lines: usize) -> Lines {
        if let Some(path) = self.progress.readable().filter(|_| lines > 0) {
            match tokio::time::timeout(READ_WITHIN, self.look(Arc::clone(&path), lines)).await {
                Ok(Ok(end)) => return Lines::File(end),
                Ok(Err(error)) => log::debug!("the log's file cannot be read: {error}"),
                Err(_) => log::debug!("the log's file does not answer in time"),
            }
        }
        Lines::Memory(log_tail::tail().last(lines))
    }

    async fn look(&self, path: Arc<PathBuf>, lines: usize) -> io::Result<Arc<FileEnd>> {
        let turn = Arc::clone(&self.looking).acquire_owned().await.map_err(io::Error::other)?;
        let file = Arc::clone(&self.file);
        let look = move || {
            let end = file.of(&path, lines);
            drop(turn);
            end
        };
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }
}

impl LogEnd {
    /// The last lines of this file.
    fn of(&self, path: &Path, lines: usize) -> io::Result<Arc<FileEnd>> {
        let version = Version::of(&std::fs::metadata(path)?);
        let kept = self.kept.load();
        let is_same = kept.of == Some(version);
        if let Some((_, end)) = kept.ends.iter().find(|(of, _)| is_same && *of == lines) {
            return Ok(Arc::clone(end));
        }
        let file = File::open(path)?;
        // As it is before it is read: what comes while it is read makes another version.
        let version = Version::of(&file.metadata()?);
        let end = Arc::new(FileEnd::of(&read_end(&file, version.bytes, lines)?, lines));
        let mut ends = if kept.of == Some(version) { kept.ends.clone() } else { Vec::new() };
        ends.truncate(KEPT_MAX - 1);
        ends.insert(0, (lines, Arc::clone(&end)));
        self.kept.store(Arc::new(Kept { of: Some(version), ends }));
        Ok(end)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        Version {
            device_and_inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What ends with the last lines of so many bytes, in blocks from the end.
fn read_end(file: &File, bytes: u64, lines: usize) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    let mut begin = bytes;
    // The line before the first that is wanted ends by one, and what is behind the last is not written yet.
    while begin > bytes.saturating_sub(BYTES_MAX) && line_ends(&end) <= lines {
        let block_bytes = BLOCK_BYTES.min(begin);
        begin -= block_bytes;
        let mut block = vec![0; usize::try_from(block_bytes).map_err(io::Error::other)?];
        file.read_exact_at(&mut block, begin)?;
        block.append(&mut end);
        end = block;
    }
    Ok(end)
}

fn line_ends(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::api::Line;

    /// A file of so many lines, removed at the end.
    struct Log {
        path: PathBuf,
        lines: usize,
    }

    impl Log {
        fn new(name: &str) -> Log {
            let path = std::env::temp_dir().join(format!("tickring-logs-{name}-{}", std::process::id()));
            fs::write(&path, "").unwrap();
            Log { path, lines: 0 }
        }

        fn write(&mut self, lines: usize, more: &str) {
            let mut text = String::new();
            for number in self.lines..self.lines + lines {
                let message = format!("line {number}{more}").into();
                Line { number: 0, unix_ms: 1, level: "INFO", target: "t".into(), message }.write(&mut text);
            }
            self.lines += lines;
            fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn end(&self, lines: usize) -> FileEnd {
            let whole = fs::read(&self.path).unwrap();
            FileEnd::of(&whole, lines)
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn read(log: &Log, lines: usize) -> (FileEnd, u64) {
        let file = File::open(&log.path).unwrap();
        let bytes = file.metadata().unwrap().len();
        let end = read_end(&file, bytes, lines).unwrap();
        (FileEnd::of(&end, lines), end.len() as u64)
    }

    #[test]
    fn only_the_end_of_a_file_is_read_and_it_has_the_last_lines() {
        let mut log = Log::new("end");
        assert_eq!(read(&log, 5), (log.end(5), 0));
        log.write(20_000, "");
        let size = fs::metadata(&log.path).unwrap().len();
        for lines in [1, 100, 1000] {
            let (end, bytes) = read(&log, lines);
            assert_eq!(end, log.end(lines), "{lines}");
            assert!(
                bytes <= lines as u64 * 60 + BLOCK_BYTES && bytes < size / 4,
                "{lines}: {bytes} of {size}"
            );
        }
        // A line as long as a block begins where a block does, and nowhere else.
        for fill in 0..3 {
            log.write(1, &"x".repeat(usize::try_from(BLOCK_BYTES).unwrap() - 50 + fill * 20));
            assert_eq!(read(&log, 3).0, log.end(3));
        }
    }

    #[test]
    fn what_is_read_of_a_file_without_lines_is_bounded() {
        let log = Log::new("bound");
        fs::write(&log.path, vec![b'x'; usize::try_from(BYTES_MAX).unwrap() + 200_000]).unwrap();
        assert!(read(&log, 1000).1 <= BYTES_MAX + BLOCK_BYTES);
    }

    #[test]
    fn a_file_is_read_again_if_it_has_changed_and_only_then() {
        let mut log = Log::new("cache");
        log.write(10, "");
        let end = LogEnd::default();
        let first = end.of(&log.path, 5).unwrap();
        assert!(Arc::ptr_eq(&first, &end.of(&log.path, 5).unwrap()));
        let other = end.of(&log.path, 6).unwrap();
        assert_ne!(first, other);
        assert!(Arc::ptr_eq(&first, &end.of(&log.path, 5).unwrap()), "one does not take the other's place");
        log.write(1, "");
        let grown = end.of(&log.path, 5).unwrap();
        assert_eq!((&*grown, grown == first), (&log.end(5), false));
        // Of the same size, at another time; and another file under the name.
        let text = fs::read_to_string(&log.path).unwrap().replace("line", "LINE");
        fs::write(&log.path, &text).unwrap();
        let modified = std::time::UNIX_EPOCH + Duration::from_secs(5);
        File::options().append(true).open(&log.path).unwrap().set_modified(modified).unwrap();
        assert_eq!(*end.of(&log.path, 5).unwrap(), log.end(5));
        let beside = log.path.with_extension("new");
        fs::write(&beside, text.replace("LINE", "else")).unwrap();
        File::options().append(true).open(&beside).unwrap().set_modified(modified).unwrap();
        fs::rename(&beside, &log.path).unwrap();
        assert_eq!(*end.of(&log.path, 5).unwrap(), log.end(5));
        fs::remove_file(&log.path).unwrap();
        assert!(end.of(&log.path, 5).is_err());
    }
}
