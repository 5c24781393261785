//! The committed corpora through the targets, on the stable compiler: what the fuzzer has reached and found stays held by
//! every ordinary test run.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use tickring_fuzz::{TARGETS, hub};

/// The inputs of a target in the order of their names.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry is read").path()).filter(|path| path.is_file()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no inputs", folder.display());
    paths
}

fn replay(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut failed = Vec::new();
    for path in inputs(&folder) {
        let input = fs::read(&path).expect("an input is read");
        if catch_unwind(|| target(&input)).is_err() {
            failed.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    assert!(failed.is_empty(), "corpus/{name}: {failed:?} fail");
}

#[test]
fn the_corpus_of_binary_tcp_holds() {
    replay("binary_tcp");
}

#[test]
fn the_corpus_of_the_cluster_holds() {
    replay("cluster");
}

#[test]
fn the_corpus_of_deflate_holds() {
    replay("deflate");
}

#[test]
fn the_corpus_of_the_hub_holds() {
    replay("hub");
}

#[test]
fn each_input_of_the_hub_reaches_what_its_name_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/hub");
    let (mut expected, mut failed) = (Vec::new(), Vec::new());
    for what in hub::REACHED {
        let name = hub::input_name(what);
        let input = fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        if hub::coverage(&input).get(what).is_none_or(|count| *count == 0) {
            failed.push(name.clone());
        }
        expected.push(name);
    }
    assert!(failed.is_empty(), "corpus/hub: {failed:?} do not");
    let names = inputs(&folder)
        .into_iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let found: Vec<String> = names.filter(|name| name.starts_with("reaches-")).collect();
    assert_eq!(found, expected, "each is named once in REACHED");
}

#[test]
fn the_corpus_of_json_rpc_holds() {
    replay("json_rpc");
}

#[test]
fn the_corpus_of_the_upgrade_holds() {
    replay("upgrade");
}

#[test]
fn the_corpus_of_the_websocket_holds() {
    replay("websocket");
}

#[test]
fn the_corpus_of_calls_over_http_holds() {
    replay("http_api");
}

#[test]
fn the_corpus_of_orders_holds() {
    replay("orders");
}

#[test]
fn the_corpus_of_the_venue_link_holds() {
    replay("venue_link");
}

#[test]
fn the_corpus_of_mcp_holds() {
    replay("mcp");
}

#[test]
fn the_corpus_of_the_message_records_holds() {
    replay("message_records");
}

#[test]
fn the_corpus_of_the_rpc_link_holds() {
    replay("rpc_link");
}

#[test]
fn the_corpus_of_sbe_holds() {
    replay("sbe");
}

/// A target without a corpus, or a corpus without a target, would be replayed by nobody.
#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}

#[test]
#[should_panic(expected = "no inputs")]
fn a_corpus_that_is_empty_fails() {
    let folder = std::env::temp_dir().join(format!("tickring-fuzz-empty-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let outcome = catch_unwind(|| inputs(&folder));
    fs::remove_dir(&folder).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
#[should_panic(expected = "No such file")]
fn a_corpus_that_is_missing_fails() {
    inputs(Path::new("corpus/of-nothing"));
}
