//! What can be asked of `swingbridge`, with the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ArgGroup;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::config::parse_span;

mod load;

pub(super) use load::DialectArg;
pub(super) use load::DirectionArg;
pub use load::LoadArgs;
pub(super) use load::LoadOther;
pub(super) use load::ProfileArg;
pub(super) use load::TrafficArgs;
pub(super) use load::WhoArgs;

// Lines of at most 78 characters, so that a terminal of 80 columns does not break an example.

const ABOUT: &str = "\
Examples:
  swingbridge serve
      A relay in one minute, with a secret of its own.
  swingbridge serve --config swingbridge.toml
      A relay as the file says.
  swingbridge check swingbridge.toml
      Every mistake of the file, with its cure.
  swingbridge credential --secret-file secret --user alice
      A username and a password that are good for 8 hours.
  swingbridge load turn:turn.example.net --secret-file secret
      How does a server fare under 50 calls?
  swingbridge testbed serve --listen 192.0.2.1:3478
      What does a client make of a server that misbehaves?

Configuration: conf/minimal.toml is the least, conf/webrtc.toml a server for
browsers, conf/full.toml every key with its meaning and default.

Exit codes:
  0  done
  1  the thing tested failed
  2  the request or the file is wrong
  3  the machine refused: a port is taken, a privilege is missing";

const SERVE: &str = "\
Examples:
  swingbridge serve
      Listens on UDP 3478, relays from the address of the default route, makes
      a secret, keeps it in the state directory, and prints iceServers to be
      pasted into a web page.
  swingbridge serve --config /etc/swingbridge/swingbridge.toml
      Serves as the file says; `swingbridge check FILE` tells beforehand what
      is wrong with it. conf/full.toml shows every key.

SIGTERM or Ctrl-C ends the relay. SIGHUP has it read its file again; which
keys take effect at once is what `swingbridge check FILE` tells.
SIGTERM lets calls end: no new ones meanwhile, the rest is ended at
`[drain] deadline`. A second SIGTERM, or Ctrl-C, ends the relay at once.

Exit codes:
  0  done
  2  the request or the file is wrong
  3  the machine refused: a port is taken, a privilege is missing";

const CHECK: &str = "\
Examples:
  swingbridge check swingbridge.toml
      Every mistake with its line and its cure; without mistakes, every
      listener, limit and key.
  swingbridge check swingbridge.toml --peer 10.1.2.3:5060
      Whether clients may reach this peer, and the rule that decides.
  swingbridge check swingbridge.toml --format json
      The same for programs.

Exit codes:
  0  the file is sound (with --peer: and the peer is allowed)
  1  with --peer: the peer is denied
  2  the request or the file is wrong";

const CREDENTIAL: &str = "\
Examples:
  swingbridge credential --secret-file secret --user alice
      A username and a password that are good for 8 hours.
  swingbridge credential --secret-file secret --user alice --ttl 30m \\
      --format ice-servers --host turn.example.net
      An array for a web page: new RTCPeerConnection({iceServers: ...}).
  SWINGBRIDGE_SECRET=... swingbridge credential --user alice --format json
      The same for programs.
  swingbridge credential --mras --key1-file mras1.key --key2-file mras2.key \\
      --user sip:alice@example.com
      A pair for a client of Office Communicator.

Other users of this machine can see a command line: prefer --secret-file or
SWINGBRIDGE_SECRET to --secret.

Exit codes:
  0  done
  2  the request is wrong
  3  the machine refused";

const TESTBED: &str = "\
Examples:
  swingbridge testbed serve --listen 192.0.2.1:3478
      A server that misbehaves on request, for phones, browsers and programs.
  swingbridge testbed serve --help
      What each command can be told. docs/testbed.md is the manual.

Exit codes:
  0  done
  1  the thing tested failed
  2  the request or a file is wrong
  3  the machine refused: a port is taken, a privilege is missing";

/// A TURN relay: carries calls through NATs and firewalls.
#[derive(Debug, Parser)]
#[command(name = "swingbridge", version, after_help = ABOUT, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay.
    #[command(after_help = SERVE)]
    Serve(ServeArgs),
    /// Look for mistakes in a configuration file.
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Make a time-limited credential.
    #[command(after_help = CREDENTIAL)]
    Credential(CredentialArgs),
    /// Load a TURN server with calls, and tell how it fares.
    #[command(
        after_help = load::LOAD,
        override_usage = "swingbridge load [OPTIONS] [MODE] <URI>...\n       swingbridge load peer --listen <IP:PORT>",
        args_conflicts_with_subcommands = true
    )]
    Load(Box<LoadArgs>),
    /// A laboratory for ICE: clients behind NATs, and a server that misbehaves on request.
    #[command(subcommand, after_help = TESTBED)]
    Testbed(super::testbed::Testbed),
}

/// `swingbridge serve`.
#[derive(Debug, ArgGroup)]
pub struct ServeArgs {
    /// The configuration file [default: embedded defaults that run anywhere].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where is kept what outlives the process: the generated secret when there is no file, certificates of [tls.acme].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Make a self-signed certificate, so that TLS can be tried.
    #[arg(long)]
    pub dev_tls: bool,
    /// How log lines are written, whatever the file says.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
    /// The least important log lines written, whatever the file says.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevelArg>,
    /// Print which paths packets could take on this machine, and what is in the way of the others, without serving.
    #[arg(long)]
    pub explain_path: bool,
    /// For people or for programs; of what --explain-path prints.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, requires = "explain_path")]
    pub format: ReportFormat,
}

