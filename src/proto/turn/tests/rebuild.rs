//! A worker that panics: it is told its table again, and asked again for what it owed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::proto::media::NewAllocation;
use crate::proto::types::Deadline;
use crate::proto::types::Rate;
use crate::proto::types::Tick;

const W0: WorkerId = WorkerId(0);
const W1: WorkerId = WorkerId(1);

/// What each worker's table holds, by plain lists.
#[derive(Debug, Default)]
pub(super) struct Tables {
    of: BTreeMap<WorkerId, Held>,
    /// Entries between two workers.
    parcels: BTreeMap<RelayId, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    entries: BTreeMap<RelayId, Entry>,
    own: BTreeSet<SocketAddr>,
    policies: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    new: NewAllocation,
    next: Option<FiveTuple>,
    permits: BTreeMap<IpAddr, Deadline>,
    binds: BTreeMap<ChannelNumber, (PeerAddr, Deadline)>,
    destination: Option<PeerAddr>,
}

impl Tables {
    pub(super) fn take(&mut self, output: &Output) {
        match output {
            Output::RebuildWorker { worker, .. } => drop(self.of.insert(*worker, Held::default())),
            Output::Table { worker, change } => self.of.entry(*worker).or_default().apply(change),
            Output::TableOfAll { change } => {
                [W0, W1].iter().for_each(|worker| self.of.entry(*worker).or_default().apply(change));
            }
            Output::CloseRelay { worker, relay } => {
                self.of.entry(*worker).or_default().entries.remove(relay);
            }
            Output::DetachRelay { worker, relay, keep } => {
                let entries = &mut self.of.entry(*worker).or_default().entries;
                let entry = entries.get(relay).cloned().expect("what is given away is there");
                self.parcels.insert(*relay, entry);
                if !keep {
                    entries.remove(relay);
                }
            }
            Output::AttachRelay { worker, relay, next } => {
                let entry = Entry { next: Some(*next), ..self.parcels.remove(relay).expect("a parcel") };
                self.of.entry(*worker).or_default().entries.insert(*relay, entry);
            }
            _ => {}
        }
    }

    /// What matters of a worker's table at `tick`: nothing that is over.
    fn at(&self, worker: WorkerId, tick: Tick) -> Held {
        let mut held = self.of.get(&worker).cloned().unwrap_or_default();
        for entry in held.entries.values_mut() {
            entry.permits.retain(|_, until| !until.is_due(tick));
            entry.binds.retain(|_, (_, until)| !until.is_due(tick));
        }
        held.policies = 0;
        held
    }
}

impl Held {
    fn apply(&mut self, change: &TableChange) {
        let entries = &mut self.entries;
        let mut with = |relay: &RelayId, then: &mut dyn FnMut(&mut Entry)| {
            if let Some(entry) = entries.get_mut(relay) {
                then(entry);
            }
        };
        match change {
            TableChange::Insert(new) => {
                let (permits, binds) = (BTreeMap::new(), BTreeMap::new());
                let entry = Entry { new: (**new).clone(), next: None, permits, binds, destination: None };
                self.entries.entry(new.relay).or_insert(entry);
            }
            TableChange::Extend { relay, until } => with(relay, &mut |entry| entry.new.until = *until),
            TableChange::Permit { relay, peer, until } => with(relay, &mut |entry| {
                let end = entry.permits.entry(*peer).or_insert(*until);
                *end = (*end).max(*until);
            }),
            TableChange::Bind { relay, channel, peer, until } => with(relay, &mut |entry| {
                entry.binds.insert(*channel, (*peer, *until));
            }),
            TableChange::Remove { relay } => drop(self.entries.remove(relay)),
            TableChange::OwnRelay { address, live } => {
                self.own.retain(|own| own != address);
                self.own.extend(live.then_some(*address));
            }
            TableChange::Policy(_) => self.policies += 1,
            TableChange::Forbid { relay, peer } => {
                with(relay, &mut |entry| entry.permits.retain(|permitted, _| permitted != peer));
            }
            TableChange::Unbind { relay, channel } => {
                with(relay, &mut |entry| entry.binds.retain(|bound, _| bound != channel));
            }
            TableChange::Await { relay, next } => with(relay, &mut |entry| {
                entry.next = Some(*next).filter(|next| *next != entry.new.five_tuple);
            }),
            TableChange::Destination { relay, peer } => {
                with(relay, &mut |entry| entry.destination = Some(*peer));
            }
            TableChange::Settle { relay } => with(relay, &mut |entry| {
                entry.new.five_tuple = entry.next.take().unwrap_or(entry.new.five_tuple);
            }),
        }
    }
}

