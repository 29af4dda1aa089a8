//! Self-contained access tokens (RFC 7635 § 6.2): a client brings the key of its session in a token that an
//! authorization server sealed for this server.
//!
//! ```text
//!  nonce_length  nonce   ┌ key_length  mac_key  timestamp  lifetime ┐  tag
//!       2          12    └     2        20–64       8          4    ┘  16       bytes, big-endian
//!                         sealed with AES-GCM; associated data: the name of this server
//! ```
//!
//! Nothing of a token is believed before its tag is right, and its length is bounded before any of it is copied. As
//! with names, each token costs the same work, whatever is wrong with it; only which key ids exist may show,
//! and those travel in the clear in every USERNAME.

use std::hint::black_box;

use aes_gcm::Aes128Gcm;
use aes_gcm::Aes256Gcm;
use aes_gcm::KeyInit as _;
use aes_gcm::Nonce;
use aes_gcm::Tag;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use sha2::Digest as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::proto::types::QuotaIdentity;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::limits::ACCESS_TOKEN_MAX;
use crate::proto::types::limits::CREDENTIAL_CLOCK_LEEWAY;
use crate::proto::types::limits::TOKEN_CLOCK_LEEWAY;
use crate::proto::types::limits::TOKEN_MAC_KEY_MAX;
use crate::proto::wire::rfc8656::integrity::MacKey;

/// How tokens are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// AEAD_AES_128_GCM, a key of 16 bytes.
    A128Gcm,
    /// AEAD_AES_256_GCM, a key of 32 bytes.
    A256Gcm,
}

impl TokenAlgorithm {
    /// Bytes of the key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A256Gcm => 32,
        }
    }
}

/// A key shared with an authorization server. `Debug` shows its id and the span in which it is good.
#[derive(Clone)]
pub struct TokenKey {
    kid: Username,
    cipher: Cipher,
    /// Both ends in seconds since 1970-01-01 UTC, both included.
    good: std::ops::RangeInclusive<u64>,
}

#[derive(Clone)]
enum Cipher {
    A128Gcm(Box<Aes128Gcm>),
    A256Gcm(Box<Aes256Gcm>),
}

impl TokenKey {
    /// The key with the id `kid`, which clients send as USERNAME. It is good in the seconds `good` since
    /// 1970-01-01 UTC. `None` if `key` has not [`TokenAlgorithm::key_len`] bytes.
    #[must_use]
    pub fn new(
        kid: Username,
        algorithm: TokenAlgorithm,
        key: &Secret,
        good: std::ops::RangeInclusive<u64>,
    ) -> Option<Self> {
        let key = key.expose();
        let cipher = match algorithm {
            TokenAlgorithm::A128Gcm => Cipher::A128Gcm(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            TokenAlgorithm::A256Gcm => Cipher::A256Gcm(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
        };
        Some(Self { kid, cipher, good })
    }

    /// Its id.
    #[must_use]
    pub fn kid(&self) -> &Username {
        &self.kid
    }

    /// Seals a token, as an authorization server does. A `nonce` must never be used twice under one key.
    /// `None` if `mac_key` is longer than a token can hold.
    #[must_use]
    pub fn seal(&self, server_name: &str, nonce: [u8; NONCE_LEN], grant: &TokenGrant<'_>) -> Option<Vec<u8>> {
        let key_len = u16::try_from(grant.mac_key.len()).ok()?;
        let mut block = Zeroizing::new(key_len.to_be_bytes().to_vec());
        block.extend_from_slice(grant.mac_key);
        block.extend_from_slice(&(grant.issued_unix << TIMESTAMP_FRACTION_BITS).to_be_bytes());
        block.extend_from_slice(&grant.lifetime_s.to_be_bytes());
        let buffer = InOutBuf::from(block.as_mut_slice());
        let (nonce, name) = (Nonce::from(nonce), server_name.as_bytes());
        let tag = match &self.cipher {
            Cipher::A128Gcm(cipher) => cipher.encrypt_inout_detached(&nonce, name, buffer),
            Cipher::A256Gcm(cipher) => cipher.encrypt_inout_detached(&nonce, name, buffer),
        };
        let tag = tag.ok()?;
        let head = [0, NONCE_LEN as u8];
        Some([&head[..], &nonce, &block, &tag].concat())
    }

    /// Opens `token` into `block` and answers what it says; `None` unless the tag is right.
    fn open<'b>(&self, server_name: &str, token: &[u8], block: &'b mut Block) -> Option<TokenGrant<'b>> {
        let (nonce, sealed, tag) = split(token)?;
        let block = block.get_mut(..sealed.len())?;
        block.copy_from_slice(sealed);
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let (name, buffer) = (server_name.as_bytes(), InOutBuf::from(&mut *block));
        match &self.cipher {
            Cipher::A128Gcm(cipher) => cipher.decrypt_inout_detached(&nonce, name, buffer, &tag),
            Cipher::A256Gcm(cipher) => cipher.decrypt_inout_detached(&nonce, name, buffer, &tag),
        }
        .ok()?;
        TokenGrant::read(block)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).field("good", &self.good).finish_non_exhaustive()
    }
}

