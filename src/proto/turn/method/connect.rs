//! Connect (RFC 6062 § 5.2).

use crate::proto::auth::credential::Authenticated;
use crate::proto::turn::connections::NoConnection;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::live_allocation;

impl<E: Entropy> Server<E> {
    /// Begins a connection to a peer. The answer leaves when it is there, or will not be.
    pub(in crate::proto::turn) fn connect(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let allocation = live_allocation(&mut self.allocations, now, asker, who)?;
        // One that relays datagrams is none that could be meant.
        if !allocation.is_tcp() {
            return Err(ErrorCode::AllocationMismatch.into());
        }
        let (Some(peer), 1) = (request.peers.iter().next(), request.peers.len()) else {
            return Err(ErrorCode::BadRequest.into());
        };
        let leg = allocation.leg_to(now, peer.family()).ok_or(ErrorCode::PeerAddressFamilyMismatch)?.relay;
        let relay = allocation.relay;
        match self.may_connect(relay, peer, Some(&asker.key())) {
            Ok(()) => self.begin_connection(now, asker, leg, peer),
            // The same request again: one answer will do for both.
            Err(NoConnection::Awaited) => {}
            Err(NoConnection::Exists) => return Err(ErrorCode::ConnectionAlreadyExists.into()),
            Err(NoConnection::Forbidden) => return Err(ErrorCode::Forbidden.into()),
            Err(NoConnection::Full) => return Err(ErrorCode::InsufficientCapacity.into()),
        }
        Ok(Answer::Later)
    }
}
