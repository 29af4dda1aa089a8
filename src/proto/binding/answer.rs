//! Answers to clients of RFC 8489, and of RFC 5780 where the server has two addresses.

use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::limits::DISCOVERY_PADDING_MAX;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::UnknownAttributes;
use crate::proto::wire::discovery::is_discovery;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::framing::MessageClass;

use super::Answered;
use super::Discovery;
use super::discovery::Standing;

/// Answers `request`, a Binding request that came from `from`, into `out`. Attributes that mean nothing to one are
/// ignored (RFC 8489 § 6.3), and its integrity is not looked at (§ 12).
///
/// # Errors
/// [`Malformed::NoRoom`] if `out` is too small.
pub fn answer(
    discovery: &Discovery,
    request: &Request<'_>,
    from: &FiveTuple,
    out: &mut [u8],
) -> Result<Answered, Malformed> {
    // What discovery asks for, answers from elsewhere, only bare UDP can give.
    let standing = discovery.at(from.server).filter(|_| from.transport == Transport::Udp);
    match standing {
        None => plain(request, from, out),
        Some(standing) => discovered(&standing, request, from, out),
    }
}

/// RFC 8489 alone. The answer is as small as it can be.
fn plain(request: &Request<'_>, from: &FiveTuple, out: &mut [u8]) -> Result<Answered, Malformed> {
    if !request.unknown.is_empty() {
        return refuse(ErrorCode::UnknownAttribute, &request.unknown, request, from, out);
    }
    let mut writer = MessageWriter::new(out, MessageClass::Success, Method::Binding, request.transaction);
    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, from.client.socket());
    seal(writer, request, None, *from)
}

/// RFC 5780 § 6.1.
fn discovered(
    standing: &Standing<'_>,
    request: &Request<'_>,
    from: &FiveTuple,
    out: &mut [u8],
) -> Result<Answered, Malformed> {
    let unknown = request.unknown.without(is_discovery);
    if !unknown.is_empty() {
        return refuse(ErrorCode::UnknownAttribute, &unknown, request, from, out);
    }
    let asked = &request.discovery;
    // "If the Request also contains the RESPONSE-PORT attribute the server MUST return an error response of type 400."
    if asked.bad || (asked.padding_len.is_some() && asked.response_port.is_some()) {
        return refuse(ErrorCode::BadRequest, &unknown, request, from, out);
    }
    let origin = standing.origin(asked.change.unwrap_or_default());
    let mapped = from.client.socket();
    let mut writer = MessageWriter::new(out, MessageClass::Success, Method::Binding, request.transaction);
    // "The server MUST include both MAPPED-ADDRESS and XOR-MAPPED-ADDRESS": a gateway that rewrites addresses within
    // packets shows by the difference (§ 3.6).
    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
    writer.address(attribute::MAPPED_ADDRESS, mapped);
    writer.address(attribute::RESPONSE_ORIGIN, origin.external);
    writer.address(attribute::OTHER_ADDRESS, standing.other());
    if let Some(len) = asked.padding_len {
        // The standard wishes for the MTU of the outgoing interface; but then a small request would have a large answer.
        writer.zeros(attribute::PADDING, len.min(DISCOVERY_PADDING_MAX));
    }
    let mut to = FiveTuple { server: ServerAddr::new(origin.bind), ..*from };
    if let Some(port) = asked.response_port {
        let mut client = mapped;
        client.set_port(port);
        to.client = ClientAddr::new(client);
    }
    seal(writer, request, None, to)
}

/// A refusal goes back the way the request came.
fn refuse(
    code: ErrorCode,
    unknown: &UnknownAttributes,
    request: &Request<'_>,
    from: &FiveTuple,
    out: &mut [u8],
) -> Result<Answered, Malformed> {
    let mut writer = MessageWriter::new(out, MessageClass::Error, Method::Binding, request.transaction);
    writer.error_code(code);
    if !unknown.is_empty() {
        writer.unknown_attributes(unknown);
    }
    seal(writer, request, Some(code), *from)
}

