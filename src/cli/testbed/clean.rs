//! `swingbridge testbed clean`: removes what runs left behind.

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::output;
use crate::testbed::real_lab;
use crate::testbed::real_lab::Cleaned;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed clean
      Removes what runs left behind that were killed: processes and with
      them networks, interfaces and rules, and files.
  swingbridge testbed clean --all
      Ends runs that go on, too.

Exit codes:
  0  nothing is left
  3  something could not be removed";

/// `swingbridge testbed clean`.
#[derive(Debug, ArgGroup)]
pub struct TestbedCleanArgs {
    /// End runs that go on, too.
    #[arg(long)]
    pub all: bool,
}

/// Removes it, and says what there was.
pub(super) fn run(args: &TestbedCleanArgs) -> Exit {
    let cleaned = match real_lab::clean(args.all) {
        Ok(cleaned) => cleaned,
        Err(error) => {
            let what = format!("error: the folder of temporary files cannot be read: {error}\n");
            return output::complain(&what, Exit::Refused);
        }
    };
    let is_left = cleaned.iter().any(|each| matches!(each, Cleaned::Left { .. }));
    let lines: String = cleaned.iter().map(line).collect();
    let text = if lines.is_empty() { "nothing was left behind\n".to_owned() } else { lines };
    output::out(&text, if is_left { Exit::Refused } else { Exit::Done })
}

fn line(cleaned: &Cleaned) -> String {
    match cleaned {
        Cleaned::Gone { folder, ended } => {
            format!("removed {}, with {ended} processes that still ran\n", folder.display())
        }
        Cleaned::Running { folder } => {
            format!("left {} alone, which goes on; --all ends it too\n", folder.display())
        }
        Cleaned::Left { folder, why } => format!("could not remove {}: {why}\n", folder.display()),
    }
}
