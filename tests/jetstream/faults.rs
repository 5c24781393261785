//! A server that is not there, comes back, does not answer, or is the wrong one.

use std::time::{Duration, Instant};

use serde_json::json;
use tickring::cluster::names::ClusterName;
use tickring::model::storage::{StoreFault, StoreState, StoreWord};
use tickring::nats::NatsSetup;
use tickring::store::jetstream::JetSettings;

use crate::DEADLINE;
use crate::link::Link;
use crate::nats_client::NatsClient;
use crate::nats_server::NatsServer;
use crate::running::{Chance, End, Running, STREAM, SUBJECT, Sender, message, put, settings};

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn without_a_server_batches_are_refused_by_name_until_one_is_there() {
    let mut server = NatsServer::start("");
    server.stop();
    let mut running = Running::open(&server.url(), 1);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::Away)));
    let number = running.send(vec![put(1, b"refused")]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::Away));
    server.restart();
    assert_eq!(running.load(), []);
    running.store(vec![put(2, b"kept")]);
    server.stop();
    running.await_state(StoreState::Faulty(StoreFault::Away));
    let number = running.send(vec![put(3, b"refused")]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::Away));
    server.restart();
    running.await_state(StoreState::Ready);
    running.store(vec![put(4, b"kept")]);
    let told = running.store.reading(0);
    assert_eq!((told.refused_total.iter().sum::<u64>(), told.queued_batches), (2, 0));
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded, [message(2, b"kept"), message(4, b"kept")]);
    running.stop();
}

/// What is sent while the way to the server breaks is answered once, by what the stream has.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn over_a_link_that_is_slow_cut_and_broken_each_batch_is_answered_by_what_the_stream_has() {
    let server = NatsServer::start("");
    let link = Link::to(server.address());
    let (running, _) = Running::ready(&link.url(), 1);
    let (mut sender, mut chance) = (Sender::new(running, 1, 0), Chance::new(7));
    for round in 0..30 {
        sender.store_some(1 + chance.below(30));
        link.delay(Duration::from_micros(chance.below(3000)));
        sender.send_some();
        match round % 3 {
            0 => link.refuse(),
            1 => {
                link.cut();
                sender.send_some();
                link.refuse();
            }
            // Nothing is lost by that: what was held back comes.
            _ => {
                link.cut();
                sender.send_some();
            }
        }
        link.restore();
        sender.drain();
    }
    sender.store_some(10);
    assert!(sender.ledger.refused > 0, "some of it was too late");
    sender.drain();
    sender.running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(sender.ledger.check(&loaded), 0);
    running.stop();
}

/// As a network that is gone without a word: a request has its time, then it is in doubt.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_that_says_nothing_any_more_is_away_after_a_request_has_had_its_time() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    running.store(vec![put(1, b"kept")]);
    server.pause();
    let number = running.send(vec![put(2, b"in doubt")]);
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::Away)));
    let later = running.send(vec![put(3, b"refused")]);
    assert_eq!(running.end_of(later), End::Refused(StoreFault::Away));
    server.resume();
    // The server had it in its socket.
    let is_stored = running.end_of(number) == End::Stored;
    running.await_state(StoreState::Ready);
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded.iter().any(|entry| entry.1 == 2), is_stored);
    assert!(loaded.iter().all(|entry| entry.1 != 3));
    running.stop();
}

/// As a node's store connects: it hears within seconds that a server says nothing any more, and goes to another one.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
#[expect(
    clippy::disallowed_methods,
    reason = "a wait has an end, by which nothing but its failure is judged"
)]
fn a_server_that_falls_silent_is_left_for_another_one() {
    let server = NatsServer::start("");
    // Which of them it is connected to, nobody knows: each falls silent once.
    let links = [(); 2].map(|()| Link::to(server.address()));
    let node = NatsSetup {
        cluster: ClusterName::parse(b"tests").unwrap(),
        node: ClusterName::parse(b"a").unwrap(),
        incarnation: 1,
        servers: links.iter().map(Link::url).collect(),
        credentials: None,
        tls: None,
        term_ms: 8_000,
        replicas: 1,
        give_way: || Ok(()),
    };
    let (servers, options) = node.of_store().unwrap();
    let settings = JetSettings { servers, options, ..settings(&server.url()) };
    let mut running = Running::open_with(settings, 1, 64, 1 << 20);
    assert_eq!(running.load(), []);
    for (link, key) in links.iter().zip(1..) {
        link.cut();
        let began = Instant::now();
        loop {
            let number = running.send(vec![put(key, b"kept")]);
            let end = running.end_of(number);
            assert!(began.elapsed() < DEADLINE, "it has not found the other one");
            if end == End::Stored {
                break;
            }
        }
        link.restore();
    }
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded, [message(1, b"kept"), message(2, b"kept")]);
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_without_jetstream_is_away() {
    let server = NatsServer::start("accounts { A: { users: [{ user: a, password: a }] } }\nno_auth_user: a");
    let mut running = Running::open(&server.url(), 1);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    let StoreWord::State(StoreState::Faulty(fault)) = running.word() else { panic!("it is no store") };
    assert!(matches!(fault, StoreFault::Away | StoreFault::Io), "{fault}");
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_stream_that_throws_away_by_itself_is_no_store() {
    let server = NatsServer::start("");
    let mut client = NatsClient::connect(server.address());
    let wanted = json!({
        "name": STREAM, "subjects": [SUBJECT], "num_replicas": 1, "storage": "file", "discard": "old", "max_msgs": 1000,
    });
    let made = client.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &wanted.to_string());
    assert_eq!(made["config"]["name"], STREAM, "{made}");
    let mut running = Running::open(&server.url(), 1);
    assert_eq!(running.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(running.word(), StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_somebody_else_publishes_into_the_stream_is_not_read_over() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    running.store(vec![put(1, b"kept")]);
    let mut client = NatsClient::connect(server.address());
    let told = client.ask(SUBJECT, "not of ours");
    assert_eq!(told["stream"], STREAM, "{told}");
    let number = running.send(vec![put(2, b"in doubt")]);
    running.await_state(StoreState::Faulty(StoreFault::Corrupt));
    assert!(number > 1);
    running.stop();
    let mut next = Running::open(&server.url(), 2);
    assert_eq!(next.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(next.word(), StoreWord::State(StoreState::Faulty(StoreFault::Corrupt)));
    next.stop();
}
