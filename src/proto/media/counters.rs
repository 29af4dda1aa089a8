//! What one allocation carried.

/// Packets and application-data bytes of one allocation, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets from the client that left towards a peer.
    pub to_peer_packets: u64,
    /// Their application data in bytes.
    pub to_peer_bytes: u64,
    /// Packets from a peer that left towards the client.
    pub to_client_packets: u64,
    /// Their application data in bytes.
    pub to_client_bytes: u64,
}

impl Counters {
    /// Adds what another part of the same allocation carried.
    pub const fn add(&mut self, other: Self) {
        self.to_peer_packets = self.to_peer_packets.saturating_add(other.to_peer_packets);
        self.to_peer_bytes = self.to_peer_bytes.saturating_add(other.to_peer_bytes);
        self.to_client_packets = self.to_client_packets.saturating_add(other.to_client_packets);
        self.to_client_bytes = self.to_client_bytes.saturating_add(other.to_client_bytes);
    }
}
