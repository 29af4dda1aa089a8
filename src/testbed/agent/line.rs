//! Ways to the server that are opened for it alone: TCP, TLS, and TLS through a proxy.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::net::Authority;
use crate::net::outward;
use crate::net::outward::Believed;
use crate::proto::client::HttpProxy;
use crate::proto::types::limits::CLIENT_COMMANDS_MAX;
use crate::proto::types::limits::CLIENT_CONNECT_MAX;

use super::tunnel;

/// The protocol name of TURN (RFC 7443).
const ALPN: &[u8] = b"stun.turn";
/// Bytes that are read at a time.
const READ: usize = 16 * 1_024;

/// What happened on the way to a server.
#[derive(Debug)]
pub(super) enum News {
    Opened,
    Bytes(Vec<u8>),
    /// It could not be opened, or has ended: why.
    Over(String),
}

/// Where a way leads and by what.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) to: SocketAddr,
    pub(super) proxy: Option<HttpProxy>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// A way that is being opened, or open. It is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Line {
    messages: mpsc::Sender<Box<[u8]>>,
}

impl Line {
    /// Opens one; what happens to it is told as of `server`.
    pub(super) fn open(server: usize, terms: Terms, news: mpsc::Sender<(usize, News)>) -> Self {
        let (messages, to_write) = mpsc::channel(CLIENT_COMMANDS_MAX);
        tokio::spawn(async move {
            let told = match serve(server, &terms, &news, to_write).await {
                Ok(()) => "it was closed".to_owned(),
                Err(error) => error.to_string(),
            };
            // Whoever does not listen any more does not want to know.
            let _ = news.send((server, News::Over(told))).await;
        });
        Self { messages }
    }

    /// Writes a message. What finds no room is lost, as a datagram would be.
    pub(super) fn write(&self, message: Box<[u8]>) {
        let _ = self.messages.try_send(message);
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve(
    server: usize,
    terms: &Terms,
    news: &mpsc::Sender<(usize, News)>,
    mut to_write: mpsc::Receiver<Box<[u8]>>,
) -> io::Result<()> {
    let connected = timeout(CLIENT_CONNECT_MAX, connect(terms)).await;
    let mut stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    news.send((server, News::Opened)).await.map_err(closed)?;
    let mut buffer = vec![0; READ];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Ok(()),
                len => news.send((server, News::Bytes(buffer[..len].to_vec()))).await.map_err(closed)?,
            },
            message = to_write.recv() => match message {
                Some(message) => {
                    stream.write_all(&message).await?;
                    stream.flush().await?;
                }
                None => return stream.shutdown().await,
            },
        }
    }
}

async fn connect(terms: &Terms) -> io::Result<Box<dyn Stream>> {
    let stream = match &terms.proxy {
        Some(proxy) => tunnel::connect(proxy, terms.to).await?,
        None => TcpStream::connect(terms.to).await?,
    };
    stream.set_nodelay(true)?;
    match &terms.tls {
        Some(config) => {
            let name = ServerName::IpAddress(terms.to.ip().into());
            Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
        }
        None => Ok(Box::new(stream)),
    }
}

/// What TLS goes by: whom to believe.
///
/// # Errors
/// Where the file of the authority cannot be read.
pub(super) fn tls(authority: Option<&Path>) -> Result<Arc<ClientConfig>, Fault> {
    let request = |what: String| Fault::new(FaultKind::Request, what);
    let authority = authority
        .map(|file| {
            let pem = fs::read(file)
                .map_err(|error| request(format!("`{}` cannot be read: {error}", file.display())))?;
            Authority::from_pem(&pem)
                .map_err(|error| request(format!("`{}` holds no authority: {error}", file.display())))
        })
        .transpose()?;
    let believed = authority.as_ref().map_or(Believed::System, Believed::Of);
    let mut config = outward::believing(believed).map_err(|error| request(error.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}
