//! Logging in without a socket: the hub's questions are put to an authority by hand, when the test says so.

use serde_json::{Value, json};

use super::*;
use crate::auth::{
    Authority, Credential, Entropy, Judged, Key, Keyring, Patterns, Reach, Scopes, Secret, Settings, Verdict,
};

mod over_http;

fn key(client_id: &str) -> Credential {
    Credential {
        client_id: client_id.into(),
        account: "desk".into(),
        name: "".into(),
        key: Key::Secret(Secret::new(b"secret")),
        scopes: Scopes::parse(["account:read"]).unwrap(),
        subscribe: Patterns::new(["ticker.*", "topic.desk.*"]),
        publish: Patterns::new(["desk.*"]),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    }
}

fn keyring(keys: impl IntoIterator<Item = Credential>) -> Arc<Keyring> {
    Arc::new(Keyring::new(keys).unwrap())
}

struct Desk {
    world: World,
    authority: Authority,
    entropy: u8,
}

impl Desk {
    /// Where everybody may have quotes, and publish nothing.
    fn new() -> Desk {
        let keyring = keyring([key("a"), key("b")]);
        let config = HubConfig {
            publishing: Publishing::ByKey,
            public_subscribe: Patterns::new(["quote.*", "topic.open"]),
            keyring: Arc::clone(&keyring),
            logins_per_minute_max: 5,
            ..config()
        };
        let mut world = World::with(1, &config);
        world.feed(list("BTC-PERPETUAL"));
        let authority = Authority::new(keyring, Settings::default(), world.now);
        Desk { world, authority, entropy: 0 }
    }

    /// Puts the hub's questions and hands it the verdicts; how many there were.
    fn judge(&mut self) -> usize {
        let mut judged = 0;
        while let Some(question) = self.world.hubs[0].poll_question() {
            match question {
                LoginQuestion::Forget(grant) => self.authority.forget(grant),
                LoginQuestion::Judge { ticket, request } => {
                    judged += 1;
                    self.entropy = self.entropy.wrapping_add(1);
                    let entropy: Entropy = [[self.entropy; 32], [self.entropy ^ 0x80; 32]];
                    let now = self.world.now;
                    let Judged::Verdict(verdict) = self.authority.judge(&request, now, &entropy) else {
                        panic!("no cluster")
                    };
                    self.world.hubs[0].handle_verdict(ticket, verdict, now);
                }
            }
            while let Some(grant) = self.authority.poll_ended() {
                self.world.hubs[0].handle_session_ended(grant, self.world.now);
            }
            self.world.carry();
        }
        judged
    }

    fn send(&mut self, conn: ConnId, method: &str, params: Value) {
        let text = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params}).to_string();
        self.world.send(0, conn, &text);
    }

    fn ask(&mut self, conn: ConnId, method: &str, params: Value) -> Value {
        self.send(conn, method, params);
        self.judge();
        self.world.texts(0, conn).remove(0)
    }

    fn log_in(&mut self, conn: ConnId, client_id: &str, scope: &str) -> Value {
        let reply = self.ask(conn, "public/auth", credentials(client_id, scope));
        assert!(reply.get("result").is_some(), "{reply}");
        reply["result"].clone()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.world.hubs[0].poll_effect()).collect()
    }
}

fn credentials(client_id: &str, scope: &str) -> Value {
    json!({"grant_type": "client_credentials", "client_id": client_id, "client_secret": "secret", "scope": scope})
}

fn error(reply: &Value) -> (i64, &str, &str) {
    let error = &reply["error"];
    let text = |member: &str| error["data"][member].as_str().unwrap_or_default();
    (error["code"].as_i64().unwrap_or_else(|| panic!("{reply}")), text("reason"), text("param"))
}

const FIRST: &str = "log in first: public/auth";

