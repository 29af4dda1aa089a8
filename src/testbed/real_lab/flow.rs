//! What the routers saw: flows, by which road each goes, and what of it is data of the call.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::nat::Packet;
use crate::nat::Protocol;
use crate::proto::types::limits::LAB_FLOWS_MAX;
use crate::proto::wire::channel_data;
use crate::proto::wire::indication;
use crate::proto::wire::stream;
use crate::proto::wire::stream::Next;
use crate::testbed::Relay;

use super::addresses::PORT;
use super::addresses::PORT_ALTERNATE;
use super::addresses::PORT_TLS;
use super::addresses::PROXY;
use super::addresses::SERVER;
use super::addresses::SERVER_ALTERNATE;
use super::addresses::Side;
use super::gate::Way;

/// Where a flow leads, as its addresses tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Road {
    /// To the other place.
    Direct,
    /// To a relayed address at the server: the other side's relay.
    ToRelay,
    /// To the server, as its client.
    Server(Relay),
    /// Anywhere else.
    Other,
}

impl Road {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::ToRelay,
        Self::Server(Relay::Udp),
        Self::Server(Relay::Tcp),
        Self::Server(Relay::Tls),
        Self::Server(Relay::Proxy),
        Self::Other,
    ];

    pub(super) fn of(side: Side, protocol: Protocol, far: SocketAddr) -> Self {
        let is_udp = protocol == Protocol::Udp;
        let is_server = [SERVER, SERVER_ALTERNATE].map(IpAddr::V4).contains(&far.ip());
        match far.port() {
            _ if far == PROXY && !is_udp => Self::Server(Relay::Proxy),
            _ if far.ip() == IpAddr::V4(side.other().external()) && is_udp => Self::Direct,
            _ if !is_server => Self::Other,
            PORT | PORT_ALTERNATE if is_udp => Self::Server(Relay::Udp),
            PORT if !is_udp => Self::Server(Relay::Tcp),
            PORT_TLS if !is_udp => Self::Server(Relay::Tls),
            _ if is_udp => Self::ToRelay,
            _ => Self::Other,
        }
    }

    /// Whether data within it cannot be told from control.
    pub(super) const fn is_opaque(self) -> bool {
        matches!(self, Self::Server(Relay::Tls | Relay::Proxy))
    }

    /// In reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ToRelay => "to the other side's relay",
            Self::Server(Relay::Udp) => "server (udp)",
            Self::Server(Relay::Tcp) => "server (tcp)",
            Self::Server(Relay::Tls) => "server (tls)",
            Self::Server(Relay::Proxy) => "server (proxy)",
            Self::Other => "elsewhere",
        }
    }

    /// What of a datagram or a segment is of the call, if anything is: neither STUN nor control. Within TLS it is any record of
    /// data.
    pub(super) fn media(self, payload: &[u8]) -> Option<&[u8]> {
        let data = match self {
            Self::Direct | Self::ToRelay => Some(payload),
            Self::Server(Relay::Udp | Relay::Tcp) => self.message(payload).and_then(in_message),
            Self::Server(Relay::Tls | Relay::Proxy) => {
                return Some(payload).filter(|payload| payload.starts_with(&TLS_DATA));
            }
            Self::Other => None,
        };
        data.filter(|data| is_media(data))
    }

    /// Of a datagram or a segment the message to or from the server that it is, or begins with.
    pub(super) fn message(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Server(Relay::Udp) => Some(payload),
            Self::Server(Relay::Tcp) => first_message(payload),
            _ => None,
        }
    }
}

/// How a record of data begins: its kind, and the version that all since TLS 1.2 name.
const TLS_DATA: [u8; 3] = [23, 3, 3];

/// What a peer is to get by a message to or from the server.
pub(super) fn in_message(message: &[u8]) -> Option<&[u8]> {
    if let Ok((_, data)) = channel_data::decode(message) {
        return Some(data);
    }
    let sent = indication::decode_send(message).map(|send| send.data);
    sent.or_else(|_| indication::decode_data(message).map(|(_, data)| data)).ok()
}

/// Of a stream's segment the message that it begins with, if it begins with one.
fn first_message(segment: &[u8]) -> Option<&[u8]> {
    match stream::next_frame(segment) {
        Next::Frame { len } => segment.get(..len),
        Next::More { .. } | Next::Broken => None,
    }
}

/// Whether it is neither nothing nor STUN (RFC 7983).
fn is_media(payload: &[u8]) -> bool {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    !payload.is_empty() && (payload[0] > 3 || payload.get(4..8) != Some(&COOKIE[..]))
}

