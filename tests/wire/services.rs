//! Backends that are services, as clients see them: over HTTP/1.1, HTTP/2 and TLS, well and not so well.

mod arrays;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::client::{Client, fails};
use crate::control;
use crate::server::{Server, temporary_file};

/// A service in a thread, for as long as the test runs.
pub(crate) struct Service {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
}

/// What it does with a request: a status and a body, or nothing, which cuts the connection.
pub(crate) type Act = fn(head: &str, request: &Value) -> Option<(u16, String)>;

impl Service {
    pub(crate) fn start(act: Act) -> Service {
        Service::over(act, |stream| stream)
    }

    /// Speaks through what `wrap` makes of a connection.
    fn over<S: Read + Write>(act: Act, wrap: impl Fn(TcpStream) -> S + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Service {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            calls: Arc::default(),
        };
        let (connections, calls, wrap) =
            (Arc::clone(&service.connections), Arc::clone(&service.calls), Arc::new(wrap));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (calls, wrap) = (Arc::clone(&calls), Arc::clone(&wrap));
                connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || serve(wrap(stream.unwrap()), act, &calls));
            }
        });
        service
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/rpc", self.address)
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Answers requests of one connection.
fn serve(stream: impl Read + Write, act: Act, calls: &AtomicU32) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let request = serde_json::from_slice(&body).unwrap_or_default();
        if !body.is_empty() {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let Some((status, body)) = act(&head, &request) else { return };
        let answer = format!("HTTP/1.1 {status} said\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The methods of `t/`, by what they do.
fn usual(head: &str, request: &Value) -> Option<(u16, String)> {
    let id = &request["id"];
    let result =
        |result: Value| Some((200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()));
    match request["method"].as_str().unwrap_or_default() {
        "t/echo" => result(request["params"].clone()),
        "t/head" => result(json!(head)),
        "t/refuse" => {
            let error = json!({"code": -7, "message": "no"});
            Some((400, json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()))
        }
        "t/hang" => {
            thread::park_timeout(Duration::from_secs(60));
            None
        }
        "t/cut" => None,
        "t/garbage" => Some((200, "<html>".to_owned())),
        "t/away" => Some((503, String::new())),
        "t/long" => result(json!("x".repeat(10_000_000))),
        _ => Some((200, String::new())),
    }
}

fn broken(_: &str, _: &Value) -> Option<(u16, String)> {
    None
}

fn start(addresses: &[String], keys: &str) -> (Server, Client) {
    let toml = format!(
        "[control]\naddress = \"127.0.0.1:0\"\n[[backend]]\nname = \"t\"\nkind = \"http\"\naddresses = {addresses:?}\n\
         access = \"public\"\nhealth_interval_ms = 0\n{keys}"
    );
    let server = Server::start(&toml, "0");
    let client = Client::connect(server.address);
    (server, client)
}

/// What operators are told of the backend.
fn status(server: &Server) -> Value {
    let status = control::get(server, "/api/status").json();
    let list = status["backends"]["list"].as_array().unwrap().clone();
    list.into_iter().find(|one| one["name"] == "t").unwrap()
}

#[test]
fn calls_share_a_connection_that_is_kept() {
    let service = Service::start(usual);
    let (server, mut client) = start(&[service.url()], "authorization = \"Bearer tok\"\n");
    for number in 0..200 {
        assert_eq!(client.call("t/echo", &json!([number])), json!([number]));
    }
    let head = client.call("t/head", &json!([]));
    let head = head.as_str().unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with("post /rpc http/1.1\r\n") && head.contains("authorization: bearer tok\r\n"),
        "{head}"
    );
    let refused = client.request("t/refuse", &json!([]));
    assert_eq!(refused["error"]["code"], -7, "{refused}");
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
    crate::until("operators are told", || {
        let told = status(&server);
        told["calls"]["answered"] == 202 && told["reuse_percent"].as_f64().unwrap() > 99.0
    });
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn whatever_a_service_does_is_one_error_for_who_asked() {
    let service = Service::start(usual);
    let (server, mut client) = start(&[service.url()], "timeout_ms = 300\nbreaker_failures = 0\n");
    let mut other = Client::connect(server.address);
    for (method, why) in [
        ("t/hang", "not answered in time"),
        ("t/cut", "ended before an answer"),
        ("t/away", "ended before an answer"),
        ("t/garbage", "no JSON-RPC answer"),
        ("t/long", "longer than may be"),
    ] {
        fails(&mut client, method, why);
        assert_eq!(other.call("t/echo", &json!([method])), json!([method]));
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn only_what_may_be_sent_twice_is_sent_to_another_address() {
    let (bad, good) = (Service::start(broken), Service::start(usual));
    let (server, mut client) = start(
        &[bad.url(), good.url()],
        "idempotent = [\"t/echo\"]\nbreaker_failures = 0\nejection_percent = 0\n",
    );
    for number in 0..10 {
        assert_eq!(client.call("t/echo", &json!([number])), json!([number]));
    }
    let before = bad.calls();
    assert!(before >= 4, "{before}");
    let failed = (0..10).filter(|_| client.request("t/head", &json!([])).get("error").is_some()).count();
    assert!(failed >= 4, "{failed}");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn what_was_sent_to_one_address_and_not_to_the_next_was_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let bad = Service::start(broken);
    let (server, mut client) =
        start(&[bad.url(), url], "idempotent = [\"t/echo\"]\nbreaker_failures = 0\nejection_percent = 0\n");
    // Whichever of them is the first.
    for _ in 0..4 {
        fails(&mut client, "t/echo", "ended before an answer");
    }
    assert!(bad.calls() >= 4);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn an_address_that_fails_is_left_out_and_nobody_there_is_told_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let (server, mut client) =
        start(std::slice::from_ref(&url), "breaker_failures = 2\nbreaker_open_ms = 60000\n");
    for _ in 0..4 {
        fails(&mut client, "t/echo", "not available");
    }
    crate::until("its breaker is open", || status(&server)["members"][0]["state"] == "broken");
    assert_eq!(status(&server)["state"], "down");
}

#[test]
fn looks_find_who_is_well() {
    let service = Service::start(|head, _| {
        let status = if head.starts_with("GET /well ") { 200 } else { 500 };
        Some((status, String::new()))
    });
    let keys = |path: &str| format!("health_path = \"{path}\"\n");
    let interval = "[control]\naddress = \"127.0.0.1:0\"\n[[backend]]\nname = \"t\"\nkind = \"http\"\nhealth_interval_ms = 20\n";
    for (path, state) in [("/well", "up"), ("/ill", "ill")] {
        let toml = format!("{interval}addresses = [{:?}]\n{}", service.url(), keys(path));
        let server = Server::start(&toml, "0");
        crate::until(state, || {
            let members = &status(&server)["members"];
            members[0]["state"] == state
        });
    }
}

#[test]
fn a_service_over_tls_is_asked_if_its_certificate_is_trusted() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = Arc::new(tls.with_single_cert(vec![certified.cert.der().clone()], key).unwrap());
    let service = Service::over(usual, move |stream| {
        rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&tls)).unwrap(), stream)
    });
    let url = format!("https://localhost:{}/rpc", service.address.port());
    let file = temporary_file("pem", certified.cert.pem().as_bytes());
    // Over TLS both ends agree on what they speak, and this one speaks HTTP/1.1.
    for keys in ["", "http2 = true\n"] {
        let keys = format!("authorities = {file:?}\n{keys}");
        let (_server, mut client) = start(std::slice::from_ref(&url), &keys);
        assert_eq!(client.call("t/echo", &json!([1])), json!([1]));
    }
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = temporary_file("pem", other.cert.pem().as_bytes());
    let (_server, mut client) = start(&[url], &format!("authorities = {file:?}\n"));
    fails(&mut client, "t/echo", "not available");
}

#[test]
fn a_service_that_speaks_http_2_has_many_calls_on_one_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
                    use http_body_util::BodyExt;
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let request: Value = serde_json::from_slice(&body).unwrap();
                    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": request["params"]});
                    let body = http_body_util::Full::new(Bytes::from(answer.to_string()));
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    let (server, mut client) = start(&[format!("http://{address}/")], "http2 = true\n");
    assert_eq!(client.call("t/echo", &json!(["first"])), json!(["first"]));
    let ids: Vec<u64> = (0..50).map(|number| client.send("t/echo", &json!([number]))).collect();
    let mut replies: Vec<(u64, Value)> = ids
        .iter()
        .map(|_| client.message())
        .map(|reply| (reply["id"].as_u64().unwrap(), reply["result"].clone()))
        .collect();
    replies.sort_by_key(|(id, _)| *id);
    assert!(replies.iter().zip(0..50).all(|((_, result), number)| *result == json!([number])), "{replies:?}");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(server.stop().code, Some(0));
}
