//! Writes the maps from a worker's table: what the table says of an allocation is compared with what stands in the maps, and
//! the difference is written. What finds no room, or has no plain way to go, is left to the worker, who relays it as ever.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::Release;

use aya::maps::Array;
use aya::maps::HashMap;
use aya::maps::MapData;

use crate::proto::media::Bucket;
use crate::proto::media::Counters;
use crate::proto::media::Shortcut;
use crate::proto::media::Shortcuts;
use crate::proto::media::Table;
use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::RelayId;
use crate::proto::types::limits::KERNEL_HOPS_PER_WORKER;

use super::Kernel;
use super::Mode;
use super::hops::Hops;
use super::layout::FAR_LEN;
use super::layout::KEY4_LEN;
use super::layout::KEY6_LEN;
use super::layout::NEAR_PEERS;
use super::layout::Out;
use super::layout::PEER_KEY_LEN;
use super::layout::PORT_LEN;
use super::layout::Peer;
use super::layout::Port;
use super::layout::WAY_LEN;
use super::layout::Way;
use super::layout::WayKey;
use super::netlink::Next;
use super::program::Frame;
use super::shared::Tally;

/// What one worker writes with. It needs no privilege: the maps are open.
pub struct Writer {
    maps: Maps,
    /// By `RelayId::index`. What stands in the maps is always known here, whatever is met while it is written.
    known: BTreeMap<u32, Known>,
    /// What closed allocations carried that [`Writer::carried_since`] has not told.
    untold: Counters,
    /// The index that [`Writer::carried_since`] looks at next.
    next: u32,
}

/// The maps, and what they are written by.
struct Maps {
    frame: Frame,
    tallies: &'static [Tally],
    ways4: HashMap<MapData, [u8; KEY4_LEN], [u8; WAY_LEN]>,
    ways6: HashMap<MapData, [u8; KEY6_LEN], [u8; WAY_LEN]>,
    far: HashMap<MapData, [u8; PEER_KEY_LEN], [u8; FAR_LEN]>,
    ports: Array<MapData, [u8; PORT_LEN]>,
    hops: Hops,
    /// Tells each writing of an entry from every other: the worker's number, and a count.
    tag: u32,
}

/// What stands in the maps for one allocation.
#[derive(Debug)]
struct Known {
    relay: RelayId,
    place: u32,
    instance: u32,
    ways: BTreeMap<WayKey, Way>,
    far: BTreeMap<[u8; PEER_KEY_LEN], Peer>,
    port: Option<Port>,
    /// Next hops by source and destination.
    hops: BTreeMap<(IpAddr, IpAddr), (Next, u16)>,
    /// What [`Writer::carried_since`] has told of what it carried.
    told: Counters,
}

/// What shall stand there.
#[derive(Debug, Default)]
struct Wanted {
    ways: BTreeMap<WayKey, Way>,
    far: BTreeMap<[u8; PEER_KEY_LEN], Peer>,
    port: Option<Port>,
}

impl Writer {
    pub(super) fn new(kernel: &Kernel, number: u16) -> io::Result<Self> {
        let only = match kernel.mode() {
            Mode::Tc => None,
            // A driver may take frames of XDP only where a program stands.
            Mode::Xdp | Mode::XdpGeneric => Some(kernel.interfaces()),
        };
        let hops = Hops::new(
            kernel.array("hops")?,
            KERNEL_HOPS_PER_WORKER * u32::from(number),
            only,
            kernel.frame.lend_ns,
        )?;
        let maps = Maps {
            frame: kernel.frame.clone(),
            tallies: kernel.tallies(),
            ways4: kernel.hash("ways4")?,
            ways6: kernel.hash("ways6")?,
            far: kernel.hash("far_peers")?,
            ports: kernel.array("ports")?,
            hops,
            tag: u32::from(number) << 24,
        };
        Ok(Self { maps, known: BTreeMap::new(), untold: Counters::default(), next: 0 })
    }

