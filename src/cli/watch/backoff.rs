//! How long to wait before the next attempt to connect. PURE.

/// The wait after a first cut.
const FIRST_MS: u64 = 100;
/// However long a server is away, somebody at a terminal should see it back soon.
const LONGEST_MS: u64 = 10_000;

/// Doubling waits with half of each random, so that a thousand clients do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next_ms: u64,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { next_ms: FIRST_MS, random: seed | 1 }
    }

    /// The wait before the next attempt, in milliseconds.
    pub(super) fn wait_ms(&mut self) -> u64 {
        let whole = self.next_ms;
        self.next_ms = (whole * 2).min(LONGEST_MS);
        // xorshift64 (Marsaglia 2003): spreads, no more is needed.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        whole / 2 + self.random % (whole / 2 + 1)
    }

    /// A connection stood: the next cut begins anew.
    pub(super) fn reset(&mut self) {
        self.next_ms = FIRST_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_begins_anew() {
        let mut backoff = Backoff::new(7);
        for whole in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let wait = backoff.wait_ms();
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
        }
        backoff.reset();
        assert!(backoff.wait_ms() <= 100);
    }

    #[test]
    fn two_clients_wait_differently() {
        let waits = |seed| {
            std::iter::repeat_with({
                let mut backoff = Backoff::new(seed);
                move || backoff.wait_ms()
            })
        };
        assert!(waits(1).zip(waits(99)).take(8).any(|(one, other)| one != other));
    }
}
