//! What control remembers of an allocation's permissions: how many there are. Whether one is good at a given instant
//! is the data plane's to judge.

use std::net::IpAddr;
use std::sync::Arc;

use crate::proto::peers::PeerPolicy;
use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::Few;
use crate::proto::types::Tick;

/// The permissions of one allocation (RFC 8656 § 9): by IP address, whatever the port.
#[derive(Debug)]
pub(super) struct Permissions {
    until: Few<IpAddr, Deadline>,
}

impl Permissions {
    pub(super) const fn new(hasher: Arc<ahash::RandomState>) -> Self {
        Self { until: Few::new(hasher) }
    }

    /// Whether all of `peers` can be permitted at once without passing `max`.
    pub(super) fn have_room(&mut self, tick: Tick, peers: &[IpAddr], max: usize) -> bool {
        if self.len_with(peers) > max {
            self.until.retain(|_, until| !until.is_due(tick));
        }
        self.len_with(peers) <= max
    }

    /// Whether `peer` is permitted at `tick`.
    pub(super) fn permit(&self, tick: Tick, peer: IpAddr) -> bool {
        self.until.get(&peer).is_some_and(|until| !until.is_due(tick))
    }

    /// Drops the permissions for addresses of `family`.
    pub(super) fn forget(&mut self, family: Family) {
        self.until.retain(|peer, _| Family::of(*peer) != family);
    }

    fn len_with(&self, peers: &[IpAddr]) -> usize {
        self.until.len() + peers.iter().filter(|peer| !self.until.contains(peer)).count()
    }

    /// Installs or refreshes a permission. The later end counts, as it does in the tables of workers: what was granted
    /// under a configuration with longer permissions is not forgotten before it is over there.
    pub(super) fn install(&mut self, peer: IpAddr, until: Deadline) {
        let end = self.until.get_or_insert(peer, until);
        *end = until.max(*end);
    }

    /// How many are remembered, their time over or not.
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// Those that live at `tick`, for addresses of `family`: each with its end.
    pub(super) fn live(&self, tick: Tick, family: Family) -> impl Iterator<Item = (IpAddr, Deadline)> {
        let all = self.until.iter().map(|(peer, until)| (*peer, *until));
        all.filter(move |(peer, until)| Family::of(*peer) == family && !until.is_due(tick))
    }

    /// Each address, and the end of its permission in milliseconds.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.until.iter().map(|(peer, until)| (*peer, until.as_millis()))
    }

    /// Takes out at most `max` that live at `tick` and of which `policy` allows no port.
    pub(super) fn take_denied(&mut self, tick: Tick, policy: &PeerPolicy, max: usize) -> Vec<IpAddr> {
        let denied = |(peer, until): (&IpAddr, &Deadline)| {
            (!until.is_due(tick) && !policy.allows_some_port(*peer)).then_some(*peer)
        };
        let denied: Vec<IpAddr> = self.until.iter().filter_map(denied).take(max).collect();
        for peer in &denied {
            self.until.remove(peer);
        }
        denied
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).expect("a small number")))
    }

    #[test]
    fn a_full_house_takes_no_one_new_until_somebody_expires() {
        let mut permissions = Permissions::new(Arc::new(ahash::RandomState::with_seeds(1, 2, 3, 4)));
        let later = Deadline::from_millis(1_000);
        for number in 0..100 {
            permissions.install(peer(number), later);
        }
        let stranger = [peer(9_999_999)];
        assert!(permissions.have_room(Tick::from_millis(999), &stranger, 101));
        assert!(!permissions.have_room(Tick::from_millis(999), &stranger, 100));
        assert!(permissions.have_room(Tick::from_millis(999), &[peer(3)], 100), "a refresh needs no room");
        assert!(permissions.have_room(Tick::from_millis(1_000), &stranger, 100));
    }
}
