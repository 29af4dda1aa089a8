//! The system calls that have no safe wrapper. All `unsafe` of the server's sockets is in this file.
//!
//! What each packet pays for is called by its number: the C library's functions of these names are points at which a thread
//! can be cancelled, which none here ever is, and take two atomic operations for that.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::time::Duration;

use rustix::io::Errno;

use crate::proto::wire::Icmp;

use super::cmsg;
use super::cmsg::CONTROL_LEN;
use super::cmsg::Control;
use super::cmsg::Told;
use super::name::NAME_LEN;
use super::name::NAME_V4_LEN;
use super::name::Name;
use super::packet::Departing;
use super::packet::Heading;
use super::segment::Run;
use super::segment::Segmenting;

/// How often a datagram is tried again whose sending met an error: sockets that hear ICMP tell an error of the past
/// in place of sending.
const SEND_RETRIES: u32 = 2;

/// What is known of what one header brought, beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Bytes that were stored.
    pub(super) len: usize,
    /// The datagram was longer than its buffer.
    pub(super) truncated: bool,
    /// What the control messages tell, and where it is from.
    pub(super) told: Told,
}

/// The headers of one `recvmmsg` or `sendmmsg`, allocated once. Pointers in them are set anew for each call
/// and mean nothing between calls.
pub(super) struct Headers {
    messages: Box<[libc::mmsghdr]>,
    /// Two for each datagram: what stands before the bytes, where there is something, and they. Those of a run lie one
    /// behind the other, from where the first datagram's are.
    vectors: Box<[libc::iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    parts: Box<[Part]>,
}

/// What a header sends.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// The place of its first datagram.
    first: usize,
    /// How many datagrams.
    count: usize,
    /// Vectors of each.
    pieces: usize,
    /// Bytes of the control messages of each of them alone.
    control_len: usize,
    /// Bytes of its first datagram.
    len: usize,
}

// SAFETY: the pointers inside are only followed during a call of `receive` or `send`, each of which sets them first
// from borrows that live as long as the call; between calls they are plain numbers.
unsafe impl Send for Headers {}

