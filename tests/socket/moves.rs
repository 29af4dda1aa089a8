//! Clients that move (RFC 8016): an allocation goes from one worker to another while packets come.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use swingbridge::proto::media::Counters;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::RelayId;
use swingbridge::relay::Parcel;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::eventually;

const NOWHERE: &str = "127.0.0.1:9";

/// A client whose datagrams come to a worker for which `wanted` holds, that worker, and its five-tuple.
fn client_at(plane: &mut Plane, wanted: impl Fn(usize) -> bool) -> (Client, usize, FiveTuple) {
    let server = plane.server(0);
    loop {
        let client = Client::new(server.ip(), server);
        client.send(&client.allocate(&client.nonce()));
        let (worker, request) = plane.fresh();
        if wanted(worker) {
            return (client, worker, request.from);
        }
    }
}

fn detach(plane: &mut Plane, worker: usize, relay: RelayId, keep: bool) -> Box<Parcel> {
    plane.push(worker, ToWorker::Detach { relay, keep });
    match plane.report(worker) {
        Report::Detached { relay: detached, parcel: Ok(parcel) } if detached == relay => {
            assert_eq!(parcel.kept(), keep);
            parcel
        }
        other => panic!("{other:?}"),
    }
}

fn attach(plane: &mut Plane, worker: usize, parcel: Box<Parcel>, next: FiveTuple, allocation: &Allocation) {
    plane.push(worker, ToWorker::Attach { parcel, next });
    match plane.report(worker) {
        Report::Opened { relay, bound } => {
            assert_eq!((relay, bound.socket()), (allocation.relay, allocation.relayed));
        }
        other => panic!("{other:?}"),
    }
}

fn closed(plane: &mut Plane, worker: usize, relay: RelayId) -> Counters {
    plane.push(worker, ToWorker::Table(TableChange::Remove { relay }));
    plane.push(worker, ToWorker::Close { relay });
    match plane.report(worker) {
        Report::Closed { relay: closed, counters } if closed == relay => counters,
        other => panic!("{other:?}"),
    }
}

/// The numbers that `client` was sent by its channel, until nothing comes.
fn numbers(client: &Client) -> Vec<u32> {
    client.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let mut heard = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(len) = client.socket.recv(&mut buffer) {
        let number = buffer[4..len].try_into().expect("ChannelData with a number in it");
        heard.push(u32::from_be_bytes(number));
    }
    heard
}

// proves rfc8016:3-1, rfc8016:3.2.2-12
#[test]
fn an_allocation_moves_from_worker_to_worker_under_traffic_and_nothing_is_lost() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let old = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), NOWHERE.parse().expect("a literal"));
    let allocation = plane.open(&old, peer.address());
    let (giver, relay) = (allocation.worker, allocation.relay);
    let (new, taker, next) = client_at(&mut plane, |worker| worker != giver);

    let (sent, enough) = (AtomicU32::new(0), AtomicBool::new(false));
    let (relayed, from_peer) = (allocation.relayed, peer.socket.try_clone().expect("a descriptor"));
    let mut to_peer = 0_u64;
    let mut before = Counters::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::SeqCst) {
                let number = sent.load(Ordering::SeqCst);
                from_peer.send_to(&number.to_be_bytes(), relayed).expect("sent");
                sent.store(number + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
            }
        });
        let wait_for_more = || {
            let now = sent.load(Ordering::SeqCst);
            eventually("more packets", || (sent.load(Ordering::SeqCst) > now + 50).then_some(()));
        };
        wait_for_more();
        let parcel = detach(&mut plane, giver, relay, true);
        before = parcel.counters();
        // Packets wait in the socket meanwhile.
        wait_for_more();
        attach(&mut plane, taker, parcel, next, &allocation);
        plane.push(taker, ToWorker::Reply { to: next, bytes: (*b"moved").into() });
        assert_eq!(new.receive(), b"moved");
        wait_for_more();
        // Make before break: both are heard.
        for client in [&old, &new, &old] {
            client.send(&message::channel_data(CHANNEL, b"hello"));
            assert_eq!(peer.receive_from(), (b"hello".to_vec(), allocation.relayed));
            to_peer += 1;
        }
        let arrival = eventually("the arrival", || plane.handles[taker].live.pop());
        assert!(arrival.is_arrival());
        assert_eq!(arrival.from, next);
        wait_for_more();
        enough.store(true, Ordering::SeqCst);
    });

    let (at_old, at_new) = (numbers(&old), numbers(&new));
    let count = sent.load(Ordering::SeqCst);
    assert!(at_old.len() > 100 && at_new.len() > 40, "{} and {}", at_old.len(), at_new.len());
    assert!(at_old.iter().max() < at_new.iter().min(), "once the client is there, all goes there");
    let all: BTreeSet<u32> = at_old.iter().chain(&at_new).copied().collect();
    assert_eq!(all.len(), count as usize, "none is lost");
    assert_eq!(at_old.len() + at_new.len(), count as usize, "none comes twice");

    plane.push(taker, ToWorker::Table(TableChange::Settle { relay }));
    let mut total = closed(&mut plane, giver, relay);
    assert_eq!(total.to_peer_packets, 2, "the old client's, after the move");
    assert_eq!(total.to_client_packets, 0, "what it had counted was told with the parcel");
    old.send(&message::channel_data(CHANNEL, b"too late"));
    assert!(peer.hears_nothing());
    new.send(&message::channel_data(CHANNEL, b"still here"));
    assert_eq!(peer.receive_from(), (b"still here".to_vec(), allocation.relayed));
    // How many it was is for the scheduler to say.
    assert!(before.to_client_packets > 0, "{before:?}");
    total.add(before);
    total.add(closed(&mut plane, taker, relay));
    assert_eq!((total.to_client_packets, total.to_peer_packets), (count.into(), to_peer + 1));
    assert_eq!((0..2).map(|worker| plane.stats(worker).relay_sockets.get()).sum::<u64>(), 0);
}

#[test]
fn a_parcel_that_nobody_takes_over_closes_its_socket() {
    let mut plane = Plane::start(2, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let peer = Client::new(server.ip(), NOWHERE.parse().expect("a literal"));
    let allocation = plane.open(&client, peer.address());
    drop(detach(&mut plane, allocation.worker, allocation.relay, false));
    let bind = swingbridge::proto::types::RelayAddr::new(allocation.relayed);
    let relay = plane.next_relay();
    plane.push(1 - allocation.worker, ToWorker::Open { relay, bind });
    assert!(matches!(plane.report(1 - allocation.worker), Report::Opened { .. }), "the port is free");
    assert_eq!(closed(&mut plane, allocation.worker, allocation.relay), Counters::default());
}

#[test]
fn what_is_not_there_cannot_be_given_away() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let allocation = plane.open(&client, NOWHERE.parse().expect("a literal"));
    let stale = RelayId { generation: allocation.relay.generation + 1, ..allocation.relay };
    for relay in [stale, RelayId { index: 77, generation: 7 }, RelayId { index: u32::MAX, generation: 7 }] {
        for keep in [true, false] {
            plane.push(0, ToWorker::Detach { relay, keep });
            let report = plane.report(0);
            assert!(matches!(report, Report::Detached { parcel: Err(_), .. }), "{report:?}");
        }
    }
    let parcel = detach(&mut plane, 0, allocation.relay, true);
    plane.push(0, ToWorker::Detach { relay: allocation.relay, keep: true });
    assert!(matches!(plane.report(0), Report::Detached { parcel: Err(_), .. }), "a copy is not given on");
    attach(&mut plane, 0, parcel, allocation.five_tuple, &allocation);
}
