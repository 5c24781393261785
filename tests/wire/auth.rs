//! Logging in to a running server: every grant and every refusal, keys made and revoked by the command line, replays across
//! shards, expiry, bearer tokens on the upgrade, ours and others', and a flood of bad signatures beside a good client.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bytes::{self, FIN, TEXT};
use crate::client::{Client, End};
use crate::server::{self, Server, temporary_file, tickring};

/// A file of keys made by the command line, which goes when it goes.
struct Keys {
    path: PathBuf,
}

/// What `keys add` prints.
struct Made {
    client_id: String,
    secret: String,
    bearer: Option<String>,
}

impl Keys {
    fn new() -> Keys {
        let path = temporary_file("keys", b"");
        fs::remove_file(&path).unwrap();
        Keys { path }
    }

    fn run(&self, command: &str, more: &[&str]) -> String {
        let output = self.output(command, more);
        String::from_utf8(output.stdout).unwrap()
    }

    fn output(&self, command: &str, more: &[&str]) -> Output {
        let output =
            tickring().args(["keys", command, "--file"]).arg(&self.path).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn add(&self, more: &[&str]) -> Made {
        let printed = self.run("add", more);
        let word = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim().to_owned())
        };
        Made {
            client_id: word("client_id").unwrap(),
            secret: word("client_secret").unwrap(),
            bearer: word("bearer"),
        }
    }

    /// `more` stands behind the file's name in the table `[auth]`.
    fn server(&self, cores: &str, more: &str) -> Server {
        Server::start(&format!("[auth]\nkeys = {:?}\n{more}\n", self.path), cores)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[expect(clippy::disallowed_methods, reason = "what a client signs has its own clock's time in it")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// What may be signed as soon as a server runs: as far ahead as may be, which is later than what one before it may have
/// taken once the clock has gone on since its start.
fn signing_ms() -> u64 {
    let called_ms = now_ms();
    while now_ms() == called_ms {
        std::hint::spin_loop();
    }
    now_ms() + 5_000
}

fn by_secret(client_id: &str, secret: &str) -> Value {
    json!({"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret})
}

fn by_signature(client_id: &str, secret: &str, timestamp: u64, nonce: &str) -> Value {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{timestamp}\n{nonce}\n").as_bytes());
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"grant_type": "client_signature", "client_id": client_id, "timestamp": timestamp, "nonce": nonce,
        "data": "", "signature": signature})
}

fn by_refresh(token: &Value) -> Value {
    json!({"grant_type": "refresh_token", "refresh_token": token})
}

fn code(reply: &Value) -> i64 {
    reply["error"]["code"].as_i64().unwrap_or_else(|| panic!("{reply}"))
}

fn reason(reply: &Value) -> &str {
    reply["error"]["data"]["reason"].as_str().unwrap_or_default()
}

fn is_logged_in(client: &mut Client) -> bool {
    let reply = client.request("private/list_api_keys", &json!({}));
    if reply.get("result").is_some() {
        return true;
    }
    assert_eq!(code(&reply), 13009);
    false
}

/// Whether a thread is batch work of niceness 10. Of the fields of proc(5)'s `stat` behind the name, `nice` is the 17th and
/// `policy` the 39th, of which 3 is SCHED_BATCH.
fn is_low(stat: &str) -> bool {
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields[16], fields[38]) == ("10", "3")
}

/// The head of the answer to an upgrade with this field, and the connection.
fn upgrade_with(address: SocketAddr, field: &str) -> (std::net::TcpStream, String) {
    let mut stream = bytes::connect(address);
    let request = bytes::request("GET /ws HTTP/1.1", &["Sec-WebSocket-Version: 13", field]);
    stream.write_all(&request).unwrap();
    let head = bytes::read_head(&mut stream);
    (stream, head)
}

#[test]
fn each_grant_logs_in_and_its_tokens_renew_it() {
    let keys = Keys::new();
    let made = keys.add(&["--account", "desk"]);
    let server = keys.server("0,1", "");
    let mut client = Client::connect(server.address);
    assert!(!is_logged_in(&mut client));
    let granted = client.call("public/auth", &by_secret(&made.client_id, &made.secret));
    assert_eq!(granted["token_type"], "bearer");
    assert_eq!(granted["scope"], "account:read trade:read_write connection");
    assert_eq!(granted["expires_in"], 31_536_000);
    assert!(is_logged_in(&mut client));
    let renewed = client.call("public/auth", &by_refresh(&granted["refresh_token"]));
    assert_ne!(renewed["access_token"], granted["access_token"]);
    let stale = client.request("public/auth", &by_refresh(&granted["refresh_token"]));
    assert_eq!((code(&stale), reason(&stale)), (13009, "invalid_token"));
    client.close();
    let mut client = Client::connect(server.address);
    let lost = client.request("public/auth", &by_refresh(&renewed["refresh_token"]));
    assert_eq!(code(&lost), 13009, "its tokens ended with the connection");
    let mut signed = by_signature(&made.client_id, &made.secret, signing_ms(), "n1");
    signed["state"] = json!("s");
    signed["scope"] = json!("trade:read session:desk");
    let granted = client.call("public/auth", &signed);
    assert_eq!((&granted["state"], &granted["sid"]), (&json!("s"), &json!("desk")));
    assert_eq!(granted["scope"], "account:read trade:read session:desk");
    client.close();
    // A named session goes on, whichever shard accepts. Which one does is the kernel's choice: none of 64 is left out.
    for _ in 0..64 {
        let field = format!("Authorization: Bearer {}", granted["access_token"].as_str().unwrap());
        let (_, head) = upgrade_with(server.address, &field);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
    let mut client = Client::connect(server.address);
    client.call("public/auth", &by_refresh(&granted["refresh_token"]));
    assert!(is_logged_in(&mut client));
    client.close();
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 1), "both were tried");
}

