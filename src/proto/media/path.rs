//! The client's side of an allocation, which may be on its way from one five-tuple to another (RFC 8016 § 3.2.2):
//! what the client sends counts on both, what it is sent goes to the old one until data comes on the new one.

use std::cell::Cell;

use crate::proto::types::FiveTuple;

/// One five-tuple, and perhaps one that is awaited.
#[derive(Clone, Debug)]
pub(super) struct Path {
    settled: FiveTuple,
    /// Boxed, because nearly nobody moves.
    awaited: Option<Box<FiveTuple>>,
    /// Data came on the awaited one. Control has not said yet that the other is over.
    arrived: Cell<bool>,
}

impl Path {
    pub(super) const fn new(five_tuple: FiveTuple) -> Self {
        Self { settled: five_tuple, awaited: None, arrived: Cell::new(false) }
    }

    /// Where the client is sent to.
    pub(super) fn five_tuple(&self) -> &FiveTuple {
        match &self.awaited {
            Some(awaited) if self.arrived.get() => awaited,
            _ => &self.settled,
        }
    }

    /// Every five-tuple that is the client's.
    pub(super) fn all(&self) -> [Option<FiveTuple>; 2] {
        [Some(self.settled), self.awaited.as_deref().copied()]
    }

    /// Whether `five_tuple` is the client's.
    pub(super) fn is_at(&self, five_tuple: &FiveTuple) -> bool {
        self.settled == *five_tuple || self.awaited.as_deref() == Some(five_tuple)
    }

    /// Whether the client is awaited at another one.
    pub(super) fn is_awaiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether data from `from` is what is waited for.
    pub(super) fn awaits(&self, from: &FiveTuple) -> bool {
        self.awaited.as_deref() == Some(from) && !self.arrived.get()
    }

    /// The client is there: it is sent to the awaited five-tuple from here on.
    pub(super) fn arrive(&self) {
        debug_assert!(self.awaited.is_some(), "somebody was awaited");
        self.arrived.set(true);
    }

    /// Awaits the client at `next`, and nowhere else: answers the five-tuple that is its own no longer.
    pub(super) fn await_at(&mut self, next: FiveTuple) -> Option<FiveTuple> {
        self.arrived.set(false);
        let before = self.awaited.take().map(|before| *before);
        self.awaited = Some(next).filter(|next| *next != self.settled).map(Box::new);
        before.filter(|before| Some(before) != self.awaited.as_deref())
    }

    /// Awaits the client nowhere: answers the five-tuple that is its own no longer.
    pub(super) fn await_nowhere(&mut self) -> Option<FiveTuple> {
        self.arrived.set(false);
        self.awaited.take().map(|awaited| *awaited)
    }

    /// The awaited five-tuple is the only one: answers the one that is over.
    pub(super) fn settle(&mut self) -> Option<FiveTuple> {
        self.arrived.set(false);
        let next = *self.awaited.take()?;
        Some(std::mem::replace(&mut self.settled, next))
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::media::fixture::client;

    use super::*;

    #[test]
    fn the_client_is_sent_to_the_old_place_until_it_arrives() {
        let mut path = Path::new(client(1));
        assert_eq!(path.await_at(client(2)), None);
        assert_eq!(*path.five_tuple(), client(1));
        assert!(path.awaits(&client(2)) && !path.awaits(&client(1)));
        path.arrive();
        assert_eq!(*path.five_tuple(), client(2));
        assert!(!path.awaits(&client(2)), "it arrives once");
        assert_eq!(path.settle(), Some(client(1)));
        assert_eq!((*path.five_tuple(), path.all()), (client(2), [Some(client(2)), None]));
    }

    #[test]
    fn a_second_place_takes_the_place_of_the_first() {
        let mut path = Path::new(client(1));
        path.await_at(client(2));
        path.arrive();
        assert_eq!(path.await_at(client(3)), Some(client(2)));
        assert_eq!(*path.five_tuple(), client(1), "nobody has been seen there");
        assert_eq!(path.await_at(client(3)), None, "still its own");
    }

    #[test]
    fn back_home_nobody_is_awaited() {
        let mut path = Path::new(client(1));
        path.await_at(client(2));
        assert_eq!(path.await_at(client(1)), Some(client(2)));
        assert_eq!(path.all(), [Some(client(1)), None]);
        assert_eq!(path.settle(), None);
    }
}
