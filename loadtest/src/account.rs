//! What is printed of a run that is judged instead of compared: facts, tallies, and for each claim whether it holds; the
//! same as JSON. PURE.
//! Invariant: a claim that does not hold is printed beside those that do, and fails the whole run.

use std::fmt::Write as _;

use crate::report::{Metric, number, quoted, short};

/// A claim about a run, with what was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) claim: String,
    pub(crate) holds: bool,
}

/// How often each thing happened, under one heading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) name: String,
    pub(crate) counts: Vec<(String, u64)>,
}

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) case: String,
    pub(crate) facts: Vec<Metric>,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) notes: Vec<String>,
}

impl Account {
    pub(crate) fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.facts.push(Metric { name: name.into(), unit: unit.into(), value });
    }

    pub(crate) fn judge(&mut self, claim: String, holds: bool) {
        self.verdicts.push(Verdict { claim, holds });
    }

    /// Whether every claim holds.
    pub(crate) fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.case);
        for fact in &self.facts {
            let name = format!("{} [{}]", fact.name, fact.unit);
            writeln!(text, "  {name:<44}{:>16}", short(fact.value)).expect(WRITES);
        }
        for tally in &self.tallies {
            let counts: Vec<String> =
                tally.counts.iter().map(|(what, count)| format!("{what} x {count}")).collect();
            let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
            writeln!(text, "  {:<30}{counts}", tally.name).expect(WRITES);
        }
        for verdict in &self.verdicts {
            writeln!(text, "  {}: {}", if verdict.holds { "holds" } else { "FAILS" }, verdict.claim)
                .expect(WRITES);
        }
        for note in &self.notes {
            writeln!(text, "  note: {note}").expect(WRITES);
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let facts = self.facts.iter().map(|fact| {
            let value = number(fact.value);
            format!(r#"{{"metric":{},"unit":{},"value":{value}}}"#, quoted(&fact.name), quoted(&fact.unit))
        });
        let tallies = self.tallies.iter().map(|tally| {
            let counts = tally.counts.iter().map(|(what, count)| format!("{}:{count}", quoted(what)));
            format!(r#"{{"tally":{},"counts":{{{}}}}}"#, quoted(&tally.name), joined(counts))
        });
        let verdicts = self
            .verdicts
            .iter()
            .map(|verdict| format!(r#"{{"claim":{},"holds":{}}}"#, quoted(&verdict.claim), verdict.holds));
        format!(
            r#"{{"case":{},"facts":[{}],"tallies":[{}],"verdicts":[{}],"notes":[{}]}}"#,
            quoted(&self.case),
            joined(facts),
            joined(tallies),
            joined(verdicts),
            joined(self.notes.iter().map(|note| quoted(note))),
        )
    }
}

const WRITES: &str = "invariant: writing to a String cannot fail";

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let mut account = Account { case: "churn".to_owned(), ..Account::default() };
        account.add("cycles", "count", 12.0);
        account
            .tallies
            .push(Tally { name: "failures".to_owned(), counts: vec![("no \"101\"".to_owned(), 2)] });
        account.judge("nothing failed".to_owned(), false);
        account.judge("nothing is left".to_owned(), true);
        account
    }

    #[test]
    fn one_claim_that_does_not_hold_fails_the_whole() {
        let mut account = account();
        assert!(!account.holds());
        account.verdicts.remove(0);
        assert!(account.holds());
    }

    #[test]
    fn the_text_has_a_line_for_everything() {
        let text = account().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "churn");
        assert!(lines[2].starts_with("  cycles [count]") && lines[2].ends_with("12.0"), "{text}");
        assert_eq!(lines[3], "  failures                      no \"101\" x 2");
        assert_eq!(lines[4..], ["  FAILS: nothing failed", "  holds: nothing is left"]);
    }

    #[test]
    fn the_json_has_a_member_for_everything() {
        assert_eq!(
            account().json(),
            concat!(
                r#"{"case":"churn","facts":[{"metric":"cycles","unit":"count","value":12}],"#,
                r#""tallies":[{"tally":"failures","counts":{"no \"101\"":2}}],"#,
                r#""verdicts":[{"claim":"nothing failed","holds":false},{"claim":"nothing is left","holds":true}],"#,
                r#""notes":[]}"#
            )
        );
    }
}
