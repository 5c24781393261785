//! Who is connected, as far as all shards must know it: how many connections there are, in all and from each address.
//!
//! Home: one for the process; every shard claims for the connections it accepts, and releases when they are closed. No
//! locks, and no allocation after `new`.
//!
//! Invariants:
//! - Neither limit is ever exceeded by the claims that are held and counted, but by those that were granted before it was
//!   lowered.
//! - A claim is counted in one word from when it is granted until it is released, and while it is attributed to another
//!   address in that one's too; nobody else's release touches its part. A word that counts something keeps its address.
//!
//! How exact the limits are:
//! - The limit in all is exact: a claim is refused if, and only if, it is reached at that moment.
//! - The limit per address may refuse too many, while claims of one address race for its last places: each counts itself
//!   before it knows whether it may stay, and so may turn away another.
//! - Addresses whose keyed hashes agree in the bucket and in the 48 bits that a word keeps share a limit. Who does not know
//!   the seed cannot aim at that.
//! - An address that finds all words of its bucket in use counts in all only, and that it did is counted. Even
//!   with as many addresses as connections that is one in 200,000: a bucket then has 4 of 16 words in use on average
//!   (Poisson).
//!
//! An address's words are searched in its bucket alone, and all of them are: two shards that meet a new address at the same
//! time may take a word each, so what counts is the sum. A claim first counts itself, then adds up what its bucket shows,
//! and withdraws if that is too much. The fence between the two makes the last of several racing claims see all others.
//!
//! Model-checked with loom, the wrong order too:
//! `RUSTFLAGS="--cfg loom" cargo test --release --no-default-features --lib admission --target-dir target/loom`.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::AtomicU32 as PlainU32;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Words of a bucket: two cache lines, which processors fetch in pairs. Fewer for the model checker, which tries every
/// order of every access.
const BUCKET_WORDS: usize = if cfg!(loom) { 2 } else { 16 };
/// Words for each connection there may be: room for as many addresses, with most of every bucket to spare.
const WORDS_PER_CONNECTION: usize = 4;

/// Bits of a word that count; the others tell the address.
const COUNT_BITS: u32 = 16;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// The connections of all shards, counted.
#[derive(Debug)]
pub struct Admission {
    total: Total,
    /// Not of the model's atomics: they order nothing.
    connections_max: PlainU32,
    /// 0: no limit.
    per_address_max: PlainU32,
    /// A power of two of them; none where there was no limit per address at the start.
    buckets: Box<[Bucket]>,
    seed: (u64, u64),
    untracked_total: AtomicU64,
}

/// On cache lines of its own, because every claim and release writes it.
#[derive(Debug)]
#[repr(align(128))]
struct Total(AtomicU32);

/// Words of the addresses that hash to it: in the low bits how many connections, in the others which address. A count of 0
/// frees the word, whatever else is in it.
#[derive(Debug)]
#[repr(align(128))]
struct Bucket([AtomicU64; BUCKET_WORDS]);

/// One admitted connection. To be given back by [`Admission::release`] when it is closed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is not released is held for good"]
pub struct Claim {
    counted: Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// In all only.
    InAll,
    /// Also in this word.
    InWord { bucket: u32, word: u8 },
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many connections as there may be.
    Total,
    /// There are as many from this address (IPv6: from its /64) as there may be.
    PerAddress,
}

impl Admission {
    /// Admits up to `connections_max` connections, and up to `per_address_max` from each address; 0 sets no such limit.
    /// `seed` is to be chosen at random for each process, so that nobody can tell which addresses share a bucket.
    ///
    /// Takes 32 to 64 bytes for each connection if there is a limit per address.
    #[must_use]
    pub fn new(connections_max: u32, per_address_max: u32, seed: (u64, u64)) -> Admission {
        let words = connections_max as usize * WORDS_PER_CONNECTION;
        let buckets = if per_address_max == 0 { 0 } else { words.div_ceil(BUCKET_WORDS).next_power_of_two() };
        Admission {
            total: Total(AtomicU32::new(0)),
            connections_max: connections_max.into(),
            per_address_max: per_address_max.into(),
            buckets: (0..buckets).map(|_| Bucket(std::array::from_fn(|_| AtomicU64::new(0)))).collect(),
            seed,
            untracked_total: AtomicU64::new(0),
        }
    }

