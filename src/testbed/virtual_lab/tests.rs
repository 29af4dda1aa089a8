//! The laboratory as a whole: verdicts that follow from the standards, and runs that repeat.

use std::time::Duration;

use super::*;
use crate::ice::Event;
use crate::ice::Policy;
use crate::proto::client::ProxyLogin;
use crate::proto::client::Reach;
use crate::proto::client::Seen;
use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::expected;
use crate::testbed::report::Run;

/// Every pair of places, each side once at the left and once at the right.
fn pairs() -> impl Iterator<Item = (Place, Place)> {
    Place::ALL.into_iter().flat_map(|left| Place::ALL.map(|right| (left, right)))
}

fn told(run: &Run) -> String {
    let (left, right, seed) = (run.left, run.right, run.seed);
    format!(
        "{left} calls {right}, seed {seed}: {}, expected {:?}, {:?}",
        run.verdict, run.expected, run.notes
    )
}

/// Of these pairs those whose verdict is not as it has to be.
fn deviations(
    pairs: impl Iterator<Item = (Place, Place)>,
    seeds: std::ops::Range<u64>,
    loss_ppm: u32,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (left, right) in pairs {
        for seed in seeds.clone() {
            let mut plan = Plan { media: Duration::from_secs(3), ..Plan::new(left, right, seed) };
            plan.links.iter_mut().for_each(|link| link.loss_ppm = loss_ppm);
            let run = call(&plan).run;
            assert_eq!(run.expected, Some(expected(left, right)));
            if !run.is_as_expected() {
                wrong.push(told(&run));
            }
        }
    }
    wrong
}

