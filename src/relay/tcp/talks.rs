//! What waits for peers' connections that are joined to no client's: those of clients that speak [MS-TURN], whose one
//! stream carries what goes to all their peers. Like `proto`: no sockets, no clocks.

use std::collections::HashMap;

use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::RelayId;
use crate::proto::types::limits;

/// What waits for one peer.
#[derive(Debug)]
struct Talk {
    id: PeerId,
    out: Vec<u8>,
    /// It stands in one of the lists.
    listed: bool,
}

/// All of one worker, by port and peer: a connection may take another's place, and what waits stays.
#[derive(Debug)]
pub(in crate::relay) struct Talks {
    by_peer: HashMap<(RelayId, PeerAddr), Talk, ahash::RandomState>,
    /// To be looked at at once.
    again: Vec<PeerId>,
    /// Held back by a client that reads slowly, or by the bandwidth.
    held_back: Vec<PeerId>,
}

impl Talks {
    /// Without any.
    pub(in crate::relay) fn new(hash_seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seeds;
        let by_peer = HashMap::with_hasher(ahash::RandomState::with_seeds(a, b, c, d));
        Self { by_peer, again: Vec::new(), held_back: Vec::new() }
    }

    /// From here on `id` is the connection of the port `relay` with `peer`.
    pub(in crate::relay) fn begin(&mut self, relay: RelayId, peer: PeerAddr, id: PeerId) {
        let talk =
            self.by_peer.entry((relay, peer)).or_insert_with(|| Talk { id, out: Vec::new(), listed: false });
        talk.id = id;
        talk.listed = true;
        self.again.push(id);
    }

    /// `id` came to the port `relay` from `peer`, and will be its connection if control lets it in ([`Self::begin`]). What is
    /// said until then waits.
    pub(in crate::relay) fn expect(&mut self, relay: RelayId, peer: PeerAddr, id: PeerId) {
        self.by_peer.entry((relay, peer)).or_insert_with(|| Talk { id, out: Vec::new(), listed: true });
    }

    /// The connection `id` is no more.
    pub(in crate::relay) fn end(&mut self, relay: RelayId, peer: PeerAddr, id: PeerId) {
        if self.by_peer.get(&(relay, peer)).is_some_and(|talk| talk.id == id) {
            self.by_peer.remove(&(relay, peer));
        }
    }

    /// The port `relay` is closed.
    pub(in crate::relay) fn close(&mut self, relay: RelayId) {
        self.by_peer.retain(|(of, _), _| *of != relay);
    }

    /// After a panic: only those of which `is_there` is true are left, and are looked at once each.
    pub(in crate::relay) fn restart(&mut self, is_there: impl Fn(PeerId) -> bool) {
        self.by_peer.retain(|_, talk| is_there(talk.id));
        self.held_back.clear();
        self.again = self.by_peer.values().map(|talk| talk.id).collect();
        self.by_peer.values_mut().for_each(|talk| talk.listed = true);
    }

    /// Has `data` sent to `peer`: all of it, or nothing. Answers whether there was room; `None` if there is no connection.
    pub(in crate::relay) fn say(&mut self, relay: RelayId, peer: PeerAddr, data: &[u8]) -> Option<bool> {
        let talk = self.by_peer.get_mut(&(relay, peer))?;
        // Whatever a frame can hold has room where nothing waits.
        if !talk.out.is_empty() && talk.out.len() + data.len() > limits::PIPE_BUFFER {
            return Some(false);
        }
        talk.out.extend_from_slice(data);
        if !std::mem::replace(&mut talk.listed, true) {
            self.again.push(talk.id);
        }
        Some(true)
    }

    /// What waits for `peer`; `None` if `id` is not its connection.
    pub(in crate::relay) fn waiting(
        &mut self,
        relay: RelayId,
        peer: PeerAddr,
        id: PeerId,
    ) -> Option<&mut Vec<u8>> {
        self.by_peer.get_mut(&(relay, peer)).filter(|talk| talk.id == id).map(|talk| &mut talk.out)
    }

    /// Has `id` looked at once more: at once, or after a pause.
    pub(in crate::relay) fn list(&mut self, relay: RelayId, peer: PeerAddr, id: PeerId, pause: bool) {
        if let Some(talk) = self.by_peer.get_mut(&(relay, peer))
            && !std::mem::replace(&mut talk.listed, true)
        {
            if pause { &mut self.held_back } else { &mut self.again }.push(id);
        }
    }

