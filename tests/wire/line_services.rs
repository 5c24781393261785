//! Backends of kind `tcp`, as clients see them: services that speak lines, well and not so well.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{Backlog, listen};
use serde_json::{Value, json};

use crate::client::{Client, fails, reason};
use crate::server::{Server, temporary_file};

/// A service in a thread, for as long as the test runs.
struct Service {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    /// Requests without an id.
    notes: Receiver<Value>,
}

impl Service {
    fn start() -> Service {
        Service::at(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn at(listener: TcpListener) -> Service {
        let (note, notes) = mpsc::channel();
        let service = Service { address: listener.local_addr().unwrap(), connections: Arc::default(), notes };
        let connections = Arc::clone(&service.connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let note = note.clone();
                connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || serve(stream.unwrap(), &note));
            }
        });
        service
    }
}

/// Of all services: each answer is another.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Answers what comes on one link, as the methods of `t/` say.
fn serve(stream: TcpStream, note: &Sender<Value>) {
    let mut out = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let Some(id) = request["id"].as_u64() else {
            let _ = note.send(request);
            continue;
        };
        let answer = |result: &Value| format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let text = match request["method"].as_str().unwrap() {
            "t/echo" => answer(&request["params"]),
            "t/whole" => answer(&request),
            "t/where" => answer(&json!(out.local_addr().unwrap().port())),
            "t/refuse" => format!("{}\n", json!({"id": id, "error": {"code": -7, "message": "no"}})),
            "t/hang" => continue,
            "t/twice" => [answer(&json!(1)), answer(&json!(2))].concat(),
            "t/garbage" => format!("{{\"id\":{id},\"result\":<html>\n"),
            "t/nothing" => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}}}\n"),
            "t/long" => answer(&json!("x".repeat(10_000_000))),
            "t/count" => answer(&json!(COUNT.fetch_add(1, Ordering::Relaxed))),
            "t/forget" => {
                let note =
                    json!({"jsonrpc": "2.0", "method": "$/invalidateCache", "params": request["params"]});
                format!("{note}\n{}", answer(&json!(true)))
            }
            "t/late" => {
                let (text, mut out) = (answer(&json!("late")), out.try_clone().unwrap());
                thread::spawn(move || {
                    thread::park_timeout(Duration::from_millis(600));
                    let _ = out.write_all(text.as_bytes());
                });
                continue;
            }
            "t/crash" => {
                let _ = out.write_all(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"resu").as_bytes());
                let _ = out.shutdown(Shutdown::Both);
                return;
            }
            other => panic!("nobody calls {other}"),
        };
        if out.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn config(addresses: &[SocketAddr], keys: &str) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "[[backend]]\nname = \"t\"\nkind = \"tcp\"\naddresses = {addresses:?}\naccess = \"public\"\n\
         breaker_failures = 0\n{keys}"
    )
}

fn start(addresses: &[SocketAddr], keys: &str) -> (Server, Client) {
    let server = Server::start(&config(addresses, keys), "0");
    let client = Client::connect(server.address);
    (server, client)
}

/// A server for which `file` is `/etc/hosts`, in a mount namespace of its own; `None` where such may not be made.
fn start_with_hosts(file: &Path, toml: &str) -> Option<Server> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(file);
        command
    };
    let mount = "mount --bind \"$0\" /etc/hosts";
    if !unshare(mount).output().is_ok_and(|ended| ended.status.success()) {
        return None;
    }
    let config = temporary_file("toml", toml.as_bytes());
    let mut command = unshare(&format!("{mount} && exec \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_tickring")).args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--control",
        "off",
    ]);
    command.args(["--cores", "0", "--config"]).arg(config);
    Some(Server::launch(command))
}

#[test]
fn a_service_that_moves_is_found_at_what_its_name_means_then() {
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let there = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let hosts = temporary_file("hosts", b"127.0.0.1 moving.test\n");
    let toml = format!(
        "[[backend]]\nname = \"t\"\nkind = \"tcp\"\naddresses = [\"moving.test:{port}\"]\naccess = \"public\"\n"
    );
    let Some(mut server) = start_with_hosts(&hosts, &toml) else {
        println!("not tested: no mount namespace may be made here");
        return;
    };
    let first = thread::spawn(move || {
        let (stream, _) = here.accept().unwrap();
        serve_one(stream)
    });
    let mut client = Client::connect(server.address);
    assert_eq!(client.call("t/where", &json!([])), "127.0.0.1");
    first.join().unwrap();
    fs::write(&hosts, "127.0.0.2 moving.test\n").unwrap();
    thread::spawn(move || there.incoming().for_each(|stream| serve_one(stream.unwrap())));
    server.wait_for_log("moving.test");
    crate::until("it is found", || client.request("t/where", &json!([]))["result"] == "127.0.0.2");
}

/// Answers one call by the address that it came to, and closes.
fn serve_one(stream: TcpStream) {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    let request: Value = serde_json::from_str(&line).unwrap();
    let here = stream.local_addr().unwrap().ip();
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": here.to_string()});
    let _ = (&stream).write_all(format!("{answer}\n").as_bytes());
}

