//! What the laboratory writes down of a call as it goes on: key events, and what became of packets at the gates.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ice;
use crate::ice::Path;
use crate::ice::Wanted;
use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::Verdict;
use crate::proto::client::Failure;
use crate::testbed::Relay;
use crate::testbed::edge::Kind as NoteKind;
use crate::testbed::edge::Note;
use crate::testbed::real_lab::Fate;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::record::Point;
use crate::testbed::report::Flight;
use crate::testbed::report::GateTally;
use crate::testbed::report::Happenings;
use crate::testbed::report::RoadTally;
use crate::testbed::report::What;

use super::caller::WAYS;
use super::clock::Micros;
use super::places::PORT;
use super::places::PORT_OTHER;
use super::places::PORT_TLS;
use super::places::PROXY;
use super::places::SERVER;
use super::places::SERVER_OTHER;
use super::world::World;

/// What was written down so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: Happenings,
    gates: BTreeMap<(Side, Way, &'static str), u64>,
    roads: BTreeMap<(Side, bool, Road), [u64; 2]>,
    lost: [u64; 2],
    has_sent: [bool; 2],
    has_heard: [bool; 2],
}

impl Log {
    /// A packet was lost on the line of a side.
    pub(super) const fn lost(&mut self, side: usize) {
        self.lost[side] += 1;
    }

    fn happen(&mut self, at: Micros, side: Option<Side>, what: What, detail: String) {
        self.events.happen(Duration::from_micros(at), side, what, detail);
    }

    fn gate(&mut self, side: Side, way: Way, verdict: &Verdict) {
        let fate = match verdict {
            Verdict::Pass { .. } => Fate::Passed,
            Verdict::Back { .. } => Fate::TurnedBack,
            Verdict::Drop(why) | Verdict::Reject(why) => Fate::Refused(*why),
        };
        *self.gates.entry((side, way, fate.word())).or_default() += 1;
    }
}

impl World {
    /// A packet of a client meets what stands before it.
    pub(super) fn leaves(&mut self, side: usize, packet: &Packet) -> Verdict {
        let verdict = self.sites[side].outbound(self.now().tick(), packet);
        let own = Side::BOTH[side];
        self.log.gate(own, Way::Out, &verdict);
        if let Verdict::Pass { destination, .. } = verdict {
            let (is_udp, road) = self.road(side, packet.protocol, destination);
            self.log.roads.entry((own, is_udp, road)).or_default()[0] += 1;
            if !std::mem::replace(&mut self.log.has_sent[side], true) {
                let protocol = if is_udp { "udp" } else { "tcp" };
                self.write_down(side, What::FirstPacket, format!("{protocol} to {destination}"));
            }
        }
        verdict
    }

    /// A packet from the internet does.
    pub(super) fn enters(&mut self, side: usize, packet: &Packet) -> Verdict {
        let verdict = self.sites[side].inbound(self.now().tick(), packet);
        let own = Side::BOTH[side];
        self.log.gate(own, Way::In, &verdict);
        if matches!(verdict, Verdict::Pass { .. } | Verdict::Back { .. }) {
            let (is_udp, road) = self.road(side, packet.protocol, packet.source);
            self.log.roads.entry((own, is_udp, road)).or_default()[1] += 1;
        }
        verdict
    }

    fn road(&self, side: usize, protocol: Protocol, far: SocketAddr) -> (bool, Road) {
        let is_udp = protocol == Protocol::Udp;
        let is_server = [SERVER, SERVER_OTHER].map(IpAddr::V4).contains(&far.ip());
        let road = match far.port() {
            _ if far == PROXY => Road::Server(Relay::Proxy),
            _ if self.sites[1 - side].is_at(far.ip()) => Road::Direct,
            _ if !is_server => Road::Other,
            PORT | PORT_OTHER if is_udp => Road::Server(Relay::Udp),
            PORT if !is_udp => Road::Server(Relay::Tcp),
            PORT_TLS if !is_udp => Road::Server(Relay::Tls),
            _ if is_udp => Road::ToRelay,
            _ => Road::Other,
        };
        (is_udp, road)
    }

    pub(super) fn write_down(&mut self, side: usize, what: What, detail: String) {
        self.log.happen(self.micros, Some(Side::BOTH[side]), what, detail);
    }

