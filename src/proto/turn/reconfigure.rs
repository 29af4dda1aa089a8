//! What can be changed while the server runs, and what a change takes back.
//!
//! A new configuration is in force for every request from its input on. What it denies to live allocations is taken
//! back by a walk over all of them, in bounded steps: first every worker gets the new policy, so that nothing leaves for
//! a peer that it denies; then permissions and channels go, so that nothing comes back; then people are told.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::credential::Credentials;
use crate::proto::media::TableChange;
use crate::proto::peers::OwnRelays;
use crate::proto::peers::PeerPolicy;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits;

use super::Event;
use super::LegacyConfig;
use super::Output;
use super::Server;
use super::allocation::State;

/// The part of [`super::Config`] that a running server takes.
///
/// What is granted already stays granted, but for peers that the new policy denies: lifetimes and quotas count for what
/// is asked from then on, and a live allocation goes on under the key and the session's end that it was made with, also
/// when its user or secret is no longer there.
#[derive(Clone, Debug)]
pub struct Reconfiguration {
    /// Who may allocate. Its realm is the realm that the server was made with.
    pub credentials: Arc<Credentials>,
    /// Which peers may be reached.
    pub policy: Arc<PeerPolicy>,
    /// How long a nonce is good; also one that was given out before.
    pub nonce_lifetime: Duration,
    /// Granted where a client asks for none or less.
    pub lifetime_default: Lifetime,
    /// Granted at most.
    pub lifetime_max: Lifetime,
    /// How long a permission lasts.
    pub permission_lifetime: Duration,
    /// The highest channel number granted.
    pub channel_number_max: ChannelNumber,
    /// How long a channel lasts.
    pub channel_lifetime: Duration,
    /// How long an allocation made from now on may go on after its credential's expiry.
    pub session_lifetime_max: Duration,
    /// Allocations of one quota identity; 0 for no limit.
    pub allocations_per_user: u32,
    /// Allocations of one client IP address (IPv6: /64); 0 for no limit.
    pub allocations_per_address: u32,
    /// Whether a client may take its allocation along; tickets that were given out before count again once it may.
    pub mobility: bool,
    /// How strictly [MS-TURN] is read.
    pub legacy: LegacyConfig,
}

/// How far the walk has come, and what it took back.
#[derive(Debug, Default)]
pub(super) struct Revoking {
    slot: usize,
    permissions: u64,
    channels: u64,
}

/// What one step did: to how many permissions, channels and connections, out of how many that were looked at.
#[derive(Clone, Copy, Debug)]
struct Looked {
    at: usize,
    permissions: usize,
    channels: usize,
    closed: usize,
}

/// Own relayed addresses as if each lived. One that does not can be reached by nobody, so nothing need be taken back for
/// its sake, and it may come to life.
struct EveryOwnRelay;

impl OwnRelays for EveryOwnRelay {
    fn is_live(&self, _address: SocketAddr) -> bool {
        true
    }
}

impl<E: Entropy> Server<E> {
    /// Whether what the last [`Reconfiguration`] denies is still being revoked. [`Event::Reconfigured`] says when it is
    /// done.
    #[must_use]
    pub const fn is_reconfiguring(&self) -> bool {
        self.revoking.is_some()
    }

    /// Whether the walk can go on. It waits for an allocation on its way from one worker to another: neither would hear
    /// of what is taken back.
    pub(super) fn can_revoke(&self) -> bool {
        self.revoking.as_ref().is_some_and(|walk| !self.is_in_transit(walk.slot))
    }

    fn is_in_transit(&self, slot: usize) -> bool {
        self.allocations.at_slot(slot).is_some_and(|allocation| allocation.mobility.transit.is_some())
    }

