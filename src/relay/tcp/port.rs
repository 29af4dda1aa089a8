//! The relayed ports of one worker.

use std::collections::HashMap;
use std::io;

use crate::net::PeerListener;
use crate::net::Poll;
use crate::net::Token;
use crate::proto::types::PeerId;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::limits;

/// One port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) listener: PeerListener,
    /// Its connections, whoever began them.
    pub(super) members: Vec<PeerId>,
    /// Asked for since the last restart.
    claimed: bool,
}

/// The ports of one worker.
#[derive(Debug)]
pub(super) struct Ports(HashMap<RelayId, Port, ahash::RandomState>);

impl Ports {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&self, relay: RelayId) -> Option<&Port> {
        self.0.get(&relay)
    }

    /// Listens on `bind`, and watches it. What a restart left there is taken up as it is.
    pub(super) fn open(&mut self, poll: &Poll, relay: RelayId, bind: RelayAddr) -> io::Result<RelayAddr> {
        if relay.index >= limits::ALLOCATIONS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "relay index beyond the limit"));
        }
        if let Some(port) = self.0.get_mut(&relay) {
            if port.listener.bound() != bind {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the relay's place is taken"));
            }
            port.claimed = true;
            return Ok(bind);
        }
        let listener = PeerListener::open(bind)?;
        poll.add(&listener, Token::Port(relay))?;
        let bound = listener.bound();
        self.0.insert(relay, Port { listener, members: Vec::new(), claimed: true });
        Ok(bound)
    }

    /// Closes a port; answers its connections, which are to be closed too.
    pub(super) fn close(&mut self, relay: RelayId) -> Vec<PeerId> {
        self.0.remove(&relay).map(|port| port.members).unwrap_or_default()
    }

    pub(super) fn add(&mut self, relay: RelayId, member: PeerId) {
        if let Some(port) = self.0.get_mut(&relay) {
            port.members.push(member);
        }
    }

    pub(super) fn remove(&mut self, relay: RelayId, member: PeerId) {
        if let Some(port) = self.0.get_mut(&relay) {
            port.members.retain(|each| *each != member);
        }
    }

    /// The loop that worked with them is gone: which are still wanted will be told.
    pub(super) fn restart(&mut self) {
        self.0.values_mut().for_each(|port| port.claimed = false);
    }

    /// Those that nobody asked for since the last restart.
    pub(super) fn unclaimed(&self) -> Vec<RelayId> {
        self.0.iter().filter(|(_, port)| !port.claimed).map(|(relay, _)| *relay).collect()
    }
}
