//! One order, from the account to the certificate.

use std::fmt;

use instant_acme::Account;
use instant_acme::AuthorizationStatus;
use instant_acme::ChallengeType;
use instant_acme::Error;
use instant_acme::Identifier;
use instant_acme::NewAccount;
use instant_acme::NewOrder;
use instant_acme::Order;
use instant_acme::OrderStatus;
use instant_acme::RetryPolicy;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::net::Certificate;
use crate::net::Certificates;
use crate::net::challenge::Challenge;
use crate::net::challenge::Challenges;
use crate::proto::types::limits;

use super::Config;
use super::https::Https;
use super::schedule;
use super::store::Store;

/// Characters of what the authority says that are logged.
const WORDS_MAX: usize = 300;

/// How far an order came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The state directory is looked at.
    State,
    /// The authority is asked who we are.
    Account,
    /// It is told what is wanted.
    Order,
    /// It asks this server.
    Proof,
    /// It signs.
    Certificate,
}

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    /// What was said, without what could break a line.
    pub(super) why: String,
}

impl Step {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Account => "account",
            Self::Order => "order",
            Self::Proof => "proof",
            Self::Certificate => "certificate",
        }
    }

    /// What the operator can do.
    pub(super) const fn cure(self) -> &'static str {
        match self {
            Self::State => {
                "let the server's user write to the state directory, or name another one with --state-dir; a file there that \
                 cannot be read may be removed"
            }
            Self::Account => {
                "look whether this machine reaches [tls.acme] directory over HTTPS, and whether roots and contact are right"
            }
            Self::Order => "look whether the authority signs for each of [tls.acme] names",
            Self::Proof => {
                "the authority must reach this server at TCP port 443 of each name: look at its DNS entries, the firewall and \
                 [listen] stream"
            }
            Self::Certificate => "what the authority says is its own affair: it is asked again",
        }
    }

    fn failed(self, why: impl fmt::Display) -> Failure {
        let why = why.to_string();
        let why = why.chars().map(|sign| if sign.is_control() { ' ' } else { sign });
        Failure { step: self, why: why.take(WORDS_MAX).collect() }
    }
}

/// Nothing is expected any more when the order ends, whichever way.
struct Expecting<'c>(&'c Challenges);

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Orders a certificate and keeps it.
pub(super) async fn obtain(
    config: &Config,
    store: &Store,
    certificates: &Certificates,
) -> Result<Certificate, Failure> {
    let at = |error| Step::State.failed(format_args!("{}: {error}", store.folder().display()));
    store.probe().map_err(at)?;
    let account = account(config, store).await?;
    let names: Vec<_> = config.names.iter().cloned().map(Identifier::Dns).collect();
    let ordered = account.new_order(&NewOrder::new(&names)).await;
    let mut order = ordered.map_err(|error| {
        if is_of_no_account(&error) {
            // The next order makes another.
            store.forget_account();
        }
        Step::Order.failed(error)
    })?;
    prove(&mut order, &config.names, certificates.challenges()).await?;
    let (chain, key) = sign(&mut order, config).await?;
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())
        .map_err(|error| Step::Certificate.failed(error))?;
    if !config.names.iter().all(|name| schedule::has(&certificate, name)) {
        return Err(Step::Certificate.failed("it is not for every name that was ordered"));
    }
    if certificate.not_after() <= schedule::unix() {
        return Err(Step::Certificate.failed("it has ended already: look at the clock of this machine"));
    }
    store.keep_certificate(&chain, &key).map_err(at)?;
    Ok(certificate)
}

/// Whether the authority does not know the account that was kept (RFC 8555 § 6.7).
fn is_of_no_account(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// The account of earlier orders, or a new one.
async fn account(config: &Config, store: &Store) -> Result<Account, Failure> {
    let at = |error| Step::State.failed(format_args!("{}: {error}", store.folder().display()));
    let called = || Account::builder_with_http(Box::new(Https(config.tls.clone())));
    if let Some(kept) = store.account().map_err(at)? {
        return called().from_credentials(kept).await.map_err(|error| Step::Account.failed(error));
    }
    let contact: Vec<_> = config.contact.as_deref().into_iter().collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let made = called().create(&new, config.directory.clone(), None).await;
    let (account, credentials) = made.map_err(|error| Step::Account.failed(error))?;
    store.keep_account(&credentials).map_err(at)?;
    Ok(account)
}

/// Lets the authority ask for each name, until it is content.
async fn prove(order: &mut Order, names: &[String], challenges: &Challenges) -> Result<(), Failure> {
    let failed = |error| Step::Proof.failed(error);
    let _expecting = Expecting(challenges);
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failed)?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(Step::Proof.failed("the authority has given up on a name")),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or_else(|| Step::Proof.failed("the authority does not offer tls-alpn-01"))?;
        let Identifier::Dns(name) = &challenge.identifier().identifier else {
            return Err(Step::Proof.failed("the authority asks for what was not ordered"));
        };
        // What others get proved by our answers is not ours to give.
        if !names.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(Step::Proof.failed("the authority asks for what was not ordered"));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(challenge.key_authorization().digest().as_ref());
        let answer = Challenge::new(name, &digest).map_err(|error| Step::Proof.failed(error))?;
        challenges.expect(&answer);
        challenge.set_ready().await.map_err(failed)?;
    }
    let patience = RetryPolicy::new().timeout(limits::ACME_ORDER_DEADLINE);
    match order.poll_ready(&patience).await.map_err(failed)? {
        OrderStatus::Ready => Ok(()),
        _ => Err(Step::Proof.failed(refusal(order).await)),
    }
}

/// What the authority holds against a name.
async fn refusal(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let told = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = told {
            return problem.to_string();
        }
    }
    "the authority does not say why".to_owned()
}

/// The chain in PEM, and the key that was made for it.
async fn sign(order: &mut Order, config: &Config) -> Result<(String, Zeroizing<String>), Failure> {
    let failed = |error| Step::Certificate.failed(error);
    let unmade = |error: rcgen::Error| Step::Certificate.failed(error);
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::new(config.names.clone()).map_err(unmade)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(unmade)?;
    order.finalize_csr(request.der()).await.map_err(failed)?;
    let patience = RetryPolicy::new().timeout(limits::ACME_ORDER_DEADLINE);
    let chain = order.poll_certificate(&patience).await.map_err(failed)?;
    Ok((chain, Zeroizing::new(key.serialize_pem())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_says_fits_into_one_line() {
        let failure = Step::Order.failed(format_args!("a\nb\r{}", "é".repeat(1_000)));
        assert_eq!(failure.why.chars().count(), WORDS_MAX);
        assert!(failure.why.starts_with("a b é"));
    }
}
