//! Presence that outlives an office: what is to be written of it, who is held of what was left, and until when.

use super::*;
use crate::limits;

const RENEW_NS: u64 = 60_000_000_000;
const GRACE_MS: u64 = limits::PRESENCE_GRACE_NS / 1_000_000;
/// When users were present since who are left so by another office.
const BEFORE_MS: u64 = START_MS - 70_000;

impl World {
    /// The office of a node that has just taken the market.
    fn kept(config: OfficeConfig) -> World {
        let mut world = World::in_memory(config);
        world.office.keep_presence(world.now);
        world.handle_kept(&KeptWord::Reading { renew_ns: RENEW_NS });
        world
    }

    /// The same, with all read that was left.
    fn after(left: &[&str]) -> World {
        let mut world = World::kept(config());
        world.leave(left);
        world.handle_kept(&KeptWord::Read);
        world
    }

    fn leave(&mut self, users: &[&str]) {
        let entries = users.iter().map(|user| KeptPresence { user: name(user), since_ms: Some(BEFORE_MS) });
        self.handle_kept(&KeptWord::Entries(entries.collect()));
    }

    fn handle_kept(&mut self, word: &KeptWord) {
        self.office.handle_kept(word, self.now);
        self.hear();
    }

    /// What was to be written since the last call.
    fn written_kept(&mut self) -> Vec<(String, Option<u64>)> {
        let all = std::mem::take(&mut self.kept);
        all.into_iter().map(|kept| (kept.user.as_str().to_owned(), kept.since_ms)).collect()
    }

    /// Changes of presence that connection 1 was told since the last call.
    fn news(&mut self) -> Vec<(String, bool)> {
        let all = std::mem::take(&mut self.presence);
        self.written(1, u32::try_from(all.len()).unwrap());
        all.into_iter().map(|at| (at.user.as_str().to_owned(), at.is_present)).collect()
    }

    fn of(&mut self, user: &str) -> Presence {
        match self.ask(HTTP, "eve", MessageRequest::Presence { users: [name(user)].into() }) {
            Ok(MessageAnswer::Presence(all)) => all[0],
            other => panic!("{other:?}"),
        }
    }

    /// Connection 1 is watching these.
    fn watch(&mut self, users: &[&str]) {
        self.subscribe(1, "eve", 1_000);
        let users = users.iter().map(|user| name(user)).collect();
        self.ask(1, "eve", MessageRequest::SubscribePresence { users }).unwrap();
        self.kept.clear();
    }
}

#[test]
fn without_a_place_for_it_nothing_is_kept() {
    let mut world = World::in_memory(config());
    world.subscribe(1, "ann", 1);
    world.depart(1);
    world.wait_ms(100_000);
    assert_eq!(world.written_kept(), []);
    assert_eq!(world.office.poll_timeout(), None);
}

#[test]
fn who_comes_and_goes_is_written_and_what_is_a_backend_is_not() {
    let mut world = World::after(&[]);
    world.subscribe(2, "ann", 1);
    world.subscribe(3, "ann", 1);
    assert_eq!(world.written_kept(), [("ann".into(), Some(START_MS))]);
    world.wait_ms(10);
    world.depart(2);
    assert_eq!(world.written_kept(), []);
    world.depart(3);
    assert_eq!(world.written_kept(), [("ann".into(), None)]);
    world.subscribe(2, "backend:risk", 1);
    assert_eq!(world.written_kept(), []);
}

#[test]
fn who_was_there_before_all_is_read_is_written_then() {
    let mut world = World::kept(config());
    world.subscribe(2, "ann", 1);
    world.subscribe(3, "bob", 1);
    world.depart(3);
    world.wait_ms(5);
    assert_eq!(world.written_kept(), []);
    world.leave(&["bob"]);
    world.handle_kept(&KeptWord::Read);
    assert_eq!(world.written_kept(), [("ann".into(), Some(START_MS)), ("bob".into(), None)]);
    assert!(!world.of("bob").is_present, "it has gone since");
}

