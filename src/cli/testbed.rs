//! `swingbridge testbed`: one file below for each thing that it can be asked.

use clap::Subcommand;

use super::Exit;

mod matrix;
mod serve;

pub use matrix::TestbedMatrixArgs;
pub use serve::TestbedServeArgs;

/// What can be asked of the laboratory.
#[derive(Debug, Subcommand)]
pub enum Testbed {
    /// A server that misbehaves on request, for real devices.
    #[command(after_help = serve::HELP)]
    Serve(TestbedServeArgs),
    /// Calls between all pairs of places, and whether they end as they have to.
    #[command(after_help = matrix::HELP)]
    Matrix(TestbedMatrixArgs),
}

/// Does what was asked.
pub(crate) fn run(asked: &Testbed) -> Exit {
    match asked {
        Testbed::Serve(args) => serve::run(args),
        Testbed::Matrix(args) => matrix::run(args),
    }
}
