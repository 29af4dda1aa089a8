//! UDP sockets that load is made with: bound where they are told to be, connected or not, with the kernel's own word on
//! when each datagram arrived. What waits unread for a while is then no latency of whoever sent it.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::packet::Arrived;
use super::packet::Batch;
use super::sys;
use super::udp;
use super::udp::tell_losses;
use super::udp::udp_socket;
use super::udp::want_receive_buffer;
use super::udp::want_send_buffer;

/// Datagrams that the kernel cuts one super-packet into at the most (UDP_MAX_SEGMENTS of its older releases).
pub const SEGMENTS_MAX: usize = 64;
/// How often a datagram is tried again whose sending met an error: a socket tells errors of the past in place of sending.
const SEND_RETRIES: u32 = 2;

/// A UDP socket of a load generator.
#[derive(Debug)]
pub struct TrafficSocket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Longer datagrams are cut into such of this length; 0: none is cut.
    segment: u16,
    /// It brings runs.
    takes_runs: bool,
}

impl TrafficSocket {
    /// A socket bound to `local`, that speaks with `remote` alone if one is given, with buffers for `buffer` bytes if the
    /// system lets it.
    ///
    /// # Errors
    /// What the kernel says to `socket`, `bind` or `connect`.
    pub fn open(local: SocketAddr, remote: Option<SocketAddr>, buffer: usize) -> io::Result<Self> {
        let socket = udp_socket(local)?;
        want_receive_buffer(&socket, buffer);
        want_send_buffer(&socket, buffer);
        tell_losses(&socket);
        // Without it the reader's own clock has to do.
        let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        socket.bind(&local.into())?;
        if let Some(remote) = remote {
            socket.connect(&remote.into())?;
        }
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr()?;
        Ok(Self { socket, local, segment: 0, takes_runs: false })
    }

    /// From here on the kernel hands over together what it received together (UDP_GRO): a run has one time of arrival.
    ///
    /// # Errors
    /// What a kernel says that does not know how.
    pub fn take_runs(&mut self) -> io::Result<()> {
        udp::set_runs(&self.socket, true)?;
        self.takes_runs = true;
        Ok(())
    }

    /// Adds to `batch` what waits, with one call: at most `max` datagrams, or runs if it takes such, and no more than there is
    /// room for.
    ///
    /// # Errors
    /// As [`Batch::receive`].
    pub fn receive(&self, batch: &mut Batch, max: usize) -> Result<Arrived, Errno> {
        if self.takes_runs { batch.receive_runs(self, max) } else { batch.receive(self, max) }
    }

    /// The address it is bound to.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// What longer datagrams are cut into; 0: none is cut.
    #[must_use]
    pub const fn segment(&self) -> u16 {
        self.segment
    }

    /// From here on the kernel cuts what is longer than `segment` bytes into datagrams of that length (UDP_SEGMENT); 0:
    /// nothing is cut.
    ///
    /// # Errors
    /// What a kernel says that does not know how.
    pub fn set_segment(&mut self, segment: u16) -> io::Result<()> {
        if self.segment != segment {
            sys::set_option(self.socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, i32::from(segment))?;
            self.segment = segment;
        }
        Ok(())
    }

    /// Sends one datagram, or what [`Self::set_segment`] makes several of, to whom the socket is connected.
    ///
    /// # Errors
    /// What the kernel says of this datagram: `Errno::AGAIN` or `Errno::NOBUFS` if there is no room.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut tries = 0;
        loop {
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // It may be the answer to an earlier datagram.
                Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) if tries < SEND_RETRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for TrafficSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::SystemTime;

    use super::*;

    fn pair() -> (TrafficSocket, TrafficSocket) {
        let any = "127.0.0.1:0".parse().expect("a literal");
        let one = TrafficSocket::open(any, None, 1 << 18).expect("opened");
        let other = TrafficSocket::open(any, Some(one.local()), 1 << 18).expect("opened");
        (one, other)
    }

    #[test]
    fn the_kernel_says_when_a_datagram_arrived_however_late_it_is_read() {
        let (one, other) = pair();
        let since_1970 = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let mut batch = Batch::new(1);
        // The kernel begins to stamp a little after it was asked to; until then it stamps what is read.
        let is_stamped = (0..200).any(|_| {
            let before = since_1970();
            other.send(b"x").expect("sent");
            let after = since_1970();
            std::thread::sleep(Duration::from_millis(5));
            batch.clear();
            batch.receive(&one, 1).expect("received");
            let arrived = batch.meta(0).arrived.expect("it was asked for");
            before <= arrived && arrived <= after
        });
        assert!(is_stamped);
    }

    #[test]
    fn a_super_packet_is_cut_and_what_is_short_is_not() {
        let (one, mut other) = pair();
        other.set_segment(100).expect("the kernel knows how");
        other.send(&[7; 250]).expect("sent");
        other.send(&[8; 99]).expect("sent");
        other.set_segment(0).expect("the kernel knows how");
        other.send(&[9; 250]).expect("sent");
        let mut batch = Batch::new(8);
        batch.receive(&one, 8).expect("received");
        let lens: Vec<_> = (0..batch.len()).map(|place| batch.payload(place).len()).collect();
        assert_eq!(lens, [100, 100, 50, 99, 250]);
    }

    #[test]
    fn a_socket_that_takes_runs_has_one_in_one_piece_and_tells_its_datagrams_apart() {
        let received = |takes_runs: bool| {
            let (mut one, mut other) = pair();
            if takes_runs {
                one.take_runs().expect("the kernel knows how");
            }
            other.set_segment(100).expect("the kernel knows how");
            other.send(&[7; 250]).expect("sent");
            let mut batch = Batch::new(8);
            let arrived = one.receive(&mut batch, 1).expect("received");
            let datagrams: Vec<_> = arrived.places.map(|place| batch.datagram(place).len()).collect();
            (datagrams, arrived.is_full)
        };
        assert_eq!(received(true), (vec![100, 100, 50], true), "with one call, which brought all it might");
        assert_eq!(received(false), (vec![100], true));
    }

    #[test]
    fn an_error_of_an_earlier_datagram_does_not_keep_the_next_one() {
        let (one, other) = pair();
        let to = one.local();
        drop(one);
        other.send(b"nobody").expect("sent");
        let again = TrafficSocket::open(to, None, 1 << 18).expect("free again");
        other.send(b"somebody").expect("sent");
        let mut batch = Batch::new(2);
        batch.receive(&again, 2).expect("received");
        assert_eq!((batch.len(), batch.datagram(0)), (1, &b"somebody"[..]));
    }
}