    /// Writes what `table` says of `relay` now. To be called after every change of the table that names it, and for all after
    /// a new policy; before the answer to the client leaves, if the answer shall count from its first packet on.
    pub fn update(&mut self, table: &Table, relay: RelayId) {
        let eligible = table.shortcuts(relay).and_then(|shortcuts| self.maps.eligible(shortcuts));
        let Some((shortcuts, place, buckets)) = eligible else { return self.retire(relay) };
        if self.known.get(&relay.index).is_some_and(|known| known.relay != relay || known.place != place) {
            self.close_index(relay.index);
        }
        let maps = &mut self.maps;
        let known = self.known.entry(relay.index).or_insert_with(|| maps.begin(relay, place));
        let wanted = maps.wanted(&shortcuts, known);
        maps.write(known, wanted);
        let tally = &maps.tallies[place as usize];
        let family = shortcuts.bound.family();
        tally.header_len.store(if family == Family::V4 { 28 } else { 48 }, Relaxed);
        tally.own_bucket.store(buckets[0], Relaxed);
        tally.user_bucket.store(buckets[1], Relaxed);
        tally.until.store(maps.frame.ns(shortcuts.until.as_millis()), Release);
    }

    /// Writes what `table` says now of each allocation that was ever written and not closed.
    pub fn update_all(&mut self, table: &Table) {
        let all: Vec<_> = self.known.values().map(|known| known.relay).collect();
        all.into_iter().for_each(|relay| self.update(table, relay));
    }

    /// Takes out all that stands there for `relay`, and answers what it carried by way of the program.
    pub fn close(&mut self, relay: RelayId) -> Counters {
        if self.known.get(&relay.index).is_none_or(|known| known.relay != relay) {
            return Counters::default();
        }
        self.close_index(relay.index)
    }

    /// Takes out everything, and answers what each carried: the table that it was written from is gone.
    pub fn close_all(&mut self) -> Vec<(RelayId, Counters)> {
        // First of all nothing is relayed any more.
        for known in self.known.values() {
            self.maps.tallies[known.place as usize].until.store(0, Release);
        }
        let all: Vec<_> = self.known.values().map(|known| known.relay).collect();
        let carried = all.into_iter().map(|relay| (relay, self.close_index(relay.index)));
        carried.filter(|(_, counters)| *counters != Counters::default()).collect()
    }

    /// What `relay` has carried by way of the program so far.
    #[must_use]
    pub fn statistics(&self, relay: RelayId) -> Counters {
        let known = self.known.get(&relay.index).filter(|known| known.relay == relay);
        known.map_or_else(Counters::default, |known| self.maps.counted(known.place))
    }

    /// What was carried since this was last asked, by all that are closed and by at most so many of the others: the next
    /// ones are looked at the next time.
    pub fn carried_since(&mut self, at_most: usize) -> Counters {
        let mut carried = std::mem::take(&mut self.untold);
        let mut last = None;
        for (index, known) in self.known.range_mut(self.next..).take(at_most) {
            let counted = self.maps.counted(known.place);
            carried.add(more(counted, std::mem::replace(&mut known.told, counted)));
            last = Some(*index);
        }
        self.next = match last {
            Some(last) if self.known.range(last + 1..).next().is_some() => last + 1,
            _ => 0,
        };
        carried
    }

    /// Looks whether routes or neighbours have changed, and writes what that changes. To be called about every second.
    pub fn follow(&mut self, table: &Table) {
        if !self.maps.hops.follow() {
            return;
        }
        let all: Vec<_> = self.known.values().map(|known| known.relay).collect();
        for relay in all {
            if let Some(known) = self.known.get_mut(&relay.index) {
                let hops = std::mem::take(&mut known.hops);
                self.update(table, relay);
                hops.values().for_each(|(next, _)| self.maps.hops.leave(*next));
            }
        }
    }

    /// It is the worker's alone from here on, though what it carried still counts.
    fn retire(&mut self, relay: RelayId) {
        if let Some(known) = self.known.get_mut(&relay.index).filter(|known| known.relay == relay) {
            self.maps.clear(known);
        }
    }

    fn close_index(&mut self, index: u32) -> Counters {
        let Some(known) = self.known.get_mut(&index) else { return Counters::default() };
        self.maps.clear(known);
        let counted = self.maps.counted(known.place);
        self.untold.add(more(counted, known.told));
        self.known.remove(&index);
        counted
    }

