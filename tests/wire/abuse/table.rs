//! The tables of limits and of threats in the documentation: each row names its tests, and these exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Rows that no test shows, by what their last column says instead.
const WITHOUT_TEST: [&str; 2] = [
    "none: it takes 2^24 sends, which no key makes fewer",
    // Of what there is not yet.
    "–",
];

/// A name in prose with so many joints is a sentence, that is, a test.
const JOINTS_MIN: usize = 4;

/// Tests of every Rust file below a folder.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut is_test = false;
            for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
                is_test |= line == "#[test]";
                if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('))
                    && std::mem::take(&mut is_test)
                {
                    found.insert(name.0.to_owned());
                }
            }
        }
    }
}

/// What stands between back ticks, but paths.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|name| !name.contains('/'))
}

/// The paths between back ticks: scripts, and fuzz targets.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && name.contains('.'))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a name in prose is meant to be a test.
fn is_sentence(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    is_plain && name.matches('_').count() >= JOINTS_MIN
}

/// Asserts that each row of the tables of tests names one or says why not, and that all that a page names are tests; how
/// many it names.
fn check(page: &str, tests: &BTreeSet<String>) -> usize {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let mut named = 0;
    let mut check_name = |name: &str| {
        assert!(tests.contains(name), "{page} names {name}, which is no test");
        named += 1;
    };
    let mut is_table_of_tests = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            is_table_of_tests = false;
            quoted(line).filter(|name| is_sentence(name)).for_each(&mut check_name);
            continue;
        };
        let last = row.rsplit('|').next().unwrap().trim();
        if last == "shown by" {
            is_table_of_tests = true;
        } else if is_table_of_tests && last != "---" {
            quoted(last).for_each(&mut check_name);
            let scripts =
                paths(last).inspect(|path| assert!(root().join(path).is_file(), "{page} names {path}"));
            let is_shown =
                scripts.count() > 0 || quoted(last).next().is_some() || WITHOUT_TEST.contains(&last);
            assert!(is_shown, "{page}: no test is named in {line}");
        }
    }
    named
}

#[test]
fn every_row_of_the_tables_of_limits_and_threats_names_tests_and_these_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    ["src", "tests"].iter().for_each(|folder| tests(&root.join(folder), &mut found));
    for page in ["docs/limits.md", "docs/threat-model.md"] {
        let named = check(page, &found);
        assert!(named > 30, "{page}: {named} names");
    }
}
