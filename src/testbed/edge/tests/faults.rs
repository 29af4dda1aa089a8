//! Each scenario of `conf/testbed/faults/`: our client does what the file expects of it, and a wrong one does not.

use super::bench::Bench;
use super::bench::Wrong;
use crate::testbed::edge::Judgement;
use crate::testbed::scenario::Scenarios;

/// Each scenario, and the clients that must fail it.
const TABLE: [(&str, &[Wrong]); 20] = [
    ("address-change", &[Wrong::DeafToMismatch]),
    ("capacity", &[Wrong::Hammers]),
    ("corrupt-answer", &[Wrong::TrustsAnybody, Wrong::NeverRepeats]),
    ("delay-answer", &[Wrong::Impatient]),
    ("drop-answer", &[Wrong::NeverRepeats]),
    ("forbidden", &[Wrong::Hammers]),
    ("mismatch", &[Wrong::Hammers]),
    ("mtu-black-hole", &[Wrong::LongRequests]),
    ("new-realm", &[Wrong::KeepsRealm]),
    ("port-change", &[Wrong::RunsAway]),
    ("quota", &[Wrong::Hammers]),
    ("redirect", &[Wrong::DeafToRedirects]),
    ("redirect-loop", &[Wrong::FollowsForever]),
    ("relay-vanishes", &[Wrong::DeafToMismatch]),
    ("server-restart", &[Wrong::DeafToMismatch, Wrong::DeafToStaleNonce]),
    ("short-lifetime", &[Wrong::IgnoresLifetime]),
    ("stale-nonce", &[Wrong::KeepsNonce]),
    ("stale-nonce-storm", &[Wrong::AsksForever]),
    ("wrong-credentials", &[Wrong::Hammers]),
    ("wrong-mac", &[Wrong::TrustsAnybody, Wrong::NeverRepeats]),
];

#[test]
fn our_client_does_what_each_scenario_expects() {
    let mut failures = Vec::new();
    for (scenario, _) in TABLE {
        let bench = Bench::play(scenario, Wrong::Nothing);
        if bench.judgement() != Judgement::Kept {
            let notes: Vec<String> = bench.notes.iter().map(ToString::to_string).collect();
            failures.push(format!(
                "{scenario}: {:?}\n  {}\n{:?}",
                bench.judgement(),
                notes.join("\n  "),
                bench.events
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_client_without_the_rule_fails() {
    let mut failures = Vec::new();
    for (scenario, clients) in TABLE {
        for wrong in clients {
            let bench = Bench::play(scenario, *wrong);
            if !matches!(bench.judgement(), Judgement::Broken(_)) {
                let notes: Vec<String> = bench.notes.iter().map(ToString::to_string).collect();
                failures.push(format!(
                    "{scenario} {wrong:?}: {:?}\n  {}",
                    bench.judgement(),
                    notes.join("\n  ")
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_request_that_was_refused_is_refused_again_when_it_is_repeated() {
    for scenario in ["quota", "capacity", "new-realm", "wrong-credentials", "mismatch"] {
        let bench = Bench::play(scenario, Wrong::ComesTwice);
        let notes: Vec<String> = bench.notes.iter().map(ToString::to_string).collect();
        assert_eq!(bench.judgement(), Judgement::Kept, "{scenario}: {}", notes.join("\n  "));
    }
}

#[test]
fn each_scenario_has_its_row() {
    let all = Scenarios::built_in();
    let names: Vec<&str> = all.named.keys().map(|name| &**name).collect();
    assert_eq!(names, TABLE.map(|(name, _)| name));
}
