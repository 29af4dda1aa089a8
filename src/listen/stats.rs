//! What the listening task counts. It alone writes; anyone may read at any time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::net::Full;
use crate::proto::types::Transport;
use crate::proto::wire::Verdict;

use super::web::WebStats;

/// Counters, all since the start.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    full: [AtomicU64; 2],
    /// What was found in the clear, inside TLS, and behind the hellos of pseudo-TLS.
    verdicts: [[AtomicU64; Verdict::ALL.len()]; 3],
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    handed_over: [AtomicU64; 2],
    web: Arc<WebStats>,
}

/// Where first bytes were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// At the beginning of the connection.
    Outer,
    /// Inside TLS.
    Inner,
    /// Behind the hellos of pseudo-TLS, which hide nothing.
    Disguised,
}

impl Layer {
    /// All.
    pub const ALL: [Self; 3] = [Self::Outer, Self::Inner, Self::Disguised];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outer => "tcp",
            Self::Inner => "tls",
            Self::Disguised => "pseudo_tls",
        }
    }
}

/// Why a connection was closed before a worker got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// What it speaks is not served here.
    NotServed,
    /// It did not show in time what it speaks.
    SniffDeadline,
    /// Its handshake took too long.
    HandshakeDeadline,
    /// Its first message took too long.
    MessageDeadline,
    /// The client left.
    Left,
    /// An error of the network.
    Failed,
    /// No handshake was possible.
    Handshake,
    /// A ClientHello that is none, or too long.
    Hello,
    /// TLS, and there is no certificate.
    NoCertificate,
    /// Its first message is none, or too long.
    Framing,
    /// No worker had room for it in time.
    WorkersBusy,
    /// It comes from a trusted proxy and begins with no PROXY header, or with a broken one.
    ProxyHeader,
    /// It comes from a trusted proxy, whose header took too long.
    ProxyDeadline,
    /// There are as many connections to web sites as there may be, in all or of this source.
    WebFull,
    /// It came from a certificate authority, which has its answer.
    Challenge,
}

impl TurnedAway {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::NotServed,
        Self::SniffDeadline,
        Self::HandshakeDeadline,
        Self::MessageDeadline,
        Self::Left,
        Self::Failed,
        Self::Handshake,
        Self::Hello,
        Self::NoCertificate,
        Self::Framing,
        Self::WorkersBusy,
        Self::ProxyHeader,
        Self::ProxyDeadline,
        Self::WebFull,
        Self::Challenge,
    ];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotServed => "not_served",
            Self::SniffDeadline => "sniff_deadline",
            Self::HandshakeDeadline => "handshake_deadline",
            Self::MessageDeadline => "message_deadline",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Handshake => "handshake",
            Self::Hello => "hello",
            Self::NoCertificate => "no_certificate",
            Self::Framing => "framing",
            Self::WorkersBusy => "workers_busy",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyDeadline => "proxy_deadline",
            Self::WebFull => "web_full",
            Self::Challenge => "acme_challenge",
        }
    }
}

/// Reasons of [`Full`], with the word of the metric's label.
pub const FULL: [(Full, &str); 2] = [(Full::Total, "total"), (Full::Source, "address")];

impl Stats {
    /// Connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times that the kernel could not give a connection, as for want of descriptors.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections closed at once because there were as many as there may be.
    #[must_use]
    pub fn full(&self, why: Full) -> u64 {
        self.full[why as usize].load(Ordering::Relaxed)
    }

    /// Connections that were found to speak this.
    #[must_use]
    pub fn verdicts(&self, layer: Layer, verdict: Verdict) -> u64 {
        self.verdicts[layer as usize][verdict.index()].load(Ordering::Relaxed)
    }

    /// Connections closed for this reason.
    #[must_use]
    pub fn turned_away(&self, why: TurnedAway) -> u64 {
        self.turned_away[why as usize].load(Ordering::Relaxed)
    }

    /// Connections handed over to workers.
    #[must_use]
    pub fn handed_over(&self, transport: Transport) -> u64 {
        self.handed_over[usize::from(transport == Transport::Tls)].load(Ordering::Relaxed)
    }

    /// What is counted of connections to web sites.
    #[must_use]
    pub fn web(&self) -> &Arc<WebStats> {
        &self.web
    }

    pub(super) fn count_accepted(&self) {
        add(&self.accepted);
    }

    pub(super) fn count_accept_error(&self) {
        add(&self.accept_errors);
    }

    pub(super) fn count_full(&self, why: Full) {
        add(&self.full[why as usize]);
    }

    pub(super) fn count_verdict(&self, layer: Layer, verdict: Verdict) {
        add(&self.verdicts[layer as usize][verdict.index()]);
    }

    pub(super) fn count_turned_away(&self, why: TurnedAway) {
        add(&self.turned_away[why as usize]);
    }

    pub(super) fn count_handed_over(&self, transport: Transport) {
        add(&self.handed_over[usize::from(transport == Transport::Tls)]);
    }
}

/// One thread writes, so no locked instruction is needed.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}
