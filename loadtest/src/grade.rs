//! Grades: the thresholds of a scenario. PURE.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::outcome::{Grade, Graded, Outcome};

/// The table `[grades]` of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Thresholds {}

/// The grade of a run.
pub(crate) fn grade(_: &Outcome, _: &Thresholds) -> Option<Graded> {
    None
}

const GRADES: [Grade; 6] = [Grade::APlus, Grade::A, Grade::B, Grade::C, Grade::D, Grade::F];

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::APlus => "A+",
            Grade::A => "A",
            Grade::B => "B",
            Grade::C => "C",
            Grade::D => "D",
            Grade::F => "F",
        })
    }
}

impl FromStr for Grade {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Grade, &'static str> {
        let named = GRADES.into_iter().find(|grade| grade.to_string().eq_ignore_ascii_case(text));
        named.ok_or("a grade is one of A+, A, B, C, D, F")
    }
}
