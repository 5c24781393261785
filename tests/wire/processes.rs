//! Backends that are child processes, as clients see them: real processes that hang, crash, talk nonsense and are killed. Each draws
//! one clear error for who asked, nobody else notices, and none is left behind.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::client::{Client, fails, reason};
use crate::control;
use crate::reload::reload;
use crate::server::{Ended, Server, run, temporary_file, tickring};

/// A backend `t` of such children, with these keys besides.
fn config(keys: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/child.sh");
    format!(
        "[[backend]]\nname = \"t\"\ncommand = [\"sh\", {script:?}]\naccess = \"public\"\nretry_delay_ms = 10\n\
         stop_timeout_ms = 200\n{keys}"
    )
}

fn start(keys: &str) -> (Server, Client) {
    let server = Server::start(&config(keys), "0");
    let client = Client::connect(server.address);
    (server, client)
}

/// A group of version 2 gives processors away where that controller is not bound to version 1.
#[test]
fn a_share_of_the_processor_is_refused_where_there_is_none_to_give() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_version_1 = |line: &str| {
        line.split_once(" - cgroup ")
            .is_some_and(|(_, options)| options.split([',', ' ']).any(|word| word == "cpu"))
    };
    if !mounts.lines().any(is_version_1) {
        println!("not run: processors are given by version 2 of control groups here");
        return;
    }
    let toml = temporary_file("toml", config("cpu_percent_max = 50\n").as_bytes());
    let mut server = tickring();
    server.args(["serve", "--listen", "127.0.0.1:0", "--cores", "0", "--config"]).arg(toml);
    let Ended { code, log } = run(&mut server);
    let line = log.last().unwrap();
    assert_eq!(code, Some(78), "{log:?}");
    assert!(line.contains("backend.cpu_percent_max of t: ") && line.contains("Delegate=cpu"), "{line}");
}

/// Until a child answers again.
fn await_child(client: &mut Client) -> i32 {
    let mut pid = None;
    crate::until("a child answers", || {
        pid = client.request("t/pid", &json!([]))["result"].as_i64();
        pid.is_some()
    });
    i32::try_from(pid.unwrap()).unwrap()
}

/// Whether there is such a process, be it a zombie.
fn is_there(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether such a process runs; one that nobody has waited for yet does not.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn calls_are_answered_by_a_process_that_the_first_of_them_starts() {
    let (mut server, mut client) = start("");
    assert!(!server.has_just_logged("backend t is process"));
    assert_eq!(client.call("t/echo", &json!({"a": [1, "x\n"]})), json!({"a": [1, "x\n"]}));
    assert_eq!(client.call("t/complain", &json!([])), json!(true));
    server.wait_for_log("backend t: it complains");
    let refused = client.request("t/refuse", &json!([]));
    assert_eq!((&refused["error"]["code"], &refused["error"]["message"]), (&json!(-7), &json!("no")));
    let pid = client.call("t/pid", &json!([])).as_i64().unwrap();
    assert_eq!(client.call("t/pid", &json!([])), json!(pid));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    assert!(!is_there(i32::try_from(pid).unwrap()));
}

#[test]
fn a_child_has_what_it_is_given_and_nothing_else() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).canonicalize().unwrap();
    let (_server, mut client) = start(&format!(
        "directory = {directory:?}\nenvironment = [\"SECRET=s3cret\"]\ndescriptors_max = 40\nfile_bytes_max = 1048576\n\
         memory_bytes_max = 1073741824\n"
    ));
    // And the script itself, where the shell has it.
    let open = client.call("t/descriptors", &json!([]));
    let mut open: Vec<&str> = open.as_str().unwrap().split_whitespace().collect();
    open.retain(|number| !["10", "255"].contains(number));
    assert_eq!(open, ["0", "1", "2"]);
    // Blocks of 512 or 1024 bytes, as the shell has it.
    let limits = client.call("t/limits", &json!([]));
    let limits: Vec<&str> = limits.as_str().unwrap().split(' ').collect();
    assert_eq!((limits[0], limits[1], limits[3]), ("40", "1048576", "0"));
    assert!(["1024", "2048"].contains(&limits[2]), "{limits:?}");
    let signals = client.call("t/signals", &json!([]));
    let words: Vec<&str> = signals.as_str().unwrap().split_whitespace().collect();
    let ["SigBlk:", blocked, "SigIgn:", ignored] = words[..] else { panic!("{signals}") };
    let bits = |mask| u64::from_str_radix(mask, 16).unwrap();
    assert_eq!((bits(blocked), bits(ignored) >> (Signal::SIGPIPE as u32 - 1) & 1), (0, 0), "{signals}");
    let told = client.call("t/environment", &json!([]));
    let (names, rest) = told.as_str().unwrap().split_once("s3cret").unwrap();
    let known = ["HOME", "LANG", "LC_ALL", "PATH", "SECRET", "TMPDIR", "TZ"];
    assert!(names.split_whitespace().all(|name| known.contains(&name)), "{names}");
    assert_eq!(rest.trim(), directory.to_str().unwrap());
}

