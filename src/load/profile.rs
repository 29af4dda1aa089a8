//! When the packets of a call leave, and how large they are: the calendar of each stream, known before the run.
//!
//! | profile | streams | packets/s, each way | payload | shape |
//! |---|---|---|---|---|
//! | audio | 1 | 50 | 160–172 bytes | one each 20 ms |
//! | video | 1 | 159 | 1,200 bytes, 1.53 Mbit/s | 30 frames/s of 3–7 packets; each 90th has 32 (a key frame) |
//! | screen | 1 | 41 | 1,200 bytes, 0.39 Mbit/s | 5 updates/s of 1–3 packets; each 10th has 64 (a new page) |
//! | mixed | 2 | 209 | both | audio and video |
//!
//! A large frame leaves in groups of [`GROUP_PACKETS`] packets, [`GROUP_GAP_NS`] apart, as browsers pace theirs: a relay
//! never sees a key frame at the speed of a local network. All times fall on whole ticks of a sender's clock
//! ([`TICK_NS`]), so that no latency has the generator's own waiting for its next tick in it. Calls begin at phases
//! that lie as far from each other as they can, whenever they come to be.

use super::payload::Way;
use super::plan::Direction;
use super::plan::Profile;

/// The tick of a sender's clock, in nanoseconds.
pub const TICK_NS: u64 = 1_000_000;

/// Packets that leave at one moment, at the most, of a frame.
pub const GROUP_PACKETS: u16 = 8;

/// Between two groups of one frame, in nanoseconds.
pub const GROUP_GAP_NS: u64 = 5_000_000;

/// Payload of each packet of a picture, in bytes.
const PICTURE_BYTES: u16 = 1_200;

/// How the frames of a stream follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rhythm {
    /// Frames each second.
    frames: f64,
    /// Packets of a usual frame: from, to.
    packets: (u16, u16),
    /// Every so many frames comes a large one; 0: never.
    large_every: u16,
    /// Packets of a large frame.
    large_packets: u16,
    /// Bytes of payload: from, to. Alike within a frame.
    bytes: (u16, u16),
    /// Packets that leave at one moment.
    group: u16,
    /// Ticks of the RTP clock each second.
    rtp_clock: u32,
    /// RTP's payload type.
    payload_type: u8,
}

const AUDIO: Rhythm = Rhythm {
    frames: 50.0,
    packets: (1, 1),
    large_every: 0,
    large_packets: 0,
    bytes: (160, 172),
    group: 1,
    rtp_clock: 48_000,
    payload_type: 111,
};

const VIDEO: Rhythm = Rhythm {
    frames: 30.0,
    packets: (3, 7),
    large_every: 90,
    large_packets: 32,
    bytes: (PICTURE_BYTES, PICTURE_BYTES),
    group: GROUP_PACKETS,
    rtp_clock: 90_000,
    payload_type: 96,
};

const SCREEN: Rhythm = Rhythm {
    frames: 5.0,
    packets: (1, 3),
    large_every: 10,
    large_packets: 64,
    bytes: (PICTURE_BYTES, PICTURE_BYTES),
    group: GROUP_PACKETS,
    rtp_clock: 90_000,
    payload_type: 98,
};

impl Rhythm {
    const fn packets_each_second(&self) -> f64 {
        let usual = (self.packets.0 as f64 + self.packets.1 as f64) / 2.0;
        if self.large_every == 0 {
            return self.frames * usual;
        }
        let every = self.large_every as f64;
        self.frames * (usual * (every - 1.0) + self.large_packets as f64) / every
    }

    const fn bits_each_second(&self) -> f64 {
        self.packets_each_second() * (self.bytes.0 as f64 + self.bytes.1 as f64) * 4.0
    }
}

impl Profile {
    /// Streams of RTP in each direction of a call: 1 or 2.
    #[must_use]
    pub const fn streams(self) -> u8 {
        match self {
            Self::Mixed => 2,
            Self::Audio | Self::Video | Self::Screen | Self::Even { .. } => 1,
        }
    }

    /// Packets that leave each second in each direction of a call, all streams together, in the mean.
    #[must_use]
    pub const fn packets_each_second(self) -> f64 {
        match self {
            Self::Mixed => AUDIO.packets_each_second() + VIDEO.packets_each_second(),
            Self::Audio | Self::Video | Self::Screen | Self::Even { .. } => self.stream_rate(0),
        }
    }

