//! Attribute types (RFC 8489 § 18.3, RFC 8656 § 18, RFC 8016 § 3.3) and the values that several messages share: addresses and
//! fixed-size fields.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::proto::types::Family;
use crate::proto::wire::TransactionId;

/// MAPPED-ADDRESS.
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// CHANGE-REQUEST (RFC 5780).
pub const CHANGE_REQUEST: u16 = 0x0003;
/// USERNAME.
pub const USERNAME: u16 = 0x0006;
/// MESSAGE-INTEGRITY.
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// ERROR-CODE.
pub const ERROR_CODE: u16 = 0x0009;
/// UNKNOWN-ATTRIBUTES.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// CHANNEL-NUMBER.
pub const CHANNEL_NUMBER: u16 = 0x000C;
/// LIFETIME.
pub const LIFETIME: u16 = 0x000D;
/// XOR-PEER-ADDRESS.
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
/// DATA.
pub const DATA: u16 = 0x0013;
/// REALM.
pub const REALM: u16 = 0x0014;
/// NONCE.
pub const NONCE: u16 = 0x0015;
/// XOR-RELAYED-ADDRESS.
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
/// REQUESTED-ADDRESS-FAMILY.
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// EVEN-PORT.
pub const EVEN_PORT: u16 = 0x0018;
/// REQUESTED-TRANSPORT.
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
/// DONT-FRAGMENT.
pub const DONT_FRAGMENT: u16 = 0x001A;
/// ACCESS-TOKEN (RFC 7635 § 6.2).
pub const ACCESS_TOKEN: u16 = 0x001B;
/// MESSAGE-INTEGRITY-SHA256.
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
/// PASSWORD-ALGORITHM.
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
/// USERHASH.
pub const USERHASH: u16 = 0x001E;
/// XOR-MAPPED-ADDRESS.
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// RESERVATION-TOKEN.
pub const RESERVATION_TOKEN: u16 = 0x0022;
/// PADDING (RFC 5780).
pub const PADDING: u16 = 0x0026;
/// RESPONSE-PORT (RFC 5780).
pub const RESPONSE_PORT: u16 = 0x0027;
/// CONNECTION-ID (RFC 6062 § 6.2.1).
pub const CONNECTION_ID: u16 = 0x002A;
/// ADDITIONAL-ADDRESS-FAMILY.
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
/// ADDITIONAL-ADDRESS-FAMILY under the number that it had before RFC 8656, unassigned since. coturn's clients (4.6)
/// still ask by it.
pub const ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT: u16 = 0x8032;
/// ADDRESS-ERROR-CODE.
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
/// PASSWORD-ALGORITHMS.
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
/// ICMP.
pub const ICMP: u16 = 0x8004;
/// SOFTWARE.
pub const SOFTWARE: u16 = 0x8022;
/// ALTERNATE-SERVER.
pub const ALTERNATE_SERVER: u16 = 0x8023;
/// FINGERPRINT.
pub const FINGERPRINT: u16 = 0x8028;
/// RESPONSE-ORIGIN (RFC 5780).
pub const RESPONSE_ORIGIN: u16 = 0x802B;
/// OTHER-ADDRESS (RFC 5780).
pub const OTHER_ADDRESS: u16 = 0x802C;
/// THIRD-PARTY-AUTHORIZATION (RFC 7635 § 6.1).
pub const THIRD_PARTY_AUTHORIZATION: u16 = 0x802E;
/// MOBILITY-TICKET (RFC 8016 § 3.3).
pub const MOBILITY_TICKET: u16 = 0x8030;

