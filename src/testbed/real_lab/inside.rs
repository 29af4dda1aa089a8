//! The process of a run: it is the first in a space of process numbers and in a network of its own. When it ends, everything in
//! them does.

use std::fs;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::testbed::report::events_to_json;

use super::PRIVILEGES;
use super::addresses::Side;
use super::chronicle::Chronicle;
use super::command;
use super::command::Running;
use super::faults;
use super::faults::Told;
use super::folder;
use super::gate::Fate;
use super::gate::Way;
use super::kernel_nat::KernelNat;
use super::machine;
use super::misbehaving::Misbehaving;
use super::outcome::Ended;
use super::outcome::Outcome;
use super::outcome::fault_to_json;
use super::plan::Plan;
use super::proxy;
use super::recorder;
use super::recorder::Recorder;
use super::router::Router;
use super::router::Seen;
use super::router::Witness;
use super::server;
use super::signalling;
use super::world;

/// The file of the plan in the folder of a run.
pub(super) const PLAN: &str = "plan.json";
/// The file of what came of it.
pub(super) const OUTCOME: &str = "outcome.json";

/// Carries out the plan in `folder`, and writes there what came of it. It ends early when the standard input does.
///
/// # Errors
/// Where what came of it cannot be written.
pub fn carry_out(folder: &Path) -> io::Result<()> {
    let outcome = run(folder).map_or_else(|fault| fault_to_json(&fault), |outcome| outcome.json);
    folder::write(&folder.join(OUTCOME), &outcome)
}

fn run(folder: &Path) -> Result<Outcome, Fault> {
    let plan = folder::read(&folder.join(PLAN)).as_ref().and_then(Plan::from_json);
    let Some(plan) = plan else {
        return Err(Fault::new(FaultKind::Request, format!("there is no plan in `{}`", folder.display())));
    };
    let is_over = leash();
    let (world, legs) = world::build(&plan).map_err(|error| {
        let fault = machine("the networks cannot be made", &error);
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => fault.cure(PRIVILEGES),
            _ => fault,
        }
    })?;
    let password = password().map_err(|error| machine("there is no randomness", &error))?;
    signalling::open(folder).map_err(|error| machine("the signalling cannot be opened", &error))?;
    proxy::open().map_err(|error| machine("the proxy cannot be opened", &error))?;
    let server = Served::start(&plan, folder, &password)?;
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let mut witnesses = Witnesses {
        chronicle: Chronicle::new(world.kernel_nats.each_ref().map(Option::is_some)),
        recorder: plan.record.as_ref().map(|_| Recorder::new()),
    };
    let outcome = thread::scope(|scope| {
        let (stop, witnesses) = (&stop, &mut witnesses);
        let router = scope.spawn(move || Router::new(legs, start, witnesses).run(stop));
        let ended = call(&plan, &world, folder, &password, &is_over);
        let faults = server.end(&plan, start);
        stop.store(true, Ordering::Relaxed);
        let seen = router.join().unwrap_or_else(|_| Err(io::Error::other("the router broke off")));
        let mut seen = seen.map_err(|error| machine("the router cannot go on", &error))?;
        refused_by_kernel(&world, &mut seen)
            .map_err(|error| machine("a NAT of the kernel cannot be asked", &error))?;
        Ok((seen, ended?, faults))
    });
    for kept in [&plan.logs, &plan.record].into_iter().flatten() {
        keep(folder, kept).map_err(|error| machine("what was printed cannot be kept", &error))?;
    }
    let (seen, ended, faults) = outcome?;
    let Witnesses { mut chronicle, recorder } = witnesses;
    for (side, (how, at)) in Side::BOTH.into_iter().zip(ended) {
        chronicle.ended(at.saturating_duration_since(start), side, how);
    }
    let mut told = Vec::new();
    if let Some((faults, happened)) = faults {
        chronicle.add(happened);
        told.push(("faults", faults));
    }
    told.push(("events", events_to_json(&chronicle.events())));
    if let (Some(recorder), Some(kept)) = (recorder, &plan.record) {
        let record = recorder.write(&kept.join(recorder::FILE));
        told.push(("record", record.map_err(|error| machine("the capture cannot be kept", &error))?));
    }
    let ended = ended.map(|(how, _)| how);
    Ok(Outcome::of(&plan, &seen, ended, Side::BOTH.map(|side| said(folder, side)), &told))
}

