//! Calls of methods over HTTP, without a socket: order, waiting for other threads and for verdicts, limits, ends.

use super::*;
use crate::http::Rejection;

/// A connection that has said nothing yet.
pub(super) fn open(world: &mut World, shard: usize) -> ConnId {
    world.generations += 1;
    let conn = ConnId { slot: 0, generation: world.generations };
    let now = world.now;
    world.hubs[shard].handle_open(conn, Arrival::FIRST, now);
    conn
}

pub(super) fn say(world: &mut World, shard: usize, conn: ConnId, bytes: &str) {
    let now = world.now;
    world.hubs[shard].handle_bytes(conn, &mut bytes.as_bytes().to_vec(), now);
}

fn get(path: &str, fields: &str) -> String {
    format!("GET /api/v2/{path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

pub(super) fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST /api/v2{path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn posted(topic: &str, data: &str) -> String {
    post("/topic/publish", "", &format!(r#"{{"topic":"{topic}","data":{data}}}"#))
}

/// The answers that a connection is sent now: each status with its head and its body.
pub(super) fn answers(world: &mut World, shard: usize, conn: ConnId) -> Vec<(u16, String, String)> {
    let bytes = world.take(shard, conn);
    let mut rest = &bytes[..];
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        let head_bytes = response.parse(rest).unwrap().unwrap();
        let code = response.code.unwrap();
        let length = response.headers.iter().find(|field| field.name == "Content-Length");
        let length = length.map_or(0, |field| std::str::from_utf8(field.value).unwrap().parse().unwrap());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        answers.push((code, text(&rest[..head_bytes]), text(&rest[head_bytes..][..length])));
        rest = &rest[head_bytes + length..];
    }
    answers
}

/// Statuses alone.
fn statuses(world: &mut World, shard: usize, conn: ConnId) -> Vec<u16> {
    answers(world, shard, conn).into_iter().map(|(status, ..)| status).collect()
}

pub(super) fn json(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap()
}

fn is_ended(world: &mut World, shard: usize, conn: ConnId) -> bool {
    let ended = Effect::Disconnect { conn, ending: Ending::Graceful };
    std::iter::from_fn(|| world.hubs[shard].poll_effect()).any(|effect| effect == ended)
}

#[test]
fn a_call_is_answered_and_the_connection_goes_on() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let conn = open(&mut world, 0);
    for (request, status, member) in [
        (get("public/get_time", ""), 200, "result"),
        (get("public/get_order_book?instrument_name=BTC-PERPETUAL&depth=5", ""), 200, "result"),
        (get("public/get_order_book?instrument_name=BTC-PERPETUAL&depth=6", ""), 400, "error"),
        (get("public/ticker?instrument_name=%42TC-PERPETUAL", ""), 200, "result"),
        (get("public/ticker?instrument_name=%ff", ""), 400, "error"),
        (get("public/nothing", ""), 400, "error"),
        (get("private/list_api_keys", ""), 401, "error"),
        (get("public/subscribe?channels=%5B%5D", ""), 400, "error"),
        (get("topic/publish?topic=a&data=1", ""), 400, "error"),
        (post("/public/ticker", "", r#"{"instrument_name":"BTC-PERPETUAL"}"#), 200, "result"),
        (post("/public/test", "", ""), 200, "result"),
        (post("", "", r#"{"jsonrpc":"2.0","method":"public/test"}"#), 200, "result"),
        (post("", "", "{"), 400, "error"),
    ] {
        say(&mut world, 0, conn, &request);
        let mut all = answers(&mut world, 0, conn);
        let (code, _, body) = all.remove(0);
        assert_eq!((code, all.len()), (status, 0), "{request}\n{body}");
        let body = json(&body);
        assert!(body[member].is_null() == (member == "error") || !body[member].is_null(), "{body}");
        assert!(body.get(member).is_some() && body["usIn"].is_u64() && body["usDiff"].is_u64(), "{body}");
        assert_eq!(body["id"], serde_json::Value::Null);
    }
    assert!(!is_ended(&mut world, 0, conn));
    let batch =
        r#"[{"jsonrpc":"2.0","id":1,"method":"public/test"},{"jsonrpc":"2.0","method":"public/test"}]"#;
    say(&mut world, 0, conn, &post("", "", batch));
    let (code, _, body) = answers(&mut world, 0, conn).remove(0);
    assert_eq!(
        (code, json(&body)[0]["id"].as_u64(), json(&body).as_array().unwrap().len()),
        (200, Some(1), 1)
    );
    say(&mut world, 0, conn, &post("", "", r#"[{"jsonrpc":"2.0","method":"public/test"}]"#));
    assert_eq!(statuses(&mut world, 0, conn), [204]);
}

#[test]
fn methods_of_a_connection_are_refused() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    for (path, body) in [
        ("/public/subscribe", r#"{"channels":["quote.X"]}"#),
        ("/public/unsubscribe", r#"{"channels":["quote.X"]}"#),
        ("/public/unsubscribe_all", ""),
        ("/public/set_heartbeat", r#"{"interval":10}"#),
        ("/public/disable_heartbeat", ""),
        ("/public/hello", r#"{"client_name":"a","client_version":"1"}"#),
    ] {
        say(&mut world, 0, conn, &post(path, "", body));
        let (code, _, body) = answers(&mut world, 0, conn).remove(0);
        assert_eq!((code, json(&body)["error"]["code"].as_i64()), (400, Some(-32600)), "{body}");
        assert_eq!(json(&body)["error"]["data"]["reason"], "this method needs a WebSocket", "{path}");
    }
}

#[test]
fn answers_come_in_order_though_the_first_waits_for_another_shard() {
    let mut world = World::new(2);
    let conn = open(&mut world, 0);
    let calls = [posted(of_home(1), "1"), get("public/get_time", ""), posted(of_home(1), "2")].concat();
    say(&mut world, 0, conn, &calls);
    assert!(statuses(&mut world, 0, conn).is_empty(), "the other shard has not answered");
    world.carry();
    let bodies: Vec<_> =
        answers(&mut world, 0, conn).iter().map(|(_, _, body)| json(body)["result"].clone()).collect();
    assert_eq!((bodies.len(), &bodies[0]["seq"], &bodies[2]["seq"]), (3, &1.into(), &2.into()));
    assert!(bodies[1].is_u64());
}

#[test]
fn answers_that_are_longer_than_a_send_come_whole() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    // Read as the header of a frame, these tell of a long one.
    let id = "~".repeat(120);
    let call = post("", "", &format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"public/test"}}"#));
    say(&mut world, 0, conn, &call.repeat(40));
    let bodies: Vec<_> = answers(&mut world, 0, conn).iter().map(|(_, _, body)| json(body)).collect();
    assert_eq!(bodies.len(), 40);
    assert!(bodies.iter().all(|body| body["id"] == id.as_str()));
}

#[test]
fn who_ends_its_side_is_answered_before_its_end() {
    let mut world = World::new(2);
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &[posted(of_home(1), "1"), get("public/test", "")].concat());
    let now = world.now;
    world.hubs[0].handle_eof(conn, now);
    assert!(!is_ended(&mut world, 0, conn));
    world.carry();
    assert_eq!(statuses(&mut world, 0, conn), [200, 200]);
    assert!(is_ended(&mut world, 0, conn));
}

#[test]
fn connection_close_ends_after_its_answer_and_nothing_behind_it_is_read() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &[get("public/test", "Connection: close\r\n"), get("public/test", "")].concat());
    let answers = answers(&mut world, 0, conn);
    assert_eq!((answers.len(), answers[0].0), (1, 200));
    assert!(answers[0].1.contains("\r\nConnection: close\r\n"));
    assert!(is_ended(&mut world, 0, conn));
}

#[test]
fn a_request_that_is_not_spoken_is_refused_behind_the_answers_before_it() {
    for (request, status, rejection) in [
        ("POST /api/v2 HTTP/1.1\r\nHost: x\r\n\r\n", 411, Rejection::LengthRequired),
        ("POST /api/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413, Rejection::BodyTooLarge),
        ("POST /api/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, Rejection::LengthMalformed),
        (
            "POST /api/v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
            Rejection::TransferCoding,
        ),
        (
            "GET /api/v2/public/test HTTP/1.1\r\nHost: x\r\nExpect: gold\r\n\r\n",
            417,
            Rejection::ExpectationUnknown,
        ),
        ("PUT /api/v2/public/test HTTP/1.1\r\nHost: x\r\n\r\n", 405, Rejection::CallMethod),
        ("GET /api/v2/public/test HTTP/1.1\r\n\r\n", 400, Rejection::HostNotSingle),
        (
            "GET /api/v2/public/test HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n",
            403,
            Rejection::OriginForbidden,
        ),
        (
            "GET /api/v2/private/cancel_all HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\
             Sec-Fetch-Site: cross-site\r\n\r\n",
            403,
            Rejection::OriginForbidden,
        ),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 400, Rejection::UpgradeTooLate),
        ("GET /api/v2/public/test HTTP/1.0\r\nHost: x\r\n\r\n", 505, Rejection::VersionNotSupported),
    ] {
        let mut world = World::new(1);
        let conn = open(&mut world, 0);
        say(&mut world, 0, conn, &[&get("public/test", ""), request, &get("public/test", "")].concat());
        assert_eq!(statuses(&mut world, 0, conn), [200, status], "{request}");
        assert_eq!(world.hubs[0].incidents().of(Incident::Refused(rejection)), 1, "{rejection:?}");
        assert!(is_ended(&mut world, 0, conn), "{request}");
    }
}

#[test]
fn head_and_options_are_answered_and_a_page_of_the_host_may_read() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    let page = "Host: localhost:9001\r\nOrigin: http://localhost:9001\r\n";
    say(&mut world, 0, conn, &format!("OPTIONS /api/v2/public/test HTTP/1.1\r\n{page}\r\n"));
    let (code, head, _) = answers(&mut world, 0, conn).remove(0);
    assert_eq!(code, 204);
    assert!(head.contains("\r\nAccess-Control-Allow-Origin: http://localhost:9001\r\n"), "{head}");
    assert!(head.contains("\r\nAccess-Control-Allow-Headers: Authorization, Content-Type\r\n"), "{head}");
    say(&mut world, 0, conn, &format!("GET /api/v2/public/test HTTP/1.1\r\n{page}\r\n"));
    let (_, head, body) = answers(&mut world, 0, conn).remove(0);
    assert!(head.contains("\r\nAccess-Control-Allow-Origin: http://localhost:9001\r\n"), "{head}");
    say(&mut world, 0, conn, &format!("HEAD /api/v2/public/test HTTP/1.1\r\n{page}\r\n"));
    let bytes = String::from_utf8(world.take(0, conn)).unwrap();
    assert!(
        bytes.ends_with("\r\n\r\n") && bytes.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{bytes}"
    );
}

#[test]
fn a_body_that_is_awaited_is_asked_for_once() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    let request = post("/public/test", "Expect: 100-continue\r\n", "{}");
    let (head, body) = request.split_at(request.len() - 2);
    say(&mut world, 0, conn, head);
    assert_eq!(world.take(0, conn), b"HTTP/1.1 100 Continue\r\n\r\n");
    for byte in body.chars() {
        assert_eq!(world.take(0, conn), b"");
        say(&mut world, 0, conn, &byte.to_string());
    }
    assert_eq!(statuses(&mut world, 0, conn), [200]);
}

#[test]
fn calls_beyond_the_rate_draw_429() {
    let rates = RateLimits { messages_per_s_max: 2, bytes_per_s_max: 0 };
    let mut world = World::with(1, &HubConfig { rates, ..config() });
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &get("public/test", "").repeat(4));
    assert_eq!(statuses(&mut world, 0, conn), [200, 200, 429]);
    assert_eq!(world.hubs[0].incidents().of(Incident::Refused(Rejection::CallRate)), 1);
    let rates = RateLimits { messages_per_s_max: 0, bytes_per_s_max: 100 };
    let mut world = World::with(1, &HubConfig { rates, ..config() });
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &get("public/test", "").repeat(4));
    assert_eq!(statuses(&mut world, 0, conn), [429]);
}

#[test]
fn an_idle_connection_ends_and_a_request_that_does_not_end_draws_408() {
    for (begun, expected) in
        [("", [].as_slice()), ("POST /api/v2 HTTP/1.1\r\nContent-Length: 5\r\n\r\n{", &[408])]
    {
        let mut world = World::new(1);
        let conn = open(&mut world, 0);
        say(&mut world, 0, conn, &get("public/test", ""));
        assert_eq!(statuses(&mut world, 0, conn), [200]);
        say(&mut world, 0, conn, begun);
        world.now.mono_ns += config().handshake_timeout_ns - 1;
        let now = world.now;
        world.hubs[0].handle_timeout(now);
        assert!(!is_ended(&mut world, 0, conn));
        world.now.mono_ns += 2 * limits::WHEEL_SLOT_NS;
        let now = world.now;
        world.hubs[0].handle_timeout(now);
        assert_eq!(statuses(&mut world, 0, conn), expected);
        assert!(is_ended(&mut world, 0, conn));
    }
}

#[test]
fn a_refusal_that_is_one_reply_too_many_ends_the_connection_for_one_reason() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &get("public/test", ""));
    assert_eq!(statuses(&mut world, 0, conn), [200]);
    world.hubs[0].queue_reply(conn, &vec![b' '; limits::REPLY_BYTES_MAX]);
    say(&mut world, 0, conn, "GET /api/v2/public/test HTTP/1.1\r\n\r\n");
    let counted: Vec<_> = world.hubs[0].incidents().each().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(Incident::Refused(Rejection::HostNotSingle), 1)]);
    assert!(is_ended(&mut world, 0, conn));
    assert!(world.take(0, conn).is_empty(), "its replies are dropped");
    let now = world.now;
    world.hubs[0].handle_closed(conn, now);
    assert_eq!(world.hubs[0].occupancy().total(), 0);
}

