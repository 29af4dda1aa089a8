//! Frames of a stream: where one message ends and the next begins (RFC 8489 § 6.2.2, RFC 8656 § 12.5; [MS-TURN] § 2.1.4).
//!
//! ```text
//!   STUN          │ 0 0 … │ length 16 │ cookie 32 │ …     20 + length bytes, length a multiple of 4
//!   ChannelData   │ channel 16 │ length 16 │ data │ 0-3    4 + length, padded to a multiple of 4
//!
//!   [MS-TURN]     │ 02 │ 00 │ length 16 │ message          4 + length, and the message fills them
//!                 │ 03 │ 00 │ length 16 │ data             4 + length, not padded
//! ```
//!
//! A function of the bytes and of the connection's dialect, which its first bytes settled: however they were split on the
//! way, the frames are the same.

use crate::proto::types::Dialect;

use super::channel_data;
use super::ms_turn;
use super::ms_turn::framing::FRAME_HEADER_LEN;
use super::ms_turn::framing::StreamFrame;
use super::rfc8656::framing;

/// What stands at the beginning of a stream's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole frame.
    Frame {
        /// Its bytes, padding included, at most [`crate::proto::types::limits::STREAM_FRAME_MAX`].
        len: usize,
    },
    /// The beginning of a frame.
    More {
        /// Bytes of it that must be there before the next look is worth it, more than are there.
        at_least: usize,
    },
    /// Nothing that could become a frame. What follows cannot be found any more.
    Broken,
}

/// Looks at `bytes`, the unread part of a stream.
#[must_use]
pub fn next_frame(bytes: &[u8]) -> Next {
    match bytes.first() {
        None => Next::More { at_least: 1 },
        Some(0x00..=0x3F) => next_stun(bytes),
        Some(0x40..=0x7F) => next_channel_data(bytes),
        Some(_) => Next::Broken,
    }
}

/// Looks at `bytes`, the unread part of a stream that speaks `dialect`.
#[must_use]
pub fn next_frame_in(dialect: Dialect, bytes: &[u8]) -> Next {
    match dialect {
        Dialect::Rfc8656 => next_frame(bytes),
        Dialect::MsTurn => next_legacy(bytes),
    }
}

/// A control message that is not well formed as far as its header and cookie breaks the stream ([MS-TURN] § 3.1.10).
fn next_legacy(bytes: &[u8]) -> Next {
    let Some((header, message)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() else {
        return match bytes {
            [] => Next::More { at_least: 1 },
            [2 | 3] | [2 | 3, 0, ..] => Next::More { at_least: FRAME_HEADER_LEN },
            _ => Next::Broken,
        };
    };
    match StreamFrame::read(*header) {
        Some((StreamFrame::Control, len)) if !ms_turn::framing::may_begin_message(message, len) => {
            Next::Broken
        }
        Some((_, len)) => of(bytes, FRAME_HEADER_LEN + len),
        None => Next::Broken,
    }
}

fn next_stun(bytes: &[u8]) -> Next {
    // Judged as far as it is there, so that garbage is found early.
    let cookie = bytes.get(4..).unwrap_or_default();
    if cookie.iter().zip(framing::COOKIE).any(|(one, other)| *one != other) {
        return Next::Broken;
    }
    match bytes.get(2..4) {
        Some(&[l0, l1]) if l1 % 4 == 0 => {
            of(bytes, framing::HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1])))
        }
        Some(_) => Next::Broken,
        None => Next::More { at_least: 4 },
    }
}

fn next_channel_data(bytes: &[u8]) -> Next {
    match bytes.get(2..4) {
        Some(&[l0, l1]) => {
            let len = channel_data::HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
            of(bytes, len.next_multiple_of(4))
        }
        _ => Next::More { at_least: 4 },
    }
}

/// A frame of `len` bytes.
const fn of(bytes: &[u8], len: usize) -> Next {
    if bytes.len() < len { Next::More { at_least: len } } else { Next::Frame { len } }
}

