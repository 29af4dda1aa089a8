//! Which external address and port a new mapping gets.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::Entropy;
use crate::proto::types::limits::NAT_PORT_MIN;

use super::behaviour::Behaviour;
use super::behaviour::Pooling;
use super::behaviour::PortChoice;
use super::packet::Refused;

/// Draws of a random port before the next free one is taken.
const DRAWS: usize = 64;

/// External endpoints, free and taken. UDP and TCP have ports of their own.
#[derive(Debug)]
pub(super) struct Ports {
    externals: Vec<IpAddr>,
    taken: BTreeSet<(bool, SocketAddr)>,
    /// Mappings of each host inside, and the external address that it was paired with.
    hosts: BTreeMap<IpAddr, Host>,
    next: u16,
}

#[derive(Debug)]
struct Host {
    mappings: u32,
    external: IpAddr,
}

impl Ports {
    pub(super) const fn new(externals: Vec<IpAddr>) -> Self {
        Self { externals, taken: BTreeSet::new(), hosts: BTreeMap::new(), next: NAT_PORT_MIN }
    }

    pub(super) fn is_external(&self, ip: IpAddr) -> bool {
        self.externals.contains(&ip)
    }

    /// Takes an external endpoint for a mapping of `inner`.
    pub(super) fn take(
        &mut self,
        behaviour: &Behaviour,
        entropy: &mut impl Entropy,
        tcp: bool,
        inner: SocketAddr,
    ) -> Result<SocketAddr, Refused> {
        let host = self.hosts.get(&inner.ip());
        let share = u32::from(behaviour.ports_per_host);
        if share > 0 && host.is_some_and(|host| host.mappings >= share) {
            return Err(Refused::NoPort);
        }
        let paired = host.filter(|_| behaviour.pooling == Pooling::Paired).map(|host| host.external);
        let external = paired.map_or_else(|| self.draw(entropy, inner.ip()), Ok)?;
        let outer = self.endpoint(behaviour, entropy, tcp, inner.port(), external).ok_or(Refused::NoPort)?;
        self.taken.insert((tcp, outer));
        self.hosts.entry(inner.ip()).or_insert(Host { mappings: 0, external }).mappings += 1;
        Ok(outer)
    }

    /// Gives back what a mapping of `inner` had; `shared`: another mapping has the same endpoint.
    pub(super) fn give_back(&mut self, tcp: bool, inner: SocketAddr, outer: SocketAddr, shared: bool) {
        if !shared {
            self.taken.remove(&(tcp, outer));
        }
        if let Some(host) = self.hosts.get_mut(&inner.ip()) {
            host.mappings -= 1;
            if host.mappings == 0 {
                self.hosts.remove(&inner.ip());
            }
        }
    }

    /// Nobody gets this endpoint any more.
    pub(super) fn withhold(&mut self, tcp: bool, outer: SocketAddr) {
        self.taken.insert((tcp, outer));
    }

    pub(super) fn forget(&mut self) {
        self.taken.clear();
        self.hosts.clear();
    }

    fn draw(&self, entropy: &mut impl Entropy, inner: IpAddr) -> Result<IpAddr, Refused> {
        let fit: Vec<_> = self.externals.iter().filter(|each| each.is_ipv4() == inner.is_ipv4()).collect();
        let count = u32::try_from(fit.len()).unwrap_or(u32::MAX);
        if count == 0 { Err(Refused::Family) } else { Ok(*fit[entropy.below(count) as usize]) }
    }

    fn endpoint(
        &mut self,
        behaviour: &Behaviour,
        entropy: &mut impl Entropy,
        tcp: bool,
        wanted: u16,
        external: IpAddr,
    ) -> Option<SocketAddr> {
        let at = |port| SocketAddr::new(external, port);
        let is_free = |taken: &BTreeSet<_>, port: &u16| !taken.contains(&(tcp, at(*port)));
        let fits = |port: &u16| !behaviour.parity || port % 2 == wanted % 2;
        match behaviour.ports {
            PortChoice::Overload => return Some(at(wanted)),
            PortChoice::Preserve if wanted >= NAT_PORT_MIN && is_free(&self.taken, &wanted) => {
                return Some(at(wanted));
            }
            PortChoice::Random => {
                let width = u32::from(u16::MAX - NAT_PORT_MIN) + 1;
                let mut drawn = (0..DRAWS).map(|_| NAT_PORT_MIN + entropy.below(width) as u16);
                if let Some(port) = drawn.find(|port| fits(port) && is_free(&self.taken, port)) {
                    return Some(at(port));
                }
            }
            PortChoice::Preserve | PortChoice::Sequential => {}
        }
        let around = (self.next..=u16::MAX).chain(NAT_PORT_MIN..self.next);
        let port = { around }.find(|port| fits(port) && is_free(&self.taken, port))?;
        self.next = port.checked_add(1).unwrap_or(NAT_PORT_MIN);
        Some(at(port))
    }
}
