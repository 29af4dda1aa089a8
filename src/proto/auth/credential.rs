//! Static users, time-limited names and access tokens, side by side.
//!
//! A time-limited name is `<expiry>:<user>`, the expiry in decimal seconds since 1970-01-01 UTC; its password is
//! base64(HMAC-SHA1(secret, name)) or base64(HMAC-SHA256(secret, name)), whichever was minted. A bare `<expiry>`
//! without `:` and user is refused, although some servers take it: it names nobody whom a quota could count.
//!
//! Each request costs the same: the static candidate (a dummy where the name is no static user's) and both
//! candidates of every secret are made and verified, whatever the name looks like; only then is the name judged. So the
//! time to an answer tells neither which users exist nor what was wrong.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::proto::types::QuotaIdentity;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::limits::CREDENTIAL_CLOCK_LEEWAY;
use crate::proto::types::limits::USERNAME_MAX;
use crate::proto::wire::AuthAttributes;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::integrity_key::PasswordAlgorithm;
use super::integrity_key::integrity_key;
use super::integrity_key::userhash;
use super::mras;
use super::mras::MrasKey;
use super::token::TokenConfig;
use super::token::TokenHash;
use super::token::Tokens;

/// Who may allocate. `Debug` shows numbers, never a name or secret.
pub struct Credentials {
    realm: Box<str>,
    /// Sorted by userhash, which both USERNAME and USERHASH lead to. A hash also keeps the search from telling how
    /// much of a guessed name was right.
    users: Vec<StaticUser>,
    /// Stands in where a name is no static user's.
    nobody: StaticKeys,
    secrets: Vec<KeyedSecret>,
    lifetime_max_s: u64,
    /// `None` where tokens are not taken.
    tokens: Option<Tokens>,
    mras: Vec<MrasKey>,
}

/// What [`Credentials`] is made of.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// The realm.
    pub realm: Box<str>,
    /// Static users: name and password. Of a name that stands twice only the first counts.
    pub users: Vec<(Username, Secret)>,
    /// Shared secrets of time-limited names; several, so that one can be changed without an outage. Each one costs
    /// a few hashes per request.
    pub secrets: Vec<Secret>,
    /// A name or token that expires later than this from now is refused, in seconds.
    pub lifetime_max_s: u64,
    /// Keys of access tokens; none for a server that does not take any.
    pub tokens: TokenConfig,
    /// Pairs of keys of MRAS credentials, good in [MS-TURN] alone.
    pub mras: Vec<MrasKey>,
}

/// A client that proved to know a password.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Its USERNAME.
    pub username: Username,
    /// Whom its allocations count for.
    pub quota: QuotaIdentity,
    /// Its key.
    pub key: MacKey,
    /// When its name or token expires, in seconds since 1970-01-01 UTC; `None` for a static user.
    pub expires_unix: Option<u64>,
    /// The token that it brought: no allocation may outlive it (RFC 7635 § 9).
    pub token: Option<TokenHash>,
}

struct StaticUser {
    hash: [u8; 32],
    name: Username,
    quota: QuotaIdentity,
    keys: StaticKeys,
}

struct StaticKeys {
    md5: MacKey,
    sha256: MacKey,
}

