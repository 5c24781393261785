//! Latencies of a running server: as many are counted as there were requests, events and connections, threads that sleep hand over
//! theirs, and who does not turn is not waited for.

use serde_json::{Value, json};

use crate::client::Client;
use crate::control::{get, start};
use crate::gap::Stopped;
use crate::orders::{far_below, limit, trader};
use crate::server::Server;

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
    assert_eq!(missing(), json!(["shard-0"]));
    // The others are told, again and again.
    assert_eq!(missing(), json!(["shard-0"]));
    assert_eq!(stage(&server, "request", "all")["count"], 1);
    drop(stopped);
    client.request("public/test", &json!({}));
    await_count(&server, "request", 2);
    assert_eq!(missing(), json!([]));
    server.stop().assert_clean();
}
