//! Pairs of ICE agents that find each other through the server, both ends of each in this process. What one side has to
//! tell the other it tells at once, as if the signalling between them took no time.
//!
//! ```text
//!   Side ◀─ candidates ─▶ Side          Agent:  decides (crate::ice)
//!    │ outlet, lines       │            Side:   carries what its agent says
//!    │ NATs           NATs │            Outlet: a socket, or NATs with a socket for each port
//!    └────── server ───────┘            Pairs:  begins, waits, counts
//! ```
//!
//! A pair is connected when data has come through in both directions, and not when an agent believes so. Between NATs it is
//! judged when it is direct, or when it has had its time to become so.

mod outlet;
mod pair;
mod side;
mod world;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use crate::ice::Clock as IceClock;
use crate::ice::Config;
use crate::ice::Policy;
use crate::ice::Role;
use crate::ice::TurnServer;
use crate::load::Fault;
use crate::load::carrier::Room;
use crate::load::fault::FaultKind;
use crate::load::machine::Ports;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::Moment;
use crate::load::outcome::NatOutcome;
use crate::load::payload::Way;
use crate::load::plan::Carrier;
use crate::load::rig::GoOn;
use crate::load::rig::Watcher;
use crate::net::Events;
use crate::net::Token;
use crate::place::Place;
use crate::place::Verdict as Ending;

use super::common::Common;
use super::common::route;
use super::common::transport;
use super::refusal;
use super::rig::LOOK;
use super::tally::Why;

use outlet::Outlet;
use outlet::Standpoint;
use pair::Pair;
use pair::Standing;
use side::Part;
use side::Side;
use world::World;

const EVENTS: usize = 256;
/// How long a wait is at the most: pairs are begun and looked after in between.
const DOZE: Duration = Duration::from_millis(5);
/// How long agents have to give back what the servers gave.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// How many pairs that fail at once, before one has connected, are taken for all.
const FAILED_AT_ONCE: u64 = 8;

/// What is asked of the pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) pairs: u32,
    pub(super) rate: f64,
    pub(super) relay_only: bool,
    pub(super) patience: Duration,
}

/// Has pairs find each other, and says what became of them.
///
/// # Errors
/// Where not one connected, why the first did not; and where this machine has not what it takes.
pub(super) fn run(common: &Common, wish: Wish, watch: &mut dyn Watcher) -> Result<IceOutcome, Fault> {
    if common.server.carrier.is_legacy() {
        let what = "agents of ICE do not speak the old dialect to a relay";
        return Err(Fault::new(FaultKind::Request, what).cure("leave --dialect out"));
    }
    if wish.relay_only && common.nats.is_some() {
        return Err(Fault::new(FaultKind::Request, "between NATs agents offer all their candidates")
            .cure("ask for all of them, or leave the NATs out"));
    }
    let mut pairs = Pairs::new(common, wish)?;
    let mut looked_ns = 0;
    while !pairs.is_over() {
        pairs.begin_due()?;
        pairs.turn();
        let now_ns = common.clock.now_ns();
        if now_ns.saturating_sub(looked_ns) >= LOOK.as_nanos() as u64 {
            looked_ns = now_ns;
            if watch.moment(&pairs.moment(now_ns)) == GoOn::No {
                break;
            }
        }
        if pairs.outcome.connected == 0 && pairs.failed >= FAILED_AT_ONCE {
            break;
        }
    }
    pairs.close();
    match pairs.first_failure.take() {
        Some(why) if pairs.outcome.connected == 0 => Err(why.fault(common)),
        _ => Ok(pairs.outcome),
    }
}

/// Why a pair did not connect, as its first failure tells.
#[derive(Debug)]
enum Cause {
    /// A server, or this machine, did not do its part.
    Of(Why),
    /// The agents did not find each other, though the server did its part.
    Ice(&'static str),
}

impl Cause {
    fn word(&self) -> String {
        match self {
            Self::Of(why) => why.words(),
            Self::Ice(word) => (*word).to_owned(),
        }
    }

    fn fault(&self, common: &Common) -> Fault {
        match self {
            Self::Of(why) => refusal::fault(Some(why), common),
            Self::Ice(word) => {
                let what = format!("no pair of agents connected through {}: {word}", common.server.uri);
                Fault::new(FaultKind::Server, what).cure(
                    "the server gave addresses, and no packet came through them: are its relay ports open?",
                )
            }
        }
    }
}

/// All pairs of a run.
struct Pairs<'a> {
    common: &'a Common,
    world: World<'a>,
    /// The ways as those are told who stand behind NATs.
    ways: Vec<crate::place::Way>,
    wish: Wish,
    /// The addresses that agents are at, in turn.
    locals: Vec<IpAddr>,
    ports: Ports,
    events: Events,
    room: Room,
    buffer: Vec<u8>,
    clock: IceClock,
    pairs: Vec<Pair>,
    /// Sides that something happened to.
    woken: VecDeque<usize>,
    began_ns: u64,
    /// When the sockets were looked at last.
    looked_ns: u64,
    failed: u64,
    first_failure: Option<Cause>,
    outcome: IceOutcome,
}

