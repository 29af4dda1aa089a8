//! The socket on which a worker receives what is steered to it ([`super::Steering`]), for all its allocations of a family.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use super::sys;
use super::udp::LISTENER_BUFFER;
use super::udp::tell_headers;
use super::udp::tell_losses;
use super::udp::udp_socket;
use super::udp::want_receive_buffer;

/// Tells of each datagram which relayed address it was sent to ([`super::packet::Meta::meant_for`]). It never sends.
///
/// It is bound to a port of the loopback interface that the kernel chose: it must be bound to be steered to, and nothing
/// from outside can be meant for it there.
#[derive(Debug)]
pub struct SharedSocket(UdpSocket);

impl SharedSocket {
    /// Opens it for the family of `loopback`.
    ///
    /// # Errors
    /// What the kernel says, as where the loopback interface is down.
    pub fn open(loopback: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(loopback, 0);
        let socket = udp_socket(address)?;
        want_receive_buffer(&socket, LISTENER_BUFFER);
        tell_losses(&socket);
        tell_headers(&socket, address);
        let (level, name) = if address.is_ipv6() {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR)
        } else {
            (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR)
        };
        sys::set_option(socket.as_fd(), level, name, 1)?;
        socket.bind(&address.into())?;
        Ok(Self(socket.into()))
    }
}

impl AsFd for SharedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
