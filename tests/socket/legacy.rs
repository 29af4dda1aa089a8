//! Clients of the old dialect over TCP, pseudo-TLS and TLS ([MS-TURN]).

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;

use swingbridge::listen::stats::Layer;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::ConnectionId;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::PeerOrder;
use swingbridge::proto::types::PeerReport;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::Transport;
use swingbridge::proto::types::WorkerId;
use swingbridge::proto::wire::Verdict;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;
use swingbridge::relay::stats::StreamEnd;

use crate::doors::Doors;
use crate::doors::Terms;
use crate::doors::Tls;
use crate::doors::client_of;
use crate::plane::Allocation;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::eventually;

const ALLOCATE: u16 = 0x0003;
const NONCE: u16 = 0x0014;
const REALM: u16 = 0x0015;
const COOKIE: [u8; 8] = [0x00, 0x0F, 0x00, 0x04, 0x72, 0xC6, 0x4B, 0xC6];
const CONTROL: u8 = 2;
const DATA: u8 = 3;
const SERVER_HELLO: usize = 83;

/// A message by its drawing: attributes are not padded.
fn message(kind: u16, transaction: [u8; 16], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = COOKIE.to_vec();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).expect("a short value").to_be_bytes());
        body.extend(*value);
    }
    let len = u16::try_from(body.len()).expect("a short message");
    [&kind.to_be_bytes()[..], &len.to_be_bytes(), &transaction, &body].concat()
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a short payload");
    [&[kind, 0][..], &len.to_be_bytes(), payload].concat()
}

fn first_allocate(number: u8) -> Vec<u8> {
    framed(CONTROL, &message(ALLOCATE, [number; 16], &[(0x8008, &[0, 0, 0, 1])]))
}

/// An Allocate that a worker hands on, of whatever MAC.
fn signed_allocate(nonce: &[u8], transaction: [u8; 16]) -> Vec<u8> {
    let attributes: [(u16, &[u8]); 4] =
        [(0x0006, b"alice"), (REALM, b"test"), (NONCE, nonce), (0x0008, &[0x5A; 20])];
    message(ALLOCATE, transaction, &attributes)
}

fn attribute(message: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    while rest.len() >= 4 {
        let found = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if found == kind {
            return rest.get(4..4 + len);
        }
        rest = rest.get(4 + len..)?;
    }
    None
}

/// The hello of pseudo-TLS.
fn hello() -> Vec<u8> {
    let head = [0x16, 3, 1, 0, 0x2D, 1, 0, 0, 0x29, 3, 1];
    [&head[..], &[0xC1; 32], &[0, 0, 2, 0, 0x18, 1, 0]].concat()
}

/// A client's end.
struct Old<S> {
    wire: S,
}

