//! HTTP of the operator, on real sockets: each endpoint, what it refuses, and that its numbers are those of the clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bytes;
use crate::client::{Client, End};
use crate::server::{Server, temporary_file, tickring};

mod console;
mod inspecting;
mod profiling;
mod tools;

pub(crate) const DEMO: &str = "Authorization: Bearer demo.demo-secret\r\n";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: impl Read) -> Answer {
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let field = line();
            let Some((name, value)) = field.split_once(": ") else { break };
            fields.push((name.to_lowercase(), value.to_owned()));
        }
        let mut body = Vec::new();
        reader.read_to_end(&mut body).unwrap();
        Answer { status, fields, body }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.field("content-type"), "application/json", "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn request(line: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    )
}

pub(crate) fn ask(address: SocketAddr, line: &str, fields: &str, body: &str) -> Answer {
    let mut stream = bytes::connect(address);
    stream.write_all(request(line, fields, body).as_bytes()).unwrap();
    Answer::read(stream)
}

pub(crate) fn get(server: &Server, path: &str) -> Answer {
    ask(server.control.unwrap(), &format!("GET {path}"), "", "")
}

pub(crate) fn start(toml: &str) -> Server {
    Server::start_with(toml, "0", &["--control", "127.0.0.1:0"])
}

/// The sum of a metric over all its labels.
pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    let answer = get(server, "/metrics");
    let of_name = |line: &&str| line.starts_with(name) && [b'{', b' '].contains(&line.as_bytes()[name.len()]);
    let samples: Vec<&str> = answer.text().lines().filter(of_name).collect();
    assert!(!samples.is_empty(), "{name} is not told");
    samples.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Waits until a metric has this value: threads tell theirs every tenth of a second.
fn await_metric(server: &Server, name: &str, value: f64) {
    crate::until(&format!("{name} is {value}"), || metric(server, name) == value);
}

#[test]
fn scripts_find_each_endpoint_with_its_names() {
    let server = start("");
    let has = |path: &str, pointers: &[&str]| {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let value = answer.json();
        for pointer in pointers {
            assert!(value.pointer(pointer).is_some(), "{path}: {pointer} is not in {value}");
        }
        value
    };
    crate::until("the feed is told to be up", || {
        get(&server, "/health").json()["backends"] == json!({"healthy": 1, "total": 1})
    });
    for path in ["/health", "/api/health"] {
        assert_eq!(has(path, &["/shards/total", "/version"])["status"], "healthy");
    }
    has(
        "/api/status",
        &["/server/version", "/tools/total", "/requests/success_rate_percent", "/backends/list/0/state"],
    );
    has(
        "/performance/metrics",
        &[
            "/success",
            "/performance_score/overall",
            "/performance_score/memory_management",
            "/performance_score/async_performance",
            "/performance_score/cache_efficiency",
            "/performance_score/websocket_performance",
            "/memory_usage",
            "/latency",
            "/throughput",
        ],
    );
    has(
        "/performance/cache",
        &[
            "/cache_performance/memory_cache/efficiency_grade",
            "/cache_performance/hit_rate/performance_grade",
            "/cache_performance/optimization_suggestions",
        ],
    );
    has("/websocket/ws/status", &["/websocket_status/active_connections", "/websocket_status/last_update"]);
    has("/api/metrics", &["/metrics/0/samples/0/value"]);
    has("/api/openapi.json", &["/paths/~1ready/get"]);
    let alive = get(&server, "/healthz");
    assert_eq!((alive.status, alive.text()), (200, "alive\n"));
    assert_eq!(ask(server.control.unwrap(), "HEAD /healthz", "", "").body, b"");
    let csv = get(&server, "/api/metrics?format=csv");
    assert!(csv.text().starts_with("metric,type,unit,labels,value\r\n"), "{csv:?}");
    server.stop().assert_clean();
}

#[test]
fn what_many_ask_of_the_status_is_made_once_a_moment() {
    let server = start("");
    let (mut asked, mut counted) = (0, json!(null));
    crate::until("one is told what another was", || {
        asked += 1;
        assert_eq!(get(&server, "/api/status").json()["server"]["state"], "serving");
        counted = get(&server, "/performance/cache").json()["cache_performance"]["status_cache"].clone();
        counted["hits"].as_u64() > Some(0)
    });
    // Those that were made, of both paths, and those that were not.
    let all = counted["hits"].as_u64().unwrap() + counted["misses"].as_u64().unwrap();
    assert!(counted["misses"].as_u64() >= Some(2) && all <= 2 * asked, "{counted} of {asked} twice");
    assert_eq!(counted["kept_ms"], 100);
    server.stop().assert_clean();
}

