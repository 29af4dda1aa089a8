//! One side's turn at a piece of work: `swingbridge::load` makes the traffic, the kernel tells what it cost.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use swingbridge::load::Engine;
use swingbridge::load::Rig as _;
use swingbridge::load::machine;
use swingbridge::load::outcome::GENERATOR_FAULTS_MAX;
use swingbridge::load::outcome::Latency;
use swingbridge::load::outcome::Objective;
use swingbridge::load::outcome::Step;
use swingbridge::load::plan;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Direction;
use swingbridge::load::plan::Framing;
use swingbridge::load::plan::Generator;
use swingbridge::load::plan::Lab;
use swingbridge::load::plan::Mode;
use swingbridge::load::plan::PeerPlace;
use swingbridge::load::plan::Plan;
use swingbridge::load::plan::Profile;
use swingbridge::load::plan::Traffic;
use swingbridge::load::watch::Reader;
use swingbridge::net::probe;

use super::host::host;
use super::jobs::Flow;
use super::jobs::Metric;
use super::jobs::Work;
use super::machine::as_the_wire;
use super::machine::softirq_time;
use super::round_trips::round_trips;
use super::server::Running;
use super::stop::Watch;

/// What comes before a measurement.
const WARM_UP: Duration = Duration::from_millis(200);
/// How often calls that are lacking are tried for.
const HOLDS: u32 = 4;
/// A flow of which more is lost is not the same work any more.
pub(crate) const LOSS_MAX: f64 = 0.01;
/// A reader must know if more than this part of the packets left later than they were due: then more came at a time than was
/// asked for.
const LATE_MAX: f64 = 0.01;
/// Allocations whose memory is looked at.
const HELD: u32 = 2_000;
/// Cycles under way at once, and for how long they are counted.
const CYCLES_AT_ONCE: u32 = 32;
const CYCLES_LENGTH: Duration = Duration::from_millis(1_500);
/// Of the mixed calls, those with a voice, and for how long they are measured.
const VOICES: u32 = 199;
const MIXED_MS: u64 = 1_500;
/// Packets of a burst, of which the lost are told.
const BURST: f64 = 256.0;
/// How often a pair is tried until its ends lie at two workers.
const ACROSS_TRIES: u32 = 12;
/// Of two threads of a server the lesser has this part of the other's work at the least, if both work.
const ACROSS_PART: f64 = 0.25;

/// What a turn gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) figures: Vec<(Metric, f64)>,
    /// What a reader must know.
    pub(crate) remarks: Vec<String>,
}

impl Taken {
    pub(crate) fn figure(&self, metric: Metric) -> Option<f64> {
        self.figures.iter().find(|(of, _)| *of == metric).map(|(_, figure)| *figure)
    }
}

/// Has `server` do `work`.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn turn(work: Work, server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    match work {
        Work::Flow(flow) => relay(flow, server, watch),
        Work::Host { calls, path } => host(calls, path, server, watch),
        Work::Mixed => mixed(server, watch),
        Work::Cycles => cycles(server, watch),
        Work::Fresh => fresh(server, watch),
        Work::RoundTrips => round_trips(server),
        Work::Alone { .. } => Err("it is about no server".to_owned()),
    }
}

/// What a generator is asked for that does `flow` against `target`, which is `server` in a form.
fn plan_of(flow: Flow, server: &Running, target: plan::Server, lab: Lab) -> Plan {
    // Other ports each time: a server may refuse one that it knew a moment ago, and hands by ports over to its workers.
    let seed = getrandom::u64().unwrap_or(1);
    Plan {
        servers: vec![target],
        mode: Mode::Soak { calls: flow.calls, length: Duration::from_millis(flow.length_ms) },
        traffic: Traffic {
            profile: Profile::Even {
                rate: flow.rate / f64::from(flow.calls),
                size: flow.size,
                burst: flow.burst,
            },
            direction: flow.direction,
        },
        peer: if flow.is_pair { PeerPlace::Relay } else { PeerPlace::Local(Some(server.peers)) },
        framing: flow.framing,
        objective: Objective::default(),
        warm_up: WARM_UP,
        generator: Generator { threads: 1, sources: Vec::new(), segments: flow.segments, seed, lab },
        nats: None,
    }
}

/// A generator for `plan`, ready.
fn engine(plan: &Plan, namespace: Option<&str>) -> Result<Engine, String> {
    machine::prepare(plan, 1).map_err(|fault| fault.to_string())?;
    let made = as_the_wire(namespace, || Engine::new(plan, &plan.servers[0]))?;
    made.map_err(|fault| fault.to_string())
}

