//! One child process: its pipes, its end. Home: a task of the control thread, which is the thread that started it: the kernel ends
//! the child with that thread (decision 0025).
//!
//! Invariants: a call that was handed over is told of once, by `Event::Answered`, unless it was cancelled; the last event is
//! `Event::Ended`, and then the child and what is left of its process group are gone and nobody's zombie; what it has not read and
//! what it writes to the log are bounded.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::codec::{Conversation, ConversationCounters, News, Request};
use super::spawn::{Group, LogLines, command};
use crate::backend::settings::ProcessSettings;
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::clock;
use crate::limits;
use crate::model::call::{CallFailure, CallKey};
use crate::model::invalidation::Methods;

/// Of what is read at once.
const READ_BYTES: usize = 4096;
/// How long what a child has written is read after it has ended: another process may hold its pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a child is told.
#[derive(Debug)]
pub enum Word {
    Call(OwnedCall),
    Cancel(CallKey),
    /// To end, once nothing is under way any more, or this moment is over.
    Stop {
        by_ns: u64,
    },
    /// To end now.
    Kill,
}

/// What is told of a child.
#[derive(Debug)]
pub enum Event {
    Answered {
        key: CallKey,
        outcome: OwnedOutcome,
    },
    /// The call goes on, and has come so far: one valid JSON value.
    Progressed {
        key: CallKey,
        value: Box<[u8]>,
    },
    /// Results of these methods hold no more; some times a second at most.
    Invalidated(Methods),
    /// It is gone.
    Ended {
        why: Why,
        counters: ConversationCounters,
    },
}

/// How it ended.
#[derive(Debug)]
pub enum Why {
    Exited(ExitStatus),
    /// It read nothing of what waited for it.
    ReadNothing,
    /// It wrote a line without an end.
    Endless,
    /// The kernel did not say how.
    Unknown(io::Error),
}

impl std::fmt::Display for Why {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Exited(status) => write!(out, "{status}"),
            Why::ReadNothing => out.write_str("it read nothing of what waited for it, and was killed"),
            Why::Endless => out.write_str("it wrote a line without an end, and was killed"),
            Why::Unknown(error) => write!(out, "{error}"),
        }
    }
}

/// The starter's end.
#[derive(Debug)]
pub struct Link {
    words: mpsc::UnboundedSender<Word>,
    unread_bytes: Arc<AtomicUsize>,
    pid: u32,
}

impl Link {
    /// Starts a child, called `name` in the log. `tell` hears of it until its end. Called on the control thread only.
    ///
    /// # Errors
    /// The kernel has no process, or no descriptor, left.
    pub fn start(
        settings: &ProcessSettings,
        name: String,
        answer_bytes_max: usize,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> io::Result<Link> {
        let mut child = command(settings).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("invariant: all three were asked for");
        };
        let pid = child.id().expect("invariant: it was not waited for yet");
        let (words, heard) = mpsc::unbounded_channel();
        let unread_bytes = Arc::new(AtomicUsize::new(0));
        let talk = Talk {
            name,
            conversation: Conversation::new(answer_bytes_max),
            unread: Vec::new(),
            unread_bytes: Arc::clone(&unread_bytes),
            log: LogLines::default(),
            tell,
        };
        let stop_timeout_ns = settings.stop_timeout_ns;
        let group = Group::of(pid);
        tokio::spawn(
            talk.run(Running { child, stdin: Some(stdin), stdout, stderr, group, stop_timeout_ns }, heard),
        );
        Ok(Link { words, unread_bytes, pid })
    }

    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has read enough of what waits for it to be sent one more call.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unread_bytes.load(Ordering::Relaxed) < limits::CHILD_UNREAD_BYTES_MAX
    }

    /// Whether it hears of it. One that has ended does not, though that may not have been heard of yet.
    pub fn say(&self, word: Word) -> bool {
        if let Word::Call(call) = &word {
            let bytes = call.method.len() + call.params.as_ref().map_or(0, |params| params.len());
            self.unread_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.words.send(word).is_ok()
    }
}

struct Running {
    child: Child,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    group: Group,
    stop_timeout_ns: u64,
}

struct Talk<F> {
    name: String,
    conversation: Conversation,
    /// Lines that wait to be taken by the child's pipe.
    unread: Vec<u8>,
    /// The same, with what is still in the channel, for who sends.
    unread_bytes: Arc<AtomicUsize>,
    log: LogLines,
    tell: F,
}

