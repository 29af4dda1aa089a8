//! The five-tuple, which names an allocation.

use super::ClientAddr;
use super::ServerAddr;

/// How the client reaches the server (RFC 8656 § 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP (RFC 7350).
    Dtls,
}

impl Transport {
    /// The lower-case word used in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    /// Whether messages come one after the other in a stream of bytes, in order and without loss, and must tell their own
    /// length (RFC 8656 § 12.5).
    #[must_use]
    pub const fn is_stream(self) -> bool {
        match self {
            Self::Udp | Self::Dtls => false,
            Self::Tcp | Self::Tls => true,
        }
    }
}

/// Which wire format an allocation speaks. It is settled by the message that makes the allocation and does
/// not change while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// RFC 8489 and RFC 8656.
    Rfc8656,
    /// [MS-TURN].
    MsTurn,
}

/// "The 5-tuple: client IP address and port, server IP address and port, and transport protocol"
/// (RFC 8656 § 3). The server's address is the one the datagram was really sent to, so that answers leave
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Where the client's packets come from.
    pub client: ClientAddr,
    /// Where they were sent to.
    pub server: ServerAddr,
    /// What they came by.
    pub transport: Transport,
}
