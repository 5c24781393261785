//! Messages between users of a running server: priorities, groups, presence, frames, dead letters, and what a kill leaves.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::client::Client;
use crate::control;
use crate::server::{Server, temporary_file};
use crate::until;

/// Users by key: each is an account of its own.
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file of keys, with all rights to messages.
pub(crate) fn keys() -> PathBuf {
    let key = |user: &str| {
        format!(
            "[[key]]\nclient_id = \"{user}\"\naccount = \"{user}\"\nsecret = \"{SECRET}\"\n\
             scopes = [\"message:read_write\", \"message:admin\", \"control:write\"]\nsubscribe = [\"*\"]\npublish = [\"*\"]\n"
        )
    };
    let path = temporary_file("keys.toml", USERS.map(key).concat().as_bytes());
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(crate) fn config(keys: &Path, store: Option<&Path>, more: &str) -> String {
    let store = store.map(|store| format!("[store]\ndirectory = {store:?}\n")).unwrap_or_default();
    format!("[auth]\nkeys = {keys:?}\n{store}{more}")
}

pub(crate) fn user(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    let params = json!({"grant_type": "client_credentials", "client_id": name, "client_secret": SECRET});
    client.call("public/auth", &params);
    client
}

/// The next notification of this method, its params.
fn next(client: &mut Client, method: &str) -> Value {
    let message = client.message();
    assert_eq!(message["method"], method, "{message}");
    message["params"].clone()
}

fn contents(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| next(client, "message")["content"].clone()).collect()
}

#[test]
fn a_message_waits_for_its_receiver_and_comes_by_priority_on_every_shard() {
    let keys = keys();
    let server = Server::start(&config(&keys, None, ""), "0,1");
    let mut alice = user(server.address, "alice");
    for (content, priority) in [(1, "low"), (2, "normal"), (3, "low"), (4, "high"), (5, "critical")] {
        let sent =
            alice.call("message/send", &json!({"user": "bob", "priority": priority, "content": content}));
        assert_eq!((&sent["state"], &sent["count"]), (&json!("queued"), &json!(1)));
    }
    let pending = alice.call("message/pending", &json!({}));
    assert_eq!(pending["total"], 0, "they are bob's");
    let mut bob = user(server.address, "bob");
    let subscribed = bob.call("message/subscribe", &json!({}));
    assert_eq!(subscribed["waiting"], 5);
    assert_eq!(contents(&mut bob, 5), [5, 4, 2, 1, 3]);
    // To one session alone, and back to its sender.
    alice.call("message/subscribe", &json!({}));
    let sent = alice
        .call("message/send", &json!({"session": subscribed["session"], "receipts": true, "content": "hi"}));
    let got = next(&mut bob, "message");
    assert_eq!((&got["content"], &got["from"], &got["id"]), (&json!("hi"), &json!("alice"), &sent["id"]));
    bob.call("message/send", &json!({"user": "alice", "reply_to": got["id"], "content": "ho"}));
    let told = [alice.message(), alice.message()];
    let of = |method: &str| &told.iter().find(|message| message["method"] == method).unwrap()["params"];
    assert_eq!(of("message")["reply_to"], sent["id"]);
    assert_eq!(
        (&of("message_receipt")["state"], &of("message_receipt")["id"]),
        (&json!("delivered"), &sent["id"])
    );
    drop((alice, bob));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
}

