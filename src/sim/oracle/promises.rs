//! What must pass: whoever heard that a permission or a channel was granted may count on it from then on. A worker that
//! has sent the answer has no reason of its table's to drop what was granted, nor has one that has panicked since.
//!
//! Where it cannot be known from the messages alone what must pass, nothing is promised: while a client moves, and
//! after its relay socket may be lost, after a new configuration, and when the server leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::media::DropReason;
use crate::proto::turn::Input;
use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::wire::Request;
use crate::proto::wire::indication::decode_send;
use crate::proto::wire::ms_turn::framing::is_request;

use super::Oracle;
use super::Tuple;
use super::tuple;

/// What clients have been told by success responses.
#[derive(Debug, Default)]
pub(super) struct Promises {
    peers: BTreeMap<(Tuple, IpAddr), Promise>,
    channels: BTreeMap<(Tuple, u16), (PeerAddr, Promise)>,
    /// The active destinations of the old dialect.
    aims: BTreeMap<Tuple, (PeerAddr, Promise)>,
}

/// In force at one worker, once it has carried out so many commands: the last of them sends the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) worker: u16,
    pub(super) since: u64,
    pub(super) until: Deadline,
}

impl Promise {
    fn holds(&self, tick: Tick, (worker, obeyed): (u16, u64)) -> bool {
        self.worker == worker && obeyed >= self.since && !self.until.is_due(tick)
    }
}

impl Promises {
    pub(super) fn permit(&mut self, at: Tuple, peer: IpAddr, promise: Promise) {
        self.peers.insert((at, peer), promise);
    }

    pub(super) fn bind(&mut self, at: Tuple, channel: u16, peer: PeerAddr, promise: Promise) {
        self.channels.insert((at, channel), (peer, promise));
    }

    pub(super) fn aim(&mut self, at: Tuple, peer: PeerAddr, promise: Promise) {
        self.aims.insert(at, (peer, promise));
    }

    fn forget(&mut self, is_over: impl Fn(&Tuple) -> bool) {
        self.peers.retain(|(at, _), _| !is_over(at));
        self.channels.retain(|(at, _), _| !is_over(at));
        self.aims.retain(|at, _| !is_over(at));
    }
}

impl Oracle {
    /// The number of commands after which `worker` has sent an answer that is told to it next.
    pub(super) fn promise(worker: WorkerId, pushed: &[u64], until: Deadline) -> Promise {
        let since = pushed.get(usize::from(worker.0)).map_or(u64::MAX, |pushed| pushed + 1);
        Promise { worker: worker.0, since, until }
    }

    /// Nothing is promised any more of the allocation of this number.
    pub(super) fn promise_nothing(&mut self, serial: u64) {
        let by_tuple = &self.by_tuple;
        let tuples = self.allocations.get(&serial).map(|allocation| allocation.tuples.as_slice());
        let tuples = tuples.unwrap_or_default();
        self.promises.forget(|at| tuples.contains(at) || by_tuple.get(at) == Some(&serial));
    }

    /// An input may take back what was promised.
    pub(super) fn take_back(&mut self, input: &Input<'_>) {
        match input {
            Input::Reconfigure(_) | Input::Command(_) => self.promises = Promises::default(),
            Input::RelayFailed { relay, .. } | Input::RelayDetached { relay, given: None } => {
                if let Some(serial) = self.serial_of(*relay) {
                    self.promise_nothing(serial);
                }
            }
            Input::ClientArrived { from } | Input::ClientGone { from, .. } => self.take_back_at(tuple(from)),
            _ => {}
        }
    }

    /// A request may be one to move, or to end something.
    pub(super) fn take_back_by(&mut self, from: Tuple, request: &Request<'_>) {
        if let Some(ticket) = request.mobility_ticket {
            self.take_back_at(from);
            if let Some(serial) = self.tickets.get(ticket).copied() {
                self.promise_nothing(serial);
            }
        }
        if request.lifetime == Some(Lifetime::ZERO) {
            self.take_back_at(from);
        }
    }

    fn take_back_at(&mut self, at: Tuple) {
        match self.by_tuple.get(&at).copied() {
            Some(serial) => self.promise_nothing(serial),
            None => self.promises.forget(|each| *each == at),
        }
    }

