//! The server as the standards and the decisions tell it, naively: lists that are looked through, times that are
//! compared. It shares no code with the server. What only the server can choose (a port, a token, a ticket, a nonce) it
//! learns from what the server says, and judges.

mod packets;
mod reports;
mod requests;
mod sessions;

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::wire::Method;
use crate::proto::wire::rfc8656::decode::decode_response;

use super::client::Asked;
use super::client::Who;
use super::client::transaction_id;
use super::ops::Change;
use super::setup::CLIENTS;
use super::setup::CREDENTIAL_LIFETIME_S;
use super::setup::DENIALS;
use super::setup::FIRST_PORT;
use super::setup::GOOD;
use super::setup::LIMITED;
use super::setup::PRIVATE;
use super::setup::RELAYS;
use super::setup::STATIC;
use super::setup::Setup;
use super::setup::TIMES;
use super::setup::UNIX;
use super::setup::five_tuple;
use super::setup::ip;
use super::setup::socket;
use super::world::Said;
use super::world::id;

pub(super) use packets::Fate;
pub(super) use requests::Effect;

/// A moment that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// Everything that the server should know.
pub(super) struct Reference {
    pub(super) setup: Setup,
    pub(super) allocations: Vec<Allocation>,
    /// Until when the nonces of a client without an allocation are dead.
    dead: [Option<u64>; CLIENTS],
    answers: Vec<Kept>,
    pub(super) reserved: Vec<Reserved>,
    /// Every ticket that was handed out.
    tickets: Vec<Vec<u8>>,
    /// Whether IPv6, port, until.
    pub(super) quarantined: Vec<(bool, u16, u64)>,
    /// What is good, denied and granted now.
    pub(super) now_good: Change,
    /// Whether nonces announce username anonymity.
    pub(super) draining: bool,
    pub(super) ending: bool,
    pub(super) coverage: Coverage,
}

/// What a history brought about.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// Codes answered, 0 for success.
    pub(super) codes: Vec<(Method, u16)>,
    pub(super) repeated: u64,
    pub(super) dropped: u64,
    pub(super) moved: u64,
    pub(super) carried: u64,
}

/// A port kept for a token.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    pub(super) over_v6: bool,
    pub(super) port: u16,
    /// `None` until the client was told.
    pub(super) token: Option<[u8; 8]>,
    pub(super) until: u64,
}

/// An answer that is given again.
struct Kept {
    client: usize,
    method: Method,
    transaction: u32,
    until: u64,
    bytes: Box<[u8]>,
}

/// One allocation, from the moment a port was drawn for it.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub(super) who: Who,
    pub(super) home: usize,
    /// Where the client is awaited.
    pub(super) next: Option<usize>,
    pub(super) worker: usize,
    session_ends: u64,
    pub(super) phase: Phase,
    pub(super) legs: Vec<Leg>,
    /// Address and end.
    pub(super) permissions: Vec<(IpAddr, u64)>,
    pub(super) channels: Vec<Channel>,
    /// When the nonce in use was minted, up to when nonces are dead, and what was accepted.
    nonce: u64,
    dead_through: Option<u64>,
    pub(super) accepted: Vec<u32>,
    ticket: Option<Vec<u8>>,
    pub(super) transit: Option<Transit>,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Opening(Opening),
    Live,
    Draining { asker: Option<Asker> },
}

#[derive(Clone, Debug)]
pub(super) struct Opening {
    asker: Asker,
    lifetime_s: u32,
    /// `None` for a port of a token: no other will do.
    wish: Option<Wish>,
    reserved: Option<(bool, u16)>,
    unwanted: Option<(Reason, Option<Asker>)>,
    refused: [Option<u16>; 2],
    mobile: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Released,
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any,
    Even,
    Pair,
}

/// A relayed address.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) relay: RelayId,
    pub(super) over_v6: bool,
    pub(super) port: u16,
    pub(super) state: LegState,
    granted: bool,
    /// Other workers that can send by its socket.
    pub(super) copies: Vec<usize>,
    /// Closes that workers have not reported.
    due: usize,
}

