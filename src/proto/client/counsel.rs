//! What the owner of a client does next when there is no allocation (RFC 8656 § 7.4, RFC 8489 §§ 6.3.4 and 10).
//!
//! The client itself neither connects elsewhere nor waits: it says what happened. This is the memory that the rules need.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::types::Deadline;
use crate::proto::types::Tick;
use crate::proto::types::limits::CLIENT_REDIRECTS_MAX;

use super::Failure;

/// A server that was asked within this span is not asked again because another one says so (RFC 8489 § 10).
const REDIRECT_MEMORY: Duration = Duration::from_secs(300);
/// For this span a server that is full is left alone (RFC 8656 § 7.4: 486 and 508), and so is one in trouble.
const FULL: Duration = Duration::from_secs(60);
/// For this span a server is left alone that finds every address of the client taken (RFC 8656 § 7.4: 437).
const TAKEN: Duration = Duration::from_secs(120);
/// So many addresses of its own a client tries (RFC 8656 § 7.4: 437).
const ADDRESSES: u32 = 3;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the same server again, but not before this has passed.
    Again {
        /// The wait.
        after: Duration,
    },
    /// Ask this server at once, as if it were the first.
    Elsewhere(SocketAddr),
    /// Ask the same server at once from another address or port of one's own.
    AnotherAddress,
    /// Nothing, until somebody has looked into it: the same request would be refused again.
    GiveUp,
}

/// What the owner of a client remembers of servers and their refusals.
#[derive(Clone, Debug, Default)]
pub struct Counsel {
    /// Servers that were asked, and until when that counts.
    asked: Vec<(SocketAddr, Deadline)>,
    /// Own addresses that a server found taken, one after the other.
    taken: u32,
}

impl Counsel {
    /// One that remembers nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What follows from [`super::Event::NotAllocated`] of a client that asked `server`.
    pub fn after_refusal(&mut self, tick: Tick, server: SocketAddr, why: Failure) -> Next {
        let Failure::Refused { code, alternate } = why else {
            return match why {
                Failure::Timeout | Failure::Disconnected => Next::Again { after: FULL },
                _ => Next::GiveUp,
            };
        };
        match (code, alternate) {
            (300, Some(alternate)) => self.redirected(tick, server, alternate),
            (437, _) => {
                self.taken += 1;
                if self.taken < ADDRESSES {
                    return Next::AnotherAddress;
                }
                self.taken = 0;
                Next::Again { after: TAKEN }
            }
            (486 | 500..=599, _) => Next::Again { after: FULL },
            _ => Next::GiveUp,
        }
    }

    /// What follows from [`super::End::Lost`]: the allocation is over, and the server need not know why. RFC 8656 leaves it
    /// open; whoever wants to go on asks anew.
    #[must_use]
    pub const fn after_loss(&self, why: Failure) -> Next {
        match why {
            Failure::Refused { code: 437, .. } | Failure::Expired | Failure::Disconnected => {
                Next::Again { after: Duration::ZERO }
            }
            Failure::Timeout => Next::Again { after: FULL },
            Failure::Refused { code: 500..=599, .. } => Next::Again { after: FULL },
            _ => Next::GiveUp,
        }
    }

    /// There is an allocation: earlier refusals are of no account any more.
    pub fn allocated(&mut self) {
        *self = Self::default();
    }

    fn redirected(&mut self, tick: Tick, server: SocketAddr, alternate: SocketAddr) -> Next {
        self.asked.retain(|(_, until)| !until.is_due(tick));
        self.asked.push((server, tick.after(REDIRECT_MEMORY)));
        let is_known = self.asked.iter().any(|(asked, _)| *asked == alternate);
        if is_known || self.asked.len() > CLIENT_REDIRECTS_MAX {
            return Next::GiveUp;
        }
        Next::Elsewhere(alternate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 3_478))
    }

    fn to(number: u8) -> Failure {
        Failure::Refused { code: 300, alternate: Some(server(number)) }
    }

    const fn refused(code: u16) -> Failure {
        Failure::Refused { code, alternate: None }
    }

    #[test]
    fn a_redirect_is_followed_once_within_five_minutes() {
        let mut counsel = Counsel::new();
        let mut at = |seconds: u64, from, to_whom| {
            counsel.after_refusal(Tick::from_millis(seconds * 1_000), server(from), to(to_whom))
        };
        assert_eq!(at(0, 1, 2), Next::Elsewhere(server(2)));
        assert_eq!(at(1, 2, 1), Next::GiveUp, "it was there");
        assert_eq!(at(299, 2, 1), Next::GiveUp);
        assert_eq!(at(301, 3, 1), Next::Elsewhere(server(1)), "that is long ago");
        assert_eq!(at(302, 1, 1), Next::GiveUp, "to itself");
    }

    #[test]
    fn a_long_way_of_redirects_has_an_end() {
        let mut counsel = Counsel::new();
        let tick = Tick::from_millis(0);
        let steps = (0..200).take_while(|at| {
            counsel.after_refusal(tick, server(*at), to(at + 1)) == Next::Elsewhere(server(at + 1))
        });
        assert_eq!(steps.count(), CLIENT_REDIRECTS_MAX);
    }

    #[test]
    fn three_addresses_are_tried_and_then_there_is_a_rest() {
        let mut counsel = Counsel::new();
        let mut next = || counsel.after_refusal(Tick::from_millis(0), server(1), refused(437));
        assert_eq!(
            [next(), next(), next()],
            [Next::AnotherAddress, Next::AnotherAddress, Next::Again { after: TAKEN }]
        );
        assert_eq!(next(), Next::AnotherAddress);
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        let minute = Next::Again { after: Duration::from_secs(60) };
        let refusals = [
            (refused(486), minute),
            (refused(508), minute),
            (refused(500), minute),
            (Failure::Timeout, minute),
            (refused(300), Next::GiveUp),
            (refused(400), Next::GiveUp),
            (refused(401), Next::GiveUp),
            (refused(403), Next::GiveUp),
            (refused(440), Next::GiveUp),
            (refused(441), Next::GiveUp),
            (Failure::Integrity, Next::GiveUp),
        ];
        for (why, expected) in refusals {
            assert_eq!(
                Counsel::new().after_refusal(Tick::from_millis(0), server(1), why),
                expected,
                "{why:?}"
            );
        }
        let at_once = Next::Again { after: Duration::ZERO };
        let losses = [
            (refused(437), at_once),
            (Failure::Expired, at_once),
            (Failure::Disconnected, at_once),
            (Failure::Timeout, minute),
            (refused(508), minute),
            (refused(438), Next::GiveUp),
            (refused(403), Next::GiveUp),
        ];
        for (why, expected) in losses {
            assert_eq!(Counsel::new().after_loss(why), expected, "{why:?}");
        }
    }
}
