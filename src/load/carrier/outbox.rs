//! What a line over a stream has taken and not sent: whole frames, one behind the other, up to a limit.

use crate::proto::types::Dialect;
use crate::proto::types::limits;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::Parcel;
use super::Taken;

/// Bytes of memory that an empty queue keeps.
const KEPT_MAX: usize = 16 * 1_024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How many of them have left.
    left: usize,
}

impl Outbox {
    /// Takes all of it, framed as the stream of `dialect` needs it, or nothing.
    pub(super) fn push(&mut self, dialect: Dialect, parcel: Parcel<'_>) -> Taken {
        let (kind, bytes) = match (dialect, parcel) {
            // STUN and ChannelData say themselves where they end.
            (Dialect::Rfc8656, Parcel::Message(bytes) | Parcel::Data(bytes)) => (None, bytes),
            (Dialect::MsTurn, Parcel::Message(bytes)) => (Some(StreamFrame::Control), bytes),
            (Dialect::MsTurn, Parcel::Data(bytes)) => (Some(StreamFrame::Data), bytes),
        };
        let most = limits::STREAM_FRAME_MAX.min(limits::LOAD_QUEUE_MAX - self.len());
        if bytes.len() + FRAME_HEADER_LEN > most {
            return Taken::NoRoom;
        }
        self.make_room();
        if let Some(kind) = kind {
            let Ok(len) = u16::try_from(bytes.len()) else { return Taken::NoRoom };
            self.bytes.extend_from_slice(&kind.header(len));
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes.extend_from_slice(bytes);
            // ChannelData is padded over streams (RFC 8656 § 12.5); STUN is a multiple of four bytes anyhow.
            let padding = bytes.len().next_multiple_of(4) - bytes.len();
            self.bytes.extend_from_slice(&[0; 3][..padding]);
        }
        Taken::Taken
    }

    /// What has not left.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.left..]
    }

    /// So many bytes more have left.
    pub(super) fn leave(&mut self, count: usize) {
        self.left += count.min(self.len());
        if self.left == self.bytes.len() {
            self.bytes.clear();
            self.left = 0;
            self.bytes.shrink_to(KEPT_MAX);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.left
    }

    /// Moves what waits to the front, where that is worth it.
    fn make_room(&mut self) {
        if self.left > self.bytes.len() / 2 {
            self.bytes.drain(..self.left);
            self.left = 0;
        }
    }
}

/// Where the first frame of `bytes` ends, which are frames of ours.
pub(super) fn frame_len(dialect: Dialect, bytes: &[u8]) -> usize {
    match next_frame_in(dialect, bytes) {
        Next::Frame { len } => len,
        Next::More { .. } | Next::Broken => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_data_is_padded_and_the_old_dialect_framed() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Dialect::Rfc8656, Parcel::Message(&[0x40, 1, 0, 1, 9])), Taken::Taken);
        assert_eq!(outbox.rest(), [0x40, 1, 0, 1, 9, 0, 0, 0]);
        assert_eq!(frame_len(Dialect::Rfc8656, outbox.rest()), 8);
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Dialect::MsTurn, Parcel::Message(&[1; 5])), Taken::Taken);
        assert_eq!(outbox.push(Dialect::MsTurn, Parcel::Data(&[2; 3])), Taken::Taken);
        assert_eq!(outbox.rest(), [2, 0, 0, 5, 1, 1, 1, 1, 1, 3, 0, 0, 3, 2, 2, 2]);
    }

    #[test]
    fn it_is_whole_messages_or_nothing_and_what_left_makes_room() {
        let mut outbox = Outbox::default();
        let data = [0x40; 1_000];
        let mut taken = 0;
        while outbox.push(Dialect::Rfc8656, Parcel::Message(&data)) == Taken::Taken {
            taken += 1;
        }
        assert_eq!(outbox.len(), taken * data.len());
        assert!(outbox.len() <= limits::LOAD_QUEUE_MAX && outbox.len() > limits::LOAD_QUEUE_MAX - 1_100);
        outbox.leave(999);
        assert_eq!(outbox.push(Dialect::Rfc8656, Parcel::Message(&data)), Taken::Taken);
        outbox.leave(usize::MAX);
        assert_eq!((outbox.len(), outbox.rest()), (0, &[][..]));
        assert!(outbox.bytes.capacity() <= KEPT_MAX, "an empty queue keeps little");
    }

    #[test]
    fn what_no_frame_can_hold_is_not_taken() {
        let long = vec![0; usize::from(u16::MAX) + 1];
        assert_eq!(Outbox::default().push(Dialect::MsTurn, Parcel::Data(&long)), Taken::NoRoom);
        assert_eq!(Outbox::default().push(Dialect::MsTurn, Parcel::Data(&long[1..])), Taken::Taken);
        let longest = vec![0; limits::STREAM_FRAME_MAX - FRAME_HEADER_LEN];
        assert_eq!(Outbox::default().push(Dialect::Rfc8656, Parcel::Message(&longest)), Taken::Taken);
        let longer = vec![0; limits::STREAM_FRAME_MAX];
        assert_eq!(Outbox::default().push(Dialect::Rfc8656, Parcel::Message(&longer)), Taken::NoRoom);
    }
}