#[test]
fn whatever_a_child_does_is_one_error_for_who_asked() {
    let (mut server, mut client) = start("timeout_ms = 500\n");
    let mut other = Client::connect(server.address);
    assert_eq!(other.call("t/echo", &json!([1])), json!([1]));
    fails(&mut client, "t/hang", "not answered in time");
    fails(&mut client, "t/garbage", "no JSON-RPC answer");
    fails(&mut client, "t/odd", "no JSON-RPC answer");
    fails(&mut client, "t/long", "longer than may be");
    assert_eq!(client.call("t/twice", &json!([])), json!(1));
    assert_eq!(other.call("t/echo", &json!([2])), json!([2]));
    // It answers after its time, and the next call is not answered by that.
    fails(&mut client, "t/late", "not answered in time");
    crate::until("it is through", || client.request("t/echo", &json!([3]))["result"] == json!([3]));
    fails(&mut client, "t/crash", "ended before an answer");
    server.wait_for_log("backend t ended: signal: 9 (SIGKILL)");
    await_child(&mut client);
    fails(&mut client, "t/exit", "ended before an answer");
    server.wait_for_log("backend t ended: exit status: 3");
    await_child(&mut client);
    assert_eq!(other.call("t/echo", &json!([4])), json!([4]));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_call_for_a_child_that_does_not_read_is_refused_as_busy() {
    let (_server, mut client) = start("");
    await_child(&mut client);
    client.send("t/deaf", &json!([]));
    let long = json!(["x".repeat(60_000)]);
    // 1 MiB, and what its pipe takes.
    let replies: Vec<u64> = (0..25).map(|_| client.send("t/echo", &long)).collect();
    let busy = client.message();
    assert!(reason(&busy).contains("as much is under way"), "{busy}");
    assert!(replies.contains(&busy["id"].as_u64().unwrap()));
}

#[test]
fn calls_under_way_at_a_child_that_dies_are_told_so_each_once() {
    let (mut server, mut client) = start("");
    let pid = await_child(&mut client);
    let ids: Vec<u64> = (0..20).map(|_| client.send("t/hang", &json!([]))).collect();
    // Behind them, so that the child has them.
    let mut sign = Client::connect(server.address);
    sign.call("t/pid", &json!([]));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let mut told: Vec<u64> = ids
        .iter()
        .map(|_| {
            let reply = client.message();
            assert!(reason(&reply).contains("ended before an answer"), "{reply}");
            reply["id"].as_u64().unwrap()
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, ids);
    server.wait_for_log("started again in");
    crate::until("no zombie is left", || !is_there(pid));
    assert_ne!(await_child(&mut client), pid);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn one_that_writes_without_an_end_or_hangs_is_killed_and_another_comes() {
    let (mut server, mut client) = start("timeout_ms = 100\n");
    fails(&mut client, "t/endless", "");
    server.wait_for_log("a line without an end");
    await_child(&mut client);
    for _ in 0..8 {
        fails(&mut client, "t/hang", "not answered in time");
    }
    server.wait_for_log("8 calls in a row ran out of time");
    server.wait_for_log("backend t ended: signal: 9 (SIGKILL)");
    await_child(&mut client);
}

#[test]
fn one_that_fails_again_and_again_is_given_up_and_operators_see_it() {
    let toml = "[control]\naddress = \"127.0.0.1:0\"\n[[backend]]\nname = \"t\"\ncommand = [\"no-such-program\"]\n\
                access = \"public\"\nretry_delay_ms = 10\nmax_retries = 3\nstart = \"boot\"\n";
    let mut server = Server::start(toml, "0");
    server.wait_for_log("no-such-program: No such file or directory");
    server.wait_for_log("given up after 3 failures in a row");
    let mut client = Client::connect(server.address);
    fails(&mut client, "t/echo", "not available");
    crate::until("operators are told", || {
        let status = control::get(&server, "/api/status").json();
        let list = status["backends"]["list"].as_array().unwrap().clone();
        list.iter().any(|one| one["name"] == "t" && one["members"][0]["state"] == "given_up")
    });
    let answer = control::get(&server, "/metrics");
    let metrics = answer.text();
    assert!(metrics.contains("tickring_backend_up{backend=\"t\"} 0\n"), "{metrics}");
    assert!(metrics.contains("tickring_backends_down 1\n"), "{metrics}");
    // Another try, by another configuration.
    reload(&mut server, &format!("[control]\naddress = \"127.0.0.1:0\"\n{}", config("")), "from now on");
    await_child(&mut client);
}

#[test]
fn the_pool_has_as_many_processes_as_calls_keep_busy() {
    let (server, mut client) = start("pool = 3\n");
    let mut pids = std::collections::BTreeSet::new();
    crate::until("three have answered", || {
        for _ in 0..6 {
            client.send("t/pid", &json!([]));
        }
        pids.extend((0..6).map(|_| client.message()["result"].as_i64().unwrap()));
        pids.len() == 3
    });
    assert_eq!(server.stop().code, Some(0));
    assert!(pids.iter().all(|pid| !is_there(i32::try_from(*pid).unwrap())));
}

#[test]
fn a_reload_brings_processes_and_lets_those_that_go_answer_first() {
    let (mut server, mut client) = start("");
    let pid = await_child(&mut client);
    let id = client.send("t/late", &json!([0.2]));
    reload(&mut server, &config("timeout_ms = 1000\npool = 2\n"), "from now on");
    let reply = client.message();
    assert_eq!((&reply["id"], &reply["result"]), (&json!(id), &json!("late")));
    crate::until("the old one is gone", || !is_there(pid));
    assert_ne!(await_child(&mut client), pid);
    reload(&mut server, "", "[[backend]] t there → absent");
    crate::until("it is no method any more", || {
        client.request("t/pid", &json!([]))["error"]["code"] == json!(-32601)
    });
}

#[test]
fn while_one_leaves_operators_are_told_of_the_one_that_has_its_name() {
    let of_control = |keys: &str| format!("[control]\naddress = \"127.0.0.1:0\"\n{}", config(keys));
    let mut server = Server::start(&of_control(""), "0");
    let mut client = Client::connect(server.address);
    let pid = await_child(&mut client);
    client.send("t/late", &json!([6]));
    reload(&mut server, &of_control("pool = 2\n"), "from now on");
    let of_name = |server: &Server| {
        let status = control::get(server, "/api/status").json();
        let list = status["backends"]["list"].as_array().unwrap().clone();
        list.into_iter().filter(|one| one["name"] == "t").collect::<Vec<_>>()
    };
    crate::until("the new one is told of", || {
        of_name(&server).iter().any(|one| one["members"].as_array().unwrap().len() == 2)
    });
    let told = of_name(&server);
    assert!(told.len() == 1 && told[0]["state"] == "up", "{told:?}");
    let answer = control::get(&server, "/metrics");
    let metrics = answer.text();
    assert_eq!(metrics.matches("tickring_backend_up{backend=\"t\"} ").count(), 1, "{metrics}");
    assert!(metrics.contains("tickring_backends_down 0\n") && is_there(pid), "{metrics}");
    assert_eq!(client.message()["result"], "late");
}

#[test]
fn nobody_is_left_when_the_server_is_killed() {
    let (server, mut client) = start("pool = 2\nstart = \"boot\"\n");
    let pid = await_child(&mut client);
    // One that does not read can't see that its standard input ends.
    client.send("t/deaf", &json!([]));
    server.signal(Signal::SIGKILL);
    crate::until("the child is gone", || !is_alive(pid));
    drop(server);
}

#[test]
fn what_a_child_has_started_ends_with_it() {
    let (server, mut client) = start("");
    let grandchild = i32::try_from(client.call("t/fork", &json!([])).as_i64().unwrap()).unwrap();
    assert!(is_alive(grandchild));
    assert_eq!(server.stop().code, Some(0));
    // Whoever adopts it may be slow to look.
    crate::until("it is gone", || !is_alive(grandchild));
}

/// How many children: TICKRING_CHILDREN says another number.
fn children() -> usize {
    std::env::var("TICKRING_CHILDREN").ok().map_or(100, |text| text.parse().unwrap())
}

/// The processes of the backend that run, as operators are told.
fn running(server: &Server) -> Vec<i32> {
    let status = control::get(server, "/api/status").json();
    let list = status["backends"]["list"].as_array().unwrap().clone();
    let backend = list.into_iter().find(|one| one["name"] == "t").unwrap();
    let members = backend["members"].as_array().unwrap().clone();
    let running = members.iter().filter(|member| member["state"] == "running");
    running.map(|member| i32::try_from(member["pid"].as_i64().unwrap()).unwrap()).collect()
}

#[test]
fn no_answer_is_lost_without_a_word_while_children_are_killed_at_random() {
    let (count, control) = (children(), "[control]\naddress = \"127.0.0.1:0\"\n");
    let server = Server::start(control, "0");
    let (without_kib, _) = server.resident_kib();
    assert_eq!(server.stop().code, Some(0));
    let keys = format!("pool = {count}\nstart = \"boot\"\nmax_retries = 0\n");
    let server = Server::start(&format!("{control}{}", config(&keys)), "0");
    crate::until("all run", || running(&server).len() == count);
    let mut client = Client::connect(server.address);
    // Each has been asked, so that its buffers are there.
    for _ in 0..count {
        client.call("t/echo", &json!([]));
    }
    let (with_kib, _) = server.resident_kib();
    let (mut answered, mut told, mut killed) = (0, 0, 0_usize);
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..40 {
        let pids = running(&server);
        let ids: Vec<u64> = (0..64).map(|number| client.send("t/echo", &json!([number]))).collect();
        for _ in 0..3 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let victim = pids[usize::try_from(chance >> 33).unwrap() % pids.len()];
            // Another of these may have been it.
            killed += usize::from(kill(Pid::from_raw(victim), Signal::SIGKILL).is_ok());
        }
        let mut replied: Vec<u64> = Vec::new();
        for _ in &ids {
            let reply = client.message();
            let id = reply["id"].as_u64().unwrap();
            replied.push(id);
            match reply.get("result") {
                Some(result) => {
                    assert_eq!(*result, json!([id - ids[0]]));
                    answered += 1;
                }
                None => {
                    let why = reason(&reply);
                    assert!(
                        why.contains("ended before an answer") || why.contains("not available"),
                        "{reply}"
                    );
                    told += 1;
                }
            }
        }
        replied.sort_unstable();
        assert_eq!(replied, ids, "each has one reply");
    }
    crate::until("all run again", || running(&server).len() == count);
    let pids = running(&server);
    let of_each = with_kib.saturating_sub(without_kib) / count as u64;
    println!(
        "{count} children, {killed} killed: {answered} calls answered, {told} told as lost; {of_each} KiB resident each"
    );
    assert_eq!(answered + told, 40 * 64);
    assert_eq!(server.stop().code, Some(0));
    assert!(pids.iter().all(|pid| !is_there(*pid)));
}
