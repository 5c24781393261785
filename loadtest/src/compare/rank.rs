//! The Mann–Whitney U test, exact: how likely ranks as uneven as these are if nothing changed. PURE.
//! Invariants: the distribution is that of all ways to deal the ranks that were seen, so ties are exact too, and nothing is
//! assumed of how the values are spread; two-sided.

/// Runs of one side; beyond that the table of sums grows too large.
pub(crate) const RUNS_MAX: usize = 64;

/// The probability of a rank sum at least as far from its mean as this one.
pub(crate) fn p_value(a: &[f64], b: &[f64]) -> f64 {
    assert!(a.len() <= RUNS_MAX && b.len() <= RUNS_MAX, "invariant: the caller bounds the runs");
    let ranks = doubled_ranks(a, b);
    let ways = ways_by_sum(&ranks, a.len());
    let seen: usize = ranks[..a.len()].iter().sum();
    let total: usize = ranks.iter().sum();
    // Sums lie symmetrically about the mean only without ties; the distance from it is what counts in both cases.
    let distance = |sum: usize| (sum * ranks.len()).abs_diff(total * a.len());
    let far = distance(seen);
    let all: f64 = ways.iter().sum();
    let as_far = ways.iter().enumerate().filter(|(sum, _)| far <= distance(*sum));
    as_far.map(|(_, ways)| ways).sum::<f64>() / all
}

/// The least value that any outcome of so many runs can have: both sides apart.
pub(crate) fn p_least(a: usize, b: usize) -> f64 {
    let smaller = a.min(b);
    let ways: f64 = (0..smaller).map(|at| (a + b - at) as f64 / (at + 1) as f64).product();
    (2.0 / ways).min(1.0)
}

/// As many runs on both sides as it takes for `alpha` to be reachable.
pub(crate) fn runs_for(alpha: f64) -> usize {
    (1..RUNS_MAX).find(|runs| p_least(*runs, *runs) <= alpha).unwrap_or(RUNS_MAX)
}

/// Those of `a` and then of `b`; equal values share the mean of their ranks, doubled to stay whole.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let below = |value: f64| all.iter().filter(|other| **other < value).count();
    let equal = |value: f64| all.iter().filter(|other| **other == value).count();
    all.iter().map(|value| 2 * below(*value) + equal(*value) + 1).collect()
}

/// In how many ways `take` of the ranks have each sum.
fn ways_by_sum(ranks: &[usize], take: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0_f64; most + 1]; take + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for taken in (1..=take).rev() {
            for sum in (*rank..=most).rev() {
                ways[taken][sum] += ways[taken - 1][sum - rank];
            }
        }
    }
    ways.swap_remove(take)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn values_apart_have_the_least_probability_of_their_number() {
        is_near(p_value(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]), 2.0 / 70.0);
        is_near(p_value(&[9.0, 8.0, 7.0, 6.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 0.0]), 2.0 / 252.0);
        is_near(p_least(4, 4), 2.0 / 70.0);
        is_near(p_least(3, 5), 2.0 / 56.0);
        is_near(p_least(1, 1), 1.0);
    }

    /// Counted by hand: of the 20 ways to choose three of six ranks, 4 have a sum of at most 7 or at least 14.
    #[test]
    fn one_value_in_the_others_place_is_counted_with_all_that_are_as_far() {
        is_near(p_value(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]), 4.0 / 20.0);
    }

    #[test]
    fn what_is_the_same_on_both_sides_is_certain_to_be_no_difference() {
        is_near(p_value(&[5.0; 6], &[5.0; 6]), 1.0);
        is_near(p_value(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0]), 1.0);
    }

    /// Ranks 1.5, 1.5, 3.5 against 3.5, 5, 6: of the 20 choices 4 have a sum of at most 6.5, or of at least 14.5.
    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(doubled_ranks(&[1.0, 1.0, 2.0], &[2.0, 3.0, 4.0]), [3, 3, 7, 7, 10, 12]);
        is_near(p_value(&[1.0, 1.0, 2.0], &[2.0, 3.0, 4.0]), 4.0 / 20.0);
    }

    #[test]
    fn the_two_sides_may_be_swapped() {
        let (a, b) = ([3.0, 1.0, 4.0, 1.5, 5.0], [9.0, 2.0, 6.0]);
        is_near(p_value(&a, &b), p_value(&b, &a));
    }

    #[test]
    fn the_runs_needed_grow_with_the_number_of_questions() {
        assert_eq!([0.05, 0.05 / 3.0, 0.05 / 14.0, 0.05 / 50.0].map(runs_for), [4, 5, 6, 7]);
    }

    #[test]
    fn the_largest_samples_that_are_taken_are_counted() {
        let a: Vec<f64> = (0..RUNS_MAX).map(|at| at as f64).collect();
        let b: Vec<f64> = a.iter().map(|value| value + 0.5).collect();
        let p = p_value(&a, &b);
        assert!((0.5..1.0).contains(&p), "{p}");
    }
}
