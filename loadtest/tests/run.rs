//! `loadtest run` as a process of its own against real servers with planted faults: what it counts is what was planted. The
//! servers are tungstenite's. Nothing here judges a time of the machine but by a wait that the server itself made.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

#[path = "run/planted.rs"]
mod planted;

use planted::Told;

const DIALECT: &str = r#"
name = "planted"

[subscribe]
send = "sub {topic}"
expect = "subscribed"

[publish]
send = "pub {topic} {data}"

[echo]
send = "{data}"
expect = '"at":'
"#;

/// A folder of one test's own.
fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Runs the tool as `test` has it: its scenario, and further flags.
fn loadtest(test: &str, scenario: &str, flags: &[&str]) -> Output {
    let folder = folder(test);
    let (scenario_path, dialect_path) = (folder.join("scenario.toml"), folder.join("dialect.toml"));
    fs::write(&scenario_path, scenario).expect("the scenario can be written");
    fs::write(&dialect_path, DIALECT).expect("the dialect can be written");
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("run")
        .arg("--scenario")
        .arg(&scenario_path)
        .arg("--dialect")
        .arg(&dialect_path)
        .arg("--output")
        .arg(folder.join("out"))
        .args(flags)
        .output()
        .expect("the tool starts")
}

/// The one run of `test`, as its JSON has it.
fn outcome(test: &str, scenario: &str, address: SocketAddr, flags: &[&str]) -> Value {
    let url = format!("ws://{address}/");
    let flags: Vec<&str> = ["--url", &url].into_iter().chain(flags.iter().copied()).collect();
    let output = loadtest(test, scenario, &flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test).join("out/results.json");
    let results: Value =
        serde_json::from_slice(&fs::read(path).expect("results are written")).expect("they are JSON");
    results["runs"][0].clone()
}

