//! The paper market's random numbers. PURE: the seed is an argument, and the same seed gives the same numbers on every
//! machine and for ever. Home: the venue thread.

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): one addition and
/// two multiplications a number, every seed is a good one. It is not for secrets.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    #[must_use]
    pub const fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// All 64 bits are uniform.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, by multiplication; for the bounds here (below 2^32) the bias is below 2^-32. `bound` is
    /// positive.
    pub fn below(&mut self, bound: u32) -> u32 {
        let wide = (self.next() >> 32) * u64::from(bound);
        u32::try_from(wide >> 32).expect("invariant: a product of two 32-bit numbers has a 32-bit upper half")
    }

    /// A bell around zero with a standard deviation of 4: the set bits of 64, less their mean.
    pub fn bell(&mut self) -> i64 {
        i64::from(self.next().count_ones()) - 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_numbers_for_seed_1234567() {
        // The reference sequence of the authors' C program, as Rosetta Code and the test suites of other ports have it.
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(
            [rng.next(), rng.next(), rng.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn stays_below_its_bound_and_reaches_all_of_it() {
        let mut rng = SplitMix64::new(1);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[rng.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }
}
