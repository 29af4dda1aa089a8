//! The load generator's engine against the program itself, on loopback: small loads, counted to the packet.

#![cfg(feature = "server")]

mod cost;
mod lab;
#[path = "../lab_proxy/mod.rs"]
mod lab_proxy;
mod nats;
mod pairs;
mod proxied;
mod served;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use swingbridge::load::Engine;
use swingbridge::load::Plan;
use swingbridge::load::Rig as _;
use swingbridge::load::engine::far::FarEnd;
use swingbridge::load::fault::FaultKind;
use swingbridge::load::outcome::Flow;
use swingbridge::load::outcome::Moment;
use swingbridge::load::outcome::Objective;
use swingbridge::load::outcome::Step;
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
use swingbridge::load::plan::Watch;
use swingbridge::load::plan::Who;
use swingbridge::load::rig::GoOn;
use swingbridge::load::rig::Watcher;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Proof;
use swingbridge::proto::types::Secret;

use served::Served;

const CALLS: u32 = 20;
const LENGTH: Duration = Duration::from_secs(2);

/// Looks on, and has seen enough after some time.
struct Looker {
    moments: Vec<Moment>,
    until: Option<Instant>,
}

impl Watcher for Looker {
    fn moment(&mut self, moment: &Moment) -> GoOn {
        self.moments.push(*moment);
        if self.until.is_some_and(|until| Instant::now() >= until) { GoOn::No } else { GoOn::Yes }
    }
}

fn looker() -> Looker {
    Looker { moments: Vec::new(), until: None }
}

fn plan(served: &Served, password: &str) -> Plan {
    plan_at(served.address, served.pid(), password)
}

fn plan_at(address: SocketAddr, pid: u32, password: &str) -> Plan {
    let credential = Credential {
        username: (*b"alice").into(),
        proof: Proof::Password(Secret::new(password.as_bytes())),
        token: None,
    };
    let server = Server {
        uri: format!("turn:{address}"),
        host: "127.0.0.1".to_owned(),
        address,
        carrier: Carrier::Udp,
        who: Who::One(credential),
        trust: Trust::System,
        watch: Some(Watch::Process(pid)),
        proxy: None,
    };
    Plan {
        servers: vec![server],
        mode: Mode::Soak { calls: CALLS, length: LENGTH },
        traffic: Traffic { profile: Profile::Audio, direction: Direction::Both },
        peer: PeerPlace::Local(None),
        framing: Framing::Channel,
        objective: Objective::default(),
        warm_up: Duration::ZERO,
        generator: Generator {
            threads: 2,
            sources: Vec::new(),
            segments: false,
            seed: 7,
            lab: Lab::default(),
        },
        nats: None,
    }
}

fn engine(plan: &Plan) -> Engine {
    Engine::new(plan, &plan.servers[0]).expect("loopback has all that it takes")
}

/// Holds [`CALLS`] and measures them.
fn measured(plan: &Plan) -> Step {
    let mut engine = engine(plan);
    let setup = engine.hold(CALLS, &mut looker()).expect("they come up");
    let ends = if plan.peer == PeerPlace::Relay { 2 } else { 1 };
    assert_eq!((setup.asked, setup.served), (u64::from(CALLS) * ends, u64::from(CALLS) * ends));
    assert!(setup.failures.is_empty(), "{:?}", setup.failures);
    assert_eq!([setup.allocate.count(), setup.binding.count(), setup.permit.count()], [setup.asked; 3]);
    let mut looker = looker();
    let step = engine.measure(LENGTH, &mut looker).expect("it goes through");
    assert_eq!((step.calls, looker.moments.len() >= 4), (CALLS, true));
    assert!(
        step.server.as_ref().is_some_and(|cost| cost.memory > 0 && cost.dropped == Some(0)),
        "{:?}",
        step.server
    );
    step
}

/// All that was sent came, once and in order.
fn is_whole(what: &str, flow: &Flow, sent: u64) {
    assert_eq!(flow.sent, sent, "{what}: {flow:?}");
    assert_eq!((flow.received, flow.lost, flow.duplicated), (sent, 0, 0), "{what}");
    assert_eq!((flow.received_bytes, flow.latency.count()), (flow.sent_bytes, sent), "{what}");
}