fn count(outcome: &Value, name: &str) -> u64 {
    outcome["counts"][name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {outcome}"))
}

fn errors(outcome: &Value) -> Vec<(String, u64)> {
    let errors = outcome["counts"]["errors"].as_object().expect("errors are an object");
    errors.iter().map(|(kind, count)| (kind.clone(), count.as_u64().expect("a count"))).collect()
}

fn fanout(more: &str) -> String {
    format!(
        "name = 'planted'\nconnections = 3\nwarmup_s = 0.2\nduration_s = 1\ndrain_s = 1\n{more}\n\
         [fanout]\nrate_per_s = 100\nsubscribers = 3\n"
    )
}

#[test]
fn what_is_left_out_told_twice_and_told_late_is_counted_exactly() {
    // 20 messages of the warm-up, then 100 that count.
    let address = planted::broadcast(|subscriber, number| match (subscriber, number) {
        (0, 5 | 30 | 31 | 120) => Told::Nothing,
        (1, 7 | 40) => Told::Twice,
        (2, 9 | 50) => Told::Later,
        _ => Told::Once,
    });
    let outcome = outcome("faults", &fanout(""), address, &[]);
    assert_eq!(count(&outcome, "published"), 100);
    assert_eq!(count(&outcome, "deliveries_expected"), 300);
    assert_eq!(count(&outcome, "deliveries_received"), 297);
    assert_eq!(
        ["gaps", "duplicates", "reordered"].map(|name| count(&outcome, name)),
        [3, 1, 1],
        "two in the middle, and the last"
    );
    assert_eq!(outcome["latencies"]["delivery"]["count"], 297);
    assert_eq!(outcome["latencies"]["spread"]["count"], 97, "of what all three were told");
    assert_eq!((count(&outcome, "connections_opened"), errors(&outcome)), (4, Vec::new()));
}

#[test]
fn what_a_closed_subscriber_misses_is_lost_and_the_close_is_counted_by_its_code() {
    let address = planted::broadcast(|subscriber, number| match (subscriber, number) {
        (1, 61) => Told::Close(1011),
        _ => Told::Once,
    });
    let outcome = outcome("closes", &fanout(""), address, &[]);
    assert_eq!(errors(&outcome), [("close 1011".to_owned(), 1)]);
    assert_eq!(count(&outcome, "connections_lost"), 1);
    // Numbers 21 to 60 came, of 21 to 120.
    assert_eq!((count(&outcome, "deliveries_received"), count(&outcome, "gaps")), (240, 60));
}

#[test]
fn a_lost_connection_is_opened_again_where_the_scenario_says_so() {
    let address = planted::broadcast(|subscriber, number| match (subscriber, number) {
        (1, 61) => Told::Close(1013),
        _ => Told::Once,
    });
    let outcome = outcome("reopens", &fanout("reopen = true"), address, &[]);
    assert_eq!(errors(&outcome), [("close 1013".to_owned(), 1)]);
    assert_eq!((count(&outcome, "connections_wanted"), count(&outcome, "connections_opened")), (5, 5));
    assert_eq!(outcome["latencies"]["reconnect"]["count"], 1);
    // The message that was replaced by the close is missing in any case; the next ones came before it was back, or not.
    assert!(1 <= count(&outcome, "gaps"));
    assert_eq!(count(&outcome, "deliveries_expected"), 300);
}

#[test]
fn several_processes_count_as_one_does() {
    let address = planted::broadcast(|_, _| Told::Once);
    let scenario = "name = 'shared'\nconnections = 6\nwarmup_s = 0.2\nduration_s = 1\ndrain_s = 2\n\
                    [fanout]\ntopics = 3\npublishers = 2\nrate_per_s = 90\nsubscribers = 6\n";
    let outcome = outcome("processes", scenario, address, &["--processes", "3"]);
    assert_eq!(outcome["generator"]["processes"], 3);
    assert_eq!((count(&outcome, "published"), count(&outcome, "deliveries_received")), (90, 180));
    assert_eq!((count(&outcome, "deliveries_expected"), count(&outcome, "gaps")), (180, 0));
    assert_eq!(count(&outcome, "connections_opened"), 8);
}

#[test]
fn a_server_that_stalls_once_is_late_for_all_that_was_due_meanwhile() {
    let address = planted::echo_with_stall(100, Duration::from_millis(500));
    let scenario =
        "name = 'stall'\nconnections = 1\nwarmup_s = 0\nduration_s = 2\n[requests]\nrate_per_s = 200\n";
    let outcome = outcome("stall", scenario, address, &[]);
    assert_eq!((count(&outcome, "requests_sent"), count(&outcome, "replies_received")), (400, 400));
    // Of the hundred requests that were due in the stall, fifty had 250 ms or more of it before them: an eighth of all. A tool
    // that waits for the reply before the next request would have been late once.
    let request = &outcome["latencies"]["request"];
    assert_eq!(request["count"], 400);
    let p90_ns = request["p90_ns"].as_u64().expect("a number");
    assert!(250_000_000 <= p90_ns, "{request}");
}

#[test]
fn requests_that_go_down_with_their_connection_are_counted_as_such() {
    let address = planted::serve(|mut socket| {
        for _ in 0..20 {
            let Ok(message) = socket.read() else { return };
            let _ = socket.send(message);
        }
        let _ = socket.read();
    });
    let scenario = "name = 'drop'\nconnections = 1\nwarmup_s = 0\nduration_s = 1\ndrain_s = 0\n[requests]\nrate_per_s = 50\n";
    let outcome = outcome("drop", scenario, address, &[]);
    let of =
        |kind: &str| errors(&outcome).into_iter().find(|error| error.0 == kind).map_or(0, |error| error.1);
    assert_eq!((count(&outcome, "replies_received"), count(&outcome, "connections_lost")), (20, 1));
    let lost = of("no reply: its connection was lost") + of("no reply");
    assert_eq!(count(&outcome, "requests_sent"), 20 + lost);
    assert_eq!(count(&outcome, "requests_sent") + of("not sent: no connection is open"), 50);
    assert_eq!(of("end without a close frame") + of("reset"), 1);
}

#[test]
fn connections_that_come_and_go_are_all_counted() {
    let address = planted::broadcast(|_, _| Told::Once);
    let scenario = "name = 'churn'\nconnections = 2\nwarmup_s = 0\nduration_s = 1\n\
                    [churn]\nper_s = 40\nabrupt_percent = 50\nhold_ms = 20\n";
    let outcome = outcome("churn", scenario, address, &[]);
    assert_eq!((count(&outcome, "connections_wanted"), count(&outcome, "connections_opened")), (42, 42));
    assert_eq!((count(&outcome, "connections_lost"), errors(&outcome)), (0, Vec::new()));
    assert_eq!(outcome["latencies"]["connect"]["count"], 42);
}

#[test]
fn half_of_a_crowd_that_is_cut_off_comes_back() {
    let address = planted::broadcast(|_, _| Told::Once);
    let scenario = "name = 'storm'\nconnections = 100\nwarmup_s = 0\nduration_s = 1\n\
                    [storm]\nevery_s = 1\nshare_percent = 50\n";
    let outcome = outcome("storm", scenario, address, &[]);
    assert_eq!((count(&outcome, "connections_opened"), count(&outcome, "connections_lost")), (150, 0));
    assert_eq!(outcome["latencies"]["reconnect"]["count"], 50);
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_exit_code_69_with_the_reason() {
    let scenario = "name = 'x'\nconnections = 2\nduration_s = 1\n";
    let refusing = planted::accept(|mut stream| {
        let _ = stream.read(&mut [0; 2048]);
        let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    });
    let url = format!("ws://{refusing}/");
    for (test, url, reason) in
        [("refused", "ws://127.0.0.1:1/", "connect refused x 2"), ("http", url.as_str(), "http 503 x 2")]
    {
        let output = loadtest(test, scenario, &["--url", url]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn a_run_without_the_grade_that_is_asked_for_is_exit_code_1() {
    let address = planted::broadcast(|_, number| if number % 2 == 0 { Told::Nothing } else { Told::Once });
    let url = format!("ws://{address}/");
    let output = loadtest("grade", &fanout(""), &["--url", &url, "--min-grade", "A"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_flaw_of_a_file_is_exit_code_2_with_its_line() {
    let output = loadtest(
        "flaw",
        "name = 'x'\nconnections = 1\n[requests]\nrate = 5\n",
        &["--url", "ws://127.0.0.1:1"],
    );
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("line 4: unknown field `rate`"), "{stderr}");
}

#[test]
fn a_scenario_that_the_server_cannot_do_is_not_run_and_says_why() {
    let scenario = "name = 'x'\nconnections = 1\nduration_s = 1\n[orders]\nrate_per_s = 1\ntraders = 1\n";
    let outcome = outcome("not-run", scenario, "127.0.0.1:1".parse().expect("an address"), &[]);
    let refused = outcome["refused"][0].as_str().expect("a reason");
    assert!(refused.starts_with("not run: the scenario has orders"), "{refused}");
}

#[test]
fn a_scenario_that_is_printed_is_one_that_runs_without_the_word_run() {
    let program = env!("CARGO_BIN_EXE_loadtest");
    let printed = Command::new(program).args(["scenarios", "echo"]).output().expect("the tool starts");
    let folder = folder("printed");
    let path = folder.join("echo.toml");
    fs::write(&path, &printed.stdout).expect("the scenario can be written");
    let address = planted::echo_with_stall(0, Duration::ZERO);
    let output = Command::new(program)
        .args(["--scenario", path.to_str().expect("a path in UTF-8"), "--dialect", "echo"])
        .args(["--connections", "2", "--rate", "50", "--duration", "1", "--url", &format!("ws://{address}")])
        .output()
        .expect("the tool starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && stdout.contains("echo"), "{stdout}");
}
