//! The codec of RFC 8489 and RFC 8656: total on any bytes, and what was read is written and read again alike. So are
//! indications, ChannelData, ICMP and the request of RFC 3489.

use std::net::SocketAddr;

use crate::proto::types::Family;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits::PEERS_PER_REQUEST_MAX;
use crate::proto::types::limits::UNKNOWN_ATTRIBUTES_MAX;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Icmp;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::TransactionId;
use crate::proto::wire::channel_data;
use crate::proto::wire::connection;
use crate::proto::wire::icmp;
use crate::proto::wire::indication;
use crate::proto::wire::rfc3489;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::Answer;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::encode::encode_response;
use crate::proto::wire::rfc8656::framing::MessageClass;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::choices::Choices;
use super::mend::mended;

const KEY: &[u8] = b"the key of the fuzzer";
/// More than any message that is written here.
const ROOM: usize = 70_000;

pub(super) fn body(input: &[u8]) {
    judge(input);
    judge(&mended(input, KEY));
    of_icmp(input);
}

fn judge(datagram: &[u8]) {
    if let Ok(request) = decode_request(datagram) {
        of_request(datagram, &request);
    }
    if let Ok(answer) = decode_response(datagram) {
        of_answer(&answer);
    }
    of_send(datagram);
    of_data(datagram);
    of_channel_data(datagram);
    of_classic(datagram);
    of_connection(datagram);
}

/// What is read of a message before it is decoded agrees with what is decoded.
fn of_connection(datagram: &[u8]) {
    let named = connection::bind_to(datagram);
    assert!(named.is_none() || connection::is_bind(datagram));
    if let Ok(request) = decode_request(datagram) {
        assert_eq!(connection::is_bind(datagram), request.method == Method::ConnectionBind);
        if let (Some(named), Some(decoded)) = (named, request.connection_id) {
            assert_eq!(named, decoded);
        }
    }
    if let Some((peer, id)) = connection::decode_attempt(datagram) {
        let mut out = [0; connection::CONNECTION_ATTEMPT_MAX];
        let transaction = TransactionId(*datagram[4..].first_chunk().expect("it was read"));
        let len = connection::encode_attempt(transaction, peer, id, &mut out);
        assert_eq!(connection::decode_attempt(&out[..len]), Some((peer, id)));
    }
    assert!(!(connection::is_bind(datagram) && connection::is_bind_refused(datagram)));
}

fn of_request(datagram: &[u8], request: &Request<'_>) {
    assert_eq!(request.transaction.0[..], datagram[4..20]);
    assert_eq!(request.peers.iter().count(), request.peers.len());
    assert!(request.peers.len() <= PEERS_PER_REQUEST_MAX);
    assert!(request.unknown.as_slice().len() <= UNKNOWN_ATTRIBUTES_MAX);
    assert!(request.unknown.as_slice().iter().all(|kind| *kind < 0x8000));
    assert!(request.channel().is_none() || request.channel_number.is_some());
    let signed = request.auth.integrity.algorithm();
    assert!(signed.is_some() || !request.auth.integrity.verify(&MacKey::new(KEY)));
    assert!(!request.auth.integrity.verify(&MacKey::new(b"the key of nobody")));
    if request.bad_attribute.is_some() || request.discovery.bad {
        return;
    }

    let once = write_request(request);
    let again = decode_request(&once).expect("what is written is read");
    assert_eq!(again.auth.integrity.algorithm(), signed);
    assert!(signed.is_none() || again.auth.integrity.verify(&MacKey::new(KEY)));
    assert_eq!(again.peers.iter().collect::<Vec<_>>(), request.peers.iter().collect::<Vec<_>>());
    // What lies in place differs from place to place; every other field must not.
    let mut same = again.clone();
    same.auth.integrity = request.auth.integrity;
    same.peers = request.peers;
    assert_eq!(format!("{same:?}"), format!("{request:?}"));
    assert_eq!(write_request(&again), once, "writing is one to one");
}

