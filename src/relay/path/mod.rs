//! How packets reach relay ports and leave from them: one interface, and the tiers behind it.
//!
//! ```text
//!   open close detach attach ─▶ Path ─▶ sockets: each port is a bound, watched socket, on every tier
//!                                  ├──▶ raw sockets, where they are permitted: what leaves, many allocations to a call
//!                                  ├──▶ sk_lookup: what comes for it is steered to one socket of the worker
//!                                  └──▶ tc, xdp: what is plain does not come here at all, in front of either
//! ```
//!
//! Assumption: the bound socket owns the port. Nobody else can have it while an allocation does, and nothing is taken from
//! whoever has it before. So a tier that fails in part falls back to the socket under it, packet by packet: what is not
//! steered comes to it, and what no raw socket takes leaves by it.

mod attached;
mod choose;
#[cfg(feature = "kernel")]
pub mod kernel;
mod ports;
mod prove;
mod raws;
mod sockets;
mod steered;

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Poll;
use crate::net::RawSocket;
use crate::net::RelaySocket;
use crate::net::Returned;
use crate::net::packet::Arrived;
use crate::proto::media::Counters;
use crate::proto::media::Table;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::relay::Stats;

use raws::Raws;
use sockets::Sockets;

pub(super) use attached::Attached;
pub use attached::Buckets;
pub use choose::Choice;
pub use choose::Refusal;
pub(super) use choose::Share;
pub use choose::Tier;
pub use choose::Verdict;
pub use choose::Wish;
pub(super) use choose::choose;
pub use choose::explain;
pub(super) use sockets::Moving;
pub(super) use steered::Steered;

/// The relay ports of one worker.
#[derive(Debug)]
pub(super) struct Path {
    sockets: Sockets,
    raws: Option<Raws>,
    steered: Option<Steered>,
    attached: Option<Attached>,
    /// The number of the batch that is being looked at.
    batch: u32,
}

/// How a datagram leaves a relay port as a packet: the place of the raw socket, and the port it leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) place: u16,
    pub(super) from: u16,
}

impl Path {
    /// On the tiers that `share` is of; its sockets are watched from here on.
    pub(super) fn new(poll: &Poll, share: Share) -> io::Result<Self> {
        let Share { raws, steered, attached } = share;
        if let Some(steered) = &steered {
            steered.watch(poll)?;
        }
        Ok(Self { sockets: Sockets::default(), raws, steered, attached, batch: 0 })
    }

    /// `table` has changed in what it says of `relay`, or with `None` perhaps of each: so does what the kernel relays by
    /// itself. Of a copy that only sends, that is nothing.
    pub(super) fn table_changed(&mut self, table: &Table, relay: Option<RelayId>) {
        let Some(attached) = &mut self.attached else { return };
        match relay {
            Some(relay) if self.sockets.name(relay.index) == Some(relay) => attached.update(table, relay),
            Some(_) => {}
            None => attached.update_all(table),
        }
    }

    /// The kernel relays nothing of `relay` by itself any more. Answers what it has.
    pub(super) fn take_back(&mut self, relay: RelayId) -> Counters {
        self.attached.as_mut().map_or_else(Counters::default, |attached| attached.close(relay))
    }

    /// The same for all, before the table goes by which it did.
    pub(super) fn take_back_all(&mut self) -> Vec<(RelayId, Counters)> {
        self.attached.as_mut().map_or_else(Vec::new, Attached::close_all)
    }

    /// Looks what has changed around the machine, and shows what the kernel did. To be called in every round.
    pub(super) fn look_around(&mut self, table: &Table, tick: Tick, stats: &Stats) {
        if let Some(attached) = &mut self.attached {
            attached.look(table, tick, stats);
        }
    }

    /// Whether [`Self::look_around`] has anything to do, now and then.
    pub(super) const fn looks_around(&self) -> bool {
        self.attached.is_some()
    }

    /// Opens a port for `relay` on `bind`. Answers the address it is bound to. One that a restart left there is taken up
    /// as it is.
    pub(super) fn open(&mut self, poll: &Poll, relay: RelayId, bind: RelayAddr) -> io::Result<RelayAddr> {
        let bound = self.sockets.open(poll, relay, bind)?;
        self.steer(relay, bound)?;
        self.hear_of_the_kernels(relay);
        Ok(bound)
    }

    fn steer(&mut self, relay: RelayId, bound: RelayAddr) -> io::Result<()> {
        let Some(steered) = &mut self.steered else { return Ok(()) };
        steered.open(relay, bound).inspect_err(|_| self.sockets.close(relay))
    }

    /// Closes the port of `relay`, if it is open; it is free afterwards.
    pub(super) fn close(&mut self, relay: RelayId) {
        // The port first: between the two the datagrams for it are nobody's else's.
        if let (Some(steered), Some(bound)) = (&mut self.steered, self.sockets.bound(relay)) {
            steered.close(relay, bound);
        }
        self.sockets.close(relay);
    }

    /// What comes for `relay` from here on waits in its own socket, for whoever takes it over. Answers whether some of it
    /// may already wait where all do ([`Self::receive_steered`]): that is to be read before [`Self::detach`].
    pub(super) fn hold(&mut self, relay: RelayId) -> bool {
        match (&mut self.steered, self.sockets.bound(relay)) {
            (Some(steered), Some(bound)) => steered.hold(bound),
            _ => false,
        }
    }

