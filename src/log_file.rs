//! The log's file (`log.file`): the lines that `log_tail` keeps, appended by a thread of its own.
//!
//! Home: the main thread opens files, the `log` thread writes them. Invariants: who logs never waits for the file: lines are read where
//! they are kept for operators, and what is no longer there when the file takes more is counted; a file has whole lines.

#![expect(clippy::disallowed_types, reason = "two threads share it that have no clients to keep waiting")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::api::LINES_MAX;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::log_tail::{self, Kept, LogTail};

/// For the owner, and for a group that he lets into the folder.
const FILE_MODE: u32 = 0o640;
/// Bytes of lines that are written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long after a failure the file is tried again.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_NS: u64 = 1_000_000_000;
/// How long the end of the process waits for the file.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// What others are told of the file.
#[derive(Debug, Default)]
pub struct Progress {
    path: ArcSwapOption<PathBuf>,
    dropped: AtomicU64,
    is_failing: AtomicBool,
}

impl Progress {
    /// The file, if there is one and it has what was logged.
    #[must_use]
    pub fn readable(&self) -> Option<Arc<PathBuf>> {
        if self.is_failing.load(Ordering::Relaxed) { None } else { self.path.load_full() }
    }

    /// Lines that are missing in it.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The main thread's end.
#[derive(Debug, Default)]
pub struct LogFile {
    progress: Arc<Progress>,
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    thread: Thread,
    shared: Arc<Shared>,
    finished: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What is to be written from now on, until the thread takes it.
    next: Mutex<Option<Target>>,
    is_finishing: AtomicBool,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    /// None where nothing is to be written.
    file: Option<File>,
}

impl Target {
    /// Whether it is the very file.
    fn is_same(&self, other: &Target) -> bool {
        let identity = |target: &Target| {
            let file = target.file.as_ref()?.metadata().ok()?;
            Some((file.dev(), file.ino()))
        };
        identity(self).is_some_and(|identity_of_self| identity(other) == Some(identity_of_self))
    }
}

impl LogFile {
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Has all lines that are kept, and those to come, written into this file, or into none. The same file is opened anew.
    ///
    /// # Errors
    /// It cannot be opened, and all stays as it was.
    pub fn open(&mut self, path: Option<&Path>, give_way: fn() -> io::Result<()>) -> Result<(), Failure> {
        let Some(path) = path else {
            if let Some(running) = &self.thread {
                running.hand(Target { path: PathBuf::new(), file: None });
            }
            self.progress.path.store(None);
            return Ok(());
        };
        let file = open(path).map_err(|error| refused(path, &error))?;
        if self.thread.is_none() {
            self.thread = Some(
                Running::start(log_tail::tail(), &self.progress, give_way)
                    .map_err(|error| refused(path, &error))?,
            );
        }
        if let Some(running) = &self.thread {
            running.hand(Target { path: path.to_owned(), file: Some(file) });
        }
        self.progress.path.store(Some(Arc::new(path.to_owned())));
        Ok(())
    }

    /// Waits until all is written, if that does not take long.
    pub fn finish(self) {
        if let Some(running) = self.thread {
            // A disk that takes nothing keeps the process no longer than this.
            running.finish_within(FINISH_WITHIN);
        }
    }
}

impl Running {
    fn start(
        tail: &'static LogTail,
        progress: &Arc<Progress>,
        give_way: fn() -> io::Result<()>,
    ) -> io::Result<Running> {
        let shared = Arc::new(Shared::default());
        let (finish, finished) = mpsc::channel();
        let writer = Writer::new(tail, Arc::clone(progress));
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            if let Err(error) = give_way() {
                log::debug!("the log's thread keeps its priority: {error}");
            }
            run(writer, &of_thread, &finish);
        })?;
        tail.wake_at_lines(thread.thread().clone());
        Ok(Running { thread: thread.thread().clone(), shared, finished })
    }

    /// Has the thread write all that was logged before, and end; whether it has in time.
    fn finish_within(self, time: Duration) -> bool {
        self.shared.is_finishing.store(true, Ordering::Release);
        self.thread.unpark();
        self.finished.recv_timeout(time).is_ok()
    }

    fn hand(&self, target: Target) {
        *self.shared.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
        self.thread.unpark();
    }
}

