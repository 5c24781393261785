//! How soon a peer that fell silent is found, whatever it was doing.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const TURN_NS: u64 = 16_000_000;

/// How long after the last byte that was received a peer is closed for its silence.
fn found_after_ns(begun_ns: u64, send_under_way: bool) -> u64 {
    let policy = ListenerPolicy {
        ping_interval_ns: 2 * SECOND_NS,
        ping_timeout_ns: 2 * SECOND_NS,
        ..ListenerPolicy::default()
    };
    let mut world = World::with(1, &HubConfig { listeners: vec![policy], ..config() });
    world.now = world.now.plus_ns(begun_ns);
    let (silent, publisher) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, silent, &subscribe("topic.t"));
    world.take(0, silent);
    if send_under_way {
        world.send(0, publisher, &publish("t", "1"));
        let mut out = [0; 4096];
        assert!(world.hubs[0].poll_transmit(silent, &mut out) > 0, "and its end is never told");
    }
    world.hubs[0].handle_closed(publisher, world.now);
    let silent_since = world.now;
    while world.count(Closing::PongMissing) == 0 {
        world.now = world.now.plus_ns(TURN_NS);
        world.hubs[0].handle_timeout(world.now);
        if !send_under_way {
            world.take(0, silent);
        }
        assert!(world.now.mono_ns - silent_since.mono_ns < 60 * SECOND_NS, "it is never found");
    }
    world.now.mono_ns - silent_since.mono_ns
}

#[test]
fn a_peer_that_vanished_is_found_by_its_missing_pong_with_or_without_a_send_under_way() {
    for send_under_way in [false, true] {
        // Wherever in a slot of the wheel it fell silent.
        for begun_ns in (0..TURN_NS).step_by(1_000_000) {
            let after_ns = found_after_ns(begun_ns, send_under_way);
            let expected_ns = 4 * SECOND_NS..=4 * SECOND_NS + 2 * limits::WHEEL_SLOT_NS;
            assert!(expected_ns.contains(&after_ns), "{after_ns} ns from {begun_ns}, {send_under_way}");
        }
    }
}
