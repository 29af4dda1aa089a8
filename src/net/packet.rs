//! Batches of datagrams: memory that is allocated once, filled by one system call and emptied by a few.
//!
//! ```text
//!   slot │ headroom │ datagram … up to 65,507 bytes │ room for padding │
//!        └ a Data indication's header is written here, so the data stays where the kernel put it
//!
//!   landing │ datagram │ datagram │ … │ last │        a run, as a socket brings it that is told to (UDP_GRO)
//!   spread  │ headroom │ datagram │ room │ headroom │ datagram │ room │ …
//!        └ a datagram is copied here once somebody wants room around it; most go on from where they landed
//! ```
//!
//! Slots lie an odd number of cache lines apart. Were it a power of two, the beginnings of all datagrams, which are
//! what is read and written, would compete for the same few lines of the cache.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::proto::types::IpHeader;
use crate::proto::types::limits::DATAGRAM_MAX;
use crate::proto::wire::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;

use super::segment::Segmenting;
use super::sys::Headers;
use super::sys::Received;

const CACHE_LINE: usize = 64;
const HEADROOM: usize = DATA_HEADER_MAX.next_multiple_of(CACHE_LINE);
const STRIDE: usize = {
    let lines = (HEADROOM + DATAGRAM_MAX + DATA_PADDING_MAX).div_ceil(CACHE_LINE);
    (lines | 1) * CACHE_LINE
};

/// Runs that one call may bring.
pub const RUNS_MAX: usize = 8;
/// The longest run, and the datagrams that one may have: what the kernel puts together at the most.
const LANDING: usize = 65_536;
const OF_RUN_MAX: usize = 128;
/// Room for a run whose datagrams lie apart.
const SPREAD: usize = LANDING + OF_RUN_MAX * (HEADROOM + 2 * CACHE_LINE);

const _: () = assert!(DATA_PADDING_MAX <= CACHE_LINE);
const _: () = assert!(HEADROOM >= DATA_HEADER_MAX);
const _: () = assert!(STRIDE >= HEADROOM + DATAGRAM_MAX + DATA_PADDING_MAX);
const _: () = assert!((STRIDE / CACHE_LINE) % 2 == 1);

/// What is known beside its bytes of a datagram, or of all datagrams of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Where from; `None` if the kernel named no IP endpoint.
    pub from: Option<SocketAddr>,
    /// The destination address in the datagram's header and the index of the interface it came by, where the
    /// socket asks for it.
    pub destination: Option<(IpAddr, u32)>,
    /// The fields of its IP header.
    pub header: IpHeader,
    /// When the kernel took it in, as time since 1970, where the socket asks for it.
    pub arrived: Option<Duration>,
    /// The relayed address that it was sent to, where it came to a socket that receives for many
    /// ([`super::SharedSocket`]).
    pub meant_for: Option<SocketAddr>,
}

/// What one call of [`Batch::receive`] brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The places of the datagrams in the batch.
    pub places: Range<usize>,
    /// How many datagrams the socket had lost for want of room when the last of these was stored, since it was made
    /// and modulo 2^32; `None` if the kernel did not say.
    pub lost: Option<u32>,
    /// How many of the datagrams came in runs of [`RUN_MIN`] or more: put together by the kernel, or where it was not told
    /// to, one behind the other from one sender and of one length.
    pub in_runs: usize,
    /// As many came as were asked for: there may be more.
    pub is_full: bool,
}

/// Datagrams that make a run worth its while.
pub const RUN_MIN: usize = 4;

/// A batch of received datagrams, filled from one socket or from several in turn.
pub struct Batch {
    /// The slots; behind them, the spread.
    memory: Box<[u8]>,
    /// Where runs land; memory only once there are some.
    landing: Box<[u8]>,
    headers: Headers,
    /// Of each datagram, or of each run.
    received: Vec<Received>,
    stored: Vec<Stored>,
    slots_used: usize,
    landing_used: usize,
    spread_used: usize,
}

