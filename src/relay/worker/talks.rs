//! Peers' connections of clients that speak [MS-TURN]: what their one stream carries is sorted to them, and what comes on
//! them is framed for it. Nothing is dropped on either way: who is slow holds the other up.

use std::ops::Range;

use crate::net::Interest;
use crate::net::Received;
use crate::net::Token;
use crate::proto::media::DropReason;
use crate::proto::media::from_connection;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::RelayId;
use crate::proto::wire::DATA_HEADER_MAX;

use super::Slot;
use super::Worker;

/// Bytes that one frame to the client carries.
const CHUNK: usize = 4 * 1_024;
/// Reads of one connection in a round.
const READS: usize = 4;

/// How a read went.
enum Heard {
    Some,
    Nothing,
    /// The client, or the bandwidth, takes no more now.
    HeldBack,
    End,
}

impl Slot {
    /// Has `data` sent on the connection of the port `relay` with `peer`. `None` if there is none, or not yet; `false` if it
    /// must be tried again.
    pub(super) fn say_to_peer(&mut self, relay: RelayId, peer: PeerAddr, data: &[u8]) -> Option<bool> {
        let tick = self.tick();
        if !self.table.may_carry(tick, relay) {
            return Some(false);
        }
        let said = self.talks.say(relay, peer, data)?;
        if said {
            self.table.carried(tick, relay, data.len(), 0);
            self.stats.to_connections.add(data.len() as u64);
        }
        Some(said)
    }

    /// The connection `id` may be one whose bytes are framed: it is looked at from here on.
    pub(super) fn begin_talk(&mut self, id: PeerId) {
        if let Some((relay, peer)) = self.peers.of(id)
            && self.table.framed_for(relay).is_some()
        {
            self.talks.begin(relay, peer, id);
        }
    }

    /// The port `relay` cannot connect to `peer`. Where that is because the peer was first, and control has still to let it in,
    /// what the client says meanwhile waits for that connection.
    pub(super) fn expect_talk(&mut self, relay: RelayId, peer: PeerAddr) {
        if let Some(id) = self.peers.arrived(relay, peer) {
            self.talks.expect(relay, peer, id);
        }
    }

    /// The connection `id` is about to end.
    pub(super) fn end_talk(&mut self, id: PeerId) {
        if let Some((relay, peer)) = self.peers.of(id) {
            self.talks.end(relay, peer, id);
        }
    }
}

impl Worker<'_> {
    /// What a client sent to its destination, which lies at `range` of the bytes at hand. Answers `false` if it must be
    /// tried again.
    pub(super) fn send_on_connection(&mut self, relay: RelayId, peer: PeerAddr, range: Range<usize>) -> bool {
        match self.slot.say_to_peer(relay, peer, &self.inbound[range]) {
            Some(said) => said,
            None => {
                self.slot.stats.count_drop(DropReason::SendFailed);
                true
            }
        }
    }

    /// Those that have something to say, or were held back.
    pub(super) fn serve_talks(&mut self) {
        if !self.slot.talks.has_again() && !self.slot.talks.has_held_back() {
            return;
        }
        for id in self.slot.talks.take_listed() {
            if let Some((relay, peer)) = self.slot.peers.of(id) {
                self.slot.talks.unlist(relay, peer);
                self.talk(id);
            }
        }
        self.slot.peers.at_work = None;
    }

    /// One round of a connection whose bytes are framed, if it is one.
    pub(super) fn talk(&mut self, id: PeerId) {
        let slot = &mut *self.slot;
        let Some((relay, peer)) = slot.peers.of(id) else { return };
        if slot.peers.name_of(id).is_none() {
            // It is not let in yet.
            return;
        }
        slot.peers.at_work = Some(id);
        let Some(out) = slot.talks.waiting(relay, peer, id) else { return };
        let Some(channel) = slot.peers.channel(id) else { return };
        let sent = if out.is_empty() { Ok(0) } else { channel.send(out, <[u8]>::len) };
        match sent {
            Ok(sent) if sent == out.len() => *out = Vec::new(),
            Ok(sent) => drop(out.drain(..sent)),
            Err(_) => return self.end_peer(id, true),
        }
        let write = !out.is_empty();
        for round in 0.. {
            match self.hear_talk(id, relay, peer) {
                Heard::Some if round < READS => {}
                Heard::Some => return self.watch_talk(id, write, true, Some(false)),
                Heard::Nothing => return self.watch_talk(id, write, true, None),
                Heard::HeldBack => return self.watch_talk(id, write, false, Some(true)),
                Heard::End => return self.end_peer(id, false),
            }
        }
    }

    fn hear_talk(&mut self, id: PeerId, relay: RelayId, peer: PeerAddr) -> Heard {
        let slot = &mut *self.slot;
        let tick = slot.tick();
        let Some(client) = slot.table.framed_for(relay) else { return Heard::End };
        if !slot.table.may_carry(tick, relay) || !slot.streams.has_room(&client, DATA_HEADER_MAX + CHUNK) {
            slot.stats.peer_held_back.add(1);
            return Heard::HeldBack;
        }
        let Some(channel) = slot.peers.channel(id) else { return Heard::End };
        let len = match channel.receive(&mut self.inbound[DATA_HEADER_MAX..DATA_HEADER_MAX + CHUNK]) {
            Ok(Received::Bytes(len)) => len,
            Ok(Received::Nothing) => return Heard::Nothing,
            Ok(Received::End) | Err(_) => return Heard::End,
        };
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + len;
        match from_connection(&slot.table, tick, relay, peer, &mut self.inbound, payload) {
            Ok((to, frame)) => slot.send_on_stream(to, &self.inbound[frame], len),
            Err(reason) => {
                slot.stats.count_drop(reason);
                return Heard::End;
            }
        }
        slot.table.carried(tick, relay, 0, len);
        slot.stats.from_connections.add(len as u64);
        Heard::Some
    }

    /// What the connection is watched for from here on; `again` has it looked at once more, after a pause if it is true.
    fn watch_talk(&mut self, id: PeerId, write: bool, read: bool, again: Option<bool>) {
        let slot = &mut *self.slot;
        let Some((relay, peer)) = slot.peers.of(id) else { return };
        let Some(channel) = slot.peers.channel(id) else { return };
        if slot.poll.change(channel, Token::Peer(id), Interest { read, write }).is_err() {
            return self.end_peer(id, true);
        }
        if let Some(pause) = again {
            self.slot.talks.list(relay, peer, id, pause);
        }
    }
}
