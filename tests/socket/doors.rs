//! The doors for connections in front of a [`Plane`], and clients that come through them.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use swingbridge::listen;
use swingbridge::listen::Config;
use swingbridge::listen::Deadlines;
use swingbridge::listen::Listening;
use swingbridge::listen::WorkerDoor;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::listen::web::Web;
use swingbridge::net::Certificate;
use swingbridge::net::Certificates;
use swingbridge::net::StreamListener;
use swingbridge::net::TlsServer;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::message;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::PATIENCE;
use crate::plane::Plane;
use crate::plane::eventually;

/// Open doors on loopback.
pub(crate) struct Doors {
    pub(crate) address: SocketAddr,
    pub(crate) certificates: Arc<Certificates>,
    listening: Listening,
}

/// What a test's doors are.
pub(crate) struct Terms {
    pub(crate) per_address: u32,
    pub(crate) total: u32,
    pub(crate) deadlines: Deadlines,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) proxy_from: Vec<(IpAddr, u8)>,
    pub(crate) web: Web,
    pub(crate) legacy: bool,
}

impl Default for Terms {
    fn default() -> Self {
        // Longer than any test, so that a deadline that a test does not ask for cannot decide it.
        let long = Duration::from_secs(600);
        Self {
            per_address: 0,
            total: 1_000,
            deadlines: Deadlines { sniff: long, handshake: long, first_message: long, proxy_header: long },
            certificates: vec![certificate(&["localhost"]).0],
            proxy_from: Vec::new(),
            web: Web::default(),
            legacy: true,
        }
    }
}

/// A self-signed certificate for these names, and its PEM as a client's trust anchor.
pub(crate) fn certificate(names: &[&str]) -> (Certificate, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("names are sound");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    (Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("sound"), chain)
}

impl Doors {
    pub(crate) fn open(plane: &mut Plane) -> Self {
        Self::open_on(plane, Terms::default())
    }

    pub(crate) fn open_on(plane: &mut Plane, terms: Terms) -> Self {
        let listener =
            StreamListener::bind("127.0.0.1:0".parse().expect("a literal")).expect("loopback is free");
        let address = listener.local();
        let doors = plane.handles.iter_mut().map(|handle| WorkerDoor {
            stats: handle.stats(),
            streams: handle.streams.take().expect("taken once"),
        });
        let certificates = Arc::new(Certificates::new(terms.certificates));
        let tls = TlsServer::new(Arc::clone(&certificates)).expect("defaults are sound");
        let config = Config {
            streams_total: terms.total,
            streams_per_address: terms.per_address,
            hash_seeds: [1, 2, 3, 4],
            deadlines: terms.deadlines,
            tls: tls.beside_web(terms.web.protocols()),
            proxy_from: terms.proxy_from,
            web: terms.web,
            legacy: terms.legacy,
        };
        let listening = listen::start(config, vec![listener], doors.collect()).expect("a thread");
        Self { address, certificates, listening }
    }

    pub(crate) fn stats(&self) -> Arc<listen::Stats> {
        self.listening.stats()
    }

    /// Waits until `count` connections were turned away for this reason.
    pub(crate) fn turned_away(&self, why: TurnedAway, count: u64) {
        let stats = self.stats();
        eventually("a connection that is turned away", || (stats.turned_away(why) >= count).then_some(()));
        assert_eq!(stats.turned_away(why), count, "{why:?}");
    }

    /// A plain connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("the doors are open");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_nodelay(true).expect("an option");
        socket
    }

    /// A client over TCP.
    pub(crate) fn tcp(&self) -> Frames<TcpStream> {
        Frames::new(self.connect())
    }

    /// A client over TLS that wants the host `name`.
    pub(crate) fn tls(&self, name: &str) -> Frames<Tls> {
        Frames::new(Tls::new(self.connect(), client_of(&self.certificates, &[]), name))
    }
}

/// The library's side of a client that trusts everything shown here and offers `alpn`.
pub(crate) fn client_of(certificates: &Certificates, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates.shown().iter() {
        roots.add(certificate.chain()[0].clone()).expect("an anchor");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("defaults")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// The library's side of a client that takes whatever is shown.
pub(crate) fn credulous() -> Arc<ClientConfig> {
    credulous_with(rustls::crypto::ring::default_provider())
}

pub(crate) fn credulous_with(provider: rustls::crypto::CryptoProvider) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("defaults")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A connection under TLS, whose bytes a test may split as it likes.
pub(crate) struct Tls {
    pub(crate) socket: TcpStream,
    pub(crate) connection: ClientConnection,
}

impl Tls {
    pub(crate) fn new(socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        Self { socket, connection: ClientConnection::new(config, name).expect("sound") }
    }

    /// What the library wants to send now.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).expect("memory takes it");
        }
        bytes
    }

    /// Takes in what the server says next, which is an error if that is nothing.
    pub(crate) fn listen(&mut self) -> io::Result<usize> {
        let len = self.connection.read_tls(&mut self.socket)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.connection.process_new_packets().map_err(io::Error::other)?;
        Ok(len)
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut self.connection, &mut self.socket).flush()
    }
}