/// A datagram in the memory of a batch.
#[derive(Clone, Copy)]
struct Stored {
    /// Where the room around it begins and ends.
    start: usize,
    end: usize,
    len: u32,
    /// The place of what is known of it; those of one run share it.
    meta: u32,
    /// Where in the landing it still is.
    landed: Option<u32>,
    truncated: bool,
}

impl Batch {
    /// Room for `slots` datagrams, and for [`RUNS_MAX`] runs. The kernel gives it memory only as datagrams come.
    ///
    /// # Panics
    /// If `slots` is 0, which is the caller's bug.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        assert!(slots > 0, "a batch without slots receives nothing");
        Self {
            memory: vec![0; slots * STRIDE + RUNS_MAX * SPREAD].into(),
            landing: Box::default(),
            headers: Headers::new(slots),
            received: Vec::with_capacity(slots),
            stored: Vec::with_capacity(slots),
            slots_used: 0,
            landing_used: 0,
            spread_used: 0,
        }
    }

    /// Forgets all datagrams.
    pub fn clear(&mut self) {
        self.stored.clear();
        self.received.clear();
        (self.slots_used, self.landing_used, self.spread_used) = (0, 0, 0);
    }

    /// Datagrams that are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Datagrams that there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.headers.len() - self.slots_used
    }

    /// Runs that there is room for.
    #[must_use]
    pub fn room_for_runs(&self) -> usize {
        let spread = (RUNS_MAX * SPREAD - self.spread_used) / SPREAD;
        let landing = (RUNS_MAX * LANDING - self.landing_used) / LANDING;
        spread.min(landing).min(self.headers.len())
    }

    /// Whether there is room for one more of either.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let spread = self.spread_used <= (RUNS_MAX - 1) * SPREAD;
        let landing = self.landing_used <= (RUNS_MAX - 1) * LANDING;
        spread && landing && self.slots_used < self.headers.len()
    }

    /// Adds what waits at `socket`, at most `max` datagrams and at most [`Self::room`], without blocking. From a socket that
    /// brings runs ([`super::udp::set_runs`]) a run would come as one datagram.
    ///
    /// # Errors
    /// What the kernel says, `Errno::AGAIN` if nothing waits. An error that an earlier datagram caused is told once
    /// and takes nothing from those that wait.
    pub fn receive(&mut self, socket: impl AsFd, max: usize) -> Result<Arrived, Errno> {
        let first = self.stored.len();
        let max = max.min(self.room());
        let free = &mut self.memory[self.slots_used * STRIDE..];
        let of_slot = HEADROOM..HEADROOM + DATAGRAM_MAX;
        let count = if max == 1 {
            self.headers.receive_one(socket.as_fd(), &mut free[of_slot])?
        } else {
            let slots = free.chunks_exact_mut(STRIDE).take(max);
            self.headers.receive(socket.as_fd(), slots.map(|slot| &mut slot[of_slot.clone()]))?
        };
        let mut lost = None;
        for index in 0..count {
            let meta = self.received.len();
            self.received.push(Received::default());
            let received = &mut self.received[meta];
            self.headers.tell(index, received);
            lost = received.told.lost.or(lost);
            let start = (self.slots_used + index) * STRIDE;
            self.stored.push(Stored {
                start,
                end: start + STRIDE,
                len: received.len.min(DATAGRAM_MAX) as u32,
                meta: meta as u32,
                landed: None,
                truncated: received.truncated,
            });
        }
        self.slots_used += count;
        let places = first..first + count;
        Ok(Arrived { in_runs: self.in_runs(places.clone()), places, lost, is_full: count == max })
    }

    /// Adds what waits at `socket`, which brings runs, at most `max` of them and at most [`Self::room_for_runs`], without
    /// blocking: each datagram of a run has a place of its own.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_runs(&mut self, socket: impl AsFd, max: usize) -> Result<Arrived, Errno> {
        if self.landing.is_empty() {
            self.landing = vec![0; RUNS_MAX * LANDING].into();
        }
        let first = self.stored.len();
        let max = max.min(self.room_for_runs());
        let from = self.landing_used;
        let free = &mut self.landing[from..];
        let count = if max == 1 {
            self.headers.receive_one(socket.as_fd(), &mut free[..LANDING])?
        } else {
            self.headers.receive(socket.as_fd(), free.chunks_exact_mut(LANDING).take(max))?
        };
        let (mut lost, mut in_runs) = (None, 0);
        for index in 0..count {
            let mut received = Received::default();
            self.headers.tell(index, &mut received);
            lost = received.told.lost.or(lost);
            let before = self.stored.len();
            self.land(from + index * LANDING, received);
            let datagrams = self.stored.len() - before;
            in_runs += if datagrams >= RUN_MIN { datagrams } else { 0 };
        }
        Ok(Arrived { places: first..self.stored.len(), lost, in_runs, is_full: count == max })
    }

    /// Takes the run apart that begins at `at` of the landing. What follows on more datagrams than any kernel puts together is
    /// one, and is said to be truncated; so is the last one of a run that was longer than the landing.
    fn land(&mut self, at: usize, received: Received) {
        let run_end = at + received.len.min(LANDING);
        let segment = received.told.segment.unwrap_or(LANDING).clamp(1, DATAGRAM_MAX);
        let meta = self.received.len() as u32;
        self.received.push(received);
        self.landing_used = run_end.next_multiple_of(CACHE_LINE);
        let mut from = at;
        for number in 1..=OF_RUN_MAX {
            let len = segment.min(run_end - from);
            let is_last = from + len == run_end;
            let start = self.headers.len() * STRIDE + self.spread_used;
            let end = (start + HEADROOM + len + DATA_PADDING_MAX).next_multiple_of(CACHE_LINE);
            self.spread_used += end - start;
            let truncated = if is_last { received.truncated } else { number == OF_RUN_MAX };
            let landed = Some(from as u32);
            self.stored.push(Stored { start, end, len: len as u32, meta, landed, truncated });
            if is_last {
                break;
            }
            from += len;
        }
    }

    /// How many of these stand in runs.
    fn in_runs(&self, places: Range<usize>) -> usize {
        if places.len() < RUN_MIN {
            return 0;
        }
        let from = |stored: &Stored| self.received[stored.meta as usize].told.meta.from;
        self.stored[places]
            .chunk_by(|one, next| one.len == next.len && from(one) == from(next))
            .map(<[_]>::len)
            .filter(|len| *len >= RUN_MIN)
            .sum()
    }

    /// What is known of the datagram at `place`.
    ///
    /// # Panics
    /// If there is none, which is the caller's bug; so for all that takes a place.
    #[must_use]
    pub fn meta(&self, place: usize) -> &Meta {
        &self.received[self.stored[place].meta as usize].told.meta
    }

    /// The datagram at `place` was longer than its slot: its rest is lost.
    #[must_use]
    pub fn is_truncated(&self, place: usize) -> bool {
        self.stored[place].truncated
    }

    /// Whether the datagram at `place` is still where its run landed: nobody has asked for room around it.
    #[must_use]
    pub fn has_landed(&self, place: usize) -> bool {
        self.stored[place].landed.is_some()
    }

    /// Those of `places` that came with the first of them in one run and share what is known of them; itself, if it came
    /// alone. Empty only if there are none.
    #[must_use]
    pub fn run_of(&self, places: Range<usize>) -> Range<usize> {
        let of = |place: usize| self.stored[place].meta;
        let end = places.clone().find(|place| of(*place) != of(places.start)).unwrap_or(places.end);
        places.start..end
    }

    /// The datagram at `place`.
    #[must_use]
    pub fn datagram(&self, place: usize) -> &[u8] {
        self.bytes(place, self.payload(place))
    }

    /// Bytes of the slot at `place`, as [`Self::slot_mut`] counts them.
    #[must_use]
    pub fn bytes(&self, place: usize, range: Range<usize>) -> &[u8] {
        let Stored { start, end, len, landed, .. } = self.stored[place];
        match landed {
            None => &self.memory[start..end][range],
            Some(landed) => {
                &self.landing[landed as usize..][..len as usize][range.start - HEADROOM..range.end - HEADROOM]
            }
        }
    }

    /// The whole slot at `place`, with the room around the datagram, and where the datagram stands in it.
    #[must_use]
    pub fn slot_mut(&mut self, place: usize) -> (&mut [u8], Range<usize>) {
        let payload = self.payload(place);
        let Stored { start, end, landed, .. } = &mut self.stored[place];
        let slot = &mut self.memory[*start..*end];
        if let Some(landed) = landed.take() {
            slot[payload.clone()].copy_from_slice(&self.landing[landed as usize..][..payload.len()]);
        }
        (slot, payload)
    }

    /// Where in the slot at `place` the bytes `part` stand, which are a part of [`Self::datagram`].
    #[must_use]
    pub fn range_of(&self, place: usize, part: &[u8]) -> Range<usize> {
        let payload = self.payload(place);
        let datagram = self.datagram(place);
        let offset = part.as_ptr().addr().wrapping_sub(datagram.as_ptr().addr());
        debug_assert!(part.is_empty() || offset + part.len() <= datagram.len(), "a part of another datagram");
        // An empty part may point anywhere; and what is no part is nothing rather than somebody else's bytes.
        let start = payload.start + offset.min(payload.len());
        start..(start + part.len()).min(payload.end)
    }

    /// Where the datagram at `place` stands in its slot.
    #[must_use]
    pub fn payload(&self, place: usize) -> Range<usize> {
        HEADROOM..HEADROOM + self.stored[place].len as usize
    }
}

