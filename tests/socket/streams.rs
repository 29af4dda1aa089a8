//! Clients over TCP.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use swingbridge::listen::Deadlines;
use swingbridge::listen::stats::Layer;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::net::Full;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::types::Transport;
use swingbridge::proto::types::limits;
use swingbridge::proto::wire::Verdict;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;
use swingbridge::relay::stats::StreamEnd;

use crate::doors::Doors;
use crate::doors::Frames;
use crate::doors::Terms;
use crate::doors::allocate;
use crate::doors::grant;
use crate::doors::padded_channel_data;
use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::PATIENCE;
use crate::plane::Plane;
use crate::plane::eventually;

const NOWHERE: &str = "127.0.0.1:9";
const UDP: &[&str] = &["127.0.0.1:0"];

fn peer() -> Client {
    Client::new([127, 0, 0, 1].into(), NOWHERE.parse().expect("a literal"))
}

fn payload(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + seed * 7) as u8).collect()
}

fn binding(transaction: [u8; 12]) -> Vec<u8> {
    message::stun(message::BINDING, transaction, &[])
}

// proves rfc8656:5-19, rfc8656:12.5-3, rfc8656:12.6-3
#[test]
fn data_travels_both_ways_byte_for_byte_and_padded() {
    let mut plane = Plane::start(2, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let allocation = client.open(&mut plane, peer.address());
    assert_eq!(allocation.five_tuple.transport, Transport::Tcp);
    for (seed, len) in [0, 1, 2, 3, 4, 172, 1_200, 9_000].into_iter().enumerate() {
        let data = payload(len, seed);
        client.send(&padded_channel_data(CHANNEL, &data));
        assert_eq!(peer.receive_from(), (data, allocation.relayed));
        let data = payload(len, seed + 100);
        peer.send_to(&data, allocation.relayed);
        assert_eq!(client.receive(), padded_channel_data(CHANNEL, &data));
    }
    let other = self::peer();
    client.send(&message::send_indication(other.address(), b"by indication"));
    assert_eq!(other.receive_from(), (b"by indication".to_vec(), allocation.relayed));
    other.send_to(b"back", allocation.relayed);
    let frame = client.receive();
    assert_eq!(message::data_indication(&frame, other.address()), Some(&b"back"[..]));
}

// proves rfc8489:6.2.2-1, rfc8489:12-4
#[test]
fn it_is_all_the_same_how_a_stream_is_split() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let first = binding(*b"byte by byte");
    for byte in &first {
        client.send(&[*byte]);
    }
    assert_eq!(message::kind(&client.receive()), message::BINDING_SUCCESS);
    let allocation = client.open(&mut plane, peer.address());
    let mut all = padded_channel_data(CHANNEL, b"one");
    all.extend(binding(*b"in the midst"));
    all.extend(padded_channel_data(CHANNEL, b"two and"));
    for split in 0..all.len() {
        let (head, tail) = all.split_at(split);
        client.send(head);
        // Not for what it decides: to let the server read the head alone most of the time.
        std::thread::sleep(Duration::from_micros(200));
        client.send(tail);
        assert_eq!(peer.receive_from(), (b"one".to_vec(), allocation.relayed));
        assert_eq!(peer.receive_from(), (b"two and".to_vec(), allocation.relayed));
    }
}

#[test]
fn what_comes_with_the_first_message_in_one_segment_is_worked_off_at_once() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = doors.tcp();
    let mut all = Vec::new();
    for number in 0..50_u8 {
        all.extend(binding([number; 12]));
    }
    client.send(&all);
    for number in 0..50_u8 {
        assert_eq!(client.receive()[8..20], [number; 12]);
    }
}

