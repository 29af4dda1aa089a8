//! A limit on how much may travel.

use std::time::Duration;

use super::limits;

/// A bandwidth, and how much of it may be used at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    bits_per_s: u64,
    burst: Duration,
}

impl Rate {
    /// So many bits a second, with a burst of what the rate brings in `burst`. `None` where one of both is outside of
    /// what can be kept: [`limits::BANDWIDTH_BITS_PER_S_MIN`] to [`limits::BANDWIDTH_BITS_PER_S_MAX`],
    /// [`limits::BANDWIDTH_BURST_MIN`] to [`limits::BANDWIDTH_BURST_MAX`].
    #[must_use]
    pub fn new(bits_per_s: u64, burst: Duration) -> Option<Self> {
        let rates = limits::BANDWIDTH_BITS_PER_S_MIN..=limits::BANDWIDTH_BITS_PER_S_MAX;
        let bursts = limits::BANDWIDTH_BURST_MIN..=limits::BANDWIDTH_BURST_MAX;
        (rates.contains(&bits_per_s) && bursts.contains(&burst)).then_some(Self { bits_per_s, burst })
    }

    /// Bits a second.
    #[must_use]
    pub const fn bits_per_s(self) -> u64 {
        self.bits_per_s
    }

    /// The time in which the rate brings what may be used at once.
    #[must_use]
    pub const fn burst(self) -> Duration {
        self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_cannot_be_made() {
        let second = Duration::from_secs(1);
        for bits in [limits::BANDWIDTH_BITS_PER_S_MIN, 2_000_000, limits::BANDWIDTH_BITS_PER_S_MAX] {
            let rate = Rate::new(bits, second).expect("in range");
            assert_eq!((rate.bits_per_s(), rate.burst()), (bits, second));
        }
        for bits in [0, limits::BANDWIDTH_BITS_PER_S_MIN - 1, limits::BANDWIDTH_BITS_PER_S_MAX + 1, u64::MAX]
        {
            assert_eq!(Rate::new(bits, second), None, "{bits}");
        }
        for burst in [Duration::ZERO, limits::BANDWIDTH_BURST_MAX + second, Duration::MAX] {
            assert_eq!(Rate::new(2_000_000, burst), None, "{burst:?}");
        }
    }
}