impl World {
    /// `worker` panics, and is told nothing yet but that it was heard.
    fn panics(&mut self, worker: WorkerId, epoch: u32) {
        self.input(Input::WorkerRestarted { worker, epoch, carried: Box::default() });
    }

    /// Does what is due at once.
    fn settle(&mut self) {
        while self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(self.now().tick())) {
            self.server.handle_timeout(self.now());
            assert!(self.server.outputs.len() <= limits::OUTPUTS_PER_INPUT_MAX);
            self.drain();
        }
    }

    /// `worker` panics and is told everything; its table must be as it was.
    fn panics_and_is_rebuilt(&mut self, worker: WorkerId) -> Held {
        let before = self.tables.at(worker, self.now().tick());
        self.panics(worker, 1);
        assert!(self.server.is_rebuilding(worker));
        self.settle();
        assert!(!self.server.is_rebuilding(worker));
        assert_eq!(self.told.last(), Some(&("rebuilt", worker)));
        assert_eq!(self.tables.of[&worker].policies, 1, "it judges by the policy in force");
        let after = self.tables.at(worker, self.now().tick());
        assert_eq!(after, before);
        after
    }

    fn told_to(&self, worker: WorkerId) -> Vec<&'static str> {
        self.told.iter().filter(|(_, at)| *at == worker).map(|(what, _)| *what).collect()
    }

    fn census(&self) -> PortCensus {
        self.server.occupancy().ports[0]
    }
}

fn mobile_world() -> World {
    World::with(|config| config.mobility = true)
}

fn allocate_mobile(world: &mut World, alice: &mut Client) -> Vec<u8> {
    let told = alice.ask(world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::MOBILITY_TICKET, b"");
    });
    told.expect("an answer").ticket.expect("a ticket")
}

fn move_to(world: &mut World, new: &mut Client, ticket: &[u8]) -> Option<Told> {
    new.ask(world, Method::Refresh, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, ticket);
    })
}

fn allocate_both(world: &mut World, alice: &mut Client) -> Option<Told> {
    alice.ask(world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    })
}

fn release(writer: &mut MessageWriter<'_>) {
    writer.attribute(attribute::LIFETIME, &[0; 4]);
}

/// More than one step tells.
fn permit_many(world: &mut World, alice: &mut Client) {
    for block in 0..8 {
        let peers = (0..limits::PEERS_PER_REQUEST_MAX).map(|number| format!("8.8.{block}.{number}:1"));
        let peers: Vec<_> = peers.collect();
        assert_eq!(alice.permit(world, &peers.iter().map(String::as_str).collect::<Vec<_>>()).code, 0);
    }
}

#[test]
fn permissions_channels_times_and_buckets_are_what_they_were_and_only_its_own() {
    let rate = Rate::new(1_000_000, Duration::from_secs(1));
    let mut world = World::with(|config| {
        (config.bandwidth_per_allocation, config.bandwidth_per_user) = (rate, rate);
    });
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    assert_eq!(allocate_both(&mut world, &mut alice).expect("an answer").code, 0);
    world.worker = W1;
    assert_eq!(bob.allocate(&mut world).code, 0);
    assert_eq!(bob.permit(&mut world, &["9.9.9.9:1"]).code, 0);
    world.worker = W0;
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1", "[2001:4860::8]:1"]).code, 0);
    world.pass(200);
    assert_eq!(alice.permit(&mut world, &["8.8.4.4:1"]).code, 0);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.1.1:7").code, 0);
    assert_eq!(alice.bind(&mut world, 0x4001, "[2001:4860::9]:7").code, 0);
    // The first permissions are over; of the tie of a channel that is over nothing must come back to life.
    world.pass(150);
    assert_eq!(alice.refresh(&mut world, Some(3_000)).code, 0);
    let held = world.panics_and_is_rebuilt(W0);
    assert_eq!((held.entries.len(), held.own.len()), (2, 3));
    let v4 = held.entries.values().find(|entry| entry.new.relayed.ip().is_ipv4()).expect("a leg");
    assert_eq!((v4.permits.len(), v4.binds.len()), (2, 1));
    assert_eq!(v4.new.until, world.now().after(Duration::from_secs(3_000)));
    let held = world.panics_and_is_rebuilt(W1);
    assert_eq!((held.entries.len(), held.own.len()), (1, 3));

    world.pass(601);
    let held = world.panics_and_is_rebuilt(W0);
    assert_eq!((held.entries.len(), held.own.len()), (2, 2));
    assert!(held.entries.values().all(|entry| entry.permits.is_empty() && entry.binds.is_empty()));
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 0);
    assert_eq!(world.ends(), [EndReason::Expired, EndReason::Released]);
}

