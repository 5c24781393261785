//! tickring beside its limit, end to end: `cargo bench --bench end_to_end`. Each scenario of `loadtest` runs in pairs,
//! the raw loop and this server on the same cores, and prints the ratio pair by pair; about two minutes in all. It needs
//! two cores with nothing else to do, and refuses what it could not measure.

use std::process::{Command, ExitCode};

/// The scenarios of the numbers to reach, as `loadtest` takes them.
const SCENARIOS: [&[&str]; 4] = [
    &["ping"],
    &["request", "--connections", "100"],
    &["fanout", "--subscribers", "1000", "--rate", "200"],
    &["fanout", "--subscribers", "100", "--rate", "5000"],
];

fn main() -> ExitCode {
    // `cargo test --benches` runs this with `--test`: the scenarios are measurements, not checks.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let mut all = ExitCode::SUCCESS;
    for scenario in SCENARIOS {
        let status = Command::new(env!("CARGO"))
            .args(["run", "--release", "--quiet", "--package", "loadtest", "--"])
            .args(["--server", env!("CARGO_BIN_EXE_tickring"), "--runs", "3", "--measure-ms", "2000"])
            .args(scenario)
            .env("RUST_LOG", "error")
            .status();
        if !status.is_ok_and(|status| status.success()) {
            all = ExitCode::FAILURE;
        }
    }
    all
}
