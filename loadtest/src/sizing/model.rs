//! How many nodes a demand takes: what each node would use of each of its resources, and the least number with which all are within
//! their bounds when some nodes are lost. PURE.
//! Invariant: connections and deliveries are spread evenly over nodes and shards; more nodes never use more of any resource.

use super::inputs::Inputs;

/// Nodes of one market: its owner, and those that follow it (decision 0037).
pub(crate) const NODES_OF_A_MARKET_MAX: u32 = 17;
/// More than this is no plan.
pub(crate) const NODES_MAX: u32 = 100_000;

/// Headers of TCP and IP with time stamps, and Ethernet's with what is between frames: what each packet takes besides.
const PACKET_BYTES: f64 = 40.0 + 12.0 + 38.0;
/// What a packet carries of a stream, with Ethernet's 1,500.
const SEGMENT_BYTES: f64 = 1_448.0;

const SECOND_NS: f64 = 1e9;

/// What all nodes together are to carry.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) connections: f64,
    pub(crate) deliveries_per_s: f64,
    /// Of a delivery, with its frame's head.
    pub(crate) delivery_bytes: f64,
    pub(crate) requests_per_s: f64,
    /// Of the market, told to every node.
    pub(crate) events_per_s: f64,
    pub(crate) is_over_tls: bool,
    /// Nodes that may be lost with the others still within their bounds.
    pub(crate) nodes_lost: u32,
}

/// What may be what a node has too little of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resource {
    /// The time of the cores that have a shard.
    ShardTime,
    /// Connections on one shard, up to as many as were measured.
    ShardConnections,
    /// The time of the core that has none: the market's thread, and NATS's.
    BridgeTime,
    Memory,
    Nic,
}

pub(crate) const RESOURCES: [Resource; 5] =
    [Resource::ShardTime, Resource::ShardConnections, Resource::BridgeTime, Resource::Memory, Resource::Nic];

/// What a demand takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Those that may be lost among them.
    pub(crate) nodes: u32,
    /// The resource that asks for the most nodes.
    pub(crate) binds: Resource,
    /// How long the connections of the lost nodes take to be served by the others, with all the time that they have left.
    pub(crate) storm_s: f64,
}

impl Resource {
    /// The share that may be used of it.
    pub(crate) fn bound(self, inputs: &Inputs) -> f64 {
        match self {
            Resource::ShardTime => inputs.bounds.cpu,
            Resource::ShardConnections => 1.0,
            Resource::BridgeTime => inputs.bounds.bridge,
            Resource::Memory => inputs.bounds.memory,
            Resource::Nic => inputs.bounds.nic,
        }
    }
}

/// Shards of a node: on each core but the first where there are four or more, as tickring places them by itself.
pub(crate) fn shards(inputs: &Inputs) -> u32 {
    let cores = inputs.node.cores;
    if cores >= 4 { cores - 1 } else { cores }
}

/// Deliveries in one send: what a connection is told within the pace. Never fewer than one.
pub(crate) fn deliveries_per_send(inputs: &Inputs, demand: &Demand) -> f64 {
    let in_a_pace = rate_of_a_connection(demand) * inputs.gathered.pace_us / 1e6;
    // No more than were measured: what lies beyond is not known to be cheaper.
    in_a_pace.clamp(1.0, inputs.gathered.per_send)
}

/// Deliveries a second to one connection.
pub(crate) fn rate_of_a_connection(demand: &Demand) -> f64 {
    if demand.connections > 0.0 { demand.deliveries_per_s / demand.connections } else { 0.0 }
}

/// What a delivery takes on a shard of so many connections.
pub(crate) fn delivery_ns(inputs: &Inputs, demand: &Demand, connections: f64) -> f64 {
    inputs.delivery_cpu_ns()
        + inputs.send_cpu_ns(connections) / deliveries_per_send(inputs, demand)
        + inputs.byte.cpu_ns * demand.delivery_bytes
}

/// The share of a node's resource that is used, with so many nodes; 1 is all of it.
pub(crate) fn used(inputs: &Inputs, demand: &Demand, nodes: u32, resource: Resource) -> f64 {
    let nodes = f64::from(nodes);
    let shards = f64::from(shards(inputs));
    let connections = demand.connections / nodes;
    let deliveries_per_s = demand.deliveries_per_s / nodes;
    match resource {
        Resource::ShardTime => {
            let on_a_shard = connections / shards;
            let ns_per_s = deliveries_per_s / shards * delivery_ns(inputs, demand, on_a_shard)
                + demand.requests_per_s / nodes / shards * inputs.connection.request_cpu_ns
                + on_a_shard * inputs.connection.idle_cpu_ns_per_s
                + demand.events_per_s * inputs.shard.event_cpu_ns;
            ns_per_s / SECOND_NS
        }
        Resource::ShardConnections => connections / shards / inputs.shard.connections_max,
        Resource::BridgeTime => demand.events_per_s * inputs.cluster.follower_event_cpu_ns / SECOND_NS,
        Resource::Memory => {
            let each = inputs.connection.resident_bytes + inputs.connection.kernel_bytes;
            let process = inputs.shard.resident_process_bytes + shards * inputs.shard.resident_bytes;
            (process + connections * each) / inputs.node.memory_bytes
        }
        Resource::Nic => {
            let per_send = deliveries_per_send(inputs, demand);
            let bytes = per_send * demand.delivery_bytes;
            let sent = bytes + (bytes / SEGMENT_BYTES).ceil() * PACKET_BYTES;
            let sends_per_s = deliveries_per_s / per_send;
            let heard_per_s = demand.events_per_s * inputs.cluster.event_bytes;
            // A card sends as much as it receives at the same time: what is more of the two counts.
            (sends_per_s * sent).max(heard_per_s) * 8.0 / inputs.node.nic_bits_per_s
        }
    }
}

