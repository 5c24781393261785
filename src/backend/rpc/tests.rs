//! An exchange by hand: its links' far ends are texts, its hub a list of what was told.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backend::pool::{
    BackoffConfig, BreakerConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use crate::model::ids::{HomeId, Ticket};

const MS: u64 = 1_000_000;
const BACKEND: BackendId = BackendId(3);

fn config<const N: usize>(addresses: [&str; N]) -> ServiceConfig {
    let breaker =
        BreakerConfig { faults: 0, open: BackoffConfig { first_ns: MS, longest_ns: MS }, probes: 1 };
    let member = |address: &str| ServiceMember {
        config: MemberConfig { address: address.into(), weight: 1 },
        addresses: vec![address.parse().unwrap()],
    };
    ServiceConfig {
        name: "risk".into(),
        members: addresses.iter().map(|address| member(address)).collect(),
        pool: PoolConfig { pick: Pick::RoundRobin, breaker, ejection: None, health: None },
        links: 1,
        idle_ns: 0,
        connect_timeout_ns: MS,
        backoff: BackoffConfig { first_ns: 100 * MS, longest_ns: 100 * MS },
        retry: RetryConfig { attempts_max: 0, percent_max: 100 },
        batching: None,
        health_method: "ping".into(),
        line_bytes_max: 1000,
    }
}

const A: &str = "127.0.0.1:1001";
const B: &str = "127.0.0.1:1002";

/// An exchange, what its ring would have, and what was told of calls.
struct World {
    exchange: Exchange,
    now_ns: u64,
    /// Attempts: where to, and their tags.
    attempts: Vec<(String, u32)>,
    /// Connections that are open: their links.
    open: BTreeMap<ConnId, LinkId>,
    conns: u32,
    told: Vec<(u32, String)>,
    calls: u32,
}

impl World {
    fn new(config: ServiceConfig) -> World {
        let mut world = World {
            exchange: Exchange::default(),
            now_ns: 0,
            attempts: Vec::new(),
            open: BTreeMap::new(),
            conns: 0,
            told: Vec::new(),
            calls: 0,
        };
        world.set(Some(config));
        world.wait(0);
        world
    }

    /// One with a link up to each address.
    fn up(config: ServiceConfig) -> World {
        let mut world = World::new(config);
        world.connect_all();
        world.wait(0);
        world
    }

    fn moment(&self) -> Moment {
        Moment { now_ns: self.now_ns, chance: 0 }
    }

