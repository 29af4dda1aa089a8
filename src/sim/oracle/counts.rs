//! What each allocation carried, counted where it passes, and compared with what people are told when it has ended.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::proto::media::Counters;
use crate::proto::types::RelayId;

use super::Oracle;

#[derive(Debug, Default)]
pub(super) struct Counts {
    of: BTreeMap<u64, Counters>,
    /// Allocations of which a worker had numbers in its hands when it fell.
    incomplete: BTreeSet<u64>,
}

impl Oracle {
    /// So many bytes of application data leave the relayed address of `relay` for a peer.
    pub(in crate::sim) fn count_to_peer(&mut self, relay: RelayId, bytes: usize) {
        let once = Counters { to_peer_packets: 1, to_peer_bytes: bytes as u64, ..Counters::default() };
        self.count(relay, once);
    }

    /// So many bytes of application data came to the relayed address of `relay` and leave for its client.
    pub(in crate::sim) fn count_to_client(&mut self, relay: RelayId, bytes: usize) {
        let once = Counters { to_client_packets: 1, to_client_bytes: bytes as u64, ..Counters::default() };
        self.count(relay, once);
    }

    fn count(&mut self, relay: RelayId, once: Counters) {
        if let Some(serial) = self.serial_of(relay) {
            self.counts.of.entry(serial).or_default().add(once);
        }
    }

    /// A worker fell with the numbers of `relay` in its hands.
    pub(in crate::sim) fn lose_counts(&mut self, relay: RelayId) {
        self.counts.incomplete.extend(self.serial_of(relay));
    }

    /// The allocation of this number has ended, and people are told that it carried `told`.
    pub(super) fn compare_counts(&mut self, serial: u64, told: Counters) -> Result<(), String> {
        let seen = self.counts.of.remove(&serial).unwrap_or_default();
        let is_incomplete = self.counts.incomplete.remove(&serial);
        let at_most = told.to_peer_packets <= seen.to_peer_packets
            && told.to_peer_bytes <= seen.to_peer_bytes
            && told.to_client_packets <= seen.to_client_packets
            && told.to_client_bytes <= seen.to_client_bytes;
        if told == seen || is_incomplete && at_most {
            return Ok(());
        }
        Err(format!("an allocation carried {seen:?}, and what is told is {told:?}"))
    }
}
