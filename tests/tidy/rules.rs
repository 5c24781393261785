//! The rules for Rust text: layers, clock, headers, lengths, words, names, `unsafe`. Each takes one file and answers
//! with faults; which files exist is not known here.

use super::scan::{self, Function, Path, Tests, Token};
use super::{Fault, Rule};

/// The modules that join a pure half with the runtime: the two threads that drive one each, and `serve`, which only puts
/// together what they are made from.
const JOINERS: [&str; 3] = ["shard", "venue", "serve"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may say `unsafe`; a trailing `*` stands for anything. Elsewhere it needs an exception with a reason.
const UNSAFE_HOMES: &[&str] = &[
    "src/rt.rs",
    "src/ring.rs",
    "src/ring/*",
    "src/ring_*",
    "loadtest/src/ring.rs",
    "loadtest/src/ring/*",
    "tests/allocation/main.rs",
];

/// Names that say nothing, as a file's or module's name or as a part of one between underscores.
const EMPTY_NAMES: &[&str] = &["manager", "util", "utils", "common", "helper", "helpers", "misc"];

/// The words themselves, split so that this file may be searched too.
pub(crate) const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
pub(crate) const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/tmp/", "wt")];

/// DESIGN §5: files without I/O, clock, thread or randomness.
fn is_pure(path: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "model",
        "auth",
        "front",
        "http",
        "ws",
        "binary_tcp",
        "dialect",
        "desk",
        "mail",
        "hub",
        "simulation",
        "telemetry",
        "api",
    ];
    let Some(rest) = path.strip_prefix("src/") else { return false };
    let first = rest.split(['/', '.']).next().unwrap_or_default();
    if FOLDERS.contains(&first) || rest == "limits.rs" {
        return true;
    }
    let Some(backend) = rest.strip_prefix("backend/") else { return false };
    let (folders, file) = backend.rsplit_once('/').unwrap_or(("", backend));
    file.starts_with("codec")
        || folders.split('/').any(|folder| folder == "codec")
        || (["paper/", "pool/", "rpc/", "tcp/"].iter().any(|pure| backend.starts_with(pure))
            && file != "link.rs")
}

fn is_module(path: &str, name: &str) -> bool {
    path.strip_prefix("src/")
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// `names` must not occur in files for which `applies` holds.
struct Ban {
    applies: fn(&str) -> bool,
    /// Consecutive segments of a path; the last may end in `*`.
    names: &'static [&'static str],
    because: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        applies: is_pure,
        names: &[
            "std::net::Tcp*",
            "std::net::Udp*",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "std::thread",
            "std::fs",
            "async",
            "await",
            "Instant::now",
            "SystemTime",
            "rand",
            "fastrand",
            "getrandom",
            "glommio",
            "io_uring",
            "nix",
            "libc",
            "tokio",
            "crate::rt",
            "crate::ring",
            "crate::shard",
        ],
        because: "a PURE file has no I/O, thread, clock or randomness: time and seeds are arguments",
    },
    Ban {
        applies: |path| ["front", "ws", "http", "binary_tcp"].iter().any(|module| is_module(path, module)),
        names: &["crate::model", "crate::desk", "crate::mail", "crate::hub", "crate::dialect"],
        because: "front, ws, http and binary_tcp know nothing of trading",
    },
    Ban {
        applies: |path| is_module(path, "model"),
        names: &[
            "crate::auth",
            "crate::ws",
            "crate::http",
            "crate::dialect",
            "crate::desk",
            "crate::mail",
            "crate::hub",
            "crate::backend",
        ],
        because: "model is the lowest layer",
    },
    Ban {
        applies: |path| is_module(path, "auth"),
        names: &[
            "crate::ws",
            "crate::http",
            "crate::dialect",
            "crate::desk",
            "crate::mail",
            "crate::hub",
            "crate::backend",
        ],
        because: "auth knows neither messages nor the hub that asks",
    },
    Ban {
        applies: |path| is_module(path, "dialect"),
        names: &["crate::desk", "crate::mail", "crate::hub"],
        because: "a dialect does not know desk, mail and hub, which use it",
    },
    Ban {
        applies: |path| is_module(path, "desk"),
        names: &["crate::auth", "crate::ws", "crate::http", "crate::mail", "crate::hub", "crate::backend"],
        because: "the desk knows orders and their words, not who carries them",
    },
    Ban {
        applies: |path| is_module(path, "mail"),
        names: &[
            "crate::auth",
            "crate::ws",
            "crate::http",
            "crate::dialect",
            "crate::desk",
            "crate::hub",
            "crate::backend",
        ],
        because: "mail knows messages and their words: no dialect, and not who carries or stores them",
    },
    Ban {
        applies: |path| path.starts_with("src/") && !is_module(path, "rt"),
        names: &["glommio"],
        because: "a fork of the runtime must stay a change of src/rt.rs alone",
    },
    Ban {
        applies: |path| {
            let ours = path.starts_with("src/ring") || path.starts_with("src/probe");
            path.starts_with("src/") && !ours
        },
        names: &["io_uring"],
        because: "only the ring and the probe of the kernel speak io_uring",
    },
];

