//! SBE beside JSON where no kernel is between: what the benches of the codecs and of the hub say, run by cargo from the repository's root.
//! Home: the load thread, which waits for them.
//! Invariants: what a bench does not say is no number; both encodings are of the same run of the same program.

use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};
use crate::report::{Comparison, Sample};
use crate::scenarios::{Rig, paired};

/// A median that is asked for: the bench that has it in SBE, that which has it in JSON, where there is one, and what it is called.
struct Asked {
    name: &'static str,
    sbe: &'static str,
    json: Option<&'static str>,
}

const ASKED: [Asked; 6] = [
    Asked { name: "quote encoded", sbe: "encode_quote", json: Some("encode_quote_json") },
    Asked { name: "quote decoded", sbe: "decode_quote", json: None },
    Asked { name: "order to its answer", sbe: "order_in_sbe", json: Some("order_in_json") },
    Asked {
        name: "64 ticks to 1",
        sbe: "ticks_to_subscribers_in_sbe/1",
        json: Some("ticks_to_subscribers_in_json/1"),
    },
    Asked {
        name: "64 ticks to 10",
        sbe: "ticks_to_subscribers_in_sbe/10",
        json: Some("ticks_to_subscribers_in_json/10"),
    },
    Asked {
        name: "64 ticks to 100",
        sbe: "ticks_to_subscribers_in_sbe/100",
        json: Some("ticks_to_subscribers_in_json/100"),
    },
];

/// The benches, and which of theirs are run.
const BENCHES: [(&str, &[&str]); 2] =
    [("sbe", &["encode_quote", "decode_quote"]), ("hub", &["order_in", "ticks_to_subscribers_in"])];

/// Runs them as often as there are to be pairs.
pub(crate) fn run(rig: &Rig) -> Comparison {
    let case = "SBE beside JSON without sockets, on one core: medians of `cargo bench --no-default-features --bench sbe --bench hub`";
    Comparison { subject: "SBE".to_owned(), ..paired(rig, case, "JSON", measure) }
}

fn measure() -> Result<(Sample, Sample)> {
    let mut medians = Vec::new();
    for (bench, filters) in BENCHES {
        medians.extend(medians_of(&printed(bench, filters)?));
    }
    samples(&medians)
}

/// What a bench prints.
fn printed(bench: &str, filters: &[&str]) -> Result<String> {
    let arguments = ["bench", "--quiet", "--locked", "--no-default-features", "--bench", bench, "--"];
    let mut command = Command::new("cargo");
    command.args(arguments).args(filters).env("NO_COLOR", "1").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().doing("run cargo bench")?;
    if !output.status.success() {
        return Err(Failure::Unmet(format!("cargo bench --bench {bench}: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn samples(medians: &[(String, f64)]) -> Result<(Sample, Sample)> {
    let (mut json, mut sbe) = (Sample::default(), Sample::default());
    let told = |bench: &str| {
        let found = medians.iter().find(|(name, _)| name == bench);
        let (_, ns) = found.ok_or_else(|| Failure::Unmet(format!("no bench said {bench}")))?;
        Ok::<f64, Failure>(*ns)
    };
    for asked in ASKED {
        sbe.add(asked.name, "ns", told(asked.sbe)?);
        if let Some(bench) = asked.json {
            json.add(asked.name, "ns", told(bench)?);
        }
    }
    Ok((json, sbe))
}

/// Names and medians, in nanoseconds, of a table as divan prints it: a line for each bench, `name fastest │ slowest │ median │ …` behind a branch of
/// the tree; one with arguments has a line without numbers, and theirs below it.
fn medians_of(table: &str) -> Vec<(String, f64)> {
    let (mut medians, mut above) = (Vec::new(), "");
    for line in table.lines() {
        let Some((branch, told)) = line.split_once("─ ") else { continue };
        let name = told.split_whitespace().next().unwrap_or_default();
        let is_below = branch.chars().count() > 1;
        match told.split('│').nth(2).and_then(nanoseconds) {
            Some(ns) if is_below => medians.push((format!("{above}/{name}"), ns)),
            Some(ns) => medians.push((name.to_owned(), ns)),
            None => above = name,
        }
    }
    medians
}

/// A duration as divan writes it: `3.07 ns`.
fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(factor * number.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Timer precision: 10 ns
hub                              fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ order_in_json                 2.9 µs        │ 30.1 µs       │ 3.09 µs       │ 3.2 µs        │ 100     │ 100
│                                344.8 Kitem/s │ 33.2 Kitem/s  │ 323.6 Kitem/s │ 312.5 Kitem/s │         │
├─ ticks_to_subscribers_in_json                │               │               │               │         │
│  ├─ 1                          18.2 µs       │ 1.2 ms        │ 19.12 µs      │ 19.9 µs       │ 100     │ 100
│  │                             3.5 Mitem/s   │ 53.3 Kitem/s  │ 3.34 Mitem/s  │ 3.2 Mitem/s   │         │
│  ╰─ 10                         26.1 µs       │ 40.2 µs       │ 27 µs         │ 27.3 µs       │ 100     │ 100
╰─ encode_quote                  3.01 ns       │ 9.2 ns        │ 3.07 ns       │ 3.1 ns        │ 100     │ 25600
";

    #[test]
    fn the_medians_of_a_table_are_read_by_name_and_argument() {
        let told = medians_of(TABLE);
        let told: Vec<(&str, f64)> = told.iter().map(|(name, ns)| (name.as_str(), *ns)).collect();
        assert_eq!(
            told,
            [
                ("order_in_json", 3_090.0),
                ("ticks_to_subscribers_in_json/1", 19_120.0),
                ("ticks_to_subscribers_in_json/10", 27_000.0),
                ("encode_quote", 3.07),
            ]
        );
    }

    #[test]
    fn what_no_bench_says_is_no_number() {
        let all: Vec<(String, f64)> = ASKED
            .iter()
            .flat_map(|asked| [Some(asked.sbe), asked.json])
            .flatten()
            .map(|name| (name.to_owned(), 2.5))
            .collect();
        let (json, sbe) = samples(&all).unwrap();
        assert_eq!((json.value("quote encoded"), sbe.value("quote decoded")), (Some(2.5), Some(2.5)));
        assert_eq!(json.value("quote decoded"), None);
        for gone in 0..all.len() {
            let mut rest = all.clone();
            rest.remove(gone);
            assert!(samples(&rest).is_err(), "without {}", all[gone].0);
        }
    }
}
