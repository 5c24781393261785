//! A node of a cluster as the market's thread sees it: the two ends, and a wait for words on the doorbell.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tickring::cluster::lease::{LeaseAnswer, LeaseRequest, LeaseValue};
use tickring::cluster::names::{ClusterName, Place};
use tickring::cluster::words::{PresenceWord, Wish, Word};
use tickring::doorbell::Doorbell;
use tickring::model::ids::Epoch;
use tickring::nats::{self, Nats, NatsPort, NatsSetup};

/// What never takes so long on a machine that works.
const PATIENCE_MS: u16 = 30_000;

/// See the file's head.
pub(crate) struct Node {
    pub(crate) nats: Nats,
    pub(crate) port: NatsPort,
    bell: Doorbell,
    /// Heard while something else was waited for.
    kept: Vec<Word>,
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
        let (nats, port) = nats::start(setup, bell.clone()).unwrap();
        Node { nats, port, bell, kept: Vec::new() }
    }

    /// Once NATS is there: both connections, since a lease is asked for until it is answered.
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

    pub(crate) fn hear(&mut self, place: Place) {
        self.send(Wish::Hear(Some(place)));
        let heard =
            self.wait("place", |word| if let Word::Hearing(place) = word { Some(*place) } else { None });
        assert_eq!(heard, place);
    }

    pub(crate) fn part(&mut self) -> Vec<u8> {
        self.wait("part", |word| if let Word::Part(bytes) = word { Some(bytes.clone()) } else { None })
    }

    /// What was heard and not asked for.
    pub(crate) fn kept(&self) -> &[Word] {
        &self.kept
    }

    pub(crate) fn stop(self) {
        self.nats.stop();
    }
}
