//! Settings that change while clients are connected.

use super::*;
use crate::hub::overload::{Mark, Pressure, Stance};

const TEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;

fn reconfigure(world: &mut World, change: impl FnOnce(&mut HubConfig)) {
    let mut config = config();
    change(&mut config);
    world.hubs[0].handle_config(config, world.now);
}

fn too_big(world: &World) -> u64 {
    world.hubs[0].incidents().of(Incident::Broken(crate::ws::Fault::MessageTooBig))
}

#[test]
fn limits_of_messages_rates_and_subscriptions_hold_for_who_is_connected_already() {
    let mut world = World::new(1);
    let conns: Vec<ConnId> = (0..3).map(|slot| world.connect(0, slot)).collect();
    conns.iter().for_each(|conn| world.send(0, *conn, TEST));
    reconfigure(&mut world, |config| {
        config.receive.message_bytes_max = 40;
        config.rates.messages_per_s_max = 1;
        config.subscriptions_max = 1;
    });
    world.send(0, conns[0], TEST);
    assert_eq!(too_big(&world), 1);
    world.send(0, conns[1], "{}");
    world.send(0, conns[1], "{}");
    assert_eq!(world.count(Closing::MessageRate), 1);
    reconfigure(&mut world, |config| config.subscriptions_max = 1);
    world.send(0, conns[2], &subscribe("topic.a"));
    world.send(0, conns[2], &subscribe("topic.b"));
    let texts = world.texts(0, conns[2]);
    assert_eq!(texts.last().unwrap()["error"]["code"], -32602, "{texts:?}");
}

#[test]
fn a_message_under_way_ends_by_the_limits_that_it_began_by() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let mut whole = frame(&"x".repeat(3000));
    let mut rest = whole.split_off(2000);
    world.hubs[0].handle_bytes(conn, &mut whole, world.now);
    reconfigure(&mut world, |config| config.receive.message_bytes_max = 100);
    world.hubs[0].handle_bytes(conn, &mut rest, world.now);
    assert_eq!(too_big(&world), 0);
    assert_eq!(world.texts(0, conn).len(), 1, "it was answered");
}

#[test]
fn a_shorter_deadline_comes_for_who_is_connected_already_and_a_longer_one_is_waited_for() {
    let (idle_ns, second) = (20 * UNIT as u64, UNIT as u64);
    let ends_after = |before_ns: u64, then_ns: u64| {
        let mut world = World::with(1, &HubConfig { idle_timeout_ns: before_ns, ..config() });
        let conn = world.connect(0, 0);
        reconfigure(&mut world, |config| config.idle_timeout_ns = then_ns);
        let begun = world.now;
        (1..60).find(|passed| {
            world.hubs[0].handle_timeout(begun.plus_ns(passed * second));
            // Pings are answered by nobody, and are not what ends it.
            world.take(0, conn);
            world.count(Closing::Idle) == 1
        })
    };
    let near = |found: Option<u64>, wanted: u64| found.is_some_and(|at| (wanted..=wanted + 1).contains(&at));
    assert!(near(ends_after(idle_ns, idle_ns), 20));
    assert!(near(ends_after(idle_ns, 5 * second), 5));
    assert!(near(ends_after(5 * second, idle_ns), 20));
    assert!(near(ends_after(0, 5 * second), 5));
    assert_eq!(ends_after(5 * second, 0), None);
}

#[test]
fn the_keys_of_a_reload_are_not_those_of_the_configuration() {
    let mut world = World::new(1);
    let keyring = Arc::new(Keyring::default());
    world.hubs[0].handle_keyring(Arc::clone(&keyring), world.now);
    reconfigure(&mut world, |_| ());
    assert!(Arc::ptr_eq(&world.hubs[0].keyring, &keyring));
}

#[test]
fn overload_marks_and_publishing_follow() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    reconfigure(&mut world, |config| {
        config.overload.guard_bytes = Mark { enter: 1_000, leave: 500 };
        config.publishing = Publishing::Nobody;
    });
    let pressure = Pressure { memory_bytes: 1_001, ..Pressure::default() };
    world.hubs[0].handle_pressure(pressure, world.now);
    assert_eq!(world.hubs[0].stance(), Stance::Guarded);
    world.send(0, conn, &publish("a", "1"));
    assert!(world.texts(0, conn)[0].get("error").is_some());
}

#[test]
#[should_panic(expected = "listeners are of the start")]
fn other_listeners_are_our_own_bug() {
    reconfigure(&mut World::new(1), |config| config.listeners.clear());
}
