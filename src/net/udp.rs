//! UDP sockets: listeners that several workers share, and relay sockets that one allocation owns.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt;
use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;

use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::wire::Icmp;

use super::packet::Meta;
use super::sys;

/// Receive and send buffer of a listener in bytes, as wanted: all clients of a worker share it.
pub(super) const LISTENER_BUFFER: usize = 8 << 20;
/// Receive buffer of a relay socket in bytes, as wanted: it must hold a burst while the worker is elsewhere, and
/// costs nothing while it is empty.
const RELAY_BUFFER: usize = 1 << 20;

/// One worker's share of a listen address.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    local: SocketAddr,
    /// The same as clients name it, where it is one address.
    named: ServerAddr,
    is_wildcard: bool,
}

impl Listener {
    fn new(socket: UdpSocket, local: SocketAddr) -> Self {
        Self { socket, local, named: ServerAddr::new(local), is_wildcard: local.ip().is_unspecified() }
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The server's address as the sender of the datagram `meta` named it; `None` if the kernel did not say.
    #[must_use]
    pub fn server_of(&self, meta: &Meta) -> Option<ServerAddr> {
        if !self.is_wildcard {
            return Some(self.named);
        }
        let (ip, interface) = meta.destination?;
        let address = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, self.local.port()),
            IpAddr::V6(ip) => {
                // Only a link-local address means something else on each interface.
                let scope = if ip.is_unicast_link_local() { interface } else { 0 };
                SocketAddrV6::new(ip, self.local.port(), 0, scope).into()
            }
        };
        Some(ServerAddr::new(address))
    }

    /// Whether what leaves from `server` can leave from this listener.
    #[must_use]
    pub fn serves(&self, server: ServerAddr) -> bool {
        let Self { named, is_wildcard, .. } = self;
        let is_alike = named.port() == server.port() && named.family() == server.family();
        is_alike && (*is_wildcard || *named == server)
    }

    /// What a datagram must be told in order to leave from `server`: its address and the index of the interface or
    /// 0; `None` if it leaves from there anyway.
    #[must_use]
    pub fn source_for(&self, server: ServerAddr) -> Option<(IpAddr, u32)> {
        if !self.is_wildcard {
            return None;
        }
        let scope = match server.socket() {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Some((server.ip(), scope))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An allocation's socket: bound to one address and port, never connected, because a permission covers every port
/// of a peer's address.
///
/// Nothing ever comes to many of them, and nothing leaves: a client asks for an allocation for the case that it needs one. So
/// what a socket is told about datagrams it is told before the first of them, and not as it opens.
#[derive(Debug)]
pub struct RelaySocket {
    socket: UdpSocket,
    bound: RelayAddr,
    /// [`Self::make_ready_to_receive`] was called.
    receives: bool,
    /// [`Self::make_ready_to_send`] was called.
    sends: bool,
}

impl RelaySocket {
    /// Opens the socket on `address`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// What the kernel says to `socket` or `bind`.
    pub fn open(address: RelayAddr) -> io::Result<Self> {
        let socket = udp_socket(address.socket())?;
        want_receive_buffer(&socket, RELAY_BUFFER);
        socket.bind(&address.socket().into())?;
        let socket = UdpSocket::from(socket);
        let is_chosen = address.socket().port() != 0;
        let bound = if is_chosen { address } else { RelayAddr::new(socket.local_addr()?) };
        Ok(Self { socket, bound, receives: false, sends: false })
    }

    /// To be called before the socket is read: datagrams that wait in it already bring their header's fields too, for the
    /// kernel looks at what it is to tell as it hands them over. Of losses it counts all, and says so with the next datagram
    /// that comes after this.
    pub fn make_ready_to_receive(&mut self) {
        if !self.receives {
            self.receives = true;
            tell_losses(&self.socket);
            tell_arrivals(&self.socket, self.bound.socket());
        }
    }

    /// To be called before anything leaves from this port, be it by another socket: ICMP errors about it come back to this one,
    /// and those that came before are not told.
    pub fn make_ready_to_send(&mut self) {
        if !self.sends {
            self.sends = true;
            let_fragment(&self.socket, self.bound.socket());
            tell_errors(&self.socket, self.bound.socket());
        }
    }

    /// The address it is bound to.
    #[must_use]
    pub fn bound(&self) -> RelayAddr {
        self.bound
    }

    /// From here on IPv4 datagrams leave whole or not at all (the DF bit set), or as the wire needs them (not set,
    /// as at the start). IPv6 is told with each datagram.
    ///
    /// # Errors
    /// What a kernel says that does not know how.
    pub fn set_whole(&self, whole: bool) -> io::Result<()> {
        if self.bound.socket().is_ipv6() {
            return Ok(());
        }
        // With PROBE the length is judged on the way, by whoever has the narrow link, and not by what was once heard
        // of the path, which anyone may forge.
        let value = if whole { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_OMIT };
        sys::set_option(self.socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
    }

    /// Takes one error that the network sent back for a datagram of this socket: to which peer it was, and what ICMP
    /// says; `None` in place of an error that did not come by ICMP.
    ///
    /// # Errors
    /// What the kernel says, `Errno::AGAIN` if there is none.
    pub fn receive_icmp(&self) -> Result<Option<(PeerAddr, Icmp)>, Errno> {
        let told = sys::receive_icmp(self.socket.as_fd())?;
        Ok(told.map(|(to, icmp)| (PeerAddr::new(to), icmp)))
    }

    /// The same socket by another descriptor. The port is free when both are closed.
    ///
    /// # Errors
    /// What the kernel says, as when no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, ..*self })
    }
}

impl AsFd for RelaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why a listen address cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindCause {
    /// Another socket has it: EADDRINUSE.
    AddressInUse,
    /// A port below 1024 without the privilege: EACCES.
    PermissionDenied,
    /// The address is not this machine's: EADDRNOTAVAIL.
    AddressNotAvailable,
    /// The machine does not speak this address family: EAFNOSUPPORT.
    FamilyNotSupported,
    /// Anything else.
    Other,
}

/// A listen address that cannot be had.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// What the kernel said.
    pub error: io::Error,
    /// What it was to be listened on for.
    pub transport: Transport,
}

impl BindError {
    /// Whether the machine, and not another program, refused: it would refuse again.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        matches!(
            self.cause(),
            BindCause::PermissionDenied | BindCause::AddressNotAvailable | BindCause::FamilyNotSupported
        )
    }

    /// The cause, as far as it has a cure of its own.
    #[must_use]
    pub fn cause(&self) -> BindCause {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => BindCause::AddressInUse,
            io::ErrorKind::PermissionDenied => BindCause::PermissionDenied,
            io::ErrorKind::AddrNotAvailable => BindCause::AddressNotAvailable,
            _ if self.error.raw_os_error() == Some(libc::EAFNOSUPPORT) => BindCause::FamilyNotSupported,
            _ => BindCause::Other,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {} {}: {}", self.transport.word(), self.address, self.error)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Binds every address once for each worker; the answer holds, for each worker, a listener for each address in the
/// order of `addresses`. Port 0 lets the kernel choose one port for all workers of an address.
///
/// The kernel spreads clients over the listeners of an address by their order, which is that of the workers and does
/// not change. The first listener of an address is bound before it may share: it gets the address only if nobody has
/// it, so a second server is refused and cannot take half of the clients.
///
/// # Errors
/// [`BindError`] names the first address that cannot be had. Addresses that overlap, such as a wildcard and an
/// address of the same family with the same port, count as in use.
pub fn listen(addresses: &[SocketAddr], workers: usize) -> Result<Vec<Vec<Listener>>, BindError> {
    let mut groups: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::with_capacity(addresses.len())).collect();
    for &address in addresses {
        let members = listen_on(address, workers).map_err(|error| BindError {
            address,
            error,
            transport: Transport::Udp,
        })?;
        for (group, member) in groups.iter_mut().zip(members) {
            group.push(member);
        }
    }
    Ok(groups)
}

