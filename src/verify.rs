//! The thread that judges log-ins, so that no shard's turn waits for arithmetic: one [`Authority`] for the process, fed by a
//! queue from each shard and heard by a queue to each.
//!
//! Home: the thread itself; each shard has its [`LoginPort`], the main thread the [`Verifier`]. Invariants:
//! - Verdicts and keyrings go to a shard in one order: a verdict after a keyring was made by that keyring or a newer one.
//! - The thread never waits for a shard: what does not fit is kept, bounded by the questions that may wait. While a shard is
//!   so far behind with hearing of sessions' ends, no more is judged.
//! - Named sessions are in their file within a second of a change, and at the end; a disk that fails costs a line in the log. Those of a cluster are in its
//!   bucket before anybody is let in by them: who waits for that waits alone (`verify/sessions.rs`).
//! - A question that was pushed is seen: pushing is followed by an unpark, whose token a park that comes later takes.

mod sessions;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::admission::keyed_hash_with_network;
use crate::auth::{Accounts, Authority, GrantId, Judged, Keyring, Settings, Verdict};
use crate::clock;
use crate::doorbell::Doorbell;
use crate::hub::LoginQuestion;
use crate::hub::batch::Ticket;
use crate::limits;
use crate::model::time::Now;
use crate::nats::SessionPort;
use crate::sessions_file::SessionsFile;
use crate::slot::Slot;

use self::sessions::SharedLine;

/// Questions of one shard that are answered before the next shard's.
const QUESTIONS_PER_ROUND: usize = 64;
/// Places in a queue of answers beside those for verdicts.
const KEYRINGS_KEPT: usize = 16;
/// How long the thread sleeps while an answer does not fit.
const RETRY: Duration = Duration::from_millis(1);
/// How far apart writes of the file of sessions are: they wait for a disk, and log-ins wait for them.
const SAVE_DISTANCE_NS: u64 = 1_000_000_000;

/// Where named sessions are kept.
#[derive(Debug)]
pub enum SessionStore {
    /// They end with the process.
    Nowhere,
    File(SessionsFile),
    /// In the bucket of a cluster.
    Cluster(SessionPort),
}

/// What a shard is told.
#[derive(Debug)]
pub enum Answer {
    Verdict {
        ticket: Ticket,
        verdict: Verdict,
    },
    /// Other keys hold from now on.
    Keyring(Arc<Keyring>),
    /// A named session is over.
    SessionEnded(GrantId),
}

/// A shard's end.
#[derive(Debug)]
pub struct LoginPort {
    questions: Producer<LoginQuestion>,
    answers: Consumer<Answer>,
    thread: Thread,
    seed: (u64, u64),
    /// Something was pushed since the thread was last woken.
    unannounced: bool,
}

/// The main thread's end.
#[derive(Debug)]
pub struct Verifier {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A keyring that the thread has not taken yet: the newest.
    keyring: ArcSwapOption<Keyring>,
    settings: Slot<Settings>,
    stop: AtomicBool,
}

/// The thread's end of one shard's queues.
struct Line {
    questions: Consumer<LoginQuestion>,
    answers: Producer<Answer>,
    /// Answers that did not fit, in order.
    backlog: VecDeque<Answer>,
    doorbell: Doorbell,
}

impl Verifier {
    /// Starts the thread, for shards with these doorbells; `seed` keys the hash of addresses, accounts are numbered by `accounts`, and by `give_way` the thread lets
    /// shards go first.
    ///
    /// # Errors
    /// The thread can't be made.
    pub fn start(
        keyring: Arc<Keyring>,
        settings: Settings,
        doorbells: impl IntoIterator<Item = Doorbell>,
        seed: (u64, u64),
        give_way: fn() -> std::io::Result<()>,
        sessions: SessionStore,
        accounts: Accounts,
    ) -> std::io::Result<(Verifier, Vec<LoginPort>)> {
        let mut ends = Vec::new();
        let mut lines = Vec::new();
        for doorbell in doorbells {
            let (asking, questions) = RingBuffer::new(limits::LOGINS_PENDING_MAX);
            let (answers, hearing) = RingBuffer::new(limits::LOGINS_PENDING_MAX + KEYRINGS_KEPT);
            ends.push((asking, hearing));
            lines.push(Line { questions, answers, backlog: VecDeque::new(), doorbell });
        }
        let shared = Arc::new(Shared::default());
        let started = clock::now();
        let mut authority = Authority::new(keyring, settings, started);
        authority.share_accounts(accounts);
        let (kept, cluster) = match sessions {
            SessionStore::Nowhere => (None, None),
            SessionStore::File(file) => (Some(Kept::restore(file, &mut authority, started)), None),
            SessionStore::Cluster(port) => {
                authority.share_sessions();
                (None, Some(SharedLine::new(port)))
            }
        };
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("verify".to_owned()).spawn(move || {
            if let Err(error) = give_way() {
                log::warn!("log-ins are judged at the priority of shards: {error}");
            }
            run(authority, lines, &of_thread, kept, cluster);
        })?;
        let port = |(questions, answers)| LoginPort {
            questions,
            answers,
            thread: thread.thread().clone(),
            seed,
            unannounced: false,
        };
        let ports = ends.into_iter().map(port).collect();
        Ok((Verifier { shared, thread }, ports))
    }

