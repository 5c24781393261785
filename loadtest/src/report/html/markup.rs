//! Text that may stand in HTML and in XML. PURE.
//! Invariant: whatever the text holds, it stays text.

use std::fmt::{self, Write as _};

pub(super) const WRITES: &str = "invariant: writing to a String cannot fail";

/// Shown as it is, between tags or in a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // XML has no way to say these.
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                control if control < ' ' && !matches!(control, '\n' | '\t') => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

pub(super) fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A row of a table; the first cell is its head.
pub(super) fn push_row<T: AsRef<str>>(page: &mut String, cells: &[T]) {
    page.push_str("<tr>");
    for (at, cell) in cells.iter().enumerate() {
        let cell = Text(cell.as_ref());
        match at {
            0 => write!(page, "<th scope=\"row\">{cell}</th>").expect(WRITES),
            _ => write!(page, "<td>{cell}</td>").expect(WRITES),
        }
    }
    page.push_str("</tr>\n");
}

/// Up to the rows; [`end_table`] closes it.
pub(super) fn begin_table(page: &mut String, caption: &str, heads: &[&str]) {
    write!(page, "<div class=\"wide\"><table><caption>{}</caption>\n<thead><tr>", Text(caption))
        .expect(WRITES);
    for head in heads {
        write!(page, "<th scope=\"col\">{}</th>", Text(head)).expect(WRITES);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
}

pub(super) fn end_table(page: &mut String) {
    page.push_str("</tbody>\n</table></div>\n");
}
