//! Which relayed addresses of this server are live: of each IP address a bit for each port. There are few addresses, and
//! tens of thousands of ports, so a live one costs next to nothing, and the question whether one lives is one look.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::proto::types::Few;
use crate::proto::types::limits::RELAY_ADDRESSES_MAX;

use super::OwnRelays;

const WORDS: usize = (1 << 16) / 64;

/// The relayed transport addresses of live allocations, as peers name them. At most [`RELAY_ADDRESSES_MAX`] IP addresses:
/// more are not taken in.
#[derive(Debug)]
pub struct LiveRelays {
    addresses: Few<IpAddr, Ports>,
    len: usize,
}

#[derive(Debug)]
struct Ports {
    live: Box<[u64; WORDS]>,
    count: u32,
}

impl LiveRelays {
    /// None.
    #[must_use]
    pub const fn new(hasher: Arc<RandomState>) -> Self {
        Self { addresses: Few::new(hasher), len: 0 }
    }

    /// How many live.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none lives.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// From here on `address` lives.
    pub fn insert(&mut self, address: SocketAddr) {
        let ip = address.ip();
        if !self.addresses.contains(&ip) {
            if self.addresses.len() >= RELAY_ADDRESSES_MAX {
                return;
            }
            self.addresses.insert(ip, Ports { live: Box::new([0; WORDS]), count: 0 });
        }
        let Some(ports) = self.addresses.get_mut(&ip) else { return };
        let (word, bit) = place(address.port());
        if ports.live[word] & bit == 0 {
            ports.live[word] |= bit;
            ports.count += 1;
            self.len += 1;
        }
    }

    /// From here on it does not.
    pub fn remove(&mut self, address: SocketAddr) {
        let ip = address.ip();
        let Some(ports) = self.addresses.get_mut(&ip) else { return };
        let (word, bit) = place(address.port());
        if ports.live[word] & bit != 0 {
            ports.live[word] &= !bit;
            ports.count -= 1;
            self.len -= 1;
            if ports.count == 0 {
                self.addresses.remove(&ip);
            }
        }
    }

    /// All of them, in no order that means anything.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().flat_map(|(ip, ports)| {
            let lives = |port: &u16| {
                let (word, bit) = place(*port);
                ports.live[word] & bit != 0
            };
            (0..=u16::MAX).filter(lives).map(|port| SocketAddr::new(*ip, port))
        })
    }
}

impl OwnRelays for LiveRelays {
    fn is_live(&self, address: SocketAddr) -> bool {
        let (word, bit) = place(address.port());
        let lives = self.addresses.get(&address.ip()).is_some_and(|ports| ports.live[word] & bit != 0);
        // One with a scope is another address; relayed ones have none.
        lives && !matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0)
    }
}

fn place(port: u16) -> (usize, u64) {
    (usize::from(port / 64), 1 << (port % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn none() -> LiveRelays {
        LiveRelays::new(Arc::new(RandomState::with_seeds(1, 2, 3, 4)))
    }

    #[test]
    fn addresses_are_bounded_and_forgotten_with_their_last_port() {
        let nth = |n: usize| SocketAddr::new(Ipv4Addr::from_bits(n as u32).into(), 50_000);
        let mut live = none();
        (0..=RELAY_ADDRESSES_MAX).for_each(|n| live.insert(nth(n)));
        assert!(live.is_live(nth(RELAY_ADDRESSES_MAX - 1)) && !live.is_live(nth(RELAY_ADDRESSES_MAX)));
        live.remove(nth(3));
        assert!(!live.is_live(nth(3)));
        live.insert(nth(RELAY_ADDRESSES_MAX));
        assert!(live.is_live(nth(RELAY_ADDRESSES_MAX)), "there is room again");
        assert_eq!(live.len(), RELAY_ADDRESSES_MAX);
    }

    #[test]
    fn another_scope_is_another_address() {
        let mut live = none();
        live.insert("[fe80::1]:7".parse().unwrap());
        assert!(live.is_live("[fe80::1]:7".parse().unwrap()));
        assert!(!live.is_live("[fe80::1%3]:7".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0_u8..4, 0_u16..197), 1..300)) {
            let (mut live, mut set) = (none(), BTreeSet::new());
            for (insert, ip, port) in steps {
                let address = SocketAddr::from(([192, 0, 2, ip], port * 331));
                if insert {
                    live.insert(address);
                    set.insert(address);
                } else {
                    live.remove(address);
                    set.remove(&address);
                }
                prop_assert_eq!(live.is_live(address), insert);
                prop_assert_eq!(live.len(), set.len());
            }
            prop_assert_eq!(live.iter().collect::<BTreeSet<_>>(), set);
        }
    }
}
