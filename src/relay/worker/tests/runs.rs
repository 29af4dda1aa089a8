//! Which sockets bring runs, and what need not go through a socket at all.

use crate::net::TrafficSocket;
use crate::proto::media::Bandwidth;
use crate::proto::media::DropReason;
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
use crate::proto::types::Transport;

use super::*;

const OF_RUN: usize = 16;

fn far_end(to: SocketAddr) -> TrafficSocket {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    TrafficSocket::open(any, Some(to), 1 << 20).expect("a socket on loopback")
}

/// Sends as many datagrams as that, put together or one by one.
fn send(from: &mut TrafficSocket, count: usize, together: bool) {
    if together {
        from.set_segment(40).expect("the kernel knows how");
        (0..count / OF_RUN).for_each(|_| from.send(&[0xFF; 40 * OF_RUN]).expect("sent"));
    } else {
        // Two that follow one another are of two lengths.
        (0..count).for_each(|at| from.send(&[0xFF; 40][at % 2..]).expect("sent"));
    }
}

/// Rounds until all is heard.
fn hear(worker: &mut Worker<'_>) {
    let mut events = Events::new(EVENTS);
    loop {
        worker.slot.poll.wait(&mut events, Some(Duration::ZERO)).expect("waits");
        if events.is_empty() {
            return;
        }
        worker.hear_clients(&events);
        worker.hear_peers(&events);
    }
}

#[test]
fn a_listener_brings_runs_while_it_gets_them_and_counts_datagrams_all_the_same() {
    let (mut slot, far) = slot(8);
    let mut worker = Worker::new(&mut slot);
    let mut client = far_end(far.server);
    let mut sent = 0;
    for (together, expected) in [(true, true), (true, true), (false, false)] {
        for _ in 0..4 {
            send(&mut client, 256, together);
            sent += 256;
            hear(&mut worker);
        }
        assert_eq!(worker.slot.doors[0].runs.is_on(), expected);
        assert_eq!(far.stats.from_clients.packets.get(), sent);
    }
    assert_eq!(far.stats.from_clients.bytes.get(), sent * 40 - 512);
}

#[test]
fn relay_sockets_are_judged_each_by_itself_and_a_word_turns_all_off() {
    let (mut slot, mut far) = slot(8);
    far.open(1);
    far.open(2);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let (of_one, of_two) = (far.opened(), far.opened());
    let [one, two] = [1, 2].map(|index| RelayId { index, generation: 0 });
    let (mut bulky, mut single) = (far_end(of_one), far_end(of_two));
    let mut talk = |worker: &mut Worker<'_>| {
        for _ in 0..16 {
            send(&mut bulky, 64, true);
            (0..3).for_each(|_| send(&mut single, 1, false));
            hear(worker);
        }
        [one, two].map(|relay| worker.slot.path.brings_runs(relay))
    };
    assert_eq!(talk(&mut worker), [true, false]);
    worker.slot.set_single(true);
    assert_eq!(talk(&mut worker), [false, false]);
    worker.slot.set_single(false);
    assert_eq!(talk(&mut worker), [true, false]);
    assert_eq!(far.stats.from_peers.packets.get(), 3 * 16 * (64 + 3));
}

#[test]
fn a_word_has_each_datagram_leave_by_itself() {
    const COUNT: usize = 8;
    for singly in [false, true] {
        let (mut slot, far) = slot(8);
        slot.set_leave_singly(singly);
        let mut worker = Worker::new(&mut slot);
        let to = far_end(far.server);
        assert!(udp::set_runs(&to, true).expect("set"), "it would see a run as one");
        let heading = Heading::to(to.local());
        let leaving = (0..COUNT).map(|_| Departing::new(&[7; 40], &heading));
        worker.sender.send(&worker.slot.doors[0].listener, leaving, |_, error| panic!("{error}"));
        let mut batch = crate::net::Batch::new(COUNT);
        let arrived = batch.receive_runs(&to, COUNT).expect("they are there");
        let in_runs = if singly { 0 } else { COUNT };
        assert_eq!((arrived.places.len(), arrived.in_runs), (COUNT, in_runs), "{singly}");
    }
}

#[test]
fn what_one_relay_sends_to_another_of_the_same_worker_goes_through_no_socket_and_is_judged_on_both_sides() {
    let (mut slot, mut far) = slot(8);
    far.open(1);
    far.open(2);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let bound = [far.opened(), far.opened()];
    let (alice, bob) = (far_end(far.server), far_end(far.server));
    let until = Deadline::NEVER;
    let channel = ChannelNumber::new(0x4001).expect("a channel number");
    let relays = [1, 2].map(|index| RelayId { index, generation: 0 });
    for (at, client) in [&alice, &bob].into_iter().enumerate() {
        let five_tuple = FiveTuple {
            client: ClientAddr::new(client.local()),
            server: ServerAddr::new(far.server),
            transport: Transport::Udp,
        };
        worker.slot.table.apply(TableChange::Insert(Box::new(NewAllocation {
            relay: relays[at],
            five_tuple,
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(bound[at]),
            until,
            bandwidth: Bandwidth::default(),
            protocol: RelayProtocol::Udp,
        })));
        worker.slot.table.apply(TableChange::OwnRelay { address: bound[at], live: true });
        let peer = PeerAddr::new(bound[1 - at]);
        worker.slot.table.apply(TableChange::Bind { relay: relays[at], channel, peer, until });
    }
    let policy =
        PolicyBuilder { allow: vec!["127.0.0.0/8".parse().expect("a rule")], ..PolicyBuilder::default() };
    worker.slot.table.apply(TableChange::Policy(Arc::new(policy.build())));
    let message = |text: &[u8]| [&[0x40, 0x01, 0, text.len() as u8], text].concat();
    let mut from_server = crate::net::Batch::new(8);
    let mut heard = |worker: &mut Worker<'_>| {
        let mut events = Events::new(EVENTS);
        worker.wait(&mut events).expect("waits");
        // What came to relay sockets is not looked at.
        worker.hear_clients(&events);
        from_server.clear();
        let arrived = from_server.receive(&bob, 8).map_or(0, |arrived| arrived.places.len());
        (0..arrived).map(|place| from_server.datagram(place).to_vec()).collect::<Vec<_>>()
    };
    alice.send(&message(b"hello bob")).expect("sent");
    alice.send(&message(b"")).expect("sent");
    assert_eq!(heard(&mut worker), [message(b"hello bob"), message(b"")]);
    let stats = &far.stats;
    let counted = [&stats.to_peers, &stats.from_peers, &stats.to_clients];
    assert_eq!(counted.map(|traffic| (traffic.packets.get(), traffic.bytes.get())), [(2, 9); 3]);

    // Bob lets Alice's address in no longer.
    worker.slot.table.apply(TableChange::Unbind { relay: relays[1], channel });
    worker.slot.table.apply(TableChange::Forbid { relay: relays[1], peer: bound[0].ip() });
    alice.send(&message(b"still there?")).expect("sent");
    assert_eq!(heard(&mut worker), [] as [Vec<u8>; 0]);

    // A socket that is closed is the kernel's to answer for.
    worker.slot.path.close(relays[1]);
    assert_eq!(worker.slot.path.neighbour(relays[0], PeerAddr::new(bound[1])), None);
}