fn listen_on(address: SocketAddr, workers: usize) -> io::Result<Vec<Listener>> {
    let mut members: Vec<Listener> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = listener_socket(address)?;
        let mut wanted = address;
        if let Some(first) = members.first() {
            SockRef::from(first).set_reuse_port(true)?;
            socket.set_reuse_port(true)?;
            wanted = first.local;
        }
        socket.bind(&wanted.into())?;
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr()?;
        members.push(Listener::new(socket, local));
    }
    Ok(members)
}

fn listener_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = udp_socket(address)?;
    want_receive_buffer(&socket, LISTENER_BUFFER);
    want_send_buffer(&socket, LISTENER_BUFFER);
    tell_losses(&socket);
    tell_headers(&socket, address);
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Ok(socket)
}

pub(super) fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Takes what the kernel gives: past the system's ceiling where the privilege is there, else up to it.
pub(super) fn want_receive_buffer(socket: &Socket, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        // Less than wanted is no reason to stop, and the kernel clamps without an error.
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

pub(super) fn want_send_buffer(socket: &Socket, bytes: usize) {
    if sockopt::set_socket_send_buffer_size_force(socket, bytes).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// Asks the kernel to count aloud what it drops. A kernel that does not know how leaves the count at 0.
pub(super) fn tell_losses(socket: &impl AsFd) {
    let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
}

/// Asks for the IP header's fields of what comes, and lets IPv4 fragment what leaves.
pub(super) fn tell_headers(socket: &Socket, address: SocketAddr) {
    tell_arrivals(socket, address);
    let_fragment(socket, address);
}

/// Asks for the IP header's fields of what comes. What a kernel does not know is left as it is, which RFC 8656 allows for each
/// field.
fn tell_arrivals(socket: &impl AsFd, address: SocketAddr) {
    let (level, names) = if address.is_ipv6() {
        (libc::IPPROTO_IPV6, [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS])
    } else {
        (libc::IPPROTO_IP, [libc::IP_RECVTTL, libc::IP_RECVTOS])
    };
    for name in names {
        let _ = sys::set_option(socket.as_fd(), level, name, 1);
    }
}

/// Lets IPv4 fragment what leaves (DF 0), at the link's MTU and not at what the network says of the path. IPv6 stays as the
/// system has it, and so does what a kernel does not know.
fn let_fragment(socket: &impl AsFd, address: SocketAddr) {
    if address.is_ipv4() {
        // Not DONT, under which the kernel would not tell that a datagram with DF was too long for the way.
        let omit = libc::IP_PMTUDISC_OMIT;
        let _ = sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, omit);
    }
}

/// From here on `socket` brings runs, or no longer: datagrams of one sender, one length and one IP header that the kernel
/// received together it hands over together (UDP_GRO). Answers whether it is so: as long as something waits in the socket it
/// goes on bringing runs, because one that waits would come as a single long datagram.
///
/// Assumption: nothing is on its way into the socket at that very moment. A run that another core took for welcome just before,
/// and puts there just after, comes as a single long datagram all the same: under a flood of runs once in a million times that
/// a socket is turned off. What would keep it out, waiting until all cores have been elsewhere, costs milliseconds each time.
///
/// # Errors
/// What a kernel says that does not know how.
pub fn set_runs(socket: impl AsFd, on: bool) -> io::Result<bool> {
    let set = |on: bool| sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, on.into());
    set(on)?;
    // Only now can no new one come in.
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    if on || rustix::net::recv(&socket, &mut [0; 1], peek) == Err(Errno::AGAIN) {
        return Ok(true);
    }
    set(true)?;
    Ok(false)
}

