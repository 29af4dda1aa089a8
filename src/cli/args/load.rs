//! What can be asked of `swingbridge load`.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ArgGroup;
use clap::Subcommand;
use clap::ValueEnum;

use crate::config::parse_span;

use super::SecretArg;

/// `swingbridge load --help`, behind the flags. Lines of at most 78 characters.
pub(super) const LOAD: &str = "\
MODE is what to do; without it, soak:
  soak      so many calls for a time
  ramp      more and more calls, until the objective breaks
  capacity  looks for the most calls that hold the objective
  churn     clients come and go: allocate, permit, bind a channel, give back
  storm     all clients at once, and again after they all were cut off
  compare   two servers in turn, round by round, under the same load
  ice       pairs of ICE agents that find each other through the server

Examples:
  swingbridge load turn:turn.example.net --secret-file secret
      50 calls for 30 seconds.
  swingbridge load capacity turn:turn.example.net --secret-file secret \\
      --objective 'loss<0.1%,p99<20ms' --html capacity.html
      How many calls does it carry? With plots, for people.
  swingbridge load ramp 'turns:turn.example.net?transport=tcp' --user alice \\
      --password-file password --ramp 50:50:500 --for 10s --json ramp.json
      More and more calls over TLS; the figures for programs.
  swingbridge load compare turn:a.example.net turn:b.example.net \\
      --secret-file secret --calls 200
      Which of two is faster, on the same day at the same hour?
  swingbridge load ice turn:127.0.0.1 'turn:127.0.0.1?transport=tcp' \\
      --secret-file secret --nat symmetric:cgn --nat udp-blocked:open
      Does ICE get through between these NATs, and how fast under load?
  swingbridge load peer --listen 198.51.100.7:4000
      On another machine: a peer that sends back what comes, for --peer.

Load a server only if it is yours, or its owner asked you to.

Other users of this machine can see a command line: prefer --secret-file,
--password-file, SWINGBRIDGE_SECRET and SWINGBRIDGE_PASSWORD to --secret and
--password, and --proxy-file to a --proxy with a password. docs/load.md tells
what the figures mean.

Exit codes:
  0  done; where there is an objective, it holds
  1  the objective is broken, the server failed, the generator came to its
     own limit, or Ctrl-C ended the run early
  2  the request is wrong, or the server refuses these credentials
  3  the machine refused: too few descriptors, ports or memory";

/// `swingbridge load peer --help`, behind the flags.
const PEER: &str = "\
Example:
  swingbridge load peer --listen 198.51.100.7:4000
      Sends back what comes, until Ctrl-C; on the other machine then:
      swingbridge load turn:turn.example.net --peer 198.51.100.7:4000

It answers whoever sends it packets of this load generator and nobody else,
each with one packet as long as what came.

Exit codes:
  0  done
  3  the machine refused: the port is taken";

/// `swingbridge load`.
#[derive(Clone, Debug, ArgGroup)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the brackets of a help text are those of a command line")]
pub struct LoadArgs {
    /// Something else than load.
    #[command(subcommand)]
    pub other: Option<LoadOther>,
    /// What to do, and the server: turn:HOST[:PORT], ?transport=udp or tcp, turns: for TLS. compare takes two, ice
    /// with --nat one for each way to the server.
    #[arg(value_name = "[MODE] URI", required = true, num_args = 1..=9)]
    pub words: Vec<String>,
    /// Who the clients say they are.
    #[command(flatten)]
    pub who: WhoArgs,
    /// What each call sends.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// How many, how long.
    #[command(flatten)]
    pub amount: AmountArgs,
    /// How this machine goes about it.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Write the report as JSON to this file; - for standard output, in the place of the text.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,
    /// Write the report as a page with plots to this file.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub html: Option<PathBuf>,
}

/// What `swingbridge load` can do beside making load.
#[derive(Clone, Debug, Subcommand)]
pub enum LoadOther {
    /// Be the peer of calls that another machine makes: send back what comes.
    #[command(after_help = PEER)]
    Peer {
        /// Where to listen.
        #[arg(long, value_name = "IP:PORT")]
        listen: SocketAddr,
    },
}

