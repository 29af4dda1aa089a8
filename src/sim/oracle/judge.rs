//! What may pass: nothing but what was granted, and nothing that the policy in force at a worker denies.

use crate::proto::peers::PeerPolicy;
use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;

use super::EveryOwnRelay;
use super::Oracle;
use super::Tuple;
use super::tuple;

impl Oracle {
    /// Whether a datagram of `from` may leave the relayed address of `relay` for `peer`, at a worker that has carried out
    /// so many commands.
    pub(in crate::sim) fn may_reach_peer(
        &self,
        tick: Tick,
        worker: (u16, u64),
        relay: RelayId,
        from: FiveTuple,
        peer: PeerAddr,
    ) -> Result<(), String> {
        let peer = PeerAddr::new(self.external(peer.socket()));
        let what = || format!("a datagram of {from:?} leaves {relay:?} for {peer}");
        self.may_pass(tick, worker, relay, tuple(&from), peer).map_err(|why| format!("{}: {why}", what()))?;
        match self.policy_at(worker) {
            Some(policy) if !policy.allows(peer.socket(), &EveryOwnRelay) => {
                Err(format!("{}: the policy denies that", what()))
            }
            _ => Ok(()),
        }
    }

    /// Whether what came from `peer` to the relayed address of `relay` may be told to the client at `to`.
    pub(in crate::sim) fn may_reach_client(
        &self,
        tick: Tick,
        worker: (u16, u64),
        relay: RelayId,
        to: FiveTuple,
        peer: PeerAddr,
    ) -> Result<(), String> {
        let peer = PeerAddr::new(self.external(peer.socket()));
        let what = || format!("a datagram of {peer} passes {relay:?} to {to:?}");
        self.may_pass(tick, worker, relay, tuple(&to), peer).map_err(|why| format!("{}: {why}", what()))?;
        match self.policy_at(worker) {
            Some(policy) if !policy.allows_some_port(peer.ip()) => {
                Err(format!("{}: the policy denies that", what()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn policy_at(&self, (worker, obeyed): (u16, u64)) -> Option<&PeerPolicy> {
        let (policy, since) = self.policy.as_ref()?;
        (obeyed >= *since.get(usize::from(worker))?).then_some(policy)
    }

    fn may_pass(
        &self,
        tick: Tick,
        (worker, obeyed): (u16, u64),
        relay: RelayId,
        at: Tuple,
        peer: PeerAddr,
    ) -> Result<(), String> {
        let relayed = self.named.get(&relay).ok_or("nobody has that name")?;
        let serial = self.by_relayed.get(relayed).ok_or("there is no allocation")?;
        let allocation = self.allocations.get(serial).ok_or("there is no allocation")?;
        if !allocation.tuples.contains(&at) {
            return Err(format!("the allocation belongs to {:?}", allocation.tuples));
        }
        let (_, until) = allocation.legs.iter().find(|(leg, _)| leg == relayed).ok_or("that leg is gone")?;
        // A lifetime that was shortened ends sooner for a worker that has been told, which hears of it before the client.
        let not_told = |(_, since): &&(Deadline, Vec<u64>)| {
            since.get(usize::from(worker)).is_some_and(|since| obeyed < *since)
        };
        let longer = allocation.shortened.as_ref().filter(not_told).map(|(before, _)| *before);
        let moving = allocation.moving.get(relayed).copied();
        let end = [Some(*until), longer, moving].into_iter().flatten().max().unwrap_or(*until);
        if end.is_due(tick) {
            return Err(format!("it ended at {} ms", until.as_millis()));
        }
        if relayed.is_ipv4() != peer.ip().is_ipv4() {
            return Err("families differ".to_owned());
        }
        let live = |until: &Deadline| !until.is_due(tick);
        let permitted = allocation.permissions.get(&peer.ip()).is_some_and(live);
        let kept = !self.rules.strict_permissions
            && allocation.channels.values().any(|(bound, until)| bound.ip() == peer.ip() && live(until));
        if permitted || kept { Ok(()) } else { Err("there is no live permission".to_owned()) }
    }
}
