//! Control messages: what the kernel tells of a datagram beside its bytes, and what it is told.
//!
//! They are read and written as bytes, by the offsets of `cmsghdr`, so that no pointer is needed and a reader is
//! total on whatever stands in the buffer.
//!
//! ```text
//!   | cmsg_len | cmsg_level | cmsg_type | data … | padding to the size of a word | next …
//! ```

use std::mem::offset_of;
use std::mem::size_of;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use rustix::io::Errno;

use crate::proto::types::IpHeader;
use crate::proto::wire::Icmp;

use super::packet::Meta;

/// Room for all that the sockets ask for at once: pktinfo or the address that was meant, hop limit, traffic class,
/// SO_RXQ_OVFL, the length of a run's datagrams; or on the error queue hop limit, traffic class and the error with an
/// address.
pub(super) const CONTROL_LEN: usize = 160;

#[cfg(target_env = "musl")]
const LEN_SIZE: usize = size_of::<u32>();
#[cfg(not(target_env = "musl"))]
const LEN_SIZE: usize = size_of::<usize>();

const HEADER_LEN: usize = align(size_of::<libc::cmsghdr>());
const PKTINFO_V4_LEN: usize = size_of::<libc::in_pktinfo>();
const PKTINFO_V6_LEN: usize = size_of::<libc::in6_pktinfo>();
const NAME_V6_LEN: usize = size_of::<libc::sockaddr_in6>();

const _: () = assert!(PKTINFO_V4_LEN == 12 && PKTINFO_V6_LEN == 20);
const _: () = assert!(HEADER_LEN + align(PKTINFO_V6_LEN) + 4 * (HEADER_LEN + align(4)) <= CONTROL_LEN);
const _: () = assert!(HEADER_LEN + align(NAME_V6_LEN) + 4 * (HEADER_LEN + align(4)) <= CONTROL_LEN);
const _: () = assert!(2 * (HEADER_LEN + align(4)) + HEADER_LEN + align(ERROR_LEN + 28) <= CONTROL_LEN);

/// `sock_extended_err`: number 4, origin 1, type 1, code 1, padding 1, information 4, data 4.
const ERROR_LEN: usize = size_of::<libc::sock_extended_err>();
const _: () = assert!(ERROR_LEN == 16 && offset_of!(libc::sock_extended_err, ee_info) == 8);

