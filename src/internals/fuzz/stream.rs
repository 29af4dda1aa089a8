//! The bytes of a connection: frames of both dialects, however they were split on the way.

use crate::proto::types::limits::STREAM_FRAME_MAX;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame;

use super::choices::Choices;

/// The first 16 bytes of an input say where the rest is cut.
const CUTS: usize = 16;

/// The frames of a stream, and whether it broke behind them.
type Framed = (Vec<Vec<u8>>, bool);

pub(super) fn body(bytes: &[u8]) {
    let (cuts, stream) = bytes.split_at(bytes.len().min(CUTS));
    let expected = naive(stream);
    assert_eq!(framed(std::iter::once(stream)), expected, "in one piece");
    assert_eq!(framed(stream.chunks(1)), expected, "byte by byte");
    assert_eq!(framed(pieces(cuts, stream)), expected, "cut at {cuts:?}");
    of_legacy(stream);
}

fn pieces<'a>(cuts: &[u8], stream: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut choices = Choices::new(cuts);
    let mut places = vec![0, stream.len()];
    while !choices.is_over() {
        places.push(usize::from(choices.u16()) % (stream.len() + 1));
    }
    places.sort_unstable();
    places.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect::<Vec<_>>().into_iter()
}

/// What a connection makes of pieces that come one after the other.
fn framed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Framed {
    let (mut unread, mut frames) = (Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match next_frame(&unread) {
                Next::Frame { len } => {
                    assert!(len > 0 && len <= STREAM_FRAME_MAX);
                    let rest = unread.split_off(len);
                    frames.push(std::mem::replace(&mut unread, rest));
                }
                Next::More { at_least } => {
                    assert!(at_least > unread.len() && at_least <= STREAM_FRAME_MAX);
                    break;
                }
                Next::Broken => return (frames, true),
            }
        }
    }
    (frames, false)
}

/// RFC 8489 § 6.2.2 and RFC 8656 § 12.5, with the whole stream at hand.
fn naive(mut stream: &[u8]) -> Framed {
    let mut frames = Vec::new();
    loop {
        let Some(first) = stream.first() else { return (frames, false) };
        let counted = stream.get(2..4).map(|len| usize::from(len[0]) * 256 + usize::from(len[1]));
        let len = match first {
            0x00..=0x3F => {
                let there = stream.len().clamp(4, 8);
                let is_cookie =
                    stream.get(4..there).is_none_or(|some| [0x21, 0x12, 0xA4, 0x42].starts_with(some));
                if !is_cookie || counted.is_some_and(|len| len % 4 != 0) {
                    return (frames, true);
                }
                counted.map(|len| 20 + len)
            }
            0x40..=0x7F => counted.map(|len| 4 + len + (4 - len % 4) % 4),
            0x80.. => return (frames, true),
        };
        let Some(frame) = len.and_then(|len| stream.get(..len)) else { return (frames, false) };
        frames.push(frame.to_vec());
        stream = &stream[frame.len()..];
    }
}

/// [MS-TURN] § 2.1.4: four bytes in front of everything.
fn of_legacy(stream: &[u8]) {
    let Some(header) = stream.first_chunk::<FRAME_HEADER_LEN>() else { return };
    let len = usize::from(header[2]) * 256 + usize::from(header[3]);
    let expected = match header[..2] {
        [2, 0] if len >= 28 => Some((StreamFrame::Control, len)),
        [3, 0] => Some((StreamFrame::Data, len)),
        _ => None,
    };
    assert_eq!(StreamFrame::read(*header), expected, "{header:02x?}");
    if let Some((frame, len)) = expected {
        assert_eq!(frame.header(u16::try_from(len).expect("read from two bytes")), *header);
    }
}
