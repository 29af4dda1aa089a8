//! What the doors for connections are made with.

use std::net::IpAddr;
use std::time::Duration;

use crate::net::TlsServer;
use crate::proto::types::limits;

use super::web::Web;

/// What the doors for connections are made with. Whoever builds it has checked it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections in all, those that workers have included; at most [`limits::STREAMS_MAX`].
    pub streams_total: u32,
    /// Connections of one client IP address (IPv6: /64); 0 for any number.
    pub streams_per_address: u32,
    /// Random seeds of the keyed hash of clients' addresses.
    pub hash_seeds: [u64; 4],
    /// How long a client may take.
    pub deadlines: Deadlines,
    /// What handshakes are made with.
    pub tls: TlsServer,
    /// Networks of proxies, each an address with the length of its prefix: a connection from there begins with a PROXY
    /// header, and one from anywhere else has none.
    pub proxy_from: Vec<(IpAddr, u8)>,
    /// What is done with what is no TURN.
    pub web: Web,
    /// Whether clients of the old dialect are served ([MS-TURN]), pseudo-TLS included.
    pub legacy: bool,
}

/// How long a client may take for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// To show its first bytes, in the clear and then again inside TLS.
    pub sniff: Duration,
    /// For the ClientHello and the handshake.
    pub handshake: Duration,
    /// For the first whole message.
    pub first_message: Duration,
    /// For the header of a trusted proxy.
    pub proxy_header: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            sniff: limits::SNIFF_DEADLINE,
            handshake: limits::HANDSHAKE_DEADLINE,
            first_message: limits::FIRST_MESSAGE_DEADLINE,
            proxy_header: limits::PROXY_HEADER_DEADLINE,
        }
    }
}
