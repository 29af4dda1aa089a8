//! A worker's connections, served as the worker thread serves them: frames of a stream are judged as datagrams are, a
//! request that finds no room waits in its stream, and what a slow reader does not take is dropped whole.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use crate::proto::auth::challenge::Greeting;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::Outbox;
use crate::proto::media::Weight;
use crate::proto::media::forward;
use crate::proto::media::from_stream;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::connection;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame_in;

use super::clock::MILLISECOND;
use super::clock::Micros;
use super::clock::SECOND;
use super::restart::Fate;
use super::shared::Shared;
use super::tcp::Number;
use super::tcp::Read;
use super::worker::Report;
use super::worker::Worker;
use super::worker::hand_up;

/// Reads of one connection in a round.
const READS: usize = 4;

#[derive(Debug)]
pub(super) struct Stream {
    from: FiveTuple,
    dialect: Dialect,
    inbox: Vec<u8>,
    outbox: Outbox,
    /// Bytes that were put into the outbox so far.
    pushed: u64,
    parked: bool,
    asked: bool,
    until_ms: u64,
    tainted: bool,
    /// It asks to be joined to a peer's, and is not read meanwhile.
    held: bool,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<Number, Stream>,
    pub(super) arriving: VecDeque<(Number, FiveTuple, Dialect)>,
    /// Five-tuples that the control task must hear the end of.
    pub(super) gone: VecDeque<FiveTuple>,
    at_work: Option<Number>,
}

/// How far the bytes of a connection came.
enum Judged {
    UpTo(usize),
    NoRoom(usize),
    Broken,
}

impl Streams {
    /// How many there are, or will be.
    pub(super) fn load(&self) -> usize {
        self.open.len() + self.arriving.len()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.load() == 0 && self.gone.is_empty()
    }

    fn find(&self, from: &FiveTuple) -> Option<Number> {
        self.open.iter().find(|(_, stream)| stream.from == *from).map(|(number, _)| *number)
    }
}

impl Worker {
    /// One round of everything that connections ask for. Answers when the next is due.
    pub(super) fn serve_streams(&mut self, sh: &mut Shared) -> Option<Micros> {
        let epoch = self.epoch;
        while let Some((number, from, dialect)) = self.streams.arriving.pop_front() {
            self.take_in(sh, number, from, dialect);
        }
        let numbers: Vec<_> = self.streams.open.keys().copied().collect();
        let mut again = false;
        for number in numbers {
            self.streams.at_work = Some(number);
            again |= self.work_off(sh, number);
            if self.epoch != epoch {
                return Some(MILLISECOND);
            }
        }
        self.streams.at_work = None;
        self.tell_arrivals(sh);
        let ports = self.serve_ports(sh);
        if self.epoch != epoch {
            return Some(MILLISECOND);
        }
        self.flush_streams(sh);
        self.sweep(sh);
        self.tell_gone(sh);
        let streams = &self.streams;
        if again || streams.open.values().any(|stream| stream.parked) || !streams.gone.is_empty() {
            return Some(MILLISECOND);
        }
        if ports {
            return Some(20 * MILLISECOND);
        }
        (streams.load() > 0).then_some(SECOND)
    }

    fn take_in(&mut self, sh: &mut Shared, number: Number, from: FiveTuple, dialect: Dialect) {
        if self.streams.find(&from).is_some() {
            return sh.violated(|| format!("two connections are {from:?}"));
        }
        sh.coverage.fact("connection taken in");
        sh.oracle.connection_taken_in(&from);
        let stream = Stream {
            from,
            dialect,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            pushed: 0,
            parked: false,
            asked: false,
            until_ms: idle_until(sh.clock.tick()),
            tainted: false,
            held: false,
        };
        self.streams.open.insert(number, stream);
    }