/// Who looks on.
struct Witnesses {
    chronicle: Chronicle,
    recorder: Option<Recorder>,
}

impl Witness for Witnesses {
    fn came(&mut self, at: Duration, side: Side, way: Way, packet: &[u8], fate: Option<Fate>) {
        self.chronicle.came(at, side, way, packet, fate);
        if let Some(recorder) = &mut self.recorder {
            recorder.came(at, side, way, packet, fate);
        }
    }

    fn went(&mut self, at: Duration, side: Side, way: Way, packet: &[u8]) {
        self.chronicle.went(at, side, way, packet);
        if let Some(recorder) = &mut self.recorder {
            recorder.went(at, side, way, packet);
        }
    }
}

/// The server of a run.
enum Served {
    /// One that does what it should.
    Sound(Child),
    /// One that does not.
    Misbehaving(Misbehaving),
}

impl Served {
    fn start(plan: &Plan, folder: &Path, password: &str) -> Result<Self, Fault> {
        match &plan.script {
            None => server::start(folder, password).map(Self::Sound),
            Some(script) => Misbehaving::start(script, folder, password).map(Self::Misbehaving),
        }
    }

    /// Ends it. Answers how its faults were borne, if it had any; times are reckoned from `start`.
    fn end(self, plan: &Plan, start: Instant) -> Option<(Value, Vec<Told>)> {
        match self {
            Self::Sound(mut child) => {
                // It has nothing to give back that does not go with this process.
                let _ = child.kill();
                let _ = child.wait();
                None
            }
            Self::Misbehaving(server) => {
                let (origin, accounts) = server.end();
                let script = plan.script.as_ref()?;
                let told = faults::told(script, &accounts, origin, start);
                Some((told, faults::happened(script, &accounts, origin, start)))
            }
        }
    }
}

/// What the kernel's NATs let not through, beside what the router's did.
fn refused_by_kernel(world: &world::World, seen: &mut Seen) -> io::Result<()> {
    for (side, nat) in Side::BOTH.into_iter().zip(&world.kernel_nats) {
        for (way, why, packets) in nat.as_ref().map(KernelNat::refused).transpose()?.unwrap_or_default() {
            if packets > 0 {
                *seen.fates.entry((side, way, Fate::Refused(why))).or_default() += packets;
            }
        }
    }
    Ok(())
}

/// Starts both programs and waits for them.
fn call(
    plan: &Plan,
    world: &world::World,
    folder: &Path,
    password: &str,
    is_over: &AtomicBool,
) -> Result<[(Ended, Instant); 2], Fault> {
    let start = |side: Side| {
        let at = side.index();
        let environment = command::environment(side, plan, folder, password);
        let words = &plan.commands[at];
        Running::start(side, &world.clients[at], words, environment, folder).map_err(|error| {
            let program = words.first().map_or("", String::as_str);
            let what = format!("the {} program `{program}` cannot be started: {error}", side.name());
            Fault::new(FaultKind::Request, what)
                .cure("name a program that is there, with its path if it needs one")
        })
    };
    let mut left = start(Side::Left)?;
    let right = start(Side::Right).inspect_err(|_| left.kill())?;
    let mut both = [left, right];
    command::watch(&mut both, plan.timeout, &|| is_over.load(Ordering::Relaxed));
    Ok(both.map(Running::end))
}

/// True as soon as whoever called lets go, or is no more.
fn leash() -> Arc<AtomicBool> {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let hold = move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
        told.store(true, Ordering::Relaxed);
    };
    // Without the thread there is still the end of the caller's own waiting.
    let _ = thread::Builder::new().name("leash".to_owned()).spawn(hold);
    is_over
}

fn password() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The last line that a program printed, if it is JSON.
fn said(folder: &Path, side: Side) -> Option<Value> {
    let text = fs::read(folder.join(command::log_name(side))).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty())?.parse().ok()
}

/// Copies what was printed to where the caller finds it.
fn keep(folder: &Path, logs: &Path) -> io::Result<()> {
    fs::create_dir_all(logs)?;
    let names = Side::BOTH.map(command::log_name).into_iter().chain([server::LOG.to_owned()]);
    names
        .filter(|name| folder.join(name).exists())
        .try_for_each(|name| fs::copy(folder.join(&name), logs.join(&name)).map(drop))
}
