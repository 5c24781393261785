//! Each endpoint's answer to a small gateway, by its names and numbers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::{Way, authorize, is_local_host};
use super::*;
use crate::auth::{Credential, Key, Keyring, Patterns, Reach, Scopes, Secret};
use crate::hub::home::HomeCounters;
use crate::hub::{HubCounters, IncidentCounts};
use crate::model::link::{LinkIdentity, LinkKind};
use crate::telemetry::latency::{Stage, exchange};
use crate::telemetry::{
    BackendCounters, BackendMember, BackendStatus, Board, MeshReading, ProcessReading, RingCounters,
    ShardReading, ThreadReading, Totals,
};

mod inspecting;
mod profiles;

/// A shard with 10 requests of which 1 failed, 3 resumes of which 1 missed something, and this stance.
fn board(number: usize, overload_stance: u64) -> Arc<Board> {
    let board = Board::of_shard(number);
    let hub = HubCounters {
        connections_opened_total: 9,
        connections_closed_total: 5,
        messages_received_total: 30,
        requests_total: 10,
        requests_failed_total: 1,
        call_cache_hits_total: 3,
        call_cache_misses_total: 1,
        overload_stance,
        ..HubCounters::default()
    };
    let topics =
        HomeCounters { joins_recovered_total: 2, joins_not_recovered_total: 1, ..HomeCounters::default() };
    board.tell_shard(
        &ThreadReading {
            topics: &topics,
            topics_count: 0,
            history_bytes: 25,
            memory_bytes: 0,
            ring: &RingCounters::default(),
            mesh: MeshReading::default(),
            turns_total: 0,
            parks_total: 0,
        },
        &ShardReading {
            hub: &hub,
            incidents: &IncidentCounts::default(),
            connections: 4,
            connections_peak: 4,
            busy_turns_total: 100,
            busy_ns_total: 250_000_000,
            turn_ns_max: 0,
            turn_ns_mean: 5_000_000,
            costliest_bytes: 0,
            deepest_frames: 0,
        },
    );
    Arc::new(board)
}

/// Of the same shards, before they had done anything.
fn empty_boards() -> [Arc<Board>; 2] {
    [Arc::new(Board::of_shard(0)), Arc::new(Board::of_shard(1))]
}

fn link(state: LinkState) -> LinkStatus {
    let identity = LinkIdentity { kind: LinkKind::Tcp, venue: "fx".into(), link: "fx.2".into() };
    LinkStatus { identity, state, since_ms: 7, instruments: 3, last_reason: Some("timeout".into()) }
}

struct World {
    boards: Vec<Arc<Board>>,
    links: Vec<LinkStatus>,
    callees: Vec<BackendStatus>,
    phase: Phase,
    alerts: Alerts,
}

impl World {
    fn new(stances: [u64; 2]) -> World {
        let boards = stances.iter().enumerate().map(|(number, stance)| board(number, *stance)).collect();
        World {
            boards,
            links: vec![link(LinkState::Up)],
            callees: Vec::new(),
            phase: Phase::Serving,
            alerts: Alerts::default(),
        }
    }

