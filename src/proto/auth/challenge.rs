//! The order of checks of RFC 8489 § 9.2.4, and the answers to strangers, which need no state.
//!
//! | check | fails with | signed | carries REALM, NONCE, PASSWORD-ALGORITHMS |
//! |---|---|---|---|
//! | MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 is there | 401 | no | yes |
//! | USERNAME or USERHASH, REALM and NONCE are there | 400 | no | no |
//! | PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS fit the offer | 400 | no | no |
//! | the user (or the token's key) and the realm are known, the MAC is right | 401 | no | yes |
//! | the nonce is ours, for this five-tuple, and young | 438 | yes | yes |
//!
//! A request with MESSAGE-INTEGRITY-SHA256 but without PASSWORD-ALGORITHM is judged by that attribute under the
//! MD5 key, and answered with MESSAGE-INTEGRITY: § 9.2.4 ties the answer's attribute to the negotiated algorithm,
//! not to the attribute of the request. A token's key is used as it is, whichever attribute signs.

use std::time::Duration;

use crate::proto::binding;
use crate::proto::binding::Answered;
use crate::proto::binding::Discovery;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::Tick;
use crate::proto::types::Username;
use crate::proto::wire::AuthAttributes;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::classify::Class;
use crate::proto::wire::classify::classify;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::encode::encode_response;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::credential::Authenticated;
use super::credential::Credentials;
use super::integrity_key::OFFERED;
use super::integrity_key::PasswordAlgorithm;
use super::integrity_key::userhash;
use super::legacy;
use super::nonce::Nonce;
use super::nonce::NonceAge;
use super::nonce::NonceKey;
use super::nonce::SecurityFeatures;
use super::token::TokenHash;

/// What every challenge needs; cloned to each worker.
#[derive(Clone, Debug)]
pub struct Challenger {
    /// The realm.
    pub realm: Box<str>,
    /// The nonce key.
    pub nonce_key: NonceKey,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// What Binding requests may discover (RFC 5780).
    pub discovery: Discovery,
    /// The name of this server that tokens are made for (RFC 7635 § 6.1); `None` where they are not taken.
    pub third_party: Option<Box<str>>,
    /// Whether [MS-TURN] is spoken.
    pub legacy: bool,
}

/// What a stranger's datagram gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The first `len` bytes of `out` are the answer.
    Answer {
        /// Bytes.
        len: usize,
        /// The error code of the answer, `None` for a success.
        code: Option<ErrorCode>,
        /// Where it goes, and the server's address that it leaves from.
        to: FiveTuple,
    },
    /// A request with a nonce of ours: the control task judges it.
    ToControl,
    /// Not a message, or one whose method is not supported, which RFC 8489 § 6.3 discards silently.
    Malformed,
}

impl Challenger {
    /// Answers a request of a five-tuple without an allocation as far as bytes, time and key suffice: Binding
    /// ([`crate::proto::binding`]), a request without integrity (401), one that lacks USERNAME, REALM or NONCE or whose
    /// password algorithm does not fit (400), one with a foreign nonce (438). Nothing is allocated. `out` holds
    /// [`crate::proto::types::limits::RESPONSE_MAX`] bytes; an answer that does not fit is not given.
    ///
    /// The 438 is unsigned and comes before the credentials are looked at, since they are not here; nobody but the
    /// owner of this five-tuple could tell the difference. RFC 8489 § 9.2.5 has clients retry with the new nonce
    /// before it speaks of the integrity of an answer, and that is what they do. A client that drops it because
    /// it is unsigned gets no answer, and begins anew without credentials, as after any restart of a server.
    pub fn greet(&self, tick: Tick, from: &FiveTuple, datagram: &[u8], out: &mut [u8]) -> Greeting {
        if self.legacy && classify(datagram, None) == Class::Legacy {
            return legacy::greet(self, tick, from, datagram, out);
        }
        let Ok(request) = decode_request(datagram) else {
            return binding::answer_classic(&self.discovery, datagram, from, out).into();
        };
        match request.method {
            Method::Binding => binding::answer(&self.discovery, &request, from, out).into(),
            Method::Unknown(_) | Method::Send | Method::SetActiveDestination => Greeting::Malformed,
            Method::Allocate
            | Method::Refresh
            | Method::CreatePermission
            | Method::ChannelBind
            | Method::Connect
            | Method::ConnectionBind => {
                let Err(refusal) = self.recognise(tick, from, &request) else { return Greeting::ToControl };
                let nonce = self.nonce_key.mint(tick, from);
                answer(&request, from, &self.refusal_response(&request, &refusal.into(), &nonce), out)
            }
        }
    }

    /// The answer that tells `refusal`. `nonce` is a new one for the five-tuple, from [`NonceKey::mint`]. Who sends it
    /// signs it with [`Refusal::signature`].
    #[must_use]
    pub fn refusal_response<'a>(
        &'a self,
        request: &Request<'_>,
        refusal: &Refusal,
        nonce: &'a Nonce,
    ) -> Response<'a> {
        let mut response = Response::new(request.method, request.transaction, Outcome::Error(refusal.code));
        if refusal.challenge {
            self.add_challenge(&mut response, nonce);
        }
        response
    }

    /// Adds REALM, NONCE and PASSWORD-ALGORITHMS, and THIRD-PARTY-AUTHORIZATION to a 401 where tokens are taken.
    pub fn add_challenge<'a>(&'a self, response: &mut Response<'a>, nonce: &'a Nonce) {
        response.realm = Some(self.realm.as_bytes());
        response.nonce = Some(&nonce.0);
        response.password_algorithms = Some(&OFFERED);
        response.third_party = self.third_party_for(response.outcome);
    }

    /// The value of THIRD-PARTY-AUTHORIZATION in an answer with this outcome: a 401 tells where a token would help
    /// (RFC 7635 § 6.1).
    #[must_use]
    pub fn third_party_for(&self, outcome: Outcome) -> Option<&[u8]> {
        let name = self.third_party.as_deref().map(str::as_bytes);
        name.filter(|_| outcome == Outcome::Error(ErrorCode::Unauthenticated))
    }

    /// The checks that need no credentials.
    fn recognise(&self, tick: Tick, from: &FiveTuple, request: &Request<'_>) -> Result<(), Unsigned> {
        let claim = Claim::read(&request.auth)?;
        match self.nonce_key.judge(tick, from, claim.nonce, self.nonce_lifetime) {
            NonceAge::Fresh { .. } | NonceAge::Expired => Ok(()),
            NonceAge::Foreign => Err(Unsigned::StaleNonce),
        }
    }
}

