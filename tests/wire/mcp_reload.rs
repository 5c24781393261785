//! Backends of the Model Context Protocol that come, go and change by SIGHUP, with real processes and clients over both ways.

use std::collections::VecDeque;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::client::Client;
use crate::control::{ask, get};
use crate::reload::reload;
use crate::server::{Server, temporary_file};

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

/// A table of a backend whose server says this tag; more of its keys.
fn backend(name: &str, tag: &str, keys: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/mcp_server.py");
    format!(
        "[[backend]]\nname = \"{name}\"\nkind = \"mcp-stdio\"\naccess = \"public\"\nstop_timeout_ms = 200\n\
         command = [\"python3\", {script:?}, {}]\n{keys}\n",
        tag.split(' ').map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
    )
}

/// Without own tools, so that what is listed is of backends.
fn config(backends: &[String]) -> String {
    format!("[feed]\nkind = \"none\"\n[mcp]\ntools = false\n{}", backends.concat())
}

fn start(toml: &str) -> Server {
    Server::start_with(toml, "0", &["--control", "127.0.0.1:0", "--set", "mcp.address=127.0.0.1:0"])
}

/// A client over WebSocket that hears of changes.
struct Mcp {
    client: Client,
    notes: VecDeque<Value>,
    replies: Vec<Value>,
}