#[test]
fn every_packet_that_is_due_arrives_whatever_the_peer_the_framing_and_the_way() {
    let served = Served::start();
    let both = [Direction::Both, Direction::Up, Direction::Down];
    for (peer, framing, direction) in [PeerPlace::Local(None), PeerPlace::Relay]
        .into_iter()
        .flat_map(|peer| [Framing::Channel, Framing::Indication].map(|framing| (peer, framing)))
        .zip(both.into_iter().cycle())
        .map(|((peer, framing), direction)| (peer, framing, direction))
    {
        let mut plan = plan(&served, "password");
        (plan.peer, plan.framing, plan.traffic.direction) = (peer, framing, direction);
        let what = format!("{peer:?} {framing:?} {direction:?}");
        let step = measured(&plan);
        // 50 packets a second of each call, at moments that are known before.
        let each_way = u64::from(CALLS) * 50 * LENGTH.as_secs();
        let sent = |is: bool| if is { each_way } else { 0 };
        is_whole(&what, &step.up, sent(direction != Direction::Down));
        is_whole(&what, &step.down, sent(direction != Direction::Up));
        assert_eq!(step.strangers, 0, "{what}");
        let is_both = direction == Direction::Both;
        assert_eq!(step.round_trip.count() > 0, is_both, "{what}");
        assert!((step.offered * LENGTH.as_secs_f64() - (step.up.sent + step.down.sent) as f64).abs() < 1.0);
        assert_eq!(served.allocations_left(), 0.0, "{what}");
    }
}

#[test]
fn every_packet_arrives_by_every_carrier() {
    let served = Served::start();
    for (carrier, framing, peer) in [
        (Carrier::Tcp, Framing::Channel, PeerPlace::Local(None)),
        (Carrier::Tcp, Framing::Indication, PeerPlace::Relay),
        (Carrier::Tls, Framing::Channel, PeerPlace::Relay),
        (Carrier::LegacyUdp, Framing::Channel, PeerPlace::Local(None)),
        (Carrier::LegacyUdp, Framing::Indication, PeerPlace::Local(None)),
        (Carrier::LegacyUdp, Framing::Channel, PeerPlace::Relay),
        (Carrier::LegacyTcp, Framing::Channel, PeerPlace::Relay),
    ] {
        let what = format!("{carrier} {framing:?} {peer:?}");
        let mut plan = plan(&served, "password");
        plan.servers[0].carrier = carrier;
        plan.servers[0].trust = Trust::Anyone;
        (plan.framing, plan.peer) = (framing, peer);
        let mut engine = engine(&plan);
        let setup = engine.hold(CALLS, &mut looker()).unwrap_or_else(|fault| panic!("{what}: {fault}"));
        assert!(setup.failures.is_empty() && setup.asked == setup.served, "{what}: {setup:?}");
        assert_eq!(setup.connect.count() > 0, carrier.is_stream(), "{what}");
        let step = engine.measure(LENGTH, &mut looker()).expect("it goes through");
        let each_way = u64::from(CALLS) * 50 * LENGTH.as_secs();
        is_whole(&what, &step.up, each_way);
        is_whole(&what, &step.down, each_way);
        assert_eq!(step.strangers, 0, "{what}");
        drop(engine);
        assert_eq!(served.allocations_left(), 0.0, "{what}");
    }
}

#[test]
fn a_peer_elsewhere_sends_back_what_comes_and_each_way_is_counted() {
    let served = Served::start();
    let mut far = FarEnd::listen("127.0.0.1:0".parse().expect("an address")).expect("loopback is free");
    let at = far.local();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counts =
            scope.spawn(|| far.serve(|_| if done.load(Ordering::Relaxed) { GoOn::No } else { GoOn::Yes }));
        let mut plan = plan(&served, "password");
        plan.peer = PeerPlace::Remote(at);
        let mut engine = engine(&plan);
        engine.hold(CALLS, &mut looker()).expect("they come up");
        let step = engine.measure(LENGTH, &mut looker()).expect("it goes through");
        done.store(true, Ordering::Relaxed);
        let each_way = u64::from(CALLS) * 50 * LENGTH.as_secs();
        assert_eq!((step.up.sent, step.up.received, step.up.lost), (each_way, each_way, 0));
        assert_eq!((step.down.sent, step.down.received, step.down.lost), (each_way, each_way, 0));
        assert_eq!(step.round_trip.count(), each_way);
        let counts = counts.join().expect("no panic");
        assert!(counts.returned >= each_way && counts.strangers == 0, "{counts:?}");
    });
}

