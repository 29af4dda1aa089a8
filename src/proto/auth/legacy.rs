//! The checks of [MS-TURN] § 3.3.5.1, and the answers to its strangers.
//!
//! | check | fails with | signed | carries REALM, NONCE |
//! |---|---|---|---|
//! | MESSAGE-INTEGRITY is there | 401 | no | yes |
//! | USERNAME is there | 432 | no | yes |
//! | REALM is there | 434 | no | yes |
//! | NONCE is there | 435 | no | yes |
//! | the user and the realm are known, the MAC is right | 401, or 431 ([`WrongMac`]) | no | yes |
//! | the nonce is ours and for this five-tuple, or the one that the allocation was made with | 438 | no | yes |
//!
//! A nonce is good as long as the allocation that was made with it: no client of this dialect knows what to do with a 438
//! to a refresh. Requests within an allocation carry neither nonce nor, often, realm; the allocation's count.

use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::ms_turn::decode::decode_request;
use crate::proto::wire::ms_turn::encode::encode_response;

use super::challenge::Challenger;
use super::challenge::Greeting;
use super::challenge::SessionKey;
use super::credential::Authenticated;
use super::credential::Credentials;
use super::nonce::NonceAge;

/// The highest MS-VERSION that this server speaks: 3 would mean SHA-256 in MESSAGE-INTEGRITY, whose layout is not known.
pub const VERSION_MAX: u32 = 2;

/// What a wrong MAC or an unknown user gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrongMac {
    /// 401, which libnice takes for final; it drops a 431 for want of integrity, and waits in vain.
    #[default]
    Unauthenticated,
    /// 431.
    IntegrityCheckFailure,
}

impl WrongMac {
    /// The error code.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::IntegrityCheckFailure => ErrorCode::IntegrityCheckFailure,
        }
    }
}

/// What an allocation keeps of the Allocate that made it.
#[derive(Clone, Copy, Debug)]
pub struct LegacySession<'a> {
    /// Its key.
    pub key: &'a SessionKey,
    /// Its nonce, and when that was minted.
    pub nonce: (&'a [u8], Tick),
}

/// Answers a request of a five-tuple without an allocation as far as bytes, time and key suffice. A Send is never
/// answered; a Set Active Destination gets 437. `out` holds [`crate::proto::types::limits::RESPONSE_MAX`] bytes.
pub fn greet(
    challenger: &Challenger,
    tick: Tick,
    from: &FiveTuple,
    message: &[u8],
    out: &mut [u8],
) -> Greeting {
    let Ok(request) = decode_request(message) else { return Greeting::Malformed };
    let code = match request.method {
        Method::Allocate => match recognise(challenger, tick, from, &request) {
            Ok(()) => return Greeting::ToControl,
            Err(code) => code,
        },
        Method::SetActiveDestination => ErrorCode::AllocationMismatch,
        _ => return Greeting::Malformed,
    };
    let nonce = challenger.nonce_key.mint(tick, from);
    let mut response = Response::new(request.method, request.transaction, Outcome::Error(code));
    response.legacy.version = Some(version_for(&request));
    if request.method == Method::Allocate {
        response.realm = Some(challenger.realm.as_bytes());
        response.nonce = Some(&nonce.0);
    }
    match encode_response(&response, None, out) {
        Ok(len) => Greeting::Answer { len, code: Some(code), to: *from },
        Err(_) => Greeting::Malformed,
    }
}

/// The MS-VERSION of an answer: the lower of both.
#[must_use]
pub fn version_for(request: &Request<'_>) -> u32 {
    request.legacy.version.unwrap_or(VERSION_MAX).min(VERSION_MAX)
}

/// The checks that need no credentials.
fn recognise(
    challenger: &Challenger,
    tick: Tick,
    from: &FiveTuple,
    request: &Request<'_>,
) -> Result<(), ErrorCode> {
    let claim = Claim::read(request)?;
    match challenger.nonce_key.judge(tick, from, claim.nonce, challenger.nonce_lifetime) {
        NonceAge::Fresh { .. } | NonceAge::Expired => Ok(()),
        NonceAge::Foreign => Err(ErrorCode::StaleNonce),
    }
}

