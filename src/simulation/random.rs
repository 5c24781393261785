//! Chance from a seed: SplitMix64 (Steele, Lea and Flood 2014), the same on every machine. Or from a script, whose bytes are
//! the choices until it ends and a seed goes on. PURE.

/// A stream of numbers that its seed, or its script, determines.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
    /// What is left of the script, backwards.
    script: Vec<u8>,
}

impl Random {
    #[must_use]
    pub(super) const fn new(seed: u64) -> Random {
        Random { state: seed, script: Vec::new() }
    }

    /// The choices of a script, one or two bytes for each, and after them those of seed 0.
    #[must_use]
    pub(super) fn scripted(script: &[u8]) -> Random {
        Random { state: 0, script: script.iter().rev().copied().collect() }
    }

    /// No choice of a script is left.
    #[must_use]
    pub(super) fn is_seeded(&self) -> bool {
        self.script.is_empty()
    }

    /// The next 64 bits of the seed, also while there is a script: for what no choice hangs on.
    pub(super) const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is positive. The bias is below 2^-32 for the bounds of a simulation.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no number below 0");
        if let Some(choice) = self.script.pop() {
            let more = if bound > 256 { self.script.pop().unwrap_or_default() } else { 0 };
            return (usize::from(choice) | usize::from(more) << 8) % bound;
        }
        usize::try_from(self.bits() % bound as u64).expect("below a usize")
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several, each as likely as another.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