#[test]
fn what_is_not_there_is_told_as_json() {
    let server = start("");
    let address = server.control.unwrap();
    let check = |line: &str, status: u16| {
        let answer = ask(address, line, "", "");
        assert_eq!((answer.status, &answer.json()["status"]), (status, &json!(status)), "{line}");
        answer
    };
    check("GET /index.html", 404);
    check("GET /api/nothing", 404);
    check("POST /nothing", 404);
    assert_eq!(check("POST /metrics", 405).field("allow"), "GET,HEAD");
    assert_eq!(check("GET /api/drain", 405).field("allow"), "POST");
    check("DELETE /api/kill-switch", 405);
    check("GET /api/logs?limit=0", 400);
    check("GET /api/metrics?format=xml", 400);
    // A page whose name was made to mean our address.
    let mut stream = bytes::connect(address);
    stream.write_all(b"GET /api/logs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(stream).status, 403);
    // What is no HTTP ends by itself, and nobody else's answer.
    let mut garbage = bytes::connect(address);
    garbage.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    assert_eq!(get(&server, "/healthz").status, 200);
    assert!(metric(&server, "tickring_control_failures_total") >= 9.0);
    server.stop().assert_clean();
}

#[test]
fn the_numbers_are_those_of_the_clients() {
    let server = start("");
    assert_eq!(metric(&server, "tickring_shard_connections"), 0.0);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(server.address)).collect();
    clients[0].subscribe("topic.news");
    for data in 0..5 {
        clients[1].publish("news", &json!(data));
    }
    (0..5).for_each(|_| drop(clients[0].note()));
    await_metric(&server, "tickring_shard_connections", 3.0);
    await_metric(&server, "tickring_connections_opened_total", 3.0);
    await_metric(&server, "tickring_messages_published_total", 5.0);
    await_metric(&server, "tickring_requests_total", 6.0);
    await_metric(&server, "tickring_deliveries_total", 5.0);
    assert_eq!(metric(&server, "tickring_connections"), 3.0);
    let status = get(&server, "/websocket/ws/status").json()["websocket_status"].clone();
    assert_eq!((&status["active_connections"], &status["healthy_connections"]), (&json!(3), &json!(3)));
    assert_eq!((&status["successful_operations"], &status["failed_operations"]), (&json!(6), &json!(0)));
    assert_eq!(clients[2].request("public/nothing", &json!({}))["error"]["code"], -32601);
    await_metric(&server, "tickring_requests_failed_total", 1.0);
    clients.truncate(1);
    await_metric(&server, "tickring_connections_closed_total", 2.0);
    assert_eq!(metric(&server, "tickring_shard_connections_peak"), 3.0);
    assert!(metric(&server, "process_cpu_seconds_total") > 0.0);
    assert!(metric(&server, "tickring_startup_seconds") > 0.0);
    drop(clients);
    server.stop().assert_clean();
}

/// A line of the text format 0.0.4 by its grammar: a comment, or `name{label="value",…} number`.
fn check_sample(line: &str, families: &mut Vec<String>) {
    if let Some(title) = line.strip_prefix("# TYPE ") {
        let (name, kind) = title.split_once(' ').unwrap();
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        assert!(!families.iter().any(|known| known == name), "{name} stands in two places");
        families.push(name.to_owned());
        return;
    }
    if line.starts_with("# HELP ") {
        return;
    }
    let (series, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
    let is_below = [Some(name), of_histogram].contains(&families.last().map(String::as_str));
    assert!(is_below, "{line}: not below its type");
    let labels = labels.strip_suffix('}').unwrap();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once("=\"").unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        assert!(value.ends_with('"'), "{line}");
    }
}

