//! Datagrams that come in runs: the kernel hands many over at once where a socket is told to, and cuts up what leaves. To the
//! far ends they are what they always were: single ones, each judged and counted by itself.

use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Bucket;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::Rate;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::observe;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::Terms;
use crate::plane::eventually;

const BOTH: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];
const OTHER_CHANNEL: u16 = 0x4ABD;
const OF_RUN: usize = 16;
/// Runs after which a socket brings them as such, more than once over.
const MANY: usize = 80;

fn end(plane: &Plane, listener: usize) -> Client {
    let server = plane.server(listener);
    Client::new(server.ip(), server)
}

/// Data that tells its number.
fn data(number: usize, len: usize) -> Vec<u8> {
    let mut data = vec![number as u8; len];
    data[..4].copy_from_slice(&(number as u32).to_be_bytes());
    data
}

/// Sends `frames` as one, to be cut into pieces as long as the first.
fn send_run(from: &Client, to: std::net::SocketAddr, frames: &[Vec<u8>]) {
    observe::send_in_runs(&from.socket, frames[0].len() as u16);
    from.send_to(&frames.concat(), to);
    observe::send_in_runs(&from.socket, 0);
}

/// A second channel of `allocation`, to `peer`.
fn bind_other(plane: &mut Plane, allocation: &Allocation, peer: &Client) {
    let (relay, until) = (allocation.relay, Deadline::NEVER);
    let channel = ChannelNumber::new(OTHER_CHANNEL).expect("a channel number");
    let peer = PeerAddr::new(peer.address());
    plane.push(allocation.worker, ToWorker::Table(TableChange::Bind { relay, channel, peer, until }));
    plane.push(allocation.worker, ToWorker::Reply { to: allocation.five_tuple, bytes: (*b"bound").into() });
}

#[test]
fn runs_of_a_client_are_taken_apart_by_channel_and_each_peer_gets_its_own_in_order() {
    let mut plane = Plane::start(1, &BOTH);
    for listener in 0..2 {
        let (client, one, other) = (end(&plane, listener), end(&plane, listener), end(&plane, listener));
        let allocation = plane.open(&client, one.address());
        bind_other(&mut plane, &allocation, &other);
        assert_eq!(client.receive(), b"bound");
        let before = plane.stats(0).from_clients.packets.get();
        let mut number = 0;
        for round in 0..MANY {
            // Odd lengths, and the last of a run is shorter.
            let len = [172, 173, 41, 1_201][round % 4];
            let frames: Vec<_> = (0..OF_RUN)
                .map(|place| {
                    number += 1;
                    let len = if place + 1 == OF_RUN { len - 5 } else { len };
                    let channel = if place % 5 == 3 { OTHER_CHANNEL } else { CHANNEL };
                    message::channel_data(channel, &data(number, len))
                })
                .collect();
            send_run(&client, client.server, &frames);
            for frame in &frames {
                let to = if frame[..2] == CHANNEL.to_be_bytes() { &one } else { &other };
                assert_eq!(to.receive_from(), (frame[4..].to_vec(), allocation.relayed));
            }
        }
        let sent = (MANY * OF_RUN) as u64;
        let seen = eventually("the counters", || {
            let seen = plane.stats(0).from_clients.packets.get() - before;
            (seen >= sent).then_some(seen)
        });
        assert_eq!(seen, sent, "datagrams are counted, and not runs");
    }
}