    fn ask(&self, route: Route, query: &str) -> Answer {
        let process = ProcessReading {
            memory_held_bytes: 250,
            memory_budget_bytes: 1000,
            status_cache_hits_total: 7,
            status_cache_misses_total: 1,
            ..ProcessReading::default()
        };
        let snapshot = Snapshot::take(&self.boards, &process);
        let mut rates = Rates::default();
        rates.note(Totals { mono_ns: 1_000_000_000, ..Totals::default() });
        let mut looks = Looks::default();
        looks.note(&Snapshot::take(&empty_boards(), &ProcessReading::default()), 1_000_000_000);
        let line = |number| Line {
            number,
            unix_ms: 5,
            level: "INFO",
            target: "tickring".into(),
            message: format!("line {number}").into(),
        };
        let (mut recorder, taker) = exchange(&Stage::ALL);
        recorder.record(Stage::Turn, 1_000);
        let mut histograms =
            Collection::new([("shard-0".to_owned(), &Stage::ALL[..], taker)], Now::default());
        histograms.ask(Now::default());
        recorder.hand_over();
        histograms.take(Now::default());
        let view = View {
            snapshot: &snapshot,
            histograms: Some(&histograms),
            rates: &rates,
            looks: &looks,
            alerts: &self.alerts,
            latency: &[Recent {
                stage: Stage::Request,
                count: 5,
                p50_ns: 1,
                p90_ns: 2,
                p95_ns: 3,
                p99_ns: 4,
                p999_ns: 5,
                max_ns: 6,
            }],
            links: Arc::new(self.links.clone().into_boxed_slice()),
            callees: Arc::new(self.callees.clone()),
            cluster: None,
            phase: self.phase,
            now: Now { mono_ns: 3_000_000_000, unix_ns: 1_700_000_000_000_000_000 },
            uptime_ns: 12_500_000_000,
            turn_ns_max: 50_000_000,
            history_bytes_max: 100,
            lines: Lines::Memory((1..=3).map(line).collect()),
        };
        answer(route, Question { query, accept: "" }, &view)
    }

    fn value(&self, route: Route, query: &str) -> (u16, Value) {
        let answer = self.ask(route, query);
        assert_eq!(answer.body.content_type, "application/json");
        (answer.status, serde_json::from_str(&answer.body.text).unwrap())
    }
}

#[test]
fn health_is_a_word_and_the_backends_that_are_up() {
    let check = |world: &World, status: u16, word: &str, backends: Value| {
        let (code, body) = world.value(Route::Health, "");
        assert_eq!((code, &body["status"], &body["backends"]), (status, &json!(word), &backends));
    };
    let mut world = World::new([0, 0]);
    check(&world, 200, "healthy", json!({"healthy": 1, "total": 1}));
    world.links.push(link(LinkState::Down));
    check(&world, 200, "degraded", json!({"healthy": 1, "total": 2}));
    world.links.remove(0);
    check(&world, 503, "unhealthy", json!({"healthy": 0, "total": 1}));
    world.phase = Phase::Draining;
    check(&world, 503, "draining", json!({"healthy": 0, "total": 1}));
    check(&World::new([1, 0]), 200, "degraded", json!({"healthy": 1, "total": 1}));
}

#[test]
fn ready_is_only_who_lets_somebody_in() {
    let check = |stances, phase, expected: (u16, &str)| {
        let answer = World { phase, ..World::new(stances) }.ask(Route::Ready, "");
        assert_eq!((answer.status, &*answer.body.text), expected);
        assert_eq!(answer.retry_after_s.is_some(), answer.status == 503);
    };
    check([0, 0], Phase::Starting, (503, "starting\n"));
    check([0, 0], Phase::Serving, (200, "ready\n"));
    check([0, 1], Phase::Serving, (200, "ready\n"));
    check([2, 1], Phase::Serving, (503, "overloaded\n"));
    check([0, 0], Phase::Draining, (503, "draining\n"));
    assert_eq!(World::new([2, 2]).ask(Route::Healthz, "").status, 200);
}

#[test]
fn scripts_find_the_names_of_the_websocket_status() {
    let (_, body) = World::new([0, 2]).value(Route::WebSocket, "");
    let expected = json!({"websocket_status": {
        "active_connections": 8, "healthy_connections": 4, "total_connections": 18, "messages_processed": 60,
        "successful_operations": 18, "failed_operations": 2, "success_rate_percent": 90.0,
        "backend_available": true, "last_update": 1_700_000_000_000_u64,
    }});
    assert_eq!(body, expected);
}

