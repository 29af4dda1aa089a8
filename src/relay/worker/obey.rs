//! Commands of the control task.

use crate::net::Departing;
use crate::net::Heading;
use crate::proto::media::DropReason;
use crate::proto::media::TableChange;
use crate::proto::media::sent_to_peer;
#[cfg(feature = "dtls")]
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
#[cfg(feature = "dtls")]
use crate::proto::types::Transport;
use crate::relay::Report;
use crate::relay::ToWorker;

use super::Worker;

/// Commands carried out between two batches.
const COMMANDS_BUDGET: usize = 64;

impl Worker<'_> {
    /// Carries out what waits, in order and within the budget. Replies leave together behind all of it, which is late enough
    /// for each: what they tell of is in place, and nothing was read meanwhile.
    pub(super) fn obey(&mut self) {
        self.carry_out_each();
        self.flush_replies();
        self.slot.wake_control();
    }

    /// A command is taken only while its report has room.
    fn carry_out_each(&mut self) {
        for _ in 0..COMMANDS_BUDGET {
            // What is void is reported about by nobody.
            if self.leaving || !(self.slot.is_void() || self.slot.reports_have_room()) {
                return;
            }
            // Asked before the pop: nothing can follow what an abandoned ring held then.
            let abandoned = self.slot.commands.is_abandoned();
            match self.slot.commands.pop() {
                Some(command) if self.slot.is_void() => self.pass_over(command),
                Some(command) => self.carry_out(command),
                None => {
                    self.leaving |= abandoned;
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, command: ToWorker) {
        let slot = &mut *self.slot;
        #[cfg(feature = "fault-injection")]
        slot.stats.fault.meet_command();
        if let Some(change) = slot.held.take() {
            slot.table.apply(change);
        }
        match command {
            ToWorker::Open { relay, bind } => {
                let report = match slot.path.open(&slot.poll, relay, bind) {
                    Ok(bound) => Report::Opened { relay, bound },
                    Err(error) => Report::Failed { relay, error },
                };
                slot.stats.relay_sockets.set(slot.path.len() as u64);
                self.report(report);
            }
            ToWorker::Close { relay } => {
                let by_kernel = slot.path.take_back(relay);
                slot.path.close(relay);
                slot.peers.close(relay);
                slot.talks.close(relay);
                slot.show_peers();
                slot.stats.relay_sockets.set(slot.path.len() as u64);
                let mut counters = slot.table.forget(relay);
                counters.add(by_kernel);
                self.report(Report::Closed { relay, counters });
            }
            ToWorker::Table(change @ TableChange::Destination { .. }) => slot.held = Some(change),
            ToWorker::Table(change) => {
                if let TableChange::Insert(new) = &change {
                    slot.expect_stream(new.five_tuple);
                }
                slot.apply(change);
            }
            ToWorker::Reply { to, bytes } if to.transport.is_stream() => self.reply_on_stream(to, &bytes),
            #[cfg(feature = "dtls")]
            ToWorker::Reply { to, bytes } if to.transport == Transport::Dtls => {
                let left = self.say_over_dtls(to, &bytes, IpHeader::default());
                self.slot.stats.replies.add(left.into());
            }
            ToWorker::Reply { to, bytes } => self.reply(to, bytes),
            ToWorker::Stop => self.leaving = true,
            ToWorker::Announce { username_anonymity } => slot.announce(username_anonymity),
            ToWorker::Detach { relay, keep } => self.detach(relay, keep),
            ToWorker::Attach { parcel, next } => {
                slot.expect_stream(next);
                self.attach(*parcel, next);
            }
            // For an epoch that is over, or that nobody fell into.
            ToWorker::Rebuild { .. } => {}
            ToWorker::Rebuilt => self.rebuilt(),
            ToWorker::Send { relay, peer, data } => self.send_to_peer(relay, peer, &data),
            ToWorker::OpenPort { relay, bind } => self.open_port(relay, bind),
            ToWorker::Peer(order) => self.order_peer(order),
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        // Room was there when the command was taken, and nothing else pushes; without a reader it does not matter.
        let refused = self.slot.reports.put(report).is_err();
        debug_assert!(!refused || self.slot.reports.is_abandoned(), "a report without room");
    }

    fn send_to_peer(&mut self, relay: RelayId, peer: PeerAddr, data: &[u8]) {
        let slot = &mut *self.slot;
        let to = match sent_to_peer(&slot.table, slot.tick(), relay, peer, data.len()) {
            Ok(to) => to.socket(),
            Err(reason) => return slot.stats.count_drop(reason),
        };
        if slot.peers.has_port(relay) {
            if slot.say_to_peer(relay, PeerAddr::new(to), data) != Some(true) {
                slot.stats.count_drop(DropReason::SendFailed);
            }
            return;
        }
        let Some(socket) = slot.path.find_to_send(relay) else {
            return slot.stats.count_drop(DropReason::StaleRelay);
        };
        let heading = Heading::to(to);
        let departing = Departing::new(data, &heading);
        let mut left = 1;
        self.sender.send(socket, std::iter::once(departing), |_, _| left = 0);
        if left == 0 {
            return slot.stats.count_drop(DropReason::SendFailed);
        }
        slot.stats.to_peers.add(1, data.len() as u64);
    }
}
