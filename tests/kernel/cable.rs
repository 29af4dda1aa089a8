//! Clients and peers at one cable: what the program relays leaves by the interface that it came in by.

use std::net::UdpSocket;

use crate::frame::channel_data;
use crate::lab;
use crate::wire::CHANNEL;
use crate::wire::MODES;
use crate::wire::Relay;
use crate::wire::begin;
use crate::wire::hosts;
use crate::wire::received;
use crate::wire::socket;
use crate::world::address;

/// The peer is a second address of the client's host.
const FLOW: [&str; 4] = ["192.0.2.10:4000", "192.0.2.1:3478", "203.0.113.1:50000", "203.0.113.9:7000"];
/// In all more than the 256 frames that an end of a veth holds while nobody takes them out.
const BURST: u8 = 60;
const BURSTS: usize = 10;

#[test]
fn what_leaves_by_the_cable_it_came_by_arrives_though_the_far_end_has_no_program() {
    lab::alone(|| {
        let hosts = hosts();
        lab::ip("route add 203.0.113.9 dev r0");
        hosts.client.run(|| {
            lab::ip(
                "addr add 203.0.113.9/32 dev c0
                 route add 203.0.113.1 dev c0",
            );
        });
        let [client_at, server, bound, peer_at] = FLOW;
        for mode in MODES {
            let mut relay = Relay::new(mode);
            // The kernel learns where both are.
            for to in [client_at, peer_at] {
                let any = UdpSocket::bind("0.0.0.0:0");
                any.and_then(|socket| socket.send_to(b"?", to)).expect("it is sent");
            }
            relay.allocate(0, FLOW);
            let client = socket(&hosts.client, client_at, Some(server));
            let peer = socket(&hosts.client, peer_at, None);
            let (server, bound) = (address(server), address(bound));
            begin(&mut relay, &client, &channel_data(CHANNEL, b"?"), server, &peer);
            begin(&mut relay, &peer, b"?????", bound, &client);
            for burst in 0..BURSTS {
                for data in 0..BURST {
                    client.send(&channel_data(CHANNEL, &[data; 99])).expect("it is sent");
                }
                for data in 0..BURST {
                    let arrived = received(&peer)
                        .unwrap_or_else(|error| panic!("{mode:?}, to the peer, {burst}, {data}: {error}"));
                    assert_eq!(arrived, (vec![data; 99], bound), "{mode:?}");
                    peer.send_to(&[data; 99], bound).expect("it is sent");
                }
                for data in 0..BURST {
                    let arrived = received(&client)
                        .unwrap_or_else(|error| panic!("{mode:?}, to the client, {burst}, {data}: {error}"));
                    assert_eq!(arrived, (channel_data(CHANNEL, &[data; 99]), server), "{mode:?}");
                }
            }
        }
    });
}
