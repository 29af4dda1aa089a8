//! Connections and datagram sockets that leave for a server, begun without waiting.

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;

use super::sys;

/// Begins a connection to `to`, from `from` where that is given; port 0 there is one that the kernel chooses. When the
/// socket can be written, [`super::peer::connected`] tells what became of it.
///
/// # Errors
/// What the kernel says: `AddrInUse` and `AddrNotAvailable` where another port may do.
pub fn stream(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // What waits is a packet that was due: it leaves at once.
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        if from.port() == 0 {
            // The port is chosen with the destination: one may serve several of these.
            let _ = sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        } else {
            // A connection of an earlier run that lingers keeps nobody from the port.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&from.into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// A socket that does not block, and sends to `to` and hears from there alone.
///
/// # Errors
/// As [`stream`].
pub fn datagrams(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Asks the kernel for so many bytes of buffers for what leaves by `socket`, and for what comes. What it does not give is
/// left as it is.
pub fn set_buffers(socket: &impl AsFd, bytes: usize) {
    let socket = SockRef::from(socket);
    let _ = socket.set_send_buffer_size(bytes);
    let _ = socket.set_recv_buffer_size(bytes);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use crate::net::peer::connected;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:0";

    fn wait_until_connected(socket: &TcpStream) -> io::Result<()> {
        while !connected(socket)? {
            std::thread::yield_now();
        }
        Ok(())
    }

    #[test]
    fn a_connection_leaves_from_the_address_and_the_port_that_were_asked_for() {
        let listener = TcpListener::bind(LOOPBACK).expect("a port");
        let to = listener.local_addr().expect("bound");
        let from = "127.0.0.3:0".parse().expect("a literal");
        let first = stream(to, Some(from)).expect("begun");
        wait_until_connected(&first).expect("there");
        let own = first.local_addr().expect("bound");
        assert_eq!(own.ip(), from.ip());
        assert_eq!(listener.accept().expect("accepted").1, own);
        // The very four ends that are in use.
        let again = stream(to, Some(own)).expect_err("taken");
        assert!(
            matches!(again.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable),
            "{again}"
        );
    }

    #[test]
    fn a_closed_port_and_a_foreign_source_are_told() {
        let closed = TcpListener::bind(LOOPBACK).expect("a port").local_addr().expect("bound");
        let told = stream(closed, None).and_then(|socket| wait_until_connected(&socket));
        assert_eq!(told.expect_err("nobody listens").kind(), io::ErrorKind::ConnectionRefused);
        let foreign = "192.0.2.1:0".parse().expect("a literal");
        assert_eq!(
            stream(closed, Some(foreign)).expect_err("not ours").kind(),
            io::ErrorKind::AddrNotAvailable
        );
        assert_eq!(
            datagrams(closed, Some(foreign)).expect_err("not ours").kind(),
            io::ErrorKind::AddrNotAvailable
        );
    }
}
