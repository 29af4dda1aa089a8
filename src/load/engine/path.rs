//! What a client writes in front of its packets, and how it knows what comes back: by channel, or by indications.

use std::net::SocketAddr;

use crate::proto::types::ChannelNumber;
use crate::proto::types::PeerAddr;
use crate::proto::wire::TransactionId;
use crate::proto::wire::channel_data;
use crate::proto::wire::indication;
use crate::proto::wire::ms_turn;
use crate::proto::wire::ms_turn::answer::is_of_server;

use super::counted::COUNT_LEN;

/// A Send indication's header: STUN's, XOR-PEER-ADDRESS, that of DATA.
const SEND_HEADER_V4: usize = 20 + 12 + 4;
const SEND_HEADER_V6: usize = 20 + 24 + 4;
/// The message type of a Data indication.
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];

/// The way of a client's packets to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// ChannelData.
    Channel(ChannelNumber),
    /// Send indications.
    Indication(PeerAddr),
    /// In the old dialect, to the active destination: as it is.
    Bare(Bounds),
    /// A Send request of the old dialect for each packet, which the client itself writes.
    Request(PeerAddr, Bounds),
}

/// Where a packet of the old dialect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    /// With the datagram that it is on its way to the peer.
    OfDatagrams,
    /// Nowhere by itself: between two relayed ports of TCP there are bytes alone, which the server frames as it reads them.
    /// So the packet's length stands in front of it ([`super::counted`]).
    Counted,
}

impl Path {
    /// Bytes in front of a payload.
    pub(super) const fn head_len(self) -> usize {
        match self {
            Self::Channel(_) => channel_data::HEADER_LEN,
            Self::Indication(peer) => match peer.socket() {
                SocketAddr::V4(_) => SEND_HEADER_V4,
                SocketAddr::V6(_) => SEND_HEADER_V6,
            },
            Self::Bare(bounds) | Self::Request(_, bounds) => match bounds {
                Bounds::OfDatagrams => 0,
                Bounds::Counted => COUNT_LEN,
            },
        }
    }

    /// Bytes behind a payload of so many, to the next multiple of 4 where the message must end at one.
    pub(super) const fn tail_len(self, payload: usize) -> usize {
        match self {
            Self::Channel(_) | Self::Bare(_) | Self::Request(..) => 0,
            Self::Indication(_) => payload.next_multiple_of(4) - payload,
        }
    }

    /// Writes what stands in front of a payload of `len` bytes into `head`, which is as long as [`Self::head_len`]. The
    /// transaction of an indication means nothing to anybody, so a counter will do.
    pub(super) fn write_head(self, head: &mut [u8], len: u16, number: u64) {
        match self {
            Self::Channel(channel) => head.copy_from_slice(&channel_data::header(channel, len)),
            Self::Indication(peer) => {
                let mut id = [0; 12];
                id[4..].copy_from_slice(&number.to_be_bytes());
                // What is too long for the length field is too long for a datagram, as the kernel will say.
                let _ = indication::write_send_header(head, TransactionId::with_cookie(id), peer, len);
            }
            Self::Bare(Bounds::OfDatagrams) | Self::Request(_, Bounds::OfDatagrams) => {}
            Self::Bare(Bounds::Counted) | Self::Request(_, Bounds::Counted) => {
                head.copy_from_slice(&len.to_be_bytes());
            }
        }
    }
}

/// What a peer sent, if a message carries that, and by which channel.
pub(super) fn read(message: &[u8]) -> Option<(Option<ChannelNumber>, &[u8])> {
    if message.first().is_some_and(|first| first & 0xC0 == 0x40) {
        let (channel, data) = channel_data::decode(message).ok()?;
        return Some((Some(channel), data));
    }
    if message.first_chunk() == Some(&DATA_INDICATION) {
        let (_, data) = indication::decode_data(message).ok()?;
        return Some((None, data));
    }
    None
}

/// The same in the old dialect: what is not the server's own word is bare data.
pub(super) fn read_legacy(message: &[u8]) -> Option<&[u8]> {
    if !is_of_server(message) {
        return Some(message);
    }
    ms_turn::answer::decode_data(message).map(|(_, data)| data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_indication_written_in_place_is_one() {
        for peer in ["192.0.2.1:7", "[2001:db8::1]:65535"] {
            let peer = PeerAddr::new(peer.parse().expect("an address"));
            let path = Path::Indication(peer);
            for len in [56_u16, 57, 58, 59, 172] {
                let head = path.head_len();
                let mut message = vec![0xAB; head + usize::from(len)];
                path.write_head(&mut message[..head], len, u64::MAX);
                message.resize(head + usize::from(len) + path.tail_len(len.into()), 0);
                let read = indication::decode_send(&message).expect("a Send indication");
                assert_eq!((read.peer, read.data.len(), read.data[0]), (peer, len.into(), 0xAB));
            }
        }
    }

    #[test]
    fn what_a_peer_sent_is_told_from_control() {
        let channel = ChannelNumber::new(0x4002).expect("a channel");
        let path = Path::Channel(channel);
        let mut message = vec![7; 60];
        path.write_head(&mut message[..4], 56, 0);
        assert_eq!(read(&message), Some((Some(channel), &[7; 56][..])));
        let mut data = vec![7; 36 + 56];
        let peer = PeerAddr::new("192.0.2.1:7".parse().expect("an address"));
        let id = TransactionId::with_cookie([1; 12]);
        indication::write_data_header(&mut data[..36], id, peer, 56).expect("room");
        assert_eq!(read(&data), Some((None, &[7; 56][..])));
        for other in [&[][..], &[0x40], &[0x00, 0x17], &[0x01, 0x01, 0, 0], &[0x80; 60]] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}
