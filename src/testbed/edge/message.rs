//! Answers that are changed on their way, or made by nobody but the saboteur.

use std::net::SocketAddr;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::nonce::Nonce;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::encode::encode_response;
use crate::proto::wire::rfc8656::framing::MessageClass;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

/// Bytes of a message's header.
const HEADER: usize = 20;

/// The answer that refuses `request` with `code`, signed with `key`; a 401 or 438 with `nonce` and the challenger's realm.
pub(super) fn refusal(
    request: &Request<'_>,
    code: ErrorCode,
    challenge: (&Challenger, &Nonce),
    alternate: Option<SocketAddr>,
    signature: Option<&(MacKey, Algorithm)>,
) -> Option<Box<[u8]>> {
    let mut response = Response::new(request.method, request.transaction, Outcome::Error(code));
    if matches!(code, ErrorCode::Unauthenticated | ErrorCode::StaleNonce) {
        challenge.0.add_challenge(&mut response, challenge.1);
    }
    response.alternate_server = alternate;
    let signature = signature.map(|(key, algorithm)| Signature { key, algorithm: *algorithm });
    let mut out = [0; limits::RESPONSE_MAX];
    let len = encode_response(&response, signature, request.fingerprint, &mut out).ok()?;
    Some(out[..len].into())
}

/// `answer` with each attribute as `change` leaves it, signed anew with `key`. `None` if it is no signed answer.
pub(super) fn rewritten(
    answer: &[u8],
    key: &MacKey,
    mut change: impl FnMut(u16, &mut Vec<u8>),
) -> Option<Box<[u8]>> {
    let read = decode_response(answer).ok()?;
    let algorithm = read.integrity.algorithm()?;
    let class = if read.success { MessageClass::Success } else { MessageClass::Error };
    let mut out = [0; limits::RESPONSE_MAX];
    let mut writer = MessageWriter::new(&mut out, class, read.method, read.transaction);
    for (kind, value) in attributes(answer) {
        match kind {
            attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256 | attribute::FINGERPRINT => {}
            _ => {
                let mut value = value.to_vec();
                change(kind, &mut value);
                writer.attribute(kind, &value);
            }
        }
    }
    writer.integrity(Signature { key, algorithm });
    if read.fingerprint {
        writer.fingerprint();
    }
    let len = writer.finish().ok()?;
    Some(out[..len].into())
}

/// The attributes of a message, in their order.
pub(super) fn attributes(message: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = message.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[k0, k1, l0, l1], behind) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = behind.get(..len)?;
        rest = behind.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([k0, k1]), value))
    })
}

/// The same with one bit wrong, behind the header of a STUN message.
pub(super) fn corrupted(mut bytes: Box<[u8]>) -> Box<[u8]> {
    let at = if bytes.len() > HEADER + 8 { HEADER + 8 } else { bytes.len().saturating_sub(1) };
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x10;
    }
    bytes
}