impl Mcp {
    fn connect(server: &Server) -> Mcp {
        let client = Client::of_mcp(server.address, None);
        let mut mcp = Mcp { client, notes: VecDeque::new(), replies: Vec::new() };
        mcp.result("initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
        mcp.client.send_text(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        mcp
    }

    fn send(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.client.send("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    fn read(&mut self) {
        let message = self.client.message();
        if message.get("id").is_some() {
            self.replies.push(message);
        } else {
            self.notes.push_back(message);
        }
    }

    /// The reply to a request that was sent.
    fn reply(&mut self, id: u64) -> Value {
        loop {
            if let Some(place) = self.replies.iter().position(|reply| reply["id"] == id) {
                return self.replies.remove(place);
            }
            self.read();
        }
    }

    fn result(&mut self, method: &str, params: &Value) -> Value {
        let id = self.client.send(method, params);
        let reply = self.reply(id);
        assert!(reply.get("result").is_some(), "{reply}");
        reply["result"].clone()
    }

    /// What a tool says of its server.
    fn call(&mut self, tool: &str) -> Value {
        let id = self.send(tool, &json!({}));
        said(&self.reply(id))
    }

    /// The tools that there are, by their names.
    fn tools(&mut self) -> Vec<String> {
        let listed = self.result("tools/list", &json!({}));
        let tools = listed["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Reads until this is told.
    fn await_note(&mut self, method: &str) -> Value {
        loop {
            if let Some(place) = self.notes.iter().position(|note| note["method"] == method) {
                return self.notes.remove(place).unwrap();
            }
            self.read();
        }
    }
}

/// What a tool's good result says.
fn said(reply: &Value) -> Value {
    let text = reply["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{reply}"));
    serde_json::from_str(text).unwrap()
}

fn pid_in(said: &Value) -> i32 {
    i32::try_from(said["pid"].as_i64().unwrap()).unwrap()
}

/// Whether there is such a process, be it a zombie.
fn is_there(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

fn await_end(pid: i32) {
    crate::until("the process is gone, and no zombie", || !is_there(pid));
}

/// Children of the server, whoever they are.
fn children(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let told = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let mut all: Vec<String> =
        told.flat_map(|told| told.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.sort();
    all
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// A file that is not there yet.
struct Gate(PathBuf);

impl Gate {
    fn new() -> Gate {
        let path = temporary_file("gate", b"");
        fs::remove_file(&path).unwrap();
        Gate(path)
    }

    fn argument(&self) -> Value {
        json!({"file": self.0})
    }

    fn open(&self) {
        fs::write(&self.0, "").unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_request_under_way_on_a_backend_that_goes_is_answered_and_nobody_of_another_notices() {
    let (a, b) = (backend("a", "old", ""), backend("b", "other", ""));
    let mut server = start(&config(&[a, b.clone()]));
    let (mut client, mut other) = (Mcp::connect(&server), Mcp::connect(&server));
    let (of_a, of_b) = (pid_in(&client.call("a__tell")), pid_in(&other.call("b__tell")));
    assert_eq!(client.tools().len(), 10);
    let (gate, other_gate) = (Gate::new(), Gate::new());
    let waiting = client.send("a__wait", &gate.argument());
    let others = other.send("b__wait", &other_gate.argument());
    // Behind them, so that the servers have them.
    client.call("a__tell");
    other.call("b__tell");
    reload(&mut server, &config(&[b]), "[[backend]] a there → absent");
    client.await_note(TOOLS_CHANGED);
    assert_eq!(client.tools().len(), 5);
    let refused = client.send("a__tell", &json!({}));
    assert_eq!(client.reply(refused)["error"]["data"]["reason"], "unknown_name");
    assert!(is_there(of_a), "it has a request under way");
    gate.open();
    assert_eq!(said(&client.reply(waiting)), json!({"tag": "old", "pid": of_a}));
    await_end(of_a);
    other_gate.open();
    assert_eq!(said(&other.reply(others)), json!({"tag": "other", "pid": of_b}));
    assert_eq!(pid_in(&client.call("b__tell")), of_b);
    assert!(!server.log().contains("backend b: down"));
    drop((client, other));
    server.stop().assert_clean();
    assert!(!is_there(of_b));
}

#[test]
fn one_that_goes_and_hangs_is_one_error_at_its_timeout_and_is_killed_with_all_that_it_started() {
    let a = backend("a", "old stubborn", "timeout_ms = 4000");
    let mut server = start(&config(&[a]));
    let mut client = Mcp::connect(&server);
    let told = client.call("a__tell");
    let (pid, child) = (pid_in(&told), i32::try_from(told["children"][0].as_i64().unwrap()).unwrap());
    let hanging = [client.send("a__hang", &json!({})), client.send("a__hang", &json!({}))];
    client.call("a__tell");
    reload(&mut server, &config(&[]), "[[backend]] a there → absent");
    for id in hanging {
        assert_eq!(client.reply(id)["error"]["data"]["reason"], "backend_timed_out");
    }
    await_end(pid);
    await_end(child);
    assert_eq!(children(&server), [""; 0]);
    assert!(client.replies.is_empty(), "one error each: {:?}", client.replies);
    assert_eq!(client.tools(), [""; 0]);
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn one_that_changes_has_its_names_and_subscriptions_again_while_the_old_one_answers() {
    let mut server = start(&config(&[backend("a", "old", "")]));
    let mut client = Mcp::connect(&server);
    let old = pid_in(&client.call("a__tell"));
    client.result("resources/subscribe", &json!({"uri": "note:1"}));
    let gate = Gate::new();
    let waiting = client.send("a__wait", &gate.argument());
    client.call("a__tell");
    reload(&mut server, &config(&[backend("a", "new", "")]), "backend.command of a");
    let told = client.call("a__tell");
    assert_eq!(told["tag"], "new");
    assert!(client.tools().contains(&"a__only_new".to_owned()));
    client.await_note(TOOLS_CHANGED);
    client.await_note("notifications/resources/list_changed");
    client.call("a__touch");
    let updated = client.await_note("notifications/resources/updated");
    assert_eq!(updated["params"]["_meta"]["tag"], "new");
    gate.open();
    assert_eq!(said(&client.reply(waiting)), json!({"tag": "old", "pid": old}));
    await_end(old);
    assert_eq!(children(&server).len(), 1);
    // Bounds and rights alone start nothing anew.
    let pid = pid_in(&told);
    reload(
        &mut server,
        &config(&[backend("a", "new", "timeout_ms = 5000\nin_flight_max = 7")]),
        "from now on",
    );
    assert_eq!(pid_in(&client.call("a__tell")), pid);
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn each_session_has_its_own_of_a_backend_that_changes() {
    let own = |tag| config(&[backend("own", tag, "instances = \"per_session\"")]);
    let mut server = start(&own("old"));
    let mut clients = [Mcp::connect(&server), Mcp::connect(&server)];
    let before: Vec<i32> = clients.iter_mut().map(|client| pid_in(&client.call("own__tell"))).collect();
    reload(&mut server, &own("new"), "from now on");
    let after: Vec<Value> = clients.iter_mut().map(|client| client.call("own__tell")).collect();
    assert!(after.iter().all(|told| told["tag"] == "new") && after[0]["pid"] != after[1]["pid"]);
    before.into_iter().for_each(await_end);
    assert_eq!(children(&server).len(), 2);
    drop(clients);
    crate::until("they are gone with their sessions", || children(&server).is_empty());
    server.stop().assert_clean();
}

/// Until there is something at `/mcp` for clients over WebSocket, or nothing: what is asked there is no upgrade, which is told where
/// the path is known.
fn await_path(server: &Server, is_known: bool) {
    crate::until("the path is known or not", || {
        (ask(server.address, "GET /mcp", "", "").status != 404) == is_known
    });
}

/// The status over HTTP of a request for the list of tools, and the list's length where it was answered.
fn tools_over_http(address: SocketAddr) -> (u16, usize) {
    let fields = "Content-Type: application/json\r\nAccept: application/json\r\n";
    let answer =
        ask(address, "POST /mcp", fields, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#);
    let tools = answer.json()["result"]["tools"].as_array().map_or(0, Vec::len);
    (answer.status, tools)
}

#[test]
fn the_first_backend_may_come_by_a_reload_and_the_last_go_and_operators_see_it() {
    let mut server = start(&config(&[]));
    assert_eq!(server.mcp, None);
    await_path(&server, false);
    reload(&mut server, &config(&[backend("a", "one", "")]), "[[backend]] a absent → there");
    // By another thread than what was waited for.
    let before = server.log().lines().find(|line| line.contains("MCP is served on ")).map(str::to_owned);
    let line = before.unwrap_or_else(|| server.wait_for_log("MCP is served on "));
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.split('/').next().unwrap().parse().unwrap();
    crate::until("tools are listed over HTTP", || tools_over_http(address) == (200, 5));
    await_path(&server, true);
    let mut client = Mcp::connect(&server);
    assert_eq!(client.call("a__tell")["tag"], "one");
    let list = |server: &Server| get(server, "/api/status").json()["backends"]["list"].clone();
    crate::until("operators see it", || {
        let list = list(&server);
        list[0]["name"] == "a" && list[0]["kind"] == "mcp-stdio" && list[0]["state"] == "up"
    });
    assert!(get(&server, "/metrics").text().contains("tickring_backend_up{backend=\"a\"} 1\n"));
    reload(&mut server, &config(&[]), "[[backend]] a there → absent");
    client.await_note(TOOLS_CHANGED);
    assert_eq!(client.tools(), [""; 0], "who is connected stays so");
    crate::until("it is not served any more", || tools_over_http(address).0 == 404);
    await_path(&server, false);
    crate::until("operators see that", || list(&server) == json!([]));
    assert!(!get(&server, "/metrics").text().contains("backend=\"a\""));
    reload(&mut server, &config(&[backend("b", "two", "")]), "[[backend]] b absent → there");
    crate::until("the same address serves again", || tools_over_http(address) == (200, 5));
    assert_eq!(client.call("b__tell")["tag"], "two");
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn a_reload_whose_address_of_mcp_is_taken_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("mcp.address={}", taken.local_addr().unwrap());
    let mut server = Server::start_with(&config(&[]), "0", &["--set", &address]);
    let told = reload(&mut server, &config(&[backend("a", "one", "")]), "the configuration stays as it was");
    assert!(
        told.contains("mcp.address: 127.0.0.1:") && told.contains("another server may have it"),
        "{told}"
    );
    assert!(children(&server).is_empty());
    drop(taken);
    reload(&mut server, &config(&[backend("a", "one", "")]), "[[backend]] a absent → there");
    await_path(&server, true);
    let mut client = Mcp::connect(&server);
    assert_eq!(client.call("a__tell")["tag"], "one");
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn a_backend_over_http_goes_comes_and_changes_as_processes_do() {
    let remote = start("");
    let url = format!("http://{}/mcp", remote.mcp.unwrap());
    let table = |name: &str, keys: &str| {
        format!(
            "[[backend]]\nname = \"{name}\"\nkind = \"mcp-http\"\naccess = \"public\"\naddresses = [\"{url}\"]\n{keys}\n"
        )
    };
    let other = backend("b", "other", "");
    let mut server = start(&config(&[table("far", ""), other.clone()]));
    let mut client = Mcp::connect(&server);
    let pid = pid_in(&client.call("b__tell"));
    let status = client.send("far__server_status", &json!({}));
    assert!(client.reply(status)["result"].is_object());
    let wanted = config(&[table("far", "prefix = \"other\""), other.clone()]);
    reload(&mut server, &wanted, "backend.prefix of far");
    let tools = client.tools();
    assert!(tools.contains(&"other__last_price".to_owned()), "{tools:?}");
    assert!(!tools.contains(&"far__last_price".to_owned()), "{tools:?}");
    reload(&mut server, &config(&[other]), "[[backend]] far there → absent");
    client.await_note(TOOLS_CHANGED);
    assert_eq!(client.tools().len(), 5);
    assert_eq!(pid_in(&client.call("b__tell")), pid);
    drop(client);
    server.stop().assert_clean();
    remote.stop().assert_clean();
}

#[test]
fn ten_reloads_leave_processes_descriptors_and_memory_as_they_were() {
    const KIB_MAX: u64 = 1024;
    let stays = backend("stays", "stays", "");
    let of = |nth: usize| {
        let tag = ["even", "odd"][nth % 2];
        config(&[stays.clone(), backend("a", tag, ""), backend("b", tag, "prefix = \"b2\"")])
    };
    let mut server = start(&of(0));
    let mut client = Mcp::connect(&server);
    let pid = pid_in(&client.call("stays__tell"));
    let mut change = |server: &mut Server, nth: usize| {
        reload(server, &of(nth), "from now on");
        assert_eq!(client.call("a__tell")["tag"], ["even", "odd"][nth % 2]);
        client.call("b2__tell");
        assert_eq!(client.tools().len(), 15);
        crate::until("the old ones are gone", || children(server).len() == 3);
        client.notes.clear();
    };
    (1..=10).for_each(|nth| change(&mut server, nth));
    let (kib, open) = (server.resident_kib().0, descriptors(&server));
    (11..=20).for_each(|nth| change(&mut server, nth));
    let (kib_after, open_after) = (server.resident_kib().0, descriptors(&server));
    println!("resident {kib} KiB, after ten reloads {kib_after} KiB; {open} and {open_after} descriptors");
    assert_eq!(open_after, open);
    assert!(kib_after <= kib + KIB_MAX, "{kib} KiB have become {kib_after}");
    assert_eq!(pid_in(&client.call("stays__tell")), pid);
    let last = children(&server);
    drop(client);
    server.stop().assert_clean();
    assert!(last.iter().all(|pid| !is_there(pid.parse().unwrap())), "{last:?}");
}
