//! Proof that each rule can fail and does not cry wolf: a text that breaks it, beside one that does not.

use std::path::Path;

use super::rules::{self, MACHINE_PATHS, RustFile, UNFINISHED};
use super::{Exception, Fault, Rule, markdown, scan, settle};

/// The rules that this text breaks, as if it stood at `path`; a header is put before Rust text.
fn broken_by(path: &str, text: &str) -> Vec<Rule> {
    let source = if path.ends_with(".rs") { format!("//! A sample.\n{text}\n") } else { text.to_owned() };
    broken_by_exactly(path, &source)
}

fn broken_by_exactly(path: &str, source: &str) -> Vec<Rule> {
    let mut faults = rules::text_faults(path, source);
    if path.ends_with(".rs") {
        faults.extend(RustFile::new(path, source, &scan::blank(source), false).faults());
    }
    if path.ends_with(".md") {
        let exists = |target: &Path| ["docs/there.md", "src"].iter().any(|other| Path::new(other) == target);
        let read = |_: &Path| Some("# There\n## A part\n".to_owned());
        faults.extend(markdown::faults(path, source, exists, read));
    }
    let mut broken: Vec<Rule> = faults.into_iter().map(|fault| fault.rule).collect();
    broken.dedup();
    broken
}

fn check_breaks(rule: Rule, path: &str, text: &str) {
    assert_eq!(broken_by(path, text), [rule], "{path}: {text}");
}

fn check_keeps(path: &str, text: &str) {
    assert_eq!(broken_by(path, text), [], "{path}: {text}");
}

#[test]
fn a_pure_file_names_no_io_thread_clock_or_chance() {
    let names = [
        "use std::net::TcpStream;",
        "use std::net::{IpAddr, UdpSocket};",
        "use std::{fmt, thread};",
        "use std::fs;",
        "std::fs::read(x);",
        "async fn f() {}",
        "async move {};",
        "use std::time::SystemTime;",
        "use rand::Rng;",
        "rand::rng();",
        "use glommio::Task;",
        "use io_uring::IoUring;",
        "nix::unistd::getpid();",
        "use crate::rt;",
        "use crate::{model, ring::Ring};",
    ];
    let places = [
        "src/hub/mod.rs",
        "src/hub.rs",
        "src/limits.rs",
        "src/desk/orders.rs",
        "src/simulation/world.rs",
        "src/backend/tcp/codec.rs",
        "src/backend/tcp/codec_v2.rs",
        "src/backend/mt5/codec/frame.rs",
        "src/backend/paper/market.rs",
    ];
    for place in places {
        for name in names {
            assert!(broken_by(place, name).contains(&Rule::Layer), "{place}: {name}");
        }
    }
    assert!(broken_by("src/model/ids.rs", "let t = Instant::now();").contains(&Rule::Layer));
    assert!(broken_by("src/ws/mod.rs", "#[cfg(test)]\nmod t { use std::fs; }").contains(&Rule::Layer));
    check_keeps(
        "src/hub/mod.rs",
        "use std::net::IpAddr; use std::io::Write; // std::fs\nlet s = \"std::fs\";",
    );
    check_keeps("src/hub/mod.rs", "struct Operand; fn f(now: Now) { let brand = operand(); }");
    check_keeps("src/backend/paper/link.rs", "use std::thread;");
    check_keeps("src/backend/tcp/link.rs", "async fn f() {}");
    check_keeps("src/hubs.rs", "use std::fs;");
}

#[test]
fn a_lower_layer_does_not_name_a_higher_one() {
    check_breaks(Rule::Layer, "src/ws/frame.rs", "use crate::model::Price;");
    check_breaks(Rule::Layer, "src/ws/frame.rs", "use super::super::hub::Hub;");
    check_breaks(Rule::Layer, "src/http/mod.rs", "use super::dialect;");
    check_breaks(Rule::Layer, "src/http/mod.rs", "use crate::{limits, hub};");
    check_breaks(Rule::Layer, "src/dialect/json_rpc/decode.rs", "fn f(hub: &crate::hub::Hub) {}");
    check_breaks(Rule::Layer, "src/model/order.rs", "use crate::dialect::Request;");
    check_breaks(Rule::Layer, "src/dialect/json_rpc/orders.rs", "use crate::desk::Desk;");
    check_breaks(Rule::Layer, "src/desk/mod.rs", "use crate::hub::Hub;");
    check_breaks(Rule::Layer, "src/mail/mod.rs", "use crate::hub::Hub;");
    check_breaks(Rule::Layer, "src/mail/groups.rs", "use crate::desk::Desk;");
    check_breaks(Rule::Layer, "src/desk/mod.rs", "use crate::mail::Office;");
    check_breaks(Rule::Layer, "src/desk/reports.rs", "use super::super::backend::Feed;");
    check_keeps("src/desk/mod.rs", "use crate::{dialect::json_rpc, limits, model};");
    check_keeps("src/dialect/mod.rs", "use crate::model::Price; let hub = 1;");
    check_keeps("src/hub/mod.rs", "use crate::{dialect, model, ws};");
    check_keeps("src/ws/mod.rs", "mod frame; use self::frame::Header; use crate::limits;");
}

