//! Reads Rust text as far as the rules need it: literals and comments set aside, tokens, paths, functions, tests.
//! Not a parser: it counts braces and knows no types. What it must not miss is held by the tests at its end.

/// A word (`fn`, `hub`, `64`), the path separator `::`, or one character of punctuation.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Counted from 0.
    pub(crate) line: usize,
}

/// A path as written, with groups spelled out: `use std::{fs, io::Read}` gives `std::fs` and `std::io::Read`.
#[derive(Debug, PartialEq)]
pub(crate) struct Path<'a> {
    pub(crate) segments: Vec<&'a str>,
    pub(crate) line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    /// Lines strictly between the braces that hold code: the measure of clippy's `too_many_lines`.
    pub(crate) body_lines: usize,
}

/// Comments become spaces and the inside of literals becomes `"`, so that neither is taken for code. Line breaks
/// stay, so line numbers are those of the source.
pub(crate) fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (end, filler) = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => (line_end(bytes, at), Some(b' ')),
            b'/' if bytes.get(at + 1) == Some(&b'*') => (comment_end(bytes, at), Some(b' ')),
            b'"' => (string_end(bytes, at), Some(b'"')),
            b'\'' => char_end(bytes, at).map_or((at + 1, None), |end| (end, Some(b'"'))),
            b'r' if starts_word(bytes, at) => {
                raw_string_end(bytes, at).map_or((at + 1, None), |end| (end, Some(b'"')))
            }
            _ => (at + 1, None),
        };
        for &byte in &bytes[at..end] {
            out.push(if byte == b'\n' { byte } else { filler.unwrap_or(byte) });
        }
        at = end;
    }
    String::from_utf8(out).expect("invariant: characters are blanked whole or not at all")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Block comments nest (Rust reference, "Comments").
fn comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if bytes[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at + 1)?;
    let after = match first {
        b'\\' => at + 3,
        0x00..=0x7f => at + 2,
        0xc0..=0xdf => at + 3,
        0xe0..=0xef => at + 4,
        _ => at + 5,
    };
    if first != b'\\' {
        return (bytes.get(after) == Some(&b'\'')).then_some(after + 1);
    }
    let length = bytes.get(after..)?.iter().position(|&byte| byte == b'\'')?;
    Some(after + length + 1)
}

/// The `r` of `r"…"`, `br#"…"#` and the like; `None` for `r#type` and for a name that begins with r.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close.as_slice())?;
    Some(open + 1 + length + close.len())
}

/// Whether a literal's prefix may begin here: at a word's start, or after the `b` or `c` of one.
fn starts_word(bytes: &[u8], at: usize) -> bool {
    let is_word = |index: usize| bytes[index].is_ascii_alphanumeric() || bytes[index] == b'_';
    if at == 0 || !is_word(at - 1) {
        return true;
    }
    matches!(bytes[at - 1], b'b' | b'c') && (at == 1 || !is_word(at - 2))
}

/// Tokens of a blanked text.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token { text: &rest[..length], line });
            rest = rest[length..].trim_start();
        }
    }
    found
}

pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// All paths; a lone word is a path of one segment. `module` is the file's own (`["hub", "egress"]`): paths that begin with
/// `self`, `super` or the crate's name come out beginning with `crate`.
pub(crate) fn paths<'a>(tokens: &[Token<'a>], module: &[&'a str]) -> Vec<Path<'a>> {
    let mut found = Vec::new();
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let Token { text, .. } = tokens[at];
        match text {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|&(_, opened)| opened <= depth);
            }
            "mod" if tokens.get(at + 2).is_some_and(|next| next.text == "{") => {
                inline.push((tokens[at + 1].text, depth + 1));
            }
            _ if is_word(text) => {
                let start = found.len();
                at = path_from(tokens, at, &mut Vec::new(), &mut found);
                let here: Vec<&str> =
                    module.iter().copied().chain(inline.iter().map(|&(name, _)| name)).collect();
                found[start..].iter_mut().for_each(|path| anchor(&mut path.segments, &here));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path with its groups from `at`, pushes what it names and returns the index after it.
fn path_from<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    found: &mut Vec<Path<'a>>,
) -> usize {
    let kept = prefix.len();
    let line = tokens[at].line;
    loop {
        prefix.push(tokens[at].text);
        at += 1;
        if tokens.get(at).is_none_or(|next| next.text != "::") {
            break;
        }
        match tokens.get(at + 1).map(|next| next.text) {
            Some("{") => {
                at = group_from(tokens, at + 2, prefix, found);
                prefix.truncate(kept);
                return at;
            }
            Some(next) if is_word(next) => at += 1,
            _ => break,
        }
    }
    let segments = if prefix.last() == Some(&"self") && prefix.len() > 1 {
        prefix[..prefix.len() - 1].to_vec()
    } else {
        prefix.clone()
    };
    found.push(Path { segments, line });
    prefix.truncate(kept);
    at
}

/// The inside of `{…}` in a `use`, from after the opening brace; returns the index after the closing one.
fn group_from<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    found: &mut Vec<Path<'a>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "}" => return at + 1,
            // `a as b`: the new name is not a path.
            "as" => at += 2,
            text if is_word(text) => at = path_from(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

fn anchor<'a>(segments: &mut Vec<&'a str>, here: &[&'a str]) {
    let ups = segments.iter().take_while(|&&segment| segment == "super").count();
    let own_name = segments.first() == Some(&"tickring");
    let own_module = segments.first() == Some(&"self") && segments.len() > 1;
    if ups == 0 && !own_name && !own_module {
        return;
    }
    let base = if own_name { &[][..] } else { &here[..here.len().saturating_sub(ups)] };
    let rest = segments.split_off(if ups > 0 { ups } else { 1 });
    *segments = ["crate"].into_iter().chain(base.iter().copied()).chain(rest).collect();
}

/// The index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// From `start`, the first `{` or `;` outside of parentheses and brackets.
fn body_or_end(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "(" | "[" => at = closing(tokens, at)?,
            "{" | ";" => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// What is compiled for tests only: which lines, and which modules in files of their own.
#[derive(Default)]
pub(crate) struct Tests<'a> {
    pub(crate) lines: Vec<bool>,
    pub(crate) whole_file: bool,
    pub(crate) modules: Vec<&'a str>,
}

/// Finds `#[cfg(test)]` and `#[cfg(all(test, …))]` with the item that follows, and `#![cfg(test)]`.
pub(crate) fn tests<'a>(code: &str, tokens: &[Token<'a>]) -> Tests<'a> {
    let mut found = Tests { lines: vec![false; code.lines().count()], ..Tests::default() };
    for at in 0..tokens.len() {
        let texts: Vec<&str> = tokens[at..].iter().take(7).map(|token| token.text).collect();
        let inner = texts.get(1) == Some(&"!");
        let head = if inner { &texts[2..] } else { texts.get(1..).unwrap_or(&[]) };
        let is_test = texts.first() == Some(&"#")
            && (head.starts_with(&["[", "cfg", "(", "test", ")"])
                || head.starts_with(&["[", "cfg", "(", "all", "("]) && all_of_test(&tokens[at..]));
        if !is_test {
            continue;
        }
        if inner {
            found.whole_file = true;
            found.lines.fill(true);
            break;
        }
        let Some((item, last)) = item_after(tokens, at + 1) else { continue };
        found.lines[tokens[at].line..=tokens[last].line].fill(true);
        if let Some(name) = tokens[item..last].iter().skip_while(|token| token.text != "mod").nth(1)
            && tokens[last].text == ";"
        {
            found.modules.push(name.text);
        }
    }
    found
}

