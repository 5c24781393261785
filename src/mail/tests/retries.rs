//! Messages that are to be confirmed: attempts, back-off, rejections, connections that go.

use super::*;

/// When a message came again, in milliseconds after the start, until it is a dead letter.
fn attempts(world: &mut World) -> Vec<(u32, u64)> {
    let mut times = Vec::new();
    for _ in 0..10_000 {
        for delivery in std::mem::take(&mut world.deliveries) {
            assert_eq!(delivery.is_redelivered, delivery.attempt > 1);
            times.push((delivery.attempt, world.now.unix_ns / 1_000_000 - START_MS));
        }
        let Some(at_ns) = world.office.poll_timeout().filter(|_| world.letters().is_empty()) else { break };
        world.now = world.now.plus_ns(at_ns.saturating_sub(world.now.mono_ns));
        world.office.handle_timeout(world.now);
        world.hear();
    }
    times
}

#[test]
fn what_nobody_confirms_comes_again_at_doubling_intervals_and_dies_at_last() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    let times = attempts(&mut world);
    assert_eq!(times.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for (at, pair) in times.windows(2).enumerate() {
        let wait_ms = pair[1].1 - pair[0].1 - 10_000;
        let base_ms = (1_000 << at).min(60_000);
        assert!((base_ms * 8 / 10..=base_ms * 12 / 10).contains(&wait_ms), "{at}: {wait_ms} of {base_ms}");
    }
    assert_eq!(world.letters(), [(message, DeathCause::Attempts)]);
    assert_eq!(world.office.counters().ack_timeouts_total, 8);
}

#[test]
fn the_jitter_is_the_seed_s_and_differs_from_message_to_message() {
    let second_attempts = |seed: u64| -> Vec<u64> {
        let mut world = World::with_store(OfficeConfig { seed, ..config() });
        world.subscribe(1, "ann", 10);
        for _ in 0..4 {
            world.sent("bob", durable("ann"), "a");
        }
        world.deliveries.clear();
        let mut times = Vec::new();
        while times.len() < 4 {
            world.wait_ms(1);
            times.extend(world.deliveries.drain(..).map(|_| world.now.mono_ns));
        }
        times
    };
    let times = second_attempts(1);
    assert_eq!(times, second_attempts(1));
    assert_ne!(times, second_attempts(2));
    assert!(times[0] != times[3]);
}

#[test]
fn what_is_confirmed_is_over_and_cannot_be_confirmed_again() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    assert_eq!(world.disk.count(Table::Messages), 1);
    assert_eq!(world.ack("eve", message), Err(MessageRefusal::MessageNotFound));
    assert_eq!(world.ack("ann", message), Ok(MessageAnswer::Done));
    assert_eq!(world.disk.count(Table::Messages), 0);
    assert_eq!(world.ack("ann", message), Err(MessageRefusal::MessageNotFound));
    world.wait_ms(100_000);
    assert_eq!(world.texts(), "a");
}

#[test]
fn the_first_of_several_connections_that_confirms_does_so_for_all_and_makes_room_on_each() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 1);
    world.subscribe(2, "ann", 1);
    let first = world.sent("bob", durable("ann"), "a");
    world.sent("bob", durable("ann"), "b");
    assert_eq!(world.delivered(), [(1, "a".into()), (2, "a".into())]);
    world.ack("ann", first).unwrap();
    assert_eq!(world.delivered(), [(1, "b".into()), (2, "b".into())]);
}

#[test]
fn what_all_connections_lost_is_queued_at_once_at_its_place() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 2);
    for text in ["a", "b", "c"] {
        world.sent("bob", durable("ann"), text);
    }
    assert_eq!(world.texts(), "a b");
    world.depart(1);
    world.subscribe(2, "ann", 10);
    let marks: Vec<bool> = world.deliveries.iter().map(|delivery| delivery.is_redelivered).collect();
    assert_eq!((world.texts().as_str(), marks), ("a b c", vec![true, true, false]));
}

#[test]
fn what_another_connection_still_has_is_not_queued() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 2);
    world.subscribe(2, "ann", 2);
    let message = world.sent("bob", durable("ann"), "a");
    world.depart(1);
    assert_eq!(world.state("ann", message), Some(MessageState::Delivered));
    world.depart(2);
    assert_eq!(world.state("ann", message), Some(MessageState::Queued));
}

#[test]
fn a_rejected_message_comes_again_after_the_delay_that_was_asked_for() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    assert_eq!(world.reject("ann", message, Some(500)), Ok(MessageAnswer::Done));
    assert_eq!(world.reject("ann", message, None), Err(MessageRefusal::NotDelivered));
    world.wait_ms(499);
    assert_eq!(world.texts(), "a");
    world.wait_ms(1);
    assert_eq!(world.deliveries[0].attempt, 2);
    assert_eq!(world.reject("ann", message, Some(0)), Ok(MessageAnswer::Done));
    assert_eq!(world.texts(), "a a");
}

#[test]
fn a_confirmation_that_comes_late_counts() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    world.wait_ms(10_000);
    assert_eq!(world.office.gauges().resting, 1);
    assert_eq!(world.ack("ann", message), Ok(MessageAnswer::Done));
    assert_eq!(world.office.gauges().messages, 0);
}

#[test]
fn what_was_never_delivered_cannot_be_confirmed() {
    let mut world = World::with_store(config());
    let kept = world.sent("bob", durable("ann"), "a");
    let loose = world.sent("bob", to("ann"), "b");
    assert_eq!(world.ack("ann", kept), Err(MessageRefusal::NotDelivered));
    assert_eq!(world.ack("ann", loose), Err(MessageRefusal::NotDelivered));
}

#[test]
fn a_message_whose_last_attempt_is_lost_with_its_connection_is_a_dead_letter() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 1, ..config() });
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    world.depart(1);
    assert_eq!(world.letters(), [(message, DeathCause::Attempts)]);
}

#[test]
fn a_receiver_who_rejects_everything_gets_the_rest_meanwhile() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 1);
    let first = world.sent("bob", durable("ann"), "a");
    world.sent("bob", durable("ann"), "b");
    world.reject("ann", first, Some(1_000)).unwrap();
    assert_eq!(world.texts(), "a b");
}
