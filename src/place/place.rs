//! Where a client stands: what is between it and the internet.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::nat::Behaviour;
use crate::nat::Dependence;
use crate::nat::Firewall;

/// What is between a client and the internet. The names are those of `docs/testbed.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Nothing: a public address.
    Open,
    /// A NAT with endpoint-independent mapping and filtering (RFC 4787).
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: most at home.
    PortRestricted,
    /// Address-and-port-dependent mapping and filtering, random ports.
    Symmetric,
    /// A port-restricted NAT at home behind a carrier's (RFC 6888).
    Cgn,
    /// A port-restricted NAT whose firewall lets no UDP out.
    UdpBlocked,
    /// A port-restricted NAT whose firewall lets TCP to port 443 out, and nothing else.
    Only443,
    /// A port-restricted NAT whose firewall lets TCP to one HTTP proxy out, and nothing else.
    HttpProxy,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Cgn,
        Self::UdpBlocked,
        Self::Only443,
        Self::HttpProxy,
    ];

    /// What it is called in scenarios, reports and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::Cgn => "cgn",
            Self::UdpBlocked => "udp-blocked",
            Self::Only443 => "only-443",
            Self::HttpProxy => "http-proxy",
        }
    }

    /// Its NATs, the innermost first.
    #[must_use]
    pub const fn behaviours(self) -> &'static [Behaviour] {
        match self {
            Self::Open => &[],
            Self::FullCone => &[Behaviour::FULL_CONE],
            Self::AddressRestricted => &[Behaviour::ADDRESS_RESTRICTED],
            Self::PortRestricted | Self::UdpBlocked | Self::Only443 | Self::HttpProxy => {
                &[Behaviour::PORT_RESTRICTED]
            }
            Self::Symmetric => &[Behaviour::SYMMETRIC],
            Self::Cgn => &[Behaviour::PORT_RESTRICTED, Behaviour::CARRIER],
        }
    }

    /// What its firewall lets out, where the laboratory's HTTP proxy is at `proxy`.
    #[must_use]
    pub fn firewall(self, proxy: SocketAddr) -> Firewall {
        match self {
            Self::UdpBlocked => Firewall::NoUdp,
            Self::Only443 => Firewall::OnlyTcpTo(vec![443]),
            Self::HttpProxy => Firewall::OnlyProxy(proxy),
            Self::Open
            | Self::FullCone
            | Self::AddressRestricted
            | Self::PortRestricted
            | Self::Symmetric
            | Self::Cgn => Firewall::Open,
        }
    }

    /// Whether one of its NATs maps one endpoint inside to another port for each that it sends to (RFC 4787 § 4.1).
    #[must_use]
    pub fn maps_by_destination(self) -> bool {
        self.behaviours().iter().any(|nat| nat.mapping != Dependence::EndpointIndependent)
    }

    /// Whether UDP leaves it.
    #[must_use]
    pub const fn has_udp(self) -> bool {
        !matches!(self, Self::UdpBlocked | Self::Only443 | Self::HttpProxy)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// The word is no place; the text names those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchPlace(String);

impl fmt::Display for NoSuchPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "there is no place {:?}; there are ", self.0)?;
        for (at, place) in Place::ALL.into_iter().enumerate() {
            write!(out, "{}{place}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for NoSuchPlace {}

impl FromStr for Place {
    type Err = NoSuchPlace;

    fn from_str(text: &str) -> Result<Self, NoSuchPlace> {
        Self::ALL.into_iter().find(|place| place.name() == text).ok_or_else(|| NoSuchPlace(text.to_owned()))
    }
}
