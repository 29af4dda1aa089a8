//! Frames of a stream: where one message ends and the next begins (RFC 8489 § 6.2.2, RFC 8656 § 12.5).
//!
//! ```text
//!   STUN          │ 0 0 … │ length 16 │ cookie 32 │ …     20 + length bytes, length a multiple of 4
//!   ChannelData   │ channel 16 │ length 16 │ data │ 0-3    4 + length, padded to a multiple of 4
//! ```
//!
//! A function of the bytes alone: however they were split on the way, the frames are the same.

use super::channel_data;
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

    /// The frames of a stream that arrives in `pieces`, and whether it broke.
    fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
        let (mut unread, mut frames) = (Vec::new(), Vec::new());
        for piece in pieces {
            unread.extend_from_slice(piece);
            loop {
                match next_frame(&unread) {
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
}
