//! What a packet of a call has in it: a header of RTP, for those who look, and behind it our own stamp, which says all
//! that is needed to measure it wherever it comes out.
//!
//! ```text
//!  0  RTP   V=2, marker, payload type, sequence (16 bit), time stamp, SSRC
//! 12  magic "SBL1"          run (32 bit)
//! 20  call (32 bit)         stream (8)   flags (8)   again (16): packets that came to the peer that returned it again
//! 28  sequence (64 bit)
//! 36  due: nanoseconds since the run began, on the sender's clock (64 bit)
//! 44  echo: the due of the last packet heard from the other end, or the count of the peer that returned it (64 bit)
//! 52  held: microseconds between hearing that and sending this (32 bit)
//! 56  whatever the buffer has
//! ```

use super::plan::PAYLOAD_MIN;
use super::profile::mix;

const MAGIC: [u8; 4] = *b"SBL1";
const RTP_BYTES: usize = 12;
const STAMP_BYTES: usize = 44;
const FLAG_DOWN: u8 = 1;
const FLAG_ECHO: u8 = 2;
const FLAG_RETURNED: u8 = 4;

const _: () = assert!(RTP_BYTES + STAMP_BYTES == PAYLOAD_MIN as usize);

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client to its peer.
    Up,
    /// From the peer to the client.
    Down,
}

impl Way {
    /// The way back.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What RTP's header says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// Payload type, below 128.
    pub payload_type: u8,
    /// Whether it ends a frame.
    pub marker: bool,
    /// Time stamp.
    pub time: u32,
}

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run it belongs to; a server may still have packets of the one before.
    pub run: u32,
    /// Which call of the run.
    pub call: u32,
    /// Which stream of the call.
    pub stream: u8,
    /// Which way it left.
    pub way: Way,
    /// Its place in its stream; the first has 0.
    pub sequence: u64,
    /// When it was due, in nanoseconds since the run began.
    pub due_ns: u64,
    /// What the far end adds.
    pub far: Far,
}

/// What the far end adds to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// Nothing: it has heard nothing yet.
    Silent,
    /// The last packet that it heard, as RTCP's LSR and DLSR say it (RFC 3550 § 6.4.1).
    Echo {
        /// When that one was due, in nanoseconds since the run began.
        due_ns: u64,
        /// Between its arrival and the departure of this one, in microseconds.
        held_us: u32,
    },
    /// This is the packet itself, sent back by a peer on another machine.
    Returned {
        /// Packets of this stream that this peer had heard, this one included, each once.
        count: u64,
        /// Packets of this stream that came to this peer again, modulo 65,536.
        again: u16,
        /// Between its arrival and its departure there, in microseconds.
        held_us: u32,
    },
}

impl Stamp {
    /// Writes RTP's header and the stamp into the first [`PAYLOAD_MIN`] bytes; leaves the others as they are.
    ///
    /// Returns whether there was room.
    pub fn write(&self, rtp: Rtp, payload: &mut [u8]) -> bool {
        let Some(head) = payload.first_chunk_mut::<{ PAYLOAD_MIN as usize }>() else { return false };
        head[0] = 0x80;
        head[1] = (u8::from(rtp.marker) << 7) | (rtp.payload_type & 0x7F);
        head[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
        head[4..8].copy_from_slice(&rtp.time.to_be_bytes());
        head[8..12].copy_from_slice(&self.source().to_be_bytes());
        head[12..16].copy_from_slice(&MAGIC);
        head[16..20].copy_from_slice(&self.run.to_be_bytes());
        head[20..24].copy_from_slice(&self.call.to_be_bytes());
        let (flag, again, echo, held_us) = match self.far {
            Far::Silent => (0, 0, 0, 0),
            Far::Echo { due_ns, held_us } => (FLAG_ECHO, 0, due_ns, held_us),
            Far::Returned { count, again, held_us } => (FLAG_RETURNED, again, count, held_us),
        };
        head[24] = self.stream;
        head[25] = flag | if self.way == Way::Down { FLAG_DOWN } else { 0 };
        head[26..28].copy_from_slice(&again.to_be_bytes());
        head[28..36].copy_from_slice(&self.sequence.to_be_bytes());
        head[36..44].copy_from_slice(&self.due_ns.to_be_bytes());
        head[44..52].copy_from_slice(&echo.to_be_bytes());
        head[52..56].copy_from_slice(&held_us.to_be_bytes());
        true
    }

    /// Reads the stamp of a payload; `None`: it is not one of ours.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let head = payload.first_chunk::<{ PAYLOAD_MIN as usize }>()?;
        if head[0] != 0x80 || head[12..16] != MAGIC {
            return None;
        }
        let flags = head[25];
        let (echo, held_us) = (eight(head, 44), four(head, 52));
        let far = match flags & (FLAG_ECHO | FLAG_RETURNED) {
            0 => Far::Silent,
            FLAG_ECHO => Far::Echo { due_ns: echo, held_us },
            FLAG_RETURNED => {
                Far::Returned { count: echo, again: u16::from_be_bytes([head[26], head[27]]), held_us }
            }
            _ => return None,
        };
        Some(Self {
            run: four(head, 16),
            call: four(head, 20),
            stream: head[24],
            way: if flags & FLAG_DOWN == 0 { Way::Up } else { Way::Down },
            sequence: eight(head, 28),
            due_ns: eight(head, 36),
            far,
        })
    }

