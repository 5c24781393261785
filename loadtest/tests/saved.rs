//! Saved results through the program itself: what `report` writes, what `compare` answers, and both exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Runs of 1 s with this p99 of requests, each a little later than the one before.
fn results(p99_ns: u64, runs: u64) -> Value {
    let run = |number: u64| {
        json!({
            "scenario": "echo", "scenario_toml": "name = \"echo\"\n", "server": "tickring", "server_version": null,
            "url": "ws://127.0.0.1:9001/ws", "started_unix_ms": 1_795_322_218_000_u64, "measured_ns": 1_000_000_000,
            "counts": {
                "connections_wanted": 10, "connections_opened": 10, "connections_lost": 0, "requests_sent": 5_000,
                "replies_received": 5_000, "published": 0, "deliveries_expected": 0, "deliveries_received": 0,
                "gaps": 0, "duplicates": 0, "reordered": 0, "bytes_sent": 100, "bytes_received": 100, "errors": {}
            },
            "latencies": { "request": {
                "count": 5_000, "min_ns": 1_000, "mean_ns": 5e4, "p50_ns": 50_000, "p90_ns": 60_000,
                "p99_ns": p99_ns + number, "p999_ns": p99_ns + 100, "p9999_ns": p99_ns + 200, "max_ns": p99_ns + 300,
                "curve": [[0.5, 50_000], [0.99, p99_ns]]
            } },
            "seconds": [{
                "at_ms": 1_000, "connections": 10, "sent": 5_000, "received": 5_000, "errors": 0, "p50_ns": 50_000,
                "p99_ns": p99_ns, "max_ns": p99_ns, "server_cpu_cores": null, "server_resident_bytes": null
            }],
            "server_use": null,
            "generator": {
                "processes": 1, "busy_share": 0.5, "lag_p50_ns": 1, "lag_p99_ns": 2, "steal_share": null
            },
            "refused": [], "graded": null
        })
    };
    json!({
        "format": 1,
        "host": { "kernel": "6.1.0-test", "cpu": "Example CPU", "cores": 2, "memory_bytes": 1_073_741_824 },
        "tool": { "version": "0.1.0", "commit": null, "arguments": ["run"] },
        "runs": (1..=runs).map(run).collect::<Vec<_>>()
    })
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("saved-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the folder for tests can be written to");
    path
}

fn save(folder: &Path, name: &str, results: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, results.to_string()).expect("the folder for tests can be written to");
    path
}

fn loadtest(arguments: &[&str], files: &[&Path]) -> Output {
    let program = env!("CARGO_BIN_EXE_loadtest");
    Command::new(program).args(arguments).args(files).output().expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_regression_between_saved_runs_is_the_exit_code_and_none_is_not() {
    let folder = folder("compare");
    let before = save(&folder, "before.json", &results(400_000, 5));
    let slower = save(&folder, "slower.json", &results(500_000, 5));
    let worse = loadtest(&["compare"], &[&before, &slower]);
    assert_eq!(worse.status.code(), Some(1), "{}", said(&worse));
    assert!(said(&worse).contains("WORSE"), "{}", said(&worse));
    let better = loadtest(&["compare"], &[&slower, &before]);
    assert_eq!(better.status.code(), Some(0), "{}", said(&better));
    let within = loadtest(&["compare", "--threshold", "30"], &[&before, &slower]);
    assert_eq!(within.status.code(), Some(0), "{}", said(&within));
    let few = save(&folder, "few.json", &results(900_000, 1));
    let undecided = loadtest(&["compare"], &[&before, &few]);
    assert_eq!(undecided.status.code(), Some(0), "{}", said(&undecided));
    assert!(said(&undecided).contains("not enough runs to tell"), "{}", said(&undecided));
}

#[test]
fn saved_runs_are_graded_again_and_written_in_every_form() {
    let folder = folder("report");
    let saved = save(&folder, "saved.json", &results(3_000_000, 2));
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    std::fs::write(folder.join("bounds.toml"), "request_p99_ms = [1, 2, 4, 8, 16]\n")
        .expect("it can be written");
    let (bounds, json, csv, html) =
        (path("bounds.toml"), path("again.json"), path("runs.csv"), path("page.html"));
    let graded = ["report", "--thresholds", &bounds, "--json", &json, "--csv", &csv, "--html", &html];
    let shown = loadtest(&[graded.as_slice(), &["--min-grade", "B"]].concat(), &[&saved]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(!said(&shown).contains('\x1b'), "colours where there is no terminal");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it was written");
    let again: Value = serde_json::from_str(&read("again.json")).expect("it is JSON");
    assert_eq!(again["runs"][0]["graded"]["grade"], "B");
    assert_eq!(read("runs.csv").lines().count(), 3);
    assert_eq!(read("runs.seconds.csv").lines().count(), 3);
    assert!(read("page.html").contains("within the 4 ms of B"));

    let below = loadtest(&["report", "--min-grade", "A"], &[Path::new(&json)]);
    assert_eq!(below.status.code(), Some(1), "{}", said(&below));
    assert!(
        said(&below).contains("below: echo against tickring: B, and A was asked for"),
        "{}",
        said(&below)
    );
    let all = path("all/forms");
    let written = loadtest(&["report", "--output", &all], &[&saved]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    for name in ["results.json", "results.csv", "results.seconds.csv", "report.html"] {
        assert!(Path::new(&all).join(name).exists(), "{name}");
    }

    let ungraded = loadtest(&["report", "--min-grade", "F"], &[&saved]);
    assert_eq!(ungraded.status.code(), Some(1), "{}", said(&ungraded));
}

#[test]
fn a_file_that_is_no_result_is_named_with_the_reason() {
    let folder = folder("refused");
    let mut other = results(400_000, 1);
    other["format"] = json!(2);
    let other = save(&folder, "other.json", &other);
    let refused = loadtest(&["report"], &[&other]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).ends_with("other.json: its format is 2, this program reads 1\n"),
        "{}",
        said(&refused)
    );
}
