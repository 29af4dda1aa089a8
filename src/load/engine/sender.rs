//! Packets of clients: written in place behind their headers, and sent one by one, or as a super-packet where a burst is.

use rustix::io::Errno;

use crate::load::carrier::Parcel;
use crate::load::measure::Meter;
use crate::load::profile::mix;
use crate::net::traffic::SEGMENTS_MAX;
use crate::proto::types::limits::DATAGRAM_MAX;

use super::call::Outgoing;
use super::client::Client;
use super::client::Wire;
use super::path::Path;

/// Room for the largest datagram with its header and padding.
const ROOM: usize = DATAGRAM_MAX + 64;

/// What a thread writes its clients' packets in.
#[derive(Debug)]
pub(super) struct Sender {
    room: Box<[u8]>,
    /// Whether bursts leave as super-packets.
    pub(super) segments: bool,
    /// Counts indications.
    number: u64,
}

impl Sender {
    pub(super) fn new(segments: bool) -> Self {
        let mut room = vec![0; ROOM].into_boxed_slice();
        fill(&mut room);
        Self { room, segments, number: 0 }
    }

    /// Sends a burst of `client` by `path`.
    pub(super) fn send(
        &mut self,
        client: &mut Client,
        path: Path,
        out: &Outgoing,
        now_ns: u64,
        meter: &mut Meter,
    ) {
        let unit = path.head_len() + usize::from(out.burst.bytes);
        let unit = unit + path.tail_len(out.burst.bytes.into());
        let most = DATAGRAM_MAX / unit;
        if most == 0 {
            return meter.unsent(out.burst.due_ns, out.burst.packets);
        }
        let is_cut = self.segments
            && out.burst.packets > 1
            && matches!(client.wire, Wire::Datagrams(_))
            && !matches!(path, Path::Request(..));
        let together = if is_cut { SEGMENTS_MAX.min(most) as u16 } else { 1 };
        let (mut index, mut sent) = (0, 0);
        while index < out.burst.packets {
            let count = together.min(out.burst.packets - index);
            for place in 0..count {
                self.write(usize::from(place) * unit, path, out, index + place);
            }
            let bytes = &self.room[..unit * usize::from(count)];
            match dispatch(client, path, bytes, count, now_ns) {
                Ok(()) => sent += count,
                Err(error) => {
                    // Devices that cannot cut say so when they should.
                    self.segments &=
                        !(count > 1 && matches!(error, Errno::INVAL | Errno::IO | Errno::OPNOTSUPP));
                    if is_own_fault(error) {
                        meter.unsent(out.burst.due_ns, count);
                    } else {
                        sent += count;
                    }
                }
            }
            index += count;
        }
        if let Wire::Line(line) = &mut client.wire {
            // What is wrong with it the next read tells; its packets are lost, and not by the generator.
            let _ = line.flush();
        }
        if sent > 0 {
            meter.sent(out.first.way, out.burst.due_ns, sent, out.burst.bytes, now_ns);
        }
    }

    fn write(&mut self, start: usize, path: Path, out: &Outgoing, index: u16) {
        let (head, bytes) = (path.head_len(), usize::from(out.burst.bytes));
        let message = &mut self.room[start..];
        self.number = self.number.wrapping_add(1);
        path.write_head(&mut message[..head], out.burst.bytes, self.number);
        out.write(index, &mut message[head..head + bytes]);
    }
}

fn dispatch(client: &mut Client, path: Path, bytes: &[u8], count: u16, now_ns: u64) -> Result<(), Errno> {
    if let Path::Request(peer, _) = path {
        client.request(now_ns, peer, bytes);
        return Ok(());
    }
    match &mut client.wire {
        Wire::Datagrams(socket) => {
            let unit = bytes.len() / usize::from(count.max(1));
            // What is shorter than the last burst's packets would not be cut, but what is longer would.
            let segment = if count > 1 { u16::try_from(unit).unwrap_or(0) } else { 0 };
            if count > 1 || socket.segment() != 0 && unit > usize::from(socket.segment()) {
                socket.set_segment(segment).map_err(|_| Errno::OPNOTSUPP)?;
            }
            socket.send(bytes)
        }
        Wire::Line(line) => {
            let parcel =
                if matches!(path, Path::Bare(_)) { Parcel::Data(bytes) } else { Parcel::Message(bytes) };
            // There is no room where the server does not read: such a packet is lost by the server.
            let _ = line.write(parcel);
            Ok(())
        }
        Wire::Gone(_) => Ok(()),
    }
}

/// Whether what the kernel says to a send is the generator's fault, and not the network's or the server's.
pub(super) fn is_own_fault(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::MSGSIZE
            | Errno::INVAL
            | Errno::IO
            | Errno::OPNOTSUPP
    )
}

/// Fills a payload's room with what no middle box can make shorter.
pub(super) fn fill(room: &mut [u8]) {
    for (number, bytes) in (0..).zip(room.chunks_mut(8)) {
        bytes.copy_from_slice(&mix(number).to_ne_bytes()[..bytes.len()]);
    }
}
