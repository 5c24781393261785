//! Holds a utilisation of the model against a latency: one shard, discrete events, driven by the busiest minute of a recording, which
//! each topic plays from a moment of its own, or all from the same one. PURE, and seeded.
//!
//! A turn takes what has come while the one before it ran, tells each connection all that it wants of it in one send, and is as long as
//! the model's costs say. Every shard of every node is such a shard.
//! Invariant: the same question has the same answer in every run.

use super::inputs::Inputs;
use super::model::{Demand, deliveries_per_send, delivery_ns, rate_of_a_connection};

/// Gaps between events, in microseconds.
const MINUTE: &str = include_str!("../../sizing/minute.txt");
const MINUTE_US: f64 = 60e6;
/// At how many moments of a turn its deliveries are looked at: they leave one after the other.
const LOOKS: u32 = 8;

/// What is asked of a simulated shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The share of its time that the model says its work takes, on average over the minute.
    pub(crate) utilisation: f64,
    /// Topics that all connections together follow; each follows its share of them.
    pub(crate) topics: u32,
    pub(crate) bursts: Bursts,
    pub(crate) seed: u64,
}

/// How topics move beside each other. A market's are somewhere between the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bursts {
    /// Each plays the minute from a moment of its own.
    Apart,
    /// All play it from the same moment: each event is one of every topic.
    AtOnce,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// From an event to its delivery, in nanoseconds.
    pub(crate) p50_ns: f64,
    pub(crate) p99_ns: f64,
    /// The share of its time that the shard worked.
    pub(crate) busy: f64,
}

/// What there is between events and deliveries.
struct Shard {
    connections: f64,
    /// The share of connections that follow one topic.
    follows: f64,
    delivery_ns: f64,
    send_ns: f64,
    /// A turn begins no sooner after the one before it; 0 where nothing is gathered by the pace.
    pace_ns: f64,
}

/// Plays the minute on a shard that has as many connections as the utilisation says.
pub(crate) fn simulate(inputs: &Inputs, demand: &Demand, question: Question) -> Answer {
    let rate = rate_of_a_connection(demand);
    let recorded = gaps().len() as f64 / (MINUTE_US / 1e6);
    // As many topics as make a connection's rate at the recording's own pace; the rest is a change of that pace.
    let followed = (rate / recorded).round().clamp(1.0, f64::from(question.topics));
    let speed = rate / (followed * recorded);
    let shard = shard_of(inputs, demand, question.utilisation, followed / f64::from(question.topics));
    play(&shard, &arrivals(question, speed))
}

/// A shard of which the model says that it works so much.
fn shard_of(inputs: &Inputs, demand: &Demand, utilisation: f64, follows: f64) -> Shard {
    let rate = rate_of_a_connection(demand);
    let share = |connections: f64| connections * rate * delivery_ns(inputs, demand, connections) / 1e9;
    let (mut few, mut many) = (0.0, 1e7);
    for _ in 0..60 {
        let middle = (few + many) / 2.0;
        if share(middle) < utilisation { few = middle } else { many = middle }
    }
    let is_paced = deliveries_per_send(inputs, demand) > 1.0;
    Shard {
        connections: many,
        follows,
        delivery_ns: inputs.delivery_cpu_ns() + inputs.byte.cpu_ns * demand.delivery_bytes,
        send_ns: inputs.send_cpu_ns(many),
        pace_ns: if is_paced { inputs.gathered.pace_us * 1e3 } else { 0.0 },
    }
}

