//! One worker: what it owns, and its loop.
//!
//! Priorities of a round, each with a budget so that none starves the next: commands, listeners, relay sockets.
//! Sockets are watched level-triggered, so what a budget leaves is told again at the next round.

#[cfg(feature = "dtls")]
mod dtls;
mod errors;
mod flush;
mod moves;
mod obey;
mod peers;
mod restart;
mod slot;
mod steered;
mod streams;
mod talks;

use std::io;
use std::ops::Range;
use std::panic;
use std::panic::AssertUnwindSafe;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Events;
use crate::net::Heading;
use crate::net::RawSender;
use crate::net::Sender;
use crate::net::Token;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Located;
use crate::proto::media::forward;
use crate::proto::media::forward::Inward;
use crate::proto::media::forward::Outward;
use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::ring;

use super::RequestUp;
use super::Stats;
use super::egress::Bytes;
use super::egress::Departure;
use super::egress::Egress;
use super::egress::Kind;
use super::egress::Way;

use flush::departure_to;
pub(super) use slot::Slot;
pub(super) use slot::SlotParts;

/// Datagrams of one batch.
const BATCH: usize = 64;
/// Batches that one listener may bring in a round.
const LISTENER_BATCHES: usize = 4;
/// Datagrams that one relay socket may bring in a round.
const RELAY_BUDGET: usize = 32;
/// Sockets that are told of in a round.
const EVENTS: usize = 256;

/// The life of a worker's thread: works until `work` ends, and once more after a panic, with the same slot. The ends of
/// the rings go with the slot, so the control task sees the end; the statistics, which others hold, say it too.
pub(super) fn live(worker: u16, mut slot: Slot, mut work: impl FnMut(&mut Slot) -> io::Result<()>) {
    tracing::debug!(worker, "worker starts");
    loop {
        match panic::catch_unwind(AssertUnwindSafe(|| work(&mut slot))) {
            Ok(Ok(())) => tracing::debug!(worker, "worker leaves"),
            Ok(Err(error)) => tracing::error!(worker, %error, "worker ends: cannot wait for its sockets"),
            Err(_) if slot.may_restart() => {
                slot.restart();
                tracing::debug!(worker, epoch = slot.epoch, "worker starts anew");
                continue;
            }
            Err(_) => tracing::error!(worker, "worker ends: it panics before its table is rebuilt"),
        }
        break;
    }
    slot.stats.end();
}

/// Works until it is told to stop, or until the control task is gone.
///
/// # Errors
/// What the kernel says when it cannot be waited.
pub(super) fn run(slot: &mut Slot) -> io::Result<()> {
    let mut events = Events::new(EVENTS);
    let mut worker = Worker::new(slot);
    worker.await_rebuild()?;
    while !worker.leaving {
        worker.wait(&mut events)?;
        worker.obey();
        worker.hear_clients(&events);
        worker.serve_streams(&events);
        #[cfg(feature = "dtls")]
        worker.look_after_dtls();
        worker.serve_peers(&events);
        worker.hear_errors(&events);
        worker.hear_peers(&events);
        worker.hear_steered(&events);
        worker.flush_streams();
        worker.tell_gone();
        worker.tell_peers();
        worker.slot.look_around();
    }
    Ok(())
}

/// The loop's own memory, allocated at its start.
struct Worker<'s> {
    slot: &'s mut Slot,
    batch: Batch,
    /// An answer to a stranger for each departure.
    answers: Box<[u8]>,
    /// The bytes of the connection that is being looked at.
    inbound: Box<[u8]>,
    egress: Egress,
    sender: Sender,
    packets: RawSender,
    leaving: bool,
    /// Of the control task, and on their way to clients.
    replies: Vec<Box<[u8]>>,
    /// Whose the datagrams of a listener's batch are.
    known: Vec<Known>,
    /// For which relays the datagrams of a shared socket's batch are.
    owners: Vec<Option<RelayId>>,
}

/// Datagrams of a run, and whose they are.
#[derive(Clone)]
struct Known {
    run: Range<usize>,
    from: FiveTuple,
    at: Located,
}

