//! Calls to backends, and what comes of them, allocate nothing: in the hub, and on a shard's links.

use std::sync::Arc;

use tickring::backend::pool::{
    BackoffConfig, BreakerConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use tickring::backend::rpc::{Action, Exchange, Moment, News, ServiceConfig, ServiceMember};
use tickring::dialect::json_rpc::Access;
use tickring::hub::{BackendTerms, Caching, Hub, HubConfig, ListenerPolicy, Route, Routes, Sharing};
use tickring::model::call::{BackendId, Call, CallKey, CallOutcome};
use tickring::model::ids::{ConnId, HomeId, Ticket};

use crate::{COUNTED, WARM_UP, World, assert_allocates_nothing, frame};

const CALLS_PER_TURN: u32 = 4;

/// A hub with a backend: `risk/echo`, and `risk/get_echo`, whose results are kept.
fn with_backend() -> World {
    let route = |pattern: &str, caching: Option<Caching>| Route {
        pattern: pattern.into(),
        backend: BackendId(0),
        access: Access::Everybody,
        is_idempotent: caching.is_some(),
        caching,
    };
    let terms = BackendTerms {
        name: "risk".into(),
        under_way_max: 64,
        per_connection_max: 64,
        timeout_ns: 30_000_000_000,
    };
    let kept = Caching { ttl_ns: 20_000, sharing: Sharing::Everybody };
    let routes = [route("risk/*", None), route("risk/get_*", Some(kept))];
    let routes = Arc::new(Routes::new([(BackendId(0), terms)], routes).expect("legal routes"));
    let mut world = World::new();
    let config = HubConfig { routes, listeners: vec![ListenerPolicy::default()], ..HubConfig::default() };
    world.hub = Hub::new(HomeId(0), 1, config, world.now);
    world
}

#[test]
fn calls_of_backends_allocate_nothing() {
    let mut world = with_backend();
    let conn = world.connect(0);
    let mut asks = ["risk/echo", "risk/get_echo"].map(|method| {
        frame(&format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"of":[1,2,3]}}}}"#))
    });
    let mut under_way: Vec<CallKey> = Vec::with_capacity(64);
    assert_allocates_nothing(|number| {
        // Answers come a few turns later, what is kept is over after twenty.
        for ask in &mut asks {
            world.send(conn, ask);
        }
        while let Some(call) = world.hub.poll_call() {
            under_way.extend(call.key);
        }
        if number % 4 == 0 {
            for key in under_way.drain(..) {
                world.hub.handle_outcome(key, CallOutcome::Result(b"{\"price\":101.5}"), world.now);
            }
        }
        world.hub.handle_timeout(world.now);
        world.flush();
    });
    let counters = world.hub.counters();
    assert!(counters.call_cache_hits_total > 0 && counters.call_cache_joined_total > 0);
    assert_eq!(counters.requests_failed_total, 0);
}

/// A service of two addresses with two links each, which is asked how it is now and then.
fn service() -> ServiceConfig {
    let wait = BackoffConfig { first_ns: 1_000, longest_ns: 1_000 };
    let member = |address: &str| ServiceMember {
        config: MemberConfig { address: address.into(), weight: 1 },
        addresses: vec![address.parse().expect("a literal address")],
    };
    ServiceConfig {
        name: "risk".into(),
        members: vec![member("127.0.0.1:1"), member("127.0.0.1:2")],
        pool: PoolConfig {
            pick: Pick::LeastConnections,
            breaker: BreakerConfig { faults: 5, open: wait, probes: 1 },
            ejection: None,
            health: Some(HealthConfig {
                every_ns: 500_000,
                timeout_ns: 400_000,
                ill_after: 2,
                well_after: 2,
            }),
        },
        links: 2,
        idle_ns: 0,
        connect_timeout_ns: 1_000,
        backoff: wait,
        retry: RetryConfig { attempts_max: 1, percent_max: 20 },
        batching: None,
        health_method: "ping".into(),
        line_bytes_max: 4096,
    }
}

/// What a service answers to these lines.
fn answer_each(lines: &[u8], answers: &mut Vec<u8>) {
    answers.clear();
    for line in lines.split(|byte| *byte == b'\n') {
        let at = line.windows(5).position(|window| window == b"\"id\":");
        let Some(number) = at.map(|at| &line[at + 5..]) else { continue };
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
        answers.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        answers.extend(digits);
        answers.extend_from_slice(b",\"result\":{\"var\":1.5}}\n");
    }
}

#[test]
fn a_call_to_a_backend_over_tcp_and_its_answer_allocate_nothing() {
    let (backend, mut exchange) = (BackendId(0), Exchange::default());
    let mut moment = Moment { now_ns: 1, chance: 7 };
    exchange.set_services(vec![(backend, service())], moment);
    exchange.handle_timeout(moment, &mut |_, _| {});
    let mut conns = Vec::new();
    while let Some(Action::Connect { tag, .. }) = exchange.poll_action() {
        let conn = ConnId { slot: tag & 15, generation: 1 };
        conns.push((conn, exchange.handle_connected(conn, tag, moment).expect("as it was set up")));
    }
    assert_eq!(conns.len(), 4);
    let (mut answered, mut answers) = (0, Vec::with_capacity(64 * 1024));
    assert_allocates_nothing(|turn| {
        moment.now_ns += 1_000;
        for slot in 0..CALLS_PER_TURN {
            let generation = u32::try_from(turn).expect("as it was set up");
            let call = Call {
                key: Some(CallKey { home: HomeId(0), ticket: Ticket { slot, generation } }),
                backend,
                conn: ConnId { slot: 0, generation: 1 },
                account: None,
                method: "risk/var",
                params: Some(b"{\"instrument_name\":\"BTC-PERPETUAL\"}"),
                trace_parent: None,
                // Half of them are kept, to be sent again if that should be.
                is_idempotent: slot % 2 == 0,
                due_ns: u64::MAX,
            };
            exchange.handle_call(&call, moment).expect("as it was set up");
        }
        exchange.handle_timeout(moment, &mut |_, _| {});
        while let Some(id) = exchange.poll_dirty(moment.now_ns) {
            let (conn, bytes) = exchange.unsent(id).expect("as it was set up");
            answer_each(bytes, &mut answers);
            let sent = bytes.len();
            exchange.handle_handed(id, sent);
            // In two reads, the first of which ends inside of a line.
            let (first, rest) = answers.split_at(answers.len() - 9);
            for piece in [first, rest] {
                exchange.handle_bytes(id, conn, piece, moment, &mut |_, news| {
                    answered += u64::from(matches!(news, News::Ended(CallOutcome::Result(_))));
                });
            }
        }
    });
    assert_eq!(answered, u64::from(CALLS_PER_TURN) * (WARM_UP + COUNTED));
    let calls = exchange.statuses(moment.now_ns).next().map(|status| status.counters.calls_total);
    assert_eq!((calls, exchange.under_way()), (Some(answered), 0));
}
