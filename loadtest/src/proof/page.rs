//! `docs/benchmarks.md`: the bars with what was measured of them, then all the numbers behind them. PURE.
//! Invariants: every number and every verdict is computed from the record; what is said of a shortfall is said of one that is
//! there; each number says of which measurement it is.

use crate::markdown::{command, milliseconds, minute, row, shown, table_head, value};
use crate::outcome::Host;
use crate::peers::page as peers;
use crate::proof::bar::{self, Bar, Bound, Found, Standing};
use crate::proof::record::{Measured, Proof, commit_beside_peers};
use crate::proof::shortfall::Shortfalls;
use crate::report::{Comparison, median, short};

/// The whole page; `arguments` are those that it was made by.
pub(crate) fn render(proof: &Proof, shortfalls: &Shortfalls) -> String {
    [
        head(),
        bars(proof, shortfalls),
        measurements(proof),
        peers::results(&proof.peers),
        beside_the_limit(proof),
        peers::method(&proof.peers),
        machine(proof),
    ]
    .concat()
}

fn head() -> String {
    "# Benchmarks\n\n\
     <!-- Written by `loadtest proof --markdown`; changes are lost. -->\n\n\
     What tickring is to reach, what it reached, and beside what. Medians, and in parentheses the least and the most. A ratio is \
     taken within a pair of neighbouring runs; numbers of different measurements are not to be compared, since the machine itself \
     wanders. All of it again, or a part of it, from the repository's root:\n\n\
     ```sh\n\
     cargo build --release --workspace\n\
     target/release/loadtest proof --server target/release/tickring --json target/proof.json --markdown docs/benchmarks.md\n\
     target/release/loadtest proof --server target/release/tickring --json target/proof.json --markdown docs/benchmarks.md --only burst\n\
     ```\n\n"
        .to_owned()
}

fn bars(proof: &Proof, shortfalls: &Shortfalls) -> String {
    let mut rows = String::new();
    let mut missed = String::new();
    for bar in bar::ALL {
        let standing = bar.standing(proof);
        if matches!(standing, Standing::Missed(_)) {
            let why = shortfalls.why(bar.name).unwrap_or("not explained.");
            missed += &format!("- *{}*: {why}\n", bar.name);
        }
        rows += &bar_row(bar, &standing);
    }
    let table = table_head(&["what", "bar", "measured", "beside it, in the same run", "runs", ""]);
    let mut text = format!("## Bars\n\n{table}{rows}\n");
    if !missed.is_empty() {
        text += &format!("What is not met, and why:\n\n{missed}\n");
    }
    text
}

fn bar_row(bar: &Bar, standing: &Standing) -> String {
    let (found, verdict) = match standing {
        Standing::Met(found) => (found, if is_close(bar, found) { "met, within the spread" } else { "met" }),
        Standing::Missed(found) => {
            (found, if is_close(bar, found) { "**not met**, within the spread" } else { "**not met**" })
        }
        Standing::Stated(found) => (found, "stated"),
        Standing::NotRun(why) => return unmeasured(bar, why),
        Standing::NotMeasured => return unmeasured(bar, "not measured"),
    };
    let beside = found.beside.as_ref().map_or_else(
        || "–".to_owned(),
        |(who, spread, unit)| format!("{who}: {}", shown(Some(*spread), *unit)),
    );
    let verdict = found.remark.as_ref().map_or(verdict.to_owned(), |remark| format!("{verdict}; {remark}"));
    let measured = shown(Some(found.spread), found.unit);
    row(&[bar.name.to_owned(), bound(bar, found), measured, beside, found.spread.runs.to_string(), verdict])
}

fn unmeasured(bar: &Bar, why: &str) -> String {
    let dash = || "–".to_owned();
    row(&[bar.name.to_owned(), dash(), dash(), dash(), dash(), why.to_owned()])
}

fn bound(bar: &Bar, found: &Found) -> String {
    match bar.bound {
        Bound::AtMost(most) => format!("≤ {}", value(most, found.unit)),
        Bound::AtLeast(least) => format!("≥ {}", value(least, found.unit)),
        Bound::Stated => "stated".to_owned(),
    }
}

