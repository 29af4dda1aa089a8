//! Clients over TCP and TLS whose connection ended.

use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::WorkerId;

use super::EndReason;
use super::Server;
use super::allocation::State;

impl<E: Entropy> Server<E> {
    /// The five-tuple `from` will bring nothing any more, and nothing can be sent to it: its allocation ends. One whose
    /// client holds a mobility ticket is kept for as long as its lifetime lasts, because to come back from elsewhere is
    /// what the ticket is for (RFC 8016 § 1).
    ///
    /// So is one that is on its way to another worker: its ticket is used up, the next one comes with the answer.
    ///
    /// Of an allocation that another worker has this says nothing: it is another connection of the same name.
    pub(super) fn client_gone(&mut self, worker: WorkerId, from: &FiveTuple) {
        let Some(allocation) = self.allocations.of(from).filter(|allocation| allocation.worker == worker)
        else {
            return;
        };
        let is_mobile = match &allocation.state {
            State::Opening(opening) => opening.mobile,
            State::Live(_) | State::Draining(_) => {
                allocation.mobility.ticket != 0 || allocation.mobility.transit.is_some()
            }
        };
        if !is_mobile {
            let relay = allocation.relay;
            self.end(relay, EndReason::Disconnected, None);
        }
    }
}
