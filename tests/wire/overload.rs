//! Overload on a real server: driven there by readers that do not read and by messages that do not end, and back.
//!
//! Each test waits for what the server says in its log and answers on its port; how fast it gets there decides nothing.
//! Turns are left out (`turn_ms_max = 0`): on a busy machine they are as long as they are.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use crate::bytes::{self, FIN, TEXT};
use crate::client::{Client, End};
use crate::server::{Server, number_after};

const MARKS: &str = "[overload]\nguard_percent = 50\nguard_leave_percent = 40\nshed_percent = 80\n\
    shed_leave_percent = 60\nturn_ms_max = 0\ndwell_ms = 10\n";
/// What a server takes besides what it counts, and besides its code: stacks, tables, histograms (some 12 MiB) and what the allocator keeps.
const UNCOUNTED_BYTES_MAX: u64 = 24 * 1024 * 1024;

fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = bytes::connect(address);
    stream.write_all(request).unwrap();
    String::from_utf8(bytes::read_to_end(&mut stream)).unwrap()
}

/// The status of a probe's answer.
fn probe(server: &Server, line: &str) -> String {
    let answer = answer(server.address, format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(answer.contains("\r\nRetry-After: "), answer.starts_with("HTTP/1.1 503"), "{answer}");
    answer[9..12].to_owned()
}

/// Messages to readers, the first of which reads each as it comes.
struct Storm {
    publisher: Client,
    good: Client,
    published: u64,
}

impl Storm {
    fn publish(&mut self) {
        let data = "x".repeat(20_000);
        self.publisher.publish("storm", &json!(data));
        self.published += 1;
        assert_eq!(self.good.note()["seq"], self.published, "who keeps up misses nothing");
    }
}

/// What the server says it holds at a change, beside what the kernel says.
fn check_resident(server: &Server, line: &str) {
    let counted = number_after(line, " with ");
    let resident = server.own_kib() * 1024;
    println!(
        "{line}\nresident: {resident} bytes, {} more than counted",
        resident.cast_signed() - counted.cast_signed()
    );
    assert!(resident < counted + UNCOUNTED_BYTES_MAX, "what grows is counted");
}

#[test]
fn slow_readers_drive_it_there_and_it_comes_back_by_itself() {
    let limits = "[limits]\nmemory_bytes_max = 60000000\nqueued_bytes_max = 67108864\n";
    let mut server = Server::start(&format!("{limits}{MARKS}"), "0");
    let mut storm = Storm {
        publisher: Client::connect(server.address),
        good: Client::connect(server.address),
        published: 0,
    };
    storm.good.subscribe("topic.storm");
    let mut costly = Client::over(bytes::connect_narrow(server.address));
    costly.subscribe("topic.storm");
    let mut cheap = Client::over(bytes::connect_narrow(server.address));
    cheap.subscribe("topic.quiet");
    for number in 0..5 {
        storm.publisher.publish("quiet", &json!([number, "y".repeat(1000)]));
    }
    assert_eq!((probe(&server, "GET /ready"), probe(&server, "GET /healthz")), ("200".into(), "200".into()));

    crate::until("it is guarded", || {
        storm.publish();
        server.has_just_logged("is guarded")
    });
    check_resident(&server, &server.last_line());
    assert_eq!(probe(&server, "GET /ready"), "503");
    assert_eq!(probe(&server, "HEAD /ready"), "503");
    assert_eq!(probe(&server, "GET /healthz"), "200");
    let refusal = answer(server.address, &bytes::upgrade_request());
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("\r\nRetry-After: 5\r\n"), "{refusal}");

    crate::until("it is shedding", || {
        storm.publish();
        server.has_just_logged("is shedding")
    });
    check_resident(&server, &server.last_line());
    server.wait_for_log("shed, told 1013");
    server.wait_for_log("is normal");
    assert_eq!(probe(&server, "GET /ready"), "200");
    let mut newcomer = Client::connect(server.address);
    newcomer.subscribe("topic.storm");
    storm.publish();
    assert_eq!(newcomer.note()["seq"], storm.published);
    for number in 0..5 {
        assert_eq!(cheap.note()["data"][0], number, "who held little is still here");
    }
    // It is told when it reads; what the kernel had taken for it comes first.
    match costly.read_to_end(|_| {}) {
        End::Close { code, reason } => {
            assert_eq!((code, reason.contains("overloaded")), (1013, true), "{reason}")
        }
        End::Reset => {}
    }
    drop((storm, costly, cheap, newcomer));
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!((ended.incidents("shed"), ended.incidents("overloaded")), (1, 1));
    assert_eq!(ended.of_shards("overload_entered_total"), 1);
    assert_eq!(ended.of_shards("overload_left_total"), 1);
    assert_eq!(ended.of_shards("overload_stance"), 0);
    assert_eq!(ended.of_shards("probes_answered_total"), 6);
}

