//! Which loads are tried, and in which order: one file for each mode. None of them knows a socket or a clock; a [`Rig`]
//! does what they ask.

mod bisect;
mod churn;
mod compare;
mod probe;
mod ramp;
mod soak;
mod storm;

#[cfg(test)]
mod tests;

use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use super::Fault;
use super::Plan;
use super::Rig;
use super::fault::FaultKind;
use super::outcome::Capacity;
use super::outcome::Comparison;
use super::outcome::IceOutcome;
use super::outcome::Machine;
use super::outcome::Moment;
use super::outcome::NatOutcome;
use super::outcome::Objective;
use super::outcome::Report;
use super::outcome::Rule;
use super::outcome::Setup;
use super::outcome::Side;
use super::outcome::Step;
use super::outcome::Verdict;
use super::plan::Mode;
use super::plan::PeerPlace;
use super::plan::Server;
use super::report::some;
use super::rig::GoOn;
use super::rig::Watcher;

/// Does what a plan asks, and reports what came of it. `make` brings up the rig for a server of the plan; it is called
/// once for each of them.
///
/// A run that the watcher stops is reported too, with what there is until then.
///
/// # Errors
///
/// Where the run came to nothing: the server cannot be reached or refuses all, or this machine has not what it takes.
pub fn run<R: Rig>(
    mut plan: Plan,
    mut make: impl FnMut(&Plan, &Server) -> Result<R, Fault>,
    watch: &mut dyn Watcher,
) -> Result<Report, Fault> {
    let (began, began_unix) = (Instant::now(), seconds_since_1970());
    let mut notes = Vec::new();
    if plan.objective.rules.is_empty() && matches!(plan.mode, Mode::Ramp { .. } | Mode::Capacity { .. }) {
        plan.objective = Objective::usual();
        notes.push(format!("No objective was given; the usual one was taken: {}.", plan.objective));
    }
    let mut rigs = Vec::new();
    for server in &plan.servers {
        rigs.push(make(&plan, server)?);
    }
    let stages = plan.servers.iter().zip(&mut rigs).map(|(server, rig)| Stage::new(server, rig));
    let mut stages: Vec<_> = stages.collect();
    let mut watch = Attentive { watch, is_stopped: false };
    let comparison = play(&plan, &mut stages, &mut watch)?;
    let sides: Vec<_> = stages.into_iter().map(|stage| stage.finish(&mut notes)).collect();
    let verdict = verdict(&plan, &sides, watch.is_stopped);
    notes.extend(remarks(&plan, &sides));
    Ok(Report {
        verdict,
        plan,
        began_unix,
        took: began.elapsed(),
        machine: machine(),
        sides,
        notes,
        comparison,
    })
}

/// What a mode works with: one server's rig, and what is known of it so far.
struct Stage<'a> {
    rig: &'a mut dyn Rig,
    side: Side,
    notes: Vec<String>,
}

impl<'a> Stage<'a> {
    fn new(server: &Server, rig: &'a mut dyn Rig) -> Self {
        let side = Side { server: server.uri.clone(), ..Side::default() };
        Self { rig, side, notes: Vec::new() }
    }

    fn finish(self, notes: &mut Vec<String>) -> Side {
        notes.extend(self.notes);
        self.side
    }

    /// Has so many calls in being, warmed up.
    fn bring_up(&mut self, calls: u32, settle: Duration, watch: &mut Attentive<'_>) -> Result<Setup, Fault> {
        watch.part(&format!("bringing up {}", some(calls.into(), "call")), None);
        let setup = self.rig.hold(calls, watch)?;
        if !settle.is_zero() && !watch.is_stopped {
            watch.part(&format!("warming up {}", some(calls.into(), "call")), Some(settle));
            self.rig.idle(settle, watch)?;
        }
        Ok(setup)
    }

    /// Measures the calls in being, judges them, and keeps what came of it; `None` if the run was stopped before.
    fn measure(
        &mut self,
        plan: &Plan,
        calls: u32,
        length: Duration,
        setup: Setup,
        watch: &mut Attentive<'_>,
    ) -> Result<Option<&Step>, Fault> {
        if watch.is_stopped {
            return Ok(None);
        }
        watch.part(&format!("measuring {}", some(calls.into(), "call")), Some(length));
        let mut step = self.rig.measure(length, watch)?;
        let meanwhile = std::mem::replace(&mut step.setup, setup).failures;
        for (what, count) in meanwhile {
            *step.setup.failures.entry(what).or_default() += count;
        }
        Ok(self.keep(plan, calls, step, watch.is_stopped))
    }

