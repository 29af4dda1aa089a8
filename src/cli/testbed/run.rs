//! `swingbridge testbed run`: one call between two programs in the real laboratory.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ArgGroup;
use clap::ValueEnum;

use crate::cli::Exit;
use crate::cli::load::stop::Stop;
use crate::cli::output;
use crate::config::parse_span;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::proto::types::Transport;
use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::expected;
use crate::testbed::real_lab;
use crate::testbed::real_lab::NatBy;
use crate::testbed::real_lab::Plan;
use crate::testbed::real_lab::Script;
use crate::testbed::scenario::Link;
use crate::testbed::scenario::Problems;
use crate::testbed::scenario::Scenario;
use crate::testbed::scenario::Scenarios;
use crate::testbed::scenario::Trigger;
use crate::testbed::scenario::span;

use super::matrix::ppm;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed run --left symmetric --right symmetric
      A call of our own agents between two symmetric NATs: relayed.
  swingbridge testbed run --left udp-blocked -- ./caller -- ./callee --once
      The same between two programs of yours. docs/testbed.md says what they
      find in their environment.
  swingbridge testbed run --loss 2% --delay 40ms --jitter 10ms --json f.json
      Over bad lines, with all that the routers saw in a file.
  swingbridge testbed run --scenario stale-nonce --lifetime 20s --record run
      Against a server that misbehaves: docs/testbed.md lists the faults. The
      folder `run` has a capture for Wireshark, and all that came of it.

Each program is in a network of its own, behind the NAT of its place; nothing
of it reaches the networks of this machine. It takes root, or a machine that
lets users make namespaces.

Exit codes:
  0  the call connected, both programs ended well, and both clients did what
     the scenario expects
  1  it did not, or a program failed or hung, or a client failed the scenario
  2  the request or the scenario is wrong
  3  the machine refused: a privilege or a program is missing";

/// How long programs may take, beyond what a scenario asks of them.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call goes on beyond the deadline of a fault.
const AROUND: Duration = Duration::from_secs(4);

/// `swingbridge testbed run`.
#[derive(Debug, ArgGroup)]
pub struct TestbedRunArgs {
    /// Places, lines and faults, of a scenario file or of one that is built in, by its name; options win over it.
    #[arg(long, value_name = "FILE or NAME")]
    pub scenario: Option<PathBuf>,
    /// Where the left program stands [default: open].
    #[arg(long, value_name = "PLACE")]
    pub left: Option<Place>,
    /// Where the right program stands [default: open].
    #[arg(long, value_name = "PLACE")]
    pub right: Option<Place>,
    /// What both lines are like.
    #[command(flatten)]
    pub line: LineArgs,
    /// How long the programs may take together; what still runs then is ended [default: 60s, or what the faults take].
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub timeout: Option<Duration>,
    /// What the NAT next to each program is made of.
    #[arg(long, value_enum, default_value_t = NatArg::Model)]
    pub nat: NatArg,
    /// What chance is drawn from: ports of NATs, losses of lines.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Write all that came of it to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep in this folder what the programs and the server printed.
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// Keep in this folder a capture for Wireshark of both legs and the server's side, all that came of it, and what was printed.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// With faults: the longest lifetime that the server grants, so that clients have to refresh within the call.
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub lifetime: Option<Duration>,
    /// The two programs with their arguments: LEFT... -- RIGHT... [default: our own agent, twice].
    #[arg(last = true, value_name = "LEFT -- RIGHT")]
    pub programs: Vec<String>,
}

/// What a NAT is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NatArg {
    /// The model of both laboratories.
    Model,
    /// The kernel's rules (nftables), its firewall too; a carrier's NAT stays the model's.
    Kernel,
}

impl From<NatArg> for NatBy {
    fn from(nat: NatArg) -> Self {
        match nat {
            NatArg::Model => Self::Model,
            NatArg::Kernel => Self::Kernel,
        }
    }
}

