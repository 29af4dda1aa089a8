//! Questions to the kernel about links, routes and neighbours (rtnetlink): one question, one answer.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::netlink;
use rustix::net::sockopt;

const HEADER_LEN: usize = 16;
const REQUEST: u16 = 1;
const ERROR: u16 = 2;

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;

/// Groups of what happens: links, neighbours, addresses and routes of both families.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/// How long an answer may take. The kernel answers within the question.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// Room for one answer.
const ANSWER_MAX: usize = 16 * 1_024;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: u32,
    /// Its address, if it speaks Ethernet.
    pub(super) mac: Option<[u8; 6]>,
    /// `veth` and the like; empty for hardware.
    pub(super) kind: String,
    /// Whether an XDP program is attached, by whomever.
    pub(super) has_xdp: bool,
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next {
    pub(super) ifindex: u32,
    /// The gateway, or the destination itself where it is on the link.
    pub(super) ip: IpAddr,
}

/// What has happened since somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) neighbours: bool,
    /// Links, addresses or routes.
    pub(super) routes: bool,
}

/// A socket to ask with, and one to listen with.
#[derive(Debug)]
pub(super) struct Netlink {
    asking: OwnedFd,
    listening: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(super) fn new() -> io::Result<Self> {
        let open = |flags| {
            rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC | flags,
                // Protocol 0 of this family is NETLINK_ROUTE.
                None,
            )
        };
        let asking = open(SocketFlags::empty())?;
        sockopt::set_socket_timeout(&asking, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let listening = open(SocketFlags::NONBLOCK)?;
        rustix::net::bind(&listening, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { asking, listening, sequence: 0 })
    }

    /// The interface of this name; an error of kind `NotFound` if there is none.
    pub(super) fn link_by_name(&mut self, name: &str) -> io::Result<Link> {
        let index = rustix::net::netdevice::name_to_index(&self.asking, name)?;
        self.link(index)
    }

    /// The name of the interface with this number.
    pub(super) fn name(&self, index: u32) -> io::Result<String> {
        Ok(rustix::net::netdevice::index_to_name(&self.asking, index)?)
    }

    pub(super) fn link(&mut self, index: u32) -> io::Result<Link> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        let answer = self.ask(GET_LINK, &body, &[])?;
        let hardware = answer.get(2..4).map_or(0, |bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        let mut link = Link { index, mtu: 0, mac: None, kind: String::new(), has_xdp: false };
        for (name, value) in attributes(answer.get(16..).unwrap_or_default()) {
            match name {
                1 if hardware == libc::ARPHRD_ETHER => link.mac = value.try_into().ok(),
                4 => link.mtu = number(value).unwrap_or(0),
                18 => {
                    let kind = attributes(value).find(|(name, _)| *name == 1).map_or(&[][..], |kind| kind.1);
                    link.kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
                }
                43 => link.has_xdp = attributes(value).any(|(name, value)| name == 2 && value != [0]),
                _ => {}
            }
        }
        Ok(link)
    }