#[test]
fn a_call_that_waits_is_answered_though_the_server_stops() {
    let mut world = World::new(2);
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &posted(of_home(1), "1"));
    let now = world.now;
    world.hubs[0].handle_shutdown(now);
    world.carry();
    assert_eq!(statuses(&mut world, 0, conn), [200]);
    assert!(is_ended(&mut world, 0, conn));
    world.hubs[0].handle_closed(conn, now);
    assert_eq!(world.hubs[0].occupancy().sessions + world.hubs[0].occupancy().held_reply_bytes, 0);
}

#[test]
fn what_waits_in_the_inbox_is_counted_and_given_back() {
    let mut world = World::new(1);
    let conn = open(&mut world, 0);
    say(&mut world, 0, conn, &get("public/test", ""));
    assert_eq!(world.hubs[0].occupancy().unfinished_bytes, 0);
    say(&mut world, 0, conn, "POST /api/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{");
    assert!(world.hubs[0].occupancy().unfinished_bytes > 50);
    let now = world.now;
    world.hubs[0].handle_closed(conn, now);
    assert_eq!(world.hubs[0].occupancy().unfinished_bytes, 0);
}

/// A request for a WebSocket with these fields, and frames behind it.
fn upgrade(fields: &str, frames: &[&str]) -> Vec<u8> {
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    frames.iter().fold(head.into_bytes(), |bytes, text| [bytes, frame(text)].concat())
}