#[test]
fn scores_are_computed_from_what_was_measured() {
    let (_, body) = World::new([0, 2]).value(Route::Performance, "");
    assert_eq!(body["success"], true);
    // 25 % of the budget; 5 of 50 ms; 4 of 6 joins; 90 % of requests times half of the connections.
    let expected = json!({
        "overall": 69.17, "memory_management": 75.0, "async_performance": 90.0, "cache_efficiency": 66.67,
        "websocket_performance": 45.0,
    });
    assert_eq!(body["performance_score"], expected);
    assert_eq!(body["memory_usage"]["usage_percent"], 25.0);
    assert_eq!(body["latency"]["turn_busy_mean_ms"], 2.5);
    assert_eq!(body["throughput"]["requests_per_second"], 10.0);
    assert_eq!(body["throughput"]["over_seconds"], 2.0);
}

#[test]
fn scripts_find_the_names_of_the_cache() {
    let (_, body) = World::new([0, 0]).value(Route::Cache, "");
    let cache = &body["cache_performance"];
    let memory = json!({"size": 50, "max_size": 100, "usage_percent": 50.0, "efficiency_grade": "A"});
    assert_eq!(cache["memory_cache"], memory);
    let rate = json!({"hits": 4, "misses": 2, "hit_rate_percent": 66.67, "performance_grade": "D"});
    assert_eq!(cache["hit_rate"], rate);
    let calls = json!({"size": 0, "bytes": 0, "hits": 6, "joined": 0, "misses": 2, "hit_rate_percent": 75.0, "evicted": 0,
                       "expired": 0, "invalidated": 0});
    assert_eq!(cache["call_cache"], calls);
    let answers = json!({"kept_ms": 100, "hits": 7, "misses": 1, "hit_rate_percent": 87.5});
    assert_eq!(cache["status_cache"], answers);
    assert_eq!(cache["optimization_suggestions"].as_array().unwrap().len(), 1);
}

#[test]
fn status_tells_of_each_backend() {
    let (_, body) = World::new([0, 0]).value(Route::Status, "");
    assert_eq!(body["server"]["uptime_seconds"], 12);
    assert_eq!(body["requests"]["success_rate_percent"], 90.0);
    assert_eq!(body["requests"]["mean_response_ms"], 2.5);
    assert_eq!(body["tools"]["total"], 7);
    let backend = &body["backends"]["list"][0];
    assert_eq!((&backend["name"], &backend["state"]), (&json!("fx.2"), &json!("up")));
    assert_eq!(backend["last_reason"], "timeout");
}

fn callee(name: &str, is_up: bool) -> BackendStatus {
    let member = |name: &str, state, pid| BackendMember {
        name: name.into(),
        state,
        under_way: 2,
        pid,
        last_reason: pid.is_none().then(|| "ended: exit status: 1".into()),
    };
    let counters = BackendCounters {
        calls_total: 400,
        answered_total: 390,
        starts_total: 3,
        ends_total: 1,
        ..Default::default()
    };
    let members = vec![member("1", "running", Some(7)), member("2", "waiting", None)];
    BackendStatus { name: name.into(), kind: "stdio", is_up, members, counters }
}

#[test]
fn backends_of_calls_are_told_with_their_processes_and_count_for_health() {
    let mut world = World::new([0, 0]);
    world.callees = vec![callee("risk", true), callee("prices", false)];
    let (_, health) = world.value(Route::Health, "");
    assert_eq!(health["backends"], json!({"healthy": 2, "total": 3}));
    let (_, body) = world.value(Route::Status, "");
    let risk = &body["backends"]["list"][1];
    assert_eq!(
        (&risk["name"], &risk["kind"], &risk["state"]),
        (&json!("risk"), &json!("stdio"), &json!("up"))
    );
    assert_eq!((&risk["calls"]["total"], &risk["calls"]["under_way"]), (&json!(400), &json!(4)));
    assert_eq!((&risk["members"][0]["pid"], &risk["reuse_percent"]), (&json!(7), &json!(99.25)));
    assert_eq!(risk["members"][1]["last_reason"], "ended: exit status: 1");
    let text = world.ask(Route::Events, "").body.text;
    let told: Value = serde_json::from_str(text.trim().split_once("data: ").unwrap().1).unwrap();
    // What is down comes first.
    assert_eq!(
        (&told["backends"][0]["name"], &told["backends"][0]["state"]),
        (&json!("prices"), &json!("down"))
    );
    assert_eq!((&told["backends"][1]["members_up"], &told["backends"][1]["members"]), (&json!(1), &json!(2)));
}

