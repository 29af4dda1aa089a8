//! What waits for one connection, as plaintext: whole frames, of which the first may be half sent.
//!
//! A frame that finds no room is dropped whole, before any byte of it was sent or encrypted; so the newest are dropped
//! first, and what was once begun is always finished. Answers have room of their own on top.

use crate::proto::types::limits::STREAM_ANSWERS_MAX;
use crate::proto::types::limits::STREAM_QUEUE_MAX;

/// Room that an empty outbox keeps.
const KEPT: usize = 2 * 1_024;

/// What a frame is to the connection that cannot take all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something that may get lost on its way, as a datagram may.
    Media,
    /// An answer: it is never dropped. A client that leaves no room for it is let go.
    Answer,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Bytes at the front that were sent.
    sent: usize,
}

impl Outbox {
    /// Puts `frame` at the end. `beside` bytes of memory wait for the same connection elsewhere. Answers whether there was
    /// room.
    #[must_use]
    pub fn push(&mut self, frame: &[u8], weight: Weight, beside: usize) -> bool {
        let max = match weight {
            Weight::Media => STREAM_QUEUE_MAX,
            Weight::Answer => STREAM_QUEUE_MAX + STREAM_ANSWERS_MAX,
        };
        if self.waiting() + beside + frame.len() > max {
            return false;
        }
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(frame);
        true
    }

    /// Whether media of `len` bytes would find room.
    #[must_use]
    pub fn has_room(&self, len: usize, beside: usize) -> bool {
        self.waiting() + beside + len <= STREAM_QUEUE_MAX
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// The bytes that wait, in their order.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `len` of them were sent.
    pub fn take(&mut self, len: usize) {
        self.sent = (self.sent + len).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Gives memory back that an empty outbox does not need.
    pub fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize, bool),
        Take(usize),
        Shrink,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1_usize..3_000, any::<bool>()).prop_map(|(len, media)| Step::Push(len, media)),
            3 => (0_usize..6_000).prop_map(Step::Take),
            1 => Just(Step::Shrink),
        ]
    }

    proptest! {
        #[test]
        fn what_comes_out_is_whole_frames_in_their_order_and_memory_is_bounded(
            steps in prop::collection::vec(step(), 0..80),
            beside in 0_usize..STREAM_QUEUE_MAX,
        ) {
            let (mut outbox, mut accepted, mut left) = (Outbox::default(), Vec::new(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(len, media) => {
                        let frame = vec![number as u8; len];
                        let (weight, max) = match media {
                            true => (Weight::Media, STREAM_QUEUE_MAX),
                            false => (Weight::Answer, STREAM_QUEUE_MAX + STREAM_ANSWERS_MAX),
                        };
                        let has_room = outbox.waiting() + beside + len <= max;
                        prop_assert_eq!(outbox.push(&frame, weight, beside), has_room);
                        if has_room {
                            accepted.extend_from_slice(&frame);
                        }
                    }
                    Step::Take(len) => {
                        let len = len.min(outbox.waiting());
                        left.extend_from_slice(&outbox.rest()[..len]);
                        outbox.take(len);
                    }
                    Step::Shrink => outbox.shrink(),
                }
                prop_assert!(outbox.bytes.len() <= 2 * (STREAM_QUEUE_MAX + STREAM_ANSWERS_MAX));
                prop_assert_eq!(left.len() + outbox.waiting(), accepted.len());
            }
            left.extend_from_slice(outbox.rest());
            prop_assert_eq!(left, accepted);
        }
    }

    #[test]
    fn the_newest_media_is_dropped_and_an_answer_still_finds_room() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(&[1; STREAM_QUEUE_MAX - 10], Weight::Media, 0));
        assert!(!outbox.push(&[2; 11], Weight::Media, 0));
        assert!(outbox.push(&[3; 10], Weight::Media, 0));
        assert!(outbox.push(&[4; STREAM_ANSWERS_MAX], Weight::Answer, 0));
        assert!(!outbox.push(&[5], Weight::Answer, 0));
        assert_eq!(outbox.rest()[STREAM_QUEUE_MAX - 11..][..3], [1, 3, 3]);
    }

    #[test]
    fn an_empty_outbox_gives_its_memory_back() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(&[1; 8_000], Weight::Media, 0));
        outbox.shrink();
        assert_eq!(outbox.waiting(), 8_000);
        outbox.take(8_000);
        outbox.shrink();
        assert_eq!(outbox.bytes.capacity(), 0);
    }
}