#[test]
fn calls_of_many_clients_share_one_link() {
    let service = Service::start();
    let (server, _) = start(&[service.address], "");
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(server.address)).collect();
    for number in 0..10 {
        for client in &mut clients {
            assert_eq!(client.call("t/echo", &json!([number])), json!([number]));
        }
    }
    let refused = clients[0].request("t/refuse", &json!([]));
    assert_eq!(refused["error"]["code"], -7, "{refused}");
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn calls_under_way_at_once_are_answered_each_to_who_asked() {
    let service = Service::start();
    let (server, mut client) = start(&[service.address], "");
    let ids: Vec<u64> = (0..60).map(|number| client.send("t/echo", &json!([number]))).collect();
    let mut answered = Vec::new();
    for _ in &ids {
        let message = client.message();
        answered.push((message["id"].as_u64().unwrap(), message["result"][0].as_u64().unwrap()));
    }
    answered.sort_unstable();
    let expected: Vec<(u64, u64)> = ids.into_iter().zip(0..).collect();
    assert_eq!(answered, expected);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_request_reaches_the_service_as_it_was_and_a_notification_is_one() {
    let service = Service::start();
    let (server, mut client) = start(&[service.address], "");
    let whole = client.call("t/whole", &json!({"a": ["\n", 1.50]}));
    assert_eq!((&whole["jsonrpc"], &whole["method"]), (&json!("2.0"), &json!("t/whole")));
    assert_eq!(whole["params"], json!({"a": ["\n", 1.5]}));
    client.send_text(r#"{"jsonrpc":"2.0","method":"t/note","params":[7]}"#);
    let note = service.notes.recv_timeout(crate::DEADLINE).unwrap();
    assert_eq!(note, json!({"jsonrpc": "2.0", "method": "t/note", "params": [7]}));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn whatever_a_service_does_is_one_error_for_who_asked_and_nothing_for_others() {
    let service = Service::start();
    let (server, mut client) = start(&[service.address], "timeout_ms = 300\npool = 2\n");
    let mut other = Client::connect(server.address);
    for (method, why) in [
        ("t/hang", "not answered in time"),
        ("t/garbage", "no JSON-RPC answer"),
        ("t/nothing", "no JSON-RPC answer"),
        ("t/long", "longer than may be"),
        ("t/late", "not answered in time"),
        ("t/crash", "ended before an answer"),
    ] {
        fails(&mut client, method, why);
        assert_eq!(other.call("t/echo", &json!([method])), json!([method]));
    }
    assert_eq!(client.call("t/twice", &json!([])), json!(1));
    // What comes late or twice answers nothing else.
    for number in 0..100 {
        assert_eq!(client.call("t/echo", &json!([number])), json!([number]));
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_service_that_dies_loses_what_was_under_way_and_is_found_again() {
    let service = Service::start();
    let (server, mut client) = start(&[service.address], "");
    let mut other = Client::connect(server.address);
    for _ in 0..20 {
        client.send("t/hang", &json!([]));
    }
    // They are under way when this is answered.
    client.send("t/echo", &json!([0]));
    assert_eq!(client.message()["result"], json!([0]));
    fails(&mut other, "t/crash", "ended before an answer");
    for _ in 0..20 {
        let message = client.message();
        assert!(reason(&message).contains("ended before an answer"), "{message}");
    }
    crate::until("there is another link", || client.request("t/echo", &json!([1]))["result"] == json!([1]));
    assert_eq!(service.connections.load(Ordering::Relaxed), 2);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_service_that_is_not_there_is_an_error_at_once_and_found_when_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (server, mut client) = start(&[address], "");
    fails(&mut client, "t/echo", "not sent: the backend is not available");
    let _service = Service::at(TcpListener::bind(address).unwrap());
    crate::until("it is found", || client.request("t/echo", &json!([1]))["result"] == json!([1]));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn what_may_be_sent_twice_goes_to_another_address_when_one_dies() {
    let services = [Service::start(), Service::start()];
    let addresses = [services[0].address, services[1].address];
    let (server, mut client) = start(&addresses, "idempotent = [\"t/echo\"]\n");
    let mut other = Client::connect(server.address);
    for _ in 0..5 {
        crate::until("both addresses are up", || {
            let [one, other] = [(); 2].map(|()| client.request("t/where", &json!([])));
            one["result"].is_number() && other["result"].is_number() && one["result"] != other["result"]
        });
        // Beside the call that has its service end the link.
        let id = other.send("t/crash", &json!([]));
        for number in 0..20 {
            assert_eq!(client.call("t/echo", &json!([number])), json!([number]));
        }
        let reply = other.message();
        assert_eq!((&reply["id"], reason(&reply).is_empty()), (&json!(id), false));
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_reload_moves_to_another_address_and_what_was_asked_before_is_still_answered() {
    let (before, after) = (Service::start(), Service::start());
    let (mut server, mut client) = start(&[before.address], "timeout_ms = 20000\n");
    client.send("t/late", &json!([]));
    // It is under way when this is answered.
    client.send("t/echo", &json!([1]));
    assert_eq!(client.message()["result"], json!([1]));
    server.write_config(&config(&[after.address], "timeout_ms = 20000\n"));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("from now on: ");
    let mut other = Client::connect(server.address);
    crate::until("the other service is asked", || {
        other.call("t/echo", &json!([2]));
        after.connections.load(Ordering::Relaxed) > 0
    });
    assert_eq!(client.message()["result"], json!("late"));
    server.write_config("");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("from now on: ");
    crate::until("the backend is gone", || {
        other.request("t/echo", &json!([3]))["error"]["code"] == json!(-32_601)
    });
    assert_eq!(server.stop().code, Some(0));
}

/// An address that nobody answers from: its backlog is full, by these clients.
fn unanswered() -> (SocketAddr, TcpListener, [TcpStream; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (address, listener, std::array::from_fn(|_| TcpStream::connect(address).unwrap()))
}

#[test]
fn a_backend_that_nobody_answers_for_holds_up_no_other() {
    let (service, dead) = (Service::start(), [unanswered(), unanswered()]);
    let addresses: Vec<String> = dead.iter().map(|(address, ..)| address.to_string()).collect();
    let dead = format!("[[backend]]\nname = \"d\"\nkind = \"tcp\"\naddresses = {addresses:?}\npool = 16\n");
    let server = Server::start(&(dead + &config(&[service.address], "")), "0");
    assert_eq!(Client::connect(server.address).call("t/echo", &json!([1])), json!([1]));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_service_is_told_of_each_call_that_is_cancelled_whatever_is_called_in_its_place() {
    let service = Service::start();
    let (server, mut client) = start(&[service.address], "");
    let hung = client.send("t/hang", &json!([]));
    // It is under way when this is answered.
    client.send("t/echo", &json!([1]));
    assert_eq!(client.message()["result"], json!([1]));
    let cancel = |id: &Value| json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}});
    // One message, so that both are of one turn.
    let next = json!({"jsonrpc": "2.0", "id": "next", "method": "t/hang", "params": []});
    client.send_text(&json!([cancel(&json!(hung)), next]).to_string());
    let first = service.notes.recv_timeout(crate::DEADLINE).unwrap();
    client.send_text(&cancel(&json!("next")).to_string());
    let second = service.notes.recv_timeout(crate::DEADLINE).unwrap();
    assert_eq!([&first["method"], &second["method"]], ["$/cancelRequest"; 2]);
    assert!(first["params"]["id"].is_u64() && second["params"]["id"].is_u64(), "{first} {second}");
    assert_ne!(first["params"]["id"], second["params"]["id"]);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn gathered_calls_reach_a_service_that_takes_arrays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let message: Value = serde_json::from_str(&line).unwrap();
            let calls = message.as_array().cloned().unwrap_or_else(|| vec![message.clone()]);
            let answer = |call: &Value| json!({"id": call["id"], "result": call["params"]});
            let answers: Vec<Value> = calls.iter().map(answer).collect();
            let answer = if message.is_array() { json!(answers) } else { answers[0].clone() };
            let _ = tell.send(calls.len());
            out.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    });
    let batching = "batch_count_max = 50\nbatch_wait_us = 100000\nbatch_adaptive = false\n";
    let (server, mut client) = start(&[address], batching);
    for number in 0..50 {
        client.send("t/echo", &json!([number]));
    }
    client.settle(50);
    let sizes: Vec<usize> = told.try_iter().collect();
    assert_eq!(sizes.iter().sum::<usize>(), 50);
    assert!(sizes.iter().any(|size| *size > 1), "{sizes:?}");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn what_a_service_says_holds_no_more_on_one_link_is_forgotten_by_each_shard() {
    let service = Service::start();
    let keys = "idempotent = [\"t/count\"]\ncache_ttl_ms = 3600000\n";
    let server = Server::start(&config(&[service.address], keys), "0,1");
    let mut clients: Vec<Client> = (0..24).map(|_| Client::connect(server.address)).collect();
    let counts = |clients: &mut [Client]| -> Vec<u64> {
        clients.iter_mut().map(|client| client.call("t/count", &json!([])).as_u64().unwrap()).collect()
    };
    let before = counts(&mut clients);
    assert_eq!(counts(&mut clients), before, "results are kept");
    assert_eq!(service.connections.load(Ordering::Relaxed), 2, "both shards have asked");
    clients[0].call("t/forget", &json!({"methods": ["t/*"]}));
    // On the link's own shard before its answer.
    assert!(clients[0].call("t/count", &json!([])).as_u64().unwrap() > before[0]);
    let newest = before.iter().copied().max().unwrap();
    for client in &mut clients {
        crate::until("the result is another", || {
            client.call("t/count", &json!([])).as_u64().unwrap() > newest
        });
    }
    assert_eq!(server.stop().code, Some(0));
}
