//! The office and its store: what waits for it, what it refuses, what a restart finds.

use super::*;

fn named(text: &str) -> NewMessage {
    NewMessage { client_id: Label::parse(text), ..durable("ann") }
}

fn accepted(outcome: &Outcome) -> MessageId {
    match outcome {
        Ok(MessageAnswer::Accepted { first, .. }) => *first,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_accepted_and_delivered_only_once_it_is_on_the_disk() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let ticket = world.begin(HTTP, "bob", MessageRequest::Send(durable("ann")), b"a");
    assert_eq!((world.answers.len(), world.texts().as_str()), (0, ""));
    assert!(world.take_batch());
    assert_eq!((world.answers.len(), world.texts().as_str()), (0, ""));
    world.answer_batches();
    accepted(&world.answers[&ticket]);
    assert_eq!(world.texts(), "a");
}

#[test]
fn an_acknowledgement_is_answered_once_the_message_is_gone_from_the_disk() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    let ticket = world.begin(1, "ann", MessageRequest::Acknowledge { message }, b"");
    assert!(world.take_batch());
    assert_eq!(world.answers.get(&ticket), None);
    world.answer_batches();
    assert_eq!(world.answers[&ticket], Ok(MessageAnswer::Done));
    assert_eq!(world.disk.tables.len(), 0);
}

#[test]
fn what_the_store_refuses_is_forgotten_and_its_sender_told_why() {
    for (fault, refusal) in [
        (StoreFault::DiskFull, MessageRefusal::StoreDiskFull),
        (StoreFault::Io, MessageRefusal::StoreFaulty),
        (StoreFault::Away, MessageRefusal::StoreAway),
        (StoreFault::Taken, MessageRefusal::StoreTaken),
    ] {
        let mut world = World::with_store(config());
        world.subscribe(1, "ann", 10);
        let ticket = world.begin(HTTP, "bob", MessageRequest::Send(named("x")), b"a");
        assert!(world.take_batch());
        world.refuse_batches(fault);
        assert_eq!(world.answers[&ticket], Err(refusal));
        assert_eq!((world.office.gauges().messages, world.texts().as_str()), (0, ""));
        let again = world.send("bob", named("x"), "a");
        assert!(matches!(again, Ok(MessageAnswer::Accepted { is_repeated: false, .. })));
        assert_eq!(world.texts(), "a");
    }
}

#[test]
fn while_the_store_fails_durable_messages_are_refused_and_everything_else_goes_on() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let waiting = world.begin(HTTP, "bob", MessageRequest::Send(durable("ann")), b"a");
    world.set_store(StoreState::Faulty(StoreFault::DiskFull));
    assert_eq!(world.answers[&waiting], Err(MessageRefusal::StoreDiskFull));
    assert_eq!(world.send("bob", durable("ann"), "b"), Err(MessageRefusal::StoreDiskFull));
    world.sent("bob", to("ann"), "c");
    assert_eq!(world.texts(), "c");
    assert!(!world.take_batch());
    world.set_store(StoreState::Ready);
    world.sent("bob", durable("ann"), "d");
    assert_eq!(world.texts(), "d");
}

#[test]
fn a_removal_that_the_store_refuses_is_kept_and_written_once_it_is_ready_again() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    let other = world.sent("bob", durable("ann"), "b");
    let ticket = world.begin(1, "ann", MessageRequest::Acknowledge { message }, b"");
    assert!(world.take_batch());
    world.refuse_batches(StoreFault::Io);
    world.set_store(StoreState::Faulty(StoreFault::Io));
    assert_eq!(world.answers[&ticket], Err(MessageRefusal::StoreFaulty));
    let late = MessageRequest::Acknowledge { message: other };
    assert_eq!(world.ask(1, "ann", late), Err(MessageRefusal::StoreFaulty));
    assert_eq!((world.office.gauges().messages, world.disk.count(Table::Messages)), (0, 2));
    world.set_store(StoreState::Ready);
    world.store_all();
    assert_eq!(world.disk.tables.len(), 0);
}

