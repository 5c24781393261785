//! How much the stream keeps: what is dead goes, what is alive in between is moved, and what does not fit is refused.

use tickring::limits;
use tickring::model::storage::{StoreFault, StoreState};

use crate::nats_client::NatsClient;
use crate::nats_server::NatsServer;
use crate::running::{End, Running, STREAM, put, remove, settings};

fn bytes_of(client: &mut NatsClient) -> u64 {
    client.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), "")["state"]["bytes"].as_u64().unwrap()
}

/// Some entries stay for ever, most only for a while: ten times of what the stream may keep goes through it.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn the_stream_stays_within_its_bound_while_much_goes_through_it_past_what_stays() {
    let server = NatsServer::start("");
    let mut client = NatsClient::connect(server.address());
    let (mut running, _) = Running::ready(&server.url(), 1);
    const VALUE: usize = 20_000;
    let count = 10 * limits::JETSTREAM_BYTES_MIN / VALUE as u64;
    let (mut stored, mut most) = (0, 0);
    for key in 0..count {
        let mut ops = vec![put(key, &vec![key as u8; VALUE])];
        // Of fifty one stays, up to some 8 MB.
        ops.extend(key.checked_sub(100).filter(|old| old % 50 != 0 || *old > 20_000).map(remove));
        let number = running.send(ops);
        while number - stored > 40 {
            let word = running.word();
            let tickring::model::storage::StoreWord::Stored { through } = word else { panic!("{word:?}") };
            stored = through;
        }
        if key % 500 == 0 {
            most = most.max(bytes_of(&mut client));
        }
    }
    assert_eq!(running.end_of(count), End::Stored);
    assert!(most < limits::JETSTREAM_BYTES_MIN, "{most} bytes at most");
    // A last purge may be under way.
    let near = (0..10_000).any(|_| {
        let (told, bytes) = (running.store.reading(0).file_bytes, bytes_of(&mut client));
        told.abs_diff(bytes) < bytes / 10
    });
    assert!(
        near,
        "it says {}, and the server {}",
        running.store.reading(0).file_bytes,
        bytes_of(&mut client)
    );
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    let kept = (0..count).filter(|key| key % 50 == 0 && *key <= 20_000 || *key >= count - 100);
    assert!(loaded.iter().map(|entry| entry.1).eq(kept), "{} entries", loaded.len());
    assert!(loaded.iter().all(|(_, key, value)| *value == vec![*key as u8; VALUE]));
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_is_beyond_the_bound_is_refused_and_removing_makes_room() {
    let server = NatsServer::start("");
    let (mut running, _) = Running::ready(&server.url(), 1);
    let mut kept = Vec::new();
    for key in 0..1000 {
        let number = running.send(vec![put(key, &vec![7; 100_000])]);
        match running.end_of(number) {
            End::Stored => kept.push(key),
            End::Refused(fault) => {
                assert_eq!(fault, StoreFault::DiskFull);
                break;
            }
        }
    }
    assert!(kept.len() > 100 && kept.len() < 250, "a third of the stream: {}", kept.len());
    running.await_state(StoreState::Faulty(StoreFault::DiskFull));
    for key in &kept {
        let number = running.send(vec![remove(*key)]);
        assert_eq!(running.end_of(number), End::Stored, "{key}");
    }
    while running.store.reading(0).state != 2 {
        running.word();
    }
    let number = running.send(vec![put(5000, b"new")]);
    assert_eq!(running.end_of(number), End::Stored);
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded.iter().map(|entry| entry.1).collect::<Vec<_>>(), [5000]);
    running.stop();
}

/// The server's own bound, below ours: it says so, nothing is in doubt, and with room it goes on.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_server_that_has_no_room_is_a_full_disk_until_it_has() {
    let server = NatsServer::start("");
    let mut client = NatsClient::connect(server.address());
    let (mut running, _) = Running::ready(&server.url(), 1);
    running.store(vec![put(1, b"kept")]);
    let subject = format!("$JS.API.STREAM.UPDATE.{STREAM}");
    let mut config = client.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), "")["config"].clone();
    config["max_bytes"] = 100_000.into();
    let changed = client.ask(&subject, &config.to_string());
    assert_eq!(changed["config"]["max_bytes"], 100_000, "{changed}");
    let number = running.send(vec![put(2, &vec![1; 150_000])]);
    assert_eq!(running.end_of(number), End::Refused(StoreFault::DiskFull));
    running.await_state(StoreState::Faulty(StoreFault::DiskFull));
    config["max_bytes"] = limits::JETSTREAM_BYTES_MIN.into();
    client.ask(&subject, &config.to_string());
    running.await_state(StoreState::Ready);
    running.store(vec![put(3, &vec![1; 150_000])]);
    running.stop();
    let (running, loaded) = Running::ready(&server.url(), 2);
    assert_eq!(loaded.iter().map(|entry| entry.1).collect::<Vec<_>>(), [1, 3]);
    running.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_bound_that_is_changed_holds_for_a_stream_that_is_there() {
    let server = NatsServer::start("");
    let (running, _) = Running::ready(&server.url(), 1);
    running.stop();
    let mut larger = settings(&server.url());
    larger.bytes_max = 2 * limits::JETSTREAM_BYTES_MIN;
    let mut running = Running::open_with(larger, 2, 64, 1 << 20);
    running.load();
    let mut client = NatsClient::connect(server.address());
    let told = client.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), "");
    assert_eq!(told["config"]["max_bytes"], 2 * limits::JETSTREAM_BYTES_MIN);
    running.stop();
}
