//! What the admin door is shown, copied out of the running server at each request.

use std::fmt;
use std::sync::Arc;

use crate::control::view::ControlView;
use crate::control::view::OUTCOMES;
use crate::proto::media::DropReason;
use crate::proto::types::Tick;

use super::AcmeSnapshot;
use super::MrasSnapshot;
use super::PeersSnapshot;
use super::StreamsSnapshot;

/// One worker's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Whether its thread runs.
    pub live: bool,
    /// Packets dropped, in the order of [`DropReason::ALL`].
    pub drops: Vec<u64>,
    /// Answers to strangers that the worker gave by itself: success first, then each error code, in the order of
    /// [`crate::control::view::outcome_index`].
    pub greetings: Vec<u64>,
    /// Datagrams that came to its listeners.
    pub from_client_packets: u64,
    /// Datagrams that came to its relay sockets.
    pub from_peer_packets: u64,
    /// Packets from clients that left towards peers.
    pub to_peer_packets: u64,
    /// Their application data in bytes.
    pub to_peer_bytes: u64,
    /// Packets from peers that left towards clients.
    pub to_client_packets: u64,
    /// Their application data in bytes.
    pub to_client_bytes: u64,
    /// Datagrams that its listeners lost in the kernel for want of room.
    pub listener_losses: u64,
    /// Datagrams that its relay sockets lost in the kernel for want of room.
    pub relay_losses: u64,
    /// Errors that a socket told when it was read.
    pub receive_errors: u64,
    /// Relay sockets that are open.
    pub relay_sockets: u64,
    /// Times that it woke.
    pub wakeups: u64,
    /// Batches of datagrams that it read.
    pub batches: u64,
    /// Binding answers that left from another address or went to another port than the request's.
    pub answers_elsewhere: u64,
    /// Times that it panicked and was started anew.
    pub panics: u64,
    /// Clients' connections that are open.
    pub streams: u64,
    /// Clients' connections that ended, by reason.
    pub stream_ends: Vec<(&'static str, u64)>,
    /// Times that a connection was not read because its request found no room.
    pub streams_parked: u64,
    /// Associations of DTLS that there are.
    pub dtls_associations: u64,
    /// What became of clients over DTLS.
    pub dtls: Vec<(&'static str, u64)>,
    /// Its peers' connections.
    pub peers: PeersSnapshot,
    /// The rings between the worker and the control task.
    pub rings: Vec<RingSnapshot>,
    /// What of `to_peer_packets` and `to_client_packets` was relayed in the kernel, by direction.
    pub kernel_packets: [u64; 2],
}

/// How full a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSnapshot {
    /// Which: the label of the metric.
    pub name: &'static str,
    /// Places taken.
    pub fill: u64,
    /// Places in all.
    pub capacity: u64,
}

impl WorkerSnapshot {
    /// A live worker that has done nothing yet.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            live: true,
            drops: vec![0; DropReason::ALL.len()],
            greetings: vec![0; OUTCOMES],
            ..Self::default()
        }
    }
}

/// Where the admin door reads. Each call is one look; none of them may block.
#[derive(Clone)]
pub struct Sources {
    /// The control task's counters.
    pub control: Arc<ControlView>,
    /// Copies the counters of every worker, worker 0 first.
    pub workers: Arc<dyn Fn() -> Vec<WorkerSnapshot> + Send + Sync>,
    /// Copies the counters of the listening task.
    pub streams: Arc<dyn Fn() -> StreamsSnapshot + Send + Sync>,
    /// Copies the counters of the doors of the MRAS service.
    pub mras: Arc<dyn Fn() -> MrasSnapshot + Send + Sync>,
    /// Copies the counters of certificates that are ordered.
    pub acme: Arc<dyn Fn() -> AcmeSnapshot + Send + Sync>,
    /// The monotonic clock by which [`ControlView::alive`] is told.
    pub clock: Arc<dyn Fn() -> Tick + Send + Sync>,
    /// What the relay ports stand on: the word of the configuration.
    pub path: &'static str,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("control", &self.control).finish_non_exhaustive()
    }
}