    /// The thread, for who has told it something to unpark.
    #[must_use]
    pub fn thread(&self) -> Thread {
        self.thread.thread().clone()
    }

    /// Has other keys hold; every shard hears of it.
    pub fn replace(&self, keyring: Keyring) {
        self.shared.keyring.store(Some(Arc::new(keyring)));
        self.thread.thread().unpark();
    }

    /// Has other lifetimes and limits hold for log-ins from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.shared.settings.put(settings);
        self.thread.thread().unpark();
    }

    /// Ends the thread, once no shard is left.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic has aborted the process already.
        let _ = self.thread.join();
    }
}

impl LoginPort {
    /// Whether [`LoginPort::ask`] may be called.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.questions.slots() > 0
    }

    /// Passes a question on; `peer` is where its client comes from.
    ///
    /// # Panics
    /// There is no room.
    pub fn ask(&mut self, mut question: LoginQuestion, peer: Option<IpAddr>) {
        if let LoginQuestion::Judge { request, .. } = &mut question {
            request.origin.address = peer.map_or(0, |address| keyed_hash_with_network(self.seed, address));
        }
        self.questions
            .push(question)
            .expect("invariant: the caller has seen that there is room, and nobody else pushes");
        self.unannounced = true;
    }

    /// Wakes the thread if it was asked something.
    pub fn announce(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            self.thread.unpark();
        }
    }

    /// The next answer.
    pub fn receive(&mut self) -> Option<Answer> {
        self.answers.pop().ok()
    }
}

fn run(
    mut authority: Authority,
    mut lines: Vec<Line>,
    shared: &Shared,
    mut kept: Option<Kept>,
    mut cluster: Option<SharedLine>,
) {
    loop {
        let mut any = false;
        if let Some(settings) = shared.settings.take() {
            authority.set_settings(*settings);
        }
        if let Some(keyring) = shared.keyring.swap(None) {
            any = true;
            authority.replace(Arc::clone(&keyring));
            for line in &mut lines {
                line.tell(Answer::Keyring(Arc::clone(&keyring)));
            }
        }
        let takes = if lines.iter().any(Line::is_behind) { 0 } else { QUESTIONS_PER_ROUND };
        for at in 0..lines.len() {
            any |= lines[at].answer_some(takes, &mut authority, (at, cluster.as_mut()));
            tell_ended(&mut authority, &mut lines);
        }
        if let Some(cluster) = cluster.as_mut().filter(|_| takes > 0) {
            let say = |at: usize, ticket, verdict| lines[at].tell(Answer::Verdict { ticket, verdict });
            any |= cluster.receive(&mut authority, clock::now(), say);
            tell_ended(&mut authority, &mut lines);
            cluster.flush(&mut authority, clock::now().mono_ns);
        }
        let is_stopped = !any && shared.stop.load(Ordering::Acquire);
        let now_ns = clock::now().mono_ns;
        let is_last =
            is_stopped && cluster.as_mut().is_none_or(|cluster| cluster.is_done(&authority, now_ns));
        let unsaved = kept.as_mut().and_then(|kept| kept.keep(&authority, now_ns, is_last));
        let unended = cluster.as_ref().and_then(|cluster| cluster.wait(&authority, now_ns));
        if any {
            continue;
        }
        if is_last {
            return;
        }
        if lines.iter().any(|line| !line.backlog.is_empty()) || is_stopped {
            thread::park_timeout(RETRY);
        } else if let Some(wait) = unsaved.or(unended) {
            thread::park_timeout(wait);
        } else {
            thread::park();
        }
    }
}

/// Behind the verdicts: who has taken the name itself is in the new session by then.
fn tell_ended(authority: &mut Authority, lines: &mut [Line]) {
    while let Some(grant) = authority.poll_ended() {
        lines.iter_mut().for_each(|line| line.tell(Answer::SessionEnded(grant)));
    }
}

/// Named sessions and the file that they are kept in.
struct Kept {
    file: SessionsFile,
    /// What of [`Authority::sessions_version`] the file has.
    version: u64,
    /// Not to be written to before.
    due_ns: u64,
}

