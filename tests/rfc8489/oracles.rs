//! The same messages through two foreign codecs, stun-rs and stun-types: what we write they read with equal values
//! and right MACs, and the other way round.
//!
//! Known disagreements, which the generators keep clear of and the tests at the end pin down:
//! - stun-rs refuses a message whose USERNAME, REALM or NONCE is not to its grammar (an empty name, a quote); for us
//!   text is opaque bytes.
//! - stun-rs accepts a LIFETIME of eight bytes; we answer it with 400.
//! - both accept bytes behind the message that its header does not count; a datagram is exactly one message for us.
//! - both accept a FINGERPRINT that is not the last attribute; we do not.
//! - stun-types accepts a truncated MESSAGE-INTEGRITY-SHA256; we do not.

use md5::Digest;
use md5::Md5;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Sha256;
use stun_rs::Algorithm as RsAlgorithm;
use stun_rs::AlgorithmId;
use stun_rs::DecoderContextBuilder;
use stun_rs::HMACKey;
use stun_rs::MessageDecoder;
use stun_rs::MessageDecoderBuilder;
use stun_rs::MessageEncoderBuilder;
use stun_rs::StunMessageBuilder;
use stun_rs::attributes::stun as rs;
use stun_types::attribute as types;
use stun_types::message::IntegrityAlgorithm;
use stun_types::message::LongTermKeyCredentials;
use stun_types::message::Message;
use stun_types::message::MessageIntegrityCredentials;
use stun_types::message::MessageType;
use stun_types::message::MessageWriteVec;
use stun_types::prelude::*;
use swingbridge::proto::wire::ErrorCode;
use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::Outcome;
use swingbridge::proto::wire::Response;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::encode::encode_response;
use swingbridge::proto::wire::rfc8656::integrity::Algorithm;
use swingbridge::proto::wire::rfc8656::integrity::MacKey;
use swingbridge::proto::wire::rfc8656::integrity::Signature;

/// Who asks, in text that all three codecs accept.
#[derive(Clone, Debug)]
struct Who {
    username: String,
    realm: String,
    nonce: String,
    password: String,
}

prop_compose! {
    fn who()(
        username in "[a-z0-9:]{1,40}",
        realm in "[a-z0-9.]{1,40}",
        nonce in "[a-zA-Z0-9/]{1,60}",
        password in "[a-zA-Z0-9]{1,30}",
    ) -> Who {
        Who { username, realm, nonce, password }
    }
}

impl Who {
    fn ours(&self, algorithm: Algorithm) -> MacKey {
        let text = format!("{}:{}:{}", self.username, self.realm, self.password);
        match algorithm {
            Algorithm::Sha1 => MacKey::new(&Md5::digest(text)),
            Algorithm::Sha256 => MacKey::new(&Sha256::digest(text)),
        }
    }

    fn stun_rs(&self, algorithm: Algorithm) -> HMACKey {
        let id = match algorithm {
            Algorithm::Sha1 => AlgorithmId::MD5,
            Algorithm::Sha256 => AlgorithmId::SHA256,
        };
        HMACKey::new_long_term(&self.username, &self.realm, &self.password, RsAlgorithm::from(id)).unwrap()
    }

    fn stun_types(&self) -> MessageIntegrityCredentials {
        LongTermKeyCredentials::new(self.username.clone(), self.password.clone(), self.realm.clone()).into()
    }
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Sha1), Just(Algorithm::Sha256)]
}

fn theirs(algorithm: Algorithm) -> IntegrityAlgorithm {
    match algorithm {
        Algorithm::Sha1 => IntegrityAlgorithm::Sha1,
        Algorithm::Sha256 => IntegrityAlgorithm::Sha256,
    }
}

/// A stun-rs decoder that refuses a message whose MAC or CRC is wrong.
fn validating(key: HMACKey) -> MessageDecoder {
    let context = DecoderContextBuilder::default().with_key(key).with_validation().build();
    MessageDecoderBuilder::default().with_context(context).build()
}

