//! Whether the figures of the load generator are true: a stub of known faults stands between it and a real server, and
//! what the report says must be what the stub did, within a tenth.
//!
//! `cargo test --test load -- --test-threads 1`, or `tests/run load`. Two minutes, for rates and freezes take time.
//!
//! A busy machine decides nothing here. What left late still left, and the stub counts by when packets were due; times
//! are held against what the stub's own clock says of the same packets. Where packets could not leave, or the kernel
//! dropped some on loopback, the same is tried again with half the load, a few times; then the test fails, and says so.

#![cfg(feature = "server")]

mod bridge;
#[allow(dead_code, reason = "other tests ask more of it")]
#[path = "../engine/served.rs"]
mod served;

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use swingbridge::load;
use swingbridge::load::Engine;
use swingbridge::load::Fault;
use swingbridge::load::Plan;
use swingbridge::load::Rig;
use swingbridge::load::outcome::Capacity;
use swingbridge::load::outcome::Flow;
use swingbridge::load::outcome::Moment;
use swingbridge::load::outcome::Objective;
use swingbridge::load::outcome::Report;
use swingbridge::load::outcome::Setup;
use swingbridge::load::outcome::Step;
use swingbridge::load::outcome::Verdict;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Direction;
use swingbridge::load::plan::Framing;
use swingbridge::load::plan::Generator;
use swingbridge::load::plan::Lab;
use swingbridge::load::plan::Mode;
use swingbridge::load::plan::PeerPlace;
use swingbridge::load::plan::Profile;
use swingbridge::load::plan::Server;
use swingbridge::load::plan::Traffic;
use swingbridge::load::plan::Trust;
use swingbridge::load::plan::Who;
use swingbridge::load::rig::GoOn;
use swingbridge::load::rig::Watcher;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Proof;
use swingbridge::proto::types::Secret;

use bridge::Bridge;
use bridge::Rule;
use bridge::Seen;
use served::Served;

/// One at a time: they would be each other's noise.
static ALONE: Mutex<()> = Mutex::new(());

/// How often a load is halved where the machine is too busy for it.
const TRIES: u32 = 3;

/// Packets of one voice each second, both ways.
const EACH_CALL: u64 = 100;

/// Packets that a loss is told from.
const MANY: u64 = 100_000;

#[test]
fn a_loss_of_every_nth_packet_is_that_loss() {
    let _alone = alone();
    // No divisor of the packets of a period, or the same streams would always be hit.
    const EVERY: u64 = 101;
    let (report, seen) = tried(48, |calls| {
        let seconds = MANY.div_ceil(u64::from(calls) * EACH_CALL) + 1;
        (Rule::Drop(EVERY), soak(calls, seconds), "")
    });
    let step = only(&report);
    let (sent, lost) = (step.up.sent + step.down.sent, step.up.lost + step.down.lost);
    assert!(sent >= MANY && lost <= seen.dropped, "{lost} of {sent}, and {seen:?}");
    near(lost as f64 / sent as f64, 1.0 / EVERY as f64);
    for flow in [&step.up, &step.down] {
        near(flow.lost as f64 / flow.sent as f64, 1.0 / EVERY as f64);
        assert_eq!((flow.sent, flow.duplicated, flow.reordered), (flow.received + flow.lost, 0, 0));
    }
}

#[test]
fn what_comes_twice_or_late_is_no_loss() {
    let _alone = alone();
    let (report, _) = tried(10, |calls| (Rule::Twice(53), soak(calls, 5), ""));
    let twice = |flow: &Flow| (flow.lost, flow.reordered, flow.duplicated as f64 / flow.sent as f64);
    let (up, down) = (twice(&only(&report).up), twice(&only(&report).down));
    assert_eq!([(up.0, up.1), (down.0, down.1)], [(0, 0); 2]);
    near(f64::midpoint(up.2, down.2), 1.0 / 53.0);
    let (report, _) = tried(10, |calls| (Rule::Swap(53), soak(calls, 5), ""));
    let step = only(&report);
    assert_eq!((step.up.lost + step.down.lost, step.up.duplicated + step.down.duplicated), (0, 0));
    near(
        (step.up.reordered + step.down.reordered) as f64 / (step.up.sent + step.down.sent) as f64,
        1.0 / 53.0,
    );
}

#[test]
fn a_delay_of_100_ms_is_that_delay() {
    let _alone = alone();
    let delay = Duration::from_millis(100);
    let (report, seen) = tried(10, |calls| (Rule::Delay(delay), soak(calls, 5), ""));
    let step = only(&report);
    let middle = seen.quantile(0.5, Duration::from_secs(5));
    for flow in [&step.up, &step.down] {
        assert_eq!(flow.lost, 0);
        assert!(flow.latency.quantile(0.0) >= delay.mul_f64(0.999), "{:?}", flow.latency.quantile(0.0));
        near(flow.latency.quantile(0.5).as_secs_f64(), middle.as_secs_f64());
    }
    assert!(step.round_trip.count() > 0 && step.round_trip.quantile(0.0) >= delay.mul_f64(1.999));
    near(step.round_trip.quantile(0.5).as_secs_f64(), 2.0 * middle.as_secs_f64());
}