    /// Makes a payload that came to a peer one that goes back, in place. Returns whether it was ours, and on its way out:
    /// what was returned once is not returned again, or two peers would play with it for ever.
    pub fn turn_back(payload: &mut [u8], count: u64, again: u16, held_us: u32) -> bool {
        if !Self::read(payload).is_some_and(|stamp| stamp.is_outward()) {
            return false;
        }
        let Some(head) = payload.first_chunk_mut::<{ PAYLOAD_MIN as usize }>() else { return false };
        head[25] = (head[25] & FLAG_DOWN) | FLAG_RETURNED;
        head[26..28].copy_from_slice(&again.to_be_bytes());
        head[44..52].copy_from_slice(&count.to_be_bytes());
        head[52..56].copy_from_slice(&held_us.to_be_bytes());
        true
    }

    /// Whether no peer on another machine has sent it back.
    #[must_use]
    pub const fn is_outward(&self) -> bool {
        !matches!(self.far, Far::Returned { .. })
    }

    /// RTP's SSRC: another one for each stream of each call and each way.
    fn source(&self) -> u32 {
        let way = u64::from(self.way == Way::Down);
        let place = (u64::from(self.call) << 16) | (u64::from(self.stream) << 8) | way;
        mix(mix(u64::from(self.run)) ^ place) as u32
    }
}

fn four(head: &[u8; PAYLOAD_MIN as usize], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&head[at..at + 4]);
    u32::from_be_bytes(bytes)
}

fn eight(head: &[u8; PAYLOAD_MIN as usize], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RTP: Rtp = Rtp { payload_type: 111, marker: true, time: 0xDEAD_BEEF };

    fn stamps() -> impl Strategy<Value = Stamp> {
        let far = prop_oneof![
            Just(Far::Silent),
            (any::<u64>(), any::<u32>()).prop_map(|(due_ns, held_us)| Far::Echo { due_ns, held_us }),
            any::<(u64, u16, u32)>().prop_map(|(count, again, held_us)| Far::Returned {
                count,
                again,
                held_us
            }),
        ];
        let way = prop_oneof![Just(Way::Up), Just(Way::Down)];
        (any::<(u32, u32, u8)>(), way, any::<(u64, u64)>(), far).prop_map(|(names, way, numbers, far)| {
            Stamp {
                run: names.0,
                call: names.1,
                stream: names.2,
                way,
                sequence: numbers.0,
                due_ns: numbers.1,
                far,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(stamp in stamps(), more in 0usize..100) {
            let mut payload = vec![0xA5; usize::from(PAYLOAD_MIN) + more];
            prop_assert!(stamp.write(RTP, &mut payload));
            prop_assert_eq!(Stamp::read(&payload), Some(stamp));
            prop_assert!(payload[usize::from(PAYLOAD_MIN)..].iter().all(|byte| *byte == 0xA5));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(Stamp::read(&bytes), None);
            let mut again = bytes.clone();
            prop_assert!(!Stamp::turn_back(&mut again, 1, 2, 3));
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn ours_cut_or_bent_is_read_without_harm(stamp in stamps(), at in 0usize..56, bit in 0u8..8, length in 0usize..60) {
            let mut payload = [0; 60];
            stamp.write(RTP, &mut payload);
            payload[at] ^= 1 << bit;
            let read = Stamp::read(&payload[..length]);
            prop_assert!(length >= 56 || read.is_none());
        }

        #[test]
        fn a_packet_comes_back_once_and_keeps_what_it_was(stamp in stamps(), count: u64, again: u16, held_us: u32) {
            let mut payload = [0; 80];
            stamp.write(RTP, &mut payload);
            let was_out = !matches!(stamp.far, Far::Returned { .. });
            prop_assert_eq!(Stamp::turn_back(&mut payload, count, again, held_us), was_out);
            if was_out {
                prop_assert_eq!(Stamp::read(&payload), Some(Stamp { far: Far::Returned { count, again, held_us }, ..stamp }));
                prop_assert!(!Stamp::turn_back(&mut payload, 9, 9, 9));
            }
        }
    }

    #[test]
    fn it_looks_like_rtp() {
        let stamp = stamp(7, Way::Up);
        let mut payload = [0; 160];
        assert!(stamp.write(RTP, &mut payload));
        assert_eq!(payload[0] >> 6, 2, "version 2");
        assert_eq!(payload[1], 0x80 | 111, "marker and payload type");
        assert_eq!(payload[2..4], 0x1234u16.to_be_bytes(), "the low half of the sequence");
        assert_eq!(payload[4..8], 0xDEAD_BEEFu32.to_be_bytes());
        assert_ne!(payload[8..12], [0; 4]);
        assert!(!stamp.write(RTP, &mut payload[..55]), "no room");
    }

    #[test]
    fn each_stream_has_its_own_source() {
        let sources: std::collections::BTreeSet<_> =
            (0..1000).flat_map(|call| [Way::Up, Way::Down].map(|way| stamp(call, way).source())).collect();
        assert_eq!(sources.len(), 2000);
    }

    fn stamp(call: u32, way: Way) -> Stamp {
        Stamp { run: 1, call, stream: 0, way, sequence: 0x9_1234, due_ns: 5, far: Far::Silent }
    }
}
