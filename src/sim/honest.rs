//! A client that keeps to the rules, and what happens to it: it is behind a NAT, it loses its way, it moves, it forgets.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::proto::auth::credential::mint;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Credential;
use crate::proto::client::Event;
use crate::proto::client::Families;
use crate::proto::client::Input;
use crate::proto::client::LegacyClient;
use crate::proto::client::Output;
use crate::proto::client::PortWish;
use crate::proto::client::Proof;
use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::Secret;
use crate::proto::types::Transport;

use super::clock::Micros;
use super::clock::SECOND;
use super::line::Line;
use super::packet::Mark;
use super::packet::Packet;
use super::packet::Sender;
use super::scenario::PASSWORD;
use super::scenario::RELAY_V4;
use super::scenario::SECRET;
use super::shared::Shared;
use super::tcp::Number;
use crate::proto::types::Dice;

/// How long a calm client may take to be served.
const CALM_MAX: Micros = 20 * SECOND;
/// Datagrams that it wants to see echoed.
const CALM_ECHOES: usize = 3;
/// Their length, which wants padding in a stream.
const CALM_LEN: usize = 61;

/// What a client is like for as long as it lives.
#[derive(Clone, Debug)]
pub(super) struct Nature {
    pub(super) families: Families,
    pub(super) mobility: bool,
    pub(super) dont_fragment: bool,
    /// It has a minted name instead of a user's.
    pub(super) minted: bool,
    pub(super) permission_lifetime: std::time::Duration,
    pub(super) channel_lifetime: std::time::Duration,
    /// What carries its messages to the server.
    pub(super) transport: Transport,
    /// It speaks the old dialect.
    pub(super) is_old: bool,
    /// What it is relayed are connections.
    pub(super) relays_connections: bool,
}

#[derive(Debug)]
pub(super) struct Honest {
    pub(super) number: u16,
    pub(super) inner: SocketAddr,
    server: SocketAddr,
    nature: Nature,
    client: Speaker,
    /// The moment for which a timer stands in the queue.
    pub(super) armed: Option<Deadline>,
    targets: Vec<SocketAddr>,
    sent: u32,
    echoed: BTreeSet<u32>,
    calm: Option<Calm>,
    /// Its IPv4 relayed address, and whom it had data from.
    pub(super) place: Option<SocketAddr>,
    pub(super) met: BTreeSet<SocketAddr>,
    /// The message that is being read cannot be trusted, so nor can what comes of it.
    tainted: bool,
    /// Its connection, if it comes over one.
    line: Option<Line>,
    /// What came back over connections, as far as it is no whole mark yet.
    echo: Vec<u8>,
}

/// A client that must be served.
#[derive(Debug)]
struct Calm {
    until: Micros,
    asked: bool,
    live: bool,
    ready: BTreeSet<SocketAddr>,
    wanted: Vec<u32>,
    moved: Moved,
    done: bool,
    by_channel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Not,
    Asked,
    Done,
}

impl Honest {
    pub(super) fn new(
        sh: &mut Shared,
        number: u16,
        inner: SocketAddr,
        server: SocketAddr,
        nature: Nature,
        targets: Vec<SocketAddr>,
    ) -> Self {
        let client = client(sh, number, &nature);
        let (sent, echoed, tainted) = (0, BTreeSet::new(), false);
        let (armed, calm) = (None, None);
        let transport = nature.transport;
        let line = transport.is_stream().then(|| Line::new(transport, server));
        Self {
            number,
            inner,
            server,
            nature,
            client,
            armed,
            targets,
            sent,
            echoed,
            calm,
            place: None,
            met: BTreeSet::new(),
            tainted,
            line,
            echo: Vec::new(),
        }
    }

    /// A datagram reached it.
    pub(super) fn hear(&mut self, sh: &mut Shared, packet: &Packet) {
        if packet.from != self.server || self.line.is_some() {
            return;
        }
        self.tainted = packet.tainted;
        self.client.handle_input(sh.clock.now(), Input::Message(&packet.payload));
        self.drain(sh);
        self.tainted = false;
    }

