//! What the network sends back: ICMP errors about datagrams that left relay sockets.

use crate::net::Departing;
use crate::net::Events;
use crate::proto::media::DropReason;
use crate::proto::media::returned;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::wire::icmp;

use super::Worker;

/// Errors that one relay socket may tell in a round. What is left is told again at the next.
pub(super) const ERRORS_BUDGET: usize = 16;

impl Worker<'_> {
    /// What relay sockets have on their error queues. It is read before their datagrams, because a socket with an
    /// error tells that first.
    pub(super) fn hear_errors(&mut self, events: &Events) {
        for relay in events.broken_relays() {
            let tick = self.slot.tick();
            self.hear_errors_of(tick, *relay);
        }
    }

    fn hear_errors_of(&mut self, tick: Tick, relay: RelayId) {
        let mut out = [0; icmp::INDICATION_MAX];
        for _ in 0..ERRORS_BUDGET {
            let slot = &*self.slot;
            let Some(Ok(told)) = slot.path.find(relay).map(|socket| socket.receive_icmp()) else {
                return;
            };
            let Some((peer, icmp)) = told else { continue };
            let judged = returned::icmp_to_client(&slot.table, tick, relay, peer, icmp, &mut out);
            if let Some((to, len)) = judged {
                self.tell_client(to, &out[..len]);
            }
        }
    }

    /// Sends one message of the server's own.
    pub(super) fn tell_client(&mut self, to: FiveTuple, bytes: &[u8]) {
        if to.transport.is_stream() {
            return self.slot.send_on_stream(to, bytes, 0);
        }
        #[cfg(feature = "dtls")]
        if to.transport == crate::proto::types::Transport::Dtls {
            self.say_over_dtls(to, bytes, IpHeader::default());
            return;
        }
        let Some((_, door)) = self.slot.door_of(to.server) else {
            return self.slot.stats.count_drop(DropReason::SendFailed);
        };
        let heading = door.heading_to(&to, IpHeader::default());
        let departing = Departing::new(bytes, &heading);
        let mut failed = false;
        self.sender.send(&door.listener, std::iter::once(departing), |_, _| failed = true);
        if failed {
            self.slot.stats.count_drop(DropReason::SendFailed);
        }
    }
}
