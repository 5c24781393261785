//! What nodes tell each other of kept results that hold no more, so that none of it is lost unnoticed. PURE. Home: the control thread.
//!
//! Each node says the same to all others, numbered, and each second its newest number beside. Whoever misses one sees so by the number that comes
//! next, and forgets all that it has kept. Invariants: what another node said is forgotten here, or everything is, within a second of the next
//! word that comes from there; nothing that comes from elsewhere makes anything be told that would not be asked for anew; what is
//! remembered of others is bounded.

use crate::limits;
use crate::model::invalidation::{Invalidation, Methods};

use super::names::ClusterName;
use super::wire::{Put, Reader, WIRE_VERSION, WireFault};

const NOTICE: u8 = 4;

/// A process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teller {
    pub node: ClusterName,
    /// Another number for each start.
    pub incarnation: u64,
}

/// What crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub teller: Teller,
    /// Of what is said with it, else the newest that was: 0 before the first.
    pub number: u64,
    pub said: Option<Invalidation>,
}

/// What was told and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeCounters {
    /// Invalidations for other nodes, whether NATS was there or not.
    pub told_total: u64,
    /// Those of other nodes.
    pub heard_total: u64,
    /// Times when everything was forgotten, since some of those were lost, or may have been.
    pub gaps_total: u64,
    /// What came and is no notice.
    pub odd_total: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Notices {
    me: Teller,
    /// The newest that was said.
    number: u64,
    /// When the number is to be said again.
    due_ns: u64,
    others: Vec<Other>,
    pub counters: NoticeCounters,
}

#[derive(Debug)]
struct Other {
    teller: Teller,
    /// The newest that it is known to have said.
    number: u64,
    heard_ns: u64,
}

impl Notices {
    #[must_use]
    pub fn new(me: Teller) -> Notices {
        Notices { me, number: 0, due_ns: 0, others: Vec::new(), counters: NoticeCounters::default() }
    }

    /// What other nodes are to be told; where that cannot be, its number tells them later.
    pub fn say(&mut self, invalidation: Invalidation) -> Vec<u8> {
        self.number += 1;
        self.counters.told_total += 1;
        Notice { teller: self.me, number: self.number, said: Some(invalidation) }.encode()
    }

    /// The number alone, each second.
    pub fn poll_number(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if now_ns < self.due_ns {
            return None;
        }
        self.due_ns = now_ns.saturating_add(limits::CLUSTER_NOTICE_NS);
        Some(Notice { teller: self.me, number: self.number, said: None }.encode())
    }

    /// When [`Notices::poll_number`] has something, on the monotonic clock.
    #[must_use]
    pub const fn poll_timeout(&self) -> u64 {
        self.due_ns
    }

    /// NATS is there, for the first time or again: what is to be forgotten since others may have spoken meanwhile. They hear the number at once.
    pub fn handle_back(&mut self) -> Invalidation {
        self.due_ns = 0;
        self.counters.gaps_total += 1;
        Invalidation::everything()
    }

    /// Takes what came, and says what is to be forgotten by it.
    pub fn handle_notice(&mut self, bytes: &[u8], now_ns: u64) -> Option<Invalidation> {
        let Ok(Notice { teller, number, said }) = Notice::decode(bytes) else {
            self.counters.odd_total += 1;
            return None;
        };
        if teller == self.me {
            return None;
        }
        self.counters.heard_total += u64::from(said.is_some());
        let known = self.exchange(teller, number, now_ns);
        if known + u64::from(said.is_some()) == number {
            return said;
        }
        self.counters.gaps_total += 1;
        Some(Invalidation::everything())
    }

    /// The number that was known of another node until now; 0 of one that was not.
    fn exchange(&mut self, teller: Teller, number: u64, now_ns: u64) -> u64 {
        if let Some(known) = self.others.iter_mut().find(|known| known.teller == teller) {
            known.heard_ns = now_ns;
            return std::mem::replace(&mut known.number, number);
        }
        if self.others.len() == limits::CLUSTER_TELLERS_MAX {
            let oldest = self.others.iter().enumerate().min_by_key(|(_, known)| known.heard_ns);
            let (oldest, _) = oldest.expect("invariant: there are as many as may be");
            self.others.swap_remove(oldest);
        }
        self.others.push(Other { teller, number, heard_ns: now_ns });
        0
    }
}