/// What a line is like, each way.
#[derive(Clone, Debug, Default, ArgGroup)]
pub struct LineArgs {
    /// Of the packets on both lines so many are lost, each way.
    #[arg(long, value_name = "PERCENT", value_parser = ppm)]
    pub loss: Option<u32>,
    /// So many are overtaken by others.
    #[arg(long, value_name = "PERCENT", value_parser = ppm)]
    pub reorder: Option<u32>,
    /// So many come twice.
    #[arg(long, value_name = "PERCENT", value_parser = ppm)]
    pub duplication: Option<u32>,
    /// How long each line takes, each way.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub delay: Option<Duration>,
    /// How much longer at most, at random.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub jitter: Option<Duration>,
    /// Bits of a second that a line carries, each way.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
}

impl LineArgs {
    /// A line as it was, and with what was asked for.
    #[must_use]
    pub fn over(&self, link: Link) -> Link {
        Link {
            loss_ppm: self.loss.unwrap_or(link.loss_ppm),
            duplication_ppm: self.duplication.unwrap_or(link.duplication_ppm),
            reorder_ppm: self.reorder.unwrap_or(link.reorder_ppm),
            delay: self.delay.unwrap_or(link.delay),
            jitter: self.jitter.unwrap_or(link.jitter),
            rate: self.rate.or(link.rate),
        }
    }
}

/// Carries out one call, and says how it went.
pub(super) fn run(args: &TestbedRunArgs) -> Exit {
    let done = plan(args).and_then(|plan| {
        let stop = Stop::listen();
        let outcome = real_lab::launch(&plan, &|| stop.is_asked())?;
        if let Some(file) = &args.json {
            fs::write(file, format!("{:#}\n", outcome.json)).map_err(|error| {
                Fault::new(FaultKind::Machine, format!("`{}` cannot be written: {error}", file.display()))
            })?;
        }
        let exit = if outcome.is_good() { Exit::Done } else { Exit::Failed };
        Ok(output::out(&real_lab::summary(plan.places, &outcome), exit))
    });
    done.unwrap_or_else(|fault| output::complain(&format!("error: {fault}\n"), exit_of(&fault)))
}

fn plan(args: &TestbedRunArgs) -> Result<Plan, Fault> {
    let (scenario, text) = match &args.scenario {
        Some(named) => scenario(named)?,
        None => Default::default(),
    };
    let script = script(&scenario, text, args.lifetime)?;
    let usual = script.as_ref().map_or(TIMEOUT, |script| TIMEOUT + Duration::from_secs(script.hold_s));
    let lab = &scenario.lab;
    let place = |asked: Option<Place>, of: Option<Place>| asked.or(of).unwrap_or(Place::Open);
    let places = [place(args.left, lab.left), place(args.right, lab.right)];
    let mut commands = commands(&args.programs)?;
    if script.is_some() && args.programs.is_empty() {
        // With an allocation for each transport, a fault would befall one and be judged by what the others do.
        for (words, place) in commands.iter_mut().zip(places) {
            words.extend(["--transport".to_owned(), super::agent::word(by(place)).to_owned()]);
        }
    }
    Ok(Plan {
        places,
        links: [args.line.over(lab.left_link), args.line.over(lab.right_link)],
        commands,
        timeout: args.timeout.unwrap_or(usual),
        seed: args.seed,
        logs: args.logs.clone(),
        script,
        record: args.record.clone(),
        nats: args.nat.into(),
    })
}

/// The most direct transport to the server that a place lets out.
fn by(place: Place) -> Transport {
    match expected(place, Place::Open) {
        Verdict::Relayed(Relay::Tcp) => Transport::Tcp,
        Verdict::Relayed(Relay::Tls | Relay::Proxy) => Transport::Tls,
        Verdict::Direct | Verdict::Failed | Verdict::Relayed(Relay::Udp) => Transport::Udp,
    }
}

/// The scenario of this name if one is built in, else of this file, and its text.
fn scenario(named: &Path) -> Result<(Scenario, String), Fault> {
    let wrong = |why: Problems| Fault::new(FaultKind::Request, why.to_string());
    if let Some((name, text)) = named.to_str().and_then(|name| Some((name, Scenarios::text_of(name)?))) {
        return Ok((Scenario::parse(name, name, text).map_err(wrong)?, text.to_owned()));
    }
    let scenario = Scenario::read(named).map_err(wrong)?;
    let text = fs::read_to_string(named).map_err(|error| {
        Fault::new(FaultKind::Request, format!("`{}` cannot be read: {error}", named.display()))
    })?;
    Ok((scenario, text))
}

