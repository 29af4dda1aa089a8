//! A NAT with one external address, of the two kinds that matter here.

use std::net::IpAddr;
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One mapping for a socket, open to anybody.
    FullCone,
    /// A mapping for each endpoint, open to that endpoint alone.
    Symmetric,
}

#[derive(Debug)]
pub(super) struct Nat {
    kind: Kind,
    pub(super) external: IpAddr,
    mappings: Vec<(SocketAddr, Option<SocketAddr>)>,
}

const PORTS: u16 = 20_000;

impl Nat {
    pub(super) const fn new(kind: Kind, external: IpAddr) -> Self {
        Self { kind, external, mappings: Vec::new() }
    }

    pub(super) fn outbound(&mut self, inner: SocketAddr, to: SocketAddr) -> SocketAddr {
        let mapping = (inner, (self.kind == Kind::Symmetric).then_some(to));
        let at = self.mappings.iter().position(|there| *there == mapping).unwrap_or_else(|| {
            self.mappings.push(mapping);
            self.mappings.len() - 1
        });
        SocketAddr::new(self.external, PORTS + u16::try_from(at).unwrap())
    }

    pub(super) fn inbound(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let (inner, to) = self.mappings.get(usize::from(port.checked_sub(PORTS)?))?;
        to.is_none_or(|to| to == from).then_some(*inner)
    }
}