    /// Something came over its connection, or the end of it.
    pub(super) fn hear_line(&mut self, sh: &mut Shared) {
        let Some(number) = self.line.as_ref().and_then(|line| line.number) else { return };
        let (pieces, ended) = sh.tcp.client_read(number);
        for (bytes, tainted) in pieces {
            self.tainted = tainted;
            self.client.handle_input(sh.clock.now(), Input::Bytes(&bytes));
            self.drain(sh);
        }
        self.tainted = false;
        if ended && let Some(line) = &mut self.line {
            line.number = None;
            self.input(sh, Input::Disconnected);
        }
    }

    /// Whether this is its connection.
    pub(super) fn has_line(&self, number: Number) -> bool {
        self.line.as_ref().is_some_and(|line| line.number == Some(number))
    }

    /// Its timer rang. Answers whether something was due.
    pub(super) fn wake(&mut self, sh: &mut Shared) -> bool {
        self.armed = None;
        let now = sh.clock.now();
        let due = self.client.poll_timeout().is_some_and(|at| at.is_due(now.tick()));
        if due {
            self.client.handle_timeout(now);
            self.drain(sh);
        }
        due
    }

    /// When its timer shall ring.
    pub(super) fn next(&self) -> Option<Deadline> {
        self.client.poll_timeout()
    }

    /// Does one thing of its own.
    pub(super) fn act(&mut self, sh: &mut Shared) {
        if self.calm.is_some() {
            return self.act_calmly(sh);
        }
        if !self.client.is_live() {
            return match sh.dice.number(8) {
                0..6 => self.input(sh, Input::Allocate),
                6 => self.begin_anew(sh),
                _ => self.input(sh, Input::Release),
            };
        }
        if self.line.as_ref().is_some_and(|line| line.number.is_none() || sh.dice.chance(3)) {
            return self.lose_line(sh);
        }
        let target = sh.dice.pick(&self.targets);
        let relayed = sh.directory.relayed.clone();
        let other = if relayed.is_empty() { target } else { sh.dice.pick(&relayed) };
        match sh.dice.number(100) {
            // One that has no such wish binds, or sends.
            0..6 | 12..16 if self.nature.is_old => self.send(sh, target),
            0..6 => self.input(sh, Input::Permit(target.ip())),
            6..12 => self.input(sh, Input::Bind(PeerAddr::new(target))),
            12..16 => self.input(sh, Input::Permit(other.ip())),
            16..18 => self.input(sh, Input::Bind(PeerAddr::new(other))),
            18..24 => self.send(sh, other),
            24..28 => self.move_on(sh),
            28 => self.begin_anew(sh),
            29 => self.input(sh, Input::Release),
            _ => self.send(sh, target),
        }
    }

    /// From here on it has to be served, by a server that has no reason not to.
    pub(super) fn calm_down(&mut self, sh: &mut Shared) {
        self.begin_anew(sh);
        let calm = Calm {
            until: sh.clock.micros() + CALM_MAX,
            asked: false,
            live: false,
            ready: BTreeSet::new(),
            wanted: Vec::new(),
            moved: Moved::Not,
            done: false,
            by_channel: self.number.is_multiple_of(2),
        };
        self.calm = Some(calm);
    }

    pub(super) fn is_served(&self) -> bool {
        self.calm.as_ref().is_some_and(|calm| calm.done)
    }

    /// Whom it wants to reach in the calm: an honest peer for each family that it has.
    fn calm_targets(&self) -> Vec<SocketAddr> {
        let of = |v4: bool| self.targets.iter().copied().find(|target| target.is_ipv4() == v4);
        let (v4, v6) = match self.nature.families {
            Families::V4 => (true, false),
            Families::V6 => (false, true),
            Families::Both => (true, true),
        };
        [of(true).filter(|_| v4), of(false).filter(|_| v6)].into_iter().flatten().collect()
    }

