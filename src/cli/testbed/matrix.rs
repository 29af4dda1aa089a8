//! `swingbridge testbed matrix`: calls between all pairs of places.

use std::fs::OpenOptions;
use std::io::Write as _;
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
use crate::testbed::Place;
use crate::testbed::real_lab;
use crate::testbed::real_lab::Wish;
use crate::testbed::record;
use crate::testbed::report;
use crate::testbed::report::Matrix;
use crate::testbed::scenario::Link;
use crate::testbed::scenario::span;
use crate::testbed::virtual_lab;
use crate::testbed::virtual_lab::Ask;
use crate::testbed::virtual_lab::Plan;

use super::run::NatArg;
use super::run::commands;
use super::run::exit_of;

pub(super) const HELP: &str = "\
Places:
  open, full-cone, address-restricted, port-restricted, symmetric, cgn,
  udp-blocked, only-443, http-proxy

Examples:
  swingbridge testbed matrix
      Who meets whom: our own agents between all places, three times each, in
      virtual time. It takes seconds.
  swingbridge testbed matrix --places symmetric,cgn --loss 10% --seeds 100
      Two kinds of NAT, and links that lose a tenth.
  swingbridge testbed matrix --junit matrix.xml --html matrix.html
      For continuous integration, and for people.
  swingbridge testbed matrix --lab real --seeds 1 -- ./caller -- ./callee
      With real packets, and programs of yours in place of our agents. Two
      calls at a time; --together 4 where the machine has room for more.

The same seed gives the same calls, to the byte. docs/testbed.md tells why
each pair has to end as it is expected to.

Exit codes:
  0  every call ended as expected
  1  some did not
  2  the request is wrong
  3  the machine refused: a file cannot be written, a privilege is missing";

/// Calls between one pair of places at most.
const SEEDS_MAX: i64 = 10_000;
/// Calls in the real laboratory at a time: each has three networks, a server and two programs.
const TOGETHER_MAX: i64 = 16;

/// `swingbridge testbed matrix`.
#[derive(Debug, ArgGroup)]
pub struct TestbedMatrixArgs {
    /// Where the calls are made.
    #[arg(long, value_enum, default_value_t = LabArg::Virtual)]
    pub lab: LabArg,
    /// Only these places, each with each.
    #[arg(long, value_name = "PLACE,...", value_delimiter = ',')]
    pub places: Vec<Place>,
    /// Calls between each pair of places.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=SEEDS_MAX))]
    pub seeds: u32,
    /// The seed of the first call between each pair.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Of the packets on each link so many are lost, each way.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = ppm)]
    pub loss: u32,
    /// So many are overtaken by the next.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = ppm)]
    pub reorder: u32,
    /// So many come twice.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = ppm)]
    pub duplication: u32,
    /// How long each link takes, each way.
    #[arg(long, value_name = "SPAN", default_value = "10ms", value_parser = span)]
    pub delay: Duration,
    /// How much longer at most, at random.
    #[arg(long, value_name = "SPAN", default_value = "0ms", value_parser = span)]
    pub jitter: Duration,
    /// Bits of a second that a link carries, each way.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Write to this directory what every point of the laboratory saw, as pcapng for Wireshark. Of the virtual one, of each pair
    /// of places the first call that did not end as expected, or else the first; of the real one a folder of each call.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Write the report for programs to this file; `-` prints it in place of the text.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write it as JUnit XML; `-` prints it in place of the text.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write it as one page of HTML; `-` prints it in place of the text.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// In the real laboratory: how long the programs of one call may take.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_span)]
    pub timeout: Duration,
    /// In the real laboratory: calls that are made at the same time, each in networks of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=TOGETHER_MAX))]
    pub together: u8,
    /// In the real laboratory: what the NAT next to each program is made of.
    #[arg(long, value_enum, default_value_t = NatArg::Model)]
    pub nat: NatArg,
    /// In the real laboratory: the two programs, LEFT... -- RIGHT... [default: our own agent, twice].
    #[arg(last = true, value_name = "LEFT -- RIGHT")]
    pub programs: Vec<String>,
}

/// Which laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabArg {
    /// In virtual time, with our own agents.
    Virtual,
    /// In networks of this machine, between any two programs.
    Real,
}

/// Writes the report in one form.
type Form = fn(&Matrix) -> String;

/// The name of no file.
const STANDARD_OUTPUT: &str = "-";

/// Makes the calls, and tells.
pub(super) fn run(args: &TestbedMatrixArgs) -> Exit {
    match carry_out(args) {
        Ok((text, exit)) => output::out(&text, exit),
        Err((problem, exit)) => output::complain(&format!("error: {problem}\n"), exit),
    }
}