    /// Bits of payload that leave each second in each direction of a call, in the mean.
    #[must_use]
    pub const fn bits_each_second(self) -> f64 {
        match self {
            Self::Mixed => AUDIO.bits_each_second() + VIDEO.bits_each_second(),
            Self::Audio | Self::Video | Self::Screen | Self::Even { .. } => self.rhythm(0).bits_each_second(),
        }
    }

    /// Packets that leave each second in one stream, in the mean.
    #[must_use]
    pub const fn stream_rate(self, stream: u8) -> f64 {
        self.rhythm(stream).packets_each_second()
    }

    /// The largest payload, in bytes.
    #[must_use]
    pub const fn payload_max(self) -> u16 {
        match self {
            Self::Audio => AUDIO.bytes.1,
            Self::Video | Self::Screen | Self::Mixed => PICTURE_BYTES,
            Self::Even { size, .. } => size,
        }
    }

    const fn rhythm(self, stream: u8) -> Rhythm {
        match (self, stream) {
            (Self::Audio, _) | (Self::Mixed, 0) => AUDIO,
            (Self::Video, _) | (Self::Mixed, _) => VIDEO,
            (Self::Screen, _) => SCREEN,
            (Self::Even { rate, size, burst }, _) => Rhythm {
                frames: rate / if burst == 0 { 1.0 } else { burst as f64 },
                packets: if burst == 0 { (1, 1) } else { (burst, burst) },
                large_every: 0,
                large_packets: 0,
                bytes: (size, size),
                group: if burst == 0 { 1 } else { burst },
                rtp_clock: 90_000,
                payload_type: 97,
            },
        }
    }
}

impl Direction {
    /// Whether packets go this way.
    #[must_use]
    pub const fn has(self, way: Way) -> bool {
        matches!((self, way), (Self::Both, _) | (Self::Up, Way::Up) | (Self::Down, Way::Down))
    }

    /// Ways that packets go: 1 or 2.
    #[must_use]
    pub const fn ways(self) -> u32 {
        match self {
            Self::Both => 2,
            Self::Up | Self::Down => 1,
        }
    }
}

/// Packets of one stream that leave at one moment, all of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// When they leave, in nanoseconds since the run began. A whole number of [`TICK_NS`].
    pub due_ns: u64,
    /// How many: at least 1.
    pub packets: u16,
    /// Bytes of payload of each.
    pub bytes: u16,
    /// RTP's time stamp of all of them: that of their frame.
    pub rtp_time: u32,
    /// Whether the last of them ends its frame and bears RTP's marker.
    pub ends_frame: bool,
}

/// The calendar of one stream in one direction: it knows no clock, so nobody can slow it.
#[derive(Clone, Debug)]
pub struct Schedule {
    rhythm: Rhythm,
    phase_ns: f64,
    /// Frames since the run began, on this stream's own grid.
    frame: u64,
    /// Packets of the frame that have not left.
    left: u16,
    /// Groups of the frame that have left.
    group: u16,
    bytes: u16,
    seed: u64,
}

impl Schedule {
    /// The calendar of one stream of one call from `start_ns` on, in nanoseconds since the run began.
    ///
    /// The same arguments give the same calendar. Streams of different calls, streams and ways have different phases.
    #[must_use]
    pub fn new(profile: Profile, stream: u8, way: Way, call: u32, seed: u64, start_ns: u64) -> Self {
        let rhythm = profile.rhythm(stream);
        let period_ns = 1e9 / rhythm.frames;
        let lane = u64::from(call) * 4 + u64::from(stream % 2) * 2 + u64::from(way == Way::Down);
        let phase_ns = spread(lane) * period_ns;
        let frame = ((start_ns as f64 - phase_ns) / period_ns).ceil().max(0.0) as u64;
        let seed = mix(seed ^ mix(lane));
        let mut schedule = Self { rhythm, phase_ns, frame, left: 0, group: 0, bytes: 0, seed };
        schedule.begin_frame();
        schedule
    }

