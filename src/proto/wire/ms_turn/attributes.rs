//! Attribute types ([MS-TURN] § 2.2.2), and those of their values that RFC 8656 does not know.

use crate::proto::types::limits::LEGACY_TEXT_MAX;

use super::super::rfc8656::attributes as shared;

/// MAPPED-ADDRESS. In the answer to an Allocate: the relayed transport address.
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// USERNAME: raw bytes.
pub const USERNAME: u16 = 0x0006;
/// MESSAGE-INTEGRITY, always the last attribute.
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// ERROR-CODE.
pub const ERROR_CODE: u16 = 0x0009;
/// UNKNOWN-ATTRIBUTES.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// LIFETIME, in seconds.
pub const LIFETIME: u16 = 0x000D;
/// ALTERNATE-SERVER.
pub const ALTERNATE_SERVER: u16 = 0x000E;
/// MAGIC-COOKIE, always the first attribute.
pub const MAGIC_COOKIE: u16 = 0x000F;
/// BANDWIDTH, in kbit/s.
pub const BANDWIDTH: u16 = 0x0010;
/// DESTINATION-ADDRESS: the peer of a Send or of a Set Active Destination.
pub const DESTINATION_ADDRESS: u16 = 0x0011;
/// REMOTE-ADDRESS: the peer of a Data Indication.
pub const REMOTE_ADDRESS: u16 = 0x0012;
/// DATA.
pub const DATA: u16 = 0x0013;
/// NONCE: the number that is REALM's since RFC 5389.
pub const NONCE: u16 = 0x0014;
/// REALM: the number that is NONCE's since RFC 5389.
pub const REALM: u16 = 0x0015;
/// REQUESTED-ADDRESS-FAMILY, from version 4 on.
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// MS-VERSION.
pub const MS_VERSION: u16 = 0x8008;
/// XOR-MAPPED-ADDRESS, combined with the transaction id.
pub const XOR_MAPPED_ADDRESS: u16 = 0x8020;
/// MS-SEQUENCE-NUMBER: connection id and number.
pub const MS_SEQUENCE_NUMBER: u16 = 0x8050;
/// MS-SERVICE-QUALITY: what kind of stream.
pub const MS_SERVICE_QUALITY: u16 = 0x8055;

/// REALM in bytes ([MS-TURN] § 2.2.2.14).
pub const REALM_MAX: usize = LEGACY_TEXT_MAX;
/// NONCE in bytes ([MS-TURN] § 2.2.2.13).
pub const NONCE_MAX: usize = LEGACY_TEXT_MAX;

/// The first type that a receiver may ignore ([MS-TURN] § 2.2.2).
const OPTIONAL: u16 = 0x8000;

/// Whether a receiver must refuse a message with `kind`: mandatory and not known.
#[must_use]
pub const fn is_not_understood(kind: u16) -> bool {
    kind < OPTIONAL
        && !matches!(
            kind,
            MAPPED_ADDRESS
                | USERNAME
                | MESSAGE_INTEGRITY
                | ERROR_CODE
                | UNKNOWN_ATTRIBUTES
                | LIFETIME
                | ALTERNATE_SERVER
                | MAGIC_COOKIE
                | BANDWIDTH
                | DESTINATION_ADDRESS
                | REMOTE_ADDRESS
                | DATA
                | NONCE
                | REALM
                | REQUESTED_ADDRESS_FAMILY
        )
}

/// The two 16-bit numbers of a four-byte value (MS-SERVICE-QUALITY).
pub(super) fn read_u16_pair(value: &[u8]) -> Option<(u16, u16)> {
    let number = shared::read_u32(value)?;
    Some(((number >> 16) as u16, number as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_dialect_requires_is_not_understood_here() {
        for kind in [0x0003, 0x0016, 0x0018, 0x0019, 0x001A, 0x0020, 0x0022, 0x7FFF] {
            assert!(is_not_understood(kind), "{kind:#06x}");
        }
        for kind in [0x0001, 0x000F, 0x0014, 0x0017, 0x8008, 0x8056, 0xFFFF] {
            assert!(!is_not_understood(kind), "{kind:#06x}");
        }
    }

    #[test]
    fn a_pair_fills_four_bytes() {
        assert_eq!(read_u16_pair(&[0, 2, 0, 1]), Some((2, 1)));
        assert_eq!(read_u16_pair(&[0, 2, 0]), None);
        assert_eq!(read_u16_pair(&[0, 2, 0, 1, 0]), None);
    }
}
