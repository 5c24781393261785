//! Messages for backends: who gets them, how many at a time, what comes back, and what a backend that is away costs.

use super::*;
use crate::model::message::Via;

const SHARD: u32 = 70;
const RISK: &str = "backend:risk";

fn typed(guarantee: Guarantee) -> NewMessage {
    NewMessage { target: Target::Type(name("approval")), guarantee, ..to("ann") }
}

fn durable() -> NewMessage {
    typed(Guarantee::AtLeastOnce)
}

impl World {
    fn process(&mut self, under_way_max: u32) {
        let answer = self.ask(SHARD, RISK, MessageRequest::Process { under_way_max });
        assert_eq!(answer, Ok(MessageAnswer::Done));
    }

    fn sent_typed(&mut self, message: NewMessage, content: &str) -> MessageId {
        let request = MessageRequest::SendToProcessor { message, processor: Box::new(name(RISK)) };
        let ticket = self.begin(HTTP, "bob", request, content.as_bytes());
        self.store_all();
        match self.answers.remove(&ticket) {
            Some(Ok(MessageAnswer::Accepted { first, .. })) => first,
            other => panic!("{other:?}"),
        }
    }

    /// As the shard would, of what was delivered last.
    fn hand_back(&mut self, message: MessageId, was_handed: bool) -> Outcome {
        self.ask(SHARD, RISK, MessageRequest::HandBack { message, was_handed })
    }

    /// Attempt and mark of each delivery since the last call.
    fn attempts(&mut self) -> Vec<(u32, bool)> {
        let all = std::mem::take(&mut self.deliveries);
        all.into_iter().map(|delivery| (delivery.attempt, delivery.is_redelivered)).collect()
    }
}

#[test]
fn a_message_of_a_type_waits_for_its_backend_and_is_confirmed_by_it() {
    let mut world = World::with_store(config());
    world.subscribe(1, "bob", 10);
    let message = world.sent_typed(NewMessage { receipts: true, ..durable() }, "a");
    assert_eq!((world.state("bob", message), world.deliveries.len()), (Some(MessageState::Queued), 0));
    world.process(4);
    let delivery = world.deliveries[0].clone();
    assert_eq!((delivery.message, delivery.by), (message, Some(Via::Type(name("approval")))));
    assert_eq!(world.state("bob", message), Some(MessageState::Delivered));
    assert_eq!(world.status("bob", message).unwrap().next_ms, None, "nobody times it here");
    // However long it takes.
    world.wait_ms(3_600_000);
    assert_eq!(world.deliveries.len(), 1);
    assert_eq!(world.ack(RISK, message), Ok(MessageAnswer::Done));
    assert_eq!(world.told(), [MessageState::Confirmed], "what a backend is handed is told at its end");
    assert_eq!(world.disk.count(Table::Messages), 0);
}

#[test]
fn a_type_that_no_backend_processes_is_refused() {
    let mut world = World::with_store(config());
    let outcome = world.send("bob", durable(), "a");
    assert_eq!(outcome, Err(MessageRefusal::NoProcessor));
    // One that is configured has a place among users, be unknown ones kept for or not.
    let mut world = World::with_store(OfficeConfig { is_open_to_unknown: false, ..config() });
    assert_eq!(world.send("bob", to("ann"), "a"), Err(MessageRefusal::UnknownUser));
    world.sent_typed(durable(), "a");
}

#[test]
fn a_backend_has_no_more_at_a_time_than_it_may_critical_ones_first_among_them() {
    let mut world = World::with_store(config());
    for content in ["a", "b", "c"] {
        world.sent_typed(durable(), content);
    }
    for content in ["x", "y"] {
        world.sent_typed(NewMessage { priority: Priority::Critical, ..durable() }, content);
    }
    world.process(2);
    let first: Vec<MessageId> = world.deliveries.iter().map(|delivery| delivery.message).collect();
    assert_eq!(world.texts(), "x y");
    world.ack(RISK, first[0]).unwrap();
    assert_eq!(world.texts(), "a");
    world.process(4);
    assert_eq!(world.texts(), "b c");
}

#[test]
fn what_a_backend_could_not_be_handed_is_as_if_it_had_not_been_delivered() {
    let mut world = World::with_store(config());
    let message = world.sent_typed(durable(), "a");
    world.sent_typed(durable(), "b");
    world.process(1);
    assert_eq!(world.attempts(), [(1, false)]);
    world.process(0);
    assert_eq!(world.hand_back(message, false), Ok(MessageAnswer::Done));
    assert_eq!(world.hand_back(message, false), Err(MessageRefusal::NotDelivered));
    let status = world.status("bob", message).unwrap();
    assert_eq!((status.state, status.attempts), (MessageState::Queued, 0));
    // More often than it may be tried.
    for _ in 0..20 {
        world.process(1);
        assert_eq!(world.attempts(), [(1, false)]);
        world.process(0);
        world.hand_back(message, false).unwrap();
    }
    world.process(2);
    assert_eq!(world.texts(), "a b", "at its place");
    assert_eq!(world.letters(), []);
}

