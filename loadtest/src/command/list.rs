//! `loadtest scenarios` and `loadtest dialects`: what is built in, and its text. Home: the main thread.

use crate::dialect;
use crate::failure::{Failure, Result};
use crate::report;
use crate::scenario::{self, Scenario};

/// All scenarios, a line each, or the file of one.
pub(crate) fn scenarios(name: Option<&str>) -> Result<()> {
    if let Some(name) = name {
        let text = scenario::built_in(name).ok_or_else(|| unknown("scenario", name, &scenario::names()))?;
        return report::print(text);
    }
    let lines = scenario::names().into_iter().map(|name| {
        let text = scenario::built_in(name).expect("invariant: it is listed");
        let scenario = Scenario::parse(text).expect("invariant: its test reads every one");
        format!("{name:<16} {}\n", scenario.about)
    });
    report::print(&lines.collect::<String>())
}

/// All dialects, a line each, or the file of one.
pub(crate) fn dialects(name: Option<&str>) -> Result<()> {
    if let Some(name) = name {
        let text = dialect::built_in(name).ok_or_else(|| unknown("dialect", name, &dialect::names()))?;
        return report::print(text);
    }
    report::print(&dialect::names().iter().map(|name| format!("{name}\n")).collect::<String>())
}

/// What is said of a name that nothing has.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Failure {
    Failure::File(format!(
        "no {what} is called {name:?}; there are {}, and files (with a / or .toml)",
        known.join(", ")
    ))
}