    fn act_calmly(&mut self, sh: &mut Shared) {
        let targets = self.calm_targets();
        let Some(calm) = &mut self.calm else { return };
        if calm.done {
            return;
        }
        if sh.clock.micros() > calm.until {
            let told = format!("client {} is not served: {calm:?}", self.number);
            return sh.violated(|| told);
        }
        if !calm.asked {
            calm.asked = true;
            return self.input(sh, Input::Allocate);
        }
        if !calm.live || calm.ready.len() < targets.len() || calm.moved == Moved::Asked {
            return;
        }
        if calm.wanted.len() < CALM_ECHOES {
            let before = self.sent;
            targets.iter().for_each(|target| self.send(sh, *target));
            let numbers = before + 1..=self.sent;
            if let Some(calm) = &mut self.calm {
                calm.wanted.extend(numbers);
            }
            return;
        }
        if !calm.wanted.iter().all(|number| self.echoed.contains(number)) {
            // A Send that found no room with the control task nobody repeats.
            if self.nature.is_old && sh.dice.chance(100) {
                calm.wanted.clear();
            }
            return;
        }
        if self.nature.mobility && calm.moved == Moved::Not {
            calm.moved = Moved::Asked;
            calm.wanted.clear();
            return self.move_on(sh);
        }
        if calm.moved == Moved::Done {
            sh.coverage.fact(if self.line.is_some() { "calm moved over a stream" } else { "calm moved" });
        }
        if targets.len() > 1 {
            sh.coverage.fact("calm dual");
        }
        calm.done = true;
        if self.line.is_some() {
            sh.coverage.fact("calm over a stream");
        }
        match (self.nature.is_old, self.nature.relays_connections && self.line.is_some()) {
            (true, false) => sh.coverage.fact("calm in the old dialect"),
            (true, true) => sh.coverage.fact("calm in the old dialect over a stream"),
            (false, _) => {}
        }
        sh.coverage.fact("calm served");
    }

    fn input(&mut self, sh: &mut Shared, input: Input<'_>) {
        self.client.handle_input(sh.clock.now(), input);
        self.drain(sh);
    }

    fn send(&mut self, sh: &mut Shared, to: SocketAddr) {
        self.sent += 1;
        let len = match self.calm {
            Some(_) => CALM_LEN,
            None => sh.dice.pick(&[0, 30, 200, 1_200, 2_000]),
        };
        let mark = Mark { sender: Sender::Client(self.number), number: self.sent, answers: (u16::MAX, 0) };
        let data = mark.write(len);
        self.input(sh, Input::Send { peer: PeerAddr::new(to), data: &data });
    }

    /// Its own address is another one from here on.
    fn move_on(&mut self, sh: &mut Shared) {
        match &mut self.line {
            None => self.inner.set_port(self.inner.port().checked_add(1).unwrap_or(5_000)),
            Some(line) => line.hang_up(sh),
        }
        self.input(sh, Input::Moved);
    }

    /// Its connection is gone, or goes now without a word to the client: what it had it loses, or comes back for.
    fn lose_line(&mut self, sh: &mut Shared) {
        match &mut self.line {
            Some(line) if line.number.is_some() => {
                line.hang_up(sh);
                self.input(sh, Input::Disconnected);
            }
            _ if sh.dice.chance(100) => self.begin_anew(sh),
            _ => self.input(sh, Input::Moved),
        }
    }

    /// Lets other clients of this server reach it.
    pub(super) fn expect_clients(&mut self, sh: &mut Shared) {
        self.met.clear();
        match self.place {
            // What was sent to may send back.
            Some(place) if self.nature.is_old => self.send(sh, place),
            _ => self.input(sh, Input::Permit(RELAY_V4)),
        }
    }

    /// Sends something to another client's relayed address.
    pub(super) fn call(&mut self, sh: &mut Shared, other: SocketAddr) {
        self.send(sh, other);
    }

    /// It says nothing more.
    pub(super) fn fall_silent(&mut self, sh: &mut Shared) {
        // What such a client has on a stream lasts as long as that.
        if self.nature.is_old {
            self.begin_anew(sh);
        }
        self.armed = Some(Deadline::PAST);
        self.calm = None;
        self.place = None;
    }

