//! The bucket of named sessions: compare-and-set, values that end by themselves, what is told and when, NATS that is away or stuck.

use async_nats::jetstream;
use tickring::auth::{BucketAnswer, BucketWord, SessionKey, SessionValue, Wanted};
use tickring::limits;

use super::lease::by_hand;
use super::nats_server::NatsServer;
use super::node::{Node, setup};

const BUCKET: &str = "tickring_prod_sessions";

/// A session of this name, and which of that name it is.
pub(crate) fn session(name: &str, family: u8) -> (SessionKey, String) {
    let digest = |byte: u8| format!("{byte:02x}").repeat(32);
    let (print, access, family, refresh) = (digest(9), digest(1), digest(family), digest(3));
    let text =
        format!("tickring session 1 desk-key {print} {name} trade:read 1 2 3 {access} {family} {refresh}\n");
    (SessionKey::of("desk-key", name), text)
}

fn value(key: SessionKey, text: &str) -> Option<Box<SessionValue>> {
    Some(Box::new(SessionValue::parse(key, text.as_bytes()).unwrap()))
}

const READ: Wanted = Wanted::Read { waits: false };

fn write(text: &str, revision: u64, lasts_s: u64) -> Wanted {
    Wanted::Write { text: text.to_owned(), revision, lasts_s }
}

fn written(answer: BucketAnswer) -> u64 {
    let BucketAnswer::Written { revision } = answer else { panic!("{answer:?}") };
    revision
}

/// Once all that there is was told; that.
fn complete(node: &mut Node) -> Vec<(SessionKey, bool)> {
    let mut seen = Vec::new();
    while node.told() != BucketWord::Began {}
    loop {
        match node.told() {
            BucketWord::Seen { key, value, .. } => seen.push((key, value.is_some())),
            BucketWord::Complete => return seen,
            other @ (BucketWord::Began | BucketWord::Lost) => panic!("{other:?}"),
        }
    }
}

/// Once the bucket answers.
fn read(node: &mut Node, key: SessionKey) -> BucketAnswer {
    loop {
        let answer = node.ask_session(key, READ);
        if answer != BucketAnswer::Unknown {
            return answer;
        }
    }
}

#[test]
fn of_two_that_write_one_revision_exactly_one_has_it_and_both_are_told() {
    let server = NatsServer::start("");
    let mut nodes = ["a", "b"].map(|node| Node::there(setup(node, server.address())));
    nodes.iter_mut().for_each(|node| assert_eq!(complete(node), []));
    let (key, mut revision) = (session("desk", 0).0, 0);
    for round in 1..=50 {
        for (node, of) in nodes.iter_mut().zip([0, 100]) {
            node.send_session(key, write(&session("desk", round + of).1, revision, 60));
        }
        let answers = nodes.each_mut().map(|node| node.session_answer().1);
        let (winner, other) = if answers[0] == BucketAnswer::Refused { (1, 0) } else { (0, 1) };
        assert_eq!(answers[other], BucketAnswer::Refused);
        let new = written(answers[winner].clone());
        assert!(new > revision);
        revision = new;
        let text = session("desk", round + [0, 100][winner]).1;
        let holds = BucketAnswer::Holds { revision, value: value(key, &text) };
        let seen = BucketWord::Seen { key, revision, value: value(key, &text) };
        for node in &mut nodes {
            assert_eq!(node.ask_session(key, READ), holds);
            assert_eq!(node.told(), seen);
        }
    }
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn a_session_ends_by_itself_in_the_bucket_and_by_who_deletes_it_and_its_key_is_free_again() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    assert_eq!(complete(&mut node), []);
    let (key, text) = session("desk", 1);
    assert_eq!(read(&mut node, key), BucketAnswer::Holds { revision: 0, value: None });
    let first = written(node.ask_session(key, write(&text, 0, 1)));
    assert_eq!(node.told(), BucketWord::Seen { key, revision: first, value: value(key, &text) });
    // After its second the server says so itself.
    let BucketWord::Seen { key: ended, revision, value: None } = node.told() else { panic!() };
    assert_eq!(ended, key);
    assert!(revision > first);
    let BucketAnswer::Holds { revision, value: None } = node.ask_session(key, READ) else { panic!() };
    let again = written(node.ask_session(key, write(&text, revision, 60)));
    assert_eq!(node.ask_session(key, Wanted::Delete { revision: first }), BucketAnswer::Refused);
    let deleted = written(node.ask_session(key, Wanted::Delete { revision: again }));
    assert_eq!(node.ask_session(key, READ), BucketAnswer::Holds { revision: deleted, value: None });
    assert_eq!(node.ask_session(key, write(&text, again, 60)), BucketAnswer::Refused);
    written(node.ask_session(key, write(&text, deleted, 60)));
    by_hand(&server, async |context| {
        let store = context.get_key_value(BUCKET).await.unwrap();
        let config = &store.stream.cached_info().config;
        assert_eq!((config.max_messages_per_subject, config.num_replicas), (1, 1));
        assert!(config.allow_message_ttl && config.max_age.is_zero());
    });
    node.stop();
}