    /// Whether such limits can hold: addresses are told apart in a table that was made for the limits of the start.
    #[must_use]
    pub fn has_room_for(&self, connections_max: u32, per_address_max: u32) -> bool {
        let words = self.buckets.len() * BUCKET_WORDS;
        per_address_max == 0 || connections_max as usize * WORDS_PER_CONNECTION <= words
    }

    /// Has other limits hold for who comes from now on; nobody who is in is sent away. `has_room_for` said that they can.
    pub fn set_limits(&self, connections_max: u32, per_address_max: u32) {
        assert!(self.has_room_for(connections_max, per_address_max), "the table is large enough");
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.per_address_max.store(per_address_max, Ordering::Relaxed);
    }

    /// Admits one connection. An address that is not known (`None`) counts in all only. IPv6 addresses count by /64, those
    /// that stand for an IPv4 address (`::ffff:a.b.c.d`) as that.
    ///
    /// # Errors
    /// The limit that is reached; if both are, the one in all.
    pub fn claim(&self, address: Option<IpAddr>) -> Result<Claim, Refused> {
        self.claim_settled_by(address, || fence(Ordering::SeqCst))
    }

    /// Has a connection that was admitted count for this address, whichever it counted for before; it is given up, and there is
    /// none, where the address has as many as it may.
    #[must_use = "a claim that is not released is held for good"]
    pub fn attribute(&self, claim: Claim, address: IpAddr) -> Option<Claim> {
        let per_address_max = self.per_address_max.load(Ordering::Relaxed);
        let counted = match per_address_max {
            0 => Ok(Counted::InAll),
            _ => self.count(address, per_address_max, || fence(Ordering::SeqCst)),
        };
        match counted {
            Ok(counted) => {
                self.uncount(claim.counted);
                Some(Claim { counted })
            }
            Err(_) => {
                self.release(claim);
                None
            }
        }
    }

    /// Gives up what `claim` granted.
    pub fn release(&self, claim: Claim) {
        self.uncount(claim.counted);
        let held = self.total.0.fetch_sub(1, Ordering::Relaxed);
        assert!(held > 0, "what is released was claimed here");
    }

    /// Connections admitted at present.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.total.0.load(Ordering::Relaxed)
    }

    /// Claims so far that were granted although no word was left to count their address in.
    #[must_use]
    pub fn untracked_total(&self) -> u64 {
        self.untracked_total.load(Ordering::Relaxed)
    }

    /// `settle` stands between counting and adding up.
    fn claim_settled_by(&self, address: Option<IpAddr>, settle: impl Fn()) -> Result<Claim, Refused> {
        // Looked at first, so that a process that is full of connections is not kept busy by who is refused.
        let connections_max = self.connections_max.load(Ordering::Relaxed);
        let per_address_max = self.per_address_max.load(Ordering::Relaxed);
        if self.connections() >= connections_max {
            return Err(Refused::Total);
        }
        let counted = match address {
            Some(address) if per_address_max > 0 => self.count(address, per_address_max, settle)?,
            Some(_) | None => Counted::InAll,
        };
        let one_more = |held: u32| (held < connections_max).then_some(held + 1);
        match self.total.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Claim { counted }),
            Err(_) => {
                self.uncount(counted);
                Err(Refused::Total)
            }
        }
    }

    /// Counts one more connection of an address.
    fn count(&self, address: IpAddr, per_address_max: u32, settle: impl Fn()) -> Result<Counted, Refused> {
        let (bucket, tag) = self.place(address);
        let words = &self.buckets[bucket as usize].0;
        let counted = loop {
            let seen = Seen::new(words, tag);
            if seen.connections >= u64::from(per_address_max) {
                return Err(Refused::PerAddress);
            }
            let Some((word, was)) = seen.room else {
                self.untracked_total.fetch_add(1, Ordering::Relaxed);
                return Ok(Counted::InAll);
            };
            let becomes = tag | ((was & COUNT_MAX) + 1);
            if words[word].compare_exchange(was, becomes, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                #[expect(clippy::cast_possible_truncation, reason = "below BUCKET_WORDS")]
                break Counted::InWord { bucket, word: word as u8 };
            }
        };
        settle();
        if Seen::new(words, tag).connections > u64::from(per_address_max) {
            self.uncount(counted);
            return Err(Refused::PerAddress);
        }
        Ok(counted)
    }

    fn uncount(&self, counted: Counted) {
        match counted {
            Counted::InAll => {}
            Counted::InWord { bucket, word } => {
                let word = &self.buckets[bucket as usize].0[usize::from(word)];
                let was = word.fetch_sub(1, Ordering::Relaxed);
                assert!(was & COUNT_MAX > 0, "what is released was claimed here");
            }
        }
    }

    /// The bucket of an address, and what tells it from others there: the high bits of a word.
    fn place(&self, address: IpAddr) -> (u32, u64) {
        let hash = keyed_hash(self.seed, address);
        #[expect(clippy::cast_possible_truncation, reason = "masked to the number of buckets, at most 2^30")]
        let bucket = (hash as usize & (self.buckets.len() - 1)) as u32;
        (bucket, hash & !COUNT_MAX)
    }
}