#[test]
fn garbage_is_closed_without_a_byte_and_counted() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let stats = doors.stats();
    for (bytes, verdict) in [
        (&b"\xFF"[..], Verdict::Unknown),
        (b"\x40\x01\0\x04data", Verdict::ChannelData),
        (b"PROXY TCP4 1.2.3.4 ", Verdict::ProxyV1),
        (b"\x05\x01\x00", Verdict::Unknown),
    ] {
        let before = stats.verdicts(Layer::Outer, verdict);
        let mut client = doors.tcp();
        client.send(bytes);
        assert!(client.ends_silently(), "{bytes:02x?}");
        assert_eq!(stats.verdicts(Layer::Outer, verdict), before + 1, "{verdict:?}");
    }
    doors.turned_away(TurnedAway::NotServed, 4);
    assert_eq!(plane.stats(0).streams_taken_in.get(), 0, "no worker heard of them");
}

#[test]
fn a_first_message_that_is_none_is_closed_without_a_byte() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut too_long = binding(*b"much too lon");
    too_long[2..4].copy_from_slice(&60_000_u16.to_be_bytes());
    let mut odd = binding(*b"odd length. ");
    odd[3] = 2;
    for bytes in [too_long, odd] {
        let mut client = doors.tcp();
        client.send(&bytes);
        assert!(client.ends_silently());
    }
    doors.turned_away(TurnedAway::Framing, 2);
}

// proves rfc8489:6.2.2-5
#[test]
fn whoever_is_too_slow_is_closed_without_a_byte() {
    let (short, long) = (Duration::from_millis(50), Terms::default().deadlines);
    let request = binding(*b"not all of i");
    let cases: [(&[u8], Deadlines, TurnedAway); 4] = [
        (&[], Deadlines { sniff: short, ..long }, TurnedAway::SniffDeadline),
        (&[0], Deadlines { sniff: short, ..long }, TurnedAway::SniffDeadline),
        (&request[..19], Deadlines { first_message: short, ..long }, TurnedAway::MessageDeadline),
        (
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
            Deadlines { handshake: short, ..long },
            TurnedAway::HandshakeDeadline,
        ),
    ];
    for (bytes, deadlines, why) in cases {
        let mut plane = Plane::start(1, UDP);
        let doors = Doors::open_on(&mut plane, Terms { deadlines, ..Terms::default() });
        let mut client = doors.tcp();
        client.send(bytes);
        assert!(client.ends_silently());
        doors.turned_away(why, 1);
    }
}

// proves rfc8489:6.2.2-5
#[test]
fn a_source_gets_so_many_connections_and_each_that_ends_makes_room() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, Terms { per_address: 2, ..Terms::default() });
    let mut served = doors.tcp();
    served.send(&binding(*b"one of two. "));
    served.receive();
    let _waits = doors.tcp();
    let stats = doors.stats();
    eventually("two connections", || (stats.accepted() == 2).then_some(()));
    let mut third = doors.tcp();
    assert!(third.ends_silently());
    assert_eq!(stats.full(Full::Source), 1);
    // The worker has it, and gives its place back all the same.
    drop(served);
    eventually("room", || {
        let mut next = doors.tcp();
        next.send(&binding(*b"and one more"));
        (!next.ends_silently()).then_some(())
    });
}

#[test]
fn all_sources_together_get_so_many_connections() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, Terms { total: 1, ..Terms::default() });
    let _first = doors.tcp();
    let stats = doors.stats();
    eventually("a connection", || (stats.accepted() == 1).then_some(()));
    assert!(doors.tcp().ends_silently());
    assert_eq!(stats.full(Full::Total), 1);
}

#[test]
fn connections_go_to_the_worker_with_the_least_to_do() {
    let mut plane = Plane::start(2, UDP);
    let doors = Doors::open(&mut plane);
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let mut client = doors.tcp();
            client.send(&binding([number; 12]));
            client.receive();
            client
        })
        .collect();
    let open = |plane: &Plane| [0, 1].map(|worker| plane.stats(worker).streams.get());
    assert_eq!(open(&plane), [3, 3]);
    drop(clients);
    eventually("nobody", || (open(&plane) == [0, 0]).then_some(()));
}

