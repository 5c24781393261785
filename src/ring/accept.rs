//! Accepting: how many connections to ask the kernel for, and from which listeners.
//!
//! Home: one shard. Each accept brings one connection with its peer's address. An accept that finds the table of direct
//! descriptors full has accepted already: the kernel drops that connection, and its peer sees a reset. So there are never
//! more accepts in flight than free slots; peers beyond that wait in the backlog until a slot frees.
//!
//! Invariants:
//! - No connection is left in the backlog while accepts wait: each that comes wakes one of them (the kernel polls for an
//!   accept with `EPOLLEXCLUSIVE`), and a new accept looks into the backlog before it waits.
//! - Hence accepts are cancelled only to stop listening: one that was just woken would take that wake with it.

use std::net::SocketAddr;

use nix::errno::Errno;

use super::RingCounters;
use super::listener::Listener;
use super::peers::{PLACES, PeerAddresses};
use super::queue::{Completion, Queue};
use super::token::{Operation, Token};

pub use crate::limits::LISTENERS_MAX;

/// What the accepts of idle listeners keep from busy ones: an eighth of the slots at most, all listeners together. A slot
/// that an accept waits for cannot be another listener's, but then no port is ever without.
const ACCEPTS_SHARE: u32 = 8;

/// How long to wait after an accept failed for want of a resource (descriptors, memory): long enough not to spin, short
/// enough that a client's connect does not time out. A slot that frees ends the wait.
const BACK_OFF_NS: u64 = 50_000_000;

/// Accepts that one of `listeners` may have in flight.
fn accepts_max(connections_max: u32, listeners: usize) -> u32 {
    let listeners = u32::try_from(listeners.max(1)).unwrap_or(u32::MAX);
    (connections_max / ACCEPTS_SHARE / listeners).clamp(1, PLACES)
}

/// Asks for as many connections as the ring has slots for beside the `held` ones, from all listeners alike.
pub(super) fn arm(
    acceptors: &mut [Acceptor],
    (connections_max, held): (u32, u32),
    now_ns: u64,
    queue: &mut Queue,
    counters: &mut RingCounters,
) {
    let each_max = accepts_max(connections_max, acceptors.len());
    let in_flight: u32 = acceptors.iter().map(Acceptor::in_flight).sum();
    let mut room = connections_max.saturating_sub(held.saturating_add(in_flight));
    for acceptor in acceptors.iter_mut() {
        acceptor.prepare(now_ns, queue, counters);
    }
    while room > 0 {
        // The one that has fewest first: where slots are scarce, none goes without because others were asked earlier.
        let wanting = acceptors.iter_mut().filter(|acceptor| acceptor.in_flight() < each_max);
        let accepting = wanting.filter(|acceptor| acceptor.is_accepting());
        let Some(acceptor) = accepting.min_by_key(|acceptor| acceptor.in_flight()) else { return };
        acceptor.arm_one(queue, counters);
        room -= 1;
    }
}

