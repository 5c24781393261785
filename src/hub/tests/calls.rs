//! Calls of methods that backends have, which the tests are themselves here: one reply each, whatever the backend does, to who asked;
//! bounded; and that a backend hears once that nobody waits.

use serde_json::{Value, json};

use super::http_api::{answers, open, post, say};
use super::private::{log_in, login};
use super::*;
use crate::auth::{Credential, Scope, Verdict};
use crate::dialect::json_rpc::Access;
use crate::model::call::{BackendId, CallFailure, CallKey, CallOutcome, CancelledCall};

mod cache;
mod processing;

const SECOND: u64 = 1_000_000_000;

/// A call as its backend is told of it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    key: Option<CallKey>,
    backend: u16,
    method: String,
    params: Option<Value>,
}

fn routes(routes: &[(&str, Access)]) -> Arc<Routes> {
    let terms = |name: &str| BackendTerms {
        name: name.into(),
        under_way_max: 4,
        per_connection_max: 3,
        timeout_ns: 8 * SECOND,
    };
    let backends = [(BackendId(0), terms("risk")), (BackendId(1), terms("desk"))];
    let routes = routes.iter().map(|(pattern, access)| Route {
        pattern: (*pattern).into(),
        backend: BackendId(u16::from(!pattern.starts_with("risk/"))),
        access: *access,
        is_idempotent: caching(pattern).is_some(),
        caching: caching(pattern),
    });
    Arc::new(Routes::new(backends, routes).unwrap())
}

/// Results of `risk/get_…` are kept for an account, those of `risk/all_…` for everybody.
fn caching(pattern: &str) -> Option<Caching> {
    let sharing = match pattern {
        pattern if pattern.contains("get_") => Sharing::Account,
        pattern if pattern.contains("all_") => Sharing::Everybody,
        _ => return None,
    };
    Some(Caching { ttl_ns: 2 * SECOND, sharing })
}

fn with_routes(config: HubConfig) -> World {
    let access = [
        ("risk/*", Access::Everybody),
        ("risk/get_*", Access::Everybody),
        ("risk/all_*", Access::Everybody),
        ("desk/*", Access::Scoped(Scope::TradeReadWrite)),
    ];
    World::with(1, &HubConfig { routes: routes(&access), ..config })
}

fn world() -> World {
    with_routes(HubConfig {
        calls: CallLimits { per_connection_max: 3, ..CallLimits::default() },
        ..config()
    })
}

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"n":{id}}}}}"#)
}

impl World {
    /// Calls that the first shard hands out.
    fn calls(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(call) = self.hubs[0].poll_call() {
            let params = call.params.map(|params| serde_json::from_slice(params).unwrap());
            let (method, backend) = (call.method.to_owned(), call.backend.0);
            told.push(Told { key: call.key, backend, method, params });
        }
        told
    }

    fn cancelled(&mut self) -> Vec<CancelledCall> {
        std::iter::from_fn(|| self.hubs[0].poll_cancelled()).collect()
    }

    fn outcome(&mut self, call: &Told, outcome: CallOutcome<'_>) {
        self.hubs[0].handle_outcome(call.key.unwrap(), outcome, self.now);
        self.carry();
    }

    fn pass(&mut self, ns: u64) {
        self.now = self.now.plus_ns(ns);
        self.hubs[0].handle_timeout(self.now);
        self.carry();
    }

    fn waits_for_nothing(&self) -> bool {
        let occupancy = self.hubs[0].occupancy();
        (occupancy.calls, occupancy.calls_waiting) == (0, 0)
    }
}