const CLOCK_READERS: &[&str] = &["Instant::now", "SystemTime::now", "Instant::elapsed", "clock_gettime"];

/// Rust text, read once for all rules.
pub(crate) struct RustFile<'a> {
    path: &'a str,
    source: &'a str,
    code: &'a str,
    tokens: Vec<Token<'a>>,
    tests: Tests<'a>,
}

impl<'a> RustFile<'a> {
    /// `code` is [`scan::blank`] of `source`. `is_test` says that some other file includes this one for tests only.
    pub(crate) fn new(path: &'a str, source: &'a str, code: &'a str, is_test: bool) -> RustFile<'a> {
        let tokens = scan::tokens(code);
        let mut tests = scan::tests(code, &tokens);
        if is_test || !(path.starts_with("src/") || path.starts_with("loadtest/src/")) {
            tests.lines.fill(true);
            tests.whole_file = true;
        }
        RustFile { path, source, code, tokens, tests }
    }

    /// The files that hold this one's `#[cfg(test)] mod name;`, as far as their names can be told.
    pub(crate) fn test_files(&self) -> Vec<String> {
        let base = self.path.trim_end_matches(".rs");
        let (folder, stem) = base.rsplit_once('/').unwrap_or(("", base));
        let own = if ["mod", "lib", "main"].contains(&stem) { folder } else { base };
        self.tests
            .modules
            .iter()
            .flat_map(|name| [format!("{own}/{name}.rs"), format!("{own}/{name}/")])
            .collect()
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        let paths = scan::paths(&self.tokens, &module_of(self.path));
        let mut faults = Vec::new();
        self.check_layers(&paths, &mut faults);
        self.check_clock(&paths, &mut faults);
        self.check_header(&mut faults);
        self.check_lengths(&mut faults);
        self.check_words(&mut faults);
        self.check_names(&mut faults);
        self.check_unsafe(&mut faults);
        faults
    }

    fn fault(&self, rule: Rule, line: usize, text: String) -> Fault {
        Fault { rule, path: self.path.to_owned(), line: line + 1, text }
    }

    fn check_layers(&self, paths: &[Path<'_>], faults: &mut Vec<Fault>) {
        for ban in BANS.iter().filter(|ban| (ban.applies)(self.path)) {
            for path in paths {
                if let Some(name) = ban.names.iter().find(|name| matches(&path.segments, name)) {
                    faults.push(self.fault(
                        Rule::Layer,
                        path.line,
                        format!("names `{name}`: {}", ban.because),
                    ));
                }
            }
        }
        let line_of = |names: &[&str]| {
            let named = |path: &&Path<'_>| names.iter().any(|name| matches(&path.segments, name));
            paths.iter().find(named).map(|path| path.line)
        };
        let hub = line_of(&["crate::hub"]);
        let runtime = line_of(&["crate::rt", "crate::ring"]);
        if let (Some(line), Some(_), true) = (hub, runtime, self.path.starts_with("src/"))
            && !JOINERS.iter().any(|joiner| is_module(self.path, joiner))
        {
            let text =
                "names both the hub and the runtime: only the shard and the venue join them".to_owned();
            faults.push(self.fault(Rule::Layer, line, text));
        }
    }

    fn check_clock(&self, paths: &[Path<'_>], faults: &mut Vec<Fault>) {
        if self.tests.whole_file || self.path == "src/clock.rs" || self.path == "loadtest/src/clock.rs" {
            return;
        }
        for path in paths.iter().filter(|path| !self.tests.lines[path.line]) {
            if let Some(name) = CLOCK_READERS.iter().find(|name| matches(&path.segments, name)) {
                faults.push(self.fault(
                    Rule::Clock,
                    path.line,
                    format!("`{name}`: only clock.rs reads a clock"),
                ));
            }
        }
    }

    fn check_header(&self, faults: &mut Vec<Fault>) {
        let opens = self
            .source
            .strip_prefix("//! ")
            .is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
        if !opens {
            faults.push(self.fault(
                Rule::Header,
                0,
                "does not open with `//!` and what it is for".to_owned(),
            ));
        }
    }

    fn check_lengths(&self, faults: &mut Vec<Fault>) {
        let is_code = |(line, text): &(usize, &str)| {
            !text.trim().is_empty() && (self.is_test_target() || !self.tests.lines[*line])
        };
        let count = self.code.lines().enumerate().filter(is_code).count();
        if count > FILE_LINES_MAX {
            let text = format!("{count} lines of code, {FILE_LINES_MAX} allowed");
            faults.push(self.fault(Rule::FileLength, 0, text));
        }
        for Function { name, line, body_lines } in scan::functions(self.code, &self.tokens) {
            if body_lines > FUNCTION_LINES_MAX {
                let text = format!("`{name}` has {body_lines} lines of code, {FUNCTION_LINES_MAX} allowed");
                faults.push(self.fault(Rule::FunctionLength, line, text));
            }
        }
    }

    /// Tests, benches and fuzz targets: there the whole file counts, in `src` the tests do not.
    fn is_test_target(&self) -> bool {
        !(self.path.starts_with("src/") || self.path.starts_with("loadtest/src/"))
    }

    fn check_words(&self, faults: &mut Vec<Fault>) {
        let shapes: [(&[&str], Rule); 3] = [
            (&[concat!("to", "do"), "!"], Rule::BannedWord),
            (&["unimplemented", "!"], Rule::BannedWord),
            (&[".", "unwrap", "("], Rule::Unwrap),
        ];
        for at in 0..self.tokens.len() {
            let line = self.tokens[at].line;
            for (shape, rule) in shapes {
                let here = self.tokens[at..].iter().take(shape.len()).map(|token| token.text);
                if here.eq(shape.iter().copied()) && (rule != Rule::Unwrap || !self.tests.lines[line]) {
                    faults.push(self.fault(rule, line, format!("`{}`", shape.concat())));
                }
            }
        }
    }

    fn check_names(&self, faults: &mut Vec<Fault>) {
        let is_empty = |name: &str| name.split('_').any(|part| EMPTY_NAMES.contains(&part));
        for name in self.path.trim_end_matches(".rs").split('/').filter(|name| is_empty(name)) {
            faults.push(self.fault(Rule::BannedName, 0, format!("`{name}` does not say what is in it")));
        }
        for pair in self.tokens.windows(2) {
            if pair[0].text == "mod" && is_empty(pair[1].text) {
                let text = format!("module `{}` does not say what is in it", pair[1].text);
                faults.push(self.fault(Rule::BannedName, pair[1].line, text));
            }
        }
    }

    fn check_unsafe(&self, faults: &mut Vec<Fault>) {
        let home = |home: &&str| match home.strip_suffix('*') {
            Some(start) => self.path.starts_with(start),
            None => self.path == *home,
        };
        if UNSAFE_HOMES.iter().any(home) {
            return;
        }
        for token in self.tokens.iter().filter(|token| token.text == "unsafe") {
            let text = "`unsafe` outside of the ring and the runtime".to_owned();
            faults.push(self.fault(Rule::Unsafe, token.line, text));
        }
    }
}

/// Words and paths that no text of the repository may hold, Rust or not.
pub(crate) fn text_faults(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let fault = |rule, text| Fault { rule, path: path.to_owned(), line: line + 1, text };
        let mut words = content.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
            faults.push(fault(Rule::BannedWord, format!("`{word}`: finish it or open an issue")));
        }
        if let Some(place) = MACHINE_PATHS.iter().find(|place| content.contains(**place)) {
            faults.push(fault(Rule::MachinePath, format!("`{place}` exists on one machine only")));
        }
    }
    faults
}

/// `src/hub/egress.rs` is the module `hub::egress`.
fn module_of(path: &str) -> Vec<&str> {
    let inside = path.strip_prefix("src/").unwrap_or_default().trim_end_matches(".rs");
    let mut module: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(last)) {
        module.pop();
    }
    module
}

fn matches(segments: &[&str], name: &str) -> bool {
    let wanted: Vec<&str> = name.split("::").collect();
    segments.windows(wanted.len()).any(|window| {
        window.iter().zip(&wanted).all(|(segment, want)| match want.strip_suffix('*') {
            Some(start) => segment.starts_with(start),
            None => segment == want,
        })
    })
}