/// One way of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
    /// Those of them that carry data of the call.
    pub media: u64,
    /// Bytes of that data, without any header; within TLS, of its records.
    pub media_bytes: u64,
}

/// Packets between one address of a side, as it is seen outside, and one far away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Whose.
    pub side: Side,
    /// Whether it is UDP, or TCP.
    pub is_udp: bool,
    /// The side's address outside.
    pub near: SocketAddr,
    /// The other end.
    pub far: SocketAddr,
    /// Where it leads.
    pub road: Road,
    /// From the side.
    pub out: Count,
    /// To it.
    pub inward: Count,
    /// When the first data went out, and when the first came.
    pub first: [Option<Duration>; 2],
}

impl Flow {
    const fn count(&self, way: Way) -> &Count {
        match way {
            Way::Out => &self.out,
            Way::In => &self.inward,
        }
    }
}

/// All flows of a run.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    flows: BTreeMap<Key, Flow>,
    /// By which flows the last data went that could be read, each side and way for itself.
    recent: BTreeMap<(Side, Way), VecDeque<Key>>,
}

/// Whose, whether it is UDP, and both ends.
type Key = (Side, bool, SocketAddr, SocketAddr);

/// How many of the last packets with data tell by which road a call goes: an agent begins with what works first, and changes to
/// what is better.
const RECENT: usize = 25;

impl Flows {
    /// A packet passed outside of `side`'s NATs, with these addresses.
    pub(super) fn note(
        &mut self,
        at: Duration,
        side: Side,
        way: Way,
        packet: &Packet,
        len: usize,
        payload: &[u8],
    ) {
        let (near, far) = match way {
            Way::Out => (packet.source, packet.destination),
            Way::In => (packet.destination, packet.source),
        };
        let is_udp = packet.protocol == Protocol::Udp;
        let key = (side, is_udp, near, far);
        if self.flows.len() >= LAB_FLOWS_MAX && !self.flows.contains_key(&key) {
            return;
        }
        let flow = self.flows.entry(key).or_insert_with(|| {
            let road = Road::of(side, packet.protocol, far);
            let (out, inward) = (Count::default(), Count::default());
            Flow { side, is_udp, near, far, road, out, inward, first: [None; 2] }
        });
        let count = if way == Way::Out { &mut flow.out } else { &mut flow.inward };
        count.packets += 1;
        count.bytes += len as u64;
        let is_later_part = packet.fragment.is_some_and(|fragment| !fragment.first);
        if let Some(data) = flow.road.media(payload).filter(|_| !is_later_part) {
            count.media += 1;
            count.media_bytes += data.len() as u64;
            flow.first[way as usize].get_or_insert(at);
            if !flow.road.is_opaque() {
                let recent = self.recent.entry((side, way)).or_default();
                recent.truncate(RECENT - 1);
                recent.push_front(key);
            }
        }
    }

    /// Each of them, those of the left side first.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.values()
    }

    /// The flow by which the call's last data left `side`, and the one by which it came: some agents send by another pair than
    /// the other side does.
    #[must_use]
    pub fn main(&self, side: Side) -> Option<[&Flow; 2]> {
        Some([self.last(side, Way::Out)?, self.last(side, Way::In)?])
    }

    /// What can be read is believed before what cannot.
    fn last(&self, side: Side, way: Way) -> Option<&Flow> {
        if let Some(recent) = self.recent.get(&(side, way)) {
            let times = |key: &&Key| recent.iter().filter(|other| other == key).count();
            return self.flows.get(recent.iter().max_by_key(times)?);
        }
        self.iter()
            .filter(|flow| flow.side == side && flow.count(way).media >= OPAQUE_MIN)
            .max_by_key(|flow| flow.count(way).media)
    }

    /// When `side` had first sent data and first heard some, as far as that can be read.
    pub(super) fn met(&self, side: Side) -> Option<Duration> {
        let first = |way: Way| {
            let own = self.iter().filter(|flow| flow.side == side && !flow.road.is_opaque());
            own.filter_map(|flow| flow.first[way as usize]).min()
        };
        Some(first(Way::Out)?.max(first(Way::In)?))
    }
}