#[test]
fn only_the_shard_joins_hub_and_runtime() {
    check_breaks(Rule::Layer, "src/feed.rs", "use crate::{hub::Hub, ring::Ring};");
    check_breaks(Rule::Layer, "src/main.rs", "use tickring::hub; fn f() { tickring::rt::spawn(); }");
    check_keeps("src/shard.rs", "use crate::{hub::Hub, ring::Ring, rt};");
    check_keeps("src/shard/flush.rs", "use crate::hub::Hub; use crate::rt;");
    check_keeps("src/lib.rs", "pub mod hub;\npub mod ring;\npub mod rt;");
    check_breaks(Rule::Layer, "src/shard.rs", "use glommio::LocalExecutor;");
    check_keeps("src/rt.rs", "use glommio::LocalExecutor;");
    check_breaks(Rule::Layer, "src/mesh.rs", "use io_uring::opcode;");
    check_keeps("src/ring/submit.rs", "use io_uring::opcode;");
    check_keeps("src/probe.rs", "use io_uring::Probe;");
    check_keeps("loadtest/src/limit.rs", "use io_uring::opcode;");
}

#[test]
fn only_the_clock_reads_a_clock() {
    check_breaks(Rule::Clock, "src/shard.rs", "let t = std::time::Instant::now();");
    check_breaks(Rule::Clock, "src/rt.rs", "use nix::time::{ClockId, clock_gettime};");
    check_breaks(Rule::Clock, "loadtest/src/main.rs", "let t = SystemTime::now();");
    check_keeps("src/clock.rs", "let t = Instant::now();");
    check_keeps("tests/ring.rs", "let t = Instant::now();");
    check_keeps("src/shard.rs", "#[cfg(test)]\nmod checks {\n fn f() { Instant::now(); }\n}");
}

#[test]
fn a_file_opens_with_its_contract() {
    for source in ["", "fn a() {}\n", "// A comment.\n", "//!\n", "\n//! Late.\n", "#![no_std]\n//! Late.\n"]
    {
        assert_eq!(broken_by_exactly("src/shard.rs", source), [Rule::Header], "{source}");
    }
    assert_eq!(broken_by_exactly("loadtest/src/main.rs", "//! Load.\n"), []);
}

#[test]
fn a_file_has_at_most_600_lines_of_code() {
    let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
    check_breaks(Rule::FileLength, "src/shard.rs", &lines(601));
    check_breaks(Rule::FileLength, "tests/wire.rs", &lines(601));
    check_keeps("src/shard.rs", &lines(600));
    check_keeps("src/shard.rs", &format!("{}\n\n// why\n/* a\nb */\n", lines(600)));
    check_keeps("src/shard.rs", &format!("{}#[cfg(test)]\nmod checks {{\n{}}}\n", lines(600), lines(100)));
    check_breaks(Rule::FileLength, "src/shard.rs", &format!("{}let s = \"// why\n\";", lines(599)));
}

#[test]
fn a_function_has_at_most_70_lines_of_code() {
    let function =
        |count: usize| format!("fn long(a: [u8; 3]) -> u8 {{\n{}}}\n", "let a = 1;\n".repeat(count));
    check_breaks(Rule::FunctionLength, "src/shard.rs", &function(71));
    check_breaks(Rule::FunctionLength, "benches/hub.rs", &format!("impl A {{\n{}}}", function(71)));
    check_breaks(
        Rule::FunctionLength,
        "src/shard.rs",
        &format!("#[cfg(test)]\nmod checks {{\n{}}}", function(71)),
    );
    check_keeps("src/shard.rs", &function(70));
    check_keeps("src/shard.rs", &function(70).replace("-> u8 {\n", "-> u8 {\n\n// {\nlet s = '{'; "));
    check_keeps("src/shard.rs", &function(40).repeat(2));
}