#[test]
fn every_pair_of_places_meets_as_the_standards_say() {
    let wrong = deviations(pairs(), 1..2, 0);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn so_it_is_where_a_tenth_is_lost() {
    let wrong = deviations(pairs().filter(|(left, right)| left <= right), 7..8, 100_000);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_call_repeats_to_the_byte_and_another_seed_is_another_call() {
    let plan = |seed| {
        let mut plan = Plan::new(Place::Symmetric, Place::HttpProxy, seed);
        plan.records = true;
        for link in &mut plan.links {
            (link.loss_ppm, link.reorder_ppm, link.duplication_ppm) = (50_000, 20_000, 20_000);
            link.jitter = Duration::from_millis(9);
        }
        call(&plan)
    };
    let (one, again, other) = (plan(5), plan(5), plan(6));
    assert_eq!(one.digest, again.digest);
    assert_eq!(one.run, again.run);
    assert_eq!(one.sightings, again.sightings);
    assert!(!one.sightings.is_empty());
    assert_eq!(format!("{:?}", one.events), format!("{:?}", again.events));
    assert_ne!(one.digest, other.digest);
    let ask =
        |seed| matrix(&Ask { places: vec![Place::Cgn, Place::Only443], seed, seeds: 2, link: plan_link() });
    assert_eq!(crate::testbed::report::json(&ask(1)), crate::testbed::report::json(&ask(1)));
}

fn plan_link() -> crate::testbed::scenario::Link {
    Plan::new(Place::Open, Place::Open, 0).links[0]
}

#[test]
fn what_is_recorded_changes_nothing() {
    let mut plan = Plan::new(Place::Cgn, Place::Symmetric, 3);
    let without = call(&plan);
    plan.records = true;
    let with = call(&plan);
    assert_eq!((without.digest, without.run), (with.digest, with.run));
    assert!(without.sightings.is_empty());
}

#[test]
fn media_is_counted_by_the_pair_that_it_went_by() {
    for (left, right) in [(Place::PortRestricted, Place::Cgn), (Place::UdpBlocked, Place::Symmetric)] {
        let plan = Plan::new(left, right, 4);
        let run = call(&plan).run;
        let pair = run.traffic.iter().max_by_key(|pair| pair.from_left.packets).unwrap();
        assert_eq!(pair.route, run.verdict, "{}", told(&run));
        // One in 20 ms, both ways, for as long as media flows.
        for flow in [pair.from_left, pair.from_right] {
            assert!((230..=400).contains(&flow.packets), "{flow:?}");
            assert_eq!(flow.bytes, 160 * flow.packets);
        }
        for end in [pair.left, pair.right] {
            let ip = end.address.unwrap().ip().to_string();
            assert!(ip.starts_with("203.0.113.") || ip == "198.51.100.1", "{end}");
        }
    }
}

#[test]
fn a_slow_and_crooked_link_carries_a_call() {
    for (left, right) in [
        (Place::Symmetric, Place::Symmetric),
        (Place::Only443, Place::Cgn),
        (Place::FullCone, Place::HttpProxy),
    ] {
        let mut plan = Plan::new(left, right, 11);
        for link in &mut plan.links {
            link.rate = Some(512_000);
            (link.delay, link.jitter) = (Duration::from_millis(90), Duration::from_millis(40));
            (link.reorder_ppm, link.duplication_ppm, link.loss_ppm) = (30_000, 30_000, 10_000);
        }
        let run = call(&plan).run;
        assert!(run.is_as_expected(), "{}", told(&run));
    }
}

#[test]
fn the_proxy_wants_a_proof_and_lets_nobody_else_in() {
    let mut plan = Plan::new(Place::HttpProxy, Place::Open, 2);
    plan.login = ProxyLogin::new("alice", "wonderland");
    plan.proxy = plan.login.clone();
    let run = call(&plan).run;
    assert_eq!(run.verdict, Verdict::Relayed(Relay::Proxy), "{}", told(&run));
    plan.proxy = ProxyLogin::new("alice", "looking glass");
    assert_eq!(call(&plan).run.verdict, Verdict::Failed, "the proxy knows another password");
}

#[test]
fn relay_only_agents_are_relayed_wherever_they_stand() {
    let mut plan = Plan::new(Place::Open, Place::FullCone, 9);
    plan.policies = [Policy::RelayOnly; 2];
    assert_eq!(call(&plan).run.verdict, Verdict::Relayed(Relay::Udp));
}

#[test]
fn when_a_call_is_over_the_server_has_everything_back() {
    for (left, right) in [(Place::Open, Place::Symmetric), (Place::UdpBlocked, Place::HttpProxy)] {
        let outcome = call(&Plan::new(left, right, 1));
        for events in &outcome.events {
            assert!(matches!(events.last(), Some((_, Event::Closed { .. }))), "{events:?}");
        }
        assert_eq!(outcome.relays, 0, "{left} {right}");
    }
}

#[test]
fn our_client_finds_out_what_stands_before_it() {
    let link = plan_link();
    let lossy = crate::testbed::scenario::Link { loss_ppm: 20_000, ..link };
    for place in Place::ALL {
        let found = discover(place, link, 1);
        assert_eq!(found.mapped.is_some(), place.has_udp(), "{place}");
        let seen = (found.reach, found.nat, found.mapping, found.filtering, found.hairpin);
        assert_eq!(seen, what_it_is(place), "{place}");
        let found = discover(place, lossy, 2);
        let seen = (found.reach, found.nat, found.mapping, found.filtering, found.hairpin);
        assert_eq!(seen, what_it_is(place), "{place} with losses");
    }
}

type Known = (Reach, Option<bool>, Option<Seen>, Option<Seen>, Option<bool>);

/// What the glossary of RFC 4787 says of a place.
fn what_it_is(place: Place) -> Known {
    let cone =
        |filtering| (Reach::Full, Some(true), Some(Seen::EndpointIndependent), Some(filtering), Some(true));
    match place {
        Place::Open => (Reach::Full, Some(false), None, Some(Seen::EndpointIndependent), None),
        Place::FullCone => cone(Seen::EndpointIndependent),
        Place::AddressRestricted => cone(Seen::AddressDependent),
        Place::PortRestricted | Place::Cgn => cone(Seen::AddressAndPortDependent),
        Place::Symmetric => {
            let dependent = Some(Seen::AddressAndPortDependent);
            (Reach::Full, Some(true), dependent, dependent, None)
        }
        Place::UdpBlocked | Place::Only443 | Place::HttpProxy => (Reach::Silent, None, None, None, None),
    }
}

#[test]
fn the_manual_expects_what_the_code_expects() {
    let manual = include_str!("../../../docs/testbed.md");
    let name = |cell: &str| cell.trim().trim_matches('`').parse::<Place>().ok();
    let (mut columns, mut seen) = (Vec::new(), 0);
    for line in manual.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        if cells[0].contains("left \\ right") {
            columns = cells[1..].iter().filter_map(|cell| name(cell)).collect();
        } else if let (Some(left), 10) = (name(cells[0]), cells.len()) {
            for (right, cell) in columns.iter().zip(&cells[1..]) {
                let told = match cell.trim() {
                    "direct" => Verdict::Direct,
                    "udp" => Verdict::Relayed(Relay::Udp),
                    "tcp" => Verdict::Relayed(Relay::Tcp),
                    "tls" => Verdict::Relayed(Relay::Tls),
                    "proxy" => Verdict::Relayed(Relay::Proxy),
                    other => panic!("{other}"),
                };
                assert_eq!(told, expected(left, *right), "{left} calls {right}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 81);
}
