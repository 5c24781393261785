//! Clients that fall silent: they say nothing, stand still, or are cut off without a word.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{BAD, Good, check_told, open};
use crate::DEADLINE;
use crate::bytes::{self, CLOSE, FIN, PING, TEST, TEXT};
use crate::client::Client;
use crate::server::{Ended, Killed, Server, lines_of, tickring};

/// What finds a peer that vanished in less than five seconds.
const WATCHFUL: &str =
    "[[listen]]\nping_interval_ms = 1000\nping_timeout_ms = 1000\nunacknowledged_ms_max = 1000\n";

/// Waits until the server says something, while the good client is served.
fn hear(stream: &TcpStream, good: &mut Good) {
    crate::until("the server says something", || {
        good.check_served();
        !bytes::is_silent(stream)
    });
}

#[test]
fn who_says_nothing_is_closed_with_1000_once_it_was_idle_too_long() {
    let toml = "[[listen]]\nping_interval_ms = 0\n[limits]\nidle_timeout_ms = 1500\n";
    let server = Server::start(toml, "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    hear(&stream, &mut good);
    assert_eq!(bytes::read_frame(&mut stream).close_code(), Some(1000));
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    check_told(server, good, &[("idle_timeout", 1000, 1)]);
}

#[test]
fn who_answers_no_ping_is_closed_with_1008() {
    let server = Server::start(WATCHFUL, "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    hear(&stream, &mut good);
    assert_eq!(bytes::read_frame(&mut stream).head, FIN | PING);
    hear(&stream, &mut good);
    assert_eq!(bytes::read_frame(&mut stream).close_code(), Some(1008));
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    check_told(server, good, &[("ping_timeout", 1008, 1)]);
}

/// The text of the server's next frame.
fn read_text(stream: &mut TcpStream) -> String {
    let frame = bytes::read_frame(stream);
    assert_eq!(frame.head, FIN | TEXT, "{frame:?}");
    String::from_utf8(frame.payload).unwrap()
}

#[test]
fn who_answers_no_test_request_is_closed_with_1008_and_who_does_is_not() {
    // The shortest interval is ten seconds; no ping comes between.
    let server = Server::start("[[listen]]\nping_interval_ms = 0\n", "0");
    let good = Good::beside(&server);
    let set = br#"{"jsonrpc":"2.0","id":1,"method":"public/set_heartbeat","params":{"interval":10}}"#;
    let [mut lost, mut alive] = [open(&server), open(&server)];
    for stream in [&mut lost, &mut alive] {
        stream.write_all(&bytes::frame(FIN | TEXT, set)).unwrap();
        assert!(read_text(stream).contains(r#""result":"ok""#));
    }
    for stream in [&mut lost, &mut alive] {
        let asked = read_text(stream);
        assert!(asked.contains(r#""method":"heartbeat","params":{"type":"test_request"}"#), "{asked}");
    }
    let mut answer = || {
        alive.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())).unwrap();
        read_text(&mut alive)
    };
    assert!(answer().contains("\"version\""));
    assert_eq!(bytes::read_frame(&mut lost).close_code(), Some(1008));
    assert_eq!(bytes::read_to_end(&mut lost), b"");
    // At the end of the same interval.
    let told = answer();
    assert!(told.contains(r#""method":"heartbeat""#), "{told}");
    assert!(read_text(&mut alive).contains("\"version\""));
    drop(alive);
    check_told(server, good, &[("heartbeat_lost", 1008, 1)]);
}

#[test]
fn a_client_process_that_stands_still_is_found_though_its_kernel_acknowledges() {
    let mut server = Server::start(WATCHFUL, "0");
    let mut good = Good::beside(&server);
    let url = format!("ws://{}/ws", server.address);
    let mut command = tickring();
    command.args(["watch", "trades.*.raw", "--url", &url]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut still = Killed(command.spawn().unwrap());
    lines_of(still.0.stdout.take().unwrap()).recv_timeout(DEADLINE).unwrap();
    kill(Pid::from_raw(i32::try_from(still.0.id()).unwrap()), Signal::SIGSTOP).unwrap();
    crate::until("it is closed", || {
        good.check_served();
        server.has_just_logged(": ping_timeout, told 1008")
    });
    drop(still);
    let ended = check_told(server, good, &[]);
    assert_eq!(ended.incidents("ping_timeout"), 1);
}

/// A server in a network of its own; none where that takes rights that this process has not.
fn start_apart(toml: &str) -> Option<Server> {
    let mut apart = Command::new("unshare");
    apart.args(["-n", "ip", "link"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !apart.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let config = crate::server::temporary_file("toml", toml.as_bytes());
    let mut command = Command::new("unshare");
    let script = "ip link set lo up && exec \"$@\"";
    command.args(["-n", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_tickring")]);
    command
        .args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0", "--config"])
        .arg(&config);
    let server = Server::launch(command);
    std::fs::remove_file(config).unwrap();
    Some(server)
}

/// Says that there is nothing to test with here, or fails where nothing may be left out.
fn not_run(why: &str) {
    println!("not run: {why}");
    assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "{why}, and TICKRING_REQUIRE is set");
}

#[test]
fn a_client_whose_network_is_cut_is_found_without_a_ping() {
    // No pings and no idle timeout: what is sent is not acknowledged, and that alone tells.
    let toml = "[[listen]]\nping_interval_ms = 0\nunacknowledged_ms_max = 1000\n\
        [limits]\nidle_timeout_ms = 0\n[feed.paper]\nevents_per_s = 50\n";
    let Some(mut server) = start_apart(toml) else {
        return not_run("a network of its own needs rights that this process has not");
    };
    let (id, address) = (server.id(), server.address);
    // A thread enters the server's network; what it starts is there as well.
    let cut = thread::spawn(move || {
        let network = std::fs::File::open(format!("/proc/{id}/ns/net")).unwrap();
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        let mut client = Client::connect(address);
        client.call("public/subscribe", &json!({"channels": ["ticker.*.raw"]}));
        client.note();
        let status = Command::new("ip").args(["link", "set", "lo", "down"]).status().unwrap();
        assert!(status.success());
        client
    });
    let client = cut.join().unwrap();
    server.wait_for_log(": vanished");
    drop(client);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("vanished"), 1);
}

#[test]
fn who_ends_its_side_is_answered_and_let_go_in_any_state() {
    let server = Server::start("", "0");
    let mut good = Good::beside(&server);
    let whole = bytes::frame(FIN | TEXT, TEST.as_bytes());
    let close = bytes::frame(FIN | CLOSE, &1000_u16.to_be_bytes());
    let subscribe = json!({
        "jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": ["ticker.*.raw"]}
    });
    let subscribe = bytes::frame(FIN | TEXT, subscribe.to_string().as_bytes());
    // Before the request, in the middle of it and behind it.
    for sent in [&b""[..], b"GET /ws HT"] {
        let mut stream = bytes::connect_from(BAD, server.address);
        stream.write_all(sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bytes::read_to_end(&mut stream), b"");
    }
    let states = [
        (vec![], 0),
        (whole[..9].to_vec(), 0),
        (bytes::frame(TEXT, b"{"), 0),
        (whole.clone(), 1),
        (bytes::frame(FIN | TEXT, b"{}"), 1),
        (whole.repeat(20), 20),
        // Another thread has to be asked.
        (subscribe, 1),
        (close, 1),
    ];
    for (sent, frames_min) in states {
        let mut stream = bytes::connect_from(BAD, server.address);
        stream.write_all(&[bytes::upgrade_request(), sent].concat()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let head = bytes::read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        for _ in 0..frames_min {
            bytes::read_frame(&mut stream);
        }
        bytes::read_to_end(&mut stream);
        good.check_served();
    }
    check_told(server, good, &[]).assert_no_incident();
}

#[test]
fn who_is_reset_in_any_state_is_forgotten_beside_a_good_client() {
    let whole = bytes::frame(FIN | TEXT, TEST.as_bytes());
    let before = [&b""[..], b"GET /ws HT", &bytes::upgrade_request()];
    let after = [
        vec![],
        whole[..9].to_vec(),
        bytes::frame(TEXT, b"{"),
        // Replies that are not read.
        whole.repeat(500),
        // While closing from its own side.
        bytes::frame(FIN | CLOSE, &1000_u16.to_be_bytes()),
    ];
    reset_after(&before, &after).assert_no_incident();
    // While closing from the server's side, which is told of the frame and not of the reset.
    let broken = [bytes::frame(FIN | 3, b"")];
    assert!(reset_after(&[], &broken).lines_about("vanished").is_empty());
}

/// Resets connections again and again that have sent these bytes of a request, or these after their upgrade.
fn reset_after(before: &[&[u8]], after: &[Vec<u8>]) -> Ended {
    let server = Server::start("", "0");
    let mut good = Good::beside(&server);
    for _ in 0..10 {
        for sent in before {
            let mut stream = bytes::connect_from(BAD, server.address);
            stream.write_all(sent).unwrap();
            bytes::reset(stream);
        }
        for sent in after {
            let mut stream = open(&server);
            stream.write_all(sent).unwrap();
            bytes::reset(stream);
            good.check_served();
        }
    }
    check_told(server, good, &[])
}
