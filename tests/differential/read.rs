//! One datagram through each codec, and what each says of it in the same words: of every attribute that a relay or
//! its clients look at, the value, or nothing where it is absent or refused.

use std::net::SocketAddr;
use std::panic;

use stun_rs::DecoderContextBuilder;
use stun_rs::HMACKey;
use stun_rs::MessageDecoder;
use stun_rs::MessageDecoderBuilder;
use stun_rs::StunMessage;
use stun_rs::attributes::stun as rs;
use stun_rs::attributes::turn as rs_turn;
use stun_rs::error::StunDecodeError;
use stun_rs::error::StunErrorLevel;
use stun_types::attribute as types;
use stun_types::attribute::AttributeStaticType;
use stun_types::message::Message;
use stun_types::message::MessageIntegrityCredentials;
use stun_types::message::ShortTermCredentials;
use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::channel_data;
use swingbridge::proto::wire::indication;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::integrity::MacKey;
use turn_types::attribute as turn;
use turn_types::channel::ChannelData;

/// What MACs are made with: a text, which all three use as it is.
pub(crate) const KEY: &str = "the key of the fuzzer";

/// What a codec says of a message.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Class bits, method, transaction id.
    pub(crate) head: (u16, [u8; 12]),
    /// The first value of each type that was asked for; in text where codecs keep other types.
    pub(crate) values: Vec<(u16, Option<String>)>,
    /// Whether its integrity is right under [`KEY`]; `None` where there is none or it was not asked for.
    pub(crate) verified: Option<bool>,
}

