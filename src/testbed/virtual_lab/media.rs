//! Media between two agents: small packets by the clock, each of which says by which pair it left, so that whoever gets it
//! knows what really works.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ice::Input;
use crate::ice::Path;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::report::End;
use crate::testbed::report::Flow;
use crate::testbed::report::PairTraffic;

use super::clock::MILLISECOND;
use super::clock::Micros;
use super::world::Next;
use super::world::World;

/// Each side sends a packet so often, as speech does.
const INTERVAL: Micros = 20 * MILLISECOND;
/// The same once it has flowed for long enough.
const QUIET_INTERVAL: Micros = 200 * MILLISECOND;
/// Bytes of a packet.
const LEN: usize = 160;
/// What a packet begins with: nothing of STUN's, nor of ChannelData's.
const MARK: [u8; 2] = *b"SB";
/// Arrivals that are remembered of each side.
const RECENT_MAX: usize = 128;

/// What was sent and what came.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// No more is sent.
    pub(super) is_over: bool,
    /// How long it flows at its full rate after a change of path.
    pub(super) busy: Micros,
    /// By which pairs each side sent.
    sent: [Vec<Sent>; 2],
    /// What arrived last of each side's: when it left, and by which of its pairs.
    recent: [VecDeque<(Micros, usize)>; 2],
    /// The last address that a datagram of each side had on the internet.
    mapped: [Option<SocketAddr>; 2],
}

/// A pair of candidates that one side sent by.
#[derive(Debug)]
struct Sent {
    path: Path,
    route: Verdict,
    /// Our address as the other side sees it.
    own: SocketAddr,
    arrived: Flow,
}

impl Media {
    /// A datagram of a side has this source on the internet.
    pub(super) const fn mapped(&mut self, side: usize, source: SocketAddr) {
        self.mapped[side] = Some(source);
    }

    /// By which route the packets of a side arrived that left at `since` or later: the most frequent; `None`: none did.
    pub(super) fn route(&self, side: usize, since: Micros) -> Option<Verdict> {
        let recent = self.recent[side].iter().filter(|(left, _)| *left >= since);
        let routes: Vec<_> =
            recent.filter_map(|(_, at)| self.sent[side].get(*at)).map(|sent| sent.route).collect();
        let count = |route: &Verdict| routes.iter().filter(|each| *each == route).count();
        routes.iter().max_by_key(|route| count(route)).copied()
    }

    /// What went by which pair, the first first.
    pub(super) fn traffic(&self) -> Vec<PairTraffic> {
        let mut pairs: Vec<PairTraffic> = Vec::new();
        for side in 0..2 {
            for sent in &self.sent[side] {
                let own = End { kind: Some(sent.path.local), address: Some(sent.own) };
                let other = End { kind: Some(sent.path.remote), address: Some(sent.path.peer) };
                let (left, right) = if side == 0 { (own, other) } else { (other, own) };
                let is_it = |pair: &PairTraffic| {
                    (pair.left.address, pair.right.address, pair.route)
                        == (left.address, right.address, sent.route)
                };
                let at = pairs.iter().position(is_it).unwrap_or_else(|| {
                    let (from_left, from_right) = (Flow::default(), Flow::default());
                    pairs.push(PairTraffic { route: sent.route, left, right, from_left, from_right });
                    pairs.len() - 1
                });
                let pair = &mut pairs[at];
                if side == 0 {
                    pair.from_left = sent.arrived;
                } else {
                    // Each side knows its own candidate best.
                    pair.right = right;
                    pair.from_right = sent.arrived;
                }
            }
        }
        pairs
    }
}

impl World {
    /// A side sends its next packet.
    pub(super) fn speak(&mut self, side: usize) {
        let is_mute = self.media.is_over || self.callers[side].has_failed;
        let Some(path) = self.callers[side].agent.path().filter(|_| !is_mute) else { return };
        let is_it = |sent: &Sent| (sent.path.base, sent.path.peer) == (path.base, path.peer);
        let known = self.media.sent[side].iter().position(is_it);
        let at = known.unwrap_or_else(|| {
            let route = self.route(side, &path);
            self.media.sent[side].push(Sent { path, route, own: path.base, arrived: Flow::default() });
            self.media.sent[side].len() - 1
        });
        self.media.mapped[side] = None;
        let packet = packet(self.micros, at);
        self.input(side, Input::Send(&packet));
        if let (Verdict::Direct, Some(mapped)) | (Verdict::Relayed(_), Some(mapped)) =
            (self.media.sent[side][at].route, self.media.mapped[side])
            && path.relay.is_none()
        {
            self.media.sent[side][at].own = mapped;
        }
        // What the other side is told by may have become known since.
        self.media.sent[side][at].path = path;
        let is_busy = self.micros < self.callers[side].switched + self.media.busy;
        self.later(if is_busy { INTERVAL } else { QUIET_INTERVAL }, Next::Media { side });
    }

    /// A side got a packet of the other's.
    pub(super) fn heard(&mut self, side: usize, data: &[u8]) {
        let from = 1 - side;
        let Some((left, at)) = read(data) else { return };
        self.media_came(side);
        if let Some(sent) = self.media.sent[from].get_mut(at) {
            sent.arrived.add(data.len());
            let recent = &mut self.media.recent[from];
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back((left, at));
        }
    }

    /// What lies on the way of a pair: what carries media to the relay of either side that uses one.
    fn route(&self, side: usize, path: &Path) -> Verdict {
        let own = self.callers[side].relayed.get(&path.base);
        let other = self.callers[1 - side].relayed.get(&path.peer);
        let relay: Option<Relay> = own.into_iter().chain(other).max().copied();
        relay.map_or(Verdict::Direct, Verdict::Relayed)
    }
}

fn packet(left: Micros, at: usize) -> [u8; LEN] {
    let mut packet = [0; LEN];
    packet[..2].copy_from_slice(&MARK);
    packet[2..10].copy_from_slice(&left.to_be_bytes());
    packet[10..18].copy_from_slice(&(at as u64).to_be_bytes());
    packet
}

fn read(data: &[u8]) -> Option<(Micros, usize)> {
    let rest = data.strip_prefix(&MARK).filter(|_| data.len() == LEN)?;
    let (left, rest) = rest.split_first_chunk()?;
    let (at, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*left), usize::try_from(u64::from_be_bytes(*at)).ok()?))
}
