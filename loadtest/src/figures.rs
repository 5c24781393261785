//! What is worked out from an outcome: shares, rates, costs of one message and of one connection. PURE.
//! Invariant: `None` where a part of it was not measured or nothing took place, so that nothing is divided by zero.

use crate::clock::SECOND_NS;
use crate::outcome::{Kind, Outcome};

/// All kinds, in the order in which they are shown.
pub(crate) const KINDS: [Kind; 6] =
    [Kind::Connect, Kind::Request, Kind::Delivery, Kind::Spread, Kind::Order, Kind::Reconnect];

/// As the JSON names it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "connect",
        Kind::Request => "request",
        Kind::Delivery => "delivery",
        Kind::Spread => "spread",
        Kind::Order => "order",
        Kind::Reconnect => "reconnect",
    }
}

/// From what to what it is counted.
pub(crate) fn kind_about(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "begin of the TCP connect to the end of the upgrade",
        Kind::Request => "intended time of a request to its reply",
        Kind::Delivery => "intended time of a publish to each subscriber's delivery",
        Kind::Spread => "first to last subscriber's delivery of the same publish",
        Kind::Order => "intended time of an order to its acknowledgement",
        Kind::Reconnect => "loss of a connection to the end of its resubscription",
    }
}

impl Outcome {
    pub(crate) fn errors(&self) -> u64 {
        self.counts.errors.values().sum()
    }

    /// Errors per attempt: a connection, a request or a publish.
    pub(crate) fn error_share(&self) -> Option<f64> {
        let counts = &self.counts;
        share(self.errors(), counts.connections_wanted + counts.requests_sent + counts.published)
    }

    /// Connections that were not opened or not kept, of those wanted.
    pub(crate) fn connection_loss_share(&self) -> Option<f64> {
        let counts = &self.counts;
        let unopened = counts.connections_wanted.saturating_sub(counts.connections_opened);
        share(unopened + counts.connections_lost, counts.connections_wanted)
    }

    pub(crate) fn reply_loss_share(&self) -> Option<f64> {
        let counts = &self.counts;
        share(counts.requests_sent.saturating_sub(counts.replies_received), counts.requests_sent)
    }

    pub(crate) fn delivery_loss_share(&self) -> Option<f64> {
        let counts = &self.counts;
        let missing = counts.deliveries_expected.saturating_sub(counts.deliveries_received);
        share(missing, counts.deliveries_expected)
    }

    /// Deliveries that came twice or out of order.
    pub(crate) fn disorder_share(&self) -> Option<f64> {
        let counts = &self.counts;
        share(counts.duplicates + counts.reordered, counts.deliveries_received)
    }

    /// What the server read and wrote: requests, publishes, replies, deliveries.
    pub(crate) fn messages(&self) -> u64 {
        let counts = &self.counts;
        counts.requests_sent + counts.published + counts.replies_received + counts.deliveries_received
    }

    pub(crate) fn per_second(&self, count: u64) -> Option<f64> {
        Some(share(count, self.measured_ns)? * SECOND_NS as f64)
    }

    pub(crate) fn cpu_cores(&self) -> Option<f64> {
        share(self.server_use.as_ref()?.cpu_ns, self.measured_ns)
    }

    pub(crate) fn cpu_ns_per_message(&self) -> Option<f64> {
        share(self.server_use.as_ref()?.cpu_ns, self.messages())
    }

    pub(crate) fn resident_per_connection(&self) -> Option<f64> {
        let used = self.server_use.as_ref()?;
        let grown = used.resident_peak_bytes.saturating_sub(used.resident_before_bytes);
        share(grown, self.counts.connections_opened)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use crate::samples;

    #[test]
    fn what_did_not_take_place_has_no_share() {
        let mut outcome = samples::outcome();
        outcome.counts = crate::outcome::Counts::default();
        let shares = [
            outcome.error_share(),
            outcome.connection_loss_share(),
            outcome.reply_loss_share(),
            outcome.delivery_loss_share(),
            outcome.disorder_share(),
            outcome.cpu_ns_per_message(),
            outcome.resident_per_connection(),
        ];
        assert_eq!(shares, [None; 7]);
    }

    #[test]
    fn costs_are_those_of_the_server_alone() {
        let mut outcome = samples::outcome();
        assert_eq!(outcome.messages(), 10_000 + 500 + 10_000 + 50_000);
        assert_eq!(outcome.cpu_cores(), Some(0.0705));
        assert_eq!(outcome.cpu_ns_per_message(), Some(10_000.0));
        assert_eq!(outcome.resident_per_connection(), Some(2_048.0));
        assert_eq!(outcome.per_second(10_000), Some(1_000.0));
        outcome.server_use = None;
        assert_eq!(outcome.cpu_cores(), None);
    }

    #[test]
    fn connections_that_were_lost_count_beside_those_that_were_refused() {
        let mut outcome = samples::outcome();
        outcome.counts.connections_opened = 98;
        outcome.counts.connections_lost = 1;
        assert_eq!(outcome.connection_loss_share(), Some(0.03));
    }
}
