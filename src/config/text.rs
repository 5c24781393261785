//! The text of a configuration file: `${ENV}` substitution, and where in it a key stands. PURE.
//!
//! `${NAME}` is the variable's value, an error where it is unset; `${NAME:-text}` falls back to `text` where it is
//! unset or empty. Comments and 'literal strings' are left alone. In a "basic string" the value is escaped, so that
//! a quote in a password cannot end the string; elsewhere (`backlog = ${BACKLOG:-4096}`) it stands as it is.

/// What is wrong with a substitution, and on which line (from 1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SubstitutionError {
    pub line: usize,
    pub variable: String,
    pub fault: Fault,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unset,
    /// `${` without `}` on its line.
    Unclosed,
    /// Not `[A-Za-z_][A-Za-z0-9_]*`.
    BadName,
    /// The value has a line break, which would move every later line.
    LineBreak,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    Comment,
    Basic,
    Literal,
}

/// The text with every `${…}` replaced. Lines keep their numbers.
pub(super) fn substitute(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, SubstitutionError> {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        substitute_line(line, variable, &mut out).map_err(|(variable, fault)| SubstitutionError {
            line: index + 1,
            variable,
            fault,
        })?;
    }
    Ok(out)
}

fn substitute_line(
    line: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
) -> Result<(), (String, Fault)> {
    let mut place = Place::Plain;
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        if matches!(place, Place::Plain | Place::Basic)
            && let Some(opened) = rest.strip_prefix("${")
        {
            let Some((inside, after)) = opened.split_once('}') else {
                return Err((opened.trim().to_owned(), Fault::Unclosed));
            };
            push_value(&value_of(inside, variable)?, place, out);
            rest = after;
            continue;
        }
        if place == Place::Basic && next == '\\' {
            let escaped = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..escaped]);
            rest = &rest[escaped..];
            continue;
        }
        place = match (place, next) {
            (Place::Plain, '#') => Place::Comment,
            (Place::Plain, '"') => Place::Basic,
            (Place::Plain, '\'') => Place::Literal,
            (Place::Basic, '"') | (Place::Literal, '\'') => Place::Plain,
            (place, _) => place,
        };
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    Ok(())
}

fn value_of(inside: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, Fault)> {
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    let starts_well = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err((name.to_owned(), Fault::BadName));
    }
    let value = match (variable(name), fallback) {
        (Some(value), None) => value,
        (Some(value), Some(_)) if !value.is_empty() => value,
        (_, Some(fallback)) => fallback.to_owned(),
        (None, None) => return Err((name.to_owned(), Fault::Unset)),
    };
    if value.contains(['\n', '\r']) {
        return Err((name.to_owned(), Fault::LineBreak));
    }
    Ok(value)
}

