//! Why bars are not met: words of people, kept beside the numbers' source and shown only while the numbers say so. PURE.
//! Invariant: each is of a bar that there is.

use std::collections::BTreeMap;

use crate::failure::{Failure, Result};
use crate::proof::bar;

/// What the file of explanations has, by the names of bars.
#[derive(Debug, Default)]
pub(crate) struct Shortfalls(BTreeMap<String, String>);

impl Shortfalls {
    /// Those of this program.
    pub(crate) fn known() -> Result<Shortfalls> {
        Shortfalls::parse(include_str!("../../shortfalls.toml"))
    }

    pub(crate) fn parse(text: &str) -> Result<Shortfalls> {
        let all: BTreeMap<String, String> =
            toml::from_str(text).map_err(|error| Failure::File(format!("shortfalls.toml: {error}")))?;
        let stranger = all.keys().find(|name| bar::ALL.iter().all(|bar| bar.name != name.as_str()));
        match stranger {
            Some(name) => Err(Failure::File(format!("shortfalls.toml: there is no bar {name:?}"))),
            None => Ok(Shortfalls(all)),
        }
    }

    pub(crate) fn why(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|why| why.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_of_a_bar_that_there_is() {
        assert!(Shortfalls::known().is_ok());
        let failure = Shortfalls::parse("\"no such bar\" = \"why\"").unwrap_err().to_string();
        assert!(failure.contains("no such bar"), "{failure}");
        let name = bar::ALL[0].name;
        let one = Shortfalls::parse(&format!("{name:?} = \" why \"")).unwrap();
        assert_eq!((one.why(name), one.why(bar::ALL[1].name)), (Some("why"), None));
    }
}