/// Whether some runs say one thing and some the other.
fn is_close(bar: &Bar, found: &Found) -> bool {
    bar.bound.holds(found.spread.least) != bar.bound.holds(found.spread.most)
}

fn measurements(proof: &Proof) -> String {
    let parts = proof.parts.iter().map(|part| {
        let length = format!("{} × {}", part.pairs, milliseconds(part.measured_ms));
        let shared = part.part.is_shared().then(|| "the load shares a core with a shard".to_owned());
        let remarks: Vec<String> = shared.into_iter().chain(lateness(&part.tool.arguments)).collect();
        let name = format!("`{}`", part.part.name());
        row(&[
            name,
            minute(part.began_unix_s),
            part.commit().to_owned(),
            length,
            took(part.took_s),
            remarks.join("; "),
        ])
    });
    let peers = proof.peers.iter().map(|record| {
        let names: Vec<String> = record.cases.iter().map(|case| format!("`{}`", case.name)).collect();
        let length = format!("{} × {}", record.rounds, milliseconds(record.measured_ms));
        let began = minute(record.began_unix_s);
        let commit = commit_beside_peers(record).to_owned();
        let beside = std::iter::once("in turns with peers".to_owned());
        let remarks: Vec<String> = beside.chain(lateness(&record.tool.arguments)).collect();
        row(&[names.join(" "), began, commit, length, took(record.took_s), remarks.join("; ")])
    });
    let rows: String = parts.chain(peers).collect();
    let table = table_head(&["measured by itself", "when, UTC", "commit", "runs", "took", ""]);
    format!("## Measurements\n\n{table}{rows}\n")
}

/// How late the generator was let be, where a run's command says another bound than the usual one: what it was late is in the
/// latencies then.
fn lateness(arguments: &[String]) -> Option<String> {
    let at = arguments.iter().position(|argument| argument.starts_with("--lag-us-max"))?;
    let bound_us =
        arguments[at].strip_prefix("--lag-us-max=").or(arguments.get(at + 1).map(String::as_str))?;
    Some(format!("a generator that was up to {bound_us} us late at its p99 counts"))
}

fn took(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

fn beside_the_limit(proof: &Proof) -> String {
    let parts: String = proof.parts.iter().map(one_part).collect();
    if parts.is_empty() { parts } else { format!("## Beside the limit\n\n{parts}") }
}

fn one_part(part: &Measured) -> String {
    let mut text = format!("### `{}`\n\n", part.part.name());
    if let Some(reason) = &part.not_run {
        return text + &format!("{reason}\n\n");
    }
    for comparison in &part.comparisons {
        text += &one_comparison(comparison);
    }
    text + &format!("```sh\n{}\n```\n\n", command(&part.tool.arguments))
}

fn one_comparison(comparison: &Comparison) -> String {
    let mut text = format!("{}\n\n", comparison.case);
    text += &table_head(&["metric", &comparison.limit, &comparison.subject, "ratio, pair by pair"]);
    for metric in comparison.rows() {
        let name = format!("{}, {}", metric.name, metric.unit);
        text += &row(&[name, spread(&metric.limit), spread(&metric.subject), spread(&metric.ratios())]);
    }
    text.push('\n');
    for note in comparison.caveats() {
        text += &format!("- note: {note}\n");
    }
    for reason in &comparison.refused {
        text += &format!("- refused: {reason}\n");
    }
    if !comparison.caveats().is_empty() || !comparison.refused.is_empty() {
        text.push('\n');
    }
    text
}

/// As the table on the terminal has it.
fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values.to_vec()) else { return "–".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}..{})", short(middle), short(least), short(most))
}

fn machine(proof: &Proof) -> String {
    let parts = proof.parts.iter().map(|part| &part.host);
    let mut hosts: Vec<&Host> = parts.chain(proof.peers.iter().map(|record| &record.host)).collect();
    hosts.dedup();
    let rows: String = hosts
        .iter()
        .map(|host| {
            let memory = crate::units::bytes(crate::scenarios::ratio(host.memory_bytes, 1));
            row(&[host.cpu.clone(), host.cores.to_string(), memory, host.kernel.clone()])
        })
        .collect();
    format!("\n## Machine\n\n{}{rows}", table_head(&["CPU", "cores", "memory", "kernel"]))
}

#[cfg(test)]
mod tests;
