//! What the control task tells a worker, and how it comes to its end.

use std::io::ErrorKind;
use std::sync::Arc;

use swingbridge::net::BindCause;
use swingbridge::proto::media::Counters;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::relay;
use swingbridge::relay::Report;
use swingbridge::relay::StartError;
use swingbridge::relay::ToWorker;
use swingbridge::ring::Wake;

use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::config;
use crate::plane::eventually;

fn any() -> RelayAddr {
    RelayAddr::new("127.0.0.1:0".parse().expect("a literal"))
}

fn opened(report: Report) -> RelayAddr {
    match report {
        Report::Opened { bound, .. } => bound,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_port_that_is_taken_is_reported_failed_and_free_after_close() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let (one, two) = (plane.next_relay(), plane.next_relay());
    plane.push(0, ToWorker::Open { relay: one, bind: any() });
    let bind = opened(plane.report(0));
    plane.push(0, ToWorker::Open { relay: two, bind });
    match plane.report(0) {
        Report::Failed { relay, error } => {
            assert_eq!((relay, error.kind()), (two, ErrorKind::AddrInUse));
        }
        other => panic!("{other:?}"),
    }
    // In one go: the ring's order is the order of effects.
    plane.push(0, ToWorker::Close { relay: one });
    plane.push(0, ToWorker::Open { relay: two, bind });
    assert!(matches!(plane.report(0), Report::Closed { relay, .. } if relay == one));
    assert_eq!(opened(plane.report(0)), bind);
    assert_eq!(plane.stats(0).relay_sockets.get(), 1);
}

#[test]
fn closing_what_was_never_opened_is_reported_with_nothing_carried() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    for relay in [RelayId { index: 5, generation: 1 }, RelayId { index: u32::MAX, generation: 1 }] {
        plane.push(0, ToWorker::Close { relay });
        match plane.report(0) {
            Report::Closed { relay: closed, counters } => {
                assert_eq!((closed, counters), (relay, Counters::default()));
            }
            other => panic!("{other:?}"),
        }
    }
}

// proves rfc8656:6-6
#[test]
fn after_close_neither_the_old_peer_nor_the_old_client_gets_through_to_the_successor() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), server);
    let old = plane.open(&client, peer.address());
    assert!(matches!(plane.close(&old), Report::Closed { .. }));
    let successor = RelayId { generation: old.relay.generation + 1, ..old.relay };
    plane.push(0, ToWorker::Open { relay: successor, bind: RelayAddr::new(old.relayed) });
    assert_eq!(opened(plane.report(0)).socket(), old.relayed);
    peer.send_to(b"for the old one", old.relayed);
    client.send(&message::channel_data(CHANNEL, b"from the old one"));
    assert!(client.hears_nothing() && peer.hears_nothing());
}

#[test]
fn more_commands_than_one_round_takes_are_all_carried_out_in_order() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let relays: Vec<_> = (0..300).map(|_| plane.next_relay()).collect();
    for relay in &relays {
        plane.push(0, ToWorker::Open { relay: *relay, bind: any() });
    }
    for expected in &relays {
        assert!(matches!(plane.report(0), Report::Opened { relay, .. } if relay == *expected));
    }
    for relay in &relays {
        plane.push(0, ToWorker::Close { relay: *relay });
    }
    for expected in &relays {
        assert!(matches!(plane.report(0), Report::Closed { relay, .. } if relay == *expected));
    }
    assert_eq!(plane.stats(0).relay_sockets.get(), 0);
}

#[test]
fn a_worker_that_is_stopped_is_seen_to_be_gone_and_the_other_goes_on() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    plane.push(0, ToWorker::Stop);
    eventually("the end of worker 0", || plane.handles[0].is_finished().then_some(()));
    assert!(plane.handles[0].commands.is_abandoned());
    let relay = plane.next_relay();
    plane.push(1, ToWorker::Open { relay, bind: any() });
    opened(plane.report(1));
    assert!(!plane.handles[1].is_finished());
}

#[test]
fn what_stands_before_a_stop_is_done_and_joining_frees_the_listeners() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let server = plane.server(0).to_string();
    let client = Client::new(plane.server(0).ip(), plane.server(0));
    client.send(&client.allocate(&client.nonce()));
    let (worker, request) = plane.fresh();
    plane.push(worker, ToWorker::Reply { to: request.from, bytes: (*b"farewell").into() });
    plane.push(worker, ToWorker::Stop);
    assert_eq!(client.receive(), b"farewell");
    for handle in plane.handles.drain(..) {
        handle.join();
    }
    Plane::start(1, &[&server]);
}

#[test]
fn a_new_policy_and_a_revocation_count_for_a_flow_that_is_under_way() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let (client, peer) = (Client::new(server.ip(), server), Client::new(server.ip(), server));
    let allocation = plane.open(&client, peer.address());
    let relay = allocation.relay;
    let policy = |allow: &[&str]| {
        let allow = allow.iter().map(|rule| rule.parse().expect("a rule")).collect();
        let policy = PolicyBuilder { default: Unlisted::None, allow, ..PolicyBuilder::default() };
        ToWorker::Table(TableChange::Policy(Arc::new(policy.build())))
    };
    client.send(&message::channel_data(CHANNEL, b"before"));
    assert_eq!(peer.receive_from(), (b"before".to_vec(), allocation.relayed));
    plane.push(0, policy(&[]));
    client.send(&message::channel_data(CHANNEL, b"denied"));
    assert!(peer.hears_nothing());
    peer.send_to(b"still permitted", allocation.relayed);
    assert!(client.receive().ends_with(b"still permitted"));
    plane.push(0, ToWorker::Table(TableChange::Forbid { relay, peer: server.ip() }));
    peer.send_to(b"revoked", allocation.relayed);
    assert!(client.hears_nothing());
    plane.push(0, policy(&["127.0.0.1/32"]));
    let until = Deadline::from_millis(u64::MAX);
    plane.push(0, ToWorker::Table(TableChange::Permit { relay, peer: server.ip(), until }));
    client.send(&message::channel_data(CHANNEL, b"again"));
    assert_eq!(peer.receive_from(), (b"again".to_vec(), allocation.relayed));
}

#[test]
fn a_worker_s_nonces_say_what_was_announced_last() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    // RFC 8489 § 9.2: the cookie, then 24 bits in base64; bit 0 is password algorithms, bit 1 username anonymity.
    let features = |client: &Client| client.nonce()[9..13].to_vec();
    assert_eq!(features(&client), b"AAAB");
    let before = client.nonce();
    for (username_anonymity, announced) in [(true, b"AAAD"), (false, b"AAAB")] {
        plane.push(0, ToWorker::Announce { username_anonymity });
        eventually("the new nonces", || (features(&client) == announced).then_some(()));
    }
    client.send(&client.allocate(&before));
    plane.fresh();
}

#[test]
fn a_second_instance_is_refused_with_the_address_and_the_cause() {
    let plane = Plane::start(2, &["127.0.0.1:0"]);
    let second = config(2, &["[::1]:0", &plane.server(0).to_string()]);
    let wake = Arc::new(Wake::new().expect("an eventfd"));
    match relay::start(&second, &wake) {
        Err(StartError::Listen(error)) => {
            assert_eq!((error.address, error.cause()), (plane.server(0), BindCause::AddressInUse));
        }
        other => panic!("{other:?}"),
    }
}
