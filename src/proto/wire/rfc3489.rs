//! The one message of RFC 3489 that is still answered: a Binding request, which has a transaction id of 16 bytes
//! where RFC 8489 has its magic cookie and 12.

use super::Change;
use super::Malformed;
use super::TransactionId;
use super::UnknownAttributes;
use super::rfc8656::attributes as attribute;
use super::rfc8656::framing::COOKIE;
use super::rfc8656::framing::Frame;
use super::rfc8656::framing::HEADER_LEN;
use super::rfc8656::framing::MessageClass;

/// RESPONSE-ADDRESS: where the client wants the answer sent. Never understood.
pub const RESPONSE_ADDRESS: u16 = 0x0002;
/// SOURCE-ADDRESS: where the answer came from.
pub const SOURCE_ADDRESS: u16 = 0x0004;
/// CHANGED-ADDRESS: where it would come from with both flags of CHANGE-REQUEST.
pub const CHANGED_ADDRESS: u16 = 0x0005;
/// REFLECTED-FROM, the highest type of RFC 3489.
const REFLECTED_FROM: u16 = 0x000B;
/// The first comprehension-optional type.
const OPTIONAL: u16 = 0x8000;

/// The message type of a Binding request.
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
/// Type and length of MAGIC-COOKIE, with which each message of the older TURN draft begins that [MS-TURN] is made of. Its type
/// is none of RFC 3489's.
const MS_TURN_START: [u8; 4] = [0x00, 0x0F, 0x00, 0x04];

/// Whether `datagram` is by its header, to the last bit of it, a Binding request of RFC 3489: nothing else may be
/// taken for one.
#[must_use]
pub fn is_binding_request(datagram: &[u8]) -> bool {
    let Some((&[t0, t1, l0, l1, ref transaction @ ..], attributes)) =
        datagram.split_first_chunk::<HEADER_LEN>()
    else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    [t0, t1] == BINDING_REQUEST
        && len == attributes.len()
        && len % 4 == 0
        && !transaction.starts_with(&COOKIE)
        && !attributes.starts_with(&MS_TURN_START)
}

/// A Binding request of RFC 3489.
#[derive(Clone, Copy, Debug)]
pub struct ClassicBinding {
    /// To be echoed in the answer.
    pub transaction: TransactionId,
    /// CHANGE-REQUEST; both flags down if it is not there.
    pub change: Change,
    /// What must be understood and is not, RESPONSE-ADDRESS among it: 420.
    pub unknown: UnknownAttributes,
    /// Whether CHANGE-REQUEST breaks its rules: 400.
    pub bad: bool,
}

/// Reads a Binding request that fills `datagram`.
///
/// # Errors
/// [`Malformed`] if it is none or its attributes are broken; nothing of it may be answered then.
pub fn decode_binding(datagram: &[u8]) -> Result<ClassicBinding, Malformed> {
    let Some(&[_, _, _, _, transaction @ ..]) =
        datagram.first_chunk::<HEADER_LEN>().filter(|_| is_binding_request(datagram))
    else {
        return Err(Malformed::NotStun);
    };
    let transaction = TransactionId(transaction);
    let frame = Frame { class: MessageClass::Request, method: 1, transaction, message: datagram };
    let (mut change, mut unknown, mut bad) = (None, UnknownAttributes::default(), false);
    let mut attributes = frame.attributes();
    while let Some(attribute) = attributes.next()? {
        match attribute.kind {
            attribute::CHANGE_REQUEST if change.is_none() => {
                change = Some(Change::read(attribute.value).unwrap_or_default());
                bad = attribute.value.len() != 4;
            }
            RESPONSE_ADDRESS | 0 => unknown.push(attribute.kind),
            1..=REFLECTED_FROM | OPTIONAL.. => {}
            kind => unknown.push(kind),
        }
    }
    Ok(ClassicBinding { transaction, change: change.unwrap_or_default(), unknown, bad })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with `attributes`, already encoded.
    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 1, 0, u8::try_from(attributes.len()).expect("short")];
        message.extend(*b"sixteen byte id.");
        message.extend(attributes);
        message
    }

    #[test]
    fn a_header_is_right_to_the_last_bit() {
        let good = request(&[0, 3, 0, 4, 0, 0, 0, 6]);
        assert!(is_binding_request(&good));
        for len in 0..good.len() {
            assert!(!is_binding_request(&good[..len]), "{len} bytes");
        }
        let mut longer = good.clone();
        longer.extend([0; 4]);
        assert!(!is_binding_request(&longer), "trailing bytes");
        for bit in 0..32 {
            let mut other = good.clone();
            other[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(!is_binding_request(&other), "type or length, bit {bit}");
        }
        assert!(!is_binding_request(&[&[0, 1, 0, 2][..], &[7; 18]].concat()), "length of no whole words");
    }

    #[test]
    fn neither_cookie_makes_a_classic_request() {
        let mut modern = request(&[]);
        modern[4..8].copy_from_slice(&COOKIE);
        assert!(!is_binding_request(&modern));
        assert!(!is_binding_request(&request(&[0x00, 0x0F, 0x00, 0x04, 0x72, 0xC6, 0x4B, 0xC6])));
    }

    #[test]
    fn what_the_standard_names_is_understood_but_for_the_response_address() {
        let mut attributes = Vec::new();
        for kind in [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 0x7F] {
            attributes.extend([0, kind, 0, 0]);
        }
        attributes.extend([0x80, 0x22, 0, 0]);
        let read = decode_binding(&request(&attributes)).expect("well formed");
        assert_eq!(read.unknown.as_slice(), [2, 12, 0x7F]);
        assert_eq!((read.change, read.bad), (Change::default(), false));
        assert_eq!(read.transaction.0, *b"sixteen byte id.");
    }

    #[test]
    fn the_first_change_request_counts_and_a_broken_one_is_bad() {
        let both = [0, 3, 0, 4, 0, 0, 0, 4, 0, 3, 0, 4, 0, 0, 0, 2];
        let read = decode_binding(&request(&both)).expect("well formed");
        assert_eq!((read.change, read.bad), (Change { ip: true, port: false }, false));
        let read = decode_binding(&request(&[0, 3, 0, 3, 0, 0, 6, 0])).expect("well formed");
        assert_eq!((read.change, read.bad), (Change::default(), true));
    }

    #[test]
    fn broken_attributes_are_an_error() {
        for attributes in
            [&[0, 3, 0, 5, 0, 0, 0, 0][..], &[0, 3, 0xFF, 0xFF], &[0x80, 0x28, 0, 4, 1, 2, 3, 4]]
        {
            assert!(decode_binding(&request(attributes)).is_err(), "{attributes:?}");
        }
        let mut modern = request(&[]);
        modern[4..8].copy_from_slice(&COOKIE);
        assert_eq!(decode_binding(&modern).err(), Some(Malformed::NotStun));
    }
}