/// A buffer for control messages, aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_LEN]);

    /// Asks that a datagram of the family `v6` or IPv4 leave from `source`, on the interface with the index beside it
    /// if that is not 0, and with what `header` says otherwise than the system would. That an IPv4 datagram must leave
    /// whole cannot be asked for here. Answers how many bytes the messages take.
    pub(super) fn write_departure(
        &mut self,
        v6: bool,
        source: Option<(IpAddr, u32)>,
        header: IpHeader,
    ) -> usize {
        let mut end = source.map_or(0, |(source, scope)| self.write_source(source, scope));
        let (level, hop_limit, traffic_class) = if v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS)
        };
        if let Some(value) = header.hop_limit {
            end += self.write(end, level, hop_limit, &i32::from(value).to_ne_bytes());
        }
        if header.traffic_class != 0 {
            end += self.write(end, level, traffic_class, &i32::from(header.traffic_class).to_ne_bytes());
        }
        if header.dont_fragment && v6 {
            end += self.write(end, level, libc::IPV6_DONTFRAG, &1_i32.to_ne_bytes());
        }
        end
    }

    /// Asks, behind the first `end` bytes, that the kernel cut what leaves into datagrams of `len` bytes. Answers how many
    /// bytes the messages take then.
    pub(super) fn write_segment(&mut self, end: usize, len: u16) -> usize {
        end + self.write(end, libc::SOL_UDP, libc::UDP_SEGMENT, &len.to_ne_bytes())
    }

    fn write_source(&mut self, source: IpAddr, scope: u32) -> usize {
        match source {
            IpAddr::V4(source) => {
                let mut info = [0; PKTINFO_V4_LEN];
                info[4..8].copy_from_slice(&source.octets());
                self.write(0, libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            IpAddr::V6(source) => {
                let mut info = [0; PKTINFO_V6_LEN];
                info[..16].copy_from_slice(&source.octets());
                info[16..].copy_from_slice(&scope.to_ne_bytes());
                self.write(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
        }
    }

    /// Writes one message at `start` and answers its length with the padding.
    fn write(&mut self, start: usize, level: i32, kind: i32, data: &[u8]) -> usize {
        let whole = HEADER_LEN + align(data.len());
        let message = &mut self.0[start..start + whole];
        let end = HEADER_LEN + data.len();
        message[..HEADER_LEN].fill(0);
        let len = offset_of!(libc::cmsghdr, cmsg_len);
        message[len..len + LEN_SIZE].copy_from_slice(&end.to_ne_bytes()[..LEN_SIZE]);
        put(message, offset_of!(libc::cmsghdr, cmsg_level), level);
        put(message, offset_of!(libc::cmsghdr, cmsg_type), kind);
        message[HEADER_LEN..end].copy_from_slice(data);
        message[end..].fill(0);
        whole
    }
}

/// What the kernel said of one received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// What is of use to whoever reads it. The DF bit is not told.
    pub(super) meta: Meta,
    /// How many datagrams the socket lost for want of room since it was made, modulo 2^32.
    pub(super) lost: Option<u32>,
    /// It is a run of datagrams, each of so many bytes but the last, which may be shorter.
    pub(super) segment: Option<usize>,
}

impl Told {
    /// Adds what the first `len` bytes of `control` say; a message that does not fit its frame ends the reading.
    pub(super) fn read(&mut self, control: &Control, len: usize) {
        let Self { meta, lost, segment } = self;
        let mut rest = &control.0[..len.min(CONTROL_LEN)];
        while let Some((level, kind, data, next)) = split(rest) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let (Some(scope), Some(address)) = (word(data, 0), bytes::<4>(data, 8)) {
                        meta.destination = Some((Ipv4Addr::from(address).into(), u32::from_ne_bytes(scope)));
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    if let (Some(address), Some(scope)) = (bytes::<16>(data, 0), word(data, 16)) {
                        meta.destination = Some((Ipv6Addr::from(address).into(), u32::from_ne_bytes(scope)));
                    }
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    meta.header.hop_limit = small(data);
                }
                // The only one of them that comes as a single octet.
                (libc::IPPROTO_IP, libc::IP_TOS) => {
                    meta.header.traffic_class = data.first().copied().unwrap_or(0);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    meta.header.traffic_class = small(data).unwrap_or(0);
                }
                // Socket addresses: family, port, and for IPv6 the flow before the address.
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) => {
                    if let (Some(port), Some(ip)) = (bytes(data, 2), bytes::<4>(data, 4)) {
                        meta.meant_for = Some((Ipv4Addr::from(ip), u16::from_be_bytes(port)).into());
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                    if let (Some(port), Some(ip)) = (bytes(data, 2), bytes::<16>(data, 8)) {
                        meta.meant_for = Some((Ipv6Addr::from(ip), u16::from_be_bytes(port)).into());
                    }
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    *lost = word(data, 0).map(u32::from_ne_bytes);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let len = word(data, 0).and_then(|len| usize::try_from(i32::from_ne_bytes(len)).ok());
                    *segment = len.filter(|len| *len > 0);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => meta.arrived = timespec(data),
                _ => {}
            }
            rest = next;
        }
    }
}

/// Whether ICMP can be the cause of `error`.
pub(super) fn may_be_of_the_past(error: Errno) -> bool {
    const OF_ICMP: [Errno; 10] = [
        Errno::ACCESS,
        Errno::CONNREFUSED,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::MSGSIZE,
        Errno::NETUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PROTO,
    ];
    OF_ICMP.contains(&error)
}

/// What the error queue says became of a datagram: an ICMP error. `None` if it is an error of another origin.
pub(super) fn read_icmp(control: &Control, len: usize) -> Option<Icmp> {
    let mut rest = &control.0[..len.min(CONTROL_LEN)];
    while let Some((level, kind, data, next)) = split(rest) {
        let origin = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_RECVERR) => Some(libc::SO_EE_ORIGIN_ICMP),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => Some(libc::SO_EE_ORIGIN_ICMP6),
            _ => None,
        };
        if let (Some(origin), Some([told, kind, code, _]), Some(info)) =
            (origin, word(data, 4), word(data, 8))
        {
            return (told == origin).then(|| Icmp { kind, code, data: u32::from_ne_bytes(info) });
        }
        rest = next;
    }
    None
}

/// A `timespec` of two words of 64 bits, which is what every system has but old ones of 32 bits.
fn timespec(data: &[u8]) -> Option<Duration> {
    let seconds = u64::try_from(i64::from_ne_bytes(bytes(data, 0)?)).ok()?;
    let nanos = u32::try_from(i64::from_ne_bytes(bytes(data, 8)?)).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// An `int` that holds a number of 0 to 255.
fn small(data: &[u8]) -> Option<u8> {
    word(data, 0).and_then(|value| i32::from_ne_bytes(value).try_into().ok())
}

/// Level, type and data of the first message, and what stands behind it.
fn split(buffer: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let mut len = [0; size_of::<usize>()];
    len[..LEN_SIZE].copy_from_slice(&bytes::<LEN_SIZE>(buffer, offset_of!(libc::cmsghdr, cmsg_len))?);
    let len = usize::from_ne_bytes(len);
    let level = i32::from_ne_bytes(word(buffer, offset_of!(libc::cmsghdr, cmsg_level))?);
    let kind = i32::from_ne_bytes(word(buffer, offset_of!(libc::cmsghdr, cmsg_type))?);
    let data = buffer.get(HEADER_LEN..len)?;
    let next = buffer.get(HEADER_LEN + align(data.len())..).unwrap_or_default();
    Some((level, kind, data, next))
}

fn word(buffer: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes(buffer, at)
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..)?.first_chunk().copied()
}

