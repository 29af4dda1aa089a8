//! What the tests of this room share.

use std::net::SocketAddr;

use crate::proto::types::ClientAddr;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;

/// A seeded source of randomness (xorshift64*): good enough to be different, and repeatable.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
}

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(4) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
            chunk.copy_from_slice(&(drawn as u32).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The five-tuple of the client with this number.
#[cfg_attr(not(test), allow(dead_code, reason = "only the tests of this room have such clients"))]
pub(crate) fn five_tuple(client: u16) -> FiveTuple {
    FiveTuple {
        client: ClientAddr::new(SocketAddr::from(([198, 51, 100, 7], 10_000 + client))),
        server: ServerAddr::new(SocketAddr::from(([192, 0, 2, 1], 3_478))),
        transport: Transport::Udp,
    }
}
