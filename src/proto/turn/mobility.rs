//! What an allocation keeps of its moves (RFC 8016).
//!
//! ```text
//! settled ── Refresh with ticket ──► awaited at the new five-tuple ── data comes from there ──► settled there
//!    │                                  ▲    │ (the old one is heard and sent to)
//!    │ the new five-tuple               │    └ a newer Refresh with ticket: awaited elsewhere
//!    │ is another worker's              │
//!    └───► in transit: Detach, Attach ──┘  the old worker keeps a copy of each socket, which only sends
//! ```

use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::WorkerId;

use super::reply::Asker;

/// What an allocation keeps of its moves.
#[derive(Debug, Default)]
pub(super) struct Mobility {
    /// The number of the ticket that was given out last: it alone is good. 0 for none.
    pub(super) ticket: u64,
    /// Where the client is awaited. Boxed, because nearly nobody moves.
    pub(super) next: Option<Box<FiveTuple>>,
    /// Set while its sockets are on the way from one worker to another.
    pub(super) transit: Option<Box<Transit>>,
}

impl Mobility {
    /// Where the client is awaited.
    pub(super) fn next(&self) -> Option<FiveTuple> {
        self.next.as_deref().copied()
    }
}

/// The way from one worker to another.
#[derive(Debug)]
pub(super) struct Transit {
    /// Who waits for the answer.
    pub(super) asker: Asker,
    pub(super) lifetime: Lifetime,
    /// The worker that gives the sockets away.
    pub(super) giver: WorkerId,
    /// Sockets that have not arrived.
    pub(super) outstanding: usize,
    /// One of them was lost.
    pub(super) lost: bool,
    /// Its client is there already.
    pub(super) arrived: bool,
}

/// Where the socket of one leg stands while its allocation is in transit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It is on no way, or at the end of it.
    Settled,
    /// Its worker was asked to give it away.
    Leaving {
        /// Whether a copy was to be kept.
        keep: bool,
    },
    /// The other worker was asked to take it over.
    Arriving,
}

/// The workers that have a copy of a relay socket besides the one that reads it, and so must close it too.
#[derive(Debug, Default)]
pub(super) struct Copies {
    at: [Option<WorkerId>; 2],
    /// The worker of each copy that it was told to close, and has not.
    closing: Vec<WorkerId>,
}

impl Copies {
    /// There is one at `worker`.
    pub(super) fn add(&mut self, worker: WorkerId) {
        if self.at.contains(&Some(worker)) {
            return;
        }
        let free = self.at.iter_mut().find(|place| place.is_none());
        debug_assert!(free.is_some(), "the old five-tuple's worker, and the giver of a transit");
        if let Some(free) = free {
            *free = Some(worker);
        }
    }

    /// There is none at `worker` any more, without a word from it.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.at.iter_mut().filter(|place| **place == Some(worker)).for_each(|place| *place = None);
    }

    /// Where there are copies.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        self.at.into_iter().flatten()
    }

    /// Every worker that has one is told to close it: which?
    pub(super) fn close(&mut self) -> impl Iterator<Item = WorkerId> + use<> {
        let at = std::mem::take(&mut self.at).into_iter().flatten();
        self.closing.extend(at.clone());
        at
    }

    /// The workers that still have to close a copy, each as often as it was told to.
    pub(super) fn closing(&self) -> impl Iterator<Item = WorkerId> {
        self.closing.iter().copied()
    }

    /// `worker` closed what it had. Answers whether that was a copy, and not the socket itself.
    pub(super) fn one_closed(&mut self, worker: WorkerId) -> bool {
        let place = self.closing.iter().position(|at| *at == worker);
        place.map(|place| self.closing.swap_remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_copy_is_closed_once_and_counted_once() {
        let mut copies = Copies::default();
        copies.add(WorkerId(1));
        copies.add(WorkerId(2));
        copies.add(WorkerId(1));
        copies.remove(WorkerId(2));
        copies.add(WorkerId(3));
        assert_eq!(copies.workers().collect::<Vec<_>>(), [WorkerId(1), WorkerId(3)]);
        assert_eq!(copies.close().count(), 2);
        assert_eq!((copies.workers().count(), copies.close().count()), (0, 0));
        // Two copies, and the socket itself.
        assert_eq!(
            [1, 1, 3, 3].map(|worker| copies.one_closed(WorkerId(worker))),
            [true, false, true, false]
        );
    }
}