/// Every field of `request` as an attribute.
fn write_request(request: &Request<'_>) -> Vec<u8> {
    let mut out = vec![0xAA; ROOM];
    let mut writer = MessageWriter::request(&mut out, request.method, request.transaction);
    write_auth(&mut writer, request);
    write_turn(&mut writer, request);
    for kind in request.unknown.as_slice() {
        match (*kind, &request.discovery) {
            (attribute::CHANGE_REQUEST, asked) => {
                let change = asked.change.expect("a good one is there");
                let flags = u8::from(change.ip) << 2 | u8::from(change.port) << 1;
                writer.attribute(*kind, &[0, 0, 0, flags]);
            }
            (attribute::RESPONSE_PORT, asked) => {
                let [high, low] = asked.response_port.expect("a good one is there").to_be_bytes();
                writer.attribute(*kind, &[high, low, 0, 0]);
            }
            (attribute::PADDING, asked) => {
                writer.zeros(*kind, asked.padding_len.expect("one is there"));
            }
            _ => _ = writer.attribute(*kind, &[]),
        }
    }
    let key = MacKey::new(KEY);
    if let Some(algorithm) = request.auth.integrity.algorithm() {
        writer.integrity(Signature { key: &key, algorithm });
    }
    if request.fingerprint {
        writer.fingerprint();
    }
    finish(writer.finish(), out)
}

fn write_auth(writer: &mut MessageWriter<'_>, request: &Request<'_>) {
    let auth = &request.auth;
    let texts = [
        (attribute::USERNAME, auth.username),
        (attribute::USERHASH, auth.userhash.map(|hash| &hash[..])),
        (attribute::REALM, auth.realm),
        (attribute::NONCE, auth.nonce),
        (attribute::PASSWORD_ALGORITHMS, auth.password_algorithms),
        (attribute::ACCESS_TOKEN, auth.access_token),
        (attribute::MOBILITY_TICKET, request.mobility_ticket),
    ];
    for (kind, value) in texts {
        if let Some(value) = value {
            writer.attribute(kind, value);
        }
    }
    if let Some((number, parameters)) = auth.password_algorithm {
        let len = u16::try_from(parameters.len()).expect("it was read from an attribute");
        let value = [&number.to_be_bytes()[..], &len.to_be_bytes(), parameters].concat();
        writer.attribute(attribute::PASSWORD_ALGORITHM, &value);
    }
}

fn write_turn(writer: &mut MessageWriter<'_>, request: &Request<'_>) {
    if let Some(lifetime) = request.lifetime {
        writer.attribute(attribute::LIFETIME, &lifetime.as_secs().to_be_bytes());
    }
    let bytes = [
        (attribute::REQUESTED_TRANSPORT, request.requested_transport),
        (attribute::REQUESTED_ADDRESS_FAMILY, request.requested_family),
        (attribute::ADDITIONAL_ADDRESS_FAMILY, request.additional_family),
    ];
    for (kind, value) in bytes {
        if let Some(value) = value {
            writer.attribute(kind, &[value, 0, 0, 0]);
        }
    }
    if let Some(reserve) = request.even_port {
        writer.attribute(attribute::EVEN_PORT, &[u8::from(reserve) << 7]);
    }
    if let Some(token) = request.reservation_token {
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    }
    if request.dont_fragment {
        writer.attribute(attribute::DONT_FRAGMENT, &[]);
    }
    if let Some(number) = request.channel_number {
        let [high, low] = number.to_be_bytes();
        writer.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]);
    }
    for peer in request.peers.iter() {
        writer.peer(peer);
    }
    if let Some(connection) = request.connection_id {
        writer.attribute(attribute::CONNECTION_ID, &connection.to_wire().to_be_bytes());
    }
}

fn of_answer(answer: &Answer<'_>) {
    assert!(answer.error_code.is_none_or(|code| (300..700).contains(&code)));
    assert!(!answer.integrity.verify(&MacKey::new(b"the key of nobody")));
    let Some(response) = as_response(answer) else { return };
    let once = write_response(&response, answer);
    let again = decode_response(&once).expect("what is written is read");
    let same = Answer { integrity: answer.integrity, ..again };
    assert_eq!(format!("{same:?}"), format!("{answer:?}"));
    let response = as_response(&again).expect("nothing was lost");
    assert_eq!(write_response(&response, &again), once, "writing is one to one");
}