#[test]
fn without_a_store_durable_messages_are_refused_and_while_it_loads_too() {
    let mut world = World::in_memory(config());
    assert_eq!(world.send("bob", durable("ann"), "a"), Err(MessageRefusal::StoreAbsent));
    world.set_store(StoreState::Loading);
    assert_eq!(world.send("bob", durable("ann"), "a"), Err(MessageRefusal::StoreLoading));
    assert_eq!(world.ack("ann", MessageId(7)), Err(MessageRefusal::StoreLoading));
    assert_eq!(world.ack("ann", MessageId(8)), Err(MessageRefusal::MessageNotFound));
    let group = MessageRequest::CreateGroup { group: name("g"), lifetime_ms: None, message_ttl_ms: None };
    assert_eq!(world.ask(HTTP, "bob", group), Err(MessageRefusal::StoreLoading));
    world.sent("bob", to("ann"), "b");
    world.set_store(StoreState::Ready);
    assert_eq!(world.send("bob", durable("ann"), "a"), Err(MessageRefusal::StoreLoading));
    world.office.handle_store(StoreWord::Loaded, world.now);
    world.sent("bob", durable("ann"), "a");
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let mut world = World::with_store(config());
    let content = vec![b'x'; 1 << 20];
    let mut busy = 0;
    for _ in 0..100 {
        let ticket = world.begin(HTTP, "bob", MessageRequest::Send(durable("ann")), &content);
        match world.answers.get(&ticket) {
            None => {}
            Some(Err(MessageRefusal::StoreBusy)) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((36..40).contains(&busy), "{busy}");
    let mut batches = 0;
    while world.take_batch() {
        batches += 1;
    }
    assert!(batches > 10, "each is bounded: {batches}");
    world.answer_batches();
    assert_eq!(world.office.gauges().storing, 0);
    world.sent("bob", durable("ann"), "a");
}

#[test]
fn the_parts_of_one_send_are_in_one_batch() {
    let mut world = World::with_store(config());
    let group = name("g");
    let create = MessageRequest::CreateGroup { group, lifetime_ms: None, message_ttl_ms: None };
    world.ask_stored(HTTP, "bob", create).unwrap();
    for at in 0..900 {
        let join = MessageRequest::JoinGroup { group, weight: 1 };
        world.ask_stored(HTTP, &format!("user-{at}"), join).unwrap();
    }
    let all = crate::model::message::Selection::All;
    let new = NewMessage { target: Target::Group { group, to: all }, ..durable("g") };
    for _ in 0..10 {
        world.begin(HTTP, "bob", MessageRequest::Send(new), b"a");
    }
    let mut sizes = Vec::new();
    while let Some(batch) = world.office.poll_batch() {
        sizes.push(batch.ops.len());
        world.disk.under_way.push_back(batch);
    }
    assert_eq!(sizes, [4_500, 4_500]);
    world.answer_batches();
    assert_eq!(world.answers.len(), 10);
}

#[test]
fn a_restart_finds_what_was_not_confirmed_in_order_and_marks_it() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 2);
    let confirmed = world.sent("bob", durable("ann"), "a");
    for text in ["b", "c", "d"] {
        world.sent("bob", durable("ann"), text);
    }
    world.sent("bob", to("ann"), "lost");
    world.ack("ann", confirmed).unwrap();
    world.deliveries.clear();
    world.restart(config());
    world.subscribe(1, "ann", 10);
    let marks: Vec<bool> = world.deliveries.iter().map(|delivery| delivery.is_redelivered).collect();
    assert_eq!((world.texts().as_str(), marks), ("b c d", vec![true; 3]));
    let next = world.sent("bob", durable("ann"), "e");
    assert!(next > confirmed, "no number is given twice");
}

#[test]
fn a_scheduled_message_survives_a_restart_unmarked_unless_the_clock_went_back() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let new = NewMessage { deliver_at_ms: Some(START_MS + 60_000), ..durable("ann") };
    world.sent("bob", new, "a");
    world.restart(config());
    world.subscribe(1, "ann", 10);
    world.wait_ms(60_000);
    assert_eq!((world.deliveries[0].is_redelivered, world.texts().as_str()), (false, "a"));
    world.sent("bob", NewMessage { deliver_at_ms: Some(START_MS + 120_000), ..durable("ann") }, "b");
    world.now.unix_ns = START.unix_ns - 1_000_000_000;
    world.restart(config());
    world.subscribe(1, "ann", 10);
    world.deliveries.clear();
    world.wait_ms(122_000);
    assert!(world.deliveries.iter().all(|delivery| delivery.is_redelivered) && !world.deliveries.is_empty());
}

