//! The loop, one round at a time, in the test's own thread.

mod peers;
mod restart;
mod runs;
mod streams;

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;

use crate::net::Departing;
use crate::net::Events;
use crate::net::Heading;
use crate::net::udp;
use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::binding::Discovery;
use crate::proto::media::Counters;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::TableConfig;
use crate::proto::peers::PolicyBuilder;
use crate::proto::types::ClientAddr;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::relay::Report;
use crate::relay::RequestUp;
use crate::relay::Stats;
use crate::relay::ToWorker;
use crate::ring::Receiver;
use crate::ring::Sender;
use crate::ring::Wake;
use crate::ring::channel;

use super::EVENTS;
use super::Slot;
use super::SlotParts;
use super::Worker;
use super::errors::ERRORS_BUDGET;
use super::from_clients::LISTENER_BATCHES;
use super::from_peers::RELAY_BUDGET;

/// The control task's ends.
struct Far {
    commands: Sender<ToWorker>,
    reports: Receiver<Report>,
    live: Receiver<RequestUp>,
    _fresh: Receiver<RequestUp>,
    stats: Arc<Stats>,
    server: SocketAddr,
}

impl Far {
    fn close(&mut self, index: u32) {
        let relay = RelayId { index, generation: 0 };
        assert!(self.commands.push(ToWorker::Close { relay }).is_ok(), "there is room");
    }

    fn open(&mut self, index: u32) {
        let relay = RelayId { index, generation: 0 };
        let bind = RelayAddr::new("127.0.0.1:0".parse().expect("a literal"));
        assert!(self.commands.push(ToWorker::Open { relay, bind }).is_ok(), "there is room");
    }

    fn opened(&mut self) -> SocketAddr {
        match self.reports.pop() {
            Some(Report::Opened { bound, .. }) => bound.socket(),
            other => panic!("{other:?}"),
        }
    }

