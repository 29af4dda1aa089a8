//! A UDP datagram on its way, and what the application data in it says of itself.

use std::net::SocketAddr;

use crate::proto::types::IpHeader;

/// One datagram.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) header: IpHeader,
    pub(super) payload: Vec<u8>,
    /// Broken on a link, or not sent by whom it says, or made of such a packet: nothing can be said of its content.
    pub(super) tainted: bool,
}

/// Hops that a system lets its packets make.
pub(super) const HOPS: u8 = 64;

impl Packet {
    pub(super) const fn new(from: SocketAddr, to: SocketAddr, payload: Vec<u8>) -> Self {
        let header = IpHeader { hop_limit: Some(HOPS), traffic_class: 0, dont_fragment: false };
        Self { from, to, header, payload, tainted: false }
    }
}

/// Who sends application data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The client of this number.
    Client(u16),
    /// The peer of this number.
    Peer(u16),
}

/// The sender's mark in front of application data: who, the how manieth, and for an echo whose it answers.
///
/// ```text
/// | kind 1 | sender 2 | number 4 | of 2 | of number 4 | digest 8 | filler |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sender: Sender,
    pub(super) number: u32,
    /// The client and the number that this answers.
    pub(super) answers: (u16, u32),
}

/// Bytes of a mark.
pub(super) const MARK_LEN: usize = 21;

impl Mark {
    /// Application data of `len` bytes, or of as many as the mark takes.
    pub(super) fn write(&self, len: usize) -> Vec<u8> {
        let (kind, sender) = match self.sender {
            Sender::Client(number) => (1, number),
            Sender::Peer(number) => (2, number),
        };
        let mut data = vec![kind];
        data.extend_from_slice(&sender.to_be_bytes());
        data.extend_from_slice(&self.number.to_be_bytes());
        data.extend_from_slice(&self.answers.0.to_be_bytes());
        data.extend_from_slice(&self.answers.1.to_be_bytes());
        data.extend_from_slice(&[0; 8]);
        let filler = (data.len()..len).map(|at| (at as u32).wrapping_mul(self.number | 1).to_le_bytes()[1]);
        data.extend(filler);
        let digest = digest(&data);
        data[MARK_LEN - 8..MARK_LEN].copy_from_slice(&digest.to_be_bytes());
        data
    }

    /// Reads a mark whose digest is right.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let (head, filler) = data.split_first_chunk::<MARK_LEN>()?;
        let &[kind, s0, s1, n0, n1, n2, n3, o0, o1, a0, a1, a2, a3, ref found @ ..] = head;
        let mut blank = head.to_vec();
        blank[MARK_LEN - 8..].fill(0);
        blank.extend_from_slice(filler);
        if *found != digest(&blank).to_be_bytes() {
            return None;
        }
        let sender = match (kind, u16::from_be_bytes([s0, s1])) {
            (1, number) => Sender::Client(number),
            (2, number) => Sender::Peer(number),
            _ => return None,
        };
        let answers = (u16::from_be_bytes([o0, o1]), u32::from_be_bytes([a0, a1, a2, a3]));
        Some(Self { sender, number: u32::from_be_bytes([n0, n1, n2, n3]), answers })
    }
}

/// FNV-1a: enough to notice what nobody did on purpose.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_one_wrong_bit_is_noticed() {
        for (sender, len) in [(Sender::Client(7), 0), (Sender::Peer(65_535), 21), (Sender::Client(0), 1_400)]
        {
            let mark = Mark { sender, number: 99, answers: (3, 4) };
            let data = mark.write(len);
            assert_eq!(data.len(), len.max(MARK_LEN));
            assert_eq!(Mark::read(&data), Some(mark));
            for at in 0..data.len() {
                let mut broken = data.clone();
                broken[at] ^= 4;
                assert_eq!(Mark::read(&broken), None, "byte {at}");
            }
            assert_eq!(Mark::read(&data[..data.len() - 1]), None);
        }
    }
}
