//! How much a second: totals looked at once a second, over the last seconds. PURE. Home: whoever answers operators.

use std::collections::VecDeque;

use super::Snapshot;

/// Over how many looks a rate is taken.
const LOOKS: usize = 10;

/// Totals at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub mono_ns: u64,
    pub requests: u64,
    pub messages_received: u64,
    pub deliveries: u64,
    pub received_bytes: u64,
    pub transmitted_bytes: u64,
    pub connections_opened: u64,
    pub busy_turns: u64,
    pub busy_ns: u64,
    pub cpu_ns: u64,
}

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    looks: VecDeque<Totals>,
}

impl Totals {
    #[must_use]
    pub fn of(snapshot: &Snapshot<'_>, mono_ns: u64) -> Totals {
        Totals {
            mono_ns,
            requests: snapshot.total("tickring_requests_total"),
            messages_received: snapshot.total("tickring_messages_received_total"),
            deliveries: snapshot.total("tickring_deliveries_total"),
            received_bytes: snapshot.total("tickring_received_bytes_total"),
            transmitted_bytes: snapshot.total("tickring_transmitted_bytes_total"),
            connections_opened: snapshot.total("tickring_connections_opened_total"),
            busy_turns: snapshot.total("tickring_busy_turns_total"),
            busy_ns: snapshot.total("tickring_busy_seconds_total"),
            cpu_ns: snapshot.total("process_cpu_seconds_total"),
        }
    }
}

impl Rates {
    /// Takes note of a look.
    pub fn note(&mut self, totals: Totals) {
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(totals);
    }

    /// What was added between the oldest look that is kept and this one, and in how many seconds.
    #[must_use]
    pub fn since_oldest(&self, newest: &Totals) -> (Totals, f64) {
        let oldest = self.looks.front().copied().unwrap_or(*newest);
        let more = |of: fn(&Totals) -> u64| of(newest).saturating_sub(of(&oldest));
        let added = Totals {
            mono_ns: more(|totals| totals.mono_ns),
            requests: more(|totals| totals.requests),
            messages_received: more(|totals| totals.messages_received),
            deliveries: more(|totals| totals.deliveries),
            received_bytes: more(|totals| totals.received_bytes),
            transmitted_bytes: more(|totals| totals.transmitted_bytes),
            connections_opened: more(|totals| totals.connections_opened),
            busy_turns: more(|totals| totals.busy_turns),
            busy_ns: more(|totals| totals.busy_ns),
            cpu_ns: more(|totals| totals.cpu_ns),
        };
        (added, added.mono_ns as f64 / 1e9)
    }
}