fn push_value(value: &str, place: Place, out: &mut String) {
    for c in value.chars() {
        match c {
            '"' | '\\' if place == Place::Basic => out.extend(['\\', c]),
            c if place == Place::Basic && c.is_control() => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// The line (from 1) on which a byte of the text stands.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// The dotted key that a line sets, with its table: `limits.queued_bytes_max`. Nothing on a line without one.
pub(super) fn key_on(text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let here = lines.last()?.trim();
    if let Some(table) = table_of(here) {
        return Some(table.to_owned());
    }
    let (key, _) = here.split_once('=')?;
    let table = lines.iter().rev().find_map(|line| table_of(line.trim()));
    Some(table.map_or_else(|| key.trim().to_owned(), |table| format!("{table}.{}", key.trim())))
}

/// The line (from 1) that sets a dotted key, in the `nth` (from 0) of its array's tables where it stands in one; none
/// where the default stands.
pub(super) fn line_of(text: &str, key: &str, nth: usize) -> Option<usize> {
    let mut tables = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if table_of(line).is_some() {
            // A table inside the array's counts to it: `[listen.deflate]` to the `[[listen]]` before it.
            let is_of_array = line.starts_with("[[");
            let opens = |opened: &str| key.strip_prefix(opened).is_some_and(|rest| rest.starts_with('.'));
            tables += usize::from(is_of_array && table_of(line).is_some_and(opens));
        } else if tables.max(1) == nth + 1 && key_on(text, index + 1).as_deref() == Some(key) {
            return Some(index + 1);
        }
    }
    None
}

/// The table that a line opens: `[name]`, or `[[name]]` for one more of an array.
fn table_of(line: &str) -> Option<&str> {
    let (table, after) = match line.strip_prefix("[[") {
        Some(rest) => rest.split_once("]]")?,
        None => line.strip_prefix('[')?.split_once(']')?,
    };
    (after.trim().is_empty() || after.trim().starts_with('#')).then_some(table.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, (usize, &str, Fault)>) {
        let variable = |name: &str| match name {
            "PORT" => Some("9001".to_owned()),
            "QUOTED" => Some("a\"b\\c".to_owned()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some("a\nb".to_owned()),
            _ => None,
        };
        let outcome = substitute(text, &variable).map_err(|error| (error.line, error.variable, error.fault));
        let expected =
            expected.map(str::to_owned).map_err(|(line, variable, fault)| (line, variable.to_owned(), fault));
        assert_eq!(outcome, expected, "{text}");
    }

    #[test]
    fn puts_in_a_variable_or_its_default() {
        check("backlog = ${PORT}\n", Ok("backlog = 9001\n"));
        check("a = \"127.0.0.1:${PORT}\"", Ok("a = \"127.0.0.1:9001\""));
        check("a = ${NONE:-7}", Ok("a = 7"));
        check("a = \"${EMPTY:-x}\"", Ok("a = \"x\""));
        check("a = \"${EMPTY}\"", Ok("a = \"\""));
    }

    #[test]
    fn escapes_a_value_inside_a_string() {
        check("a = \"${QUOTED}\"", Ok("a = \"a\\\"b\\\\c\""));
    }

    #[test]
    fn leaves_comments_literal_strings_and_escapes_alone() {
        check("# ${NONE}\n", Ok("# ${NONE}\n"));
        check("a = '${NONE}' # ${NONE}", Ok("a = '${NONE}' # ${NONE}"));
        check("a = \"\\\"#\" # x", Ok("a = \"\\\"#\" # x"));
    }

    #[test]
    fn names_the_line_and_variable_of_a_fault() {
        check("\na = ${NONE}", Err((2, "NONE", Fault::Unset)));
        check("a = ${PORT", Err((1, "PORT", Fault::Unclosed)));
        check("a = ${9}", Err((1, "9", Fault::BadName)));
        check("a = ${LINES}", Err((1, "LINES", Fault::LineBreak)));
    }

    #[test]
    fn finds_keys_and_lines() {
        let text = "# top\n[listen]\naddress = 1\n\n[feed.paper] # life\nseed = 2\n";
        assert_eq!(key_on(text, 3).as_deref(), Some("listen.address"));
        assert_eq!(key_on(text, 6).as_deref(), Some("feed.paper.seed"));
        assert_eq!(key_on(text, 5).as_deref(), Some("feed.paper"));
        assert_eq!(line_of(text, "feed.paper.seed", 0), Some(6));
        assert_eq!(line_of(text, "feed.paper.events", 0), None);
        let tables = "[[listen]]\naddress = 1\n[[listen]] # two\nbacklog = 2\naddress = 3\n";
        assert_eq!(line_of(tables, "listen.address", 0), Some(2));
        assert_eq!(line_of(tables, "listen.address", 1), Some(5));
        assert_eq!(line_of(tables, "listen.backlog", 0), None);
        assert_eq!(key_on(tables, 4).as_deref(), Some("listen.backlog"));
        assert_eq!(line_at(text, 8), 2);
    }
}
