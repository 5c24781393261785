//! Messages that a backend processes, on a running server with a process in Python: what it is told, what becomes of what it refuses and dies
//! of, and that nothing is lost when it or the server is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::client::Client;
use crate::messages::{Directory, await_store, config, keys, temporary_directory, user};
use crate::reload::reload;
use crate::server::Server;
use crate::until;

/// Where there is no Python there is nothing to show, and that is said.
fn has_python() -> bool {
    let has = Command::new("python3").arg("--version").output().is_ok();
    if !has {
        println!("skipped: no python3 here");
    }
    has
}

/// A store, keys, and the ledger of the process.
struct Site {
    keys: PathBuf,
    directory: Directory,
    ledger: PathBuf,
}

impl Site {
    fn new() -> Site {
        let directory = temporary_directory();
        fs::create_dir(&directory.0).unwrap();
        Site { keys: keys(), ledger: directory.0.join("ledger"), directory }
    }

    /// With the process as a backend of messages of the type `approval`.
    fn config(&self, keys: &str, messages: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/processor.py");
        self.config_with(&format!("[\"python3\", {script:?}, {:?}]", self.ledger), keys, messages)
    }

    fn config_with(&self, command: &str, keys: &str, messages: &str) -> String {
        let more = format!(
            "[messages]\n{messages}\n[[backend]]\nname = \"risk\"\ncommand = {command}\naccess = \"public\"\n\
             messages = [\"approval\"]\nretry_delay_ms = 10\n{keys}"
        );
        config(&self.keys, Some(&self.directory.0.join("store")), &more)
    }

    /// What the process noted, in order; the last line may be half of one.
    fn noted(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn noted_of(&self, name: &str) -> Vec<Value> {
        self.noted().into_iter().filter(|note| note["client_id"] == name).collect()
    }

    fn pid(&self) -> Option<i32> {
        self.noted().last().and_then(|note| i32::try_from(note["pid"].as_i64()?).ok())
    }
}

fn sender(server: &Server) -> Client {
    let mut client = user(server.address, "alice");
    await_store(&mut client);
    client
}

fn approve(client: &mut Client, name: &str, content: &Value) -> Value {
    client.request(
        "message/send",
        &json!({"type": "approval", "confirm": true, "id": name, "content": content}),
    )
}

fn state(client: &mut Client, name: &str) -> Value {
    client.call("message/status", &json!({"id": name}))["state"].clone()
}

#[test]
fn a_process_confirms_what_it_does_and_what_it_refuses_or_dies_of_is_a_dead_letter() {
    if !has_python() {
        return;
    }
    let site = Site::new();
    // One at a time: what it had beside the one that it dies of would die with it.
    let messages = "attempts_max = 2\nretry_first_ms = 20\nretry_longest_ms = 100";
    let server = Server::start(&site.config("messages_in_flight_max = 1\n", messages), "0,1");
    let mut alice = sender(&server);
    alice.call("message/subscribe", &json!({}));
    for (name, content) in [
        ("refused", json!({"do": "refuse"})),
        ("deadly", json!({"do": "crash"})),
        ("good", json!({"book": 1})),
    ] {
        assert_eq!(approve(&mut alice, name, &content)["result"]["state"], "queued");
    }
    for (name, end) in [("good", "confirmed"), ("refused", "dead"), ("deadly", "dead")] {
        until(name, || state(&mut alice, name) == end);
    }
    let letters = alice.call("message/dead_letters/list", &json!({}));
    let mut reasons: Vec<_> = letters["letters"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|letter| letter["to"] == "backend:risk")
        .map(|letter| (letter["client_id"].as_str().unwrap(), letter["reason"].as_str().unwrap()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [("deadly", "its backend ended before it answered"), ("refused", "no such book")]);
    let attempts: Vec<_> = site
        .noted_of("refused")
        .iter()
        .map(|note| (note["attempt"].clone(), note["redelivered"].clone(), note["type"].clone()))
        .collect();
    assert_eq!(
        attempts,
        [(json!(1), json!(false), json!("approval")), (json!(2), json!(true), json!("approval"))]
    );
    drop(alice);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn messages_wait_for_a_process_that_can_not_be_started_until_it_can() {
    if !has_python() {
        return;
    }
    let site = Site::new();
    // Any attempt would be the last one.
    const ONCE: &str = "attempts_max = 1";
    let keys = "max_retries = 2\nstart = \"boot\"\n";
    let mut server = Server::start(&site.config_with("[\"no-such-program\"]", keys, ONCE), "0");
    let mut alice = sender(&server);
    server.wait_for_log("given up after 2 failures in a row");
    approve(&mut alice, "early", &json!(1));
    assert_eq!(alice.call("message/status", &json!({"id": "early"}))["to"], "backend:risk");
    reload(&mut server, &site.config("", ONCE), "from now on");
    until("it is processed", || state(&mut alice, "early") == "confirmed");
    assert_eq!(site.noted_of("early").len(), 1);
    // Without the type there is nobody to send to.
    reload(&mut server, &config(&site.keys, Some(&site.directory.0.join("store")), ""), "from now on");
    // Without a name of its own: what was accepted by a name is, whoever has the type.
    let late = json!({"type": "approval", "content": 1});
    until("the type is gone", || {
        alice.request("message/send", &late)["error"]["data"]["reason"] == "no backend processes this type"
    });
}

#[test]
fn what_is_accepted_for_a_backend_is_processed_though_it_and_the_server_are_killed() {
    if !has_python() {
        return;
    }
    const MESSAGES: usize = 150;
    let site = Site::new();
    let toml = site.config("", "retry_first_ms = 20\nretry_longest_ms = 100\nattempts_max = 64");
    let names: Vec<String> = (0..MESSAGES).map(|nth| format!("m{nth}")).collect();
    let mut server = Server::start(&toml, "0,1");
    let mut alice = sender(&server);
    for (nth, name) in names.iter().enumerate() {
        let sent = approve(&mut alice, name, &json!(nth));
        assert_eq!(sent["result"]["count"], 1, "{sent}");
        if nth % 40 == 20 {
            until("the process has one more", || site.noted().len() > nth / 8);
            // It may have ended since, and its number not be another's so soon.
            let _ = kill(Pid::from_raw(site.pid().unwrap()), Signal::SIGKILL);
        }
        if nth % 60 == 50 {
            server.signal(Signal::SIGKILL);
            let _ = server.wait();
            server = Server::start(&toml, "0,1");
            alice = sender(&server);
        }
    }
    for name in &names {
        until("each is confirmed", || state(&mut alice, name) == "confirmed");
    }
    let mut seen = BTreeSet::new();
    for note in site.noted() {
        let name = note["client_id"].as_str().unwrap().to_owned();
        let is_new = seen.insert(name);
        assert!(is_new || note["redelivered"] == true, "it comes again and does not say so: {note}");
    }
    assert_eq!(seen, names.into_iter().collect(), "each was processed, and nothing else");
    let letters = alice.call("message/dead_letters/list", &json!({"user": "backend:risk"}));
    assert_eq!(letters["letters"], json!([]));
}
