//! `swingbridge testbed`: one file below for each thing that it can be asked.

use clap::Subcommand;

use super::Exit;

mod serve;

pub use serve::TestbedServeArgs;

/// What can be asked of the laboratory.
#[derive(Debug, Subcommand)]
pub enum Testbed {
    /// A server that misbehaves on request, for real devices.
    #[command(after_help = serve::HELP)]
    Serve(TestbedServeArgs),
}

/// Does what was asked.
pub(crate) fn run(asked: &Testbed) -> Exit {
    match asked {
        Testbed::Serve(args) => serve::run(args),
    }
}
