//! Socket addresses in the form that system calls take.

use std::mem;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;

/// A socket address as the kernel reads and writes it.
///
/// ```text
///   IPv4 | family 2 | port 2 | address 4 | zero 8 |
///   IPv6 | family 2 | port 2 | flow 4 | address 16 | scope 4 |
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; NAME_LEN]);

/// Of IPv6, the longer one.
pub(super) const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();
/// Of IPv4.
pub(super) const NAME_V4_LEN: usize = size_of::<libc::sockaddr_in>();
const FAMILY_V4: u16 = libc::AF_INET as u16;
const FAMILY_V6: u16 = libc::AF_INET6 as u16;

const _: () = assert!(NAME_LEN == 28 && NAME_V4_LEN == 16);
const _: () = assert!(mem::offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
const _: () = assert!(mem::offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24);
const _: () = assert!(mem::offset_of!(libc::sockaddr_in, sin_addr) == 4);

impl Name {
    pub(super) const EMPTY: Self = Self([0; NAME_LEN]);

    /// Writes `address`, and answers with its length.
    pub(super) fn write(&mut self, address: SocketAddr) -> usize {
        self.0[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                self.0[..2].copy_from_slice(&FAMILY_V4.to_ne_bytes());
                self.0[4..8].copy_from_slice(&v4.ip().octets());
                self.0[8..NAME_V4_LEN].fill(0);
                NAME_V4_LEN
            }
            SocketAddr::V6(v6) => {
                self.0[..2].copy_from_slice(&FAMILY_V6.to_ne_bytes());
                self.0[4..8].fill(0);
                self.0[8..24].copy_from_slice(&v6.ip().octets());
                self.0[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
                NAME_LEN
            }
        }
    }

    /// `None` if the first `len` bytes name no IP endpoint.
    pub(super) fn read(&self, len: usize) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes(*self.0.first_chunk()?);
        let port = u16::from_be_bytes(*self.0[2..].first_chunk()?);
        match family {
            FAMILY_V4 if len >= NAME_V4_LEN => {
                let octets: [u8; 4] = *self.0[4..].first_chunk()?;
                Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
            }
            FAMILY_V6 if len >= NAME_LEN => {
                let octets: [u8; 16] = *self.0[8..].first_chunk()?;
                let scope = u32::from_ne_bytes(*self.0[24..].first_chunk()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_round_trips_and_a_short_or_foreign_one_is_none() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:65535", "[fe80::1%3]:9", "[::ffff:192.0.2.1]:1"] {
            let address: SocketAddr = text.parse().expect("a literal");
            let mut name = Name([0xAA; NAME_LEN]);
            let len = name.write(address);
            assert_eq!(name.read(len), Some(address));
            assert_eq!(name.read(len - 1), None);
        }
        assert_eq!(Name::EMPTY.read(NAME_LEN), None);
    }

    #[test]
    fn a_name_holds_the_ipv4_of_the_c_library() {
        let mut name = Name::EMPTY;
        name.write("192.0.2.1:258".parse().expect("a literal"));
        assert_eq!(name.0[2..8], [1, 2, 192, 0, 2, 1]);
    }
}
