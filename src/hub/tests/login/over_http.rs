//! Log-ins by requests over HTTP.

use super::*;

fn caller(desk: &mut Desk) -> ConnId {
    desk.world.generations += 1;
    let conn = ConnId { slot: 0, generation: desk.world.generations };
    desk.world.hubs[0].handle_open(conn, Arrival::FIRST, desk.world.now);
    conn
}

/// What a request over HTTP is answered, with this `Authorization`.
fn call(desk: &mut Desk, conn: ConnId, path: &str, authorization: &str) -> (u16, Value, usize) {
    let shown =
        if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    let request = format!("GET /api/v2/{path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n");
    let now = desk.world.now;
    desk.world.hubs[0].handle_bytes(conn, &mut request.into_bytes(), now);
    let judged = desk.judge();
    let answer = String::from_utf8(desk.world.take(0, conn)).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap(), judged)
}

fn basic(pair: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
}

#[test]
fn over_http_each_request_is_who_its_authorization_says() {
    const KEYS: &str = "private/list_api_keys";
    let mut desk = Desk::new();
    let conn = caller(&mut desk);
    assert_eq!(call(&mut desk, conn, KEYS, "").0, 401);
    let (status, body, judged) = call(&mut desk, conn, KEYS, &basic("a:secret"));
    assert_eq!((status, judged, body["result"].as_array().unwrap().len()), (200, 1, 2));
    let (status, _, judged) = call(&mut desk, conn, KEYS, &basic("a:secret"));
    assert_eq!((status, judged), (200, 0), "the same is not judged again");
    assert_eq!(call(&mut desk, conn, KEYS, "").0, 401, "who shows nothing is nobody");
    let (status, body, _) = call(&mut desk, conn, "public/test", &basic("a:wrong"));
    assert_eq!((status, error(&body).0), (401, 13004));
    assert_eq!(call(&mut desk, conn, KEYS, "Digest x").0, 401);
    let granted = "public/auth?grant_type=client_credentials&client_id=b&client_secret=secret";
    let (status, body, _) = call(&mut desk, conn, granted, "");
    assert_eq!(status, 200);
    let token = body["result"]["access_token"].as_str().unwrap().to_owned();
    assert_eq!(call(&mut desk, conn, KEYS, "").0, 401, "a log-in is of its own request");
    let (status, _, judged) = call(&mut desk, conn, KEYS, &format!("Bearer {token}"));
    assert_eq!((status, judged), (200, 1));
    assert_eq!(call(&mut desk, conn, "public/get_time", &basic("b:secret")).0, 200);
    let (status, body, _) = call(&mut desk, conn, "public/get_time", &basic("a:secret"));
    assert_eq!((status, error(&body).0), (429, 10028), "so many log-ins of a connection are judged");
}

#[test]
fn who_called_by_a_named_session_is_nobody_once_it_ends_and_is_told_nothing() {
    const KEYS: &str = "private/list_api_keys";
    let mut desk = Desk::new();
    let caller = caller(&mut desk);
    let other = desk.world.connect(0, 1);
    let token = desk.log_in(other, "a", "session:x")["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    for judged in [1, 0] {
        let answer = call(&mut desk, caller, KEYS, &bearer);
        assert_eq!((answer.0, answer.2), (200, judged));
    }
    assert_eq!(desk.world.hubs[0].occupancy().session_members, 2);
    call(&mut desk, caller, KEYS, "");
    assert_eq!(desk.world.hubs[0].occupancy().session_members, 1, "who shows nothing is in no session");
    assert_eq!(call(&mut desk, caller, KEYS, &bearer).0, 200);
    desk.log_in(other, "a", "session:x");
    assert_eq!(desk.world.take(0, caller), b"");
    let (status, _, judged) = call(&mut desk, caller, KEYS, &bearer);
    assert_eq!((status, judged), (401, 1));
    for conn in [caller, other] {
        desk.world.hubs[0].handle_closed(conn, desk.world.now);
    }
    assert_eq!(desk.world.hubs[0].occupancy().session_members, 0);
}

