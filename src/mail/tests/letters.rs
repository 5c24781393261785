//! Dead letters: list, show, requeue, purge, bounds.

use super::*;
use crate::model::message::{DeadLetter, Which};

/// So many messages of bob's for ann that expired, durable ones.
fn with_letters(config: OfficeConfig, count: usize) -> (World, Vec<MessageId>) {
    let mut world = World::with_store(config);
    let new = NewMessage { ttl_ms: Some(10), ..durable("ann") };
    let messages = (0..count).map(|at| world.sent("bob", new, &at.to_string())).collect();
    world.wait_ms(10);
    world.store_all();
    (world, messages)
}

fn page(world: &mut World, count: u32, after: Option<MessageId>, user: Option<&str>) -> Vec<DeadLetter> {
    let request = MessageRequest::DeadLetters { count, after, user: user.map(name) };
    match world.ask(HTTP, "admin", request) {
        Ok(MessageAnswer::DeadLetters { letters, .. }) => letters.into(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dead_letters_are_listed_page_by_page_of_all_and_of_one_receiver() {
    let (mut world, mut messages) = with_letters(config(), 5);
    let other = world.sent("bob", NewMessage { ttl_ms: Some(10), ..durable("eve") }, "e");
    world.wait_ms(10);
    let ids = |letters: Vec<DeadLetter>| -> Vec<MessageId> {
        letters.iter().map(|letter| letter.status.message).collect()
    };
    assert_eq!(ids(page(&mut world, 2, None, None)), messages[..2]);
    assert_eq!(ids(page(&mut world, 9, Some(messages[1]), Some("ann"))), messages[2..]);
    assert_eq!(ids(page(&mut world, 9, None, Some("eve"))), [other]);
    messages.push(other);
    assert_eq!(ids(page(&mut world, 9, Some(messages[3]), None)), messages[4..]);
    assert_eq!(ids(page(&mut world, 9, None, Some("nobody"))), []);
}

#[test]
fn a_dead_letter_is_shown_with_its_content_and_the_reason_it_was_rejected_for() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 1, ..config() });
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    world.reject("ann", message, None).unwrap();
    let letters = match world.ask(HTTP, "admin", MessageRequest::DeadLetter { message }) {
        Ok(MessageAnswer::DeadLetters { total: 1, letters }) => letters,
        other => panic!("{other:?}"),
    };
    let letter = &letters[0];
    assert_eq!((letter.cause, letter.reason), (DeathCause::Attempts, Label::parse("busy")));
    assert_eq!(
        (letter.from, letter.content.as_deref(), letter.content_bytes),
        (name("bob"), Some(&b"a"[..]), 1)
    );
    assert_eq!((letter.status.attempts, letter.status.state), (1, MessageState::Dead));
}

#[test]
fn a_requeued_letter_begins_anew_and_is_no_letter_any_more() {
    let (mut world, messages) = with_letters(config(), 1);
    assert_eq!((world.disk.count(Table::Messages), world.disk.count(Table::DeadLetters)), (0, 1));
    let request = MessageRequest::Requeue { which: Which::One(messages[0]) };
    assert_eq!(world.ask_stored(HTTP, "admin", request.clone()), Ok(MessageAnswer::Count(1)));
    assert_eq!((world.disk.count(Table::Messages), world.disk.count(Table::DeadLetters)), (1, 0));
    assert_eq!(world.ask(HTTP, "admin", request), Err(MessageRefusal::MessageNotFound));
    world.subscribe(1, "ann", 10);
    assert_eq!((world.deliveries[0].attempt, world.deliveries[0].expires_ms), (1, None));
    assert_eq!(world.ack("ann", messages[0]), Ok(MessageAnswer::Done));
}

#[test]
fn all_are_requeued_or_purged_in_steps_and_counted_once_it_is_stored() {
    for (which_is, left) in [("requeue", 2_500), ("purge", 0)] {
        let (mut world, messages) = with_letters(config(), 2_500);
        let which = Which::All;
        let request = match which_is {
            "requeue" => MessageRequest::Requeue { which },
            _ => MessageRequest::Purge { which },
        };
        let ticket = world.begin(HTTP, "admin", request, b"");
        for _ in 0..3 {
            assert_eq!((world.office.poll_timeout(), world.answers.get(&ticket)), (Some(0), None));
            world.office.handle_timeout(world.now);
        }
        world.store_all();
        assert_eq!(world.answers[&ticket], Ok(MessageAnswer::Count(messages.len() as u64)));
        assert_eq!((world.disk.count(Table::Messages), world.disk.count(Table::DeadLetters)), (left, 0));
        assert_eq!(world.office.gauges().dead_letters, 0);
    }
}

#[test]
fn a_request_for_all_ends_though_what_is_requeued_dies_again() {
    let mut world = World::in_memory(OfficeConfig { mailbox_messages_max: 1, ..config() });
    for _ in 0..4 {
        world.sent("bob", to("ann"), "a");
    }
    let before = world.letters();
    assert_eq!(before.len(), 3);
    world.wait_ms(1);
    let ticket = world.begin(HTTP, "admin", MessageRequest::Requeue { which: Which::All }, b"");
    world.wait_ms(1);
    assert_eq!(world.answers[&ticket], Ok(MessageAnswer::Count(3)));
    assert_eq!(world.letters().len(), 3);
}

#[test]
fn beyond_their_bound_the_oldest_dead_letters_are_dropped_and_counted() {
    let (mut world, messages) = with_letters(OfficeConfig { dead_letters_max: 2, ..config() }, 5);
    let left: Vec<MessageId> = world.letters().into_iter().map(|(message, _)| message).collect();
    assert_eq!(left, messages[3..]);
    assert_eq!((world.disk.count(Table::DeadLetters), world.disk.count(Table::Messages)), (2, 0));
    assert_eq!(world.office.counters().dead_dropped_total, 3);
    let (mut world, messages) = with_letters(OfficeConfig { dead_letter_bytes_max: 3, ..config() }, 5);
    assert_eq!(world.letters().len(), 3);
    assert_eq!(world.letters()[0].0, messages[2]);
}

#[test]
fn a_letter_for_a_session_that_is_gone_is_requeued_for_its_user() {
    let mut world = World::in_memory(config());
    let session = world.subscribe(1, "ann", 1);
    let new = NewMessage { target: Target::Session(session), ..to("ann") };
    world.sent("bob", new, "a");
    let message = world.sent("bob", new, "b");
    world.depart(1);
    assert_eq!(world.letters(), [(message, DeathCause::SessionGone)]);
    let request = MessageRequest::Requeue { which: Which::One(message) };
    assert_eq!(world.ask(HTTP, "admin", request), Ok(MessageAnswer::Count(1)));
    world.subscribe(2, "ann", 1);
    assert_eq!(world.delivered(), [(1, "a".into()), (2, "b".into())]);
}
