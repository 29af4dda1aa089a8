//! Relayed ports of TCP and the connections of peers: what control orders, and what the sockets tell (RFC 6062).

use std::io;

use crate::net::Events;
use crate::net::Token;
use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::limits;
use crate::relay::Report;
use crate::relay::tcp::Next;
use crate::relay::tcp::Progress;

use super::Slot;
use super::Worker;

/// Connections that one port may take in during a round.
const ACCEPTS: usize = 16;

impl Slot {
    /// Tells people how many there are.
    pub(super) fn show_peers(&self) {
        self.stats.peer_ports.set(self.peers.ports() as u64);
        self.stats.peer_connections.set(self.peers.len() as u64);
        self.stats.peer_joined.set(self.peers.joined() as u64);
    }

    /// Ends a connection that came. Where both ends may dial it is reset, so that nothing lingers in the way of another
    /// between the same two ports.
    fn refuse_peer(&mut self, id: PeerId) {
        let relay = self.peers.of(id).map(|(relay, _)| relay);
        let both_dial = relay.is_some_and(|relay| self.table.framed_for(relay).is_some());
        self.end_talk(id);
        self.peers.end(id, both_dial);
    }

    fn report_peer(&mut self, report: PeerReport) {
        self.peer_reports.push_back(report);
    }
}

/// What control orders.
impl Worker<'_> {
    pub(super) fn open_port(&mut self, relay: RelayId, bind: RelayAddr) {
        let slot = &mut *self.slot;
        let report = match slot.peers.open(&slot.poll, relay, bind) {
            Ok(bound) => Report::Opened { relay, bound },
            Err(error) => Report::Failed { relay, error },
        };
        slot.show_peers();
        self.report(report);
    }

    pub(super) fn order_peer(&mut self, order: PeerOrder) {
        match order {
            PeerOrder::Connect { connection, relay, to } => self.connect_peer(connection, relay, to),
            PeerOrder::Admit { arrival, connection } => {
                if self.slot.peers.name(arrival, connection) {
                    self.slot.begin_talk(arrival);
                } else {
                    self.slot.report_peer(PeerReport::Ended { connection });
                }
            }
            PeerOrder::Refuse { arrival } => {
                self.slot.stats.peer_refused.add(1);
                self.slot.refuse_peer(arrival);
            }
            PeerOrder::Keep { connection } => {
                let named = self.slot.peers.named(connection);
                if !named.is_some_and(|id| self.slot.peers.claim(id)) {
                    self.slot.report_peer(PeerReport::Ended { connection });
                }
            }
            PeerOrder::Join { connection, client } => self.join_peer(connection, client),
            PeerOrder::Close { connection } => {
                if let Some(id) = self.slot.peers.named(connection) {
                    self.slot.end_talk(id);
                    self.slot.peers.end(id, false);
                }
            }
        }
        self.slot.show_peers();
    }

    fn connect_peer(&mut self, connection: ConnectionId, relay: RelayId, to: PeerAddr) {
        let slot = &mut *self.slot;
        // Asked for again after a panic.
        if let Some(id) = slot.peers.named(connection) {
            slot.peers.claim(id);
            if slot.peers.is_waiting(id) {
                slot.report_peer(PeerReport::Connected { connection });
            }
            return;
        }
        match slot.peers.connect(&slot.poll, relay, to, Some(connection)) {
            Ok(id) => slot.begin_talk(id),
            Err(_) => {
                if slot.table.framed_for(relay).is_some() {
                    // The peer's own attempt, which may wait to be taken in, is in the way of another one.
                    self.accept_peers(relay);
                    self.slot.expect_talk(relay, to);
                }
                self.slot.report_peer(PeerReport::Ended { connection });
            }
        }
    }

    /// Without the client's connection, or the peer's, there is nothing to join: both are over.
    fn join_peer(&mut self, connection: ConnectionId, client: FiveTuple) {
        let slot = &mut *self.slot;
        let id = slot.peers.named(connection);
        if let Some(id) = id.filter(|id| slot.peers.client_of(*id) == Some(client)) {
            slot.peers.claim(id);
            return;
        }
        let joining = slot.streams.find(&client).and_then(|id| slot.streams.take_out(id));
        slot.stats.streams.set(slot.streams.len() as u64);
        let joined = match (id, joining) {
            (Some(id), Some(joining)) => slot.peers.join(&slot.poll, id, joining).is_ok(),
            _ => false,
        };
        if !joined {
            if let Some(id) = id {
                slot.peers.end(id, true);
            }
            slot.report_peer(PeerReport::Ended { connection });
        }
    }
}