/// The least number of nodes that this resource asks for, or none where no number is enough.
pub(crate) fn nodes_for(inputs: &Inputs, demand: &Demand, resource: Resource) -> Option<u32> {
    let is_enough = |nodes: u32| used(inputs, demand, nodes, resource) <= resource.bound(inputs);
    if !is_enough(NODES_MAX) {
        return None;
    }
    let (mut too_few, mut enough) = (0, NODES_MAX);
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if is_enough(middle) { enough = middle } else { too_few = middle }
    }
    Some(enough)
}

/// What a demand takes; the resource of which no number of nodes has enough where there is one.
pub(crate) fn plan(inputs: &Inputs, demand: &Demand) -> Result<Plan, Resource> {
    let (mut needed, mut binds) = (0, Resource::ShardTime);
    for resource in RESOURCES {
        let nodes = nodes_for(inputs, demand, resource).ok_or(resource)?;
        if nodes > needed {
            (needed, binds) = (nodes, resource);
        }
    }
    let nodes = needed + demand.nodes_lost;
    Ok(Plan { nodes, binds, storm_s: storm_s(inputs, demand, nodes) })
}

fn storm_s(inputs: &Inputs, demand: &Demand, nodes: u32) -> f64 {
    let left = nodes - demand.nodes_lost;
    let costs = &inputs.connection;
    let each_ns = if demand.is_over_tls { costs.tls_connect_cpu_ns } else { costs.connect_cpu_ns };
    let come = demand.connections / f64::from(nodes) * f64::from(demand.nodes_lost);
    let is_left = 1.0 - used(inputs, demand, left, Resource::ShardTime);
    let time_per_s = f64::from(left) * f64::from(shards(inputs)) * is_left;
    come * each_ns / SECOND_NS / time_per_s
}

#[cfg(test)]
mod tests {
    use super::super::inputs::MEASURED_HERE;
    use super::*;

    fn inputs() -> Inputs {
        Inputs::parse(MEASURED_HERE).unwrap()
    }

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
    fn what_was_measured_on_one_core_is_what_the_model_says_of_it() {
        let mut inputs = inputs();
        inputs.node.cores = 1;
        // Cores used that were measured: 10,000 × 10/s of 1,000 topics, 18,000 × 2/s, 100 × 5,000/s, 1,000 × 100/s.
        for (connections, deliveries_per_s, cores) in
            [(10_000.0, 1e5, 0.791), (18_000.0, 3.6e4, 0.431), (100.0, 5e5, 0.435), (1_000.0, 1e5, 0.675)]
        {
            let demand = demand(connections, deliveries_per_s);
            let said = used(&inputs, &demand, 1, Resource::ShardTime);
            assert!((said / cores - 1.0).abs() < 0.05, "{connections}: {said}, measured {cores}");
        }
    }

    #[test]
    fn the_resource_that_is_scarce_binds() {
        let of = |inputs: &Inputs, demand: &Demand| plan(inputs, demand).unwrap().binds;
        let mut inputs = inputs();
        assert_eq!(of(&inputs, &demand(1e6, 1e8)), Resource::ShardTime);
        assert_eq!(of(&inputs, &demand(1e6, 1e5)), Resource::ShardConnections);
        inputs.node.memory_bytes = 1e9;
        assert_eq!(of(&inputs, &demand(1e6, 1e5)), Resource::Memory);
        inputs.node.nic_bits_per_s = 1e6;
        assert_eq!(of(&inputs, &demand(1e6, 1e6)), Resource::Nic);
    }

    #[test]
    fn no_number_of_nodes_has_more_of_what_each_of_them_needs() {
        let mut demand = demand(1e3, 1e3);
        demand.events_per_s = 1e7;
        assert_eq!(plan(&inputs(), &demand), Err(Resource::ShardTime));
        demand.events_per_s = 1.5e6;
        assert_eq!(plan(&inputs(), &demand), Ok(plan(&inputs(), &demand).unwrap()));
        let mut small = inputs();
        small.node.memory_bytes = 1e8;
        assert_eq!(plan(&small, &demand), Err(Resource::Memory));
    }

    #[test]
    fn one_node_may_be_lost_and_one_fewer_is_too_few() {
        let inputs = inputs();
        for (connections, deliveries_per_s) in [(1e6, 1e7), (1e7, 1e8), (5e4, 1e4), (10.0, 10.0)] {
            let demand = demand(connections, deliveries_per_s);
            let plan = plan(&inputs, &demand).unwrap();
            let fits = |nodes| {
                RESOURCES
                    .iter()
                    .all(|resource| used(&inputs, &demand, nodes, *resource) <= resource.bound(&inputs))
            };
            assert!(fits(plan.nodes - 1), "{plan:?}");
            assert!(plan.nodes == 2 || !fits(plan.nodes - 2), "{plan:?}");
        }
    }

    #[test]
    fn a_storm_takes_the_time_that_is_left_and_longer_over_tls() {
        let inputs = inputs();
        let mut demand = demand(1e6, 1e7);
        let plain = plan(&inputs, &demand).unwrap();
        let left = f64::from(plain.nodes - 1);
        let free = 1.0 - used(&inputs, &demand, plain.nodes - 1, Resource::ShardTime);
        let expected = 1e6 / f64::from(plain.nodes) * 85e-6 / (left * 15.0 * free);
        assert!((plain.storm_s / expected - 1.0).abs() < 1e-9);
        demand.is_over_tls = true;
        assert!(plan(&inputs, &demand).unwrap().storm_s > 5.0 * plain.storm_s);
    }
}
