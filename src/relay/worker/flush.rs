//! What a batch makes leave.

use rustix::io::Errno;

use crate::net::Departing;
use crate::net::DepartingPacket;
use crate::net::Heading;
use crate::net::RawSender;
use crate::net::RawSocket;
use crate::net::RelaySocket;
use crate::net::Sender;
use crate::proto::media::DropReason;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::RelayId;
use crate::proto::types::limits;
use crate::relay::egress::Bytes;
use crate::relay::egress::Departure;
use crate::relay::egress::Kind;
use crate::relay::egress::Way;
use crate::relay::path::Path;

use super::BATCH;
use super::Worker;

/// Application data of `relay` on its way to a peer, by a raw socket where there is one.
pub(super) fn departure_to(
    path: &mut Path,
    relay: RelayId,
    heading: Heading,
    bytes: Bytes,
    data_len: usize,
) -> Departure {
    let (way, relay) = match path.raw_for(relay, heading.to, data_len) {
        Some(raw) => (Way::Raw(raw.place), Some((relay, raw.from))),
        None => (Way::Relay(relay), None),
    };
    Departure { way, bytes, heading, kind: Kind::ToPeer, data_len, relay }
}

impl Worker<'_> {
    /// Sends what waits if no more may: a run brings more datagrams than a batch has slots.
    pub(super) fn flush_full(&mut self) {
        if self.egress.len() >= BATCH {
            self.flush();
        }
    }

    /// Sends what the batch makes leave, with one call for each run of [`super::Egress::groups`].
    pub(super) fn flush(&mut self) {
        self.slot.stats.batches.add(1);
        self.send_off();
    }

    fn send_off(&mut self) {
        let Self { slot, batch, answers, inbound, egress, sender, packets, replies, .. } = self;
        let stats = &slot.stats;
        for (way, group) in egress.groups() {
            let departing = group.iter().map(|(_, departure)| {
                let (head, bytes): (&[u8], &[u8]) = match &departure.bytes {
                    Bytes::Slot { place, range } => (&[], batch.bytes(*place, range.clone())),
                    Bytes::Framed { place, range, head } => (head, batch.bytes(*place, range.clone())),
                    Bytes::Answer { place, len } => (&[], &answers[place * limits::RESPONSE_MAX..][..*len]),
                    Bytes::Inbound { range } => (&[], &inbound[range.clone()]),
                    Bytes::Reply { place } => (&[], &replies[*place]),
                };
                Departing { head, bytes, heading: &departure.heading }
            });
            let mut left = Left::of(group);
            let mut failed = |index: usize, error: Errno| {
                let (_, departure) = &group[index];
                left.take_back(departure);
                stats.count_drop(match error {
                    Errno::MSGSIZE if departure.is_whole() => DropReason::LinkMtu,
                    _ => DropReason::SendFailed,
                });
            };
            match way {
                Way::Listener(door) => {
                    sender.send(&slot.doors[usize::from(door)].listener, departing, failed);
                }
                Way::Relay(relay) => match slot.path.find(relay) {
                    Some(socket) if group[0].1.is_whole() => send_whole(sender, socket, departing, failed),
                    Some(socket) => sender.send(socket, departing, failed),
                    None => {
                        group.iter().for_each(|_| stats.count_drop(DropReason::StaleRelay));
                        left = Left::default();
                    }
                },
                Way::Raw(place) => match slot.path.raw(place) {
                    Some(raw) => {
                        let relay = |index: usize| {
                            let departure = &group[index].1;
                            let (relay, from) = departure.relay.unzip();
                            let own = relay
                                .filter(|_| !departure.is_whole())
                                .and_then(|relay| slot.path.find(relay));
                            (from.unwrap_or(0), own)
                        };
                        send_raw((packets, sender), raw, departing, relay, failed);
                    }
                    None => (0..group.len()).for_each(|index| failed(index, Errno::BADF)),
                },
            }
            stats.to_peers.add(left.to_peer.0, left.to_peer.1);
            stats.to_clients.add(left.to_client.0, left.to_client.1);
            stats.replies.add(left.replies.0);
        }
        egress.clear();
        replies.clear();
        slot.path.next_batch();
    }

    /// Has a reply of the control task leave with the next [`Self::flush_replies`].
    pub(super) fn reply(&mut self, to: FiveTuple, bytes: Box<[u8]>) {
        let Some((place, door)) = self.slot.door_of(to.server) else {
            return self.slot.stats.count_drop(DropReason::SendFailed);
        };
        self.egress.push(Departure {
            way: Way::Listener(place),
            bytes: Bytes::Reply { place: self.replies.len() },
            heading: door.heading_to(&to, IpHeader::default()),
            kind: Kind::Reply,
            data_len: 0,
            relay: None,
        });
        self.replies.push(bytes);
    }

    /// Sends what [`Self::reply`] was given.
    pub(super) fn flush_replies(&mut self) {
        if !self.replies.is_empty() {
            self.send_off();
        }
    }
}

/// Sends what must not be fragmented. For IPv4 only the socket as a whole can say so, so it does for as long as this
/// takes; where it cannot, nothing is sent.
fn send_whole<'a>(
    sender: &mut Sender,
    socket: &RelaySocket,
    departing: impl Iterator<Item = Departing<'a>>,
    mut failed: impl FnMut(usize, Errno),
) {
    if socket.set_whole(true).is_err() {
        return departing.enumerate().for_each(|(index, _)| failed(index, Errno::INVAL));
    }
    sender.send(socket, departing, failed);
    // An option that could be set can be set back.
    let _ = socket.set_whole(false);
}

/// Sends packets by a raw socket; `origin` tells of each which port it leaves from, and the bound socket by which it may leave
/// in fragments if it is too long for the link.
fn send_raw<'a>(
    (packets, sender): (&mut RawSender, &mut Sender),
    raw: &RawSocket,
    departing: impl Iterator<Item = Departing<'a>> + Clone,
    origin: impl Fn(usize) -> (u16, Option<&'a RelaySocket>),
    mut failed: impl FnMut(usize, Errno),
) {
    let again = departing.clone();
    let departing = departing.enumerate().map(|(index, one)| DepartingPacket {
        bytes: one.bytes,
        from: origin(index).0,
        heading: one.heading,
    });
    packets.send(raw, departing, |index, error| match (origin(index).1, again.clone().nth(index)) {
        (Some(socket), Some(one)) if error == Errno::MSGSIZE => {
            sender.send(socket, std::iter::once(one), |_, error| failed(index, error));
        }
        _ => failed(index, error),
    });
}

/// Packets and application data that left.
#[derive(Default)]
struct Left {
    to_peer: (u64, u64),
    to_client: (u64, u64),
    replies: (u64, u64),
}

impl Left {
    /// As if all of `group` left.
    fn of(group: &[(usize, Departure)]) -> Self {
        let mut left = Self::default();
        for (_, departure) in group {
            if let Some((packets, bytes)) = left.of_kind(departure.kind) {
                *packets += 1;
                *bytes += departure.data_len as u64;
            }
        }
        left
    }

    fn take_back(&mut self, departure: &Departure) {
        if let Some((packets, bytes)) = self.of_kind(departure.kind) {
            *packets -= 1;
            *bytes -= departure.data_len as u64;
        }
    }

    fn of_kind(&mut self, kind: Kind) -> Option<&mut (u64, u64)> {
        match kind {
            Kind::ToPeer => Some(&mut self.to_peer),
            Kind::ToClient => Some(&mut self.to_client),
            Kind::Reply => Some(&mut self.replies),
            Kind::Answer => None,
        }
    }
}