#[test]
fn the_sockets_of_its_own_are_asked_for_again_and_one_that_is_gone_ends_its_leg() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    allocate_both(&mut world, &mut alice);
    bob.allocate(&mut world);
    world.opened.clear();
    world.panics_and_is_rebuilt(W0);
    assert_eq!(world.opened.len(), 3);
    assert_eq!((world.server.occupancy().live, world.ends()), (3, vec![]));

    world.opens_v6 = Some(Opens::Never(OpenFailure::PortTaken));
    world.panics(W0, 2);
    world.settle();
    assert_eq!((world.server.occupancy().live, world.ends()), (2, vec![]), "the other leg goes on");
    world.opens = Opens::Never(OpenFailure::Other);
    world.panics(W0, 3);
    world.settle();
    assert_eq!(world.ends(), [EndReason::Lost; 2]);
    assert_eq!((world.server.occupancy().allocations, world.census().used), (0, 0));
    assert!(world.tables.of[&W0].entries.is_empty() && world.tables.of[&W0].own.is_empty());
}

#[test]
fn what_it_had_counted_counts() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let relay = world.opened[0].0;
    let gone = RelayId { generation: relay.generation + 1, ..relay };
    let counters = Counters { to_peer_bytes: 5, ..Counters::default() };
    for epoch in 1..=2 {
        let carried = Box::new([(relay, counters), (gone, counters)]);
        world.input(Input::WorkerRestarted { worker: W0, epoch, carried });
    }
    world.settle();
    world.hold_closes = true;
    let _ = alice.ask(&mut world, Method::Refresh, release);
    world.input(Input::RelayClosed { worker: W0, relay, counters });
    let total = world.events.iter().find_map(|event| match event {
        Event::AllocationEnded { counters, .. } => Some(counters.to_peer_bytes),
        _ => None,
    });
    assert_eq!(total, Some(15));
}

#[test]
fn who_asks_meanwhile_asks_again_and_the_others_are_served() {
    let mut world = mobile_world();
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    let ticket = allocate_mobile(&mut world, &mut alice);
    world.worker = W1;
    bob.allocate(&mut world);
    world.panics(W0, 1);
    assert_eq!(bob.permit(&mut world, &["8.8.8.8:1"]).code, 0);
    let mut new = Client::alice(&world, 3);
    let moving = new.request(Method::Refresh, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    assert_eq!(world.send(new.from, &moving), None, "its allocation is not there to be moved");
    world.worker = W0;
    let request = alice.request(Method::Refresh, |_| {});
    assert_eq!(world.send(alice.from, &request), None);
    let mut third = Client::alice(&world, 4);
    let allocate = third.request(Method::Allocate, udp);
    assert_eq!(world.send(third.from, &allocate), None);
    world.settle();
    let reply = world.send(alice.from, &request).expect("an answer");
    assert_eq!(alice.read(&reply).code, 0);
    let reply = world.send(third.from, &allocate).expect("an answer");
    assert_eq!(third.read(&reply).code, 0);
    world.worker = W1;
    let reply = world.send(new.from, &moving).expect("an answer");
    assert_eq!(new.read(&reply).code, 0);
}

#[test]
fn a_socket_that_was_being_opened_is_asked_for_again_and_the_client_answered_once() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    assert_eq!(world.send(alice.from, &request), None);
    world.pass(1);
    world.opens = Opens::Always;
    world.replies.clear();
    world.panics(W0, 1);
    assert!(world.replies.is_empty());
    world.settle();
    let codes: Vec<_> = world.replies.iter().map(|(_, reply)| alice.read(reply).code).collect();
    assert_eq!(codes, [0]);
    world.pass(5);
    assert_eq!((world.server.occupancy().live, world.ends()), (1, vec![]), "its deadline is over");
    assert_eq!(world.tables.of[&W0].entries.len(), 1);
}

