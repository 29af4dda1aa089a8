//! How long data may be sent by the nominated pair: as long as the other side answers checks there (RFC 7675 § 5.1).
//!
//! The crate `is` makes the checks, one in three seconds at most, and gives up a pair whose checks are not answered; but it keeps
//! one by which the other side's checks still come, answered or not. Consent is an answer, so the 30 seconds are kept here.

use std::net::SocketAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::limits::ICE_CONSENT_SPAN;

/// Until when the other side has consented, on which pair.
#[derive(Debug, Default)]
pub(super) struct Consent {
    pair: Option<(SocketAddr, SocketAddr)>,
    until: Option<Deadline>,
}

impl Consent {
    /// Data goes by this pair from here on: that it was nominated is consent (§ 5.1).
    pub(super) fn begin(&mut self, now: Now, base: SocketAddr, peer: SocketAddr) {
        self.pair = Some((base, peer));
        self.until = Some(now.after(ICE_CONSENT_SPAN));
    }

    /// A check was answered there, rightly signed.
    pub(super) fn answered(&mut self, now: Now, base: SocketAddr, peer: SocketAddr) {
        if self.pair == Some((base, peer)) {
            self.until = Some(now.after(ICE_CONSENT_SPAN));
        }
    }

    /// When it expires; `None`: nothing is sent yet.
    pub(super) const fn until(&self) -> Option<Deadline> {
        self.until
    }

    /// Whether it has expired.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.until.is_some_and(|until| until.is_due(now.tick()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_lasts_thirty_seconds_from_the_last_answer_on_its_own_pair() {
        let now = |secs| Now { since_start: Duration::from_secs(secs), unix: 0 };
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut consent = Consent::default();
        consent.answered(now(0), at(1), at(2));
        assert!(consent.until().is_none() && !consent.is_over(now(99)));
        consent.begin(now(10), at(1), at(2));
        assert!(!consent.is_over(now(39)) && consent.is_over(now(40)));
        consent.answered(now(20), at(1), at(3));
        assert!(consent.is_over(now(40)), "another pair says nothing of this one");
        consent.answered(now(20), at(1), at(2));
        assert!(!consent.is_over(now(49)) && consent.is_over(now(50)));
        consent.begin(now(50), at(1), at(3));
        assert!(!consent.is_over(now(79)) && consent.is_over(now(80)));
    }
}