/// Carries out the checks on an Allocate in their order. Where its five-tuple has an allocation, `session` is what that
/// keeps, and a request of the same USERNAME is judged by it alone. Answers the client, and when its nonce was minted.
///
/// # Errors
/// The code of the answer, which is not signed.
pub fn authenticate(
    challenger: &Challenger,
    credentials: &Credentials,
    now: Now,
    from: &FiveTuple,
    request: &Request<'_>,
    session: Option<LegacySession<'_>>,
    wrong_mac: WrongMac,
) -> Result<(Authenticated, Tick), ErrorCode> {
    let claim = Claim::read(request)?;
    let session = session.filter(|session| session.key.username.as_bytes() == claim.username);
    let client = match session {
        Some(session) => session.key.verified(&request.auth),
        None => credentials.authenticate_legacy(now.unix, &request.auth),
    };
    let client = client.filter(|_| claim.realm == challenger.realm.as_bytes()).ok_or(wrong_mac.code())?;
    if let Some((_, issued)) = session.map(|session| session.nonce).filter(|(nonce, _)| *nonce == claim.nonce)
    {
        return Ok((client, issued));
    }
    match challenger.nonce_key.judge(now.tick(), from, claim.nonce, challenger.nonce_lifetime) {
        NonceAge::Fresh { issued } => Ok((client, issued)),
        NonceAge::Expired | NonceAge::Foreign => Err(ErrorCode::StaleNonce),
    }
}

/// Judges a request within an allocation: Send or Set Active Destination. USERNAME must be the allocation's, REALM too if
/// it is there, and the MAC right under the allocation's key.
#[must_use]
pub fn is_of_session(challenger: &Challenger, session: &SessionKey, request: &Request<'_>) -> bool {
    let auth = &request.auth;
    auth.username == Some(session.username.as_bytes())
        && auth.realm.is_none_or(|realm| realm == challenger.realm.as_bytes())
        && auth.integrity.verify(&session.key)
}

