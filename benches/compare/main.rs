//! Ours beside others, in one run on one machine: what a packet, a call and an idle server cost. `docs/performance.md` says how
//! to read it.
//!
//! ```text
//!   lines (what is to be reached) ─▶ jobs (who does what) ─▶ measure: swingbridge::load ─▶ server, machine, topology
//!                                      figures (one of many rounds, verdict) ─▶ show, plot
//! ```

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use serde_json::json;

use self::figures::Figures;
use self::figures::Verdict;
use self::jobs::Job;
use self::jobs::Side;
use self::jobs::Work;
use self::measure::Taken;
use self::server::Ours;
use self::server::Place;
use self::server::Program;
use self::server::Running;
use self::stop::Stop;
use self::stop::Watch;
use self::topology::Topology;

mod alone;
#[path = "../../tests/kernel/cost.rs"]
mod cost;
mod defaults;
mod figures;
#[allow(dead_code, reason = "the tests also take frames apart")]
#[path = "../../tests/kernel/frame.rs"]
mod frame;
mod host;
mod jobs;
mod lines;
mod machine;
mod measure;
mod plot;
mod probe;
mod round_trips;
mod server;
mod show;
mod source;
mod stop;
mod topology;

/// The number of the servers that the defaults are proved of.
const PROOF: u16 = 9;
/// Packets each second of a quick run, each way: what any build bears.
const QUICK_RATE: f64 = 8_000.0;

/// Compares Swingbridge on each path with Debian's coturn: CPU time, latency, memory, losses.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Args {
    /// Only rows whose name begins with one of these words; --list names them.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each side's turn comes.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only these sides: coturn, sockets, sk_lookup, tc, xdp.
    #[arg(long, value_delimiter = ',')]
    tiers: Vec<String>,
    /// One round, short: whether everything works, and no figure to be believed.
    #[arg(long)]
    quick: bool,
    /// Our program.
    #[arg(long, default_value = "target/release/swingbridge")]
    binary: PathBuf,
    /// Writes every round of every figure there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes the ratios as a picture there.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Writes the table into this document, between its two marks.
    #[arg(long)]
    document: Option<PathBuf>,
    /// Names the rows, and does nothing.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for line in lines::LINES {
            println!("{:<12} {:<9} {}", line.id, line.ours, line.work);
        }
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(3)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let binary = args.binary.canonicalize().map_err(|error| {
        format!("{} cannot be run: {error}; cargo build --release makes it", args.binary.display())
    })?;
    let (began, facts) = (Instant::now(), machine::facts());
    let cpu = machine::pin()?;
    let stop = Stop::listen();
    let jobs: Vec<Job> = jobs::jobs().into_iter().filter_map(|job| chosen(job, args)).collect();
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    let turns = jobs.iter().map(|job| u64::from(rounds.min(job.rounds_max)) * job.sides.len() as u64).sum();
    let bar = ProgressBar::new(turns);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} (about {eta} more)  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let figures = Figures::default();
    let mut bench = Bench { binary, rounds, is_quick: args.quick, stop, bar, figures, is_whole: true };
    let proof = bench.prove(&jobs)?;
    for job in &jobs {
        if bench.stop.is_asked() {
            break;
        }
        bench.work(job);
    }
    bench.bar.finish_and_clear();
    tell(args, &bench, cpu, began.elapsed(), facts, &proof)
}

/// Whether a row was asked for.
fn wanted(line: &str, args: &Args) -> bool {
    args.rows.is_empty() || args.rows.iter().any(|word| line.starts_with(word.as_str()))
}

/// What of a job was asked for.
fn chosen(mut job: Job, args: &Args) -> Option<Job> {
    job.lines.retain(|(line, _)| wanted(line, args));
    let asked = |side: &Side| args.tiers.iter().any(|tier| side.name.starts_with(tier.as_str()));
    job.sides.retain(|side| args.tiers.is_empty() || asked(side));
    if args.quick {
        for side in &mut job.sides {
            if let Work::Flow(flow) = &mut side.work {
                flow.length_ms = flow.length_ms.min(300);
                flow.rate = flow.rate.min(QUICK_RATE);
                flow.burst =
                    if f64::from(flow.burst) < QUICK_RATE / 100.0 { flow.burst.min(8) } else { flow.burst };
            }
        }
    }
    (!job.lines.is_empty() && !job.sides.is_empty()).then_some(job)
}

