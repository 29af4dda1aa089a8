//! TCP listeners, and what every connection of a client is told to be.

use std::io;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::TcpKeepalive;
use socket2::Type;

use crate::proto::types::Transport;
use crate::proto::types::limits;

use super::BindError;

/// A silent connection is asked after this whether anybody is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// A listen address for connections.
#[derive(Debug)]
pub struct StreamListener {
    socket: TcpListener,
    local: SocketAddr,
}

impl StreamListener {
    /// Listens on `address`. An IPv6 address takes IPv6 only.
    ///
    /// # Errors
    /// [`BindError`] if the address cannot be had. An address that another program listens on cannot.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        listen_on(address).map_err(|error| BindError { address, error, transport: Transport::Tcp })
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Itself as a socket that does not block.
    #[must_use]
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }
}

fn listen_on(address: SocketAddr) -> io::Result<StreamListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run that linger do not keep us from the address; a listener of another program does.
    socket.set_reuse_address(true)?;
    // Set before a connection exists: the window it offers and the memory it takes are settled with its first packet.
    socket.set_send_buffer_size(limits::STREAM_SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(limits::STREAM_BACKLOG).unwrap_or(i32::MAX))?;
    let socket = TcpListener::from(socket);
    let local = socket.local_addr()?;
    Ok(StreamListener { socket, local })
}

/// Tells a connection of a client what to be: small packets leave at once, little waits unsent, and a client that is gone
/// is found. What the kernel does not know is left as it is.
pub fn tune(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(limits::STREAM_SEND_BUFFER);
    let _ = socket.set_tcp_notsent_lowat(limits::STREAM_UNSENT_MAX);
    let _ = socket.set_tcp_user_timeout(Some(limits::STREAM_UNACKNOWLEDGED_MAX));
    let _ = socket.set_keepalive(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_AFTER / 4);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Tells a connection that carries web pages what to be: what is late is not lost there, so the kernel may hold more.
pub fn tune_for_web(socket: &impl AsFd) {
    tune(socket);
    let socket = SockRef::from(socket);
    let _ = socket.set_send_buffer_size(limits::WEB_SOCKET_BUFFER);
    let _ = socket.set_tcp_notsent_lowat(u32::try_from(limits::WEB_SOCKET_BUFFER).unwrap_or(u32::MAX));
}

/// Tells the other side that nothing more comes.
///
/// # Errors
/// What the kernel says, as when the other side has left.
pub fn end_sending(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(Shutdown::Write)
}

/// When this socket is closed, the other side sees that it was cut off and not ended.
pub fn reset_when_closed(socket: &impl AsFd) {
    // Where it cannot be said the other side sees an end.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
