//! Messages that backends process, with a real office and backends by hand: what they are told, what their answers mean, and what
//! becomes of messages while they are away.

use super::*;
use crate::auth::Patterns;
use crate::hub::resetting::Resetting;
use crate::mail::OfficeConfig;
use crate::model::message::{
    Delivery, MessageAsk, MessageId, MessageOutput, MessageRequest, Priority, processor_of,
};
use crate::model::order::Label;
use crate::model::storage::{StoreState, StoreWord};

const SCOPES: &str = "message:read_write message:admin backend:read_write";

/// Two backends; the first takes everybody's messages, the second those of who may call it.
fn config_of(types: [&[&str]; 2], in_flight_max: u32) -> HubConfig {
    let access = [Access::LoggedIn, Access::Scoped(Scope::BackendReadWrite)];
    let processor = |(at, types): (usize, &[&str])| ProcessorTerms {
        backend: BackendId(at as u16),
        user: processor_of(["risk", "desk"][at]).unwrap(),
        types: types.iter().map(|text| (*text).into()).collect(),
        in_flight_max,
        access: access[at],
    };
    let all = types.into_iter().enumerate().filter(|(_, types)| !types.is_empty()).map(processor);
    let routes = Routes::clone(&routes(&[("risk/*", Access::Everybody)]));
    HubConfig { routes: Arc::new(routes.with_processors(all).unwrap()), ..config() }
}

fn world_of(shards: u8, config: &HubConfig) -> World {
    let mut world = World::with(shards, config);
    for state in [StoreState::Loading, StoreState::Ready] {
        world.market.handle_store(StoreWord::State(state), world.now);
    }
    world.market.handle_store(StoreWord::Loaded, world.now);
    world.turn(0);
    world
}

fn processing() -> World {
    world_of(1, &config_of([&["approval", "risk.*"], &["desk.*"]], 2))
}

impl World {
    fn sender(&mut self, slot: u32, scopes: &str) -> ConnId {
        let conn = self.connect(0, slot);
        log_in(self, 0, conn, login(slot, scopes));
        conn
    }

    /// Time goes by; what is due is done, and what is to be stored is.
    fn turn(&mut self, ns: u64) {
        self.now = self.now.plus_ns(ns);
        self.hubs.iter_mut().for_each(|hub| hub.handle_timeout(self.now));
        self.market.handle_timeout(self.now);
        self.carry();
        while let Some(batch) = self.market.poll_store_batch() {
            self.market.handle_store(StoreWord::Stored { through: batch.number }, self.now);
            self.carry();
        }
    }

    /// The error of a send, or its result.
    fn ask(&mut self, conn: ConnId, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(0, conn, &request.to_string());
        self.turn(0);
        // There may be pings too.
        let mut texts = self.texts(0, conn);
        texts.retain(|text| text["id"] == 1);
        assert_eq!(texts.len(), 1, "{texts:?}");
        let reply = texts.remove(0);
        if reply["error"].is_null() { reply["result"].clone() } else { reply["error"].clone() }
    }

    /// A message of the type `approval` with this name.
    fn approve(&mut self, conn: ConnId, name: &str) -> Value {
        let params = json!({"type": "approval", "confirm": true, "id": name, "content": {"n": 1}});
        self.ask(conn, "message/send", &params)
    }

    fn state_of(&mut self, conn: ConnId, name: &str) -> Value {
        self.ask(conn, "message/status", &json!({"id": name}))["state"].clone()
    }

    fn answer(&mut self, call: &Told, outcome: CallOutcome<'_>) {
        self.outcome(call, outcome);
        self.turn(0);
    }
}

/// Which message a call hands on, and which attempt it is.
fn handed(call: &Told) -> (u64, u64, bool) {
    let params = call.params.as_ref().unwrap();
    assert_eq!(call.method, "message/process");
    (
        params["id"].as_u64().unwrap(),
        params["attempt"].as_u64().unwrap(),
        params["redelivered"].as_bool().unwrap(),
    )
}

const DONE: CallOutcome<'static> = CallOutcome::Result(b"null");
const AWAY: CallOutcome<'static> = CallOutcome::Failed(CallFailure::Unavailable);

