//! Hand-made reports, the same each time: what the tests of text, JSON and page are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::nats::Nats;
use crate::load::outcome::Capacity;
use crate::load::outcome::Comparison;
use crate::load::outcome::Flow;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::Jitter;
use crate::load::outcome::Latency;
use crate::load::outcome::Machine;
use crate::load::outcome::Moment;
use crate::load::outcome::NatOutcome;
use crate::load::outcome::Objective;
use crate::load::outcome::Own;
use crate::load::outcome::Ratio;
use crate::load::outcome::Report;
use crate::load::outcome::Rule;
use crate::load::outcome::ServerCost;
use crate::load::outcome::Setup;
use crate::load::outcome::Side;
use crate::load::outcome::Step;
use crate::load::outcome::Verdict;
use crate::load::plan::Carrier;
use crate::load::plan::Direction;
use crate::load::plan::Framing;
use crate::load::plan::Generator;
use crate::load::plan::Lab;
use crate::load::plan::Mode;
use crate::load::plan::PeerPlace;
use crate::load::plan::Plan;
use crate::load::plan::Profile;
use crate::load::plan::Server;
use crate::load::plan::Traffic;
use crate::load::plan::Trust;
use crate::load::plan::Who;
use crate::place::Place;
use crate::place::Relay;
use crate::place::Verdict as Ending;
use crate::proto::client::Credential;
use crate::proto::client::Proof;
use crate::proto::types::Secret;

/// What no report may show.
pub(super) const PASSWORD: &str = "hunter2-never-shown";

/// What a user may write: it must be shown, and must not be taken for markup.
pub(super) const URI: &str = "turn:turn.example.net?transport=udp<script>alert('&\"')</script>";

pub(super) fn soak() -> Report {
    let steps = vec![step(100, 60, 0)];
    report(Mode::Soak { calls: 100, length: Duration::from_secs(60) }, vec![side(steps)], Verdict::Met)
}

pub(super) fn capacity() -> Report {
    let loads = [100, 200, 400, 800, 600, 700, 650, 625];
    let steps = loads.map(|calls| step(calls, 10, u64::from(calls.saturating_sub(625)) * 40)).into();
    let mut side = side(steps);
    for step in side.steps.iter_mut().filter(|step| step.up.lost > 0) {
        step.broken = vec!["loss is above 0.1 %".to_owned()];
    }
    side.capacity = Some(Capacity::Found {
        calls: 625,
        packets: 62_500.0,
        bits: 83_000_000.0,
        breaks_at: 650,
        why: "loss 0.31 % up is above 0.1 %".to_owned(),
    });
    let mode = Mode::Capacity { from: 100, to: 10_000, hold: Duration::from_secs(10), precision: 0.05 };
    report(mode, vec![side], Verdict::Met)
}

pub(super) fn limited() -> Report {
    let mut report = capacity();
    let why = "1,234 packets (0.53 %) left later than they were due";
    report.verdict = Verdict::GeneratorLimited(why.to_owned());
    report.sides[0].capacity = Some(Capacity::Unknown(why.to_owned()));
    report.sides[0].steps.truncate(4);
    report.sides[0].steps[3].own.late = 1_234;
    report
}

pub(super) fn ramp() -> Report {
    let steps =
        (1..=6).map(|index| step(index * 50, 10, u64::from(index.saturating_sub(5)) * 9_000)).collect();
    let mut side = side(steps);
    side.steps[5].broken = vec!["300 calls: loss 1.4 % up is above 0.1 %".to_owned()];
    side.steps[5].setup.failures = BTreeMap::from([("Allocate 486".to_owned(), 12)]);
    side.capacity = Some(Capacity::LessThan(1, "p99 of 31 ms is above 20 ms".to_owned()));
    let mode = Mode::Ramp { from: 50, step: 50, to: 500, hold: Duration::from_secs(10) };
    report(mode, vec![side], Verdict::Broken(vec!["300 calls: loss 1.4 % up is above 0.1 %".to_owned()]))
}

pub(super) fn compare() -> Report {
    let sides = [0, 900].map(|lost| side((0..3).map(|_| step(200, 10, lost)).collect()));
    let mode = Mode::Compare { calls: 200, hold: Duration::from_secs(10), rounds: 3 };
    let mut report = report(mode, sides.into(), Verdict::Done);
    report.plan.servers.push(server("turn:other.example.net?transport=tcp", Carrier::Tcp));
    report.sides[1].server = report.plan.servers[1].uri.clone();
    let ratio =
        Ratio { what: "p99".to_owned(), each: vec![1.1, 1.2, 1.4], median: 1.2, least: 1.1, most: 1.4 };
    report.comparison = Some(Comparison { pairs: 3, ratios: vec![ratio] });
    report
}

