//! What the doors of the service are made with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::net::MutualTls;
use crate::net::StreamListener;
use crate::proto::types::limits;

use super::response::Service;

/// A way to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTPS, both sides with a certificate.
    Https,
    /// SIP over TLS, both sides with a certificate.
    Sip,
    /// SIP in the clear, on loopback alone: whoever stands in front has checked the certificate.
    SipPlain,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 3] = [Self::Https, Self::Sip, Self::SipPlain];

    /// Its name in the configuration, and the word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Sip => "sip",
            Self::SipPlain => "sip_plain",
        }
    }
}

/// What the doors are made with. Whoever builds it has checked it.
pub struct Config {
    /// Which there are, and where.
    pub listeners: Vec<(Door, StreamListener)>,
    /// How long a front end may take.
    pub deadlines: Deadlines,
    /// Connections that have not shown yet whose they are, in all and of one address.
    pub strangers: (u32, u32),
    /// Connections of one front end.
    pub connections: u32,
    /// Requests of one front end: at once after a pause, and each second after that; both at least 1.
    pub requests: (u32, u32),
    /// Random seeds of the keyed hash of addresses.
    pub hash_seeds: [u64; 4],
    /// The time in seconds since 1970-01-01 UTC, from which credentials are good.
    pub unix: Box<dyn Fn() -> u64 + Send>,
}

/// What a reload exchanges.
#[derive(Clone, Debug)]
pub struct Live {
    /// What is handed out.
    pub service: Service,
    /// What handshakes are made with; `None` where there is no door that makes any.
    pub tls: Option<MutualTls>,
    /// The hosts that are let in, in small letters.
    pub front_ends: Arc<[Box<str>]>,
}

/// How long a front end may take for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the handshake.
    pub handshake: Duration,
    /// For the rest of a message that it began, and to take an answer.
    pub message: Duration,
    /// For the next message or keep-alive over SIP.
    pub idle: Duration,
    /// For everything that it asks on one connection over HTTPS.
    pub https: Duration,
}

impl Config {
    /// With the limits of this server.
    #[must_use]
    pub fn new(
        listeners: Vec<(Door, StreamListener)>,
        hash_seeds: [u64; 4],
        unix: Box<dyn Fn() -> u64 + Send>,
    ) -> Self {
        Self {
            listeners,
            deadlines: Deadlines::default(),
            strangers: (limits::MRAS_STRANGERS_MAX, limits::MRAS_STRANGERS_PER_ADDRESS_MAX),
            connections: limits::MRAS_CONNECTIONS_PER_FRONT_END_MAX,
            requests: (limits::MRAS_REQUESTS_BURST, limits::MRAS_REQUESTS_PER_SECOND),
            hash_seeds,
            unix,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: limits::HANDSHAKE_DEADLINE,
            message: limits::MRAS_MESSAGE_DEADLINE,
            idle: limits::MRAS_IDLE_MAX,
            https: limits::MRAS_HTTPS_LIFETIME_MAX,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
