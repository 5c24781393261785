//! Two and three nodes that are one market: the same places on each, clients that move, owners that are killed and that leave.

use std::time::Instant;

use crate::nodes::{AT_ONCE, Cluster, LONG_TERM, TERM};
use crate::oracle::Oracle;
use crate::readers::Reader;

/// A reader at each node, by the node's number.
pub(crate) fn readers(cluster: &Cluster, oracle: &Oracle) -> Vec<Reader> {
    let addresses = cluster.addresses();
    (0..addresses.len()).map(|node| Reader::start(node, node, &addresses, oracle.ear())).collect()
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn clients_of_each_node_are_told_the_same_at_the_same_places() {
    let cluster = Cluster::start(3, LONG_TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1, 2], 300);
    assert_eq!(oracle.counts.epochs.len(), 1);
    assert!(oracle.counts.compared > 300, "{:?}", oracle.counts);
    assert_eq!(oracle.counts.snapshots, 3, "each begins by one, and nothing was lost: {:?}", oracle.counts);
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_client_that_moves_from_node_to_node_misses_nothing() {
    let cluster = Cluster::start(2, LONG_TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1], 20);
    for number in 0..10 {
        let node = number % 2;
        readers[1].move_to(node);
        oracle.until("it is where it was sent", |oracle| oracle.node_of(1) == Some(node));
        oracle.until_told(&[1], 20);
    }
    assert_eq!((oracle.counts.epochs.len(), oracle.counts.snapshots), (1, 2));
    assert_eq!(
        oracle.counts.recovered,
        oracle.counts.joins - 2,
        "each time but the first it goes on where it was"
    );
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
#[expect(clippy::disallowed_methods, reason = "how long it takes is printed, not judged")]
fn another_node_takes_over_from_an_owner_that_is_killed_and_has_it_follow_when_it_is_back() {
    let mut cluster = Cluster::start(3, TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1, 2], 20);
    let epoch = oracle.epoch_of(1).unwrap();
    let began = Instant::now();
    cluster.nodes[0].kill();
    oracle.until_beyond(epoch, &[1, 2]);
    println!(
        "told of the next owner's market after {} ms, the term is {} ms",
        began.elapsed().as_millis(),
        TERM.as_millis()
    );
    let next = oracle.epoch_of(1).unwrap();
    cluster.nodes[0].restart();
    oracle.until_beyond(epoch, &[0]);
    oracle.until_told(&[0, 1, 2], 50);
    assert_eq!([0, 1, 2].map(|reader| oracle.epoch_of(reader)), [Some(next); 3]);
    drop(readers);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_owner_that_is_stopped_hands_over_at_once() {
    let mut cluster = Cluster::start(2, LONG_TERM);
    let mut oracle = Oracle::new();
    let readers = readers(&cluster, &oracle);
    oracle.until_told(&[0, 1], 20);
    for (owner, other) in [(0, 1), (1, 0)] {
        let epoch = oracle.epoch_of(other).unwrap();
        assert_eq!(cluster.nodes[owner].stop().code, Some(0));
        oracle.until_within(AT_ONCE, "the other owns", |oracle| oracle.are_beyond(epoch, &[other]));
        oracle.until_told(&[other], 50);
        cluster.nodes[owner].restart();
        oracle.until_beyond(epoch, &[owner]);
        oracle.until_told(&[0, 1], 20);
    }
    drop(readers);
    cluster.stop();
}
