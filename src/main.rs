//! tickring: arguments → what they ask for → exit code. No logic.

use std::io::Write;
use std::process::ExitCode;

use tickring::exit::Exit;
use tickring::log_tail;

fn main() -> ExitCode {
    log_tail::init();
    match tickring::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(std::io::stderr(), "tickring: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}