#[test]
fn a_private_method_waits_for_a_log_in_and_a_scope() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    for method in ["private/subscribe", "private/logout", "private/list_api_keys", "private/unsubscribe_all"]
    {
        assert_eq!(error(&desk.ask(conn, method, json!({}))), (13009, FIRST, ""), "{method}");
    }
    assert_eq!(error(&desk.ask(conn, "private/nothing", json!({}))).0, -32601);
    desk.log_in(conn, "a", "account:none");
    let reply = desk.ask(conn, "private/list_api_keys", json!({}));
    assert_eq!(error(&reply), (13021, "needs scope account:read", ""));
    desk.log_in(conn, "a", "");
    let reply = desk.ask(conn, "private/list_api_keys", json!({}));
    let ids: Vec<&str> =
        reply["result"].as_array().unwrap().iter().map(|key| key["client_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b"], "both are the account's");
    assert_eq!(
        error(&desk.ask(conn, "private/subscribe", json!({}))),
        (-32602, "value required", "channels")
    );
}

#[test]
fn what_comes_behind_a_log_in_is_judged_after_it() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    let mut bytes = Vec::new();
    let auth = json!({"jsonrpc": "2.0", "id": 1, "method": "public/auth", "params": credentials("a", "")});
    let subscribe = json!({"jsonrpc": "2.0", "id": 2, "method": "private/subscribe",
        "params": {"channels": ["ticker.BTC-PERPETUAL.raw"]}});
    for text in [auth, subscribe] {
        bytes.extend(frame(&text.to_string()));
    }
    let more = frame(r#"{"jsonrpc":"2.0","id":3,"method":"public/test"}"#);
    desk.world.hubs[0].handle_bytes(conn, &mut bytes, desk.world.now);
    // The next read cuts a frame in two.
    desk.world.hubs[0].handle_bytes(conn, &mut more[..9].to_vec(), desk.world.now);
    desk.world.carry();
    assert_eq!(desk.world.texts(0, conn), Vec::<Value>::new());
    assert_eq!(desk.effects(), [Effect::PauseReading { conn }]);
    assert!(desk.world.hubs[0].occupancy().unfinished_bytes > 0, "what waits is counted");
    assert_eq!(desk.judge(), 1);
    assert_eq!(desk.effects(), [Effect::ResumeReading { conn }]);
    desk.world.hubs[0].handle_bytes(conn, &mut more[9..].to_vec(), desk.world.now);
    desk.world.carry();
    let texts = desk.world.texts(0, conn);
    let ids: Vec<&Value> = texts.iter().map(|text| &text["id"]).filter(|id| !id.is_null()).collect();
    assert_eq!(ids, [&json!(1), &json!(2), &json!(3)]);
    assert_eq!(texts[1]["result"], json!(["ticker.BTC-PERPETUAL.raw"]));
}

#[test]
fn patterns_decide_who_may_subscribe_and_publish() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    let subscribe = |channel: &str| json!({ "channels": [channel] });
    let publish = |topic: &str| json!({"topic": topic, "data": 1});
    assert!(desk.ask(conn, "public/subscribe", subscribe("quote.BTC-PERPETUAL")).get("result").is_some());
    for channel in ["ticker.BTC-PERPETUAL.raw", "ticker.*.raw", "topic.desk.1"] {
        let reply = desk.ask(conn, "public/subscribe", subscribe(channel));
        assert_eq!(error(&reply), (13009, FIRST, "channels"), "{channel}");
    }
    let resume = json!({"channels": ["topic.desk.1"], "resume": {"topic.desk.1": {"epoch": 1, "seq": 0}}});
    let reply = desk.ask(conn, "public/subscribe", resume);
    assert_eq!(error(&reply), (13009, FIRST, "channels"), "what was missed is no less for the key's holder");
    assert_eq!(error(&desk.ask(conn, "topic/publish", publish("desk.1"))), (13009, FIRST, "topic"));
    desk.log_in(conn, "a", "");
    for channel in ["ticker.*.raw", "topic.desk.1", "quote.*", "topic.open"] {
        let reply = desk.ask(conn, "private/subscribe", subscribe(channel));
        assert_eq!(reply["result"], json!([channel]));
    }
    for channel in ["book.BTC-PERPETUAL.raw", "topic.des", "trades.*.raw"] {
        let reply = desk.ask(conn, "private/subscribe", subscribe(channel));
        assert_eq!(error(&reply), (13021, "not for this key", "channels"), "{channel}");
    }
    assert_eq!(desk.ask(conn, "topic/publish", publish("desk.1"))["result"]["seq"], 1);
    assert_eq!(
        error(&desk.ask(conn, "topic/publish", publish("open"))),
        (13021, "not for this key", "topic")
    );
}