fn measured(
    flow: Flow,
    server: &Running,
    lab: Lab,
    watch: &mut Watch<'_>,
) -> Result<(Step, Vec<Duration>), String> {
    let plan = plan_of(flow, server, server.target(flow.carrier), lab);
    let mut engine = engine(&plan, server.wire.as_deref())?;
    let told = |fault: swingbridge::load::Fault| fault.to_string();
    for _ in 0..HOLDS {
        // A server may take a client's port for that of a client before, and refuse it.
        if engine.hold(flow.calls, watch).map_err(told)?.failures.is_empty() {
            break;
        }
    }
    engine.idle(WARM_UP, watch).map_err(told)?;
    let before = threads_of(server.pid());
    let step = engine.measure(Duration::from_millis(flow.length_ms), watch).map_err(told)?;
    let after = threads_of(server.pid());
    // All is given back before the next comes: what is left behind takes the ports of those that follow.
    engine.hold(0, watch).map_err(told)?;
    if step.calls < flow.calls {
        return Err(format!("of {} calls {} came to be", flow.calls, step.calls));
    }
    let spent = after.iter().map(|(id, now)| now.saturating_sub(before.get(id).copied().unwrap_or_default()));
    Ok((step, spent.collect()))
}

/// CPU of the server, and latencies.
fn relay(flow: Flow, server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let lab = Lab { parts: flow.parts, is_serverless: false, takes_runs: flow.takes_runs };
    let mut tries = 0;
    let step = loop {
        let kernel = softirq_time();
        let (mut step, spent) = measured(flow, server, lab, watch)?;
        let kernel = softirq_time().saturating_sub(kernel);
        if let Some(cost) = &mut step.server {
            let received = (step.up.received + step.down.received).max(1);
            cost.cpu_per_packet_ns += kernel.as_nanos() as f64 / received as f64;
        }
        tries += 1;
        // Another server's ends may lie as they like: it is told by what it costs in the mean.
        if !flow.is_across || server.admin.is_none() || is_across(spent) || watch.stop.is_asked() {
            break step;
        }
        if tries == ACROSS_TRIES {
            return Err("the two ends of a pair never lay at two workers".to_owned());
        }
    };
    let mut taken = Taken::default();
    latencies(&step, &mut taken);
    let (sent, lost) = (step.up.sent + step.down.sent, step.up.lost + step.down.lost);
    let lost = lost.saturating_sub(step.own.dropped);
    taken.figures.push((Metric::Lost, (lost as f64 * BURST / sent.max(1) as f64).ceil()));
    remark(&step, &mut taken);
    let part = lost as f64 / sent.max(1) as f64;
    if part > LOSS_MAX && flow.burst != BURST as u16 {
        taken.remarks.push(format!("rounds that lost more than {:.0} % are left out", LOSS_MAX * 100.0));
        return Ok(taken);
    }
    let cost = step.server.ok_or("the server's CPU time cannot be read")?;
    taken.figures.push((Metric::Cpu, cost.cpu_per_packet_ns));
    Ok(taken)
}

/// CPU of the server for a packet among voices and a camera: two generators on one CPU.
fn mixed(server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let load = |calls: u32, profile: Profile| {
        let flow = Flow { calls, segments: true, length_ms: MIXED_MS, ..quiet(calls) };
        let mut plan = plan_of(flow, server, server.target(Carrier::Udp), Lab::default());
        plan.traffic = Traffic { profile, direction: Direction::Both };
        engine(&plan, server.wire.as_deref())
    };
    let told = |fault: swingbridge::load::Fault| fault.to_string();
    let (mut voices, mut camera) = (load(VOICES, Profile::Audio)?, load(1, Profile::Video)?);
    voices.hold(VOICES, watch).map_err(told)?;
    camera.hold(1, watch).map_err(told)?;
    voices.idle(WARM_UP * 2, watch).map_err(told)?;
    let length = Duration::from_millis(MIXED_MS);
    let mut second = Watch { stop: watch.stop, bar: watch.bar };
    let kernel = softirq_time();
    let (of_voices, of_camera) = thread::scope(|scope| {
        let of_camera = scope.spawn(|| camera.measure(length, &mut second).map_err(told));
        let of_voices = voices.measure(length, watch).map_err(told);
        (of_voices, of_camera.join().unwrap_or_else(|_| Err("the generator has failed".to_owned())))
    });
    let kernel = softirq_time().saturating_sub(kernel);
    let both = [of_voices?, of_camera?];
    let sent: u64 = both.iter().map(|step| step.up.sent + step.down.sent).sum();
    let received: u64 = both.iter().map(|step| step.up.received + step.down.received).sum();
    let mut taken = Taken::default();
    both.iter().for_each(|step| remark(step, &mut taken));
    if (received as f64) < sent as f64 * (1.0 - LOSS_MAX) {
        taken.remarks.push(format!("rounds that lost more than {:.0} % are left out", LOSS_MAX * 100.0));
        return Ok(taken);
    }
    let cost = both[0].server.as_ref().ok_or("the server's CPU time cannot be read")?;
    taken.figures.push((Metric::Cpu, (cost.cpu + kernel).as_nanos() as f64 / received.max(1) as f64));
    Ok(taken)
}