#[test]
fn a_worker_that_is_silent_after_its_panic_too_makes_it_500_in_time_and_the_port_comes_free() {
    let mut world = World::new();
    (world.opens, world.hold_closes) = (Opens::Silent, true);
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    assert_eq!(world.send(alice.from, &request), None);
    let relay = world.server.allocations.of(&alice.from).expect("opening").relay;
    world.pass(1);
    world.panics(W0, 1);
    world.pass(2);
    assert_eq!(alice.read(&world.replies[0].1).code, 500);
    assert_eq!((world.census().used, world.closed.len()), (1, 1));
    // The Close was in its ring when it panicked once more: it is given again.
    world.hold_closes = false;
    world.panics(W0, 2);
    world.settle();
    assert_eq!(world.closed, [relay; 2]);
    assert_eq!((world.census().used, world.census().quarantined), (0, 1));
    assert_eq!(world.server.occupancy().allocations, 0);
}

#[test]
fn of_a_dual_allocation_that_waits_for_one_leg_the_other_is_not_forgotten() {
    let mut world = World::new();
    world.opens_v6 = Some(Opens::Silent);
    let mut alice = Client::alice(&world, 1);
    assert_eq!(allocate_both(&mut world, &mut alice), None);
    world.opens = Opens::After(1, OpenFailure::PortTaken);
    world.opens_v6 = Some(Opens::Always);
    world.opened.clear();
    world.replies.clear();
    world.panics(W0, 1);
    world.settle();
    // The IPv4 socket was lost, and its port taken since: the client had not heard of it, so another will do.
    let told = alice.read(&world.replies[0].1);
    let ports: Vec<_> = world.opened.iter().map(|(_, bound)| bound.socket()).collect();
    assert_eq!((told.code, told.relayed.is_some_and(|relayed| ports.contains(&relayed))), (0, true));
    assert_eq!((world.census().used, world.census().quarantined), (1, 1));
}

#[test]
fn what_was_being_closed_is_closed_and_its_client_answered() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.hold_closes = true;
    assert_eq!(alice.ask(&mut world, Method::Refresh, release), None);
    assert_eq!((world.census().used, world.closed.len()), (1, 1));
    world.hold_closes = false;
    world.panics(W0, 1);
    assert_eq!(world.census().used, 1, "nothing said so");
    world.settle();
    assert_eq!(alice.read(&world.replies[0].1).code, 0);
    assert_eq!((world.census().used, world.ends()), (0, vec![EndReason::Released]));
}

#[test]
fn a_reserved_port_stays_reserved_and_its_token_good() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let pair = |writer: &mut MessageWriter<'_>| {
        udp(writer);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    };
    assert_eq!(alice.ask(&mut world, Method::Allocate, pair), None);
    world.opens = Opens::Always;
    world.panics(W0, 1);
    world.settle();
    let token = alice.read(&world.replies[0].1).token.expect("a token");
    world.panics_and_is_rebuilt(W0);
    assert_eq!((world.census().used, world.census().reserved), (1, 1));
    let mut second = Client::alice(&world, 2);
    let told = second.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    });
    let ports = [0, 2].map(|place: usize| world.opened[place.min(world.opened.len() - 1)].1.port());
    assert_eq!((told.expect("an answer").code, ports[1]), (0, ports[0] + 1));
}

#[test]
fn a_second_panic_begins_the_telling_anew() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    permit_many(&mut world, &mut alice);
    let before = world.tables.at(W0, world.now().tick());
    world.panics(W0, 1);
    world.server.handle_timeout(world.now());
    world.drain();
    let half = world.tables.at(W0, world.now().tick());
    let permits = |held: &Held| held.entries.values().map(|entry| entry.permits.len()).sum::<usize>();
    assert!((1..512).contains(&permits(&half)) && world.server.is_rebuilding(W0));
    world.panics(W0, 2);
    world.settle();
    assert_eq!(world.tables.at(W0, world.now().tick()), before);
    assert_eq!(world.told_to(W0), ["rebuild", "rebuild", "rebuilt"]);
    let epochs: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::WorkerRestarted { worker, epoch } => Some((*worker, *epoch)),
            _ => None,
        })
        .collect();
    assert_eq!(epochs, [(W0, 1), (W0, 2)]);
}

