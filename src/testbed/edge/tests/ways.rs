//! What the verdicts do not show: data, tickets, connections, buttons, and that clients do not meet.

use std::net::SocketAddr;
use std::time::Duration;

use super::bench::Bench;
use super::bench::PEER;
use super::bench::Wrong;
use crate::proto::client::Event;
use crate::proto::client::Input as Happens;
use crate::proto::types::PeerAddr;
use crate::testbed::edge::*;
use crate::testbed::scenario::Do;

fn peer() -> SocketAddr {
    PEER.parse().unwrap()
}

fn relayed(bench: &Bench) -> SocketAddr {
    let granted = bench.events.iter().rev().find_map(|(_, event)| match event {
        Event::Allocated(granted) => Some(granted.relayed.socket()),
        _ => None,
    });
    granted.expect("there is an allocation")
}

fn live(scenario: &str) -> Bench {
    let mut bench = Bench::new(scenario, Wrong::Nothing);
    bench.input(Happens::Allocate);
    bench.run(1);
    bench.input(Happens::Bind(PeerAddr::new(peer())));
    bench.run(1);
    bench
}

/// What leaves for the peer, and whence.
fn sent(bench: &mut Bench, data: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
    bench.to_peer.clear();
    bench.input(Happens::Send { peer: PeerAddr::new(peer()), data });
    bench.run(0);
    bench.to_peer.drain(..).map(|(at, _, bytes)| (at, bytes)).collect()
}

/// What the client hears of what the peer sends to `at`.
fn heard(bench: &mut Bench, at: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
    bench.events.clear();
    bench.edge_input(Input::FromPeer { at, from: peer(), bytes });
    bench.run(0);
    let data = |(_, event): &(u64, Event)| match event {
        Event::Data { data, .. } => Some(data.to_vec()),
        _ => None,
    };
    bench.events.iter().filter_map(data).collect()
}

fn press(bench: &mut Bench, client: &str, what: &Do) {
    bench.edge_input(Input::Button(Button { client, what }));
}

#[test]
fn without_faults_data_goes_both_ways() {
    let mut bench = live("plain");
    let at = relayed(&bench);
    assert_eq!(sent(&mut bench, b"there"), [(at, b"there".to_vec())]);
    assert_eq!(heard(&mut bench, at, b"and back"), [b"and back".to_vec()]);
    assert_eq!(bench.judgement(), Judgement::Nothing);
}

#[test]
fn a_moved_port_takes_data_along_and_leaves_the_old_one_dead() {
    let mut bench = live("plain");
    let before = relayed(&bench);
    press(&mut bench, "plain.alice", &Do::MovePort);
    let [(after, data)] = &sent(&mut bench, b"from elsewhere")[..] else { panic!("one packet") };
    assert_eq!((after.ip(), &data[..]), (before.ip(), &b"from elsewhere"[..]));
    assert_ne!(*after, before);
    let after = *after;
    assert!(heard(&mut bench, before, b"to the old port").is_empty());
    assert_eq!(heard(&mut bench, after, b"to the new port"), [b"to the new port".to_vec()]);
    bench.run(700);
    assert!(bench.client.is_live(), "nothing in TURN tells it");
}

#[test]
fn a_black_hole_swallows_long_packets_both_ways_and_no_others() {
    let mut bench = live("plain");
    let at = relayed(&bench);
    press(&mut bench, "plain.alice", &Do::Mtu(576));
    // A channel's header is 4 bytes, those of IPv4 and UDP are 28.
    let longest = vec![7; 576 - 28 - 4];
    let longer = vec![7; 576 - 28 - 4 + 1];
    assert_eq!((sent(&mut bench, &longest).len(), sent(&mut bench, &longer).len()), (1, 0));
    assert_eq!((heard(&mut bench, at, &longest).len(), heard(&mut bench, at, &longer).len()), (1, 0));
}