fn reasons(texts: &[Value]) -> Vec<(i64, String)> {
    let reason = |text: &Value| {
        let reason = text["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned();
        (text["error"]["code"].as_i64().unwrap_or_default(), reason)
    };
    texts.iter().map(reason).collect()
}

#[test]
fn a_call_goes_to_the_backend_of_its_prefix_and_its_result_to_who_asked() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, one, &request("1", "risk/var"));
    world.send(0, two, &request("1", "risk/limit"));
    let calls = world.calls();
    let methods: Vec<&str> = calls.iter().map(|call| &*call.method).collect();
    assert_eq!(methods, ["risk/var", "risk/limit"]);
    assert_eq!((calls[0].backend, calls[0].params.clone()), (0, Some(json!({"n": 1}))));
    assert_ne!(calls[0].key, calls[1].key);
    world.outcome(&calls[1], CallOutcome::Result(br#"{"a":[1]}"#));
    world.outcome(&calls[0], CallOutcome::Error(br#"{"code":-5,"message":"no"}"#));
    let (first, second) = (world.texts(0, one), world.texts(0, two));
    assert_eq!(
        (first.len(), &first[0]["id"], &first[0]["error"]),
        (1, &json!(1), &json!({"code": -5, "message": "no"}))
    );
    assert_eq!((second.len(), &second[0]["result"]), (1, &json!({"a": [1]})));
    assert!(world.waits_for_nothing() && world.cancelled().is_empty());
}

#[test]
fn what_no_route_has_is_no_method() {
    let mut world = world();
    let conn = world.connect(0, 0);
    for method in ["risks/var", "risk", "message/none", "other/x"] {
        world.send(0, conn, &request("1", method));
        let texts = world.texts(0, conn);
        assert_eq!(texts[0]["error"]["code"], json!(-32601), "{method}");
    }
    assert_eq!(world.calls(), []);
}

#[test]
fn each_failure_of_a_backend_has_its_error() {
    let mut world = world();
    let conn = world.connect(0, 0);
    let cases = [
        (CallFailure::Unavailable, 13_028, "not sent"),
        (CallFailure::Busy, 10_040, "not sent"),
        (CallFailure::TimedOut, 20_003, "sent, but not answered in time"),
        (CallFailure::Lost, 20_004, "sent, but the backend ended"),
        (CallFailure::Garbled, 20_005, "no JSON-RPC answer"),
        (CallFailure::TooLong, 20_006, "longer than may be"),
    ];
    for (failure, code, reason) in cases {
        world.send(0, conn, &request("7", "risk/var"));
        let calls = world.calls();
        world.outcome(&calls[0], CallOutcome::Failed(failure));
        let told = reasons(&world.texts(0, conn));
        assert!(told.len() == 1 && told[0].0 == code && told[0].1.contains(reason), "{failure:?}: {told:?}");
    }
}

#[test]
fn a_second_answer_and_a_late_one_are_dropped_and_counted() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/var"));
    let first = world.calls().remove(0);
    world.outcome(&first, CallOutcome::Result(b"1"));
    world.outcome(&first, CallOutcome::Result(b"2"));
    // The slot is another's by now.
    world.send(0, conn, &request("2", "risk/var"));
    let second = world.calls().remove(0);
    world.outcome(&first, CallOutcome::Result(b"3"));
    world.outcome(&second, CallOutcome::Result(b"4"));
    let results: Vec<Value> = world.texts(0, conn).iter().map(|text| text["result"].clone()).collect();
    assert_eq!(results, [json!(1), json!(4)]);
    assert_eq!(world.hubs[0].counters().call_answers_late_total, 2);
}

#[test]
fn a_call_that_is_not_answered_in_time_is_given_up_once() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/var"));
    let call = world.calls().remove(0);
    world.pass(7 * SECOND);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    world.pass(2 * SECOND);
    assert_eq!(reasons(&world.texts(0, conn))[0].0, 20_003);
    assert_eq!(world.cancelled(), [CancelledCall { key: call.key.unwrap(), backend: BackendId(0) }]);
    world.outcome(&call, CallOutcome::Result(b"1"));
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    assert_eq!(world.hubs[0].counters().call_answers_late_total, 1);
    assert!(world.waits_for_nothing());
}

#[test]
fn what_was_never_handed_out_was_not_sent() {
    let mut world = with_routes(config());
    let conns: Vec<ConnId> = (0..4).map(|slot| world.connect(0, slot)).collect();
    for conn in &conns {
        world.send(0, *conn, &request("1", "risk/var"));
    }
    world.pass(9 * SECOND);
    for conn in conns {
        // None was handed out.
        assert_eq!(reasons(&world.texts(0, conn))[0].0, 13_028);
    }
    assert_eq!((world.calls(), world.cancelled()), (Vec::new(), Vec::new()));
}

#[test]
fn a_notification_is_sent_and_never_answered() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, r#"{"jsonrpc":"2.0","method":"risk/note","params":[1]}"#);
    let calls = world.calls();
    assert_eq!((calls[0].key, calls[0].params.clone()), (None, Some(json!([1]))));
    assert!(world.waits_for_nothing());
    world.pass(9 * SECOND);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
}