/// Where a datagram goes and what it is told on its way: the same for all of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Where to.
    pub to: SocketAddr,
    /// The address to leave from, and the index of the interface or 0, where the socket has more than one.
    pub source: Option<(IpAddr, u32)>,
    /// The fields of its IP header. That an IPv4 datagram must leave whole is the socket's to say
    /// ([`super::RelaySocket::set_whole`]).
    pub header: IpHeader,
}

impl Heading {
    /// That of a datagram which asks for nothing but to go `to` there.
    #[must_use]
    pub fn to(to: SocketAddr) -> Self {
        Self { to, source: None, header: IpHeader::default() }
    }
}

/// A datagram that shall be sent.
#[derive(Clone, Copy, Debug)]
pub struct Departing<'a> {
    /// What stands in front of its bytes, if it stands elsewhere.
    pub head: &'a [u8],
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where to, and how.
    pub heading: &'a Heading,
}

impl<'a> Departing<'a> {
    /// One whose bytes stand together.
    #[must_use]
    pub const fn new(bytes: &'a [u8], heading: &'a Heading) -> Self {
        Self { head: &[], bytes, heading }
    }
}

/// What it takes to send several datagrams with one call.
pub struct Sender {
    headers: Headers,
    segmenting: Segmenting,
}

impl Sender {
    /// Sends up to `count` datagrams with one call.
    ///
    /// # Panics
    /// If `count` is 0, which is the caller's bug.
    #[must_use]
    pub fn new(count: usize) -> Self {
        assert!(count > 0, "a sender without headers sends nothing");
        Self { headers: Headers::new(count), segmenting: Segmenting::new() }
    }

