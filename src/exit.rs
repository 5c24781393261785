//! How a command ends: one line that says what went wrong and what to do, and a code after sysexits.h.
//! Home: the main thread.

use std::fmt;

/// Exit codes. A shell script or systemd can tell a wrong flag from a busy port by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// The command line is wrong.
    Usage,
    /// What was read is wrong: a recording, a server's reply.
    Data,
    /// A file that was named cannot be read.
    NoInput,
    /// A server cannot be reached, or an address is taken.
    Unavailable,
    /// Our bug.
    Software,
    /// The kernel refused something: a limit, a missing feature.
    OsError,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// The number for the operating system.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::OsError => 71,
            Exit::Config => 78,
        }
    }
}

/// Why a command failed. Printed as one line, `tickring: <what>: <hint>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// What went wrong, naming the thing: a file and line, an address, a key.
    pub what: String,
    /// What the reader can do about it.
    pub hint: String,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { exit, what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Failure {
    /// Line breaks in what others said (the operating system, a parser) become spaces.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            if self.hint.is_empty() { self.what.clone() } else { format!("{}: {}", self.what, self.hint) };
        out.write_str(&line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line() {
        let failure = Failure::new(Exit::Config, "f.toml:3: invalid\nkey", "write it so");
        assert_eq!(failure.to_string(), "f.toml:3: invalid key: write it so");
        assert_eq!(failure.exit.code(), 78);
    }
}
