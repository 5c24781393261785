//! Pages of figures: tables, and the figures in them with their units. PURE.
//! Invariants: every figure is shown with three significant digits, and a spread by its median, least and most; a cell never
//! breaks its table.

use crate::peers::record::{Spread, Unit};
use crate::units;

/// The first two lines of a table.
pub(crate) fn table_head(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    format!("{}|{}\n", row(&names), " --- |".repeat(names.len()))
}

pub(crate) fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The median, and in parentheses the least and the most; a dash where nothing was measured.
pub(crate) fn shown(spread: Option<Spread>, unit: Unit) -> String {
    match spread {
        None => "–".to_owned(),
        Some(spread) if spread.least == spread.most => value(spread.median, unit),
        Some(spread) => format!(
            "{} ({}..{})",
            value(spread.median, unit),
            value(spread.least, unit),
            value(spread.most, unit)
        ),
    }
}

pub(crate) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond | Unit::Count => units::count(rounded(value)),
        Unit::Nanoseconds => units::duration(value),
        Unit::Percent => units::percent(value / 100.0),
        Unit::Cores | Unit::Ratio => format!("{value:.2}"),
        Unit::Bytes => units::bytes(value),
    }
}

pub(crate) fn milliseconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

/// A command line, without the folders of the machine that it ran on.
pub(crate) fn command(arguments: &[String]) -> String {
    let short = |argument: &String| match argument.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') => format!("…/{name}"),
        Some(_) | None => argument.clone(),
    };
    std::iter::once("loadtest".to_owned()).chain(arguments.iter().map(short)).collect::<Vec<_>>().join(" ")
}

/// The day of a time and the minute in it, in UTC.
pub(crate) fn minute(unix_s: u64) -> String {
    let whole = units::date(unix_s * 1_000);
    whole.get(..16).map_or(whole.clone(), str::to_owned)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are positive and below 2^53"
)]
fn rounded(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_one_value_is_that_value_and_none_is_a_dash() {
        let spread = |least, most| Spread { median: least, least, most, runs: 2 };
        assert_eq!(shown(Some(spread(1_234.0, 2_000.0)), Unit::Nanoseconds), "1.23 us (1.23 us..2.00 us)");
        assert_eq!(shown(Some(spread(100.0, 100.0)), Unit::Percent), "100 %");
        assert_eq!(shown(None, Unit::Bytes), "–");
    }

    #[test]
    fn a_cell_does_not_break_its_table() {
        assert_eq!(row(&["a|b".to_owned(), "c\nd".to_owned()]), "| a\\|b | c d |\n");
        assert_eq!(table_head(&["a", "b"]), "| a | b |\n| --- | --- |\n");
    }

    #[test]
    fn a_command_names_no_folder_of_the_machine_and_a_time_its_minute() {
        let arguments = ["proof", "--server", "/home/me/tickring", "--markdown", "docs/benchmarks.md"];
        let arguments = arguments.map(str::to_owned);
        assert_eq!(command(&arguments), "loadtest proof --server …/tickring --markdown docs/benchmarks.md");
        assert_eq!(minute(1_795_322_218), "2026-11-22 04:36");
    }
}