/// The comprehension-required types that are understood, some of them only to be passed over where they make no
/// sense: bit `n` stands for type `n`.
const UNDERSTOOD: u64 = bit(MAPPED_ADDRESS)
    | bit(USERNAME)
    | bit(MESSAGE_INTEGRITY)
    | bit(ERROR_CODE)
    | bit(UNKNOWN_ATTRIBUTES)
    | bit(CHANNEL_NUMBER)
    | bit(LIFETIME)
    | bit(XOR_PEER_ADDRESS)
    | bit(DATA)
    | bit(REALM)
    | bit(NONCE)
    | bit(XOR_RELAYED_ADDRESS)
    | bit(REQUESTED_ADDRESS_FAMILY)
    | bit(EVEN_PORT)
    | bit(REQUESTED_TRANSPORT)
    | bit(DONT_FRAGMENT)
    | bit(MESSAGE_INTEGRITY_SHA256)
    | bit(PASSWORD_ALGORITHM)
    | bit(USERHASH)
    | bit(XOR_MAPPED_ADDRESS)
    | bit(RESERVATION_TOKEN)
    | bit(ACCESS_TOKEN)
    | bit(CONNECTION_ID);

/// The first comprehension-optional type (RFC 8489 § 14).
const OPTIONAL: u16 = 0x8000;

const fn bit(kind: u16) -> u64 {
    assert!(kind < 64, "the set holds types below 64");
    1 << kind
}

/// Whether a receiver that does not know `kind` must refuse the message: comprehension-required and not one of
/// ours.
#[must_use]
pub const fn is_not_understood(kind: u16) -> bool {
    kind < OPTIONAL && (kind >= 64 || UNDERSTOOD >> kind & 1 == 0)
}

/// Which attribute types of a message were met before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    required: u64,
    optional: u64,
}

impl Seen {
    /// Marks `kind` and tells whether it is met for the first time. Types that no decoder reads, the 64th and up of
    /// either range, are always new.
    pub(super) const fn first(&mut self, kind: u16) -> bool {
        let (set, index) =
            if kind < OPTIONAL { (&mut self.required, kind) } else { (&mut self.optional, kind - OPTIONAL) };
        if index >= 64 {
            return true;
        }
        let first = *set >> index & 1 == 0;
        *set |= 1 << index;
        first
    }
}

/// Longest value of an address attribute: IPv6.
const ADDRESS_MAX: usize = 20;

/// The value of an address attribute, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto::wire) struct AddressValue {
    bytes: [u8; ADDRESS_MAX],
    len: usize,
}

