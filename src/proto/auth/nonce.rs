//! Stateless nonces, bound to time and five-tuple by a keyed MAC (RFC 8489 § 9.2, RFC 8656 § 5).
//!
//! ```text
//!  obMatJos2  AAAB  ttttmmmmmmmmmmm        28 bytes, all of them printable ASCII
//!  └cookie─┘  └─┬┘  └─────┬───────┘
//!               │         base64 of 11 bytes: 24 bits of time, 64 bits of MAC, 2 spare bits that are zero
//!               base64 of the 24 security feature bits
//! ```
//!
//! The time is milliseconds since the server started, modulo 2^24 (4.6 hours); the MAC covers the milliseconds in
//! full, the feature bits and the five-tuple. So a nonce is good for one source address and port, a repeat of the low
//! 24 bits is no nonce of ours, and nobody can take a feature bit away unseen.
//!
//! A nonce may be minted a little ahead of the clock ([`limits::NONCE_AHEAD_MAX`]): where all nonces of a five-tuple
//! up to this very moment were declared dead, its next one must be later than they are.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits;

/// Bytes of a nonce: the nonce cookie `obMatJos2`, four characters of security features, fifteen of base64
/// that hold 24 bits of time and 64 bits of MAC.
pub const NONCE_LEN: usize = 28;

/// A nonce as it stands in the NONCE attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; NONCE_LEN]);

/// The security features that a nonce announces (RFC 8489 § 18.1). Bit 0 is the rightmost (erratum 6290), so
/// password algorithms alone read `AAAB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityFeatures(u32);

impl SecurityFeatures {
    /// Bit 0: the answer that carries the nonce carries PASSWORD-ALGORITHMS too.
    pub const PASSWORD_ALGORITHMS: Self = Self(1);
    /// Bit 1: clients shall send USERHASH instead of USERNAME.
    pub const USERNAME_ANONYMITY: Self = Self(1 << 1);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every feature of `other` is here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The features that `nonce` claims, whoever made it; `None` if it does not begin with a nonce cookie.
    #[must_use]
    pub fn claimed(nonce: &[u8]) -> Option<Self> {
        let text = nonce.strip_prefix(COOKIE)?.get(..FEATURES_LEN)?;
        let mut bits = [0; 3];
        STANDARD_NO_PAD.decode_slice(text, &mut bits).ok()?;
        Some(Self(u32::from_be_bytes([0, bits[0], bits[1], bits[2]])))
    }

    fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }
}

/// The key of the MAC. Shared by the control task and all workers; a restart makes a new one. `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct NonceKey {
    keyed: Hmac<Sha256>,
    features: SecurityFeatures,
}

/// What is known of a presented nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceAge {
    /// Ours, for this five-tuple, minted at `issued`, younger than the lifetime.
    Fresh {
        /// When it was minted.
        issued: Tick,
    },
    /// Ours, for this five-tuple, but too old.
    Expired,
    /// Not minted by this key for this five-tuple.
    Foreign,
}

