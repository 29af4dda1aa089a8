//! What the tests of this room and the fuzz target share: a small world of addresses, and messages put together by hand
//! from the standard's drawings, not by the code under test.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::peers::PeerPolicy;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Unlisted;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::ServerAddr;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::wire::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;

use super::Bandwidth;
use super::ExternalAddresses;
use super::NewAllocation;
use super::Table;
use super::TableChange;
use super::TableConfig;

pub(super) const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Bytes of no meaning that room around a payload holds beforehand.
pub(super) const STALE: u8 = 0xEE;

/// Allows 203.0.113.0/24 and 2001:db8:1::/48 but port 53 of .66, and live ports of 198.51.100.1.
pub(super) fn table(strict_permissions: bool) -> Table {
    let policy = policy(&["203.0.113.66:53"]);
    let external = ExternalAddresses::default();
    Table::new(TableConfig { policy, strict_permissions, hash_seeds: [1, 2, 3, 4], external })
}

/// The table's policy with other denials.
pub(super) fn policy(deny: &[&str]) -> Arc<PeerPolicy> {
    let policy = PolicyBuilder {
        default: Unlisted::None,
        allow: ["203.0.113.0/24", "2001:db8:1::/48"].map(|rule| rule.parse().expect("a rule")).into(),
        deny: deny.iter().map(|rule| rule.parse().expect("a rule")).collect(),
        own: vec!["198.51.100.1".parse().expect("an address")],
        relay: vec!["198.51.100.1".parse().expect("an address")],
    };
    Arc::new(policy.build())
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

pub(super) fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(socket(text))
}

pub(super) fn channel(number: u16) -> ChannelNumber {
    ChannelNumber::new(number).expect("a channel number")
}

pub(super) fn ms(millis: u64) -> Deadline {
    Deadline::from_millis(millis)
}

pub(super) fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

pub(super) fn relay(index: u32, generation: u32) -> RelayId {
    RelayId { index, generation }
}

pub(super) fn client(port: u16) -> FiveTuple {
    FiveTuple {
        client: ClientAddr::new(SocketAddr::new("192.0.2.10".parse().expect("an address"), port)),
        server: ServerAddr::new(socket("198.51.100.1:3478")),
        transport: Transport::Udp,
    }
}

pub(super) fn insert(relay: RelayId, five_tuple: FiveTuple, relayed: &str, until: u64) -> TableChange {
    TableChange::Insert(Box::new(NewAllocation {
        relay,
        five_tuple,
        dialect: Dialect::Rfc8656,
        relayed: RelayAddr::new(socket(relayed)),
        until: ms(until),
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Udp,
    }))
}

/// An allocation whose client speaks [MS-TURN].
#[cfg(test)]
pub(super) fn insert_legacy(relay: RelayId, five_tuple: FiveTuple, relayed: &str, until: u64) -> TableChange {
    let TableChange::Insert(mut new) = insert(relay, five_tuple, relayed, until) else { unreachable!() };
    new.dialect = Dialect::MsTurn;
    TableChange::Insert(new)
}

#[cfg(test)]
pub(super) fn permit(relay: RelayId, ip: &str, until: u64) -> TableChange {
    TableChange::Permit { relay, peer: ip.parse().expect("an address"), until: ms(until) }
}

pub(super) fn bind(relay: RelayId, number: u16, to: &str, until: u64) -> TableChange {
    TableChange::Bind { relay, channel: channel(number), peer: peer(to), until: ms(until) }
}

/// RFC 8656 § 12.4.
pub(super) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("short data");
    [&number.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// A STUN message (RFC 8489 § 5) of `message_type` with `attributes`.
pub(super) fn stun(message_type: u16, transaction: [u8; 12], attributes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(attributes.len()).expect("few attributes");
    [&message_type.to_be_bytes()[..], &len.to_be_bytes(), &COOKIE, &transaction, attributes].concat()
}

/// An attribute with zero padding (RFC 8489 § 14).
pub(super) fn attribute(attribute_type: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("a short value");
    let mut bytes = [&attribute_type.to_be_bytes()[..], &len.to_be_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// XOR-PEER-ADDRESS (RFC 8656 § 18.3).
pub(super) fn xor_peer(transaction: [u8; 12], peer: PeerAddr) -> Vec<u8> {
    let (family, ip) = match peer.ip() {
        std::net::IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        std::net::IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let key = [&COOKIE[..], &transaction].concat();
    let port = peer.port() ^ 0x2112;
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(ip.iter().zip(&key).map(|(byte, key)| byte ^ key));
    attribute(0x0012, &value)
}

pub(super) const TRANSACTION: [u8; 12] = *b"transaction!";

/// A Send indication (RFC 8656 § 11.1).
pub(super) fn send(to: &str, data: &[u8]) -> Vec<u8> {
    let attributes = [xor_peer(TRANSACTION, peer(to)), attribute(0x0013, data)].concat();
    stun(0x0016, TRANSACTION, &attributes)
}

/// A Data indication (RFC 8656 § 11.3).
#[cfg(test)]
pub(super) fn data_indication(transaction: [u8; 12], from: PeerAddr, data: &[u8]) -> Vec<u8> {
    let attributes = [xor_peer(transaction, from), attribute(0x0013, data)].concat();
    stun(0x0017, transaction, &attributes)
}

/// A buffer with `payload` in it, and just the room that `from_peer` asks for.
pub(super) fn received(payload: &[u8]) -> (Vec<u8>, std::ops::Range<usize>) {
    let place = DATA_HEADER_MAX..DATA_HEADER_MAX + payload.len();
    let mut buffer = vec![STALE; place.end + DATA_PADDING_MAX];
    buffer[place.clone()].copy_from_slice(payload);
    (buffer, place)
}
