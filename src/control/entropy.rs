//! The operating system's randomness.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        SystemEntropy.fill_secret(&mut first);
        SystemEntropy.fill_secret(&mut second);
        assert_ne!(first, second);
    }
}
