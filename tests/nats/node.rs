//! A node of a cluster as the market's thread sees it: the two ends, and a wait for words on the doorbell.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tickring::auth::{BucketAnswer, BucketRequest, BucketWord, SessionKey, Wanted};
use tickring::cluster::lease::{LeaseAnswer, LeaseRequest, LeaseValue};
use tickring::cluster::names::{ClusterName, Place};
use tickring::cluster::words::{PresenceWord, Wish, Word};
use tickring::doorbell::Doorbell;
use tickring::model::ids::Epoch;
use tickring::nats::{self, Nats, NatsPort, NatsSetup, NoticePort, NoticeWord, SessionPort, SessionWord};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// What never takes so long on a machine that works.
const PATIENCE_MS: u16 = 30_000;

/// See the file's head.
pub(crate) struct Node {
    pub(crate) nats: Nats,
    pub(crate) port: NatsPort,
    bell: Doorbell,
    /// Heard while something else was waited for.
    kept: Vec<Word>,
    pub(crate) notices: NoticePort,
    /// In which notices are waited for.
    runtime: Runtime,
    pub(crate) sessions: SessionPort,
    /// What the bucket of sessions told while an answer was waited for.
    told: VecDeque<BucketWord>,
    asked: u32,
}

pub(crate) fn name(text: &str) -> ClusterName {
    ClusterName::parse(text.as_bytes()).unwrap()
}

pub(crate) fn place(number: u8) -> Place {
    Place::new(number).unwrap()
}

/// Of the cluster `prod`.
pub(crate) fn setup(node: &str, server: impl std::fmt::Display) -> NatsSetup {
    NatsSetup {
        cluster: name("prod"),
        node: name(node),
        incarnation: 7,
        servers: vec![server.to_string()],
        credentials: None,
        tls: None,
        term_ms: 8_000,
        replicas: 1,
        give_way: || Ok(()),
    }
}

pub(crate) fn value(holder: &str, write: u64) -> LeaseValue {
    LeaseValue {
        holder: name(holder),
        incarnation: 7,
        write,
        fence: None,
        epochs_end: Epoch(1_000 + write),
        is_released: false,
        is_halted: false,
    }
}

impl Node {
    pub(crate) fn start(setup: NatsSetup) -> Node {
        let bell = Doorbell::new().unwrap();
        let (sessions, ends) = nats::session_lanes().unwrap();
        let judging = std::thread::current();
        let (mut nats, port) = nats::start(setup, bell.clone(), (ends, judging)).unwrap();
        let notices = nats.take_notices().unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let (kept, told) = (Vec::new(), VecDeque::new());
        Node { nats, port, bell, kept, notices, runtime, sessions, told, asked: 0 }
    }

    /// Once NATS is there: these two connections, since a lease is asked for until it is answered.
    pub(crate) fn there(setup: NatsSetup) -> Node {
        let mut node = Node::start(setup);
        node.is_up(true);
        while node.ask(LeaseRequest::Read) == LeaseAnswer::Unknown {}
        node
    }

    pub(crate) fn send(&mut self, wish: Wish) {
        self.port.send(wish).unwrap();
        self.port.flush();
    }

    /// The next word that `take` takes; the others are kept for later waits.
    pub(crate) fn wait<T>(&mut self, what: &str, take: impl Fn(&Word) -> Option<T>) -> T {
        if let Some((at, found)) = self.kept.iter().enumerate().find_map(|(at, word)| Some((at, take(word)?)))
        {
            self.kept.remove(at);
            return found;
        }
        loop {
            while let Some(word) = self.port.receive() {
                if let Some(found) = take(&word) {
                    return found;
                }
                self.kept.push(word);
            }
            self.await_ring(what);
        }
    }

    /// The next word of who is kept as present.
    pub(crate) fn presence_word(&mut self) -> PresenceWord {
        loop {
            if let Some(word) = self.port.receive_presence() {
                return word;
            }
            self.await_ring("word of who is present");
        }
    }

