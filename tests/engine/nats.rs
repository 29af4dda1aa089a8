//! Pairs of ICE agents between NATs through the program: how each pair of places ends, against what the standards say.

use std::time::Duration;

use swingbridge::load::Engine;
use swingbridge::load::Fault;
use swingbridge::load::Plan;
use swingbridge::load::Rig as _;
use swingbridge::load::fault::FaultKind;
use swingbridge::load::nats::Nats;
use swingbridge::load::outcome;
use swingbridge::load::outcome::IceOutcome;
use swingbridge::load::outcome::NatOutcome;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Mode;
use swingbridge::load::plan::Proxy;
use swingbridge::load::plan::Server;
use swingbridge::load::plan::Trust;
use swingbridge::place::Place;
use swingbridge::place::Relay;
use swingbridge::place::Verdict;
use swingbridge::proto::client::HttpProxy;
use swingbridge::testbed::proxy::Rules;

use super::engine;
use super::lab_proxy::LabProxy;
use super::lab_proxy::Pace;
use super::looker;
use super::plan;
use super::served::Served;

/// Nobody waits for the end of it where all is well.
const PATIENCE: Duration = Duration::from_secs(30);
/// On loopback nothing is lost: what can become direct does so at once.
const SETTLING: Duration = Duration::from_secs(3);
/// The server's own address is allowed by itself.
const ALLOW: &str = "allow = [\"127.0.0.0/8\", \"127.0.0.1/32\"]";
const LIMITS: &str = "allocations_per_user = 0\nallocations_per_address = 0";

const CONE: Place = Place::FullCone;
const ADDRESS: Place = Place::AddressRestricted;
const PORT: Place = Place::PortRestricted;
const SYMMETRIC: Place = Place::Symmetric;
const RELAYED: Verdict = Verdict::Relayed(Relay::Udp);

/// A load of pairs between these places, by UDP, TCP and TLS, and `more`.
fn between(served: &Served, places: &[[Place; 2]], more: &[Server]) -> Plan {
    let mut plan = plan(served, "password");
    let by = |carrier| Server { carrier, trust: Trust::Anyone, watch: None, ..plan.servers[0].clone() };
    let mut ways = vec![by(Carrier::Tcp), by(Carrier::Tls)];
    ways.extend_from_slice(more);
    plan.nats = Some(Nats { places: places.to_vec(), ways, settling: SETTLING, is_unfiltered: false });
    plan
}

/// So many rounds of all pairs.
fn found(plan: &Plan, rounds: usize) -> Result<IceOutcome, Fault> {
    let pairs = plan.nats.as_ref().map_or(0, |nats| nats.places.len()) * rounds;
    let pairs = u32::try_from(pairs).expect("a few");
    engine(plan).ice(pairs, 8.0, false, PATIENCE, &mut looker())
}

fn all_ended(outcome: &NatOutcome, verdict: Verdict, count: u64) {
    let ended: Vec<_> = outcome.ended.iter().map(|(verdict, count)| (*verdict, *count)).collect();
    let what = format!("{:?}: {:?}", outcome.places, outcome.failures);
    assert_eq!((outcome.expected, ended), (verdict, vec![(verdict, count)]), "{what}");
    let connected = if verdict == Verdict::Failed { 0 } else { count };
    assert_eq!(
        (outcome.tried(), outcome.connected(), outcome.as_expected(), outcome.time.count()),
        (count, connected, count, connected),
        "{what}"
    );
}

