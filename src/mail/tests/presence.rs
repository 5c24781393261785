//! Who is present, and who is told so.

use super::*;

fn watch(users: &[&str]) -> MessageRequest {
    MessageRequest::SubscribePresence { users: users.iter().map(|user| name(user)).collect() }
}

fn told(world: &mut World) -> Vec<(String, bool)> {
    let all = std::mem::take(&mut world.presence);
    all.into_iter().map(|at| (at.user.as_str().to_owned(), at.is_present)).collect()
}

#[test]
fn a_user_is_present_from_its_first_connection_to_its_last() {
    let mut world = World::in_memory(config());
    let presence = |world: &mut World| {
        let users = [name("ann"), name("nobody")].into();
        match world.ask(HTTP, "bob", MessageRequest::Presence { users }) {
            Ok(MessageAnswer::Presence(all)) => (all[0], all[1]),
            other => panic!("{other:?}"),
        }
    };
    world.subscribe(1, "ann", 1);
    world.wait_ms(5);
    world.subscribe(2, "ann", 1);
    let (ann, nobody) = presence(&mut world);
    assert_eq!((ann.is_present, ann.sessions, ann.since_ms), (true, 2, Some(START_MS)));
    assert_eq!((nobody.is_present, nobody.since_ms), (false, None));
    world.depart(1);
    world.depart(2);
    let (ann, _) = presence(&mut world);
    assert_eq!((ann.is_present, ann.sessions, ann.since_ms), (false, 0, Some(START_MS + 5)));
}

#[test]
fn who_watches_a_user_is_told_when_it_comes_and_goes() {
    let mut world = World::in_memory(config());
    assert_eq!(world.ask(1, "bob", watch(&["ann"])), Err(MessageRefusal::NotSubscribed));
    world.subscribe(1, "bob", 10);
    assert!(
        matches!(world.ask(1, "bob", watch(&["ann", "eve"])), Ok(MessageAnswer::Presence(all)) if all.len() == 2)
    );
    world.subscribe(2, "ann", 10);
    world.subscribe(3, "ann", 10);
    world.depart(2);
    assert_eq!(told(&mut world), [("ann".into(), true)]);
    world.depart(3);
    assert_eq!(told(&mut world), [("ann".into(), false)]);
    world.ask(1, "bob", watch(&[])).unwrap();
    world.subscribe(2, "ann", 10);
    assert_eq!(told(&mut world), []);
}

#[test]
fn a_watcher_without_room_is_told_later_how_it_is_then() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "bob", 1);
    world.ask(1, "bob", watch(&["ann", "eve"])).unwrap();
    world.subscribe(2, "ann", 1);
    world.subscribe(3, "eve", 1);
    world.depart(2);
    assert_eq!(told(&mut world), [("ann".into(), true)]);
    world.written(1, 1);
    assert_eq!(told(&mut world), [("ann".into(), false)]);
    world.written(1, 1);
    assert_eq!(told(&mut world), [("eve".into(), true)]);
}

#[test]
fn a_watcher_who_goes_is_forgotten_with_what_it_watched() {
    let mut world = World::in_memory(OfficeConfig { users_max: 2, ..config() });
    world.subscribe(1, "bob", 1);
    world.ask(1, "bob", watch(&["ann"])).unwrap();
    assert_eq!(world.send("bob", to("eve"), "a"), Err(MessageRefusal::TooMany));
    world.depart(1);
    world.sent("eve", to("dan"), "a");
}
