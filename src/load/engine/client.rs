//! One client of the server under load: its socket, its allocation, and how far both are.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;

use crate::load::carrier;
use crate::load::carrier::Line;
use crate::load::carrier::Parcel;
use crate::load::carrier::Room;
use crate::load::carrier::Standing;
use crate::load::payload::Way;
use crate::net::Interest;
use crate::net::TrafficSocket;
use crate::proto::client::End;
use crate::proto::client::Event;
use crate::proto::client::Failure;
use crate::proto::client::Input;
use crate::proto::client::Output;
use crate::proto::types::Entropy;
use crate::proto::types::PeerAddr;
use crate::proto::types::StreamId;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;

use super::clock::protocol_time;
use super::counted::Counted;
use super::dialect::Turn;
use super::path::Bounds;
use super::path::Path;
use super::tally::Tally;
use super::tally::Why;

/// A Binding request is repeated so often at the most, and then left alone: the Allocate tells what is wrong.
const PROBES_MAX: u8 = 3;
/// The first wait for its answer; each further one is twice as long.
const PROBE_WAIT: Duration = Duration::from_millis(500);
/// Allocation Mismatch (RFC 8656 § 19).
pub(super) const MISMATCH: u16 = 437;
/// A Binding request without attributes.
const BINDING_LEN: usize = 20;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    /// The call that it is an end of.
    pub(super) call: StreamId,
    /// Which end: packets leave from it this way.
    pub(super) end: Way,
    pub(super) wire: Wire,
    pub(super) stage: Stage,
    /// How packets go to its peer, once it is known.
    pub(super) path: Option<Path>,
    /// What came of its peer's packets, where they are counted ([`Bounds::Counted`]).
    pub(super) counted: Counted,
    /// Its relayed address, once there is one.
    pub(super) relayed: Option<SocketAddr>,
    /// What its socket has lost for want of room, as the kernel counts it.
    pub(super) dropped: u32,
    /// The tick that the wheel has it wake at, if it has.
    pub(super) wake: Option<u64>,
    turn: Turn,
    peer: Option<PeerAddr>,
    by_channel: bool,
    /// What the poll watches its line for.
    pub(super) interest: Interest,
    /// When it asked for what it waits for.
    asked_ns: u64,
}

/// What carries its messages.
#[derive(Debug)]
pub(super) enum Wire {
    /// Datagrams in the clear.
    Datagrams(TrafficSocket),
    /// A connection, or datagrams under DTLS.
    Line(Box<Line>),
    /// Nothing any more; it was bound to this address.
    Gone(Option<SocketAddr>),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its connection comes up.
    Connecting,
    /// A Binding request is on its way.
    Probing { id: TransactionId, sent: u8, next_ns: u64 },
    /// An Allocate is on its way.
    Allocating,
    /// It has an allocation, and waits to be told its peer.
    Allocated,
    /// Its peer's permission, or channel, is on its way.
    Permitting,
    /// Packets may flow.
    Ready,
    /// Its Refresh 0 is on its way.
    Leaving,
    /// It has nothing any more.
    Over,
}

/// What became of a client, for its call to know.
#[derive(Debug)]
pub(super) enum News {
    /// It has an allocation.
    Allocated,
    /// Packets may flow.
    Ready,
    /// It came to nothing.
    Failed(Why),
    /// What it had is gone, though nobody gave it back.
    Lost(Why),
    /// What it had was given back; whether the server said so.
    Released(bool),
}

/// Randomness for transaction ids, from a seed that is the operating system's.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice that nobody knows.
    pub(super) fn new() -> Self {
        let mut seed = [0; 8];
        // A server takes a request with a transaction id of before for a repetition of that one.
        getrandom::fill(&mut seed).expect("the operating system has randomness once it runs programs");
        Self(u64::from_ne_bytes(seed))
    }
}

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for bytes in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let drawn = crate::load::profile::mix(self.0).to_ne_bytes();
            bytes.copy_from_slice(&drawn[..bytes.len()]);
        }
    }
}

impl Client {
    /// A client that has asked nothing yet.
    pub(super) fn new(call: StreamId, end: Way, wire: Wire, turn: Turn) -> Self {
        Self {
            call,
            end,
            wire,
            stage: Stage::Connecting,
            path: None,
            counted: Counted::default(),
            relayed: None,
            dropped: 0,
            wake: None,
            turn,
            peer: None,
            by_channel: false,
            interest: Interest::READ,
            asked_ns: 0,
        }
    }

    /// Asks for its own address first, to see how long one answer takes, and for an allocation then.
    pub(super) fn begin(&mut self, now_ns: u64) {
        if !self.turn.has_binding() {
            return self.allocate(now_ns);
        }
        let mut id = [0; 12];
        Dice::new().fill_secret(&mut id);
        let id = TransactionId::with_cookie(id);
        self.asked_ns = now_ns;
        self.probe(now_ns, id, 0);
    }

