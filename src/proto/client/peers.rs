//! Permissions and channels as the client knows them, and when each is to be asked for again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits::CHANNELS_PER_ALLOCATION_MAX;
use crate::proto::types::limits::CLIENT_RENEWAL_MARGIN;
use crate::proto::types::limits::PEERS_PER_REQUEST_MAX;
use crate::proto::types::limits::PERMISSIONS_PER_ALLOCATION_MAX;

use super::transaction::Ask;

/// One thing that is granted for a time.
#[derive(Clone, Copy, Debug)]
struct Grant {
    /// When it ends; `None` while it is not granted.
    until: Option<Deadline>,
    /// When it is to be asked for, unless it is being asked for.
    due: Deadline,
    asked: bool,
    /// Asked for together with others it was refused; which of them is to blame is not known.
    alone: bool,
}

impl Grant {
    const fn wanted() -> Self {
        Self { until: None, due: Deadline::PAST, asked: false, alone: true }
    }

    /// Answers whether it is news.
    fn granted(&mut self, began: Tick, lifetime: Duration) -> bool {
        let is_new = self.until.is_none();
        let due = began.after(renewal_of(lifetime));
        *self = Self { until: Some(began.after(lifetime)), due, asked: false, alone: false };
        is_new
    }

    fn is_due(&self, now: Tick) -> bool {
        !self.asked && self.due.is_due(now)
    }

    fn is_live(&self, now: Tick) -> bool {
        self.until.is_some_and(|until| !until.is_due(now))
    }

    /// When something is to be done about it.
    fn next(&self) -> Option<Deadline> {
        let due = (!self.asked).then_some(self.due);
        due.into_iter().chain(self.until).min()
    }
}

/// How long something that lasts `lifetime` is left alone: a request takes 39.5 s to fail, and there is time for one.
pub(super) fn renewal_of(lifetime: Duration) -> Duration {
    lifetime - CLIENT_RENEWAL_MARGIN.min(lifetime / 2)
}

