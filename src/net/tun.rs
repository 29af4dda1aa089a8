//! An interface whose packets a program reads and writes: what the kernel sends by it is received here, and what is sent
//! here the kernel receives from it.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use super::sys;

/// The device that makes them.
pub const DEVICE: &str = "/dev/net/tun";

/// An interface of whole IP packets. It is gone when this is dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
}

impl Tun {
    /// One with this name, of 15 bytes at most, in the network of this thread. It stays there whoever holds it. It is down,
    /// and has no address.
    ///
    /// # Errors
    /// What the kernel says: it takes CAP_NET_ADMIN, and the right to open [`DEVICE`].
    pub fn open(name: &str) -> io::Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
        let device = opened
            .map_err(|error| io::Error::new(error.kind(), format!("`{DEVICE}` cannot be opened: {error}")))?;
        sys::become_tun(device.as_fd(), name)?;
        Ok(Self { device })
    }

    /// The next packet that the kernel sent by it: its length.
    ///
    /// # Errors
    /// What the kernel says, `WouldBlock` if there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.device).read(buffer)
    }

    /// Has the kernel receive a packet from it.
    ///
    /// # Errors
    /// What the kernel says, `WouldBlock` if it has no room.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.device).write(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
