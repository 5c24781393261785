//! The mesh: how threads talk. Between every ordered pair two bounded lock-free queues, data and commands, each
//! of them FIFO; and a doorbell that is rung only for a peer that sleeps.
//!
//! Home: each `Endpoint` is moved to its thread and stays there. Allocates: in `full` only.
//! Invariants: nothing here waits. A full queue hands the value back: of data, the sender marks the peer lagging
//! and owes it one gap notice; commands wait with the sender (`carry.rs`), in order.
//! No push is left unannounced when its thread parks, and no thread parks on a queue that holds something
//! (`sleep.rs` is the protocol, model-checked).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::doorbell::Doorbell;
use crate::sleep::{Sleeper, fence_pushes};
use crate::telemetry::MeshReading;

/// How much each queue of the mesh holds, in elements.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Market events and the like: when it is full, the peer lags and is told so later.
    pub data: usize,
    /// Requests, replies and reports: never dropped, so a slot is reserved before a request is admitted.
    pub commands: usize,
}

/// Which of a pair's two queues.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    Data,
    Command,
}

/// The queue was full; the value is handed back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// A mesh of `peers` threads in which everybody reaches everybody; the endpoint of home `i` is at index `i`.
///
/// # Errors
/// The process is out of descriptors: each endpoint takes one eventfd.
pub fn full<T: Send>(peers: usize, capacity: Capacity) -> io::Result<Vec<Endpoint<T>>> {
    let doorbells: io::Result<Vec<Doorbell>> = (0..peers).map(|_| Doorbell::new()).collect();
    Ok(between(doorbells?, capacity))
}

/// The same between places that are woken by these, in their order. Places whose thread is the same share a doorbell.
pub fn between<T: Send>(doorbells: Vec<Doorbell>, capacity: Capacity) -> Vec<Endpoint<T>> {
    let peers = doorbells.len();
    let mut endpoints: Vec<Endpoint<T>> =
        doorbells.into_iter().enumerate().map(|(home, bell)| Endpoint::alone(home, peers, bell)).collect();
    for from in 0..peers {
        for to in 0..peers {
            if from == to {
                continue;
            }
            let (data, data_in) = RingBuffer::new(capacity.data);
            let (commands, commands_in) = RingBuffer::new(capacity.commands);
            let sleeper = Arc::clone(&endpoints[to].sleeper);
            let doorbell = endpoints[to].doorbell.clone();
            endpoints[from].peers[to] = Some(Peer { data, commands, sleeper, doorbell, announced: true });
            endpoints[to].inbound.push(Inbound { from, lane: Lane::Data, queue: data_in });
            endpoints[to].inbound.push(Inbound { from, lane: Lane::Command, queue: commands_in });
        }
    }
    endpoints
}

/// One thread's end of the mesh.
#[derive(Debug)]
pub struct Endpoint<T> {
    home: usize,
    doorbell: Doorbell,
    sleeper: Arc<Sleeper>,
    /// By home; none at our own place.
    peers: Vec<Option<Peer<T>>>,
    inbound: Vec<Inbound<T>>,
    /// Where `receive` looks first: one past the queue it took from last.
    next: usize,
    unannounced: usize,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Peer<T> {
    data: Producer<T>,
    commands: Producer<T>,
    sleeper: Arc<Sleeper>,
    doorbell: Doorbell,
    /// Nothing was pushed since its doorbell was last considered.
    announced: bool,
}

#[derive(Debug)]
struct Inbound<T> {
    from: usize,
    lane: Lane,
    queue: Consumer<T>,
}

impl<T: Send> Endpoint<T> {
    fn alone(home: usize, peers: usize, doorbell: Doorbell) -> Endpoint<T> {
        Endpoint {
            home,
            doorbell,
            sleeper: Arc::default(),
            peers: (0..peers).map(|_| None).collect(),
            inbound: Vec::with_capacity(2 * peers),
            next: 0,
            unannounced: 0,
            counters: Arc::new(Counters::new(peers)),
        }
    }

    /// This thread's index in the mesh.
    pub fn home(&self) -> usize {
        self.home
    }

    /// How many threads the mesh joins, this one included.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The eventfd that wakes this thread; its ring reads it.
    pub fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// What this endpoint sent, to all together.
    pub fn sent(&self) -> MeshReading {
        let mut sent = MeshReading {
            doorbells_rung_total: self.counters.doorbells_rung_total.read(),
            ..MeshReading::default()
        };
        for towards in &self.counters.towards {
            sent.data_pushed_total += towards.data_pushed_total.read();
            sent.data_full_total += towards.data_full_total.read();
            sent.commands_pushed_total += towards.commands_pushed_total.read();
            sent.commands_full_total += towards.commands_full_total.read();
        }
        sent
    }

    /// Counts of what this endpoint sent; any thread may read them.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Pushes data to a peer, to be announced by the next `ring_doorbells`.
    ///
    /// # Errors
    /// The queue is full: the peer lags, and whoever is the topic's home owes it a gap notice.
    pub fn send_data(&mut self, to: usize, value: T) -> Result<(), Full<T>> {
        let outcome = self.peer(to).data.push(value);
        self.settle(to, Lane::Data, outcome)
    }