#[test]
fn a_batch_has_one_array_of_replies_when_the_last_is_known() {
    let mut world = world();
    let conn = world.connect(0, 0);
    let note = r#"{"jsonrpc":"2.0","method":"risk/note"}"#;
    let batch = format!("[{},{note},{}]", request("1", "risk/a"), request("2", "public/test"));
    world.send(0, conn, &batch);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    let calls = world.calls();
    assert_eq!(calls.len(), 2);
    world.outcome(&calls[0], CallOutcome::Result(b"\"x\""));
    let texts = world.texts(0, conn);
    let replies = texts[0].as_array().unwrap();
    assert_eq!((texts.len(), replies.len(), &replies[1]["result"]), (1, 2, &json!("x")));
    world.send(0, conn, &format!("[{note},{note}]"));
    assert_eq!((world.calls().len(), world.texts(0, conn).len()), (2, 0));
    assert_eq!(world.hubs[0].occupancy().batches, 0);
}

#[test]
fn more_of_a_connection_or_a_backend_than_may_be_is_refused_each_by_its_reason() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    for id in ["1", "2", "3", "4"] {
        world.send(0, one, &request(id, "risk/var"));
    }
    let told = reasons(&world.texts(0, one));
    assert!(told.len() == 1 && told[0].1.contains("of this connection"), "{told:?}");
    for id in ["1", "2"] {
        world.send(0, two, &request(id, "risk/var"));
    }
    let told = reasons(&world.texts(0, two));
    assert!(told.len() == 1 && told[0].1.contains("to the backend"), "{told:?}");
    let refused = world.hubs[0].incidents().of(Incident::Declined(Declined::CallsUnderWay));
    assert_eq!((refused, world.calls().len()), (2, 4));
    world.hubs[0].handle_closed(one, world.now);
    world.send(0, two, &request("3", "risk/var"));
    assert_eq!((world.calls().len(), world.cancelled().len()), (1, 3));
}

#[test]
fn a_client_cancels_by_id_and_is_told_at_once() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/var"));
    world.send(0, conn, &request("\"b\"", "risk/var"));
    let calls = world.calls();
    world.send(0, conn, r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"b"}}"#);
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), &texts[0]["id"], reasons(&texts)[0].0), (1, &json!("b"), -32_800));
    assert_eq!(world.cancelled(), [CancelledCall { key: calls[1].key.unwrap(), backend: BackendId(0) }]);
    world.send(0, conn, r#"{"jsonrpc":"2.0","id":9,"method":"$/cancelRequest","params":{"id":"b"}}"#);
    assert_eq!(world.texts(0, conn)[0]["result"], json!(false));
    // One that is cancelled before it was handed out never is.
    world.send(0, conn, &request("3", "risk/var"));
    world.send(0, conn, r#"{"jsonrpc":"2.0","id":9,"method":"$/cancelRequest","params":{"id":3}}"#);
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), &texts[1]["result"]), (2, &json!(true)));
    assert_eq!((world.calls(), world.cancelled()), (Vec::new(), Vec::new()));
    world.outcome(&calls[0], CallOutcome::Result(b"1"));
    assert_eq!(world.texts(0, conn)[0]["id"], json!(1));
}

#[test]
fn calls_of_a_connection_that_is_gone_are_cancelled_and_nobody_gets_their_answers() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &format!("[{},{}]", request("1", "risk/a"), request("2", "risk/b")));
    let calls = world.calls();
    world.hubs[0].handle_closed(conn, world.now);
    assert_eq!(world.cancelled().len(), 2);
    let next = world.connect(0, 0);
    calls.iter().for_each(|call| world.outcome(call, CallOutcome::Result(b"1")));
    assert_eq!(world.texts(0, next), Vec::<Value>::new());
    assert!(world.waits_for_nothing());
}

#[test]
fn who_closes_is_answered_what_it_has_asked_before_its_end() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/a"));
    let call = world.calls().remove(0);
    let mut close = vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    world.hubs[0].handle_bytes(conn, &mut close, world.now);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    world.outcome(&call, CallOutcome::Result(b"1"));
    let texts = world.texts(0, conn);
    assert_eq!((&texts[0]["result"], &texts[1]["close"]), (&json!(1), &json!(1000)));
    assert_eq!(world.cancelled(), []);
}

