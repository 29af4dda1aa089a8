//! What is counted of connections to web sites. Each counter has one thread that writes it; anyone may read.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Counters, all since the start.
#[derive(Debug, Default)]
pub struct WebStats {
    begun: [AtomicU64; 2],
    ended: [AtomicU64; WebEnd::ALL.len()],
    bytes: [AtomicU64; 2],
}

/// What somebody comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// HTTP: the web site behind.
    Site,
    /// TLS for a name that is passed through.
    Through,
}

/// Why a connection to a web site ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebEnd {
    /// Both sides were done.
    Done,
    /// There is no web site.
    NotFound,
    /// The web site could not be reached.
    Unreachable,
    /// Nothing was carried for too long.
    Idle,
    /// An error of the network, on either side.
    Failed,
}

impl Errand {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Site, Self::Through];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Site => "upstream",
            Self::Through => "passthrough",
        }
    }
}

impl WebEnd {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Done, Self::NotFound, Self::Unreachable, Self::Idle, Self::Failed];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::Idle => "idle",
            Self::Failed => "failed",
        }
    }
}

impl WebStats {
    /// Connections that came for this.
    #[must_use]
    pub fn begun(&self, errand: Errand) -> u64 {
        self.begun[errand as usize].load(Ordering::Relaxed)
    }

    /// Connections that ended for this reason.
    #[must_use]
    pub fn ended(&self, why: WebEnd) -> u64 {
        self.ended[why as usize].load(Ordering::Relaxed)
    }

    /// Bytes carried to web sites.
    #[must_use]
    pub fn bytes_to_site(&self) -> u64 {
        self.bytes[0].load(Ordering::Relaxed)
    }

    /// Bytes carried to clients, without what TLS adds.
    #[must_use]
    pub fn bytes_to_client(&self) -> u64 {
        self.bytes[1].load(Ordering::Relaxed)
    }

    pub(super) fn count_begun(&self, errand: Errand) {
        add(&self.begun[errand as usize], 1);
    }

    pub(super) fn count_end(&self, why: WebEnd) {
        add(&self.ended[why as usize], 1);
    }

    pub(super) fn count_bytes(&self, to_site: usize, to_client: usize) {
        add(&self.bytes[0], to_site as u64);
        add(&self.bytes[1], to_client as u64);
    }
}

/// One thread writes, so no locked instruction is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
