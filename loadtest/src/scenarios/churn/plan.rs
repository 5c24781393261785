//! What each cycle of the churn does, by its number alone. PURE.
//! Invariant: of any run of numbers the asked share is abrupt, to one cycle; the ways take turns within each half.

/// How a cycle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Upgrade, perhaps hear something, say goodbye with 1000 and wait for the answer and the end.
    Polite(Listening),
    /// Gone at some moment without a word.
    Abrupt(Moment, Leaving),
}

/// What a polite cycle hears before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    Nothing,
    /// Subscribes the market's channel of this number, counted round, and waits for its first notification.
    Market(u64),
    /// Subscribes a topic, publishes to it and waits for what it published.
    OwnTopic,
}

/// When an abrupt cycle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Connected, nothing sent.
    Silent,
    HalfHead,
    Upgraded,
    /// Half of a frame is sent.
    MidFrame,
    /// A subscription's reply has arrived and is not read.
    Unread,
}

/// How an abrupt cycle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaving {
    Reset,
    Close,
}

const MOMENTS: [Moment; 5] =
    [Moment::Silent, Moment::HalfHead, Moment::Upgraded, Moment::MidFrame, Moment::Unread];
/// Of the polite cycles that listen, one in so many does so to its own topic.
const OWN_TOPIC_EVERY: u64 = 8;

/// Cycle `index` where `abrupt_percent` of 100 are abrupt.
pub(crate) fn plan(index: u64, abrupt_percent: u64) -> Plan {
    // How many abrupt ones precede this one; it is abrupt itself if one more precedes the next.
    let abrupt_before = |index: u64| {
        u64::try_from(u128::from(index) * u128::from(abrupt_percent) / 100)
            .expect("invariant: at most 100 % of a u64")
    };
    let abrupt = abrupt_before(index);
    if abrupt < abrupt_before(index + 1) {
        let moment = MOMENTS[usize::try_from(abrupt % 5).expect("invariant: below 5")];
        let leaving = if abrupt / 5 % 2 == 0 { Leaving::Reset } else { Leaving::Close };
        return Plan::Abrupt(moment, leaving);
    }
    let polite = index - abrupt;
    let listening = polite / 2;
    Plan::Polite(match (polite % 2, listening % OWN_TOPIC_EVERY) {
        (0, _) => Listening::Nothing,
        (_, 0) => Listening::OwnTopic,
        _ => Listening::Market(listening),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn is_abrupt(plan: Plan) -> bool {
        matches!(plan, Plan::Abrupt(..))
    }

    #[test]
    fn the_asked_share_is_abrupt_in_any_run_of_cycles() {
        for percent in [0, 1, 30, 50, 99, 100] {
            for start in [0, 1, 37] {
                let abrupt = (start..start + 1_000).filter(|index| is_abrupt(plan(*index, percent))).count();
                assert!(abrupt.abs_diff(usize::try_from(percent).unwrap() * 10) <= 1, "{percent} % {start}");
            }
        }
    }

    #[test]
    fn every_moment_has_both_ways_to_leave_equally_often() {
        let mut seen = BTreeMap::new();
        for index in 0..1_000 {
            if let Plan::Abrupt(moment, leaving) = plan(index, 50) {
                *seen.entry((moment, leaving)).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|count| *count == 50), "{seen:?}");
    }

    #[test]
    fn half_of_the_polite_listen_and_some_to_what_they_publish() {
        let plans: Vec<Plan> = (0..1_600).map(|index| plan(index, 0)).collect();
        let silent = plans.iter().filter(|plan| **plan == Plan::Polite(Listening::Nothing)).count();
        let own = plans.iter().filter(|plan| **plan == Plan::Polite(Listening::OwnTopic)).count();
        assert_eq!((silent, own), (800, 100));
    }
}
