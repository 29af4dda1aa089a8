//! `swingbridge testbed`: one file below for each thing that it can be asked.

use clap::Subcommand;

use super::Exit;

mod agent;
mod clean;
mod explain;
mod inside;
mod matrix;
mod run;
mod serve;

pub use agent::TestbedAgentArgs;
pub use clean::TestbedCleanArgs;
pub use explain::TestbedExplainArgs;
pub use inside::TestbedInsideArgs;
pub use matrix::TestbedMatrixArgs;
pub use run::LineArgs;
pub use run::TestbedRunArgs;
pub use serve::TestbedServeArgs;

/// What can be asked of the laboratory.
#[derive(Debug, Subcommand)]
pub enum Testbed {
    /// A server that misbehaves on request, for real devices.
    #[command(after_help = serve::HELP)]
    Serve(TestbedServeArgs),
    /// One call between two programs, each behind its NAT.
    #[command(
        after_help = run::HELP,
        override_usage = "swingbridge testbed run [OPTIONS] [-- LEFT... -- RIGHT...]"
    )]
    Run(Box<TestbedRunArgs>),
    /// Remove what runs left behind that were killed.
    #[command(after_help = clean::HELP)]
    Clean(TestbedCleanArgs),
    /// Our own ICE agent, as a program for `run`.
    #[command(after_help = agent::HELP)]
    Agent(TestbedAgentArgs),
    /// The process of a run, which `run` starts.
    #[command(hide = true)]
    Inside(TestbedInsideArgs),
    /// Calls between all pairs of places, and whether they end as they have to.
    #[command(after_help = matrix::HELP)]
    Matrix(TestbedMatrixArgs),
    /// Why a call did or did not connect, in plain words.
    #[command(after_help = explain::HELP)]
    Explain(TestbedExplainArgs),
}

/// Does what was asked.
pub(crate) fn run(asked: &Testbed) -> Exit {
    match asked {
        Testbed::Serve(args) => serve::run(args),
        Testbed::Run(args) => run::run(args),
        Testbed::Clean(args) => clean::run(args),
        Testbed::Agent(args) => agent::run(args),
        Testbed::Inside(args) => inside::run(args),
        Testbed::Matrix(args) => matrix::run(args),
        Testbed::Explain(args) => explain::run(args),
    }
}