#[test]
fn groups_and_presence_are_told_of_to_who_asks() {
    let keys = keys();
    let server = Server::start(&config(&keys, None, ""), "0,1");
    let mut alice = user(server.address, "alice");
    alice.call("message/subscribe", &json!({}));
    alice.call("presence/subscribe", &json!({"users": ["bob"]}));
    let mut bob = user(server.address, "bob");
    bob.call("message/subscribe", &json!({"topics": ["alerts"]}));
    let come = next(&mut alice, "presence");
    assert_eq!((&come["user"], &come["present"]), (&json!("bob"), &json!(true)));
    alice.call("group/create", &json!({"group": "desk"}));
    for client in [&mut alice, &mut bob] {
        client.call("group/join", &json!({"group": "desk"}));
    }
    let members = alice.call("group/members", &json!({"group": "desk"}));
    assert_eq!(members["members"].as_array().unwrap().len(), 2);
    let sent = alice.call("group/send", &json!({"group": "desk", "content": {"all": true}}));
    assert_eq!(sent["count"], 2);
    for client in [&mut alice, &mut bob] {
        let got = next(client, "message");
        assert_eq!((&got["group"], &got["content"]), (&json!("desk"), &json!({"all": true})));
    }
    alice.call("message/send", &json!({"topic": "alerts", "content": 1}));
    assert_eq!(next(&mut bob, "message")["topic"], "alerts");
    bob.close();
    let gone = next(&mut alice, "presence");
    assert_eq!((&gone["user"], &gone["present"]), (&json!("bob"), &json!(false)));
    let presence = alice.call("presence/get", &json!({"users": ["bob", "carol"]}));
    assert_eq!((&presence[0]["sessions"], &presence[1]["present"]), (&json!(0), &json!(false)));
}

#[test]
fn what_was_accepted_survives_a_kill_and_comes_again_until_it_is_confirmed() {
    let keys = keys();
    let directory = temporary_directory();
    let toml = config(&keys, Some(&directory.0), "");
    let server = Server::start(&toml, "0,1");
    let mut alice = user(server.address, "alice");
    await_store(&mut alice);
    let send = json!({"user": "bob", "confirm": true, "id": "order-1", "content": {"n": 1}});
    let sent = alice.call("message/send", &send);
    alice.call("group/create", &json!({"group": "desk"}));
    alice.call("group/join", &json!({"group": "desk"}));
    server.signal(Signal::SIGKILL);
    let _ = server.wait();

    let server = Server::start(&toml, "0,1");
    let mut alice = user(server.address, "alice");
    await_store(&mut alice);
    // Whoever did not see the reply sends again, by the same name.
    let again = alice.call("message/send", &send);
    assert_eq!((&again["id"], &again["repeated"]), (&sent["id"], &json!(true)));
    let members = alice.call("group/members", &json!({"group": "desk"}));
    assert_eq!(members["members"][0]["user"], "alice");
    let mut bob = user(server.address, "bob");
    bob.call("message/subscribe", &json!({}));
    let got = next(&mut bob, "message");
    assert_eq!(
        (&got["id"], &got["content"], &got["client_id"]),
        (&sent["id"], &json!({"n": 1}), &json!("order-1"))
    );
    server.signal(Signal::SIGKILL);
    let _ = server.wait();

    let server = Server::start(&toml, "0,1");
    let mut bob = user(server.address, "bob");
    await_store(&mut bob);
    bob.call("message/subscribe", &json!({}));
    let got = next(&mut bob, "message");
    assert_eq!((&got["id"], &got["redelivered"]), (&sent["id"], &json!(true)));
    bob.call("message/ack", &json!({"id": got["id"]}));
    server.signal(Signal::SIGKILL);
    let _ = server.wait();

    let server = Server::start(&toml, "0,1");
    let mut bob = user(server.address, "bob");
    await_store(&mut bob);
    assert_eq!(bob.call("message/subscribe", &json!({}))["waiting"], 0);
}

/// Has this thread, and what it starts, on the first core alone.
fn keep_to_one_core() {
    let mut core = CpuSet::new();
    core.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &core).unwrap();
}

