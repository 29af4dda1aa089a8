//! What each tier owes a frame, said by `proto::media::forward` and by how sockets send.

use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::FromClient;
use swingbridge::proto::media::FromPeer;
use swingbridge::proto::media::forward;
use swingbridge::proto::types::IpHeader;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::relay::kernel::Mode;

use crate::frame::Plain;
use crate::frame::parse;
use crate::world::Done;
use crate::world::MTU;
use crate::world::World;
use crate::world::five_tuple;
use crate::world::tick;

/// Room that `from_peer` asks for, in front and behind.
const HEADROOM: usize = 64;

/// What the server as a whole does with a datagram, by way of whichever tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It leaves so.
    Leaves(Plain),
    Drop(DropReason),
    /// A request, or nothing that is spoken here.
    NoData,
}

/// What `forward` says of `came`.
pub(crate) fn forward(world: &World, came: &Plain) -> Verdict {
    if let Some(relay) = world.relay_at(came.to) {
        return to_client(world, relay, came);
    }
    let five_tuple = five_tuple(came.from);
    if five_tuple.server.socket() != came.to {
        return Verdict::NoData;
    }
    match forward::from_client(&world.table, tick(), &five_tuple, header(came), &came.payload) {
        FromClient::ToPeer { relay, peer, data, header } => {
            let sent = leaves(came, world.bound_of(relay), peer.socket(), data, header);
            // What goes to a relay of our own comes back in by its socket.
            match world.relay_at(peer.socket()) {
                Some(other) => to_client(world, other, &sent),
                None => Verdict::Leaves(sent),
            }
        }
        FromClient::Drop(reason) => Verdict::Drop(reason),
        FromClient::LiveRequest | FromClient::StrangerRequest => Verdict::NoData,
    }
}

fn to_client(world: &World, relay: RelayId, came: &Plain) -> Verdict {
    let place = HEADROOM..HEADROOM + came.payload.len();
    let mut buffer = vec![0xEE; place.end + HEADROOM];
    buffer[place.clone()].copy_from_slice(&came.payload);
    let source = PeerAddr::new(came.from);
    match forward::from_peer(&world.table, tick(), relay, source, header(came), &mut buffer, place) {
        FromPeer::ToClient { to, frame, header } => {
            Verdict::Leaves(leaves(came, to.server.socket(), to.client.socket(), &buffer[frame], header))
        }
        FromPeer::Drop(reason) => Verdict::Drop(reason),
    }
}

fn header(came: &Plain) -> IpHeader {
    IpHeader { hop_limit: Some(came.hops), traffic_class: came.class, dont_fragment: came.df }
}

/// How a socket sends: `hop_limit` and `traffic_class` as they are told, DF where it must leave whole.
fn leaves(
    came: &Plain,
    from: std::net::SocketAddr,
    to: std::net::SocketAddr,
    data: &[u8],
    header: IpHeader,
) -> Plain {
    Plain {
        from,
        to,
        payload: data.to_vec(),
        hops: header.hop_limit.expect("it was told"),
        class: header.traffic_class,
        df: header.dont_fragment,
        unsummed: came.unsummed && to.is_ipv4(),
    }
}

/// What the program must make of `frame`, which is derived from what `forward` says and from what the program leaves to the
/// worker.
pub(crate) fn program(world: &World, mode: Mode, frame: &[u8]) -> Done {
    let Some(came) = parse(frame) else { return Done::Up };
    let seen_min = if came.to.is_ipv4() { 46 } else { 66 };
    // Shorter than all headers together; a frame for more than one; an own address as the source, from the wire.
    if frame.len() < seen_min || frame[0] & 1 != 0 || world.is_own(came.from) {
        return Done::Up;
    }
    // For another host: TC is told, XDP has no way to know.
    if mode == Mode::Tc && frame[..6] != [0; 6] {
        return Done::Up;
    }
    let to_relay = world.relay_at(came.to).is_some();
    // What needs the whole of the protocol.
    let of_client = || world.table.find(&five_tuple(came.from)).map(|(relay, _)| relay);
    if world.relay_at(came.to).or_else(of_client).is_none_or(|relay| world.table.shortcuts(relay).is_none()) {
        return Done::Up;
    }
    let whole = came
        .payload
        .get(2..4)
        .is_some_and(|len| usize::from(u16::from_be_bytes([len[0], len[1]])) + 4 == came.payload.len());
    if !to_relay && (came.payload[0] & 0xC0 != 0x40 || !whole) {
        return Done::Up;
    }
    match forward(world, &came) {
        Verdict::Leaves(out) => {
            let is_framed = out.from.port() != 3478 || out.payload[0] & 0xC0 == 0x40;
            let fits = out.packet().len() <= MTU;
            // Its sum would have to be made of all of the data.
            let unsummed = came.unsummed && out.to.is_ipv6();
            // TC can ask whether it is; XDP lets it go without.
            let partial = mode != Mode::Tc && is_partial(&came);
            if !is_framed || !fits || unsummed || (partial && out.to.is_ipv6()) {
                return Done::Up;
            }
            Done::Relayed(Plain { unsummed: out.unsummed || partial, ..out }.frame())
        }
        // What would be a Data indication is the worker's to hold back.
        Verdict::Drop(DropReason::AllocationBandwidth | DropReason::UserBandwidth)
            if to_relay && !has_channel(world, &came) =>
        {
            Done::Up
        }
        Verdict::Drop(DropReason::AllocationBandwidth | DropReason::UserBandwidth) => Done::Dropped,
        Verdict::Drop(_) | Verdict::NoData => Done::Up,
    }
}

/// Whether the peer that `came` is from has a channel at the port it went to, over or not.
fn has_channel(world: &World, came: &Plain) -> bool {
    let told = world.relay_at(came.to).and_then(|relay| world.table.shortcuts(relay));
    told.is_some_and(|told| told.channels.iter().any(|channel| channel.peer.socket() == came.from))
}

/// Whether the true sum of `came` looks like that of its pseudo-header alone: once in 65,536 times.
fn is_partial(came: &Plain) -> bool {
    let packet = came.packet();
    let udp = &packet[if came.to.is_ipv4() { 20 } else { 40 }..];
    let len = u16::from_be_bytes([udp[4], udp[5]]);
    !came.unsummed && udp[6..8] == crate::frame::sum(&came.pseudo(len)).to_be_bytes()
}
