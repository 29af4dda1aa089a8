//! Chance, from a seed: the same seed and the same packets at the same times meet the same fate.

use crate::proto::types::Entropy;

/// A generator (SplitMix64). Nothing of a laboratory is a secret.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// `stream` tells apart generators of one seed.
    pub(super) const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number from 0 up to, and without, 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_its_streams_differ() {
        let drawn = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            [0; 8].map(|_: u8| dice.next())
        };
        assert_eq!(drawn(1, 0), drawn(1, 0));
        assert_ne!(drawn(1, 0), drawn(1, 1));
        assert_ne!(drawn(1, 0), drawn(2, 0));
        let mut dice = Dice::new(1, 0);
        assert!((0..1_000).map(|_| dice.fraction()).all(|part| (0.0..1.0).contains(&part)));
    }
}