#[test]
fn a_wrong_secret_is_told_so_and_tried_only_so_often() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    let wrong = json!({"grant_type": "client_credentials", "client_id": "a", "client_secret": "guess"});
    for _ in 0..5 {
        assert_eq!(error(&desk.ask(conn, "public/auth", wrong.clone())), (13004, "", ""));
    }
    let reply = desk.ask(conn, "public/auth", credentials("a", ""));
    assert_eq!(error(&reply), (10028, "too many log-ins on this connection", ""));
    let other = desk.world.connect(0, 1);
    desk.log_in(other, "a", "");
    let count = |declined| desk.world.hubs[0].incidents().of(Incident::Declined(declined));
    assert_eq!((count(Declined::Login), count(Declined::LoginRate)), (5, 1));
    desk.world.now = desk.world.now.plus_ns(12 * UNIT as u64);
    desk.log_in(conn, "a", "");
}

#[test]
fn logging_in_and_out_is_not_taken_in_a_batch() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.log_in(conn, "a", "");
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "public/auth", "params": credentials("a", "")},
        {"jsonrpc": "2.0", "id": 2, "method": "private/logout", "params": {}},
    ]);
    desk.world.send(0, conn, &batch.to_string());
    assert_eq!(desk.judge(), 0);
    let texts = desk.world.texts(0, conn);
    let codes: Vec<i64> = texts[0].as_array().unwrap().iter().map(|reply| error(reply).0).collect();
    assert_eq!(codes, [-32600, -32600]);
}

#[test]
fn logging_out_is_answered_then_closed_and_gives_everything_back() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.log_in(conn, "a", "session:kept");
    desk.log_in(conn, "a", "");
    assert_eq!(desk.authority.grant_count(), 2);
    desk.send(conn, "private/logout", json!({}));
    let texts = desk.world.texts(0, conn);
    assert_eq!(texts[0]["result"], "ok");
    assert_eq!(texts[1], json!({"close": 1000}));
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    desk.judge();
    assert_eq!(desk.authority.grant_count(), 1, "the named session lives on");
    let conn = desk.world.connect(0, 0);
    desk.log_in(conn, "a", "session:kept");
    desk.send(conn, "private/logout", json!({"invalidate_token": false}));
    desk.judge();
    assert_eq!(desk.authority.grant_count(), 1, "its tokens were kept");
}