#[test]
fn a_connection_that_has_called_may_become_a_websocket_in_any_reads() {
    let asks = upgrade("", &[r#"{"jsonrpc":"2.0","id":7,"method":"public/hello","params":{}}"#]);
    for cut in [1, asks.len() / 2, asks.len() - 20, asks.len()] {
        let mut world = World::new(1);
        let conn = open(&mut world, 0);
        say(&mut world, 0, conn, &get("public/test", ""));
        assert_eq!(statuses(&mut world, 0, conn), [200]);
        let now = world.now;
        for part in [&asks[..cut], &asks[cut..]] {
            world.hubs[0].handle_bytes(conn, &mut part.to_vec(), now);
        }
        let told = world.take(0, conn);
        let told = String::from_utf8_lossy(&told);
        assert!(told.starts_with("HTTP/1.1 101 ") && told.contains(r#""id":7"#), "{cut} {told}");
        // From here on nothing is of a call any more: neither the refusals nor the deadline.
        world.send(0, conn, r#"{"jsonrpc":"2.0","id":8,"method":"public/unsubscribe_all"}"#);
        assert_eq!(world.texts(0, conn)[0]["result"], "ok");
        world.now.mono_ns += config().handshake_timeout_ns + 2 * limits::WHEEL_SLOT_NS;
        let now = world.now;
        world.hubs[0].handle_timeout(now);
        assert!(!is_ended(&mut world, 0, conn));
        assert_eq!(world.hubs[0].occupancy().unfinished_bytes, 0);
    }
}

#[test]
fn what_a_connection_that_has_called_asks_for_else_is_refused_as_of_one_that_has_not() {
    for (request, status, rejection) in [
        ("GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, Rejection::NotFound),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426, Rejection::UpgradeRequired),
    ] {
        let mut world = World::new(1);
        let conn = open(&mut world, 0);
        say(&mut world, 0, conn, &get("public/test", ""));
        assert_eq!(statuses(&mut world, 0, conn), [200]);
        say(&mut world, 0, conn, request);
        let told = String::from_utf8(world.take(0, conn)).unwrap();
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        assert_eq!(world.hubs[0].incidents().of(Incident::Refused(rejection)), 1, "{rejection:?}");
        assert!(is_ended(&mut world, 0, conn));
    }
}
