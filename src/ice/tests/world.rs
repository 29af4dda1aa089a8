//! Two agents, a relay and what lies between them, in virtual time: one seed, one run.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test hands an instant in as an owner does"
)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use super::super::*;
use super::nat;
use super::nat::Nat;
use super::relay::LISTEN;
use super::relay::Leaves;
use super::relay::Machine;
use super::relay::PASSWORD;
use super::relay::USER;
use crate::proto::client::Credential;
use crate::proto::client::Proof;
use crate::proto::types::Dice;
use crate::proto::types::Now;
use crate::proto::types::Secret;
use crate::proto::types::Transport;

/// Microseconds since the start.
pub(super) type Micros = u64;
pub(super) const SECOND: Micros = 1_000_000;

/// Something on its way.
#[derive(Debug)]
enum Next {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Of a connection: `None` when it opens.
    ToServer {
        side: usize,
        bytes: Vec<u8>,
    },
    ToClient {
        side: usize,
        bytes: Option<Vec<u8>>,
    },
    /// What one side tells the other by signalling.
    Signal {
        to: usize,
        what: Signal,
    },
}

#[derive(Debug)]
enum Signal {
    Description(String),
    Candidate(String),
    End,
}

pub(super) struct Side {
    pub(super) agent: Agent,
    pub(super) local: SocketAddr,
    nat: Option<Nat>,
    /// Where its connection to the server comes from.
    line: Option<SocketAddr>,
    pub(super) events: Vec<(Micros, Event)>,
    pub(super) received: VecDeque<Vec<u8>>,
}

pub(super) struct World {
    micros: Micros,
    number: u64,
    queue: BTreeMap<(Micros, u64), Next>,
    dice: Dice,
    pub(super) machine: Machine,
    pub(super) sides: [Side; 2],
    pub(super) loss: u32,
    pub(super) delay: (Micros, Micros),
    /// Everything that left a side, its time included.
    pub(super) digest: u64,
    /// Where datagrams of the sides were sent to.
    pub(super) destinations: BTreeSet<SocketAddr>,
    /// Answers to checks come from another port than the checks went to.
    pub(super) crosses: bool,
    /// Nothing that is for this side arrives.
    pub(super) is_deaf: [bool; 2],
    /// What is told about candidates after the description.
    pub(super) trickles: bool,
    /// Answers to the checks of this side get lost, and nothing else.
    pub(super) is_unanswered: [bool; 2],
}

pub(super) fn credential(password: &[u8]) -> Credential {
    Credential { username: USER.into(), proof: Proof::Password(Secret::new(password)), token: None }
}

pub(super) fn turn(transport: Transport) -> TurnServer {
    TurnServer::new(LISTEN.parse().unwrap(), transport, credential(PASSWORD))
}

/// How the two sides are made.
pub(super) struct Plan {
    pub(super) configs: [Config; 2],
    pub(super) nats: [Option<nat::Kind>; 2],
}