#[test]
fn a_log_in_that_ends_leaves_what_everybody_may_have() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    let granted = desk.log_in(conn, "a", "expires:10");
    let channels = json!(["quote.BTC-PERPETUAL", "ticker.BTC-PERPETUAL.raw", "ticker.*.100ms", "topic.open"]);
    desk.send(conn, "private/subscribe", json!({ "channels": channels }));
    desk.world.texts(0, conn);
    assert_eq!(desk.world.hubs[0].occupancy().subscriptions, 4);
    desk.world.now = desk.world.now.plus_ns(11 * UNIT as u64);
    desk.world.hubs[0].handle_timeout(desk.world.now);
    desk.world.carry();
    let expired = json!({"jsonrpc": "2.0", "method": "session", "params": {"type": "expired"}});
    assert_eq!(desk.world.texts(0, conn), [expired]);
    let occupancy = desk.world.hubs[0].occupancy();
    assert_eq!((occupancy.subscriptions, occupancy.pattern_sessions), (2, 0));
    assert_eq!(error(&desk.ask(conn, "private/list_api_keys", json!({}))), (13009, FIRST, ""));
    // Its refresh token has ended with it; to log in again is as before.
    let refresh = json!({"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]});
    assert_eq!(desk.ask(conn, "public/auth", refresh)["error"]["code"], 13009);
    desk.log_in(conn, "a", "");
    assert!(desk.ask(conn, "private/list_api_keys", json!({})).get("result").is_some());
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    desk.judge();
    assert_eq!(desk.authority.grant_count(), 0);
}

#[test]
fn who_becomes_somebody_else_keeps_what_that_one_may_have() {
    let mut desk = Desk::new();
    let narrow = Credential { subscribe: Patterns::none(), ..key("b") };
    let keyring = keyring([key("a"), narrow]);
    desk.authority.replace(Arc::clone(&keyring));
    desk.world.hubs[0].handle_keyring(keyring, desk.world.now);
    let conn = desk.world.connect(0, 0);
    desk.log_in(conn, "a", "");
    desk.send(conn, "private/subscribe", json!({"channels": ["quote.*", "ticker.*.raw"]}));
    desk.world.texts(0, conn);
    desk.log_in(conn, "b", "");
    assert_eq!(desk.world.hubs[0].occupancy().subscriptions, 1);
    assert_eq!(desk.authority.grant_count(), 1, "the first one's was given back");
}

#[test]
fn a_key_that_is_revoked_or_changed_closes_who_logged_in_by_it() {
    let mut desk = Desk::new();
    let conns: Vec<ConnId> = (0..3).map(|slot| desk.world.connect(0, slot)).collect();
    desk.log_in(conns[0], "a", "");
    desk.log_in(conns[1], "b", "");
    let changed = Credential { scopes: Scopes::ALL, ..key("b") };
    desk.world.hubs[0].handle_keyring(keyring([key("a"), changed.clone()]), desk.world.now);
    assert_eq!(desk.world.texts(0, conns[0]), Vec::<Value>::new());
    assert_eq!(desk.world.texts(0, conns[1]), [json!({"close": 1008})]);
    desk.world.hubs[0].handle_keyring(keyring([changed]), desk.world.now);
    assert_eq!(desk.world.texts(0, conns[0]), [json!({"close": 1008})]);
    assert_eq!(desk.world.texts(0, conns[2]), Vec::<Value>::new(), "who is nobody stays");
    assert_eq!(desk.world.count(Closing::KeyRevoked), 2);
}

#[test]
fn who_is_gone_before_the_verdict_leaves_nothing_behind() {
    let mut desk = Desk::new();
    for ending in [Hub::handle_closed, Hub::handle_eof] {
        let conn = desk.world.connect(0, 0);
        desk.send(conn, "public/auth", credentials("a", ""));
        ending(&mut desk.world.hubs[0], conn, desk.world.now);
        assert_eq!(desk.world.hubs[0].occupancy().logins, 1);
        desk.judge();
        desk.world.hubs[0].handle_closed(conn, desk.world.now);
        desk.judge();
        assert_eq!((desk.authority.grant_count(), desk.world.hubs[0].occupancy().total()), (0, 0));
    }
}

#[test]
fn who_ends_its_side_before_the_verdict_is_answered_all_that_it_asked() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", ""));
    desk.send(conn, "private/list_api_keys", json!({}));
    desk.world.hubs[0].handle_eof(conn, desk.world.now);
    assert_eq!(desk.world.texts(0, conn), Vec::<Value>::new());
    assert_eq!(desk.effects(), [Effect::PauseReading { conn }]);
    desk.judge();
    let texts = desk.world.texts(0, conn);
    let ids: Vec<&str> = texts.iter().filter_map(|text| text["id"].as_str()).collect();
    assert_eq!(ids, ["public/auth", "private/list_api_keys"]);
    assert!(texts[1].get("result").is_some(), "{texts:?}");
    assert!(desk.effects().contains(&Effect::Disconnect { conn, ending: Ending::Graceful }));
}

