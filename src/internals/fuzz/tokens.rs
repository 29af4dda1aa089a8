//! What the server sealed or signed itself, brought back by a client: nonces, mobility tickets and access tokens. Any
//! bytes are judged, and only those that were given out are let in, bit for bit.

use std::time::Duration;

use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::nonce::NonceAge;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::nonce::SecurityFeatures;
use crate::proto::auth::ticket::Tickets;
use crate::proto::auth::token::MAC_KEY_MIN;
use crate::proto::auth::token::NONCE_LEN;
use crate::proto::auth::token::TokenAlgorithm;
use crate::proto::auth::token::TokenConfig;
use crate::proto::auth::token::TokenGrant;
use crate::proto::auth::token::TokenKey;
use crate::proto::types::Secret;
use crate::proto::types::Tick;
use crate::proto::types::Username;
use crate::proto::types::limits::ALLOCATIONS_MAX;
use crate::proto::types::limits::CREDENTIAL_CLOCK_LEEWAY;
use crate::proto::types::limits::TOKEN_CLOCK_LEEWAY;
use crate::proto::types::limits::TOKEN_MAC_KEY_MAX;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::choices::Choices;
use super::choices::Dice;
use super::choices::five_tuple;

const LIFETIME: Duration = Duration::from_secs(3_600);
const LIFETIME_MAX_S: u64 = 8 * 3_600;
const UNIX: u64 = 1_700_000_000;
const NAME: &str = "turn.example.net";
const KID: &[u8] = b"kid";

pub(super) fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.below(3) {
        0 => of_nonce(&mut choices),
        1 => of_ticket(&mut choices),
        _ => of_token(&mut choices),
    }
}

/// `genuine` with the changes that `choices` ask for: as it is, some bytes of it changed, cut short or made longer, or
/// other bytes altogether.
fn presented(choices: &mut Choices<'_>, genuine: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    match choices.below(4) {
        0 => {}
        1 => {
            while !choices.is_over() {
                let at = usize::from(choices.byte()) % bytes.len();
                bytes[at] ^= choices.byte();
            }
        }
        2 => {
            bytes.truncate(usize::from(choices.byte()));
            bytes.extend_from_slice(choices.remainder());
        }
        _ => bytes = choices.remainder().to_vec(),
    }
    bytes
}

fn of_nonce(choices: &mut Choices<'_>) {
    let key = NonceKey::generate(&mut Dice(7)).with_username_anonymity(choices.flag());
    let (owner, bearer) = (five_tuple(choices.byte() % 4), five_tuple(choices.byte() % 4));
    let issued = Tick::from_millis(u64::from(choices.u16()) * 997);
    let seen = Tick::from_millis(issued.as_millis() + u64::from(choices.u16()) * 997);
    let genuine = key.mint(issued, &owner).0;
    let presented = presented(choices, &genuine);

    // Any bytes: the features are read before it is known whose they are.
    let claimed = SecurityFeatures::claimed(&presented);
    let judged = key.judge(seen, &bearer, &presented, LIFETIME);
    let is_genuine = owner == bearer && presented == genuine;
    let expected = match seen.as_millis() - issued.as_millis() {
        _ if !is_genuine => NonceAge::Foreign,
        ..3_600_000 => NonceAge::Fresh { issued },
        // A nonce holds 24 bits of its moment: what is older than they tell is not known again.
        3_600_000..0x0100_0000 => NonceAge::Expired,
        _ => NonceAge::Foreign,
    };
    assert_eq!(judged, expected, "{:?}", presented.escape_ascii().to_string());
    assert!(
        !is_genuine
            || claimed.is_some_and(|features| features.contains(SecurityFeatures::PASSWORD_ALGORITHMS))
    );
}

fn of_ticket(choices: &mut Choices<'_>) {
    let mut dice = Dice(7);
    let mut tickets = Tickets::new(&mut dice);
    let user = Username::new(choices.take(2));
    let slot = u32::from(choices.u16()) % ALLOCATIONS_MAX;
    for _ in 0..choices.below(4) {
        _ = tickets.write(slot, &user, &mut dice);
    }
    let (genuine, number) = tickets.write(slot, &user, &mut dice);
    let presented = presented(choices, &genuine.0);
    match tickets.read(&presented) {
        Some(claims) => {
            assert_eq!(presented, genuine.0);
            assert_eq!((claims.slot, claims.number), (slot, number));
            assert!(claims.is_of(&user) && !claims.is_of(&Username::new(b"another")));
        }
        None => assert_ne!(presented, genuine.0),
    }
    assert_eq!(Tickets::new(&mut Dice(8)).read(&presented), None, "of another key");
}

fn of_token(choices: &mut Choices<'_>) {
    let algorithm = choices.of(&[TokenAlgorithm::A128Gcm, TokenAlgorithm::A256Gcm]);
    let secret = Secret::new(vec![9; algorithm.key_len()]);
    let key =
        TokenKey::new(Username::new(KID), algorithm, &secret, 0..=u64::MAX).expect("the key is long enough");
    // Also too short, too long, and with a clock that is wrong by up to nine hours.
    let mac_key = vec![choices.byte(); choices.below(70)];
    let issued_unix = UNIX - 32_768 + u64::from(choices.u16());
    let lifetime_s = u32::from(choices.u16());
    let grant = TokenGrant { mac_key: &mac_key, issued_unix, lifetime_s };
    let sealed_for = choices.of(&[NAME, "another.example.net"]);
    let genuine = key.seal(sealed_for, [5; NONCE_LEN], &grant).expect("the key is short");
    let presented = presented(choices, &genuine);

    let credentials = Credentials::new(CredentialConfig {
        realm: "edge.example.net".into(),
        users: Vec::new(),
        secrets: Vec::new(),
        lifetime_max_s: LIFETIME_MAX_S,
        tokens: TokenConfig { server_name: NAME.into(), keys: vec![key] },
        mras: Vec::new(),
    });
    let mut out = vec![0; 4_096];
    let mac = MacKey::new(&mac_key);
    let mut writer = MessageWriter::request(&mut out, Method::Allocate, TransactionId::with_cookie([3; 12]));
    writer
        .attribute(attribute::USERNAME, KID)
        .attribute(attribute::ACCESS_TOKEN, &presented)
        .integrity(Signature { key: &mac, algorithm: Algorithm::Sha1 });
    let Ok(len) = writer.finish() else { return };
    let request = decode_request(&out[..len]).expect("what is written is read");
    let client = credentials.authenticate(UNIX, &request.auth, PasswordAlgorithm::Md5);

    let lifetime = u64::from(lifetime_s);
    // RFC 7635 § 7, and never longer than a credential may last.
    let span = lifetime + TOKEN_CLOCK_LEEWAY.as_secs();
    let expires = (issued_unix + span).min(UNIX + lifetime);
    let ceiling = UNIX + LIFETIME_MAX_S + CREDENTIAL_CLOCK_LEEWAY.as_secs();
    let good = presented == genuine
        && sealed_for == NAME
        && (MAC_KEY_MIN..=TOKEN_MAC_KEY_MAX).contains(&mac_key.len())
        && UNIX.abs_diff(issued_unix) < span
        && (UNIX + 1..=ceiling).contains(&expires);
    assert_eq!(client.map(|client| client.expires_unix), good.then_some(Some(expires)));
}