#[test]
fn what_came_due_while_nobody_ran_is_delivered_in_the_order_of_due_times() {
    let mut world = World::with_store(config());
    for (ms, text) in [(30_000, "c"), (10_000, "a"), (20_000, "b")] {
        let new = NewMessage { deliver_at_ms: Some(START_MS + ms), ..durable("ann") };
        world.sent("bob", new, text);
    }
    world.now = world.now.plus_ns(3_600_000_000_000);
    world.restart(config());
    world.subscribe(1, "ann", 10);
    world.wait_ms(1);
    assert_eq!(world.texts(), "a b c");
}

#[test]
fn a_resend_after_a_restart_is_recognised_before_and_after_the_end() {
    let mut world = World::with_store(config());
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", named("x"), "a");
    world.restart(config());
    let repeat = |state| Ok(MessageAnswer::Accepted { first: message, count: 1, state, is_repeated: true });
    assert_eq!(world.send("bob", named("x"), "a"), repeat(MessageState::Queued));
    assert_eq!(world.ack("ann", message), Ok(MessageAnswer::Done), "it may have had it before the restart");
    assert_eq!((world.disk.count(Table::Messages), world.disk.count(Table::Done)), (0, 1));
    world.restart(config());
    assert_eq!(world.send("bob", named("x"), "a"), repeat(MessageState::Confirmed));
    let key = crate::model::message::MessageKey::ClientId(Label::parse("x").unwrap());
    let status = world.ask(HTTP, "bob", MessageRequest::Status { message: key });
    assert!(matches!(status, Ok(MessageAnswer::Status(status)) if status.state == MessageState::Confirmed));
    world.wait_ms(600_000);
    world.store_all();
    assert_eq!(world.disk.tables.len(), 0);
}

#[test]
fn a_resend_while_the_first_is_on_its_way_to_the_disk_is_asked_to_try_again() {
    let mut world = World::with_store(config());
    world.begin(HTTP, "bob", MessageRequest::Send(named("x")), b"a");
    let second = world.begin(HTTP, "bob", MessageRequest::Send(named("x")), b"a");
    assert_eq!(world.answers[&second], Err(MessageRefusal::StoreBusy));
}

#[test]
fn dead_letters_and_attempts_survive_a_restart() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 3, ..config() });
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", named("x"), "a");
    world.reject("ann", message, Some(0)).unwrap();
    world.store_all();
    world.restart(OfficeConfig { attempts_max: 3, ..config() });
    assert_eq!(world.status("bob", message).unwrap().attempts, 2);
    world.deliveries.clear();
    world.subscribe(1, "ann", 10);
    assert_eq!(world.deliveries[0].attempt, 3);
    world.reject("ann", message, None).unwrap();
    world.store_all();
    world.restart(config());
    assert_eq!(world.letters(), [(message, DeathCause::Attempts)]);
    assert_eq!(world.state("bob", message), Some(MessageState::Dead));
    assert_eq!(world.disk.count(Table::Messages), 0);
}

#[test]
fn what_was_requeued_and_confirmed_does_not_come_back_though_the_store_refused_the_first_of_both() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 1, ..config() });
    world.subscribe(1, "ann", 10);
    let message = world.sent("bob", durable("ann"), "a");
    world.reject("ann", message, None).unwrap();
    world.store_all();
    let which = crate::model::message::Which::One(message);
    world.begin(HTTP, "admin", MessageRequest::Requeue { which }, b"");
    assert!(world.take_batch());
    let ticket = world.begin(1, "ann", MessageRequest::Acknowledge { message }, b"");
    assert!(world.take_batch());
    let refused = world.disk.under_way.pop_front().unwrap().number;
    world.office.handle_store(StoreWord::Refused { number: refused, fault: StoreFault::Io }, world.now);
    world.answer_batches();
    assert_eq!(world.answers[&ticket], Ok(MessageAnswer::Done));
    world.restart(config());
    assert_eq!((world.office.gauges().messages, world.letters()), (0, vec![]));
}

