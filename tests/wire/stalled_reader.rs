//! A storm of messages with one reader that does not read: the others get everything, the stalled one what its class says,
//! and memory stays bounded.
//!
//! The publishers wait for the slowest of the healthy readers, so that how fast this machine is decides nothing.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::{Value, json};

use crate::bytes;
use crate::client::{Client, End};
use crate::server::{Ended, Server, number_after};

const READERS: usize = 9;
const PUBLISHERS: usize = 2;
/// Of each publisher: together more than the kernel's buffers and the stalled connection's queue can hold.
const MESSAGES: u64 = 25_000;
/// How far a publisher may be ahead of the slowest reader: well below `queued_bytes_max`.
const AHEAD_MAX: u64 = 1_000;
/// How often a reader reports, and how many requests a publisher has under way.
const STEP: u64 = 100;
const FILLER_BYTES: usize = 200;
/// What the storm may add to resident memory. What one stalled connection holds is `queued_bytes_max`; the rest is the
/// log shared by all, send buffers and history, 1 MiB each or so, and the allocator's slack.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// A reader's progress in one publisher's messages.
struct Progress {
    reader: usize,
    read: u64,
}

#[test]
fn a_stalled_lossless_reader_is_closed_and_nobody_else_notices() {
    let ended = storm("lossless", |stalled| {
        let mut last = 0;
        let end = stalled.read_to_end(|text| {
            let seq = number_after(text, r#""seq":"#);
            assert_eq!(seq, last + 1, "what it got is contiguous");
            last = seq;
        });
        println!("the stalled reader got {last} messages, then {end:?}");
        assert!(last < MESSAGES * PUBLISHERS as u64, "all of it fitted into buffers");
        let End::Close { code, reason } = end else { panic!("it is not told why") };
        assert_eq!(code, 1008);
        assert!(reason.contains("slow consumer"), "{reason}");
    });
    assert_eq!(ended.incidents("queue_full"), 1);
}

#[test]
fn a_stalled_reader_of_the_latest_is_kept_and_gets_the_newest() {
    let ended = storm("latest", |stalled| {
        let (newest, mut last, mut notes) = (MESSAGES * PUBLISHERS as u64, 0, 0_u64);
        while last != newest {
            let text = stalled.text();
            let seq = number_after(&text, r#""seq":"#);
            assert!(seq > last, "{seq} after {last}");
            (last, notes) = (seq, notes + 1);
        }
        println!("the stalled reader got {notes} of {newest} messages, the newest last");
        assert!(notes < newest, "nothing was conflated");
        // Conflation is over once it keeps up.
        let (_, seq) = stalled.publish("storm", &json!("after"));
        assert_eq!(seq, newest + 1);
        let after = stalled.note();
        assert_eq!((&after["seq"], &after["data"]), (&json!(newest + 1), &json!("after")));
    });
    assert_eq!(ended.incidents("queue_full"), 0);
    assert!(ended.of_shards("events_conflated_total") > 0);
}

/// Lets a storm pass by a stalled reader of this class, which then reads.
fn storm(class: &str, then: impl FnOnce(&mut Client)) -> Ended {
    // It takes the storm's time until the stalled one reads; the kernel would give it up before.
    let patient = "[[listen]]\nunacknowledged_ms_max = 0\n[limits]\nclose_timeout_ms = 60000\n";
    let server = Server::start(patient, "0");
    let mut stalled = Client::over(bytes::connect_narrow(server.address));
    let params = json!({"channels": ["topic.storm"], "class": class});
    assert_eq!(stalled.call("public/subscribe", &params), json!(["topic.storm"]));
    let (progress, gates): (Vec<_>, Vec<_>) = (0..PUBLISHERS).map(|_| mpsc::channel()).unzip();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let mut client = Client::connect(server.address);
            client.subscribe("topic.storm");
            let progress = progress.clone();
            thread::spawn(move || read(client, reader, &progress))
        })
        .collect();
    drop(progress);
    let (before_kib, _) = server.resident_kib();
    let publishers: Vec<_> = gates
        .into_iter()
        .enumerate()
        .map(|(publisher, gate)| {
            let address = server.address;
            thread::spawn(move || publish(address, publisher, &gate))
        })
        .collect();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let (after_kib, highest_kib) = server.resident_kib();
    println!("resident: {before_kib} KiB before, {after_kib} KiB after, {highest_kib} KiB at the highest");
    assert!(highest_kib - before_kib < GROWTH_KIB_MAX, "{before_kib} KiB, then {highest_kib} KiB");
    then(&mut stalled);
    drop(stalled);
    let ended = server.stop();
    ended.assert_clean();
    println!("the longest turn took {} us", ended.of_shards("turn_ns_max") / 1000);
    ended
}

/// Publishes all, never further ahead of the slowest reader than allowed.
fn publish(address: SocketAddr, publisher: usize, gate: &Receiver<Progress>) {
    let mut client = Client::connect(address);
    let filler = "x".repeat(FILLER_BYTES);
    let mut read = [0; READERS];
    for number in 0..MESSAGES {
        while number >= read.iter().min().unwrap() + AHEAD_MAX {
            let progress = gate.recv_timeout(crate::DEADLINE).expect("a reader has stopped");
            read[progress.reader] = progress.read;
        }
        let data = json!({"filler": filler, "number": number, "publisher": publisher});
        client.send("topic/publish", &json!({"topic": "storm", "data": data}));
        if (number + 1) % STEP == 0 {
            client.settle(usize::try_from(STEP).unwrap());
        }
    }
}

/// Reads all, and checks that nothing is missing, repeated or out of order.
fn read(mut client: Client, reader: usize, progress: &[Sender<Progress>]) {
    let mut numbers = [0; PUBLISHERS];
    for seq in 1..=MESSAGES * PUBLISHERS as u64 {
        let text = client.text();
        assert_eq!(number_after(&text, r#""seq":"#), seq);
        let publisher = usize::try_from(number_after(&text, r#""publisher":"#)).unwrap();
        assert_eq!(number_after(&text, r#""number":"#), numbers[publisher]);
        numbers[publisher] += 1;
        if numbers[publisher] % STEP == 0 {
            // A publisher that is done does not listen any more.
            let _ = progress[publisher].send(Progress { reader, read: numbers[publisher] });
        }
        if seq == 1 {
            let note: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(note["params"]["data"]["filler"].as_str().unwrap().len(), FILLER_BYTES);
        }
    }
}