/// Who the clients say they are. What is given twice is for the first and for the second server of compare.
#[derive(Clone, Debug, ArgGroup)]
#[command(next_help_heading = "Clients")]
pub struct WhoArgs {
    /// The secret that the server knows, for time-limited credentials; visible to other users of this machine.
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true, conflicts_with_all = ["secret_file", "user"])]
    pub secret: Vec<SecretArg>,
    /// A file that holds the secret; without both, the environment variable SWINGBRIDGE_SECRET.
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub secret_file: Vec<PathBuf>,
    /// The name of a user with a password.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub user: Vec<String>,
    /// The user's password; visible to other users of this machine.
    #[arg(
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "password_file",
        requires = "user"
    )]
    pub password: Vec<SecretArg>,
    /// A file that holds the password; without both, the environment variable SWINGBRIDGE_PASSWORD.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Vec<PathBuf>,
    /// A file that holds the first key of MRAS credentials.
    #[arg(long, value_name = "FILE", requires = "mras_key2_file", conflicts_with_all = ["secret", "secret_file", "user"])]
    pub mras_key1_file: Option<PathBuf>,
    /// A file that holds the second key of MRAS credentials.
    #[arg(long, value_name = "FILE", requires = "mras_key1_file")]
    pub mras_key2_file: Option<PathBuf>,
    /// An MRAS service that hands out such credentials, https://HOST[:PORT][/PATH].
    #[arg(
        long,
        value_name = "URI",
        requires_all = ["mras_certificate", "mras_key"],
        conflicts_with_all = ["secret", "secret_file", "user", "mras_key1_file"]
    )]
    pub mras: Option<String>,
    /// The certificate in PEM that the service knows this front end by.
    #[arg(long, value_name = "FILE", requires = "mras")]
    pub mras_certificate: Option<PathBuf>,
    /// Its key in PEM.
    #[arg(long, value_name = "FILE", requires = "mras")]
    pub mras_key: Option<PathBuf>,
    /// Users that the clients are in turn, so that a quota for each user is not in the way [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "user")]
    pub users: Option<u32>,
    /// What the clients speak.
    #[arg(long, value_enum, default_value_t = DialectArg::Standard)]
    pub dialect: DialectArg,
    /// A PEM file with the authorities whose certificates are believed [default: those of this machine].
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub authority: Option<PathBuf>,
    /// Believe any certificate: for a laboratory.
    #[arg(long)]
    pub insecure: bool,
    /// An HTTP proxy that the clients' connections go through, http://[NAME:PASSWORD@]HOST:PORT; a password in it is visible to
    /// other users of this machine.
    #[arg(long, value_name = "URL", conflicts_with = "proxy_file")]
    pub proxy: Option<SecretArg>,
    /// A file that holds the URL of such a proxy.
    #[arg(long, value_name = "FILE")]
    pub proxy_file: Option<PathBuf>,
}

/// What each call sends, and where to.
#[derive(Clone, Debug, ArgGroup)]
#[command(next_help_heading = "Media")]
pub struct TrafficArgs {
    /// The other end of each call: relay (a second allocation at the same server), local (a socket of this machine, or
    /// local:ADDRESS), or the HOST:PORT of a `swingbridge load peer` [default: relay].
    #[arg(long, value_name = "PLACE")]
    pub peer: Option<String>,
    /// What flows [default: audio].
    #[arg(long, value_enum, conflicts_with_all = ["rate", "size", "burst"])]
    pub profile: Option<ProfileArg>,
    /// Packets a second of each call and direction, in the place of a profile [default: 50].
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Bytes of payload of each packet, in the place of a profile [default: 172].
    #[arg(long, value_name = "BYTES")]
    pub size: Option<u16>,
    /// Packets that leave together, in the place of a profile [default: 1].
    #[arg(long, value_name = "PACKETS", value_parser = clap::value_parser!(u16).range(1..))]
    pub burst: Option<u16>,
    /// Which ends send: both, up (client to peer), down (peer to client) [default: both].
    #[arg(long, value_enum)]
    pub direction: Option<DirectionArg>,
    /// Wrap packets in Send and Data indications, and not in channels.
    #[arg(long)]
    pub indications: bool,
}

