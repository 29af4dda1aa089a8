//! What the doors count. Their thread alone writes; anyone may read at any time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::config::Door;
use super::outcome::Outcome;

/// Counters, all since the start.
#[derive(Debug, Default)]
pub struct Stats {
    ends: [[AtomicU64; End::ALL.len()]; Door::ALL.len()],
    requests: [[AtomicU64; Outcome::ALL.len()]; Door::ALL.len()],
    credentials: [AtomicU64; Door::ALL.len()],
    open: [AtomicU64; Door::ALL.len()],
}

/// How a connection ended: the first group was never let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Closed at once: as many as there may be have not shown yet whose they are.
    FullTotal,
    /// Closed at once: as many of its address have not.
    FullAddress,
    /// The handshake took too long.
    HandshakeDeadline,
    /// There was no handshake.
    Handshake,
    /// The client knows only versions or algorithms that are not spoken any more.
    OldTls,
    /// The client showed no certificate.
    NoCertificate,
    /// Its certificate does not hang from the authority, has ended, or is not one for clients.
    BadCertificate,
    /// Its certificate is good, and for nobody who may come.
    WrongName,
    /// The front end has as many connections as it may have.
    FullFrontEnd,
    /// A reload took the front end, or the authority that it was believed by.
    Forbidden,
    /// The front end left.
    Left,
    /// It was silent for too long.
    Idle,
    /// It took too long to bring a message, or to take an answer.
    Slow,
    /// It said what is no SIP, or no HTTP.
    Broken,
    /// An error of the network.
    Failed,
    /// Its time over HTTPS was up.
    Expired,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 16] = [
        Self::FullTotal,
        Self::FullAddress,
        Self::HandshakeDeadline,
        Self::Handshake,
        Self::OldTls,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::WrongName,
        Self::FullFrontEnd,
        Self::Forbidden,
        Self::Left,
        Self::Idle,
        Self::Slow,
        Self::Broken,
        Self::Failed,
        Self::Expired,
    ];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FullTotal => "full_total",
            Self::FullAddress => "full_address",
            Self::HandshakeDeadline => "handshake_deadline",
            Self::Handshake => "handshake",
            Self::OldTls => "old_tls",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::WrongName => "wrong_name",
            Self::FullFrontEnd => "full_front_end",
            Self::Forbidden => "forbidden",
            Self::Left => "left",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl Stats {
    /// Connections that ended so.
    #[must_use]
    pub fn ends(&self, door: Door, end: End) -> u64 {
        self.ends[door as usize][end as usize].load(Ordering::Relaxed)
    }

    /// Requests that came to this.
    #[must_use]
    pub fn requests(&self, door: Door, outcome: Outcome) -> u64 {
        self.requests[door as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// Credentials that were handed out.
    #[must_use]
    pub fn credentials(&self, door: Door) -> u64 {
        self.credentials[door as usize].load(Ordering::Relaxed)
    }

    /// Connections of front ends that were let in and are open.
    #[must_use]
    pub fn open(&self, door: Door) -> u64 {
        self.open[door as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count_end(&self, door: Door, end: End) {
        add(&self.ends[door as usize][end as usize], 1);
    }

    pub(super) fn count_request(&self, door: Door, outcome: Outcome, credentials: usize) {
        add(&self.requests[door as usize][outcome as usize], 1);
        add(&self.credentials[door as usize], credentials as u64);
    }

    pub(super) fn count_open(&self, door: Door) {
        add(&self.open[door as usize], 1);
    }

    pub(super) fn count_closed(&self, door: Door) {
        let open = &self.open[door as usize];
        open.store(open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

/// One thread writes, so no locked instruction is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_place_of_the_counters_has_its_own_word() {
        for (number, end) in End::ALL.iter().enumerate() {
            assert_eq!(*end as usize, number);
        }
        for (number, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, number);
        }
        for (number, door) in Door::ALL.iter().enumerate() {
            assert_eq!(*door as usize, number);
        }
        assert_eq!(End::ALL.map(End::word).iter().collect::<BTreeSet<_>>().len(), End::ALL.len());
        assert_eq!(Outcome::ALL.map(Outcome::word).iter().collect::<BTreeSet<_>>().len(), Outcome::ALL.len());
    }
}
