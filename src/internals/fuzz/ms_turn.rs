//! Messages of [MS-TURN]: what is read is what stands there, what is signed is signed over zeros, and what is written is
//! read again.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;

use crate::proto::types::PeerAddr;
use crate::proto::wire::Malformed;
use crate::proto::wire::Request;
use crate::proto::wire::ms_turn::decode::decode_request;
use crate::proto::wire::ms_turn::encode;
use crate::proto::wire::ms_turn::encode::Writer;
use crate::proto::wire::ms_turn::framing;
use crate::proto::wire::rfc8656::integrity::MacKey;

const KEY: &[u8] = b"a key of sixteen";
const COOKIE: [u8; 8] = [0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6];
const MESSAGE_INTEGRITY: u16 = 0x0008;

/// An attribute: type, value, and where it begins.
type Attr<'a> = (u16, &'a [u8], usize);

pub(super) fn body(bytes: &[u8]) {
    judge(bytes);
    let mended = mended(bytes);
    judge(&mended);
    let sealed =
        naive(&mended).is_some_and(|attrs| attrs.last().is_some_and(|(kind, ..)| *kind == MESSAGE_INTEGRITY));
    if let (Ok(request), true) = (decode_request(&mended), sealed) {
        of_integrity(&mended, &request);
    }
    of_indication(bytes);
}

fn judge(message: &[u8]) {
    assert_eq!(framing::is_control(message), message.get(20..28) == Some(&COOKIE[..]));
    let read = decode_request(message);
    let attrs = naive(message);
    let is_request = matches!(message.get(..2), Some([0, 3 | 4 | 6]));
    match (&read, &attrs) {
        (Ok(request), Some(attrs)) if is_request => of_request(message, request, attrs),
        (Err(Malformed::WrongClass), Some(_)) => assert!(!is_request, "{message:02x?}"),
        (Err(_), None) => {}
        _ => panic!("{read:?} of {message:02x?}"),
    }
    if read.is_ok() {
        assert!(framing::is_request(message));
    }
}

/// The attributes behind the cookie up to MESSAGE-INTEGRITY; `None` where the frame is broken.
fn naive(message: &[u8]) -> Option<Vec<Attr<'_>>> {
    let len = usize::from(*message.get(2)?) * 256 + usize::from(*message.get(3)?);
    if message.get(20..28)? != COOKIE || message[0] >= 0x40 || message.len() != 20 + len {
        return None;
    }
    let (mut attrs, mut at, mut sealed) = (Vec::new(), 28, false);
    while at < message.len() {
        let header = message.get(at..at + 4)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let end = at + 4 + usize::from(header[2]) * 256 + usize::from(header[3]);
        let value = message.get(at + 4..end)?;
        if !sealed {
            attrs.push((kind, value, at));
        }
        sealed |= kind == MESSAGE_INTEGRITY;
        at = end;
    }
    Some(attrs)
}

fn of_request(message: &[u8], request: &Request<'_>, attrs: &[Attr<'_>]) {
    let first = |wanted: u16| attrs.iter().find(|(kind, ..)| *kind == wanted).map(|(_, value, _)| *value);
    let text = |wanted: u16, max: usize| first(wanted).filter(|value| value.len() <= max);
    assert_eq!(request.transaction.0, message[4..20]);
    assert_eq!(request.auth.nonce, text(0x0014, 128));
    assert_eq!(request.auth.realm, text(0x0015, 128));
    assert_eq!(request.data, first(0x0013));
    let version = first(0x8008).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes);
    assert_eq!(request.legacy.version, version);
    let sequence = first(0x8050).filter(|value| value.len() == 24);
    assert_eq!(request.legacy.sequence.map(|number| number.to_bytes().to_vec()).as_deref(), sequence);
    assert!(request.peers.len() <= 1 && request.peers.iter().count() == request.peers.len());
    assert_eq!(
        request.auth.integrity.algorithm().is_some(),
        first(MESSAGE_INTEGRITY).is_some_and(|mac| mac.len() == 20)
    );
    for kind in request.unknown.as_slice() {
        assert!(*kind < 0x8000 && first(*kind).is_some());
    }
    // Written again attribute by attribute it is the same message, as far as it counted.
    let mut out = vec![0; message.len()];
    let mut writer = Writer::new(&mut out, u16::from_be_bytes([message[0], message[1]]), request.transaction)
        .expect("a message holds its own header");
    for (kind, value, _) in attrs {
        writer.attribute(*kind, value).expect("what was read has room");
    }
    let len = writer.finish();
    assert_eq!(out[28..len], message[28..len]);
}

/// `bytes` as a request that ends with a right MESSAGE-INTEGRITY.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut message = bytes[..bytes.len().min(60_000)].to_vec();
    message.resize(message.len().max(28), 0);
    message[0] = 0;
    message[1] = [3, 4, 6][usize::from(message[1]) % 3];
    message[20..28].copy_from_slice(&COOKIE);
    let mut at = 28;
    while let Some(header) = message.get(at..at + 4) {
        let end = at + 4 + usize::from(header[2]) * 256 + usize::from(header[3]);
        if end > message.len() || header[..2] == MESSAGE_INTEGRITY.to_be_bytes() {
            break;
        }
        at = end;
    }
    message.truncate(at);
    let len = u16::try_from(at + 24 - 20).expect("60,000 at most").to_be_bytes();
    message[2..4].copy_from_slice(&len);
    let mac = mac(&message);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(&mac);
    message
}

/// What covers `covered`: zeros fill the last block.
fn mac(covered: &[u8]) -> Vec<u8> {
    let mut padded = covered.to_vec();
    padded.resize(covered.len().next_multiple_of(64), 0);
    let mut mac = Hmac::<Sha1>::new_from_slice(KEY).expect("any length");
    mac.update(&padded);
    mac.finalize().into_bytes().to_vec()
}

fn of_integrity(message: &[u8], request: &Request<'_>) {
    let key = MacKey::new(KEY);
    assert!(request.auth.integrity.verify(&key), "{message:02x?}");
    assert!(!request.auth.integrity.verify(&MacKey::new(b"another key")));
    let mut other = message.to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    assert!(!decode_request(&other).is_ok_and(|request| request.auth.integrity.verify(&key)));
}

/// What a peer sent, with its name in front.
fn of_indication(bytes: &[u8]) {
    let (Some(transaction), Some(peer)) = (bytes.first_chunk::<16>(), bytes.get(16..22)) else { return };
    let [a, b, c, d, port @ ..] = peer else { return };
    let port = u16::from_be_bytes([port[0], port[1]]);
    let peer = PeerAddr::new((std::net::Ipv4Addr::new(*a, *b, *c, *d), port).into());
    let data = &bytes[22..bytes.len().min(65_000)];
    let len = u16::try_from(data.len()).expect("65,000 at most");
    let mut out = [0xEE; encode::DATA_HEADER_MAX];
    let transaction = crate::proto::wire::TransactionId(*transaction);
    let header = encode::write_data_header(&mut out, transaction, peer, len).expect("room for any header");
    let message = [&out[out.len() - header..], data].concat();
    let attrs = naive(&message).expect("a message");
    let address = [&[0, 1][..], &port.to_be_bytes(), &[*a, *b, *c, *d]].concat();
    let [(0x0012, named, _), (0x0013, carried, _)] = attrs[..] else { panic!("{attrs:02x?}") };
    assert_eq!((message[..2].to_vec(), named, carried), (vec![0x01, 0x15], &address[..], data));
}