    /// Pushes a command to a peer, to be announced by the next `ring_doorbells`.
    ///
    /// # Errors
    /// The queue is full: the sender keeps it and tries again.
    pub fn send_command(&mut self, to: usize, value: T) -> Result<(), Full<T>> {
        let outcome = self.peer(to).commands.push(value);
        self.settle(to, Lane::Command, outcome)
    }

    /// How many data values may still be pushed to a peer. At least so many: it only shrinks by our own pushes.
    pub fn data_free(&self, to: usize) -> usize {
        let peer = self.peers[to].as_ref().expect("invariant: nobody sends to itself");
        peer.data.slots()
    }

    /// The next value of any peer and lane; every queue has its turn. The caller bounds how many it takes.
    pub fn receive(&mut self) -> Option<(usize, Lane, T)> {
        for _ in 0..self.inbound.len() {
            let queues = self.inbound.len();
            let inbound = &mut self.inbound[self.next];
            self.next = if self.next + 1 == queues { 0 } else { self.next + 1 };
            if let Ok(value) = inbound.queue.pop() {
                return Some((inbound.from, inbound.lane, value));
            }
        }
        None
    }

    /// Whether a peer has sent something that was not received yet.
    pub fn has_received(&self) -> bool {
        self.inbound.iter().any(|inbound| !inbound.queue.is_empty())
    }

    /// After a turn's pushes: wakes those peers among the receivers that sleep. Free where nothing was pushed.
    pub fn ring_doorbells(&mut self) {
        if self.unannounced == 0 {
            return;
        }
        fence_pushes();
        for peer in self.peers.iter_mut().flatten().filter(|peer| !peer.announced) {
            peer.announced = true;
            if peer.sleeper.is_sleeping() {
                peer.doorbell.ring();
                self.counters.doorbells_rung_total.add(1);
            }
        }
        self.unannounced = 0;
    }

    /// First step of parking: from here on peers ring. Then ask `may_sleep`, and look at the ring again.
    pub fn prepare_sleep(&self) {
        assert!(self.unannounced == 0, "a thread rings its peers' doorbells before it parks");
        self.sleeper.prepare();
    }

    /// Second step: whether every queue is still empty. If not, the thread counts as awake again.
    pub fn may_sleep(&self) -> bool {
        assert!(self.sleeper.is_sleeping(), "prepare_sleep comes before the recheck");
        let empty = !self.has_received();
        if !empty {
            self.wake();
        }
        empty
    }

    /// Wakes every peer, asleep or not.
    pub fn ring_everybody(&self) {
        self.peers.iter().flatten().for_each(|peer| peer.doorbell.ring());
    }

    /// Last step, however the thread woke: peers need not ring any more.
    pub fn wake(&self) {
        self.sleeper.wake();
    }

    fn peer(&mut self, to: usize) -> &mut Peer<T> {
        self.peers[to].as_mut().expect("invariant: nobody sends to itself")
    }

    fn settle(&mut self, to: usize, lane: Lane, outcome: Result<(), PushError<T>>) -> Result<(), Full<T>> {
        let towards = &self.counters.towards[to];
        match outcome {
            Ok(()) => {
                match lane {
                    Lane::Data => towards.data_pushed_total.add(1),
                    Lane::Command => towards.commands_pushed_total.add(1),
                }
                let peer = self.peers[to].as_mut().expect("invariant: nobody sends to itself");
                self.unannounced += usize::from(peer.announced);
                peer.announced = false;
                Ok(())
            }
            Err(PushError::Full(value)) => {
                match lane {
                    Lane::Data => towards.data_full_total.add(1),
                    Lane::Command => towards.commands_full_total.add(1),
                }
                Err(Full(value))
            }
        }
    }
}

/// What one endpoint sent. Its thread alone writes, anybody reads.
#[derive(Debug)]
pub struct Counters {
    /// By the receiver's home.
    pub towards: Vec<Towards>,
    pub doorbells_rung_total: Count,
}

/// What went to one peer, and what did not.
#[derive(Debug, Default)]
pub struct Towards {
    pub data_pushed_total: Count,
    pub data_full_total: Count,
    pub commands_pushed_total: Count,
    pub commands_full_total: Count,
}

impl Counters {
    fn new(peers: usize) -> Counters {
        Counters {
            towards: (0..peers).map(|_| Towards::default()).collect(),
            doorbells_rung_total: Count::default(),
        }
    }
}

/// A counter with one writer: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::poll::PollTimeout;

    use super::*;

    const SMALL: Capacity = Capacity { data: 2, commands: 1 };

    fn mesh(peers: usize, capacity: Capacity) -> Vec<Endpoint<u64>> {
        full(peers, capacity).unwrap()
    }

    fn received(endpoint: &mut Endpoint<u64>) -> Vec<(usize, Lane, u64)> {
        std::iter::from_fn(|| endpoint.receive()).collect()
    }

