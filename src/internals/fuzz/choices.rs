//! Choices read out of an input's bytes, and the little world that the bodies share.

use std::net::SocketAddr;

use crate::proto::types::ClientAddr;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;

/// Reads choices from the front. Where the bytes are used up, each choice is the first one, so that any prefix of an
/// input is an input.
#[derive(Clone, Debug)]
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`, which is at most 256 and not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }

    /// At most `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Everything that is left.
    pub(crate) fn remainder(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

/// Randomness that a seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

/// The five-tuple of one of few clients, over IPv6 if the number is odd.
pub(crate) fn five_tuple(number: u8) -> FiveTuple {
    let (client, server): (SocketAddr, SocketAddr) = match number % 2 {
        0 => (([192, 0, 2, number], 50_000).into(), ([198, 51, 100, 1], 3_478).into()),
        _ => {
            let [client, server] =
                [u16::from(number), 0xFFFF].map(|last| [0x2001, 0xDB8, 0, 0, 0, 0, 0, last]);
            ((client, 50_000).into(), (server, 3_478).into())
        }
    };
    FiveTuple { client: ClientAddr::new(client), server: ServerAddr::new(server), transport: Transport::Udp }
}
