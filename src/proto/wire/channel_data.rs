//! ChannelData messages (RFC 8656 § 12.4), read and written in place.

use crate::proto::types::ChannelNumber;

use super::Malformed;

/// Bytes of a ChannelData header.
pub const HEADER_LEN: usize = 4;
/// The most padding that may stand behind the data of a datagram (RFC 8656 § 12.5).
const PADDING_MAX: usize = 3;

/// Channel and application data of a ChannelData message in a datagram; padding behind the data is accepted.
///
/// # Errors
/// [`Malformed::Truncated`] if the length field says more than there is, [`Malformed::TrailingBytes`] if there is
/// more behind the data than padding can be, [`Malformed::ChannelNumber`] if the first two bytes are no channel
/// number.
pub fn decode(datagram: &[u8]) -> Result<(ChannelNumber, &[u8]), Malformed> {
    let Some((&[c0, c1, l0, l1], rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Err(Malformed::Truncated);
    };
    let Some(channel) = ChannelNumber::new(u16::from_be_bytes([c0, c1])) else {
        return Err(Malformed::ChannelNumber);
    };
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let Some((data, padding)) = rest.split_at_checked(len) else {
        return Err(Malformed::Truncated);
    };
    if padding.len() > PADDING_MAX {
        return Err(Malformed::TrailingBytes);
    }
    Ok((channel, data))
}

/// The header for `len` bytes of application data.
#[must_use]
pub const fn header(channel: ChannelNumber, len: u16) -> [u8; HEADER_LEN] {
    let [c0, c1] = channel.get().to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    [c0, c1, l0, l1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u16) -> ChannelNumber {
        ChannelNumber::new(number).unwrap()
    }

    fn message(number: u16, data: &[u8]) -> Vec<u8> {
        let mut message = header(channel(number), u16::try_from(data.len()).unwrap()).to_vec();
        message.extend_from_slice(data);
        message
    }

    // proves rfc8656:12.4-1
    #[test]
    fn data_comes_back_in_place() {
        for (number, data) in [(0x4000, &b""[..]), (0x4001, b"a"), (0x4FFF, b"abcd"), (0x4ABC, &[7; 1200])] {
            let message = message(number, data);
            let (read, slice) = decode(&message).unwrap();
            assert_eq!((read, slice), (channel(number), data));
            assert!(std::ptr::eq(slice, &raw const message[4..]), "not a copy");
        }
    }

    #[test]
    fn the_longest_data_that_the_length_field_can_name() {
        let message = message(0x4000, &[1; 65_535]);
        assert_eq!(decode(&message).unwrap().1.len(), 65_535);
    }

    // proves rfc8656:12.5-4
    #[test]
    fn up_to_three_bytes_of_padding_of_any_value_are_accepted_and_not_data() {
        let mut message = message(0x4000, b"hello");
        for _ in 0..3 {
            message.push(0xEE);
            assert_eq!(decode(&message).unwrap().1, b"hello");
        }
        message.push(0xEE);
        assert_eq!(decode(&message), Err(Malformed::TrailingBytes));
    }

    // proves rfc8656:12.6-2
    #[test]
    fn a_length_beyond_the_datagram_is_truncated() {
        let message = message(0x4000, b"hello");
        for len in 0..message.len() {
            assert_eq!(decode(&message[..len]), Err(Malformed::Truncated), "{len} bytes");
        }
        assert_eq!(decode(&[0x40, 0x00, 0xFF, 0xFF]), Err(Malformed::Truncated));
    }

    // proves rfc8656:12.6-1
    #[test]
    fn a_number_outside_the_range_is_no_channel() {
        for number in [0x0000, 0x3FFF, 0x7FFF, 0x8000, 0xFFFF_u16] {
            let [c0, c1] = number.to_be_bytes();
            assert_eq!(decode(&[c0, c1, 0, 0]), Err(Malformed::ChannelNumber), "{number:#06x}");
        }
    }
}