#[test]
fn a_close_that_comes_before_the_verdict_follows_its_reply_and_logs_nobody_in() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", ""));
    desk.send(conn, "private/list_api_keys", json!({}));
    desk.world.hubs[0].handle_shutdown(desk.world.now);
    assert_eq!(desk.world.texts(0, conn), Vec::<Value>::new());
    assert_eq!(desk.judge(), 1);
    let texts = desk.world.texts(0, conn);
    assert_eq!(
        (texts.len(), &texts[0]["id"], &texts[1]),
        (2, &json!("public/auth"), &json!({"close": 1001}))
    );
    assert_eq!(desk.authority.grant_count(), 0, "what it was given is given back");
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    assert_eq!(desk.world.hubs[0].occupancy().total(), 0);
}

/// An upgrade with these header lines, not answered yet.
fn upgrade(desk: &mut Desk, slot: u32, headers: &str) -> ConnId {
    desk.world.generations += 1;
    let conn = ConnId { slot, generation: desk.world.generations };
    desk.world.hubs[0].handle_open(conn, Arrival::FIRST, desk.world.now);
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    desk.world.hubs[0].handle_bytes(conn, &mut request.into_bytes(), desk.world.now);
    conn
}

#[test]
fn an_upgrade_with_a_bearer_token_is_answered_once_that_is_judged() {
    let mut desk = Desk::new();
    let conn = upgrade(&mut desk, 0, "Authorization: Bearer a.secret\r\n");
    // A frame that follows at once waits with it.
    let mut more = frame(r#"{"jsonrpc":"2.0","id":1,"method":"private/list_api_keys"}"#);
    desk.world.hubs[0].handle_bytes(conn, &mut more, desk.world.now);
    assert_eq!(desk.world.take(0, conn), b"");
    assert_eq!(desk.judge(), 1);
    let answer = desk.world.take(0, conn);
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..head_end]);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(String::from_utf8_lossy(&answer[head_end..]).contains("\"client_id\":\"b\""));
    for (authorization, status) in [
        ("Bearer a.guess", "401"),
        ("bearer nothing", "401"),
        ("Bearer ", "401"),
        ("Bearer", "401"),
        ("Basic YTpi", "401"),
        ("Bearer a.secret\r\nAuthorization: Bearer a.secret", "401"),
    ] {
        let conn = upgrade(&mut desk, 1, &format!("Authorization: {authorization}\r\n"));
        desk.judge();
        let answer = String::from_utf8(desk.world.take(0, conn)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{authorization}: {answer}");
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
        desk.world.hubs[0].handle_closed(conn, desk.world.now);
    }
}

#[test]
fn more_log_ins_than_may_wait_are_told_to_come_back() {
    let mut desk = Desk::new();
    let waiting: Vec<ConnId> =
        (0..limits::LOGINS_PENDING_MAX as u32).map(|slot| desk.world.connect(0, slot)).collect();
    for conn in &waiting {
        desk.send(*conn, "public/auth", credentials("a", ""));
    }
    let slot = limits::LOGINS_PENDING_MAX as u32;
    let late = desk.world.connect(0, slot);
    desk.send(late, "public/auth", credentials("a", ""));
    assert_eq!(error(&desk.world.texts(0, late)[0]), (10040, "too many log-ins at a time", ""));
    let refused = upgrade(&mut desk, slot + 1, "Authorization: Bearer a.secret\r\n");
    let answer = String::from_utf8(desk.world.take(0, refused)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(desk.judge(), waiting.len());
    desk.log_in(late, "a", "");
}

#[test]
fn a_verdict_that_nobody_waits_for_changes_nothing() {
    let mut desk = Desk::new();
    let ticket = batch::Ticket { slot: 3, generation: 9 };
    let refused = Verdict::Refused(crate::auth::Refusal::Token);
    desk.world.hubs[0].handle_verdict(ticket, refused, desk.world.now);
    assert_eq!(desk.world.hubs[0].occupancy().total(), 0);
}

#[test]
fn debug_output_of_questions_and_verdicts_has_no_secrets() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", ""));
    let question = desk.world.hubs[0].poll_question().unwrap();
    assert!(!format!("{question:?}").contains("\"secret\""));
    let LoginQuestion::Judge { request, .. } = question else { panic!("{question:?}") };
    let Judged::Verdict(verdict) = desk.authority.judge(&request, desk.world.now, &[[1; 32]; 2]) else {
        panic!("no cluster")
    };
    let Verdict::Granted { tokens: Some(tokens), .. } = &verdict else { panic!("{verdict:?}") };
    let shown = format!("{verdict:?}");
    assert!(shown.contains("Tokens(") && !shown.contains(&tokens.access) && !shown.contains(&tokens.refresh));
}