/// What a bucket shows of one address.
struct Seen {
    connections: u64,
    /// A word that can count one more, and what it holds.
    room: Option<(usize, u64)>,
}

impl Seen {
    fn new(words: &[AtomicU64; BUCKET_WORDS], tag: u64) -> Seen {
        let mut connections = 0;
        let (mut own, mut free) = (None, None);
        for (word, holder) in words.iter().enumerate() {
            let held = holder.load(Ordering::Relaxed);
            let count = held & COUNT_MAX;
            if count == 0 {
                free = free.or(Some((word, held)));
            } else if held & !COUNT_MAX == tag {
                connections += count;
                // A word that can't count further is passed over: the address takes another beside it.
                own = own.or((count < COUNT_MAX).then_some((word, held)));
            }
        }
        Seen { connections, room: own.or(free) }
    }
}

/// SipHash-2-4 of what identifies a peer: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber has.
pub(crate) fn keyed_hash(seed: (u64, u64), address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => keyed_hash_of(seed, &v4.octets()),
        IpAddr::V6(v6) => keyed_hash_of(seed, &v6.octets()[..8]),
    }
}

/// The low half of that hash; in the high half one of the network: an IPv6 address's /48, which a site may have as easily.
pub(crate) fn keyed_hash_with_network(seed: (u64, u64), address: IpAddr) -> u64 {
    let network = match address.to_canonical() {
        IpAddr::V4(v4) => keyed_hash_of(seed, &v4.octets()),
        IpAddr::V6(v6) => keyed_hash_of(seed, &v6.octets()[..6]),
    };
    network << 32 | keyed_hash(seed, address) & u64::from(u32::MAX)
}

