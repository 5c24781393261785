//! What is sent of calls, and what comes of what a backend says.

use super::*;

#[test]
fn a_call_is_sent_under_an_id_of_ours_and_its_answer_told() {
    let mut world = World::up(config([A]));
    assert_eq!(world.call(), Ok(0));
    let line = "{\"jsonrpc\":\"2.0\",\"id\":1048576,\"method\":\"risk/var\",\"params\":[]}\n";
    assert_eq!(world.sent(), [(1, line.to_owned())]);
    world.receive(world.first(), "{\"jsonrpc\":\"2.0\",\"id\":1048576,\"result\":{\"x\":1}}\n");
    assert_eq!(world.told(), [told(0, "result {\"x\":1}")]);
    assert_eq!(world.exchange.under_way(), 0);
}

#[test]
fn many_calls_are_one_send_and_their_answers_come_in_any_order() {
    let mut world = World::up(config([A]));
    (0..3).for_each(|_| assert!(world.call().is_ok()));
    let ids = world.sent_ids();
    let conn = world.first();
    for (nth, id) in ids.iter().enumerate().rev() {
        world.receive(conn, &format!("{{\"id\":{id},\"result\":{nth}}}\n"));
    }
    assert_eq!(world.told(), [told(2, "result 2"), told(1, "result 1"), told(0, "result 0")]);
}

#[test]
fn a_notification_is_sent_and_nothing_comes_of_it() {
    let mut world = World::up(config([A]));
    let call = Call {
        key: None,
        backend: BACKEND,
        conn: ConnId { slot: 0, generation: 1 },
        account: None,
        method: "risk/note",
        params: None,
        trace_parent: None,
        is_idempotent: false,
        due_ns: MS,
    };
    let moment = world.moment();
    world.exchange.handle_call(&call, moment).unwrap();
    assert_eq!(world.sent(), [(1, "{\"jsonrpc\":\"2.0\",\"method\":\"risk/note\"}\n".to_owned())]);
    assert_eq!(world.exchange.under_way(), 0);
}

#[test]
fn an_error_of_the_backend_is_its_answer() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    let id = world.sent_ids().remove(0);
    world.receive(world.first(), &format!("{{\"id\":{id},\"error\":{{\"code\":7,\"message\":\"no\"}}}}\n"));
    assert_eq!(world.told(), [told(0, "error {\"code\":7,\"message\":\"no\"}")]);
}

#[test]
fn how_far_a_call_is_is_told_until_it_ends() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    let id = world.sent_ids().remove(0);
    let progress = format!("{{\"method\":\"$/progress\",\"params\":{{\"token\":{id},\"value\":50}}}}\n");
    let conn = world.first();
    world.receive(conn, &[progress.as_str(), &format!("{{\"id\":{id},\"result\":1}}\n"), &progress].concat());
    assert_eq!(world.told(), [told(0, "progress 50"), told(0, "result 1")]);
}

#[test]
fn a_second_answer_and_a_late_one_are_dropped_and_counted() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    world.call().unwrap();
    let ids = world.sent_ids();
    let conn = world.first();
    world.receive(conn, &format!("{{\"id\":{},\"result\":1}}\n{{\"id\":{},\"result\":2}}\n", ids[0], ids[0]));
    world.cancel(1);
    let cancel =
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{{\"id\":{}}}}}\n", ids[1]);
    assert_eq!(world.sent(), [(1, cancel)]);
    world.receive(conn, &format!("{{\"id\":{},\"result\":3}}\n", ids[1]));
    assert_eq!(world.told(), [told(0, "result 1")]);
    assert_eq!(world.status().counters.stray_total, 2);
    // Nor does it fit the next call, which has the same slot.
    world.call().unwrap();
    world.receive(conn, &format!("{{\"id\":{},\"result\":4}}\n", ids[1]));
    assert_eq!((world.told(), world.exchange.under_way()), (vec![], 1));
}

#[test]
fn garbage_ends_the_call_that_it_names_or_the_only_one_and_no_other() {
    let mut world = World::up(config([A]));
    (0..3).for_each(|_| assert!(world.call().is_ok()));
    let ids = world.sent_ids();
    let conn = world.first();
    world.receive(conn, "rubbish\n");
    assert_eq!(world.told(), []);
    world.receive(conn, &format!("{{\"id\":{},\"result\":{{\n", ids[1]));
    world.receive(conn, &format!("{{\"id\":{}}}\n", ids[0]));
    assert_eq!(world.told(), [told(1, "Garbled"), told(0, "Garbled")]);
    world.receive(conn, "rubbish\n");
    assert_eq!(world.told(), [told(2, "Garbled")]);
    assert_eq!((world.open.len(), world.status().counters.garbage_total), (1, 4));
}

#[test]
fn a_link_that_says_nothing_but_garbage_is_closed() {
    let mut world = World::up(config([A]));
    (0..2).for_each(|_| assert!(world.call().is_ok()));
    world.sent();
    let conn = world.first();
    world.receive(conn, &"x\n".repeat(limits::RPC_GARBAGE_LINES_MAX as usize - 1));
    assert_eq!((world.told(), world.open.len()), (vec![], 1));
    world.receive(conn, "x\n");
    assert_eq!((world.told(), world.open.len()), (vec![told(0, "Garbled"), told(1, "Garbled")], 0));
}

