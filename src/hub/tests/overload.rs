//! Overload: there, what it does meanwhile, and back.

use super::*;
use crate::hub::overload::{Mark, Pressure, Stance};
use crate::limits;
use crate::model::channel::TopicName;

const MARKS: OverloadMarks = OverloadMarks {
    guard_bytes: Mark { enter: 800_000, leave: 700_000 },
    shed_bytes: Mark { enter: 900_000, leave: 800_000 },
    guard_turn_ns: Mark { enter: 50, leave: 25 },
    dwell_ns: 0,
};

fn world(shards: u8) -> World {
    let mut world = World::new(shards);
    world.hubs.iter_mut().for_each(|hub| hub.overload = Overload::new(MARKS));
    world
}

/// Says that the process holds so much.
fn press(world: &mut World, shard: usize, memory_bytes: u64) -> Stance {
    let pressure = Pressure { memory_bytes, ..Pressure::default() };
    world.hubs[shard].handle_pressure(pressure, world.now);
    world.hubs[shard].stance()
}

/// What a request is answered on a connection of its own.
fn answer(world: &mut World, slot: u32, line: &str) -> String {
    let conn = ConnId { slot, generation: 99 };
    world.hubs[0].handle_open(conn, Arrival::FIRST, world.now);
    let request = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    world.hubs[0].handle_bytes(conn, &mut request.into_bytes(), world.now);
    let answer = String::from_utf8(world.take(0, conn)).unwrap();
    world.hubs[0].handle_closed(conn, world.now);
    answer
}

/// A subscriber of `topic.t` that takes one byte of what it is sent and no more; this much then waits for it.
fn stalled(world: &mut World, slot: u32, topic: &str, messages: usize) -> ConnId {
    let conn = world.connect(0, slot);
    world.send(0, conn, &subscribe(&format!("topic.{topic}")));
    world.texts(0, conn);
    let publisher = world.connect(0, 90);
    let data = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..messages {
        world.send(0, publisher, &publish(topic, &data));
        assert!(world.take(0, publisher).len() > 50);
        // The first send is under way from here on.
        let _ = world.hubs[0].poll_transmit(conn, &mut [0; 128]);
    }
    world.hubs[0].handle_closed(publisher, world.now);
    conn
}

fn drain_effects(world: &mut World) -> Vec<Incident> {
    let mut incidents = Vec::new();
    while let Some(effect) = world.hubs[0].poll_effect() {
        if let Effect::Report { incident, .. } = effect {
            incidents.push(incident);
        }
    }
    incidents
}

