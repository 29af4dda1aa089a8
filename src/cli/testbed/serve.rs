//! `swingbridge testbed serve`: a server that misbehaves on request, for real devices.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ArgGroup;
use tokio::runtime;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::cli::Exit;
use crate::cli::args::SecretArg;
use crate::cli::output;
use crate::config::parse_span;
use crate::control::SystemEntropy;
use crate::proto::types::Entropy as _;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::testbed::scenario::Scenarios;
use crate::testbed::serve::Bound;
use crate::testbed::serve::Plan;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed serve --listen 192.0.2.1:3478
      A server for test devices, over UDP and TCP. The TURN user name chooses
      the fault: stale-nonce.alice is for stale-nonce.toml.
  swingbridge testbed serve --listen 192.0.2.1:3478 --http 127.0.0.1:8080
      With a page that shows clients, their record and verdict, and has a
      button for each fault.

This server misbehaves. It is for laboratories alone: never let users reach
it. docs/testbed.md tells what clients have to do about each fault.

Exit codes:
  0  done
  2  the request or a scenario file is wrong
  3  the machine refused: a port is taken";

/// What it says before all else.
const WARNING: &str = "\
*** THIS SERVER MISBEHAVES ON REQUEST. It is for laboratories alone: it drops,
*** corrupts and lies. Do not let users reach it.
";

/// `swingbridge testbed serve`.
#[derive(Debug, ArgGroup)]
pub struct TestbedServeArgs {
    /// Where clients reach it by UDP and TCP, and whence it relays; the port behind it is the other server of redirects.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Where clients reach it by TLS, with a certificate that it makes for itself.
    #[arg(long, value_name = "IP:PORT")]
    pub tls: Option<SocketAddr>,
    /// Scenario files, in place of those that are built in.
    #[arg(long, value_name = "DIR")]
    pub scenarios: Option<PathBuf>,
    /// Where a browser finds the page with the buttons; who reaches it presses them.
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// The password of every user name [default: one that is drawn]; visible to other users of this machine.
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true)]
    pub password: Option<SecretArg>,
    /// The longest lifetime that it grants, so that clients have to refresh soon [default: 10 minutes to an hour].
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub lifetime: Option<Duration>,
}

/// As the protocol has it: whole seconds, at least one.
pub(super) fn lifetime(span: Duration) -> Lifetime {
    Lifetime::from_secs(u32::try_from(span.as_secs()).unwrap_or(u32::MAX).max(1))
}

/// Serves until it is told to stop.
pub(super) fn run(args: &TestbedServeArgs) -> Exit {
    if args.listen.ip().is_unspecified() || args.listen.port() == 0 {
        let words = "error: --listen names no address that clients could be told; write that of an interface and a \
                     port: --listen 192.0.2.1:3478\n";
        return output::complain(words, Exit::Wrong);
    }
    let scenarios = match &args.scenarios {
        None => Scenarios::built_in(),
        Some(folder) => match Scenarios::read(folder) {
            Ok(scenarios) => scenarios,
            Err(problems) => return output::complain(&format!("error: {problems}\n"), Exit::Wrong),
        },
    };
    let password = args.password.clone().map_or_else(drawn, SecretArg::into_inner);
    let names: Vec<String> = scenarios.named.keys().map(|name| format!("{name}.anything")).collect();
    let plan = Plan {
        listen: args.listen,
        tls: args.tls,
        identity: None,
        http: args.http,
        scenarios,
        password: Secret::new(password.as_bytes()),
        lifetime: args.lifetime.map(lifetime),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::complain(&format!("error: no event loop: {error}\n"), Exit::Refused),
    };
    runtime.block_on(async {
        let bound = match Bound::new(plan).await {
            Ok(bound) => bound,
            Err(refused) => {
                let words = format!("error: {} cannot be had: {}\n", refused.what, refused.why);
                return output::complain(&words, Exit::Refused);
            }
        };
        let _ = output::complain(WARNING, Exit::Done);
        let done = output::out(&card(args, &password, &names, bound.http), Exit::Done);
        let tell = |line: &str| {
            let _ = output::complain(&format!("{line}\n"), Exit::Done);
        };
        // What it knows of its clients is on the page, as long as there is one.
        let _ = bound.serve(stopped(), tell).await;
        done
    })
}

/// What a tester has to type.
fn card(args: &TestbedServeArgs, password: &str, names: &[String], http: Option<SocketAddr>) -> String {
    let listen = args.listen;
    let mut card = format!("turn:{listen}\nturn:{listen}?transport=tcp\n");
    if let Some(tls) = args.tls {
        card.push_str(&format!("turns:{tls}?transport=tcp\n"));
    }
    card.push_str(&format!("user names: anything, or {}\npassword: {password}\n", names.join(", ")));
    if let Some(http) = http {
        card.push_str(&format!("page: http://{http}/\n"));
    }
    card
}

/// A password that nobody can guess.
fn drawn() -> String {
    let mut bytes = [0; 12];
    SystemEntropy.fill_secret(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn stopped() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // They end the process as they do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