    /// Gives the port of `relay` away. With `keep` it can still send from here, if a descriptor can be had; answers
    /// whether it can.
    pub(super) fn detach(&mut self, poll: &Poll, relay: RelayId, keep: bool) -> io::Result<(Moving, bool)> {
        let bound = self.sockets.bound(relay);
        let answer = self.sockets.detach(poll, relay, keep);
        if let (Some(steered), Some(bound)) = (&mut self.steered, bound) {
            match &answer {
                Ok(_) => steered.close(relay, bound),
                // It stays here.
                Err(_) => drop(steered.open(relay, bound)),
            }
        }
        answer
    }

    /// Takes over what another worker gave away. What was kept of it here goes.
    pub(super) fn attach(&mut self, poll: &Poll, relay: RelayId, moving: Moving) -> io::Result<RelayAddr> {
        let bound = self.sockets.attach(poll, relay, moving)?;
        self.steer(relay, bound)?;
        self.hear_of_the_kernels(relay);
        Ok(bound)
    }

    /// What the kernel relays by itself leaves without a word, and errors about it come to the socket all the same.
    fn hear_of_the_kernels(&mut self, relay: RelayId) {
        if self.attached.is_some() {
            self.sockets.make_ready_to_send(relay);
        }
    }

    /// The loop that worked with them is gone: which of them are still wanted will be told.
    pub(super) fn restart(&mut self) {
        self.sockets.restart();
    }

    /// Closes what nobody asked for since the last restart, and that is not `known` either.
    pub(super) fn sweep(&mut self, known: impl Fn(RelayId) -> bool) {
        for relay in self.sockets.unclaimed(known) {
            self.close(relay);
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The socket of `relay`, if it is open, for a datagram that leaves by it past [`Self::raw_for`].
    pub(super) fn find_to_send(&mut self, relay: RelayId) -> Option<&RelaySocket> {
        self.sockets.make_ready_to_send(relay);
        self.sockets.find(relay)
    }

    /// The socket of `relay`, if it is open. What leaves by it was announced to [`Self::raw_for`].
    pub(super) fn find(&self, relay: RelayId) -> Option<&RelaySocket> {
        self.sockets.find(relay)
    }

    /// Adds to `batch` what waits at the own socket of `relay`. On every tier: what was not steered comes there.
    pub(super) fn receive(
        &mut self,
        relay: RelayId,
        batch: &mut Batch,
        max: usize,
    ) -> Result<(Arrived, u32), Errno> {
        self.sockets.receive(relay, batch, max)
    }

    /// Whether all ports bring their datagrams one by one, always.
    pub(super) fn set_single(&mut self, single: bool) {
        self.sockets.set_single(single);
    }

    /// Adds to `batch` what waits where all that is steered to this worker comes, in one family; [`Self::owner`] tells
    /// whose each is. Answers with it how many datagrams were lost there since this was last asked.
    pub(super) fn receive_steered(
        &mut self,
        v6: bool,
        batch: &mut Batch,
        max: usize,
    ) -> Result<(Arrived, u32), Errno> {
        self.steered.as_mut().ok_or(Errno::AGAIN)?.receive(v6, batch, max)
    }

    /// The allocation that the relayed address `at` is steered for.
    pub(super) fn owner(&self, at: SocketAddr) -> Option<RelayId> {
        let index = self.steered.as_ref()?.owner(at)?;
        self.sockets.name(index)
    }

    /// The relay of this worker that has the address of `peer`, and the address that what `relay` sends there comes from. So
    /// it need not go through the kernel.
    pub(super) fn neighbour(&self, relay: RelayId, peer: PeerAddr) -> Option<(RelayId, PeerAddr)> {
        let other = self.sockets.at(peer.socket())?;
        Some((other, PeerAddr::new(self.sockets.bound(relay)?.socket())))
    }

    /// Has what stands of `relay` here come from memory, without waiting for it.
    pub(super) fn fetch(&self, relay: RelayId) {
        self.sockets.fetch(relay);
    }

    /// How `data_len` bytes that `relay` sends `to` a peer leave: by this raw socket, or where there is none by
    /// [`Self::find`], as does what leaves in runs. To be asked of all that leaves.
    pub(super) fn raw_for(&mut self, relay: RelayId, to: SocketAddr, data_len: usize) -> Option<Raw> {
        let (bound, in_runs) = self.sockets.note_departure(relay, self.batch)?;
        let raws = self.raws.as_ref()?;
        if in_runs { None } else { raws.way(bound, to, data_len) }
    }

    /// A round begins, in which each port that has something is told of anew.
    pub(super) fn next_round(&mut self) {
        self.sockets.next_round();
    }

    /// All of a batch has left.
    pub(super) fn next_batch(&mut self) {
        self.batch = self.batch.wrapping_add(1);
    }

    /// The raw socket at this place.
    pub(super) fn raw(&self, place: u16) -> Option<&RawSocket> {
        self.raws.as_ref()?.get(place)
    }

    /// Where ICMP errors about what left by raw sockets are heard.
    pub(super) fn returned(&self, v6: bool) -> Option<&Returned> {
        self.steered.as_ref()?.returned(v6)
    }
}

#[cfg(test)]
impl Path {
    pub(super) fn brings_runs(&self, relay: RelayId) -> bool {
        self.sockets.brings_runs(relay)
    }
}

#[cfg(test)]
mod tests;
