//! Results of backends that are told again for a while, and which calls for such are under way. PURE. Home: one shard.
//!
//! A result is known by its method, its parameters byte for byte, and whom it may be told. Where there is no room the oldest that was
//! not asked for since it was last looked at goes (SIEVE: Zhang and others, NSDI 2024). Invariants: what is kept is bounded in number and
//! bytes; to look one up takes one probe, since of two with the same hash the later is not kept; an entry whose call is under way
//! stays until that is over. A buffer of what has gone is used again: in a steady state nothing is allocated.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use slab::Slab;

use crate::limits;
use crate::model::hasher::FixedHasher;
use crate::model::ids::Ticket;
use crate::model::order::AccountId;

/// The end of the order.
const NONE: u32 = u32::MAX;

/// What a result is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) method: &'a [u8],
    /// Empty where there are none: parameters are two bytes at least.
    pub(super) params: &'a [u8],
    /// Whom it may be told; `None` for everybody, where the route says so or nobody has logged in.
    pub(super) account: Option<AccountId>,
}

/// What is known under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A result, by its place.
    Kept(u32),
    /// A call that is under way.
    UnderWay(Ticket),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay(Ticket),
    /// Told until then.
    Kept {
        until_ns: u64,
    },
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    account: Option<AccountId>,
    state: State,
    /// Method, parameters, result.
    bytes: Vec<u8>,
    params_at: u32,
    result_at: u32,
    /// Asked for since the hand last came by.
    is_wanted: bool,
    older: u32,
    newer: u32,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

#[derive(Debug)]
pub(super) struct AnswerCache {
    bounds: Bounds,
    entries: Slab<Entry>,
    by_hash: HashMap<u64, u32, BuildHasherDefault<FixedHasher>>,
    /// The ends of the order in which they came.
    oldest: u32,
    newest: u32,
    /// Where room is looked for next; `NONE` for the oldest.
    hand: u32,
    /// Of all entries' buffers.
    bytes: usize,
    /// Buffers of those that have gone.
    spare: Vec<Vec<u8>>,
    /// The place that is swept next, and when.
    sweep_at: usize,
    sweep_due_ns: u64,
    pub(super) evicted_total: u64,
    pub(super) expired_total: u64,
}

impl Key<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = FixedHasher::default();
        for part in [self.method, self.params] {
            let (words, rest) = part.as_chunks::<8>();
            words.iter().for_each(|word| hasher.write_u64(u64::from_le_bytes(*word)));
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            hasher.write_u64(u64::from_le_bytes(last));
            hasher.write_usize(part.len());
        }
        hasher.write_u64(self.account.map_or(u64::MAX, |account| u64::from(account.0)));
        hasher.finish()
    }
}

impl Entry {
    fn is_of(&self, key: &Key<'_>) -> bool {
        let (params_at, result_at) = (self.params_at as usize, self.result_at as usize);
        self.account == key.account
            && &self.bytes[..params_at] == key.method
            && &self.bytes[params_at..result_at] == key.params
    }

    fn is_over(&self, now_ns: u64) -> bool {
        match self.state {
            State::UnderWay(_) => false,
            State::Kept { until_ns } => now_ns >= until_ns,
        }
    }
}

impl AnswerCache {
    pub(super) fn new(bounds: Bounds, now_ns: u64) -> AnswerCache {
        AnswerCache {
            bounds,
            entries: Slab::new(),
            by_hash: HashMap::default(),
            oldest: NONE,
            newest: NONE,
            hand: NONE,
            bytes: 0,
            spare: Vec::new(),
            sweep_at: 0,
            sweep_due_ns: now_ns,
            evicted_total: 0,
            expired_total: 0,
        }
    }