    fn await_ring(&self, what: &str) {
        let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        let rings = poll(&mut fds, PollTimeout::from(PATIENCE_MS)).unwrap();
        assert!(rings > 0, "no {what} among {:?}; {:?}", self.kept, self.nats.board().reading());
        nix::unistd::read(self.bell.as_fd(), &mut [0; 8]).unwrap();
    }

    pub(crate) fn is_up(&mut self, is_up: bool) {
        let heard =
            self.wait("word of NATS", |word| if let Word::IsUp(is_up) = word { Some(*is_up) } else { None });
        assert_eq!(heard, is_up);
    }

    pub(crate) fn ask(&mut self, request: LeaseRequest) -> LeaseAnswer {
        self.send(Wish::Lease(request));
        self.lease_answer()
    }

    pub(crate) fn lease_answer(&mut self) -> LeaseAnswer {
        self.wait("answer about the lease", |word| {
            if let Word::LeaseAnswered(answer) = word { Some(*answer) } else { None }
        })
    }

    /// The revision of the next value of the key that the watch tells of.
    pub(crate) fn seen(&mut self) -> (u64, LeaseValue) {
        self.wait("value of the lease", |word| {
            if let Word::LeaseSeen(entry) = word { Some((entry.revision, entry.value)) } else { None }
        })
    }

    /// Asks the bucket of sessions, and does not wait.
    pub(crate) fn send_session(&mut self, key: SessionKey, wanted: Wanted) -> u32 {
        self.asked += 1;
        assert!(self.sessions.send(self.asked, BucketRequest { key, wanted }));
        self.sessions.flush();
        self.asked
    }

    pub(crate) fn ask_session(&mut self, key: SessionKey, wanted: Wanted) -> BucketAnswer {
        let number = self.send_session(key, wanted);
        let (answered, answer) = self.session_answer();
        assert_eq!(answered, number);
        answer
    }

    /// The next answer, and which request it is to.
    pub(crate) fn session_answer(&mut self) -> (u32, BucketAnswer) {
        loop {
            match self.session_word() {
                SessionWord::Answered { number, answer } => return (number, answer),
                SessionWord::Told(word) => self.told.push_back(word),
            }
        }
    }

    /// What the bucket of sessions tells next.
    pub(crate) fn told(&mut self) -> BucketWord {
        if let Some(word) = self.told.pop_front() {
            return word;
        }
        match self.session_word() {
            SessionWord::Told(word) => word,
            other @ SessionWord::Answered { .. } => panic!("{other:?} to nothing"),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a wait has an end, by which nothing but its failure is judged"
    )]
    fn session_word(&mut self) -> SessionWord {
        let (began, patience) = (Instant::now(), Duration::from_millis(PATIENCE_MS.into()));
        loop {
            if let Some(word) = self.sessions.receive() {
                return word;
            }
            assert!(began.elapsed() < patience, "nothing is said; {:?}", self.nats.board().reading());
            std::thread::park_timeout(patience);
        }
    }

    pub(crate) fn hear(&mut self, place: Place) {
        self.send(Wish::Hear(Some(place)));
        let heard =
            self.wait("place", |word| if let Word::Hearing(place) = word { Some(*place) } else { None });
        assert_eq!(heard, place);
    }

    pub(crate) fn part(&mut self) -> Vec<u8> {
        self.wait("part", |word| if let Word::Part(bytes) = word { Some(bytes.clone()) } else { None })
    }

    /// The next of what other nodes say of kept results.
    pub(crate) fn notice(&mut self) -> NoticeWord {
        let Node { notices, runtime, .. } = self;
        let patience = Duration::from_millis(PATIENCE_MS.into());
        let next = runtime.block_on(async { timeout(patience, notices.next()).await });
        next.expect("a notice comes").expect("the thread is there")
    }

    /// What was heard and not asked for.
    pub(crate) fn kept(&self) -> &[Word] {
        &self.kept
    }

    pub(crate) fn stop(self) {
        self.nats.stop();
    }
}
