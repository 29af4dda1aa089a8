//! Leaving without cutting calls off: no new allocation, the live ones go on.

use std::net::SocketAddr;

use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::wire::ErrorCode;

use super::EndReason;
use super::Event;
use super::Server;
use super::allocation::Phase;

/// The other servers that a client is told of (RFC 8489 § 10).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Elsewhere {
    /// One of the client's family.
    pub(super) first: Option<SocketAddr>,
    /// One of the other family, told behind the first and never alone.
    pub(super) other_family: Option<SocketAddr>,
}

impl<E: Entropy> Server<E> {
    /// Makes no new allocation from here on. Those whose socket is still being opened will not come to life.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        for slot in 0..self.allocations.slots() {
            let opening = self.allocations.at_slot(slot).filter(|each| each.phase() == Phase::Opening);
            if let Some(relay) = opening.map(|allocation| allocation.relay) {
                self.end(relay, EndReason::Shutdown, None);
            }
        }
        self.event(Event::DrainBegun { allocations: self.allocations.len() });
    }

    /// Ends every allocation, in steps that [`Server::poll_timeout`] asks for, and makes no new one.
    pub(super) fn end_all(&mut self) {
        self.draining = true;
        self.ending = Some(0);
        self.event(Event::EndingAll { allocations: self.allocations.len() });
    }

    /// What a new allocation for `from` is refused with: 300 where there is an alternate server of the client's family
    /// (RFC 8489 § 10), else 508.
    pub(super) fn refusal_while_draining(&self, from: &FiveTuple) -> Option<ErrorCode> {
        self.draining.then(|| match self.elsewhere(from).first {
            Some(_) => ErrorCode::TryAlternate,
            None => ErrorCode::InsufficientCapacity,
        })
    }

    /// Where a client that talks to us like `from` may go instead.
    pub(super) fn elsewhere(&self, from: &FiveTuple) -> Elsewhere {
        let is_v4 = from.client.ip().is_ipv4();
        let of_family = |is_v4| {
            self.config.alternate_servers.iter().copied().find(move |server| server.is_ipv4() == is_v4)
        };
        Elsewhere { first: of_family(is_v4), other_family: of_family(!is_v4) }
    }
}