/// How a request names its user.
#[derive(Clone, Copy)]
enum Presented<'a> {
    Name(&'a [u8]),
    Hash(&'a [u8; 32]),
}

impl Credentials {
    /// Prepares the keys of each static user.
    #[must_use]
    pub fn new(config: CredentialConfig) -> Self {
        let realm = config.realm.as_bytes();
        let mut users: Vec<StaticUser> = config
            .users
            .into_iter()
            .map(|(name, password)| StaticUser {
                hash: userhash(name.as_bytes(), realm),
                keys: StaticKeys::new(name.as_bytes(), realm, password.expose()),
                quota: QuotaIdentity::new(name.as_bytes()),
                name,
            })
            .collect();
        users.sort_by_key(|user| user.hash);
        users.dedup_by_key(|user| user.hash);
        let secrets = config.secrets.iter().map(KeyedSecret::new).collect();
        let nobody = StaticKeys::new(b"", realm, b"");
        let tokens = Tokens::new(config.tokens);
        let (realm, lifetime_max_s, mras) = (config.realm, config.lifetime_max_s, config.mras);
        Self { realm, users, nobody, secrets, lifetime_max_s, tokens, mras }
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether a USERHASH can always be resolved: static users are the sole credentials. Only then may nonces announce
    /// username anonymity ([`super::nonce::NonceKey::with_username_anonymity`]), because a time-limited name
    /// cannot be found from its hash, and a token's key not from that of its id.
    #[must_use]
    pub fn resolves_userhash(&self) -> bool {
        self.secrets.is_empty() && self.tokens.is_none() && !self.users.is_empty()
    }

    /// Whether ACCESS-TOKEN is understood.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Checks the message integrity of a request. `None` for an unknown user, a wrong password and an expired or too
    /// long-lived name alike, after the same work. Where both USERNAME and USERHASH are present, USERNAME counts. A
    /// request with a token is judged by it alone.
    #[must_use]
    pub fn authenticate(
        &self,
        unix: u64,
        auth: &AuthAttributes<'_>,
        algorithm: PasswordAlgorithm,
    ) -> Option<Authenticated> {
        if let (Some(tokens), Some(token)) = (&self.tokens, auth.access_token) {
            let kid = auth.username?;
            let verify = |key: &MacKey| auth.integrity.verify(key);
            let bearer = tokens.judge(unix, kid, token, self.lifetime_max_s, verify)?;
            return Some(Authenticated {
                username: Username::new(kid),
                quota: bearer.quota,
                key: bearer.key,
                expires_unix: Some(bearer.expires_unix),
                token: Some(bearer.hash),
            });
        }
        let presented = match (auth.username, auth.userhash) {
            (Some(name), _) => Presented::Name(name),
            (None, Some(hash)) => Presented::Hash(hash),
            (None, None) => return None,
        };
        self.judge(unix, presented, algorithm, &[], |key| auth.integrity.verify(key))
    }

    /// [`Self::authenticate`] for a request of [MS-TURN], which knows neither USERHASH nor tokens, and whose names may be
    /// those of MRAS credentials.
    #[must_use]
    pub fn authenticate_legacy(&self, unix: u64, auth: &AuthAttributes<'_>) -> Option<Authenticated> {
        let presented = Presented::Name(auth.username?);
        self.judge(unix, presented, PasswordAlgorithm::Md5, &self.mras, |key| auth.integrity.verify(key))
    }

    /// The work, then the judgement. `verify` is asked once for the static candidate, twice for each secret and once for
    /// each pair of `mras`.
    fn judge(
        &self,
        unix: u64,
        presented: Presented<'_>,
        algorithm: PasswordAlgorithm,
        mras: &[MrasKey],
        mut verify: impl FnMut(&MacKey) -> bool,
    ) -> Option<Authenticated> {
        let known = self.find(presented);
        let keys = known.map_or(&self.nobody, |user| &user.keys);
        // The black box keeps the compiler from leaving out a verdict that will not be asked for.
        let static_right = black_box(verify(keys.of(algorithm)));

        let name = presented.bytes();
        let mut limited_key = None;
        for secret in &self.secrets {
            for mac in PasswordMac::ALL {
                let password = secret.password(mac, name);
                let key = integrity_key(algorithm, name, self.realm.as_bytes(), password.as_bytes());
                if black_box(verify(&key)) {
                    limited_key = Some(key);
                }
            }
        }

        let mut bearer = None;
        for pair in mras {
            bearer = pair.judge(name, self.realm.as_bytes(), &mut verify).or(bearer);
        }

        // The dummy's verdict counts for nothing, so it does not matter that anybody can compute its key.
        if let (Some(user), true) = (known, static_right) {
            return Some(user.authenticated(algorithm));
        }
        if let Some(mras::Bearer { quota, expires_unix, key }) = bearer {
            let username = Username::new(name);
            let expires = Some(expires_unix);
            let in_time = self.in_time(unix, expires_unix);
            return in_time.then_some(Authenticated {
                username,
                quota,
                key,
                expires_unix: expires,
                token: None,
            });
        }
        let (Presented::Name(name), Some(key)) = (presented, limited_key) else { return None };
        let (expires_unix, user) = split_limited_name(name).filter(|_| name.len() <= USERNAME_MAX)?;
        self.in_time(unix, expires_unix).then(|| Authenticated {
            username: Username::new(name),
            quota: QuotaIdentity::new(user),
            key,
            expires_unix: Some(expires_unix),
            token: None,
        })
    }

    fn find(&self, presented: Presented<'_>) -> Option<&StaticUser> {
        // Both ways cost one hash.
        let hash_of_presented = userhash(presented.bytes(), self.realm.as_bytes());
        let hash = match presented {
            Presented::Name(_) => &hash_of_presented,
            Presented::Hash(hash) => hash,
        };
        let place = self.users.binary_search_by_key(&hash, |user| &user.hash).ok()?;
        Some(&self.users[place])
    }

    fn in_time(&self, unix: u64, expires_unix: u64) -> bool {
        let leeway_s = CREDENTIAL_CLOCK_LEEWAY.as_secs();
        let ceiling = unix.saturating_add(self.lifetime_max_s).saturating_add(leeway_s);
        expires_unix.saturating_add(leeway_s) >= unix && expires_unix <= ceiling
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .field("secrets", &self.secrets.len())
            .field("lifetime_max_s", &self.lifetime_max_s)
            .field("takes_tokens", &self.takes_tokens())
            .field("mras", &self.mras.len())
            .finish_non_exhaustive()
    }
}

impl Presented<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Name(name) => name,
            Self::Hash(hash) => *hash,
        }
    }
}

