//! Who is present, as an office of messages has it kept outside of itself for the office after it. PURE: values.

use super::message::Name;

/// What is kept of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPresence {
    pub user: Name,
    /// Since when it is present, in milliseconds since 1970; `None` where it is not, and nothing is kept of it.
    pub since_ms: Option<u64>,
}

/// What the office is told of what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptWord {
    /// What the office before has left is being read. What is kept is forgotten unless it is written again, which is to be after so many nanoseconds.
    Reading { renew_ns: u64 },
    /// Some of it.
    Entries(Vec<KeptPresence>),
    /// That was all.
    Read,
    /// That was not written, or nobody knows whether it was.
    Unwritten(KeptPresence),
}

impl KeptPresence {
    /// Whether anything is kept of users of this name: of accounts. Backends among users are present by the configuration.
    #[must_use]
    pub fn is_kept_of(user: &Name) -> bool {
        user.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    }
}
