//! Randomness from a seed (SplitMix64, Steele et al. 2014).

use super::Entropy;

/// A seeded source, for laboratories, simulations and tests: whoever has the seed knows all of it, so that a server never draws
/// from one. Cloned or forked it goes its own way, as repeatable as the first.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of the many that a seed makes.
    #[must_use]
    pub const fn stream(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32))
    }

    /// The next number, of all there are.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Of `0..bound`, which is not empty. The bias of at most 2^-32 matters to nobody here.
    pub const fn number(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Of `low..=high`.
    pub const fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.number(high - low + 1)
    }

    /// Comes true so many times of 1,000.
    pub const fn chance(&mut self, permille: u32) -> bool {
        self.number(1_000) < permille as u64
    }

    /// Comes true so many times of a million.
    pub const fn befalls(&mut self, ppm: u32) -> bool {
        self.number(1_000_000) < ppm as u64
    }

    /// From 0 up to, and without, 1.
    pub const fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A place in something that has `len` of them.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.number(len as u64)).unwrap_or(0)
    }

    /// One of `items`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill_secret(&mut bytes);
        bytes
    }

    /// Dice of their own: what they draw changes nothing here.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Four numbers, to seed something else.
    pub fn seeds(&mut self) -> [u64; 4] {
        [0; 4].map(|_: u64| self.next())
    }
}

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run_and_another_is_another() {
        let drawn = |seed| {
            let mut dice = Dice::new(seed);
            [0; 8].map(|_: u64| dice.next())
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert_ne!(Dice::stream(7, 0).next(), Dice::stream(7, 1).next());
        // The published first output of SplitMix64 for seed 0.
        assert_eq!(Dice::new(0).next(), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn ranges_are_closed_and_reached() {
        let mut dice = Dice::new(1);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| dice.range(3, 6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert!((0..1_000).map(|_| dice.fraction()).all(|part| (0.0..1.0).contains(&part)));
        assert!(!(0..100).any(|_| dice.befalls(0)) && (0..100).all(|_| dice.befalls(1_000_000)));
        assert!(!(0..100).any(|_| dice.chance(0)) && (0..100).all(|_| dice.chance(1_000)));
    }
}