fn seal(
    mut writer: MessageWriter<'_>,
    request: &Request<'_>,
    code: Option<ErrorCode>,
    to: FiveTuple,
) -> Result<Answered, Malformed> {
    if request.fingerprint {
        writer.fingerprint();
    }
    Ok(Answered { len: writer.finish()?, code, to })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use crate::proto::binding::Endpoint;
    use crate::proto::binding::Quartet;
    use crate::proto::types::Transport;
    use crate::proto::types::limits::DISCOVERY_SURPLUS_MAX;
    use crate::proto::types::limits::RESPONSE_MAX;
    use crate::proto::wire::TransactionId;
    use crate::proto::wire::rfc8656::decode::decode_request;

    use super::*;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"where am I??");

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    fn same(text: &str) -> Endpoint {
        Endpoint { bind: socket(text), external: socket(text) }
    }

    fn both_families() -> Discovery {
        let v4 = Quartet::new(same("192.0.2.1:3478"), same("192.0.2.2:3479")).expect("sound");
        let v6 = Quartet::new(same("[2001:db8::1]:3478"), same("[2001:db8::2]:3479")).expect("sound");
        Discovery::new([v4, v6])
    }

    fn five_tuple(client: &str, server: &str) -> FiveTuple {
        let (client, server) = (ClientAddr::new(socket(client)), ServerAddr::new(socket(server)));
        FiveTuple { client, server, transport: Transport::Udp }
    }

    fn v4() -> FiveTuple {
        five_tuple("198.51.100.9:40000", "192.0.2.1:3478")
    }

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0; 70_000];
        let mut writer = MessageWriter::request(&mut out, Method::Binding, TRANSACTION);
        for (kind, value) in attributes {
            writer.attribute(*kind, value);
        }
        let len = writer.finish().expect("there is room");
        out.truncate(len);
        out
    }

    fn asked(discovery: &Discovery, from: &FiveTuple, datagram: &[u8]) -> (Answered, Vec<u8>) {
        let request = decode_request(datagram).expect("a request");
        let mut out = [0xEE; RESPONSE_MAX];
        let answered = answer(discovery, &request, from, &mut out).expect("there is room");
        (answered, out[..answered.len].to_vec())
    }

    /// Types and values of a message's attributes.
    fn attributes(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let (mut rest, mut found) = (&message[20..], Vec::new());
        while let Some((&[t0, t1, l0, l1], tail)) = rest.split_first_chunk::<4>() {
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            found.push((u16::from_be_bytes([t0, t1]), tail[..len].to_vec()));
            rest = &tail[len.next_multiple_of(4)..];
        }
        found
    }

    fn kinds(message: &[u8]) -> Vec<u16> {
        attributes(message).into_iter().map(|(kind, _)| kind).collect()
    }

    fn code(answered: &Answered) -> Option<u16> {
        answered.code.map(ErrorCode::number)
    }

    // proves rfc5780:6-4, rfc5780:6-5, rfc5780:6.1-2, rfc5780:7.4-1
    #[test]
    fn without_discovery_an_answer_is_an_address_and_its_attributes_are_unknown() {
        let off = Discovery::default();
        let (answered, message) = asked(&off, &v4(), &request(&[]));
        assert_eq!((answered.len, answered.to, kinds(&message)), (32, v4(), vec![0x0020]));
        for (kind, value) in [(0x0003, &[0, 0, 0, 6][..]), (0x0026, &[0; 8]), (0x0027, &[0, 80, 0, 0])] {
            let (answered, message) = asked(&off, &v4(), &request(&[(kind, value)]));
            assert_eq!((code(&answered), answered.to), (Some(420), v4()));
            assert_eq!(attributes(&message)[1], (0x000A, kind.to_be_bytes().to_vec()));
        }
    }

    #[test]
    fn a_listener_that_is_no_corner_discovers_nothing() {
        let elsewhere = five_tuple("198.51.100.9:40000", "192.0.2.9:3478");
        let (answered, message) = asked(&both_families(), &elsewhere, &request(&[]));
        assert_eq!((answered.len, kinds(&message)), (32, vec![0x0020]));
        let (answered, _) = asked(&both_families(), &elsewhere, &request(&[(0x0003, &[0, 0, 0, 6])]));
        assert_eq!(code(&answered), Some(420));
    }

    // proves rfc5780:6.1-1, rfc5780:6.1-11, rfc5780:6.1-12, rfc5780:7.1-1
    #[test]
    fn over_a_stream_there_is_no_other_way_back() {
        for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
            let from = FiveTuple { transport, ..v4() };
            let (answered, message) = asked(&both_families(), &from, &request(&[]));
            assert_eq!((answered.to, kinds(&message)), (from, vec![0x0020]));
            for (kind, value) in [(0x0003, &[0, 0, 0, 6][..]), (0x0027, &[0x20, 0, 0, 0])] {
                let (answered, _) = asked(&both_families(), &from, &request(&[(kind, value)]));
                assert_eq!((answered.to, code(&answered)), (from, Some(420)));
            }
        }
    }

    #[test]
    fn an_answer_tells_origin_and_other_address_unasked() {
        let (answered, message) = asked(&both_families(), &v4(), &request(&[]));
        assert_eq!((answered.code, answered.to), (None, v4()));
        let mapped = vec![0, 1, 0x9C, 0x40, 198, 51, 100, 9];
        assert_eq!(
            attributes(&message)[1..],
            [
                (0x0001, mapped),
                (0x802B, vec![0, 1, 0x0D, 0x96, 192, 0, 2, 1]),
                (0x802C, vec![0, 1, 0x0D, 0x97, 192, 0, 2, 2]),
            ]
        );
        assert_eq!(kinds(&message)[0], 0x0020);
    }

    // proves rfc5780:6.1-8, rfc5780:6.1-9, rfc5780:6.1-10, rfc5780:6.1-12
    #[test]
    fn a_change_request_moves_the_origin_and_not_the_other_address() {
        for (flags, server) in
            [(0, "192.0.2.1:3478"), (2, "192.0.2.1:3479"), (4, "192.0.2.2:3478"), (6, "192.0.2.2:3479")]
        {
            let (answered, message) =
                asked(&both_families(), &v4(), &request(&[(0x0003, &[0, 0, 0, flags])]));
            assert_eq!(answered.to, five_tuple("198.51.100.9:40000", server), "flags {flags}");
            let told = attributes(&message);
            let SocketAddr::V4(origin) = socket(server) else { unreachable!("a literal") };
            assert_eq!(told[2].1[2..4], origin.port().to_be_bytes());
            assert_eq!(told[2].1[4..], origin.ip().octets());
            assert_eq!(told[3].1[4..], [192, 0, 2, 2]);
        }
    }

    // proves rfc5780:6.1-18, rfc5780:7.5-1, rfc5780:7.5-3
    #[test]
    fn a_response_port_changes_the_port_and_never_the_address() {
        let datagram = request(&[(0x0027, &[0x12, 0x34, 0, 0])]);
        let (answered, _) = asked(&both_families(), &v4(), &datagram);
        assert_eq!(answered.to, five_tuple("198.51.100.9:4660", "192.0.2.1:3478"));
        let (answered, _) = asked(&both_families(), &v4(), &request(&[(0x0027, &[0, 0, 0, 0])]));
        assert_eq!((code(&answered), answered.to), (Some(400), v4()));
    }

    // proves rfc5780:6.1-15, rfc5780:7.5-2
    #[test]
    fn padding_and_response_port_together_are_refused() {
        let datagram = request(&[(0x0026, &[0; 4]), (0x0027, &[0x12, 0x34, 0, 0])]);
        let (answered, message) = asked(&both_families(), &v4(), &datagram);
        assert_eq!((code(&answered), answered.to, kinds(&message)), (Some(400), v4(), vec![0x0009]));
    }

    // proves rfc5780:6.1-14, rfc5780:7.6-1, rfc5780:7.6-2, rfc5780:10-1
    #[test]
    fn padding_is_answered_by_no_more_of_it_up_to_a_limit() {
        for (sent, told) in [(0, 0), (1, 1), (100, 100), (1_500, 1_500), (1_501, 1_500), (60_000, 1_500)] {
            let (_, message) = asked(&both_families(), &v4(), &request(&[(0x0026, &vec![7; sent])]));
            let last = attributes(&message).pop().expect("attributes");
            assert_eq!(last, (0x0026, vec![0; told]));
        }
    }

    #[test]
    fn what_else_is_unknown_is_named_alone() {
        let datagram = request(&[(0x0003, &[0, 0, 0, 6]), (0x7001, &[]), (0x0026, &[])]);
        let (answered, message) = asked(&both_families(), &v4(), &datagram);
        assert_eq!((code(&answered), answered.to), (Some(420), v4()), "refusals do not wander");
        assert_eq!(attributes(&message)[1], (0x000A, vec![0x70, 0x01]));
    }

    #[test]
    fn what_stands_behind_the_integrity_or_for_a_second_time_does_not_count() {
        let datagram = request(&[(0x0008, &[9; 20]), (0x0003, &[0, 0, 0, 6])]);
        assert_eq!(asked(&both_families(), &v4(), &datagram).0.to, v4());
        let datagram = request(&[(0x0003, &[0, 0, 0, 0]), (0x0003, &[0, 0, 0, 6])]);
        assert_eq!(asked(&both_families(), &v4(), &datagram).0.to, v4());
    }

    proptest! {
        // proves rfc5780:6.1-17
        #[test]
        fn no_request_makes_an_answer_that_amplifies_or_reflects(
            ipv6 in any::<bool>(),
            list in prop::collection::vec(
                (prop::sample::select(vec![0x0003_u16, 0x0026, 0x0027, 0x0001, 0x7000, 0x8022]), 0_usize..1_700),
                0..4,
            ),
            fill in any::<u8>(),
        ) {
            let from = if ipv6 {
                five_tuple("[2001:db8::9]:40000", "[2001:db8::2]:3478")
            } else {
                v4()
            };
            let values: Vec<_> = list
                .iter()
                .map(|(kind, len)| (*kind, vec![fill; if *kind == 0x0026 { *len } else { len % 5 }]))
                .collect();
            let borrowed: Vec<_> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
            let datagram = request(&borrowed);
            let (answered, message) = asked(&both_families(), &from, &datagram);
            prop_assert!(answered.len <= datagram.len() + DISCOVERY_SURPLUS_MAX);
            prop_assert!(!kinds(&message).contains(&attribute::ALTERNATE_SERVER));
            prop_assert_eq!(answered.to.client.ip(), from.client.ip());
        }
    }
}