impl<'a> Pairs<'a> {
    fn new(common: &'a Common, wish: Wish) -> Result<Self, Fault> {
        let began_ns = common.clock.now_ns();
        let locals = match common.sources.as_slice() {
            [] => vec![route(common.server.address)?],
            sources => sources.to_vec(),
        };
        let world = World::new(common)?;
        let outcome = IceOutcome { nats: nat_outcomes(common), ..IceOutcome::default() };
        Ok(Self {
            common,
            ways: world.ways.iter().map(|way| way.way).collect(),
            world,
            wish,
            locals,
            ports: common.ports(0),
            events: Events::new(EVENTS),
            room: Room::default(),
            buffer: vec![0; usize::from(u16::MAX)],
            clock: IceClock::starting_at(common.clock.instant(0)),
            pairs: Vec::new(),
            woken: VecDeque::new(),
            began_ns,
            looked_ns: began_ns,
            failed: 0,
            first_failure: None,
            outcome,
        })
    }

    fn is_over(&self) -> bool {
        self.pairs.len() >= self.wish.pairs as usize
            && self.pairs.iter().all(|pair| pair.standing.is_settled())
    }

    /// Begins the pairs whose time has come.
    fn begin_due(&mut self) -> Result<(), Fault> {
        let passed = self.common.clock.now_ns().saturating_sub(self.began_ns);
        let due = (passed as f64 / 1e9 * self.wish.rate) as u64 + 1;
        let due = due.min(self.wish.pairs.into()) as usize;
        while self.pairs.len() < due {
            let number = self.pairs.len();
            let first = self.side(number, Role::Controlling)?;
            let second = self.side(number, Role::Controlled)?;
            self.outcome.pairs += 1;
            let now_ns = self.common.clock.now_ns();
            let settling = self.common.nats.as_ref().map(|nats| nats.settling);
            self.pairs.push(Pair::new([first, second], now_ns, settling));
            for side in 0..2 {
                self.watch_sockets(number, side);
            }
            self.pairs[number].begin(now_ns);
            self.woken.extend([number * 2, number * 2 + 1]);
            self.serve_woken();
        }
        Ok(())
    }

    fn side(&mut self, number: usize, role: Role) -> Result<Side, Fault> {
        let end = if role == Role::Controlling { Way::Up } else { Way::Down };
        let client = self.common.client(u32::try_from(number).unwrap_or(u32::MAX), end);
        let mut config = Config::new(role);
        for way in &self.world.ways {
            let transport = transport(way.server.carrier);
            let mut server = TurnServer::new(way.server.address, transport, client.credential.clone());
            server.families = client.families;
            config.servers.push(server);
        }
        config.policy = if self.wish.relay_only { Policy::RelayOnly } else { Policy::All };
        config.connect_within = self.wish.patience;
        // Longer than anybody waits, so that a server that is silent is called so; but a firewall is silent by its nature.
        let is_between = self.common.nats.is_some();
        config.gather_within = if is_between { self.wish.patience / 2 } else { self.wish.patience * 2 };
        let outlet = self.outlet(number, role);
        let outlet = outlet.map_err(|error| refusal::fault(Some(&Why::socket(&error)), self.common))?;
        Ok(Side::open(config, self.clock, outlet))
    }

    /// By what the datagrams of an agent leave.
    fn outlet(&mut self, number: usize, role: Role) -> io::Result<Option<Outlet>> {
        let place = number * 2 + usize::from(role == Role::Controlled);
        if let Some(nats) = &self.common.nats {
            let places = nats.places[number % nats.places.len()];
            let standpoint = Standpoint {
                place: places[place % 2],
                number: place,
                seed: self.common.generator.seed,
                ways: &self.ways,
                is_unfiltered: nats.is_unfiltered,
            };
            return Outlet::at(standpoint).map(Some);
        }
        if self.wish.relay_only && self.common.server.carrier != Carrier::Udp {
            return Ok(None);
        }
        let bound = |address: SocketAddr| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = self.ports.open_from(self.locals[place % self.locals.len()], bound)?;
        Outlet::plain(socket).map(Some)
    }

    fn watch_sockets(&mut self, number: usize, side: usize) {
        let Some(outlet) = &self.pairs[number].sides[side].outlet else { return };
        for (at, socket) in outlet.sockets().enumerate() {
            // A socket that is not watched brings nothing, and its pair fails by time.
            let name = side::name(number * 2 + side, Part::Door(at));
            let _ = self.world.poll.add(socket, Token::Stream(name));
        }
    }