/// `swingbridge check`.
#[derive(Debug, ArgGroup)]
pub struct CheckArgs {
    /// The configuration file.
    pub file: PathBuf,
    /// A peer to judge by the file's rules.
    #[arg(long, value_name = "IP:PORT")]
    pub peer: Option<SocketAddr>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// `swingbridge credential`.
#[derive(Debug, ArgGroup)]
pub struct CredentialArgs {
    /// The secret that the server knows; visible to other users of this machine.
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true, conflicts_with = "secret_file")]
    pub secret: Option<SecretArg>,
    /// A file that holds the secret; without both, the environment variable SWINGBRIDGE_SECRET.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Whom the credential is for; quotas count by this name.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub user: String,
    /// How long it is good: 90s, 30m, 8h. Servers take 8h at most.
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = parse_span)]
    pub ttl: Duration,
    /// The MAC that makes the password. Every server of this kind takes sha1; Swingbridge takes both.
    #[arg(long, value_enum, default_value_t = CredentialMac::Sha1)]
    pub mac: CredentialMac,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = CredentialFormat::Text)]
    pub format: CredentialFormat,
    /// The server's name or address as clients reach it, with a port unless that is 3478; for ice-servers.
    #[arg(long, value_name = "HOST[:PORT]", required_if_eq("format", "ice-servers"))]
    pub host: Option<String>,
    /// Make an MRAS credential, for clients of Office Communicator: of two keys instead of a secret, written in base64.
    #[arg(long, conflicts_with_all = ["secret", "secret_file", "mac", "host"])]
    pub mras: bool,
    /// A file that holds the first key; without it, the environment variable SWINGBRIDGE_MRAS_KEY1.
    #[arg(long, value_name = "FILE", requires = "mras")]
    pub key1_file: Option<PathBuf>,
    /// A file that holds the second key; without it, the environment variable SWINGBRIDGE_MRAS_KEY2.
    #[arg(long, value_name = "FILE", requires = "mras")]
    pub key2_file: Option<PathBuf>,
}

/// The MAC behind a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CredentialMac {
    /// HMAC-SHA1.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
}

/// A secret of the command line, which `Debug` does not show.
#[derive(Clone)]
pub struct SecretArg(String);

impl SecretArg {
    /// The secret itself.
    #[must_use]
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl From<&str> for SecretArg {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for SecretArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretArg(…)")
    }
}

/// How `check` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How a credential is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CredentialFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For `new RTCPeerConnection({iceServers: ...})`.
    IceServers,
}

/// `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people.
    Text,
    /// An object on each line.
    Json,
}

impl From<LogFormatArg> for crate::admin::LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// `[log] level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevelArg {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What happened.
    Info,
    /// How it happened, with client addresses.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevelArg> for crate::admin::LogLevel {
    fn from(level: LogLevelArg) -> Self {
        match level {
            LogLevelArg::Error => Self::Error,
            LogLevelArg::Warn => Self::Warn,
            LogLevelArg::Info => Self::Info,
            LogLevelArg::Debug => Self::Debug,
            LogLevelArg::Trace => Self::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Exit;

    const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the thing tested failed
  2  the request or the file is wrong
  3  the machine refused: a port is taken, a privilege is missing";

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_exit_code() {
        assert!(ABOUT.ends_with(EXIT_CODES));
        for exit in [Exit::Done, Exit::Failed, Exit::Wrong, Exit::Refused] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit.code())));
        }
    }

    #[test]
    fn no_line_of_the_help_is_broken_by_a_narrow_terminal() {
        for line in
            [ABOUT, SERVE, CHECK, CREDENTIAL, load::LOAD, TESTBED].iter().flat_map(|text| text.lines())
        {
            assert!(line.len() <= 78, "{line}");
        }
    }

    /// One generated secret in 64 begins with a hyphen, and so may a name.
    #[test]
    fn secrets_and_the_names_of_users_may_begin_with_a_hyphen() {
        let line = "credential --secret -north --user -alice";
        let args = Args::try_parse_from(std::iter::once("swingbridge").chain(line.split(' ')));
        let Command::Credential(args) = args.expect("valid").command else { panic!("another command") };
        assert_eq!(
            (args.secret.expect("given").into_inner().as_str(), args.user.as_str()),
            ("-north", "-alice")
        );
        let mut commands = vec![Args::command()];
        let mut seen = 0;
        while let Some(command) = commands.pop() {
            for arg in command.get_arguments() {
                let name = arg.get_value_names().unwrap_or_default().first().map(|name| name.as_str());
                if matches!(name, Some("SECRET" | "PASSWORD")) || arg.get_id() == "user" {
                    seen += 1;
                    assert!(arg.is_allow_hyphen_values_set(), "{}: {}", command.get_name(), arg.get_id());
                }
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(seen >= 6, "{seen}");
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let args = Args::try_parse_from(["swingbridge", "credential", "--secret", "hunter2", "--user", "a"]);
        assert!(!format!("{:?}", args.expect("valid")).contains("hunter2"));
    }
}
