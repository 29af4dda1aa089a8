//! Connections, where it takes a look inside: what a panic leaves of them, and idle ones.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;

use crate::net::Channel;
use crate::net::Places;
use crate::proto::media::Bandwidth;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayProtocol;
use crate::proto::types::ServerAddr;
use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::relay::Arriving;
use crate::relay::stats::StreamEnd;

use super::*;

/// A Binding request by its drawing.
const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Room for the reports of connections, beyond what commands reserve.
const ROOMY: usize = limits::REPORTS_MAX + 8;

/// A connection that the worker of `slot` has, and its far end.
pub(super) fn connected(slot: &mut Slot) -> (StreamId, FiveTuple, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
    let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (near, client) = listener.accept().expect("it waits");
    near.set_nonblocking(true).expect("an option");
    far.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let server = ServerAddr::new(near.local_addr().expect("bound"));
    let from = FiveTuple { client: ClientAddr::new(client), server, transport: Transport::Tcp };
    let place = Places::new(1, 0, [1; 4]).take(client.ip()).expect("a place");
    let arriving =
        Arriving { channel: Channel::new(near), from, unread: Vec::new(), place, dialect: Dialect::Rfc8656 };
    let tick = slot.tick();
    let id = slot.streams.take_in(&slot.poll, tick, arriving).expect("watched");
    (id, from, far)
}

fn round(worker: &mut Worker<'_>) {
    let mut events = Events::new(EVENTS);
    worker.wait(&mut events).expect("waits");
    worker.serve_streams(&events);
    worker.flush_streams();
    worker.tell_gone();
}

fn insert(slot: &mut Slot, from: FiveTuple) {
    let relayed = RelayAddr::new(SocketAddr::from(([127, 0, 0, 1], 2_000)));
    slot.table.apply(TableChange::Insert(Box::new(NewAllocation {
        relay: RelayId { index: 1, generation: 0 },
        five_tuple: from,
        dialect: Dialect::Rfc8656,
        relayed,
        until: Deadline::NEVER,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Udp,
    })));
}

#[test]
fn after_a_panic_the_connection_at_work_is_closed_and_told_and_the_others_go_on_where_they_were() {
    let (mut slot, mut far) = slot(ROOMY);
    let (at_work, from, mut broken) = connected(&mut slot);
    let (other, _, mut whole) = connected(&mut slot);
    whole.write_all(&BINDING[..9]).expect("sent");
    let mut worker = Worker::new(&mut slot);
    while worker.slot.streams.get_mut(other).is_none_or(|stream| stream.inbox.len() < 9) {
        round(&mut worker);
    }
    drop(worker);

    slot.streams.at_work = Some(at_work);
    slot.restart();
    assert_eq!(far.stats.stream_ends(StreamEnd::Panic), 1);
    assert_eq!(broken.read(&mut [0; 8]).expect("its end"), 0);
    assert!(slot.streams.get_mut(other).is_some());
    let mut worker = Worker::new(&mut slot);
    worker.slot.tell();
    assert!(matches!(far.reports.pop(), Some(Report::Restarted { .. })));
    assert!(far.commands.push(ToWorker::Rebuild { epoch: 1, username_anonymity: false }).is_ok());
    assert!(far.commands.push(ToWorker::Rebuilt).is_ok());
    worker.await_rebuild().expect("waits");

    // Half of a request was read before, the rest comes now.
    whole.write_all(&BINDING[9..]).expect("sent");
    while far.stats.binding_answers.get() == 0 {
        round(&mut worker);
    }
    let mut answer = [0; 20];
    whole.read_exact(&mut answer).expect("an answer");
    assert_eq!((answer[..2].to_vec(), answer[8..].to_vec()), (vec![1, 1], BINDING[8..].to_vec()));
    assert!(matches!(far.reports.pop(), Some(Report::StreamGone { from: gone }) if gone == from));
}

#[test]
fn a_connection_without_an_allocation_is_let_go_when_it_asks_for_nothing() {
    let (mut slot, far) = slot(ROOMY);
    slot.start = Instant::now().checked_sub(Duration::from_secs(10_000)).expect("the machine runs");
    let (idle, _, _idle_end) = connected(&mut slot);
    let (served, from, _served_end) = connected(&mut slot);
    let (fresh, ..) = connected(&mut slot);
    insert(&mut slot, from);
    for id in [idle, served] {
        slot.streams.get_mut(id).expect("there").until_ms = 1;
    }
    let mut worker = Worker::new(&mut slot);
    worker.sweep_streams();
    let there = |slot: &mut Slot| [idle, served, fresh].map(|id| slot.streams.get_mut(id).is_some());
    assert_eq!(there(worker.slot), [false, true, true]);
    assert_eq!(far.stats.stream_ends(StreamEnd::Idle), 1);
    let until = worker.slot.streams.get_mut(served).expect("there").until_ms;
    assert!(until > 10_000_000, "it is looked at again later: {until}");
}

#[test]
fn the_end_of_a_connection_takes_no_room_that_a_command_has() {
    let (mut slot, mut far) = slot(limits::REPORTS_MAX + 1);
    for _ in 0..2 {
        let (id, ..) = connected(&mut slot);
        slot.streams.get_mut(id).expect("there").asked = true;
        Worker::new(&mut slot).end_stream(id, StreamEnd::Client);
    }
    let mut worker = Worker::new(&mut slot);
    worker.tell_gone();
    worker.tell_gone();
    assert_eq!((far.reports.len(), worker.slot.streams.gone.len()), (1, 1));
    assert!(far.reports.pop().is_some());
    worker.tell_gone();
    assert_eq!((far.reports.len(), worker.slot.streams.gone.len()), (1, 0));
}

// Workers that hear connections alone are as good a place to arrive at as any.
#[test]
fn a_client_that_arrives_by_its_connection_is_told_of_though_no_datagram_comes() {
    let (mut slot, mut far) = slot(ROOMY);
    let (_, next, mut client) = connected(&mut slot);
    insert(&mut slot, FiveTuple { transport: Transport::Udp, ..next });
    let relay = RelayId { index: 1, generation: 0 };
    let peer = PeerAddr::new(SocketAddr::from(([1, 2, 3, 4], 7)));
    let until = Deadline::NEVER;
    slot.table.apply(TableChange::Bind { relay, channel: ChannelNumber::MIN, peer, until });
    slot.table.apply(TableChange::Await { relay, next });
    client.write_all(&[0x40, 0, 0, 0]).expect("sent");
    let mut worker = Worker::new(&mut slot);
    while far.stats.from_clients.packets.get() == 0 {
        round(&mut worker);
    }
    let arrival = far.live.pop().expect("it is told of in the same round");
    assert!(arrival.is_arrival());
    assert_eq!(arrival.from, next);
}
