//! Latencies of a running server: as many are counted as there were requests, events and connections, threads that sleep hand over
//! theirs, and who does not turn is not waited for; the files that signals and the stop make of them, and the command that
//! reads those.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tickring::telemetry::latency::read_interval_log;

use crate::client::Client;
use crate::control::{get, start};
use crate::gap::Stopped;
use crate::orders::{far_below, limit, trader};
use crate::server::{Ended, Server, run, temporary_file, tickring};

/// One stage of all threads together, or of one.
fn stage(server: &Server, stage: &str, thread: &str) -> Value {
    let answer = get(server, "/api/histograms").json();
    let rows = answer["stages"].as_array().unwrap();
    let row = rows.iter().find(|row| row["stage"] == stage && row["thread"] == thread);
    row.unwrap_or_else(|| panic!("{stage} of {thread} is not in {answer}")).clone()
}

/// Waits until so many are counted, and looks whether their percentiles make sense.
fn await_count(server: &Server, name: &str, count: u64) {
    let mut row = Value::Null;
    crate::until(&format!("{name} has counted {count}"), || {
        row = stage(server, name, "all");
        row["count"] == count
    });
    let of = |name: &str| row[name].as_u64().unwrap();
    let upwards = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(of);
    assert!(upwards.is_sorted() && upwards[0] > 0, "{row}");
    assert!((of("min_ns")..=of("max_ns")).contains(&of("mean_ns")), "{row}");
}

#[test]
fn each_request_order_event_and_connection_is_measured_once() {
    let server = start("");
    let mut trader = trader(server.address);
    let price = far_below(&mut trader, 30);
    for _ in 0..3 {
        trader.call("private/buy", &limit(price, &json!({})));
    }
    let mut reader = Client::connect(server.address);
    reader.subscribe("topic.news");
    for number in 0..5 {
        reader.publish("news", &json!(number));
        reader.note();
    }
    // A notification has no answer.
    reader.send("public/test", &json!({}));
    reader.settle(1);
    await_count(&server, "upgrade", 2);
    await_count(&server, "order", 3);
    await_count(&server, "request", 2 + 3 + 1 + 5 + 1);
    await_count(&server, "decode", 2 + 3 + 1 + 5 + 1);
    await_count(&server, "publish_lossless", 5);
    for thread in ["shard-0", "venue"] {
        for name in ["turn", "mesh"] {
            assert!(stage(&server, name, thread)["count"].as_u64() > Some(0), "{name} of {thread}");
        }
    }
    let order = stage(&server, "order", "all")["p50_ns"].as_u64();
    assert!(order >= stage(&server, "mesh", "all")["min_ns"].as_u64());
    server.stop().assert_clean();
}

#[test]
fn what_takes_the_newest_value_is_measured_by_itself() {
    let server = start("");
    let mut reader = Client::connect(server.address);
    reader.subscribe("ticker.BTC-PERPETUAL.raw");
    (0..20).for_each(|_| drop(reader.note()));
    crate::until("tickers are measured", || {
        stage(&server, "publish_latest", "all")["count"].as_u64() >= Some(15)
    });
    assert_eq!(stage(&server, "publish_lossless", "all")["count"], 0);
    server.stop().assert_clean();
}

#[test]
fn threads_that_sleep_hand_over_what_they_have() {
    let server = Server::start_with("[feed.paper]\nevents_per_s = 1\n", "0,1", &["--control", "127.0.0.1:0"]);
    let mut before = 0;
    for _ in 0..5 {
        let answer = get(&server, "/api/histograms").json();
        assert_eq!(answer["missing_threads"], json!([]));
        // Being woken is a turn, which the next answer has.
        let turns = stage(&server, "turn", "all")["count"].as_u64().unwrap();
        assert!(turns >= before);
        before = turns;
    }
    server.stop().assert_clean();
}

#[test]
fn a_thread_that_stands_still_is_told_as_missing_and_counts_when_it_goes_on() {
    let server = start("");
    let mut client = Client::connect(server.address);
    client.request("public/test", &json!({}));
    await_count(&server, "request", 1);
    let missing = || get(&server, "/api/histograms").json()["missing_threads"].clone();
    let stopped = Stopped::thread(&server, "shard-0");
    crate::until("the thread is missed", || missing() == json!(["shard-0"]));
    // Told again and again, as are those that turn.
    assert_eq!(missing(), json!(["shard-0"]));
    assert_eq!(stage(&server, "request", "all")["count"], 1);
    drop(stopped);
    client.request("public/test", &json!({}));
    await_count(&server, "request", 2);
    assert_eq!(missing(), json!([]));
    server.stop().assert_clean();
}