    /// Results, and keys whose calls are under way.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of keys and results.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.entries.capacity() * (size_of::<Entry>() + 2 * size_of::<(u64, u32)>())
    }

    pub(super) fn look(&mut self, key: &Key<'_>, now_ns: u64) -> Found {
        let Some(at) = self.by_hash.get(&key.hash()).copied() else { return Found::Nothing };
        let entry = &mut self.entries[at as usize];
        if !entry.is_of(key) {
            return Found::Nothing;
        }
        if entry.is_over(now_ns) {
            self.expired_total += 1;
            self.remove(at);
            return Found::Nothing;
        }
        entry.is_wanted = true;
        match entry.state {
            State::UnderWay(ticket) => Found::UnderWay(ticket),
            State::Kept { .. } => Found::Kept(at),
        }
    }

    /// The buffer of a result that was found, and where in it the result begins; to be given back at once.
    pub(super) fn lend(&mut self, at: u32) -> (Vec<u8>, usize) {
        let entry = &mut self.entries[at as usize];
        (std::mem::take(&mut entry.bytes), entry.result_at as usize)
    }

    pub(super) fn give_back(&mut self, at: u32, bytes: Vec<u8>) {
        self.entries[at as usize].bytes = bytes;
    }

    /// A call for a key under which nothing was found begins; `None` where its result is not to be kept for want of room.
    pub(super) fn begin(&mut self, key: &Key<'_>, ticket: Ticket) -> Option<u32> {
        let (hash, key_bytes) = (key.hash(), key.method.len() + key.params.len());
        if self.by_hash.contains_key(&hash) || !self.make_room(1, key_bytes) {
            return None;
        }
        let (held_bytes, bytes_max) = (self.bytes, self.bounds.bytes_max);
        let spare = self.spare.pop().filter(|spare| held_bytes + spare.capacity() <= bytes_max);
        let mut bytes = spare.unwrap_or_default();
        bytes.reserve_exact(key_bytes);
        bytes.extend_from_slice(key.method);
        bytes.extend_from_slice(key.params);
        self.bytes += bytes.capacity();
        let place = |at: usize| u32::try_from(at).expect("invariant: a request is shorter than 4 GiB");
        let entry = Entry {
            hash,
            account: key.account,
            state: State::UnderWay(ticket),
            params_at: place(key.method.len()),
            result_at: place(bytes.len()),
            bytes,
            is_wanted: false,
            older: self.newest,
            newer: NONE,
        };
        let at = u32::try_from(self.entries.insert(entry)).expect("invariant: entries_max is less");
        match self.newest {
            NONE => self.oldest = at,
            newest => self.entries[newest as usize].newer = at,
        }
        self.newest = at;
        self.by_hash.insert(hash, at);
        Some(at)
    }

    /// The call for a key has a result, if it is still waited for here.
    pub(super) fn keep(&mut self, at: u32, ticket: Ticket, result: &[u8], until_ns: u64) {
        if !self.is_under_way(at, ticket) {
            return;
        }
        let is_short = result.len() <= limits::CACHED_ANSWER_BYTES_MAX;
        // While room is made it stays, since its call is under way.
        if !is_short || !self.make_room(0, result.len()) {
            return self.remove(at);
        }
        let entry = &mut self.entries[at as usize];
        let before_bytes = entry.bytes.capacity();
        entry.bytes.reserve_exact(result.len());
        entry.bytes.extend_from_slice(result);
        entry.state = State::Kept { until_ns };
        self.bytes = self.bytes - before_bytes + entry.bytes.capacity();
    }

    /// The call for a key is over without a result.
    pub(super) fn abandon(&mut self, at: u32, ticket: Ticket) {
        if self.is_under_way(at, ticket) {
            self.remove(at);
        }
    }

    /// Looks at so many entries, and forgets those whose time is over.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        if now_ns < self.sweep_due_ns || self.entries.is_empty() {
            return;
        }
        self.sweep_due_ns = now_ns + limits::CACHE_SWEEP_NS;
        for _ in 0..limits::CACHE_SWEPT_MAX.min(self.entries.capacity()) {
            let at = self.sweep_at;
            self.sweep_at = (at + 1) % self.entries.capacity();
            if self.entries.get(at).is_some_and(|entry| entry.is_over(now_ns)) {
                self.expired_total += 1;
                self.remove(u32::try_from(at).expect("invariant: it was found by that"));
            }
        }
    }

    /// When [`AnswerCache::sweep`] is to be called next.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.sweep_due_ns)
    }

    /// Forgets everything; calls that are under way go on, and their results are not kept.
    pub(super) fn clear(&mut self, bounds: Bounds) {
        let (evicted_total, expired_total) = (self.evicted_total, self.expired_total);
        *self = AnswerCache { evicted_total, expired_total, ..AnswerCache::new(bounds, self.sweep_due_ns) };
    }

    fn is_under_way(&self, at: u32, ticket: Ticket) -> bool {
        self.entries.get(at as usize).is_some_and(|entry| entry.state == State::UnderWay(ticket))
    }

    /// Whether there is room for so many entries and bytes more, once some have gone.
    fn make_room(&mut self, entries: usize, bytes: usize) -> bool {
        for _ in 0..limits::CACHE_STEPS_MAX {
            if self.entries.len() + entries <= self.bounds.entries_max
                && self.bytes + bytes <= self.bounds.bytes_max
            {
                return true;
            }
            let at = if self.hand == NONE { self.oldest } else { self.hand };
            let Some(entry) = self.entries.get_mut(at as usize) else { return false };
            self.hand = entry.newer;
            let is_wanted = std::mem::take(&mut entry.is_wanted);
            match entry.state {
                State::Kept { .. } if !is_wanted => {
                    self.evicted_total += 1;
                    self.remove(at);
                }
                State::Kept { .. } | State::UnderWay(_) => {}
            }
        }
        false
    }

    fn remove(&mut self, at: u32) {
        let Entry { hash, mut bytes, older, newer, .. } = self.entries.remove(at as usize);
        self.by_hash.remove(&hash);
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        if self.hand == at {
            self.hand = newer;
        }
        self.bytes -= bytes.capacity();
        if self.spare.len() < limits::CACHE_SPARE_MAX && bytes.capacity() <= limits::CACHE_SPARE_BYTES_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { entries_max: 4, bytes_max: 4096 };

    fn key(method: &str) -> Key<'_> {
        Key { method: method.as_bytes(), params: b"{}", account: None }
    }

    fn ticket(slot: u32) -> Ticket {
        Ticket { slot, generation: slot }
    }

    /// Has a result kept until then; whether there was room.
    fn keep(cache: &mut AnswerCache, key: &Key<'_>, result: &[u8], until_ns: u64) -> bool {
        let Some(at) = cache.begin(key, ticket(1)) else { return false };
        cache.keep(at, ticket(1), result, until_ns);
        true
    }

    /// What is told under a key.
    fn told(cache: &mut AnswerCache, key: &Key<'_>, now_ns: u64) -> Option<Vec<u8>> {
        let Found::Kept(at) = cache.look(key, now_ns) else { return None };
        let (bytes, result_at) = cache.lend(at);
        let result = bytes[result_at..].to_vec();
        cache.give_back(at, bytes);
        Some(result)
    }

    #[test]
    fn a_result_is_told_until_its_time_is_over_to_whom_it_may() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        let of = |account| Key { account: Some(AccountId(account)), ..key("a/x") };
        assert!(keep(&mut cache, &of(1), b"1", 10));
        assert!(keep(&mut cache, &of(2), b"2", 20));
        assert_eq!(told(&mut cache, &of(1), 9), Some(b"1".to_vec()));
        assert_eq!(told(&mut cache, &of(2), 9), Some(b"2".to_vec()));
        assert_eq!(told(&mut cache, &key("a/x"), 9), None);
        assert_eq!(told(&mut cache, &Key { params: b"{ }", ..of(1) }, 9), None);
        assert_eq!((told(&mut cache, &of(1), 10), cache.len(), cache.expired_total), (None, 1, 1));
        // Where the method ends and the parameters begin counts too.
        assert_eq!(told(&mut cache, &Key { method: b"a/x{", params: b"}", ..of(2) }, 9), None);
    }

    #[test]
    fn while_a_call_is_under_way_it_is_found_and_nothing_else_begins() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        let at = cache.begin(&key("a/x"), ticket(7)).unwrap();
        assert_eq!(cache.look(&key("a/x"), 1 << 60), Found::UnderWay(ticket(7)));
        assert_eq!(cache.begin(&key("a/x"), ticket(8)), None);
        // Another call's end is nothing to it.
        cache.keep(at, ticket(8), b"1", 10);
        cache.abandon(at, ticket(8));
        assert_eq!(cache.look(&key("a/x"), 0), Found::UnderWay(ticket(7)));
        cache.abandon(at, ticket(7));
        assert_eq!((cache.look(&key("a/x"), 0), cache.len(), cache.held_bytes()), (Found::Nothing, 0, 0));
    }

    #[test]
    fn the_oldest_that_nobody_asked_for_makes_room() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        for method in ["a/1", "a/2", "a/3", "a/4"] {
            assert!(keep(&mut cache, &key(method), b"1", 100));
        }
        assert!(told(&mut cache, &key("a/1"), 0).is_some());
        assert!(keep(&mut cache, &key("a/5"), b"1", 100));
        let kept: Vec<bool> = ["a/1", "a/2", "a/3", "a/4", "a/5"]
            .map(|method| told(&mut cache, &key(method), 0).is_some())
            .into();
        assert_eq!((kept, cache.evicted_total), (vec![true, false, true, true, true], 1));
    }

    #[test]
    fn what_is_too_long_or_has_no_room_is_not_kept() {
        let mut cache = AnswerCache::new(Bounds { entries_max: 4, bytes_max: 64 }, 0);
        assert!(keep(&mut cache, &key("a/1"), &[b'1'; 100], 100));
        assert_eq!((told(&mut cache, &key("a/1"), 0), cache.len()), (None, 0));
        let mut cache = AnswerCache::new(Bounds { entries_max: 4, bytes_max: 1 << 30 }, 0);
        let long = vec![b'1'; limits::CACHED_ANSWER_BYTES_MAX + 1];
        assert!(keep(&mut cache, &key("a/1"), &long, 100));
        assert_eq!(told(&mut cache, &key("a/1"), 0), None);
        // Calls under way are no room.
        let mut cache = AnswerCache::new(BOUNDS, 0);
        for (slot, method) in (0..).zip(["a/1", "a/2", "a/3", "a/4"]) {
            assert!(cache.begin(&key(method), ticket(slot)).is_some());
        }
        assert_eq!(cache.begin(&key("a/5"), ticket(9)), None);
    }

    #[test]
    fn a_sweep_forgets_what_is_over_so_many_at_a_time() {
        let mut cache = AnswerCache::new(Bounds { entries_max: 10_000, bytes_max: 1 << 30 }, 0);
        let methods: Vec<String> = (0..5_000).map(|number| format!("a/{number}")).collect();
        methods.iter().for_each(|method| assert!(keep(&mut cache, &key(method), b"1", 100)));
        cache.sweep(100);
        assert_eq!(cache.len(), 5_000 - limits::CACHE_SWEPT_MAX);
        cache.sweep(101);
        assert_eq!(cache.len(), 5_000 - limits::CACHE_SWEPT_MAX, "not before its time");
        let mut now_ns = 100;
        while let Some(due_ns) = cache.poll_timeout() {
            assert!(due_ns > now_ns);
            now_ns = due_ns;
            cache.sweep(now_ns);
        }
        assert_eq!((cache.len(), cache.held_bytes(), cache.expired_total), (0, 0, 5_000));
    }

    proptest! {
        /// Whatever is kept, asked for, abandoned and swept: what is told is what was kept last and is not over, within the bounds.
        #[test]
        fn tells_what_was_kept_or_nothing(
            steps in proptest::collection::vec((0u8..4, 0u8..12, 0u64..30, 0usize..200), 1..200),
        ) {
            let bounds = Bounds { entries_max: 6, bytes_max: 900 };
            let mut cache = AnswerCache::new(bounds, 0);
            let mut kept: BTreeMap<u8, (Vec<u8>, u64)> = BTreeMap::new();
            let mut now_ns = 0;
            for (slot, (step, name, ns, len)) in (0..).zip(steps) {
                now_ns += ns;
                let method = format!("a/{name}");
                match (step, cache.look(&key(&method), now_ns)) {
                    (0, _) => cache.sweep(now_ns),
                    (1, Found::Nothing) => {
                        if let Some(at) = cache.begin(&key(&method), ticket(slot)) {
                            cache.abandon(at, ticket(slot));
                        }
                    }
                    (_, Found::Nothing) => {
                        let result = vec![name; len];
                        if let Some(at) = cache.begin(&key(&method), ticket(slot)) {
                            cache.keep(at, ticket(slot), &result, now_ns + 20);
                            kept.insert(name, (result, now_ns + 20));
                        }
                    }
                    (_, Found::Kept(_)) => {
                        let (result, until_ns) = &kept[&name];
                        prop_assert!(now_ns < *until_ns);
                        let told = told(&mut cache, &key(&method), now_ns);
                        prop_assert_eq!(told.as_ref(), Some(result));
                    }
                    (_, Found::UnderWay(_)) => prop_assert!(false, "none is left under way"),
                }
                prop_assert!(cache.len() <= bounds.entries_max && cache.held_bytes() <= bounds.bytes_max);
                let bytes: usize = cache.entries.iter().map(|(_, entry)| entry.bytes.capacity()).sum();
                prop_assert_eq!((cache.held_bytes(), cache.by_hash.len()), (bytes, cache.len()));
            }
        }
    }
}