impl Kept {
    fn restore(file: SessionsFile, authority: &mut Authority, now: Now) -> Kept {
        let version = authority.sessions_version();
        match authority.restore(file.text(), now) {
            Ok(count) => log::info!("{count} named sessions go on from before the start"),
            Err(line) => {
                log::warn!("{}: line {line} is damaged: named sessions begin anew", file.path().display())
            }
        }
        Kept { file, version, due_ns: 0 }
    }

    /// Writes what has changed, at most once a second; how long that has to wait.
    fn keep(&mut self, authority: &Authority, now_ns: u64, is_last: bool) -> Option<Duration> {
        let version = authority.sessions_version();
        if version == self.version {
            return None;
        }
        if now_ns < self.due_ns && !is_last {
            return Some(Duration::from_nanos(self.due_ns - now_ns));
        }
        self.due_ns = now_ns + SAVE_DISTANCE_NS;
        match self.file.write(&authority.sessions()) {
            Ok(()) => {
                self.version = version;
                None
            }
            Err(error) => {
                log::warn!("named sessions are not saved: {}: {error}", self.file.path().display());
                (!is_last).then_some(Duration::from_nanos(SAVE_DISTANCE_NS))
            }
        }
    }
}

impl Line {
    fn is_behind(&self) -> bool {
        self.backlog.len() > limits::LOGINS_PENDING_MAX
    }

    /// Answers so many questions at most, or has them wait for the cluster's bucket as those of this line, and wakes their shard; whether there were any.
    fn answer_some(
        &mut self,
        takes: usize,
        authority: &mut Authority,
        (at, mut cluster): (usize, Option<&mut SharedLine>),
    ) -> bool {
        let mut answered = 0;
        while answered < takes
            && let Ok(question) = self.questions.pop()
        {
            answered += 1;
            match question {
                LoginQuestion::Forget(grant) => authority.forget(grant),
                LoginQuestion::Judge { ticket, request } => {
                    let verdict = match authority.judge(&request, clock::now(), &entropy()) {
                        Judged::Verdict(verdict) => verdict,
                        Judged::Asks(inquiry) => {
                            let cluster = cluster.as_mut().expect("invariant: sessions are of a cluster");
                            match cluster.ask(at, ticket, inquiry) {
                                Ok(()) => continue,
                                Err(verdict) => verdict,
                            }
                        }
                    };
                    self.push(Answer::Verdict { ticket, verdict });
                }
            }
        }
        let had_backlog = !self.backlog.is_empty();
        self.drain();
        if answered > 0 || had_backlog {
            self.doorbell.ring();
        }
        answered > 0
    }

    fn tell(&mut self, answer: Answer) {
        self.push(answer);
        self.doorbell.ring();
    }

    fn push(&mut self, answer: Answer) {
        self.drain();
        match (self.backlog.back_mut(), answer) {
            // Only the newest keys matter, and nothing came between them.
            (Some(Answer::Keyring(last)), Answer::Keyring(newer)) => *last = newer,
            (Some(_), answer) => self.backlog.push_back(answer),
            (None, answer) => {
                if let Err(rtrb::PushError::Full(answer)) = self.answers.push(answer) {
                    self.backlog.push_back(answer);
                }
            }
        }
    }

    fn drain(&mut self) {
        while self.answers.slots() > 0
            && let Some(answer) = self.backlog.pop_front()
        {
            if let Err(rtrb::PushError::Full(answer)) = self.answers.push(answer) {
                self.backlog.push_front(answer);
            }
        }
    }
}

/// From the operating system's generator.
fn entropy() -> crate::auth::Entropy {
    let mut entropy = [[0; 32]; 2];
    for half in &mut entropy {
        aws_lc_rs::rand::fill(half)
            .expect("invariant: aws-lc gives random bytes or ends the process by itself");
    }
    entropy
}

#[cfg(test)]
mod tests {
    use nix::poll::PollTimeout;

    use super::*;
    use crate::auth::{Origin, Proof, Reach, Refusal, Request, ScopeRequest, Secret};
    use crate::model::ids::ConnId;

    fn question(slot: u32) -> LoginQuestion {
        let conn = ConnId { slot, generation: 1 };
        let origin = Origin { shard: 0, conn, reach: Reach::Loopback, address: 0 };
        let proof = Proof::Bearer { token: Secret::new(b"nothing") };
        let request = Box::new(Request { proof, scope: ScopeRequest::default(), origin });
        LoginQuestion::Judge { ticket: Ticket { slot, generation: 1 }, request }
    }

