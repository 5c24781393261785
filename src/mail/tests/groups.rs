//! Groups: members, whose turn it is, lifetimes, restarts.

use super::*;
use crate::model::message::{GroupMember, Selection, Via};

fn create(lifetime_ms: Option<u64>, message_ttl_ms: Option<u64>) -> MessageRequest {
    MessageRequest::CreateGroup { group: name("desk"), lifetime_ms, message_ttl_ms }
}

fn join(weight: u32) -> MessageRequest {
    MessageRequest::JoinGroup { group: name("desk"), weight }
}

/// A group of these members with these weights.
fn with_group(members: &[(&str, u32)]) -> World {
    let mut world = World::with_store(config());
    assert_eq!(world.ask_stored(HTTP, "boss", create(None, None)), Ok(MessageAnswer::Done));
    for (user, weight) in members {
        assert_eq!(world.ask_stored(HTTP, user, join(*weight)), Ok(MessageAnswer::Done));
    }
    world
}

fn by(to: Selection) -> NewMessage {
    NewMessage { target: Target::Group { group: name("desk"), to }, ..super::to("desk") }
}

/// Whom so many messages go to.
fn chosen(world: &mut World, to: Selection, count: usize) -> String {
    let send = |world: &mut World| {
        let message = world.sent("boss", NewMessage { guarantee: Guarantee::AtLeastOnce, ..by(to) }, "x");
        world.status("boss", message).unwrap().to.as_str().to_owned()
    };
    (0..count).map(|_| send(world)).collect::<Vec<_>>().join(" ")
}

fn members(world: &mut World) -> Vec<GroupMember> {
    match world.ask(HTTP, "boss", MessageRequest::GroupMembers { group: name("desk") }) {
        Ok(MessageAnswer::Members { members, .. }) => members.into(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_to_all_is_one_for_each_member_numbered_by_twos_with_one_content() {
    let mut world = with_group(&[("ann", 1), ("bob", 1), ("eve", 1)]);
    world.subscribe(1, "ann", 10);
    world.subscribe(2, "eve", 10);
    let first = match world.send("boss", by(Selection::All), "a") {
        Ok(MessageAnswer::Accepted { first, count: 3, .. }) => first,
        other => panic!("{other:?}"),
    };
    let got: Vec<_> = world.deliveries.iter().map(|at| (at.message.0 - first.0, at.by)).collect();
    assert_eq!(got, [(0, Some(Via::Group(name("desk")))), (4, Some(Via::Group(name("desk"))))]);
    assert_eq!(world.deliveries[0].content.as_ptr(), world.deliveries[1].content.as_ptr());
    assert_eq!(world.state("bob", MessageId(first.0 + 2)), Some(MessageState::Queued));
}

#[test]
fn by_round_robin_members_have_their_turns_in_the_order_in_which_they_joined() {
    let mut world = with_group(&[("ann", 1), ("bob", 1), ("eve", 1)]);
    assert_eq!(chosen(&mut world, Selection::RoundRobin, 4), "ann bob eve ann");
    world.ask_stored(HTTP, "ann", MessageRequest::LeaveGroup { group: name("desk") }).unwrap();
    assert_eq!(chosen(&mut world, Selection::RoundRobin, 3), "bob eve bob");
}

#[test]
fn by_weight_turns_are_in_proportion_and_spread_evenly() {
    let mut world = with_group(&[("ann", 5), ("bob", 1), ("eve", 1)]);
    assert_eq!(chosen(&mut world, Selection::Weighted, 7), "ann ann bob ann eve ann ann");
}

#[test]
fn by_load_it_is_whoever_has_the_fewest_waiting_and_unconfirmed() {
    let mut world = with_group(&[("ann", 1), ("bob", 1)]);
    world.sent("boss", durable("ann"), "y");
    world.sent("boss", durable("ann"), "y");
    assert_eq!(chosen(&mut world, Selection::LeastLoaded, 5), "bob bob ann bob ann");
}

#[test]
fn who_is_present_goes_before_who_is_not() {
    let mut world = with_group(&[("ann", 9), ("bob", 1), ("eve", 1)]);
    world.subscribe(1, "bob", 10);
    world.subscribe(2, "eve", 10);
    assert_eq!(chosen(&mut world, Selection::RoundRobin, 3), "bob eve bob");
    assert_eq!(chosen(&mut world, Selection::Weighted, 2), "bob eve");
    assert_eq!(chosen(&mut world, Selection::LeastLoaded, 1), "eve");
}

#[test]
fn groups_and_members_outlive_the_process() {
    let mut world = with_group(&[("ann", 3), ("bob", 1)]);
    let before = members(&mut world);
    world.restart(config());
    assert_eq!(members(&mut world), before);
    assert_eq!(world.ask(HTTP, "boss", create(None, None)), Err(MessageRefusal::GroupExists));
    let delete = MessageRequest::DeleteGroup { group: name("desk") };
    assert_eq!(world.ask(HTTP, "eve", delete.clone()), Err(MessageRefusal::NotAMember));
    assert_eq!(world.ask_stored(HTTP, "boss", delete), Ok(MessageAnswer::Done));
    assert_eq!(world.disk.tables.len(), 0);
    assert_eq!(world.send("boss", by(Selection::All), "a"), Err(MessageRefusal::UnknownGroup));
}

#[test]
fn a_group_ends_with_its_lifetime_and_gives_its_messages_theirs() {
    let mut world = World::with_store(config());
    world.ask_stored(HTTP, "boss", create(Some(60_000), Some(1_000))).unwrap();
    assert_eq!(world.send("boss", by(Selection::All), "a"), Err(MessageRefusal::EmptyGroup));
    world.ask_stored(HTTP, "ann", join(1)).unwrap();
    let message = world.sent("boss", by(Selection::All), "a");
    assert_eq!(world.status("boss", message).unwrap().expires_ms, Some(START_MS + 1_000));
    world.wait_ms(60_000);
    world.store_all();
    assert_eq!(world.ask(HTTP, "ann", join(1)), Err(MessageRefusal::UnknownGroup));
    assert_eq!((world.disk.tables.len(), world.office.gauges().users), (0, 2));
}

#[test]
fn joining_again_sets_the_weight_and_who_is_no_member_cannot_leave() {
    let mut world = with_group(&[("ann", 1)]);
    world.ask_stored(HTTP, "ann", join(7)).unwrap();
    let expected = GroupMember { user: name("ann"), weight: 7, is_present: false, waiting: 0 };
    assert_eq!(members(&mut world), [expected]);
    let leave = MessageRequest::LeaveGroup { group: name("desk") };
    assert_eq!(world.ask(HTTP, "bob", leave), Err(MessageRefusal::NotAMember));
}

#[test]
fn groups_and_members_are_bounded() {
    let mut world = World::with_store(OfficeConfig { groups_max: 1, members_per_group_max: 1, ..config() });
    world.ask_stored(HTTP, "boss", create(None, None)).unwrap();
    let another =
        MessageRequest::CreateGroup { group: name("other"), lifetime_ms: None, message_ttl_ms: None };
    assert_eq!(world.ask(HTTP, "boss", another), Err(MessageRefusal::TooMany));
    world.ask_stored(HTTP, "ann", join(1)).unwrap();
    assert_eq!(world.ask(HTTP, "bob", join(1)), Err(MessageRefusal::TooMany));
    assert_eq!(world.ask_stored(HTTP, "ann", join(2)), Ok(MessageAnswer::Done));
}
