//! The bytes of a connection: frames of both dialects, however they were split on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::media::ExternalAddresses;
use crate::proto::media::FromClient;
use crate::proto::media::Table;
use crate::proto::media::TableConfig;
use crate::proto::media::from_stream;
use crate::proto::peers::PolicyBuilder;
use crate::proto::types::ClientAddr;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits::STREAM_FRAME_MAX;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::choices::Choices;

/// The first 16 bytes of an input say where the rest is cut.
const CUTS: usize = 16;

/// The frames of a stream, and whether it broke behind them.
type Framed = (Vec<Vec<u8>>, bool);

pub(super) fn body(bytes: &[u8]) {
    let (cuts, stream) = bytes.split_at(bytes.len().min(CUTS));
    for (dialect, expected) in [(Dialect::Rfc8656, naive(stream)), (Dialect::MsTurn, naive_legacy(stream))] {
        assert_eq!(framed(dialect, std::iter::once(stream)), expected, "{dialect:?} in one piece");
        assert_eq!(framed(dialect, stream.chunks(1)), expected, "{dialect:?} byte by byte");
        assert_eq!(framed(dialect, pieces(cuts, stream)), expected, "{dialect:?} cut at {cuts:?}");
    }
    judged(stream);
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
fn framed<'a>(dialect: Dialect, pieces: impl Iterator<Item = &'a [u8]>) -> Framed {
    let (mut unread, mut frames) = (Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match next_frame_in(dialect, &unread) {
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

/// [MS-TURN] §§ 2.1.4 and 3.1.10, with the whole stream at hand.
fn naive_legacy(mut stream: &[u8]) -> Framed {
    let mut frames = Vec::new();
    loop {
        let is =
            |at: usize, wanted: &[u8]| stream.iter().skip(at).zip(wanted).all(|(one, other)| one == other);
        let sound = match stream.first() {
            None => return (frames, false),
            Some(2) => {
                let long =
                    stream.get(2..4).is_none_or(|len| usize::from(len[0]) * 256 + usize::from(len[1]) >= 28);
                let types = stream.get(4).is_none_or(|first| *first < 0x40);
                let fills = stream.get(6..8).is_none_or(|len| {
                    let inner = usize::from(len[0]) * 256 + usize::from(len[1]);
                    inner + 20 == usize::from(stream[2]) * 256 + usize::from(stream[3])
                });
                long && types && fills && is(24, &[0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6])
            }
            Some(first) => *first == 3,
        };
        if !sound || !is(1, &[0]) {
            return (frames, true);
        }
        let len = stream.get(2..4).map(|len| 4 + usize::from(len[0]) * 256 + usize::from(len[1]));
        let Some(frame) = len.and_then(|len| stream.get(..len)) else { return (frames, false) };
        frames.push(frame.to_vec());
        stream = &stream[frame.len()..];
    }
}

/// What is no request of somebody without an allocation goes nowhere.
fn judged(stream: &[u8]) {
    let table = Table::new(TableConfig {
        policy: Arc::new(PolicyBuilder::default().build()),
        strict_permissions: false,
        hash_seeds: [1; 4],
        external: ExternalAddresses::default(),
    });
    let nobody = SocketAddr::from(([192, 0, 2, 1], 1));
    let from = FiveTuple {
        client: ClientAddr::new(nobody),
        server: ServerAddr::new(nobody),
        transport: Transport::Tcp,
    };
    let (frames, _) = naive_legacy(stream);
    for frame in &frames {
        let request = frame[0] == 2 && frame[4] == 0 && matches!(frame[5], 3 | 4 | 6);
        let verdict = from_stream(&table, Tick::from_millis(0), &from, frame);
        assert_eq!(verdict == FromClient::StrangerRequest, request, "{frame:02x?}");
        assert!(request || matches!(verdict, FromClient::Drop(_)), "{frame:02x?}");
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