/// Records within TLS, each way, that are more than allocations, permissions and checks take.
const OPAQUE_MIN: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::TcpFlags;

    const STUN: [u8; 20] = {
        let mut message = [0; 20];
        (message[1], message[4], message[5], message[6], message[7]) = (1, 0x21, 0x12, 0xA4, 0x42);
        message
    };

    fn channel_data(payload: &[u8]) -> Vec<u8> {
        let mut message = vec![0x40, 0x00, 0, u8::try_from(payload.len()).unwrap()];
        message.extend_from_slice(payload);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn note(flows: &mut Flows, way: Way, is_udp: bool, far: &str, payload: &[u8]) {
        let (near, far): (SocketAddr, SocketAddr) =
            ("203.0.113.1:4000".parse().unwrap(), far.parse().unwrap());
        let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp(TcpFlags::ACK) };
        let (source, destination) = if way == Way::Out { (near, far) } else { (far, near) };
        let packet = Packet { protocol, source, destination, fragment: None };
        flows.note(Duration::from_secs(1), Side::Left, way, &packet, 28 + payload.len(), payload);
    }

    /// The road of the left side after a call of so many packets each way with this in them.
    fn road(is_udp: bool, far: &str, payload: &[u8], packets: usize) -> Option<Road> {
        let mut flows = Flows::default();
        for _ in 0..packets {
            note(&mut flows, Way::Out, is_udp, far, payload);
            note(&mut flows, Way::In, is_udp, far, payload);
        }
        flows.main(Side::Left).map(|[out, inward]| {
            assert_eq!(out, inward, "one flow both ways");
            out.road
        })
    }

    #[test]
    fn data_is_told_from_control_on_each_road() {
        let media = [0x80; 100];
        let (peer, relay, server) = ("198.51.100.1:5", "192.0.2.1:50000", "192.0.2.1:3478");
        let (wrapped, check) = (channel_data(&media), channel_data(&STUN));
        assert_eq!(road(true, peer, &media, 1), Some(Road::Direct));
        assert_eq!(road(true, peer, &STUN, 99), None);
        assert_eq!(road(true, relay, &media, 1), Some(Road::ToRelay));
        assert_eq!(road(true, server, &wrapped, 1), Some(Road::Server(Relay::Udp)));
        assert_eq!(road(true, server, &check, 99), None);
        assert_eq!(road(true, server, &media, 99), None, "what is no message of TURN");
        assert_eq!(road(false, server, &wrapped, 1), Some(Road::Server(Relay::Tcp)));
        assert_eq!(road(false, server, &check, 99), None);
        let record = [&TLS_DATA[..], &[0, 99], &[7; 99]].concat();
        assert_eq!(road(false, "192.0.2.1:443", &record, 99), Some(Road::Server(Relay::Tls)));
        assert_eq!(road(false, "192.0.2.9:8080", &record, 99), Some(Road::Server(Relay::Proxy)));
        assert_eq!(road(false, "192.0.2.9:8080", b"CONNECT 192.0.2.1:443 HTTP/1.1", 99), None);
        assert_eq!(road(false, "192.0.2.1:443", &record, 9), None, "so few may be control");
        assert_eq!(road(true, "8.8.8.8:53", &media, 99), None);
    }

    #[test]
    fn a_call_ends_on_the_road_that_it_changed_to() {
        let mut flows = Flows::default();
        for (far, packets) in [("192.0.2.1:50000", 500), ("198.51.100.1:5", RECENT)] {
            for _ in 0..packets {
                note(&mut flows, Way::Out, true, far, &[0x80; 100]);
                note(&mut flows, Way::In, true, far, &[0x80; 100]);
            }
        }
        let roads = flows.main(Side::Left).map(|flows| flows.map(|flow| flow.road));
        assert_eq!(roads, Some([Road::Direct; 2]));
        // A straggler changes nothing.
        note(&mut flows, Way::In, true, "192.0.2.1:50000", &[0x80; 100]);
        assert_eq!(flows.main(Side::Left).map(|flows| flows[1].road), Some(Road::Direct));
        assert!(flows.recent.values().all(|recent| recent.len() == RECENT));
    }

    #[test]
    fn one_way_alone_is_no_call() {
        let mut flows = Flows::default();
        for _ in 0..99 {
            note(&mut flows, Way::Out, true, "198.51.100.1:5", &[0x80; 100]);
        }
        assert_eq!(flows.main(Side::Left), None);
        note(&mut flows, Way::In, true, "198.51.100.1:5", &[0x80; 100]);
        let [flow, inward] = flows.main(Side::Left).expect("both ways now");
        assert_eq!((flow.out.packets, flow.out.bytes, inward.inward.media), (99, 99 * 128, 1));
        assert_eq!(flows.met(Side::Left), Some(Duration::from_secs(1)));
        assert!(flows.main(Side::Right).is_none());
    }

    #[test]
    fn however_many_flows_there_are_memory_is_bounded() {
        let mut flows = Flows::default();
        for port in 1..=u16::MAX {
            note(&mut flows, Way::Out, true, &format!("198.51.100.1:{port}"), b"x");
        }
        assert_eq!(flows.iter().count(), LAB_FLOWS_MAX);
    }
}