impl NonceKey {
    /// Draws a key, for nonces that announce password algorithms.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        let mut key = [0; KEY_LEN];
        entropy.fill_secret(&mut key);
        let keyed = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        key.zeroize();
        Self { keyed, features: SecurityFeatures::PASSWORD_ALGORITHMS }
    }

    /// The same key, for nonces that announce username anonymity too, or not. Only right where
    /// [`super::credential::Credentials::resolves_userhash`] holds: elsewhere a USERHASH may name nobody.
    #[must_use]
    pub fn with_username_anonymity(mut self, anonymous: bool) -> Self {
        self.features = SecurityFeatures::PASSWORD_ALGORITHMS;
        if anonymous {
            self.features = self.features.union(SecurityFeatures::USERNAME_ANONYMITY);
        }
        self
    }

    /// The nonce for `from` at `tick`.
    #[must_use]
    pub fn mint(&self, tick: Tick, from: &FiveTuple) -> Nonce {
        let mut body = [0; BODY_LEN];
        let [.., high, middle, low] = tick.as_millis().to_be_bytes();
        body[..TIME_LEN].copy_from_slice(&[high, middle, low]);
        body[TIME_LEN..].copy_from_slice(&self.mac(tick, from));

        let mut nonce = [0; NONCE_LEN];
        nonce[..HEAD_LEN].copy_from_slice(&self.head());
        let len = STANDARD_NO_PAD
            .encode_slice(body, &mut nonce[HEAD_LEN..])
            .expect("11 bytes fill the 15 characters behind the nonce cookie");
        debug_assert_eq!(HEAD_LEN + len, NONCE_LEN);
        Nonce(nonce)
    }

    /// Judges `presented`, in constant time as to the MAC.
    #[must_use]
    pub fn judge(&self, tick: Tick, from: &FiveTuple, presented: &[u8], lifetime: Duration) -> NonceAge {
        let Some(text) = presented.strip_prefix(&self.head()) else { return NonceAge::Foreign };
        if text.len() != NONCE_LEN - HEAD_LEN {
            return NonceAge::Foreign;
        }
        // The decoder refuses characters outside the alphabet and spare bits that are not zero, so a nonce has
        // one spelling.
        let mut body = [0; BODY_LEN];
        if STANDARD_NO_PAD.decode_slice(text, &mut body) != Ok(BODY_LEN) {
            return NonceAge::Foreign;
        }
        let (time, mac) = body.split_at(TIME_LEN);
        let Some(issued) = latest_moment(tick, time) else { return NonceAge::Foreign };
        if !bool::from(self.mac(issued, from).ct_eq(mac)) {
            return NonceAge::Foreign;
        }
        if issued.after(lifetime).is_due(tick) { NonceAge::Expired } else { NonceAge::Fresh { issued } }
    }

    /// The nonce cookie and the features: the 13 characters that all nonces of this key begin with.
    fn head(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..COOKIE.len()].copy_from_slice(COOKIE);
        STANDARD_NO_PAD
            .encode_slice(self.features.to_bytes(), &mut head[COOKIE.len()..])
            .expect("3 bytes fill the 4 characters behind the nonce cookie");
        head
    }

    fn mac(&self, issued: Tick, from: &FiveTuple) -> [u8; MAC_LEN] {
        let mut mac = self.keyed.clone();
        mac.update(&issued.as_millis().to_be_bytes());
        mac.update(&self.features.to_bytes());
        mac.update(&endpoint(from.client.socket()));
        mac.update(&endpoint(from.server.socket()));
        mac.update(&[match from.transport {
            Transport::Udp => 17,
            Transport::Tcp => 6,
            // No protocols of IP have these numbers.
            Transport::Tls => 255,
            Transport::Dtls => 254,
        }]);
        let full = mac.finalize().into_bytes();
        let mut truncated = [0; MAC_LEN];
        truncated.copy_from_slice(&full[..MAC_LEN]);
        truncated
    }
}

impl std::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NonceKey").field("features", &self.features).finish_non_exhaustive()
    }
}

/// The latest moment, not more than [`limits::NONCE_AHEAD_MAX`] after `tick`, whose low 24 bits are `low`.
fn latest_moment(tick: Tick, low: &[u8]) -> Option<Tick> {
    let latest_ms = tick.after(limits::NONCE_AHEAD_MAX).as_millis();
    let low = low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let same_turn = latest_ms & !(TIME_PERIOD_MS - 1) | low;
    let moment = if same_turn <= latest_ms { Some(same_turn) } else { same_turn.checked_sub(TIME_PERIOD_MS) };
    moment.map(Tick::from_millis)
}

