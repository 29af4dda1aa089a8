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
