//! Whatever happens in whatever order: a call that was taken ends once.

use proptest::prelude::*;

use super::*;

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
            let refused_before = world.refused;
            apply(&mut world, step, &mut ids);
            if world.calls > calls_before && world.refused == refused_before {
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
        prop_assert_eq!((world.exchange.under_way(), world.links(), world.exchange.services.len()), (0, (0, 0), 0));
    }
}
