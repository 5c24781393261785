//! Every bound, and what happens at it.

use super::*;

#[test]
fn beyond_a_mailbox_s_count_the_oldest_of_the_lowest_priority_is_given_up() {
    let mut world = World::in_memory(OfficeConfig { mailbox_messages_max: 3, ..config() });
    let new = |priority| NewMessage { priority, receipts: true, ..to("ann") };
    let normal = world.sent("bob", new(Priority::Normal), "n");
    let low = world.sent("bob", new(Priority::Low), "l");
    let second = world.sent("bob", new(Priority::Low), "m");
    world.sent("bob", new(Priority::High), "h");
    world.sent("bob", new(Priority::High), "i");
    assert_eq!(world.letters(), [(low, DeathCause::Overflow), (second, DeathCause::Overflow)]);
    world.wait_ms(1);
    world.sent("bob", new(Priority::High), "j");
    let last = world.sent("bob", new(Priority::Low), "k");
    assert_eq!(world.letters()[2..], [(normal, DeathCause::Overflow), (last, DeathCause::Overflow)]);
    assert_eq!(world.office.counters().dead_total[DeathCause::Overflow as usize], 4);
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "h i j");
}

#[test]
fn beyond_a_mailbox_s_bytes_too() {
    let mut world = World::in_memory(OfficeConfig { mailbox_bytes_max: 5, ..config() });
    let first = world.sent("bob", to("ann"), "aaa");
    world.sent("bob", to("ann"), "bb");
    assert_eq!(world.letters(), []);
    world.sent("bob", to("ann"), "c");
    assert_eq!(world.letters(), [(first, DeathCause::Overflow)]);
}

#[test]
fn what_waits_for_its_next_attempt_is_given_up_like_what_waits_for_room() {
    let mut world = World::with_store(OfficeConfig { mailbox_messages_max: 1, ..config() });
    world.subscribe(1, "ann", 10);
    let first = world.sent("bob", durable("ann"), "a");
    let second = world.sent("bob", durable("ann"), "b");
    world.reject("ann", first, Some(5_000)).unwrap();
    assert_eq!(world.letters(), []);
    world.reject("ann", second, Some(5_000)).unwrap();
    assert_eq!(world.letters(), [(first, DeathCause::Overflow)]);
}

#[test]
fn what_a_receiver_takes_at_once_never_overflows_its_mailbox() {
    let mut world = World::in_memory(OfficeConfig { mailbox_messages_max: 1, ..config() });
    world.subscribe(1, "ann", 100);
    for _ in 0..50 {
        world.sent("bob", to("ann"), "a");
    }
    assert_eq!((world.delivered().len(), world.letters().len()), (50, 0));
}

#[test]
fn messages_and_bytes_of_all_are_bounded_by_refusals() {
    let mut world = World::in_memory(OfficeConfig { messages_max: 2, ..config() });
    world.sent("bob", to("ann"), "a");
    world.sent("eve", to("ann"), "a");
    assert_eq!(world.send("dan", to("ann"), "a"), Err(MessageRefusal::Full));
    let mut world = World::in_memory(OfficeConfig { message_bytes_max: 2, ..config() });
    world.sent("bob", to("ann"), "aa");
    assert_eq!(world.send("bob", to("ann"), "a"), Err(MessageRefusal::Full));
    assert_eq!(world.office.counters().full_total, 1);
}

#[test]
fn a_sender_is_bounded_by_itself() {
    let mut world = World::in_memory(OfficeConfig { messages_per_sender_max: 1, ..config() });
    world.sent("bob", to("ann"), "a");
    assert_eq!(world.send("bob", to("ann"), "b"), Err(MessageRefusal::SenderFull));
    world.sent("eve", to("ann"), "c");
    world.subscribe(1, "ann", 10);
    world.sent("bob", to("ann"), "d");
}

#[test]
fn schedules_are_bounded() {
    let mut world = World::in_memory(OfficeConfig { scheduled_max: 1, ..config() });
    let new = NewMessage { deliver_at_ms: Some(START_MS + 10), ..to("ann") };
    world.sent("bob", new, "a");
    assert_eq!(world.send("bob", new, "b"), Err(MessageRefusal::TooMany));
    world.wait_ms(10);
    assert_eq!(world.office.gauges().scheduled, 0);
}

