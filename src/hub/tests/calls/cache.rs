//! Results that are kept: who is told them, for how long, and that many who ask for the same make one call.

use super::*;
use crate::model::invalidation::{Invalidation, Methods};

fn results(texts: &[Value]) -> Vec<Value> {
    texts.iter().map(|text| text["result"].clone()).collect()
}

/// The same parameters whatever the id.
fn same(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"of":"X"}}}}"#)
}

#[test]
fn a_result_is_told_again_until_its_time_is_over() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &same("1", "risk/get_x"));
    let call = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Result(b"[1]"));
    world.send(0, conn, &same("2", "risk/get_x"));
    assert_eq!(results(&world.texts(0, conn)), [json!([1]), json!([1])]);
    // Other parameters, and another method.
    world.send(0, conn, &request("3", "risk/get_x"));
    world.send(0, conn, &same("4", "risk/get_y"));
    assert_eq!(world.calls().len(), 2);
    world.pass(2 * SECOND);
    world.send(0, conn, &same("5", "risk/get_x"));
    assert_eq!(world.calls().len(), 1);
    let counters = world.hubs[0].counters();
    assert_eq!((counters.call_cache_hits_total, counters.call_cache_misses_total), (1, 4));
    assert_eq!(counters.call_cache_expired_total, 1);
}

#[test]
fn many_who_ask_for_the_same_make_one_call_and_each_is_answered() {
    let mut world = world();
    let conns: Vec<ConnId> = (0..10).map(|slot| world.connect(0, slot)).collect();
    for conn in &conns {
        world.send(0, *conn, &same("7", "risk/get_x"));
    }
    let calls = world.calls();
    assert_eq!((calls.len(), world.hubs[0].occupancy().calls_waiting), (1, 10));
    // One leaves and one cancels: the others still wait for it.
    world.hubs[0].handle_closed(conns[0], world.now);
    world.send(0, conns[1], r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":7}}"#);
    assert_eq!((reasons(&world.texts(0, conns[1]))[0].0, world.cancelled()), (-32_800, Vec::new()));
    world.outcome(&calls[0], CallOutcome::Result(b"\"x\""));
    for conn in &conns[2..] {
        assert_eq!(results(&world.texts(0, *conn)), [json!("x")]);
    }
    assert_eq!(world.hubs[0].counters().call_cache_joined_total, 9);
    assert!(world.waits_for_nothing());
}

#[test]
fn when_the_last_who_waits_leaves_the_call_is_cancelled_and_the_next_makes_its_own() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, one, &same("1", "risk/get_x"));
    world.send(0, two, &same("1", "risk/get_x"));
    let call = world.calls().remove(0);
    world.hubs[0].handle_closed(one, world.now);
    assert_eq!(world.cancelled().len(), 0);
    world.hubs[0].handle_closed(two, world.now);
    assert_eq!(world.cancelled().len(), 1);
    let three = world.connect(0, 2);
    world.send(0, three, &same("1", "risk/get_x"));
    let next = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Result(b"0"));
    world.outcome(&next, CallOutcome::Result(b"1"));
    assert_eq!(results(&world.texts(0, three)), [json!(1)]);
}

#[test]
fn a_failure_is_told_to_all_who_wait_and_is_not_kept() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    for outcome in
        [CallOutcome::Error(br#"{"code":-5,"message":"no"}"#), CallOutcome::Failed(CallFailure::Lost)]
    {
        world.send(0, one, &same("1", "risk/get_x"));
        world.send(0, two, &same("1", "risk/get_x"));
        let calls = world.calls();
        assert_eq!(calls.len(), 1);
        world.outcome(&calls[0], outcome);
        for conn in [one, two] {
            assert!(world.texts(0, conn)[0]["error"].is_object());
        }
    }
    assert_eq!(world.hubs[0].counters().call_cache_entries, 0);
    world.send(0, one, &same("1", "risk/get_x"));
    world.pass(9 * SECOND);
    assert_eq!(world.hubs[0].counters().call_cache_entries, 0);
}

#[test]
fn an_account_s_result_is_its_own_unless_the_route_shares_it() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    log_in(&mut world, 0, one, login(1, "trade:read"));
    log_in(&mut world, 0, two, login(2, "trade:read"));
    for (method, calls_expected) in [("risk/get_x", 2), ("risk/all_x", 1)] {
        for conn in [one, two] {
            world.send(0, conn, &same("1", method));
        }
        let calls = world.calls();
        assert_eq!(calls.len(), calls_expected, "{method}");
        for (at, call) in calls.iter().enumerate() {
            world.outcome(call, CallOutcome::Result(at.to_string().as_bytes()));
        }
        let told = [one, two].map(|conn| results(&world.texts(0, conn))[0].clone());
        assert_eq!(told, [json!(0), json!(calls_expected - 1)], "{method}");
    }
}

