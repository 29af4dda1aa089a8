//! The relay sockets that one worker has descriptors of, by the place that [`RelayId::index`] names, as the real ones
//! are kept. They outlive a panic.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::proto::types::RelayId;

#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<u32, Open>);

#[derive(Debug)]
struct Open {
    generation: u32,
    bound: SocketAddr,
    /// Another worker reads it: here it only sends.
    lent: bool,
    /// Asked for since the last panic.
    claimed: bool,
}

/// What stands where a socket is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// What a panic left there is taken up as it is.
    TakenUp,
    Taken,
}

impl Sockets {
    /// Looks where `relay` shall be bound to `bind`, and takes up what is there already.
    pub(super) fn look(&mut self, relay: RelayId, bind: SocketAddr) -> Place {
        match self.0.get_mut(&relay.index) {
            None => Place::Free,
            Some(open) if open.generation != relay.generation || open.lent || open.bound != bind => {
                Place::Taken
            }
            Some(open) => {
                open.claimed = true;
                Place::TakenUp
            }
        }
    }

    /// Puts one where [`Place::Free`] was said.
    pub(super) fn insert(&mut self, relay: RelayId, bound: SocketAddr) {
        let open = Open { generation: relay.generation, bound, lent: false, claimed: true };
        self.0.insert(relay.index, open);
    }

    pub(super) fn is_taken(&self, relay: RelayId) -> bool {
        self.0.contains_key(&relay.index)
    }

    pub(super) fn find(&self, relay: RelayId) -> Option<SocketAddr> {
        self.0.get(&relay.index).filter(|open| open.generation == relay.generation).map(|open| open.bound)
    }

    /// One that can be given away; afterwards it can only send, if it is kept.
    pub(super) fn give(&mut self, relay: RelayId, keep: bool) -> Option<SocketAddr> {
        let open = self.0.get_mut(&relay.index);
        let open = open.filter(|open| open.generation == relay.generation && !open.lent)?;
        open.lent = true;
        let bound = open.bound;
        if !keep {
            self.0.remove(&relay.index);
        }
        Some(bound)
    }

    pub(super) fn close(&mut self, relay: RelayId) -> Option<SocketAddr> {
        let bound = self.find(relay)?;
        self.0.remove(&relay.index);
        Some(bound)
    }

    /// The loop that worked with them is gone.
    pub(super) fn restart(&mut self) {
        self.0.values_mut().for_each(|open| open.claimed = false);
    }

    /// Takes out what nobody asked for since the last panic, and that is not `known` either.
    pub(super) fn sweep(&mut self, known: impl Fn(RelayId) -> bool) -> Vec<SocketAddr> {
        let named = |(index, open): (&u32, &Open)| RelayId { index: *index, generation: open.generation };
        let left: Vec<RelayId> =
            self.0.iter().filter(|(_, open)| !open.claimed).map(named).filter(|it| !known(*it)).collect();
        left.into_iter().filter_map(|relay| self.close(relay)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
