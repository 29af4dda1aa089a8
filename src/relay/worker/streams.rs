//! Clients' connections: another kind of door. Their frames go the way of datagrams.

use crate::net::Events;
use crate::net::Heading;
use crate::net::Received;
use crate::net::Token;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::forward;
use crate::proto::media::from_stream;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::StreamId;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::connection;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame_in;
use crate::relay::Report;
use crate::relay::egress::Bytes;
use crate::relay::stats::StreamEnd;
use crate::relay::streams::idle_until;

use super::BATCH;
use super::Worker;
use super::departure_to;
use super::hand_up;

/// Connections taken in during a round.
const ARRIVALS_BUDGET: usize = 64;
/// Reads of one connection in a round.
const READS: usize = 4;
/// Room for a frame of which all but one byte was there, and for what one read brings on top.
pub(super) const INBOUND: usize = limits::STREAM_FRAME_MAX + limits::STREAM_READ_MAX;
/// How often is looked for connections that have done nothing of use for too long.
pub(super) const SWEEP_MS: u64 = 1_000;

/// The connection whose bytes are looked at.
#[derive(Clone, Copy)]
struct Whose {
    id: StreamId,
    from: FiveTuple,
    dialect: Dialect,
}

/// How far the bytes of a connection came.
enum Judged {
    /// The frames up to here are done with; the rest is the beginning of one.
    UpTo(usize),
    /// The frame here is a request that finds no room.
    NoRoom(usize),
    /// No frame begins here.
    Broken,
}

