//! Messages put together and taken apart by hand from the drawings of RFC 8489 and RFC 8656, not by the code under
//! test.

use std::net::IpAddr;
use std::net::SocketAddr;

pub(crate) const BINDING: u16 = 0x0001;
pub(crate) const BINDING_SUCCESS: u16 = 0x0101;
pub(crate) const ALLOCATE: u16 = 0x0003;
pub(crate) const ALLOCATE_ERROR: u16 = 0x0113;
pub(crate) const SEND: u16 = 0x0016;
pub(crate) const DATA: u16 = 0x0017;

pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const INTEGRITY: u16 = 0x0008;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const PEER: u16 = 0x0012;
pub(crate) const DATA_ATTRIBUTE: u16 = 0x0013;
pub(crate) const REALM: u16 = 0x0014;
pub(crate) const NONCE: u16 = 0x0015;
pub(crate) const DONT_FRAGMENT: u16 = 0x001A;
pub(crate) const MAPPED: u16 = 0x0020;
pub(crate) const ICMP: u16 = 0x8004;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// A STUN message of type `kind`.
pub(crate) fn stun(kind: u16, transaction: [u8; 12], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).expect("a short value").to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = kind.to_be_bytes().to_vec();
    message.extend(u16::try_from(body.len()).expect("a short message").to_be_bytes());
    message.extend(COOKIE);
    message.extend(transaction);
    message.extend(body);
    message
}

/// The value of the first attribute `kind` of a message.
pub(crate) fn attribute(message: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    while rest.len() >= 4 {
        let found = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let value = rest.get(4..4 + len)?;
        if found == kind {
            return Some(value);
        }
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
    None
}

/// The message type.
pub(crate) fn kind(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// The number in ERROR-CODE.
pub(crate) fn error_code(message: &[u8]) -> Option<u16> {
    let value = attribute(message, ERROR_CODE)?;
    Some(u16::from(value[2]) * 100 + u16::from(value[3]))
}

/// An address as XOR-PEER-ADDRESS and its like hold it.
pub(crate) fn xor_address(address: SocketAddr, transaction: [u8; 12]) -> Vec<u8> {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family];
    let mask: Vec<u8> = COOKIE.into_iter().chain(transaction).collect();
    let port = address.port().to_be_bytes();
    value.extend([port[0] ^ mask[0], port[1] ^ mask[1]]);
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    value.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    value
}

/// ChannelData as it stands in a datagram.
pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let mut message = channel.to_be_bytes().to_vec();
    message.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
    message.extend(data);
    message
}

/// A Send indication.
pub(crate) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let transaction = *b"an indicatio";
    stun(SEND, transaction, &[(PEER, &xor_address(peer, transaction)), (DATA_ATTRIBUTE, data)])
}

/// A Send indication with DONT-FRAGMENT.
pub(crate) fn send_whole(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let transaction = *b"an indicatio";
    let peer = xor_address(peer, transaction);
    stun(SEND, transaction, &[(PEER, &peer), (DONT_FRAGMENT, &[]), (DATA_ATTRIBUTE, data)])
}

/// Peer, as [`xor_address`] writes it, and data of a Data indication.
pub(crate) fn data_indication(message: &[u8], peer: SocketAddr) -> Option<&[u8]> {
    let transaction = *message.get(8..20)?.first_chunk()?;
    let well = kind(message) == DATA && attribute(message, PEER)? == xor_address(peer, transaction);
    if well { attribute(message, DATA_ATTRIBUTE) } else { None }
}
