//! Datagrams at the limits of what UDP carries.

use swingbridge::proto::media::DropReason;
use swingbridge::proto::types::limits;
use swingbridge::relay::Report;

use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;

#[test]
fn a_datagram_longer_than_a_slot_is_dropped_and_counted_on_either_side() {
    let mut plane = Plane::start(1, &["[::1]:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), server);
    let allocation = plane.open(&client, peer.address());
    // IPv6 carries twenty bytes more than IPv4.
    let long = vec![0x40; limits::DATAGRAM_MAX + 20];
    client.send(&long);
    plane.drops(0, DropReason::TooLarge, 1);
    peer.send_to(&long, allocation.relayed);
    plane.drops(0, DropReason::TooLarge, 2);
    peer.send_to(b"and yet", allocation.relayed);
    assert_eq!(client.receive(), message::channel_data(CHANNEL, b"and yet"));
}

#[test]
fn data_that_no_longer_fits_with_its_header_is_dropped_and_counted_and_the_next_passes() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), server);
    let allocation = plane.open(&client, peer.address());
    let stats = plane.stats(0);
    let lost = || stats.dropped(DropReason::TooLarge) + stats.dropped(DropReason::SendFailed);
    peer.send_to(&vec![1; limits::DATAGRAM_MAX], allocation.relayed);
    crate::plane::eventually("a drop", || (lost() == 1).then_some(()));
    let largest = vec![2; limits::DATAGRAM_MAX - 4];
    peer.send_to(&largest, allocation.relayed);
    assert_eq!(client.receive(), message::channel_data(CHANNEL, &largest));
    client.send(&message::channel_data(CHANNEL, &largest));
    assert_eq!(peer.receive_from().0, largest);
}

#[test]
fn a_request_too_large_for_control_is_dropped_and_counted() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let nonce = client.nonce();
    let padding = vec![0; limits::REQUEST_MAX];
    let attributes: [(u16, &[u8]); 5] = [
        // Comprehension-optional: only its size is wrong.
        (0x8123, &padding),
        (message::USERNAME, b"alice"),
        (message::REALM, b"test"),
        (message::NONCE, &nonce),
        (message::INTEGRITY, &[0; 20]),
    ];
    client.send(&message::stun(message::ALLOCATE, [3; 12], &attributes));
    plane.drops(0, DropReason::TooLarge, 1);
    assert!(plane.handles[0].fresh.pop().is_none());
}

#[test]
fn data_to_port_0_fails_alone() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), server);
    let allocation = plane.open(&client, peer.address());
    client.send(&message::send_indication("127.0.0.1:0".parse().expect("a literal"), b"nowhere"));
    client.send(&message::channel_data(CHANNEL, b"here"));
    assert_eq!(peer.receive_from(), (b"here".to_vec(), allocation.relayed));
    let stats = plane.stats(0);
    let lost = stats.dropped(DropReason::SendFailed) + stats.dropped(DropReason::ForbiddenPeer);
    assert_eq!(lost, 1);
    // What is reported follows what was counted.
    let report = plane.close(&allocation);
    assert!(matches!(report, Report::Closed { .. }), "{report:?}");
    assert_eq!(stats.to_peers.packets.get(), 1);
}
