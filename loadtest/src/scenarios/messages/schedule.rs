//! Scheduled messages: how much later than its time each arrives, where the times are spread over some seconds, and where all are
//! of one millisecond. Home: the load thread.
//! Invariant: one that arrives before its time, or is accepted only after the first is due, fails the run.

use crate::account::Account;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::messages::exchange::{Exchange, Heard, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::site::{self, Needs, Site};
use crate::scenarios::messages::texts::{Post, SendFrame};
use crate::scenarios::messages::{Shape, judge_at_most};
use crate::scenarios::{Rig, unlimited};
use crate::server::Server;

/// The stated bound on the 99th percentile of those that are spread, in microseconds.
const LATE_US_MAX: f64 = 5_000.0;
const P99: &str = "arrival after due p99";
/// How far ahead the first is due: longer than it takes to send all.
const AHEAD_MS: u64 = 3_000;
const SPREAD_MS: u64 = 5_000;
/// Messages under way to a receiver: its share of those of one millisecond.
const UNDER_WAY_MAX: u32 = 4_096;

/// When messages are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Spread,
    Same,
}

impl Times {
    /// When number `number` of `count` is due, in milliseconds after the first.
    const fn after_ms(self, number: u64, count: u64) -> u64 {
        match self {
            Times::Spread => number * SPREAD_MS / count,
            Times::Same => 0,
        }
    }
}

/// Both cases.
pub(super) fn run(rig: &Rig, shape: &Shape) -> (Vec<Comparison>, Account) {
    let (_, count) = Shape::shares(shape.scheduled, shape.streams());
    let to = format!("to {} users, content {} bytes", shape.streams(), shape.content_bytes);
    let case = format!("messages, schedule: {count} spread over {} s, {to}", SPREAD_MS / 1_000);
    let spread = unlimited(rig, &case, || measure(rig, shape, Times::Spread));
    let case = format!("messages, schedule: {count} due in the same millisecond, {to}");
    let same = unlimited(rig, &case, || measure(rig, shape, Times::Same));
    let mut account = Account { case: "messages, schedule: spread".to_owned(), ..Account::default() };
    if shape.judges_speed {
        judge_at_most(&mut account, &spread, P99, "us", LATE_US_MAX);
    }
    (vec![spread, same], account)
}

fn members(shape: &Shape, server: &Server) -> Result<Vec<Member>> {
    let streams = shape.streams();
    let mut members = Vec::new();
    for stream in 0..streams {
        let post = Post {
            user: &site::user(streams + stream),
            priority: "normal",
            confirm: false,
            is_scheduled: true,
            is_answered: true,
            stream,
            content_bytes: shape.content_bytes,
        };
        members.push(Member::sending(site::log_in(stream, stream, server.target())?, SendFrame::new(&post)));
    }
    for receiver in streams..2 * streams {
        members.push(Member::over(site::subscribe(receiver, receiver, UNDER_WAY_MAX, server.target())?));
    }
    Ok(members)
}

fn measure(rig: &Rig, shape: &Shape, times: Times) -> Result<Sample> {
    let streams = shape.streams();
    let site = Site::make(&shape.folder, Needs::plain(2 * streams, false, shape.messages_max()))?;
    let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
    let mut exchange = Exchange::new(members(shape, &server)?, Ledger::new(streams))?;
    let (each, count) = Shape::shares(shape.scheduled, streams);
    let first_due_ms = clock::unix_ns() / MILLISECOND_NS + AHEAD_MS;
    exchange.fill(0..streams, each, shape.window, |stream, number| {
        let due_ms = first_due_ms + times.after_ms(number * streams as u64 + stream as u64, count);
        (due_ms * MILLISECOND_NS, due_ms)
    })?;
    if first_due_ms * MILLISECOND_NS <= clock::unix_ns() {
        return Err(Failure::Unmet("some were due before all were sent".to_owned()));
    }
    let mut late = Latencies::new();
    let (mut first_ns, mut last_ns) = (0, 0);
    exchange.turn_until(
        "scheduled messages",
        |mail| mail.ledger.missing() == 0,
        |_, _, _, heard| {
            let Heard::Delivered(delivered) = heard else { return Ok(()) };
            last_ns = clock::unix_ns();
            if first_ns == 0 {
                first_ns = last_ns;
            }
            let early = || {
                let early_ns = delivered.stamp_ns - last_ns;
                Failure::Protocol(format!("a message came {early_ns} ns before its time"))
            };
            late.record(last_ns.checked_sub(delivered.stamp_ns).ok_or_else(early)?.max(1));
            Ok(())
        },
    )?;
    let summary = late.summary();
    let mut sample = Sample::default();
    sample.add_us("arrival after due p50", summary.p50_ns);
    sample.add_us(P99, summary.p99_ns);
    sample.add_us("arrival after due max", summary.max_ns);
    sample.add("messages", "count", crate::scenarios::ratio(count, 1));
    sample.add("first to last arrival", "s", crate::scenarios::ratio(last_ns - first_ns, SECOND_NS));
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spread_evenly_or_all_the_same() {
        let spread = [0, 1, 999].map(|number| Times::Spread.after_ms(number, 1_000));
        assert_eq!(spread, [0, 5, 4_995]);
        assert_eq!(Times::Same.after_ms(999, 1_000), 0);
    }
}
