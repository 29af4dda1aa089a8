//! What came to listeners: whose it is, and on its way to a peer.

use std::ops::Range;

use crate::net::Events;
use crate::net::Heading;
use crate::net::Token;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::Located;
use crate::proto::media::forward;
use crate::proto::media::forward::Outward;
use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::relay::egress::Bytes;
use crate::relay::egress::Departure;
use crate::relay::egress::Kind;
use crate::relay::egress::Way;

use super::BATCH;
use super::Slot;
use super::Worker;
use super::count_receive_error;
use super::departure_to;
use super::hand_up;

/// Batches that one listener may bring in a round.
pub(super) const LISTENER_BATCHES: usize = 4;

/// Datagrams of a run, and whose they are.
pub(super) struct Known {
    run: Range<usize>,
    from: FiveTuple,
    at: Located,
}

impl Worker<'_> {
    /// What came to listeners.
    pub(super) fn hear_clients(&mut self, events: &Events) {
        for index in 0..events.others() {
            if let Some(Token::Listener(door)) = events.token(index) {
                for _ in 0..LISTENER_BATCHES {
                    if !self.hear_listener(door) || self.leaving {
                        break;
                    }
                }
            }
        }
    }

    /// One batch. Answers whether there may be more.
    fn hear_listener(&mut self, index: u16) -> bool {
        let slot = &mut *self.slot;
        let (arrived, lost) = match slot.doors[usize::from(index)].receive(&mut self.batch) {
            Ok(arrived) => arrived,
            Err(error) => {
                count_receive_error(&slot.stats, error);
                return false;
            }
        };
        slot.stats.listener_losses.add(lost.into());
        let tick = slot.tick();
        self.look_up(index, arrived.places);
        let known = std::mem::take(&mut self.known);
        for Known { run, from, at } in &known {
            self.judge_run(tick, index, run.clone(), (from, *at));
        }
        self.known = known;
        self.tell_arrivals();
        // It works on the requests while answers leave.
        self.slot.wake_control();
        self.flush();
        self.obey();
        arrived.is_full
    }

    /// Finds out whose these datagrams are. What stands of all of them in the table is fetched at one time: after a while it
    /// has left the processor's caches, and one after the other each packet would wait for it.
    fn look_up(&mut self, door: u16, mut places: Range<usize>) {
        let slot = &*self.slot;
        let listener = &slot.doors[usize::from(door)].listener;
        self.known.clear();
        while !places.is_empty() {
            let run = self.batch.run_of(places.clone());
            places.start = run.end;
            let meta = self.batch.meta(run.start);
            let bytes = run.clone().map(|place| self.batch.payload(place).len() as u64).sum();
            slot.stats.from_clients.add(run.len() as u64, bytes);
            let (Some(client), Some(server)) = (meta.from, listener.server_of(meta)) else {
                slot.stats.count_drops(DropReason::Unclassified, run.len() as u64);
                continue;
            };
            let from = FiveTuple { client: ClientAddr::new(client), server, transport: Transport::Udp };
            let at = slot.table.locate(&from);
            self.known.push(Known { run, from, at });
        }
        if self.known.len() > 1 {
            let relays = self.known.iter().filter_map(|known| slot.table.fetch(known.at));
            relays.for_each(|relay| slot.path.fetch(relay));
        }
    }

    /// Datagrams of one sender.
    fn judge_run(&mut self, tick: Tick, door: u16, run: Range<usize>, (from, at): (&FiveTuple, Located)) {
        let arrived = self.batch.meta(run.start).header;
        let mut left = run;
        while !left.is_empty() {
            let next = self.pass_along(tick, (from, at), arrived, left.clone());
            if next == left.start {
                self.judge_client(tick, (door, next), (from, at), arrived);
                left.start += 1;
            } else {
                left.start = next;
            }
            self.flush_full();
        }
    }

    /// Passes on what goes the same way as the first of these datagrams, if that is by a channel and to a peer that is no relay
    /// of this worker. Answers the place of the first that was not looked at.
    fn pass_along(
        &mut self,
        tick: Tick,
        located: (&FiveTuple, Located),
        arrived: IpHeader,
        places: Range<usize>,
    ) -> usize {
        let Slot { table, path, stats, .. } = &mut *self.slot;
        let first = self.batch.datagram(places.start);
        let Some(outward) = Outward::of(table, tick, located, arrived, first) else { return places.start };
        let Outward { relay, peer, header, .. } = outward;
        if path.neighbour(relay, peer).is_some() {
            return places.start;
        }
        let heading = Heading { header, ..Heading::to(peer.socket()) };
        let end = places.end.min(places.start + (BATCH - self.egress.len()));
        for place in places.start..end {
            let Some(data) = outward.follow(self.batch.datagram(place)) else { return place };
            if self.batch.is_truncated(place) {
                return place;
            }
            #[cfg(feature = "fault-injection")]
            stats.fault.meet_packet();
            match outward.charge(tick, data.len()) {
                Ok(()) => {
                    let bytes = Bytes::Slot { place, range: self.batch.range_of(place, data) };
                    self.egress.push(departure_to(path, relay, heading, bytes, data.len()));
                }
                Err(reason) => stats.count_drop(reason),
            }
        }
        end
    }

    fn judge_client(
        &mut self,
        tick: Tick,
        (door, place): (u16, usize),
        (from, at): (&FiveTuple, Located),
        arrived: IpHeader,
    ) {
        let slot = &mut *self.slot;
        #[cfg(feature = "fault-injection")]
        slot.stats.fault.meet_packet();
        if self.batch.is_truncated(place) {
            return slot.stats.count_drop(DropReason::TooLarge);
        }
        let datagram = self.batch.datagram(place);
        #[cfg(feature = "dtls")]
        if crate::proto::wire::dtls::is_record(datagram) && !slot.table.has_client(from) {
            return self.hear_record(tick, door, place, *from);
        }
        match forward::from_located(&slot.table, tick, (from, at), arrived, datagram) {
            FromClient::ToPeer { relay, peer, data, header } => {
                let (range, len) = (self.batch.range_of(place, data), data.len());
                if let Some((other, source)) = slot.path.neighbour(relay, peer) {
                    slot.stats.to_peers.add(1, len as u64);
                    slot.stats.from_peers.add(1, len as u64);
                    // No UDP socket would see that it had to stay whole.
                    let header = IpHeader { dont_fragment: false, ..header };
                    return self.pass_to_client(
                        tick,
                        &(other, source, header),
                        place..place + 1,
                        Some(range),
                    );
                }
                let heading = Heading { header, ..Heading::to(peer.socket()) };
                let bytes = Bytes::Slot { place, range };
                self.egress.push(departure_to(&mut slot.path, relay, heading, bytes, len));
            }
            FromClient::LiveRequest => hand_up(&mut slot.live, &slot.stats, *from, datagram),
            FromClient::StrangerRequest => self.greet(tick, door, place, *from),
            FromClient::Drop(reason) => slot.stats.count_drop(reason),
        }
    }

    /// A stranger's request: answered here as far as that needs no state.
    fn greet(&mut self, tick: Tick, door: u16, place: usize, from: FiveTuple) {
        let slot = &mut *self.slot;
        let datagram = self.batch.datagram(place);
        // There is one for each departure between two flushes.
        let at = self.egress.len();
        let out = &mut self.answers[at * limits::RESPONSE_MAX..][..limits::RESPONSE_MAX];
        match slot.challenger.greet(tick, &from, datagram, out) {
            Greeting::Answer { len, .. } if !slot.strangers.spend(tick, from.client, datagram, len) => {
                slot.stats.count_drop(DropReason::StrangerBudget);
            }
            Greeting::Answer { len, code, to } => {
                // Behaviour discovery may want it to leave from another listener of this worker.
                let found = if to.server == from.server {
                    Some((door, &slot.doors[usize::from(door)]))
                } else {
                    slot.door_of(to.server)
                };
                let Some((place, door)) = found else {
                    return slot.stats.count_drop(DropReason::SendFailed);
                };
                slot.stats.count_answer(code);
                slot.stats.answers_elsewhere.add(u64::from(to != from));
                self.egress.push(Departure {
                    way: Way::Listener(place),
                    bytes: Bytes::Answer { place: at, len },
                    heading: door.heading_to(&to, IpHeader::default()),
                    kind: Kind::Answer,
                    data_len: 0,
                    relay: None,
                });
            }
            Greeting::ToControl => {
                slot.strangers.earn(from.client, datagram.len());
                hand_up(&mut slot.fresh, &slot.stats, from, datagram);
            }
            Greeting::Malformed => slot.stats.count_drop(DropReason::StrangerMalformed),
        }
    }
}
