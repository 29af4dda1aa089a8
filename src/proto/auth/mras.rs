//! User names and passwords as a media relay authentication service (MRAS, [MS-AVEDGEA]) hands them out: made of two keys,
//! and judged by them, with nothing kept.
//!
//! ```text
//! blob     = version 1 0, length 32 | expiry, low half 32 | expiry, high half 32 | client id 160              version 1
//!            version 2 0, length 36 | … the same …                                              | flags 32    version 2
//! name     = blob || HMAC-SHA1(key 1, blob)                    52 or 56 bytes
//! password = HMAC-SHA1(key 2, name)                            20 bytes
//! ```
//!
//! Both are bytes; services hand them out, and clients take them, in base64. How the expiry is written is this server's
//! reading: a Windows file time (100 ns since 1601-01-01 UTC), low half first, each half in network order. No implementation
//! is known that looks at it; one leaves it 0. Here it counts: a token that says nothing of its end is refused, since its
//! password would be good as long as the key.
//!
//! The client id stands for the identity that the service was asked for, and only the service can tell which.

use std::hint::black_box;

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;

use crate::proto::types::QuotaIdentity;
use crate::proto::types::Secret;
use crate::proto::types::limits::MRAS_DRAWS_MAX;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::integrity_key::PasswordAlgorithm;
use super::integrity_key::integrity_key;

const MAC_LEN: usize = 20;
/// In front of an identity that is made into a client id, so that no identity looks like a blob, whose MAC is made with
/// the same key.
const IDENTITY: &[u8] = b"client id\0";
/// Where the client id stands in a blob of either version.
const CLIENT_ID: std::ops::Range<usize> = 12..32;
/// 100 ns from 1601-01-01 to 1970-01-01.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;
/// 100 ns in a second.
const TICKS_PER_S: u64 = 10_000_000;

/// The form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVersion {
    /// 32 bytes: what a request of version 1 gets.
    V1,
    /// 36 bytes, the last four flags: what a request of version 2 gets.
    V2,
}

/// A pair of keys as HMAC state.
#[derive(Clone)]
pub struct MrasKey {
    key1: Hmac<Sha1>,
    key2: Hmac<Sha1>,
}

/// What a client is handed. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct MrasToken {
    /// USERNAME, 52 or 56 bytes.
    pub username: Box<[u8]>,
    /// The password, 20 bytes.
    pub password: [u8; MAC_LEN],
}

/// What a name says whose MACs are right.
#[derive(Debug)]
pub(super) struct Bearer {
    pub(super) quota: QuotaIdentity,
    pub(super) expires_unix: u64,
    pub(super) key: MacKey,
}

impl MrasKey {
    /// Of the two keys.
    #[must_use]
    pub fn new(key1: &Secret, key2: &Secret) -> Self {
        let state =
            |key: &Secret| Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
        Self { key1: state(key1), key2: state(key2) }
    }

    /// Makes a token for `identity`, good until `expires_unix`.
    ///
    /// A client that is known takes quotation marks off both ends of name and password, and zeros off their tails, as if
    /// they were text (libnice). What it would cut is drawn anew: the expiry is less by as many 100 ns.
    #[must_use]
    pub fn mint(&self, version: TokenVersion, identity: &[u8], expires_unix: u64) -> MrasToken {
        let client_id = mac(&self.key1, &[IDENTITY, identity]);
        let expiry = file_time(expires_unix);
        let mut token = self.token(version, &client_id, expiry);
        for less in 1..MRAS_DRAWS_MAX {
            if !token.would_be_cut() {
                break;
            }
            token = self.token(version, &client_id, expiry.saturating_sub(less));
        }
        token
    }

    fn token(&self, version: TokenVersion, client_id: &[u8; MAC_LEN], expiry: u64) -> MrasToken {
        let mut username = Vec::with_capacity(56);
        username.extend_from_slice(version.head());
        username.extend_from_slice(&(expiry as u32).to_be_bytes());
        username.extend_from_slice(&((expiry >> 32) as u32).to_be_bytes());
        username.extend_from_slice(client_id);
        if version == TokenVersion::V2 {
            username.extend_from_slice(&[0; 4]);
        }
        let signature = mac(&self.key1, &[&username]);
        username.extend_from_slice(&signature);
        let password = mac(&self.key2, &[&username]);
        MrasToken { username: username.into(), password }
    }

    /// The work of judging `name` by this pair, the same for every name: `verify` is asked once. Answers what the name
    /// says if all of it is right; whether it is in time is not looked at.
    pub(super) fn judge(
        &self,
        name: &[u8],
        realm: &[u8],
        verify: &mut impl FnMut(&MacKey) -> bool,
    ) -> Option<Bearer> {
        let (blob, signature) = name.split_at(name.len().saturating_sub(MAC_LEN));
        let signed = black_box(self.key1.clone().chain_update(blob).verify_slice(signature).is_ok());
        let password = mac(&self.key2, &[name]);
        let key = integrity_key(PasswordAlgorithm::Md5, name, realm, &password);
        let right = black_box(verify(&key));
        if !(signed && right) {
            return None;
        }
        let (expires_unix, client_id) = read(blob)?;
        Some(Bearer { quota: QuotaIdentity::new(hex(client_id).as_bytes()), expires_unix, key })
    }
}

