//! A message's bytes to values, and its MAC: what every request pays.

use std::hint::black_box;
use std::net::SocketAddr;

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Response;
use crate::proto::wire::TransactionId;
use crate::proto::wire::classify::classify;
use crate::proto::wire::rfc8656::attributes;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::encode::encode_response;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::TIMES;

const ID: TransactionId = TransactionId::with_cookie(*b"transaction!");

/// Some messages, and the key that they are signed with.
#[derive(Debug)]
pub struct Messages {
    binding: Vec<u8>,
    allocate: Vec<u8>,
    permission_sha256: Vec<u8>,
    key: MacKey,
}

/// The messages of this module.
#[must_use]
pub fn messages() -> Messages {
    let key = integrity_key(PasswordAlgorithm::Md5, b"1800000000:alice", b"edge.example.net", b"password");
    let binding = written(Method::Binding, |_| {});
    let allocate = written(Method::Allocate, |writer| {
        writer.attribute(attributes::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        credentials(writer);
        writer.integrity(Signature { key: &key, algorithm: Algorithm::Sha1 }).fingerprint();
    });
    let permission_sha256 = written(Method::CreatePermission, |writer| {
        writer.peer(PeerAddr::new(SocketAddr::from(([203, 0, 114, 1], 4_000))));
        credentials(writer);
        writer.integrity(Signature { key: &key, algorithm: Algorithm::Sha256 });
    });
    Messages { binding, allocate, permission_sha256, key }
}

fn credentials(writer: &mut MessageWriter<'_>) {
    writer
        .attribute(attributes::USERNAME, b"1800000000:alice")
        .attribute(attributes::REALM, b"edge.example.net")
        .attribute(attributes::NONCE, b"obMatJos2AAABaaaaaaaaaaaaaaa");
}

fn written(method: Method, body: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut out = vec![0; 512];
    let mut writer = MessageWriter::request(&mut out, method, ID);
    body(&mut writer);
    let len = writer.finish().expect("room");
    out.truncate(len);
    out
}

/// Reads Binding requests. Returns how many were read.
pub fn parse_binding(messages: &Messages) -> usize {
    parse(&messages.binding)
}

/// Reads signed Allocates. Returns how many were read.
pub fn parse_allocate(messages: &Messages) -> usize {
    parse(&messages.allocate)
}

fn parse(bytes: &[u8]) -> usize {
    (0..TIMES)
        .filter(|_| {
            let bytes = black_box(bytes);
            black_box(classify(bytes, None));
            black_box(decode_request(bytes)).is_ok()
        })
        .count()
}

/// Verifies MESSAGE-INTEGRITY. Returns how many were right.
pub fn verify_sha1(messages: &Messages) -> usize {
    verify(&messages.allocate, &messages.key)
}

/// Verifies MESSAGE-INTEGRITY-SHA256. Returns how many were right.
pub fn verify_sha256(messages: &Messages) -> usize {
    verify(&messages.permission_sha256, &messages.key)
}

fn verify(bytes: &[u8], key: &MacKey) -> usize {
    let request = decode_request(bytes).expect("a request");
    (0..TIMES).filter(|_| black_box(&request).auth.integrity.verify(black_box(key))).count()
}

/// Makes the key of a password. Returns the keys' number.
pub fn key_of_password(_: &Messages) -> usize {
    (0..TIMES)
        .map(|_| {
            let password = black_box(&b"password"[..]);
            black_box(integrity_key(
                PasswordAlgorithm::Md5,
                b"1800000000:alice",
                b"edge.example.net",
                password,
            ))
        })
        .count()
}

/// Writes signed answers to Allocate. Returns their bytes.
pub fn answer_allocate(messages: &Messages) -> usize {
    let mut response = Response::new(Method::Allocate, ID, Outcome::Success);
    response.mapped_address = Some(SocketAddr::from(([192, 0, 2, 1], 32_853)));
    response.relayed_address = Some(RelayAddr::new(SocketAddr::from(([203, 0, 113, 7], 50_000))));
    response.lifetime = Some(Lifetime::from_secs(600));
    let signature = Signature { key: &messages.key, algorithm: Algorithm::Sha1 };
    let mut out = [0; 512];
    (0..TIMES)
        .map(|_| encode_response(black_box(&response), Some(signature), true, &mut out).expect("room"))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_what_its_bench_says() {
        let messages = messages();
        assert_eq!(parse_binding(&messages), TIMES);
        assert_eq!(parse_allocate(&messages), TIMES);
        assert_eq!(verify_sha1(&messages), TIMES);
        assert_eq!(verify_sha256(&messages), TIMES);
        assert_eq!(key_of_password(&messages), TIMES);
        assert_eq!(answer_allocate(&messages), 84 * TIMES);
    }
}
