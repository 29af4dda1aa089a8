//! After a panic.

use crate::proto::media::Bandwidth;
use crate::proto::media::FromPeer;
use crate::proto::media::NewAllocation;
use crate::proto::media::Table;
use crate::proto::media::TableChange;
use crate::proto::media::forward;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayProtocol;
use crate::proto::types::ServerAddr;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::relay::command::Parcel;

use super::super::slot::Standing;
use super::*;

fn relay(index: u32) -> RelayId {
    RelayId { index, generation: 0 }
}

impl Far {
    fn push(&mut self, command: ToWorker) {
        assert!(self.commands.push(command).is_ok(), "there is room");
    }

    fn insert(&mut self, index: u32) {
        let five_tuple = FiveTuple {
            client: ClientAddr::new(SocketAddr::from(([127, 0, 0, 1], 1_000 + index as u16))),
            server: ServerAddr::new(self.server),
            transport: Transport::Udp,
        };
        let relayed = RelayAddr::new(SocketAddr::from(([127, 0, 0, 1], 2_000)));
        let (until, bandwidth) = (Deadline::NEVER, Bandwidth::default());
        let dialect = Dialect::Rfc8656;
        let protocol = RelayProtocol::Udp;
        let new =
            NewAllocation { relay: relay(index), five_tuple, dialect, relayed, until, bandwidth, protocol };
        self.push(ToWorker::Table(TableChange::Insert(Box::new(new))));
        let peer = "127.0.0.1".parse().expect("a literal");
        self.push(ToWorker::Table(TableChange::Permit { relay: relay(index), peer, until }));
    }

    fn rebuild(&mut self, epoch: u32) {
        self.push(ToWorker::Rebuild { epoch, username_anonymity: true });
    }

    fn restarted(&mut self) -> (u32, usize) {
        match self.reports.pop() {
            Some(Report::Restarted { epoch, carried }) => (epoch, carried.len()),
            other => panic!("{other:?}"),
        }
    }
}

/// As often as nothing is left to be done without a socket.
fn hear_control(worker: &mut Worker<'_>) {
    worker.slot.tell();
    (0..4).for_each(|_| worker.obey());
}

#[test]
fn sockets_survive_and_the_table_does_not() {
    let (mut slot, mut far) = slot(8);
    (1..=3).for_each(|index| far.open(index));
    far.insert(1);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let bound = [far.opened(), far.opened(), far.opened()];
    UdpSocket::bind("127.0.0.1:0").and_then(|peer| peer.send_to(b"early", bound[0])).expect("sent");

    slot.restart();
    assert_eq!((slot.table.len(), slot.path.len(), far.stats.panics.get()), (0, 3, 1));
    let mut worker = Worker::new(&mut slot);
    hear_control(&mut worker);
    assert_eq!(far.restarted(), (1, 0));
    far.rebuild(1);
    // One is known by its entry, one is asked for, and nobody speaks of the third.
    far.insert(1);
    far.push(ToWorker::Open { relay: relay(2), bind: RelayAddr::new(bound[1]) });
    far.push(ToWorker::Rebuilt);
    worker.await_rebuild().expect("waits");
    assert_eq!((far.opened(), worker.slot.path.len(), worker.slot.table.len()), (bound[1], 2, 1));
    UdpSocket::bind(bound[2]).expect("its port is free");
    assert_eq!(far.stats.relay_sockets.get(), 2);

    let mut events = Events::new(EVENTS);
    worker.wait(&mut events).expect("waits");
    worker.hear_peers(&events);
    assert_eq!(far.stats.to_clients.packets.get(), 1, "what came meanwhile waited in the socket");
}

#[test]
fn commands_from_before_it_was_heard_of_are_void_and_owe_no_report() {
    let (mut slot, mut far) = slot(8);
    slot.restart();
    far.open(1);
    far.close(2);
    far.insert(3);
    let mut worker = Worker::new(&mut slot);
    hear_control(&mut worker);
    assert_eq!((far.restarted(), far.reports.len()), ((1, 0), 0));
    // It panicked once more before control knew of the first.
    slot.restart();
    let mut worker = Worker::new(&mut slot);
    far.rebuild(1);
    far.open(1);
    far.push(ToWorker::Rebuilt);
    hear_control(&mut worker);
    assert_eq!((far.restarted(), far.reports.len()), ((2, 0), 0));
    assert_eq!((worker.slot.path.len(), worker.slot.standing), (0, Standing::Void));
    far.rebuild(2);
    far.open(1);
    far.push(ToWorker::Rebuilt);
    worker.await_rebuild().expect("waits");
    far.opened();
    assert_eq!((worker.slot.path.len(), worker.slot.table.len()), (1, 0));
}