/// What a token says, once it is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenGrant<'a> {
    /// The key of the session: [`MAC_KEY_MIN`] to [`TOKEN_MAC_KEY_MAX`] bytes, used as it is for the integrity
    /// attribute.
    pub mac_key: &'a [u8],
    /// When it was issued, in whole seconds since 1970-01-01 UTC, at most 48 bits.
    pub issued_unix: u64,
    /// How long it is good, in seconds.
    pub lifetime_s: u32,
}

impl std::fmt::Debug for TokenGrant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenGrant")
            .field("issued_unix", &self.issued_unix)
            .field("lifetime_s", &self.lifetime_s)
            .finish_non_exhaustive()
    }
}

impl<'a> TokenGrant<'a> {
    /// Reads an opened block, which must hold the key and nothing beside the fixed fields.
    fn read(block: &'a [u8]) -> Option<Self> {
        let (key_len, rest) = block.split_first_chunk()?;
        let key_len = usize::from(u16::from_be_bytes(*key_len));
        if !(MAC_KEY_MIN..=TOKEN_MAC_KEY_MAX).contains(&key_len) {
            return None;
        }
        let (mac_key, rest) = rest.split_at_checked(key_len)?;
        let (timestamp, lifetime) = rest.split_first_chunk()?;
        Some(Self {
            mac_key,
            issued_unix: u64::from_be_bytes(*timestamp) >> TIMESTAMP_FRACTION_BITS,
            lifetime_s: u32::from_be_bytes(*lifetime.as_array()?),
        })
    }

    /// Until when the token carries an allocation, in seconds since 1970-01-01 UTC: never longer than its lifetime from
    /// now. `None` if it is over, or out of step with this clock (RFC 7635 §§ 7 and 9: what is left of the token is
    /// lifetime + delta - |now - timestamp|).
    fn expires_unix(&self, unix: u64) -> Option<u64> {
        let lifetime_s = u64::from(self.lifetime_s);
        let span_s = lifetime_s + TOKEN_CLOCK_LEEWAY.as_secs();
        let left_s = span_s.checked_sub(unix.abs_diff(self.issued_unix))?.min(lifetime_s);
        (left_s > 0).then(|| unix.saturating_add(left_s))
    }
}

/// Keys for tokens, and the name they must be made for. Without a key no token is taken.
#[derive(Clone, Debug, Default)]
pub struct TokenConfig {
    /// The name of this server, told to clients in THIRD-PARTY-AUTHORIZATION.
    pub server_name: Box<str>,
    /// The keys; several, so that one can be changed without an outage. Of two with one id the first counts.
    pub keys: Vec<TokenKey>,
}