fn run(mut writer: Writer, shared: &Shared, finish: &Sender<()>) {
    loop {
        // Before the lines are looked at, so that all that were logged before it are written.
        let is_finishing = shared.is_finishing.load(Ordering::Acquire);
        // Before the next file is looked for, so that what is logged behind it is not in this one. At the end none follows.
        let lines = if is_finishing { u64::MAX } else { writer.tail.total() };
        let next = shared.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(next) = next {
            writer.take_target(next);
        }
        let is_failing = writer.write(lines, clock::now().mono_ns);
        if is_finishing {
            // The main thread may have gone.
            let _ = finish.send(());
            return;
        }
        if is_failing { std::thread::park_timeout(RETRY) } else { std::thread::park() }
    }
}

/// Appends to a file that there is, or to a new one.
///
/// # Errors
/// The folder is not there or not ours to write, or this is no file but a pipe, say, whose reader we would wait for.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is no regular file")) }
}

/// Why a file cannot be the log's.
#[must_use]
pub fn refused(path: &Path, error: &io::Error) -> Failure {
    let what = format!("log.file: {}: {error}", path.display());
    Failure::new(Exit::Config, what, "name a file in a folder that the server's user may write")
}

/// The thread's own.
struct Writer {
    tail: &'static LogTail,
    progress: Arc<Progress>,
    target: Option<Target>,
    /// Lines that are in the batch or behind us.
    taken: u64,
    /// Lines that are being written.
    batch: String,
    /// Bytes of it that are.
    written: usize,
    /// Not before, since the last write failed.
    retry_ns: u64,
    /// Lines that were missing when the first write failed.
    missing_before: u64,
}

impl Writer {
    fn new(tail: &'static LogTail, progress: Arc<Progress>) -> Writer {
        Writer {
            tail,
            progress,
            target: None,
            // What was gone before there was a file is not missing in it.
            taken: oldest(tail),
            batch: String::new(),
            written: 0,
            retry_ns: 0,
            missing_before: 0,
        }
    }

    /// Goes on with another file, which begins with a whole line.
    fn take_target(&mut self, target: Target) {
        // Into another file goes the whole line of which this one has a part.
        if !self.target.as_ref().is_some_and(|before| before.is_same(&target)) {
            self.written = self.batch[..self.written].rfind('\n').map_or(0, |end| end + 1);
        }
        self.retry_ns = 0;
        self.target = Some(target);
    }