/// An endpoint in a fixed width, so that no two five-tuples read the same.
fn endpoint(address: SocketAddr) -> [u8; ENDPOINT_LEN] {
    let mut bytes = [0; ENDPOINT_LEN];
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes[0] = 4;
            bytes[1..5].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes[0] = 6;
            bytes[1..17].copy_from_slice(&ip.octets());
        }
    }
    bytes[17..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

const COOKIE: &[u8; 9] = b"obMatJos2";
const FEATURES_LEN: usize = 4;
const HEAD_LEN: usize = COOKIE.len() + FEATURES_LEN;
const TIME_LEN: usize = 3;
const TIME_PERIOD_MS: u64 = 1 << (8 * TIME_LEN);
const MAC_LEN: usize = 8;
const BODY_LEN: usize = TIME_LEN + MAC_LEN;
const KEY_LEN: usize = 32;
const ENDPOINT_LEN: usize = 1 + 16 + 2;

const _: () = assert!(
    limits::NONCE_LIFETIME_DEFAULT.as_millis() + limits::NONCE_AHEAD_MAX.as_millis() < TIME_PERIOD_MS as u128
);
const _: () = assert!(NONCE_LEN == HEAD_LEN + (BODY_LEN * 8).div_ceil(6));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use crate::proto::auth::testing::five_tuple;
    use crate::proto::types::Dice;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn key() -> NonceKey {
        NonceKey::generate(&mut Dice::new(1))
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(seconds * 1_000)
    }

    // proves rfc8489:9.2-1, rfc8489:9.2-2, rfc8489:9.2.4-8, rfc8489:9.2.4-10, rfc8489:14.10-1
    #[test]
    fn a_nonce_begins_with_the_cookie_and_the_features_that_hold() {
        let from = five_tuple(1);
        let plain = key().mint(at(5), &from).0;
        assert!(plain.starts_with(b"obMatJos2AAAB"));
        assert!(plain.is_ascii());
        let anonymous = key().with_username_anonymity(true).mint(at(5), &from).0;
        assert!(anonymous.starts_with(b"obMatJos2AAAD"));
        assert_ne!(plain[13..], anonymous[13..], "the MAC covers the features");
    }

    // proves rfc8489:9.2-2
    #[test]
    fn features_are_read_from_any_nonce_that_has_the_cookie() {
        let both = SecurityFeatures::PASSWORD_ALGORITHMS.union(SecurityFeatures::USERNAME_ANONYMITY);
        assert_eq!(SecurityFeatures::claimed(b"obMatJos2AAADwhatever"), Some(both));
        for one in [SecurityFeatures::PASSWORD_ALGORITHMS, SecurityFeatures::USERNAME_ANONYMITY] {
            assert_eq!((one.union(one), one.union(both)), (one, both));
            assert!(both.contains(one) && !one.contains(both));
        }
        let high = SecurityFeatures::claimed(b"obMatJos2gAAA").expect("a cookie");
        assert!(!high.contains(SecurityFeatures::PASSWORD_ALGORITHMS), "bit 0 is the rightmost");
        for none in [&b""[..], b"obMatJos2", b"obMatJos2AAA", b"obMatJos2A=AA", b"xbMatJos2AAAB"] {
            assert_eq!(SecurityFeatures::claimed(none), None);
        }
    }

    // proves rfc8489:9.2.4-27, rfc8489:16-2
    // proves rfc8656:5-8
    #[test]
    fn a_nonce_lives_for_its_lifetime_counted_from_its_millisecond() {
        let (key, from) = (key(), five_tuple(1));
        let issued = Tick::from_millis(7_999);
        let nonce = key.mint(issued, &from).0;
        let judge = |millis| key.judge(Tick::from_millis(millis), &from, &nonce, HOUR);
        assert_eq!(judge(7_999), NonceAge::Fresh { issued });
        assert_eq!(judge(3_607_998), NonceAge::Fresh { issued });
        assert_eq!(judge(3_607_999), NonceAge::Expired);
    }

    #[test]
    fn a_nonce_may_be_a_little_ahead_of_the_clock_and_no_more() {
        let (key, from) = (key(), five_tuple(1));
        let ahead_ms = u64::try_from(limits::NONCE_AHEAD_MAX.as_millis()).expect("a short span");
        let issued = Tick::from_millis(5_000 + ahead_ms);
        let nonce = key.mint(issued, &from).0;
        let judge = |millis| key.judge(Tick::from_millis(millis), &from, &nonce, HOUR);
        assert_eq!(judge(5_000), NonceAge::Fresh { issued });
        assert_eq!(judge(4_999), NonceAge::Foreign, "a nonce of the future is none of ours");
    }

    #[test]
    fn a_turn_of_the_24_bit_clock_brings_no_nonce_back_and_loses_none() {
        let (key, from) = (key(), five_tuple(1));
        let old = key.mint(Tick::from_millis(50_000), &from).0;
        let again = TIME_PERIOD_MS + 50_000;
        let judge = |millis| key.judge(Tick::from_millis(millis), &from, &old, HOUR);
        let ahead_ms = u64::try_from(limits::NONCE_AHEAD_MAX.as_millis()).expect("a short span");
        assert_eq!(judge(again - ahead_ms - 1), NonceAge::Expired);
        assert_eq!(judge(again - ahead_ms), NonceAge::Foreign);
        assert_eq!(judge(again), NonceAge::Foreign);
        let issued = Tick::from_millis(TIME_PERIOD_MS - 1);
        let late = key.mint(issued, &from).0;
        let judged = key.judge(Tick::from_millis(TIME_PERIOD_MS + 1), &from, &late, HOUR);
        assert_eq!(judged, NonceAge::Fresh { issued });
    }

    // proves rfc8489:9.2.1-1, rfc8489:9.2.4-6, rfc8489:16-2
    #[test]
    fn a_nonce_is_foreign_to_every_other_five_tuple_key_and_feature_set() {
        let (key, from) = (key(), five_tuple(1));
        let nonce = key.mint(at(5), &from).0;
        let mut others = vec![five_tuple(2)];
        let mut port = from;
        port.client = crate::proto::types::ClientAddr::new("192.0.2.1:7777".parse().expect("an address"));
        others.push(port);
        let mut server = from;
        server.server =
            crate::proto::types::ServerAddr::new("198.51.100.1:3479".parse().expect("an address"));
        others.push(server);
        for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
            others.push(FiveTuple { transport, ..from });
        }
        for other in others {
            assert_eq!(key.judge(at(5), &other, &nonce, HOUR), NonceAge::Foreign, "{other:?}");
            assert_ne!(key.mint(at(5), &other).0, nonce);
        }
        let another_key = NonceKey::generate(&mut Dice::new(2));
        assert_eq!(another_key.judge(at(5), &from, &nonce, HOUR), NonceAge::Foreign);
        let anonymous = key.with_username_anonymity(true);
        assert_eq!(anonymous.judge(at(5), &from, &nonce, HOUR), NonceAge::Foreign);
    }

    #[test]
    fn an_ipv4_client_and_its_mapped_form_have_different_nonces() {
        let from = five_tuple(1);
        let mut mapped = from;
        let text = format!("[::ffff:{}]:{}", from.client.ip(), from.client.port());
        mapped.client = crate::proto::types::ClientAddr::new(text.parse().expect("an address"));
        assert_ne!(key().mint(at(5), &from), key().mint(at(5), &mapped));
    }

    // proves rfc8489:9.2.4-6
    // proves rfc8656:5-7
    #[test]
    fn nonces_of_many_sources_and_moments_are_distinct_and_vary_in_64_bits() {
        let key = key();
        let mut seen = HashSet::new();
        let (mut ones, mut zeros) = ([0_u8; 28], [0_u8; 28]);
        for source in 0..=255 {
            for second in 0..16 {
                let nonce = key.mint(at(second), &five_tuple(source)).0;
                assert!(seen.insert(nonce));
                let body = STANDARD_NO_PAD.decode(&nonce[HEAD_LEN..]).expect("base64");
                for (place, byte) in body[TIME_LEN..].iter().enumerate() {
                    ones[place] |= byte;
                    zeros[place] |= !byte;
                }
            }
        }
        let varying: u32 = ones.iter().zip(zeros).map(|(one, zero)| (one & zero).count_ones()).sum();
        assert_eq!(varying, 64);
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", key());
        assert_eq!(shown, "NonceKey { features: SecurityFeatures(1), .. }");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_none_is_ours(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(key().judge(at(99), &five_tuple(1), &bytes, HOUR), NonceAge::Foreign);
            let _ = SecurityFeatures::claimed(&bytes);
        }

        #[test]
        fn a_changed_byte_makes_a_nonce_foreign(place in 0..NONCE_LEN, change in 1..=255_u8) {
            let (key, from) = (key(), five_tuple(1));
            let mut nonce = key.mint(at(77), &from).0;
            nonce[place] ^= change;
            prop_assert_eq!(key.judge(at(77), &from, &nonce, HOUR), NonceAge::Foreign);
        }

        #[test]
        fn a_nonce_cut_short_or_made_longer_is_foreign(len in 0..NONCE_LEN, more in 1..8_usize) {
            let (key, from) = (key(), five_tuple(1));
            let nonce = key.mint(at(77), &from).0;
            prop_assert_eq!(key.judge(at(77), &from, &nonce[..len], HOUR), NonceAge::Foreign);
            let mut longer = nonce.to_vec();
            longer.extend(std::iter::repeat_n(b'A', more));
            prop_assert_eq!(key.judge(at(77), &from, &longer, HOUR), NonceAge::Foreign);
        }

        #[test]
        fn the_moment_is_found_again_within_a_turn(now_ms in 0..u64::MAX / 2, age in 0..TIME_PERIOD_MS) {
            let now = Tick::from_millis(now_ms);
            let latest_ms = now.after(limits::NONCE_AHEAD_MAX).as_millis();
            let issued_ms = latest_ms.saturating_sub(age);
            let [.., high, middle, low] = issued_ms.to_be_bytes();
            prop_assert_eq!(latest_moment(now, &[high, middle, low]), Some(Tick::from_millis(issued_ms)));
        }
    }
}
