//! The operating system's randomness.

use std::fmt;

use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::proto::types::Entropy;

/// Draws from the kernel's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill_secret(&mut self, out: &mut [u8]) {
        // Going on with foreseeable ports and nonces would be worse than not going on.
        getrandom::fill(out).expect("the kernel gives randomness");
    }
}

/// Bytes that [`DrawnAhead`] takes from the kernel at a time.
const AHEAD: usize = 256;
/// So many bytes are something that lasts, as a key, and do not wait in memory before they are asked for.
const LASTING: usize = 32;

/// The same generator, asked for many bytes at a time, because a port takes four. What was given out is wiped.
pub struct DrawnAhead {
    /// The first `left` are still to be given out.
    bytes: Zeroizing<[u8; AHEAD]>,
    left: usize,
}

impl Default for DrawnAhead {
    fn default() -> Self {
        Self { bytes: Zeroizing::new([0; AHEAD]), left: 0 }
    }
}

impl Entropy for DrawnAhead {
    fn fill_secret(&mut self, out: &mut [u8]) {
        if out.len() >= LASTING {
            return SystemEntropy.fill_secret(out);
        }
        if out.len() > self.left {
            SystemEntropy.fill_secret(&mut *self.bytes);
            self.left = AHEAD;
        }
        let given = &mut self.bytes[self.left - out.len()..self.left];
        out.copy_from_slice(given);
        given.zeroize();
        self.left -= out.len();
    }
}

impl fmt::Debug for DrawnAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrawnAhead").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        SystemEntropy.fill_secret(&mut first);
        SystemEntropy.fill_secret(&mut second);
        assert_ne!(first, second);
    }

    #[test]
    fn what_was_drawn_ahead_is_given_out_once_and_wiped() {
        let mut entropy = DrawnAhead::default();
        let mut seen = BTreeSet::new();
        for _ in 0..3 * AHEAD / 8 {
            let mut eight = [0; 8];
            entropy.fill_secret(&mut eight);
            assert!(seen.insert(eight), "{eight:?} came twice");
            assert!(!entropy.bytes.windows(8).any(|kept| kept == eight), "what was given out is kept");
            assert!(entropy.bytes[entropy.left..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_draw_that_does_not_fit_what_is_left_is_of_new_bytes_and_a_key_is_never_drawn_ahead() {
        let mut entropy = DrawnAhead::default();
        let mut out = [0; LASTING];
        entropy.fill_secret(&mut out[..LASTING - 1]);
        assert_eq!(entropy.left, AHEAD - (LASTING - 1));
        while entropy.left >= LASTING - 1 {
            entropy.fill_secret(&mut out[..LASTING - 1]);
        }
        let rest = entropy.left;
        entropy.fill_secret(&mut out);
        assert_eq!(entropy.left, rest);
        out = [0; LASTING];
        entropy.fill_secret(&mut out[..LASTING - 1]);
        assert_eq!(entropy.left, AHEAD - (LASTING - 1));
        assert_ne!(out[..8], [0; 8]);
    }

    #[test]
    fn debug_shows_nothing_of_what_waits() {
        let mut entropy = DrawnAhead::default();
        entropy.fill_secret(&mut [0; 6]);
        assert_eq!(format!("{entropy:?}"), "DrawnAhead { left: 250, .. }");
    }
}
