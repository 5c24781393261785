//! Links that come and go, and what becomes of their calls: losses, retries, idle links, probes, other settings.

use super::*;

#[test]
fn a_link_that_ends_loses_what_was_sent_and_what_was_not_is_told_as_that() {
    let mut world = World::up(config([A]));
    world.call().unwrap();
    world.sent();
    world.call().unwrap();
    world.over(world.first());
    assert_eq!(world.told(), [told(0, "Lost"), told(1, "Unavailable")]);
    assert_eq!((world.call(), world.states()), (Err(CallFailure::Unavailable), vec!["down"]));
    world.wait(99 * MS);
    assert!(world.attempts.is_empty());
    world.wait(MS);
    world.connect_all();
    assert_eq!((world.call(), world.states()), (Ok(3), vec!["up"]));
}

#[test]
fn a_call_waits_for_the_first_attempt_and_fails_with_it() {
    let mut world = World::new(config([A]));
    world.call().unwrap();
    assert_eq!((world.sent(), world.told()), (vec![], vec![]));
    world.fail_attempt();
    assert_eq!(world.told(), [told(0, "Unavailable")]);
    // While attempts fail nobody waits for them.
    world.wait(100 * MS);
    assert_eq!((world.attempts.len(), world.call()), (1, Err(CallFailure::Unavailable)));
    world.connect_all();
    world.call().unwrap();
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_call_that_is_cancelled_while_its_link_is_connected_is_sent_with_its_cancellation() {
    let mut world = World::new(config([A]));
    world.call().unwrap();
    world.cancel(0);
    world.connect_all();
    let sent = world.sent().remove(0).1;
    let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":1048576}}\n";
    assert!(sent.contains("\"id\":1048576,\"method\":\"risk/var\"") && sent.ends_with(cancel), "{sent}");
    assert_eq!((world.told(), world.exchange.under_way()), (vec![], 0));
}

#[test]
fn what_was_not_sent_is_tried_at_another_address_whether_or_not_it_is_idempotent() {
    let retry = RetryConfig { attempts_max: 1, percent_max: 100 };
    let mut world = World::new(ServiceConfig { retry, ..config([A, B]) });
    let first = world.attempts.remove(0);
    world.connect_all();
    // The first is connecting, and is its turn.
    world.call().unwrap();
    assert_eq!(world.sent(), []);
    world.attempts.push(first);
    world.fail_attempt();
    let id = world.sent_ids().remove(0);
    world.receive(world.first(), &format!("{{\"id\":{id},\"result\":1}}\n"));
    assert_eq!(world.told(), [told(0, "result 1")]);
    assert_eq!(world.status().retried_total, 1);
}

#[test]
fn what_may_have_been_done_is_tried_again_only_if_it_is_idempotent() {
    let retry = RetryConfig { attempts_max: 1, percent_max: 100 };
    let mut world = World::up(ServiceConfig { retry, ..config([A, B]) });
    let conns: Vec<ConnId> = world.open.keys().copied().collect();
    let calls = [true, true, false, false]
        .map(|is_idempotent| world.call_with("risk/var", is_idempotent, 1000 * MS).unwrap());
    assert_eq!(calls, [0, 1, 2, 3]);
    world.sent();
    world.over(conns[0]);
    assert_eq!(world.told(), [told(2, "Lost")]);
    let again = world.sent();
    assert_eq!((again.len(), again[0].0), (1, conns[1].slot));
    // Once only.
    world.over(conns[1]);
    assert_eq!(world.told(), [told(0, "Lost"), told(1, "Lost"), told(3, "Lost")]);
}

#[test]
fn what_was_sent_to_one_address_and_not_to_the_next_was_sent() {
    let retry = RetryConfig { attempts_max: 1, percent_max: 100 };
    let mut world = World::up(ServiceConfig { retry, ..config([A, B]) });
    let conns: Vec<ConnId> = world.open.keys().copied().collect();
    world.call_with("risk/var", true, 1000 * MS).unwrap();
    world.sent();
    world.over(conns[0]);
    assert_eq!(world.told(), []);
    world.over(conns[1]);
    assert_eq!(world.told(), [told(0, "Lost")]);
}

#[test]
fn an_answer_of_the_link_that_a_call_was_moved_from_is_not_its_answer() {
    let retry = RetryConfig { attempts_max: 1, percent_max: 100 };
    let mut world = World::up(ServiceConfig { retry, ..config([A, B]) });
    let conns: Vec<ConnId> = world.open.keys().copied().collect();
    world.call_with("risk/var", true, 1000 * MS).unwrap();
    let id = world.sent_ids().remove(0);
    world.receive(conns[0], &format!("{{\"id\":{id}}}\n{{\"id\":{id},\"result\":1}}\n"));
    assert_eq!(world.told(), []);
    assert_eq!(world.sent_ids(), std::slice::from_ref(&id));
    world.receive(conns[1], &format!("{{\"id\":{id},\"result\":2}}\n"));
    assert_eq!(world.told(), [told(0, "result 2")]);
}

#[test]
fn a_backend_that_does_not_read_takes_so_much_and_then_is_busy() {
    let mut world = World::up(config([A]));
    let taken = (0..100_000).take_while(|_| world.call().is_ok()).count();
    assert_eq!(taken, limits::RPC_CALLS_PER_LINK_MAX as usize);
    assert_eq!(world.call(), Err(CallFailure::Busy));
    let mut world = World::up(config([A]));
    let method = "x".repeat(100_000);
    let taken = (0..100).take_while(|_| world.call_with(&method, false, MS).is_ok()).count();
    assert_eq!(taken, limits::RPC_UNSENT_BYTES_MAX.div_ceil(method.len()));
    assert_eq!(world.call(), Err(CallFailure::Busy));
    world.sent();
    assert!(world.call().is_ok());
}

#[test]
fn a_link_that_is_silent_while_calls_time_out_is_closed() {
    let mut world = World::up(config([A]));
    world.now_ns += 1;
    for nth in 0..limits::RPC_SILENT_TIMEOUTS_MAX {
        assert_eq!(world.open.len(), 1, "{nth}");
        let slot = world.call_with("risk/var", false, 10).unwrap();
        world.sent();
        world.now_ns += 10;
        world.cancel(slot);
    }
    assert_eq!((world.open.len(), world.told()), (0, vec![]));
    // One that says anything is not.
    world.wait(100 * MS);
    let conn = world.connect_all()[0];
    for _ in 0..10 {
        let slot = world.call_with("risk/var", false, 10).unwrap();
        world.now_ns += 10;
        world.receive(conn, "\n");
        world.cancel(slot);
    }
    assert_eq!(world.open.len(), 1);
}

#[test]
fn an_idle_link_is_closed_and_the_next_call_connects_it() {
    let mut world = World::up(ServiceConfig { idle_ns: 50 * MS, ..config([A]) });
    world.call().unwrap();
    let id = world.sent_ids().remove(0);
    world.wait(60 * MS);
    assert_eq!(world.open.len(), 1);
    world.receive(world.first(), &format!("{{\"id\":{id},\"result\":1}}\n"));
    world.wait(51 * MS);
    world.wait(51 * MS);
    assert_eq!((world.open.len(), world.attempts.len(), world.states()), (0, 0, vec!["up"]));
    world.call().unwrap();
    world.wait(0);
    world.connect_all();
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn calls_that_pile_up_on_one_link_have_an_idle_one_connected() {
    let mut world = World::up(ServiceConfig { links: 2, idle_ns: 50 * MS, ..config([A]) });
    world.wait(51 * MS);
    assert_eq!(world.open.len(), 0);
    (1..limits::RPC_CALLS_BEFORE_ANOTHER_LINK).for_each(|_| assert!(world.call().is_ok()));
    world.wait(0);
    assert_eq!(world.attempts.len(), 1);
    world.call().unwrap();
    world.wait(0);
    assert_eq!(world.attempts.len(), 2);
}

#[test]
fn links_of_one_address_share_its_calls() {
    let mut world = World::up(ServiceConfig { links: 2, ..config([A]) });
    (0..4).for_each(|_| assert!(world.call().is_ok()));
    let per_link: Vec<usize> = world.sent().iter().map(|(_, text)| text.lines().count()).collect();
    assert_eq!(per_link, [2, 2]);
}

#[test]
fn a_probe_that_is_not_answered_makes_its_member_ill_and_one_that_is_well() {
    let health = HealthConfig { every_ns: 100 * MS, timeout_ns: 50 * MS, ill_after: 1, well_after: 1 };
    let plain = config([A]);
    let pool = PoolConfig { health: Some(health), ..plain.pool };
    let mut world = World::up(ServiceConfig { pool, ..plain });
    world.wait(100 * MS);
    assert!(world.sent()[0].1.contains("\"method\":\"ping\""));
    world.wait(50 * MS);
    assert_eq!((world.states(), world.call()), (vec!["ill"], Err(CallFailure::Unavailable)));
    world.wait(50 * MS);
    let id = world.sent_ids().remove(0);
    world.receive(
        world.first(),
        &format!("{{\"id\":{id},\"error\":{{\"code\":-32601,\"message\":\"?\"}}}}\n"),
    );
    assert_eq!((world.states(), world.told()), (vec!["up"], vec![]));
}

#[test]
fn a_reload_drains_what_leaves_and_keeps_what_stays() {
    let mut world = World::up(config([A, B]));
    let conns: Vec<ConnId> = world.open.keys().copied().collect();
    world.call().unwrap();
    world.call().unwrap();
    let ids = world.sent_ids();
    world.set(Some(config([B])));
    assert_eq!((world.open.len(), world.states()), (2, vec!["draining", "up"]));
    world.receive(conns[0], &format!("{{\"id\":{},\"result\":1}}\n", ids[0]));
    assert_eq!((world.told(), world.open.len()), (vec![told(0, "result 1")], 1));
    world.set(None);
    assert_eq!((world.call(), world.open.len()), (Err(CallFailure::Unavailable), 1));
    world.receive(conns[1], &format!("{{\"id\":{},\"result\":2}}\n", ids[1]));
    assert_eq!((world.told(), world.open.len(), world.links()), (vec![told(1, "result 2")], 0, (0, 0)));
    assert_eq!(world.exchange.services.len(), 0);
}

#[test]
fn a_probe_of_an_address_that_leaves_says_nothing_of_the_one_that_comes() {
    let health = HealthConfig { every_ns: 100 * MS, timeout_ns: 50 * MS, ill_after: 1, well_after: 1 };
    let probed = |address: &str| {
        let plain = config([address]);
        let pool = PoolConfig { health: Some(health), ..plain.pool };
        ServiceConfig { pool, ..plain }
    };
    let mut world = World::up(probed(A));
    world.wait(100 * MS);
    assert!(world.sent()[0].1.contains("\"method\":\"ping\""));
    world.set(Some(probed(B)));
    world.wait(0);
    world.connect_all();
    world.wait(50 * MS);
    assert_eq!((world.states(), world.call()), (vec!["up"], Ok(0)));
}

#[test]
fn a_backend_that_is_taken_away_and_comes_back_is_another() {
    let mut world = World::up(config([A]));
    let conn = world.first();
    world.call().unwrap();
    let id = world.sent_ids().remove(0);
    world.set(None);
    world.set(Some(config([B])));
    world.wait(0);
    assert_eq!(world.attempts[0].0, B);
    world.receive(conn, &format!("{{\"id\":{id},\"result\":1}}\n"));
    assert_eq!((world.told(), world.open.len()), (vec![told(0, "result 1")], 0));
}

#[test]
fn more_links_and_fewer_are_a_matter_of_settings() {
    let mut world = World::up(config([A]));
    world.set(Some(ServiceConfig { links: 3, ..config([A]) }));
    world.wait(0);
    world.connect_all();
    assert_eq!(world.links(), (3, 3));
    world.set(Some(config([A])));
    assert_eq!((world.links(), world.open.len()), ((1, 1), 1));
    assert!(world.call().is_ok());
}

#[test]
fn a_connection_that_nobody_wants_any_more_is_not_taken() {
    let mut world = World::new(config([A]));
    let (_, tag) = world.attempts.remove(0);
    world.set(None);
    assert_eq!(world.connect(tag), None);
    world.with_tell(|exchange, moment, tell| exchange.handle_connect_failed(tag, moment, tell));
}

#[test]
fn an_attempt_that_has_no_room_is_asked_for_again_soon() {
    let mut world = World::new(config([A]));
    let (_, tag) = world.attempts.remove(0);
    let moment = world.moment();
    world.exchange.handle_connect_postponed(tag, moment);
    world.call().unwrap();
    world.wait(limits::RETRY_NS);
    assert_eq!((world.attempts.len(), world.told()), (1, vec![]));
}
