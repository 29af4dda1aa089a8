//! One packet, as one point of a laboratory saw it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::nat::Protocol;

/// Where in a laboratory packets are captured. The left client's is named for what it is, the right one's mirrors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// At the left client: what it sends and gets.
    LeftClient,
    /// Outside of the left client's outermost NAT.
    LeftOutside,
    /// At the right client.
    RightClient,
    /// Outside of the right client's outermost NAT.
    RightOutside,
    /// At the addresses that the server listens on.
    Server,
    /// At the relayed addresses.
    Relay,
    /// At the HTTP proxy.
    Proxy,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LeftClient,
        Self::LeftOutside,
        Self::RightClient,
        Self::RightOutside,
        Self::Server,
        Self::Relay,
        Self::Proxy,
    ];

    /// The name of its interface in a capture.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeftClient => "left client",
            Self::LeftOutside => "left nat outside",
            Self::RightClient => "right client",
            Self::RightOutside => "right nat outside",
            Self::Server => "server",
            Self::Relay => "relay",
            Self::Proxy => "http proxy",
        }
    }
}

/// One packet, as one point saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When, since the run began.
    pub at: Duration,
    /// Where.
    pub point: Point,
    /// What it is; of TCP with its flags.
    pub protocol: Protocol,
    /// Where it comes from, as it stands in the packet at this point.
    pub source: SocketAddr,
    /// Where it goes, as it stands there.
    pub destination: SocketAddr,
    /// Of TCP the number of the first byte in its direction, from 0; else 0.
    pub sequence: u32,
    /// What it carries behind the header of UDP or TCP.
    pub bytes: Box<[u8]>,
    /// What is to be said about it in words; empty where nothing is.
    pub note: String,
}