/// How many, for how long, and what must hold.
#[derive(Clone, Debug, ArgGroup)]
#[command(next_help_heading = "Load")]
pub struct AmountArgs {
    /// Calls at once; for capacity the most that are tried, for churn the cycles under way, for ice the pairs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub calls: Option<u32>,
    /// How long each load is measured: 90s, 5m, 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    pub length: Option<Duration>,
    /// How long each load runs before it is measured [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub warm_up: Option<Duration>,
    /// For ramp: calls to begin with, calls more each time, calls at the most [default: 10:10:500].
    #[arg(long, value_name = "FROM:STEP:TO")]
    pub ramp: Option<String>,
    /// For storm and compare: how often [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: Option<u32>,
    /// For churn: cycles begun each second [default: as many as it takes]; for ice: pairs [default: 10].
    #[arg(long, value_name = "N")]
    pub per_second: Option<f64>,
    /// For capacity: how near the answer shall be [default: 5%].
    #[arg(long, value_name = "PERCENT")]
    pub precision: Option<String>,
    /// For ice: offer all kinds of candidates, not relayed ones alone.
    #[arg(long)]
    pub all_candidates: bool,
    /// For ice: how long a pair may take [default: 15s].
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub patience: Option<Duration>,
    /// For ice: between which places the pairs are made, LEFT:RIGHT, or all; may be given often. The places are those of
    /// `swingbridge testbed`: open, full-cone, address-restricted, port-restricted, symmetric, cgn, udp-blocked, only-443,
    /// http-proxy. Further URIs are further ways to the same server, which has to be on loopback.
    #[arg(long, value_name = "LEFT:RIGHT")]
    pub nat: Vec<String>,
    /// For ice between NATs: how long a relayed pair may yet become direct before it is judged [default: 25s].
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "nat")]
    pub settle: Option<Duration>,
    /// What must hold, separated by commas: loss<0.1%, p50/p99/p99.9/max<20ms, jitter<5ms, failures<1%
    /// [default for ramp and capacity: loss<0.1%,p99<20ms,failures<1%].
    #[arg(long, value_name = "RULES")]
    pub objective: Option<String>,
    /// The process of the server on this machine, to tell what it uses; twice for compare.
    #[arg(long, value_name = "PID", conflicts_with = "admin")]
    pub server_pid: Vec<u32>,
    /// [admin] listen of a Swingbridge, to tell what it uses; twice for compare.
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Vec<SocketAddr>,
}

/// How this machine goes about it.
#[derive(Clone, Debug, ArgGroup)]
#[command(next_help_heading = "Generator")]
pub struct MachineArgs {
    /// An address of this machine that clients come from; may be given often.
    #[arg(long, value_name = "IP")]
    pub source: Vec<IpAddr>,
    /// Threads that send and receive [default: one less than there are cores].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Send packet by packet, without UDP_SEGMENT.
    #[arg(long)]
    pub no_gso: bool,
    /// What the randomness begins with: the same seed makes the same payloads at the same times [default: random].
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DialectArg {
    /// RFC 8656.
    Standard,
    /// [MS-TURN], over UDP, or over TCP behind pseudo-TLS.
    Legacy,
}

/// What flows in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// 50 packets a second of 160 to 172 bytes.
    Audio,
    /// Frames in bursts of packets of 1,200 bytes.
    Video,
    /// A large burst now and then.
    Screen,
    /// Audio and video.
    Mixed,
}

/// Which ends send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// Both.
    Both,
    /// The client.
    Up,
    /// The peer.
    Down,
}