    /// Speaks with its peer, whom its socket is connected to, without a server.
    pub(super) fn begin_serverless(&mut self) {
        if let Wire::Datagrams(socket) = &self.wire {
            self.relayed = Some(socket.local());
        }
        self.path = Some(Path::Bare(Bounds::OfDatagrams));
        self.stage = Stage::Ready;
    }

    /// Goes on with what the socket is ready for, or time demands, of a line. What came by it is given to `each`.
    pub(super) fn on_line(
        &mut self,
        now: Instant,
        now_ns: u64,
        room: &mut Room,
        each: &mut dyn FnMut(Parcel<'_>),
        tally: &mut Tally,
    ) -> Vec<News> {
        let Wire::Line(line) = &mut self.wire else { return Vec::new() };
        let before = matches!(line.standing(), Standing::Connecting);
        line.on_ready(now, room);
        let took = match line.standing() {
            Standing::Up(took) if before => Some(*took),
            _ => None,
        };
        if let Some(took) = took {
            tally.setup.connect.note(took);
            self.begin(now_ns);
        }
        let Wire::Line(line) = &mut self.wire else { return Vec::new() };
        // What came before an end is heard before it.
        let ended = line.read(now, room, each).and_then(|()| line.flush());
        let failure = match (ended, line.standing()) {
            (Err(failure), _) => failure,
            (Ok(_), Standing::Failed(failure)) => failure.clone(),
            (Ok(_), _) => return self.drain(now_ns, tally),
        };
        let mut news = self.drain(now_ns, tally);
        news.extend(self.cut(failure));
        news
    }

    /// Its line is over. What is sent from here on is lost, and the poll hears no more of it.
    fn cut(&mut self, failure: carrier::Failure) -> Option<News> {
        let why = Why::Line(failure);
        self.wire = Wire::Gone(None);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => None,
            Stage::Ready => Some(News::Lost(why)),
            // The server ends what it had with the connection.
            Stage::Leaving => Some(News::Released(true)),
            _ => Some(News::Failed(why)),
        }
    }

    /// Takes in a message of the server that is no peer's data, which arrived at `at_ns`.
    pub(super) fn message(&mut self, now_ns: u64, at_ns: u64, bytes: &[u8], tally: &mut Tally) -> Vec<News> {
        if self.stage == Stage::Allocating && says_taken(bytes) {
            self.stage = Stage::Over;
            return vec![News::Failed(Why::TAKEN)];
        }
        if let Stage::Probing { id, .. } = self.stage {
            let is_answer = decode_response(bytes).is_ok_and(|answer| answer.transaction == id);
            if is_answer {
                tally.setup.binding.note(since(at_ns, self.asked_ns));
                self.allocate(now_ns);
            }
        } else {
            self.turn.handle_input(protocol_time(now_ns), Input::Message(bytes));
        }
        self.drain(at_ns, tally)
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, now_ns: u64, tally: &mut Tally) -> Vec<News> {
        match self.stage {
            Stage::Probing { next_ns, .. } if next_ns > now_ns => {}
            Stage::Probing { sent, .. } if sent >= PROBES_MAX => {
                tally.failed("Binding timeout");
                self.allocate(now_ns);
            }
            Stage::Probing { id, sent, .. } => self.probe(now_ns, id, sent),
            _ => self.turn.handle_timeout(protocol_time(now_ns)),
        }
        self.drain(now_ns, tally)
    }

    /// When [`Self::on_time`] is to be called; `None`: not before something else happens.
    pub(super) fn due_ns(&self) -> Option<u64> {
        match self.stage {
            Stage::Probing { next_ns, .. } => Some(next_ns),
            Stage::Over | Stage::Connecting => None,
            _ => self.turn.poll_timeout().map(|deadline| deadline.as_millis().saturating_mul(1_000_000)),
        }
    }

    /// Asks that packets may go to `peer` and come from there: by a channel, or by indications.
    pub(super) fn meet(
        &mut self,
        now_ns: u64,
        peer: SocketAddr,
        by_channel: bool,
        tally: &mut Tally,
    ) -> Vec<News> {
        let peer = PeerAddr::new(peer);
        self.peer = Some(peer);
        self.by_channel = by_channel;
        self.stage = Stage::Permitting;
        self.asked_ns = now_ns;
        if !by_channel && !self.turn.has_permissions() {
            // In the old dialect whoever is sent to may send back: an empty packet opens the way.
            self.turn.handle_input(protocol_time(now_ns), Input::Send { peer, data: &[] });
            let mut news = self.drain(now_ns, tally);
            news.extend(self.ready(now_ns, Path::Request(peer, self.bounds()), tally));
            return news;
        }
        let input = if by_channel { Input::Bind(peer) } else { Input::Permit(peer.ip()) };
        self.turn.handle_input(protocol_time(now_ns), input);
        self.drain(now_ns, tally)
    }