#[derive(Clone, Debug)]
pub(super) enum LegState {
    Opening { tries: u32, deadline: u64 },
    Open { until: u64 },
    Closing { quarantine: bool, asker: Option<Asker> },
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) peer: PeerAddr,
    pub(super) until: u64,
    /// When number and peer are free for others.
    pub(super) tied: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Transit {
    asker: Asker,
    lifetime_s: u32,
    giver: usize,
    outstanding: usize,
    lost: bool,
    arrived: bool,
}

/// Whom an answer goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    client: usize,
    method: Method,
    transaction: u32,
    who: Who,
}

/// What an answer must say.
#[derive(Clone, Debug, Default)]
struct Expected {
    code: u16,
    lifetime_s: Option<u32>,
    relayed: Vec<SocketAddr>,
    token: bool,
    ticket: bool,
    address_error: Option<(u8, u16)>,
}

/// What an answer said that only the server could choose.
struct Chosen {
    token: Option<[u8; 8]>,
    ticket: Option<Vec<u8>>,
}

impl Expected {
    fn error(code: u16) -> Self {
        Self { code, ..Self::default() }
    }
}

impl Reference {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            allocations: Vec::new(),
            dead: [None; CLIENTS],
            answers: Vec::new(),
            reserved: Vec::new(),
            tickets: Vec::new(),
            quarantined: Vec::new(),
            now_good: Change {
                credentials: 0,
                policy: 0,
                times: 0,
                quotas: (setup.allocations_per_user, setup.allocations_per_address),
                mobility: setup.mobility,
            },
            draining: false,
            ending: false,
            coverage: Coverage::default(),
        }
    }

    /// The allocation of a client, wherever it stands.
    pub(super) fn at(&self, client: usize) -> Option<usize> {
        self.allocations.iter().position(|each| each.home == client || each.next == Some(client))
    }

    /// The relayed address of a client, if it has one; else one of the server's that may be anybody's or nobody's.
    pub(super) fn relayed_of(&self, client: usize) -> SocketAddr {
        let first = self.at(client).and_then(|at| self.allocations[at].legs.first());
        first.map_or_else(|| socket("203.0.113.7:50001"), Leg::address)
    }

    /// Every moment to come at which something is over, sorted.
    pub(super) fn edges(&self, now_ms: u64) -> Vec<u64> {
        let mut edges: Vec<u64> = self.answers.iter().map(|it| it.until).collect();
        edges.extend(self.reserved.iter().map(|it| it.until));
        edges.extend(self.quarantined.iter().map(|it| it.2));
        for allocation in &self.allocations {
            edges.push(allocation.session_ends);
            edges.extend(allocation.permissions.iter().map(|it| it.1));
            edges.extend(allocation.channels.iter().flat_map(|it| [it.until, it.tied]));
            edges.extend(allocation.legs.iter().filter_map(|leg| match leg.state {
                LegState::Opening { deadline, .. } => Some(deadline),
                LegState::Open { until } => Some(until),
                _ => None,
            }));
        }
        edges.retain(|edge| *edge > now_ms && *edge != NEVER);
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    fn of_relay(&self, relay: RelayId) -> Option<(usize, usize)> {
        let place = |each: &Allocation| each.legs.iter().position(|leg| leg.relay == relay);
        self.allocations.iter().enumerate().find_map(|(at, each)| Some((at, place(each)?)))
    }

    /// Seconds: lifetime at least, lifetime at most, permission, channel.
    fn times(&self) -> [u32; 4] {
        TIMES[self.now_good.times]
    }

    /// Whether a credential lets somebody in who has no allocation.
    fn is_good(&self, now: Now, who: &Who) -> bool {
        let (alice, bob, secrets) = GOOD[self.now_good.credentials];
        if who.which > 1 {
            return false;
        }
        if who.user < STATIC.len() {
            return [alice, bob][who.user] == Some(who.which);
        }
        let expires = UNIX.saturating_add_signed(LIMITED[who.user - STATIC.len()].0);
        secrets.contains(&who.which)
            && expires + 300 >= now.unix
            && expires <= now.unix + CREDENTIAL_LIFETIME_S + 300
    }

    /// Which of a user's passwords is good now, if any is.
    pub(super) fn password_of(&self, user: usize) -> usize {
        let (alice, bob, secrets) = GOOD[self.now_good.credentials];
        let good = if user < STATIC.len() { [alice, bob][user] } else { secrets.first().copied() };
        good.unwrap_or(0)
    }

    /// Whether a port of this address could be reached.
    pub(super) fn may_permit(&self, peer: IpAddr) -> bool {
        let denied = DENIALS[self.now_good.policy].iter().any(|rule| rule.parse() == Ok(peer));
        peer != ip(PRIVATE) && !denied
    }

    /// Whether a datagram may go there.
    pub(super) fn may_reach(&self, peer: SocketAddr) -> bool {
        if RELAYS.iter().any(|relay| ip(relay) == peer.ip()) {
            return self.relayed().contains(&peer);
        }
        let denied = DENIALS[self.now_good.policy].iter().any(|rule| rule.parse() == Ok(peer));
        self.may_permit(peer.ip()) && !denied
    }

    /// Relayed addresses that are in the world.
    pub(super) fn relayed(&self) -> Vec<SocketAddr> {
        let live = self.allocations.iter().filter(|each| matches!(each.phase, Phase::Live));
        let legs = live.flat_map(|each| &each.legs);
        legs.filter(|leg| matches!(leg.state, LegState::Open { .. })).map(Leg::address).collect()
    }

    /// Whether a port is nobody's.
    fn is_free(&self, now_ms: u64, over_v6: bool, port: u16) -> bool {
        let range = FIRST_PORT..FIRST_PORT + self.setup.ports;
        let used =
            self.allocations.iter().flat_map(|each| &each.legs).any(|leg| {
                leg.over_v6 == over_v6 && leg.port == port && !matches!(leg.state, LegState::Gone)
            });
        let kept = |each: &Reserved| each.over_v6 == over_v6 && each.port == port && each.until > now_ms;
        let set_aside = |each: &(bool, u16, u64)| (each.0, each.1) == (over_v6, port) && each.2 > now_ms;
        range.contains(&port)
            && !used
            && !self.reserved.iter().any(kept)
            && !self.quarantined.iter().any(set_aside)
    }

    fn fits(&self, now_ms: u64, over_v6: bool, port: u16, wish: Wish) -> bool {
        let reserved = self.reserved.iter().filter(|it| it.over_v6 == over_v6 && it.until > now_ms).count();
        let room = reserved < usize::from(self.setup.ports / 4).max(1);
        self.is_free(now_ms, over_v6, port)
            && match wish {
                Wish::Any => true,
                Wish::Even => port.is_multiple_of(2),
                Wish::Pair => port.is_multiple_of(2) && room && self.is_free(now_ms, over_v6, port + 1),
            }
    }

    fn some_port_fits(&self, now_ms: u64, over_v6: bool, wish: Wish) -> bool {
        (FIRST_PORT..FIRST_PORT + self.setup.ports).any(|port| self.fits(now_ms, over_v6, port, wish))
    }

    /// Checks that an answer left, and that it says what it must.
    fn answer(
        &mut self,
        now_ms: u64,
        said: &mut Said,
        asker: &Asker,
        expected: &Expected,
    ) -> Result<Chosen, String> {
        let bytes = said.take_reply(self.setup.workers, asker.client, asker.transaction)?;
        let answer = decode_response(&bytes).map_err(|why| format!("an answer is no message: {why}"))?;
        let is = (
            answer.method,
            answer.error_code.unwrap_or(0),
            answer.lifetime.map(|lifetime| lifetime.as_secs()),
            [answer.relayed_address, answer.additional_relayed_address].map(|it| it.map(|it| it.socket())),
            answer.reservation_token.is_some(),
            answer.mobility_ticket.is_some(),
            answer.address_error.map(|(family, code)| (family.code(), code)),
            answer.mapped_address,
        );
        let mapped = five_tuple(asker.client).client.socket();
        let must_be = (
            asker.method,
            expected.code,
            expected.lifetime_s,
            [0, 1].map(|place| expected.relayed.get(place).copied()),
            expected.token,
            expected.ticket,
            expected.address_error,
            (!expected.relayed.is_empty()).then_some(mapped),
        );
        if is != must_be {
            return Err(format!("the answer to {asker:?} is {is:?} and must be {must_be:?}"));
        }
        if !answer.integrity.verify(&asker.who.key()) {
            return Err(format!("the answer to {asker:?} is not signed"));
        }
        self.coverage.codes.push((asker.method, expected.code));
        let ticket = answer.mobility_ticket.map(<[u8]>::to_vec);
        self.tickets.extend(ticket.clone());
        let chosen = Chosen { token: answer.reservation_token, ticket };
        let (client, method, transaction) = (asker.client, asker.method, asker.transaction);
        self.answers.retain(|kept| kept.until > now_ms);
        if self.kept(client, method, transaction).is_none() {
            self.answers.push(Kept { client, method, transaction, until: now_ms + 40_000, bytes });
        }
        Ok(chosen)
    }

    fn kept(&self, client: usize, method: Method, transaction: u32) -> Option<&Kept> {
        let same =
            |kept: &&Kept| (kept.client, kept.method, kept.transaction) == (client, method, transaction);
        self.answers.iter().find(same)
    }
}