#[test]
fn past_the_first_mark_nobody_new_is_let_in_and_then_they_are_again() {
    let mut world = world(1);
    let here = world.connect(0, 0);
    let status = |world: &mut World, line: &str| answer(world, 7, line)[9..12].to_owned();
    for (memory_bytes, upgrade, ready) in
        [(0, "101", "200"), (800_000, "503", "503"), (900_000, "503", "503"), (700_000, "101", "200")]
    {
        press(&mut world, 0, memory_bytes);
        assert_eq!(status(&mut world, "GET /ws"), upgrade);
        assert_eq!(status(&mut world, "GET /ready"), ready);
        assert_eq!(status(&mut world, "HEAD /ready"), ready);
        assert_eq!(status(&mut world, "GET /healthz"), "200");
        assert_eq!(status(&mut world, "PUT /healthz"), "405");
    }
    press(&mut world, 0, 800_000);
    let refusal = answer(&mut world, 7, "GET /ws");
    assert!(refusal.contains("\r\nRetry-After: 5\r\n"), "{refusal}");
    world.send(0, here, r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#);
    assert_eq!(world.texts(0, here).len(), 1, "who is here is served");
    world.send(0, here, &subscribe("topic.t"));
    assert_eq!(world.texts(0, here)[0]["result"], serde_json::json!(["topic.t"]));
    press(&mut world, 0, 0);
    let counters = world.hubs[0].counters();
    assert_eq!((counters.overload_entered_total, counters.overload_left_total), (2, 2));
    assert_eq!(counters.overload_stance, 0);
    assert_eq!(counters.probes_answered_total, 12);
}

#[test]
fn long_turns_keep_newcomers_out_and_close_nobody() {
    let mut world = world(1);
    let slow = stalled(&mut world, 0, "t", 40);
    let pressure = Pressure { turn_ns: 1_000_000, ..Pressure::default() };
    world.hubs[0].handle_pressure(pressure, world.now);
    assert_eq!(answer(&mut world, 7, "GET /ws")[9..12], *"503");
    assert!(world.session_is_open(slow));
    press(&mut world, 0, 0);
    assert_eq!(answer(&mut world, 7, "GET /ws")[9..12], *"101");
}

#[test]
fn long_turns_alone_give_nothing_back_that_the_next_turn_takes_again() {
    let config = HubConfig { log_segments_ready: 4, ..config() };
    let mut world = World::with(1, &config);
    let hub = &mut world.hubs[0];
    hub.overload = Overload::new(MARKS);
    hub.make_ready();
    hub.scratch.reserve(1 << 20);
    let slow = stalled(&mut world, 0, "t", 40);
    let hub = &mut world.hubs[0];
    let ready_bytes = hub.memory_bytes();
    let long = Pressure { turn_ns: 1_000_000, ..Pressure::default() };
    for _ in 0..3 {
        hub.handle_pressure(long, world.now);
        assert_eq!((hub.stance(), hub.memory_bytes()), (Stance::Guarded, ready_bytes));
    }
    // Nobody is looked for who could be made to go.
    assert!(world.session_is_open(slow));
    assert_eq!(world.hubs[0].costliest_bytes(), 0);
    // Memory's own mark gives it back, whatever the turns are.
    world.hubs[0].handle_pressure(Pressure { memory_bytes: 800_000, ..long }, world.now);
    assert!(world.hubs[0].memory_bytes() < ready_bytes, "{ready_bytes}");
    assert!(world.hubs[0].costliest_bytes() > 0);
}

#[test]
fn past_the_second_mark_the_costliest_go_until_there_is_room() {
    let mut world = world(1);
    world.hubs[0].config.queued_bytes_max = 2 * 1024 * 1024;
    let keeps_up = world.connect(0, 50);
    world.send(0, keeps_up, &subscribe("topic.d"));
    world.texts(0, keeps_up);
    let slow: Vec<ConnId> = [("a", 400), ("b", 1200), ("c", 800), ("d", 5)]
        .into_iter()
        .zip(0..)
        .map(|((topic, messages), slot)| stalled(&mut world, slot, topic, messages))
        .collect();
    assert_eq!(world.texts(0, keeps_up).len(), 5);
    drain_effects(&mut world);
    let open =
        |world: &World| -> Vec<bool> { slow.iter().map(|conn| world.session_is_open(*conn)).collect() };
    assert_eq!(press(&mut world, 0, 850_000), Stance::Guarded);
    assert_eq!(open(&world), [true; 4]);
    assert!(world.hubs[0].costliest_bytes() > 1_000_000);
    // What is to go is a little: the costliest of them is enough.
    assert_eq!(press(&mut world, 0, 900_000), Stance::Shedding);
    assert_eq!(open(&world), [true, false, true, true]);
    assert_eq!(drain_effects(&mut world), [Incident::Closed(Closing::Shed)]);
    // Whoever holds less than it costs to come back stays, whatever is asked for.
    press(&mut world, 0, 100_000_000);
    assert_eq!(open(&world), [false, false, false, true]);
    assert_eq!(world.count(Closing::Shed), 3);
    assert_eq!(world.hubs[0].costliest_bytes(), 0);
    assert!(world.session_is_open(keeps_up));
    world.hubs[0].handle_sent(slow[1], world.now);
    let told = world.take(0, slow[1]);
    assert!(told.ends_with(b"\x03\xf5the server is overloaded: reconnect later"), "{told:?}");
    assert_eq!(press(&mut world, 0, 0), Stance::Normal);
}

#[test]
fn a_shard_whose_costliest_is_cheap_waits_for_another_shard_s() {
    let mut world = world(2);
    let slow = stalled(&mut world, 0, "t", 40);
    let mut pressure = Pressure { memory_bytes: 900_000, costliest_bytes: 1_000_000, turn_ns: 0 };
    world.hubs[0].handle_pressure(pressure, world.now);
    assert!(world.session_is_open(slow));
    pressure.costliest_bytes = world.hubs[0].costliest_bytes();
    world.hubs[0].handle_pressure(pressure, world.now);
    assert!(!world.session_is_open(slow));
}

#[test]
fn while_it_sheds_a_slow_reader_of_the_latest_is_spared_sooner_and_nothing_new_is_kept() {
    let mut world = world(1);
    world.feed(list("BTC-PERPETUAL"));
    let queued_at_most = |world: &mut World, slot| {
        let conn = world.connect(0, slot);
        world.send(0, conn, &subscribe("ticker.BTC-PERPETUAL.raw"));
        world.texts(0, conn);
        let highest = |world: &mut World, from: i64| {
            (0..200)
                .map(|number| {
                    world.feed(level(Side::Bid, from + number, 1));
                    world.hubs[0].queued_bytes(conn)
                })
                .max()
        };
        let highest_before = highest(world, 100).unwrap();
        world.texts(0, conn);
        press(world, 0, 900_000);
        let highest_shedding = highest(world, 1000).unwrap();
        world.send(0, conn, &subscribe("topic.new"));
        world.send(0, conn, &publish("unknown", "1"));
        world.send(0, conn, &publish("known", "1"));
        let texts = world.texts(0, conn);
        press(world, 0, 0);
        (highest_before, highest_shedding, texts)
    };
    let publisher = world.connect(0, 5);
    world.send(0, publisher, &publish("known", "0"));
    let (before, shedding, texts) = queued_at_most(&mut world, 0);
    assert!(before > limits::CONFLATE_BYTES as usize && before < 2 * limits::CONFLATE_BYTES as usize);
    let bound = limits::CONFLATE_BYTES_SHEDDING as usize;
    assert!(shedding > bound && shedding < 2 * bound, "{shedding}");
    let replies: Vec<_> = texts.iter().filter(|text| text.get("id").is_some()).collect();
    assert_eq!(replies[0]["error"]["code"], 10040);
    assert_eq!(replies[1]["error"]["code"], 10040);
    assert_eq!(replies[1]["error"]["data"]["reason"], "not sent: the server is overloaded");
    assert_eq!(replies[2]["result"]["seq"], 2, "{replies:?}");
}

#[test]
fn what_another_shard_refuses_is_reported_of_who_asked_and_of_nobody_once_they_have_gone() {
    let mut world = world(2);
    let name = (b'a'..=b'z')
        .map(|letter| char::from(letter).to_string())
        .find(|name| world.hubs[0].home_of_name(&TopicName::parse(name.as_bytes()).unwrap()) == HomeId(1));
    let request = publish(&name.expect("one is at home there"), "1");
    press(&mut world, 1, 900_000);
    for (goes, told) in [(false, vec![Incident::Declined(Declined::Overload)]), (true, vec![])] {
        let conn = world.connect(0, 0);
        drain_effects(&mut world);
        world.hubs[0].handle_bytes(conn, &mut frame(&request), world.now);
        if goes {
            world.hubs[0].handle_closed(conn, world.now);
        }
        world.carry();
        assert_eq!(drain_effects(&mut world), told, "goes: {goes}");
        if !goes {
            world.hubs[0].handle_closed(conn, world.now);
        }
    }
}

#[test]
fn messages_that_never_end_are_counted_and_their_senders_go() {
    let mut world = world(1);
    let start = world.hubs[0].memory_bytes();
    let conns: Vec<ConnId> = (0..20).map(|slot| world.connect(0, slot)).collect();
    for conn in &conns {
        // A text frame of 60,000 bytes, half of which has come.
        let mut bytes = [&[0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0][..], &[b'x'; 30_000]].concat();
        world.hubs[0].handle_bytes(*conn, &mut bytes, world.now);
    }
    // A request that has not ended either.
    let late = ConnId { slot: 60, generation: 1 };
    world.hubs[0].handle_open(late, Arrival::FIRST, world.now);
    world.hubs[0].handle_bytes(late, &mut b"GET /ws HTTP/1.1\r\n".to_vec(), world.now);
    assert!(world.hubs[0].memory_bytes() >= start + 20 * 30_000);
    assert_eq!(world.hubs[0].poll_timeout(), Some(world.hubs[0].pressure_due_ns), "looked after though idle");
    press(&mut world, 0, 900_000 + 150_000);
    let closed = world.count(Closing::Shed);
    assert!((5..=9).contains(&closed), "{closed}: as many as it takes");
    press(&mut world, 0, 2_000_000);
    assert_eq!(world.count(Closing::Shed), 20);
    for conn in conns.into_iter().chain([late]) {
        world.hubs[0].handle_closed(conn, world.now);
    }
    assert_eq!(world.hubs[0].occupancy().total(), 0);
    press(&mut world, 0, 0);
    assert!(world.hubs[0].memory_bytes() < start + 64 * 1024, "tables keep their room");
}

#[test]
fn what_slow_readers_held_is_given_back() {
    let mut world = world(1);
    world.hubs[0].config.queued_bytes_max = 64 * 1024 * 1024;
    let start = world.hubs[0].memory_bytes();
    let slow = stalled(&mut world, 0, "t", 3000);
    let held = world.hubs[0].memory_bytes() - start;
    assert!((3_000_000..6_000_000).contains(&held), "{held}");
    press(&mut world, 0, 10_000_000);
    assert!(!world.session_is_open(slow));
    let left = world.hubs[0].memory_bytes() - start;
    assert!(left < 1_000_000, "{left}: a segment, a history and the tables");
}

impl World {
    fn session_is_open(&self, conn: ConnId) -> bool {
        self.hubs[0].sessions[conn.slot as usize].as_ref().is_some_and(|session| session.is_open())
    }
}