#[test]
fn each_refusal_has_its_code_and_reason() {
    let keys = Keys::new();
    let made = keys.add(&["--scope", "trade:read", "--subscribe", "ticker.*", "--publish", "desk.*"]);
    let bearer = keys.add(&["--bearer"]);
    let server = keys.server("0", "[topics]\npublish = false\n");
    let (id, secret) = (&*made.client_id, &*made.secret);
    let mut client = Client::connect(server.address);
    let old = by_signature(id, secret, now_ms() - 120_000, "n");
    let replayed = by_signature(id, secret, signing_ms(), "n");
    let mut forged = by_signature(id, secret, signing_ms(), "n2");
    forged["nonce"] = json!("n3");
    client.call("public/auth", &replayed);
    for (params, expected) in [
        (by_secret(id, "guess"), (13004, "")),
        (by_secret("nobody", secret), (13004, "")),
        (forged, (13004, "")),
        (by_signature(&bearer.client_id, &bearer.secret, signing_ms(), "n"), (13004, "")),
        (old, (13004, "too far from the server's time")),
        (replayed, (13004, "used before")),
        (by_refresh(&json!("r.0.1.00")), (13009, "invalid_token")),
        (
            json!({"grant_type": "password"}),
            (-32602, "must be one of client_credentials, client_signature, refresh_token"),
        ),
    ] {
        let reply = client.request("public/auth", &params);
        assert_eq!((code(&reply), reason(&reply)), expected, "{params}");
    }
    let reply = client.request("private/list_api_keys", &json!({}));
    assert_eq!((code(&reply), reason(&reply)), (13021, "needs scope account:read"));
    let publish = |topic: &str| json!({"topic": topic, "data": 1});
    assert!(client.request("topic/publish", &publish("desk.1")).get("result").is_some());
    let reply = client.request("topic/publish", &publish("elsewhere"));
    assert_eq!((code(&reply), reason(&reply)), (13021, "not for this key"));
    let mut stranger = Client::connect(server.address);
    let reply = stranger.request("topic/publish", &publish("desk.1"));
    assert_eq!((code(&reply), reason(&reply)), (13009, "log in first: public/auth"));
    for method in ["private/subscribe", "private/unsubscribe", "private/unsubscribe_all", "private/logout"] {
        assert_eq!(code(&stranger.request(method, &json!({"channels": ["quote.*"]}))), 13009, "{method}");
    }
    let ended = server.stop();
    assert_eq!((ended.incidents("login_refused"), ended.incidents("token_refused")), (6, 1));
}

