//! The inputs of the model as their file has them: what was measured, and the machine that is to be planned with. PURE.
//! Invariant: inputs that were read are those a plan can be made of: nothing is zero that is divided by.

use serde::Deserialize;

/// What was measured where this project is made.
pub(crate) const MEASURED_HERE: &str = include_str!("../../sizing/inputs.toml");

/// All of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    pub(crate) node: Node,
    pub(crate) bounds: Bounds,
    pub(crate) shard: Shard,
    pub(crate) connection: Connection,
    /// By their connections, ascending.
    pub(crate) alone: Vec<Alone>,
    pub(crate) gathered: Gathered,
    pub(crate) byte: PerByte,
    pub(crate) cluster: Cluster,
}

/// The machine of a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) cores: u32,
    pub(crate) memory_bytes: f64,
    pub(crate) nic_bits_per_s: f64,
}

/// The share of each that may be used, above 0 and up to 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    pub(crate) cpu: f64,
    pub(crate) bridge: f64,
    pub(crate) memory: f64,
    pub(crate) nic: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shard {
    pub(crate) connections_max: f64,
    pub(crate) resident_process_bytes: f64,
    pub(crate) resident_bytes: f64,
    pub(crate) event_cpu_ns: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) resident_bytes: f64,
    pub(crate) kernel_bytes: f64,
    pub(crate) idle_cpu_ns_per_s: f64,
    pub(crate) connect_cpu_ns: f64,
    pub(crate) tls_connect_cpu_ns: f64,
    pub(crate) request_cpu_ns: f64,
}

/// What a delivery takes that is a send of its own, on a shard of so many connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alone {
    pub(crate) connections: f64,
    pub(crate) cpu_ns: f64,
}

/// What a delivery takes that shares its send with others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gathered {
    pub(crate) connections: f64,
    pub(crate) per_send: f64,
    pub(crate) cpu_ns: f64,
    pub(crate) pace_us: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PerByte {
    pub(crate) cpu_ns: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    pub(crate) event_bytes: f64,
    pub(crate) follower_event_cpu_ns: f64,
    pub(crate) nats_event_cpu_ns: f64,
}

impl Inputs {
    /// Reads a file's text. An error says what is wrong with it, in one line.
    pub(crate) fn parse(text: &str) -> Result<Inputs, String> {
        let inputs: Inputs = toml::from_str(text).map_err(|error| error.to_string())?;
        inputs.flaw().map_or(Ok(inputs), Err)
    }