fn keyed_hash_of(seed: (u64, u64), bytes: &[u8]) -> u64 {
    #[expect(deprecated, reason = "of the standard library's hashers, the one that takes its key")]
    let mut hasher = std::hash::SipHasher::new_with_keys(seed.0, seed.1);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const SEED: (u64, u64) = (7, 11);

    fn parse(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    fn v4(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    /// So many addresses that hash to one bucket.
    fn neighbours(admission: &Admission, count: usize) -> Vec<Option<IpAddr>> {
        (0..).map(v4).filter(|address| admission.place(address.unwrap()).0 == 0).take(count).collect()
    }

    fn check_empty(admission: &Admission) {
        assert_eq!(admission.connections(), 0);
        for word in admission.buckets.iter().flat_map(|bucket| &bucket.0) {
            assert_eq!(word.load(Ordering::Relaxed) & COUNT_MAX, 0);
        }
    }

    #[test]
    fn both_limits_hold_and_a_release_makes_room() {
        let admission = Admission::new(3, 2, SEED);
        let first = admission.claim(v4(1)).unwrap();
        let second = admission.claim(v4(1)).unwrap();
        assert_eq!(admission.claim(v4(1)), Err(Refused::PerAddress));
        let third = admission.claim(v4(2)).unwrap();
        assert_eq!(admission.claim(v4(3)), Err(Refused::Total));
        assert_eq!(admission.claim(v4(1)), Err(Refused::Total));
        admission.release(third);
        assert_eq!(admission.claim(v4(1)), Err(Refused::PerAddress));
        admission.release(first);
        let fourth = admission.claim(v4(1)).unwrap();
        assert_eq!((admission.connections(), admission.untracked_total()), (2, 0));
        admission.release(second);
        admission.release(fourth);
        check_empty(&admission);
    }

    #[test]
    fn other_limits_hold_for_who_comes_next_and_send_nobody_away() {
        let admission = Admission::new(4, 4, SEED);
        let claims: Vec<Claim> = (1..=3).map(|_| admission.claim(v4(1)).unwrap()).collect();
        admission.set_limits(2, 1);
        assert_eq!(admission.claim(v4(2)), Err(Refused::Total));
        admission.set_limits(4, 3);
        assert_eq!(admission.claim(v4(1)), Err(Refused::PerAddress));
        admission.set_limits(4, 0);
        let uncounted = admission.claim(v4(1)).unwrap();
        admission.release(uncounted);
        claims.into_iter().for_each(|claim| admission.release(claim));
        check_empty(&admission);
    }

    #[test]
    fn limits_that_the_table_is_too_small_for_are_refused() {
        let admission = Admission::new(100, 4, SEED);
        // Its buckets are a power of two: 32 of 16 words, four words for each connection.
        assert!(admission.has_room_for(128, 50) && !admission.has_room_for(129, 50));
        assert!(admission.has_room_for(1_000_000, 0));
        let without = Admission::new(100, 0, SEED);
        assert!(without.has_room_for(1_000_000, 0) && !without.has_room_for(100, 1));
    }

    #[test]
    fn an_ipv6_subscriber_counts_by_its_64_and_a_mapped_address_as_ipv4() {
        for (one, other, are_one) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.8", false),
            ("192.0.2.7", "c000:207::", false),
        ] {
            let admission = Admission::new(10, 1, SEED);
            let claim = admission.claim(parse(one)).unwrap();
            assert_eq!(admission.claim(parse(other)).is_err(), are_one, "{one} and {other}");
            admission.release(claim);
        }
    }

    #[test]
    fn an_unknown_address_and_no_limit_count_in_all_only() {
        for (per_address_max, address) in [(1, None), (0, v4(1))] {
            let admission = Admission::new(2, per_address_max, SEED);
            let claims = [admission.claim(address).unwrap(), admission.claim(address).unwrap()];
            assert_eq!(admission.claim(address), Err(Refused::Total));
            claims.into_iter().for_each(|claim| admission.release(claim));
            check_empty(&admission);
        }
        assert!(Admission::new(1000, 0, SEED).buckets.is_empty());
    }

    #[test]
    fn an_address_without_a_word_counts_in_all_only_and_is_counted() {
        let admission = Admission::new(64, 1, SEED);
        let addresses = neighbours(&admission, BUCKET_WORDS + 1);
        let mut claims: Vec<Claim> =
            addresses.iter().map(|address| admission.claim(*address).unwrap()).collect();
        let [.., tracked, untracked] = addresses[..] else { panic!("there are many") };
        assert_eq!(admission.claim(tracked), Err(Refused::PerAddress));
        claims.push(admission.claim(untracked).unwrap());
        assert_eq!((admission.connections(), admission.untracked_total()), (18, 2));
        claims.into_iter().for_each(|claim| admission.release(claim));
        check_empty(&admission);
        let claim = admission.claim(untracked).unwrap();
        assert_eq!(admission.claim(untracked), Err(Refused::PerAddress));
        admission.release(claim);
    }

    #[test]
    fn an_address_may_count_further_than_one_word_does() {
        let admission = Admission::new(200_000, 150_000, SEED);
        let claims: Vec<Claim> = (0..150_000).map(|_| admission.claim(v4(1)).unwrap()).collect();
        assert_eq!(admission.claim(v4(1)), Err(Refused::PerAddress));
        claims.into_iter().for_each(|claim| admission.release(claim));
        check_empty(&admission);
    }

    #[test]
    fn addresses_of_one_network_share_the_high_half_of_their_hash() {
        let hash = |address: &str| keyed_hash_with_network(SEED, parse(address).unwrap());
        let halves = |a: &str, b: &str| {
            (hash(a) >> 32 == hash(b) >> 32, hash(a) & u64::from(u32::MAX) == hash(b) & u64::from(u32::MAX))
        };
        assert_eq!(halves("2001:db8:1:2::3", "2001:db8:1:2::4"), (true, true));
        assert_eq!(halves("2001:db8:1:2::3", "2001:db8:1:3::3"), (true, false));
        assert_eq!(halves("2001:db8:1:2::3", "2001:db8:2:2::3"), (false, false));
        assert_eq!(halves("192.0.2.1", "192.0.2.2"), (false, false));
        assert_eq!(halves("192.0.2.1", "::ffff:192.0.2.1"), (true, true));
    }

    #[test]
    fn the_seed_decides_which_addresses_are_neighbours() {
        let (one, other) = (Admission::new(64, 1, SEED), Admission::new(64, 1, (SEED.1, SEED.0)));
        let still = |address: &Option<IpAddr>| other.place(address.unwrap()).0 == 0;
        assert!(!neighbours(&one, 16).iter().all(still));
    }

    /// What a step of the property test does: a claim from one of some addresses, another address for a held claim, or its release.
    #[derive(Clone, Debug)]
    enum Step {
        Claim(usize),
        Attribute(prop::sample::Index, usize),
        Release(prop::sample::Index),
    }

    /// Addresses some of which are one to the limit.
    fn addresses() -> Vec<(usize, Option<IpAddr>)> {
        let v6 = |prefix: u16, host| Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, prefix, 0, 0, 0, host)));
        vec![(0, v4(1)), (1, v4(2)), (2, v4(3)), (3, v6(1, 1)), (3, v6(1, 2)), (4, v6(2, 1)), (5, None)]
    }

    proptest! {
        #[test]
        fn one_thread_is_told_what_a_plain_count_says(
            connections_max in 0_u32..20,
            per_address_max in 0_u32..6,
            seed: (u64, u64),
            steps in prop::collection::vec(
                prop_oneof![
                    (0..7_usize).prop_map(Step::Claim),
                    (any::<prop::sample::Index>(), 0..6_usize).prop_map(|(held, which)| Step::Attribute(held, which)),
                    any::<prop::sample::Index>().prop_map(Step::Release),
                ],
                0..200,
            ),
        ) {
            let admission = Admission::new(connections_max, per_address_max, seed);
            let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
            let mut held: Vec<(usize, Claim)> = Vec::new();
            for step in steps {
                match step {
                    Step::Claim(which) => {
                        let (subscriber, address) = addresses()[which];
                        let limited = address.is_some() && per_address_max > 0;
                        let count = counts.entry(subscriber).or_default();
                        let expected = if held.len() >= connections_max as usize {
                            Some(Refused::Total)
                        } else if limited && *count >= per_address_max {
                            Some(Refused::PerAddress)
                        } else {
                            None
                        };
                        match admission.claim(address) {
                            Ok(claim) => {
                                prop_assert_eq!(expected, None);
                                *count += 1;
                                held.push((subscriber, claim));
                            }
                            Err(refused) => prop_assert_eq!(expected, Some(refused)),
                        }
                    }
                    Step::Release(_) | Step::Attribute(..) if held.is_empty() => {}
                    Step::Attribute(index, which) => {
                        let (subscriber, address) = addresses()[which];
                        // It counts for both while it is decided.
                        let is_full =
                            per_address_max > 0 && counts.get(&subscriber).is_some_and(|count| *count >= per_address_max);
                        let (before, claim) = held.swap_remove(index.index(held.len()));
                        let attributed = admission.attribute(claim, address.unwrap());
                        prop_assert_eq!(attributed.is_none(), is_full);
                        *counts.entry(before).or_default() -= 1;
                        if let Some(claim) = attributed {
                            *counts.entry(subscriber).or_default() += 1;
                            held.push((subscriber, claim));
                        }
                    }
                    Step::Release(index) => {
                        let (subscriber, claim) = held.swap_remove(index.index(held.len()));
                        admission.release(claim);
                        *counts.entry(subscriber).or_default() -= 1;
                    }
                }
                prop_assert_eq!(admission.connections() as usize, held.len());
            }
            prop_assert_eq!(admission.untracked_total(), 0);
            held.into_iter().for_each(|(_, claim)| admission.release(claim));
            check_empty(&admission);
        }
    }

    /// Threads claim and release as fast as they can, and count themselves what they hold.
    #[test]
    fn threads_together_never_hold_more_than_the_limits() {
        const THREADS: u32 = 4;
        const PER_ADDRESS_MAX: u32 = 3;
        const CONNECTIONS_MAX: u32 = 10;
        // With what the threads have claimed and may have to withdraw, as many as a bucket has words.
        const ADDRESSES: usize = 4;
        let admission = Arc::new(Admission::new(CONNECTIONS_MAX, PER_ADDRESS_MAX, SEED));
        // In one bucket, so that its words change hands all the time.
        let addresses = Arc::new(neighbours(&admission, ADDRESSES));
        let held: Arc<Vec<AtomicU32>> = Arc::new((0..=ADDRESSES).map(|_| AtomicU32::new(0)).collect());
        let work = |thread: u32| {
            let (admission, addresses, held) = (admission.clone(), addresses.clone(), held.clone());
            move || {
                let mut claims: Vec<(usize, Claim)> = Vec::new();
                let release = |(which, claim): (usize, Claim)| {
                    held[which].fetch_sub(1, Ordering::SeqCst);
                    held[ADDRESSES].fetch_sub(1, Ordering::SeqCst);
                    admission.release(claim);
                };
                let (mut chance, mut granted) = (u64::from(thread) + 1, 0);
                for _ in 0..100_000 {
                    chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    let which = (chance >> 33) as usize % ADDRESSES;
                    if claims.len() > 5 || (chance >> 60 < 7 && !claims.is_empty()) {
                        release(claims.swap_remove(which % claims.len()));
                    } else if let Ok(claim) = admission.claim(addresses[which]) {
                        assert!(held[which].fetch_add(1, Ordering::SeqCst) < PER_ADDRESS_MAX);
                        assert!(held[ADDRESSES].fetch_add(1, Ordering::SeqCst) < CONNECTIONS_MAX);
                        granted += 1;
                        claims.push((which, claim));
                    }
                }
                claims.into_iter().for_each(release);
                granted
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| thread::spawn(work(thread))).collect();
        let granted: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(granted > 0);
        assert_eq!(admission.untracked_total(), 0);
        check_empty(&admission);
    }
}