#[test]
fn until_the_table_is_whole_no_socket_is_read() {
    let (mut slot, mut far) = slot(8);
    slot.restart();
    far.rebuild(1);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.send_to(&[0xFF], far.server).expect("sent");
    thread::scope(|scope| {
        let running = scope.spawn(|| super::super::run(&mut slot));
        while far.commands.free_slots() < far.commands.capacity() || far.reports.is_empty() {
            thread::yield_now();
        }
        assert_eq!((far.stats.from_clients.packets.get(), far.stats.wakeups.get()), (0, 0));
        far.push(ToWorker::Rebuilt);
        while far.stats.from_clients.packets.get() == 0 {
            thread::yield_now();
        }
        far.push(ToWorker::Stop);
        running.join().expect("no panic").expect("it can wait");
    });
}

#[test]
fn a_worker_that_waits_to_be_told_can_be_stopped() {
    let (mut slot, mut far) = slot(8);
    slot.restart();
    far.push(ToWorker::Stop);
    super::super::run(&mut slot).expect("it leaves");
}

#[test]
fn without_room_for_the_word_of_the_panic_it_is_told_later_with_all_that_was_counted() {
    let (mut slot, mut far) = slot(1);
    far.insert(1);
    far.close(9);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    data_indication(&slot.table, slot.tick());
    slot.restart();
    slot.tell();
    assert_eq!(slot.standing, Standing::Untold);
    slot.restart();
    assert_eq!(far.closed(), Some(9));
    slot.tell();
    match far.reports.pop() {
        Some(Report::Restarted { epoch: 2, carried }) => {
            let counters = Counters { to_client_packets: 1, to_client_bytes: 4, ..Counters::default() };
            assert_eq!(&*carried, [(relay(1), counters)]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_that_was_brought_while_commands_are_void_is_kept_with_its_entry() {
    let (mut giver, mut giving) = slot(8);
    let (mut taker, mut taking) = slot(8);
    giving.open(1);
    giving.insert(1);
    giving.push(ToWorker::Detach { relay: relay(1), keep: false });
    let mut worker = Worker::new(&mut giver);
    worker.obey();
    let bound = giving.opened();
    let parcel: Box<Parcel> = match giving.reports.pop() {
        Some(Report::Detached { parcel: Ok(parcel), .. }) => parcel,
        other => panic!("{other:?}"),
    };
    taker.restart();
    let next = FiveTuple {
        client: ClientAddr::new(SocketAddr::from(([127, 0, 0, 1], 77))),
        server: ServerAddr::new(taking.server),
        transport: Transport::Udp,
    };
    taking.push(ToWorker::Attach { parcel, next });
    let mut worker = Worker::new(&mut taker);
    hear_control(&mut worker);
    assert_eq!((taking.restarted(), taking.reports.len()), ((1, 0), 0));
    taking.rebuild(1);
    taking.push(ToWorker::Open { relay: relay(1), bind: RelayAddr::new(bound) });
    taking.push(ToWorker::Rebuilt);
    worker.await_rebuild().expect("waits");
    assert_eq!((taking.opened(), worker.slot.table.find(&next).is_some()), (bound, true));
}

#[test]
fn a_worker_may_fall_so_often_before_it_is_whole_and_as_often_again_after() {
    let (mut slot, mut far) = slot(64);
    for round in 0..2 {
        for _ in 0..limits::WORKER_PANICS_MAX {
            assert!(slot.may_restart());
            slot.restart();
        }
        assert!(!slot.may_restart());
        far.rebuild((round + 1) * limits::WORKER_PANICS_MAX as u32);
        far.push(ToWorker::Rebuilt);
        Worker::new(&mut slot).await_rebuild().expect("waits");
        assert!(slot.may_restart());
    }
}

#[test]
fn transaction_ids_of_one_epoch_do_not_come_again_in_the_next() {
    let (mut slot, mut far) = slot(8);
    let mut ids = Vec::new();
    for _ in 0..2 {
        far.insert(1);
        while let Some(ToWorker::Table(change)) = slot.commands.pop() {
            slot.table.apply(change);
        }
        ids.push(data_indication(&slot.table, slot.tick()));
        slot.restart();
    }
    assert_ne!(ids[0], ids[1]);
}

/// Four bytes from a peer to the client of relay 1; answers the transaction id.
fn data_indication(table: &Table, tick: Tick) -> [u8; 12] {
    let peer = PeerAddr::new(SocketAddr::from(([127, 0, 0, 1], 7)));
    let (mut buffer, header) = ([0; 256], IpHeader::default());
    match forward::from_peer(table, tick, relay(1), peer, header, &mut buffer, 100..104) {
        FromPeer::ToClient { frame, .. } => buffer[frame][8..20].try_into().expect("twelve bytes"),
        other => panic!("{other:?}"),
    }
}