impl Leg {
    /// The relayed transport address.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(ip(RELAYS[usize::from(self.over_v6)]), self.port)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, LegState::Open { .. })
    }

    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        matches!(self.state, LegState::Open { until } if until > now_ms)
    }
}

impl Allocation {
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        matches!(self.phase, Phase::Live) && self.legs.iter().any(|leg| leg.is_live(now_ms))
    }

    pub(super) fn leg_to(&self, now_ms: u64, over_v6: bool) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.over_v6 == over_v6 && leg.is_live(now_ms))
    }

    fn next_nonce(&self) -> u64 {
        self.dead_through.map_or(0, |through| through + 1).max(self.nonce)
    }
}

impl Asker {
    fn new(asked: &Asked, who: &Who) -> Self {
        let (client, method, transaction) = (asked.client, asked.method(), asked.transaction);
        Self { client, method, transaction, who: who.clone() }
    }

    fn is(&self, asked: &Asked) -> bool {
        (self.client, self.method, self.transaction) == (asked.client, asked.method(), asked.transaction)
    }
}

impl Said {
    /// Takes the one answer to a request.
    fn take_reply(&mut self, workers: usize, client: usize, number: u32) -> Result<Box<[u8]>, String> {
        let (to, transaction) = (five_tuple(client), transaction_id(number));
        let is_it = |reply: &(_, _, Box<[u8]>)| {
            (reply.0, reply.1) == (id(client % workers), to) && reply.2.get(4..20) == Some(&transaction.0[..])
        };
        match self.replies.iter().position(is_it) {
            Some(at) => Ok(self.replies.remove(at).2),
            None => Err(format!("no answer to request {number} of client {client}: {self:?}")),
        }
    }

    fn take_close(&mut self, worker: usize, relay: RelayId) -> Result<(), String> {
        match self.closes.iter().position(|close| *close == (id(worker), relay)) {
            Some(at) => {
                self.closes.remove(at);
                Ok(())
            }
            None => Err(format!("worker {worker} is not told to close {relay:?}: {self:?}")),
        }
    }

    /// Whether all that was said was expected.
    pub(super) fn nothing_left(&self) -> Result<(), String> {
        let said = self.replies.len()
            + self.opens.len()
            + self.closes.len()
            + self.detaches.len()
            + self.attaches.len()
            + self.revoked.len();
        if said == 0 { Ok(()) } else { Err(format!("nobody expected {self:?}")) }
    }
}