pub(super) fn churn() -> Report {
    let mut step = Step { calls: 20, length: Duration::from_secs(30), ..step(20, 30, 0) };
    (step.up, step.down, step.round_trip) = Default::default();
    step.setup.cycles = 10_500;
    let mode = Mode::Churn { at_once: 20, rate: Some(350.0), length: Duration::from_secs(30) };
    report(mode, vec![side(vec![step])], Verdict::Done)
}

pub(super) fn storm() -> Report {
    let steps = (0..3).map(|_| step(500, 5, 0)).collect();
    let mode = Mode::Storm { calls: 500, rounds: 3, hold: Duration::from_secs(5) };
    report(mode, vec![side(steps)], Verdict::Stopped)
}

pub(super) fn ice() -> Report {
    let ice = IceOutcome {
        pairs: 200,
        connected: 198,
        time: spread(198, 240_000, 40),
        gathering: spread(400, 60_000, 40),
        by_kind: BTreeMap::from([("relay-relay".to_owned(), 198)]),
        failures: BTreeMap::from([("no pair in 15s".to_owned(), 2)]),
        nats: Vec::new(),
        longest_turn: Duration::from_millis(9),
    };
    let side = Side { server: URI.to_owned(), ice: Some(ice), ..Side::default() };
    let patience = Duration::from_secs(15);
    report(Mode::Ice { pairs: 200, rate: 20.0, relay_only: true, patience }, vec![side], Verdict::Done)
}

pub(super) fn nats() -> Report {
    let relayed = Ending::Relayed(Relay::Udp);
    let one = |places: [Place; 2], expected: Ending, ended: &[(Ending, u64)]| {
        let connected =
            ended.iter().filter(|(ending, _)| *ending != Ending::Failed).map(|(_, count)| count).sum();
        NatOutcome {
            ended: ended.iter().copied().collect(),
            time: if connected == 0 { Latency::new() } else { spread(connected, 240_000, 40) },
            ..NatOutcome::new(places, expected)
        }
    };
    let restricted = [Place::AddressRestricted; 2];
    let mut wrong = one(
        [Place::PortRestricted, Place::Symmetric],
        relayed,
        &[(Ending::Direct, 1), (relayed, 8), (Ending::Failed, 1)],
    );
    wrong.failures.insert("no pair works".to_owned(), 1);
    let all = vec![
        one(restricted, Ending::Direct, &[(Ending::Direct, 10)]),
        wrong,
        one([Place::Only443, Place::Open], Ending::Failed, &[(Ending::Failed, 10)]),
    ];
    let mut report = ice();
    report.verdict = Verdict::Broken(vec!["port-restricted × symmetric: as it must not be".to_owned()]);
    let ways = vec![server("turn:<script>?transport=tcp", Carrier::Tcp)];
    let places = all.iter().map(|nat| nat.places).collect();
    let settling = Duration::from_secs(25);
    report.plan.nats = Some(Nats { places, ways, settling, is_unfiltered: false });
    report.sides[0].ice.iter_mut().for_each(|ice| ice.nats.clone_from(&all));
    report
}