#[test]
fn logs_are_the_last_lines_as_many_as_asked_for() {
    let numbers = |query: &str| {
        let (status, body) = World::new([0, 0]).value(Route::Logs, query);
        let lines = body["logs"].as_array().cloned().unwrap_or_default();
        (status, lines.iter().map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(numbers(""), (200, vec![1, 2, 3]));
    assert_eq!(numbers("limit=2"), (200, vec![2, 3]));
    assert_eq!(numbers("x=1&limit=5000"), (200, vec![1, 2, 3]));
    for odd in ["limit=0", "limit=-1", "limit=", "limit=a"] {
        assert_eq!(numbers(odd).0, 400, "{odd}");
    }
    assert_eq!(log_limit("limit=5000"), Some(LINES_MAX));
}

#[test]
fn an_event_is_one_line_that_says_how_everything_is() {
    let text = World::new([0, 2]).ask(Route::Events, "").body.text;
    let data = text.strip_prefix("retry: 1000\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
    assert!(!data.contains('\n'));
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&event["state"], &event["uptime_seconds"]), (&json!("serving"), &json!(12)));
    // 20 requests in two seconds, of which one in ten failed.
    assert_eq!(
        (&event["rates"]["requests"], &event["rates"]["requests_failed"]),
        (&json!(10.0), &json!(1.0))
    );
    assert_eq!(event["stages"][0]["p99_ns"], 4);
    let shard = &event["shards"][1];
    assert_eq!((&shard["thread"], &shard["overload_stance"]), (&json!("shard-1"), &json!(2)));
    assert_eq!((&shard["connections"], &shard["busy_share"]), (&json!(4), &json!(0.125)));
    assert_eq!((&event["links"][0]["name"], &event["links"][0]["state"]), (&json!("fx.2"), &json!("up")));
    assert_eq!((&event["alerts"], &event["incidents"]), (&json!([]), &json!({})));
}

#[test]
fn alerts_are_told_with_their_rules() {
    let mut world = World::new([2, 0]);
    let quiet = world.value(Route::Alerts, "").1;
    // Restarts are what only Prometheus sees.
    assert_eq!((&quiet["rules"], &quiet["alerts"]), (&json!(25), &json!([])));
    let snapshot =
        Snapshot::take(&world.boards, &ProcessReading { is_ready: true, ..ProcessReading::default() });
    let (mut looks, now) = (Looks::default(), Now { mono_ns: 2_000_000_000, unix_ns: 5_000_000 });
    looks.note(&snapshot, 1_000_000_000);
    let window = looks.window(&snapshot, now.mono_ns, 10).unwrap();
    world.alerts.note(&snapshot, window, &[], now);
    let later = Now { mono_ns: now.mono_ns + 15_000_000_000, ..now };
    world.alerts.note(&snapshot, window, &[], later);
    let (status, body) = world.value(Route::Alerts, "");
    assert_eq!((status, &body["firing"]), (200, &json!(1)), "{body}");
    let alert = &body["alerts"][0];
    assert_eq!((&alert["name"], &alert["state"]), (&json!("TickringOverloaded"), &json!("firing")));
    assert_eq!((&alert["value"], &alert["since_unix_ms"]), (&json!(2.0), &json!(5)));
}

#[test]
fn the_console_asks_nobody_but_this_server() {
    let world = World::new([0, 0]);
    let of = |file| world.ask(Route::Console(file), "").body;
    let page = of(ConsoleFile::Page);
    assert_eq!(page.content_type, "text/html; charset=utf-8");
    for file in [page, of(ConsoleFile::Style), of(ConsoleFile::Script)] {
        let outside = file.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"), "{}", file.content_type);
        // What its policy forbids.
        for inline in ["<style", " style=", " onclick=", "innerHTML", "eval(", "@import"] {
            assert!(!file.text.contains(inline), "{}: {inline}", file.content_type);
        }
    }
    for word in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(CONTENT_SECURITY_POLICY.contains(word));
    }
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
}

