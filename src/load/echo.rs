//! The far end of calls on another machine, `swingbridge load peer`: sends back what comes, and says how much came, so
//! that the other side knows on which way a packet was lost.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::measure::Listener;
use super::payload::Stamp;
use crate::proto::types::limits::LOAD_ECHO_FLOWS_MAX;

/// A stream that is silent for so long is forgotten where room is needed, in nanoseconds.
const SILENT_NS: u64 = 60_000_000_000;

/// Streams are taken for voices and pictures: their memory is that of the usual camera.
const RATE: f64 = 160.0;

/// The streams that a peer answers, and how many packets of each it heard.
///
/// Only what bears our stamp is answered, each packet once, with as many bytes as it had: nobody can have it send more
/// than is sent to it. Two of them do not answer each other.
#[derive(Debug, Default)]
pub struct EchoPeer {
    streams: HashMap<(SocketAddr, u32, u32, u8), Heard>,
    counts: EchoCounts,
    swept_ns: u64,
}

/// What a peer did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoCounts {
    /// Packets sent back.
    pub returned: u64,
    /// Packets that came again, and were not sent back again.
    pub repeated: u64,
    /// Packets that are none of ours.
    pub strangers: u64,
    /// Packets of streams for which there was no room.
    pub refused: u64,
}

#[derive(Debug)]
struct Heard {
    listener: Listener,
    count: u64,
    /// Packets that came again, modulo 65,536.
    again: u16,
    last_ns: u64,
}

impl EchoPeer {
    /// A payload came. Returns whether it is to be sent back to where it came from, now made ready for that.
    ///
    /// `now_ns` is a clock of this peer alone.
    pub fn answer(&mut self, now_ns: u64, from: SocketAddr, payload: &mut [u8]) -> bool {
        let Some(stamp) = Stamp::read(payload).filter(Stamp::is_outward) else {
            self.counts.strangers += 1;
            return false;
        };
        let name = (from, stamp.run, stamp.call, stamp.stream);
        if !self.streams.contains_key(&name) && !self.has_room(now_ns) {
            self.counts.refused += 1;
            return false;
        }
        let stream = self.streams.entry(name).or_insert_with(|| Heard::new(now_ns));
        stream.last_ns = now_ns;
        if !stream.listener.is_new(stamp.sequence) {
            self.counts.repeated += 1;
            stream.again = stream.again.wrapping_add(1);
            return false;
        }
        stream.count += 1;
        self.counts.returned += 1;
        Stamp::turn_back(payload, stream.count, stream.again, 0)
    }

    /// What it did so far.
    #[must_use]
    pub const fn counts(&self) -> EchoCounts {
        self.counts
    }

    /// Streams that it remembers.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Forgets the silent ones where it is full, at most once a second: a flood of new ones costs no more.
    fn has_room(&mut self, now_ns: u64) -> bool {
        let may_sweep = now_ns.saturating_sub(self.swept_ns) >= 1_000_000_000;
        if self.streams.len() >= LOAD_ECHO_FLOWS_MAX && may_sweep {
            self.swept_ns = now_ns;
            self.streams.retain(|_, stream| now_ns.saturating_sub(stream.last_ns) < SILENT_NS);
        }
        self.streams.len() < LOAD_ECHO_FLOWS_MAX
    }
}

impl Heard {
    fn new(now_ns: u64) -> Self {
        Self { listener: Listener::new(RATE), count: 0, again: 0, last_ns: now_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Far;
    use super::super::payload::Rtp;
    use super::super::payload::Way;
    use super::super::plan::PAYLOAD_MIN;
    use super::*;

    #[test]
    fn it_counts_each_stream_and_answers_each_packet_once() {
        let mut peer = EchoPeer::default();
        for (call, sequence, told) in [
            (1, 0, Some((1, 0))),
            (1, 5, Some((2, 0))),
            (2, 0, Some((1, 0))),
            (1, 5, None),
            (1, 3, Some((3, 1))),
        ] {
            let mut payload = payload(call, sequence);
            let answers = peer.answer(1, from(1), &mut payload);
            assert_eq!(answers, told.is_some());
            if let Some((count, again)) = told {
                let back = Stamp::read(&payload).expect("it is ours");
                assert_eq!(back.far, Far::Returned { count, again, held_us: 0 });
                assert!(!peer.answer(1, from(2), &mut payload), "one peer does not answer another");
            }
        }
        assert_eq!(peer.counts(), EchoCounts { returned: 4, repeated: 1, strangers: 4, refused: 0 });
    }

    #[test]
    fn strangers_are_not_answered() {
        let mut peer = EchoPeer::default();
        for mut payload in [vec![], vec![0; 56], vec![0xFF; 1500], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
            assert!(!peer.answer(1, from(1), &mut payload));
        }
        assert_eq!((peer.counts().strangers, peer.streams()), (4, 0));
    }

    #[test]
    fn a_flood_of_streams_has_an_end_and_the_silent_make_room() {
        let mut peer = EchoPeer::default();
        for call in 0..=LOAD_ECHO_FLOWS_MAX as u32 {
            let answers = peer.answer(2_000_000_000, from(1), &mut payload(call, 0));
            assert_eq!(answers, (call as usize) < LOAD_ECHO_FLOWS_MAX);
        }
        assert_eq!((peer.streams(), peer.counts().refused), (LOAD_ECHO_FLOWS_MAX, 1));
        assert!(peer.answer(2_000_000_000, from(1), &mut payload(0, 1)), "those it knows go on");
        assert!(peer.answer(SILENT_NS * 2, from(2), &mut payload(0, 0)), "the silent make room");
        assert_eq!(peer.streams(), 1);
    }

    fn payload(call: u32, sequence: u64) -> [u8; PAYLOAD_MIN as usize] {
        let mut payload = [0; PAYLOAD_MIN as usize];
        let stamp = Stamp { run: 1, call, stream: 0, way: Way::Up, sequence, due_ns: 1, far: Far::Silent };
        assert!(stamp.write(Rtp { payload_type: 96, marker: false, time: 0 }, &mut payload));
        payload
    }

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 40_000))
    }
}