impl TokenConfig {
    /// The name that a challenge carries, if tokens are taken.
    #[must_use]
    pub fn third_party(&self) -> Option<Box<str>> {
        (!self.keys.is_empty()).then(|| self.server_name.clone())
    }
}

/// SHA-256 of a token, by which it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// A client that proved to know the key in its token.
#[derive(Debug)]
pub(super) struct Bearer {
    pub(super) quota: QuotaIdentity,
    pub(super) key: MacKey,
    pub(super) expires_unix: u64,
    pub(super) hash: TokenHash,
}

/// The keys, ready to judge tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    server_name: Box<str>,
    /// Sorted by id.
    keys: Vec<TokenKey>,
    /// Stands in where no key has the id.
    nobody: TokenKey,
}

impl Tokens {
    /// `None` without a key.
    pub(super) fn new(config: TokenConfig) -> Option<Self> {
        let TokenConfig { server_name, mut keys } = config;
        if keys.is_empty() {
            return None;
        }
        keys.sort_by(|one, other| one.kid.as_bytes().cmp(other.kid.as_bytes()));
        keys.dedup_by(|later, first| later.kid == first.kid);
        let zeros = Secret::new([0; 32]);
        let nobody = TokenKey::new(Username::new(b""), TokenAlgorithm::A256Gcm, &zeros, 0..=0)
            .expect("the dummy has the length of its algorithm");
        Some(Self { server_name, keys, nobody })
    }

    /// Judges `token`, sealed under the key `kid`. `verify` is asked once, with the key in the token, or with one of our own
    /// making where the token is bad. A token that is good for longer than `lifetime_max_s` is refused.
    pub(super) fn judge(
        &self,
        unix: u64,
        kid: &[u8],
        token: &[u8],
        lifetime_max_s: u64,
        verify: impl FnOnce(&MacKey) -> bool,
    ) -> Option<Bearer> {
        let known = self.find(unix, kid);
        let mut block = Zeroizing::new([0; BLOCK_MAX]);
        let grant = known.unwrap_or(&self.nobody).open(&self.server_name, token, &mut block);
        let key = MacKey::new(grant.as_ref().map_or(&DUMMY_MAC_KEY, |grant| grant.mac_key));
        let hash = TokenHash::of(token);
        // The black box keeps the compiler from leaving out a verdict that will not be asked for.
        let right = black_box(verify(&key));
        // That anybody can seal with the dummy key, and sign with the dummy MAC key, does not matter: neither lets in.
        let (Some(known), Some(grant), true) = (known, grant, right) else { return None };
        let expires_unix = grant.expires_unix(unix)?;
        let ceiling = unix.saturating_add(lifetime_max_s).saturating_add(CREDENTIAL_CLOCK_LEEWAY.as_secs());
        (expires_unix <= ceiling).then(|| Bearer { quota: quota(&known.kid, &hash), key, expires_unix, hash })
    }

    fn find(&self, unix: u64, kid: &[u8]) -> Option<&TokenKey> {
        let place = self.keys.binary_search_by(|key| key.kid.as_bytes().cmp(kid)).ok()?;
        Some(&self.keys[place]).filter(|key| key.good.contains(&unix))
    }
}

/// A token names nobody, so each counts for itself: its key's id and the first half of its hash.
fn quota(kid: &Username, hash: &TokenHash) -> QuotaIdentity {
    let mut identity = kid.as_bytes().to_vec();
    identity.push(b'#');
    for byte in &hash.0[..16] {
        identity.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
    }
    QuotaIdentity::new(&identity)
}

/// Nonce, sealed block and tag of a token of a length that a token can have.
fn split(token: &[u8]) -> Option<(&[u8; NONCE_LEN], &[u8], &[u8; TAG_LEN])> {
    if token.len() > ACCESS_TOKEN_MAX {
        return None;
    }
    let (nonce_len, rest) = token.split_first_chunk()?;
    if usize::from(u16::from_be_bytes(*nonce_len)) != NONCE_LEN {
        return None;
    }
    let (nonce, rest) = rest.split_first_chunk()?;
    let (sealed, tag) = rest.split_last_chunk()?;
    (sealed.len() >= BLOCK_MIN).then_some((nonce, sealed, tag))
}

