//! The way to the server: datagrams, or a stream with or without TLS.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::proto::client::HttpProxy;
use crate::proto::client::ProxyFailure;
use crate::proto::types::Transport;
use crate::proto::types::limits::CLIENT_CONNECT_MAX;
use crate::proto::types::limits::CLIENT_UNSENT_MAX;

use super::Error;
use super::proxy::tunnel;

/// How the server is reached.
#[derive(Clone, Debug)]
pub enum Via {
    /// By datagrams, which may get lost: requests are repeated.
    Udp,
    /// By a TCP connection.
    Tcp,
    /// By TLS over TCP.
    Tls {
        /// What the server's certificate must be for.
        name: ServerName<'static>,
        /// Whom to trust, among other things. Protocol names (ALPN) may be left out; `stun.turn` is the right one
        /// (RFC 7443).
        config: Arc<ClientConfig>,
    },
}

impl Via {
    pub(super) const fn transport(&self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls { .. } => Transport::Tls,
        }
    }
}

/// An open way, and what waits to be sent by it.
pub(super) enum Wire {
    Datagrams {
        socket: UdpSocket,
        waiting: VecDeque<Box<[u8]>>,
    },
    Stream {
        reader: Box<dyn AsyncRead + Send + Unpin>,
        writer: Box<dyn AsyncWrite + Send + Unpin>,
        waiting: Vec<u8>,
        /// Something was written that may still lie within TLS.
        unflushed: bool,
    },
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagrams { .. } => "Datagrams",
            Self::Stream { .. } => "Stream",
        })
    }
}

impl Wire {
    /// Connects to `server`, within [`CLIENT_CONNECT_MAX`].
    pub(super) async fn connect(
        server: SocketAddr,
        via: Via,
        proxy: Option<&HttpProxy>,
    ) -> Result<Self, Error> {
        match timeout(CLIENT_CONNECT_MAX, Self::connect_in_time(server, via, proxy)).await {
            Ok(connected) => connected,
            Err(_) if proxy.is_some() => Err(Error::Proxy(ProxyFailure::Silent)),
            Err(_) => Err(Error::Connect(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn connect_in_time(server: SocketAddr, via: Via, proxy: Option<&HttpProxy>) -> Result<Self, Error> {
        let (name, config) = match via {
            Via::Udp if proxy.is_some() => return Err(Error::Proxy(ProxyFailure::Datagrams)),
            Via::Udp => {
                let any: SocketAddr = match server {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await.map_err(Error::Connect)?;
                socket.connect(server).await.map_err(Error::Connect)?;
                return Ok(Self::Datagrams { socket, waiting: VecDeque::new() });
            }
            Via::Tcp => return Ok(Self::stream(tcp(server, proxy).await?)),
            Via::Tls { name, config } => (name, config),
        };
        let connection = tcp(server, proxy).await?;
        let secured = TlsConnector::from(config).connect(name, connection).await;
        Ok(Self::stream(secured.map_err(Error::Connect)?))
    }

    pub(super) fn stream(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (reader, writer) = (Box::new(reader), Box::new(writer));
        Self::Stream { reader, writer, waiting: Vec::new(), unflushed: false }
    }

    /// Whether there is room for more of what may wait.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Datagrams { waiting, .. } => {
                waiting.iter().map(|each| each.len()).sum::<usize>() < CLIENT_UNSENT_MAX
            }
            Self::Stream { waiting, .. } => waiting.len() < CLIENT_UNSENT_MAX,
        }
    }

    /// Lets `message` leave as soon as it can.
    pub(super) fn push(&mut self, message: Box<[u8]>) {
        match self {
            Self::Datagrams { waiting, .. } => waiting.push_back(message),
            Self::Stream { waiting, .. } => waiting.extend_from_slice(&message),
        }
    }

    /// Sends what waits, until something has come: a datagram, or bytes of the stream, none at its end. Nothing is lost
    /// if it is not waited for to the end.
    ///
    /// # Errors
    /// What the socket says. Over UDP that is a word about an earlier datagram, and no end.
    pub(super) async fn turn(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Datagrams { socket, waiting } => loop {
                let Some(next) = waiting.front() else { return socket.recv(buffer).await };
                tokio::select! {
                    received = socket.recv(buffer) => return received,
                    sent = socket.send(next) => {
                        waiting.pop_front();
                        sent?;
                    }
                }
            },
            Self::Stream { reader, writer, waiting, unflushed } => loop {
                tokio::select! {
                    read = reader.read(buffer) => return read,
                    drained = drain(writer, waiting, unflushed), if *unflushed || !waiting.is_empty() => drained?,
                }
            },
        }
    }

    /// Says goodbye, if there is somebody to say it to.
    pub(super) async fn finish(self) {
        if let Self::Stream { mut writer, .. } = self {
            // Whoever is gone already has no use for it.
            let _ = timeout(CLIENT_CONNECT_MAX, writer.shutdown()).await;
        }
    }
}

/// Writes all that waits. What is written is not in `waiting` any more, wherever this is left.
async fn drain(
    writer: &mut (impl AsyncWrite + Unpin),
    waiting: &mut Vec<u8>,
    unflushed: &mut bool,
) -> io::Result<()> {
    while !waiting.is_empty() {
        let written = writer.write(waiting).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        waiting.drain(..written);
        *unflushed = true;
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

/// A connection to the server: straight, or through `proxy`.
async fn tcp(server: SocketAddr, proxy: Option<&HttpProxy>) -> Result<TcpStream, Error> {
    let stream = match proxy {
        Some(proxy) => tunnel(proxy, server).await?,
        None => TcpStream::connect(server).await.map_err(Error::Connect)?,
    };
    stream.set_nodelay(true).map_err(Error::Connect)?;
    Ok(stream)
}