impl AddressValue {
    /// The value: 8 bytes for IPv4, 20 for IPv6.
    pub(in crate::proto::wire) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The value of an XOR-…-ADDRESS attribute (RFC 8489 § 14.2).
pub(in crate::proto::wire) fn xor_address(address: SocketAddr, transaction: TransactionId) -> AddressValue {
    let mut value = plain_address(address);
    let len = value.len;
    xor(&mut value.bytes[2..4], &transaction.0);
    xor(&mut value.bytes[4..len], &transaction.0);
    value
}

/// The value of an attribute like MAPPED-ADDRESS (RFC 8489 § 14.1).
pub(in crate::proto::wire) fn plain_address(address: SocketAddr) -> AddressValue {
    let mut bytes = [0; ADDRESS_MAX];
    bytes[1] = Family::of(address.ip()).code();
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    let len = match address.ip() {
        IpAddr::V4(ip) => {
            bytes[4..8].copy_from_slice(&ip.octets());
            8
        }
        IpAddr::V6(ip) => {
            bytes[4..20].copy_from_slice(&ip.octets());
            20
        }
    };
    AddressValue { bytes, len }
}

/// What leaves an address as it is: no exclusive or.
const NO_MASK: TransactionId = TransactionId([0; 16]);

/// Reads the value of an attribute of the form of MAPPED-ADDRESS; `None` if family and length do not fit each other.
pub(in crate::proto::wire) fn read_address(value: &[u8]) -> Option<SocketAddr> {
    read_xor_address(value, NO_MASK)
}

/// Reads the value of an XOR-…-ADDRESS attribute; `None` if family and length do not fit each other.
pub(in crate::proto::wire) fn read_xor_address(
    value: &[u8],
    transaction: TransactionId,
) -> Option<SocketAddr> {
    // The first byte "MUST be set to 0 … and MUST be ignored by receivers" (RFC 8489 § 14.1).
    let [_, family, port @ .., _, _, _, _] = value.first_chunk::<8>()?;
    let mut port = *port;
    xor(&mut port, &transaction.0);
    let ip = match Family::from_code(*family)? {
        Family::V4 => {
            let mut octets: [u8; 4] = value[4..].try_into().ok()?;
            xor(&mut octets, &transaction.0);
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        Family::V6 => {
            let mut octets: [u8; 16] = value[4..].try_into().ok()?;
            xor(&mut octets, &transaction.0);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

fn xor(bytes: &mut [u8], mask: &[u8; 16]) {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// A big-endian number that fills `value`.
pub(in crate::proto::wire) fn read_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// The number in the first half of a four-byte value whose second half is reserved (CHANNEL-NUMBER).
pub(super) fn read_u16_and_reserved(value: &[u8]) -> Option<u16> {
    let [high, low, _, _] = *value.as_array()?;
    Some(u16::from_be_bytes([high, low]))
}

/// The first byte of a four-byte value whose rest is reserved (REQUESTED-TRANSPORT, …-ADDRESS-FAMILY).
pub(in crate::proto::wire) fn read_u8_and_reserved(value: &[u8]) -> Option<u8> {
    let [first, _, _, _] = *value.as_array()?;
    Some(first)
}

/// PASSWORD-ALGORITHM: number and parameters, that fill the value but for the padding of the parameters, which some
/// count and some do not.
pub(super) fn read_password_algorithm(value: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = value.split_first_chunk::<4>()?;
    let [a, b, c, d] = *head;
    let len = usize::from(u16::from_be_bytes([c, d]));
    let parameters = rest.get(..len)?;
    (rest.len() - len < 4).then(|| (u16::from_be_bytes([a, b]), parameters))
}

/// ERROR-CODE: the number, 300–699. The reason phrase is not looked at.
pub(in crate::proto::wire) fn read_error_code(value: &[u8]) -> Option<u16> {
    let [_, _, class, number] = *value.first_chunk::<4>()?;
    // The bits in front of the three of the class are reserved.
    let class = class & 0b111;
    ((3..=6).contains(&class) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId =
        TransactionId::with_cookie(*b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae");

    // proves rfc8489:14.2-1
    // proves rfc8656:18.3-1, rfc8656:18.5-1
    #[test]
    fn addresses_stand_as_in_rfc_5769() {
        let v4 = xor_address("192.0.2.1:32853".parse().unwrap(), TRANSACTION);
        assert_eq!(v4.as_slice(), [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = xor_address("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(), TRANSACTION);
        assert_eq!(
            v6.as_slice(),
            b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9"
        );
    }

    #[test]
    fn addresses_round_trip() {
        for text in ["0.0.0.0:0", "255.255.255.255:65535", "[::]:0", "[::ffff:10.0.0.1]:1", "[fe80::1]:3478"]
        {
            let address: SocketAddr = text.parse().unwrap();
            let value = xor_address(address, TRANSACTION);
            assert_eq!(read_xor_address(value.as_slice(), TRANSACTION), Some(address), "{text}");
        }
    }

    // proves rfc8489:14.1-1, rfc8489:14.1-2
    #[test]
    fn an_address_of_another_length_or_family_is_none() {
        let v4 = xor_address("192.0.2.1:1".parse().unwrap(), TRANSACTION);
        let v6 = xor_address("[2001:db8::1]:1".parse().unwrap(), TRANSACTION);
        for len in 0..8 {
            assert_eq!(read_xor_address(&v4.as_slice()[..len], TRANSACTION), None, "{len} bytes of IPv4");
        }
        for len in 0..20 {
            assert_eq!(read_xor_address(&v6.as_slice()[..len], TRANSACTION), None, "{len} bytes of IPv6");
        }
        let longer = |value: &[u8], len: usize| {
            let mut bytes = value.to_vec();
            bytes.resize(len, 0);
            bytes
        };
        for len in 9..=24 {
            assert_eq!(
                read_xor_address(&longer(v4.as_slice(), len), TRANSACTION),
                None,
                "{len} bytes of IPv4"
            );
        }
        assert_eq!(read_xor_address(&longer(v6.as_slice(), 21), TRANSACTION), None);
        for family in (0..=255).filter(|family| ![1, 2].contains(family)) {
            for value in [v4.as_slice(), v6.as_slice()] {
                let mut value = value.to_vec();
                value[1] = family;
                assert_eq!(read_xor_address(&value, TRANSACTION), None, "family {family}");
            }
        }
    }

    // proves rfc8489:14.1-3, rfc8489:14.1-4
    #[test]
    fn the_first_byte_of_an_address_is_written_as_zero_and_not_looked_at() {
        for text in ["192.0.2.1:1", "[2001:db8::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut value = xor_address(address, TRANSACTION).as_slice().to_vec();
            assert_eq!(value[0], 0);
            for first in [1, 0x80, 0xFF] {
                value[0] = first;
                assert_eq!(read_xor_address(&value, TRANSACTION), Some(address), "{first:#04x}");
            }
        }
    }

    #[test]
    fn what_is_not_understood() {
        for kind in [0x0000, 0x0003, 0x001F, 0x0024, 0x0025, 0x002B, 0x003F, 0x0040, 0x7FFF] {
            assert!(is_not_understood(kind), "{kind:#06x}");
        }
        for kind in [USERNAME, XOR_MAPPED_ADDRESS, DATA, RESERVATION_TOKEN, SOFTWARE, 0x8001, 0xFFFF] {
            assert!(!is_not_understood(kind), "{kind:#06x}");
        }
    }

    #[test]
    fn each_type_is_first_once() {
        let mut seen = Seen::default();
        for kind in [0, 1, 63, 0x8000, 0x8001, 0x803F] {
            assert!(seen.first(kind), "{kind:#06x}");
            assert!(!seen.first(kind), "{kind:#06x}");
        }
        assert!(seen.first(0x7FFF) && seen.first(0x7FFF), "types that nobody reads are not tracked");
    }

    #[test]
    fn fields_have_their_exact_size() {
        for len in (0..9).filter(|len| *len != 4) {
            let value = vec![1; len];
            assert_eq!(read_u32(&value), None);
            assert_eq!(read_u16_and_reserved(&value), None);
            assert_eq!(read_u8_and_reserved(&value), None);
        }
        assert_eq!(read_u32(&[0, 0, 2, 88]), Some(600));
        assert_eq!(read_u16_and_reserved(&[0x40, 0x01, 9, 9]), Some(0x4001));
        assert_eq!(read_u8_and_reserved(&[17, 9, 9, 9]), Some(17));
    }

    // proves rfc8489:14.12-1
    #[test]
    fn password_algorithm_counts_its_parameters() {
        assert_eq!(read_password_algorithm(&[0, 2, 0, 0]), Some((2, &[][..])));
        assert_eq!(read_password_algorithm(&[0, 9, 0, 2, 7, 8]), Some((9, &[7, 8][..])));
        assert_eq!(read_password_algorithm(&[0, 9, 0, 2, 7, 8, 0, 0]), Some((9, &[7, 8][..])));
        assert_eq!(
            read_password_algorithm(&[0, 9, 0, 2, 7, 8, 1, 0xFF]),
            Some((9, &[7, 8][..])),
            "any padding"
        );
        for bad in [&[][..], &[0, 2, 0], &[0, 2, 0, 1], &[0, 2, 0, 0, 0, 0, 0, 0], &[0, 2, 0xFF, 0xFF]] {
            assert_eq!(read_password_algorithm(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn error_codes_are_300_to_699() {
        assert_eq!(read_error_code(&[0, 0, 4, 1]), Some(401));
        assert_eq!(read_error_code(&[0, 0, 0xF8 | 4, 38, b'x']), Some(438));
        assert_eq!(read_error_code(&[0, 0, 6, 99]), Some(699));
        for bad in [&[0, 0, 4][..], &[0, 0, 2, 0], &[0, 0, 7, 0], &[0, 0, 4, 100]] {
            assert_eq!(read_error_code(bad), None, "{bad:?}");
        }
    }
}