#[test]
fn two_workers_at_once_are_each_told_their_own() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..40).map(|number| Client::alice(&world, number)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        world.worker = WorkerId((number % 2) as u16);
        assert_eq!(client.allocate(&mut world).code, 0);
        assert_eq!(client.permit(&mut world, &["8.8.8.8:1", "8.8.4.4:1"]).code, 0);
    }
    let before = [W0, W1].map(|worker| world.tables.at(worker, world.now().tick()));
    world.panics(W0, 1);
    world.panics(W1, 1);
    world.settle();
    assert_eq!([W0, W1].map(|worker| world.tables.at(worker, world.now().tick())), before);
    assert!(before.iter().all(|held| held.entries.len() == 20 && held.own.len() == 40));
}

#[test]
fn what_ends_while_the_telling_has_not_come_to_it_is_not_told() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    alice.allocate(&mut world);
    world.worker = W1;
    bob.allocate(&mut world);
    world.panics(W0, 1);
    world.panics(W1, 1);
    world.input(Input::Command(Command::EndAll));
    world.settle();
    assert_eq!((world.server.occupancy().allocations, world.census().used), (0, 0));
    for worker in [W0, W1] {
        assert_eq!(world.tables.at(worker, world.now().tick()), Held::default());
    }
}

#[test]
fn what_a_new_policy_denies_is_revoked_after_the_telling_and_stays_revoked() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:1", "9.9.9.9:1"]);
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    permit_many(&mut world, &mut alice);
    world.panics(W0, 1);
    // What is left of the telling was noted down before the policy changed.
    world.server.handle_timeout(world.now());
    world.drain();
    reconfigure::reconfigure(&mut world, |to| {
        let deny = vec!["8.8.0.0/16".parse().expect("a rule")];
        to.policy = Arc::new(PolicyBuilder { deny, ..PolicyBuilder::default() }.build());
    });
    world.settle();
    let held = world.tables.at(W0, world.now().tick());
    let entry = held.entries.values().next().expect("an entry");
    assert_eq!(entry.permits.keys().map(ToString::to_string).collect::<Vec<_>>(), ["9.9.9.9"]);
    assert!(entry.binds.is_empty());
    world.panics_and_is_rebuilt(W0);
}

#[test]
fn whether_userhash_will_do_is_told_again() {
    let mut world = World::new();
    let announced = world.server.config.credentials.resolves_userhash();
    world
        .server
        .handle_input(world.now(), Input::WorkerRestarted { worker: W1, epoch: 7, carried: Box::default() });
    let Some(Output::RebuildWorker { worker: W1, epoch: 7, username_anonymity }) = world.server.poll_output()
    else {
        panic!("the first thing that it is told")
    };
    assert_eq!(username_anonymity, announced);
}

/// Clients that move.
mod moves {
    use super::*;

    /// Alice on worker 0, awaited on worker 1.
    fn awaited() -> (World, Client, Client) {
        let mut world = mobile_world();
        let mut old = Client::alice(&world, 1);
        let ticket = allocate_mobile(&mut world, &mut old);
        old.permit(&mut world, &["8.8.8.8:1"]);
        old.bind(&mut world, 0x4000, "8.8.4.4:1");
        let mut new = Client::alice(&world, 2);
        world.worker = W1;
        assert_eq!(move_to(&mut world, &mut new, &ticket).expect("an answer").code, 0);
        (world, old, new)
    }

    #[test]
    fn whoever_is_awaited_is_awaited_again_on_the_same_worker() {
        let mut world = mobile_world();
        let mut old = Client::alice(&world, 1);
        let ticket = allocate_mobile(&mut world, &mut old);
        let mut new = Client::alice(&world, 2);
        assert_eq!(move_to(&mut world, &mut new, &ticket).expect("an answer").code, 0);
        let held = world.panics_and_is_rebuilt(W0);
        let entry = held.entries.values().next().expect("an entry");
        assert_eq!((entry.new.five_tuple, entry.next), (old.from, Some(new.from)));
        world.input(Input::ClientArrived { from: new.from });
        let held = world.panics_and_is_rebuilt(W0);
        let entry = held.entries.values().next().expect("an entry");
        assert_eq!((entry.new.five_tuple, entry.next), (new.from, None));
    }

