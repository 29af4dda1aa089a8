//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §§ 14.5–14.6) over pre-keyed HMAC state.

use std::sync::Arc;

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::Buffer;
use hmac::digest::block_api::CoreProxy;
use sha1::Sha1;
use sha2::Sha256;

use super::attributes::MESSAGE_INTEGRITY;
use super::attributes::MESSAGE_INTEGRITY_SHA256;
use super::framing::ATTRIBUTE_HEADER_LEN;
use super::framing::HEADER_LEN;

/// Bytes of an HMAC-SHA1.
pub const SHA1_LEN: usize = 20;
/// Bytes of an HMAC-SHA256; a truncated one is refused.
pub const SHA256_LEN: usize = 32;

/// Which integrity attribute an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// MESSAGE-INTEGRITY.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

impl Algorithm {
    /// The attribute's type.
    #[must_use]
    pub const fn attribute(self) -> u16 {
        match self {
            Self::Sha1 => MESSAGE_INTEGRITY,
            Self::Sha256 => MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// Bytes of the attribute's value.
    #[must_use]
    pub const fn value_len(self) -> usize {
        match self {
            Self::Sha1 => SHA1_LEN,
            Self::Sha256 => SHA256_LEN,
        }
    }
}

/// HMAC state keyed once with the integrity key of a user, and shared by its clones: each allocation keeps one of these.
/// `Debug` shows nothing.
#[derive(Clone)]
pub struct MacKey(Arc<Keyed>);

/// Without the buffers of what is not yet a block.
struct Keyed {
    sha1: HmacCore<Sha1>,
    sha256: HmacCore<Sha256>,
}

impl MacKey {
    /// Keys both HMACs with `key`: MD5 or SHA-256 of `username ":" realm ":" password`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Arc::new(Keyed {
            sha1: HmacCore::new_from_slice(key).expect("HMAC takes a key of any length"),
            sha256: HmacCore::new_from_slice(key).expect("HMAC takes a key of any length"),
        }))
    }

    /// Fills `value`, of [`Algorithm::value_len`] bytes, with the MAC of what stands in front of the attribute.
    pub(in crate::proto::wire) fn sign(
        &self,
        algorithm: Algorithm,
        fill: ZeroFill,
        covered: &[u8],
        value: &mut [u8],
    ) {
        match algorithm {
            Algorithm::Sha1 => {
                let mac = fed::<Hmac<Sha1>>(&self.0.sha1, algorithm, fill, covered).finalize();
                value.copy_from_slice(&mac.into_bytes());
            }
            Algorithm::Sha256 => {
                let mac = fed::<Hmac<Sha256>>(&self.0.sha256, algorithm, fill, covered).finalize();
                value.copy_from_slice(&mac.into_bytes());
            }
        }
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// Whether zeros follow what a MAC covers. They are never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proto::wire) enum ZeroFill {
    /// None: RFC 5389 and later.
    #[default]
    None,
    /// To a multiple of 64 bytes: [MS-TURN], from STUN before RFC 5389.
    To64,
}

/// The HMAC after `covered`, with the length field as it is when the message ends with the integrity attribute.
fn fed<M>(keyed: &M::Core, algorithm: Algorithm, fill: ZeroFill, covered: &[u8]) -> M
where
    M: Mac + CoreProxy,
    M::Core: Clone,
{
    let mut mac = M::compose(keyed.clone(), Buffer::<M::Core>::default());
    let end = covered.len() + ATTRIBUTE_HEADER_LEN + algorithm.value_len();
    if let Some((header, attributes)) = covered.split_first_chunk::<HEADER_LEN>() {
        let mut header = *header;
        // A message has at most 65,535 bytes of attributes, so the cast loses nothing.
        header[2..4].copy_from_slice(&((end - HEADER_LEN) as u16).to_be_bytes());
        mac.update(&header);
        mac.update(attributes);
    }
    if fill == ZeroFill::To64 {
        mac.update(&[0; 64][..covered.len().next_multiple_of(64) - covered.len()]);
    }
    mac
}

/// What an answer is signed with.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// The key.
    pub key: &'a MacKey,
    /// The attribute.
    pub algorithm: Algorithm,
}

/// The integrity attributes of a received message, with what they cover.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The whole message.
    message: &'a [u8],
    /// Offset of the MESSAGE-INTEGRITY attribute's header.
    sha1: Option<usize>,
    /// Offset of the MESSAGE-INTEGRITY-SHA256 attribute's header.
    sha256: Option<usize>,
    fill: ZeroFill,
}

impl<'a> Presented<'a> {
    /// The integrity attributes of `message` whose headers stand at these offsets. An offset that names none
    /// makes the check fail.
    pub(in crate::proto) const fn new(message: &'a [u8], sha1: Option<usize>, sha256: Option<usize>) -> Self {
        Self { message, sha1, sha256, fill: ZeroFill::None }
    }

