//! Why a recording cannot be played, with file, place and reason. PURE. Home: the venue thread, and the start-up.

use std::fmt;

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// The record with this number, counted from 1.
    Record(u64),
    /// The line with this number, counted from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Record(number) => write!(f, " record {number}:"),
            Place::Line(number) => write!(f, " line {number}:"),
        }
    }
}

/// One line that an operator can act on: `esh4.dbn.zst: record 1234: an order without a price`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedError {
    /// The file's name without its folder.
    pub file: String,
    pub place: Place,
    pub reason: String,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.file, self.place, self.reason)
    }
}

impl std::error::Error for FeedError {}