#[test]
fn a_message_of_a_type_is_a_call_of_its_backend_and_a_result_confirms_it() {
    let mut world = processing();
    let conn = world.sender(7, SCOPES);
    let sent = world.approve(conn, "m");
    assert_eq!((&sent["count"], &sent["state"]), (&json!(1), &json!("queued")));
    let calls = world.calls();
    let params = calls[0].params.clone().unwrap();
    let sent_at = world.now.unix_ns / 1_000_000;
    let told = json!({
        "id": sent["id"], "from": "account7", "type": "approval", "priority": "normal", "attempt": 1, "redelivered": false,
        "confirm": true, "sent_at": sent_at, "client_id": "m", "content": {"n": 1}
    });
    assert_eq!((calls.len(), calls[0].backend, params), (1, 0, told));
    assert_eq!(world.state_of(conn, "m"), "delivered");
    world.answer(&calls[0], DONE);
    assert_eq!(world.state_of(conn, "m"), "confirmed");
    assert!(world.waits_for_nothing() && world.calls().is_empty());
    assert_eq!(world.hubs[0].counters().messages_processed_total, 1);
}

/// As where another node's market takes the place of one.
#[test]
fn with_another_office_backends_begin_anew_and_answers_to_messages_of_the_one_before_are_nobody_s() {
    let mut world = processing();
    let conn = world.sender(7, SCOPES);
    world.approve(conn, "m");
    let of_before = world.calls();
    world.market = MarketHome::new(HomeId(1), 1, HISTORY, world.now);
    for state in [StoreState::Loading, StoreState::Ready] {
        world.market.handle_store(StoreWord::State(state), world.now);
    }
    world.market.handle_store(StoreWord::Loaded, world.now);
    world.market.reset_shards(Resetting::default());
    world.turn(0);
    assert_eq!(world.texts(0, conn).last().unwrap()["close"], 1012, "it had asked the office before");
    let conn = world.sender(8, SCOPES);
    world.answer(&of_before[0], DONE);
    world.approve(conn, "n");
    let calls = world.calls();
    assert_eq!((calls.len(), handed(&calls[0]).1), (1, 1));
    world.answer(&calls[0], DONE);
    assert_eq!(world.state_of(conn, "n"), "confirmed");
    assert!(world.waits_for_nothing());
}

#[test]
fn types_go_by_the_most_specific_pattern_and_one_that_nobody_has_is_told_so() {
    let mut world = processing();
    let conn = world.sender(1, SCOPES);
    for (kind, backend) in [("risk.limit", 0), ("desk.halt", 1)] {
        world.ask(conn, "message/send", &json!({"type": kind, "content": 1}));
        assert_eq!(world.calls().iter().map(|call| call.backend).collect::<Vec<_>>(), [backend]);
    }
    let none = world.ask(conn, "message/send", &json!({"type": "risk", "content": 1}));
    assert_eq!(none["data"], json!({"reason": "no backend processes this type", "param": "type"}));
    let direct = world.ask(conn, "message/send", &json!({"user": "backend:risk", "content": 1}));
    assert_eq!(direct["data"]["param"], "user");
    assert!(world.calls().is_empty());
}

#[test]
fn who_may_not_call_a_backend_may_not_send_it_messages() {
    let mut world = processing();
    let (plain, listed) = (world.sender(1, "message:read_write"), world.connect(0, 2));
    let sent = world.ask(plain, "message/send", &json!({"type": "approval", "content": 1}));
    assert_eq!(sent["state"], "queued");
    let refused = world.ask(plain, "message/send", &json!({"type": "desk.halt", "content": 1}));
    assert_eq!(refused["code"], json!(13021), "{refused}");
    let mut narrow = login(2, SCOPES);
    let credential = Credential { call: Patterns::new(["risk/*"]), ..Credential::clone(&narrow.credential) };
    narrow.credential = Arc::new(credential);
    log_in(&mut world, 0, listed, narrow);
    let refused = world.ask(listed, "message/send", &json!({"type": "approval", "content": 1}));
    assert_eq!(refused["data"]["reason"], "not for this key", "{refused}");
}

#[test]
fn an_error_or_no_answer_in_time_is_tried_again_and_its_reason_is_with_the_dead_letter() {
    let mut world = processing();
    world.market.set_office_config(OfficeConfig { attempts_max: 3, ..OfficeConfig::default() });
    let conn = world.sender(1, SCOPES);
    world.approve(conn, "m");
    let first = world.calls();
    world.answer(&first[0], CallOutcome::Failed(CallFailure::Lost));
    assert!(world.calls().is_empty(), "it backs off");
    world.turn(2 * SECOND);
    let second = world.calls();
    assert_eq!((handed(&second[0]).1, handed(&second[0]).2), (2, true));
    // Its time is over, and it is told that nobody waits.
    world.turn(9 * SECOND);
    assert_eq!(world.cancelled().len(), 1);
    world.answer(&second[0], DONE);
    world.turn(3 * SECOND);
    let third = world.calls();
    assert_eq!(handed(&third[0]).1, 3, "what came late is nothing");
    let error = r#"{"code":-5,"message":"no such\nbook: é","data":{"message":7}}"#;
    world.answer(&third[0], CallOutcome::Error(error.as_bytes()));
    let letters = world.ask(conn, "message/dead_letters/list", &json!({}));
    let letter = &letters["letters"][0];
    assert_eq!((&letter["to"], &letter["attempts"]), (&json!("backend:risk"), &json!(3)));
    assert_eq!((&letter["cause"], &letter["reason"]), (&json!("attempts"), &json!("no suchbook: é")));
    assert!(world.waits_for_nothing());
    assert_eq!(world.hubs[0].counters().messages_unprocessed_total, 3);
}

