//! Connections of clients, over TCP and TLS.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::proto::types::limits::HANDSHAKE_DEADLINE;
use crate::proto::types::limits::STREAM_READ_MAX;
use crate::proto::types::limits::TESTBED_STREAMS_MAX;
use crate::proto::types::limits::TESTBED_WRITES_MAX;

use super::Came;

/// Names connections; none comes twice.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The writing ends, by connection.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<StreamId, mpsc::Sender<Box<[u8]>>>);

impl Streams {
    pub(super) fn insert(&mut self, stream: StreamId, writer: mpsc::Sender<Box<[u8]>>) {
        self.0.insert(stream, writer);
    }

    /// Its task ends when nobody writes any more.
    pub(super) fn remove(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Whole messages of a client that does not read are left out.
    pub(super) fn write(&self, stream: StreamId, bytes: Box<[u8]>) {
        if let Some(writer) = self.0.get(&stream) {
            let _ = writer.try_send(bytes);
        }
    }
}

/// A certificate that nobody else has signed, with its key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    /// The certificate for those who shall believe it, in PEM.
    pub pem: String,
}

impl Identity {
    /// A new one for `ip` and localhost.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn of(ip: IpAddr) -> io::Result<Self> {
        let own = rcgen::generate_simple_self_signed(vec![ip.to_string(), "localhost".to_owned()]);
        let own = own.map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        Ok(Self { certificate: own.cert.der().clone(), key, pem: own.cert.pem() })
    }

    pub(super) fn acceptor(self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key.into())
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Accepts until it is aborted. With an acceptor what comes is TLS.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    came: mpsc::Sender<Came>,
) -> JoinHandle<()> {
    let places = Arc::new(Semaphore::new(TESTBED_STREAMS_MAX));
    tokio::spawn(async move {
        let Ok(at) = listener.local_addr() else { return };
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((socket, from)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let (tls, came) = (tls.clone(), came.clone());
            tokio::spawn(async move {
                let _place = place;
                let _ = socket.set_nodelay(true);
                match tls {
                    None => run(socket, (at, from, Transport::Tcp), came).await,
                    Some(tls) => {
                        if let Ok(Ok(socket)) = timeout(HANDSHAKE_DEADLINE, tls.accept(socket)).await {
                            run(socket, (at, from, Transport::Tls), came).await;
                        }
                    }
                }
            });
        }
    })
}

/// One connection, from its first byte to its last.
async fn run(
    socket: impl AsyncRead + AsyncWrite,
    (at, from, transport): (SocketAddr, SocketAddr, Transport),
    came: mpsc::Sender<Came>,
) {
    let stream = StreamId { index: NEXT.fetch_add(1, Ordering::Relaxed), generation: 0 };
    let (writer, mut writes) = mpsc::channel::<Box<[u8]>>(TESTBED_WRITES_MAX);
    let (mut reading, mut writing) = tokio::io::split(socket);
    if came.send(Came::Accepted { stream, at, from, transport, writer }).await.is_err() {
        return;
    }
    let reads = async {
        let mut buffer = vec![0; STREAM_READ_MAX];
        while let Ok(len @ 1..) = reading.read(&mut buffer).await {
            if came.send(Came::Bytes { stream, bytes: buffer[..len].into() }).await.is_err() {
                return;
            }
        }
    };
    let writes = async {
        while let Some(bytes) = writes.recv().await {
            if writing.write_all(&bytes).await.is_err() || writing.flush().await.is_err() {
                return;
            }
        }
        let _ = writing.shutdown().await;
    };
    tokio::select! {
        () = reads => {}
        () = writes => {}
    }
    let _ = came.send(Came::Closed { stream }).await;
}
