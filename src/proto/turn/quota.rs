//! How many allocations somebody has.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::net::Ipv6Addr;

use crate::proto::types::ClientAddr;

/// Counts per `K` up to a ceiling. A `K` with no allocation takes no memory.
#[derive(Debug)]
pub(super) struct Quota<K> {
    /// 0 for none.
    max: u32,
    counts: HashMap<K, u32, ahash::RandomState>,
}

impl<K: Eq + Hash + Clone> Quota<K> {
    pub(super) fn new(max: u32, hasher: ahash::RandomState) -> Self {
        Self { max, counts: HashMap::with_hasher(hasher) }
    }

    /// Sets another ceiling. Those who have more keep what they have.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max;
    }

    /// Whether one more would be too many.
    pub(super) fn is_reached(&self, whose: &K) -> bool {
        self.max != 0 && self.counts.get(whose).is_some_and(|count| *count >= self.max)
    }

    pub(super) fn add(&mut self, whose: &K) {
        *self.counts.entry(whose.clone()).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, whose: &K) {
        let Some(count) = self.counts.get_mut(whose) else {
            debug_assert!(false, "more removed than added");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(whose);
        }
    }

    /// How many `whose` has.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn count(&self, whose: &K) -> u32 {
        self.counts.get(whose).copied().unwrap_or(0)
    }

    /// How many have at least one.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 address.
#[must_use]
pub(super) fn source(client: ClientAddr) -> IpAddr {
    match client.ip() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(max: u32) -> Quota<u8> {
        Quota::new(max, ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn the_ceiling_counts_each_on_its_own() {
        let mut quota = quota(2);
        quota.add(&1);
        quota.add(&1);
        assert!(quota.is_reached(&1));
        assert!(!quota.is_reached(&2));
        quota.remove(&1);
        assert!(!quota.is_reached(&1));
    }

    #[test]
    fn whoever_has_none_takes_no_memory() {
        let mut quota = quota(2);
        quota.add(&1);
        quota.remove(&1);
        assert_eq!(quota.len(), 0);
    }

    #[test]
    fn zero_is_no_ceiling() {
        let mut quota = quota(0);
        for _ in 0..1_000 {
            quota.add(&1);
        }
        assert!(!quota.is_reached(&1));
    }

    #[test]
    fn an_ipv6_client_cannot_escape_within_its_64() {
        let client = |text: &str| ClientAddr::new(text.parse().expect("an address"));
        assert_eq!(source(client("[2001:db8::1]:1")), source(client("[2001:db8::ffff:0:0:2]:2")));
        assert_ne!(source(client("[2001:db8::1]:1")), source(client("[2001:db8:0:1::1]:1")));
        assert_ne!(source(client("192.0.2.1:1")), source(client("192.0.2.2:1")));
    }
}