/// The transaction id as stun-types takes it.
fn number(id: [u8; 12]) -> u128 {
    id.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn they_read_our_requests(
        who in who(), id in any::<[u8; 12]>(), algorithm in algorithm(), fingerprint in any::<bool>(),
    ) {
        let key = who.ours(algorithm);
        let mut out = [0xAA; 512];
        let mut writer = MessageWriter::request(&mut out, Method::Binding, TransactionId::with_cookie(id));
        writer
            .attribute(attributes::USERNAME, who.username.as_bytes())
            .attribute(attributes::REALM, who.realm.as_bytes())
            .attribute(attributes::NONCE, who.nonce.as_bytes())
            .integrity(Signature { key: &key, algorithm });
        if fingerprint {
            writer.fingerprint();
        }
        let len = writer.finish().unwrap();

        let (read, size) = validating(who.stun_rs(algorithm)).decode(&out[..len]).unwrap();
        prop_assert_eq!(size, len);
        prop_assert_eq!(read.transaction_id().as_bytes(), &id);
        prop_assert_eq!(read.get::<rs::UserName>().unwrap().expect_user_name().as_str(), &who.username);
        prop_assert_eq!(read.get::<rs::Realm>().unwrap().expect_realm().as_str(), &who.realm);
        prop_assert_eq!(read.get::<rs::Nonce>().unwrap().expect_nonce().as_str(), &who.nonce);
        prop_assert_eq!(read.get::<rs::Fingerprint>().is_some(), fingerprint);

        let read = Message::from_bytes(&out[..len]).unwrap();
        prop_assert_eq!(read.transaction_id(), number(id).into());
        prop_assert!(read.attribute::<types::Username>().unwrap().username() == who.username);
        prop_assert!(read.attribute::<types::Realm>().unwrap().realm() == who.realm);
        prop_assert!(read.attribute::<types::Nonce>().unwrap().nonce() == who.nonce);
        prop_assert_eq!(read.validate_integrity(&who.stun_types()).unwrap(), theirs(algorithm));
    }

    #[test]
    fn we_read_the_requests_of_stun_rs(
        who in who(), id in any::<[u8; 12]>(), algorithm in algorithm(), fingerprint in any::<bool>(),
    ) {
        let mut builder = StunMessageBuilder::new(stun_rs::methods::BINDING, stun_rs::MessageClass::Request)
            .with_transaction_id(id.into())
            .with_attribute(rs::UserName::new(&who.username).unwrap())
            .with_attribute(rs::Realm::new(&who.realm).unwrap())
            .with_attribute(rs::Nonce::new(&who.nonce).unwrap());
        builder = match algorithm {
            Algorithm::Sha1 => builder.with_attribute(rs::MessageIntegrity::new(who.stun_rs(algorithm))),
            Algorithm::Sha256 => builder.with_attribute(rs::MessageIntegritySha256::new(who.stun_rs(algorithm))),
        };
        if fingerprint {
            builder = builder.with_attribute(rs::Fingerprint::default());
        }
        let mut out = [0; 512];
        let len = MessageEncoderBuilder::default().build().encode(&mut out, &builder.build()).unwrap();
        we_read(&out[..len], &who, id, algorithm, fingerprint);
    }

    #[test]
    fn we_read_the_requests_of_stun_types(
        who in who(), id in any::<[u8; 12]>(), algorithm in algorithm(), fingerprint in any::<bool>(),
    ) {
        let kind = MessageType::from_class_method(
            stun_types::message::MessageClass::Request,
            stun_types::message::BINDING,
        );
        let mut builder = Message::builder(kind, number(id).into(), MessageWriteVec::new());
        builder.add_attribute(&types::Username::new(&who.username).unwrap()).unwrap();
        builder.add_attribute(&types::Realm::new(&who.realm).unwrap()).unwrap();
        builder.add_attribute(&types::Nonce::new(&who.nonce).unwrap()).unwrap();
        builder.add_message_integrity(&who.stun_types(), theirs(algorithm)).unwrap();
        if fingerprint {
            builder.add_fingerprint().unwrap();
        }
        we_read(&builder.finish(), &who, id, algorithm, fingerprint);
    }

    #[test]
    fn they_read_our_challenges(
        who in who(), id in any::<[u8; 12]>(), index in 0..ErrorCode::ALL.len(), unknown in vec(0_u16..0x8000, 0..9),
    ) {
        let code = ErrorCode::ALL[index];
        let mut response =
            Response::new(Method::Allocate, TransactionId::with_cookie(id), Outcome::Error(code));
        response.realm = Some(who.realm.as_bytes());
        response.nonce = Some(who.nonce.as_bytes());
        response.password_algorithms = Some(&[0, 2, 0, 0, 0, 1, 0, 0]);
        unknown.iter().for_each(|kind| response.unknown_attributes.push(*kind));
        let mut out = [0xAA; 512];
        let len = encode_response(&response, None, true, &mut out).unwrap();

        let (read, _) = validating(who.stun_rs(Algorithm::Sha1)).decode(&out[..len]).unwrap();
        prop_assert_eq!(read.class(), stun_rs::MessageClass::ErrorResponse);
        let error = read.get::<rs::ErrorCode>().unwrap().expect_error_code().error_code();
        prop_assert_eq!((error.error_code(), error.reason()), (code.number(), ""));
        prop_assert_eq!(read.get::<rs::Realm>().unwrap().expect_realm().as_str(), &who.realm);
        let algorithms = read.get::<rs::PasswordAlgorithms>().unwrap().expect_password_algorithms();
        let ids: Vec<_> = algorithms.iter().map(|algorithm| algorithm.algorithm()).collect();
        prop_assert_eq!(ids, [AlgorithmId::SHA256, AlgorithmId::MD5]);

        let read = Message::from_bytes(&out[..len]).unwrap();
        prop_assert_eq!(read.attribute::<types::ErrorCode>().unwrap().code(), code.number());
        prop_assert!(read.attribute::<types::Nonce>().unwrap().nonce() == who.nonce);
        for kind in response.unknown_attributes.as_slice() {
            let listed = read.attribute::<types::UnknownAttributes>().unwrap();
            prop_assert!(listed.has_attribute(types::AttributeType::new(*kind)));
        }
    }

    #[test]
    fn they_read_our_binding_answers_and_we_read_theirs(
        who in who(), id in any::<[u8; 12]>(), mapped in any::<std::net::SocketAddr>(), algorithm in algorithm(),
    ) {
        let mapped = std::net::SocketAddr::new(mapped.ip(), mapped.port());
        let key = who.ours(algorithm);
        let mut response = Response::new(Method::Binding, TransactionId::with_cookie(id), Outcome::Success);
        response.mapped_address = Some(mapped);
        response.software = Some("Swingbridge");
        let mut out = [0xAA; 512];
        let len = encode_response(&response, Some(Signature { key: &key, algorithm }), true, &mut out).unwrap();

        let (read, _) = validating(who.stun_rs(algorithm)).decode(&out[..len]).unwrap();
        let address = read.get::<rs::XorMappedAddress>().unwrap().expect_xor_mapped_address().socket_address();
        prop_assert_eq!(*address, mapped);
        let read = Message::from_bytes(&out[..len]).unwrap();
        let address = read.attribute::<types::XorMappedAddress>().unwrap().addr(number(id).into());
        prop_assert_eq!(address, mapped);
        prop_assert_eq!(read.validate_integrity(&who.stun_types()).unwrap(), theirs(algorithm));

        let kind = MessageType::from_class_method(
            stun_types::message::MessageClass::Success,
            stun_types::message::BINDING,
        );
        let mut builder = Message::builder(kind, number(id).into(), MessageWriteVec::new());
        builder.add_attribute(&types::XorMappedAddress::new(mapped, number(id).into())).unwrap();
        builder.add_message_integrity(&who.stun_types(), theirs(algorithm)).unwrap();
        builder.add_fingerprint().unwrap();
        let bytes = builder.finish();
        let read = decode_response(&bytes).unwrap();
        prop_assert!(read.success && read.fingerprint && read.integrity.verify(&key));
        prop_assert_eq!((read.method, read.mapped_address), (Method::Binding, Some(mapped)));
    }

    /// What is no message to stun-types is none to us; we are stricter in the ways the head of this file lists.
    #[test]
    fn what_we_accept_they_accept(
        attributes in vec((prop_oneof![0_u16..0x28, 0x8000_u16..0x802B, any::<u16>()], vec(any::<u8>(), 0..40)), 0..6),
        fingerprint in any::<bool>(),
        change in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = request(|writer| {
            for (kind, value) in &attributes {
                writer.attribute(*kind, value);
            }
            if fingerprint {
                writer.fingerprint();
            }
        });
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if decode_request(&bytes).is_ok() || decode_response(&bytes).is_ok() {
            prop_assert!(Message::from_bytes(&bytes).is_ok());
        }
    }
}