impl Notice {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![WIRE_VERSION, NOTICE];
        out.put_run(self.teller.node.as_str().as_bytes());
        out.put_u64(self.teller.incarnation);
        out.put_u64(self.number);
        out.put_u8(u8::from(self.said.is_some()));
        if let Some(Invalidation { backend, methods }) = &self.said {
            out.put_u8(u8::from(backend.is_some()));
            backend.iter().for_each(|backend| out.put_run(backend.as_bytes()));
            out.put_count(methods.patterns().len());
            methods.patterns().iter().for_each(|pattern| out.put_run(pattern.as_bytes()));
        }
        out
    }

    /// # Errors
    /// See [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Notice, WireFault> {
        let mut reader = Reader::message(bytes, NOTICE)?;
        let node = ClusterName::parse(reader.run()?).ok_or(WireFault::Value)?;
        let teller = Teller { node, incarnation: reader.u64()? };
        // So that one more is a number too.
        let number = reader.seq()?.0;
        let said = if reader.flag()? { Some(read_invalidation(&mut reader)?) } else { None };
        if reader.is_empty() && (number > 0 || said.is_none()) {
            Ok(Notice { teller, number, said })
        } else {
            Err(WireFault::Value)
        }
    }
}

fn read_invalidation(reader: &mut Reader<'_>) -> Result<Invalidation, WireFault> {
    let backend = if reader.flag()? { Some(backend_name(reader.text()?)?) } else { None };
    // A length and a byte each.
    let count = reader.count(5)?;
    if count > limits::INVALIDATED_METHODS_MAX {
        return Err(WireFault::Value);
    }
    let patterns: Vec<&str> = (0..count).map(|_| reader.text()).collect::<Result<_, WireFault>>()?;
    let methods = Methods::parse(patterns.iter().copied()).map_err(|_| WireFault::Value)?;
    // As it is written: none twice, and nothing beside all there are.
    if methods.patterns().len() == count {
        Ok(Invalidation { backend, methods })
    } else {
        Err(WireFault::Value)
    }
}