#[test]
fn other_routes_forget_what_was_kept_and_calls_under_way_end_as_they_began() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &same("1", "risk/get_x"));
    let call = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Result(b"1"));
    world.send(0, conn, &same("2", "risk/get_y"));
    let under_way = world.calls().remove(0);
    let fewer = HubConfig { routes: routes(&[("risk/get_*", Access::Everybody)]), ..config() };
    world.hubs[0].handle_config(fewer, world.now);
    world.outcome(&under_way, CallOutcome::Result(b"2"));
    assert_eq!(results(&world.texts(0, conn)), [json!(1), json!(2)]);
    for method in ["risk/get_x", "risk/get_y"] {
        world.send(0, conn, &same("3", method));
    }
    assert_eq!(world.calls().len(), 2);
    world.send(0, conn, &same("4", "risk/var"));
    assert_eq!(world.texts(0, conn)[0]["error"]["code"], json!(-32601));
}

#[test]
fn what_is_kept_answers_a_batch_and_over_http_too() {
    let mut world = world();
    let conn = world.connect(0, 1);
    world.send(0, conn, &same("1", "risk/get_x"));
    let call = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Result(b"[1]"));
    world.texts(0, conn);
    world.send(0, conn, &format!("[{},{}]", same("1", "risk/get_x"), same("2", "risk/get_x")));
    let texts = world.texts(0, conn);
    assert_eq!(results(texts[0].as_array().unwrap()), [json!([1]), json!([1])]);
    let caller = open(&mut world, 0);
    say(&mut world, 0, caller, &post("/risk/get_x", "", r#"{"of":"X"}"#));
    assert_eq!(answers(&mut world, 0, caller)[0].0, 200);
    assert_eq!(world.calls(), []);
}

fn invalidation(backend: Option<&str>, method: &str) -> Arc<Invalidation> {
    Arc::new(Invalidation { backend: backend.map(Into::into), methods: Methods::parse([method]).unwrap() })
}

#[test]
fn after_an_invalidation_nobody_is_told_what_was_asked_for_before_it() {
    let mut world = world();
    let (one, two) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, one, &same("1", "risk/get_x"));
    let kept = world.calls().remove(0);
    world.outcome(&kept, CallOutcome::Result(b"1"));
    world.send(0, one, &same("2", "risk/get_y"));
    let under_way = world.calls().remove(0);
    world.hubs[0].handle_invalidation(&invalidation(Some("risk"), "risk/get_*"), world.now);
    // A call of its own for each, beside the one that is under way.
    world.send(0, two, &same("1", "risk/get_x"));
    world.send(0, two, &same("2", "risk/get_y"));
    let anew = world.calls();
    assert_eq!(anew.len(), 2);
    // Who had asked before is told what was asked for then; it is not kept.
    world.outcome(&under_way, CallOutcome::Result(b"2"));
    assert_eq!(results(&world.texts(0, one)), [json!(1), json!(2)]);
    world.send(0, one, &same("3", "risk/get_y"));
    world.outcome(&anew[1], CallOutcome::Result(b"20"));
    world.outcome(&anew[0], CallOutcome::Result(b"10"));
    assert_eq!(results(&world.texts(0, one)), [json!(20)]);
    assert_eq!(results(&world.texts(0, two)), [json!(20), json!(10)]);
    world.send(0, one, &same("4", "risk/get_x"));
    assert_eq!((results(&world.texts(0, one)), world.calls()), (vec![json!(10)], Vec::new()));
    assert!(world.waits_for_nothing() && world.cancelled().is_empty());
    let counters = world.hubs[0].counters();
    assert_eq!((counters.call_cache_invalidations_total, counters.call_cache_invalidated_total), (1, 2));
}

#[test]
fn an_invalidation_of_another_backend_or_of_none_that_is_here_forgets_nothing() {
    let mut world = world();
    let conn = world.connect(0, 0);
    world.send(0, conn, &same("1", "risk/get_x"));
    let call = world.calls().remove(0);
    world.outcome(&call, CallOutcome::Result(b"1"));
    for backend in ["desk", "elsewhere"] {
        world.hubs[0].handle_invalidation(&invalidation(Some(backend), "*"), world.now);
    }
    world.send(0, conn, &same("2", "risk/get_x"));
    assert_eq!((results(&world.texts(0, conn)), world.calls()), (vec![json!(1), json!(1)], Vec::new()));
    world.hubs[0].handle_invalidation(&invalidation(None, "risk/get_x"), world.now);
    // What is forgotten goes at the next look, though nobody asks for it.
    assert_eq!(world.hubs[0].poll_timeout(), Some(0));
    world.pass(0);
    assert_eq!(world.hubs[0].counters().call_cache_entries, 0);
    assert_ne!(world.hubs[0].poll_timeout(), Some(0));
}