/// An `Authorization` that signs `target` at a time of the test's clock.
fn signature(desk: &Desk, key: &str, nonce: &str, target: &str) -> String {
    use aws_lc_rs::hmac;
    let timestamp_ms = desk.world.now.unix_ns / 1_000_000;
    let text = format!("{timestamp_ms}\n{nonce}\nGET\n{target}\n\n");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    let signed = crate::auth::hex(tag.as_ref());
    format!("deri-hmac-sha256 id=a,ts={timestamp_ms},sig={signed},nonce={nonce}")
}

#[test]
fn a_request_s_own_signature_is_good_for_that_request_once() {
    const KEYS: &str = "private/list_api_keys";
    const TARGET: &str = "/api/v2/private/list_api_keys";
    let mut desk = Desk::new();
    // Signatures from before the start are not taken.
    desk.world.now = desk.world.now.plus_ns(10_000_000_000);
    let conn = caller(&mut desk);
    for nonce in 0..20 {
        let shown = signature(&desk, "secret", &nonce.to_string(), TARGET);
        let (status, body, judged) = call(&mut desk, conn, KEYS, &shown);
        assert_eq!((status, judged), (200, 1), "so many log-ins a minute are not too many: {body}");
    }
    let shown = signature(&desk, "secret", "20", TARGET);
    assert_eq!(call(&mut desk, conn, KEYS, &shown).0, 200);
    let (status, body, judged) = call(&mut desk, conn, KEYS, &shown);
    assert_eq!((status, error(&body).0, judged), (401, 13004, 1), "the same again is a replay");
    let shown = signature(&desk, "secret", "21", TARGET);
    assert_eq!(call(&mut desk, conn, "private/list_api_keys?a=1", &shown).0, 401, "another target");
    let queried = signature(&desk, "secret", "22", "/api/v2/private/list_api_keys?a=1");
    assert_eq!(call(&mut desk, conn, "private/list_api_keys?a=1", &queried).0, 200);
    assert_eq!(call(&mut desk, conn, KEYS, "").0, 401, "who shows nothing is nobody");
}

#[test]
fn signatures_that_do_not_hold_are_so_many_a_minute() {
    let mut desk = Desk::new();
    let conn = caller(&mut desk);
    let statuses: Vec<u16> = (0..12)
        .map(|nonce: u32| {
            let shown = signature(&desk, "wrong", &nonce.to_string(), "/api/v2/public/get_time");
            call(&mut desk, conn, "public/get_time", &shown).0
        })
        .collect();
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429));
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    let odd = caller(&mut desk);
    for shown in ["", " ", " id=a", " id=a,ts=1,nonce=x,sig=zz", " id=a,id=a,ts=1,nonce=x,sig=00", " x=1"] {
        let (status, body, judged) =
            call(&mut desk, odd, "public/get_time", &format!("deri-hmac-sha256{shown}"));
        assert_eq!((status, error(&body).0, judged), (401, 13004, 0), "{shown}");
    }
}

#[test]
fn who_has_called_and_asks_for_a_websocket_is_who_its_upgrade_says() {
    const KEYS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"private/list_api_keys"}"#;
    for (shown, expected) in [("", Some(13009)), ("Authorization: Bearer b.secret\r\n", None)] {
        let mut desk = Desk::new();
        let conn = caller(&mut desk);
        assert_eq!(call(&mut desk, conn, "private/list_api_keys", &basic("a:secret")).0, 200);
        // The bearer is judged though the connection is older than a handshake may take.
        desk.world.now.mono_ns += config().handshake_timeout_ns - 1;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{shown}\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let now = desk.world.now;
        desk.world.hubs[0].handle_bytes(conn, &mut request.into_bytes(), now);
        desk.world.now.mono_ns += 2 * limits::WHEEL_SLOT_NS;
        let now = desk.world.now;
        desk.world.hubs[0].handle_timeout(now);
        assert_eq!(desk.judge(), usize::from(!shown.is_empty()));
        let told = String::from_utf8(desk.world.take(0, conn)).unwrap();
        assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
        desk.world.send(0, conn, KEYS);
        let reply = desk.world.texts(0, conn).remove(0);
        assert_eq!(reply["error"]["code"].as_i64(), expected, "{reply}");
    }
}