#[test]
fn metrics_parse_and_come_in_the_form_asked_for() {
    let server = start("");
    let address = server.control.unwrap();
    let plain = get(&server, "/metrics");
    assert_eq!(plain.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut families = Vec::new();
    plain.text().lines().for_each(|line| check_sample(line, &mut families));
    assert!(families.len() > 100, "{}", families.len());
    let open = ask(address, "GET /metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n", "");
    assert_eq!(open.field("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().ends_with("\n# EOF\n"));
    let packed = ask(address, "GET /metrics", "Accept-Encoding: gzip\r\n", "");
    assert_eq!(packed.field("content-encoding"), "gzip");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_string(&mut unpacked).unwrap();
    assert!(unpacked.starts_with("# HELP ") && packed.body.len() * 4 < unpacked.len());
    server.stop().assert_clean();
}

#[test]
fn the_last_lines_of_the_log_can_be_read() {
    let mut server = start("");
    let demo = |value: &Value| value["message"].as_str().unwrap().contains("client_id \"demo\"");
    let lines = get(&server, "/api/logs").json();
    assert!(lines["logs"].as_array().unwrap().iter().any(demo), "{lines}");
    let client = Client::connect(server.address);
    bytes::reset(bytes::connect(server.address));
    // A client that breaks the rules makes a line.
    let mut broken = bytes::connect(server.address);
    broken.write_all(b"GET /ws HTTP/1.1\r\n\r\n").unwrap();
    bytes::read_to_end(&mut broken);
    server.wait_for_log("client ");
    let logs = get(&server, "/api/logs?limit=1").json();
    assert_eq!((&logs["count"], &logs["limit"]), (&json!(1), &json!(1)));
    let last = &logs["logs"][0];
    assert_eq!((&last["level"], &last["number"]), (&json!("WARN"), &logs["total"]), "{logs}");
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn readiness_ends_when_the_stop_begins() {
    let server = start("[limits]\nclose_timeout_ms = 5000\n");
    let ready = get(&server, "/ready");
    assert_eq!((ready.status, ready.text()), (200, "ready\n"));
    // It does not read, so that its end takes the server time.
    let mut client = Client::connect(server.address);
    server.signal(Signal::SIGTERM);
    crate::until("it says that it drains", || {
        let answer = get(&server, "/ready");
        answer.status == 503 && answer.text() == "draining\n" && answer.field("retry-after") == "1"
    });
    let health = get(&server, "/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("draining")));
    assert_eq!(metric(&server, "tickring_ready"), 0.0);
    // Nor does an operator end at once what ends already, as a second signal does.
    assert_eq!(ask(server.control.unwrap(), "POST /api/drain", DEMO, "").status, 202);
    let End::Close { code, .. } = client.read_to_end(|_| ()) else { panic!("no close frame") };
    assert_eq!(code, 1001);
    server.wait().assert_clean();
}

/// As many connections as there are places for, and more.
const SILENT: usize = 300;

#[test]
fn who_says_nothing_does_not_keep_operators_out() {
    let server = start("");
    let mut silent: Vec<_> = (0..SILENT).map(|_| bytes::connect(server.control.unwrap())).collect();
    silent.iter_mut().for_each(|stream| stream.write_all(b"GET /hea").unwrap());
    // Answered once some of them are cut off.
    assert_eq!(get(&server, "/healthz").status, 200);
    drop(silent);
    server.stop().assert_clean();
}

#[test]
fn only_a_key_that_may_drains_the_server() {
    let server = start("");
    let address = server.control.unwrap();
    for odd in ["", "Authorization: Bearer demo.wrong\r\n", "Authorization: Basic ZGVtbw==\r\n"] {
        let refused = ask(address, "POST /api/drain", odd, "");
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, "Bearer"), "{odd}");
    }
    assert_eq!(get(&server, "/ready").status, 200);
    let accepted = ask(address, "POST /api/drain", DEMO, "");
    assert_eq!((accepted.status, &accepted.json()["status"]), (202, &json!("draining")));
    let ended = server.wait();
    ended.assert_clean();
    for told in ["demo begins the stop", "stopping as POST /api/drain asked"] {
        assert!(ended.log.iter().any(|line| line.contains(told)), "{:#?}", ended.log);
    }
    assert!(!ended.log.iter().any(|line| line.contains("SIGTERM")), "{:#?}", ended.log);
}

#[test]
fn a_key_of_the_file_operates_by_its_scope_alone() {
    let path = temporary_file("toml", b"");
    std::fs::remove_file(&path).unwrap();
    let key = |scope: &str| {
        let mut command = tickring();
        command.args(["keys", "add", "--account", "desk", "--scope", scope, "--file"]).arg(&path);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{text}"));
            line.rsplit([' ', '=']).next().unwrap().trim_matches('"').to_owned()
        };
        format!("Authorization: Bearer {}.{}\r\n", value("client_id"), value("client_secret"))
    };
    let (trader, operator) = (key("trade:read_write"), key("control:write"));
    let server = start(&format!("[auth]\nkeys = {:?}\n", path.display().to_string()));
    let drain = |shown: &str| ask(server.control.unwrap(), "POST /api/drain", shown, "").status;
    assert_eq!(drain(DEMO), 401);
    assert_eq!(drain(&trader), 403);
    assert_eq!(drain(&operator), 202);
    server.wait().assert_clean();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_kill_switch_halts_and_resumes_everybody() {
    let server = start("");
    let address = server.control.unwrap();
    let throw = |body: &str| ask(address, "POST /api/kill-switch", DEMO, body);
    assert_eq!(ask(address, "POST /api/kill-switch", "", "{\"halted\":true}").status, 401);
    assert_eq!(throw("{}").status, 400);
    assert_eq!(throw(&" ".repeat(5000)).status, 413);
    let mut client = Client::connect(server.address);
    let login =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    client.call("public/auth", &login);
    let order = json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "market"});
    let halted = throw("{\"halted\":true}");
    assert_eq!((halted.status, halted.json()), (200, json!({"halted": true, "applied": true})));
    let refused = client.request("private/buy", &order);
    assert!(refused.get("error").is_some(), "{refused}");
    await_metric(&server, "tickring_trading_halted", 1.0);
    assert_eq!(throw("{\"halted\":false}").json(), json!({"halted": false, "applied": true}));
    let placed = client.request("private/buy", &order);
    assert!(placed.get("error").is_none_or(|error| error != &refused["error"]), "{placed}");
    await_metric(&server, "tickring_trading_halted", 0.0);
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn a_unix_socket_serves_and_replaces_one_that_nobody_listens_on() {
    let path: PathBuf = temporary_file("sock", b"");
    std::fs::remove_file(&path).unwrap();
    // What a process that was killed leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let toml = format!("[control]\naddress = \"\"\nsocket = {:?}\n", path.display().to_string());
    let server = Server::start(&toml, "0");
    assert_eq!(server.control, None);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(request("GET /ready", "", "").as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).text(), "ready\n");
    // A second server does not take it away.
    let second = temporary_file("toml", toml.as_bytes());
    let mut command = tickring();
    let ended =
        crate::server::run(command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&second));
    assert_eq!(ended.code, Some(69), "{:?}", ended.log);
    assert!(ended.log.iter().any(|line| line.contains("control.socket")), "{:?}", ended.log);
    std::fs::remove_file(second).unwrap();
    assert!(path.exists(), "nor when it ends");
    server.stop().assert_clean();
    assert!(!path.exists(), "who ends takes it away");
}