/// `None` for what this server would never say.
fn as_response<'a>(answer: &Answer<'a>) -> Option<Response<'a>> {
    let outcome = match (answer.success, answer.error_code) {
        (true, None) => Outcome::Success,
        (false, Some(code)) => Outcome::Error(ErrorCode::from_number(code)?),
        _ => return None,
    };
    let second_alone = answer.relayed_address.is_none() && answer.additional_relayed_address.is_some();
    if answer.bad_attribute.is_some() || !answer.unknown.is_empty() || second_alone {
        return None;
    }
    Some(Response {
        mapped_address: answer.mapped_address,
        relayed_address: answer.relayed_address,
        lifetime: answer.lifetime,
        reservation_token: answer.reservation_token,
        unknown_attributes: answer.unknown_attributes,
        realm: answer.realm,
        nonce: answer.nonce,
        password_algorithms: answer.password_algorithms,
        software: answer.software.map(str::from_utf8).transpose().ok()?,
        third_party: answer.third_party,
        alternate_server: answer.alternate_server,
        additional_relayed_address: answer.additional_relayed_address,
        address_error: match answer.address_error {
            Some((family, code)) => Some((family, ErrorCode::from_number(code)?)),
            None => None,
        },
        mobility_ticket: answer.mobility_ticket,
        additional_alternate_server: answer.additional_alternate_server,
        connection_id: answer.connection_id,
        ..Response::new(answer.method, answer.transaction, outcome)
    })
}

fn write_response(response: &Response<'_>, answer: &Answer<'_>) -> Vec<u8> {
    let key = MacKey::new(KEY);
    let signature =
        answer.integrity.algorithm().map(|algorithm: Algorithm| Signature { key: &key, algorithm });
    let mut out = vec![0xAA; ROOM];
    finish(encode_response(response, signature, answer.fingerprint, &mut out), out)
}

fn of_send(datagram: &[u8]) {
    let Ok(send) = indication::decode_send(datagram) else { return };
    assert!(send.data.len() < datagram.len());
    let once = write_indication(indication::SEND, &datagram[4..20], |writer| {
        writer.peer(send.peer);
        if send.dont_fragment {
            writer.attribute(attribute::DONT_FRAGMENT, &[]);
        }
        writer.attribute(attribute::DATA, send.data);
    });
    let again = indication::decode_send(&once).expect("what is written is read");
    assert_eq!((again.peer, again.data, again.dont_fragment), (send.peer, send.data, send.dont_fragment));
    assert!(indication::decode_data(datagram).is_err(), "a Send indication is no Data indication");
}

fn of_data(datagram: &[u8]) {
    let Ok((peer, data)) = indication::decode_data(datagram) else { return };
    let transaction = transaction(&datagram[4..20]);
    let once = write_indication(indication::DATA, &transaction.0, |writer| {
        writer.peer(peer).attribute(attribute::DATA, data);
    });
    let len = u16::try_from(data.len()).expect("it was read from an attribute");
    let mut headroom = [0xAA; indication::DATA_HEADER_MAX];
    let header = indication::write_data_header(&mut headroom, transaction, peer, len).expect("there is room");
    let mut in_place = headroom[headroom.len() - header..].to_vec();
    in_place.extend_from_slice(data);
    in_place.resize(in_place.len().next_multiple_of(4), 0);
    assert_eq!(in_place, once, "both ways of writing are one");
    assert_eq!(indication::decode_data(&once), Ok((peer, data)));
}

fn of_channel_data(datagram: &[u8]) {
    let Ok((channel, data)) = channel_data::decode(datagram) else { return };
    let len = u16::try_from(data.len()).expect("it was read from a length field");
    let once = [&channel_data::header(channel, len), data].concat();
    assert!(datagram.starts_with(&once) && datagram.len() - once.len() < 4);
    assert_eq!(channel_data::decode(&once), Ok((channel, data)));
    assert!(once.len() == 4 || channel_data::decode(&once[..once.len() - 1]) == Err(Malformed::Truncated));
}

