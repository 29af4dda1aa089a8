//! Application data, both ways.

use std::net::SocketAddr;

use swingbridge::proto::media::Counters;
use swingbridge::proto::media::DropReason;
use swingbridge::relay::Report;

use crate::message;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::eventually;

const NOWHERE: &str = "127.0.0.1:9";

/// A peer on the loopback address of the client's family.
fn peer_of(client: &Client) -> Client {
    Client::new(client.address().ip(), NOWHERE.parse().expect("a literal"))
}

fn client_of(plane: &Plane, listener: usize) -> Client {
    let server = plane.server(listener);
    Client::new(server.ip(), server)
}

fn payload(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + seed * 7) as u8).collect()
}

// proves rfc8656:5-18, rfc8656:12.5-5, rfc8656:12.6-6, rfc8656:12.6-7
#[test]
fn channel_data_travels_both_ways_byte_for_byte_and_is_counted() {
    let mut plane = Plane::start(2, &["127.0.0.1:0", "[::1]:0"]);
    for listener in 0..2 {
        let client = client_of(&plane, listener);
        let peer = peer_of(&client);
        let allocation = plane.open(&client, peer.address());
        let before = relayed(&plane, allocation.worker);
        let sizes = [0, 1, 3, 4, 172, 1_200, 9_000];
        for (seed, len) in sizes.into_iter().enumerate() {
            let data = payload(len, seed);
            client.send(&message::channel_data(CHANNEL, &data));
            assert_eq!(peer.receive_from(), (data, allocation.relayed));
            let data = payload(len, seed + 100);
            peer.send_to(&data, allocation.relayed);
            assert_eq!(client.receive(), message::channel_data(CHANNEL, &data));
        }
        let bytes: usize = sizes.iter().sum();
        let expected = (sizes.len() as u64, bytes as u64);
        let left = eventually("the worker's counters", || {
            let now = relayed(&plane, allocation.worker);
            let to_peers = (now.0.0 - before.0.0, now.0.1 - before.0.1);
            let to_clients = (now.1.0 - before.1.0, now.1.1 - before.1.1);
            (to_clients.0 == expected.0).then_some((to_peers, to_clients))
        });
        assert_eq!(left, (expected, expected));
        closes_with(&mut plane, &allocation, expected, expected);
    }
}

/// Packets and bytes to peers, and to clients.
fn relayed(plane: &Plane, worker: usize) -> ((u64, u64), (u64, u64)) {
    let stats = plane.stats(worker);
    let both = |traffic: &swingbridge::relay::stats::Traffic| (traffic.packets.get(), traffic.bytes.get());
    (both(&stats.to_peers), both(&stats.to_clients))
}

fn closes_with(plane: &mut Plane, allocation: &Allocation, to_peer: (u64, u64), to_client: (u64, u64)) {
    let Report::Closed { relay, counters } = plane.close(allocation) else { panic!("another report") };
    assert_eq!(relay, allocation.relay);
    let expected = Counters {
        to_peer_packets: to_peer.0,
        to_peer_bytes: to_peer.1,
        to_client_packets: to_client.0,
        to_client_bytes: to_client.1,
    };
    assert_eq!(counters, expected);
}

// proves rfc8656:5-3, rfc8656:11.2-7, rfc8656:11.3-4
#[test]
fn indications_travel_both_ways_where_no_channel_is_bound() {
    let mut plane = Plane::start(1, &["127.0.0.1:0", "[::1]:0"]);
    for listener in 0..2 {
        let client = client_of(&plane, listener);
        // The permission is for the address; the channel is for another port of it.
        let (peer, bound) = (peer_of(&client), peer_of(&client));
        let allocation = plane.open(&client, bound.address());
        for len in [0, 1, 3, 172, 1_200] {
            let data = payload(len, len);
            client.send(&message::send_indication(peer.address(), &data));
            assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
            peer.send_to(&data, allocation.relayed);
            let indication = client.receive();
            assert_eq!(message::data_indication(&indication, peer.address()), Some(&data[..]));
            assert_eq!(indication.len() % 4, 0);
        }
        assert!(bound.hears_nothing());
    }
}

