//! What the server is made with. Whoever builds it has checked it: see `config/build.rs`.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::legacy::WrongMac;
use crate::proto::peers::PeerPolicy;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Lifetime;
use crate::proto::types::Rate;
#[cfg(doc)]
use crate::proto::types::limits;

/// An address that relay sockets are bound to, and the one that clients and peers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// An address of this machine.
    pub bind: IpAddr,
    /// The same, or the one a 1:1 NAT in front of this machine shows.
    pub external: IpAddr,
}

/// What the server is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Realm, nonce key and nonce lifetime.
    pub challenger: Challenger,
    /// Who may allocate.
    pub credentials: Arc<Credentials>,
    /// Which peers may be reached.
    pub policy: Arc<PeerPolicy>,
    /// Where relay sockets are bound; the first of a family serves that family.
    pub relays: Vec<RelayAddress>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
    /// Granted where a client asks for none or less.
    pub lifetime_default: Lifetime,
    /// Granted at most.
    pub lifetime_max: Lifetime,
    /// How long a permission lasts.
    pub permission_lifetime: Duration,
    /// The highest channel number granted: [`ChannelNumber::MAX`], or [`ChannelNumber::MAX_RFC5766`] for the sake of
    /// old clients.
    pub channel_number_max: ChannelNumber,
    /// How long a channel lasts.
    pub channel_lifetime: Duration,
    /// How long a live allocation may go on after its credential's expiry.
    pub session_lifetime_max: Duration,
    /// Allocations of one quota identity; 0 for no limit.
    pub allocations_per_user: u32,
    /// Allocations of one client IP address (IPv6: /64); 0 for no limit.
    pub allocations_per_address: u32,
    /// What one allocation may carry, both ways together; `None` for any amount.
    pub bandwidth_per_allocation: Option<Rate>,
    /// What all allocations of one quota identity may carry together; `None` for any amount.
    pub bandwidth_per_user: Option<Rate>,
    /// Allocations in all; 0 for no limit but [`limits::ALLOCATIONS_MAX`].
    pub allocations_total: u32,
    /// Permissions of one allocation, at most [`limits::PERMISSIONS_PER_ALLOCATION_MAX`].
    pub permissions_per_allocation: usize,
    /// Channels of one allocation, at most [`limits::CHANNELS_PER_ALLOCATION_MAX`].
    pub channels_per_allocation: usize,
    /// Where a draining server sends clients: the first of a client's family.
    pub alternate_servers: Vec<SocketAddr>,
    /// Whether a client may take its allocation along to another five-tuple (RFC 8016).
    pub mobility: bool,
    /// How strictly [MS-TURN] is read.
    pub legacy: LegacyConfig,
    /// Peers' connections of one allocation (RFC 6062), at most [`limits::CONNECTIONS_PER_ALLOCATION_MAX`].
    pub connections_per_allocation: usize,
    /// Connect requests of one allocation that wait for their peer.
    pub connects_per_allocation: usize,
}

/// How strictly [MS-TURN] is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyConfig {
    /// Send and Set Active Destination need a sequence number. Without this an allocation that never had one goes by
    /// transaction ids.
    pub strict_sequence_numbers: bool,
    /// What a wrong MAC gets.
    pub wrong_mac: WrongMac,
}
