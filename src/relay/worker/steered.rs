//! What is steered to this worker: datagrams for all its relay ports on one socket, and ICMP errors that say in themselves
//! which port they are about.

use rustix::io::Errno;

use crate::net::Events;
use crate::net::Token;
use crate::net::returned::ReturnedPacket;
use crate::proto::media::DropReason;
use crate::proto::media::returned;
use crate::proto::types::PeerAddr;
use crate::proto::wire::icmp;

use super::BATCH;
use super::Worker;
use super::count_receive_error;

/// Batches that one family may bring in a round: they are of all allocations of the worker.
const BATCHES: usize = 4;
/// Batches that are read before an allocation goes to another worker: what may wait in a buffer of 8 MiB.
const BATCHES_READ_OUT: usize = 256;
/// ICMP errors that are looked at in a round. Most are somebody else's.
const ERRORS: usize = 64;

impl Worker<'_> {
    /// What came for relay ports that are steered here, and errors about what left them.
    pub(super) fn hear_steered(&mut self, events: &Events) {
        for index in 0..events.others() {
            match events.token(index) {
                Some(Token::Returned { v6 }) => self.hear_returned(v6),
                Some(Token::Steered { v6 }) => {
                    for _ in 0..BATCHES {
                        let full = self.hear_shared(v6);
                        self.obey();
                        if !full || self.leaving {
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads what waits, so that nothing of an allocation that goes is left behind.
    pub(super) fn read_out_steered(&mut self) {
        for v6 in [false, true] {
            for _ in 0..BATCHES_READ_OUT {
                if !self.hear_shared(v6) {
                    break;
                }
            }
        }
    }

    /// One batch. Answers whether there may be more.
    fn hear_shared(&mut self, v6: bool) -> bool {
        self.batch.clear();
        let (arrived, lost) = match self.slot.path.receive_steered(v6, &mut self.batch, BATCH) {
            Ok(arrived) => arrived,
            Err(error) => {
                count_receive_error(&self.slot.stats, error);
                return false;
            }
        };
        self.slot.stats.relay_losses.add(lost.into());
        let tick = self.slot.tick();
        let full = arrived.places.len() == BATCH;
        let meant_for = arrived.places.clone().map(|place| self.batch.meta(place).meant_for);
        let owners = meant_for.map(|at| at.and_then(|at| self.slot.path.owner(at)));
        self.owners.clear();
        self.owners.extend(owners);
        self.slot.fetch(self.owners.iter().flatten());
        for (number, place) in arrived.places.enumerate() {
            match self.owners[number] {
                Some(relay) => self.judge_peer(tick, relay, place..place + 1),
                None => self.slot.stats.count_drop(DropReason::StaleRelay),
            }
        }
        self.flush();
        full
    }

    fn hear_returned(&mut self, v6: bool) {
        let mut out = [0; icmp::INDICATION_MAX];
        for _ in 0..ERRORS {
            let slot = &*self.slot;
            let Some(heard) = slot.path.returned(v6) else { return };
            let ReturnedPacket { from, to, icmp } = match heard.receive() {
                Ok(Some(returned)) => returned,
                Ok(None) => continue,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(error) => return count_receive_error(&slot.stats, error),
            };
            let Some(relay) = slot.path.owner(from) else { continue };
            let told =
                returned::icmp_to_client(&slot.table, slot.tick(), relay, PeerAddr::new(to), icmp, &mut out);
            if let Some((to, len)) = told {
                self.tell_client(to, &out[..len]);
            }
        }
    }
}
