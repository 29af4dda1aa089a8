//! DTLS as a client (RFC 6347, RFC 7350): an association with a server, whose certificate is judged as over TLS.
//!
//! The library shows of a server's chain the first certificate alone. So the authority that is believed must have signed that
//! one itself.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use dimpl::Config;
use dimpl::Dtls;
use dimpl::DtlsCertificate;
use dimpl::Output;
use rustls::CertificateError;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use thiserror::Error;

use crate::proto::types::limits;

/// What associations are made with.
#[derive(Clone)]
pub struct DtlsClient {
    config: Arc<Config>,
    certificate: DtlsCertificate,
    verifier: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
}

/// An association with a server.
pub struct Call {
    inner: Dtls,
    verifier: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
    established: bool,
    closed: bool,
    due: Instant,
}

/// What an association has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A datagram for the server.
    Datagram(&'a [u8]),
    /// A message of the server.
    Message(&'a [u8]),
}

/// Why an association is over, or cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CallError {
    /// The server's certificate is not believed.
    #[error("the certificate is not believed")]
    Certificate(CertificateError),
    /// Something else: what the library says.
    #[error("{0}")]
    Failed(String),
}

impl DtlsClient {
    /// For servers that show a certificate for `name` that `verifier` believes.
    ///
    /// # Errors
    /// What the library says of its own cryptography, which is sound.
    pub fn new(verifier: Arc<dyn ServerCertVerifier>, name: ServerName<'static>) -> Result<Self, CallError> {
        let failed = |error: &dyn fmt::Display| CallError::Failed(error.to_string());
        let config = Config::builder().handshake_timeout(limits::LOAD_CONNECT_MAX).build();
        // No server of TURN asks for it, but the library wants one.
        let made = rcgen::generate_simple_self_signed(Vec::new()).map_err(|error| failed(&error))?;
        let certificate = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let config = Arc::new(config.map_err(|error| failed(&error))?);
        Ok(Self { config, certificate, verifier, name })
    }

    /// Begins an association. What it has to say is told by [`Call::tell`].
    #[must_use]
    pub fn begin(&self, now: Instant) -> Call {
        let mut inner = Dtls::new_12(Arc::clone(&self.config), self.certificate.clone(), now);
        inner.set_active(true);
        let (verifier, name) = (Arc::clone(&self.verifier), self.name.clone());
        Call { inner, verifier, name, established: false, closed: false, due: now }
    }
}

impl fmt::Debug for DtlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("established", &self.established).finish_non_exhaustive()
    }
}

impl Call {
    /// Whether the handshake is done, and the certificate believed.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the server said its last word.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// When [`Self::wait`] has something to do.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Time went by.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(&mut self, now: Instant) -> Result<(), CallError> {
        self.inner.handle_timeout(now).map_err(|error| CallError::Failed(error.to_string()))
    }

    /// A datagram of the server. [`Self::tell`] must follow.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn hear(&mut self, datagram: &[u8]) -> Result<(), CallError> {
        self.inner.handle_packet(datagram).map_err(|error| CallError::Failed(error.to_string()))
    }

    /// Something for the server, at most [`super::dtls::MESSAGE_MAX`] bytes. [`Self::tell`] must follow.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn say(&mut self, message: &[u8]) -> Result<(), CallError> {
        let said = self.inner.send_application_data(message);
        said.map(drop).map_err(|error| CallError::Failed(error.to_string()))
    }

    /// Ends it; [`Self::tell`] tells the server.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn close(&mut self) -> Result<(), CallError> {
        self.inner.close().map_err(|error| CallError::Failed(error.to_string()))
    }

    /// Gives `each` all that there is to say, as it lies in `room`, which grows to what a record needs.
    ///
    /// # Errors
    /// [`CallError::Certificate`]; nothing more must be said to the server then.
    pub fn tell(&mut self, room: &mut Vec<u8>, each: &mut dyn FnMut(Said<'_>)) -> Result<(), CallError> {
        loop {
            match self.inner.poll_output(room) {
                Output::Packet(packet) => each(Said::Datagram(packet)),
                Output::ApplicationData(message) => each(Said::Message(message)),
                Output::PeerCert(certificate) => judge(&*self.verifier, &self.name, certificate)?,
                Output::Connected => self.established = true,
                Output::CloseNotify => self.closed = true,
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::BufferTooSmall { needed } if needed > limits::DATAGRAM_MAX => {
                    return Err(CallError::Failed(format!("a record of {needed} bytes is too long")));
                }
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                _ => {}
            }
        }
    }
}

fn judge(
    verifier: &dyn ServerCertVerifier,
    name: &ServerName<'_>,
    certificate: &[u8],
) -> Result<(), CallError> {
    let certificate = CertificateDer::from(certificate);
    match verifier.verify_server_cert(&certificate, &[], name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(flaw)) => Err(CallError::Certificate(flaw)),
        Err(other) => Err(CallError::Failed(other.to_string())),
    }
}