    /// The next hop from `source` to `destination`; `None` where packets do not go to a host elsewhere in the plain way.
    pub(super) fn route(&mut self, source: IpAddr, destination: IpAddr) -> io::Result<Option<Next>> {
        let (family, bits) = family(destination);
        let mut body = vec![0; 12];
        body[..3].copy_from_slice(&[family, bits, bits]);
        let both = [(1, octets(destination)), (2, octets(source))];
        let answer = match self.ask(GET_ROUTE, &body, &both) {
            // Perhaps the source is no address of this machine, and so none that a rule of routing could name.
            Err(error) if error.raw_os_error().is_some() => {
                body[2] = 0;
                self.ask(GET_ROUTE, &body, &both[..1])
            }
            answer => answer,
        };
        let answer = match answer {
            Err(error) if error.raw_os_error().is_some() => return Ok(None),
            answer => answer?,
        };
        const UNICAST: u8 = 1;
        if answer.get(7) != Some(&UNICAST) {
            return Ok(None);
        }
        let mut next = Next { ifindex: 0, ip: destination };
        for (name, value) in attributes(answer.get(12..).unwrap_or_default()) {
            match name {
                4 => next.ifindex = number(value).unwrap_or(0),
                5 => next.ip = address(value).unwrap_or(destination),
                18 => next.ip = value.get(2..).and_then(address).unwrap_or(destination),
                // A tunnel of its own.
                22 => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(next).filter(|next| next.ifindex != 0))
    }

    /// The address of a neighbour on its link, if the kernel knows it.
    pub(super) fn neighbour(&mut self, next: Next) -> io::Result<Option<[u8; 6]>> {
        let mut body = vec![0; 12];
        body[0] = family(next.ip).0;
        body[4..8].copy_from_slice(&next.ifindex.to_ne_bytes());
        let answer = match self.ask(GET_NEIGHBOUR, &body, &[(1, octets(next.ip))]) {
            Err(error) if error.raw_os_error().is_some() => return Ok(None),
            answer => answer?,
        };
        // Reachable, stale, delay, probe, no arp, permanent.
        const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
        let state = answer.get(8..10).map_or(0, |bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        if state & KNOWN == 0 {
            return Ok(None);
        }
        let mut told = attributes(answer.get(12..).unwrap_or_default());
        Ok(told.find(|(name, _)| *name == 2).and_then(|(_, mac)| mac.try_into().ok()))
    }

    /// What has happened since the last time. Where too much has to be remembered, everything has.
    pub(super) fn news(&mut self) -> News {
        let mut news = News::default();
        let mut buffer = vec![0; ANSWER_MAX];
        loop {
            match rustix::net::recv(&self.listening, &mut buffer[..], RecvFlags::empty()) {
                Ok((len, _)) if len > 0 => messages(&buffer[..len]).for_each(|(name, _)| match name {
                    NEW_NEIGHBOUR | DELETE_NEIGHBOUR => news.neighbours = true,
                    _ if (NEW_LINK..GET_ROUTE).contains(&name) => news.routes = true,
                    _ => {}
                }),
                Err(rustix::io::Errno::NOBUFS) => news = News { neighbours: true, routes: true },
                Err(rustix::io::Errno::INTR) => {}
                _ => return news,
            }
        }
    }

    /// The body of the answer to one question.
    fn ask(&mut self, name: u16, body: &[u8], attributes: &[(u16, Vec<u8>)]) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut question = vec![0; HEADER_LEN];
        question.extend_from_slice(body);
        for (attribute, value) in attributes {
            let len = u16::try_from(4 + value.len()).map_err(io::Error::other)?;
            question.extend_from_slice(&len.to_ne_bytes());
            question.extend_from_slice(&attribute.to_ne_bytes());
            question.extend_from_slice(value);
            question.resize(question.len().next_multiple_of(4), 0);
        }
        let len = u32::try_from(question.len()).map_err(io::Error::other)?;
        question[..4].copy_from_slice(&len.to_ne_bytes());
        question[4..6].copy_from_slice(&name.to_ne_bytes());
        question[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
        question[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        rustix::net::send(&self.asking, &question, SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER_MAX];
        loop {
            let (len, _) = rustix::net::recv(&self.asking, &mut buffer[..], RecvFlags::empty())?;
            for (header, answer) in messages(&buffer[..len]) {
                if buffer_sequence(answer) != Some(self.sequence) {
                    continue;
                }
                let body = &answer[HEADER_LEN..];
                if header == ERROR {
                    let code = number(body.get(..4).unwrap_or_default()).unwrap_or(0).cast_signed();
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                return Ok(body.to_vec());
            }
        }
    }
}

const _: () = assert!(NEW_ADDRESS < GET_ROUTE && DELETE_ADDRESS < GET_ROUTE);

/// Each message of `bytes` by its name, header included.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = number(bytes.get(..4)?)? as usize;
        let message = bytes.get(..len).filter(|_| len >= HEADER_LEN)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([message[4], message[5]]), message))
    })
}

fn buffer_sequence(message: &[u8]) -> Option<u32> {
    number(message.get(8..12)?)
}

/// Each attribute of `bytes` by its name.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        // The upper two bits tell how the value is written.
        let name = u16::from_ne_bytes([head[2], head[3]]) & 0x3FFF;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((name, value))
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn family(ip: IpAddr) -> (u8, u8) {
    match ip {
        IpAddr::V4(_) => (2, 32),
        IpAddr::V6(_) => (10, 128),
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_ends_the_walk_and_nothing_is_read_beyond() {
        let whole =
            [&[8, 0, 4, 0][..], &7_u32.to_ne_bytes(), &[6, 0, 5, 0x80, 1, 2, 0, 0], &[4, 0, 9, 0]].concat();
        let read =
            |bytes: &[u8]| attributes(bytes).map(|(name, value)| (name, value.to_vec())).collect::<Vec<_>>();
        assert_eq!(read(&whole), [(4, 7_u32.to_ne_bytes().to_vec()), (5, vec![1, 2]), (9, vec![])]);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).len() < 3);
        }
        for lie in [0, 1, 3, 9, 255] {
            assert_eq!(read(&[lie, 0, 4, 0, 1, 2, 3, 4]), [], "a length of {lie}");
            assert_eq!(messages(&[lie, 0, 0, 0, 1, 2, 3, 4]).count(), 0);
        }
    }

    #[test]
    fn the_loopback_interface_is_known_and_goes_nowhere_else() {
        let mut netlink = Netlink::new().unwrap();
        let link = netlink.link_by_name("lo").unwrap();
        assert_eq!((link.index, link.mac, link.has_xdp), (1, None, false));
        assert!(link.mtu > 0);
        let own = "127.0.0.1".parse().unwrap();
        assert_eq!(netlink.route(own, own).unwrap(), None, "it is of this machine");
        assert!(netlink.link_by_name("no such").is_err());
    }
}
