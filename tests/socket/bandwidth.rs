//! Bandwidth limits: who has too much is held back, nobody else is.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Bucket;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::types::Rate;

use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::Terms;

const BITS_PER_S: u64 = 200_000;
/// Application data of a packet; with its headers 1,000 bytes, of which 25 a second pass.
const DATA: usize = 972;
const FLOOD: usize = 400;
const FLOOD_TIME: Duration = Duration::from_millis(1_200);

fn rate() -> Rate {
    Rate::new(BITS_PER_S, Duration::from_secs(1)).expect("in range")
}

fn client_of(plane: &Plane) -> Client {
    let server = plane.server(0);
    Client::new(server.ip(), server)
}

fn open(plane: &mut Plane, bandwidth: Bandwidth) -> Call {
    let (client, peer) = (client_of(plane), client_of(plane));
    let home = peer.address().ip();
    let terms = Terms { bind: home, external: home, bandwidth };
    let allocation = plane.open_on(&client, peer.address(), &terms);
    Call { client, peer, relayed: allocation.relayed, worker: allocation.worker }
}

struct Call {
    client: Client,
    peer: Client,
    relayed: std::net::SocketAddr,
    worker: usize,
}

/// Packets that wait at `to`.
fn waiting(to: &Client) -> usize {
    let mut count = 0;
    while !to.hears_nothing() {
        count += 1;
    }
    count
}

/// The least and the most packets that a full bucket lets pass from `start` to now.
fn due(start: Instant) -> std::ops::RangeInclusive<usize> {
    let most = 25.0 + 25.0 * start.elapsed().as_secs_f64() + 2.0;
    // The flood's own time is certain; how long its counting takes is not.
    50..=most as usize
}

#[test]
fn a_flood_of_one_allocation_is_held_back_both_ways_and_another_is_untouched() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    for from_client in [true, false] {
        let loud = open(&mut plane, Bandwidth { allocation: Some(Bucket::new(rate())), user: None });
        let calm = open(&mut plane, Bandwidth::default());
        let before = plane.stats(0).dropped(DropReason::AllocationBandwidth);
        let start = Instant::now();
        for number in 0..FLOOD {
            match from_client {
                true => loud.client.send(&message::channel_data(CHANNEL, &[7; DATA])),
                false => loud.peer.send_to(&[7; DATA], loud.relayed),
            }
            // Meanwhile the other call goes on, packet by packet.
            calm.client.send(&message::channel_data(CHANNEL, &number.to_be_bytes()));
            assert_eq!(calm.peer.receive_from(), (number.to_be_bytes().to_vec(), calm.relayed));
            thread::sleep(FLOOD_TIME / FLOOD as u32);
        }
        let passed = waiting(if from_client { &loud.peer } else { &loud.client });
        assert!(due(start).contains(&passed), "{passed} of {FLOOD} packets passed");
        let dropped = plane.stats(0).dropped(DropReason::AllocationBandwidth) - before;
        assert_eq!(dropped as usize + passed, FLOOD);
    }
}

#[test]
fn the_allocations_of_one_user_on_two_workers_share_one_bucket() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let user = Bucket::new(rate());
    let mut calls: Vec<Call> = Vec::new();
    // The kernel spreads clients over the workers by their ports.
    while !(0..2).all(|worker| calls.iter().any(|call| call.worker == worker)) {
        assert!(calls.len() < 64, "one worker gets every client");
        calls.push(open(&mut plane, Bandwidth { allocation: None, user: Some(user.clone()) }));
    }
    let start = Instant::now();
    for number in 0..FLOOD {
        calls[number % calls.len()].client.send(&message::channel_data(CHANNEL, &[7; DATA]));
        thread::sleep(FLOOD_TIME / FLOOD as u32);
    }
    // Taken before it is counted, which takes a silence for each call.
    let due = due(start);
    let passed: usize = calls.iter().map(|call| waiting(&call.peer)).sum();
    assert!(due.contains(&passed), "{passed} of {FLOOD} packets passed, not {due:?}");
    let dropped: u64 = (0..2).map(|worker| plane.stats(worker).dropped(DropReason::UserBandwidth)).sum();
    assert_eq!(dropped as usize + passed, FLOOD);
    assert!((0..2).all(|worker| plane.stats(worker).dropped(DropReason::UserBandwidth) > 0));
}