/// What an Allocate says of its authentication, complete in form.
struct Claim<'a> {
    username: &'a [u8],
    realm: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> Claim<'a> {
    fn read(request: &Request<'a>) -> Result<Self, ErrorCode> {
        let auth = &request.auth;
        if auth.integrity.algorithm().is_none() {
            return Err(ErrorCode::Unauthenticated);
        }
        Ok(Self {
            username: auth.username.ok_or(ErrorCode::MissingUsername)?,
            realm: auth.realm.ok_or(ErrorCode::MissingRealm)?,
            nonce: auth.nonce.ok_or(ErrorCode::MissingNonce)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use md5::Digest;
    use md5::Md5;

    use crate::proto::auth::credential::CredentialConfig;
    use crate::proto::auth::nonce::NonceKey;
    use crate::proto::auth::testing::five_tuple;
    use crate::proto::auth::token::TokenConfig;
    use crate::proto::binding::Discovery;
    use crate::proto::types::Dice;
    use crate::proto::types::Secret;
    use crate::proto::types::Username;
    use crate::proto::types::limits::RESPONSE_MAX;
    use crate::proto::wire::TransactionId;
    use crate::proto::wire::ms_turn::attributes as attribute;
    use crate::proto::wire::ms_turn::encode::Writer;
    use crate::proto::wire::ms_turn::framing::kind;
    use crate::proto::wire::rfc8656::integrity::MacKey;

    use super::*;

    const REALM: &str = "example.org";
    const UNIX: u64 = 1_700_000_000;

    fn challenger() -> Challenger {
        Challenger {
            realm: REALM.into(),
            nonce_key: NonceKey::generate(&mut Dice::new(1)),
            nonce_lifetime: Duration::from_secs(3_600),
            discovery: Discovery::default(),
            third_party: None,
            legacy: true,
        }
    }

    fn credentials() -> Credentials {
        Credentials::new(CredentialConfig {
            realm: REALM.into(),
            users: vec![(Username::new(b"alice"), Secret::new(*b"hunter2"))],
            secrets: vec![Secret::new(*b"a shared secret")],
            lifetime_max_s: 8 * 3_600,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        })
    }

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix: UNIX + seconds }
    }

    fn key(user: &str, password: &str) -> MacKey {
        MacKey::new(&Md5::digest(format!("{user}:{REALM}:{password}")))
    }

    fn nonce(seconds: u64) -> Vec<u8> {
        challenger().nonce_key.mint(at(seconds).tick(), &five_tuple(1)).0.to_vec()
    }

    /// A message with these attributes, signed with `key`.
    fn message(kind: u16, attributes: &[(u16, &[u8])], key: Option<&MacKey>) -> Vec<u8> {
        let mut out = [0; 600];
        let mut writer = Writer::new(&mut out, kind, TransactionId([7; 16])).unwrap();
        for (kind, value) in attributes {
            writer.attribute(*kind, value).unwrap();
        }
        if let Some(key) = key {
            writer.integrity(key).unwrap();
        }
        let len = writer.finish();
        out[..len].to_vec()
    }

    /// A right Allocate of alice's, with the nonce of second 0, without those attributes.
    fn allocate_without(missing: &[u16]) -> Vec<u8> {
        let nonce = nonce(0);
        let attributes: [(u16, &[u8]); 3] = [
            (attribute::USERNAME, b"alice"),
            (attribute::REALM, REALM.as_bytes()),
            (attribute::NONCE, &nonce),
        ];
        let kept: Vec<_> = attributes.into_iter().filter(|(kind, _)| !missing.contains(kind)).collect();
        let key = key("alice", "hunter2");
        let signed = !missing.contains(&attribute::MESSAGE_INTEGRITY);
        message(kind::ALLOCATE, &kept, signed.then_some(&key))
    }

    fn judge(seconds: u64, message: &[u8], session: Option<LegacySession<'_>>) -> Result<Tick, ErrorCode> {
        let request = decode_request(message).unwrap();
        let (from, wrong_mac) = (five_tuple(1), WrongMac::default());
        let judged =
            authenticate(&challenger(), &credentials(), at(seconds), &from, &request, session, wrong_mac);
        judged.map(|(who, issued)| {
            assert_eq!(who.username.as_bytes(), b"alice");
            issued
        })
    }

    fn greeted(seconds: u64, port: u8, message: &[u8]) -> Result<Vec<u8>, Greeting> {
        let mut out = [0; RESPONSE_MAX];
        match greet(&challenger(), at(seconds).tick(), &five_tuple(port), message, &mut out) {
            Greeting::Answer { len, .. } => Ok(out[..len].to_vec()),
            other => Err(other),
        }
    }

    fn code_of(answer: &[u8]) -> (u8, u8) {
        assert_eq!(answer[28..32], [0, 9, 0, 4], "ERROR-CODE follows the cookie");
        (answer[34], answer[35])
    }

    // proves ms_turn:5-3, ms_turn:6.1-1, ms_turn:6.1-2, ms_turn:6.1-3
    #[test]
    fn the_checks_come_in_their_order_for_strangers_and_in_control() {
        use attribute::MESSAGE_INTEGRITY;
        use attribute::NONCE;
        use attribute::REALM;
        use attribute::USERNAME;
        let cases: [(&[u16], u16); 4] = [
            (&[MESSAGE_INTEGRITY, USERNAME, REALM, NONCE], 401),
            (&[USERNAME, REALM, NONCE], 432),
            (&[REALM, NONCE], 434),
            (&[NONCE], 435),
        ];
        for (missing, code) in cases {
            let message = allocate_without(missing);
            assert_eq!(judge(0, &message, None).map_err(ErrorCode::number), Err(code));
            let (hundreds, rest) = code_of(&greeted(0, 1, &message).unwrap());
            assert_eq!(u16::from(hundreds) * 100 + u16::from(rest), code);
        }
        assert_eq!(judge(0, &allocate_without(&[]), None), Ok(at(0).tick()));
        assert_eq!(greeted(0, 1, &allocate_without(&[])), Err(Greeting::ToControl));
    }

    // proves ms_turn:3-5, ms_turn:4-12, ms_turn:4-13, ms_turn:5-4, ms_turn:5-5
    #[test]
    fn a_challenge_carries_realm_nonce_and_version_and_no_integrity() {
        for (asked, told) in [(None, 2), (Some(1_u32), 1), (Some(2), 2), (Some(6), 2)] {
            let version = asked.map(u32::to_be_bytes);
            let attributes: Vec<(u16, &[u8])> =
                version.iter().map(|version| (attribute::MS_VERSION, &version[..])).collect();
            let answer = greeted(5, 1, &message(kind::ALLOCATE, &attributes, None)).unwrap();
            let nonce = nonce(5);
            let expected: [(u16, &[u8]); 4] = [
                (attribute::ERROR_CODE, &[0, 0, 4, 1]),
                (attribute::MS_VERSION, &[0, 0, 0, told]),
                (attribute::REALM, REALM.as_bytes()),
                (attribute::NONCE, &nonce),
            ];
            assert_eq!(answer, message(kind::ALLOCATE_ERROR, &expected, None), "{asked:?}");
        }
    }

    // proves ms_turn:3-2, ms_turn:3-3, ms_turn:8-3
    #[test]
    fn a_send_of_a_stranger_gets_nothing_and_a_destination_437() {
        let signed = |kind| message(kind, &[(attribute::USERNAME, b"alice")], Some(&key("alice", "hunter2")));
        for message in [signed(kind::SEND), message(kind::SEND, &[], None)] {
            assert_eq!(greeted(0, 1, &message), Err(Greeting::Malformed));
        }
        let answer = greeted(0, 1, &signed(kind::SET_ACTIVE_DESTINATION)).unwrap();
        assert_eq!((answer[..2].to_vec(), code_of(&answer)), (vec![0x01, 0x16], (4, 37)));
        assert!(answer.len() <= 44, "it tells a stranger nothing more");
        assert_eq!(greeted(0, 1, b"no message at all"), Err(Greeting::Malformed));
    }

    // proves ms_turn:6.1-3
    #[test]
    fn a_wrong_password_and_an_unknown_user_are_one_answer_and_a_switch_makes_it_431() {
        let nonce = nonce(0);
        for (user, password) in [("alice", "hunter3"), ("nobody", "hunter2"), ("", "")] {
            let attributes: [(u16, &[u8]); 3] = [
                (attribute::USERNAME, user.as_bytes()),
                (attribute::REALM, REALM.as_bytes()),
                (attribute::NONCE, &nonce),
            ];
            let message = message(kind::ALLOCATE, &attributes, Some(&key(user, password)));
            let request = decode_request(&message).unwrap();
            for (wrong_mac, code) in
                [(WrongMac::Unauthenticated, 401), (WrongMac::IntegrityCheckFailure, 431)]
            {
                let (challenger, credentials, from) = (challenger(), credentials(), five_tuple(1));
                let judged = authenticate(&challenger, &credentials, at(0), &from, &request, None, wrong_mac);
                assert_eq!(judged.map_err(ErrorCode::number).map(|_| ()), Err(code), "{user}");
            }
        }
    }

    // proves ms_turn:4-10
    #[test]
    fn another_realm_is_no_realm_of_ours() {
        let nonce = nonce(0);
        let attributes: [(u16, &[u8]); 3] =
            [(attribute::USERNAME, b"alice"), (attribute::REALM, b"example.net"), (attribute::NONCE, &nonce)];
        let message = message(kind::ALLOCATE, &attributes, Some(&key("alice", "hunter2")));
        assert_eq!(judge(0, &message, None), Err(ErrorCode::Unauthenticated));
    }

    // proves ms_turn:4-9, ms_turn:6.1-3, ms_turn:6.2-4
    #[test]
    fn a_nonce_is_good_for_its_five_tuple_and_its_time_or_as_long_as_its_allocation() {
        let message = allocate_without(&[]);
        assert_eq!(judge(3_599, &message, None), Ok(at(0).tick()));
        assert_eq!(judge(3_600, &message, None), Err(ErrorCode::StaleNonce));
        assert_eq!(greeted(3_600, 1, &message), Err(Greeting::ToControl), "ours, if old");
        assert_eq!(code_of(&greeted(0, 2, &message).unwrap()), (4, 38), "of another five-tuple");
        let owner = SessionKey {
            username: Username::new(b"alice"),
            quota: crate::proto::types::QuotaIdentity::new(b"alice"),
            key: key("alice", "hunter2"),
            expires_unix: None,
            token: None,
        };
        let made_with = nonce(0);
        let session = LegacySession { key: &owner, nonce: (&made_with, at(0).tick()) };
        // Ten hours on, its own 24 bits of time would name another moment.
        assert_eq!(judge(36_000, &message, Some(session)), Ok(at(0).tick()));
        let other = nonce(9);
        let session = LegacySession { key: &owner, nonce: (&other, at(9).tick()) };
        assert_eq!(judge(36_000, &message, Some(session)), Err(ErrorCode::StaleNonce));
        assert_eq!(judge(10, &message, Some(session)), Ok(at(0).tick()), "a fresh one will do");
    }

    // proves ms_turn:5-6
    #[test]
    fn within_an_allocation_name_realm_and_mac_must_be_its_own() {
        let owner = SessionKey {
            username: Username::new(b"alice"),
            quota: crate::proto::types::QuotaIdentity::new(b"alice"),
            key: key("alice", "hunter2"),
            expires_unix: None,
            token: None,
        };
        let judge = |attributes: &[(u16, &[u8])], key: Option<&MacKey>| {
            let message = message(kind::SEND, attributes, key);
            is_of_session(&challenger(), &owner, &decode_request(&message).unwrap())
        };
        let (right, wrong) = (key("alice", "hunter2"), key("alice", "hunter3"));
        type Pair<'a> = (u16, &'a [u8]);
        let alice: Pair<'_> = (attribute::USERNAME, b"alice");
        let realm: Pair<'_> = (attribute::REALM, REALM.as_bytes());
        assert!(judge(&[alice], Some(&right)), "real clients leave the realm out");
        assert!(judge(&[alice, realm], Some(&right)), "libnice does not");
        assert!(!judge(&[alice, (attribute::REALM, b"example.net")], Some(&right)));
        assert!(!judge(&[alice], Some(&wrong)));
        assert!(!judge(&[alice], None));
        assert!(!judge(&[], Some(&right)));
        assert!(!judge(&[(attribute::USERNAME, b"bob")], Some(&right)));
    }
}
