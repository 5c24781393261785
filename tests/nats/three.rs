//! Three servers of NATS that are one: a node goes on when the one goes that it speaks to.

use tickring::cluster::lease::{LeaseAnswer, LeaseRequest};
use tickring::cluster::names::Places;
use tickring::cluster::parts::Part;
use tickring::cluster::words::{Wish, Word};
use tickring::nats::NatsSetup;

use super::nats_server::NatsServer;
use super::node::{Node, place, setup, value};

/// The server that carries the node's market data: `n0`, `n1` or `n2`.
fn server_of(node: &Node) -> usize {
    let server = node.nats.board().reading().server.unwrap();
    let named = server.strip_prefix('n').and_then(|rest| rest.split(' ').next());
    named.unwrap().parse().unwrap()
}

/// Once the bucket has a leader.
fn holds(node: &mut Node) -> LeaseAnswer {
    loop {
        let answer = node.ask(LeaseRequest::Read);
        if answer != LeaseAnswer::Unknown {
            return answer;
        }
    }
}

#[test]
fn a_node_goes_on_with_another_server_and_the_lease_is_as_it_was() {
    let mut servers = NatsServer::start_three();
    let addresses = servers.each_ref().map(NatsServer::url).to_vec();
    let setup =
        |node| NatsSetup { servers: addresses.clone(), replicas: 3, ..setup(node, servers[0].address()) };
    let mut owner = Node::there(setup("owner"));
    let mut follower = Node::there(setup("follower"));
    follower.hear(place(0));
    let LeaseAnswer::Written { revision } = owner.ask(LeaseRequest::Create { value: value("owner", 1) })
    else {
        panic!("{:?}", owner.nats.board().reading())
    };
    assert_eq!(follower.seen(), (revision, value("owner", 1)));

    let killed = server_of(&follower);
    servers[killed].kill();
    follower.is_up(false);
    follower.is_up(true);
    assert_ne!(server_of(&follower), killed);
    let LeaseAnswer::Holds(Some(entry)) = holds(&mut owner) else { panic!("the lease is lost") };
    assert_eq!((entry.revision, entry.value), (revision, value("owner", 1)));
    let renewed = loop {
        let update = LeaseRequest::Update { value: value("owner", 2), revision };
        match owner.ask(update) {
            LeaseAnswer::Written { revision } => break revision,
            // It may have been done, though nobody said so.
            LeaseAnswer::Refused => match holds(&mut owner) {
                LeaseAnswer::Holds(Some(entry)) if entry.value == value("owner", 2) => break entry.revision,
                other @ (LeaseAnswer::Holds(_)
                | LeaseAnswer::Written { .. }
                | LeaseAnswer::Refused
                | LeaseAnswer::Unknown) => panic!("{other:?}"),
            },
            LeaseAnswer::Unknown => {}
            other @ LeaseAnswer::Holds(_) => panic!("{other:?}"),
        }
    };
    // The watch may tell of the value before once more.
    let value_2 = |word: &Word| matches!(word, Word::LeaseSeen(entry) if entry.revision == renewed);
    follower.wait("renewal", |word| value_2(word).then_some(()));
    // A server may tell the others late that somebody there listens: what is told before is lost, as any part may be.
    while !follower.kept().iter().any(|word| *word == Word::Part(b"part".to_vec())) {
        owner.send(Wish::Tell(Part { audience: Places(1), bytes: b"part".to_vec() }));
        owner.hear(place(1));
        follower.hear(place(0));
    }
    follower.stop();
    owner.stop();
}
