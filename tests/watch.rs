//! `tickring watch` as a process, against a small server on a real socket.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tungstenite::{Message, WebSocket};

const REPLY: &str = r#"{"jsonrpc":"2.0","id":ID,"result":["quote.A"]RESUMED,"usIn":1,"usOut":2,"usDiff":1}"#;

/// A server's side of one connection: the upgrade, and the subscribe request that must come first.
fn accept(listener: &TcpListener) -> (WebSocket<TcpStream>, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut socket = tungstenite::accept(stream).unwrap();
    let request = socket.read().unwrap().into_text().unwrap().to_string();
    (socket, request)
}

fn say(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

fn quote(seq: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"quote.A","data":{{"best_bid_price":100.50,"best_bid_amount":{seq},"best_ask_price":101.0,"best_ask_amount":2,"timestamp":0}},"epoch":17,"seq":{seq}}}}}"#
    )
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    (listener, url)
}

fn watch(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tickring"))
        .arg("watch")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn finish(child: Child) -> (i32, Output) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), output)
}

#[test]
fn resumes_after_a_cut_and_prints_plain_lines_in_a_pipe() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (mut socket, first) = accept(&listener);
        say(&mut socket, &REPLY.replace("ID", "1").replace("RESUMED", ""));
        (1..=3).for_each(|seq| say(&mut socket, &quote(seq)));
        drop(socket);
        let (mut socket, second) = accept(&listener);
        let resumed = r#","resumed":{"quote.A":{"recovered":true}}"#;
        say(&mut socket, &REPLY.replace("ID", "2").replace("RESUMED", resumed));
        say(&mut socket, r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#);
        let answer = socket.read().unwrap().into_text().unwrap().to_string();
        (4..=5).for_each(|seq| say(&mut socket, &quote(seq)));
        // The client leaves by itself after its fifth update.
        let _ = socket.read();
        [first, second, answer]
    });
    let (code, output) = finish(watch(&["quote.A", "--url", &url, "--count", "5"]));
    assert_eq!(code, 0, "{}", text(&output.stderr));
    let [first, second, answer] = server.join().unwrap();
    assert_eq!(
        first,
        r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["quote.A"]}}"#
    );
    assert_eq!(
        second,
        r#"{"jsonrpc":"2.0","id":2,"method":"public/subscribe","params":{"channels":["quote.A"],"resume":{"quote.A":{"epoch":17,"seq":3}}}}"#
    );
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":3,"method":"public/test","params":{}}"#);
    let lines: Vec<String> = (1..=5)
        .map(|seq| {
            format!(
                "00:00:00.000  quote.A  bid       100.50 x {seq:<10}  ask        101.0 x 2           #{seq}"
            )
        })
        .collect();
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), lines);
}

#[test]
fn prints_the_json_as_received() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (mut socket, _) = accept(&listener);
        say(&mut socket, &REPLY.replace("ID", "1").replace("RESUMED", ""));
        say(&mut socket, &quote(9));
        let _ = socket.read();
    });
    let (code, output) = finish(watch(&["quote.A", "--url", &url, "--raw", "--count", "1"]));
    server.join().unwrap();
    assert_eq!((code, text(&output.stdout)), (0, format!("{}\n", quote(9))));
}

#[test]
fn leaves_quietly_when_its_reader_has_seen_enough() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (mut socket, _) = accept(&listener);
        say(&mut socket, &REPLY.replace("ID", "1").replace("RESUMED", ""));
        for seq in 1.. {
            if socket.send(Message::text(quote(seq))).is_err() {
                return;
            }
        }
    });
    let mut child = watch(&["quote.A", "--url", &url]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("100.50"), "{first}");
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
    server.join().unwrap();
}

#[test]
fn says_in_one_line_why_it_cannot() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (mut socket, _) = accept(&listener);
        say(&mut socket, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid params"}}"#);
        let _ = socket.read();
    });
    let (code, output) = finish(watch(&["nonsense", "--url", &url]));
    server.join().unwrap();
    assert_eq!(code, 65);
    assert!(text(&output.stderr).contains("refuses the subscription: Invalid params (-32602)"));

    // The listener is gone: nobody is there any more.
    let (code, output) = finish(watch(&["quote.A", "--url", &url]));
    assert_eq!((code, text(&output.stderr).lines().count()), (69, 1));
    assert!(text(&output.stderr).contains("Connection refused"), "{}", text(&output.stderr));
}
