//! One agent, and the sockets that carry what it says.

use std::net::SocketAddr;

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
use crate::load::machine::Ports;
use crate::net::Token;
use crate::proto::types::Now;
use crate::proto::types::StreamId;

use super::outlet::Outlet;
use super::world::World;

/// What of a side the poll knows by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The socket of so many-th external port.
    Door(usize),
    /// Its line to the server at this place in its configuration.
    Line(usize),
}

/// Set in the names of lines.
const LINE: u32 = 1 << 31;

/// What the poll knows a part of a side by.
pub(super) const fn name(place: usize, part: Part) -> StreamId {
    let generation = match part {
        Part::Door(number) => number as u32,
        Part::Line(server) => LINE | server as u32,
    };
    StreamId { index: place as u32, generation }
}

/// Which side a name is of, and which part of it.
pub(super) const fn place(name: StreamId) -> (usize, Part) {
    let number = (name.generation & !LINE) as usize;
    let part = if name.generation & LINE == 0 { Part::Door(number) } else { Part::Line(number) };
    (name.index as usize, part)
}

/// One side of a pair.
pub(super) struct Side {
    pub(super) agent: Agent,
    /// By what its datagrams leave; `None`: it has none.
    pub(super) outlet: Option<Outlet>,
    /// One for each server of its configuration.
    legs: Vec<Leg>,
    /// Its agent was told something out of turn.
    pub(super) is_woken: bool,
    pub(super) is_closing: bool,
    pub(super) is_closed: bool,
    /// The server took its address for somebody else's.
    pub(super) is_taken: bool,
}

/// The way to one server over a connection.
#[derive(Default)]
struct Leg {
    line: Option<Line>,
    /// Why there is no line any more.
    failure: Option<carrier::Failure>,
    is_up: bool,
}

impl Side {
    /// An agent, with `outlet` for its datagrams.
    pub(super) fn open(config: Config, clock: Clock, outlet: Option<Outlet>) -> Self {
        let legs = config.servers.iter().map(|_| Leg::default()).collect();
        Self {
            agent: Agent::new(config, clock, &mut Dice::new()),
            outlet,
            legs,
            is_woken: false,
            is_closing: false,
            is_closed: false,
            is_taken: false,
        }
    }

