//! The bucket that says who is present: what one owner keeps the next one reads, who writes, what is forgotten, what others may have done to it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::kv::Config;
use tickring::cluster::names::Fence;
use tickring::cluster::words::{PresenceWish, PresenceWord};
use tickring::limits;
use tickring::model::message::Name;
use tickring::model::presence::{KeptPresence, KeptWord};

use super::lease::by_hand;
use super::nats_server::NatsServer;
use super::node::{Node, setup};

const BUCKET: &str = "tickring_prod_presence";

impl Node {
    pub(crate) fn keep(&mut self, user: &str, since_ms: Option<u64>) {
        let kept = KeptPresence { user: Name::parse(user).unwrap(), since_ms };
        while self.port.send_presence(PresenceWish::Write(kept)).is_err() {
            // The other side is behind.
            std::thread::yield_now();
        }
        self.port.flush();
    }

    pub(crate) fn begin(&mut self, fence: u64) {
        self.port.send_presence(PresenceWish::Begin(Fence(fence))).unwrap();
        self.port.flush();
    }

    /// Begins as the owner of this fence: what it reads, and how soon it is to write again.
    pub(crate) fn own(&mut self, fence: u64) -> (BTreeMap<String, u64>, u64) {
        self.begin(fence);
        let (mut read, mut renew) = (BTreeMap::new(), 0);
        loop {
            let PresenceWord { fence: of, word } = self.presence_word();
            assert_eq!(of, Fence(fence));
            match word {
                KeptWord::Reading { renew_ns } => renew = renew_ns,
                KeptWord::Entries(entries) => {
                    assert!(entries.len() <= limits::PRESENCE_ENTRIES_PER_WORD);
                    read.extend(
                        entries.iter().map(|kept| (kept.user.as_str().to_owned(), kept.since_ms.unwrap())),
                    );
                }
                KeptWord::Read => return (read, renew),
                KeptWord::Unwritten(kept) => panic!("{kept:?}"),
            }
        }
    }

    /// Until NATS has so many changes.
    fn await_written(&self, count: u64) {
        let board = self.nats.board();
        while board.reading().presence_written < count {
            std::thread::yield_now();
        }
    }
}

fn map(users: &[(&str, u64)]) -> BTreeMap<String, u64> {
    users.iter().map(|(user, since_ms)| ((*user).to_owned(), *since_ms)).collect()
}

#[test]
fn what_one_owner_keeps_the_next_reads() {
    let server = NatsServer::start("");
    let mut first = Node::there(setup("a", server.address()));
    let (nobody, renew_ns) = first.own(1);
    assert_eq!((nobody, renew_ns), (BTreeMap::new(), limits::PRESENCE_AGE_NS / 3));
    let mut expected = BTreeMap::new();
    for number in 0..600 {
        first.keep(&format!("user-{number}"), Some(number));
        expected.insert(format!("user-{number}"), number);
    }
    first.keep("user-7", None);
    first.keep("user-8", Some(1_795_242_552_741));
    expected.remove("user-7");
    expected.insert("user-8".to_owned(), 1_795_242_552_741);
    first.await_written(602);
    let mut next = Node::there(setup("b", server.address()));
    assert_eq!(next.own(2).0, expected);
    by_hand(&server, async |context| {
        let store = context.get_key_value(BUCKET).await.unwrap();
        let status = store.status().await.unwrap();
        assert_eq!(status.max_age(), Duration::from_nanos(limits::PRESENCE_AGE_NS));
        // The users, the one that was removed, and the mark.
        assert_eq!((status.history(), status.values()), (1, 601));
    });
    first.stop();
    next.stop();
}

