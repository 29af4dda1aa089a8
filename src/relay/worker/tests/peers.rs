//! Peers' connections, where it takes a look inside: what a panic leaves of them, and those that come while the own attempt is
//! made.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::net::PeerListener;
use crate::net::peer::connected as dialled;
use crate::proto::media::Bandwidth;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::PeerAddr;
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

/// The port of a client of [MS-TURN], permitted to speak with another one of this machine, whose attempt waits there to be taken
/// in: both, and the end of that attempt.
fn knocked(slot: &mut Slot) -> (PeerListener, TcpStream) {
    let any = RelayAddr::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = slot.peers.open(&slot.poll, PORT, any).expect("a port");
    let (_, from, _client) = connected(slot);
    slot.table.apply(TableChange::Insert(Box::new(NewAllocation {
        relay: PORT,
        five_tuple: from,
        dialect: Dialect::MsTurn,
        relayed: bound,
        until: Deadline::NEVER,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Tcp,
    })));
    let other = PeerListener::open(any).expect("a port");
    let peer = other.bound().socket().ip();
    slot.table.apply(TableChange::Permit { relay: PORT, peer, until: Deadline::NEVER });
    let came = other.connect(PeerAddr::new(bound.socket())).expect("begun");
    while !dialled(&came).expect("it is let in by the kernel") {}
    came.set_nonblocking(false).expect("an option");
    came.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    (other, came)
}

/// The arrival that control hears of, before it hears that the own attempt came to nothing.
fn arrived(far: &mut Far) -> PeerId {
    let Some(Report::Peer(PeerReport::Arrived { relay: PORT, arrival, .. })) = far.reports.pop() else {
        panic!("the one that came is told first")
    };
    let ended = far.reports.pop();
    assert!(
        matches!(ended, Some(Report::Peer(PeerReport::Ended { connection })) if connection == name(1)),
        "{ended:?}"
    );
    arrival
}

#[test]
fn what_is_said_to_a_peer_whose_own_attempt_was_first_goes_by_that_once_it_is_let_in() {
    for is_let_in in [true, false] {
        let (mut slot, mut far) = slot(ROOMY);
        let (other, mut came) = knocked(&mut slot);
        let peer = PeerAddr::new(other.bound().socket());
        let mut worker = Worker::new(&mut slot);
        worker.order_peer(PeerOrder::Connect { connection: name(1), relay: PORT, to: peer });
        assert_eq!(worker.slot.say_to_peer(PORT, peer, b"first"), Some(true));
        assert_eq!(worker.slot.say_to_peer(PORT, peer, b", second"), Some(true));
        worker.tell_peers();
        let arrival = arrived(&mut far);
        if !is_let_in {
            worker.order_peer(PeerOrder::Refuse { arrival });
            assert_eq!(worker.slot.say_to_peer(PORT, peer, b"late"), None, "nothing waits for nobody");
            assert!(matches!(came.read(&mut [0; 1]), Ok(0) | Err(_)), "and nothing was sent");
            continue;
        }
        // Not before: control may know better.
        worker.talk(arrival);
        came.set_nonblocking(true).expect("an option");
        assert_eq!(came.read(&mut [0; 1]).expect_err("nothing").kind(), io::ErrorKind::WouldBlock);
        came.set_nonblocking(false).expect("an option");
        worker.order_peer(PeerOrder::Admit { arrival, connection: name(2) });
        worker.serve_talks();
        let mut heard = [0; 13];
        came.read_exact(&mut heard).expect("it comes");
        assert_eq!(&heard, b"first, second");
    }
}