/// The allocation of `client` on the relay of this index, with a channel to `channelled` and permissions for all of loopback.
fn allocate(
    worker: &mut Worker<'_>,
    far: &Far,
    relayed: SocketAddr,
    client: SocketAddr,
    channelled: PeerAddr,
) {
    let (relay, until) = (RelayId { index: 1, generation: 0 }, Deadline::NEVER);
    let (client, server) = (ClientAddr::new(client), ServerAddr::new(far.server));
    let policy =
        PolicyBuilder { allow: vec!["127.0.0.0/8".parse().expect("a rule")], ..PolicyBuilder::default() };
    let number = ChannelNumber::new(0x4001).expect("a channel number");
    for change in [
        TableChange::Policy(Arc::new(policy.build())),
        TableChange::Insert(Box::new(NewAllocation {
            relay,
            five_tuple: FiveTuple { client, server, transport: Transport::Udp },
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(relayed),
            until,
            bandwidth: Bandwidth::default(),
            protocol: RelayProtocol::Udp,
        })),
        TableChange::Bind { relay, channel: number, peer: channelled, until },
    ] {
        worker.slot.table.apply(change);
    }
}

#[test]
fn of_a_run_each_datagram_goes_its_own_way_and_in_its_turn() {
    let (mut slot, mut far) = slot(8);
    far.open(1);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let relayed = far.opened();
    let mut client = far_end(far.server);
    let (mut peer, mut other) = (far_end(relayed), far_end(relayed));
    let (client_at, peer_at) = (client.local(), PeerAddr::new(peer.local()));
    allocate(&mut worker, &far, relayed, client_at, peer_at);
    // Until the sockets bring runs.
    for _ in 0..16 {
        send(&mut client, 64, true);
        send(&mut peer, 64, true);
        send(&mut other, 64, true);
        hear(&mut worker);
    }
    let relay = RelayId { index: 1, generation: 0 };
    assert!(worker.slot.doors[0].runs.is_on() && worker.slot.path.brings_runs(relay));
    let mut batch = crate::net::Batch::new(64);
    let mut heard = |from: &TrafficSocket| {
        let mut all = Vec::new();
        batch.clear();
        while let Ok(arrived) = batch.receive(from, 64) {
            all.extend(arrived.places.map(|place| batch.datagram(place).to_vec()));
            batch.clear();
        }
        all
    };
    for socket in [&client, &peer, &other] {
        heard(socket);
    }

    let message = |number: u8, text: &[u8]| [&[0x40, number, 0, text.len() as u8], text].concat();
    let text = |place: u8| [place; 36];
    // To the peer, on a channel that there is not, no message at all, and to the peer again.
    let run: Vec<_> = (0..16)
        .map(|place| match place {
            5 | 6 => message(9, &text(place)),
            7 => vec![0xFF; 40],
            _ => message(1, &text(place)),
        })
        .collect();
    let dropped = |reason| far.stats.dropped(reason);
    let before = [DropReason::NoChannel, DropReason::Unclassified].map(dropped);
    client.set_segment(40).expect("the kernel knows how");
    client.send(&run.concat()).expect("sent");
    hear(&mut worker);
    let expected: Vec<_> =
        (0..16).filter(|place| !(5..8).contains(place)).map(|p| text(p).to_vec()).collect();
    assert_eq!(heard(&peer), expected);
    let after = [DropReason::NoChannel, DropReason::Unclassified].map(dropped);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [2, 1]);

    // From the peer of the channel, and from another port of its address.
    for from in [&mut peer, &mut other] {
        from.set_segment(36).expect("the kernel knows how");
        from.send(&(0..16).flat_map(text).collect::<Vec<_>>()).expect("sent");
    }
    hear(&mut worker);
    let (channelled, indications): (Vec<_>, Vec<_>) =
        heard(&client).into_iter().partition(|bytes| bytes[0] == 0x40);
    assert_eq!(channelled, (0..16).map(|place| message(1, &text(place))).collect::<Vec<_>>());
    assert_eq!(indications.len(), 16);
    for (place, bytes) in (0..16).zip(&indications) {
        assert!(bytes.windows(36).any(|part| part == text(place)), "{place}: {bytes:?}");
    }
}