#[test]
fn a_private_subscribe_takes_public_channels_and_logout_ends_the_connection() {
    let server = Server::start("", "0");
    let mut client = Client::connect(server.address);
    client.call("public/auth", &by_secret("demo", "demo-secret"));
    let channels = json!({"channels": ["quote.BTC-PERPETUAL"]});
    assert_eq!(client.call("private/subscribe", &channels), channels["channels"]);
    client.note();
    assert_eq!(client.call("private/unsubscribe", &channels), channels["channels"]);
    assert_eq!(client.call("private/unsubscribe_all", &json!({})), "ok");
    client.send("private/logout", &json!({}));
    let mut texts = Vec::new();
    let end = client.read_to_end(|text| texts.push(text.to_owned()));
    assert!(texts.last().unwrap().contains("\"result\":\"ok\""), "{texts:?}");
    assert_eq!(end, End::Close { code: 1000, reason: "logged out".to_owned() });
    server.stop().assert_clean();
}

#[test]
fn a_signature_is_taken_once_whichever_shard_it_comes_to() {
    let keys = Keys::new();
    let made = keys.add(&[]);
    let server = keys.server("0,1", "failures_per_minute_max = 0");
    let signed = by_signature(&made.client_id, &made.secret, signing_ms(), "once");
    Client::connect(server.address).call("public/auth", &signed);
    // Which shard accepts is the kernel's choice: none of 64 is left out.
    for _ in 0..64 {
        let reply = Client::connect(server.address).request("public/auth", &signed);
        assert_eq!((code(&reply), reason(&reply)), (13004, "used before"));
    }
    let ended = server.stop();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0), "both were tried");
}

