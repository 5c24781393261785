//! Sending to users, sessions and topics: who gets what, how often, and what the sender is told.

use super::*;
use crate::model::message::Via;

#[test]
fn a_message_goes_to_each_connection_of_its_receiver_and_to_nobody_else() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    world.subscribe(2, "ann", 10);
    world.subscribe(3, "bob", 10);
    world.sent("bob", to("ann"), "a");
    assert_eq!(world.delivered(), [(1, "a".into()), (2, "a".into())]);
}

#[test]
fn the_answer_to_a_send_comes_before_its_delivery_and_its_receipts() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    let ask = MessageAsk {
        ticket: Ticket { slot: 9, generation: 0 },
        account: AccountId(0),
        user: name("ann"),
        client: client(1),
        is_connection: true,
        request: MessageRequest::Send(NewMessage { receipts: true, ..to("ann") }),
    };
    world.office.handle_ask(&ask, b"a", START);
    let kinds: Vec<&str> = std::iter::from_fn(|| world.office.poll_output())
        .map(|output| match output {
            MessageOutput::Answer { .. } => "answer",
            MessageOutput::Deliver(_) => "delivery",
            MessageOutput::Receipt { .. } => "receipt",
            MessageOutput::Presence { .. } => "presence",
        })
        .collect();
    assert_eq!(kinds, ["answer", "delivery", "receipt"]);
}

#[test]
fn a_message_for_somebody_absent_waits_until_they_come() {
    let mut world = World::in_memory(config());
    world.sent("bob", to("ann"), "a");
    world.sent("bob", to("ann"), "b");
    assert_eq!(world.delivered(), []);
    world.subscribe(1, "ann", 10);
    assert_eq!(world.texts(), "a b");
    assert_eq!(world.office.gauges().messages, 0);
}

#[test]
fn numbers_rise_odd_for_what_is_stored_and_even_for_what_is_not() {
    let mut world = World::with_store(config());
    let first = world.sent("bob", to("ann"), "a").0;
    let second = world.sent("bob", durable("ann"), "b").0;
    let third = world.sent("bob", to("ann"), "c").0;
    assert_eq!((first % 2, second % 2, third % 2), (0, 1, 0));
    assert!(START.unix_ns / 1_000 < first && first < second && second < third);
}

#[test]
fn who_sends_the_same_name_again_is_told_of_the_first_and_nothing_is_sent() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    let new = NewMessage { client_id: Label::parse("order-7"), ..to("ann") };
    let first = world.sent("bob", new, "a");
    let again = world.send("bob", new, "a");
    let expected =
        MessageAnswer::Accepted { first, count: 1, state: MessageState::Delivered, is_repeated: true };
    assert_eq!(again, Ok(expected));
    assert_ne!(world.sent("eve", new, "b"), first, "somebody else's name is another one");
    assert_eq!(world.texts(), "a b");
    world.wait_ms(600_000);
    assert_ne!(world.sent("bob", new, "c"), first, "the window is over");
    assert_eq!(world.texts(), "c");
}

#[test]
fn a_message_for_a_session_goes_to_that_alone_and_dies_with_it() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 1);
    let session = world.subscribe(2, "ann", 1);
    let new = NewMessage { target: Target::Session(session), ..to("ann") };
    world.sent("bob", new, "a");
    let waiting = world.sent("bob", new, "b");
    assert_eq!(world.delivered(), [(2, "a".into())]);
    world.depart(2);
    assert_eq!(world.letters(), [(waiting, DeathCause::SessionGone)]);
    assert_eq!(world.send("bob", new, "c"), Err(MessageRefusal::UnknownSession));
}

#[test]
fn a_message_to_a_topic_goes_to_who_subscribes_to_it_now() {
    let mut world = World::in_memory(config());
    let new = NewMessage { target: Target::Topic(name("halts")), ..to("ann") };
    assert!(matches!(world.send("bob", new, "a"), Ok(MessageAnswer::Accepted { count: 0, .. })));
    world.subscribe_topics(1, "ann", 10, &["halts"]);
    world.subscribe_topics(2, "bob", 10, &["halts", "chat"]);
    world.subscribe_topics(3, "eve", 10, &["chat"]);
    assert!(matches!(world.send("bob", new, "b"), Ok(MessageAnswer::Accepted { count: 2, .. })));
    assert_eq!(world.deliveries[0].by, Some(Via::Topic(name("halts"))));
    assert_eq!(world.delivered(), [(1, "b".into()), (2, "b".into())]);
    world.subscribe_topics(1, "ann", 10, &[]);
    world.depart(2);
    assert!(matches!(world.send("bob", new, "c"), Ok(MessageAnswer::Accepted { count: 0, .. })));
    assert_eq!(world.office.gauges().topics, 1);
}

