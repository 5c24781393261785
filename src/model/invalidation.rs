//! Which kept results of backends are not to be told any more, as it is said between threads and nodes. PURE. Home: every thread.
//!
//! Invariants: what is said is bounded, and so is what waits: where too much comes together more is forgotten than was asked for, never
//! less; a backend's own word is of no other backend's results.

use std::fmt;

use crate::limits;

/// Fits every method.
const ANY: &str = "*";

/// Methods by their names, or by starts of names with `*` behind them: 1 to `limits::INVALIDATED_METHODS_MAX`; `*` stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods(Vec<Box<str>>);

/// Why methods can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodsFault {
    None,
    /// More than `limits::INVALIDATED_METHODS_MAX`.
    TooMany,
    /// Not printable ASCII without `"` and `\`, or `*` elsewhere than at the end, or longer than a method may be.
    Form,
}

/// Results to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// Those of the backend of this name alone; `None`: of each.
    pub backend: Option<Box<str>>,
    pub methods: Methods,
}

/// Invalidations that wait for one reason: those of one backend are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered(Vec<Invalidation>);

/// What one backend says, told on at once but for what comes faster than each `limits::INVALIDATIONS_APART_NS`: that is put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paced {
    waiting: Option<Methods>,
    due_ns: u64,
}

impl fmt::Display for MethodsFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodsFault::None => out.write_str("methods names none"),
            MethodsFault::TooMany => {
                write!(
                    out,
                    "methods has more than {} names or starts of names",
                    limits::INVALIDATED_METHODS_MAX
                )
            }
            MethodsFault::Form => {
                out.write_str("methods are names, as \"risk/var\", or starts of names with * behind them")
            }
        }
    }
}

impl Methods {
    /// All there are.
    #[must_use]
    pub fn any() -> Methods {
        Methods(vec![ANY.into()])
    }

    /// # Errors
    /// The first fault that is found.
    pub fn parse<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Methods, MethodsFault> {
        let mut methods: Option<Methods> = None;
        for (nth, pattern) in patterns.into_iter().enumerate() {
            if nth == limits::INVALIDATED_METHODS_MAX {
                return Err(MethodsFault::TooMany);
            }
            let text = pattern.strip_suffix('*').unwrap_or(pattern);
            let is_legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'*');
            let is_named = !pattern.is_empty() && pattern.len() <= limits::INVALIDATED_METHOD_BYTES_MAX;
            if !is_named || !text.bytes().all(is_legal) {
                return Err(MethodsFault::Form);
            }
            methods.get_or_insert(Methods(Vec::new())).insert(pattern.into());
        }
        methods.ok_or(MethodsFault::None)
    }

    #[must_use]
    pub fn patterns(&self) -> &[Box<str>] {
        &self.0
    }

    /// Whether a method is among them.
    #[must_use]
    pub fn fit(&self, method: &[u8]) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => method.starts_with(start.as_bytes()),
            None => pattern.as_bytes() == method,
        })
    }

    /// These too; all there are where they would be too many.
    pub fn merge(&mut self, more: Methods) {
        more.0.into_iter().for_each(|pattern| self.insert(pattern));
    }

    fn insert(&mut self, pattern: Box<str>) {
        if &*pattern == ANY {
            *self = Methods::any();
        } else if !self.0.contains(&pattern) && !self.0.iter().any(|known| &**known == ANY) {
            if self.0.len() == limits::INVALIDATED_METHODS_MAX {
                *self = Methods::any();
            } else {
                self.0.push(pattern);
            }
        }
    }
}

impl Invalidation {
    /// Of all that is kept.
    #[must_use]
    pub fn everything() -> Invalidation {
        Invalidation { backend: None, methods: Methods::any() }
    }
}

impl Gathered {
    pub fn add(&mut self, more: Invalidation) {
        if let Some(known) = self.0.iter_mut().find(|known| known.backend == more.backend) {
            known.methods.merge(more.methods);
        } else if self.0.len() == limits::INVALIDATIONS_GATHERED_MAX {
            self.0 = vec![Invalidation::everything()];
        } else {
            self.0.push(more);
        }
    }

