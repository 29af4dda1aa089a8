//! One request on its way: what it asks, and when it is repeated (RFC 8489 § 6.2).

use std::net::IpAddr;
use std::time::Duration;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;

/// When a request is repeated and given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The first wait; each further one is twice as long (RTO).
    pub first_wait: Duration,
    /// How often it is sent in all (Rc).
    pub transmissions: u32,
    /// How long it waits after the last one.
    pub last_wait: Duration,
}

impl Timing {
    /// For a transport that loses (RFC 8489 § 6.2.1): RTO 500 ms, Rc 7, Rm 16. A request is given up after 39.5 s.
    pub const DATAGRAMS: Self = Self {
        first_wait: Duration::from_millis(500),
        transmissions: 7,
        last_wait: Duration::from_millis(16 * 500),
    };

    /// For a transport that does not (RFC 8489 § 6.2.2): once, and Ti.
    pub const STREAMS: Self = Self {
        first_wait: Duration::from_millis(39_500),
        transmissions: 1,
        last_wait: Duration::from_millis(39_500),
    };

    /// The wait after the `sent`-th transmission, from 1.
    fn wait_after(&self, sent: u32) -> Duration {
        if sent >= self.transmissions {
            return self.last_wait;
        }
        self.first_wait.saturating_mul(1_u32.checked_shl(sent - 1).unwrap_or(u32::MAX))
    }
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Allocate,
    Refresh,
    /// Refresh with LIFETIME 0.
    Release,
    /// Refresh with MOBILITY-TICKET, from where the client is now.
    Move,
    /// Those of one request are granted or refused together.
    Permit(Vec<IpAddr>),
    Bind(ChannelNumber, PeerAddr),
    /// A connection from the relayed port to this peer (RFC 6062 § 4.3).
    Connect(PeerAddr),
}

impl Ask {
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::Allocate => Method::Allocate,
            Self::Refresh | Self::Release | Self::Move => Method::Refresh,
            Self::Permit(_) => Method::CreatePermission,
            Self::Bind(..) => Method::ChannelBind,
            Self::Connect(_) => Method::Connect,
        }
    }
}

/// A request on its way. What it can ask is its dialect's.
#[derive(Debug)]
pub(super) struct Transaction<A = Ask> {
    pub(super) ask: A,
    pub(super) id: TransactionId,
    pub(super) bytes: Box<[u8]>,
    /// What an answer must be signed with; `None` where the request was not signed.
    pub(super) signed: Option<(MacKey, Algorithm)>,
    /// When it was first sent: whatever the server grants lasts at least from then on.
    pub(super) began: Tick,
    /// Challenges that this ask has met, in earlier transactions.
    pub(super) challenges: u32,
    /// An answer came that could not be trusted.
    pub(super) violated: bool,
    sent: u32,
    next: Deadline,
}

/// What is due of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Repeat,
    GiveUp,
}

impl<A> Transaction<A> {
    pub(super) fn new(
        now: Tick,
        timing: &Timing,
        ask: A,
        id: TransactionId,
        bytes: Box<[u8]>,
        signed: Option<(MacKey, Algorithm)>,
        challenges: u32,
    ) -> Self {
        let next = now.after(timing.wait_after(1));
        Self { ask, id, bytes, signed, began: now, challenges, violated: false, sent: 1, next }
    }

    /// When something is due.
    pub(super) const fn next(&self) -> Deadline {
        self.next
    }

    /// What is due now. A repetition counts as sent.
    pub(super) fn due(&mut self, now: Tick, timing: &Timing) -> Due {
        if !self.next.is_due(now) {
            return Due::Nothing;
        }
        if self.sent >= timing.transmissions {
            return Due::GiveUp;
        }
        self.sent += 1;
        self.next = now.after(timing.wait_after(self.sent));
        Due::Repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(timing: Timing) -> (Vec<u64>, u64) {
        let id = TransactionId::with_cookie([0; 12]);
        let start = Tick::from_millis(0);
        let mut transaction = Transaction::new(start, &timing, Ask::Refresh, id, Box::default(), None, 0);
        let mut sent = vec![0];
        loop {
            let at = transaction.next();
            let before = Tick::from_millis(at.as_millis() - 1);
            assert_eq!(transaction.due(before, &timing), Due::Nothing);
            match transaction.due(Tick::from_millis(at.as_millis()), &timing) {
                Due::Repeat => sent.push(at.as_millis()),
                Due::GiveUp => return (sent, at.as_millis()),
                Due::Nothing => panic!("due at its own moment"),
            }
        }
    }

    #[test]
    fn the_moments_are_those_of_the_standards_example() {
        // RFC 8489 § 6.2.1: 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms, 15500 ms, 31500 ms, and failure at 39500 ms.
        let expected = vec![0, 500, 1_500, 3_500, 7_500, 15_500, 31_500];
        assert_eq!(moments(Timing::DATAGRAMS), (expected, 39_500));
    }

    #[test]
    fn over_a_stream_it_is_sent_once() {
        assert_eq!(moments(Timing::STREAMS), (vec![0], 39_500));
    }
}
