//! The door: whose packet it is, and where what comes of it goes.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::RelayId;
use crate::proto::types::ServerAddr;
use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::proto::types::limits::RESPONSE_MAX;
use crate::proto::types::limits::TESTBED_CLIENTS_MAX;
use crate::proto::types::limits::TESTBED_FIVE_TUPLES_MAX;
use crate::proto::types::limits::TESTBED_STREAMS_MAX;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame;
use crate::testbed::scenario::Scenarios;

use super::Button;
use super::Input;
use super::Judgement;
use super::Kind;
use super::Note;
use super::Output;
use super::Setup;
use super::core::challenger;
use super::core::credentials;
use super::core::proven;
use super::guest::Guest;
use super::guest::Out;
use super::message;

/// A connection of a client.
#[derive(Debug)]
struct Line {
    from: FiveTuple,
    /// What came and is no whole frame yet.
    inbox: Vec<u8>,
}

/// What is to be known of one client.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    /// Its TURN user name.
    pub name: &'a str,
    /// The scenario that it chose; empty for none.
    pub scenario: &'a str,
    /// What it has to do, as the scenario says.
    pub expected: &'a str,
    /// Whether the scenario says what it has to do.
    pub expects: bool,
    /// Whether it has an allocation.
    pub live: bool,
    /// Requests that it sent beyond the one that was befallen, of its method.
    pub further: u32,
    /// Whether it did what its scenario expects.
    pub judgement: &'a Judgement,
}

/// A server that misbehaves on request.
#[derive(Debug)]
pub struct Edge<E> {
    setup: Arc<Setup>,
    scenarios: Scenarios,
    entropy: E,
    /// Says to those who are nobody yet what every server says to strangers.
    challenger: Challenger,
    guests: BTreeMap<Arc<str>, Guest>,
    routes: HashMap<FiveTuple, Arc<str>>,
    relays: BTreeMap<SocketAddr, Arc<str>>,
    lines: BTreeMap<StreamId, Line>,
    streams: HashMap<FiveTuple, StreamId>,
    outputs: VecDeque<Output>,
}

impl<E: Entropy> Edge<E> {
    /// A server without clients.
    #[must_use]
    pub fn new(setup: Setup, scenarios: Scenarios, mut entropy: E) -> Self {
        let challenger = challenger(&setup, &setup.realm, NonceKey::generate(&mut entropy));
        Self {
            setup: Arc::new(setup),
            scenarios,
            entropy,
            challenger,
            guests: BTreeMap::new(),
            routes: HashMap::new(),
            relays: BTreeMap::new(),
            lines: BTreeMap::new(),
            streams: HashMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Datagram { at, from, bytes } => {
                self.message(now, five_tuple(at, from, Transport::Udp), bytes);
            }
            Input::Accepted { stream, at, from, transport } => {
                if self.lines.len() >= TESTBED_STREAMS_MAX {
                    return self.outputs.push_back(Output::Shut { stream });
                }
                let from = five_tuple(at, from, transport);
                self.streams.insert(from, stream);
                self.lines.insert(stream, Line { from, inbox: Vec::new() });
            }
            Input::Bytes { stream, bytes } => self.bytes(now, stream, bytes),
            Input::Closed { stream } => self.closed(now, stream),
            Input::FromPeer { at, from, bytes } => self.of_peer(now, at, from, bytes),
            Input::Bound { at } => self.bound(now, at, true),
            Input::NotBound { at } => self.bound(now, at, false),
            Input::Button(button) => self.button(now, button),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |guest: &Guest| guest.poll_timeout().is_some_and(|at| at.is_due(now.tick()));
        let names = self.guests.values().filter(|guest| due(guest)).map(|guest| Arc::clone(&guest.name));
        for name in names.collect::<Vec<_>>() {
            self.with(now, &name, |guest| guest.handle_timeout(now));
        }
    }

    /// No client sends anything more: verdicts that wait for a deadline fall now.
    pub fn finish(&mut self, now: Now) {
        for name in self.guests.keys().cloned().collect::<Vec<_>>() {
            self.with(now, &name, Guest::finish);
        }
    }

    /// The next thing to be done; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.guests.values().filter_map(Guest::poll_timeout).min()
    }

