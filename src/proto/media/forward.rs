//! One packet, one verdict.
//!
//! A datagram leaves towards a peer only if its allocation lives, the peer's address is permitted, and the
//! peer policy lets it go to this address and port. On the way back the policy is not asked: a permission is
//! only ever granted for an address of which some port passed it, and what a permitted address sends reaches
//! nobody but the client that asked for it, at the five-tuple it asked from. The client can provoke no answer
//! from a forbidden port, because nothing of its own goes there.

use std::ops::Range;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::limits::DATAGRAM_MAX;
#[cfg(doc)]
use crate::proto::wire::DATA_HEADER_MAX;
use crate::proto::wire::TransactionId;
use crate::proto::wire::channel_data;
use crate::proto::wire::classify::Class;
use crate::proto::wire::classify::classify;
use crate::proto::wire::indication;
use crate::proto::wire::indication::Refused;

use super::DropReason;
use super::FromClient;
use super::FromPeer;
use super::Table;
use super::allocation::Allocation;
use super::client::Client;
use super::client::Located;
use super::header;
use super::legacy;

/// Judges a datagram that a client sent to a listener; `arrived` is what its IP header says.
pub fn from_client<'a>(
    table: &Table,
    tick: Tick,
    from: &FiveTuple,
    arrived: IpHeader,
    datagram: &'a [u8],
) -> FromClient<'a> {
    from_located(table, tick, (from, table.locate(from)), arrived, datagram)
}

/// The same of a client that [`Table::locate`] found, since when the table has not been changed.
#[inline]
pub fn from_located<'a>(
    table: &Table,
    tick: Tick,
    (from, at): (&FiveTuple, Located),
    arrived: IpHeader,
    datagram: &'a [u8],
) -> FromClient<'a> {
    let client = table.located(at, from);
    match (classify(datagram, client.map(Client::dialect)), client) {
        (Class::ChannelData, Some(client)) => {
            outward(table, from, client, channel_data_to_peer(table, tick, client, arrived, datagram))
        }
        (Class::Indication, Some(client)) => {
            outward(table, from, client, send_to_peer(table, tick, client, arrived, datagram))
        }
        (Class::ChannelData | Class::Indication, None) => FromClient::Drop(DropReason::NoAllocation),
        (Class::Unknown, _) => FromClient::Drop(DropReason::Unclassified),
        // A stream stays in its dialect for life; those of [MS-TURN] are judged by `legacy::from_stream`.
        (Class::Legacy, _) if from.transport.is_stream() => FromClient::Drop(DropReason::Malformed),
        (Class::Legacy, Some(_)) => FromClient::LiveRequest,
        (Class::Legacy, None) => FromClient::StrangerRequest,
        // Only said of a five-tuple that has an allocation.
        (Class::LegacyData, None) => FromClient::Drop(DropReason::NoAllocation),
        (Class::LegacyData, Some(client)) => {
            outward(table, from, client, legacy::raw_to_peer(table, tick, client, arrived, datagram))
        }
        (Class::Answer, _) => FromClient::Drop(DropReason::UnexpectedAnswer),
        // Also when its time is over: until control has removed it, what to answer is control's to say.
        (Class::Request, Some(_)) => FromClient::LiveRequest,
        (Class::Request, None) | (Class::ClassicBinding, _) => FromClient::StrangerRequest,
    }
}

/// What is `judged` of data that `client` sent from `from`. Each way by itself, so that no verdict is moved about.
#[inline]
fn outward<'a>(
    table: &Table,
    from: &FiveTuple,
    client: Client<'_>,
    judged: Result<FromClient<'a>, DropReason>,
) -> FromClient<'a> {
    match judged {
        Ok(verdict) => {
            table.note_data_from(client, from);
            verdict
        }
        Err(reason) => FromClient::Drop(reason),
    }
}

/// Judges the datagram `payload` of `buffer` that came from `source` to the relayed address of `relay` with the IP
/// header `arrived`, and writes
/// the client's framing around it: in front of `payload.start` there must be [`DATA_HEADER_MAX`]
/// bytes of room, behind `payload.end` [`indication::DATA_PADDING_MAX`]. Where there is less, a packet that
/// needs more is [`DropReason::TooLarge`].
///
/// ```text
/// before: │      headroom      │ payload │ room │
/// after:  │    │ channel, len  │ payload │            a live channel is bound to exactly this peer
///         │ Data indication    │ payload │ 0-3  │     else
///         │                    │ payload │            [MS-TURN]: it is the active destination
///         │ Data Indication    │ payload │            [MS-TURN]: else
/// ```
///
/// On a stream ChannelData is padded, and [MS-TURN] has four bytes more in front of either.
pub fn from_peer(
    table: &Table,
    tick: Tick,
    relay: RelayId,
    source: PeerAddr,
    arrived: IpHeader,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> FromPeer {
    let judged = Inward::find(table, tick, relay, source, arrived).and_then(|inward| {
        inward.charge(tick, payload.len())?;
        let frame = inward.frame(buffer, payload)?;
        Ok(FromPeer::ToClient { to: *inward.to, frame, header: inward.header })
    });
    judged.unwrap_or_else(FromPeer::Drop)
}

/// The way in from one peer to one client: what is the same for all datagrams that came with one IP header.
#[derive(Clone, Copy, Debug)]
pub struct Inward<'t> {
    table: &'t Table,
    allocation: &'t Allocation,
    peer: PeerAddr,
    channel: Option<ChannelNumber>,
    /// The client's side.
    pub to: &'t FiveTuple,
    /// The IP header's fields of what leaves.
    pub header: IpHeader,
}

impl<'t> Inward<'t> {
    /// The way of what comes from `source` to the relayed address of `relay` with the IP header `arrived`.
    ///
    /// # Errors
    /// Why there is none.
    #[inline]
    pub fn find(
        table: &'t Table,
        tick: Tick,
        relay: RelayId,
        source: PeerAddr,
        arrived: IpHeader,
    ) -> Result<Self, DropReason> {
        let allocation = table.of_relay(relay).ok_or(DropReason::StaleRelay)?;
        let peer = table.name_of(source);
        allocation.live(tick)?.admit(peer, tick)?;
        let to = allocation.five_tuple();
        let header = header::to_client(arrived, peer, to)?;
        let channel = match allocation.dialect() {
            Dialect::Rfc8656 => allocation.channel_to(peer, tick),
            Dialect::MsTurn => None,
        };
        Ok(Self { table, allocation, peer, channel, to, header })
    }

    /// Takes one datagram of `bytes` bytes from the bandwidth, at the same tick.
    ///
    /// # Errors
    /// That it is used up.
    #[inline]
    pub fn charge(&self, tick: Tick, bytes: usize) -> Result<(), DropReason> {
        self.allocation.charge(tick, bytes)
    }

    /// The header of one datagram of `bytes` bytes where that is all its frame, and counts it: of a channel over UDP.
    #[must_use]
    pub fn channel_header(&self, bytes: usize) -> Option<[u8; channel_data::HEADER_LEN]> {
        let channel = self.channel.filter(|_| !self.to.transport.is_stream())?;
        let len = u16::try_from(bytes).ok().filter(|_| bytes + channel_data::HEADER_LEN <= DATAGRAM_MAX)?;
        self.allocation.count_to_client(bytes);
        Some(channel_data::header(channel, len))
    }

    /// Frames one datagram as [`from_peer`] does, and counts it. Answers where in `buffer` the message stands.
    ///
    /// # Errors
    /// [`DropReason::TooLarge`].
    #[inline]
    pub fn frame(&self, buffer: &mut [u8], payload: Range<usize>) -> Result<Range<usize>, DropReason> {
        let bytes = payload.len();
        let frame = match (self.allocation.dialect(), self.channel) {
            (Dialect::Rfc8656, Some(channel)) if self.to.transport.is_stream() => {
                frame_padded_channel_data(channel, buffer, payload)
            }
            (Dialect::Rfc8656, Some(channel)) => frame_channel_data(channel, buffer, payload),
            (Dialect::Rfc8656, None) => {
                frame_data_indication(self.table.fresh_transaction(), self.peer, buffer, payload)
            }
            (Dialect::MsTurn, _) => {
                legacy::frame(self.allocation, self.table.fresh_transaction(), self.peer, buffer, payload)
            }
        }
        .ok_or(DropReason::TooLarge)?;
        self.allocation.count_to_client(bytes);
        Ok(frame)
    }
}

