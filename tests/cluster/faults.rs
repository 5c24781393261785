//! What is between the nodes fails: NATS is killed and comes back, one node is cut off, refused or slow, under load; and all of it by
//! chance.

use std::time::Duration;

use crate::chance::Chance;
use crate::link::Link;
use crate::messengers::Messengers;
use crate::nodes::{Cluster, LONG_TERM, TERM};
use crate::oracle::Oracle;
use crate::readers::Reader;
use crate::whole::readers;

/// How many faults by chance, unless `CLUSTER_FAULTS` says otherwise.
const FAULTS: u64 = 20;
const SEED: u64 = 9;

fn number_of(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn nats_that_is_killed_and_is_back_within_the_lease_leaves_the_owner_its_market() {
    let mut cluster = Cluster::start(2, LONG_TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1], 20);
    cluster.nats.kill();
    // Local service goes on.
    oracle.until_told(&[0], 100);
    cluster.nats.restart();
    oracle.until_told(&[0, 1], 100);
    assert_eq!(oracle.counts.epochs.len(), 1);
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn nats_that_is_away_for_longer_than_the_lease_ends_the_market_until_it_is_back() {
    let mut cluster = Cluster::start(2, TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1], 20);
    let epoch = oracle.epoch_of(0).unwrap();
    cluster.nats.kill();
    oracle.listen_for(2 * TERM);
    let notes = [0, 1].map(|reader| oracle.notes_of(reader));
    oracle.listen_for(TERM);
    assert_eq!([0, 1].map(|reader| oracle.notes_of(reader)), notes, "nobody owns, so nobody is told");
    cluster.nats.restart();
    oracle.until_beyond(epoch, &[0, 1]);
    oracle.until_told(&[0, 1], 50);
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_owner_that_is_cut_off_is_followed_by_another_and_follows_it_when_it_is_back() {
    let cluster = Cluster::start(3, TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1, 2], 20);
    let epoch = oracle.epoch_of(1).unwrap();
    cluster.nodes[0].link.cut();
    oracle.until_beyond(epoch, &[1, 2]);
    oracle.until_told(&[1, 2], 50);
    assert_eq!(oracle.epoch_of(0), Some(epoch), "it tells nothing of a market that is another's");
    cluster.nodes[0].link.restore();
    oracle.until_beyond(epoch, &[0]);
    oracle.until_told(&[0, 1, 2], 50);
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_node_that_is_cut_off_refused_or_slow_is_told_on_and_nobody_else_notices() {
    let cluster = Cluster::start(3, LONG_TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1, 2], 20);
    let link = &cluster.nodes[2].link;
    for fail in [Link::cut, Link::refuse] {
        fail(link);
        oracle.until_told(&[0, 1], 200);
        link.restore();
        oracle.until_told(&[0, 1, 2], 50);
    }
    link.delay(Duration::from_millis(40));
    oracle.until_told(&[0, 1, 2], 200);
    link.restore();
    oracle.until_told(&[0, 1, 2], 50);
    assert_eq!(oracle.counts.epochs.len(), 1);
    drop(readers);
    cluster.stop();
}

/// One thing that goes wrong, and how it is put right.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    Pause(usize),
    Cut(usize),
    Refuse(usize),
    Delay(usize),
    Nats,
    PauseNats,
    /// None, but that a client goes to another node.
    Move {
        reader: usize,
        node: usize,
    },
}

impl Fault {
    fn by(chance: &mut Chance, nodes: usize) -> Fault {
        let node = chance.below(nodes);
        match chance.below(9) {
            0 | 1 => Fault::Kill(node),
            2 => Fault::Pause(node),
            3 | 4 => Fault::Cut(node),
            5 => Fault::Refuse(node),
            6 => Fault::Delay(node),
            7 => Fault::PauseNats,
            _ if chance.below(2) == 0 => Fault::Nats,
            _ => Fault::Move { reader: chance.below(nodes), node },
        }
    }

    fn happen(self, cluster: &mut Cluster, readers: &[Reader]) {
        match self {
            Fault::Kill(node) => cluster.nodes[node].kill(),
            Fault::Pause(node) => cluster.nodes[node].pause(true),
            Fault::Cut(node) => cluster.nodes[node].link.cut(),
            Fault::Refuse(node) => cluster.nodes[node].link.refuse(),
            Fault::Delay(node) => cluster.nodes[node].link.delay(Duration::from_millis(20)),
            Fault::Nats => cluster.nats.kill(),
            Fault::PauseNats => cluster.nats.pause(),
            Fault::Move { reader, node } => readers[reader].move_to(node),
        }
    }

    fn end(self, cluster: &mut Cluster) {
        match self {
            Fault::Kill(node) => cluster.nodes[node].restart(),
            Fault::Pause(node) => cluster.nodes[node].pause(false),
            Fault::Cut(node) | Fault::Refuse(node) | Fault::Delay(node) => cluster.nodes[node].link.restore(),
            Fault::Nats => cluster.nats.restart(),
            Fault::PauseNats => cluster.nats.resume(),
            Fault::Move { .. } => {}
        }
    }
}

/// `CLUSTER_FAULTS=100` for as many, `CLUSTER_FAULT_SEED` for others; names that tickring does not take for keys of its own.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn whatever_fails_by_chance_every_client_is_told_one_market_and_no_durable_message_is_lost() {
    let seed = number_of("CLUSTER_FAULT_SEED", SEED);
    let mut chance = Chance(seed);
    let mut cluster = Cluster::start(3, TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    let all = [0, 1, 2];
    oracle.until_told(&all, 20);
    let messengers = Messengers::start(cluster.addresses(), seed);
    for number in 0..number_of("CLUSTER_FAULTS", FAULTS) {
        let fault = Fault::by(&mut chance, all.len());
        println!("fault {number}: {fault:?}");
        fault.happen(&mut cluster, &readers);
        // From none to longer than the lease, so that it ends within, at and after a change of the owner.
        let longest_ms = 2 * u64::try_from(TERM.as_millis()).unwrap();
        oracle.listen_for(Duration::from_millis(chance.below_u64(longest_ms)));
        fault.end(&mut cluster);
        oracle.until_told(&all, 10);
        messengers.check();
    }
    println!("{:?}", oracle.counts);
    assert!(oracle.counts.compared > 0);
    let counts = messengers.settle();
    println!("{counts:?}");
    let tried = [counts.promised, counts.again, counts.unknown, counts.renounced];
    assert!(!tried.contains(&0), "not all was tried: {counts:?}");
    drop(readers);
    cluster.stop();
}