    fn closed(&mut self) -> Option<u32> {
        match self.reports.pop() {
            Some(Report::Closed { relay, counters }) => {
                assert_eq!(counters, Counters::default());
                Some(relay.index)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }
}

fn slot(reports: usize) -> (Slot, Far) {
    let wake = || Arc::new(Wake::new().expect("an eventfd"));
    let mut listeners = udp::listen(&["127.0.0.1:0".parse().expect("a literal")], 1).expect("bound");
    let listeners = listeners.remove(0);
    let server = listeners[0].local();
    let (to_worker, commands) = channel(1_000, wake());
    let (live, live_far) = channel(1, wake());
    let (fresh, fresh_far) = channel(1, wake());
    let (reports, reports_far) = channel(reports, wake());
    let (_, arriving) = channel(1, wake());
    let stats = Arc::new(Stats::default());
    let parts = SlotParts {
        listeners,
        table: TableConfig {
            policy: Arc::new(PolicyBuilder::default().build()),
            strict_permissions: false,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::default(),
        },
        challenger: Challenger {
            realm: "test".into(),
            nonce_key: NonceKey::generate(&mut Zeros),
            nonce_lifetime: Duration::from_secs(60),
            discovery: Discovery::default(),
            third_party: None,
            legacy: true,
        },
        unproven_exempt: Vec::new(),
        #[cfg(feature = "dtls")]
        dtls: None,
        start: Instant::now(),
        commands,
        live,
        fresh,
        reports,
        stats: Arc::clone(&stats),
        arriving,
        share: Default::default(),
    };
    let far =
        Far { commands: to_worker, reports: reports_far, live: live_far, _fresh: fresh_far, stats, server };
    (Slot::new(parts).expect("an epoll"), far)
}

struct Zeros;

impl Entropy for Zeros {
    fn fill_secret(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

#[test]
fn a_command_is_taken_only_while_its_report_has_room() {
    let (mut slot, mut far) = slot(2);
    (0..5).for_each(|index| far.close(index));
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    assert_eq!((far.reports.len(), worker.slot.commands.len()), (2, 3));
    worker.obey();
    assert_eq!((far.reports.len(), worker.slot.commands.len()), (2, 3));
    assert_eq!((far.closed(), far.closed(), far.closed()), (Some(0), Some(1), None));
    worker.obey();
    assert_eq!((far.closed(), far.closed(), far.closed()), (Some(2), Some(3), None));
    worker.obey();
    assert_eq!((far.closed(), far.closed()), (Some(4), None));
}

#[test]
fn replies_of_a_round_leave_together_in_their_order() {
    let (mut slot, mut far) = slot(8);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let to = FiveTuple {
        client: ClientAddr::new(client.local_addr().expect("bound")),
        server: ServerAddr::new(far.server),
        transport: Transport::Udp,
    };
    for number in 0..3 {
        let bytes = Box::new([number; 4]);
        assert!(far.commands.push(ToWorker::Reply { to, bytes }).is_ok(), "there is room");
        far.close(number.into());
    }
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    assert_eq!((worker.egress.len(), worker.replies.len()), (0, 0));
    for number in 0..3 {
        let mut bytes = [9; 5];
        assert_eq!(client.recv(&mut bytes).expect("a reply"), 4);
        assert_eq!(bytes[..4], [number; 4]);
    }
    assert_eq!((far.stats.replies.get(), far.stats.batches.get()), (3, 0));
}

#[test]
fn a_worker_whose_reports_have_no_room_does_not_sleep_for_ever() {
    let (mut slot, mut far) = slot(1);
    (0..2).for_each(|index| far.close(index));
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let mut events = Events::new(EVENTS);
    // Nothing will ever wake it: the command is there, and the control task does not say when it takes a report.
    worker.wait(&mut events).expect("waits");
    assert_eq!(far.closed(), Some(0));
    worker.obey();
    assert_eq!(far.closed(), Some(1));
}

#[test]
fn without_a_control_task_what_was_commanded_is_done_before_the_worker_leaves() {
    let (mut slot, mut far) = slot(1);
    far.open(3);
    far.open(4);
    far.close(3);
    drop(far);
    let mut worker = Worker::new(&mut slot);
    let mut events = Events::new(EVENTS);
    worker.wait(&mut events).expect("waits");
    worker.obey();
    assert!(worker.leaving);
    assert_eq!(worker.slot.path.len(), 1);
}

#[test]
fn a_busy_relay_socket_takes_no_more_than_its_share_of_a_round() {
    let (mut slot, mut far) = slot(8);
    far.open(1);
    far.open(2);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    let (busy, quiet) = (far.opened(), far.opened());
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..3 * RELAY_BUDGET {
        peer.send_to(b"x", busy).expect("sent");
    }
    peer.send_to(b"y", quiet).expect("sent");
    let heard = |round: &mut Worker<'_>| {
        let before = far.stats.from_peers.packets.get();
        let mut events = Events::new(EVENTS);
        round.wait(&mut events).expect("waits");
        round.hear_peers(&events);
        far.stats.from_peers.packets.get() - before
    };
    let budget = RELAY_BUDGET as u64;
    assert_eq!([heard(&mut worker), heard(&mut worker), heard(&mut worker)], [budget + 1, budget, budget]);
}

#[test]
fn a_relay_socket_with_many_errors_tells_no_more_than_its_share_in_a_round() {
    let (mut slot, mut far) = slot(8);
    far.open(1);
    let mut worker = Worker::new(&mut slot);
    worker.obey();
    far.opened();
    let gone = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let relay = RelayId { index: 1, generation: 0 };
    let socket = worker.slot.path.find_to_send(relay).expect("open");
    let errors = 2 * ERRORS_BUDGET + 3;
    for _ in 0..errors {
        let heading = Heading::to(gone);
        let departing = Departing::new(b"x", &heading);
        worker.sender.send(socket, std::iter::once(departing), |_, error| panic!("{error}"));
    }
    let mut left = Vec::new();
    for _ in 0..4 {
        let mut events = Events::new(EVENTS);
        worker.slot.poll.wait(&mut events, Some(Duration::ZERO)).expect("waits");
        left.push(events.broken_relays().len());
        worker.hear_errors(&events);
    }
    // Three rounds for all, and then the socket is quiet.
    assert_eq!(left, [1, 1, 1, 0]);
}

#[test]
fn a_busy_listener_takes_no_more_than_its_share_of_a_round_and_commands_go_on_between_its_batches() {
    let (mut slot, mut far) = slot(8);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let share = LISTENER_BATCHES * super::BATCH;
    for _ in 0..share + 10 {
        client.send_to(&[0xFF], far.server).expect("sent");
    }
    far.close(1);
    let mut worker = Worker::new(&mut slot);
    let mut events = Events::new(EVENTS);
    worker.wait(&mut events).expect("waits");
    worker.hear_clients(&events);
    assert_eq!(far.stats.from_clients.packets.get(), share as u64);
    assert_eq!(far.closed(), Some(1));
    worker.wait(&mut events).expect("waits");
    worker.hear_clients(&events);
    assert_eq!(far.stats.from_clients.packets.get(), share as u64 + 10);
}

#[test]
fn a_worker_that_panics_again_and_again_is_seen_to_be_gone_and_frees_its_listeners() {
    let (slot, far) = slot(1);
    assert!(far.stats.is_running());
    far.reports.wake().prepare_sleep();
    let thread = thread::spawn(|| super::live(0, slot, |_| panic!("on purpose")));
    let mut descriptors = [PollFd::new(&**far.reports.wake(), PollFlags::IN)];
    let ready = poll(&mut descriptors, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("poll works");
    assert_eq!((ready, far.reports.is_abandoned()), (1, true));
    thread.join().expect("the panic stays in the worker");
    assert!(far.commands.is_abandoned() && !far.stats.is_running());
    assert_eq!(far.stats.panics.get(), 3, "and the fourth ended it");
    udp::listen(&[far.server], 1).expect("the address is free");
}
