//! TLS as a server: which certificate, which protocol names, and the first flight of a client.
//!
//! Every use names its provider of cryptography: two of them may be linked, and then there is no default.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::Accepted;
use rustls::server::AcceptedAlert;
use rustls::server::Acceptor;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::challenge::ChallengeAnswer;
use super::challenge::Challenges;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as cryptography;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as cryptography;

/// The protocol names of TURN and of NAT discovery (RFC 7443).
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// The cryptography of this build.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(cryptography::default_provider())
}

/// The certificates that a server can show, which may be exchanged while it runs.
pub struct Certificates {
    shown: ArcSwap<Vec<Certificate>>,
    sources: Mutex<Sources>,
    challenges: Challenges,
}

/// Where certificates come from; those that are shown are all of them, in this order.
#[derive(Default)]
struct Sources {
    /// The operator's own.
    given: Vec<Certificate>,
    /// What the server got for itself.
    obtained: Option<Certificate>,
}

impl Certificates {
    /// The first one is for clients that name no host, or one that none is for.
    #[must_use]
    pub fn new(certificates: Vec<Certificate>) -> Self {
        let sources = Sources { given: certificates.clone(), obtained: None };
        Self {
            shown: ArcSwap::from_pointee(certificates),
            sources: Mutex::new(sources),
            challenges: Challenges::default(),
        }
    }

    /// From here on handshakes use these, and what was obtained as before. Connections go on with what they have.
    pub fn exchange(&self, certificates: Vec<Certificate>) {
        self.change(|sources| sources.given = certificates);
    }

    /// From here on handshakes use this one too, in the place of the one that was obtained before.
    pub fn obtain(&self, certificate: Certificate) {
        self.change(|sources| sources.obtained = Some(certificate));
    }

    /// What is answered to a certificate authority that asks whether a name is ours.
    #[must_use]
    pub const fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    fn change(&self, what: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut sources);
        let all = sources.given.iter().chain(&sources.obtained).cloned().collect();
        self.shown.store(Arc::new(all));
    }

    /// Whether there is none, so that no handshake is possible.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.load().is_empty()
    }

    /// Those that are shown now.
    #[must_use]
    pub fn shown(&self) -> Arc<Vec<Certificate>> {
        self.shown.load_full()
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.shown.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |certificate: &&Certificate| certificate.can_sign(hello.signature_schemes());
        let named =
            name.and_then(|name| all.iter().filter(fits).find(|certificate| certificate.is_for(&name)));
        let chosen = named.or_else(|| all.iter().find(fits)).or(all.first());
        chosen.map(|certificate| Arc::clone(certificate.key()))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shown.load().iter().map(Certificate::names)).finish()
    }
}

/// What handshakes are made with.
#[derive(Clone, Debug)]
pub struct TlsServer {
    certificates: Arc<Certificates>,
    /// For a client that offers one of our protocol names.
    named: Arc<ServerConfig>,
    /// For all others, who are told of no protocol name: theirs is a hint only, and never a reason to refuse.
    unnamed: Arc<ServerConfig>,
    /// For a client that offers no protocol name of ours but one of the web site behind, if there is one.
    web: Option<Arc<ServerConfig>>,
}

/// A ClientHello that was understood.
pub struct Hello(Accepted);

/// A handshake that is over before it began. The client can be told why.
pub struct HelloRefused(Option<Box<AcceptedAlert>>);

impl TlsServer {
    /// Shows `certificates` to clients.
    ///
    /// # Errors
    /// What the library says of its own defaults, which are sound.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        // A session is resumed by a ticket that the client keeps, so none is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = cryptography::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        let mut named = config.clone();
        named.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Self { certificates, named: Arc::new(named), unnamed: Arc::new(config), web: None })
    }

    /// Itself, with the protocol names of a web site behind, the preferred first. None are none.
    #[must_use]
    pub fn beside_web(mut self, protocols: &[&[u8]]) -> Self {
        self.web = (!protocols.is_empty()).then(|| {
            let mut config = (*self.unnamed).clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        });
        self
    }

    /// Whether a handshake is possible.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a certificate authority is expected, who is answered even where there is no certificate.
    #[must_use]
    pub fn is_challenged(&self) -> bool {
        !self.certificates.challenges().is_empty()
    }

    /// What a ClientHello is answered that comes from a certificate authority; `None` for everybody else's.
    #[must_use]
    pub fn challenge(&self, hello: &Hello) -> Option<ChallengeAnswer> {
        self.certificates.challenges().answer(&hello.0.client_hello())
    }

    /// Fills `out` with bytes that nobody can foresee. Answers whether the system gave any.
    pub fn fill_random(&self, out: &mut [u8]) -> bool {
        self.named.crypto_provider().secure_random.fill(out).is_ok()
    }

    /// Answers a ClientHello. What of it must be sent is for [`super::Channel::shake`].
    ///
    /// # Errors
    /// [`HelloRefused`] if there is no common ground with the client.
    pub fn begin(&self, hello: Hello) -> Result<ServerConnection, HelloRefused> {
        let Hello(accepted) = hello;
        let offers = |config: &ServerConfig| {
            let is_known = |name: &[u8]| config.alpn_protocols.iter().any(|known| known == name);
            accepted.client_hello().alpn().is_some_and(|mut names| names.any(is_known))
        };
        let web = self.web.as_ref().filter(|web| offers(web));
        let config = if offers(&self.named) { &self.named } else { web.unwrap_or(&self.unnamed) };
        Hello(accepted).begin(Arc::clone(config))
    }
}

