//! The query of a target, as pages and curl write it: `name=value` between `&`, percent-encoded (WHATWG URL §5.1).
//!
//! PURE. Allocates: each text that is decoded. Invariant: what comes out is UTF-8, whatever comes in.

/// The names and values of a query, in order; those without a name are left out.
///
/// # Errors
/// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
pub fn decode_query(query: &str) -> Result<Vec<(String, String)>, NotDecodable> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !name.is_empty() {
            pairs.push((decode(name)?, decode(value)?));
        }
    }
    Ok(pairs)
}

/// The query is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDecodable;

fn decode(text: &str) -> Result<String, NotDecodable> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or(NotDecodable)?, digit().ok_or(NotDecodable)?);
                u8::try_from(16 * high + low).map_err(|_| NotDecodable)?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| NotDecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<&[(&str, &str)], NotDecodable>) {
        let expected = expected.map(|pairs| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        });
        assert_eq!(decode_query(query), expected, "{query}");
    }

    #[test]
    fn names_and_values_are_decoded() {
        check("", Ok(&[]));
        check("a=1&b=x+y%26%3D&&c&=d&e==", Ok(&[("a", "1"), ("b", "x y&="), ("c", ""), ("e", "=")]));
        check("%e2%82%AC=%5B%22a%22%5d", Ok(&[("\u{20ac}", "[\"a\"]")]));
        check("a=%ff", Err(NotDecodable));
        check("a=%", Err(NotDecodable));
        check("a=%4", Err(NotDecodable));
        check("a=%+4", Err(NotDecodable));
    }
}