/// One packet in twenty waits up to 500 ms: the slowest in a hundred are those that wait for more than 400.
#[test]
fn a_freeze_of_500_ms_is_charged_to_all_that_waited() {
    let _alone = alone();
    let (period, length) = (Duration::from_secs(10), Duration::from_secs(20));
    let rule = Rule::Freeze(period, Duration::from_millis(500));
    let (report, seen) = tried(10, |calls| (rule, soak(calls, length.as_secs()), ""));
    let step = only(&report);
    for flow in [&step.up, &step.down] {
        let [p90, p99, max] = [0.90, 0.99, 1.0].map(|part| flow.latency.quantile(part));
        assert_eq!(flow.lost, 0);
        assert!(max >= Duration::from_millis(450) && p99 >= Duration::from_millis(300), "{p99:?} {max:?}");
        near(max.as_secs_f64(), seen.quantile(1.0, length).as_secs_f64());
        near(p99.as_secs_f64(), seen.quantile(0.99, length).as_secs_f64());
        assert!(p90 < p99 / 2, "all else is as it was: {p90:?}");
    }
}

#[test]
fn capacity_is_what_passes() {
    let _alone = alone();
    let (report, _) = tried(20, |calls| {
        let mode = Mode::Capacity { from: 4, to: 64, hold: Duration::from_secs(2), precision: 0.02 };
        (passes(calls), mode, "loss<0.5%")
    });
    found(&report);
}

#[test]
fn a_ramp_ends_at_what_passes() {
    let _alone = alone();
    let (report, _) = tried(20, |calls| {
        let mode =
            Mode::Ramp { from: calls / 2, step: 1 + calls / 20, to: 2 * calls, hold: Duration::from_secs(2) };
        (passes(calls), mode, "loss<0.5%")
    });
    found(&report);
}

/// Two servers that differ in nothing but what stands before them.
#[test]
fn a_comparison_tells_how_much_slower_one_is() {
    let _alone = alone();
    let (served, mut looker) = (serve(), Looker { drops: 0, most: 0 });
    let bridges = [20, 100].map(|ms| Bridge::start(served.address, Rule::Delay(Duration::from_millis(ms))));
    let hold = Duration::from_secs(2);
    let [mut plan, other] =
        [0, 1].map(|index| plan(&bridges[index], 5, Mode::Compare { calls: 5, hold, rounds: 2 }, ""));
    plan.servers.extend(other.servers);
    let make = |plan: &Plan, server: &Server| Engine::new(plan, server).map(Forgiving);
    let report = load::run(plan, make, &mut looker).expect("it goes through");
    let comparison = report.comparison.expect("two were compared");
    assert_eq!(comparison.pairs, 2);
    assert!(report.sides.iter().all(|side| side.steps.len() == 2));
    let ratio = comparison.ratios.iter().find(|ratio| ratio.what == "latency p50").expect("media came");
    let [one, two] = bridges.each_ref().map(|bridge| bridge.seen().quantile(0.5, 60 * hold).as_secs_f64());
    assert!(ratio.each.len() == 2 && ratio.least <= ratio.median && ratio.median <= ratio.most);
    near(ratio.median, two / one);
}

/// A million packets a second are more than one thread can send: it must not be taken for the server's loss.
#[test]
fn a_generator_at_its_limit_says_so() {
    let _alone = alone();
    let (served, mut looker) = (serve(), Looker { drops: 0, most: 0 });
    let bridge = Bridge::start(served.address, Rule::Delay(Duration::ZERO));
    let mode = Mode::Soak { calls: 1, length: Duration::from_millis(250) };
    let mut plan = plan(&bridge, 1, mode, "loss<1%");
    plan.traffic =
        Traffic { profile: Profile::Even { rate: 1e6, size: 100, burst: 1 }, direction: Direction::Up };
    let report = load::run(plan, Engine::new, &mut looker).expect("it goes through");
    assert!(matches!(report.verdict, Verdict::GeneratorLimited(_)), "{:?}", report.verdict);
    assert_eq!(report.sides[0].capacity, None);
}

/// As many packets as so many calls send.
fn passes(calls: u32) -> Rule {
    Rule::EachTenth(u64::from(calls) * EACH_CALL / 10)
}

/// The capacity is what passed when the run was tried for the last time.
fn found(report: &Report) {
    let Some(Capacity::Found { calls, packets, .. }) = &report.sides[0].capacity else {
        panic!("{:?}", report.sides[0].capacity);
    };
    let rate: f64 = report.plan.servers[0].host.parse().expect("the tried rate stands there");
    near(*packets, rate);
    near(f64::from(*calls), rate / EACH_CALL as f64);
}