#[test]
fn nothing_is_left_unfinished() {
    for word in UNFINISHED {
        check_breaks(Rule::BannedWord, "src/shard.rs", &format!("// {word}: later"));
        check_breaks(Rule::BannedWord, "README.md", &format!("# Title\n{word} later"));
        check_keeps("src/shard.rs", &format!("// {word}X is a word of its own"));
    }
    check_breaks(Rule::BannedWord, "src/shard.rs", concat!("fn f() { to", "do!() }"));
    check_breaks(Rule::BannedWord, "tests/wire.rs", concat!("fn f() { unimpl", "emented!(\"later\") }"));
    check_breaks(Rule::Unwrap, "src/shard.rs", "let a = b\n    .unwrap();");
    check_breaks(Rule::Unwrap, "loadtest/src/main.rs", "a.unwrap();");
    check_keeps(
        "src/shard.rs",
        "a.unwrap_or(1); // .unwrap()\n#[cfg(test)]\nmod checks {\nfn f() { a.unwrap(); }\n}",
    );
    check_keeps("tests/wire.rs", "a.unwrap();");
}

#[test]
fn nothing_depends_on_one_machine() {
    for place in MACHINE_PATHS {
        check_breaks(Rule::MachinePath, ".ci/run", &format!("cd {place}x"));
        check_breaks(Rule::MachinePath, "src/shard.rs", &format!("const P: &str = \"{place}x\";"));
    }
    check_keeps("src/shard.rs", "const P: &str = \"../shared/data\"; // framework/a");
}

#[test]
fn names_say_what_is_in_them() {
    for path in ["src/utils.rs", "tests/common/mod.rs", "src/hub/topic_manager.rs", "src/misc/a.rs"] {
        check_breaks(Rule::BannedName, path, "");
    }
    check_breaks(Rule::BannedName, "src/shard.rs", "mod helpers { }");
    check_keeps("src/hub/commons.rs", "let common = 1; fn helper() {}");
}

#[test]
fn unsafe_code_stays_in_the_ring_and_the_runtime() {
    check_breaks(Rule::Unsafe, "src/mesh.rs", "unsafe { f() }");
    check_breaks(Rule::Unsafe, "src/clock.rs", "unsafe fn f() {}");
    check_breaks(Rule::Unsafe, "tests/wire.rs", "unsafe impl Send for A {}");
    check_keeps("src/ring.rs", "unsafe { f() }");
    check_keeps("src/ring/buffers.rs", "unsafe { f() }");
    check_keeps("src/rt.rs", "unsafe { f() }");
    check_keeps("src/mesh.rs", "#![forbid(unsafe_code)] // unsafe");
}

#[test]
fn a_page_has_one_title_and_its_links_lead_somewhere() {
    check_breaks(Rule::MarkdownTitle, "docs/a.md", "## Only a part\n");
    check_breaks(Rule::MarkdownTitle, "docs/a.md", "# One\n# Two\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x](missing.md)\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n![x](missing.svg \"title\")\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x]: missing.md\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x](../../out.md)\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x](/src)\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x](#two)\n");
    check_breaks(Rule::MarkdownLink, "docs/a.md", "# One\n[x](there.md#other-part)\n");
    check_keeps(
        "docs/a.md",
        "# One\n[x](there.md#a-part) [y](../src) [z](https://example.org/a) [w](#one)\n",
    );
    check_keeps("docs/a.md", "# One\n```sh\n# a comment [x](missing.md)\n```\n`[x](missing.md)`\n");
    check_keeps("docs/a.md", "# One\n## A & b: `c`\n[x](#a--b-c)\n## A part\n## A part\n[y](#a-part-1)\n");
}

#[test]
fn an_exception_that_is_not_needed_is_a_fault_itself() {
    let faults =
        || vec![Fault { rule: Rule::Unsafe, path: "src/a.rs".to_owned(), line: 3, text: "x".to_owned() }];
    let exception = |rule, path| Exception { rule, path, reason: "a sample" };
    assert_eq!(settle(faults(), &[]).len(), 1);
    assert_eq!(settle(faults(), &[exception(Rule::Unsafe, "src/a.rs")]), Vec::<String>::new());
    assert_eq!(settle(faults(), &[exception(Rule::Unsafe, "src/b.rs")]).len(), 2);
    assert_eq!(settle(faults(), &[exception(Rule::Unwrap, "src/a.rs")]).len(), 2);
    assert_eq!(settle(Vec::new(), &[exception(Rule::Unsafe, "src/a.rs")]).len(), 1);
}

#[test]
fn a_test_module_in_its_own_file_is_known() {
    let source = "//! A sample.\n#[cfg(test)]\nmod checks;\n";
    let code = scan::blank(source);
    let file = |path| RustFile::new(path, source, &code, false).test_files();
    assert_eq!(file("src/hub/egress.rs"), ["src/hub/egress/checks.rs", "src/hub/egress/checks/"]);
    assert_eq!(file("src/hub/mod.rs"), ["src/hub/checks.rs", "src/hub/checks/"]);
    let included = "//! A sample.\nfn f() { a.unwrap(); }\n";
    let code = scan::blank(included);
    assert!(RustFile::new("src/hub/checks.rs", included, &code, true).faults().is_empty());
}
