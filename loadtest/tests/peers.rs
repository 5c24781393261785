//! `loadtest peers`, `proof` and `gate` as their users run them, with the one server that needs no install: the raw loops of this
//! program. What the peers themselves answer is the stage `peers` of `.ci/run`, which installs them; that the gate opens is seen by
//! its own stage, for it needs a quiet machine.

use std::path::Path;
use std::process::{Command, Output};

fn loadtest(arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).current_dir(folder).output().expect("loadtest runs")
}

fn has_two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| 2 <= cores.get())
}

#[test]
fn every_case_runs_and_the_page_of_the_proof_takes_what_was_recorded() {
    if !has_two_cores() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("loadtest-peers-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (record, proof, page, again) =
        (path("peers.json"), path("proof.json"), path("page.md"), path("again.md"));
    let ran = loadtest(&["peers", "--smoke", "--only", "limit", "--json", &record]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("9 passed, 0 failed"), "{said}");
    // The limit beside itself: what a part is made of without a server.
    let lengths = ["--runs", "1", "--measure-ms", "100", "--warmup-ms", "50", "--json", &proof];
    let once = ["proof", "--only", "ping", "--peers", &record, "--markdown", &page];
    let ran = loadtest(&[&once[..], &lengths[..]].concat());
    // Whether the bar is met is the machine's affair, and no matter here.
    assert!(matches!(ran.status.code(), Some(0 | 1)), "{ran:?}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.starts_with("# Benchmarks\n") && text.contains("## fanout-burst"), "{text}");
    assert!(text.contains("### `ping`"), "{text}");
    let written = loadtest(&["proof", "--again", "--json", &proof, "--markdown", &again]);
    assert_eq!(written.status.code(), ran.status.code(), "{written:?}");
    assert_eq!(text, std::fs::read_to_string(&again).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_gate_is_shut_by_what_is_beyond_a_bound() {
    if !has_two_cores() {
        return;
    }
    let short =
        ["gate", "--runs", "1", "--measure-ms", "100", "--warmup-ms", "50", "--fanout-cpu-max", "0.01"];
    let shut = loadtest(&short);
    let said = String::from_utf8_lossy(&shut.stdout).into_owned();
    assert!(shut.status.code() == Some(1) && said.contains("FAILS: CPU per delivery"), "{said}");
}

#[test]
fn a_name_that_is_nobody_s_is_refused() {
    let ran = loadtest(&["peers", "--smoke", "--only", "limit,no-such-server"]);
    assert!(!ran.status.success());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no-such-server"), "{ran:?}");
    let ran = loadtest(&["proof", "--only", "ping,no-such-part"]);
    assert!(!ran.status.success());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no-such-part"), "{ran:?}");
}
