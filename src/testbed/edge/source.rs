//! Randomness of each core, grown from a seed that nobody can foresee: SHA-256 over seed and counter.

use sha2::Digest as _;
use sha2::Sha256;

use crate::proto::types::Entropy;

/// A source with a seed of its own.
pub(super) struct Source {
    seed: [u8; 32],
    drawn: u64,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Source(…)")
    }
}

impl Source {
    /// Draws the seed.
    pub(super) fn from(entropy: &mut impl Entropy) -> Self {
        let mut seed = [0; 32];
        entropy.fill_secret(&mut seed);
        Self { seed, drawn: 0 }
    }
}

impl Entropy for Source {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block =
                Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_be_bytes()).finalize();
            self.drawn += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}