#[test]
fn metrics_come_in_each_form() {
    let world = World::new([0, 0]);
    assert!(world.ask(Route::Metrics, "").body.text.starts_with("# HELP "));
    assert!(world.ask(Route::Export, "format=csv").body.text.starts_with("metric,type,"));
    assert_eq!(world.value(Route::Export, "").0, 200);
    assert_eq!(world.value(Route::Export, "format=xml").0, 400);
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let (_, document) = World::new([0, 0]).value(Route::OpenApi, "");
    let paths = document["paths"].as_object().unwrap();
    let mut documented: Vec<(&str, &str)> = Vec::new();
    for (path, methods) in paths {
        documented.extend(methods.as_object().unwrap().keys().map(|method| (path.as_str(), method.as_str())));
    }
    let mut served: Vec<(&str, &str)> = ROUTES
        .iter()
        .map(|(path, method, _)| {
            (
                *path,
                match method {
                    Method::Get => "get",
                    Method::Post => "post",
                },
            )
        })
        .collect();
    documented.sort_unstable();
    served.sort_unstable();
    assert_eq!(documented, served);
}

#[test]
fn histograms_are_told_in_three_forms() {
    let world = World::new([0, 0]);
    let told = world.value(Route::Histograms, "format=json").1;
    let of_all = told["stages"].as_array().unwrap().iter().filter(|row| row["thread"] == "all");
    assert_eq!(of_all.map(|row| row["count"].as_u64().unwrap()).sum::<u64>(), 1, "{told}");
    let csv = world.ask(Route::Histograms, "format=csv");
    assert_eq!(csv.body.content_type, "text/csv; charset=utf-8; header=present");
    assert!(csv.body.text.contains("\r\nturn,shard-0,1,1000,1000,"), "{csv:?}");
    let log = world.ask(Route::Histograms, "format=hlog").body.text;
    assert!(log.contains("\nTag=turn.shard-0,0.000,3.000,0.001,HISTF"), "{log}");
    assert_eq!(world.ask(Route::Histograms, "format=xml").status, 400);
    let metrics = world.ask(Route::Metrics, "").body.text;
    assert!(metrics.contains("tickring_latency_seconds_count{stage=\"turn\"} 1\n"), "{metrics}");
}

/// The required properties of a schema of the document are there.
fn check_schema(schema: &Value, value: &Value, at: &str) {
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(value.get(name).is_some(), "{at}.{name} is not in {value}");
        check_schema(&schema["properties"][name], &value[name], &format!("{at}.{name}"));
    }
}

#[test]
fn answers_are_as_the_document_says() {
    let world = World::new([0, 0]);
    let document = world.value(Route::OpenApi, "").1;
    let of = |route, name: &str| {
        check_schema(&document["components"]["schemas"][name], &world.value(route, "").1, name)
    };
    of(Route::Health, "Health");
    of(Route::Status, "Status");
    of(Route::Logs, "Logs");
    of(Route::Histograms, "Histograms");
    of(Route::Export, "Metrics");
    of(Route::Performance, "Performance");
    of(Route::Cache, "Cache");
    of(Route::WebSocket, "WebSocket");
    of(Route::Alerts, "Alerts");
    of(Route::Tools, "Tools");
    let text = world.ask(Route::Events, "").body.text;
    let event = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
    check_schema(&document["components"]["schemas"]["Event"], &event, "Event");
}