#[test]
fn the_end_of_a_connection_is_reported_once_and_again_for_an_allocation_that_comes_too_late() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let allocation = client.open(&mut plane, peer.address());
    drop(client);
    let Report::StreamGone { from } = plane.report(0) else { panic!("its end is reported") };
    assert_eq!(from, allocation.five_tuple);

    let late = grant_late(&mut plane, allocation.five_tuple, peer.address());
    let Report::StreamGone { from } = plane.report(0) else { panic!("and told again") };
    assert_eq!(from, late);
    assert_eq!(plane.stats(0).stream_ends(StreamEnd::Client), 1);

    // What has never asked for anything of the control task's is nothing to it.
    let mut stranger = doors.tcp();
    stranger.send(&binding(*b"only binding"));
    stranger.receive();
    drop(stranger);
    eventually("its end", || (plane.stats(0).stream_ends(StreamEnd::Client) == 2).then_some(()));
    assert!(plane.handles[0].reports.is_empty());
}

fn grant_late(
    plane: &mut Plane,
    from: swingbridge::proto::types::FiveTuple,
    peer: std::net::SocketAddr,
) -> swingbridge::proto::types::FiveTuple {
    grant(plane, 0, from, peer).five_tuple
}

#[test]
fn a_stream_that_breaks_is_closed_and_reported_but_what_came_before_is_done() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let allocation = client.open(&mut plane, peer.address());
    let mut bytes = padded_channel_data(CHANNEL, b"last words");
    bytes.push(0xFF);
    client.send(&bytes);
    assert_eq!(peer.receive_from(), (b"last words".to_vec(), allocation.relayed));
    assert!(client.ends_silently());
    assert!(matches!(plane.report(0), Report::StreamGone { from } if from == allocation.five_tuple));
    assert_eq!(plane.stats(0).stream_ends(StreamEnd::Framing), 1);
}

#[test]
fn a_stranger_cannot_make_the_server_keep_more_than_a_request() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = doors.tcp();
    client.send(&binding(*b"an honest on"));
    client.receive();
    let frame = padded_channel_data(CHANNEL, &vec![0; limits::REQUEST_MAX]);
    client.send(&frame[..4]);
    assert!(client.ends_silently(), "its header says that it is too long");
    assert_eq!(plane.stats(0).stream_ends(StreamEnd::Framing), 1);
}

#[test]
fn half_a_connection_is_none() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = doors.tcp();
    client.send(&binding(*b"before the e"));
    client.wire.shutdown(Shutdown::Write).expect("a socket");
    assert_eq!(message::kind(&client.receive()), message::BINDING_SUCCESS);
    assert!(client.ends_silently());
}

#[test]
fn requests_that_find_the_ring_full_wait_in_their_stream_and_none_is_lost() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = doors.tcp();
    let nonce = client.nonce();
    const COUNT: usize = 2 * limits::NEW_REQUESTS_MAX;
    let mut writer = client.wire.try_clone().expect("a descriptor");
    let sending = std::thread::spawn(move || {
        for number in 0..COUNT {
            let mut transaction = [0; 12];
            transaction[..8].copy_from_slice(&(number as u64).to_be_bytes());
            writer.write_all(&allocate(&nonce, transaction)).expect("sent");
        }
    });
    eventually("a full ring", || (plane.stats(0).streams_parked.get() > 0).then_some(()));
    for number in 0..COUNT {
        let (_, request) = plane.fresh();
        assert_eq!(request.bytes[8..16], (number as u64).to_be_bytes());
    }
    sending.join().expect("sent");
    assert_eq!(plane.stats(0).dropped(DropReason::RequestRingFull), 0);
}

