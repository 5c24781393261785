//! Parts, requests and answers: who hears what, in which order, and what is dropped.

use async_nats::Subject;
use tickring::cluster::names::Places;
use tickring::cluster::parts::Part;
use tickring::cluster::words::{Asker, Wish, Word};
use tickring::limits;

use super::node::{Node, place, setup};
use super::server::NatsServer;

fn tell(places: u16, bytes: &[u8]) -> Wish {
    Wish::Tell(Part { audience: Places(places), bytes: bytes.to_vec() })
}

fn asked(node: &mut Node) -> (Asker, Vec<u8>) {
    node.wait("request", |word| {
        if let Word::Asked { from, bytes } = word { Some((from.clone(), bytes.clone())) } else { None }
    })
}

fn answered(node: &mut Node) -> Vec<u8> {
    node.wait("answer", |word| if let Word::Answered(bytes) = word { Some(bytes.clone()) } else { None })
}

#[test]
fn a_part_reaches_its_audience_alone_and_in_order() {
    let server = NatsServer::start();
    let mut owner = Node::there(setup("owner", &server.address()));
    let mut followers = ["a", "b", "c"].map(|node| Node::there(setup(node, &server.address())));
    for (number, follower) in (0..).zip(&mut followers) {
        follower.hear(place(number));
    }
    let mut expected = [const { Vec::new() }; 3];
    for number in 0..2_000_u16 {
        let audience = number % 8;
        let bytes = [&number.to_le_bytes()[..], &vec![b'x'; usize::from(number)]].concat();
        (0..3).filter(|of| audience >> of & 1 == 1).for_each(|of| expected[of].push(bytes.clone()));
        owner.send(tell(audience, &bytes));
    }
    for (follower, expected) in followers.iter_mut().zip(expected) {
        for part in expected {
            assert!(follower.part() == part);
        }
        assert!(follower.kept().is_empty(), "{:?}", follower.kept());
        let reading = follower.nats.board().reading();
        assert_eq!((reading.heard_messages, reading.dropped_behind, reading.dropped_slow), (1_000, 0, 0));
    }
    assert_eq!(owner.nats.board().reading().told_messages, 2_000);
    followers.into_iter().for_each(Node::stop);
    owner.stop();
}

#[test]
fn another_place_is_heard_in_place_of_the_one_before() {
    let server = NatsServer::start();
    let mut owner = Node::there(setup("owner", &server.address()));
    let mut follower = Node::there(setup("a", &server.address()));
    follower.hear(place(3));
    follower.hear(place(15));
    owner.send(tell(1 << 3, b"before"));
    owner.send(tell(1 << 15, b"now"));
    assert_eq!(follower.part(), b"now");
    // The same place once more is answered too.
    follower.hear(place(15));
    follower.send(Wish::Hear(None));
    follower.hear(place(0));
    owner.send(tell(1 << 15, b"before"));
    owner.send(tell(1, b"now"));
    assert_eq!(follower.part(), b"now");
    assert!(follower.kept().is_empty());
    follower.stop();
    owner.stop();
}

/// Until it does: the echo of a place comes back behind the subscription to requests.
fn listen(node: &mut Node) {
    node.send(Wish::Listen(true));
    node.hear(place(0));
}

#[test]
fn a_request_is_heard_by_who_listens_and_answered_to_who_asked() {
    let server = NatsServer::start();
    let mut nodes = ["a", "b", "c"].map(|node| Node::there(setup(node, &server.address())));
    listen(&mut nodes[2]);
    for (number, of) in [(1, 0), (2, 1)] {
        let ask = [number, 0, 255];
        nodes[of].send(Wish::Ask(ask.to_vec()));
        let (from, bytes) = asked(&mut nodes[2]);
        assert_eq!(bytes, ask);
        nodes[2].send(Wish::Answer { to: from, bytes: vec![number; 3] });
        assert_eq!(answered(&mut nodes[of]), [number; 3]);
    }
    // Nobody else has heard anything of it.
    for node in &nodes {
        assert!(!node.kept().iter().any(|word| matches!(word, Word::Asked { .. } | Word::Answered(_))));
    }
    nodes[2].send(Wish::Listen(false));
    nodes[2].hear(place(1));
    nodes[0].send(Wish::Ask(b"nobody".to_vec()));
    nodes[0].hear(place(2));
    nodes[2].hear(place(3));
    assert!(!nodes[2].kept().iter().any(|word| matches!(word, Word::Asked { .. })));
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn an_owner_is_not_made_to_publish_elsewhere_than_to_nodes_of_its_cluster() {
    let server = NatsServer::start();
    let mut owner = Node::there(setup("owner", &server.address()));
    listen(&mut owner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stranger = async_nats::connect(server.address()).await.unwrap();
        let subject = Subject::from("tickring.prod.owner");
        stranger.publish(subject.clone(), "x".into()).await.unwrap();
        for reply in
            ["tickring.prod.owner", "$JS.API.STREAM.DELETE.KV_tickring_prod", "tickring.prod.reply.b.1"]
        {
            stranger.publish_with_reply(subject.clone(), reply, "x".into()).await.unwrap();
        }
        stranger.flush().await.unwrap();
    });
    let (from, bytes) = asked(&mut owner);
    assert_eq!((from.0.as_str(), bytes.as_slice()), ("tickring.prod.reply.b.1", &b"x"[..]));
    assert_eq!(owner.nats.board().reading().dropped_strange, 3);
    owner.stop();
}

#[test]
fn a_message_that_nats_does_not_take_is_dropped_and_counted_and_the_next_one_goes() {
    let server = NatsServer::with("max_payload: 1000", &[]);
    let mut owner = Node::there(setup("owner", &server.address()));
    let mut follower = Node::there(setup("a", &server.address()));
    follower.hear(place(0));
    owner.send(tell(1, &[0; 1_001]));
    owner.send(tell(1, &[1; 1_000]));
    assert_eq!(follower.part(), [1; 1_000]);
    assert_eq!(owner.nats.board().reading().dropped_refused, 1);
    follower.stop();
    owner.stop();
}

#[test]
fn what_is_heard_while_the_market_s_thread_takes_nothing_is_bounded_and_counted() {
    let server = NatsServer::start();
    let mut owner = Node::there(setup("owner", &server.address()));
    let mut follower = Node::there(setup("a", &server.address()));
    follower.hear(place(0));
    let total = limits::NATS_MESSAGES_MAX as u64 + 1_000;
    let board = follower.nats.board();
    let taken = || {
        let reading = board.reading();
        reading.heard_messages + reading.dropped_behind + reading.dropped_slow
    };
    for number in 0..total {
        let mut wish = tell(1, &number.to_le_bytes());
        while let Err(back) = owner.port.send(wish) {
            wish = back;
            std::thread::yield_now();
        }
        owner.port.flush();
    }
    while taken() < total {
        std::thread::yield_now();
    }
    let reading = board.reading();
    assert_eq!(reading.heard_messages, limits::NATS_MESSAGES_MAX as u64);
    for number in 0..limits::NATS_MESSAGES_MAX as u64 {
        assert_eq!(follower.part(), number.to_le_bytes());
    }
    // And there is room again.
    owner.send(tell(1, b"again"));
    assert_eq!(follower.part(), b"again");
    follower.stop();
    owner.stop();
}
