//! ICMP errors about what left a relay socket, told to the client (RFC 8656 § 11.5).

use std::net::IpAddr;
use std::net::SocketAddr;

use socket2::Socket;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::Deadline;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::observe;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;

const BOTH: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// The ICMP attribute of a Data indication that names `peer` and holds no data.
pub(crate) fn icmp(message: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let transaction = message[8..20].try_into().expect("a header");
    let well = message::kind(message) == message::DATA
        && message::attribute(message, message::PEER)? == message::xor_address(peer, transaction)
        && message::attribute(message, message::DATA_ATTRIBUTE).is_none();
    if well { message::attribute(message, message::ICMP).map(<[u8]>::to_vec) } else { None }
}

fn client_of(plane: &Plane, listener: usize) -> Client {
    let server = plane.server(listener);
    Client::new(server.ip(), server)
}

// proves rfc8656:11.5-5, rfc8656:11.5-6, rfc8656:12.5-2
#[test]
fn a_closed_port_of_a_peer_is_told_in_all_four_combinations_and_what_is_alive_goes_on() {
    let mut plane = Plane::start(1, &BOTH);
    for (listener, home) in [(0, "127.0.0.1"), (0, "::1"), (1, "127.0.0.1"), (1, "::1")] {
        let client = client_of(&plane, listener);
        let home: IpAddr = home.parse().expect("a literal");
        let alive = Client::new(home, client.server);
        let (gone, also_gone) = {
            let make = || Client::new(home, client.server).address();
            (make(), make())
        };
        let allocation = plane.open(&client, gone);
        let expected: &[u8] =
            if home.is_ipv4() { &[0, 0, 3, 3, 0, 0, 0, 0] } else { &[0, 0, 1, 4, 0, 0, 0, 0] };
        for _ in 0..3 {
            client.send(&message::channel_data(CHANNEL, b"anybody?"));
            assert_eq!(icmp(&client.receive(), gone).as_deref(), Some(expected));
            client.send(&message::send_indication(also_gone, b"anybody?"));
            assert_eq!(icmp(&client.receive(), also_gone).as_deref(), Some(expected));
            client.send(&message::send_indication(alive.address(), b"and you?"));
            assert_eq!(alive.receive_from(), (b"and you?".to_vec(), allocation.relayed));
            alive.send_to(b"here", allocation.relayed);
            assert_eq!(message::data_indication(&client.receive(), alive.address()), Some(&b"here"[..]));
        }
        assert!(client.hears_nothing());
    }
}

#[test]
fn a_burst_to_a_peer_that_is_gone_takes_nothing_from_one_that_is_alive() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = client_of(&plane, 0);
    let alive = Client::new(client.server.ip(), client.server);
    let gone = Client::new(client.server.ip(), client.server).address();
    let allocation = plane.open(&client, gone);
    for number in 0..100_u8 {
        client.send(&message::channel_data(CHANNEL, &[number]));
        client.send(&message::send_indication(alive.address(), &[number]));
    }
    for number in 0..100_u8 {
        assert_eq!(alive.receive_from(), (vec![number], allocation.relayed));
    }
    // The kernel may limit how many errors it sends back; whatever comes is one.
    while !client.hears_nothing() {
        assert!(icmp(&client.receive(), gone).is_some());
    }
}

/// An ICMP error about a datagram of `allocation` to `peer`, as a router would send it, put together by hand.
fn forge(socket: &Socket, kind: u8, code: u8, mtu: u32, allocation: &Allocation, peer: SocketAddr) {
    let (from, to) = (allocation.relayed, peer);
    let mut packet = vec![kind, code, 0, 0];
    packet.extend(mtu.to_be_bytes());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend([0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0, 0, 16, 17, 64]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        _ => panic!("one family"),
    }
    for word in [from.port(), to.port(), 16, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(b"datadata");
    if from.is_ipv4() {
        let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !((sum & 0xFFFF) + (sum >> 16)) as u16;
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let router = SocketAddr::new(from.ip(), 0);
    assert_eq!(socket.send_to(&packet, &router.into()).expect("sent"), packet.len());
}

// proves rfc8656:11.5-1, rfc8656:11.5-3, rfc8656:11.5-4, rfc8656:18.13-2
#[test]
fn errors_of_routers_are_told_by_type_with_their_mtu_to_whom_a_permission_names_and_to_nobody_else() {
    let mut plane = Plane::start(1, &BOTH);
    for (listener, home, other) in [(0, "127.0.0.1", "127.0.0.99"), (1, "::1", "fd00::99")] {
        let client = client_of(&plane, listener);
        let peer = Client::new(home.parse().expect("a literal"), client.server);
        let allocation = plane.open(&client, peer.address());
        let Some(router) = observe::raw_icmp(client.server.ip()) else { return };
        // Errors are about what left, and a socket from which nothing ever did need not hear of them.
        client.send(&message::channel_data(CHANNEL, b"on its way"));
        assert_eq!(peer.receive_from(), (b"on its way".to_vec(), allocation.relayed));
        let tell = |kind, code, mtu, peer| forge(&router, kind, code, mtu, &allocation, peer);
        let any_port = SocketAddr::new(peer.address().ip(), 9);
        let (told, untold) = if listener == 0 {
            ([(3, 4, 1_400), (11, 0, 0), (3, 1, 77)], [(12, 0), (4, 0)])
        } else {
            ([(2, 0, 1_400), (3, 0, 0), (1, 0, 77)], [(4, 0), (100, 0)])
        };
        for (kind, code, data) in told {
            for peer in [peer.address(), any_port] {
                tell(kind, code, data, peer);
                let expected = if data == 1_400 { [0, 0, 5, 0x78] } else { [0; 4] };
                let expected = [&[0, 0, kind, code][..], &expected].concat();
                assert_eq!(icmp(&client.receive(), peer), Some(expected), "type {kind}");
            }
        }
        for (kind, code) in untold {
            tell(kind, code, 0, peer.address());
        }
        let stranger = SocketAddr::new(other.parse().expect("a literal"), 9);
        tell(told[1].0, 0, 0, stranger);
        assert!(client.hears_nothing());
        // Only the permission was missing.
        let (relay, until) = (allocation.relay, Deadline::NEVER);
        let permit = TableChange::Permit { relay, peer: stranger.ip(), until };
        plane.push(allocation.worker, ToWorker::Table(permit));
        plane.push(
            allocation.worker,
            ToWorker::Reply { to: allocation.five_tuple, bytes: (*b"permitted").into() },
        );
        assert_eq!(client.receive(), b"permitted");
        tell(told[1].0, 0, 0, stranger);
        assert!(icmp(&client.receive(), stranger).is_some());
    }
}
