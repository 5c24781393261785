//! Messages with a time: scheduled ones, cancelled ones, and those whose time is over.

use super::*;

fn at(ms: u64) -> NewMessage {
    NewMessage { deliver_at_ms: Some(START_MS + ms), ..to("ann") }
}

#[test]
fn a_scheduled_message_is_delivered_when_it_is_due_and_not_before() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", at(1_500), "a");
    let status = world.status("bob", message).unwrap();
    assert_eq!((status.state, status.next_ms), (MessageState::Scheduled, Some(START_MS + 1_500)));
    world.wait_ms(1_499);
    assert_eq!(world.texts(), "");
    world.wait_ms(1);
    assert_eq!(world.texts(), "a");
}

#[test]
fn what_is_due_at_once_goes_in_the_order_of_due_times_then_of_numbers() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    for (ms, text) in [(30, "d"), (10, "a"), (20, "b"), (20, "c")] {
        world.sent("bob", at(ms), text);
    }
    world.wait_ms(100);
    assert_eq!(world.texts(), "a b c d");
}

#[test]
fn thousands_that_are_due_together_take_several_turns() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 4_096);
    for _ in 0..2_500 {
        world.sent("bob", at(10), "x");
    }
    world.now = world.now.plus_ns(10_000_000);
    for expected in [1_024, 1_024, 452] {
        assert!(world.office.poll_timeout().unwrap() <= world.now.mono_ns);
        world.office.handle_timeout(world.now);
        world.hear();
        assert_eq!(world.delivered().len(), expected);
    }
    assert_eq!(world.office.poll_timeout(), None);
}

#[test]
fn a_time_in_the_past_is_now_and_one_too_far_ahead_is_refused() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    world.sent("bob", NewMessage { deliver_at_ms: Some(1), ..to("ann") }, "a");
    assert_eq!(world.texts(), "a");
    assert_eq!(world.send("bob", at(31 * 86_400_000), "b"), Err(MessageRefusal::InvalidTime));
    let dead_at_once = NewMessage { ttl_ms: Some(0), ..to("ann") };
    assert_eq!(world.send("bob", dead_at_once, "c"), Err(MessageRefusal::InvalidTime));
}

#[test]
fn a_scheduled_message_can_be_cancelled_by_its_sender_until_it_is_due() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", NewMessage { guarantee: Guarantee::AtLeastOnce, ..at(1_000) }, "a");
    let cancel = MessageRequest::Cancel { message };
    assert_eq!(world.ask(3, "eve", cancel.clone()), Err(MessageRefusal::MessageNotFound));
    assert_eq!(world.ask_stored(HTTP, "bob", cancel.clone()), Ok(MessageAnswer::Done));
    assert_eq!(world.disk.tables.len(), 0);
    assert_eq!(world.ask(HTTP, "bob", cancel), Err(MessageRefusal::MessageNotFound));
    let message = world.sent("bob", NewMessage { guarantee: Guarantee::AtLeastOnce, ..at(1_000) }, "b");
    world.wait_ms(1_000);
    assert_eq!(world.ask(HTTP, "bob", MessageRequest::Cancel { message }), Err(MessageRefusal::TooLate));
    assert_eq!(world.texts(), "b");
}

#[test]
fn a_message_whose_time_is_over_is_not_delivered() {
    let mut world = World::with_store(config());
    let new = NewMessage { ttl_ms: Some(1_000), ..to("ann") };
    world.sent("bob", new, "a");
    let kept = world.sent("bob", NewMessage { guarantee: Guarantee::AtLeastOnce, ..new }, "b");
    world.wait_ms(1_000);
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "");
    assert_eq!(world.letters(), [(kept, DeathCause::Expired)]);
    assert_eq!(world.state("bob", kept), Some(MessageState::Expired));
    assert_eq!(world.office.counters().expired_total, 2);
}

#[test]
fn the_time_to_live_of_a_scheduled_message_begins_when_it_is_due() {
    let mut world = World::in_memory(config());
    world.sent("bob", NewMessage { ttl_ms: Some(100), ..at(1_000) }, "a");
    world.wait_ms(1_099);
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "a");
}

#[test]
fn a_delivered_message_is_not_over_until_it_has_to_be_tried_again() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let new = NewMessage { ttl_ms: Some(1_000), ..durable("ann") };
    let confirmed = world.sent("bob", new, "a");
    let lost = world.sent("bob", new, "b");
    world.wait_ms(5_000);
    assert_eq!(world.ack("ann", confirmed), Ok(MessageAnswer::Done));
    world.wait_ms(20_000);
    assert_eq!(world.letters(), [(lost, DeathCause::Expired)]);
    assert_eq!(world.texts(), "a b");
}

#[test]
fn what_nobody_came_for_is_kept_for_so_long_and_then_a_dead_letter() {
    let mut world = World::in_memory(OfficeConfig { kept_ms: 60_000, ..config() });
    let message = world.sent("bob", to("ann"), "a");
    world.wait_ms(59_999);
    assert_eq!(world.letters(), []);
    world.wait_ms(1);
    assert_eq!(world.letters(), [(message, DeathCause::TooOld)]);
}

#[test]
fn a_wall_clock_that_is_set_ahead_is_noticed_within_a_second() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    world.sent("bob", at(3_600_000), "a");
    let look_ns = world.office.poll_timeout().unwrap();
    assert!(look_ns <= START.mono_ns + 1_000_000_000);
    let later = Now { mono_ns: look_ns, unix_ns: START.unix_ns + 3_600_000_000_000 };
    world.office.handle_timeout(later);
    world.hear();
    assert_eq!(world.texts(), "a");
}
