//! `swingbridge testbed agent`: our own ICE agent, as a program for the laboratory.

use std::time::Duration;

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::output;
use crate::config::parse_span;
use crate::proto::types::Transport;
use crate::testbed::agent;
use crate::testbed::agent::Environment;
use crate::testbed::agent::Wish;

use super::run::exit_of;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed run -- swingbridge testbed agent -- ./my-client
      Our agent on the left, yours on the right. It reads its server and its
      signalling from the environment that `testbed run` makes, and prints
      what came of the call as one line of JSON.

Exit codes:
  0  it connected, and heard the other side
  1  it did not
  2  the environment is not the laboratory's";

/// How long data is sent where nobody says.
const DATA: Duration = Duration::from_secs(3);

/// `swingbridge testbed agent`.
#[derive(Debug, ArgGroup)]
pub struct TestbedAgentArgs {
    /// How long it sends data once it is connected [default: 3s, or what the laboratory asks for].
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub data: Option<Duration>,
    /// How long connecting may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_span)]
    pub patience: Duration,
    /// Only this way to the server, in place of all: udp, tcp or tls.
    #[arg(long, value_name = "TRANSPORT", value_parser = transport)]
    pub transport: Option<Transport>,
    /// In place of a call, ask the server how the NAT here behaves (RFC 5780).
    #[arg(long)]
    pub discover: bool,
}

fn transport(text: &str) -> Result<Transport, String> {
    let known = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().find(|each| word(*each) == text);
    known.ok_or_else(|| "udp, tcp or tls is wanted".to_owned())
}

/// As an option has it.
pub(super) const fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls | Transport::Dtls => "tls",
    }
}

/// Calls the other side.
pub(super) fn run(args: &TestbedAgentArgs) -> Exit {
    let mut environment = match Environment::read(|name| std::env::var(name).ok()) {
        Ok(environment) => environment,
        Err(fault) => return output::complain(&format!("error: {fault}\n"), exit_of(&fault)),
    };
    if let Some(transport) = args.transport {
        environment.only(transport);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::complain(&format!("error: {error}\n"), Exit::Refused),
    };
    if args.discover {
        return match runtime.block_on(agent::discover(&environment)) {
            Ok(told) => output::out(&format!("{told}\n"), Exit::Done),
            Err(fault) => output::complain(&format!("error: {fault}\n"), exit_of(&fault)),
        };
    }
    let data = args.data.or(environment.hold).unwrap_or(DATA);
    let wish = Wish { data, patience: args.patience };
    match runtime.block_on(agent::run(&environment, wish)) {
        Ok(said) => {
            output::out(&format!("{}\n", said.json), if said.is_good { Exit::Done } else { Exit::Failed })
        }
        Err(fault) => output::complain(&format!("error: {fault}\n"), exit_of(&fault)),
    }
}
