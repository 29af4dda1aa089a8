//! A client that asks for a relayed port of TCP (RFC 6062), keeps to the rules, and has peers connected and let in.

use std::net::SocketAddr;

use crate::proto::client::BindProgress;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::ConnectionBind;
use crate::proto::client::Credential;
use crate::proto::client::Event;
use crate::proto::client::Input;
use crate::proto::client::Output;
use crate::proto::client::Proof;
use crate::proto::types::ConnectionId;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Secret;
use crate::proto::types::Transport;

use super::clock::Micros;
use super::clock::SECOND;
use super::line::Line;
use super::packet::Mark;
use super::packet::Sender;
use super::scenario::PASSWORD;
use super::shared::Shared;
use super::tcp::Number;
use crate::proto::types::Dice;

/// Number of the first one among clients.
const FIRST: u16 = 200;
/// How long a calm client may take to be served.
const CALM_MAX: Micros = 30 * SECOND;
/// Bytes that it wants back from its peer.
const CALM_BYTES: usize = 3_000;

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) number: u16,
    inner: SocketAddr,
    server: SocketAddr,
    transport: Transport,
    client: Client<Dice>,
    line: Line,
    targets: Vec<SocketAddr>,
    raws: Vec<Raw>,
    sent: u32,
    /// A peer shall connect to this port of its.
    pub(super) invited: Option<SocketAddr>,
    calm: Option<Calm>,
}

/// A connection of its own that is, or becomes, one to a peer.
#[derive(Debug)]
struct Raw {
    line: Line,
    connection: ConnectionId,
    bind: Option<ConnectionBind>,
    /// It was asked for; else the peer came.
    asked: bool,
    sent: usize,
    heard: usize,
}

#[derive(Debug)]
struct Calm {
    until: Micros,
    asked: bool,
    port: Option<SocketAddr>,
    connects: bool,
    /// Bytes came back on what was asked for, and some on what came.
    echoed: bool,
    visited: bool,
    done: bool,
}

impl Caller {
    pub(super) fn new(
        sh: &mut Shared,
        at: u16,
        inner: SocketAddr,
        server: SocketAddr,
        transport: Transport,
        targets: Vec<SocketAddr>,
    ) -> Self {
        let number = FIRST + at;
        Self {
            number,
            inner,
            server,
            transport,
            client: client(sh, number, transport),
            line: Line::new(transport, server),
            targets,
            raws: Vec::new(),
            sent: 0,
            invited: None,
            calm: None,
        }
    }

    pub(super) fn has_line(&self, number: Number) -> bool {
        self.line.number == Some(number) || self.raws.iter().any(|raw| raw.line.number == Some(number))
    }

    /// Something came over one of its connections, or the end of it.
    pub(super) fn hear_line(&mut self, sh: &mut Shared, number: Number) {
        if self.line.number == Some(number) {
            let (pieces, ended) = sh.tcp.client_read(number);
            for (bytes, _) in pieces {
                self.input(sh, Input::Bytes(&bytes));
            }
            if ended {
                self.line.number = None;
                self.input(sh, Input::Disconnected);
            }
            return;
        }
        let Some(at) = self.raws.iter().position(|raw| raw.line.number == Some(number)) else { return };
        // Now and then it is slow.
        if self.calm.is_none() && sh.dice.chance(200) {
            return;
        }
        let (pieces, ended) = sh.tcp.client_read(number);
        for (bytes, _) in pieces {
            self.hear_raw(sh, at, &bytes);
        }
        let is_over = self.raws.get(at).is_some_and(|raw| ended || raw.line.number != Some(number));
        if is_over {
            self.drop_raw(sh, at);
        }
    }