#[test]
fn a_unix_socket_that_another_has_put_there_meanwhile_is_left_to_it() {
    let path: PathBuf = temporary_file("sock", b"");
    std::fs::remove_file(&path).unwrap();
    let toml = format!("[control]\naddress = \"\"\nsocket = {:?}\n", path.display().to_string());
    let server = Server::start(&toml, "0");
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    server.stop().assert_clean();
    assert!(UnixStream::connect(&path).is_ok());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced_by_one() {
    let path: PathBuf = temporary_file("sock", b"precious");
    let toml = format!("[control]\naddress = \"\"\nsocket = {:?}\n", path.display().to_string());
    let config = temporary_file("toml", toml.as_bytes());
    let mut command = tickring();
    let ended =
        crate::server::run(command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config));
    assert_eq!(ended.code, Some(69), "{:?}", ended.log);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(config).unwrap();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = start("");
    let taken = server.control.unwrap().to_string();
    let mut command = tickring();
    let ended = crate::server::run(command.args(["serve", "--listen", "127.0.0.1:0", "--control", &taken]));
    assert_eq!(ended.code, Some(69));
    assert!(
        ended.log.iter().any(|line| line.contains(&taken) && line.contains("--control off")),
        "{:?}",
        ended.log
    );
    server.stop().assert_clean();
}