/// RFC 8656 § 12.6.
fn channel_data_to_peer<'a>(
    table: &Table,
    tick: Tick,
    client: Client<'_>,
    arrived: IpHeader,
    datagram: &'a [u8],
) -> Result<FromClient<'a>, DropReason> {
    client.live(tick)?;
    let (number, data) = channel_data::decode(datagram).map_err(|_| DropReason::Malformed)?;
    let outward = Outward::find(table, tick, client, arrived, number)?;
    outward.charge(tick, data.len())?;
    Ok(FromClient::ToPeer { relay: outward.relay, peer: outward.peer, data, header: outward.header })
}

/// The way out by one channel: what is the same for all datagrams on it that came with one IP header.
#[derive(Clone, Copy, Debug)]
pub struct Outward<'t> {
    allocation: &'t Allocation,
    number: ChannelNumber,
    /// Whose relay socket it leaves from.
    pub relay: RelayId,
    /// Where to: for a relayed address of this server in the form in which it is bound.
    pub peer: PeerAddr,
    /// The IP header's fields of what leaves.
    pub header: IpHeader,
}

impl<'t> Outward<'t> {
    /// The way by the channel `number` of a client that lives.
    #[inline]
    fn find(
        table: &Table,
        tick: Tick,
        client: Client<'t>,
        arrived: IpHeader,
        number: ChannelNumber,
    ) -> Result<Self, DropReason> {
        let (allocation, channel) = client.channel(number, tick)?;
        allocation.admit(channel.peer, tick)?;
        if !table.may_reach_by(channel) {
            return Err(DropReason::ForbiddenPeer);
        }
        let header = header::to_peer(arrived, allocation.five_tuple(), channel.peer, false)?;
        let peer = table.way_to(channel.peer);
        Ok(Self { allocation, number, relay: allocation.relay(), peer, header })
    }

    /// The way of `datagram` and of those behind it that follow it ([`Self::follow`]); `None` if it is none of the usual kind,
    /// which is [`from_located`]'s to judge.
    #[must_use]
    pub fn of(
        table: &'t Table,
        tick: Tick,
        (from, at): (&FiveTuple, Located),
        arrived: IpHeader,
        datagram: &[u8],
    ) -> Option<Self> {
        let client = table.located(at, from).filter(|client| client.dialect() == Dialect::Rfc8656)?;
        let (number, _) = channel_data::decode(datagram).ok()?;
        if table.is_awaiting(client) {
            return None;
        }
        Self::find(table, tick, client.live(tick).ok()?, arrived, number).ok()
    }

    /// The data of a datagram that goes the same way.
    #[must_use]
    pub fn follow<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (number, data) = channel_data::decode(datagram).ok()?;
        (number == self.number).then_some(data)
    }

    /// Takes one datagram of `bytes` bytes from the bandwidth, at the same tick, and counts it.
    ///
    /// # Errors
    /// That it is used up.
    #[inline]
    pub fn charge(&self, tick: Tick, bytes: usize) -> Result<(), DropReason> {
        self.allocation.charge(tick, bytes)?;
        self.allocation.count_to_peer(bytes);
        Ok(())
    }
}

/// RFC 8656 § 11.2.
fn send_to_peer<'a>(
    table: &Table,
    tick: Tick,
    client: Client<'_>,
    arrived: IpHeader,
    datagram: &'a [u8],
) -> Result<FromClient<'a>, DropReason> {
    client.live(tick)?;
    let send = indication::decode_send(datagram).map_err(|refused| match refused {
        Refused::Malformed(_) => DropReason::Malformed,
        Refused::NotSend => DropReason::UnknownIndication,
        Refused::Incomplete | Refused::UnknownAttribute => DropReason::BadSend,
    })?;
    let allocation = client.to(send.peer.family(), tick)?;
    allocation.admit(send.peer, tick)?;
    if !table.may_reach(send.peer) {
        return Err(DropReason::ForbiddenPeer);
    }
    let header = header::to_peer(arrived, allocation.five_tuple(), send.peer, send.dont_fragment)?;
    allocation.charge(tick, send.data.len())?;
    allocation.count_to_peer(send.data.len());
    Ok(FromClient::ToPeer {
        relay: allocation.relay(),
        peer: table.way_to(send.peer),
        data: send.data,
        header,
    })
}