/// Shows and writes what came of it.
fn tell(
    args: &Args,
    bench: &Bench,
    cpu: usize,
    took: Duration,
    mut facts: Vec<(&'static str, String)>,
    proof: &[String],
) -> Result<ExitCode, String> {
    let judged = bench.figures.judge();
    let rival = machine::said(std::process::Command::new("turnserver").arg("--version"));
    facts.push(("coturn", rival.unwrap_or_else(|| "not installed".to_owned())));
    facts.push(("run", format!("{} rounds in {} s, all on CPU {cpu}", bench.rounds, took.as_secs())));
    facts.push(("defaults", proof.join("; ")));
    println!("{}", show::terminal(&judged));
    for (name, what) in &facts {
        println!("  {name}: {what}");
    }
    let write = |path: &PathBuf, text: &str| {
        fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    };
    if let Some(path) = &args.json {
        let facts: serde_json::Map<_, _> =
            facts.iter().map(|(name, what)| ((*name).to_owned(), json!(what))).collect();
        let all = json!({ "form": "swingbridge-compare/1", "facts": facts, "rows": bench.figures.json() });
        write(path, &format!("{all:#}\n"))?;
    }
    if let Some(path) = &args.svg {
        write(
            path,
            &plot::svg(
                &judged,
                "Cost of Swingbridge as a part of the other's (bar), and what is to be reached (mark)",
            )?,
        )?;
    }
    if let Some(path) = &args.document {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = show::inserted(&text, &show::markdown(&judged, &facts)).ok_or_else(|| {
            format!("{} has no marks `{}` and `{}`", path.display(), show::MARKS[0], show::MARKS[1])
        })?;
        write(path, &text)?;
    }
    let missed = judged.iter().filter(|each| each.verdict == Verdict::Missed).count();
    let reached = judged.iter().filter(|each| matches!(each.verdict, Verdict::Reached { .. })).count();
    println!("\n{reached} reached, {missed} missed");
    Ok(if bench.stop.is_asked() || (args.quick && !bench.is_whole) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A run.
struct Bench {
    binary: PathBuf,
    rounds: u32,
    is_quick: bool,
    stop: Stop,
    bar: ProgressBar,
    figures: Figures,
    /// Every turn gave what it should.
    is_whole: bool,
}

impl Bench {
    /// Proves that what is measured is what is shipped, on each path that is measured.
    fn prove(&mut self, jobs: &[Job]) -> Result<Vec<String>, String> {
        let mut proof = Vec::new();
        for path in [lines::SOCKETS, lines::SK_LOOKUP, lines::TC, lines::XDP] {
            let is_on = |side: &Side| matches!(side.program, Program::Ours(ours) if ours.path == path);
            if !jobs.iter().flat_map(|job| &job.sides).any(is_on) {
                continue;
            }
            self.bar.set_message(format!("are the defaults on? {path}"));
            let is_apart = matches!(path, lines::TC | lines::XDP);
            // Where it cannot be had, its rows say so.
            let topology = if is_apart { Topology::make(PROOF).ok() } else { None };
            let place = Place { binary: &self.binary, topology: topology.as_ref() };
            if (is_apart && topology.is_none()) || (path != lines::SOCKETS && place.refused(path).is_some()) {
                continue;
            }
            proof.push(defaults::prove(&place, path, PROOF).map_err(|why| format!("{path}: {why}"))?);
        }
        if !proof.is_empty() {
            proof.extend(defaults::MEANING.map(str::to_owned));
        }
        Ok(proof)
    }

    /// Has all sides of a job do it, in turn.
    fn work(&mut self, job: &Job) {
        let mut topologies = Vec::new();
        for number in (0..).take(if job.is_apart { job.sides.len() } else { 0 }) {
            match Topology::make(number) {
                Ok(topology) => topologies.push(topology),
                Err(why) => return self.refuse(job, &why),
            }
        }
        let binary = self.binary.clone();
        let place = |side: usize| Place { binary: &binary, topology: topologies.get(side) };
        let is_fresh = job.sides.iter().any(|side| side.work == Work::Fresh);
        let mut servers = Vec::new();
        for ((index, number), side) in (0..).zip(0..).zip(&job.sides) {
            if let Program::Ours(Ours { path, .. }) = side.program
                && path != lines::SOCKETS
                && let Some(why) = place(index).refused(path)
            {
                return self.refuse(job, &why);
            }
            if side.program == Program::Nobody {
                servers.push(None);
                continue;
            }
            match place(index).start(side.program, number) {
                Ok(server) => servers.push(Some(server)),
                Err(why) => return self.refuse(job, &format!("{}: {why}", side.name)),
            }
        }
        if is_fresh {
            // One at a time, new each time.
            servers.clear();
        }
        for round in 0..self.rounds.min(job.rounds_max) as usize {
            for turn in 0..job.sides.len() {
                // Each round begins with another side.
                let index = (turn + round) % job.sides.len();
                let side = &job.sides[index];
                self.bar.set_message(format!("{} {}", job.lines[0].0, side.name));
                let taken = if is_fresh {
                    place(index).start(side.program, 0).and_then(|server| self.turn(side, Some(&server)))
                } else {
                    self.turn(side, servers[index].as_ref())
                };
                self.bar.inc(1);
                if self.stop.is_asked() {
                    return;
                }
                self.note(job, side, &taken);
            }
        }
        if self.is_quick {
            for (line, _) in &job.lines {
                self.figures.remark(line, "a quick run: the figure means nothing".to_owned());
            }
        }
    }

    fn turn(&self, side: &Side, server: Option<&Running>) -> Result<Taken, String> {
        let mut watch = Watch { stop: &self.stop, bar: &self.bar };
        match (side.work, server) {
            (Work::Alone { path, is_v6 }, _) => alone::alone(path, is_v6),
            (work, Some(server)) => measure::turn(work, server, &mut watch),
            (_, None) => Err("there is no server".to_owned()),
        }
    }

    /// What a turn gave, in each line of its job.
    fn note(&mut self, job: &Job, side: &Side, taken: &Result<Taken, String>) {
        self.is_whole &= taken
            .as_ref()
            .is_ok_and(|taken| job.lines.iter().all(|(_, metric)| taken.figure(*metric).is_some()));
        for (line, metric) in &job.lines {
            match taken {
                Ok(taken) => {
                    self.figures.note(line, side.name, taken.figure(*metric));
                    for remark in &taken.remarks {
                        self.figures.remark(line, format!("{}: {remark}", side.name));
                    }
                }
                Err(why) => {
                    self.figures.note(line, side.name, None);
                    self.figures.not_run(line, &format!("{}: {why}", side.name));
                }
            }
        }
    }

    fn refuse(&mut self, job: &Job, why: &str) {
        self.is_whole = false;
        for (line, _) in &job.lines {
            self.figures.not_run(line, why);
        }
    }
}