impl StaticUser {
    fn authenticated(&self, algorithm: PasswordAlgorithm) -> Authenticated {
        Authenticated {
            username: self.name.clone(),
            quota: self.quota.clone(),
            key: self.keys.of(algorithm).clone(),
            expires_unix: None,
            token: None,
        }
    }
}

impl StaticKeys {
    fn new(name: &[u8], realm: &[u8], password: &[u8]) -> Self {
        Self {
            md5: integrity_key(PasswordAlgorithm::Md5, name, realm, password),
            sha256: integrity_key(PasswordAlgorithm::Sha256, name, realm, password),
        }
    }

    fn of(&self, algorithm: PasswordAlgorithm) -> &MacKey {
        match algorithm {
            PasswordAlgorithm::Md5 => &self.md5,
            PasswordAlgorithm::Sha256 => &self.sha256,
        }
    }
}

/// The MAC behind the password of a time-limited name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMac {
    /// HMAC-SHA1, what every server of this kind takes.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
}

impl PasswordMac {
    const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];
}

/// Mints a time-limited credential: the name `<expires_unix>:<user>` and its password,
/// base64(HMAC-SHA1(secret, name)). A `user` that is empty makes a name that no server of this kind accepts.
#[must_use]
pub fn mint(secret: &Secret, user: &str, expires_unix: u64) -> (String, String) {
    mint_with(PasswordMac::Sha1, secret, user, expires_unix)
}

/// [`mint`] with the MAC of one's choice.
#[must_use]
pub fn mint_with(mac: PasswordMac, secret: &Secret, user: &str, expires_unix: u64) -> (String, String) {
    let name = format!("{expires_unix}:{user}");
    let password = KeyedSecret::new(secret).password(mac, name.as_bytes());
    let password = password.as_bytes().iter().copied().map(char::from).collect();
    (name, password)
}

/// A shared secret as HMAC state.
struct KeyedSecret {
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
}

impl KeyedSecret {
    fn new(secret: &Secret) -> Self {
        Self {
            sha1: Hmac::new_from_slice(secret.expose()).expect("HMAC takes a key of any length"),
            sha256: Hmac::new_from_slice(secret.expose()).expect("HMAC takes a key of any length"),
        }
    }

    fn password(&self, mac: PasswordMac, name: &[u8]) -> Password {
        match mac {
            PasswordMac::Sha1 => Password::new(&self.sha1.clone().chain_update(name).finalize().into_bytes()),
            PasswordMac::Sha256 => {
                Password::new(&self.sha256.clone().chain_update(name).finalize().into_bytes())
            }
        }
    }
}

/// The password of a time-limited name: base64 in place.
struct Password {
    text: Zeroizing<[u8; PASSWORD_MAX]>,
    len: usize,
}

