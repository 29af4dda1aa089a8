//! Answers to clients of RFC 3489, whose messages have no magic cookie. RFC 8489 took its place, but old telephones and Debian's
//! `stun` still speak it.
//!
//! RESPONSE-ADDRESS, by which anyone could have anyone else flooded, is refused by name with 420. The answers are
//! not signed: the shared secret that RFC 3489 would sign them with was given out over a TLS service that nobody
//! runs.

use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::limits::UNKNOWN_ATTRIBUTES_MAX;
use crate::proto::wire::Change;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::UnknownAttributes;
use crate::proto::wire::rfc3489;
use crate::proto::wire::rfc3489::ClassicBinding;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::framing::MessageClass;

use super::Answered;
use super::Discovery;

/// Answers `datagram`, a Binding request of RFC 3489 that came from `from`, into `out`. Over DTLS it gets 500.
///
/// # Errors
/// [`Malformed`] if it is none, or if there is no room for the answer.
pub fn answer_classic(
    discovery: &Discovery,
    datagram: &[u8],
    from: &FiveTuple,
    out: &mut [u8],
) -> Result<Answered, Malformed> {
    let request = rfc3489::decode_binding(datagram)?;
    // RFC 8489 § 11: whoever can do DTLS knows the cookie.
    if from.transport == Transport::Dtls {
        return refuse(&request, ErrorCode::ServerError, &UnknownAttributes::default(), from, out);
    }
    let standing = discovery.at(from.server);
    let mut unknown = request.unknown;
    // Debian's client sends the attribute with both flags down where it wants no change.
    if standing.is_none() && request.change != Change::default() {
        unknown.push(attribute::CHANGE_REQUEST);
    }
    if !unknown.is_empty() {
        return refuse(&request, ErrorCode::UnknownAttribute, &unknown, from, out);
    }
    if request.bad {
        return refuse(&request, ErrorCode::BadRequest, &unknown, from, out);
    }
    let mut writer = MessageWriter::new(out, MessageClass::Success, Method::Binding, request.transaction);
    writer.address(attribute::MAPPED_ADDRESS, from.client.socket());
    let mut to = *from;
    if let Some(standing) = standing {
        let origin = standing.origin(request.change);
        writer.address(rfc3489::SOURCE_ADDRESS, origin.external);
        writer.address(rfc3489::CHANGED_ADDRESS, standing.other());
        to.server = ServerAddr::new(origin.bind);
    }
    Ok(Answered { len: writer.finish()?, code: None, to })
}

