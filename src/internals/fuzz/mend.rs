//! Makes a message of any bytes: header, message integrity and fingerprint are put right, everything else stays. Chance
//! alone finds no checksum, so the bodies judge each input twice, as it is and mended. Written without the codec.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;
use sha2::Sha256;

const HEADER_LEN: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// What fits the length field, which counts in fours.
const ATTRIBUTES_MAX: usize = 65_532;

/// `bytes` as a message: at least a header, its type and transaction id as they stand, its length and cookie right, each
/// MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT computed for its place under `key`.
pub(crate) fn mended(bytes: &[u8], key: &[u8]) -> Vec<u8> {
    let mut message = bytes.to_vec();
    message.truncate(HEADER_LEN + ATTRIBUTES_MAX);
    message.resize(message.len().next_multiple_of(4).max(HEADER_LEN), 0);
    message[0] &= 0x3F;
    message[4..8].copy_from_slice(&COOKIE);
    let mut at = HEADER_LEN;
    while let Some(&[k0, k1, l0, l1]) = message.get(at..at + 4).and_then(<[u8]>::as_array) {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let end = at + 4 + len.next_multiple_of(4);
        if end > message.len() {
            break;
        }
        // Each covers the message up to itself, with the header saying that it ends behind it.
        set_len(&mut message, end);
        let covered = &message[..at];
        let value = match (u16::from_be_bytes([k0, k1]), len) {
            (0x0008, 20) => sha1(key, covered),
            (0x001C, 32) => sha256(key, covered),
            (0x8028, 4) => (crc32fast::hash(covered) ^ 0x5354_554E).to_be_bytes().to_vec(),
            _ => Vec::new(),
        };
        message[at + 4..][..value.len()].copy_from_slice(&value);
        at = end;
    }
    let end = message.len();
    set_len(&mut message, end);
    message
}

/// Puts `value` where the first attribute of type `kind` and of its length stands.
pub(crate) fn replace(message: &mut [u8], kind: u16, value: &[u8]) {
    let mut at = HEADER_LEN;
    while let Some(&[k0, k1, l0, l1]) = message.get(at..at + 4).and_then(<[u8]>::as_array) {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if let Some(place) = message.get_mut(at + 4..at + 4 + len)
            && u16::from_be_bytes([k0, k1]) == kind
            && len == value.len()
        {
            return place.copy_from_slice(value);
        }
        at += 4 + len.next_multiple_of(4);
    }
}

fn set_len(message: &mut [u8], end: usize) {
    let len = u16::try_from(end - HEADER_LEN).expect("bounded by ATTRIBUTES_MAX");
    message[2..4].copy_from_slice(&len.to_be_bytes());
}

fn sha1(key: &[u8], covered: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(covered);
    mac.finalize().into_bytes().to_vec()
}

fn sha256(key: &[u8], covered: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(covered);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::rfc8656::decode::decode_request;
    use crate::proto::wire::rfc8656::integrity::MacKey;

    #[test]
    fn what_is_mended_is_a_message_with_right_sums() {
        let mut bytes = vec![0xC0, 0x03, 9, 9, 9, 9, 9, 9];
        bytes.extend([7; 12]);
        bytes.extend([0, 0x06, 0, 1, b'u', 0, 0, 0, 0, 0x08, 0, 20]);
        bytes.extend([0; 20]);
        bytes.extend([0, 0x1C, 0, 32]);
        bytes.extend([0; 32]);
        bytes.extend([0x80, 0x28, 0, 4, 0, 0, 0]);
        let message = mended(&bytes, b"key");
        let request = decode_request(&message).expect("mended");
        assert_eq!(request.auth.username, Some(&b"u"[..]));
        assert!(request.fingerprint);
        assert!(request.auth.integrity.verify(&MacKey::new(b"key")));
        assert!(!request.auth.integrity.verify(&MacKey::new(b"another")));
        // Without the SHA-256 attribute the other decides.
        bytes[20 + 8 + 24 + 1] = 0x22;
        bytes[20 + 8 + 24] = 0x80;
        let message = mended(&bytes, b"key");
        assert!(decode_request(&message).expect("mended").auth.integrity.verify(&MacKey::new(b"key")));
    }
}
