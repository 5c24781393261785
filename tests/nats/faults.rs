//! NATS that comes late, is killed, is stuck.

use tickring::cluster::lease::{LeaseAnswer, LeaseRequest};
use tickring::cluster::names::Places;
use tickring::cluster::parts::Part;
use tickring::cluster::words::{Wish, Word};
use tickring::limits;
use tickring::nats::NoticeWord;

use super::nats_server::NatsServer;
use super::node::{Node, place, setup, value};

fn tell(bytes: Vec<u8>) -> Wish {
    Wish::Tell(Part { audience: Places(1), bytes })
}

#[test]
fn nats_may_come_after_the_node() {
    let mut server = NatsServer::start("");
    server.kill();
    let mut node = Node::start(setup("a", server.address()));
    assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
    // Wished for before there is a NATS, and answered when there is.
    node.send(Wish::Hear(Some(place(0))));
    assert!(!node.nats.board().reading().is_up);
    server.restart();
    node.is_up(true);
    node.wait("place", |word| matches!(word, Word::Hearing(_)).then_some(()));
    node.send(tell(b"to itself".to_vec()));
    assert_eq!(node.part(), b"to itself");
    node.stop();
}

#[test]
fn nats_that_is_killed_and_comes_back_finds_every_subscription_and_the_lease() {
    let mut server = NatsServer::start("");
    let mut owner = Node::there(setup("owner", server.address()));
    let mut follower = Node::there(setup("a", server.address()));
    follower.hear(place(0));
    owner.send(Wish::Listen(true));
    owner.hear(place(9));
    let LeaseAnswer::Written { revision } = owner.ask(LeaseRequest::Create { value: value("owner", 1) })
    else {
        panic!()
    };
    assert_eq!(follower.seen().0, revision);

    for round in 2..4 {
        server.kill();
        owner.is_up(false);
        follower.is_up(false);
        assert_eq!(owner.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
        // What is told meanwhile is dropped: nothing grows, and nothing of it comes later.
        let dropped = owner.nats.board().reading().dropped_away;
        for _ in 0..3 * limits::NATS_MESSAGES_MAX {
            let mut wish = tell(vec![b'-'; 100]);
            while let Err(back) = owner.port.send(wish) {
                owner.port.flush();
                wish = back;
                std::thread::yield_now();
            }
        }
        owner.port.flush();
        let all = dropped + 3 * limits::NATS_MESSAGES_MAX as u64;
        while owner.nats.board().reading().dropped_away < all {
            std::thread::yield_now();
        }
        server.restart();
        owner.is_up(true);
        follower.is_up(true);
        // What the key holds is told anew.
        assert_eq!(follower.seen().1, value("owner", round - 1));
        // A subscription holds when the echo behind it is back.
        follower.hear(place(0));
        owner.send(tell(vec![b'+']));
        assert_eq!(follower.part(), b"+");
        follower.send(Wish::Ask(b"ask".to_vec()));
        owner.wait("request", |word| matches!(word, Word::Asked { .. }).then_some(()));
        let LeaseAnswer::Holds(Some(entry)) = read(&mut owner) else { panic!("the store is lost") };
        let update = LeaseRequest::Update { value: value("owner", round), revision: entry.revision };
        let LeaseAnswer::Written { revision } = owner.ask(update) else { panic!() };
        assert_eq!(follower.seen(), (revision, value("owner", round)));
    }
    assert!(owner.nats.board().reading().reconnects >= 4);
    follower.stop();
    owner.stop();
}

/// Once the bucket answers again.
fn read(node: &mut Node) -> LeaseAnswer {
    loop {
        let answer = node.ask(LeaseRequest::Read);
        if answer != LeaseAnswer::Unknown {
            return answer;
        }
    }
}

#[test]
fn nats_that_is_stuck_bounds_what_waits_is_left_and_found_again() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    server.pause();
    // The connection takes what the system has room for, then the client's queue fills, then ours, and the wish is handed back.
    let mut accepted = 0_usize;
    let back = loop {
        match node.port.send(tell(vec![0; limits::CLUSTER_PART_BYTES])) {
            Ok(()) => accepted += limits::CLUSTER_PART_BYTES,
            Err(back) => break back,
        }
        node.port.flush();
        assert!(accepted < 2 * limits::NATS_BYTES_MAX, "nothing bounds it");
    };
    assert!(matches!(back, Wish::Tell(_)));
    // Orders are taken all the same, and answered within a quarter of the term.
    assert_eq!(node.ask(LeaseRequest::Read), LeaseAnswer::Unknown);
    // Nothing comes back for some seconds: the server is left, and all that waits is dropped.
    node.is_up(false);
    while node.nats.board().reading().dropped_away == 0 {
        std::thread::yield_now();
    }
    server.resume();
    node.is_up(true);
    node.hear(place(0));
    assert!(matches!(read(&mut node), LeaseAnswer::Holds(None)));
    node.stop();
}

#[test]
fn a_stop_ends_also_while_nats_is_stuck() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    server.pause();
    node.send(tell(vec![0; 100]));
    node.send(Wish::Lease(LeaseRequest::Create { value: value("a", 1) }));
    node.stop();
}

#[test]
fn what_nodes_say_of_kept_results_each_hears_and_that_nats_was_away() {
    let mut server = NatsServer::start("");
    let mut nodes = ["a", "b", "c"].map(|node| Node::there(setup(node, server.address())));
    nodes.iter_mut().for_each(|node| assert_eq!(node.notice(), NoticeWord::Back));
    for round in 0..3_u8 {
        // Its own word comes back too: who it is from stands in it.
        for _ in 0..100 {
            assert!(nodes[0].notices.tell(vec![round]));
            nodes.iter_mut().for_each(|node| assert_eq!(node.notice(), NoticeWord::Heard(vec![round])));
        }
        server.kill();
        nodes.iter_mut().for_each(|node| node.is_up(false));
        while nodes[0].notices.is_up() {
            std::thread::yield_now();
        }
        assert!(!nodes[0].notices.tell(b"while it is away".to_vec()));
        server.restart();
        for node in &mut nodes {
            node.is_up(true);
            assert_eq!(node.notice(), NoticeWord::Back);
        }
        // Its echo says that a connection's subscriptions hold; what is said before may be lost.
        nodes.iter_mut().for_each(|node| node.hear(place(0)));
    }
    // Who does not listen holds up nobody.
    let dropped = |node: &Node| node.nats.board().reading().dropped_behind;
    while dropped(&nodes[1]) == 0 {
        nodes[0].notices.tell(b"more".to_vec());
        std::thread::yield_now();
    }
    assert_eq!(nodes[1].notice(), NoticeWord::Heard(b"more".to_vec()));
    nodes.into_iter().for_each(Node::stop);
}
