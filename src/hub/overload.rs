//! Whether the gateway has more to hold or to do than it can, and since when. PURE. Home: each shard and the venue.
//!
//! Two measures raise the stance: the memory of all threads together, and how long this shard's turns are. Memory leads
//! through both raised stances; turns lead to the first only, since closing slow consumers makes no turn shorter.
//! Invariants: a stance is left at a lower mark than it was entered at, and not before it has stood for the dwell time, so
//! that it does not flap; who was told of a raise is told of its end.

use crate::limits;

/// How much the gateway still takes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stance {
    #[default]
    Normal,
    /// What is there is served; who comes new is told to come later, and histories do not grow.
    Guarded,
    /// The costliest slow consumers are closed, market data conflates sooner, and nothing new is kept.
    Shedding,
}

impl Stance {
    /// Its name in logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Stance::Normal => "normal",
            Stance::Guarded => "guarded",
            Stance::Shedding => "shedding",
        }
    }

    /// Bytes of unsent data on a connection beyond which its subscriptions of class *latest* are spared events.
    #[must_use]
    pub const fn conflate_bytes(self) -> u32 {
        match self {
            Stance::Normal | Stance::Guarded => limits::CONFLATE_BYTES,
            Stance::Shedding => limits::CONFLATE_BYTES_SHEDDING,
        }
    }
}

/// Where a stance is entered and where it is left, in whatever is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub enter: u64,
    /// At most `enter`.
    pub leave: u64,
}

impl Mark {
    /// A mark that is never reached.
    pub const NEVER: Mark = Mark { enter: u64::MAX, leave: u64::MAX };

    /// Whether the stance stands, given whether it stood before.
    const fn holds(self, stood: bool, value: u64) -> bool {
        value >= self.enter || (stood && value > self.leave)
    }
}

/// What the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadMarks {
    /// Bytes that all threads hold at which the gateway is guarded, and at which it sheds.
    pub guard_bytes: Mark,
    pub shed_bytes: Mark,
    /// Nanoseconds of a shard's turns at which that shard is guarded.
    pub guard_turn_ns: Mark,
    /// How long a stance stands at least before a lower one.
    pub dwell_ns: u64,
}

/// No stance is ever raised.
impl Default for OverloadMarks {
    fn default() -> OverloadMarks {
        OverloadMarks {
            guard_bytes: Mark::NEVER,
            shed_bytes: Mark::NEVER,
            guard_turn_ns: Mark::NEVER,
            dwell_ns: 0,
        }
    }
}

/// What weighs on a shard at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes that all threads hold, each as it last said.
    pub memory_bytes: u64,
    /// Bytes that waited for the costliest slow consumer of any shard, as each last said; 0 where there is none.
    pub costliest_bytes: u64,
    /// How long this shard's turns are: what an event that comes in now has to wait.
    pub turn_ns: u64,
}

/// The stance of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    marks: OverloadMarks,
    /// By memory alone, and by turns alone.
    by_memory: Stance,
    by_turns: Stance,
    stance: Stance,
    /// When the stance was last raised or held up.
    held_ns: u64,
    /// How often the stance left `Normal`, and came back to it.
    pub entered_total: u64,
    pub left_total: u64,
}

impl Overload {
    #[must_use]
    pub const fn new(marks: OverloadMarks) -> Overload {
        Overload {
            marks,
            by_memory: Stance::Normal,
            by_turns: Stance::Normal,
            stance: Stance::Normal,
            held_ns: 0,
            entered_total: 0,
            left_total: 0,
        }
    }

    /// Has other marks hold; the stance follows at the next look.
    pub const fn set_marks(&mut self, marks: OverloadMarks) {
        self.marks = marks;
    }

    #[must_use]
    pub const fn stance(&self) -> Stance {
        self.stance
    }