#[test]
fn a_close_that_comes_after_the_peers_end_and_before_the_verdict_is_told() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", ""));
    desk.world.hubs[0].handle_eof(conn, desk.world.now);
    desk.world.hubs[0].handle_shutdown(desk.world.now);
    desk.judge();
    let texts = desk.world.texts(0, conn);
    assert_eq!(
        (texts.len(), &texts[0]["id"], &texts[1]),
        (2, &json!("public/auth"), &json!({"close": 1001}))
    );
}

#[test]
fn nothing_is_judged_for_who_is_gone_before_its_question_is_put() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", ""));
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    // The slot is another's by now.
    let other = desk.world.connect(0, 0);
    assert_eq!(desk.judge(), 0);
    assert_eq!(desk.world.texts(0, other), Vec::<Value>::new());
    desk.world.hubs[0].handle_closed(other, desk.world.now);
    assert_eq!(desk.world.hubs[0].occupancy().total(), 0);
}

#[test]
fn who_is_in_a_named_session_is_nobody_once_another_takes_its_name_or_logs_out_of_it() {
    let mut desk = Desk::new();
    let conns: Vec<ConnId> = (0..3).map(|slot| desk.world.connect(0, slot)).collect();
    let expired = json!({"jsonrpc": "2.0", "method": "session", "params": {"type": "expired"}});
    desk.log_in(conns[0], "a", "session:x");
    desk.log_in(conns[2], "a", "session:y");
    desk.send(conns[0], "private/subscribe", json!({"channels": ["ticker.BTC-PERPETUAL.raw"]}));
    desk.world.texts(0, conns[0]);
    desk.log_in(conns[1], "a", "session:x");
    assert_eq!(desk.world.texts(0, conns[0]), std::slice::from_ref(&expired));
    assert_eq!(error(&desk.ask(conns[0], "private/list_api_keys", json!({}))), (13009, FIRST, ""));
    assert_eq!(desk.world.hubs[0].occupancy().subscriptions, 0);
    // The same connection may take it anew.
    desk.log_in(conns[1], "a", "session:x");
    assert!(desk.ask(conns[1], "private/list_api_keys", json!({})).get("result").is_some());
    let other = desk.world.connect(0, 3);
    let token = desk.log_in(conns[1], "a", "session:x")["refresh_token"].clone();
    let refreshed =
        desk.ask(other, "public/auth", json!({"grant_type": "refresh_token", "refresh_token": token}));
    assert!(refreshed.get("result").is_some(), "{refreshed}");
    desk.send(conns[1], "private/logout", json!({}));
    desk.judge();
    assert_eq!(desk.world.texts(0, other), [expired]);
    assert!(
        desk.ask(conns[2], "private/list_api_keys", json!({})).get("result").is_some(),
        "another session"
    );
    for conn in [conns[0], conns[1], conns[2], other] {
        desk.world.hubs[0].handle_closed(conn, desk.world.now);
    }
    desk.judge();
    assert_eq!(desk.authority.grant_count(), 1, "the named session that nobody ended");
    assert_eq!(desk.world.hubs[0].occupancy().session_members, 0);
}

#[test]
fn a_named_session_whose_tokens_reach_nobody_is_forgotten() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.send(conn, "public/auth", credentials("a", "session:x"));
    let Some(LoginQuestion::Judge { ticket, request }) = desk.world.hubs[0].poll_question() else { panic!() };
    desk.world.hubs[0].handle_closed(conn, desk.world.now);
    let Judged::Verdict(verdict) = desk.authority.judge(&request, desk.world.now, &[[1; 32]; 2]) else {
        panic!("no cluster")
    };
    assert_eq!(desk.authority.grant_count(), 1);
    desk.world.hubs[0].handle_verdict(ticket, verdict, desk.world.now);
    desk.judge();
    assert_eq!((desk.authority.grant_count(), desk.world.hubs[0].occupancy().total()), (0, 0));
}

