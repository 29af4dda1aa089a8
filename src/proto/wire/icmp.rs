//! The Data indication that tells a client of an ICMP error (RFC 8656 §§ 11.5 and 18.13).

use crate::proto::types::Family;
use crate::proto::types::PeerAddr;

use super::Malformed;
use super::Method;
use super::TransactionId;
use super::indication::DATA;
use super::rfc8656::attributes as attribute;
use super::rfc8656::encode::MessageWriter;
use super::rfc8656::framing::MessageClass;

/// The longest such indication: STUN header, XOR-PEER-ADDRESS with IPv6, ICMP.
pub const INDICATION_MAX: usize = 20 + 24 + 12;

/// ICMPv4: destination unreachable, and with this code: too long to go on whole.
const UNREACHABLE_V4: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// ICMPv4: time exceeded.
const TIME_EXCEEDED_V4: u8 = 11;
/// ICMPv6: destination unreachable, packet too big, time exceeded.
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;

/// What an ICMP error says. Type and code mean something else in each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// For what is too long: the next link's MTU in bytes.
    pub data: u32,
}

impl Icmp {
    /// As a client may hear it of a peer of `family`: `None` for a type that is not passed on; the data is 0 unless
    /// it is an MTU.
    #[must_use]
    pub fn for_client(self, family: Family) -> Option<Self> {
        let is_mtu = match (family, self.kind) {
            (Family::V4, UNREACHABLE_V4) => self.code == FRAGMENTATION_NEEDED,
            (Family::V6, TOO_BIG_V6) => true,
            (Family::V4, TIME_EXCEEDED_V4) | (Family::V6, UNREACHABLE_V6 | TIME_EXCEEDED_V6) => false,
            _ => return None,
        };
        Some(Self { data: if is_mtu { self.data } else { 0 }, ..self })
    }
}

/// Writes the indication into `out` and answers its length.
///
/// ```text
/// | header 20 | XOR-PEER-ADDRESS 12 or 24 | 0x8004, 8 | 0 0 type code | error data 4 |
/// ```
///
/// The standard's drawing of the attribute gives the type seven bits and the code nine; type and code of ICMP are an
/// octet each (RFC 792, RFC 4443), and so they are written.
///
/// # Errors
/// [`Malformed::NoRoom`] if `out` is too short.
pub fn write_indication(
    out: &mut [u8],
    transaction: TransactionId,
    peer: PeerAddr,
    icmp: Icmp,
) -> Result<usize, Malformed> {
    let [d0, d1, d2, d3] = icmp.data.to_be_bytes();
    let mut writer = MessageWriter::new(out, MessageClass::Indication, Method::Unknown(DATA), transaction);
    writer.peer(peer).attribute(attribute::ICMP, &[0, 0, icmp.kind, icmp.code, d0, d1, d2, d3]);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

    fn peer(text: &str) -> PeerAddr {
        PeerAddr::new(text.parse().unwrap())
    }

    // proves rfc8656:11.5-5, rfc8656:18.13-1, rfc8656:18.13-2
    #[test]
    fn the_indication_is_laid_out_as_drawn_and_fits() {
        let icmp = Icmp { kind: 3, code: 4, data: 0x0000_05DC };
        for (address, expected) in [("192.0.2.1:7", 44), ("[2001:db8::1]:7", INDICATION_MAX)] {
            let mut out = [0xAA; INDICATION_MAX];
            let len = write_indication(&mut out, TRANSACTION, peer(address), icmp).unwrap();
            assert_eq!(len, expected);
            assert_eq!(out[..4], [0, 0x17, 0, (len - 20) as u8]);
            assert_eq!(out[len - 12..len], [0x80, 0x04, 0, 8, 0, 0, 3, 4, 0, 0, 5, 0xDC]);
            let refused = write_indication(&mut out[..len - 1], TRANSACTION, peer(address), icmp);
            assert_eq!(refused, Err(Malformed::NoRoom));
        }
    }

    // proves rfc8656:18.13-2, rfc8656:18.13-3
    #[test]
    fn only_an_mtu_is_told_beside_type_and_code() {
        let told = |family, kind, code| {
            Icmp { kind, code, data: 1_400 }.for_client(family).map(|icmp| (icmp.kind, icmp.code, icmp.data))
        };
        assert_eq!(told(Family::V4, 3, 4), Some((3, 4, 1_400)));
        assert_eq!(told(Family::V4, 3, 3), Some((3, 3, 0)));
        assert_eq!(told(Family::V4, 11, 1), Some((11, 1, 0)));
        assert_eq!(told(Family::V6, 2, 0), Some((2, 0, 1_400)));
        assert_eq!(told(Family::V6, 1, 4), Some((1, 4, 0)));
        assert_eq!(told(Family::V6, 3, 1), Some((3, 1, 0)));
        for (family, kind) in
            [(Family::V4, 1), (Family::V4, 5), (Family::V4, 12), (Family::V6, 4), (Family::V6, 11)]
        {
            assert_eq!(told(family, kind, 0), None);
        }
    }
}
