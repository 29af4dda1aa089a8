//! RFC 5780 from end to end in virtual time: our client, a modelled NAT, our answers. What the client finds must be what
//! the NAT is.

use std::net::SocketAddr;
use std::time::Duration;

use swingbridge::nat::Behaviour;
use swingbridge::nat::Chain;
use swingbridge::nat::Dependence;
use swingbridge::nat::Firewall;
use swingbridge::nat::Hairpin;
use swingbridge::nat::Nat;
use swingbridge::nat::Packet;
use swingbridge::nat::PortChoice;
use swingbridge::nat::Protocol;
use swingbridge::nat::Verdict;
use swingbridge::proto::binding;
use swingbridge::proto::binding::Endpoint;
use swingbridge::proto::binding::Quartet;
use swingbridge::proto::client::Discovery;
use swingbridge::proto::client::Finding;
use swingbridge::proto::client::Found;
use swingbridge::proto::client::Local;
use swingbridge::proto::client::Reach;
use swingbridge::proto::client::Seen;
use swingbridge::proto::client::Timing;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Dice;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Transport;
use swingbridge::proto::wire::rfc8656::decode::decode_request;

const SERVER: &str = "198.51.100.1:3478";
const OTHER: &str = "198.51.100.2:3479";
const LOCALS: [&str; 2] = ["10.0.0.2:5000", "10.0.0.2:5002"];

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// A host behind NATs, and a server in front of them.
struct World {
    chain: Chain<Dice>,
    discovery: binding::Discovery,
    client: Discovery<Dice>,
    millis: u64,
    /// Every so many datagrams to the server one is lost; 0: none.
    loses: u32,
    sent: u32,
}

impl World {
    fn new(chain: Vec<Nat<Dice>>) -> Self {
        let endpoint = |text| Endpoint { bind: at(text), external: at(text) };
        let quartet = Quartet::new(endpoint(SERVER), endpoint(OTHER)).expect("two addresses");
        let timing = Timing { transmissions: 3, last_wait: Duration::from_secs(1), ..Timing::DATAGRAMS };
        let client = Discovery::new(at(SERVER), LOCALS.map(at), timing, Dice::new(7), now(0));
        let discovery = binding::Discovery::new([quartet]);
        Self { chain: Chain(chain), discovery, client, millis: 0, loses: 0, sent: 0 }
    }

    fn run(mut self) -> Finding {
        for _ in 0..1_000 {
            match self.client.poll_output() {
                Some(Found::Done(finding)) => return finding,
                Some(Found::Send(send)) => {
                    let local = at(LOCALS[usize::from(send.from == Local::Second)]);
                    self.send(local, send.to, &send.bytes);
                }
                None => {
                    let next = self.client.poll_timeout().expect("it ends, or waits for something");
                    self.millis = self.millis.max(next.as_millis());
                    self.client.handle_timeout(now(self.millis));
                }
            }
        }
        panic!("it does not end");
    }

    /// A datagram of the host.
    fn send(&mut self, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        let tick = now(self.millis).tick();
        let packet = Packet { protocol: Protocol::Udp, source, destination, fragment: None };
        match self.chain.outbound(tick, &packet) {
            Verdict::Pass { source, destination } => self.serve(source, destination, bytes),
            Verdict::Back { source, destination } => self.arrive(source, destination, bytes),
            Verdict::Drop(_) | Verdict::Reject(_) => {}
        }
    }

    /// A datagram that came out in front.
    fn serve(&mut self, client: SocketAddr, server: SocketAddr, bytes: &[u8]) {
        self.sent += 1;
        if self.loses > 0 && self.sent.is_multiple_of(self.loses) {
            return;
        }
        let Ok(request) = decode_request(bytes) else { panic!("clients send requests") };
        let from = FiveTuple {
            client: ClientAddr::new(client),
            server: ServerAddr::new(server),
            transport: Transport::Udp,
        };
        let mut out = [0; 512];
        let answered = binding::answer(&self.discovery, &request, &from, &mut out).expect("room");
        let (source, destination) = (answered.to.server.socket(), answered.to.client.socket());
        let packet = Packet { protocol: Protocol::Udp, source, destination, fragment: None };
        if let Verdict::Pass { source, destination } = self.chain.inbound(now(self.millis).tick(), &packet) {
            self.arrive(source, destination, &out[..answered.len]);
        }
    }

    fn arrive(&mut self, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        let local = if destination == at(LOCALS[0]) { Local::First } else { Local::Second };
        self.client.handle_datagram(now(self.millis), local, source, bytes);
    }
}

