//! What was received and waits for the caller: each connection's bytes in their order, the connections one buffer in turn, in the
//! order in which they began to wait. Who sends more than others so waits for itself.
//!
//! Home: one ring. PURE: neither fills nor gives back a buffer. Allocates: when made, and for a longer line than ever before.
//! Invariants: a buffer is in one connection's chain at most; a connection for which something waits is in line once; the
//! end of a connection comes after its bytes.

use std::collections::VecDeque;

use nix::errno::Errno;

use crate::model::ids::ConnId;

/// What the caller takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    Bytes { buffer: u16, length: u32 },
    Ended(Ending),
}

/// How the receiving of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Eof,
    Failed(Errno),
}

/// What waits of one connection: a chain of buffers and what comes after them.
#[derive(Debug)]
pub(super) struct Waiting {
    first: u16,
    last: u16,
    buffers: u16,
    ending: Option<Ending>,
    is_in_line: bool,
}

impl Waiting {
    pub(super) const NOTHING: Waiting =
        Waiting { first: 0, last: 0, buffers: 0, ending: None, is_in_line: false };

    pub(super) const fn buffers(&self) -> u16 {
        self.buffers
    }
}

#[derive(Clone, Copy)]
struct Filled {
    length: u32,
    /// The buffer that the same connection filled next; of the last one, none in particular.
    next: u16,
}

pub(super) struct Received {
    line: VecDeque<ConnId>,
    /// By buffer.
    filled: Box<[Filled]>,
}

impl Received {
    pub(super) fn new(receive_buffers: u16) -> Received {
        let count = usize::from(receive_buffers);
        Received {
            line: VecDeque::with_capacity(count),
            filled: vec![Filled { length: 0, next: 0 }; count].into_boxed_slice(),
        }
    }

    /// Whether nobody is in line, not even who is gone.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn add(&mut self, conn: ConnId, waiting: &mut Waiting, buffer: u16, length: u32) {
        assert!(waiting.ending.is_none(), "nothing is received after the end");
        self.filled[usize::from(buffer)].length = length;
        if waiting.buffers == 0 {
            waiting.first = buffer;
        } else {
            self.filled[usize::from(waiting.last)].next = buffer;
        }
        waiting.last = buffer;
        waiting.buffers += 1;
        self.line_up(conn, waiting);
    }

    pub(super) fn end(&mut self, conn: ConnId, waiting: &mut Waiting, ending: Ending) {
        waiting.ending = Some(ending);
        self.line_up(conn, waiting);
    }

    /// Whose turn it is, to be taken from; it may be gone.
    pub(super) fn next_in_line(&mut self) -> Option<ConnId> {
        self.line.pop_front()
    }

    /// The first that waits of the connection which was next in line; for the rest it lines up again.
    pub(super) fn take(&mut self, conn: ConnId, waiting: &mut Waiting) -> Option<Receipt> {
        waiting.is_in_line = false;
        let receipt = match waiting.buffers {
            0 => Receipt::Ended(waiting.ending.take()?),
            _ => {
                let buffer = waiting.first;
                Receipt::Bytes { buffer, length: self.unchain(waiting) }
            }
        };
        if waiting.buffers > 0 || waiting.ending.is_some() {
            self.line_up(conn, waiting);
        }
        Some(receipt)
    }

    /// The first buffer that waits of a connection, wherever it is in line, of which nobody wants to know any more.
    pub(super) fn drop_next(&mut self, waiting: &mut Waiting) -> Option<u16> {
        waiting.ending = None;
        let buffer = (waiting.buffers > 0).then_some(waiting.first)?;
        self.unchain(waiting);
        Some(buffer)
    }

    fn unchain(&self, waiting: &mut Waiting) -> u32 {
        let Filled { length, next } = self.filled[usize::from(waiting.first)];
        waiting.first = next;
        waiting.buffers -= 1;
        length
    }

    fn line_up(&mut self, conn: ConnId, waiting: &mut Waiting) {
        if !waiting.is_in_line {
            waiting.is_in_line = true;
            self.line.push_back(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId { slot: 0, generation: 1 };
    const B: ConnId = ConnId { slot: 1, generation: 2 };

    fn bytes(buffer: u16, length: u32) -> Receipt {
        Receipt::Bytes { buffer, length }
    }

    /// Takes one as the ring does.
    fn take(received: &mut Received, waiting: &mut [Waiting; 2]) -> Option<(ConnId, Option<Receipt>)> {
        let conn = received.next_in_line()?;
        Some((conn, received.take(conn, &mut waiting[conn.slot as usize])))
    }

    #[test]
    fn who_sends_much_and_who_sends_little_take_turns_and_each_keeps_its_order() {
        let mut received = Received::new(8);
        let mut waiting = [Waiting::NOTHING; 2];
        for (buffer, length) in [(3, 30), (0, 10), (7, 70)] {
            received.add(A, &mut waiting[0], buffer, length);
        }
        received.end(A, &mut waiting[0], Ending::Eof);
        received.add(B, &mut waiting[1], 5, 50);
        let expected = [
            (A, bytes(3, 30)),
            (B, bytes(5, 50)),
            (A, bytes(0, 10)),
            (A, bytes(7, 70)),
            (A, Receipt::Ended(Ending::Eof)),
        ];
        for (conn, receipt) in expected {
            assert_eq!(take(&mut received, &mut waiting), Some((conn, Some(receipt))));
        }
        assert!(received.is_empty());
        assert_eq!(take(&mut received, &mut waiting), None);
    }

    #[test]
    fn what_is_dropped_is_not_taken() {
        let mut received = Received::new(8);
        let mut waiting = [Waiting::NOTHING; 2];
        received.add(A, &mut waiting[0], 1, 11);
        received.add(A, &mut waiting[0], 4, 44);
        received.end(A, &mut waiting[0], Ending::Failed(Errno::ECONNRESET));
        received.add(B, &mut waiting[1], 2, 22);
        let dropped: Vec<u16> = std::iter::from_fn(|| received.drop_next(&mut waiting[0])).collect();
        assert_eq!(dropped, [1, 4]);
        assert_eq!(waiting[0].buffers(), 0);
        assert_eq!(take(&mut received, &mut waiting), Some((A, None)));
        assert_eq!(take(&mut received, &mut waiting), Some((B, Some(bytes(2, 22)))));
        assert_eq!(take(&mut received, &mut waiting), None);
    }
}