    /// The same, from which every datagram leaves by itself.
    ///
    /// # Panics
    /// If `count` is 0, which is the caller's bug.
    #[must_use]
    pub fn one_by_one(count: usize) -> Self {
        Self { segmenting: Segmenting::never(), ..Self::new(count) }
    }

    /// Sends every one of `departing` from `socket`, without blocking, those that follow one another to one destination with
    /// one header as runs. Whatever one of them meets, the others are sent; `failed` hears the place in `departing` and the
    /// error of each that was not.
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        departing: impl Iterator<Item = Departing<'a>>,
        mut failed: impl FnMut(usize, Errno),
    ) {
        let count = self.headers.len();
        let mut departing = departing.peekable();
        let mut base = 0;
        while departing.peek().is_some() {
            let part = departing.by_ref().take(count);
            self.headers.send(socket.as_fd(), part, &mut self.segmenting, |index, error| {
                failed(base + index, error);
            });
            base += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::sys;
    use super::super::udp;
    use super::*;

    fn socket(address: &str) -> UdpSocket {
        let socket = UdpSocket::bind(address).expect("a socket on loopback");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket
    }

    fn address(socket: &UdpSocket) -> SocketAddr {
        socket.local_addr().expect("it is bound")
    }

    fn to(socket: &UdpSocket) -> Heading {
        Heading::to(address(socket))
    }

    fn elsewhere() -> Heading {
        Heading::to("[::1]:9".parse().expect("a literal"))
    }

    #[test]
    fn a_batch_holds_what_several_sockets_received_in_order_with_room_around_it() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let (one, two, from) = (socket(loopback), socket(loopback), socket(loopback));
            for (to, bytes) in [(&one, &b"first"[..]), (&one, b""), (&two, b"third")] {
                from.send_to(bytes, address(to)).expect("sent");
            }
            let mut batch = Batch::new(8);
            assert_eq!(batch.receive(&one, 8).expect("received").places, 0..2);
            assert_eq!(batch.receive(&two, 8).expect("received").places, 2..3);
            assert_eq!(batch.receive(&two, 8), Err(Errno::AGAIN));
            let datagrams: Vec<_> = (0..batch.len()).map(|place| batch.datagram(place)).collect();
            assert_eq!(datagrams, [&b"first"[..], b"", b"third"]);
            assert_eq!(
                *batch.meta(2),
                Meta {
                    from: Some(address(&from)),
                    destination: None,
                    header: IpHeader::default(),
                    arrived: None,
                    meant_for: None
                }
            );
            let (slot, payload) = batch.slot_mut(2);
            assert!(payload.start >= DATA_HEADER_MAX && payload.end + DATA_PADDING_MAX <= slot.len());
            slot[payload.start - 2..payload.start].copy_from_slice(b"# ");
            assert_eq!(batch.bytes(2, payload.start - 2..payload.end), b"# third");
            batch.clear();
            assert_eq!((batch.len(), batch.room()), (0, 8));
        }
    }

    #[test]
    fn a_part_of_a_datagram_is_found_in_its_slot() {
        let (to, from) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        from.send_to(b"....data..", address(&to)).expect("sent");
        let mut batch = Batch::new(1);
        batch.receive(&to, 1).expect("received");
        let datagram = batch.datagram(0);
        for part in [&datagram[4..8], datagram, &datagram[..0], &datagram[10..], &[]] {
            let range = batch.range_of(0, part);
            assert_eq!(batch.bytes(0, range), part);
        }
    }

    #[test]
    fn no_more_is_received_than_there_is_room_for_and_nothing_is_lost_by_it() {
        let (to, from) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        for number in 0..5_u8 {
            from.send_to(&[number], address(&to)).expect("sent");
        }
        let mut batch = Batch::new(3);
        assert_eq!(batch.receive(&to, 2).expect("received").places, 0..2);
        assert_eq!(batch.receive(&to, 9).expect("received").places, 2..3);
        batch.clear();
        assert_eq!(batch.receive(&to, 9).expect("received").places, 0..2);
        assert_eq!((batch.datagram(0), batch.datagram(1)), (&[3][..], &[4][..]));
    }

    #[test]
    fn a_datagram_that_is_longer_than_a_slot_says_so_and_does_not_touch_the_next() {
        let (to, from) = (socket("[::1]:0"), socket("[::1]:0"));
        // IPv6 carries 65,527 bytes, twenty more than IPv4.
        let long = vec![0xEE; DATAGRAM_MAX + 20];
        let mut batch = Batch::new(2);
        // One by one: a socket's receive buffer need not hold two of this length.
        for bytes in [&long[..], &long[..DATAGRAM_MAX]] {
            from.send_to(bytes, address(&to)).expect("sent");
            batch.receive(&to, 1).expect("received");
        }
        assert_eq!((batch.is_truncated(0), batch.payload(0).len()), (true, DATAGRAM_MAX));
        assert_eq!((batch.is_truncated(1), batch.payload(1).len()), (false, DATAGRAM_MAX));
        let (slot, payload) = batch.slot_mut(1);
        assert!(slot[..payload.start].iter().all(|byte| *byte == 0), "the headroom was written to");
    }

    #[test]
    fn datagrams_of_a_batch_leave_for_their_own_destinations_in_order() {
        let (from, one, two) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let datagrams: Vec<_> = (0..10_u8).map(|number| [number; 3]).collect();
        let mut sender = Sender::new(4);
        let headings = [to(&one), to(&two)];
        let all = datagrams.iter().map(|bytes| Departing::new(bytes, &headings[usize::from(bytes[0] % 2)]));
        sender.send(&from, all, |place, error| panic!("{place}: {error}"));
        let mut buffer = [0; 8];
        for number in 0..10_u8 {
            let to = if number.is_multiple_of(2) { &one } else { &two };
            let (len, whence) = to.recv_from(&mut buffer).expect("it came");
            assert_eq!((&buffer[..len], whence), (&[number; 3][..], address(&from)));
        }
    }

    #[test]
    fn a_run_lands_apart_each_datagram_with_room_around_it_and_the_socket_may_also_bring_single_ones() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let (to, from) = (socket(loopback), socket(loopback));
            assert!(udp::set_runs(&to, true).expect("the kernel knows how"));
            let bytes: Vec<_> = (0..250_u8).collect();
            let mut sender = Sender::new(16);
            let heading = Heading::to(address(&to));
            let run = bytes.chunks(100).map(|bytes| Departing::new(bytes, &heading));
            sender.send(&from, run, |place, error| panic!("{place}: {error}"));
            from.send_to(b"alone", address(&to)).expect("sent");
            from.send_to(b"", address(&to)).expect("sent");
            let mut batch = Batch::new(4);
            let arrived = batch.receive_runs(&to, RUNS_MAX).expect("received");
            assert_eq!(arrived, Arrived { places: 0..5, lost: None, in_runs: 0, is_full: false });
            let datagrams: Vec<_> = (0..5).map(|place| batch.datagram(place)).collect();
            assert_eq!(datagrams, [&bytes[..100], &bytes[100..200], &bytes[200..], b"alone", b""]);
            for place in 0..5 {
                let (slot, payload) = batch.slot_mut(place);
                assert!(payload.start >= DATA_HEADER_MAX && payload.end + DATA_PADDING_MAX <= slot.len());
                slot[payload.end..].fill(0xEE);
                slot[..payload.start].fill(0xEE);
            }
            assert_eq!(batch.datagram(1), &bytes[100..200]);
            assert_eq!((batch.meta(1).from, batch.room()), (Some(address(&from)), 4));
            let runs = [0, 1, 3, 4].map(|first| batch.run_of(first..5));
            assert_eq!(runs, [0..3, 1..3, 3..4, 4..5]);
            assert_eq!((batch.run_of(0..2), batch.run_of(2..2)), (0..2, 2..2));
            batch.clear();
            assert_eq!(batch.room_for_runs(), 4);
        }
    }

    #[test]
    fn runs_are_known_by_sender_and_length_and_those_that_were_put_together_alone_count_where_they_can_be() {
        let (to, one, two) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let send_all = || {
            for (from, len, count) in [(&one, 9, 4), (&two, 9, 3), (&two, 8, 5), (&one, 8, 1)] {
                (0..count).for_each(|_| _ = from.send_to(&[1; 9][..len], address(&to)).expect("sent"));
            }
        };
        let mut batch = Batch::new(64);
        send_all();
        assert_eq!(batch.receive(&to, 64).expect("received").in_runs, 9);
        udp::set_runs(&to, true).expect("the kernel knows how");
        send_all();
        assert_eq!(batch.receive_runs(&to, RUNS_MAX).expect("received").in_runs, 0);
    }

    #[test]
    fn a_batch_has_room_until_each_slot_has_its_datagram() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let mut batch = Batch::new(2);
        for left in [2, 1] {
            assert!(batch.has_room() && batch.room() == left);
            from.send_to(b"x", address(&to)).expect("sent");
            batch.receive(&to, 1).expect("received");
        }
        assert!(!batch.has_room() && batch.room() == 0);
        batch.clear();
        assert!(batch.has_room());
    }

    #[test]
    fn more_than_any_kernel_puts_together_is_no_panic_and_nothing_is_taken_for_a_datagram_that_is_none() {
        let mut batch = Batch::new(1);
        batch.landing = vec![7; RUNS_MAX * LANDING].into();
        let received = |len, segment, truncated| {
            let mut received = Received { len, truncated, ..Received::default() };
            received.told.segment = Some(segment);
            received
        };
        batch.land(0, received(LANDING, 1, false));
        assert_eq!(batch.len(), OF_RUN_MAX);
        assert!(batch.has_room());
        let is_whole = |batch: &Batch, place| !batch.is_truncated(place);
        assert!((0..OF_RUN_MAX - 1).all(|place| is_whole(&batch, place)));
        assert!(!is_whole(&batch, OF_RUN_MAX - 1));
        for (len, segment, truncated) in
            [(LANDING, 700, true), (LANDING, usize::MAX, true), (LANDING, LANDING / 127, false)]
        {
            batch.clear();
            (0..RUNS_MAX).for_each(|index| batch.land(index * LANDING, received(len, segment, truncated)));
            assert!(batch.spread_used <= RUNS_MAX * SPREAD && batch.landing_used <= RUNS_MAX * LANDING);
            assert_eq!(batch.has_room(), batch.room_for_runs() > 0);
            (0..batch.len())
                .for_each(|place| assert!(batch.slot_mut(place).0.len() >= batch.payload(place).end));
            assert_eq!(is_whole(&batch, batch.len() - 1), !truncated);
        }
    }

    #[test]
    fn what_the_kernel_refuses_as_a_run_leaves_one_by_one_and_is_remembered() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        // Without checksums there are no runs.
        sys::set_option(from.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).expect("an option of UDP");
        let mut sender = Sender::new(8);
        assert_eq!(sender.segmenting.longest(), usize::MAX);
        let datagrams: Vec<_> = (0..20_u8).map(|number| [number; 30]).collect();
        for _ in 0..3 {
            let heading = Heading::to(address(&to));
            let run = datagrams.iter().map(|bytes| Departing::new(bytes, &heading));
            sender.send(&from, run, |place, error| panic!("{place}: {error}"));
            let mut buffer = [0; 99];
            for number in 0..20 {
                let len = to.recv(&mut buffer).expect("it came");
                assert_eq!(buffer[..len], [number; 30]);
            }
        }
        assert_eq!(sender.segmenting.longest(), 29);
    }

    #[test]
    fn what_stands_in_two_pieces_arrives_as_one_alone_in_a_run_and_where_the_kernel_refuses_the_run() {
        for has_runs in [true, false] {
            let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
            // Without checksums there are no runs.
            let no_check = i32::from(!has_runs);
            sys::set_option(from.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, no_check).expect("an option");
            let heading = Heading::to(address(&to));
            let whole: Vec<_> = (0..30_u8).map(|number| [number; 34]).collect();
            // Runs of whole ones and of such in two pieces, and single ones of each, all of one length.
            let is_whole = |number: u8| matches!(number, 3..8 | 15 | 17..20);
            let all = whole.iter().map(|bytes| {
                let (head, bytes) = bytes.split_at(if is_whole(bytes[0]) { 0 } else { 4 });
                Departing { head, bytes, heading: &heading }
            });
            Sender::new(13).send(&from, all, |place, error| panic!("{place}: {error}"));
            let mut buffer = [0; 99];
            for expected in &whole {
                let len = to.recv(&mut buffer).expect("it came");
                assert_eq!(buffer[..len], *expected, "{has_runs}");
            }
        }
    }

    #[test]
    fn a_datagram_leaves_from_where_its_run_landed_until_room_is_wanted_around_it() {
        let (to, from) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        udp::set_runs(&to, true).expect("the kernel knows how");
        let heading = Heading::to(address(&to));
        let mut batch = Batch::new(16);
        // One run after the other, from one socket or several, lands behind the other.
        for round in 0..3_u8 {
            let run: Vec<_> = (0..8_u8).map(|number| [10 * round + number; 40]).collect();
            let departing = run.iter().map(|bytes| Departing::new(bytes, &heading));
            Sender::new(8).send(&from, departing, |place, error| panic!("{place}: {error}"));
            batch.receive_runs(&to, 1).expect("received");
        }
        assert_eq!(batch.len(), 24);
        for place in [3, 9, 23] {
            assert!(batch.has_landed(place));
            let (slot, payload) = batch.slot_mut(place);
            slot[payload.start - 4..payload.start].fill(0xEE);
            assert!(!batch.has_landed(place));
        }
        for place in 0..24 {
            let number = (10 * (place / 8) + place % 8) as u8;
            assert_eq!(batch.datagram(place), [number; 40], "{place}");
            assert_eq!(batch.bytes(place, batch.payload(place)), [number; 40], "{place}");
        }
    }

    #[test]
    fn each_of_a_run_that_can_go_nowhere_is_named() {
        let from = socket("127.0.0.1:0");
        let to = socket("127.0.0.1:0");
        let (here, elsewhere) = (Heading::to(address(&to)), elsewhere());
        let all: [(&[u8], _); 4] = [(b"ab", &here), (b"ab", &elsewhere), (b"a", &elsewhere), (b"cd", &here)];
        let all = all.into_iter().map(|(bytes, heading)| Departing::new(bytes, heading));
        let mut failures = Vec::new();
        Sender::new(8).send(&from, all, |place, error| failures.push((place, error)));
        assert_eq!(failures, [(1, Errno::AFNOSUPPORT), (2, Errno::AFNOSUPPORT)]);
        let mut buffer = [0; 8];
        for expected in [b"ab", b"cd"] {
            let len = to.recv(&mut buffer).expect("it came");
            assert_eq!(&buffer[..len], expected);
        }
    }

    #[test]
    fn one_that_cannot_be_sent_is_named_and_the_others_leave() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let long = vec![0; DATAGRAM_MAX + 1];
        let (here, elsewhere) = (Heading::to(address(&to)), elsewhere());
        let all: [(&[u8], _); 6] = [
            (b"a", &here),
            (&long, &here),
            (b"b", &here),
            (b"c", &elsewhere),
            (b"d", &elsewhere),
            (b"e", &here),
        ];
        let all = all.into_iter().map(|(bytes, heading)| Departing::new(bytes, heading));
        let mut failures = Vec::new();
        Sender::new(8).send(&from, all, |place, error| failures.push((place, error)));
        assert_eq!(failures, [(1, Errno::MSGSIZE), (3, Errno::AFNOSUPPORT), (4, Errno::AFNOSUPPORT)]);
        let mut buffer = [0; 8];
        for expected in [b"a", b"b", b"e"] {
            let len = to.recv(&mut buffer).expect("it came");
            assert_eq!(&buffer[..len], expected);
        }
    }
}