/// A client's end of a stream of frames.
pub(crate) struct Frames<S> {
    pub(crate) wire: S,
    unread: Vec<u8>,
}

impl<S: Read + Write> Frames<S> {
    pub(crate) fn new(wire: S) -> Self {
        Self { wire, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).expect("sent");
        self.wire.flush().expect("sent");
    }

    /// The next frame, read by the drawings of the standards.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        loop {
            if let Some(len) = frame_len(&self.unread) {
                let rest = self.unread.split_off(len);
                return std::mem::replace(&mut self.unread, rest);
            }
            let mut buffer = [0; 1 << 14];
            let len = self.wire.read(&mut buffer).expect("a frame comes");
            assert_ne!(len, 0, "the connection ended within a frame");
            self.unread.extend_from_slice(&buffer[..len]);
        }
    }

    /// The next `len` bytes, whatever they are.
    pub(crate) fn some(&mut self, len: usize) -> Vec<u8> {
        while self.unread.len() < len {
            let mut buffer = [0; 1 << 14];
            let more = self.wire.read(&mut buffer).expect("bytes come");
            assert_ne!(more, 0, "the connection ended before");
            self.unread.extend_from_slice(&buffer[..more]);
        }
        let rest = self.unread.split_off(len);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Whether the server ends the connection without a byte.
    pub(crate) fn ends_silently(&mut self) -> bool {
        assert_eq!(self.unread, b"");
        match self.wire.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
            }
        }
    }

    /// The nonce of the server's challenge.
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        self.send(&message::stun(message::ALLOCATE, *b"who are you?", &[]));
        let challenge = self.receive();
        assert_eq!(message::error_code(&challenge), Some(401));
        message::attribute(&challenge, message::NONCE).expect("401 carries a nonce").to_vec()
    }

    /// Gives this client an allocation as the control task does, with a permission for `peer` and [`CHANNEL`] to it.
    pub(crate) fn open(&mut self, plane: &mut Plane, peer: SocketAddr) -> Allocation {
        let nonce = self.nonce();
        self.send(&allocate(&nonce, *b"it's me, it."));
        let (worker, request) = plane.fresh();
        let allocation = grant(plane, worker, request.from, peer);
        let ready = message::stun(message::BINDING_SUCCESS, *b"it is ready.", &[]);
        plane.push(worker, ToWorker::Reply { to: request.from, bytes: ready.clone().into() });
        assert_eq!(self.receive(), ready);
        allocation
    }
}

/// An Allocate that a worker hands on: complete as to its attributes, of whatever MAC.
pub(crate) fn allocate(nonce: &[u8], transaction: [u8; 12]) -> Vec<u8> {
    let attributes: [(u16, &[u8]); 4] = [
        (message::USERNAME, b"alice"),
        (message::REALM, b"test"),
        (message::NONCE, nonce),
        (message::INTEGRITY, &[0x5A; 20]),
    ];
    message::stun(message::ALLOCATE, transaction, &attributes)
}

/// Opens a relay socket for `from` and fills the table.
pub(crate) fn grant(plane: &mut Plane, worker: usize, from: FiveTuple, peer: SocketAddr) -> Allocation {
    let relay = plane.next_relay();
    let bind = RelayAddr::new(SocketAddr::new(peer.ip(), 0));
    plane.push(worker, ToWorker::Open { relay, bind });
    let relayed = match plane.report(worker) {
        Report::Opened { relay: opened, bound } if opened == relay => bound,
        other => panic!("{other:?}"),
    };
    let until = Deadline::NEVER;
    let insert = NewAllocation {
        relay,
        five_tuple: from,
        dialect: Dialect::Rfc8656,
        relayed,
        until,
        bandwidth: Bandwidth::default(),
        protocol: RelayProtocol::Udp,
    };
    let channel = ChannelNumber::new(CHANNEL).expect("a channel number");
    for change in [
        TableChange::Insert(Box::new(insert)),
        TableChange::Permit { relay, peer: peer.ip(), until },
        TableChange::Bind { relay, channel, peer: PeerAddr::new(peer), until },
    ] {
        plane.push(worker, ToWorker::Table(change));
    }
    Allocation { worker, relay, relayed: relayed.socket(), five_tuple: from }
}

/// ChannelData as it stands in a stream.
pub(crate) fn padded_channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = message::channel_data(channel, data);
    frame.resize(frame.len().next_multiple_of(4), 0);
    frame
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let &[first, _, l0, l1] = bytes.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let len = if first < 0x40 { 20 + len } else { (4 + len).next_multiple_of(4) };
    (bytes.len() >= len).then_some(len)
}