    /// Sends a packet in a request of the old dialect, which is numbered and signed.
    pub(super) fn request(&mut self, now_ns: u64, peer: PeerAddr, data: &[u8]) {
        self.turn.handle_input(protocol_time(now_ns), Input::Send { peer, data });
        while let Some(output) = self.turn.poll_output() {
            if let Output::Transmit(message) = output {
                self.transmit(&message);
            }
        }
    }

    /// Gives back what it has.
    pub(super) fn leave(&mut self, now_ns: u64, tally: &mut Tally) -> Vec<News> {
        match self.stage {
            Stage::Leaving => Vec::new(),
            Stage::Over => vec![News::Released(true)],
            Stage::Connecting | Stage::Probing { .. } => {
                self.stage = Stage::Over;
                vec![News::Released(true)]
            }
            _ => {
                self.stage = Stage::Leaving;
                self.turn.handle_input(protocol_time(now_ns), Input::Release);
                let news = self.drain(now_ns, tally);
                // Without an allocation there is nothing to give back.
                let is_idle = news.is_empty() && self.turn.poll_timeout().is_none();
                if is_idle { vec![News::Released(true)] } else { news }
            }
        }
    }

    /// The same client without its socket: what it had at the server is still there.
    pub(super) fn vanish(self) -> Self {
        let local = match &self.wire {
            Wire::Datagrams(socket) => Some(socket.local()),
            Wire::Gone(local) => *local,
            Wire::Line(line) => line.local().ok(),
        };
        if let Wire::Line(line) = self.wire {
            line.vanish();
        }
        Self { wire: Wire::Gone(local), ..self }
    }

    /// The same client on another socket at the same address, as an end of another call.
    pub(super) fn revive(self, call: StreamId, socket: TrafficSocket) -> Self {
        Self { call, end: Way::Up, wire: Wire::Datagrams(socket), stage: Stage::Ready, wake: None, ..self }
    }

    /// Nobody listens where its messages go: the network says so.
    pub(super) fn on_closed_port(&mut self) -> Vec<News> {
        if !matches!(self.stage, Stage::Probing { .. } | Stage::Allocating) {
            return Vec::new();
        }
        self.stage = Stage::Over;
        vec![News::Failed(Why::Closed)]
    }

    fn probe(&mut self, now_ns: u64, id: TransactionId, sent: u8) {
        let mut buffer = [0; BINDING_LEN];
        if let Ok(len) = MessageWriter::request(&mut buffer, Method::Binding, id).finish() {
            self.transmit(&buffer[..len]);
        }
        // By a connection nothing is lost on the way.
        let sent = if matches!(self.wire, Wire::Line(_)) { PROBES_MAX } else { sent + 1 };
        let wait = PROBE_WAIT * (1 << (sent - 1));
        let next_ns = now_ns + u64::try_from(wait.as_nanos()).unwrap_or(0);
        self.stage = Stage::Probing { id, sent, next_ns };
    }

    fn allocate(&mut self, now_ns: u64) {
        self.stage = Stage::Allocating;
        self.asked_ns = now_ns;
        self.turn.handle_input(protocol_time(now_ns), Input::Allocate);
    }

    /// Sends what is to be sent, and reads what is to be known; an answer came at `at_ns`.
    fn drain(&mut self, at_ns: u64, tally: &mut Tally) -> Vec<News> {
        let mut news = Vec::new();
        while let Some(output) = self.turn.poll_output() {
            match output {
                Output::Transmit(message) => self.transmit(&message),
                Output::Event(event) => news.extend(self.on_event(at_ns, event, tally)),
            }
        }
        news
    }