/// Whom the client may reach.
#[derive(Debug, Default)]
pub(super) struct Peers {
    permissions: BTreeMap<IpAddr, Grant>,
    channels: BTreeMap<ChannelNumber, (PeerAddr, Grant)>,
    by_peer: BTreeMap<PeerAddr, ChannelNumber>,
    /// Numbers given out so far. None is given twice, because the server keeps a number and its peer together for
    /// longer than the channel lasts.
    numbers: u16,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Peers {
    pub(super) fn want_permission(&mut self, peer: IpAddr) -> Result<(), Full> {
        if !self.permissions.contains_key(&peer) {
            if self.permissions.len() >= PERMISSIONS_PER_ALLOCATION_MAX {
                return Err(Full);
            }
            self.permissions.insert(peer, Grant::wanted());
        }
        Ok(())
    }

    pub(super) fn want_channel(&mut self, peer: PeerAddr) -> Result<(), Full> {
        if self.by_peer.contains_key(&peer) {
            return Ok(());
        }
        if usize::from(self.numbers) >= CHANNELS_PER_ALLOCATION_MAX {
            return Err(Full);
        }
        let number = ChannelNumber::MIN.get() + self.numbers;
        let channel =
            ChannelNumber::new(number).filter(|channel| *channel <= ChannelNumber::MAX).ok_or(Full)?;
        self.numbers += 1;
        self.channels.insert(channel, (peer, Grant::wanted()));
        self.by_peer.insert(peer, channel);
        Ok(())
    }

    /// The next request to be made; what it asks for counts as asked.
    pub(super) fn next_ask(&mut self, now: Tick) -> Option<Ask> {
        if let Some((channel, (peer, grant))) = self.channels.iter_mut().find(|(_, (_, g))| g.is_due(now)) {
            grant.asked = true;
            return Some(Ask::Bind(*channel, *peer));
        }
        if let Some((peer, grant)) = self.permissions.iter_mut().find(|(_, g)| g.is_due(now) && g.alone) {
            grant.asked = true;
            return Some(Ask::Permit(vec![*peer]));
        }
        let due = self.permissions.iter_mut().filter(|(_, grant)| grant.is_due(now));
        let peers: Vec<IpAddr> = due
            .take(PEERS_PER_REQUEST_MAX)
            .map(|(peer, grant)| {
                grant.asked = true;
                *peer
            })
            .collect();
        (!peers.is_empty()).then_some(Ask::Permit(peers))
    }

    /// When something is to be done.
    pub(super) fn next_due(&self) -> Option<Deadline> {
        let permissions = self.permissions.values().filter_map(Grant::next);
        permissions.chain(self.channels.values().filter_map(|(_, grant)| grant.next())).min()
    }

    /// The server permits `peer`. Answers whether that is news.
    pub(super) fn permitted(&mut self, began: Tick, peer: IpAddr, lifetime: Duration) -> bool {
        self.permissions.get_mut(&peer).is_some_and(|grant| grant.granted(began, lifetime))
    }

    /// The server bound `channel`, and permits its peer with that. Answers whether each is news.
    pub(super) fn bound(
        &mut self,
        began: Tick,
        channel: ChannelNumber,
        lifetimes: [Duration; 2],
    ) -> (bool, bool) {
        let [of_channel, of_permission] = lifetimes;
        let Some((peer, grant)) = self.channels.get_mut(&channel) else { return (false, false) };
        let is_new = grant.granted(began, of_channel);
        // Without room its permission lives by the channel alone.
        let peer = peer.ip();
        let permitted = self.want_permission(peer).is_ok() && self.permitted(began, peer, of_permission);
        (is_new, permitted)
    }

    /// A request for `peers` failed. Those that are not granted any more are answered, and given up.
    pub(super) fn not_permitted(&mut self, peers: &[IpAddr], is_refused: bool) -> Vec<IpAddr> {
        let mut lost = Vec::new();
        for peer in peers {
            let Some(grant) = self.permissions.get_mut(peer) else { continue };
            grant.asked = false;
            let is_blamed = is_refused && peers.len() == 1;
            if is_blamed || grant.until.is_none() {
                self.permissions.remove(peer);
                lost.push(*peer);
            } else {
                grant.alone |= is_refused;
            }
        }
        lost
    }

    /// A request for `channel` failed. Answers its peer if it is given up.
    pub(super) fn not_bound(&mut self, channel: ChannelNumber, is_refused: bool) -> Option<PeerAddr> {
        let (peer, grant) = self.channels.get_mut(&channel)?;
        grant.asked = false;
        if !is_refused && grant.until.is_some() {
            return None;
        }
        let peer = *peer;
        self.channels.remove(&channel);
        self.by_peer.remove(&peer);
        Some(peer)
    }

    /// What has run out by now; it is still wanted.
    pub(super) fn expire(&mut self, now: Tick) -> (Vec<IpAddr>, Vec<PeerAddr>) {
        let over = |grant: &mut Grant| {
            let over = grant.until.is_some() && !grant.is_live(now);
            if over {
                grant.until = None;
            }
            over
        };
        let permissions = self.permissions.iter_mut().filter_map(|(peer, g)| over(g).then_some(*peer));
        let permissions = permissions.collect();
        let channels = self.channels.values_mut().filter_map(|(peer, g)| over(g).then_some(*peer));
        (permissions, channels.collect())
    }

    /// Requests that were on their way are no longer.
    pub(super) fn unask(&mut self) {
        self.permissions.values_mut().for_each(|grant| grant.asked = false);
        self.channels.values_mut().for_each(|(_, grant)| grant.asked = false);
    }

    /// The channel by which data goes to `peer`.
    pub(super) fn channel_to(&self, now: Tick, peer: PeerAddr) -> Option<ChannelNumber> {
        let channel = *self.by_peer.get(&peer)?;
        self.channels.get(&channel).filter(|(_, grant)| grant.is_live(now)).map(|_| channel)
    }

    /// Whether a Send indication may go to `peer`.
    pub(super) fn may_send_to(&self, now: Tick, peer: IpAddr) -> bool {
        self.permissions.get(&peer).is_some_and(|grant| grant.is_live(now))
    }

    /// Whose data comes by `channel`: it may come before the answer to the request does.
    pub(super) fn peer_of(&self, channel: ChannelNumber) -> Option<PeerAddr> {
        self.channels.get(&channel).map(|(peer, _)| *peer)
    }

    /// Whether data of `peer` was asked for.
    pub(super) fn expects(&self, peer: PeerAddr) -> bool {
        self.permissions.contains_key(&peer.ip()) || self.by_peer.contains_key(&peer)
    }
}
