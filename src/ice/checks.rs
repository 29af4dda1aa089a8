//! Pairs, checks and nomination: what the crate `is` does, in the words of this room.
//!
//! `is` draws transaction ids, and names that it tells its pairs apart by, from a generator of the thread. It is seeded here
//! for each call and put back afterwards. Nothing else in it is left to chance: credentials and tie-breaker are handed in, its
//! one hash set is never walked through, and its hasher has a fixed key.

use std::collections::VecDeque;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use is::CandidateKind;
use is::IceAgent;
use is::IceAgentEvent;
use is::IceCreds;
use is::Protocol;
use is::stun::StunMessage;
use is::stun::StunPacket;

use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::limits::ICE_PAIRS_MAX;

use super::Candidate;
use super::Clock;
use super::Kind;
use super::Role;
use super::source::Source;

/// What the checks found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Somebody who knows the credentials speaks from here.
    Heard(SocketAddr),
    /// A check from `base` to `peer` was answered, rightly signed.
    Answered { base: SocketAddr, peer: SocketAddr },
    /// Data goes by this pair from here on.
    Nominated { base: SocketAddr, peer: SocketAddr },
}

/// A message to be sent from one place to another.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) base: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) bytes: Box<[u8]>,
}

pub(super) struct Checks {
    agent: IceAgent,
    clock: Clock,
    source: Source,
    /// What the next local candidate is worth: `is` asks for that by a function.
    preference: Arc<AtomicU32>,
    /// What peers saw of checks that succeeded.
    seen: Vec<Seen>,
    /// Checks that were answered, by base and peer.
    answered: VecDeque<(SocketAddr, SocketAddr)>,
    /// The last checks that were sent, [`CHECKS_MAX`] of them.
    sent: VecDeque<Sent>,
    running: bool,
}

/// A check on its way: the beginning of its transaction id, and a digest of where it went.
type Sent = (u64, u32);

/// More than are sent within a round trip: one in 50 ms.
const CHECKS_MAX: usize = 128;

/// RFC 8445 § 7.2.5.3.2: the local candidate of a valid pair is what the peer saw, not what the check was sent from.
#[derive(Clone, Copy)]
struct Seen {
    base: SocketAddr,
    peer: SocketAddr,
    mapped: SocketAddr,
}

