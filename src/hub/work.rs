//! What clients make a shard do beyond reading their bytes: messages that were long in coming and are whole now, bytes that
//! were compressed, answers that are longer than their questions. All of it is weighed in received bytes, of which a turn
//! takes so many. PURE. Home: each shard's hub.
//!
//! Invariant: the total never falls; what one connection has had in one read falls to nothing with a later turn's read, or
//! another connection's, only.

use crate::limits;
use crate::model::ids::ConnId;
use crate::model::time::Now;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Work {
    total_bytes: u64,
    /// The connection that is read, and the turn's time: what is read of it in succession within a turn is one read, as the
    /// TLS records are that come in one. After another connection's it begins anew: those with more to read take turns.
    read: Option<(ConnId, u64)>,
    read_inflated_bytes: u64,
    read_answer_bytes: u64,
}

impl Work {
    /// A connection's bytes are read.
    pub(super) fn begin_read(&mut self, conn: ConnId, now: Now) {
        let read = Some((conn, now.mono_ns));
        if self.read != read {
            (self.read, self.read_inflated_bytes, self.read_answer_bytes) = (read, 0, 0);
        }
    }

    /// Compressed bytes made so many, with so many beginnings of a stream.
    pub(super) fn inflated(&mut self, bytes: u64, restarts: u64) {
        self.read_inflated_bytes += bytes;
        self.total_bytes += bytes + restarts * limits::INFLATER_RESTART_WORK_BYTES;
    }

    /// Bytes of an earlier read are handled now.
    pub(super) fn handled(&mut self, bytes: u64) {
        self.total_bytes += bytes;
    }

    /// Bytes of an earlier read were looked at once more, or bytes were written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.answer(bytes as u64 / limits::WRITTEN_BYTES_PER_WORK_BYTE);
    }

    /// So many names were held against so many patterns each, whatever was read.
    pub(super) fn permitted(&mut self, names: usize, patterns: usize) {
        self.total_bytes +=
            names as u64 * (limits::INSTRUMENT_WORK_BYTES + patterns as u64 * limits::PATTERN_WORK_BYTES);
    }

    /// So many instruments, or keys, were looked at.
    pub(super) fn looked_at(&mut self, entries: usize) {
        self.answer(entries as u64 * limits::INSTRUMENT_WORK_BYTES);
    }

    fn answer(&mut self, bytes: u64) {
        self.read_answer_bytes += bytes;
        self.total_bytes += bytes;
    }

    /// All since the start.
    pub(super) const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Whether the compressed messages of the read at hand made all that they may before the last of them.
    pub(super) const fn has_inflated_enough(&self) -> bool {
        self.read_inflated_bytes > limits::INFLATED_BYTES_PER_READ_MAX
    }

    /// Whether the requests of the read at hand have been answered as much as they may be.
    pub(super) const fn has_answered_enough(&self) -> bool {
        self.read_answer_bytes > limits::ANSWER_WORK_BYTES_PER_READ_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { mono_ns: 5, unix_ns: 7 };
    const LATER: Now = Now { mono_ns: 6, unix_ns: 8 };

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    #[test]
    fn work_is_weighed_in_received_bytes() {
        let mut work = Work::default();
        work.begin_read(conn(1), NOW);
        work.handled(100);
        assert_eq!(work.total_bytes(), 100);
        work.inflated(1000, 2);
        assert_eq!(work.total_bytes(), 1100 + 2 * 64);
        work.written(1600);
        assert_eq!(work.total_bytes(), 1228 + 100);
        work.looked_at(256);
        assert_eq!(work.total_bytes(), 1328 + 2048);
        work.permitted(10, 3);
        assert_eq!(work.total_bytes(), 3376 + 10 * (8 + 3));
    }

    #[test]
    fn what_is_read_of_a_connection_in_succession_within_a_turn_is_one_read_and_another_begins_anew() {
        let mut work = Work::default();
        for (reader, now) in [(1, NOW), (2, NOW), (1, NOW), (1, LATER)] {
            work.begin_read(conn(reader), now);
            work.inflated(limits::INFLATED_BYTES_PER_READ_MAX, 0);
            work.answer(limits::ANSWER_WORK_BYTES_PER_READ_MAX);
            assert!(
                !work.has_inflated_enough() && !work.has_answered_enough(),
                "{reader} at {now:?} is at the bound"
            );
            work.begin_read(conn(reader), now);
            work.inflated(1, 0);
            work.answer(1);
            assert!(
                work.has_inflated_enough() && work.has_answered_enough(),
                "{reader} at {now:?} is beyond it"
            );
        }
    }
}