/// The shortest key in a token: that of an HMAC-SHA1 (RFC 7635 § 6.2).
pub const MAC_KEY_MIN: usize = 20;
/// Bytes of the nonce of AES-GCM (RFC 5116 § 5.1).
pub const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes of a block without its key.
const FIXED_LEN: usize = 2 + 8 + 4;
const BLOCK_MIN: usize = FIXED_LEN + MAC_KEY_MIN;
const BLOCK_MAX: usize = FIXED_LEN + TOKEN_MAC_KEY_MAX;
type Block = [u8; BLOCK_MAX];
/// A timestamp counts seconds in its upper 48 bits and 64,000ths of a second in the lower 16.
const TIMESTAMP_FRACTION_BITS: u32 = 16;
const DUMMY_MAC_KEY: [u8; MAC_KEY_MIN] = [0; MAC_KEY_MIN];
const HEX: &[u8; 16] = b"0123456789abcdef";

const _: () = assert!(ACCESS_TOKEN_MAX == 2 + NONCE_LEN + BLOCK_MAX + TAG_LEN);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIX: u64 = 1_700_000_000;
    const NAME: &str = "turn.example.net";
    const MAC_KEY: &[u8] = b"twenty bytes of key!";
    const LIFETIME_MAX_S: u64 = 8 * 3_600;
    const GRANT: TokenGrant<'_> = TokenGrant { mac_key: MAC_KEY, issued_unix: UNIX, lifetime_s: 3_600 };

    fn key(kid: &str, fill: u8, good: std::ops::RangeInclusive<u64>) -> TokenKey {
        key_of(kid, TokenAlgorithm::A256Gcm, fill, good)
    }

    fn key_of(
        kid: &str,
        algorithm: TokenAlgorithm,
        fill: u8,
        good: std::ops::RangeInclusive<u64>,
    ) -> TokenKey {
        let secret = Secret::new(vec![fill; algorithm.key_len()]);
        TokenKey::new(Username::new(kid.as_bytes()), algorithm, &secret, good).expect("the right length")
    }

    fn north() -> TokenKey {
        key("north", 1, 0..=u64::MAX)
    }

    #[test]
    fn a_challenge_names_the_server_where_tokens_are_taken_alone() {
        let config = |keys| TokenConfig { server_name: NAME.into(), keys };
        assert_eq!(config(Vec::new()).third_party(), None);
        assert_eq!(config(vec![north()]).third_party().as_deref(), Some(NAME));
    }

    #[test]
    fn debug_tells_a_key_by_its_id_and_a_grant_by_its_time_and_neither_secret() {
        let shown = format!("{:?} {GRANT:?}", north());
        assert!(shown.contains("kid") && shown.contains("lifetime_s: 3600"), "{shown}");
        assert!(!shown.contains("mac_key") && !shown.contains("116, 119"), "{shown}");
    }

    fn tokens(keys: Vec<TokenKey>) -> Tokens {
        Tokens::new(TokenConfig { server_name: NAME.into(), keys }).expect("a key")
    }

    fn sealed(grant: &TokenGrant<'_>) -> Vec<u8> {
        north().seal(NAME, *b"twelve bytes", grant).expect("it fits")
    }

    /// Judges with an oracle that knows only [`MAC_KEY`], by what an HMAC with it says.
    fn judge(tokens: &Tokens, unix: u64, kid: &str, token: &[u8]) -> Option<Bearer> {
        let mut asked = 0;
        let bearer = tokens.judge(unix, kid.as_bytes(), token, LIFETIME_MAX_S, |key| {
            asked += 1;
            is_mac_key(key, MAC_KEY)
        });
        assert_eq!(asked, 1, "every outcome costs one MAC");
        bearer
    }

    /// Whether `key` was made of `bytes`.
    fn is_mac_key(key: &MacKey, bytes: &[u8]) -> bool {
        use crate::proto::auth::testing::RequestBuilder;
        use crate::proto::wire::rfc8656::decode::decode_request;
        let message = RequestBuilder::new(0x0003).sha1(bytes).bytes();
        decode_request(&message).expect("a request").auth.integrity.verify(key)
    }

    // proves rfc7635:4.1.1-3, rfc7635:6.2-1, rfc7635:6.2-2, rfc7635:A-1
    #[test]
    fn the_sample_tokens_of_rfc_7635_are_read_and_written() {
        let long_term = b"HGkj32KJGiuy098sdfaqbNjOiaz71923";
        let grant = TokenGrant {
            mac_key: b"ZksjpweoixXmvn67534m",
            issued_unix: 92_470_300_704_768 >> 16,
            lifetime_s: 3_600,
        };
        for (algorithm, expected) in [
            (
                TokenAlgorithm::A256Gcm,
                "000c68346a336b326c326e346235617ef134a3d5e44e9a19cc7dc104b0c03d03b2a551d8fdf5cd3b6dca6f10cfb7\
                 7e5b2ddec84d293a5c50499359f0c2e26f76",
            ),
            (
                TokenAlgorithm::A128Gcm,
                "000c68346a336b326c326e3462357fb9e99f0827be3df1e1bd651493d3031d36df57079784aee5eacb65fad4f27f\
                 ab1a3f97974b69f851b24bf5af09eda357e0",
            ),
        ] {
            let secret = Secret::new(&long_term[..algorithm.key_len()]);
            let key =
                TokenKey::new(Username::new(b"2783466234"), algorithm, &secret, 0..=u64::MAX).expect("a key");
            let token = key.seal("blackdow.carleon.gov", *b"h4j3k2l2n4b5", &grant).expect("it fits");
            let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
            let mut block = [0; BLOCK_MAX];
            assert_eq!(key.open("blackdow.carleon.gov", &token, &mut block), Some(grant));
        }
    }

    // proves rfc7635:5-1, rfc7635:6.2-2, rfc7635:7-4
    #[test]
    fn a_good_token_gives_its_key_its_end_and_an_identity_of_its_own() {
        let tokens = tokens(vec![north()]);
        let token = sealed(&GRANT);
        let bearer = judge(&tokens, UNIX + 60, "north", &token).expect("good");
        assert_eq!(bearer.expires_unix, UNIX + 3_605);
        assert!(is_mac_key(&bearer.key, MAC_KEY));
        let identity = bearer.quota.to_string();
        assert!(identity.starts_with("north#") && identity.len() == 6 + 32, "{identity}");
        let other = north().seal(NAME, *b"another one!", &GRANT).expect("it fits");
        let other = judge(&tokens, UNIX, "north", &other).expect("good");
        assert_ne!(other.quota, bearer.quota);
        assert_ne!(other.hash, bearer.hash);
    }

    // proves rfc7635:4.1.1-3, rfc7635:7-2
    #[test]
    fn one_wrong_bit_anywhere_and_the_token_is_refused() {
        for algorithm in [TokenAlgorithm::A128Gcm, TokenAlgorithm::A256Gcm] {
            let key = key_of("k", algorithm, 7, 0..=u64::MAX);
            let token = key.seal(NAME, *b"twelve bytes", &GRANT).expect("it fits");
            let tokens = tokens(vec![key]);
            assert!(judge(&tokens, UNIX, "k", &token).is_some());
            for bit in 0..token.len() * 8 {
                let mut wrong = token.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(judge(&tokens, UNIX, "k", &wrong).is_none(), "{algorithm:?} bit {bit}");
            }
        }
    }

    #[test]
    fn a_token_cut_short_or_made_longer_at_any_byte_is_refused() {
        let tokens = tokens(vec![north()]);
        let longest = TokenGrant { mac_key: &[9; TOKEN_MAC_KEY_MAX], ..GRANT };
        for token in [sealed(&GRANT), sealed(&longest)] {
            for len in 0..token.len() {
                assert!(judge(&tokens, UNIX, "north", &token[..len]).is_none(), "{len} bytes");
            }
            for more in [1, 2, 64, 70_000] {
                let mut longer = token.clone();
                longer.resize(token.len() + more, 0);
                assert!(judge(&tokens, UNIX, "north", &longer).is_none(), "{more} bytes more");
            }
        }
    }

    #[test]
    fn a_well_sealed_block_of_another_form_is_refused() {
        let tokens = tokens(vec![north()]);
        let good = |len: usize| {
            let mac_key = vec![3; len];
            let token = sealed(&TokenGrant { mac_key: &mac_key, ..GRANT });
            let verify = |key: &MacKey| is_mac_key(key, &mac_key);
            tokens.judge(UNIX, b"north", &token, LIFETIME_MAX_S, verify).is_some()
        };
        for len in [MAC_KEY_MIN, 32, TOKEN_MAC_KEY_MAX] {
            assert!(good(len), "{len}");
        }
        for len in [0, 1, MAC_KEY_MIN - 1, TOKEN_MAC_KEY_MAX + 1] {
            assert!(!good(len), "{len}");
        }
        assert_eq!(TokenGrant::read(&[0, 30]), None);
        let mut block = [0; BLOCK_MIN + 1];
        block[1] = 20;
        assert_eq!(TokenGrant::read(&block), None, "a byte too many");
        assert!(TokenGrant::read(&block[..BLOCK_MIN]).is_some());
        block[1] = 25;
        assert_eq!(TokenGrant::read(&block), None, "a key that reaches into the timestamp");
    }

    // proves rfc7635:6.2-4, rfc7635:7-1
    #[test]
    fn another_key_key_id_or_server_name_opens_nothing() {
        let token = sealed(&GRANT);
        let south = key("south", 2, 0..=u64::MAX);
        let both = tokens(vec![south.clone(), north()]);
        assert!(judge(&both, UNIX, "north", &token).is_some());
        for kid in ["south", "", "nort", "north ", "NORTH"] {
            assert!(judge(&both, UNIX, kid, &token).is_none(), "{kid:?}");
        }
        assert!(judge(&tokens(vec![south]), UNIX, "north", &token).is_none());
        let elsewhere = north().seal("turn.example.org", *b"twelve bytes", &GRANT).expect("it fits");
        assert!(judge(&both, UNIX, "north", &elsewhere).is_none());
        let impostor = key("north", 3, 0..=u64::MAX);
        let forged = impostor.seal(NAME, *b"twelve bytes", &GRANT).expect("it fits");
        assert!(judge(&both, UNIX, "north", &forged).is_none());
    }

    #[test]
    fn the_dummy_key_lets_nobody_in() {
        let tokens = tokens(vec![north()]);
        let forged = tokens.nobody.seal(NAME, *b"twelve bytes", &GRANT).expect("it fits");
        for kid in ["", "north", "x"] {
            assert!(judge(&tokens, 0, kid, &forged).is_none(), "{kid:?}");
            assert!(judge(&tokens, UNIX, kid, &forged).is_none(), "{kid:?}");
        }
        assert!(tokens.judge(UNIX, b"north", b"rubbish", LIFETIME_MAX_S, |_| true).is_none());
    }

    // proves rfc7635:7-7
    #[test]
    fn the_right_token_without_its_mac_key_proves_nothing() {
        let tokens = tokens(vec![north()]);
        let token = sealed(&GRANT);
        assert!(tokens.judge(UNIX, b"north", &token, LIFETIME_MAX_S, |_| false).is_none());
    }

    // proves rfc7635:7-5, rfc7635:7-6, rfc7635:9-2, rfc7635:9-3, rfc7635:9-4
    #[test]
    fn a_token_is_good_for_its_lifetime_and_five_seconds_to_either_side() {
        let tokens = tokens(vec![north()]);
        let token = sealed(&GRANT);
        let expires = |unix| judge(&tokens, unix, "north", &token).map(|bearer| bearer.expires_unix);
        assert_eq!(expires(UNIX), Some(UNIX + 3_600), "never longer than its lifetime from now");
        assert_eq!(expires(UNIX + 3_604), Some(UNIX + 3_605));
        assert_eq!(expires(UNIX + 3_605), None);
        assert_eq!(expires(UNIX - 5), Some(UNIX + 3_595), "ours may be slow by so much");
        assert_eq!(expires(UNIX - 6), Some(UNIX + 3_593), "lifetime + delta - |now - timestamp|");
        assert_eq!(expires(UNIX - 3_604), Some(UNIX - 3_603));
        assert_eq!(expires(UNIX - 3_605), None);
        assert_eq!(expires(0), None);
        assert_eq!(expires(u64::MAX), None);
    }

    #[test]
    fn a_token_that_outlives_the_ceiling_or_has_no_life_is_refused() {
        let tokens = tokens(vec![north()]);
        let good = |lifetime_s| {
            judge(&tokens, UNIX, "north", &sealed(&TokenGrant { lifetime_s, ..GRANT })).is_some()
        };
        let ceiling = u32::try_from(LIFETIME_MAX_S + 300).expect("hours");
        assert!(good(1) && good(ceiling));
        assert!(!good(0) && !good(ceiling + 1) && !good(u32::MAX));
        let far = TokenGrant { issued_unix: (1 << 48) - 1, lifetime_s: u32::MAX, ..GRANT };
        assert!(judge(&tokens, UNIX, "north", &sealed(&far)).is_none());
    }

    #[test]
    fn a_key_counts_only_in_its_span() {
        let tokens = tokens(vec![key("north", 1, UNIX..=UNIX + 9)]);
        let token = sealed(&GRANT);
        for (unix, good) in [(UNIX - 1, false), (UNIX, true), (UNIX + 9, true), (UNIX + 10, false)] {
            assert_eq!(judge(&tokens, unix, "north", &token).is_some(), good, "{unix}");
        }
    }

    // proves rfc7635:4.1.1-3
    #[test]
    fn a_key_of_the_wrong_length_is_none() {
        for (algorithm, len) in [(TokenAlgorithm::A128Gcm, 32), (TokenAlgorithm::A256Gcm, 16)] {
            assert!(
                TokenKey::new(Username::new(b"k"), algorithm, &Secret::new(vec![0; len]), 0..=1).is_none()
            );
        }
        assert!(Tokens::new(TokenConfig::default()).is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?} {GRANT:?}", tokens(vec![north()]));
        assert!(!shown.contains("twenty") && !shown.contains("[1, 1"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_none_is_a_token(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            let tokens = tokens(vec![north()]);
            prop_assert!(tokens.judge(UNIX, b"north", &bytes, LIFETIME_MAX_S, |_| true).is_none());
            let mut headed = vec![0, 12];
            headed.extend(&bytes);
            prop_assert!(tokens.judge(UNIX, b"north", &headed, LIFETIME_MAX_S, |_| true).is_none());
            let _ = TokenGrant::read(&bytes);
        }

        #[test]
        fn what_is_sealed_is_opened(
            mac_key in proptest::collection::vec(any::<u8>(), MAC_KEY_MIN..=TOKEN_MAC_KEY_MAX),
            issued in 0..1_u64 << 48,
            lifetime_s: u32,
        ) {
            let grant = TokenGrant { mac_key: &mac_key, issued_unix: issued, lifetime_s };
            let mut block = [0; BLOCK_MAX];
            prop_assert_eq!(north().open(NAME, &sealed(&grant), &mut block), Some(grant));
            let _ = grant.expires_unix(issued);
            let _ = grant.expires_unix(u64::MAX - issued);
        }
    }
}