#[test]
fn two_allocations_of_one_worker_reach_each_other_by_their_relayed_addresses() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let (alice, bob) = (client_of(&plane, 0), client_of(&plane, 0));
    let peer = peer_of(&alice);
    let (of_alice, of_bob) = (plane.open(&alice, peer.address()), plane.open(&bob, peer.address()));
    alice.send(&message::send_indication(of_bob.relayed, b"hello bob"));
    assert_eq!(message::data_indication(&bob.receive(), of_alice.relayed), Some(&b"hello bob"[..]));
    bob.send(&message::send_indication(of_alice.relayed, b"hello alice"));
    assert_eq!(message::data_indication(&alice.receive(), of_bob.relayed), Some(&b"hello alice"[..]));
}

#[test]
fn a_burst_of_256_packets_to_one_relay_port_arrives_whole_and_in_order() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    let peer = peer_of(&client);
    let allocation = plane.open(&client, peer.address());
    for number in 0..256_u16 {
        let mut data = payload(172, 1);
        data[..2].copy_from_slice(&number.to_be_bytes());
        peer.send_to(&data, allocation.relayed);
    }
    for number in 0..256_u16 {
        assert_eq!(client.receive()[4..6], number.to_be_bytes());
    }
}

// proves rfc8656:11.3-4, rfc8656:12.5-5
#[test]
fn media_of_a_wildcard_listener_leaves_from_the_address_that_the_client_uses() {
    let mut plane = Plane::start(1, &["0.0.0.0:0"]);
    let server: SocketAddr = format!("127.0.0.5:{}", plane.server(0).port()).parse().expect("an address");
    let client = Client::new("127.0.0.1".parse().expect("a literal"), server);
    let peer = peer_of(&client);
    // Each answer on the way is checked to come from `server`.
    let allocation = plane.open(&client, peer.address());
    assert_eq!(allocation.five_tuple.server.socket(), server);
    peer.send_to(b"from afar", allocation.relayed);
    assert_eq!(client.receive(), message::channel_data(CHANNEL, b"from afar"));
}

// proves rfc8656:9-5, rfc8656:11.2-4
#[test]
fn a_stranger_is_not_let_through_to_a_client_nor_a_client_to_a_stranger() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    let peer = peer_of(&client);
    let allocation = plane.open(&client, peer.address());
    let stranger = Client::new("127.0.0.2".parse().expect("a literal"), allocation.relayed);
    stranger.send(b"let me in");
    plane.drops(allocation.worker, DropReason::NoPermission, 1);
    client.send(&message::send_indication(stranger.address(), b"let me out"));
    plane.drops(allocation.worker, DropReason::NoPermission, 2);
    client.send(&message::channel_data(CHANNEL + 1, b"no such channel"));
    plane.drops(allocation.worker, DropReason::NoChannel, 1);
    assert!(client.hears_nothing() && stranger.hears_nothing());
}

#[test]
fn one_peer_that_is_gone_disturbs_no_other() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let (one, two) = (client_of(&plane, 0), client_of(&plane, 0));
    let peer = peer_of(&one);
    let gone = peer_of(&one).address();
    let (first, second) = (plane.open(&one, peer.address()), plane.open(&two, peer.address()));
    for _ in 0..20 {
        // Each makes an ICMP error come back to the relay socket.
        one.send(&message::send_indication(gone, b"anybody?"));
        one.send(&message::channel_data(CHANNEL, b"one"));
        two.send(&message::channel_data(CHANNEL, b"two"));
        let mut heard = [peer.receive_from(), peer.receive_from()];
        heard.sort_unstable();
        assert_eq!(heard, [(b"one".to_vec(), first.relayed), (b"two".to_vec(), second.relayed)]);
        peer.send_to(b"back", first.relayed);
        let mut heard = one.receive();
        while message::attribute(&heard, message::ICMP).is_some() {
            heard = one.receive();
        }
        assert_eq!(heard, message::channel_data(CHANNEL, b"back"));
    }
    assert!(two.hears_nothing());
}