    fn hear_raw(&mut self, sh: &mut Shared, at: usize, bytes: &[u8]) {
        let Some(raw) = self.raws.get_mut(at) else { return };
        let mut rest: Box<[u8]> = bytes.into();
        if let Some(bind) = &mut raw.bind {
            match bind.handle_bytes(bytes) {
                BindProgress::Joined { rest: raw_bytes } => {
                    rest = raw_bytes;
                    raw.bind = None;
                }
                BindProgress::Waiting => {
                    if let Some(request) = bind.poll_transmit() {
                        raw.line.send(sh, &mut self.inner, &request);
                    }
                    return;
                }
                BindProgress::Failed(_) => {
                    if self.calm.is_some() {
                        sh.violated(|| "a ConnectionBind fails in the calm".to_owned());
                    }
                    return raw.line.hang_up(sh);
                }
            }
        }
        let verdict = sh.flows.client_heard(raw.connection, &rest);
        sh.judged(verdict);
        sh.tally("bytes of connections to clients");
        raw.heard += rest.len();
        let (asked, heard) = (raw.asked, raw.heard);
        if let Some(calm) = &mut self.calm {
            calm.echoed |= asked && heard >= CALM_BYTES;
            calm.visited |= !asked && heard > 0;
        }
    }

    fn drop_raw(&mut self, sh: &mut Shared, at: usize) {
        let mut raw = self.raws.swap_remove(at);
        raw.line.hang_up(sh);
    }