#[test]
fn only_a_key_that_may_changes_anything() {
    let key = |client_id: &str, scopes: &str, reach| Credential {
        client_id: client_id.into(),
        account: "a".into(),
        name: "".into(),
        key: Key::Secret(Secret::new(b"secret")),
        scopes: Scopes::parse(scopes.split_whitespace()).unwrap(),
        subscribe: Patterns::none(),
        publish: Patterns::none(),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: Some(100),
        reach,
    };
    let keys = [
        key("ops", "control:write", Reach::Anywhere),
        key("desk", "trade:read_write", Reach::Anywhere),
        key("demo", "", Reach::Loopback),
    ];
    let keyring = Keyring::new(keys).unwrap();
    let status = |shown: Option<&str>, way, unix_ms| match authorize(&keyring, shown, way, unix_ms) {
        Ok(_) => 200,
        Err(answer) => answer.status,
    };
    assert_eq!(status(Some("Bearer ops.secret"), Way::Remote, 99), 200);
    assert_eq!(status(Some("bearer ops.secret"), Way::Local, 99), 200);
    assert_eq!(status(Some("Bearer ops.secret"), Way::Local, 100), 401, "expired");
    assert_eq!(status(Some("Bearer desk.secret"), Way::Local, 99), 403);
    assert_eq!(status(Some("Bearer demo.secret"), Way::Local, 99), 200);
    assert_eq!(status(Some("Bearer demo.secret"), Way::Remote, 99), 403);
    for odd in [
        None,
        Some(""),
        Some("Basic ops.secret"),
        Some("Bearer ops"),
        Some("Bearer ops.other"),
        Some("Bearer x.y"),
    ] {
        assert_eq!(status(odd, Way::Local, 99), 401, "{odd:?}");
    }
}

#[test]
fn a_name_that_pages_could_be_given_is_no_local_host() {
    for local in ["127.0.0.1:9002", "127.0.0.1", "[::1]:9002", "localhost", "LOCALHOST:1"] {
        assert!(is_local_host(local), "{local}");
    }
    for other in ["", "evil.example", "evil.example:9002", "localhost.evil.example"] {
        assert!(!is_local_host(other), "{other}");
    }
}

#[test]
fn long_texts_are_compressed_for_who_takes_gzip() {
    for (accepted, expected) in
        [("", false), ("gzip", true), ("br, gzip;q=0.5", true), ("gzip;q=0", false), ("*", true)]
    {
        assert_eq!(accepts_gzip(accepted), expected, "{accepted}");
    }
    assert_eq!(gzip("short"), None);
    let text = "tickring_requests_total 1\n".repeat(1000);
    let packed = gzip(&text).unwrap();
    assert!(packed.len() < text.len() / 10);
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).unwrap();
    assert!(unpacked == text);
}

#[test]
fn the_kill_switch_takes_one_word() {
    assert_eq!(kill_switch_asked(b"{\"halted\":true}"), Ok(Asked { halted: true }));
    for odd in [&b""[..], b"{}", b"{\"halted\":1}", b"{\"halted\":true,\"x\":1}", b"true"] {
        assert_eq!(kill_switch_asked(odd).unwrap_err().status, 400);
    }
    assert_eq!(kill_switch_answered(Asked { halted: false }, true).status, 200);
    assert_eq!(kill_switch_answered(Asked { halted: true }, false).status, 202);
}

