//! A packet and a table in, a verdict out: what every packet pays.

use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::proto::media::Bandwidth;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::NewAllocation;
use crate::proto::media::Table;
use crate::proto::media::TableChange;
use crate::proto::media::TableConfig;
use crate::proto::media::forward::from_client;
use crate::proto::media::forward::from_peer;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Unlisted;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::ServerAddr;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::indication::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;
use crate::proto::wire::rfc8656::attributes;
use crate::proto::wire::rfc8656::encode::MessageWriter;

use super::TIMES;

/// Bytes of a voice packet.
const PAYLOAD: usize = 172;
const CHANNEL: u16 = 0x4000;
const HEADER: IpHeader = IpHeader { hop_limit: Some(64), traffic_class: 0xB8, dont_fragment: true };
const NOW: Tick = Tick::from_millis(1_000);
const UNTIL: Deadline = Deadline::from_millis(600_000);
const RELAY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const RELAY_PORTS: u32 = 10_000;

/// A worker's table in which each allocation has two permissions and a channel.
#[derive(Debug)]
pub struct Relay {
    table: Table,
    allocations: u32,
    channel_data: Vec<u8>,
    send: Vec<u8>,
    buffer: Vec<u8>,
}

/// A table with so many allocations, 1 at least.
#[must_use]
pub fn relay(allocations: u32) -> Relay {
    let policy = PolicyBuilder {
        default: Unlisted::Public,
        allow: Vec::new(),
        deny: Vec::new(),
        own: vec![RELAY_IP],
        relay: vec![RELAY_IP],
    };
    let mut table = Table::new(TableConfig {
        policy: Arc::new(policy.build()),
        strict_permissions: false,
        hash_seeds: [1, 2, 3, 4],
        external: ExternalAddresses::default(),
    });
    for number in 0..allocations {
        insert(&mut table, number);
    }
    Relay {
        table,
        allocations,
        channel_data: [&CHANNEL.to_be_bytes()[..], &(PAYLOAD as u16).to_be_bytes(), &[7; PAYLOAD]].concat(),
        send: send(peer(1).socket()),
        buffer: vec![7; room().end + DATA_PADDING_MAX],
    }
}

impl Relay {
    /// The number of the allocation whose turn it is: they come in an order that no cache foresees.
    fn turn(&self, time: usize) -> u32 {
        (time as u32).wrapping_mul(0x9E37_79B1) % self.allocations
    }
}

/// Client to peer, ChannelData. Returns how many packets are to leave.
pub fn channel_to_peer(relay: &mut Relay) -> usize {
    (0..TIMES).filter(|time| to_peer(relay, *time, &relay.channel_data)).count()
}

/// Client to peer, Send indication. Returns how many packets are to leave.
pub fn send_to_peer(relay: &mut Relay) -> usize {
    (0..TIMES).filter(|time| to_peer(relay, *time, &relay.send)).count()
}

fn to_peer(relay: &Relay, time: usize, datagram: &[u8]) -> bool {
    let from = client(relay.turn(time));
    let verdict = from_client(&relay.table, NOW, &from, HEADER, black_box(datagram));
    matches!(black_box(verdict), FromClient::ToPeer { .. })
}

/// Peer to client, by the channel. Returns how many packets are to leave.
pub fn peer_to_channel(relay: &mut Relay) -> usize {
    to_client(relay, peer(0))
}

/// Peer to client, as a Data indication. Returns how many packets are to leave.
pub fn peer_to_data(relay: &mut Relay) -> usize {
    to_client(relay, peer(1))
}

/// A peer without a permission. Returns how many packets are to leave: none.
pub fn peer_unpermitted(relay: &mut Relay) -> usize {
    to_client(relay, peer(9))
}

fn to_client(relay: &mut Relay, peer: PeerAddr) -> usize {
    let turns: [u32; TIMES] = std::array::from_fn(|time| relay.turn(time));
    let leave = |turn: &u32| {
        let buffer = black_box(&mut relay.buffer[..]);
        let verdict = from_peer(&relay.table, NOW, id(*turn), peer, HEADER, buffer, room());
        matches!(black_box(verdict), FromPeer::ToClient { .. })
    };
    turns.iter().map(leave).filter(|left| *left).count()
}

/// An allocation comes with its permissions and channel, and goes. Returns how often.
pub fn come_and_go(relay: &mut Relay) -> usize {
    for time in 0..TIMES {
        let number = relay.allocations + time as u32 % 8;
        insert(&mut relay.table, number);
        relay.table.apply(TableChange::Remove { relay: id(number) });
    }
    TIMES
}

fn insert(table: &mut Table, number: u32) {
    let relay = id(number);
    table.apply(TableChange::Insert(Box::new(NewAllocation {
        relay,
        five_tuple: client(number),
        dialect: Dialect::Rfc8656,
        relayed: RelayAddr::new(SocketAddr::new(RELAY_IP, 50_000 + (number % RELAY_PORTS) as u16)),
        until: UNTIL,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Udp,
    })));
    for peer in [peer(0), peer(1)] {
        table.apply(TableChange::Permit { relay, peer: peer.ip(), until: UNTIL });
    }
    let channel = ChannelNumber::new(CHANNEL).expect("a channel number");
    table.apply(TableChange::Bind { relay, channel, peer: peer(0), until: UNTIL });
}

const fn id(number: u32) -> RelayId {
    RelayId { index: number, generation: 1 }
}

/// The part of the buffer that holds what a peer sent.
const fn room() -> Range<usize> {
    DATA_HEADER_MAX..DATA_HEADER_MAX + PAYLOAD
}

fn client(number: u32) -> FiveTuple {
    let ip = Ipv4Addr::from(0xC612_0000 + number / 4);
    FiveTuple {
        client: ClientAddr::new(SocketAddr::from((ip, 20_000 + (number % 4) as u16))),
        server: ServerAddr::new(SocketAddr::new(RELAY_IP, 3_478)),
        transport: Transport::Udp,
    }
}

fn peer(number: u8) -> PeerAddr {
    PeerAddr::new(SocketAddr::from(([203, 0, 114, number], 4_000)))
}

/// A Send indication to `to`, an IPv4 address.
fn send(to: SocketAddr) -> Vec<u8> {
    let mut out = vec![0; 512];
    let id = TransactionId::with_cookie(*b"transaction!");
    let mut writer = MessageWriter::request(&mut out, Method::CreatePermission, id);
    writer.peer(PeerAddr::new(to)).attribute(attributes::DATA, &[7; PAYLOAD]);
    let len = writer.finish().expect("room");
    out.truncate(len);
    // Class and method of a Send indication.
    out[..2].copy_from_slice(&[0x00, 0x16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_goes_where_its_bench_says() {
        for allocations in [1, 1_000] {
            let mut relay = relay(allocations);
            assert_eq!(channel_to_peer(&mut relay), TIMES);
            assert_eq!(send_to_peer(&mut relay), TIMES);
            assert_eq!(peer_to_channel(&mut relay), TIMES);
            assert_eq!(peer_to_data(&mut relay), TIMES);
            assert_eq!(peer_unpermitted(&mut relay), 0);
            assert_eq!(come_and_go(&mut relay), TIMES);
            assert_eq!(channel_to_peer(&mut relay), TIMES);
        }
    }
}