impl<S: Read + Write> Old<S> {
    fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).expect("sent");
        self.wire.flush().expect("sent");
    }

    /// The next frame: what it is, and what it carries.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 4];
        self.wire.read_exact(&mut header).expect("a frame comes");
        assert_eq!(header[1], 0, "reserved");
        let mut payload = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        self.wire.read_exact(&mut payload).expect("all of it");
        (header[0], payload)
    }

    /// The nonce of the server's challenge.
    fn nonce(&mut self, number: u8) -> Vec<u8> {
        self.send(&first_allocate(number));
        let (kind, challenge) = self.receive();
        assert_eq!(
            (kind, &challenge[..2], &challenge[4..20]),
            (CONTROL, &[0x01, 0x13][..], &[number; 16][..])
        );
        assert_eq!(attribute(&challenge, 0x0009).map(|code| code[2..4].to_vec()), Some(vec![4, 1]));
        assert_eq!(attribute(&challenge, 0x0008), None, "the first 401 is not signed");
        assert_eq!(attribute(&challenge, REALM), Some(&b"test"[..]));
        attribute(&challenge, NONCE).expect("a nonce").to_vec()
    }

    /// Gives this client an allocation as the control task does, with a permission for `peer`.
    fn open(&mut self, plane: &mut Plane, peer: SocketAddr) -> Allocation {
        let nonce = self.nonce(7);
        let request = signed_allocate(&nonce, [8; 16]);
        self.send(&framed(CONTROL, &request));
        let (worker, up) = plane.fresh();
        assert_eq!(up.bytes[..], request[..], "without its frame");
        let allocation = grant(plane, worker, up.from, peer);
        // Whatever control says; it is framed here.
        let ready = message(0x0103, [8; 16], &[(0x000D, &[0, 0, 0, 60])]);
        plane.push(worker, ToWorker::Reply { to: up.from, bytes: ready.clone().into() });
        assert_eq!(self.receive(), (CONTROL, ready));
        allocation
    }

    fn ends_silently(&mut self) -> bool {
        match self.wire.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn grant(plane: &mut Plane, worker: usize, five_tuple: FiveTuple, peer: SocketAddr) -> Allocation {
    let relay = plane.next_relay();
    let bind = RelayAddr::new(SocketAddr::new(peer.ip(), 0));
    plane.push(worker, ToWorker::Open { relay, bind });
    let relayed = match plane.report(worker) {
        Report::Opened { relay: opened, bound } if opened == relay => bound,
        other => panic!("{other:?}"),
    };
    let (until, bandwidth, protocol) = (Deadline::NEVER, Bandwidth::default(), RelayProtocol::Udp);
    let insert =
        NewAllocation { relay, five_tuple, dialect: Dialect::MsTurn, relayed, until, bandwidth, protocol };
    plane.push(worker, ToWorker::Table(TableChange::Insert(Box::new(insert))));
    plane.push(worker, ToWorker::Table(TableChange::Permit { relay, peer: peer.ip(), until }));
    Allocation { worker, relay, relayed: relayed.socket(), five_tuple }
}

fn peer() -> Client {
    Client::new([127, 0, 0, 1].into(), "127.0.0.1:9".parse().expect("a literal"))
}

fn start() -> (Plane, Doors) {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let doors = Doors::open(&mut plane);
    (plane, doors)
}

fn answer_destination<S: Read + Write>(plane: &mut Plane, old: &mut Old<S>, allocation: &Allocation) {
    let done = message(0x0106, [9; 16], &[]);
    plane.push(allocation.worker, ToWorker::Reply { to: allocation.five_tuple, bytes: done.clone().into() });
    assert_eq!(old.receive(), (CONTROL, done));
}

/// Media both ways of a client that has nothing yet.
fn call<S: Read + Write>(plane: &mut Plane, mut old: Old<S>, transport: Transport) {
    let (one, other) = (peer(), peer());
    let allocation = old.open(plane, one.address());
    assert_eq!(allocation.five_tuple.transport, transport);
    old.send(&framed(DATA, b"nobody is named yet"));
    one.send_to(b"who is there?", allocation.relayed);
    let (kind, indication) = old.receive();
    assert_eq!((kind, &indication[..2]), (CONTROL, &[0x01, 0x15][..]));
    assert_eq!(attribute(&indication, 0x0013), Some(&b"who is there?"[..]));
    // What comes in before the answer is told as before, so that the client knows what it reads.
    let destination =
        TableChange::Destination { relay: allocation.relay, peer: PeerAddr::new(one.address()) };
    plane.push(allocation.worker, ToWorker::Table(destination));
    one.send_to(b"meanwhile", allocation.relayed);
    assert_eq!(attribute(&old.receive().1, 0x0013), Some(&b"meanwhile"[..]));
    answer_destination(plane, &mut old, &allocation);
    let foreign: [&[u8]; 7] = [
        &[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        &[0x16, 0xFE, 0xFD, 0, 0, 0],
        &[0x40, 0, 0, 1, 9],
        &[0x80, 0x60, 0, 1],
        &[0xC0, 0, 0, 0, 1],
        &message(ALLOCATE, [1; 16], &[]),
        &first_allocate(1),
    ];
    for data in foreign {
        old.send(&framed(DATA, data));
        assert_eq!(one.receive_from(), (data.to_vec(), allocation.relayed), "{data:02x?}");
        one.send_to(data, allocation.relayed);
        assert_eq!(old.receive(), (DATA, data.to_vec()), "{data:02x?}");
    }
    other.send_to(b"another port", allocation.relayed);
    assert_eq!(old.receive().0, CONTROL, "with its name");
    plane.drops(allocation.worker, DropReason::NoDestination, 1);
}

// proves ms_turn:2-3, ms_turn:6.5-5, ms_turn:6.6-2
#[test]
fn a_call_over_tcp() {
    let (mut plane, doors) = start();
    call(&mut plane, Old { wire: doors.connect() }, Transport::Tcp);
}

#[test]
fn a_call_over_tls() {
    let (mut plane, doors) = start();
    let tls = Tls::new(doors.connect(), client_of(&doors.certificates, &[]), "localhost");
    call(&mut plane, Old { wire: tls }, Transport::Tls);
    assert_eq!(doors.stats().verdicts(Layer::Inner, Verdict::MsTurn), 1);
}

// proves ms_turn:2-1, ms_turn:2-2
#[test]
fn a_call_behind_the_hellos_of_pseudo_tls() {
    let (mut plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    old.send(&hello());
    let mut answer = [0; SERVER_HELLO + 1];
    // One read, as clients do it.
    let len = old.wire.read(&mut answer).expect("an answer");
    assert_eq!(len, SERVER_HELLO, "in one piece, and nothing behind it");
    assert_eq!(answer[..11], [0x16, 3, 1, 0, 0x4E, 2, 0, 0, 0x46, 3, 1]);
    assert_eq!((answer[43], &answer[76..83]), (32, &[0, 0x18, 0, 0x0E, 0, 0, 0][..]));
    call(&mut plane, old, Transport::Tcp);
    assert_eq!(doors.stats().verdicts(Layer::Outer, Verdict::PseudoTls), 1);
    assert_eq!(doors.stats().verdicts(Layer::Disguised, Verdict::MsTurn), 1);
}

#[test]
fn it_is_all_the_same_how_a_stream_is_split() {
    let (mut plane, doors) = start();
    let one = peer();
    let mut old = Old { wire: doors.connect() };
    let all = [hello(), first_allocate(1), first_allocate(2)].concat();
    for byte in &all {
        old.send(&[*byte]);
    }
    old.wire.read_exact(&mut [0; SERVER_HELLO]).expect("an answer");
    for number in 1..=2 {
        assert_eq!(old.receive().1[4..20], [number; 16]);
    }
    let allocation = old.open(&mut plane, one.address());
    let destination =
        TableChange::Destination { relay: allocation.relay, peer: PeerAddr::new(one.address()) };
    plane.push(allocation.worker, ToWorker::Table(destination));
    answer_destination(&mut plane, &mut old, &allocation);
    let all = [framed(DATA, b"one"), framed(DATA, b""), framed(DATA, b"two and more")].concat();
    for split in 0..=all.len() {
        let (head, tail) = all.split_at(split);
        old.send(head);
        // Not for what it decides: to let the server read the head alone most of the time.
        std::thread::sleep(std::time::Duration::from_micros(200));
        old.send(tail);
        for expected in [&b"one"[..], b"", b"two and more"] {
            assert_eq!(one.receive_from(), (expected.to_vec(), allocation.relayed), "split at {split}");
        }
    }
}

#[test]
fn many_frames_in_one_segment_are_worked_off_in_their_order() {
    let (_plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    let all: Vec<u8> = (0..50).flat_map(first_allocate).collect();
    old.send(&all);
    for number in 0..50 {
        assert_eq!(old.receive().1[4..20], [number; 16]);
    }
}

// proves ms_turn:8-3, ms_turn:8-4
#[test]
fn what_is_not_well_formed_is_closed_without_a_byte() {
    let (plane, doors) = start();
    let sound = first_allocate(1);
    let with = |at: usize, byte: u8| {
        let mut other = sound.clone();
        other[at] = byte;
        other
    };
    // Behind a sound first message, which the worker has answered then.
    let late =
        [with(0, 1), with(1, 1), with(3, 1), with(4, 0x40), with(7, 0), with(27, 0), b"GET /".to_vec()];
    for (count, broken) in (1..).zip(&late) {
        let mut old = Old { wire: doors.connect() };
        old.nonce(3);
        old.send(broken);
        assert!(old.ends_silently(), "{broken:02x?}");
        eventually("an end", || (plane.stats(0).stream_ends(StreamEnd::Framing) == count).then_some(()));
    }
    // As the first words: the doors themselves close.
    let at_the_doors = [with(1, 1), with(3, 1), with(24, 1), [&[3, 0][..], &sound[4..]].concat()];
    for broken in &at_the_doors {
        let mut old = Old { wire: doors.connect() };
        old.send(broken);
        assert!(old.ends_silently(), "{broken:02x?}");
    }
    let taken = plane.stats(0).streams_taken_in.get();
    assert_eq!(taken, late.len() as u64, "no worker heard of the others");
}

#[test]
fn what_a_client_without_an_allocation_sends_as_data_goes_nowhere() {
    let (plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    old.nonce(1);
    old.send(&[framed(DATA, b"early"), first_allocate(2)].concat());
    assert_eq!(old.receive().1[4..20], [2; 16]);
    plane.drops(0, DropReason::NoAllocation, 1);
    old.send(&framed(DATA, &[0; 9_000]));
    assert!(old.ends_silently(), "longer than any request");
}

// proves ms_turn:3-3, ms_turn:3-4
#[test]
fn a_stranger_s_send_and_shared_secrets_get_no_answer() {
    let (_plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    old.nonce(1);
    for kind in [0x0002, 0x0102, 0x0112, 0x0004, 0x0104, 0x0114, 0x0103, 0x0115] {
        old.send(&framed(CONTROL, &message(kind, [4; 16], &[])));
    }
    old.send(&first_allocate(5));
    assert_eq!(old.receive().1[4..20], [5; 16], "answers come in the order of their requests");
}

#[test]
fn a_connection_stays_in_its_dialect() {
    let (plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    old.nonce(1);
    old.send(&crate::message::stun(crate::message::BINDING, *b"not any more", &[]));
    assert!(old.ends_silently());
    // And a connection of RFC 8656 whose message looks like one of the other dialect.
    let mut new = doors.tcp();
    let mut disguised = message(ALLOCATE, [5; 16], &[]);
    disguised[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    new.send(&[disguised, crate::message::stun(crate::message::BINDING, *b"after it all", &[])].concat());
    assert_eq!(new.receive()[8..20], *b"after it all");
    plane.drops(0, DropReason::Malformed, 1);
}

#[test]
fn where_the_old_dialect_is_not_served_its_first_words_are_not() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let doors = Doors::open_on(&mut plane, Terms { legacy: false, ..Terms::default() });
    for words in [hello(), first_allocate(1)] {
        let mut old = Old { wire: doors.connect() };
        old.send(&words);
        assert!(old.ends_silently());
    }
    doors.turned_away(TurnedAway::NotServed, 2);
}

/// An allocation whose relayed port is of TCP, which permits 127.0.0.1.
fn open_port(plane: &mut Plane, old: &mut Old<TcpStream>) -> Allocation {
    let nonce = old.nonce(7);
    old.send(&framed(CONTROL, &signed_allocate(&nonce, [8; 16])));
    let (worker, up) = plane.fresh();
    let relay = plane.next_relay();
    let bind = RelayAddr::new("127.0.0.1:0".parse().expect("a literal"));
    plane.push(worker, ToWorker::OpenPort { relay, bind });
    let Report::Opened { bound: relayed, .. } = plane.report(worker) else { panic!("a port") };
    let (until, five_tuple) = (Deadline::NEVER, up.from);
    let insert = NewAllocation {
        relay,
        five_tuple,
        dialect: Dialect::MsTurn,
        relayed,
        until,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Tcp,
    };
    let peer = "127.0.0.1".parse().expect("a literal");
    plane.push(worker, ToWorker::Table(TableChange::Insert(Box::new(insert))));
    plane.push(worker, ToWorker::Table(TableChange::Permit { relay, peer, until }));
    Allocation { worker, relay, relayed: relayed.socket(), five_tuple }
}

fn order(plane: &mut Plane, of: &Allocation, order: PeerOrder) {
    plane.push(of.worker, ToWorker::Peer(order));
}

fn peer_report(plane: &mut Plane, of: &Allocation) -> PeerReport {
    match plane.report(of.worker) {
        Report::Peer(report) => report,
        other => panic!("{other:?}"),
    }
}

fn connection(number: u32) -> ConnectionId {
    ConnectionId::new(number, WorkerId(0))
}

/// A connection of the relayed port with a peer, both ends.
fn dialled(plane: &mut Plane, of: &Allocation, number: u32) -> (TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
    let address = listener.local_addr().expect("bound");
    let (connection, to) = (connection(number), PeerAddr::new(address));
    order(plane, of, PeerOrder::Connect { connection, relay: of.relay, to });
    // Behind the order, before the connection: it waits.
    let early: Box<[u8]> = (*b"early").into();
    plane.push(of.worker, ToWorker::Send { relay: of.relay, peer: to, data: early });
    let (mut far, from) = listener.accept().expect("it comes");
    assert_eq!(from, of.relayed, "from the relayed port");
    assert_eq!(peer_report(plane, of), PeerReport::Connected { connection });
    far.set_read_timeout(Some(crate::plane::PATIENCE)).expect("a timeout");
    let mut heard = [0; 5];
    far.read_exact(&mut heard).expect("what waited");
    assert_eq!(&heard, b"early");
    (far, address)
}

fn set_destination(plane: &mut Plane, old: &mut Old<TcpStream>, of: &Allocation, to: SocketAddr) {
    let destination = TableChange::Destination { relay: of.relay, peer: PeerAddr::new(to) };
    plane.push(of.worker, ToWorker::Table(destination));
    answer_destination(plane, old, of);
}

// proves ms_turn:6.3-3
#[test]
fn a_connection_that_was_dialled_carries_both_ways_with_frames_towards_the_client() {
    let (mut plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    let allocation = open_port(&mut plane, &mut old);
    let (mut one, one_address) = dialled(&mut plane, &allocation, 1);
    let (mut other, other_address) = dialled(&mut plane, &allocation, 2);
    for (far, address) in [(&mut one, one_address), (&mut other, other_address)] {
        far.write_all(b"who is there?").expect("sent");
        let (kind, indication) = old.receive();
        let remote = [&[0, 1][..], &address.port().to_be_bytes(), &[127, 0, 0, 1]].concat();
        assert_eq!((kind, attribute(&indication, 0x0012)), (CONTROL, Some(&remote[..])));
        assert_eq!(attribute(&indication, 0x0013), Some(&b"who is there?"[..]));
    }
    set_destination(&mut plane, &mut old, &allocation, one_address);
    old.send(&[framed(DATA, b"bare "), framed(DATA, b""), framed(DATA, b"bytes")].concat());
    let mut heard = [0; 10];
    one.read_exact(&mut heard).expect("it arrives");
    assert_eq!(&heard, b"bare bytes");
    one.write_all(b"back").expect("sent");
    assert_eq!(old.receive(), (DATA, b"back".to_vec()));
    other.write_all(b"with its name").expect("sent");
    assert_eq!(old.receive().0, CONTROL);
    drop(one);
    assert_eq!(peer_report(&mut plane, &allocation), PeerReport::Ended { connection: connection(1) });
    old.send(&framed(DATA, b"to nobody"));
    plane.drops(allocation.worker, DropReason::SendFailed, 1);
}

#[test]
fn whoever_reads_slowly_holds_the_other_up_and_no_byte_is_lost() {
    let (mut plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    let allocation = open_port(&mut plane, &mut old);
    let (mut far, address) = dialled(&mut plane, &allocation, 1);
    set_destination(&mut plane, &mut old, &allocation, address);
    let all: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
    let frames: Vec<u8> = all.chunks(1_999).flat_map(|chunk| framed(DATA, chunk)).collect();
    let mut writing = old.wire.try_clone().expect("a handle");
    let mut far_writing = far.try_clone().expect("a handle");
    let sent = all.clone();
    let writers = [
        std::thread::spawn(move || writing.write_all(&frames).expect("sent")),
        std::thread::spawn(move || far_writing.write_all(&sent).expect("sent")),
    ];
    // Nobody reads for a while: everything fills up.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut heard = vec![0; all.len()];
    far.read_exact(&mut heard).expect("all of it");
    assert!(heard == all, "what the client sent");
    let mut back = Vec::new();
    while back.len() < all.len() {
        let (kind, data) = old.receive();
        assert_eq!(kind, DATA);
        back.extend(data);
    }
    assert!(back == all, "what the peer sent");
    writers.into_iter().for_each(|writer| writer.join().expect("done"));
}

// proves ms_turn:6.7-2
#[test]
fn a_port_listens_too_and_what_is_not_let_in_is_reset() {
    let (mut plane, doors) = start();
    let mut old = Old { wire: doors.connect() };
    let allocation = open_port(&mut plane, &mut old);
    let mut far = TcpStream::connect(allocation.relayed).expect("it listens");
    let PeerReport::Arrived { arrival, peer, relay } = peer_report(&mut plane, &allocation) else {
        panic!("an arrival")
    };
    assert_eq!((peer.socket(), relay), (far.local_addr().expect("bound"), allocation.relay));
    far.write_all(b"early").expect("sent");
    order(&mut plane, &allocation, PeerOrder::Admit { arrival, connection: connection(1) });
    let (kind, indication) = old.receive();
    assert_eq!((kind, attribute(&indication, 0x0013)), (CONTROL, Some(&b"early"[..])));
    let data: Box<[u8]> = (*b"back").into();
    plane.push(allocation.worker, ToWorker::Send { relay, peer, data });
    far.set_read_timeout(Some(crate::plane::PATIENCE)).expect("a timeout");
    let mut heard = [0; 4];
    far.read_exact(&mut heard).expect("it arrives");
    assert_eq!(&heard, b"back");
    let mut refused = TcpStream::connect(allocation.relayed).expect("it listens");
    let PeerReport::Arrived { arrival, .. } = peer_report(&mut plane, &allocation) else {
        panic!("an arrival")
    };
    order(&mut plane, &allocation, PeerOrder::Refuse { arrival });
    let error = refused.read(&mut heard).expect_err("no end but a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    order(&mut plane, &allocation, PeerOrder::Close { connection: connection(1) });
    assert_eq!(far.read(&mut heard).expect("an end"), 0);
}