#[test]
fn who_closes_and_is_not_answered_for_long_goes_without() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/a"));
    world.calls();
    let mut close = vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    world.hubs[0].handle_bytes(conn, &mut close, world.now);
    world.pass(SECOND + SECOND / 8);
    assert_eq!(world.texts(0, conn), [json!({"close": 1000})]);
    assert_eq!(world.cancelled().len(), 1);
    assert!(world.waits_for_nothing());
}

#[test]
fn a_method_needs_its_scope() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "desk/x"));
    assert_eq!(reasons(&world.texts(0, conn))[0].0, 13_009);
    log_in(&mut world, 0, conn, login(1, "trade:read"));
    world.send(0, conn, &request("1", "desk/x"));
    let told = reasons(&world.texts(0, conn));
    assert_eq!(told[0], (13_021, "needs scope trade:read_write".to_owned()));
    assert_eq!(world.calls(), []);
    log_in(&mut world, 0, conn, login(1, "trade:read_write"));
    world.send(0, conn, &request("1", "desk/x"));
    assert_eq!(world.calls().len(), 1);
}

#[test]
fn who_becomes_another_account_has_its_calls_cancelled() {
    let mut world = world();
    let conn = world.connect(0, 0);
    log_in(&mut world, 0, conn, login(1, "trade:read_write"));
    world.send(0, conn, &request("1", "desk/x"));
    world.calls();
    log_in(&mut world, 0, conn, login(1, "trade:read_write"));
    assert_eq!((world.texts(0, conn).len(), world.cancelled().len()), (0, 0));
    let auth = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
    world.send(0, conn, &format!(r#"{{"jsonrpc":"2.0","id":0,"method":"public/auth","params":{auth}}}"#));
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else { panic!() };
    let verdict = Verdict::Granted { login: login(2, "trade:read_write"), tokens: None };
    world.hubs[0].handle_verdict(ticket, verdict, world.now);
    assert_eq!((reasons(&world.texts(0, conn))[0].0, world.cancelled().len()), (-32_800, 1));
}

#[test]
fn a_call_over_http_is_answered_as_one_over_a_websocket() {
    let mut world = world();
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &post("/risk/var", "", r#"{"n":1}"#));
    let calls = world.calls();
    assert_eq!((calls.len(), calls[0].params.clone()), (1, Some(json!({"n": 1}))));
    world.outcome(&calls[0], CallOutcome::Result(b"[1]"));
    let answered = answers(&mut world, 0, conn);
    assert_eq!((answered.len(), answered[0].0), (1, 200));
    assert_eq!(http_api::json(&answered[0].2)["result"], json!([1]));
    say(&mut world, 0, conn, &post("/risk/var", "", ""));
    let call = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Error(br#"{"code":-5,"message":"no"}"#));
    let answered = answers(&mut world, 0, conn);
    assert_eq!((answered[0].0, &http_api::json(&answered[0].2)["error"]["code"]), (400, &json!(-5)));
    say(&mut world, 0, conn, &post("/risk/var", "", ""));
    assert_eq!(world.calls().len(), 1);
    world.hubs[0].handle_closed(conn, world.now);
    assert!(world.waits_for_nothing());
}

#[test]
fn a_key_calls_what_its_patterns_allow() {
    let mut world = world();
    let conn = world.connect(0, 0);
    let mut narrow = login(1, "trade:read_write");
    let credential = Credential { call: Patterns::new(["desk/a*"]), ..Credential::clone(&narrow.credential) };
    narrow.credential = Arc::new(credential);
    log_in(&mut world, 0, conn, narrow);
    world.send(0, conn, &request("1", "desk/b"));
    assert_eq!(reasons(&world.texts(0, conn)), [(13_021, "not for this key".to_owned())]);
    world.send(0, conn, &request("1", "desk/a1"));
    // What everybody may call asks for no key.
    world.send(0, conn, &request("2", "risk/var"));
    assert_eq!(world.calls().len(), 2);
}

#[test]
fn progress_goes_to_who_asked_under_the_request_s_own_id() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, one, &request("\"a\"", "risk/var"));
    world.send(0, two, &request("1", "risk/var"));
    let calls = world.calls();
    world.hubs[0].handle_progress(calls[0].key.unwrap(), br#"{"percent":5}"#, world.now);
    let texts = world.texts(0, one);
    assert_eq!(
        texts,
        [
            json!({"jsonrpc": "2.0", "method": "$/progress", "params": {"token": "a", "value": {"percent": 5}}})
        ]
    );
    assert_eq!(world.texts(0, two), Vec::<Value>::new());
    world.outcome(&calls[0], CallOutcome::Result(b"1"));
    world.hubs[0].handle_progress(calls[0].key.unwrap(), b"1", world.now);
    assert_eq!(world.texts(0, one).len(), 1);
    let counters = world.hubs[0].counters();
    assert_eq!((counters.call_progress_total, counters.call_answers_late_total), (1, 1));
}

#[test]
fn who_does_not_read_is_spared_progress_and_gets_its_answer() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("1", "risk/var"));
    let call = world.calls().remove(0);
    let value = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..100 {
        world.hubs[0].handle_progress(call.key.unwrap(), value.as_bytes(), world.now);
    }
    world.outcome(&call, CallOutcome::Result(b"1"));
    let counters = world.hubs[0].counters();
    assert_eq!(counters.call_progress_total + counters.call_progress_dropped_total, 100);
    assert!(counters.call_progress_dropped_total > 90);
    assert_eq!(world.texts(0, conn).last().unwrap()["result"], json!(1));
}

#[test]
fn a_trace_parent_is_passed_on_from_the_request_or_its_field() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut world = world();
    let conn = world.connect(0, 1);
    let parent = |world: &mut World| world.hubs[0].poll_call().unwrap().trace_parent.map(str::to_owned);
    world.send(0, conn, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"risk/x","traceparent":"{PARENT}"}}"#));
    assert_eq!(parent(&mut world).as_deref(), Some(PARENT));
    world.send(0, conn, r#"{"jsonrpc":"2.0","id":2,"method":"risk/x","traceparent":"none"}"#);
    assert_eq!(parent(&mut world), None);
    let caller = open(&mut world, 0);
    say(&mut world, 0, caller, &post("/risk/x", &format!("traceparent: {PARENT}\r\n"), ""));
    assert_eq!(parent(&mut world).as_deref(), Some(PARENT));
}

