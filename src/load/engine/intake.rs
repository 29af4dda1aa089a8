//! What comes to a thread's sockets: packets of peers, which are measured at once, and messages of the server.

use rustix::io::Errno;

use crate::load::carrier::Parcel;
use crate::load::measure::Meter;
use crate::load::payload::Stamp;
use crate::load::payload::Way;
use crate::proto::types::StreamId;

use super::call::Call;
use super::client::Wire;
use super::clock::Wall;
use super::path;
use super::path::Path;
use super::thread::RECEIVED;
use super::thread::Thread;

/// The clocks of kernel and process differ by no more than this, as they are read one after the other.
const SKEW_NS: u64 = 50_000;

impl Thread {
    /// Reads what has come by a client's connection, and goes on with that as far as it goes.
    pub(super) fn receive_line(&mut self, id: StreamId) {
        let clock = self.common.clock;
        let (run, now_ns) = (self.common.run, clock.now_ns());
        let is_legacy = self.common.server.carrier.is_legacy();
        let Self { clients, calls, meter, control, room, tally, .. } = self;
        let Some(client) = clients.get_mut(id) else { return };
        let (end, path) = (client.end, client.path);
        let Some(call) = calls.get_mut(client.call) else { return };
        let mut counted = std::mem::take(&mut client.counted);
        let mut each = |parcel: Parcel<'_>| match parcel {
            Parcel::Data(bytes) => {
                counted.take(bytes, |packet| measure(call, end, meter, run, now_ns, packet));
            }
            Parcel::Message(message) => {
                if is_legacy && let Some(bytes) = path::read_legacy(message) {
                    return counted.take(bytes, |packet| measure(call, end, meter, run, now_ns, packet));
                }
                if !take_in((end, path, is_legacy), call, meter, run, now_ns, message) {
                    control.push((id, now_ns, message.into()));
                }
            }
        };
        let news = client.on_line(clock.instant(now_ns), now_ns, room, &mut each, tally);
        client.counted = counted;
        self.spread(id, news);
        self.watch(id);
        self.arm(id);
    }

    /// Reads what has come to a client.
    pub(super) fn receive_client(&mut self, id: StreamId, wall: &Wall) {
        if self.common.dialler.is_some() {
            return self.receive_line(id);
        }
        let (run, reads) = (self.common.run, self.common.reads);
        let is_legacy = self.common.server.carrier.is_legacy();
        let mut is_closed = false;
        {
            let Self { clients, calls, batch, meter, control, dropped, .. } = self;
            let Some(client) = clients.get_mut(id) else { return };
            let Some(call) = calls.get_mut(client.call) else { return };
            loop {
                let Wire::Datagrams(socket) = &client.wire else { return };
                batch.clear();
                let arrived = match socket.receive(batch, reads) {
                    Ok(arrived) => arrived,
                    // The network's word on an earlier datagram; it is told once, and what waits is still there.
                    Err(Errno::CONNREFUSED) if !is_closed => {
                        is_closed = true;
                        continue;
                    }
                    Err(_) => break,
                };
                if let Some(lost) = arrived.lost {
                    *dropped += u64::from(lost.wrapping_sub(client.dropped));
                    client.dropped = lost;
                }
                for place in arrived.places {
                    let at_ns = wall.arrival_ns(batch.meta(place).arrived);
                    let message = batch.datagram(place);
                    if !take_in((client.end, client.path, is_legacy), call, meter, run, at_ns, message) {
                        control.push((id, at_ns, message.into()));
                    }
                }
                if !arrived.is_full {
                    break;
                }
            }
        }
        if is_closed && let Some(client) = self.clients.get_mut(id) {
            let news = client.on_closed_port();
            self.spread(id, news);
        }
    }

    /// Reads a batch of what has come to the peers of this process. Answers whether there may be more.
    pub(super) fn receive_peers(&mut self, wall: &Wall) -> bool {
        let run = self.common.run;
        let Self { peers, calls, by_number, batch, meter, dropped, .. } = self;
        let Some(peers) = peers else { return false };
        batch.clear();
        let Ok(arrived) = peers.socket.receive(batch, RECEIVED) else { return false };
        if let Some(lost) = arrived.lost {
            *dropped += u64::from(lost.wrapping_sub(peers.dropped));
            peers.dropped = lost;
        }
        for place in arrived.places {
            let at_ns = wall.arrival_ns(batch.meta(place).arrived);
            let payload = batch.datagram(place);
            if payload.is_empty() {
                // It opened the way in the old dialect.
                continue;
            }
            let stamp = Stamp::read(payload).filter(|stamp| stamp.run == run);
            let call = stamp.and_then(|stamp| by_number.get(&stamp.call)).and_then(|id| calls.get_mut(*id));
            match (stamp, call) {
                (Some(stamp), Some(call)) => {
                    call.hear(meter, &stamp, Way::Up, payload.len(), not_before(at_ns, stamp.due_ns));
                }
                _ => meter.stranger(),
            }
        }
        arrived.is_full
    }
}

/// Measures a packet of the peer of a client, of which end, path and dialect are given. Answers whether it was one; what is
/// none is a message of the server.
fn take_in(
    (end, path, is_legacy): (Way, Option<Path>, bool),
    call: &mut Call,
    meter: &mut Meter,
    run: u32,
    at_ns: u64,
    message: &[u8],
) -> bool {
    if is_legacy {
        let Some(payload) = path::read_legacy(message) else { return false };
        measure(call, end, meter, run, at_ns, Some(payload));
        return true;
    }
    let Some((channel, payload)) = path::read(message) else { return false };
    let is_ours = match (path, channel) {
        (Some(Path::Channel(ours)), Some(channel)) => ours == channel,
        // A server may send an indication where there is a channel, and packets may overtake the answer to a request.
        _ => true,
    };
    measure(call, end, meter, run, at_ns, is_ours.then_some(payload));
    true
}

/// Measures a payload that came to an end of a call; without one it was somebody else's.
fn measure(call: &mut Call, end: Way, meter: &mut Meter, run: u32, at_ns: u64, payload: Option<&[u8]>) {
    if payload.is_some_and(<[u8]>::is_empty) {
        // It opened the way in the old dialect.
        return;
    }
    let payload = payload.unwrap_or_default();
    match Stamp::read(payload).filter(|stamp| stamp.run == run) {
        Some(stamp) => {
            let at_ns = not_before(at_ns, stamp.due_ns);
            call.hear(meter, &stamp, end.back(), payload.len(), at_ns);
        }
        None => meter.stranger(),
    }
}

/// Nothing arrives before it was due, but two clocks may say so.
const fn not_before(at_ns: u64, due_ns: u64) -> u64 {
    if due_ns > at_ns && due_ns - at_ns <= SKEW_NS { due_ns } else { at_ns }
}
