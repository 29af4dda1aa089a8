//! What is done with a packet.

use std::ops::Range;

use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;

/// What is done with a datagram that came to a listener.
#[derive(Debug, PartialEq, Eq)]
pub enum FromClient<'a> {
    /// Send `data` to `peer` from the relay socket of `relay`.
    ToPeer {
        /// Whose relay socket.
        relay: RelayId,
        /// Where to: for a relayed address of this server in the form in which it is bound.
        peer: PeerAddr,
        /// Application data, in place.
        data: &'a [u8],
        /// The IP header's fields.
        header: IpHeader,
    },
    /// A STUN request of a five-tuple that has an allocation.
    LiveRequest,
    /// A STUN request of a five-tuple that has none.
    StrangerRequest,
    /// Nothing.
    Drop(DropReason),
}

/// What is done with a datagram that came to a relay socket.
#[derive(Debug, PartialEq, Eq)]
pub enum FromPeer {
    /// Send the bytes `frame` of the buffer to the client, from the listener it uses.
    ToClient {
        /// The client's side.
        to: FiveTuple,
        /// The message: header, application data, padding.
        frame: Range<usize>,
        /// The IP header's fields.
        header: IpHeader,
    },
    /// Nothing.
    Drop(DropReason),
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident => $word:literal,)*) => {
        /// Why a packet went nowhere. Each is a counter by its word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word of the metric's label.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The place of the reason in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    /// First bytes of no protocol that is spoken here.
    Unclassified => "unclassified",
    /// A message whose frame is broken.
    Malformed => "malformed",
    /// A success or error response, which a server never asked for.
    UnexpectedAnswer => "unexpected_answer",
    /// ChannelData or an indication of a five-tuple without an allocation.
    NoAllocation => "no_allocation",
    /// The allocation's time is over.
    AllocationExpired => "allocation_expired",
    /// ChannelData on a channel that is not bound.
    NoChannel => "no_channel",
    /// ChannelData on a channel whose time is over.
    ChannelExpired => "channel_expired",
    /// An indication of another method than Send.
    UnknownIndication => "unknown_indication",
    /// A Send indication without XOR-PEER-ADDRESS or DATA, or with an attribute that must be understood
    /// and is not.
    BadSend => "bad_send",
    /// No permission for the peer's address.
    NoPermission => "no_permission",
    /// The permission's time is over.
    PermissionExpired => "permission_expired",
    /// The peer policy forbids this address and port.
    ForbiddenPeer => "forbidden_peer",
    /// The peer is of another address family than the relayed address.
    PeerFamily => "peer_family",
    /// Larger than can be passed on.
    TooLarge => "too_large",
    /// An event for a relay that is gone.
    StaleRelay => "stale_relay",
    /// A request that found its ring to the control task full.
    RequestRingFull => "request_ring_full",
    /// The socket to send from could not take it.
    SendFailed => "send_failed",
    /// A request of a five-tuple without an allocation that is no message.
    StrangerMalformed => "stranger_malformed",
    /// An answer to a five-tuple without an allocation that its source has not paid for.
    StrangerBudget => "stranger_budget",
    /// Its hop limit is used up.
    HopLimit => "hop_limit",
    /// It may not be fragmented and is longer than the link.
    LinkMtu => "link_mtu",
    /// The allocation has used up its bandwidth.
    AllocationBandwidth => "allocation_bandwidth",
    /// The allocations of the user together have used up theirs.
    UserBandwidth => "user_bandwidth",
    /// The client's connection takes no more, because its reader is slow.
    StreamFull => "stream_full",
    /// Bare data on a five-tuple of [MS-TURN] that has set no active destination.
    NoDestination => "no_destination",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_word_and_place() {
        let words: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
