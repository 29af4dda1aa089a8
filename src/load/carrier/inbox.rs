//! From a stream's bytes to whole messages, in place: what is read lies in the room that a thread has for all its lines, and
//! a line keeps only the beginning of a message whose rest has not come.

use crate::proto::types::Dialect;
use crate::proto::types::limits;
use crate::proto::wire::channel_data;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::Failure;
use super::Parcel;

/// Bytes that a beginning may keep of its line's memory when it is gone.
const KEPT_MAX: usize = 4 * 1_024;

/// Where a thread reads what comes by its lines: one for all of them.
#[derive(Debug)]
pub struct Room(Box<[u8]>);

/// The beginning of a message whose rest has not come.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Default for Room {
    fn default() -> Self {
        Self(vec![0; limits::STREAM_FRAME_MAX + limits::LOAD_READ_MAX].into())
    }
}

impl Room {
    /// All of it.
    #[cfg(feature = "dtls")]
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Inbox {
    /// Lays what was kept at the beginning of `room`. Answers how many bytes that were, and where more is to be read to.
    pub(super) fn lay_out<'a>(&self, Room(room): &'a mut Room) -> (usize, &'a mut [u8]) {
        // Less than a whole frame, so there is always place for a read behind it.
        let kept = self.0.len().min(limits::STREAM_FRAME_MAX);
        let (front, behind) = room.split_at_mut(kept);
        front.copy_from_slice(&self.0[..kept]);
        (kept, behind)
    }

    /// Gives `each` the whole messages of the first `len` bytes of `room`, and keeps the rest.
    pub(super) fn take(
        &mut self,
        dialect: Dialect,
        Room(room): &Room,
        len: usize,
        each: &mut dyn FnMut(Parcel<'_>),
    ) -> Result<(), Failure> {
        let mut rest = room.get(..len).unwrap_or_default();
        loop {
            match next_frame_in(dialect, rest) {
                Next::Frame { len } => {
                    let (frame, behind) = rest.split_at(len);
                    each(unframed(dialect, frame));
                    rest = behind;
                }
                Next::More { .. } => break,
                Next::Broken => return Err(Failure::Framing),
            }
        }
        self.0.clear();
        if rest.is_empty() && self.0.capacity() > KEPT_MAX {
            self.0 = Vec::new();
        }
        self.0.extend_from_slice(rest);
        Ok(())
    }
}

/// What a whole frame carries, without what the stream needs of it.
fn unframed(dialect: Dialect, frame: &[u8]) -> Parcel<'_> {
    match (dialect, frame) {
        (Dialect::MsTurn, _) => match frame.split_first_chunk::<FRAME_HEADER_LEN>() {
            Some((header, data)) if matches!(StreamFrame::read(*header), Some((StreamFrame::Data, _))) => {
                Parcel::Data(data)
            }
            Some((_, message)) => Parcel::Message(message),
            None => Parcel::Message(frame),
        },
        (Dialect::Rfc8656, &[0x40..=0x7F, _, l0, l1, ..]) => {
            let len = channel_data::HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
            Parcel::Message(frame.get(..len).unwrap_or(frame))
        }
        (Dialect::Rfc8656, _) => Parcel::Message(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(len: u16) -> Vec<u8> {
        let head = [&[1, 1][..], &len.to_be_bytes(), &[0x21, 0x12, 0xA4, 0x42], &[7; 12]].concat();
        [head, vec![0x5A; usize::from(len)]].concat()
    }

    fn channel_data(data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).expect("short");
        let mut message = [&[0x40, 1][..], &len.to_be_bytes(), data].concat();
        message.resize(message.len().next_multiple_of(4), 0xEE);
        message
    }

    /// Whether it is a message, and its bytes.
    type Told = (bool, Vec<u8>);

    /// What comes out of a stream that is read in pieces of `at_once` bytes.
    fn heard(dialect: Dialect, stream: &[u8], at_once: usize) -> (Vec<Told>, Result<(), Failure>) {
        let (mut inbox, mut room, mut heard) = (Inbox::default(), Room::default(), Vec::new());
        for piece in stream.chunks(at_once) {
            let (kept, behind) = inbox.lay_out(&mut room);
            behind[..piece.len()].copy_from_slice(piece);
            let mut each = |parcel: Parcel<'_>| match parcel {
                Parcel::Message(bytes) => heard.push((true, bytes.to_vec())),
                Parcel::Data(bytes) => heard.push((false, bytes.to_vec())),
            };
            if let Err(failure) = inbox.take(dialect, &room, kept + piece.len(), &mut each) {
                return (heard, Err(failure));
            }
        }
        (heard, Ok(()))
    }

    #[test]
    fn messages_come_out_whole_and_without_padding_however_they_were_split() {
        let parts = [stun(8), channel_data(b"hello"), channel_data(b""), stun(0), channel_data(&[9; 1_200])];
        let expected = [
            (true, stun(8)),
            (true, channel_data(b"hello")[..9].to_vec()),
            (true, channel_data(b"")),
            (true, stun(0)),
            (true, channel_data(&[9; 1_200])),
        ];
        for at_once in [1, 2, 3, 7, 20, 1_000, usize::MAX] {
            let (heard, end) = heard(Dialect::Rfc8656, &parts.concat(), at_once.min(4_000));
            assert_eq!((&heard[..], end), (&expected[..], Ok(())), "{at_once} at once");
        }
    }

    #[test]
    fn the_old_dialects_frames_tell_data_from_messages_whatever_the_data_is() {
        let message = [&[1, 3, 0, 8][..], &[7; 16], &[0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6]].concat();
        let frame = |kind: u8, bytes: &[u8]| [&[kind, 0, 0, bytes.len() as u8][..], bytes].concat();
        let stream = [frame(2, &message), frame(3, &message), frame(3, b""), frame(3, b"abc")].concat();
        for at_once in [1, 5, 1_000] {
            let (heard, end) = heard(Dialect::MsTurn, &stream, at_once);
            let expected = [
                (true, message.clone()),
                (false, message.clone()),
                (false, Vec::new()),
                (false, b"abc".to_vec()),
            ];
            assert_eq!((&heard[..], end), (&expected[..], Ok(())), "{at_once} at once");
        }
    }

    #[test]
    fn what_came_before_a_broken_frame_is_told_and_the_longest_frame_has_room() {
        let (told, end) = heard(Dialect::Rfc8656, &[stun(0), vec![0xFF]].concat(), 4_000);
        assert_eq!((told.len(), end), (1, Err(Failure::Framing)));
        for at_once in [1_000, limits::LOAD_READ_MAX] {
            let (told, end) = heard(Dialect::Rfc8656, &[stun(65_532), stun(4)].concat(), at_once);
            assert_eq!((told.len(), end), (2, Ok(())), "{at_once}");
        }
    }

    #[test]
    fn a_long_beginning_leaves_no_memory_behind() {
        let (mut inbox, mut room) = (Inbox::default(), Room::default());
        let stream = stun(65_532);
        for (piece, kept) in [(&stream[..60_000], 60_000), (&stream[60_000..], 0)] {
            let (len, behind) = inbox.lay_out(&mut room);
            behind[..piece.len()].copy_from_slice(piece);
            inbox.take(Dialect::Rfc8656, &room, len + piece.len(), &mut |_| {}).expect("sound");
            assert_eq!(inbox.0.len(), kept);
        }
        assert!(inbox.0.capacity() <= KEPT_MAX);
    }
}