    /// The next of them.
    pub fn pop(&mut self) -> Option<Invalidation> {
        self.0.pop()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Paced {
    pub fn add(&mut self, methods: Methods) {
        match &mut self.waiting {
            Some(waiting) => waiting.merge(methods),
            None => self.waiting = Some(methods),
        }
    }

    /// What is to be told on now.
    pub fn poll(&mut self, now_ns: u64) -> Option<Methods> {
        if now_ns < self.due_ns {
            return None;
        }
        let methods = self.waiting.take()?;
        self.due_ns = now_ns.saturating_add(limits::INVALIDATIONS_APART_NS);
        Some(methods)
    }

    /// Whether nothing waits, and the next would be told at once.
    #[must_use]
    pub fn is_idle(&self, now_ns: u64) -> bool {
        self.waiting.is_none() && now_ns >= self.due_ns
    }

    /// When [`Paced::poll`] has something, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.waiting.is_some().then_some(self.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(patterns: &[&str]) -> Methods {
        Methods::parse(patterns.iter().copied()).unwrap()
    }

    fn of(backend: &str, patterns: &[&str]) -> Invalidation {
        Invalidation { backend: Some(backend.into()), methods: methods(patterns) }
    }

    #[test]
    fn a_name_fits_itself_and_a_start_what_begins_so() {
        let some = methods(&["risk/var", "prices/*", "a/get_*"]);
        for (method, expected) in [
            ("risk/var", true),
            ("risk/vars", false),
            ("risk/", false),
            ("prices/", true),
            ("prices/of/x", true),
            ("price", false),
            ("a/get_x", true),
            ("a/set_x", false),
        ] {
            assert_eq!(some.fit(method.as_bytes()), expected, "{method}");
            assert!(methods(&["b/x", "*"]).fit(method.as_bytes()));
        }
        assert_eq!(methods(&["b/x", "*", "c/x"]).patterns(), [ANY.into()]);
    }

    #[test]
    fn what_is_no_method_is_refused() {
        let fault = |patterns: &[&str]| Methods::parse(patterns.iter().copied()).unwrap_err();
        assert_eq!(fault(&[]), MethodsFault::None);
        let long = "x".repeat(limits::INVALIDATED_METHOD_BYTES_MAX + 1);
        for odd in ["", "a b", "a\"", "a\\", "a*b", "**", "é", "a\n", &long] {
            assert_eq!(fault(&["a/x", odd]), MethodsFault::Form, "{odd}");
        }
        let many = vec!["a/x"; limits::INVALIDATED_METHODS_MAX + 1];
        assert_eq!(fault(&many), MethodsFault::TooMany);
        assert_eq!(methods(&many[1..]), methods(&["a/x"]));
    }

    #[test]
    fn what_one_backend_says_is_one_and_too_many_are_everything() {
        let mut gathered = Gathered::default();
        gathered.add(of("risk", &["risk/a"]));
        gathered.add(of("desk", &["desk/a"]));
        gathered.add(of("risk", &["risk/b", "risk/a"]));
        assert_eq!(gathered.pop(), Some(of("desk", &["desk/a"])));
        assert_eq!(gathered.pop(), Some(of("risk", &["risk/a", "risk/b"])));
        assert_eq!((gathered.pop(), gathered.is_empty()), (None, true));
        for number in 0..=limits::INVALIDATIONS_GATHERED_MAX {
            gathered.add(of(&number.to_string(), &["a/x"]));
        }
        assert_eq!((gathered.pop(), gathered.pop()), (Some(Invalidation::everything()), None));
        for number in 0..=limits::INVALIDATED_METHODS_MAX {
            gathered.add(of("risk", &[&number.to_string()]));
        }
        assert_eq!(gathered.pop(), Some(of("risk", &["*"])));
    }

    #[test]
    fn the_first_is_told_on_at_once_and_those_that_come_faster_together() {
        let mut paced = Paced::default();
        assert_eq!((paced.poll(7), paced.poll_timeout()), (None, None));
        paced.add(methods(&["a/x"]));
        assert_eq!(paced.poll(7), Some(methods(&["a/x"])));
        paced.add(methods(&["a/y"]));
        paced.add(methods(&["a/z"]));
        let due_ns = 7 + limits::INVALIDATIONS_APART_NS;
        assert_eq!((paced.poll(due_ns - 1), paced.poll_timeout()), (None, Some(due_ns)));
        assert_eq!((paced.poll(due_ns), paced.poll(due_ns)), (Some(methods(&["a/y", "a/z"])), None));
    }
}