#[test]
fn keys_that_cannot_be_read_leave_those_that_hold_and_the_demo_key_as_it_was() {
    let login = |server: &Server, client_id: &str, secret: &str| {
        let login =
            json!({"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret});
        Client::connect(server.address).request("public/auth", &login).get("error").is_none()
    };
    let reload = |server: &mut Server, toml: &str, told: &str| {
        server.write_config(toml);
        server.signal(Signal::SIGHUP);
        server.wait_for_log(told)
    };
    let keys = Keys::new();
    let key = keys.add(&["--account", "desk"]);
    let other = "[auth]\nkeys = \"/nonexistent/keys.toml\"\n[limits]\nheaders_max = 20\n";
    let mut server = keys.server("0", "");
    reload(&mut server, other, "the keys stay as they were: ");
    // The rest of the file holds.
    let told = reload(&mut server, other, "from now on: ");
    assert!(told.ends_with("from now on: limits.headers_max 64 → 20"), "{told}");
    server.wait_for_log("the keys stay as they were: ");
    server.wait_for_log("the configuration is as it was");
    assert!(login(&server, &key.client_id, &key.secret) && !login(&server, "demo", "demo-secret"));
    // Without any file it is another matter.
    reload(&mut server, "", "from now on: ");
    crate::until("the demo key holds", || login(&server, "demo", "demo-secret"));
    assert!(!login(&server, &key.client_id, &key.secret));
    assert_eq!(server.stop().code, Some(0));

    let mut server = Server::start("[auth]\ndemo_key = false\n", "0");
    reload(&mut server, &format!("{other}[auth.x]\n"), "the configuration stays as it was");
    reload(&mut server, &other.replace("[limits]", "demo_key = true\n[limits]"), "from now on: ");
    assert!(!server.last_line().contains("auth."), "{}", server.last_line());
    assert!(!login(&server, "demo", "demo-secret"));
    let told = reload(&mut server, "[auth]\ndemo_key = true\n", "from now on: ");
    assert!(told.contains("auth.demo_key false → true"), "{told}");
    crate::until("the demo key holds", || login(&server, "demo", "demo-secret"));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_revoked_key_closes_its_sessions_at_sighup_and_new_ones_are_taken() {
    let keys = Keys::new();
    let (gone, kept) = (keys.add(&["--client-id", "gone"]), keys.add(&["--client-id", "kept"]));
    let mut server = keys.server("0,1", "");
    let mut revoked: Vec<Client> = (0..4).map(|_| Client::connect(server.address)).collect();
    for client in &mut revoked {
        client.call("public/auth", &by_secret("gone", &gone.secret));
    }
    let mut other = Client::connect(server.address);
    other.call("public/auth", &by_secret("kept", &kept.secret));
    assert!(server.threads("verify").iter().all(|stat| is_low(stat)), "who judges gives way to shards");
    assert!(keys.run("list", &[]).contains("gone\taccount main"));
    let told = String::from_utf8(keys.output("revoke", &["gone"]).stderr).unwrap();
    assert!(told.contains("until SIGHUP") && told.contains("keys hold from now on"), "{told}");
    assert!(!keys.run("list", &[]).contains("gone\t"));
    let made = keys.add(&["--client-id", "new", "--days", "1"]);
    assert!(is_logged_in(&mut revoked[0]), "nothing has changed yet");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("2 keys hold from now on");
    for mut client in revoked {
        let end = client.read_to_end(|text| panic!("{text}"));
        assert_eq!(end, End::Close { code: 1008, reason: "key revoked or changed".to_owned() });
    }
    assert!(is_logged_in(&mut other));
    let mut client = Client::connect(server.address);
    assert_eq!(code(&client.request("public/auth", &by_secret("gone", &gone.secret))), 13004);
    client.call("public/auth", &by_secret("new", &made.secret));
    // A file that is no good changes nothing.
    fs::write(&keys.path, "[[key]]\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("the keys stay as they were");
    assert!(is_logged_in(&mut other));
    let ended = server.stop();
    assert_eq!(ended.incidents("key_revoked"), 4);
}

#[test]
fn a_log_in_that_expires_leaves_the_connection_as_it_was_before() {
    let keys = Keys::new();
    let made = keys.add(&[]);
    let server = keys.server("0", "");
    let mut client = Client::connect(server.address);
    let mut params = by_secret(&made.client_id, &made.secret);
    params["scope"] = json!("expires:1");
    let granted = client.call("public/auth", &params);
    assert_eq!(granted["expires_in"], 1);
    let told = client.message();
    assert_eq!((&told["method"], &told["params"]["type"]), (&json!("session"), &json!("expired")));
    assert!(!is_logged_in(&mut client));
    let over = client.request("public/auth", &by_refresh(&granted["refresh_token"]));
    assert_eq!((code(&over), reason(&over)), (13009, "token has expired"));
    client.call("public/auth", &by_secret(&made.client_id, &made.secret));
    assert!(is_logged_in(&mut client));
    client.close();
    server.stop().assert_clean();
}

#[test]
fn a_file_of_secrets_that_others_may_read_keeps_the_server_from_starting() {
    let keys = Keys::new();
    keys.add(&[]);
    fs::set_permissions(&keys.path, fs::Permissions::from_mode(0o644)).unwrap();
    let config = temporary_file("toml", format!("[auth]\nkeys = {:?}\n", keys.path).as_bytes());
    let serve = |folder: &str| {
        let mut command = tickring();
        command.env("CREDENTIALS_DIRECTORY", folder);
        command
            .args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0", "--config"])
            .arg(&config);
        command
    };
    let ended = server::run(&mut serve(""));
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.log.iter().any(|line| line.contains("(mode 644)") && line.contains("chmod 600")),
        "{ended:?}"
    );
    // What systemd hands a service is for that service alone, whatever the mode says.
    let mut server = Server::launch(serve(env!("CARGO_TARGET_TMPDIR")));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("systemd copied it when the service started");
    server.wait_for_log("1 keys hold from now on");
    server.stop().assert_clean();
    fs::remove_file(config).unwrap();
}

#[test]
fn a_bearer_key_on_the_upgrade_logs_in_and_a_wrong_one_is_told_401() {
    let keys = Keys::new();
    let bearer = keys.add(&["--bearer"]).bearer.unwrap();
    let server = keys.server("0", "");
    let (mut stream, head) = upgrade_with(server.address, &format!("Authorization: Bearer {bearer}"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ask = br#"{"jsonrpc":"2.0","id":1,"method":"private/list_api_keys"}"#;
    stream.write_all(&bytes::frame(FIN | TEXT, ask)).unwrap();
    let answer = bytes::read_frame(&mut stream);
    assert!(String::from_utf8_lossy(&answer.payload).contains("\"result\":[{"));
    for field in [format!("Authorization: Bearer {bearer}0"), "Authorization: Basic YTpi".to_owned()] {
        let (mut stream, head) = upgrade_with(server.address, &field);
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(head.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{head}");
        assert!(!bytes::read_to_end(&mut stream).is_empty());
    }
    let ended = server.stop();
    assert_eq!(ended.incidents("bearer_refused"), 2);
}

/// Whoever signs tokens by EdDSA, and the table of it in a file of keys.
struct Issuer {
    pair: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Issuer {
        Issuer { pair: Ed25519KeyPair::generate().unwrap() }
    }

    fn table(&self) -> String {
        let key = BASE64.encode(self.pair.public_key().as_ref());
        format!(
            "[[issuer]]\niss = \"login\"\naud = \"tickring\"\nalg = \"EdDSA\"\naccounts = [\"desk\"]\n\
             scopes = [\"account:read\"]\ndefault_scopes = [\"account:read\"]\n\
             public_key = \"\"\"\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{key}\n-----END PUBLIC KEY-----\n\"\"\"\n"
        )
    }

    /// A header field with a token that is good for so long.
    fn field(&self, seconds: u64) -> String {
        let claims =
            json!({"iss": "login", "aud": "tickring", "sub": "desk", "exp": now_ms() / 1000 + seconds});
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#), part(&claims.to_string()));
        let signature = BASE64URL_NOPAD.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("Authorization: Bearer {signed}.{signature}")
    }
}

#[test]
fn a_token_of_a_trusted_issuer_logs_in_until_its_issuer_is_gone() {
    let (issuer, stranger, keys) = (Issuer::new(), Issuer::new(), Keys::new());
    fs::write(&keys.path, issuer.table()).unwrap();
    fs::set_permissions(&keys.path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut server = keys.server("0", "");
    keys.add(&["--client-id", "beside"]);
    let listed = keys.run("list", &[]);
    assert!(
        listed.contains("beside\taccount main") && listed.contains("issuer login\taudience tickring\tEdDSA")
    );
    let (mut stream, head) = upgrade_with(server.address, &issuer.field(600));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ask = br#"{"jsonrpc":"2.0","id":1,"method":"private/list_api_keys"}"#;
    stream.write_all(&bytes::frame(FIN | TEXT, ask)).unwrap();
    let answer = bytes::read_frame(&mut stream);
    assert!(String::from_utf8_lossy(&answer.payload).contains("\"result\":[]"), "its account has no keys");
    for field in [stranger.field(600), issuer.field(0), format!("{}x", issuer.field(600))] {
        let (_, head) = upgrade_with(server.address, &field);
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    }
    fs::write(&keys.path, stranger.table()).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("keys hold from now on");
    let closed = bytes::read_frame(&mut stream);
    assert_eq!(closed.payload[..2], 1008_u16.to_be_bytes());
    let (_, head) = upgrade_with(server.address, &stranger.field(600));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ended = server.stop();
    assert_eq!((ended.incidents("bearer_refused"), ended.incidents("key_revoked")), (3, 1));
}

#[test]
fn the_demo_key_is_told_of_and_taken_on_loopback_alone() {
    let mut server = Server::start("", "0");
    server.wait_for_log("everybody may log in as client_id \"demo\"");
    Client::connect(server.address).call("public/auth", &by_secret("demo", "demo-secret"));
    server.stop();
    let mut command = tickring();
    command.args(["serve", "--control", "off", "--listen", "0.0.0.0:0", "--cores", "0"]);
    let server = Server::launch(command);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.address.port()));
    let reply = Client::connect(address).request("public/auth", &by_secret("demo", "demo-secret"));
    assert_eq!((code(&reply), reason(&reply)), (13004, "this key is taken on loopback listeners only"));
    server.stop();
    let server = Server::start("[auth]\ndemo_key = false\n", "0");
    let reply = Client::connect(server.address).request("public/auth", &by_secret("demo", "demo-secret"));
    assert_eq!((code(&reply), reason(&reply)), (13004, ""));
    server.stop();
}

#[test]
fn a_flood_of_bad_signatures_does_not_stop_others() {
    let keys = Keys::new();
    let made = keys.add(&[]);
    let server = keys.server("0", "logins_per_minute_max = 0\nfailures_per_minute_max = 0\n");
    let mut good = Client::connect(server.address);
    good.call("public/auth", &by_secret(&made.client_id, &made.secret));
    let mut bad: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
    for number in 0..100 {
        for client in &mut bad {
            let nonce = number.to_string();
            client.send("public/auth", &by_signature(&made.client_id, "guess", now_ms(), &nonce));
        }
        assert!(is_logged_in(&mut good));
    }
    for client in &mut bad {
        for _ in 0..100 {
            assert_eq!(code(&client.message()), 13004);
        }
    }
    let ended = server.stop();
    assert_eq!(ended.incidents("login_refused"), 1000);
    assert!(ended.lines_about("login_refused").len() < 100, "the log is not flooded");
}

#[test]
fn an_address_that_fails_too_often_is_not_looked_at_and_a_connection_tries_only_so_often() {
    let keys = Keys::new();
    let made = keys.add(&[]);
    let server = keys.server("0", "logins_per_minute_max = 4\nfailures_per_minute_max = 1\n");
    let bad = Ipv4Addr::new(127, 0, 0, 66);
    let mut client = Client::over(bytes::connect_from(bad, server.address));
    let (wrong, right) = (by_secret(&made.client_id, "guess"), by_secret(&made.client_id, &made.secret));
    let mut told = Vec::new();
    for params in [&wrong, &wrong, &right, &right, &right] {
        let reply = client.request("public/auth", params);
        told.push((code(&reply), reason(&reply).to_owned()));
    }
    let address = (10028, "too many failed log-ins from this address".to_owned());
    let connection = (10028, "too many log-ins on this connection".to_owned());
    assert_eq!(told, [(13004, String::new()), address.clone(), address.clone(), address, connection]);
    let mut stream = bytes::connect_from(bad, server.address);
    let field = format!("Authorization: Bearer {}.{}", made.client_id, made.secret);
    stream.write_all(&bytes::request("GET /ws HTTP/1.1", &["Sec-WebSocket-Version: 13", &field])).unwrap();
    let head = bytes::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nRetry-After: "), "{head}");
    Client::connect(server.address).call("public/auth", &right);
    let ended = server.stop();
    assert_eq!((ended.incidents("login_rate"), ended.incidents("bearer_rate")), (4, 1));
}

#[test]
fn a_named_session_goes_on_after_a_restart_and_ends_with_its_key() {
    let keys = Keys::new();
    let made = keys.add(&["--scope", "account:read"]);
    let file = temporary_file("sessions", b"");
    fs::remove_file(&file).unwrap();
    let config = format!("sessions = {file:?}");
    let server = keys.server("0", &config);
    let named = json!({"grant_type": "client_credentials", "client_id": made.client_id,
        "client_secret": made.secret, "scope": "session:desk"});
    let tokens = Client::connect(server.address).call("public/auth", &named);
    server.stop().assert_clean();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let server = keys.server("0,1", &config);
    let mut client = Client::connect(server.address);
    let renewed = client.call("public/auth", &by_refresh(&tokens["refresh_token"]));
    assert_eq!(renewed["sid"], tokens["sid"]);
    client.call("private/list_api_keys", &json!({}));
    // Not told to stop: what is in the file by then is what was written since the change.
    crate::until("the file has the newer tokens", || fs::read_to_string(&file).unwrap().lines().count() == 2);
    server.stop().assert_clean();

    keys.run("revoke", &[&made.client_id]);
    let other = keys.add(&[]);
    let server = keys.server("0", &config);
    let mut client = Client::connect(server.address);
    let reply = client.request("public/auth", &by_refresh(&renewed["refresh_token"]));
    assert_eq!(code(&reply), 13009, "{reply}");
    client.call("public/auth", &by_secret(&other.client_id, &other.secret));
    server.stop().assert_clean();
    fs::write(&file, "tickring sessions 1\nhalf a li").unwrap();
    let server = keys.server("0", &config);
    Client::connect(server.address).call("public/auth", &by_secret(&other.client_id, &other.secret));
    let ended = server.stop();
    assert!(
        ended.log.iter().any(|line| line.contains("line 1 is damaged: named sessions begin anew")),
        "{:?}",
        ended.log
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    let text = format!("[auth]\nsessions = {file:?}\n");
    let config = temporary_file("toml", text.as_bytes());
    let mut serve = tickring();
    let refused = serve
        .args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("is not its owner's alone (mode 620)"), "{told}");
    fs::remove_file(&config).unwrap();
    fs::remove_file(&file).unwrap();
}
