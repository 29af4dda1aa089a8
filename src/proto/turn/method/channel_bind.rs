//! ChannelBind (RFC 8656 § 12.2).

use crate::proto::auth::credential::Authenticated;
use crate::proto::media::TableChange;
use crate::proto::turn::channel::CannotBind;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::live_allocation;

impl<E: Entropy> Server<E> {
    /// Binds a channel, or goes on with it. Either way the peer's address is permitted anew.
    pub(in crate::proto::turn) fn channel_bind(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let until = now.after(self.config.channel_lifetime);
        let permitted_until = now.after(self.config.permission_lifetime);
        let channels_max = self.config.channels_per_allocation;
        let permissions_max = self.config.permissions_per_allocation;
        let allocation = live_allocation(&mut self.allocations, now, asker, who)?;
        // RFC 6062 § 3: what a TCP allocation relays are connections.
        if allocation.is_tcp() {
            return Err(ErrorCode::BadRequest.into());
        }
        // Both attributes, one peer, a number in 0x4000–0x4FFF, or in RFC 5766's range where that is granted.
        let (Some(channel), Some(peer), 1) =
            (request.channel(), request.peers.iter().next(), request.peers.len())
        else {
            return Err(ErrorCode::BadRequest.into());
        };
        if channel > self.config.channel_number_max {
            return Err(ErrorCode::BadRequest.into());
        }
        let leg = allocation.leg_to(now, peer.family());
        let relay = leg.ok_or(ErrorCode::PeerAddressFamilyMismatch)?.relay;
        // Number and peer belong to each other alone.
        match allocation.channels.may_bind(now.tick(), channel, peer, channels_max) {
            Ok(()) => {}
            Err(CannotBind::Tied) => return Err(ErrorCode::BadRequest.into()),
            Err(CannotBind::Full) => return Err(ErrorCode::InsufficientCapacity.into()),
        }
        if !self.config.policy.allows(peer.socket(), &self.live) {
            return Err(ErrorCode::Forbidden.into());
        }
        if !allocation.permissions.have_room(now.tick(), &[peer.ip()], permissions_max) {
            return Err(ErrorCode::InsufficientCapacity.into());
        }
        allocation.channels.bind(channel, peer, until);
        allocation.permissions.install(peer.ip(), permitted_until);
        let permit = TableChange::Permit { relay, peer: peer.ip(), until: permitted_until };
        self.change_table(relay, &permit);
        let bind = TableChange::Bind { relay, channel, peer, until };
        self.change_table(relay, &bind);
        Ok(Answer::Now(Grant::default()))
    }
}