#[test]
fn messages_that_do_not_end_are_made_to_go() {
    let mut server = Server::start(&format!("[limits]\nmemory_bytes_max = 40000000\n{MARKS}"), "0");
    let mut reader = Client::connect(server.address);
    let mut hogs: Vec<TcpStream> = (0..600).map(|_| bytes::open(server.address)).collect();
    let frame = bytes::frame(FIN | TEXT, &[b' '; 60_000]);
    let mut sending = hogs.iter_mut();
    crate::until("it is shedding", || {
        let hog = sending.next().expect("six hundred of them are too much");
        hog.write_all(&frame[..frame.len() - 1]).unwrap();
        assert!(reader.call("public/test", &json!({}))["version"].is_string());
        server.has_just_logged("is shedding")
    });
    check_resident(&server, &server.last_line());
    server.wait_for_log("shed, told 1013");
    server.wait_for_log("is guarded");
    // All of them hold the same: the first in the table was the first to go.
    assert_eq!(bytes::read_frame(&mut hogs[0]).close_code(), Some(1013));
    assert_eq!(probe(&server, "GET /ready"), "503");
    drop(hogs);
    server.wait_for_log("is normal");
    assert_eq!(probe(&server, "GET /ready"), "200");
    reader.close();
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.incidents("shed") > 0);
    assert_eq!((ended.of_shards("overload_entered_total"), ended.of_shards("overload_left_total")), (1, 1));
}

#[test]
fn while_it_sheds_nothing_new_is_kept_for_who_is_here_and_all_else_goes_on() {
    // It sheds until the test is over.
    let marks = MARKS.replace("dwell_ms = 10\n", "dwell_ms = 600000\n");
    let mut server = Server::start(&format!("[limits]\nmemory_bytes_max = 40000000\n{marks}"), "0");
    let mut here = Client::connect(server.address);
    here.subscribe("topic.known");
    assert_eq!(here.publish("known", &json!(1)).1, 1);
    let mut hogs: Vec<TcpStream> = (0..600).map(|_| bytes::open(server.address)).collect();
    let frame = bytes::frame(FIN | TEXT, &[b' '; 60_000]);
    let mut sending = hogs.iter_mut();
    while !server.has_just_logged("is shedding") {
        let hog = sending.next().expect("six hundred of them are too much");
        hog.write_all(&frame[..frame.len() - 1]).unwrap();
        assert!(here.call("public/test", &json!({}))["version"].is_string());
    }
    let subscribed = here.request("public/subscribe", &json!({"channels": ["topic.other"]}));
    let published = here.request("topic/publish", &json!({"topic": "other", "data": 1}));
    for reply in [subscribed, published] {
        assert_eq!(reply["error"]["code"], 10040, "{reply}");
    }
    assert_eq!(here.publish("known", &json!(2)).1, 2);
    assert_eq!([here.note()["data"].clone(), here.note()["data"].clone()], [1, 2]);
    let told = server.wait_for_log(": overload_declined");
    assert!(told.contains(": overload_declined, told 10040"), "{told}");
    drop(hogs);
    here.close();
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("overload_declined"), 2);
}

#[test]
fn a_probe_has_two_methods_and_names_its_host() {
    let server = Server::start("", "0");
    let refused = answer(server.address, b"POST /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET, HEAD\r\n"),
        "{refused}"
    );
    let refused = answer(server.address, b"GET /healthz HTTP/1.1\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let ready = answer(server.address, b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(ready.ends_with("\r\n\r\nready\n"), "{ready}");
    let ended = server.stop();
    assert_eq!((ended.incidents("probe_method"), ended.incidents("host_not_single")), (1, 1));
    ended.assert_clean();
}
