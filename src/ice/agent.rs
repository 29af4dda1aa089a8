//! The door: what happens to an agent, and when it wants to be woken.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use crate::proto::client;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::Secret;

use super::Candidate;
use super::Clock;
use super::Config;
use super::Description;
use super::Event;
use super::Failure;
use super::Input;
use super::Kind;
use super::Output;
use super::Path;
use super::Policy;
use super::Role;
use super::checks::Checks;
use super::checks::Finding;
use super::consent::Consent;
use super::gather::Gathering;
use super::peer::Peer;
use super::server::Stage;
use super::server::Way;
use super::source::Source;

/// A full ICE agent. After each call of [`Self::handle_input`] or [`Self::handle_timeout`] take every output, then give the
/// next input.
pub struct Agent {
    pub(super) config: Config,
    pub(super) source: Source,
    ufrag: Box<str>,
    password: Secret,
    pub(super) checks: Checks,
    pub(super) gathering: Gathering,
    pub(super) peer: Peer,
    /// Until when it has to be connected, once it can be.
    connect_until: Option<Deadline>,
    path: Option<Path>,
    consent: Consent,
    /// The relay of the path was lost, and no other path was found since.
    relay_lost: bool,
    pub(super) phase: Phase,
    pub(super) outputs: VecDeque<Output>,
    next: Option<Deadline>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Working,
    Failed,
    Closing,
    Closed,
}

/// Characters of our own credentials, of 6 bits each: RFC 8445 § 5.3 wants 24 and 128 bits at least.
const UFRAG_LEN: usize = 8;
const PASSWORD_LEN: usize = 24;

/// What every STUN message has behind its first four bytes (RFC 8489 § 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

impl Agent {
    /// An agent that has done nothing yet. Of `entropy` it draws once; whatever it needs later follows from that.
    #[must_use]
    pub fn new(config: Config, clock: Clock, entropy: &mut impl Entropy) -> Self {
        let mut source = Source::draw(entropy);
        let (ufrag, password) = (source.text(UFRAG_LEN), source.text(PASSWORD_LEN));
        let checks = Checks::new(config.role, &ufrag, &password, clock, source.fork());
        Self {
            config,
            source,
            ufrag,
            password: Secret::new(password.as_bytes()),
            checks,
            gathering: Gathering::default(),
            peer: Peer::default(),
            connect_until: None,
            path: None,
            consent: Consent::default(),
            relay_lost: false,
            phase: Phase::Working,
            outputs: VecDeque::new(),
            next: None,
        }
    }

    /// Makes it a wrong client, or a right one again.
    #[cfg(test)]
    pub(crate) const fn ignore_consent(&mut self, ignores: bool) {
        self.config.ignores_consent = ignores;
    }