fn answer(request: &Request<'_>, from: &FiveTuple, response: &Response<'_>, out: &mut [u8]) -> Greeting {
    let Ok(len) = encode_response(response, None, request.fingerprint, out) else {
        return Greeting::Malformed;
    };
    let code = match response.outcome {
        Outcome::Success => None,
        Outcome::Error(code) => Some(code),
    };
    Greeting::Answer { len, code, to: *from }
}

impl<E> From<Result<Answered, E>> for Greeting {
    fn from(answered: Result<Answered, E>) -> Self {
        match answered {
            Ok(Answered { len, code, to }) => Self::Answer { len, code, to },
            Err(_) => Self::Malformed,
        }
    }
}

/// Why a request is refused, and how the refusal is signed.
#[derive(Debug)]
pub struct Refusal {
    /// 400, 401 or 438.
    pub code: ErrorCode,
    /// Whether the answer carries REALM, a new NONCE and PASSWORD-ALGORITHMS (401 and 438).
    pub challenge: bool,
    /// The key that signs the answer, where the request was authenticated (438).
    pub signature: Option<(MacKey, Algorithm)>,
}

impl Refusal {
    /// An unsigned challenge, as all of [MS-TURN] are.
    #[must_use]
    pub const fn unsigned(code: ErrorCode) -> Self {
        Self { code, challenge: true, signature: None }
    }

    /// 438 to a request that was authenticated, but whose nonce is dead for whatever reason.
    #[must_use]
    pub fn stale_nonce(key: &MacKey, algorithm: Algorithm) -> Self {
        Self { signature: Some((key.clone(), algorithm)), ..Self::from(Unsigned::StaleNonce) }
    }
}

/// A refusal for which no key is known.
#[derive(Clone, Copy, Debug)]
enum Unsigned {
    BadRequest,
    Unauthenticated,
    StaleNonce,
}

impl From<Unsigned> for Refusal {
    fn from(refusal: Unsigned) -> Self {
        let (code, challenge) = match refusal {
            Unsigned::BadRequest => (ErrorCode::BadRequest, false),
            Unsigned::Unauthenticated => (ErrorCode::Unauthenticated, true),
            Unsigned::StaleNonce => (ErrorCode::StaleNonce, true),
        };
        Self { code, challenge, signature: None }
    }
}

/// What an allocation keeps of its Allocate's credential.
#[derive(Clone, Debug)]
pub struct SessionKey {
    /// Its USERNAME.
    pub username: Username,
    /// Whom it counts for.
    pub quota: QuotaIdentity,
    /// Its key, made with the password algorithm of the Allocate. A request that negotiates the other one is
    /// refused with 401.
    pub key: MacKey,
    /// When its name or token expired or will, in seconds since 1970-01-01 UTC; `None` for a static user.
    pub expires_unix: Option<u64>,
    /// The token that its key came from.
    pub token: Option<TokenHash>,
}

impl From<Authenticated> for SessionKey {
    fn from(client: Authenticated) -> Self {
        let Authenticated { username, quota, key, expires_unix, token } = client;
        Self { username, quota, key, expires_unix, token }
    }
}

impl SessionKey {
    /// Whether `auth` names this session's user, and brings no token or the one that the session has. Another token is
    /// judged in full: a client carries its allocation on with it (RFC 7635 § 9).
    fn is_of(&self, auth: &AuthAttributes<'_>, realm: &str) -> bool {
        if auth.access_token.is_some_and(|token| self.token != Some(TokenHash::of(token))) {
            return false;
        }
        match (auth.username, auth.userhash) {
            (Some(name), _) => name == self.username.as_bytes(),
            (None, Some(hash)) => *hash == userhash(self.username.as_bytes(), realm.as_bytes()),
            (None, None) => false,
        }
    }

    /// The owner, if the integrity of a request is right under its key.
    pub(super) fn verified(&self, auth: &AuthAttributes<'_>) -> Option<Authenticated> {
        let Self { username, quota, key, expires_unix, token } = self.clone();
        auth.integrity.verify(&key).then_some(Authenticated { username, quota, key, expires_unix, token })
    }
}

/// A request that passed every check.
#[derive(Clone, Debug)]
pub struct Proved {
    /// Whose it is.
    pub client: Authenticated,
    /// The attribute that signs the answer: MESSAGE-INTEGRITY-SHA256 if and only if PASSWORD-ALGORITHM was negotiated.
    pub algorithm: Algorithm,
    /// When its nonce was minted.
    pub issued: Tick,
}

