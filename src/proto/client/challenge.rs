//! What the server has said about who may come in, and what follows from it (RFC 8489 § 9.2.5).

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::auth::nonce::SecurityFeatures;
use crate::proto::types::limits::PASSWORD_ALGORITHMS_MAX;
use crate::proto::wire::rfc8656::decode::Answer;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::Credential;
use super::Failure;
use super::Proof;

/// What the server asked for, and the key that follows from it.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    pub(super) realm: Box<[u8]>,
    pub(super) nonce: Box<[u8]>,
    /// PASSWORD-ALGORITHMS as it came, to be echoed, and our choice.
    pub(super) offer: Option<(Box<[u8]>, PasswordAlgorithm)>,
    /// USERHASH is wanted instead of USERNAME.
    pub(super) anonymous: bool,
    pub(super) key: MacKey,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// As if it had never come.
    Distrusted,
    /// A 401 or 438, which nobody need have signed.
    Challenged(u16),
    /// It is signed with the key of the request.
    Trusted,
}

/// Judges an answer to a request that was `signed` so (RFC 8489 §§ 9.2.4 and 9.2.5).
pub(super) fn hear(signed: Option<&(MacKey, Algorithm)>, answer: &Answer<'_>) -> Heard {
    // Whoever signs must sign right, and with the attribute that was asked for.
    let is_signed = answer.integrity.algorithm().is_some();
    let is_right = signed.is_some_and(|(key, algorithm)| {
        answer.integrity.algorithm() == Some(*algorithm) && answer.integrity.verify(key)
    });
    if let Some(code @ (UNAUTHENTICATED | STALE_NONCE)) = answer.error_code.filter(|_| !answer.success) {
        // Where no key is known there is nothing to check a signature with.
        let is_wrong = is_signed && signed.is_some() && !is_right;
        return if is_wrong { Heard::Distrusted } else { Heard::Challenged(code) };
    }
    if is_right && !is_bid_down(answer) { Heard::Trusted } else { Heard::Distrusted }
}

impl Challenge {
    /// The attribute that signs: SHA-256 where the server offered password algorithms, and then nothing else.
    pub(super) const fn signing(&self) -> Algorithm {
        match self.offer {
            Some(_) => Algorithm::Sha256,
            None => Algorithm::Sha1,
        }
    }

    fn algorithm(&self) -> PasswordAlgorithm {
        self.offer.as_ref().map_or(PasswordAlgorithm::Md5, |(_, chosen)| *chosen)
    }
}

/// Why there will be no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    /// As if the answer had never come.
    Ignore,
    /// The request has failed.
    Fail(Failure),
}

/// What follows from a 401 or 438: a challenge to be met by a new transaction. `before` is the one that the refused
/// request met, if it was signed.
pub(super) fn challenge(
    credential: &Credential,
    code: u16,
    answer: &Answer<'_>,
    before: Option<&Challenge>,
) -> Result<Challenge, Unmet> {
    let nonce = answer.nonce.ok_or(Unmet::Ignore)?;
    let realm = answer.realm.or(before.map(|before| &*before.realm)).ok_or(Unmet::Ignore)?;
    let features = SecurityFeatures::claimed(nonce);
    let claims = |feature| features.is_some_and(|features| features.contains(feature));
    // What the nonce promises was taken away on the way, or the promise with it.
    if is_bid_down(answer) || (features.is_none() && before.is_some_and(|b| b.offer.is_some())) {
        return Err(Unmet::Ignore);
    }
    let offer = match answer.password_algorithms {
        None => None,
        Some(offered) if offered.len() > PASSWORD_ALGORITHMS_MAX => return Err(Unmet::Ignore),
        Some(offered) => {
            let chosen = first_known(offered).ok_or(Unmet::Fail(Failure::Algorithm))?;
            Some((offered.into(), chosen))
        }
    };
    let algorithm = offer.as_ref().map_or(PasswordAlgorithm::Md5, |(_, chosen)| *chosen);
    let anonymous = claims(SecurityFeatures::USERNAME_ANONYMITY);
    let is_same = |before: &Challenge| {
        *before.realm == *realm
            && before.algorithm() == algorithm
            && before.anonymous == anonymous
            && before.offer.is_some() == offer.is_some()
    };
    // Asked again in the same words it would be refused again.
    if code == UNAUTHENTICATED && before.is_some_and(is_same) {
        return Err(Unmet::Fail(Failure::Refused { code, alternate: None }));
    }
    let key = match (&credential.proof, before) {
        (Proof::Key(key), _) => MacKey::clone(key),
        (Proof::Password(_), Some(before)) if is_same(before) => before.key.clone(),
        (Proof::Password(password), _) => {
            integrity_key(algorithm, &credential.username, realm, password.expose())
        }
    };
    Ok(Challenge { realm: realm.into(), nonce: nonce.into(), offer, anonymous, key })
}

/// RFC 8489 § 9.2.5: the nonce says that password algorithms are offered, and they are not there.
pub(super) fn is_bid_down(answer: &Answer<'_>) -> bool {
    let features = answer.nonce.and_then(SecurityFeatures::claimed);
    features.is_some_and(|features| features.contains(SecurityFeatures::PASSWORD_ALGORITHMS))
        && answer.password_algorithms.is_none()
}

/// The first algorithm of a PASSWORD-ALGORITHMS value that is known here (RFC 8489 § 14.11): the order is the server's.
fn first_known(mut offered: &[u8]) -> Option<PasswordAlgorithm> {
    while let Some((&[n0, n1, l0, l1], rest)) = offered.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let parameters = rest.get(..len)?;
        let number = u16::from_be_bytes([n0, n1]);
        if let Some(known) = PasswordAlgorithm::from_attribute(number, parameters) {
            return Some(known);
        }
        offered = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}

pub(super) const UNAUTHENTICATED: u16 = 401;
pub(super) const STALE_NONCE: u16 = 438;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_algorithm_is_taken_and_unknown_ones_are_passed_over() {
        use PasswordAlgorithm::Md5;
        use PasswordAlgorithm::Sha256;
        let cases: [(&[u8], Option<PasswordAlgorithm>); 9] = [
            (&[0, 2, 0, 0, 0, 1, 0, 0], Some(Sha256)),
            (&[0, 1, 0, 0, 0, 2, 0, 0], Some(Md5)),
            (&[0, 9, 0, 3, 1, 2, 3, 0, 0, 2, 0, 0], Some(Sha256)),
            (&[0, 2, 0, 4, 1, 2, 3, 4, 0, 1, 0, 0], Some(Md5)),
            (&[], None),
            (&[0, 9, 0, 0], None),
            (&[0, 9, 0, 200, 0, 2, 0, 0], None),
            (&[0, 2, 0], None),
            (&[0, 9, 0, 1, 7], None),
        ];
        for (offered, expected) in cases {
            assert_eq!(first_known(offered), expected, "{offered:?}");
        }
    }
}