#[test]
fn an_owner_that_another_has_followed_writes_no_more() {
    let server = NatsServer::start("");
    let mut nodes = ["a", "b"].map(|node| Node::there(setup(node, server.address())));
    nodes[0].own(1);
    nodes[0].keep("ann", Some(5));
    nodes[0].await_written(1);
    assert_eq!(nodes[1].own(2).0, map(&[("ann", 5)]));
    for user in ["bob", "eve"] {
        nodes[0].keep(user, Some(6));
    }
    nodes[0].keep("ann", None);
    nodes[1].keep("dan", Some(7));
    nodes[1].await_written(1);
    // What it wished before is behind it when it has read.
    assert_eq!(nodes[0].own(3).0, map(&[("ann", 5), ("dan", 7)]));
    assert_eq!(nodes[0].nats.board().reading().presence_written, 1);
    // Nor does one begin that comes late.
    nodes[1].begin(2);
    nodes[1].keep("dan", None);
    assert_eq!(nodes[1].own(4).0, map(&[("ann", 5), ("dan", 7)]));
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn what_is_not_written_again_is_forgotten_by_the_age_of_the_bucket() {
    let server = NatsServer::start("");
    let age = Duration::from_secs(5);
    by_hand(&server, async |context| {
        let config = Config { bucket: BUCKET.to_owned(), history: 1, max_age: age, ..Config::default() };
        context.create_key_value(config).await.unwrap();
    });
    let mut node = Node::there(setup("a", server.address()));
    assert_eq!(node.own(1), (BTreeMap::new(), u64::try_from(age.as_nanos()).unwrap() / 3));
    node.keep("bob", Some(1));
    for fence in 2.. {
        node.keep("ann", Some(2));
        node.await_written(fence);
        let (read, _) = node.own(fence);
        assert_eq!(read.get("ann"), Some(&2));
        if !read.contains_key("bob") {
            break;
        }
    }
    node.stop();
}

#[test]
fn what_others_write_there_is_counted_and_the_rest_is_read_and_written() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    node.own(1);
    node.keep("ann", Some(5));
    node.await_written(1);
    by_hand(&server, async |context| {
        let store = context.get_key_value(BUCKET).await.unwrap();
        let long = "x".repeat(limits::PRESENCE_VALUE_BYTES_MAX + 1);
        assert!(store.put("present.long", long.into()).await.is_err());
        for (key, value) in [
            ("present.eve", "{}"),
            ("present.eve.x", "{\"version\":1,\"user\":\"eve\",\"since_ms\":1}"),
            ("notes", "hello"),
        ] {
            store.put(key, value.into()).await.unwrap();
        }
    });
    // Another is the newest message, and the owner goes on behind it.
    node.keep("bob", Some(6));
    node.await_written(2);
    let mut next = Node::there(setup("b", server.address()));
    assert_eq!(next.own(2).0, map(&[("ann", 5), ("bob", 6)]));
    assert_eq!(next.nats.board().reading().presence_strange, 3);
    node.stop();
    next.stop();
}

#[test]
fn a_bucket_that_is_deleted_is_made_anew() {
    let server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    node.own(1);
    node.keep("ann", Some(5));
    node.await_written(1);
    by_hand(&server, async |context| {
        context.delete_key_value(BUCKET).await.unwrap();
    });
    node.keep("ann", Some(5));
    let PresenceWord { word: KeptWord::Unwritten(kept), .. } = node.presence_word() else { panic!() };
    // It rests for a moment after a failure, and tells so as often as it is asked.
    let board = node.nats.board();
    while board.reading().presence_written < 2 {
        node.keep(kept.user.as_str(), kept.since_ms);
        while node.port.receive_presence().is_some() {}
    }
    let mut next = Node::there(setup("b", server.address()));
    assert_eq!(next.own(2).0, map(&[("ann", 5)]));
    node.stop();
    next.stop();
}

#[test]
fn while_nats_is_away_what_is_not_written_is_told_and_nothing_is_kept_for_it() {
    let mut server = NatsServer::start("");
    let mut node = Node::there(setup("a", server.address()));
    node.own(1);
    node.keep("ann", Some(5));
    node.await_written(1);
    server.kill();
    let count = 2 * limits::NATS_PRESENCE_WISHES_MAX as u64;
    for number in 0..count {
        node.keep(&format!("user-{number}"), Some(number));
        let PresenceWord { word, .. } = node.presence_word();
        assert!(matches!(word, KeptWord::Unwritten(kept) if kept.since_ms == Some(number)), "{word:?}");
    }
    assert_eq!(node.nats.board().reading().presence_unwritten, count);
    // One that begins meanwhile does so when it is back.
    node.begin(2);
    server.restart();
    let mut words = vec![node.presence_word().word, node.presence_word().word, node.presence_word().word];
    let Some(KeptWord::Read) = words.pop() else { panic!("{words:?}") };
    let ann = KeptPresence { user: Name::parse("ann").unwrap(), since_ms: Some(5) };
    assert_eq!(words.pop(), Some(KeptWord::Entries(vec![ann])));
    node.keep("bob", Some(6));
    node.await_written(2);
    node.stop();
}