    pub(super) fn reconfigure(&mut self, to: Reconfiguration) {
        debug_assert_eq!(to.credentials.realm(), &*self.config.challenger.realm, "the realm takes a restart");
        let username_anonymity = to.credentials.resolves_userhash();
        let config = &mut self.config;
        if username_anonymity != config.credentials.resolves_userhash() {
            let key = config.challenger.nonce_key.clone();
            config.challenger.nonce_key = key.with_username_anonymity(username_anonymity);
            self.outputs.push_back(Output::Announce { username_anonymity });
        }
        config.challenger.nonce_lifetime = to.nonce_lifetime;
        config.credentials = to.credentials;
        config.policy = Arc::clone(&to.policy);
        config.lifetime_default = to.lifetime_default;
        config.lifetime_max = to.lifetime_max;
        config.permission_lifetime = to.permission_lifetime;
        config.channel_number_max = to.channel_number_max;
        config.channel_lifetime = to.channel_lifetime;
        config.session_lifetime_max = to.session_lifetime_max;
        config.allocations_per_user = to.allocations_per_user;
        config.allocations_per_address = to.allocations_per_address;
        config.mobility = to.mobility;
        config.legacy = to.legacy;
        self.per_user.set_max(to.allocations_per_user);
        self.per_address.set_max(to.allocations_per_address);
        self.outputs.push_back(Output::TableOfAll { change: TableChange::Policy(to.policy) });
        // A walk under way begins anew: what it passed may be denied by now.
        self.revoking = Some(Revoking { slot: 0, ..self.revoking.take().unwrap_or_default() });
    }

    /// One step of the walk.
    pub(super) fn revoke(&mut self, now: Now) {
        let Some(mut walk) = self.revoking.take() else { return };
        let (mut room, mut looks) = (limits::REVOCATIONS_PER_CALL_MAX, 0);
        while walk.slot < self.allocations.slots() {
            let enough = room == 0 || looks >= limits::REVOCATION_LOOKS_PER_CALL_MAX;
            if enough || self.is_in_transit(walk.slot) {
                self.revoking = Some(walk);
                return;
            }
            let looked = self.revoke_of(now, walk.slot, room);
            looks += looked.at;
            room -= looked.permissions + looked.channels + looked.closed;
            walk.permissions += looked.permissions as u64;
            walk.channels += looked.channels as u64;
            // Where the room ran out there may be more of the same allocation.
            if room > 0 {
                walk.slot += 1;
            }
        }
        self.event(Event::Reconfigured { permissions: walk.permissions, channels: walk.channels });
    }

    /// Revokes at most `room` permissions and channels of one allocation; answers how many were looked at, and how many
    /// of each went; connections, too.
    fn revoke_of(&mut self, now: Now, slot: usize, room: usize) -> Looked {
        let nothing = Looked { at: 1, permissions: 0, channels: 0, closed: 0 };
        let Some(relay) = self.allocations.at_slot(slot).map(|allocation| allocation.relay) else {
            return nothing;
        };
        let policy = Arc::clone(&self.config.policy);
        let Some(allocation) = self.allocations.get_mut(relay) else { return nothing };
        if !matches!(allocation.state, State::Live(_)) {
            return nothing;
        }
        let looked = 1 + allocation.permissions.len() + allocation.channels.len();
        let permissions = allocation.permissions.take_denied(now.tick(), &policy, room);
        let allowed = |peer: PeerAddr| policy.allows(peer.socket(), &EveryOwnRelay);
        let channels =
            allocation.channels.revoke(now.tick(), room - permissions.len(), |peer| !allowed(peer));
        let connections = allocation.connections.len();
        // A peer is reached by the leg of its family.
        let legs =
            [Family::V4, Family::V6].map(|family| (family, allocation.legs.of(family).map(|leg| leg.relay)));
        let relay_to = |peer: IpAddr| legs.iter().find(|(family, _)| *family == Family::of(peer))?.1;
        for peer in &permissions {
            let Some(relay) = relay_to(*peer) else { continue };
            let change = TableChange::Forbid { relay, peer: *peer };
            self.change_table(relay, &change);
        }
        for (channel, peer) in &channels {
            let Some(relay) = relay_to(peer.ip()) else { continue };
            let change = TableChange::Unbind { relay, channel: *channel };
            self.change_table(relay, &change);
            // The worker may hold its address permitted for the channel's sake.
            if !policy.allows_some_port(peer.ip()) {
                let change = TableChange::Forbid { relay, peer: peer.ip() };
                self.change_table(relay, &change);
            }
        }
        let room = room - permissions.len() - channels.len();
        let closed = self.revoke_connections(relay, room, allowed);
        Looked { at: looked + connections, permissions: permissions.len(), channels: channels.len(), closed }
    }
}