impl Worker<'_> {
    /// One round of everything that connections ask for.
    pub(super) fn serve_streams(&mut self, events: &Events) {
        self.take_in_streams();
        self.hear_streams(events);
        self.unpark_streams();
        self.slot.streams.at_work = None;
        // Here too, for a worker may hear connections alone.
        self.tell_arrivals();
        self.sweep_streams();
        self.obey();
    }

    /// Connections that the listening task hands over. Their first bytes are worked off before anything is waited for.
    fn take_in_streams(&mut self) {
        for _ in 0..ARRIVALS_BUDGET {
            let Some(arriving) = self.slot.arriving.pop() else { return };
            let slot = &mut *self.slot;
            let tick = slot.tick();
            match slot.streams.take_in(&slot.poll, tick, *arriving) {
                Ok(id) => {
                    slot.stats.streams_taken_in.add(1);
                    slot.stats.streams.set(slot.streams.len() as u64);
                    self.work_off(id);
                }
                Err(_) => slot.stats.count_stream_end(StreamEnd::Failed),
            }
        }
    }

    /// What came on connections, and what can leave on them.
    fn hear_streams(&mut self, events: &Events) {
        let again = std::mem::take(&mut self.slot.streams.again);
        for id in again {
            if let Some(stream) = self.slot.streams.get_mut(id) {
                stream.listed = false;
                self.read_on(id);
            }
        }
        for index in 0..events.others() {
            let Some(Token::Stream(id)) = events.token(index) else { continue };
            if events.is_writable(index) {
                self.flush_stream(id);
            }
            let Some(stream) = self.slot.streams.get_mut(id) else { continue };
            if stream.listed {
                continue;
            }
            if !stream.parked && !stream.held {
                self.read_on(id);
            } else if events.is_error(index) {
                self.end_stream(id, StreamEnd::Failed);
            }
        }
    }

    /// Those whose next request found no room try again.
    fn unpark_streams(&mut self) {
        let parked = std::mem::take(&mut self.slot.streams.parked);
        for id in parked {
            self.work_off(id);
        }
    }

    /// First what is there of a connection, then what more it brings.
    fn work_off(&mut self, id: StreamId) {
        self.slot.streams.at_work = Some(id);
        let Some(stream) = self.slot.streams.get_mut(id) else { return };
        stream.parked = false;
        if stream.held {
            return;
        }
        let len = stream.inbox.len().min(INBOUND);
        self.inbound[..len].copy_from_slice(&stream.inbox[..len]);
        if self.judge_stream(id, len) {
            self.read_on(id);
        }
    }

    fn read_on(&mut self, id: StreamId) {
        self.slot.streams.at_work = Some(id);
        for _ in 0..READS {
            let Some(stream) = self.slot.streams.get_mut(id) else { return };
            let had = stream.inbox.len();
            // A frame that is not whole leaves room for a read by the bounds of both.
            let Some(room) = self.inbound.get_mut(had..(had + limits::STREAM_READ_MAX).min(INBOUND)) else {
                return self.end_stream(id, StreamEnd::Framing);
            };
            match stream.channel.receive(room) {
                Ok(Received::Bytes(len)) => {
                    self.inbound[..had].copy_from_slice(&stream.inbox);
                    if !self.judge_stream(id, had + len) {
                        return;
                    }
                }
                Ok(Received::Nothing) => return,
                Ok(Received::End) => return self.end_stream(id, StreamEnd::Client),
                Err(_) => return self.end_stream(id, StreamEnd::Failed),
            }
        }
        // Level-triggered, the socket would tell what waits in it, but not what TLS has taken out of it already.
        let streams = &mut self.slot.streams;
        if let Some(stream) = streams.get_mut(id)
            && !std::mem::replace(&mut stream.listed, true)
        {
            streams.again.push(id);
        }
    }

    /// Judges the frames in the first `len` bytes of [`Worker::inbound`], which are all that is unread of `id`, and keeps
    /// the rest. Answers whether it may be read on.
    fn judge_stream(&mut self, id: StreamId, len: usize) -> bool {
        let slot = &mut *self.slot;
        let Some(stream) = slot.streams.get_mut(id) else { return false };
        let whose = Whose { id, from: stream.from, dialect: stream.dialect };
        let tick = slot.tick();
        let judged = self.judge_frames(tick, whose, len);
        self.flush();
        let slot = &mut *self.slot;
        let Some(stream) = slot.streams.get_mut(id) else { return false };
        let (at, parked) = match judged {
            Judged::UpTo(at) => (at, false),
            Judged::NoRoom(at) => (at, true),
            Judged::Broken => {
                self.end_stream(id, StreamEnd::Framing);
                return false;
            }
        };
        stream.inbox.clear();
        stream.inbox.extend_from_slice(&self.inbound[at..len]);
        stream.parked = parked;
        let held = stream.held;
        if stream.watch(&slot.poll, id).is_err() {
            self.end_stream(id, StreamEnd::Failed);
            return false;
        }
        if parked {
            slot.stats.streams_parked.add(1);
            slot.streams.parked.push(id);
        }
        !parked && !held
    }

    fn judge_frames(&mut self, tick: Tick, whose: Whose, len: usize) -> Judged {
        let mut at = 0;
        let mut frames = 0;
        loop {
            let next = next_frame_in(whose.dialect, &self.inbound[at..len]);
            let wanted = match next {
                Next::Broken => return Judged::Broken,
                Next::Frame { len } => len,
                Next::More { at_least } => at_least,
            };
            if !fits_a_request(wanted) && !self.slot.table.has_client(&whose.from) {
                return Judged::Broken;
            }
            let Next::Frame { len: frame } = next else { return Judged::UpTo(at) };
            if !self.judge_frame(tick, whose, at, frame) {
                return Judged::NoRoom(at);
            }
            at += frame;
            frames += 1;
            if self.slot.streams.get_mut(whose.id).is_some_and(|stream| stream.held) {
                return Judged::UpTo(at);
            }
            if frames % BATCH == 0 {
                self.flush();
            }
        }
    }

    /// Answers `false` if the frame is a request that finds no room and must be looked at again.
    fn judge_frame(&mut self, tick: Tick, whose: Whose, at: usize, len: usize) -> bool {
        let Whose { id, from, dialect } = whose;
        let slot = &mut *self.slot;
        #[cfg(feature = "fault-injection")]
        slot.stats.fault.meet_packet();
        let frame = &self.inbound[at..at + len];
        let (judged, request) = match dialect {
            Dialect::Rfc8656 => {
                (forward::from_client(&slot.table, tick, &from, IpHeader::default(), frame), at..at + len)
            }
            Dialect::MsTurn => {
                (from_stream(&slot.table, tick, &from, frame), at + FRAME_HEADER_LEN..at + len)
            }
        };
        match judged {
            FromClient::ToPeer { relay, peer, data, header } => {
                let start = at + (data.as_ptr().addr() - frame.as_ptr().addr()).min(len);
                let range = start..start + data.len().min(at + len - start);
                if dialect == Dialect::MsTurn && slot.peers.has_port(relay) {
                    if !self.send_on_connection(relay, peer, range) {
                        return false;
                    }
                } else {
                    let bytes = Bytes::Inbound { range };
                    let heading = Heading { header, ..Heading::to(peer.socket()) };
                    self.egress.push(departure_to(&mut slot.path, relay, heading, bytes, data.len()));
                }
            }
            FromClient::LiveRequest => {
                if slot.live.free_slots() == 0 && !slot.live.is_abandoned() {
                    return false;
                }
                hand_up(&mut slot.live, &slot.stats, from, &self.inbound[request]);
                slot.note_request(tick, id, true);
            }
            FromClient::StrangerRequest => {
                if slot.fresh.free_slots() == 0 && !slot.fresh.is_abandoned() {
                    return false;
                }
                self.greet_on_stream(tick, id, from, request);
            }
            FromClient::Drop(reason) => slot.stats.count_drop(reason),
        }
        self.slot.stats.from_clients.add(1, len as u64);
        true
    }

    /// A stranger's request. A connection cannot be forged, so no budget holds for it.
    fn greet_on_stream(&mut self, tick: Tick, id: StreamId, from: FiveTuple, frame: std::ops::Range<usize>) {
        let slot = &mut *self.slot;
        let frame = &self.inbound[frame];
        let out = &mut self.answers[..limits::RESPONSE_MAX];
        match slot.challenger.greet(tick, &from, frame, out) {
            Greeting::Answer { len, code, to: _ } => {
                slot.stats.count_answer(code);
                slot.note_request(tick, id, false);
                let answer = &self.answers[..len];
                if !slot.streams.answer(id, answer) {
                    self.end_stream(id, StreamEnd::Overrun);
                }
            }
            Greeting::ToControl => {
                hand_up(&mut slot.fresh, &slot.stats, from, frame);
                slot.note_request(tick, id, true);
                if connection::is_bind(frame)
                    && let Some(stream) = slot.streams.get_mut(id)
                {
                    stream.held = true;
                }
            }
            Greeting::Malformed => slot.stats.count_drop(DropReason::StrangerMalformed),
        }
    }

    /// Sends an answer of the control task.
    pub(super) fn reply_on_stream(&mut self, to: FiveTuple, bytes: &[u8]) {
        let slot = &mut *self.slot;
        let Some(id) = slot.streams.find(&to) else {
            return slot.stats.count_drop(DropReason::SendFailed);
        };
        if slot.streams.answer(id, bytes) {
            slot.stats.replies.add(1);
            if connection::is_bind_refused(bytes) {
                slot.streams.let_go(id);
            }
        } else {
            self.end_stream(id, StreamEnd::Overrun);
        }
    }

    /// What was put into outboxes leaves, with one write for each connection.
    pub(super) fn flush_streams(&mut self) {
        while let Some(id) = self.slot.streams.next_dirty() {
            self.flush_stream(id);
        }
        self.slot.streams.at_work = None;
    }

    fn flush_stream(&mut self, id: StreamId) {
        self.slot.streams.at_work = Some(id);
        let slot = &mut *self.slot;
        let Some(stream) = slot.streams.get_mut(id) else { return };
        if stream.flush(&slot.poll, id).is_err() {
            self.end_stream(id, StreamEnd::Failed);
        }
    }

    /// Ends connections that have had no allocation and asked for nothing for too long.
    pub(super) fn sweep_streams(&mut self) {
        let slot = &mut *self.slot;
        let tick = slot.tick();
        let nothing = slot.streams.len() == 0 && slot.peers.len() == 0;
        if nothing || tick.as_millis() < slot.streams.swept_ms + SWEEP_MS {
            return;
        }
        slot.streams.swept_ms = tick.as_millis();
        self.sweep_peers();
        let slot = &mut *self.slot;
        let ids: Vec<_> = slot.streams.ids().collect();
        for id in ids {
            let slot = &mut *self.slot;
            let Some(stream) = slot.streams.get_mut(id) else { continue };
            stream.shrink();
            if tick.as_millis() < stream.until_ms {
                continue;
            }
            if slot.table.has_client(&stream.from) {
                stream.until_ms = idle_until(tick);
            } else {
                self.end_stream(id, StreamEnd::Idle);
            }
        }
    }

    /// Closes a connection. If the control task may know of it, it hears of the end.
    pub(super) fn end_stream(&mut self, id: StreamId, why: StreamEnd) {
        let slot = &mut *self.slot;
        let Some(mut stream) = slot.streams.remove(id) else { return };
        slot.stats.count_stream_end(why);
        slot.stats.streams.set(slot.streams.len() as u64);
        stream.leave();
        if stream.asked || slot.table.has_client(&stream.from) {
            slot.streams.gone.push_back(stream.from);
        }
    }

    /// Tells the control task which clients are gone. It may not take the room of a report that is owed.
    pub(super) fn tell_gone(&mut self) {
        let slot = &mut *self.slot;
        while slot.reports.free_slots() > limits::REPORTS_MAX
            && let Some(from) = slot.streams.gone.pop_front()
        {
            // Refused only where nobody reads any more.
            let _ = slot.reports.push(Report::StreamGone { from });
        }
    }
}
