//! The test vectors of RFC 5769 and of RFC 8489 appendix B, byte by byte.

use md5::Digest;
use md5::Md5;
use sha2::Sha256;
use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::framing::MessageClass;
use swingbridge::proto::wire::rfc8656::integrity::Algorithm;
use swingbridge::proto::wire::rfc8656::integrity::MacKey;
use swingbridge::proto::wire::rfc8656::integrity::Signature;

/// RFC 5769 § 2.1: SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT.
const REQUEST: &str = "\
    000100582112a442b7e7a701bc34d686fa87dfae802200105354554e20746573 \
    7420636c69656e74002400046e0001ff80290008932ff9b151263b3600060009 \
    6576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249 \
    c1b571a280280004e57a3bcf";

/// RFC 5769 § 2.2: SOFTWARE, XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT.
const RESPONSE_V4: &str = "\
    0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563 \
    746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f9 \
    2af9ba53f06be7d780280004c07d4c96";

/// RFC 5769 § 2.3: the same with IPv6.
const RESPONSE_V6: &str = "\
    010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563 \
    746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014 \
    a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

/// RFC 5769 § 2.4: USERNAME, NONCE, REALM, MESSAGE-INTEGRITY.
const LONG_TERM: &str = "\
    000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383 \
    aae38383e382afe382b900000015001c662f2f3439396b39353464364f4c3334 \
    6f4c394653547679363473410014000b6578616d706c652e6f72670000080014 \
    f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// RFC 8489 B.1 with erratum 6268: USERHASH, NONCE, REALM, PASSWORD-ALGORITHM, MESSAGE-INTEGRITY-SHA256.
const SHA256: &str = "\
    000100902112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bd \
    a952c6780417da0f24819415569e60b205c46e41407f1704001500296f624d61 \
    744a6f733241414143662f2f3439396b39353464364f4c33346f4c3946535476 \
    79363473410000000014000b6578616d706c652e6f726700001d000400020000 \
    001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278c \
    c6518e65";

/// The password of RFC 5769 §§ 2.1–2.3, a short-term credential.
const SHORT_TERM_PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
/// Username, realm and password (after preparation) of RFC 5769 § 2.4 and RFC 8489 B.1.
const LONG_TERM_KEY_TEXT: &str = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}:example.org:TheMatrIX";

fn short_term() -> MacKey {
    MacKey::new(SHORT_TERM_PASSWORD)
}

fn md5_key() -> MacKey {
    MacKey::new(&Md5::digest(LONG_TERM_KEY_TEXT))
}

fn sha256_key() -> MacKey {
    MacKey::new(&Sha256::digest(LONG_TERM_KEY_TEXT))
}

