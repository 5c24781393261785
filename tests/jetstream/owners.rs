//! Who may write: the owner of the latest fence, and nobody who came before, whatever of theirs is under way.

use std::time::Duration;

use tickring::model::storage::{StoreFault, StoreState, StoreWord};

use crate::link::Link;
use crate::nats_client::NatsClient;
use crate::nats_server::NatsServer;
use crate::running::{End, Running, STREAM, Sender, message, put, remove};

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_older_owner_is_refused_once_a_later_one_has_begun_and_is_told_so() {
    let server = NatsServer::start("");
    let (mut older, _) = Running::ready(&server.url(), 5);
    older.store(vec![put(1, b"by the older")]);
    let (mut later, loaded) = Running::ready(&server.url(), 6);
    assert_eq!(loaded, [message(1, b"by the older")]);
    let number = older.send(vec![put(2, b"too late")]);
    assert_eq!(older.word(), StoreWord::Refused { number, fault: StoreFault::Taken });
    assert_eq!(older.word(), StoreWord::State(StoreState::Faulty(StoreFault::Taken)));
    let number = older.send(vec![put(3, b"too late")]);
    assert_eq!(older.end_of(number), End::Refused(StoreFault::Taken));
    // Nothing of it has disturbed the later one.
    later.store(vec![put(4, b"by the later")]);
    older.stop();
    later.stop();
    let (running, loaded) = Running::ready(&server.url(), 7);
    assert_eq!(loaded, [message(1, b"by the older"), message(4, b"by the later")]);
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn who_comes_late_with_an_older_fence_gets_nothing_and_disturbs_nobody() {
    let server = NatsServer::start("");
    let (mut later, _) = Running::ready(&server.url(), 9);
    later.store(vec![put(1, b"kept")]);
    let mut late = Running::open(&server.url(), 8);
    assert_eq!(late.word(), StoreWord::State(StoreState::Loading));
    assert_eq!(late.word(), StoreWord::State(StoreState::Faulty(StoreFault::Taken)));
    let number = late.send(vec![put(2, b"refused")]);
    assert_eq!(late.end_of(number), End::Refused(StoreFault::Taken));
    later.store(vec![put(3, b"kept")]);
    let told = later.store.reading(0);
    assert_eq!((told.commits_total, told.refused_total.iter().sum::<u64>()), (2, 0));
    late.stop();
    later.stop();
}

/// Owners follow each other at random moments, each while the one before it is sending over a link that is slow or cut: what was stored is there, what was
/// refused is not, and what the older is told afterwards is what the later has loaded.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn owners_that_follow_each_other_in_mid_load_have_all_that_was_stored_and_agree_on_the_rest() {
    let server = NatsServer::start("");
    let (mut before, mut next_key): (Option<(Sender, Link)>, _) = (None, 0);
    for round in 1..=40_u64 {
        let link = Link::to(server.address());
        if let Some((older, of_older)) = &mut before {
            older.store_some(5 + round % 7);
            match round % 3 {
                0 => of_older.cut(),
                1 => of_older.delay(Duration::from_millis(3)),
                _ => {}
            }
            older.send_some();
        }
        let (running, loaded) = Running::ready(&link.url(), round);
        if let Some((mut older, of_older)) = before.take() {
            // What had come by then, of all that is not answered, in its order.
            while let Some(word) = older.running.handle.receive() {
                older.ledger.hear(&word);
            }
            let came = older.ledger.check(&loaded);
            of_older.restore();
            let stored_before = older.ledger.stored;
            older.drain();
            assert_eq!(older.ledger.stored - stored_before, came as u64, "round {round}");
            assert_eq!(older.ledger.check(&loaded), 0, "round {round}");
            older.running.stop();
        }
        next_key += 1_000_000;
        let mut sender = Sender::new(running, round, next_key);
        sender.ledger.start_with(&loaded);
        before = Some((sender, link));
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_owner_reopens_in_the_same_term_and_only_its_last_opening_writes() {
    let server = NatsServer::start("");
    let (mut first, _) = Running::ready(&server.url(), 3);
    first.store(vec![put(1, b"x")]);
    let (mut second, loaded) = Running::ready(&server.url(), 3);
    assert_eq!(loaded.len(), 1);
    let number = first.send(vec![put(2, b"refused")]);
    assert!(matches!(first.end_of(number), End::Refused(_)));
    first.await_state(StoreState::Faulty(StoreFault::Taken));
    second.store(vec![put(3, b"y")]);
    first.stop();
    second.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_stream_that_is_gone_or_another_one_is_not_written_to() {
    let server = NatsServer::start("");
    let mut client = NatsClient::connect(server.address());
    let (mut running, _) = Running::ready(&server.url(), 4);
    running.store(vec![put(1, b"x")]);
    let deleted = client.ask(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "");
    assert_eq!(deleted["success"], true, "{deleted}");
    let number = running.send(vec![put(2, b"refused")]);
    running.await_state(StoreState::Faulty(StoreFault::Corrupt));
    // Nothing is made in its place by this one; another owner begins with nothing, and is not written over.
    let (mut other, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded, []);
    for key in 0..10 {
        other.store(vec![put(key, b"y")]);
    }
    let later = running.send(vec![put(3, b"refused")]);
    assert_eq!(running.end_of(later), End::Refused(StoreFault::Corrupt));
    assert!(number < later);
    running.stop();
    other.store(vec![put(10, b"y")]);
    other.stop();
}

/// An older owner may have asked for a purge before it ceased, which comes while the next one reads: what removed an entry is among what goes, after what put it was
/// read perhaps.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_purge_at_any_moment_of_the_reading_brings_nothing_back() {
    const ENTRIES: u64 = 200;
    for round in 0..30 {
        let server = NatsServer::start("");
        let (mut older, _) = Running::ready(&server.url(), 1);
        // Its mark is the stream's first message; each of these is one, too, then the one that removes them all.
        for key in 0..ENTRIES {
            older.store(vec![put(key, &[1; 100])]);
        }
        older.store((0..ENTRIES).map(remove).collect());
        older.store(vec![put(ENTRIES, b"kept")]);
        older.stop();
        let mut client = NatsClient::connect(server.address());
        client.stream().set_nodelay(true).unwrap();
        let link = Link::to(server.address());
        link.delay(Duration::from_millis(2));
        let mut next = Running::open(&link.url(), 2);
        let newest = |client: &mut NatsClient| {
            client.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), "")["state"]["last_seq"].as_u64().unwrap()
        };
        let of_older = ENTRIES + 3;
        while newest(&mut client) == of_older {}
        // Some of the reading's time.
        for _ in 0..round * 8 {
            newest(&mut client);
        }
        let purge = format!("{{\"seq\":{of_older}}}");
        let purged = client.ask(&format!("$JS.API.STREAM.PURGE.{STREAM}"), &purge);
        assert_eq!(purged["success"], true, "{purged}");
        assert_eq!(next.load(), [message(ENTRIES, b"kept")], "round {round}");
        next.stop();
    }
}