    /// Judges a step and keeps it. One that was ended early is kept for what it shows, and not judged.
    fn keep(&mut self, plan: &Plan, wanted: u32, mut step: Step, is_stopped: bool) -> Option<&Step> {
        if !is_stopped {
            step.broken = plan.objective.judge(&step, wanted);
        }
        self.note_missing(&step, wanted);
        self.side.steps.push(step);
        self.side.steps.last().filter(|_| !is_stopped)
    }

    fn note_missing(&mut self, step: &Step, wanted: u32) {
        if step.calls < wanted {
            let why: Vec<_> =
                step.setup.failures.iter().map(|(what, count)| format!("{what}: {count}")).collect();
            let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
            self.notes.push(format!(
                "Of {}, {} were in being while it was measured{why}.",
                some(wanted.into(), "call"),
                step.calls
            ));
        }
    }
}

/// Looks on for a mode, and remembers whether the run is to end early.
struct Attentive<'a> {
    watch: &'a mut dyn Watcher,
    is_stopped: bool,
}

impl Watcher for Attentive<'_> {
    fn moment(&mut self, moment: &Moment) -> GoOn {
        if self.watch.moment(moment) == GoOn::No {
            self.is_stopped = true;
        }
        if self.is_stopped { GoOn::No } else { GoOn::Yes }
    }

    fn part(&mut self, what: &str, length: Option<Duration>) {
        self.watch.part(what, length);
    }
}

