//! What a batch makes leave.

use rustix::io::Errno;

use crate::net::Departing;
use crate::net::RelaySocket;
use crate::net::Sender;
use crate::proto::media::DropReason;
use crate::proto::types::limits;
use crate::relay::egress::Bytes;
use crate::relay::egress::Departure;
use crate::relay::egress::Kind;
use crate::relay::egress::Way;

use super::Worker;

impl Worker<'_> {
    /// Sends what the batch makes leave, with one call for each run of [`super::Egress::groups`].
    pub(super) fn flush(&mut self) {
        let Self { slot, batch, answers, inbound, egress, sender, .. } = self;
        let stats = &slot.stats;
        stats.batches.add(1);
        for (way, group) in egress.groups() {
            let departing = group.iter().map(|(_, departure)| Departing {
                bytes: match &departure.bytes {
                    Bytes::Slot { place, range } => batch.bytes(*place, range.clone()),
                    Bytes::Answer { place, len } => &answers[place * limits::RESPONSE_MAX..][..*len],
                    Bytes::Inbound { range } => &inbound[range.clone()],
                },
                to: departure.to,
                source: departure.source,
                header: departure.header,
            });
            let mut left = Left::of(group);
            let failed = |index: usize, error: Errno| {
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
                Way::Relay(relay) => match slot.sockets.find(relay) {
                    Some(socket) if group[0].1.is_whole() => send_whole(sender, socket, departing, failed),
                    Some(socket) => sender.send(socket, departing, failed),
                    None => {
                        group.iter().for_each(|_| stats.count_drop(DropReason::StaleRelay));
                        left = Left::default();
                    }
                },
            }
            stats.to_peers.add(left.to_peer.0, left.to_peer.1);
            stats.to_clients.add(left.to_client.0, left.to_client.1);
        }
        egress.clear();
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

/// Packets and application data that left.
#[derive(Default)]
struct Left {
    to_peer: (u64, u64),
    to_client: (u64, u64),
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
            Kind::Answer => None,
        }
    }
}
