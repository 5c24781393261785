//! The tables of limits and of threats in the documentation: the tests that they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Functions of every Rust file below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("fn "));
            found.extend(names.filter_map(|name| Some(name.split_once('(')?.0.to_owned())));
        }
    }
}

/// Asserts that each name in the last column of a page's tables is a function; how many there are.
fn check(page: &str, functions: &BTreeSet<String>) -> usize {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let mut named = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in last.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
            assert!(functions.contains(name), "{page} names {name}, which is no function");
            named += 1;
        }
    }
    named
}

#[test]
fn every_test_that_the_tables_of_limits_and_threats_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    ["src", "tests"].iter().for_each(|folder| functions(&root.join(folder), &mut found));
    for page in ["docs/limits.md", "docs/threat-model.md"] {
        let named = check(page, &found);
        assert!(named > 30, "{page}: {named} names");
    }
}