fn gaps() -> Vec<f64> {
    let lines = MINUTE.lines().filter(|line| !line.starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .map(|gap| gap.parse().expect("invariant: its test reads all"))
        .collect()
}

/// When something comes, in nanoseconds, and of which topic; ascending.
fn arrivals(question: Question, speed: f64) -> Vec<(f64, u32)> {
    let mut chance = Chance(question.seed);
    let gaps = gaps();
    let mut all: Vec<(f64, u32)> = Vec::new();
    for topic in 0..question.topics {
        let mut at_us = match question.bursts {
            Bursts::Apart => chance.below(MINUTE_US),
            Bursts::AtOnce => 0.0,
        };
        for gap in &gaps {
            at_us = (at_us + gap) % MINUTE_US;
            all.push((at_us * 1e3 / speed, topic));
        }
    }
    all.sort_by(|one, other| one.partial_cmp(other).expect("invariant: times are numbers"));
    all
}

fn play(shard: &Shard, arrivals: &[(f64, u32)]) -> Answer {
    // Weights are deliveries, which are as many for each event.
    let mut latencies: Vec<f64> = Vec::with_capacity(arrivals.len() * LOOKS as usize);
    let (mut next, mut free_ns, mut begun_ns, mut worked_ns) = (0, 0.0_f64, f64::MIN, 0.0);
    let mut topics: Vec<u32> = Vec::new();
    while next < arrivals.len() {
        let begin = arrivals[next].0.max(free_ns).max(begun_ns + shard.pace_ns);
        let count = arrivals[next..].iter().take_while(|(at, _)| *at <= begin).count();
        let turn = &arrivals[next..next + count];
        topics.clear();
        topics.extend(turn.iter().map(|(_, topic)| *topic));
        topics.sort_unstable();
        topics.dedup();
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "thousands at most")]
        let nobody = (1.0 - shard.follows).powi(topics.len() as i32);
        let sends = shard.connections * (1.0 - nobody);
        let deliveries = turn.len() as f64 * shard.follows * shard.connections;
        let works_ns = sends * shard.send_ns + deliveries * shard.delivery_ns;
        for (at, _) in turn {
            let looks = (0..LOOKS).map(|look| (f64::from(look) + 0.5) / f64::from(LOOKS));
            latencies.extend(looks.map(|share| begin + works_ns * share - at));
        }
        worked_ns += works_ns;
        (begun_ns, free_ns) = (begin, begin + works_ns);
        next += count;
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (latencies.len() as f64 * share) as usize;
        latencies.get(at.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    let whole_ns = arrivals.last().map_or(1.0, |(at, _)| at.max(free_ns));
    Answer { p50_ns: at(0.5), p99_ns: at(0.99), busy: worked_ns / whole_ns }
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64 * bound
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::MEASURED_HERE;
    use super::*;

    /// The bound of `loadtest size`.
    const P99_NS: f64 = 4e6;
    const BY_HAND: Shard =
        Shard { connections: 100.0, follows: 1.0, delivery_ns: 100.0, send_ns: 900.0, pace_ns: 0.0 };

    fn demand(connections: f64, deliveries_per_s: f64) -> Demand {
        Demand {
            connections,
            deliveries_per_s,
            delivery_bytes: 262.0,
            requests_per_s: 0.0,
            events_per_s: 0.0,
            is_over_tls: false,
            nodes_lost: 1,
        }
    }

    #[test]
    fn the_recording_is_a_minute_and_bursts() {
        let gaps = gaps();
        let whole: f64 = gaps.iter().sum();
        assert!((whole / MINUTE_US - 1.0).abs() < 0.001 && gaps.len() > 1_000, "{whole}");
        let within_a_ms = gaps.iter().filter(|gap| **gap < 1_000.0).count();
        assert!(within_a_ms * 2 > gaps.len(), "half of all come within a millisecond of another");
    }

    #[test]
    fn a_turn_is_as_long_as_its_work_and_what_comes_meanwhile_waits_for_the_next() {
        let alone = play(&BY_HAND, &[(0.0, 0)]);
        // 100 sends of a delivery each are 100 us, and half of them have left after half of that.
        assert!((alone.p50_ns - 56_250.0).abs() < 1.0 && (alone.p99_ns - 93_750.0).abs() < 1.0, "{alone:?}");
        let one_after_the_other = play(&BY_HAND, &[(0.0, 0), (1_000.0, 0)]);
        assert!((one_after_the_other.p99_ns - (99_000.0 + 93_750.0)).abs() < 1.0, "{one_after_the_other:?}");
    }

    #[test]
    fn what_comes_together_shares_sends() {
        let together = play(&BY_HAND, &[(0.0, 0), (0.0, 1)]);
        // 100 sends with 200 deliveries.
        assert!((together.p99_ns - 110_000.0 * 0.9375).abs() < 1.0, "{together:?}");
        let paced = Shard { pace_ns: 2e6, ..BY_HAND };
        let kept_back = play(&paced, &[(0.0, 0), (1_000.0, 0)]);
        assert!(kept_back.p99_ns > 1.9e6, "{kept_back:?}");
    }

    #[test]
    fn at_the_utilisation_of_the_model_the_latency_is_within_its_bound_and_well_beyond_it_is_not() {
        let inputs = Inputs::parse(MEASURED_HERE).unwrap();
        for (connections, deliveries_per_s) in [(1e6, 1e7), (1e6, 1e8)] {
            for seed in 1..=2 {
                let ask = |utilisation, bursts| {
                    let question = Question { utilisation, topics: 100, bursts, seed };
                    simulate(&inputs, &demand(connections, deliveries_per_s), question)
                };
                let planned = ask(inputs.bounds.cpu, Bursts::Apart);
                let beyond = ask(2.0 * inputs.bounds.cpu, Bursts::Apart);
                assert!(planned.p99_ns <= P99_NS && beyond.p99_ns > P99_NS, "{planned:?} {beyond:?}");
                // What comes together shares sends, so that it is less work than the model says.
                assert!(planned.busy <= 0.6 && planned.busy > 0.3, "{planned:?}");
                assert!(ask(inputs.bounds.cpu, Bursts::AtOnce).p99_ns > planned.p99_ns);
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_another_seed_another() {
        let inputs = Inputs::parse(MEASURED_HERE).unwrap();
        let ask = |seed| {
            let question = Question { utilisation: 0.5, topics: 10, bursts: Bursts::Apart, seed };
            simulate(&inputs, &demand(1e5, 1e6), question)
        };
        assert_eq!(ask(1), ask(1));
        assert_ne!(ask(1), ask(2));
    }
}
