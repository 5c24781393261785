//! `loadtest peers` as its user runs it, with the one server that needs no install: the raw loops of this program. What the
//! peers themselves answer is the stage `peers` of `.ci/run`, which installs them.

use std::path::Path;
use std::process::{Command, Output};

fn peers(arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("peers").args(arguments).current_dir(folder).output().expect("loadtest runs")
}

fn has_two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| 2 <= cores.get())
}

#[test]
fn every_case_runs_and_its_page_can_be_written_again_from_the_record() {
    if !has_two_cores() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("loadtest-peers-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (record, page, again) = (path("record.json"), path("page.md"), path("again.md"));
    let ran = peers(&["--smoke", "--only", "limit", "--json", &record, "--markdown", &page]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("9 passed, 0 failed"), "{said}");
    assert!(peers(&["--from", &record, "--markdown", &again]).status.success());
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.starts_with("# Benchmarks\n") && text.contains("## fanout-burst"), "{text}");
    assert_eq!(text, std::fs::read_to_string(&again).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_name_that_is_nobody_s_is_refused() {
    let ran = peers(&["--smoke", "--only", "limit,no-such-server"]);
    assert!(!ran.status.success());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no-such-server"), "{ran:?}");
}
