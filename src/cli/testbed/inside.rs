//! `swingbridge testbed inside`: the process of a run, which `testbed run` starts in namespaces of its own. Not for users.

use std::path::PathBuf;

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::output;
use crate::testbed::real_lab;

/// `swingbridge testbed inside`.
#[derive(Debug, ArgGroup)]
pub struct TestbedInsideArgs {
    /// The folder of the run.
    pub folder: PathBuf,
}

/// Carries out the plan in the folder.
pub(super) fn run(args: &TestbedInsideArgs) -> Exit {
    match real_lab::carry_out(&args.folder) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output::complain(&format!("error: `{}`: {error}\n", args.folder.display()), Exit::Refused)
        }
    }
}
