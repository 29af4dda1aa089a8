//! Memory that the program in the kernel and this process both have: counters, times and buckets, read and written without a
//! system call. All `unsafe` of the kernel's tiers is in this file.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;

/// `struct tally` of turn.bpf.c: what changes with every packet of an allocation.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tally {
    /// When the allocation ends, in ns of the monotonic clock; 0: closed.
    pub(super) until: AtomicU64,
    pub(super) to_peer_packets: AtomicU64,
    pub(super) to_peer_bytes: AtomicU64,
    pub(super) to_client_packets: AtomicU64,
    pub(super) to_client_bytes: AtomicU64,
    /// Places in `buckets`; 0: none.
    pub(super) own_bucket: AtomicU32,
    pub(super) user_bucket: AtomicU32,
    /// Bytes counted with each packet against the bandwidth.
    pub(super) header_len: AtomicU32,
    /// Which use of the place this is.
    pub(super) instance: AtomicU32,
    unused: AtomicU64,
}

/// `struct bucket` of turn.bpf.c.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Word {
    pub(super) spoken_for: AtomicU64,
    pub(super) per_byte: AtomicU64,
    pub(super) burst: AtomicU64,
    unused: AtomicU64,
}

const _: () = assert!(size_of::<Tally>() == 64 && size_of::<Word>() == 32);

/// The map `tallies`, of `count` entries.
pub(super) fn tallies(fd: BorrowedFd<'_>, count: u32) -> io::Result<&'static [Tally]> {
    // SAFETY: a `Tally` is `repr(C)` and made of atomic numbers alone.
    unsafe { map(fd, count) }
}

/// The map `buckets`, of `count` entries.
pub(super) fn words(fd: BorrowedFd<'_>, count: u32) -> io::Result<&'static [Word]> {
    // SAFETY: a `Word` is `repr(C)` and made of atomic numbers alone.
    unsafe { map(fd, count) }
}

/// Maps the whole of the array map `fd`, which has `count` entries of this type. It stays mapped until the process ends: the
/// maps of a server live as long as it does.
///
/// # Safety
///
/// Every bytes must be a `T`, and it must bear that others write to it.
unsafe fn map<T>(fd: BorrowedFd<'_>, count: u32) -> io::Result<&'static [T]> {
    let bytes = (count as usize).checked_mul(size_of::<T>()).filter(|bytes| *bytes > 0);
    let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a fresh mapping at an address that the kernel chooses touches no memory of ours. The call fails where the map
    // is smaller than what is asked for, or is no array that may be mapped.
    let at = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `at` begins `bytes` mapped bytes, aligned to a page, that are never unmapped. The caller vouches
    // for what stands there.
    Ok(unsafe { slice::from_raw_parts(at.cast::<T>(), count as usize) })
}
