//! What is remembered of one stream that is received: which packets came, how unsteadily, and which to echo.

use super::super::payload::Far;
use super::super::payload::Stamp;
use super::Window;

/// How long back a packet is known, in seconds at the stream's mean rate. One that comes later still counts as lost.
const MEMORY_S: f64 = 8.0;

/// Packets back that are known, at the least and at the most.
const MEMORY_PACKETS: (usize, usize) = (512, 1 << 16);

/// A packet that is farther ahead of the last than this is none of the stream: its stamp was bent.
const JUMP_MAX: u64 = 1 << 32;

/// What came, as seen from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is ahead of all before; so many between did not come yet.
    Next {
        /// Packets between it and the one before.
        missing: u64,
    },
    /// It came behind one that was sent later.
    Behind,
    /// It came before.
    Again,
    /// It is so old that nobody knows whether it came before.
    TooOld,
    /// No packet of the stream can have this number.
    Impossible,
}

impl Heard {
    /// Whether it came for the first time.
    #[must_use]
    pub const fn is_first(self) -> bool {
        matches!(self, Self::Next { .. } | Self::Behind)
    }
}

/// What is remembered of one stream that is received.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The number behind the largest heard.
    next: u64,
    /// A bit for each of the last packets: the one of number n is n modulo their count.
    seen: Box<[u64]>,
    /// How long the last packet took.
    transit_ns: Option<u64>,
    jitter_ns: f64,
    /// The window of the sums below.
    window: u32,
    jitter_sum_ns: f64,
    jitter_count: u32,
    /// The last packet heard, to be echoed: when it was due, and when it came.
    last: Option<(u64, u64)>,
    /// The last echo heard.
    echo_ns: u64,
    returned: Returned,
}

/// What a peer on another machine says it counted.
#[derive(Clone, Copy, Debug, Default)]
struct Returned {
    window: u32,
    before: Told,
    within: Told,
    /// Packets that came to it again since the stream began.
    again: u64,
    bytes: u16,
}

/// Packets of a stream that came to a peer on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Each once.
    pub(super) count: u64,
    /// Those that came again.
    pub(super) again: u64,
}

impl Told {
    fn max(self, other: Self) -> Self {
        Self { count: self.count.max(other.count), again: self.again.max(other.again) }
    }

    fn since(self, before: Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            again: self.again.saturating_sub(before.again),
        }
    }
}

