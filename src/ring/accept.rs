//! Accepting: when to ask the kernel for connections, and how many.
//!
//! Home: one shard. A multishot accept that finds the table of direct descriptors full has accepted already: the kernel
//! drops that connection, and its peer sees a reset. So there is one only while more slots are free than the backlog is
//! long; nearer to full, accepts are asked for one by one and never more than there are free slots. Peers beyond that
//! wait in the backlog until a slot frees.

use nix::errno::Errno;

use super::counters::RingCounters;
use super::listener::Listener;
use super::queue::{Completion, Queue};
use super::token::{Operation, Token};

pub use crate::limits::LISTENERS_MAX;

/// Accepts asked for one by one at a time: what a turn can then accept at most.
const ACCEPTS_ONE_MAX: u32 = 64;

/// How long to wait after an accept failed for want of a resource (descriptors, memory): long enough not to spin, short
/// enough that a client's connect does not time out. A slot that frees ends the wait.
const BACK_OFF_NS: u64 = 50_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Many {
    Idle,
    Armed,
    /// Armed, and a cancel is on its way.
    Ending,
}

pub(super) struct Acceptor {
    /// `None` once stopped and no accept refers to it any more.
    listener: Option<Listener>,
    slot: u32,
    many: Many,
    ones: u32,
    ones_ending: bool,
    stopped: bool,
    backing_off_until_ns: Option<u64>,
}

impl Acceptor {
    pub(super) const fn new(listener: Listener, slot: u32) -> Acceptor {
        Acceptor {
            listener: Some(listener),
            slot,
            many: Many::Idle,
            ones: 0,
            ones_ending: false,
            stopped: false,
            backing_off_until_ns: None,
        }
    }

    pub(super) const fn ones(&self) -> u32 {
        self.ones
    }

    /// When the wait after a failure ends.
    pub(super) const fn deadline_ns(&self) -> Option<u64> {
        self.backing_off_until_ns
    }

    /// A slot has become free, which may be what was lacking.
    pub(super) const fn slot_freed(&mut self) {
        self.backing_off_until_ns = None;
    }

    /// Asks for no more connections. What the kernel accepted before it heard of it still comes.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Asks for as many connections as `free` slots allow and `ones_reserved` accepts one by one, of all listeners, leave
    /// of them. Returns how many such accepts it added.
    pub(super) fn arm(
        &mut self,
        free: u32,
        ones_reserved: u32,
        now_ns: u64,
        queue: &mut Queue,
        counters: &mut RingCounters,
    ) -> u32 {
        let Some(listener) = &self.listener else { return 0 };
        if self.backing_off_until_ns.is_some_and(|until| now_ns < until) {
            return 0;
        }
        self.backing_off_until_ns = None;
        let (fd, slack) = (listener.raw_fd(), u32::from(listener.backlog_connections_max()));
        if self.stopped {
            self.arm_end(queue, counters);
            return 0;
        }
        match self.many {
            Many::Armed if free <= slack => self.end_many(queue, counters),
            Many::Idle if free / 2 > slack => {
                queue.accept_many(self.token(Operation::AcceptMany), fd, counters);
                self.many = Many::Armed;
            }
            Many::Idle => {
                let room = free.saturating_sub(ones_reserved).min(ACCEPTS_ONE_MAX.saturating_sub(self.ones));
                for _ in 0..room {
                    queue.accept_one(self.token(Operation::AcceptOne), fd, counters);
                }
                self.ones += room;
                return room;
            }
            Many::Armed | Many::Ending => {}
        }
        0
    }

    /// The completion of an accept.
    ///
    /// # Errors
    /// Why there is no connection. Nothing needs to be done about it: accepting goes on, after a wait if need be.
    pub(super) fn completed(
        &mut self,
        operation: Operation,
        completion: &Completion,
        now_ns: u64,
    ) -> Result<Option<u32>, Errno> {
        if !completion.more {
            self.ended(operation);
        }
        match completion.outcome() {
            Ok(file) => Ok(Some(file)),
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

    /// The completion of a cancel; if it missed while an accept was on the move, the next turn asks again.
    pub(super) const fn cancel_completed(&mut self) {
        if matches!(self.many, Many::Ending) {
            self.many = Many::Armed;
        }
        self.ones_ending = false;
    }

    fn ended(&mut self, operation: Operation) {
        if operation == Operation::AcceptMany {
            self.many = Many::Idle;
        } else {
            assert!(self.ones > 0, "an accept completes once");
            self.ones -= 1;
        }
    }

    /// Cancels what is armed; closes the listener when nothing is.
    fn arm_end(&mut self, queue: &mut Queue, counters: &mut RingCounters) {
        if self.many == Many::Armed {
            self.end_many(queue, counters);
        }
        if self.ones > 0 && !self.ones_ending {
            let token = self.token(Operation::CancelAccept);
            queue.cancel(token, self.token(Operation::AcceptOne), counters);
            self.ones_ending = true;
        }
        if self.many == Many::Idle && self.ones == 0 {
            self.listener = None;
        }
    }

    fn end_many(&mut self, queue: &mut Queue, counters: &mut RingCounters) {
        let token = self.token(Operation::CancelAccept);
        queue.cancel(token, self.token(Operation::AcceptMany), counters);
        self.many = Many::Ending;
    }

    const fn token(&self, operation: Operation) -> Token {
        Token { operation, generation: 0, slot: self.slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::ListenerOptions;

    fn acceptor() -> Acceptor {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &ListenerOptions::default()).unwrap();
        let mut acceptor = Acceptor::new(listener, 0);
        acceptor.many = Many::Armed;
        acceptor
    }

    fn failed(errno: Errno) -> Completion {
        Completion { bits: 0, result: -(errno as i32), buffer: None, more: false }
    }

    #[test]
    fn want_of_a_resource_backs_off_until_a_deadline() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EINVAL] {
            let mut acceptor = acceptor();
            assert_eq!(acceptor.completed(Operation::AcceptMany, &failed(errno), 7), Err(errno));
            assert_eq!(acceptor.many, Many::Idle);
            assert_eq!(acceptor.deadline_ns(), Some(7 + BACK_OFF_NS));
        }
    }

    #[test]
    fn a_freed_slot_ends_the_wait() {
        let mut acceptor = acceptor();
        assert!(acceptor.completed(Operation::AcceptMany, &failed(Errno::ENFILE), 7).is_err());
        acceptor.slot_freed();
        assert_eq!(acceptor.deadline_ns(), None);
    }

    #[test]
    fn a_peer_that_gave_up_delays_nobody() {
        let mut acceptor = acceptor();
        let outcome = acceptor.completed(Operation::AcceptMany, &failed(Errno::ECONNABORTED), 7);
        assert_eq!(outcome, Err(Errno::ECONNABORTED));
        assert_eq!(acceptor.deadline_ns(), None);
    }

    #[test]
    fn a_stopped_acceptor_reports_no_failures() {
        let mut acceptor = acceptor();
        acceptor.stop();
        assert_eq!(acceptor.completed(Operation::AcceptMany, &failed(Errno::EINVAL), 7), Ok(None));
        assert_eq!(acceptor.deadline_ns(), None);
    }

    #[test]
    fn a_cancel_that_missed_is_asked_for_again() {
        let mut acceptor = acceptor();
        acceptor.many = Many::Ending;
        acceptor.cancel_completed();
        assert_eq!(acceptor.many, Many::Armed);
    }
}