#[test]
fn who_was_present_before_is_held_and_nobody_hears_that_it_is_seen_again() {
    let mut world = World::after(&["ann"]);
    world.watch(&["ann"]);
    let held = world.of("ann");
    assert_eq!((held.is_present, held.since_ms, held.sessions), (true, Some(BEFORE_MS), 0));
    assert_eq!((world.office.gauges().users_present, world.office.gauges().users_held), (2, 1));
    world.wait_ms(GRACE_MS - 1);
    world.subscribe(2, "ann", 1);
    let seen = world.of("ann");
    assert_eq!((seen.is_present, seen.since_ms, seen.sessions), (true, Some(BEFORE_MS), 1));
    assert_eq!((world.office.gauges().users_present, world.office.gauges().users_held), (2, 0));
    world.wait_ms(GRACE_MS);
    assert_eq!((world.news(), world.written_kept()), (vec![], vec![]), "all is as it was");
    world.depart(2);
    assert_eq!(world.news(), [("ann".into(), false)]);
    assert_eq!(world.written_kept(), [("ann".into(), None)]);
    assert_eq!(world.office.counters().presence_seen_again_total, 1);
}

#[test]
fn who_is_not_seen_within_the_grace_is_told_as_away_once() {
    let mut world = World::after(&["ann", "bob"]);
    world.watch(&["ann", "bob"]);
    world.wait_ms(GRACE_MS - 1);
    assert_eq!(world.news(), []);
    world.subscribe(2, "bob", 1);
    world.wait_ms(1);
    assert_eq!(world.news(), [("ann".into(), false)]);
    assert_eq!(world.written_kept(), [("ann".into(), None)]);
    let gone = world.of("ann");
    assert_eq!((gone.is_present, gone.since_ms), (false, Some(START_MS + GRACE_MS)));
    world.wait_ms(GRACE_MS);
    assert_eq!((world.news(), world.office.counters().presence_lapsed_total), (vec![], 1));
    world.subscribe(3, "ann", 1);
    assert_eq!(world.news(), [("ann".into(), true)]);
}

#[test]
fn a_group_s_message_for_one_member_goes_to_one_who_is_there_and_not_to_one_who_is_held() {
    let mut world = World::after(&["ann"]);
    let group = name("desk");
    let request = MessageRequest::CreateGroup { group, lifetime_ms: None, message_ttl_ms: None };
    world.ask(HTTP, "eve", request).unwrap();
    for user in ["ann", "bob"] {
        world.ask(HTTP, user, MessageRequest::JoinGroup { group, weight: 1 }).unwrap();
    }
    world.subscribe(2, "bob", 10);
    for _ in 0..2 {
        let to = crate::model::message::Selection::RoundRobin;
        world.sent("eve", NewMessage { target: Target::Group { group, to }, ..super::to("ann") }, "a");
    }
    assert_eq!(world.texts(), "a a");
}

#[test]
fn questions_wait_until_it_is_read_who_was_there_and_not_for_long() {
    let mut world = World::kept(config());
    world.subscribe(1, "eve", 10);
    let users = || [name("ann")].into();
    let questions = [
        world.begin(HTTP, "bob", MessageRequest::Presence { users: users() }, b""),
        world.begin(1, "eve", MessageRequest::SubscribePresence { users: users() }, b""),
    ];
    assert!(world.answers.is_empty());
    world.leave(&["ann"]);
    assert!(world.answers.is_empty());
    world.handle_kept(&KeptWord::Read);
    for question in questions {
        let Some(Ok(MessageAnswer::Presence(all))) = world.answers.remove(&question) else { panic!() };
        assert!(all[0].is_present);
    }
    // NATS does not answer.
    let mut world = World::kept(config());
    let question = world.begin(HTTP, "bob", MessageRequest::Presence { users: users() }, b"");
    world.wait_ms(limits::PRESENCE_READ_NS / 1_000_000 - 1);
    assert!(world.answers.is_empty());
    world.wait_ms(1);
    assert!(matches!(&world.answers[&question], Ok(MessageAnswer::Presence(all)) if !all[0].is_present));
    // And it does, late: who watches is told.
    world.watch(&["ann"]);
    world.leave(&["ann"]);
    assert_eq!(world.news(), [("ann".into(), true)]);
    world.handle_kept(&KeptWord::Read);
    world.wait_ms(GRACE_MS);
    assert_eq!(world.news(), [("ann".into(), false)]);
}

#[test]
fn questions_that_wait_are_bounded_and_those_beyond_are_answered_at_once() {
    let mut world = World::kept(config());
    let question = || MessageRequest::Presence { users: [name("ann")].into() };
    for _ in 0..limits::PRESENCE_ASKS_WAITING_MAX {
        world.begin(HTTP, "bob", question(), b"");
    }
    assert!(world.answers.is_empty());
    world.ask(HTTP, "bob", question()).unwrap();
    world.handle_kept(&KeptWord::Read);
    assert_eq!(world.answers.len(), limits::PRESENCE_ASKS_WAITING_MAX);
}