    /// The address of its datagrams, as itself sees it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.outlet.as_ref().map(|outlet| outlet.local)
    }

    /// Whether its firewall lets it take the way at this place.
    pub(super) fn is_let_out(&self, world: &World<'_>, server: usize) -> bool {
        let way = world.ways.get(server);
        way.is_some_and(|way| self.outlet.as_ref().is_none_or(|outlet| outlet.lets_out(&way.way)))
    }

    /// Why a line came to its end, if it did.
    pub(super) fn take_failure(&mut self, server: usize) -> Option<carrier::Failure> {
        self.legs.get_mut(server)?.failure.take()
    }

    /// Sends a datagram.
    pub(super) fn transmit(
        &mut self,
        world: &World<'_>,
        place: usize,
        now_ns: u64,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let Some(outlet) = &mut self.outlet else { return };
        let now = protocol_time(now_ns);
        outlet.send(now.tick(), to, bytes, &mut |socket, number| {
            // A socket that is not watched brings nothing, and its pair fails by time.
            let _ = world.poll.add(socket, Token::Stream(name(place, Part::Door(number))));
        });
        while let Some((from, bytes)) = outlet.next_turned() {
            let local = outlet.local;
            self.agent.handle_input(now, Input::Datagram { local, from, bytes: &bytes });
            self.is_woken = true;
        }
    }

    /// Gives the agent what has come to a socket.
    pub(super) fn receive(&mut self, number: usize, now_ns: u64, buffer: &mut [u8]) {
        let Some(outlet) = &mut self.outlet else { return };
        let (now, local) = (protocol_time(now_ns), outlet.local);
        let (agent, is_taken) = (&mut self.agent, &mut self.is_taken);
        outlet.receive(now.tick(), number, buffer, &mut |from, bytes| {
            *is_taken |= says_taken(bytes);
            agent.handle_input(now, Input::Datagram { local, from, bytes });
        });
    }

    /// Begins a connection to a server. One that the firewall stops hears nothing, and is given up in time.
    pub(super) fn dial(
        &mut self,
        world: &World<'_>,
        ports: &mut Ports,
        place: usize,
        server: usize,
        now_ns: u64,
    ) {
        if !self.is_let_out(world, server) {
            return;
        }
        let Some(dialler) = world.ways.get(server).and_then(|way| way.dialler.as_ref()) else { return };
        let now = world.common.clock.instant(now_ns);
        let external = self.outlet.as_ref().and_then(|outlet| outlet.external);
        let dialled = match external {
            // An address of its own has ports enough for the kernel to choose from.
            Some(ip) => dialler.dial(Some(SocketAddr::new(ip, 0)), now),
            None => ports.open(|local| dialler.dial(Some(local), now)),
        };
        match dialled {
            Ok(line) => {
                // What is not watched does not come up, and is given up in time.
                let _ = world.poll.add(&line, Token::Stream(name(place, Part::Line(server))));
                self.legs[server].line = Some(line);
                self.follow(world, place, server);
            }
            Err(error) => self.cut(server, now_ns, carrier::Failure::of(&error)),
        }
    }

    /// Writes one whole message to a server.
    pub(super) fn write(&mut self, world: &World<'_>, place: usize, server: usize, bytes: &[u8]) {
        if let Some(line) = self.legs.get_mut(server).and_then(|leg| leg.line.as_mut()) {
            // Without room it is lost, as a datagram would be; a line that breaks is told by what is read from it.
            line.write(Parcel::Message(bytes));
            let _ = line.flush();
        }
        self.follow(world, place, server);
    }

    /// Goes on with what a connection is ready for, or time demands.
    pub(super) fn on_line(
        &mut self,
        world: &World<'_>,
        place: usize,
        server: usize,
        now_ns: u64,
        room: &mut Room,
    ) {
        let (now, time) = (world.common.clock.instant(now_ns), protocol_time(now_ns));
        let Some(leg) = self.legs.get_mut(server) else { return };
        let Some(line) = &mut leg.line else { return };
        line.on_ready(now, room);
        if matches!(line.standing(), Standing::Up(_)) && !leg.is_up {
            leg.is_up = true;
            self.agent.handle_input(time, Input::Opened { server });
        }
        let is_stream = world.ways.get(server).is_some_and(|way| way.server.carrier.is_stream());
        let agent = &mut self.agent;
        let mut each = |parcel: Parcel<'_>| {
            if let Parcel::Message(bytes) = parcel {
                hear(agent, time, server, bytes, is_stream);
            }
        };
        let went = line.read(now, room, &mut each).and_then(|()| line.flush());
        let failure = match (went, line.standing()) {
            (Err(failure), _) => failure,
            (Ok(_), Standing::Failed(failure)) => failure.clone(),
            (Ok(_), _) => return self.follow(world, place, server),
        };
        self.shut(world, server);
        self.cut(server, now_ns, failure);
    }

    fn cut(&mut self, server: usize, now_ns: u64, failure: carrier::Failure) {
        self.legs[server].failure = Some(failure);
        self.agent.handle_input(protocol_time(now_ns), Input::Disconnected { server });
    }

    /// Has the poll wait for what a line waits for.
    fn follow(&self, world: &World<'_>, place: usize, server: usize) {
        if let Some(line) = self.legs.get(server).and_then(|leg| leg.line.as_ref()) {
            let _ = world.poll.change(line, Token::Stream(name(place, Part::Line(server))), line.interest());
        }
    }

    /// Ends a connection.
    pub(super) fn shut(&mut self, world: &World<'_>, server: usize) {
        if let Some(line) = self.legs.get_mut(server).and_then(|leg| leg.line.take()) {
            let _ = world.poll.remove(&line);
            line.leave();
        }
    }

    /// Tells the agent what time it is. Says whether it has something to do.
    pub(super) fn on_time(&mut self, world: &World<'_>, place: usize, now_ns: u64, room: &mut Room) -> bool {
        let is_due = |leg: &Leg| {
            leg.line.as_ref().and_then(Line::due).is_some_and(|due| world.common.clock.ns_of(due) <= now_ns)
        };
        let mut is_line_due = false;
        for server in 0..self.legs.len() {
            if is_due(&self.legs[server]) {
                is_line_due = true;
                self.on_line(world, place, server, now_ns, room);
            }
        }
        let now = protocol_time(now_ns);
        let is_due = self.agent.poll_timeout().is_some_and(|due| due.is_due(now.tick()));
        if is_due {
            self.agent.handle_timeout(now);
        }
        std::mem::take(&mut self.is_woken) || is_due || is_line_due
    }

    /// Has the agent give back what it has, once.
    pub(super) fn close(&mut self, now_ns: u64) {
        if !std::mem::replace(&mut self.is_closing, true) {
            self.agent.handle_input(protocol_time(now_ns), Input::Close);
            self.is_woken = true;
        }
    }

    /// Closes all sockets of an agent that has given back what it had.
    pub(super) fn free(&mut self, world: &World<'_>) {
        (0..self.legs.len()).for_each(|server| self.shut(world, server));
        self.outlet = None;
    }
}

/// Gives the agent a whole message of a server's. The line has taken the padding of ChannelData off, which an agent that
/// reads a stream waits for.
fn hear(agent: &mut Agent, now: Now, server: usize, bytes: &[u8], is_stream: bool) {
    agent.handle_input(now, Input::Bytes { server, bytes });
    let missing = bytes.len().next_multiple_of(4) - bytes.len();
    if is_stream && missing > 0 {
        agent.handle_input(now, Input::Bytes { server, bytes: &[0; 3][..missing] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_name_of_its_own() {
        let parts = (0..40).flat_map(|number| [Part::Door(number), Part::Line(number)]);
        let named: Vec<_> = parts.map(|part| (name(200_000, part), part)).collect();
        for (at, (named_so, part)) in named.iter().enumerate() {
            assert_eq!(place(*named_so), (200_000, *part));
            assert!(named[..at].iter().all(|(other, _)| other != named_so));
        }
    }
}
