//! Planted regressions are found, noise is not.

use super::*;
use crate::outcome::Kind;
use crate::samples;

/// Deterministic noise: multipliers of some percent about 1 that do not repeat.
fn noise(run: u64) -> f64 {
    let mixed = run.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let part = (mixed >> 40) as f64 / f64::from(1 << 24);
    0.97 + 0.06 * part
}

/// Runs whose p99 of requests is `p99_ns`, but for the noise.
fn runs(count: u64, first: u64, p99_ns: f64) -> Outcomes {
    let of = |number| {
        let mut run = samples::outcome();
        for latency in run.latencies.values_mut() {
            latency.p50_ns = scaled(latency.p50_ns as f64, number);
        }
        run.latencies.get_mut(&Kind::Request).expect("it has requests").p99_ns = scaled(p99_ns, number + 500);
        run
    };
    samples::outcomes((first..first + count).map(of).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds of a sample")]
fn scaled(ns: f64, number: u64) -> u64 {
    (ns * noise(number)) as u64
}

fn arguments(metrics: &[&str]) -> Compare {
    Compare {
        before: PathBuf::new(),
        after: PathBuf::new(),
        threshold: 5.0,
        metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
        alpha: 0.05,
    }
}

fn judgement(comparison: &Comparison<'_>, name: &str) -> Judgement {
    let rows = comparison.pairs.iter().flat_map(|pair| &pair.rows);
    rows.into_iter().find(|row| row.metric.name == name).expect("it was measured").judgement
}

#[test]
fn a_planted_regression_is_found_and_nothing_else() {
    let (before, after) = (runs(8, 1, 400_000.0), runs(8, 100, 480_000.0));
    let comparison = compare(&before, &after, &arguments(&[])).unwrap();
    assert_eq!(judgement(&comparison, "request_p99"), Judgement::Worse);
    assert_eq!(comparison.regressions(), 1);
    let text = comparison.text(&arguments(&[]));
    assert!(text.ends_with("\n1 regression.\n"), "{text}");
    let line = text.lines().find(|line| line.trim().starts_with("request_p99 ")).expect("it has a line");
    assert!(line.ends_with(" 0.0002  WORSE"), "{line}");
}

#[test]
fn noise_is_no_regression_in_any_of_many_comparisons() {
    for number in 0..50 {
        let (before, after) =
            (runs(8, number * 40 + 1_000, 400_000.0), runs(8, number * 40 + 1_020, 400_000.0));
        let comparison = compare(&before, &after, &arguments(&[])).unwrap();
        assert_eq!(comparison.regressions(), 0, "{}", comparison.text(&arguments(&[])));
    }
}

#[test]
fn what_is_better_or_within_the_threshold_is_no_regression() {
    let before = runs(8, 1, 400_000.0);
    let faster = runs(8, 100, 300_000.0);
    let comparison = compare(&before, &faster, &arguments(&[])).unwrap();
    assert_eq!(judgement(&comparison, "request_p99"), Judgement::Better);
    assert_eq!(comparison.regressions(), 0);
    let slower = runs(8, 100, 480_000.0);
    let wide = Compare { threshold: 50.0, ..arguments(&[]) };
    let comparison = compare(&before, &slower, &wide).unwrap();
    assert_eq!(judgement(&comparison, "request_p99"), Judgement::Small);
    assert_eq!(comparison.regressions(), 0);
}

#[test]
fn with_too_few_runs_nothing_is_decided_and_it_is_said() {
    let (before, after) = (runs(3, 1, 400_000.0), runs(3, 100, 4_000_000.0));
    let comparison = compare(&before, &after, &arguments(&[])).unwrap();
    assert_eq!(judgement(&comparison, "request_p99"), Judgement::TooFew);
    assert_eq!(comparison.regressions(), 0);
    let text = comparison.text(&arguments(&[]));
    let said = "not enough runs to tell: baseline against tickring: 3 before and 3 after, 4 questions in all. \
                It takes 5 each, or fewer questions (--metric): 4 each for one.";
    assert!(text.contains(said), "{text}");
}

#[test]
fn fewer_questions_need_fewer_runs() {
    let (before, after) = (runs(4, 1, 400_000.0), runs(4, 100, 4_000_000.0));
    let all = compare(&before, &after, &arguments(&[])).unwrap();
    assert_eq!(judgement(&all, "request_p99"), Judgement::TooFew);
    let one = compare(&before, &after, &arguments(&["request_p99"])).unwrap();
    assert_eq!(judgement(&one, "request_p99"), Judgement::Worse);
    assert_eq!(judgement(&one, "request_p50"), Judgement::Described);
}

#[test]
fn more_is_better_for_what_is_done_a_second() {
    let (before, mut after) = (runs(4, 1, 400_000.0), runs(4, 100, 400_000.0));
    for run in &mut after.runs {
        run.counts.replies_received /= 2;
    }
    let comparison = compare(&before, &after, &arguments(&["replies_per_s"])).unwrap();
    assert_eq!(judgement(&comparison, "replies_per_s"), Judgement::Worse);
}

#[test]
fn losses_where_there_were_none_are_beyond_every_threshold() {
    let (before, mut after) = (runs(8, 1, 400_000.0), runs(8, 100, 400_000.0));
    for run in &mut after.runs {
        run.counts.deliveries_received -= 1;
    }
    let wide = Compare { threshold: 1_000.0, ..arguments(&[]) };
    let comparison = compare(&before, &after, &wide).unwrap();
    assert_eq!(judgement(&comparison, "deliveries_lost"), Judgement::Worse);
    assert!(comparison.text(&wide).contains("from 0"));
}

#[test]
fn a_refused_run_is_left_out_and_named() {
    let (before, mut after) = (runs(8, 1, 400_000.0), runs(9, 100, 400_000.0));
    after.runs[2].refused.push("its core was stolen".to_owned());
    let comparison = compare(&before, &after, &arguments(&[])).unwrap();
    assert_eq!(comparison.pairs[0].after.len(), 8);
    let said = "left out, run 3 after was refused: baseline against tickring: its core was stolen";
    assert_eq!(comparison.notes, [said]);
}

#[test]
fn only_what_was_run_the_same_way_is_compared() {
    let (before, mut after) = (runs(5, 1, 400_000.0), runs(5, 100, 400_000.0));
    let mut other = samples::outcome();
    other.server = "bun".to_owned();
    after.runs.push(other);
    after.host.kernel = "6.2.0-test".to_owned();
    let comparison = compare(&before, &after, &arguments(&[])).unwrap();
    assert_eq!(
        comparison.notes,
        [
            "not the same machine: Example CPU @ 2.00GHz, Linux 6.1.0-test before, Example CPU @ 2.00GHz, Linux \
             6.2.0-test after",
            "left out, not measured before: baseline against bun"
        ]
    );
    after.runs[0].scenario_toml.push_str("rate = 2\n");
    let refusal = compare(&before, &after, &arguments(&[])).err().expect("nothing is left").to_string();
    assert!(
        refusal
            .contains("left out, since not all runs have the same configuration: baseline against tickring")
    );
}

#[test]
fn a_metric_that_some_run_did_not_measure_is_not_compared() {
    let (mut before, after) = (runs(4, 1, 400_000.0), runs(4, 100, 400_000.0));
    before.runs[1].server_use = None;
    let comparison = compare(&before, &after, &arguments(&[])).unwrap();
    let names: Vec<&str> = comparison.pairs[0].rows.iter().map(|row| row.metric.name.as_str()).collect();
    assert!(names.contains(&"delivery_p99") && !names.contains(&"cpu_per_message"), "{names:?}");
}

#[test]
fn a_metric_that_there_is_not_is_refused_with_those_that_there_are() {
    let refusal = run(&arguments(&["speed"])).unwrap_err().to_string();
    assert!(refusal.starts_with("no metric `speed`; there are connect_p50, "), "{refusal}");
}
