//! What was sent, promised and received of each stream of messages, one sender's to one receiver at one priority. PURE.
//! Invariants: a stream's first deliveries are 0, 1, 2 and so on; one that comes again is marked so, and was received before;
//! a promise belongs to exactly one send that waits for it.

use std::collections::VecDeque;

use crate::failure::{Failure, Result};
use crate::scenarios::messages::texts::Delivered;

/// See the file's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    streams: Vec<Stream>,
    /// Deliveries beyond the first of a message.
    pub(super) repeated: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stream {
    sent: u64,
    received: u64,
}

impl Ledger {
    pub(super) fn new(streams: usize) -> Ledger {
        Ledger { streams: vec![Stream::default(); streams], repeated: 0 }
    }

    /// The number of the next message of a stream.
    pub(super) fn send(&mut self, stream: usize) -> u64 {
        let sent = &mut self.streams[stream].sent;
        *sent += 1;
        *sent - 1
    }

    /// Whether a delivery is the first of its message; one out of order, or again without being marked, fails the run.
    pub(super) fn receive(&mut self, delivered: &Delivered) -> Result<bool> {
        let Delivered { stream, number, is_again, .. } = *delivered;
        let odd = |expected: u64| {
            Failure::Protocol(format!(
                "message {number} of stream {stream} was delivered after {expected} others"
            ))
        };
        let Some(known) = self.streams.get_mut(stream) else { return Err(odd(0)) };
        if number == known.received && number < known.sent {
            known.received += 1;
            return Ok(true);
        }
        if is_again && number < known.received {
            self.repeated += 1;
            return Ok(false);
        }
        Err(odd(known.received))
    }

    pub(super) fn sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sent).sum()
    }

    pub(super) fn received(&self) -> u64 {
        self.streams.iter().map(|stream| stream.received).sum()
    }

    /// Messages of a stream that were received.
    pub(super) fn received_of(&self, stream: usize) -> u64 {
        self.streams[stream].received
    }

    /// Messages that were sent and are not received.
    pub(super) fn missing(&self) -> u64 {
        self.sent() - self.received()
    }
}

/// When the sends of one connection that are not answered ought to have left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// By number, from `first` on; none where it is answered.
    intended: VecDeque<Option<u64>>,
    first: u64,
    count: u64,
}

impl Waiting {
    /// The next send.
    pub(super) fn push(&mut self, intended_ns: u64) {
        self.intended.push_back(Some(intended_ns));
        self.count += 1;
    }

    /// A send is answered; one that was not made or is answered already fails the run.
    pub(super) fn take(&mut self, number: u64) -> Result<u64> {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let intended_ns = at.and_then(|at| self.intended.get_mut(at)).and_then(Option::take);
        let intended_ns = intended_ns
            .ok_or_else(|| Failure::Protocol(format!("an answer to send {number}, which waits for none")))?;
        while let Some(None) = self.intended.front() {
            self.intended.pop_front();
            self.first += 1;
        }
        self.count -= 1;
        Ok(intended_ns)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(stream: usize, number: u64, is_again: bool) -> Delivered {
        Delivered { message: 1, stamp_ns: 0, stream, number, is_again }
    }

    #[test]
    fn a_stream_is_received_in_order_and_complete() {
        let mut ledger = Ledger::new(2);
        assert_eq!((ledger.send(0), ledger.send(0), ledger.send(1)), (0, 1, 0));
        assert!(ledger.receive(&delivered(0, 0, false)).unwrap());
        assert!(ledger.receive(&delivered(1, 0, true)).unwrap(), "a first delivery may be marked");
        assert_eq!((ledger.sent(), ledger.received(), ledger.missing()), (3, 2, 1));
        assert_eq!(ledger.received_of(0), 1);
    }

    #[test]
    fn one_that_is_left_out_invented_or_repeated_without_a_mark_fails_the_run() {
        let mut ledger = Ledger::new(1);
        for _ in 0..3 {
            ledger.send(0);
        }
        assert!(ledger.receive(&delivered(0, 1, false)).is_err());
        assert!(ledger.receive(&delivered(0, 0, false)).unwrap());
        assert!(ledger.receive(&delivered(0, 0, false)).is_err());
        assert!(ledger.receive(&delivered(1, 0, false)).is_err());
        assert!(!ledger.receive(&delivered(0, 0, true)).unwrap());
        assert_eq!(ledger.repeated, 1);
        assert!(ledger.receive(&delivered(0, 1, false)).unwrap());
        assert!(ledger.receive(&delivered(0, 2, false)).unwrap());
        assert!(ledger.receive(&delivered(0, 3, false)).is_err(), "nobody has sent it");
    }

    #[test]
    fn an_answer_finds_its_send_in_any_order_and_only_once() {
        let mut waiting = Waiting::default();
        for intended_ns in [10, 20, 30] {
            waiting.push(intended_ns);
        }
        assert_eq!(waiting.take(1).unwrap(), 20);
        assert!(waiting.take(1).is_err());
        assert_eq!((waiting.take(0).unwrap(), waiting.take(2).unwrap(), waiting.count()), (10, 30, 0));
        assert!(waiting.take(0).is_err() && waiting.take(3).is_err());
        waiting.push(40);
        assert_eq!(waiting.take(3).unwrap(), 40);
    }
}
