//! A mapping, and those outside that it was used with.

use std::net::SocketAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Tick;
use crate::proto::types::limits::NAT_SESSIONS_PER_MAPPING_MAX;

use super::behaviour::Behaviour;
use super::behaviour::Dependence;
use super::behaviour::Refresh;
use super::packet::Protocol;
use super::packet::TcpFlags;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

/// An endpoint inside and what stands for it outside.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) inner: SocketAddr,
    pub(super) outer: SocketAddr,
    /// The remote endpoint that it was made for.
    pub(super) remote: SocketAddr,
    pub(super) until: Deadline,
    /// When it is looked at again; never later than it ends.
    pub(super) looked_at: Deadline,
    sessions: Vec<Session>,
}

/// A remote endpoint that a mapping was used with.
#[derive(Debug)]
struct Session {
    remote: SocketAddr,
    until: Deadline,
    phase: Phase,
}

/// How far a connection has come. UDP has none, and stays as it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Which ends have said SYN: outward, inward.
    Opening([bool; 2]),
    /// Which ends have said FIN.
    Open([bool; 2]),
    Closing,
}

impl Mapping {
    pub(super) const fn new(inner: SocketAddr, outer: SocketAddr, remote: SocketAddr) -> Self {
        let (until, looked_at) = (Deadline::PAST, Deadline::NEVER);
        Self { inner, outer, remote, until, looked_at, sessions: Vec::new() }
    }

    /// Whether it serves packets from its inner endpoint for `remote`.
    pub(super) fn serves(&self, mapping: Dependence, remote: SocketAddr) -> bool {
        same(mapping, self.remote, remote)
    }

    /// Whether packets from `remote` are let in.
    pub(super) fn admits(&self, tick: Tick, filtering: Dependence, remote: SocketAddr) -> bool {
        filtering == Dependence::EndpointIndependent
            || self
                .sessions
                .iter()
                .any(|each| !each.until.is_due(tick) && same(filtering, each.remote, remote))
    }

    /// Whether it is in use with `remote`.
    pub(super) fn knows(&self, tick: Tick, remote: SocketAddr) -> bool {
        self.sessions.iter().any(|each| !each.until.is_due(tick) && each.remote == remote)
    }

    /// A packet to or from `remote` passes. What comes in without having been asked for leaves no session behind over
    /// UDP: the filter goes by what was sent.
    pub(super) fn pass(
        &mut self,
        tick: Tick,
        behaviour: &Behaviour,
        protocol: Protocol,
        remote: SocketAddr,
        way: Way,
    ) {
        self.sessions.retain(|each| !each.until.is_due(tick));
        let known = self.sessions.iter().position(|each| each.remote == remote);
        let at = match (known, protocol, way) {
            (Some(at), ..) => at,
            (None, Protocol::Udp, Way::In) => {
                if matches!(behaviour.refresh, Refresh::Inbound | Refresh::Both) {
                    self.until = self.until.max(tick.after(behaviour.udp));
                }
                return;
            }
            (None, ..) => self.add(remote),
        };
        let session = &mut self.sessions[at];
        let fresh = session.until == Deadline::PAST;
        let span = match protocol {
            Protocol::Udp => behaviour.udp,
            Protocol::Tcp(flags) => {
                session.phase = session.phase.after(flags, way);
                match session.phase {
                    Phase::Open(_) => behaviour.tcp_established,
                    Phase::Opening(_) | Phase::Closing => behaviour.tcp_transitory,
                }
            }
        };
        let keeps = match (protocol, behaviour.refresh) {
            (Protocol::Tcp(_), _) | (Protocol::Udp, Refresh::Both) => true,
            (Protocol::Udp, Refresh::Outbound) => way == Way::Out,
            (Protocol::Udp, Refresh::Inbound) => way == Way::In,
        };
        if keeps || fresh {
            session.until = tick.after(span);
            let longest = self.sessions.iter().map(|each| each.until).max().unwrap_or(Deadline::PAST);
            // A connection that closes gives its mapping back early, unless another one needs it.
            self.until = if protocol == Protocol::Udp { self.until.max(longest) } else { longest };
        }
    }

    /// A place for a new remote endpoint; the one that would end first makes room.
    fn add(&mut self, remote: SocketAddr) -> usize {
        if self.sessions.len() >= NAT_SESSIONS_PER_MAPPING_MAX
            && let Some(first) = (0..self.sessions.len()).min_by_key(|at| self.sessions[*at].until)
        {
            self.sessions.swap_remove(first);
        }
        self.sessions.push(Session { remote, until: Deadline::PAST, phase: Phase::Opening([false; 2]) });
        self.sessions.len() - 1
    }
}

impl Phase {
    fn after(self, flags: TcpFlags, way: Way) -> Self {
        let side = usize::from(way == Way::In);
        match self {
            _ if flags.rst => Self::Closing,
            Self::Opening(mut said) => {
                said[side] |= flags.syn;
                if said == [true; 2] && flags.ack && !flags.syn {
                    Self::Open([false; 2])
                } else {
                    Self::Opening(said)
                }
            }
            Self::Open(mut ended) => {
                ended[side] |= flags.fin;
                if ended == [true; 2] { Self::Closing } else { Self::Open(ended) }
            }
            // The same ports once more.
            Self::Closing if flags == TcpFlags::SYN => Self::Opening([way == Way::Out, way == Way::In]),
            Self::Closing => Self::Closing,
        }
    }
}

/// Whether `one` and `other` are the same to a decision.
fn same(dependence: Dependence, one: SocketAddr, other: SocketAddr) -> bool {
    match dependence {
        Dependence::EndpointIndependent => true,
        Dependence::AddressDependent => one.ip() == other.ip(),
        Dependence::AddressAndPortDependent => one == other,
    }
}
