//! Which kept results hold no more: what backends say, to all shards. Home: the task of backends.
//!
//! Invariants: nothing that is said is lost: what comes too fast is put together, and so is what a shard has no room for; what waits is
//! bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::calls::{FromControl, Full, Switchboard};
use crate::model::ids::HomeId;
use crate::model::invalidation::{Gathered, Invalidation, Methods, Paced};

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Invalidating {
    /// What backends have said, by their names, and when.
    said: BTreeMap<Box<str>, Paced>,
    /// What shards have had no room for.
    owed: BTreeMap<HomeId, Gathered>,
}

impl Invalidating {
    /// A backend says that results of its methods hold no more.
    pub(super) fn add(&mut self, backend: &str, methods: Methods) {
        match self.said.get_mut(backend) {
            Some(paced) => paced.add(methods),
            None => self.said.entry(backend.into()).or_default().add(methods),
        }
    }

    /// The next that shards are to be told.
    pub(super) fn poll(&mut self, now_ns: u64) -> Option<Invalidation> {
        self.said.retain(|_, paced| !paced.is_idle(now_ns));
        self.said.iter_mut().find_map(|(name, paced)| {
            let methods = paced.poll(now_ns)?;
            Some(Invalidation { backend: Some(name.clone()), methods })
        })
    }

    /// When [`Invalidating::poll`] has something.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.said.values().filter_map(Paced::poll_timeout).min()
    }

    /// Tells all shards, to be announced by the board.
    pub(super) fn tell(&mut self, invalidation: Invalidation, board: &mut Switchboard) {
        let invalidation = Arc::new(invalidation);
        for home in board.shards() {
            let owed = self.owed.entry(home).or_default();
            let word = FromControl::Invalidated(Arc::clone(&invalidation));
            if !owed.is_empty() || board.send(home, word).is_err() {
                owed.add(Invalidation::clone(&invalidation));
            }
        }
    }

    /// Tells shards what they have had no room for; whether there is nothing left.
    pub(super) fn tell_owed(&mut self, board: &mut Switchboard) -> bool {
        for (home, owed) in &mut self.owed {
            while let Some(invalidation) = owed.pop() {
                let word = FromControl::Invalidated(Arc::new(invalidation));
                if let Err(Full(FromControl::Invalidated(back))) = board.send(*home, word) {
                    owed.add(Invalidation::clone(&back));
                    break;
                }
            }
        }
        self.owed.values().all(Gathered::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{self, CallPort};
    use crate::doorbell::Doorbell;
    use crate::limits;

    fn methods(method: &str) -> Methods {
        Methods::parse([method]).unwrap()
    }

    fn of(backend: &str, method: &str) -> Invalidation {
        Invalidation { backend: Some(backend.into()), methods: methods(method) }
    }

    /// What a shard is told, and how many other words before it.
    fn told(port: &mut CallPort) -> (Vec<Invalidation>, usize) {
        let (mut told, mut others) = (Vec::new(), 0);
        while let Some(word) = port.receive() {
            match word {
                FromControl::Invalidated(invalidation) => told.push(Invalidation::clone(&invalidation)),
                FromControl::Answered { .. }
                | FromControl::Progressed { .. }
                | FromControl::Text { .. }
                | FromControl::Taken { .. }
                | FromControl::Close { .. } => others += 1,
            }
        }
        (told, others)
    }

    #[test]
    fn each_backend_is_heard_at_once_and_then_some_times_a_second() {
        let mut invalidating = Invalidating::default();
        let all = |invalidating: &mut Invalidating, now_ns| {
            std::iter::from_fn(|| invalidating.poll(now_ns)).collect::<Vec<_>>()
        };
        invalidating.add("risk", methods("risk/x"));
        invalidating.add("desk", methods("desk/x"));
        assert_eq!(all(&mut invalidating, 5), [of("desk", "desk/x"), of("risk", "risk/x")]);
        (0..3).for_each(|_| invalidating.add("risk", methods("risk/y")));
        assert_eq!(all(&mut invalidating, 6), []);
        let due_ns = invalidating.poll_timeout().unwrap();
        assert_eq!(due_ns, 5 + limits::INVALIDATIONS_APART_NS);
        assert_eq!(all(&mut invalidating, due_ns), [of("risk", "risk/y")]);
        assert_eq!(all(&mut invalidating, 2 * due_ns), []);
        assert!(invalidating.said.is_empty(), "what a backend said once is not kept");
    }

    #[test]
    fn a_shard_without_room_is_told_later_and_the_others_at_once() {
        let bells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let (mut board, mut ports) = calls::lines(bells).unwrap();
        let mut invalidating = Invalidating::default();
        let conn = crate::model::ids::ConnId { slot: 1, generation: 1 };
        for _ in 0..limits::CALL_WORDS_PER_SHARD_MAX {
            board.send(HomeId(0), FromControl::Taken { conn, messages: 1 }).unwrap();
        }
        invalidating.tell(of("risk", "risk/x"), &mut board);
        invalidating.tell(of("risk", "risk/y"), &mut board);
        assert!(!invalidating.tell_owed(&mut board));
        assert_eq!(told(&mut ports[1]), (vec![of("risk", "risk/x"), of("risk", "risk/y")], 0));
        assert_eq!(told(&mut ports[0]), (vec![], limits::CALL_WORDS_PER_SHARD_MAX));
        assert!(invalidating.tell_owed(&mut board));
        let both = Methods::parse(["risk/x", "risk/y"]).unwrap();
        assert_eq!(told(&mut ports[0]).0, [Invalidation { backend: Some("risk".into()), methods: both }]);
    }
}
