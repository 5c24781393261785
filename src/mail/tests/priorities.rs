//! Which of what waits goes first.

use super::*;

fn with(priority: Priority) -> NewMessage {
    NewMessage { priority, ..to("ann") }
}

#[test]
fn what_is_more_urgent_goes_first_and_the_older_of_what_is_equally_so() {
    let mut world = World::in_memory(config());
    for (priority, text) in [
        (Priority::Low, "l1"),
        (Priority::Normal, "n1"),
        (Priority::Critical, "c1"),
        (Priority::High, "h1"),
        (Priority::Low, "l2"),
        (Priority::Critical, "c2"),
        (Priority::Normal, "n2"),
        (Priority::High, "h2"),
    ] {
        world.sent("bob", with(priority), text);
    }
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "c1 c2 h1 h2 n1 n2 l1 l2");
}

#[test]
fn what_has_waited_a_period_counts_as_one_priority_higher_and_goes_before_what_is_younger() {
    let mut world = World::in_memory(config());
    world.sent("bob", with(Priority::Low), "l");
    world.wait_ms(4_999);
    world.sent("bob", with(Priority::Normal), "n");
    world.subscribe(1, "ann", 1);
    assert_eq!(world.texts(), "n");
    world.wait_ms(1);
    world.sent("bob", with(Priority::Normal), "m");
    world.written(1, 1);
    assert_eq!(world.texts(), "l");
}

#[test]
fn what_has_waited_longest_is_never_critical() {
    let mut world = World::in_memory(config());
    world.sent("bob", with(Priority::Low), "l");
    world.wait_ms(60_000);
    world.sent("bob", with(Priority::High), "h");
    world.sent("bob", with(Priority::Critical), "c");
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "c l h");
}

#[test]
fn without_ageing_priority_is_strict() {
    let mut world = World::in_memory(OfficeConfig { ageing_ms: 0, ..config() });
    world.sent("bob", with(Priority::Low), "l");
    world.wait_ms(60_000);
    world.sent("bob", with(Priority::Normal), "n");
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "n l");
}

#[test]
fn what_is_for_a_session_and_what_is_for_its_user_go_by_the_same_order() {
    let mut world = World::in_memory(config());
    let session = world.subscribe(1, "ann", 1);
    world.sent("bob", to("ann"), "x");
    world.sent("bob", with(Priority::Low), "l");
    world.sent("bob", NewMessage { target: Target::Session(session), ..with(Priority::Normal) }, "s");
    world.sent("bob", with(Priority::Normal), "n");
    world.sent("bob", NewMessage { target: Target::Session(session), ..with(Priority::High) }, "t");
    for _ in 0..5 {
        world.written(1, 1);
    }
    assert_eq!(world.texts(), "x t s n l");
}

#[test]
fn what_waits_is_listed_page_by_page_with_each_message_once() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 2);
    for (priority, text) in [
        (Priority::Normal, "a"),
        (Priority::Low, "b"),
        (Priority::Low, "c"),
        (Priority::Normal, "d"),
        (Priority::Critical, "e"),
        (Priority::High, "f"),
    ] {
        world.sent("bob", NewMessage { priority, ..durable("ann") }, text);
    }
    let first = world.deliveries[0].message;
    assert_eq!(world.texts(), "a b e");
    world.reject("ann", first, Some(60_000)).unwrap();
    assert_eq!(world.texts(), "f");
    world.depart(1);
    let page = |world: &mut World, count, after| match world.ask(
        HTTP,
        "ann",
        MessageRequest::Pending { count, after },
    ) {
        Ok(MessageAnswer::Pending { total: 6, bytes: 6, messages }) => messages,
        other => panic!("{other:?}"),
    };
    let all: Vec<MessageId> = page(&mut world, 100, None).iter().map(|status| status.message).collect();
    let ids = |offsets: [u64; 6]| offsets.map(|offset| MessageId(first.0 + 2 * offset)).to_vec();
    assert_eq!(all, ids([4, 5, 3, 1, 2, 0]));
    for size in 1..6 {
        let mut listed = Vec::new();
        while listed.len() < 6 {
            let after = listed.last().copied();
            listed.extend(page(&mut world, size, after).iter().map(|status| status.message));
        }
        assert_eq!(listed, all, "pages of {size}");
    }
    let request = MessageRequest::Pending { count: 1, after: Some(MessageId(3)) };
    assert_eq!(world.ask(HTTP, "ann", request), Err(MessageRefusal::MessageNotFound));
}
