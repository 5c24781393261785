//! Whether it pays an idle shard to poll before it parks. PURE. Home: one shard.
//!
//! What comes while a shard polls is answered sooner, by what a wake-up takes; until it comes the core is spent. Where messages are
//! 30 us apart, polling fills a core that parking leaves half free. So polling has an account: what came while the shard polled pays in what that is worth, the time polled is paid out, and there is polling only
//! while something is left. A shard that parks at once saves a little, for a trial now and then.
//!
//! Time for which the thread was kept from its core while it polled counts as polled: somebody else wants the core, and polling would
//! go on to take it from them and use up the shard's own share for nothing.
//!
//! Invariants: never more than the longest poll in the account, nor more in debt than `DEBT_POLLS` of it; without a longest poll
//! nothing is ever polled.

/// What it is worth that something came while the shard polled, as a share of the longest poll: of the usual 50 us 10 us, between
/// the processor's time that parking and waking take and what waking adds to a round trip.
const WORTH_SHARE: u64 = 5;
/// What parking at once saves for the next trial, as a share of that worth: a trial that fails costs so much of the parks before.
const SAVED_SHARE: u64 = 16;
/// The deepest debt, in longest polls: how much somebody else has to have had of the core for the shard to be as wary as it gets.
const DEBT_POLLS: u64 = 20;

/// See the file's head.
#[derive(Debug)]
pub struct SpinAccount {
    longest_ns: u64,
    balance_ns: i64,
    /// Until the account is empty; and again when it has enough for a trial.
    is_open: bool,
    /// The idle time under way was polled, if only once.
    has_polled: bool,
}

impl SpinAccount {
    /// An account that is full, of a shard that polls for `longest_ns` at most; 0 never polls.
    #[must_use]
    pub fn new(longest_ns: u32) -> SpinAccount {
        SpinAccount {
            longest_ns: u64::from(longest_ns),
            balance_ns: i64::from(longest_ns),
            is_open: longest_ns > 0,
            has_polled: false,
        }
    }

    /// Whether a shard that has had nothing to do for so long is to poll once more.
    pub fn poll(&mut self, idle_ns: u64) -> bool {
        let may_poll = self.is_open && signed(idle_ns) < self.balance_ns;
        self.has_polled |= may_poll;
        may_poll
    }

    /// There was something to do, after so long without.
    pub fn worked(&mut self, idle_ns: u64) {
        if std::mem::take(&mut self.has_polled) {
            self.pay(self.worth_ns(), idle_ns);
        }
    }

    /// The shard parks, after so long without anything to do.
    pub fn parked(&mut self, idle_ns: u64) {
        if std::mem::take(&mut self.has_polled) {
            self.pay(0, idle_ns);
        } else if !self.is_open {
            self.balance_ns += signed(self.worth_ns().div_ceil(SAVED_SHARE));
            self.is_open = self.longest_ns > 0 && self.balance_ns >= signed(self.worth_ns());
        }
    }

    fn worth_ns(&self) -> u64 {
        self.longest_ns / WORTH_SHARE
    }

    fn pay(&mut self, in_ns: u64, out_ns: u64) {
        let balance_ns = (self.balance_ns + signed(in_ns)).saturating_sub(signed(out_ns));
        self.balance_ns = balance_ns.clamp(-signed(self.longest_ns * DEBT_POLLS), signed(self.longest_ns));
        self.is_open = self.balance_ns > 0;
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// How long a shard polls and how often it parks, in all, where so many pieces of work each come this long after the one before.
    fn idle(account: &mut SpinAccount, gap_ns: u64, count: u64) -> (u64, u64) {
        let (mut polled_ns, mut parks) = (0, 0);
        for _ in 0..count {
            let mut idle_ns = 0;
            while idle_ns < gap_ns && account.poll(idle_ns) {
                idle_ns += 100;
            }
            polled_ns += idle_ns;
            if idle_ns < gap_ns {
                account.parked(idle_ns);
                parks += 1;
            }
            account.worked(gap_ns);
        }
        (polled_ns, parks)
    }

    #[test]
    fn what_comes_soon_is_polled_for_and_never_parked_for() {
        let mut account = SpinAccount::new(50_000);
        assert_eq!(idle(&mut account, 9 * US, 1_000), (9 * US * 1_000, 0));
    }

    #[test]
    fn what_comes_later_than_polling_is_worth_is_parked_for_but_for_a_trial_now_and_then() {
        let mut account = SpinAccount::new(50_000);
        for gap_ns in [12 * US, 30 * US, 500 * US] {
            idle(&mut account, gap_ns, 100);
            let (polled_ns, parks) = idle(&mut account, gap_ns, 1_600);
            assert!(parks >= 1_400, "{gap_ns}: {parks}");
            // At most what the parks have saved.
            assert!(polled_ns <= 1_600 * 10 * US / SAVED_SHARE + 50 * US, "{gap_ns}: {polled_ns}");
        }
    }

    #[test]
    fn a_trial_finds_that_work_comes_soon_again() {
        let mut account = SpinAccount::new(50_000);
        idle(&mut account, 500 * US, 100);
        idle(&mut account, 5 * US, 40);
        assert_eq!(idle(&mut account, 5 * US, 100).1, 0);
    }

    #[test]
    fn a_shard_that_was_kept_from_its_core_while_it_polled_parks_until_that_is_made_good() {
        let mut account = SpinAccount::new(50_000);
        assert!(account.poll(0));
        account.worked(4_000 * US);
        let (_, parks) = idle(&mut account, 5 * US, 5_000);
        assert_eq!(
            parks,
            (1_000 * US + 10 * US).div_ceil(625),
            "the deepest debt and a trial, by what each park saves"
        );
        assert_eq!(idle(&mut account, 5 * US, 100).1, 0);
    }

    #[test]
    fn without_a_longest_poll_nothing_is_polled() {
        let mut account = SpinAccount::new(0);
        assert_eq!(idle(&mut account, 1, 100_000), (0, 100_000));
    }

    #[test]
    fn the_longest_poll_is_the_most_even_for_who_always_finds_something() {
        let mut account = SpinAccount::new(50_000);
        idle(&mut account, US, 10_000);
        assert!(account.poll(49_999) && !account.poll(50_000));
    }

    #[test]
    fn no_length_of_idleness_is_too_much() {
        let mut account = SpinAccount::new(u32::MAX);
        assert!(account.poll(0));
        account.worked(u64::MAX);
        assert!(!account.poll(0));
        account.parked(u64::MAX);
        assert_eq!(
            account.balance_ns,
            -(i64::from(u32::MAX) * 20) + i64::from(u32::MAX / 5).div_euclid(16) + 1
        );
    }
}
