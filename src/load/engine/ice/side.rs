//! One agent, and the sockets that carry what it says.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;

use crate::ice::Agent;
use crate::ice::Clock;
use crate::ice::Config;
use crate::ice::Input;
use crate::load::carrier;
use crate::load::carrier::Line;
use crate::load::carrier::Parcel;
use crate::load::carrier::Room;
use crate::load::carrier::Standing;
use crate::load::engine::client::Dice;
use crate::load::engine::client::says_taken;
use crate::load::engine::clock::protocol_time;
use crate::load::engine::common::Common;
use crate::load::machine::Ports;
use crate::net::Poll;
use crate::net::Token;
use crate::proto::types::Now;
use crate::proto::types::StreamId;

/// The place of the one server that an agent is given.
const SERVER: usize = 0;
/// Datagrams that are read before others have their turn.
const READS: usize = 32;

/// What the poll knows a side's socket by, or its line.
pub(super) const fn name(place: usize, is_line: bool) -> StreamId {
    StreamId { index: place as u32 * 2 + is_line as u32, generation: 0 }
}

/// Which side a name is of, and whether of its line.
pub(super) const fn place(name: StreamId) -> (usize, bool) {
    (name.index as usize / 2, name.index % 2 == 1)
}

/// One side of a pair.
pub(super) struct Side {
    pub(super) agent: Agent,
    pub(super) socket: Option<UdpSocket>,
    /// Where that is bound.
    pub(super) local: Option<SocketAddr>,
    line: Option<Line>,
    /// Why there is no line any more.
    pub(super) failure: Option<carrier::Failure>,
    is_up: bool,
    /// Its agent was told something out of turn.
    pub(super) is_woken: bool,
    pub(super) is_closed: bool,
    /// The server took its address for somebody else's.
    pub(super) is_taken: bool,
}

impl Side {
    /// An agent; `by_datagrams`: with a socket at `ip`.
    pub(super) fn open(
        config: Config,
        clock: Clock,
        ip: IpAddr,
        by_datagrams: bool,
        ports: &mut Ports,
    ) -> io::Result<Self> {
        let bound = |address: SocketAddr| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = if by_datagrams { Some(ports.open_from(ip, bound)?) } else { None };
        let local = socket.as_ref().map(UdpSocket::local_addr).transpose()?;
        Ok(Self {
            agent: Agent::new(config, clock, &mut Dice::new()),
            socket,
            local,
            line: None,
            failure: None,
            is_up: false,
            is_woken: false,
            is_closed: false,
            is_taken: false,
        })
    }

    /// Sends a datagram. What the kernel does not take is lost, as datagrams are.
    pub(super) fn transmit(&self, to: SocketAddr, bytes: &[u8]) {
        if let Some(socket) = &self.socket {
            let _ = socket.send_to(bytes, to);
        }
    }

    /// Gives the agent what has come.
    pub(super) fn receive(&mut self, now_ns: u64, buffer: &mut [u8]) {
        let (Some(socket), Some(local)) = (&self.socket, self.local) else { return };
        for _ in 0..READS {
            // An error is one that an earlier datagram met, and is no end.
            let Ok((len, from)) = socket.recv_from(buffer) else { return };
            let bytes = &buffer[..len];
            self.is_taken |= says_taken(bytes);
            self.agent.handle_input(protocol_time(now_ns), Input::Datagram { local, from, bytes });
        }
    }

    /// Begins a connection to the server.
    pub(super) fn dial(
        &mut self,
        common: &Common,
        poll: &Poll,
        ports: &mut Ports,
        place: usize,
        now_ns: u64,
    ) {
        let now = common.clock.instant(now_ns);
        let dialled =
            common.dialler.as_ref().map(|dialler| ports.open(|local| dialler.dial(Some(local), now)));
        match dialled {
            Some(Ok(line)) => {
                // What is not watched does not come up, and is given up in time.
                let _ = poll.add(&line, Token::Stream(name(place, true)));
                self.line = Some(line);
                self.follow(poll, place);
            }
            Some(Err(error)) => self.cut(now_ns, carrier::Failure::of(&error)),
            None => {}
        }
    }