#[test]
fn what_is_not_declared_idempotent_is_not_asked_for_by_get() {
    let mut world = world();
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, "GET /api/v2/risk/var HTTP/1.1\r\nHost: x\r\n\r\n");
    let answered = answers(&mut world, 0, conn);
    assert_eq!((answered[0].0, world.calls()), (400, Vec::new()));
    assert_eq!(http_api::json(&answered[0].2)["error"]["data"]["reason"], json!("this method goes by POST"));
    say(&mut world, 0, conn, "GET /api/v2/risk/get_all?of=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(world.calls()[0].params, Some(json!({"of": "1"})));
}

/// Whatever comes in whatever order, each request has one reply and nothing is left over.
#[test]
fn whatever_a_backend_does_each_request_has_one_reply() {
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..40 {
        let mut world = world();
        let conns: Vec<ConnId> = (0..4).map(|slot| world.connect(0, slot)).collect();
        let (mut calls, mut asked, mut told) = (Vec::new(), 0, 0);
        let texts = |world: &mut World| -> usize {
            let of =
                |conn: &ConnId| world.texts(0, *conn).iter().filter(|text| text["id"].is_number()).count();
            conns.iter().map(of).sum()
        };
        for id in 0..200 {
            let conn = conns[next(4) as usize];
            match next(8) {
                0..4 => {
                    let method = ["risk/a", "risk/get_a", "risk/all_a"][next(3) as usize];
                    world.send(0, conn, &request(&id.to_string(), method));
                    asked += 1;
                }
                4 => calls.extend(world.calls()),
                5 if !calls.is_empty() => {
                    // Perhaps again: an answer does not end what may come of a call.
                    let call: Told = calls[next(calls.len() as u64) as usize].clone();
                    let outcome = match next(3) {
                        0 => CallOutcome::Result(b"1"),
                        1 => CallOutcome::Error(br#"{"code":1,"message":"x"}"#),
                        _ => CallOutcome::Failed(CallFailure::Lost),
                    };
                    world.outcome(&call, outcome);
                }
                6 => {
                    let id = next(id + 1);
                    let cancel =
                        format!(r#"{{"jsonrpc":"2.0","method":"$/cancelRequest","params":{{"id":{id}}}}}"#);
                    world.send(0, conn, &cancel);
                }
                _ => world.pass(SECOND / 10),
            }
            told += texts(&mut world);
        }
        world.pass(9 * SECOND);
        told += texts(&mut world);
        assert_eq!(told, asked);
        assert!(world.waits_for_nothing());
    }
}

/// A hub whose bounds are the limits' own.
fn wide(world_routes: &[(&str, Access)]) -> World {
    let terms = BackendTerms {
        name: "risk".into(),
        under_way_max: u32::MAX,
        per_connection_max: u32::MAX,
        timeout_ns: 8 * SECOND,
    };
    let routes = world_routes.iter().map(|(pattern, access)| Route {
        pattern: (*pattern).into(),
        backend: BackendId(0),
        access: *access,
        is_idempotent: true,
        caching: caching(pattern),
    });
    let routes = Arc::new(Routes::new([(BackendId(0), terms)], routes).unwrap());
    let calls = CallLimits { per_connection_max: u32::MAX, ..CallLimits::default() };
    World::with(1, &HubConfig { routes, calls, ..config() })
}

/// Sends so many requests, each in a turn of its own; how many were refused.
fn send_many(world: &mut World, conn: ConnId, count: u32, text: &str) -> u64 {
    let before = world.hubs[0].incidents().of(Incident::Declined(Declined::CallsUnderWay));
    for _ in 0..count {
        world.hubs[0].handle_bytes(conn, &mut frame(text), world.now);
    }
    world.hubs[0].incidents().of(Incident::Declined(Declined::CallsUnderWay)) - before
}

#[test]
fn more_than_may_join_a_call_are_refused() {
    let mut world = wide(&[("risk/all_*", Access::Everybody)]);
    let conn = world.connect(0, 0);
    let text = request("1", "risk/all_x");
    assert_eq!(send_many(&mut world, conn, limits::CALL_JOINED_MAX + 3, &text), 3);
    assert_eq!(world.calls().len(), 1);
}

#[test]
fn calls_of_one_turn_have_so_much_room() {
    let mut world = wide(&[("risk/*", Access::Everybody)]);
    let conn = world.connect(0, 0);
    let long =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"risk/x","params":{{"of":"{}"}}}}"#, "x".repeat(60_000));
    let fits = (limits::CALL_BYTES_OUTGOING_MAX / 60_000) as u32;
    let refused = send_many(&mut world, conn, fits + 10, &long);
    assert!((10..20).contains(&refused), "{refused}");
    let taken = world.calls().len();
    assert_eq!(taken as u64, u64::from(fits) + 10 - refused);
    // The next turn has as much.
    assert_eq!(send_many(&mut world, conn, taken as u32, &long), 0);
}