    /// When the next packets leave, in nanoseconds since the run began. Never goes back.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        let frame_ns = self.phase_ns + self.frame as f64 * (1e9 / self.rhythm.frames);
        let ticks = (frame_ns / TICK_NS as f64).ceil() as u64;
        ticks * TICK_NS + u64::from(self.group) * GROUP_GAP_NS
    }

    /// The next packets; the calendar then stands at those behind them.
    pub fn next_burst(&mut self) -> Burst {
        let packets = self.left.min(self.rhythm.group);
        let burst = Burst {
            due_ns: self.due_ns(),
            packets,
            bytes: self.bytes,
            rtp_time: self.rtp_time(),
            ends_frame: packets == self.left,
        };
        self.left -= packets;
        self.group += 1;
        if self.left == 0 {
            self.frame += 1;
            self.begin_frame();
        }
        burst
    }

    /// RTP's payload type of this stream.
    #[must_use]
    pub const fn payload_type(&self) -> u8 {
        self.rhythm.payload_type
    }

    fn begin_frame(&mut self) {
        let draw = mix(self.seed ^ self.frame);
        let rhythm = &self.rhythm;
        let is_large = rhythm.large_every != 0
            && (self.frame + self.seed % u64::from(rhythm.large_every))
                .is_multiple_of(u64::from(rhythm.large_every));
        self.left = if is_large { rhythm.large_packets } else { between(rhythm.packets, draw) };
        self.bytes = between(rhythm.bytes, draw >> 32);
        self.group = 0;
    }

    /// The frame's place on RTP's clock; wraps, as RTP's does.
    fn rtp_time(&self) -> u32 {
        let ticks = self.frame as f64 * f64::from(self.rhythm.rtp_clock) / self.rhythm.frames;
        (ticks as u64 as u32).wrapping_add(self.seed as u32)
    }
}

/// A part of a period from 0 to 1: each next one lies in the largest gap that those before have left (the golden
/// section), so that any number of calls in a row is spread as evenly as can be.
fn spread(lane: u64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    (lane.wrapping_mul(GOLDEN) >> 11) as f64 / (1u64 << 53) as f64
}

/// One of the whole numbers from the first to the second, both included.
fn between((from, to): (u16, u16), draw: u64) -> u16 {
    let many = u64::from(to.saturating_sub(from)) + 1;
    from + u16::try_from((draw & 0xFFFF_FFFF) % many).unwrap_or(0)
}