#[test]
fn sessions_are_bounded_in_all_and_of_one_user() {
    let mut world = World::in_memory(OfficeConfig { sessions_max: 3, sessions_per_user_max: 2, ..config() });
    let request =
        || MessageRequest::Subscribe { reception: Reception { under_way_max: 1 }, topics: Box::default() };
    world.subscribe(1, "ann", 1);
    world.subscribe(2, "ann", 1);
    assert_eq!(world.ask(3, "ann", request()), Err(MessageRefusal::TooMany));
    world.subscribe(3, "bob", 1);
    assert_eq!(world.ask(4, "eve", request()), Err(MessageRefusal::TooMany));
    world.subscribe(2, "ann", 5);
    world.depart(1);
    world.subscribe(4, "eve", 1);
}

#[test]
fn where_there_is_no_room_for_a_user_one_of_whom_nothing_is_left_is_forgotten() {
    let mut world = World::in_memory(OfficeConfig { users_max: 2, ..config() });
    world.sent("bob", to("ann"), "a");
    assert_eq!(world.send("bob", to("eve"), "b"), Err(MessageRefusal::TooMany));
    world.subscribe(1, "ann", 1);
    assert_eq!(world.texts(), "a");
    world.sent("eve", to("ann"), "c");
    assert_eq!(world.office.gauges().users, 2);
}

#[test]
fn where_messages_are_not_kept_for_unknown_users_they_are_refused() {
    let mut world = World::in_memory(OfficeConfig { is_open_to_unknown: false, ..config() });
    assert_eq!(world.send("bob", to("ann"), "a"), Err(MessageRefusal::UnknownUser));
    world.subscribe(1, "ann", 1);
    world.depart(1);
    world.sent("bob", to("ann"), "b");
}

#[test]
fn beyond_as_many_names_as_are_remembered_the_oldest_is_forgotten() {
    let mut world = World::in_memory(OfficeConfig { sends_remembered_max: 1, ..config() });
    world.subscribe(1, "ann", 10);
    let new = |text| NewMessage { client_id: Label::parse(text), ..to("ann") };
    world.sent("bob", new("x"), "a");
    world.wait_ms(1);
    world.sent("bob", new("y"), "b");
    assert!(matches!(
        world.send("bob", new("y"), "b"),
        Ok(MessageAnswer::Accepted { is_repeated: true, .. })
    ));
    assert!(matches!(
        world.send("bob", new("x"), "a"),
        Ok(MessageAnswer::Accepted { is_repeated: false, .. })
    ));
    assert_eq!(world.office.counters().names_forgotten_total, 2);
}

#[test]
fn what_is_for_one_session_is_bounded_more_tightly() {
    let mut world = World::in_memory(config());
    let session = world.subscribe(1, "ann", 1);
    let new = NewMessage { target: Target::Session(session), ..to("ann") };
    for _ in 0..1 + crate::limits::SESSION_WAITING_MAX + 3 {
        world.sent("bob", new, "a");
    }
    assert_eq!(world.letters().len(), 3);
}

#[test]
fn at_the_end_of_it_all_nothing_is_held() {
    let mut world = World::with_store(OfficeConfig { dead_letters_max: 0, ..config() });
    world.subscribe(1, "ann", 2);
    world.subscribe(2, "bob", 2);
    for at in 0..20_u64 {
        let new = NewMessage {
            client_id: Label::parse(&at.to_string()),
            ttl_ms: Some(1_000 + at),
            deliver_at_ms: (at % 3 == 0).then_some(START_MS + at),
            ..if at % 2 == 0 { durable("ann") } else { to("ann") }
        };
        world.sent("bob", new, "a");
    }
    world.depart(1);
    world.depart(2);
    world.wait_ms(700_000);
    world.store_all();
    let gauges = world.office.gauges();
    assert_eq!((gauges.messages, gauges.message_bytes, gauges.names, gauges.scheduled), (0, 0, 0, 0));
    assert_eq!((gauges.unconfirmed, gauges.resting, gauges.queued), (0, 0, [0; 4]));
    assert_eq!((world.disk.tables.len(), world.office.poll_timeout()), (0, None));
}
