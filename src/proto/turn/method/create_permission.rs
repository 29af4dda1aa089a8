//! CreatePermission (RFC 8656 § 10.2).

use std::net::IpAddr;

use crate::proto::auth::credential::Authenticated;
use crate::proto::media::TableChange;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::live_allocation;

impl<E: Entropy> Server<E> {
    /// All peers of the request are permitted, or none of them.
    pub(in crate::proto::turn) fn create_permission(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let until = now.after(self.config.permission_lifetime);
        let max = self.config.permissions_per_allocation;
        let allocation = live_allocation(&mut self.allocations, now, asker, who)?;
        if request.peers.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        if request.peers.iter().any(|peer| allocation.leg_to(now, peer.family()).is_none()) {
            return Err(ErrorCode::PeerAddressFamilyMismatch.into());
        }
        let mut peers: Vec<IpAddr> = request.peers.iter().map(|peer| peer.ip()).collect();
        peers.sort_unstable();
        peers.dedup();
        // A permission is by address: refused only where no port of it could be reached.
        if !peers.iter().all(|peer| self.config.policy.allows_some_port(*peer)) {
            return Err(ErrorCode::Forbidden.into());
        }
        if !allocation.permissions.have_room(now.tick(), &peers, max) {
            return Err(ErrorCode::InsufficientCapacity.into());
        }
        let mut permitted = Vec::with_capacity(peers.len());
        for peer in peers {
            let Some(relay) = allocation.leg_to(now, Family::of(peer)).map(|leg| leg.relay) else { continue };
            allocation.permissions.install(peer, until);
            permitted.push((relay, peer));
        }
        for (relay, peer) in permitted {
            self.change_table(relay, &TableChange::Permit { relay, peer, until });
        }
        Ok(Answer::Now(Grant::default()))
    }
}
