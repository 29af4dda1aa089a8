//! A NAT as RFC 4787 describes them: three ways to map, three ways to filter.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::clock::Micros;
use super::clock::SECOND;
use super::dice::Dice;

/// What of the other side a decision looks at (RFC 4787 §§ 4.1, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependence {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

impl Dependence {
    pub(super) const ALL: [Self; 3] =
        [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    /// Whether `one` and `other` are the same to it.
    fn same(self, one: SocketAddr, other: SocketAddr) -> bool {
        match self {
            Self::EndpointIndependent => true,
            Self::AddressDependent => one.ip() == other.ip(),
            Self::AddressAndPortDependent => one == other,
        }
    }
}

/// Remote endpoints that a mapping remembers to have been sent to.
const REMOTES_MAX: usize = 64;

/// One NAT, with one external address.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) external: IpAddr,
    pub(super) mapping: Dependence,
    pub(super) filtering: Dependence,
    pub(super) preserves_ports: bool,
    pub(super) hairpins: bool,
    /// A mapping that nothing went out by for so long is gone.
    pub(super) timeout: Micros,
    next_port: u16,
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    inner: SocketAddr,
    /// The first one that it was made for.
    remote: SocketAddr,
    port: u16,
    until: Micros,
    sent_to: Vec<SocketAddr>,
}

impl Nat {
    pub(super) fn draw(dice: &mut Dice, external: IpAddr) -> Self {
        Self {
            external,
            mapping: dice.pick(&Dependence::ALL),
            filtering: dice.pick(&Dependence::ALL),
            preserves_ports: dice.chance(500),
            hairpins: dice.chance(500),
            timeout: dice.pick(&[15, 30, 120, 300]) * SECOND,
            next_port: 20_000,
            mappings: Vec::new(),
        }
    }

    /// The source that a packet of `inner` for `remote` has outside.
    pub(super) fn outbound(&mut self, now: Micros, inner: SocketAddr, remote: SocketAddr) -> SocketAddr {
        self.mappings.retain(|mapping| mapping.until > now);
        let (mapping, timeout) = (self.mapping, self.timeout);
        let fits = |each: &&mut Mapping| each.inner == inner && mapping.same(each.remote, remote);
        if let Some(there) = self.mappings.iter_mut().find(fits) {
            there.until = now + timeout;
            if !there.sent_to.contains(&remote) {
                there.sent_to.truncate(REMOTES_MAX - 1);
                there.sent_to.push(remote);
            }
            return SocketAddr::new(self.external, there.port);
        }
        let port = self.free_port(inner.port());
        let sent_to = vec![remote];
        self.mappings.push(Mapping { inner, remote, port, until: now + timeout, sent_to });
        SocketAddr::new(self.external, port)
    }

    /// Who inside gets a packet from `remote` that came to the external `port`.
    pub(super) fn inbound(&mut self, now: Micros, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.mappings.retain(|mapping| mapping.until > now);
        let there = self.mappings.iter().find(|mapping| mapping.port == port)?;
        let passes = there.sent_to.iter().any(|sent_to| self.filtering.same(*sent_to, remote));
        passes.then_some(there.inner)
    }

    /// Forgets everything, as after a power cut.
    pub(super) fn forget(&mut self) {
        self.mappings.clear();
    }

    fn free_port(&mut self, wanted: u16) -> u16 {
        let taken = |mappings: &[Mapping], port| mappings.iter().any(|mapping| mapping.port == port);
        if self.preserves_ports && !taken(&self.mappings, wanted) {
            return wanted;
        }
        loop {
            self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
            if !taken(&self.mappings, self.next_port) {
                return self.next_port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(mapping: Dependence, filtering: Dependence) -> Nat {
        let mut nat = Nat::draw(&mut Dice::new(1), "203.0.113.1".parse().unwrap());
        (nat.mapping, nat.filtering, nat.preserves_ports, nat.timeout) =
            (mapping, filtering, false, 30 * SECOND);
        nat
    }

    const INNER: &str = "10.0.0.2:5000";

    #[test]
    fn each_way_of_mapping_gives_a_new_port_when_it_should() {
        for (mapping, ports) in [
            (Dependence::EndpointIndependent, 1),
            (Dependence::AddressDependent, 2),
            (Dependence::AddressAndPortDependent, 3),
        ] {
            let mut nat = nat(mapping, Dependence::EndpointIndependent);
            let mut seen: Vec<_> = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"]
                .map(|remote| nat.outbound(0, at(INNER), at(remote)))
                .into();
            assert_eq!(nat.outbound(1, at(INNER), at("192.0.2.1:1")), seen[0], "it stays");
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), ports, "{mapping:?}");
        }
    }

    #[test]
    fn each_way_of_filtering_lets_in_whom_it_should() {
        for (filtering, passing) in [
            (Dependence::EndpointIndependent, [true, true, true]),
            (Dependence::AddressDependent, [true, true, false]),
            (Dependence::AddressAndPortDependent, [true, false, false]),
        ] {
            let mut nat = nat(Dependence::EndpointIndependent, filtering);
            let outside = nat.outbound(0, at(INNER), at("192.0.2.1:1"));
            let passed = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"]
                .map(|remote| nat.inbound(1, at(remote), outside.port()) == Some(at(INNER)));
            assert_eq!(passed, passing, "{filtering:?}");
        }
    }

    #[test]
    fn a_mapping_lives_by_what_goes_out_and_dies_in_time() {
        let mut nat = nat(Dependence::EndpointIndependent, Dependence::EndpointIndependent);
        let outside = nat.outbound(0, at(INNER), at("192.0.2.1:1"));
        assert!(nat.inbound(29 * SECOND, at("192.0.2.1:1"), outside.port()).is_some());
        assert_eq!(nat.outbound(29 * SECOND, at(INNER), at("192.0.2.1:1")), outside);
        assert!(nat.inbound(58 * SECOND, at("192.0.2.1:1"), outside.port()).is_some());
        assert_eq!(nat.inbound(59 * SECOND, at("192.0.2.1:1"), outside.port()), None);
        assert_ne!(nat.outbound(60 * SECOND, at(INNER), at("192.0.2.1:1")), outside);
    }

    #[test]
    fn a_port_is_kept_where_it_can_be() {
        let mut nat = nat(Dependence::EndpointIndependent, Dependence::EndpointIndependent);
        nat.preserves_ports = true;
        assert_eq!(nat.outbound(0, at(INNER), at("192.0.2.1:1")).port(), 5_000);
        assert_ne!(nat.outbound(0, at("10.0.0.3:5000"), at("192.0.2.1:1")).port(), 5_000);
    }
}
