//! Randomness of one agent, made of one draw from its owner's: parts of an agent draw each from a stream of their own.

use sha2::Digest;
use sha2::Sha256;

use crate::proto::types::Entropy;
use crate::proto::types::Secret;

/// A stream of bytes that nobody foresees who does not know its key.
#[derive(Debug)]
pub(super) struct Source {
    key: Secret,
    drawn: u64,
}

impl Source {
    pub(super) fn draw(entropy: &mut impl Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill_secret(&mut key);
        Self { key: Secret::new(key), drawn: 0 }
    }

    pub(super) fn fork(&mut self) -> Self {
        Self::draw(self)
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_secret(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Text of `len` characters that ICE allows in its credentials, with 6 bits each.
    pub(super) fn text(&mut self, len: usize) -> Box<str> {
        let mut bytes = vec![0; len];
        self.fill_secret(&mut bytes);
        bytes.iter().map(|byte| char::from(ICE_CHARS[usize::from(byte % 64)])).collect()
    }
}

/// RFC 8839 § 5.1.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Entropy for Source {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.key.expose());
            hash.update(self.drawn.to_le_bytes());
            self.drawn += 1;
            let block = hash.finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill_secret(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn streams_repeat_and_differ() {
        let drawn = |seed, forks: usize| {
            let mut source = Source::draw(&mut Fixed(seed));
            (0..forks).for_each(|_| source = source.fork());
            source.text(40)
        };
        assert_eq!(drawn(1, 0), drawn(1, 0));
        assert_eq!(drawn(1, 1), drawn(1, 1));
        assert_ne!(drawn(1, 0), drawn(2, 0));
        assert_ne!(drawn(1, 0), drawn(1, 1));
        assert!(!format!("{:?}", Source::draw(&mut Fixed(9))).contains("9, 9"));
    }
}