#[test]
fn an_answer_that_is_too_long_ends_its_call_at_once_and_the_next_one_is_heard() {
    let mut world = World::up(config([A]));
    (0..3).for_each(|_| assert!(world.call().is_ok()));
    let ids = world.sent_ids();
    let conn = world.first();
    world.receive(conn, &format!("{{\"id\":{},\"result\":\"{}", ids[0], "x".repeat(5000)));
    assert_eq!(world.told(), [told(0, "TooLong")]);
    (0..100).for_each(|_| world.receive(conn, &"x".repeat(100_000)));
    world.receive(conn, &format!("\"}}\n{{\"result\":\"{}\",\"id\":{}}}\n", "y".repeat(5000), ids[1]));
    assert_eq!(world.told(), [told(1, "TooLong")]);
    world.receive(conn, &format!("{{\"id\":{},\"result\":1}}\n", ids[2]));
    assert_eq!(world.told(), [told(2, "result 1")]);
}

#[test]
fn a_line_without_an_end_is_skipped_so_far_and_then_its_link_is_closed() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    world.sent();
    let conn = world.first();
    let piece = "x".repeat(1 << 20);
    let pieces = (0..1000).take_while(|_| {
        world.receive(conn, &piece);
        !world.open.is_empty()
    });
    assert_eq!(pieces.count(), limits::RPC_SKIPPED_BYTES_MAX >> 20);
    assert_eq!(world.told(), [told(0, "Garbled")]);
}

#[test]
fn a_request_of_the_backend_is_refused_and_what_it_tells_is_no_answer() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    world.sent();
    world.receive(world.first(), "{\"method\":\"hi\"}\n{\"id\":\"a\",\"method\":\"roots/list\"}\n");
    let refusal =
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n";
    assert_eq!((world.sent(), world.told()), (vec![(1, refusal.to_owned())], vec![]));
}

#[test]
fn gathered_calls_are_one_array_and_so_are_their_answers() {
    let batching = Batching { count_max: 10, bytes_max: 10_000, wait_ns: MS, is_adaptive: true };
    let mut world = World::up(ServiceConfig { batching: Some(batching), ..config([A]) });
    world.call().unwrap();
    // Nothing is under way: it does not wait.
    let first = world.sent();
    assert_eq!((first.len(), first[0].1.starts_with(" {")), (1, true));
    world.call().unwrap();
    world.call().unwrap();
    assert_eq!(world.sent(), []);
    assert_eq!(world.exchange.poll_timeout(), Some(world.now_ns + MS));
    world.wait(MS);
    let gathered = world.sent();
    assert!(gathered[0].1.starts_with("[{") && gathered[0].1.ends_with("}]\n"), "{gathered:?}");
    let ids = [1, 2].map(|slot| (slot + 1) << flights::WIRE_SLOT_BITS | slot);
    world.receive(
        world.first(),
        &format!("[{{\"id\":{},\"result\":1}},{{\"id\":{},\"result\":2}}]\n", ids[0], ids[1]),
    );
    assert_eq!(world.told(), [told(1, "result 1"), told(2, "result 2")]);
}

#[test]
fn what_was_gathered_goes_out_when_the_backend_has_nothing_left_to_do() {
    let batching = Batching { count_max: 10, bytes_max: 10_000, wait_ns: 1000 * MS, is_adaptive: true };
    let mut world = World::up(ServiceConfig { batching: Some(batching), ..config([A]) });
    world.call().unwrap();
    let id = world.sent_ids().remove(0);
    world.call().unwrap();
    assert_eq!(world.sent(), []);
    world.receive(world.first(), &format!("{{\"id\":{id},\"result\":1}}\n"));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn what_a_backend_says_holds_no_more_is_told_at_once_and_then_some_times_a_second() {
    let mut world = World::up(config([A]));
    let conn = world.first();
    let say = |world: &mut World, methods: &str| {
        let line = format!("{{\"method\":\"$/invalidateCache\",\"params\":{{\"methods\":{methods}}}}}\n");
        world.receive(conn, &line);
        let now_ns = world.now_ns;
        world
            .exchange
            .poll_invalidated(now_ns)
            .map(|(backend, methods)| (backend, methods.patterns().to_vec()))
    };
    let expected =
        |methods: &[&str]| Some((BACKEND, methods.iter().map(|method| (*method).into()).collect()));
    assert_eq!(say(&mut world, "[\"risk/var\"]"), expected(&["risk/var"]));
    assert_eq!(say(&mut world, "[\"risk/a\"]"), None);
    assert_eq!(say(&mut world, "[\"risk/b\"]"), None);
    assert_eq!(say(&mut world, "7"), None);
    let due_ns = world.exchange.poll_timeout().unwrap();
    assert_eq!(due_ns, world.now_ns + limits::INVALIDATIONS_APART_NS);
    // A look at what is due does not forget when it is to be asked again.
    world.wait(1);
    assert_eq!(world.exchange.poll_timeout(), Some(due_ns));
    world.now_ns = due_ns;
    assert_eq!(say(&mut world, "[\"risk/c\"]"), expected(&["risk/a", "risk/b", "risk/c"]));
    let counters = world.status().counters;
    assert_eq!((counters.invalidations_total, counters.garbage_total), (2, 1));
    // Nothing else is a reason to close a link that says so without end.
    (0..100).for_each(|_| assert_eq!(say(&mut world, "[\"risk/var\"]"), None));
    assert_eq!(world.open.len(), 1);
}