    /// First what is there of a connection, then what more it brings. Answers whether there may be more.
    fn work_off(&mut self, sh: &mut Shared, number: Number) -> bool {
        let Some(stream) = self.streams.open.get_mut(&number) else { return false };
        stream.tainted |= sh.tcp.get(number).is_none_or(|connection| connection.tainted);
        if stream.held {
            return false;
        }
        if stream.parked {
            stream.parked = false;
            let bytes = std::mem::take(&mut stream.inbox);
            if !self.judge_stream(sh, number, bytes) {
                return false;
            }
        }
        for _ in 0..READS {
            let max = sh.dice.pick(&[7, 1_400, limits::STREAM_READ_MAX]);
            match sh.tcp.server_read(number, max) {
                Read::Bytes(came) => {
                    let Some(stream) = self.streams.open.get_mut(&number) else { return false };
                    let mut bytes = std::mem::take(&mut stream.inbox);
                    if !bytes.is_empty() {
                        sh.coverage.fact("message split");
                    }
                    bytes.extend(came);
                    if !self.judge_stream(sh, number, bytes) {
                        return false;
                    }
                }
                Read::Nothing => return false,
                Read::End => {
                    self.end_stream(sh, number, "connection ended");
                    return false;
                }
                Read::Failed => {
                    self.end_stream(sh, number, "connection failed");
                    return false;
                }
            }
        }
        true
    }

    /// Judges the frames in `bytes`, which are all that is unread, and keeps the rest. Answers whether it may be read on.
    fn judge_stream(&mut self, sh: &mut Shared, number: Number, bytes: Vec<u8>) -> bool {
        let fate = if bytes.is_empty() { Fate::Lives } else { self.fate(sh) };
        if fate == Fate::FallsBefore {
            self.fall(sh, "worker panicked over a connection");
            return false;
        }
        let judged = self.judge_frames(sh, number, &bytes);
        if fate != Fate::Lives {
            self.fall(sh, "worker panicked over a connection");
            return false;
        }
        let Some(stream) = self.streams.open.get_mut(&number) else { return false };
        let (at, parked) = match judged {
            Judged::UpTo(at) => (at, false),
            Judged::NoRoom(at) => (at, true),
            Judged::Broken => {
                self.end_stream(sh, number, "connection broken");
                return false;
            }
        };
        stream.inbox = bytes[at..].to_vec();
        stream.parked = parked;
        let held = stream.held;
        if parked {
            sh.coverage.fact("connection parked");
            sh.tally("connections parked");
        }
        if stream.inbox.len() > limits::STREAM_FRAME_MAX + limits::STREAM_READ_MAX {
            sh.violated(|| "more of a stream is kept than a frame and a read".to_owned());
        }
        !parked && !held
    }

    fn judge_frames(&mut self, sh: &mut Shared, number: Number, bytes: &[u8]) -> Judged {
        let mut at = 0;
        let mut frames = 0;
        loop {
            let Some(stream) = self.streams.open.get(&number) else { return Judged::UpTo(at) };
            let (from, tainted, dialect) = (stream.from, stream.tainted, stream.dialect);
            if stream.held {
                return Judged::UpTo(at);
            }
            let next = next_frame_in(dialect, &bytes[at..]);
            let wanted = match next {
                Next::Broken => {
                    if !tainted {
                        sh.violated(|| format!("the stream of {from:?} breaks: {:02x?}", &bytes[at..]));
                    }
                    return Judged::Broken;
                }
                Next::Frame { len } => len,
                Next::More { at_least } => at_least,
            };
            if !fits_a_request(wanted) && !self.table.has_client(&from) {
                return Judged::Broken;
            }
            let Next::Frame { len } = next else { return Judged::UpTo(at) };
            if !self.judge_frame(sh, number, (from, dialect), &bytes[at..at + len], tainted) {
                return Judged::NoRoom(at);
            }
            at += len;
            frames += 1;
            if frames > 1 {
                sh.coverage.fact("messages in one piece");
            }
        }
    }

