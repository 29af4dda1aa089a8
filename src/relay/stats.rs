//! What a worker counts. It alone writes; anyone may read at any time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::proto::media::DropReason;
use crate::proto::wire::ErrorCode;

/// One worker's counters, all since its start. Away from other workers' cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct Stats {
    /// Datagrams that came to listeners, and their bytes.
    pub from_clients: Traffic,
    /// Packets that left towards peers, and their application data.
    pub to_peers: Traffic,
    /// Datagrams that came to relay sockets, and their bytes.
    pub from_peers: Traffic,
    /// Packets that left towards clients, and their application data.
    pub to_clients: Traffic,
    /// Answers that the control task gave and that left.
    pub replies: Counter,
    /// Binding requests of five-tuples without an allocation that the worker answered.
    pub binding_answers: Counter,
    /// Those of them that left from another address or went to another port than the request's (RFC 5780).
    pub answers_elsewhere: Counter,
    /// Datagrams that listeners lost in the kernel for want of room.
    pub listener_losses: Counter,
    /// Datagrams that relay sockets lost in the kernel for want of room.
    pub relay_losses: Counter,
    /// Errors that a socket told when it was read; nothing is lost by one.
    pub receive_errors: Counter,
    /// Relay sockets that are open.
    pub relay_sockets: Counter,
    /// Times that the worker woke.
    pub wakeups: Counter,
    /// Batches of datagrams.
    pub batches: Counter,
    /// Connections of clients that are open.
    pub streams: Counter,
    /// Connections that the listening task handed over.
    pub streams_taken_in: Counter,
    /// Times that a connection was not read for a while, because its request found no room with the control task.
    pub streams_parked: Counter,
    stream_ends: [Counter; StreamEnd::ALL.len()],
    /// Clients over DTLS.
    pub dtls: Dtls,
    /// Times that the worker panicked, and was started anew.
    pub panics: Counter,
    /// Relayed ports of TCP that are open.
    pub peer_ports: Counter,
    /// Peers' connections that are there or on their way.
    pub peer_connections: Counter,
    /// Those of them that are joined to a client's.
    pub peer_joined: Counter,
    /// Peers' connections closed at once, for want of a permission or of room.
    pub peer_refused: Counter,
    /// Times that a pair of connections was not read for a while, because of its bandwidth.
    pub peer_held_back: Counter,
    /// Bytes of clients that went into peers' connections.
    pub to_connections: Counter,
    /// Bytes of peers' connections that went to clients.
    pub from_connections: Counter,
    /// Packets that a program in the kernel relayed towards peers for allocations of this worker, and their application data:
    /// a second or some old.
    pub kernel_to_peers: Traffic,
    /// The same towards clients.
    pub kernel_to_clients: Traffic,
    /// What it shall fall over.
    #[cfg(feature = "fault-injection")]
    pub fault: super::fault::Fault,
    ended: Counter,
    drops: [Counter; DropReason::ALL.len()],
    error_answers: [Counter; ErrorCode::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            from_clients: Traffic::default(),
            to_peers: Traffic::default(),
            from_peers: Traffic::default(),
            to_clients: Traffic::default(),
            replies: Counter::default(),
            binding_answers: Counter::default(),
            answers_elsewhere: Counter::default(),
            listener_losses: Counter::default(),
            relay_losses: Counter::default(),
            receive_errors: Counter::default(),
            relay_sockets: Counter::default(),
            wakeups: Counter::default(),
            batches: Counter::default(),
            streams: Counter::default(),
            streams_taken_in: Counter::default(),
            streams_parked: Counter::default(),
            stream_ends: std::array::from_fn(|_| Counter::default()),
            dtls: Dtls::default(),
            panics: Counter::default(),
            peer_ports: Counter::default(),
            peer_connections: Counter::default(),
            peer_joined: Counter::default(),
            peer_refused: Counter::default(),
            peer_held_back: Counter::default(),
            to_connections: Counter::default(),
            from_connections: Counter::default(),
            kernel_to_peers: Traffic::default(),
            kernel_to_clients: Traffic::default(),
            #[cfg(feature = "fault-injection")]
            fault: super::fault::Fault::default(),
            ended: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            error_answers: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Stats {
    /// Whether the worker has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended.get() == 0
    }

    pub(super) fn end(&self) {
        self.ended.set(1);
    }

    /// Packets that went nowhere for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()].get()
    }

    /// Error answers with this code that the worker gave to five-tuples without an allocation.
    #[must_use]
    pub fn error_answers(&self, code: ErrorCode) -> u64 {
        place(code).map_or(0, |place| self.error_answers[place].get())
    }

    /// Connections that ended for this reason.
    #[must_use]
    pub fn stream_ends(&self, why: StreamEnd) -> u64 {
        self.stream_ends[why as usize].get()
    }

    pub(super) fn count_stream_end(&self, why: StreamEnd) {
        self.stream_ends[why as usize].add(1);
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        self.drops[reason.index()].add(1);
    }

    /// The same of several packets, or of such as went nowhere elsewhere than here.
    pub(super) fn count_drops(&self, reason: DropReason, more: u64) {
        self.drops[reason.index()].add(more);
    }

    pub(super) fn count_answer(&self, code: Option<ErrorCode>) {
        match code.and_then(place) {
            Some(place) => self.error_answers[place].add(1),
            None => self.binding_answers.add(1),
        }
    }
}

fn place(code: ErrorCode) -> Option<usize> {
    ErrorCode::ALL.binary_search(&code).ok()
}

/// Why a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The client ended it.
    Client,
    /// An error of the network, or of TLS.
    Failed,
    /// Bytes that are no frame.
    Framing,
    /// It had no allocation and asked for nothing for too long.
    Idle,
    /// It read none of its answers, until there was no room for them.
    Overrun,
    /// Its worker met a bug while it looked at its bytes.
    Panic,
}

impl StreamEnd {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::Failed, Self::Framing, Self::Idle, Self::Overrun, Self::Panic];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Failed => "failed",
            Self::Framing => "framing",
            Self::Idle => "idle",
            Self::Overrun => "overrun",
            Self::Panic => "panic",
        }
    }
}

/// Clients over DTLS; all zero in a program that was built without the feature.
#[derive(Debug, Default)]
pub struct Dtls {
    /// Associations that there are.
    pub associations: Counter,
    /// Clients that were asked for a cookie.
    pub cookies: Counter,
    /// Associations that began.
    pub begun: Counter,
    /// Clients that were turned away: no place, or no common ground.
    pub refused: Counter,
    /// Associations that ended.
    pub ended: Counter,
}

/// Packets and bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: Counter,
    /// Bytes.
    pub bytes: Counter,
}

impl Traffic {
    pub(super) fn add(&self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }
}

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number, perhaps a moment old.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the owning worker may call this: a load and a store, so that no packet pays for a locked instruction.
    pub(super) fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Only the owning worker may call this.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_code_has_its_own_counter() {
        let stats = Stats::default();
        for (count, reason) in DropReason::ALL.iter().enumerate() {
            (0..=count).for_each(|_| stats.count_drop(*reason));
        }
        for (count, code) in ErrorCode::ALL.iter().enumerate() {
            (0..=count).for_each(|_| stats.count_answer(Some(*code)));
        }
        for (count, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(stats.dropped(*reason), count);
        }
        for (count, code) in (1..).zip(ErrorCode::ALL) {
            assert_eq!(stats.error_answers(code), count);
        }
        assert_eq!(stats.binding_answers.get(), 0);
        stats.count_answer(None);
        assert_eq!(stats.binding_answers.get(), 1);
    }
}
