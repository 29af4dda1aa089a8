//! Which relay has which port, for packets that one relay of a worker sends to another: looked up by address and port.

use std::net::IpAddr;
use std::net::SocketAddr;

/// The ports of a worker, by relayed address. There are few addresses, so they are looked through.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<(IpAddr, Box<[u32]>)>);

impl Ports {
    /// The relay at this index has `at` from here on.
    pub(super) fn give(&mut self, at: SocketAddr, index: u32) {
        let place = self.0.iter().position(|(ip, _)| *ip == at.ip()).unwrap_or_else(|| {
            // Zeroes that are never looked at take no memory.
            self.0.push((at.ip(), vec![0; 1 << 16].into()));
            self.0.len() - 1
        });
        self.0[place].1[usize::from(at.port())] = index + 1;
    }

    /// The relay at this index has `at` no longer, if it had.
    pub(super) fn take(&mut self, at: SocketAddr, index: u32) {
        let ports = self.0.iter_mut().find(|(ip, _)| *ip == at.ip());
        if let Some(owner) = ports.map(|(_, ports)| &mut ports[usize::from(at.port())])
            && *owner == index + 1
        {
            *owner = 0;
        }
    }

    /// The index of the relay that has `at`.
    pub(super) fn owner(&self, at: SocketAddr) -> Option<u32> {
        let (_, ports) = self.0.iter().find(|(ip, _)| *ip == at.ip())?;
        ports[usize::from(at.port())].checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_relay_s_at_one_address_until_that_relay_gives_it_back() {
        let [one, other, v6] = ["192.0.2.1:5000", "192.0.2.2:5000", "[2001:db8::1]:5000"]
            .map(|text| text.parse::<SocketAddr>().expect("a literal"));
        let mut ports = Ports::default();
        assert_eq!(ports.owner(one), None);
        ports.give(one, 0);
        ports.give(v6, 7);
        assert_eq!([one, other, v6].map(|at| ports.owner(at)), [Some(0), None, Some(7)]);
        // Somebody else has it by now.
        ports.give(one, 3);
        ports.take(one, 0);
        ports.take(other, 0);
        assert_eq!(ports.owner(one), Some(3));
        ports.take(one, 3);
        assert_eq!(ports.owner(one), None);
    }
}