impl Headers {
    pub(super) fn new(count: usize) -> Self {
        // SAFETY: both are plain C structures of integers and pointers, for which all zeroes is a valid value.
        let (message, vector): (libc::mmsghdr, libc::iovec) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            messages: vec![message; count].into(),
            vectors: vec![vector; 2 * count].into(),
            names: vec![Name::EMPTY; count].into(),
            controls: vec![Control::EMPTY; count].into(),
            parts: vec![Part::default(); count].into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Receives what waits, a datagram for each buffer, without blocking. Answers how many came; [`Self::tell`]
    /// tells of each.
    pub(super) fn receive<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: impl Iterator<Item = &'a mut [u8]>,
    ) -> Result<usize, Errno> {
        let mut count = 0;
        for (index, buffer) in buffers.take(self.len()).enumerate() {
            self.aim_at(index, buffer);
            count = index + 1;
        }
        let wanted = libc::c_uint::try_from(count).unwrap_or(libc::c_uint::MAX);
        // SAFETY: the first `count` headers were just aimed at live memory: at a buffer that `buffers` lent for 'a,
        // which outlives this call, and at the name and control of the same index, which belong to `self`.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_recvmmsg,
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT,
                ptr::null_mut::<libc::timespec>(),
            )
        };
        usize::try_from(answer).map_err(|_| last_errno())
    }

    /// The same for one datagram: the call for several looks in vain for a second one, and costs more.
    pub(super) fn receive_one(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.aim_at(0, buffer);
        let message = &mut self.messages[0];
        // SAFETY: the header was just aimed at live memory: at `buffer`, and at a name and a control that belong to `self`.
        let answer = unsafe {
            libc::syscall(libc::SYS_recvmsg, socket.as_raw_fd(), &raw mut message.msg_hdr, libc::MSG_DONTWAIT)
        };
        message.msg_len = libc::c_uint::try_from(answer).map_err(|_| last_errno())?;
        Ok(1)
    }

    /// Points header `index` at a buffer that the kernel shall fill.
    fn aim_at(&mut self, index: usize, buffer: &mut [u8]) {
        self.vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        self.aim(index, index..index + 1, NAME_LEN, CONTROL_LEN);
    }

    /// Writes to `received`, of which nothing is known, what is known of the datagram at `index` of the last
    /// [`Self::receive`].
    #[allow(clippy::unnecessary_cast, reason = "the C libraries disagree about the type of this length")]
    pub(super) fn tell(&self, index: usize, received: &mut Received) {
        let message = &self.messages[index];
        let header = &message.msg_hdr;
        received.len = message.msg_len as usize;
        received.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        received.told.meta.from = self.names[index].read(header.msg_namelen as usize);
        received.told.read(&self.controls[index], header.msg_controllen as usize);
    }

    /// Sends each of `datagrams`, together what `segmenting` lets leave as a run. Whatever one of them meets, the others are
    /// sent; `failed` hears the place and the error of each that was not.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = Departing<'a>>,
        segmenting: &mut Segmenting,
        mut failed: impl FnMut(usize, Errno),
    ) {
        let longest = segmenting.longest();
        let mut open: Option<Run<'_>> = None;
        let mut count = 0;
        for (index, one) in datagrams.take(self.len()).enumerate() {
            if !open.as_mut().is_some_and(|run| run.take(&one, longest))
                && let Some(run) = open.replace(Run::new(index, &one))
            {
                self.aim_run(count, &run);
                count += 1;
            }
            let at = open.as_ref().map_or(2 * index, |run| 2 * run.first + (run.count - 1) * run.pieces);
            if one.head.is_empty() {
                self.vectors[at] = to_read(one.bytes);
            } else {
                self.vectors[at] = to_read(one.head);
                self.vectors[at + 1] = to_read(one.bytes);
            }
        }
        if let Some(run) = open {
            self.aim_run(count, &run);
            count += 1;
        }
        self.send_all(socket, count, SEND_RETRIES, &mut failed, |error, len| segmenting.refused(error, len));
    }

    fn aim_run(&mut self, index: usize, run: &Run<'_>) {
        let Heading { to, source, header } = *run.heading;
        let name_len = self.names[index].write(to);
        let alone = self.controls[index].write_departure(to.is_ipv6(), source, header);
        let control_len = match u16::try_from(run.len) {
            Ok(len) if run.count > 1 => self.controls[index].write_segment(alone, len),
            _ => alone,
        };
        let Run { first, count, pieces, len, .. } = *run;
        self.aim(index, 2 * first..2 * first + count * pieces, name_len, control_len);
        self.parts[index] = Part { first, count, pieces, control_len: alone, len };
    }

    /// Sends whole IP packets: for each item the head that `write_head` makes of it, then the bytes, to the address of the
    /// destination. `failed` as in [`Self::send`]. Bytes that find room behind their head are copied there: the kernel pays
    /// more for a second vector.
    pub(super) fn send_packets<'a, T, const N: usize>(
        &mut self,
        socket: BorrowedFd<'_>,
        heads: &mut [[u8; N]],
        packets: impl Iterator<Item = (&'a [u8], IpAddr, T)>,
        mut write_head: impl FnMut(&mut [u8; N], &'a [u8], T) -> usize,
        mut failed: impl FnMut(usize, Errno),
    ) {
        let mut count = 0;
        let most = self.len().min(heads.len());
        for (index, ((bytes, to, item), head)) in packets.take(most).zip(heads.iter_mut()).enumerate() {
            let head_len = write_head(head, bytes, item).min(N);
            let end = head_len + bytes.len();
            let vectors = if let Some(room) = head.get_mut(head_len..end) {
                room.copy_from_slice(bytes);
                self.vectors[2 * index] = to_read(&head[..end]);
                1
            } else {
                self.vectors[2 * index] = to_read(&head[..head_len]);
                self.vectors[2 * index + 1] = to_read(bytes);
                2
            };
            // A port would be taken for a protocol.
            let name_len = self.names[index].write(SocketAddr::new(to, 0));
            self.aim(index, 2 * index..2 * index + vectors, name_len, 0);
            self.parts[index] = Part { first: index, count: 1, pieces: vectors, ..Part::default() };
            count = index + 1;
        }
        self.send_all(socket, count, 0, &mut failed, |_, _| {});
    }

    /// Sends the first `count` headers, however often one of them is refused. `refused` hears of each run that was, and the
    /// length of its datagrams.
    fn send_all(
        &mut self,
        socket: BorrowedFd<'_>,
        count: usize,
        retries: u32,
        failed: &mut impl FnMut(usize, Errno),
        mut refused: impl FnMut(Errno, usize),
    ) {
        let mut done = 0;
        let mut tries = 0;
        while done < count {
            let part = self.parts[done];
            match self.send_from(socket, done, count) {
                Ok(sent) => {
                    done += sent;
                    tries = 0;
                }
                Err(Errno::INTR) => {}
                // It may be the error of an earlier datagram, which is told once, to whoever comes next.
                Err(error) if tries < retries && cmsg::may_be_of_the_past(error) => tries += 1,
                Err(error) if part.count > 1 => {
                    if error != Errno::AGAIN {
                        refused(error, part.len);
                    }
                    self.send_apart(socket, done, retries, failed);
                    done += 1;
                    tries = 0;
                }
                // The socket is full: what follows would meet the same.
                Err(Errno::AGAIN) => {
                    let left = &self.parts[done..count];
                    let places = left.iter().flat_map(|part| part.first..part.first + part.count);
                    return places.for_each(|place| failed(place, Errno::AGAIN));
                }
                Err(error) => {
                    failed(part.first, error);
                    done += 1;
                    tries = 0;
                }
            }
        }
    }

    /// Sends the datagrams of header `index` one by one.
    #[allow(clippy::unnecessary_cast, reason = "the C libraries disagree about the types of these fields")]
    fn send_apart(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
        retries: u32,
        failed: &mut impl FnMut(usize, Errno),
    ) {
        let part = self.parts[index];
        let name_len = self.messages[index].msg_hdr.msg_namelen as usize;
        for (number, place) in (part.first..part.first + part.count).enumerate() {
            let at = 2 * part.first + number * part.pieces;
            self.aim(index, at..at + part.pieces, name_len, part.control_len);
            let mut tries = 0;
            loop {
                match self.send_from(socket, index, index + 1) {
                    Ok(_) => break,
                    Err(Errno::INTR) => {}
                    Err(error) if tries < retries && cmsg::may_be_of_the_past(error) => tries += 1,
                    Err(error) => {
                        failed(place, error);
                        break;
                    }
                }
            }
        }
    }

    /// Sends the headers `from..to`; an error is that of the first of them. Never answers 0.
    fn send_from(&mut self, socket: BorrowedFd<'_>, from: usize, to: usize) -> Result<usize, Errno> {
        let headers = &mut self.messages[from..to];
        if let [one] = headers {
            // SAFETY: as below. One datagram costs the kernel less this way; it may be empty, so that 0 is no failure.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_sendmsg,
                    socket.as_raw_fd(),
                    &raw const one.msg_hdr,
                    libc::MSG_DONTWAIT,
                )
            };
            return if answer < 0 { Err(last_errno()) } else { Ok(1) };
        }
        let wanted = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: `send` and `send_packets`, which alone lead here, aimed these headers at vectors that stay where they are;
        // they point to bytes borrowed for 'a and to heads that the two hold. These, and the name and control of the same
        // index, outlive the call; the kernel reads the bytes and writes only `msg_len`.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_sendmmsg,
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(answer) {
            Ok(0) => Err(Errno::AGAIN),
            Ok(sent) => Ok(sent),
            Err(_) => Err(last_errno()),
        }
    }

    /// Points header `index` at these vectors, and at the name and the control of the same index.
    #[allow(clippy::unnecessary_cast, reason = "the C libraries disagree about the types of these fields")]
    fn aim(&mut self, index: usize, vectors: Range<usize>, name_len: usize, control_len: usize) {
        let header = &mut self.messages[index].msg_hdr;
        let vectors = &mut self.vectors[vectors];
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len() as _;
        header.msg_name = (&raw mut self.names[index].0).cast();
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_control =
            if control_len == 0 { ptr::null_mut() } else { (&raw mut self.controls[index].0).cast() };
        header.msg_controllen = control_len as _;
        header.msg_flags = 0;
    }
}