    /// Answers `false` if the frame is a request that finds no room and must be looked at again.
    fn judge_frame(
        &mut self,
        sh: &mut Shared,
        number: Number,
        (from, dialect): (FiveTuple, Dialect),
        frame: &[u8],
        tainted: bool,
    ) -> bool {
        let tick = sh.clock.tick();
        sh.tally("frames of connections");
        let (judged, message) = match dialect {
            Dialect::Rfc8656 => {
                (forward::from_client(&self.table, tick, &from, IpHeader::default(), frame), frame)
            }
            Dialect::MsTurn => {
                (from_stream(&self.table, tick, &from, frame), &frame[FRAME_HEADER_LEN.min(frame.len())..])
            }
        };
        match judged {
            FromClient::ToPeer { relay, peer, data, .. } if self.ports.has_port(relay) => {
                match self.say_to_peer(sh, relay, from, peer, data) {
                    Some(true) => {}
                    Some(false) => return false,
                    None => sh.dropped(DropReason::SendFailed),
                }
            }
            FromClient::ToPeer { relay, peer, data, header } => {
                let is_channel = dialect == Dialect::Rfc8656 && frame[0] & 0x40 != 0;
                sh.coverage.fact(match (dialect, is_channel) {
                    (Dialect::MsTurn, _) => "bare data",
                    (_, true) => "channel data",
                    (_, false) => "data indication",
                });
                self.send_to_peer(sh, relay, from, peer, data, header, tainted);
            }
            FromClient::LiveRequest => {
                if self.live.len() >= self.request_ring {
                    return false;
                }
                hand_up(sh, &mut self.live, self.request_ring, from, message);
                self.note_request(tick, number, true);
            }
            FromClient::StrangerRequest => {
                if self.fresh.len() >= self.request_ring {
                    return false;
                }
                self.greet_on_stream(sh, number, from, message);
            }
            FromClient::Drop(reason) => {
                if !tainted {
                    let worker = (self.number, self.obeyed);
                    let verdict = sh.oracle.may_drop_of_client(tick, worker, &from, frame, reason);
                    sh.judged(verdict);
                }
                sh.dropped(reason);
            }
        }
        true
    }

    fn greet_on_stream(&mut self, sh: &mut Shared, number: Number, from: FiveTuple, frame: &[u8]) {
        let mut out = [0; limits::RESPONSE_MAX];
        let tick = sh.clock.tick();
        match self.challenger.greet(tick, &from, frame, &mut out) {
            Greeting::Answer { len, code, to: _ } => {
                if let Some(code) = code {
                    sh.coverage.answered(code);
                }
                self.note_request(tick, number, false);
                if !self.push(sh, number, &out[..len], Weight::Answer, false) {
                    self.end_stream(sh, number, "connection overrun");
                }
            }
            Greeting::ToControl => {
                hand_up(sh, &mut self.fresh, self.request_ring, from, frame);
                self.note_request(tick, number, true);
                if connection::is_bind(frame)
                    && let Some(stream) = self.streams.open.get_mut(&number)
                {
                    stream.held = true;
                }
            }
            Greeting::Malformed => sh.dropped(DropReason::StrangerMalformed),
        }
    }

    fn note_request(&mut self, tick: Tick, number: Number, told: bool) {
        if let Some(stream) = self.streams.open.get_mut(&number) {
            stream.until_ms = idle_until(tick);
            stream.asked |= told;
        }
    }

    /// Something for the client at the other end of a connection.
    pub(super) fn send_on_stream(
        &mut self,
        sh: &mut Shared,
        to: FiveTuple,
        frame: &[u8],
        weight: Weight,
        tainted: bool,
    ) {
        let Some(number) = self.streams.find(&to) else { return sh.dropped(DropReason::SendFailed) };
        if self.push(sh, number, frame, weight, tainted) {
            if connection::is_bind_refused(frame)
                && let Some(stream) = self.streams.open.get_mut(&number)
                && std::mem::replace(&mut stream.held, false)
            {
                stream.parked = true;
            }
            return;
        }
        match weight {
            Weight::Media => sh.dropped(DropReason::StreamFull),
            Weight::Answer => self.end_stream(sh, number, "connection overrun"),
        }
    }

    fn push(&mut self, sh: &mut Shared, number: Number, frame: &[u8], weight: Weight, tainted: bool) -> bool {
        let Some(stream) = self.streams.open.get_mut(&number) else { return true };
        let mut framed = Vec::new();
        if stream.dialect == Dialect::MsTurn && weight == Weight::Answer {
            let len = u16::try_from(frame.len()).unwrap_or(u16::MAX);
            framed.extend_from_slice(&StreamFrame::Control.header(len));
        }
        framed.extend_from_slice(frame);
        let frame = &framed[..];
        if next_frame_in(stream.dialect, frame) != (Next::Frame { len: frame.len() }) {
            sh.violated(|| format!("what leaves by a stream is no frame: {frame:02x?}"));
        }
        if !stream.outbox.push(frame, weight, 0) {
            return false;
        }
        let start = stream.pushed;
        stream.pushed += frame.len() as u64;
        if tainted {
            sh.tcp.taint(number, start..stream.pushed);
        }
        true
    }