fn now(millis: u64) -> Now {
    Now { since_start: Duration::from_millis(millis), unix: 0 }
}

fn nat(behaviour: Behaviour) -> Nat<Dice> {
    Nat::new(behaviour, vec!["203.0.113.1".parse().expect("an address")], Dice::new(3))
}

fn seen(dependence: Dependence) -> Seen {
    match dependence {
        Dependence::EndpointIndependent => Seen::EndpointIndependent,
        Dependence::AddressDependent => Seen::AddressDependent,
        Dependence::AddressAndPortDependent => Seen::AddressAndPortDependent,
    }
}

#[test]
fn every_nat_is_found_to_be_what_it_is() {
    for mapping in Dependence::ALL {
        for filtering in Dependence::ALL {
            for hairpin in [Hairpin::No, Hairpin::InternalSource, Hairpin::ExternalSource] {
                for ports in [PortChoice::Preserve, PortChoice::Sequential, PortChoice::Random] {
                    for loses in [0, 3] {
                        let behaviour =
                            Behaviour { mapping, filtering, hairpin, ports, ..Behaviour::FULL_CONE };
                        let mut world = World::new(vec![nat(behaviour)]);
                        world.loses = loses;
                        let found = world.run();
                        assert_eq!(found.reach, Reach::Full);
                        assert_eq!(found.nat, Some(true));
                        assert_eq!(found.mapping, Some(seen(mapping)), "{behaviour:?}");
                        assert_eq!(found.filtering, Some(seen(filtering)), "{behaviour:?}");
                        let known = mapping == Dependence::EndpointIndependent;
                        assert_eq!(found.hairpin, known.then_some(hairpin != Hairpin::No), "{behaviour:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_strictest_of_nats_in_a_row_is_what_is_found() {
    let home = || nat(Behaviour::PORT_RESTRICTED);
    let carrier =
        |behaviour| Nat::new(behaviour, vec!["192.0.2.1".parse().expect("an address")], Dice::new(5));
    let found = World::new(vec![home(), carrier(Behaviour::CARRIER)]).run();
    assert_eq!(found.mapping, Some(Seen::EndpointIndependent));
    assert_eq!(found.filtering, Some(Seen::AddressAndPortDependent));
    let found = World::new(vec![home(), carrier(Behaviour::SYMMETRIC)]).run();
    assert_eq!(found.mapping, Some(Seen::AddressAndPortDependent));
}

#[test]
fn without_a_nat_there_is_none() {
    let found = World::new(Vec::new()).run();
    assert_eq!((found.reach, found.nat, found.mapping), (Reach::Full, Some(false), None));
    assert_eq!(found.mapped, Some(at(LOCALS[0])));
    assert_eq!(found.filtering, Some(Seen::EndpointIndependent));
}

#[test]
fn where_udp_is_blocked_the_server_is_silent() {
    let found = World::new(vec![nat(Behaviour::FULL_CONE).behind(Firewall::NoUdp, false)]).run();
    assert_eq!((found.reach, found.mapped, found.nat), (Reach::Silent, None, None));
}

#[test]
fn a_server_with_one_address_tells_the_mapped_address_and_no_more() {
    let mut world = World::new(vec![nat(Behaviour::FULL_CONE)]);
    world.discovery = binding::Discovery::default();
    let found = world.run();
    assert_eq!((found.reach, found.mapped), (Reach::OneAddress, Some(at("203.0.113.1:5000"))));
    assert_eq!((found.nat, found.mapping, found.filtering), (Some(true), None, None));
}

#[test]
fn an_answer_of_a_stranger_changes_nothing() {
    let mut world = World::new(vec![nat(Behaviour::FULL_CONE)]);
    let Some(Found::Send(send)) = world.client.poll_output() else { panic!("it asks") };
    let mut forged = send.bytes.to_vec();
    forged[..2].copy_from_slice(&[0x01, 0x01]);
    // The right transaction from the wrong place, the wrong one from the right place, and noise.
    world.client.handle_datagram(now(1), Local::First, at("192.0.2.66:3478"), &forged);
    world.client.handle_datagram(now(1), Local::Second, at(SERVER), &forged);
    forged[19] ^= 1;
    world.client.handle_datagram(now(1), Local::First, at(SERVER), &forged);
    world.client.handle_datagram(now(1), Local::First, at(SERVER), &[0xFF; 40]);
    assert_eq!(world.client.poll_output(), None);
    world.send(at(LOCALS[0]), send.to, &send.bytes);
    assert!(matches!(world.client.poll_output(), Some(Found::Send(_))), "the true one is taken");
}