    /// The number of rings since it was last asked.
    fn rings(endpoint: &Endpoint<u64>) -> u64 {
        endpoint.doorbell().rings(PollTimeout::ZERO)
    }

    #[test]
    fn keeps_the_order_of_each_lane() {
        let mut ends = mesh(2, Capacity { data: 8, commands: 8 });
        for value in 0..3 {
            ends[0].send_data(1, value).unwrap();
            ends[0].send_command(1, 10 + value).unwrap();
        }
        let all = received(&mut ends[1]);
        let lane = |lane| all.iter().filter(|(_, l, _)| *l == lane).map(|(_, _, v)| *v).collect::<Vec<_>>();
        assert_eq!(lane(Lane::Data), [0, 1, 2]);
        assert_eq!(lane(Lane::Command), [10, 11, 12]);
        assert_eq!(received(&mut ends[0]), []);
    }

    #[test]
    fn gives_every_queue_its_turn() {
        let mut ends = mesh(3, Capacity { data: 8, commands: 8 });
        for value in 0..2 {
            ends[0].send_data(2, value).unwrap();
            ends[1].send_data(2, value).unwrap();
            ends[1].send_command(2, value).unwrap();
        }
        let order: Vec<_> = received(&mut ends[2]).into_iter().map(|(from, lane, _)| (from, lane)).collect();
        let round = [(0, Lane::Data), (1, Lane::Data), (1, Lane::Command)];
        assert_eq!(order, [round, round].concat());
    }

    #[test]
    fn hands_back_what_does_not_fit_and_counts_it() {
        let mut ends = mesh(2, SMALL);
        ends[0].send_command(1, 7).unwrap();
        assert_eq!(ends[0].send_command(1, 8), Err(Full(8)));
        ends[0].send_data(1, 1).unwrap();
        ends[0].send_data(1, 2).unwrap();
        assert_eq!(ends[0].send_data(1, 3), Err(Full(3)));
        let counters = ends[0].counters();
        assert_eq!(counters.towards[1].data_pushed_total.read(), 2);
        assert_eq!(counters.towards[1].data_full_total.read(), 1);
        assert_eq!(counters.towards[1].commands_full_total.read(), 1);
        received(&mut ends[1]);
        ends[0].send_data(1, 4).unwrap();
        assert_eq!(received(&mut ends[1]), [(0, Lane::Data, 4)]);
    }

    #[test]
    fn rings_only_a_peer_that_sleeps_and_was_pushed_to() {
        let mut ends = mesh(3, SMALL);
        ends[0].send_data(1, 1).unwrap();
        ends[0].ring_doorbells();
        assert_eq!(rings(&ends[1]), 0, "it is awake");

        received(&mut ends[1]);
        ends[1].prepare_sleep();
        ends[2].prepare_sleep();
        assert!(ends[1].may_sleep() && ends[2].may_sleep());
        ends[0].send_data(1, 2).unwrap();
        ends[0].send_data(1, 3).unwrap();
        ends[0].ring_doorbells();
        ends[0].ring_doorbells();
        assert_eq!(rings(&ends[1]), 1, "once a turn, however much was pushed");
        assert_eq!(rings(&ends[2]), 0, "nothing is there for it");
        assert_eq!(ends[0].counters().doorbells_rung_total.read(), 1);
    }

    #[test]
    fn does_not_sleep_on_a_queue_that_holds_something() {
        let mut ends = mesh(2, SMALL);
        ends[0].send_command(1, 1).unwrap();
        ends[1].prepare_sleep();
        assert!(!ends[1].may_sleep());
        ends[0].ring_doorbells();
        assert_eq!(rings(&ends[1]), 0, "it counts as awake again");
    }

    #[test]
    fn a_mesh_of_one_receives_nothing_and_may_sleep() {
        let mut ends = mesh(1, SMALL);
        assert_eq!(ends[0].receive(), None);
        ends[0].prepare_sleep();
        assert!(ends[0].may_sleep());
    }

    /// Two threads that park whenever they can, 20,000 round trips: a lost wake-up would hang here.
    #[test]
    fn wakes_a_parked_thread_every_time() {
        const ROUNDS: u64 = 20_000;
        let mut ends = mesh(2, SMALL);
        let (mut b, mut a) = (ends.pop().unwrap(), ends.pop().unwrap());
        fn next(end: &mut Endpoint<u64>) -> u64 {
            loop {
                if let Some((_, _, value)) = end.receive() {
                    return value;
                }
                end.prepare_sleep();
                if end.may_sleep() {
                    end.doorbell().rings(PollTimeout::NONE);
                    end.wake();
                }
            }
        }
        let echo = thread::spawn(move || {
            for _ in 0..ROUNDS {
                let value = next(&mut b);
                b.send_command(0, value).unwrap();
                b.ring_doorbells();
            }
        });
        for value in 0..ROUNDS {
            a.send_data(1, value).unwrap();
            a.ring_doorbells();
            assert_eq!(next(&mut a), value);
        }
        echo.join().unwrap();
    }
}