fn serve() -> Served {
    Served::start_with("", "allocations_per_user = 0\nunproven_exempt = [\"127.0.0.0/8\"]")
}

const fn soak(calls: u32, seconds: u64) -> Mode {
    Mode::Soak { calls, length: Duration::from_secs(seconds) }
}

fn only(report: &Report) -> &Step {
    assert_eq!(report.sides[0].steps.len(), 1);
    let step = &report.sides[0].steps[0];
    assert_eq!(step.strangers, 0);
    near((step.up.sent + step.down.sent) as f64 / step.length.as_secs_f64(), step.offered);
    step
}

fn near(is: f64, wanted: f64) {
    assert!((is / wanted - 1.0).abs() <= 0.1, "{is} is not {wanted}");
}

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what `asked` says for so many calls, through a bridge with its rule; for half of them where the machine had
/// too much else to do, and so on.
fn tried(calls: u32, asked: impl Fn(u32) -> (Rule, Mode, &'static str)) -> (Report, Seen) {
    let mut why = Vec::new();
    for halved in 0..TRIES {
        let calls = (calls >> halved).max(2);
        let (rule, mode, objective) = asked(calls);
        let served = serve();
        let bridge = Bridge::start(served.address, rule);
        let mut looker = Looker { drops: drops(), most: 0 };
        let plan = plan(&bridge, calls, mode, objective);
        let make = |plan: &Plan, server: &Server| Engine::new(plan, server).map(Forgiving);
        let report = load::run(plan, make, &mut looker).expect("it goes through");
        let seen = bridge.seen();
        if let Some(busy) = busy(&report, &looker) {
            eprintln!("{calls} calls: {busy}");
            why.push(format!("{calls} calls: {busy}"));
            continue;
        }
        // The clock of the load is that of the world: what was due within ten seconds came within ten.
        let [by_due, by_stub] = seen.lengths();
        near(by_due, by_stub);
        return (report, seen);
    }
    panic!("this machine is too busy for any load:\n{}", why.join("\n"));
}

/// Why what was measured is the machine's fault and not the stub's doing.
fn busy(report: &Report, looker: &Looker) -> Option<String> {
    if let Verdict::GeneratorLimited(why) = &report.verdict {
        return Some(why.clone());
    }
    (looker.most > 0).then(|| format!("the kernel dropped {} datagrams on loopback", looker.most))
}

/// The engine, without its complaint that packets left late: with this stub that makes no figure wrong.
struct Forgiving(Engine);

impl Rig for Forgiving {
    fn hold(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        self.0.hold(calls, watch)
    }

    fn idle(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<(), Fault> {
        self.0.idle(length, watch)
    }

    fn measure(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<Step, Fault> {
        let mut step = self.0.measure(length, watch)?;
        step.own.late = 0;
        Ok(step)
    }

    fn churn(&mut self, _: u32, _: Option<f64>, _: Duration, _: &mut dyn Watcher) -> Result<Step, Fault> {
        unreachable!("no test asks for it")
    }

    fn storm(&mut self, _: u32, _: &mut dyn Watcher) -> Result<Setup, Fault> {
        unreachable!("no test asks for it")
    }
}

/// Looks whether the kernel drops what nobody in the test dropped.
struct Looker {
    drops: u64,
    most: u64,
}

impl Watcher for Looker {
    fn moment(&mut self, _: &Moment) -> GoOn {
        self.most = self.most.max(drops().saturating_sub(self.drops));
        GoOn::Yes
    }
}

/// Datagrams that the kernel dropped at sockets of loopback.
fn drops() -> u64 {
    let text = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let drops = |line: &str| line.split_whitespace().last()?.parse::<u64>().ok();
    text.lines().skip(1).filter(|line| line.contains(": 0100007F:")).filter_map(drops).sum()
}

fn plan(bridge: &Bridge, calls: u32, mode: Mode, objective: &str) -> Plan {
    let proof = Proof::Password(Secret::new(b"password".to_vec()));
    let server = Server {
        uri: format!("turn:{}", bridge.address),
        host: (u64::from(calls) * EACH_CALL).to_string(),
        address: bridge.address,
        carrier: Carrier::Udp,
        who: Who::One(Credential { username: b"alice".as_slice().into(), proof, token: None }),
        trust: Trust::System,
        watch: None,
        proxy: None,
    };
    let objective = if objective.is_empty() { Ok(Objective::default()) } else { Objective::parse(objective) };
    Plan {
        servers: vec![server],
        mode,
        traffic: Traffic { profile: Profile::Audio, direction: Direction::Both },
        peer: PeerPlace::Relay,
        framing: Framing::Channel,
        objective: objective.expect("it is right"),
        warm_up: Duration::from_millis(500),
        generator: Generator {
            threads: 1,
            sources: Vec::new(),
            segments: false,
            seed: 7,
            lab: Lab::default(),
        },
        nats: None,
    }
}