#[test]
fn an_attempt_that_was_made_counts_and_is_marked_though_the_next_is_handed_back() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 2, ..config() });
    let message = world.sent_typed(durable(), "a");
    world.process(1);
    world.reject(RISK, message, None).unwrap();
    world.wait_ms(2_000);
    assert_eq!(world.attempts(), [(1, false), (2, true)]);
    world.process(0);
    world.hand_back(message, true).unwrap();
    world.store_all();
    assert_eq!(world.status("bob", message).unwrap().attempts, 1);
    world.restart(OfficeConfig { attempts_max: 2, ..config() });
    world.process(1);
    assert_eq!(world.attempts(), [(2, true)]);
    world.reject(RISK, message, None).unwrap();
    assert_eq!(world.letters(), [(message, DeathCause::Attempts)]);
}

#[test]
fn fire_and_forget_waits_for_a_backend_and_is_tried_once() {
    let mut world = World::in_memory(config());
    let kept = world.sent_typed(typed(Guarantee::FireAndForget), "a");
    world.process(1);
    world.process(0);
    world.hand_back(kept, false).unwrap();
    world.process(1);
    assert_eq!(world.attempts(), [(1, false), (1, false)], "it never reached the backend");
    assert_eq!(world.ack(RISK, kept), Ok(MessageAnswer::Done));
    assert_eq!(world.state("bob", kept), None);
    // What the backend had when its shard let go of it is not tried again.
    let had = world.sent_typed(typed(Guarantee::FireAndForget), "b");
    world.ask(SHARD, RISK, MessageRequest::Unsubscribe).unwrap();
    assert_eq!(world.state("bob", had), None);
    world.process(1);
    assert_eq!(world.texts(), "b");
    assert_eq!((world.letters(), world.office.gauges().messages), (vec![], 0));
}

#[test]
fn what_a_backend_had_when_it_goes_comes_again_marked() {
    let mut world = World::with_store(config());
    let message = world.sent_typed(durable(), "a");
    world.process(1);
    world.ask(SHARD, RISK, MessageRequest::Unsubscribe).unwrap();
    assert_eq!(world.state("bob", message), Some(MessageState::Queued));
    world.process(1);
    assert_eq!(world.attempts(), [(1, false), (2, true)]);
    world.store_all();
    world.restart(config());
    world.process(1);
    assert_eq!(world.attempts(), [(3, true)]);
    assert_eq!(world.deliveries, []);
    assert_eq!(world.office.gauges().unconfirmed, 1);
}

#[test]
fn nobody_reaches_a_backend_by_the_number_of_its_session() {
    let mut world = World::in_memory(config());
    world.process(4);
    let session = world.subscribe(1, "ann", 10);
    for number in 0..=session.0 + 1 {
        let target = Target::Session(SessionId(number));
        let sent = world.send("bob", NewMessage { target, ..to("ann") }, "a");
        assert_eq!(sent.is_ok(), number == session.0);
    }
    assert_eq!(world.delivered(), [(1, "a".to_owned())]);
}

#[test]
fn the_type_of_a_message_is_kept_by_the_store_and_by_a_dead_letter() {
    let mut world = World::with_store(OfficeConfig { attempts_max: 1, ..config() });
    let message = world.sent_typed(durable(), "a");
    world.restart(OfficeConfig { attempts_max: 1, ..config() });
    world.process(1);
    world.reject(RISK, message, None).unwrap();
    world.store_all();
    world.restart(config());
    let letter = MessageRequest::Requeue { which: crate::model::message::Which::One(message) };
    world.ask_stored(HTTP, "admin", letter).unwrap();
    world.process(1);
    let types: Vec<_> = world.deliveries.iter().map(|delivery| delivery.by).collect();
    assert_eq!(types, [Some(Via::Type(name("approval"))); 2]);
}

#[test]
fn a_backend_is_one_shards_at_a_time() {
    let mut world = World::with_store(config());
    let message = world.sent_typed(durable(), "a");
    world.process(1);
    let other = || MessageRequest::Process { under_way_max: 1 };
    assert_eq!(world.ask(SHARD + 1, RISK, other()), Err(MessageRefusal::TooMany));
    assert_eq!(world.attempts(), [(1, false)]);
    world.ask(SHARD, RISK, MessageRequest::Unsubscribe).unwrap();
    assert_eq!(world.ask(SHARD + 1, RISK, other()), Ok(MessageAnswer::Done));
    assert_eq!(world.attempts(), [(2, true)]);
    // What the first one says now: it can't take it from the second, and a result is a result.
    assert_eq!(world.hand_back(message, false), Err(MessageRefusal::NotDelivered));
    assert_eq!(world.ack(RISK, message), Ok(MessageAnswer::Done));
}
