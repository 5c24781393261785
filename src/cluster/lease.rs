//! Who owns the market: a lease in a key of a key-value bucket that changes by compare-and-set of its revision. PURE. Home: the thread that
//! speaks to NATS; it carries out what [`Lease::poll_request`] asks, one request at a time, and says what a watch of the key tells.
//!
//! Invariants: whoever waits for the lease takes it when it has seen one revision, or a key without a value, for a whole term on its own clock; whoever has it ceases to
//! when `HELD_OF_TERM` of a term has gone since it *sent* the last renewal that is known to hold. The revision was seen after it was sent, so two nodes do not own
//! at a time while their clocks run at rates that differ by less than a quarter; clocks are never compared. Each taking has a greater [`Fence`] than all before. A holder gives no
//! epoch at or beyond what its newest confirmed value reserves, and the next holder begins there.

use std::collections::VecDeque;

use crate::limits;
use crate::model::ids::Epoch;
use crate::model::time::Now;

use super::names::{ClusterName, Fence};

/// Of a term: for so much of it a renewal lets its holder own; the rest is for clocks that run slowly.
const HELD_OF_TERM: (u64, u64) = (3, 4);
/// In a term: renewals, and requests that fail.
const REQUESTS_PER_TERM: u64 = 4;
/// Writes whose answers may be lost: more than are sent while the oldest could still hold.
const WRITES_REMEMBERED_MAX: usize = 8;
const _: () = assert!(WRITES_REMEMBERED_MAX as u64 > REQUESTS_PER_TERM);

/// What the key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseValue {
    pub holder: ClusterName,
    /// Which process of that name: another number for each start.
    pub incarnation: u64,
    /// Counts what this process has written, from 1.
    pub write: u64,
    /// Which taking this renews; none in the taking itself, whose own revision it is.
    pub fence: Option<Fence>,
    /// The holder gives no epoch from here on.
    pub epochs_end: Epoch,
    /// The holder has ceased: nobody need wait for the term.
    pub is_released: bool,
    /// An operator has halted all trading, which holds for the next holder too.
    pub is_halted: bool,
}

/// What the key holds, and its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseEntry {
    pub revision: u64,
    pub value: LeaseValue,
}

/// To be asked of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRequest {
    /// What the key holds; of the bucket's leader, since a copy may be behind.
    Read,
    /// Only if the key has no value.
    Create { value: LeaseValue },
    /// Only if this is the key's revision.
    Update { value: LeaseValue, revision: u64 },
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// What was read; `None` where the key has no value.
    Holds(Option<LeaseEntry>),
    /// It was done, and this is its revision.
    Written { revision: u64 },
    /// The key stands at another revision.
    Refused,
    /// Nobody answered: it may have been done or not.
    Unknown,
}

/// What this node is to the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It owns the market, and gives epochs from `begin` to before `end`.
    Owner { fence: Fence, begin: Epoch, end: Epoch },
    /// That node does, as far as is known.
    Follower { owner: ClusterName, fence: Fence },
    /// No node is known to.
    Nobody,
    /// The bucket was made anew while nodes ran, or something else writes the key: its revisions are no fences any more, and no node that was there before
    /// believes what comes under them. It stays so.
    Spoiled,
}

/// See the file's head.
#[derive(Debug)]
pub struct Lease {
    me: ClusterName,
    incarnation: u64,
    may_own: bool,
    term_ns: u64,
    /// The newest that was seen in the key, of anyone, and when that was.
    known: Option<(LeaseEntry, u64)>,
    /// The key has no value, by the last read, and since when none of its reads found one. Who had it may own still: somebody may have deleted it.
    absent_ns: Option<u64>,
    must_read: bool,
    is_spoiled: bool,
    is_releasing: bool,
    /// What this node's own market has of the kill switch.
    halts: bool,
    held: Option<Held>,
    asked: Option<Asked>,
    /// The last writes, whose answers may have been lost: the watch tells of them.
    sent: VecDeque<Sent>,
    /// No request before this.
    next_request_ns: u64,
    writes: u64,
    /// The greatest of anyone.
    newest: Fence,
    /// Where no other holder has given an epoch.
    begin: Epoch,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    fence: Fence,
    revision: u64,
    /// When what is known to hold was sent.
    sent_ns: u64,
    end: Epoch,
}