    /// How many next hops are in use.
    #[doc(hidden)]
    #[must_use]
    pub fn hops(&self) -> usize {
        self.maps.hops.len()
    }
}

/// What came to `before` until it was `now`.
const fn more(now: Counters, before: Counters) -> Counters {
    Counters {
        to_peer_packets: now.to_peer_packets.saturating_sub(before.to_peer_packets),
        to_peer_bytes: now.to_peer_bytes.saturating_sub(before.to_peer_bytes),
        to_client_packets: now.to_client_packets.saturating_sub(before.to_client_packets),
        to_client_bytes: now.to_client_bytes.saturating_sub(before.to_client_bytes),
    }
}

impl Maps {
    /// Whether the program can relay for it at all: where, and by which buckets.
    fn eligible(&self, shortcuts: Shortcuts) -> Option<(Shortcuts, u32, [u32; 2])> {
        let place = self.frame.place(shortcuts.bound.ip(), shortcuts.bound.port())?;
        let lent = |bucket: &Option<Bucket>| bucket.as_ref().map_or(Some(0), Bucket::place);
        let buckets = [lent(&shortcuts.bandwidth.allocation)?, lent(&shortcuts.bandwidth.user)?];
        Some((shortcuts, place, buckets))
    }

    fn begin(&self, relay: RelayId, place: u32) -> Known {
        let tally = &self.tallies[place as usize];
        let instance = tally.instance.load(Relaxed).wrapping_add(1);
        tally.until.store(0, Release);
        for count in
            [&tally.to_peer_packets, &tally.to_peer_bytes, &tally.to_client_packets, &tally.to_client_bytes]
        {
            count.store(0, Relaxed);
        }
        tally.instance.store(instance, Release);
        Known {
            relay,
            place,
            instance,
            ways: BTreeMap::new(),
            far: BTreeMap::new(),
            port: None,
            hops: BTreeMap::new(),
            told: Counters::default(),
        }
    }

