//! Results as JSON: what `report` and `compare` read again. Home: the main thread.
//! Invariant: a file of another format is refused by its number, before its members are looked at.

use std::path::Path;

use serde::Deserialize;

use crate::failure::{Failure, Result};
use crate::outcome::{FORMAT, Outcomes};

pub(crate) fn read(path: &Path) -> Result<Outcomes> {
    let told = |what: String| Failure::File(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    parse(&text).map_err(told)
}

pub(super) fn write(path: &Path, outcomes: &Outcomes) -> Result<()> {
    super::write(path, &text(outcomes)?)
}

fn text(outcomes: &Outcomes) -> Result<String> {
    let text = serde_json::to_string_pretty(outcomes);
    text.map(|text| text + "\n").map_err(|error| Failure::File(format!("results as JSON: {error}")))
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn parse(text: &str) -> std::result::Result<Outcomes, String> {
    let head: Head =
        serde_json::from_str(text).map_err(|error| format!("no results of a load test: {error}"))?;
    if head.format != FORMAT {
        return Err(format!("its format is {}, this program reads {FORMAT}", head.format));
    }
    serde_json::from_str(text).map_err(|error| format!("results of format {FORMAT}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::{Thresholds, grade};
    use crate::samples;

    #[test]
    fn what_was_written_is_read_again() {
        let mut run = samples::outcome();
        run.graded = grade(&run, &Thresholds::default());
        let mut refused = samples::outcome();
        refused.server_use = None;
        refused.refused.push("a \"stolen\" core".to_owned());
        let outcomes = samples::outcomes(vec![run, refused]);
        assert_eq!(parse(&text(&outcomes).unwrap()), Ok(outcomes));
    }

    #[test]
    fn another_format_is_refused_by_its_number_whatever_else_it_holds() {
        let refusal = parse(r#"{"format":99,"runs":"something else"}"#).unwrap_err();
        assert_eq!(refusal, "its format is 99, this program reads 1");
        assert!(parse("[]").unwrap_err().starts_with("no results of a load test: "));
        assert!(parse(r#"{"format":1}"#).unwrap_err().starts_with("results of format 1: missing field"));
    }
}