    /// Whether a worker that has carried out so many commands may drop a client's `datagram` for this reason.
    pub(in crate::sim) fn may_drop_of_client(
        &self,
        tick: Tick,
        worker: (u16, u64),
        from: &FiveTuple,
        datagram: &[u8],
        reason: DropReason,
    ) -> Result<(), String> {
        let at = tuple(from);
        let Some(peer) = self.granted_peer(tick, worker, at, datagram) else { return Ok(()) };
        let promised = self.promises.peers.get(&(at, peer.ip()));
        if !promised.is_some_and(|promise| promise.holds(tick, worker)) || !self.has_live_leg(tick, at, peer)
        {
            return Ok(());
        }
        let is_broken = match reason {
            DropReason::NoAllocation
            | DropReason::AllocationExpired
            | DropReason::NoChannel
            | DropReason::ChannelExpired
            | DropReason::NoDestination
            | DropReason::NoPermission
            | DropReason::PermissionExpired => true,
            // Whether a relayed address of the server's own is live is not the policy's word.
            DropReason::ForbiddenPeer if !self.is_own(peer.socket()) => self
                .policy_at(worker)
                .is_some_and(|policy| policy.allows(peer.socket(), &super::EveryOwnRelay)),
            _ => false,
        };
        if is_broken {
            let reason = reason.word();
            return Err(format!(
                "worker {worker:?} drops what {from:?} sends to {peer}, which was granted: {reason}"
            ));
        }
        Ok(())
    }

    /// Whether a worker may drop what came from `peer` to the relayed address of `relay` for this reason.
    pub(in crate::sim) fn may_drop_of_peer(
        &self,
        tick: Tick,
        worker: (u16, u64),
        relay: RelayId,
        peer: PeerAddr,
        reason: DropReason,
    ) -> Result<(), String> {
        let is_the_table_s = matches!(
            reason,
            DropReason::StaleRelay
                | DropReason::AllocationExpired
                | DropReason::NoPermission
                | DropReason::PermissionExpired
        );
        if !is_the_table_s || self.is_own(peer.socket()) {
            return Ok(());
        }
        let Some(serial) = self.serial_of(relay) else { return Ok(()) };
        let mut promised = self.promises.peers.iter().filter(|((at, ip), promise)| {
            *ip == peer.ip() && self.by_tuple.get(at) == Some(&serial) && promise.holds(tick, worker)
        });
        let broken = promised.find(|((at, _), _)| self.has_live_leg(tick, *at, peer));
        let reason = reason.word();
        match broken {
            Some(((at, _), _)) => Err(format!(
                "worker {worker:?} drops what {peer} sends to {relay:?} of {at:?}, to whom it was granted: {reason}"
            )),
            None => Ok(()),
        }
    }

    /// For whom a datagram is, if its channel is granted or it needs none.
    fn granted_peer(&self, tick: Tick, worker: (u16, u64), at: Tuple, datagram: &[u8]) -> Option<PeerAddr> {
        if self.is_old(at) {
            let (peer, promise) = self.promises.aims.get(&at).filter(|_| !is_request(datagram))?;
            return promise.holds(tick, worker).then_some(*peer);
        }
        let (&[first, second], _) = datagram.split_first_chunk::<2>()?;
        if first & 0xC0 == 0 {
            return decode_send(datagram).ok().map(|send| send.peer);
        }
        let (peer, promise) = self.promises.channels.get(&(at, u16::from_be_bytes([first, second])))?;
        promise.holds(tick, worker).then_some(*peer)
    }

    fn has_live_leg(&self, tick: Tick, at: Tuple, peer: PeerAddr) -> bool {
        let allocation = self.by_tuple.get(&at).and_then(|serial| self.allocations.get(serial));
        allocation.is_some_and(|allocation| {
            let is_meant = |leg: &SocketAddr| leg.is_ipv4() == peer.ip().is_ipv4();
            allocation.legs.iter().any(|(leg, until)| is_meant(leg) && !until.is_due(tick))
        })
    }

    pub(super) fn serial_of(&self, relay: RelayId) -> Option<u64> {
        self.by_relayed.get(self.named.get(&relay)?).copied()
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        self.rules.relays.iter().any(|(bind, external)| [*bind, *external].contains(&address.ip()))
    }
}
