//! The far ends of calls that are in this process and no clients: one unconnected socket of a thread for all its calls.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;

use crate::load::machine::Ports;
use crate::load::measure::Meter;
use crate::load::payload::Way;
use crate::load::profile::Burst;
use crate::net::Departing;
use crate::net::Heading;
use crate::net::Sender;
use crate::net::TrafficSocket;
use crate::net::traffic::SEGMENTS_MAX;
use crate::proto::types::limits::DATAGRAM_MAX;

use super::call::Outgoing;
use super::sender::is_own_fault;

/// Datagrams, or super-packets, of one system call.
const BATCH: usize = 64;
/// Bytes that wait for it at the most.
const ARENA: usize = 4 * DATAGRAM_MAX;
/// Receive and send buffer: all calls of a thread share it.
pub(super) const PEER_BUFFER: usize = 16 << 20;

/// The peers of one thread.
pub(super) struct Peers {
    pub(super) socket: TrafficSocket,
    /// What the socket has lost for want of room.
    pub(super) dropped: u32,
    sender: Sender,
    arena: Box<[u8]>,
    used: usize,
    waiting: Vec<Waiting>,
    /// What the longer of those that wait are cut into; 0: none of them is.
    segment: u16,
    /// The longest that waits and is not to be cut.
    longest: u16,
    /// What the socket cuts longer ones into.
    set: u16,
    /// Places of those that could not leave.
    unsent: Vec<usize>,
}

/// What waits to leave.
#[derive(Debug)]
struct Waiting {
    range: Range<usize>,
    heading: Heading,
    burst: Burst,
    packets: u16,
}

impl Peers {
    /// Opens the socket at `ip`, one that takes runs if it shall.
    pub(super) fn open(ip: IpAddr, ports: &mut Ports, takes_runs: bool) -> io::Result<Self> {
        let mut socket = ports.open_from(ip, |local| TrafficSocket::open(local, None, PEER_BUFFER))?;
        if takes_runs {
            socket.take_runs()?;
        }
        let mut arena = vec![0; ARENA].into_boxed_slice();
        super::sender::fill(&mut arena);
        Ok(Self {
            socket,
            dropped: 0,
            sender: Sender::new(BATCH),
            arena,
            used: 0,
            waiting: Vec::with_capacity(BATCH),
            segment: 0,
            longest: 0,
            set: 0,
            unsent: Vec::new(),
        })
    }

    /// Has a burst leave to `to`, as super-packets if `segments`; what waits leaves when there is much of it.
    pub(super) fn push(
        &mut self,
        out: &Outgoing,
        to: SocketAddr,
        segments: bool,
        now_ns: u64,
        meter: &mut Meter,
    ) {
        let (bytes, packets) = (usize::from(out.burst.bytes), out.burst.packets);
        if bytes > DATAGRAM_MAX {
            return meter.unsent(out.burst.due_ns, packets);
        }
        let together = if segments && packets > 1 {
            SEGMENTS_MAX.min(DATAGRAM_MAX / bytes.max(1)).max(1) as u16
        } else {
            1
        };
        let mut index = 0;
        while index < packets {
            let count = together.min(packets - index);
            let room = self.room(bytes * usize::from(count), out.burst.bytes, count, now_ns, meter);
            for place in 0..count {
                let start = room.start + usize::from(place) * bytes;
                out.write(index + place, &mut self.arena[start..start + bytes]);
            }
            self.waiting.push(Waiting {
                range: room,
                heading: Heading::to(to),
                burst: out.burst,
                packets: count,
            });
            index += count;
        }
    }

    /// Room for what shall leave with the same call as what waits; else what waits leaves first.
    fn room(&mut self, len: usize, bytes: u16, count: u16, now_ns: u64, meter: &mut Meter) -> Range<usize> {
        let would_be_cut = if count > 1 {
            self.longest > bytes || (self.segment != 0 && self.segment != bytes)
        } else {
            self.segment != 0 && bytes > self.segment
        };
        if would_be_cut || self.waiting.len() == BATCH || self.used + len > ARENA {
            self.flush(now_ns, meter);
        }
        if count > 1 {
            self.segment = bytes;
        } else {
            self.longest = self.longest.max(bytes);
        }
        let start = self.used;
        self.used += len;
        start..start + len
    }

    /// Lets all leave that waits.
    pub(super) fn flush(&mut self, now_ns: u64, meter: &mut Meter) {
        if self.waiting.is_empty() {
            return;
        }
        let must_set = if self.segment == 0 {
            self.set != 0 && self.longest > self.set
        } else {
            self.set != self.segment
        };
        if must_set && self.socket.set_segment(self.segment).is_ok() {
            self.set = self.segment;
        }
        let Self { socket, sender, arena, waiting, unsent, .. } = self;
        let departing = waiting.iter().map(|each| Departing::new(&arena[each.range.clone()], &each.heading));
        sender.send(&*socket, departing, |place, error| {
            if is_own_fault(error) {
                unsent.push(place);
            }
        });
        for place in unsent.drain(..) {
            if let Some(each) = waiting.get_mut(place) {
                meter.unsent(each.burst.due_ns, each.packets);
                each.packets = 0;
            }
        }
        for each in waiting.drain(..).filter(|each| each.packets > 0) {
            meter.sent(Way::Down, each.burst.due_ns, each.packets, each.burst.bytes, now_ns);
        }
        (self.used, self.segment, self.longest) = (0, 0, 0);
    }
}
