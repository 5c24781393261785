//! Why a run gives no number. Home: any thread.
//! A run that did not meet its own conditions fails with `Unmet`; it is never reported as if it had met them.

use std::fmt;
use std::io;

/// The outcome of anything that can make a run worthless.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a run gives no number.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operating system refused: what was tried, and its answer.
    Io(&'static str, io::Error),
    /// The server answered something that is not the protocol.
    Protocol(String),
    /// A wait passed its deadline: what was waited for.
    Deadline(String),
    /// There is no server to measure: what was tried, and what came of it.
    Unreachable(String),
    /// The run took place, but not under the conditions that its number claims.
    Unmet(String),
    /// A file that is not what it ought to be: which, and why.
    File(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Io(what, error) => write!(f, "{what}: {error}"),
            Failure::Protocol(what) => write!(f, "protocol: {what}"),
            Failure::Deadline(what) => write!(f, "deadline passed: {what}"),
            Failure::Unreachable(what) => write!(f, "the server cannot be reached: {what}"),
            Failure::Unmet(what) => write!(f, "not reported: {what}"),
            Failure::File(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// Names what was tried when the operating system refuses it.
pub(crate) trait Doing<T> {
    /// `what` is a short phrase such as `connect`.
    fn doing(self, what: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|error| Failure::Io(what, error.into()))
    }
}