    /// The connection is being looked at: it stands in no list.
    pub(in crate::relay) fn unlist(&mut self, relay: RelayId, peer: PeerAddr) {
        if let Some(talk) = self.by_peer.get_mut(&(relay, peer)) {
            talk.listed = false;
        }
    }

    /// Those that are to be looked at now.
    pub(in crate::relay) fn take_listed(&mut self) -> Vec<PeerId> {
        let mut listed = std::mem::take(&mut self.again);
        listed.append(&mut self.held_back);
        listed
    }

    /// Whether one is to be looked at at once.
    pub(in crate::relay) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether one is held back.
    pub(in crate::relay) fn has_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: RelayId = RelayId { index: 1, generation: 2 };

    fn peer() -> PeerAddr {
        PeerAddr::new("192.0.2.1:7".parse().expect("a literal"))
    }

    fn id(index: u32) -> PeerId {
        PeerId { index, generation: 0 }
    }

    fn talks() -> Talks {
        let mut talks = Talks::new([1; 4]);
        talks.begin(RELAY, peer(), id(1));
        talks
    }

    #[test]
    fn what_waits_is_whole_and_bounded_and_never_more_than_one_frame_too_long() {
        let mut talks = talks();
        assert_eq!(talks.say(RELAY, peer(), &[1; 65_535]), Some(true), "whatever one frame holds");
        assert_eq!(talks.say(RELAY, peer(), &[2]), Some(false));
        talks.waiting(RELAY, peer(), id(1)).expect("there").clear();
        assert_eq!(talks.say(RELAY, peer(), &[3; limits::PIPE_BUFFER]), Some(true));
        assert_eq!(talks.say(RELAY, peer(), &[4]), Some(false));
        let other = PeerAddr::new("192.0.2.1:8".parse().expect("a literal"));
        assert_eq!(talks.say(RELAY, other, &[5]), None);
    }

    #[test]
    fn a_connection_that_takes_another_s_place_keeps_what_waits() {
        let mut talks = talks();
        assert_eq!(talks.say(RELAY, peer(), b"early"), Some(true));
        talks.begin(RELAY, peer(), id(2));
        talks.end(RELAY, peer(), id(1));
        assert_eq!(talks.waiting(RELAY, peer(), id(1)), None);
        assert_eq!(talks.waiting(RELAY, peer(), id(2)).map(|out| out.clone()), Some(b"early".to_vec()));
        talks.end(RELAY, peer(), id(2));
        assert_eq!(talks.say(RELAY, peer(), b"late"), None);
    }

    #[test]
    fn what_is_said_before_a_connection_is_let_in_waits_for_it_and_ends_with_it() {
        let mut talks = Talks::new([1; 4]);
        for is_let_in in [true, false] {
            talks.expect(RELAY, peer(), id(1));
            assert_eq!(talks.say(RELAY, peer(), b"early"), Some(true));
            talks.expect(RELAY, peer(), id(1));
            assert!(!talks.has_again(), "nobody looks at it yet");
            if is_let_in {
                talks.begin(RELAY, peer(), id(1));
                assert_eq!(talks.take_listed(), [id(1)]);
                assert_eq!(
                    talks.waiting(RELAY, peer(), id(1)).map(|out| out.clone()),
                    Some(b"early".to_vec())
                );
            }
            talks.end(RELAY, peer(), id(1));
            assert_eq!(talks.say(RELAY, peer(), b"late"), None);
        }
    }

    #[test]
    fn each_is_listed_once_and_after_a_panic_all_that_are_left() {
        let mut talks = talks();
        talks.begin(RELAY, PeerAddr::new("192.0.2.1:8".parse().expect("a literal")), id(2));
        assert_eq!(talks.take_listed(), [id(1), id(2)]);
        talks.unlist(RELAY, peer());
        talks.list(RELAY, peer(), id(1), true);
        talks.list(RELAY, peer(), id(1), false);
        assert!(talks.has_held_back() && !talks.has_again());
        talks.restart(|id| id.index == 1);
        assert_eq!(talks.take_listed(), [id(1)]);
        talks.close(RELAY);
        assert_eq!(talks.say(RELAY, peer(), b"late"), None);
    }
}