/// Whether a frame of `len` bytes can be a message of somebody who has no allocation: a request.
#[must_use]
pub const fn fits_a_request(len: usize) -> bool {
    len <= crate::proto::types::limits::REQUEST_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::proto::types::limits::STREAM_FRAME_MAX;

    use super::*;

    fn stun(len: usize) -> Vec<u8> {
        let mut message = vec![0, 3];
        message.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        message.extend_from_slice(&framing::COOKIE);
        message.resize(framing::HEADER_LEN + len, 0x5A);
        message
    }

    fn channel_data(len: usize) -> Vec<u8> {
        let mut message = vec![0x40, 0x01];
        message.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        message.resize((channel_data::HEADER_LEN + len).next_multiple_of(4), 0xA5);
        message
    }

    fn legacy(len: usize) -> Vec<u8> {
        let mut message = vec![0, 3];
        message.extend_from_slice(&u16::try_from(8 + len).unwrap().to_be_bytes());
        message.extend_from_slice(&[0x77; 16]);
        message.extend_from_slice(&ms_turn::framing::COOKIE);
        message.resize(28 + len, 0x5A);
        framed(2, &message)
    }

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &u16::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    /// The frames of a stream that arrives in `pieces`, and whether it broke.
    fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
        frames_in(Dialect::Rfc8656, pieces)
    }

    fn frames_in<'a>(dialect: Dialect, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
        let (mut unread, mut frames) = (Vec::new(), Vec::new());
        for piece in pieces {
            unread.extend_from_slice(piece);
            loop {
                match next_frame_in(dialect, &unread) {
                    Next::Frame { len } => {
                        let rest = unread.split_off(len);
                        frames.push(std::mem::replace(&mut unread, rest));
                    }
                    Next::More { at_least } => {
                        assert!(at_least > unread.len());
                        assert!(at_least <= STREAM_FRAME_MAX);
                        break;
                    }
                    Next::Broken => return (frames, true),
                }
            }
        }
        (frames, false)
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let garbage = prop::collection::vec(any::<u8>(), 1..30);
        prop_oneof![
            8 => (0_usize..40).prop_map(|words| stun(words * 4)),
            8 => (0_usize..200).prop_map(channel_data),
            1 => garbage,
        ]
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_frames(
            messages in prop::collection::vec(message(), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = messages.concat();
            let whole = frames(std::iter::once(stream.as_slice()));
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            prop_assert_eq!(frames(pieces), whole.clone());
            prop_assert_eq!(frames(stream.chunks(1)), whole);
        }

        #[test]
        fn every_split_of_the_old_dialect_gives_the_same_frames(
            messages in prop::collection::vec(
                prop_oneof![
                    8 => (0_usize..90).prop_map(legacy),
                    8 => (0_usize..200).prop_map(|len| framed(3, &vec![0xA5; len])),
                    1 => prop::collection::vec(any::<u8>(), 1..30),
                ],
                0..6,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = messages.concat();
            let whole = frames_in(Dialect::MsTurn, std::iter::once(stream.as_slice()));
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            prop_assert_eq!(frames_in(Dialect::MsTurn, pieces), whole.clone());
            prop_assert_eq!(frames_in(Dialect::MsTurn, stream.chunks(1)), whole);
        }

        #[test]
        fn sound_messages_come_out_as_they_went_in(
            messages in prop::collection::vec(
                prop_oneof![(0_usize..60).prop_map(|words| stun(words * 4)), (0_usize..400).prop_map(channel_data)],
                0..8,
            ),
        ) {
            let stream = messages.concat();
            prop_assert_eq!(frames(stream.chunks(7)), (messages, false));
        }

        #[test]
        fn no_bytes_are_a_panic_and_a_frame_is_there_and_bounded(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Next::Frame { len } = next_frame(&bytes) {
                prop_assert!(len > 0 && len <= bytes.len() && len % 4 == 0);
            }
        }
    }

    #[test]
    fn the_longest_frames_are_within_the_limit() {
        assert_eq!(next_frame(&stun(65_532)), Next::Frame { len: STREAM_FRAME_MAX });
        assert_eq!(next_frame(&channel_data(65_535)), Next::Frame { len: 65_540 });
    }

    #[test]
    fn padding_belongs_to_its_frame() {
        let mut stream = channel_data(5);
        assert_eq!(stream.len(), 12);
        assert_eq!(next_frame(&stream[..9]), Next::More { at_least: 12 });
        stream.extend_from_slice(&stun(0));
        assert_eq!(next_frame(&stream), Next::Frame { len: 12 });
    }

    #[test]
    fn garbage_is_found_at_its_first_byte() {
        for first in 0x80..=0xFF {
            assert_eq!(next_frame(&[first]), Next::Broken, "{first:#04x}");
        }
        assert_eq!(next_frame(&[0, 1, 0, 0, 0x22]), Next::Broken, "no cookie");
        assert_eq!(next_frame(&[0, 1, 0, 2]), Next::Broken, "a length that no message has");
        assert_eq!(next_frame(&[0, 1, 0]), Next::More { at_least: 4 });
        assert_eq!(next_frame(&[]), Next::More { at_least: 1 });
    }

    #[test]
    fn a_control_frame_is_a_message_of_the_old_dialect_that_fills_it() {
        let sound = legacy(5);
        let of = |bytes: &[u8]| next_frame_in(Dialect::MsTurn, bytes);
        assert_eq!(of(&sound), Next::Frame { len: 37 });
        assert_eq!(of(&sound[..36]), Next::More { at_least: 37 });
        assert_eq!(of(&[]), Next::More { at_least: 1 });
        assert_eq!(of(&sound[..1]), Next::More { at_least: 4 });
        // Reserved byte, length of the frame, first byte of the type, length of the message, cookie.
        for at in [1, 3, 4, 7, 24, 31] {
            let mut other = sound.clone();
            other[at] ^= 0x80;
            assert_eq!(of(&other), Next::Broken, "byte {at}");
            // As soon as it is known, and not with the last byte only.
            let known = if at == 3 { 8 } else { at + 1 };
            assert_eq!(of(&other[..known.max(4)]), Next::Broken, "byte {at}, at once");
        }
        for at in 8..24 {
            let mut other = sound.clone();
            other[at] ^= 0xFF;
            assert_eq!(of(&other), Next::Frame { len: 37 }, "the transaction id may be anything");
        }
        assert_eq!(of(&framed(2, &[0; 27])), Next::Broken, "shorter than every message");
    }

    #[test]
    fn a_data_frame_holds_any_bytes_and_has_no_padding() {
        let of = |bytes: &[u8]| next_frame_in(Dialect::MsTurn, bytes);
        for data in [&[][..], &[9], &stun(4), &legacy(0), &[0xFF; 300]] {
            assert_eq!(of(&framed(3, data)), Next::Frame { len: 4 + data.len() });
        }
        assert_eq!(of(&framed(3, &[7; 65_535])), Next::Frame { len: 65_539 });
        const { assert!(65_539 <= STREAM_FRAME_MAX) };
    }

    #[test]
    fn a_frame_whose_length_libnice_left_out_breaks_the_stream() {
        let mut bytes = vec![3, 0];
        bytes.extend_from_slice(&legacy(0)[4..]);
        assert_eq!(next_frame_in(Dialect::MsTurn, &bytes), Next::Frame { len: 7 }, "by chance");
        assert_eq!(next_frame_in(Dialect::MsTurn, &bytes[7..]), Next::Broken);
    }

    #[test]
    fn each_dialect_breaks_on_the_other() {
        for first in [0, 1, 4, 0x16, 0x40, 0x80, 0xFF] {
            assert_eq!(next_frame_in(Dialect::MsTurn, &[first]), Next::Broken, "{first:#04x}");
        }
        assert_eq!(next_frame_in(Dialect::Rfc8656, &legacy(0)), Next::Broken);
        assert_eq!(next_frame_in(Dialect::MsTurn, &stun(0)), Next::Broken);
    }
}
