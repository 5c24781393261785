//! The smallest pieces of JSON output. PURE; allocates only to grow the buffer.

use crate::model::decimal::Price;

pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn push_unsigned(out: &mut Vec<u8>, number: u64) {
    push(out, itoa::Buffer::new().format(number));
}

/// A price, or null where there is none.
pub(crate) fn push_price(out: &mut Vec<u8>, price: Option<Price>, decimals: u8) {
    match price {
        Some(price) => price.write(out, decimals),
        None => push(out, "null"),
    }
}

/// A JSON string of any text, escaped as RFC 8259 §7 asks.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain_start = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        push(out, &text[plain_start..at]);
        plain_start = at + 1;
        match byte {
            b'"' => push(out, "\\\""),
            b'\\' => push(out, "\\\\"),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                push(out, "\\u00");
                out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
    }
    push(out, &text[plain_start..]);
    out.push(b'"');
}

/// Writes entries with commas between them.
pub(crate) fn push_list<T>(
    out: &mut Vec<u8>,
    entries: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (place, entry) in entries.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_so_that_others_read_them_back() {
        for text in ["", "plain", "\"\\/\n\t\u{0}\u{1f}\u{7f}é😀", "end\\"] {
            let mut out = Vec::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