fn put(buffer: &mut [u8], at: usize, value: i32) {
    buffer[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(control: &Control, len: usize) -> Told {
        let mut told = Told::default();
        told.read(control, len);
        told
    }

    #[test]
    fn the_frame_is_that_of_the_c_library() {
        let mut control = Control::EMPTY;
        let len = control.write_departure(true, Some((Ipv6Addr::LOCALHOST.into(), 7)), IpHeader::default());
        assert_eq!(len, HEADER_LEN + 24);
        let (level, kind, data, rest) = split(&control.0[..len]).expect("a message");
        assert_eq!((level, kind), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO));
        assert_eq!(data.len(), PKTINFO_V6_LEN);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_destination_and_a_loss_are_read_from_one_buffer() {
        let mut control = Control::EMPTY;
        let mut info = [0; PKTINFO_V4_LEN];
        info[..4].copy_from_slice(&3_u32.to_ne_bytes());
        info[4..8].copy_from_slice(&[127, 0, 0, 9]);
        info[8..].copy_from_slice(&[127, 0, 0, 1]);
        let first = control.write(0, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        let more = control.write(first, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &9_u32.to_ne_bytes());

        let told_of = told(&control, first + more);

        // The header's destination counts, not the local address the kernel would answer from.
        assert_eq!(told_of.meta.destination, Some((Ipv4Addr::LOCALHOST.into(), 3)));
        assert_eq!(told_of.lost, Some(9));
        assert_eq!(told(&control, first).lost, None);
        assert_eq!(told(&control, 0), Told::default());
    }

    #[test]
    fn the_address_that_was_meant_is_read_in_both_families() {
        let v6: [u8; 16] = "2001:db8::7".parse::<Ipv6Addr>().expect("a literal").octets();
        let mut name_v6 = [0; NAME_V6_LEN];
        name_v6[2..4].copy_from_slice(&50_001_u16.to_be_bytes());
        name_v6[8..24].copy_from_slice(&v6);
        let name_v4 = [2, 0, 0xC3, 0x50, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let cases: [(_, _, &[u8], &str); 2] = [
            (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, &name_v4, "192.0.2.1:50000"),
            (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR, &name_v6, "[2001:db8::7]:50001"),
        ];
        for (level, kind, name, expected) in cases {
            let mut control = Control::EMPTY;
            let len = control.write(0, level, kind, name);
            assert_eq!(told(&control, len).meta.meant_for, Some(expected.parse().expect("a literal")));
            let len = control.write(0, level, kind, &name[..7]);
            assert_eq!(told(&control, len).meta.meant_for, None, "a name that is cut");
        }
    }

    #[test]
    fn the_length_of_a_runs_datagrams_is_read_and_written_beside_everything_else() {
        let mut control = Control::EMPTY;
        let of_run = |control: &mut Control, len: i32| {
            let end = control.write(0, libc::SOL_UDP, libc::UDP_GRO, &len.to_ne_bytes());
            told(control, end).segment
        };
        assert_eq!(of_run(&mut control, 1_200), Some(1_200));
        // No kernel says so, and nothing can be cut by it.
        assert_eq!((of_run(&mut control, 0), of_run(&mut control, -1)), (None, None));

        let header = IpHeader { hop_limit: Some(9), traffic_class: 1, dont_fragment: true };
        let end = control.write_departure(true, Some((Ipv6Addr::LOCALHOST.into(), 2)), header);
        let whole = control.write_segment(end, 172);
        let kinds = kinds(&control, whole);
        assert_eq!(kinds.len(), 5);
        assert_eq!(kinds.last(), Some(&(libc::SOL_UDP, libc::UDP_SEGMENT)));
        assert_eq!(split(&control.0[end..whole]).expect("a message").2, 172_u16.to_ne_bytes());
    }

    #[test]
    fn a_message_that_is_cut_or_lies_about_its_length_is_not_read() {
        let mut control = Control::EMPTY;
        let len = control.write_departure(false, Some((Ipv4Addr::LOCALHOST.into(), 0)), IpHeader::default());
        assert_eq!(told(&control, len - 8).meta.destination, None);
        let at = offset_of!(libc::cmsghdr, cmsg_len);
        for lie in [0_usize, 1, HEADER_LEN - 1, CONTROL_LEN + 1, usize::MAX] {
            control.0[at..at + LEN_SIZE].copy_from_slice(&lie.to_ne_bytes()[..LEN_SIZE]);
            assert_eq!(told(&control, CONTROL_LEN), Told::default(), "length {lie}");
        }
    }

    #[test]
    fn header_fields_round_trip_in_both_families_beside_a_source() {
        let sources = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        for source in sources {
            for (hop_limit, traffic_class) in [(Some(1), 0xB9), (Some(255), 0xFF), (None, 3), (Some(63), 0)] {
                let header = IpHeader { hop_limit, traffic_class, dont_fragment: false };
                let mut control = Control([0xAA; CONTROL_LEN]);
                let len = control.write_departure(source.is_ipv6(), Some((source, 2)), header);
                assert_eq!(told(&control, len).meta.header.hop_limit, hop_limit);
                if source.is_ipv6() {
                    assert_eq!(told(&control, len).meta.header, header);
                }
                let messages = 1 + usize::from(hop_limit.is_some()) + usize::from(traffic_class != 0);
                assert_eq!(kinds(&control, len).len(), messages);
            }
        }
    }

    /// Level and type of each message.
    fn kinds(control: &Control, len: usize) -> Vec<(i32, i32)> {
        let mut kinds = Vec::new();
        let mut rest = &control.0[..len];
        while let Some((level, kind, _, next)) = split(rest) {
            kinds.push((level, kind));
            rest = next;
        }
        kinds
    }

    #[test]
    fn what_is_as_the_system_would_have_it_is_not_asked_for() {
        let mut control = Control([0xAA; CONTROL_LEN]);
        for v6 in [false, true] {
            assert_eq!(control.write_departure(v6, None, IpHeader::default()), 0);
        }
        let whole = IpHeader { dont_fragment: true, ..IpHeader::default() };
        assert_eq!(control.write_departure(false, None, whole), 0, "IPv4 knows no such message");
        let len = control.write_departure(true, None, whole);
        assert_eq!(kinds(&control, len), [(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG)]);
    }

    #[test]
    fn a_type_of_service_comes_as_one_octet() {
        let mut control = Control::EMPTY;
        let first = control.write(0, libc::IPPROTO_IP, libc::IP_TTL, &64_i32.to_ne_bytes());
        let len = first + control.write(first, libc::IPPROTO_IP, libc::IP_TOS, &[0xBA]);
        let expected = IpHeader { hop_limit: Some(64), traffic_class: 0xBA, dont_fragment: false };
        assert_eq!(told(&control, len).meta.header, expected);
        // No kernel says so.
        let len = control.write(0, libc::IPPROTO_IP, libc::IP_TTL, &256_i32.to_ne_bytes());
        assert_eq!(told(&control, len).meta.header.hop_limit, None);
    }

    #[test]
    fn an_icmp_error_is_read_in_its_family_and_no_other_error_is_taken_for_one() {
        let read = |level, kind, origin: u8, len: usize| {
            let mut error = [0; ERROR_LEN + 16];
            error[4..7].copy_from_slice(&[origin, 3, 4]);
            error[8..12].copy_from_slice(&1_400_u32.to_ne_bytes());
            let mut control = Control::EMPTY;
            // The hop limit of the returned datagram stands before it.
            let first = control.write(0, libc::IPPROTO_IP, libc::IP_TTL, &64_i32.to_ne_bytes());
            let len = first + control.write(first, level, kind, &error[..len]);
            read_icmp(&control, len)
        };
        let (v4, v6) = ((libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR));
        let told = Some(Icmp { kind: 3, code: 4, data: 1_400 });
        assert_eq!(read(v4.0, v4.1, libc::SO_EE_ORIGIN_ICMP, ERROR_LEN + 16), told);
        assert_eq!(read(v6.0, v6.1, libc::SO_EE_ORIGIN_ICMP6, ERROR_LEN), told);
        for (origin, of_v4) in [
            (libc::SO_EE_ORIGIN_LOCAL, true),
            (libc::SO_EE_ORIGIN_LOCAL, false),
            (libc::SO_EE_ORIGIN_ICMP6, true),
            (libc::SO_EE_ORIGIN_ICMP, false),
        ] {
            let (level, kind) = if of_v4 { v4 } else { v6 };
            assert_eq!(read(level, kind, origin, ERROR_LEN), None);
        }
        assert_eq!(read(v4.0, v4.1, libc::SO_EE_ORIGIN_ICMP, 8), None);
        assert_eq!(read(libc::SOL_SOCKET, 1, libc::SO_EE_ORIGIN_ICMP, ERROR_LEN), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(noise in prop::collection::vec(any::<u8>(), CONTROL_LEN), len in 0_usize..300) {
            let mut control = Control::EMPTY;
            control.0.copy_from_slice(&noise);
            let _ = (told(&control, len), read_icmp(&control, len));
        }
    }
}