    /// What an agent tells.
    pub(super) fn agent_told(&mut self, side: usize, event: &ice::Event) {
        let (what, detail) = match event {
            ice::Event::LocalCandidate(candidate) => {
                (What::Candidate, format!("{} {}", candidate.kind.word(), candidate.address))
            }
            ice::Event::GatheringDone => (What::Gathered, "no further candidates".to_owned()),
            ice::Event::NotGathered { server, wanted, why, .. } => {
                let wanted = match wanted {
                    Wanted::Reflexive => "a server-reflexive address",
                    Wanted::Relayed => "a relayed address",
                };
                (What::NotGathered, format!("{wanted} over {}: {}", way(*server), reason(*why)))
            }
            ice::Event::NotPermitted { server, peer, why } => {
                (What::NotPermitted, format!("{peer} over {}: {}", way(*server), reason(*why)))
            }
            ice::Event::Connected(path) => (What::Connected, pair(path)),
            ice::Event::Switched(path) => (What::Switched, pair(path)),
            ice::Event::RelayLost { server, why } => {
                (What::RelayLost, format!("over {}: {}", way(*server), reason(*why)))
            }
            ice::Event::Failed(why) => (What::Failed, why.word().to_owned()),
            ice::Event::Data(_) | ice::Event::Closed { .. } => return,
        };
        self.write_down(side, what, detail);
    }

    /// A side got data of the other's.
    pub(super) fn media_came(&mut self, side: usize) {
        if !std::mem::replace(&mut self.log.has_heard[side], true) {
            self.write_down(side, What::Media, "the first data of the other side".to_owned());
        }
    }

    /// A datagram of another client came, to a client or to its relayed address: it may be a connectivity check.
    pub(super) fn check_came(&mut self, side: usize, from: SocketAddr, bytes: &[u8]) {
        const REQUEST: [u8; 2] = [0x00, 0x01];
        const GRANTED: [u8; 2] = [0x01, 0x01];
        const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
        if bytes.get(4..8) != Some(&COOKIE) || self.machine.point_of(from) == Some(Point::Server) {
            return;
        }
        match bytes.first_chunk() {
            Some(&REQUEST) => self.write_down(side, What::CheckHeard, format!("from {from}")),
            Some(&GRANTED) => self.write_down(side, What::CheckAnswered, format!("by {from}")),
            _ => {}
        }
    }

    /// All of it, with what the server noted; `users` are the names by which it knows the sides.
    pub(super) fn flight(&self, users: &[String; 2]) -> Flight {
        let mut log = Log { events: self.log.events.clone(), ..Log::default() };
        for note in &self.machine.notes {
            let Some(what) = what(note.kind) else { continue };
            let detail = note.words.clone();
            log.happen(note.at.as_millis().saturating_mul(1_000), self.side_of(users, note), what, detail);
        }
        let gates = self.log.gates.iter().map(|((side, way, fate), packets)| {
            let fate = (*fate).to_owned();
            GateTally { side: *side, way: *way, fate, packets: *packets }
        });
        let roads = self.log.roads.iter().map(|((side, is_udp, road), [out, inward])| RoadTally {
            side: *side,
            is_udp: *is_udp,
            road: *road,
            out: *out,
            inward: *inward,
        });
        Flight {
            roads: roads.collect(),
            gates: gates.collect(),
            lost: Some(self.log.lost),
            events: log.events.in_order(),
            ..Flight::default()
        }
    }

    fn side_of(&self, users: &[String; 2], note: &Note) -> Option<Side> {
        let by_name = |client: &str| users.iter().position(|user| user == client);
        let by_address = |from: SocketAddr| self.sites.iter().position(|site| site.is_at(from.ip()));
        let side = note.client.as_deref().and_then(by_name).or_else(|| note.from.and_then(by_address));
        side.map(|side| Side::BOTH[side])
    }
}

/// Which of the server's notes are key events. Requests are not: their answers are.
const fn what(kind: NoteKind) -> Option<What> {
    match kind {
        NoteKind::Request => None,
        NoteKind::Answer => Some(What::Answer),
        NoteKind::Allocation => Some(What::Allocation),
        NoteKind::Fault => Some(What::Fault),
        NoteKind::Judged => Some(What::Judged),
    }
}

fn way(server: usize) -> &'static str {
    WAYS.get(server).map_or("a way of its own", |way| way.word())
}

fn pair(path: &Path) -> String {
    let Path { local, remote, relay, base, peer } = path;
    let by = relay.map(|(server, _)| format!(", by a relay over {}", way(server))).unwrap_or_default();
    format!("{} {base} to {} {peer}{by}", local.word(), remote.word())
}

/// Why a server did not give what was asked of it.
fn reason(why: Failure) -> String {
    let words = match why {
        Failure::Refused { code, .. } => return format!("refused with {code}"),
        Failure::Timeout => "no answer",
        Failure::Integrity => "no answer that was rightly signed",
        Failure::Algorithm => "no password algorithm in common",
        Failure::Incomplete => "an answer that lacks what it is for",
        Failure::Full => "no room for another",
        Failure::Expired => "its time ran out",
        Failure::Disconnected => "the connection ended, or never was",
        Failure::Unsupported => "not supported",
    };
    words.to_owned()
}