/// A folder of a test's own, removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let file = temporary_file("state", b"");
        fs::remove_file(&file).unwrap();
        Folder(file)
    }

    fn toml(&self, more: &str) -> String {
        format!("[service]\nstate_dir = {:?}\n{more}", self.0)
    }

    /// All files in it, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How often a tag was recorded, by a file.
fn recorded(file: &Path, tag: &str) -> u64 {
    let entries = read_interval_log(&fs::read(file).unwrap()).unwrap();
    entries.iter().filter(|entry| entry.tag == tag).map(|entry| entry.histogram.len()).sum()
}

/// Has the server write a file, whose name its log tells.
fn dump(server: &mut Server) -> PathBuf {
    server.signal(Signal::SIGUSR1);
    let line = server.wait_for_log(": histograms of the last ");
    let start = line.find('/').unwrap();
    line[start..line.find(": histograms").unwrap()].into()
}

fn requests(client: &mut Client, count: u64) {
    (0..count).for_each(|_| drop(client.request("public/test", &json!({}))));
}

#[test]
fn a_signal_writes_the_interval_another_begins_a_new_one_and_the_stop_writes_the_last() {
    let folder = Folder::new();
    let mut server = Server::start(&folder.toml(""), "0,1");
    let mut client = Client::connect(server.address);
    requests(&mut client, 7);
    let first = dump(&mut server);
    assert_eq!(folder.files(), std::slice::from_ref(&first));
    assert_eq!((recorded(&first, "request.all"), recorded(&first, "upgrade.all")), (7, 1));
    let of_threads = recorded(&first, "request.shard-0") + recorded(&first, "request.shard-1");
    assert_eq!(of_threads, 7);
    assert!(recorded(&first, "turn.venue") > 0);
    // Writing ends no interval.
    requests(&mut client, 2);
    assert_eq!(recorded(&dump(&mut server), "request.all"), 9);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("histograms begin a new interval");
    requests(&mut client, 4);
    let third = dump(&mut server);
    assert_eq!((recorded(&third, "request.all"), recorded(&third, "upgrade.all")), (4, 0));
    requests(&mut client, 1);
    drop(client);
    server.stop().assert_clean();
    let files = folder.files();
    assert_eq!((files.len(), recorded(&files[3], "request.all")), (4, 5));
}

#[test]
fn files_are_written_at_an_interval_each_of_its_own_and_a_line_sums_up() {
    let folder = Folder::new();
    let toml = folder.toml("histogram_interval_s = 1\nsummary_interval_s = 1\n");
    let mut server = Server::start(&toml, "0");
    let mut client = Client::connect(server.address);
    requests(&mut client, 3);
    server.wait_for_log("1 connections, ");
    assert!(server.last_line().contains(" messages/s, "), "{}", server.last_line());
    server.wait_for_log(": histograms of the last ");
    crate::until("a file has the requests", || {
        folder.files().iter().map(|file| recorded(file, "request.all")).sum::<u64>() == 3
    });
    drop(client);
    server.stop().assert_clean();
    assert_eq!(folder.files().iter().map(|file| recorded(file, "request.all")).sum::<u64>(), 3);
}

#[test]
fn the_command_prints_what_a_file_has_and_says_what_is_wrong_with_one() {
    let folder = Folder::new();
    let mut server = Server::start(&folder.toml(""), "0");
    let mut client = Client::connect(server.address);
    requests(&mut client, 5);
    let file = dump(&mut server);
    drop(client);
    server.stop().assert_clean();
    let output = tickring().arg("histogram").arg(&file).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && table.starts_with("tag "), "{table}");
    let requests = table.lines().find(|line| line.starts_with("request.all ")).unwrap();
    assert_eq!(requests.split_whitespace().nth(1), Some("5"), "{table}");
    assert!(!table.contains(['\x1b', '█']), "a pipe gets a plain table");
    let fails = |arguments: &[&str], code: i32, part: &str| {
        let Ended { code: ended, log } = run(tickring().arg("histogram").args(arguments));
        assert_eq!(ended, Some(code), "{log:?}");
        assert!(log.len() == 1 && log[0].contains(part), "{log:?}");
    };
    let name = file.to_str().unwrap();
    fails(&["/nowhere/to/be/found"], 66, "name a file that SIGUSR1 has made");
    fails(&[name, "--tag", "nothing"], 64, "no such tag: it has ");
    fs::write(&file, b"GIF89a").unwrap();
    fails(&[name], 65, "is no line of a histogram log: expected a log of HdrHistogram");
}