#[test]
fn a_message_that_died_is_a_letter_on_the_disk_whichever_of_its_changes_the_store_refused() {
    for refused in [vec![0], vec![1], vec![0, 1], vec![0, 2], vec![1, 2], vec![]] {
        let mut world = World::with_store(OfficeConfig { attempts_max: 2, ..config() });
        world.subscribe(1, "ann", 10);
        let message = world.sent("bob", durable("ann"), "a");
        world.reject("ann", message, Some(0)).unwrap();
        assert!(world.take_batch(), "the second attempt");
        world.reject("ann", message, None).unwrap();
        assert!(world.take_batch(), "the death");
        let mut batches: Vec<_> = world.disk.under_way.drain(..).collect();
        if refused.contains(&0) {
            let number = batches[0].number;
            world.office.handle_store(StoreWord::Refused { number, fault: StoreFault::Io }, world.now);
            batches.extend(world.office.poll_batch());
        }
        for (at, batch) in batches.into_iter().enumerate() {
            if !refused.contains(&at) {
                world.disk.apply(batch);
            }
        }
        world.restart(config());
        let is_there = (world.office.gauges().messages, world.office.gauges().dead_letters);
        assert_eq!(is_there.0 + is_there.1, 1, "{refused:?}: {is_there:?}");
        assert_eq!(world.office.counters().unreadable_total, 0);
    }
}

#[test]
fn a_durable_message_for_a_session_is_a_dead_letter_after_a_restart() {
    let mut world = World::with_store(config());
    let session = world.subscribe(1, "ann", 10);
    let new = NewMessage { target: Target::Session(session), ..durable("ann") };
    let message = world.sent("bob", new, "a");
    world.restart(config());
    assert_eq!(world.letters(), [(message, DeathCause::SessionGone)]);
}

#[test]
fn what_cannot_be_read_is_counted_left_alone_and_its_number_not_given_again() {
    let mut world = World::with_store(config());
    let message = world.sent("bob", durable("ann"), "a");
    let far = message.0 + 1_000_000;
    let newer: Box<[u8]> = [2, 0, 0].into();
    for (table, key) in [
        (Table::Messages, far),
        (Table::DeadLetters, far + 2),
        (Table::Groups, 5),
        (Table::Done, 9),
        (Table::Messages, u64::MAX),
    ] {
        world.disk.tables.insert((table, key), newer.clone());
    }
    let valid = world.disk.tables[&(Table::Messages, message.0)].clone();
    world.disk.tables.insert((Table::Messages, 8), valid.clone());
    world.disk.tables.insert((Table::Messages, 9), valid);
    world.restart(config());
    assert_eq!(world.office.counters().unreadable_total, 7);
    assert!(world.sent("bob", durable("ann"), "b").0 > far + 2);
    assert_eq!(world.disk.tables.len(), 9);
}

#[test]
fn a_load_that_fails_midway_goes_on_and_each_message_comes_once() {
    let mut world = World::with_store(config());
    for text in ["a", "b", "c"] {
        world.sent("bob", durable("ann"), text);
    }
    let told: Vec<_> = world.disk.tables.iter().map(|((_, key), value)| (*key, value.clone())).collect();
    let table = Table::Messages;
    world.office = Office::new(config(), world.now);
    world.set_store(StoreState::Loading);
    world.subscribe(1, "ann", 10);
    world.office.handle_store(StoreWord::Entries { table, entries: told[..1].to_vec() }, world.now);
    world.set_store(StoreState::Faulty(StoreFault::Io));
    // What is done meanwhile holds, and is told to the disk once it is well.
    assert_eq!(world.ack("ann", MessageId(told[0].0)), Err(MessageRefusal::StoreFaulty));
    assert_eq!(world.send("bob", durable("ann"), "x"), Err(MessageRefusal::StoreFaulty));
    world.set_store(StoreState::Loading);
    assert!(!world.take_batch(), "nothing is committed before all is told");
    world.office.handle_store(StoreWord::Entries { table, entries: told[1..].to_vec() }, world.now);
    world.office.handle_store(StoreWord::Loaded, world.now);
    world.set_store(StoreState::Ready);
    world.store_all();
    assert_eq!((world.texts().as_str(), world.office.counters().unreadable_total), ("a b c", 0));
    assert_eq!(world.disk.tables.len(), 2);
}

#[test]
fn words_that_no_batch_of_ours_explains_are_counted_and_ignored() {
    let mut world = World::with_store(config());
    world.office.handle_store(StoreWord::Stored { through: 99 }, world.now);
    world.office.handle_store(StoreWord::Refused { number: 7, fault: StoreFault::Io }, world.now);
    assert_eq!(world.office.counters().strange_words_total, 2);
}