#[test]
fn a_shard_that_has_the_only_core_parks_while_the_store_commits_however_long_it_would_spin() {
    keep_to_one_core();
    let (keys, directory) = (keys(), temporary_directory());
    let toml =
        config(&keys, Some(&directory.0), "[feed]\nkind = \"none\"\n[shards]\nbusy_poll_us = 1000000\n");
    let server = Server::start_with(&toml, "0", &["--control", "127.0.0.1:0"]);
    let mut alice = user(server.address, "alice");
    await_store(&mut alice);
    let before = control::metric(&server, "tickring_parks_total");
    const SENDS: u32 = 20;
    for content in 0..SENDS {
        alice.call("message/send", &json!({"user": "bob", "confirm": true, "content": content}));
    }
    let parks = control::metric(&server, "tickring_parks_total") - before;
    assert!(parks >= f64::from(SENDS) / 2.0, "{parks} of {SENDS} commits had the core");
    server.stop().assert_clean();
}

#[test]
fn who_rejects_a_message_too_often_has_it_put_to_the_dead_letters_from_where_operators_requeue_it() {
    let (keys, directory) = (keys(), temporary_directory());
    let more = "[messages]\nattempts_max = 1\n[control]\naddress = \"127.0.0.1:0\"\n";
    let server = Server::start(&config(&keys, Some(&directory.0), more), "0,1");
    let (mut alice, mut bob) = (user(server.address, "alice"), user(server.address, "bob"));
    for client in [&mut alice, &mut bob] {
        client.call("message/subscribe", &json!({}));
    }
    await_store(&mut alice);
    let send = json!({"user": "bob", "confirm": true, "receipts": true, "content": {"n": 1}});
    let sent = alice.call("message/send", &send);
    let got = next(&mut bob, "message");
    bob.call("message/nack", &json!({"id": got["id"], "reason": "cannot parse it", "delay_ms": 0}));
    let states = [next(&mut alice, "message_receipt"), next(&mut alice, "message_receipt")];
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("delivered"), &json!("dead")));
    assert_eq!(states[1]["cause"], "attempts");

    let listed = bob.call("message/dead_letters/list", &json!({"user": "bob"}));
    assert_eq!((&listed["total"], &listed["letters"][0]["reason"]), (&json!(1), &json!("cannot parse it")));
    let control = server.control.unwrap();
    let bearer = format!("Authorization: Bearer alice.{SECRET}\r\n");
    let list = control::ask(control, "GET /api/dead-letters", "", "");
    assert_eq!((list.status, &list.json()["letters"][0]["id"]), (200, &sent["id"]));
    assert!(list.json()["letters"][0].get("content").is_none());
    let one = format!("GET /api/dead-letters?id={}", sent["id"]);
    assert_eq!(control::ask(control, &one, "", "").status, 401);
    assert_eq!(control::ask(control, &one, &bearer, "").json()["content"], json!({"n": 1}));
    assert_eq!(control::ask(control, "GET /api/dead-letters?id=17", &bearer, "").status, 404);
    let requeue =
        |fields: &str, body: &str| control::ask(control, "POST /api/dead-letters/requeue", fields, body);
    assert_eq!(requeue("", "{\"all\":true}").status, 401);
    assert_eq!(requeue(&bearer, "{\"all\":true}").json(), json!({"count": 1}));
    let again = next(&mut bob, "message");
    assert_eq!((&again["id"], &again["redelivered"]), (&sent["id"], &json!(true)));
    bob.call("message/ack", &json!({"id": again["id"]}));
    assert_eq!(bob.call("message/dead_letters/purge", &json!({"all": true})), json!({"count": 0}));
}

#[test]
fn without_a_store_what_is_to_be_durable_is_refused_and_all_else_goes_on() {
    let keys = keys();
    let server = Server::start(&config(&keys, None, ""), "0");
    let mut alice = user(server.address, "alice");
    let refused = alice.request("message/send", &json!({"user": "bob", "confirm": true, "content": 1}));
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["param"]),
        (&json!(13028), &json!("confirm"))
    );
    assert_eq!(alice.call("message/send", &json!({"user": "bob", "content": 1}))["state"], "queued");
}