    /// The first value that no plan can be made with.
    pub(crate) fn flaw(&self) -> Option<String> {
        let Bounds { cpu, bridge, memory, nic } = self.bounds;
        let shares =
            [("bounds.cpu", cpu), ("bounds.bridge", bridge), ("bounds.memory", memory), ("bounds.nic", nic)];
        if let Some((name, _)) = shares.iter().find(|(_, share)| !(0.01..=1.0).contains(share)) {
            return Some(format!("{name} is a share of 0.01 to 1"));
        }
        let positive = [
            ("node.cores", f64::from(self.node.cores)),
            ("node.memory_bytes", self.node.memory_bytes),
            ("node.nic_bits_per_s", self.node.nic_bits_per_s),
            ("shard.connections_max", self.shard.connections_max),
            ("connection.connect_cpu_ns", self.connection.connect_cpu_ns),
            ("connection.tls_connect_cpu_ns", self.connection.tls_connect_cpu_ns),
            ("gathered.cpu_ns", self.gathered.cpu_ns),
            ("gathered.pace_us", self.gathered.pace_us),
        ];
        // A bare `<=` would let what is no number through.
        if let Some((name, _)) = positive.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Some(format!("{name} is above 0"));
        }
        let costs = [
            self.shard.resident_process_bytes,
            self.shard.resident_bytes,
            self.shard.event_cpu_ns,
            self.connection.resident_bytes,
            self.connection.kernel_bytes,
            self.connection.idle_cpu_ns_per_s,
            self.connection.request_cpu_ns,
            self.byte.cpu_ns,
            self.cluster.event_bytes,
            self.cluster.follower_event_cpu_ns,
            self.cluster.nats_event_cpu_ns,
        ];
        if costs.iter().any(|cost| !(cost.is_finite() && *cost >= 0.0)) {
            return Some("no cost is below 0".to_owned());
        }
        let ascends = self.alone.windows(2).all(|pair| pair[0].connections < pair[1].connections);
        if self.alone.is_empty() || !ascends || !self.alone.iter().all(|point| point.cpu_ns > 0.0) {
            return Some(
                "[[alone]] is one point or more, ascending by connections, each with a cost".to_owned(),
            );
        }
        if self.gathered.per_send.is_nan() || self.gathered.per_send <= 1.0 {
            return Some("gathered.per_send is above 1".to_owned());
        }
        (self.delivery_cpu_ns() <= 0.0).then(|| {
            "[gathered] is cheaper than its sends alone, by [[alone]] for as many connections".to_owned()
        })
    }

    /// What a send takes beside its deliveries, on a shard of so many connections; between two that were measured by a straight
    /// line, beyond them as at the nearest.
    pub(crate) fn send_cpu_ns(&self, connections: f64) -> f64 {
        (self.alone_cpu_ns(connections) - self.delivery_cpu_ns()).max(0.0)
    }

    /// What a delivery takes beside its send: from the two points with as many connections, one of which shares sends.
    pub(crate) fn delivery_cpu_ns(&self) -> f64 {
        let Gathered { connections, per_send, cpu_ns, .. } = self.gathered;
        let share = 1.0 / per_send;
        (cpu_ns - self.alone_cpu_ns(connections) * share) / (1.0 - share)
    }

    fn alone_cpu_ns(&self, connections: f64) -> f64 {
        let after = self.alone.iter().position(|point| point.connections >= connections);
        match after {
            Some(0) => self.alone[0].cpu_ns,
            Some(at) => {
                let (from, to) = (&self.alone[at - 1], &self.alone[at]);
                let share = (connections - from.connections) / (to.connections - from.connections);
                from.cpu_ns + share * (to.cpu_ns - from.cpu_ns)
            }
            None => self.alone.last().expect("invariant: there is a point").cpu_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_here_can_be_planned_with() {
        let inputs = Inputs::parse(MEASURED_HERE).unwrap();
        // A delivery alone, on the shard where both were measured, costs what was measured.
        let whole = inputs.delivery_cpu_ns() + inputs.send_cpu_ns(100.0);
        assert!((whole - 4_440.0).abs() < 0.01, "{whole}");
        let shared = inputs.delivery_cpu_ns() + inputs.send_cpu_ns(100.0) / 9.42;
        assert!((shared - 871.0).abs() < 0.01, "{shared}");
    }

    #[test]
    fn a_cost_between_two_points_is_on_the_line_and_beyond_them_the_nearest() {
        let inputs = Inputs::parse(MEASURED_HERE).unwrap();
        for (connections, cpu_ns) in
            [(1.0, 4_440.0), (550.0, 5_595.0), (10_000.0, 7_910.0), (90_000.0, 11_970.0)]
        {
            assert!((inputs.alone_cpu_ns(connections) - cpu_ns).abs() < 0.01, "{connections}");
        }
    }

    #[test]
    fn inputs_that_no_plan_can_be_made_with_are_refused_by_name() {
        for (from, to, said) in [
            ("cores = 16", "cores = 0", "node.cores is above 0"),
            ("cpu = 0.6", "cpu = 1.5", "bounds.cpu is a share of 0.01 to 1"),
            ("per_send = 9.42", "per_send = 1.0", "gathered.per_send is above 1"),
            ("per_send = 9.42", "per_send = 2.0", "[gathered] is cheaper than its sends alone"),
            ("connections = 1_000 ", "connections = 10 ", "[[alone]] is one point or more, ascending"),
            ("kernel_bytes = 5_330", "kernel_bytes = nan", "no cost is below 0"),
            ("[byte]", "[bite]", "unknown field `bite`"),
        ] {
            assert!(MEASURED_HERE.contains(from), "{from}");
            let error = Inputs::parse(&MEASURED_HERE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
