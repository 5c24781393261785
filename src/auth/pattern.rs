//! Which channels may be subscribed to, and which topics published to: names in which `*` stands for any text. PURE.
//!
//! Invariant: what a client subscribes to by a `*` of its own is allowed only if each channel that it stands for is: in the
//! text that is judged a `*` is a character like any other, which nothing but a pattern's `*` takes.

/// Bytes of one pattern; the longest channel is shorter.
const PATTERN_BYTES_MAX: usize = 128;

/// Lists of patterns, each of which must have one that matches. Without a list nothing is forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    lists: Vec<Box<[Box<str>]>>,
}

impl Patterns {
    /// Whatever the name.
    pub const ANY: Patterns = Patterns { lists: Vec::new() };

    /// By one list; an empty one allows nothing.
    pub fn new(list: impl IntoIterator<Item = impl AsRef<str>>) -> Patterns {
        let list: Box<[Box<str>]> = list.into_iter().map(|pattern| pattern.as_ref().into()).collect();
        if list.iter().any(|pattern| &**pattern == "*") {
            return Patterns::ANY;
        }
        Patterns { lists: vec![list] }
    }

    /// Allows nothing.
    #[must_use]
    pub fn none() -> Patterns {
        Patterns { lists: vec![Box::default()] }
    }

    /// What both allow.
    #[must_use]
    pub fn and(mut self, other: Patterns) -> Patterns {
        self.lists.extend(other.lists);
        self
    }

    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        let matched = |list: &[Box<str>]| list.iter().any(|pattern| matches(pattern, name));
        self.lists.iter().all(|list| matched(list))
    }

    /// The patterns of the first list, `*` where there is none: for people to read.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let any = self.lists.is_empty().then_some("*");
        any.into_iter().chain(self.lists.first().into_iter().flat_map(|list| list.iter().map(|word| &**word)))
    }
}

/// Whether a text may be a pattern: the characters of channels, and `*`.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:/.*".contains(&byte);
    !text.is_empty() && text.len() <= PATTERN_BYTES_MAX && text.bytes().all(is_legal)
}

/// A `*` first takes nothing, then one byte more each time that the rest does not fit: at most as many steps as both
/// lengths multiplied.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last `*` stands, and where what it has not taken begins.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(byte) if *byte == name[at] => {
                in_pattern += 1;
                at += 1;
            }
            Some(_) | None => {
                let Some((star_at, taken_to)) = star else { return false };
                star = Some((star_at, taken_to + 1));
                in_pattern = star_at + 1;
                at = taken_to + 1;
            }
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_a_name_for_itself() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Patterns::new([pattern]).allow(name), expected, "{pattern} {name}");
        };
        check("*", "", true);
        check("ticker.*.raw", "ticker.BTC-PERPETUAL.raw", true);
        check("ticker.*.raw", "ticker.BTC-PERPETUAL.100ms", false);
        check("ticker.*.raw", "ticker.*.raw", true);
        check("ticker.BTC*.raw", "ticker.*.raw", false);
        check("topic.desk-*", "topic.desk-", true);
        check("topic.desk-*", "topic.des", false);
        check("*.raw", "trades.X.raw.raw", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("quote.X", "quote.X", true);
        check("quote.X", "quote.XY", false);
    }

    #[test]
    fn each_list_must_agree_and_an_empty_one_agrees_to_nothing() {
        let both = Patterns::new(["topic.*", "quote.*"]).and(Patterns::new(["*.a"]));
        assert!(both.allow("topic.a") && !both.allow("topic.b") && !both.allow("ticker.a"));
        assert!(Patterns::ANY.allow("x") && !Patterns::none().allow("x"));
        assert!(!Patterns::new(Vec::<String>::new()).allow(""));
        assert_eq!(Patterns::ANY.words().collect::<Vec<_>>(), ["*"]);
        assert_eq!(both.words().collect::<Vec<_>>(), ["topic.*", "quote.*"]);
        assert!(is_pattern("ticker.*.raw") && !is_pattern("") && !is_pattern("a b") && !is_pattern("é"));
    }

    /// The plain definition.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*', after)), _) => (0..=name.len()).any(|taken| naive(after, &name[taken..])),
            (Some((byte, after)), Some((first, rest))) => byte == first && naive(after, rest),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_definition(pattern in "[ab*]{0,8}", name in "[ab*]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn what_a_clients_star_stands_for_is_allowed_if_the_star_is(
            pattern in "[ab*]{0,6}", before in "[ab]{0,3}", instead in "[ab]{0,4}", after in "[ab]{0,3}",
        ) {
            if matches(&pattern, &format!("{before}*{after}")) {
                let expanded = format!("{before}{instead}{after}");
                prop_assert!(matches(&pattern, &expanded));
            }
        }
    }
}
