//! What came to relay ports, and on its way to a client.

use std::ops::Range;

use crate::net::Batch;
use crate::net::Events;
use crate::proto::media::DropReason;
use crate::proto::media::FromPeer;
use crate::proto::media::forward;
use crate::proto::media::forward::Inward;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::relay::egress::Bytes;
use crate::relay::egress::Departure;
use crate::relay::egress::Kind;
use crate::relay::egress::Way;

use super::BATCH;
use super::Worker;
use super::count_receive_error;

/// Datagrams that one relay socket may bring in a round.
pub(super) const RELAY_BUDGET: usize = 32;

impl Worker<'_> {
    /// What came to relay sockets: gathered over many of them, because it all leaves by a few listeners.
    pub(super) fn hear_peers(&mut self, events: &Events) {
        self.batch.clear();
        self.slot.path.next_round();
        let mut tick = self.slot.tick();
        self.slot.fetch(events.relays());
        for relay in events.relays() {
            if !self.batch.has_room() {
                self.flush();
                self.obey();
                self.batch.clear();
                tick = self.slot.tick();
            }
            self.hear_relay(tick, *relay);
        }
        if !self.batch.is_empty() {
            self.flush();
        }
    }

    fn hear_relay(&mut self, tick: Tick, relay: RelayId) {
        let slot = &mut *self.slot;
        match slot.path.receive(relay, &mut self.batch, RELAY_BUDGET) {
            Ok((arrived, lost)) => {
                slot.stats.relay_losses.add(lost.into());
                let mut places = arrived.places;
                while !places.is_empty() {
                    let run = self.batch.run_of(places.clone());
                    places.start = run.end;
                    self.judge_peer(tick, relay, run);
                }
            }
            Err(error) => count_receive_error(&slot.stats, error),
        }
    }

    /// Datagrams of one peer, which share their way.
    pub(super) fn judge_peer(&mut self, tick: Tick, relay: RelayId, run: Range<usize>) {
        let stats = &self.slot.stats;
        let meta = self.batch.meta(run.start);
        let bytes = run.clone().map(|place| self.batch.payload(place).len() as u64).sum();
        stats.from_peers.add(run.len() as u64, bytes);
        #[cfg(feature = "fault-injection")]
        run.clone().for_each(|_| stats.fault.meet_packet());
        let Some(peer) = meta.from.map(PeerAddr::new) else {
            return stats.count_drops(DropReason::Unclassified, run.len() as u64);
        };
        let way = (relay, peer, meta.header);
        let mut left = run;
        while !left.is_empty() {
            let now = left.start..left.end.min(left.start + (BATCH - self.egress.len()));
            left.start = now.end;
            self.pass_to_client(tick, &way, now, None);
            self.flush_full();
        }
    }

    /// What `peer` sent to `relay` with the IP header `arrived` stands at these places of the batch: the `part` of each, or
    /// all of it. There is room for as many departures.
    pub(super) fn pass_to_client(
        &mut self,
        tick: Tick,
        way: &(RelayId, PeerAddr, IpHeader),
        places: Range<usize>,
        part: Option<Range<usize>>,
    ) {
        let (relay, peer, arrived) = *way;
        let slot = &*self.slot;
        let drop_all = |reason| slot.stats.count_drops(reason, places.len() as u64);
        let inward = match Inward::find(&slot.table, tick, relay, peer, arrived) {
            Ok(inward) => inward,
            Err(reason) => return drop_all(reason),
        };
        if inward.to.transport != Transport::Udp {
            return self.pass_by_connection(tick, way, places, part);
        }
        let Some((door, found)) = slot.door_of(inward.to.server) else {
            return drop_all(DropReason::SendFailed);
        };
        let heading = found.heading_to(inward.to, inward.header);
        for place in places {
            if self.batch.is_truncated(place) {
                slot.stats.count_drop(DropReason::TooLarge);
                continue;
            }
            let payload = part.clone().unwrap_or_else(|| self.batch.payload(place));
            let data_len = payload.len();
            // Charged before the bytes are touched: it waits for all that was written before.
            let charged = inward.charge(tick, data_len);
            match charged.and_then(|()| frame(&mut self.batch, &inward, place, payload)) {
                Ok(bytes) => self.egress.push(Departure {
                    way: Way::Listener(door),
                    bytes,
                    heading,
                    kind: Kind::ToClient,
                    data_len,
                    relay: None,
                }),
                Err(reason) => slot.stats.count_drop(reason),
            }
        }
    }

    /// The same for a client that is reached by a connection, or over DTLS.
    fn pass_by_connection(
        &mut self,
        tick: Tick,
        &(relay, peer, arrived): &(RelayId, PeerAddr, IpHeader),
        places: Range<usize>,
        part: Option<Range<usize>>,
    ) {
        for place in places {
            let slot = &mut *self.slot;
            if self.batch.is_truncated(place) {
                slot.stats.count_drop(DropReason::TooLarge);
                continue;
            }
            let (buffer, whole) = self.batch.slot_mut(place);
            let payload = part.clone().unwrap_or(whole);
            let data_len = payload.len();
            match forward::from_peer(&slot.table, tick, relay, peer, arrived, buffer, payload) {
                #[cfg(feature = "dtls")]
                FromPeer::ToClient { to, frame, .. } if to.transport == Transport::Dtls => {
                    self.relay_over_dtls(to, place, frame, data_len);
                }
                FromPeer::ToClient { to, frame, .. } => {
                    let bytes = self.batch.bytes(place, frame);
                    slot.send_on_stream(to, bytes, data_len);
                }
                FromPeer::Drop(reason) => slot.stats.count_drop(reason),
            }
        }
    }
}

/// Frames a part of the datagram at `place` for its client: where it stands, if a header in front of it is all that it takes
/// and there is no room for that, else in place.
fn frame(
    batch: &mut Batch,
    inward: &Inward<'_>,
    place: usize,
    part: Range<usize>,
) -> Result<Bytes, DropReason> {
    if batch.has_landed(place)
        && let Some(head) = inward.channel_header(part.len())
    {
        return Ok(Bytes::Framed { place, range: part, head });
    }
    let (buffer, _) = batch.slot_mut(place);
    Ok(Bytes::Slot { place, range: inward.frame(buffer, part)? })
}
