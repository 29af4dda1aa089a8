//! What a datagram's IP header says, read at its far end: from control messages, taken apart by hand, or, where the
//! privilege is there, from the header itself.

#![allow(unsafe_code, reason = "std and socket2 have no call for some of these options")]

use std::io;
use std::io::Write;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use socket2::Domain;
use socket2::MaybeUninitSlice;
use socket2::MsgHdrMut;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;

use crate::plane::PATIENCE;

/// Asks the kernel to tell hop limit and traffic class of what `socket` receives.
pub(crate) fn tell_header(socket: &UdpSocket) {
    let (level, names) = if is_v6(socket) {
        (libc::IPPROTO_IPV6, [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS])
    } else {
        (libc::IPPROTO_IP, [libc::IP_RECVTTL, libc::IP_RECVTOS])
    };
    for name in names {
        let on: libc::c_int = 1;
        // SAFETY: the value is a live `int`, and its size is told with it.
        let answer = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(answer, 0);
    }
}

/// Makes all that `socket` sends carry this hop limit and traffic class.
pub(crate) fn send_with(socket: &UdpSocket, hop_limit: u8, traffic_class: u8) {
    let v6 = is_v6(socket);
    let socket = SockRef::from(socket);
    if v6 {
        socket.set_unicast_hops_v6(hop_limit.into()).expect("a hop limit");
        socket.set_tclass_v6(traffic_class.into()).expect("a traffic class");
    } else {
        socket.set_ttl_v4(hop_limit.into()).expect("a time to live");
        socket.set_tos_v4(traffic_class.into()).expect("a type of service");
    }
}

/// The next datagram's bytes, its hop limit and its traffic class.
pub(crate) fn receive_with_header(socket: &UdpSocket) -> (Vec<u8>, Option<u8>, Option<u8>) {
    let mut bytes = [MaybeUninit::new(0_u8); 2_048];
    let mut control = [MaybeUninit::new(0_u8); 256];
    let mut vectors = [MaybeUninitSlice::new(&mut bytes)];
    let mut message = MsgHdrMut::new().with_buffers(&mut vectors).with_control(&mut control);
    let len = SockRef::from(socket).recvmsg(&mut message, 0).expect("a datagram comes");
    let control_len = message.control_len();
    let (hop_limit, traffic_class) = header(&initialised(&control[..control_len]));
    (initialised(&bytes[..len]), hop_limit, traffic_class)
}

fn initialised(bytes: &[MaybeUninit<u8>]) -> Vec<u8> {
    // SAFETY: both buffers were filled with zeroes before the kernel wrote to them.
    bytes.iter().map(|byte| unsafe { byte.assume_init() }).collect()
}

fn header(mut control: &[u8]) -> (Option<u8>, Option<u8>) {
    let (mut hop_limit, mut traffic_class) = (None, None);
    while control.len() >= 16 {
        let word = |at: usize| i32::from_ne_bytes(control[at..at + 4].try_into().expect("four bytes"));
        let len = usize::from_ne_bytes(control[..8].try_into().expect("eight bytes"));
        let value = control[16];
        match (word(8), word(12)) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                hop_limit = Some(value);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                traffic_class = Some(value);
            }
            _ => {}
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    (hop_limit, traffic_class)
}

fn is_v6(socket: &UdpSocket) -> bool {
    socket.local_addr().expect("bound").is_ipv6()
}

/// A socket that sees whole IPv4 packets with UDP in them that come to `address`; `None`, and a word about it, without
/// the privilege.
pub(crate) fn raw_udp(address: IpAddr) -> Option<Socket> {
    raw(Domain::IPV4, Protocol::UDP, SocketAddr::new(address, 0))
}

/// The same for TCP.
pub(crate) fn raw_tcp(address: IpAddr) -> Option<Socket> {
    raw(Domain::IPV4, Protocol::TCP, SocketAddr::new(address, 0))
}

/// A socket that sends ICMP of the family of `address` from there; `None`, and a word about it, without the
/// privilege.
pub(crate) fn raw_icmp(address: IpAddr) -> Option<Socket> {
    let (domain, protocol) =
        if address.is_ipv4() { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    raw(domain, protocol, SocketAddr::new(address, 0))
}

fn raw(domain: Domain, protocol: Protocol, address: SocketAddr) -> Option<Socket> {
    let socket = match Socket::new(domain, Type::RAW, Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            skip("raw-sockets", "they need root or CAP_NET_RAW");
            return None;
        }
        made => made.expect("a raw socket"),
    };
    socket.bind(&address.into()).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Some(socket)
}

/// Says so where `tests/run` sees it, past what captures the output of a test that passes.
fn skip(name: &str, why: &str) {
    let _ = writeln!(io::stderr(), "\nskipped: {name}: {why}");
}

/// The type of service of the next packet that carries `data` to the end.
pub(crate) fn next_class(socket: &Socket, data: &[u8]) -> u8 {
    loop {
        let mut bytes = [MaybeUninit::new(0_u8); 2_048];
        let len = socket.recv(&mut bytes).expect("a packet comes");
        let packet = initialised(&bytes[..len]);
        if packet.ends_with(data) {
            return packet[1];
        }
    }
}

/// The next packet that carries `data` to the end: whether its DF bit is set, and its time to live.
pub(crate) fn next_packet(socket: &Socket, data: &[u8]) -> (bool, u8) {
    loop {
        let mut bytes = [MaybeUninit::new(0_u8); 2_048];
        let len = socket.recv(&mut bytes).expect("a packet comes");
        let packet = initialised(&bytes[..len]);
        if packet.ends_with(data) {
            return (packet[6] & 0x40 != 0, packet[8]);
        }
    }
}

/// Moves this thread, and those it starts, into a network of its own, whose loopback has this MTU. `false`, and a word
/// about it, without the privilege or the tool.
pub(crate) fn own_network(mtu: u16) -> bool {
    // SAFETY: takes no pointer; another network does no harm to the memory of this process.
    let apart = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
    let up = || {
        let command = format!("link set lo up mtu {mtu}");
        std::process::Command::new("ip")
            .args(command.split(' '))
            .status()
            .is_ok_and(|status| status.success())
    };
    if !(apart && up()) {
        skip("own-network", "it needs root and the command `ip`");
        return false;
    }
    true
}

/// From here on what `socket` sends is cut by the kernel into datagrams of `len` bytes; 0: nothing is.
pub(crate) fn send_in_runs(socket: &UdpSocket, len: u16) {
    let len = libc::c_int::from(len);
    // SAFETY: the value is a live `int`, and its size is told with it.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const len).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(answer, 0);
}