#[test]
fn pairs_between_nats_end_as_the_standards_have_it_and_share_the_load() {
    let served = Served::start_with(ALLOW, LIMITS);
    let lab = LabProxy::start(Rules { login: None, ports: vec![] }, Pace::Whole);
    let url = HttpProxy::parse(&format!("http://{}", lab.address)).expect("a proxy");
    let proxied = Server {
        carrier: Carrier::Tls,
        trust: Trust::Anyone,
        proxy: Some(Proxy { url, address: lab.address }),
        ..plan(&served, "password").servers[0].clone()
    };
    let cases = [
        ([Place::Open, Place::Open], Verdict::Direct),
        ([CONE, CONE], Verdict::Direct),
        ([PORT, PORT], Verdict::Direct),
        ([Place::Cgn, ADDRESS], Verdict::Direct),
        ([SYMMETRIC, ADDRESS], Verdict::Direct),
        ([Place::Open, SYMMETRIC], Verdict::Direct),
        ([SYMMETRIC, SYMMETRIC], RELAYED),
        ([PORT, SYMMETRIC], RELAYED),
        ([Place::UdpBlocked, CONE], Verdict::Relayed(Relay::Tcp)),
        ([SYMMETRIC, Place::UdpBlocked], Verdict::Relayed(Relay::Tcp)),
        ([Place::HttpProxy, Place::UdpBlocked], Verdict::Relayed(Relay::Proxy)),
    ];
    let plan = between(&served, &cases.map(|(places, _)| places), &[proxied]);
    let outcome = found(&plan, 2).expect("it goes through");
    assert_eq!(outcome.nats.len(), cases.len());
    for (found, (places, verdict)) in outcome.nats.iter().zip(cases) {
        assert_eq!(found.places, places);
        all_ended(found, verdict, 2);
    }
    assert_eq!((outcome.pairs, outcome.connected), (22, 22));
    assert!(lab.tunnels() >= 2);
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn a_place_without_a_way_fails_as_it_has_to_and_is_no_failure_of_the_run() {
    let served = Served::start_with(ALLOW, LIMITS);
    // The server is at no port 443.
    let mut plan = between(&served, &[[Place::Only443, Place::Open], [Place::Open, Place::Open]], &[]);
    plan.mode = Mode::Ice { pairs: 4, rate: 20.0, relay_only: false, patience: Duration::from_secs(2) };
    let report = swingbridge::load::run(plan, Engine::new, &mut looker()).expect("it goes through");
    let ice = report.sides[0].ice.as_ref().expect("it was of agents");
    all_ended(&ice.nats[0], Verdict::Failed, 2);
    all_ended(&ice.nats[1], Verdict::Direct, 2);
    assert_eq!(report.verdict, outcome::Verdict::Met);
    assert!(
        report.notes.iter().any(|note| note.starts_with("only-443 is let out to none")),
        "{:?}",
        report.notes
    );
    let text = swingbridge::load::report::text(&report, false);
    assert!(text.contains("met: pairs ended as the standards have it"), "{text}");
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn a_nat_without_its_filter_is_found_out() {
    let served = Served::start_with(ALLOW, LIMITS);
    let mut plan = between(&served, &[[PORT, SYMMETRIC], [CONE, CONE]], &[]);
    plan.nats.as_mut().expect("it has NATs").is_unfiltered = true;
    let outcome = found(&plan, 3).expect("it goes through");
    let [wrong, right] = &outcome.nats[..] else { panic!("two were asked for") };
    assert_eq!((wrong.expected, wrong.ended.get(&Verdict::Direct)), (RELAYED, Some(&3)), "{:?}", wrong.ended);
    assert_eq!((wrong.tried(), wrong.connected(), wrong.as_expected()), (3, 3, 0));
    all_ended(right, Verdict::Direct, 3);
}

#[test]
fn a_server_that_forbids_peers_on_loopback_is_told_with_the_cure() {
    let served = Served::start_with("deny = [\"127.0.0.0/8\", \"127.0.0.1/32\"]", LIMITS);
    let fault = found(&between(&served, &[[SYMMETRIC, SYMMETRIC]], &[]), 2);
    let fault = fault.map(drop).expect_err("no way leads through");
    assert_eq!(fault.kind, FaultKind::Request);
    let cure = fault.cure.clone().unwrap_or_default();
    assert!(fault.what.contains("(403)") && cure.contains("\"127.0.0.0/8\", \"127.0.0.1/32\""), "{fault}");
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_begun() {
    let served = Served::start();
    let mut plan = between(&served, &[[CONE, CONE]], &[]);
    let relays = engine(&plan).ice(1, 1.0, true, PATIENCE, &mut looker()).expect_err("no");
    assert!(relays.kind == FaultKind::Request && relays.what.contains("all their candidates"), "{relays}");
    plan.servers[0].address = "192.0.2.1:3478".parse().expect("an address");
    let far = Engine::new(&plan, &plan.servers[0]).map(drop).expect_err("the NATs are not there");
    assert!(far.kind == FaultKind::Request && far.what.contains("loopback"), "{far}");
}