/// The request that is under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The revision that was known by then.
    revision: u64,
    /// None for a read.
    wrote: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at_ns: u64,
    value: LeaseValue,
}

impl Lease {
    /// Of the node `me`; `incarnation` is another number for each start. A node that has no feed may not own. `term_ms` is clamped to
    /// the bounds of `limits`.
    #[must_use]
    pub fn new(me: ClusterName, incarnation: u64, may_own: bool, term_ms: u64) -> Lease {
        let term_ms = term_ms.clamp(limits::CLUSTER_TERM_MS_MIN, limits::CLUSTER_TERM_MS_MAX);
        Lease {
            me,
            incarnation,
            may_own,
            term_ns: term_ms * 1_000_000,
            known: None,
            absent_ns: None,
            must_read: true,
            is_spoiled: false,
            is_releasing: false,
            halts: false,
            held: None,
            asked: None,
            sent: VecDeque::new(),
            next_request_ns: 0,
            writes: 0,
            newest: Fence(0),
            begin: Epoch(0),
        }
    }

    /// A watch tells of the key. What is older than what is known already says nothing.
    pub fn handle_watch(&mut self, entry: LeaseEntry, now: Now) {
        self.note(entry, now);
    }

    /// The next request, if one is due; until its answer there is no other. `newest_epoch` is the newest that this node has given.
    pub fn poll_request(&mut self, newest_epoch: Epoch, now: Now) -> Option<LeaseRequest> {
        if self.asked.is_some() || now.mono_ns < self.poll_timeout()? {
            return None;
        }
        self.next_request_ns = now.mono_ns + self.term_ns / REQUESTS_PER_TERM;
        let revision = self.known_revision();
        if self.must_read {
            self.asked = Some(Asked { revision, wrote: None });
            return Some(LeaseRequest::Read);
        }
        self.writes += 1;
        let newest_ms = (now.unix_ns / 1_000_000).max(newest_epoch.0).max(self.begin.0);
        let value = LeaseValue {
            holder: self.me,
            incarnation: self.incarnation,
            write: self.writes,
            fence: self.held.map(|held| held.fence),
            epochs_end: Epoch(newest_ms + limits::CLUSTER_EPOCHS_RESERVED_MS),
            is_released: self.is_releasing,
            is_halted: if self.held.is_some() { self.halts } else { self.is_halted() },
        };
        let sent = Sent { at_ns: now.mono_ns, value };
        self.asked = Some(Asked { revision, wrote: Some(sent) });
        if self.sent.len() == WRITES_REMEMBERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
        Some(if self.absent_ns.is_some() {
            LeaseRequest::Create { value }
        } else {
            LeaseRequest::Update { value, revision }
        })
    }

    /// What came of the request that is under way.
    pub fn handle_answer(&mut self, answer: LeaseAnswer, now: Now) {
        let Some(asked) = self.asked.take() else { return };
        match answer {
            LeaseAnswer::Holds(entry) => {
                self.must_read = false;
                self.absent_ns = match entry {
                    Some(_) => None,
                    None => Some(self.absent_ns.unwrap_or(now.mono_ns)),
                };
                match entry {
                    Some(entry) if entry.revision < asked.revision => self.spoil(),
                    Some(entry) => self.note(entry, now),
                    None => self.held = None,
                }
                self.next_request_ns = now.mono_ns;
            }
            LeaseAnswer::Written { revision } => {
                let Some(sent) = asked.wrote else { return };
                if revision <= asked.revision {
                    self.spoil();
                } else {
                    self.note(LeaseEntry { revision, value: sent.value }, now);
                }
            }
            // Who has it is what the key says.
            LeaseAnswer::Refused => {
                self.must_read = true;
                self.absent_ns = None;
                self.next_request_ns = now.mono_ns;
            }
            LeaseAnswer::Unknown => {}
        }
    }

