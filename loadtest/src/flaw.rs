//! What is wrong with a file that a user wrote: the line, what is wrong, what to do. PURE.

use std::fmt;

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// From 1; 0 where no line is at fault.
    pub(crate) line: usize,
    pub(crate) what: String,
    /// Empty where `what` says it all.
    pub(crate) hint: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if 0 < self.line {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// What TOML itself says of a text.
pub(crate) fn of_toml(text: &str, error: &toml::de::Error) -> Flaw {
    let begin = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..begin].iter().filter(|byte| **byte == b'\n').count();
    Flaw { line, what: error.message().replace('\n', "; "), hint: String::new() }
}

/// The line of `key` in `[section]` or `[[section]]`, else that of the section, else 0. The first section has no name.
pub(crate) fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut current = "";
    let mut found = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            current = line.trim_start_matches('[').split(']').next().unwrap_or_default().trim();
            if current == section && found == 0 {
                found = index + 1;
            }
        } else if current == section
            && line.split('=').next().is_some_and(|name| !key.is_empty() && name.trim() == key)
        {
            return index + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 'x'\n\n[one]\na = 1\n[[two]]\na = 2\n";

    #[test]
    fn finds_the_line_of_a_key_in_its_section() {
        assert_eq!(line_of(TEXT, "", "name"), 1);
        assert_eq!(line_of(TEXT, "one", "a"), 4);
        assert_eq!(line_of(TEXT, "two", "a"), 6);
        assert_eq!(line_of(TEXT, "two", "b"), 5);
        assert_eq!(line_of(TEXT, "three", "a"), 0);
    }

    #[test]
    fn tells_line_fault_and_hint() {
        let flaw = Flaw { line: 3, what: "no".to_owned(), hint: "yes".to_owned() };
        assert_eq!(flaw.to_string(), "line 3: no (yes)");
        assert_eq!(Flaw { line: 0, hint: String::new(), ..flaw }.to_string(), "no");
    }
}