/// How a child's time is going.
#[derive(Clone, Copy, Debug)]
enum Course {
    Serving,
    /// Its standard input is closed once nothing is under way.
    Ending {
        by_ns: u64,
    },
    /// It was sent SIGTERM.
    Terminated {
        by_ns: u64,
    },
    /// It was sent SIGKILL.
    Killed,
}

impl<F: FnMut(Event) + Send + 'static> Talk<F> {
    async fn run(mut self, mut running: Running, mut heard: mpsc::UnboundedReceiver<Word>) {
        let why = self.talk(&mut running, &mut heard).await;
        let Running { mut child, group, stdout, stderr, .. } = running;
        if why.is_none() {
            // It closes its pipes before it is gone, and is asked how it ended.
            let _ = timeout(LAST_WORDS, child.wait()).await;
        }
        // What is left of its group, and of itself where it has only closed its pipes.
        group.signal(Signal::SIGKILL);
        let ended = child.wait().await;
        let why = match (why, ended) {
            (Some(why), _) => why,
            (None, Ok(status)) => Why::Exited(status),
            (None, Err(error)) => Why::Unknown(error),
        };
        self.last_words(stdout, stderr).await;
        // Nobody else would, and it is not too often: there is no next time.
        let methods = self.conversation.poll_invalidated(u64::MAX);
        methods.into_iter().for_each(|methods| (self.tell)(Event::Invalidated(methods)));
        heard.close();
        while let Ok(word) = heard.try_recv() {
            if let Word::Call(OwnedCall { key: Some(key), .. }) = word {
                // It never saw it.
                (self.tell)(Event::Answered { key, outcome: OwnedOutcome::Failed(CallFailure::Unavailable) });
            }
        }
        let lost: Vec<CallKey> = self.conversation.end().collect();
        for key in lost {
            (self.tell)(Event::Answered { key, outcome: OwnedOutcome::Failed(CallFailure::Lost) });
        }
        (self.tell)(Event::Ended { why, counters: self.conversation.counters() });
    }

    /// Until it has ended, or is to be ended for what it does.
    async fn talk(
        &mut self,
        running: &mut Running,
        heard: &mut mpsc::UnboundedReceiver<Word>,
    ) -> Option<Why> {
        let Running { child, stdin, stdout, stderr, group, stop_timeout_ns } = running;
        let (mut said, mut errors) = ([0; READ_BYTES], [0; READ_BYTES / 4]);
        let (mut says_errors, mut is_told, mut course) = (true, true, Course::Serving);
        let mut read_by_ns = from_now(limits::CHILD_UNREAD_NS_MAX);
        loop {
            if matches!(course, Course::Ending { .. }) && self.is_done() {
                *stdin = None;
            }
            let tell_ns = self.conversation.poll_timeout();
            let due_ns = match course {
                Course::Ending { by_ns } | Course::Terminated { by_ns } => Some(by_ns),
                Course::Serving => (!self.unread.is_empty()).then_some(read_by_ns),
                Course::Killed => None,
            };
            tokio::select! {
                word = heard.recv(), if is_told => match word {
                    Some(Word::Call(call)) => {
                        if self.unread.is_empty() {
                            read_by_ns = from_now(limits::CHILD_UNREAD_NS_MAX);
                        }
                        self.call(&call);
                    }
                    Some(Word::Cancel(key)) => self.say(|conversation, out| conversation.cancel(key, out)),
                    Some(Word::Stop { by_ns }) => {
                        course = Course::Ending { by_ns: by_ns.max(from_now(*stop_timeout_ns)) };
                    }
                    // Whoever told it to end has no more to say.
                    None if matches!(course, Course::Ending { .. } | Course::Terminated { .. }) => is_told = false,
                    // Whoever started it is gone.
                    Some(Word::Kill) | None => {
                        group.signal(Signal::SIGKILL);
                        (course, is_told) = (Course::Killed, false);
                    }
                },
                taken = write(stdin.as_mut(), &self.unread), if stdin.is_some() && !self.unread.is_empty() => {
                    match taken {
                        Ok(bytes) => {
                            self.took(bytes);
                            read_by_ns = from_now(limits::CHILD_UNREAD_NS_MAX);
                        }
                        // It has closed its standard input: what it has written by now is all that it says.
                        Err(_) => return None,
                    }
                }
                read = stdout.read(&mut said) => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(bytes) => if self.receive(&said[..bytes]) { return Some(Why::Endless) },
                },
                read = stderr.read(&mut errors), if says_errors => match read {
                    Ok(0) | Err(_) => says_errors = false,
                    Ok(bytes) => self.log.receive(&self.name, &errors[..bytes]),
                },
                () = sleep(until(tell_ns)), if tell_ns.is_some() => self.tell_invalidated(),
                status = child.wait() => return status.map_or_else(|error| Some(Why::Unknown(error)), |_| None),
                () = sleep(until(due_ns)), if due_ns.is_some() => match course {
                    Course::Serving | Course::Killed => return Some(Why::ReadNothing),
                    Course::Ending { .. } => {
                        *stdin = None;
                        group.signal(Signal::SIGTERM);
                        course = Course::Terminated { by_ns: from_now(*stop_timeout_ns) };
                    }
                    Course::Terminated { .. } => {
                        group.signal(Signal::SIGKILL);
                        (course, is_told) = (Course::Killed, false);
                    }
                },
            }
        }
    }

    /// Whether nothing is under way.
    fn is_done(&self) -> bool {
        self.unread.is_empty() && self.conversation.waiting_count() == 0
    }

    fn call(&mut self, call: &OwnedCall) {
        let OwnedCall { key, method, params, trace_parent, due_ns, .. } = call;
        let bytes = method.len() + params.as_ref().map_or(0, |params| params.len());
        // Nobody waits for one whose time is over.
        if *due_ns > clock::now().mono_ns {
            let request =
                Request { method, params: params.as_deref(), trace_parent: trace_parent.as_deref() };
            self.say(|conversation, out| conversation.begin(*key, &request, out));
        }
        self.unread_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Has the conversation say something to the child.
    fn say<T>(&mut self, what: impl FnOnce(&mut Conversation, &mut Vec<u8>) -> T) -> T {
        let before = self.unread.len();
        let done = what(&mut self.conversation, &mut self.unread);
        self.unread_bytes.fetch_add(self.unread.len() - before, Ordering::Relaxed);
        done
    }

    /// The child's pipe has taken so many bytes.
    fn took(&mut self, bytes: usize) {
        self.unread.drain(..bytes);
        if self.unread.is_empty() {
            self.unread.shrink_to(READ_BYTES);
        }
        self.unread_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether a line has no end.
    fn receive(&mut self, bytes: &[u8]) -> bool {
        let Talk { conversation, unread, unread_bytes, tell, .. } = self;
        let before = unread.len();
        let received = conversation.receive(bytes, clock::now().mono_ns, unread, |news| match news {
            News::Progress(key, value) => tell(Event::Progressed { key, value: value.into() }),
            News::Outcome(key, outcome) => tell(Event::Answered { key, outcome: outcome.into() }),
            News::Invalidated(methods) => tell(Event::Invalidated(methods)),
        });
        unread_bytes.fetch_add(unread.len() - before, Ordering::Relaxed);
        received.is_err()
    }

    fn tell_invalidated(&mut self) {
        let methods = self.conversation.poll_invalidated(clock::now().mono_ns);
        methods.into_iter().for_each(|methods| (self.tell)(Event::Invalidated(methods)));
    }

    /// What its pipes still hold.
    async fn last_words(&mut self, mut stdout: ChildStdout, mut stderr: ChildStderr) {
        let mut read = [0; READ_BYTES];
        while let Ok(Ok(bytes @ 1..)) = timeout(LAST_WORDS, stdout.read(&mut read)).await {
            if self.receive(&read[..bytes]) {
                break;
            }
        }
        while let Ok(Ok(bytes @ 1..)) = timeout(LAST_WORDS, stderr.read(&mut read)).await {
            self.log.receive(&self.name, &read[..bytes]);
        }
        self.log.end(&self.name);
    }
}

/// A moment on the monotonic clock.
fn from_now(ns: u64) -> u64 {
    clock::now().mono_ns.saturating_add(ns)
}

/// From now to a moment; nothing where there is none.
fn until(due_ns: Option<u64>) -> Duration {
    Duration::from_nanos(due_ns.map_or(0, |due_ns| due_ns.saturating_sub(clock::now().mono_ns)))
}

/// `stdin` is there wherever this is waited for.
async fn write(stdin: Option<&mut ChildStdin>, bytes: &[u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => std::future::pending().await,
    }
}