#[test]
fn while_a_backend_takes_no_calls_messages_wait_for_it_and_no_attempt_is_counted() {
    let mut world = processing();
    let conn = world.sender(1, SCOPES);
    let ids: Vec<u64> = ["a", "b", "c"].map(|name| world.approve(conn, name)["id"].as_u64().unwrap()).into();
    let mut rounds = 0;
    for _ in 0..100 {
        let calls = world.calls();
        rounds += u32::from(!calls.is_empty());
        for call in &calls {
            assert_eq!((handed(call).1, handed(call).2), (1, false));
            world.answer(call, AWAY);
        }
        world.turn(SECOND / 2);
    }
    // 0.5, 1, 2, 4, 8, 15 seconds and so on, in 50.
    assert!((5..=8).contains(&rounds), "{rounds}");
    world.turn(15 * SECOND);
    let calls = world.calls();
    assert_eq!(calls.iter().map(|call| handed(call).0).collect::<Vec<_>>(), &ids[..2], "in their order");
    world.answer(&calls[0], DONE);
    let third = world.calls();
    assert_eq!(third.iter().map(handed).collect::<Vec<_>>(), [(ids[2], 1, false)]);
    // It was well: the next pause is a short one.
    world.answer(&third[0], AWAY);
    world.turn(SECOND / 2);
    assert_eq!(world.calls().len(), 1);
    let letters = world.ask(conn, "message/dead_letters/list", &json!({}));
    assert_eq!(letters["total"], 0);
}

#[test]
fn calls_of_clients_that_fill_a_backend_make_its_messages_wait() {
    let mut world = processing();
    let (conn, member) = (world.connect(0, 9), world.sender(1, SCOPES));
    let other = world.connect(0, 10);
    for (at, conn) in [conn, conn, conn, other].into_iter().enumerate() {
        world.send(0, conn, &request(&at.to_string(), "risk/var"));
    }
    let calls = world.calls();
    assert_eq!(calls.len(), 4, "as many as may be");
    world.approve(member, "m");
    assert!(world.calls().is_empty());
    world.answer(&calls[0], DONE);
    world.turn(SECOND);
    assert_eq!(world.calls().iter().map(|call| handed(call).1).collect::<Vec<_>>(), [1]);
}

#[test]
fn each_backend_has_one_shard_and_a_reload_brings_and_takes_processors() {
    let config = config_of([&["approval"], &["desk.*"]], 2);
    let mut world = world_of(2, &config);
    let conn = world.sender(1, SCOPES);
    world.approve(conn, "m");
    world.ask(conn, "message/send", &json!({"type": "desk.halt", "content": 1}));
    let first = world.calls();
    assert_eq!(first.iter().map(|call| call.backend).collect::<Vec<_>>(), [0]);
    let second = world.hubs[1].poll_call().unwrap();
    assert_eq!((second.backend, second.method), (BackendId(1), "message/process"));
    // It goes while it has the message: what it says of it is too late.
    let without = config_of([&[], &["desk.*"]], 2);
    for hub in &mut world.hubs {
        hub.handle_config(without.clone(), world.now);
    }
    world.turn(0);
    assert_eq!(world.state_of(conn, "m"), "queued");
    assert_eq!(world.approve(conn, "n")["data"]["param"], "type");
    world.answer(&first[0], DONE);
    assert_eq!(world.state_of(conn, "m"), "queued");
    for hub in &mut world.hubs {
        hub.handle_config(config.clone(), world.now);
    }
    world.turn(0);
    let again = world.calls();
    assert_eq!((handed(&again[0]).1, handed(&again[0]).2), (2, true));
    world.answer(&again[0], DONE);
    assert_eq!(world.state_of(conn, "m"), "confirmed");
}