fn we_read(bytes: &[u8], who: &Who, id: [u8; 12], algorithm: Algorithm, fingerprint: bool) {
    let read = decode_request(bytes).unwrap();
    assert_eq!((read.method, read.transaction), (Method::Binding, TransactionId::with_cookie(id)));
    assert_eq!(read.auth.username, Some(who.username.as_bytes()));
    assert_eq!(read.auth.realm, Some(who.realm.as_bytes()));
    assert_eq!(read.auth.nonce, Some(who.nonce.as_bytes()));
    assert_eq!(read.auth.integrity.algorithm(), Some(algorithm));
    assert!(read.auth.integrity.verify(&who.ours(algorithm)));
    assert!(!read.auth.integrity.verify(&MacKey::new(b"another")));
    assert_eq!(read.fingerprint, fingerprint);
    assert_eq!(read.bad_attribute, None);
}

fn request(write: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut out = [0xAA; 512];
    let mut writer = MessageWriter::request(&mut out, Method::Refresh, TransactionId::with_cookie([3; 12]));
    write(&mut writer);
    let len = writer.finish().unwrap();
    out[..len].to_vec()
}

#[test]
fn disagreement_text_is_opaque_to_us_and_grammar_to_stun_rs() {
    let decoder = MessageDecoderBuilder::default().build();
    for (kind, value) in
        [(attributes::USERNAME, &b""[..]), (attributes::NONCE, b"\""), (attributes::REALM, b"\xFF")]
    {
        let bytes = request(|writer| _ = writer.attribute(kind, value));
        assert!(decoder.decode(&bytes).is_err(), "{kind:#06x}");
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.bad_attribute, None);
        let text = [read.auth.username, read.auth.nonce, read.auth.realm];
        assert!(text.contains(&Some(value)));
    }
}