    /// Takes in one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::LocalAddress(address) => self.local_address(now, address),
            Input::Gather => self.gather(now),
            Input::Remote(description) => self.remote(now, description),
            Input::RemoteCandidate(candidate) => self.remote_candidate(now, candidate),
            Input::EndOfCandidates => self.peer.ended = true,
            Input::Datagram { local, from, bytes } => self.datagram(now, local, from, bytes),
            Input::Opened { server } => self.opened(now, server),
            Input::Bytes { server, bytes } => self.line(now, server, client::Input::Bytes(bytes)),
            Input::Disconnected { server } => self.disconnected(now, server),
            Input::Send(data) => self.send(now, data),
            Input::Close => self.close(now),
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.gathering_timeout(now);
        let is_due = |at: Option<Deadline>| at.is_some_and(|at| at.is_due(now.tick()));
        if self.phase == Phase::Working && is_due(self.checks.poll_timeout()) {
            self.checks.handle_timeout(now);
        }
        self.settle(now);
    }

    /// The next thing to be done; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling. A value that is read, not worked out.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        self.next
    }

    /// What the other side has to be told: the credentials, and the candidates found so far.
    #[must_use]
    pub fn description(&self) -> Description {
        Description {
            ufrag: self.ufrag.clone(),
            password: self.password.clone(),
            lite: false,
            candidates: self.gathering.candidates.clone(),
            passed_over: 0,
            ended: self.gathering.is_done,
        }
    }

    /// The pair that data goes by, or went by last.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.path.map(|path| self.path_of(path.base, path.peer))
    }

    /// Its role by now (RFC 8445 § 7.3.1.1).
    #[must_use]
    pub fn role(&self) -> Role {
        self.checks.role()
    }

    /// The server whose relay has this relayed address; `None`: none that this agent uses.
    #[must_use]
    pub fn server_of(&self, relayed: SocketAddr) -> Option<usize> {
        self.gathering.relay_of(relayed).map(|at| self.gathering.relays[at].server)
    }

    /// The other side's data in a datagram that came to the socket bound to `local`; for whoever would rather read it in place
    /// than be told of it by [`Event::Data`]. `None` says that the datagram is an input.
    #[must_use]
    pub fn read<'a>(&self, local: SocketAddr, from: SocketAddr, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (peer, data) = match self.relay_at(local, from) {
            Some(at) => self.gathering.relays[at].client.read(bytes)?,
            None => return self.is_data(from, bytes).then_some(bytes),
        };
        self.is_data(peer.socket(), data).then_some(data)
    }

    /// The same for what came by a server's line, if it is one whole message.
    #[must_use]
    pub fn read_line<'a>(&self, server: usize, message: &'a [u8]) -> Option<&'a [u8]> {
        let relay =
            self.gathering.relays.iter().find(|relay| relay.server == server && relay.way == Way::Line)?;
        let (peer, data) = relay.client.read(message)?;
        self.is_data(peer.socket(), data).then_some(data)
    }

    fn is_data(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.phase == Phase::Working && !is_stun(bytes) && self.peer.is_heard(from)
    }

    fn remote(&mut self, now: Now, description: &Description) {
        let is_new = self.peer.ufrag.is_none() && self.phase == Phase::Working;
        if is_new {
            self.peer.describe(&description.ufrag);
            let password = String::from_utf8_lossy(description.password.expose());
            self.checks.describe(&description.ufrag, &password, description.lite);
            for at in 0..self.peer.candidates().len() {
                self.reach(now, &self.peer.candidates()[at].clone());
            }
        }
        for candidate in &description.candidates {
            self.remote_candidate(now, candidate);
        }
        self.peer.ended |= description.ended;
        if is_new {
            self.checks.handle_timeout(now);
        }
    }

    fn remote_candidate(&mut self, now: Now, candidate: &Candidate) {
        if self.peer.add(candidate) && self.peer.ufrag.is_some() {
            self.reach(now, candidate);
        }
    }

    /// Pairs a candidate of the other side with ours.
    fn reach(&mut self, now: Now, candidate: &Candidate) {
        self.checks.add_remote(candidate);
        for relay in &mut self.gathering.relays {
            relay.permit(now, candidate.address.ip());
        }
    }

    fn datagram(&mut self, now: Now, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if self.binding_answered(local, from, bytes) {
            return;
        }
        match self.relay_at(local, from) {
            Some(at) => self.gathering.relays[at].client.handle_input(now, client::Input::Message(bytes)),
            None => self.heard_at(now, local, from, bytes),
        }
    }

    fn relay_at(&self, local: SocketAddr, from: SocketAddr) -> Option<usize> {
        let way = Way::Socket { local, to: from };
        self.gathering.relays.iter().position(|relay| relay.way == way)
    }

    /// Something came from the other side, or from anybody, `at` a base of ours.
    pub(super) fn heard_at(&mut self, now: Now, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if self.is_data(from, bytes) {
            self.event(Event::Data(bytes.into()));
        } else if is_stun(bytes) && self.phase == Phase::Working && self.peer.admits(from) {
            self.checks.receive(now, at, from, bytes);
        }
    }

    fn send(&mut self, now: Now, data: &[u8]) {
        if let Some(path) = self.path.filter(|_| self.phase == Phase::Working) {
            self.leave_by(now, path.base, path.peer, data, false);
        }
    }

    fn leave_by(&mut self, now: Now, base: SocketAddr, peer: SocketAddr, bytes: &[u8], may_wait: bool) {
        match self.gathering.relay_of(base) {
            Some(at) => self.gathering.relays[at].send(now, peer, bytes, may_wait),
            None => self.outputs.push_back(Output::Transmit { local: base, to: peer, bytes: bytes.into() }),
        }
    }

    fn close(&mut self, now: Now) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closing;
            self.leave_servers(now);
        }
    }

    /// Takes what came of an input from all parts until they are dry, and judges how things stand.
    fn settle(&mut self, now: Now) {
        loop {
            let mut is_dry = true;
            for at in 0..self.gathering.relays.len() {
                while let Some(output) = self.gathering.relays[at].client.poll_output() {
                    is_dry = false;
                    self.of_relay(now, at, output);
                }
            }
            while let Some(check) = self.checks.poll_check() {
                is_dry = false;
                if self.phase == Phase::Working {
                    self.leave_by(now, check.base, check.peer, &check.bytes, true);
                }
            }
            while let Some(finding) = self.checks.poll_finding() {
                is_dry = false;
                self.found_out(now, finding);
            }
            if is_dry {
                break;
            }
        }
        self.judge_gathering();
        self.judge(now);
        self.refresh_next();
    }

    fn found_out(&mut self, now: Now, finding: Finding) {
        match finding {
            Finding::Heard(from) => self.peer.heard(from),
            Finding::Answered { base, peer } => self.consent.answered(now, base, peer),
            Finding::Nominated { base, peer } if self.phase == Phase::Working => {
                let path = self.path_of(base, peer);
                let before = self.path.replace(path);
                if before.is_some_and(|before| (before.base, before.peer) == (base, peer)) {
                    return;
                }
                self.relay_lost = false;
                self.consent.begin(now, base, peer);
                if let Some(at) = self.gathering.relay_of(base) {
                    self.gathering.relays[at].bind(now, peer);
                }
                self.event(if before.is_none() { Event::Connected(path) } else { Event::Switched(path) });
            }
            Finding::Nominated { .. } => {}
        }
    }

    fn path_of(&self, base: SocketAddr, peer: SocketAddr) -> Path {
        let relay = self.gathering.relay_of(base).map(|at| &self.gathering.relays[at]);
        let before = self.path.filter(|path| path.base == base);
        let relay = relay.map(|relay| (relay.server, relay.transport)).or(before.and_then(|path| path.relay));
        let local = match relay {
            Some(_) => Kind::Relayed,
            None => self.gathering.kind(self.checks.seen(base, peer).unwrap_or(base)),
        };
        Path { local, remote: self.peer.kind(peer), relay, base, peer }
    }

    /// An allocation is lost: its candidates are none any more.
    pub(super) fn relay_lost(&mut self, now: Now, relayed: &[SocketAddr], local: Option<SocketAddr>) {
        self.relay_lost |= self.path.is_some_and(|path| relayed.contains(&path.base));
        for address in relayed {
            self.checks.remove_relayed(*address, local.unwrap_or(*address));
        }
        self.gathering.candidates.retain(|candidate| !relayed.contains(&candidate.address));
        if self.phase == Phase::Working {
            self.checks.handle_timeout(now);
        }
    }

    fn judge(&mut self, now: Now) {
        if self.phase == Phase::Closing
            && self.gathering.relays.iter().all(|relay| relay.stage == Stage::Over)
        {
            self.phase = Phase::Closed;
            self.event(Event::Closed { confirmed: !self.gathering.is_unconfirmed });
        }
        if self.phase != Phase::Working {
            return;
        }
        if self.connect_until.is_none() && self.peer.ufrag.is_some() && self.gathering.until.is_some() {
            self.connect_until = Some(now.after(self.config.connect_within));
        }
        let is_late = self.connect_until.is_some_and(|until| until.is_due(now.tick()));
        let have_failed = self.checks.have_failed();
        let is_over = (have_failed || self.consent.is_over(now)) && self.minds_consent();
        let why = match self.path {
            Some(_) if is_over && self.relay_lost => Failure::RelayLost,
            Some(_) if is_over => Failure::ConsentLost,
            Some(_) => return,
            None if self.gathering.is_done && self.gathering.candidates.is_empty() => Failure::NoCandidates,
            None if self.gathering.is_done && self.peer.ended && have_failed => Failure::NoPair,
            None if is_late => Failure::Timeout,
            None => return,
        };
        self.phase = Phase::Failed;
        self.event(Event::Failed(why));
    }

    fn refresh_next(&mut self) {
        let checks = if self.phase == Phase::Working { self.checks.poll_timeout() } else { None };
        let is_waiting = self.phase == Phase::Working && self.path.is_none();
        let connect = self.connect_until.filter(|_| is_waiting);
        let is_sending = self.phase == Phase::Working && self.path.is_some() && self.minds_consent();
        let consent = self.consent.until().filter(|_| is_sending);
        self.next = [checks, connect, consent, self.gathering.poll_timeout()].into_iter().flatten().min();
    }

    /// Whether it obeys RFC 7675 § 5.1.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "in tests there are agents that do not")]
    const fn minds_consent(&self) -> bool {
        true
    }

    #[cfg(test)]
    const fn minds_consent(&self) -> bool {
        !self.config.ignores_consent
    }

    pub(super) fn is_relay_only(&self) -> bool {
        self.config.policy == Policy::RelayOnly
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

impl fmt::Debug for Agent {
    /// Not `is`'s own, which shows passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("ufrag", &self.ufrag)
            .field("phase", &self.phase)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Whether a datagram is a STUN message, as far as its first bytes tell (RFC 7983).
fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 4) && bytes.get(4..8) == Some(&MAGIC_COOKIE)
}