/// Carries out the checks of RFC 8489 § 9.2.4 on `request` in their order. Where the five-tuple has an
/// allocation, `session` is its key, and a request by the same USERNAME is judged by it alone: the expiry of
/// its credential is not looked at. A request by another USERNAME is judged by its own credential in full; that it
/// may not touch the allocation (441) is for the caller to see.
///
/// # Errors
/// [`Refusal`] tells the answer.
pub fn authenticate(
    challenger: &Challenger,
    credentials: &Credentials,
    now: Now,
    from: &FiveTuple,
    request: &Request<'_>,
    session: Option<&SessionKey>,
) -> Result<Proved, Refusal> {
    let auth = &request.auth;
    let claim = Claim::read(auth)?;

    // "If the value of the USERNAME or USERHASH attribute is not valid" and "if the resulting value does not match":
    // one check, so that the two cannot be told apart.
    let client = match session.filter(|session| session.is_of(auth, &challenger.realm)) {
        Some(session) => session.verified(auth),
        None => credentials.authenticate(now.unix, auth, claim.password_algorithm),
    };
    let client = client.filter(|_| claim.realm == challenger.realm.as_bytes());
    let Some(client) = client else { return Err(Unsigned::Unauthenticated.into()) };

    // "If the NONCE is no longer valid". The nonce is judged last, so the answer can be signed.
    let algorithm = claim.answer_algorithm();
    match challenger.nonce_key.judge(now.tick(), from, claim.nonce, challenger.nonce_lifetime) {
        NonceAge::Fresh { issued } => Ok(Proved { client, algorithm, issued }),
        NonceAge::Expired | NonceAge::Foreign => Err(Refusal::stale_nonce(&client.key, algorithm)),
    }
}

/// What a request says of its authentication, complete in form.
struct Claim<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    password_algorithm: PasswordAlgorithm,
    negotiated: bool,
}

impl<'a> Claim<'a> {
    /// The first three checks of RFC 8489 § 9.2.4.
    fn read(auth: &AuthAttributes<'a>) -> Result<Self, Unsigned> {
        // "If the message does not contain a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 attribute".
        if auth.integrity.algorithm().is_none() {
            return Err(Unsigned::Unauthenticated);
        }
        // "... but is missing either the USERNAME or USERHASH, REALM, or NONCE attribute".
        let (true, Some(realm), Some(nonce)) =
            (auth.username.is_some() || auth.userhash.is_some(), auth.realm, auth.nonce)
        else {
            return Err(Unsigned::BadRequest);
        };
        // "If the NONCE attribute starts with the nonce cookie with ... Password algorithms bit set to 1".
        let offered = SecurityFeatures::claimed(nonce)
            .is_some_and(|features| features.contains(SecurityFeatures::PASSWORD_ALGORITHMS));
        let negotiated = if offered { offered_algorithm(auth)? } else { named_algorithm(auth) };
        Ok(Self {
            realm,
            nonce,
            password_algorithm: negotiated.unwrap_or(PasswordAlgorithm::Md5),
            negotiated: negotiated.is_some(),
        })
    }

    /// The last paragraph of RFC 8489 § 9.2.4.
    const fn answer_algorithm(&self) -> Algorithm {
        if self.negotiated { Algorithm::Sha256 } else { Algorithm::Sha1 }
    }
}

/// The algorithm of a request whose nonce announced our offer: none, or one that fits it.
fn offered_algorithm(auth: &AuthAttributes<'_>) -> Result<Option<PasswordAlgorithm>, Unsigned> {
    match (auth.password_algorithm, auth.password_algorithms) {
        (None, None) if !auth.unreadable_algorithm => Ok(None),
        (Some(_), Some(algorithms)) if algorithms == OFFERED => {
            named_algorithm(auth).map(Some).ok_or(Unsigned::BadRequest)
        }
        _ => Err(Unsigned::BadRequest),
    }
}

/// The algorithm that a request names, if it is one of ours. Without our nonce there was no offer to compare with; the
/// nonce decides in the end.
fn named_algorithm(auth: &AuthAttributes<'_>) -> Option<PasswordAlgorithm> {
    auth.password_algorithm
        .and_then(|(number, parameters)| PasswordAlgorithm::from_attribute(number, parameters))
}

#[cfg(test)]
mod tests {
    use md5::Md5;
    use proptest::prelude::*;
    use sha2::Digest;
    use sha2::Sha256;

    use crate::proto::auth::credential::CredentialConfig;
    use crate::proto::auth::credential::mint;
    use crate::proto::auth::testing::NONCE;
    use crate::proto::auth::testing::PASSWORD_ALGORITHM;
    use crate::proto::auth::testing::PASSWORD_ALGORITHMS;
    use crate::proto::auth::testing::REALM;
    use crate::proto::auth::testing::RequestBuilder;
    use crate::proto::auth::testing::USERHASH;
    use crate::proto::auth::testing::USERNAME;
    use crate::proto::auth::testing::attribute;
    use crate::proto::auth::testing::attributes;
    use crate::proto::auth::testing::five_tuple;
    use crate::proto::auth::token::TokenConfig;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::Dice;
    use crate::proto::types::Secret;
    use crate::proto::types::limits::RESPONSE_MAX;

    use super::*;

    const BINDING: u16 = 0x0001;
    const ALLOCATE: u16 = 0x0003;
    const UNIX: u64 = 1_700_000_000;
    const SHA256_CHOSEN: [u8; 4] = [0, 2, 0, 0];
    const MD5_CHOSEN: [u8; 4] = [0, 1, 0, 0];

    /// What a test says of a request; the rest is right.
    #[derive(Clone)]
    struct Plan {
        from: FiveTuple,
        username: Option<Vec<u8>>,
        userhash: Option<[u8; 32]>,
        realm: Option<Vec<u8>>,
        nonce: Option<Vec<u8>>,
        chosen: Option<Vec<u8>>,
        offered: Option<Vec<u8>>,
        key: Option<Vec<u8>>,
        sha256: bool,
    }