/// A connection with a small receive buffer, so that what the server holds for it is soon all there is.
pub(crate) fn small_reader(doors: &Doors) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("an option");
    socket.connect(&doors.address.into()).expect("connected");
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Floods a client that reads nothing, and holds what it gets afterwards against the rules. `window` is what its own
/// machine keeps for it.
pub(crate) fn stall<S: Read + Write>(plane: &mut Plane, mut client: Frames<S>, window: u64) {
    let peer = peer();
    let allocation = client.open(plane, peer.address());
    let stats = plane.stats(0);
    let taken_before = stats.to_clients.packets.get();
    let heard = || stats.from_peers.packets.get() + stats.relay_losses.get();
    let heard_before = heard();
    let mut number = 0_u32;
    let mut flood = |count| {
        for _ in 0..count {
            let mut data = payload(1_000, 1);
            data[..4].copy_from_slice(&number.to_be_bytes());
            peer.send_to(&data, allocation.relayed);
            number += 1;
        }
        number
    };
    // Until much more was dropped than taken.
    eventually("drops", || {
        flood(50);
        (stats.dropped(DropReason::StreamFull) > 500).then_some(())
    });
    // What still waits in the relay socket would find room later. What that has lost it tells with the next.
    eventually("all of them", || {
        let sent = flood(0);
        let all = heard() - heard_before >= sent.into();
        flood(u32::from(!all));
        all.then_some(())
    });
    let taken = stats.to_clients.packets.get() - taken_before;
    assert!(taken * 1_004 <= 64 * 1_024 + window, "{taken} frames, a window of {window} bytes");

    // The answer to a request finds its place behind them.
    let answer = message::stun(message::BINDING_SUCCESS, *b"still there?", &[]);
    plane.push(0, ToWorker::Reply { to: allocation.five_tuple, bytes: answer.clone().into() });
    let (mut last, mut seen) = (None, 0);
    loop {
        let frame = client.receive();
        if frame == answer {
            break;
        }
        assert_eq!(frame.len(), 1_004, "whole frames alone");
        let number = u32::from_be_bytes(*frame[4..].first_chunk().expect("four bytes"));
        assert!(last.is_none_or(|last| last < number), "in their order");
        (last, seen) = (Some(number), seen + 1);
    }
    assert_eq!(seen, taken, "what was taken came, and all of it before the answer");
    peer.send_to(b"afterwards", allocation.relayed);
    assert_eq!(client.receive(), padded_channel_data(CHANNEL, b"afterwards"));
}

#[test]
fn a_reader_that_stalls_costs_a_bounded_amount_loses_whole_frames_and_goes_on() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let socket = small_reader(&doors);
    let window = sockopt::socket_recv_buffer_size(&socket).expect("an option") as u64;
    stall(&mut plane, Frames::new(socket), window);
}

#[test]
fn a_client_that_asks_and_never_reads_is_let_go() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = Frames::new(small_reader(&doors));
    client.wire.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let request = binding(*b"what am I???");
    // The server ends it, so writing fails in the end.
    while client.wire.write_all(&request.repeat(100)).is_ok() {}
    let stats = plane.stats(0);
    eventually("its end", || (stats.stream_ends(StreamEnd::Overrun) == 1).then_some(()));
}

// proves rfc8489:6.2.2-4
#[test]
fn an_answer_for_a_connection_that_is_gone_is_counted_and_nothing_else() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let allocation = client.open(&mut plane, peer.address());
    drop(client);
    assert!(matches!(plane.report(0), Report::StreamGone { .. }));
    plane.push(0, ToWorker::Reply { to: allocation.five_tuple, bytes: (*b"to nobody").into() });
    plane.drops(0, DropReason::SendFailed, 1);
    peer.send_to(b"to nobody", allocation.relayed);
    plane.drops(0, DropReason::SendFailed, 2);
}

#[test]
fn a_listener_that_closes_leaves_the_connections_that_workers_have() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tcp(), peer());
    let allocation = client.open(&mut plane, peer.address());
    let mut waiting = doors.tcp();
    drop(doors);
    let mut nothing = [0; 8];
    assert!(matches!(waiting.wire.read(&mut nothing), Ok(0) | Err(_)), "nobody would ever serve it");
    client.send(&padded_channel_data(CHANNEL, b"goes on"));
    assert_eq!(peer.receive_from(), (b"goes on".to_vec(), allocation.relayed));
}