    #[test]
    fn every_question_is_answered_in_order_and_keyrings_come_between() {
        let (bell, other) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        let settings = Settings { failures_per_minute_max: 0, ..Settings::default() };
        let keyring = Arc::new(Keyring::default());
        let (verifier, mut ports) = Verifier::start(
            keyring,
            settings,
            [bell.clone(), other.clone()],
            (1, 2),
            || Ok(()),
            SessionStore::Nowhere,
            Accounts::new(9),
        )
        .unwrap();
        let mut quiet = ports.pop().unwrap();
        let mut port = ports.pop().unwrap();
        for round in 0..50 {
            for slot in 0..100 {
                assert!(port.has_room());
                port.ask(question(round * 100 + slot), "192.0.2.1".parse().ok());
            }
            port.announce();
            let mut next = round * 100;
            while next < (round + 1) * 100 {
                match port.receive() {
                    Some(Answer::Verdict { ticket, verdict }) => {
                        assert_eq!(ticket.slot, next);
                        assert_eq!(verdict, Verdict::Refused(Refusal::Token));
                        next += 1;
                    }
                    Some(other) => panic!("{other:?}, and nobody has changed anything"),
                    None => assert!(bell.rings(PollTimeout::NONE) > 0),
                }
            }
        }
        verifier.replace(Keyring::default());
        while quiet.receive().is_none() {
            assert!(other.rings(PollTimeout::NONE) > 0);
        }
        verifier.stop();
        assert!(matches!(port.receive(), Some(Answer::Keyring(_))));
    }

    #[test]
    fn log_ins_that_wait_for_a_clusters_bucket_are_bounded_and_keep_nobody_else_waiting() {
        let bell = Doorbell::new().unwrap();
        let (sessions, _nobody_answers) = crate::nats::session_lanes().unwrap();
        let (verifier, mut ports) = Verifier::start(
            Arc::new(crate::keys::without_file(true)),
            Settings::default(),
            [bell.clone()],
            (1, 2),
            || Ok(()),
            SessionStore::Cluster(sessions),
            Accounts::new(9),
        )
        .unwrap();
        let mut port = ports.pop().unwrap();
        let last = u32::try_from(limits::SESSION_INQUIRIES_MAX).unwrap();
        for slot in 0..=last + 1 {
            let LoginQuestion::Judge { ticket, mut request } = question(slot) else { panic!() };
            let secret = Secret::new(crate::keys::DEMO_SECRET.as_bytes());
            request.proof = Proof::Secret { client_id: crate::keys::DEMO_ID.into(), secret };
            let scope = if slot <= last { "session:x" } else { "" };
            request.scope = ScopeRequest::parse(scope).unwrap();
            port.ask(LoginQuestion::Judge { ticket, request }, None);
        }
        port.announce();
        let mut verdicts = Vec::new();
        while verdicts.len() < 2 {
            match port.receive() {
                Some(Answer::Verdict { ticket, verdict }) => verdicts.push((ticket.slot, verdict)),
                Some(other) => panic!("{other:?}"),
                None => assert!(bell.rings(PollTimeout::NONE) > 0),
            }
        }
        assert_eq!(verdicts[0], (last, Verdict::Refused(Refusal::Full)));
        assert!(matches!(verdicts[1], (slot, Verdict::Granted { .. }) if slot == last + 1), "{verdicts:?}");
        verifier.stop();
    }

    #[test]
    fn the_end_of_a_named_session_is_heard_by_every_shard_behind_the_verdict_that_caused_it() {
        let (bell, other) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        let keyring = Arc::new(crate::keys::without_file(true));
        let doorbells = [bell.clone(), other.clone()];
        let (verifier, mut ports) = Verifier::start(
            keyring,
            Settings::default(),
            doorbells,
            (1, 2),
            || Ok(()),
            SessionStore::Nowhere,
            Accounts::new(9),
        )
        .unwrap();
        let mut quiet = ports.pop().unwrap();
        let mut port = ports.pop().unwrap();
        let mut granted = Vec::new();
        for slot in 0..2 {
            let LoginQuestion::Judge { ticket, mut request } = question(slot) else { panic!() };
            let secret = Secret::new(crate::keys::DEMO_SECRET.as_bytes());
            request.proof = Proof::Secret { client_id: crate::keys::DEMO_ID.into(), secret };
            request.scope = ScopeRequest::parse("session:x").unwrap();
            port.ask(LoginQuestion::Judge { ticket, request }, None);
            port.announce();
            let answer = loop {
                match port.receive() {
                    Some(answer) => break answer,
                    None => assert!(bell.rings(PollTimeout::NONE) > 0),
                }
            };
            let Answer::Verdict { verdict: Verdict::Granted { login, .. }, .. } = answer else {
                panic!("{answer:?}")
            };
            granted.push(login.grant.unwrap());
        }
        for (port, bell) in [(&mut port, &bell), (&mut quiet, &other)] {
            let answer = loop {
                match port.receive() {
                    Some(answer) => break answer,
                    None => assert!(bell.rings(PollTimeout::NONE) > 0),
                }
            };
            assert!(matches!(answer, Answer::SessionEnded(grant) if grant == granted[0]), "{answer:?}");
        }
        verifier.stop();
    }
}
