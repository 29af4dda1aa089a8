//! Two workers, several clients and a control thread at once: meant to be run under the thread sanitizer, too.

use std::thread;

use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;

const CLIENTS: usize = 16;
const PACKETS: u16 = 200;

#[test]
fn two_workers_carry_many_calls_at_once_while_control_goes_on() {
    let mut plane = Plane::start(2, &["127.0.0.1:0", "[::1]:0"]);
    let mut calls = Vec::new();
    for number in 0..CLIENTS {
        let server = plane.server(number % 2);
        let client = Client::new(server.ip(), server);
        let peer = Client::new(server.ip(), server);
        let allocation = plane.open(&client, peer.address());
        calls.push((client, peer, allocation));
    }
    let busy: Vec<_> =
        (0..2).map(|worker| calls.iter().filter(|call| call.2.worker == worker).count()).collect();
    assert!(busy.iter().all(|count| *count > 0), "one worker has all clients: {busy:?}");

    let allocations: Vec<_> = calls.iter().map(|call| call.2).collect();
    let callers: Vec<_> = calls
        .into_iter()
        .map(|(client, peer, allocation)| {
            thread::spawn(move || {
                for number in 0..PACKETS {
                    let data = [number.to_be_bytes(), number.to_le_bytes()].concat();
                    client.send(&message::channel_data(CHANNEL, &data));
                    assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
                    peer.send_to(&data, allocation.relayed);
                    assert_eq!(client.receive(), message::channel_data(CHANNEL, &data));
                }
            })
        })
        .collect();
    // Meanwhile the control task opens and closes, and reads the statistics.
    for round in 0..50 {
        for worker in 0..2 {
            let relay = plane.next_relay();
            let bind = allocations[round % 2].relayed;
            plane.push(worker, ToWorker::Open { relay, bind: relay_on(bind) });
            assert!(matches!(plane.report(worker), Report::Opened { .. }));
            plane.push(worker, ToWorker::Close { relay });
            assert!(matches!(plane.report(worker), Report::Closed { .. }));
            let gauges = plane.handles[worker].gauges();
            assert!(gauges.reports.fill() <= 1 && plane.stats(worker).wakeups.get() > 0);
        }
    }
    for caller in callers {
        caller.join().expect("no packet was lost or changed");
    }
    for allocation in &allocations {
        let Report::Closed { counters, .. } = plane.close(allocation) else { panic!("another report") };
        let packets = u64::from(PACKETS);
        assert_eq!((counters.to_peer_packets, counters.to_client_packets), (packets, packets));
        assert_eq!((counters.to_peer_bytes, counters.to_client_bytes), (4 * packets, 4 * packets));
    }
    for handle in plane.handles.drain(..) {
        handle.join();
    }
}

/// Any free port of the address.
fn relay_on(address: std::net::SocketAddr) -> swingbridge::proto::types::RelayAddr {
    swingbridge::proto::types::RelayAddr::new(std::net::SocketAddr::new(address.ip(), 0))
}
