//! A server that sends clients to another address (RFC 8489 § 10), judged by the call that comes of it.

use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::edge::Kind;
use crate::testbed::scenario::Scenarios;

use super::Outcome;
use super::Plan;
use super::call;

/// A call that only a relay can carry, with a server that does this to both sides.
fn befallen(scenario: &str, seed: u64) -> Outcome {
    let mut plan = Plan::new(Place::Symmetric, Place::Symmetric, seed);
    plan.scenarios = Scenarios::built_in();
    plan.users = ["left", "right"].map(|side| format!("{scenario}.{side}"));
    call(&plan)
}

#[test]
fn an_agent_is_relayed_by_the_address_that_it_is_sent_to() {
    for seed in 1..=3 {
        let outcome = befallen("redirect", seed);
        assert_eq!(outcome.run.verdict, Verdict::Relayed(Relay::Udp), "{seed}: {:?}", outcome.notes);
        assert_eq!(outcome.relays, 0, "{seed}: what it got there is given back");
    }
}

#[test]
fn an_agent_goes_round_no_loop() {
    let outcome = befallen("redirect-loop", 1);
    assert_eq!(outcome.run.verdict, Verdict::Failed);
    let asked = outcome.notes.iter().filter(|note| note.kind == Kind::Request && note.words == "allocate");
    // Of each side: over UDP two at each of four addresses at the most, over TCP and TLS at one.
    assert!((4..=24).contains(&asked.count()), "{:?}", outcome.notes);
}
