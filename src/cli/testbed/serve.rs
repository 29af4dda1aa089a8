//! `swingbridge testbed serve`: a server that misbehaves on request, for real devices.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::output;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed serve --listen 192.0.2.1:3478
      A server for test devices on UDP and TCP. The TURN user name chooses
      the fault: `stale-nonce.alice` is for stale-nonce.toml.
  swingbridge testbed serve --listen 192.0.2.1:3478 --http 127.0.0.1:8080
      With a page that shows clients, their record and verdict, and has a
      button for each fault.

This server misbehaves. It is for laboratories alone.

Exit codes:
  0  done
  2  the request or a file is wrong
  3  the machine refused: a port is taken";

/// `swingbridge testbed serve`.
#[derive(Debug, ArgGroup)]
pub struct TestbedServeArgs {
    /// Where clients reach it, by UDP and TCP.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Scenario files, in place of those that are built in.
    #[arg(long, value_name = "DIR")]
    pub scenarios: Option<PathBuf>,
    /// Where a browser finds the page with the buttons.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
}

/// Serves until it is told to stop.
pub(super) fn run(args: &TestbedServeArgs) -> Exit {
    let _ = args;
    output::complain("error: not built yet\n", Exit::Refused)
}