    /// Does one thing of its own.
    pub(super) fn act(&mut self, sh: &mut Shared) {
        let now = sh.clock.now();
        if self.client.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
            sh.steps += 1;
            self.client.handle_timeout(now);
            self.drain(sh);
        }
        let numbers: Vec<_> = self.raws.iter().filter_map(|raw| raw.line.number).collect();
        for number in numbers {
            self.hear_line(sh, number);
        }
        for raw in &mut self.raws {
            let failed = raw.bind.as_mut().is_some_and(|it| it.handle_timeout(now) != BindProgress::Waiting);
            if failed {
                raw.line.hang_up(sh);
            }
        }
        self.raws.retain(|raw| raw.line.number.is_some());
        if self.calm.is_some() {
            return self.act_calmly(sh);
        }
        if !self.client.is_live() {
            return match sh.dice.number(6) {
                0 => self.begin_anew(sh),
                _ => self.input(sh, Input::Allocate),
            };
        }
        let target = sh.dice.pick(&self.targets);
        match sh.dice.number(100) {
            0..20 => self.input(sh, Input::Connect(PeerAddr::new(target))),
            20..30 => self.input(sh, Input::Permit(target.ip())),
            30..33 if !self.raws.is_empty() => {
                let at = sh.dice.index(self.raws.len());
                self.drop_raw(sh, at);
            }
            33 if sh.dice.chance(300) => {
                self.line.hang_up(sh);
                self.input(sh, Input::Disconnected);
            }
            34 if sh.dice.chance(300) => self.input(sh, Input::Release),
            35 if sh.dice.chance(300) => self.begin_anew(sh),
            _ => self.send_raw(sh),
        }
    }

    /// Writes something on one of its raw connections.
    fn send_raw(&mut self, sh: &mut Shared) {
        let joined: Vec<_> = (0..self.raws.len()).filter(|at| self.raws[*at].bind.is_none()).collect();
        if joined.is_empty() {
            return;
        }
        let at = sh.dice.pick(&joined);
        let len = if self.calm.is_some() { 1_000 } else { sh.dice.pick(&[30, 200, 1_400, 20_000]) };
        self.write_raw(sh, at, len);
    }

    fn write_raw(&mut self, sh: &mut Shared, at: usize, len: usize) {
        self.sent += 1;
        let mark = Mark { sender: Sender::Client(self.number), number: self.sent, answers: (u16::MAX, 0) };
        let bytes = mark.write(len);
        let raw = &mut self.raws[at];
        let Some(number) = raw.line.number else { return };
        raw.sent += bytes.len();
        sh.flows.client_sent(raw.connection, &bytes);
        sh.tcp.client_send(number, &bytes, false);
    }

    /// From here on it has to be served.
    pub(super) fn calm_down(&mut self, sh: &mut Shared) {
        self.begin_anew(sh);
        let until = sh.clock.micros() + CALM_MAX;
        let (port, asked, connects) = (None, false, false);
        let (echoed, visited, done) = (false, false, false);
        self.calm = Some(Calm { until, asked, port, connects, echoed, visited, done });
    }

    pub(super) fn is_served(&self) -> bool {
        self.calm.as_ref().is_some_and(|calm| calm.done)
    }

    fn act_calmly(&mut self, sh: &mut Shared) {
        let Some(calm) = &mut self.calm else { return };
        if calm.done {
            return;
        }
        if sh.clock.micros() > calm.until {
            let told = format!("caller {} is not served: {calm:?}, {:?}", self.number, self.raws);
            return sh.violated(|| told);
        }
        if calm.echoed && calm.visited {
            calm.done = true;
            return sh.coverage.fact("calm over connections");
        }
        if !calm.asked {
            calm.asked = true;
            return self.input(sh, Input::Allocate);
        }
        if calm.port.is_none() {
            return;
        }
        if !calm.connects {
            calm.connects = true;
            let peer = self.targets[0];
            self.input(sh, Input::Permit(peer.ip()));
            return self.input(sh, Input::Connect(PeerAddr::new(peer)));
        }
        for at in 0..self.raws.len() {
            let raw = &self.raws[at];
            if raw.bind.is_none() && raw.asked && raw.sent < CALM_BYTES {
                self.write_raw(sh, at, 1_000);
            }
        }
    }

    fn input(&mut self, sh: &mut Shared, input: Input<'_>) {
        self.client.handle_input(sh.clock.now(), input);
        self.drain(sh);
    }

    fn begin_anew(&mut self, sh: &mut Shared) {
        self.line.hang_up(sh);
        self.raws.iter_mut().for_each(|raw| raw.line.hang_up(sh));
        self.raws.clear();
        self.client = client(sh, self.number, self.transport);
    }

    /// It says nothing more, and holds nothing.
    pub(super) fn fall_silent(&mut self, sh: &mut Shared) {
        self.calm = None;
        self.begin_anew(sh);
    }

    fn drain(&mut self, sh: &mut Shared) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(message) => self.line.send(sh, &mut self.inner, &message),
                Output::Event(event) => self.note(sh, &event),
            }
        }
    }

    fn note(&mut self, sh: &mut Shared, event: &Event) {
        sh.note(|| format!("caller {}: {event:?}", self.number));
        match event {
            Event::Allocated(made) => {
                sh.tally("allocations of honest clients");
                sh.directory.announce_port(made.relayed.socket());
                if let Some(calm) = &mut self.calm {
                    calm.port = Some(made.relayed.socket());
                }
            }
            Event::Permitted { .. } => {
                if let Some(calm) = &self.calm {
                    self.invited = calm.port;
                }
            }
            Event::Connected { connection, .. } => self.bind(sh, *connection, true),
            Event::Attempted { connection, .. } => self.bind(sh, *connection, false),
            Event::Broken => sh.violated(|| "what a caller got over a stream is no frame".to_owned()),
            Event::NotAllocated(_)
            | Event::NotPermitted { .. }
            | Event::NotConnected { .. }
            | Event::Ended(_)
                if self.calm.is_some() =>
            {
                let told = format!("caller {} is refused service in the calm: {event:?}", self.number);
                sh.violated(|| told);
            }
            _ => {}
        }
    }

    /// Brings a connection of its own to be joined to a peer's; or leaves that waiting.
    fn bind(&mut self, sh: &mut Shared, connection: ConnectionId, asked: bool) {
        sh.directory.connection = Some(connection);
        if self.calm.is_none() && sh.dice.chance(150) {
            return;
        }
        let Some(mut bind) = self.client.bind_connection(sh.clock.now(), connection) else { return };
        let mut line = Line::new(self.transport, self.server);
        if let Some(request) = bind.poll_transmit() {
            line.send(sh, &mut self.inner, &request);
        }
        self.raws.push(Raw { line, connection, bind: Some(bind), asked, sent: 0, heard: 0 });
    }
}

fn client(sh: &mut Shared, number: u16, transport: Transport) -> Client<Dice> {
    let credential = Credential {
        username: format!("caller{}", number - FIRST).into_bytes().into(),
        proof: Proof::Password(Secret::new(PASSWORD)),
        token: None,
    };
    let mut config = Config::new(credential).over(transport);
    config.relays = RelayProtocol::Tcp;
    Client::new(config, sh.dice.fork())
}