    /// Takes out a client's connection that is joined to a peer's: what was read of it, and what it must hear first.
    pub(super) fn take_out_stream(&mut self, of: &FiveTuple) -> Option<(Number, Vec<u8>, Vec<u8>)> {
        let number = self.streams.find(of)?;
        let stream = self.streams.open.remove(&number)?;
        Some((number, stream.inbox, stream.outbox.rest().to_vec()))
    }

    /// Whether the connection of `to` has room for media of `len` bytes.
    pub(super) fn has_stream_room(&self, to: &FiveTuple, len: usize) -> bool {
        let stream = self.streams.find(to).and_then(|number| self.streams.open.get(&number));
        stream.is_some_and(|stream| stream.outbox.has_room(len, 0))
    }

    /// What waits leaves, as far as it can.
    pub(super) fn flush_streams(&mut self, sh: &mut Shared) {
        for (number, stream) in &mut self.streams.open {
            if stream.outbox.waiting() > 0 {
                let sent = sh.tcp.server_send(*number, stream.outbox.rest());
                stream.outbox.take(sent);
            }
        }
    }

    fn sweep(&mut self, sh: &mut Shared) {
        let tick = sh.clock.tick();
        let numbers: Vec<_> = self.streams.open.keys().copied().collect();
        for number in numbers {
            let Some(stream) = self.streams.open.get_mut(&number) else { continue };
            if tick.as_millis() < stream.until_ms {
                continue;
            }
            if self.table.has_client(&stream.from) {
                stream.until_ms = idle_until(tick);
            } else {
                self.end_stream(sh, number, "connection idle");
            }
        }
    }

    /// Closes a connection. If the control task may know of it, it hears of the end.
    fn end_stream(&mut self, sh: &mut Shared, number: Number, why: &'static str) {
        let Some(mut stream) = self.streams.open.remove(&number) else { return };
        sh.coverage.fact(why);
        sh.note(|| format!("{why}: {:?}", stream.from));
        let sent = sh.tcp.server_send(number, stream.outbox.rest());
        stream.outbox.take(sent);
        sh.tcp.server_close(number);
        sh.oracle.connection_ended(sh.clock.tick(), &stream.from);
        if stream.asked || self.table.has_client(&stream.from) {
            self.streams.gone.push_back(stream.from);
        }
    }

    /// Tells the control task which clients are gone. It may not take the room of a report that is owed.
    fn tell_gone(&mut self, sh: &mut Shared) {
        while self.reports.len() < limits::STREAM_REPORTS_MAX
            && let Some(from) = self.streams.gone.pop_front()
        {
            self.report(sh, Report::StreamGone { from });
        }
    }

    /// An allocation is made for `from`. If that is a connection that ended meanwhile, the control task hears of it
    /// again.
    pub(super) fn expect_stream(&mut self, sh: &mut Shared, from: FiveTuple) {
        if from.transport.is_stream() && self.streams.find(&from).is_none() {
            sh.coverage.fact("allocation for a connection that is gone");
            self.streams.gone.push_back(from);
        }
    }

    /// The worker fell: the connection that it was at work on goes, whose bytes may be half-read. The others are looked
    /// at once each, as soon as the table is whole.
    pub(super) fn restart_streams(&mut self, sh: &mut Shared) {
        if let Some(number) = self.streams.at_work.take()
            && let Some(stream) = self.streams.open.remove(&number)
        {
            sh.coverage.fact("connection lost with a loop");
            sh.tcp.server_close(number);
            sh.oracle.connection_ended(sh.clock.tick(), &stream.from);
            self.streams.gone.push_back(stream.from);
        }
        self.streams.open.values_mut().for_each(|stream| stream.parked = true);
    }
}

/// The end of a connection that brings nothing of use from now on.
fn idle_until(tick: Tick) -> u64 {
    tick.as_millis() + limits::STREAM_IDLE_MAX.as_millis() as u64
}