    /// Writes one whole message to the server.
    pub(super) fn write(&mut self, poll: &Poll, place: usize, bytes: &[u8]) {
        if let Some(line) = &mut self.line {
            // Without room it is lost, as a datagram would be; a line that breaks is told by what is read from it.
            line.write(Parcel::Message(bytes));
            let _ = line.flush();
        }
        self.follow(poll, place);
    }

    /// Goes on with what the connection is ready for, or time demands.
    pub(super) fn on_line(
        &mut self,
        common: &Common,
        poll: &Poll,
        place: usize,
        now_ns: u64,
        room: &mut Room,
    ) {
        let (now, time) = (common.clock.instant(now_ns), protocol_time(now_ns));
        let Some(line) = &mut self.line else { return };
        line.on_ready(now, room);
        if matches!(line.standing(), Standing::Up(_)) && !self.is_up {
            self.is_up = true;
            self.agent.handle_input(time, Input::Opened { server: SERVER });
        }
        let (agent, is_stream) = (&mut self.agent, common.server.carrier.is_stream());
        let mut each = |parcel: Parcel<'_>| {
            if let Parcel::Message(bytes) = parcel {
                hear(agent, time, bytes, is_stream);
            }
        };
        let went = line.read(now, room, &mut each).and_then(|()| line.flush());
        let failure = match (went, line.standing()) {
            (Err(failure), _) => failure,
            (Ok(_), Standing::Failed(failure)) => failure.clone(),
            (Ok(_), _) => return self.follow(poll, place),
        };
        self.shut(poll);
        self.cut(now_ns, failure);
    }

    fn cut(&mut self, now_ns: u64, failure: carrier::Failure) {
        self.failure = Some(failure);
        self.agent.handle_input(protocol_time(now_ns), Input::Disconnected { server: SERVER });
    }

    /// Has the poll wait for what the line waits for.
    fn follow(&self, poll: &Poll, place: usize) {
        if let Some(line) = &self.line {
            let _ = poll.change(line, Token::Stream(name(place, true)), line.interest());
        }
    }

    /// Ends the connection.
    pub(super) fn shut(&mut self, poll: &Poll) {
        if let Some(line) = self.line.take() {
            let _ = poll.remove(&line);
            line.leave();
        }
    }

    /// Tells the agent what time it is. Says whether it has something to do.
    pub(super) fn on_time(
        &mut self,
        common: &Common,
        poll: &Poll,
        place: usize,
        now_ns: u64,
        room: &mut Room,
    ) -> bool {
        let is_line_due =
            self.line.as_ref().and_then(Line::due).is_some_and(|due| common.clock.ns_of(due) <= now_ns);
        if is_line_due {
            self.on_line(common, poll, place, now_ns, room);
        }
        let now = protocol_time(now_ns);
        let is_due = self.agent.poll_timeout().is_some_and(|due| due.is_due(now.tick()));
        if is_due {
            self.agent.handle_timeout(now);
        }
        std::mem::take(&mut self.is_woken) || is_due || is_line_due
    }

    /// Has the agent give back what it has.
    pub(super) fn close(&mut self, now_ns: u64) {
        self.agent.handle_input(protocol_time(now_ns), Input::Close);
    }
}

/// Gives the agent a whole message of the server's. The line has taken the padding of ChannelData off, which an agent that
/// reads a stream waits for.
fn hear(agent: &mut Agent, now: Now, bytes: &[u8], is_stream: bool) {
    agent.handle_input(now, Input::Bytes { server: SERVER, bytes });
    let missing = bytes.len().next_multiple_of(4) - bytes.len();
    if is_stream && missing > 0 {
        agent.handle_input(now, Input::Bytes { server: SERVER, bytes: &[0; 3][..missing] });
    }
}
