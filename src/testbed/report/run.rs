//! One call, and what came of it; of whichever laboratory.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ice::Kind;
use crate::testbed::Place;
use crate::testbed::Verdict;

use super::Flight;

/// One call between two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the left client stands.
    pub left: Place,
    /// Where the right one does.
    pub right: Place,
    /// What chance was drawn from.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// How it has to end; `None` where nothing says so.
    pub expected: Option<Verdict>,
    /// From when both sides were told to call each other until both could send media; `None`: they never could.
    pub connected: Option<Duration>,
    /// What media went by which pair of candidates, in the order in which the pairs were first used.
    pub traffic: Vec<PairTraffic>,
    /// What else is to be said, in words: why it failed, what a client said.
    pub notes: Vec<String>,
    /// What happened on the way, and what was counted.
    pub flight: Flight,
}

impl Run {
    /// Whether it ended as it had to, as far as anything says how.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.expected.is_none_or(|expected| expected == self.verdict)
    }
}

/// Media that went by one pair of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairTraffic {
    /// Whether it goes through a relay, and what carries it there. Never [`Verdict::Failed`].
    pub route: Verdict,
    /// The left client's candidate.
    pub left: End,
    /// The right one's.
    pub right: End,
    /// What arrived at the right side.
    pub from_left: Flow,
    /// What arrived at the left side.
    pub from_right: Flow,
}

/// One end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What kind of candidate it is, where that is known.
    pub kind: Option<Kind>,
    /// Its address as the other side sees it, where that is known.
    pub address: Option<SocketAddr>,
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind.map_or("?", Kind::word))?;
        match self.address {
            Some(address) => write!(out, " {address}"),
            None => Ok(()),
        }
    }
}

/// Packets of media that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub packets: u64,
    /// Of how many bytes, without any header.
    pub bytes: u64,
}

impl Flow {
    /// Counts one more.
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}
