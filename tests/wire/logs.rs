//! The log's file: it has every line, is opened anew for logrotate, and holds nobody up where it cannot be written.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::bytes;
use crate::client::Client;
use crate::control::{DEMO, ask, get, metric};
use crate::server::{Server, run, temporary_file, tickring};

/// A file's name; the file is not there, and is gone at the end.
struct Log(PathBuf);

impl Log {
    fn new() -> Log {
        let path = temporary_file("log", b"");
        fs::remove_file(&path).unwrap();
        Log(path)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }

    fn has(&self, part: &str) -> bool {
        self.text().contains(part)
    }

    fn rotated(&self) -> Log {
        Log(self.0.with_extension("log.1"))
    }

    fn rotate(&self) -> Log {
        let rotated = self.rotated();
        fs::rename(&self.0, &rotated.0).unwrap();
        rotated
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn flag(path: &Path) -> String {
    format!("log.file={}", path.display())
}

/// With a file of the log, and none of the configuration.
fn serve(mut command: Command, log: &Log) -> Server {
    command.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--cores", "0", "--set"]);
    command.arg(flag(&log.0));
    Server::launch(command)
}

/// Lines without their times, and each so far as both the file and stderr have it.
fn said(lines: &[String]) -> Vec<String> {
    let rest = |line: &String| line.split_once(' ').unwrap().1.chars().take(500).collect();
    lines.iter().map(rest).collect()
}

#[test]
fn the_file_has_every_line_that_stderr_has_to_the_last() {
    let log = Log::new();
    let server = serve(tickring(), &log);
    crate::until("it is in the file", || log.has("client_id \"demo\""));
    let logs = get(&server, "/api/logs?limit=1000").json();
    assert_eq!((&logs["source"], &logs["count"]), (&json!("file"), &logs["total"]), "{logs}");
    assert_eq!(logs["logs"][0]["number"], json!(null));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
    let lines: Vec<String> = log.text().lines().map(str::to_owned).collect();
    assert_eq!(said(&lines), said(&ended.log));
    let told = |what: &str| ended.log.iter().any(|line| line.contains(what));
    assert!(told("INFO  tickring::serve] shard-0 has ended: 0 connections, 0 messages"), "{:#?}", ended.log);
    assert!(
        told("DEBUG tickring::report] ShardReport {") && told("the venue has ended: "),
        "{:#?}",
        ended.log
    );
    // The next one goes on in it.
    let server = serve(tickring(), &log);
    crate::until("it goes on", || log.text().matches("client_id \"demo\"").count() == 2);
    let logs = get(&server, "/api/logs?limit=1000").json();
    assert_eq!(logs["count"].as_u64().unwrap(), lines.len() as u64 + logs["total"].as_u64().unwrap());
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_renamed_file_is_let_go_at_sighup_even_if_nothing_else_is_taken() {
    let log = Log::new();
    let mut server = serve(tickring(), &log);
    crate::until("it is in the file", || log.has("client_id \"demo\""));
    let rotated = log.rotate();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("the configuration is as it was");
    crate::until("it is in the new file", || log.has("the configuration is as it was"));
    assert!(rotated.has("client_id \"demo\"") && !rotated.has("as it was") && !log.has("client_id"));
    server.stop().assert_clean();

    let (first, second) = (Log::new(), Log::new());
    let toml = |log: &Log| format!("[log]\nfile = {:?}\n", log.0.display().to_string());
    let mut server = Server::start_with(&toml(&first), "0", &["--control", "127.0.0.1:0"]);
    crate::until("it is in the file", || first.has("client_id \"demo\""));
    let rotated = first.rotate();
    server.write_config("[log\n");
    server.signal(Signal::SIGHUP);
    crate::until("it is in the new file", || first.has("the configuration stays as it was"));
    assert!(!rotated.has("stays as it was"));
    // Another name, and a folder that is not there.
    server.write_config(&toml(&second));
    server.signal(Signal::SIGHUP);
    crate::until("it is in the other file", || second.has("from now on: log.file"));
    assert!(!first.has("from now on"));
    server.write_config("[log]\nfile = \"/nonexistent/a.log\"\n");
    server.signal(Signal::SIGHUP);
    crate::until("it stays", || second.has("the log stays where it was: log.file: /nonexistent/a.log: "));
    crate::until("nothing changed", || second.has("the configuration is as it was"));
    // None at all.
    server.write_config("");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("→ \"\"");
    assert_eq!(get(&server, "/api/logs").json()["source"], "memory");
    assert!(!second.has("→ \"\""));
    server.stop().assert_clean();
}

/// Has the server log so many lines at least: one for each message that an operator publishes, all on one connection.
fn write_lines(server: &Server, count: usize) {
    let message = |connection: &str| {
        let body = r#"{"topic":"topic.news","payload":1}"#;
        let length = body.len();
        format!(
            "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\nContent-Length: {length}\r\n{DEMO}\r\n{body}"
        )
    };
    let mut stream = bytes::connect(server.control.unwrap());
    let mut answers = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        answers.read_to_string(&mut text).unwrap();
        text.matches("HTTP/1.1 200 ").count()
    });
    stream.write_all((message("keep-alive").repeat(count - 1) + &message("close")).as_bytes()).unwrap();
    assert_eq!(reading.join().unwrap(), count);
}

#[test]
fn a_full_disk_is_told_once_and_counted_and_nobody_waits_for_it() {
    let log = Log::new();
    // No file of this process grows beyond 4 KiB: what comes after is refused, as by a full disk.
    let mut command = Command::new("sh");
    command.env("TICKRING_LOG_FILTER", "info,tickring::control=debug");
    command.env("TICKRING_LIMITS_MESSAGES_PER_S_MAX", "0").env("TICKRING_LIMITS_BYTES_PER_S_MAX", "0");
    command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tickring")]);
    let mut server = serve(command, &log);
    write_lines(&server, 4000);
    server.wait_for_log("the log cannot be written: ");
    // It is tried again once a second; what is beyond those that are kept is missing by then.
    crate::until("lines are missing", || metric(&server, "tickring_log_lines_dropped_total") > 500.0);
    let logs = get(&server, "/api/logs?limit=1000").json();
    assert_eq!((&logs["source"], &logs["count"]), (&json!("memory"), &json!(1000)));
    let mut client = Client::connect(server.address);
    client.call("public/test", &json!({}));
    assert!(!server.has_just_logged("the log cannot be written: "), "it is told once");
    assert_eq!(log.text().len(), 4096);
    let rotated = log.rotate();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("the log is written again; ");
    drop((client, rotated));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_file_that_cannot_be_opened_is_told_before_anything_is_served() {
    let mut command = tickring();
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--control",
        "off",
        "--set",
        "log.file=/nonexistent/a.log",
    ]);
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(78));
    let expected = "tickring: log.file: /nonexistent/a.log: No such file or directory (os error 2): \
        name a file in a folder that the server's user may write";
    assert_eq!(ended.log.last().unwrap(), expected);
}