    /// The entries that the channels of an allocation make.
    fn wanted(&mut self, shortcuts: &Shortcuts, known: &mut Known) -> Wanted {
        let (client, server) = (shortcuts.five_tuple.client.socket(), shortcuts.five_tuple.server.socket());
        let bound = shortcuts.bound.socket();
        let mut hops = BTreeMap::new();
        let mut wanted = Wanted::default();
        let mut peers = Vec::new();
        for shortcut in shortcuts.channels.iter().filter(|shortcut| shortcut.until != Deadline::PAST) {
            let peer = shortcut.peer.socket();
            let own = self.frame.place(peer.ip(), peer.port());
            if own.is_none() && shortcut.only_as_own_relay {
                continue;
            }
            let until_ns = self.ns(shortcut.until);
            peers.push(Peer { peer, bound, channel: shortcut.channel, until_ns, own: own.is_some() });
            let out = match own {
                Some(_) => Some(Out { from: bound, to: peer, hop: 0, own: true, flow: 0 }),
                None => self.out(bound, peer, known, &mut hops),
            };
            if let Some(out) = out {
                let way = self.way(shortcut, (client, server), known, out, own);
                wanted.ways.insert(way.key(), way);
            }
        }
        // The program looks at these without a search: the ones that were renewed last.
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.until_ns));
        if let Some(out) = self.out(server, client, known, &mut hops) {
            let far = peers.split_off(NEAR_PEERS.min(peers.len()));
            wanted.far = far.into_iter().map(|peer| (peer.key(known.place), peer)).collect();
            wanted.port = Some(Port { instance: known.instance, out, near: peers });
        }
        let unused = std::mem::replace(&mut known.hops, hops);
        unused.values().for_each(|(next, _)| self.hops.leave(*next));
        wanted
    }

    fn way(
        &self,
        shortcut: &Shortcut,
        (client, server): (SocketAddr, SocketAddr),
        known: &Known,
        out: Out,
        own: Option<u32>,
    ) -> Way {
        Way {
            client,
            server,
            channel: shortcut.channel,
            place: known.place,
            until_ns: self.ns(shortcut.until),
            out,
            instance: known.instance,
            own: own.unwrap_or(0),
        }
    }

    /// How frames leave from here to there. Next hops that were known are kept.
    fn out(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        known: &mut Known,
        hops: &mut BTreeMap<(IpAddr, IpAddr), (Next, u16)>,
    ) -> Option<Out> {
        let ends = (from.ip(), to.ip());
        let hop = match hops.get(&ends).copied() {
            Some((_, place)) => place,
            None => {
                let kept = known.hops.remove(&ends);
                let (next, place) = kept.or_else(|| self.hops.enter(ends.0, ends.1))?;
                hops.insert(ends, (next, place));
                place
            }
        };
        Some(Out { from, to, hop, own: false, flow: flow_label(from, to) })
    }

    /// Writes the difference: first what no longer holds is taken out.
    fn write(&mut self, known: &mut Known, wanted: Wanted) {
        let gone: Vec<_> = known.ways.keys().filter(|key| !wanted.ways.contains_key(*key)).copied().collect();
        gone.iter().for_each(|key| self.remove_way(key));
        known.ways.retain(|key, _| !gone.contains(key));
        let gone: Vec<_> = known.far.keys().filter(|key| !wanted.far.contains_key(*key)).copied().collect();
        gone.iter().for_each(|key| drop(self.far.remove(key)));
        known.far.retain(|key, _| !gone.contains(key));
        if known.port != wanted.port {
            let bytes = match &wanted.port {
                Some(port) => port.bytes(self.next_tag()),
                None => [0; PORT_LEN],
            };
            if self.ports.set(known.place, bytes, 0).is_ok() {
                known.port = wanted.port;
            }
        }
        for (key, peer) in wanted.far {
            let tag = self.next_tag();
            if known.far.get(&key) != Some(&peer) && self.far.insert(key, peer.far_bytes(tag), 0).is_ok() {
                known.far.insert(key, peer);
            }
        }
        for (key, way) in wanted.ways {
            if known.ways.get(&key) == Some(&way) {
                continue;
            }
            let bytes = way.bytes(self.next_tag());
            let written = match &key {
                WayKey::V4(key) => self.ways4.insert(key, bytes, 0),
                WayKey::V6(key) => self.ways6.insert(key, bytes, 0),
            };
            if written.is_ok() {
                known.ways.insert(key, way);
            }
        }
    }

    fn clear(&mut self, known: &mut Known) {
        self.tallies[known.place as usize].until.store(0, Release);
        self.write(known, Wanted::default());
        let hops = std::mem::take(&mut known.hops);
        hops.values().for_each(|(next, _)| self.hops.leave(*next));
    }

    fn remove_way(&mut self, key: &WayKey) {
        // It may be gone already; there is nothing to do about any other error.
        let _ = match key {
            WayKey::V4(key) => self.ways4.remove(key),
            WayKey::V6(key) => self.ways6.remove(key),
        };
    }

    fn counted(&self, place: u32) -> Counters {
        let tally = &self.tallies[place as usize];
        Counters {
            to_peer_packets: tally.to_peer_packets.load(Relaxed),
            to_peer_bytes: tally.to_peer_bytes.load(Relaxed),
            to_client_packets: tally.to_client_packets.load(Relaxed),
            to_client_bytes: tally.to_client_bytes.load(Relaxed),
        }
    }

    fn ns(&self, until: Deadline) -> u64 {
        self.frame.ns(until.as_millis())
    }

    fn next_tag(&mut self) -> u32 {
        const COUNT: u32 = (1 << 24) - 1;
        self.tag = self.tag & !COUNT | (self.tag + 1) & COUNT;
        self.tag
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("known", &self.known).finish_non_exhaustive()
    }
}

/// The flow label of what goes from here to there: the same for each packet of a flow (RFC 6437).
fn flow_label(from: SocketAddr, to: SocketAddr) -> u32 {
    let mut hasher = DefaultHasher::new();
    (from, to).hash(&mut hasher);
    const BITS: u64 = (1 << 20) - 1;
    u32::try_from(hasher.finish() & BITS).unwrap_or(0)
}
