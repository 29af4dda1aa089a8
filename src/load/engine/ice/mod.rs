//! Pairs of ICE agents that find each other through the server, both ends of each in this process. What one side has to
//! tell the other it tells at once, as if the signalling between them took no time.
//!
//! ```text
//!   Side ◀─ candidates ─▶ Side          Agent: decides (crate::ice)
//!    │ socket, line        │            Side:  carries what its agent says
//!    └────── server ───────┘            Pairs: begins, waits, counts
//! ```
//!
//! A pair is connected when data has come through in both directions, and not when an agent believes so.

mod pair;
mod side;

use std::collections::VecDeque;
use std::net::IpAddr;
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
use crate::load::payload::Way;
use crate::load::plan::Carrier;
use crate::load::rig::GoOn;
use crate::load::rig::Watcher;
use crate::net::Events;
use crate::net::Poll;
use crate::net::Token;

use super::common::Common;
use super::common::route;
use super::refusal;
use super::rig::LOOK;
use super::tally::Why;

use pair::Pair;
use pair::Standing;
use side::Side;

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
    wish: Wish,
    /// The addresses that agents are at, in turn.
    locals: Vec<IpAddr>,
    ports: Ports,
    poll: Poll,
    events: Events,
    room: Room,
    buffer: Vec<u8>,
    clock: IceClock,
    pairs: Vec<Pair>,
    /// Sides that something happened to.
    woken: VecDeque<usize>,
    began_ns: u64,
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
        let machine = |error: std::io::Error| {
            Fault::new(FaultKind::Machine, format!("this machine has no poll for sockets: {error}"))
        };
        Ok(Self {
            common,
            wish,
            locals,
            ports: common.ports(0),
            poll: Poll::new().map_err(machine)?,
            events: Events::new(EVENTS),
            room: Room::default(),
            buffer: vec![0; usize::from(u16::MAX)],
            clock: IceClock::starting_at(common.clock.instant(0)),
            pairs: Vec::new(),
            woken: VecDeque::new(),
            began_ns,
            failed: 0,
            first_failure: None,
            outcome: IceOutcome::default(),
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
            self.pairs.push(Pair::new([first, second], now_ns));
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
        let mut server = TurnServer::new(self.common.server.address, client.transport, client.credential);
        server.families = client.families;
        config.servers = vec![server];
        config.policy = if self.wish.relay_only { Policy::RelayOnly } else { Policy::All };
        // Longer than anybody waits, so that a server that is silent is called so.
        config.gather_within = self.wish.patience * 2;
        config.connect_within = self.wish.patience;
        let by_datagrams = !self.wish.relay_only || self.common.server.carrier == Carrier::Udp;
        let place = number * 2 + usize::from(role == Role::Controlled);
        let local = self.locals[place % self.locals.len()];
        Side::open(config, self.clock, local, by_datagrams, &mut self.ports)
            .map_err(|error| refusal::fault(Some(&Why::socket(&error)), self.common))
    }

    fn watch_sockets(&mut self, number: usize, side: usize) {
        if let Some(socket) = &self.pairs[number].sides[side].socket {
            // A socket that is not watched brings nothing, and its pair fails by time.
            let _ = self.poll.add(socket, Token::Stream(side::name(number * 2 + side, false)));
        }
    }

    /// Waits for what comes or is due, a little while at the most, and sees to it.
    fn turn(&mut self) {
        // An interrupted wait is a short one.
        let _ = self.poll.wait(&mut self.events, Some(DOZE));
        for at in 0..self.events.len() {
            let Some(Token::Stream(id)) = self.events.token(at) else { continue };
            let (place, is_line) = side::place(id);
            let Some(pair) = self.pairs.get_mut(place / 2) else { continue };
            let now_ns = self.common.clock.now_ns();
            let side = &mut pair.sides[place % 2];
            if is_line {
                side.on_line(self.common, &self.poll, place, now_ns, &mut self.room);
            } else {
                side.receive(now_ns, &mut self.buffer);
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
            if pair.serve(self.common, &self.poll, &mut self.ports, place, now_ns) {
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
            for side in 0..2 {
                let place = number * 2 + side;
                if pair.sides[side].on_time(self.common, &self.poll, place, now_ns, &mut self.room) {
                    self.woken.push_back(place);
                }
            }
            pair.knock(now_ns, self.wish.patience);
            self.settle(number, now_ns);
        }
        self.serve_woken();
    }

    /// Counts a pair that has come to its end, once.
    fn settle(&mut self, number: usize, now_ns: u64) {
        let pair = &mut self.pairs[number];
        let took = |until_ns: u64| Duration::from_nanos(until_ns.saturating_sub(pair.began_ns));
        match pair.standing {
            Standing::Connected { is_counted: false } => {
                self.outcome.connected += 1;
                self.outcome.time.note(took(now_ns));
                pair.gathered_ns.into_iter().flatten().for_each(|at| self.outcome.gathering.note(took(at)));
                *self.outcome.by_kind.entry(pair.kinds()).or_default() += 1;
                pair.standing = Standing::Connected { is_counted: true };
            }
            Standing::Failed { is_counted: false } => {
                self.failed += 1;
                pair.standing = Standing::Failed { is_counted: true };
                let cause = pair.cause.take().unwrap_or(Cause::Ice("timeout"));
                *self.outcome.failures.entry(cause.word()).or_default() += 1;
                self.first_failure.get_or_insert(cause);
            }
            _ => {}
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
            self.pairs[number].sides.iter_mut().for_each(|side| side.close(now_ns));
            self.woken.extend([number * 2, number * 2 + 1]);
        }
        let is_open = |pair: &Pair| pair.sides.iter().any(|side| !side.is_closed);
        while self.pairs.iter().any(is_open) && self.common.clock.now_ns() < until_ns {
            self.turn();
        }
    }
}
