//! Who lives in the world, and when each of them does something.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::*;
use crate::proto::auth::budget::StrangerBudget;
use crate::proto::client::Families;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::TableConfig;
use crate::proto::turn::Server;
use crate::proto::types::Transport;
use crate::sim::honest::Nature;
use crate::sim::insider;
use crate::sim::oracle::Oracle;
use crate::sim::oracle::Rules;
use crate::sim::peer::Manner;

/// Client hosts behind NATs: 10.1.N.2, where N is the client's number.
const fn inside(number: u16) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, number as u8, 2))
}

/// Public hosts of clients.
const fn outside(number: u16) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + number as u8))
}

const fn outside_v6(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0x200, number, 0, 0, 0, 2))
}

const fn nat_address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200 + number))
}

/// What clients come by.
const TRANSPORTS: [Transport; 4] = [Transport::Udp, Transport::Udp, Transport::Tcp, Transport::Tls];

/// Where the server at `address` takes what comes by `transport`.
const fn door(mut address: SocketAddr, transport: Transport) -> SocketAddr {
    if transport.is_stream() {
        address.set_port(scenario::STREAM_PORT);
    }
    address
}

impl World {
    pub(super) fn build(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        let scenario = Scenario::draw(&mut dice);
        let config = &scenario.config;
        let rules = Rules {
            permission_lifetime: config.permission_lifetime,
            channel_lifetime: config.channel_lifetime,
            lifetime_max: config.lifetime_max.as_duration(),
            strict_permissions: scenario.strict_permissions,
            policy: std::sync::Arc::clone(&config.policy),
            workers: scenario.workers.into(),
            relays: config.relays.iter().map(|relay| (relay.bind, relay.external)).collect(),
        };
        let listeners = scenario::listeners();
        let workers: Vec<_> = (0..scenario.workers)
            .map(|number| {
                let external = config.relays.iter().map(|relay| (relay.bind, relay.external));
                let seed = TableConfig {
                    policy: std::sync::Arc::clone(&config.policy),
                    strict_permissions: scenario.strict_permissions,
                    hash_seeds: dice.seeds(),
                    external: ExternalAddresses::new(external),
                };
                let strangers = StrangerBudget::new(dice.seeds(), Vec::new());
                let challenger = config.challenger.clone();
                Worker::new(number, seed, challenger, strangers, listeners.clone(), scenario.request_ring)
            })
            .collect();
        let server = Server::new(config.clone(), dice.fork());
        let control = Control::new(server, workers.len(), scenario.command_ring);
        let oracle = Oracle::new(rules);
        let sh = Shared::new(dice, scenario.faults, scenario.mtu, scenario.window, oracle, plan.capture);
        let mut world = Self {
            sh,
            control,
            worker_at: vec![None; workers.len()],
            streams_at: vec![None; workers.len()],
            workers,
            listeners,
            hosts: BTreeMap::new(),
            nats: Vec::new(),
            honest: Vec::new(),
            insiders: Vec::new(),
            peers: Vec::new(),
            callers: Vec::new(),
            rogues: Vec::new(),
            strangers: Vec::new(),
            queue: BTreeMap::new(),
            number: 0,
            control_at: None,
            control_stalled_until: 0,
            act: Act::Chaos,
            drained: false,
            capture: plan.capture.then(Capture::new),
            ports_given: 0,
            scenario,
        };
        world.settle_people();
        world
    }

    fn settle_people(&mut self) {
        for number in 0..3_u8 {
            let nat = Nat::draw(&mut self.sh.dice, nat_address(number));
            self.nats.push(nat);
        }
        self.settle_peers();
        for number in 0..self.scenario.honest {
            self.settle_honest(number);
        }
        for at in 0..self.scenario.insiders {
            self.settle_insider(at);
        }
        for at in 0..self.scenario.callers.min(scenario::CALLERS_MAX) {
            self.settle_caller(at);
        }
        for at in 0..self.scenario.rogues {
            self.settle_rogue(at);
        }
        for (number, ip) in [(0, outside(90)), (1, outside_v6(90))] {
            let at = SocketAddr::new(ip, 9_999);
            self.strangers.push(Stranger::new(at));
            self.live_at(ip, None, Actor::Stranger(number));
        }
        let operator = Actor::Operator;
        self.schedule(20 * SECOND, Next::Act(operator));
    }