#[test]
fn runs_of_a_peer_reach_the_client_framed_one_by_one_by_channel_or_indication() {
    let mut plane = Plane::start(1, &BOTH);
    for listener in 0..2 {
        let (client, bound, unbound) = (end(&plane, listener), end(&plane, listener), end(&plane, listener));
        let allocation = plane.open(&client, bound.address());
        for peer in [&bound, &unbound] {
            for round in 0..MANY {
                let len = [172, 173, 41, 1_201][round % 4];
                let all: Vec<_> = (0..OF_RUN)
                    .map(|place| {
                        data(round * OF_RUN + place, if place + 1 == OF_RUN { len - 7 } else { len })
                    })
                    .collect();
                send_run(peer, allocation.relayed, &all);
                for data in &all {
                    let message = client.receive();
                    match peer.address() == bound.address() {
                        true => assert_eq!(message, message::channel_data(CHANNEL, data)),
                        false => {
                            assert_eq!(message::data_indication(&message, peer.address()), Some(&data[..]));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn one_of_a_run_that_may_not_pass_keeps_no_other_back() {
    let mut plane = Plane::start(1, &BOTH);
    let (client, peer) = (end(&plane, 0), end(&plane, 0));
    let allocation = plane.open(&client, peer.address());
    for round in 0..MANY {
        let frames: Vec<_> = (0..OF_RUN)
            .map(|place| {
                let channel = if place == round % OF_RUN { 0x4000 } else { CHANNEL };
                message::channel_data(channel, &data(place, 172))
            })
            .collect();
        send_run(&client, client.server, &frames);
        for frame in frames.iter().filter(|frame| frame[..2] == CHANNEL.to_be_bytes()) {
            assert_eq!(peer.receive_from().0, frame[4..]);
        }
    }
    plane.drops(allocation.worker, DropReason::NoChannel, MANY as u64);
}

#[test]
fn a_run_ends_where_the_ip_header_does() {
    let mut plane = Plane::start(1, &BOTH);
    for listener in 0..2 {
        let (client, peer) = (end(&plane, listener), end(&plane, listener));
        observe::tell_header(&peer.socket);
        plane.open(&client, peer.address());
        // Runs of three with one header, among more than a batch can hold.
        let fields = |number: usize| (90 + (number / 3 % 7) as u8, (number / 3 % 5) as u8 * 0x22);
        for number in 0..300 {
            let (hop_limit, class) = fields(number);
            observe::send_with(&client.socket, hop_limit, class);
            client.send(&message::channel_data(CHANNEL, &data(number, 100)));
        }
        for number in 0..300 {
            let (hop_limit, class) = fields(number);
            let seen = observe::receive_with_header(&peer.socket);
            assert_eq!(seen, (data(number, 100), Some(hop_limit - 1), Some(class)));
        }
        // Some must leave whole, and some need not: in their order all the same.
        observe::send_with(&client.socket, 64, 0);
        for number in 0..300 {
            let send = if number % 8 < 4 { message::send_whole } else { message::send_indication };
            client.send(&send(peer.address(), &data(number, 100)));
        }
        for number in 0..300 {
            assert_eq!(peer.receive_from().0, data(number, 100));
        }
    }
}

#[test]
fn a_bucket_is_drawn_from_by_each_datagram_of_a_run() {
    let mut plane = Plane::start(1, &BOTH);
    // Whoever is not limited has the listener bring runs.
    let (free, peer) = (end(&plane, 0), end(&plane, 0));
    plane.open(&free, peer.address());
    let run: Vec<_> = (0..OF_RUN).map(|place| message::channel_data(CHANNEL, &data(place, 972))).collect();
    for _ in 0..MANY {
        send_run(&free, free.server, &run);
        (0..OF_RUN).for_each(|_| _ = peer.receive_from());
    }
    // With its headers a packet has 1,000 bytes: 25 pass at once, and 25 a second.
    let (client, peer) = (end(&plane, 0), end(&plane, 0));
    let rate = Rate::new(200_000, Duration::from_secs(1)).expect("in range");
    let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate)), user: None };
    let home = peer.address().ip();
    let allocation = plane.open_on(&client, peer.address(), &Terms { bind: home, external: home, bandwidth });
    let (before, start) = (plane.stats(0).from_clients.packets.get(), Instant::now());
    for _ in 0..4 {
        send_run(&client, client.server, &run);
    }
    let sent = (4 * OF_RUN) as u64;
    let stats = plane.stats(allocation.worker);
    eventually("a look at each", || (stats.from_clients.packets.get() - before >= sent).then_some(()));
    let most = 25.0 + 25.0 * start.elapsed().as_secs_f64() + 1.0;
    let dropped = eventually("the verdict on each", || {
        let dropped = stats.dropped(DropReason::AllocationBandwidth);
        (dropped as f64 >= sent as f64 - most).then_some(dropped)
    });
    let passed = sent - dropped;
    assert!(passed >= 25, "{passed} passed");
    for place in 0..passed as usize {
        assert_eq!(peer.receive_from().0, data(place % OF_RUN, 972));
    }
    assert!(peer.hears_nothing());
}
