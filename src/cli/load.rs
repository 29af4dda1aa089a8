//! `swingbridge load`: makes a plan of the command line, has it carried out, and shows what came of it.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use crate::load::Engine;
use crate::load::Fault;
use crate::load::engine::far::FarEnd;
use crate::load::fault::FaultKind;
use crate::load::machine;
use crate::load::outcome::Report;
use crate::load::outcome::Verdict;
use crate::load::plan::Mode;
use crate::load::plan::Plan;
use crate::load::report;
use crate::load::rig::GoOn;

use self::progress::Progress;
use self::stop::Stop;

use super::Exit;
use super::LoadArgs;
use super::args::LoadOther;
use super::output;

mod ask;
mod nats;
mod progress;
pub(in crate::cli) mod stop;
mod who;

/// Loads a server, or is the peer of who does.
pub(crate) fn run(args: &LoadArgs) -> Exit {
    let done = match &args.other {
        Some(LoadOther::Peer { listen }) => be_peer(*listen),
        None => load(args),
    };
    done.unwrap_or_else(|fault| output::complain(&format!("error: {fault}\n"), exit_of(fault.kind)))
}

const fn exit_of(kind: FaultKind) -> Exit {
    match kind {
        FaultKind::Request => Exit::Wrong,
        FaultKind::Server => Exit::Failed,
        FaultKind::Machine => Exit::Refused,
    }
}

/// How a run that came to a report ended.
const fn exit_of_verdict(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Done | Verdict::Met => Exit::Done,
        Verdict::Broken(_) | Verdict::GeneratorLimited(_) | Verdict::Stopped => Exit::Failed,
    }
}

fn load(args: &LoadArgs) -> Result<Exit, Fault> {
    let plan = plan(args)?;
    // Before the run: it would be a pity to lose it for a misspelt folder.
    let papers = Papers::open(args)?;
    machine::prepare(&plan, Engine::threads(plan.generator.threads))?;
    if let (Some(nats), Some(server)) = (&plan.nats, plan.servers.first()) {
        nats.check(server).inspect_err(|_| papers.take_back())?;
        for sentence in nats.cut_off(server) {
            let _ = output::complain(&format!("note: {sentence}\n"), Exit::Done);
        }
    }
    let stop = Stop::listen();
    let mut progress = Progress::new(stop, counted(&plan.mode));
    let done = carry_out(plan, &mut progress);
    progress.finish();
    let report = done.inspect_err(|_| papers.take_back())?;
    papers.write(&report)?;
    let exit = exit_of_verdict(&report.verdict);
    Ok(if args.json.as_deref() == Some(Path::new(STANDARD_OUTPUT)) {
        output::out(&report::json(&report), exit)
    } else {
        output::out(&report::text(&report, output::stdout_has_colours()), exit)
    })
}

/// What a run has more and more of.
const fn counted(mode: &Mode) -> &'static str {
    if matches!(mode, Mode::Ice { .. }) { "pair" } else { "call" }
}

/// What the command line asks for, whole.
fn plan(args: &LoadArgs) -> Result<Plan, Fault> {
    let seed = match args.machine.seed {
        Some(seed) => seed,
        None => random()?,
    };
    let ask = ask::ask(args, seed)?;
    let mut servers = who::servers(args, &ask.uris, ask.lifetime()?)?;
    let nats = ask.nats.map(|asked| nats::between(asked, &mut servers)).transpose()?;
    Ok(Plan {
        servers,
        mode: ask.mode,
        traffic: ask.traffic,
        peer: ask.peer,
        framing: ask.framing,
        objective: ask.objective,
        warm_up: ask.warm_up,
        generator: ask.generator,
        nats,
    })
}

fn random() -> Result<u64, Fault> {
    let seed = getrandom::u64();
    seed.map_err(|error| Fault::new(FaultKind::Machine, format!("this machine has no randomness: {error}")))
}

/// The name of no file.
const STANDARD_OUTPUT: &str = "-";

/// The files that were asked for, open.
struct Papers {
    json: Option<Paper>,
    html: Option<Paper>,
}

struct Paper {
    path: PathBuf,
    file: File,
}

impl Papers {
    fn open(args: &LoadArgs) -> Result<Self, Fault> {
        let json = args.json.as_deref().filter(|path| *path != Path::new(STANDARD_OUTPUT));
        Ok(Self {
            json: json.map(Paper::open).transpose()?,
            html: args.html.as_deref().map(Paper::open).transpose()?,
        })
    }

    fn write(&self, report: &Report) -> Result<(), Fault> {
        if let Some(paper) = &self.json {
            paper.write(&report::json(report))?;
        }
        if let Some(paper) = &self.html {
            paper.write(&report::html(report))?;
        }
        Ok(())
    }

    /// Removes what was only just made and has nothing in it.
    fn take_back(&self) {
        for paper in self.json.iter().chain(&self.html) {
            if paper.file.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) {
                // An empty file that stays is no harm.
                let _ = std::fs::remove_file(&paper.path);
            }
        }
    }
}

impl Paper {
    /// Opens the file and leaves what stands in it, until there is something to write.
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(&self, text: &str) -> Result<(), Fault> {
        let mut file = &self.file;
        // A pipe has no length to be cut.
        let _ = file.set_len(0);
        file.write_all(text.as_bytes()).map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Machine, format!("`{}` cannot be written: {error}", path.display()))
}

fn carry_out(plan: Plan, progress: &mut Progress) -> Result<Report, Fault> {
    crate::load::run(plan, Engine::new, progress)
}

/// Sends back what comes, until Ctrl-C.
fn be_peer(listen: SocketAddr) -> Result<Exit, Fault> {
    // A port that is taken is this machine's refusal, as it is of `serve`.
    let far = FarEnd::listen(listen).map_err(|fault| Fault { kind: FaultKind::Machine, ..fault });
    let mut far = far?;
    let stop = Stop::listen();
    let _ = output::complain(&format!("listening on {}; Ctrl-C ends it\n", far.local()), Exit::Done);
    let counts = far.serve(|_| if stop.is_asked() { GoOn::No } else { GoOn::Yes });
    let text = format!(
        "{} packets sent back, {} that came again, {} of strangers, {} without room\n",
        counts.returned, counts.repeated, counts.strangers, counts.refused
    );
    Ok(output::out(&text, Exit::Done))
}
