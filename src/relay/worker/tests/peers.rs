//! Peers' connections, where it takes a look inside: what a panic leaves of them.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::proto::media::Bandwidth;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayProtocol;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;

use super::streams::connected;
use super::*;

const ROOMY: usize = limits::REPORTS_MAX + 8;
const PORT: RelayId = RelayId { index: 4, generation: 2 };

fn name(drawn: u32) -> ConnectionId {
    ConnectionId::new(drawn, WorkerId(0))
}

fn round(worker: &mut Worker<'_>) {
    let mut events = Events::new(EVENTS);
    worker.wait(&mut events).expect("waits");
    worker.serve_streams(&events);
    worker.serve_peers(&events);
    worker.flush_streams();
    worker.tell_peers();
}

/// A peer that has come to the port, and its name.
fn arrive(slot: &mut Slot, bound: RelayAddr, drawn: u32) -> (PeerId, TcpStream) {
    let far = TcpStream::connect(bound.socket()).expect("connected");
    far.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    loop {
        let tick = slot.tick();
        if let Some((id, _)) = slot.peers.accept(&slot.poll, tick, PORT).expect("accepted") {
            assert!(slot.peers.name(id, name(drawn)));
            return (id, far);
        }
    }
}

#[test]
fn a_pair_that_control_asks_for_again_lives_through_a_panic_and_what_it_does_not_know_is_closed() {
    let (mut slot, mut far) = slot(ROOMY);
    let any = RelayAddr::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = slot.peers.open(&slot.poll, PORT, any).expect("a port");
    let (_, mut peer) = arrive(&mut slot, bound, 1);
    let (at_work, mut broken) = arrive(&mut slot, bound, 2);
    let (_, mut unknown) = arrive(&mut slot, bound, 3);
    let (_, from, mut client) = connected(&mut slot);
    let join = PeerOrder::Join { connection: name(1), client: from };
    Worker::new(&mut slot).order_peer(join);
    assert_eq!((slot.peers.joined(), slot.peers.len(), slot.streams.len()), (1, 3, 0));

    slot.peers.at_work = Some(at_work);
    slot.restart();
    assert_eq!(broken.read(&mut [0; 1]).expect_err("cut").kind(), io::ErrorKind::ConnectionReset);
    let mut worker = Worker::new(&mut slot);
    worker.slot.tell();
    assert!(matches!(far.reports.pop(), Some(Report::Restarted { .. })));
    let insert = NewAllocation {
        relay: PORT,
        five_tuple: from,
        dialect: Dialect::Rfc8656,
        relayed: bound,
        until: Deadline::NEVER,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Tcp,
    };
    for command in [
        ToWorker::Rebuild { epoch: 1, username_anonymity: false },
        ToWorker::OpenPort { relay: PORT, bind: bound },
        ToWorker::Table(TableChange::Insert(Box::new(insert))),
        ToWorker::Peer(join),
        ToWorker::Peer(PeerOrder::Keep { connection: name(2) }),
        ToWorker::Rebuilt,
    ] {
        assert!(far.commands.push(command).is_ok());
    }
    worker.await_rebuild().expect("waits");
    assert_eq!((worker.slot.peers.joined(), worker.slot.peers.len()), (1, 1));
    assert!(matches!(unknown.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(matches!(far.reports.pop(), Some(Report::Opened { relay: PORT, .. })));

    client.write_all(b"still here").expect("sent");
    let mut heard = [0; 10];
    while worker.slot.stats.to_connections.get() < 10 {
        round(&mut worker);
    }
    peer.read_exact(&mut heard).expect("it comes");
    assert_eq!(&heard, b"still here");
    // The one that was at work ended, and control hears it, however often.
    for _ in 0..2 {
        let told = far.reports.pop();
        assert!(
            matches!(told, Some(Report::Peer(PeerReport::Ended { connection })) if connection == name(2)),
            "{told:?}"
        );
    }
}