#[test]
fn a_look_ends_so_many_calls_and_the_next_the_others() {
    let mut world = wide(&[("risk/*", Access::Everybody)]);
    let conn = world.connect(0, 0);
    let count = limits::CALLS_ENDED_PER_TIMEOUT as u32 + 10;
    assert_eq!(send_many(&mut world, conn, count, &request("1", "risk/x")), 0);
    world.now = world.now.plus_ns(9 * SECOND);
    world.hubs[0].handle_timeout(world.now);
    assert_eq!(world.hubs[0].occupancy().calls, 10);
    assert_eq!(world.hubs[0].poll_timeout(), Some(0));
    world.hubs[0].handle_timeout(world.now);
    assert!(world.waits_for_nothing());
}

#[test]
fn at_a_stop_calls_that_are_under_way_are_answered_before_the_end() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, one, &request("1", "risk/a"));
    world.send(0, two, &request("1", "risk/a"));
    let calls = world.calls();
    world.hubs[0].handle_shutdown(world.now);
    assert_eq!((world.texts(0, one), world.texts(0, two)), (Vec::new(), Vec::new()));
    world.outcome(&calls[0], CallOutcome::Result(b"1"));
    let texts = world.texts(0, one);
    assert_eq!((&texts[0]["result"], &texts[1]["close"]), (&json!(1), &json!(1001)));
    world.pass(SECOND + SECOND / 8);
    assert_eq!(world.texts(0, two), [json!({"close": 1001})]);
    assert_eq!(world.cancelled().len(), 1);
}