/// Whether `test` is the first condition of `all(…)`.
fn all_of_test(tokens: &[Token<'_>]) -> bool {
    let open = tokens.iter().position(|token| token.text == "all");
    open.is_some_and(|all| tokens.get(all + 2).is_some_and(|token| token.text == "test"))
}

/// The first token of the item behind the attribute whose `[` is at `bracket`, and the item's last token.
fn item_after(tokens: &[Token<'_>], bracket: usize) -> Option<(usize, usize)> {
    let mut item = closing(tokens, bracket)? + 1;
    while tokens.get(item).is_some_and(|token| token.text == "#") {
        item = closing(tokens, item + 1)? + 1;
    }
    let stop = body_or_end(tokens, item)?;
    let last = if tokens[stop].text == "{" { closing(tokens, stop)? } else { stop };
    Some((item, last))
}

/// Functions that have a body, nested ones too.
pub(crate) fn functions<'a>(code: &str, tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let holds_code: Vec<bool> = code.lines().map(|line| !line.trim().is_empty()).collect();
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        if keyword.text != "fn" || !is_word(name.text) {
            continue;
        }
        let Some(open) = body_or_end(tokens, at + 2).filter(|&stop| tokens[stop].text == "{") else {
            continue;
        };
        let Some(close) = closing(tokens, open) else { continue };
        let inside = holds_code.get(tokens[open].line + 1..tokens[close].line).unwrap_or(&[]);
        let body_lines = inside.iter().filter(|&&holds| holds).count();
        found.push(Function { name: name.text, line: keyword.line, body_lines });
    }
    found
}

#[cfg(test)]
mod checks {
    use super::*;

    fn check_blank(source: &str, expected: &str) {
        assert_eq!(blank(source), expected, "{source}");
    }

    fn check_paths(source: &str, module: &[&str], expected: &[&str]) {
        let code = blank(source);
        let all = tokens(&code);
        let found: Vec<String> = paths(&all, module).iter().map(|path| path.segments.join("::")).collect();
        for path in expected {
            assert!(found.iter().any(|other| other == path), "{path} not in {found:?}");
        }
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        check_blank("a // b\nc", "a     \nc");
        check_blank("a /* b /* c */ d */ e", "a                   e");
        check_blank(r#"x("a\"b{", 'c', '\'', '{')"#, r#"x(""""""", """, """", """)"#);
        check_blank("r#\"a\"b\"# {", "\"\"\"\"\"\"\"\" {");
        check_blank("br\"{\" '\u{20ac}'", "b\"\"\"\" \"\"\"\"\"");
        check_blank("fn f<'a>(x: &'a str, r#type: u8)", "fn f<'a>(x: &'a str, r#type: u8)");
    }

    #[test]
    fn paths_are_spelled_out_and_anchored() {
        let names = &["std::fs", "std::thread", "std::io::Read", "std::io"];
        check_paths("use std::{fs, thread as t, io::{self, Read}};", &[], names);
        check_paths("use super::hub;", &["dialect", "json"], &["crate::dialect::hub"]);
        check_paths("use super::super::hub::Hub;", &["dialect", "json"], &["crate::hub::Hub"]);
        check_paths(
            "mod tests { use super::x; } use super::y;",
            &["ws", "frame"],
            &["crate::ws::frame::x", "crate::ws::y"],
        );
        check_paths("use tickring::hub;", &[], &["crate::hub"]);
        check_paths("let x = std::time::Instant::now();", &[], &["std::time::Instant::now"]);
    }

    #[test]
    fn finds_what_is_for_tests_only() {
        let source = "fn a() {}\n#[cfg(test)]\n#[path = \"t.rs\"]\nmod t;\n#[cfg(all(test, feature = \"x\"))]\nmod u {\n}\nfn b() {}\n#[cfg(all(unix, test))]\nmod v {}\n";
        let code = blank(source);
        let all = tokens(&code);
        let found = tests(&code, &all);
        assert_eq!(found.lines, [false, true, true, true, true, true, true, false, false, false]);
        assert_eq!(found.modules, ["t"]);
        assert!(!found.whole_file);
    }

    #[test]
    fn measures_bodies_and_nothing_else() {
        let source = "fn a<F: fn(u8)>(x: [u8; 3])\nwhere\n    F: Copy,\n{\n    // no code\n\n    b(\"{\n}\");\n}\ntrait T { fn c(); }\nfn d() {}\n";
        let code = blank(source);
        let found: Vec<(String, usize, usize)> = functions(&code, &tokens(&code))
            .iter()
            .map(|function| (function.name.to_owned(), function.line, function.body_lines))
            .collect();
        assert_eq!(found, [("a".to_owned(), 0, 2), ("d".to_owned(), 10, 0)]);
    }
}