impl Listener {
    /// For a stream of so many packets a second.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        let packets =
            ((rate * MEMORY_S) as usize).clamp(MEMORY_PACKETS.0, MEMORY_PACKETS.1).next_power_of_two();
        Self {
            next: 0,
            seen: vec![0; packets / 64].into_boxed_slice(),
            transit_ns: None,
            jitter_ns: 0.0,
            window: 0,
            jitter_sum_ns: 0.0,
            jitter_count: 0,
            last: None,
            echo_ns: 0,
            returned: Returned::default(),
        }
    }

    /// What the next packet to the other end says of the last one from there (RTCP's LSR and DLSR).
    #[must_use]
    pub fn echo(&self, now_ns: u64) -> Far {
        let Some((due_ns, at_ns)) = self.last else { return Far::Silent };
        let held_us = now_ns.saturating_sub(at_ns) / 1000;
        u32::try_from(held_us).map_or(Far::Silent, |held_us| Far::Echo { due_ns, held_us })
    }

    /// A packet came with this number. Returns whether it is certain that it did not come before.
    pub fn is_new(&mut self, sequence: u64) -> bool {
        self.place(sequence).is_first()
    }

    /// A packet came with this number, so long after it was due.
    pub(super) fn hear(&mut self, sequence: u64, transit_ns: u64) -> Heard {
        let heard = self.place(sequence);
        if heard.is_first() {
            if let Some(before_ns) = self.transit_ns {
                // RFC 3550 § 6.4.1: J(i) = J(i-1) + (|D(i-1,i)| - J(i-1)) / 16.
                let differs_ns = transit_ns.abs_diff(before_ns) as f64;
                self.jitter_ns += (differs_ns - self.jitter_ns) / 16.0;
            }
            self.transit_ns = Some(transit_ns);
        }
        heard
    }

    /// The last packet heard is the one to be echoed.
    pub(super) const fn remember(&mut self, stamp: &Stamp, now_ns: u64) {
        self.last = Some((stamp.due_ns, now_ns));
    }

    /// Whether this echo was not heard before: a burst bears the same one in all its packets, and one trip counts once.
    pub(super) const fn is_new_echo(&mut self, due_ns: u64) -> bool {
        let is_new = due_ns > self.echo_ns;
        if is_new {
            self.echo_ns = due_ns;
        }
        is_new
    }

    /// Adds the jitter as it stands to the mean over a window.
    pub(super) fn note_jitter(&mut self, window: u32) {
        if self.window != window {
            (self.window, self.jitter_sum_ns, self.jitter_count) = (window, 0.0, 0);
        }
        self.jitter_sum_ns += self.jitter_ns;
        self.jitter_count += 1;
    }

    /// The mean jitter over a window, in seconds; `None`: no packet came in it.
    pub(super) fn mean_jitter(&self, window: u32) -> Option<f64> {
        let is_of_it = self.window == window && self.jitter_count > 0;
        is_of_it.then(|| self.jitter_sum_ns / f64::from(self.jitter_count) / 1e9)
    }

    /// Notes how many packets the peer on another machine had heard, and how many of them again modulo 65,536, as a packet
    /// that was due then says.
    pub(super) fn note_count(&mut self, count: u64, again: u16, window: &Window, due_ns: u64, bytes: usize) {
        let returned = &mut self.returned;
        // What is behind was said before, by a packet that was overtaken.
        let more = again.wrapping_sub(returned.again as u16);
        if more <= u16::MAX / 2 {
            returned.again += u64::from(more);
        }
        let told = Told { count, again: returned.again };
        if returned.window != window.number {
            returned.before = returned.before.max(returned.within);
            (returned.window, returned.within) = (window.number, Told::default());
        }
        if due_ns < window.from_ns {
            returned.before = returned.before.max(told);
        } else if window.has(due_ns) {
            returned.within = returned.within.max(told);
            returned.bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        }
    }

    /// What the peer on another machine heard of a window, and about how many bytes; `None`: it was not heard of.
    pub(super) fn counted(&self, window: u32) -> Option<(Told, u64)> {
        let returned = &self.returned;
        let told = returned.within.since(returned.before);
        (returned.window == window).then(|| (told, told.count.saturating_mul(u64::from(returned.bytes))))
    }

    fn place(&mut self, sequence: u64) -> Heard {
        let memory = self.seen.len() as u64 * 64;
        if let Some(back) = self.next.checked_sub(sequence).filter(|back| *back > 0) {
            if back > memory {
                return Heard::TooOld;
            }
            return if self.mark(sequence) { Heard::Again } else { Heard::Behind };
        }
        let missing = sequence - self.next;
        if missing > JUMP_MAX || sequence > u64::MAX - JUMP_MAX {
            return Heard::Impossible;
        }
        if missing >= memory {
            self.seen.fill(0);
        } else {
            for each in self.next..sequence {
                let (word, bit) = self.bit(each);
                self.seen[word] &= !bit;
            }
        }
        let (word, bit) = self.bit(sequence);
        self.seen[word] |= bit;
        self.next = sequence + 1;
        Heard::Next { missing }
    }

    /// Sets a packet's bit; returns whether it was set.
    fn mark(&mut self, sequence: u64) -> bool {
        let (word, bit) = self.bit(sequence);
        let was = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        was
    }

    fn bit(&self, sequence: u64) -> (usize, u64) {
        let place = (sequence % (self.seen.len() as u64 * 64)) as usize;
        (place / 64, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_as_a_set_would(sequences in proptest::collection::vec(0u64..2_000, 1..400)) {
            let mut listener = Listener::new(1.0);
            let (mut seen, mut next) = (BTreeSet::new(), 0);
            for sequence in sequences {
                let wanted = if sequence >= next {
                    Heard::Next { missing: sequence - next }
                } else if next - sequence > 512 {
                    Heard::TooOld
                } else if seen.contains(&sequence) {
                    Heard::Again
                } else {
                    Heard::Behind
                };
                prop_assert_eq!(listener.hear(sequence, 0), wanted);
                seen.insert(sequence);
                next = next.max(sequence + 1);
            }
        }

        #[test]
        fn any_number_is_borne(sequences in proptest::collection::vec(any::<u64>(), 1..50)) {
            let mut listener = Listener::new(1e12);
            for sequence in sequences {
                let _ = listener.hear(sequence, sequence);
            }
        }
    }

    /// RFC 3550 § 6.4.1: the gain is 1/16, so that one packet 16 ms late is a jitter of 1 ms.
    #[test]
    fn one_late_packet_counts_for_a_sixteenth() {
        let mut listener = Listener::new(50.0);
        let _ = (listener.hear(0, 5_000_000), listener.hear(1, 21_000_000));
        listener.note_jitter(1);
        assert_eq!(listener.mean_jitter(1), Some(0.001));
        assert_eq!(listener.mean_jitter(2), None, "of another window nothing is known");
    }

    #[test]
    fn a_bent_number_does_not_spoil_the_stream() {
        let mut listener = Listener::new(50.0);
        assert_eq!(listener.hear(0, 0), Heard::Next { missing: 0 });
        assert_eq!(listener.hear(u64::MAX, 0), Heard::Impossible);
        assert_eq!(listener.hear(1 << 40, 0), Heard::Impossible);
        assert_eq!(listener.hear(1, 0), Heard::Next { missing: 0 });
    }

    #[test]
    fn the_memory_grows_with_the_rate_within_bounds() {
        let bits = |rate| Listener::new(rate).seen.len() * 64;
        assert_eq!(bits(0.1), 512);
        assert_eq!(bits(50.0), 512);
        assert_eq!(bits(159.0), 2048);
        assert_eq!(bits(1e9), 1 << 16);
        assert_eq!(bits(f64::NAN), 512);
    }
}