    /// Waits for what comes or is due, a little while at the most, and sees to it.
    fn turn(&mut self) {
        // An interrupted wait is a short one.
        let _ = self.world.poll.wait(&mut self.events, Some(DOZE));
        let now_ns = self.common.clock.now_ns();
        let turn =
            Duration::from_nanos(now_ns.saturating_sub(std::mem::replace(&mut self.looked_ns, now_ns)));
        self.outcome.longest_turn = self.outcome.longest_turn.max(turn);
        for at in 0..self.events.others() {
            let Some(Token::Stream(id)) = self.events.token(at) else { continue };
            let (place, part) = side::place(id);
            let Some(pair) = self.pairs.get_mut(place / 2) else { continue };
            let now_ns = self.common.clock.now_ns();
            let side = &mut pair.sides[place % 2];
            match part {
                Part::Line(server) => side.on_line(&self.world, place, server, now_ns, &mut self.room),
                Part::Door(number) => side.receive(number, now_ns, &mut self.buffer),
            }
            self.woken.push_back(place);
        }
        self.serve_woken();
        self.serve_due();
    }

    /// Carries out what agents want done, until none wants anything.
    fn serve_woken(&mut self) {
        while let Some(place) = self.woken.pop_front() {
            let Some(pair) = self.pairs.get_mut(place / 2) else { continue };
            let now_ns = self.common.clock.now_ns();
            if pair.serve(&self.world, &mut self.ports, place, now_ns) {
                self.woken.push_back(place ^ 1);
            }
            self.settle(place / 2, now_ns);
        }
    }

    /// Tells agents what time it is, and gives up pairs that took too long.
    fn serve_due(&mut self) {
        let now_ns = self.common.clock.now_ns();
        for number in 0..self.pairs.len() {
            let pair = &mut self.pairs[number];
            if pair.is_gone() {
                continue;
            }
            for side in 0..2 {
                let place = number * 2 + side;
                if pair.sides[side].on_time(&self.world, place, now_ns, &mut self.room) {
                    self.woken.push_back(place);
                }
            }
            pair.knock(now_ns, self.wish.patience);
            self.settle(number, now_ns);
        }
        self.serve_woken();
    }

    /// Counts a pair that has come to its end, once. One between NATs gives everything back then.
    fn settle(&mut self, number: usize, now_ns: u64) {
        let pair = &mut self.pairs[number];
        let took = |until_ns: u64| Duration::from_nanos(until_ns.saturating_sub(pair.began_ns));
        let (ending, cause) = match pair.standing {
            Standing::Connected { is_counted: false } => {
                self.outcome.connected += 1;
                self.outcome.time.note(took(pair.connected_ns.unwrap_or(now_ns)));
                pair.gathered_ns.into_iter().flatten().for_each(|at| self.outcome.gathering.note(took(at)));
                *self.outcome.by_kind.entry(pair.kinds()).or_default() += 1;
                pair.standing = Standing::Connected { is_counted: true };
                (pair.ending(&self.world), None)
            }
            Standing::Failed { is_counted: false } => {
                pair.standing = Standing::Failed { is_counted: true };
                let cause = pair.cause.take().unwrap_or(Cause::Ice("timeout"));
                *self.outcome.failures.entry(cause.word()).or_default() += 1;
                (Ending::Failed, Some(cause))
            }
            _ => return,
        };
        let mut is_expected = false;
        let count = self.outcome.nats.len().max(1);
        if let Some(between) = self.outcome.nats.get_mut(number % count) {
            is_expected = ending == between.expected;
            *between.ended.entry(ending).or_default() += 1;
            match &cause {
                Some(cause) => *between.failures.entry(cause.word()).or_default() += 1,
                None => between.time.note(took(pair.connected_ns.unwrap_or(now_ns))),
            }
            pair.close(now_ns);
        }
        if let Some(cause) = cause.filter(|_| !is_expected) {
            self.failed += 1;
            self.first_failure.get_or_insert(cause);
        }
    }

    fn moment(&self, now_ns: u64) -> Moment {
        let connected = u32::try_from(self.outcome.connected).unwrap_or(u32::MAX);
        Moment {
            at: Duration::from_nanos(now_ns),
            calls: connected,
            wanted: self.wish.pairs,
            ..Moment::default()
        }
    }

    /// Has all agents give back what they have.
    fn close(&mut self) {
        let until_ns = self.common.clock.now_ns() + CLOSE_MAX.as_nanos() as u64;
        for number in 0..self.pairs.len() {
            let now_ns = self.common.clock.now_ns();
            self.pairs[number].close(now_ns);
            self.woken.extend([number * 2, number * 2 + 1]);
        }
        let is_open = |pair: &Pair| pair.sides.iter().any(|side| !side.is_closed);
        while self.pairs.iter().any(is_open) && self.common.clock.now_ns() < until_ns {
            self.turn();
        }
    }
}

/// One for each pair of places, with how its pairs have to end.
fn nat_outcomes(common: &Common) -> Vec<NatOutcome> {
    let Some(nats) = &common.nats else { return Vec::new() };
    let outcome = |places: &[Place; 2]| NatOutcome::new(*places, nats.why(&common.server, *places).verdict());
    nats.places.iter().map(outcome).collect()
}