/// A backend's name is written as a node's is.
fn backend_name(text: &str) -> Result<Box<str>, WireFault> {
    ClusterName::parse(text.as_bytes()).map(|_| text.into()).ok_or(WireFault::Value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn teller(node: &str, incarnation: u64) -> Teller {
        Teller { node: ClusterName::parse(node.as_bytes()).unwrap(), incarnation }
    }

    fn node(name: &str) -> Notices {
        Notices::new(teller(name, 1))
    }

    fn of(backend: Option<&str>, patterns: &[&str]) -> Invalidation {
        let methods = Methods::parse(patterns.iter().copied()).unwrap();
        Invalidation { backend: backend.map(Into::into), methods }
    }

    fn some() -> Invalidation {
        of(Some("risk"), &["risk/*"])
    }

    #[test]
    fn what_one_node_says_is_forgotten_by_the_others_and_not_by_itself() {
        let (mut one, mut two) = (node("one"), node("two"));
        for _ in 0..3 {
            let bytes = one.say(some());
            assert_eq!(two.handle_notice(&bytes, 0), Some(some()));
            assert_eq!(one.handle_notice(&bytes, 0), None);
        }
        let number = one.poll_number(0).unwrap();
        assert_eq!((two.handle_notice(&number, 0), one.poll_number(0)), (None, None));
        assert_eq!(one.poll_timeout(), limits::CLUSTER_NOTICE_NS);
        assert_eq!((two.counters.heard_total, two.counters.gaps_total), (3, 0));
        assert_eq!((one.counters.told_total, one.counters.heard_total), (3, 0));
    }

    #[test]
    fn whoever_misses_a_word_forgets_everything_by_the_next_or_by_its_number() {
        let (mut one, mut two) = (node("one"), node("two"));
        two.handle_notice(&one.say(some()), 0);
        let (_lost, next) = (one.say(some()), one.say(some()));
        assert_eq!(two.handle_notice(&next, 0), Some(Invalidation::everything()));
        assert_eq!(two.handle_notice(&one.say(some()), 0), Some(some()));
        let _lost = one.say(some());
        let number = one.poll_number(0).unwrap();
        assert_eq!(two.handle_notice(&number, 0), Some(Invalidation::everything()));
        assert_eq!(two.handle_notice(&number, 0), None);
        // One that comes twice, or late.
        assert_eq!(two.handle_notice(&next, 0), Some(Invalidation::everything()));
        assert_eq!(two.handle_notice(&number, 0), Some(Invalidation::everything()));
        assert_eq!(two.counters.gaps_total, 4);
    }

    #[test]
    fn a_node_that_has_spoken_before_it_was_heard_may_have_been_missed() {
        let (mut one, mut two) = (node("one"), node("two"));
        assert_eq!(two.handle_notice(&one.poll_number(0).unwrap(), 0), None);
        one.say(some());
        let mut three = node("three");
        assert_eq!(three.handle_notice(&one.say(some()), 0), Some(Invalidation::everything()));
        // Another process of that node begins anew.
        let mut again = Notices::new(teller("one", 2));
        assert_eq!(three.handle_notice(&again.say(some()), 0), Some(some()));
        assert_eq!(three.others.len(), 2);
    }

    #[test]
    fn when_nats_is_back_everything_is_forgotten_and_the_others_hear_the_number_at_once() {
        let (mut one, mut two) = (node("one"), node("two"));
        two.handle_notice(&one.poll_number(0).unwrap(), 0);
        let _while_it_was_away = one.say(some());
        assert_eq!(one.handle_back(), Invalidation::everything());
        let number = one.poll_number(1).unwrap();
        assert_eq!(two.handle_notice(&number, 0), Some(Invalidation::everything()));
    }

    #[test]
    fn so_many_others_are_remembered_the_one_that_was_silent_for_longest_is_not() {
        let mut me = node("me");
        let mut others: Vec<Notices> = (0..=limits::CLUSTER_TELLERS_MAX as u64)
            .map(|number| Notices::new(teller("other", number)))
            .collect();
        for (now_ns, other) in (0..).zip(&mut others) {
            assert_eq!(me.handle_notice(&other.say(some()), now_ns), Some(some()));
        }
        assert_eq!(me.others.len(), limits::CLUSTER_TELLERS_MAX);
        assert_eq!(me.handle_notice(&others[1].say(some()), 1_000), Some(some()));
        assert_eq!(me.handle_notice(&others[0].say(some()), 1_000), Some(Invalidation::everything()));
    }

    #[test]
    fn what_is_no_notice_is_counted_and_does_nothing() {
        let (mut one, mut me) = (node("one"), node("me"));
        let good = one.say(of(None, &["a/x", "b/*"]));
        assert_eq!(Notice::decode(&good).unwrap().encode(), good);
        let twice = Notice { said: Some(of(None, &["a/x"])), ..Notice::decode(&good).unwrap() }.encode();
        // The same method twice.
        let mut twice =
            [&twice[..twice.len() - 11], &[2, 0, 0, 0, 3, 0, 0, 0], b"a/x", &[3, 0, 0, 0], b"a/x"].concat();
        assert_eq!(Notice::decode(&twice), Err(WireFault::Value));
        twice[0] = 9;
        assert_eq!(Notice::decode(&twice), Err(WireFault::Version(9)));
        for bytes in [&b""[..], &good[..good.len() - 1], &[&good[..], b"x"].concat(), &twice] {
            assert_eq!(me.handle_notice(bytes, 0), None);
        }
        assert_eq!((me.counters.odd_total, me.others.len()), (4, 0));
    }

    proptest! {
        /// What one node has said and the other has not forgotten: nothing, whenever that hears anything.
        #[test]
        fn whatever_is_lost_nothing_stale_is_left_once_the_last_number_is_heard(
            steps in prop::collection::vec((0u8..4, any::<bool>()), 1..60),
        ) {
            let (mut one, mut two) = (node("one"), node("two"));
            // Said and not forgotten by the other.
            let mut stale = 0;
            for (now_ns, (step, is_lost)) in (0..).zip(steps) {
                let bytes = match step {
                    0 | 1 => {
                        stale += 1;
                        one.say(some())
                    }
                    2 => one.poll_number(u64::MAX).unwrap_or_default(),
                    _ => {
                        two.handle_back();
                        stale = 0;
                        continue;
                    }
                };
                if is_lost || bytes.is_empty() {
                    continue;
                }
                match two.handle_notice(&bytes, now_ns) {
                    Some(all) if all == Invalidation::everything() => stale = 0,
                    Some(_) => stale -= 1,
                    None => {}
                }
                prop_assert_eq!(stale, 0, "whatever is heard says what was lost before it");
            }
        }

        #[test]
        fn any_bytes_are_a_notice_that_is_written_so_or_a_fault(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            cut in any::<prop::sample::Index>(), flip in any::<u8>(),
        ) {
            let mut good = node("one").say(of(Some("risk"), &["risk/var", "a/*"]));
            let at = cut.index(good.len());
            good[at] ^= flip;
            for bytes in [bytes, good] {
                if let Ok(notice) = Notice::decode(&bytes) {
                    prop_assert_eq!(notice.encode(), bytes);
                }
            }
        }
    }
}