    fn set(&mut self, config: Option<ServiceConfig>) {
        let moment = self.moment();
        self.exchange.set_services(config.map(|config| (BACKEND, config)).into_iter().collect(), moment);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Connect { address, tag, .. } => self.attempts.push((address.to_string(), tag)),
                Action::Close(conn) => drop(self.open.remove(&conn)),
            }
        }
    }

    /// Lets time pass, and does what is due then.
    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        self.with_tell(|exchange, moment, tell| exchange.handle_timeout(moment, tell));
    }

    fn with_tell<R>(&mut self, act: impl FnOnce(&mut Exchange, Moment, &mut Tell<'_>) -> R) -> R {
        let moment = self.moment();
        let told = &mut self.told;
        let done = act(&mut self.exchange, moment, &mut |key, news| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let outcome = match news {
                News::Progress(value) => format!("progress {}", text(value)),
                News::Ended(CallOutcome::Result(result)) => format!("result {}", text(result)),
                News::Ended(CallOutcome::Error(error)) => format!("error {}", text(error)),
                News::Ended(CallOutcome::Failed(failure)) => format!("{failure:?}"),
            };
            told.push((key.ticket.slot, outcome));
        });
        self.act();
        done
    }

    /// Has every attempt succeed.
    fn connect_all(&mut self) -> Vec<ConnId> {
        let attempts = std::mem::take(&mut self.attempts);
        attempts.into_iter().filter_map(|(_, tag)| self.connect(tag)).collect()
    }

    fn connect(&mut self, tag: u32) -> Option<ConnId> {
        self.conns += 1;
        let conn = ConnId { slot: self.conns, generation: 1 };
        let link = self.exchange.handle_connected(conn, tag, self.moment())?;
        self.open.insert(conn, link);
        Some(conn)
    }

    fn fail_attempt(&mut self) {
        let (_, tag) = self.attempts.remove(0);
        self.with_tell(|exchange, moment, tell| exchange.handle_connect_failed(tag, moment, tell));
    }

    fn key(slot: u32) -> CallKey {
        CallKey { home: HomeId(0), ticket: Ticket { slot, generation: 1 } }
    }

    fn call_with(&mut self, method: &str, is_idempotent: bool, timeout_ns: u64) -> Result<u32, CallFailure> {
        let slot = self.calls;
        self.calls += 1;
        let call = Call {
            key: Some(World::key(slot)),
            backend: BACKEND,
            conn: ConnId { slot: 0, generation: 1 },
            account: None,
            method,
            params: Some(b"[]"),
            trace_parent: None,
            is_idempotent,
            due_ns: self.now_ns + timeout_ns,
        };
        let moment = self.moment();
        self.exchange.handle_call(&call, moment).map(|()| slot)
    }

    fn call(&mut self) -> Result<u32, CallFailure> {
        self.call_with("risk/var", false, 1000 * MS)
    }

    fn cancel(&mut self, slot: u32) {
        let cancelled = CancelledCall { key: World::key(slot), backend: BACKEND };
        self.with_tell(|exchange, moment, tell| {
            exchange.handle_cancelled(cancelled, moment, tell);
        });
    }

    /// What is sent now, by connection.
    fn sent(&mut self) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        while let Some(id) = self.exchange.poll_dirty(self.now_ns) {
            let (conn, bytes) = self.exchange.unsent(id).unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.exchange.handle_handed(id, text.len());
            all.push((conn.slot, text));
        }
        all
    }

    /// The ids of requests that are sent now, in order.
    fn sent_ids(&mut self) -> Vec<String> {
        let sent = self.sent();
        let lines = sent.iter().flat_map(|(_, text)| text.lines());
        let id = |line: &str| Some(line.split_once("\"id\":")?.1.split_once(',')?.0.to_owned());
        lines.filter_map(id).collect()
    }

    fn receive(&mut self, conn: ConnId, text: &str) {
        let Some(link) = self.open.get(&conn).copied() else { return };
        self.with_tell(|exchange, moment, tell| {
            exchange.handle_bytes(link, conn, text.as_bytes(), moment, tell)
        });
    }

    fn over(&mut self, conn: ConnId) {
        let link = self.open[&conn];
        self.with_tell(|exchange, moment, tell| exchange.handle_over(link, conn, moment, tell));
    }

    fn told(&mut self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.told)
    }

    fn first(&self) -> ConnId {
        *self.open.keys().next().unwrap()
    }

    fn states(&self) -> Vec<&'static str> {
        let status = self.exchange.statuses(self.now_ns).next().unwrap();
        status.members.iter().map(|member| member.state.as_str()).collect()
    }
}

fn told(slot: u32, outcome: &str) -> (u32, String) {
    (slot, outcome.to_owned())
}

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
    assert_eq!(world.exchange.counters().answers_stray_total, 2);
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
    assert_eq!((world.open.len(), world.exchange.counters().garbage_total), (1, 4));
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
    assert_eq!(world.exchange.counters().too_long_total, 2);
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
    assert_eq!(world.exchange.counters().retried_total, 1);
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
    let ids = [1, 2].map(|slot| (slot + 1) << codec::WIRE_SLOT_BITS | slot);
    world.receive(
        world.first(),
        &format!("[{{\"id\":{},\"result\":1}},{{\"id\":{},\"result\":2}}]\n", ids[0], ids[1]),
    );
    assert_eq!(world.told(), [told(1, "result 1"), told(2, "result 2")]);
    assert_eq!(world.exchange.counters().batches_total, 1);
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
    assert_eq!(
        (world.told(), world.open.len(), world.exchange.links()),
        (vec![told(1, "result 2")], 0, (0, 0))
    );
    assert_eq!(world.exchange.services.len(), 0);
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
    assert_eq!(world.exchange.links(), (3, 3));
    world.set(Some(config([A])));
    assert_eq!((world.exchange.links(), world.open.len()), ((1, 1), 1));
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

/// What chance does to an exchange.
#[derive(Clone, Debug)]
enum Step {
    Call {
        is_idempotent: bool,
    },
    Cancel(u32),
    Send,
    /// On which connection, which call, and how.
    Answer(u8, u32, u8),
    Noise(u8, String),
    Over(u8),
    Connect,
    Refuse,
    Wait(u32),
    Set(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_idempotent| Step::Call { is_idempotent }),
        1 => (0u32..30).prop_map(Step::Cancel),
        4 => Just(Step::Send),
        4 => (any::<u8>(), 0u32..30, 0u8..4).prop_map(|(conn, call, how)| Step::Answer(conn, call, how)),
        1 => (any::<u8>(), "[x\n{}\\[\\]\":id0-9]{0,30}").prop_map(|(conn, text)| Step::Noise(conn, text)),
        1 => any::<u8>().prop_map(Step::Over),
        3 => Just(Step::Connect),
        1 => Just(Step::Refuse),
        2 => (0u32..200).prop_map(Step::Wait),
        1 => (0u8..5).prop_map(Step::Set),
    ]
}