/// Every one, with a name.
pub(super) fn every() -> [(&'static str, Report); 9] {
    [
        ("soak", soak()),
        ("capacity", capacity()),
        ("limited", limited()),
        ("ramp", ramp()),
        ("compare", compare()),
        ("churn", churn()),
        ("storm", storm()),
        ("ice", ice()),
        ("nats", nats()),
    ]
}

fn report(mode: Mode, sides: Vec<Side>, verdict: Verdict) -> Report {
    let objective =
        Objective { rules: vec![Rule::Loss(0.001), Rule::Latency(0.99, Duration::from_millis(20))] };
    Report {
        plan: Plan {
            servers: vec![server(URI, Carrier::Udp)],
            mode,
            traffic: Traffic { profile: Profile::Audio, direction: Direction::Both },
            peer: PeerPlace::Relay,
            framing: Framing::Channel,
            objective,
            warm_up: Duration::from_secs(2),
            generator: Generator {
                threads: 1,
                sources: Vec::new(),
                segments: true,
                seed: 42,
                lab: Lab::default(),
            },
            nats: None,
        },
        began_unix: 1_790_000_000,
        took: Duration::from_secs(84),
        machine: Machine { cores: 4, kernel: "Linux 6.12.9".to_owned() },
        sides,
        verdict,
        notes: vec!["generator and server share this machine's cores".to_owned()],
        comparison: None,
    }
}

fn server(uri: &str, carrier: Carrier) -> Server {
    let credential = Credential {
        username: b"someone".as_slice().into(),
        proof: Proof::Password(Secret::new(PASSWORD.as_bytes().to_vec())),
        token: None,
    };
    Server {
        uri: uri.to_owned(),
        host: "turn.example.net".to_owned(),
        address: "192.0.2.7:3478".parse().expect("an address"),
        carrier,
        who: Who::One(credential),
        trust: Trust::System,
        watch: None,
        proxy: None,
    }
}

fn side(steps: Vec<Step>) -> Side {
    Side { server: URI.to_owned(), steps, ..Side::default() }
}

fn step(calls: u32, seconds: u64, lost: u64) -> Step {
    let packets = u64::from(calls) * 50 * seconds;
    let crowd = u64::from(calls) / 4;
    Step {
        calls,
        length: Duration::from_secs(seconds),
        offered: f64::from(calls) * 100.0,
        up: flow(packets, lost, 90 + crowd),
        down: flow(packets, lost / 3, 80 + crowd),
        round_trip: spread(packets / 5, 180 + crowd, 60),
        setup: setup(calls),
        timeline: (0..seconds).map(|second| moment(calls, second, seconds)).collect(),
        own: Own {
            cpu: Duration::from_millis(seconds * u64::from(calls)),
            cpu_per_packet_ns: 2_450.0,
            ..Own::default()
        },
        server: Some(ServerCost {
            cpu: Duration::from_millis(seconds * u64::from(calls) * 3 / 2),
            cpu_per_packet_ns: 3_210.0,
            memory: 48 << 20,
            memory_per_allocation: Some(2_345.0),
            dropped: Some(lost),
            host_cpu_per_packet_ns: Some(9_870.0),
        }),
        ..Step::default()
    }
}

fn flow(sent: u64, lost: u64, middle: u64) -> Flow {
    Flow {
        sent,
        sent_bytes: sent * 166,
        received: sent - lost,
        received_bytes: (sent - lost) * 166,
        lost,
        duplicated: 0,
        reordered: lost / 10,
        latency: spread(sent - lost, middle, 90),
        jitter: Jitter { mean: 0.000_042, worst: 0.000_310 },
    }
}

fn setup(calls: u32) -> Setup {
    let clients = u64::from(calls) * 2;
    Setup {
        asked: clients,
        served: clients,
        allocate: spread(clients, 900, 30),
        binding: spread(clients, 250, 30),
        permit: spread(clients * 2, 400, 30),
        connect: Latency::new(),
        cycles: 0,
        failures: BTreeMap::new(),
        took: Duration::from_millis(clients * 4),
    }
}

fn moment(calls: u32, second: u64, of: u64) -> Moment {
    let stall = second == of / 2;
    let wave = 1.0 + 0.3 * (second as f64 / 5.0).sin();
    Moment {
        at: Duration::from_secs(second + 1),
        calls,
        wanted: calls,
        sent: u64::from(calls) * 100,
        received: u64::from(calls) * 100,
        lost: u64::from(stall) * 7,
        p50: 0.000_11 * wave,
        p99: if stall { 0.012 } else { 0.000_6 * wave },
        max: if stall { 0.31 } else { 0.002_5 * wave },
        own_cpu: f64::from(calls) / 1_000.0 * wave,
        server_cpu: Some(f64::from(calls) / 700.0 * wave),
    }
}

/// So many latencies, with a long tail: all but few near `middle` µs, the longest `tail` times that.
fn spread(count: u64, middle: u64, tail: u64) -> Latency {
    let mut latency = Latency::new();
    const PARTS: u64 = 400;
    for part in 0..PARTS {
        let place = (part as f64 + 0.5) / PARTS as f64;
        let stretch = 0.6 + 0.5 * place + (tail as f64).powf(place.powi(24)) - 1.0;
        let share = (count * (part + 1)) / PARTS - (count * part) / PARTS;
        if share > 0 {
            let micros = (middle as f64 * stretch.max(0.2)) as u64;
            latency.0.record_n(micros.max(1), share).expect("it is within the bounds");
        }
    }
    latency
}
