//! `loadtest size`: how many nodes a demand takes, by what a machine was measured to take for each kind of work, and whether a shard
//! that is used so much is still quick, by a simulation. It measures nothing. Home: the main thread.
//! Invariant: what is beyond what was measured is said to be.

mod inputs;
mod model;
mod simulation;

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use crate::failure::{Failure, Result};
use crate::report;
use crate::units;

use inputs::{Inputs, MEASURED_HERE};
use model::{Demand, NODES_OF_A_MARKET_MAX, Plan, RESOURCES, Resource};
use simulation::{Bursts, Question};

/// What the simulation is asked besides, in steps of a twentieth.
const UTILISATIONS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// What all nodes together are to carry, and on which machines.
#[derive(Debug, Args)]
pub(crate) struct SizeArguments {
    /// Connections at the same time
    #[arg(long)]
    connections: u64,
    /// Deliveries a second in the busiest minute, to all connections together
    #[arg(long)]
    deliveries_per_s: u64,
    /// Bytes of a delivery, with its frame's head
    #[arg(long, default_value_t = 262)]
    bytes: u64,
    /// Requests a second of all connections together
    #[arg(long, default_value_t = 0)]
    requests_per_s: u64,
    /// Events of the market a second, which every node hears of
    #[arg(long, default_value_t = 10_000)]
    events_per_s: u64,
    /// Topics that all connections together follow, each its share of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    topics: u32,
    /// Clients connect over TLS
    #[arg(long)]
    over_tls: bool,
    /// Nodes that may be lost with the others within their bounds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    nodes_lost: u32,
    /// Cores of a node, in place of the inputs'
    #[arg(long)]
    cores: Option<u32>,
    /// Memory of a node in GiB, in place of the inputs'
    #[arg(long)]
    memory_gib: Option<u32>,
    /// A node's network in Gbit/s, in place of the inputs'
    #[arg(long)]
    nic_gbit: Option<u32>,
    /// What a machine takes for each kind of work, as loadtest/sizing/inputs.toml has it; without it, what was measured for that
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// The latency that the simulated shard is held against: from an event to its delivery, at p99
    #[arg(long, default_value_t = 4)]
    p99_ms: u32,
    /// Of the simulation
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints what the demand takes.
pub(crate) fn run(arguments: &SizeArguments) -> Result<()> {
    let inputs = read_inputs(arguments)?;
    if arguments.connections == 0 {
        return Err(Failure::File("--connections is above 0".to_owned()));
    }
    report::print(&page(&inputs, arguments))
}

fn read_inputs(arguments: &SizeArguments) -> Result<Inputs> {
    let (name, text) = match &arguments.inputs {
        None => ("the inputs".to_owned(), MEASURED_HERE.to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text =
                std::fs::read_to_string(path).map_err(|error| Failure::File(format!("{name}: {error}")))?;
            (name, text)
        }
    };
    let told = |flaw: String| Failure::File(format!("{name}: {flaw}"));
    let mut inputs = Inputs::parse(&text).map_err(told)?;
    let node = &mut inputs.node;
    node.cores = arguments.cores.unwrap_or(node.cores);
    node.memory_bytes =
        arguments.memory_gib.map_or(node.memory_bytes, |gib| f64::from(gib) * 1_073_741_824.0);
    node.nic_bits_per_s = arguments.nic_gbit.map_or(node.nic_bits_per_s, |gbit| f64::from(gbit) * 1e9);
    inputs.flaw().map_or(Ok(inputs), |flaw| Err(told(flaw)))
}

fn demand_of(arguments: &SizeArguments) -> Demand {
    Demand {
        connections: arguments.connections as f64,
        deliveries_per_s: arguments.deliveries_per_s as f64,
        delivery_bytes: arguments.bytes as f64,
        requests_per_s: arguments.requests_per_s as f64,
        events_per_s: arguments.events_per_s as f64,
        is_over_tls: arguments.over_tls,
        nodes_lost: arguments.nodes_lost,
    }
}

fn page(inputs: &Inputs, arguments: &SizeArguments) -> String {
    let demand = demand_of(arguments);
    let mut text = format!(
        "{} connections, {} deliveries/s of {} B; nodes of {} cores, {}, {} Gbit/s\n\n",
        units::count(arguments.connections),
        units::count(arguments.deliveries_per_s),
        units::count(arguments.bytes),
        inputs.node.cores,
        units::bytes(inputs.node.memory_bytes),
        units::digits(inputs.node.nic_bits_per_s / 1e9),
    );
    match model::plan(inputs, &demand) {
        Ok(plan) => {
            tell_plan(&mut text, inputs, &demand, &plan);
            tell_simulation(&mut text, inputs, &demand, &plan, arguments);
        }
        Err(resource) => {
            let _ = writeln!(
                text,
                "no number of nodes is enough: each of them needs more {} than it has, whatever it is given of the clients",
                name_of(resource)
            );
        }
    }
    text
}

fn tell_plan(text: &mut String, inputs: &Inputs, demand: &Demand, plan: &Plan) {
    let left = plan.nodes - demand.nodes_lost;
    let lost = demand.nodes_lost;
    let _ = writeln!(
        text,
        "{:<24} {:>8} {:>8} {:>12} {:>12}",
        "", "bound", "nodes", "used by all", "without lost"
    );
    for resource in RESOURCES {
        let alone = model::nodes_for(inputs, demand, resource).unwrap_or_default();
        let used = |nodes| units::percent(model::used(inputs, demand, nodes, resource));
        let _ = writeln!(
            text,
            "{:<24} {:>8} {:>8} {:>12} {:>12}",
            name_of(resource),
            units::percent(resource.bound(inputs)),
            alone,
            used(plan.nodes),
            used(left)
        );
    }
    let _ = writeln!(
        text,
        "\nnodes: {}, of which {lost} may be lost; {} binds",
        units::count(u64::from(plan.nodes)),
        name_of(plan.binds)
    );
    if lost > 0 {
        let kind = if demand.is_over_tls { " over TLS" } else { "" };
        let _ = writeln!(
            text,
            "a loss of {lost}: its clients are connected again{kind} after {} of work by the others at least",
            units::duration(plan.storm_s * 1e9)
        );
    }
    tell_market(text, inputs, demand, plan);
    tell_edges(text, inputs, demand, left);
}

/// What several nodes of one market take of NATS.
fn tell_market(text: &mut String, inputs: &Inputs, demand: &Demand, plan: &Plan) {
    if plan.nodes > NODES_OF_A_MARKET_MAX {
        let _ = writeln!(
            text,
            "an owner is followed by {} nodes: these are more than one market can have; take larger nodes, or several markets",
            NODES_OF_A_MARKET_MAX - 1
        );
    } else if plan.nodes > 1 {
        let followers = f64::from(plan.nodes - 1);
        let _ = writeln!(
            text,
            "NATS, by what one follower was measured to take: {} of cores, {} Gbit/s",
            units::digits(followers * demand.events_per_s * inputs.cluster.nats_event_cpu_ns / 1e9),
            units::digits(followers * demand.events_per_s * inputs.cluster.event_bytes * 8.0 / 1e9)
        );
    }
}

/// What of it is beyond what was measured.
fn tell_edges(text: &mut String, inputs: &Inputs, demand: &Demand, left: u32) {
    let on_a_shard = demand.connections / f64::from(left) / f64::from(model::shards(inputs));
    let (least, most) = inputs
        .alone
        .first()
        .zip(inputs.alone.last())
        .map_or((0.0, 0.0), |(first, last)| (first.connections, last.connections));
    if !(least..=most).contains(&on_a_shard) {
        let _ = writeln!(
            text,
            "extrapolated: {} connections on a shard, where {} to {} were measured",
            units::digits(on_a_shard),
            units::digits(least),
            units::digits(most)
        );
    }
    let per_send = model::deliveries_per_send(inputs, demand);
    if per_send > 1.0 && per_send < inputs.gathered.per_send {
        let _ = writeln!(
            text,
            "interpolated: {} deliveries a send, where 1 and {} were measured",
            units::digits(per_send),
            units::digits(inputs.gathered.per_send)
        );
    }
}

fn tell_simulation(
    text: &mut String,
    inputs: &Inputs,
    demand: &Demand,
    plan: &Plan,
    arguments: &SizeArguments,
) {
    if demand.deliveries_per_s == 0.0 {
        return;
    }
    let ask = |utilisation, bursts| {
        let question = Question { utilisation, topics: arguments.topics, bursts, seed: arguments.seed };
        simulation::simulate(inputs, demand, question)
    };
    let bound_ns = f64::from(arguments.p99_ms) * 1e6;
    let planned = model::used(inputs, demand, plan.nodes - demand.nodes_lost, Resource::ShardTime);
    let apart = ask(planned, Bursts::Apart);
    let verdict = if apart.p99_ns <= bound_ns { "within" } else { "BEYOND" };
    let _ = writeln!(
        text,
        "\nsimulated, a shard of those that are left, used for {}, topics that burst apart: p50 {}, p99 {}, {verdict} {} ms",
        units::percent(planned),
        units::duration(apart.p50_ns),
        units::duration(apart.p99_ns),
        arguments.p99_ms
    );
    let steps = UTILISATIONS.into_iter().filter(|share| *share > planned);
    let beyond =
        steps.map(|share| (share, ask(share, Bursts::Apart).p99_ns)).find(|(_, p99)| *p99 > bound_ns);
    let _ = match beyond {
        _ if apart.p99_ns > bound_ns => Ok(()),
        Some((share, p99_ns)) => {
            let (share, p99) = (units::percent(share), units::duration(p99_ns));
            writeln!(text, "beyond it from {share} on, p99 {p99}")
        }
        None => writeln!(text, "not beyond it up to {}", units::percent(0.95)),
    };
    let at_once = ask(planned, Bursts::AtOnce);
    let _ = writeln!(
        text,
        "if all topics burst at once: p50 {}, p99 {}; a market is between the two",
        units::duration(at_once.p50_ns),
        units::duration(at_once.p99_ns)
    );
}

fn name_of(resource: Resource) -> &'static str {
    match resource {
        Resource::ShardTime => "time of the shards",
        Resource::ShardConnections => "connections on a shard",
        Resource::BridgeTime => "time of the market's core",
        Resource::Memory => "memory",
        Resource::Nic => "network",
    }
}