fn play(
    plan: &Plan,
    stages: &mut [Stage<'_>],
    watch: &mut Attentive<'_>,
) -> Result<Option<Comparison>, Fault> {
    if let Mode::Compare { calls, hold, rounds } = plan.mode {
        let [first, second] = stages else {
            return Err(
                Fault::new(FaultKind::Request, "a comparison takes two servers").cure("name both of them")
            );
        };
        return compare::play(plan, [first, second], calls, hold, rounds, watch).map(Some);
    }
    for stage in stages {
        match plan.mode {
            Mode::Soak { calls, length } => soak::play(plan, stage, calls, length, watch)?,
            Mode::Ramp { from, step, to, hold } => ramp::play(plan, stage, (from, step, to), hold, watch)?,
            Mode::Capacity { from, to, hold, precision } => {
                bisect::play(plan, stage, bisect::Search::new(from, to, precision), hold, watch)?;
            }
            Mode::Churn { at_once, rate, length } => churn::play(plan, stage, at_once, rate, length, watch)?,
            Mode::Storm { calls, rounds, hold } => storm::play(plan, stage, calls, rounds, hold, watch)?,
            Mode::Ice { pairs, rate, relay_only, patience } => {
                let between = if plan.nats.is_some() { " between NATs" } else { "" };
                watch.part(&format!("connecting {} of agents{between}", some(pairs.into(), "pair")), None);
                stage.side.ice = Some(stage.rig.ice(pairs, rate, relay_only, patience, watch)?);
            }
            Mode::Compare { .. } => {}
        }
    }
    Ok(None)
}

/// What is to be said of the whole run.
fn verdict(plan: &Plan, sides: &[Side], is_stopped: bool) -> Verdict {
    if is_stopped {
        return Verdict::Stopped;
    }
    for capacity in sides.iter().filter_map(|side| side.capacity.as_ref()) {
        match capacity {
            Capacity::Found { .. } | Capacity::AtLeast(_) => {}
            Capacity::LessThan(calls, why) => {
                return Verdict::Broken(vec![format!(
                    "with the least load, {}: {why}",
                    some((*calls).into(), "call")
                )]);
            }
            Capacity::Unknown(why) => return Verdict::GeneratorLimited(why.clone()),
        }
    }
    if sides.iter().any(|side| side.capacity.is_some()) {
        return Verdict::Met;
    }
    if let Some(why) = sides.iter().flat_map(|side| &side.steps).find_map(limited) {
        return Verdict::GeneratorLimited(why);
    }
    let broken: Vec<_> = sides.iter().flat_map(|side| broken(plan, side)).collect();
    let late = sides.iter().filter_map(|side| side.ice.as_ref()?.limited()).next();
    if let Some(why) = late.filter(|_| !broken.is_empty()) {
        return Verdict::GeneratorLimited(why);
    }
    // Between NATs the standards say how each pair has to end.
    match (broken.is_empty(), plan.objective.rules.is_empty() && plan.nats.is_none()) {
        (false, _) => Verdict::Broken(broken),
        (true, false) => Verdict::Met,
        (true, true) => Verdict::Done,
    }
}

/// What a side does not hold, with its server and round where there are several.
fn broken(plan: &Plan, side: &Side) -> Vec<String> {
    let mut found = Vec::new();
    let server = if plan.servers.len() > 1 { format!("{}: ", side.server) } else { String::new() };
    for (index, step) in side.steps.iter().enumerate() {
        let round = if side.steps.len() > 1 { format!("round {}: ", index + 1) } else { String::new() };
        found.extend(step.broken.iter().map(|what| format!("{server}{round}{what}")));
    }
    if let Some(ice) = side.ice.as_ref().filter(|ice| !ice.nats.is_empty()) {
        found.extend(otherwise(plan, ice));
    } else if let Some(ice) = &side.ice {
        let failed = ice.pairs.saturating_sub(ice.connected);
        if failed as f64 > failures_most(plan) * ice.pairs as f64 {
            found.push(format!("{server}{failed} of {} did not connect", some(ice.pairs, "pair")));
        }
    }
    found
}

/// What part of the pairs may fail.
fn failures_most(plan: &Plan) -> f64 {
    let most = plan.objective.rules.iter().find_map(|rule| match rule {
        Rule::Failures(most) => Some(*most),
        Rule::Loss(_) | Rule::Latency(..) | Rule::Jitter(_) => None,
    });
    most.unwrap_or(0.0)
}

/// Between which places pairs ended otherwise than they have to, if they are too many.
fn otherwise(plan: &Plan, ice: &IceOutcome) -> Vec<String> {
    let wrong = |nat: &NatOutcome| nat.tried() - nat.as_expected();
    let all: u64 = ice.nats.iter().map(NatOutcome::tried).sum();
    if ice.nats.iter().map(wrong).sum::<u64>() as f64 <= failures_most(plan) * all as f64 {
        return Vec::new();
    }
    let told = |nat: &NatOutcome| {
        let [left, right] = nat.places;
        format!("{left} × {right}: {}, and has to be {}", nat.endings(), nat.expected)
    };
    ice.nats.iter().filter(|nat| wrong(nat) > 0).map(told).collect()
}

/// Why a step shows the generator's limit and not the server's.
fn limited(step: &Step) -> Option<String> {
    step.own.limited((step.up.sent + step.down.sent).max(step.setup.cycles))
}

/// What a reader must know to read the figures right.
fn remarks(plan: &Plan, sides: &[Side]) -> Vec<String> {
    let mut found = Vec::new();
    if plan.servers.iter().any(|server| server.address.ip().is_loopback()) {
        found.push(
            "A server and the generator share this machine: each has what the other leaves it.".to_owned(),
        );
    }
    if matches!(plan.peer, PeerPlace::Remote(_)) {
        found.push("The peer is on another machine: latencies are those of the round trip.".to_owned());
    }
    if let (Some(nats), Some(server)) = (&plan.nats, plan.servers.first()) {
        found.push(NOT_MODELLED.to_owned());
        found.extend(nats.cut_off(server));
    }
    let strangers: u64 = sides.iter().flat_map(|side| &side.steps).map(|step| step.strangers).sum();
    if strangers > 0 {
        found.push(format!(
            "{strangers} packets came that are none of the run's, or came to a call that is not theirs."
        ));
    }
    found
}

/// What a reader of figures between NATs must know.
const NOT_MODELLED: &str = "The NATs map and filter datagrams; of connections only the firewalls are modelled: each leaves from \
                            its agent's own external address, as it is.";

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: format!("Linux {}", kernel.trim()),
    }
}