/// Scatters a number over all 64 bits (SplitMix64): a source of chance that a seed names again, not for secrets.
pub(super) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const PROFILES: [Profile; 6] = [
        Profile::Audio,
        Profile::Video,
        Profile::Screen,
        Profile::Mixed,
        Profile::Even { rate: 1000.0, size: 200, burst: 1 },
        Profile::Even { rate: 12_345.6, size: 1200, burst: 7 },
    ];

    #[test]
    fn each_profile_sends_what_it_says() {
        for profile in PROFILES {
            let (mut packets, mut bits) = (0u64, 0u64);
            for stream in 0..profile.streams() {
                for burst in bursts(profile, stream, 3, 0, 120 * SECOND_NS) {
                    packets += u64::from(burst.packets);
                    bits += u64::from(burst.packets) * u64::from(burst.bytes) * 8;
                }
            }
            near(packets as f64 / 120.0, profile.packets_each_second(), 0.01, profile);
            near(bits as f64 / 120.0, profile.bits_each_second(), 0.01, profile);
        }
        assert!((Profile::Audio.packets_each_second() - 50.0).abs() < 1e-9);
        assert!((Profile::Video.packets_each_second() - 159.0).abs() < 1e-9);
        assert!((Profile::Screen.packets_each_second() - 41.0).abs() < 1e-9);
    }

    #[test]
    fn sizes_stay_within_the_profile() {
        let sizes: std::collections::BTreeSet<_> =
            bursts(Profile::Audio, 0, 1, 0, 60 * SECOND_NS).map(|each| each.bytes).collect();
        assert_eq!(sizes, (160..=172).collect());
        assert!(bursts(Profile::Video, 0, 1, 0, 60 * SECOND_NS).all(|each| each.bytes == 1200));
        for profile in PROFILES {
            let largest = (0..profile.streams())
                .flat_map(|stream| bursts(profile, stream, 1, 0, 60 * SECOND_NS))
                .map(|each| each.bytes)
                .max();
            assert_eq!(largest, Some(profile.payload_max()), "{profile:?}");
        }
    }

    #[test]
    fn time_never_goes_back_and_keeps_to_the_ticks() {
        for profile in PROFILES {
            for stream in 0..profile.streams() {
                let mut before = 0;
                for burst in bursts(profile, stream, 17, 3 * SECOND_NS + 123, 60 * SECOND_NS) {
                    assert!(
                        burst.due_ns >= before && burst.due_ns.is_multiple_of(TICK_NS),
                        "{profile:?} {burst:?}"
                    );
                    assert!(burst.due_ns >= 3 * SECOND_NS, "{profile:?} {burst:?}");
                    before = burst.due_ns;
                }
            }
        }
    }

    #[test]
    fn a_frame_is_paced_and_its_last_packet_is_marked() {
        let all: Vec<_> = bursts(Profile::Video, 0, 1, 0, 60 * SECOND_NS).collect();
        assert!(all.iter().all(|each| each.packets <= GROUP_PACKETS));
        let large: Vec<_> =
            all.chunk_by(|a, b| a.rtp_time == b.rtp_time).filter(|frame| frame.len() > 1).collect();
        assert_eq!(large.len(), 20, "one key frame each 3 s");
        for frame in large {
            assert_eq!(frame.iter().map(|each| each.packets).sum::<u16>(), 32);
            assert_eq!(frame.iter().filter(|each| each.ends_frame).count(), 1);
            assert!(frame.last().is_some_and(|each| each.ends_frame));
            assert!(frame.windows(2).all(|pair| pair[1].due_ns - pair[0].due_ns == GROUP_GAP_NS));
        }
    }

    #[test]
    fn many_calls_do_not_send_at_one_instant() {
        for profile in [Profile::Audio, Profile::Video] {
            let mut ticks = std::collections::BTreeMap::<u64, u64>::new();
            for call in 0..1000 {
                for burst in bursts(profile, 0, call, 0, 3 * SECOND_NS) {
                    *ticks.entry(burst.due_ns / TICK_NS).or_default() += u64::from(burst.packets);
                }
            }
            let mean = 1000.0 * profile.packets_each_second() / 1000.0;
            let worst = ticks.iter().filter(|(tick, _)| **tick > 100).map(|(_, count)| *count).max();
            let worst = worst.expect("packets were due") as f64;
            assert!(worst < 2.0 * mean, "{profile:?}: {worst} packets in one tick, {mean} in the mean");
        }
    }

    #[test]
    fn calls_that_begin_together_or_later_keep_their_phases() {
        let early: Vec<_> =
            bursts(Profile::Audio, 0, 5, 0, 10 * SECOND_NS).filter(|b| b.due_ns >= 4 * SECOND_NS).collect();
        let late: Vec<_> = bursts(Profile::Audio, 0, 5, 4 * SECOND_NS - 1, 10 * SECOND_NS).collect();
        assert_eq!(early, late);
    }

    #[test]
    fn a_seed_names_a_run_again() {
        let one = |seed| -> Vec<_> {
            let mut schedule = Schedule::new(Profile::Video, 0, Way::Up, 1, seed, 0);
            (0..500).map(|_| schedule.next_burst()).collect()
        };
        assert_eq!(one(1), one(1));
        assert_ne!(one(1), one(2));
    }

    #[test]
    fn the_two_ways_of_a_call_differ_in_phase() {
        let due = |way| Schedule::new(Profile::Audio, 0, way, 0, 1, 0).due_ns();
        assert_ne!(due(Way::Up), due(Way::Down));
    }

    #[test]
    fn a_long_run_does_not_drift() {
        let profile = Profile::Even { rate: 3.0, size: 100, burst: 1 };
        let month_ns = 30 * 86_400 * SECOND_NS;
        let due = Schedule::new(profile, 0, Way::Up, 0, 1, month_ns).due_ns();
        assert!(due - month_ns <= SECOND_NS / 3 + TICK_NS, "{due}");
    }

    fn bursts(
        profile: Profile,
        stream: u8,
        call: u32,
        from_ns: u64,
        to_ns: u64,
    ) -> impl Iterator<Item = Burst> {
        let mut schedule = Schedule::new(profile, stream, Way::Up, call, 7, from_ns);
        std::iter::from_fn(move || (schedule.due_ns() < to_ns).then(|| schedule.next_burst()))
    }

    fn near(is: f64, wanted: f64, part: f64, profile: Profile) {
        assert!((is / wanted - 1.0).abs() <= part, "{profile:?}: {is}, not {wanted}");
    }
}