#[test]
fn what_is_under_way_to_a_connection_is_bounded_until_it_is_written() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 2);
    for text in ["a", "b", "c", "d"] {
        world.sent("bob", to("ann"), text);
    }
    assert_eq!(world.texts(), "a b");
    world.written(1, 1);
    assert_eq!(world.texts(), "c");
    world.written(1, 2);
    assert_eq!(world.texts(), "d");
}

#[test]
fn critical_messages_have_room_of_their_own() {
    let mut world = World::in_memory(OfficeConfig { critical_under_way_max: 2, ..config() });
    world.subscribe(1, "ann", 1);
    let critical = NewMessage { priority: Priority::Critical, ..to("ann") };
    world.sent("bob", to("ann"), "n");
    world.sent("bob", to("ann"), "m");
    for text in ["c", "d", "e"] {
        world.sent("bob", critical, text);
    }
    assert_eq!(world.texts(), "n c d");
    world.written(1, 1);
    assert_eq!(world.texts(), "e");
    world.written(1, 3);
    assert_eq!(world.texts(), "m");
}

#[test]
fn senders_who_asked_are_told_what_became_of_their_messages() {
    let mut world = World::with_store(config());
    world.subscribe(1, "bob", 10);
    world.subscribe(2, "ann", 10);
    let message = world.sent("bob", NewMessage { receipts: true, ..durable("ann") }, "a");
    assert_eq!(world.told(), [MessageState::Delivered]);
    assert_eq!(world.ack("ann", message), Ok(MessageAnswer::Done));
    assert_eq!(world.told(), [MessageState::Confirmed]);
    world.sent("bob", durable("ann"), "b");
    assert_eq!(world.told(), []);
}

#[test]
fn a_receipt_for_a_connection_without_room_is_counted_and_left_out() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "bob", 1);
    let new = NewMessage { receipts: true, ttl_ms: Some(10), ..to("ann") };
    let first = world.sent("bob", new, "a");
    world.sent("bob", new, "b");
    world.wait_ms(20);
    assert_eq!(world.told(), [MessageState::Expired]);
    assert_eq!(world.office.counters().receipts_dropped_total, 1);
    assert_eq!(world.state("bob", first), None);
    world.written(1, 1);
    world.sent("bob", new, "c");
    world.wait_ms(20);
    assert_eq!(world.told(), [MessageState::Expired]);
}

#[test]
fn only_sender_and_receiver_learn_how_a_message_stands() {
    let mut world = World::in_memory(config());
    let message = world.sent("bob", to("ann"), "a");
    assert_eq!(world.state("bob", message), Some(MessageState::Queued));
    assert_eq!(world.state("ann", message), Some(MessageState::Queued));
    assert_eq!(world.state("eve", message), None);
}

#[test]
fn a_delivery_says_all_that_its_sender_said() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let new = NewMessage {
        priority: Priority::High,
        client_id: Label::parse("x"),
        ttl_ms: Some(5_000),
        reply_to: Some(MessageId(7)),
        ..durable("ann")
    };
    let message = world.sent("bob", new, "a");
    let delivery = Delivery {
        client: client(1),
        message,
        from: name("bob"),
        by: None,
        priority: Priority::High,
        confirm: true,
        attempt: 1,
        is_redelivered: false,
        sent_ms: START_MS,
        deliver_at_ms: None,
        expires_ms: Some(START_MS + 5_000),
        client_id: Label::parse("x"),
        reply_to: Some(MessageId(7)),
        content: b"a"[..].into(),
    };
    assert_eq!(world.deliveries, [delivery]);
}

#[test]
fn over_http_nothing_is_subscribed_to() {
    let mut world = World::in_memory(config());
    let request =
        MessageRequest::Subscribe { reception: Reception { under_way_max: 1 }, topics: Box::default() };
    assert_eq!(world.ask(HTTP, "ann", request), Err(MessageRefusal::NeedsConnection));
    assert_eq!(world.ask(1, "ann", MessageRequest::Unsubscribe), Err(MessageRefusal::NotSubscribed));
}

#[test]
fn a_connection_that_asks_as_somebody_else_has_no_messages_of_who_it_was() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 10);
    assert_eq!(world.ask(1, "bob", MessageRequest::Unsubscribe), Err(MessageRefusal::NotSubscribed));
    world.sent("eve", to("ann"), "a");
    assert_eq!(world.delivered(), []);
    world.subscribe(1, "bob", 10);
    world.sent("eve", to("bob"), "b");
    assert_eq!(world.delivered(), [(1, "b".into())]);
}