    /// As if it had been switched off and on: what it had, nobody looks after.
    fn begin_anew(&mut self, sh: &mut Shared) {
        if let Some(line) = &mut self.line {
            line.hang_up(sh);
        }
        self.client = client(sh, self.number, &self.nature);
        self.echo.clear();
        self.armed = None;
    }

    fn drain(&mut self, sh: &mut Shared) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(message) => match &mut self.line {
                    None => sh.from_hosts.push(Packet::new(self.inner, self.server, message.into())),
                    Some(line) => line.send(sh, &mut self.inner, &message),
                },
                Output::Event(event) => self.note(sh, event),
            }
        }
    }

    fn note(&mut self, sh: &mut Shared, event: Event) {
        sh.note(|| format!("client {}: {event:?}", self.number).chars().take(160).collect());
        match &event {
            Event::Allocated(made) => {
                sh.tally("allocations of honest clients");
                if self.nature.relays_connections && self.line.is_some() {
                    sh.directory.announce_port(made.relayed.socket());
                    self.place = None;
                    return self.note_in_calm(sh, &event);
                }
                let places = [Some(made.relayed), made.additional].into_iter().flatten();
                self.place = places.map(|place| place.socket()).find(SocketAddr::is_ipv4);
                [Some(made.relayed), made.additional]
                    .into_iter()
                    .flatten()
                    .for_each(|address| sh.directory.announce(address.socket()));
            }
            Event::Data { peer, data } => self.heard(sh, *peer, data),
            // On a stream what such a client had may go on without it; it comes anew.
            Event::Ended(_) | Event::NotAllocated(_) if self.nature.is_old => {
                self.line.iter_mut().for_each(|line| line.hang_up(sh));
            }
            Event::Broken => {
                let number = self.number;
                sh.violated(|| format!("what client {number} got over a stream is no frame"));
            }
            _ => {}
        }
        self.note_in_calm(sh, &event);
    }

    fn note_in_calm(&mut self, sh: &mut Shared, event: &Event) {
        if self.calm.is_some() {
            self.note_calmly(sh, event);
        }
    }

    fn note_calmly(&mut self, sh: &mut Shared, event: &Event) {
        let targets = self.calm_targets();
        let Some(calm) = &mut self.calm else { return };
        match event {
            Event::Allocated(made) => {
                calm.live = true;
                if made.refused.is_some() {
                    let told = format!("client {} got half of what it asked for: {made:?}", self.number);
                    return sh.violated(|| told);
                }
                let by_channel = calm.by_channel;
                // There is one destination; whoever is sent to is permitted by that.
                if self.nature.is_old && !by_channel {
                    calm.ready.extend(targets);
                    return;
                }
                for target in targets {
                    let wish = if by_channel {
                        Input::Bind(PeerAddr::new(target))
                    } else {
                        Input::Permit(target.ip())
                    };
                    self.client.handle_input(sh.clock.now(), wish);
                }
            }
            Event::Permitted { peer } if !calm.by_channel => {
                calm.ready.extend(targets.into_iter().filter(|target| target.ip() == *peer));
            }
            Event::Bound { peer, .. } => {
                calm.ready.insert(peer.socket());
            }
            Event::Moved => calm.moved = Moved::Done,
            Event::Destination { peer } => {
                calm.ready.insert(peer.socket());
            }
            Event::Permitted { .. }
            | Event::Data { .. }
            | Event::Connected { .. }
            | Event::Attempted { .. } => {}
            Event::NotAllocated(_)
            | Event::NotPermitted { .. }
            | Event::NotBound { .. }
            | Event::NotSent { .. }
            | Event::NotConnected { .. }
            | Event::Ended(_)
            | Event::Broken => {
                let told = format!("client {} is refused service in the calm: {event:?}", self.number);
                sh.violated(|| told);
            }
        }
    }

    /// Bytes of a connection came, as from `peer`.
    fn heard_bytes(&mut self, sh: &mut Shared, peer: PeerAddr, bytes: &[u8]) {
        let number = self.line.as_ref().and_then(|line| line.number);
        let Some(seen) = number.and_then(|number| sh.tcp.get(number)).map(|it| it.from.client.socket())
        else {
            return;
        };
        let verdict = sh.flows.framed_heard(seen, peer.socket(), bytes);
        sh.judged(verdict);
        if self.calm.is_none() {
            return;
        }
        self.echo.extend_from_slice(bytes);
        while let Some((mark, _)) = self.echo.split_at_checked(CALM_LEN) {
            if let Some(Mark { number, .. }) = Mark::read(mark) {
                self.echoed.insert(number);
            }
            self.echo.drain(..CALM_LEN);
        }
    }

    /// Data came, as from `peer`.
    fn heard(&mut self, sh: &mut Shared, peer: PeerAddr, data: &[u8]) {
        sh.tally("data to honest clients");
        if self.tainted {
            return;
        }
        if self.nature.relays_connections && self.line.is_some() {
            return self.heard_bytes(sh, peer, data);
        }
        // Bare data has no sender: it is taken for that of the last destination.
        let was_sent = |other: &SocketAddr| sh.oracle.was_sent(self.number, *other, data);
        let is_bare = self.nature.is_old
            && (sh.directory.peers.iter().any(was_sent) || sh.oracle.relayed().any(was_sent));
        let by_another = |other: &SocketAddr| sh.oracle.was_sent_to_place(self.number, *other, data);
        if !is_bare
            && !sh.oracle.was_sent(self.number, peer.socket(), data)
            && !sh.directory.peers.iter().any(by_another)
            && !sh.oracle.relayed().any(by_another)
        {
            let number = self.number;
            return sh.violated(|| {
                format!("client {number} got {} bytes that {peer} did not send it", data.len())
            });
        }
        self.met.insert(peer.socket());
        if let Some(Mark { answers: (client, number), .. }) = Mark::read(data)
            && client == self.number
        {
            self.echoed.insert(number);
        }
    }
}

