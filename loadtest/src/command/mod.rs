//! The commands that are more than a measurement: their flags, and what they do with them.

pub(crate) mod list;
pub(crate) mod run;