/// What the server is to do wrong, if anything.
fn script(scenario: &Scenario, text: String, lifetime: Option<Duration>) -> Result<Option<Script>, Fault> {
    if scenario.faults.is_empty() {
        return match lifetime {
            None => Ok(None),
            Some(_) => Err(Fault::new(FaultKind::Request, "without faults the server grants what is usual")
                .cure("leave out --lifetime, or name a scenario with faults")),
        };
    }
    let after = scenario.faults.iter().map(|fault| match fault.when.trigger {
        Trigger::After { span, .. } => span,
        _ => Duration::ZERO,
    });
    let within = scenario.expect.as_ref().map_or(Duration::ZERO, |expect| expect.within);
    let hold = after.max().unwrap_or_default() + lifetime.unwrap_or_default() + within + AROUND;
    Ok(Some(Script {
        name: scenario.name.to_string(),
        text,
        lifetime_s: lifetime.map(|span| super::serve::lifetime(span).as_secs()),
        hold_s: hold.as_secs(),
    }))
}

/// The two programs; our own agent in place of both.
pub(super) fn commands(words: &[String]) -> Result<[Vec<String>; 2], Fault> {
    if words.is_empty() {
        let own = std::env::current_exe().map_err(|error| {
            Fault::new(FaultKind::Machine, format!("this program does not know where it is: {error}"))
        })?;
        let agent = vec![own.to_string_lossy().into_owned(), "testbed".to_owned(), "agent".to_owned()];
        return Ok([agent.clone(), agent]);
    }
    let mut parts = words.split(|word| word == "--");
    match (parts.next(), parts.next(), parts.next()) {
        (Some(left @ [_, ..]), Some(right @ [_, ..]), None) => Ok([left.to_vec(), right.to_vec()]),
        _ => Err(Fault::new(FaultKind::Request, "there have to be two programs")
            .cure("write both behind the options: -- LEFT-PROGRAM ARGUMENTS -- RIGHT-PROGRAM ARGUMENTS")),
    }
}

pub(super) const fn exit_of(fault: &Fault) -> Exit {
    match fault.kind {
        FaultKind::Request => Exit::Wrong,
        FaultKind::Server => Exit::Failed,
        FaultKind::Machine => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_with_faults_is_a_script_by_its_name_or_by_its_file() {
        let (built_in, text) = scenario(Path::new("quota")).expect("it is built in");
        let quota = script(&built_in, text, None).expect("sound").expect("it has faults");
        assert_eq!((quota.name.as_str(), quota.hold_s, quota.lifetime_s), ("quota", 59 + 4, None));
        let file = std::env::temp_dir().join(format!("swingbridge-run-{}.my.toml", std::process::id()));
        fs::write(&file, "[[fault]]\nwhen = { after = \"7s\" }\ndo = \"vanish\"\n").expect("a file");
        let (own, text) = scenario(&file).expect("sound");
        fs::remove_file(&file).expect("it was there");
        let own = script(&own, text, Some(Duration::from_secs(10))).expect("sound").expect("it has faults");
        assert!(own.name.ends_with(".my") && own.text.contains("vanish"), "{own:?}");
        assert_eq!((own.hold_s, own.lifetime_s), (7 + 10 + 4, Some(10)));
        assert_eq!(scenario(Path::new("no-such-scenario")).expect_err("none").kind, FaultKind::Request);
        assert_eq!(
            [Place::Cgn, Place::UdpBlocked, Place::HttpProxy].map(by),
            [Transport::Udp, Transport::Tcp, Transport::Tls]
        );
        let none = Scenario::default();
        assert_eq!(script(&none, String::new(), None).expect("sound"), None);
        assert!(script(&none, String::new(), Some(Duration::from_secs(10))).is_err());
    }

    fn split(text: &str) -> Option<[Vec<String>; 2]> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        commands(&words).ok()
    }

    #[test]
    fn two_programs_stand_on_either_side_of_the_dashes() {
        let wanted = [vec!["a".to_owned(), "-b".to_owned()], vec!["c".to_owned()]];
        assert_eq!(split("a -b -- c"), Some(wanted));
        for wrong in ["a", "a --", "-- a", "a -- b -- c"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
        let own = split("").expect("our own");
        assert_eq!((&own[0], &own[1][1..]), (&own[1], &["testbed".to_owned(), "agent".to_owned()][..]));
    }
}