    fn settle_peers(&mut self) {
        let v4 = |last: u8| IpAddr::V4(Ipv4Addr::new(198, 51, 100, last));
        let v6 = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 1, 0, 0, 0, 0, last));
        let manners = [Manner::Echoes, Manner::Intrudes, Manner::Lies];
        let at = |ip| SocketAddr::new(ip, 7_000);
        let mut places = vec![(at(v4(1)), Manner::Echoes), (at(v6(1)), Manner::Echoes)];
        places.extend([
            (at(v4(2)), Manner::Intrudes),
            (at(v6(2)), Manner::Intrudes),
            (at(v4(3)), Manner::Lies),
        ]);
        places.push((scenario::DENIABLE, self.sh.dice.pick(&manners)));
        places.push((scenario::HALF_DENIED, self.sh.dice.pick(&manners)));
        // Behind a NAT of which clients know nothing: it reaches them, and they it once it has.
        places.push((at(inside(99)), Manner::Intrudes));
        for (number, (place, manner)) in places.into_iter().enumerate() {
            let nat = (place.ip() == inside(99)).then_some(2);
            self.peers.push(Peer::new(u16::try_from(number).unwrap_or(0), place, manner));
            self.live_at(place.ip(), nat, Actor::Peer(number));
            if nat.is_none() {
                self.sh.directory.peers.push(place);
            }
        }
    }

    fn settle_honest(&mut self, number: u16) {
        let at = self.honest.len();
        let (ip, nat) = match self.sh.dice.number(4) {
            0 => (outside(number), None),
            1 => (outside_v6(number), None),
            _ => (inside(number), Some(self.sh.dice.index(2))),
        };
        let server = if ip.is_ipv4() { scenario::LISTEN_V4 } else { scenario::LISTEN_V6 };
        let is_old = self.scenario.config.challenger.legacy && self.sh.dice.chance(250);
        let families = self.sh.dice.pick(&[Families::V4, Families::V4, Families::V6, Families::Both]);
        let families = if is_old { Families::V4 } else { families };
        let config = &self.scenario.config;
        let nature = Nature {
            families,
            mobility: !is_old && config.mobility && self.sh.dice.chance(900),
            dont_fragment: self.sh.dice.chance(300),
            minted: !config.credentials.resolves_userhash() && self.sh.dice.chance(400),
            permission_lifetime: config.permission_lifetime,
            channel_lifetime: config.channel_lifetime,
            transport: self.sh.dice.pick(&TRANSPORTS),
            is_old,
            relays_connections: is_old && config.connections_per_allocation > 0,
        };
        let server = door(server, nature.transport);
        let wanted = |peer: &&SocketAddr| match families {
            Families::V4 => peer.is_ipv4(),
            Families::V6 => peer.is_ipv6(),
            Families::Both => true,
        };
        let targets = self.sh.directory.peers.iter().filter(wanted).copied().collect();
        let inner = SocketAddr::new(ip, 5_000 + number);
        let honest = Honest::new(&mut self.sh, number, inner, server, nature, targets);
        self.honest.push(honest);
        self.live_at(ip, nat, Actor::Honest(at));
    }

    fn settle_caller(&mut self, at: u16) {
        if self.scenario.config.connections_per_allocation == 0 {
            return;
        }
        let place = SocketAddr::new(outside(30 + at), 8_000);
        let transport = self.sh.dice.pick(&[Transport::Tcp, Transport::Tls]);
        let server = door(scenario::LISTEN_V4, transport);
        let mut targets = self.sh.directory.peers.clone();
        targets.retain(SocketAddr::is_ipv4);
        let caller = Caller::new(&mut self.sh, at, place, server, transport, targets);
        let index = self.callers.len();
        self.callers.push(caller);
        self.live_at(place.ip(), None, Actor::Caller(index));
    }

    fn settle_rogue(&mut self, at: u16) {
        let place = SocketAddr::new(outside(40 + at), 9_000);
        let transport = self.sh.dice.pick(&TRANSPORTS);
        let server = door(scenario::LISTEN_V4, transport);
        let user = scenario::INSIDERS[usize::from(at) % scenario::INSIDERS.len()];
        let mut targets = self.sh.directory.peers.clone();
        targets.retain(SocketAddr::is_ipv4);
        let rogue = Rogue::new(at, place, server, user, targets, transport);
        let index = self.rogues.len();
        self.rogues.push(rogue);
        self.live_at(place.ip(), None, Actor::Rogue(index));
    }

    fn settle_insider(&mut self, at: u16) {
        let ip = if self.sh.dice.chance(700) { outside(50 + at) } else { outside_v6(50 + at) };
        let server = if ip.is_ipv4() { scenario::LISTEN_V4 } else { scenario::LISTEN_V6 };
        let user = scenario::INSIDERS[usize::from(at) % scenario::INSIDERS.len()];
        let targets = self.sh.directory.peers.clone();
        let place = SocketAddr::new(ip, 6_000);
        let number = insider::FIRST + at;
        let transport = self.sh.dice.pick(&TRANSPORTS);
        let server = door(server, transport);
        let insider = Insider::new(&mut self.sh, number, place, server, user, targets, transport);
        self.insiders.push(insider);
        self.live_at(ip, None, Actor::Insider(usize::from(at)));
    }

    fn live_at(&mut self, ip: IpAddr, nat: Option<usize>, actor: Actor) {
        let link = Link::draw(&mut self.sh.dice);
        self.hosts.insert(ip, Host { link, nat, actor });
        let first = self.sh.dice.range(1, 2_000) * MILLISECOND;
        self.schedule(first, Next::Act(actor));
    }

    /// Lets somebody act, and says when the next time is.
    pub(super) fn let_act(&mut self, actor: Actor) {
        let calm = self.act == Act::Calm;
        let silent = matches!(self.act, Act::Hush | Act::End);
        let (low, high) = match actor {
            _ if silent => return,
            Actor::Honest(at) => {
                self.honest[at].act(&mut self.sh);
                self.arm(at);
                if calm { (100, 100) } else { (10, 500) }
            }
            Actor::Insider(at) => {
                if calm {
                    return;
                }
                self.insiders[at].act(&mut self.sh);
                (10, 300)
            }
            Actor::Caller(at) => {
                self.callers[at].act(&mut self.sh);
                if let Some(port) = self.callers[at].invited.take() {
                    self.peers[0].visit(&mut self.sh, port);
                }
                if calm { (100, 100) } else { (10, 400) }
            }
            Actor::Rogue(at) => {
                if calm {
                    return;
                }
                self.rogues[at].act(&mut self.sh);
                (10, 300)
            }
            Actor::Peer(at) => {
                self.peers[at].act(&mut self.sh);
                self.call_oneself(at);
                (50, 1_000)
            }
            Actor::Stranger(at) => {
                self.strangers[at].act(&mut self.sh, calm);
                (50, 3_000)
            }
            Actor::Operator => {
                if calm {
                    return;
                }
                self.operate();
                (5_000, 60_000)
            }
        };
        let after = self.sh.dice.range(low, high) * MILLISECOND;
        // Now and then somebody is away for long.
        let after = if !calm && self.sh.dice.chance(2) { after + 400 * SECOND } else { after };
        self.schedule(after, Next::Act(actor));
    }

    /// A host behind a NAT writes to the address that the NAT shows for it.
    fn call_oneself(&mut self, peer: usize) {
        let at = self.peers[peer].at;
        let nat = self.hosts.get(&at.ip()).and_then(|host| host.nat);
        if let Some(nat) = nat.filter(|_| self.sh.dice.chance(20)) {
            let Some(to) = self.nats[nat].given else { return };
            let packet = Packet::new(at, to, b"is this me?".to_vec());
            self.sh.from_hosts.push(Packet { tainted: true, ..packet });
        }
    }

    /// The operator, or fate.
    fn operate(&mut self) {
        self.sh.steps += 1;
        match self.sh.dice.number(5) {
            0 | 1 => {
                let to = scenario::reconfiguration(&self.scenario.config, &mut self.sh.dice);
                self.order(Order::Reconfigure(Box::new(to)));
            }
            2 => {
                let day = self.sh.dice.pick(&[-86_400, 86_400, -300, 300]);
                self.sh.clock.set_wall(day);
                self.sh.coverage.fact("wall clock set");
            }
            3 => {
                let nat = self.sh.dice.index(self.nats.len());
                self.nats[nat].forget();
                self.cut_streams(nat);
                self.sh.coverage.fact("nat rebinding");
            }
            _ => {}
        }
    }

    pub(super) fn order(&mut self, order: Order) {
        self.control.orders.push_back(order);
        self.sh.wake_control = true;
    }
}
