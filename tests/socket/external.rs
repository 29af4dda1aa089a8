//! Relay addresses behind a 1:1 NAT that does not turn packets round: clients of one server name each other by external
//! addresses, which no packet on loopback could reach.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::ExternalAddresses;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::PeerAddr;
use swingbridge::relay::Config;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::plane::Allocation;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::Terms;
use crate::plane::config;

const ADDRESSES: [(&str, &str); 2] = [("127.0.0.1", "203.0.113.7"), ("::1", "2001:db8::7")];
const NUMBER: u16 = 0x4123;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal")
}

/// Only live relayed addresses may be peers.
fn behind_a_nat(workers: u16) -> Config {
    let pairs = ADDRESSES.map(|(bind, external)| (ip(bind), ip(external)));
    let policy = PolicyBuilder {
        default: Unlisted::None,
        own: pairs.iter().flat_map(|(bind, external)| [*bind, *external]).collect(),
        relay: pairs.map(|(_, external)| external).into(),
        ..PolicyBuilder::default()
    };
    Config {
        policy: Arc::new(policy.build()),
        external: ExternalAddresses::new(pairs),
        ..config(workers, &["127.0.0.1:0", "[::1]:0"])
    }
}

struct Party {
    client: Client,
    allocation: Allocation,
}

/// A client whose relayed address is live, of the family of `listener`.
fn join(plane: &mut Plane, listener: usize) -> Party {
    let server = plane.server(listener);
    let client = Client::new(server.ip(), server);
    let (bind, external) = ADDRESSES[listener];
    let terms = Terms { bind: ip(bind), external: ip(external), bandwidth: Bandwidth::default() };
    // The permission and the channel that it begins with lead to nobody here.
    let nobody = ["192.0.2.1:9", "[2001:db8:ffff::1]:9"][listener].parse().expect("a literal");
    let allocation = plane.open_on(&client, nobody, &terms);
    plane.tell_all(&TableChange::OwnRelay { address: allocation.relayed, live: true });
    Party { client, allocation }
}

fn permit(plane: &mut Plane, party: &Party, peer: IpAddr) {
    let Allocation { worker, relay, .. } = party.allocation;
    plane.push(worker, ToWorker::Table(TableChange::Permit { relay, peer, until: Deadline::NEVER }));
}

fn bind(plane: &mut Plane, party: &Party, peer: SocketAddr) {
    let Allocation { worker, relay, .. } = party.allocation;
    let channel = ChannelNumber::new(NUMBER).expect("a channel number");
    let bind = TableChange::Bind { relay, channel, peer: PeerAddr::new(peer), until: Deadline::NEVER };
    plane.push(worker, ToWorker::Table(bind));
}

/// Waits until each worker has carried out what it was told.
fn settle(plane: &mut Plane) {
    for worker in 0..plane.handles.len() {
        let relay = plane.next_relay();
        plane.push(worker, ToWorker::Close { relay });
        plane.report(worker);
    }
}

fn talk(plane: &mut Plane, one: &Party, other: &Party) {
    for (here, there) in [(one, other), (other, one)] {
        permit(plane, here, there.allocation.relayed.ip());
    }
    settle(plane);
    for (here, there) in [(one, other), (other, one)] {
        here.client.send(&message::send_indication(there.allocation.relayed, b"by indication"));
        let heard = there.client.receive();
        let from = here.allocation.relayed;
        assert_eq!(message::data_indication(&heard, from), Some(&b"by indication"[..]), "shown as {from}");
    }
    for (here, there) in [(one, other), (other, one)] {
        bind(plane, here, there.allocation.relayed);
    }
    settle(plane);
    for (here, there) in [(one, other), (other, one)] {
        here.client.send(&message::channel_data(NUMBER, b"by channel"));
        assert_eq!(there.client.receive(), message::channel_data(NUMBER, b"by channel"));
    }
}

#[test]
fn clients_of_one_worker_and_of_two_talk_by_external_addresses_over_both_families() {
    for workers in [1, 2] {
        let mut plane = Plane::start_with(&behind_a_nat(workers));
        for (listener, (_, external)) in ADDRESSES.into_iter().enumerate() {
            let one = join(&mut plane, listener);
            assert_eq!(one.allocation.relayed.ip(), ip(external));
            for there in 0..usize::from(workers) {
                // The kernel spreads clients over the workers by their ports.
                let other = (0..64).map(|_| join(&mut plane, listener));
                let mut other = other.filter(|party| party.allocation.worker == there);
                let other = other.next().expect("each worker gets a client");
                talk(&mut plane, &one, &other);
            }
        }
    }
}

#[test]
fn an_external_address_that_is_not_live_and_a_bound_one_are_not_reached() {
    let mut plane = Plane::start_with(&behind_a_nat(1));
    let (one, other) = (join(&mut plane, 0), join(&mut plane, 0));
    let (external, bound) = (one.allocation.relayed.ip(), ip("127.0.0.1"));
    let watch = Client::new(bound, one.client.server);
    for party in [&one, &other] {
        permit(&mut plane, party, external);
    }
    permit(&mut plane, &one, bound);
    settle(&mut plane);
    let dead = SocketAddr::new(external, watch.address().port());
    let targets = [dead, watch.address(), SocketAddr::new(external, 22), one.client.server];
    for (count, target) in (1..).zip(targets) {
        one.client.send(&message::send_indication(target, b"let me in"));
        plane.drops(0, DropReason::ForbiddenPeer, count);
    }
    bind(&mut plane, &one, dead);
    settle(&mut plane);
    one.client.send(&message::channel_data(NUMBER, b"let me in"));
    plane.drops(0, DropReason::ForbiddenPeer, 5);
    // Once the other's relayed address is live no more, it is as dead as these, by channel too.
    bind(&mut plane, &one, other.allocation.relayed);
    plane.tell_all(&TableChange::OwnRelay { address: other.allocation.relayed, live: false });
    settle(&mut plane);
    one.client.send(&message::channel_data(NUMBER, b"too late"));
    plane.drops(0, DropReason::ForbiddenPeer, 6);
    assert!(watch.hears_nothing() && other.client.hears_nothing());
}

#[test]
fn what_else_sends_from_a_bound_address_is_not_taken_for_a_relay() {
    let mut plane = Plane::start_with(&behind_a_nat(1));
    let one = join(&mut plane, 0);
    let relayed = one.allocation.relayed;
    permit(&mut plane, &one, relayed.ip());
    settle(&mut plane);
    let program = Client::new(ip("127.0.0.1"), one.client.server);
    program.send_to(b"let me in", SocketAddr::new(ip("127.0.0.1"), relayed.port()));
    plane.drops(0, DropReason::NoPermission, 1);
    assert!(one.client.hears_nothing());
}