    /// Whether trading was halted when the key was last written, by whomever.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.known.is_some_and(|(entry, _)| entry.value.is_halted)
    }

    /// The holder's own market is halted or not: renewals say so from here on, the first one at once.
    pub fn set_halted(&mut self, halts: bool) {
        if std::mem::replace(&mut self.halts, halts) != halts {
            self.next_request_ns = 0;
        }
    }

    /// Gives the lease up if this node has it, by the next request, and does not ask for it any more.
    pub fn release(&mut self, now: Now) {
        self.is_releasing = true;
        self.may_own = false;
        self.next_request_ns = now.mono_ns;
    }

    /// Whether this node has nothing to give up, and no request is under way by which it might get it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_spoiled || (self.held.is_none() && self.asked.is_none())
    }

    /// When [`Lease::poll_request`] has something, on the monotonic clock; `None` while it depends on what is heard.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.is_spoiled || self.asked.is_some() {
            return None;
        }
        if self.must_read || self.held.is_some() {
            return Some(self.next_request_ns);
        }
        if !self.may_own {
            return None;
        }
        Some(match (self.absent_ns, self.known) {
            (Some(absent_ns), _) => self.next_request_ns.max(absent_ns + self.term_ns),
            (None, Some((entry, seen_ns))) if !entry.value.is_released => {
                self.next_request_ns.max(seen_ns + self.term_ns)
            }
            (None, Some(_) | None) => self.next_request_ns,
        })
    }

    /// What this node is now. Whoever tells the market asks before each turn that it tells.
    #[must_use]
    pub fn role(&self, now: Now) -> Role {
        if self.is_spoiled {
            return Role::Spoiled;
        }
        if let Some(held) = &self.held {
            let until_ns = held.sent_ns + self.term_ns / HELD_OF_TERM.1 * HELD_OF_TERM.0;
            let is_held = !self.is_releasing && now.mono_ns < until_ns;
            let owner = Role::Owner { fence: held.fence, begin: self.begin, end: held.end };
            return if is_held { owner } else { Role::Nobody };
        }
        match &self.known {
            Some((entry, seen_ns)) => {
                let is_over = self.absent_ns.is_some()
                    || entry.value.is_released
                    || now.mono_ns >= seen_ns + self.term_ns;
                let (owner, fence) = (entry.value.holder, fence_of(entry));
                if is_over || owner == self.me { Role::Nobody } else { Role::Follower { owner, fence } }
            }
            None => Role::Nobody,
        }
    }

    /// The least that is believed: what carries a lesser one is of an owner that is no more.
    #[must_use]
    pub fn newest_fence(&self) -> Fence {
        self.newest
    }

    fn known_revision(&self) -> u64 {
        self.known.map_or(0, |(entry, _)| entry.revision)
    }

    /// Takes note of what the key holds, if that is newer than what is known.
    fn note(&mut self, entry: LeaseEntry, now: Now) {
        if self.is_spoiled || entry.revision <= self.known_revision() {
            return;
        }
        let fence = fence_of(&entry);
        if fence < self.newest || fence.0 > entry.revision {
            self.spoil();
            return;
        }
        self.newest = fence;
        self.known = Some((entry, now.mono_ns));
        self.absent_ns = None;
        let is_ours = entry.value.holder == self.me && entry.value.incarnation == self.incarnation;
        if !is_ours {
            self.begin = self.begin.max(entry.value.epochs_end);
            self.held = None;
            return;
        }
        // One that is not remembered is so old that it would hold no more.
        let sent = self.sent.iter().find(|sent| sent.value.write == entry.value.write);
        self.held = sent.filter(|sent| !sent.value.is_released).map(|sent| Held {
            fence,
            revision: entry.revision,
            sent_ns: sent.at_ns,
            end: sent.value.epochs_end,
        });
        if let Some(held) = &self.held {
            assert!(
                self.begin < held.end && held.revision >= held.fence.0,
                "a lease reserves what none before did"
            );
        }
    }

    fn spoil(&mut self) {
        self.is_spoiled = true;
        self.held = None;
    }
}

