//! The `swingbridge` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    swingbridge::cli::run()
}