#[test]
fn bursts_arrive_whole_with_and_without_super_packets() {
    let served = Served::start();
    for (peer, segments) in
        [(PeerPlace::Local(None), true), (PeerPlace::Relay, true), (PeerPlace::Relay, false)]
    {
        let mut plan = plan(&served, "password");
        plan.peer = peer;
        plan.generator.segments = segments;
        plan.generator.threads = 1;
        plan.traffic.profile = Profile::Mixed;
        let step = measured(&plan);
        for flow in [&step.up, &step.down] {
            assert!(flow.sent > 20 * 2 * 200, "{flow:?}");
            assert_eq!((flow.received, flow.lost, flow.duplicated), (flow.sent, 0, 0), "{peer:?} {segments}");
            assert_eq!(flow.received_bytes, flow.sent_bytes);
        }
        assert_eq!(step.strangers, 0);
    }
}

/// Between two clients of the old dialect that came by connections the server has a connection too, by which bytes go: what a
/// burst, or a server that was elsewhere, joins there must come out as the packets that went in.
#[test]
fn bursts_arrive_whole_where_the_server_relays_bytes_and_no_packets() {
    let served = Served::start();
    for framing in [Framing::Channel, Framing::Indication] {
        let mut plan = plan(&served, "password");
        plan.servers[0].carrier = Carrier::LegacyTcp;
        (plan.framing, plan.peer, plan.traffic.profile) = (framing, PeerPlace::Relay, Profile::Mixed);
        let mut engine = engine(&plan);
        engine.hold(CALLS, &mut looker()).expect("they come up");
        let step = engine.measure(LENGTH, &mut looker()).expect("it goes through");
        for flow in [&step.up, &step.down] {
            assert!(flow.sent > 20 * 2 * 200, "{flow:?}");
            is_whole(&format!("{framing:?}"), flow, flow.sent);
        }
        assert_eq!(step.strangers, 0, "{framing:?}");
    }
}