#[test]
fn with_a_ticket_a_client_that_notices_keeps_its_relay() {
    let mut bench = Bench::with("address-change", Wrong::Nothing, |config| config.mobility = true);
    bench.input(Happens::Allocate);
    bench.run(1);
    bench.input(Happens::Bind(PeerAddr::new(peer())));
    bench.run(20);
    let at = relayed(&bench);
    assert_eq!(sent(&mut bench, b"before").len(), 1);
    bench.run(15);
    assert!(sent(&mut bench, b"meanwhile").is_empty(), "the server does not know this address");
    bench.input(Happens::Moved);
    bench.run(2);
    assert!(bench.events.iter().any(|(_, event)| *event == Event::Moved), "{:?}", bench.events);
    assert_eq!(sent(&mut bench, b"after"), [(at, b"after".to_vec())]);
}

#[test]
fn media_can_be_dropped_delayed_and_corrupted() {
    let faults = r#"
[[fault]]
when = { media = "to-peer" }
do = "drop"
[[fault]]
when = { media = "to-peer", nth = 2 }
do = { delay = "3s" }
[[fault]]
when = { media = "to-client", nth = 2 }
do = "corrupt"
"#;
    let mut bench = Bench::written(faults);
    bench.input(Happens::Allocate);
    bench.run(1);
    bench.input(Happens::Bind(PeerAddr::new(peer())));
    bench.run(1);
    let at = relayed(&bench);
    assert!(sent(&mut bench, b"first").is_empty());
    assert!(sent(&mut bench, b"second").is_empty());
    assert_eq!(sent(&mut bench, b"third").len(), 1);
    bench.run(2);
    assert!(bench.to_peer.is_empty());
    bench.run(1);
    assert_eq!(bench.to_peer.pop().expect("late").2, b"second");
    assert_eq!(heard(&mut bench, at, b"first"), [b"first".to_vec()]);
    let [second] = &heard(&mut bench, at, b"second")[..] else { panic!("one packet") };
    assert_ne!(second, b"second");
    assert_eq!(second.len(), 6);
}

#[test]
fn what_befalls_one_client_befalls_no_other() {
    let mut bench = live("plain");
    let at = relayed(&bench);
    // Somebody who is nobody, and a name that nobody has.
    press(&mut bench, "somebody else", &Do::Restart);
    assert_eq!(sent(&mut bench, b"still there"), [(at, b"still there".to_vec())]);
    press(&mut bench, "plain.alice", &Do::Vanish);
    assert!(sent(&mut bench, b"no more").is_empty());
    assert!(heard(&mut bench, at, b"no more").is_empty());
}

#[test]
fn a_wrong_password_makes_no_client() {
    let mut bench = Bench::new("quota", Wrong::Nothing);
    bench.with_password(b"a guess");
    bench.input(Happens::Allocate);
    bench.run(60);
    assert_eq!(bench.edge.clients().count(), 0);
    assert!(matches!(bench.events[..], [(_, Event::NotAllocated(_))]), "{:?}", bench.events);
}

#[test]
fn the_same_run_twice_is_the_same() {
    let run = || {
        let bench = Bench::play("server-restart", Wrong::Nothing);
        (bench.notes, bench.events, bench.millis)
    };
    assert_eq!(run(), run());
}

#[test]
fn messages_of_a_connection_may_be_split_anywhere_and_a_rebind_cuts_it() {
    use crate::proto::types::StreamId;
    use crate::proto::types::Transport;

    let mut line = Bench::over_a_stream("plain");
    line.input(Happens::Allocate);
    line.run(5);
    assert!(line.client.is_live(), "{:?}", line.events);
    let stream = StreamId { index: 1, generation: 0 };
    press(&mut line, "plain.alice", &Do::Rebind);
    assert_eq!(line.shut, [stream]);
    let (at, from) = (line.server, line.from);
    line.edge_input(Input::Accepted { stream, at, from, transport: Transport::Tcp });
    line.edge_input(Input::Bytes { stream, bytes: &[0xFF; 20] });
    assert_eq!(line.shut, [stream, stream], "what is no frame ends it");
    line.edge_input(Input::Closed { stream });
}

#[test]
fn a_late_answer_is_late_by_what_the_file_says() {
    let mut bench = Bench::new("delay-answer", Wrong::Nothing);
    bench.input(Happens::Allocate);
    bench.run(10);
    let at = bench.events.iter().find_map(|(at, event)| matches!(event, Event::Allocated(_)).then_some(*at));
    // Three answers are kept for 3 s each; the one to the fourth transmission, after 3.5 s, is not.
    assert_eq!(at.map(Duration::from_millis), Some(Duration::from_millis(4_000)));
}