// proves rfc8489:14-5, rfc8489:14.7-2
#[test]
fn request() {
    let bytes = bytes(REQUEST);
    let read = decode_request(&bytes).unwrap();
    assert_eq!(read.method, Method::Binding);
    assert_eq!(
        read.transaction,
        TransactionId::with_cookie(*b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae")
    );
    assert_eq!(read.auth.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(read.unknown.as_slice(), [0x0024], "PRIORITY belongs to ICE agents");
    assert!(read.fingerprint);
    assert_eq!(read.auth.integrity.algorithm(), Some(Algorithm::Sha1));
    assert!(read.auth.integrity.verify(&short_term()));
    assert!(!read.auth.integrity.verify(&md5_key()));
}

// proves rfc8489:14.2-1, rfc8489:14.5-1, rfc8489:14.7-2
#[test]
fn responses() {
    for (vector, mapped) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let bytes = bytes(vector);
        let read = decode_response(&bytes).unwrap();
        assert!(read.success && read.fingerprint);
        assert_eq!(read.mapped_address, Some(mapped.parse().unwrap()));
        assert_eq!(read.software, Some(&b"test vector"[..]));
        assert!(read.integrity.verify(&short_term()));
        assert!(!read.integrity.verify(&md5_key()));
    }
}

#[test]
fn request_with_long_term_credentials() {
    let bytes = bytes(LONG_TERM);
    let read = decode_request(&bytes).unwrap();
    assert_eq!(read.auth.username, Some("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}".as_bytes()));
    assert_eq!(read.auth.realm, Some(&b"example.org"[..]));
    assert_eq!(read.auth.nonce, Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
    assert!(!read.fingerprint);
    assert!(read.auth.integrity.verify(&md5_key()));
    assert!(!read.auth.integrity.verify(&sha256_key()));
}

// proves rfc8489:14.6-4, rfc8489:B.1-1
#[test]
fn request_with_userhash_and_sha256() {
    let bytes = bytes(SHA256);
    let read = decode_request(&bytes).unwrap();
    let userhash: [u8; 32] =
        Sha256::digest("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}:example.org").into();
    assert_eq!(read.auth.userhash, Some(&userhash));
    assert_eq!(read.auth.nonce, Some(&b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(read.auth.password_algorithm, Some((2, &[][..])));
    assert_eq!(read.auth.integrity.algorithm(), Some(Algorithm::Sha256));
    assert!(read.auth.integrity.verify(&sha256_key()));
    assert!(!read.auth.integrity.verify(&md5_key()));
}

/// §§ 2.1–2.3 pad with spaces and we with zeros, so there the padding, and therefore MAC and CRC, differ.
// proves rfc8489:14-1, rfc8489:14-2, rfc8489:14-3, rfc8489:14-4, rfc8489:B.1-1
#[test]
fn the_writer_makes_the_same_bytes() {
    for (vector, key) in [(LONG_TERM, md5_key()), (SHA256, sha256_key())] {
        let original = bytes(vector);
        assert_eq!(rewritten(&original, &key), original);
    }
    for vector in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        let original = bytes(vector);
        let again = rewritten(&original, &short_term());
        let macs = original.len() - (24 + 8);
        assert_eq!(again.len(), original.len());
        assert_eq!(again[..macs], zero_padded(&original)[..macs]);
        let integrity = match decode_request(&again) {
            Ok(request) => request.auth.integrity,
            Err(Malformed::WrongClass) => decode_response(&again).unwrap().integrity,
            Err(malformed) => panic!("{malformed}"),
        };
        assert!(integrity.verify(&short_term()));
    }
}

#[test]
fn one_flipped_bit_anywhere_never_verifies() {
    let original = bytes(LONG_TERM);
    let key = md5_key();
    for bit in 0..original.len() * 8 {
        let mut flipped = original.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let passes = decode_request(&flipped).is_ok_and(|request| request.auth.integrity.verify(&key));
        assert!(!passes, "bit {bit}");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Type, value and offset of each attribute.
fn attributes_of(message: &[u8]) -> Vec<(u16, &[u8], usize)> {
    let mut found = Vec::new();
    let mut at = 20;
    while at < message.len() {
        let len = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        found.push((u16::from_be_bytes([message[at], message[at + 1]]), &message[at + 4..at + 4 + len], at));
        at += 4 + len.next_multiple_of(4);
    }
    found
}

fn zero_padded(message: &[u8]) -> Vec<u8> {
    let mut zeroed = message.to_vec();
    for (_, value, at) in attributes_of(message) {
        let end = at + 4 + value.len();
        zeroed[end..end.next_multiple_of(4)].fill(0);
    }
    zeroed
}

/// The same message, written anew.
fn rewritten(message: &[u8], key: &MacKey) -> Vec<u8> {
    let class = MessageClass::of(u16::from_be_bytes([message[0], message[1]]));
    let transaction = TransactionId(message[4..20].try_into().unwrap());
    let mut out = [0xAA; 512];
    let mut writer = MessageWriter::new(&mut out, class, Method::Binding, transaction);
    for (kind, value, _) in attributes_of(message) {
        match kind {
            attributes::MESSAGE_INTEGRITY => writer.integrity(Signature { key, algorithm: Algorithm::Sha1 }),
            attributes::MESSAGE_INTEGRITY_SHA256 => {
                writer.integrity(Signature { key, algorithm: Algorithm::Sha256 })
            }
            attributes::FINGERPRINT => writer.fingerprint(),
            _ => writer.attribute(kind, value),
        };
    }
    let len = writer.finish().unwrap();
    out[..len].to_vec()
}