#[test]
fn waiting_messages_come_in_one_frame_and_a_critical_one_by_itself() {
    let keys = keys();
    let server = Server::start(&config(&keys, None, ""), "0,1");
    let mut alice = user(server.address, "alice");
    for content in 0..10 {
        alice.call("message/send", &json!({"user": "bob", "content": content}));
    }
    alice.call("message/send", &json!({"user": "bob", "priority": "critical", "content": "halt"}));
    let mut bob = user(server.address, "bob");
    bob.call("message/subscribe", &json!({"batch": {"messages_max": 4}}));
    assert_eq!(next(&mut bob, "message")["content"], "halt");
    let mut got = Vec::new();
    while got.len() < 10 {
        let message = bob.message();
        if let Some(messages) = message.as_array() {
            assert!((2..=4).contains(&messages.len()));
            got.extend(messages.iter().map(|message| message["params"]["content"].clone()));
        } else {
            got.push(message["params"]["content"].clone());
        }
    }
    assert_eq!(got, (0..10).map(|content| json!(content)).collect::<Vec<_>>());
}

/// Until the store takes messages.
pub(crate) fn await_store(client: &mut Client) {
    until("the store takes messages", || {
        let reply = client.request("message/send", &json!({"user": "nobody", "confirm": true, "content": 0}));
        reply.get("result").is_some()
    });
}

pub(crate) struct Directory(pub(crate) PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn temporary_directory() -> Directory {
    let path = temporary_file("store", b"");
    std::fs::remove_file(&path).unwrap();
    Directory(path)
}

/// A small file system of the test's own; none, said aloud, where it can't be mounted.
struct Mounted(Directory);

impl Mounted {
    fn new() -> Option<Mounted> {
        let directory = temporary_directory();
        std::fs::create_dir(&directory.0).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&directory.0).output();
        match mount {
            Ok(done) if done.status.success() => Some(Mounted(directory)),
            failed => {
                println!(
                    "NOT CHECKED: a full disk needs a file system of its own, and mount(8) says {failed:?}"
                );
                None
            }
        }
    }

    /// Leaves no room; what takes it.
    fn fill(&self) -> PathBuf {
        let path = self.0.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

#[test]
fn a_full_disk_refuses_what_is_to_be_durable_and_takes_it_again_once_there_is_room() {
    let Some(mounted) = Mounted::new() else { return };
    let keys = keys();
    let server = Server::start(&config(&keys, Some(&mounted.0.0.join("s")), ""), "0,1");
    let mut alice = user(server.address, "alice");
    await_store(&mut alice);
    let filler = mounted.fill();
    let text = "x".repeat(16_384);
    let mut accepted = Vec::new();
    let refused = loop {
        let send = json!({"user": "bob", "confirm": true, "content": text});
        let reply = alice.request("message/send", &send);
        match reply["result"]["id"].as_u64() {
            Some(id) => accepted.push(id),
            None => break reply["error"].clone(),
        }
        assert!(accepted.len() < 2_000, "24 MB are full");
    };
    assert_eq!(
        (&refused["code"], &refused["data"]["reason"]),
        (&json!(13028), &json!("not done: the disk is full"))
    );
    // All else goes on, what was accepted before too.
    let sent = alice.call("message/send", &json!({"user": "bob", "priority": "critical", "content": 1}));
    let mut bob = user(server.address, "bob");
    bob.call("message/subscribe", &json!({"under_way_max": 4096}));
    assert_eq!(next(&mut bob, "message")["id"], sent["id"]);
    for id in &accepted {
        assert_eq!(next(&mut bob, "message")["id"], *id, "nothing that was refused is among them");
    }
    std::fs::remove_file(filler).unwrap();
    await_store(&mut alice);
    let sent = alice.call("message/send", &json!({"user": "bob", "confirm": true, "content": 2}));
    assert_eq!(next(&mut bob, "message")["id"], sent["id"]);
}
