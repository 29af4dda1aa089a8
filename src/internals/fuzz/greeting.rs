//! What strangers are told: whatever they send, small answers, the same each time, and none to what asks for none.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::binding::Discovery;
use crate::proto::binding::Endpoint;
use crate::proto::binding::Quartet;
use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;
use crate::proto::types::limits::RESPONSE_MAX;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::classify::Class;
use crate::proto::wire::classify::classify;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;

use super::choices::Choices;
use super::choices::Dice;
use super::choices::five_tuple;
use super::mend::mended;
use super::mend::replace;

const REALM: &str = "edge.example.net";
const NAME: &str = "turn.example.net";
const KEY: &[u8] = b"the key of the fuzzer";
const STALE: u8 = 0xA5;

pub(super) fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let how = choices.byte();
    let from = five_tuple(choices.byte() % 4);
    let tick = Tick::from_millis(u64::from(choices.u16()) * 1_000);
    let challenger = challenger(how, &from);
    let datagram = choices.remainder();
    judge(&challenger, tick, &from, datagram);
    let mut message = mended(datagram, KEY);
    judge(&challenger, tick, &from, &message);
    // Chance alone finds no nonce of ours.
    replace(&mut message, attribute::NONCE, &challenger.nonce_key.mint(tick, &from).0);
    judge(&challenger, tick, &from, &mended(&message, KEY));
}

/// A bit each for username anonymity, tokens, and discovery.
fn challenger(how: u8, from: &FiveTuple) -> Challenger {
    let server = from.server.socket();
    let other: SocketAddr = match server.is_ipv4() {
        true => ([198, 51, 100, 2], 3_479).into(),
        false => ([0x2001, 0xDB8, 0, 0, 0, 0, 0, 0xFFFE], 3_479).into(),
    };
    let endpoint = |address| Endpoint { bind: address, external: address };
    let quartet = Quartet::new(endpoint(server), endpoint(other)).expect("they differ in address and port");
    let discovery = if how & 4 != 0 { Discovery::new(vec![quartet]) } else { Discovery::default() };
    Challenger {
        realm: REALM.into(),
        nonce_key: NonceKey::generate(&mut Dice(7)).with_username_anonymity(how & 1 != 0),
        nonce_lifetime: Duration::from_secs(3_600),
        discovery,
        third_party: (how & 2 != 0).then(|| NAME.into()),
        legacy: false,
    }
}

fn judge(challenger: &Challenger, tick: Tick, from: &FiveTuple, datagram: &[u8]) {
    let mut out = [STALE; RESPONSE_MAX];
    let greeting = challenger.greet(tick, from, datagram, &mut out);
    let mut again = [!STALE; RESPONSE_MAX];
    assert_eq!(challenger.greet(tick, from, datagram, &mut again), greeting, "{datagram:02x?}");
    match greeting {
        Greeting::Malformed => {}
        Greeting::ToControl => {
            let request = decode_request(datagram).expect("control judges requests alone");
            assert!(!matches!(request.method, Method::Binding | Method::Unknown(_)));
            assert!(request.auth.integrity.algorithm().is_some() && request.auth.nonce.is_some());
        }
        Greeting::Answer { len, code, to } => {
            assert_eq!(out[..len], again[..len], "nothing of what was in the buffer");
            of_route(challenger, from, &to);
            match classify(datagram, None) {
                // With the old dialect off, what could be either is read as the other one.
                Class::Request | Class::Legacy => of_answer(challenger, from, datagram, &out[..len], code),
                Class::ClassicBinding => of_classic(datagram, &out[..len], code),
                other => panic!("an answer to {other:?}: {datagram:02x?}"),
            }
        }
    }
}

fn discovers(challenger: &Challenger) -> bool {
    challenger.discovery.quartets().next().is_some()
}

/// An answer goes to the address that asked and leaves from one of ours.
fn of_route(challenger: &Challenger, from: &FiveTuple, to: &FiveTuple) {
    assert_eq!(to.client.ip(), from.client.ip());
    if !discovers(challenger) {
        assert_eq!(to, from);
    }
    let ports = [from.server.port(), 3_479];
    assert!(ports.contains(&to.server.port()) && to.server.family() == from.server.family());
}

fn of_answer(
    challenger: &Challenger,
    from: &FiveTuple,
    datagram: &[u8],
    answer: &[u8],
    code: Option<ErrorCode>,
) {
    let request = decode_request(datagram).expect("nothing else is answered");
    let read = decode_response(answer).expect("an answer is a message");
    assert_eq!((read.method, read.transaction), (request.method, request.transaction));
    assert_eq!(read.success, code.is_none());
    assert_eq!(read.error_code, code.map(ErrorCode::number));
    assert_eq!(read.integrity.algorithm(), None, "a stranger has no key");
    assert_eq!(read.fingerprint, request.fingerprint);
    assert!(read.software.is_none() && read.relayed_address.is_none() && read.mobility_ticket.is_none());
    assert!(answer.len() <= longest(challenger, from, &request, code), "{} bytes", answer.len());
    let is_challenge = matches!(code, Some(ErrorCode::Unauthenticated | ErrorCode::StaleNonce));
    assert_eq!(read.realm, is_challenge.then_some(REALM.as_bytes()));
    assert_eq!((read.nonce.is_some(), read.password_algorithms.is_some()), (is_challenge, is_challenge));
    let outcome = code.map_or(Outcome::Success, Outcome::Error);
    assert_eq!(read.third_party, challenger.third_party_for(outcome));
    if code.is_none() {
        assert_eq!(request.method, Method::Binding);
        assert_eq!(read.mapped_address, Some(from.client.socket()));
    }
}

/// Bytes of the longest answer: what each attribute takes, drawn in the standards.
fn longest(
    challenger: &Challenger,
    from: &FiveTuple,
    request: &Request<'_>,
    code: Option<ErrorCode>,
) -> usize {
    let address = if from.client.socket().is_ipv4() { 12 } else { 24 };
    let padding = request.discovery.padding_len.map_or(0, |len| 4 + len.next_multiple_of(4));
    let unknown = 4 + (2 * request.unknown.as_slice().len()).next_multiple_of(4);
    let challenge = (4 + REALM.len()) + (4 + 28) + (4 + 8);
    let body = match code {
        None if discovers(challenger) => 4 * address + padding,
        None => address,
        Some(ErrorCode::UnknownAttribute) => 8 + unknown,
        Some(ErrorCode::BadRequest) => 8,
        Some(ErrorCode::StaleNonce) => 8 + challenge,
        Some(ErrorCode::Unauthenticated) => {
            8 + challenge + challenger.third_party.as_ref().map_or(0, |_| 4 + NAME.len())
        }
        Some(other) => panic!("a stranger hears {other:?}"),
    };
    20 + body + if request.fingerprint { 8 } else { 0 }
}

/// RFC 3489 § 11.1: the header has the message type, and the request's transaction id of sixteen bytes.
fn of_classic(datagram: &[u8], answer: &[u8], code: Option<ErrorCode>) {
    let kind = if code.is_none() { [0x01, 0x01] } else { [0x01, 0x11] };
    assert_eq!(answer[..2], kind);
    assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])), answer.len() - 20);
    assert_eq!(answer[4..20], datagram[4..20]);
    // Three addresses, or an error code and sixteen attributes of which an odd one may stand twice.
    assert!(answer.len() <= 20 + 3 * 24, "{} bytes", answer.len());
}
