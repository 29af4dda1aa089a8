//! Next hops: few, whatever the number of channels, so what changes about one is written once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use aya::maps::Array;
use aya::maps::MapData;

use crate::proto::types::limits::KERNEL_HOPS_PER_WORKER;

use super::layout::HOP_LEN;
use super::layout::Hop;
use super::netlink::Netlink;
use super::netlink::News;
use super::netlink::Next;
use super::program::monotonic_ns;

/// The next hops of one worker: a part of the map of its own.
pub(super) struct Hops {
    map: Array<MapData, [u8; HOP_LEN]>,
    netlink: Netlink,
    known: BTreeMap<Next, Known>,
    free: BTreeSet<u16>,
    /// Where frames may leave; `None`: anywhere.
    only: Option<Vec<u32>>,
    /// Until the first frame is lent to the sockets; after that the program keeps its own time.
    lend_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    place: u16,
    users: u32,
    written: Hop,
}

impl Hops {
    /// The part that begins at `first`. With `only`, frames leave by these interfaces and no others.
    pub(super) fn new(
        map: Array<MapData, [u8; HOP_LEN]>,
        first: u32,
        only: Option<Vec<u32>>,
        lend_ns: u64,
    ) -> io::Result<Self> {
        let end = first + KERNEL_HOPS_PER_WORKER;
        let free = (first..end).map(u16::try_from).collect::<Result<_, _>>().map_err(io::Error::other)?;
        Ok(Self { map, netlink: Netlink::new()?, known: BTreeMap::new(), free, only, lend_ns })
    }

    /// The place of the next hop from `source` to `destination`, which has one user more. `None` where there is no plain way,
    /// or no place left: then the worker relays.
    pub(super) fn enter(&mut self, source: IpAddr, destination: IpAddr) -> Option<(Next, u16)> {
        let next = self.netlink.route(source, destination).ok()??;
        if self.only.as_ref().is_some_and(|only| !only.contains(&next.ifindex)) {
            return None;
        }
        if let Some(known) = self.known.get_mut(&next) {
            known.users += 1;
            return Some((next, known.place));
        }
        let written = self.look(next)?;
        let place = *self.free.first()?;
        self.map.set(place.into(), written.bytes(), 0).ok()?;
        self.free.remove(&place);
        self.known.insert(next, Known { place, users: 1, written });
        Some((next, place))
    }

    /// One user less.
    pub(super) fn leave(&mut self, next: Next) {
        let Some(known) = self.known.get_mut(&next) else { return };
        known.users -= 1;
        if known.users == 0 {
            self.free.insert(known.place);
            self.known.remove(&next);
        }
    }

    /// Looks at what has happened; writes next hops that have changed. The answer says whether routes may have.
    pub(super) fn follow(&mut self) -> bool {
        let News { neighbours, routes } = self.netlink.news();
        if neighbours || routes {
            self.refresh();
        }
        routes
    }

    fn refresh(&mut self) {
        let all: Vec<_> = self.known.keys().copied().collect();
        for next in all {
            let fresh = self.look(next);
            let Some(known) = self.known.get_mut(&next) else { continue };
            let unusable = Hop { mtu: 0, macs: None, ..known.written };
            let fresh = fresh.unwrap_or(unusable);
            // When the next frame is lent is the program's to say, and no reason to write.
            if (Hop { due_ns: known.written.due_ns, ..fresh }) != known.written
                && self.map.set(known.place.into(), fresh.bytes(), 0).is_ok()
            {
                known.written = fresh;
            }
        }
    }

    fn look(&mut self, next: Next) -> Option<Hop> {
        let link = self.netlink.link(next.ifindex).ok()?;
        let own = link.mac?;
        let neighbour = self.netlink.neighbour(next).ok()?;
        Some(Hop {
            ifindex: next.ifindex,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            next: next.ip,
            macs: neighbour.map(|theirs| (theirs, own)),
            due_ns: monotonic_ns().saturating_add(self.lend_ns),
        })
    }

    /// How many are in use.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
