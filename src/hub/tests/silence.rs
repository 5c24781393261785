//! How soon a peer that fell silent is found, whatever it was doing.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const TURN_NS: u64 = 16_000_000;

/// A watched client, silent from here on, and one that may publish to it.
fn world() -> (World, ConnId, ConnId) {
    let policy = ListenerPolicy {
        ping_interval_ns: 2 * SECOND_NS,
        ping_timeout_ns: 2 * SECOND_NS,
        ..ListenerPolicy::default()
    };
    let config = HubConfig { listeners: vec![policy], write_timeout_ns: 4 * SECOND_NS, ..config() };
    let mut world = World::with(1, &config);
    let (silent, publisher) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, silent, &subscribe("topic.t"));
    world.take(0, silent);
    (world, silent, publisher)
}

/// Lets time pass, a turn after the other, in which nothing is sent.
fn pass(world: &mut World, for_ns: u64) {
    let until_ns = world.now.mono_ns + for_ns;
    while world.now.mono_ns < until_ns {
        world.now = world.now.plus_ns(TURN_NS);
        world.hubs[0].handle_timeout(world.now);
    }
}

/// How long after the last byte that was received a peer is closed, and why.
fn found_after(begun_ns: u64, send_under_way: bool) -> (u64, Closing) {
    let (mut world, silent, publisher) = world();
    world.now = world.now.plus_ns(begun_ns);
    if send_under_way {
        world.send(0, publisher, &publish("t", "1"));
        let mut out = [0; 4096];
        assert!(world.hubs[0].poll_transmit(silent, &mut out) > 0, "and its end is never told");
    }
    world.send(0, silent, &publish("heard", "1"));
    if !send_under_way {
        world.take(0, silent);
    }
    world.hubs[0].handle_closed(publisher, world.now);
    let silent_since = world.now;
    loop {
        for closing in [Closing::PongMissing, Closing::WriteStalled] {
            if world.count(closing) > 0 {
                return (world.now.mono_ns - silent_since.mono_ns, closing);
            }
        }
        pass(&mut world, TURN_NS);
        if !send_under_way {
            world.take(0, silent);
        }
        assert!(world.now.mono_ns - silent_since.mono_ns < 60 * SECOND_NS, "it is never found");
    }
}

#[test]
fn a_peer_that_vanished_is_found_by_its_missing_pong_or_by_the_send_that_it_does_not_take() {
    for (send_under_way, expected) in [(false, Closing::PongMissing), (true, Closing::WriteStalled)] {
        // Wherever in a slot of the wheel it fell silent.
        for begun_ns in (0..TURN_NS).step_by(1_000_000) {
            let (after_ns, closing) = found_after(begun_ns, send_under_way);
            let expected_ns = 4 * SECOND_NS..=4 * SECOND_NS + 2 * limits::WHEEL_SLOT_NS;
            assert!(expected_ns.contains(&after_ns), "{after_ns} ns from {begun_ns}, {send_under_way}");
            assert_eq!(closing, expected);
        }
    }
}

#[test]
fn a_client_that_takes_a_send_slowly_is_not_closed_for_a_ping_that_it_was_not_sent() {
    let (mut world, silent, publisher) = world();
    let data = format!("\"{}\"", "x".repeat(8_000));
    world.send(0, publisher, &publish("t", &data));
    world.hubs[0].handle_closed(publisher, world.now);
    // The ping comes due in the middle of the first send, goes behind the rest of its frame in the second, and each takes
    // longer than there is time to answer it.
    let mut out = [0; 16_384];
    assert_eq!(world.hubs[0].poll_transmit(silent, &mut out[..4096]), 4096);
    pass(&mut world, 3 * SECOND_NS + SECOND_NS / 2);
    world.hubs[0].handle_sent(silent, world.now);
    let written = world.hubs[0].poll_transmit(silent, &mut out);
    assert_eq!(out[written - 2..written], [0x89, 0], "a ping, the last");
    pass(&mut world, 3 * SECOND_NS + SECOND_NS / 2);
    assert_eq!(world.count(Closing::PongMissing), 0);
    // Now it has it, and two seconds.
    world.hubs[0].handle_sent(silent, world.now);
    pass(&mut world, 2 * SECOND_NS - TURN_NS);
    assert_eq!(world.count(Closing::PongMissing), 0);
    pass(&mut world, 2 * limits::WHEEL_SLOT_NS + TURN_NS);
    assert_eq!(world.count(Closing::PongMissing), 1);
}