fn carry_out(args: &TestbedMatrixArgs) -> Result<(String, Exit), (String, Exit)> {
    let papers: [(&Option<PathBuf>, Form); 3] =
        [(&args.json, report::json), (&args.junit, report::junit), (&args.html, report::html)];
    let is_printed = |path: &&PathBuf| path.as_path() == Path::new(STANDARD_OUTPUT);
    let asked = || papers.iter().filter_map(|(path, form)| path.as_ref().map(|path| (path, form)));
    if asked().filter(|(path, _)| is_printed(path)).count() > 1 {
        return Err(("only one form of the report can be printed".to_owned(), Exit::Wrong));
    }
    // Before the calls: it would be a pity to lose them for a misspelt folder.
    for (path, _) in asked().filter(|(path, _)| !is_printed(path)) {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        opened.map_err(|error| unwritable(path, &error))?;
    }
    let matrix = matrix(args).map_err(|fault| (fault.to_string(), exit_of(&fault)))?;
    let mut text = report::text(&matrix);
    for (path, form) in asked() {
        if is_printed(&path) {
            text = form(&matrix);
        } else {
            write(path, form(&matrix).as_bytes()).map_err(|error| unwritable(path, &error))?;
        }
    }
    if let Some(folder) = args.record.as_ref().filter(|_| args.lab == LabArg::Virtual) {
        write_records(folder, args, &matrix)?;
        let file = folder.join("matrix.json");
        write(&file, report::json(&matrix).as_bytes()).map_err(|error| unwritable(&file, &error))?;
    }
    Ok((text, if matrix.is_as_expected() { Exit::Done } else { Exit::Failed }))
}

fn matrix(args: &TestbedMatrixArgs) -> Result<Matrix, Fault> {
    let link = link(args);
    let places = places(&args.places);
    match args.lab {
        LabArg::Virtual if !args.programs.is_empty() => {
            Err(Fault::new(FaultKind::Request, "the virtual laboratory runs our own agents alone")
                .cure("add --lab real"))
        }
        LabArg::Virtual if args.nat != NatArg::Model => {
            Err(Fault::new(FaultKind::Request, "the virtual laboratory has the model of NAT alone")
                .cure("add --lab real"))
        }
        LabArg::Virtual => Ok(virtual_lab::matrix(&Ask { places, seed: args.seed, seeds: args.seeds, link })),
        LabArg::Real => {
            let stop = Stop::listen();
            let wish = Wish {
                places,
                links: [link; 2],
                commands: commands(&args.programs)?,
                timeout: args.timeout,
                seed: args.seed,
                seeds: args.seeds,
                together: usize::from(args.together),
                record: args.record.clone(),
                nats: args.nat.into(),
            };
            real_lab::matrix(&wish, &|| stop.is_asked(), &|run| {
                output::note(&format!("{} - {}: {}\n", run.left, run.right, run.verdict));
            })
        }
    }
}

/// What the lines of both sides do.
const fn link(args: &TestbedMatrixArgs) -> Link {
    Link {
        loss_ppm: args.loss,
        duplication_ppm: args.duplication,
        reorder_ppm: args.reorder,
        delay: args.delay,
        jitter: args.jitter,
        rate: args.rate,
    }
}

/// Those that were named, each once; all where none was.
fn places(named: &[Place]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for place in if named.is_empty() { &Place::ALL[..] } else { named } {
        if !places.contains(place) {
            places.push(*place);
        }
    }
    places
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

fn unwritable(path: &Path, error: &std::io::Error) -> (String, Exit) {
    (format!("`{}` cannot be written: {error}", path.display()), Exit::Refused)
}

/// Makes one call of each pair again, which is the same call, and writes what was seen of it.
fn write_records(folder: &Path, args: &TestbedMatrixArgs, matrix: &Matrix) -> Result<(), (String, Exit)> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    for cell in matrix.cells() {
        let wrong = cell.runs.iter().find(|run| !run.is_as_expected());
        let Some(run) = wrong.or(cell.runs.first()) else { continue };
        let plan = Plan { records: true, links: [link(args); 2], ..Plan::new(run.left, run.right, run.seed) };
        let seen = virtual_lab::call(&plan).sightings;
        let path = folder.join(format!("{}-{}-{}.pcapng", run.left, run.right, run.seed));
        write(&path, &record::pcapng(&seen)).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

/// Reads `10`, `10%` or `0.5 %` as so many of a million.
pub(super) fn ppm(text: &str) -> Result<u32, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent: f64 = number.parse().map_err(|_| "a percentage is wanted, such as 1%".to_owned())?;
    if (0.0..=100.0).contains(&percent) {
        Ok((percent * 10_000.0).round() as u32)
    } else {
        Err("a percentage from 0 to 100 is wanted".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: TestbedMatrixArgs,
    }

    #[test]
    fn a_line_without_flags_asks_for_all_pairs_over_good_links() {
        let Line { args } = Line::try_parse_from(["matrix"]).unwrap();
        assert_eq!((args.delay, args.jitter), (Duration::from_millis(10), Duration::ZERO));
        assert_eq!((args.loss, args.seeds, args.seed, args.places.len()), (0, 3, 1, 0));
        for wrong in [
            ["--places", "nowhere"],
            ["--seeds", "0"],
            ["--loss", "101%"],
            ["--delay", "ten"],
            ["--together", "17"],
        ] {
            assert!(Line::try_parse_from(["matrix", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn percentages_are_read_with_their_sign_and_without() {
        for (text, expected) in
            [("10", 100_000), ("10%", 100_000), ("0.5 %", 5_000), ("100%", 1_000_000), ("0", 0)]
        {
            assert_eq!(ppm(text), Ok(expected), "{text}");
        }
        for text in ["", "%", "-1", "101", "ten", "NaN", "inf", "1%%x"] {
            assert!(ppm(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_that_is_named_twice_stands_there_once() {
        let named = [Place::Cgn, Place::Open, Place::Cgn];
        assert_eq!(places(&named), [Place::Cgn, Place::Open]);
        assert_eq!(places(&[]), Place::ALL);
    }
}