    /// Whether it is memory that raised the stance: long turns alone need nothing to be given back.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.by_memory != Stance::Normal || self.stance == Stance::Shedding
    }

    /// Takes note of what weighs now and returns the stance from now on.
    pub fn observe(&mut self, pressure: Pressure, now_ns: u64) -> Stance {
        let OverloadMarks { guard_bytes, shed_bytes, guard_turn_ns, dwell_ns } = self.marks;
        let bytes = pressure.memory_bytes;
        self.by_memory = if shed_bytes.holds(self.by_memory == Stance::Shedding, bytes) {
            Stance::Shedding
        } else if guard_bytes.holds(self.by_memory != Stance::Normal, bytes) {
            Stance::Guarded
        } else {
            Stance::Normal
        };
        self.by_turns = if guard_turn_ns.holds(self.by_turns != Stance::Normal, pressure.turn_ns) {
            Stance::Guarded
        } else {
            Stance::Normal
        };
        let wanted = self.by_memory.max(self.by_turns);
        if wanted >= self.stance {
            self.held_ns = now_ns;
        }
        if wanted > self.stance || (wanted < self.stance && now_ns - self.held_ns >= dwell_ns) {
            self.entered_total += u64::from(self.stance == Stance::Normal);
            self.left_total += u64::from(wanted == Stance::Normal);
            self.stance = wanted;
            self.held_ns = now_ns;
        }
        self.stance
    }

    /// Bytes that have to go before no more slow consumers do.
    #[must_use]
    pub const fn excess_bytes(&self, pressure: Pressure) -> u64 {
        match self.stance {
            Stance::Normal | Stance::Guarded => 0,
            Stance::Shedding => pressure.memory_bytes.saturating_sub(self.marks.shed_bytes.leave),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKS: OverloadMarks = OverloadMarks {
        guard_bytes: Mark { enter: 800, leave: 700 },
        shed_bytes: Mark { enter: 900, leave: 800 },
        guard_turn_ns: Mark { enter: 50, leave: 25 },
        dwell_ns: 1_000,
    };

    /// The stances at these bytes and turns, one observation each dwell time.
    fn check(steps: &[(u64, u64)], expected: &[Stance]) {
        let mut overload = Overload::new(MARKS);
        let stances = (1u64..).zip(steps).map(|(number, (memory_bytes, turn_ns))| {
            let pressure = Pressure { memory_bytes: *memory_bytes, turn_ns: *turn_ns, ..Pressure::default() };
            overload.observe(pressure, number * MARKS.dwell_ns)
        });
        assert_eq!(stances.collect::<Vec<_>>(), expected, "{steps:?}");
        let (raised, is_raised) =
            (overload.entered_total, u64::from(*expected.last().unwrap() != Stance::Normal));
        assert_eq!(raised, overload.left_total + is_raised);
    }

    #[test]
    fn memory_leads_there_and_back_and_each_mark_has_its_width() {
        use Stance::{Guarded, Normal, Shedding};
        let bytes = |bytes: &[u64]| bytes.iter().map(|bytes| (*bytes, 0)).collect::<Vec<_>>();
        check(&bytes(&[799, 800, 899, 900]), &[Normal, Guarded, Guarded, Shedding]);
        check(
            &bytes(&[950, 801, 800, 701, 700, 799]),
            &[Shedding, Shedding, Guarded, Guarded, Normal, Normal],
        );
        check(&bytes(&[1000, 0]), &[Shedding, Normal]);
    }

    #[test]
    fn turns_alone_guard_and_never_shed() {
        use Stance::{Guarded, Normal, Shedding};
        check(
            &[(0, 49), (0, 50), (0, 1_000_000), (0, 26), (0, 25)],
            &[Normal, Guarded, Guarded, Guarded, Normal],
        );
        // What keeps a stance up is the measure that raised it: the other is below its own mark.
        check(&[(900, 30), (600, 30)], &[Shedding, Normal]);
        check(&[(750, 60), (750, 0)], &[Guarded, Normal]);
    }

    #[test]
    fn a_stance_stands_for_the_dwell_time_and_is_raised_at_once() {
        let mut overload = Overload::new(MARKS);
        let mut at =
            |memory_bytes, now_ns| overload.observe(Pressure { memory_bytes, ..Pressure::default() }, now_ns);
        assert_eq!(at(800, 5_000), Stance::Guarded);
        assert_eq!(at(900, 5_001), Stance::Shedding);
        assert_eq!(at(0, 5_500), Stance::Shedding);
        assert_eq!(at(900, 5_900), Stance::Shedding);
        assert_eq!(at(0, 6_899), Stance::Shedding);
        assert_eq!(at(0, 6_900), Stance::Normal);
        assert_eq!((overload.entered_total, overload.left_total), (1, 1));
    }

    #[test]
    fn memory_is_short_by_its_own_measure_and_not_by_turns() {
        let mut overload = Overload::new(MARKS);
        for (memory_bytes, turn_ns, now_ns, is_short) in [
            (0, 50, 1, false),
            (800, 50, 2, true),
            (700, 50, 3, false),
            (900, 0, 4, true),
            // The stance stands for the dwell time, and sheds as long.
            (0, 0, 5, true),
            (0, 0, 5_000, false),
        ] {
            overload.observe(Pressure { memory_bytes, turn_ns, ..Pressure::default() }, now_ns);
            assert_eq!(overload.is_short_of_memory(), is_short, "{memory_bytes} {turn_ns} {now_ns}");
        }
    }

    #[test]
    fn only_shedding_has_an_excess() {
        let mut overload = Overload::new(MARKS);
        let pressure = |memory_bytes| Pressure { memory_bytes, ..Pressure::default() };
        overload.observe(pressure(850), 1);
        assert_eq!(overload.excess_bytes(pressure(850)), 0);
        overload.observe(pressure(950), 2);
        assert_eq!(overload.excess_bytes(pressure(950)), 150);
    }

    proptest! {
        #[test]
        fn a_stance_changes_downwards_at_most_once_in_the_dwell_time(
            steps in prop::collection::vec((0u64..1200, 0u64..100, 1u64..700), 1..200),
        ) {
            let mut overload = Overload::new(MARKS);
            let (mut now_ns, mut lowered_ns) = (0, None::<u64>);
            for (memory_bytes, turn_ns, passed_ns) in steps {
                now_ns += passed_ns;
                let before = overload.stance();
                let stance = overload.observe(Pressure { memory_bytes, turn_ns, costliest_bytes: 0 }, now_ns);
                prop_assert!(memory_bytes < 800 || stance >= Stance::Guarded);
                prop_assert!(memory_bytes < 900 || stance == Stance::Shedding);
                if stance < before {
                    prop_assert!(lowered_ns.is_none_or(|at| now_ns - at >= MARKS.dwell_ns));
                    lowered_ns = Some(now_ns);
                }
                prop_assert_eq!(overload.entered_total - overload.left_total, u64::from(stance != Stance::Normal));
            }
        }
    }
}