#[test]
fn what_a_log_in_under_way_holds_is_counted_by_its_bytes() {
    let mut desk = Desk::new();
    let (brief, long) = (desk.world.connect(0, 0), desk.world.connect(0, 1));
    let signed = |data: &str| {
        json!({"grant_type": "client_signature", "client_id": "a", "timestamp": 1, "nonce": data, "data": data,
            "signature": "00".repeat(32)})
    };
    desk.send(brief, "public/auth", signed(""));
    let brief_bytes = desk.world.hubs[0].occupancy().login_bytes;
    desk.send(long, "public/auth", signed(&"x".repeat(4000)));
    assert_eq!(desk.world.hubs[0].occupancy().login_bytes, 2 * brief_bytes + 8000);
    assert!(desk.world.hubs[0].memory_bytes() > 2 * brief_bytes + 8000);
    assert_eq!(desk.judge(), 2);
    assert_eq!(desk.world.hubs[0].occupancy().login_bytes, 0);
}

#[test]
fn what_a_changed_identity_makes_to_look_through_is_weighed_as_work() {
    let mut desk = Desk::new();
    let conn = desk.world.connect(0, 0);
    desk.log_in(conn, "a", "expires:10");
    desk.send(
        conn,
        "private/subscribe",
        json!({"channels": ["quote.BTC-PERPETUAL", "ticker.BTC-PERPETUAL.raw"]}),
    );
    desk.world.now = desk.world.now.plus_ns(11 * UNIT as u64);
    let before_bytes = desk.world.hubs[0].work_bytes_total();
    desk.world.hubs[0].handle_timeout(desk.world.now);
    let weighed_bytes = desk.world.hubs[0].work_bytes_total() - before_bytes;
    assert!(weighed_bytes >= 2 * limits::INSTRUMENT_WORK_BYTES, "{weighed_bytes}");
}

#[test]
fn who_has_logged_in_is_answered_while_a_flood_waits_for_its_verdicts() {
    let mut desk = Desk::new();
    let good = desk.world.connect(0, 0);
    desk.log_in(good, "a", "");
    let flood: Vec<ConnId> = (1..1001).map(|slot| desk.world.connect(0, slot)).collect();
    for conn in &flood {
        desk.send(*conn, "public/auth", credentials("a", ""));
    }
    // No verdict is given.
    desk.send(good, "private/list_api_keys", json!({}));
    let texts = desk.world.texts(0, good);
    assert!(texts[0].get("result").is_some(), "{texts:?}");
    assert_eq!(desk.world.hubs[0].occupancy().logins, flood.len());
}

#[test]
fn a_bearer_token_logs_in_until_it_expires() {
    let mut desk = Desk::new();
    let expires_unix_ms = desk.world.now.unix_ns / 1_000_000 + 5000;
    desk.authority.replace(keyring([Credential { expires_unix_ms: Some(expires_unix_ms), ..key("a") }]));
    let conn = upgrade(&mut desk, 0, "Authorization: Bearer a.secret\r\n");
    desk.judge();
    assert!(desk.world.take(0, conn).starts_with(b"HTTP/1.1 101 "));
    for (seconds, told) in [(4, vec![]), (2, vec![json!("expired")])] {
        desk.world.now = desk.world.now.plus_ns(seconds * UNIT as u64);
        desk.world.hubs[0].handle_timeout(desk.world.now);
        let texts = desk.world.texts(0, conn);
        let types: Vec<Value> = texts.iter().map(|text| text["params"]["type"].clone()).collect();
        assert_eq!(types, told);
    }
    let late = upgrade(&mut desk, 1, "Authorization: Bearer a.secret\r\n");
    desk.judge();
    assert!(desk.world.take(0, late).starts_with(b"HTTP/1.1 401 "));
}
