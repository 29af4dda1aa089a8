//! The metrics of peers' connections with TCP allocations (RFC 6062).

use crate::control::view::peer_words;

use super::metrics::Family;
use super::metrics::Scrape;

/// One worker's counters of peers' connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeersSnapshot {
    /// Connections that are joined to a client's.
    pub joined: u64,
    /// Connections that are not: on their way, or waiting for their client.
    pub waiting: u64,
    /// Connections closed at once.
    pub refused: u64,
    /// Times that a pair was not read for a while, because of its bandwidth.
    pub held_back: u64,
    /// Bytes from clients to peers.
    pub to_peer_bytes: u64,
    /// Bytes from peers to clients.
    pub to_client_bytes: u64,
}

impl Scrape {
    pub(super) fn peers(&self) -> Vec<Family> {
        let control = &self.control;
        let mut events = Family::new("swingbridge_peer_events_total", "What became of peers' connections");
        for (word, count) in peer_words().into_iter().zip(control.peer_moments) {
            events = events.with([("what", word.to_owned())], count);
        }
        let ports = control.ports_tcp;
        let mut by_state = Family::new("swingbridge_tcp_ports", "Relay ports of TCP, by state");
        for (state, count) in [("free", ports.free), ("used", ports.used), ("quarantined", ports.quarantined)]
        {
            by_state = by_state.with([("state", state.to_owned())], count);
        }
        vec![
            events,
            by_state,
            self.per_worker_and(
                "swingbridge_peer_connections",
                "Peers' connections, by state",
                "state",
                |worker| vec![("joined", worker.peers.joined), ("waiting", worker.peers.waiting)],
            ),
            self.per_worker(
                "swingbridge_peer_refused_total",
                "Peers' connections closed at once",
                |worker| worker.peers.refused,
            ),
            self.per_worker(
                "swingbridge_peer_held_back_total",
                "Times that a pair of connections was not read because of its bandwidth",
                |worker| worker.peers.held_back,
            ),
            self.per_worker_and(
                "swingbridge_peer_bytes_total",
                "Bytes on peers' connections",
                "direction",
                |worker| {
                    vec![("to_peer", worker.peers.to_peer_bytes), ("to_client", worker.peers.to_client_bytes)]
                },
            ),
        ]
    }
}