impl<'s> Worker<'s> {
    fn new(slot: &'s mut Slot) -> Self {
        let seeds = slot.seed.seeds(slot.epoch);
        let sender = if slot.leave_singly { Sender::one_by_one(BATCH) } else { Sender::new(BATCH) };
        Self {
            slot,
            batch: Batch::new(BATCH),
            answers: vec![0; BATCH * limits::RESPONSE_MAX].into(),
            inbound: vec![0; streams::INBOUND].into(),
            egress: Egress::new(BATCH),
            sender,
            packets: RawSender::new(BATCH, seeds),
            leaving: false,
            replies: Vec::new(),
            known: Vec::with_capacity(BATCH),
            owners: Vec::with_capacity(BATCH),
        }
    }

    /// Sleeps until a socket or the control task has something.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let slot = &mut *self.slot;
        slot.wake_control();
        slot.wake.prepare_sleep();
        slot.poll.wait(events, slot.pause())?;
        slot.wake.cancel();
        if (0..events.len()).any(|index| events.token(index) == Some(Token::Wake)) {
            slot.wake.drain();
        }
        slot.stats.wakeups.add(1);
        Ok(())
    }

    /// What came to listeners.
    fn hear_clients(&mut self, events: &Events) {
        for index in 0..events.len() {
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
        for number in 0..self.known.len() {
            let Known { run, from, at } = self.known[number].clone();
            self.judge_run(tick, index, run, (&from, at));
        }
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
                    return self.pass_to_client(tick, (other, source, header), place..place + 1, Some(range));
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

    /// What came to relay sockets: gathered over many of them, because it all leaves by a few listeners.
    fn hear_peers(&mut self, events: &Events) {
        self.batch.clear();
        self.slot.path.next_round();
        let mut tick = self.slot.tick();
        let relays = (0..events.len()).filter_map(|index| match events.token(index) {
            Some(Token::Relay(relay)) => Some(relay),
            _ => None,
        });
        self.slot.fetch(relays);
        for index in 0..events.len() {
            let Some(Token::Relay(relay)) = events.token(index) else { continue };
            if self.batch.room() == 0 || self.batch.room_for_runs() == 0 {
                self.flush();
                self.obey();
                self.batch.clear();
                tick = self.slot.tick();
            }
            self.hear_relay(tick, relay);
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
    fn judge_peer(&mut self, tick: Tick, relay: RelayId, run: Range<usize>) {
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
            self.pass_to_client(tick, way, now, None);
            self.flush_full();
        }
    }

    /// What `peer` sent to `relay` with the IP header `arrived` stands at these places of the batch: the `part` of each, or
    /// all of it. There is room for as many departures.
    fn pass_to_client(
        &mut self,
        tick: Tick,
        (relay, peer, arrived): (RelayId, PeerAddr, IpHeader),
        places: Range<usize>,
        part: Option<Range<usize>>,
    ) {
        let slot = &*self.slot;
        let drop_all = |reason| slot.stats.count_drops(reason, places.len() as u64);
        let inward = match Inward::find(&slot.table, tick, relay, peer, arrived) {
            Ok(inward) => inward,
            Err(reason) => return drop_all(reason),
        };
        if inward.to.transport != Transport::Udp {
            return self.pass_by_connection(tick, (relay, peer, arrived), places, part);
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
        (relay, peer, arrived): (RelayId, PeerAddr, IpHeader),
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

/// Hands a request to the control task, which [`Slot::wake_control`] tells of it. One that finds no room is lost, as UDP may
/// lose it; the client asks again.
fn hand_up(ring: &mut ring::Sender<RequestUp>, stats: &Stats, from: FiveTuple, datagram: &[u8]) {
    if datagram.len() > limits::REQUEST_MAX {
        return stats.count_drop(DropReason::TooLarge);
    }
    // Looked at first, so that a flood that finds the ring full costs no copy.
    if ring.free_slots() == 0 || ring.put(RequestUp { from, bytes: datagram.into() }).is_err() {
        stats.count_drop(DropReason::RequestRingFull);
    }
}

/// `AGAIN` and `INTR` are no errors: nothing waits, or a signal came.
fn count_receive_error(stats: &Stats, error: Errno) {
    if error != Errno::AGAIN && error != Errno::INTR {
        stats.receive_errors.add(1);
    }
}

#[cfg(test)]
mod tests;