fn refuse(
    request: &ClassicBinding,
    code: ErrorCode,
    unknown: &UnknownAttributes,
    from: &FiveTuple,
    out: &mut [u8],
) -> Result<Answered, Malformed> {
    let mut writer = MessageWriter::new(out, MessageClass::Error, Method::Binding, request.transaction);
    writer.error_code(code);
    if !unknown.is_empty() {
        // RFC 3489 § 11.2.10 knows no padding: of an odd number of types one is repeated.
        let (mut value, mut len) = ([0; 2 * UNKNOWN_ATTRIBUTES_MAX], 0);
        let types = unknown.as_slice();
        let repeated = types.last().filter(|_| types.len() % 2 == 1);
        for (space, kind) in value.chunks_exact_mut(2).zip(types.iter().chain(repeated)) {
            space.copy_from_slice(&kind.to_be_bytes());
            len += 2;
        }
        writer.attribute(attribute::UNKNOWN_ATTRIBUTES, &value[..len]);
    }
    Ok(Answered { len: writer.finish()?, code: Some(code), to: *from })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::proto::binding::Endpoint;
    use crate::proto::binding::Quartet;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::limits::RESPONSE_MAX;

    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    fn from(server: &str) -> FiveTuple {
        FiveTuple {
            client: ClientAddr::new(socket("198.51.100.9:40000")),
            server: ServerAddr::new(socket(server)),
            transport: Transport::Udp,
        }
    }

    fn on() -> Discovery {
        let end = |text| Endpoint { bind: socket(text), external: socket(text) };
        Discovery::new(Quartet::new(end("192.0.2.1:3478"), end("192.0.2.2:3479")))
    }

    /// A request with `attributes`, already encoded.
    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 1, 0, u8::try_from(attributes.len()).expect("short")];
        message.extend(*b"sixteen byte id.");
        message.extend(attributes);
        message
    }

    fn asked(discovery: &Discovery, datagram: &[u8]) -> (Answered, Vec<u8>) {
        let mut out = [0xEE; RESPONSE_MAX];
        let answered =
            answer_classic(discovery, datagram, &from("192.0.2.1:3478"), &mut out).expect("a request");
        assert_eq!(out[4..20], datagram[4..20], "the transaction id");
        (answered, out[..answered.len].to_vec())
    }

    const MAPPED: [u8; 12] = [0, 1, 0, 8, 0, 1, 0x9C, 0x40, 198, 51, 100, 9];

    // proves rfc5780:3-1
    #[test]
    fn the_answer_holds_the_address_in_the_clear() {
        let (answered, message) = asked(&Discovery::default(), &request(&[]));
        assert_eq!((answered.len, answered.code, answered.to), (32, None, from("192.0.2.1:3478")));
        assert_eq!(message[..4], [0x01, 0x01, 0, 12]);
        assert_eq!(message[20..], MAPPED);
    }

    // proves rfc8489:11-1, rfc8489:11-2, rfc8489:11-4
    #[test]
    fn over_dtls_it_gets_500_and_what_is_no_request_nothing() {
        let over_dtls = FiveTuple { transport: Transport::Dtls, ..from("192.0.2.1:3478") };
        let mut out = [0xEE; RESPONSE_MAX];
        for datagram in [request(&[]), request(&[0, 3, 0, 4, 0, 0, 0, 6]), request(&[0, 2, 0, 0])] {
            let answered = answer_classic(&on(), &datagram, &over_dtls, &mut out).expect("a request");
            assert_eq!((answered.code, answered.to), (Some(ErrorCode::ServerError), over_dtls));
            assert_eq!((&out[..2], &out[4..20]), (&[0x01, 0x11][..], &datagram[4..20]));
        }
        let mut indication = request(&[]);
        indication[1] = 0x11;
        assert!(answer_classic(&on(), &indication, &over_dtls, &mut out).is_err());
    }

    #[test]
    fn with_two_addresses_it_tells_source_and_changed_address() {
        let (answered, message) = asked(&on(), &request(&[0, 3, 0, 4, 0, 0, 0, 6]));
        assert_eq!((answered.len, answered.to), (56, from("192.0.2.2:3479")));
        assert_eq!(message[20..32], MAPPED);
        assert_eq!(message[32..44], [0, 4, 0, 8, 0, 1, 0x0D, 0x97, 192, 0, 2, 2]);
        assert_eq!(message[44..], [0, 5, 0, 8, 0, 1, 0x0D, 0x97, 192, 0, 2, 2]);
    }

    #[test]
    fn without_a_second_address_only_an_empty_change_is_granted() {
        let (answered, _) = asked(&Discovery::default(), &request(&[0, 3, 0, 4, 0, 0, 0, 0]));
        assert_eq!(answered.code, None);
        let (answered, message) = asked(&Discovery::default(), &request(&[0, 3, 0, 4, 0, 0, 0, 2]));
        assert_eq!(answered.code, Some(ErrorCode::UnknownAttribute));
        assert_eq!(message[..2], [0x01, 0x11]);
        assert_eq!(message[20..], [0, 9, 0, 4, 0, 0, 4, 20, 0, 10, 0, 4, 0, 3, 0, 3], "one type, twice");
    }

    // proves rfc5780:3-1
    #[test]
    fn a_response_address_is_refused_by_name_and_nothing_goes_there() {
        let wanted = [0, 2, 0, 8, 0, 1, 0, 53, 203, 0, 113, 99];
        for discovery in [Discovery::default(), on()] {
            let (answered, message) = asked(&discovery, &request(&wanted));
            assert_eq!(answered.to, from("192.0.2.1:3478"));
            assert_eq!(answered.code, Some(ErrorCode::UnknownAttribute));
            assert_eq!(message[28..], [0, 10, 0, 4, 0, 2, 0, 2]);
        }
    }

    #[test]
    fn a_broken_change_request_gets_400_and_a_broken_message_nothing() {
        let (answered, _) = asked(&on(), &request(&[0, 3, 0, 3, 0, 0, 6, 0]));
        assert_eq!((answered.code, answered.to), (Some(ErrorCode::BadRequest), from("192.0.2.1:3478")));
        let mut out = [0; RESPONSE_MAX];
        for datagram in [request(&[0, 3, 0, 9]), b"\x00\x03\x00\x00sixteen byte id.".to_vec(), Vec::new()] {
            let refused = answer_classic(&on(), &datagram, &from("192.0.2.1:3478"), &mut out);
            assert!(refused.is_err(), "{datagram:?}");
        }
        let no_room = answer_classic(&on(), &request(&[]), &from("192.0.2.1:3478"), &mut [0; 31]);
        assert_eq!(no_room, Err(Malformed::NoRoom));
    }

    #[test]
    fn more_unknown_types_than_are_named_stay_within_the_answer() {
        let many: Vec<u8> = (0x30..0x50).flat_map(|kind| [0, kind, 0, 0]).collect();
        let (answered, message) = asked(&on(), &request(&many));
        assert_eq!(answered.code, Some(ErrorCode::UnknownAttribute));
        assert_eq!(message.len(), 20 + 8 + 4 + 2 * UNKNOWN_ATTRIBUTES_MAX);
    }
}