/// CPU of a whole life of an allocation.
fn cycles(server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let mut plan = plan_of(quiet(1), server, server.target(Carrier::Udp), Lab::default());
    plan.mode = Mode::Churn { at_once: CYCLES_AT_ONCE, rate: None, length: CYCLES_LENGTH };
    let mut engine = engine(&plan, server.wire.as_deref())?;
    let spent = || probe::cpu_time_of(server.pid()).map_err(|error| error.to_string());
    engine.churn(CYCLES_AT_ONCE, None, WARM_UP, watch).map_err(|fault| fault.to_string())?;
    let before = spent()?;
    let step = engine.churn(CYCLES_AT_ONCE, None, CYCLES_LENGTH, watch).map_err(|fault| fault.to_string())?;
    let used = spent()?.saturating_sub(before);
    let mut taken = Taken::default();
    let failed: u64 = step.setup.failures.values().sum();
    if failed > 0 {
        taken.remarks.push("some cycles failed, and are not counted".to_owned());
    }
    if step.setup.cycles > 0 {
        let each = used.as_nanos() as f64 / 1_000.0 / step.setup.cycles as f64;
        taken.figures.push((Metric::Cycle, each));
    }
    Ok(taken)
}

/// Memory of a process that was started for this.
fn fresh(server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let told = |fault: swingbridge::load::Fault| fault.to_string();
    thread::sleep(Duration::from_millis(800));
    let watched = plan::Watch::Process(server.pid());
    let before = Reader::open(&watched).and_then(|mut reader| reader.read()).map_err(told)?.memory;
    let flow = quiet(HELD);
    let plan = plan_of(flow, server, server.target(Carrier::Udp), Lab::default());
    let mut engine = engine(&plan, server.wire.as_deref())?;
    let setup = engine.hold(HELD, watch).map_err(told)?;
    if setup.served < u64::from(HELD) {
        return Err(format!("of {HELD} allocations {} were served", setup.served));
    }
    engine.idle(Duration::from_millis(300), watch).map_err(told)?;
    let after = Reader::open(&watched).and_then(|mut reader| reader.read()).map_err(told)?.memory;
    let mut taken = Taken::default();
    taken.figures.push((Metric::Idle, before as f64 / f64::from(1 << 20)));
    taken.figures.push((Metric::Memory, after.saturating_sub(before) as f64 / f64::from(HELD)));
    Ok(taken)
}

/// Calls that hardly speak.
const fn quiet(calls: u32) -> Flow {
    Flow {
        calls,
        rate: 10.0,
        size: 172,
        burst: 1,
        direction: Direction::Up,
        framing: Framing::Channel,
        carrier: Carrier::Udp,
        is_pair: false,
        is_across: false,
        segments: false,
        takes_runs: false,
        parts: 1,
        length_ms: 500,
    }
}

/// What the generator itself was not good for.
fn remark(step: &Step, taken: &mut Taken) {
    let sent = (step.up.sent + step.down.sent) as f64;
    if step.own.late as f64 > sent * LATE_MAX {
        let part = LATE_MAX * 100.0;
        taken.remarks.push(format!("in some rounds more than {part:.0} % of the packets left late"));
    }
    if (step.own.unsent + step.own.dropped) as f64 > sent * GENERATOR_FAULTS_MAX {
        taken.remarks.push("in some rounds the generator was short of room".to_owned());
    }
}

fn latencies(step: &Step, taken: &mut Taken) {
    let mut both: Latency = step.up.latency.clone();
    both.add(&step.down.latency);
    for (metric, part) in [(Metric::P50, 0.5), (Metric::P99, 0.99), (Metric::P999, 0.999)] {
        taken.figures.push((metric, both.quantile(part).as_nanos() as f64 / 1_000.0));
    }
}

/// Whether two threads worked.
fn is_across(mut spent: Vec<Duration>) -> bool {
    spent.sort();
    let [.., lesser, most] = spent.as_slice() else { return false };
    lesser.as_secs_f64() >= most.as_secs_f64() * ACROSS_PART
}

/// CPU time of each thread of a process.
fn threads_of(pid: u32) -> BTreeMap<String, Duration> {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/task")) else { return BTreeMap::new() };
    let of = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let ns = text.split_ascii_whitespace().next()?.parse().ok()?;
        Some((entry.file_name().to_str()?.to_owned(), Duration::from_nanos(ns)))
    };
    all.filter_map(|entry| of(entry.ok()?)).collect()
}
