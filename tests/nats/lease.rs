//! The lease's bucket: compare-and-set, the watch, what others may have done to the key.

use async_nats::jetstream;
use tickring::cluster::lease::{Lease, LeaseAnswer, LeaseEntry, LeaseRequest, LeaseValue, Role};
use tickring::cluster::names::Fence;
use tickring::cluster::words::{Wish, Word};
use tickring::model::ids::Epoch;
use tickring::model::time::Now;

use super::nats_server::NatsServer;
use super::node::{Node, name, setup, value};

/// Does something to the bucket by hand.
pub(crate) fn by_hand<F: Future<Output = ()>>(
    server: &NatsServer,
    deed: impl FnOnce(jetstream::Context) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        deed(jetstream::new(client)).await;
    });
}

fn written(answer: LeaseAnswer) -> u64 {
    let LeaseAnswer::Written { revision } = answer else { panic!("{answer:?}") };
    revision
}

#[test]
fn of_two_that_write_one_revision_exactly_one_has_it() {
    let server = NatsServer::start("");
    let mut nodes = ["a", "b"].map(|node| Node::there(setup(node, server.address())));
    let mut revision = 0;
    for round in 1..=50 {
        for (node, of) in nodes.iter_mut().zip(["a", "b"]) {
            let value = value(of, round);
            let request = if round == 1 {
                LeaseRequest::Create { value }
            } else {
                LeaseRequest::Update { value, revision }
            };
            node.send(Wish::Lease(request));
        }
        let answers = nodes.each_mut().map(Node::lease_answer);
        let winner = match answers {
            [LeaseAnswer::Written { revision: new }, LeaseAnswer::Refused] => ("a", new),
            [LeaseAnswer::Refused, LeaseAnswer::Written { revision: new }] => ("b", new),
            other => panic!("round {round}: {other:?}"),
        };
        assert!(winner.1 > revision);
        revision = winner.1;
        for node in &mut nodes {
            assert_eq!(node.seen(), (revision, value(winner.0, round)));
            let entry = LeaseEntry { revision, value: value(winner.0, round) };
            assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Holds(Some(entry)));
        }
    }
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn who_comes_later_is_told_what_the_key_holds() {
    let server = NatsServer::start("");
    let mut first = Node::there(setup("a", server.address()));
    let taking = written(first.ask(LeaseRequest::Create { value: value("a", 1) }));
    let renewal = LeaseValue { fence: Some(Fence(taking)), ..value("a", 2) };
    let revision = written(first.ask(LeaseRequest::Update { value: renewal, revision: taking }));
    let mut later = Node::there(setup("b", server.address()));
    assert_eq!(later.seen(), (revision, renewal));
    assert_eq!(later.ask(LeaseRequest::Create { value: value("b", 1) }), LeaseAnswer::Refused);
    first.stop();
    later.stop();
}

#[test]
fn a_key_that_somebody_deleted_holds_nothing_and_can_be_created_again() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    let first = written(node.ask(LeaseRequest::Create { value: value("a", 1) }));
    for purges in [false, true] {
        by_hand(&server, async |context| {
            let store = context.get_key_value("tickring_prod").await.unwrap();
            if purges {
                store.purge("market").await.unwrap();
            } else {
                store.delete("market").await.unwrap();
            }
        });
        assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Holds(None));
        let update = LeaseRequest::Update { value: value("a", 2), revision: first };
        assert_eq!(node.ask(update), LeaseAnswer::Refused);
        let again = written(node.ask(LeaseRequest::Create { value: value("a", 3) }));
        assert!(again > first + 1);
    }
    node.stop();
}

#[test]
fn a_bucket_that_is_gone_is_made_again_as_it_was() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    written(node.ask(LeaseRequest::Create { value: value("a", 1) }));
    by_hand(&server, async |context| context.delete_key_value("tickring_prod").await.map(drop).unwrap());
    let mut answer = node.ask(LeaseRequest::Read);
    while answer == LeaseAnswer::Unknown {
        answer = node.ask(LeaseRequest::Read);
    }
    assert_eq!(answer, LeaseAnswer::Holds(None));
    by_hand(&server, async |context| {
        let store = context.get_key_value("tickring_prod").await.unwrap();
        let config = &store.stream.cached_info().config;
        assert_eq!(config.max_messages_per_subject, 1);
        assert_eq!(config.storage, jetstream::stream::StorageType::File);
        assert_eq!((config.num_replicas, config.max_age.is_zero()), (1, true));
    });
    node.stop();
}

#[test]
fn what_is_no_value_is_not_believed() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    by_hand(&server, async |context| {
        let store = context.get_key_value("tickring_prod").await.unwrap();
        store.put("market", "{\"holder\":\"b\"}".into()).await.unwrap();
    });
    assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
    assert_eq!(node.ask(LeaseRequest::Create { value: value("a", 1) }), LeaseAnswer::Refused);
    let reading = node.nats.board().reading();
    assert!(reading.lease_strange >= 2, "{reading:?}");
    assert!(!node.kept().iter().any(|word| matches!(word, Word::LeaseSeen(_))));
    node.stop();
}

/// What a lease asks for is carried out until it asks for nothing; it has seen what the watch told.
fn drive(lease: &mut Lease, node: &mut Node, now: Now) {
    while let Some(request) = lease.poll_request(Epoch(0), now) {
        let answer = node.ask(request);
        lease.handle_answer(answer, now);
    }
}

/// Clocks are arguments: the test says what they show, and waits for none.
#[test]
fn a_release_that_is_sent_right_before_the_stop_lets_the_other_take_it_at_once() {
    let server = NatsServer::start("");
    let mut nodes = ["a", "b"].map(|node| Node::there(setup(node, server.address())));
    let mut leases = ["a", "b"].map(|node| Lease::new(name(node), 7, true, 8_000));
    let at = |ms: u64| Now { mono_ns: ms * 1_000_000, unix_ns: (1_700_000_000_000 + ms) * 1_000_000 };
    for ms in [0, 8_000] {
        for (lease, node) in leases.iter_mut().zip(&mut nodes) {
            drive(lease, node, at(ms));
        }
    }
    let [of_a, mut of_b] = leases;
    let [mut a, mut b] = nodes;
    let Role::Owner { fence, .. } = of_a.role(at(8_001)) else { panic!("{:?}", of_a.role(at(8_001))) };
    let seen = b.seen();
    of_b.handle_watch(LeaseEntry { revision: seen.0, value: seen.1 }, at(8_001));
    assert_eq!(of_b.role(at(8_001)), Role::Follower { owner: name("a"), fence });

    let mut of_a = of_a;
    of_a.release(at(8_002));
    let release = of_a.poll_request(Epoch(0), at(8_002)).unwrap();
    a.send(Wish::Lease(release));
    a.stop();
    let seen = b.seen();
    assert!(seen.1.is_released);
    of_b.handle_watch(LeaseEntry { revision: seen.0, value: seen.1 }, at(8_003));
    drive(&mut of_b, &mut b, at(10_003));
    let Role::Owner { fence: next, .. } = of_b.role(at(10_003)) else { panic!("{of_b:?}") };
    assert!(next > fence);
    b.stop();
}