fn fence_of(entry: &LeaseEntry) -> Fence {
    entry.value.fence.unwrap_or(Fence(entry.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM_MS: u64 = 2_000;
    const MS: u64 = 1_000_000;
    const UNIX_MS: u64 = 1_700_000_000_000;

    fn name(text: &str) -> ClusterName {
        ClusterName::parse(text.as_bytes()).unwrap()
    }

    /// A term after the nodes have started.
    fn at(ms: u64) -> Now {
        Now { mono_ns: (TERM_MS + ms) * MS, unix_ns: (UNIX_MS + ms) * MS }
    }

    /// The key as a bucket keeps it.
    #[derive(Default)]
    struct Bucket {
        revision: u64,
        entry: Option<LeaseEntry>,
    }

    impl Bucket {
        fn answer(&mut self, request: LeaseRequest) -> LeaseAnswer {
            let (value, is_allowed) = match request {
                LeaseRequest::Read => return LeaseAnswer::Holds(self.entry),
                LeaseRequest::Create { value } => (value, self.entry.is_none()),
                LeaseRequest::Update { value, revision } => {
                    (value, self.entry.is_some_and(|entry| entry.revision == revision))
                }
            };
            if !is_allowed {
                return LeaseAnswer::Refused;
            }
            self.revision += 1;
            self.entry = Some(LeaseEntry { revision: self.revision, value });
            LeaseAnswer::Written { revision: self.revision }
        }
    }

    /// Carries out all that is due.
    fn drive(lease: &mut Lease, bucket: &mut Bucket, now: Now) {
        while let Some(request) = lease.poll_request(Epoch(0), now) {
            let answer = bucket.answer(request);
            lease.handle_answer(answer, now);
        }
    }

    fn watch(lease: &mut Lease, bucket: &Bucket, now: Now) {
        bucket.entry.iter().for_each(|entry| lease.handle_watch(*entry, now));
    }

    fn fence(lease: &Lease, now: Now) -> Option<u64> {
        match lease.role(now) {
            Role::Owner { fence, .. } => Some(fence.0),
            Role::Follower { .. } | Role::Nobody | Role::Spoiled => None,
        }
    }

    /// It has found no value when it started, a term ago.
    fn node(of: &str) -> Lease {
        let mut lease = Lease::new(name(of), 1, true, TERM_MS);
        let started = Now { mono_ns: 0, unix_ns: (UNIX_MS - TERM_MS) * MS };
        assert_eq!(lease.poll_request(Epoch(0), started), Some(LeaseRequest::Read));
        lease.handle_answer(LeaseAnswer::Holds(None), started);
        assert_eq!(lease.poll_timeout(), Some(TERM_MS * MS), "somebody may own still");
        lease
    }

    #[test]
    fn the_first_who_asks_owns_and_others_follow_it() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        drive(&mut b, &mut bucket, at(0));
        assert_eq!(fence(&a, at(0)), Some(1));
        assert_eq!(b.role(at(0)), Role::Follower { owner: name("a"), fence: Fence(1) });
        assert_eq!(b.poll_timeout(), Some(at(TERM_MS).mono_ns), "it waits for a whole term");
    }

    #[test]
    fn renewals_keep_the_fence_and_the_lease() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        for ms in (0..20_000).step_by(100) {
            drive(&mut a, &mut bucket, at(ms));
            watch(&mut b, &bucket, at(ms));
            drive(&mut b, &mut bucket, at(ms));
            assert_eq!((fence(&a, at(ms)), fence(&b, at(ms))), (Some(1), None));
        }
        assert!(bucket.revision > 30);
    }

    #[test]
    fn a_standby_takes_over_a_term_after_the_last_renewal_with_a_later_fence_and_later_epochs() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        drive(&mut b, &mut bucket, at(10));
        let Role::Owner { end, .. } = a.role(at(0)) else { panic!("a owns") };
        drive(&mut b, &mut bucket, at(2_009));
        assert_eq!(fence(&b, at(2_009)), None);
        drive(&mut b, &mut bucket, at(2_010));
        // The standby's wall clock is an hour behind.
        let behind = Now { unix_ns: (UNIX_MS - 3_600_000) * MS, ..at(2_010) };
        let Role::Owner { fence, begin, .. } = b.role(behind) else { panic!("b owns") };
        assert_eq!((fence, begin), (Fence(2), end));
    }

    #[test]
    fn an_owner_that_is_not_confirmed_ceases_before_anybody_else_may_begin() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        for ms in [500, 1_000, 1_499] {
            assert!(a.poll_request(Epoch(0), at(ms)).is_some() || ms == 1_499);
            a.handle_answer(LeaseAnswer::Unknown, at(ms));
            assert_eq!(fence(&a, at(ms)), Some(1));
        }
        assert_eq!(a.role(at(1_500)), Role::Nobody);
    }

    #[test]
    fn a_renewal_whose_answer_is_lost_holds_from_when_it_was_sent_once_the_watch_tells_of_it() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        let request = a.poll_request(Epoch(0), at(500)).unwrap();
        bucket.answer(request);
        a.handle_answer(LeaseAnswer::Unknown, at(900));
        watch(&mut a, &bucket, at(1_000));
        assert_eq!((fence(&a, at(1_999)), fence(&a, at(2_000))), (Some(1), None));
        drive(&mut a, &mut bucket, at(1_400));
        assert_eq!(fence(&a, at(2_100)), Some(1), "and it goes on from the revision that was told");
    }

    #[test]
    fn a_renewal_that_was_done_unheard_and_is_sent_again_is_refused_read_and_goes_on() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        let request = a.poll_request(Epoch(0), at(500)).unwrap();
        bucket.answer(request);
        a.handle_answer(LeaseAnswer::Unknown, at(900));
        let again = a.poll_request(Epoch(0), at(1_000)).unwrap();
        assert_eq!(bucket.answer(again), LeaseAnswer::Refused);
        a.handle_answer(LeaseAnswer::Refused, at(1_000));
        drive(&mut a, &mut bucket, at(1_001));
        assert_eq!(fence(&a, at(1_999)), Some(1));
    }

    #[test]
    fn whoever_lost_it_ceases_at_once_when_it_hears_so() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        drive(&mut b, &mut bucket, at(0));
        drive(&mut b, &mut bucket, at(2_000));
        watch(&mut a, &bucket, at(2_001));
        assert_eq!(a.role(at(2_001)), Role::Follower { owner: name("b"), fence: Fence(2) });
        assert_eq!(a.newest_fence(), Fence(2));
    }

    #[test]
    fn a_process_of_the_same_name_that_was_there_before_is_another_holder() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        let mut again = Lease::new(name("a"), 2, true, TERM_MS);
        drive(&mut again, &mut bucket, at(100));
        assert_eq!((again.role(at(100)), again.poll_timeout()), (Role::Nobody, Some(at(2_100).mono_ns)));
        drive(&mut again, &mut bucket, at(2_100));
        assert_eq!(fence(&again, at(2_100)), Some(2));
    }

    #[test]
    fn what_is_released_is_taken_at_once() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        drive(&mut b, &mut bucket, at(0));
        a.release(at(10));
        assert_eq!(a.role(at(10)), Role::Nobody);
        drive(&mut a, &mut bucket, at(10));
        watch(&mut b, &bucket, at(11));
        drive(&mut b, &mut bucket, at(500));
        assert_eq!(fence(&b, at(500)), Some(3));
        drive(&mut a, &mut bucket, at(60_000));
        assert_eq!((bucket.revision, a.poll_timeout()), (3, None), "who has released asks no more");
    }

    #[test]
    fn a_node_without_a_feed_never_asks_for_the_lease() {
        let mut a = Lease::new(name("a"), 1, false, TERM_MS);
        let mut bucket = Bucket::default();
        drive(&mut a, &mut bucket, at(0));
        assert_eq!((a.poll_timeout(), bucket.revision), (None, 0));
    }

    #[test]
    fn a_bucket_that_was_made_anew_is_found_out_and_nobody_owns_by_it() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        (0..10).for_each(|round| drive(&mut a, &mut bucket, at(500 * round)));
        let mut anew = Bucket::default();
        drive(&mut a, &mut anew, at(5_000));
        assert_eq!(a.role(at(5_000)), Role::Nobody);
        drive(&mut a, &mut anew, at(5_000 + TERM_MS));
        assert_eq!((a.role(at(5_000 + TERM_MS)), a.poll_timeout()), (Role::Spoiled, None));
    }

    #[test]
    fn a_key_that_was_deleted_is_taken_when_whoever_had_it_has_ceased() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        bucket.entry = None;
        let mut b = Lease::new(name("b"), 1, true, TERM_MS);
        for ms in (100..=3_000).step_by(100) {
            drive(&mut b, &mut bucket, at(ms));
            let owners = [fence(&a, at(ms)), fence(&b, at(ms))];
            assert!(owners.contains(&None), "{ms} ms: {owners:?}");
        }
        assert_eq!(fence(&b, at(3_000)), Some(2));
    }

    #[test]
    fn a_standby_that_reads_a_bucket_made_anew_does_not_follow_it() {
        let (mut a, mut b, mut bucket) = (node("a"), node("b"), Bucket::default());
        (0..10).for_each(|round| drive(&mut a, &mut bucket, at(500 * round)));
        drive(&mut b, &mut bucket, at(5_000));
        let mut anew = Bucket::default();
        drive(&mut node("c"), &mut anew, at(5_000));
        drive(&mut b, &mut anew, at(7_000));
        assert_eq!(b.role(at(7_000)), Role::Spoiled);
    }

    #[test]
    fn a_key_that_something_else_writes_is_no_lease() {
        let (mut a, mut bucket) = (node("a"), Bucket::default());
        drive(&mut a, &mut bucket, at(0));
        let mut entry = bucket.entry.unwrap();
        entry.revision = 9;
        entry.value.fence = Some(Fence(10));
        a.handle_watch(entry, at(1));
        assert_eq!(a.role(at(1)), Role::Spoiled);
    }

    /// Numbers by chance, as a seed has them.
    fn next(seed: &mut u64, below: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    }

    /// Nodes whose clocks begin and run differently, with answers and watches that are late or lost: never two owners at a time, fences and
    /// epochs only grow, and when all is well again somebody owns.
    #[test]
    fn whatever_is_lost_or_late_there_is_one_owner_at_most_and_each_is_later_than_the_last() {
        for seed in 0..200 {
            let mut chance = seed;
            let mut bucket = Bucket::default();
            let mut nodes: Vec<Lease> = ["a", "b", "c"].into_iter().map(node).collect();
            let mut answers: Vec<Vec<(u64, LeaseAnswer)>> = vec![Vec::new(); nodes.len()];
            let (mut newest, mut ends, mut owned_ms) = (Fence(0), Epoch(0), 0);
            for ms in 0..40_000_u64 {
                let is_well = ms > 30_000;
                let clock = |node: usize| {
                    let (rate, offset) = [(100, 0), (112, 70_000), (90, 9_000)][node];
                    at(offset + ms * rate / 100)
                };
                for (number, lease) in nodes.iter_mut().enumerate() {
                    let now = clock(number);
                    if let Some(request) = lease.poll_request(Epoch(0), now) {
                        let is_lost = !is_well && next(&mut chance, 4) == 0;
                        let answer = if is_lost { LeaseAnswer::Unknown } else { bucket.answer(request) };
                        let is_unheard = !is_well && next(&mut chance, 4) == 0;
                        let heard = if is_unheard { LeaseAnswer::Unknown } else { answer };
                        let late_ms = if is_well { 0 } else { next(&mut chance, 900) };
                        answers[number].push((ms + late_ms, heard));
                    }
                    let due = answers[number].iter().position(|(due_ms, _)| *due_ms <= ms);
                    due.into_iter().for_each(|due| lease.handle_answer(answers[number].remove(due).1, now));
                    if is_well || next(&mut chance, 500) == 0 {
                        watch(lease, &bucket, now);
                    }
                }
                let owners =
                    nodes.iter().enumerate().filter_map(|(number, lease)| match lease.role(clock(number)) {
                        Role::Owner { fence, begin, end } => Some((fence, begin, end)),
                        Role::Follower { .. } | Role::Nobody => None,
                        Role::Spoiled => panic!("seed {seed}: nothing else writes"),
                    });
                let owners: Vec<_> = owners.collect();
                assert!(owners.len() <= 1, "seed {seed}, {ms} ms: {owners:?}");
                for (fence, begin, end) in owners {
                    assert!(fence >= newest, "seed {seed}");
                    assert!(fence == newest || begin >= ends, "seed {seed}: epochs are given again");
                    (newest, ends, owned_ms) = (fence, end, owned_ms + 1);
                }
            }
            assert!(owned_ms > 9_000, "seed {seed}: owned for {owned_ms} ms, while the last 10 s were well");
        }
    }
}