/// Every interleaving and every reordering that the memory model allows, of small programs.
#[cfg(test)]
#[cfg(loom)]
mod model {
    use std::net::Ipv4Addr;

    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Three addresses of one bucket, which has two words.
    fn neighbours(admission: &Admission) -> [Option<IpAddr>; 3] {
        let all = (0..).map(|number| IpAddr::V4(Ipv4Addr::from_bits(number)));
        let mut those = all.filter(|address| admission.place(*address).0 == 0);
        std::array::from_fn(|_| those.next())
    }

    /// Two threads claim for the one place of an address, while one of them frees the word before the one that the
    /// other may have seen free: so each may count itself in another word.
    fn check_last_place(claim: fn(&Admission, Option<IpAddr>) -> Result<Claim, Refused>) {
        loom::model(move || {
            let admission = Arc::new(Admission::new(8, 1, (1, 2)));
            let [contested, passing, _] = neighbours(&admission);
            let earlier = admission.claim(passing).unwrap();
            let theirs = admission.clone();
            let thread = thread::spawn(move || claim(&theirs, contested));
            admission.release(earlier);
            let mine = claim(&admission, contested);
            let yours = thread.join().unwrap();
            let held = [mine, yours].into_iter().flatten();
            let released: Vec<()> = held.map(|claim| admission.release(claim)).collect();
            assert!(released.len() <= 1, "limit exceeded");
            check_empty(&admission);
        });
    }