/// What the sockets tell.
impl Worker<'_> {
    /// One round of everything that peers' connections ask for.
    pub(super) fn serve_peers(&mut self, events: &Events) {
        for index in 0..events.others() {
            match events.token(index) {
                Some(Token::Port(relay)) => self.accept_peers(relay),
                Some(Token::Peer(id)) => self.hear_peer_connection(id, events.is_error(index)),
                Some(Token::Joined(id)) => self.pump_pair(id),
                _ => {}
            }
        }
        for id in self.slot.peers.take_again() {
            self.pump_pair(id);
        }
        if self.slot.peers.has_held_back() {
            for id in self.slot.peers.take_held_back() {
                self.pump_pair(id);
            }
        }
        self.slot.peers.at_work = None;
        self.serve_talks();
    }

    fn accept_peers(&mut self, relay: RelayId) {
        for _ in 0..ACCEPTS {
            let slot = &mut *self.slot;
            let tick = slot.tick();
            let (id, peer) = match slot.peers.accept(&slot.poll, tick, relay) {
                Ok(Some(arrived)) => arrived,
                Ok(None) => break,
                Err(error) => {
                    slot.stats.peer_refused.add(1);
                    if is_for_good(&error) {
                        break;
                    }
                    continue;
                }
            };
            let has_room = slot.peer_reports.len() < limits::STREAM_REPORTS_MAX;
            if !has_room || !slot.table.admits_connection(tick, relay, peer) {
                slot.stats.peer_refused.add(1);
                slot.refuse_peer(id);
                continue;
            }
            slot.report_peer(PeerReport::Arrived { relay, peer, arrival: id });
        }
        self.slot.show_peers();
    }

    fn hear_peer_connection(&mut self, id: PeerId, is_error: bool) {
        let slot = &mut *self.slot;
        if slot.peers.client_of(id).is_some() {
            return self.pump_pair(id);
        }
        match slot.peers.progress(&slot.poll, id) {
            Progress::There => {
                if let Some(connection) = slot.peers.name_of(id) {
                    slot.report_peer(PeerReport::Connected { connection });
                }
                self.talk(id);
            }
            Progress::Failed => self.end_peer(id, false),
            Progress::Going if is_error => self.end_peer(id, false),
            Progress::Going => self.talk(id),
        }
    }

    fn pump_pair(&mut self, id: PeerId) {
        let slot = &mut *self.slot;
        let Some((relay, _)) = slot.peers.of(id) else { return };
        slot.peers.at_work = Some(id);
        #[cfg(feature = "fault-injection")]
        slot.stats.fault.meet_packet();
        let tick = slot.tick();
        let may_read = slot.table.may_carry(tick, relay);
        let scratch = &mut self.inbound[..limits::PIPE_BUFFER];
        let Some(round) = slot.peers.pump(&slot.poll, tick, id, scratch, may_read) else { return };
        if !may_read {
            slot.stats.peer_held_back.add(1);
        }
        if round.from_client + round.from_peer > 0 {
            slot.table.carried(tick, relay, round.from_client, round.from_peer);
            slot.stats.to_connections.add(round.from_client as u64);
            slot.stats.from_connections.add(round.from_peer as u64);
        }
        match round.next {
            Next::Wait { .. } => {}
            Next::Over => self.end_peer(id, false),
            Next::Broken => self.end_peer(id, true),
        }
    }

    /// Ends a connection by itself, of which the control task hears.
    pub(super) fn end_peer(&mut self, id: PeerId, broken: bool) {
        let slot = &mut *self.slot;
        slot.end_talk(id);
        if let Some(connection) = slot.peers.end(id, broken).and_then(|ended| ended.name) {
            slot.report_peer(PeerReport::Ended { connection });
        }
        slot.show_peers();
    }

    /// Ends what nobody wants any more.
    pub(super) fn sweep_peers(&mut self) {
        let tick = self.slot.tick();
        for id in self.slot.peers.stale(tick) {
            self.end_peer(id, true);
        }
    }

    /// Tells the control task what became of connections. It may not take the room of a report that is owed.
    pub(super) fn tell_peers(&mut self) {
        let slot = &mut *self.slot;
        while slot.reports.free_slots() > limits::REPORTS_MAX
            && let Some(report) = slot.peer_reports.pop_front()
        {
            // Refused only where nobody reads any more.
            let _ = slot.reports.push(Report::Peer(report));
        }
    }
}

/// Whether another accept would meet the same: descriptors or memory are short.
fn is_for_good(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
