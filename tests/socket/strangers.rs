//! Five-tuples without an allocation.

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::limits;
use swingbridge::proto::wire::ErrorCode;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::config;
use crate::plane::eventually;

fn client_of(plane: &Plane, listener: usize) -> Client {
    let server = plane.server(listener);
    Client::new(server.ip(), server)
}

// proves rfc8489:5-6, rfc8489:6.3.1.1-7, rfc8489:6.3.1.2-1
#[test]
fn the_worker_itself_answers_a_binding_request() {
    let plane = Plane::start(1, &["127.0.0.1:0", "[::1]:0"]);
    for listener in 0..2 {
        let client = client_of(&plane, listener);
        let transaction = *b"where am I??";
        client.send(&message::stun(message::BINDING, transaction, &[]));
        let answer = client.receive();
        assert_eq!(message::kind(&answer), message::BINDING_SUCCESS);
        assert_eq!(answer[8..20], transaction);
        let mapped = message::xor_address(client.address(), transaction);
        assert_eq!(message::attribute(&answer, message::MAPPED), Some(&mapped[..]));
    }
    assert_eq!(plane.stats(0).binding_answers.get(), 2);
}

#[test]
fn the_worker_itself_challenges_a_request_without_integrity() {
    let plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    client.send(&message::stun(message::ALLOCATE, *b"allocate!!!!", &[]));
    let answer = client.receive();
    assert_eq!(message::kind(&answer), message::ALLOCATE_ERROR);
    assert_eq!(message::error_code(&answer), Some(401));
    assert_eq!(message::attribute(&answer, message::REALM), Some(&b"test"[..]));
    assert!(message::attribute(&answer, message::NONCE).is_some_and(|nonce| !nonce.is_empty()));
    assert_eq!(plane.stats(0).error_answers(ErrorCode::Unauthenticated), 1);
}

#[test]
fn a_foreign_nonce_is_refused_and_one_of_ours_goes_to_control_unchanged() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let (client, other) = (client_of(&plane, 0), client_of(&plane, 0));
    let nonce = client.nonce();
    other.send(&other.allocate(&nonce));
    assert_eq!(message::error_code(&other.receive()), Some(438));

    let request = client.allocate(&nonce);
    client.send(&request);
    let (_, handed) = plane.fresh();
    assert_eq!(&handed.bytes[..], &request[..]);
    assert_eq!(handed.from.client.socket(), client.address());
    assert_eq!(handed.from.server.socket(), plane.server(0));
}

#[test]
fn a_request_that_finds_its_ring_full_is_dropped_and_counted_and_binding_goes_on() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    let request = client.allocate(&client.nonce());
    let beyond = 3;
    for _ in 0..limits::NEW_REQUESTS_MAX + beyond {
        client.send(&request);
    }
    plane.drops(0, DropReason::RequestRingFull, beyond as u64);
    assert_eq!(plane.handles[0].gauges().fresh.fill(), limits::NEW_REQUESTS_MAX);
    client.send(&message::stun(message::BINDING, [7; 12], &[]));
    assert_eq!(message::kind(&client.receive()), message::BINDING_SUCCESS);
    for _ in 0..limits::NEW_REQUESTS_MAX {
        assert!(plane.handles[0].fresh.pop().is_some());
    }
    assert!(plane.handles[0].fresh.pop().is_none());
}

#[test]
fn a_flood_of_strangers_does_not_displace_the_requests_of_live_allocations() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let (client, stranger) = (client_of(&plane, 0), client_of(&plane, 0));
    client.send(&client.allocate(&client.nonce()));
    let (worker, request) = plane.fresh();
    let relay = plane.next_relay();
    let allocation = NewAllocation {
        relay,
        five_tuple: request.from,
        dialect: Dialect::Rfc8656,
        relayed: RelayAddr::new("127.0.0.1:50000".parse().expect("a literal")),
        until: Deadline::NEVER,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Udp,
    };
    plane.push(worker, ToWorker::Table(TableChange::Insert(Box::new(allocation))));
    let flood = stranger.allocate(&stranger.nonce());
    for _ in 0..limits::NEW_REQUESTS_MAX + 1 {
        stranger.send(&flood);
    }
    plane.drops(worker, DropReason::RequestRingFull, 1);
    // A Binding request, too, is control's to answer once the five-tuple has an allocation.
    let binding = message::stun(message::BINDING, [9; 12], &[]);
    client.send(&binding);
    let live = eventually("a live request", || plane.handles[worker].live.pop());
    assert_eq!((&live.bytes[..], live.from), (&binding[..], request.from));
}

// proves rfc8489:6.3-1, rfc8489:6.3.2-2
#[test]
fn what_is_no_message_is_dropped_and_counted_without_an_answer() {
    let plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    client.send(b"");
    client.send(&[0xFF; 40]);
    plane.drops(0, DropReason::Unclassified, 2);
    client.send(&message::channel_data(0x4000, b"hello"));
    client.send(&message::send_indication(client.address(), b"hello"));
    plane.drops(0, DropReason::NoAllocation, 2);
    assert!(client.hears_nothing());
}

#[test]
fn a_flood_is_answered_with_no_more_bytes_than_it_sent_beyond_the_floor() {
    let plane = on_a_budget();
    let client = client_of(&plane, 0);
    let request = message::stun(message::ALLOCATE, *b"flood flood!", &[]);
    let mut answered = 0;
    let mut sent = 0;
    for _ in 0..40 {
        for _ in 0..50 {
            client.send(&request);
            sent += request.len();
        }
        eventually("the batch", || (plane.stats(0).from_clients.bytes.get() as usize >= sent).then_some(()));
        while let Some(answer) = client.poll() {
            answered += answer.len();
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    while let Some(answer) = client.poll() {
        answered += answer.len();
    }
    // The floor: a burst of 64, and 20 answers a second for as long as this may take on a slow machine.
    let largest = 128;
    let floor = (64 + 20 * 30) * largest;
    assert!(answered <= sent + floor, "{answered} bytes out for {sent} in");
    assert!(plane.stats(0).dropped(DropReason::StrangerBudget) > 1_000);
}

#[test]
fn a_flood_costs_the_one_who_holds_a_nonce_nothing() {
    let mut plane = on_a_budget();
    let (flood, honest) = (client_of(&plane, 0), client_of(&plane, 0));
    let nonce = honest.nonce();
    for _ in 0..500 {
        flood.send(&message::stun(message::ALLOCATE, *b"flood flood!", &[]));
    }
    let request = honest.allocate(&nonce);
    honest.send(&request);
    let (_, handed) = plane.fresh();
    assert_eq!(&handed.bytes[..], &request[..]);
}

/// A worker that holds every stranger to the budget.
fn on_a_budget() -> Plane {
    let mut config = config(1, &["127.0.0.1:0"]);
    config.unproven_exempt.clear();
    Plane::start_with(&config)
}