pub(super) struct Acceptor {
    /// `None` once stopped and no accept refers to it any more.
    listener: Option<Listener>,
    slot: u32,
    peers: PeerAddresses,
    /// One bit for each place whose accept is in flight.
    accepts: u64,
    /// One bit for each place whose accept is being cancelled; it may be over before the cancel is.
    cancels: u64,
    stopped: bool,
    backing_off_until_ns: Option<u64>,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, slot: u32) -> Acceptor {
        Acceptor {
            listener: Some(listener),
            slot,
            peers: PeerAddresses::new(),
            accepts: 0,
            cancels: 0,
            stopped: false,
            backing_off_until_ns: None,
        }
    }

    /// When the wait after a failure ends.
    pub(super) const fn deadline_ns(&self) -> Option<u64> {
        self.backing_off_until_ns
    }

    /// A slot has become free, which may be what was lacking.
    pub(super) const fn slot_freed(&mut self) {
        self.backing_off_until_ns = None;
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether it was stopped and nothing of it is with the kernel any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.listener.is_none()
    }

    /// Asks for no more connections. What the kernel accepted before it heard of it still comes.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
        self.backing_off_until_ns = None;
    }

    /// The completion of the accept with this place: the direct descriptor and who is at its other end, or nothing if it
    /// was cancelled.
    ///
    /// # Errors
    /// Why there is no connection. Nothing needs to be done about it: accepting goes on, after a wait if need be.
    pub(super) fn completed(
        &mut self,
        place: u32,
        completion: &Completion,
        now_ns: u64,
    ) -> Result<Option<(u32, Option<SocketAddr>)>, Errno> {
        assert!(self.accepts & bit(place) != 0, "an accept completes once");
        self.accepts &= !bit(place);
        match completion.outcome() {
            // SAFETY: this is that completion, and the place is given away again by `arm_one` only.
            Ok(file) => Ok(Some((file, unsafe { self.peers.peer(place) }))),
            Err(Errno::ECANCELED) => Ok(None),
            Err(_) if self.stopped => Ok(None),
            // accept(2): already-pending network errors of the new connection, and interruptions, mean "try again".
            Err(
                errno @ (Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EAGAIN
                | Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EPERM),
            ) => Err(errno),
            Err(errno) => {
                self.backing_off_until_ns = Some(now_ns.saturating_add(BACK_OFF_NS));
                Err(errno)
            }
        }
    }

    /// The completion of the cancel of this place's accept; if it missed while that was on the move, the next turn asks
    /// again.
    pub(super) fn cancel_completed(&mut self, place: u32) {
        assert!(self.cancels & bit(place) != 0, "a cancel completes once");
        self.cancels &= !bit(place);
    }

    /// Leaves the memory that accepts in flight were given to the kernel for good.
    pub(super) fn leak(self) {
        std::mem::forget(self.peers);
    }

    pub(super) const fn in_flight(&self) -> u32 {
        self.accepts.count_ones()
    }

    const fn is_accepting(&self) -> bool {
        !self.stopped && self.backing_off_until_ns.is_none()
    }

    /// Ends a wait that is over. Once stopped, cancels what is in flight and closes the listener when nothing is.
    fn prepare(&mut self, now_ns: u64, queue: &mut Queue, counters: &mut RingCounters) {
        if self.backing_off_until_ns.is_some_and(|until| until <= now_ns) {
            self.backing_off_until_ns = None;
        }
        if !self.stopped {
            return;
        }
        for place in places(self.accepts & !self.cancels) {
            let accept = self.token(Operation::Accept, place);
            queue.cancel(self.token(Operation::CancelAccept, place), accept, counters);
            self.cancels |= bit(place);
        }
        if self.accepts == 0 && self.cancels == 0 {
            self.listener = None;
        }
    }

    /// Asks for one more connection. The caller saw that fewer than [`PLACES`] are asked for.
    fn arm_one(&mut self, queue: &mut Queue, counters: &mut RingCounters) {
        let listener = self.listener.as_ref().expect("invariant: kept until stopped");
        let place = self.accepts.trailing_ones();
        let token = self.token(Operation::Accept, place);
        // SAFETY: `accepts` says that the place has no accept in flight. The memory is freed with the acceptor, which the
        // ring first cancels all accepts for, or leaks (`Drop`).
        unsafe {
            let room = self.peers.prepare(place);
            queue.accept(token, listener.raw_fd(), room, counters);
        }
        self.accepts |= bit(place);
    }

    const fn token(&self, operation: Operation, place: u32) -> Token {
        Token { operation, generation: place, slot: self.slot }
    }
}

const fn bit(place: u32) -> u64 {
    1 << place
}

/// The places whose bits are set.
fn places(bits: u64) -> impl Iterator<Item = u32> {
    (0..PLACES).filter(move |place| bits & bit(*place) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::ListenerOptions;

    /// With an accept in flight in place 5.
    fn acceptor() -> Acceptor {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &ListenerOptions::default()).unwrap();
        let mut acceptor = Acceptor::new(listener, 0);
        acceptor.accepts = bit(5);
        acceptor
    }

    fn failed(errno: Errno) -> Completion {
        Completion { bits: 0, result: -(errno as i32), buffer: None, more: false }
    }

    #[test]
    fn want_of_a_resource_backs_off_until_a_deadline() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EINVAL] {
            let mut acceptor = acceptor();
            assert_eq!(acceptor.completed(5, &failed(errno), 7), Err(errno));
            assert_eq!(acceptor.in_flight(), 0);
            assert_eq!(acceptor.deadline_ns(), Some(7 + BACK_OFF_NS));
            assert!(!acceptor.is_accepting());
        }
    }

    #[test]
    fn a_freed_slot_ends_the_wait() {
        let mut acceptor = acceptor();
        assert!(acceptor.completed(5, &failed(Errno::ENFILE), 7).is_err());
        acceptor.slot_freed();
        assert_eq!(acceptor.deadline_ns(), None);
        assert!(acceptor.is_accepting());
    }

    #[test]
    fn a_peer_that_gave_up_delays_nobody() {
        let mut acceptor = acceptor();
        assert_eq!(acceptor.completed(5, &failed(Errno::ECONNABORTED), 7), Err(Errno::ECONNABORTED));
        assert_eq!(acceptor.deadline_ns(), None);
    }

    #[test]
    fn a_stopped_acceptor_reports_no_failures_and_waits_for_nothing() {
        let mut acceptor = acceptor();
        acceptor.stop();
        assert_eq!(acceptor.completed(5, &failed(Errno::EINVAL), 7), Ok(None));
        assert_eq!(acceptor.deadline_ns(), None);
    }

    #[test]
    fn idle_listeners_keep_an_eighth_of_the_slots_at_most() {
        for connections_max in [64, 100, 1000, 10_000, u32::MAX] {
            for listeners in 1..=LISTENERS_MAX {
                let each = accepts_max(connections_max, listeners);
                assert!((1..=PLACES).contains(&each));
                assert!(u64::from(each) * listeners as u64 * 8 <= u64::from(connections_max));
            }
        }
        assert_eq!((accepts_max(1, 8), accepts_max(10_000, 2)), (1, 64));
    }
}
