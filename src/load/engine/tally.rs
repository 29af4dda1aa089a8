//! What a thread counts of bringing calls up, and why one did not come up.

use std::io;

use crate::load::carrier;
use crate::load::outcome::Setup;
use crate::proto::client::Failure;

use super::client::MISMATCH;

/// What a thread counts of bringing calls up.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What it took.
    pub(super) setup: Setup,
    /// Why a call did not come up: the first of all.
    pub(super) first: Option<Why>,
}

/// Why a client came to nothing.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// This machine has no socket for it.
    Socket(io::ErrorKind, String),
    /// Nobody listens for datagrams at that port: the network said so.
    Closed,
    /// Its connection did not come up, or broke.
    Line(carrier::Failure),
    /// What was asked, and what the client says became of it.
    Protocol(&'static str, Failure),
}

impl Why {
    /// The server has an allocation for the client's address already.
    pub(super) const TAKEN: Self =
        Self::Protocol("Allocate", Failure::Refused { code: MISMATCH, alternate: None });

    /// Whether another port may do (RFC 8656 § 19: 437).
    pub(super) fn is_of_port(&self) -> bool {
        matches!(self, Self::Protocol("Allocate", Failure::Refused { code: MISMATCH, .. }))
    }

    /// What the operating system says to a socket.
    pub(super) fn socket(error: &io::Error) -> Self {
        Self::Socket(error.kind(), error.to_string())
    }

    /// A few words to count it by: what failed, and how.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Socket(..) => "socket refused by this machine".to_owned(),
            Self::Closed => "Binding closed port".to_owned(),
            Self::Line(failure) => failure.words().to_owned(),
            Self::Protocol(what, failure) => match failure {
                Failure::Refused { code, .. } => format!("{what} {code}"),
                Failure::Timeout => format!("{what} timeout"),
                Failure::Integrity => format!("{what} unsigned"),
                Failure::Algorithm => format!("{what} algorithm"),
                Failure::Incomplete => format!("{what} incomplete"),
                Failure::Full => format!("{what} full"),
                Failure::Expired => format!("{what} expired"),
                Failure::Disconnected => format!("{what} disconnected"),
                Failure::Unsupported => format!("{what} unsupported"),
            },
        }
    }
}

impl Tally {
    /// Counts a failure by its words.
    pub(super) fn failed(&mut self, words: &str) {
        match self.setup.failures.get_mut(words) {
            Some(count) => *count += 1,
            None => {
                self.setup.failures.insert(words.to_owned(), 1);
            }
        }
    }

    /// Counts a client that came to nothing.
    pub(super) fn note(&mut self, why: Why) {
        self.failed(&why.words());
        self.first.get_or_insert(why);
    }

    /// Adds what another thread counted.
    pub(super) fn add(&mut self, other: Self) {
        let (ours, theirs) = (&mut self.setup, other.setup);
        ours.asked += theirs.asked;
        ours.served += theirs.served;
        ours.cycles += theirs.cycles;
        ours.allocate.add(&theirs.allocate);
        ours.binding.add(&theirs.binding);
        ours.permit.add(&theirs.permit);
        ours.connect.add(&theirs.connect);
        for (words, count) in theirs.failures {
            *ours.failures.entry(words).or_default() += count;
        }
        self.first = self.first.take().or(other.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_their_words_and_the_first_is_kept() {
        let quota = || Why::Protocol("Allocate", Failure::Refused { code: 486, alternate: None });
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.note(quota());
        one.note(Why::Protocol("ChannelBind", Failure::Timeout));
        other.note(quota());
        other.setup.served = 3;
        one.add(other);
        let counted: Vec<_> =
            one.setup.failures.iter().map(|(words, count)| (words.as_str(), *count)).collect();
        assert_eq!(counted, [("Allocate 486", 2), ("ChannelBind timeout", 1)]);
        assert_eq!(one.setup.served, 3);
        assert_eq!(one.first.map(|why| why.words()).as_deref(), Some("Allocate 486"));
    }
}