impl Checks {
    pub(super) fn new(role: Role, ufrag: &str, password: &str, clock: Clock, mut source: Source) -> Self {
        let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: password.to_owned() };
        let mut agent = seeded(&mut source, || IceAgent::new(credentials));
        agent.set_control_tie_breaker(source.number());
        agent.set_controlling(role == Role::Controlling);
        agent.set_max_candidate_pairs(ICE_PAIRS_MAX);
        agent.set_mtu(MESSAGE_MAX..=MESSAGE_MAX);
        let preference = Arc::new(AtomicU32::new(0));
        let of_next = Arc::clone(&preference);
        agent.set_local_preference(move |_: &is::Candidate, _| of_next.load(Ordering::Relaxed));
        let (seen, answered, sent) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { agent, clock, source, preference, seen, answered, sent, running: false }
    }

    /// Adds one of our own candidates, worth `preference` (0 to 65,535) among its kind. Answers its priority, or `None` where
    /// it adds nothing or cannot be one.
    pub(super) fn add_local(
        &mut self,
        kind: Kind,
        address: SocketAddr,
        base: SocketAddr,
        preference: u32,
    ) -> Option<u32> {
        let candidate = local(kind, address, base)?;
        self.preference.store(preference, Ordering::Relaxed);
        let agent = &mut self.agent;
        seeded(&mut self.source, || agent.add_local_candidate(candidate).map(is::Candidate::prio))
    }

    /// A relayed address is no more.
    pub(super) fn remove_relayed(&mut self, address: SocketAddr, base: SocketAddr) {
        if let Some(candidate) = local(Kind::Relayed, address, base) {
            self.agent.invalidate_candidate(&candidate);
        }
    }

    /// The other side is known: from here on [`Self::handle_timeout`] makes checks. A side that makes none leaves the nomination
    /// to this one (RFC 8445 § 6.1.1).
    pub(super) fn describe(&mut self, ufrag: &str, password: &str, is_lite: bool) {
        if is_lite {
            self.agent.set_controlling(true);
        }
        self.agent.set_remote_credentials(IceCreds { ufrag: ufrag.to_owned(), pass: password.to_owned() });
        self.running = true;
    }

    pub(super) fn add_remote(&mut self, candidate: &Candidate) {
        let Candidate { foundation, priority, address, kind, related, .. } = candidate;
        let foundation = String::from(&**foundation);
        let kind = kind_there(*kind);
        let (udp, of_agent) = (Protocol::Udp, None);
        let candidate = is::Candidate::from_parts(
            foundation, 1, udp, *priority, *address, kind, *related, None, of_agent,
        );
        let agent = &mut self.agent;
        seeded(&mut self.source, || agent.add_remote_candidate(candidate));
    }

    /// A message that came `at` one of our bases.
    pub(super) fn receive(&mut self, now: Now, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Ok(message) = StunMessage::parse(bytes) else { return };
        // `is` goes by the transaction alone. An answer that took another way says nothing of this one (RFC 8445 § 7.2.5.2.1).
        if !message.is_binding_request() && !self.sent.contains(&sent(at, from, bytes)) {
            return;
        }
        let mapped = message.mapped_address().filter(|_| message.is_successful_binding_response());
        let packet = StunPacket { proto: Protocol::Udp, source: from, destination: at, message };
        let instant = self.clock.instant(now);
        let agent = &mut self.agent;
        let is_taken = seeded(&mut self.source, || agent.handle_packet(instant, packet));
        if let Some(mapped) = mapped.filter(|_| is_taken) {
            self.answered.push_back((at, from));
            let seen = Seen { base: at, peer: from, mapped };
            self.seen.retain(|there| there.base != at || there.peer != from);
            if self.seen.len() < ICE_PAIRS_MAX {
                self.seen.push(seen);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.running {
            let instant = self.clock.instant(now);
            let agent = &mut self.agent;
            seeded(&mut self.source, || agent.handle_timeout(instant));
        }
    }

    pub(super) fn poll_check(&mut self) -> Option<Check> {
        let transmit = self.agent.poll_transmit()?;
        let (base, peer) = (transmit.source, transmit.destination);
        let bytes: Box<[u8]> = transmit.contents.to_vec().into();
        // What is no answer of ours.
        if bytes.get(..2) == Some(&BINDING_REQUEST) {
            self.sent.truncate(CHECKS_MAX - 1);
            self.sent.push_front(sent(base, peer, &bytes));
        }
        Some(Check { base, peer, bytes })
    }

    pub(super) fn poll_finding(&mut self) -> Option<Finding> {
        if let Some((base, peer)) = self.answered.pop_front() {
            return Some(Finding::Answered { base, peer });
        }
        loop {
            match self.agent.poll_event()? {
                IceAgentEvent::DiscoveredRecv { source, .. } => return Some(Finding::Heard(source)),
                IceAgentEvent::NominatedSend { source, destination, .. } => {
                    return Some(Finding::Nominated { base: source, peer: destination });
                }
                IceAgentEvent::IceRestart(_) | IceAgentEvent::IceConnectionStateChange(_) => {}
            }
        }
    }

    /// When [`Self::handle_timeout`] is due. Before the other side is known nothing is.
    pub(super) fn poll_timeout(&mut self) -> Option<Deadline> {
        let at = self.agent.poll_timeout().filter(|_| self.running)?;
        Some(self.clock.deadline(at))
    }

    /// Whether every pair that there was has failed.
    pub(super) fn have_failed(&self) -> bool {
        self.agent.state().is_disconnected()
    }

    pub(super) fn role(&self) -> Role {
        if self.agent.controlling() { Role::Controlling } else { Role::Controlled }
    }

    /// What `peer` sees of what is sent from `base`.
    pub(super) fn seen(&self, base: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        self.seen.iter().find(|seen| seen.base == base && seen.peer == peer).map(|seen| seen.mapped)
    }
}

/// Checks and their answers are far shorter; `is` makes each in a buffer of this size.
const MESSAGE_MAX: usize = 576;

/// The message type (RFC 8489 § 5).
const BINDING_REQUEST: [u8; 2] = [0, 1];

/// What a check and its answer have in common.
fn sent(base: SocketAddr, peer: SocketAddr, message: &[u8]) -> Sent {
    let id = message.get(8..16).and_then(|id| id.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut way = DefaultHasher::new();
    (base, peer).hash(&mut way);
    (id, way.finish() as u32)
}

/// Runs `what`, which draws from the thread's generator, with one that `source` seeds.
fn seeded<T>(source: &mut Source, what: impl FnOnce() -> T) -> T {
    let before = fastrand::get_seed();
    fastrand::seed(source.number());
    let done = what();
    fastrand::seed(before);
    done
}

/// A candidate of our own; `None` where `is` takes none of that address (a wildcard, multicast, an IPv4 link-local one).
fn local(kind: Kind, address: SocketAddr, base: SocketAddr) -> Option<is::Candidate> {
    let udp = Protocol::Udp;
    match kind {
        Kind::Host => is::Candidate::host(address, udp).ok(),
        Kind::ServerReflexive => is::Candidate::server_reflexive(address, base, udp).ok(),
        Kind::Relayed => is::Candidate::relayed(address, base, udp).ok(),
        // `is` finds those out.
        Kind::PeerReflexive => None,
    }
}

const fn kind_there(kind: Kind) -> CandidateKind {
    match kind {
        Kind::Host => CandidateKind::Host,
        Kind::ServerReflexive => CandidateKind::ServerReflexive,
        Kind::PeerReflexive => CandidateKind::PeerReflexive,
        Kind::Relayed => CandidateKind::Relayed,
    }
}