    impl Plan {
        fn bytes(&self) -> Vec<u8> {
            let values = [
                (USERNAME, self.username.clone()),
                (USERHASH, self.userhash.map(Vec::from)),
                (REALM, self.realm.clone()),
                (NONCE, self.nonce.clone()),
                (PASSWORD_ALGORITHM, self.chosen.clone()),
                (PASSWORD_ALGORITHMS, self.offered.clone()),
            ];
            let mut request = RequestBuilder::new(ALLOCATE);
            for (number, value) in values {
                if let Some(value) = value {
                    request = request.attribute(number, &value);
                }
            }
            match &self.key {
                None => request.bytes(),
                Some(key) if self.sha256 => request.sha256(key).bytes(),
                Some(key) => request.sha1(key).bytes(),
            }
        }
    }

    fn challenger() -> Challenger {
        Challenger {
            realm: "example.org".into(),
            nonce_key: NonceKey::generate(&mut Dice::new(1)),
            nonce_lifetime: Duration::from_secs(3_600),
            discovery: Discovery::default(),
            third_party: None,
            legacy: true,
        }
    }

    fn credentials() -> Credentials {
        Credentials::new(CredentialConfig {
            realm: "example.org".into(),
            users: vec![(Username::new(b"alice"), Secret::new(*b"hunter2"))],
            secrets: vec![Secret::new(*b"old"), Secret::new(*b"new")],
            lifetime_max_s: 8 * 3_600,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        })
    }

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix: UNIX + seconds }
    }

    fn md5_key(name: &str, password: &str) -> Option<Vec<u8>> {
        Some(Md5::digest(format!("{name}:example.org:{password}")).to_vec())
    }

    fn sha256_key(name: &str, password: &str) -> Option<Vec<u8>> {
        Some(Sha256::digest(format!("{name}:example.org:{password}")).to_vec())
    }

    /// A right request of alice's, minted and sent at second 0.
    fn alice() -> Plan {
        let from = five_tuple(1);
        Plan {
            from,
            username: Some(b"alice".to_vec()),
            userhash: None,
            realm: Some(b"example.org".to_vec()),
            nonce: Some(challenger().nonce_key.mint(at(0).tick(), &from).0.to_vec()),
            chosen: None,
            offered: None,
            key: md5_key("alice", "hunter2"),
            sha256: false,
        }
    }

    fn negotiated(plan: Plan, chosen: [u8; 4], key: Option<Vec<u8>>) -> Plan {
        Plan { chosen: Some(chosen.to_vec()), offered: Some(OFFERED.to_vec()), key, sha256: true, ..plan }
    }

    fn judge_at(
        seconds: u64,
        plan: &Plan,
        session: Option<&SessionKey>,
    ) -> Result<(Authenticated, Algorithm), Refusal> {
        let bytes = plan.bytes();
        let request = decode_request(&bytes).expect("a well-formed request");
        authenticate(&challenger(), &credentials(), at(seconds), &plan.from, &request, session)
            .map(|proved| (proved.client, proved.algorithm))
    }

    fn judge(plan: &Plan) -> Result<(Authenticated, Algorithm), Refusal> {
        judge_at(0, plan, None)
    }

    /// Code, challenge, and the attribute that signs the answer.
    fn refusal(plan: &Plan) -> (u16, bool, Option<Algorithm>) {
        let refusal = judge(plan).map(|(client, _)| client).expect_err("a refusal");
        (refusal.code.number(), refusal.challenge, refusal.signature.map(|(_, algorithm)| algorithm))
    }

    const STRANGER: (u16, bool, Option<Algorithm>) = (401, true, None);
    const BAD: (u16, bool, Option<Algorithm>) = (400, false, None);

    // proves rfc8489:9.2.4-33
    // proves rfc8656:5-2
    #[test]
    fn a_right_request_passes_and_is_answered_with_sha1() {
        let (client, algorithm) = judge(&alice()).expect("alice");
        assert_eq!(client.username.to_string(), "alice");
        assert_eq!(algorithm, Algorithm::Sha1);
    }

    // proves rfc8489:9.2.4-32
    #[test]
    fn a_negotiated_algorithm_makes_the_key_and_has_the_answer_signed_with_sha256() {
        let sha256 = negotiated(alice(), SHA256_CHOSEN, sha256_key("alice", "hunter2"));
        assert_eq!(judge(&sha256).expect("alice").1, Algorithm::Sha256);
        let md5 = negotiated(alice(), MD5_CHOSEN, md5_key("alice", "hunter2"));
        assert_eq!(judge(&md5).expect("alice").1, Algorithm::Sha256);
        let wrong_key = negotiated(alice(), SHA256_CHOSEN, md5_key("alice", "hunter2"));
        assert_eq!(refusal(&wrong_key), STRANGER);
    }

    // proves rfc8489:9.2.4-14, rfc8489:9.2.4-33
    #[test]
    fn sha256_integrity_without_negotiation_uses_the_md5_key_and_is_answered_with_sha1() {
        let plan = Plan { sha256: true, ..alice() };
        assert_eq!(judge(&plan).expect("alice").1, Algorithm::Sha1);
    }

    #[test]
    fn a_minted_credential_of_either_secret_passes() {
        for secret in [b"old", b"new"] {
            let (name, password) = mint(&Secret::new(*secret), "eve", UNIX + 60);
            let plan =
                Plan { username: Some(name.clone().into()), key: md5_key(&name, &password), ..alice() };
            let (client, _) = judge(&plan).expect("eve");
            assert_eq!(client.quota.to_string(), "eve");
            assert_eq!(client.expires_unix, Some(UNIX + 60));
            let plan = negotiated(plan, SHA256_CHOSEN, sha256_key(&name, &password));
            assert_eq!(judge(&plan).expect("eve").1, Algorithm::Sha256);
        }
        let (name, password) = mint(&Secret::new(*b"gone"), "eve", UNIX + 60);
        assert_eq!(
            refusal(&Plan { username: Some(name.clone().into()), key: md5_key(&name, &password), ..alice() }),
            STRANGER
        );
    }

    // proves rfc8489:9.2.4-2
    #[test]
    fn the_checks_come_in_the_order_of_the_standard() {
        let everything_wrong = Plan {
            username: None,
            realm: None,
            nonce: None,
            chosen: Some(vec![0, 9, 0, 0]),
            key: None,
            ..alice()
        };
        assert_eq!(refusal(&everything_wrong), STRANGER, "no integrity");
        let signed = Plan { key: Some(b"wrong".to_vec()), ..everything_wrong };
        assert_eq!(refusal(&signed), BAD, "USERNAME, REALM and NONCE are missing");
        let stale = challenger().nonce_key.mint(at(0).tick(), &five_tuple(9)).0.to_vec();
        let complete = Plan {
            username: Some(b"mallory".to_vec()),
            realm: Some(b"elsewhere".to_vec()),
            nonce: Some(stale),
            ..signed
        };
        assert_eq!(refusal(&complete), BAD, "PASSWORD-ALGORITHM does not fit");
        let fitting = Plan { chosen: None, ..complete };
        assert_eq!(refusal(&fitting), STRANGER, "unknown user");
        let known = Plan { username: Some(b"alice".to_vec()), ..fitting };
        assert_eq!(refusal(&known), STRANGER, "wrong MAC");
        let right_mac = Plan { key: md5_key("alice", "hunter2"), ..known };
        assert_eq!(refusal(&right_mac), STRANGER, "foreign realm");
        let right_realm = Plan { realm: Some(b"example.org".to_vec()), ..right_mac };
        assert_eq!(refusal(&right_realm), (438, true, Some(Algorithm::Sha1)), "foreign nonce");
        assert!(judge(&Plan { nonce: alice().nonce, ..right_realm }).is_ok());
    }

    // proves rfc8489:9.2.4-12
    #[test]
    fn each_missing_attribute_alone_is_a_bad_request() {
        for plan in [
            Plan { username: None, ..alice() },
            Plan { realm: None, ..alice() },
            Plan { nonce: None, ..alice() },
        ] {
            assert_eq!(refusal(&plan), BAD);
        }
    }

    // proves rfc8489:9.2.4-15
    #[test]
    fn an_offer_that_does_not_fit_is_a_bad_request() {
        let right = negotiated(alice(), SHA256_CHOSEN, sha256_key("alice", "hunter2"));
        for plan in [
            Plan { chosen: None, ..right.clone() },
            Plan { offered: None, ..right.clone() },
            Plan { offered: Some(MD5_CHOSEN.to_vec()), ..right.clone() },
            Plan { offered: Some([MD5_CHOSEN, SHA256_CHOSEN].concat()), ..right.clone() },
            Plan { offered: Some(Vec::new()), ..right.clone() },
            Plan { chosen: Some(vec![0, 3, 0, 0]), ..right.clone() },
            Plan { chosen: Some(vec![0, 2, 0, 4, 1, 2, 3, 4]), ..right.clone() },
        ] {
            assert_eq!(refusal(&plan), BAD, "{:?} of {:?}", plan.chosen, plan.offered);
        }
    }

    // proves rfc8489:9.2.4-15
    #[test]
    fn an_algorithm_that_cannot_be_read_is_not_as_good_as_none() {
        let md5 = md5_key("alice", "hunter2");
        for chosen in [&[][..], &[0, 2, 0], &[0, 1, 0, 1], &[0, 1, 0x21, 0x1B, 0x5E, 0x12, 0xA4, 0x43]] {
            let with_offer =
                Plan { chosen: Some(chosen.to_vec()), ..negotiated(alice(), MD5_CHOSEN, md5.clone()) };
            let alone = Plan { offered: None, ..with_offer.clone() };
            assert_eq!((refusal(&with_offer), refusal(&alone)), (BAD, BAD), "{chosen:?}");
        }
    }

    // proves rfc8489:9.2.4-31
    #[test]
    fn an_old_nonce_gets_a_438_signed_as_an_answer_would_be() {
        let signature = |plan: &Plan, seconds| {
            let refusal = judge_at(seconds, plan, None).map(|(client, _)| client).expect_err("too old");
            assert_eq!(refusal.code, ErrorCode::StaleNonce);
            assert!(refusal.challenge);
            refusal.signature.expect("a signature").1
        };
        assert!(judge_at(3_599, &alice(), None).is_ok());
        assert_eq!(signature(&alice(), 3_600), Algorithm::Sha1);
        let sha256 = negotiated(alice(), SHA256_CHOSEN, sha256_key("alice", "hunter2"));
        assert_eq!(signature(&sha256, 3_600), Algorithm::Sha256);
    }

    #[test]
    fn a_nonce_without_the_cookie_is_stale_also_for_a_client_that_negotiated() {
        let plain = Plan { nonce: Some(b"0123456789abcdef".to_vec()), ..alice() };
        assert_eq!(refusal(&plain), (438, true, Some(Algorithm::Sha1)));
        let plan = negotiated(plain, SHA256_CHOSEN, sha256_key("alice", "hunter2"));
        assert_eq!(refusal(&plan), (438, true, Some(Algorithm::Sha256)));
    }

    // proves rfc8489:9.2.4-9, rfc8489:9.2.4-16
    #[test]
    fn a_userhash_stands_for_a_static_name() {
        let plan = Plan { username: None, userhash: Some(userhash(b"alice", b"example.org")), ..alice() };
        assert_eq!(judge(&plan).expect("alice").0.username.to_string(), "alice");
        let unknown = Plan { userhash: Some(userhash(b"bob", b"example.org")), ..plan };
        assert_eq!(refusal(&unknown), STRANGER);
    }

    #[test]
    fn a_session_goes_on_with_its_key_after_its_credential_expired() {
        let (name, password) = mint(&Secret::new(*b"new"), "eve", UNIX + 60);
        let eve = Plan { username: Some(name.clone().into()), key: md5_key(&name, &password), ..alice() };
        let session = SessionKey::from(judge(&eve).expect("eve").0);
        let late = 3_000;
        assert!(judge_at(late, &eve, None).is_err(), "no new allocation");
        let (client, _) = judge_at(late, &eve, Some(&session)).expect("eve goes on");
        assert_eq!((client.quota.to_string(), client.expires_unix), ("eve".to_owned(), Some(UNIX + 60)));
        let hashed =
            Plan { username: None, userhash: Some(userhash(name.as_bytes(), b"example.org")), ..eve.clone() };
        assert!(judge_at(late, &hashed, Some(&session)).is_ok(), "by its userhash too");
    }

    // proves rfc8656:6-2, rfc8656:6-3
    #[test]
    fn a_session_is_judged_by_its_stored_key_alone() {
        let mut session = SessionKey::from(judge(&alice()).expect("alice").0);
        session.key = MacKey::new(b"the key of the day of the Allocate");
        let with_new_password =
            judge_at(0, &alice(), Some(&session)).map(|(client, _)| client).expect_err("401");
        assert_eq!(with_new_password.code, ErrorCode::Unauthenticated);
        let stored = Plan { key: Some(b"the key of the day of the Allocate".to_vec()), ..alice() };
        assert!(judge_at(0, &stored, Some(&session)).is_ok());
        let elsewhere = Plan { realm: Some(b"elsewhere".to_vec()), ..stored.clone() };
        assert!(judge_at(0, &elsewhere, Some(&session)).is_err());
        let old = judge_at(3_600, &stored, Some(&session)).map(|(client, _)| client).expect_err("438");
        assert_eq!(old.code, ErrorCode::StaleNonce);
    }

    #[test]
    fn another_user_on_a_session_is_judged_in_full_and_comes_out_under_its_own_name() {
        let session = SessionKey::from(judge(&alice()).expect("alice").0);
        let (name, password) = mint(&Secret::new(*b"new"), "eve", UNIX + 60);
        let eve = Plan { username: Some(name.clone().into()), key: md5_key(&name, &password), ..alice() };
        let (client, _) = judge_at(0, &eve, Some(&session)).expect("eve, who then gets 441");
        assert_eq!(client.username.as_bytes(), name.as_bytes());
        let guess = Plan { key: md5_key("alice", "hunter2"), ..eve };
        assert!(judge_at(0, &guess, Some(&session)).is_err(), "alice's key does not open eve's name");
    }

    #[test]
    fn the_moment_of_a_fresh_nonce_is_told() {
        let plan = alice();
        let bytes = plan.bytes();
        let request = decode_request(&bytes).expect("a request");
        let judged =
            |seconds| authenticate(&challenger(), &credentials(), at(seconds), &plan.from, &request, None);
        assert_eq!(judged(5).map(|proved| proved.issued).ok(), Some(at(0).tick()));
        assert_eq!(judged(3_600).map(|proved| proved.issued).ok(), None);
    }

    /// Greets `datagram` at second 5; the answer's bytes and code.
    fn greet(from: &FiveTuple, datagram: &[u8]) -> Result<(Vec<u8>, Option<u16>), Greeting> {
        let mut out = [0xEE; RESPONSE_MAX];
        match challenger().greet(at(5).tick(), from, datagram, &mut out) {
            Greeting::Answer { len, code, .. } => Ok((out[..len].to_vec(), code.map(ErrorCode::number))),
            other => Err(other),
        }
    }

    fn numbers(message: &[u8]) -> Vec<u16> {
        attributes(message).into_iter().map(|(number, _)| number).collect()
    }

    // proves rfc8489:6.3.1.1-7, rfc8489:12-1, rfc8489:12-6, rfc8489:12-7, rfc8489:14.7-1
    #[test]
    fn a_binding_request_gets_its_address_and_nothing_else() {
        let bare = RequestBuilder::new(BINDING).bytes();
        let (answer, code) = greet(&five_tuple(1), &bare).expect("an answer");
        assert_eq!((answer.len(), code), (32, None));
        assert_eq!(numbers(&answer), [0x0020]);
        let mapped = attribute(&answer, 0x0020).expect("XOR-MAPPED-ADDRESS");
        assert_eq!(mapped[2..4], (50_000 ^ 0x2112_u16).to_be_bytes());
        assert_eq!(mapped[4..], [192 ^ 0x21, 0x12, 2 ^ 0xA4, 1 ^ 0x42]);

        let mut from = five_tuple(1);
        from.client = ClientAddr::new("[2001:db8::1]:50000".parse().expect("an address"));
        assert_eq!(greet(&from, &bare).expect("an answer").0.len(), 44);

        let marked = RequestBuilder::new(BINDING).fingerprint().bytes();
        let (answer, _) = greet(&five_tuple(1), &marked).expect("an answer");
        assert_eq!(numbers(&answer), [0x0020, 0x8028]);
    }

    // proves rfc8489:12-8
    #[test]
    fn a_binding_request_of_rfc_3489_is_answered_in_its_own_words() {
        let mut classic = RequestBuilder::new(BINDING).bytes();
        classic[4..8].copy_from_slice(b"old!");
        let (answer, code) = greet(&five_tuple(1), &classic).expect("an answer");
        assert_eq!((numbers(&answer), code), (vec![0x0001], None));
        let mut other = RequestBuilder::new(ALLOCATE).bytes();
        other[4..8].copy_from_slice(b"old!");
        assert_eq!(greet(&five_tuple(1), &other), Err(Greeting::Malformed));
    }

    // proves rfc8489:12-2
    #[test]
    fn a_binding_request_is_never_authenticated() {
        let signed = RequestBuilder::new(BINDING).attribute(USERNAME, b"someone").sha1(b"some key").bytes();
        let (answer, code) = greet(&five_tuple(1), &signed).expect("an answer");
        assert_eq!((answer.len(), code), (32, None));
    }

    // proves rfc8489:6.3-4, rfc8489:6.3.1-1, rfc8489:6.3.1.1-4
    #[test]
    fn an_unknown_attribute_in_a_binding_request_is_named_in_a_420() {
        let odd = RequestBuilder::new(BINDING).attribute(0x7001, b"").attribute(0xC001, b"").bytes();
        let (answer, code) = greet(&five_tuple(1), &odd).expect("an answer");
        assert_eq!(code, Some(420));
        assert_eq!(numbers(&answer), [0x0009, 0x000A]);
        assert_eq!(attribute(&answer, 0x000A).expect("UNKNOWN-ATTRIBUTES"), [0x70, 0x01]);
    }

    // proves rfc8489:9.2.4-3, rfc8489:9.2.4-4, rfc8489:9.2.4-5, rfc8489:9.2.4-7, rfc8489:9.2.4-11
    #[test]
    fn a_stranger_gets_a_challenge_as_small_as_it_can_be() {
        for method in [0x0003, 0x0004, 0x0008, 0x0009] {
            let (answer, code) =
                greet(&five_tuple(1), &RequestBuilder::new(method).bytes()).expect("an answer");
            assert_eq!(code, Some(401));
            let mut found = numbers(&answer);
            found.sort_unstable();
            assert_eq!(found, [0x0009, REALM, NONCE, PASSWORD_ALGORITHMS]);
            assert_eq!(attribute(&answer, 0x0009).expect("ERROR-CODE"), [0, 0, 4, 1], "no reason phrase");
            assert_eq!(attribute(&answer, REALM).expect("REALM"), b"example.org");
            assert_eq!(attribute(&answer, PASSWORD_ALGORITHMS).expect("PASSWORD-ALGORITHMS"), OFFERED);
            assert_eq!(answer.len(), 20 + 8 + 16 + 32 + 12);
        }
    }

    // proves rfc7635:4-1, rfc7635:6.1-1, rfc7635:12-1
    #[test]
    fn where_tokens_are_taken_a_401_names_this_server_and_no_other_answer_does() {
        let greet = |datagram: &[u8]| {
            let challenger = Challenger { third_party: Some("turn.example.net".into()), ..challenger() };
            let mut out = [0; RESPONSE_MAX];
            match challenger.greet(at(5).tick(), &five_tuple(1), datagram, &mut out) {
                Greeting::Answer { len, code, .. } => {
                    (code.map(ErrorCode::number), attribute(&out[..len], 0x802E))
                }
                other => panic!("{other:?}"),
            }
        };
        let name = Some(b"turn.example.net".to_vec());
        assert_eq!(greet(&RequestBuilder::new(ALLOCATE).bytes()), (Some(401), name));
        let stale = Plan { nonce: Some(b"stale".to_vec()), ..alice() };
        assert_eq!(greet(&stale.bytes()), (Some(438), None));
        assert_eq!(greet(&Plan { realm: None, ..alice() }.bytes()), (Some(400), None));
        assert_eq!(greet(&RequestBuilder::new(BINDING).bytes()), (None, None));
    }

    #[test]
    fn the_longest_challenge_fits_an_answer() {
        use crate::proto::types::limits::REALM_MAX;
        use crate::proto::types::limits::SERVER_NAME_MAX;
        let challenger = Challenger {
            realm: "r".repeat(REALM_MAX).into(),
            third_party: Some("n".repeat(SERVER_NAME_MAX).into()),
            ..challenger()
        };
        let mut out = [0; RESPONSE_MAX];
        let asked = RequestBuilder::new(ALLOCATE).fingerprint().bytes();
        let greeting = challenger.greet(at(5).tick(), &five_tuple(1), &asked, &mut out);
        assert!(
            matches!(greeting, Greeting::Answer { len, .. } if len + 36 + 16 <= RESPONSE_MAX),
            "{greeting:?}"
        );
    }

    // proves rfc8489:6.1-5
    #[test]
    fn with_a_realm_of_ascii_the_longest_challenge_fits_a_packet_of_576_bytes() {
        use crate::proto::types::limits::SERVER_NAME_MAX;
        let challenger = Challenger {
            realm: "r".repeat(127).into(),
            third_party: Some("n".repeat(SERVER_NAME_MAX).into()),
            ..challenger()
        };
        let mut out = [0; RESPONSE_MAX];
        let asked = RequestBuilder::new(ALLOCATE).fingerprint().bytes();
        let greeting = challenger.greet(at(5).tick(), &five_tuple(1), &asked, &mut out);
        let Greeting::Answer { len, .. } = greeting else { panic!("{greeting:?}") };
        let integrity = 36;
        assert!(20 + 8 + len + integrity <= 576, "{len} bytes");
    }

    #[test]
    fn the_nonce_of_a_challenge_is_good_for_its_five_tuple() {
        let (answer, _) = greet(&five_tuple(1), &RequestBuilder::new(ALLOCATE).bytes()).expect("an answer");
        let nonce = attribute(&answer, NONCE);
        let plan = Plan { nonce, ..alice() };
        assert_eq!(greet(&plan.from, &plan.bytes()), Err(Greeting::ToControl));
        assert!(judge_at(5, &plan, None).is_ok());
        let thief = Plan { from: five_tuple(2), ..plan };
        assert_eq!(greet(&thief.from, &thief.bytes()).expect("an answer").1, Some(438));
    }

    #[test]
    fn a_nonce_of_ours_goes_to_control_however_old_and_whoever_signs() {
        for (seconds, key) in [(5, b"right or wrong".to_vec()), (9_999, b"is not for us".to_vec())] {
            let plan = Plan { key: Some(key), ..alice() };
            let mut out = [0; RESPONSE_MAX];
            let greeting = challenger().greet(at(seconds).tick(), &plan.from, &plan.bytes(), &mut out);
            assert_eq!(greeting, Greeting::ToControl);
        }
    }

    // proves rfc8489:9.2.4-2, rfc8489:9.2.4-28, rfc8489:9.2.4-30
    #[test]
    fn a_foreign_nonce_gets_an_unsigned_438_with_a_good_one() {
        let plan = Plan { nonce: Some(b"obMatJos2AAABnot one of ours".to_vec()), ..alice() };
        let (answer, code) = greet(&plan.from, &plan.bytes()).expect("an answer");
        assert_eq!(code, Some(438));
        let mut found = numbers(&answer);
        found.sort_unstable();
        assert_eq!(found, [0x0009, REALM, NONCE, PASSWORD_ALGORITHMS]);
        assert!(judge_at(5, &Plan { nonce: attribute(&answer, NONCE), ..plan }, None).is_ok());
    }

    // proves rfc8489:9.2.4-12, rfc8489:9.2.4-13
    #[test]
    fn an_incomplete_signed_request_gets_a_bare_400() {
        for plan in [
            Plan { username: None, ..alice() },
            Plan { realm: None, ..alice() },
            Plan { nonce: None, ..alice() },
            Plan { chosen: Some(SHA256_CHOSEN.to_vec()), ..alice() },
        ] {
            let (answer, code) = greet(&plan.from, &plan.bytes()).expect("an answer");
            assert_eq!(code, Some(400));
            assert_eq!(numbers(&answer), [0x0009]);
            assert_eq!(answer.len(), 28);
        }
    }

    // proves rfc8489:7-1
    // proves rfc8656:5-14
    #[test]
    fn an_answer_has_a_fingerprint_if_the_request_had_one() {
        let (answer, _) =
            greet(&five_tuple(1), &RequestBuilder::new(ALLOCATE).fingerprint().bytes()).expect("401");
        assert_eq!(numbers(&answer).last(), Some(&0x8028));
    }

    // proves rfc8489:6.3-1, rfc8489:6.3.2-2
    #[test]
    fn what_is_no_request_of_ours_is_not_answered() {
        let unknown_method = RequestBuilder::new(0x000D).bytes();
        let signed = RequestBuilder::new(0x000D).sha1(b"key").bytes();
        let indication = RequestBuilder::new(0x0016).bytes();
        let keep_alive = RequestBuilder::new(0x0011).bytes();
        let answer = RequestBuilder::new(0x0101).bytes();
        let mut cut = RequestBuilder::new(ALLOCATE).attribute(USERNAME, b"alice").bytes();
        cut.truncate(25);
        for datagram in
            [unknown_method, signed, indication, keep_alive, answer, cut, Vec::new(), vec![0x40; 64]]
        {
            assert_eq!(greet(&five_tuple(1), &datagram), Err(Greeting::Malformed), "{datagram:02x?}");
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_not_given() {
        let mut out = [0; 31];
        let bare = RequestBuilder::new(BINDING).bytes();
        assert_eq!(challenger().greet(at(5).tick(), &five_tuple(1), &bare, &mut out), Greeting::Malformed);
    }

    // proves rfc8656:12-2
    #[test]
    fn what_begins_with_an_octet_of_another_protocol_or_of_nobody_is_not_answered() {
        for first in 4..=255 {
            for mut datagram in [RequestBuilder::new(ALLOCATE).bytes(), RequestBuilder::new(BINDING).bytes()]
            {
                datagram[0] = first;
                let answer = greet(&five_tuple(1), &datagram);
                assert_eq!(answer, Err(Greeting::Malformed), "{first:#04x}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_greeted(bytes in proptest::collection::vec(any::<u8>(), 0..128), place in 0..160_usize) {
            let _ = greet(&five_tuple(1), &bytes);
            let plan = alice();
            let mut near = plan.bytes();
            if let (Some(byte), Some(change)) = (near.get_mut(place), bytes.first()) {
                *byte ^= change;
            }
            let _ = greet(&plan.from, &near);
            // A change anywhere before the MAC's end is seen, if the message can still be read.
            let changed = near != plan.bytes();
            if let Ok(request) = decode_request(&near) {
                let (challenger, credentials) = (challenger(), credentials());
                let outcome = authenticate(&challenger, &credentials, at(0), &plan.from, &request, None);
                prop_assert_eq!(outcome.is_ok(), !changed);
            }
        }
    }
}