    fn check_empty(admission: &Admission) {
        assert_eq!(admission.connections(), 0);
        let words = admission.buckets.iter().flat_map(|bucket| &bucket.0);
        assert!(words.into_iter().all(|word| word.load(Ordering::Relaxed) & COUNT_MAX == 0));
    }

    #[test]
    fn an_address_never_holds_more_than_its_limit() {
        check_last_place(Admission::claim);
    }

    #[test]
    #[should_panic(expected = "limit exceeded")]
    fn the_check_finds_a_claim_without_its_fence() {
        check_last_place(|admission, address| admission.claim_settled_by(address, || ()));
    }

    #[test]
    fn the_limit_in_all_is_exact() {
        loom::model(|| {
            let admission = Arc::new(Admission::new(1, 1, (1, 2)));
            let [one, other, _] = neighbours(&admission);
            let theirs = admission.clone();
            let thread = thread::spawn(move || theirs.claim(one));
            let both = [admission.claim(other), thread.join().unwrap()];
            assert_eq!(both.iter().filter(|claim| claim.is_ok()).count(), 1);
            both.into_iter().flatten().for_each(|claim| admission.release(claim));
            check_empty(&admission);
        });
    }

    #[test]
    fn an_attribution_beside_a_claim_exceeds_no_limit() {
        loom::model(|| {
            let admission = Arc::new(Admission::new(8, 1, (1, 2)));
            let [contested, passing, _] = neighbours(&admission);
            let earlier = admission.claim(passing).unwrap();
            let theirs = admission.clone();
            let thread = thread::spawn(move || theirs.claim(contested));
            // Frees the word before the one that the other may have seen free.
            let mine = admission.attribute(earlier, contested.unwrap());
            let yours = thread.join().unwrap();
            let held: Vec<Claim> = mine.into_iter().chain(yours).collect();
            assert!(held.len() <= 1, "limit exceeded");
            held.into_iter().for_each(|claim| admission.release(claim));
            check_empty(&admission);
        });
    }