    /// Its clients, by name.
    pub fn clients(&self) -> impl Iterator<Item = ClientView<'_>> {
        self.guests.values().map(|guest| ClientView {
            name: &guest.name,
            scenario: &guest.scenario.name,
            expected: guest.scenario.expect.as_ref().map_or("", |expect| &expect.client),
            expects: guest.scenario.expect.is_some(),
            live: guest.is_live(),
            further: guest.judge.further(),
            judgement: &guest.judge.judgement,
        })
    }

    /// Its scenarios.
    #[must_use]
    pub const fn scenarios(&self) -> &Scenarios {
        &self.scenarios
    }

    fn bytes(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&stream) else { return };
        line.inbox.extend_from_slice(bytes);
        loop {
            let Some(line) = self.lines.get_mut(&stream) else { return };
            match next_frame(&line.inbox) {
                Next::Frame { len } => {
                    let rest = line.inbox.split_off(len);
                    let frame = std::mem::replace(&mut line.inbox, rest);
                    let from = line.from;
                    self.message(now, from, &frame);
                }
                Next::More { .. } => return,
                Next::Broken => {
                    self.closed(now, stream);
                    return self.outputs.push_back(Output::Shut { stream });
                }
            }
        }
    }

    fn closed(&mut self, now: Now, stream: StreamId) {
        let Some(line) = self.lines.remove(&stream) else { return };
        self.streams.remove(&line.from);
        if let Some(name) = self.routes.remove(&line.from) {
            self.with(now, &name, |guest| guest.gone(now, line.from));
        }
    }

    /// A whole message of a client.
    fn message(&mut self, now: Now, from: FiveTuple, bytes: &[u8]) {
        let Ok(request) = decode_request(bytes) else {
            if let Some(name) = self.routes.get(&from).cloned() {
                self.with(now, &name, |guest| guest.data(now, from, bytes));
            }
            return;
        };
        match self.whose(now, from, &request) {
            Some(name) => self.with(now, &name, |guest| guest.request(now, from, bytes)),
            None => self.greet(now, from, &request, bytes),
        }
    }

    /// Whose request it is. Who proves to be somebody else than came from there before is that from here on, unless there
    /// is an allocation: then it is for its server to say what it thinks of it.
    fn whose(&mut self, now: Now, from: FiveTuple, request: &Request<'_>) -> Option<Arc<str>> {
        let before = self.routes.get(&from).cloned();
        let Some(name) = request.auth.username.and_then(|name| std::str::from_utf8(name).ok()) else {
            return before;
        };
        if before.as_deref() == Some(name) {
            return before;
        }
        let is_held = |name: &Arc<str>| self.guests.get(name).is_some_and(|guest| guest.core.has(&from));
        if before.as_ref().is_some_and(is_held) {
            return before;
        }
        match self.guests.get(name) {
            Some(guest) => {
                guest.core.key_of(now, &from, request)?;
            }
            None => {
                let credentials = credentials(&self.setup, &self.setup.realm, name.as_bytes());
                proven(&self.challenger, &credentials, now, &from, request)?;
                self.admit(name)?;
            }
        }
        let name: Arc<str> = name.into();
        self.route(from, Arc::clone(&name));
        Some(name)
    }

    /// A client that has not been here before.
    fn admit(&mut self, name: &str) -> Option<()> {
        if self.guests.len() >= TESTBED_CLIENTS_MAX {
            let idle =
                self.guests.values().find(|guest| !guest.is_live()).map(|guest| Arc::clone(&guest.name))?;
            self.guests.remove(&idle);
            self.routes.retain(|_, name| *name != idle);
        }
        let scenario = Arc::clone(self.scenarios.of(name));
        let nonce_key = self.challenger.nonce_key.clone();
        let guest = Guest::new(name.into(), scenario, Arc::clone(&self.setup), nonce_key, &mut self.entropy);
        self.guests.insert(name.into(), guest);
        Some(())
    }

    fn route(&mut self, from: FiveTuple, name: Arc<str>) {
        if self.routes.len() >= TESTBED_FIVE_TUPLES_MAX {
            let guests = &self.guests;
            self.routes.retain(|from, name| guests.get(name).is_some_and(|guest| guest.core.has(from)));
        }
        if self.routes.len() < TESTBED_FIVE_TUPLES_MAX {
            self.routes.insert(from, name);
        }
    }

    /// The answer to somebody who is nobody yet.
    fn greet(&mut self, now: Now, from: FiveTuple, request: &Request<'_>, bytes: &[u8]) {
        let mut out = [0; RESPONSE_MAX];
        match self.challenger.greet(now.tick(), &from, bytes, &mut out) {
            Greeting::Answer { len, to, .. } => self.tell(to, out[..len].into()),
            Greeting::ToControl => {
                let nonce = self.challenger.nonce_key.mint(now.tick(), &from);
                let code = ErrorCode::Unauthenticated;
                let answer = message::refusal(request, code, (&self.challenger, &nonce), None, None);
                if let Some(answer) = answer {
                    self.tell(from, answer);
                }
            }
            Greeting::Malformed => {}
        }
    }

    fn of_peer(&mut self, now: Now, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Some(name) = self.relays.get(&at).cloned() else { return };
        self.with(now, &name, |guest| {
            let of = |(relay, port): (&RelayId, &super::guest::Port)| (port.at == at).then_some(*relay);
            if let Some(relay) = guest.relays.iter().find_map(of) {
                guest.of_peer(now, relay, from, bytes);
            }
        });
    }

    fn bound(&mut self, now: Now, at: SocketAddr, is_there: bool) {
        let name = if is_there { self.relays.get(&at).cloned() } else { self.relays.remove(&at) };
        match name {
            Some(name) => self.with(now, &name, |guest| guest.bound(now, at, is_there)),
            // It was given up meanwhile.
            None if is_there => self.outputs.push_back(Output::Unbind { at }),
            None => {}
        }
    }

    fn button(&mut self, now: Now, button: Button<'_>) {
        let name: Arc<str> = button.client.into();
        self.with(now, &name, |guest| {
            guest.note(Kind::Fault, None, format!("a button was pressed: {}", button.what.word()));
            if let Some(what) = guest.sabotage.press(button.what) {
                guest.act(now, None, &what);
            }
        });
    }

    /// Has something happen to a client, and carries out what comes of it.
    fn with(&mut self, now: Now, name: &Arc<str>, happen: impl FnOnce(&mut Guest)) {
        let Some(mut guest) = self.guests.remove(name) else { return };
        happen(&mut guest);
        while let Some(out) = guest.out.pop_front() {
            self.carry_out(now, &mut guest, out);
        }
        self.guests.insert(Arc::clone(name), guest);
    }

    fn carry_out(&mut self, now: Now, guest: &mut Guest, out: Out) {
        match out {
            Out::Tell { to, bytes } => self.tell(to, bytes),
            Out::ToPeer { at, to, bytes } => self.outputs.push_back(Output::ToPeer { at, to, bytes }),
            // Another client has it.
            Out::Bind { at } if self.relays.contains_key(&at) => guest.bound(now, at, false),
            Out::Bind { at } => {
                self.relays.insert(at, Arc::clone(&guest.name));
                self.outputs.push_back(Output::Bind { at });
            }
            Out::Unbind { at } => {
                if self.relays.get(&at).is_some_and(|name| *name == guest.name) {
                    self.relays.remove(&at);
                    self.outputs.push_back(Output::Unbind { at });
                }
            }
            Out::Cut => {
                let of_guest = |(from, stream): (&FiveTuple, &StreamId)| {
                    self.routes.get(from).is_some_and(|name| *name == guest.name).then_some(*stream)
                };
                let cut: Vec<StreamId> = self.streams.iter().filter_map(of_guest).collect();
                for stream in cut {
                    if let Some(line) = self.lines.remove(&stream) {
                        self.streams.remove(&line.from);
                        self.routes.remove(&line.from);
                    }
                    self.outputs.push_back(Output::Shut { stream });
                }
            }
            Out::Note { kind, from, words } => {
                let client = Some(Arc::clone(&guest.name));
                self.outputs.push_back(Output::Note(Note { at: now.tick(), client, from, kind, words }));
            }
        }
    }

    fn tell(&mut self, to: FiveTuple, bytes: Box<[u8]>) {
        if to.transport.is_stream() {
            if let Some(stream) = self.streams.get(&to) {
                self.outputs.push_back(Output::Write { stream: *stream, bytes });
            }
            return;
        }
        let (at, to) = (to.server.socket(), to.client.socket());
        self.outputs.push_back(Output::Datagram { at, to, bytes });
    }
}

fn five_tuple(at: SocketAddr, from: SocketAddr, transport: Transport) -> FiveTuple {
    FiveTuple { client: ClientAddr::new(from), server: ServerAddr::new(at), transport }
}
