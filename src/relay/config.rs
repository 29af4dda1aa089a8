//! What the data plane is made with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "dtls")]
use crate::net::dtls::DtlsServer;
use crate::proto::auth::budget::Exempt;
use crate::proto::auth::challenge::Challenger;
use crate::proto::media::ExternalAddresses;
use crate::proto::peers::PeerPolicy;

use super::Wish;

/// What the data plane is made with. Whoever builds it has checked it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads, at least 1 and at most [`crate::proto::types::limits::WORKERS_MAX`].
    pub workers: u16,
    /// UDP addresses to listen on, at most [`crate::proto::types::limits::LISTEN_ADDRESSES_MAX`].
    pub listen_udp: Vec<SocketAddr>,
    /// Answers strangers.
    pub challenger: Challenger,
    /// Judges each datagram on its way out to a peer.
    pub policy: Arc<PeerPolicy>,
    /// Without this a live channel keeps its peer's address permitted.
    pub strict_permissions: bool,
    /// Clients that the strangers' budget does not hold for.
    pub unproven_exempt: Exempt,
    /// Random seeds of the table's keyed hash, for each worker.
    pub hash_seeds: Vec<[u64; 4]>,
    /// The moment that ticks are counted from: the same as the control task's.
    pub start: Instant,
    /// The relay addresses that stand behind a 1:1 NAT.
    pub external: ExternalAddresses,
    /// What clients over DTLS are met with, if they are.
    #[cfg(feature = "dtls")]
    pub dtls: Option<DtlsServer>,
    /// What the relay ports shall stand on.
    pub path: Wish,
    /// Whether datagrams that come or leave together may do so as one (UDP_GRO, UDP_SEGMENT).
    pub runs: bool,
}
