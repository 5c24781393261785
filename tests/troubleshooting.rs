//! docs/troubleshooting.md speaks of what there is: each metric, line of the log, reason and key that it names stands in the
//! source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of each row of the tables, but for their heads.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| cells[0] != "symptom").collect()
}

/// All Rust text of the server, with texts that go over several lines made whole.
fn sources() -> String {
    fn add(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    add(&root().join("src"), &mut files);
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let joined: Vec<String> = texts
        .iter()
        .map(|text| {
            let mut whole = String::new();
            for part in text.split("\\\n") {
                whole.push_str(if whole.is_empty() { part } else { part.trim_start() });
            }
            // As it is written by `format!`.
            whole.replace("{{", "{").replace("}}", "}")
        })
        .collect();
    joined.join("\n")
}

/// What the kernel, systemd or a protocol says.
const FOREIGN: [&str; 5] =
    ["nstat -az TcpExtListenOverflows", "failed", "start-limit-hit", "oom-kill", "stop-sigterm"];

#[test]
fn each_metric_of_the_page_exists() {
    let (page, metrics) = (read("docs/troubleshooting.md"), read("docs/metrics.md"));
    let named: Vec<&str> = spans(&page).filter(|span| span.starts_with("tickring_")).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(metrics.contains(&format!("| `{name}` |")), "docs/metrics.md has no {name}");
    }
}

#[test]
fn each_line_and_reason_of_the_page_is_in_the_source() {
    let (page, sources, limits) = (read("docs/troubleshooting.md"), sources(), read("docs/limits.md"));
    let rows = rows(&page);
    assert!(rows.len() > 50, "{}", rows.len());
    let mut absent = Vec::new();
    for row in rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let shown: Vec<&str> = spans(row[1]).collect();
        assert!(!shown.is_empty(), "nothing shows {:?}", row[0]);
        for span in shown.into_iter().filter(|span| !span.starts_with("tickring_") && !FOREIGN.contains(span))
        {
            let is_reason = span.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if is_reason && !limits.contains(&format!("| `{span}` |")) {
                absent.push(span);
            }
            let mut parts =
                span.split('…').map(str::trim).filter(|part| part.chars().any(char::is_alphanumeric));
            if !parts.all(|part| sources.contains(part)) {
                absent.push(span);
            }
        }
    }
    assert!(absent.is_empty(), "not in the source, or no reason of docs/limits.md: {absent:#?}");
}

#[test]
fn each_key_of_the_page_exists() {
    let (page, documented) = (read("docs/troubleshooting.md"), read("tickring.toml"));
    let tables = [
        "listen", "control", "log", "shards", "limits", "auth", "orders", "overload", "flush", "service",
        "feed", "topics",
    ];
    let is_key = |span: &&str| {
        span.split_once('.')
            .is_some_and(|(table, rest)| tables.contains(&table) && !rest.contains([' ', '…']))
    };
    let keys: Vec<&str> = spans(&page).filter(is_key).collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        let name = key.rsplit('.').next().unwrap();
        let is_line = |line: &str| line.trim_start_matches('#').starts_with(&format!("{name} = "));
        assert!(documented.lines().any(is_line), "tickring.toml has no {key}");
    }
}