/// Asks for the ICMP errors that datagrams of this socket cause.
fn tell_errors(socket: &impl AsFd, address: SocketAddr) {
    let (level, name) = if address.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    let _ = sys::set_option(socket.as_fd(), level, name, 1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::proto::types::IpHeader;

    use super::super::packet::Batch;
    use super::super::packet::Departing;
    use super::super::packet::Heading;
    use super::super::packet::Sender;
    use super::*;

    fn literal(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    fn client(text: &str) -> UdpSocket {
        let socket = UdpSocket::bind(text).expect("a socket on loopback");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket
    }

    fn ready(address: &str) -> RelaySocket {
        let mut relay = RelaySocket::open(RelayAddr::new(literal(address))).expect("opened");
        relay.make_ready_to_receive();
        relay.make_ready_to_send();
        relay
    }

    fn one(address: &str) -> Listener {
        let mut groups = listen(&[literal(address)], 1).expect("bound");
        groups.remove(0).remove(0)
    }

    #[test]
    fn a_second_server_is_refused_however_many_workers_the_first_has() {
        for workers in [1, 2] {
            let first = listen(&[literal("127.0.0.1:0")], workers).expect("bound");
            let taken = first[0][0].local();
            assert!(first.iter().all(|group| group[0].local() == taken));
            for workers in [1, 2] {
                let error = listen(&[taken], workers).expect_err("the address is taken");
                assert_eq!((error.address, error.cause()), (taken, BindCause::AddressInUse));
            }
            drop(first);
            listen(&[taken], 2).expect("it is free again");
        }
    }

    #[test]
    fn a_foreign_address_is_told_from_one_in_use() {
        let error = listen(&[literal("192.0.2.1:0")], 1).expect_err("not an address of this machine");
        assert_eq!(error.cause(), BindCause::AddressNotAvailable);
        let message = error.to_string();
        assert!(message.starts_with("cannot listen on udp 192.0.2.1:0: "), "{message}");
    }

    #[test]
    fn every_worker_of_a_group_gets_its_share_and_no_datagram_is_lost() {
        let groups = listen(&[literal("127.0.0.1:0")], 2).expect("bound");
        let clients: Vec<_> = (0..64).map(|_| client("127.0.0.1:0")).collect();
        for client in &clients {
            client.send_to(b"x", groups[0][0].local()).expect("sent");
        }
        let shares: Vec<_> = groups
            .iter()
            .map(|group| Batch::new(64).receive(&group[0], 64).map_or(0, |arrived| arrived.places.len()))
            .collect();
        assert_eq!(shares.iter().sum::<usize>(), 64);
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    }

    // proves rfc8489:6.3.1.2-1
    #[test]
    fn a_wildcard_listener_knows_where_a_datagram_was_sent_to_and_answers_from_there() {
        for (wildcard, home, destination) in
            [("0.0.0.0:0", "127.0.0.1:0", "127.0.0.7"), ("[::]:0", "[::1]:0", "::1")]
        {
            let listener = one(wildcard);
            let client = client(home);
            let server = SocketAddr::new(destination.parse().expect("a literal"), listener.local().port());
            client.send_to(b"ping", server).expect("sent");
            let mut batch = Batch::new(1);
            batch.receive(&listener, 1).expect("received");
            let told = listener.server_of(batch.meta(0)).expect("the kernel tells");
            assert_eq!(told.socket(), server);
            assert!(listener.serves(told));

            let to = client.local_addr().expect("bound");
            let heading = Heading { source: listener.source_for(told), ..Heading::to(to) };
            let pong = Departing::new(b"pong", &heading);
            Sender::new(1).send(&listener, [pong].into_iter(), |_, error| panic!("{error}"));
            let mut buffer = [0; 8];
            assert_eq!(client.recv_from(&mut buffer).expect("answered"), (4, server));
        }
    }

    #[test]
    fn both_wildcards_can_listen_on_one_port() {
        let v4 = one("0.0.0.0:0");
        let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), v4.local().port());
        listen(&[v6], 2).expect("the IPv6 listener takes no IPv4");
    }

    #[test]
    fn a_listener_serves_its_own_address_and_a_wildcard_every_one_of_its_family_and_port() {
        let exact = Listener::new(client("127.0.0.1:0"), literal("127.0.0.1:3478"));
        let wildcard = Listener::new(client("127.0.0.1:0"), literal("0.0.0.0:3478"));
        let server = |text| ServerAddr::new(literal(text));
        assert!(exact.serves(server("127.0.0.1:3478")));
        assert!(!exact.serves(server("127.0.0.2:3478")));
        assert_eq!(exact.source_for(server("127.0.0.1:3478")), None);
        assert!(wildcard.serves(server("127.0.0.2:3478")));
        assert!(!wildcard.serves(server("127.0.0.2:3479")));
        assert!(!wildcard.serves(server("[::1]:3478")));
    }

    #[test]
    fn a_link_local_server_address_keeps_its_interface_and_no_other_does() {
        let wildcard = Listener::new(client("127.0.0.1:0"), literal("[::]:3478"));
        let told = |ip: &str| {
            let destination = Some((ip.parse().expect("a literal"), 4));
            let meta =
                Meta { from: None, destination, header: IpHeader::default(), arrived: None, meant_for: None };
            wildcard.server_of(&meta).expect("the kernel told")
        };
        assert_eq!(told("fe80::1").socket(), literal("[fe80::1%4]:3478"));
        assert_eq!(wildcard.source_for(told("fe80::1")), Some((literal("[fe80::1]:0").ip(), 4)));
        assert_eq!(told("2001:db8::1").socket(), literal("[2001:db8::1]:3478"));
        let nothing = Meta {
            from: None,
            destination: None,
            header: IpHeader::default(),
            arrived: None,
            meant_for: None,
        };
        assert_eq!(wildcard.server_of(&nothing), None);
    }

    #[test]
    fn a_relay_socket_holds_a_burst_of_256_datagrams_short_or_long() {
        for len in [172, 1_200] {
            let relay = RelaySocket::open(RelayAddr::new(literal("127.0.0.1:0"))).expect("opened");
            let given = sockopt::socket_recv_buffer_size(&relay).expect("told");
            if given < 1 << 20 {
                eprintln!("skipped: burst_{len}: net.core.rmem_max lets a socket hold {given} bytes");
                continue;
            }
            let peer = client("127.0.0.1:0");
            for number in 0..256_u16 {
                let mut payload = vec![0; len];
                payload[..2].copy_from_slice(&number.to_be_bytes());
                peer.send_to(&payload, relay.bound().socket()).expect("sent");
            }
            let mut batch = Batch::new(256);
            assert_eq!(batch.receive(&relay, 256).expect("received").places, 0..256);
            for number in 0..256_u16 {
                assert_eq!(batch.datagram(number.into())[..2], number.to_be_bytes());
            }
        }
    }

    #[test]
    fn a_peer_that_refuses_disturbs_neither_its_own_relay_socket_nor_another() {
        let (one, two) = (ready("127.0.0.1:0"), ready("127.0.0.1:0"));
        let gone = client("127.0.0.1:0").local_addr().expect("bound and closed");
        let peer = client("127.0.0.1:0");
        let mut sender = Sender::new(2);
        for relay in [&one, &two] {
            // The first makes an ICMP error come back.
            for to in [gone, peer.local_addr().expect("bound")] {
                let heading = Heading::to(to);
                let departing = [Departing::new(b"x", &heading)];
                sender.send(relay, departing.into_iter(), |_, error| panic!("{error}"));
            }
            let mut buffer = [0; 4];
            assert_eq!(peer.recv_from(&mut buffer).expect("it came"), (1, relay.bound().socket()));
            peer.send_to(b"y", relay.bound().socket()).expect("sent");
            assert_eq!(Batch::new(4).receive(relay, 4).expect("received").places, 0..1);
        }
    }

    #[test]
    fn what_a_socket_loses_is_told() {
        let mut relay = RelaySocket::open(RelayAddr::new(literal("127.0.0.1:0"))).expect("opened");
        sockopt::set_socket_recv_buffer_size(&relay, 4_096).expect("a small buffer");
        let peer = client("127.0.0.1:0");
        for _ in 0..64 {
            peer.send_to(&[0; 1_000], relay.bound().socket()).expect("sent");
        }
        relay.make_ready_to_receive();
        let mut batch = Batch::new(64);
        let kept = batch.receive(&relay, 64).expect("received").places.len();
        assert!(kept < 64);
        peer.send_to(b"x", relay.bound().socket()).expect("sent");
        batch.clear();
        let arrived = batch.receive(&relay, 64).expect("received");
        assert_eq!(arrived.lost, Some(64 - kept as u32));
        assert_eq!(batch.receive(&relay, 64), Err(Errno::AGAIN));
    }

    #[test]
    fn a_datagram_that_waits_before_anybody_asks_brings_its_headers_fields() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut relay = RelaySocket::open(RelayAddr::new(literal(address))).expect("opened");
            let peer = client(address);
            if relay.bound().socket().is_ipv4() {
                peer.set_ttl(77).expect("a hop limit");
                SockRef::from(&peer).set_tos_v4(0xB8).expect("a class");
            } else {
                SockRef::from(&peer).set_unicast_hops_v6(77).expect("a hop limit");
                SockRef::from(&peer).set_tclass_v6(0xB8).expect("a class");
            }
            peer.send_to(b"early", relay.bound().socket()).expect("sent");
            relay.make_ready_to_receive();
            let mut batch = Batch::new(1);
            batch.receive(&relay, 1).expect("it waits");
            let told = batch.meta(0).header;
            assert_eq!((told.hop_limit, told.traffic_class), (Some(77), 0xB8), "{address}");
        }
    }

    #[test]
    fn a_relay_socket_hears_of_what_came_back_from_when_it_is_ready_to_send() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut relay = RelaySocket::open(RelayAddr::new(literal(address))).expect("opened");
            let gone = client(address).local_addr().expect("bound and closed");
            let send = |relay: &RelaySocket| {
                let heading = Heading::to(gone);
                let departing = [Departing::new(b"x", &heading)];
                Sender::new(1).send(relay, departing.into_iter(), |_, error| panic!("{error}"));
            };
            send(&relay);
            assert_eq!(relay.receive_icmp(), Err(Errno::AGAIN), "{address}");
            relay.make_ready_to_send();
            send(&relay);
            let told = relay.receive_icmp().expect("it came back").expect("by ICMP");
            assert_eq!(told.0.socket(), gone);
        }
    }

    #[test]
    fn a_relay_port_that_is_taken_is_refused() {
        let relay = RelaySocket::open(RelayAddr::new(literal("127.0.0.1:0"))).expect("opened");
        let error = RelaySocket::open(relay.bound()).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