#[test]
fn what_a_connection_asked_before_it_was_another_account_s_does_nothing_to_that() {
    let mut world = World::kept(config());
    world.subscribe(1, "ann", 10);
    let users = [name("eve")].into();
    let question = world.begin(1, "ann", MessageRequest::SubscribePresence { users }, b"");
    assert!(world.answers.is_empty());
    world.depart(1);
    assert!(matches!(world.answers.remove(&question), Some(Ok(MessageAnswer::Presence(_)))));
    world.subscribe(1, "bob", 10);
    world.leave(&["eve"]);
    world.handle_kept(&KeptWord::Read);
    assert!(world.answers.is_empty());
    let bob = world.of("bob");
    assert_eq!((bob.is_present, bob.sessions), (true, 1));
    assert_eq!(world.news(), [], "ann's wish is not bob's");
}

#[test]
fn the_last_wish_of_a_connection_holds_also_where_no_more_may_wait() {
    let mut world = World::kept(config());
    world.subscribe(1, "eve", 10);
    let watching = |user: &str| MessageRequest::SubscribePresence { users: [name(user)].into() };
    world.begin(1, "eve", watching("ann"), b"");
    for _ in 1..limits::PRESENCE_ASKS_WAITING_MAX {
        world.begin(HTTP, "bob", MessageRequest::Presence { users: [name("ann")].into() }, b"");
    }
    assert!(world.answers.is_empty());
    world.begin(1, "eve", watching("bob"), b"");
    assert_eq!(world.answers.len(), 2);
    world.handle_kept(&KeptWord::Read);
    world.subscribe(2, "ann", 1);
    world.subscribe(3, "bob", 1);
    assert_eq!(world.news(), [("bob".into(), true)]);
}

#[test]
fn of_questions_that_wait_as_many_are_answered_at_once_as_a_turn_has_steps() {
    let mut world = World::kept(config());
    let users: Vec<_> = (0..256).map(|number| name(&format!("u{number}"))).collect();
    for _ in 0..limits::PRESENCE_ASKS_WAITING_MAX {
        world.begin(HTTP, "bob", MessageRequest::Presence { users: users.clone().into() }, b"");
    }
    world.handle_kept(&KeptWord::Read);
    assert_eq!(world.answers.len(), limits::OFFICE_STEPS_PER_TIMEOUT as usize / 256);
    assert_eq!(world.office.poll_timeout(), Some(0));
    world.wait_ms(0);
    assert_eq!(world.answers.len(), limits::PRESENCE_ASKS_WAITING_MAX);
    assert_eq!(world.office.poll_timeout(), None);
}

#[test]
fn what_is_read_when_the_grace_is_over_is_removed() {
    let mut world = World::kept(config());
    world.wait_ms(GRACE_MS);
    world.leave(&["ann"]);
    world.handle_kept(&KeptWord::Read);
    assert!(!world.of("ann").is_present);
    assert_eq!(world.written_kept(), [("ann".into(), None)]);
}

#[test]
fn of_what_is_left_as_much_is_held_as_leaves_room_for_those_who_come() {
    let mut world = World::kept(OfficeConfig { users_max: 8, ..config() });
    let users: Vec<String> = (0..9).map(|number| format!("u{number}")).collect();
    world.leave(&users.iter().map(String::as_str).collect::<Vec<_>>());
    world.handle_kept(&KeptWord::Read);
    assert_eq!(world.office.gauges().users_held, 6);
    assert_eq!(world.office.counters().presence_unheld_total, 3);
    world.subscribe(1, "ann", 1);
    world.subscribe(2, "bob", 1);
}

#[test]
fn writes_are_paced_and_what_changes_back_meanwhile_is_not_written() {
    let mut world = World::after(&[]);
    let count = u32::try_from(limits::PRESENCE_WRITES_AT_ONCE).unwrap() + 1;
    for at in 0..count + 2 {
        world.subscribe(at, &format!("u{at}"), 1);
    }
    assert_eq!(world.written_kept().len(), count as usize);
    world.depart(count);
    world.wait_ms(1_000 / limits::PRESENCE_WRITES_PER_S);
    assert_eq!(world.written_kept(), [(format!("u{}", count + 1), Some(START_MS))]);
    world.wait_ms(1_000);
    assert_eq!(world.written_kept(), []);
}