#[test]
fn disagreement_a_lifetime_of_eight_bytes() {
    let bytes = request(|writer| _ = writer.attribute(attributes::LIFETIME, &[0, 0, 2, 88, 0, 0, 0, 0]));
    assert!(MessageDecoderBuilder::default().build().decode(&bytes).is_ok());
    assert_eq!(decode_request(&bytes).unwrap().bad_attribute, Some(attributes::LIFETIME));
}

#[test]
fn disagreement_bytes_behind_the_message() {
    let mut bytes = request(|_| {});
    bytes.extend_from_slice(&[0x80, 0x22, 0, 0]);
    assert!(MessageDecoderBuilder::default().build().decode(&bytes).is_ok());
    assert!(Message::from_bytes(&bytes).is_ok());
    assert_eq!(decode_request(&bytes).err(), Some(Malformed::TrailingBytes));
}

#[test]
fn disagreement_an_attribute_behind_fingerprint() {
    let mut bytes = request(|writer| _ = writer.fingerprint());
    bytes.extend_from_slice(&[0x80, 0x22, 0, 0]);
    bytes[3] += 4;
    assert!(MessageDecoderBuilder::default().build().decode(&bytes).is_ok());
    assert!(Message::from_bytes(&bytes).is_ok());
    assert_eq!(decode_request(&bytes).err(), Some(Malformed::Fingerprint));
}

// proves rfc8489:14.6-3
#[test]
fn disagreement_a_truncated_sha256() {
    let bytes = request(|writer| _ = writer.attribute(attributes::MESSAGE_INTEGRITY_SHA256, &[7; 16]));
    let read = Message::from_bytes(&bytes).unwrap();
    assert!(read.attribute::<types::MessageIntegritySha256>().is_ok());
    let read = decode_request(&bytes).unwrap();
    assert_eq!(read.bad_attribute, Some(attributes::MESSAGE_INTEGRITY_SHA256));
    assert_eq!(read.auth.integrity.algorithm(), None);
}