    /// Writes what there is of so many lines since the start; whether the file takes nothing.
    fn write(&mut self, lines: u64, now_ns: u64) -> bool {
        self.pass_gone();
        if now_ns < self.retry_ns {
            return true;
        }
        loop {
            if self.written == self.batch.len() {
                self.take_batch(lines);
            }
            if self.batch.is_empty() {
                return false;
            }
            let Some(Target { file: Some(file), .. }) = &mut self.target else {
                self.progress.is_failing.store(false, Ordering::Relaxed);
                self.written = self.batch.len();
                continue;
            };
            match file.write(&self.batch.as_bytes()[self.written..]) {
                Ok(bytes) if bytes > 0 => {
                    self.written += bytes;
                    self.note_success();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return self.note_failure(&io::ErrorKind::WriteZero.into(), now_ns),
                Err(error) => return self.note_failure(&error, now_ns),
            }
        }
    }

    fn take_batch(&mut self, lines: u64) {
        self.batch.clear();
        self.written = 0;
        while self.taken < lines && self.batch.len() < BATCH_BYTES {
            match self.tail.line(self.taken) {
                Kept::Line(line) => line.write(&mut self.batch),
                Kept::Gone => self.count_missing(1),
                Kept::Coming => return,
            }
            self.taken += 1;
        }
    }

    /// Lines whose place newer ones have.
    fn pass_gone(&mut self) {
        let oldest = oldest(self.tail);
        if self.taken < oldest {
            self.count_missing(oldest - self.taken);
            self.taken = oldest;
        }
    }

    fn count_missing(&self, lines: u64) {
        if self.target.as_ref().is_some_and(|target| target.file.is_some()) {
            self.progress.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    fn note_success(&mut self) {
        if self.progress.is_failing.swap(false, Ordering::Relaxed) {
            let missing = self.progress.dropped() - self.missing_before;
            log::warn!("{}: the log is written again; {missing} lines are missing in it", self.path());
        }
    }

    /// Always true.
    fn note_failure(&mut self, error: &io::Error, now_ns: u64) -> bool {
        self.retry_ns = now_ns + RETRY_NS;
        if !self.progress.is_failing.swap(true, Ordering::Relaxed) {
            self.missing_before = self.progress.dropped();
            log::error!(
                "{}: the log cannot be written: {error}: the last {LINES_MAX} lines wait, older ones will be missing in it",
                self.path()
            );
        }
        true
    }

    fn path(&self) -> std::path::Display<'_> {
        self.target.as_ref().map_or(Path::new(""), |target| &target.path).display()
    }
}

/// Lines before the oldest that is kept.
fn oldest(tail: &LogTail) -> u64 {
    tail.total().saturating_sub(LINES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is waited for comes within this, on a machine that does much else too.
    const LONG: Duration = Duration::from_secs(30);

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("tickring-log-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A thread that writes this file, and what of.
    fn running(target: Target) -> (Running, &'static LogTail) {
        let tail: &'static LogTail = Box::leak(Box::default());
        let running = Running::start(tail, &Arc::default(), || Ok(())).unwrap();
        running.hand(target);
        (running, tail)
    }

    /// As many lines as are kept, as long as they may be: more than a pipe holds.
    fn push_long(tail: &LogTail) {
        for number in 0..LINES_MAX {
            tail.push(&log::Record::builder().args(format_args!("{number:0>900}")).target("t").build());
        }
    }

    fn writer() -> Writer {
        Writer::new(Box::leak(Box::default()), Arc::default())
    }

    fn log(writer: &Writer, messages: impl IntoIterator<Item = u64>) {
        for message in messages {
            writer.tail.push(&log::Record::builder().args(format_args!("{message}")).target("t").build());
        }
    }

    /// All there is.
    fn write(writer: &mut Writer, now_ns: u64) -> bool {
        writer.write(writer.tail.total(), now_ns)
    }

    fn target(path: &Path) -> Target {
        Target { path: path.to_owned(), file: Some(open(path).unwrap()) }
    }

    /// A file that takes nothing.
    fn broken(path: &Path) -> Target {
        fs::write(path, "").unwrap();
        Target { path: path.to_owned(), file: Some(File::open(path).unwrap()) }
    }

    /// The messages of a file, all of whose lines are whole.
    fn messages(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let message = |line: &str| {
            assert!(line.starts_with('['), "the beginning of a line is missing: {line}");
            line.split_once(" INFO  t] ").unwrap().1.parse().unwrap()
        };
        text.lines().map(message).collect()
    }

    #[test]
    fn all_lines_are_written_once_in_their_order_also_when_the_file_is_opened_anew() {
        let folder = Folder::new("order");
        let path = folder.0.join("a.log");
        let mut writer = writer();
        log(&writer, 0..3);
        writer.take_target(target(&path));
        assert!(!write(&mut writer, 0));
        log(&writer, 3..900);
        assert!(!write(&mut writer, 0));
        fs::rename(&path, folder.0.join("a.log.1")).unwrap();
        log(&writer, 900..901);
        assert!(!write(&mut writer, 0));
        writer.take_target(target(&path));
        log(&writer, 901..1500);
        assert!(!write(&mut writer, 0));
        assert_eq!(messages(&folder.0.join("a.log.1")), (0..901).collect::<Vec<_>>());
        assert_eq!(messages(&path), (901..1500).collect::<Vec<_>>());
        assert_eq!(writer.progress.dropped(), 0);
    }

    #[test]
    fn what_is_logged_behind_another_file_is_not_in_the_one_before() {
        let folder = Folder::new("behind");
        let (before, after) = (folder.0.join("a.log"), folder.0.join("b.log"));
        let mut writer = writer();
        writer.take_target(target(&before));
        log(&writer, 0..3);
        let lines = writer.tail.total();
        // Another file is handed in, and this is logged, before the thread comes to write.
        log(&writer, 3..5);
        assert!(!writer.write(lines, 0));
        writer.take_target(target(&after));
        assert!(!write(&mut writer, 0));
        assert_eq!((messages(&before), messages(&after)), (vec![0, 1, 2], vec![3, 4]));
    }

    #[test]
    fn what_a_file_does_not_take_waits_as_long_as_it_is_kept_and_is_counted_beyond() {
        let folder = Folder::new("full");
        let (bad, good) = (folder.0.join("bad.log"), folder.0.join("good.log"));
        let mut writer = writer();
        writer.take_target(broken(&bad));
        log(&writer, 0..10);
        assert!(write(&mut writer, 5));
        assert!(writer.progress.is_failing.load(Ordering::Relaxed));
        // Ten are taken already; of what comes, five more than are kept.
        log(&writer, 10..10 + LINES_MAX as u64 + 5);
        assert!(write(&mut writer, 6), "it is not tried again at once");
        assert_eq!(writer.progress.dropped(), 5);
        writer.take_target(target(&good));
        assert!(!write(&mut writer, 7), "another file is");
        let expected: Vec<u64> = (0..10).chain(15..15 + LINES_MAX as u64).collect();
        assert_eq!(messages(&good), expected);
        assert!(!writer.progress.is_failing.load(Ordering::Relaxed));
        assert_eq!((writer.progress.dropped(), messages(&bad).len()), (5, 0));
    }

    #[test]
    fn a_file_begins_with_the_line_of_which_the_one_before_has_a_part() {
        let folder = Folder::new("part");
        let path = folder.0.join("a.log");
        let mut writer = writer();
        writer.take_target(broken(&folder.0.join("bad.log")));
        log(&writer, 0..3);
        assert!(write(&mut writer, 0));
        // As if the disk had been full in the middle of the second line.
        writer.written = writer.batch.find('\n').unwrap() + 5;
        writer.take_target(target(&path));
        assert!(!write(&mut writer, 0));
        assert_eq!(messages(&path), [1, 2]);
    }

    #[test]
    fn the_same_file_opened_anew_goes_on_in_its_line() {
        let folder = Folder::new("same");
        let path = folder.0.join("a.log");
        let mut writer = writer();
        writer.take_target(broken(&path));
        log(&writer, 0..3);
        assert!(write(&mut writer, 0));
        // As if it had taken so much before it was full.
        writer.written = writer.batch.find('\n').unwrap() + 5;
        let whole = writer.batch.clone();
        fs::write(&path, &whole[..writer.written]).unwrap();
        writer.take_target(target(&path));
        assert!(!write(&mut writer, 0));
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn what_was_logged_without_a_file_is_not_missing() {
        let folder = Folder::new("none");
        let path = folder.0.join("a.log");
        let mut writer = writer();
        writer.take_target(Target { path: PathBuf::new(), file: None });
        log(&writer, 0..3000);
        assert!(!write(&mut writer, 0));
        writer.take_target(target(&path));
        log(&writer, 3000..3002);
        assert!(!write(&mut writer, 0));
        assert_eq!((messages(&path), writer.progress.dropped()), (vec![3000, 3001], 0));
    }

    #[test]
    fn the_end_waits_until_all_that_was_logged_is_in_the_file() {
        let folder = Folder::new("finish");
        let path = folder.0.join("a.log");
        let (running, tail) = running(target(&path));
        push_long(tail);
        assert!(running.finish_within(LONG));
        assert_eq!(messages(&path), (0..LINES_MAX as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_wakes_a_thread_that_has_written_all() {
        let folder = Folder::new("idle");
        let path = folder.0.join("a.log");
        let (running, tail) = running(target(&path));
        push_long(tail);
        while fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count() < LINES_MAX {}
        assert!(running.finish_within(LONG));
    }

    #[test]
    fn the_end_does_not_wait_for_a_disk_that_takes_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let (running, tail) = running(Target { path: PathBuf::from("full"), file: Some(file) });
        push_long(tail);
        assert!(!running.finish_within(Duration::from_millis(1)));
        drop(reader);
    }

    #[test]
    fn what_is_no_file_is_refused_and_nobody_waits_for_it() {
        let folder = Folder::new("kind");
        assert!(open(&folder.0.join("none/a.log")).is_err());
        assert!(open(&folder.0).is_err());
        let pipe = folder.0.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&pipe).is_err());
        let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
        assert_eq!(open(&pipe).unwrap_err().to_string(), "is no regular file");
        assert_eq!(
            refused(Path::new("/x"), &io::ErrorKind::NotFound.into()).to_string(),
            "log.file: /x: entity not found: name a file in a folder that the server's user may write"
        );
    }
}