    #[test]
    fn the_worker_that_took_it_over_and_the_one_that_keeps_a_copy_are_told_it_as_it_was() {
        let (mut world, ..) = awaited();
        world.opened.clear();
        let held = world.panics_and_is_rebuilt(W0);
        assert_eq!((held.entries.len(), world.opened.len()), (1, 0), "a copy only sends");
        let held = world.panics_and_is_rebuilt(W1);
        assert_eq!((held.entries.len(), world.opened.len()), (1, 1));
    }

    #[test]
    fn a_copy_that_was_being_closed_is_closed_and_the_port_not_free_before() {
        for first in [W0, W1] {
            let (mut world, _, mut new) = awaited();
            world.hold_closes = true;
            world.input(Input::ClientArrived { from: new.from });
            let _ = new.ask(&mut world, Method::Refresh, release);
            assert_eq!(world.told[2..], [("close", W0), ("close", W1)]);
            let relay = world.opened[0].0;
            let other = if first == W0 { W1 } else { W0 };
            world.input(Input::RelayClosed { worker: other, relay, counters: Counters::default() });
            // One word too many of the same worker is not the other's.
            world.input(Input::RelayClosed { worker: other, relay, counters: Counters::default() });
            assert_eq!(world.census().used, 1, "{first:?} has it");
            world.hold_closes = false;
            world.panics(first, 1);
            world.settle();
            assert_eq!((world.server.occupancy().allocations, world.census().used), (0, 0), "{first:?}");
        }
    }

    /// Alice asks to move from worker 0 to worker 1, and nobody has said anything yet.
    fn leaving() -> (World, Client, RelayId) {
        let mut world = mobile_world();
        let mut old = Client::alice(&world, 1);
        let ticket = allocate_mobile(&mut world, &mut old);
        old.permit(&mut world, &["8.8.8.8:1"]);
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (W1, true);
        assert_eq!(move_to(&mut world, &mut new, &ticket), None);
        assert_eq!(world.told, [("lend", W0)]);
        let relay = world.opened[0].0;
        (world, new, relay)
    }

    fn finished(mut world: World, mut new: Client) {
        let codes: Vec<_> = world.replies.iter().map(|(_, reply)| new.read(reply).code).collect();
        assert_eq!(codes, [0], "the move was granted, and that told once");
        world.worker = W1;
        assert_eq!(new.permit(&mut world, &["8.8.4.4:1"]).code, 0);
        world.panics_and_is_rebuilt(W0);
        world.panics_and_is_rebuilt(W1);
        world.input(Input::ClientArrived { from: new.from });
        assert!(world.tables.of[&W0].entries.is_empty(), "the copy is closed");
        assert_eq!(new.refresh(&mut world, Some(0)).code, 0);
        assert_eq!((world.server.occupancy().allocations, world.census().used), (0, 0));
    }

    #[test]
    fn the_giver_panics_before_it_gives_and_gives_after_it_knows_again_what() {
        let (mut world, new, _) = leaving();
        world.hold_moves = false;
        world.replies.clear();
        world.panics(W0, 1);
        world.settle();
        assert_eq!(world.told_to(W0), ["lend", "rebuild", "lend", "rebuilt"]);
        let entry = world.tables.of[&W1].entries.values().next().expect("it is there");
        assert_eq!(entry.permits.len(), 1, "what was granted went along");
        finished(world, new);
    }

    #[test]
    fn the_giver_panics_with_the_socket_in_its_hands() {
        let (mut world, new, relay) = leaving();
        world.replies.clear();
        world.panics(W0, 1);
        world.settle();
        world.input(Input::RelayDetached { relay, given: None });
        assert_eq!(new.read(&world.replies[0].1).code, 500);
        assert_eq!((world.ends(), world.census().used), (vec![EndReason::Lost], 0));
    }