impl TokenVersion {
    const fn head(self) -> &'static [u8; 4] {
        match self {
            Self::V1 => &[1, 0, 0, 32],
            Self::V2 => &[2, 0, 0, 36],
        }
    }
}

impl MrasToken {
    /// When it ends, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn expires_unix(&self) -> u64 {
        read(&self.username[..self.username.len() - MAC_LEN]).map_or(0, |(expires_unix, _)| expires_unix)
    }

    /// Whether a client that takes it for text would cut it.
    fn would_be_cut(&self) -> bool {
        [&self.username[..], &self.password]
            .iter()
            .any(|bytes| bytes.first() == Some(&b'"') || matches!(bytes.last(), Some(b'"' | 0)))
    }
}

impl std::fmt::Debug for MrasKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MrasKey(…)")
    }
}

impl std::fmt::Debug for MrasToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MrasToken").field("username", &hex(&self.username)).finish_non_exhaustive()
    }
}

/// Expiry, rounded up to a second, and client id of a blob; `None` if it is of neither version.
fn read(blob: &[u8]) -> Option<(u64, &[u8])> {
    let len = match blob.first_chunk()? {
        head if head == TokenVersion::V1.head() => 32,
        head if head == TokenVersion::V2.head() => 36,
        _ => return None,
    };
    if blob.len() != len {
        return None;
    }
    let half = |at: usize| Some(u64::from(u32::from_be_bytes(*blob.get(at..)?.first_chunk()?)));
    let ticks = half(8)? << 32 | half(4)?;
    Some((ticks.saturating_sub(UNIX_EPOCH).div_ceil(TICKS_PER_S), blob.get(CLIENT_ID)?))
}

/// A moment as Windows writes it.
const fn file_time(unix: u64) -> u64 {
    unix.saturating_mul(TICKS_PER_S).saturating_add(UNIX_EPOCH)
}