/// What speaks for it.
#[derive(Debug)]
enum Speaker {
    New(Box<Client<Dice>>),
    Old(Box<LegacyClient<Dice>>),
}

impl Speaker {
    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match self {
            Self::New(client) => client.handle_input(now, input),
            Self::Old(client) => client.handle_input(now, input),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::New(client) => client.handle_timeout(now),
            Self::Old(client) => client.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::New(client) => client.poll_output(),
            Self::Old(client) => client.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        match self {
            Self::New(client) => client.poll_timeout(),
            Self::Old(client) => client.poll_timeout(),
        }
    }

    const fn is_live(&self) -> bool {
        match self {
            Self::New(client) => client.is_live(),
            Self::Old(client) => client.is_live(),
        }
    }
}

fn client(sh: &mut Shared, number: u16, nature: &Nature) -> Speaker {
    let name = format!("honest{number}");
    let credential = if nature.minted {
        let (name, password) = mint(&Secret::new(SECRET), &name, sh.clock.now().unix + 3_600);
        Credential {
            username: name.into_bytes().into(),
            proof: Proof::Password(Secret::new(password.into_bytes())),
            token: None,
        }
    } else {
        Credential {
            username: name.into_bytes().into(),
            proof: Proof::Password(Secret::new(PASSWORD)),
            token: None,
        }
    };
    let mut config = Config::new(credential);
    config.families = nature.families;
    config.mobility = nature.mobility;
    config.dont_fragment = nature.dont_fragment;
    config.permission_lifetime = nature.permission_lifetime;
    config.channel_lifetime = nature.channel_lifetime;
    config.port = if nature.families == Families::Both { PortWish::Any } else { PortWish::Even };
    let config = config.over(nature.transport);
    if nature.is_old {
        return Speaker::Old(Box::new(LegacyClient::new(config, sh.dice.fork())));
    }
    Speaker::New(Box::new(Client::new(config, sh.dice.fork())))
}