    /// The same, made over covered bytes that `fill` follows.
    pub(in crate::proto::wire) const fn filled(self, fill: ZeroFill) -> Self {
        Self { fill, ..self }
    }

    /// Which attribute decides, SHA-256 where both are there (RFC 8489 § 9.2.4); `None` where neither is.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match (self.sha1, self.sha256) {
            (_, Some(_)) => Some(Algorithm::Sha256),
            (Some(_), None) => Some(Algorithm::Sha1),
            (None, None) => None,
        }
    }

    /// Whether the deciding attribute is right under `key`, compared in constant time. Without one it is not.
    #[must_use]
    pub fn verify(&self, key: &MacKey) -> bool {
        let Some(algorithm) = self.algorithm() else {
            return false;
        };
        let Some((covered, value)) = self.split(algorithm) else {
            return false;
        };
        match algorithm {
            Algorithm::Sha1 => {
                fed::<Hmac<Sha1>>(&key.0.sha1, algorithm, self.fill, covered).verify_slice(value).is_ok()
            }
            Algorithm::Sha256 => {
                fed::<Hmac<Sha256>>(&key.0.sha256, algorithm, self.fill, covered).verify_slice(value).is_ok()
            }
        }
    }

    /// What the attribute covers, and its value.
    fn split(&self, algorithm: Algorithm) -> Option<(&'a [u8], &'a [u8])> {
        let offset = match algorithm {
            Algorithm::Sha1 => self.sha1?,
            Algorithm::Sha256 => self.sha256?,
        };
        let (covered, rest) = self.message.split_at_checked(offset)?;
        let value = rest.get(ATTRIBUTE_HEADER_LEN..ATTRIBUTE_HEADER_LEN + algorithm.value_len())?;
        (covered.len() >= HEADER_LEN).then_some((covered, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that claims 60 bytes, MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256, both made with `key`.
    fn signed_twice(key: &MacKey) -> Vec<u8> {
        let mut message = vec![0x00, 0x01, 0x00, 60, 0x21, 0x12, 0xA4, 0x42];
        message.extend_from_slice(&[9; 12]);
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            let mut value = vec![0; algorithm.value_len()];
            key.sign(algorithm, ZeroFill::None, &message, &mut value);
            message.extend_from_slice(&algorithm.attribute().to_be_bytes());
            message.extend_from_slice(&[0, u8::try_from(value.len()).unwrap()]);
            message.extend_from_slice(&value);
        }
        message
    }

    // proves rfc8489:14.5-1, rfc8489:14.6-4
    #[test]
    fn each_attribute_verifies_with_the_length_field_of_its_own_end() {
        let key = MacKey::new(b"key");
        let message = signed_twice(&key);
        assert!(Presented::new(&message, Some(20), None).verify(&key));
        assert!(Presented::new(&message, None, Some(44)).verify(&key));
        assert!(Presented::new(&message, Some(20), Some(44)).verify(&key));
    }

    // proves rfc8489:9.2.4-22
    #[test]
    fn sha256_decides_where_both_are_there() {
        let key = MacKey::new(b"key");
        let mut message = signed_twice(&key);
        assert_eq!(Presented::new(&message, Some(20), Some(44)).algorithm(), Some(Algorithm::Sha256));
        message[48] ^= 1;
        assert!(!Presented::new(&message, Some(20), Some(44)).verify(&key));
        assert!(Presented::new(&message, Some(20), None).verify(&key), "SHA-1 does not cover it");
    }

    #[test]
    fn one_bit_anywhere_or_another_key_fails() {
        let key = MacKey::new(b"key");
        let message = signed_twice(&key);
        let presented = Presented::new(&message, None, Some(44));
        assert!(presented.verify(&key));
        assert!(!presented.verify(&MacKey::new(b"kez")));
        for at in (0..message.len()).filter(|at| ![2, 3].contains(at) && !(44..48).contains(at)) {
            let mut flipped = message.clone();
            flipped[at] ^= 0x10;
            assert!(!Presented::new(&flipped, None, Some(44)).verify(&key), "byte {at}");
        }
    }

    #[test]
    fn offsets_that_name_nothing_fail_and_do_not_panic() {
        let key = MacKey::new(b"key");
        let message = signed_twice(&key);
        assert!(!Presented::new(&message, None, None).verify(&key));
        assert_eq!(Presented::new(&message, None, None).algorithm(), None);
        for offset in [0, 19, message.len() - 35, message.len(), usize::MAX] {
            assert!(!Presented::new(&message, Some(offset), None).verify(&key), "{offset}");
            assert!(!Presented::new(&message, None, Some(offset)).verify(&key), "{offset}");
        }
    }

    #[test]
    fn debug_tells_nothing_of_the_key() {
        assert_eq!(format!("{:?}", MacKey::new(b"key")), "MacKey(…)");
    }
}