#[test]
fn calls_are_added_and_let_go_and_nothing_is_left_behind() {
    let served = Served::start();
    let plan = plan(&served, "password");
    let mut engine = engine(&plan);
    for calls in [5, 30, 12, 0, 3] {
        engine.hold(calls, &mut looker()).expect("they come up");
        assert_eq!(served.allocations_become(calls), f64::from(calls));
    }
    let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
    assert_eq!((step.calls, step.up.sent, step.up.lost), (3, 150, 0));
    drop(engine);
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn churn_releases_everything_and_counts_its_cycles() {
    let served = Served::start();
    for peer in [PeerPlace::Local(None), PeerPlace::Relay] {
        let mut plan = plan(&served, "password");
        plan.peer = peer;
        let mut engine = engine(&plan);
        let before = served.metric("swingbridge_allocations_made_total");
        let step = engine.churn(8, None, Duration::from_secs(1), &mut looker()).expect("they come and go");
        assert_eq!(served.metric("swingbridge_allocations"), 0.0, "{peer:?}");
        let setup = &step.setup;
        assert!(setup.cycles > 20 && setup.failures.is_empty(), "{peer:?} {setup:?}");
        assert_eq!([setup.asked, setup.served], [setup.cycles; 2], "{peer:?}");
        // The first call, which went ahead alone.
        let ahead = if peer == PeerPlace::Relay { 2 } else { 1 };
        let made = served.metric("swingbridge_allocations_made_total") - before;
        assert_eq!(made, (setup.cycles + ahead) as f64, "{peer:?}");
        let step =
            engine.churn(8, Some(20.0), Duration::from_secs(1), &mut looker()).expect("they come and go");
        assert!((18..=24).contains(&step.setup.cycles), "{peer:?} {}", step.setup.cycles);
    }
}

#[test]
fn after_a_storm_all_are_back_and_in_the_end_nothing_is_left_behind() {
    let served = Served::start_with("allow = [\"127.0.0.1/32\"]", "allocations_per_user = 0");
    let mut plan = plan(&served, "password");
    plan.peer = PeerPlace::Relay;
    let mut engine = engine(&plan);
    engine.hold(CALLS, &mut looker()).expect("they come up");
    for _ in 0..2 {
        let setup = engine.storm(CALLS, &mut looker()).expect("they come back");
        assert_eq!((setup.asked, setup.served), (2 * u64::from(CALLS), 2 * u64::from(CALLS)));
    }
    // What the network lost is still there.
    assert_eq!(served.metric("swingbridge_allocations"), 3.0 * 2.0 * f64::from(CALLS));
    let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
    assert_eq!((step.up.sent, step.up.lost, step.down.lost), (1_000, 0, 0));
    drop(engine);
    assert_eq!(served.allocations_left(), 0.0);
}

/// Whoever was at its port before left without a word.
#[test]
fn a_port_that_the_server_takes_for_anothers_is_told_and_left_for_the_next() {
    let served = Served::start_with("allow = [\"127.0.0.1/32\"]", "allocations_per_user = 0");
    let mut plan = plan(&served, "password");
    // Other tests, at the same time, are at the ports of theirs.
    plan.generator.seed = 437;
    let mut before = engine(&plan);
    before.hold(CALLS, &mut looker()).expect("they come up");
    before.storm(1, &mut looker()).expect("it comes back");
    // The same seed, so the same ports.
    let mut engine = engine(&plan);
    let setup = engine.hold(CALLS, &mut looker()).expect("they come up");
    let told: Vec<_> = setup.failures.iter().map(|(words, count)| (words.as_str(), *count)).collect();
    let &[("Allocate 437", taken)] = &told[..] else { panic!("{told:?}") };
    // Some ports were passed over: there `before` is at work again.
    assert!((u64::from(CALLS) / 2..=u64::from(CALLS)).contains(&taken), "{taken}");
    assert_eq!((setup.asked, setup.served), (taken + u64::from(CALLS), u64::from(CALLS)));
    let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
    assert_eq!((step.calls, step.up.lost, step.strangers), (CALLS, 0, 0));
    drop((engine, before));
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn a_server_that_dies_is_loss_and_no_hang() {
    let mut served = Served::start();
    let plan = plan(&served, "password");
    let mut engine = engine(&plan);
    engine.hold(CALLS, &mut looker()).expect("they come up");
    served.kill();
    let began = Instant::now();
    let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
    assert_eq!((step.up.sent, step.up.received, step.up.lost), (1_000, 0, 1_000));
    assert_eq!((step.own.unsent, step.calls), (0, CALLS));
    let fault = {
        let mut plan = plan.clone();
        plan.servers[0].watch = None;
        let mut engine = Engine::new(&plan, &plan.servers[0]).expect("loopback has all that it takes");
        engine.hold(1, &mut looker()).expect_err("nobody is there")
    };
    assert_eq!(fault.kind, FaultKind::Server);
    assert!(fault.what.starts_with("nobody listens for UDP at 127.0.0.1:"), "{fault}");
    drop(engine);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_refusal_is_a_plain_sentence_with_a_cure() {
    let served = Served::start_with("", "allocations_per_user = 4");
    let fault = |plan: &Plan| engine(plan).hold(CALLS, &mut looker()).expect_err("refused");
    let credentials = fault(&plan(&served, "wrong"));
    assert_eq!(credentials.kind, FaultKind::Request);
    assert!(credentials.what.ends_with("refuses these credentials (401)"), "{credentials}");
    let peer = fault(&plan(&served, "password"));
    assert_eq!(peer.kind, FaultKind::Request);
    let cure = peer.cure.as_deref().unwrap_or_default();
    assert!(peer.what.contains("the peer 127.0.0.1 (403)"), "{peer}");
    assert!(cure.contains("allow = [\"127.0.0.1/32\"]") && cure.contains("--peer relay"), "{peer}");
    assert_eq!(served.allocations_left(), 0.0);
    // Some of many is no fault: it is counted.
    let mut relay = plan(&served, "password");
    relay.peer = PeerPlace::Relay;
    let mut engine = engine(&relay);
    let setup = engine.hold(CALLS, &mut looker()).expect("two calls fit");
    assert_eq!(setup.failures.keys().collect::<Vec<_>>(), ["Allocate 486"]);
    assert!(setup.failures["Allocate 486"] >= 18, "{:?}", setup.failures);
    let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
    assert!(step.calls >= 1 && step.up.lost == 0 && step.up.sent == u64::from(step.calls) * 50);
}

#[test]
fn whoever_has_seen_enough_ends_a_step_early_with_what_there_is() {
    let served = Served::start();
    let plan = plan(&served, "password");
    let mut engine = engine(&plan);
    engine.hold(CALLS, &mut looker()).expect("they come up");
    let began = Instant::now();
    let mut looker = Looker { moments: Vec::new(), until: Some(began + Duration::from_millis(900)) };
    let step = engine.measure(Duration::from_secs(600), &mut looker).expect("it goes through");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(step.length < Duration::from_secs(30) && step.up.sent > 0);
    let offered = (step.offered * step.length.as_secs_f64()) as u64;
    let sent = step.up.sent + step.down.sent;
    assert!(sent.abs_diff(offered) <= 2 * u64::from(CALLS), "{sent} of {offered}");
    drop(engine);
    assert_eq!(served.allocations_left(), 0.0);
}
