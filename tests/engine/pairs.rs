//! Pairs of ICE agents through the program.

use std::net::UdpSocket;
use std::time::Duration;

use swingbridge::load::Fault;
use swingbridge::load::Plan;
use swingbridge::load::Rig as _;
use swingbridge::load::fault::FaultKind;
use swingbridge::load::outcome::IceOutcome;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Trust;

use super::engine;
use super::looker;
use super::plan;
use super::served::Served;

const PAIRS: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(15);

fn found(plan: &Plan, relay_only: bool, patience: Duration) -> Result<IceOutcome, Fault> {
    engine(plan).ice(PAIRS, 100.0, relay_only, patience, &mut looker())
}

#[test]
fn every_pair_connects_by_relays_over_every_carrier_and_leaves_nothing_behind() {
    let served = Served::start();
    for (carrier, kinds) in [
        (Carrier::Udp, "relay/udp-relay/udp"),
        (Carrier::Tcp, "relay/tcp-relay/tcp"),
        (Carrier::Tls, "relay/tls-relay/tls"),
    ] {
        let mut plan = plan(&served, "password");
        plan.servers[0].carrier = carrier;
        plan.servers[0].trust = Trust::Anyone;
        let outcome = found(&plan, true, PATIENCE).expect("it goes through");
        let pairs = u64::from(PAIRS);
        assert_eq!((outcome.pairs, outcome.connected), (pairs, pairs), "{:?}", outcome.failures);
        assert_eq!(outcome.by_kind.get(kinds), Some(&pairs), "{:?}", outcome.by_kind);
        assert_eq!((outcome.time.count(), outcome.gathering.count()), (pairs, 2 * pairs));
        assert_eq!(served.allocations_left(), 0.0);
    }
}

#[test]
fn with_all_candidates_neighbours_need_no_relay() {
    let served = Served::start();
    let outcome = found(&plan(&served, "password"), false, PATIENCE).expect("it goes through");
    assert_eq!(outcome.by_kind.get("host-host"), Some(&u64::from(PAIRS)), "{:?}", outcome.by_kind);
    assert_eq!(served.allocations_left(), 0.0);
}

#[test]
fn pairs_that_cannot_connect_tell_why() {
    let served = Served::start();
    let refused = found(&plan(&served, "wrong"), true, PATIENCE).expect_err("nobody is let in");
    assert_eq!(refused.kind, FaultKind::Request);
    assert!(refused.what.contains("401"), "{refused}");

    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port of loopback");
    let mut plan = plan(&served, "password");
    plan.servers[0].address = silent.local_addr().expect("it is bound");
    let unheard = found(&plan, true, Duration::from_secs(1)).expect_err("nobody answers");
    assert_eq!(unheard.kind, FaultKind::Server);
    assert!(unheard.what.contains("does not answer"), "{unheard}");

    plan.servers[0].carrier = Carrier::LegacyUdp;
    let old = found(&plan, true, PATIENCE).expect_err("no agent speaks it");
    assert_eq!(old.kind, FaultKind::Request);
}

#[test]
fn where_the_users_quota_ends_some_pairs_fail_by_its_code() {
    let served = Served::start_with("allow = [\"127.0.0.1/32\"]", "allocations_per_user = 11");
    let outcome = found(&plan(&served, "password"), true, PATIENCE).expect("some connect");
    assert!((1..=5).contains(&outcome.connected), "{}", outcome.connected);
    let failed = u64::from(PAIRS) - outcome.connected;
    assert_eq!(outcome.failures.get("Allocate 486"), Some(&failed), "{:?}", outcome.failures);
    assert_eq!(served.allocations_left(), 0.0);
}
