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

/// Room for IPV6_PKTINFO, SO_RXQ_OVFL and what later kernels' options need.
pub(super) const CONTROL_LEN: usize = 128;

#[cfg(target_env = "musl")]
const LEN_SIZE: usize = size_of::<u32>();
#[cfg(not(target_env = "musl"))]
const LEN_SIZE: usize = size_of::<usize>();

const HEADER_LEN: usize = align(size_of::<libc::cmsghdr>());
const PKTINFO_V4_LEN: usize = size_of::<libc::in_pktinfo>();
const PKTINFO_V6_LEN: usize = size_of::<libc::in6_pktinfo>();

const _: () = assert!(PKTINFO_V4_LEN == 12 && PKTINFO_V6_LEN == 20);
const _: () = assert!(HEADER_LEN + align(PKTINFO_V6_LEN) + HEADER_LEN + align(4) <= CONTROL_LEN);

/// A buffer for control messages, aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_LEN]);

    /// Asks that a datagram leave from `source`, on the interface with index `scope` if that is not 0. Answers how
    /// many bytes the message takes.
    pub(super) fn write_source(&mut self, source: IpAddr, scope: u32) -> usize {
        match source {
            IpAddr::V4(source) => {
                let mut info = [0; PKTINFO_V4_LEN];
                info[4..8].copy_from_slice(&source.octets());
                self.write(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            IpAddr::V6(source) => {
                let mut info = [0; PKTINFO_V6_LEN];
                info[..16].copy_from_slice(&source.octets());
                info[16..].copy_from_slice(&scope.to_ne_bytes());
                self.write(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
        }
    }

    fn write(&mut self, level: i32, kind: i32, data: &[u8]) -> usize {
        let end = HEADER_LEN + data.len();
        self.0[..HEADER_LEN].fill(0);
        let len = offset_of!(libc::cmsghdr, cmsg_len);
        self.0[len..len + LEN_SIZE].copy_from_slice(&end.to_ne_bytes()[..LEN_SIZE]);
        put(&mut self.0, offset_of!(libc::cmsghdr, cmsg_level), level);
        put(&mut self.0, offset_of!(libc::cmsghdr, cmsg_type), kind);
        self.0[HEADER_LEN..end].copy_from_slice(data);
        self.0[end..HEADER_LEN + align(data.len())].fill(0);
        HEADER_LEN + align(data.len())
    }
}

/// What the kernel said of one received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The address in the datagram's header, and the interface it came by.
    pub(super) destination: Option<(IpAddr, u32)>,
    /// How many datagrams the socket lost for want of room since it was made, modulo 2^32.
    pub(super) lost: Option<u32>,
}

impl Told {
    /// Reads the first `len` bytes of `control`; a message that does not fit its frame ends the reading.
    pub(super) fn read(control: &Control, len: usize) -> Self {
        let mut told = Self::default();
        let mut rest = &control.0[..len.min(CONTROL_LEN)];
        while let Some((level, kind, data, next)) = split(rest) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let (Some(scope), Some(address)) = (word(data, 0), bytes::<4>(data, 8)) {
                        told.destination = Some((Ipv4Addr::from(address).into(), u32::from_ne_bytes(scope)));
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    if let (Some(address), Some(scope)) = (bytes::<16>(data, 0), word(data, 16)) {
                        told.destination = Some((Ipv6Addr::from(address).into(), u32::from_ne_bytes(scope)));
                    }
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.lost = word(data, 0).map(u32::from_ne_bytes);
                }
                _ => {}
            }
            rest = next;
        }
        told
    }
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

    #[test]
    fn the_frame_is_that_of_the_c_library() {
        let mut control = Control::EMPTY;
        let len = control.write_source(Ipv6Addr::LOCALHOST.into(), 7);
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
        let first = control.write(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        let mut second = Control::EMPTY;
        let more = second.write(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &9_u32.to_ne_bytes());
        control.0[first..first + more].copy_from_slice(&second.0[..more]);

        let told = Told::read(&control, first + more);

        // The header's destination counts, not the local address the kernel would answer from.
        assert_eq!(told.destination, Some((Ipv4Addr::LOCALHOST.into(), 3)));
        assert_eq!(told.lost, Some(9));
        assert_eq!(Told::read(&control, first).lost, None);
        assert_eq!(Told::read(&control, 0), Told::default());
    }

    #[test]
    fn a_message_that_is_cut_or_lies_about_its_length_is_not_read() {
        let mut control = Control::EMPTY;
        let len = control.write_source(Ipv4Addr::LOCALHOST.into(), 0);
        assert_eq!(Told::read(&control, len - 8).destination, None);
        let at = offset_of!(libc::cmsghdr, cmsg_len);
        for lie in [0_usize, 1, HEADER_LEN - 1, CONTROL_LEN + 1, usize::MAX] {
            control.0[at..at + LEN_SIZE].copy_from_slice(&lie.to_ne_bytes()[..LEN_SIZE]);
            assert_eq!(Told::read(&control, CONTROL_LEN), Told::default(), "length {lie}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(noise in prop::collection::vec(any::<u8>(), CONTROL_LEN), len in 0_usize..300) {
            let mut control = Control::EMPTY;
            control.0.copy_from_slice(&noise);
            let _ = Told::read(&control, len);
        }
    }
}
