//! The command line: `args.rs` says what can be asked, one file per subcommand answers it.

#[cfg(feature = "acme")]
mod acme;
mod args;
mod check;
mod credential;
mod exit;
mod explain;
#[cfg(feature = "fault-injection")]
mod fault;
mod input;
mod limits;
mod load;
mod losses;
mod machine;
mod mras;
mod notify;
mod output;
mod reload;
pub mod serve;
mod signals;
mod snapshots;
mod state;
mod streams;
mod summary;
pub mod testbed;
mod workers;

pub use args::Args;
pub use args::CheckArgs;
pub use args::Command;
pub use args::CredentialArgs;
pub use args::LoadArgs;
pub use args::ServeArgs;
pub use exit::Exit;
pub use machine::observe;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the arguments of this process, does what they ask, and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A reader that went away (`swingbridge --help | head -1`) is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Wrong } else { Exit::Done }.into();
        }
    };
    match args.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args).into(),
        Command::Credential(args) => credential::run(args).into(),
        Command::Load(args) => load::run(&args).into(),
        Command::Testbed(asked) => testbed::run(&asked).into(),
    }
}
