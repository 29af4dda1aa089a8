//! Requests and data as bytes.

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::userhash;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Transport;
use crate::proto::types::limits::DATAGRAM_MAX;
use crate::proto::types::limits::REQUEST_MAX;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::channel_data;
use crate::proto::wire::indication;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::framing::MessageClass;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::Config;
use super::Credential;
use super::Families;
use super::PortWish;
use super::challenge::Challenge;
use super::transaction::Ask;

/// Protocol number of UDP.
const UDP: u8 = 17;
/// Protocol number of TCP.
const TCP: u8 = 6;
/// STUN header, XOR-PEER-ADDRESS with IPv6, DONT-FRAGMENT, the header of DATA.
const SEND_OVERHEAD_MAX: usize = 20 + 24 + 4 + 4;

/// The request that asks `ask`, signed if there is a `challenge` to meet. `ticket` is the last one of an allocation that
/// may move.
pub(super) fn request(
    config: &Config,
    ask: &Ask,
    id: TransactionId,
    challenge: Option<&Challenge>,
    ticket: Option<&[u8]>,
) -> Result<Box<[u8]>, Malformed> {
    let mut buffer = [0; REQUEST_MAX];
    let mut writer = MessageWriter::request(&mut buffer, ask.method(), id);
    write_ask(&mut writer, config, ask, ticket);
    if let Some(challenge) = challenge {
        write_proof(&mut writer, &config.credential, challenge);
    }
    let len = writer.finish()?;
    Ok(buffer[..len].into())
}

fn write_ask(writer: &mut MessageWriter<'_>, config: &Config, ask: &Ask, ticket: Option<&[u8]>) {
    match ask {
        Ask::Allocate => write_allocate(writer, config),
        Ask::Refresh => write_lifetime(writer, config.lifetime),
        Ask::Release => {
            write_lifetime(writer, Some(Lifetime::ZERO));
            if let Some(ticket) = ticket {
                writer.attribute(attribute::MOBILITY_TICKET, ticket);
            }
        }
        Ask::Move => {
            write_lifetime(writer, config.lifetime);
            writer.attribute(attribute::MOBILITY_TICKET, ticket.unwrap_or_default());
        }
        Ask::Permit(peers) => peers.iter().for_each(|peer| {
            writer.peer(PeerAddr::new((*peer, 0).into()));
        }),
        Ask::Bind(channel, peer) => {
            let [high, low] = channel.get().to_be_bytes();
            writer.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]).peer(*peer);
        }
        Ask::Connect(peer) => {
            writer.peer(*peer);
        }
    }
}

fn write_allocate(writer: &mut MessageWriter<'_>, config: &Config) {
    let is_tcp = config.relays == RelayProtocol::Tcp;
    let protocol = if is_tcp { TCP } else { UDP };
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
    write_lifetime(writer, config.lifetime);
    if config.dont_fragment && !is_tcp {
        writer.attribute(attribute::DONT_FRAGMENT, &[]);
    }
    let v6 = [Family::V6.code(), 0, 0, 0];
    let port = if is_tcp { PortWish::Any } else { config.port };
    match (port, config.families) {
        // A kept port brings its own family.
        (PortWish::Reserved(_), _) | (_, Families::V4) => {}
        (_, Families::V6) => {
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &v6);
        }
        (_, Families::Both) => {
            writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &v6);
        }
    }
    match port {
        PortWish::Any => {}
        PortWish::Even => {
            writer.attribute(attribute::EVEN_PORT, &[0]);
        }
        PortWish::Pair => {
            writer.attribute(attribute::EVEN_PORT, &[0x80]);
        }
        PortWish::Reserved(token) => {
            writer.attribute(attribute::RESERVATION_TOKEN, &token);
        }
    }
    if config.mobility && !is_tcp {
        writer.attribute(attribute::MOBILITY_TICKET, &[]);
    }
}

fn write_lifetime(writer: &mut MessageWriter<'_>, lifetime: Option<Lifetime>) {
    if let Some(lifetime) = lifetime {
        writer.attribute(attribute::LIFETIME, &lifetime.as_secs().to_be_bytes());
    }
}

pub(super) fn write_proof(writer: &mut MessageWriter<'_>, credential: &Credential, challenge: &Challenge) {
    if challenge.anonymous {
        let hash = userhash(&credential.username, &challenge.realm);
        writer.attribute(attribute::USERHASH, &hash);
    } else {
        writer.attribute(attribute::USERNAME, &credential.username);
    }
    writer.attribute(attribute::REALM, &challenge.realm).attribute(attribute::NONCE, &challenge.nonce);
    if let Some(token) = &credential.token {
        writer.attribute(attribute::ACCESS_TOKEN, token);
    }
    if let Some((offered, chosen)) = &challenge.offer {
        let number = match chosen {
            PasswordAlgorithm::Md5 => 1,
            PasswordAlgorithm::Sha256 => 2,
        };
        writer
            .attribute(attribute::PASSWORD_ALGORITHMS, offered)
            .attribute(attribute::PASSWORD_ALGORITHM, &[0, number, 0, 0]);
    }
    writer.integrity(Signature { key: &challenge.key, algorithm: challenge.signing() });
}

/// A Send indication.
pub(super) fn send(
    id: TransactionId,
    peer: PeerAddr,
    data: &[u8],
    dont_fragment: bool,
) -> Result<Box<[u8]>, Malformed> {
    let mut buffer = vec![0; (data.len() + SEND_OVERHEAD_MAX).next_multiple_of(4)];
    let method = Method::Unknown(indication::SEND);
    let mut writer = MessageWriter::new(&mut buffer, MessageClass::Indication, method, id);
    writer.peer(peer);
    if dont_fragment {
        writer.attribute(attribute::DONT_FRAGMENT, &[]);
    }
    writer.attribute(attribute::DATA, data);
    let len = writer.finish()?;
    buffer.truncate(len);
    if len > DATAGRAM_MAX { Err(Malformed::NoRoom) } else { Ok(buffer.into()) }
}

/// A ChannelData message: padded in a stream, where the next message must begin at a multiple of 4, and as it is in a
/// datagram (RFC 8656 § 12.5).
pub(super) fn channel_data(
    channel: ChannelNumber,
    data: &[u8],
    transport: Transport,
) -> Result<Box<[u8]>, Malformed> {
    let len = data.len() + channel_data::HEADER_LEN;
    let Ok(field) = u16::try_from(data.len()) else { return Err(Malformed::NoRoom) };
    if len > DATAGRAM_MAX {
        return Err(Malformed::NoRoom);
    }
    let padded = if transport.is_stream() { len.next_multiple_of(4) } else { len };
    let mut message = Vec::with_capacity(padded);
    message.extend_from_slice(&channel_data::header(channel, field));
    message.extend_from_slice(data);
    message.resize(padded, 0);
    Ok(message.into())
}
