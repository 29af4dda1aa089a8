//! How a NAT behaves, in the words of RFC 4787 and RFC 5382.

use std::time::Duration;

/// What of the other side a decision looks at (RFC 4787 §§ 4.1, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// Nothing.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// All of them, the most liberal first.
    pub const ALL: [Self; 3] =
        [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];
}

/// Which external port a new mapping gets (RFC 4787 § 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortChoice {
    /// The one inside, if it is free; else the next free one.
    Preserve,
    /// The one inside, taken or not: "port overloading" (§ 4.2.1). What comes back is told apart by its sender.
    Overload,
    /// One after the other.
    Sequential,
    /// Any.
    Random,
}

/// Which external address a new mapping gets, where there are several (RFC 4787 § 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pooling {
    /// The one that the host inside has already.
    Paired,
    /// Any.
    Arbitrary,
}

/// What becomes of a packet from inside for an external address of this NAT (RFC 4787 § 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hairpin {
    /// It is lost.
    No,
    /// It turns around with the source it has inside, which few hosts expect.
    InternalSource,
    /// It turns around with the source that it would have outside.
    ExternalSource,
}

/// Which packets keep a mapping alive (RFC 4787 § 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refresh {
    /// Those that go out.
    Outbound,
    /// Those that come in.
    Inbound,
    /// All.
    Both,
}

/// What becomes of parts of datagrams (RFC 4787 § 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragments {
    /// None passes.
    Drop,
    /// They pass behind their first part.
    InOrder,
    /// They pass in any order: those that come too early wait. Whoever carries the packets has to hold them back
    /// ([`super::Refused::Fragment`]) and try again behind the first part.
    OutOfOrder,
}

/// How a NAT behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// When one endpoint inside gets another external port.
    pub mapping: Dependence,
    /// Whose packets are let in.
    pub filtering: Dependence,
    /// Which external port a mapping gets.
    pub ports: PortChoice,
    /// Whether even ports become even ones and odd ones odd (§ 4.2.2). Not with [`PortChoice::Overload`].
    pub parity: bool,
    /// Which external address a mapping gets.
    pub pooling: Pooling,
    /// What becomes of packets for the NAT's own external addresses.
    pub hairpin: Hairpin,
    /// Which packets keep a mapping alive.
    pub refresh: Refresh,
    /// What becomes of parts of datagrams.
    pub fragments: Fragments,
    /// Ports that one host inside may have, as behind a carrier's NAT (RFC 6888); 0: any number.
    pub ports_per_host: u16,
    /// How long a mapping for UDP lives without a packet that keeps it alive; REQ-5 of RFC 4787 asks for 2 minutes.
    pub udp: Duration,
    /// How long an open connection is remembered without a segment; REQ-5 of RFC 5382 asks for 2 hours and 4 minutes.
    pub tcp_established: Duration,
    /// How long one is that is not open yet, or not any more; the same asks for 4 minutes.
    pub tcp_transitory: Duration,
}

impl Behaviour {
    /// What RFC 4787 and RFC 5382 ask for, with the most liberal filter: a "full cone".
    pub const FULL_CONE: Self = Self {
        mapping: Dependence::EndpointIndependent,
        filtering: Dependence::EndpointIndependent,
        ports: PortChoice::Preserve,
        parity: true,
        pooling: Pooling::Paired,
        hairpin: Hairpin::ExternalSource,
        refresh: Refresh::Outbound,
        fragments: Fragments::OutOfOrder,
        ports_per_host: 0,
        udp: Duration::from_secs(120),
        tcp_established: Duration::from_secs(7_440),
        tcp_transitory: Duration::from_secs(240),
    };

    /// Lets in who was sent to, whatever the port: "address-restricted".
    pub const ADDRESS_RESTRICTED: Self = Self { filtering: Dependence::AddressDependent, ..Self::FULL_CONE };

    /// Lets in who was sent to: "port-restricted", as most at home are.
    pub const PORT_RESTRICTED: Self =
        Self { filtering: Dependence::AddressAndPortDependent, ..Self::FULL_CONE };

    /// Another port for each peer, and only that peer is let in: "symmetric". Direct calls are impossible between two.
    pub const SYMMETRIC: Self = Self {
        mapping: Dependence::AddressAndPortDependent,
        filtering: Dependence::AddressAndPortDependent,
        ports: PortChoice::Random,
        parity: false,
        hairpin: Hairpin::No,
        fragments: Fragments::InOrder,
        udp: Duration::from_secs(60),
        ..Self::FULL_CONE
    };

    /// A carrier's, as RFC 6888 asks for it, with a share of 1,000 ports for each subscriber.
    pub const CARRIER: Self = Self {
        filtering: Dependence::AddressAndPortDependent,
        ports: PortChoice::Random,
        parity: false,
        ports_per_host: 1_000,
        ..Self::FULL_CONE
    };
}
