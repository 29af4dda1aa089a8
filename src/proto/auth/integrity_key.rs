//! The key of the long-term credential mechanism (RFC 8489 §§ 9.2.2, 18.5).
//!
//! Names, realm and passwords are opaque bytes here. OpaqueString (RFC 8265) is left to whoever types them: it
//! changes nothing of ASCII, and a password that was minted needs none.

use md5::Md5;
use sha2::Digest;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::proto::wire::rfc8656::integrity::MacKey;

/// How the key is made of username, realm and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// 0x0001.
    Md5,
    /// 0x0002.
    Sha256,
}

impl PasswordAlgorithm {
    /// What a PASSWORD-ALGORITHM attribute names, or `None` if it is not one of [`OFFERED`]: an unknown number,
    /// or parameters where there are none (RFC 8489 § 18.5.1).
    #[must_use]
    pub const fn from_attribute(number: u16, parameters: &[u8]) -> Option<Self> {
        match number {
            0x0001 if parameters.is_empty() => Some(Self::Md5),
            0x0002 if parameters.is_empty() => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// The value of PASSWORD-ALGORITHMS that every 401 and 438 carries: SHA-256 first, then MD5, no parameters.
pub const OFFERED: [u8; 8] = [0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00];

/// The key of `username ":" realm ":" password` under `algorithm`.
#[must_use]
pub fn integrity_key(algorithm: PasswordAlgorithm, username: &[u8], realm: &[u8], password: &[u8]) -> MacKey {
    match algorithm {
        PasswordAlgorithm::Md5 => keyed::<Md5>(username, realm, password),
        PasswordAlgorithm::Sha256 => keyed::<Sha256>(username, realm, password),
    }
}

/// What USERHASH says instead of USERNAME: SHA-256 of `username ":" realm` (RFC 8489 § 14.4).
#[must_use]
pub fn userhash(username: &[u8], realm: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(username).chain_update(b":").chain_update(realm).finalize().into()
}

fn keyed<D: Digest>(username: &[u8], realm: &[u8], password: &[u8]) -> MacKey {
    let mut key = digest::<D>(username, realm, password);
    let mac_key = MacKey::new(&key);
    key.as_mut_slice().zeroize();
    mac_key
}

fn digest<D: Digest>(username: &[u8], realm: &[u8], password: &[u8]) -> sha2::digest::Output<D> {
    D::new()
        .chain_update(username)
        .chain_update(b":")
        .chain_update(realm)
        .chain_update(b":")
        .chain_update(password)
        .finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves rfc8489:9.2.2-1
    #[test]
    fn the_md5_key_is_that_of_the_example_in_rfc_8489() {
        let key = digest::<Md5>(b"user", b"realm", b"pass");
        assert_eq!(hex(&key), "8493fbc53ba582fb4c044c456bdc40eb");
    }

    // proves rfc8489:18.5.1.2-1
    #[test]
    fn the_sha256_key_is_that_of_the_same_text() {
        // printf user:realm:pass | sha256sum
        let key = digest::<Sha256>(b"user", b"realm", b"pass");
        assert_eq!(hex(&key), SHA256_OF_USER_REALM_PASS);
    }

    // proves rfc8489:14.4-3
    #[test]
    fn the_userhash_is_that_of_the_test_vector_in_rfc_8489_b_1() {
        let username = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
        let hash = userhash(username.as_bytes(), b"example.org");
        assert_eq!(hex(&hash), "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
    }

    // proves rfc8489:18.5-1
    #[test]
    fn only_the_offered_algorithms_are_known_and_only_without_parameters() {
        let known = |number, parameters| PasswordAlgorithm::from_attribute(number, parameters);
        assert_eq!(known(1, b""), Some(PasswordAlgorithm::Md5));
        assert_eq!(known(2, b""), Some(PasswordAlgorithm::Sha256));
        for (number, parameters) in [(0, &b""[..]), (3, b""), (0xFFFF, b""), (1, b"x"), (2, b"xxxx")] {
            assert_eq!(known(number, parameters), None);
        }
        for entry in OFFERED.chunks(4) {
            assert!(known(u16::from_be_bytes([entry[0], entry[1]]), b"").is_some());
        }
    }

    // proves rfc8489:18.5.1.1-1
    #[test]
    fn sha256_is_offered_in_front_of_md5() {
        let numbers: Vec<_> =
            OFFERED.chunks(4).map(|entry| u16::from_be_bytes([entry[0], entry[1]])).collect();
        assert_eq!(numbers, [2, 1], "a client takes the first that it knows");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const SHA256_OF_USER_REALM_PASS: &str =
        "07e934117abd40836e7c6329b54731b2b2d2a5f9a71f544922d75e0730d8251b";
}