#[test]
fn what_is_kept_is_written_again_in_time() {
    let mut world = World::after(&["ann", "bob"]);
    world.subscribe(1, "ann", 1);
    world.subscribe(2, "eve", 1);
    world.written_kept();
    world.wait_ms(GRACE_MS);
    assert_eq!(world.written_kept(), [("bob".into(), None)]);
    world.wait_ms(RENEW_NS / 1_000_000 - GRACE_MS - 1);
    assert_eq!(world.written_kept(), []);
    world.wait_ms(1);
    let mut again = world.written_kept();
    again.sort_unstable();
    assert_eq!(again, [("ann".into(), Some(BEFORE_MS)), ("eve".into(), Some(START_MS))]);
}

#[test]
fn what_was_not_written_is_written_later_as_it_is_then() {
    let mut world = World::after(&[]);
    world.subscribe(1, "ann", 1);
    world.subscribe(2, "bob", 1);
    for kept in std::mem::take(&mut world.kept) {
        world.handle_kept(&KeptWord::Unwritten(kept));
    }
    world.depart(2);
    assert_eq!(world.written_kept(), []);
    world.wait_ms(limits::PRESENCE_REWRITE_NS / 1_000_000 - 1);
    assert_eq!(world.written_kept(), []);
    world.wait_ms(10);
    assert_eq!(world.written_kept(), [("ann".into(), Some(START_MS)), ("bob".into(), None)]);
    // Of a user that is forgotten by now nothing follows.
    world.handle_kept(&KeptWord::Unwritten(KeptPresence { user: name("nobody"), since_ms: None }));
    world.wait_ms(10_000);
    assert_eq!(world.written_kept(), []);
}

#[test]
fn users_who_went_and_wait_to_be_written_do_not_take_the_room_of_others() {
    let mut world = World::kept(OfficeConfig { users_max: 8, ..config() });
    world.handle_kept(&KeptWord::Read);
    for at in 0..100 {
        world.subscribe(at, &format!("u{at}"), 1);
        // Nothing is written any more.
        for kept in std::mem::take(&mut world.kept) {
            world.handle_kept(&KeptWord::Unwritten(kept));
        }
        world.depart(at);
    }
    assert!(world.office.counters().presence_unwritten_total > 90);
    assert!(world.office.gauges().users <= 8);
}

/// One office after another, each with what the one before has left written; what is written is what is so, and a watcher hears of each
/// user in turn that it came and that it went.
#[test]
fn by_chance_what_is_left_is_who_is_present_and_news_alternate() {
    let mut seed = 7_u64;
    let mut below = |count: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % count
    };
    let mut left: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..40 {
        let mut world = World::kept(config());
        world.now = world.now.plus_ns(below(1_000_000_000));
        let entries =
            left.iter().map(|(user, since)| KeptPresence { user: name(user), since_ms: Some(*since) });
        let entries: Vec<_> = entries.collect();
        world.handle_kept(&KeptWord::Entries(entries));
        world.handle_kept(&KeptWord::Read);
        // The clock may be behind that of the office before.
        std::mem::take(&mut world.kept).iter().for_each(|kept| apply(&mut left, kept));
        let users: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
        world.watch(&users.iter().map(String::as_str).collect::<Vec<_>>());
        let mut told: BTreeMap<String, bool> =
            users.iter().map(|user| (user.clone(), left.contains_key(user))).collect();
        for _ in 0..300 {
            let number = u32::try_from(below(40)).unwrap();
            let user = &users[number as usize % users.len()];
            match below(4) {
                0 | 1 => drop(world.subscribe(2 + number, user, 10)),
                2 => world.depart(2 + number),
                _ => world.wait_ms(below(500)),
            }
            for (user, is_present) in world.news() {
                assert_eq!(told.insert(user.clone(), is_present), Some(!is_present), "{user}");
            }
            for kept in std::mem::take(&mut world.kept) {
                if below(10) == 0 {
                    // It may have been written all the same.
                    if below(2) == 0 {
                        apply(&mut left, &kept);
                    }
                    world.handle_kept(&KeptWord::Unwritten(kept));
                } else {
                    apply(&mut left, &kept);
                }
            }
        }
        for _ in 0..20 {
            world.wait_ms(1_000);
            std::mem::take(&mut world.kept).iter().for_each(|kept| apply(&mut left, kept));
        }
        left.remove("eve");
        for user in &users {
            let presence = world.of(user);
            assert_eq!(left.get(user).copied(), presence.since_ms.filter(|_| presence.is_present), "{user}");
        }
    }
}

fn apply(left: &mut BTreeMap<String, u64>, kept: &KeptPresence) {
    match kept.since_ms {
        Some(since_ms) => left.insert(kept.user.as_str().to_owned(), since_ms),
        None => left.remove(kept.user.as_str()),
    };
}
