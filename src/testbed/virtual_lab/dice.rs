//! Randomness from a seed (SplitMix64).

use crate::proto::types::Entropy;

/// A stream of numbers that its seed foretells.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Up to `most`, which it may be.
    pub(super) const fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(bound) => self.next() % bound,
            None => self.next(),
        }
    }

    /// Whether one of those that befall `ppm` of a million.
    pub(super) const fn befalls(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.up_to(999_999) < ppm as u64
    }

    /// Another stream.
    pub(super) const fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