impl Reading {
    pub(crate) fn value(&self, kind: u16) -> Option<&Option<String>> {
        self.values.iter().find(|(name, _)| *name == kind).map(|(_, value)| value)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn head(datagram: &[u8]) -> (u16, [u8; 12]) {
    let kind = u16::from_be_bytes([datagram[0], datagram[1]]);
    (kind, *datagram[8..20].as_array().expect("twelve bytes"))
}

/// Ours. `Err(None)` where an indication is refused for what it lacks, of which the others have no notion.
pub(crate) fn ours(datagram: &[u8]) -> Result<Reading, Option<Malformed>> {
    let class = datagram.first().zip(datagram.get(1)).map(|(first, second)| (first & 1, second >> 4 & 1));
    match class {
        Some((0, 0)) => our_request(datagram).map_err(Some),
        Some((0, _)) => our_indication(datagram),
        _ => our_answer(datagram).map_err(Some),
    }
}

fn our_request(datagram: &[u8]) -> Result<Reading, Malformed> {
    let request = decode_request(datagram)?;
    let auth = &request.auth;
    let number = |value: Option<u8>| value.map(|value| value.to_string());
    let values = vec![
        (attributes::USERNAME, auth.username.map(hex)),
        (attributes::REALM, auth.realm.map(hex)),
        (attributes::NONCE, auth.nonce.map(hex)),
        (attributes::USERHASH, auth.userhash.map(|hash| hex(hash))),
        (attributes::LIFETIME, request.lifetime.map(|lifetime| lifetime.as_secs().to_string())),
        (attributes::REQUESTED_TRANSPORT, number(request.requested_transport)),
        (attributes::REQUESTED_ADDRESS_FAMILY, number(request.requested_family)),
        (attributes::EVEN_PORT, request.even_port.map(|reserve| reserve.to_string())),
        (attributes::RESERVATION_TOKEN, request.reservation_token.map(|token| hex(&token))),
        (attributes::DONT_FRAGMENT, request.dont_fragment.then(String::new)),
        (attributes::CHANNEL_NUMBER, request.channel_number.map(|number| number.to_string())),
        (attributes::XOR_PEER_ADDRESS, request.peers.iter().next().map(|peer| peer.to_string())),
        (attributes::FINGERPRINT, request.fingerprint.then(String::new)),
    ];
    let verified = auth.integrity.algorithm().map(|_| auth.integrity.verify(&MacKey::new(KEY.as_bytes())));
    Ok(Reading { head: head(datagram), values, verified })
}

fn our_answer(datagram: &[u8]) -> Result<Reading, Malformed> {
    let answer = decode_response(datagram)?;
    let text = |address: SocketAddr| address.to_string();
    let values = vec![
        (attributes::ERROR_CODE, answer.error_code.map(|code| code.to_string())),
        (attributes::XOR_MAPPED_ADDRESS, answer.mapped_address.map(text)),
        (attributes::XOR_RELAYED_ADDRESS, answer.relayed_address.map(|relay| relay.to_string())),
        (attributes::LIFETIME, answer.lifetime.map(|lifetime| lifetime.as_secs().to_string())),
        (attributes::RESERVATION_TOKEN, answer.reservation_token.map(|token| hex(&token))),
        (attributes::REALM, answer.realm.map(hex)),
        (attributes::NONCE, answer.nonce.map(hex)),
        (attributes::ALTERNATE_SERVER, answer.alternate_server.map(text)),
        (attributes::FINGERPRINT, answer.fingerprint.then(String::new)),
    ];
    let integrity = answer.integrity;
    let verified = integrity.algorithm().map(|_| integrity.verify(&MacKey::new(KEY.as_bytes())));
    Ok(Reading { head: head(datagram), values, verified })
}

fn our_indication(datagram: &[u8]) -> Result<Reading, Option<Malformed>> {
    let reading = |peer: String, data: &[u8], dont_fragment: Option<bool>| {
        let mut values =
            vec![(attributes::XOR_PEER_ADDRESS, Some(peer)), (attributes::DATA, Some(hex(data)))];
        values.extend(dont_fragment.map(|there| (attributes::DONT_FRAGMENT, there.then(String::new))));
        Reading { head: head(datagram), values, verified: None }
    };
    match indication::decode_send(datagram) {
        Ok(send) => return Ok(reading(send.peer.to_string(), send.data, Some(send.dont_fragment))),
        Err(indication::Refused::Malformed(why)) => return Err(Some(why)),
        Err(_) => {}
    }
    match indication::decode_data(datagram) {
        Ok((peer, data)) => Ok(reading(peer.to_string(), data, None)),
        Err(indication::Refused::Malformed(why)) => Err(Some(why)),
        Err(_) => Err(None),
    }
}

/// That of stun-types and turn-types.
pub(crate) fn stun_types(datagram: &[u8], kinds: &[u16]) -> Option<Reading> {
    let message = Message::from_bytes(datagram).ok()?;
    let values = kinds.iter().map(|kind| (*kind, value_of_stun_types(&message, *kind))).collect();
    let credentials: MessageIntegrityCredentials = ShortTermCredentials::new(KEY.to_owned()).into();
    let is_sealed = message.has_attribute(types::MessageIntegrity::TYPE)
        || message.has_attribute(types::MessageIntegritySha256::TYPE);
    let verified = is_sealed.then(|| message.validate_integrity(&credentials).is_ok());
    let id: u128 = message.transaction_id().into();
    let kind = u16::from_be_bytes(*message.get_type().to_bytes().as_array().expect("two bytes"));
    Some(Reading { head: (kind, *id.to_be_bytes()[4..].as_array().expect("twelve bytes")), values, verified })
}

fn value_of_stun_types(message: &Message<'_>, kind: u16) -> Option<String> {
    let id = message.transaction_id();
    match kind {
        attributes::USERNAME => text(message.attribute::<types::Username>().ok()?.username()),
        attributes::REALM => text(message.attribute::<types::Realm>().ok()?.realm()),
        attributes::NONCE => text(message.attribute::<types::Nonce>().ok()?.nonce()),
        attributes::USERHASH => Some(hex(message.attribute::<types::Userhash>().ok()?.hash())),
        attributes::LIFETIME => Some(message.attribute::<turn::Lifetime>().ok()?.seconds().to_string()),
        attributes::REQUESTED_TRANSPORT => {
            Some(message.attribute::<turn::RequestedTransport>().ok()?.protocol().to_string())
        }
        attributes::REQUESTED_ADDRESS_FAMILY => {
            let family = message.attribute::<turn::RequestedAddressFamily>().ok()?.family();
            Some(if family == stun_types::AddressFamily::IPV4 { "1" } else { "2" }.to_owned())
        }
        attributes::EVEN_PORT => Some(message.attribute::<turn::EvenPort>().ok()?.requested().to_string()),
        attributes::RESERVATION_TOKEN => {
            Some(hex(&message.attribute::<turn::ReservationToken>().ok()?.token().to_be_bytes()))
        }
        attributes::DONT_FRAGMENT => message.attribute::<turn::DontFragment>().ok().map(|_| String::new()),
        attributes::CHANNEL_NUMBER => {
            Some(message.attribute::<turn::ChannelNumber>().ok()?.channel().to_string())
        }
        attributes::XOR_PEER_ADDRESS => {
            Some(message.attribute::<turn::XorPeerAddress>().ok()?.addr(id).to_string())
        }
        attributes::XOR_RELAYED_ADDRESS => {
            Some(message.attribute::<turn::XorRelayedAddress>().ok()?.addr(id).to_string())
        }
        attributes::XOR_MAPPED_ADDRESS => {
            Some(message.attribute::<types::XorMappedAddress>().ok()?.addr(id).to_string())
        }
        attributes::ALTERNATE_SERVER => {
            Some(message.attribute::<types::AlternateServer>().ok()?.server().to_string())
        }
        attributes::ERROR_CODE => Some(message.attribute::<types::ErrorCode>().ok()?.code().to_string()),
        attributes::DATA => Some(hex(message.attribute::<turn::Data<'_>>().ok()?.data())),
        attributes::FINGERPRINT => message.attribute::<types::Fingerprint>().ok().map(|_| String::new()),
        other => panic!("not asked of stun-types: {other:#06x}"),
    }
}

fn text(value: &str) -> Option<String> {
    Some(hex(value.as_bytes()))
}

/// What became of a datagram in stun-rs.
#[derive(Clone, Debug)]
pub(crate) enum OfStunRs {
    Read(Reading),
    /// With the type of the attribute that it refuses; none where it refuses the frame.
    Refused(Option<u16>),
    /// Its own panic: known to be there, and no reason to stop.
    Panicked,
}

/// That of stun-rs.
pub(crate) fn stun_rs(datagram: &[u8], kinds: &[u16]) -> OfStunRs {
    let read = panic::catch_unwind(|| {
        let (message, _) =
            MessageDecoderBuilder::default().build().decode(datagram).map_err(|error| culprit(&error))?;
        let values = kinds.iter().filter_map(|kind| value_of_stun_rs(&message, *kind)).collect();
        let is_sealed = message.get::<rs::MessageIntegrity>().is_some()
            || message.get::<rs::MessageIntegritySha256>().is_some();
        let verified = is_sealed.then(|| validating().decode(datagram).is_ok());
        let kind = stun_rs::MessageType::new(message.method(), message.class()).as_u16();
        Ok(Reading { head: (kind, *message.transaction_id().as_bytes()), values, verified })
    });
    match read {
        Ok(Ok(reading)) => OfStunRs::Read(reading),
        Ok(Err(kind)) => OfStunRs::Refused(kind),
        Err(_) => OfStunRs::Panicked,
    }
}

fn culprit(error: &StunDecodeError) -> Option<u16> {
    match &error.0 {
        StunErrorLevel::Attribute(attribute) => attribute.attr_type.map(|kind| kind.as_u16()),
        StunErrorLevel::Message(_) => None,
    }
}

fn validating() -> MessageDecoder {
    let key = HMACKey::new_short_term(KEY).expect("a plain text");
    let context = DecoderContextBuilder::default().with_key(key).with_validation().build();
    MessageDecoderBuilder::default().with_context(context).build()
}

/// `None` for a type that stun-rs has no value of, or only one that cannot be compared.
fn value_of_stun_rs(message: &StunMessage, kind: u16) -> Option<(u16, Option<String>)> {
    let value = match kind {
        attributes::USERNAME => {
            message.get::<rs::UserName>().and_then(|a| text(a.expect_user_name().as_str()))
        }
        attributes::REALM => message.get::<rs::Realm>().and_then(|a| text(a.expect_realm().as_str())),
        attributes::NONCE => message.get::<rs::Nonce>().and_then(|a| {
            // As whoever negotiates a password algorithm does.
            _ = a.expect_nonce().security_features();
            text(a.expect_nonce().as_str())
        }),
        attributes::USERHASH => message.get::<rs::UserHash>().map(|a| hex(a.expect_user_hash().hash())),
        attributes::LIFETIME => {
            message.get::<rs_turn::LifeTime>().map(|a| a.expect_life_time().as_u32().to_string())
        }
        attributes::EVEN_PORT => {
            message.get::<rs_turn::EvenPort>().map(|a| a.expect_even_port().reserve().to_string())
        }
        attributes::RESERVATION_TOKEN => {
            message.get::<rs_turn::ReservationToken>().map(|a| hex(a.expect_reservation_token().token()))
        }
        attributes::DONT_FRAGMENT => message.get::<rs_turn::DontFragment>().map(|_| String::new()),
        attributes::CHANNEL_NUMBER => {
            message.get::<rs_turn::ChannelNumber>().map(|a| a.expect_channel_number().number().to_string())
        }
        attributes::XOR_PEER_ADDRESS => message
            .get::<rs_turn::XorPeerAddress>()
            .map(|a| a.expect_xor_peer_address().socket_address().to_string()),
        attributes::XOR_RELAYED_ADDRESS => message
            .get::<rs_turn::XorRelayedAddress>()
            .map(|a| a.expect_xor_relayed_address().socket_address().to_string()),
        attributes::XOR_MAPPED_ADDRESS => message
            .get::<rs::XorMappedAddress>()
            .map(|a| a.expect_xor_mapped_address().socket_address().to_string()),
        attributes::ALTERNATE_SERVER => message
            .get::<rs::AlternateServer>()
            .map(|a| a.expect_alternate_server().socket_address().to_string()),
        attributes::ERROR_CODE => message
            .get::<rs::ErrorCode>()
            .map(|a| a.expect_error_code().error_code().error_code().to_string()),
        attributes::DATA => message.get::<rs_turn::Data>().map(|a| hex(a.expect_data().as_bytes())),
        attributes::FINGERPRINT => message.get::<rs::Fingerprint>().map(|_| String::new()),
        _ => return None,
    };
    Some((kind, value))
}

/// Channel number and data, as ours and turn-types read a ChannelData message.
pub(crate) fn channel_data_of_both(datagram: &[u8]) -> [Option<(u16, &[u8])>; 2] {
    let ours = channel_data::decode(datagram).ok().map(|(number, data)| (number.get(), data));
    let theirs = ChannelData::parse(datagram).ok().map(|read| {
        let len = read.data().len();
        (read.id(), &datagram[4..4 + len])
    });
    [ours, theirs]
}
