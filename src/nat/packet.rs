//! Of a packet, what a NAT looks at; and what becomes of it.

use std::net::SocketAddr;

/// What a NAT looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it carries.
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Which part it is of a datagram that was cut up; `None`: it is whole.
    pub fragment: Option<Fragment>,
}

/// A part of a datagram that was cut up. Only the first has ports; for the others those of [`Packet`] are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram's identification.
    pub id: u32,
    /// Whether it is the first part.
    pub first: bool,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A datagram.
    Udp,
    /// A segment.
    Tcp(TcpFlags),
}

impl Protocol {
    /// Whether both are UDP, or both TCP.
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        matches!((self, other), (Self::Udp, Self::Udp) | (Self::Tcp(_), Self::Tcp(_)))
    }
}

/// Of a segment's flags those that open and close a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags {
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
}

impl TcpFlags {
    /// The first segment of a connection.
    pub const SYN: Self = Self { syn: true, ack: false, fin: false, rst: false };
    /// The answer to it.
    pub const SYN_ACK: Self = Self { syn: true, ack: true, fin: false, rst: false };
    /// A segment in the middle.
    pub const ACK: Self = Self { syn: false, ack: true, fin: false, rst: false };
    /// The last one.
    pub const FIN: Self = Self { syn: false, ack: true, fin: true, rst: false };
    /// A break.
    pub const RST: Self = Self { syn: false, ack: false, fin: false, rst: true };
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, with these addresses.
    Pass {
        /// Where it comes from now.
        source: SocketAddr,
        /// Where it goes now.
        destination: SocketAddr,
    },
    /// It turns around and goes back inside, with these addresses (RFC 4787 § 6).
    Back {
        /// Where it comes from now.
        source: SocketAddr,
        /// Where it goes now.
        destination: SocketAddr,
    },
    /// It goes nowhere, and nobody is told.
    Drop(Refused),
    /// It goes nowhere, and the sender is told: by ICMP "administratively prohibited" or, for TCP, by a reset.
    Reject(Refused),
}

/// Why a packet goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// The firewall lets no such packet out.
    Firewall,
    /// No mapping has this port.
    NoMapping,
    /// There is a mapping, but not for this sender (RFC 4787 § 5).
    Filtered,
    /// From inside to an external address of this NAT, which does not turn packets around.
    NoHairpin,
    /// No port is left, or the host inside has had its share.
    NoPort,
    /// A part of a datagram, where only whole ones pass, or whose first part never came.
    Fragment,
    /// A segment in the middle of a connection that nothing is known of.
    NoConnection,
    /// Of another family than the NAT's addresses.
    Family,
}

impl Refused {
    /// In a record or a report.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Firewall => "the firewall lets it not out",
            Self::NoMapping => "no mapping has this port",
            Self::Filtered => "filtered: nothing was sent to this address before",
            Self::NoHairpin => "this NAT does not hairpin",
            Self::NoPort => "no port is left for it",
            Self::Fragment => "a fragment that cannot be told apart",
            Self::NoConnection => "no connection is known",
            Self::Family => "of another address family",
        }
    }
}