    #[test]
    fn the_taker_panics_before_it_takes_and_is_asked_for_what_it_was_brought() {
        let (mut world, new, relay) = leaving();
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        assert_eq!(world.told, [("lend", W0), ("take", W1)]);
        world.replies.clear();
        world.panics(W1, 1);
        assert!(world.replies.is_empty());
        world.settle();
        world.hold_moves = false;
        let entry = world.tables.of[&W1].entries.values().next().expect("it is told");
        assert_eq!((entry.next, entry.permits.len()), (Some(new.from), 1));
        finished(world, new);
    }

    #[test]
    fn the_taker_panics_and_what_it_was_brought_is_lost() {
        let (mut world, new, relay) = leaving();
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.replies.clear();
        world.opens = Opens::Never(OpenFailure::PortTaken);
        world.panics(W1, 1);
        world.settle();
        assert_eq!(new.read(&world.replies[0].1).code, 500);
        assert_eq!((world.ends(), world.census().used), (vec![EndReason::Lost], 0));
    }

    #[test]
    fn what_a_socket_carried_that_does_not_arrive_counts() {
        for panics in [false, true] {
            let (mut world, _, relay) = leaving();
            let carried = Counters { to_client_packets: 3, to_peer_bytes: 40, ..Counters::default() };
            world.input(Input::RelayDetached { relay, given: Some((carried, true)) });
            if panics {
                world.opens = Opens::Never(OpenFailure::PortTaken);
                world.panics(W1, 1);
                world.settle();
            } else {
                world.input(Input::RelayFailed { relay, why: OpenFailure::Other });
            }
            let told = world.events.iter().find_map(|event| match event {
                Event::AllocationEnded { counters, .. } => Some(*counters),
                _ => None,
            });
            assert_eq!(told, Some(carried), "it is told once");
        }
    }

    #[test]
    fn one_word_too_many_about_one_leg_is_not_taken_for_the_other_s() {
        let mut world = mobile_world();
        let mut old = Client::alice(&world, 1);
        let told = old.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            writer
                .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
                .attribute(attribute::MOBILITY_TICKET, b"");
        });
        let ticket = told.expect("an answer").ticket.expect("a ticket");
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (W1, true);
        assert_eq!(move_to(&mut world, &mut new, &ticket), None);
        let legs = world.opened.clone();
        // Only one is taken over before the panic; asked for again it is told of twice.
        let (relay, bound) = legs[0];
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.panics(W1, 1);
        world.settle();
        world.input(Input::RelayOpened { relay, bound });
        assert!(world.replies.is_empty(), "the other leg is still on its way");
        let (relay, bound) = legs[1];
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.input(Input::RelayOpened { relay, bound });
        assert_eq!(new.read(&world.replies[0].1).code, 0);
    }

    #[test]
    fn of_two_legs_on_their_way_one_may_end_and_the_other_arrive_at_a_worker_that_panicked() {
        let mut world = mobile_world();
        let mut old = Client::alice(&world, 1);
        let told = old.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            writer
                .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
                .attribute(attribute::MOBILITY_TICKET, b"");
        });
        let ticket = told.expect("an answer").ticket.expect("a ticket");
        world.pass(598);
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves, world.hold_closes) = (W1, true, true);
        // The IPv6 leg alone is not extended.
        let asked = new.ask(&mut world, Method::Refresh, |writer| {
            writer
                .attribute(attribute::MOBILITY_TICKET, &ticket)
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
        });
        assert_eq!(asked, None);
        let legs = world.opened.clone();
        for (relay, _) in &legs {
            world.input(Input::RelayDetached { relay: *relay, given: Some((Counters::default(), false)) });
        }
        world.replies.clear();
        world.pass(5);
        assert_eq!(world.server.occupancy().live, 1);
        world.hold_closes = false;
        world.panics(W1, 1);
        world.settle();
        let codes: Vec<_> = world.replies.iter().map(|(_, reply)| new.read(reply).code).collect();
        assert_eq!(codes, [0]);
    }

    #[test]
    fn a_leg_that_ends_on_its_way_to_a_worker_that_panics_holds_nothing_up() {
        let (mut world, new, relay) = leaving();
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.input(Input::Command(Command::EndAll));
        world.hold_closes = true;
        world.settle();
        world.panics(W1, 1);
        world.hold_closes = false;
        world.panics(W0, 1);
        world.settle();
        assert_eq!((world.server.occupancy().allocations, world.census().used), (0, 0));
        drop(new);
    }
}
