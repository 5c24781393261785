//! Signatures that were taken, so that each is taken once. PURE.
//!
//! Invariants: a signature is remembered until its timestamp is out of the window, so none is ever taken twice; what is
//! remembered is bounded, in all and of one client, and past the bound signatures are refused, not forgotten. A client that
//! has few of them is not refused because others have many. Only signatures that hold are remembered: who has no secret
//! fills nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use super::signature::Digest;

#[derive(Debug)]
pub(super) struct Replays {
    taken: HashSet<Digest, BuildHasherDefault<DefaultHasher>>,
    of_clients: HashMap<Arc<str>, usize, BuildHasherDefault<DefaultHasher>>,
    /// Oldest first, each with the time until which it is remembered.
    order: VecDeque<(u64, Digest, Arc<str>)>,
    bounds: Bounds,
}

/// How many are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max: usize,
    pub(super) per_client_max: usize,
    /// Of one client, though all together have `max`.
    pub(super) fair_share: usize,
}

/// Why a signature is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untaken {
    Replayed,
    TooMany,
}

impl Replays {
    pub(super) fn new(bounds: Bounds) -> Replays {
        Replays { taken: HashSet::default(), of_clients: HashMap::default(), order: VecDeque::new(), bounds }
    }

    /// Remembers a signature that holds, until a time that is as far from `now_ms` for each of them.
    pub(super) fn take(
        &mut self,
        client_id: &Arc<str>,
        signature: Digest,
        now_ms: u64,
        until_ms: u64,
    ) -> Result<(), Untaken> {
        self.forget(now_ms);
        if self.taken.contains(&signature) {
            return Err(Untaken::Replayed);
        }
        let of_client = self.of_clients.get(client_id).copied().unwrap_or(0);
        let Bounds { max, per_client_max, fair_share } = self.bounds;
        let client_max = if self.taken.len() >= max { fair_share } else { per_client_max };
        if of_client >= client_max {
            return Err(Untaken::TooMany);
        }
        self.taken.insert(signature);
        *self.of_clients.entry(Arc::clone(client_id)).or_default() += 1;
        self.order.push_back((until_ms, signature, Arc::clone(client_id)));
        Ok(())
    }

    /// Forgets those whose time is over.
    fn forget(&mut self, now_ms: u64) {
        while let Some((_, signature, client_id)) =
            self.order.pop_front_if(|(until_ms, ..)| *until_ms < now_ms)
        {
            self.taken.remove(&signature);
            if let Some(count) = self.of_clients.get_mut(&client_id) {
                *count -= 1;
                if *count == 0 {
                    self.of_clients.remove(&client_id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_taken_once_while_it_could_come_again() {
        let mut replays = Replays::new(Bounds { max: 10, per_client_max: 10, fair_share: 1 });
        let client = Arc::from("a");
        assert_eq!(replays.take(&client, [1; 32], 100, 220), Ok(()));
        assert_eq!(replays.take(&client, [1; 32], 220, 340), Err(Untaken::Replayed));
        assert_eq!(replays.take(&client, [2; 32], 220, 340), Ok(()));
        assert_eq!(replays.take(&client, [1; 32], 221, 341), Ok(()), "its timestamp is too old by now");
    }

    #[test]
    fn one_client_fills_its_own_share_and_all_together_the_whole() {
        let mut replays = Replays::new(Bounds { max: 3, per_client_max: 3, fair_share: 2 });
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        for number in 1..=3 {
            assert_eq!(replays.take(&a, [number; 32], 0, 10), Ok(()));
        }
        assert_eq!(replays.take(&a, [4; 32], 0, 10), Err(Untaken::TooMany));
        assert_eq!(replays.take(&a, [1; 32], 0, 10), Err(Untaken::Replayed), "nothing was forgotten");
        for number in 5..=6 {
            assert_eq!(replays.take(&b, [number; 32], 0, 10), Ok(()), "it has its share all the same");
        }
        assert_eq!(replays.take(&b, [7; 32], 0, 10), Err(Untaken::TooMany));
        assert_eq!(replays.take(&a, [3; 32], 11, 21), Ok(()));
        assert_eq!((replays.taken.len(), replays.order.len(), replays.of_clients.len()), (1, 1, 1));
    }
}