/// A vector that the kernel only reads.
fn to_read(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Takes one error off the error queue of `socket`, without blocking: where the datagram went that it is about, and
/// what ICMP said of it; `None` in place of what is no ICMP error or names no endpoint.
///
/// # Errors
/// What the kernel says, `Errno::AGAIN` if the queue is empty.
#[allow(clippy::unnecessary_cast, reason = "the C libraries disagree about the types of these fields")]
pub(super) fn receive_icmp(socket: BorrowedFd<'_>) -> Result<Option<(SocketAddr, Icmp)>, Errno> {
    let (mut name, mut control) = (Name::EMPTY, Control::EMPTY);
    // SAFETY: a plain C structure of integers and pointers, for which all zeroes is a valid value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut name.0).cast();
    header.msg_namelen = NAME_LEN as libc::socklen_t;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = CONTROL_LEN as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header names no vector, and a name and a control that are live and as long as it says.
    if unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) } < 0 {
        return Err(last_errno());
    }
    let to = name.read(header.msg_namelen as usize);
    Ok(to.zip(cmsg::read_icmp(&control, header.msg_controllen as usize)))
}

/// Sets a socket option whose value is an `int`.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option_bytes(socket, level, name, &value.to_ne_bytes())
}

/// Sets a socket option whose value is a structure without pointers.
pub(super) fn set_option_bytes(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: the value is live memory that the kernel reads, and its size is told with it.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unmaps the pages of a mapping of a file, of which this process has changed none: who touches one reads the file.
pub(super) fn forget_file_pages(range: Range<usize>) -> io::Result<()> {
    // SAFETY: the caller read of these addresses that they are a private mapping of a file that cannot be written to and
    // has no page of its own, so each page holds again what it held when it is touched.
    let answer = unsafe { libc::madvise(range.start as *mut _, range.len(), libc::MADV_DONTNEED) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The CPU time that all threads of process `pid` have used, those that ended included.
pub(super) fn cpu_time_of(pid: libc::pid_t) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the clock is a live place for one.
    let answer = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if answer != 0 {
        return Err(io::Error::from_raw_os_error(answer));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is a live place for one.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// The addresses of all interfaces that are up, in the kernel's order.
pub(super) fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a live pointer for the answer.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a link of the list that `getifaddrs` made, which is freed only below.
        let this = unsafe { &*entry };
        if this.ifa_flags & libc::IFF_UP as libc::c_uint != 0 && !this.ifa_addr.is_null() {
            // SAFETY: `ifa_addr` is not null, and points to an address of the family that it names.
            addresses.extend(unsafe { ip_of(this.ifa_addr) });
        }
        entry = this.ifa_next;
    }
    // SAFETY: `list` came from `getifaddrs`, is freed once, and nothing of it is kept.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// # Safety
/// `address` points to a socket address as long as its family says.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: every socket address begins with its family.
    let len = match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => NAME_V4_LEN,
        libc::AF_INET6 => NAME_LEN,
        _ => return None,
    };
    let mut name = Name::EMPTY;
    // SAFETY: the caller vouches for `len` readable bytes; `name` has room for both lengths.
    unsafe { ptr::copy_nonoverlapping(address.cast::<u8>(), name.0.as_mut_ptr(), len) };
    name.read(len).map(|address| address.ip())
}

/// Gives this thread alone a network of its own, with nothing in it but a loopback interface that is down.
pub(super) fn leave_network() -> io::Result<()> {
    // SAFETY: the call takes no pointer, and changes where this thread's sockets are made from here on.
    let answer = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the open `/dev/net/tun` an interface of whole IP packets in the network of the thread that opened it.
pub(super) fn become_tun(device: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut request = [0_u8; size_of::<libc::ifreq>()];
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is live memory as long as the structure that this call reads and writes: a name, then flags.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found() {
        let addresses = interface_addresses().expect("the kernel tells");
        assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
    }
}
