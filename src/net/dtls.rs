//! DTLS as a server (RFC 6347, RFC 7350): the cookie, which needs no state, and a client's association after it.
//!
//! ```text
//!   ClientHello ──▶ cookie of ours in it? ── no ──▶ HelloVerifyRequest, and nothing is kept
//!                            └ yes ──▶ Association ──▶ records ⇄ messages
//! ```
//!
//! The library keeps an association from a client's first datagram on. Here nothing may be kept so early, so the cookie is
//! made and judged outside, and an association begins by being told both hellos at once; the cookie that it asks for in
//! between is ours ([`COOKIE`]).

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use dimpl::Config;
use dimpl::CryptoError;
use dimpl::Dtls;
use dimpl::DtlsCertificate;
use dimpl::HashAlgorithm;
use dimpl::Output;
use dimpl::crypto::CryptoProvider;
use dimpl::crypto::HmacProvider;
use dimpl::crypto::rust_crypto;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::dtls::COOKIE_LEN;
use crate::proto::wire::dtls::Hello;
use crate::proto::wire::dtls::shift_plain_records;

use super::tls::Certificates;

/// Bytes of a record's plaintext at most.
pub const MESSAGE_MAX: usize = 16 * 1_024;
/// What a record adds to its plaintext: header, explicit nonce, tag.
const RECORD_OVERHEAD: usize = 64;

thread_local! {
    /// The cookie that an association shall ask for while it is told a client's hellos.
    static COOKIE: Cell<Option<[u8; COOKIE_LEN]>> = const { Cell::new(None) };
}

/// HMAC for the library, which for DTLS 1.2 uses it for cookies alone.
#[derive(Debug)]
struct OurCookies;

impl HmacProvider for OurCookies {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        match COOKIE.get() {
            Some(cookie) if out.len() >= COOKIE_LEN => {
                out[..COOKIE_LEN].copy_from_slice(&cookie);
                Ok(COOKIE_LEN)
            }
            _ => rust_crypto::default_provider().hmac_provider.hmac(hash, key, data, out),
        }
    }
}

/// A certificate and its key, in DER, for associations; `None` if the key is not ECDSA over P-256 or P-384, which is all
/// that the library knows.
pub(super) fn certificate(certificate: &[u8], key: &[u8]) -> Option<DtlsCertificate> {
    rust_crypto::default_provider().key_provider.load_private_key(key).ok()?;
    Some(DtlsCertificate { certificate: certificate.to_vec(), private_key: key.to_vec() })
}

/// What associations are made with.
#[derive(Clone)]
pub struct DtlsServer {
    certificates: Arc<Certificates>,
    config: Arc<Config>,
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl fmt::Debug for DtlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtlsServer").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl DtlsServer {
    /// Shows the first of `certificates` that is of a kind that the library can show; cookies are made with `key`.
    ///
    /// # Errors
    /// What the library says of its own cryptography, which is sound.
    pub fn new(certificates: Arc<Certificates>, key: [u8; 32]) -> Result<Self, dimpl::Error> {
        let provider = CryptoProvider { hmac_provider: &OurCookies, ..rust_crypto::default_provider() };
        let config = Config::builder()
            .with_crypto_provider(provider)
            .require_client_certificate(false)
            .use_server_cookie(true)
            .handshake_timeout(limits::DTLS_HANDSHAKE_MAX)
            .build()?;
        Ok(Self { certificates, config: Arc::new(config), key: Arc::new(Zeroizing::new(key)) })
    }

