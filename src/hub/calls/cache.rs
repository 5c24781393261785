//! Results of backends that are told again for a while, and which calls for such are under way. PURE. Home: one shard.
//!
//! A result is known by its method, its parameters byte for byte, and whom it may be told. Where there is no room the oldest that was
//! not asked for since it was last looked at goes (SIEVE: Zhang and others, NSDI 2024). Invariants: what is kept is bounded in number and
//! bytes; to look one up takes one probe, since of two with the same hash the later is not kept; an entry whose call is under way
//! stays until that is over, or until it is to be forgotten: then its result is told to who waits for it and not kept. A buffer of what has
//! gone is used again: in a steady state nothing is allocated.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use slab::Slab;

use super::forgetting::{Asked, Forgetting};
use crate::limits;
use crate::model::call::BackendId;
use crate::model::hasher::FixedHasher;
use crate::model::ids::Ticket;
use crate::model::invalidation::Invalidation;
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
    backend: BackendId,
    asked: Asked,
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
    forgetting: Forgetting,
    pub(super) evicted_total: u64,
    pub(super) expired_total: u64,
    /// Forgotten since somebody said so.
    pub(super) invalidated_total: u64,
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

    fn method(&self) -> &[u8] {
        &self.bytes[..self.params_at as usize]
    }

    fn is_of_before(&self, forgetting: &Forgetting) -> bool {
        forgetting.has(self.asked, self.backend, self.method())
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
            forgetting: Forgetting::default(),
            evicted_total: 0,
            expired_total: 0,
            invalidated_total: 0,
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
        if entry.is_of_before(&self.forgetting) {
            self.forget(at);
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
    pub(super) fn begin(&mut self, key: &Key<'_>, backend: BackendId, ticket: Ticket) -> Option<u32> {
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
            backend,
            asked: self.forgetting.now(),
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
        if self.entries[at as usize].is_of_before(&self.forgetting) {
            return self.forget(at);
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

    /// Has results forgotten that were asked for up to now; `backend` is the one that the invalidation names. Whoever asks from now on is
    /// told none of them, and does not join a call for one; who waits for such a call is told its result all the same.
    pub(super) fn invalidate(&mut self, backend: Option<BackendId>, invalidation: Arc<Invalidation>) {
        let places = if self.entries.is_empty() { 0 } else { self.entries.capacity() };
        self.forgetting.add(backend, invalidation, places);
    }

    /// Looks at so many entries, and forgets those that are to be, and those whose time is over.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        self.walk();
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
        if self.forgetting.is_under_way() {
            return Some(0);
        }
        (!self.entries.is_empty()).then_some(self.sweep_due_ns)
    }

    /// Forgets everything; calls that are under way go on, and their results are not kept.
    pub(super) fn clear(&mut self, bounds: Bounds) {
        let AnswerCache { evicted_total, expired_total, invalidated_total, sweep_due_ns, .. } = *self;
        let empty = AnswerCache::new(bounds, sweep_due_ns);
        *self = AnswerCache { evicted_total, expired_total, invalidated_total, ..empty };
    }

    /// Goes on to what is to be forgotten, so far as a turn may.
    fn walk(&mut self) {
        for _ in 0..limits::CACHE_FORGETTING_STEPS {
            let Some(at) = self.forgetting.next_place() else { return };
            if self.entries.get(at).is_some_and(|entry| entry.is_of_before(&self.forgetting)) {
                self.forget(u32::try_from(at).expect("invariant: it was found by that"));
            }
            self.forgetting.passed();
        }
    }

    fn forget(&mut self, at: u32) {
        self.invalidated_total += 1;
        self.remove(at);
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
    use crate::model::invalidation::Methods;

    const BOUNDS: Bounds = Bounds { entries_max: 4, bytes_max: 4096 };

    fn key(method: &str) -> Key<'_> {
        Key { method: method.as_bytes(), params: b"{}", account: None }
    }

    fn ticket(slot: u32) -> Ticket {
        Ticket { slot, generation: slot }
    }

    /// Has a result kept until then; whether there was room.
    fn keep(cache: &mut AnswerCache, key: &Key<'_>, result: &[u8], until_ns: u64) -> bool {
        let Some(at) = cache.begin(key, BackendId(0), ticket(1)) else { return false };
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
        let at = cache.begin(&key("a/x"), BackendId(0), ticket(7)).unwrap();
        assert_eq!(cache.look(&key("a/x"), 1 << 60), Found::UnderWay(ticket(7)));
        assert_eq!(cache.begin(&key("a/x"), BackendId(0), ticket(8)), None);
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
            assert!(cache.begin(&key(method), BackendId(0), ticket(slot)).is_some());
        }
        assert_eq!(cache.begin(&key("a/5"), BackendId(0), ticket(9)), None);
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

    fn invalidation(patterns: &[&str]) -> Arc<Invalidation> {
        let methods = Methods::parse(patterns.iter().copied()).unwrap();
        Arc::new(Invalidation { backend: None, methods })
    }

    #[test]
    fn what_was_asked_for_before_an_invalidation_is_not_told_after_it() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        assert!(keep(&mut cache, &key("a/kept"), b"old", 100));
        assert!(keep(&mut cache, &key("b/kept"), b"other", 100));
        let old = cache.begin(&key("a/x"), BackendId(0), ticket(7)).unwrap();
        cache.invalidate(None, invalidation(&["a/*"]));
        assert_eq!(told(&mut cache, &key("a/kept"), 0), None);
        assert_eq!(told(&mut cache, &key("b/kept"), 0), Some(b"other".to_vec()));
        // Who asks now does not join the call that was asked for before, whose result comes to nothing here, first or last.
        assert_eq!(cache.look(&key("a/x"), 0), Found::Nothing);
        let new = cache.begin(&key("a/x"), BackendId(0), ticket(8)).unwrap();
        cache.keep(old, ticket(7), b"old", 100);
        assert_eq!(cache.look(&key("a/x"), 0), Found::UnderWay(ticket(8)));
        cache.keep(new, ticket(8), b"new", 100);
        cache.keep(old, ticket(7), b"old", 100);
        assert_eq!((told(&mut cache, &key("a/x"), 0), cache.invalidated_total), (Some(b"new".to_vec()), 2));
        // One that nobody asks for meanwhile.
        let old = cache.begin(&key("a/y"), BackendId(0), ticket(9)).unwrap();
        cache.invalidate(None, invalidation(&["a/y"]));
        cache.keep(old, ticket(9), b"old", 100);
        assert_eq!(told(&mut cache, &key("a/y"), 0), None);
    }

    #[test]
    fn a_backend_s_word_is_of_its_own_results() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        for (backend, method) in [(0, "a/x"), (1, "a/y")] {
            let at = cache.begin(&key(method), BackendId(backend), ticket(1)).unwrap();
            cache.keep(at, ticket(1), b"1", 100);
        }
        cache.invalidate(Some(BackendId(1)), invalidation(&["*"]));
        let is_told = ["a/x", "a/y"].map(|method| told(&mut cache, &key(method), 0).is_some());
        assert_eq!(is_told, [true, false]);
    }

    #[test]
    fn what_is_to_be_forgotten_goes_so_many_at_a_time() {
        let mut cache = AnswerCache::new(Bounds { entries_max: 10_000, bytes_max: 1 << 30 }, 0);
        let methods: Vec<String> = (0..5_000).map(|number| format!("a/{number}")).collect();
        methods.iter().for_each(|method| assert!(keep(&mut cache, &key(method), b"1", 100)));
        cache.invalidate(None, invalidation(&["a/*"]));
        cache.sweep(0);
        assert_eq!(cache.len(), 5_000 - limits::CACHE_FORGETTING_STEPS);
        // Another one while the first is under way: what was come by already is gone through again.
        assert!(keep(&mut cache, &key("b/x"), b"1", 100));
        assert!(keep(&mut cache, &key("c/x"), b"1", 100));
        cache.invalidate(None, invalidation(&["b/*"]));
        let mut turns = 0;
        while cache.poll_timeout() == Some(0) {
            cache.sweep(0);
            turns += 1;
        }
        assert!((10..20).contains(&turns), "{turns}");
        assert_eq!((cache.len(), cache.invalidated_total), (1, 5_001));
        assert!(told(&mut cache, &key("c/x"), 0).is_some());
    }

    #[test]
    fn where_too_many_wait_everything_is_forgotten_and_what_comes_after_is_kept() {
        let mut cache = AnswerCache::new(BOUNDS, 0);
        assert!(keep(&mut cache, &key("b/x"), b"1", 100));
        for _ in 0..limits::CACHE_INVALIDATIONS_MAX {
            cache.invalidate(None, invalidation(&["a/x"]));
        }
        assert!(told(&mut cache, &key("b/x"), 0).is_some());
        cache.invalidate(None, invalidation(&["a/x"]));
        assert!(told(&mut cache, &key("b/x"), 0).is_none());
        assert!(keep(&mut cache, &key("b/x"), b"2", 100));
        assert!(told(&mut cache, &key("b/x"), 0).is_some());
        let many: Vec<String> =
            (0..limits::INVALIDATED_METHODS_MAX).map(|number| format!("a/{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        (0..2).for_each(|_| cache.invalidate(None, invalidation(&many)));
        assert!(told(&mut cache, &key("b/x"), 0).is_none(), "one method and twice as many as one names");
    }

    proptest! {
        /// Calls that take as long as they like, invalidations at any moment and walks that come when they come: nothing that was asked for
        /// before an invalidation is told or joined after it, and nothing else is forgotten.
        #[test]
        fn a_result_of_before_an_invalidation_is_never_told_after_it(
            steps in proptest::collection::vec((0u8..6, 0u8..6, any::<proptest::sample::Index>()), 1..150),
        ) {
            let mut cache = AnswerCache::new(Bounds { entries_max: 64, bytes_max: 1 << 20 }, 0);
            let mut under_way: Vec<(u32, Ticket, u8, u32)> = Vec::new();
            let mut valid: BTreeMap<u8, u32> = BTreeMap::new();
            let mut waiting = 0;
            for (now, (step, name, index)) in (1u32..).zip(steps) {
                let (method, backend) = (format!("{}/{name}", if name < 3 { "a" } else { "b" }), name % 2);
                match step {
                    0 => {
                        let (pattern, of): (String, Option<u8>) = match index.index(4) {
                            0 => (method, None),
                            1 => ("a/*".into(), None),
                            2 => ("*".into(), Some(backend)),
                            _ => ("b/*".into(), Some(1 - backend)),
                        };
                        let fits = |name: u8| {
                            let method = format!("{}/{name}", if name < 3 { "a" } else { "b" });
                            of.is_none_or(|of| of == name % 2)
                                && pattern.strip_suffix('*').map_or(pattern == method, |start| method.starts_with(start))
                        };
                        waiting += 1;
                        // Where too many wait, all goes.
                        let is_full = waiting > limits::CACHE_INVALIDATIONS_MAX;
                        valid.retain(|name, _| !fits(*name) && !is_full);
                        cache.invalidate(of.map(|of| BackendId(of.into())), invalidation(&[&pattern]));
                    }
                    1 => {
                        cache.sweep(0);
                        waiting = 0;
                    }
                    2 | 3 if !under_way.is_empty() => {
                        let (at, ticket, name, asked) = under_way.swap_remove(index.index(under_way.len()));
                        cache.keep(at, ticket, &asked.to_le_bytes(), u64::MAX);
                        prop_assert!(valid.get(&name).is_none_or(|valid| *valid >= asked));
                    }
                    _ => match cache.look(&key(&method), 0) {
                        Found::Nothing => {
                            prop_assert_eq!(valid.get(&name), None);
                            let at = cache.begin(&key(&method), BackendId(backend.into()), ticket(now)).unwrap();
                            under_way.push((at, ticket(now), name, now));
                            valid.insert(name, now);
                        }
                        Found::UnderWay(found) => prop_assert_eq!(Some(&found.slot), valid.get(&name)),
                        Found::Kept(_) => {
                            let told = told(&mut cache, &key(&method), 0).unwrap();
                            let asked = u32::from_le_bytes(told.try_into().unwrap());
                            prop_assert_eq!(Some(&asked), valid.get(&name));
                        }
                    },
                }
            }
        }

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
                        if let Some(at) = cache.begin(&key(&method), BackendId(0), ticket(slot)) {
                            cache.abandon(at, ticket(slot));
                        }
                    }
                    (_, Found::Nothing) => {
                        let result = vec![name; len];
                        if let Some(at) = cache.begin(&key(&method), BackendId(0), ticket(slot)) {
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