#[test]
fn a_server_that_stops_hands_on_nothing_more_and_takes_what_backends_say() {
    let mut world = processing();
    let conn = world.sender(1, SCOPES);
    world.approve(conn, "a");
    let calls = world.calls();
    world.hubs[0].begin_shutdown(world.now);
    world.turn(0);
    world.approve(conn, "b");
    world.turn(60 * SECOND / 10);
    assert!(world.calls().is_empty());
    world.answer(&calls[0], DONE);
    assert_eq!([world.state_of(conn, "a"), world.state_of(conn, "b")], [json!("confirmed"), json!("queued")]);
}

#[test]
fn a_message_that_is_too_long_for_a_call_is_rejected_and_others_go_on() {
    let mut world = World::with(1, &config_of([&["approval"], &[]], 2));
    world.office = Some(messages::OfficeByHand::default());
    world.turn(0);
    let asked = |world: &mut World| -> Vec<MessageAsk> {
        std::mem::take(&mut world.office.as_mut().unwrap().asked).into_iter().map(|(ask, _)| ask).collect()
    };
    let client = asked(&mut world)[0].client;
    let delivery = |message: u64, bytes: usize| Delivery {
        client,
        message: MessageId(message),
        from: Label::parse("a").unwrap(),
        by: None,
        priority: Priority::Normal,
        confirm: true,
        attempt: 1,
        is_redelivered: false,
        sent_ms: 1,
        deliver_at_ms: None,
        expires_ms: None,
        client_id: None,
        reply_to: None,
        content: vec![b'1'; bytes].into(),
    };
    for (message, bytes) in [(1, limits::PROCESSED_BYTES_MAX), (3, limits::PROCESSED_BYTES_MAX - 500)] {
        world.market.say_message(HomeId(0), MessageOutput::Deliver(delivery(message, bytes)));
    }
    world.turn(0);
    let requests: Vec<MessageRequest> = asked(&mut world).into_iter().map(|ask| ask.request).collect();
    let reason = Label::parse("it is too long for a call");
    assert_eq!(requests, [MessageRequest::Reject { message: MessageId(1), reason, delay_ms: None }]);
    assert_eq!(world.hubs[0].poll_call().unwrap().params.unwrap()[..7], *b"{\"id\":3");
}

#[test]
fn whatever_backends_do_each_message_is_confirmed_or_a_dead_letter_and_bounds_hold() {
    for seed in 0..20 {
        let mut world = processing();
        // Longer than the test: names tell what became of each.
        let dedup_window_ms = 86_400_000;
        world.market.set_office_config(OfficeConfig { dedup_window_ms, ..OfficeConfig::default() });
        let conn = world.sender(1, SCOPES);
        let mut rng = seed;
        let mut next = move |below: u64| {
            rng = u64::wrapping_add(rng, 1).wrapping_mul(6_364_136_223_846_793_005);
            (rng >> 33) % below
        };
        let (mut names, mut open): (Vec<String>, Vec<Told>) = (Vec::new(), Vec::new());
        let mut attempts = std::collections::BTreeMap::new();
        for step in 0..200 {
            match next(4) {
                0 if names.len() < 30 => {
                    names.push(format!("m{step}"));
                    let accepted = world.approve(conn, names.last().unwrap());
                    assert_eq!(accepted["count"], 1, "{accepted}");
                }
                1 | 2 if !open.is_empty() => {
                    let call = open.swap_remove(next(open.len() as u64) as usize);
                    let outcome = match next(5) {
                        0 | 1 => DONE,
                        2 => CallOutcome::Error(br#"{"code":1,"message":"x"}"#),
                        3 => AWAY,
                        _ => CallOutcome::Failed(CallFailure::Lost),
                    };
                    world.answer(&call, outcome);
                }
                _ => world.turn(SECOND),
            }
            for call in world.calls() {
                let (message, attempt, _) = handed(&call);
                let before = attempts.insert(message, attempt).unwrap_or(0);
                assert!(attempt == before || attempt == before + 1, "{message}: {attempt} after {before}");
                open.push(call);
            }
            assert!(world.hubs[0].occupancy().calls <= 2);
        }
        for _ in 0..400 {
            for call in open.drain(..) {
                world.answer(&call, DONE);
            }
            world.turn(2 * SECOND);
            open = world.calls();
        }
        let states: Vec<Value> = names.iter().map(|name| world.state_of(conn, name)).collect();
        assert!(states.iter().all(|state| *state == "confirmed" || *state == "dead"), "{states:?}");
        assert!(states.iter().filter(|state| **state == "confirmed").count() > names.len() / 2);
        assert!(world.waits_for_nothing());
    }
}
