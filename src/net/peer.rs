//! One relayed port of TCP: a listener, and connections that leave from the same port.
//!
//! Linux lets a socket be bound to the port of a listener only if both say SO_REUSEPORT. The listener says so *after* it
//! was bound: so it is still refused a port on which somebody listens, be it another server under the same user. All
//! say SO_REUSEADDR, so that connections which linger after an earlier allocation (TIME_WAIT) keep nobody from the port.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;

use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::limits;

use super::tcp::tune;

/// The listener of a relayed port.
#[derive(Debug)]
pub struct PeerListener {
    socket: TcpListener,
    bound: RelayAddr,
}

impl PeerListener {
    /// Listens on `bind`. An IPv6 address takes IPv6 only.
    ///
    /// # Errors
    /// What the kernel says, as when somebody has the port.
    pub fn open(bind: RelayAddr) -> io::Result<Self> {
        let socket = stream_socket(bind.socket())?;
        socket.bind(&bind.socket().into())?;
        socket.set_reuse_port(true)?;
        socket.listen(i32::try_from(limits::PEER_BACKLOG).unwrap_or(i32::MAX))?;
        let socket = TcpListener::from(socket);
        let bound = RelayAddr::new(socket.local_addr()?);
        Ok(Self { socket, bound })
    }

    /// The address it is bound to.
    #[must_use]
    pub const fn bound(&self) -> RelayAddr {
        self.bound
    }

    /// A connection that waits, and whose it is.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; else what the kernel says.
    pub fn accept(&self) -> io::Result<(TcpStream, PeerAddr)> {
        let (socket, peer) = self.socket.accept()?;
        socket.set_nonblocking(true)?;
        tune_pair(&socket);
        Ok((socket, PeerAddr::new(peer)))
    }

    /// Begins a connection from this port. When the socket can be written, [`connected`] tells what became of it.
    ///
    /// # Errors
    /// What the kernel says, as when there is a connection to this very peer.
    pub fn connect(&self, to: PeerAddr) -> io::Result<TcpStream> {
        let socket = stream_socket(self.bound.socket())?;
        socket.set_reuse_port(true)?;
        socket.bind(&self.bound.socket().into())?;
        tune_pair(&socket);
        match socket.connect(&to.socket().into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(socket.into())
    }
}

impl AsFd for PeerListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a connection that was begun is there; `false` while it is on its way.
///
/// # Errors
/// Why it will never be there.
pub fn connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the end of `socket`, once it is dropped, be a reset.
pub fn reset_at_end(socket: &impl AsFd) {
    // Where it fails the end is an ordinary one.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Tells a connection that is one of a pair what to be: as [`tune`] has it, but it may be read as slowly as its other end
/// likes, and what waits unread in the kernel has a limit.
pub fn tune_pair(socket: &impl AsFd) {
    tune(socket);
    let socket = SockRef::from(socket);
    let _ = socket.set_recv_buffer_size(limits::PIPE_RECEIVE_BUFFER);
    let _ = socket.set_tcp_user_timeout(Some(limits::PIPE_UNACKNOWLEDGED_MAX));
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Settled before there is a connection: with its first packet it says how much it takes.
    socket.set_recv_buffer_size(limits::PIPE_RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(limits::STREAM_SEND_BUFFER)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;

    use super::*;

    fn any(ip: &str) -> RelayAddr {
        RelayAddr::new(SocketAddr::new(ip.parse().expect("a literal"), 0))
    }

    fn wait(mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        for _ in 0..2_000 {
            if done()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    // proves rfc6062:5.2-6
    #[test]
    fn connections_come_to_and_leave_from_one_port_of_either_family() {
        for ip in ["127.0.0.1", "::1"] {
            let port = PeerListener::open(any(ip)).expect("a port");
            let peer = TcpListener::bind((ip, 0)).expect("a peer");
            let there = PeerAddr::new(peer.local_addr().expect("bound"));
            let out = port.connect(there).expect("begun");
            let (mut far, from) = peer.accept().expect("it comes");
            assert_eq!(from, port.bound().socket(), "from the relayed address");
            wait(|| connected(&out)).expect("connected");

            let mut other = TcpStream::connect(port.bound().socket()).expect("connected");
            let mut accepted = None;
            wait(|| {
                accepted = port.accept().ok();
                Ok(accepted.is_some())
            })
            .expect("it arrives");
            let (mut near, from) = accepted.expect("just seen");
            assert_eq!(from.socket(), other.local_addr().expect("bound"));
            other.write_all(b"in").expect("sent");
            far.write_all(b"out").expect("sent");
            for (socket, expected) in
                [(&mut near, &b"in"[..]), (&mut out.try_clone().expect("a copy"), b"out")]
            {
                let mut heard = [0; 8];
                let mut len = 0;
                wait(|| match socket.read(&mut heard) {
                    Ok(read) => {
                        len = read;
                        Ok(true)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error),
                })
                .expect("heard");
                assert_eq!(&heard[..len], expected);
            }
        }
    }

    // proves rfc6062:4.6-1
    #[test]
    fn a_connection_of_a_pair_is_asked_whether_anybody_is_there_and_sends_at_once() {
        let port = PeerListener::open(any("127.0.0.1")).expect("a port");
        let far = TcpStream::connect(port.bound().socket()).expect("connected");
        tune_pair(&far);
        let far = SockRef::from(&far);
        assert!(far.keepalive().expect("an option") && far.tcp_nodelay().expect("an option"));
        // The kernel takes twice what it is asked for.
        assert!(far.recv_buffer_size().expect("an option") <= 2 * limits::PIPE_RECEIVE_BUFFER);
        assert!(far.send_buffer_size().expect("an option") <= 2 * limits::STREAM_SEND_BUFFER);
        assert_eq!(far.tcp_user_timeout().expect("an option"), Some(limits::PIPE_UNACKNOWLEDGED_MAX));
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_refused_even_to_ourselves() {
        let port = PeerListener::open(any("127.0.0.1")).expect("a port");
        let taken = PeerListener::open(port.bound()).expect_err("taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let taken = TcpListener::bind(port.bound().socket()).expect_err("taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_is_free_at_once_though_its_connections_linger() {
        let port = PeerListener::open(any("127.0.0.1")).expect("a port");
        let bound = port.bound();
        let _far = TcpStream::connect(bound.socket()).expect("connected");
        let mut near = None;
        wait(|| {
            near = port.accept().ok();
            Ok(near.is_some())
        })
        .expect("it arrives");
        drop((near, port));
        PeerListener::open(bound).expect("free again");
    }

    #[test]
    fn who_refuses_and_a_second_connection_to_one_peer_are_errors() {
        let port = PeerListener::open(any("127.0.0.1")).expect("a port");
        let peer = TcpListener::bind("127.0.0.1:0").expect("a peer");
        let there = PeerAddr::new(peer.local_addr().expect("bound"));
        let first = port.connect(there).expect("begun");
        wait(|| connected(&first)).expect("connected");
        assert_eq!(port.connect(there).map(drop).expect_err("taken").kind(), io::ErrorKind::AddrNotAvailable);
        let nobody = PeerListener::open(any("127.0.0.1")).expect("a port").bound();
        let nobody = PeerAddr::new(nobody.socket());
        let refused = port.connect(nobody).and_then(|socket| wait(|| connected(&socket)));
        assert_eq!(refused.expect_err("nobody listens").kind(), io::ErrorKind::ConnectionRefused);
    }
}