fn settings(nth: u8) -> Option<ServiceConfig> {
    let retry = RetryConfig { attempts_max: 2, percent_max: 100 };
    let batching = Batching { count_max: 3, bytes_max: 500, wait_ns: 20 * MS, is_adaptive: true };
    match nth {
        0 => None,
        1 => Some(config([A])),
        2 => Some(ServiceConfig { retry, links: 2, idle_ns: 50 * MS, ..config([A, B]) }),
        3 => Some(ServiceConfig { retry, batching: Some(batching), ..config([B]) }),
        _ => {
            let plain = config([A, B]);
            let breaker = BreakerConfig { faults: 2, ..plain.pool.breaker };
            let health = HealthConfig { every_ns: 30 * MS, timeout_ns: 10 * MS, ill_after: 1, well_after: 1 };
            let pool =
                PoolConfig { pick: Pick::LeastConnections, breaker, health: Some(health), ..plain.pool };
            Some(ServiceConfig { retry, pool, ..plain })
        }
    }
}

fn nth(world: &World, conn: u8) -> Option<ConnId> {
    let count = world.open.len();
    (count > 0).then(|| *world.open.keys().nth(usize::from(conn) % count).unwrap())
}

fn apply(world: &mut World, step: &Step, ids: &mut Vec<String>) {
    match step {
        Step::Call { is_idempotent } => drop(world.call_with("risk/var", *is_idempotent, 100 * MS)),
        Step::Cancel(slot) => world.cancel(*slot),
        Step::Send => ids.extend(world.sent_ids()),
        Step::Answer(conn, call, how) => {
            let (Some(conn), Some(id)) = (nth(world, *conn), ids.get(*call as usize)) else { return };
            let text = match how {
                0 => format!("{{\"id\":{id},\"result\":1}}\n"),
                1 => format!("[{{\"id\":{id},\"error\":{{\"code\":1,\"message\":\"\"}}}}]\n"),
                2 => format!("{{\"id\":{id},\"res\n"),
                _ => format!("{{\"id\":{id},\"result\":\"{}\"}}\n", "x".repeat(2000)),
            };
            world.receive(conn, &text);
        }
        Step::Noise(conn, text) => {
            if let Some(conn) = nth(world, *conn) {
                world.receive(conn, text);
            }
        }
        Step::Over(conn) => {
            if let Some(conn) = nth(world, *conn) {
                world.over(conn);
            }
        }
        Step::Connect => drop(world.connect_all()),
        Step::Refuse => {
            if !world.attempts.is_empty() {
                world.fail_attempt();
            }
        }
        Step::Wait(ms) => world.wait(u64::from(*ms) * MS),
        Step::Set(nth) => world.set(settings(*nth)),
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_call_that_was_taken_ends_once_or_is_cancelled(
        first in 1u8..5,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(settings(first).unwrap());
        let (mut ids, mut open, mut ended) = (Vec::new(), std::collections::BTreeSet::new(), 0);
        for step in &steps {
            let calls_before = world.calls;
            let refused_before = world.exchange.counters().refused_total;
            apply(&mut world, step, &mut ids);
            if world.calls > calls_before && world.exchange.counters().refused_total == refused_before {
                open.insert(calls_before);
            }
            if let Step::Cancel(slot) = step {
                open.remove(slot);
            }
            for (slot, _) in world.told() {
                prop_assert!(open.remove(&slot), "{slot} was told of twice, or was not open");
                ended += 1;
            }
        }
        // In the end all links go, and with them what is still under way.
        world.set(None);
        for _ in 0..3 {
            world.wait(100 * MS);
            while !world.attempts.is_empty() {
                world.fail_attempt();
            }
            while let Some(conn) = nth(&world, 0) {
                world.over(conn);
            }
        }
        for (slot, _) in world.told() {
            prop_assert!(open.remove(&slot), "{slot} was told of twice, or was not open");
        }
        prop_assert!(open.is_empty(), "never told of: {open:?}, {ended} were");
        prop_assert_eq!((world.exchange.under_way(), world.exchange.links(), world.exchange.services.len()), (0, (0, 0), 0));
    }
}
