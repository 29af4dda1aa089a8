//! `swingbridge testbed run`: one call between two programs in the real laboratory.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::load::stop::Stop;
use crate::cli::output;
use crate::config::parse_span;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::testbed::Place;
use crate::testbed::real_lab;
use crate::testbed::real_lab::Plan;
use crate::testbed::scenario::Link;
use crate::testbed::scenario::Scenario;
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

Each program is in a network of its own, behind the NAT of its place; nothing
of it reaches the networks of this machine. It takes root, or a machine that
lets users make namespaces.

Exit codes:
  0  the call connected, and both programs ended well
  1  it did not, or a program failed or hung
  2  the request or the scenario is wrong
  3  the machine refused: a privilege or a program is missing";

/// `swingbridge testbed run`.
#[derive(Debug, ArgGroup)]
pub struct TestbedRunArgs {
    /// Places and lines, of a scenario file; options win over it.
    #[arg(long, value_name = "FILE")]
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
    /// How long the programs may take together; what still runs then is ended.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    pub timeout: Duration,
    /// What chance is drawn from: ports of NATs, losses of lines.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Write all that came of it to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep in this folder what the programs and the server printed.
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// The two programs with their arguments: LEFT... -- RIGHT... [default: our own agent, twice].
    #[arg(last = true, value_name = "LEFT -- RIGHT")]
    pub programs: Vec<String>,
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
    let scenario = match &args.scenario {
        Some(file) => Scenario::read(file).map_err(|why| Fault::new(FaultKind::Request, why.to_string()))?,
        None => Scenario::default(),
    };
    if !scenario.faults.is_empty() {
        let what = format!(
            "the scenario `{}` has faults, and the server of this laboratory has none",
            scenario.name
        );
        return Err(Fault::new(FaultKind::Request, what).cure(
            "`swingbridge testbed serve` carries faults out; or leave the [[fault]] tables out of the file",
        ));
    }
    let lab = &scenario.lab;
    let place = |asked: Option<Place>, of: Option<Place>| asked.or(of).unwrap_or(Place::Open);
    Ok(Plan {
        places: [place(args.left, lab.left), place(args.right, lab.right)],
        links: [args.line.over(lab.left_link), args.line.over(lab.right_link)],
        commands: commands(&args.programs)?,
        timeout: args.timeout,
        seed: args.seed,
        logs: args.logs.clone(),
    })
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