fn of_classic(datagram: &[u8]) {
    let Ok(classic) = rfc3489::decode_binding(datagram) else { return };
    assert!(rfc3489::is_binding_request(datagram));
    assert_eq!(classic.transaction.0[..], datagram[4..20]);
    assert!(classic.unknown.as_slice().iter().all(|kind| *kind < 0x8000));
    assert!(classic.unknown.as_slice().len() <= UNKNOWN_ATTRIBUTES_MAX);
    assert!(decode_request(datagram).is_err() && decode_response(datagram).is_err());
}

/// What a client is told of an ICMP error, whatever came from the error queue.
fn of_icmp(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (kind, code) = (choices.byte(), choices.byte());
    let data = u32::from(choices.u16()) << 16 | u32::from(choices.u16());
    let address: SocketAddr = match choices.flag() {
        false => ([203, 0, 113, choices.byte()], choices.u16()).into(),
        true => ([0x2001, 0xDB8, 0, 0, 0, 0, 0, choices.u16()], choices.u16()).into(),
    };
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let Some(told) = (Icmp { kind, code, data }).for_client(family) else { return };
    assert_eq!((told.kind, told.code), (kind, code));
    assert!(told.data == 0 || told.data == data);
    let mut out = [0xAA; icmp::INDICATION_MAX];
    let transaction = TransactionId::with_cookie([7; 12]);
    let len =
        icmp::write_indication(&mut out, transaction, PeerAddr::new(address), told).expect("there is room");
    let expected = write_indication(indication::DATA, &transaction.0, |writer| {
        let value = [&[0, 0, kind, code][..], &told.data.to_be_bytes()].concat();
        writer.peer(PeerAddr::new(address)).attribute(attribute::ICMP, &value);
    });
    assert_eq!(out[..len], expected);
    assert_eq!(
        indication::decode_data(&out[..len]),
        Err(indication::Refused::Incomplete),
        "it carries no data"
    );
}

fn write_indication(method: u16, id: &[u8], write: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut out = vec![0xAA; ROOM];
    let (class, method) = (MessageClass::Indication, Method::Unknown(method));
    let mut writer = MessageWriter::new(&mut out, class, method, transaction(id));
    write(&mut writer);
    finish(writer.finish(), out)
}

fn transaction(id: &[u8]) -> TransactionId {
    TransactionId(*id.as_array().expect("sixteen bytes of a header"))
}

fn finish(len: Result<usize, Malformed>, mut out: Vec<u8>) -> Vec<u8> {
    out.truncate(len.expect("what was read from a datagram fits one"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in no corpus.
    #[test]
    fn the_messages_of_connections_are_read_and_written_alike() {
        let message = |class, method, write: &dyn Fn(&mut MessageWriter<'_>)| {
            let mut out = vec![0xAA; 200];
            let transaction = TransactionId::with_cookie(*b"transaction!");
            let mut writer = MessageWriter::new(&mut out, class, method, transaction);
            write(&mut writer);
            finish(writer.finish(), out)
        };
        let id = |writer: &mut MessageWriter<'_>| {
            writer.attribute(attribute::CONNECTION_ID, &[1, 2, 3, 4]);
        };
        let peer = |writer: &mut MessageWriter<'_>| {
            writer.peer(PeerAddr::new(([192, 0, 2, 1], 80).into()));
        };
        for whole in [
            message(MessageClass::Request, Method::Connect, &peer),
            message(MessageClass::Success, Method::Connect, &id),
            message(MessageClass::Request, Method::ConnectionBind, &id),
            message(MessageClass::Success, Method::ConnectionBind, &id),
            message(MessageClass::Error, Method::ConnectionBind, &|writer| {
                writer.error_code(ErrorCode::ConnectionTimeoutOrFailure);
            }),
            message(MessageClass::Indication, Method::Unknown(connection::CONNECTION_ATTEMPT), &|writer| {
                peer(writer);
                id(writer);
            }),
        ] {
            (0..=whole.len()).for_each(|len| body(&whole[..len]));
        }
    }
}
