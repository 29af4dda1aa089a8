//! A relayed port that changes in mid-call, judged by what ICE makes of it: who sends to the old one loses consent within 30 s
//! (RFC 7675 § 5.1), stops sending there, and ends or takes another pair.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ice::Event;
use crate::ice::Failure;
use crate::testbed::Place;
use crate::testbed::edge::Kind;
use crate::testbed::record::Point;
use crate::testbed::scenario::Scenario;
use crate::testbed::scenario::Scenarios;

use super::Outcome;
use super::Plan;
use super::call;

/// What a client may take until it stops: RFC 7675 § 5.1.
const CONSENT: Duration = Duration::from_secs(30);
/// What had left before may yet be on its way.
const ON_THE_WAY: Duration = Duration::from_millis(200);

const MOVES: &str = r#"
about = "In mid-call the relayed port is another one."
[[fault]]
when = { after = "10s", since = "media" }
do = "move-port"
"#;

const NO_RELAY: &str = r#"
about = "Nobody gets a relay."
[[fault]]
when = { request = "allocate", times = "all" }
do = { error = 508 }
"#;

/// A call whose left side has a relay alone, the port of which changes; the right side has none where `is_alone`.
fn moved(is_alone: bool, ignores: bool, seed: u64) -> Outcome {
    let mut plan = Plan::new(Place::UdpBlocked, Place::PortRestricted, seed);
    let mut scenarios = Scenarios::default();
    for (name, text) in [("moves", MOVES), ("no-relay", NO_RELAY)] {
        let scenario = Scenario::parse(name, name, text).expect("it is written here");
        scenarios.named.insert(name.into(), Arc::new(scenario));
    }
    plan.scenarios = scenarios;
    plan.users =
        ["moves.left".to_owned(), if is_alone { "no-relay.right".to_owned() } else { "right".to_owned() }];
    plan.media = Duration::from_secs(90);
    plan.records = true;
    plan.ignores_consent = ignores;
    call(&plan)
}

/// When the port changed, and which it was, of each.
fn changes(outcome: &Outcome) -> Vec<(Duration, SocketAddr)> {
    let faults = outcome.notes.iter().filter(|note| note.kind == Kind::Fault);
    let changes = faults.filter_map(|note| {
        let (_, before) = note.words.split_once(" now, and was ")?;
        Some((Duration::from_millis(note.at.as_millis()), before.parse().ok()?))
    });
    changes.collect()
}

/// What the right side still sent to the old ports when its consent was over.
fn sent_without_consent(outcome: &Outcome) -> usize {
    let changes = changes(outcome);
    assert!(!changes.is_empty(), "no port has changed: {:?}", outcome.notes);
    let is_late = |at: Duration, to: SocketAddr| {
        changes.iter().any(|(since, old)| *old == to && at > *since + CONSENT + ON_THE_WAY)
    };
    let sent = outcome.sightings.iter().filter(|sighting| sighting.point == Point::RightOutside);
    let data = sent.filter(|sighting| sighting.bytes.starts_with(b"SB"));
    data.filter(|sighting| is_late(sighting.at, sighting.destination)).count()
}

#[test]
fn who_sends_to_the_old_port_loses_consent_within_30_seconds_and_stops() {
    for seed in 1..=3 {
        let outcome = moved(true, false, seed);
        assert_eq!(sent_without_consent(&outcome), 0, "seed {seed}");
        let (changed, _) = changes(&outcome)[0];
        let lost = outcome.events[1].iter().find(|(_, event)| matches!(event, Event::Failed(_)));
        let Some((at, Event::Failed(why))) = lost else { panic!("seed {seed}: {:?}", outcome.events[1]) };
        assert_eq!(*why, Failure::ConsentLost, "seed {seed}");
        assert!(*at > changed && *at <= changed + CONSENT + ON_THE_WAY, "seed {seed}: {changed:?} {at:?}");
    }
}

#[test]
fn who_has_another_pair_takes_it() {
    let outcome = moved(false, false, 4);
    assert_eq!(sent_without_consent(&outcome), 0);
    let (changed, _) = changes(&outcome)[0];
    let switched =
        outcome.events[1].iter().find(|(at, event)| matches!(event, Event::Switched(_)) && *at > changed);
    let failed = outcome.events[1].iter().find(|(_, event)| matches!(event, Event::Failed(_)));
    assert!(switched.or(failed).is_some_and(|(at, _)| *at <= changed + CONSENT + ON_THE_WAY));
}

#[test]
fn a_client_without_the_rule_is_found_out() {
    let outcome = moved(true, true, 1);
    let failed = outcome.events[1].iter().any(|(_, event)| matches!(event, Event::Failed(_)));
    assert!(!failed && sent_without_consent(&outcome) > 50, "{:?}", outcome.events[1]);
}