fn mac(key: &Hmac<Sha1>, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut state = key.clone();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    const UNIX: u64 = 1_700_000_000;

    fn bytes(range: std::ops::RangeInclusive<u8>) -> Vec<u8> {
        range.collect()
    }

    fn key() -> MrasKey {
        MrasKey::new(&Secret::new(bytes(0x00..=0x13)), &Secret::new(bytes(0x20..=0x33)))
    }

    fn other_key() -> MrasKey {
        MrasKey::new(&Secret::new(*b"another first key"), &Secret::new(*b"another second key"))
    }

    /// Judges a name with an oracle that calls every MAC right, or wrong.
    fn judged(key: &MrasKey, name: &[u8], right: bool) -> Option<Bearer> {
        let mut asked = 0;
        let judged = key.judge(name, b"edge.test", &mut |_| {
            asked += 1;
            right
        });
        assert_eq!(asked, 1, "the same work for every name");
        judged
    }

    #[test]
    fn a_blob_of_another_version_is_not_read_whatever_its_length() {
        for (head, len, good) in
            [([1, 0, 0, 32], 32, true), ([2, 0, 0, 36], 36, true), ([3, 0, 0, 36], 36, false)]
        {
            let blob = [&head[..], &vec![7; len - 4]].concat();
            assert_eq!(read(&blob).is_some(), good, "{head:?}");
            assert!(read(&blob[..len - 1]).is_none() && read(&[&blob[..], &[0]].concat()).is_none());
        }
    }

    #[test]
    fn debug_tells_the_name_and_not_the_password() {
        let client_id = bytes(0xA0..=0xB3).try_into().expect("20 bytes");
        let shown = format!("{:?} {:?}", key().token(TokenVersion::V1, &client_id, 0), key());
        assert!(shown.contains("username: \"01000020") && !shown.contains("password"), "{shown}");
    }

    // proves ms_turn:5.5-1
    #[test]
    fn a_token_is_that_of_an_independent_computation() {
        let client_id = bytes(0xA0..=0xB3).try_into().expect("20 bytes");
        let token = key().token(TokenVersion::V1, &client_id, 0);
        let name = "AQAAIAAAAAAAAAAAoKGio6SlpqeoqaqrrK2ur7CxsrOxtu61hBsPJ3LYVjLnANGXTij7IA==";
        assert_eq!(BASE64_STANDARD.encode(&token.username), name);
        assert_eq!(BASE64_STANDARD.encode(token.password), "SnkMYYhNFJZfh6FV7bMgaY/AJro=");
        let bearer = judged(&key(), &token.username, true).expect("signed");
        assert_eq!(bearer.quota.to_string(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
        assert_eq!(bearer.expires_unix, 0, "over since 1970");
        assert_eq!(token.expires_unix(), 0);
    }

    #[test]
    fn an_expiry_is_a_file_time_in_two_halves_the_low_one_first() {
        // (1700000000 + 11644473600) * 10^7 = 0x1DA1747C66D0000
        let token = key().token(TokenVersion::V2, &[9; 20], file_time(UNIX));
        assert_eq!(token.username[..12], [2, 0, 0, 36, 0xC6, 0x6D, 0x00, 0x00, 0x01, 0xDA, 0x17, 0x47]);
        assert_eq!(token.username.len(), 56);
        assert_eq!(token.username[32..36], [0; 4]);
        assert_eq!(token.expires_unix(), UNIX);
        assert_eq!(file_time(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_minted_is_judged_good_by_its_own_keys_alone() {
        for version in [TokenVersion::V1, TokenVersion::V2] {
            let token = key().mint(version, b"sip:alice@example.com", UNIX);
            let bearer = judged(&key(), &token.username, true).expect("good");
            assert_eq!(bearer.expires_unix, UNIX);
            assert!(judged(&key(), &token.username, false).is_none(), "a wrong password");
            assert!(judged(&other_key(), &token.username, true).is_none());
            let mixed = MrasKey { key1: other_key().key1, key2: key().key2 };
            assert!(judged(&mixed, &token.username, true).is_none(), "the password alone is not enough");
            for bit in 0..token.username.len() * 8 {
                let mut name = token.username.clone();
                name[bit / 8] ^= 1 << (bit % 8);
                assert!(judged(&key(), &name, true).is_none(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_client_id_is_an_identity_s_own_and_says_nothing_of_it() {
        let quota = |identity: &[u8], unix| {
            let token = key().mint(TokenVersion::V1, identity, unix);
            judged(&key(), &token.username, true).expect("good").quota
        };
        assert_eq!(quota(b"alice", UNIX), quota(b"alice", UNIX + 9), "of every token of hers");
        assert_ne!(quota(b"alice", UNIX), quota(b"bob", UNIX));
    }

    #[test]
    fn an_identity_that_looks_like_a_blob_gets_no_signature_of_one() {
        let mut blob = vec![1, 0, 0, 32];
        blob.resize(32, 0xFF);
        let token = key().mint(TokenVersion::V1, &blob, UNIX);
        let client_id = &token.username[CLIENT_ID];
        let forged = [&blob[..], client_id].concat();
        assert!(judged(&key(), &forged, true).is_none());
    }

    #[test]
    fn what_a_client_would_cut_is_drawn_anew() {
        let client_id: [u8; MAC_LEN] = [7; 20];
        let cut = (0..10_000)
            .filter(|less| key().token(TokenVersion::V1, &client_id, file_time(UNIX) - less).would_be_cut());
        let cut = cut.count();
        assert!((100..300).contains(&cut), "5 of 256 are: {cut} of 10,000");
        for number in 0..2_000_u32 {
            let token = key().mint(TokenVersion::V1, &number.to_be_bytes(), UNIX);
            assert!(!token.would_be_cut());
            assert_eq!(token.expires_unix(), UNIX, "less by a few microseconds at most");
        }
    }

    #[test]
    fn each_edge_that_is_cut_is_known() {
        let token = |name: &[u8], first: u8, last: u8| {
            let mut password = [1; MAC_LEN];
            (password[0], password[19]) = (first, last);
            MrasToken { username: name.into(), password }.would_be_cut()
        };
        assert!(!token(b"ab", 1, 1));
        assert!(!token(b"\0b", 0, 1), "zeros in front stay");
        for (name, first, last) in [
            (&b"\"b"[..], 1, 1),
            (b"b\"", 1, 1),
            (b"b\0", 1, 1),
            (b"b", b'"', 1),
            (b"b", 1, b'"'),
            (b"b", 1, 0),
        ] {
            assert!(token(name, first, last), "{name:?} {first} {last}");
        }
    }

    #[test]
    fn blobs_of_another_form_are_none() {
        let signed = |blob: &[u8]| [blob, &mac(&key().key1, &[blob])].concat();
        let mut good = vec![1, 0, 0, 32];
        good.resize(32, 5);
        assert!(judged(&key(), &signed(&good), true).is_some());
        for (at, byte) in [(0, 3), (0, 2), (1, 1), (2, 1), (3, 36)] {
            let mut other = good.clone();
            other[at] = byte;
            assert!(judged(&key(), &signed(&other), true).is_none(), "{at} {byte}");
        }
        for len in [0, 3, 4, 31, 33, 36] {
            let mut other = good.clone();
            other.resize(len, 0);
            assert!(judged(&key(), &signed(&other), true).is_none(), "{len} bytes");
        }
    }

    #[test]
    fn debug_shows_no_key_and_no_password() {
        let token = key().token(TokenVersion::V1, &[7; 20], 0);
        let shown = format!("{:?} {:?}", key(), token);
        assert!(!shown.contains(&hex(&token.password)) && shown.contains("MrasKey(…)"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_name_is_judged(name in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(judged(&key(), &name, true).is_none());
        }

        #[test]
        fn an_expiry_comes_back(unix in 0..=1_u64 << 40) {
            prop_assert_eq!(key().token(TokenVersion::V1, &[0; 20], file_time(unix)).expires_unix(), unix);
        }
    }
}