impl Plan {
    pub(super) fn new(policy: Policy, transport: Transport) -> Self {
        let config = |role| Config { policy, servers: vec![turn(transport)], ..Config::new(role) };
        Self { configs: [config(Role::Controlling), config(Role::Controlled)], nats: [None; 2] }
    }
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        Self::with(seed, plan, |_| {})
    }

    pub(super) fn with(seed: u64, plan: Plan, change: impl FnOnce(&mut crate::proto::turn::Config)) -> Self {
        let mut dice = Dice::new(seed);
        let clock = Clock::starting_at(Instant::now());
        let [one, two] = plan.configs;
        let [nat_one, nat_two] = plan.nats;
        let sides = [(one, nat_one, 1_u8), (two, nat_two, 2)].map(|(config, kind, number)| {
            let open: SocketAddr = SocketAddr::from(([198, 51, 100, number], 5_000));
            let local = kind.map_or(open, |_| SocketAddr::from(([10, 0, number, 2], 5_000)));
            Side {
                agent: Agent::new(config, clock, &mut dice),
                local,
                nat: kind.map(|kind| Nat::new(kind, open.ip())),
                line: None,
                events: Vec::new(),
                received: VecDeque::new(),
            }
        });
        let machine = Machine::new(&mut dice, change);
        Self {
            micros: 7_000,
            number: 0,
            queue: BTreeMap::new(),
            dice,
            machine,
            sides,
            loss: 0,
            delay: (10_000, 10_000),
            digest: 0,
            destinations: BTreeSet::new(),
            crosses: false,
            is_deaf: [false; 2],
            trickles: true,
            is_unanswered: [false; 2],
        }
    }

    pub(super) fn now(&self) -> Now {
        let since_start = Duration::from_micros(self.micros);
        Now { since_start, unix: 1_800_000_000 + since_start.as_secs() }
    }

    pub(super) const fn micros(&self) -> Micros {
        self.micros
    }

    /// Both sides begin, and tell each other.
    pub(super) fn start(&mut self) {
        for side in 0..2 {
            let local = self.sides[side].local;
            self.input(side, Input::LocalAddress(local));
            self.input(side, Input::Gather);
            let text = self.sides[side].agent.description().to_string();
            self.signal(side, Signal::Description(text));
        }
    }

    fn signal(&mut self, from: usize, what: Signal) {
        self.later(30_000, Next::Signal { to: 1 - from, what });
    }

    pub(super) fn input(&mut self, side: usize, input: Input<'_>) {
        let now = self.now();
        self.sides[side].agent.handle_input(now, input);
        self.drain(side);
    }

    fn later(&mut self, after: Micros, next: Next) {
        self.number += 1;
        self.queue.insert((self.micros + after, self.number), next);
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in self.micros.to_le_bytes().iter().chain(bytes) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].agent.poll_output() {
            match output {
                Output::Transmit { local, to, bytes } => {
                    assert_eq!(local, self.sides[side].local);
                    self.mix(&bytes);
                    self.destinations.insert(to);
                    let nat = self.sides[side].nat.as_mut();
                    let from = nat.map_or(local, |nat| nat.outbound(local, to));
                    self.carry(from, to, bytes.into());
                }
                Output::Open { server } => {
                    assert_eq!(server, 0);
                    let nat = self.sides[side].nat.as_ref().map(|nat| nat.external);
                    let ip = nat.unwrap_or(self.sides[side].local.ip());
                    self.sides[side].line = Some(SocketAddr::new(ip, 40_000));
                    self.later(2 * self.delay.1, Next::ToClient { side, bytes: None });
                }
                Output::Write { bytes, .. } => {
                    self.mix(&bytes);
                    self.later(self.delay.1, Next::ToServer { side, bytes: bytes.into() });
                }
                Output::Shut { .. } => {
                    let now = self.now();
                    if let Some(client) = self.sides[side].line.take() {
                        self.machine.hang_up(now, client);
                    }
                }
                Output::Event(event) => self.told(side, event),
            }
        }
        self.leave_machine();
    }

    fn told(&mut self, side: usize, event: Event) {
        self.mix(format!("{event:?}").as_bytes());
        match &event {
            Event::Data(data) => self.sides[side].received.push_back(data.to_vec()),
            Event::LocalCandidate(candidate) if self.trickles => {
                self.signal(side, Signal::Candidate(candidate.to_string()));
            }
            Event::GatheringDone if self.trickles => self.signal(side, Signal::End),
            _ => {}
        }
        self.sides[side].events.push((self.micros, event));
    }

    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if !self.dice.chance(self.loss) {
            let (least, most) = self.delay;
            let after = least + self.dice.number(most - least + 1);
            self.later(after, Next::Datagram { from, to, bytes });
        }
    }

    fn leave_machine(&mut self) {
        for leaves in std::mem::take(&mut self.machine.leaves) {
            match leaves {
                Leaves::Datagram { from, to, bytes } => self.carry(from, to, bytes),
                Leaves::Stream { client, bytes } => {
                    let side = self.sides.iter().position(|side| side.line == Some(client));
                    if let Some(side) = side {
                        self.later(self.delay.1, Next::ToClient { side, bytes: Some(bytes) });
                    }
                }
            }
        }
    }

    /// Goes on until `done` says so, or until nothing happens before `until`. Answers which.
    pub(super) fn run(&mut self, until: Micros, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..2_000_000 {
            if done(self) {
                return true;
            }
            let timers = self.sides.iter().filter_map(|side| side.agent.poll_timeout());
            let timers = timers.chain(self.machine.poll_timeout()).min().map(|at| at.as_millis() * 1_000);
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = timers.into_iter().chain(arrival).min().filter(|at| *at <= until) else {
                self.micros = self.micros.max(until);
                return false;
            };
            self.micros = self.micros.max(at);
            if arrival == Some(at) {
                let (_, next) = self.queue.pop_first().unwrap();
                self.happen(next);
            } else {
                self.wake();
            }
        }
        panic!("nobody ever sleeps: {:?}", self.sides.each_ref().map(|side| side.agent.poll_timeout()));
    }

    fn wake(&mut self) {
        let now = self.now();
        for side in 0..2 {
            if self.sides[side].agent.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
                self.sides[side].agent.handle_timeout(now);
                self.drain(side);
            }
        }
        if self.machine.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
            self.machine.handle_timeout(now);
            self.leave_machine();
        }
    }

    fn happen(&mut self, next: Next) {
        let now = self.now();
        match next {
            Next::Datagram { from, to, bytes } if to == LISTEN.parse().unwrap() => {
                self.machine.hear(now, from, &bytes);
            }
            Next::Datagram { from, to, bytes } if self.machine.is_relayed(to) => {
                self.machine.hear_peer(now, from, to, &bytes);
            }
            Next::Datagram { from, to, bytes } => self.arrive(from, to, &bytes),
            Next::ToServer { side, bytes } => {
                if let Some(client) = self.sides[side].line {
                    self.machine.hear_stream(now, client, &bytes);
                }
            }
            Next::ToClient { side, bytes } => match bytes {
                None => self.input(side, Input::Opened { server: 0 }),
                // As a stream comes: in pieces.
                Some(bytes) => {
                    bytes.chunks(7).for_each(|bytes| self.input(side, Input::Bytes { server: 0, bytes }))
                }
            },
            Next::Signal { to, what } => match what {
                Signal::Description(text) => {
                    self.input(to, Input::Remote(&text.parse().unwrap()));
                }
                Signal::Candidate(text) => self.input(to, Input::RemoteCandidate(&text.parse().unwrap())),
                Signal::End => self.input(to, Input::EndOfCandidates),
            },
        }
        self.leave_machine();
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        for side in 0..2 {
            let there = &self.sides[side];
            let local = match &there.nat {
                None => (there.local == to).then_some(to),
                Some(nat) if nat.external == to.ip() => nat.inbound(from, to.port()),
                Some(_) => None,
            };
            let is_answer = bytes.starts_with(&[1, 1]);
            let port = from.port() + u16::from(self.crosses && is_answer);
            let from = SocketAddr::new(from.ip(), port);
            let is_lost = self.is_deaf[side] || self.is_unanswered[side] && is_answer;
            if let Some(local) = local.filter(|_| !is_lost) {
                return self.input(side, Input::Datagram { local, from, bytes });
            }
        }
    }

    pub(super) fn are_connected(&self) -> bool {
        self.sides.iter().all(|side| side.agent.path().is_some())
    }

    /// What `side` failed of, and when.
    pub(super) fn failure(&self, side: usize) -> Option<(Micros, Failure)> {
        self.sides[side].events.iter().find_map(|(at, event)| match event {
            Event::Failed(why) => Some((*at, *why)),
            _ => None,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        let closed = |side: &Side| matches!(side.events.last(), Some((_, Event::Closed { .. })));
        self.sides.iter().all(closed)
    }

    /// Data goes both ways.
    pub(super) fn exchange(&mut self) {
        for side in 0..2 {
            self.sides[1 - side].received.clear();
            let data = format!("from {side} at {}", self.micros);
            for _ in 0..40 {
                self.input(side, Input::Send(data.as_bytes()));
                let until = self.micros + 200_000;
                if self.run(until, |world| !world.sides[1 - side].received.is_empty()) {
                    break;
                }
            }
            assert_eq!(self.sides[1 - side].received.pop_front(), Some(data.into_bytes()));
        }
    }
}