/// Puts in the place of the log's file what whoever opens it to read waits at, as for a disk that does not answer.
fn hang(log: &Log) -> Log {
    let rotated = log.rotate();
    mkfifo(&log.0, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    rotated
}

#[test]
fn a_disk_that_does_not_answer_holds_up_neither_operators_nor_the_stop() {
    let log = Log::new();
    let mut server = serve(tickring(), &log);
    crate::until("it is in the file", || log.has("client_id \"demo\""));
    let source = |server: &Server| get(server, "/api/logs").json()["source"].clone();
    assert_eq!(source(&server), "file");
    let rotated = hang(&log);
    // The first waits for the file, and those behind it for the first.
    let address = server.control.unwrap();
    let asking: Vec<_> =
        (0..3).map(|_| std::thread::spawn(move || ask(address, "GET /api/logs", "", ""))).collect();
    for answer in asking {
        assert_eq!(answer.join().unwrap().json()["source"], "memory");
    }
    assert_eq!((get(&server, "/healthz").status, get(&server, "/metrics").status), (200, 200));
    assert_eq!(source(&server), "memory", "it still does not answer");
    // It answers again: there is somebody who writes.
    drop(fs::File::options().read(true).write(true).open(&log.0).unwrap());
    fs::remove_file(&log.0).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("the configuration is as it was");
    crate::until("it is read again", || source(&server) == "file");
    drop(rotated);
    let rotated = hang(&log);
    assert_eq!(source(&server), "memory");
    assert_eq!(server.stop().code, Some(0));
    drop(rotated);
}
