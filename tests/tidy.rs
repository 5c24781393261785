//! Holds the rules that no compiler holds: layers, headers, lengths, words, names, `unsafe`, Markdown links.
//! Every rule has samples that break it (`tidy/samples.rs`). Standard library only, so that it stays fast.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

#[path = "tidy/markdown.rs"]
mod markdown;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/scan.rs"]
mod scan;

/// What is broken for a reason. The list only shrinks: an exception that nothing needs any more fails the test.
const EXCEPTIONS: &[Exception] = &[Exception {
    rule: Rule::Unsafe,
    path: "tests/ring_allocations.rs",
    reason: "an allocator that counts is an unsafe trait",
}];

/// Folders that hold nothing written here (`.git` is a file in a worktree).
const SKIPPED: &[&str] = &["target", "node_modules", ".git", "__pycache__", "corpus", "artifacts"];

/// Files by ending whose text is searched; `.ci/run` and the like have none.
const TEXT_ENDINGS: &[&str] =
    &["", "rs", "md", "toml", "py", "js", "mjs", "json", "sh", "yml", "yaml", "txt", "conf", "service", "in"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Layer,
    Clock,
    Header,
    FileLength,
    FunctionLength,
    BannedWord,
    BannedName,
    MachinePath,
    Unwrap,
    Unsafe,
    MarkdownLink,
    MarkdownTitle,
}

/// One place that breaks one rule.
struct Fault {
    rule: Rule,
    path: String,
    /// Counted from 1.
    line: usize,
    text: String,
}

/// All faults of one rule in one file are forgiven.
struct Exception {
    rule: Rule,
    path: &'static str,
    reason: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.text)
    }
}

/// What is left to complain about: faults that nothing forgives, and exceptions that forgive nothing.
fn settle(faults: Vec<Fault>, exceptions: &[Exception]) -> Vec<String> {
    let forgives =
        |exception: &Exception, fault: &Fault| exception.rule == fault.rule && exception.path == fault.path;
    let idle = exceptions.iter().filter(|exception| !faults.iter().any(|fault| forgives(exception, fault)));
    let mut complaints: Vec<String> = idle
        .map(|exception| {
            let Exception { rule, path, reason } = exception;
            format!("{path}: {rule:?}: this exception ({reason}) is no longer needed, remove it")
        })
        .collect();
    let left = faults.iter().filter(|fault| !exceptions.iter().any(|exception| forgives(exception, fault)));
    complaints.extend(left.map(ToString::to_string));
    complaints
}

/// Every text of the repository by its path from the root, in a fixed order.
fn texts() -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, found);
                continue;
            }
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if !TEXT_ENDINGS.contains(&ending.as_str()) {
                continue;
            }
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let inside = path.strip_prefix(root).expect("invariant: the walk stays below its root");
            found.insert(inside.to_string_lossy().into_owned(), text);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn rust_faults(texts: &BTreeMap<String, String>) -> Vec<Fault> {
    let rust = || texts.iter().filter(|(path, _)| path.ends_with(".rs"));
    let blanked: BTreeMap<&str, String> =
        rust().map(|(path, text)| (path.as_str(), scan::blank(text))).collect();
    let for_tests: Vec<String> = rust()
        .flat_map(|(path, text)| {
            rules::RustFile::new(path, text, &blanked[path.as_str()], false).test_files()
        })
        .collect();
    let is_test = |path: &str| {
        for_tests.iter().any(|test| test == path || (test.ends_with('/') && path.starts_with(test.as_str())))
    };
    rust()
        .flat_map(|(path, text)| {
            rules::RustFile::new(path, text, &blanked[path.as_str()], is_test(path)).faults()
        })
        .collect()
}

fn markdown_faults(texts: &BTreeMap<String, String>) -> Vec<Fault> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = texts.iter().filter(|(path, _)| path.ends_with(".md"));
    pages
        .flat_map(|(path, text)| {
            let read = |target: &Path| fs::read_to_string(root.join(target)).ok();
            markdown::faults(path, text, |target| root.join(target).exists(), read)
        })
        .collect()
}

#[test]
fn the_tree_is_tidy() {
    let texts = texts();
    assert!(
        texts.contains_key("src/lib.rs") && texts.contains_key("tests/tidy.rs"),
        "the walk found no sources"
    );
    let mut faults = rust_faults(&texts);
    faults.extend(texts.iter().flat_map(|(path, text)| rules::text_faults(path, text)));
    faults.extend(markdown_faults(&texts));
    let complaints = settle(faults, EXCEPTIONS);
    assert!(complaints.is_empty(), "{} faults\n{}", complaints.len(), complaints.join("\n"));
}
