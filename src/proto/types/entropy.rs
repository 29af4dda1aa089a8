//! Randomness as an argument.

/// A source of random bytes that the caller owns. The relay passes the operating system's; a simulation
/// passes a seeded one, and its run can be repeated.
pub trait Entropy {
    /// Fills `out` with bytes that nobody may foresee: keys, nonces, relay ports.
    fn fill_secret(&mut self, out: &mut [u8]);

    /// A number that nobody may foresee, evenly drawn from `0..bound`.
    ///
    /// # Panics
    /// If `bound` is 0, which is the caller's bug.
    fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "nothing lies below 0");
        // Rejection sampling: the last, incomplete stretch of u32 is thrown away, so no value is likelier.
        let zone = u32::MAX - (u32::MAX % bound + 1) % bound;
        loop {
            let mut bytes = [0; 4];
            self.fill_secret(&mut bytes);
            let drawn = u32::from_le_bytes(bytes);
            if drawn <= zone {
                return drawn % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<u32>);

    impl Entropy for Script {
        fn fill_secret(&mut self, out: &mut [u8]) {
            out.copy_from_slice(&self.0.remove(0).to_le_bytes());
        }
    }

    #[test]
    fn a_draw_from_the_incomplete_last_stretch_is_thrown_away() {
        // 2^32 = 3 * 1431655765 + 1, so u32::MAX alone is in the incomplete stretch for bound 3.
        let mut script = Script(vec![u32::MAX, u32::MAX - 1]);
        assert_eq!(script.below(3), 2);
        assert!(script.0.is_empty());
    }

    #[test]
    fn a_power_of_two_throws_nothing_away() {
        let mut script = Script(vec![u32::MAX]);
        assert_eq!(script.below(16), 15);
    }

    #[test]
    fn below_one_is_zero() {
        let mut script = Script(vec![7]);
        assert_eq!(script.below(1), 0);
    }
}