#[test]
fn who_comes_later_is_told_all_sessions_and_then_that_it_was_all() {
    let server = NatsServer::start("");
    let mut first = Node::there(setup("a", server.address()));
    complete(&mut first);
    let mut keys = Vec::new();
    for number in 0..1_000 {
        let (key, text) = session(&format!("s{number}"), 1);
        first.send_session(key, write(&text, 0, 3_600));
        written(first.session_answer().1);
        keys.push((key, true));
    }
    let revision = 7;
    assert_eq!(read(&mut first, keys[6].0), first.ask_session(keys[6].0, READ));
    written(first.ask_session(keys[6].0, Wanted::Delete { revision }));
    keys[6].1 = false;
    let mut later = Node::there(setup("b", server.address()));
    let mut told = complete(&mut later);
    told.sort_unstable();
    keys.sort_unstable();
    assert_eq!(told, keys);
    first.stop();
    later.stop();
}

#[test]
fn what_somebody_else_writes_is_no_session_and_is_counted() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    complete(&mut node);
    let (key, text) = session("desk", 1);
    let other = session("other", 1).0;
    by_hand(&server, async |context| {
        let store = context.get_key_value(BUCKET).await.unwrap();
        store.put("market", "{}".into()).await.unwrap();
        store.put(other.to_string(), text.clone().into()).await.unwrap();
        store.put(key.to_string(), vec![b'x'; 2 * limits::SESSION_VALUE_BYTES_MAX].into()).await.unwrap();
    });
    assert_eq!(node.told(), BucketWord::Seen { key: other, revision: 2, value: None });
    assert_eq!(node.told(), BucketWord::Seen { key, revision: 3, value: None });
    assert_eq!(node.ask_session(key, READ), BucketAnswer::Holds { revision: 3, value: None });
    assert!(node.nats.board().reading().session_strange >= 4, "{:?}", node.nats.board().reading());
    written(node.ask_session(key, write(&text, 3, 60)));
    node.stop();
}

#[test]
fn a_bucket_whose_values_would_never_end_is_not_used() {
    let server = NatsServer::start("");
    by_hand(&server, async |context| {
        let config = jetstream::kv::Config { bucket: BUCKET.to_owned(), ..Default::default() };
        context.create_key_value(config).await.unwrap();
    });
    let mut node = Node::there(setup("a", server.address()));
    let (key, text) = session("desk", 1);
    assert_eq!(node.ask_session(key, Wanted::Read { waits: true }), BucketAnswer::Unknown);
    assert_eq!(node.ask_session(key, write(&text, 0, 60)), BucketAnswer::Unknown);
    by_hand(&server, async |context| context.delete_key_value(BUCKET).await.map(drop).unwrap());
    assert_eq!(read(&mut node, key), BucketAnswer::Holds { revision: 0, value: None });
    node.stop();
}

#[test]
fn a_bucket_that_is_deleted_is_made_anew_and_what_was_in_it_is_told_to_be_gone() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    complete(&mut node);
    let (key, text) = session("desk", 1);
    written(node.ask_session(key, write(&text, 0, 60)));
    by_hand(&server, async |context| context.delete_key_value(BUCKET).await.map(drop).unwrap());
    while node.told() != BucketWord::Lost {}
    assert_eq!(complete(&mut node), []);
    assert_eq!(read(&mut node, key), BucketAnswer::Holds { revision: 0, value: None });
    written(node.ask_session(key, write(&text, 0, 60)));
    node.stop();
}

#[test]
fn while_nats_is_away_nothing_is_waited_for_and_when_it_is_back_all_is_told_anew() {
    let mut server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    complete(&mut node);
    let (key, text) = session("desk", 1);
    written(node.ask_session(key, write(&text, 0, 60)));
    for _ in 0..2 {
        server.kill();
        while node.told() != BucketWord::Lost {}
        assert_eq!(node.ask_session(key, READ), BucketAnswer::Unknown);
        assert_eq!(node.ask_session(key, Wanted::Delete { revision: 1 }), BucketAnswer::Unknown);
        server.restart();
        assert_eq!(complete(&mut node), [(key, true)]);
        let holds = BucketAnswer::Holds { revision: 1, value: value(key, &text) };
        assert_eq!(read(&mut node, key), holds);
    }
    // One that waits for what it was not told is answered as soon as NATS is there.
    server.kill();
    while node.told() != BucketWord::Lost {}
    let number = node.send_session(key, Wanted::Read { waits: true });
    server.restart();
    let (answered, answer) = node.session_answer();
    assert_eq!(answered, number);
    assert!(matches!(answer, BucketAnswer::Holds { revision: 1, .. } | BucketAnswer::Unknown), "{answer:?}");
    node.stop();
}

#[test]
fn all_that_is_asked_of_a_stuck_nats_is_answered_and_it_is_found_again() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    complete(&mut node);
    let (key, text) = session("desk", 1);
    written(node.ask_session(key, write(&text, 0, 60)));
    server.pause();
    let count = limits::SESSION_INQUIRIES_MAX;
    for _ in 0..count {
        node.send_session(key, READ);
    }
    for _ in 0..count {
        assert_eq!(node.session_answer().1, BucketAnswer::Unknown);
    }
    assert!(node.nats.board().reading().session_unknown >= count as u64);
    server.resume();
    // By another connection, since the one before has too much that nobody answered: its watch is over.
    while node.told() != BucketWord::Lost {}
    assert_eq!(complete(&mut node), [(key, true)]);
    let holds = BucketAnswer::Holds { revision: 1, value: value(key, &text) };
    assert_eq!(read(&mut node, key), holds);
    node.stop();
}