impl Password {
    fn new(mac: &[u8]) -> Self {
        let mut text = Zeroizing::new([0; PASSWORD_MAX]);
        let len = STANDARD.encode_slice(mac, &mut *text).expect("base64 makes 44 characters of 32 bytes");
        Self { text, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Expiry and user of `<expiry>:<user>`. The expiry is one or more decimal digits that fit 64 bits, without sign
/// or space; the user is what follows the first `:`, at least one byte.
fn split_limited_name(name: &[u8]) -> Option<(u64, &[u8])> {
    let colon = name.iter().position(|byte| *byte == b':')?;
    let (digits, user) = (&name[..colon], &name[colon + 1..]);
    if digits.is_empty() || user.is_empty() {
        return None;
    }
    let mut expires_unix = 0_u64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        expires_unix = expires_unix.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some((expires_unix, user))
}

/// Characters of the longest minted password: that of an HMAC-SHA256.
const PASSWORD_MAX: usize = 44;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const LIFETIME_MAX_S: u64 = 8 * 3_600;
    const LEEWAY_S: u64 = CREDENTIAL_CLOCK_LEEWAY.as_secs();

    fn credentials(users: &[(&str, &str)], secrets: &[&str]) -> Credentials {
        let secret = |text: &str| Secret::new(text.as_bytes());
        Credentials::new(CredentialConfig {
            realm: "example.org".into(),
            users: users
                .iter()
                .map(|(name, password)| (Username::new(name.as_bytes()), secret(password)))
                .collect(),
            secrets: secrets.iter().map(|text| secret(text)).collect(),
            lifetime_max_s: LIFETIME_MAX_S,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        })
    }

    /// Judges `name` with an oracle that calls the candidates of the numbers in `right` right, counted in the order
    /// in which they are tried. Answers how many were tried, too.
    fn judge(
        credentials: &Credentials,
        presented: Presented<'_>,
        right: &[usize],
    ) -> (Option<Authenticated>, usize) {
        let mut tried = 0;
        let outcome = credentials.judge(NOW, presented, PasswordAlgorithm::Md5, &credentials.mras, |_| {
            tried += 1;
            right.contains(&(tried - 1))
        });
        (outcome, tried)
    }

    // proves rfc8489:9.2-5
    #[test]
    fn a_minted_credential_is_that_of_an_independent_computation() {
        // printf 1433895918:ninefingers | openssl dgst -sha1 -hmac north -binary | base64
        let (name, password) = mint(&Secret::new(*b"north"), "ninefingers", 1_433_895_918);
        assert_eq!(name, "1433895918:ninefingers");
        assert_eq!(password, "jy8hTxmOO7UtEKXqSkSlvakPVYA=");
        // The same with -sha256.
        let secret = Secret::new(*b"north");
        let (name, password) = mint_with(PasswordMac::Sha256, &secret, "ninefingers", 1_433_895_918);
        assert_eq!(name, "1433895918:ninefingers");
        assert_eq!(password, "xdnAJn9/0fhMTrcTABhSvZcYTK5UOj3LzL0Zzpc0EwE=");
    }

    #[test]
    fn every_outcome_costs_the_same_number_of_macs() {
        let both = credentials(&[("alice", "a"), ("5:bob", "b")], &["one", "two", "three"]);
        let live = format!("{NOW}:eve");
        let known_hash = userhash(b"alice", b"example.org");
        let cases: [(Presented<'_>, &[usize], bool); 13] = [
            (Presented::Name(b"alice"), &[0], true),
            (Presented::Name(b"alice"), &[], false),
            (Presented::Name(b"mallory"), &[], false),
            (Presented::Name(b""), &[], false),
            (Presented::Name(live.as_bytes()), &[1], true),
            (Presented::Name(live.as_bytes()), &[2], true),
            (Presented::Name(live.as_bytes()), &[5], true),
            (Presented::Name(live.as_bytes()), &[6], true),
            (Presented::Name(live.as_bytes()), &[], false),
            (Presented::Name(b"5:expired"), &[1], false),
            (Presented::Name(b"99999999999999999999999999:x"), &[1], false),
            (Presented::Hash(&known_hash), &[0], true),
            (Presented::Hash(&[7; 32]), &[], false),
        ];
        for (number, (presented, right, let_in)) in cases.into_iter().enumerate() {
            let (outcome, tried) = judge(&both, presented, right);
            assert_eq!(tried, 1 + 2 * 3, "case {number}");
            assert_eq!(outcome.is_some(), let_in, "case {number}");
        }
    }

    #[test]
    fn an_mras_name_is_good_in_its_time_and_every_name_costs_the_same() {
        let pair =
            |first: &str| MrasKey::new(&Secret::new(first.as_bytes()), &Secret::new(*b"the second key"));
        let mut both = credentials(&[("alice", "a")], &["one"]);
        both.mras = vec![pair("the first key"), pair("the first key before")];
        // Numbers of candidates: static, two of the secret, one of each pair.
        for (number, expires, let_in) in [
            (3, NOW, true),
            (3, NOW - LEEWAY_S, true),
            (3, NOW - LEEWAY_S - 1, false),
            (3, NOW + LIFETIME_MAX_S + LEEWAY_S, true),
            (3, NOW + LIFETIME_MAX_S + LEEWAY_S + 1, false),
            (4, NOW, false),
            (0, NOW, false),
        ] {
            let token = pair("the first key").mint(mras::TokenVersion::V1, b"eve", expires);
            let (outcome, tried) = judge(&both, Presented::Name(&token.username), &[number]);
            assert_eq!(tried, 1 + 2 + 2);
            assert_eq!(outcome.is_some(), let_in, "{number} {expires}");
            if let Some(client) = outcome {
                assert_eq!(client.quota.to_string().len(), 40, "the client id");
                assert_eq!(client.expires_unix, Some(expires));
            }
        }
        let old = pair("the first key before").mint(mras::TokenVersion::V2, b"eve", NOW);
        assert!(judge(&both, Presented::Name(&old.username), &[4]).0.is_some(), "each pair counts");
        let eternal = pair("the first key").mint(mras::TokenVersion::V1, b"eve", 0);
        assert!(judge(&both, Presented::Name(&eternal.username), &[3]).0.is_none());
        for name in [&b""[..], b"alice", b"5:x", &[1, 0, 0, 32]] {
            assert_eq!(judge(&both, Presented::Name(name), &[]).1, 5, "{name:?}");
        }
    }

    #[test]
    fn the_dummy_key_lets_nobody_in() {
        let static_only = credentials(&[("alice", "a")], &[]);
        assert!(judge(&static_only, Presented::Name(b"mallory"), &[0]).0.is_none());
        assert!(judge(&static_only, Presented::Hash(&[0; 32]), &[0]).0.is_none());
        assert!(judge(&credentials(&[], &[]), Presented::Name(b""), &[0]).0.is_none());
    }

    #[test]
    fn a_name_longer_than_the_standard_allows_is_nobody_s_after_the_same_work() {
        let limited = credentials(&[("alice", "a")], &["one"]);
        let name = |len: usize| format!("{NOW}:{}", "e".repeat(len - format!("{NOW}:").len()));
        let judge = |len| judge(&limited, Presented::Name(name(len).as_bytes()), &[1]);
        let (known, tried) = judge(USERNAME_MAX);
        assert!(known.is_some());
        let (too_long, tried_too) = judge(USERNAME_MAX + 1);
        assert!(too_long.is_none());
        assert_eq!(tried, tried_too);
    }

    #[test]
    fn a_secret_lets_no_userhash_in() {
        let both = credentials(&[("alice", "a")], &["one"]);
        let hash = *b"1700000000:abcdefghijklmnopqrstu";
        assert!(judge(&both, Presented::Hash(&hash), &[1]).0.is_none());
    }

    #[test]
    fn a_name_is_good_from_its_minting_to_its_expiry_with_five_minutes_to_either_side() {
        let limited = credentials(&[], &["one"]);
        let in_time = |expires| {
            let name = format!("{expires}:eve");
            judge(&limited, Presented::Name(name.as_bytes()), &[1]).0.is_some()
        };
        assert!(in_time(NOW));
        assert!(in_time(NOW - LEEWAY_S));
        assert!(!in_time(NOW - LEEWAY_S - 1));
        assert!(in_time(NOW + LIFETIME_MAX_S));
        assert!(in_time(NOW + LIFETIME_MAX_S + LEEWAY_S));
        assert!(!in_time(NOW + LIFETIME_MAX_S + LEEWAY_S + 1));
        assert!(!in_time(0));
        assert!(!in_time(u64::MAX));
    }

    #[test]
    fn a_quota_counts_the_user_behind_the_first_colon_or_the_whole_static_name() {
        let both = credentials(&[("5:bob", "b")], &["one"]);
        let name = format!("{NOW}:eve:tablet");
        let (limited, _) = judge(&both, Presented::Name(name.as_bytes()), &[1]);
        let limited = limited.expect("a good name");
        assert_eq!(limited.quota.to_string(), "eve:tablet");
        assert_eq!(limited.username.as_bytes(), name.as_bytes());
        assert_eq!(limited.expires_unix, Some(NOW));

        let (fixed, _) = judge(&both, Presented::Name(b"5:bob"), &[0]);
        let fixed = fixed.expect("a static user whose name looks like an expired one");
        assert_eq!(fixed.quota.to_string(), "5:bob");
        assert_eq!(fixed.expires_unix, None);
    }

    // proves rfc8489:9.2.4-9
    #[test]
    fn a_userhash_resolves_to_the_static_name() {
        let static_only = credentials(&[("alice", "a"), ("bob", "b"), ("carol", "c")], &[]);
        for name in ["alice", "bob", "carol"] {
            let hash = userhash(name.as_bytes(), b"example.org");
            let (outcome, _) = judge(&static_only, Presented::Hash(&hash), &[0]);
            assert_eq!(outcome.expect("a known user").username.to_string(), name);
        }
        assert!(judge(&static_only, Presented::Hash(&userhash(b"alice", b"other")), &[0]).0.is_none());
    }

    // proves rfc8489:9.2.4-10
    #[test]
    fn anonymity_may_be_announced_only_where_each_userhash_can_be_resolved() {
        assert!(credentials(&[("alice", "a")], &[]).resolves_userhash());
        assert!(!credentials(&[("alice", "a")], &["one"]).resolves_userhash());
        assert!(!credentials(&[], &["one"]).resolves_userhash());
        assert!(!credentials(&[], &[]).resolves_userhash());
    }

    #[test]
    fn names_that_are_not_time_limited_are_told_apart() {
        for name in [
            "",
            ":",
            ":x",
            "5",
            "5:",
            "+5:x",
            "-5:x",
            " 5:x",
            "5 :x",
            "0x5:x",
            "5.0:x",
            "18446744073709551616:x",
        ] {
            assert_eq!(split_limited_name(name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(split_limited_name(b"18446744073709551615:x"), Some((u64::MAX, &b"x"[..])));
        assert_eq!(split_limited_name(b"007::"), Some((7, &b":"[..])));
        assert_eq!(split_limited_name(b"7:\xFF\0"), Some((7, &b"\xFF\0"[..])));
    }

    #[test]
    fn a_server_that_takes_tokens_cannot_announce_anonymity() {
        let key = super::super::token::TokenKey::new(
            Username::new(b"kid"),
            super::super::token::TokenAlgorithm::A128Gcm,
            &Secret::new([1; 16]),
            0..=u64::MAX,
        );
        let both = Credentials::new(CredentialConfig {
            realm: "example.org".into(),
            users: vec![(Username::new(b"alice"), Secret::new(*b"a"))],
            secrets: Vec::new(),
            lifetime_max_s: LIFETIME_MAX_S,
            tokens: TokenConfig { server_name: "turn.example.org".into(), keys: key.into_iter().collect() },
            mras: Vec::new(),
        });
        assert!(both.takes_tokens());
        assert!(!both.resolves_userhash());
    }

    #[test]
    fn debug_shows_neither_names_nor_secrets() {
        let shown = format!("{:?}", credentials(&[("alice", "hunter2")], &["hunter3"]));
        assert!(!shown.contains("alice") && !shown.contains("hunter"), "{shown}");
        assert!(shown.contains("users: 1") && shown.contains("secrets: 1"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_name_is_judged(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            let both = credentials(&[("alice", "a")], &["one"]);
            prop_assert!(judge(&both, Presented::Name(&name), &[]).0.is_none());
            let _ = split_limited_name(&name);
        }

        #[test]
        fn a_minted_name_splits_into_what_it_was_made_of(expires: u64, user in ".+") {
            let (name, _) = mint(&Secret::new(*b"s"), &user, expires);
            prop_assert_eq!(split_limited_name(name.as_bytes()), Some((expires, user.as_bytes())));
        }
    }
}