impl Hello {
    /// Reads the first flight of a client, of which the ClientHello is whole
    /// ([`crate::proto::wire::tls_hello`]). What stands behind it in `bytes` goes with it.
    ///
    /// # Errors
    /// [`HelloRefused`] if it is none.
    pub fn read(mut bytes: &[u8]) -> Result<Self, HelloRefused> {
        let mut acceptor = Acceptor::default();
        // All of it before anything is understood: after that nothing more is taken.
        while !bytes.is_empty() {
            match acceptor.read_tls(&mut bytes) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(HelloRefused(None)),
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => Ok(Self(accepted)),
            Ok(None) => Err(HelloRefused(None)),
            Err((_, alert)) => Err(HelloRefused(Some(Box::new(alert)))),
        }
    }

    pub(super) fn begin(self, config: Arc<ServerConfig>) -> Result<ServerConnection, HelloRefused> {
        self.0.into_connection(config).map_err(|(_, alert)| HelloRefused(Some(Box::new(alert))))
    }

    /// The host that the client wants (SNI).
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.0.client_hello().server_name().map(str::to_owned)
    }
}

impl HelloRefused {
    /// Tells the client, as far as `to` takes it now.
    pub fn tell(self, to: &mut impl Write) {
        if let Some(mut alert) = self.0 {
            let _ = alert.write(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_obtained_stays_when_the_operators_own_are_exchanged() {
        let certificate = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a sound name");
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("a certificate")
        };
        let certificates = Certificates::new(Vec::new());
        let names = || certificates.shown().iter().flat_map(Certificate::names).cloned().collect::<Vec<_>>();
        certificates.obtain(certificate("obtained.example"));
        assert_eq!(names(), ["obtained.example"]);
        certificates.exchange(vec![certificate("a.example")]);
        assert_eq!(names(), ["a.example", "obtained.example"], "the first is the default");
        certificates.obtain(certificate("renewed.example"));
        certificates.exchange(vec![certificate("b.example"), certificate("c.example")]);
        assert_eq!(names(), ["b.example", "c.example", "renewed.example"]);
    }

    // proves rfc8489:6.2.3-2, rfc8489:6.2.3-3, rfc8489:6.2.3-4, rfc8489:6.2.3-5
    #[test]
    fn every_suite_has_forward_secrecy_and_authenticated_encryption() {
        let server = TlsServer::new(Arc::new(Certificates::new(Vec::new()))).expect("defaults");
        for config in [&server.named, &server.unnamed] {
            let suites = &config.crypto_provider().cipher_suites;
            let names: Vec<_> = suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
            for name in &names {
                assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
                assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name}");
            }
            assert!(names.iter().any(|name| name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{names:?}");
            assert!(names.len() > 2 && names[0].starts_with("TLS13_"), "{names:?}");
        }
    }

    // proves rfc8489:6.2.3-7, rfc8489:16-1, rfc8656:3.1-1
    #[test]
    fn nothing_is_sent_before_the_handshake_and_tickets_are_under_keys_that_change() {
        let server = TlsServer::new(Arc::new(Certificates::new(Vec::new()))).expect("defaults");
        for config in [&server.named, &server.unnamed] {
            assert_eq!(config.max_early_data_size, 0, "no 0-RTT, which can be replayed");
            assert!(!config.send_half_rtt_data);
            assert!(config.ticketer.enabled() && config.ticketer.lifetime() <= 24 * 3_600);
            assert!(!config.enable_secret_extraction, "keys stay inside");
        }
    }
}