    /// Whether there is a certificate that it can show.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.certificate().is_some()
    }

    fn certificate(&self) -> Option<DtlsCertificate> {
        self.certificates.shown().iter().find_map(super::Certificate::for_dtls)
    }

    /// The cookie for the client of `from` that said `hello`, now.
    #[must_use]
    pub fn cookie(&self, tick: Tick, from: &FiveTuple, hello: &Hello<'_>) -> [u8; COOKIE_LEN] {
        self.cookie_of(period(tick), from, hello)
    }

    /// Whether `hello` brings a cookie that was made for it not long ago.
    #[must_use]
    pub fn knows(&self, tick: Tick, from: &FiveTuple, hello: &Hello<'_>) -> bool {
        if hello.cookie().len() != COOKIE_LEN {
            return false;
        }
        let now = period(tick);
        [now, now.wrapping_sub(1)]
            .iter()
            .any(|period| bool::from(self.cookie_of(*period, from, hello).ct_eq(hello.cookie())))
    }

    fn cookie_of(&self, period: u64, from: &FiveTuple, hello: &Hello<'_>) -> [u8; COOKIE_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&**self.key).expect("HMAC takes a key of any length");
        mac.update(&period.to_be_bytes());
        for end in [from.client.socket(), from.server.socket()] {
            mac.update(&end.port().to_be_bytes());
            match end.ip() {
                std::net::IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
                std::net::IpAddr::V6(ip) => mac.update(&ip.octets()),
            }
        }
        hello.parameters().iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Begins an association with the client that said `hello`, whose cookie [`Self::knows`]. `None` if there is no
    /// certificate to show, or the hello cannot be agreed with.
    #[must_use]
    pub fn accept(
        &self,
        now: Instant,
        hello: &Hello<'_>,
        datagram: &[u8],
        room: &mut Room,
    ) -> Option<(Association, Heard)> {
        let cookie = <[u8; COOKIE_LEN]>::try_from(hello.cookie()).ok()?;
        let inner = Dtls::new_12(Arc::clone(&self.config), self.certificate()?, now);
        // The library numbers its records from 0, of which its own request for a cookie was the first.
        let shift = hello.sequence().saturating_sub(1);
        let random = hello.random().try_into().ok()?;
        let mut association = Association { inner, shift, random, established: false, due: now };
        COOKIE.set(Some(cookie));
        let first = association.hear(now, &hello.without_cookie(), room);
        let second = first.and_then(|_| association.hear(now, datagram, room));
        COOKIE.set(None);
        // What the library cannot make out it passes over in silence; where a handshake begins it has something to say.
        second.ok().filter(|heard| !heard.datagrams.is_empty()).map(|heard| (association, heard))
    }
}

fn period(tick: Tick) -> u64 {
    tick.as_millis() / limits::DTLS_COOKIE_LIFETIME.as_millis() as u64
}

/// A client's association.
pub struct Association {
    inner: Dtls,
    /// How far the numbers of the client's records were when it began.
    shift: u64,
    random: [u8; 32],
    established: bool,
    due: Instant,
}

/// What an association makes of a datagram, or of time that went by.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Datagrams for the client.
    pub datagrams: Vec<Vec<u8>>,
    /// What the client said.
    pub messages: Vec<Vec<u8>>,
    /// The client ended it.
    pub closed: bool,
}

/// Where associations put together what they have to say: one for all of a thread.
#[derive(Debug)]
pub struct Room(Vec<u8>);

/// The association is over: it failed, or ran out of time.
#[derive(Debug, PartialEq, Eq)]
pub struct Over;

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("established", &self.established).finish_non_exhaustive()
    }
}

impl Association {
    /// Whether the handshake is done.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.established
    }

    /// Whether it is this hello's, which its client sent again.
    #[must_use]
    pub fn is_of(&self, hello: &Hello<'_>) -> bool {
        hello.random() == self.random
    }

    /// When [`Self::wait`] has something to do.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// A datagram of the client.
    ///
    /// # Errors
    /// [`Over`].
    pub fn hear(&mut self, now: Instant, datagram: &[u8], room: &mut Room) -> Result<Heard, Over> {
        self.inner.handle_timeout(now).map_err(|_| Over)?;
        let heard = self.drain(room);
        self.inner.handle_packet(datagram).map_err(|_| Over)?;
        Ok(heard.and(self.drain(room)))
    }

    /// Time went by.
    ///
    /// # Errors
    /// [`Over`].
    pub fn wait(&mut self, now: Instant, room: &mut Room) -> Result<Heard, Over> {
        self.inner.handle_timeout(now).map_err(|_| Over)?;
        Ok(self.drain(room))
    }

    /// Something for the client, [`MESSAGE_MAX`] bytes at most.
    ///
    /// # Errors
    /// [`Over`].
    pub fn say(&mut self, message: &[u8], room: &mut Room) -> Result<Heard, Over> {
        self.inner.send_application_data(message).map_err(|_| Over)?;
        Ok(self.drain(room))
    }

    /// Ends it; the client is told.
    #[must_use]
    pub fn close(mut self, room: &mut Room) -> Heard {
        match self.inner.close() {
            Ok(()) => self.drain(room),
            Err(_) => Heard::default(),
        }
    }

    fn drain(&mut self, Room(room): &mut Room) -> Heard {
        let mut heard = Heard::default();
        loop {
            match self.inner.poll_output(room) {
                Output::Packet(packet) => {
                    let mut datagram = packet.to_vec();
                    shift_plain_records(&mut datagram, self.shift);
                    heard.datagrams.push(datagram);
                }
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = due;
                    return heard;
                }
                Output::Connected => self.established = true,
                Output::ApplicationData(message) => heard.messages.push(message.to_vec()),
                Output::CloseNotify => heard.closed = true,
                _ => {}
            }
        }
    }
}

impl Heard {
    fn and(mut self, mut next: Self) -> Self {
        self.datagrams.append(&mut next.datagrams);
        self.messages.append(&mut next.messages);
        self.closed |= next.closed;
        self
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(vec![0; MESSAGE_MAX + RECORD_OVERHEAD])
    }
}