    fn on_event(&mut self, at_ns: u64, event: Event, tally: &mut Tally) -> Option<News> {
        match event {
            Event::Allocated(made) => {
                tally.setup.allocate.note(since(at_ns, self.asked_ns));
                tally.setup.served += 1;
                self.relayed = Some(made.relayed.socket());
                self.stage = Stage::Allocated;
                Some(News::Allocated)
            }
            Event::Bound { channel, .. } if self.stage == Stage::Permitting => {
                self.ready(at_ns, Path::Channel(channel), tally)
            }
            Event::Destination { .. } if self.stage == Stage::Permitting => {
                self.ready(at_ns, Path::Bare(self.bounds()), tally)
            }
            Event::Permitted { .. } => match (self.stage, self.peer) {
                // A channel brings its permission with it, and tells of it first.
                (Stage::Permitting, Some(peer)) if !self.by_channel => {
                    self.ready(at_ns, Path::Indication(peer), tally)
                }
                _ => None,
            },
            Event::NotAllocated(why) => {
                self.stage = Stage::Over;
                Some(News::Failed(Why::Protocol("Allocate", why)))
            }
            Event::NotPermitted { why, .. } => self.not_permitted("CreatePermission", why),
            Event::NotBound { why, .. } => self.not_permitted("ChannelBind", why),
            Event::Ended(end) => Some(self.ended(end)),
            Event::Broken => Some(News::Lost(Why::Protocol("Stream", Failure::Disconnected))),
            Event::Bound { .. }
            | Event::Data { .. }
            | Event::NotSent { .. }
            | Event::Moved
            | Event::Destination { .. }
            | Event::Connected { .. }
            | Event::NotConnected { .. }
            | Event::Attempted { .. } => None,
        }
    }

    /// Where its packets end, in the old dialect.
    const fn bounds(&self) -> Bounds {
        match self.wire {
            Wire::Line(_) => Bounds::Counted,
            Wire::Datagrams(_) | Wire::Gone(_) => Bounds::OfDatagrams,
        }
    }

    fn ready(&mut self, at_ns: u64, path: Path, tally: &mut Tally) -> Option<News> {
        tally.setup.permit.note(since(at_ns, self.asked_ns));
        self.path = Some(path);
        self.stage = Stage::Ready;
        Some(News::Ready)
    }

    fn not_permitted(&mut self, what: &'static str, why: Failure) -> Option<News> {
        let why = Why::Protocol(what, why);
        match self.stage {
            Stage::Permitting => {
                self.stage = Stage::Allocated;
                Some(News::Failed(why))
            }
            Stage::Ready => Some(News::Lost(why)),
            _ => None,
        }
    }

    fn ended(&mut self, end: End) -> News {
        let before = std::mem::replace(&mut self.stage, Stage::Over);
        match end {
            End::Released => News::Released(true),
            End::Unconfirmed => News::Released(false),
            End::Lost(why) if before == Stage::Ready => News::Lost(Why::Protocol("Refresh", why)),
            End::Lost(why) if before == Stage::Permitting => News::Failed(Why::Protocol("ChannelBind", why)),
            End::Lost(_) if before == Stage::Leaving => News::Released(false),
            End::Lost(why) => News::Failed(Why::Protocol("Refresh", why)),
        }
    }

    fn transmit(&mut self, message: &[u8]) {
        match &mut self.wire {
            Wire::Datagrams(socket) => {
                // A request must not be cut as bursts are. Whatever becomes of it, it is repeated in time.
                let _ = socket.set_segment(0);
                let _: Result<(), Errno> = socket.send(message);
            }
            Wire::Line(line) => {
                // One that takes no more is one whose server does not read; what it did not take is asked for in vain.
                let _ = line.write(self.turn.parcel(message));
                // What is wrong with it the next read tells.
                let _ = line.flush();
            }
            Wire::Gone(_) => {}
        }
    }
}

/// Whether the server says that it has an allocation for the address that asks for one: somebody was there before, and left
/// without a word. Not every server signs that (coturn does not), and a client need not believe what nobody signed; but
/// whoever makes load would wait in vain, and has other ports.
pub(super) fn says_taken(message: &[u8]) -> bool {
    decode_response(message)
        .is_ok_and(|answer| answer.method == Method::Allocate && answer.error_code == Some(MISMATCH))
}

fn since(at_ns: u64, asked_ns: u64) -> Duration {
    Duration::from_nanos(at_ns.saturating_sub(asked_ns))
}

#[cfg(test)]
mod tests {
    use crate::proto::wire::ErrorCode;
    use crate::proto::wire::rfc8656::framing::MessageClass;

    use super::*;

    #[test]
    fn an_address_that_is_taken_is_told_though_nobody_signed_it() {
        let told = |method, code| {
            let (mut buffer, id) = ([0; 200], TransactionId::with_cookie([7; 12]));
            let mut answer = MessageWriter::new(&mut buffer, MessageClass::Error, method, id);
            let len = answer.error_code(code).finish().expect("room");
            says_taken(&buffer[..len])
        };
        assert!(told(Method::Allocate, ErrorCode::AllocationMismatch));
        assert!(!told(Method::Allocate, ErrorCode::Unauthenticated));
        assert!(!told(Method::Refresh, ErrorCode::AllocationMismatch));
        assert!(!says_taken(&[]) && !says_taken(&[0x40, 0, 0, 0]));
    }
}