    #[test]
    fn a_release_beside_a_claim_loses_no_count() {
        loom::model(|| {
            let admission = Arc::new(Admission::new(8, 2, (1, 2)));
            let [address, ..] = neighbours(&admission);
            let earlier = admission.claim(address).unwrap();
            let theirs = admission.clone();
            let thread = thread::spawn(move || theirs.release(earlier));
            let mine = admission.claim(address).unwrap();
            thread.join().unwrap();
            let second = admission.claim(address).unwrap();
            assert_eq!(admission.claim(address), Err(Refused::PerAddress));
            [mine, second].into_iter().for_each(|claim| admission.release(claim));
            check_empty(&admission);
        });
    }

    #[test]
    fn words_of_a_full_bucket_change_hands_whole() {
        loom::model(|| {
            let admission = Arc::new(Admission::new(8, 1, (1, 2)));
            let [first, second, third] = neighbours(&admission);
            let claims = [admission.claim(first).unwrap(), admission.claim(second).unwrap()];
            let theirs = admission.clone();
            let thread = thread::spawn(move || claims.into_iter().for_each(|claim| theirs.release(claim)));
            // Granted at once, in a word or, as long as none is free, without.
            let mine = admission.claim(third).unwrap();
            thread.join().unwrap();
            admission.release(mine);
            check_empty(&admission);
        });
    }
}