#[test]
fn what_is_to_be_forgotten_is_a_backend_s_or_of_some_methods() {
    use crate::model::invalidation::{Invalidation, Methods};
    let read = |body: &str| invalidation::read(body.as_bytes(), |name| name == "risk");
    let of = |backend: Option<&str>, methods: &[&str]| Invalidation {
        backend: backend.map(Into::into),
        methods: Methods::parse(methods.iter().copied()).unwrap(),
    };
    assert_eq!(read(r#"{"backend":"risk"}"#), Ok(of(Some("risk"), &["*"])));
    assert_eq!(read(r#"{"methods":["a/x","b/*"]}"#), Ok(of(None, &["a/x", "b/*"])));
    assert_eq!(read(r#"{"methods":["a/x"],"backend":"risk"}"#), Ok(of(Some("risk"), &["a/x"])));
    for (odd, status) in [
        ("", 400),
        ("{}", 400),
        (r#"{"methods":[]}"#, 400),
        (r#"{"methods":["a b"]}"#, 400),
        (r#"{"methods":"a/x"}"#, 400),
        (r#"{"backend":"risk","x":1}"#, 400),
        (r#"{"backend":"desk"}"#, 404),
    ] {
        assert_eq!(read(odd).unwrap_err().status, status, "{odd}");
    }
    let longest =
        vec!["x".repeat(crate::limits::INVALIDATED_METHOD_BYTES_MAX); crate::limits::INVALIDATED_METHODS_MAX];
    assert!(
        json!({"backend": "x".repeat(32), "methods": longest}).to_string().len()
            <= invalidation::BODY_BYTES_MAX
    );
    let done = invalidation::answered(&of(Some("risk"), &["a/*"]), [(0, true), (1, true)].into_iter(), None);
    let told: Value = serde_json::from_str(&done.body.text).unwrap();
    let expected =
        json!({"backend": "risk", "methods": ["a/*"], "applied": true, "silent": [], "other_nodes": null});
    assert_eq!((done.status, told), (200, expected));
    let some = invalidation::answered(&of(None, &["*"]), [(0, true), (1, false)].into_iter(), Some(false));
    assert_eq!(some.status, 202);
    assert!(some.body.text.contains(r#""silent":[1]"#), "{}", some.body.text);
    assert!(some.body.text.contains(r#""other_nodes":"when NATS is there""#), "{}", some.body.text);
}

#[test]
fn dead_letters_are_asked_for_by_query_and_body_and_told_in_the_words_of_clients() {
    use crate::model::message::{MessageAnswer, MessageId, MessageRefusal, MessageRequest, Name, Which};
    let user = Name::parse("a b");
    let list = MessageRequest::DeadLetters { count: 1_000, after: Some(MessageId(7)), user };
    assert_eq!(dead_letters::read("limit=5000&after=7&user=a%20b"), Ok(list.clone()));
    assert_eq!(dead_letters::read("id=17"), Ok(MessageRequest::DeadLetter { message: MessageId(17) }));
    for odd in ["limit=0", "after=x", "id=-1", "user=", "user=%0a", "user=%zz"] {
        assert_eq!(dead_letters::read(odd).unwrap_err().status, 400, "{odd}");
    }
    let requeue = |body: &str| dead_letters::chosen(dead_letters::Deed::Requeue, body.as_bytes());
    let one = MessageRequest::Requeue { which: Which::One(MessageId(17)) };
    assert_eq!(requeue("{\"id\":17}"), Ok(one.clone()));
    assert_eq!(requeue("{\"all\":true}"), Ok(MessageRequest::Requeue { which: Which::All }));
    for odd in ["", "{}", "{\"id\":0}", "{\"id\":1,\"all\":true}", "{\"all\":false}", "{\"any\":1}"] {
        assert_eq!(requeue(odd).unwrap_err().status, 400, "{odd}");
    }
    let told = |request: &MessageRequest, outcome| {
        let answer = dead_letters::answer(request, outcome);
        (answer.status, answer.body.text.into_owned())
    };
    assert_eq!(told(&one, Some(Ok(MessageAnswer::Count(1)))), (200, "{\"count\":1}".to_owned()));
    let none = MessageAnswer::DeadLetters { total: 0, letters: Box::default() };
    assert_eq!(told(&list, Some(Ok(none.clone()))), (200, "{\"total\":0,\"letters\":[]}".to_owned()));
    let shown = MessageRequest::DeadLetter { message: MessageId(17) };
    assert_eq!(told(&shown, Some(Ok(none))).0, 404);
    assert_eq!(told(&one, Some(Err(MessageRefusal::StoreDiskFull))).0, 503);
    assert_eq!((told(&one, None).0, told(&list, None).0), (504, 504));
}
