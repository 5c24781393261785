//! What is kept: entries in their order, batches as a whole and in order, what waits at the end.

use tickring::limits;
use tickring::model::storage::{StoreBatch, StoreOp, StoreWord, Table};
use tickring::store::Room;

use crate::nats_server::NatsServer;
use crate::running::{Running, message, put, remove, settings};

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_was_stored_is_loaded_at_the_next_opening_table_for_table_in_the_order_of_keys() {
    let server = NatsServer::start("");
    let (mut running, loaded) = Running::ready(&server.url(), 1);
    assert_eq!(loaded, []);
    let group = StoreOp::Put { table: Table::Groups, key: 3, value: b"g"[..].into() };
    running.store(vec![group, put(256, b"later"), put(1, b"first"), put(2, b"gone")]);
    // The last of several on one key holds.
    running.store(vec![remove(2), put(7, b"old"), put(7, b"new"), put(8, b"x"), remove(8), remove(99)]);
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    let of_groups = (Table::Groups, 3, b"g".to_vec());
    assert_eq!(loaded, [message(1, b"first"), message(7, b"new"), message(256, b"later"), of_groups]);
    assert_eq!(running.store.reading(0).loaded_entries, 4);
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_waits_goes_into_few_messages_and_is_answered_in_order() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    const ROUNDS: u64 = 20;
    for _ in 0..ROUNDS {
        let mut last = 0;
        for key in 0..50 {
            last = running.send(vec![put(key, &[1; 300])]);
        }
        let mut answered = 0;
        while answered < last {
            let StoreWord::Stored { through } = running.word() else { panic!("nothing goes wrong") };
            assert!(through > answered);
            answered = through;
        }
    }
    let told = running.store.reading(0);
    assert_eq!((told.batches_total, told.operations_total), (50 * ROUNDS, 50 * ROUNDS));
    assert_eq!(told.bytes_total, 300 * 50 * ROUNDS);
    assert!(told.commits_total < 50 * ROUNDS / 2, "{} messages", told.commits_total);
    assert_eq!((told.queued_batches, told.queued_bytes, told.state), (0, 0, 2));
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_queue_that_is_full_hands_the_batch_back_and_takes_it_once_something_is_answered() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    // More than its words have room for, so that the next one waits for us with what it loads.
    for key in 0..80 {
        running.store(vec![put(key, &vec![7; limits::STORE_PIECE_BYTES])]);
    }
    running.stop();
    let batch = |number| StoreBatch { number, ops: vec![put(number, &[1; 1000])] };
    let weight = batch(1).weight_bytes();
    let mut running = Running::open_with(settings(&server.url()), 2, 4, 3 * weight);
    for number in 1..=3 {
        running.handle.send(batch(number)).unwrap();
    }
    assert_eq!(running.handle.room(), Room { batches: 1, bytes: 0 });
    assert_eq!(running.handle.send(batch(4)), Err(batch(4)), "bytes");
    assert_eq!(running.load().len(), 80);
    running.await_word(&StoreWord::Stored { through: 3 });
    assert_eq!(running.handle.room(), Room { batches: 4, bytes: 3 * weight });
    // One that is too long by itself is taken alone.
    let long = StoreBatch { number: 4, ops: vec![put(4, &vec![1; 4 * weight])] };
    running.handle.send(long).unwrap();
    running.await_word(&StoreWord::Stored { through: 4 });
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_was_sent_before_the_end_is_stored_though_nobody_listens_any_more() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    for key in 0..60 {
        running.send(vec![put(key, b"x")]);
    }
    // That ends the thread; the stop waits until it has.
    drop(running.handle);
    assert!(running.store.stop());
    let (mut running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded.len(), 60);
    for key in 0..60 {
        running.send(vec![remove(key)]);
    }
    assert!(running.store.stop());
    drop(running.handle);
    let (running, loaded) = Running::ready(&server.url(), 3);
    assert_eq!(loaded, []);
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_batch_that_is_longer_than_a_message_of_the_server_is_kept_as_a_whole() {
    for max_payload in ["", "max_payload: 20000"] {
        let server = NatsServer::start(max_payload);
        let (mut running, _) = Running::ready(&server.url(), 1);
        let long: Vec<u8> = (0..2_000_000_u32).map(|place| (place >> (place % 11)) as u8).collect();
        running.store(vec![put(1, b"before")]);
        running.store(vec![put(2, &long), put(3, b"with it"), remove(1)]);
        running.store(vec![put(4, b"after")]);
        running.stop();
        let (running, loaded) = Running::ready(&server.url(), 2);
        assert!(loaded == [message(2, &long), message(3, b"with it"), message(4, b"after")]);
        running.stop();
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_stop_and_an_end_with_nothing_opened_or_nobody_there_are_over_at_once() {
    let server = NatsServer::start("");
    let (running, _) = Running::ready(&server.url(), 1);
    assert!(running.store.stop() && running.store.stop());
    let url = server.url();
    drop(server);
    let running = Running::open(&url, 2);
    assert!(running.store.stop());
}