/// Over UDP no padding is needed (RFC 8656 § 12.5).
fn frame_channel_data(
    channel: ChannelNumber,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Option<Range<usize>> {
    let start = payload.start.checked_sub(channel_data::HEADER_LEN)?;
    let len = u16::try_from(buffer.get(payload.clone())?.len()).ok()?;
    let frame = whole_frame(start..payload.end, buffer)?;
    buffer[start..payload.start].copy_from_slice(&channel_data::header(channel, len));
    Some(frame)
}

/// On a stream the message is padded, so that the next one can be found (RFC 8656 § 12.5).
fn frame_padded_channel_data(
    channel: ChannelNumber,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Option<Range<usize>> {
    let frame = frame_channel_data(channel, buffer, payload)?;
    let end = frame.end.checked_add(frame.len().next_multiple_of(4) - frame.len())?;
    buffer.get_mut(frame.end..end)?.fill(0);
    whole_frame(frame.start..end, buffer)
}

/// RFC 8656 § 11.3. The padding is zero, so that nothing of an earlier packet leaks.
fn frame_data_indication(
    transaction: TransactionId,
    peer: PeerAddr,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Option<Range<usize>> {
    let len = u16::try_from(buffer.get(payload.clone())?.len()).ok()?;
    let padding = payload.end..payload.end.checked_add(payload.len().next_multiple_of(4) - payload.len())?;
    let headroom = buffer.get_mut(..payload.start)?;
    let header = indication::write_data_header(headroom, transaction, peer, len).ok()?;
    let frame = whole_frame(payload.start.checked_sub(header)?..padding.end, buffer)?;
    buffer[padding].fill(0);
    Some(frame)
}

/// `frame`, if it lies in `buffer` and fits a datagram.
pub(super) fn whole_frame(frame: Range<usize>, buffer: &[u8]) -> Option<Range<usize>> {
    (buffer.get(frame.clone())?.len() <= DATAGRAM_MAX).then_some(frame)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prelude::prop_assert;
    use proptest::prelude::prop_assert_eq;
    use proptest::proptest;

    use crate::proto::media::Bandwidth;
    use crate::proto::media::Bucket;
    use crate::proto::media::Counters;
    use crate::proto::media::ExternalAddresses;
    use crate::proto::media::TableChange;
    use crate::proto::media::TableConfig;
    use crate::proto::media::fixture::*;
    use crate::proto::peers::PolicyBuilder;
    use crate::proto::peers::Unlisted;
    use crate::proto::types::Rate;
    use crate::proto::types::Transport;
    use crate::proto::wire::indication::DATA_HEADER_MAX;
    use crate::proto::wire::indication::DATA_PADDING_MAX;

    use super::*;

    const OVER_V4: RelayId = RelayId { index: 3, generation: 7 };
    const OVER_V6: RelayId = RelayId { index: 0, generation: 1 };
    const CLIENT_OF_V4: u16 = 1004;
    const CLIENT_OF_V6: u16 = 1006;
    const STRANGER: u16 = 1999;
    /// Of a datagram of which nothing is known, and which shall not be fragmented.
    const WHOLE: IpHeader = IpHeader { hop_limit: None, traffic_class: 0, dont_fragment: true };

    /// Allocations until 1000 ms, permissions until 500, channels until 800, except where a case needs
    /// another end.
    fn world(strict: bool) -> Table {
        let mut table = table(strict);
        let changes = [
            insert(OVER_V4, client(CLIENT_OF_V4), "198.51.100.1:50000", 1_000),
            insert(OVER_V6, client(CLIENT_OF_V6), "[2001:db8:ffff::1]:50000", 1_000),
            permit(OVER_V4, "203.0.113.1", 500),
            permit(OVER_V4, "203.0.113.66", 500),
            permit(OVER_V4, "192.0.2.99", 500),
            permit(OVER_V4, "198.51.100.1", 500),
            permit(OVER_V4, "2001:db8:1::1", 500),
            permit(OVER_V6, "2001:db8:1::1", 500),
            permit(OVER_V6, "203.0.113.1", 500),
            permit(OVER_V4, "203.0.113.2", 500),
            bind(OVER_V4, 0x4000, "203.0.113.2:2000", 800),
            bind(OVER_V4, 0x4001, "203.0.113.66:53", 800),
            bind(OVER_V4, 0x4002, "198.51.100.1:50001", 800),
            bind(OVER_V4, 0x4003, "[2001:db8:1::1]:2000", 800),
            bind(OVER_V4, 0x4004, "203.0.113.5:2000", 2_000),
            bind(OVER_V4, 0x4FFF, "203.0.113.66:54", 800),
            bind(OVER_V6, 0x4000, "[2001:db8:1::2]:2000", 800),
            TableChange::OwnRelay { address: socket("198.51.100.1:50000"), live: true },
        ];
        for change in changes {
            table.apply(change);
        }
        table
    }

    fn sent<'a>(relay: RelayId, to: &str, data: &'a [u8]) -> FromClient<'a> {
        FromClient::ToPeer { relay, peer: peer(to), data, header: IpHeader::default() }
    }

    const fn dropped(reason: DropReason) -> FromClient<'static> {
        FromClient::Drop(reason)
    }

    /// RFC 8656 § 12.5.
    #[test]
    fn channel_data_into_a_stream_is_padded_to_whole_words_with_zeros_and_says_its_length_without() {
        let mut table = table(false);
        let from = FiveTuple { transport: Transport::Tcp, ..client(CLIENT_OF_V4) };
        table.apply(insert(OVER_V4, from, "198.51.100.1:50000", 1_000));
        table.apply(bind(OVER_V4, 0x4000, "203.0.113.2:2000", 800));
        let judge = |buffer: &mut [u8], payload| {
            from_peer(&table, at(0), OVER_V4, peer("203.0.113.2:2000"), IpHeader::default(), buffer, payload)
        };
        for len in 0..=8 {
            let data = vec![7; len];
            let (mut buffer, payload) = received(&data);
            let FromPeer::ToClient { to, frame, .. } = judge(&mut buffer, payload) else {
                panic!("{len} bytes were dropped")
            };
            let mut padded = channel_data(0x4000, &data);
            padded.resize(padded.len().next_multiple_of(4), 0);
            assert_eq!((to, &buffer[frame]), (from, &padded[..]));
        }
        let (mut buffer, payload) = received(b"hi");
        buffer.truncate(payload.end + 1);
        assert!(matches!(judge(&mut buffer, payload), FromPeer::Drop(DropReason::TooLarge)));
    }

    /// Every verdict on a client's datagram: when, whose, what, verdict.
    // proves rfc8656:5-11, rfc8656:9-7, rfc8656:11.2-4, rfc8656:12-4, rfc8656:12-5
    #[test]
    fn each_datagram_of_a_client_gets_its_verdict() {
        use DropReason::*;
        let hi = |number| channel_data(number, b"hi");
        let (v4, v6, request) = (CLIENT_OF_V4, CLIENT_OF_V6, stun(0x0001, TRANSACTION, b""));
        let unknown_required =
            [xor_peer(TRANSACTION, peer("203.0.113.1:9")), attribute(0x7FFF, b""), attribute(0x0013, b"hi")];
        let unfragmented = |to| {
            let attributes =
                [xor_peer(TRANSACTION, peer(to)), attribute(0x001A, b""), attribute(0x0013, b"hi")];
            stun(0x0016, TRANSACTION, &attributes.concat())
        };
        let cases: Vec<(&str, u64, u16, Vec<u8>, FromClient<'static>)> = vec![
            ("channel", 0, v4, hi(0x4000), sent(OVER_V4, "203.0.113.2:2000", b"hi")),
            ("highest channel", 0, v4, hi(0x4FFF), sent(OVER_V4, "203.0.113.66:54", b"hi")),
            ("channel over v6", 0, v6, hi(0x4000), sent(OVER_V6, "[2001:db8:1::2]:2000", b"hi")),
            ("empty data is data", 0, v4, channel_data(0x4000, b""), sent(OVER_V4, "203.0.113.2:2000", b"")),
            (
                "padding is no data",
                0,
                v4,
                [hi(0x4000), vec![9, 9]].concat(),
                sent(OVER_V4, "203.0.113.2:2000", b"hi"),
            ),
            (
                "channel outlives its permission",
                500,
                v4,
                hi(0x4000),
                sent(OVER_V4, "203.0.113.2:2000", b"hi"),
            ),
            ("channel's last millisecond", 799, v4, hi(0x4000), sent(OVER_V4, "203.0.113.2:2000", b"hi")),
            ("channel's end", 800, v4, hi(0x4000), dropped(ChannelExpired)),
            ("channel of another allocation", 0, v6, hi(0x4001), dropped(NoChannel)),
            ("channel never bound", 0, v4, hi(0x4ABC), dropped(NoChannel)),
            ("forbidden port by channel", 0, v4, hi(0x4001), dropped(ForbiddenPeer)),
            ("dead own relay by channel", 0, v4, hi(0x4002), dropped(ForbiddenPeer)),
            ("other family by channel", 0, v4, hi(0x4003), dropped(PeerFamily)),
            ("channel data cut short", 0, v4, vec![0x40, 0, 0, 3, 1, 2], dropped(Malformed)),
            ("channel header cut short", 0, v4, vec![0x40, 0], dropped(Malformed)),
            (
                "channel outlives the allocation: last ms",
                999,
                v4,
                hi(0x4004),
                sent(OVER_V4, "203.0.113.5:2000", b"hi"),
            ),
            ("channel outlives the allocation: its end", 1_000, v4, hi(0x4004), dropped(AllocationExpired)),
            ("stranger's channel data", 0, STRANGER, hi(0x4000), dropped(NoAllocation)),
            ("send", 0, v4, send("203.0.113.1:9", b"hey"), sent(OVER_V4, "203.0.113.1:9", b"hey")),
            (
                "send to any port",
                0,
                v4,
                send("203.0.113.1:65535", b""),
                sent(OVER_V4, "203.0.113.1:65535", b""),
            ),
            (
                "send over v6",
                0,
                v6,
                send("[2001:db8:1::1]:9", b"hey"),
                sent(OVER_V6, "[2001:db8:1::1]:9", b"hey"),
            ),
            (
                "send where a channel is, at another port",
                0,
                v4,
                send("203.0.113.2:9", b"x"),
                sent(OVER_V4, "203.0.113.2:9", b"x"),
            ),
            (
                "channel keeps its address permitted",
                799,
                v4,
                send("203.0.113.2:9", b"x"),
                sent(OVER_V4, "203.0.113.2:9", b"x"),
            ),
            ("and no longer", 800, v4, send("203.0.113.2:9", b"x"), dropped(PermissionExpired)),
            (
                "permission's last millisecond",
                499,
                v4,
                send("203.0.113.1:9", b"x"),
                sent(OVER_V4, "203.0.113.1:9", b"x"),
            ),
            ("permission's end", 500, v4, send("203.0.113.1:9", b"x"), dropped(PermissionExpired)),
            ("no permission", 0, v4, send("203.0.113.77:9", b"x"), dropped(NoPermission)),
            (
                "permission of another allocation",
                0,
                v6,
                send("[2001:db8:1::3]:9", b"x"),
                dropped(NoPermission),
            ),
            ("forbidden port", 0, v4, send("203.0.113.66:53", b"x"), dropped(ForbiddenPeer)),
            ("its neighbour", 0, v4, send("203.0.113.66:55", b"x"), sent(OVER_V4, "203.0.113.66:55", b"x")),
            ("permitted yet forbidden", 0, v4, send("192.0.2.99:9", b"x"), dropped(ForbiddenPeer)),
            (
                "live own relay",
                0,
                v4,
                send("198.51.100.1:50000", b"x"),
                sent(OVER_V4, "198.51.100.1:50000", b"x"),
            ),
            ("dead own relay", 0, v4, send("198.51.100.1:50001", b"x"), dropped(ForbiddenPeer)),
            ("own listener", 0, v4, send("198.51.100.1:3478", b"x"), dropped(ForbiddenPeer)),
            ("v6 peer from v4", 0, v4, send("[2001:db8:1::1]:9", b"x"), dropped(PeerFamily)),
            ("v4 peer from v6", 0, v6, send("203.0.113.1:9", b"x"), dropped(PeerFamily)),
            (
                "send when the allocation ends",
                1_000,
                v4,
                send("203.0.113.1:9", b"x"),
                dropped(AllocationExpired),
            ),
            ("stranger's send", 0, STRANGER, send("203.0.113.1:9", b"x"), dropped(NoAllocation)),
            (
                "data from a client",
                0,
                v4,
                data_indication(TRANSACTION, peer("203.0.113.1:9"), b"x"),
                dropped(UnknownIndication),
            ),
            ("binding indication", 0, v4, stun(0x0011, TRANSACTION, b""), dropped(UnknownIndication)),
            (
                "send of nothing",
                0,
                v4,
                stun(0x0016, TRANSACTION, &xor_peer(TRANSACTION, peer("203.0.113.1:9"))),
                dropped(BadSend),
            ),
            ("send to nobody", 0, v4, stun(0x0016, TRANSACTION, &attribute(0x0013, b"x")), dropped(BadSend)),
            (
                "send with an unknown demand",
                0,
                v4,
                stun(0x0016, TRANSACTION, &unknown_required.concat()),
                dropped(BadSend),
            ),
            (
                "DONT-FRAGMENT from v4 to v4",
                0,
                v4,
                unfragmented("203.0.113.1:9"),
                FromClient::ToPeer {
                    relay: OVER_V4,
                    peer: peer("203.0.113.1:9"),
                    data: b"hi",
                    header: WHOLE,
                },
            ),
            (
                "DONT-FRAGMENT from v4 to v6",
                0,
                v6,
                unfragmented("[2001:db8:1::1]:9"),
                sent(OVER_V6, "[2001:db8:1::1]:9", b"hi"),
            ),
            ("send cut short", 0, v4, send("203.0.113.1:9", b"hello")[..30].to_vec(), dropped(Malformed)),
            ("request", 0, v4, request.clone(), FromClient::LiveRequest),
            ("request after the end", 1_000, v4, request.clone(), FromClient::LiveRequest),
            ("stranger's request", 0, STRANGER, request.clone(), FromClient::StrangerRequest),
            ("success response", 0, v4, stun(0x0101, TRANSACTION, b""), dropped(UnexpectedAnswer)),
            ("error response", 0, STRANGER, stun(0x0111, TRANSACTION, b""), dropped(UnexpectedAnswer)),
            ("nothing", 0, v4, vec![], dropped(Unclassified)),
            ("DTLS", 0, v4, vec![22, 254, 253, 0, 0, 0, 0, 0], dropped(Unclassified)),
            ("RTP", 0, STRANGER, vec![0x80; 40], dropped(Unclassified)),
            ("channel of RFC 5766 that is not granted", 0, v4, vec![0x50, 0, 0, 0], dropped(NoChannel)),
        ];
        let table = world(false);
        for (name, millis, from, datagram, verdict) in cases {
            assert_eq!(
                from_client(&table, at(millis), &client(from), IpHeader::default(), &datagram),
                verdict,
                "{name}"
            );
        }
    }

    // proves rfc8656:9-3, rfc8656:12.6-5
    #[test]
    fn strict_permissions_end_while_the_channel_goes_on() {
        let table = world(true);
        let v4 = client(CLIENT_OF_V4);
        let by_channel = channel_data(0x4000, b"hi");
        let to_peer = sent(OVER_V4, "203.0.113.2:2000", b"hi");
        assert_eq!(from_client(&table, at(499), &v4, IpHeader::default(), &by_channel), to_peer);
        assert_eq!(
            from_client(&table, at(500), &v4, IpHeader::default(), &by_channel),
            dropped(DropReason::PermissionExpired)
        );
        // 0x4004 was bound without a Permit.
        let unpermitted = channel_data(0x4004, b"hi");
        assert_eq!(
            from_client(&table, at(0), &v4, IpHeader::default(), &unpermitted),
            dropped(DropReason::NoPermission)
        );
        let (mut buffer, payload) = received(b"yo");
        let back = from_peer(
            &table,
            at(500),
            OVER_V4,
            peer("203.0.113.2:2000"),
            IpHeader::default(),
            &mut buffer,
            payload,
        );
        assert_eq!(back, FromPeer::Drop(DropReason::PermissionExpired));
    }

    #[test]
    fn an_own_relay_is_a_peer_exactly_while_it_lives() {
        let mut table = world(false);
        let (v4, by_channel) = (client(CLIENT_OF_V4), channel_data(0x4002, b"hi"));
        let by_send = send("198.51.100.1:50001", b"hi");
        for live in [false, true, true, false] {
            let address = socket("198.51.100.1:50001");
            table.apply(TableChange::OwnRelay { address, live });
            for datagram in [&by_channel, &by_send] {
                let verdict = from_client(&table, at(0), &v4, IpHeader::default(), datagram);
                let expected = if live {
                    sent(OVER_V4, "198.51.100.1:50001", b"hi")
                } else {
                    dropped(DropReason::ForbiddenPeer)
                };
                assert_eq!(verdict, expected, "live: {live}");
            }
        }
    }

    /// What `from_peer` makes of `payload`: the reason, or the whole message that the client gets.
    fn arrive(
        table: &Table,
        millis: u64,
        relay: RelayId,
        from: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, DropReason> {
        let (mut buffer, place) = received(payload);
        match from_peer(table, at(millis), relay, peer(from), IpHeader::default(), &mut buffer, place.clone())
        {
            FromPeer::Drop(reason) => Err(reason),
            FromPeer::ToClient { to, frame, header } => {
                let port = if relay == OVER_V4 { CLIENT_OF_V4 } else { CLIENT_OF_V6 };
                assert_eq!((to, header), (client(port), IpHeader::default()));
                assert_eq!(&buffer[place], payload, "data stays in place");
                Ok(buffer[frame].to_vec())
            }
        }
    }

    /// The same, where a Data indication is due.
    fn arrive_as_data(table: &Table, millis: u64, relay: RelayId, from: &str, payload: &[u8]) -> [u8; 12] {
        let message = arrive(table, millis, relay, from, payload).unwrap();
        let transaction: [u8; 12] = message[8..20].try_into().unwrap();
        assert_eq!(message, data_indication(transaction, peer(from), payload));
        transaction
    }

    /// A datagram by itself and one that follows another are judged alike.
    #[test]
    fn the_way_out_of_a_run_is_that_of_each_of_its_datagrams() {
        let table = world(false);
        let mut ways = 0;
        for from in [client(CLIENT_OF_V4), client(CLIENT_OF_V6), client(STRANGER)] {
            let located = (&from, table.locate(&from));
            for millis in [0, 499, 500, 799, 800, 999, 1_000] {
                for hop_limit in [None, Some(1), Some(64)] {
                    let arrived = IpHeader { hop_limit, traffic_class: 0xB8, dont_fragment: true };
                    let bound = (0x4000..0x4006).chain([0x4FFF]);
                    let mut datagrams: Vec<_> = bound.map(|number| channel_data(number, b"hi")).collect();
                    datagrams.push([&channel_data(0x4000, b"padded")[..], &[0, 0]].concat());
                    datagrams.push(channel_data(0x4000, b"")[..3].to_vec());
                    datagrams.push(channel_data(0x4000, b"cut")[..6].to_vec());
                    for datagram in datagrams {
                        let verdict = from_client(&table, at(millis), &from, arrived, &datagram);
                        let Some(way) = Outward::of(&table, at(millis), located, arrived, &datagram) else {
                            assert!(matches!(verdict, FromClient::Drop(_)), "{datagram:?}: {verdict:?}");
                            continue;
                        };
                        let Outward { relay, peer, header, .. } = way;
                        let data = way.follow(&datagram).expect("it follows itself");
                        assert_eq!(verdict, FromClient::ToPeer { relay, peer, data, header });
                        for other in [channel_data(0x4ABC, b"hi"), datagram[..3].to_vec(), Vec::new()] {
                            assert_eq!(way.follow(&other), None, "{other:?}");
                        }
                        ways += 1;
                    }
                }
            }
        }
        assert!(ways > 40, "{ways}");
    }

    // proves rfc8656:9-5, rfc8656:9-6, rfc8656:11.3-1, rfc8656:11.3-2, rfc8656:12.5-1
    #[test]
    fn each_datagram_of_a_peer_gets_its_verdict() {
        use DropReason::*;
        let table = world(false);
        let framed = |number| Ok(channel_data(number, b"yo"));
        let cases = [
            ("channel", 0, OVER_V4, "203.0.113.2:2000", framed(0x4000)),
            ("channel over v6", 0, OVER_V6, "[2001:db8:1::2]:2000", framed(0x4000)),
            ("channel's last millisecond", 799, OVER_V4, "203.0.113.2:2000", framed(0x4000)),
            ("channel's end is its permission's", 800, OVER_V4, "203.0.113.2:2000", Err(PermissionExpired)),
            ("channel outlives the allocation", 1_000, OVER_V4, "203.0.113.5:2000", Err(AllocationExpired)),
            ("the way in asks no policy", 0, OVER_V4, "203.0.113.66:53", framed(0x4001)),
            ("permission's end", 500, OVER_V4, "203.0.113.1:9", Err(PermissionExpired)),
            ("no permission", 0, OVER_V4, "203.0.113.77:9", Err(NoPermission)),
            ("permission of another", 0, OVER_V6, "[2001:db8:1::3]:9", Err(NoPermission)),
            ("other family", 0, OVER_V4, "[2001:db8:1::1]:2000", Err(PeerFamily)),
            ("older generation", 0, relay(3, 6), "203.0.113.2:2000", Err(StaleRelay)),
            ("newer generation", 0, relay(3, 8), "203.0.113.2:2000", Err(StaleRelay)),
            ("empty place", 0, relay(1, 0), "203.0.113.2:2000", Err(StaleRelay)),
            ("place out of range", 0, relay(u32::MAX, 0), "203.0.113.2:2000", Err(StaleRelay)),
        ];
        for (name, millis, relay, from, verdict) in cases {
            assert_eq!(arrive(&table, millis, relay, from, b"yo"), verdict, "{name}");
        }
    }

    // proves rfc8656:11.3-3, rfc8656:11.3-4, rfc8656:18.4-1
    #[test]
    fn without_a_channel_to_exactly_this_port_data_comes_as_an_indication() {
        let table = world(false);
        arrive_as_data(&table, 0, OVER_V4, "203.0.113.1:9", b"yo");
        arrive_as_data(&table, 499, OVER_V4, "203.0.113.1:65535", b"");
        arrive_as_data(&table, 0, OVER_V4, "203.0.113.2:2001", b"the channel is to port 2000");
        arrive_as_data(&table, 0, OVER_V6, "[2001:db8:1::1]:9", b"yo");
        for len in 0..=8 {
            // The oracle's padding is zero, the room's former bytes were not.
            arrive_as_data(&table, 0, OVER_V6, "[2001:db8:1::1]:9", &vec![0xAB; len]);
        }
    }

    #[test]
    fn an_expired_channel_of_a_permitted_peer_falls_back_to_indications() {
        let mut table = world(false);
        table.apply(permit(OVER_V4, "203.0.113.2", 900));
        assert_eq!(arrive(&table, 799, OVER_V4, "203.0.113.2:2000", b"x"), Ok(channel_data(0x4000, b"x")));
        arrive_as_data(&table, 800, OVER_V4, "203.0.113.2:2000", b"x");
    }

    // proves rfc8489:5-4
    #[test]
    fn transaction_ids_do_not_repeat() {
        let table = world(false);
        let draw = |_| arrive_as_data(&table, 0, OVER_V4, "203.0.113.1:9", b"yo");
        let drawn: BTreeSet<_> = (0..1_000).map(draw).collect();
        assert_eq!(drawn.len(), 1_000);
        let halves: BTreeSet<_> = drawn.iter().flat_map(|id| [id[..4].to_vec(), id[8..].to_vec()]).collect();
        assert_eq!(halves.len(), 2_000, "each part of an id changes");
    }

    // proves rfc8489:6.1-6
    #[test]
    fn what_does_not_fit_a_datagram_with_its_header_is_too_large() {
        let mut table = world(false);
        table.apply(permit(OVER_V6, "2001:db8:1::1", 500));
        let by_channel = DATAGRAM_MAX - channel_data::HEADER_LEN;
        let by_v4 = DATAGRAM_MAX.next_multiple_of(4) - 4 - (20 + 12 + 4);
        let by_v6 = DATAGRAM_MAX.next_multiple_of(4) - 4 - DATA_HEADER_MAX;
        let cases = [
            (OVER_V4, "203.0.113.2:2000", by_channel),
            (OVER_V4, "203.0.113.1:9", by_v4),
            (OVER_V6, "[2001:db8:1::1]:9", by_v6),
        ];
        for (relay, from, max) in cases {
            let fits = arrive(&table, 0, relay, from, &vec![1; max]).unwrap();
            assert!(fits.len() <= DATAGRAM_MAX && fits.len() > DATAGRAM_MAX - 4);
            assert_eq!(arrive(&table, 0, relay, from, &vec![1; max + 1]), Err(DropReason::TooLarge));
            assert_eq!(arrive(&table, 0, relay, from, &vec![1; 65_536]), Err(DropReason::TooLarge));
        }
    }

    #[test]
    fn a_buffer_without_room_is_refused_and_not_overrun() {
        let table = world(false);
        let judge = |from: &str, buffer: &mut [u8], payload| {
            from_peer(&table, at(0), OVER_V4, peer(from), IpHeader::default(), buffer, payload)
        };
        let refused = FromPeer::Drop(DropReason::TooLarge);
        let (channel, none) = ("203.0.113.2:2000", "203.0.113.1:9");
        assert_eq!(judge(channel, &mut [0; 8], 3..8), refused);
        assert_eq!(judge(none, &mut [0; 64], 35..40), refused);
        assert_eq!(judge(none, &mut [0; 64], 61..63), refused, "padding");
        for from in [channel, none] {
            assert_eq!(judge(from, &mut [0; 64], 60..65), refused);
            assert_eq!(judge(from, &mut [0; 64], 100..usize::MAX), refused);
        }
        assert_eq!(table.counters(OVER_V4), Some(Counters::default()));
    }

    #[test]
    fn only_what_passed_is_counted() {
        let table = world(false);
        let v4 = client(CLIENT_OF_V4);
        for datagram in
            [channel_data(0x4000, b"four"), send("203.0.113.1:9", b"sixsix"), channel_data(0x4001, b"no")]
        {
            from_client(&table, at(0), &v4, IpHeader::default(), &datagram);
        }
        arrive(&table, 0, OVER_V4, "203.0.113.2:2000", b"channel").unwrap();
        arrive(&table, 0, OVER_V4, "203.0.113.1:9", b"data").unwrap();
        arrive(&table, 0, OVER_V4, "203.0.113.77:9", b"dropped").unwrap_err();
        let carried =
            Counters { to_peer_packets: 2, to_peer_bytes: 10, to_client_packets: 2, to_client_bytes: 11 };
        assert_eq!(table.counters(OVER_V4), Some(carried));
        assert_eq!(table.counters(OVER_V6), Some(Counters::default()));
    }

    /// Two relay addresses behind a NAT, two allocations of the first family and one of the second.
    fn behind_a_nat() -> Table {
        let pairs = [("10.0.0.5", "198.51.100.1"), ("fd00::5", "2001:db8:ffff::1")];
        let pairs = pairs.map(|(bind, external)| (bind.parse().unwrap(), external.parse().unwrap()));
        let policy = PolicyBuilder {
            default: Unlisted::None,
            allow: vec!["203.0.113.0/24".parse().unwrap()],
            own: pairs.iter().flat_map(|(bind, external)| [*bind, *external]).collect(),
            relay: pairs.map(|(_, external)| external).into(),
            ..PolicyBuilder::default()
        };
        let mut table = Table::new(TableConfig {
            policy: Arc::new(policy.build()),
            strict_permissions: true,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::new(pairs),
        });
        let own = |address| TableChange::OwnRelay { address: socket(address), live: true };
        for change in [
            insert(OVER_V4, client(CLIENT_OF_V4), "198.51.100.1:50000", 1_000),
            insert(OVER_V6, client(CLIENT_OF_V6), "[2001:db8:ffff::1]:50000", 1_000),
            permit(OVER_V4, "198.51.100.1", 500),
            permit(OVER_V4, "10.0.0.5", 500),
            permit(OVER_V4, "203.0.113.1", 500),
            permit(OVER_V6, "2001:db8:ffff::1", 500),
            bind(OVER_V4, 0x4000, "198.51.100.1:50001", 800),
            own("198.51.100.1:50000"),
            own("198.51.100.1:50001"),
            own("198.51.100.1:50002"),
            own("[2001:db8:ffff::1]:50001"),
        ] {
            table.apply(change);
        }
        table
    }

    #[test]
    fn an_own_relay_behind_a_nat_is_reached_as_it_is_bound() {
        let (table, v4, v6) = (behind_a_nat(), client(CLIENT_OF_V4), client(CLIENT_OF_V6));
        let judge =
            |client, datagram: &[u8]| match from_client(&table, at(0), client, IpHeader::default(), datagram)
            {
                FromClient::ToPeer { peer, .. } => Ok(peer.to_string()),
                FromClient::Drop(reason) => Err(reason),
                other => panic!("{other:?}"),
            };
        let by_channel = judge(&v4, &channel_data(0x4000, b"hi"));
        assert_eq!(by_channel, Ok("10.0.0.5:50001".to_owned()));
        assert_eq!(judge(&v4, &send("198.51.100.1:50002", b"hi")), Ok("10.0.0.5:50002".to_owned()));
        assert_eq!(judge(&v6, &send("[2001:db8:ffff::1]:50001", b"hi")), Ok("[fd00::5]:50001".to_owned()));
        assert_eq!(judge(&v4, &send("203.0.113.1:9", b"hi")), Ok("203.0.113.1:9".to_owned()));
        for dead in ["198.51.100.1:50003", "198.51.100.1:22", "10.0.0.5:50001", "10.0.0.5:22"] {
            assert_eq!(judge(&v4, &send(dead, b"hi")), Err(DropReason::ForbiddenPeer), "{dead}");
        }
    }

    #[test]
    fn an_own_relay_behind_a_nat_is_admitted_and_shown_as_it_is_named() {
        let mut table = behind_a_nat();
        let framed = arrive(&table, 0, OVER_V4, "10.0.0.5:50001", b"hi");
        assert_eq!(framed, Ok(channel_data(0x4000, b"hi")));
        let shown = |table: &Table, relay, from, external| {
            let (mut buffer, payload) = received(b"hi");
            match from_peer(table, at(0), relay, peer(from), IpHeader::default(), &mut buffer, payload) {
                FromPeer::ToClient { frame, .. } => {
                    let frame = &buffer[frame];
                    let transaction = frame[8..20].try_into().unwrap();
                    assert_eq!(frame, data_indication(transaction, peer(external), b"hi"));
                }
                FromPeer::Drop(reason) => panic!("{reason:?}"),
            }
        };
        shown(&table, OVER_V4, "10.0.0.5:50002", "198.51.100.1:50002");
        shown(&table, OVER_V6, "[fd00::5]:50001", "[2001:db8:ffff::1]:50001");
        // A port that is no live relay's is some other program of this machine.
        shown(&table, OVER_V4, "10.0.0.5:9", "10.0.0.5:9");
        let other = arrive(&table, 0, OVER_V6, "[fd00::5]:9", b"hi");
        assert_eq!(other, Err(DropReason::NoPermission));
        table.apply(TableChange::OwnRelay { address: socket("198.51.100.1:50002"), live: false });
        shown(&table, OVER_V4, "10.0.0.5:50002", "10.0.0.5:50002");
    }

    // proves rfc8656:5-23
    #[test]
    fn what_is_more_than_the_bandwidth_is_dropped_for_its_reason_both_ways_and_not_counted() {
        // 25,000 bytes pass at once: 25 packets of 1,000 with their headers.
        let rate = Rate::new(200_000, Duration::from_secs(1)).unwrap();
        let data = [7; 972];
        for (bandwidth, reason) in [
            (Bandwidth { allocation: Some(Bucket::new(rate)), user: None }, DropReason::AllocationBandwidth),
            (Bandwidth { allocation: None, user: Some(Bucket::new(rate)) }, DropReason::UserBandwidth),
        ] {
            let mut table = world(false);
            let TableChange::Insert(mut new) =
                insert(RelayId { index: 9, generation: 1 }, client(STRANGER), "198.51.100.1:50009", 9_000)
            else {
                unreachable!("insert makes an Insert")
            };
            new.bandwidth = bandwidth;
            let (relay, by) = (new.relay, new.five_tuple);
            table.apply(TableChange::Insert(new));
            table.apply(bind(relay, 0x4000, "203.0.113.2:2000", 9_000));
            let to_peer = |datagram: &[u8], millis| match from_client(
                &table,
                at(millis),
                &by,
                IpHeader::default(),
                datagram,
            ) {
                FromClient::ToPeer { .. } => Ok(()),
                FromClient::Drop(reason) => Err(reason),
                other => panic!("{other:?}"),
            };
            let to_client = |from| {
                let (mut buffer, payload) = received(&data);
                match from_peer(&table, at(0), relay, peer(from), IpHeader::default(), &mut buffer, payload) {
                    FromPeer::ToClient { .. } => Ok(()),
                    FromPeer::Drop(reason) => Err(reason),
                }
            };
            for _ in 0..10 {
                assert_eq!(to_peer(&channel_data(0x4000, &data), 0), Ok(()));
                assert_eq!(to_client("203.0.113.2:2000"), Ok(()));
            }
            for _ in 0..5 {
                assert_eq!(to_peer(&send("203.0.113.2:2000", &data), 0), Ok(()));
            }
            assert_eq!(to_peer(&channel_data(0x4000, &data), 0), Err(reason));
            assert_eq!(to_peer(&send("203.0.113.2:2000", &data), 0), Err(reason));
            assert_eq!(to_client("203.0.113.2:2000"), Err(reason));
            assert_eq!(to_client("203.0.113.2:9"), Err(reason));
            let counters = table.counters(relay).unwrap();
            assert_eq!((counters.to_peer_packets, counters.to_client_packets), (15, 10));
            // What is dropped for another reason costs nothing.
            assert_eq!(to_peer(&channel_data(0x4FFF, &data), 40), Err(DropReason::NoChannel));
            assert_eq!(to_peer(&channel_data(0x4000, &data), 40), Ok(()));
            // Other allocations are untouched.
            assert!(arrive(&table, 0, OVER_V4, "203.0.113.2:2000", &data).is_ok());
        }
    }

    #[test]
    fn the_header_goes_over_and_what_has_used_up_its_hop_limit_is_dropped_and_not_counted() {
        let table = world(false);
        let v4 = client(CLIENT_OF_V4);
        let header = |hop_limit| IpHeader { hop_limit: Some(hop_limit), traffic_class: 0xB9, ..WHOLE };
        let media = [channel_data(0x4000, b"four"), send("203.0.113.1:9", b"four")];
        let from = ["203.0.113.2:2000", "203.0.113.1:9"];
        for used_up in [0, 1] {
            for datagram in &media {
                let verdict = from_client(&table, at(0), &v4, header(used_up), datagram);
                assert_eq!(verdict, dropped(DropReason::HopLimit));
            }
            for from in from {
                let (mut buffer, payload) = received(b"yo");
                let verdict =
                    from_peer(&table, at(0), OVER_V4, peer(from), header(used_up), &mut buffer, payload);
                assert_eq!(verdict, FromPeer::Drop(DropReason::HopLimit));
            }
            // What is for the server itself has arrived.
            let request = stun(0x0001, TRANSACTION, b"");
            let verdict = from_client(&table, at(0), &v4, header(used_up), &request);
            assert_eq!(verdict, FromClient::LiveRequest);
        }
        assert_eq!(table.counters(OVER_V4), Some(Counters::default()));
        for (datagram, from) in media.iter().zip(from) {
            let FromClient::ToPeer { header: onward, .. } =
                from_client(&table, at(0), &v4, header(2), datagram)
            else {
                panic!("to the peer")
            };
            assert_eq!(onward, header(1));
            let (mut buffer, payload) = received(b"yo");
            let verdict = from_peer(&table, at(0), OVER_V4, peer(from), header(2), &mut buffer, payload);
            assert!(matches!(verdict, FromPeer::ToClient { header: onward, .. } if onward == header(1)));
        }
    }

    #[test]
    fn a_removed_allocation_is_a_strangers_at_once() {
        let mut table = world(false);
        let (v4, datagram) = (client(CLIENT_OF_V4), channel_data(0x4000, b"hi"));
        table.apply(TableChange::Remove { relay: OVER_V4 });
        assert_eq!(
            from_client(&table, at(0), &v4, IpHeader::default(), &datagram),
            dropped(DropReason::NoAllocation)
        );
        let request = stun(0x0001, TRANSACTION, b"");
        assert_eq!(
            from_client(&table, at(0), &v4, IpHeader::default(), &request),
            FromClient::StrangerRequest
        );
        assert_eq!(arrive(&table, 0, OVER_V4, "203.0.113.2:2000", b"x"), Err(DropReason::StaleRelay));
    }

    /// A dual allocation: both relayed addresses belong to one client.
    fn dual() -> Table {
        let mut table = table(false);
        let changes = [
            insert(OVER_V4, client(CLIENT_OF_V4), "198.51.100.1:50000", 1_000),
            insert(OVER_V6, client(CLIENT_OF_V4), "[2001:db8:ffff::1]:50000", 2_000),
            permit(OVER_V4, "203.0.113.1", 3_000),
            permit(OVER_V6, "2001:db8:1::1", 3_000),
            bind(OVER_V4, 0x4000, "203.0.113.2:2000", 3_000),
            bind(OVER_V6, 0x4001, "[2001:db8:1::2]:2000", 3_000),
        ];
        for change in changes {
            table.apply(change);
        }
        table
    }

    // proves rfc8656:6-5
    #[test]
    fn of_two_relayed_addresses_the_peer_s_family_chooses() {
        let table = dual();
        let told = |millis, datagram: &[u8]| match from_client(
            &table,
            at(millis),
            &client(CLIENT_OF_V4),
            IpHeader::default(),
            datagram,
        ) {
            FromClient::ToPeer { relay, peer, .. } => Ok((relay, peer.to_string())),
            FromClient::Drop(reason) => Err(reason),
            _ => unreachable!("no request"),
        };
        let to = |relay, peer: &str| Ok((relay, peer.to_owned()));
        for millis in [0, 999] {
            assert_eq!(told(millis, &send("203.0.113.1:9", b"x")), to(OVER_V4, "203.0.113.1:9"));
            assert_eq!(told(millis, &send("[2001:db8:1::1]:9", b"x")), to(OVER_V6, "[2001:db8:1::1]:9"));
            assert_eq!(told(millis, &channel_data(0x4000, b"x")), to(OVER_V4, "203.0.113.2:2000"));
            assert_eq!(told(millis, &channel_data(0x4001, b"x")), to(OVER_V6, "[2001:db8:1::2]:2000"));
        }
        // Each has its own end.
        let over = Err(DropReason::AllocationExpired);
        assert_eq!(told(1_000, &send("203.0.113.1:9", b"x")), over);
        assert_eq!(told(1_000, &channel_data(0x4000, b"x")), over);
        assert_eq!(told(1_999, &send("[2001:db8:1::1]:9", b"x")), to(OVER_V6, "[2001:db8:1::1]:9"));
        assert_eq!(told(1_999, &channel_data(0x4001, b"x")), to(OVER_V6, "[2001:db8:1::2]:2000"));
        assert_eq!(told(2_000, &channel_data(0x4001, b"x")), over);
        assert_eq!(told(0, &channel_data(0x4002, b"x")), Err(DropReason::NoChannel));
        // What each carried is counted on its own.
        let packets = |relay| table.counters(relay).map(|carried| carried.to_peer_packets);
        assert_eq!((packets(OVER_V4), packets(OVER_V6)), (Some(4), Some(6)));
    }

    #[test]
    fn both_relayed_addresses_lead_to_the_one_client_and_each_admits_its_own_peers() {
        let table = dual();
        assert_eq!(arrive_at(&table, OVER_V4, "203.0.113.2:2000"), Ok(client(CLIENT_OF_V4)));
        assert_eq!(arrive_at(&table, OVER_V6, "[2001:db8:1::2]:2000"), Ok(client(CLIENT_OF_V4)));
        assert_eq!(arrive_at(&table, OVER_V6, "203.0.113.2:2000"), Err(DropReason::PeerFamily));
        assert_eq!(arrive_at(&table, OVER_V4, "[2001:db8:1::2]:2000"), Err(DropReason::PeerFamily));
    }

    fn arrive_at(table: &Table, relay: RelayId, from: &str) -> Result<FiveTuple, DropReason> {
        let (mut buffer, place) = received(b"yo");
        match from_peer(table, at(0), relay, peer(from), IpHeader::default(), &mut buffer, place) {
            FromPeer::ToClient { to, .. } => Ok(to),
            FromPeer::Drop(reason) => Err(reason),
        }
    }

    // proves rfc8656:8.1-2, rfc8656:8.1-3
    #[test]
    fn one_of_two_relayed_addresses_goes_alone_whichever_it_is() {
        let (v4, v6) = (channel_data(0x4000, b"x"), channel_data(0x4001, b"x"));
        for (gone, kept, dead, alive) in [(OVER_V4, OVER_V6, &v4, &v6), (OVER_V6, OVER_V4, &v6, &v4)] {
            let mut table = dual();
            table.apply(TableChange::Remove { relay: gone });
            let judge = |datagram: &[u8]| match from_client(
                &table,
                at(0),
                &client(CLIENT_OF_V4),
                IpHeader::default(),
                datagram,
            ) {
                FromClient::ToPeer { relay, .. } => Ok(relay),
                FromClient::Drop(reason) => Err(reason),
                _ => unreachable!("no request"),
            };
            assert_eq!(judge(dead), Err(DropReason::NoChannel));
            assert_eq!(judge(alive), Ok(kept));
            assert_eq!(table.len(), 1);
            table.apply(TableChange::Remove { relay: kept });
            assert_eq!(table.len(), 0);
            assert_eq!(
                from_client(&table, at(0), &client(CLIENT_OF_V4), IpHeader::default(), alive),
                dropped(DropReason::NoAllocation)
            );
        }
    }

    #[test]
    fn a_number_bound_anew_to_the_other_family_leaves_the_first() {
        let mut table = dual();
        table.apply(bind(OVER_V6, 0x4000, "[2001:db8:1::3]:3000", 3_000));
        let verdict = from_client(
            &table,
            at(0),
            &client(CLIENT_OF_V4),
            IpHeader::default(),
            &channel_data(0x4000, b"x"),
        ) == sent(OVER_V6, "[2001:db8:1::3]:3000", b"x");
        assert!(verdict);
        assert_eq!(
            arrive_as_data(&table, 0, OVER_V4, "203.0.113.2:2000", b"x").len(),
            12,
            "no channel any more"
        );
    }

    // proves rfc8656:12.6-5
    #[test]
    fn a_channel_that_is_used_to_its_last_moment_ends_at_its_end() {
        for strict in [false, true] {
            let (table, v4) = (world(strict), client(CLIENT_OF_V4));
            let end = if strict { 500 } else { 800 };
            let datagram = channel_data(0x4000, b"hi");
            for millis in (0..end).step_by(50).chain([end - 1]) {
                let verdict = from_client(&table, at(millis), &v4, IpHeader::default(), &datagram);
                assert_eq!(verdict, sent(OVER_V4, "203.0.113.2:2000", b"hi"));
                assert!(arrive(&table, millis, OVER_V4, "203.0.113.2:2000", b"yo").is_ok());
            }
            let reason = if strict { DropReason::PermissionExpired } else { DropReason::ChannelExpired };
            let verdict = from_client(&table, at(end), &v4, IpHeader::default(), &datagram);
            assert_eq!(verdict, dropped(reason), "strict: {strict}");
            let back = arrive(&table, end, OVER_V4, "203.0.113.2:2000", b"yo");
            assert_eq!(back, Err(DropReason::PermissionExpired));
        }
    }

    // proves rfc8656:9-4, rfc8656:11.2-5
    #[test]
    fn a_permission_that_is_used_to_its_last_moment_ends_at_its_end() {
        let (table, v4, datagram) = (world(false), client(CLIENT_OF_V4), send("203.0.113.1:9", b"hi"));
        for millis in (0..500).step_by(50).chain([499]) {
            let verdict = from_client(&table, at(millis), &v4, IpHeader::default(), &datagram);
            assert_eq!(verdict, sent(OVER_V4, "203.0.113.1:9", b"hi"));
            arrive_as_data(&table, millis, OVER_V4, "203.0.113.1:9", b"yo");
        }
        let verdict = from_client(&table, at(500), &v4, IpHeader::default(), &datagram);
        assert_eq!(verdict, dropped(DropReason::PermissionExpired));
        assert_eq!(arrive(&table, 500, OVER_V4, "203.0.113.1:9", b"yo"), Err(DropReason::PermissionExpired));
    }

    // proves rfc8656:6-6, rfc8656:7.2-24
    #[test]
    fn a_new_allocation_on_the_five_tuple_and_port_of_an_old_one_has_nothing_of_it() {
        let (mut table, v4, newer) = (world(false), client(CLIENT_OF_V4), relay(3, 8));
        table.apply(TableChange::Remove { relay: OVER_V4 });
        table.apply(insert(newer, v4, "198.51.100.1:50000", 1_000));
        for (datagram, reason) in [
            (channel_data(0x4000, b"hi"), DropReason::NoChannel),
            (send("203.0.113.1:9", b"hi"), DropReason::NoPermission),
        ] {
            let verdict = from_client(&table, at(0), &v4, IpHeader::default(), &datagram);
            assert_eq!(verdict, dropped(reason));
        }
        for from in ["203.0.113.2:2000", "203.0.113.1:9"] {
            assert_eq!(arrive_at(&table, newer, from), Err(DropReason::NoPermission));
        }
    }

    // proves rfc8656:11.2-2, rfc8656:11.2-6, rfc8656:12.6-1, rfc8656:12.6-2, rfc8656:12.6-4
    #[test]
    fn what_is_not_whole_not_bound_or_not_allowed_goes_nowhere() {
        let (table, v4) = (world(false), client(CLIENT_OF_V4));
        let peer_alone = stun(0x0016, TRANSACTION, &xor_peer(TRANSACTION, peer("203.0.113.1:9")));
        let data_alone = stun(0x0016, TRANSACTION, &attribute(0x0013, b"x"));
        for (datagram, reason) in [
            (peer_alone, DropReason::BadSend),
            (data_alone, DropReason::BadSend),
            (send("203.0.113.66:53", b"x"), DropReason::ForbiddenPeer),
            (vec![0x50, 0, 0, 0], DropReason::NoChannel),
            (vec![0x7F, 0xFF, 0, 0], DropReason::Malformed),
            (vec![0x40, 0, 0, 3, 1, 2], DropReason::Malformed),
            (channel_data(0x4ABC, b"x"), DropReason::NoChannel),
        ] {
            let verdict = from_client(&table, at(0), &v4, IpHeader::default(), &datagram);
            assert_eq!(verdict, dropped(reason), "{datagram:02x?}");
        }
        assert_eq!(table.counters(OVER_V4), Some(Counters::default()));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_client_make_it_panic_or_leave_unpermitted(
            mut bytes in prop::collection::vec(any::<u8>(), 0..96),
            first in 0_usize..6,
            from in prop::sample::select(vec![CLIENT_OF_V4, CLIENT_OF_V6, STRANGER]),
        ) {
            // Half of the starts are those of real messages, so that the decoders are reached.
            let starts: [&[u8]; 6] = [
                &[], &[], &[0x40, 0], &[0x40, 1, 0, 4], &[0, 0x16, 0, 12, 0x21, 0x12, 0xA4, 0x42], &[0, 1],
            ];
            let start = starts[first];
            if bytes.len() >= start.len() {
                bytes[..start.len()].copy_from_slice(start);
            }
            let table = world(false);
            let verdict = from_client(&table, at(0), &client(from), IpHeader::default(), &bytes);
            if let FromClient::ToPeer { peer: to, data, .. } = verdict {
                prop_assert!(to != peer("203.0.113.66:53"));
                prop_assert!(data.len() <= bytes.len());
                prop_assert!(from != STRANGER);
            }
        }

        #[test]
        fn no_buffer_or_range_makes_it_panic(
            len in 0_usize..200,
            start in 0_usize..220,
            end in 0_usize..220,
        ) {
            let table = world(false);
            for from in ["203.0.113.2:2000", "203.0.113.1:9"] {
                let mut buffer = vec![STALE; len];
                if let FromPeer::ToClient { frame, .. } =
                    from_peer(&table, at(0), OVER_V4, peer(from), IpHeader::default(), &mut buffer, start..end)
                {
                    prop_assert!(frame.end <= len && frame.start < start);
                }
            }
        }

        #[test]
        fn every_payload_comes_whole(payload in prop::collection::vec(any::<u8>(), 0..1_500)) {
            let table = world(false);
            arrive_as_data(&table, 0, OVER_V4, "203.0.113.1:9", &payload);
            let framed = arrive(&table, 0, OVER_V4, "203.0.113.2:2000", &payload);
            prop_assert_eq!(framed, Ok(channel_data(0x4000, &payload)));
            prop_assert!(DATA_PADDING_MAX >= payload.len().next_multiple_of(4) - payload.len());
        }
    }
}
