//! What is where in the store's stream: which spans of messages still hold an entry, how much of it all is dead, what may be purged and what has to
//! be moved first. No I/O. Home: the thread of a `JetStream` store.
//!
//! Invariants: an entry is counted in the span that was the last to put it; what is purged is a beginning of the stream without an entry, never its
//! newest span. A removal needs no count: what it removes is older, and goes no later than it.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use crate::limits;
use crate::model::hasher::FixedHasher;
use crate::model::storage::{Key, StoreOp, Table};

use super::records::encoded_bytes;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Spans {
    entries: HashMap<(Table, Key), Entry, BuildHasherDefault<FixedHasher>>,
    /// In the order of the stream, without holes.
    spans: VecDeque<Kept>,
    bytes: u64,
    /// What entries would take in messages of their own.
    live_bytes: u64,
    /// Of all spans before the first that holds an entry.
    dead_before: Dead,
}

/// Where an entry was last put.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first message of that span.
    span: u64,
    bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    first: u64,
    last: u64,
    bytes: u64,
    /// How many entries it holds.
    live: u32,
}

/// A beginning of the stream.
#[derive(Clone, Copy, Debug, Default)]
struct Dead {
    spans: usize,
    bytes: u64,
}

impl Spans {
    /// What was written behind all else.
    pub(super) fn append<'a>(
        &mut self,
        first: u64,
        last: u64,
        bytes: u64,
        ops: impl IntoIterator<Item = &'a StoreOp>,
    ) {
        debug_assert!(self.spans.back().is_none_or(|kept| kept.last + 1 == first), "there are no holes");
        self.spans.push_back(Kept { first, last, bytes, live: 0 });
        self.bytes += bytes;
        for op in ops {
            match op {
                StoreOp::Put { table, key, .. } => {
                    self.forget(*table, *key);
                    let bytes = encoded_bytes(op) as u64;
                    let entry = Entry { span: first, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
                    self.live_bytes += u64::from(entry.bytes);
                    self.entries.insert((*table, *key), entry);
                    let newest = self.spans.back_mut().expect("invariant: it was pushed above");
                    newest.live += 1;
                }
                StoreOp::Remove { table, key } => self.forget(*table, *key),
            }
        }
        self.look_for_dead();
    }

    fn forget(&mut self, table: Table, key: Key) {
        let Some(entry) = self.entries.remove(&(table, key)) else { return };
        self.live_bytes -= u64::from(entry.bytes);
        let at = self.spans.partition_point(|kept| kept.first < entry.span);
        let kept = self.spans.get_mut(at).filter(|kept| kept.first == entry.span);
        kept.expect("invariant: a span that holds an entry is not purged").live -= 1;
    }

    /// Each span is looked at once until it is purged.
    fn look_for_dead(&mut self) {
        // The newest stays, since it says who has written last.
        while self.dead_before.spans + 1 < self.spans.len() && self.spans[self.dead_before.spans].live == 0 {
            self.dead_before.bytes += self.spans[self.dead_before.spans].bytes;
            self.dead_before.spans += 1;
        }
    }

    /// The sequence before which all may be purged, where that is worth it.
    pub(super) fn purgeable(&self) -> Option<u64> {
        let Dead { spans, bytes } = self.dead_before;
        let is_worth = bytes >= limits::JETSTREAM_PURGE_BYTES || spans >= limits::JETSTREAM_PURGE_SPANS;
        is_worth.then(|| self.spans[spans].first)
    }

    /// All before that sequence is purged.
    pub(super) fn purged(&mut self, below: u64) {
        while let Some(kept) = self.spans.pop_front_if(|kept| kept.first < below) {
            assert!(
                kept.live == 0 && kept.last < below,
                "what is purged holds nothing, and ends where a span does"
            );
            self.bytes -= kept.bytes;
            self.dead_before.bytes -= kept.bytes;
            self.dead_before.spans -= 1;
        }
    }

    /// Whether what is dead takes so much that entries are moved out of the oldest spans.
    pub(super) fn is_sparse(&self) -> bool {
        let dead_in_front = self.dead_before.bytes;
        self.bytes - dead_in_front > self.live_bytes + self.live_bytes / 2 + limits::JETSTREAM_DEAD_BYTES
    }

    /// The oldest spans that hold entries, as first and last messages, up to so many bytes of the stream and at least one.
    pub(super) fn oldest(&self, bytes_max: u64) -> Vec<(u64, u64)> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        // All but the newest, behind which its entries would be put again.
        let end = self.spans.len().saturating_sub(1);
        for kept in self.spans.range(self.dead_before.spans.min(end)..end) {
            bytes += kept.bytes;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            if kept.live > 0 {
                found.push((kept.first, kept.last));
            }
        }
        found
    }

    /// Whether an operation of the span that begins with that message put what is there still.
    pub(super) fn is_alive(&self, op: &StoreOp, first: u64) -> bool {
        match op {
            StoreOp::Put { table, key, .. } => {
                self.entries.get(&(*table, *key)).is_some_and(|entry| entry.span == first)
            }
            StoreOp::Remove { .. } => false,
        }
    }

    /// Of the stream, as the server counts them, nearly.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What somebody who reads what is left of the stream would find.
    fn read(stream: &[(u64, Vec<StoreOp>)]) -> BTreeMap<Key, Box<[u8]>> {
        let mut entries = BTreeMap::new();
        for op in stream.iter().flat_map(|(_, ops)| ops) {
            match op {
                StoreOp::Put { key, value, .. } => drop(entries.insert(*key, value.clone())),
                StoreOp::Remove { key, .. } => drop(entries.remove(key)),
            }
        }
        entries
    }

    fn op(key: Key, value: Option<u8>) -> StoreOp {
        match value {
            Some(value) => StoreOp::Put { table: Table::Messages, key, value: Box::new([value; 10]) },
            None => StoreOp::Remove { table: Table::Messages, key },
        }
    }

    fn append(spans: &mut Spans, stream: &mut Vec<(u64, Vec<StoreOp>)>, ops: Vec<StoreOp>) {
        let first = stream.last().map_or(1, |(first, _)| first + 1);
        spans.append(first, first, 100, &ops);
        stream.push((first, ops));
    }

    #[test]
    fn nothing_is_purged_before_it_is_worth_it_and_the_newest_never() {
        let (mut spans, mut stream) = (Spans::default(), Vec::new());
        assert_eq!(spans.purgeable(), None);
        for _ in 0..limits::JETSTREAM_PURGE_SPANS {
            append(&mut spans, &mut stream, vec![op(1, Some(1)), op(1, None)]);
            assert_eq!(spans.purgeable(), None);
        }
        append(&mut spans, &mut stream, Vec::new());
        let below = limits::JETSTREAM_PURGE_SPANS as u64 + 1;
        assert_eq!(spans.purgeable(), Some(below));
        spans.purged(below);
        assert_eq!((spans.purgeable(), spans.bytes(), spans.live_bytes()), (None, 100, 0));
        assert_eq!(spans.oldest(1000), []);
    }

    #[test]
    fn what_is_sparse_is_moved_from_the_oldest_on_and_then_purged() {
        let mut spans = Spans::default();
        let bytes = limits::JETSTREAM_DEAD_BYTES;
        spans.append(1, 3, bytes, &[op(1, Some(1)), op(2, Some(2)), op(2, None)]);
        spans.append(4, 4, bytes, &[op(3, Some(3)), op(3, None)]);
        spans.append(5, 5, bytes / 2, &[op(4, Some(4))]);
        assert!(spans.is_sparse());
        assert_eq!(spans.oldest(1), [(1, 3)]);
        assert_eq!(spans.oldest(3 * bytes), [(1, 3)], "not the newest");
        assert!(spans.is_alive(&op(1, Some(1)), 1) && !spans.is_alive(&op(2, Some(2)), 1));
        assert!(!spans.is_alive(&op(1, Some(1)), 4) && !spans.is_alive(&op(2, None), 1));
        spans.append(6, 6, 100, &[op(1, Some(1))]);
        assert_eq!(spans.purgeable(), Some(5));
        spans.purged(5);
        assert_eq!((spans.bytes(), spans.oldest(1)), (bytes / 2 + 100, vec![(5, 5)]));
        assert!(!spans.is_sparse());
    }

    proptest! {
        /// Whatever is appended, moved and purged: who reads what is left finds what there was.
        #[test]
        fn what_is_left_of_the_stream_says_what_all_of_it_said(
            steps in prop::collection::vec((prop::collection::vec((0_u64..12, prop::option::of(any::<u8>())), 0..4), any::<bool>()), 1..200)
        ) {
            let (mut spans, mut stream, mut all) = (Spans::default(), Vec::new(), Vec::new());
            for (ops, is_moving) in steps {
                let mut ops: Vec<StoreOp> = ops.into_iter().map(|(key, value)| op(key, value)).collect();
                if is_moving && let Some((first, last)) = spans.oldest(1).first() {
                    prop_assert_eq!(first, last);
                    let old = stream.iter().find(|(at, _)| at == first).map(|(_, ops): &(u64, Vec<StoreOp>)| ops.clone());
                    let moved: Vec<StoreOp> = old.unwrap().into_iter().filter(|op| spans.is_alive(op, *first)).collect();
                    prop_assert!(!moved.is_empty());
                    append(&mut spans, &mut stream, moved);
                }
                all.push((0, ops.clone()));
                append(&mut spans, &mut stream, std::mem::take(&mut ops));
                let Dead { spans: dead, .. } = spans.dead_before;
                let below = spans.spans[dead].first;
                spans.purged(below);
                stream.retain(|(first, _)| *first >= below);
                prop_assert_eq!(read(&stream), read(&all));
                prop_assert_eq!(spans.live_bytes(), 24 * read(&all).len() as u64);
                prop_assert_eq!(spans.bytes(), 100 * stream.len() as u64);
            }
        }
    }
}
